//! The tap: a stream between TLS and the WebSocket library that sees every byte of both directions.
//!
//! It finds the frames by itself (`protocol::frame`), so what it tells is what was on the wire, hostile frames among it, and not
//! what a library made of it. Bytes and frames are counted always. Frames are recorded while somebody watches; then
//! payloads are unmasked and their starts kept.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use protocol::Timestamp;
use protocol::frame::{self, Framer, Head, Piece};
use protocol::viewer::EndedBy;
use protocol::wire::{
    Close, Ended, Event, Figures, Frame, Handshake, MessageHead, Record, Side, Tls, Traffic, to_hex,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::heads::Heads;
use super::recording::Recording;
use crate::clock;
use crate::tls::Transport;

/// Says that a number is not known.
const UNKNOWN: i64 = i64::MIN;

/// A connection as others see it: its figures, its handshake, and whether it is recorded.
#[derive(Debug)]
pub struct Tap {
    session: String,
    opened_at: Timestamp,
    on: AtomicBool,
    device: Counts,
    hub: Counts,
    round_trip: AtomicI64,
    clock_ahead: AtomicI64,
    /// What is needed rarely: how it was made, and where it is recorded.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    handshake: Option<Box<Handshake>>,
    recording: Option<Arc<Recording>>,
}

/// What one side sent, for others to read. Written by one task only.
#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    frames: AtomicU64,
    messages: AtomicU64,
    header_bytes: AtomicU64,
}

impl Counts {
    fn publish(&self, traffic: &Traffic) {
        self.bytes.store(traffic.bytes, Ordering::Relaxed);
        self.frames.store(traffic.frames, Ordering::Relaxed);
        self.messages.store(traffic.messages, Ordering::Relaxed);
        self.header_bytes.store(traffic.header_bytes, Ordering::Relaxed);
    }

    fn read(&self) -> Traffic {
        Traffic {
            bytes: self.bytes.load(Ordering::Relaxed),
            frames: self.frames.load(Ordering::Relaxed),
            messages: self.messages.load(Ordering::Relaxed),
            header_bytes: self.header_bytes.load(Ordering::Relaxed),
        }
    }
}

impl Tap {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `hello` was read.
    pub fn on_hello(&self, at: Timestamp) {
        if let Some(handshake) = &mut self.lock().handshake {
            handshake.hello_at = Some(at);
        }
    }

    /// A ping came back after so many microseconds.
    pub fn on_round_trip(&self, micros: i64) {
        self.round_trip.store(micros, Ordering::Relaxed);
    }

    /// The device's clock is so many microseconds ahead of the hub's.
    pub fn on_clock_ahead(&self, micros: i64) {
        self.clock_ahead.store(micros, Ordering::Relaxed);
    }

    /// It in numbers.
    pub fn figures(&self) -> Figures {
        let known = |number: &AtomicI64| Some(number.load(Ordering::Relaxed)).filter(|n| *n != UNKNOWN);
        Figures {
            session: self.session.clone(),
            opened_at: self.opened_at,
            at: clock::now(),
            device: self.device.read(),
            hub: self.hub.read(),
            round_trip: known(&self.round_trip).and_then(|micros| u64::try_from(micros).ok()),
            clock_ahead: known(&self.clock_ahead),
        }
    }

    /// How it was made, as a record.
    pub fn opened(&self) -> Option<Record> {
        let handshake = self.lock().handshake.clone()?;
        Some(Record { session: self.session.clone(), at: self.opened_at, event: Event::Opened(handshake) })
    }

    /// Records from now on.
    pub fn begin(&self, recording: &Arc<Recording>) {
        self.lock().recording = Some(Arc::clone(recording));
        self.on.store(true, Ordering::Relaxed);
    }

    /// It is known whose it is, and that one is watched: how it was made and what was recorded so far goes there.
    pub fn is_recorded_in(&self, recording: &Arc<Recording>) {
        if let Some(opened) = self.opened() {
            recording.push(opened);
        }
        let before = self.lock().recording.replace(Arc::clone(recording));
        if let Some(before) = before {
            before.move_to(recording);
        }
        self.on.store(true, Ordering::Relaxed);
    }

    /// Nobody watches it.
    pub fn is_not_recorded(&self) {
        self.on.store(false, Ordering::Relaxed);
        self.lock().recording = None;
    }
}

/// A peer's stream, tapped. HTTP first, then frames.
pub struct Tapped {
    stream: Transport,
    phase: Phase,
}

enum Phase {
    Http(Box<Heads>),
    Frames(Box<Frames>),
    /// Neither: between both.
    Dark,
}

impl Tapped {
    /// A connection that was accepted then, and whose TLS was there now.
    pub fn new(stream: Transport, address: String, accepted_at: Timestamp) -> Self {
        let tls = crate::tls::agreed(&stream);
        let tls = tls.map(|(version, cipher)| (Tls { version, cipher }, clock::now()));
        Self { stream, phase: Phase::Http(Box::new(Heads::new(address, accepted_at, tls))) }
    }

    /// What comes from now on is frames, and `early` was read of them already. `keep`: somebody may want to know how it
    /// was made.
    pub fn upgraded(&mut self, session: String, early: &[u8], keep: bool, recording: Option<Arc<Recording>>) {
        let heads = match std::mem::replace(&mut self.phase, Phase::Dark) {
            Phase::Http(heads) => Some(heads),
            Phase::Frames(_) | Phase::Dark => None,
        };
        let handshake = heads.filter(|_| keep).map(|heads| Box::new(heads.finish()));
        let opened_at = handshake.as_ref().map_or_else(clock::now, |handshake| handshake.upgraded_at);
        let tap = Arc::new(Tap {
            session,
            opened_at,
            on: AtomicBool::new(recording.is_some()),
            device: Counts::default(),
            hub: Counts::default(),
            round_trip: AtomicI64::new(UNKNOWN),
            clock_ahead: AtomicI64::new(UNKNOWN),
            state: Mutex::new(State { handshake, recording }),
        });
        let mut frames = Box::new(Frames::new(tap));
        frames.saw(Side::Device, early);
        self.phase = Phase::Frames(frames);
    }

    /// What was read comes once more to whoever reads next. Only while HTTP is spoken.
    pub fn read_again(&mut self, bytes: Vec<u8>) {
        if let Phase::Http(heads) = &mut self.phase {
            heads.again = bytes.into();
        }
    }

    /// What of that nobody has read.
    pub fn not_read_again(&mut self) -> Bytes {
        match &mut self.phase {
            Phase::Http(heads) => std::mem::take(&mut heads.again),
            Phase::Frames(_) | Phase::Dark => Bytes::new(),
        }
    }

    /// Whether all that has come from the peer is whole messages.
    pub fn is_between_messages(&self) -> bool {
        match &self.phase {
            Phase::Frames(frames) => frames.device.framer.is_between_messages(),
            Phase::Http(_) | Phase::Dark => false,
        }
    }

    /// What others may know of it; `None` before the upgrade.
    pub fn tap(&self) -> Option<&Arc<Tap>> {
        match &self.phase {
            Phase::Frames(frames) => Some(&frames.tap),
            Phase::Http(_) | Phase::Dark => None,
        }
    }

    /// Some bytes went by.
    pub fn saw(&mut self, from: Side, bytes: &[u8]) {
        match &mut self.phase {
            Phase::Frames(frames) => frames.saw(from, bytes),
            Phase::Http(heads) => heads.saw(from, bytes),
            Phase::Dark => {}
        }
    }

    fn ended(&mut self, by: Side) {
        if let Phase::Frames(frames) = &mut self.phase {
            frames.ended_by.get_or_insert(by);
        }
    }
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Phase::Http(heads) = &mut self.phase
            && !heads.again.is_empty()
        {
            let count = heads.again.len().min(buffer.remaining());
            buffer.put_slice(&heads.again.split_to(count));
            if heads.again.is_empty() {
                heads.again = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let had_room = buffer.remaining() > 0;
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        match buffer.filled().get(before..) {
            Some(bytes) if !bytes.is_empty() => self.saw(Side::Device, bytes),
            _ if had_room => self.ended(Side::Device),
            _ => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.saw(Side::Hub, bytes.get(..count).unwrap_or_default());
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended(Side::Hub);
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What the tap knows of the frames of a connection.
struct Frames {
    tap: Arc<Tap>,
    device: Direction,
    hub: Direction,
    /// Frames that have begun, both sides together.
    count: u64,
    /// Which side ended first.
    ended_by: Option<Side>,
    /// The first close frame.
    close: Option<(Side, Option<Close>)>,
    /// Both sides have sent one.
    both_closed: bool,
}

#[derive(Default)]
struct Direction {
    framer: Framer,
    traffic: Traffic,
    /// The frame that comes now, if it is recorded.
    pending: Option<Box<Pending>>,
    /// The last ping, for its pong.
    ping: Option<(Vec<u8>, Timestamp)>,
}

/// A frame that is being recorded.
struct Pending {
    n: u64,
    offset: u64,
    head: Head,
    came: u64,
    /// The start of its payload, as it came.
    payload: Vec<u8>,
    keep: usize,
    problems: Vec<&'static str>,
}

impl Frames {
    fn new(tap: Arc<Tap>) -> Self {
        Self {
            tap,
            device: Direction::default(),
            hub: Direction::default(),
            count: 0,
            ended_by: None,
            close: None,
            both_closed: false,
        }
    }

    fn saw(&mut self, from: Side, bytes: &[u8]) {
        if self.tap.on.load(Ordering::Relaxed) {
            self.record(from, bytes);
        } else {
            self.count(from, bytes);
        }
        let (counts, direction) = match from {
            Side::Device => (&self.tap.device, &self.device),
            Side::Hub => (&self.tap.hub, &self.hub),
        };
        counts.publish(&direction.traffic);
    }

    fn count(&mut self, from: Side, mut bytes: &[u8]) {
        let direction = match from {
            Side::Device => &mut self.device,
            Side::Hub => &mut self.hub,
        };
        direction.pending = None;
        direction.traffic.bytes += bytes.len() as u64;
        while let Some(piece) = direction.framer.next(&mut bytes) {
            if let Piece::Head(head) = piece {
                self.count += 1;
                direction.traffic.frames += 1;
                direction.traffic.header_bytes += u64::from(head.bytes);
                direction.traffic.messages += u64::from(head.ends_message());
                if head.opcode == frame::CLOSE {
                    closes(&mut self.close, &mut self.both_closed, from);
                }
            }
        }
    }

    fn record(&mut self, from: Side, mut bytes: &[u8]) {
        let tap = Arc::clone(&self.tap);
        let state = tap.lock();
        let Some(recording) = &state.recording else {
            drop(state);
            return self.count(from, bytes);
        };
        let now = clock::now();
        let (direction, other) = match from {
            Side::Device => (&mut self.device, &mut self.hub),
            Side::Hub => (&mut self.hub, &mut self.device),
        };
        let start = direction.traffic.bytes;
        let whole = bytes.len();
        direction.traffic.bytes += whole as u64;
        while let Some(piece) = direction.framer.next(&mut bytes) {
            match piece {
                Piece::Head(head) => {
                    self.count += 1;
                    direction.traffic.frames += 1;
                    direction.traffic.header_bytes += u64::from(head.bytes);
                    direction.traffic.messages += u64::from(head.ends_message());
                    let problems = head.problems(from == Side::Device);
                    let notable = head.is_control() || !problems.is_empty();
                    // Its last byte is the one before those that are left.
                    let end = start + (whole - bytes.len()) as u64;
                    // How it ends is always told.
                    let ends =
                        head.opcode == frame::CLOSE && closes(&mut self.close, &mut self.both_closed, from);
                    direction.pending = (ends || recording.admits(now, notable)).then(|| {
                        let keep = recording.payload_bytes();
                        let keep = if head.is_control() { keep.max(256) } else { keep };
                        let offset = end.saturating_sub(head.bytes.into());
                        Box::new(Pending {
                            n: self.count,
                            offset,
                            head,
                            came: 0,
                            payload: Vec::new(),
                            keep,
                            problems,
                        })
                    });
                }
                Piece::Payload { bytes, .. } => {
                    if let Some(pending) = &mut direction.pending {
                        pending.came += bytes.len() as u64;
                        let room = pending.keep.saturating_sub(pending.payload.len()).min(bytes.len());
                        pending.payload.extend(bytes.get(..room).unwrap_or_default());
                    }
                }
                Piece::End => {
                    let Some(pending) = direction.pending.take() else { continue };
                    let opcode = pending.head.opcode;
                    let (mut frame, payload) = pending.finish(from);
                    match opcode {
                        frame::PING => direction.ping = Some((payload, now)),
                        frame::PONG => {
                            if let Some((asked, at)) = other.ping.take_if(|(asked, _)| *asked == payload) {
                                drop(asked);
                                frame.round_trip = u64::try_from(now.micros_since(at)).ok();
                            }
                        }
                        frame::CLOSE => {
                            if let Some((first, said @ None)) = &mut self.close
                                && *first == from
                            {
                                said.clone_from(&frame.close);
                            }
                        }
                        _ => {}
                    }
                    recording.frame(&tap.session, now, Box::new(frame));
                }
            }
        }
    }
}

/// One side sends a close frame. Returns whether it is its first.
fn closes(close: &mut Option<(Side, Option<Close>)>, both: &mut bool, from: Side) -> bool {
    match close {
        None => {
            *close = Some((from, None));
            true
        }
        Some((first, _)) => *first != from && !std::mem::replace(both, true),
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        if !self.tap.on.load(Ordering::Relaxed) {
            return;
        }
        let state = self.tap.lock();
        let Some(recording) = &state.recording else { return };
        let now = clock::now();
        for (from, direction) in [(Side::Device, &mut self.device), (Side::Hub, &mut self.hub)] {
            if let Some(pending) = direction.pending.take() {
                recording.frame(&self.tap.session, now, Box::new(pending.finish(from).0));
            }
        }
        let began = self.close.as_ref().map(|(side, _)| *side).or(self.ended_by);
        let by = match began {
            Some(Side::Device) => EndedBy::Device,
            Some(Side::Hub) => EndedBy::Hub,
            None => EndedBy::Lost,
        };
        let close = self.close.take().and_then(|(_, close)| close);
        let event = Event::Ended(Ended { by, in_order: self.both_closed, close });
        recording.push(Record { session: self.tap.session.clone(), at: now, event });
    }
}

impl Pending {
    /// The frame as it is told, and the start of its payload, unmasked.
    fn finish(self, from: Side) -> (Frame, Vec<u8>) {
        let Self { n, offset, head, came, mut payload, mut problems, .. } = self;
        if let Some(key) = head.key {
            frame::unmask(&mut payload, key, 0);
        }
        let is_text = matches!(head.opcode, frame::TEXT | frame::CONTINUATION);
        let is_cut = (payload.len() as u64) < head.payload;
        let text = if is_text { text_of(&payload, is_cut) } else { None };
        if head.opcode == frame::TEXT && head.fin && !is_cut && text.is_none() && !payload.is_empty() {
            problems.push("text is not UTF-8");
        }
        let close = if head.opcode == frame::CLOSE { close_of(&payload, &mut problems) } else { None };
        let hex = (text.is_none() && !payload.is_empty()).then(|| to_hex(&payload));
        let message = text.as_deref().filter(|_| head.opcode == frame::TEXT).and_then(MessageHead::read);
        let frame = Frame {
            n,
            from,
            offset,
            opcode: head.opcode,
            fin: head.fin,
            rsv: head.rsv,
            mask: head.key.map(|key| to_hex(&key)),
            header_bytes: head.bytes,
            payload_bytes: head.payload,
            came_bytes: (came < head.payload).then_some(came),
            text,
            hex,
            message,
            round_trip: None,
            close,
            problems: problems.into_iter().map(str::to_owned).collect(),
        };
        (frame, payload)
    }
}

/// The payload as text, if it is such; a character that the cut went through is left out.
fn text_of(payload: &[u8], is_cut: bool) -> Option<String> {
    match std::str::from_utf8(payload) {
        Ok("") => None,
        Ok(text) => Some(text.to_owned()),
        Err(error) if is_cut && error.error_len().is_none() => {
            let text = payload.get(..error.valid_up_to())?;
            String::from_utf8(text.to_vec()).ok().filter(|text| !text.is_empty())
        }
        Err(_) => None,
    }
}

fn close_of(payload: &[u8], problems: &mut Vec<&'static str>) -> Option<Close> {
    let [high, low, reason @ ..] = payload else { return None };
    let code = u16::from_be_bytes([*high, *low]);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        problems.push("close code that may not be sent");
    }
    if std::str::from_utf8(reason).is_err() {
        problems.push("reason is not UTF-8");
    }
    Some(Close { code, reason: String::from_utf8_lossy(reason).into_owned() })
}
