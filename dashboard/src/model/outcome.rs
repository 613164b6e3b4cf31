//! What a state of a command means to a person: a short name, and a sentence where the name is not enough.

use protocol::command::{CommandState, code};
use protocol::group::MemberState;
use protocol::viewer::CommandInfo;

/// The state in a word or two.
///
/// `unknown` is open, the answer may still come; `unresolved` is an end, nobody will ever know. Their names in the
/// protocol say that to a program; these say it to an operator.
pub const fn label(state: CommandState) -> &'static str {
    match state {
        CommandState::Queued => "waiting",
        CommandState::Sent => "sent",
        CommandState::Unknown => "no answer yet",
        CommandState::Received => "received",
        CommandState::Running => "running",
        CommandState::Succeeded => "succeeded",
        CommandState::Failed => "failed",
        CommandState::Rejected => "refused",
        CommandState::Expired => "expired",
        CommandState::Cancelled => "cancelled",
        CommandState::Unresolved => "outcome not known",
    }
}

/// Where a member of a group is, in a word or two.
pub const fn member_label(state: MemberState) -> &'static str {
    match state {
        MemberState::Waiting => "not begun",
        MemberState::Refused => "left out",
        MemberState::Skipped => "stopped before its turn",
        MemberState::Issued(state) => label(state),
    }
}

/// What that means and what to do, where the name alone does not say it. `connected`: whether the device is there.
pub fn meaning(command: &CommandInfo, connected: bool) -> Option<String> {
    let why = command.code.as_ref().map(protocol::MetricName::as_str);
    let text = match (command.state, why) {
        (CommandState::Queued, _) if !connected => {
            "The device is offline. It gets the command when it is back, unless that expires before."
        }
        (CommandState::Unknown, Some(code::NO_ANSWER)) => {
            "The device has it and has not said a word about it. It may be doing it. An answer still counts."
        }
        (CommandState::Unknown, Some(code::HUB_RESTARTED)) => {
            "The hub was restarted before the device answered. The device may have done it; it is asked again."
        }
        (CommandState::Unknown, _) => {
            "The device was told and its connection was lost before it answered. It may have done it; it is asked \
             when it is back."
        }
        (CommandState::Unresolved, Some(code::TIMEOUT)) => {
            "The device took it and then said nothing for longer than it may take. It may have done it, wholly or in \
             part: look at the device before you send it again."
        }
        (CommandState::Unresolved, Some(code::NEVER_ANSWERED)) => {
            "The device was told and never answered. It may have done it: look at the device before you send it \
             again."
        }
        (CommandState::Unresolved, Some(code::INTERRUPTED)) => {
            "The device was switched off while it did it. It may be done in part: look at the device before you send \
             it again."
        }
        (CommandState::Unresolved, Some(code::FORGOTTEN)) => {
            "The device does not remember whether it did it, and did not do it again: look at the device before you \
             send it again."
        }
        (CommandState::Unresolved, _) => {
            "Nobody will know how it ended. It may have been done: look at the device before you send it again."
        }
        (CommandState::Expired, _) => "It was not delivered in time. The device never had it.",
        (CommandState::Cancelled, Some(code::NEVER_RECEIVED)) => {
            "It was taken back before the device had it. Nothing was done."
        }
        (CommandState::Rejected, Some(code::EXPIRED)) => "It reached the device too late. Nothing was done.",
        _ => return None,
    };
    Some(text.to_owned())
}
