//! Commands and their lives: each state is stored, with its time and who caused it, before anyone is told (I-14).

use protocol::command::CommandState;
use protocol::viewer::{CommandInfo, Transition};
use protocol::{CommandId, DeviceId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::Value as Json;

use crate::device;
use crate::error::StoreError;
use crate::reader::Reader;
use crate::row;
use crate::types::CommandChange;
use crate::writer::{Commit, Writer};

const SELECT: &str =
    "SELECT command_key, command.id, device.id, name, args, state, issued_by, expires_at, attempt,
                             progress, result, error
                      FROM command JOIN device USING (device_key)";
/// Repeats the condition of the index `command_open` word for word, which is what makes SQLite use it.
const OPEN: &str = "state IN ('queued', 'sent', 'unknown', 'received', 'running')";

impl Writer {
    /// Stores a command with its life so far, which begins with `queued`.
    ///
    /// A device that is not known is [`StoreError::NotFound`], an id that is taken [`StoreError::Exists`].
    pub fn create_command(&mut self, command: &CommandInfo) -> Result<(), StoreError> {
        check_life(command)?;
        let issued_at = command.transitions[0].at;
        self.link.transact(Commit::Synced, |connection| {
            let device = device::find_device(connection, &command.device)?.ok_or(StoreError::NotFound("device"))?;
            if find(connection, &command.id)?.is_some() {
                return Err(StoreError::Exists("command"));
            }
            connection
                .prepare_cached(
                    "INSERT INTO command (id, device_key, name, args, state, issued_by, issued_at, expires_at, attempt,
                                          progress, result, error)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                )?
                .execute((
                    command.id.as_str(),
                    device.0,
                    command.name.as_str(),
                    row::to_json(&command.args)?,
                    command.state.as_str(),
                    &command.issued_by,
                    issued_at.0,
                    command.expires_at.0,
                    command.attempt,
                    finite(command.progress)?,
                    command.result.as_ref().map(row::to_json).transpose()?,
                    &command.error,
                ))?;
            let key = connection.last_insert_rowid();
            for (place, transition) in (0..).zip(&command.transitions) {
                add_transition(connection, key, place, transition)?;
            }
            Ok(())
        })
    }

    /// Changes a command and returns it as it is then.
    ///
    /// A state that may not follow is [`StoreError::WrongState`]. Naming the state that it is in changes no state: news
    /// of a command that is running. A command whose life has ended takes no news.
    pub fn update_command(&mut self, change: &CommandChange) -> Result<CommandInfo, StoreError> {
        self.link.transact(Commit::Synced, |connection| {
            let (key, mut command) = find(connection, &change.id)?.ok_or(StoreError::NotFound("command"))?;
            let to = change.state.unwrap_or(command.state);
            if to != command.state {
                if !command.state.may_become(to) {
                    return Err(StoreError::WrongState { from: command.state, to });
                }
                let transition = Transition { state: to, at: change.at, by: change.by.clone() };
                add_transition(connection, key, command.transitions.len() as i64, &transition)?;
                command.transitions.push(transition);
                command.state = to;
            } else if to.is_final() {
                return Err(StoreError::WrongState { from: to, to });
            }
            command.attempt = change.attempt.unwrap_or(command.attempt);
            command.progress = finite(change.progress)?.or(command.progress);
            command.result = change.result.clone().or(command.result);
            command.error = change.error.clone().or(command.error);
            connection
                .prepare_cached(
                    "UPDATE command SET state = ?2, attempt = ?3, progress = ?4, result = ?5, error = ?6
                     WHERE command_key = ?1",
                )?
                .execute((
                    key,
                    command.state.as_str(),
                    command.attempt,
                    command.progress,
                    command.result.as_ref().map(row::to_json).transpose()?,
                    &command.error,
                ))?;
            Ok(command)
        })
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

    /// Commands of one device or of all, issued before a time or at any, newest first, at most `limit`.
    pub fn commands(
        &self,
        device: Option<&DeviceId>,
        before: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<CommandInfo>, StoreError> {
        let before = before.map_or(i64::MAX, |at| at.0);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        const ORDER: &str = "ORDER BY issued_at DESC, command_key DESC LIMIT ?2";
        self.snapshot(|connection| match device {
            None => read_all(connection, &format!("{SELECT} WHERE issued_at < ?1 {ORDER}"), (before, limit)),
            Some(device) => match device::find_device(connection, device)? {
                None => Ok(Vec::new()),
                Some(key) => read_all(
                    connection,
                    &format!("{SELECT} WHERE issued_at < ?1 AND command.device_key = ?3 {ORDER}"),
                    (before, limit, key.0),
                ),
            },
        })
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

fn finite(progress: Option<f64>) -> Result<Option<f64>, StoreError> {
    match progress {
        Some(progress) if !progress.is_finite() => {
            Err(StoreError::Invalid("progress that is not finite".into()))
        }
        other => Ok(other),
    }
}

fn add_transition(
    connection: &Connection,
    key: i64,
    place: i64,
    transition: &Transition,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO command_transition (command_key, place, state, at, by) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((key, place, transition.state.as_str(), transition.at.0, &transition.by))?;
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
        transitions,
    };
    Ok((key, command))
}

fn read_transitions(connection: &Connection, key: i64) -> Result<Vec<Transition>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT state, at, by FROM command_transition WHERE command_key = ?1 ORDER BY place",
    )?;
    let mut rows = statement.query([key])?;
    let mut transitions = Vec::new();
    while let Some(row) = rows.next()? {
        transitions.push(Transition {
            state: state(&row.get::<_, String>(0)?)?,
            at: Timestamp(row.get(1)?),
            by: row.get(2)?,
        });
    }
    Ok(transitions)
}

fn state(text: &str) -> Result<CommandState, StoreError> {
    CommandState::parse(text).ok_or_else(|| StoreError::corrupt(format!("a command in state {text:?}")))
}
