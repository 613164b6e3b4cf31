//! Pictures of the whole window, drawn without a GPU.

use dashboard::action::Action;
use dashboard::model::Event;
use dashboard::settings::ThemeChoice;
use egui_kittest::kittest::Queryable;
use serde_json::json;

use crate::fixtures::*;
use crate::window::{type_into, with_all_kinds};

/// Readings every second for five minutes: a slow wave and a fast one, told apart by the series.
fn wave(series: i64) -> Vec<(protocol::Timestamp, f64)> {
    (-300..0)
        .map(|second| {
            let (t, phase) = (second as f64, series as f64);
            let slow = (t / 70.0 + phase).sin() * 2.0;
            let fast = (t * 1.7 + phase).sin() * 0.3;
            let base = if series % 10 == 1 { 21.0 } else { 55.0 };
            (later(second), base + slow + fast)
        })
        .collect()
}

fn busy(theme: ThemeChoice) -> Window {
    let mut window = Window::open_with(theme, [1440.0, 860.0]);
    window.connect(6);
    window.run();
    for series in [11, 21, 31, 41, 12, 22, 32, 42] {
        window.hub.events.try_send(readings(10, 200, series, &wave(series))).unwrap();
        for chunk in wave(series).chunks(8) {
            window.hub.events.try_send(readings(1, 200, series, &chunk[chunk.len() - 1..])).unwrap();
        }
    }
    window.hub.events.try_send(Event::RoundTrip(std::time::Duration::from_millis(4))).unwrap();
    window.run();
    window
}

#[test]
fn a_live_fleet_in_the_dark() {
    let mut window = busy(ThemeChoice::Dark);
    window.harness.snapshot("fleet_dark");
}

#[test]
fn a_live_fleet_in_the_light() {
    let mut window = busy(ThemeChoice::Light);
    window.harness.snapshot("fleet_light");
}

#[test]
fn a_device_with_its_commands() {
    let mut window = busy(ThemeChoice::Dark);
    window.tell(command(
        None,
        &[("queued", -120), ("sent", -120), ("running", -119), ("succeeded", -90)],
        json!({}),
    ));
    window.tell(command(
        None,
        &[("queued", -20), ("sent", -20), ("running", -19)],
        json!({"id": "c-2", "progress": 0.6, "args": {"target": 26}}),
    ));
    window.harness.get_by_label_contains("greenhouse-01 live").click();
    window.run();
    window.harness.get_by_label("Set target").click();
    window.run();
    window.harness.remove_cursor();
    window.run();
    window.harness.snapshot("device_dark");
}

#[test]
fn a_form_with_every_kind_of_parameter() {
    let mut window = Window::open_with(ThemeChoice::Light, [900.0, 900.0]);
    with_all_kinds(&mut window);
    type_into(&mut window, "Speed", "75");
    window.harness.get_by_label("Delivery").click();
    window.run();
    window.harness.remove_cursor();
    window.run();
    window.harness.snapshot("form_light");
}

#[test]
fn the_life_of_a_command() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1000.0, 820.0]);
    window.connect(1);
    let states =
        [("queued", -120), ("sent", -119), ("received", -118), ("running", -118), ("unresolved", -10)];
    let more = json!({"code": "timeout", "attempt": 1, "error": "no word from the device for 100 s",
        "result": {"steps": 3, "reached": 23.5}, "cancel": {"at": later(-60).0, "by": "anna"}});
    window.tell(command(None, &states, more));
    window.tell(command(
        None,
        &[("queued", -40), ("sent", -39)],
        json!({"id": "c-2", "name": "reboot", "args": {}}),
    ));
    window.harness.state_mut().act(Action::ShowCommand(Some(protocol::CommandId::new("c-1").unwrap())));
    window.run();
    window.harness.snapshot("command_dark");
}

#[test]
fn no_hub() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1000.0, 600.0]);
    let retry_in = Some(std::time::Duration::from_secs(2));
    window.tell(Event::Disconnected { reason: "Connection refused (os error 111).".into(), retry_in });
    window.harness.snapshot("no_hub");
}

#[test]
fn a_stretch_of_time_is_typed() {
    let mut window = busy(ThemeChoice::Light);
    window.harness.state_mut().act(Action::Pause);
    window.run();
    window.advance(130);
    window.harness.state_mut().act(Action::ToggleRange);
    window.harness.state_mut().act(Action::TypeRange { is_end: true, text: "11:5".into() });
    window.run();
    window.harness.snapshot("range_light");
}
