//! What a hub may do to the window: anything. It never panics, never grows without bound, and never hides a hole.

use std::time::Duration;

use dashboard::action::Action;
use dashboard::model::{Event, Link};
use dashboard::settings::{Number, ThemeChoice};
use egui_kittest::kittest::Queryable as _;
use protocol::viewer::{HubToViewer, ViewerMessage};
use protocol::{SeriesId, Timestamp};
use serde_json::{Value as Json, json};

use crate::fixtures::*;

/// Numbers that depend on their seed alone.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit.max(1)
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// One message of each kind and shape that a hub sends.
fn golden() -> Vec<Json> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/tests/golden");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("hub_to_viewer."))
        .collect();
    paths.sort();
    assert!(paths.len() > 20, "{folder}");
    paths.iter().map(|path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()).collect()
}

/// Changes something somewhere in a message: numbers to their ends, names to those of others, lists to long ones.
fn mutate(random: &mut Random, value: &mut Json, ids: &[u64]) {
    match value {
        Json::Object(map) => {
            let keys: Vec<String> = map.keys().filter(|k| *k != "type").cloned().collect();
            if keys.is_empty() {
                return;
            }
            let key = random.pick(&keys).clone();
            match random.below(12) {
                0 => drop(map.remove(&key)),
                1 => drop(map.insert(key, Json::Null)),
                2 if key == "id" => drop(map.insert(key, (*random.pick(ids)).into())),
                _ => mutate(random, map.get_mut(&key).unwrap(), ids),
            }
        }
        Json::Array(list) if !list.is_empty() => {
            let at = random.below(list.len());
            match random.below(6) {
                0 => drop(list.remove(at)),
                1 => {
                    let again = list[at].clone();
                    list.extend(std::iter::repeat_n(again, 1 + random.below(40)));
                }
                2 => list.reverse(),
                _ => mutate(random, &mut list[at], ids),
            }
        }
        Json::Number(_) => {
            let ends =
                [0, 1, -1, 11, 21, i64::MAX, i64::MIN, NOW.0, NOW.0 - 1, 4_102_444_800_000_000, 1 << 53];
            *value = match random.below(8) {
                0 => json!(1e308),
                1 => json!(-0.5),
                2 => json!(u64::MAX),
                3 => (*random.pick(ids)).into(),
                _ => (*random.pick(&ends)).into(),
            };
        }
        Json::String(text) => {
            let other =
                ["", "greenhouse-01", "\u{202e}\u{0}\u{7}", "a\nb", "日本 \u{1F600}", "operator", "running"];
            *text = match random.below(5) {
                0 => "x".repeat(random.below(5_000)),
                1 => text.chars().rev().collect(),
                _ => (*random.pick(&other)).to_owned(),
            };
        }
        Json::Bool(is) => *is = !*is,
        other => *other = json!([[], {}, "", 0]),
    }
}

fn id_of(message: &ViewerMessage) -> u64 {
    message.id()
}

/// What a person does meanwhile.
fn act(random: &mut Random) -> Action {
    let names = ["greenhouse-01", "greenhouse-02", "pump-07", "x"];
    let device = protocol::DeviceId::new(names[random.below(4)]).unwrap();
    match random.below(14) {
        0 => Action::Select(Some(device)),
        1 => Action::Select(None),
        2 => Action::ToggleTable,
        3 => Action::ToggleGroups,
        4 => Action::Zoom { at: NOW, factor: [1e-9, 0.5, 2.0, 1e9][random.below(4)] },
        5 => Action::Pan { micros: [i64::MIN, -1_000_000, 1, i64::MAX][random.below(4)] },
        6 => Action::Follow,
        7 => Action::RefreshPage,
        8 => Action::ToggleExpanded(device),
        9 => Action::TogglePalette,
        10 => Action::TypePalette("e 0".into()),
        11 => Action::ToggleLog,
        12 => Action::AddChart { title: None, series: vec![SeriesId(11), SeriesId(-5)] },
        _ => Action::SetListOrder(dashboard::model::listing::ListOrder {
            group: *random.pick(&dashboard::model::listing::GroupBy::ALL),
            sort: *random.pick(&dashboard::model::listing::SortBy::ALL),
        }),
    }
}

fn check_bounds(window: &Window, seed: u64) {
    let model = window.harness.state().model();
    assert!(model.toasts.iter().count() <= 5 && model.toasts.log().len() <= 200, "seed {seed}");
    assert!(model.series.bytes() <= model.settings.memory_bytes(), "seed {seed}");
    assert!(model.waiting_requests() < 400, "seed {seed}: {} requests", model.waiting_requests());
}

#[test]
fn i_7_no_message_of_a_hub_makes_the_window_panic_or_grow() {
    let golden = golden();
    let seeds = std::env::var("FUZZ_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let (mut taken, mut refused) = (0_u64, 0_u64);
    for seed in 0..seeds {
        println!("seed {seed}");
        let mut random = Random(seed * 7_919 + 1);
        let mut window = Window::open_with(ThemeChoice::Dark, [900.0, 600.0]);
        // As in the program: what no font has is drawn as a box.
        window.harness.ctx.set_missing_glyph_policy(egui::MissingGlyphPolicy::Tofu);
        window.connect(3);
        let mut ids: Vec<u64> = vec![1, 10, 1 << 32, u64::MAX];
        for step in 0..160 {
            for _ in 0..4 {
                let mut message = random.pick(&golden).clone();
                for _ in 0..random.below(4) {
                    mutate(&mut random, &mut message, &ids);
                }
                // The client hands on what it can read, and says of the rest that it was not readable.
                let event = match HubToViewer::decode(&message.to_string()) {
                    Ok(HubToViewer::Welcome(welcome)) => Event::Connected(welcome),
                    Ok(message) => Event::Message(message),
                    Err(error) => Event::BadMessage(error.to_string()),
                };
                *(if matches!(event, Event::BadMessage(_)) { &mut refused } else { &mut taken }) += 1;
                window.hub.events.try_send(event).unwrap();
            }
            let event = match random.below(30) {
                0 => Some(Event::Disconnected { reason: "x".repeat(9_000), retry_in: None }),
                1 => Some(Event::Disconnected { reason: String::new(), retry_in: Some(Duration::MAX) }),
                2 => Some(Event::Connecting { attempt: u32::MAX }),
                3 => Some(Event::RoundTrip(Duration::MAX)),
                4 | 5 => Some(welcome(random.below(1_000) as i64)),
                6 => Some(Event::Unusable("\u{0}".repeat(100))),
                _ => None,
            };
            if let Some(event) = event {
                window.hub.events.try_send(event).unwrap();
            }
            if random.below(3) == 0 {
                window.harness.state_mut().act(act(&mut random));
            }
            if random.below(20) == 0 {
                // The clock of this machine jumps, also back.
                let jump = *random.pick(&[-86_400, -1, 0, 1, 3_600, 86_400]);
                window.jump(jump);
            }
            window.harness.step();
            ids.extend(window.sent().iter().map(id_of));
            let keep = ids.len().saturating_sub(40);
            ids.drain(..keep);
            if step % 40 == 0 {
                check_bounds(&window, seed);
            }
        }
        check_bounds(&window, seed);
    }
    assert!(taken > 500 && refused > 100, "{taken} taken, {refused} refused");
}

#[test]
fn a_hub_that_sends_a_thousand_times_too_fast_waits_and_the_window_goes_on() {
    let mut window = Window::open();
    window.connect(2);
    window.harness.state_mut().act(Action::SetNumber { number: Number::Memory, value: 16 });
    window.run();
    // One reading a second would be usual: here are a million at once, as fast as the queue takes them.
    let mut next = 0_i64;
    let mut waited = 0;
    while next < 1_000_000 {
        let points: Vec<_> = (next..next + 100)
            .map(|i| (NOW.plus_micros(i * 1_000 - 1_000_000_000), (i % 97) as f64))
            .collect();
        match window.hub.events.try_send(readings(10, 200 + next, 11, &points)) {
            Ok(()) => next += 100,
            Err(_) => {
                // The queue is full: the link reads no more until the window has drawn.
                waited += 1;
                window.harness.step();
            }
        }
        if next % 250_000 == 0 {
            // A person goes on working.
            window.harness.get_by_label_contains("Show metrics of greenhouse-01").focus();
            window.harness.step();
        }
    }
    window.run_until("all taken in", |w| w.harness.state().model().counters.readings >= 1_000_000);
    let model = window.harness.state().model();
    assert!(model.series.bytes() <= 16_000_000, "{}", model.series.bytes());
    assert_eq!(
        model.series.latest(SeriesId(11)).unwrap().0,
        NOW.plus_micros(999_999 * 1_000 - 1_000_000_000)
    );
    assert!(waited > 3, "the hub had to wait {waited} times");
    // What the hub left out is said, and a queue that is full refuses instead of growing.
    let count =
        (0..5_000).take_while(|_| window.hub.events.try_send(Event::RoundTrip(Duration::ZERO)).is_ok());
    assert!(count.count() <= 1_024);
}

#[test]
fn a_device_that_comes_and_goes_too_fast_asks_nothing_more_of_the_hub_than_it_answers() {
    let mut window = Window::open();
    window.connect(1);
    window.harness.get_by_label_contains("greenhouse-01 live").click();
    window.run();
    window.sent();
    for i in 0..1_000 {
        let mut device = greenhouse(1, i % 2 == 0);
        device["since"] = (NOW.0 + i).into();
        window.hub.events.try_send(changed(device)).unwrap();
    }
    window.run();
    let asked = window.sent();
    assert!(asked.len() <= 4, "{} messages", asked.len());
    assert_eq!(window.harness.state().model().toasts.log().len(), 1, "one notice that counts");
}

#[test]
fn hours_without_a_hub_change_nothing_but_the_banner_and_then_the_hole_is_asked_for() {
    let mut window = Window::open();
    window.connect(2);
    let subscriptions: Vec<u64> = window
        .sent()
        .iter()
        .filter_map(|m| if let ViewerMessage::Subscribe(s) = m { Some(s.id) } else { None })
        .collect();
    let shown = *subscriptions.iter().max().unwrap();
    let points: Vec<_> = (-60..0).map(|s| (later(s), 20.0)).collect();
    window.tell(subscribed(shown, 100, false));
    window.tell(readings(shown, 101, 11, &points));
    let bytes = window.harness.state().model().series.bytes();
    for attempt in 1..=720_u32 {
        // Half a minute between two tries, six hours long.
        let retry_in = Some(Duration::from_secs(30));
        window
            .hub
            .events
            .try_send(Event::Disconnected { reason: "connection refused".into(), retry_in })
            .unwrap();
        window.harness.step();
        if attempt % 120 == 0 {
            window.run();
            window.harness.get_by_label("Connection refused");
            window.harness.get_by_label("next try in 30 s");
            window.harness.get_by_label("What is shown ends at 12:00:00.");
        }
        window.jump(30);
        window.hub.events.try_send(Event::Connecting { attempt }).unwrap();
        window.harness.step();
    }
    window.run();
    window.harness.get_by_label("Connecting to 127.0.0.1:7878 (attempt 720). Before: connection refused");
    check_bounds(&window, 0);
    let model = window.harness.state().model();
    assert_eq!(model.series.bytes(), bytes, "nothing was forgotten and nothing was added");
    assert!(model.toasts.log().len() <= 1, "the banner says it: no notice for each try");
    assert_eq!(window.sent().len(), 0, "nothing was sent into the void");

    // The hub is back, and cannot go on where the window was.
    let hours = 6 * 3_600;
    let mut back = welcome(9_000);
    if let Event::Connected(welcome) = &mut back {
        welcome.server_time = later(hours);
    }
    window.tell(back);
    window.tell(subscribed(shown, 9_000, false));
    window.harness.state_mut().act(Action::ShowRange { from: later(-600), to: later(hours) });
    window.run();
    let asked = window.sent();
    let mut stretches: Vec<(Timestamp, Timestamp)> = asked
        .iter()
        .filter_map(|m| match m {
            ViewerMessage::History(h) if h.series == SeriesId(11) => Some((h.from, h.to)),
            _ => None,
        })
        .collect();
    stretches.sort_unstable();
    // Together they leave nothing out.
    let known_to =
        stretches.iter().fold(later(0), |to, (from, end)| if *from <= to { to.max(*end) } else { to });
    assert!(known_to >= later(hours), "{stretches:?}");
    assert!(window.harness.query_by_label("Try now").is_none());
    assert_eq!(window.harness.state().model().counters.reconnects, 1);
}

#[test]
fn a_hub_that_stops_and_starts_again_and_again_leaves_no_trace_but_a_count() {
    let mut window = Window::open();
    window.connect(3);
    let charts = window.harness.state().layout().charts().count();
    for round in 1..=50_i64 {
        let reason = "the hub closed the connection: going away (1001)".to_owned();
        window.tell(Event::Disconnected { reason, retry_in: Some(Duration::from_millis(500)) });
        assert!(matches!(window.harness.state().model().connection.link, Link::Waiting { .. }));
        window.jump(1);
        window.tell(welcome(100 + round));
        let list: Vec<_> = (1..=3).map(|n| greenhouse(n, true)).collect();
        window.tell(devices(&list));
    }
    let state = window.harness.state();
    assert_eq!(state.model().counters.reconnects, 50);
    assert_eq!((state.model().devices.len(), state.layout().charts().count()), (3, charts));
    check_bounds(&window, 0);
    // Another database behind the same address: what was shown is gone, and that is said.
    window.tell(Event::Disconnected { reason: "gone".into(), retry_in: None });
    window.tell(welcome(3));
    assert!(window.harness.query_all_by_label_contains("another database").next().is_some());
}
