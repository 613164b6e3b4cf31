//! Commands to many devices: who is chosen, what the hub is asked before, and how a group is followed.

use dashboard::action::Action;
use dashboard::model::form::Field;
use dashboard::model::groups::{ComposerStage, Source};
use dashboard::model::{Event, Model};
use dashboard::settings::ThemeChoice;
use egui::{Key, Modifiers};
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use protocol::DeviceId;
use protocol::group::MemberState;
use protocol::viewer::{MembersRequest, SendGroup, ViewerMessage};
use serde_json::{Value as Json, json};

use crate::fixtures::*;
use crate::model::sends;
use crate::window::type_into;

fn device(number: i64) -> DeviceId {
    DeviceId::new(&format!("greenhouse-{number:02}")).unwrap()
}

fn send_groups(messages: &[ViewerMessage]) -> Vec<SendGroup> {
    let of = |m: &ViewerMessage| if let ViewerMessage::SendGroup(g) = m { Some(g.clone()) } else { None };
    messages.iter().filter_map(of).collect()
}

fn member_requests(messages: &[ViewerMessage]) -> Vec<MembersRequest> {
    let of = |m: &ViewerMessage| if let ViewerMessage::Members(g) = m { Some(g.clone()) } else { None };
    messages.iter().filter_map(of).collect()
}

fn tick(model: &mut Model, seconds: i64) -> Vec<ViewerMessage> {
    sends(model.tick(&[], 800.0, later(seconds)))
}

fn tell(model: &mut Model, json: Json) {
    model.handle_event(Event::Message(message(json)), NOW);
}

fn members(id: u64, list: &[(i64, &str)]) -> Json {
    let members: Vec<_> = list
        .iter()
        .map(|(number, state)| {
            let mut member = json!({"device": device(*number).as_str(), "state": state});
            if *state == "refused" {
                member["error"] = json!("does not declare set_target");
            } else if *state != "waiting" {
                member["command"] = json!(format!("c-{number}"));
            }
            if *state == "failed" {
                member["error"] = json!("the vent is stuck");
            }
            member
        })
        .collect();
    json!({"type": "members", "id": id, "members": members})
}

/// A group that was issued at this second.
fn group(id: &str, second: i64, tally: &Json, more: &Json) -> Json {
    let mut group = json!({"id": id, "to": {"devices": ["greenhouse-*"]}, "name": "set_target",
        "args": {"target": 21, "mode": "eco"}, "issued_by": "anna", "issued_at": later(second).0, "tally": tally});
    for (key, value) in more.as_object().unwrap() {
        group[key] = value.clone();
    }
    group
}

/// A model with the form of a group open, filled in for all greenhouses.
fn composing() -> Model {
    let mut model = connected_model(4);
    model.apply(Action::Compose(Source::Patterns), NOW);
    model.apply(Action::TypeText { field: Field::Devices, text: "greenhouse-*".into() }, NOW);
    model.apply(Action::ChooseCommand("set_target".into()), NOW);
    model
}

#[test]
fn who_gets_it_is_asked_of_the_hub_for_every_form_and_only_that_can_be_sent() {
    let mut model = composing();
    let offers: Vec<_> =
        model.composer.as_ref().unwrap().offers.iter().map(|o| (o.name.clone(), o.devices)).collect();
    assert_eq!(offers, [("reboot".to_owned(), 4), ("set_target".to_owned(), 4)]);
    model.apply(Action::SubmitGroup, NOW);
    assert_eq!(
        model.composer.as_ref().unwrap().stage,
        ComposerStage::Editing,
        "nobody knows yet who gets it"
    );
    let asked = send_groups(&tick(&mut model, 0));
    assert!(matches!(asked.as_slice(), [g] if g.dry_run && g.request.to.devices == ["greenhouse-*"]));
    assert!(send_groups(&tick(&mut model, 1)).is_empty(), "it is asked once");
    tell(&mut model, members(asked[0].id, &[(1, "waiting"), (2, "waiting"), (3, "refused")]));
    assert_eq!(model.composer.as_ref().unwrap().preview().map(|(a, b)| (a.len(), b.len())), Some((2, 1)));

    // Another argument is another question.
    model.apply(Action::SetArg { name: "target".into(), value: Some(json!(25)) }, NOW);
    assert!(model.composer.as_ref().unwrap().preview().is_none());
    let asked = send_groups(&tick(&mut model, 2));
    tell(&mut model, members(asked[0].id, &[(1, "waiting"), (2, "waiting")]));
    model.apply(Action::SubmitGroup, NOW);
    assert_eq!(model.composer.as_ref().unwrap().stage, ComposerStage::Confirming);
    let sent = send_groups(&sends(model.apply(Action::ConfirmGroup, NOW)));
    assert!(
        matches!(sent.as_slice(), [g] if !g.dry_run && json!(g.request.args) == json!({"target": 25, "mode": "eco"}))
    );
    assert!(sends(model.apply(Action::ConfirmGroup, NOW)).is_empty(), "a second click must not send twice");

    let new = group("g-1", 0, &json!({"waiting": 2}), &json!({"args": {"target": 25, "mode": "eco"}}));
    tell(&mut model, json!({"type": "group", "id": sent[0].id, "group": new}));
    assert!(model.composer.is_none() && model.groups.open);
    assert_eq!(model.groups.shown().unwrap().id.as_str(), "g-1");
    let end = json!({"ended_at": later(9).0});
    for group in [
        group("g-2", 1, &json!({"succeeded": 3}), &end),
        group("g-1", 0, &json!({"succeeded": 1, "failed": 1}), &end),
    ] {
        tell(&mut model, json!({"type": "group", "group": group}));
    }
    let told: Vec<_> = model.toasts.iter().map(|t| (t.text.clone(), t.detail.clone())).collect();
    let text = "Set target on 2 devices has ended".to_owned();
    assert_eq!(
        told,
        [(text, Some("1 succeeded, 1 failed".to_owned()))],
        "the end of what others sent is not told"
    );
}

#[test]
fn a_rolling_group_says_how_many_at_a_time_and_when_to_stop() {
    let mut model = composing();
    model.apply(Action::SetRolling(true), NOW);
    let kind = |field: Field, text: &str| Action::TypeText { field, text: text.into() };
    model.apply(kind(Field::AtOnce, "0"), NOW);
    assert!(model.composer.as_ref().unwrap().problem(&Field::AtOnce).is_some());
    assert!(send_groups(&tick(&mut model, 0)).is_empty());
    model.apply(kind(Field::AtOnce, "2"), NOW);
    model.apply(kind(Field::StopAfter, "5"), NOW);
    let request = model.composer.as_ref().unwrap().request().unwrap();
    assert_eq!((request.at_once, request.stop_after), (Some(2), Some(5)));
    model.apply(Action::SetRolling(false), NOW);
    let request = model.composer.as_ref().unwrap().request().unwrap();
    assert_eq!((request.at_once, request.stop_after), (None, None));
}

#[test]
fn an_answer_about_a_group_that_was_lost_is_looked_up() {
    for found in [true, false] {
        let mut model = composing();
        let asked = send_groups(&tick(&mut model, 0));
        tell(&mut model, members(asked[0].id, &[(1, "waiting")]));
        model.apply(Action::SubmitGroup, NOW);
        let sent = send_groups(&sends(model.apply(Action::ConfirmGroup, NOW)));
        tell(&mut model, json!({"type": "error", "id": sent[0].id, "code": "internal", "message": "lost"}));
        model.handle_event(Event::Disconnected { reason: "gone".into(), retry_in: None }, later(1));
        assert!(matches!(model.composer.as_ref().unwrap().stage, ComposerStage::InDoubt(_)));
        let messages = sends(model.handle_event(welcome(100), later(2)));
        let of = |m: &ViewerMessage| if let ViewerMessage::Groups(g) = m { Some(g.id) } else { None };
        let id = messages.iter().find_map(of).unwrap();
        let list = if found { vec![group("g-1", 0, &json!({"waiting": 1}), &json!({}))] } else { Vec::new() };
        tell(&mut model, json!({"type": "groups", "id": id, "groups": list}));
        if found {
            assert!(model.composer.is_none());
            assert_eq!(model.groups.shown().unwrap().id.as_str(), "g-1");
        } else {
            let composer = model.composer.as_ref().unwrap();
            assert_eq!(composer.stage, ComposerStage::Editing);
            assert!(composer.refused.as_deref().unwrap().contains("the hub does not have it"));
        }
    }
}

#[test]
fn members_follow_their_commands_and_are_asked_for_again_when_the_tally_says_more() {
    let mut model = connected_model(3);
    tell(
        &mut model,
        json!({"type": "group", "group": group("g-1", 0, &json!({"waiting": 2, "running": 1}), &json!({}))}),
    );
    assert!(member_requests(&tick(&mut model, 0)).is_empty(), "nobody looks");
    model.apply(Action::ToggleGroups, NOW);
    let asked = member_requests(&tick(&mut model, 1));
    tell(&mut model, members(asked[0].id, &[(1, "running"), (2, "waiting"), (3, "waiting")]));
    assert!(member_requests(&tick(&mut model, 5)).is_empty(), "the tally fits");
    let states = [("queued", 1), ("sent", 1), ("failed", 2)];
    model.handle_event(
        command(None, &states, json!({"id": "c-1", "group": "g-1", "error": "stuck"})),
        later(5),
    );
    let first = model.groups.members().next().unwrap();
    assert_eq!((first.state.as_str(), first.error.as_deref()), ("failed", Some("stuck")));
    let stopped = json!({"stopped": {"at": later(3).0, "by": "hub"}, "ended_at": later(3).0});
    tell(
        &mut model,
        json!({"type": "group", "group": group("g-1", 0, &json!({"skipped": 2, "failed": 1}), &stopped)}),
    );
    let asked = member_requests(&tick(&mut model, 6));
    assert_eq!(asked.len(), 1, "who was skipped is not told by a command");
    tell(&mut model, members(asked[0].id, &[(1, "failed"), (2, "skipped"), (3, "skipped")]));
    model.apply(Action::OnlyMembers(Some(MemberState::Skipped)), NOW);
    assert_eq!(model.groups.members().count(), 2);
    // What is told late of an ended group changes nothing.
    tell(&mut model, json!({"type": "group", "group": group("g-1", 0, &json!({"waiting": 3}), &json!({}))}));
    assert!(model.groups.shown().unwrap().ended_at.is_some());
}

#[test]
fn devices_are_chosen_one_by_one_and_in_ranges() {
    let mut model = connected_model(6);
    model.tick(&[], 800.0, NOW);
    let choose = |number, range| Action::Choose { device: device(number), range };
    model.apply(choose(2, false), NOW);
    model.apply(choose(5, true), NOW);
    model.apply(choose(3, false), NOW);
    let chosen: Vec<_> = model.chosen.iter().cloned().collect();
    assert_eq!(chosen, [device(2), device(4), device(5)]);
    model.apply(Action::Compose(Source::Chosen), NOW);
    assert_eq!(model.composer.as_ref().unwrap().devices, chosen);
    model.apply(Action::SetFilter("house-06".into()), NOW);
    model.apply(Action::Compose(Source::Listed), NOW);
    assert_eq!(model.composer.as_ref().unwrap().devices, [device(6)]);
}

#[test]
fn more_devices_than_can_be_named_are_said_by_patterns() {
    let mut model = connected_model(1_100);
    model.tick(&[], 800.0, NOW);
    model.apply(Action::Compose(Source::Listed), NOW);
    let composer = model.composer.as_ref().unwrap();
    assert!(composer.devices.is_empty());
    assert!(
        composer
            .refused
            .as_deref()
            .unwrap()
            .contains("1100 devices cannot be named one by one, at most 1024")
    );
}

fn click_with(window: &mut Window, label: &str, modifiers: Modifiers) {
    window.harness.get_by_label_contains(label).click_modifiers(modifiers);
    window.run();
}

/// The window with the form of a group for two chosen greenhouses, and what the hub says of it.
fn window_composing(size: [f32; 2]) -> Window {
    let mut window = Window::open_with(ThemeChoice::Dark, size);
    window.connect(5);
    click_with(&mut window, "greenhouse-01 live", Modifiers::COMMAND);
    click_with(&mut window, "greenhouse-04 offline", Modifiers::COMMAND);
    click_with(&mut window, "greenhouse-05 live", Modifiers::COMMAND);
    window.harness.get_by_label("3 chosen");
    window.harness.get_by_label("Send a command…").click();
    window.run();
    window.sent();
    window.harness.state_mut().act(Action::ChooseCommand("set_target".into()));
    window.run();
    window.run();
    let asked = send_groups(&window.sent());
    assert!(matches!(asked.as_slice(), [g] if g.dry_run), "{asked:?}");
    let answer = members(asked[0].id, &[(1, "waiting"), (4, "waiting"), (5, "refused")]);
    window.tell(Event::Message(message(answer)));
    window
}

#[test]
fn chosen_devices_are_told_together_after_a_question_that_names_their_number() {
    let mut window = window_composing([1200.0, 800.0]);
    window.harness.get_by_label("2 devices get it");
    window.harness.get_by_label("1 of them is offline now");
    window.harness.get_by_label("greenhouse-05 does not get it: does not declare set_target");
    window.harness.get_by_label("boost").click();
    window.run();
    window.harness.get_by_label("Asking the hub…");
    let asked = send_groups(&window.sent());
    window.tell(Event::Message(message(members(asked[0].id, &[(1, "waiting"), (4, "waiting")]))));
    window.harness.get_by_label("Send to 2 devices…").click();
    window.run();
    window.harness.get_by_label("Set target on 2 devices?");
    window.harness.key_press(Key::Enter);
    window.run();
    assert!(window.harness.query_by_label("Set target on 2 devices?").is_none());
    assert!(send_groups(&window.sent()).is_empty(), "Enter does not send");
    window.harness.get_by_label("Send to 2 devices…").click();
    window.run();
    window.harness.get_by_label("Send now").click();
    window.run();
    let sent = send_groups(&window.sent());
    assert!(matches!(sent.as_slice(), [g] if !g.dry_run
        && g.request.to.devices == ["greenhouse-01", "greenhouse-04", "greenhouse-05"]
        && g.request.args["mode"] == json!("boost")));
    let new = group("g-1", 0, &json!({"waiting": 3}), &json!({}));
    window.tell(Event::Message(message(json!({"type": "group", "id": sent[0].id, "group": new}))));
    assert!(window.harness.query_by_label("Send to many devices").is_none());
    window.harness.get_by_label("Group Set target to 3 devices");
}

#[test]
fn patterns_are_typed_and_say_how_many_fit() {
    let mut window = Window::open_with(ThemeChoice::Dark, [1200.0, 800.0]);
    window.connect(5);
    window.harness.key_press(Key::G);
    window.run();
    window.harness.get_by_label("Loading the groups…");
    window.harness.get_by_label("Send to many…").click();
    window.run();
    let field = window.harness.query_all_by_label("Tags").next().unwrap().rect();
    let close = window.harness.get_by_label("Close").rect();
    assert!(close.top() > field.bottom() + 200.0, "{close:?} stands at the foot, below {field:?}");
    type_into(&mut window, "Devices", "greenhouse-0?");
    window.harness.get_by_label("5 devices fit");
    window.harness.get_by_role_and_label(egui::accesskit::Role::ComboBox, "Command").click();
    window.run();
    window.harness.get_by_label("Reboot · 5 of 5").click();
    window.run();
    let request = window.harness.state().model().composer.as_ref().unwrap().request().unwrap();
    assert_eq!((request.to.devices, request.name.as_str()), (vec!["greenhouse-0?".to_owned()], "reboot"));
    window.harness.key_press(Key::Escape);
    window.run();
    assert!(window.harness.query_by_label("Send to many devices").is_none());
}

/// A window that shows a rolling group in the middle of its life.
fn window_with_group() -> Window {
    let mut window = Window::open_with(ThemeChoice::Dark, [1200.0, 800.0]);
    window.connect(6);
    let tally = json!({"waiting": 2, "running": 1, "succeeded": 4, "failed": 1});
    let rolling = json!({"at_once": 2, "stop_after": 3});
    let done = json!({"ended_at": later(-580).0, "name": "reboot", "args": {}});
    let old =
        group("g-0", -600, &json!({"succeeded": 30, "failed": 2, "unresolved": 1, "skipped": 4}), &done);
    window.tell(Event::Message(message(json!({"type": "group", "group": old}))));
    window.tell(Event::Message(message(
        json!({"type": "group", "group": group("g-1", -20, &tally, &rolling)}),
    )));
    window.harness.key_press(Key::G);
    window.run();
    let asked = member_requests(&window.sent());
    let list = [
        (1, "succeeded"),
        (2, "failed"),
        (3, "succeeded"),
        (4, "succeeded"),
        (5, "succeeded"),
        (6, "running"),
        (7, "waiting"),
        (8, "waiting"),
    ];
    window.tell(Event::Message(message(members(asked[0].id, &list))));
    window
}

#[test]
fn a_group_is_followed_taken_back_and_retried() {
    let mut window = window_with_group();
    window.harness.get_by_label("5 of 8 have ended");
    window.harness.get_by_label("greenhouse-02 failed");
    window.harness.get_by_label("1 failed").click();
    window.run();
    assert!(window.harness.query_by_label("greenhouse-03 succeeded").is_none());
    window.harness.get_by_label("Cancel the 2 not begun…").click();
    window.run();
    window.harness.get_by_label("Cancel Set target for 2 devices?");
    window.sent();
    window.harness.get_by_label("Cancel them").click();
    window.run();
    let sent = window.sent();
    assert!(
        matches!(sent.as_slice(), [ViewerMessage::CancelGroup(c)] if c.group.as_str() == "g-1" && !c.begun)
    );
    window.harness.get_by_label("Group Reboot to 37 devices").click();
    window.run();
    window.sent();
    window.harness.get_by_label("Retry the 2 that failed…").click();
    window.run();
    window.harness.get_by_label("Reboot again on 2 devices?");
    window.harness.get_by_label("Send again").click();
    window.run();
    let sent = window.sent();
    assert!(sent.iter().any(|m| matches!(m, ViewerMessage::RetryGroup(r) if r.group.as_str() == "g-0")));
}

#[test]
fn a_member_leads_to_the_life_of_its_command() {
    let mut window = window_with_group();
    window.harness.get_by_label("greenhouse-02 failed").click();
    window.run();
    let sent = window.sent();
    let asked =
        sent.iter().find_map(|m| if let ViewerMessage::Commands(c) = m { Some(c.clone()) } else { None });
    let asked = asked.unwrap();
    assert_eq!(asked.group.as_ref().unwrap().as_str(), "g-1");
    let states = [("queued", -20), ("failed", -15)];
    let more = json!({"id": "c-2", "device": "greenhouse-02", "group": "g-1"});
    window.tell(command(None, &states, more));
    window.harness.get_by_label("part of a group");
    assert!(window.harness.get_by_label("greenhouse-02 failed").accesskit_node().label().is_some());
}

#[test]
fn a_group_in_the_middle_of_its_life() {
    let mut window = window_with_group();
    window.harness.remove_cursor();
    window.run();
    window.harness.snapshot("groups_dark");
}

#[test]
fn the_form_of_a_group() {
    let mut window = window_composing([1100.0, 760.0]);
    window.harness.state_mut().act(Action::SetRolling(true));
    window.harness.remove_cursor();
    window.run();
    window.harness.snapshot("composer_dark");
}
