//! The task of one viewer: keeps the connection up and passes messages both ways.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use protocol::device::ErrorMessage;
use protocol::limits::VIEWER_MESSAGE_MAX_BYTES;
use protocol::viewer::{HubToViewer, Subscribe, ViewerMessage, ViewerWelcome};
use protocol::{CloseCode, DecodeError, ErrorCode};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::requests::Requests;
use super::subscriptions::{Subscriptions, progress};
use super::{ViewerConfig, ViewerEvent};
use crate::backoff::Backoff;
use crate::connect::connect;
use crate::ending::Ending;
use crate::heartbeat::{Beat, Heartbeat};
use crate::line::{Incoming, Line, LineLimits};
use crate::link::{Link, LinkEvent, WELCOME_DEADLINE};

pub(super) struct Task {
    config: ViewerConfig,
    messages: mpsc::Receiver<ViewerMessage>,
    events: mpsc::Sender<ViewerEvent>,
    reconnect: Arc<Notify>,
    stop: CancellationToken,
    /// Tells [`super::ViewerHandle::close`] that the task has ended, however it ended.
    _stopped: DropGuard,
    /// Lines that say farewell on their own.
    farewells: TaskTracker,

    link: Link,
    backoff: Backoff,
    subscriptions: Subscriptions,
    requests: Requests,
    /// Subscriptions still to be asked for on this connection.
    to_ask: VecDeque<Subscribe>,
    /// Events for which there was no room yet. While there are any, nothing is read from the hub or from the handle,
    /// so they are at most the answers that one disconnection gives to all open requests, and a few more.
    pending: VecDeque<ViewerEvent>,
}

impl Task {
    pub(super) fn new(
        config: ViewerConfig,
        messages: mpsc::Receiver<ViewerMessage>,
        events: mpsc::Sender<ViewerEvent>,
        reconnect: Arc<Notify>,
        stop: CancellationToken,
        stopped: CancellationToken,
    ) -> Self {
        Self {
            backoff: Backoff::new(&config.backoff),
            config,
            messages,
            events,
            reconnect,
            stop,
            _stopped: stopped.drop_guard(),
            farewells: TaskTracker::new(),
            link: Link::Waiting { until: Some(Instant::now()) },
            subscriptions: Subscriptions::default(),
            requests: Requests::default(),
            to_ask: VecDeque::new(),
            pending: VecDeque::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let (stop, reconnect, events) = (self.stop.clone(), Arc::clone(&self.reconnect), self.events.clone());
        loop {
            self.on_time(Instant::now());
            self.ask();
            let wake_at = [self.link.wake_at(), self.requests.wake_at()].into_iter().flatten().min();
            let listening = self.pending.is_empty();
            let has_room = match &self.link {
                Link::Up { line, .. } => line.has_room() && self.to_ask.is_empty(),
                Link::Waiting { .. } | Link::Connecting(_) | Link::Greeting { .. } => true,
            };
            tokio::select! {
                () = stop.cancelled() => break,
                event = self.link.next(), if listening => self.on_link(event),
                message = self.messages.recv(), if listening && has_room => match message {
                    Some(message) => self.send(message),
                    None => break,
                },
                () = reconnect.notified() => {
                    if let Link::Waiting { until } = &mut self.link {
                        *until = Some(Instant::now());
                    }
                }
                permit = events.reserve(), if !listening => match permit {
                    Ok(permit) => {
                        if let Some(event) = self.pending.pop_front() {
                            permit.send(event);
                        }
                    }
                    Err(_) => break,
                },
                () = events.closed(), if listening => break,
                () = sleep_until(wake_at) => {}
            }
        }
        self.stop().await;
    }

    /// Does what is due.
    fn on_time(&mut self, now: Instant) {
        if !self.pending.is_empty() {
            self.requests.on_deaf(now);
        }
        for error in self.requests.on_time(now) {
            self.tell(ViewerEvent::Message(HubToViewer::Error(error)));
        }
        match &mut self.link {
            Link::Waiting { until: Some(until) } if *until <= now => {
                self.link = Link::Connecting(Box::pin(connect(
                    self.config.endpoint.clone(),
                    protocol::VIEWER_PATH,
                    LineLimits::VIEWER,
                    self.config.connect_deadline,
                )));
                self.tell(ViewerEvent::Connecting { attempt: self.backoff.attempt() });
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

    fn on_link(&mut self, event: LinkEvent) {
        let now = Instant::now();
        match event {
            LinkEvent::Opened(Ok(line)) => {
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
                            self.tell(ViewerEvent::RoundTrip(answered.round_trip));
                        }
                    }
                    Incoming::Ping | Incoming::Flushed => {}
                }
            }
        }
    }

    fn on_text(&mut self, text: &str, now: Instant) {
        let message = match HubToViewer::decode(text) {
            Ok(message) => message,
            Err(error @ DecodeError::UnknownType { .. }) => {
                tracing::debug!(%error, "a message of a newer hub is skipped");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "the hub sent what cannot be read");
                self.tell(ViewerEvent::BadMessage(error.to_string()));
                return;
            }
        };
        match (&self.link, message) {
            (Link::Greeting { .. }, HubToViewer::Welcome(welcome)) => self.on_welcome(welcome, now),
            (_, HubToViewer::Welcome(_)) => tracing::debug!("a second welcome is skipped"),
            (_, message) => {
                let answered = self.requests.on_message(&message, now);
                let mut moved = None;
                match &message {
                    HubToViewer::Subscribed(subscribed) => self.subscriptions.on_subscribed(subscribed),
                    HubToViewer::Readings(readings) => moved = Some(progress(readings)),
                    HubToViewer::Error(ErrorMessage { id: Some(id), .. })
                        if !answered && self.subscriptions.on_error(*id) =>
                    {
                        tracing::debug!(id, "the hub refused a subscription");
                    }
                    _ => {}
                }
                self.tell(ViewerEvent::Message(message));
                if let Some((id, position)) = moved {
                    self.subscriptions.on_readings(id, position);
                }
            }
        }
    }

    fn on_welcome(&mut self, welcome: ViewerWelcome, now: Instant) {
        self.link.welcome(Heartbeat::new(welcome.heartbeat_seconds, now).measure(), now);
        tracing::debug!(session = welcome.session, "connected");
        self.tell(ViewerEvent::Connected(welcome));
        self.to_ask = self.subscriptions.on_connected().into();
    }

    /// Asks for subscriptions again, as far as they fit.
    fn ask(&mut self) {
        let Link::Up { line, .. } = &mut self.link else { return };
        while line.has_room()
            && let Some(subscribe) = self.to_ask.pop_front()
        {
            line.queue(ViewerMessage::Subscribe(subscribe).encode());
        }
    }

    fn send(&mut self, message: ViewerMessage) {
        let text = message.encode();
        let checked = if text.len() > VIEWER_MESSAGE_MAX_BYTES {
            Err(too_large(&message, text.len()))
        } else {
            self.requests.on_send(&message, self.link.is_up(), Instant::now())
        };
        if let Err(error) = checked {
            return self.tell(ViewerEvent::Message(HubToViewer::Error(error)));
        }
        if let Link::Up { line, .. } = &mut self.link {
            line.queue(text);
        }
        match message {
            ViewerMessage::Subscribe(subscribe) => self.subscriptions.add(subscribe, self.link.is_up()),
            ViewerMessage::Unsubscribe(unsubscribe) => self.subscriptions.remove(unsubscribe.id),
            // An answer to the others is awaited in `requests`.
            _ => {}
        }
    }

    /// The connection, or the attempt, has ended. Decides when the next attempt starts.
    fn disconnect(&mut self, ending: &Ending) {
        let now = Instant::now();
        match std::mem::replace(&mut self.link, Link::Waiting { until: None }) {
            Link::Greeting { line, .. } => self.say_farewell(line, ending),
            Link::Up { line, since, heartbeat } => {
                if now.saturating_duration_since(since) >= heartbeat.interval() {
                    self.backoff.reset();
                }
                self.say_farewell(line, ending);
            }
            Link::Waiting { .. } | Link::Connecting(_) => {}
        }
        let asked = ending.retry_after().unwrap_or_default();
        let retry_in = ending.is_retryable().then(|| asked + self.backoff.next_wait());
        self.link = Link::Waiting { until: retry_in.map(|wait| now + wait) };
        self.to_ask.clear();
        for error in self.requests.on_disconnected() {
            self.tell(ViewerEvent::Message(HubToViewer::Error(error)));
        }
        let reason = ending.to_string();
        tracing::debug!(reason, ?retry_in, "disconnected");
        self.tell(ViewerEvent::Disconnected { reason, retry_in });
    }

    fn say_farewell(&self, line: Box<Line>, ending: &Ending) {
        if ending.farewell().is_some() || matches!(ending, Ending::Closed { .. }) {
            let ending = ending.clone();
            self.farewells.spawn(async move { line.finish(&ending).await });
        }
    }

    /// Gives an event to the application, now or when there is room.
    fn tell(&mut self, event: ViewerEvent) {
        if !self.pending.is_empty() {
            self.pending.push_back(event);
            return;
        }
        match self.events.try_send(event) {
            // A closed channel ends the task in its loop.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(event)) => self.pending.push_back(event),
        }
    }

    async fn stop(mut self) {
        self.messages.close();
        if let Link::Up { line, .. } | Link::Greeting { line, .. } =
            std::mem::replace(&mut self.link, Link::Waiting { until: None })
        {
            line.close(CloseCode::Normal).await;
        }
        self.farewells.close();
        self.farewells.wait().await;
    }
}

/// The answer to a message that no hub takes.
fn too_large(message: &ViewerMessage, length: usize) -> ErrorMessage {
    let problem = format!("a message of {length} bytes: at most {VIEWER_MESSAGE_MAX_BYTES} are allowed");
    ErrorMessage { id: Some(message.id()), code: ErrorCode::LimitReached, message: problem }
}

/// Sleeps until then; for ever if there is no then.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => tokio::time::sleep(Duration::MAX).await,
    }
}
