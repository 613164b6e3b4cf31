//! Remembers which requests wait for an answer, so that none waits for ever: not when the connection goes, and not when
//! the hub answers in a way that cannot be read, or not at all.

use std::time::Duration;

use protocol::ErrorCode;
use protocol::device::ErrorMessage;
use protocol::viewer::{HubToViewer, ViewerMessage};
use tokio::time::Instant;

/// Most requests that wait at once. Chosen: eight times what a hub lets one viewer have in history alone.
const OPEN_MAX: usize = 256;
/// Longest wait for an answer, or for the next part of one. Chosen: longer than any answer takes that a
/// person still waits for.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

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
    Inspect,
}

impl Kind {
    const ALL: [Self; 11] = [
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
        Self::Inspect,
    ];
}

/// The requests that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    kind: Kind,
    id: u64,
    /// When the hub is given up on.
    deadline: Instant,
}

impl Requests {
    /// A message is about to be written. `Err` is the answer to give in the hub's place, if it may not be.
    pub(super) fn on_send(
        &mut self,
        message: &ViewerMessage,
        connected: bool,
        now: Instant,
    ) -> Result<(), ErrorMessage> {
        let Some((kind, id)) = request(message) else { return Ok(()) };
        if !connected {
            return Err(error(id, "not connected to the hub"));
        }
        if self.open.len() >= OPEN_MAX {
            let message = format!("{OPEN_MAX} requests wait for an answer already");
            return Err(ErrorMessage { id: Some(id), code: ErrorCode::LimitReached, message });
        }
        self.open.push(Open { kind, id, deadline: now + ANSWER_DEADLINE });
        Ok(())
    }

    /// A message arrived. Returns whether it answered a request, or was a part of an answer.
    pub(super) fn on_message(&mut self, message: &HubToViewer, now: Instant) -> bool {
        match message {
            HubToViewer::History(history) if history.more => self.goes_on(history.id, Kind::History, now),
            HubToViewer::History(history) => self.close(history.id, &[Kind::History]),
            HubToViewer::Latest(latest) if latest.more => self.goes_on(latest.id, Kind::Latest, now),
            HubToViewer::Latest(latest) => self.close(latest.id, &[Kind::Latest]),
            HubToViewer::Commands(commands) => self.close(commands.id, &[Kind::Commands]),
            HubToViewer::Command(event) => {
                event.id.is_some_and(|id| self.close(id, &[Kind::SendCommand, Kind::CancelCommand]))
            }
            HubToViewer::Group(event) => event.id.is_some_and(|id| self.close(id, &[Kind::Group])),
            HubToViewer::Groups(groups) => self.close(groups.id, &[Kind::Groups]),
            HubToViewer::Members(members) if members.more => self.goes_on(members.id, Kind::Members, now),
            HubToViewer::Members(members) => self.close(members.id, &[Kind::Members]),
            HubToViewer::Ledger(ledger) => self.close(ledger.id, &[Kind::Ledger]),
            HubToViewer::Connections(connections) => self.close(connections.id, &[Kind::Connections]),
            HubToViewer::Wire(wire) => self.close(wire.id, &[Kind::Inspect]),
            HubToViewer::Error(error) => error.id.is_some_and(|id| self.close(id, &Kind::ALL)),
            HubToViewer::Welcome(_)
            | HubToViewer::Devices(_)
            | HubToViewer::Subscribed(_)
            | HubToViewer::Readings(_) => false,
        }
    }

    fn close(&mut self, id: u64, kinds: &[Kind]) -> bool {
        let found = self.open.iter().position(|open| open.id == id && kinds.contains(&open.kind));
        found.map(|index| self.open.remove(index)).is_some()
    }

    /// A part of an answer has come, and more are to follow.
    fn goes_on(&mut self, id: u64, kind: Kind, now: Instant) -> bool {
        let found = self.open.iter_mut().find(|open| open.id == id && open.kind == kind);
        found.map(|open| open.deadline = now + ANSWER_DEADLINE).is_some()
    }

    /// Nobody listens to the hub now, so that it does not answer says nothing of it.
    pub(super) fn on_deaf(&mut self, now: Instant) {
        for open in &mut self.open {
            open.deadline = now + ANSWER_DEADLINE;
        }
    }

    /// When the next one is given up.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.open.iter().map(|open| open.deadline).min()
    }

    /// The answers to give in place of a hub that has not answered in time.
    pub(super) fn on_time(&mut self, now: Instant) -> Vec<ErrorMessage> {
        let seconds = ANSWER_DEADLINE.as_secs();
        let problem = format!("the hub has not answered for {seconds} s");
        self.open
            .extract_if(.., |open| open.deadline <= now)
            .map(|open| unanswered(&open, &problem))
            .collect()
    }

    /// The connection is gone: the answers to give in the hub's place.
    pub(super) fn on_disconnected(&mut self) -> Vec<ErrorMessage> {
        let problem = "the connection was lost before the answer came";
        self.open.drain(..).map(|open| unanswered(&open, problem)).collect()
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
        ViewerMessage::Inspect(_) => Kind::Inspect,
        ViewerMessage::Subscribe(_)
        | ViewerMessage::Unsubscribe(_)
        | ViewerMessage::StopInspecting(_)
        | ViewerMessage::Painted(_) => return None,
    };
    Some((kind, message.id()))
}

/// The answer in place of the hub's, which did not come.
fn unanswered(open: &Open, problem: &str) -> ErrorMessage {
    match open.kind {
        Kind::History
        | Kind::Latest
        | Kind::Commands
        | Kind::Groups
        | Kind::Members
        | Kind::Ledger
        | Kind::Connections
        | Kind::Inspect => error(open.id, problem),
        Kind::SendCommand | Kind::CancelCommand | Kind::Group => {
            let doubt = "the hub may or may not have taken it; the list of commands will tell";
            error(open.id, &format!("{problem}: {doubt}"))
        }
    }
}

fn error(id: u64, message: &str) -> ErrorMessage {
    ErrorMessage { id: Some(id), code: ErrorCode::Internal, message: message.to_owned() }
}
