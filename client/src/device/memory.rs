//! Keeps what a device answered over a restart: a file of JSON lines, one for each command begun and each end.
//!
//! The first line says how far back the memory reaches. Lines are added and synced before the application hears of a command
//! and before the hub hears of its end. When the file has grown, it is written anew beside itself and renamed.
//! A last line that is cut short, by a power cut in the middle of a write, is left out: nobody was told of it.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use protocol::Timestamp;
use protocol::answers::{Answers, Record};
use protocol::limits::COMMANDS_REMEMBERED_MAX;
use serde_json::json;

/// Lines after which the file is written anew. Chosen: some hundred kilobytes.
const LINES_MAX: usize = COMMANDS_REMEMBERED_MAX * 4;

/// What is remembered, and where it is kept.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) answers: Answers,
    storage: Option<Storage>,
}

#[derive(Debug, Clone)]
struct Storage {
    path: PathBuf,
    lines: usize,
    /// What the first line says.
    since: Option<Timestamp>,
}

impl Memory {
    /// What a device has when it is switched on.
    pub(super) fn of(path: Option<&Path>) -> Result<Self, (&Path, io::Error)> {
        path.map_or_else(|| Ok(Self::default()), |path| Self::open(path).map_err(|error| (path, error)))
    }

    /// Reads what was kept, or begins.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let (since, records) = match File::open(path) {
            Ok(file) => read(file)?,
            Err(error) if error.kind() == ErrorKind::NotFound => (None, Vec::new()),
            Err(error) => return Err(error),
        };
        let answers = Answers::restore(since, records);
        // Written anew at the first change: what was interrupted is an end now.
        let storage = Storage { path: path.to_owned(), lines: LINES_MAX, since };
        rewrite(path, answers.known_since(), &answers.records())?;
        Ok(Self { answers, storage: Some(storage) })
    }

    /// What has to be written now; `None` if nothing has, or nothing is kept.
    pub(super) fn unsaved(&mut self) -> Option<Save> {
        let records = self.answers.unsaved();
        let storage = self.storage.as_mut()?;
        let since = self.answers.known_since();
        if records.is_empty() && since == storage.since {
            return None;
        }
        storage.lines += records.len();
        let whole = storage.lines > LINES_MAX || since != storage.since;
        let records = if whole { self.answers.records() } else { records };
        if whole {
            storage.lines = records.len();
            storage.since = since;
        }
        Some(Save { path: storage.path.clone(), since, records, whole })
    }
}

/// A write to the file. It takes as long as the disk does.
pub(super) struct Save {
    path: PathBuf,
    since: Option<Timestamp>,
    records: Vec<Record>,
    whole: bool,
}

impl Save {
    pub(super) fn run(self) -> io::Result<()> {
        if self.whole {
            return rewrite(&self.path, self.since, &self.records);
        }
        let mut file = File::options().append(true).open(&self.path)?;
        file.write_all(lines(&self.records)?.as_bytes())?;
        file.sync_data()
    }
}

fn lines(records: &[Record]) -> io::Result<String> {
    let mut text = String::new();
    for record in records {
        text.push_str(&serde_json::to_string(record)?);
        text.push('\n');
    }
    Ok(text)
}

fn rewrite(path: &Path, since: Option<Timestamp>, records: &[Record]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);
    let mut file = File::create(&beside)?;
    file.write_all(format!("{}\n{}", json!({ "known_since": since }), lines(records)?).as_bytes())?;
    file.sync_data()?;
    fs::rename(&beside, path)?;
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

fn read(file: File) -> io::Result<(Option<Timestamp>, Vec<Record>)> {
    let bad = |line: usize, problem: &dyn std::fmt::Display| {
        io::Error::new(ErrorKind::InvalidData, format!("line {line}: {problem}"))
    };
    let mut since = None;
    let mut records = Vec::new();
    let mut lines = BufReader::new(file);
    for number in 1.. {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            break;
        }
        if number == 1 {
            let head: serde_json::Value = serde_json::from_str(&line).map_err(|e| bad(number, &e))?;
            let known = head.get("known_since").ok_or_else(|| bad(number, &"no known_since"))?;
            since = known.as_i64().map(Timestamp);
        } else {
            records.push(serde_json::from_str(&line).map_err(|e| bad(number, &e))?);
        }
    }
    Ok((since, records))
}

#[cfg(test)]
mod tests {
    use protocol::command::DeviceCommandState;
    use protocol::device::{CommandRequest, CommandUpdate};

    use super::*;

    fn request(id: &str) -> CommandRequest {
        serde_json::from_value(
            json!({"id": id, "name": "start", "attempt": 1, "expires_at": 1_000, "sent_at": 10}),
        )
        .unwrap()
    }

    #[test]
    fn what_was_begun_and_what_was_done_is_there_after_a_restart_however_often() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commands");
        for round in 0..3 {
            let mut memory = Memory::open(&path).unwrap();
            memory.answers.on_connected(Timestamp(5 + round));
            assert_eq!(memory.answers.known_since(), Some(Timestamp(5)), "it reaches back to the first time");
            for n in 0..LINES_MAX / 2 {
                let id = format!("r{round}-{n}");
                memory.answers.on_command(&request(&id), None);
                memory.unsaved().unwrap().run().unwrap();
                memory.answers.set(CommandUpdate::new(id.parse().unwrap(), DeviceCommandState::Succeeded));
                memory.unsaved().unwrap().run().unwrap();
                while memory.answers.poll(0).is_some() {}
                memory.answers.on_pong(0);
                if n > 40 {
                    break;
                }
            }
            assert!(memory.unsaved().is_none());
            memory.answers.on_command(&request(&format!("cut{round}")), None);
            memory.unsaved().unwrap().run().unwrap();
            // A power cut in the middle of a line.
            let mut file = File::options().append(true).open(&path).unwrap();
            file.write_all(b"{\"update\":{\"id\":\"half").unwrap();
        }
        let memory = Memory::open(&path).unwrap();
        let ends: Vec<DeviceCommandState> =
            memory.answers.records().iter().map(|record| record.update.state).collect();
        assert_eq!(ends.iter().filter(|end| **end == DeviceCommandState::Unresolved).count(), 3);
        assert_eq!(ends.iter().filter(|end| **end == DeviceCommandState::Succeeded).count(), 3 * 42);
    }

    #[test]
    fn a_memory_that_cannot_be_read_is_an_error_and_not_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commands");
        fs::write(&path, "{\"known_since\":5}\nnonsense\n").unwrap();
        assert!(Memory::open(&path).unwrap_err().to_string().starts_with("line 2"));
    }
}
