//! A device's connection that stays up: takes readings into an outbox, delivers commands, comes back after everything.
//!
//! One task owns the outbox, the socket and the memory of commands; a handle talks to it over bounded queues.
//! Readings pushed are held until the hub has acknowledged them, over any number of connections. What happens when the
//! outbox is full is [`WhenFull`]'s choice.
//!
//! A connection that the hub refuses for good (a bad token, a wrong device) is tried again slowly, after
//! [`REFUSED_RETRY`] and a little more: a device is alone in the field, and a token that is put right at the hub should
//! bring it back without a journey. Only when another connection took its place it stays away.

mod memory;
mod split;
mod task;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::Timestamp;
use protocol::device::{
    CommandRequest, CommandUpdate, DeviceMessage, ErrorMessage, Hello, Point, Refuse, Welcome,
};
use protocol::limits::DEVICE_MESSAGE_MAX_BYTES;
use protocol::name::{CommandId, Epoch, NameError, Seq};
use protocol::outbox::OutboxCounts;
use tokio::sync::{mpsc, oneshot, watch};

use self::memory::Memory;
use crate::backoff::BackoffConfig;
use crate::endpoint::Endpoint;

/// Bytes of messages that an outbox holds unless told otherwise. Chosen: an hour of one reading a second, many times.
pub const OUTBOX_BYTES: usize = 4 * 1024 * 1024;
/// Wait before the next attempt after a refusal that will not mend itself.
pub const REFUSED_RETRY: Duration = Duration::from_mins(5);
/// Batches between `push` and the task. When full, `push` waits.
const PUSHES: usize = 64;
/// Orders between the handle and the task. When full, the handle waits.
const ORDERS: usize = 64;
/// Events between the task and the application. When full, the task reads no more from the hub until there is room;
/// [`DeviceEvent::Acked`] alone is left out instead, and counted.
const EVENTS: usize = 256;

/// What to do with readings when the outbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// Give up the oldest batches, count them as lost, and tell the hub.
    #[default]
    DropOldest,
    /// Let `push` wait until the hub has taken some.
    Wait,
}

/// A device's clock: the one by which its readings are measured.
#[derive(Clone)]
pub struct DeviceClock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl DeviceClock {
    /// A clock that is read like this.
    pub fn new(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// What it shows.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for DeviceClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeviceClock").field(&self.now()).finish()
    }
}

/// What a device's connection needs to know.
#[derive(Debug, Clone)]
pub struct DeviceConfig {
    /// The hub and the token.
    pub endpoint: Endpoint,
    /// Who the device is and what it has.
    pub hello: Hello,
    /// The clock of its readings; the hub is told at each connection what it shows. `None`: the hub learns how far it is ahead
    /// from readings alone.
    pub clock: Option<DeviceClock>,
    /// Most bytes of messages that wait for an ack.
    pub outbox_bytes: usize,
    /// What happens beyond that.
    pub when_full: WhenFull,
    /// The waits between attempts.
    pub backoff: BackoffConfig,
    /// A file in which the ids and ends of commands are kept, so that none is done twice over a restart; `None`: what was
    /// delivered before a restart is answered with `unresolved` and not done.
    pub memory: Option<PathBuf>,
    /// The wait after a refusal for good, up to a fifth longer; `None`: no further attempt.
    pub refused_retry: Option<Duration>,
    /// Time for dialling and upgrading.
    pub connect_deadline: Duration,
}

impl DeviceConfig {
    /// The usual settings for a device.
    pub fn new(endpoint: Endpoint, hello: Hello) -> Self {
        Self {
            endpoint,
            hello,
            clock: None,
            outbox_bytes: OUTBOX_BYTES,
            when_full: WhenFull::default(),
            backoff: BackoffConfig::default(),
            memory: None,
            refused_retry: Some(REFUSED_RETRY),
            connect_deadline: crate::connect::CONNECT_DEADLINE,
        }
    }

    /// What the device says first, as of now.
    fn hello_now(&self) -> Hello {
        Hello { now: self.clock.as_ref().map(DeviceClock::now), ..self.hello.clone() }
    }
}

/// What happens on a device's connection.
#[derive(Debug, Clone, PartialEq)]
pub enum DeviceEvent {
    /// The hub has welcomed us.
    Connected(Welcome),
    /// The connection is gone or could not be made.
    Disconnected {
        /// Why, for a person.
        reason: String,
        /// The code of the hub's close frame.
        code: Option<u16>,
        /// When the next attempt starts; `None`: not by itself.
        retry_in: Option<Duration>,
    },
    /// Do this. It has been answered with `received`; each id comes once, however often the hub sends it.
    Command(CommandRequest),
    /// Stop this command, which was delivered and has not ended.
    Cancel(CommandId),
    /// The hub refused a batch: for good, or for now (`code.is_retryable()`), in which case it is sent again.
    Refused(Refuse),
    /// A batch is settled.
    Acked {
        /// The batch.
        seq: Seq,
        /// The time since it was last written.
        latency: Duration,
    },
    /// The hub did not like a message that is not a batch.
    Error(ErrorMessage),
}

/// A fault to play, for simulators and tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks without a close frame; reconnects as usual.
    Disconnect,
    /// The connection breaks, and none can be made for this time.
    Offline(Duration),
    /// The device neither reads nor writes for this time, and leaves the connection open.
    Silence(Duration),
    /// The next batches, as many as said, are written twice.
    Duplicate(u32),
    /// The connection breaks and the device forgets its outbox, going on in a new epoch. The ids of commands it has
    /// seen are kept, as a device would in flash memory, so that none runs twice.
    Reboot(Epoch),
    /// As [`Fault::Reboot`], and of commands only what [`DeviceConfig::memory`] has is known afterwards. Events of commands
    /// that come before the next [`DeviceEvent::Connected`] are of the time before.
    PowerCut(Epoch),
    /// The last answer for a command is written again.
    Repeat(CommandId),
}

/// How a device's connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceStatus {
    /// Whether the hub has welcomed us and the connection is up.
    pub connected: bool,
    /// Connections on which the hub said welcome.
    pub connections: u64,
    /// Readings in all epochs. `pushed = acked + refused + lost + lost_in_reboots + waiting`.
    pub counts: OutboxCounts,
    /// Readings not settled when a [`Fault::Reboot`] made the device forget them. The hub may have some of them.
    pub lost_in_reboots: u64,
    /// Readings that wait for an ack.
    pub waiting_readings: u64,
    /// Batches that wait for an ack.
    pub waiting_batches: u64,
    /// Bytes of messages that wait for an ack.
    pub outbox_bytes: u64,
    /// Batches written twice by [`Fault::Duplicate`].
    pub duplicates: u64,
    /// [`DeviceEvent::Acked`] that were left out because the application was slow.
    pub events_omitted: u64,
    /// Whether no further attempt is made, because the hub refused us for good.
    pub gave_up: bool,
}

/// Why something was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The client was closed.
    #[error("the connection was closed")]
    Closed,
    /// The memory of commands cannot be read or written.
    #[error("memory of commands {0}")]
    Memory(String),
    /// The message breaks a rule of the protocol.
    #[error("not sent: {0}")]
    Invalid(String),
}

/// Draws the name of a new epoch: 64 random bits, so that a hub never sees one twice.
pub fn draw_epoch() -> Result<Epoch, NameError> {
    let bits: u64 = rand::random();
    Epoch::new(&format!("{bits:016x}"))
}

#[derive(Debug)]
enum Order {
    Update(CommandUpdate),
    Fault(Fault),
    Close { deadline: Duration, done: oneshot::Sender<DeviceStatus> },
}

/// Runs a device's connection.
#[derive(Debug)]
pub struct DeviceClient;

impl DeviceClient {
    /// Starts the connection's task on the present runtime.
    ///
    /// Fails if `hello` breaks a limit of the protocol: no hub would take it. Fails if the memory cannot be read: a device
    /// that forgets what it did must not find out when it does it again.
    pub fn spawn(config: DeviceConfig) -> Result<(DeviceHandle, mpsc::Receiver<DeviceEvent>), DeviceError> {
        config.hello.check().map_err(|e| DeviceError::Invalid(e.to_string()))?;
        let length = DeviceMessage::Hello(config.hello_now()).encode().len();
        if length > DEVICE_MESSAGE_MAX_BYTES {
            return Err(DeviceError::Invalid(format!(
                "hello: {length} bytes: at most {DEVICE_MESSAGE_MAX_BYTES} are allowed"
            )));
        }
        let memory = Memory::of(config.memory.as_deref())
            .map_err(|(path, e)| DeviceError::Memory(format!("{}: {e}", path.display())))?;
        let (pushes, pushes_rx) = mpsc::channel(PUSHES);
        let (orders, orders_rx) = mpsc::channel(ORDERS);
        let (events_tx, events) = mpsc::channel(EVENTS);
        let (status_tx, status) = watch::channel(DeviceStatus::default());
        tokio::spawn(task::Task::new(config, memory, pushes_rx, orders_rx, events_tx, status_tx).run());
        Ok((DeviceHandle { pushes, orders, status }, events))
    }
}

/// Talks to a device's connection. When all handles are gone, the task ends without waiting for acks.
#[derive(Debug, Clone)]
pub struct DeviceHandle {
    pushes: mpsc::Sender<Vec<Point>>,
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<DeviceStatus>,
}

impl DeviceHandle {
    /// Hands readings over. Waits while the queue to the task is full.
    pub async fn push(&self, points: Vec<Point>) -> Result<(), DeviceError> {
        self.pushes.send(points).await.map_err(|_| DeviceError::Closed)
    }

    /// Says what became of a command. It is repeated until the hub has it.
    pub async fn command_update(&self, update: CommandUpdate) -> Result<(), DeviceError> {
        update.check().map_err(DeviceError::Invalid)?;
        self.order(Order::Update(update)).await
    }

    /// Plays a fault.
    pub async fn inject(&self, fault: Fault) -> Result<(), DeviceError> {
        self.order(Order::Fault(fault)).await
    }

    async fn order(&self, order: Order) -> Result<(), DeviceError> {
        self.orders.send(order).await.map_err(|_| DeviceError::Closed)
    }

    /// How the connection is doing now.
    pub fn status(&self) -> DeviceStatus {
        *self.status.borrow()
    }

    /// Waits until the status is as wanted; `Err` if the client was closed before.
    pub async fn wait_for(
        &self,
        wanted: impl FnMut(&DeviceStatus) -> bool,
    ) -> Result<DeviceStatus, DeviceError> {
        let mut status = self.status.clone();
        status.wait_for(wanted).await.map(|status| *status).map_err(|_| DeviceError::Closed)
    }

    /// Takes in everything pushed so far, waits at most `deadline` for its acks, closes with 1000 and returns the
    /// final status. What still waits then is in `waiting_readings`.
    pub async fn close(self, deadline: Duration) -> DeviceStatus {
        let (done, answer) = oneshot::channel();
        if self.order(Order::Close { deadline, done }).await.is_ok()
            && let Ok(status) = answer.await
        {
            return status;
        }
        self.status()
    }
}
