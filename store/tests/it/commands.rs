//! Commands: lives that move forward, stored before told.

use protocol::Timestamp;
use protocol::command::CommandState::{self, Failed, Queued, Received, Running, Sent, Succeeded};
use protocol::viewer::{CommandInfo, Transition};
use serde_json::json;
use store::{CommandChange, StoreError};

use crate::support::{Base, NOW, register};

fn command(id: &str, device: &str, at: Timestamp) -> CommandInfo {
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
        transitions: vec![Transition { state: Queued, at, by: "operator".into() }],
    }
}

fn change(id: &str, state: Option<CommandState>, at: i64) -> CommandChange {
    CommandChange {
        id: id.parse().unwrap(),
        state,
        at: NOW.plus_micros(at),
        by: "device".into(),
        attempt: None,
        progress: None,
        result: None,
        error: None,
    }
}

#[test]
fn i_14_a_command_lives_forward_and_every_step_is_stored() {
    let base = Base::new();
    let mut writer = base.writer();
    register(&mut writer, "pump");
    let issued = command("c1", "pump", NOW);
    writer.create_command(&issued).unwrap();
    let reader = base.reader();
    assert_eq!(reader.command(&issued.id).unwrap().unwrap(), issued);

    let mut sent = change("c1", Some(Sent), 1);
    sent.attempt = Some(1);
    writer.update_command(&sent).unwrap();
    writer.update_command(&change("c1", Some(Received), 2)).unwrap();
    writer.update_command(&change("c1", Some(Running), 3)).unwrap();
    let mut news = change("c1", None, 4);
    news.progress = Some(0.5);
    assert_eq!(writer.update_command(&news).unwrap().progress, Some(0.5));
    let mut done = change("c1", Some(Succeeded), 5);
    done.result = Some(json!({"took": 2}));
    let told = writer.update_command(&done).unwrap();

    assert_eq!(reader.command(&issued.id).unwrap().unwrap(), told);
    let states: Vec<_> = told.transitions.iter().map(|t| (t.state, t.at.0 - NOW.0)).collect();
    assert_eq!(states, [(Queued, 0), (Sent, 1), (Received, 2), (Running, 3), (Succeeded, 5)]);
    assert_eq!((told.attempt, told.result.clone()), (1, Some(json!({"took": 2}))));

    for state in [Some(Running), Some(Failed), Some(Succeeded), None] {
        let error = writer.update_command(&change("c1", state, 6)).unwrap_err();
        assert!(matches!(error, StoreError::WrongState { from: Succeeded, .. }), "{error}");
    }
    assert_eq!(reader.command(&issued.id).unwrap().unwrap(), told);
}

#[test]
fn i_14_no_forbidden_step_is_stored() {
    let base = Base::new();
    let mut writer = base.writer();
    register(&mut writer, "pump");
    for (i, from) in CommandState::ALL.into_iter().enumerate() {
        for (j, to) in CommandState::ALL.into_iter().enumerate() {
            let id = format!("c{i}-{j}");
            let mut here = command(&id, "pump", NOW);
            // The shortest life that leads to `from`.
            let path: &[CommandState] = match from {
                Queued => &[],
                Sent | CommandState::Expired | CommandState::Cancelled => &[from],
                _ => &[Sent, from],
            };
            for state in path {
                here.transitions.push(Transition { state: *state, at: NOW, by: "hub".into() });
                here.state = *state;
            }
            writer.create_command(&here).unwrap();
            let result = writer.update_command(&change(&id, Some(to), 1));
            let allowed = from.may_become(to) || (from == to && !from.is_final());
            assert_eq!(result.is_ok(), allowed, "{from} to {to}: {result:?}");
        }
    }
}

#[test]
fn commands_are_listed_newest_first_and_open_ones_in_the_order_of_issue() {
    let base = Base::new();
    let mut writer = base.writer();
    register(&mut writer, "a");
    register(&mut writer, "b");
    for i in 0..6 {
        let device = if i % 2 == 0 { "a" } else { "b" };
        writer.create_command(&command(&format!("c{i}"), device, NOW.plus_micros(i / 2))).unwrap();
    }
    writer.update_command(&change("c2", Some(CommandState::Cancelled), 9)).unwrap();
    let reader = base.reader();
    let ids = |commands: Vec<CommandInfo>| -> Vec<String> {
        commands.into_iter().map(|command| command.id.to_string()).collect()
    };
    assert_eq!(ids(reader.commands(None, None, 4).unwrap()), ["c5", "c4", "c3", "c2"]);
    assert_eq!(ids(reader.commands(None, Some(NOW.plus_micros(1)), 9).unwrap()), ["c1", "c0"]);
    assert_eq!(ids(reader.commands(Some(&"a".parse().unwrap()), None, 9).unwrap()), ["c4", "c2", "c0"]);
    assert_eq!(ids(reader.commands(Some(&"x".parse().unwrap()), None, 9).unwrap()), Vec::<String>::new());
    assert_eq!(ids(reader.open_commands().unwrap()), ["c0", "c1", "c3", "c4", "c5"]);
    assert_eq!(ids(writer.open_commands().unwrap()), ["c0", "c1", "c3", "c4", "c5"]);
}

#[test]
fn a_command_that_cannot_be_is_refused() {
    let base = Base::new();
    let mut writer = base.writer();
    register(&mut writer, "pump");
    writer.create_command(&command("c1", "pump", NOW)).unwrap();
    let again = writer.create_command(&command("c1", "pump", NOW));
    assert!(matches!(again, Err(StoreError::Exists("command"))));
    let stranger = writer.create_command(&command("c2", "stranger", NOW));
    assert!(matches!(stranger, Err(StoreError::NotFound("device"))));
    let mut lifeless = command("c3", "pump", NOW);
    lifeless.transitions.clear();
    assert!(matches!(writer.create_command(&lifeless), Err(StoreError::Invalid(_))));
    let mut news = change("c1", None, 1);
    news.progress = Some(f64::NAN);
    assert!(matches!(writer.update_command(&news), Err(StoreError::Invalid(_))));
    assert!(matches!(
        writer.update_command(&change("c9", Some(Sent), 1)),
        Err(StoreError::NotFound("command"))
    ));
}
