//! Charts alone: what they say, what the pointer does in them, and a few pictures.

#[path = "../../testkit/fixtures.rs"]
pub(crate) mod fixtures;

use dashboard::action::Action;
use dashboard::model::Model;
use dashboard::settings::ThemeChoice;
use dashboard::theme;
use dashboard::views::chart::{ChartCache, ChartSpec, chart};
use egui::{Event, Id, Modifiers, MouseWheelUnit, Pos2, Rect, TouchPhase, UiBuilder, Vec2, pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use protocol::{SeriesId, Timestamp};

use crate::testkit::SoftRenderer;

pub(crate) struct State {
    pub(crate) model: Model,
    pub(crate) cache: ChartCache,
    specs: Vec<ChartSpec>,
    pub(crate) actions: Vec<Action>,
}

pub(crate) fn spec(ids: &[i64]) -> ChartSpec {
    ChartSpec { series: ids.iter().copied().map(SeriesId).collect(), ..ChartSpec::default() }
}

/// Charts one below the other. The cursor follows the pointer, other actions are only collected.
pub(crate) fn open<'a>(
    model: Model,
    specs: &[ChartSpec],
    size: Vec2,
    choice: ThemeChoice,
) -> Harness<'a, State> {
    let state = State { model, cache: ChartCache::default(), specs: specs.to_vec(), actions: Vec::new() };
    Harness::builder()
        .with_size(size)
        .with_step_dt(0.1)
        .with_theme(if choice == ThemeChoice::Light { egui::Theme::Light } else { egui::Theme::Dark })
        .renderer(SoftRenderer::default())
        .with_context_setup(move |ctx| theme::install(ctx, choice))
        .build_ui_state(
            |ui, state| {
                let screen = ui.ctx().content_rect();
                ui.painter().rect_filled(screen, 0.0, theme::Tokens::of(ui).canvas);
                let height = (screen.height() - 8.0) / state.specs.len() as f32;
                for (i, spec) in state.specs.iter().enumerate() {
                    let corner = pos2(8.0, 8.0 + i as f32 * height);
                    let rect = Rect::from_min_size(corner, vec2(screen.width() - 16.0, height - 8.0));
                    ui.scope_builder(UiBuilder::new().max_rect(rect), |ui| {
                        let id = Id::unique(("chart", i));
                        chart(ui, &state.model, spec, id, &mut state.cache, &mut state.actions);
                    });
                }
                for action in &state.actions {
                    match action {
                        Action::SetCursor(at) => state.model.cursor = *at,
                        Action::Measure { from, to } => state.model.pins = vec![*from, *to],
                        _ => {}
                    }
                }
            },
            state,
        )
}

fn wheel(harness: &mut Harness<'_, State>, at: Pos2, delta: Vec2, modifiers: Modifiers) {
    harness.hover_at(at);
    harness.step();
    let (phase, source) = (TouchPhase::Move, egui::MouseWheelSource::Unknown);
    harness.event(Event::MouseWheel { unit: MouseWheelUnit::Point, delta, modifiers, phase, source });
    harness.run_steps(8);
}

fn drag(harness: &mut Harness<'_, State>, from: Pos2, to: Pos2, button: egui::PointerButton) {
    let press = |pos, pressed| Event::PointerButton { pos, button, pressed, modifiers: Modifiers::NONE };
    harness.hover_at(from);
    harness.step();
    harness.event(press(from, true));
    harness.step();
    harness.hover_at(from.lerp(to, 0.5));
    harness.step();
    harness.hover_at(to);
    harness.step();
    harness.event(press(to, false));
    harness.run_steps(2);
}

const SIZE: Vec2 = vec2(800.0, 300.0);
const MIDDLE: Pos2 = pos2(400.0, 150.0);

/// The entry of a series in the legend.
pub(crate) fn legend<'a>(harness: &'a Harness<'_, State>, name: &str) -> egui_kittest::Node<'a> {
    let mut entries = harness.get_all_by_role(egui::Role::CheckBox);
    let is_it =
        |node: &egui_kittest::Node<'_>| node.accesskit_node().label().is_some_and(|l| l.starts_with(name));
    entries.find(is_it).expect("an entry in the legend")
}

fn heater<'a>() -> Harness<'a, State> {
    open(fixtures::step_response(), &[spec(&[1])], SIZE, ThemeChoice::Dark)
}

#[test]
fn a_chart_says_its_title_and_the_value_of_every_series() {
    let mut harness = open(fixtures::step_response(), &[spec(&[1, 2, 3, 4])], SIZE, ThemeChoice::Dark);
    harness.run();
    harness.get_by_label_contains("Chart heater-1, Temperature 3");
    for (name, unit) in [("Temperature", "°C"), ("Power", "W"), ("Heating", "off"), ("Mode", "idle")] {
        let label = legend(&harness, name).accesskit_node().label().expect("a name");
        assert!(label.ends_with(unit), "{label}");
    }
}

/// Every text that was drawn in the last frame.
fn drawn(harness: &Harness<'_, State>) -> Vec<String> {
    fn collect(shape: &egui::Shape, texts: &mut Vec<String>) {
        match shape {
            egui::Shape::Text(text) => texts.push(text.galley.text().to_owned()),
            egui::Shape::Vec(shapes) => shapes.iter().for_each(|shape| collect(shape, texts)),
            _ => {}
        }
    }
    let mut texts = Vec::new();
    harness.output().shapes.iter().for_each(|shape| collect(&shape.shape, &mut texts));
    texts
}

#[test]
fn each_series_has_its_name_in_the_legend_however_little_room_there_is() {
    let four = |width: f32, height: f32| {
        let series = [spec(&[1, 5, 9, 13])];
        let mut harness = open(fixtures::greenhouses(), &series, vec2(width, height), ThemeChoice::Dark);
        harness.run();
        harness
    };
    let says = |harness: &Harness<'_, State>, name: &str| drawn(harness).iter().any(|text| text == name);
    // In full beside the title, without what is common to all, and in full below the title.
    assert!(says(&four(900.0, 300.0), "greenhouse-03"));
    let beside = four(560.0, 300.0);
    assert!(says(&beside, "…03") && !says(&beside, "greenhouse-03"));
    let below = four(400.0, 300.0);
    assert!((0..4).all(|n| says(&below, &format!("greenhouse-0{n}"))), "{:?}", drawn(&below));
    // Where there is no room for that, the rest is a click away.
    let mut low = four(300.0, 110.0);
    assert!(says(&low, "…00") && !says(&low, "…03"));
    low.get_by_label_contains("more series").click();
    low.run();
    assert!(says(&low, "greenhouse-03"));
    legend(&low, "greenhouse-03").click();
    low.run();
    let toggled = legend(&low, "greenhouse-03").accesskit_node().toggled();
    assert_eq!(toggled, Some(egui::accesskit::Toggled::False));
}

#[test]
fn a_click_on_a_name_hides_the_series_and_another_shows_it_again() {
    let mut harness = open(fixtures::greenhouses(), &[spec(&[1, 5, 9])], SIZE, ThemeChoice::Dark);
    harness.run();
    let is_on = |harness: &Harness<'_, State>| {
        legend(harness, "greenhouse-01").accesskit_node().toggled() == Some(egui::accesskit::Toggled::True)
    };
    assert!(is_on(&harness));
    legend(&harness, "greenhouse-01").click();
    harness.run();
    assert!(!is_on(&harness));
    legend(&harness, "greenhouse-01").click();
    harness.run();
    assert!(is_on(&harness));
}

#[test]
fn the_wheel_zooms_at_the_pointer() {
    let mut harness = heater();
    wheel(&mut harness, MIDDLE, vec2(0.0, 50.0), Modifiers::NONE);
    let (from, to) = harness.state().model.range();
    let mut total = 1.0;
    for action in &harness.state().actions {
        if let Action::Zoom { at, factor } = action {
            assert!(*at > from && *at < to);
            let share = at.micros_since(from) as f64 / to.micros_since(from) as f64;
            assert!((share - 0.47).abs() < 0.03, "{share}");
            total *= factor;
        }
    }
    assert!(total < 0.9, "{total}: up is closer");
}

#[test]
fn shift_and_wheel_pans() {
    let mut harness = heater();
    wheel(&mut harness, MIDDLE, vec2(0.0, 60.0), Modifiers::SHIFT);
    let panned: i64 = pans(&harness).iter().sum();
    assert!(panned < 0, "{panned}");
    assert!(!harness.state().actions.iter().any(|a| matches!(a, Action::Zoom { .. })));
}

fn pans(harness: &Harness<'_, State>) -> Vec<i64> {
    let actions = harness.state().actions.iter();
    actions.filter_map(|a| if let Action::Pan { micros } = a { Some(*micros) } else { None }).collect()
}

#[test]
fn dragging_pans_by_as_much_time_as_the_pointer_passed() {
    let mut harness = heater();
    drag(&mut harness, MIDDLE, MIDDLE + vec2(100.0, 10.0), egui::PointerButton::Primary);
    let (from, to) = harness.state().model.range();
    let panned = pans(&harness).iter().sum::<i64>() as f64 / to.micros_since(from) as f64;
    assert!((panned + 100.0 / 730.0).abs() < 0.01, "{panned}");
}

#[test]
fn a_box_with_the_secondary_button_shows_that_stretch() {
    let mut harness = heater();
    drag(&mut harness, MIDDLE, MIDDLE + vec2(150.0, 40.0), egui::PointerButton::Secondary);
    let shown = harness.state().actions.iter().find_map(|action| match action {
        Action::ShowRange { from, to } => Some(to.micros_since(*from)),
        _ => None,
    });
    let share = shown.expect("a range") as f64 / harness.state().model.viewport.width() as f64;
    assert!((share - 150.0 / 730.0).abs() < 0.01, "{share}");
}

#[test]
fn the_cursor_is_set_by_the_pointer_and_taken_back_when_it_leaves() {
    let mut harness = heater();
    harness.hover_at(MIDDLE);
    harness.run();
    assert!(harness.state().model.cursor.is_some());
    harness.remove_cursor();
    harness.run();
    assert_eq!(harness.state().model.cursor, None);
}

#[test]
fn pointing_into_one_chart_says_the_value_of_every_series_at_that_time_in_all() {
    let specs = [spec(&[1, 5]), spec(&[2, 6, 9])];
    let mut harness = open(fixtures::greenhouses(), &specs, vec2(860.0, 620.0), ThemeChoice::Dark);
    harness.run();
    let labels = |harness: &Harness<'_, State>| -> Vec<String> {
        let entries = harness.get_all_by_role(egui::Role::CheckBox);
        entries.filter_map(|node| node.accesskit_node().label()).collect()
    };
    let latest = labels(&harness);
    assert!(latest.len() == 5 && latest.iter().all(|l| !l.contains("mean")), "{latest:?}");
    let made = harness.state().cache.meshes_made();
    for x in [300.0, 340.0, 380.0] {
        harness.hover_at(pos2(x, 120.0));
        harness.run();
        let at_cursor = labels(&harness);
        assert!(at_cursor.iter().all(|l| l.contains("the mean of ")), "{at_cursor:?}");
    }
    assert_eq!(harness.state().cache.meshes_made(), made, "a cursor that moves makes no triangles");
    // The third series of the second chart was silent there.
    let silent = fixtures::NOW.plus_micros(-123_000_000);
    harness.remove_cursor();
    harness.run();
    harness.state_mut().actions.clear();
    harness.state_mut().model.cursor = Some(silent);
    harness.run();
    let in_gap = labels(&harness);
    let values = |text: &str| in_gap.iter().filter(|l| l.contains(text)).count();
    assert_eq!((values("the mean of"), values(", gap of 13.")), (4, 1), "{in_gap:?}");
}

/// One of three greenhouses was away for a minute while its readings were missing, another is away now.
pub(crate) fn with_outages() -> Model {
    let names = ["greenhouse-00", "greenhouse-01", "greenhouse-02"];
    let list: Vec<_> = (1..=3)
        .map(|i| fixtures::device(names[i - 1], &[(i as i64, "air_temperature", "Cel", "number")]))
        .collect();
    let mut model = fixtures::model(&list);
    for (series, level) in [(1, 20.0), (2, 23.0), (3, 26.0)] {
        let value = move |before: f64, n: u64| {
            level + (before / 40.0 + level).sin() + fixtures::noise(series as u64, n) * 0.2
        };
        match series {
            2 => {
                fixtures::readings(&mut model, series, 320.0, 200.0, 0.5, value);
                fixtures::readings(&mut model, series, 140.0, 0.0, 0.5, value);
            }
            3 => fixtures::readings(&mut model, series, 320.0, 90.0, 0.5, value),
            _ => fixtures::readings(&mut model, series, 320.0, 0.0, 0.5, value),
        }
    }
    for (device, connected, before) in [(1, false, 200), (1, true, 140), (2, false, 90)] {
        let mut info = list[device].clone();
        info["connected"] = connected.into();
        info["since"] = (fixtures::NOW.0 - before * 1_000_000).into();
        fixtures::message(&mut model, serde_json::json!({"type": "devices", "devices": [info]}));
    }
    model
}

#[test]
fn a_device_that_was_offline_is_marked_and_its_last_value_is_stale() {
    let specs = [spec(&[1, 2, 3]), spec(&[3])];
    let mut harness = open(with_outages(), &specs, vec2(860.0, 620.0), ThemeChoice::Dark);
    harness.run_ok();
    harness.get_by_label("greenhouse-01: offline for 1 m 0 s from 14:06:40");
    harness.get_by_label("greenhouse-02: offline since 14:08:30");
    // Where it is alone the ground says it.
    harness.get_by_label("Offline since 14:08:30");
    let stale = harness.query_all_by_label_contains(", stale, 1 m ago").count();
    assert_eq!(stale, 4, "in the legend of both charts, and in what they say as a whole");
    assert!(!legend(&harness, "greenhouse-01").accesskit_node().label().unwrap().contains("stale"));
    harness.state_mut().model.cursor = Some(fixtures::NOW.plus_micros(-170_000_000));
    harness.run_ok();
    let said = legend(&harness, "greenhouse-01").accesskit_node().label().unwrap();
    assert!(said.ends_with(", offline"), "{said}");
}

#[test]
fn pointing_at_a_name_explains_its_cadence_and_how_silence_is_drawn() {
    let mut harness = open(with_outages(), &[spec(&[1, 2, 3])], SIZE, ThemeChoice::Dark);
    harness.run_ok();
    let name = legend(&harness, "greenhouse-02").rect().center();
    harness.hover_at(name);
    harness.run_steps(12);
    harness.get_by_label_contains("A reading every 500 ms");
    harness.get_by_label_contains("A silence of 1.5 s or more is a gap");
    harness.get_by_label("Its device is offline since 14:08:30");
}

#[test]
fn gaps_and_devices_that_were_offline_in_the_light() {
    let specs = [spec(&[1, 2, 3]), spec(&[3])];
    let mut harness = open(with_outages(), &specs, vec2(860.0, 620.0), ThemeChoice::Light);
    harness.run_ok();
    harness.snapshot("chart_outages_light");
}

#[test]
fn dragging_with_shift_measures_what_is_between_while_readings_arrive() {
    let specs = [spec(&[1]), spec(&[1, 2, 3])];
    let mut harness = open(with_outages(), &specs, vec2(860.0, 700.0), ThemeChoice::Dark);
    harness.run_ok();
    let before = harness.state().model.range();
    harness.event(Event::ModifiersChanged(Modifiers::SHIFT));
    drag(&mut harness, pos2(300.0, 180.0), pos2(560.0, 200.0), egui::PointerButton::Primary);
    harness.event(Event::ModifiersChanged(Modifiers::NONE));
    harness.run_ok();
    let state = harness.state();
    assert_eq!(state.model.pins.len(), 2, "{:?}", state.actions);
    assert!(pans(&harness).is_empty() && state.model.range() == before, "it moves nothing");
    assert_eq!(harness.query_all_by_label_contains("From A at 14:06:").count(), 2, "in both charts");
    let said = |harness: &Harness<'_, State>| {
        let rows = harness.query_all_by_label_contains(" between A and B: min ");
        rows.filter_map(|node| node.accesskit_node().value()).collect::<Vec<_>>()
    };
    let rows = said(&harness);
    assert_eq!(rows.len(), 4, "{rows:?}");
    for what in ["max", "mean", "change", "rate", "integral", "readings"] {
        assert!(rows.iter().all(|row| row.contains(what)), "{what}: {rows:?}");
    }
    assert!(rows[0].contains("°C/s") && rows[0].contains("°C·s"), "{}", rows[0]);
    // A late reading far above the others counts at once.
    let late = fixtures::NOW.plus_micros(-170_123_456);
    harness.state_mut().model.series.push_live(SeriesId(1), &[(late, protocol::Value::Number(77.0))]);
    harness.run_ok();
    assert!(said(&harness).iter().any(|row| row.contains("max 77.0")), "{:?}", said(&harness));
    harness.state_mut().model.pins.clear();
    harness.state_mut().actions.clear();
    harness.run_ok();
    assert!(said(&harness).is_empty());
}

#[test]
fn measuring_between_two_cursors_in_the_dark() {
    let specs = [spec(&[1, 2, 3]), spec(&[3])];
    let mut harness = open(with_outages(), &specs, vec2(860.0, 700.0), ThemeChoice::Dark);
    harness.state_mut().model.pins = [-220, -60].map(|s| fixtures::NOW.plus_micros(s * 1_000_000)).into();
    harness.run_ok();
    harness.snapshot("chart_measure_dark");
}

#[test]
fn a_double_click_goes_back_to_what_is_live() {
    let mut harness = heater();
    let press = |pressed| {
        let button = egui::PointerButton::Primary;
        Event::PointerButton { pos: MIDDLE, button, pressed, modifiers: Modifiers::NONE }
    };
    harness.hover_at(MIDDLE);
    harness.step();
    for pressed in [true, false, true, false] {
        harness.event(press(pressed));
        harness.step();
    }
    assert!(harness.state().actions.contains(&Action::Follow), "{:?}", harness.state().actions);
}

#[test]
fn nothing_arriving_asks_for_no_further_frames() {
    let mut harness = heater();
    harness.run();
    let output = harness.output();
    assert!(output.viewport_output.values().all(|v| v.repaint_delay == std::time::Duration::MAX));
}

#[test]
fn a_chart_without_series_data_or_room_says_so_and_does_not_fail() {
    let unknown = ChartSpec {
        title: Some("Somewhere else".into()),
        series: vec![SeriesId(900)],
        ..ChartSpec::default()
    };
    for size in [vec2(40.0, 30.0), vec2(120.0, 90.0), vec2(500.0, 260.0)] {
        let specs = [unknown.clone(), spec(&[])];
        let mut harness = open(fixtures::step_response(), &specs, size, ThemeChoice::Dark);
        harness.run();
        if size.x > 400.0 {
            harness.get_by_label("Somewhere else");
            harness.get_by_label_contains("series 900 no data");
        }
    }
}

#[test]
fn any_stretch_of_time_can_be_drawn() {
    let mut harness = open(fixtures::step_response(), &[spec(&[1, 2, 3, 4])], SIZE, ThemeChoice::Light);
    let now = fixtures::NOW;
    for (from, to) in [(0, 1_000), (now.0 - 500, now.0 + 500), (0, i64::MAX), (now.0, now.0 + 1)] {
        harness.state_mut().model.viewport.show(Timestamp(from), Timestamp(to), now);
        harness.run_steps(3);
    }
}

#[test]
fn a_command_is_a_span_under_the_curve_that_it_moved_and_a_click_shows_its_life() {
    let mut harness = open(fixtures::step_response(), &[spec(&[1])], SIZE, ThemeChoice::Dark);
    harness.run();
    let done = harness.get_by_label("Set target on heater-1, succeeded after 52.4 s").rect();
    let failed = harness.get_by_label("Calibrate on heater-1, failed after 9.0 s").rect();
    let running = harness.get_by_label("Set target on heater-1, running").rect();
    let chart = harness.get_by_label_contains("Chart Temperature").rect();
    assert!(done.left() < failed.left() && failed.left() < running.left());
    // From its issue to its end, at the bottom of the chart; what goes on reaches the right edge.
    let seconds = chart.width() / 300.0;
    assert!((done.width() - 52.4 * seconds).abs() < 2.5, "{done:?} in {chart:?}");
    assert!(running.right() >= chart.right() - 2.0 && done.top() > chart.center().y);
    harness.hover_at(done.center());
    harness.step();
    harness.get_by_label("Set target on heater-1, succeeded after 52.4 s").click();
    harness.run_steps(2);
    let shown = |a: &Action| matches!(a, Action::ShowCommand(Some(id)) if id.as_str() == "c-1");
    assert!(harness.state().actions.iter().any(shown));
    assert!(!harness.state().actions.iter().any(|a| matches!(a, Action::Pin(_))), "it pins no cursor");
}

#[test]
fn many_commands_at_once_stand_in_a_few_rows_and_the_rest_is_counted() {
    let mut model = fixtures::step_response();
    for i in 0..200 {
        use protocol::command::CommandState::{Queued, Sent, Succeeded};
        let before = 50.0 + f64::from(i) * 0.01;
        let life = [(Queued, before), (Sent, before - 0.001), (Succeeded, before - 0.002)];
        fixtures::command(
            &mut model,
            &format!("m-{i}"),
            "heater-1",
            "calibrate",
            serde_json::json!({}),
            &life,
        );
    }
    let mut harness = open(model, &[spec(&[1])], SIZE, ThemeChoice::Dark);
    harness.run();
    let spans = harness.query_all_by_label_contains("Calibrate on heater-1, succeeded").count();
    assert!(spans <= 9, "{spans}");
    let counted: usize = harness
        .query_all_by_label_contains("more commands")
        .filter_map(|n| n.accesskit_node().label()?.split_once(' ')?.0.parse::<usize>().ok())
        .sum();
    assert_eq!(spans + counted, 200, "none is left out");
    let height = harness.get_by_label_contains("Chart Temperature").rect().height();
    harness.query_all_by_label_contains("more commands").next().unwrap().click();
    harness.run_steps(2);
    assert!(harness.state().actions.iter().any(|a| matches!(a, Action::ShowRange { .. })));
    assert!(height > 100.0);
}

#[test]
fn what_waits_for_its_device_takes_no_room_from_what_comes_after_it() {
    use protocol::command::CommandState::{Queued, Sent, Succeeded};
    let mut model = fixtures::model(&[fixtures::device("heater-1", &[(1, "temperature", "Cel", "number")])]);
    for i in 0..6 {
        let before = 250.0 - f64::from(i);
        fixtures::command(
            &mut model,
            &format!("w-{i}"),
            "heater-1",
            "calibrate",
            serde_json::json!({}),
            &[(Queued, before)],
        );
    }
    let life = [(Queued, 60.0), (Sent, 59.0), (Succeeded, 20.0)];
    fixtures::command(&mut model, "d-1", "heater-1", "calibrate", serde_json::json!({}), &life);
    let mut harness = open(model, &[spec(&[1])], SIZE, ThemeChoice::Dark);
    harness.run();
    assert_eq!(harness.query_all_by_label("Calibrate on heater-1, succeeded after 40.0 s").count(), 1);
}

#[test]
fn a_chart_shows_no_commands_of_other_devices() {
    let mut model = fixtures::greenhouses();
    let life = [(protocol::command::CommandState::Queued, 100.0)];
    fixtures::command(&mut model, "g-1", "greenhouse-01", "calibrate", serde_json::json!({}), &life);
    let mut harness = open(model, &[spec(&[1]), spec(&[1, 5])], vec2(860.0, 700.0), ThemeChoice::Dark);
    harness.run();
    assert_eq!(harness.query_all_by_label("Calibrate on greenhouse-01, waiting").count(), 1);
}

#[test]
fn a_step_response_with_its_command_in_the_dark() {
    let specs = [spec(&[1]), spec(&[1, 2, 3, 4])];
    let mut harness = open(fixtures::step_response(), &specs, vec2(860.0, 700.0), ThemeChoice::Dark);
    harness.run();
    harness.snapshot("chart_step_dark");
}

#[test]
fn a_step_response_with_its_command_in_the_light() {
    let specs = [spec(&[1]), spec(&[1, 2, 3, 4])];
    let mut harness = open(fixtures::step_response(), &specs, vec2(860.0, 700.0), ThemeChoice::Light);
    harness.hover_at(pos2(300.0, 200.0));
    harness.run();
    harness.snapshot("chart_step_light");
}

#[test]
fn noisy_curves_with_a_gap_and_the_table_at_the_cursor() {
    let specs = [spec(&[1, 5, 9]), spec(&[2, 6, 10])];
    let mut harness = open(fixtures::greenhouses(), &specs, vec2(860.0, 620.0), ThemeChoice::Dark);
    harness.hover_at(pos2(400.0, 120.0));
    harness.run();
    harness.snapshot("chart_bands_dark");
}
