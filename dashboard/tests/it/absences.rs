//! When a device was away before this window ran is drawn as offline, not as a plain gap.

use dashboard::model::Event;
use egui_kittest::kittest::Queryable as _;
use protocol::viewer::ViewerMessage;
use serde_json::json;

use crate::fixtures::*;

/// The requests for connections since the last call: the id, and whose.
fn asked(window: &mut Window) -> Vec<(u64, String)> {
    let sent = window.sent();
    let of = |message: &ViewerMessage| match message {
        ViewerMessage::Connections(asked) => Some((asked.id, asked.device.to_string())),
        _ => None,
    };
    sent.iter().filter_map(of).collect()
}

fn told(window: &mut Window, id: u64, device: &str, connections: serde_json::Value) {
    let answer = json!({"type": "connections", "id": id, "device": device, "connections": connections});
    window.tell(Event::Message(message(answer)));
}

#[test]
fn an_absence_before_this_window_ran_is_drawn_as_offline() {
    let mut window = Window::open();
    window.connect(1);
    let requests = asked(&mut window);
    assert_eq!(requests.len(), 1, "once for the device, however many of its series are shown: {requests:?}");
    assert!(window.harness.query_by_label_contains("offline for").is_none());
    let connections = json!([
        {"session": "s3", "address": "a", "opened_at": later(-100).0},
        {"session": "s2", "address": "a", "opened_at": later(-250).0,
         "end": {"at": later(-160).0, "by": "lost"}},
        {"session": "s1", "address": "a", "opened_at": later(-900).0, "end": {"by": "lost"}},
    ]);
    told(&mut window, requests[0].0, "greenhouse-01", connections);
    let charts = window.harness.state().layout().charts().count();
    let shaded = window.harness.query_all_by_label("Offline for 1 m 0 s from 11:57:20").count();
    assert_eq!(shaded, charts, "in each chart of the device");
    assert_eq!(
        window.harness.query_all_by_label_contains("Offline for").count(),
        charts,
        "and nothing is guessed"
    );
    window.advance(5);
    assert_eq!(asked(&mut window), [], "it is not asked for again");
    // What happened while there was no hub is asked for with the next connection.
    window.tell(Event::Disconnected { reason: "gone".into(), retry_in: None });
    window.advance(60);
    let mut back = welcome(100);
    if let Event::Connected(welcome) = &mut back {
        welcome.server_time = later(65);
    }
    window.tell(back);
    window.tell(devices(&[greenhouse(1, true)]));
    let again = asked(&mut window);
    assert_eq!(again.len(), 1);
    let connections = json!([
        {"session": "s4", "address": "a", "opened_at": later(30).0},
        {"session": "s3", "address": "a", "opened_at": later(-100).0,
         "end": {"at": later(10).0, "by": "device"}},
    ]);
    told(&mut window, again[0].0, "greenhouse-01", connections);
    window.harness.get_all_by_label("Offline for 20.0 s from 12:00:10").next().unwrap();
    window.harness.get_all_by_label("Offline for 1 m 0 s from 11:57:20").next().unwrap();
}

#[test]
fn a_large_fleet_is_asked_for_a_few_at_a_time_and_a_refusal_changes_nothing() {
    let mut window = Window::open();
    window.connect(9);
    let series = [51, 61, 71, 81, 91].map(protocol::SeriesId).into();
    window.harness.state_mut().act(dashboard::action::Action::AddChart { title: None, series });
    window.run();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..9 {
        let requests = asked(&mut window);
        assert!(requests.len() <= 8, "{requests:?}");
        for (id, device) in requests {
            assert!(seen.insert(device), "twice");
            let refused =
                json!({"type": "error", "id": id, "code": "internal", "message": "the disk is slow"});
            window.tell(Event::Message(message(refused)));
        }
        window.advance(1);
    }
    assert_eq!(seen.len(), 9, "{seen:?}");
    assert_eq!(window.harness.state().model().toasts.log().len(), 0, "a plain gap is honest enough");
}
