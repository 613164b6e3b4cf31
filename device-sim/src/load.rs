//! The load generator: as fast as the hub acknowledges, with a given number of messages in flight on each connection.
//!
//! Messages are written once, at the start; what changes in them (the number and the times) has a fixed width and is
//! patched in place. So the generator costs little of the machine it shares with the hub it measures.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use client::connect::connect_bare;
use client::device::draw_epoch;
use client::{ConnectError, Endpoint};
use hdrhistogram::Histogram;
use protocol::declare::MetricDeclaration;
use protocol::device::{DeviceMessage, Hello, HubToDevice};
use protocol::name::Seq;
use protocol::{DeviceId, Kind, MetricName, NameError};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::parts::Random;
use crate::report::Latencies;
use crate::socket::{Frame, read_frame, write_close, write_pong, write_text};

/// Messages prepared for each connection, all with other values. Chosen: more than are in flight by default.
const TEMPLATES: usize = 64;
/// Digits of the number in a message, filled up with spaces.
const SEQ_WIDTH: usize = 16;
/// Digits of a time: microseconds since 1970 have 16 until the year 2286.
const TIME_WIDTH: usize = 16;
/// How long to wait for the last acks.
const DRAIN: Duration = Duration::from_secs(30);
/// Space for what is read at once.
const READ_BYTES: usize = 16 * 1024;

/// What to send.
#[derive(Debug, Clone)]
pub struct LoadConfig {
    /// The hub and the fleet's token.
    pub endpoint: Endpoint,
    /// Connections, each a device of its own.
    pub connections: u32,
    /// Readings in one message.
    pub readings_per_message: u32,
    /// Messages that wait for their ack on one connection.
    pub in_flight: u32,
    /// Series of one connection.
    pub series: u32,
    /// How long to send.
    pub duration: Duration,
}

/// Why it cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke.
    #[error("a connection broke: {0}")]
    Lost(#[from] std::io::Error),
    /// The hub closed.
    #[error("the hub closed a connection: {reason} ({code:?})")]
    Closed {
        /// Its code.
        code: Option<u16>,
        /// Its reason.
        reason: String,
    },
    /// The hub refused a batch.
    #[error("the hub refused a batch: {0}")]
    Refused(String),
    /// The hub does not follow the protocol.
    #[error("{0}")]
    Protocol(String),
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The histogram of latencies cannot be made.
    #[error("latencies cannot be counted: {0}")]
    Latency(#[from] hdrhistogram::CreationError),
    /// A task of ours failed.
    #[error("a task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// What a hub took.
#[derive(Debug, Clone, Serialize)]
pub struct LoadReport {
    /// Connections.
    pub connections: u32,
    /// Messages in flight on each.
    pub in_flight: u32,
    /// Readings in each message.
    pub readings_per_message: u32,
    /// From the first message to the last ack, in seconds.
    pub seconds: f64,
    /// Readings acknowledged.
    pub acknowledged: u64,
    /// Readings acknowledged in each second.
    pub readings_per_second: f64,
    /// Messages acknowledged.
    pub messages: u64,
    /// Bytes of JSON acknowledged.
    pub bytes: u64,
    /// Readings sent and never acknowledged.
    pub waiting: u64,
    /// From the writing of a message to its ack, in milliseconds.
    pub ack_latency_ms: Latencies,
    /// Processor time of this process, in seconds; `None` where the system does not tell.
    pub cpu_seconds: Option<f64>,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} connections, {} in flight, {} readings a message, {:.2} s",
            self.connections, self.in_flight, self.readings_per_message, self.seconds
        )?;
        writeln!(
            f,
            "acknowledged   {} readings, {:.0} a second",
            self.acknowledged, self.readings_per_second
        )?;
        writeln!(f, "waiting        {} readings", self.waiting)?;
        writeln!(f, "ack latency    {}", self.ack_latency_ms)?;
        match self.cpu_seconds {
            Some(cpu) => writeln!(f, "own CPU        {cpu:.2} s"),
            None => writeln!(f, "own CPU        unknown on this system"),
        }
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
    let cpu_before = cpu_seconds();
    let started = Instant::now();
    let mut sending = JoinSet::new();
    for connection in connections {
        sending.spawn(connection.send(started + config.duration));
    }
    let mut latency = Histogram::<u64>::new_with_max(3_600_000_000, 3)?;
    let (mut messages, mut bytes, mut waiting, mut finished) = (0, 0, 0, started);
    while let Some(sent) = sending.join_next().await {
        let sent = sent??;
        messages += sent.acked;
        bytes += sent.acked * sent.message_bytes;
        waiting += sent.waiting;
        finished = finished.max(sent.finished);
        for micros in sent.latency.iter_recorded() {
            latency.saturating_record_n(micros.value_iterated_to(), micros.count_at_value());
        }
    }
    let seconds = (finished - started).as_secs_f64();
    let acknowledged = messages * u64::from(config.readings_per_message);
    Ok(LoadReport {
        connections: config.connections,
        in_flight: config.in_flight,
        readings_per_message: config.readings_per_message,
        seconds,
        acknowledged,
        readings_per_second: acknowledged as f64 / seconds.max(1e-9),
        messages,
        bytes,
        waiting: waiting * u64::from(config.readings_per_message),
        ack_latency_ms: Latencies::from_micros(&latency),
        cpu_seconds: cpu_seconds().zip(cpu_before).map(|(after, before)| after - before),
    })
}

/// A message whose number and times can be patched.
#[derive(Debug)]
struct Template {
    frame: Vec<u8>,
    seq_at: usize,
    times_at: Vec<usize>,
}

impl Template {
    fn new(config: &LoadConfig, metrics: &[MetricName], values: &mut Random) -> Self {
        let mut text = format!("{{\"type\":\"readings\",\"seq\":{:>SEQ_WIDTH$},\"points\":[", 0);
        let mut times = Vec::new();
        let mut left = config.readings_per_message as usize;
        while left > 0 {
            let count = left.min(metrics.len());
            left -= count;
            if !times.is_empty() {
                text.push(',');
            }
            text.push_str("{\"at\":");
            times.push(text.len());
            text.push_str(&format!("{:>TIME_WIDTH$},\"values\":{{", 0));
            for (i, metric) in metrics[..count].iter().enumerate() {
                let comma = if i == 0 { "" } else { "," };
                let value = 20.0 + values.normal(1.0);
                text.push_str(&format!("{comma}\"{metric}\":{value:.2}"));
            }
            text.push_str("}}");
        }
        text.push_str("]}");
        let seq_at = text.find("\"seq\":").map_or(0, |at| at + 6);
        let mut frame = Vec::with_capacity(text.len() + 14);
        write_text(&text, &mut frame);
        let head = frame.len() - text.len();
        Self { frame, seq_at: head + seq_at, times_at: times.into_iter().map(|at| head + at).collect() }
    }

    /// Sets the number, and the times from `at` on, one microsecond apart.
    fn patch(&mut self, seq: Seq, at: i64) {
        patch_number(&mut self.frame[self.seq_at..self.seq_at + SEQ_WIDTH], seq.0);
        for (i, place) in self.times_at.iter().enumerate() {
            patch_number(&mut self.frame[*place..place + TIME_WIDTH], at as u64 + i as u64);
        }
    }
}

/// Writes a number into a field, right-aligned: JSON allows spaces before a number, and no zeros.
fn patch_number(field: &mut [u8], mut number: u64) {
    for digit in field.iter_mut().rev() {
        *digit = if number == 0 { b' ' } else { b'0' + (number % 10) as u8 };
        number /= 10;
    }
}

struct Connection {
    stream: TcpStream,
    templates: Vec<Template>,
    in_flight: usize,
    clock: Clock,
    /// Time of the next reading.
    at: i64,
    read: Vec<u8>,
    out: Vec<u8>,
}

struct Sent {
    acked: u64,
    waiting: u64,
    message_bytes: u64,
    finished: Instant,
    latency: Histogram<u64>,
}

impl Connection {
    /// Connects and is welcomed.
    async fn open(config: LoadConfig, index: u32) -> Result<Self, LoadError> {
        let metrics =
            (0..config.series).map(|i| MetricName::new(&format!("m{i}"))).collect::<Result<Vec<_>, _>>()?;
        let declare = |name: &MetricName| MetricDeclaration {
            name: name.clone(),
            unit: None,
            label: None,
            min: None,
            max: None,
            kind: Kind::Number,
        };
        let hello = Hello {
            device: DeviceId::new(&format!("load-{index:05}"))?,
            epoch: draw_epoch()?,
            model: Some("load generator".into()),
            firmware: None,
            metrics: metrics.iter().map(declare).collect(),
            commands: Vec::new(),
        };
        let mut values = Random::new(u64::from(index));
        let clock = Clock::start();
        let mut connection = Self {
            stream: connect_bare(&config.endpoint, protocol::DEVICE_PATH).await?,
            templates: (0..TEMPLATES).map(|_| Template::new(&config, &metrics, &mut values)).collect(),
            in_flight: config.in_flight as usize,
            clock,
            at: clock.base().micros(),
            read: Vec::with_capacity(READ_BYTES),
            out: Vec::new(),
        };
        write_text(&DeviceMessage::Hello(hello).encode(), &mut connection.out);
        connection.flush().await?;
        while !connection.messages().await?.iter().any(|m| matches!(m, HubToDevice::Welcome(_))) {}
        Ok(connection)
    }

    /// Sends until `end`, keeping the window full, and waits for the last acks.
    async fn send(mut self, end: Instant) -> Result<Sent, LoadError> {
        let mut latency = Histogram::<u64>::new_with_max(3_600_000_000, 3)?;
        let message_bytes = self.templates.first().map_or(0, |t| t.frame.len() as u64);
        let mut waiting: VecDeque<Instant> = VecDeque::with_capacity(self.in_flight);
        let (mut seq, mut acked) = (Seq(0), Seq(0));
        let deadline = end + DRAIN;
        let mut now = Instant::now();
        loop {
            if now < end {
                while waiting.len() < self.in_flight {
                    seq = seq.next();
                    self.queue(seq);
                    waiting.push_back(now);
                }
            } else if waiting.is_empty() {
                break;
            }
            self.flush().await?;
            let Ok(messages) = tokio::time::timeout_at(deadline, self.messages()).await else { break };
            now = Instant::now();
            for message in messages? {
                match message {
                    HubToDevice::Ack(ack) => {
                        while acked < ack.seq {
                            acked = acked.next();
                            if let Some(sent_at) = waiting.pop_front() {
                                let micros = (now - sent_at).as_micros();
                                latency.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
                            }
                        }
                    }
                    HubToDevice::Refuse(refuse) => return Err(LoadError::Refused(refuse.message)),
                    HubToDevice::Error(error) => return Err(LoadError::Protocol(error.message)),
                    HubToDevice::Welcome(_) | HubToDevice::Command(_) | HubToDevice::Cancel(_) => {}
                }
            }
        }
        write_close(1000, &mut self.out);
        self.flush().await?;
        Ok(Sent { acked: acked.0, waiting: waiting.len() as u64, message_bytes, finished: now, latency })
    }

    fn queue(&mut self, seq: Seq) {
        let template = &mut self.templates[seq.0 as usize % TEMPLATES];
        let times = template.times_at.len() as i64;
        self.at = self.clock.now().micros().max(self.at);
        template.patch(seq, self.at);
        self.at += times;
        self.out.extend_from_slice(&template.frame);
    }

    async fn flush(&mut self) -> Result<(), LoadError> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }

    /// Waits for whatever the hub says next. Answers its pings.
    async fn messages(&mut self) -> Result<Vec<HubToDevice>, LoadError> {
        let mut messages = Vec::new();
        while messages.is_empty() {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(LoadError::Closed { code: None, reason: "without a word".into() });
            }
            let mut start = 0;
            while let Some((frame, length)) =
                read_frame(&self.read[start..]).map_err(|e| LoadError::Protocol(e.into()))?
            {
                start += length;
                match frame {
                    Frame::Text(text) => messages
                        .push(HubToDevice::decode(text).map_err(|e| LoadError::Protocol(e.to_string()))?),
                    Frame::Ping(payload) => write_pong(payload, &mut self.out),
                    Frame::Pong => {}
                    Frame::Close(code, reason) => {
                        return Err(LoadError::Closed { code, reason: reason.to_owned() });
                    }
                }
            }
            self.read.drain(..start);
            self.flush().await?;
        }
        Ok(messages)
    }
}

/// Processor time of this process so far: fields 14 and 15 of `/proc/self/stat`, in hundredths of a second on Linux.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in brackets and may hold spaces.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / 100.0)
}

#[cfg(test)]
mod tests {
    use protocol::device::RawReadings;

    use super::*;

    #[test]
    fn a_patched_message_is_one_that_the_protocol_reads() {
        let endpoint = Endpoint::new("ws://127.0.0.1:1", "t").unwrap();
        let metrics: Vec<_> = (0..4).map(|i| MetricName::new(&format!("m{i}")).unwrap()).collect();
        let config = LoadConfig {
            endpoint,
            connections: 1,
            readings_per_message: 10,
            in_flight: 1,
            series: 4,
            duration: Duration::ZERO,
        };
        let mut template = Template::new(&config, &metrics, &mut Random::new(1));
        for seq in [1, 42, 9_007_199_254_740_991] {
            template.patch(Seq(seq), 1_700_000_000_000_000);
            let start = template.frame.iter().position(|b| *b == b'{').unwrap();
            let text = std::str::from_utf8(&template.frame[start..]).unwrap();
            let readings = RawReadings::decode(text).unwrap();
            assert_eq!((readings.seq, readings.readings.len()), (Seq(seq), 10));
            assert_eq!(readings.readings[9].at.0, 1_700_000_000_000_002);
        }
    }

    #[test]
    fn processor_time_is_known_on_linux() {
        assert_eq!(cpu_seconds().is_some(), cfg!(target_os = "linux"));
    }
}
