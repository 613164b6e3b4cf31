//! A window with little room: narrow, or with everything at twice its size.

use dashboard::action::Action;
use dashboard::model::Event;
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
