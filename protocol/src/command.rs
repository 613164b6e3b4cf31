//! The life of a command: its states and which may follow which (I-14).
//!
//! ```text
//! queued -> sent -> received -> running -> succeeded | failed
//!    |        |         |          |
//!    |        |         '-> rejected
//!    |        '-> unknown (resolved when the device answers for the id)
//!    |-> expired                   '-> cancelled | unresolved
//! ```
//!
//! `unknown` is open: the answer is awaited. `unresolved` is an end: nobody waits any more. Should its device say after all what
//! became of it, then that is what became of it.

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
    /// It was handed over, and how it ended is not known: no word came in its time, or the device lost it.
    Unresolved,
}

impl CommandState {
    /// All states, in the order of a life.
    pub const ALL: [Self; 11] = [
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
        Self::Unresolved,
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
            Self::Unresolved => "unresolved",
        }
    }

    /// Reads back what [`CommandState::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Whether nothing more is awaited. Nothing can follow, but for the late word of a device about what is `unresolved`.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Succeeded
                | Self::Failed
                | Self::Rejected
                | Self::Expired
                | Self::Cancelled
                | Self::Unresolved
        )
    }

    /// Whether it is in the device's hands, or may be.
    pub const fn is_out(self) -> bool {
        matches!(self, Self::Sent | Self::Unknown | Self::Received | Self::Running)
    }

    /// Whether `next` may follow this state. Never true for a state that was left before.
    pub const fn may_become(self, next: Self) -> bool {
        use CommandState::{
            Cancelled, Expired, Failed, Queued, Received, Rejected, Running, Sent, Succeeded, Unknown,
            Unresolved,
        };
        match self {
            Queued => matches!(next, Sent | Expired | Cancelled),
            Sent => matches!(
                next,
                Unknown | Received | Running | Succeeded | Failed | Rejected | Cancelled | Unresolved
            ),
            Unknown => {
                matches!(next, Received | Running | Succeeded | Failed | Rejected | Cancelled | Unresolved)
            }
            Received => matches!(next, Running | Succeeded | Failed | Rejected | Cancelled | Unresolved),
            Running => matches!(next, Succeeded | Failed | Cancelled | Unresolved),
            Unresolved => matches!(next, Succeeded | Failed | Rejected | Cancelled),
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
    /// I may have done it and cannot tell: I was switched off in the middle, or I have forgotten.
    Unresolved,
}

impl DeviceCommandState {
    /// Whether nothing can follow.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Received | Self::Running)
    }
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
            DeviceCommandState::Unresolved => Self::Unresolved,
        }
    }
}

/// When a command is handed over, seen from those issued before it to the same device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// As soon as those before it were handed over.
    #[default]
    AtOnce,
    /// When the device has confirmed those before it.
    AfterReceived,
    /// When those before it have ended.
    AfterFinished,
}

impl Delivery {
    /// All ways, the default first.
    pub const ALL: [Self; 3] = [Self::AtOnce, Self::AfterReceived, Self::AfterFinished];

    /// The way as it stands in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtOnce => "at_once",
            Self::AfterReceived => "after_received",
            Self::AfterFinished => "after_finished",
        }
    }

    /// Reads back what [`Delivery::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.as_str() == text)
    }

    /// Whether it is the default; for `skip_serializing_if`.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Codes with which the hub and the client library say why, beside the text. Devices have codes of their own.
pub mod code {
    /// `expired`, `rejected`: its time ran out before it was delivered, or before it could be started.
    pub const EXPIRED: &str = "expired";
    /// `unknown`: the connection was lost before an answer.
    pub const DISCONNECTED: &str = "disconnected";
    /// `unknown`: the device is connected and does not answer.
    pub const NO_ANSWER: &str = "no_answer";
    /// `unknown`: the hub was stopped or killed before an answer.
    pub const HUB_RESTARTED: &str = "hub_restarted";
    /// `unresolved`: the device is connected and said nothing more for longer than the command may take.
    pub const TIMEOUT: &str = "timeout";
    /// `unresolved`: the device did not come back, or never answered for it.
    pub const NEVER_ANSWERED: &str = "never_answered";
    /// `unresolved`: the device was switched off while it did it.
    pub const INTERRUPTED: &str = "interrupted";
    /// `unresolved`: the device may have begun it at an earlier time that it has forgotten.
    pub const FORGOTTEN: &str = "forgotten";
    /// `cancelled`: the device was asked to stop it before it had it.
    pub const NEVER_RECEIVED: &str = "never_received";
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
            assert_eq!(state.is_final() && state != CommandState::Unresolved, follows == 0, "{state}");
            assert_eq!(CommandState::parse(state.as_str()), Some(state));
        }
    }
}
