//! The load generator: as fast as the hub acknowledges, with a given number of messages in flight on each connection, or
//! at a given rate.
//!
//! Messages are written once, at the start, and patched in place (`batches`). So the generator costs little of the machine
//! it shares with the hub it measures. The same messages can go to an MQTT broker at QoS 1, as a yardstick.

mod batches;
mod connection;
mod mqtt;
mod pace;
mod process;
mod socket;

use std::fmt;
use std::time::Duration;

use client::{ConnectError, Endpoint};
use hdrhistogram::Histogram;
use protocol::NameError;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use connection::{Connection, Plan};
use pace::Pace;
use process::Usage;

use crate::report::Latencies;

/// The longest latency that is told from longer ones: an hour.
const LATENCY_MAX_MICROS: u64 = 3_600_000_000;

/// Where to send.
#[derive(Debug, Clone)]
pub enum Target {
    /// A hub, with the fleet's token.
    Hub(Endpoint),
    /// An MQTT broker, `address:port`.
    Mqtt(String),
}

/// What to send.
#[derive(Debug, Clone)]
pub struct LoadConfig {
    /// Where to send.
    pub target: Target,
    /// Connections, each a device of its own.
    pub connections: u32,
    /// Readings in one message.
    pub readings_per_message: u32,
    /// Messages that wait for their ack on one connection, at most.
    pub in_flight: u32,
    /// Series of one connection, at least one: they take turns.
    pub series: u32,
    /// Readings a second over all connections; `None`: as fast as they are acknowledged.
    pub rate: Option<u64>,
    /// How long to send before it is measured.
    pub warm_up: Duration,
    /// How long to send, measured.
    pub duration: Duration,
    /// The process that receives, if what it uses is to be measured with it.
    pub server: Option<u32>,
}

/// Why it cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke.
    #[error("a connection broke")]
    Lost(#[from] std::io::Error),
    /// The other side closed.
    #[error("the other side closed a connection: {reason} ({code:?})")]
    Closed {
        /// Its code.
        code: Option<u16>,
        /// Its reason.
        reason: String,
    },
    /// A batch, or the connection, was refused.
    #[error("refused: {0}")]
    Refused(String),
    /// The other side does not follow the protocol.
    #[error("{0}")]
    Protocol(String),
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The histogram of latencies cannot be made.
    #[error("latencies cannot be counted")]
    Latency(#[from] hdrhistogram::CreationError),
    /// The process to measure is not there.
    #[error("process {0} cannot be measured: there is none, or this system has no /proc")]
    Server(u32),
    /// A task of ours failed.
    #[error("a task failed")]
    Task(#[from] tokio::task::JoinError),
}

/// What was taken in the measured stretch, and what it cost.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// How long it was.
    pub seconds: f64,
    /// Readings whose ack came in it.
    pub readings: u64,
    /// The same for each second.
    pub readings_per_second: f64,
    /// To the ack, in milliseconds, of the messages due in it: from when each was due, which without a rate is when it
    /// was written.
    pub ack_latency_ms: Latencies,
    /// Processor time of this process, in seconds; `None` where the system does not tell.
    pub own_cpu_seconds: Option<f64>,
    /// What the process used that receives, if it was named.
    pub server: Option<ServerUse>,
}

/// What the process that receives used in the measured stretch.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ServerUse {
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// Bytes that it had the disk write; `None` if the process is another user's.
    pub written_bytes: Option<u64>,
    /// Memory that it held at the end, in bytes, what it maps of files with it.
    pub resident_bytes: u64,
    /// Of that, what is no file's.
    pub anonymous_bytes: u64,
}

/// What a hub took.
#[derive(Debug, Clone, Serialize)]
pub struct LoadReport {
    /// Connections.
    pub connections: u32,
    /// Messages in flight on each, at most.
    pub in_flight: u32,
    /// Readings in each message.
    pub readings_per_message: u32,
    /// Series in all.
    pub series: u32,
    /// From the first message to the last ack, in seconds: warm-up and last acks with it.
    pub seconds: f64,
    /// Readings acknowledged in that time.
    pub acknowledged: u64,
    /// Messages acknowledged.
    pub messages: u64,
    /// Bytes acknowledged.
    pub bytes: u64,
    /// Readings sent and never acknowledged.
    pub waiting: u64,
    /// The measured stretch.
    pub measured: Measured,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measured { seconds, readings_per_second, ack_latency_ms, own_cpu_seconds, server, .. } =
            &self.measured;
        writeln!(
            f,
            "{} connections, {} series, {} in flight, {} readings a message",
            self.connections, self.series, self.in_flight, self.readings_per_message
        )?;
        writeln!(f, "acknowledged   {} readings in {:.2} s", self.acknowledged, self.seconds)?;
        writeln!(f, "measured       {readings_per_second:.0} a second for {seconds:.2} s")?;
        writeln!(f, "waiting        {} readings", self.waiting)?;
        writeln!(f, "ack latency    {ack_latency_ms}")?;
        match own_cpu_seconds {
            Some(cpu) => writeln!(f, "own CPU        {cpu:.2} s")?,
            None => writeln!(f, "own CPU        unknown on this system")?,
        }
        if let Some(server) = server {
            writeln!(f, "server CPU     {:.2} s", server.cpu_seconds)?;
        }
        Ok(())
    }
}

/// Connects everything, sends for the configured time, waits for the last acks.
pub async fn run(config: LoadConfig) -> Result<LoadReport, LoadError> {
    let mut opening = JoinSet::new();
    for index in 0..config.connections {
        opening.spawn(Connection::open(config.clone(), index));
    }
    let mut connections = Vec::new();
    while let Some(opened) = opening.join_next().await {
        connections.push(opened??);
    }
    if let Some(pid) = config.server.filter(|pid| Usage::read(Some(*pid)).is_none()) {
        return Err(LoadError::Server(pid));
    }
    let start = Instant::now();
    let pace = |rate| Pace { rate, readings: config.readings_per_message, connections: config.connections };
    let measured_from = start + config.warm_up;
    let end = measured_from + config.duration;
    let plan = Plan { start, measured: measured_from, end, pace: config.rate.map(pace) };
    let using = tokio::spawn(measure_use(config.server, plan));
    let mut sending = JoinSet::new();
    for connection in connections {
        sending.spawn(connection.send(plan));
    }
    let mut latency = Histogram::<u64>::new_with_max(LATENCY_MAX_MICROS, 3)?;
    let (mut messages, mut bytes, mut waiting, mut measured, mut finished) = (0, 0, 0, 0, start);
    while let Some(sent) = sending.join_next().await {
        let sent = sent??;
        messages += sent.acked;
        measured += sent.measured;
        bytes += sent.acked * sent.message_bytes;
        waiting += sent.waiting;
        finished = finished.max(sent.finished);
        for micros in sent.latency.iter_recorded() {
            latency.saturating_record_n(micros.value_iterated_to(), micros.count_at_value());
        }
    }
    let (own_cpu_seconds, server) = using.await?;
    let readings = u64::from(config.readings_per_message);
    let seconds = config.duration.as_secs_f64();
    Ok(LoadReport {
        connections: config.connections,
        in_flight: config.in_flight,
        readings_per_message: config.readings_per_message,
        series: config.connections * config.series,
        seconds: (finished - start).as_secs_f64(),
        acknowledged: messages * readings,
        messages,
        bytes,
        waiting: waiting * readings,
        measured: Measured {
            seconds,
            readings: measured * readings,
            readings_per_second: (measured * readings) as f64 / seconds.max(1e-9),
            ack_latency_ms: Latencies::from_micros(&latency),
            own_cpu_seconds,
            server,
        },
    })
}

/// What this process (its processor time) and the one that receives use in the measured stretch.
async fn measure_use(server: Option<u32>, plan: Plan) -> (Option<f64>, Option<ServerUse>) {
    let read = || (Usage::read(None), server.and_then(|pid| Usage::read(Some(pid))));
    sleep_until(plan.measured).await;
    let before = read();
    sleep_until(plan.end).await;
    let after = read();
    let own = after.0.zip(before.0).map(|(after, before)| after.cpu_seconds - before.cpu_seconds);
    let server = after.1.zip(before.1).map(|(after, before)| ServerUse {
        cpu_seconds: after.cpu_seconds - before.cpu_seconds,
        written_bytes: after.written_bytes.zip(before.written_bytes).map(|(after, before)| after - before),
        resident_bytes: after.resident_bytes,
        anonymous_bytes: after.anonymous_bytes,
    });
    (own, server)
}
