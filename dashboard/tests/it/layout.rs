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
fn a_damaged_or_newer_layout_is_not_taken() {
    let (layout, _) = first(2);
    let text = layout.to_json().unwrap();
    assert!(Layout::from_json(&text.replacen("\"version\": 1", "\"version\": 2", 1)).is_none());
    assert!(Layout::from_json(&text[..text.len() / 2]).is_none());
    assert!(Layout::from_json("").is_none());
    assert!(Layout::from_json(&text).is_some());
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
