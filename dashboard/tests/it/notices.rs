//! The bell and the log of notices.

use dashboard::model::Event;
use dashboard::settings::ThemeChoice;
use egui::Key;
use egui_kittest::kittest::Queryable as _;
use serde_json::json;

use crate::fixtures::*;

fn says(window: &Window, text: &str) -> bool {
    window.harness.query_all_by_label_contains(text).next().is_some()
}

fn go_offline(window: &mut Window, numbers: std::ops::RangeInclusive<i64>) {
    for n in numbers {
        let event = changed(greenhouse(n, false));
        window.hub.events.try_send(event).unwrap();
    }
    window.run();
}

#[test]
fn many_devices_that_go_offline_are_one_notice_and_one_unread() {
    let mut window = Window::open();
    window.tell(welcome(100));
    let list: Vec<_> = (1..=20).map(|n| greenhouse(n, true)).collect();
    window.tell(devices(&list));
    window.harness.get_by_label("Notices");
    go_offline(&mut window, 1..=12);
    assert!(says(&window, "12 devices are offline") && says(&window, "and 7 more"));
    window.harness.get_by_label("Notices, 1 unread").click();
    window.run();
    assert!(says(&window, "12 devices are offline"), "now in the log");
    window.harness.get_by_label("Close the notices").click();
    window.run();
    window.harness.get_by_label("Notices");
    // Long gone from the corner, it is still in the log.
    window.advance(600);
    assert!(!says(&window, "12 devices are offline"));
    window.harness.key_press(Key::N);
    window.run();
    assert!(says(&window, "12 devices are offline") && says(&window, "12:00:00"));
    window.harness.get_by_label("Clear").click();
    window.run();
    assert!(says(&window, "Nothing has happened that you should know"));
    window.harness.key_press(Key::Escape);
    window.run();
    assert!(!window.harness.state().model().log_open);
}

#[test]
fn a_new_connection_to_the_hub_announces_no_device_that_was_away_meanwhile() {
    let mut window = Window::open();
    window.connect(3);
    window.tell(Event::Disconnected { reason: "gone".into(), retry_in: None });
    window.tell(welcome(100));
    window.tell(devices(&[greenhouse(1, false), greenhouse(2, true), greenhouse(3, true)]));
    assert!(!says(&window, "is offline"), "when it went is not known");
    go_offline(&mut window, 2..=2);
    assert!(says(&window, "greenhouse-02 is offline"));
}

#[test]
fn the_log_is_a_picture() {
    let mut window = Window::open_with(ThemeChoice::Light, [1000.0, 560.0]);
    window.tell(welcome(100));
    let list: Vec<_> = (1..=20).map(|n| greenhouse(n, true)).collect();
    window.tell(devices(&list));
    window.tell(Event::BadMessage("expected `,` or `}` at line 1 column 80".into()));
    go_offline(&mut window, 1..=12);
    window.advance(60);
    window.tell(Event::Message(message(
        json!({"type": "error", "code": "internal", "message": "the disk is full"}),
    )));
    let chart = window.harness.state().layout().charts().map(|p| p.chart).max().unwrap();
    window.harness.state_mut().act(dashboard::action::Action::CloseChart(chart));
    window.run();
    window.harness.key_press(Key::N);
    window.run();
    window.harness.snapshot("log_light");
}
