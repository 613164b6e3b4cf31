//! `docs/websockets.md`: the session that it walks through is opened here, and every captured block of it is what was on
//! the wire. `TELEMETRY_WRITE_TOUR=1` writes the blocks instead.

use std::fmt::Write as _;

use protocol::DEVICE_PATH;
use protocol::frame::opcode_name;
use protocol::wire::{Ended, Event, Figures, Follow, Frame, Handshake, Side, Wire};
use serde_json::{Value as Json, json};

use crate::harness::{Role, TestHub};
use crate::python::root;
use crate::wire::{Peer, Raw};

const HELLO: &str = r#"{"type":"hello","device":"pump-07","epoch":"7f3a9c","metrics":[{"name":"temperature","unit":"Cel"}],"commands":[{"name":"reset"}]}"#;
const FIRST: &str =
    r#"{"type":"readings","seq":1,"points":[{"at":1767225600100000,"values":{"temperature":41.5}}]}"#;
const SECOND: &str =
    r#"{"type":"readings","seq":2,"points":[{"at":1767225601100000,"values":{"temperature":41.7}}]}"#;
/// Bytes of a payload that are printed as they were on the wire.
const SHOWN: usize = 8;

/// The whole session as it was watched.
#[derive(Default)]
struct Session {
    opened: Option<Handshake>,
    frames: Vec<Frame>,
    figures: Option<Figures>,
    ended: Option<Ended>,
}

async fn watch(operator: &mut Peer, session: &mut Session, frames: usize) {
    while session.frames.len() < frames {
        take(operator.next_of("wire").await, session);
    }
}

fn take(message: Json, session: &mut Session) {
    let wire: Wire = serde_json::from_value(message).unwrap();
    assert_eq!(wire.left_out, 0);
    session.figures = wire.figures.or(session.figures.take());
    for record in wire.records {
        match record.event {
            Event::Opened(handshake) => session.opened = Some(*handshake),
            Event::Frame(frame) => session.frames.push(*frame),
            Event::Ended(ended) => session.ended = Some(ended),
        }
    }
}

async fn open_the_session(hub: &TestHub) -> Session {
    let mut session = Session::default();
    // So that the hub knows the device.
    hub.welcomed("pump-07").await.close(1000, "").await;
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    operator.say(json!({"type": "inspect", "id": 1, "device": "pump-07"})).await;
    take(operator.next_of("wire").await, &mut session);

    let mut device = Raw::connect(hub, DEVICE_PATH, Role::Fleet).await;
    device.frame(0x81, HELLO.as_bytes()).await;
    device.next().await.unwrap();
    watch(&mut operator, &mut session, 2).await;

    let (start, rest) = FIRST.as_bytes().split_at(40);
    device.frame(0x01, start).await;
    device.frame(0x89, b"here?").await;
    device.next().await.unwrap();
    device.frame(0x80, rest).await;
    device.next().await.unwrap();
    watch(&mut operator, &mut session, 7).await;

    let (start, rest) = SECOND.as_bytes().split_at(40);
    device.frame(0x01, start).await;
    // The hub has no reason to answer a half: it is known to be there when it is shown.
    watch(&mut operator, &mut session, 8).await;
    operator.say(json!({"type": "send_command", "id": 2, "device": "pump-07", "name": "reset"})).await;
    let (_, command) = device.next().await.unwrap();
    let command: Json = serde_json::from_slice(&command).unwrap();
    device.frame(0x80, rest).await;
    device.next().await.unwrap();
    let id = command["id"].as_str().unwrap();
    let done = format!(r#"{{"type":"command_update","id":"{id}","state":"succeeded"}}"#);
    device.frame(0x81, done.as_bytes()).await;
    watch(&mut operator, &mut session, 12).await;

    device.frame(0x88, b"\x03\xe8done").await;
    device.closed().await;
    drop(device);
    while session.ended.is_none() {
        take(operator.next_of("wire").await, &mut session);
    }
    session
}

/// Replaces what is different in every run by something as long.
fn normal(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = [("_time\":", 16), ("expires_at\":", 16), ("sent_at\":", 16)]
        .into_iter()
        .filter_map(|(name, length)| Some((rest.find(name)? + name.len(), length)))
        .min()
        .map(|(at, length)| (&rest[..at], &rest[at + length..]))
    {
        out.push_str(before);
        out.push_str("1767225600000000");
        rest = after;
    }
    out.push_str(rest);
    // The id of a command.
    if let Some(at) = out.find("\"id\":\"") {
        let start = at + 6;
        let end = start + out[start..].find('"').unwrap();
        let id: String = "c-01JD3W00000000000000000000000000000000".chars().take(end - start).collect();
        out.replace_range(start..end, &id);
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn show(frame: &Frame, answers: &[u64]) -> String {
    let mut frame = frame.clone();
    frame.text = frame.text.as_deref().map(normal);
    let bytes = frame.bytes();
    let (head, payload) = bytes.split_at(frame.header_bytes.into());
    let who = match frame.from {
        Side::Device => "device -> hub",
        Side::Hub => "hub -> device",
    };
    let more = if payload.len() > SHOWN { " ..." } else { "" };
    let mut parts = vec![hex(&head[..2])];
    let (length, key) = head[2..].split_at(head.len() - 2 - if frame.mask.is_some() { 4 } else { 0 });
    parts.extend([length, key].iter().filter(|part| !part.is_empty()).map(|part| hex(part)));
    parts.push(format!("{}{more}", hex(&payload[..payload.len().min(SHOWN)])));
    let mut out = String::new();
    writeln!(
        out,
        "#{} {who}: {}, {} + {} bytes",
        frame.n,
        opcode_name(frame.opcode),
        head.len(),
        payload.len()
    )
    .unwrap();
    writeln!(out, "   {}", parts.join(" | ")).unwrap();
    let length = head[1] & 127;
    let length =
        if length == 126 { format!("126: {} in two bytes", frame.payload_bytes) } else { length.to_string() };
    writeln!(
        out,
        "   FIN {}  RSV {:03b}  opcode {:04b}  MASK {}  length {length}",
        u8::from(frame.fin),
        frame.rsv,
        frame.opcode,
        u8::from(frame.mask.is_some()),
    )
    .unwrap();
    let said = match (&frame.close, &frame.text) {
        (Some(close), _) => format!("{} {}", close.code, close.reason),
        (None, Some(text)) => text.clone(),
        (None, None) => String::from_utf8_lossy(&frame.payload_start()).into_owned(),
    };
    writeln!(out, "   {said}").unwrap();
    match *answers {
        [] => {}
        [one] => writeln!(out, "   answers #{one}").unwrap(),
        _ => writeln!(out, "   answers {answers:?}").unwrap(),
    }
    out
}

/// The blocks of the document, by name.
fn blocks(session: &Session) -> Vec<(&'static str, String)> {
    let Handshake { request, response, .. } = session.opened.as_ref().unwrap();
    let lines = |text: &str, mark: &str| {
        let mut out = String::new();
        for line in text.trim_end().lines() {
            let line = if line.starts_with("date:") { "date: Thu, 01 Jan 2026 00:00:00 GMT" } else { line };
            writeln!(out, "{mark} {line}").unwrap();
        }
        out
    };
    let mut follow = Follow::default();
    let shown: Vec<String> =
        session.frames.iter().map(|frame| show(frame, &follow.on_frame(frame))).collect();
    let of = |range: std::ops::Range<usize>| shown[range].concat();
    let mut account = String::new();
    for side in [Side::Device, Side::Hub] {
        let frames = || session.frames.iter().filter(|frame| frame.from == side);
        let heads: u64 = frames().map(|frame| u64::from(frame.header_bytes)).sum();
        let all: u64 = frames().map(Frame::length).sum();
        let count = frames().count();
        writeln!(
            account,
            "{:<6} {count} frames, {all} bytes, of them {heads} of heads: {:.1} bytes a frame",
            side.as_str(),
            heads as f64 / count as f64
        )
        .unwrap();
    }
    let head = request.len() + response.len();
    writeln!(account, "once   {head} bytes of HTTP, the token shortened").unwrap();
    vec![
        ("upgrade", lines(request, ">") + "\n" + &lines(response, "<")),
        ("hello", of(0..1)),
        ("welcome", of(1..2)),
        ("fragments", of(2..7)),
        ("duplex", of(7..12)),
        ("close", of(12..14)),
        ("account", account),
    ]
}

#[tokio::test]
async fn the_tour_in_the_document_is_what_is_on_the_wire() {
    let hub = TestHub::start().await;
    let session = open_the_session(&hub).await;
    assert_eq!(session.frames.len(), 14);
    let path = root().join("docs/websockets.md");
    let mut document = std::fs::read_to_string(&path).unwrap();
    let write = std::env::var_os("TELEMETRY_WRITE_TOUR").is_some();
    for (name, block) in blocks(&session) {
        let mark = format!("<!-- captured: {name} -->\n```text\n");
        let start = document.find(&mark).unwrap_or_else(|| panic!("no block {name}")) + mark.len();
        let end = start + document[start..].find("```\n").unwrap();
        if write {
            document.replace_range(start..end, &block);
        } else {
            assert_eq!(&document[start..end], block, "{name}: TELEMETRY_WRITE_TOUR=1 writes it anew");
        }
    }
    if write {
        std::fs::write(&path, document).unwrap();
    }
}
