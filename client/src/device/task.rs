//! The task of one device: decides, at every moment, what to write, what to wait for, and when to connect again.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::answers::Arrival;
use protocol::command::DeviceCommandState;
use protocol::device::{
    Ack, CommandRequest, CommandUpdate, DeviceMessage, HubToDevice, Point, Refuse, Welcome,
};
use protocol::limits::DeviceLimits;
use protocol::name::Seq;
use protocol::outbox::{Outbox, OutboxCounts};
use protocol::{CloseCode, DecodeError, Epoch, ErrorCode, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::task::TaskTracker;

use super::memory::Memory;
use super::split::{Batch, split};
use super::{DeviceConfig, DeviceEvent, DeviceStatus, Fault, Order, WhenFull, draw_epoch};
use crate::backoff::Backoff;
use crate::connect::connect;
use crate::ending::Ending;
use crate::heartbeat::{Beat, Heartbeat};
use crate::line::{Incoming, Line, LineLimits};
use crate::link::{Link, LinkEvent, WELCOME_DEADLINE};

/// Pushes taken at once, so that many small ones cost one round of the loop.
const PUSHES_AT_ONCE: usize = 32;

/// Most events that wait for room. One message of the hub makes one, and none is read while any waits.
const PENDING_MAX: usize = 64;

struct Closing {
    deadline: Instant,
    done: oneshot::Sender<DeviceStatus>,
}

pub(super) struct Task {
    config: DeviceConfig,
    pushes: mpsc::Receiver<Vec<Point>>,
    orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<DeviceEvent>,
    status: watch::Sender<DeviceStatus>,
    /// Lines that say farewell on their own.
    farewells: TaskTracker,

    link: Link,
    backoff: Backoff,
    outbox: Outbox,
    /// The last number given in this epoch.
    last_seq: Seq,
    /// Taken from `push` and waiting for room in the outbox; nothing more is taken while there are any.
    held: VecDeque<Batch>,
    memory: Memory,
    /// Commands that the application is told of once they are kept.
    arrived: Vec<CommandRequest>,
    /// Batches written to this connection and not settled, with the time of writing.
    written: VecDeque<(Seq, Instant)>,
    /// Events for which there was no room yet. Bounded: while there are any, nothing is read from the hub.
    pending: VecDeque<DeviceEvent>,
    closing: Option<Closing>,
    /// Until then a [`Fault::Silence`] keeps us from the socket.
    silent_until: Option<Instant>,
    duplicates_wanted: u32,
    /// The hub's clock at a moment of ours.
    hub_time: Option<(Timestamp, Instant)>,
    started_at: Instant,
    /// Counts of epochs before this one.
    past: OutboxCounts,
    totals: DeviceStatus,
}

impl Task {
    pub(super) fn new(
        config: DeviceConfig,
        memory: Memory,
        pushes: mpsc::Receiver<Vec<Point>>,
        orders: mpsc::Receiver<Order>,
        events: mpsc::Sender<DeviceEvent>,
        status: watch::Sender<DeviceStatus>,
    ) -> Self {
        let now = Instant::now();
        Self {
            backoff: Backoff::new(&config.backoff),
            outbox: Outbox::new(config.outbox_bytes),
            held: VecDeque::new(),
            last_seq: Seq(0),
            config,
            pushes,
            orders,
            events,
            status,
            farewells: TaskTracker::new(),
            link: Link::Waiting { until: Some(now) },
            memory,
            arrived: Vec::new(),
            written: VecDeque::new(),
            pending: VecDeque::new(),
            closing: None,
            silent_until: None,
            duplicates_wanted: 0,
            hub_time: None,
            started_at: now,
            past: OutboxCounts::default(),
            totals: DeviceStatus::default(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut taken = Vec::with_capacity(PUSHES_AT_ONCE);
        let events = self.events.clone();
        loop {
            let now = Instant::now();
            self.on_time(now);
            self.fill();
            if !self.remember().await {
                break;
            }
            self.write(now);
            self.publish();
            if self.is_done(now) {
                break;
            }
            let wake_at = self.wake_at();
            let listening =
                self.silent_until.is_none() && (self.pending.is_empty() || self.closing.is_some());
            tokio::select! {
                // In the order written: what the handle was told before a push holds for that push.
                biased;
                order = self.orders.recv(), if self.closing.is_none() => match order {
                    Some(order) => self.on_order(order),
                    None => break,
                },
                event = self.link.next(), if listening => self.on_link(event),
                permit = events.reserve(), if !self.pending.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some(event) = self.pending.pop_front() {
                            permit.send(event);
                        }
                    }
                    // Nobody wants events any more; readings go on.
                    Err(_) => self.pending.clear(),
                },
                count = self.pushes.recv_many(&mut taken, PUSHES_AT_ONCE),
                    if self.held.is_empty() && self.closing.is_none() =>
                {
                    if count == 0 {
                        // Every handle is gone: nobody will push, order or close any more.
                        break;
                    }
                    self.held.extend(taken.drain(..).flat_map(split));
                }
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
        self.stop().await;
    }

    /// Moves held batches to the outbox; with [`WhenFull::Wait`] only as many as fit.
    fn fill(&mut self) {
        while let Some(batch) = self.held.front() {
            let waits = self.config.when_full == WhenFull::Wait
                && self.outbox.bytes() > 0
                && !self.outbox.has_room(batch.bytes);
            if waits {
                break;
            }
            if let Some(batch) = self.held.pop_front() {
                self.last_seq = self.outbox.push(batch.points);
            }
        }
    }

    /// Takes everything that was pushed before now.
    fn take_all(&mut self) {
        while let Ok(points) = self.pushes.try_recv() {
            self.held.extend(split(points));
        }
    }

    /// Does what is due.
    fn on_time(&mut self, now: Instant) {
        if self.silent_until.is_some_and(|until| until <= now) {
            self.silent_until = None;
            if let Link::Up { heartbeat, .. } = &mut self.link {
                heartbeat.on_listening_again(now);
            }
        }
        if self.silent_until.is_some() {
            return;
        }
        match &mut self.link {
            Link::Waiting { until: Some(until) } if *until <= now => {
                tracing::debug!(device = %self.config.hello.device, attempt = self.backoff.attempt(), "connecting");
                self.link = Link::Connecting(Box::pin(connect(
                    self.config.endpoint.clone(),
                    protocol::DEVICE_PATH,
                    LineLimits::DEVICE,
                    self.config.connect_deadline,
                )));
            }
            Link::Greeting { deadline, .. } if *deadline <= now => {
                self.disconnect(&Ending::NoWelcome(WELCOME_DEADLINE));
            }
            Link::Up { line, heartbeat, .. } => {
                if !self.pending.is_empty() {
                    // We do not listen, so the silence is our own.
                    heartbeat.on_heard(now);
                }
                match heartbeat.poll(now) {
                    Beat::Wait => {}
                    Beat::Ping(payload) => line.ping(payload),
                    Beat::Gone(silence) => self.disconnect(&Ending::Silent(silence)),
                }
            }
            Link::Waiting { .. } | Link::Connecting(_) | Link::Greeting { .. } => {}
        }
    }

    /// Hands to the line what may be written and fits.
    fn write(&mut self, now: Instant) {
        if self.silent_until.is_some() {
            return;
        }
        let micros = micros_between(self.started_at, now);
        let Link::Up { line, heartbeat, .. } = &mut self.link else { return };
        while line.has_room() {
            if let Some(answer) = self.memory.answers.poll(heartbeat.next_number()) {
                line.queue(DeviceMessage::CommandUpdate(answer).encode());
                continue;
            }
            let Some(text) = self.outbox.poll(micros) else { break };
            let text = Utf8Bytes::from(text);
            if let Some(seq) = batch_seq(&text) {
                self.written.push_back((seq, now));
                if self.duplicates_wanted > 0 {
                    self.duplicates_wanted -= 1;
                    self.totals.duplicates += 1;
                    line.queue(text.clone());
                }
            }
            line.queue(text);
        }
    }

    /// When to go round although nothing happens.
    fn wake_at(&self) -> Instant {
        // Far enough to be never; `Instant` has no maximum.
        let mut wake_at = Instant::now() + Duration::from_hours(24);
        if let Some(closing) = &self.closing {
            wake_at = wake_at.min(closing.deadline);
        }
        if let Some(until) = self.silent_until {
            return wake_at.min(until);
        }
        if let Some(at) = self.link.wake_at() {
            wake_at = wake_at.min(at);
        }
        // Without room the line's next flush wakes us.
        if let (Some(micros), Link::Up { line, .. }) = (self.outbox.wake_at(), &self.link)
            && line.has_room()
        {
            wake_at =
                wake_at.min(self.started_at + Duration::from_micros(u64::try_from(micros).unwrap_or(0)));
        }
        wake_at
    }

    fn on_link(&mut self, event: LinkEvent) {
        let now = Instant::now();
        match event {
            LinkEvent::Opened(Ok(mut line)) => {
                line.queue(DeviceMessage::Hello(self.config.hello_now()).encode());
                self.link = Link::Greeting { line, deadline: now + WELCOME_DEADLINE };
            }
            LinkEvent::Opened(Err(error)) => self.disconnect(&Ending::NotConnected(error)),
            LinkEvent::Arrived(Err(ending)) => self.disconnect(&ending),
            LinkEvent::Arrived(Ok(Incoming::Flushed)) => {}
            LinkEvent::Arrived(Ok(incoming)) => {
                if let Link::Up { heartbeat, .. } = &mut self.link {
                    heartbeat.on_heard(now);
                }
                match incoming {
                    Incoming::Text(text) => self.on_text(&text, now),
                    Incoming::Pong(payload) => {
                        if let Link::Up { heartbeat, .. } = &mut self.link
                            && let Some(answered) = heartbeat.on_pong(&payload, now)
                        {
                            self.memory.answers.on_pong(answered.number);
                        }
                    }
                    Incoming::Ping | Incoming::Flushed => {}
                }
            }
        }
    }

    fn on_text(&mut self, text: &str, now: Instant) {
        let message = match HubToDevice::decode(text) {
            Ok(message) => message,
            Err(error @ DecodeError::UnknownType { .. }) => {
                tracing::debug!(%error, "a message of a newer hub is skipped");
                return;
            }
            Err(error) => {
                tracing::warn!(device = %self.config.hello.device, %error, "the hub sent what cannot be read");
                return;
            }
        };
        if let (Link::Greeting { .. }, HubToDevice::Welcome(welcome)) = (&self.link, &message) {
            return self.on_welcome(welcome.clone(), now);
        }
        if !self.link.is_up() {
            if let HubToDevice::Error(error) = message {
                self.tell(DeviceEvent::Error(error));
            }
            return;
        }
        if !matches!(message, HubToDevice::Welcome(_)) {
            self.outbox.on_message(&message, micros_between(self.started_at, now));
        }
        match message {
            HubToDevice::Welcome(_) => tracing::debug!("a second welcome is skipped"),
            HubToDevice::Ack(ack) => self.on_ack(ack.seq, now),
            HubToDevice::Refuse(refuse) => self.on_refuse(refuse),
            HubToDevice::Command(request) => self.on_command(request, now),
            HubToDevice::Cancel(cancel) => {
                if self.memory.answers.on_cancel(&cancel) {
                    self.tell(DeviceEvent::Cancel(cancel.id));
                }
            }
            HubToDevice::Error(error) => {
                // `wrong_state` answers a repeated answer, which is as it should be.
                if error.code != ErrorCode::WrongState {
                    tracing::warn!(device = %self.config.hello.device, code = %error.code, message = error.message,
                        "the hub did not like a message");
                }
                self.tell(DeviceEvent::Error(error));
            }
        }
    }

    fn on_welcome(&mut self, welcome: Welcome, now: Instant) {
        if welcome.acked_seq > self.last_seq {
            // The hub knows more of this epoch than we do, and would take our numbers for duplicates.
            return self.begin_new_epoch();
        }
        self.link.welcome(Heartbeat::new(welcome.heartbeat_seconds, now), now);
        self.hub_time = Some((welcome.server_time, now));
        self.outbox.on_welcome(&welcome);
        self.memory.answers.on_connected(welcome.server_time);
        self.totals.connections += 1;
        tracing::debug!(device = %self.config.hello.device, session = welcome.session, "connected");
        self.tell(DeviceEvent::Connected(welcome));
    }

    /// Gives everything that waits to a new epoch, numbered from 1, and connects again.
    fn begin_new_epoch(&mut self) {
        let Ok(epoch) = draw_epoch() else { return };
        tracing::warn!(device = %self.config.hello.device, old = %self.config.hello.epoch, new = %epoch,
            "the hub has later batches of this epoch: going on in a new one");
        self.config.hello.epoch = epoch;
        self.disconnect(&Ending::Asked("the epoch was used before: a new one is begun"));
        let mut old = std::mem::replace(&mut self.outbox, Outbox::new(self.config.outbox_bytes));
        old.on_welcome(&everything());
        self.past = sum(self.past, old.counts());
        self.last_seq = Seq(0);
        while let Some(text) = old.poll(0) {
            match DeviceMessage::decode(&text) {
                Ok(DeviceMessage::Readings(readings)) => {
                    // Counted by the old outbox and by the new one: once is enough.
                    self.past.pushed -= readings.points.iter().map(|p| p.values.len() as u64).sum::<u64>();
                    self.last_seq = self.outbox.push(readings.points);
                    old.on_ack(Ack { seq: readings.seq });
                }
                Ok(DeviceMessage::Skip(skip)) => old.on_ack(Ack { seq: skip.seq }),
                Ok(DeviceMessage::Hello(_) | DeviceMessage::CommandUpdate(_)) | Err(_) => {}
            }
        }
    }

    fn on_ack(&mut self, through: Seq, now: Instant) {
        while let Some((seq, written_at)) = self.written.pop_front_if(|(seq, _)| *seq <= through) {
            let event = DeviceEvent::Acked { seq, latency: now.saturating_duration_since(written_at) };
            if !self.pending.is_empty() || self.events.try_send(event).is_err() {
                self.totals.events_omitted += 1;
            }
        }
    }

    fn on_refuse(&mut self, refuse: Refuse) {
        if refuse.code.is_retryable() {
            // It and all behind it are written again, and timed anew.
            self.written.retain(|(seq, _)| *seq < refuse.seq);
        } else {
            self.written.retain(|(seq, _)| *seq != refuse.seq);
        }
        self.tell(DeviceEvent::Refused(refuse));
    }

    fn on_command(&mut self, request: CommandRequest, now: Instant) {
        let hub_now = self.hub_time.map(|(time, at)| time.plus_micros(micros_between(at, now)));
        if self.memory.answers.on_command(&request, hub_now) != Arrival::New {
            return;
        }
        if self.closing.is_some() {
            let error = Some("the device is shutting down".to_owned());
            let rejected = CommandUpdate::new(request.id, DeviceCommandState::Rejected);
            self.memory.answers.set(CommandUpdate { error, ..rejected });
            return;
        }
        self.arrived.push(request);
    }

    /// Keeps what must be kept before anyone is told of it, then tells the application of what arrived. Where it cannot be
    /// kept, the device says nothing and does nothing, and goes.
    async fn remember(&mut self) -> bool {
        if let Some(save) = self.memory.unsaved() {
            let kept = match tokio::task::spawn_blocking(move || save.run()).await {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = kept {
                tracing::error!(device = %self.config.hello.device, error, "the memory of commands cannot be written");
                return false;
            }
        }
        for request in std::mem::take(&mut self.arrived) {
            self.tell(DeviceEvent::Command(request));
        }
        true
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Update(update) => self.memory.answers.set(update),
            Order::Fault(fault) => self.play(fault),
            Order::Close { deadline, done } => {
                self.pushes.close();
                self.take_all();
                self.silent_until = None;
                self.closing = Some(Closing { deadline: Instant::now() + deadline, done });
            }
        }
    }

    fn play(&mut self, fault: Fault) {
        let now = Instant::now();
        match fault {
            Fault::Disconnect => {
                if !matches!(self.link, Link::Waiting { .. }) {
                    self.disconnect(&Ending::Asked("disconnected on purpose"));
                }
            }
            Fault::Offline(time) => {
                self.disconnect(&Ending::Asked("taken offline on purpose"));
                self.link = Link::Waiting { until: Some(now + time) };
            }
            Fault::Silence(time) => self.silent_until = Some(now + time),
            Fault::Duplicate(count) => self.duplicates_wanted = self.duplicates_wanted.saturating_add(count),
            Fault::Reboot(epoch) => self.reboot(epoch),
            Fault::PowerCut(epoch) => {
                self.reboot(epoch);
                self.arrived.clear();
                self.pending
                    .retain(|event| !matches!(event, DeviceEvent::Command(_) | DeviceEvent::Cancel(_)));
                self.memory = Memory::of(self.config.memory.as_deref()).unwrap_or_else(|(path, error)| {
                    tracing::error!(path = %path.display(), %error, "the memory of commands cannot be read");
                    Memory::default()
                });
            }
            Fault::Repeat(id) => self.memory.answers.repeat(&id),
        }
    }

    fn reboot(&mut self, epoch: Epoch) {
        self.take_all();
        while let Some(batch) = self.held.pop_front() {
            self.last_seq = self.outbox.push(batch.points);
        }
        self.disconnect(&Ending::Asked("rebooted on purpose"));
        self.totals.lost_in_reboots += self.outbox.waiting_readings();
        self.past = sum(self.past, self.outbox.counts());
        self.outbox = Outbox::new(self.config.outbox_bytes);
        self.last_seq = Seq(0);
        self.config.hello.epoch = epoch;
    }

    /// The connection, or the attempt, has ended. Decides when the next attempt starts.
    fn disconnect(&mut self, ending: &Ending) {
        let now = Instant::now();
        let link = std::mem::replace(&mut self.link, Link::Waiting { until: None });
        self.outbox.on_disconnected();
        self.written.clear();
        match link {
            Link::Greeting { line, .. } => self.say_farewell(line, ending),
            Link::Up { line, since, heartbeat } => {
                if now.saturating_duration_since(since) >= heartbeat.interval() {
                    self.backoff.reset();
                }
                self.say_farewell(line, ending);
            }
            Link::Waiting { .. } | Link::Connecting(_) => {}
        }
        let retry_in = if ending.is_retryable() {
            Some(ending.retry_after().unwrap_or_default() + self.backoff.next_wait())
        } else if ending.is_replaced() {
            None
        } else {
            self.config.refused_retry.map(|wait| wait + self.backoff.jitter(wait.mul_f64(0.2)))
        };
        self.link = Link::Waiting { until: retry_in.map(|wait| now + wait) };
        self.totals.gave_up = retry_in.is_none();
        let (reason, code) = (ending.to_string(), ending.code());
        if ending.is_retryable() {
            tracing::debug!(device = %self.config.hello.device, reason, "disconnected");
        } else {
            tracing::warn!(device = %self.config.hello.device, reason, "refused by the hub");
        }
        self.tell(DeviceEvent::Disconnected { reason, code, retry_in });
    }

    fn say_farewell(&self, line: Box<Line>, ending: &Ending) {
        if ending.farewell().is_some() || matches!(ending, Ending::Closed { .. }) {
            let ending = ending.clone();
            self.farewells.spawn(async move { line.finish(&ending).await });
        }
    }

    /// Gives an event to the application, now or when there is room.
    fn tell(&mut self, event: DeviceEvent) {
        let event = if self.pending.is_empty() {
            match self.events.try_send(event) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(event)) => event,
            }
        } else {
            event
        };
        // Beyond this come only the consequences of faults and of closing, which the application itself asked for.
        if self.pending.len() < PENDING_MAX {
            self.pending.push_back(event);
        } else {
            self.totals.events_omitted += 1;
        }
    }

    fn publish(&mut self) {
        let counts = sum(self.past, self.outbox.counts());
        let status = DeviceStatus {
            connected: self.link.is_up(),
            counts,
            waiting_readings: self.outbox.waiting_readings(),
            waiting_batches: self.outbox.waiting() as u64,
            outbox_bytes: self.outbox.bytes() as u64,
            ..self.totals
        };
        self.status.send_if_modified(|old| {
            let changed = *old != status;
            *old = status;
            changed
        });
    }

    /// Whether an ordered close has got all it waits for, or will not get it.
    fn is_done(&self, now: Instant) -> bool {
        let Some(closing) = &self.closing else { return false };
        let drained = self.held.is_empty() && self.outbox.waiting() == 0 && self.memory.answers.is_drained();
        drained || self.link.is_over() || closing.deadline <= now
    }

    async fn stop(mut self) {
        if let Link::Up { line, .. } | Link::Greeting { line, .. } =
            std::mem::replace(&mut self.link, Link::Waiting { until: None })
        {
            line.close(CloseCode::Normal).await;
        }
        self.farewells.close();
        self.farewells.wait().await;
        self.publish();
        let status = *self.status.borrow();
        if let Some(closing) = self.closing.take()
            && closing.done.send(status).is_err()
        {
            tracing::trace!("nobody waits for the end of the device");
        }
    }
}

/// A welcome that makes an outbox say everything it holds.
fn everything() -> Welcome {
    Welcome {
        session: String::new(),
        server_time: Timestamp::default(),
        acked_seq: Seq(0),
        limits: DeviceLimits { unacked_batches: u32::MAX, ..DeviceLimits::default() },
        heartbeat_seconds: 1,
    }
}

/// The number of a batch, read from the start of its text; `None` for any other message.
fn batch_seq(text: &str) -> Option<Seq> {
    let rest = text.strip_prefix("{\"type\":\"readings\",\"seq\":")?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok().map(Seq)
}

fn micros_between(start: Instant, end: Instant) -> i64 {
    i64::try_from(end.saturating_duration_since(start).as_micros()).unwrap_or(i64::MAX)
}

const fn sum(a: OutboxCounts, b: OutboxCounts) -> OutboxCounts {
    OutboxCounts {
        pushed: a.pushed + b.pushed,
        acked: a.acked + b.acked,
        refused: a.refused + b.refused,
        lost: a.lost + b.lost,
        batches_resent: a.batches_resent + b.batches_resent,
    }
}

#[cfg(test)]
mod tests {
    use protocol::device::Readings;

    use super::*;

    #[test]
    fn the_number_of_a_batch_is_read_from_what_the_protocol_writes() {
        let text = DeviceMessage::Readings(Readings { seq: Seq(42), points: vec![] }).encode();
        assert_eq!(batch_seq(&text), Some(Seq(42)));
        assert_eq!(batch_seq(r#"{"type":"skip","seq":42}"#), None);
    }
}
