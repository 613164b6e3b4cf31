//! The model: events in, state and effects out.

use dashboard::action::Action;
use dashboard::model::form::Field;
use dashboard::model::{Effect, Event, FormStage, Link, Model, Status};
use protocol::command::CommandState;
use protocol::viewer::{Detail, HubToViewer, SendCommand, Subscribe, ViewerMessage};
use protocol::{DeviceId, Position, SeriesId, Value};
use serde_json::json;

use crate::fixtures::*;

pub(crate) fn sends(effects: Vec<Effect>) -> Vec<ViewerMessage> {
    effects
        .into_iter()
        .filter_map(|e| match e {
            Effect::Send(message) => Some(message),
            _ => None,
        })
        .collect()
}

fn subscriptions(messages: &[ViewerMessage]) -> Vec<&Subscribe> {
    messages
        .iter()
        .filter_map(|m| match m {
            ViewerMessage::Subscribe(s) => Some(s),
            _ => None,
        })
        .collect()
}

pub(crate) fn select(model: &mut Model, device: &str) {
    model.apply(Action::Select(Some(DeviceId::new(device).unwrap())), NOW);
}

fn open(model: &mut Model, command: &str) {
    select(model, "greenhouse-01");
    model.apply(Action::OpenForm(Some(command.into())), NOW);
}

fn submit(model: &mut Model) -> Option<SendCommand> {
    sends(model.apply(Action::Submit, NOW)).into_iter().find_map(|m| match m {
        ViewerMessage::SendCommand(send) => Some(send),
        _ => None,
    })
}

#[test]
fn after_the_welcome_the_list_is_subscribed_once() {
    let mut model = model();
    let messages = sends(model.handle_event(welcome(100), NOW));
    let list = subscriptions(&messages);
    assert_eq!(list.len(), 1);
    assert_eq!((list[0].id, list[0].detail, list[0].max_hz), (1, Detail::Latest, Some(2.0)));
    model.handle_event(Event::Disconnected { reason: "gone".into(), retry_in: None }, NOW);
    // The link asks for subscriptions again by itself.
    assert_eq!(subscriptions(&sends(model.handle_event(welcome(120), NOW))).len(), 0);
}

#[test]
fn what_charts_show_is_subscribed_in_full_and_changes_with_them() {
    let mut model = connected_model(2);
    let messages = sends(model.tick(&[SeriesId(11)], 800.0, NOW));
    let first = subscriptions(&messages)[0].clone();
    assert_eq!(
        (first.detail, first.select.series.as_slice(), first.since),
        (Detail::All, &[SeriesId(11)][..], None)
    );
    assert!(messages.iter().any(|m| matches!(m, ViewerMessage::History(h) if h.series == SeriesId(11))));

    model.handle_event(subscribed(first.id, 100, false), NOW);
    model.handle_event(readings(first.id, 130, 11, &[(NOW, 21.0)]), NOW);
    assert!(subscriptions(&sends(model.tick(&[SeriesId(11)], 800.0, NOW))).is_empty());

    let messages = sends(model.tick(&[SeriesId(11), SeriesId(21)], 800.0, NOW));
    let second = subscriptions(&messages)[0];
    assert_eq!((second.id, second.since), (first.id, Some(Position(130))));

    let messages = sends(model.tick(&[], 800.0, NOW));
    assert!(matches!(messages.as_slice(), [ViewerMessage::Unsubscribe(u)] if u.id == first.id));
}

#[test]
fn a_subscription_that_could_not_be_queued_is_said_again() {
    let mut model = connected_model(1);
    let messages = sends(model.tick(&[SeriesId(11)], 800.0, NOW));
    let lost = subscriptions(&messages)[0].clone();
    model.handle_event(Event::NotSent(lost.clone().into()), NOW);
    let again = sends(model.tick(&[SeriesId(11)], 800.0, NOW));
    assert_eq!(subscriptions(&again), [&lost]);
}

#[test]
fn live_readings_reach_the_store_and_the_list() {
    let mut model = connected_model(2);
    let messages = sends(model.tick(&[SeriesId(11)], 800.0, NOW));
    let id = subscriptions(&messages)[0].id;
    model.handle_event(readings(id, 101, 11, &[(later(0), 20.0), (later(1), 21.5)]), later(1));
    model.handle_event(readings(1, 102, 21, &[(later(1), 19.0)]), later(1));
    assert_eq!(model.latest(SeriesId(11)), Some((later(1), Value::Number(21.5))));
    assert_eq!(model.latest(SeriesId(21)), Some((later(1), Value::Number(19.0))));
    assert_eq!(model.counters.readings, 3);
    assert_eq!(model.counters.position, Position(102));
}

#[test]
fn i_4_what_the_hub_left_out_is_counted_and_fetched() {
    let mut model = connected_model(1);
    let id = subscriptions(&sends(model.tick(&[SeriesId(11)], 800.0, NOW)))[0].id;
    let readings = json!({"type": "readings", "id": id, "position": 200, "series": [],
        "omitted": {"count": 70, "from": later(-20).0, "to": later(-10).0}});
    model.handle_event(Event::Message(message(readings)), later(1));
    assert_eq!(model.counters.omitted, 70);
    let history = sends(model.tick(&[SeriesId(11)], 800.0, later(2)));
    assert!(history.iter().all(|m| matches!(m, ViewerMessage::History(_))), "{history:?}");
}

#[test]
fn a_lost_connection_counts_down_and_keeps_what_it_knows() {
    let mut model = connected_model(3);
    let retry_in = Some(std::time::Duration::from_secs(5));
    model.handle_event(Event::Disconnected { reason: "refused".into(), retry_in }, NOW);
    assert_eq!(model.connection.link, Link::Waiting { reason: "refused".into(), retry_at: later(5) });
    assert_eq!(model.devices.len(), 3);
    assert!(model.wakes_in().is_some_and(|wait| wait <= std::time::Duration::from_secs(1)));
    assert!(!model.connection.may_send());
}

#[test]
fn a_restarted_hub_that_goes_on_leaves_no_hole_and_another_database_is_noticed() {
    let mut model = connected_model(1);
    let id = subscriptions(&sends(model.tick(&[SeriesId(11)], 800.0, NOW)))[0].id;
    model.handle_event(subscribed(id, 100, false), NOW);
    model.handle_event(readings(id, 150, 11, &[(NOW, 20.0)]), NOW);
    model.handle_event(Event::Disconnected { reason: "hub stopped".into(), retry_in: None }, later(1));
    model.handle_event(welcome(150), later(3));
    model.handle_event(subscribed(id, 150, true), later(3));
    assert_eq!(model.latest(SeriesId(11)), Some((NOW, Value::Number(20.0))));
    assert_eq!(model.counters.reconnects, 1);

    model.handle_event(Event::Disconnected { reason: "hub stopped".into(), retry_in: None }, later(4));
    model.handle_event(welcome(3), later(5));
    assert_eq!(model.latest(SeriesId(11)), None);
    assert!(model.toasts.iter().any(|t| t.text.contains("another database")));
}

#[test]
fn a_device_that_is_not_in_the_new_snapshot_is_gone() {
    let mut model = connected_model(3);
    model.handle_event(welcome(100), NOW);
    let part = json!({"type": "devices", "devices": [greenhouse(1, true)], "snapshot": true, "more": true});
    model.handle_event(Event::Message(message(part)), NOW);
    assert_eq!(model.devices.len(), 3);
    model.handle_event(devices(&[greenhouse(2, true)]), NOW);
    assert_eq!(model.devices.len(), 2);
    assert!(model.series_info(SeriesId(31)).is_none());
}

#[test]
fn a_silent_device_becomes_stale_and_one_that_leaves_is_offline() {
    let mut model = connected_model(2);
    model.handle_event(readings(1, 101, 11, &[(NOW, 20.0)]), NOW);
    model.tick(&[], 800.0, NOW);
    let status = |model: &Model, n: usize| model.devices.iter().nth(n).unwrap().status(model.now());
    assert_eq!(status(&model, 0), Status::Live);
    model.tick(&[], 800.0, later(11));
    assert_eq!(status(&model, 0), Status::Stale);
    assert_eq!(model.devices.tally().stale, 2);
    model.handle_event(changed(greenhouse(1, false)), later(12));
    assert_eq!(status(&model, 0), Status::Offline);
    model.handle_event(readings(1, 103, 21, &[(later(12), 99.0)]), later(12));
    assert_eq!(status(&model, 1), Status::OutOfRange);
}

#[test]
fn the_filter_takes_words_and_states() {
    let mut model = connected_model(12);
    model.handle_event(changed(greenhouse(7, false)), NOW);
    let listed = |model: &mut Model, filter: &str| {
        model.apply(Action::SetFilter(filter.into()), NOW);
        model.devices.listed().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(listed(&mut model, "house-1").len(), 3);
    assert_eq!(listed(&mut model, "STATUS:offline"), ["greenhouse-07"]);
    assert_eq!(listed(&mut model, "humid 03"), ["greenhouse-03"]);
    assert_eq!(listed(&mut model, "nothing like it").len(), 0);
    assert_eq!(listed(&mut model, "").len(), 12);
}

#[test]
fn a_form_begins_with_the_defaults_and_sends_what_it_shows() {
    let mut model = connected_model(1);
    open(&mut model, "set_target");
    model.apply(Action::SetArg { name: "target".into(), value: Some(json!(24.5)) }, NOW);
    let send = submit(&mut model).unwrap();
    assert_eq!(send.name.as_str(), "set_target");
    assert_eq!(json!(send.args), json!({"target": 24.5, "mode": "eco"}));
    assert_eq!(model.form.as_ref().unwrap().stage, FormStage::Sending(send.id));
    assert!(submit(&mut model).is_none(), "a second click must not send twice");
}

#[test]
fn a_wrong_argument_is_not_sent_and_named_in_the_units_of_the_screen() {
    let mut model = connected_model(1);
    open(&mut model, "set_target");
    model.apply(Action::SetArg { name: "target".into(), value: Some(json!(31)) }, NOW);
    assert!(submit(&mut model).is_none());
    let problems = model.form_problems();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].field, Field::Param("target".into()));
    assert_eq!(problems[0].text, "31 is above the maximum of 30 °C");
}

#[test]
fn a_dangerous_command_is_asked_for_first() {
    let mut model = connected_model(1);
    open(&mut model, "reboot");
    assert!(submit(&mut model).is_none());
    assert_eq!(model.form.as_ref().unwrap().stage, FormStage::Confirming);
    model.apply(Action::Dismiss, NOW);
    assert_eq!(model.form.as_ref().unwrap().stage, FormStage::Editing);
    assert!(
        model.apply(Action::Confirm, NOW).is_empty(),
        "a confirmation nobody was asked for sends nothing"
    );
    assert_eq!(model.form.as_ref().unwrap().stage, FormStage::Confirming);
    assert_eq!(sends(model.apply(Action::Confirm, NOW)).len(), 1);
}

#[test]
fn a_viewer_without_the_right_and_a_lost_connection_send_nothing() {
    let mut model = connected_model(1);
    open(&mut model, "set_target");
    model.handle_event(Event::Disconnected { reason: "gone".into(), retry_in: None }, NOW);
    assert!(submit(&mut model).is_none());
    assert!(model.connection.why_not_send().is_some());
}

#[test]
fn a_refused_command_says_why_in_its_form() {
    let mut model = connected_model(1);
    open(&mut model, "set_target");
    let send = submit(&mut model).unwrap();
    let error =
        json!({"type": "error", "id": send.id, "code": "limit_reached", "message": "256 commands are open"});
    model.handle_event(Event::Message(message(error)), NOW);
    let form = model.form.as_ref().unwrap();
    assert_eq!(
        (form.stage.clone(), form.refused.as_deref()),
        (FormStage::Editing, Some("256 commands are open"))
    );
    assert!(submit(&mut model).is_some(), "it can be tried again");
}

#[test]
fn the_life_of_a_command_is_followed_and_its_end_is_told() {
    let mut model = connected_model(1);
    open(&mut model, "set_target");
    let id = submit(&mut model).unwrap().id;
    model.handle_event(command(Some(id), &[("queued", 0)], json!({})), NOW);
    assert_eq!(model.form.as_ref().unwrap().stage, FormStage::Editing);
    model.handle_event(
        command(None, &[("queued", 0), ("sent", 1), ("running", 2)], json!({"progress": 0.4})),
        later(2),
    );
    let device = DeviceId::new("greenhouse-01").unwrap();
    let newest = |model: &Model| model.commands.of_device(&device).next().unwrap().clone();
    assert_eq!((newest(&model).state, newest(&model).progress), (CommandState::Running, Some(0.4)));
    assert!(model.toasts.iter().next().is_none());
    let states = [("queued", 0), ("sent", 1), ("running", 2), ("failed", 5)];
    model.handle_event(command(None, &states, json!({"error": "vent stuck"})), later(5));
    let toast = model.toasts.iter().next().unwrap();
    assert_eq!(toast.text, "Set target on greenhouse-01: failed");
    assert_eq!(toast.detail.as_deref(), Some("vent stuck"));
}

/// A command with one parameter of each kind; only `speed` has to be given.
fn all_kinds() -> serde_json::Value {
    let mut device = greenhouse(1, true);
    device["commands"] = json!([{"name": "run", "params": [
        {"name": "speed", "kind": "number", "unit": "Hz", "min": 0, "max": 60, "required": true},
        {"name": "offset", "kind": "number"},
        {"name": "reverse", "kind": "bool"},
        {"name": "note", "kind": "text"}]}]);
    device
}

#[test]
fn every_field_says_its_own_mistake_and_what_is_left_out_is_not_sent() {
    let mut model = connected_model(1);
    model.handle_event(changed(all_kinds()), NOW);
    open(&mut model, "run");
    let missing: Vec<_> = model.form_problems().into_iter().map(|p| (p.field, p.missing, p.text)).collect();
    assert_eq!(missing, [(Field::Param("speed".into()), true, "is required".to_owned())]);
    let speed = Field::Param("speed".to_owned());
    let offset = Field::Param("offset".to_owned());
    let kind = |field: &Field, text: &str| Action::TypeText { field: field.clone(), text: text.into() };
    model.apply(kind(&speed, "61"), NOW);
    model.apply(kind(&offset, "a lot"), NOW);
    let wrong: Vec<_> = model.form_problems().into_iter().map(|p| p.text).collect();
    assert_eq!(wrong, ["61 is above the maximum of 60 Hz", "\"a lot\" is not a number"]);
    assert_eq!(model.form.as_ref().unwrap().text(&offset), "a lot");
    assert!(submit(&mut model).is_none());
    model.apply(kind(&speed, "12,5"), NOW);
    model.apply(kind(&offset, ""), NOW);
    assert_eq!(json!(submit(&mut model).unwrap().args), json!({"speed": 12.5}));
}

#[test]
fn a_lifetime_and_a_way_of_delivery_are_sent_only_where_they_differ() {
    use protocol::command::Delivery;
    let mut model = connected_model(1);
    open(&mut model, "set_target");
    model.apply(Action::SetDelivery(Delivery::AtOnce), NOW);
    let lifetime = |text: &str| Action::TypeText { field: Field::Lifetime, text: text.into() };
    model.apply(lifetime("5 min"), NOW);
    let request = model.form.as_ref().unwrap().request(1).unwrap();
    assert_eq!((request.expires_in_ms, request.delivery, request.force), (None, None, false));
    model.apply(lifetime("90"), NOW);
    model.apply(Action::SetDelivery(Delivery::AfterFinished), NOW);
    let request = model.form.as_ref().unwrap().request(1).unwrap();
    assert_eq!((request.expires_in_ms, request.delivery), (Some(90_000), Some(Delivery::AfterFinished)));
    for (text, problem) in [
        ("31 d", "31 d is above the maximum of 30 d"),
        ("0", "it must be above 0"),
        ("soon", "\"soon\" is not a time: write 90 s, 5 min, 2 h or 1 d"),
    ] {
        model.apply(lifetime(text), NOW);
        assert_eq!(model.form_problems()[0].text, problem);
        assert!(submit(&mut model).is_none());
    }
}

#[test]
fn an_undeclared_command_is_forced_and_always_asked_for_first() {
    let mut model = connected_model(1);
    select(&mut model, "greenhouse-01");
    model.apply(Action::OpenUndeclared, NOW);
    let kind = |field: Field, text: &str| Action::TypeText { field, text: text.into() };
    assert!(model.form_problems()[0].missing);
    model.apply(kind(Field::Name, "reboot"), NOW);
    assert!(
        model.form_problems()[0].text.contains("use its form"),
        "what is declared has a form that checks it"
    );
    model.apply(kind(Field::Name, "self_test"), NOW);
    model.apply(kind(Field::Args, "[1]"), NOW);
    assert_eq!(model.form_problems()[0].text, "must be an object: {\"name\": value}");
    model.apply(kind(Field::Args, "{\"deep\": true}"), NOW);
    assert!(submit(&mut model).is_none());
    assert_eq!(model.form.as_ref().unwrap().stage, FormStage::Confirming);
    let sent = sends(model.apply(Action::Confirm, NOW));
    assert!(matches!(&sent[..], [ViewerMessage::SendCommand(s)]
        if s.force && s.name.as_str() == "self_test" && json!(s.args) == json!({"deep": true})));
}

/// A link that forgets: the request went out, and the connection broke before the answer.
fn lose_the_answer(model: &mut Model) -> SendCommand {
    open(model, "set_target");
    let send = submit(model).unwrap();
    let lost =
        json!({"type": "error", "id": send.id, "code": "internal", "message": "the connection was lost"});
    model.handle_event(Event::Message(message(lost)), later(1));
    model.handle_event(Event::Disconnected { reason: "gone".into(), retry_in: None }, later(1));
    send
}

fn lookups(messages: &[ViewerMessage]) -> Vec<u64> {
    let is_lookup = |m: &ViewerMessage| match m {
        ViewerMessage::Commands(c) if c.name.is_some() => Some(c.id),
        _ => None,
    };
    messages.iter().filter_map(is_lookup).collect()
}

#[test]
fn a_command_whose_answer_was_lost_is_in_doubt_and_found_when_the_hub_is_back() {
    let mut model = connected_model(1);
    let send = lose_the_answer(&mut model);
    assert_eq!(model.form.as_ref().unwrap().stage, FormStage::InDoubt(send.id));
    assert!(model.toasts.iter().next().is_none(), "nothing is called failed");
    assert!(submit(&mut model).is_none(), "it is not sent again while nobody knows");
    let ids = lookups(&sends(model.handle_event(welcome(100), later(3))));
    assert_eq!(ids.len(), 1);
    let Event::Message(HubToViewer::Command(event)) =
        command(None, &[("queued", 0), ("sent", 1)], json!({"args": {"target": 21, "mode": "eco"}}))
    else {
        unreachable!()
    };
    let list = json!({"type": "commands", "id": ids[0], "commands": [event.command]});
    model.handle_event(Event::Message(message(list)), later(3));
    assert_eq!(model.form.as_ref().unwrap().stage, FormStage::Editing);
    assert_eq!(model.form.as_ref().unwrap().refused, None);
    let states = [("queued", 0), ("sent", 1), ("succeeded", 5)];
    let done = command(None, &states, json!({"args": {"target": 21, "mode": "eco"}}));
    model.handle_event(done, later(5));
    assert!(model.toasts.iter().any(|t| t.text.contains("done in")), "it is followed to its end as ours");
}

#[test]
fn a_command_that_did_not_reach_the_hub_is_said_so_and_can_be_sent_again() {
    let mut model = connected_model(1);
    let old = command(None, &[("queued", -2), ("sent", -1)], json!({"args": {"target": 21, "mode": "eco"}}));
    model.handle_event(old.clone(), NOW);
    lose_the_answer(&mut model);
    let ids = lookups(&sends(model.handle_event(welcome(100), later(3))));
    // The same command of two seconds before is not this one.
    let Event::Message(HubToViewer::Command(event)) = old else { unreachable!() };
    let list = json!({"type": "commands", "id": ids[0], "commands": [event.command]});
    model.handle_event(Event::Message(message(list)), later(3));
    let form = model.form.as_ref().unwrap();
    assert_eq!(form.stage, FormStage::Editing);
    assert!(form.refused.as_deref().unwrap().contains("the hub does not have it"));
    assert!(submit(&mut model).is_some());
}

pub(crate) fn stretches(messages: &[ViewerMessage]) -> Vec<(u64, i64, i64)> {
    let stretch = |m: &ViewerMessage| match m {
        ViewerMessage::Commands(c) if c.device.is_none() => Some((c.id, c.since?.0, c.before?.0)),
        _ => None,
    };
    messages.iter().filter_map(stretch).collect()
}

fn answer(model: &mut Model, id: u64, issued: &[i64]) {
    let commands: Vec<_> = issued
        .iter()
        .map(|seconds| {
            let states = [("queued", *seconds), ("succeeded", *seconds + 1)];
            let Event::Message(HubToViewer::Command(event)) =
                command(None, &states, json!({"id": format!("old{seconds}")}))
            else {
                unreachable!()
            };
            event.command
        })
        .collect();
    let list = json!({"type": "commands", "id": id, "commands": commands});
    model.handle_event(Event::Message(message(list)), NOW);
}

#[test]
fn commands_of_the_past_are_asked_for_where_the_view_goes_and_only_once() {
    let mut model = model();
    let first = sends(model.handle_event(welcome(100), NOW));
    let start =
        first.iter().find_map(|m| if let ViewerMessage::Commands(c) = m { Some(c.clone()) } else { None });
    model.handle_event(devices(&[greenhouse(1, true)]), NOW);
    assert!(stretches(&sends(model.tick(&[], 800.0, NOW))).is_empty(), "one request at a time");
    // The newest page reaches back an hour.
    answer(&mut model, start.unwrap().id, &[-10, -3_600]);
    assert!(stretches(&sends(model.tick(&[], 800.0, NOW))).is_empty(), "what is seen is known");

    model.apply(Action::ShowRange { from: later(-7_200), to: later(-7_000) }, NOW);
    let asked = stretches(&sends(model.tick(&[], 800.0, NOW)));
    let (id, since, before) = asked[0];
    assert!(since < later(-7_200).0 && before > later(-7_000).0 && before <= later(-6_999).0, "{asked:?}");
    answer(&mut model, id, &[-7_010, -7_100]);
    // The rest of the stretch: what was issued before the oldest of the answer.
    let asked = stretches(&sends(model.tick(&[], 800.0, NOW)));
    assert_eq!((asked[0].1, asked[0].2), (since, later(-7_100).0 + 1));
    answer(&mut model, asked[0].0, &[-7_100]);
    assert!(stretches(&sends(model.tick(&[], 800.0, NOW))).is_empty());
    assert_eq!(model.commands.len(), 4);
    let device = DeviceId::new("greenhouse-01").unwrap();
    assert_eq!(model.commands.under_way(&device, later(-7_009), later(-7_000)).count(), 1);
}

#[test]
fn what_was_open_when_the_link_broke_is_asked_for_again() {
    let mut model = connected_model(1);
    model.handle_event(command(None, &[("queued", -400), ("sent", -399)], json!({})), NOW);
    model.handle_event(Event::Disconnected { reason: "gone".into(), retry_in: None }, later(600));
    let messages = sends(model.handle_event(welcome(100), later(601)));
    let newest =
        messages.iter().find_map(|m| if let ViewerMessage::Commands(c) = m { Some(c.id) } else { None });
    answer(&mut model, newest.unwrap(), &[-10]);
    let asked = stretches(&sends(model.tick(&[], 800.0, later(601))));
    assert!(asked[0].1 <= later(-400).0 && asked[0].2 > later(-400).0, "{asked:?}");
}

#[test]
fn a_command_can_be_sent_again_with_its_arguments() {
    let mut model = connected_model(1);
    let states = [("queued", -9), ("sent", -9), ("failed", -5)];
    model.handle_event(command(None, &states, json!({"args": {"target": 24.5, "mode": "boost"}})), NOW);
    model.apply(Action::Repeat(protocol::CommandId::new("c-1").unwrap()), NOW);
    assert_eq!(json!(submit(&mut model).unwrap().args), json!({"target": 24.5, "mode": "boost"}));
}

#[test]
fn i_14_an_older_state_that_comes_late_changes_nothing() {
    let mut model = connected_model(1);
    let done = [("queued", 0), ("sent", 1), ("succeeded", 3)];
    model.handle_event(command(None, &done, json!({})), later(3));
    model.handle_event(command(None, &done[..2], json!({})), later(4));
    let device = DeviceId::new("greenhouse-01").unwrap();
    assert_eq!(model.commands.of_device(&device).next().unwrap().state, CommandState::Succeeded);
    assert_eq!(model.commands.len(), 1);
}

#[test]
fn a_form_survives_a_changed_declaration_and_closes_with_a_withdrawn_one() {
    let mut model = connected_model(1);
    open(&mut model, "set_target");
    model.apply(Action::SetArg { name: "target".into(), value: Some(json!(25)) }, NOW);
    let mut device = greenhouse(1, true);
    device["commands"][0]["params"][0]["max"] = json!(40);
    model.handle_event(changed(device.clone()), NOW);
    assert_eq!(model.form.as_ref().unwrap().args["target"], json!(25));
    device["commands"] = json!([]);
    model.handle_event(changed(device), NOW);
    assert!(model.form.is_none());
    assert!(model.toasts.iter().next().is_some());
}

#[test]
fn i_7_no_message_that_decodes_can_panic_the_model() {
    let mut model = connected_model(1);
    model.tick(&[SeriesId(11), SeriesId(999)], 800.0, NOW);
    open(&mut model, "set_target");
    let extremes = [i64::MIN, -1, 0, 1, i64::MAX];
    for at in extremes {
        for series in [11, 999, i64::MAX, i64::MIN] {
            for subscription in [1, 10, 77, u64::MAX] {
                let point = json!([at, 1e308]);
                let readings = json!({"type": "readings", "id": subscription, "position": at,
                    "series": [{"series": series, "points": [point, [at, "text"], [at, true]]}, {"series": series, "points": []}],
                    "omitted": {"count": u64::MAX / 4, "from": at, "to": -1}});
                model.handle_event(Event::Message(message(readings)), NOW);
                let history = json!({"type": "history", "id": subscription, "series": series, "step": "raw",
                    "points": [point], "position": at});
                model.handle_event(Event::Message(message(history)), NOW);
            }
        }
        let command = json!({"type": "command", "id": u64::MAX, "command": {"id": "x", "device": "nobody", "name": "n",
            "state": "running", "issued_by": "", "expires_at": at, "attempt": u32::MAX, "progress": -7.5, "transitions": []}});
        model.handle_event(Event::Message(message(command)), NOW);
        model.apply(Action::ShowGroup(None), NOW);
        let tally = json!({"waiting": u32::MAX, "queued": u32::MAX, "failed": u32::MAX, "no such state": 1});
        let group = json!({"id": "g", "to": {"devices": [""]}, "name": "n", "issued_by": "", "issued_at": at,
            "tally": tally, "ended_at": -at.saturating_add(1), "at_once": 0});
        model.handle_event(Event::Message(message(json!({"type": "group", "id": 0, "group": group}))), NOW);
        model.tick(&[SeriesId(11)], 800.0, NOW);
        model.handle_event(
            Event::Message(message(json!({"type": "members", "id": u64::MAX, "members": []}))),
            NOW,
        );
        let shown = model.groups.shown().unwrap();
        assert_eq!((shown.tally.total(), shown.tally.open()), (u32::MAX, u32::MAX));
        model.handle_event(
            Event::Message(message(json!({"type": "subscribed", "id": 10, "series": u64::MAX,
            "position": at, "resumed": false}))),
            NOW,
        );
        model.handle_event(
            Event::Message(message(json!({"type": "error", "id": u64::MAX, "code": "internal",
            "message": "x".repeat(10_000)}))),
            NOW,
        );
        model.handle_event(Event::RoundTrip(std::time::Duration::MAX), protocol::Timestamp(at));
        model.handle_event(
            Event::Disconnected { reason: String::new(), retry_in: Some(std::time::Duration::MAX) },
            protocol::Timestamp(at),
        );
        model.handle_event(welcome(at), protocol::Timestamp(at));
        model.tick(&[SeriesId(11), SeriesId(999)], f32::NAN, protocol::Timestamp(at));
        let _wait = model.wakes_in();
    }
    let before = model.counters.bad_messages;
    let text = HubToViewer::decode("{\"type\":\"welcome\"}").unwrap_err().to_string();
    model.handle_event(Event::BadMessage(text), NOW);
    assert_eq!(model.counters.bad_messages, before + 1);
}

#[test]
fn two_pins_are_kept_and_a_third_begins_anew() {
    let mut model = connected_model(1);
    for seconds in 0..3 {
        model.apply(Action::Pin(later(seconds)), NOW);
    }
    assert_eq!(model.pins, [later(2)]);
}
