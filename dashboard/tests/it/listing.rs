//! The device list: grouped, sorted, remembered, and made once and not with every frame.

use dashboard::action::Action;
use dashboard::model::Model;
use dashboard::model::listing::{GroupBy, ListOrder, ListRow, SortBy};
use dashboard::settings::ThemeChoice;
use egui_kittest::kittest::Queryable as _;
use protocol::SeriesId;
use serde_json::Value as Json;

use crate::fixtures::*;

fn with(mut device: Json, changes: &[(&str, Json)]) -> Json {
    for (key, value) in changes {
        device[*key] = value.clone();
    }
    device
}

/// Five devices: two pumps, a fan with two tags, one without a model, one that is away.
fn mixed() -> Vec<Json> {
    let (pump, fan) = (("model", "Pump".into()), ("model", "Fan".into()));
    vec![
        with(greenhouse(1, true), &[pump.clone(), ("tags", vec!["north"].into())]),
        with(greenhouse(2, true), &[fan, ("tags", vec!["north", "roof"].into())]),
        with(greenhouse(3, true), &[("model", Json::Null)]),
        with(greenhouse(4, false), &[pump]),
        greenhouse(5, true),
    ]
}

fn model_of(list: &[Json]) -> Model {
    let mut model = connected_model(0);
    model.handle_event(devices(list), NOW);
    model.tick(&[], 800.0, NOW);
    model
}

/// The list in short: `#name(count)` for a group, the number of a device, `.` for a metric.
fn rows(model: &Model) -> String {
    let rows: Vec<String> = model
        .devices
        .rows()
        .iter()
        .map(|row| match row {
            ListRow::Group { name, count, is_folded, .. } => {
                format!("#{name}({count}){}", if *is_folded { "-" } else { "" })
            }
            ListRow::Device(id) => id.as_str().trim_start_matches("greenhouse-").to_owned(),
            ListRow::Metric(..) => ".".to_owned(),
        })
        .collect();
    rows.join(" ")
}

fn order(model: &mut Model, group: GroupBy, sort: SortBy) -> String {
    model.apply(Action::SetListOrder(ListOrder { group, sort }), NOW);
    model.tick(&[], 800.0, NOW);
    rows(model)
}

#[test]
fn devices_are_grouped_by_model_tag_and_state() {
    let mut model = model_of(&mixed());
    assert_eq!(rows(&model), "01 02 03 04 05");
    assert_eq!(
        order(&mut model, GroupBy::Model, SortBy::Name),
        "#Fan(1) 02 #GH-2(1) 05 #Pump(2) 01 04 #No model(1) 03"
    );
    assert_eq!(
        order(&mut model, GroupBy::Tag, SortBy::Name),
        "#north(2) 01 02 #roof(1) 02 #No tags(3) 03 04 05",
        "a device stands under each of its tags"
    );
    let listed: Vec<_> = model.devices.listed().iter().map(|id| id.as_str().to_owned()).collect();
    assert_eq!(listed.len(), 5, "and is told something once: {listed:?}");
    assert_eq!(order(&mut model, GroupBy::State, SortBy::Name), "#offline(1) 04 #live(4) 01 02 03 05");
    model.apply(Action::FoldGroup("live".into()), NOW);
    model.tick(&[], 800.0, NOW);
    assert_eq!(rows(&model), "#offline(1) 04 #live(4)-");
    assert_eq!(model.devices.listed().len(), 5, "what is folded away still fits the filter");
}

#[test]
fn devices_are_sorted_by_state_silence_and_last_word() {
    let mut model = model_of(&mixed());
    let hear = |model: &mut Model, series: i64, value: f64, at: i64| {
        model.handle_event(readings(1, 101, series, &[(later(at), value)]), later(at));
    };
    for (series, at) in [(31, 1), (11, 2), (21, 3), (51, 4)] {
        hear(&mut model, series, 20.0, at);
    }
    assert_eq!(order(&mut model, GroupBy::Nothing, SortBy::Staleness), "04 03 01 02 05");
    assert_eq!(order(&mut model, GroupBy::Nothing, SortBy::LastSeen), "05 02 01 03 04");
    // 99 degrees are outside what the device calls plausible.
    hear(&mut model, 21, 99.0, 5);
    assert_eq!(order(&mut model, GroupBy::Nothing, SortBy::State), "02 04 01 03 05");
    assert_eq!(order(&mut model, GroupBy::Nothing, SortBy::Name), "01 02 03 04 05");
}

#[test]
fn the_order_is_remembered_and_the_filter_applies_in_groups() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = Window::open_in(folder.path());
    window.tell(welcome(100));
    window.tell(devices(&mixed()));
    window.harness.get_by_label("Group and sort").click();
    window.run();
    window.harness.get_by_label("By model").click();
    window.run();
    window.harness.get_by_label("Group Pump, 2 devices").click();
    window.run();
    assert!(window.harness.query_by_label_contains("greenhouse-01 live").is_none(), "folded");
    window.harness.state_mut().act(Action::SetFilter("greenhouse-04".into()));
    window.run();
    window.harness.get_by_label("Group Pump, 1 device");
    drop(window);
    let window = Window::open_in(folder.path());
    assert_eq!(window.harness.state().model().devices.order().group, GroupBy::Model);
}

#[test]
fn ten_thousand_devices_are_ordered_when_something_changes_and_not_with_every_frame() {
    let count = 10_000;
    let list: Vec<_> = (1..=count).map(|n| greenhouse(n, true)).collect();
    let mut model = model_of(&list);
    order(&mut model, GroupBy::Model, SortBy::State);
    let hear = |model: &mut Model, millis: i64, device: i64, value: f64| {
        let now = NOW.plus_micros(millis * 1_000);
        model.handle_event(readings(1, 101, device * 10 + 1, &[(now, value)]), now);
        model.tick(&[SeriesId(11)], 800.0, now);
    };
    let begin = model.devices.work();
    for frame in 0..300 {
        hear(&mut model, frame * 10, frame + 1, 20.0);
    }
    assert_eq!(model.devices.work() - begin, 0, "readings alone order nothing");
    hear(&mut model, 3_010, 7, 99.0);
    assert_eq!(model.devices.work() - begin, 10_000, "one device is out of range now: once");
    assert!(matches!(&model.devices.rows()[1], ListRow::Device(id) if id.as_str() == "greenhouse-07"));
    // By time the order moves with every reading: it is made again every other second.
    order(&mut model, GroupBy::Nothing, SortBy::LastSeen);
    let begin = model.devices.work();
    for frame in 0..400 {
        hear(&mut model, 4_000 + frame * 10, frame + 1, 20.0);
    }
    let times = (model.devices.work() - begin) / 10_000;
    assert!((1..=3).contains(&times), "{times} times in 4 seconds");
}

#[test]
fn a_list_without_devices_says_why() {
    let mut window = Window::open();
    window.harness.get_by_label("Devices appear once the hub is connected.");
    window.tell(welcome(100));
    window.harness.get_by_label("Waiting for the list of devices…");
    window.tell(devices(&[]));
    window.harness.get_by_label("No device has connected to this hub yet.");
}

#[test]
fn ten_thousand_devices_are_a_picture() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1200.0, 760.0]);
    window.tell(welcome(100));
    let models = ["GH-2", "Pump P40", "Fan F7"];
    let list: Vec<_> = (1..=10_000_i64)
        .map(|n| with(greenhouse(n, n % 97 != 0), &[("model", models[n as usize % 3].into())]))
        .collect();
    window.tell(devices(&list));
    let order = ListOrder { group: GroupBy::Model, sort: SortBy::State };
    window.harness.state_mut().act(Action::SetListOrder(order));
    for n in [3, 9, 12, 15, 21] {
        let value = if n == 9 { 71.5 } else { 20.0 + n as f64 / 10.0 };
        window.hub.events.try_send(readings(1, 101, n * 10 + 1, &[(NOW, value)])).unwrap();
    }
    window.run();
    window.harness.state_mut().act(Action::FoldGroup("Fan F7".into()));
    window.run();
    window.harness.snapshot("ten_thousand_dark");
}
