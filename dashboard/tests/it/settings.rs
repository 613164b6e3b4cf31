//! The settings: used at once, kept, and refused beside the field when they cannot be.

use dashboard::action::Action;
use dashboard::settings::{Number, Settings, ThemeChoice, Times};
use egui::{Key, Modifiers};
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use jiff::tz::TimeZone;
use protocol::{SeriesId, Value};

use crate::fixtures::*;
use crate::window::type_into;

fn ctrl(window: &mut Window, key: Key) {
    window.harness.key_press_modifiers(Modifiers::COMMAND, key);
    window.run();
}

/// Types another number and leaves the field.
fn put(window: &mut Window, name: &str, number: Number, text: &str) {
    window.harness.state_mut().act(Action::TypeSetting { number, text: String::new() });
    window.run();
    type_into(window, name, text);
    window.harness.key_press(Key::Tab);
    window.run();
}

fn settings(window: &Window) -> &Settings {
    &window.harness.state().model().settings
}

#[test]
fn what_is_chosen_is_used_at_once_and_is_there_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = Window::open_in(folder.path());
    window.connect(1);
    ctrl(&mut window, Key::Comma);
    window.harness.get_by_label("Light").click();
    window.run();
    assert_eq!(window.harness.ctx.theme(), egui::Theme::Light);
    window.harness.get_by_label("UTC").click();
    window.run();
    put(&mut window, "Scale", Number::Scale, "125");
    assert!((window.harness.ctx.zoom_factor() - 1.25).abs() < 1e-6);
    put(&mut window, "Memory", Number::Memory, "64");
    put(&mut window, "Frame rate", Number::Frames, "10");
    window.harness.get_by_label_contains("of 64.0 MB used");
    drop(window);
    let window = Window::start(ThemeChoice::Light, [1200.0, 760.0], |start| {
        start.folder = Some(folder.path().to_owned());
        start.theme = None;
    });
    let kept = Settings {
        theme: ThemeChoice::Light,
        times: Times::Utc,
        scale: 125,
        memory_mb: 64,
        frames: 10,
        ..Settings::default()
    };
    assert_eq!(settings(&window), &kept);
    assert!((window.harness.ctx.zoom_factor() - 1.25).abs() < 1e-6);
}

#[test]
fn a_number_that_cannot_be_is_refused_beside_its_field_and_changes_nothing() {
    let mut window = Window::open();
    window.connect(1);
    ctrl(&mut window, Key::Comma);
    for (name, number, typed, why) in [
        ("Scale", Number::Scale, "300", "Only 80 to 200 %"),
        ("Memory", Number::Memory, "8", "Only 16 to 4096 MB"),
        ("Frame rate", Number::Frames, "fast", "A whole number from 4 to 120"),
    ] {
        put(&mut window, name, number, typed);
        window.harness.get_by_label(why);
    }
    let theme = ThemeChoice::Dark;
    assert_eq!(settings(&window), &Settings { theme, ..Settings::default() });
    // Half a number is not used while it is typed: 16 on the way to 160 would forget readings.
    put(&mut window, "Memory", Number::Memory, "");
    type_into(&mut window, "Memory", "16");
    assert_eq!(settings(&window).memory_mb, 160);
    window.harness.key_press(Key::Escape);
    window.run();
    assert_eq!(settings(&window).memory_mb, 160);
}

#[test]
fn keys_make_everything_larger_and_smaller_within_bounds() {
    let mut window = Window::open();
    window.connect(1);
    for _ in 0..12 {
        ctrl(&mut window, Key::Plus);
    }
    assert_eq!(settings(&window).scale, 200);
    ctrl(&mut window, Key::Num0);
    assert_eq!(settings(&window).scale, 100);
    for _ in 0..12 {
        ctrl(&mut window, Key::Minus);
    }
    assert_eq!(settings(&window).scale, 80);
    assert!((window.harness.ctx.zoom_factor() - 0.8).abs() < 1e-6);
}

#[test]
fn times_are_of_this_place_or_in_utc_everywhere() {
    let mut window = Window::start(ThemeChoice::Dark, [1200.0, 760.0], |start| {
        start.zone = TimeZone::fixed(jiff::tz::offset(5));
    });
    window.connect(1);
    window.tell(readings(1, 101, 11, &[(NOW, 20.0)]));
    window.harness.get_by_label_contains("greenhouse-01 live").click();
    window.run();
    let since = |window: &Window, at: &str| {
        window.harness.query_all_by_label(&format!("Connected, since {at}")).next().is_some()
    };
    assert!(since(&window, "16:00:00"));
    window.harness.state_mut().act(Action::SetTimes(Times::Utc));
    window.run();
    assert!(since(&window, "11:00:00"));
    window.harness.get_by_label("times in UTC");
    assert_eq!(window.harness.state().model().zone, TimeZone::UTC);
    // The charts too: nothing in their cursor or axes is kept from before.
    window.harness.state_mut().act(Action::Select(None));
    window.run();
    let is_chart =
        |n: &egui_kittest::Node<'_>| n.accesskit_node().label().is_some_and(|l| l.starts_with("Chart Air"));
    let chart = window.harness.query_all_by_label_contains("Chart Air").find(is_chart).unwrap().rect();
    window.harness.hover_at(chart.center());
    window.run();
    let all: String = window
        .harness
        .query_all_by_label_contains("11:5")
        .chain(window.harness.query_all_by_label_contains("16:5"))
        .filter_map(|n| n.accesskit_node().label())
        .collect();
    assert!(!all.contains("16:5"), "{all}");
}

#[test]
fn memory_shrinks_at_once_to_what_was_chosen_and_the_newest_stays() {
    let mut model = connected_model(1);
    let points: Vec<_> =
        (0..4_000_000).map(|i| (NOW.plus_micros(i * 1_000), Value::Number((i % 977) as f64))).collect();
    model.series.push_live(SeriesId(11), &points);
    let before = model.series.bytes();
    assert!(before > 20_000_000, "{before}");
    model.apply(Action::SetNumber { number: Number::Memory, value: 1 }, NOW);
    assert_eq!(model.settings.memory_mb, 16, "the nearest that can be");
    assert!(model.series.bytes() <= 16_000_000, "{}", model.series.bytes());
    assert_eq!(model.series.latest(SeriesId(11)).unwrap().0, points.last().unwrap().0);
}

#[test]
fn the_frame_rate_bounds_frames_for_readings() {
    let pace = dashboard::app::Pace::default();
    let mut window = Window::paced(pace.clone());
    window.connect(1);
    window.run();
    let free = pace.get();
    window.harness.state_mut().act(Action::SetNumber { number: Number::Frames, value: 4 });
    window.run();
    assert_eq!(pace.get().as_millis(), 250);
    // By default 16 ms, or more where frames are dear.
    assert!((16..=250).contains(&free.as_millis()), "{free:?}");
}

#[test]
fn the_menu_leads_to_what_has_no_button_and_says_its_keys() {
    let mut window = Window::open();
    window.connect(1);
    window.harness.get_by_label("Menu").click();
    window.run();
    let undo = window.harness.query_all_by_label_contains("Undo a change of the layout").next().unwrap();
    assert!(undo.accesskit_node().is_disabled());
    window.harness.query_all_by_label_contains("Settings").next().unwrap().click();
    window.run();
    assert!(window.harness.state().model().settings_form.is_some());
}

fn picture(theme: ThemeChoice, name: &str) {
    let mut window = Window::open_with(theme, [1000.0, 640.0]);
    window.connect(3);
    let points: Vec<_> =
        (-3_000..0).map(|i| (NOW.plus_micros(i * 100_000), 20.0 + (i % 50) as f64 * 0.1)).collect();
    window.tell(readings(10, 200, 11, &points));
    ctrl(&mut window, Key::Comma);
    put(&mut window, "Scale", Number::Scale, "260");
    window.harness.remove_cursor();
    window.run();
    window.harness.snapshot(name);
}

#[test]
fn the_settings_are_a_picture_in_the_dark() {
    picture(ThemeChoice::Dark, "settings_dark");
}

#[test]
fn the_settings_are_a_picture_in_the_light() {
    picture(ThemeChoice::Light, "settings_light");
}
