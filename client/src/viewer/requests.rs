//! Remembers which requests wait for an answer, so that none waits for ever when the connection goes.

use protocol::ErrorCode;
use protocol::device::ErrorMessage;
use protocol::viewer::{HubToViewer, ViewerMessage};

/// Most requests that wait at once. Chosen: eight times what a hub lets one viewer have in history alone.
const OPEN_MAX: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    History,
    Latest,
    SendCommand,
    CancelCommand,
    Commands,
    /// A group that is issued, cancelled or retried.
    Group,
    Groups,
    Members,
    Ledger,
    Connections,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::History,
        Self::Latest,
        Self::SendCommand,
        Self::CancelCommand,
        Self::Commands,
        Self::Group,
        Self::Groups,
        Self::Members,
        Self::Ledger,
        Self::Connections,
    ];
}

/// The requests that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: Vec<(Kind, u64)>,
}

impl Requests {
    /// A message is about to be written. `Err` is the answer to give in the hub's place, if it may not be.
    pub(super) fn on_send(&mut self, message: &ViewerMessage, connected: bool) -> Result<(), ErrorMessage> {
        let Some((kind, id)) = request(message) else { return Ok(()) };
        if !connected {
            return Err(error(id, "not connected to the hub"));
        }
        if self.open.len() >= OPEN_MAX {
            let message = format!("{OPEN_MAX} requests wait for an answer already");
            return Err(ErrorMessage { id: Some(id), code: ErrorCode::LimitReached, message });
        }
        self.open.push((kind, id));
        Ok(())
    }

    /// A message arrived. Returns whether it answered a request, or was a part of an answer.
    pub(super) fn on_message(&mut self, message: &HubToViewer) -> bool {
        match message {
            HubToViewer::History(history) if history.more => true,
            HubToViewer::History(history) => self.close(history.id, &[Kind::History]),
            HubToViewer::Latest(latest) if latest.more => true,
            HubToViewer::Latest(latest) => self.close(latest.id, &[Kind::Latest]),
            HubToViewer::Commands(commands) => self.close(commands.id, &[Kind::Commands]),
            HubToViewer::Command(event) => {
                event.id.is_some_and(|id| self.close(id, &[Kind::SendCommand, Kind::CancelCommand]))
            }
            HubToViewer::Group(event) => event.id.is_some_and(|id| self.close(id, &[Kind::Group])),
            HubToViewer::Groups(groups) => self.close(groups.id, &[Kind::Groups]),
            HubToViewer::Members(members) if members.more => true,
            HubToViewer::Members(members) => self.close(members.id, &[Kind::Members]),
            HubToViewer::Ledger(ledger) => self.close(ledger.id, &[Kind::Ledger]),
            HubToViewer::Connections(connections) => self.close(connections.id, &[Kind::Connections]),
            HubToViewer::Error(error) => error.id.is_some_and(|id| self.close(id, &Kind::ALL)),
            HubToViewer::Welcome(_)
            | HubToViewer::Devices(_)
            | HubToViewer::Subscribed(_)
            | HubToViewer::Readings(_) => false,
        }
    }

    fn close(&mut self, id: u64, kinds: &[Kind]) -> bool {
        let found = self.open.iter().position(|(kind, open)| *open == id && kinds.contains(kind));
        found.map(|index| self.open.remove(index)).is_some()
    }

    /// The connection is gone: the answers to give in the hub's place.
    pub(super) fn on_disconnected(&mut self) -> Vec<ErrorMessage> {
        let lost = |(kind, id)| match kind {
            Kind::History
            | Kind::Latest
            | Kind::Commands
            | Kind::Groups
            | Kind::Members
            | Kind::Ledger
            | Kind::Connections => error(id, "the connection was lost before the answer came"),
            Kind::SendCommand | Kind::CancelCommand | Kind::Group => error(
                id,
                "the connection was lost before the answer came: the hub may or may not have taken it; \
                 the list of commands will tell",
            ),
        };
        self.open.drain(..).map(lost).collect()
    }
}

const fn request(message: &ViewerMessage) -> Option<(Kind, u64)> {
    let kind = match message {
        ViewerMessage::History(_) => Kind::History,
        ViewerMessage::Latest(_) => Kind::Latest,
        ViewerMessage::SendCommand(_) => Kind::SendCommand,
        ViewerMessage::CancelCommand(_) => Kind::CancelCommand,
        ViewerMessage::Commands(_) => Kind::Commands,
        ViewerMessage::SendGroup(send) if send.dry_run => Kind::Members,
        ViewerMessage::SendGroup(_) | ViewerMessage::CancelGroup(_) | ViewerMessage::RetryGroup(_) => {
            Kind::Group
        }
        ViewerMessage::Groups(_) => Kind::Groups,
        ViewerMessage::Members(_) => Kind::Members,
        ViewerMessage::Ledger(_) => Kind::Ledger,
        ViewerMessage::Connections(_) => Kind::Connections,
        ViewerMessage::Subscribe(_) | ViewerMessage::Unsubscribe(_) => return None,
    };
    Some((kind, message.id()))
}

fn error(id: u64, message: &str) -> ErrorMessage {
    ErrorMessage { id: Some(id), code: ErrorCode::Internal, message: message.to_owned() }
}
