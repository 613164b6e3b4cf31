//! Groups of commands: what was asked of whom, and how far it has come, counted from the commands themselves.

use std::collections::HashMap;

use protocol::command::CommandState;
use protocol::group::{MemberState, Tally};
use protocol::viewer::{GroupInfo, GroupRequest, GroupStopped, Member};
use protocol::{CommandId, DeviceId, GroupId, MetricName, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::command;
use crate::device;
use crate::error::StoreError;
use crate::reader::Reader;
use crate::row;
use crate::types::{GroupChange, OpenGroup};

const SELECT: &str = "SELECT group_key, id, request, members, issued_by, issued_at, address, stopped_at, stopped_by,
                             stopped_address, ended_at,
                             (SELECT old.id FROM command_group old WHERE old.group_key = command_group.retry_of)
                      FROM command_group";

impl Reader {
    /// Every group that has not ended, in the order of issue.
    pub fn open_groups(&self) -> Result<Vec<OpenGroup>, StoreError> {
        self.snapshot(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("{SELECT} WHERE ended_at IS NULL ORDER BY group_key"))?;
            let mut rows = statement.query([])?;
            let mut groups = Vec::new();
            while let Some(row) = rows.next()? {
                let info = read(connection, row)?.1;
                let (mut waiting, mut open) = (Vec::new(), Vec::new());
                for member in read_members(connection, &info.id)?.unwrap_or_default() {
                    match (member.state, member.command) {
                        (MemberState::Waiting, _) => waiting.push(member.device),
                        (MemberState::Issued(state), Some(id)) if !state.is_final() => open.push((id, state)),
                        _ => {}
                    }
                }
                groups.push(OpenGroup { info, waiting, open });
            }
            Ok(groups)
        })
    }

    /// One group.
    pub fn group(&self, id: &GroupId) -> Result<Option<GroupInfo>, StoreError> {
        self.snapshot(|connection| Ok(find(connection, id)?.map(|(_, info)| info)))
    }

    /// Groups, newest first, at most `limit`: those issued before a time, or all.
    pub fn groups(&self, before: Option<Timestamp>, limit: usize) -> Result<Vec<GroupInfo>, StoreError> {
        self.snapshot(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "{SELECT} WHERE issued_at < ?1 ORDER BY issued_at DESC, group_key DESC LIMIT ?2"
            ))?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut rows = statement.query((before.map_or(i64::MAX, |at| at.0), limit))?;
            let mut groups = Vec::new();
            while let Some(row) = rows.next()? {
                groups.push(read(connection, row)?.1);
            }
            Ok(groups)
        })
    }

    /// The members of a group in one of these states, or all if none is named, in the order of their turns. `None`: there is
    /// no such group.
    pub fn members(&self, id: &GroupId, states: &[MemberState]) -> Result<Option<Vec<Member>>, StoreError> {
        let mut members = self.snapshot(|connection| read_members(connection, id))?;
        if let Some(members) = &mut members
            && !states.is_empty()
        {
            members.retain(|member| states.contains(&member.state));
        }
        Ok(members)
    }

    /// The group in which the failed members of this one were tried again.
    pub fn retried(&self, id: &GroupId) -> Result<Option<GroupId>, StoreError> {
        let found: Option<String> = self
            .connection
            .prepare_cached(
                "SELECT again.id FROM command_group again JOIN command_group old ON again.retry_of = old.group_key
                 WHERE old.id = ?1 LIMIT 1",
            )?
            .query_row([id.as_str()], |row| row.get(0))
            .optional()?;
        found.map(|id| row::name(&id)).transpose()
    }
}

/// The number of a group, which must be there.
pub(crate) fn key(connection: &Connection, id: &GroupId) -> Result<i64, StoreError> {
    connection
        .prepare_cached("SELECT group_key FROM command_group WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?
        .ok_or(StoreError::NotFound("group"))
}

/// Stores what has changed of a group, as a part of a transaction.
pub(crate) fn save(connection: &Connection, change: &GroupChange) -> Result<(), StoreError> {
    match change {
        GroupChange::New(info, members) => insert(connection, info, members),
        GroupChange::Refused(group, device, problem) => {
            let device = member_key(connection, device)?;
            connection
                .prepare_cached(
                    "UPDATE group_member SET refused = ?3
                     WHERE group_key = ?1 AND device_key = ?2 AND refused IS NULL",
                )?
                .execute((key(connection, group)?, device, problem))?;
            Ok(())
        }
        GroupChange::Stopped(group, GroupStopped { at, by, address }) => {
            connection
                .prepare_cached(
                    "UPDATE command_group SET stopped_at = ?2, stopped_by = ?3, stopped_address = ?4
                     WHERE group_key = ?1 AND stopped_at IS NULL AND ended_at IS NULL",
                )?
                .execute((key(connection, group)?, at.0, by, address))?;
            Ok(())
        }
        GroupChange::Ended(group, at) => {
            connection
                .prepare_cached(
                    "UPDATE command_group SET ended_at = ?2 WHERE group_key = ?1 AND ended_at IS NULL",
                )?
                .execute((key(connection, group)?, at.0))?;
            Ok(())
        }
    }
}

fn member_key(connection: &Connection, device: &DeviceId) -> Result<i64, StoreError> {
    device::find_device(connection, device)?.map(|key| key.0).ok_or(StoreError::NotFound("device"))
}

fn insert(
    connection: &Connection,
    info: &GroupInfo,
    members: &[(DeviceId, Option<String>)],
) -> Result<(), StoreError> {
    let retry_of = info.retry_of.as_ref().map(|old| key(connection, old)).transpose()?;
    connection
        .prepare_cached(
            "INSERT INTO command_group (id, request, members, issued_by, issued_at, address, retry_of)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(rusqlite::params![
            info.id.as_str(),
            row::to_json(&info.request)?,
            i64::try_from(members.len()).unwrap_or(i64::MAX),
            info.issued_by,
            info.issued_at.0,
            info.address,
            retry_of,
        ])?;
    let group = connection.last_insert_rowid();
    let mut statement = connection.prepare_cached(
        "INSERT INTO group_member (group_key, place, device_key, refused) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (place, (device, refused)) in (0_i64..).zip(members) {
        statement.execute((group, place, member_key(connection, device)?, refused))?;
    }
    Ok(())
}

fn find(connection: &Connection, id: &GroupId) -> Result<Option<(i64, GroupInfo)>, StoreError> {
    connection
        .prepare_cached(&format!("{SELECT} WHERE id = ?1"))?
        .query_row([id.as_str()], |row| Ok(read(connection, row)))
        .optional()?
        .transpose()
}

fn read(connection: &Connection, row: &Row<'_>) -> Result<(i64, GroupInfo), StoreError> {
    let key: i64 = row.get(0)?;
    let stopped = match (row.get::<_, Option<i64>>(7)?, row.get::<_, Option<String>>(8)?) {
        (Some(at), Some(by)) => Some(GroupStopped { at: Timestamp(at), by, address: row.get(9)? }),
        _ => None,
    };
    let info = GroupInfo {
        id: row::name(&row.get::<_, String>(1)?)?,
        request: row::json::<GroupRequest>(&row.get::<_, String>(2)?)?,
        issued_by: row.get(4)?,
        issued_at: Timestamp(row.get(5)?),
        address: row.get(6)?,
        retry_of: row.get::<_, Option<String>>(11)?.map(|id| row::name(&id)).transpose()?,
        tally: count(connection, key, row.get(3)?, stopped.is_some())?,
        stopped,
        ended_at: row.get::<_, Option<i64>>(10)?.map(Timestamp),
    };
    Ok((key, info))
}

/// Counts the members of a group, of which there are so many.
fn count(connection: &Connection, group: i64, members: u32, stopped: bool) -> Result<Tally, StoreError> {
    let mut tally = Tally::default();
    let mut statement = connection
        .prepare_cached("SELECT state, count(*) FROM command WHERE group_key = ?1 GROUP BY state")?;
    let mut rows = statement.query([group])?;
    while let Some(row) = rows.next()? {
        tally.add(MemberState::Issued(command::state(&row.get::<_, String>(0)?)?), row.get(1)?);
    }
    let refused: u32 = connection
        .prepare_cached("SELECT count(*) FROM group_member WHERE group_key = ?1 AND refused IS NOT NULL")?
        .query_row([group], |row| row.get(0))?;
    tally.add(MemberState::Refused, refused);
    tally.add(not_begun(stopped), members.saturating_sub(tally.total()));
    Ok(tally)
}

/// The state of a member that has no command and was not refused.
const fn not_begun(stopped: bool) -> MemberState {
    if stopped { MemberState::Skipped } else { MemberState::Waiting }
}

struct Issued {
    id: CommandId,
    state: CommandState,
    error: Option<String>,
    code: Option<MetricName>,
}

/// The members of a group in the order of their turns.
fn read_members(connection: &Connection, id: &GroupId) -> Result<Option<Vec<Member>>, StoreError> {
    let found: Option<(i64, bool)> = connection
        .prepare_cached("SELECT group_key, stopped_at IS NOT NULL FROM command_group WHERE id = ?1")?
        .query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((group, stopped)) = found else { return Ok(None) };
    let mut issued: HashMap<i64, Issued> = HashMap::new();
    let mut statement = connection
        .prepare_cached("SELECT device_key, id, state, error, code FROM command WHERE group_key = ?1")?;
    let mut rows = statement.query([group])?;
    while let Some(row) = rows.next()? {
        let command = Issued {
            id: row::name(&row.get::<_, String>(1)?)?,
            state: command::state(&row.get::<_, String>(2)?)?,
            error: row.get(3)?,
            code: row.get::<_, Option<String>>(4)?.map(|code| row::name(&code)).transpose()?,
        };
        issued.insert(row.get(0)?, command);
    }
    let mut statement = connection.prepare_cached(
        "SELECT device_key, device.id, refused FROM group_member JOIN device USING (device_key)
         WHERE group_key = ?1 ORDER BY place",
    )?;
    let mut rows = statement.query([group])?;
    let mut members = Vec::new();
    while let Some(row) = rows.next()? {
        let device = row::name(&row.get::<_, String>(1)?)?;
        let member = match (issued.remove(&row.get(0)?), row.get::<_, Option<String>>(2)?) {
            (Some(Issued { id, state, error, code }), _) => {
                Member { device, state: MemberState::Issued(state), command: Some(id), error, code }
            }
            (None, error @ Some(_)) => {
                Member { device, state: MemberState::Refused, command: None, error, code: None }
            }
            (None, None) => {
                Member { device, state: not_begun(stopped), command: None, error: None, code: None }
            }
        };
        members.push(member);
    }
    Ok(Some(members))
}
