//! The layout: made from the fleet, edited, saved, restored.

use dashboard::action::{Action, ChartId, Place};
use dashboard::layout::{Layout, title};
use protocol::SeriesId;

use crate::fixtures::*;

fn first(count: i64) -> (Layout, dashboard::model::Model) {
    let model = connected_model(count);
    let mut layout = Layout::default();
    layout.follow(&model.devices);
    (layout, model)
}

#[test]
fn the_first_layout_has_a_chart_for_each_shared_number() {
    let (layout, model) = first(6);
    let titles: Vec<String> = layout.charts().map(|p| title(p, &model.devices)).collect();
    assert_eq!(titles.len(), 2, "{titles:?}");
    assert!(titles.contains(&"Air temperature".to_owned()) && titles.contains(&"Humidity".to_owned()));
    assert!(layout.charts().all(|p| p.spec.series.len() == 4));
    assert_eq!(layout.shown().len(), 8);
}

#[test]
fn a_first_layout_grows_with_the_fleet_until_it_is_touched() {
    let (mut layout, mut model) = first(1);
    assert_eq!(layout.shown().len(), 2);
    model.handle_event(changed(greenhouse(2, true)), NOW);
    layout.follow(&model.devices);
    assert_eq!(layout.shown().len(), 4);
    let chart = layout.charts().next().unwrap().chart;
    layout.apply(&Action::RenameChart { chart, title: "Mine".into() }, &model.devices);
    model.handle_event(changed(greenhouse(3, true)), NOW);
    layout.follow(&model.devices);
    assert_eq!(layout.shown().len(), 4);
}

#[test]
fn charts_are_added_split_filled_and_closed() {
    let (mut layout, model) = first(2);
    layout.apply(&Action::AddChart { title: None, series: vec![SeriesId(11)] }, &model.devices);
    assert_eq!(layout.charts().count(), 3);
    let added = ChartId(layout.charts().map(|p| p.chart.0).max().unwrap());
    layout.apply(&Action::AddToChart { chart: added, series: SeriesId(21) }, &model.devices);
    layout.apply(&Action::AddToChart { chart: added, series: SeriesId(21) }, &model.devices);
    assert_eq!(layout.chart(added).unwrap().spec.series, [SeriesId(11), SeriesId(21)]);
    layout.apply(&Action::SplitChart { chart: added, place: Place::Tab }, &model.devices);
    assert_eq!(layout.charts().count(), 4);
    layout.apply(&Action::SeparateSeries(added), &model.devices);
    assert_eq!(layout.chart(added).unwrap().spec.series, [SeriesId(11)]);
    assert_eq!(layout.charts().count(), 5);
    layout.apply(&Action::RemoveFromChart { chart: added, series: SeriesId(11) }, &model.devices);
    assert!(layout.chart(added).is_none(), "a chart goes with its last series");
    for chart in layout.charts().map(|p| p.chart).collect::<Vec<_>>() {
        layout.apply(&Action::CloseChart(chart), &model.devices);
    }
    assert!(layout.is_empty());
    layout.apply(&Action::ResetLayout, &model.devices);
    assert_eq!(layout.charts().count(), 2);
}

#[test]
fn a_saved_layout_comes_back_by_name_also_with_other_numbers() {
    let (mut layout, model) = first(2);
    let chart = layout.charts().next().unwrap().chart;
    layout.apply(&Action::RenameChart { chart, title: "Mine".into() }, &model.devices);
    assert!(layout.take_changed());
    let text = layout.to_json().unwrap();

    let mut other = connected_model(0);
    let mut device = greenhouse(2, true);
    for (i, metric) in device["metrics"].as_array_mut().unwrap().iter_mut().enumerate() {
        metric["series"] = (700 + i).into();
    }
    let mut restored = Layout::from_json(&text).unwrap();
    restored.follow(&other.devices);
    assert_eq!(restored.shown(), []);
    other.handle_event(changed(device), NOW);
    restored.follow(&other.devices);
    assert_eq!(restored.shown(), [SeriesId(700), SeriesId(701)]);
    assert!(restored.charts().any(|p| p.title.as_deref() == Some("Mine")));
}

#[test]
fn a_damaged_or_newer_layout_says_what_is_wrong() {
    let (layout, _) = first(2);
    let text = layout.to_json().unwrap();
    let why = |text: &str| Layout::from_json(text).unwrap_err().to_string();
    assert!(why(&text.replacen("\"version\": 1", "\"version\": 2", 1)).contains("format 2"));
    assert!(why(&text[..text.len() / 2]).contains("not JSON"));
    assert!(why("").contains("not JSON"));
    assert!(why("[1]").contains("says no version"));
    assert!(why("{\"version\":1}").contains("not a layout"));
    assert!(Layout::from_json(&text).is_ok());
}

/// Changes of a good file that no layout survives unchecked: loops, holes, sizes that are none.
#[test]
fn a_hostile_layout_is_refused_or_made_harmless() {
    let (mut layout, model) = first(2);
    let chart = layout.charts().next().unwrap().chart;
    layout.apply(&Action::SplitChart { chart, place: Place::Tab }, &model.devices);
    let good = layout.to_value().unwrap();
    let tiles = good["tree"]["tiles"]["tiles"].as_object().unwrap().clone();
    let root = good["tree"]["root"].to_string();
    let grid = |v: &serde_json::Value| v["Container"]["Grid"]["children"].is_array();
    let (grid_id, _) = tiles.iter().find(|(_, v)| grid(v)).unwrap();
    let edited = |edit: &dyn Fn(&mut serde_json::Value)| {
        let mut bad = good.clone();
        edit(&mut bad);
        Layout::from_value(bad)
    };
    let children = |bad: &mut serde_json::Value| {
        bad["tree"]["tiles"]["tiles"][grid_id]["Container"]["Grid"]["children"].take()
    };
    // The grid is its own child.
    let looped = edited(&|bad| {
        let mut list = children(bad);
        list.as_array_mut().unwrap().push(root.parse::<u64>().unwrap().into());
        bad["tree"]["tiles"]["tiles"][grid_id]["Container"]["Grid"]["children"] = list;
    });
    assert!(looped.unwrap_err().to_string().contains("two places"));
    let missing = edited(&|bad| {
        bad["tree"]["tiles"]["tiles"][grid_id]["Container"]["Grid"]["children"] = serde_json::json!([999]);
    });
    assert!(missing.unwrap_err().to_string().contains("missing"));
    let endless = edited(&|bad| {
        bad["tree"]["tiles"]["tiles"][grid_id]["Container"]["Grid"]["col_shares"] = serde_json::json!([1e39]);
    });
    assert!(endless.is_err());
    // No columns at all, the same chart twice, ids at their end: taken, and shown without a panic.
    let mut odd = edited(&|bad| {
        let grid = &mut bad["tree"]["tiles"]["tiles"][grid_id]["Container"]["Grid"];
        grid["layout"] = serde_json::json!({"Columns": 0});
        bad["tree"]["tiles"]["next_tile_id"] = u64::MAX.into();
        bad["next_chart"] = u64::MAX.into();
        for tile in bad["tree"]["tiles"]["tiles"].as_object_mut().unwrap().values_mut() {
            if tile["Pane"].is_object() {
                tile["Pane"]["chart"] = 7.into();
            }
        }
    })
    .unwrap();
    odd.follow(&model.devices);
    let mut charts: Vec<_> = odd.charts().map(|p| p.chart).collect();
    let count = charts.len();
    charts.sort_unstable();
    charts.dedup();
    assert_eq!((charts.len(), count), (3, 3), "each chart has a number of its own");
    odd.apply(&Action::AddChart { title: None, series: vec![SeriesId(11)] }, &model.devices);
    assert_eq!(odd.charts().count(), 4);
}

fn titles(layout: &Layout, model: &dashboard::model::Model) -> Vec<String> {
    let mut titles: Vec<_> = layout.charts().map(|p| title(p, &model.devices)).collect();
    titles.sort();
    titles
}

#[test]
fn changes_are_undone_and_done_again_one_by_one() {
    let (mut layout, model) = first(2);
    assert!(!layout.can_undo());
    let begin = titles(&layout, &model);
    let chart = layout.charts().map(|p| p.chart).min().unwrap();
    // Typing a title is one step, however many letters.
    for text in ["N", "Ni", "Nig", "Night"] {
        layout.apply(&Action::RenameChart { chart, title: text.into() }, &model.devices);
    }
    let named = titles(&layout, &model);
    layout.apply(&Action::CloseChart(chart), &model.devices);
    let closed = titles(&layout, &model);
    assert_ne!(named, closed);
    layout.apply(&Action::UndoLayout, &model.devices);
    assert_eq!(titles(&layout, &model), named);
    assert_eq!(layout.shown().len(), 4, "what comes back shows its series at once");
    layout.apply(&Action::UndoLayout, &model.devices);
    assert_eq!((titles(&layout, &model), layout.can_undo()), (begin.clone(), false));
    layout.apply(&Action::UndoLayout, &model.devices);
    layout.apply(&Action::RedoLayout, &model.devices);
    layout.apply(&Action::RedoLayout, &model.devices);
    assert_eq!((titles(&layout, &model), layout.can_redo()), (closed, false));
    // A new step forgets what was undone.
    layout.apply(&Action::UndoLayout, &model.devices);
    layout
        .apply(&Action::AddChart { title: Some("More".into()), series: vec![SeriesId(13)] }, &model.devices);
    assert!(!layout.can_redo());
}

#[test]
fn what_the_fleet_does_is_no_step_and_a_chart_that_comes_back_keeps_its_number() {
    let (mut layout, mut model) = first(1);
    model.handle_event(changed(greenhouse(2, true)), NOW);
    layout.follow(&model.devices);
    assert!(!layout.can_undo(), "the first layout grows by itself");
    let chart = layout.charts().map(|p| p.chart).max().unwrap();
    layout.apply(&Action::CloseChart(chart), &model.devices);
    layout.apply(&Action::UndoLayout, &model.devices);
    assert!(layout.chart(chart).is_some());
    layout.apply(&Action::AddChart { title: None, series: vec![SeriesId(13)] }, &model.devices);
    let mut charts: Vec<_> = layout.charts().map(|p| p.chart).collect();
    let count = charts.len();
    charts.sort_unstable();
    charts.dedup();
    assert_eq!(charts.len(), count, "no number is given twice");
}

#[test]
fn steps_are_bounded() {
    let (mut layout, model) = first(1);
    for _ in 0..300 {
        layout.apply(&Action::AddChart { title: None, series: vec![SeriesId(13)] }, &model.devices);
        let chart = layout.charts().map(|p| p.chart).max().unwrap();
        layout.apply(&Action::CloseChart(chart), &model.devices);
    }
    let undone = (0..1_000).take_while(|_| {
        let can = layout.can_undo();
        layout.apply(&Action::UndoLayout, &model.devices);
        can
    });
    assert_eq!(undone.count(), 100);
}

#[test]
fn an_exported_layout_is_imported_by_its_name_and_others_say_what_they_are() {
    let (layout, _) = first(2);
    let text = dashboard::layout::export("Night", &layout.to_value().unwrap()).unwrap();
    let imported = dashboard::layout::import(&text).unwrap();
    assert_eq!(imported.name.as_deref(), Some("Night"));
    assert_eq!(Layout::from_value(imported.layout).unwrap().charts().count(), layout.charts().count());
    assert!(dashboard::layout::import(&layout.to_json().unwrap()).is_ok(), "also one that was kept");
    let why = |text: &str| dashboard::layout::import(text).unwrap_err().to_string();
    assert!(why(&text.replacen("telemetry-layout", "something", 1)).contains("its format is \"something\""));
    // The version stands twice: of the file and of what is in it.
    for (n, _) in text.match_indices("\"version\": 1") {
        let mut newer = text.clone();
        newer.replace_range(n..n + 12, "\"version\": 9");
        assert!(why(&newer).contains("later version of the dashboard (format 9"), "{}", why(&newer));
    }
}

#[test]
fn no_bytes_make_the_reader_of_layouts_panic() {
    let (mut layout, model) = first(3);
    let chart = layout.charts().next().unwrap().chart;
    for place in [Place::Right, Place::Below, Place::Tab] {
        layout.apply(&Action::SplitChart { chart, place }, &model.devices);
    }
    let good = layout.to_json().unwrap();
    let mut state = 0x5EED_u64;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..2_000 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..=next(3) {
            let at = next(bytes.len());
            match next(4) {
                0 => bytes[at] = b"0123456789-.{}[]\",:etfn"[next(23)],
                1 => bytes[at] = b'0' + next(10) as u8,
                2 => drop(bytes.drain(at..(at + next(40)).min(bytes.len()))),
                _ => {
                    let to = next(bytes.len());
                    bytes.swap(at, to);
                }
            }
        }
        match dashboard::layout::import(&String::from_utf8_lossy(&bytes)) {
            Ok(imported) => {
                taken += 1;
                let mut layout = Layout::from_value(imported.layout).unwrap();
                layout.follow(&model.devices);
                layout.apply(&Action::UndoLayout, &model.devices);
                layout.shown();
            }
            Err(_) => refused += 1,
        }
    }
    assert!(taken > 20 && refused > 200, "{taken} {refused}");
}

#[test]
fn charts_move_up_when_one_is_closed() {
    let (mut layout, model) = first(2);
    for series in [11, 21, 12] {
        layout.apply(&Action::AddChart { title: None, series: vec![SeriesId(series)] }, &model.devices);
    }
    let first = layout.charts().map(|p| p.chart).min().unwrap();
    layout.apply(&Action::CloseChart(first), &model.devices);
    assert_eq!(layout.charts().count(), 4);
    // A hole is written as null among the children of the grid.
    let json: serde_json::Value = serde_json::from_str(&layout.to_json().unwrap()).unwrap();
    let text = json["tree"]["tiles"].to_string();
    assert!(text.contains("Grid") && !text.contains("null"), "{text}");
}
