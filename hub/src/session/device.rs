//! The session of a device: hello, welcome, then batches in and acks out, commands out and answers in.
//!
//! What arrives is decided on by `protocol::inbox`; what the ingest thread has settled is acknowledged here, once for
//! all batches of a commit (I-1). A device that sends faster than the hub stores is not read for a while.
//! What it says of its commands goes on to the task of commands, in order, and does not wait here to be stored.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::FuturesOrdered;
use futures_util::{SinkExt as _, StreamExt as _, poll};
use protocol::codec::{self, DecodeError};
use protocol::desk::Actor;
use protocol::device::{
    Ack, CommandUpdate, DeviceMessage, ErrorMessage, Hello, HubToDevice, RawReadings, Refuse, Welcome,
};
use protocol::inbox::{Inbox, Ticket, Verdict};
use protocol::limits::{DeviceLimits, METRIC_NAME_MAX_BYTES};
use protocol::value::ValueRef;
use protocol::viewer::EndedBy;
use protocol::{CloseCode, DeviceId, ErrorCode, Kind, RefuseCode, SeriesId, Timestamp};
use store::{
    BatchContent, ConnectionEvent, ConnectionNote, CredentialRole, Registered, Row, StoreError, StreamKey,
};
use tokio::time::{Instant, Interval};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::ahead::Ahead;
use super::{End, Heartbeat, Peer, Socket, close, end_of, too_fast, turn, until, write};
use crate::clock;
use crate::commands::Pending;
use crate::directory::{LastHeard, Present, SESSION_QUEUE, SessionSender, ToSession};
use crate::ingest::{Arrival, Completions, Fate};
use crate::late::Watch;
use crate::limits::{Limit, Limits, Refusal};
use crate::mailbox::{self, mailbox};
use crate::rates::{Pace, Turn};
use crate::serve::Hub;
use crate::wire::Connected;

/// How long a device waits before it sends again what the disk had no room for.
const RETRY_STORAGE_MILLIS: u64 = 2_000;
/// The same for what could not be stored for another reason.
const RETRY_FAILED_MILLIS: u64 = 1_000;

/// Bytes that are read at once. A device at rest costs little more than this; a batch is read in a few pieces.
const READ_BYTES: usize = 2 * 1024;
/// What is older when it comes was kept, or its time is wrong: how long it took says nothing of the way. Chosen.
const WAY_MAX: Duration = Duration::from_hours(24);
/// How often the buffers of a device may be renewed that sends again and again.
const REST_INTERVAL: Duration = Duration::from_secs(1);

/// The limits of a device's socket.
pub fn socket_config(limits: &Limits) -> WebSocketConfig {
    super::socket_config(
        READ_BYTES,
        limits.count(Limit::DeviceMessageBytes),
        limits.count(Limit::DeviceUnsentBytes),
    )
}

/// The same line with buffers as they are in the beginning. The library keeps one of the size of the largest message that it
/// has read, for as long as the connection is there; in ten thousand devices that adds up. Only for a socket that is at rest,
/// as what stood in the buffers is gone.
async fn renewed(hub: &Hub, socket: Socket) -> Socket {
    let config = Some(socket_config(&hub.config.limits));
    WebSocketStream::from_raw_socket(socket.into_inner(), Role::Server, config).await
}

/// Runs the session from the 101 to the close.
pub async fn run(hub: Arc<Hub>, mut socket: Socket, peer: Peer) {
    let (mut hello, bytes) = match Box::pin(expect_hello(&hub, &mut socket, &peer)).await {
        Ok(hello) => hello,
        Err(end) => {
            tracing::info!(session = peer.name(), address = %peer.address, ?end, "device refused");
            return Box::pin(close(&hub, socket, &end)).await;
        }
    };
    let hello_at = clock::now();
    // Of this connection alone, and not of the device.
    let shown = hello.now.take();
    let id = hello.device.clone();
    let _counted = hub.metrics.session(&peer.principal.role);
    let (sender, inward) = mailbox(SESSION_QUEUE);
    let registered = match Box::pin(hub.ingest.register(hello.clone(), clock::now())).await {
        Ok(registered) => registered,
        Err(error) => {
            let end = refused_hello(&error);
            tracing::warn!(session = peer.name(), device = %id, %error, "hello refused");
            return Box::pin(close(&hub, socket, &end)).await;
        }
    };
    let now = clock::now();
    let heard = LastHeard::new(now);
    let present = Present { id: peer.session, sender: sender.clone(), heard: heard.clone() };
    if let Some(older) = hub.directory.connected(&hello, &registered, present, now) {
        tracing::info!(device = %id, session = peer.name(), "a newer session takes over");
        // Full: that session is stuck on its peer and will end by its write deadline.
        older.put(ToSession::Close(CloseCode::Replaced));
    }
    tracing::info!(device = %id, session = peer.name(), address = %peer.address, settled = registered.settled.0, "device connected");

    let note = |at, event| ConnectionNote { device: registered.device, session: peer.name(), at, event };
    hub.ingest.note(note(now, ConnectionEvent::Opened { address: peer.address.to_string() })).await;

    let wire = socket.get_ref().tap().map(|tap| {
        tap.on_hello(hello_at);
        hub.wires.connected(&id, tap)
    });
    let mut session = Session::new(&hub, &peer, hello, &registered, inward, wire, heard);
    session.largest = bytes;
    if let Some(shown) = shown {
        session.clock_shows(shown, hello_at);
    }
    // Whatever it waits for: a device that reads nothing must not stay by that.
    let mut sender = Some(sender);
    let end = loop {
        let end = tokio::select! {
            biased;
            () = peer.revoked.cancelled() => Some(End::close(CloseCode::Revoked)),
            end = session.run(&mut socket, sender.take()) => end,
        };
        match end {
            Some(end) => break end,
            None => socket = Box::pin(renewed(&hub, socket)).await,
        }
    };
    let last_seen = session.heartbeat.last_heard();
    tracing::info!(device = %id, session = peer.name(), ?end, "device disconnected");
    hub.directory.late_or_lost(&id, session.watch.finish(clock::now()));
    hub.commands.disconnected(id.clone(), peer.session).await;
    let now = clock::now();
    let was_present = hub.directory.disconnected(&id, peer.session, last_seen, now).is_some();
    hub.ingest.note(note(now, ended(&end, was_present.then_some(last_seen)))).await;
    let Session { pace, .. } = session;
    hub.paces.leave(&id, pace, tokio::time::Instant::now());
    Box::pin(close(&hub, socket, &end)).await;
}

/// The `hello`, and how many bytes it had.
async fn expect_hello(hub: &Hub, socket: &mut Socket, peer: &Peer) -> Result<(Hello, usize), End> {
    let expected = |reason: String| End::Close(CloseCode::HelloExpected, reason);
    let refused = |reason: String| {
        hub.metrics.reached_in(&reason);
        expected(reason)
    };
    let deadline = hub.config.limits.time(Limit::HelloSeconds);
    let first = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => turn().await,
                Some(Ok(Message::Binary(_))) => return Err(End::close(CloseCode::Unsupported)),
                Some(Ok(Message::Close(frame))) => return Err(End::left(frame)),
                None => return Err(End::Gone("connection lost before hello".into())),
                Some(Err(error)) => return Err(end_of(hub, Limit::DeviceMessageBytes, &error)),
            }
        }
    };
    let text = tokio::select! {
        first = tokio::time::timeout(deadline, first) => match first {
            Ok(first) => first?,
            Err(_) => return Err(super::reached(hub, Limit::HelloSeconds)),
        },
        () = hub.stopping.cancelled() => return Err(End::close(CloseCode::GoingAway)),
        () = peer.revoked.cancelled() => return Err(End::close(CloseCode::Revoked)),
    };
    let hello = match DeviceMessage::decode(&text) {
        Ok(DeviceMessage::Hello(hello)) => hello,
        Ok(_) => return Err(End::close(CloseCode::HelloExpected)),
        Err(error) => return Err(refused(error.to_string())),
    };
    hello.check().map_err(|error| refused(error.to_string()))?;
    let limits = &hub.config.limits;
    let known = || {
        let room = hub.directory.has_room(&hello.device, limits.count(Limit::Devices));
        room.map_err(|found| limits.refusal(Limit::Devices, found))?;
        match hub.directory.metrics_with(&hello) {
            Some(all) if all > limits.count(Limit::MetricsEverPerDevice) => {
                let found = format!("{all} metrics, with those of the past");
                Err(limits.refusal(Limit::MetricsEverPerDevice, found))
            }
            _ => Ok(()),
        }
    };
    limits.check_hello(&hello).and_then(|()| known()).map_err(|refusal| {
        hub.metrics.reached(refusal.limit);
        expected(refusal.to_string())
    })?;
    match &peer.principal.role {
        CredentialRole::Fleet => Ok((hello, text.len())),
        CredentialRole::Device(id) if *id == hello.device => Ok((hello, text.len())),
        CredentialRole::Device(id) => {
            let reason = format!("{}: {id}, not {}", CloseCode::WrongDevice.reason(), hello.device);
            Err(End::Close(CloseCode::WrongDevice, reason))
        }
        CredentialRole::Viewer | CredentialRole::Operator | CredentialRole::Admin => {
            Err(End::close(CloseCode::WrongDevice))
        }
    }
}

/// An end as it is written down.
fn ended(end: &End, last_seen: Option<Timestamp>) -> ConnectionEvent {
    let (by, code, reason) = match end {
        End::Gone(reason) => (EndedBy::Lost, None, reason.clone()),
        End::Left(Some((code, reason))) => (EndedBy::Device, Some(*code), reason.clone()),
        End::Left(None) => (EndedBy::Device, None, String::new()),
        End::Close(code, reason) => (EndedBy::Hub, Some(code.number()), reason.clone()),
    };
    ConnectionEvent::Ended { by, code, reason, last_seen }
}

fn refused_hello(error: &StoreError) -> End {
    if error.is_request() {
        End::Close(CloseCode::HelloExpected, error.to_string())
    } else if error.is_fatal() {
        End::close(CloseCode::StorageFailed)
    } else if matches!(error, StoreError::Full) {
        End::Close(CloseCode::Internal, "no room on the hub's disk: try again later".into())
    } else {
        End::close(CloseCode::Internal)
    }
}

/// The series of a device's metrics, found fast when each message names them in the same order.
struct Metrics {
    declared: Vec<(Box<str>, SeriesId, Kind)>,
    by_name: HashMap<Box<str>, usize>,
    next: usize,
}

impl Metrics {
    fn new(hello: &Hello, series: &[SeriesId]) -> Self {
        let declared: Vec<(Box<str>, SeriesId, Kind)> = hello
            .metrics
            .iter()
            .zip(series)
            .map(|(metric, series)| (metric.name.as_str().into(), *series, metric.kind))
            .collect();
        let by_name = declared.iter().enumerate().map(|(i, (name, ..))| (name.clone(), i)).collect();
        Self { declared, by_name, next: 0 }
    }

    fn find(&mut self, name: &str) -> Option<(SeriesId, Kind)> {
        let guess = self.declared.get(self.next).filter(|(declared, ..)| **declared == *name);
        let index = match guess {
            Some(_) => self.next,
            None => *self.by_name.get(name)?,
        };
        self.next = if index + 1 == self.declared.len() { 0 } else { index + 1 };
        self.declared.get(index).map(|(_, series, kind)| (*series, *kind))
    }

    /// Checks a batch and finds the series of its readings.
    fn rows(&mut self, hub: &Hub, batch: RawReadings<'_>) -> Result<Vec<Row>, (RefuseCode, String)> {
        let refused = |limit, code, found| {
            hub.metrics.reached(limit);
            (code, hub.config.limits.refusal(limit, found).to_string())
        };
        let text_max = hub.config.limits.count(Limit::TextValueBytes);
        if batch.readings.len() > hub.config.limits.count(Limit::ReadingsPerBatch) {
            let found = format!("{} readings in one batch", batch.readings.len());
            return Err(refused(Limit::ReadingsPerBatch, RefuseCode::TooLarge, found));
        }
        let mut rows = Vec::with_capacity(batch.readings.len());
        for reading in batch.readings {
            let Some((series, kind)) = self.find(&reading.metric) else {
                let metric: String = reading.metric.chars().take(METRIC_NAME_MAX_BYTES).collect();
                return Err((
                    RefuseCode::UnknownMetric,
                    format!("metric {metric:?} was not declared in hello"),
                ));
            };
            if reading.value.kind() != kind {
                return Err((
                    RefuseCode::WrongKind,
                    format!("{}: a {} where hello declared {kind}", reading.metric, reading.value.kind()),
                ));
            }
            if !reading.at.is_valid_for_reading() {
                return Err((
                    RefuseCode::BadTime,
                    format!(
                        "{}: at {} is outside 1970 to 2100; times are microseconds since 1970",
                        reading.metric,
                        reading.at.micros()
                    ),
                ));
            }
            if let ValueRef::Text(text) = &reading.value
                && text.len() > text_max
            {
                let found = format!("{}: a text value of {} bytes", reading.metric, text.len());
                return Err(refused(Limit::TextValueBytes, RefuseCode::Malformed, found));
            }
            rows.push(Row { series, at: reading.at, value: reading.value.into_owned() });
        }
        Ok(rows)
    }
}

/// Why a session serves no more for now.
enum Served {
    /// The hub stops.
    Stopping,
    /// Its buffers may be renewed.
    Resting,
}

struct Session<'a> {
    hub: &'a Hub,
    peer: &'a Peer,
    device: DeviceId,
    stream: StreamKey,
    metrics: Metrics,
    inbox: Inbox,
    completions: Arc<Completions>,
    done: Vec<(Ticket, Fate, std::time::Instant)>,
    /// When the last message was read.
    read_at: Instant,
    inward: mailbox::Receiver<ToSession>,
    /// What the device said of its commands and is not stored yet, in order.
    updates: FuturesOrdered<Pending<()>>,
    heartbeat: Heartbeat,
    /// The same as the heartbeat knows, for viewers.
    last_heard: LastHeard,
    /// What of its readings came late or was lost.
    watch: Watch,
    /// Its connection, as others see it.
    wire: Option<Connected>,
    /// Its clock.
    ahead: Ahead,
    /// When a ping is due.
    beat: Interval,
    /// Bytes of the largest message since the buffers were new, and when that was.
    largest: usize,
    renewed_at: Option<Instant>,
    /// How fast it may send.
    pace: Pace,
    /// It was above its rate: until then it is not read.
    slowed: Option<Instant>,
}

impl<'a> Session<'a> {
    fn new(
        hub: &'a Hub,
        peer: &'a Peer,
        hello: Hello,
        registered: &Registered,
        inward: mailbox::Receiver<ToSession>,
        wire: Option<Connected>,
        last_heard: LastHeard,
    ) -> Self {
        let heartbeat = Heartbeat::new(&hub.config.limits, clock::now());
        let pace = hub.paces.enter(&hello.device, &peer.principal.role, &hub.config.limits, Instant::now());
        Self {
            hub,
            peer,
            metrics: Metrics::new(&hello, &registered.series),
            device: hello.device,
            stream: registered.stream,
            inbox: Inbox::new(registered.settled),
            completions: Arc::new(Completions::default()),
            done: Vec::new(),
            read_at: Instant::now(),
            inward,
            updates: FuturesOrdered::new(),
            beat: heartbeat.timer(),
            heartbeat,
            last_heard,
            largest: 0,
            renewed_at: None,
            watch: Watch::new(clock::now(), newest(hub, &registered.series)),
            wire,
            ahead: Ahead::default(),
            pace,
            slowed: None,
        }
    }

    /// Runs until it ends, or until the buffers of the socket may be renewed: then `None`. `sender`: it begins.
    async fn run(&mut self, socket: &mut Socket, sender: Option<SessionSender>) -> Option<End> {
        if let Some(sender) = sender
            && let Err(end) = Box::pin(self.greet(socket, sender)).await
        {
            return Some(end);
        }
        match self.serve(socket).await {
            Err(end) => Some(end),
            Ok(Served::Stopping) => Some(Box::pin(self.drain(socket)).await),
            Ok(Served::Resting) => None,
        }
    }

    /// Welcomes it, and lets commands come.
    async fn greet(&mut self, socket: &mut Socket, sender: SessionSender) -> Result<(), End> {
        let limits = &self.hub.config.limits;
        let welcome = Welcome {
            session: self.peer.name(),
            server_time: clock::now(),
            acked_seq: self.inbox.settled(),
            limits: DeviceLimits {
                message_bytes: limits.get(Limit::DeviceMessageBytes),
                readings_per_batch: limits.get(Limit::ReadingsPerBatch) as u32,
                unacked_batches: limits.get(Limit::UnackedBatches) as u32,
                text_bytes: limits.get(Limit::TextValueBytes) as u32,
            },
            heartbeat_seconds: self.hub.config.heartbeat.as_secs() as u32,
        };
        say(self.hub, socket, welcome).await?;
        self.hub.commands.connected(self.device.clone(), self.peer.session, sender).await;
        Ok(())
    }

    /// Serves until the hub stops, or it rests.
    async fn serve(&mut self, socket: &mut Socket) -> Result<Served, End> {
        // A token of its own: the shared one has one lock for all sessions, and every message would take it.
        let mut stopping = pin!(self.hub.stopping.child_token().cancelled_owned());
        loop {
            tokio::select! {
                biased;
                () = &mut stopping => return Ok(Served::Stopping),
                () = self.completions.wait() => {
                    self.acknowledge(socket).await?;
                    let may_rest = self.renewed_at.is_none_or(|at| at.elapsed() >= REST_INTERVAL);
                    if may_rest && self.rests(socket).await? {
                        return Ok(Served::Resting);
                    }
                }
                told = self.inward.take() => Box::pin(self.told(socket, told)).await?,
                Some(answer) = self.updates.next(), if !self.updates.is_empty() => {
                    updated(self.hub, socket, answer).await?;
                }
                _ = self.beat.tick() => {
                    self.peer.check_expiry(clock::now())?;
                    if !self.is_read() {
                        // Its silence means nothing.
                        self.heartbeat.forgive();
                    }
                    let ping = self.heartbeat.beat(self.hub, clock::now())?;
                    write(self.hub, socket, ping).await?;
                    if self.rests(socket).await? {
                        return Ok(Served::Resting);
                    }
                }
                () = until(self.slowed), if self.slowed.is_some() => self.take_turn(socket).await?,
                message = socket.next(), if self.is_read() => self.came(socket, message).await?,
            }
        }
    }

    /// Whether its buffers are large and nothing is in them. What has come by now is taken first.
    async fn rests(&mut self, socket: &mut Socket) -> Result<bool, End> {
        if self.largest <= READ_BYTES || self.inbox.in_flight() > 0 || !self.is_read() {
            return Ok(false);
        }
        if let Poll::Ready(message) = poll!(socket.next()) {
            self.came(socket, message).await?;
            return Ok(false);
        }
        let rests =
            socket.get_ref().is_between_messages() && matches!(poll!(socket.flush()), Poll::Ready(Ok(())));
        if rests {
            (self.largest, self.renewed_at) = (0, Some(Instant::now()));
        }
        Ok(rests)
    }

    async fn came(
        &mut self,
        socket: &mut Socket,
        message: Option<Result<Message, WsError>>,
    ) -> Result<(), End> {
        match message {
            Some(Ok(message)) => self.heard(socket, message).await,
            Some(Err(error)) => Err(end_of(self.hub, Limit::DeviceMessageBytes, &error)),
            None => Err(End::Gone("connection lost".into())),
        }
    }

    /// Whether the next message of the device is read.
    fn is_read(&self) -> bool {
        self.slowed.is_none() && !self.is_full()
    }

    /// Whether more of it waits to be stored than may.
    fn is_full(&self) -> bool {
        let limits = &self.hub.config.limits;
        !self.inbox.has_room()
            || u64::from(self.inbox.in_flight()) >= limits.get(Limit::UnackedBatches)
            || self.updates.len() >= limits.count(Limit::UpdatesWaiting)
    }

    /// Reads on, or waits, as the rates of the device allow.
    async fn take_turn(&mut self, socket: &mut Socket) -> Result<(), End> {
        self.slowed = match self.pace.turn(Instant::now()) {
            Turn::Read => None,
            Turn::Wait(time, begins) => {
                if let Some(limit) = begins {
                    self.hub.metrics.slowed(limit);
                    tracing::info!(device = %self.device, limit = limit.name(), "above its rate: it is read more slowly");
                }
                Some(time)
            }
            Turn::Refuse(refusal) => {
                let (told, end) = too_fast(self.hub, &refusal);
                say(self.hub, socket, told).await?;
                return Err(end);
            }
        };
        Ok(())
    }

    /// The hub stops: nothing more is read, what was taken is settled and acknowledged (I-15).
    async fn drain(&mut self, socket: &mut Socket) -> End {
        while self.inbox.in_flight() > 0 || !self.updates.is_empty() {
            tokio::select! {
                Some(answer) = self.updates.next(), if !self.updates.is_empty() => {
                    if let Err(end) = updated(self.hub, socket, answer).await {
                        return end;
                    }
                }
                () = self.completions.wait() => {
                    if let Err(end) = self.acknowledge(socket).await {
                        return end;
                    }
                }
                () = self.hub.deadline.cancelled() => break,
            }
        }
        if self.hub.failed.is_cancelled() {
            return End::close(CloseCode::StorageFailed);
        }
        End::close(CloseCode::GoingAway)
    }

    async fn heard(&mut self, socket: &mut Socket, message: Message) -> Result<(), End> {
        turn().await;
        let now = clock::now();
        self.heartbeat.heard(now);
        self.last_heard.note(now);
        self.read_at = Instant::now();
        self.pace.on_message(self.read_at);
        self.largest = self.largest.max(message.len());
        match message {
            Message::Text(text) => self.read(socket, &text).await?,
            Message::Binary(_) => return Err(End::close(CloseCode::Unsupported)),
            Message::Pong(payload) => {
                self.heartbeat.pong(&payload, now);
                if let (Some(wire), Some(micros)) = (&self.wire, self.heartbeat.round_trip) {
                    wire.tap().on_round_trip(micros);
                }
            }
            Message::Ping(_) | Message::Frame(_) => {}
            Message::Close(frame) => return Err(End::left(frame)),
        }
        if self.is_full() {
            let limit = if self.updates.is_empty() { Limit::UnackedBatches } else { Limit::UpdatesWaiting };
            self.hub.metrics.reached(limit);
        }
        self.take_turn(socket).await
    }

    async fn read(&mut self, socket: &mut Socket, text: &str) -> Result<(), End> {
        match codec::read_type(text).as_deref() {
            Ok("readings") => match RawReadings::decode(text) {
                Ok(batch) => {
                    let seq = batch.seq;
                    self.pace.on_readings(batch.readings.len());
                    let rows = self.metrics.rows(self.hub, batch);
                    self.batch(socket, seq, rows).await
                }
                Err(DecodeError::BadField { problem, number: Some(seq), .. }) => {
                    self.hub.metrics.reached_in(&problem);
                    self.batch(socket, protocol::Seq(seq), Err((RefuseCode::Malformed, problem))).await
                }
                Err(error) => self.undecodable(socket, &error).await,
            },
            // In a box of its own: what seldom comes must not make every session larger.
            Ok(_) => Box::pin(self.read_other(socket, text)).await,
            Err(error) => self.undecodable(socket, error).await,
        }
    }

    async fn undecodable(&self, socket: &mut Socket, error: &DecodeError) -> Result<(), End> {
        let problem = error.to_string();
        self.hub.metrics.reached_in(&problem);
        complain(self.hub, socket, error.code(), problem).await
    }

    /// What is no batch.
    async fn read_other(&mut self, socket: &mut Socket, text: &str) -> Result<(), End> {
        match DeviceMessage::decode(text) {
            Ok(DeviceMessage::CommandUpdate(update)) => {
                if let Err(problem) = update.check() {
                    self.hub.metrics.reached_in(&problem);
                    let message = format!("command_update for {}: {problem}", update.id);
                    return complain(self.hub, socket, ErrorCode::BadField, message).await;
                }
                if let Err(refusal) = self.check_update(&update) {
                    let message = format!("command_update for {}: {refusal}", update.id);
                    return complain(self.hub, socket, ErrorCode::BadField, message).await;
                }
                let address = Some(self.peer.address.to_string());
                let actor = Actor { by: self.device.to_string(), address };
                let answer = self.hub.commands.update(self.device.clone(), update, actor).await;
                self.updates.push_back(answer);
                Ok(())
            }
            Ok(DeviceMessage::Skip(skip)) => {
                if skip.seq > protocol::Seq::MAX {
                    return complain(
                        self.hub,
                        socket,
                        ErrorCode::BadField,
                        "skip: seq is above 2^53 - 1".into(),
                    )
                    .await;
                }
                match self.inbox.on_skip(skip.seq) {
                    Some(ticket) => {
                        self.watch.on_lost(ticket.after, ticket.seq);
                        tracing::warn!(device = %self.device, after = ticket.after.0, seq = skip.seq.0, "the device lost batches");
                        self.submit(ticket, BatchContent::Skipped, None).await
                    }
                    None => Ok(()),
                }
            }
            Ok(DeviceMessage::Hello(_)) => {
                complain(
                    self.hub,
                    socket,
                    ErrorCode::Unexpected,
                    "hello is said once, as the first message".into(),
                )
                .await
            }
            Ok(DeviceMessage::Readings(_)) => Ok(()),
            Err(error) => self.undecodable(socket, &error).await,
        }
    }

    /// Holds what it says of a command against the limits.
    fn check_update(&self, update: &CommandUpdate) -> Result<(), Refusal> {
        let error = update.error.as_ref().map_or(0, String::len);
        let result = update.result.as_ref().map_or(0, |result| result.to_string().len());
        for (limit, found) in [(Limit::CommandErrorBytes, error), (Limit::CommandPayloadBytes, result)] {
            if found > self.hub.config.limits.count(limit) {
                self.hub.metrics.reached(limit);
                return Err(self.hub.config.limits.refusal(limit, format!("{found} bytes")));
            }
        }
        Ok(())
    }

    async fn batch(
        &mut self,
        socket: &mut Socket,
        seq: protocol::Seq,
        rows: Result<Vec<Row>, (RefuseCode, String)>,
    ) -> Result<(), End> {
        if seq == protocol::Seq(0) || seq > protocol::Seq::MAX {
            let message = format!("readings: seq {seq} is outside 1 to 2^53 - 1");
            return complain(self.hub, socket, ErrorCode::BadField, message).await;
        }
        match self.inbox.on_batch(seq) {
            Verdict::Take(ticket) => match rows {
                Ok(rows) => {
                    let now = clock::now();
                    let news = self.watch.on_readings(&rows, now);
                    let last = rows.last().map(|row| row.at);
                    if let Some(last) = last {
                        self.clock_shows(last, now);
                        if let Some(way) = self.ahead.way(last, now).filter(|way| *way <= WAY_MAX) {
                            self.hub.metrics.on_its_way.note(way);
                        }
                    }
                    let measured = last.and_then(|last| self.ahead.measured(last));
                    self.hub.directory.late_or_lost(&self.device, news);
                    self.submit(ticket, BatchContent::Readings(rows), measured).await
                }
                Err((code, message)) => {
                    tracing::warn!(device = %self.device, seq = seq.0, %code, message, "a batch is refused for good");
                    self.hub.metrics.batches_refused.add(1);
                    self.watch.on_lost(ticket.after, ticket.seq);
                    say(self.hub, socket, Refuse { seq, code, message, retry_after_ms: None }).await?;
                    self.submit(ticket, BatchContent::Refused, None).await
                }
            },
            Verdict::Duplicate => match self.inbox.poll_ack() {
                Some(seq) => say(self.hub, socket, Ack { seq }).await,
                None => Ok(()),
            },
            Verdict::OutOfOrder { expected } => {
                let message =
                    format!("batch {seq} came where {expected} was expected: send from there, or skip");
                let code = RefuseCode::OutOfOrder;
                say(self.hub, socket, Refuse { seq: expected, code, message, retry_after_ms: Some(0) }).await
            }
            Verdict::Held => Ok(()),
        }
    }

    /// The device's clock showed `shown` when it sent what came at `now`.
    fn clock_shows(&mut self, shown: Timestamp, now: Timestamp) {
        self.ahead.note(shown, now);
        if let (Some(wire), Some(ahead)) = (&self.wire, self.ahead.micros()) {
            wire.tap().on_clock_ahead(ahead);
        }
    }

    async fn submit(
        &mut self,
        ticket: Ticket,
        content: BatchContent,
        measured: Option<Timestamp>,
    ) -> Result<(), End> {
        let arrival = Arrival { read: self.read_at.into_std(), measured };
        self.hub
            .ingest
            .submit(self.stream, ticket, content, arrival, &self.completions)
            .await
            .map_err(|_| End::close(CloseCode::GoingAway))
    }

    /// Tells the device what was settled since the last time, and what must come again.
    async fn acknowledge(&mut self, socket: &mut Socket) -> Result<(), End> {
        let mut done = std::mem::take(&mut self.done);
        self.completions.take(&mut done);
        let mut refuse = None;
        for (ticket, fate, _) in &done {
            let (code, message, retry) = match fate {
                Fate::Settled => {
                    self.inbox.on_settled(*ticket);
                    continue;
                }
                Fate::OutOfOrder => (RefuseCode::OutOfOrder, "the batch before it is not stored", 0),
                Fate::StorageFull => {
                    (RefuseCode::StorageFull, "no room on the hub's disk", RETRY_STORAGE_MILLIS)
                }
                Fate::Failed => {
                    (RefuseCode::Busy, "the hub could not store it; see its log", RETRY_FAILED_MILLIS)
                }
            };
            if self.inbox.on_put_back(*ticket) {
                if *fate == Fate::OutOfOrder {
                    // An older session of the device stored more after our welcome. Only a new welcome can say where
                    // the stream is: a skip would be refused for ever.
                    return Err(End::close(CloseCode::Internal));
                }
                refuse = Some(Refuse {
                    seq: ticket.first(),
                    code,
                    message: message.into(),
                    retry_after_ms: Some(retry),
                });
            }
        }
        self.done = done;
        if let Some(seq) = self.inbox.poll_ack() {
            say(self.hub, socket, Ack { seq }).await?;
        }
        for (_, _, taken) in self.done.iter().filter(|(_, fate, _)| *fate == Fate::Settled) {
            self.hub.metrics.ack.note(taken.elapsed());
        }
        match refuse {
            Some(refuse) if !self.hub.failed.is_cancelled() => say(self.hub, socket, refuse).await,
            _ => Ok(()),
        }
    }

    async fn told(&mut self, socket: &mut Socket, told: ToSession) -> Result<(), End> {
        match told {
            ToSession::Command(command) => say(self.hub, socket, *command).await,
            ToSession::Cancel(cancel) => say(self.hub, socket, cancel).await,
            ToSession::Close(code) => Err(End::close(code)),
        }
    }
}

/// The time of the newest reading of these series, as far as it is past.
fn newest(hub: &Hub, series: &[SeriesId]) -> Option<Timestamp> {
    let now = clock::now();
    hub.live.latest(series).1.into_iter().map(|(_, at, _)| at).filter(|at| *at <= now).max()
}

/// What a device said of a command is stored, or refused.
async fn updated(hub: &Hub, socket: &mut Socket, answer: Result<(), ErrorMessage>) -> Result<(), End> {
    match answer {
        Ok(()) => Ok(()),
        // Not stored, and no device repeats an answer by itself: on the next connection we ask for it.
        Err(error) if error.code == ErrorCode::Internal => {
            say(hub, socket, error).await?;
            Err(End::close(CloseCode::Internal))
        }
        Err(error) => say(hub, socket, error).await,
    }
}

async fn say(hub: &Hub, socket: &mut Socket, message: impl Into<HubToDevice>) -> Result<(), End> {
    write(hub, socket, Message::Text(message.into().encode().into())).await
}

async fn complain(hub: &Hub, socket: &mut Socket, code: ErrorCode, message: String) -> Result<(), End> {
    say(hub, socket, ErrorMessage { id: None, code, message }).await
}
