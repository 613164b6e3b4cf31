//! The page of a device: what the hub's books say of it.

use dashboard::model::Event;
use dashboard::settings::ThemeChoice;
use egui_kittest::kittest::Queryable as _;
use protocol::viewer::ViewerMessage;
use serde_json::{Value as Json, json};

use crate::fixtures::*;

fn says(window: &Window, text: &str) -> bool {
    window.harness.query_all_by_label_contains(text).next().is_some()
}

/// The ids of the requests for connections and ledger that were sent since the last call.
fn asked(window: &mut Window) -> Vec<(&'static str, u64)> {
    window
        .sent()
        .iter()
        .filter_map(|message| match message {
            ViewerMessage::Connections(m) if m.device.as_str() == "greenhouse-01" => {
                Some(("connections", m.id))
            }
            ViewerMessage::Ledger(m) => Some(("ledger", m.id)),
            _ => None,
        })
        .collect()
}

fn connections(id: u64) -> Event {
    let at = |seconds: i64| later(seconds).0;
    Event::Message(message(
        json!({"type": "connections", "id": id, "device": "greenhouse-01", "connections": [
            {"session": "s12", "address": "10.0.0.7:50412", "opened_at": at(-3_600)},
            {"session": "s7", "address": "10.0.0.7:50123", "opened_at": at(-9_000),
             "end": {"at": at(-3_700), "by": "hub", "code": 4004, "reason": "no answer to pings"}},
            {"session": "s3", "address": "10.0.0.7:49811", "opened_at": at(-20_000), "end": {"by": "lost"}},
        ]}),
    ))
}

fn ledger(id: u64, more: Json) -> Event {
    let mut ledger = json!({"type": "ledger", "id": id, "device": "greenhouse-01", "adds_up": true,
        "readings": 1200, "hot": 200, "sealed": 999, "conflicts": 1, "removed": 0, "damaged": 0, "streams": [
        {"epoch": "e-4a", "sent": 21, "stored": 20, "refused": 0, "skipped": 1, "duplicate": 0, "readings": 200,
         "created_at": later(-90_000).0, "changed_at": later(-20_000).0},
        {"epoch": "e-5f1c", "sent": 100, "stored": 100, "refused": 0, "skipped": 0, "duplicate": 3,
         "readings": 1000, "created_at": later(-20_000).0, "changed_at": NOW.0}]});
    for (key, value) in more.as_object().unwrap() {
        ledger[key] = value.clone();
    }
    Event::Message(message(ledger))
}

fn open(window: &mut Window) -> (u64, u64) {
    window.connect(2);
    window.sent();
    window.harness.get_by_label_contains("greenhouse-01 live").click();
    window.run();
    match asked(window).as_slice() {
        [("connections", connections), ("ledger", ledger)] => (*connections, *ledger),
        other => unreachable!("{other:?}"),
    }
}

fn unfold(window: &mut Window, name: &str) {
    window.harness.get_by_label(name).click();
    window.run();
}

#[test]
fn the_connections_of_a_device_say_when_from_where_and_why_they_ended() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1200.0, 1000.0]);
    let (id, _) = open(&mut window);
    unfold(&mut window, "Connections");
    assert!(says(&window, "Loading…"));
    window.tell(connections(id));
    for text in [
        "11:00:00 until now, 1 h",
        "10.0.0.7:50412 s12",
        "ended by the hub: no answer to pings (4004)",
        "the end is not known",
        "was lost",
    ] {
        assert!(says(&window, text), "{text}");
    }
}

#[test]
fn the_ledger_says_what_became_of_everything_that_was_sent() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1200.0, 1000.0]);
    let (_, id) = open(&mut window);
    window.tell(ledger(id, json!({})));
    unfold(&mut window, "Ledger");
    for text in ["Everything that was sent is stored", "Duplicate", "Conflict", "Missing", "As of 12:00:00"] {
        assert!(says(&window, text), "{text}");
    }
    window.harness.get_by_label("121");
    // What does not add up is said first, with how much.
    window.harness.get_by_label("Refresh").click();
    window.run();
    let again = asked(&mut window);
    assert_eq!(again.len(), 2);
    assert!(says(&window, "Everything that was sent"), "what was known stays while it is asked again");
    window.tell(ledger(again[1].1, json!({"adds_up": false, "sealed": 900})));
    assert!(says(&window, "It does not add up: 99 readings. Run `hub verify`"));
}

#[test]
fn the_ledger_follows_what_the_device_sends_at_a_bounded_rate() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1200.0, 1000.0]);
    let (_, id) = open(&mut window);
    window.tell(ledger(id, json!({})));
    unfold(&mut window, "Ledger");
    window.advance(60);
    assert_eq!(asked(&mut window), [], "nothing has come");
    // Readings every second: it is asked for five seconds after each answer, alone, and what is known stays meanwhile.
    let mut questions = Vec::new();
    for second in 0..20 {
        window.tell(readings(1, 200 + second, 11, &[(later(60 + second), 21.6)]));
        window.advance(1);
        for (what, id) in asked(&mut window) {
            questions.push((second, what));
            assert!(says(&window, "Everything that was sent is stored"));
            window.tell(ledger(id, json!({"readings": 2_000 + second})));
            assert!(says(&window, &format!("{}", 2_000 + second)), "{second}");
        }
    }
    let seconds: Vec<_> = questions.iter().map(|(second, _)| *second).collect();
    assert_eq!(seconds, [0, 5, 10, 15]);
    assert!(questions.iter().all(|(_, what)| *what == "ledger"));
    // Once more after the last reading, and then no more.
    window.advance(5);
    assert_eq!(asked(&mut window).len(), 1);
    window.advance(60);
    assert_eq!(asked(&mut window), [], "it waits for its answer");
}

#[test]
fn an_answer_that_does_not_come_says_why_and_can_be_asked_for_again() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1200.0, 1000.0]);
    let (_, id) = open(&mut window);
    let refused = json!({"type": "error", "id": id, "code": "internal", "message": "the disk is slow"});
    window.tell(Event::Message(message(refused)));
    unfold(&mut window, "Ledger");
    assert!(says(&window, "Could not be loaded: the disk is slow"));
    window.harness.get_by_label("Ask again").click();
    window.run();
    let again = asked(&mut window);
    window.tell(ledger(again[1].1, json!({})));
    assert!(says(&window, "Everything that was sent"));
}

#[test]
fn the_page_is_asked_for_again_when_the_device_comes_or_goes_and_after_a_new_welcome() {
    let mut window = Window::open();
    let (of_connections, of_ledger) = open(&mut window);
    window.tell(connections(of_connections));
    window.tell(ledger(of_ledger, json!({})));
    window.tell(changed(greenhouse(2, false)));
    assert_eq!(asked(&mut window).len(), 0, "another device");
    window.tell(changed(greenhouse(1, false)));
    assert_eq!(asked(&mut window).len(), 2);
    window.tell(Event::Disconnected { reason: "gone".into(), retry_in: None });
    assert_eq!(asked(&mut window).len(), 0);
    window.tell(welcome(100));
    assert_eq!(asked(&mut window).len(), 2);
    // An answer that belongs to nothing changes nothing.
    window.tell(connections(999));
    let page = window.harness.state().model().page.clone().unwrap();
    assert!(matches!(page.connections, dashboard::model::page::Asked::Loading(Some(_))));
}

#[test]
fn the_page_is_a_picture() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1000.0, 1080.0]);
    let (of_connections, of_ledger) = open(&mut window);
    window.tell(connections(of_connections));
    window.tell(ledger(of_ledger, json!({})));
    window.tell(readings(1, 101, 11, &[(NOW, 21.6)]));
    unfold(&mut window, "Connections");
    unfold(&mut window, "Ledger");
    window.harness.remove_cursor();
    window.run();
    window.harness.snapshot("page_dark");
}
