//! The wire made visible: what an inspection tells is what was on the wire, counted another way: by the bytes that the
//! test itself sent and read, and by tshark where it is installed.

use std::process::Stdio;

use protocol::DEVICE_PATH;
use protocol::limits::DEVICE_MESSAGE_MAX_BYTES;
use protocol::wire::{Event, Frame, Side, Wire};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::closes::violations;
use crate::harness::{Role, TestHub, stdout, until, within};
use crate::wire::{Peer, Raw, ask, counted, frame as masked, hello, http_json};

/// What a frame is, wherever it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    first: u8,
    masked: bool,
    header: u64,
    payload: u64,
    came: u64,
    offset: u64,
}

/// The frames in these bytes, cut by hand.
fn cut(bytes: &[u8]) -> Vec<Told> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (mut header, mut payload) = (2, u64::from(rest[1] & 127));
        if payload == 126 {
            payload = u16::from_be_bytes(rest[2..4].try_into().unwrap()).into();
            header = 4;
        } else if payload == 127 {
            payload = u64::from_be_bytes(rest[2..10].try_into().unwrap());
            header = 10;
        }
        let masked = rest[1] > 127;
        header += if masked { 4 } else { 0 };
        let came = payload.min((rest.len() - header) as u64);
        found.push(Told { first: rest[0], masked, header: header as u64, payload, came, offset: at as u64 });
        at += header + came as usize;
    }
    found
}

fn told(frame: &Frame) -> Told {
    Told {
        first: u8::from(frame.fin) << 7 | frame.rsv << 4 | frame.opcode,
        masked: frame.mask.is_some(),
        header: frame.header_bytes.into(),
        payload: frame.payload_bytes,
        came: frame.came_bytes.unwrap_or(frame.payload_bytes),
        offset: frame.offset,
    }
}

impl TestHub {
    /// An operator who watches a device, which has been here once.
    async fn inspector(&self, device: &str, payload: u32) -> Inspector {
        self.welcomed(device).await.close(1000, "").await;
        let (mut peer, _) = self.viewer(Role::Operator).await;
        let said =
            ask(&mut peer, json!({"type": "inspect", "id": 7, "device": device, "payload_bytes": payload}))
                .await;
        assert_eq!(said["type"], "wire", "{said}");
        Inspector { peer, frames: Vec::new(), opened: Vec::new(), left_out: 0, last: said }
    }
}

struct Inspector {
    peer: Peer,
    opened: Vec<protocol::wire::Handshake>,
    frames: Vec<Frame>,
    left_out: u64,
    last: Json,
}

impl Inspector {
    /// Takes one message in. True if a connection ended in it.
    async fn hear(&mut self) -> Option<protocol::wire::Ended> {
        let message = self.peer.next_of("wire").await;
        let wire: Wire = serde_json::from_value(message.clone()).unwrap();
        self.last = message;
        self.left_out += wire.left_out;
        let mut end = None;
        for record in wire.records {
            match record.event {
                Event::Opened(handshake) => self.opened.push(*handshake),
                Event::Frame(frame) => self.frames.push(*frame),
                Event::Ended(ended) => end = Some(ended),
            }
        }
        end
    }

    /// Everything up to the end of the connection.
    async fn until_the_end(&mut self) -> protocol::wire::Ended {
        loop {
            if let Some(end) = self.hear().await {
                return end;
            }
        }
    }

    fn of(&self, side: Side) -> Vec<Told> {
        self.frames.iter().filter(|frame| frame.from == side).map(told).collect()
    }
}

#[tokio::test]
async fn hostile_frames_are_told_as_what_they_were_and_every_frame_is_told() {
    let hub = TestHub::start().await;
    for (what, bytes, code) in violations(DEVICE_MESSAGE_MAX_BYTES) {
        let mut inspector = hub.inspector("rude", 300).await;
        let mut device = Raw::connect(&hub, DEVICE_PATH, Role::Fleet).await;
        let mut sent = masked(0x81, hello("rude").to_string().as_bytes());
        device.bytes(&sent).await;
        let mut heard = vec![device.next().await.unwrap()];
        sent.extend(&bytes);
        device.bytes(&bytes).await;
        loop {
            let frame = device.next().await.unwrap();
            let closes = frame.0 == 0x88;
            heard.push(frame);
            if closes {
                break;
            }
        }
        drop(device);
        let end = inspector.until_the_end().await;
        let first = if bytes[0] == 0x88 { close_of(&bytes) } else { Some(code) };
        assert_eq!(end.close.as_ref().map(|close| close.code), first, "{what}");
        assert_eq!(inspector.left_out, 0, "{what}");
        assert_eq!(inspector.of(Side::Device), cut(&sent), "{what}");
        let answers: Vec<u8> =
            heard.iter().flat_map(|(first, payload)| server_frame(*first, payload)).collect();
        assert_eq!(inspector.of(Side::Hub), cut(&answers), "{what}");
        let mut numbers: Vec<u64> = inspector.frames.iter().map(|frame| frame.n).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=inspector.frames.len() as u64).collect::<Vec<_>>(), "{what}");
        let broken: Vec<&Frame> =
            inspector.frames.iter().filter(|frame| !frame.problems.is_empty()).collect();
        if code == 1002 || what.starts_with("a reason") || what == "text that is not UTF-8" {
            assert_eq!(broken.len(), 1, "{what}: {broken:?}");
        }
        // The bytes of what was kept whole are those that were sent.
        for frame in inspector.frames.iter().filter(|frame| frame.payload_bytes <= 300) {
            let from = frame.offset as usize;
            let all = if frame.from == Side::Device { &sent } else { &answers };
            let bytes = frame.bytes();
            assert_eq!(bytes, all[from..from + bytes.len()], "{what}: {frame:?}");
        }
    }
}

/// The code of a masked close frame, if it has one.
fn close_of(bytes: &[u8]) -> Option<u16> {
    (bytes[0] == 0x88 && bytes[1] & 127 >= 2).then(|| u16::from_be_bytes([bytes[6] ^ 1, bytes[7] ^ 2]))
}

fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ ..126 => bytes.push(short as u8),
        long => {
            bytes.push(126);
            bytes.extend((long as u16).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

#[tokio::test]
async fn an_inspection_shows_the_handshake_pings_answers_and_the_close_and_no_secret() {
    let hub = TestHub::start().await;
    let mut inspector = hub.inspector("pump", 512).await;
    let mut device = Raw::connect(&hub, DEVICE_PATH, Role::Fleet).await;
    device.frame(0x81, hello("pump").to_string().as_bytes()).await;
    device.next().await.unwrap();
    device.frame(0x89, b"are you there?").await;
    assert_eq!(device.next().await.unwrap().0, 0x8a);
    device.frame(0x81, counted(1, 0, 3).to_string().as_bytes()).await;
    assert!(device.next().await.unwrap().1.starts_with(b"{\"type\":\"ack\""));
    device.frame(0x88, b"\x03\xe8done").await;
    assert_eq!(device.closed().await, (1000, "done".into()));
    drop(device);
    let end = inspector.until_the_end().await;
    assert_eq!(
        serde_json::to_value(&end).unwrap(),
        json!({"by": "device", "in_order": true, "close": {"code": 1000, "reason": "done"}})
    );

    let [handshake] = &inspector.opened[..] else { panic!("{:?}", inspector.opened) };
    assert!(
        handshake.request.starts_with("GET /v1/device HTTP/1.1\r\nHost: hub\r\n"),
        "as it came: {handshake:?}"
    );
    assert!(handshake.request.contains("\r\nAuthorization: Bearer ***\r\n"));
    assert!(handshake.response.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
    assert_eq!(handshake.accept, "Y41aj2wCpB8qOn9JQCjxTIYNBM0=");
    assert_eq!((handshake.subprotocol.as_str(), &handshake.tls), ("telemetry.v1.json", &None));
    let times =
        [handshake.accepted_at, handshake.requested_at, handshake.upgraded_at, handshake.hello_at.unwrap()];
    assert!(times.is_sorted(), "{times:?}");
    let token = hub.token(Role::Fleet);
    assert!(!format!("{:?}{:?}", inspector.opened, inspector.frames).contains(&token));

    let mut follow = protocol::wire::Follow::default();
    let story: Vec<(String, Vec<u64>)> = inspector
        .frames
        .iter()
        .map(|frame| {
            let name =
                frame.message.as_ref().map_or_else(|| frame.kind().to_owned(), |head| head.kind.clone());
            (name, follow.on_frame(frame))
        })
        .collect();
    let expected = [
        ("hello", vec![]),
        ("welcome", vec![1]),
        ("ping", vec![]),
        ("pong", vec![3]),
        ("readings", vec![]),
        ("ack", vec![5]),
        ("close", vec![]),
        ("close", vec![7]),
    ];
    assert_eq!(story, expected.map(|(name, answers)| (name.to_owned(), answers)));
    assert!(inspector.frames[3].round_trip.is_some());

    // It is in the audit trail, and a viewer may not.
    until("the trail to tell", async || {
        let (_, trail) =
            http_json(&hub, "GET", "/v1/audit?action=inspect", &hub.token(Role::Admin), "").await;
        trail["audit"].as_array().unwrap().iter().any(|row| row["subject"] == "device pump")
    })
    .await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    viewer.say(json!({"type": "inspect", "id": 1, "device": "pump"})).await;
    viewer.error("forbidden").await;
}

#[tokio::test]
async fn a_connection_that_was_there_before_is_shown_from_where_it_is_with_how_it_was_made() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    device.say(counted(1, 0, 3)).await;
    device.acked(1).await;
    let (mut peer, _) = hub.viewer(Role::Operator).await;
    let said = ask(&mut peer, json!({"type": "inspect", "id": 7, "device": "pump"})).await;
    assert_eq!(said["records"][0]["event"], "opened", "{said}");
    assert_eq!(said["figures"]["device"]["frames"], 2, "hello and readings: {said}");
    assert_eq!(said["figures"]["hub"]["frames"], 2, "welcome and ack: {said}");
    device.say(counted(2, 4, 5)).await;
    let mut inspector = Inspector { peer, opened: vec![], frames: vec![], left_out: 0, last: said };
    while inspector.frames.is_empty() {
        inspector.hear().await;
    }
    assert_eq!((inspector.frames[0].n, inspector.frames[0].from), (5, Side::Device));
    assert_eq!(inspector.frames[0].message.as_ref().unwrap().seq, Some(2));
    // Nobody who has stopped is told any more; what comes is an answer to something else.
    inspector.peer.say(json!({"type": "stop_inspecting", "id": 7})).await;
    device.acked(2).await;
    inspector.peer.say(json!({"type": "inspect", "id": 8, "device": "drill"})).await;
    assert!(inspector.peer.error("not_found").await.contains("drill"));
    for id in 10..18 {
        let said = ask(&mut inspector.peer, json!({"type": "inspect", "id": id, "device": "pump"})).await;
        assert_eq!(said["type"], "wire", "{said}");
    }
    inspector.peer.say(json!({"type": "inspect", "id": 18, "device": "pump"})).await;
    assert!(
        inspector.peer.error("limit_reached").await.contains("inspections is 8 (per viewer); stop one first")
    );
    inspector.peer.say(json!({"type": "inspect", "id": 17, "device": "pump", "payload_bytes": 65_537})).await;
    assert!(
        inspector.peer.error("bad_field").await.contains("inspect_payload_bytes is 65536 (per inspection)")
    );
}

#[tokio::test]
async fn a_device_that_floods_is_shown_as_sampled_and_not_one_frame_is_unaccounted_for() {
    const FLOOD: usize = 20_000;
    let hub = TestHub::start().await;
    let mut inspector = hub.inspector("rude", 16).await;
    let mut device = Raw::connect(&hub, DEVICE_PATH, Role::Fleet).await;
    device.frame(0x81, hello("rude").to_string().as_bytes()).await;
    device.next().await.unwrap();
    let pongs = masked(0x8a, b"").repeat(FLOOD);
    device.bytes(&pongs).await;
    device.frame(0x88, b"").await;
    // A heartbeat of the hub, if the machine were so slow, would be one frame more.
    assert_eq!(device.next().await.unwrap().0, 0x88);
    drop(device);
    inspector.until_the_end().await;
    assert!(inspector.left_out > 0, "{} frames of so many were recorded", inspector.frames.len());
    assert_eq!(inspector.frames.len() as u64 + inspector.left_out, FLOOD as u64 + 4);
    assert_eq!(inspector.frames.iter().map(|frame| frame.n).max(), Some(FLOOD as u64 + 4));
}

/// tshark, if this machine has it and it may capture.
async fn tshark(arguments: &[&str]) -> Option<Child> {
    let mut child = Command::new("tshark")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let ready = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains("Capture started") || line.contains("Capturing on") {
                return true;
            }
        }
        false
    };
    let ready = within("tshark to capture", ready).await;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    ready.then_some(child)
}

/// The frames of a capture as tshark sees them: first byte, masked, payload length; by whether the port sent them.
async fn frames_in(file: &str, port: u16) -> [Vec<(u8, bool, u64)>; 2] {
    let decode = format!("tcp.port=={port},http");
    let fields = [
        "tcp.srcport",
        "websocket.fin",
        "websocket.rsv",
        "websocket.opcode",
        "websocket.mask",
        "websocket.payload_length",
        "websocket.payload_length_ext_16",
        "websocket.payload_length_ext_64",
    ];
    let mut command = Command::new("tshark");
    command.args(["-r", file, "-d", &decode, "-Y", "websocket", "-T", "fields"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = within("tshark", command.output()).await.unwrap();
    let mut found = [Vec::new(), Vec::new()];
    for line in stdout(&output).lines() {
        let columns: Vec<Vec<&str>> =
            line.split('\t').map(|cell| cell.split(',').filter(|part| !part.is_empty()).collect()).collect();
        let number = |text: &str| {
            text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16)).unwrap()
        };
        let truth = |text: &str| matches!(text, "1" | "True");
        let (mut short, mut long) = (columns[6].iter(), columns[7].iter());
        for i in 0..columns[3].len() {
            let rsv = columns[2].get(i).map_or(0, |rsv| number(rsv));
            let first = u8::from(truth(columns[1][i])) << 7 | (rsv as u8) << 4 | number(columns[3][i]) as u8;
            let length = match number(columns[5][i]) {
                126 => number(short.next().unwrap()),
                127 => number(long.next().unwrap()),
                length => length,
            };
            let by_hub = number(columns[0][0]) == u64::from(port);
            found[usize::from(by_hub)].push((first, truth(columns[4][i]), length));
        }
    }
    found
}

#[tokio::test]
async fn every_frame_is_the_one_that_tshark_captured_on_the_same_run_and_the_export_is_the_same_again() {
    let hub = TestHub::process(&[]).await;
    hub.welcomed("pump").await.close(1000, "").await;
    let port = hub.address.port();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let capturing =
        tshark(&["-i", "lo", "-f", &format!("tcp port {port}"), "-w", &file("real.pcapng")]).await;
    // Only what this device says is looked at: the inspector has a port of its own.
    let wire = crate::harness::program(hub.data())
        .args([
            "wire",
            "pump",
            "--json",
            "--hub",
            &hub.url(),
            "--pcap",
            &file("ours.pcapng"),
            "--jsonl",
            &file("ours.jsonl"),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut wire = wire.unwrap();
    let mut lines = BufReader::new(wire.stdout.take().unwrap()).lines();
    until("somebody to inspect", async || {
        let (_, trail) =
            http_json(&hub, "GET", "/v1/audit?action=inspect", &hub.token(Role::Admin), "").await;
        !trail["audit"].as_array().unwrap().is_empty()
    })
    .await;

    let mut device = Raw::connect(&hub, DEVICE_PATH, Role::Fleet).await;
    let from = device.stream.local_addr().unwrap().port();
    device.frame(0x81, hello("pump").to_string().as_bytes()).await;
    device.next().await.unwrap();
    for seq in 1..=40 {
        let text = counted(seq, 0, 1 + seq as i64 * 7).to_string();
        let (start, rest) = text.as_bytes().split_at(text.len() / 3);
        device.frame(0x01, start).await;
        device.frame(0x89, &vec![b'x'; seq as usize]).await;
        device.frame(0x80, rest).await;
        while device.next().await.unwrap().0 != 0x81 {}
    }
    device.frame(0x81, &vec![b' '; 60_000]).await;
    device.frame(0x88, b"\x03\xe8done").await;
    device.closed().await;
    drop(device);
    let mut records: Vec<Json> = Vec::new();
    within("the end of the connection", async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let record: Json = serde_json::from_str(&line).unwrap();
            let ended = record["event"] == "ended";
            records.push(record);
            if ended {
                break;
            }
        }
    })
    .await;
    // What is printed is in the file already.
    wire.kill().await.unwrap();
    let written = std::fs::read_to_string(file("ours.jsonl")).unwrap();
    assert_eq!(written.lines().count(), records.len());
    let frames: Vec<Frame> = records
        .into_iter()
        .filter(|record| record["event"] == "frame")
        .map(|record| serde_json::from_value(record).unwrap())
        .collect();
    let of = |side| -> Vec<(u8, bool, u64)> {
        let told = frames.iter().filter(|frame| frame.from == side).map(told);
        told.map(|told| (told.first, told.masked, told.payload)).collect()
    };
    assert_eq!(of(Side::Device).len(), 1 + 3 * 40 + 1 + 1);
    let (device, hub_said) = (of(Side::Device), of(Side::Hub));

    // The export is a capture, also for one who cannot run tshark.
    let bytes = std::fs::read(file("ours.pcapng")).unwrap();
    let packets = packets(&bytes);
    let payload: u64 = packets.iter().filter(|packet| packet.1 != 80).map(|packet| packet.2).sum();
    let sent: u64 = frames.iter().filter(|f| f.from == Side::Device).map(Frame::length).sum();
    assert!(payload > sent && payload < sent + 1_000, "the head of the request and {sent} bytes: {payload}");

    let Some(mut capturing) = capturing else { return };
    until("tshark to have it all", async || {
        let [found, _] = frames_of(&file("real.pcapng"), port, from, &folder).await;
        found.len() >= device.len()
    })
    .await;
    capturing.kill().await.unwrap();
    let [by_device, by_hub] = frames_of(&file("real.pcapng"), port, from, &folder).await;
    assert_same(&by_device, &device);
    assert_same(&by_hub, &hub_said);
    let [by_device, by_hub] = frames_in(&file("ours.pcapng"), 80).await;
    assert_same(&by_device, &device);
    assert_same(&by_hub, &hub_said);
}

fn assert_same(found: &[(u8, bool, u64)], expected: &[(u8, bool, u64)]) {
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found, expected, "frame {place}");
    }
    assert_eq!(found.len(), expected.len());
}

/// The frames of the connection of one port of a device.
async fn frames_of(
    file: &str,
    port: u16,
    device: u16,
    folder: &tempfile::TempDir,
) -> [Vec<(u8, bool, u64)>; 2] {
    let only = folder.path().join("only.pcapng");
    let only = only.to_str().unwrap();
    let filter = format!("tcp.port=={device}");
    // A file that is being written may end in the middle of a packet; what is whole is taken.
    drop(
        within("tshark", Command::new("tshark").args(["-r", file, "-Y", &filter, "-w", only]).output()).await,
    );
    frames_in(only, port).await
}

/// The packets of a capture: the ports from and to, and how many bytes of TCP they carried.
fn packets(mut bytes: &[u8]) -> Vec<(u16, u16, u64)> {
    let word = |at: &[u8]| u32::from_le_bytes(at[..4].try_into().unwrap());
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (kind, length) = (word(bytes), word(&bytes[4..]) as usize);
        assert_eq!(word(&bytes[length - 4..]) as usize, length, "a block says its length twice");
        if kind == 6 {
            let original = u64::from(word(&bytes[24..]));
            let packet = &bytes[28..];
            assert_eq!(packet[0], 0x45, "IPv4");
            let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
            found.push((port(22), port(20), original - 40));
        }
        bytes = &bytes[length..];
    }
    found
}

#[tokio::test]
async fn the_figures_of_a_connection_are_printed() {
    let hub = TestHub::process(&[]).await;
    let mut device = hub.welcomed("pump").await;
    device.say(counted(1, 0, 3)).await;
    device.acked(1).await;
    let shown = stdout(&hub.cli(&["wire", "pump", "--figures"]).await);
    for part in
        ["> GET /v1/device HTTP/1.1", "< HTTP/1.1 101 Switching Protocols", "hello was read", "HEADER BYTES"]
    {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let row = shown.lines().find(|line| line.starts_with("device ")).unwrap();
    assert_eq!(row.split_whitespace().nth(2), Some("2"), "{row}");
}
