//! Charts without a pointer: keys, what is said to those who do not see, and the table.

use dashboard::action::Action;
use dashboard::settings::ThemeChoice;
use dashboard::viewport::View;
use egui::{Key, Modifiers, Role, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use protocol::Timestamp;
use serde_json::json;

use crate::charts::{State, fixtures as fleet, legend, open, spec, with_outages};
use crate::fixtures::*;

fn focused<'a>() -> Harness<'a, State> {
    let mut harness = open(fleet::step_response(), &[spec(&[1])], vec2(800.0, 300.0), ThemeChoice::Dark);
    harness.run_ok();
    harness.get_by_label_contains("Chart Temperature").focus();
    harness.run_ok();
    harness
}

/// Presses a key, and leaves only the actions that it led to.
fn press(harness: &mut Harness<'_, State>, modifiers: Modifiers, key: Key) {
    harness.state_mut().actions.clear();
    harness.key_press_modifiers(modifiers, key);
    harness.run_ok();
}

fn cursor(harness: &Harness<'_, State>) -> Timestamp {
    harness.state().model.cursor.expect("a cursor")
}

#[test]
fn a_chart_says_its_series_their_values_and_the_time_that_it_shows() {
    let mut harness = open(fleet::step_response(), &[spec(&[1])], vec2(800.0, 300.0), ThemeChoice::Dark);
    harness.run_ok();
    let image = harness.get_by_role(Role::Image).accesskit_node();
    let said = image.label().unwrap();
    assert!(said.starts_with("Chart Temperature · heater-1, Temperature "), "{said}");
    assert!(said.contains(" °C"), "{said}");
    assert!(said.ends_with("; from 14:04:59 to 14:09:59, following what arrives"), "{said}");
}

#[test]
fn tab_reaches_every_chart_and_shows_it() {
    let specs = [spec(&[1]), spec(&[2])];
    let mut harness = open(fleet::step_response(), &specs, vec2(800.0, 500.0), ThemeChoice::Dark);
    harness.run_ok();
    let mut reached = std::collections::BTreeSet::new();
    for _ in 0..12 {
        harness.key_press(Key::Tab);
        harness.run_ok();
        for chart in harness.get_all_by_role(Role::Image) {
            if chart.accesskit_node().is_focused() {
                reached.insert(chart.accesskit_node().label().unwrap());
            }
        }
    }
    assert_eq!(reached.len(), 2, "{reached:?}");
}

#[test]
fn arrows_move_the_cursor_from_reading_to_reading_and_every_value_is_said() {
    let mut harness = focused();
    press(&mut harness, Modifiers::NONE, Key::ArrowLeft);
    let last = cursor(&harness);
    assert!(fleet::NOW.micros_since(last) < 2_000_000, "the last reading in view");
    press(&mut harness, Modifiers::NONE, Key::ArrowLeft);
    assert_eq!(last.micros_since(cursor(&harness)), 1_000_000, "one reading a second");
    harness.get_by_label_contains("2026-03-12 14:09:58.000, Temperature ");
    press(&mut harness, Modifiers::NONE, Key::ArrowRight);
    assert_eq!(cursor(&harness), last);
    // Past the last reading the view moves, and with Ctrl the cursor leaps.
    press(&mut harness, Modifiers::NONE, Key::ArrowRight);
    assert!(harness.state().actions.iter().any(|a| matches!(a, Action::Pan { micros } if *micros > 0)));
    press(&mut harness, Modifiers::CTRL, Key::ArrowLeft);
    assert_eq!(last.micros_since(cursor(&harness)), 30_000_000);
    // The cursor goes with the keyboard.
    harness.get_by_label_contains("Chart Temperature").focus();
    press(&mut harness, Modifiers::NONE, Key::Escape);
    assert_eq!(harness.state().model.cursor, None);
}

#[test]
fn keys_pan_zoom_pin_and_pause() {
    let mut harness = focused();
    let width = harness.state().model.viewport.width();
    press(&mut harness, Modifiers::SHIFT, Key::ArrowLeft);
    assert!(harness.state().actions.contains(&Action::Pan { micros: -width / 10 }));
    press(&mut harness, Modifiers::NONE, Key::ArrowLeft);
    let at = cursor(&harness);
    press(&mut harness, Modifiers::NONE, Key::ArrowUp);
    let zooms = |harness: &Harness<'_, State>, closer: bool| {
        let is_it = |a: &Action| matches!(a, Action::Zoom { at: here, factor } if *here == at && (*factor < 1.0) == closer);
        harness.state().actions.iter().any(is_it)
    };
    assert!(zooms(&harness, true));
    press(&mut harness, Modifiers::NONE, Key::ArrowDown);
    assert!(zooms(&harness, false));
    press(&mut harness, Modifiers::NONE, Key::Enter);
    assert!(harness.state().actions.contains(&Action::Pin(at)));
    press(&mut harness, Modifiers::NONE, Key::Space);
    assert!(harness.state().actions.contains(&Action::Pause));
    assert!(!harness.state().actions.iter().any(|a| matches!(a, Action::Pin(_))), "Space pins nothing");
}

#[test]
fn commands_are_reached_by_keys_and_enter_shows_their_life() {
    let mut harness = focused();
    press(&mut harness, Modifiers::NONE, Key::Period);
    harness.get_by_label("Set target on heater-1, succeeded after 52.4 s: Enter shows its life");
    press(&mut harness, Modifiers::NONE, Key::Period);
    harness.get_by_label("Calibrate on heater-1, failed after 9.0 s: Enter shows its life");
    press(&mut harness, Modifiers::NONE, Key::Comma);
    press(&mut harness, Modifiers::NONE, Key::Enter);
    let shown = |a: &Action| matches!(a, Action::ShowCommand(Some(id)) if id.as_str() == "c-1");
    assert!(harness.state().actions.iter().any(shown), "{:?}", harness.state().actions);
    assert!(!harness.state().actions.iter().any(|a| matches!(a, Action::Pin(_))));
    harness.snapshot("chart_keys_dark");
}

#[test]
fn a_chart_is_a_table_too_with_every_value_that_it_draws() {
    let specs = [spec(&[1, 3])];
    let mut harness = open(fleet::step_response(), &specs, vec2(800.0, 300.0), ThemeChoice::Light);
    harness.run_ok();
    harness.get_by_label_contains("Chart heater-1").focus();
    harness.run_ok();
    press(&mut harness, Modifiers::NONE, Key::T);
    harness.get_by_label_contains("Table of Chart heater-1");
    let rows = |harness: &Harness<'_, State>| -> Vec<String> {
        harness.get_all_by_role(Role::Row).filter_map(|row| row.accesskit_node().label()).collect()
    };
    let first = rows(&harness);
    assert!(
        first[0].starts_with("2026-03-12 14:09:59.000: Temperature ") && first[0].ends_with("°C"),
        "{first:?}"
    );
    assert!(first.len() < 20, "only what is seen is made: {}", first.len());
    harness.snapshot("chart_table_light");
    press(&mut harness, Modifiers::NONE, Key::PageDown);
    assert!(rows(&harness)[0] < first[0]);
    press(&mut harness, Modifiers::NONE, Key::T);
    assert!(harness.query_by_label_contains("Table of").is_none());
}

#[test]
fn without_a_chart_the_keys_move_and_zoom_the_view() {
    let mut window = Window::open();
    window.connect(1);
    let width = window.harness.state().model().viewport.width();
    window.harness.key_press(Key::Minus);
    window.run();
    assert_eq!(window.harness.state().model().viewport.view(), View::Follow { width: width * 5 / 4 });
    window.harness.key_press(Key::ArrowLeft);
    window.run();
    assert!(!window.harness.state().model().viewport.is_following());
    window.harness.key_press(Key::ArrowRight);
    window.run();
    assert!(window.harness.state().model().viewport.is_following());
    window.harness.key_press(Key::Plus);
    window.run();
    assert_eq!(window.harness.state().model().viewport.view(), View::Follow { width });
}

/// What the hub tells of the devices of [`with_outages`]: the first was late, of the second something is lost.
fn with_late_and_lost() -> dashboard::model::Model {
    let mut model = with_outages();
    let names = ["greenhouse-00", "greenhouse-01", "greenhouse-02"];
    let told = |what: &str, from: i64, to: i64| {
        let at = |before: i64| fleet::NOW.0 - before * 1_000_000;
        json!({"what": what, "from": at(from), "to": at(to), "told_at": at(to - 3), "batches": 12})
    };
    let all =
        [json!([told("late", 290, 240)]), json!([told("lost", 200, 170), told("late", 170, 141)]), json!([])];
    for (i, late_or_lost) in all.into_iter().enumerate() {
        let mut device = fleet::device(names[i], &[(i as i64 + 1, "air_temperature", "Cel", "number")]);
        device["late_or_lost"] = late_or_lost;
        if i == 2 {
            device["connected"] = false.into();
            device["since"] = (fleet::NOW.0 - 90_000_000).into();
        }
        fleet::message(&mut model, json!({"type": "devices", "devices": [device]}));
    }
    let late: Vec<_> = (0..56_u64)
        .map(|i| {
            let before = 169.0 - i as f64 * 0.5;
            (
                fleet::NOW.plus_micros((-before * 1e6) as i64),
                protocol::Value::Number(23.0 + (before / 40.0 + 23.0).sin() + fleet::noise(2, i) * 0.2),
            )
        })
        .collect();
    model.series.push_live(protocol::SeriesId(2), &late);
    model
}

#[test]
fn late_and_lost_are_told_apart_from_offline_and_explained() {
    let specs = [spec(&[1, 2, 3]), spec(&[2])];
    let mut harness = open(with_late_and_lost(), &specs, vec2(860.0, 620.0), ThemeChoice::Dark);
    harness.run_ok();
    harness.get_by_label("greenhouse-00: buffered, delivered late at 14:06:03");
    harness.get_by_label("greenhouse-01: lost for good: 12 batches, known at 14:07:13");
    harness.get_by_label("greenhouse-02: offline since 14:08:30");
    // Where it is alone the ground says it, and says no more that the device was only offline.
    harness.get_by_label("Buffered, delivered late at 14:07:42");
    harness.get_by_label("Lost for good: 12 batches, known at 14:07:13");
    assert!(harness.query_by_label_contains("Offline for").is_none());
    harness.state_mut().model.cursor = Some(fleet::NOW.plus_micros(-185_000_000));
    harness.run_ok();
    let said = legend(&harness, "greenhouse-01").accesskit_node().label().unwrap();
    assert!(said.ends_with(", lost for good"), "{said}");
    harness.state_mut().model.cursor = None;
    harness.hover_at(legend(&harness, "greenhouse-01").rect().center());
    harness.run_steps(12);
    for what in ["Slow: ", "Gap: ", "Offline: ", "Late: ", "Lost for good: ", "Thinned: ", "Stale: "] {
        assert_eq!(
            harness.query_all_by_label_contains(what).count(),
            1 + usize::from(what.starts_with("Lost")),
            "{what}"
        );
    }
    harness.snapshot("chart_late_and_lost_dark");
}

#[test]
fn late_and_lost_in_the_light() {
    let specs = [spec(&[1, 2, 3]), spec(&[2])];
    let mut harness = open(with_late_and_lost(), &specs, vec2(860.0, 620.0), ThemeChoice::Light);
    harness.run_ok();
    harness.snapshot("chart_late_and_lost_light");
}

#[test]
fn in_a_narrow_chart_title_and_legend_share_the_room() {
    let specs = [spec(&[1, 5, 9]), spec(&[1]), spec(&[1, 2])];
    let mut harness = open(fleet::greenhouses(), &specs, vec2(250.0, 540.0), ThemeChoice::Dark);
    harness.run_ok();
    let titles: Vec<_> = harness
        .query_all_by_role(Role::Label)
        .filter(|n| {
            n.accesskit_node()
                .value()
                .is_some_and(|v| v.starts_with("Air temp") || v.starts_with("greenhouse"))
        })
        .map(|n| n.rect())
        .collect();
    let entries: Vec<_> = harness.get_all_by_role(Role::CheckBox).map(|n| n.rect()).collect();
    assert!(titles.len() >= 3 && entries.len() >= 2, "{titles:?} {entries:?}");
    for title in &titles {
        for entry in &entries {
            assert!(!title.intersects(entry.shrink(4.5)), "{title:?} under {entry:?}");
        }
    }
    harness.snapshot("chart_narrow_dark");
}
