//! One connection of a load: a device of a hub, or a client of a broker.

use std::collections::VecDeque;
use std::time::Duration;

use client::Transport;
use client::connect::connect_bare;
use client::device::draw_epoch;
use hdrhistogram::Histogram;
use protocol::declare::MetricDeclaration;
use protocol::device::{DeviceMessage, Hello, HubToDevice};
use protocol::name::Seq;
use protocol::{DeviceId, Kind, MetricName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_util::either::Either;

use super::batches::{Batches, Framing};
use super::mqtt::{self, Packet};
use super::pace::Pace;
use super::socket::{Frame, read_frame, write_close, write_pong, write_text};
use super::{LATENCY_MAX_MICROS, LoadConfig, LoadError, Target};
use crate::clock::Clock;

/// How long to wait for the last acks.
const DRAIN: Duration = Duration::from_secs(30);
/// Space for what is read at once.
const READ_BYTES: usize = 16 * 1024;

/// When a connection sends, and what of it is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// The first message.
    pub(super) start: Instant,
    /// From here on it is measured.
    pub(super) measured: Instant,
    /// No message is due from here on.
    pub(super) end: Instant,
    /// `None`: as fast as the other side acknowledges.
    pub(super) pace: Option<Pace>,
}

/// What became of the messages of a connection.
pub(super) struct Sent {
    /// Messages acknowledged.
    pub(super) acked: u64,
    /// Of them, those whose ack came in the measured stretch.
    pub(super) measured: u64,
    /// Messages that were never acknowledged.
    pub(super) waiting: u64,
    /// Bytes of a message.
    pub(super) message_bytes: u64,
    /// When the last ack came.
    pub(super) finished: Instant,
    /// Microseconds to the ack, of the messages that were due in the measured stretch.
    pub(super) latency: Histogram<u64>,
}

pub(super) struct Connection {
    stream: Transport,
    index: u32,
    framing: Framing,
    batches: Batches,
    in_flight: usize,
    clock: Clock,
    /// The last message that was sent.
    sent: Seq,
    /// The last that was acknowledged.
    acked: Seq,
    welcome: bool,
    read: Vec<u8>,
    out: Vec<u8>,
}

impl Connection {
    /// Connects and is welcomed.
    pub(super) async fn open(config: LoadConfig, index: u32) -> Result<Self, LoadError> {
        let metrics =
            (0..config.series).map(|i| MetricName::new(&format!("m{i}"))).collect::<Result<Vec<_>, _>>()?;
        let name = format!("load-{index:05}");
        let mut out = Vec::new();
        let (stream, framing) = match &config.target {
            Target::Hub(endpoint) => {
                write_text(&hello(&name, &metrics)?.encode(), &mut out);
                (connect_bare(endpoint, protocol::DEVICE_PATH).await?, Framing::WebSocket)
            }
            Target::Mqtt(address) => {
                mqtt::write_connect(&name, &mut out);
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                (Either::Left(stream), Framing::Mqtt(format!("load/{index:05}")))
            }
        };
        let clock = Clock::start();
        let readings = config.readings_per_message as usize;
        let batches = Batches::new(&metrics, readings, &framing, u64::from(index), clock.base().micros());
        let mut connection = Self {
            stream,
            index,
            framing,
            batches,
            in_flight: config.in_flight as usize,
            clock,
            sent: Seq(0),
            acked: Seq(0),
            welcome: false,
            read: Vec::with_capacity(READ_BYTES),
            out,
        };
        while !connection.welcome {
            connection.flush().await?;
            connection.receive().await?;
            connection.take()?;
        }
        Ok(connection)
    }

    /// Sends what is due until the end, and waits for the last acks. Without a pace a message is due when there is room
    /// for it; with one it may be late because there is none, and its latency is counted from when it was due.
    pub(super) async fn send(mut self, plan: Plan) -> Result<Sent, LoadError> {
        let mut latency = Histogram::<u64>::new_with_max(LATENCY_MAX_MICROS, 3)?;
        // When those that wait for their ack were due.
        let mut waiting: VecDeque<Instant> = VecDeque::with_capacity(self.in_flight);
        let mut measured = 0;
        let deadline = plan.end + DRAIN;
        let mut now = Instant::now();
        loop {
            let before = self.sent;
            let next = loop {
                let due = plan.pace.map(|pace| plan.start + pace.due(self.index, self.sent.0));
                let more = due.unwrap_or(now) < plan.end;
                if !more || waiting.len() >= self.in_flight || due.is_some_and(|due| due > now) {
                    // Only what is to come by itself, without an ack, has to be waited for.
                    let room = waiting.len() < self.in_flight;
                    break (more && room).then_some(due).flatten();
                }
                self.sent = self.sent.next();
                waiting.push_back(due.unwrap_or(now));
            };
            let count = (self.sent.0 - before.0) as usize;
            if count > 0 {
                self.batches.write(before.next(), count, self.clock.now().micros(), &mut self.out);
            }
            if waiting.is_empty() && next.is_none() {
                break;
            }
            self.flush().await?;
            tokio::select! {
                received = self.receive() => received?,
                () = sleep_until(next.unwrap_or(deadline)) => {
                    if next.is_none() {
                        break;
                    }
                }
            }
            now = Instant::now();
            let acked = self.acked;
            self.take()?;
            for _ in acked.0..self.acked.0 {
                if now >= plan.measured && now < plan.end {
                    measured += 1;
                }
                if let Some(due) = waiting.pop_front()
                    && due >= plan.measured
                {
                    let micros = (now - due).as_micros();
                    latency.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
                }
            }
        }
        match self.framing {
            Framing::WebSocket => write_close(1000, &mut self.out),
            Framing::Mqtt(_) => mqtt::write_disconnect(&mut self.out),
        }
        self.flush().await?;
        let message_bytes = self.batches.message_bytes();
        let waiting = waiting.len() as u64;
        Ok(Sent { acked: self.acked.0, measured, waiting, message_bytes, finished: now, latency })
    }

    async fn flush(&mut self) -> Result<(), LoadError> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }

    /// Waits for bytes. Nothing is lost if the wait is given up.
    async fn receive(&mut self) -> Result<(), LoadError> {
        if self.stream.read_buf(&mut self.read).await? == 0 {
            return Err(LoadError::Closed { code: None, reason: "without a word".into() });
        }
        Ok(())
    }

    /// Takes in what was received: the welcome, acks, and pings, whose answers it leaves in `out`.
    fn take(&mut self) -> Result<(), LoadError> {
        let mut start = 0;
        let protocol = |problem: &str| LoadError::Protocol(problem.to_owned());
        match self.framing {
            Framing::WebSocket => {
                while let Some((frame, length)) = read_frame(&self.read[start..]).map_err(protocol)? {
                    start += length;
                    match frame {
                        Frame::Text(text) => {
                            match HubToDevice::decode(text)
                                .map_err(|error| LoadError::Protocol(error.to_string()))?
                            {
                                HubToDevice::Ack(ack) => self.acked = ack.seq.max(self.acked),
                                HubToDevice::Welcome(_) => self.welcome = true,
                                HubToDevice::Refuse(refuse) => {
                                    return Err(LoadError::Refused(refuse.message));
                                }
                                HubToDevice::Error(error) => return Err(LoadError::Protocol(error.message)),
                                HubToDevice::Command(_) | HubToDevice::Cancel(_) => {}
                            }
                        }
                        Frame::Ping(payload) => write_pong(payload, &mut self.out),
                        Frame::Pong => {}
                        Frame::Close(code, reason) => {
                            return Err(LoadError::Closed { code, reason: reason.to_owned() });
                        }
                    }
                }
            }
            Framing::Mqtt(_) => {
                while let Some((packet, length)) = mqtt::read_packet(&self.read[start..]).map_err(protocol)? {
                    start += length;
                    match packet {
                        Packet::Connected(0) => self.welcome = true,
                        Packet::Connected(code) => {
                            return Err(LoadError::Refused(format!("connection, code {code}")));
                        }
                        // A broker acknowledges in the order of the messages.
                        Packet::Acknowledged(id) if id == mqtt::packet(self.acked.0 + 1) => {
                            self.acked = self.acked.next();
                        }
                        Packet::Acknowledged(_) => {
                            return Err(protocol("the broker acknowledged out of order"));
                        }
                    }
                }
            }
        }
        self.read.drain(..start);
        if self.acked > self.sent {
            return Err(protocol("a message was acknowledged that was never sent"));
        }
        Ok(())
    }
}

/// Makes the device known with everything that it will measure.
fn hello(name: &str, metrics: &[MetricName]) -> Result<DeviceMessage, LoadError> {
    let declare = |name: &MetricName| MetricDeclaration {
        name: name.clone(),
        unit: None,
        label: None,
        min: None,
        max: None,
        kind: Kind::Number,
    };
    Ok(DeviceMessage::Hello(Hello {
        device: DeviceId::new(name)?,
        epoch: draw_epoch()?,
        now: None,
        model: Some("load generator".into()),
        firmware: None,
        tags: Vec::new(),
        metrics: metrics.iter().map(declare).collect(),
        commands: Vec::new(),
    }))
}
