//! The session of a viewer: snapshots, subscriptions, history, and commands where the role allows them.
//!
//! Writing has a task of its own, so that a viewer that does not read blocks nothing but itself (I-5): its commits
//! run past it, it is conflated and told so, catches up from the store, and is closed when it stays stuck.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Join, Ready, join, ready};
use futures_util::stream::{FuturesOrdered, SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use protocol::desk::Actor;
use protocol::limits::{self as wire, ViewerLimits};
use protocol::select::Select;
use protocol::viewer::{
    CancelGroup, CommandEvent, CommandInfo, Commands, CommandsRequest, Connections, ConnectionsRequest,
    DeviceInfo, Devices, ErrorMessage, GroupEvent, GroupInfo, Groups, GroupsRequest, HistoryRequest,
    HubToViewer, LatestRequest, Ledger, LedgerRequest, Member, Members, MembersRequest, Painted, RetryGroup,
    Role, SendGroup, Subscribe, Subscribed, ViewerMessage, ViewerWelcome,
};
use protocol::{CloseCode, DeviceId, ErrorCode, Position, SeriesId, Timestamp, Value};
use store::{CommandFilter, CredentialRole, Since, StoreError};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::inspections::{Inspections, TELL_INTERVAL};
use super::past::{answer_history, answer_latest};
use super::subscription::Subscription;
use super::{End, Heartbeat, Peer, Socket, close_frame, end_of, linger, too_fast, until};
use crate::access;
use crate::clock;
use crate::commands::{Event, Pending};
use crate::groups;
use crate::limits::Limit;
use crate::live::Commit;
use crate::rates::{Pace, Turn};
use crate::serve::Hub;

/// Readings in one message: at some 30 bytes each, well below the size of a message.
pub(crate) const READINGS_PER_MESSAGE: usize = 10_000;
/// Devices in one part of the snapshot.
pub(crate) const DEVICES_PER_MESSAGE: usize = 200;
/// Bytes of JSON in one list of devices, commands or members, well below `HUB_MESSAGE_MAX_BYTES`.
pub(crate) const LIST_BYTES: usize = 2 * 1024 * 1024;
/// Readings read from the store at once to catch up.
const CATCH_UP_ROWS: usize = 20_000;
/// Commands told again to a viewer that fell behind.
pub(crate) const COMMANDS_AGAIN: usize = 200;
/// Groups told again to such a viewer.
const GROUPS_AGAIN: usize = wire::GROUPS_OPEN_MAX;

type Sink = SplitSink<Socket, Message>;

/// Runs the session from the 101 to the close.
pub async fn run(hub: Arc<Hub>, socket: Socket, peer: Peer) {
    let (sink, mut stream) = socket.split();
    let limits = &hub.config.limits;
    let waiting = limits.count(Limit::ViewerMessagesWaiting);
    let (out, queue) = mpsc::channel(waiting);
    let (bulk, bulk_queue) = mpsc::channel(waiting);
    let (ending, ended) = oneshot::channel();
    let stuck = limits.time(Limit::ViewerStuckSeconds);
    let writing = tokio::spawn(write_all(sink, queue, bulk_queue, ended, stuck));
    tracing::info!(session = peer.name(), address = %peer.address, role = ?peer.principal.role, "viewer connected");
    let _counted = hub.metrics.session(&peer.principal.role);
    let mut session = Session {
        role: match peer.principal.role {
            // An administrator is an operator, as far as this protocol goes.
            CredentialRole::Operator | CredentialRole::Admin => Role::Operator,
            CredentialRole::Viewer | CredentialRole::Device(_) | CredentialRole::Fleet => Role::Viewer,
        },
        pace: Pace::new(&peer.principal.role, limits, Instant::now()),
        slowed: None,
        hub: Arc::clone(&hub),
        peer,
        out,
        bulk,
        subscriptions: BTreeMap::new(),
        orders: FuturesOrdered::new(),
        histories: Arc::new(AtomicUsize::new(0)),
        inspections: Inspections::default(),
        heartbeat: Heartbeat::new(limits, clock::now()),
    };
    let revoked = session.peer.revoked.clone();
    // Whatever it waits for: a viewer that reads nothing must not stay by that.
    let end = tokio::select! {
        biased;
        () = revoked.cancelled() => End::close(CloseCode::Revoked),
        served = session.serve(&mut stream) => match served {
            Ok(()) => End::close(CloseCode::GoingAway),
            Err(end) => end,
        },
    };
    tracing::info!(session = session.peer.name(), ?end, "viewer disconnected");
    drop(session);
    // The writing task may have ended by itself.
    let at_once = matches!(end, End::Close(CloseCode::Revoked, _));
    ending.send(at_once).unwrap_or_default();
    finish(&hub, stream, writing, &end).await;
}

/// Writes what must not wait first, and then what is much. Returns the sink when it is told to end and all is written, or at
/// once if it is told that; or when there is no way: the viewer does not read, or is gone.
async fn write_all(
    mut sink: Sink,
    mut queue: mpsc::Receiver<Message>,
    mut bulk: mpsc::Receiver<Message>,
    mut ended: oneshot::Receiver<bool>,
    stuck: Duration,
) -> Sink {
    let mut ending = false;
    // Whether there is something in the buffer of the socket: what is due at one time is one write, and wakes the viewer once.
    let mut fed = false;
    loop {
        let message = tokio::select! {
            biased;
            at_once = &mut ended, if !ending => {
                if at_once == Ok(true) {
                    return sink;
                }
                // What is in the queues is still written, and nothing more comes in.
                ending = true;
                queue.close();
                bulk.close();
                continue;
            }
            Some(message) = queue.recv() => Some(message),
            Some(message) = bulk.recv() => Some(message),
            () = ready(()), if fed => None,
            else => return sink,
        };
        fed = message.is_some();
        let written = async {
            match message {
                Some(message) => sink.feed(message).await,
                None => sink.flush().await,
            }
        };
        match tokio::time::timeout(stuck, written).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return sink,
        }
    }
}

/// Says why, if we are the ones who close, and waits for the answer; each for a bounded time. One that was stuck gets a while
/// to read as far as the reason.
async fn finish(hub: &Hub, mut stream: SplitStream<Socket>, writing: JoinHandle<Sink>, end: &End) {
    let limits = &hub.config.limits;
    let was_stuck = matches!(end, End::Close(CloseCode::TooSlow, _));
    let patience = limits.time(if was_stuck { Limit::WriteSeconds } else { Limit::CloseSeconds });
    let abort = writing.abort_handle();
    let farewell = async {
        let Ok(mut sink) = writing.await else { return };
        if let End::Close(code, reason) = end {
            let frame = Message::Close(Some(close_frame(*code, reason)));
            if sink.send(frame).await.is_err() {
                return;
            }
        }
        while let Some(Ok(_)) = stream.next().await {}
        if let Ok(mut socket) = stream.reunite(sink) {
            linger(socket.get_mut()).await;
        }
    };
    let in_time = tokio::select! {
        done = tokio::time::timeout(patience, farewell) => done.is_ok(),
        () = hub.stopping.cancelled(), if was_stuck => false,
    };
    if !in_time {
        hub.metrics.reached(Limit::CloseSeconds);
        abort.abort();
    }
}

struct Session {
    hub: Arc<Hub>,
    peer: Peer,
    role: Role,
    /// What must not wait behind readings: answers, commands, changes of devices, pings.
    out: mpsc::Sender<Message>,
    /// Readings, and answers that are long. When full, the session keeps what it has and conflates.
    bulk: mpsc::Sender<Message>,
    /// How fast it may send.
    pace: Pace,
    /// It was above its rate: until then it is not read.
    slowed: Option<Instant>,
    subscriptions: BTreeMap<u64, Subscription>,
    /// What is asked of commands and is not stored yet, in order.
    orders: FuturesOrdered<Join<Ready<u64>, Pending<Arc<CommandInfo>>>>,
    /// History requests that are being answered.
    histories: Arc<AtomicUsize>,
    inspections: Inspections,
    heartbeat: Heartbeat,
}

type Answer = Result<(), ErrorMessage>;
/// What became of a request about a command, with its id.
type Order = (u64, Result<Arc<CommandInfo>, ErrorMessage>);

pub(super) fn refuse(id: u64, code: ErrorCode, message: impl Into<String>) -> ErrorMessage {
    ErrorMessage { id: Some(id), code, message: message.into() }
}

fn no_device(id: u64, device: &DeviceId) -> ErrorMessage {
    refuse(id, ErrorCode::NotFound, format!("no device {device}"))
}

pub(super) fn store_trouble(id: u64, error: &StoreError) -> ErrorMessage {
    match error {
        StoreError::Invalid(problem) => return refuse(id, ErrorCode::BadField, problem.clone()),
        error if error.is_request() => return refuse(id, ErrorCode::BadField, error.to_string()),
        _ => {}
    }
    tracing::error!(%error, "a query failed");
    refuse(id, ErrorCode::Internal, error.to_string())
}

impl Session {
    async fn say(&self, message: impl Into<HubToViewer>) -> Result<(), End> {
        self.put(&self.out, message).await
    }

    /// Says what may wait until all else is said.
    async fn say_later(&self, message: impl Into<HubToViewer>) -> Result<(), End> {
        self.put(&self.bulk, message).await
    }

    async fn put(&self, queue: &mpsc::Sender<Message>, message: impl Into<HubToViewer>) -> Result<(), End> {
        let text = Message::Text(message.into().encode().into());
        let text = match queue.try_send(text) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(text) | TrySendError::Closed(text)) => text,
        };
        self.hub.metrics.reached(Limit::ViewerMessagesWaiting);
        tokio::select! {
            biased;
            sent = queue.send(text) => sent.map_err(|_| super::reached(&self.hub, Limit::ViewerStuckSeconds)),
            // The viewer does not read: that must not hold up the stop.
            () = self.hub.stopping.cancelled() => Err(End::close(CloseCode::GoingAway)),
        }
    }

    /// Serves until the hub stops.
    async fn serve(&mut self, stream: &mut SplitStream<Socket>) -> Result<(), End> {
        let hub = Arc::clone(&self.hub);
        let out = self.out.clone();
        let mut commits = hub.live.commits();
        let mut changes = hub.directory.changes();
        let mut commands = hub.commands.events();
        let limits = &hub.config.limits;
        self.say(ViewerWelcome {
            session: self.peer.name(),
            server_time: clock::now(),
            role: self.role,
            position: hub.live.position(),
            limits: ViewerLimits {
                message_bytes: limits.get(Limit::ViewerMessageBytes),
                subscriptions: limits.get(Limit::Subscriptions) as u32,
                max_hz: limits.get(Limit::SubscriptionHz) as f64,
                history_points: limits.get(Limit::HistoryPoints),
                history_pending: limits.get(Limit::HistoryPending) as u32,
            },
            heartbeat_seconds: hub.config.heartbeat.as_secs() as u32,
        })
        .await?;
        self.say_devices().await?;
        let mut beat = self.heartbeat.timer();
        let mut wire = tokio::time::interval(TELL_INTERVAL);
        wire.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = self.subscriptions.values().filter_map(Subscription::due).min();
            let sleep_until = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
            tokio::select! {
                () = hub.stopping.cancelled() => return self.drain().await,
                () = out.closed() => return Err(super::reached(&hub, Limit::ViewerStuckSeconds)),
                () = until(self.slowed), if self.slowed.is_some() => self.take_turn().await?,
                message = stream.next(), if self.is_read() => match message {
                    Some(Ok(message)) => self.heard(message).await?,
                    Some(Err(error)) => return Err(end_of(&hub, Limit::ViewerMessageBytes, &error)),
                    None => return Err(End::Gone("connection lost".into())),
                },
                Some(order) = self.orders.next(), if !self.orders.is_empty() => self.ordered(order).await?,
                commit = commits.recv() => {
                    // A new series is told of before its first reading is committed: hear of it first.
                    loop {
                        match changes.try_recv() {
                            Ok(device) => self.device_changed(&device).await?,
                            Err(TryRecvError::Lagged(_)) => self.devices_again().await?,
                            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                        }
                    }
                    match commit {
                        Ok(commit) => self.take(&commit),
                        Err(RecvError::Lagged(_)) => self.catch_up_all().await,
                        Err(RecvError::Closed) => return Ok(()),
                    }
                },
                () = tokio::time::sleep_until(sleep_until), if due.is_some() => self.flush(),
                change = changes.recv() => match change {
                    Ok(device) => self.device_changed(&device).await?,
                    Err(RecvError::Lagged(_)) => self.devices_again().await?,
                    Err(RecvError::Closed) => return Ok(()),
                },
                command = commands.recv() => match command {
                    Ok(Event::Command(command)) => {
                        self.say(CommandEvent { id: None, command: (*command).clone() }).await?;
                    }
                    Ok(Event::Group(group)) => {
                        self.say(GroupEvent { id: None, group: Box::new((*group).clone()) }).await?;
                    }
                    Err(RecvError::Lagged(_)) => self.say_commands_again().await?,
                    Err(RecvError::Closed) => return Ok(()),
                },
                _ = wire.tick(), if !self.inspections.is_empty() => self.say_wire().await?,
                _ = beat.tick() => {
                    self.peer.check_expiry(clock::now())?;
                    if !self.is_read() {
                        // We do not read it, so its silence means nothing.
                        self.heartbeat.forgive();
                    }
                    let ping = self.heartbeat.beat(&hub, clock::now())?;
                    // Full: the viewer is behind; its silence is counted all the same.
                    drop(self.out.try_send(ping));
                }
            }
        }
    }

    /// Whether the next message of the viewer is read.
    fn is_read(&self) -> bool {
        self.slowed.is_none() && self.orders.len() < self.hub.config.limits.count(Limit::OrdersWaiting)
    }

    /// Reads on, or waits, as the rate of the viewer allows.
    async fn take_turn(&mut self) -> Result<(), End> {
        self.slowed = match self.pace.turn(Instant::now()) {
            Turn::Read => None,
            Turn::Wait(time, begins) => {
                if let Some(limit) = begins {
                    self.hub.metrics.slowed(limit);
                    tracing::info!(
                        session = self.peer.name(),
                        limit = limit.name(),
                        "above its rate: it is read more slowly"
                    );
                }
                Some(time)
            }
            Turn::Refuse(refusal) => {
                let (told, end) = too_fast(&self.hub, &refusal);
                self.say(told).await?;
                return Err(end);
            }
        };
        Ok(())
    }

    /// The hub stops: nothing more is read, what was ordered is answered.
    async fn drain(&mut self) -> Result<(), End> {
        let hub = Arc::clone(&self.hub);
        loop {
            tokio::select! {
                order = self.orders.next() => match order {
                    Some(order) => self.ordered(order).await?,
                    None => return Ok(()),
                },
                () = hub.deadline.cancelled() => return Ok(()),
            }
        }
    }

    async fn heard(&mut self, message: Message) -> Result<(), End> {
        super::turn().await;
        let now = clock::now();
        self.heartbeat.heard(now);
        self.pace.on_message(Instant::now());
        match message {
            Message::Text(text) => self.read(&text).await?,
            Message::Binary(_) => return Err(End::close(CloseCode::Unsupported)),
            Message::Pong(payload) => self.heartbeat.pong(&payload, now),
            Message::Ping(_) | Message::Frame(_) => {}
            Message::Close(frame) => return Err(End::left(frame)),
        }
        if self.orders.len() >= self.hub.config.limits.count(Limit::OrdersWaiting) {
            self.hub.metrics.reached(Limit::OrdersWaiting);
        }
        self.take_turn().await
    }

    async fn read(&mut self, text: &str) -> Result<(), End> {
        let error = match ViewerMessage::decode(text) {
            Ok(message) => match self.answer(message).await? {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
            Err(error) => {
                let id = match &error {
                    protocol::DecodeError::BadField { number, .. } => *number,
                    protocol::DecodeError::Malformed(_) | protocol::DecodeError::UnknownType { .. } => None,
                };
                let message = error.to_string();
                self.hub.metrics.reached_in(&message);
                ErrorMessage { id, code: error.code(), message }
            }
        };
        self.say(error).await
    }

    /// The refusal of a request that reached a limit.
    fn limited(&self, id: u64, limit: Limit, found: impl Into<String>) -> ErrorMessage {
        self.hub.metrics.reached(limit);
        refuse(id, ErrorCode::LimitReached, self.hub.config.limits.refusal(limit, found).to_string())
    }

    /// The refusal of a number that is above its limit.
    fn out_of_bounds(&self, id: u64, limit: Limit, found: impl Into<String>) -> ErrorMessage {
        ErrorMessage { code: ErrorCode::BadField, ..self.limited(id, limit, found) }
    }

    /// How many rows of a list are asked for.
    fn list_rows(&self, id: u64, limit: Option<u32>) -> Result<usize, ErrorMessage> {
        self.hub.config.limits.list_rows(limit).map_err(|problem| {
            self.hub.metrics.reached_in(&problem);
            refuse(id, ErrorCode::BadField, problem)
        })
    }

    /// Whether a selection names more than it may.
    fn check_select(&self, id: u64, select: &Select) -> Answer {
        let named = select.devices.len() + select.metrics.len() + select.series.len();
        if named > self.hub.config.limits.count(Limit::SelectEntries) {
            let found = format!("select: {named} patterns and series");
            return Err(self.limited(id, Limit::SelectEntries, found));
        }
        Ok(())
    }

    async fn answer(&mut self, message: ViewerMessage) -> Result<Answer, End> {
        if let Err(error) = self.may_say(&message) {
            return Ok(Err(error));
        }
        match message {
            ViewerMessage::Subscribe(request) => self.subscribe(request).await,
            ViewerMessage::Unsubscribe(request) => {
                self.subscriptions.remove(&request.id);
                Ok(Ok(()))
            }
            ViewerMessage::History(request) => Ok(self.history(request)),
            ViewerMessage::Latest(request) => Ok(self.latest(request)),
            ViewerMessage::SendCommand(request) => {
                let id = request.id;
                let answer = self.hub.commands.begin_issue(request, self.actor()).await;
                self.orders.push_back(join(ready(id), answer));
                Ok(Ok(()))
            }
            ViewerMessage::CancelCommand(request) => {
                let id = request.id;
                let answer = self.hub.commands.begin_cancel(request.command, self.actor()).await;
                self.orders.push_back(join(ready(id), answer));
                Ok(Ok(()))
            }
            ViewerMessage::Commands(request) => {
                self.finish_orders().await?;
                self.commands(request).await
            }
            ViewerMessage::SendGroup(request) => self.send_group(request).await,
            ViewerMessage::CancelGroup(CancelGroup { id, group, begun }) => {
                let answer = self.hub.commands.cancel_group(group, begun, self.actor()).await;
                self.say_group(id, answer).await
            }
            ViewerMessage::RetryGroup(RetryGroup { id, group, states }) => {
                let answer = groups::retry(&self.hub, group, states, self.actor()).await;
                self.say_group(id, answer).await
            }
            ViewerMessage::Groups(request) => self.groups(request).await,
            ViewerMessage::Ledger(LedgerRequest { id, device }) => self.ledger(id, device).await,
            ViewerMessage::Connections(ConnectionsRequest { id, device }) => {
                self.connections(id, device).await
            }
            ViewerMessage::Inspect(request) => {
                self.hub.audit.done("inspect", self.actor(), format!("device {}", request.device));
                match self.inspections.begin(&self.hub, request) {
                    Ok(wire) => self.say(wire).await.map(Ok),
                    Err(error) => Ok(Err(error)),
                }
            }
            ViewerMessage::StopInspecting(request) => {
                self.inspections.end(request.id);
                Ok(Ok(()))
            }
            ViewerMessage::Painted(painted) => Ok(self.painted(&painted)),
            ViewerMessage::Members(MembersRequest { id, group, states }) => {
                let members = groups::members(&self.hub, group, states).await;
                self.say_members(id, members).await
            }
        }
    }

    /// Notes what became of traces.
    fn painted(&self, painted: &Painted) -> Answer {
        let waits = painted.waits.len();
        if waits > self.hub.config.limits.count(Limit::PaintedWaits) {
            return Err(self.out_of_bounds(painted.id, Limit::PaintedWaits, format!("waits: {waits}")));
        }
        for (travelled, painted) in &painted.waits {
            self.hub.metrics.arrived.note(Duration::from_micros(u64::from(*travelled)));
            self.hub.metrics.painted.note(Duration::from_micros(u64::from(*painted)));
        }
        Ok(())
    }

    /// Whoever asks what is stored sees what it ordered before.
    async fn finish_orders(&mut self) -> Result<(), End> {
        while let Some(order) = self.orders.next().await {
            self.ordered(order).await?;
        }
        Ok(())
    }

    /// What was asked of a command is stored, or refused.
    async fn ordered(&self, (id, answer): Order) -> Result<(), End> {
        match answer {
            Ok(command) => self.say(CommandEvent { id: Some(id), command: (*command).clone() }).await,
            Err(error) => self.say(ErrorMessage { id: Some(id), ..error }).await,
        }
    }

    /// What went over the wire of inspected devices. A viewer that is behind is told later, and how much it missed.
    async fn say_wire(&mut self) -> Result<(), End> {
        if self.out.capacity() <= self.out.max_capacity() / 2 {
            return Ok(());
        }
        for wire in self.inspections.due() {
            self.say(wire).await?;
        }
        Ok(())
    }

    /// Whoever speaks here, for the audit trail.
    fn actor(&self) -> Actor {
        Actor { by: self.peer.principal.label.clone(), address: Some(self.peer.address.to_string()) }
    }

    /// Holds a message against the table of who may send it.
    fn may_say(&self, message: &ViewerMessage) -> Answer {
        let need = access::viewer_message(message);
        if need.allows(Some(&self.peer.principal.role)) {
            return Ok(());
        }
        let subject = format!("message {}", message.kind());
        self.hub.metrics.forbidden.add(1);
        self.hub.audit.refused("request", self.actor(), subject, need.refusal());
        Err(refuse(message.id(), ErrorCode::Forbidden, need.refusal()))
    }

    async fn say_devices(&self) -> Result<(), End> {
        let (mut part, mut bytes) = (Vec::new(), 0);
        for (device, heard) in self.hub.directory.heard() {
            let device = DeviceInfo { last_seen: heard.or(device.last_seen), ..DeviceInfo::clone(&device) };
            let more = json_bytes(&device);
            if !part.is_empty() && (part.len() >= DEVICES_PER_MESSAGE || bytes + more > LIST_BYTES) {
                let devices = std::mem::take(&mut part);
                self.say(Devices { devices, snapshot: true, more: true }).await?;
                bytes = 0;
            }
            bytes += more;
            part.push(device);
        }
        self.say(Devices { devices: part, snapshot: true, more: false }).await
    }

    /// Changes of devices ran past this session: all are told again.
    async fn devices_again(&mut self) -> Result<(), End> {
        self.hub.metrics.reached(Limit::DevicesBehind);
        for subscription in self.subscriptions.values_mut() {
            choose_again(&self.hub, subscription);
        }
        self.say_devices().await
    }

    async fn device_changed(&mut self, device: &DeviceInfo) -> Result<(), End> {
        for subscription in self.subscriptions.values_mut() {
            for metric in &device.metrics {
                if subscription.select.matches(
                    metric.series,
                    device.id.as_str(),
                    metric.declaration.name.as_str(),
                ) {
                    subscription.add_series(metric.series);
                }
            }
        }
        self.say(Devices { devices: vec![device.clone()], snapshot: false, more: false }).await
    }

    async fn say_commands_again(&self) -> Result<(), End> {
        self.hub.metrics.reached(Limit::CommandsBehind);
        let again = self.hub.readers.read(|reader| {
            let commands = reader.commands(&CommandFilter::default(), COMMANDS_AGAIN)?;
            Ok((commands, reader.groups(None, GROUPS_AGAIN)?))
        });
        match again.await {
            Ok((commands, groups)) => {
                for group in groups.into_iter().rev() {
                    self.say(GroupEvent { id: None, group: Box::new(group) }).await?;
                }
                for command in commands.into_iter().rev() {
                    self.say(CommandEvent { id: None, command }).await?;
                }
                Ok(())
            }
            Err(error) => self.say(ErrorMessage { id: None, ..store_trouble(0, &error) }).await,
        }
    }

    async fn subscribe(&mut self, request: Subscribe) -> Result<Answer, End> {
        let id = request.id;
        let most_hz = self.hub.config.limits.get(Limit::SubscriptionHz) as f64;
        let max_hz = request.max_hz.unwrap_or(wire::DEFAULT_HZ.min(most_hz));
        let limits = &self.hub.config.limits;
        if max_hz > limits.get(Limit::SubscriptionHz) as f64 {
            return Ok(Err(self.out_of_bounds(id, Limit::SubscriptionHz, format!("max_hz: {max_hz}"))));
        }
        if max_hz.is_nan() || max_hz < wire::MIN_HZ {
            let problem = format!("max_hz: {max_hz} is below {}: ask for more", wire::MIN_HZ);
            return Ok(Err(refuse(id, ErrorCode::BadField, problem)));
        }
        if let Some(traces) = request.traces.filter(|traces| u64::from(*traces) > limits.get(Limit::Traces)) {
            return Ok(Err(self.out_of_bounds(id, Limit::Traces, format!("traces: {traces}"))));
        }
        if let Err(error) = self.check_select(id, &request.select) {
            return Ok(Err(error));
        }
        let limits = &self.hub.config.limits;
        let open = self.subscriptions.len();
        if !self.subscriptions.contains_key(&id) && open >= limits.count(Limit::Subscriptions) {
            let found = format!("{open} subscriptions are open");
            return Ok(Err(self.limited(id, Limit::Subscriptions, found)));
        }
        let waiting_max = limits.count(Limit::ReadingsWaiting);
        let chosen = self.hub.directory.select(&request.select);
        let series = chosen.len() as u64;
        let since = request.since;
        let mut resumed = false;
        let mut subscription = Subscription::new(
            request,
            chosen,
            since.unwrap_or_default(),
            max_hz,
            waiting_max,
            Instant::now(),
        );
        if let Some(since) = since {
            resumed = catch_up(&self.hub, &mut subscription).await;
            if resumed {
                self.say(Subscribed { id, series, position: since, resumed }).await?;
            }
        }
        if !resumed {
            let (position, latest) = latest(&self.hub, &mut subscription);
            subscription = subscription.restart(position);
            subscription.fill_snapshot(latest);
            let series = subscription.series();
            self.say(Subscribed { id, series, position, resumed }).await?;
            // At once, so that nothing new is taken for a part of the snapshot.
            loop {
                let part = subscription.message(READINGS_PER_MESSAGE, Instant::now());
                self.say_later(part).await?;
                if !subscription.is_snapshot() {
                    break;
                }
            }
        }
        self.subscriptions.insert(id, subscription);
        Ok(Ok(()))
    }

    fn take(&mut self, commit: &Commit) {
        self.hub.metrics.fan_out.note(commit.made.elapsed());
        for subscription in self.subscriptions.values_mut() {
            if subscription.take_commit(commit) {
                self.hub.metrics.reached(Limit::ReadingsWaiting);
            }
        }
    }

    /// Commits ran past this session: what they held is read from the store, or named as omitted.
    async fn catch_up_all(&mut self) {
        self.hub.metrics.reached(Limit::CommitsBehind);
        for subscription in self.subscriptions.values_mut() {
            if !catch_up(&self.hub, subscription).await {
                let (position, latest) = latest(&self.hub, subscription);
                let missed = position.0.saturating_sub(subscription.position.0).max(0) as u64;
                self.hub.metrics.omitted.add(missed);
                subscription.omit(missed, Timestamp(0), clock::now());
                subscription.position = position;
                for (series, at, value) in latest {
                    subscription.take(&store::Row { series, at, value });
                }
            }
        }
    }

    /// Sends what is due, as far as the writing task takes it.
    fn flush(&mut self) {
        let now = Instant::now();
        for subscription in self.subscriptions.values_mut() {
            while subscription.due().is_some_and(|due| due <= now) {
                let Ok(permit) = self.bulk.try_reserve() else {
                    subscription.postpone(now);
                    break;
                };
                let message = HubToViewer::from(subscription.message(READINGS_PER_MESSAGE, now));
                permit.send(Message::Text(message.encode().into()));
            }
        }
    }

    /// Answers in a task of its own, so that a long answer does not hold up live readings.
    fn history(&self, request: HistoryRequest) -> Answer {
        let id = request.id;
        if !self.hub.directory.has_series(request.series) {
            return Err(refuse(id, ErrorCode::NotFound, format!("no series {}", request.series.0)));
        }
        if request.from >= request.to {
            return Err(refuse(id, ErrorCode::BadField, "from must be before to"));
        }
        let (hub, out) = (Arc::clone(&self.hub), self.bulk.clone());
        self.answer_aside(id, async move { answer_history(&hub, &out, &request).await })
    }

    /// The latest readings, as of a time if one is named. Answered as history is.
    fn latest(&self, request: LatestRequest) -> Answer {
        let id = request.id;
        self.check_select(id, &request.select)?;
        let (hub, out) = (Arc::clone(&self.hub), self.bulk.clone());
        self.answer_aside(id, async move { answer_latest(&hub, &out, request).await })
    }

    /// Answers in a task of its own, unless too many are under way. `Err(None)` of the work: the viewer is gone.
    fn answer_aside(
        &self,
        id: u64,
        work: impl Future<Output = Result<(), Option<ErrorMessage>>> + Send + 'static,
    ) -> Answer {
        let pending = self.histories.load(Ordering::Relaxed);
        if pending >= self.hub.config.limits.count(Limit::HistoryPending) {
            let found = format!("{pending} requests wait for an answer");
            return Err(self.limited(id, Limit::HistoryPending, found));
        }
        self.histories.fetch_add(1, Ordering::Relaxed);
        let (out, histories) = (self.bulk.clone(), Arc::clone(&self.histories));
        self.hub.tasks.spawn(async move {
            let answered = work.await;
            histories.fetch_sub(1, Ordering::Relaxed);
            if let Err(Some(error)) = answered {
                // The session is gone: nobody to tell.
                drop(out.send(Message::Text(HubToViewer::from(error).encode().into())).await);
            }
        });
        Ok(())
    }

    async fn send_group(&self, asked: SendGroup) -> Result<Answer, End> {
        let SendGroup { id, request, dry_run } = asked;
        if dry_run {
            return self.say_members(id, groups::dry_run(&self.hub, &request)).await;
        }
        let answer = groups::send(&self.hub, request, self.actor()).await;
        self.say_group(id, answer).await
    }

    async fn say_group(&self, id: u64, answer: Result<GroupInfo, ErrorMessage>) -> Result<Answer, End> {
        match answer {
            Ok(group) => self.say(GroupEvent { id: Some(id), group: Box::new(group) }).await.map(Ok),
            Err(error) => Ok(Err(ErrorMessage { id: Some(id), ..error })),
        }
    }

    async fn say_members(&self, id: u64, members: Result<Vec<Member>, ErrorMessage>) -> Result<Answer, End> {
        let members = match members {
            Ok(members) => members,
            Err(error) => return Ok(Err(ErrorMessage { id: Some(id), ..error })),
        };
        let (mut part, mut bytes) = (Vec::new(), 0);
        for member in members {
            let size = json_bytes(&member);
            if !part.is_empty() && bytes + size > LIST_BYTES {
                self.say(Members { id, members: std::mem::take(&mut part), more: true }).await?;
                bytes = 0;
            }
            part.push(member);
            bytes += size;
        }
        self.say(Members { id, members: part, more: false }).await?;
        Ok(Ok(()))
    }

    async fn ledger(&self, id: u64, device: DeviceId) -> Result<Answer, End> {
        let asked = device.clone();
        match self.hub.readers.read(move |reader| reader.account(&asked)).await {
            Ok(Some(account)) => self.say(Ledger { id, account: account.told() }).await.map(Ok),
            Ok(None) => Ok(Err(no_device(id, &device))),
            Err(error) => Ok(Err(store_trouble(id, &error))),
        }
    }

    async fn connections(&self, id: u64, device: DeviceId) -> Result<Answer, End> {
        let asked = device.clone();
        match self.hub.readers.read(move |reader| reader.connections(&asked)).await {
            Ok(Some(connections)) => self.say(Connections { id, device, connections }).await.map(Ok),
            Ok(None) => Ok(Err(no_device(id, &device))),
            Err(error) => Ok(Err(store_trouble(id, &error))),
        }
    }

    async fn groups(&self, request: GroupsRequest) -> Result<Answer, End> {
        let GroupsRequest { id, group, before, limit } = request;
        let limit = match self.list_rows(id, limit) {
            Ok(limit) => limit,
            Err(error) => return Ok(Err(error)),
        };
        let query = self.hub.readers.read(move |reader| match group {
            Some(group) => Ok(reader.group(&group)?.into_iter().collect()),
            None => reader.groups(before, limit),
        });
        match query.await {
            Ok(mut groups) => {
                truncate(&mut groups);
                self.say(Groups { id, groups }).await.map(Ok)
            }
            Err(error) => Ok(Err(store_trouble(id, &error))),
        }
    }

    async fn commands(&self, request: CommandsRequest) -> Result<Answer, End> {
        let id = request.id;
        let limit = match self.list_rows(id, request.limit) {
            Ok(limit) => limit,
            Err(error) => return Ok(Err(error)),
        };
        let CommandsRequest { device, before, states, name, by, since, group, .. } = request;
        let filter = CommandFilter { device, states, name, by, since, before, group };
        let query = self.hub.readers.read(move |reader| reader.commands(&filter, limit));
        match query.await {
            Ok(mut commands) => {
                truncate(&mut commands);
                self.say(Commands { id, commands }).await.map(Ok)
            }
            Err(error) => Ok(Err(store_trouble(id, &error))),
        }
    }
}

/// Shortens a list to what fits in a message: at most `limit` was asked for, and the rest is to be had by `before`.
fn truncate(list: &mut Vec<impl serde::Serialize>) {
    let mut bytes = 0;
    let fitting = list.iter().take_while(|item| {
        bytes += json_bytes(*item);
        bytes <= LIST_BYTES
    });
    let fitting = fitting.count();
    list.truncate(fitting.max(1));
}

/// Adds the series that appeared since the subscription last chose.
fn choose_again(hub: &Hub, subscription: &mut Subscription) {
    for series in hub.directory.select(&subscription.select) {
        subscription.add_series(series);
    }
}

/// The latest reading of each series of a subscription, and the position up to which that is so.
fn latest(hub: &Hub, subscription: &mut Subscription) -> (Position, Vec<(SeriesId, Timestamp, Value)>) {
    loop {
        let chosen = hub.directory.select(&subscription.select);
        let (position, latest) = hub.live.latest(&chosen);
        // A series that appeared in between may have readings up to that position, which would be passed over.
        if hub.directory.select(&subscription.select).len() == chosen.len() {
            choose_again(hub, subscription);
            return (position, latest);
        }
    }
}

/// Reads what a subscription missed from the store. False: it is too much, or not there any more in this order.
async fn catch_up(hub: &Hub, subscription: &mut Subscription) -> bool {
    loop {
        let after = subscription.position;
        let behind = hub.live.position().0.saturating_sub(after.0);
        if behind.cast_unsigned() > hub.config.limits.get(Limit::CatchUpReadings) {
            hub.metrics.reached(Limit::CatchUpReadings);
            return false;
        }
        match hub.readers.read(move |reader| reader.since(after, CATCH_UP_ROWS)).await {
            Ok(Since::Rows { rows, last }) => {
                // Whatever has readings was in the directory before.
                choose_again(hub, subscription);
                subscription.take_rows(last, rows.iter().map(|(position, row)| (*position, row)));
                if rows.len() < CATCH_UP_ROWS {
                    return true;
                }
            }
            Ok(Since::Gone) => return false,
            Err(error) => {
                tracing::error!(%error, "a subscription could not catch up");
                return false;
            }
        }
    }
}

/// The size of a value as JSON.
fn json_bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_string(value).map_or(0, |text| text.len())
}
