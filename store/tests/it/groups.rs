//! Groups of commands: what was asked is never rewritten, and the tally is counted from the commands.

use protocol::command::CommandState::{Cancelled, Failed, Queued, Running, Sent, Succeeded};
use protocol::group::{MemberState, Tally, Targets};
use protocol::viewer::{CommandInfo, GroupInfo, GroupRequest, GroupStopped};
use protocol::{GroupId, Timestamp};
use rusqlite::Connection;
use store::{CommandFilter, GroupChange, StoreError};

use crate::commands::{command, enter};
use crate::support::{Base, NOW, register};

fn info(id: &str, at: Timestamp, members: u32) -> GroupInfo {
    let to = Targets { devices: vec!["*".into()], ..Targets::default() };
    let mut tally = Tally::default();
    tally.add(MemberState::Waiting, members);
    GroupInfo {
        id: id.parse().unwrap(),
        request: GroupRequest { at_once: Some(2), ..GroupRequest::new(to, "reset".parse().unwrap()) },
        issued_by: "operator".into(),
        issued_at: at,
        address: Some("10.0.0.7:50000".into()),
        retry_of: None,
        tally,
        stopped: None,
        ended_at: None,
    }
}

fn new(info: &GroupInfo, members: &[(&str, Option<&str>)]) -> GroupChange {
    let members = members
        .iter()
        .map(|(device, refused)| (device.parse().unwrap(), refused.map(str::to_owned)))
        .collect();
    GroupChange::New(Box::new(info.clone()), members)
}

fn of_group(id: &str, device: &str, group: &str) -> CommandInfo {
    CommandInfo { group: group.parse().ok(), ..command(id, device, NOW) }
}

const NO_COMMANDS: &[CommandInfo] = &[];

#[test]
fn a_groups_tally_is_that_of_its_commands_and_of_those_that_have_none() {
    let base = Base::new();
    let mut writer = base.writer();
    for device in ["a", "b", "c", "d", "e"] {
        register(&mut writer, device);
    }
    let group = info("g1", NOW, 5);
    let id: GroupId = "g1".parse().unwrap();
    let members = [("b", None), ("a", None), ("c", Some("does not take it")), ("d", None), ("e", None)];
    writer.save_commands(&[new(&group, &members)], NO_COMMANDS).unwrap();
    let (mut b, mut a) = (of_group("c1", "b", "g1"), of_group("c2", "a", "g1"));
    writer.save_commands(&[], &[&a, &b]).unwrap();
    enter(&mut b, Sent, 1);
    enter(&mut b, Failed, 2);
    b.error = Some("jammed".into());
    enter(&mut a, Sent, 1);
    writer
        .save_commands(&[GroupChange::Refused(id.clone(), "d".parse().unwrap(), "full".into())], &[&a, &b])
        .unwrap();

    let reader = base.reader();
    let stored = reader.group(&id).unwrap().unwrap();
    let tally = |counts: &[(MemberState, u32)]| {
        let mut tally = Tally::default();
        for (state, count) in counts {
            tally.add(*state, *count);
        }
        tally
    };
    let counted = [
        (MemberState::Waiting, 1),
        (MemberState::Refused, 2),
        (MemberState::Issued(Sent), 1),
        (MemberState::Issued(Failed), 1),
    ];
    assert_eq!(stored, GroupInfo { tally: tally(&counted), ..group.clone() });
    let members = reader.members(&id, &[]).unwrap().unwrap();
    let told: Vec<(&str, &str, Option<&str>)> =
        members.iter().map(|m| (m.device.as_str(), m.state.as_str(), m.error.as_deref())).collect();
    assert_eq!(
        told,
        [
            ("b", "failed", Some("jammed")),
            ("a", "sent", None),
            ("c", "refused", Some("does not take it")),
            ("d", "refused", Some("full")),
            ("e", "waiting", None)
        ]
    );
    let open = reader.open_groups().unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].waiting.len(), &open[0].open), (1, &vec![(a.id.clone(), Sent)]));
    let filter = CommandFilter { group: Some(id.clone()), ..CommandFilter::default() };
    assert_eq!(reader.commands(&filter, 10).unwrap().len(), 2);

    let stopped = GroupStopped { at: NOW.plus_micros(9), by: "operator".into(), address: None };
    let later = GroupStopped { at: NOW.plus_micros(10), by: "another".into(), address: None };
    writer
        .save_commands(
            &[GroupChange::Stopped(id.clone(), stopped.clone()), GroupChange::Stopped(id.clone(), later)],
            NO_COMMANDS,
        )
        .unwrap();
    enter(&mut a, Cancelled, 3);
    writer.save_commands(&[GroupChange::Ended(id.clone(), NOW.plus_micros(11))], &[&a]).unwrap();
    let ended = reader.group(&id).unwrap().unwrap();
    assert_eq!((ended.stopped, ended.ended_at), (Some(stopped), Some(NOW.plus_micros(11))));
    assert_eq!((ended.tally.of(MemberState::Skipped), ended.tally.open(), ended.tally.total()), (1, 0, 5));
    assert!(reader.open_groups().unwrap().is_empty());
}

#[test]
fn groups_are_listed_newest_first_and_know_by_which_they_were_retried() {
    let base = Base::new();
    let mut writer = base.writer();
    register(&mut writer, "a");
    let mut changes: Vec<GroupChange> =
        (0..3).map(|n| new(&info(&format!("g{n}"), NOW.plus_micros(n), 1), &[("a", None)])).collect();
    let again = GroupInfo { retry_of: "g1".parse().ok(), ..info("g3", NOW.plus_micros(3), 1) };
    changes.push(new(&again, &[("a", None)]));
    writer.save_commands(&changes, NO_COMMANDS).unwrap();
    let reader = base.reader();
    let ids = |before, limit| -> Vec<String> {
        reader.groups(before, limit).unwrap().iter().map(|group| group.id.to_string()).collect()
    };
    assert_eq!(ids(None, 10), ["g3", "g2", "g1", "g0"]);
    assert_eq!(ids(Some(NOW.plus_micros(2)), 1), ["g1"]);
    assert_eq!(reader.groups(None, 1).unwrap()[0].retry_of, "g1".parse().ok());
    assert_eq!(reader.retried(&"g1".parse().unwrap()).unwrap(), "g3".parse().ok());
    assert_eq!(reader.retried(&"g0".parse().unwrap()).unwrap(), None);
    assert_eq!(reader.members(&"none".parse().unwrap(), &[]).unwrap(), None);
}

#[test]
fn a_change_that_cannot_be_stored_changes_nothing_and_nothing_is_rewritten() {
    let base = Base::new();
    let mut writer = base.writer();
    register(&mut writer, "a");
    let group = info("g1", NOW, 1);
    let unknown = writer.save_commands(&[new(&group, &[("a", None), ("x", None)])], NO_COMMANDS).unwrap_err();
    assert!(matches!(unknown, StoreError::NotFound("device")), "{unknown}");
    let stranger = of_group("c0", "a", "g1");
    let unknown = writer.save_commands(&[], &[&stranger]).unwrap_err();
    assert!(matches!(unknown, StoreError::NotFound("group")), "{unknown}");
    assert!(base.reader().groups(None, 10).unwrap().is_empty());

    writer.save_commands(&[new(&group, &[("a", None)])], NO_COMMANDS).unwrap();
    let mut life = of_group("c1", "a", "g1");
    writer.save_commands(&[], &[&life]).unwrap();
    for state in [Sent, Running, Succeeded] {
        enter(&mut life, state, 1);
    }
    assert_eq!(life.transitions[0].state, Queued);
    writer.save_commands(&[GroupChange::Ended("g1".parse().unwrap(), NOW)], &[&life]).unwrap();
    drop(writer);
    let connection = Connection::open(base.path()).unwrap();
    for (sql, words) in [
        ("DELETE FROM command_group", "groups are kept"),
        ("DELETE FROM group_member", "members of groups are kept"),
        ("UPDATE command_group SET issued_by = 'another'", "not rewritten"),
        ("UPDATE command_group SET stopped_by = 'another'", "not rewritten"),
        ("UPDATE group_member SET device_key = 7", "members of groups are not rewritten"),
        ("UPDATE command SET group_key = NULL", "not rewritten"),
    ] {
        let problem = connection.execute(sql, []).unwrap_err().to_string();
        assert!(problem.contains(words), "{sql}: {problem}");
    }
}
