//! The window, found by what it says to a screen reader.

use std::time::Duration;

use client::{ConnectError, Ending};
use dashboard::model::Event;
use dashboard::settings::ThemeChoice;
use egui::Key;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use protocol::viewer::ViewerMessage;
use serde_json::json;

use crate::fixtures::*;

#[test]
fn a_device_appears_in_the_list_with_its_value() {
    let mut window = Window::open();
    window.connect(2);
    window.tell(readings(1, 101, 11, &[(NOW, 21.6)]));
    window.harness.get_by_label("greenhouse-01 live 21.6 °C");
    window.harness.get_by_label_contains("greenhouse-02 live");
    window.harness.get_by_label("2 devices");
}

#[test]
fn the_filter_hides_what_does_not_fit() {
    let mut window = Window::open();
    window.connect(3);
    window.harness.key_press(Key::Slash);
    window.run();
    window.harness.get_by_role(egui::accesskit::Role::TextInput).type_text("house-02");
    window.run();
    assert!(window.harness.query_by_label_contains("greenhouse-02 live").is_some());
    assert!(window.harness.query_by_label_contains("greenhouse-01 live").is_none());
    window.harness.get_by_label("Clear the filter").click();
    window.run();
    assert!(window.harness.query_by_label_contains("greenhouse-01 live").is_some());
}

#[test]
fn a_device_unfolds_to_its_metrics() {
    let mut window = Window::open();
    window.connect(1);
    window.tell(readings(1, 101, 12, &[(NOW, 55.0)]));
    window.harness.get_by_label("Show metrics of greenhouse-01").click();
    window.run();
    window.harness.get_by_label("greenhouse-01 Humidity 55.0 %");
}

#[test]
fn a_command_is_sent_with_what_the_form_shows() {
    let mut window = Window::open();
    window.connect(1);
    window.harness.get_by_label_contains("greenhouse-01 live").click();
    window.run();
    window.harness.get_by_label("Set target").click();
    window.run();
    window.harness.get_by_label("boost").click();
    window.run();
    window.sent();
    window.harness.get_by_label("Send").click();
    window.run();
    let sent = window.sent();
    let send =
        sent.iter().find_map(|m| if let ViewerMessage::SendCommand(s) = m { Some(s) } else { None }).unwrap();
    assert_eq!((send.device.as_str(), send.name.as_str()), ("greenhouse-01", "set_target"));
    assert_eq!(json!(send.args), json!({"target": 21, "mode": "boost"}));
    let id = send.id;
    window.tell(command(Some(id), &[("queued", 0), ("sent", 0), ("running", 1)], json!({"progress": 0.5})));
    window.harness.get_by_label("running, 50 %");
    window.harness.get_by_label("Progress of Set target");
    window.sent();
    window.harness.get_by_label("Cancel").click();
    window.run();
    assert!(
        window
            .sent()
            .iter()
            .any(|m| matches!(m, ViewerMessage::CancelCommand(c) if c.command.as_str() == "c-1"))
    );
}

#[test]
fn a_dangerous_command_is_confirmed_in_a_dialog() {
    let mut window = Window::open();
    window.connect(1);
    window.harness.get_by_label_contains("greenhouse-01 live").click();
    window.run();
    window.harness.get_by_label("Reboot").click();
    window.run();
    window.sent();
    window.harness.get_by_label("Send…").click();
    window.run();
    window.harness.get_by_label("Reboot greenhouse-01?");
    assert!(window.sent().is_empty());
    window.harness.get_by_label("Do not send").click();
    window.run();
    assert!(window.harness.query_by_label("Reboot greenhouse-01?").is_none());
    window.harness.get_by_label("Send…").click();
    window.run();
    window.harness.get_by_label("Send now").click();
    window.run();
    assert!(
        matches!(window.sent().as_slice(), [ViewerMessage::SendCommand(s)] if s.name.as_str() == "reboot")
    );
}

/// A device whose one command has a parameter of each kind.
pub(crate) fn with_all_kinds(window: &mut Window) {
    window.connect(1);
    let mut device = greenhouse(1, true);
    device["commands"] = json!([{"name": "run", "params": [
        {"name": "speed", "kind": "number", "unit": "Hz", "min": 0, "max": 60, "required": true},
        {"name": "offset", "kind": "number"},
        {"name": "reverse", "kind": "bool", "default": false},
        {"name": "gear", "kind": "text", "choices": ["1", "2", "3", "4", "5", "6", "7"]},
        {"name": "ramp", "kind": "text", "choices": ["soft", "hard"], "default": "soft"},
        {"name": "note", "kind": "text"}]}]);
    window.tell(changed(device));
    window.harness.get_by_label_contains("greenhouse-01 live").click();
    window.run();
}

pub(crate) fn type_into(window: &mut Window, label: &str, text: &str) {
    let field = |window: &Window, act: &dyn Fn(&egui_kittest::Node<'_>)| {
        let is_field = |role| {
            matches!(role, egui::accesskit::Role::TextInput | egui::accesskit::Role::MultilineTextInput)
        };
        let found = window.harness.query_all_by_label(label).find(|n| is_field(n.accesskit_node().role()));
        act(&found.expect(label));
    };
    field(window, &|node| node.focus());
    window.run();
    field(window, &|node| node.type_text(text));
    window.run();
}

#[test]
fn each_kind_of_parameter_has_its_control_and_says_its_mistake_beside_it() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1200.0, 900.0]);
    with_all_kinds(&mut window);
    window.harness.get_by_label("Speed is required");
    assert!(window.harness.get_by_label("Send").accesskit_node().is_disabled());
    type_into(&mut window, "Speed", "75");
    window.harness.get_by_label("75 is above the maximum of 60 Hz");
    assert!(window.harness.get_by_label("Send").accesskit_node().is_disabled());
    window.harness.get_by_label("Speed slider").focus();
    window.run();
    window.harness.key_press(Key::ArrowLeft);
    window.run();
    assert!(window.harness.query_by_label_contains("is above the maximum").is_none());
    window.harness.get_by_role_and_label(egui::accesskit::Role::Switch, "Reverse").click();
    window.run();
    window.harness.get_by_label("hard").click();
    window.run();
    type_into(&mut window, "Note", "spring");
    window.sent();
    window.harness.get_by_label("Send").click();
    window.run();
    let sent = window.sent();
    let Some(ViewerMessage::SendCommand(send)) = sent.first() else { unreachable!("{sent:?}") };
    let (mut args, speed) = (json!(send.args), json!(send.args["speed"]));
    assert!(speed.as_f64().is_some_and(|s| s < 60.0), "{speed}");
    args.as_object_mut().unwrap().remove("speed");
    assert_eq!(args, json!({"reverse": true, "ramp": "hard", "note": "spring"}));
}

#[test]
fn what_is_optional_can_be_left_out_again_and_a_default_restored() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1200.0, 900.0]);
    with_all_kinds(&mut window);
    let left_out =
        |window: &Window| window.harness.query_all_by_label("Left out: the device decides.").count();
    let before = left_out(&window);
    type_into(&mut window, "Offset", "3");
    assert_eq!(left_out(&window), before - 1);
    window.harness.get_by_label("Leave out Offset").click();
    window.run();
    assert_eq!(left_out(&window), before);
    window.harness.get_by_label("hard").click();
    window.run();
    window.harness.get_by_label("Reset Ramp").click();
    window.run();
    let ramp = window.harness.state().model().form.as_ref().unwrap().args["ramp"].clone();
    assert_eq!(ramp, json!("soft"));
}

#[test]
fn delivery_is_folded_away_and_an_undeclared_command_is_clearly_marked() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1200.0, 900.0]);
    window.connect(1);
    window.harness.get_by_label_contains("greenhouse-01 live").click();
    window.run();
    window.harness.get_by_label("Undeclared command").click();
    window.run();
    window.harness.get_by_label_contains("neither this window nor the hub checks it");
    type_into(&mut window, "Name of the command", "self_test");
    type_into(&mut window, "Arguments as JSON", "{\"deep\": 1");
    window.harness.get_by_label_contains("is not JSON");
    type_into(&mut window, "Arguments as JSON", "}");
    window.harness.get_by_label("Delivery").click();
    window.run();
    window.harness.get_by_label("1 d").click();
    window.run();
    window.harness.get_by_label("After finished").click();
    window.run();
    window.sent();
    window.harness.get_by_label("Send unchecked…").click();
    window.run();
    window.harness.get_by_label("within 1 d, after finished");
    window.harness.get_by_label("Send now").click();
    window.run();
    let sent = window.sent();
    assert!(
        matches!(sent.as_slice(), [ViewerMessage::SendCommand(s)] if s.force && s.expires_in_ms == Some(86_400_000)),
        "{sent:?}"
    );
}

#[test]
fn enter_does_not_confirm_and_escape_leaves_the_question_but_not_the_form() {
    let mut window = Window::open();
    window.connect(1);
    window.harness.get_by_label_contains("greenhouse-01 live").click();
    window.run();
    window.harness.get_by_label("Reboot").click();
    window.run();
    for key in [Key::Enter, Key::Space, Key::Escape] {
        window.harness.get_by_label("Send…").click();
        window.run();
        window.harness.get_by_label("Reboot greenhouse-01?");
        window.sent();
        window.harness.key_press(key);
        window.run();
        assert!(window.harness.query_by_label("Reboot greenhouse-01?").is_none(), "{key:?}");
        assert!(window.sent().is_empty(), "{key:?}");
    }
    window.harness.get_by_label("Send…").click();
    window.run();
    window.harness.key_press(Key::Tab);
    window.run();
    window.harness.key_press(Key::Enter);
    window.run();
    assert_eq!(window.sent().len(), 1, "two deliberate keys send it");
}

#[test]
fn the_life_of_a_command_is_shown_to_the_millisecond_and_it_can_be_taken_back() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1200.0, 900.0]);
    window.connect(1);
    let unknown = [("queued", -20), ("sent", -19), ("unknown", -10)];
    window.tell(command(
        None,
        &unknown,
        json!({"code": "disconnected", "attempt": 2, "cancel":
        {"at": later(-5).0, "by": "anna", "address": "10.0.0.9:5000"}, "result": {"steps": 3}}),
    ));
    window.harness.get_by_label_contains("greenhouse-01 live").click();
    window.run();
    window.harness.get_by_label_contains("Life of Set target c-1").click();
    window.run();
    window.harness.get_by_label("No answer yet");
    window.harness.get_by_label_contains("It may have done it");
    window.harness.get_by_label("no answer yet at 11:59:50.000 +9.000 s by operator");
    window.harness.get_by_label_contains("anna from 10.0.0.9:5000 asked at 11:59:55.000");
    window.sent();
    window.harness.get_by_label("Ask again to stop").click();
    window.run();
    assert!(matches!(window.sent().as_slice(), [ViewerMessage::CancelCommand(_)]));
    window.harness.get_by_label("Copy as JSON").click();
    window.harness.step();
    let copied = window.harness.output().platform_output.commands.iter().find_map(|c| match c {
        egui::OutputCommand::CopyText(text) => Some(text.clone()),
        _ => None,
    });
    let copied: serde_json::Value = serde_json::from_str(&copied.unwrap()).unwrap();
    assert_eq!((&copied["id"], &copied["result"]["steps"]), (&json!("c-1"), &json!(3)));
    window.run();
    window.harness.key_press(Key::Escape);
    window.run();
    assert!(window.harness.query_by_label("Copy as JSON").is_none());
    assert!(window.harness.query_by_label("Set target").is_some(), "the device is still there");
}

#[test]
fn the_banner_says_once_why_there_is_no_connection() {
    let mut window = Window::open();
    window.connect(1);
    let refused = ConnectError::Unreachable { address: "hub:7878".into(), problem: "refused".into() };
    for (ending, said) in [
        (Ending::Lost("reset by peer".into()), "The connection was lost: reset by peer"),
        (
            Ending::Closed { code: Some(1001), reason: String::new() },
            "The hub closed the connection: going away (1001)",
        ),
        (Ending::NotConnected(refused), "hub:7878 cannot be reached: refused"),
        (Ending::Silent(Duration::from_secs(28)), "Nothing was heard of the hub for 28 s"),
    ] {
        let retry_in = Some(Duration::from_secs(5));
        window.tell(Event::Disconnected { reason: ending.to_string(), retry_in });
        window.harness.get_by_label(said);
    }
}

#[test]
fn a_lost_connection_shows_a_banner_with_the_next_try() {
    let mut window = Window::open();
    window.connect(2);
    let retry_in = Some(Duration::from_secs(5));
    window.tell(Event::Disconnected { reason: "connection reset".into(), retry_in });
    window.harness.get_by_label("Connection reset");
    window.harness.get_by_label("next try in 5 s");
    window.advance(2);
    window.harness.get_by_label("next try in 3 s");
    window.harness.get_by_label("Try now").click();
    window.run();
    assert!(window.hub.outbox.try_recv().is_ok(), "the link is asked to try");
    window.tell(welcome(100));
    assert!(window.harness.query_by_label("Try now").is_none());
}

#[test]
fn an_unreachable_hub_says_what_to_do() {
    let mut window = Window::open();
    window.harness.get_by_label("Connecting to 127.0.0.1:7878");
    let retry_in = Some(Duration::from_secs(2));
    window.tell(Event::Disconnected { reason: "connection refused".into(), retry_in });
    window.harness.get_by_label("No hub at 127.0.0.1:7878");
    window.harness.get_by_label("Copy").click();
    window.run();
    window.tell(Event::Unusable("No token: x does not exist.".into()));
    window.harness.get_by_label("Cannot connect to 127.0.0.1:7878");
}

#[test]
fn a_hub_without_devices_says_how_to_get_some() {
    let mut window = Window::open();
    window.tell(welcome(0));
    window.tell(devices(&[]));
    window.harness.get_by_label("Waiting for the first device");
}

#[test]
fn an_idle_window_asks_for_no_frame() {
    let mut window = Window::open();
    window.connect(3);
    window.tell(readings(1, 101, 11, &[(NOW, 20.0)]));
    // All devices have gone quiet: stale long ago, so that even their ages stand still for a while.
    window.advance(3_000);
    window.advance(10);
    window.harness.run_steps(3);
    let delay = window.harness.output().viewport_output[&egui::ViewportId::ROOT].repaint_delay;
    assert!(delay >= Duration::from_secs(1), "{delay:?}: {:?}", window.harness.ctx.repaint_causes());
}

#[test]
fn an_idle_window_full_of_commands_asks_for_no_frame() {
    let mut window = Window::open();
    window.connect(2);
    window.tell(command(None, &[("queued", -40), ("sent", -39), ("running", -39)], json!({"progress": 0.5})));
    window.tell(command(None, &[("queued", -30), ("failed", -20)], json!({"id": "c-2"})));
    window.harness.get_by_label_contains("greenhouse-01 live").click();
    window.run();
    window.harness.get_by_label("Set target").click();
    window.run();
    for key in [Key::C, Key::G] {
        window.harness.key_press(key);
        window.run();
        window.harness.remove_cursor();
        window.advance(3_000);
        window.advance(10);
        window.harness.run_steps(3);
        let delay = window.harness.output().viewport_output[&egui::ViewportId::ROOT].repaint_delay;
        assert!(
            delay >= Duration::from_secs(1),
            "{key:?} {delay:?}: {:?}",
            window.harness.ctx.repaint_causes()
        );
    }
}

#[test]
fn a_click_on_a_span_shows_it_and_dragging_into_the_past_pauses() {
    let mut window = Window::open();
    window.connect(1);
    window.harness.get_by_label("1 h").click();
    window.run();
    assert_eq!(window.harness.state().model().viewport.width(), 3_600 * SECOND);
    window.harness.get_by_label("Live").click();
    window.run();
    window.harness.get_by_label_contains("Paused, ");
    window.harness.key_press(Key::L);
    window.run();
    window.harness.get_by_label("Live");
}

#[test]
fn the_theme_switch_goes_round() {
    let mut window = Window::open();
    assert_eq!(window.harness.ctx.theme(), egui::Theme::Dark);
    window.harness.get_by_label("Theme: dark").click();
    window.run();
    window.harness.get_by_label("Theme: light");
    assert_eq!(window.harness.state().model().settings.theme, ThemeChoice::Light);
    assert_eq!(window.harness.ctx.theme(), egui::Theme::Light);
}

#[test]
fn ten_thousand_devices_cost_what_fits_on_the_screen() {
    let mut window = Window::open();
    window.tell(welcome(100));
    let list: Vec<_> = (1..=10_000).map(|n| greenhouse(n, true)).collect();
    window.tell(devices(&list));
    window.harness.get_by_label("10 000 devices");
    assert!(window.harness.query_all_by_label_contains("Show metrics of").count() < 60);
}

#[test]
fn a_double_click_on_a_device_adds_a_chart_and_a_drop_puts_it_into_one() {
    let mut window = Window::open();
    window.connect(2);
    assert_eq!(window.harness.state().layout().charts().count(), 2);
    let row = window.harness.get_by_label_contains("greenhouse-02 live").rect().center();
    for _ in 0..2 {
        for pressed in [true, false] {
            window.harness.event(egui::Event::PointerButton {
                pos: row,
                button: egui::PointerButton::Primary,
                pressed,
                modifiers: egui::Modifiers::NONE,
            });
        }
    }
    window.run();
    let charts: Vec<_> = window.harness.state().layout().charts().cloned().collect();
    assert_eq!(charts.len(), 3);
    let added = charts.iter().max_by_key(|p| p.chart).unwrap();
    assert_eq!(added.spec.series, [protocol::SeriesId(21)]);

    let from = window.harness.get_by_label_contains("greenhouse-01 live").rect().center();
    let to = window.harness.get_by_label_contains("Chart Air temperature · greenhouse-02").rect().center();
    window.harness.drag_at(from);
    window.harness.step();
    window.harness.hover_at(from + egui::vec2(40.0, 10.0));
    window.harness.step();
    window.harness.hover_at(to);
    window.harness.step();
    window.harness.drop_at(to);
    window.run();
    let layout = window.harness.state().layout();
    assert_eq!(
        layout.chart(added.chart).unwrap().spec.series,
        [protocol::SeriesId(21), protocol::SeriesId(11)]
    );
}

#[test]
fn the_menu_of_a_chart_renames_splits_and_closes_it() {
    let mut window = Window::open();
    window.connect(2);
    let open_menu = |window: &mut Window, title: &str| {
        window.harness.get_by_label(&format!("Menu of {title}")).click();
        window.run();
    };
    open_menu(&mut window, "Humidity");
    window.harness.get_by_label("Title").focus();
    window.run();
    window.harness.get_by_label("Title").type_text("Damp");
    window.run();
    window.harness.key_press(Key::Escape);
    window.run();
    open_menu(&mut window, "Damp");
    window.harness.get_by_label("Split below").click();
    window.run();
    assert_eq!(window.harness.state().layout().charts().count(), 3);
    open_menu(&mut window, "Air temperature");
    window.harness.get_by_label("Close the chart").click();
    window.run();
    assert_eq!(window.harness.state().layout().charts().count(), 2);
    assert!(window.harness.query_by_label("Menu of Air temperature").is_none());
}

#[test]
fn a_and_b_set_the_measuring_cursors_and_escape_ends_it_before_it_closes_anything() {
    let mut window = Window::open();
    window.connect(2);
    let points: Vec<_> = (-300..0).map(|s| (later(s), 20.0)).collect();
    window.tell(readings(10, 101, 11, &points));
    window.harness.get_by_label_contains("greenhouse-01 live").click();
    window.run();
    let chart = window.harness.get_by_label_contains("Chart Air temperature, ").rect();
    for (share, key) in [(0.25, Key::A), (0.7, Key::B)] {
        window.harness.hover_at(chart.lerp_inside(egui::vec2(share, 0.5)));
        window.run();
        window.harness.key_press(key);
        window.run();
    }
    assert_eq!(window.harness.state().model().pins.len(), 2);
    assert!(window.harness.query_all_by_label_contains("From A at 11:5").next().is_some());
    window.harness.key_press(Key::Escape);
    window.run();
    let model = window.harness.state().model();
    assert!(model.pins.is_empty() && model.selection.is_some());
}

#[test]
fn a_stretch_of_time_is_typed_and_the_views_are_gone_through() {
    let mut window = Window::open();
    window.connect(1);
    window.harness.key_press(Key::R);
    window.run();
    // What is shown stands there already.
    let value = |window: &Window, name: &str| {
        let field =
            |n: &egui_kittest::Node<'_>| n.accesskit_node().role() == egui::accesskit::Role::TextInput;
        window.harness.query_all_by_label(name).find(field).and_then(|n| n.accesskit_node().value()).unwrap()
    };
    assert_eq!(value(&window, "To"), "now");
    let replace = |window: &mut Window, name: &str, text: &str| {
        let action = dashboard::action::Action::TypeRange { is_end: name == "To", text: String::new() };
        window.harness.state_mut().act(action);
        window.run();
        type_into(window, name, text);
    };
    replace(&mut window, "From", "half past");
    window.harness.get_by_label_contains("Not a time. For example");
    replace(&mut window, "From", "10:00");
    replace(&mut window, "To", "2025-06-15 11:30");
    window.harness.get_by_label("1 h 30 m");
    window.harness.get_by_label("Show").click();
    window.run();
    let shown = |window: &Window| window.harness.state().model().range();
    assert_eq!(shown(&window), (later(-7_200), later(-1_800)));
    window.harness.get_by_label("Paused, 29 m behind");
    window.advance(60);
    window.harness.get_by_label("Paused, 30 m behind");
    window.harness.key_press_modifiers(egui::Modifiers::ALT, Key::ArrowLeft);
    window.run();
    window.harness.get_by_label("Live");
    window.harness.get_by_label("The view after this one (Alt+Right)").click();
    window.run();
    assert_eq!(shown(&window), (later(-7_200), later(-1_800)));
    // Up to now is followed.
    window.harness.get_by_label("Range").click();
    window.run();
    replace(&mut window, "From", "2 h ago");
    replace(&mut window, "To", "now");
    window.harness.key_press(Key::Enter);
    window.run();
    window.harness.get_by_label("Live");
    assert_eq!(window.harness.state().model().viewport.width(), 7_200 * SECOND);
}
