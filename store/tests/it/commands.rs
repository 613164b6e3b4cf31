//! Commands: lives that move forward, stored before told, and never rewritten.

use protocol::Timestamp;
use protocol::command::CommandState::{
    self, Cancelled, Failed, Queued, Received, Running, Sent, Succeeded, Unresolved,
};
use protocol::command::Delivery;
use protocol::viewer::{CancelAsked, CommandInfo, Transition};
use rusqlite::Connection;
use serde_json::json;
use store::{CommandFilter, StoreError};

use crate::support::{Base, NOW, register};

fn step(state: CommandState, at: i64, by: &str) -> Transition {
    Transition { state, at: NOW.plus_micros(at), by: by.into(), address: None }
}

pub(crate) fn command(id: &str, device: &str, at: Timestamp) -> CommandInfo {
    let address = Some("10.0.0.7:50000".to_owned());
    CommandInfo {
        id: id.parse().unwrap(),
        device: device.parse().unwrap(),
        name: "reset".parse().unwrap(),
        args: json!({"hard": true, "after": 1.5}).as_object().unwrap().clone(),
        state: Queued,
        issued_by: "operator".into(),
        expires_at: at.plus_micros(300_000_000),
        attempt: 0,
        progress: None,
        result: None,
        error: None,
        code: None,
        delivery: Delivery::AfterReceived,
        forced: true,
        cancel: None,
        group: None,
        transitions: vec![Transition { state: Queued, at, by: "operator".into(), address }],
    }
}

pub(crate) fn enter(command: &mut CommandInfo, state: CommandState, at: i64) {
    command.state = state;
    command.transitions.push(step(state, at, "device"));
}

#[test]
fn i_14_a_command_lives_forward_and_every_step_is_stored() {
    let base = Base::new();
    let mut writer = base.writer();
    register(&mut writer, "pump");
    let mut life = command("c1", "pump", NOW);
    writer.save_commands(&[], &[&life]).unwrap();
    let reader = base.reader();
    assert_eq!(reader.command(&life.id).unwrap().unwrap(), life);

    life.attempt = 1;
    enter(&mut life, Sent, 1);
    // Several steps at once, and news without one.
    enter(&mut life, Received, 2);
    enter(&mut life, Running, 3);
    writer.save_commands(&[], &[&life]).unwrap();
    life.progress = Some(0.5);
    let address = Some("10.0.0.8:1".to_owned());
    life.cancel = Some(Box::new(CancelAsked { at: NOW.plus_micros(4), by: "operator".into(), address }));
    writer.save_commands(&[], &[&life]).unwrap();
    assert_eq!(reader.command(&life.id).unwrap().unwrap(), life);
    life.result = Some(json!({"took": 2}));
    life.code = Some("slow".parse().unwrap());
    life.error = Some("it took long".into());
    enter(&mut life, Succeeded, 5);
    writer.save_commands(&[], &[&life, &life]).unwrap();
    assert_eq!(reader.command(&life.id).unwrap().unwrap(), life);

    let mut news = life.clone();
    news.progress = Some(0.1);
    writer.save_commands(&[], &[&news]).unwrap();
    for state in [Running, Failed] {
        let mut later = life.clone();
        enter(&mut later, state, 6);
        let error = writer.save_commands(&[], &[&later]).unwrap_err();
        assert!(matches!(error, StoreError::WrongState { from: Succeeded, .. }), "{error}");
    }
    assert_eq!(reader.command(&life.id).unwrap().unwrap(), life, "what has ended stays as it is");
}

/// The shortest life that leads to a state.
fn path_to(state: CommandState) -> Vec<CommandState> {
    match state {
        Queued => vec![],
        Sent | CommandState::Expired | Cancelled => vec![state],
        _ => vec![Sent, state],
    }
}

#[test]
fn i_14_no_forbidden_step_is_stored() {
    let base = Base::new();
    let mut writer = base.writer();
    register(&mut writer, "pump");
    for (i, from) in CommandState::ALL.into_iter().enumerate() {
        for (j, to) in CommandState::ALL.into_iter().enumerate() {
            let mut life = command(&format!("c{i}-{j}"), "pump", NOW);
            for state in path_to(from) {
                enter(&mut life, state, 0);
            }
            writer.save_commands(&[], &[&life]).unwrap();
            enter(&mut life, to, 1);
            let result = writer.save_commands(&[], &[&life]);
            assert_eq!(result.is_ok(), from.may_become(to), "{from} to {to}: {result:?}");
        }
    }
}

#[test]
fn commands_are_stored_together_or_not_at_all() {
    let base = Base::new();
    let mut writer = base.writer();
    register(&mut writer, "pump");
    let many: Vec<CommandInfo> = (0..100).map(|n| command(&format!("c{n}"), "pump", NOW)).collect();
    let mut bad = many.clone();
    bad.push(command("other", "stranger", NOW));
    assert!(matches!(writer.save_commands(&[], &bad), Err(StoreError::NotFound("device"))));
    assert_eq!(base.reader().commands(&CommandFilter::default(), 1_000).unwrap(), []);
    writer.save_commands(&[], &many).unwrap();
    assert_eq!(base.reader().open_commands().unwrap(), many);
}

#[test]
fn commands_are_listed_newest_first_by_filter_and_open_ones_in_the_order_of_issue() {
    let base = Base::new();
    let mut writer = base.writer();
    register(&mut writer, "a");
    register(&mut writer, "b");
    for i in 0..6 {
        let device = if i % 2 == 0 { "a" } else { "b" };
        let mut life = command(&format!("c{i}"), device, NOW.plus_micros(i / 2));
        if i == 2 {
            enter(&mut life, Cancelled, 9);
        }
        if i == 3 {
            enter(&mut life, Sent, 9);
            enter(&mut life, Unresolved, 9);
            life.issued_by = "script".into();
        }
        writer.save_commands(&[], &[&life]).unwrap();
    }
    let reader = base.reader();
    let ids = |commands: Vec<CommandInfo>| -> Vec<String> {
        commands.into_iter().map(|command| command.id.to_string()).collect()
    };
    let list = |filter: CommandFilter| ids(reader.commands(&filter, 9).unwrap());
    let all = CommandFilter::default;
    assert_eq!(ids(reader.commands(&all(), 4).unwrap()), ["c5", "c4", "c3", "c2"]);
    assert_eq!(list(CommandFilter { before: Some(NOW.plus_micros(1)), ..all() }), ["c1", "c0"]);
    assert_eq!(list(CommandFilter { since: Some(NOW.plus_micros(2)), ..all() }), ["c5", "c4"]);
    assert_eq!(list(CommandFilter { device: "a".parse().ok(), ..all() }), ["c4", "c2", "c0"]);
    assert_eq!(list(CommandFilter { device: "x".parse().ok(), ..all() }), Vec::<String>::new());
    assert_eq!(list(CommandFilter { states: vec![Cancelled, Unresolved], ..all() }), ["c3", "c2"]);
    assert_eq!(list(CommandFilter { by: Some("script".into()), ..all() }), ["c3"]);
    assert_eq!(list(CommandFilter { name: "start".parse().ok(), ..all() }), Vec::<String>::new());
    assert_eq!(
        list(CommandFilter { name: "reset".parse().ok(), device: "b".parse().ok(), ..all() }),
        ["c5", "c3", "c1"]
    );
    assert_eq!(ids(reader.open_commands().unwrap()), ["c0", "c1", "c4", "c5"]);
    assert_eq!(ids(writer.open_commands().unwrap()), ["c0", "c1", "c4", "c5"]);
}

#[test]
fn a_command_that_cannot_be_is_refused() {
    let base = Base::new();
    let mut writer = base.writer();
    register(&mut writer, "pump");
    let mut lifeless = command("c3", "pump", NOW);
    lifeless.transitions.clear();
    assert!(matches!(writer.save_commands(&[], &[&lifeless]), Err(StoreError::Invalid(_))));
    let mut news = command("c1", "pump", NOW);
    news.progress = Some(f64::NAN);
    assert!(matches!(writer.save_commands(&[], &[&news]), Err(StoreError::Invalid(_))));
    // Another life under the same id.
    let mut life = command("c1", "pump", NOW);
    enter(&mut life, Sent, 1);
    writer.save_commands(&[], &[&life]).unwrap();
    life.transitions.truncate(1);
    enter(&mut life, Cancelled, 1);
    assert!(matches!(writer.save_commands(&[], &[&life]), Err(StoreError::WrongState { from: Sent, .. })));
}

#[test]
fn the_audit_trail_is_not_rewritten_by_anyone_with_sql() {
    let base = Base::new();
    let mut writer = base.writer();
    register(&mut writer, "pump");
    let mut ended = command("ended", "pump", NOW);
    enter(&mut ended, Cancelled, 1);
    writer.save_commands(&[], &[&command("open", "pump", NOW), &ended]).unwrap();
    drop(writer);
    let connection = Connection::open(base.path()).unwrap();
    for (sql, why) in [
        ("DELETE FROM command", "commands are kept"),
        ("DELETE FROM command_transition", "the life of a command is kept"),
        ("UPDATE command_transition SET by = 'nobody'", "is not rewritten"),
        ("UPDATE command SET issued_by = 'nobody' WHERE id = 'open'", "what was issued is not rewritten"),
        ("UPDATE command SET args = '{}' WHERE id = 'open'", "what was issued is not rewritten"),
        ("UPDATE command SET error = '' WHERE id = 'ended'", "a command that has ended is not rewritten"),
    ] {
        let error = connection.execute(sql, []).unwrap_err().to_string();
        assert!(error.contains(why), "{sql}: {error}");
    }
    connection.execute("UPDATE command SET progress = 0.5 WHERE id = 'open'", []).unwrap();
}
