//! From sensor to screen: how long readings take, in the status bar and in a panel.

use std::time::Duration;

use dashboard::model::Event;
use dashboard::settings::ThemeChoice;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use protocol::SeriesId;
use protocol::trace::Trace;
use protocol::viewer::ViewerMessage;

use crate::fixtures::*;

fn says(window: &Window, text: &str) -> bool {
    window.harness.query_all_by_label_contains(text).next().is_some()
}

/// A frame that shows readings of some devices, the slower the higher their number, and is painted after 4 ms.
fn trace(window: &mut Window, position: i64) {
    let traces = [11, 21, 31]
        .map(|series| {
            let measured = NOW.plus_micros(-40_000);
            let slow = series * 40 + position % 7 * 90;
            Trace {
                series: SeriesId(series),
                measured,
                received: measured.plus_micros(slow),
                committed: measured.plus_micros(slow + 2_000 + position % 5 * 300),
                sent: measured.plus_micros(slow + 14_000 + position % 11 * 1_000),
            }
        })
        .to_vec();
    window.hub.events.try_send(readings(10, position, 11, &[(NOW.plus_micros(position), 21.0)])).unwrap();
    window.hub.events.try_send(Event::Traced { traces, arrived: NOW }).unwrap();
    window.run();
    window.harness.state_mut().painted(Duration::from_millis(4));
}

#[test]
fn charts_ask_for_traces_as_often_as_frames_are_drawn() {
    let mut window = Window::open();
    window.connect(2);
    window.run();
    let charts = |window: &mut Window| {
        let sent = window.sent();
        sent.into_iter().find_map(|message| match message {
            ViewerMessage::Subscribe(subscribe) if subscribe.id == 10 => Some(subscribe),
            _ => None,
        })
    };
    let subscribe = charts(&mut window).unwrap();
    assert_eq!((subscribe.traces, subscribe.max_hz), (Some(1), Some(60.0)));
    // Another frame rate is told; beyond what a hub does it is not asked for.
    for (frames, hz) in [(12, 12.0), (30, 30.0), (120, 60.0)] {
        let number = dashboard::settings::Number::Frames;
        window.harness.state_mut().act(dashboard::action::Action::SetNumber { number, value: frames });
        window.run();
        assert_eq!(charts(&mut window).unwrap().max_hz, Some(hz));
    }
    // A hub that sends less often is asked for less.
    let mut greeting = greeting(300);
    greeting.limits.max_hz = 5.0;
    window.tell(Event::Connected(greeting));
    assert_eq!(charts(&mut window).unwrap().max_hz, Some(5.0));
}

#[test]
fn the_way_of_readings_is_shown_by_stage_and_by_device_and_told_to_the_hub() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1200.0, 760.0]);
    window.connect(3);
    window.run();
    window.harness.key_press(egui::Key::S);
    window.run();
    assert!(says(&window, "No reading has come since the charts were shown"));
    for position in 200..260 {
        trace(&mut window, position);
    }
    window.advance(6);
    assert!(says(&window, "180 readings of the last two minutes"));
    for stage in ["Sensor to hub", "On disk", "Sent", "Arrived here", "Painted", "Sensor to screen"] {
        assert!(says(&window, &format!("{stage}: p50 ")), "{stage}");
    }
    assert!(says(&window, "Painted: p50 4.0 ms, p99 4.0 ms"));
    assert!(says(&window, "sensor to screen "), "the status bar");
    // Each device has its own histogram, in words: the fullest column, and the stage that takes the most.
    for device in ["greenhouse-01", "greenhouse-02", "greenhouse-03"] {
        let row = format!("{device}: p50 ");
        let rows: Vec<_> = window.harness.query_all_by_label_contains(&row).collect();
        assert_eq!(rows.len(), 1, "{device}");
        let label = rows[0].accesskit_node().label().unwrap_or_default();
        assert!(label.contains(", mostly 18 ms to 32 ms; on average most in: Sent"), "{label}");
    }
    // It has room of its own: no chart is behind it.
    let panel = window.harness.get_by_label("From sensor to screen").rect();
    let charts: Vec<_> =
        window.harness.get_all_by_role(egui::Role::Image).map(|chart| chart.rect()).collect();
    assert!(!charts.is_empty() && charts.iter().all(|chart| chart.bottom() <= panel.top()), "{charts:?}");
    window.harness.snapshot("latency_dark");

    let told: Vec<_> = window
        .sent()
        .into_iter()
        .filter_map(|message| match message {
            ViewerMessage::Painted(painted) => Some(painted),
            _ => None,
        })
        .collect();
    assert_eq!(told.iter().map(|painted| painted.waits.len()).sum::<usize>(), 180);
    assert!(told.iter().flat_map(|painted| &painted.waits).all(|(_, painted)| *painted == 4_000));

    // The slowest device leads to its page.
    window.harness.get_by_label_contains("greenhouse-03: p50").click();
    window.run();
    assert_eq!(
        window.harness.state().model().selection.as_ref().map(protocol::DeviceId::as_str),
        Some("greenhouse-03")
    );
    window.harness.get_by_label("Close from sensor to screen").click();
    window.run();
    assert!(!says(&window, "Painted: p50"));
    // The status bar opens it again.
    window.harness.get_by_label_contains("sensor to screen ").click();
    window.run();
    assert!(says(&window, "Painted: p50"));
}

#[test]
fn the_panel_says_why_nothing_is_traced() {
    let mut window = Window::open();
    window.harness.key_press(egui::Key::S);
    window.run();
    assert!(says(&window, "Not connected: readings are traced as soon as there is a hub"));
}
