//! A day in the life of a database, drawn from a seed: everything that a hub does to it, and what must come of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use crash_vfs::{Chance, Disk};
use protocol::command::{CommandState, Delivery};
use protocol::device::Hello;
use protocol::viewer::{CommandInfo, Transition};
use protocol::{DeviceId, Position, Seq, SeriesId, Timestamp, Value};
use serde_json::json;
use store::{
    Batch, BatchContent, DeviceKey, Outcome, Registered, Row, SealPolicy, StoreError, StreamKey, Writer,
};

use crate::picture::{Life, Picture};

/// 2026-01-01T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp(1_767_225_600_000_000);
/// The database in the folder.
pub(crate) const FILE: &str = "telemetry.db";
/// Rows of a slice of sealing or merging.
const SLICE: usize = 120;

/// Small runs, so that sealing and merging are never done.
const POLICY: SealPolicy = SealPolicy { keep: 60, run_min: 1, run_max: 500, pieces: 3, quiet: 600 };

pub(crate) fn hello(device: &str, epoch: u64) -> Hello {
    serde_json::from_value(json!({"device": device, "epoch": format!("e{epoch}"), "metrics": [
        {"name": "temperature", "unit": "Cel", "kind": "number"},
        {"name": "door", "kind": "bool"},
        {"name": "mode", "kind": "text"}],
        "commands": [{"name": "reset"}]}))
    .unwrap()
}

/// Opens the database of a disk as the hub does, with small runs of sealing.
pub(crate) fn open(disk: &Disk) -> Result<Writer, StoreError> {
    // This is what `Writer::open` does first of all (`leavings.rs`). The shim sees only what SQLite does.
    disk.note_rewrite(&format!("{FILE}-wal")).unwrap();
    disk.note_folder_sync();
    let mut writer = Writer::open(&disk.path(FILE))?;
    writer.set_seal_policy(POLICY);
    Ok(writer)
}

/// What the database holds by all that was told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Oracle {
    rows: Vec<Row>,
    /// The streams in the order of their keys, with the device and what is booked.
    streams: Vec<(DeviceId, [u64; 6])>,
    devices: Vec<(DeviceId, Vec<SeriesId>)>,
    commands: BTreeMap<String, Life>,
    seen: BTreeMap<DeviceId, Timestamp>,
}

impl Oracle {
    /// The same as [`Picture::take`] says of the database.
    pub(crate) fn picture(&self) -> Picture {
        let mut picture = Picture {
            position: self.rows.len() as i64,
            commands: self.commands.clone(),
            seen: self.seen.clone(),
            ..Picture::default()
        };
        let mut series: BTreeMap<SeriesId, BTreeMap<Timestamp, Value>> = BTreeMap::new();
        for (device, ids) in &self.devices {
            picture.accounts.insert(device.clone(), Vec::new());
            series.extend(ids.iter().map(|id| (*id, BTreeMap::new())));
        }
        for row in &self.rows {
            // Of two at the same time the first stored counts.
            series.get_mut(&row.series).unwrap().entry(row.at).or_insert_with(|| row.value.clone());
        }
        picture.series = series.into_iter().map(|(id, points)| (id, points.into_iter().collect())).collect();
        for (device, account) in &self.streams {
            picture.accounts.get_mut(device).unwrap().push(*account);
        }
        picture
    }

    /// The same as [`Writer::position`] says.
    pub(crate) fn position(&self) -> Position {
        Position(self.rows.len() as i64)
    }
}

/// One call: what had happened on the disk before and after it, and what the database holds once it returned.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) begun: usize,
    pub(crate) done: usize,
    pub(crate) after: Rc<Oracle>,
    /// What it would have held if the call had not failed.
    pub(crate) attempted: Option<Oracle>,
}

/// A device in one epoch.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) hello: Hello,
    registered: Registered,
    /// Every batch that it ever sent, in order.
    pub(crate) sent: Vec<Batch>,
}

/// A database and everyone who uses it.
pub(crate) struct Workload {
    pub(crate) disk: Disk,
    pub(crate) writer: Option<Writer>,
    chance: Chance,
    clock: i64,
    oracle: Rc<Oracle>,
    /// What the call under way makes of it.
    next: Oracle,
    pub(crate) streams: Vec<Stream>,
    open_commands: Vec<CommandInfo>,
    /// Whether only the writer may copy the log, as in the hub.
    pub(crate) alone: bool,
    pub(crate) steps: Vec<Step>,
}

impl Workload {
    pub(crate) fn new(seed: u64) -> Self {
        Self::on(Disk::new().unwrap(), seed)
    }

    pub(crate) fn on(disk: Disk, seed: u64) -> Self {
        let oracle = Rc::<Oracle>::default();
        let steps = vec![Step { begun: 0, done: 0, after: Rc::clone(&oracle), attempted: None }];
        Self {
            disk,
            writer: None,
            chance: Chance(seed),
            clock: NOW.0 + (seed % 1_000) as i64 * 3_600_000_000,
            oracle,
            next: Oracle::default(),
            streams: Vec::new(),
            open_commands: Vec::new(),
            alone: false,
            steps,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.disk.path(FILE)
    }

    /// Runs a call and notes what came of it. On an error nothing of it counts.
    fn step<T>(&mut self, call: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.next = (*self.oracle).clone();
        let begun = self.disk.events();
        let result = call(self);
        let next = std::mem::take(&mut self.next);
        let attempted = if result.is_ok() {
            self.oracle = Rc::new(next);
            None
        } else {
            Some(next)
        };
        let after = Rc::clone(&self.oracle);
        self.steps.push(Step { begun, done: self.disk.events(), after, attempted });
        result
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().unwrap()
    }

    pub(crate) fn open(&mut self) -> Result<(), StoreError> {
        self.step(|run| {
            run.writer = Some(open(&run.disk)?);
            Ok(())
        })?;
        Ok(())
    }

    /// Opens it, if it is not, and a few devices come.
    pub(crate) fn begin(&mut self) -> Result<(), StoreError> {
        if self.writer.is_none() {
            self.open()?;
        }
        for device in ["a", "b", "c"] {
            self.register(device, 1)?;
        }
        Ok(())
    }

    /// Does something.
    pub(crate) fn go(&mut self) -> Result<(), StoreError> {
        match self.chance.below(40) {
            0 => {
                let device = ["a", "b", "c", "d"][self.chance.below(4) as usize];
                let epoch = 1 + self.chance.below(3);
                self.register(device, epoch)
            }
            1 | 2 => self.touch(),
            3 | 4 => self.issue(),
            5..=7 => self.advance_command(),
            8..=15 => self.seal(),
            16..=18 => self.merge(),
            19 => self.step(|run| run.writer().checkpoint()),
            20 | 21 if !self.alone => self.passive_checkpoint(),
            22 if self.chance.one_in(4) && !self.alone => {
                // In the same step: what closing writes is nobody's news.
                self.step(|run| {
                    run.writer = None;
                    run.writer = Some(open(&run.disk)?);
                    Ok(())
                })
            }
            _ => self.append(),
        }
    }

    pub(crate) fn register(&mut self, device: &str, epoch: u64) -> Result<(), StoreError> {
        self.step(|run| {
            let hello = hello(device, epoch);
            let next = &mut run.next;
            if !next.devices.iter().any(|(id, _)| *id == hello.device) {
                let first = next.devices.len() as i64 * 3 + 1;
                next.devices.push((hello.device.clone(), (first..first + 3).map(SeriesId).collect()));
            }
            let known = run.streams.iter().find(|stream| stream.hello == hello).cloned();
            if known.is_none() {
                next.streams.push((hello.device.clone(), [0; 6]));
            }
            let last = StreamKey(next.streams.len() as i64);
            let registered = run.writer().register(&hello, NOW)?;
            match known {
                Some(stream) => assert_eq!(stream.registered.series, registered.series),
                None => {
                    assert_eq!(registered.stream, last);
                    run.streams.push(Stream { hello, registered, sent: Vec::new() });
                }
            }
            Ok(())
        })
    }

    /// Appends a few batches of several devices at once, now and then one that is none.
    pub(crate) fn append(&mut self) -> Result<(), StoreError> {
        self.step(|run| {
            let mut batches = Vec::new();
            let mut expected = Vec::new();
            let mut fresh = Vec::new();
            for _ in 0..=run.chance.below(4) {
                let place = run.chance.below(run.streams.len() as u64) as usize;
                let stream = run.streams[place].registered.stream;
                let account = &mut run.next.streams[place].1;
                let last = account[0];
                if run.chance.one_in(12) && last > 0 {
                    let seq = Seq(1 + run.chance.below(last));
                    let content = BatchContent::Refused;
                    batches.push(Batch { stream, after: Seq(seq.0 - 1), seq, content });
                    account[4] += 1;
                    expected.push(Outcome::Duplicate);
                    continue;
                }
                let (seq, content) = match run.chance.below(20) {
                    0 => {
                        account[2] += 1;
                        (last + 1, BatchContent::Refused)
                    }
                    1 => {
                        let lost = 1 + run.chance.below(3);
                        account[3] += lost;
                        (last + lost, BatchContent::Skipped)
                    }
                    _ => {
                        let rows = run.rows(place);
                        let account = &mut run.next.streams[place].1;
                        account[1] += 1;
                        account[5] += rows.len() as u64;
                        run.next.rows.extend(rows.iter().cloned());
                        (last + 1, BatchContent::Readings(rows))
                    }
                };
                run.next.streams[place].1[0] = seq;
                let batch = Batch { stream, after: Seq(last), seq: Seq(seq), content };
                fresh.push((place, batch.clone()));
                batches.push(batch);
                expected.push(Outcome::Settled);
            }
            let at = Timestamp(run.clock);
            let result = run.writer().append(&batches, at);
            // What had no room is not there, and another batch may take its number. What a failing disk took may be
            // there: the device has to send the same again.
            if !matches!(&result, Err(error) if !error.is_fatal()) {
                for (place, batch) in fresh {
                    let sent = &mut run.streams[place].sent;
                    if sent.last().is_none_or(|last| last.seq == batch.after) {
                        sent.push(batch);
                    }
                }
            }
            let appended = result?;
            assert_eq!(appended.outcomes, expected);
            assert_eq!(appended.last, run.next.position());
            Ok(())
        })
    }

    /// Readings of one device: most of them now, some late, some at a time that is taken.
    fn rows(&mut self, place: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        for _ in 0..=self.chance.below(24) {
            self.clock += self.chance.below(2_000_000) as i64;
            let at = match self.chance.below(20) {
                0 => self.clock - self.chance.below(90_000_000_000) as i64,
                1 => self.clock / 60_000_000 * 60_000_000,
                _ => self.clock,
            };
            let metric = self.chance.below(3) as usize;
            let n = self.chance.below(400);
            let value = match metric {
                0 => Value::from(n as f64 / 8.0),
                1 => Value::from(n.is_multiple_of(2)),
                _ => Value::from(["idle", "running", "failed"][n as usize % 3]),
            };
            let series = self.streams[place].registered.series[metric];
            rows.push(Row { series, at: Timestamp(at), value });
        }
        rows
    }

    pub(crate) fn seal(&mut self) -> Result<(), StoreError> {
        self.step(|run| run.writer().seal(SLICE).map(drop))
    }

    pub(crate) fn merge(&mut self) -> Result<(), StoreError> {
        self.step(|run| run.writer().merge(SLICE).map(drop))
    }

    /// The checkpoint that the writer makes by itself when the log has grown long, here sooner, through another
    /// connection: the log is not emptied, and the next commit begins it anew.
    fn passive_checkpoint(&mut self) -> Result<(), StoreError> {
        self.step(|run| {
            let connection = rusqlite::Connection::open(run.path()).map_err(StoreError::Sqlite)?;
            let done = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            done.map_err(StoreError::Sqlite)
        })
    }

    pub(crate) fn touch(&mut self) -> Result<(), StoreError> {
        self.step(|run| {
            let place = run.chance.below(run.streams.len() as u64) as usize;
            let (device, at) = (run.streams[place].registered.device, Timestamp(run.clock));
            run.next.seen.insert(run.streams[place].hello.device.clone(), at);
            run.writer().touch(&[(DeviceKey(device.0), at)])
        })
    }

    pub(crate) fn issue(&mut self) -> Result<(), StoreError> {
        self.step(|run| {
            let id = format!("c{}", run.next.commands.len() + 1);
            let place = run.chance.below(run.streams.len() as u64) as usize;
            let at = Timestamp(run.clock);
            run.next.commands.insert(id.clone(), (CommandState::Queued, 0, vec![CommandState::Queued]));
            let command = CommandInfo {
                id: id.parse().unwrap(),
                device: run.streams[place].hello.device.clone(),
                name: "reset".parse().unwrap(),
                args: serde_json::Map::new(),
                state: CommandState::Queued,
                issued_by: "operator".into(),
                expires_at: at.plus_micros(300_000_000),
                attempt: 0,
                progress: None,
                result: None,
                error: None,
                code: None,
                delivery: Delivery::AtOnce,
                forced: false,
                cancel: None,
                group: None,
                transitions: vec![Transition {
                    state: CommandState::Queued,
                    at,
                    by: "operator".into(),
                    address: None,
                }],
            };
            run.writer().save_commands(&[], &[&command])?;
            run.open_commands.push(command);
            Ok(())
        })
    }

    fn advance_command(&mut self) -> Result<(), StoreError> {
        if self.open_commands.is_empty() {
            return self.issue();
        }
        self.step(|run| {
            let place = run.chance.below(run.open_commands.len() as u64) as usize;
            let mut command = run.open_commands[place].clone();
            let life = run.next.commands.get_mut(command.id.as_str()).unwrap();
            let state = match life.0 {
                CommandState::Queued => CommandState::Sent,
                CommandState::Sent => CommandState::Received,
                CommandState::Received => CommandState::Running,
                _ => CommandState::Succeeded,
            };
            life.0 = state;
            life.1 += u32::from(state == CommandState::Sent);
            life.2.push(state);
            command.attempt = life.1;
            command.state = state;
            let (at, by) = (Timestamp(run.clock), "device".to_owned());
            command.transitions.push(Transition { state, at, by, address: None });
            run.writer.as_mut().unwrap().save_commands(&[], &[&command])?;
            run.open_commands[place] = command;
            if state == CommandState::Succeeded {
                run.open_commands.remove(place);
            }
            Ok(())
        })
    }
}

/// Lets devices come back to a database that holds the beginning of what they sent, and send again what they must; then
/// seals and merges to the end. Every reading that was ever sent must be there.
pub(crate) fn go_on(disk: &Disk, writer: &mut Writer, streams: &[Stream]) {
    for stream in streams {
        let registered = writer.register(&stream.hello, NOW).unwrap();
        assert_eq!(registered.stream, stream.registered.stream);
        assert_eq!(registered.series, stream.registered.series);
        let again = stream.sent.partition_point(|batch| batch.seq <= registered.settled);
        if let Some(before) = again.checked_sub(1) {
            assert_eq!(stream.sent[before].seq, registered.settled, "settled in the middle of a batch");
            let appended = writer.append(&stream.sent[before..=before], NOW).unwrap();
            assert_eq!(appended.outcomes, [Outcome::Duplicate]);
        }
        if again < stream.sent.len() {
            let appended = writer.append(&stream.sent[again..], NOW).unwrap();
            assert!(appended.outcomes.iter().all(|outcome| *outcome == Outcome::Settled));
        }
    }
    let mut rounds = 0;
    while writer.seal(10_000).unwrap().more || writer.merge(10_000).unwrap().more {
        rounds += 1;
        assert!(rounds < 10_000, "sealing does not end");
    }
    let picture = Picture::take(&disk.path(FILE));
    let mut expected: BTreeMap<SeriesId, Vec<Timestamp>> = BTreeMap::new();
    for batch in streams.iter().flat_map(|stream| &stream.sent) {
        if let BatchContent::Readings(rows) = &batch.content {
            for row in rows {
                expected.entry(row.series).or_default().push(row.at);
            }
        }
    }
    for (series, mut times) in expected {
        times.sort_unstable();
        times.dedup();
        assert!(picture.series[&series].iter().map(|(at, _)| *at).eq(times), "{series:?}");
    }
}
