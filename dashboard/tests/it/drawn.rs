//! Whatever happens in whatever order, what a chart draws is what the hub holds, or is marked as loading.
//!
//! A made-up hub keeps every reading in a list, answers requests in any order and at any time, leaves readings out and says
//! so, breaks connections, and restarts subscriptions with and without their place. The window behind it is the real
//! model, with little memory, so that it forgets and asks again.

use std::collections::BTreeMap;

use dashboard::action::Action;
use dashboard::model::{Effect, Event, Model};
use dashboard::series::{SeriesStore, Trace};
use egui_kittest::kittest::Queryable as _;
use proptest::prelude::*;
use protocol::device::ErrorMessage;
use protocol::viewer::{
    History, HistoryRequest, HubToViewer, LiveReadings, Omitted, Resolution, SeriesReadings, Subscribe,
    Subscribed, ViewerMessage,
};
use protocol::{Bucket, ErrorCode, Position, SeriesId, Timestamp, Value};

use crate::fixtures::*;

const ID: SeriesId = SeriesId(11);
const WIDTH: f32 = 400.0;
/// Little enough that a view of readings and its tiles make it forget what is not looked at.
const BUDGET: usize = 96 * 1024;

#[derive(Debug, Clone)]
enum Step {
    /// Readings arrive, one each tenth of a second, for so many seconds.
    Live(u8),
    /// The same, but the hub says only the last one, and that it left the others out.
    LeftOut(u8),
    /// Readings of so many seconds ago come late.
    Late(u16, u8),
    /// The hub stores readings and does not get to say them before the connection breaks.
    Unsaid(u8),
    /// The same with readings of so many seconds ago, that came late.
    UnsaidLate(u16, u8),
    /// What was said last is said again.
    Again,
    /// The hub answers a request: the one at this place among those that wait.
    Answer(u8),
    /// It answers only the first half of one.
    Half(u8),
    /// It refuses one.
    Refuse(u8),
    /// The connection breaks and comes back; the subscription goes on, or begins anew.
    Break(bool),
    /// The view is moved: so many seconds back, so wide.
    Look(u16, u8),
    /// The view follows what arrives.
    Follow,
    /// Nothing happens for so many seconds.
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..40u8).prop_map(Step::Live),
        2 => (2..20u8).prop_map(Step::LeftOut),
        2 => (1..2_000u16, 1..30u8).prop_map(|(ago, n)| Step::Late(ago, n)),
        1 => (1..20u8).prop_map(Step::Unsaid),
        1 => (1..2_000u16, 1..30u8).prop_map(|(ago, n)| Step::UnsaidLate(ago, n)),
        1 => Just(Step::Again),
        6 => any::<u8>().prop_map(Step::Answer),
        1 => any::<u8>().prop_map(Step::Half),
        1 => any::<u8>().prop_map(Step::Refuse),
        2 => any::<bool>().prop_map(Step::Break),
        2 => (0..2_500u16, 0..5u8).prop_map(|(ago, w)| Step::Look(ago, w)),
        1 => Just(Step::Follow),
        2 => (1..30u8).prop_map(Step::Wait),
    ]
}

/// The hub, the link and the window.
struct World {
    model: Model,
    now: Timestamp,
    /// Every reading that the hub holds, by time.
    held: BTreeMap<i64, f64>,
    /// The same in the order of commits: a position is a place in it.
    commits: Vec<(Timestamp, f64)>,
    said: usize,
    last_said: Vec<(Timestamp, Value)>,
    subscribed: Option<Subscribe>,
    waiting: Vec<HistoryRequest>,
    /// Requests of which a first part was answered.
    begun: Vec<(HistoryRequest, History)>,
    serial: i64,
}

impl World {
    fn new() -> Self {
        let mut model = connected_model(1);
        model.series = SeriesStore::new(BUDGET);
        let mut world = Self {
            model,
            now: NOW,
            held: BTreeMap::new(),
            commits: Vec::new(),
            said: 0,
            last_said: Vec::new(),
            subscribed: None,
            waiting: Vec::new(),
            begun: Vec::new(),
            serial: 0,
        };
        // What was measured before the window was opened.
        for i in 0..12_000 {
            world.store(NOW.plus_micros((i - 12_000) * SECOND / 10));
        }
        world.said = world.commits.len();
        world
    }

    fn store(&mut self, at: Timestamp) -> bool {
        if self.held.contains_key(&at.0) {
            return false;
        }
        self.serial += 1;
        let value = ((self.serial * 7_919) % 1_009) as f64;
        self.held.insert(at.0, value);
        self.commits.push((at, value));
        true
    }

    fn position(&self) -> Position {
        Position(100 + self.commits.len() as i64)
    }

    fn tell(&mut self, event: Event) {
        let effects = self.model.handle_event(event, self.now);
        self.take(effects);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(ViewerMessage::History(request)) => self.waiting.push(request),
                Effect::Send(ViewerMessage::Subscribe(request)) if request.id >= 10 => {
                    self.subscribed = Some(request.clone());
                    self.begin(request.id, false);
                }
                Effect::Send(ViewerMessage::Unsubscribe(_)) => self.subscribed = None,
                _ => {}
            }
        }
    }

    /// Answers a subscription; `resumed`: nothing was missed that is not said now.
    fn begin(&mut self, id: u64, resumed: bool) {
        if !resumed {
            self.said = self.commits.len();
        }
        let position = Position(100 + self.said as i64);
        let subscribed = Subscribed { id, series: 1, position, resumed };
        self.tell(Event::Message(HubToViewer::Subscribed(subscribed)));
        self.say(None);
    }

    /// Says all that was stored and not said; of these the first so many are left out.
    fn say(&mut self, left_out: Option<usize>) {
        let Some(id) = self.subscribed.as_ref().map(|s| s.id) else { return };
        let mut points: Vec<(Timestamp, Value)> =
            self.commits[self.said..].iter().map(|(at, v)| (*at, Value::Number(*v))).collect();
        self.said = self.commits.len();
        let omitted = left_out.filter(|n| *n > 0 && *n <= points.len()).map(|n| {
            let left: Vec<_> = points.drain(..n).map(|(at, _)| at).collect();
            Omitted { count: n as u64, from: *left.iter().min().unwrap(), to: *left.iter().max().unwrap() }
        });
        self.last_said.clone_from(&points);
        self.readings(id, points, omitted);
    }

    fn readings(&mut self, id: u64, points: Vec<(Timestamp, Value)>, omitted: Option<Omitted>) {
        if points.is_empty() && omitted.is_none() {
            return;
        }
        let position = self.position();
        let series = vec![SeriesReadings { series: ID, points }];
        let series = if series[0].points.is_empty() { Vec::new() } else { series };
        let readings = LiveReadings { id, position, snapshot: false, series, omitted, traces: Vec::new() };
        self.tell(Event::Message(HubToViewer::Readings(readings)));
    }

    fn answer(&self, request: &HistoryRequest) -> History {
        let readings = self.held.range(request.from.0..request.to.0);
        let (mut points, mut buckets) = (Vec::new(), Vec::<Bucket>::new());
        match request.step {
            Resolution::Raw => points = readings.map(|(&at, &v)| (Timestamp(at), Value::Number(v))).collect(),
            Resolution::Buckets(step) => {
                for (&at, &value) in readings {
                    let bucket = Bucket::of(step.floor(Timestamp(at)), value);
                    match buckets.last_mut() {
                        Some(last) if last.at == bucket.at => last.merge(&bucket),
                        _ => buckets.push(bucket),
                    }
                }
            }
        }
        let HistoryRequest { id, series, step, .. } = *request;
        History { id, series, step, points, buckets, coarser: None, more: false, position: self.position() }
    }

    /// Answers one that waits, in one part or only its first half.
    fn reply(&mut self, place: usize, is_half: bool) {
        // What was begun is ended first: the rest of an answer comes with it, from the same state of the hub.
        if let Some((_, rest)) = self.begun.pop() {
            self.tell(Event::Message(HubToViewer::History(rest)));
            return;
        }
        if self.waiting.is_empty() {
            return;
        }
        let place = place % self.waiting.len();
        let request = self.waiting.remove(place);
        let mut whole = self.answer(&request);
        if is_half {
            let points = whole.points.split_off(whole.points.len() / 2);
            let buckets = whole.buckets.split_off(whole.buckets.len() / 2);
            let rest = History { points, buckets, ..whole.clone() };
            self.begun.push((request, rest));
            whole.more = true;
        }
        self.tell(Event::Message(HubToViewer::History(whole)));
    }

    fn break_off(&mut self, resumed: bool) {
        self.tell(Event::Disconnected { reason: "gone".into(), retry_in: None });
        // The link answers in the hub's place what will not be answered.
        let lost: Vec<u64> =
            self.waiting.drain(..).map(|r| r.id).chain(self.begun.drain(..).map(|(r, _)| r.id)).collect();
        for id in lost {
            self.refuse(id);
        }
        self.now = self.now.plus_micros(2 * SECOND);
        let position = self.position();
        if let Event::Connected(mut welcome) = welcome(position.0) {
            welcome.server_time = self.now;
            self.tell(Event::Connected(welcome));
        }
        let list = [greenhouse(1, true)];
        self.tell(devices(&list));
        if let Some(request) = self.subscribed.clone() {
            self.begin(request.id, resumed);
        }
    }

    fn refuse(&mut self, id: u64) {
        let (code, message) = (ErrorCode::Internal, "not now".to_owned());
        self.tell(Event::Message(HubToViewer::Error(ErrorMessage { id: Some(id), code, message })));
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Live(seconds) | Step::LeftOut(seconds) | Step::Unsaid(seconds) => {
                let mut stored = 0;
                for i in 1..=i64::from(seconds) * 10 {
                    stored += usize::from(self.store(self.now.plus_micros(i * SECOND / 10)));
                }
                self.now = self.now.plus_micros(i64::from(seconds) * SECOND);
                match step {
                    Step::Live(_) => self.say(None),
                    Step::LeftOut(_) => self.say(Some(stored.saturating_sub(1))),
                    _ => {}
                }
            }
            Step::Late(ago, count) | Step::UnsaidLate(ago, count) => {
                for i in 0..i64::from(count) {
                    self.store(self.now.plus_micros(-i64::from(ago) * SECOND + i * SECOND / 10 + 33_333));
                }
                if matches!(step, Step::Late(..)) {
                    self.say(None);
                }
            }
            Step::Again => {
                let points = self.last_said.clone();
                if let Some(id) = self.subscribed.as_ref().map(|s| s.id) {
                    self.readings(id, points, None);
                }
            }
            Step::Answer(place) => self.reply(usize::from(place), false),
            Step::Half(place) => self.reply(usize::from(place), true),
            Step::Refuse(place) if !self.waiting.is_empty() => {
                let place = usize::from(place) % self.waiting.len();
                let id = self.waiting.remove(place).id;
                self.refuse(id);
            }
            Step::Refuse(_) => {}
            Step::Break(resumed) => self.break_off(resumed),
            Step::Look(ago, width) => {
                let to = self.now.plus_micros(-i64::from(ago) * SECOND);
                let width = [2, 30, 300, 1_200, 7_200][usize::from(width) % 5] * SECOND;
                self.act(Action::ShowRange { from: to.plus_micros(-width), to });
            }
            Step::Follow => self.act(Action::Follow),
            Step::Wait(seconds) => self.now = self.now.plus_micros(i64::from(seconds) * SECOND),
        }
        self.tick();
    }

    fn act(&mut self, action: Action) {
        let effects = self.model.apply(action, self.now);
        self.take(effects);
    }

    fn tick(&mut self) {
        let effects = self.model.tick(&[ID], WIDTH, self.now);
        self.take(effects);
    }

    fn drawn(&self) -> (Trace, i64, i64) {
        let (from, to) = self.model.range();
        let mut trace = Trace::default();
        let per_pixel = to.micros_since(from) as f64 / f64::from(WIDTH);
        self.model.series.trace(ID, from, to, per_pixel, &mut trace);
        (trace, from.0, to.0)
    }

    /// The columns that the hub's readings make, as wide as those that are drawn.
    fn expected(&self, width: i64, from: i64, to: i64) -> BTreeMap<i64, (u32, f64, f64)> {
        let mut columns: BTreeMap<i64, (u32, f64, f64)> = BTreeMap::new();
        let grain = width.max(1);
        let whole = from.div_euclid(grain) * grain..=to.div_euclid(grain) * grain + grain;
        for (&at, &value) in self.held.range(whole) {
            let middle = if width == 0 { at } else { at.div_euclid(width) * width + width / 2 };
            let column = columns.entry(middle).or_insert((0, f64::INFINITY, f64::NEG_INFINITY));
            *column = (column.0 + 1, column.1.min(value), column.2.max(value));
        }
        columns.retain(|at, _| *at >= from && *at <= to);
        columns
    }

    /// Nothing is drawn that the hub does not hold.
    fn check_true(&self) -> Result<(), TestCaseError> {
        let (trace, from, to) = self.drawn();
        if trace.is_partial {
            return Ok(()); // coarser history stands in for what is on its way
        }
        let expected = self.expected(trace.width, from, to);
        for column in trace.columns.iter().filter(|c| c.at >= from && c.at <= to) {
            let held = expected.get(&column.at);
            let Some(&(count, min, max)) = held else {
                return Err(TestCaseError::fail(format!("{column:?} is drawn and not held")));
            };
            prop_assert!(column.count <= count, "{column:?} of {count}: nothing counts twice");
            prop_assert!(column.min >= min && column.max <= max, "{column:?} {min} {max}");
        }
        Ok(())
    }

    /// What the hub has said, or held before it was asked, is drawn or is marked as loading: never a silent hole.
    fn check_no_silent_hole(&self) -> Result<(), TestCaseError> {
        let (trace, from, to) = self.drawn();
        if trace.is_partial {
            return Ok(());
        }
        let drawn: BTreeMap<i64, (f64, f64)> = trace.columns.iter().map(|c| (c.at, (c.min, c.max))).collect();
        let width = trace.width;
        let (first, last) = (from + width, to - width);
        for (at, value) in self.commits[..self.said].iter().filter(|(at, _)| (first..last).contains(&at.0)) {
            let middle = if width == 0 { at.0 } else { at.0.div_euclid(width) * width + width / 2 };
            let is_drawn = drawn.get(&middle).is_some_and(|(min, max)| (min..=max).contains(&value));
            prop_assert!(
                is_drawn,
                "{at:?} {value} is held, and neither drawn nor loading; columns of {width}"
            );
        }
        Ok(())
    }

    /// Lets the hub answer and time pass until nothing is asked for any more.
    fn settle(&mut self) {
        for seconds in [1, 3, 3, 3, 11, 3, 3, 11, 3, 100, 3, 3, 4_000, 3, 3, 100_000, 3, 3] {
            self.now = self.now.plus_micros(seconds * SECOND);
            for _ in 0..20 {
                self.tick();
                while !self.waiting.is_empty() || !self.begun.is_empty() {
                    self.reply(0, false);
                }
            }
        }
    }

    /// In the end all that the hub holds is drawn.
    fn check_whole(&self) -> Result<(), TestCaseError> {
        let (trace, from, to) = self.drawn();
        prop_assert!(!trace.is_partial, "loading for ever");
        let expected = self.expected(trace.width, from, to);
        let found: BTreeMap<i64, (u32, f64, f64)> = trace
            .columns
            .iter()
            .filter(|c| c.at >= from && c.at <= to)
            .map(|c| (c.at, (c.count, c.min, c.max)))
            .collect();
        let missing: Vec<_> = expected.iter().filter(|(at, v)| found.get(at) != Some(v)).take(3).collect();
        prop_assert!(
            missing.is_empty(),
            "held and not drawn: {missing:?}, drawn there: {:?}",
            missing.iter().map(|(at, _)| found.get(at)).collect::<Vec<_>>()
        );
        prop_assert_eq!(found.len(), expected.len());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_what_is_drawn_is_what_the_hub_holds_or_is_loading(
        steps in prop::collection::vec(step(), 1..60),
        look in (0..2_500u16, 0..5u8),
    ) {
        let mut world = World::new();
        world.tick();
        for step in &steps {
            world.run(step);
            world.check_true()?;
            world.check_no_silent_hole()?;
        }
        // Wherever one looks in the end, nothing is missing in silence.
        world.break_off(false);
        world.run(&Step::Look(look.0, look.1));
        world.settle();
        world.check_whole()?;
    }
}

/// More of them with `PROPTEST_CASES`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48)
}

#[test]
fn what_retention_has_thinned_is_asked_for_as_it_is_and_shown_as_such() {
    let mut model = connected_model(1);
    let from = later(-86_400 * 30);
    model.apply(Action::ShowRange { from, to: from.plus_micros(600 * SECOND) }, NOW);
    let asked = |effects: Vec<Effect>| -> Vec<HistoryRequest> {
        let sent = effects.into_iter();
        sent.filter_map(|e| if let Effect::Send(ViewerMessage::History(h)) = e { Some(h) } else { None })
            .collect()
    };
    let mut requests = asked(model.tick(&[ID], 800.0, NOW));
    let hour = protocol::Step::H1;
    let mut answered = 0;
    for round in 1..6 {
        for request in std::mem::take(&mut requests) {
            let HistoryRequest { id, series, step, .. } = request;
            let mut answer = History {
                id,
                series,
                step,
                points: Vec::new(),
                buckets: Vec::new(),
                coarser: Some(hour),
                more: false,
                position: Position(100),
            };
            match step {
                Resolution::Raw => {}
                Resolution::Buckets(step) => {
                    assert_eq!(step, hour, "as the hub said");
                    let mut bucket = Bucket::of(step.floor(from), 18.0);
                    bucket.merge(&Bucket::of(step.floor(from), 24.0));
                    (answer.buckets, answer.coarser) = (vec![bucket], None);
                    answered += 1;
                }
            }
            model.handle_event(Event::Message(HubToViewer::History(answer)), later(round * 3));
        }
        requests = asked(model.tick(&[ID], 800.0, later(round * 3)));
    }
    assert_eq!((answered, requests.len()), (1, 0), "asked for once");
    let mut trace = Trace::default();
    let (from, to) = model.range();
    model.series.trace(ID, from, to, 750_000.0, &mut trace);
    assert!(trace.columns.is_empty() && !trace.is_partial);
    assert_eq!(
        trace.thinned.iter().map(|(c, w)| (c.count, c.mean, *w)).collect::<Vec<_>>(),
        [(2, 21.0, hour.micros())]
    );
    let size = egui::vec2(800.0, 300.0);
    let specs = [crate::charts::spec(&[ID.0])];
    let mut harness = crate::charts::open(model, &specs, size, dashboard::settings::ThemeChoice::Light);
    harness.run_ok();
    harness.get_by_label("Thinned by retention: means of 1 h 0 m");
    harness.snapshot("chart_thinned_light");
}
