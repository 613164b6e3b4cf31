//! What each panel says when it has nothing to show, when something is on its way, and when it could not be had: always
//! with what to do.

use dashboard::action::Action;
use dashboard::model::Event;
use dashboard::model::groups::Source;
use dashboard::settings::ThemeChoice;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use protocol::viewer::ViewerMessage;
use protocol::{CommandId, DeviceId, SeriesId};
use serde_json::json;

use crate::fixtures::*;

fn says(window: &Window, text: &str) -> bool {
    window.harness.query_all_by_label_contains(text).next().is_some()
}

#[track_caller]
fn expect(window: &Window, text: &str) {
    let all = || {
        let nodes = window.harness.root().children_recursive();
        nodes.filter_map(|node| node.accesskit_node().label()).collect::<Vec<_>>()
    };
    assert!(says(window, text), "{text:?} is not in {:#?}", all());
}

fn act(window: &mut Window, action: Action) {
    window.harness.state_mut().act(action);
    window.run();
}

fn lose(window: &mut Window) {
    window.tell(Event::Disconnected { reason: "gone".into(), retry_in: None });
}

fn refuse(window: &mut Window, id: u64) {
    let refused = json!({"type": "error", "id": id, "code": "internal", "message": "the disk is slow"});
    window.tell(Event::Message(message(refused)));
}

/// The ids of what was sent since the last call, of one kind.
fn ids(sent: &[ViewerMessage], of: impl Fn(&ViewerMessage) -> bool) -> Vec<u64> {
    sent.iter().filter(|message| of(message)).map(ViewerMessage::id).collect()
}

#[test]
fn a_chart_says_whether_history_is_on_its_way_waits_for_the_hub_or_is_not_there() {
    let mut window = Window::open();
    window.connect(1);
    expect(&window, "Loading history…");
    // A cursor in it says the same of its time.
    lose(&mut window);
    assert!(!says(&window, "Loading history…"), "nothing is loaded without a hub");
    expect(&window, "Some history is not here: it waits for the hub");
    window.tell(welcome(100));
    let sent = window.sent();
    for id in ids(&sent, |m| matches!(m, ViewerMessage::History(_))) {
        refuse(&mut window, id);
    }
    window.advance(1);
    let sent = window.sent();
    for id in ids(&sent, |m| matches!(m, ViewerMessage::History(_))) {
        refuse(&mut window, id);
    }
    expect(&window, "Some history is not here yet: it is asked for again");
}

#[test]
fn a_chart_without_readings_says_where_some_are() {
    let mut window = Window::open();
    window.connect(1);
    // Whatever is asked is answered: there is nothing in it.
    for _ in 0..8 {
        for message in window.sent() {
            if let ViewerMessage::History(request) = message {
                let step = serde_json::to_value(request.step).unwrap();
                window.tell(Event::Message(crate::fixtures::message(
                    json!({"type": "history", "id": request.id,
                    "series": request.series.0, "step": step, "position": 100}),
                )));
            }
        }
        window.advance(1);
    }
    expect(&window, "No readings yet. They are drawn as soon as the device sends some.");
    window.tell(readings(1, 200, 11, &[(later(-4_000), 21.0)]));
    expect(&window, "No readings in this stretch of time. The newest is of 10:53:20: zoom out to see it.");
    // A series that the hub does not know is waited for by name, and what to do is said.
    act(&mut window, Action::ResetLayout);
    act(&mut window, Action::AddChart { title: None, series: vec![SeriesId(9_999)] });
    lose(&mut window);
}

#[test]
fn the_table_of_commands_says_what_it_waits_for() {
    let mut window = Window::open();
    window.connect(1);
    act(&mut window, Action::ToggleTable);
    expect(&window, "Loading older commands…");
    let sent = window.sent();
    for id in ids(&sent, |m| matches!(m, ViewerMessage::Commands(_))) {
        window.tell(Event::Message(message(json!({"type": "commands", "id": id, "commands": []}))));
    }
    window.advance(1);
    let sent = window.sent();
    for id in ids(&sent, |m| matches!(m, ViewerMessage::Commands(_))) {
        window.tell(Event::Message(message(json!({"type": "commands", "id": id, "commands": []}))));
    }
    expect(&window, "No commands yet");
    lose(&mut window);
    expect(&window, "Not connected: older commands are loaded when the hub is back.");
    let mut filter = window.harness.state().model().table.filter().clone();
    filter.in_view = true;
    act(&mut window, Action::FilterTable(Box::new(filter)));
    expect(&window, "Not connected: commands of this time are loaded when the hub is back.");
}

#[test]
fn the_groups_say_what_they_wait_for_and_are_asked_for_again() {
    let mut window = Window::open();
    act(&mut window, Action::ToggleGroups);
    expect(&window, "Groups are loaded when the hub is back.");
    window.connect(1);
    expect(&window, "Loading the groups…");
    let sent = window.sent();
    let asked = ids(&sent, |m| matches!(m, ViewerMessage::Groups(_)));
    refuse(&mut window, asked[0]);
    expect(&window, "The groups could not be loaded");
    expect(&window, "the disk is slow");
    window.harness.get_by_label("Ask again").click();
    window.run();
    let sent = window.sent();
    let asked = ids(&sent, |m| matches!(m, ViewerMessage::Groups(_)));
    window.tell(Event::Message(message(json!({"type": "groups", "id": asked[0], "groups": []}))));
    expect(&window, "No groups yet");
}

#[test]
fn who_would_get_a_group_is_asked_for_again_when_the_hub_could_not_say() {
    let mut window = Window::open();
    window.connect(2);
    act(&mut window, Action::Choose { device: DeviceId::new("greenhouse-01").unwrap(), range: false });
    act(&mut window, Action::Compose(Source::Chosen));
    act(&mut window, Action::ChooseCommand("reboot".into()));
    let sent = window.sent();
    let asked = ids(&sent, |m| matches!(m, ViewerMessage::SendGroup(_)));
    expect(&window, "Asking the hub…");
    refuse(&mut window, asked[0]);
    expect(&window, "the disk is slow");
    window.harness.get_by_label("Ask again").click();
    window.run();
    let sent = window.sent();
    assert_eq!(ids(&sent, |m| matches!(m, ViewerMessage::SendGroup(_))).len(), 1);
    lose(&mut window);
    expect(&window, "Not connected: asked when the hub is back.");
}

#[test]
fn the_page_of_a_device_says_what_it_waits_for() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1200.0, 1000.0]);
    window.connect(1);
    let mut bare = greenhouse(2, true);
    bare["metrics"] = json!([]);
    bare["commands"] = json!([]);
    window.tell(changed(bare));
    act(&mut window, Action::Select(Some(DeviceId::new("greenhouse-02").unwrap())));
    expect(&window, "None yet: a metric appears with its declaration or its first reading.");
    expect(&window, "This device declares no commands.");
    window.harness.get_by_label("Connections").click();
    window.run();
    window.harness.get_by_label("Ledger").click();
    window.run();
    assert_eq!(window.harness.query_all_by_label("Loading…").count(), 3, "connections, ledger, commands");
    lose(&mut window);
    assert!(!says(&window, "Loading…"));
    assert_eq!(
        window.harness.query_all_by_label("Not connected: asked for when the hub is back.").count(),
        2
    );
    expect(&window, "Not connected: they are loaded when the hub is back.");
    window.tell(welcome(100));
    let sent = window.sent();
    for id in ids(&sent, |m| matches!(m, ViewerMessage::Connections(_))) {
        let none = json!({"type": "connections", "id": id, "device": "greenhouse-02", "connections": []});
        window.tell(Event::Message(message(none)));
    }
    expect(&window, "The hub remembers none");
    for id in ids(&sent, |m| matches!(m, ViewerMessage::Ledger(_))) {
        window.tell(Event::Message(message(json!({"type": "ledger", "id": id, "device": "greenhouse-02",
            "adds_up": true, "readings": 0, "hot": 0, "sealed": 0, "conflicts": 0, "removed": 0, "damaged": 0,
            "streams": []}))));
    }
    expect(&window, "The device has sent nothing yet.");
    // A device that is gone.
    window.tell(devices(&[greenhouse(1, true)]));
    act(&mut window, Action::Select(Some(DeviceId::new("nobody").unwrap())));
    expect(
        &window,
        "The hub does not know this device. Choose another one in the list, or close this panel.",
    );
    lose(&mut window);
    expect(&window, "what the hub knows of this device is shown when it is back");
}

#[test]
fn the_life_of_a_command_says_what_it_waits_for() {
    let mut window = Window::open();
    window.connect(1);
    act(&mut window, Action::ShowCommand(Some(CommandId::new("c-9").unwrap())));
    expect(&window, "This command is not known here any more.");
    lose(&mut window);
    expect(&window, "Not connected: it is loaded when the hub is back.");
}

#[test]
fn dialogs_without_anything_in_them_say_what_to_do() {
    let mut window = Window::open();
    window.connect(1);
    act(&mut window, Action::ToggleLayouts);
    expect(&window, "None yet. The charts as they are now come back at the next start anyway.");
    act(&mut window, Action::ToggleLayouts);
    let chart = window.harness.state().layout().charts().next().unwrap().chart;
    let states = dashboard::model::ChartForm { chart, title: "Vent".into(), axes: vec![], limits: vec![] };
    act(&mut window, Action::EditChart(Some(Box::new(states))));
    expect(&window, "Drop a series of numbers on it to have one.");
    act(&mut window, Action::EditChart(None));
    act(&mut window, Action::ToggleLog);
    expect(&window, "Nothing has happened that you should know");
}
