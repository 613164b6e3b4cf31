//! Verbs: the palette, the shortcuts and the sheet of shortcuts that are made from them.

use dashboard::palette::{Found, Target, row};
use dashboard::settings::ThemeChoice;
use dashboard::verb::Verb;
use egui::{Key, Modifiers};
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use protocol::viewer::ViewerMessage;

use crate::fixtures::*;

fn press(window: &mut Window, key: Key) {
    window.harness.key_press(key);
    window.run();
}

fn open(window: &mut Window) {
    window.harness.key_press_modifiers(Modifiers::COMMAND, Key::K);
    window.run();
}

fn type_text(window: &mut Window, text: &str) {
    window.harness.get_by_label("Find anything").type_text(text);
    window.run();
}

/// What the palette lists, best first; the row that Enter takes has a star.
fn listed(window: &Window) -> Vec<String> {
    let role = egui::accesskit::Role::ListBoxOption;
    let mut rows: Vec<(f32, String)> = window
        .harness
        .query_all_by_role(role)
        .map(|node| {
            let star = if node.accesskit_node().toggled() == Some(egui::accesskit::Toggled::True) {
                "*"
            } else {
                ""
            };
            (node.rect().top(), format!("{star}{}", node.accesskit_node().label().unwrap_or_default()))
        })
        .collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    rows.into_iter().map(|(_, text)| text).collect()
}

#[test]
fn a_device_is_found_by_a_few_letters_and_opened_without_a_pointer() {
    let mut window = Window::open();
    window.connect(3);
    open(&mut window);
    type_text(&mut window, "house 02");
    assert_eq!(listed(&window)[0], "*greenhouse-02, device");
    press(&mut window, Key::Enter);
    assert_eq!(window.harness.state().model().selection.as_ref().unwrap().as_str(), "greenhouse-02");
    assert!(window.harness.state().model().palette.is_none());
}

#[test]
fn a_metric_becomes_a_chart_and_a_command_of_the_open_device_its_form() {
    let mut window = Window::open();
    window.connect(2);
    let before = window.harness.state().layout().charts().count();
    open(&mut window);
    type_text(&mut window, "hum green 02");
    assert_eq!(listed(&window)[0], "*Humidity · greenhouse-02, metric");
    press(&mut window, Key::Enter);
    assert_eq!(window.harness.state().layout().charts().count(), before + 1);

    window.harness.get_by_label_contains("greenhouse-01 live").click();
    window.run();
    open(&mut window);
    // Before anything is typed, the commands of the open device come first.
    assert_eq!(listed(&window)[..2], ["*Set target, command", "Reboot, command"]);
    press(&mut window, Key::ArrowDown);
    assert_eq!(listed(&window)[1], "*Reboot, command");
    window.sent();
    press(&mut window, Key::Enter);
    window.harness.get_by_label("Send…");
    assert!(!window.sent().iter().any(|m| matches!(m, ViewerMessage::SendCommand(_))), "opened, not sent");
}

#[test]
fn the_arrows_go_round_and_escape_or_the_key_again_closes_it() {
    let mut window = Window::open();
    window.connect(1);
    for close in [Key::Escape, Key::K] {
        open(&mut window);
        let count = listed(&window).len();
        assert!(count > 8, "{:?}", listed(&window));
        press(&mut window, Key::ArrowUp);
        let palette = window.harness.state().model().palette.clone().unwrap();
        assert_eq!(palette.row + 1, count.max(palette.row + 1));
        press(&mut window, Key::ArrowDown);
        assert_eq!(window.harness.state().model().palette.as_ref().unwrap().row, 0);
        let held = if close == Key::K { Modifiers::COMMAND } else { Modifiers::NONE };
        window.harness.key_press_modifiers(held, close);
        window.run();
        assert!(window.harness.state().model().palette.is_none(), "{close:?}");
    }
}

#[test]
fn what_cannot_be_done_now_says_why_and_enter_leaves_it() {
    let mut window = Window::open();
    window.connect(1);
    open(&mut window);
    type_text(&mut window, "view after this");
    assert_eq!(listed(&window)[0], "*The view after this one");
    press(&mut window, Key::Enter);
    assert!(window.harness.state().model().palette.is_some(), "nothing to go to: it stays open");
    let state = window.harness.state();
    let target = Target::Verb(Verb::Forward);
    let shown = row(&target, state.model(), state.layout()).unwrap();
    assert_eq!(shown.action, Err("There is no view after this one"));
}

#[test]
fn letters_typed_into_the_palette_are_no_shortcuts() {
    let mut window = Window::open();
    window.connect(1);
    open(&mut window);
    for key in [Key::L, Key::R, Key::C, Key::Num4, Key::Slash] {
        press(&mut window, key);
    }
    let model = window.harness.state().model();
    assert!(!model.table.open && model.range_form.is_none() && model.palette.is_some());
    type_text(&mut window, "no such thing anywhere");
    window.harness.get_by_label("Nothing has that name.");
}

#[test]
fn a_chart_behind_a_tab_is_brought_to_the_front() {
    let mut window = Window::open();
    window.connect(2);
    let chart = window.harness.state().layout().charts().map(|p| p.chart).min().unwrap();
    let place = dashboard::action::Place::Tab;
    window.harness.state_mut().act(dashboard::action::Action::SplitChart { chart, place });
    let rename = dashboard::action::Action::RenameChart { chart, title: "Behind".into() };
    window.harness.state_mut().act(rename);
    window.run();
    let before = window.harness.query_all_by_label_contains("Menu of Behind").count();
    open(&mut window);
    type_text(&mut window, "behind");
    assert_eq!(listed(&window)[0], "*Behind, chart");
    press(&mut window, Key::Enter);
    assert!(window.harness.query_all_by_label_contains("Menu of Behind").next().is_some(), "{before} before");
}

#[test]
fn every_key_of_a_verb_stands_on_the_sheet_and_does_what_it_says() {
    let mut window = Window::open();
    window.connect(2);
    press(&mut window, Key::Questionmark);
    for verb in Verb::ALL {
        let keys: Vec<String> = verb.about().keys().map(dashboard::verb::Chord::text).collect();
        if !keys.is_empty() {
            assert!(window.harness.query_all_by_label(verb.about().name).next().is_some(), "{verb:?}");
            assert!(window.harness.query_all_by_label(&keys.join(" or ")).next().is_some(), "{keys:?}");
        }
    }
    press(&mut window, Key::Questionmark);
    assert!(!window.harness.state().model().help);
    press(&mut window, Key::Num4);
    assert_eq!(window.harness.state().model().viewport.width(), 3_600 * SECOND);
    press(&mut window, Key::Space);
    assert!(!window.harness.state().model().viewport.is_following());
    press(&mut window, Key::Space);
    assert!(window.harness.state().model().viewport.is_following());
}

#[test]
fn ten_thousand_devices_are_listed_once_and_not_with_every_letter() {
    let mut window = Window::open();
    window.tell(welcome(100));
    let list: Vec<_> = (1..=10_000).map(|n| greenhouse(n, true)).collect();
    window.tell(devices(&list));
    let (model, layout) = (window.harness.state().model(), window.harness.state().layout());
    let mut found = Found::default();
    for typed in ["", "g", "greenhouse-77", "greenhouse-7777", "humidity 9999"] {
        found.refresh(typed, model, layout);
        found.refresh(typed, model, layout);
    }
    assert_eq!((found.times_listed(), found.times_searched()), (1, 5));
    assert!(matches!(found.rows().next(), Some(Target::Metric(s)) if s.0 == 99_992));
}

#[test]
fn the_palette_is_a_picture() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1100.0, 640.0]);
    window.connect(6);
    window.harness.get_by_label_contains("greenhouse-02 live").click();
    window.run();
    window.tell(readings(1, 101, 22, &[(NOW, 55.0)]));
    open(&mut window);
    type_text(&mut window, "h");
    window.harness.remove_cursor();
    window.run();
    window.harness.snapshot("palette_dark");
}

#[test]
fn the_sheet_of_shortcuts_is_a_picture() {
    let mut window = Window::open_with(ThemeChoice::Light, [1100.0, 640.0]);
    window.connect(2);
    press(&mut window, Key::Questionmark);
    window.harness.snapshot("help_light");
}
