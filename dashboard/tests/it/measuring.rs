//! The measuring cursors say what their numbers lack, and what they are made of.

use dashboard::action::Action;
use dashboard::model::Event;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use protocol::viewer::ViewerMessage;
use serde_json::json;

use crate::fixtures::*;

/// What is said of the first greenhouse's temperature between the cursors.
fn said(window: &Window) -> String {
    let rows = window.harness.query_all_by_label_contains("greenhouse-01 between A and B");
    rows.filter_map(|node| node.accesskit_node().value()).collect::<Vec<_>>().join("\n")
}

fn measure(window: &mut Window, from: i64, to: i64) -> String {
    window.harness.state_mut().act(Action::Measure { from: later(from), to: later(to) });
    window.run();
    said(window)
}

/// Answers whatever history was asked for, with buckets of a minute where `thinned`.
fn answer(window: &mut Window, thinned: bool) {
    for _ in 0..6 {
        for asked in window.sent() {
            let ViewerMessage::History(request) = asked else { continue };
            let mut reply = json!({"type": "history", "id": request.id, "series": request.series.0,
                "step": serde_json::to_value(request.step).unwrap(), "position": 100});
            if thinned && request.series.0 == 11 && reply["step"] != json!("1m") {
                reply["coarser"] = json!("1m");
            } else if thinned && request.series.0 == 11 {
                let bucket = |minute: i64, mean: f64| {
                    json!([later(minute * 60).0, 60, mean - 1.0, mean + 1.0, mean, mean, mean])
                };
                reply["buckets"] = json!([bucket(-4, 20.0), bucket(-3, 22.0)]);
            }
            window.tell(Event::Message(message(reply)));
        }
        window.advance(1);
    }
}

fn open() -> Window {
    let mut window = Window::open();
    window.connect(2);
    let points: Vec<_> = (-60..0).filter(|s| !(-30..-20).contains(s)).map(|s| (later(s), 21.5)).collect();
    window.tell(readings(10, 200, 11, &points));
    window.tell(readings(10, 200, 21, &points));
    window
}

#[test]
fn numbers_of_a_stretch_with_a_hole_say_how_long_it_is_and_what_is_lost_for_good() {
    let mut window = open();
    answer(&mut window, false);
    let whole = measure(&mut window, -20, -5);
    assert!(whole.contains("readings 16") && !whole.contains("without"), "{whole}");
    let holed = measure(&mut window, -50, -5);
    assert!(holed.contains("readings 36") && holed.contains("11.0 s without readings"), "{holed}");
    assert!(!holed.contains("lost"), "{holed}");
    let mut device = greenhouse(1, true);
    device["late_or_lost"] = json!([{"what": "lost", "from": later(-31).0, "to": later(-20).0, "batches": 2,
        "told_at": later(-19).0}]);
    window.tell(changed(device));
    let lost = said(&window);
    assert!(lost.contains("11.0 s without readings; some readings are lost for good"), "{lost}");
}

#[test]
fn numbers_of_what_is_not_loaded_say_so_and_why() {
    let mut window = open();
    let loading = measure(&mut window, -250, -5);
    assert!(loading.contains("some is still loading"), "{loading}");
    let outside = measure(&mut window, -4_000, -5);
    assert!(outside.contains("what lies outside of the view may not be loaded: zoom out"), "{outside}");
    window.tell(Event::Disconnected { reason: "gone".into(), retry_in: None });
    let waits = said(&window);
    assert!(waits.contains("history that is not here waits for the hub"), "{waits}");
}

#[test]
fn numbers_of_buckets_say_how_wide_they_are() {
    let mut window = open();
    answer(&mut window, true);
    let thinned = measure(&mut window, -240, -5);
    assert!(thinned.contains("thinned by retention, so partly of buckets of 1 min"), "{thinned}");
    assert!(thinned.contains("min 19.0") && thinned.contains("readings ≈1"), "{thinned}");
    // Many readings are measured in columns.
    let dense: Vec<_> = (0..20_000).map(|i| (NOW.plus_micros((i - 20_000) * 2_000 + 5), 1.0)).collect();
    for part in dense.chunks(2_000) {
        window.tell(readings(10, 201, 21, part));
    }
    window.harness.state_mut().act(Action::Measure { from: later(-40), to: later(-1) });
    window.run();
    let other = window.harness.query_all_by_label_contains("greenhouse-02 between A and B").next().unwrap();
    let other = other.accesskit_node().value().unwrap();
    assert!(other.contains("of buckets of "), "{other}");
}
