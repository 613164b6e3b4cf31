//! Axes and limits of charts: typed in a dialog, saved with the layout, drawn, counted, and told by the list.

use dashboard::action::Action;
use dashboard::layout::Layout;
use dashboard::model::thresholds::{Axis, Level, Thresholds};
use dashboard::settings::ThemeChoice;
use dashboard::views::chart::ChartSpec;
use egui::{Key, vec2};
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use protocol::SeriesId;

use crate::charts::fixtures as fleet;
use crate::charts::{legend, open, spec};
use crate::fixtures::*;
use crate::window::type_into;

fn limits(warn: f64, alarm: f64) -> Thresholds {
    Thresholds { warn_above: Some(warn), alarm_above: Some(alarm), ..Thresholds::default() }
}

fn choose(window: &mut Window, item: &str) {
    window.harness.get_by_label("Menu of Air temperature").click();
    window.run();
    window.harness.get_by_label(item).click();
    window.run();
}

fn with_temperatures() -> Window {
    let mut window = Window::open();
    window.connect(2);
    let points: Vec<_> = (-60..0).map(|s| (later(s), if s == -10 { 45.0 } else { 21.0 })).collect();
    window.tell(readings(10, 200, 11, &points));
    window.tell(readings(1, 201, 11, &[(later(0), 31.0)]));
    window
}

#[test]
fn limits_are_typed_drawn_counted_saved_and_told_by_the_list() {
    let mut window = with_temperatures();
    choose(&mut window, "Axes and limits…");
    type_into(&mut window, "greenhouse-01 Air temperature: warning above", "30");
    type_into(&mut window, "greenhouse-01 Air temperature: alarm above", "20");
    window.harness.get_by_label("Must not be less than “warning above”, 30");
    // While something is wrong nothing is applied.
    window.harness.key_press(Key::Enter);
    window.run();
    window.harness.get_by_label("Axes and limits");
    type_into(&mut window, "greenhouse-01 Air temperature: alarm above", "0");
    window.harness.get_by_label("Apply").click();
    window.run();
    assert!(window.harness.query_by_label("Axes and limits").is_none());
    // 200: what was typed went behind what stood there.
    window.harness.get_by_label_contains("alarm > 200.0");
    window.harness.get_by_label_contains("greenhouse-01 warning > 30.0");
    window.harness.get_by_label_contains(", 1 reading beyond limits, 0 of them alarms");
    window.harness.get_by_label("greenhouse-01 live 31.0 °C warning of a chart");
    let app = window.harness.state();
    assert_eq!(app.model().beyond(SeriesId(11)), Some(Level::Warning));
    let text = app.layout().to_json().unwrap();
    let mut restored = Layout::from_json(&text).unwrap();
    restored.follow(&app.model().devices);
    assert_eq!(restored.thresholds().collect::<Vec<_>>(), [(SeriesId(11), limits(30.0, 200.0))]);
    window.tell(readings(1, 202, 11, &[(later(1), 25.0)]));
    window.harness.get_by_label("greenhouse-01 live 25.0 °C");
}

#[test]
fn the_ends_of_an_axis_are_typed_and_a_mistake_stands_beside_its_field() {
    let mut window = with_temperatures();
    choose(&mut window, "Axes and limits…");
    type_into(&mut window, "Lowest value of °C", "ten");
    window.harness.get_by_label("Not a number. For example: 21.5, -3 or 2e6");
    window.harness.get_by_label("Close").click();
    window.run();
    choose(&mut window, "Axes and limits…");
    type_into(&mut window, "Lowest value of °C", "-3");
    window.harness.get_by_label("Logarithmic axis of °C").click();
    window.run();
    window.harness.get_by_label("A logarithmic axis begins above 0");
    window.harness.get_by_label("Logarithmic axis of °C").click();
    window.run();
    window.harness.key_press(Key::Enter);
    window.run();
    let layout = window.harness.state().layout();
    let axes = layout.charts().map(|pane| pane.spec.axes.clone()).find(|axes| !axes.is_empty()).unwrap();
    assert_eq!(axes["Cel"], Axis { log: false, min: Some(-3.0), max: None });
}

#[test]
fn a_logarithmic_axis_says_what_has_no_place_on_it() {
    let log = Axis { log: true, ..Axis::default() };
    let spec = ChartSpec { axes: [("W".to_owned(), log)].into(), ..spec(&[2]) };
    let mut model = fleet::step_response();
    for (before, value) in [(31.5, 0.0), (32.5, -4.0)] {
        let at = fleet::NOW.plus_micros((-before * 1e6) as i64);
        model.series.push_live(SeriesId(2), &[(at, protocol::Value::Number(value))]);
    }
    let mut harness = open(model, &[spec], vec2(800.0, 300.0), ThemeChoice::Dark);
    harness.run_ok();
    harness.get_by_label("2 values not above 0: no place on a logarithmic axis");
}

#[test]
fn a_chart_that_is_copied_keeps_its_limits() {
    let mut window = with_temperatures();
    choose(&mut window, "Axes and limits…");
    type_into(&mut window, "greenhouse-01 Air temperature: warning above", "30");
    window.harness.key_press(Key::Enter);
    window.run();
    choose(&mut window, "Split below");
    assert_eq!(window.harness.state().layout().thresholds().count(), 2);
}

fn limited(choice: ThemeChoice) -> egui_kittest::Harness<'static, crate::charts::State> {
    let mut upper = spec(&[1, 5, 9]);
    upper.thresholds = [
        (SeriesId(1), limits(25.0, 27.0)),
        (SeriesId(5), Thresholds { warn_below: Some(19.5), ..limits(25.0, 27.0) }),
        (SeriesId(9), limits(25.0, 27.0)),
    ]
    .into();
    let log = Axis { log: true, ..Axis::default() };
    let fixed = Axis { log: false, min: Some(0.0), max: Some(100.0) };
    let lower =
        ChartSpec { axes: [("%RH".to_owned(), fixed), ("Cel".to_owned(), log)].into(), ..spec(&[13, 2]) };
    open(fleet::greenhouses(), &[upper, lower], vec2(860.0, 620.0), choice)
}

#[test]
fn limits_and_axes_in_the_dark() {
    let mut harness = limited(ThemeChoice::Dark);
    harness.run_ok();
    let label = legend(&harness, "greenhouse-01").accesskit_node().label().unwrap();
    assert!(label.contains("columns with readings beyond limits"), "{label}");
    harness.snapshot("chart_limits_dark");
}

#[test]
fn limits_and_axes_in_the_light() {
    let mut harness = limited(ThemeChoice::Light);
    harness.run_ok();
    harness.snapshot("chart_limits_light");
}

#[test]
fn the_dialog_for_axes_and_limits() {
    let mut window = with_temperatures();
    window.harness.state_mut().act(Action::SetCursor(None));
    choose(&mut window, "Axes and limits…");
    type_into(&mut window, "Lowest value of °C", "-5");
    type_into(&mut window, "greenhouse-01 Air temperature: alarm below", "7");
    type_into(&mut window, "greenhouse-01 Air temperature: warning below", "5");
    window.harness.remove_cursor();
    window.run();
    window.harness.snapshot("axes_and_limits_dark");
}
