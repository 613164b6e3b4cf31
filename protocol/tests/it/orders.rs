//! The commands of one device, over a line that loses, delays, reorders and doubles, between ends that are killed.
//!
//! Virtual time, seeds. What the operator is told is compared with what the device did.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use protocol::answers::{Answers, Arrival, Record};
use protocol::command::{CommandState, Delivery, DeviceCommandState};
use protocol::desk::{Actor, Desk, Refused, Step, Timing, answered_late};
use protocol::device::{Cancel, CommandRequest, CommandUpdate};
use protocol::viewer::{CommandInfo, Transition};
use protocol::{CommandId, Timestamp};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SECOND: i64 = 1_000_000;
/// How long a connected device may be silent about a command, in microseconds.
const PATIENCE: i64 = 30 * SECOND;
const TIMING: Timing = Timing { answer: 5 * SECOND, settle: 3_600 * SECOND };

enum ToDevice {
    Command(CommandRequest),
    Cancel(Cancel),
}

/// What a device did with a command, which nobody but this test knows.
#[derive(Debug, Default, Clone)]
struct Deed {
    begun: u32,
    done: bool,
    failed: bool,
    stopped: bool,
}

/// One direction of a connection: messages with the time at which they arrive.
struct Line<T>(Vec<(i64, T)>);

impl<T> Line<T> {
    fn take_due(&mut self, now: i64) -> Vec<T> {
        // In any order: the line reorders what is delayed differently.
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.0).into_iter().partition(|(at, _)| *at <= now);
        self.0 = later;
        due.into_iter().map(|(_, message)| message).collect()
    }
}

struct Device {
    answers: Answers,
    /// What it keeps when it is switched off; `None`: nothing.
    flash: Option<(Option<Timestamp>, Vec<Record>)>,
    /// Of each command that it works on: when it ends, and how.
    running: BTreeMap<CommandId, (i64, DeviceCommandState)>,
    /// The difference of its clock to the hub's, as it learned with the welcome.
    hub_time: Option<(i64, i64)>,
    /// Its clock runs wrong by this.
    skew: i64,
}

struct Run {
    rng: ChaCha8Rng,
    now: i64,
    desk: Desk,
    /// What is on the hub's disk.
    disk: BTreeMap<CommandId, CommandInfo>,
    /// Commands that were resolved when nobody waited any more.
    late: u64,
    order: Vec<CommandId>,
    link: Option<(Line<ToDevice>, Line<CommandUpdate>)>,
    device: Device,
    deeds: HashMap<CommandId, Deed>,
    told: HashMap<CommandId, Vec<CommandState>>,
}

impl Run {
    fn new(seed: u64, with_flash: bool) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let skew = rng.random_range(-100..100) * SECOND;
        Self {
            now: 1_000 * SECOND,
            desk: Desk::new(TIMING),
            disk: BTreeMap::new(),
            late: 0,
            order: Vec::new(),
            link: None,
            device: Device {
                answers: Answers::default(),
                flash: with_flash.then(|| (None, Vec::new())),
                running: BTreeMap::new(),
                hub_time: None,
                skew,
            },
            deeds: HashMap::new(),
            told: HashMap::new(),
            rng,
        }
    }

    fn at(&self) -> Timestamp {
        Timestamp(self.now)
    }

    /// Takes the hub's steps: stores all, then tells and sends; sometimes it is killed in between.
    fn take(&mut self, steps: Vec<Step>, calm: bool) {
        for step in &steps {
            if let Step::Changed(info) = step {
                self.disk.insert(info.id.clone(), CommandInfo::clone(info));
            }
        }
        if !calm && self.rng.random_bool(0.01) {
            return self.kill_hub();
        }
        for step in steps {
            match step {
                Step::Changed(info) => {
                    let states: Vec<CommandState> = info.transitions.iter().map(|t| t.state).collect();
                    let told = self.told.entry(info.id.clone()).or_default();
                    assert!(states.starts_with(told), "{}: told {told:?}, then {states:?}", info.id);
                    *told = states;
                }
                Step::Deliver(request) => {
                    if request.attempt == 1 {
                        assert!(self.at() < request.expires_at, "{} is delivered after its time", request.id);
                    }
                    self.send(ToDevice::Command(*request));
                }
                Step::Stop(cancel) => self.send(ToDevice::Cancel(cancel)),
            }
        }
    }

    fn delay(&mut self) -> i64 {
        self.now + self.rng.random_range(0..400_000)
    }

    fn send(&mut self, message: ToDevice) {
        let at = self.delay();
        if let Some((down, _)) = &mut self.link {
            down.0.push((at, message));
        }
    }

    fn with_desk<T>(
        &mut self,
        calm: bool,
        work: impl FnOnce(&mut Desk, Timestamp, &mut Vec<Step>) -> T,
    ) -> T {
        let mut steps = Vec::new();
        let now = self.at();
        let result = work(&mut self.desk, now, &mut steps);
        self.take(steps, calm);
        result
    }

    fn kill_hub(&mut self) {
        self.link = None;
        self.desk = Desk::new(TIMING);
        let mut steps = Vec::new();
        for id in &self.order {
            let Some(info) = self.disk.get(id) else { continue };
            let known = self.told.entry(id.clone()).or_default();
            let states: Vec<CommandState> = info.transitions.iter().map(|t| t.state).collect();
            assert!(states.starts_with(known), "{id}: told {known:?}, on disk {states:?}");
            if !info.state.is_final() {
                self.desk.restore(info.clone(), PATIENCE, Timestamp(self.now), &mut steps);
            }
        }
        self.take(steps, true);
    }

    fn kill_device(&mut self) {
        self.link_down(true);
        self.device.running.clear();
        self.device.answers = match &self.device.flash {
            Some((since, records)) => Answers::restore(*since, records.clone()),
            None => Answers::default(),
        };
        self.device.hub_time = None;
    }

    fn link_down(&mut self, calm: bool) {
        if self.link.take().is_some() {
            self.with_desk(calm, Desk::disconnected);
        }
    }

    fn link_up(&mut self, calm: bool) {
        if self.link.is_some() {
            return;
        }
        self.link = Some((Line(Vec::new()), Line(Vec::new())));
        // The welcome: it takes a moment, so that the device thinks the hub's clock is behind.
        self.device.hub_time =
            Some((self.now - self.rng.random_range(0..100_000), self.now + self.device.skew));
        self.device.answers.on_connected(self.at());
        self.with_desk(calm, Desk::connected);
    }

    fn issue(&mut self) {
        let id = CommandId::new(&format!("c{}", self.order.len() + 1)).unwrap();
        let delivery = Delivery::ALL[self.rng.random_range(0..3)];
        let lifetime = self.rng.random_range(1..60) * SECOND;
        let info = CommandInfo {
            id: id.clone(),
            device: "pump".parse().unwrap(),
            name: "reset".parse().unwrap(),
            args: serde_json::Map::new(),
            state: CommandState::Queued,
            issued_by: "operator".into(),
            expires_at: Timestamp(self.now + lifetime),
            attempt: 0,
            progress: None,
            result: None,
            error: None,
            code: None,
            delivery,
            forced: false,
            cancel: None,
            group: None,
            transitions: vec![Transition {
                state: CommandState::Queued,
                at: self.at(),
                by: "operator".into(),
                address: None,
            }],
        };
        self.order.push(id);
        self.with_desk(false, |desk, now, steps| desk.issue(info, PATIENCE, now, steps));
    }

    fn cancel(&mut self) {
        if self.order.is_empty() {
            return;
        }
        let id = self.order[self.rng.random_range(0..self.order.len())].clone();
        let actor = Actor { by: "operator".into(), address: None };
        self.with_desk(false, |desk, now, steps| {
            let known = desk.get(&id).is_some();
            assert_eq!(desk.cancel(&id, &actor, now, steps).is_ok(), known);
        });
    }

    fn save(&mut self) {
        let unsaved = self.device.answers.unsaved();
        if let Some((since, records)) = &mut self.device.flash {
            *since = self.device.answers.known_since();
            records.extend(unsaved);
        }
    }

    /// The device takes in what arrives, works, and says what is to be said.
    fn device(&mut self, calm: bool) {
        let arrived = match &mut self.link {
            Some((down, _)) => down.take_due(self.now),
            None => Vec::new(),
        };
        for message in arrived {
            match message {
                ToDevice::Command(request) => {
                    let own = self.now + self.device.skew;
                    let hub_now = self.device.hub_time.map(|(hub, at)| Timestamp(hub + own - at));
                    let twice = !calm && self.rng.random_bool(0.05);
                    for _ in 0..=u32::from(twice) {
                        let arrival = self.device.answers.on_command(&request, hub_now);
                        self.save();
                        if arrival == Arrival::New {
                            self.begin(&request);
                        }
                    }
                }
                ToDevice::Cancel(cancel) => {
                    let stop = self.device.answers.on_cancel(&cancel);
                    self.save();
                    if stop && self.rng.random_bool(0.7) && self.device.running.remove(&cancel.id).is_some() {
                        self.deeds.entry(cancel.id.clone()).or_default().stopped = true;
                        self.device.answers.set(CommandUpdate::new(cancel.id, DeviceCommandState::Cancelled));
                        self.save();
                    }
                }
            }
        }
        let ended: Vec<(CommandId, DeviceCommandState)> = self
            .device
            .running
            .iter()
            .filter(|(_, (at, _))| *at <= self.now)
            .map(|(id, (_, how))| (id.clone(), *how))
            .collect();
        for (id, how) in ended {
            self.device.running.remove(&id);
            let deed = self.deeds.entry(id.clone()).or_default();
            match how {
                DeviceCommandState::Succeeded => deed.done = true,
                _ => deed.failed = true,
            }
            // Killed after the deed and before it is remembered.
            if !calm && self.rng.random_bool(0.03) {
                return self.kill_device();
            }
            self.device.answers.set(CommandUpdate::new(id, how));
            self.save();
        }
        if self.link.is_some() {
            while let Some(update) = self.device.answers.poll(u64::MAX) {
                let at = self.delay();
                let lost = !calm && self.rng.random_bool(0.02);
                if let Some((_, up)) = &mut self.link
                    && !lost
                {
                    up.0.push((at, update));
                }
            }
        }
    }

    fn begin(&mut self, request: &CommandRequest) {
        let deed = self.deeds.entry(request.id.clone()).or_default();
        deed.begun += 1;
        assert_eq!(deed.begun, 1, "{} runs twice", request.id);
        // The hub's clock is at most a tenth of a second ahead of what the device thinks.
        assert!(self.now <= request.expires_at.0 + 100_000, "{} runs after its time", request.id);
        let how = if self.rng.random_bool(0.8) {
            DeviceCommandState::Succeeded
        } else {
            DeviceCommandState::Failed
        };
        // Some never end by themselves, and some rejected at once.
        let takes =
            if self.rng.random_bool(0.03) { i64::MAX / 4 } else { self.rng.random_range(0..10 * SECOND) };
        if self.rng.random_bool(0.05) {
            self.device.answers.set(CommandUpdate::new(request.id.clone(), DeviceCommandState::Rejected));
            deed.begun = 1;
            deed.failed = true;
            return self.save();
        }
        self.device.running.insert(request.id.clone(), (self.now.saturating_add(takes), how));
        self.device.answers.set(CommandUpdate::new(request.id.clone(), DeviceCommandState::Running));
    }

    fn hub(&mut self, calm: bool) {
        let arrived = match &mut self.link {
            Some((_, up)) => up.take_due(self.now),
            None => Vec::new(),
        };
        let actor = Actor { by: "pump".into(), address: None };
        for update in arrived {
            let late = update.clone();
            let answer = self.with_desk(calm, |desk, now, steps| desk.update(update, &actor, now, steps));
            if answer == Err(Refused::NotOpen)
                && let Some(info) = self.disk.get(&late.id)
                && let Some(resolved) = answered_late(info, late, &actor, Timestamp(self.now))
            {
                assert_eq!(info.state, CommandState::Unresolved, "{info:?}");
                self.late += 1;
                self.disk.insert(resolved.id.clone(), resolved);
            }
        }
        while self.desk.due().is_some_and(|due| due.0 <= self.now) {
            self.with_desk(calm, Desk::poll);
        }
    }

    fn step(&mut self, calm: bool) {
        self.now += 100_000;
        match self.rng.random_range(0..1_000) {
            0..60 if !calm => self.issue(),
            60..70 if !calm => self.cancel(),
            70..85 if !calm => self.link_down(false),
            85..90 if !calm => self.kill_device(),
            90..93 if !calm => self.kill_hub(),
            100..200 => self.link_up(calm),
            _ => {}
        }
        self.device(calm);
        self.hub(calm);
    }

    /// Goes on until every command has ended: with a device that comes back, or without.
    fn settle(&mut self, returns: bool) {
        if !returns {
            self.link_down(true);
        }
        for turn in 0..4_000 {
            if self.desk.is_empty() {
                return;
            }
            if returns && turn < 2_000 {
                self.step(true);
            } else {
                self.now = self.desk.due().map_or(self.now, |due| due.0.max(self.now));
                self.hub(true);
            }
        }
        let left: Vec<&Arc<CommandInfo>> = self.desk.ids().filter_map(|id| self.desk.get(id)).collect();
        panic!("{} commands do not end: {:?}", left.len(), left.first());
    }

    /// The truth table: what was told, against what was done.
    fn check(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        let mut table = BTreeMap::new();
        for info in self.disk.values() {
            let deed = self.deeds.get(&info.id).cloned().unwrap_or_default();
            let did = match &deed {
                Deed { begun: 0, .. } => "nothing",
                Deed { done: true, .. } => "all of it",
                Deed { failed: true, .. } | Deed { stopped: true, .. } => "tried, and said so",
                _ => "a part",
            };
            let truth = match info.state {
                CommandState::Succeeded => did == "all of it",
                CommandState::Failed => did == "tried, and said so",
                CommandState::Rejected | CommandState::Cancelled => {
                    did == "nothing" || did == "tried, and said so"
                }
                CommandState::Expired => did == "nothing",
                CommandState::Unresolved => true,
                state => panic!("{} ended as {state}", info.id),
            };
            assert!(truth, "told {}, and the device did {did}: {info:?}", info.state);
            assert!(
                info.transitions.windows(2).all(|pair| pair[0].state.may_become(pair[1].state)),
                "{info:?}"
            );
            *table.entry((info.state.as_str(), did)).or_default() += 1;
        }
        *table.entry(("resolved", "late")).or_default() += self.late;
        table
    }
}

fn runs(seeds: std::ops::Range<u64>, with_flash: bool) -> BTreeMap<(&'static str, &'static str), u64> {
    let mut table = BTreeMap::new();
    for seed in seeds {
        let result = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed, with_flash);
            for _ in 0..1_500 {
                run.step(false);
            }
            run.settle(seed % 2 == 0);
            // A device that comes back now is too late for anyone who waits, and not too late to be heard.
            for _ in 0..300 {
                run.step(true);
            }
            run.check()
        });
        match result {
            Ok(counts) => counts.into_iter().for_each(|(key, n)| *table.entry(key).or_default() += n),
            Err(panic) => {
                eprintln!("seed {seed}, with storage: {with_flash}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    table
}

/// How many seeds: more with `COMMANDS_SEEDS`.
fn seeds() -> u64 {
    std::env::var("COMMANDS_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(120)
}

#[test]
fn i_14_what_the_operator_is_told_is_what_a_device_with_storage_did() {
    let table = runs(0..seeds(), true);
    for (key, n) in &table {
        println!("{key:?}: {n}");
    }
    for key in [
        ("succeeded", "all of it"),
        ("expired", "nothing"),
        ("unresolved", "a part"),
        ("cancelled", "nothing"),
        ("resolved", "late"),
    ] {
        assert!(table.get(&key).is_some_and(|n| *n > 0), "no seed leads to {key:?}: {table:?}");
    }
}

#[test]
fn i_14_a_device_that_forgets_everything_does_no_command_twice_either() {
    let table = runs(1_000..1_000 + seeds(), false);
    for key in [("succeeded", "all of it"), ("unresolved", "all of it"), ("unresolved", "nothing")] {
        assert!(table.contains_key(&key), "no seed leads to {key:?}: {table:?}");
    }
}
