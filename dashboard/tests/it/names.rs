//! Everything that the keyboard reaches has a name and a role, in each of the main states of the window.

use dashboard::action::Action;
use dashboard::model::Event;
use dashboard::model::groups::Source;
use dashboard::model::wire::{Pane, WireEdit};
use dashboard::settings::ThemeChoice;
use egui::accesskit::{Action as Reach, Role};
use egui_kittest::kittest::NodeT as _;
use protocol::{CommandId, DeviceId};
use serde_json::json;

use crate::fixtures::*;

/// What is wrong with the nodes of a state.
fn faults(window: &Window, state: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut reached = 0;
    for node in window.harness.root().children_recursive() {
        let accessible = node.accesskit_node();
        if !accessible.data().supports_action(Reach::Focus) {
            continue;
        }
        let (role, label, value) = (accessible.role(), accessible.label(), accessible.value());
        let is_named = label.as_ref().is_some_and(|label| !label.trim().is_empty());
        let rect = node.rect();
        // The handles between charts belong to the library that docks them, which gives them no name.
        if role == Role::Unknown && rect.width().min(rect.height()) <= 6.0 {
            continue;
        }
        reached += 1;
        if !is_named {
            faults.push(format!("{state}: {role:?} at {rect:?} has no name (value {value:?})"));
        }
        if matches!(role, Role::Unknown | Role::GenericContainer | Role::Label) {
            faults.push(format!("{state}: {label:?} at {rect:?} has no role"));
        }
        if matches!(role, Role::CheckBox | Role::Switch | Role::RadioButton) && accessible.toggled().is_none()
        {
            faults.push(format!("{state}: {role:?} {label:?} does not say whether it is on"));
        }
        if role == Role::Slider && accessible.numeric_value().is_none() {
            faults.push(format!("{state}: the slider {label:?} has no value"));
        }
    }
    for node in window.harness.root().children_recursive() {
        let accessible = node.accesskit_node();
        if accessible.role() == Role::ProgressIndicator && accessible.numeric_value().is_none() {
            faults.push(format!("{state}: the progress {:?} has no value", accessible.label()));
        }
    }
    assert!(reached > 3, "{state}: only {reached} widgets");
    faults
}

#[test]
fn everything_that_the_keyboard_reaches_has_a_name_and_a_role() {
    let mut faults_found = Vec::new();
    // The first start, without a hub.
    let mut window = Window::start(ThemeChoice::Dark, [1200.0, 900.0], |start| start.is_first_run = true);
    let retry_in = Some(std::time::Duration::from_secs(2));
    window.tell(Event::Disconnected { reason: "Connection refused".into(), retry_in });
    faults_found.extend(faults(&window, "first run"));

    let mut window = Window::open_with(ThemeChoice::Dark, [1300.0, 1000.0]);
    faults_found.extend(faults(&window, "connecting"));
    window.connect(4);
    let points: Vec<_> = (-60..0).map(|s| (later(s), 21.5)).collect();
    window.tell(readings(10, 200, 11, &points));
    window.tell(command(None, &[("queued", -20), ("sent", -20), ("running", -19)], json!({"progress": 0.5})));
    faults_found.extend(faults(&window, "connected"));
    let device = DeviceId::new("greenhouse-01").unwrap();
    let chart = window.harness.state().layout().charts().next().unwrap().chart;
    let chart_form = {
        let state = window.harness.state();
        dashboard::views::chart::form(state.model(), state.layout().chart(chart).unwrap())
    };
    let command = CommandId::new("c-1").unwrap();
    // Each with what opens it, and what closes it again.
    let states: Vec<(&str, Vec<Action>, Vec<Action>)> = vec![
        ("unfolded", vec![Action::ToggleExpanded(device.clone())], vec![]),
        ("device page", vec![Action::Select(Some(device.clone()))], vec![]),
        ("form", vec![Action::OpenForm(Some("set_target".into())), Action::ToggleAdvanced], vec![]),
        ("undeclared", vec![Action::OpenUndeclared], vec![]),
        ("life of a command", vec![Action::ShowCommand(Some(command))], vec![Action::Select(None)]),
        ("table", vec![Action::ToggleTable], vec![Action::ToggleTable]),
        ("groups", vec![Action::ToggleGroups], vec![Action::ToggleGroups]),
        ("wire", vec![Action::OpenWire(device.clone())], vec![]),
        (
            "composer",
            vec![
                Action::Choose { device, range: false },
                Action::Compose(Source::Chosen),
                Action::ChooseCommand("set_target".into()),
                Action::SetRolling(true),
            ],
            vec![Action::CloseComposer],
        ),
        (
            "palette",
            vec![Action::TogglePalette, Action::TypePalette("e".into())],
            vec![Action::TogglePalette],
        ),
        ("settings", vec![Action::ToggleSettings], vec![Action::ToggleSettings]),
        ("hubs", vec![Action::ToggleHubs], vec![Action::ToggleHubs]),
        ("layouts", vec![Action::ToggleLayouts], vec![Action::ToggleLayouts]),
        ("range", vec![Action::ToggleRange], vec![Action::ToggleRange]),
        ("chart form", vec![Action::EditChart(Some(Box::new(chart_form)))], vec![Action::EditChart(None)]),
        ("help", vec![Action::ToggleHelp], vec![Action::ToggleHelp]),
        ("latency", vec![Action::ToggleLatency], vec![Action::ToggleLatency]),
        ("log", vec![Action::ToggleLog], vec![Action::ToggleLog]),
        ("measuring", vec![Action::Measure { from: later(-40), to: later(-10) }], vec![]),
    ];
    for (name, open, close) in states {
        for action in open {
            window.harness.state_mut().act(action);
            window.run();
        }
        if name == "wire" {
            crate::wire::fill(&mut window);
            for pane in [Pane::Frame, Pane::Handshake, Pane::Figures] {
                window.harness.state_mut().act(Action::EditWire(WireEdit::Select(Some(100))));
                window.harness.state_mut().act(Action::EditWire(WireEdit::Pane(pane)));
                window.run();
                faults_found.extend(faults(&window, name));
            }
            window.harness.state_mut().act(Action::CloseWire);
            window.run();
            continue;
        }
        faults_found.extend(faults(&window, name));
        for action in close {
            window.harness.state_mut().act(action);
            window.run();
        }
    }
    window.tell(Event::Disconnected { reason: "gone".into(), retry_in });
    faults_found.extend(faults(&window, "lost"));
    faults_found.sort();
    faults_found.dedup();
    assert!(faults_found.is_empty(), "{faults_found:#?}");
}

/// What the keyboard can be on now: the place and the name of each.
fn stops(window: &Window, of: impl Fn(&egui_kittest::kittest::AccessKitNode<'_>) -> bool) -> Vec<String> {
    let nodes = window.harness.root().children_recursive();
    let stops = nodes.filter(|node| of(&node.accesskit_node())).filter(|node| {
        let is_handle = node.rect().width().min(node.rect().height()) <= 6.0;
        !is_handle && !node.accesskit_node().is_disabled()
    });
    stops.map(|node| format!("{:?} {:?}", node.accesskit_node().label(), node.rect())).collect()
}

fn is_focused(node: &egui_kittest::kittest::AccessKitNode<'_>) -> bool {
    node.is_focused()
}

#[test]
fn the_keyboard_reaches_everything_that_it_can_be_on_and_comes_round_again() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1300.0, 1000.0]);
    window.connect(3);
    for (state, action) in [
        ("charts", None),
        ("device page", Some(Action::Select(Some(DeviceId::new("greenhouse-01").unwrap())))),
        ("table", Some(Action::ToggleTable)),
        ("settings", Some(Action::ToggleSettings)),
    ] {
        if let Some(action) = action {
            window.harness.state_mut().act(action);
            window.run();
        }
        let mut missing: std::collections::BTreeSet<String> =
            stops(&window, |node| node.data().supports_action(Reach::Focus)).into_iter().collect();
        if state == "settings" {
            // A dialog keeps the keyboard to itself: only what is in it counts.
            missing.retain(|stop| {
                stop.contains("Scale") || stop.contains("Memory") || stop.contains("(\"Close\")")
            });
        }
        assert!(missing.len() > 2, "{state}: {missing:?}");
        for _ in 0..300 {
            window.harness.key_press(egui::Key::Tab);
            window.run();
            for focused in stops(&window, is_focused) {
                missing.remove(&focused);
            }
            if missing.is_empty() {
                break;
            }
        }
        assert!(missing.is_empty(), "{state}: {missing:#?}");
    }
}
