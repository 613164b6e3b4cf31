//! Commands and their lives: each state is stored, with its time and who caused it, before anyone is told (I-14).

use std::borrow::Borrow;

use protocol::command::{CommandState, Delivery};
use protocol::viewer::{CancelAsked, CommandInfo, Transition};
use protocol::{CommandId, MetricName, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::Value as Json;

use crate::device;
use crate::error::StoreError;
use crate::group;
use crate::reader::Reader;
use crate::row;
use crate::types::{CommandFilter, GroupChange};
use crate::writer::{Commit, Writer};

const SELECT: &str = "SELECT command_key, command.id, device.id, name, args, state, issued_by, expires_at, attempt,
                             progress, result, error, code, delivery, forced, cancel_at, cancel_by, cancel_address,
                             (SELECT g.id FROM command_group g WHERE g.group_key = command.group_key)
                      FROM command JOIN device USING (device_key)";
/// Repeats the condition of the index `command_open` word for word, which is what makes SQLite use it.
const OPEN: &str = "state IN ('queued', 'sent', 'unknown', 'received', 'running')";

impl Writer {
    /// Stores commands as they are now, and what has changed of groups, in one transaction: all of it or nothing.
    ///
    /// A command that is new begins with `queued`; one that is known goes on from where it is, however many steps. What was
    /// issued does not change, and of one that has ended nothing does, unless it goes on: saving it again is harmless.
    /// A device that is not known is [`StoreError::NotFound`], a life that does not go on from the stored one
    /// [`StoreError::WrongState`].
    pub fn save_commands<C: Borrow<CommandInfo>>(
        &mut self,
        groups: &[GroupChange],
        commands: &[C],
    ) -> Result<(), StoreError> {
        if groups.is_empty() && commands.is_empty() {
            return Ok(());
        }
        self.link.transact(Commit::Synced, |connection| {
            groups.iter().try_for_each(|change| group::save(connection, change))?;
            commands.iter().try_for_each(|command| save(connection, command.borrow()))
        })
    }

    /// One command.
    pub fn command(&mut self, id: &CommandId) -> Result<Option<CommandInfo>, StoreError> {
        self.link.check()?;
        Ok(find(&self.link.connection, id)?.map(|(_, command)| command))
    }

    /// Every command whose life has not ended, in the order of issue.
    pub fn open_commands(&mut self) -> Result<Vec<CommandInfo>, StoreError> {
        self.link.check()?;
        read_open(&self.link.connection)
    }
}

impl Reader {
    /// One command.
    pub fn command(&self, id: &CommandId) -> Result<Option<CommandInfo>, StoreError> {
        self.snapshot(|connection| Ok(find(connection, id)?.map(|(_, command)| command)))
    }

    /// The commands that a filter lets through, newest first, at most `limit`.
    pub fn commands(&self, filter: &CommandFilter, limit: usize) -> Result<Vec<CommandInfo>, StoreError> {
        let mut conditions = Vec::new();
        let mut values: Vec<Value> = Vec::new();
        let mut add = |condition: &str, value: Value| {
            values.push(value);
            conditions.push(format!("{condition} ?{}", values.len()));
        };
        if let Some(device) = &filter.device {
            add("device.id =", Value::Text(device.as_str().to_owned()));
        }
        if let Some(name) = &filter.name {
            add("name =", Value::Text(name.as_str().to_owned()));
        }
        if let Some(by) = &filter.by {
            add("issued_by =", Value::Text(by.clone()));
        }
        if let Some(since) = filter.since {
            add("issued_at >=", Value::Integer(since.0));
        }
        if let Some(before) = filter.before {
            add("issued_at <", Value::Integer(before.0));
        }
        if let Some(group) = &filter.group {
            values.push(Value::Text(group.as_str().to_owned()));
            let group = "SELECT g.group_key FROM command_group g WHERE g.id =";
            conditions.push(format!("group_key = ({group} ?{})", values.len()));
        }
        if !filter.states.is_empty() {
            // Words of our own: nothing in them to escape.
            let states: Vec<String> =
                filter.states.iter().map(|state| format!("'{}'", state.as_str())).collect();
            conditions.push(format!("state IN ({})", states.join(", ")));
        }
        let only =
            if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = format!("{SELECT} {only} ORDER BY issued_at DESC, command_key DESC LIMIT {limit}");
        self.snapshot(|connection| read_all(connection, &sql, rusqlite::params_from_iter(values)))
    }

    /// Every command whose life has not ended, in the order of issue.
    pub fn open_commands(&self) -> Result<Vec<CommandInfo>, StoreError> {
        self.snapshot(read_open)
    }
}

/// Sees that the life of a new command begins with `queued`, moves forward and ends at its state.
fn check_life(command: &CommandInfo) -> Result<(), StoreError> {
    let states: Vec<CommandState> = command.transitions.iter().map(|transition| transition.state).collect();
    if states.first() != Some(&CommandState::Queued) || states.last() != Some(&command.state) {
        return Err(StoreError::Invalid(
            "a command whose life does not lead from queued to its state".into(),
        ));
    }
    for pair in states.windows(2) {
        if !pair[0].may_become(pair[1]) {
            return Err(StoreError::WrongState { from: pair[0], to: pair[1] });
        }
    }
    Ok(())
}

fn save(connection: &Connection, command: &CommandInfo) -> Result<(), StoreError> {
    check_life(command)?;
    if command.progress.is_some_and(|progress| !progress.is_finite()) {
        return Err(StoreError::Invalid("progress that is not finite".into()));
    }
    let known = connection
        .prepare_cached(
            "SELECT command_key, state, (SELECT count(*) FROM command_transition t WHERE t.command_key = c.command_key)
             FROM command c WHERE id = ?1",
        )?
        .query_row([command.id.as_str()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
        })
        .optional()?;
    let result = command.result.as_ref().map(row::to_json).transpose()?;
    let code = command.code.as_ref().map(MetricName::as_str);
    let (cancel_at, cancel_by, cancel_address) = match command.cancel.as_deref() {
        Some(CancelAsked { at, by, address }) => (Some(at.0), Some(by), address.as_ref()),
        None => (None, None, None),
    };
    let (key, stored) = match known {
        None => {
            let device =
                device::find_device(connection, &command.device)?.ok_or(StoreError::NotFound("device"))?;
            let group = command.group.as_ref().map(|id| group::key(connection, id)).transpose()?;
            connection
                .prepare_cached(
                    "INSERT INTO command (id, device_key, name, args, state, issued_by, issued_at, expires_at, delivery,
                                          forced, attempt, progress, result, error, code, cancel_at, cancel_by,
                                          cancel_address, group_key)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
                )?
                .execute(rusqlite::params![
                    command.id.as_str(),
                    device.0,
                    command.name.as_str(),
                    row::to_json(&command.args)?,
                    command.state.as_str(),
                    command.issued_by,
                    command.transitions[0].at.0,
                    command.expires_at.0,
                    command.delivery.as_str(),
                    command.forced,
                    command.attempt,
                    command.progress,
                    result,
                    command.error,
                    code,
                    cancel_at,
                    cancel_by,
                    cancel_address,
                    group,
                ])?;
            (connection.last_insert_rowid(), 0)
        }
        Some((key, before, stored)) => {
            let before = state(&before)?;
            let stored = usize::try_from(stored).unwrap_or_default();
            // That each state may follow the one before it was seen above.
            let goes_on =
                stored > 0 && command.transitions.get(stored - 1).is_some_and(|last| last.state == before);
            if !goes_on {
                return Err(StoreError::WrongState { from: before, to: command.state });
            }
            if before.is_final() && command.transitions.len() == stored {
                return Ok(());
            }
            connection
                .prepare_cached(
                    "UPDATE command SET state = ?2, attempt = ?3, progress = ?4, result = ?5, error = ?6, code = ?7,
                                        cancel_at = ?8, cancel_by = ?9, cancel_address = ?10
                     WHERE command_key = ?1",
                )?
                .execute(rusqlite::params![
                    key,
                    command.state.as_str(),
                    command.attempt,
                    command.progress,
                    result,
                    command.error,
                    code,
                    cancel_at,
                    cancel_by,
                    cancel_address,
                ])?;
            (key, stored)
        }
    };
    let mut insert = connection.prepare_cached(
        "INSERT INTO command_transition (command_key, place, state, at, by, address) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (place, Transition { state, at, by, address }) in (0_i64..).zip(&command.transitions).skip(stored) {
        insert.execute((key, place, state.as_str(), at.0, by, address))?;
    }
    Ok(())
}

fn read_open(connection: &Connection) -> Result<Vec<CommandInfo>, StoreError> {
    read_all(connection, &format!("{SELECT} WHERE {OPEN} ORDER BY command_key"), [])
}

fn find(connection: &Connection, id: &CommandId) -> Result<Option<(i64, CommandInfo)>, StoreError> {
    connection
        .prepare_cached(&format!("{SELECT} WHERE command.id = ?1"))?
        .query_row([id.as_str()], |row| Ok(read(connection, row)))
        .optional()?
        .transpose()
}

fn read_all(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<CommandInfo>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut commands = Vec::new();
    while let Some(row) = rows.next()? {
        commands.push(read(connection, row)?.1);
    }
    Ok(commands)
}

fn read(connection: &Connection, row: &Row<'_>) -> Result<(i64, CommandInfo), StoreError> {
    let key: i64 = row.get(0)?;
    let transitions = read_transitions(connection, key)?;
    let cancel = match (row.get::<_, Option<i64>>(15)?, row.get::<_, Option<String>>(16)?) {
        (Some(at), Some(by)) => Some(Box::new(CancelAsked { at: Timestamp(at), by, address: row.get(17)? })),
        _ => None,
    };
    let command = CommandInfo {
        id: row::name(&row.get::<_, String>(1)?)?,
        device: row::name(&row.get::<_, String>(2)?)?,
        name: row::name(&row.get::<_, String>(3)?)?,
        args: row::json(&row.get::<_, String>(4)?)?,
        state: state(&row.get::<_, String>(5)?)?,
        issued_by: row.get(6)?,
        expires_at: Timestamp(row.get(7)?),
        attempt: row.get(8)?,
        progress: row.get(9)?,
        result: row.get::<_, Option<String>>(10)?.map(|text| row::json::<Json>(&text)).transpose()?,
        error: row.get(11)?,
        code: row.get::<_, Option<String>>(12)?.map(|text| row::name(&text)).transpose()?,
        delivery: delivery(&row.get::<_, String>(13)?)?,
        forced: row.get(14)?,
        cancel,
        group: row.get::<_, Option<String>>(18)?.map(|text| row::name(&text)).transpose()?,
        transitions,
    };
    Ok((key, command))
}

fn read_transitions(connection: &Connection, key: i64) -> Result<Vec<Transition>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT state, at, by, address FROM command_transition WHERE command_key = ?1 ORDER BY place",
    )?;
    let mut rows = statement.query([key])?;
    let mut transitions = Vec::new();
    while let Some(row) = rows.next()? {
        transitions.push(Transition {
            state: state(&row.get::<_, String>(0)?)?,
            at: Timestamp(row.get(1)?),
            by: row.get(2)?,
            address: row.get(3)?,
        });
    }
    Ok(transitions)
}

pub(crate) fn state(text: &str) -> Result<CommandState, StoreError> {
    CommandState::parse(text).ok_or_else(|| StoreError::corrupt(format!("a command in state {text:?}")))
}

fn delivery(text: &str) -> Result<Delivery, StoreError> {
    Delivery::parse(text).ok_or_else(|| StoreError::corrupt(format!("a command that is delivered {text:?}")))
}
