//! The life of a command: its states and which may follow which (I-14).
//!
//! ```text
//! queued -> sent -> received -> running -> succeeded | failed
//!    |        |         |          |
//!    |        |         '-> rejected
//!    |        '-> unknown (resolved when the device answers for the id)
//!    |-> expired                   '-> cancelled
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a command is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// Stored; not handed to the device yet.
    Queued,
    /// Written to the device's connection.
    Sent,
    /// Sent, and the connection or the hub went down before an answer.
    Unknown,
    /// The device has it.
    Received,
    /// The device is doing it.
    Running,
    /// Done.
    Succeeded,
    /// Tried, and it went wrong.
    Failed,
    /// The device refused to try: a bad argument, a wrong state.
    Rejected,
    /// Its time ran out before it was delivered.
    Expired,
    /// An operator took it back.
    Cancelled,
}

impl CommandState {
    /// All states, in the order of a life.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Sent,
        Self::Unknown,
        Self::Received,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Rejected,
        Self::Expired,
        Self::Cancelled,
    ];

    /// The state as it stands in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Unknown => "unknown",
            Self::Received => "received",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads back what [`CommandState::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Whether nothing can follow.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Rejected | Self::Expired | Self::Cancelled)
    }

    /// Whether `next` may follow this state. Never true for a state that was left before.
    pub const fn may_become(self, next: Self) -> bool {
        use CommandState::{
            Cancelled, Expired, Failed, Queued, Received, Rejected, Running, Sent, Succeeded, Unknown,
        };
        match self {
            Queued => matches!(next, Sent | Expired | Cancelled),
            Sent => {
                matches!(next, Unknown | Received | Running | Succeeded | Failed | Rejected | Cancelled)
            }
            Unknown => matches!(next, Received | Running | Succeeded | Failed | Rejected | Cancelled),
            Received => matches!(next, Running | Succeeded | Failed | Rejected | Cancelled),
            Running => matches!(next, Succeeded | Failed | Cancelled),
            Succeeded | Failed | Rejected | Expired | Cancelled => false,
        }
    }
}

impl fmt::Display for CommandState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The states that a device reports in `command_update`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceCommandState {
    /// I have it.
    Received,
    /// I am doing it.
    Running,
    /// Done.
    Succeeded,
    /// Tried, and it went wrong.
    Failed,
    /// I refuse to try.
    Rejected,
    /// I stopped because I was asked to by `cancel`.
    Cancelled,
}

impl From<DeviceCommandState> for CommandState {
    fn from(state: DeviceCommandState) -> Self {
        match state {
            DeviceCommandState::Received => Self::Received,
            DeviceCommandState::Running => Self::Running,
            DeviceCommandState::Succeeded => Self::Succeeded,
            DeviceCommandState::Failed => Self::Failed,
            DeviceCommandState::Rejected => Self::Rejected,
            DeviceCommandState::Cancelled => Self::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i_14_states_only_move_forward() {
        fn visit(path: &mut Vec<CommandState>) {
            let here = path[path.len() - 1];
            for next in CommandState::ALL {
                if here.may_become(next) {
                    assert!(!path.contains(&next), "{path:?} comes back to {next}");
                    path.push(next);
                    visit(path);
                    path.pop();
                }
            }
        }
        visit(&mut vec![CommandState::Queued]);
    }

    #[test]
    fn every_life_can_end_and_final_states_stay() {
        for state in CommandState::ALL {
            let follows = CommandState::ALL.into_iter().filter(|next| state.may_become(*next)).count();
            assert_eq!(state.is_final(), follows == 0, "{state}");
            assert_eq!(CommandState::parse(state.as_str()), Some(state));
        }
    }
}
