//! A diary of what devices did with their commands: lines of JSON, so that what an operator was told can be compared with it.
//!
//! A line is one write to the end of the file: it is there whole, also when the fleet is killed the next moment.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use protocol::{CommandId, DeviceId, Timestamp};
use serde::{Deserialize, Serialize};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Did {
    /// It was begun.
    Begun,
    /// All of it was done.
    Done,
    /// It went wrong, or came to an end before its time.
    Failed,
    /// It was stopped on the way, as asked.
    Stopped,
    /// The device lost its power on the way.
    Cut,
    /// It was not tried.
    Refused,
}

/// A line of the diary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// When, by the clock of the machine.
    pub at: Timestamp,
    /// Who.
    pub device: DeviceId,
    /// With which command.
    pub command: CommandId,
    /// What.
    pub did: Did,
}

/// The diary of a fleet, or none.
#[derive(Debug)]
pub(crate) struct Deeds(Option<File>);

impl Deeds {
    /// Goes on with a file, or begins it.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        path.map(|path| File::options().create(true).append(true).open(path)).transpose().map(Self)
    }

    /// Writes a line down.
    pub(crate) fn note(&self, deed: &Deed) {
        let Some(mut file) = self.0.as_ref() else { return };
        let written = serde_json::to_string(deed)
            .map_err(io::Error::from)
            .and_then(|line| file.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = written {
            tracing::error!(%error, command = %deed.command, "a deed is not written down");
        }
    }
}
