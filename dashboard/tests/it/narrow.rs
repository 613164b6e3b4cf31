//! A window with little room: narrow, or with everything at twice its size.

use dashboard::action::Action;
use dashboard::model::Event;
use dashboard::model::groups::Source;
use dashboard::model::wire::{Pane, WireEdit};
use dashboard::settings::{Number, ThemeChoice};
use egui::{Key, Modifiers};
use egui_kittest::kittest::{NodeT as _, Queryable as _};

use crate::fixtures::*;

fn says(window: &Window, text: &str) -> bool {
    window.harness.query_all_by_label_contains(text).next().is_some()
}

fn points() -> Vec<(protocol::Timestamp, f64)> {
    (-300..0).map(|s| (later(s), 21.0 + f64::from(s as i32 % 60) / 30.0)).collect()
}

fn narrow(theme: ThemeChoice) -> Window {
    let mut window = Window::open_with(theme, [420.0, 760.0]);
    window.connect(6);
    for series in [11, 21, 12, 22] {
        window.tell(readings(10, 200, series, &points()));
        window.tell(readings(1, 200, series, &points()[299..]));
    }
    window
}

#[test]
fn a_narrow_window_shows_one_thing_at_a_time_and_leads_to_all_of_them() {
    let mut window = narrow(ThemeChoice::Dark);
    assert!(says(&window, "Menu of Humidity") && !says(&window, "Show metrics of"), "charts first");
    window.harness.get_by_label("Devices").click();
    window.run();
    assert!(!says(&window, "Menu of Humidity"));
    window.harness.get_by_label_contains("greenhouse-02 live").click();
    window.run();
    assert!(says(&window, "Close the panel") && !says(&window, "Show metrics of"));
    window.harness.key_press(Key::Escape);
    window.run();
    assert!(says(&window, "Show metrics of"), "back in the list");
    window.harness.key_press(Key::D);
    window.run();
    assert!(says(&window, "Menu of Humidity"));
    // Everything that has no room is in the palette.
    window.harness.key_press_modifiers(Modifiers::COMMAND, Key::K);
    window.run();
    window.harness.get_by_label("Find anything").type_text("show 15");
    window.run();
    window.harness.key_press(Key::Enter);
    window.run();
    assert_eq!(window.harness.state().model().viewport.width(), 900 * SECOND);
}

#[test]
fn nothing_reaches_out_of_a_narrow_window() {
    let mut window = narrow(ThemeChoice::Dark);
    let check = |window: &Window, what: &str| {
        for node in window.harness.root().children_recursive() {
            let role = node.accesskit_node().role();
            let is_control = matches!(
                role,
                egui::accesskit::Role::Button
                    | egui::accesskit::Role::TextInput
                    | egui::accesskit::Role::RadioButton
            );
            if is_control {
                let rect = node.rect();
                let label = node.accesskit_node().label();
                assert!(rect.left() >= -0.5 && rect.right() <= 420.5, "{what}: {label:?} {rect:?}");
            }
        }
    };
    check(&window, "charts");
    for (action, what) in [
        (Action::ToggleList, "list"),
        (Action::ToggleSettings, "settings"),
        (Action::ToggleHubs, "hubs"),
        (Action::ToggleLayouts, "layouts"),
        (Action::TogglePalette, "palette"),
        (Action::ToggleHelp, "help"),
        (Action::ToggleRange, "range"),
        (Action::ToggleLog, "log"),
    ] {
        window.harness.state_mut().act(action.clone());
        window.run();
        check(&window, what);
        window.harness.state_mut().act(action);
        window.run();
    }
    window.harness.state_mut().act(Action::OpenWire(protocol::DeviceId::new("greenhouse-01").unwrap()));
    window.run();
    crate::wire::fill(&mut window);
    check(&window, "wire");
    for pane in [Pane::Frame, Pane::Handshake, Pane::Figures] {
        window.harness.state_mut().act(Action::EditWire(WireEdit::Select(Some(100))));
        window.harness.state_mut().act(Action::EditWire(WireEdit::Pane(pane)));
        window.run();
        check(&window, "beside the wire");
        window.harness.get_by_label("Back to the frames").click();
        window.run();
        assert!(says(&window, "Close the wire") && !says(&window, "Back to the frames"));
    }
}

#[test]
fn the_list_can_be_hidden_in_a_wide_window_too_and_the_filter_brings_it_back() {
    let mut window = Window::open();
    window.connect(2);
    window.harness.key_press(Key::D);
    window.run();
    assert!(!says(&window, "Show metrics of"));
    window.harness.key_press(Key::Slash);
    window.run();
    assert!(says(&window, "Show metrics of"));
}

#[test]
fn a_narrow_window_is_a_picture() {
    let mut window = narrow(ThemeChoice::Dark);
    window.harness.snapshot("narrow_charts_dark");
    window.harness.state_mut().act(Action::ToggleList);
    window.run();
    window.harness.snapshot("narrow_list_dark");
}

#[test]
fn a_narrow_window_without_its_hub_is_a_picture() {
    let mut window = narrow(ThemeChoice::Light);
    let retry_in = Some(std::time::Duration::from_secs(8));
    let reason = "the hub closed the connection: going away (1001)".to_owned();
    window.tell(Event::Disconnected { reason, retry_in });
    window.harness.get_by_label("Try now");
    window.harness.snapshot("narrow_lost_light");
}

#[test]
fn a_lost_hub_is_a_picture() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1000.0, 420.0]);
    window.connect(2);
    let retry_in = Some(std::time::Duration::from_secs(8));
    let reason = "the hub closed the connection: going away (1001)".to_owned();
    window.tell(Event::Disconnected { reason, retry_in });
    // Nothing is called live that nobody knows of.
    window.harness.get_by_label_contains("greenhouse-01 last known live");
    window.harness.get_by_label("Waiting");
    assert!(window.harness.query_by_label("Live").is_none());
    window.harness.snapshot("lost_dark");
}

#[test]
fn twice_the_size_is_a_picture() {
    let mut window = Window::open_with(ThemeChoice::Light, [1400.0, 900.0]);
    window.connect(6);
    for series in [11, 21, 12, 22] {
        window.tell(readings(10, 200, series, &points()));
        window.tell(readings(1, 200, series, &points()[299..]));
    }
    window.harness.state_mut().act(Action::SetNumber { number: Number::Scale, value: 200 });
    window.run();
    window.harness.get_by_label("Live");
    window.harness.snapshot("scale_200_light");
}

/// A chart of four series of two units, with limits, and its dialog.
fn open_chart_form(window: &mut Window) {
    let series = [11, 12].map(protocol::SeriesId).into();
    window.harness.state_mut().act(Action::AddChart { title: None, series });
    window.run();
    let state = window.harness.state();
    let pane = state.layout().charts().max_by_key(|pane| pane.chart).unwrap();
    let form = dashboard::views::chart::form(state.model(), pane);
    window.harness.state_mut().act(Action::EditChart(Some(Box::new(form))));
    window.run();
    crate::window::type_into(window, "Highest value of °C", "warm");
}

/// The form of a group to three devices, with the answer of who gets it.
fn open_composer(window: &mut Window) {
    for n in 1..=3 {
        let device = protocol::DeviceId::new(&format!("greenhouse-{n:02}")).unwrap();
        window.harness.state_mut().act(Action::Choose { device, range: false });
    }
    window.harness.state_mut().act(Action::Compose(Source::Chosen));
    window.run();
    window.harness.state_mut().act(Action::ChooseCommand("set_target".into()));
    window.harness.state_mut().act(Action::SetRolling(true));
    window.run();
    let asked = window.sent().iter().find_map(|message| match message {
        protocol::viewer::ViewerMessage::SendGroup(send) => Some(send.id),
        _ => None,
    });
    let members: Vec<_> = (1..=3)
        .map(|n| serde_json::json!({"device": format!("greenhouse-{n:02}"), "state": "waiting"}))
        .collect();
    window.tell(Event::Message(message(
        serde_json::json!({"type": "members", "id": asked.unwrap(), "group": "g", "members": members}),
    )));
}

/// Every control of a dialog is inside of the window, or can be scrolled to.
fn check_width(window: &Window, width: f32) {
    use egui::accesskit::Role;
    for node in window.harness.root().children_recursive() {
        let role = node.accesskit_node().role();
        if matches!(
            role,
            Role::Button | Role::TextInput | Role::RadioButton | Role::CheckBox | Role::ComboBox
        ) {
            let (rect, label) = (node.rect(), node.accesskit_node().label());
            assert!(rect.left() >= -0.5 && rect.right() <= width + 0.5, "{label:?} {rect:?}");
        }
    }
}

#[test]
fn the_dialog_of_a_chart_is_used_in_a_narrow_window() {
    let mut window = narrow(ThemeChoice::Dark);
    open_chart_form(&mut window);
    check_width(&window, 420.0);
    window.harness.snapshot("narrow_chart_form_dark");
}

#[test]
fn the_dialog_of_a_chart_is_used_at_twice_the_size() {
    let mut window = Window::open_with(ThemeChoice::Light, [1000.0, 900.0]);
    window.connect(2);
    window.harness.state_mut().act(Action::SetNumber { number: Number::Scale, value: 200 });
    window.run();
    open_chart_form(&mut window);
    check_width(&window, 500.0);
    window.harness.get_by_label("Apply");
    window.harness.snapshot("scale_200_chart_form_light");
}

#[test]
fn a_group_is_composed_in_a_narrow_window() {
    let mut window = narrow(ThemeChoice::Light);
    open_composer(&mut window);
    check_width(&window, 420.0);
    window.harness.get_by_label("Send to 3 devices…");
    window.harness.get_by_label_contains("3 devices get it");
    window.harness.snapshot("narrow_composer_light");
}

#[test]
fn a_group_is_composed_at_twice_the_size() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1000.0, 900.0]);
    window.connect(4);
    window.harness.state_mut().act(Action::SetNumber { number: Number::Scale, value: 200 });
    window.run();
    open_composer(&mut window);
    check_width(&window, 500.0);
    window.harness.get_by_label("Send to 3 devices…").click();
    window.run();
    assert!(says(&window, "Set target on 3 devices?"), "it is asked before it is sent");
    window.harness.get_by_label("Send now");
    window.harness.state_mut().act(Action::DismissGroup);
    window.harness.remove_cursor();
    window.run();
    window.harness.snapshot("scale_200_composer_dark");
}
