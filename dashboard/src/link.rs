//! The thread that holds the connection to the hub: a small runtime, a viewer client, and two bounded queues.
//!
//! No type of egui is here: a closure wakes the window. The app sees only [`Link`]; in tests the other ends of its
//! queues are held by the test.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use client::viewer::{SendError, ViewerClient, ViewerConfig, ViewerEvent};
use client::{Endpoint, EndpointError, Given, Token, TokenRole};
use protocol::viewer::{HubToViewer, Role, ViewerMessage};
use tokio::sync::mpsc;

use crate::clock;
use crate::model::{Event, Haste};

/// Events waiting for the window. When full, the link reads no more, and the hub conflates.
const EVENTS: usize = 1_024;
/// Messages waiting for the hub. When full, a message comes back as [`Event::NotSent`].
const OUTBOX: usize = 256;

/// How often a missing token is looked for by itself: a hub that starts on this machine writes it.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Where to connect, and as whom.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// The hub; found by itself if left out.
    pub hub: Option<String>,
    /// The hub's data folder, which holds tokens.
    pub data: Option<PathBuf>,
    /// A file with the token.
    pub token_file: Option<PathBuf>,
    /// A file of CAs that are trusted instead of the system's.
    pub ca: Option<PathBuf>,
    /// The token itself.
    pub token: Option<Token>,
}

impl Target {
    /// The hub's address for people, as far as it is known before connecting.
    pub fn address(&self) -> String {
        let given = Given { url: self.hub.as_deref(), data: self.data.as_deref(), ..Given::default() };
        crate::model::hubs::host(&Endpoint::find_url(given))
    }

    /// Whether a person named the hub or its data folder for this start.
    pub fn is_given(&self) -> bool {
        let named = |name| std::env::var(name).is_ok_and(|text| !text.trim().is_empty());
        self.hub.is_some()
            || self.data.is_some()
            || self.token_file.is_some()
            || named(protocol::local::HUB_VARIABLE)
            || named(protocol::local::DATA_VARIABLE)
    }

    fn endpoint(&self) -> Result<Endpoint, String> {
        let token = match (&self.token, &self.token_file) {
            (Some(token), _) => Some(token.reveal().to_owned()),
            (None, Some(path)) => Some(std::fs::read_to_string(path).map_err(|e| {
                format!(
                    "The token file {} cannot be read: {e}. Name another one with --token-file.",
                    path.display()
                )
            })?),
            (None, None) => None,
        };
        if let Some(ca) = &self.ca
            && let Err(error) = std::fs::File::open(ca)
        {
            return Err(format!(
                "The file of the CAs, {}, cannot be read: {error}. Name another one for this hub, or none to trust \
                 the system's.",
                ca.display()
            ));
        }
        let given = Given {
            url: self.hub.as_deref(),
            token: token.as_deref(),
            data: self.data.as_deref(),
            ca: self.ca.as_deref(),
            ..Given::default()
        };
        Endpoint::find(TokenRole::Operator, given).map_err(|error| match error {
            EndpointError::TokenFileMissing { path } => format!(
                "No token: {} does not exist. Start the hub once, or name its data folder with --data.",
                path.display()
            ),
            other => crate::format::sentence(&other.to_string()),
        })
    }
}

/// What the app asks of the link.
#[derive(Debug, Clone, PartialEq)]
pub enum Outgoing {
    /// Send this to the hub.
    Send(ViewerMessage),
    /// Do not wait for the next try.
    ReconnectNow,
}

/// The app's end of the link.
#[derive(Debug)]
pub struct Link {
    /// From the link's thread; when full, the thread waits.
    events: mpsc::Receiver<Event>,
    /// To the link's thread; when full, messages come back.
    outbox: Option<mpsc::Sender<Outgoing>>,
    awake: Awake,
    thread: Option<JoinHandle<()>>,
}

/// The other end of a link.
#[derive(Debug)]
pub struct FarEnd {
    /// Events for the app.
    pub events: mpsc::Sender<Event>,
    /// What the app sent.
    pub outbox: mpsc::Receiver<Outgoing>,
    awake: Awake,
}

/// When the first event came that the window has not been told to look at yet; `None`: it has looked since.
#[derive(Debug, Clone, Default)]
struct Awake(Arc<Mutex<Option<Instant>>>);

impl Awake {
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event has come. Returns whether it is the first.
    fn came(&self) -> bool {
        let mut since = self.lock();
        let is_first = since.is_none();
        since.get_or_insert_with(Instant::now);
        is_first
    }
}

/// Wakes the window.
pub type Waker = Arc<dyn Fn(Haste) + Send + Sync>;

impl Link {
    /// A link whose other end is held by the caller.
    pub fn pair() -> (Self, FarEnd) {
        let (events_tx, events) = mpsc::channel(EVENTS);
        let (outbox_tx, outbox) = mpsc::channel(OUTBOX);
        let awake = Awake::default();
        let link = Self { events, outbox: Some(outbox_tx), awake: awake.clone(), thread: None };
        (link, FarEnd { events: events_tx, outbox, awake })
    }

    /// Starts the thread and connects.
    pub fn start(target: Target, waker: Waker) -> std::io::Result<Self> {
        let (mut link, far_end) = Self::pair();
        let thread = std::thread::Builder::new().name("link".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(run(target, far_end, waker)),
                Err(error) => {
                    let reason = format!("The network could not be started: {error}.");
                    if far_end.events.try_send(Event::Unusable(reason)).is_ok() {
                        waker(Haste::AtOnce);
                    }
                }
            }
        })?;
        link.thread = Some(thread);
        Ok(link)
    }

    /// The next event, if one waits.
    pub fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Says that the window is about to look: what comes from now on has to wake it again. Returns since when events
    /// wait.
    pub fn looking(&self) -> Option<Instant> {
        self.awake.lock().take()
    }

    /// Hands something to the link; what does not fit comes back.
    #[must_use]
    pub fn send(&self, outgoing: Outgoing) -> Option<Outgoing> {
        use mpsc::error::TrySendError;
        match self.outbox.as_ref()?.try_send(outgoing) {
            Ok(()) => None,
            Err(TrySendError::Full(back) | TrySendError::Closed(back)) => Some(back),
        }
    }
}

impl Drop for Link {
    /// Closes the connection in order and waits for the thread, which waits for the hub for a bounded time.
    fn drop(&mut self) {
        self.outbox = None;
        self.events.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the link's thread failed");
        }
    }
}

async fn run(target: Target, mut far_end: FarEnd, waker: Waker) {
    loop {
        match target.endpoint() {
            Ok(endpoint) => return connected(endpoint, far_end, waker).await,
            Err(reason) => {
                tracing::warn!(reason, "no hub to connect to");
                if far_end.events.send(Event::Unusable(reason)).await.is_err() {
                    return;
                }
                waker(Haste::AtOnce);
            }
        }
        // Look again when asked, and now and then: the hub may have been started meanwhile.
        loop {
            match tokio::time::timeout(LOOK_AGAIN, far_end.outbox.recv()).await {
                Err(_) => {
                    if let Ok(endpoint) = target.endpoint() {
                        return connected(endpoint, far_end, waker).await;
                    }
                    if far_end.events.is_closed() {
                        return;
                    }
                }
                Ok(Some(Outgoing::ReconnectNow)) => break,
                Ok(Some(Outgoing::Send(message))) => {
                    if far_end.events.send(Event::NotSent(message)).await.is_err() {
                        return;
                    }
                }
                Ok(None) => return,
            }
        }
    }
}

async fn connected(endpoint: Endpoint, mut far_end: FarEnd, waker: Waker) {
    // From the client to this task; when full, the client reads no more.
    let (events_tx, mut events) = mpsc::channel(64);
    let handle = ViewerClient::spawn(ViewerConfig::new(endpoint), events_tx);
    let mut round_trip_known = false;
    loop {
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { break };
                let mut event = translate(event);
                round_trip_known &= !matches!(event, Event::Connected(_));
                if matches!(event, Event::RoundTrip(_)) && std::mem::replace(&mut round_trip_known, true) {
                    // Shown with the next frame that there is a reason for; it wakes nobody, so it may not wait either.
                    if far_end.events.capacity() > EVENTS / 2 && far_end.events.try_send(event).is_err() {
                        break;
                    }
                    continue;
                }
                let haste = event.haste();
                let traced = traced(&mut event);
                if far_end.events.send(event).await.is_err() {
                    break;
                }
                if let Some(traced) = traced
                    && far_end.events.send(traced).await.is_err()
                {
                    break;
                }
                if far_end.awake.came() || haste != Haste::Usual {
                    waker(haste);
                }
            }
            outgoing = far_end.outbox.recv() => match outgoing {
                Some(Outgoing::ReconnectNow) => handle.reconnect_now(),
                Some(Outgoing::Send(message)) => {
                    if let Err(SendError::Full(message)) = handle.try_send(message)
                        && far_end.events.try_send(Event::NotSent(*message)).is_err()
                    {
                        tracing::warn!("a message was lost: both queues are full");
                    }
                }
                None => break,
            },
        }
    }
    handle.close().await;
}

/// Takes the traces out of readings that have just arrived.
fn traced(event: &mut Event) -> Option<Event> {
    let Event::Message(HubToViewer::Readings(readings)) = event else { return None };
    let traces = std::mem::take(&mut readings.traces);
    (!traces.is_empty()).then(|| Event::Traced { traces, arrived: clock::now() })
}

/// Longest time that a test of a hub takes.
const PROBE_DEADLINE: Duration = Duration::from_secs(15);

/// A test of a hub that is under way.
#[derive(Debug)]
pub struct Probe(std::sync::mpsc::Receiver<Result<String, String>>);

impl Probe {
    /// How it went, once it is over: what is there, or why not.
    pub fn try_result(&self) -> Option<Result<String, String>> {
        use std::sync::mpsc::TryRecvError;
        match self.0.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err("The test ended without a result.".into())),
        }
    }
}

/// Connects once, to see whether it works, and hangs up again. On a thread of its own.
pub fn probe(target: Target, waker: Waker) -> Probe {
    let (tx, rx) = std::sync::mpsc::sync_channel(1);
    let failed = tx.clone();
    let thread = std::thread::Builder::new().name("probe".into()).spawn(move || {
        let result = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(probe_once(&target)),
            Err(error) => Err(format!("The network could not be started: {error}.")),
        };
        // Nobody waits any more if the window or the dialog is gone.
        if tx.try_send(result).is_ok() {
            waker(Haste::AtOnce);
        }
    });
    if let Err(error) = thread
        && failed.try_send(Err(format!("The test could not be started: {error}."))).is_err()
    {
        tracing::debug!("nobody hears of it");
    }
    Probe(rx)
}

async fn probe_once(target: &Target) -> Result<String, String> {
    let endpoint = target.endpoint()?;
    let address = target.address();
    let (events_tx, mut events) = mpsc::channel(64);
    let handle = ViewerClient::spawn(ViewerConfig::new(endpoint), events_tx);
    let first = async {
        while let Some(event) = events.recv().await {
            match event {
                ViewerEvent::Connected(welcome) => {
                    let may = match welcome.role {
                        Role::Operator => "may look and send commands",
                        Role::Viewer => "may look",
                    };
                    return Ok(format!("{address} answers. This token {may}."));
                }
                ViewerEvent::Disconnected { reason, .. } => return Err(reason),
                ViewerEvent::Connecting { .. }
                | ViewerEvent::Message(_)
                | ViewerEvent::RoundTrip(_)
                | ViewerEvent::BadMessage(_) => {}
            }
        }
        Err("The connection ended before the hub answered.".to_owned())
    };
    let seconds = PROBE_DEADLINE.as_secs();
    let result = tokio::time::timeout(PROBE_DEADLINE, first)
        .await
        .unwrap_or_else(|_| Err(format!("Nothing answered within {seconds} s.")));
    drop(events);
    handle.close().await;
    result
}

fn translate(event: ViewerEvent) -> Event {
    match event {
        ViewerEvent::Connecting { attempt } => Event::Connecting { attempt },
        ViewerEvent::Connected(welcome) => Event::Connected(welcome),
        ViewerEvent::Message(message) => Event::Message(message),
        ViewerEvent::RoundTrip(time) => Event::RoundTrip(time),
        ViewerEvent::Disconnected { reason, retry_in } => Event::Disconnected { reason, retry_in },
        ViewerEvent::BadMessage(problem) => Event::BadMessage(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_for_people_has_no_scheme_and_no_secret() {
        for (hub, address) in [
            ("ws://10.0.0.7:7878", "10.0.0.7:7878"),
            ("ws://user:secret@hub.example:1/", "hub.example:1"),
            ("localhost:7878", "localhost:7878"),
        ] {
            let target = Target { hub: Some(hub.into()), ..Target::default() };
            assert_eq!(target.address(), address);
        }
    }

    #[test]
    fn a_missing_token_is_said_and_looked_for_again_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target {
            // Nobody listens on the discard port.
            hub: Some("ws://127.0.0.1:9".into()),
            data: Some(folder.path().to_owned()),
            ..Target::default()
        };
        let mut link = Link::start(target, Arc::new(|_| {})).unwrap();
        let said = link.events.blocking_recv();
        assert!(
            matches!(&said, Some(Event::Unusable(reason)) if reason.contains("operator.token")),
            "{said:?}"
        );
        std::fs::write(folder.path().join("operator.token"), "t").unwrap();
        assert_eq!(link.send(Outgoing::ReconnectNow), None);
        assert_eq!(link.events.blocking_recv(), Some(Event::Connecting { attempt: 1 }));
        let refused = link.events.blocking_recv();
        assert!(matches!(refused, Some(Event::Disconnected { retry_in: Some(_), .. })), "{refused:?}");
    }

    #[test]
    fn a_file_of_cas_that_cannot_be_read_is_said_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("plant-ca.pem");
        let target = Target {
            hub: Some("wss://127.0.0.1:9".into()),
            ca: Some(ca.clone()),
            token: Some(Token::new("t").unwrap()),
            ..Target::default()
        };
        let error = target.endpoint().unwrap_err();
        assert!(error.contains("plant-ca.pem, cannot be read: No such file"), "{error}");
        // A file that is there and holds no certificate is named too, by a test of the hub as by a connection.
        std::fs::write(&ca, "no certificate").unwrap();
        let probe = probe(target, Arc::new(|_| {}));
        let said = probe.0.recv().unwrap().unwrap_err();
        assert!(said.contains("plant-ca.pem"), "{said}");
    }

    #[test]
    fn a_token_that_appears_is_found_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target {
            hub: Some("ws://127.0.0.1:9".into()),
            data: Some(folder.path().to_owned()),
            ..Target::default()
        };
        let mut link = Link::start(target, Arc::new(|_| {})).unwrap();
        assert!(matches!(link.events.blocking_recv(), Some(Event::Unusable(_))));
        std::fs::write(folder.path().join("operator.token"), "t").unwrap();
        assert_eq!(link.events.blocking_recv(), Some(Event::Connecting { attempt: 1 }));
    }

    #[test]
    fn a_full_queue_gives_messages_back() {
        let (link, far_end) = Link::pair();
        let message = ViewerMessage::Unsubscribe(protocol::viewer::Unsubscribe { id: 1 });
        let sent =
            (0..).take_while(|_| link.send(Outgoing::Send(message.clone())).is_none()).take(10_000).count();
        assert_eq!(sent, OUTBOX);
        drop(far_end);
        assert_eq!(link.send(Outgoing::ReconnectNow), Some(Outgoing::ReconnectNow));
    }
}
