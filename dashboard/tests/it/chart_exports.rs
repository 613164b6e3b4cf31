//! Charts as pictures and as CSV, on the clipboard and in files.

use egui::OutputCommand;
use egui_kittest::kittest::Queryable as _;

use crate::fixtures::*;
use crate::window::type_into;

fn open() -> Window {
    let mut window = Window::open();
    window.connect(2);
    let points: Vec<_> = (-60..0).filter(|s| !(-30..-20).contains(s)).map(|s| (later(s), 21.5)).collect();
    window.tell(readings(10, 200, 11, &points));
    window
}

fn choose(window: &mut Window, item: &str) {
    window.harness.get_by_label("Menu of Air temperature").click();
    window.run();
    window.harness.get_by_label(item).click();
    window.harness.step();
}

/// Runs until something is said on the screen; files and pictures are made by another thread.
fn wait_for(window: &mut Window, label: &str) {
    for _ in 0..600 {
        window.harness.step();
        if window.harness.query_by_label_contains(label).is_some() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    window.harness.get_by_label_contains(label);
}

fn commands(window: &Window) -> &[OutputCommand] {
    &window.harness.output().platform_output.commands
}

#[test]
fn what_a_chart_shows_is_copied_as_csv_with_units_and_times_in_utc() {
    let mut window = open();
    choose(&mut window, "Copy as CSV");
    let text = commands(&window)
        .iter()
        .find_map(|c| if let OutputCommand::CopyText(t) = c { Some(t.clone()) } else { None });
    let text = text.expect("a text on the clipboard");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "time,greenhouse-01 temperature (°C),greenhouse-02 temperature (°C)");
    assert_eq!(lines[1], "2025-06-15T11:59:00Z,21.5,");
    assert_eq!(lines.len(), 51, "a gap has no rows");
    window.run();
    window.harness.get_by_label_contains("50 rows are on the clipboard as CSV");
}

#[test]
fn a_chart_behind_another_tab_is_brought_to_the_front_and_copied_with_its_history() {
    use dashboard::action::{Action, Place};
    use protocol::viewer::ViewerMessage;
    let mut window = open();
    window.harness.state_mut().act(Action::AddChart { title: None, series: vec![protocol::SeriesId(13)] });
    window.run();
    let vent = window.harness.state().layout().charts().map(|pane| pane.chart).max().unwrap();
    window.harness.state_mut().act(Action::SplitChart { chart: vent, place: Place::Tab });
    window.run();
    let layout = window.harness.state().layout();
    let behind = layout.charts().map(|pane| pane.chart).find(|chart| !layout.is_in_front(*chart)).unwrap();
    // By keyboard, from the palette.
    window.harness.state_mut().act(Action::TogglePalette);
    window.run();
    window.harness.get_by_label("Find anything").type_text("copy vent as csv");
    window.run();
    window.harness.state_mut().act(Action::TogglePalette);
    window
        .harness
        .state_mut()
        .act(Action::CopyChart { chart: behind, kind: dashboard::model::exports::ExportKind::Csv });
    for _ in 0..6 {
        window.harness.step();
        assert!(commands(&window).is_empty(), "not before its history is here");
    }
    window.harness.get_by_label_contains("it is in front now");
    assert!(window.harness.state().layout().is_in_front(behind));
    let mut text = None;
    for _ in 0..20 {
        for asked in window.sent() {
            if let ViewerMessage::History(request) = asked {
                let points =
                    if request.series.0 == 13 && request.from <= later(-40) && later(-40) < request.to {
                        serde_json::json!([[later(-40).0, "open"]])
                    } else {
                        serde_json::json!([])
                    };
                let step = serde_json::to_value(request.step).unwrap();
                let reply = serde_json::json!({"type": "history", "id": request.id, "series": request.series.0,
                    "step": step, "points": points, "position": 1});
                window.hub.events.try_send(dashboard::model::Event::Message(message(reply))).unwrap();
            }
        }
        window.harness.step();
        let copied = commands(&window).iter().find_map(|c| match c {
            OutputCommand::CopyText(text) => Some(text.clone()),
            _ => None,
        });
        text = text.or(copied);
    }
    let log: Vec<_> = window.harness.state().model().toasts.log().map(|entry| entry.text.clone()).collect();
    assert!(text.as_ref().is_some_and(|text| text.contains("open")), "{text:?} {log:?}");
}

#[test]
fn buckets_have_their_mean_least_greatest_and_count() {
    let mut window = open();
    let dense: Vec<_> =
        (0..6_000).map(|i| (NOW.plus_micros((i - 6_000) * 10_000 + 5), (i % 10) as f64)).collect();
    window.tell(readings(10, 201, 21, &dense));
    choose(&mut window, "Copy as CSV");
    let text = commands(&window)
        .iter()
        .find_map(|c| if let OutputCommand::CopyText(t) = c { Some(t.clone()) } else { None });
    let text = text.expect("a text on the clipboard");
    let names: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    let named =
        |what: &str| names.iter().position(|name| *name == what).unwrap_or_else(|| unreachable!("{names:?}"));
    let (min, max) =
        (named("greenhouse-02 temperature min (°C)"), named("greenhouse-02 temperature max (°C)"));
    let count = named("greenhouse-02 temperature readings");
    let mut total = 0;
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        if !cells[count].is_empty() {
            total += cells[count].parse::<u32>().unwrap();
            assert!(cells[min] <= cells[max], "{line}");
        }
    }
    assert!((5_900..=6_000).contains(&total), "{total}");
}

#[test]
fn a_chart_is_copied_as_a_picture_of_itself() {
    let mut window = open();
    choose(&mut window, "Copy as picture");
    let mut copied = None;
    for _ in 0..600 {
        copied = commands(&window)
            .iter()
            .find_map(|c| if let OutputCommand::CopyImage(image) = c { Some(image.clone()) } else { None });
        if copied.is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        window.harness.step();
    }
    let image = copied.expect("a picture on the clipboard");
    let chart = window.harness.get_by_label_contains("Chart Air temperature").rect();
    assert!(image.width() as f32 > chart.width() * 2.0 && image.height() as f32 > chart.height() * 2.0);
    let colours: std::collections::BTreeSet<_> = image.pixels.iter().map(egui::Color32::to_array).collect();
    assert!(colours.len() > 50, "it is not empty: {}", colours.len());
    window.run();
    window.harness.get_by_label_contains("The chart is on the clipboard as a picture");
}

#[test]
fn a_chart_is_written_to_a_file_and_what_is_there_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open();
    choose(&mut window, "Write to a file…");
    window.run();
    let csv = folder.path().join("chart.csv");
    std::fs::write(&csv, "mine").unwrap();
    window.harness.get_by_label("Values (CSV)").click();
    window.run();
    let form = |window: &Window| window.harness.state().model().export_form.clone();
    let path = form(&window).unwrap().path;
    assert!(path.ends_with("air-temperature-20250615T120000Z.csv"), "{path}");
    let set = |window: &mut Window, path: &std::path::Path| {
        let edited = form(window).unwrap().with_path(path.display().to_string());
        window.harness.state_mut().act(dashboard::action::Action::EditExport(Some(Box::new(edited))));
        window.run();
    };
    set(&mut window, std::path::Path::new("chart.csv"));
    window.harness.get_by_label("Write").click();
    window.run();
    window.harness.get_by_label_contains("no whole path");
    set(&mut window, &csv);
    window.harness.get_by_label("Write").click();
    wait_for(&mut window, "is there already");
    assert_eq!(std::fs::read_to_string(&csv).unwrap(), "mine");
    window.harness.get_by_label("Replace it").click();
    wait_for(&mut window, "Written to ");
    assert!(std::fs::read_to_string(&csv).unwrap().starts_with("time,greenhouse-01"));
    assert!(form(&window).is_none());

    choose(&mut window, "Write to a file…");
    window.run();
    type_into(&mut window, "File of the chart", "x");
    set(&mut window, &folder.path().join("nowhere/chart.png"));
    window.harness.get_by_label("Write").click();
    wait_for(&mut window, "there is no such file or folder");
    let png = folder.path().join("chart.png");
    set(&mut window, &png);
    window.harness.get_by_label("Write").click();
    // Its end is written last.
    let mut picture = image::open(&png);
    for _ in 0..600 {
        if picture.is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        window.harness.step();
        picture = image::open(&png);
    }
    let picture = picture.unwrap();
    assert!(picture.width() > 500 && picture.height() > 300);
}

#[test]
fn the_dialog_for_a_file() {
    let mut window = open();
    choose(&mut window, "Write to a file…");
    window.run();
    let form = window.harness.state().model().export_form.clone().unwrap();
    let edited = form.with_path("/home/anna/Documents/air-temperature.png".into());
    window.harness.state_mut().act(dashboard::action::Action::EditExport(Some(Box::new(edited))));
    window.harness.remove_cursor();
    window.run();
    window.harness.snapshot("export_dark");
}
