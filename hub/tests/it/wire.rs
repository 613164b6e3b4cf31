//! The other end of the wire, by hand: JSON written out, frames byte by byte, HTTP as text.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use protocol::{DEVICE_PATH, SUBPROTOCOL, VIEWER_PATH};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::harness::{Role, TestHub, within};

/// 2026-01-01T00:00:00Z, where the readings of these tests begin.
pub(crate) const START: i64 = 1_767_225_600_000_000;

/// A hello with one metric of each kind.
pub(crate) fn hello(device: &str) -> Json {
    json!({"type": "hello", "device": device, "epoch": "e1", "metrics": [
        {"name": "count"}, {"name": "open", "kind": "bool"}, {"name": "mode", "kind": "text"}]})
}

/// A batch of `count` from `from` to `to`, both inclusive; each reading is one millisecond after the other.
pub(crate) fn counted(seq: u64, from: i64, to: i64) -> Json {
    let points: Vec<Json> =
        (from..=to).map(|n| json!({"at": START + n * 1_000, "values": {"count": n}})).collect();
    json!({"type": "readings", "seq": seq, "points": points})
}

/// What came over a socket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Message(Json),
    Closed(u16, String),
    /// The connection ended without a close frame.
    Gone,
}

/// A device or viewer that says what a test tells it.
pub(crate) struct Peer {
    pub(crate) socket: WebSocketStream<TcpStream>,
}

impl TestHub {
    pub(crate) async fn dial(&self, path: &str, token: &str) -> Peer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        Peer::upgrade(stream, self.address, path, token).await
    }

    /// A connection that may say hello as any device.
    pub(crate) async fn device(&self) -> Peer {
        self.dial(DEVICE_PATH, &self.token(Role::Fleet)).await
    }

    /// A device that was welcomed.
    pub(crate) async fn welcomed(&self, device: &str) -> Peer {
        let mut peer = self.device().await;
        peer.say(hello(device)).await;
        assert_eq!(peer.next().await["type"], "welcome");
        peer
    }

    /// A viewer that has heard `welcome` and the snapshot of devices, which is returned.
    pub(crate) async fn viewer(&self, role: Role) -> (Peer, Vec<Json>) {
        let mut peer = self.dial(VIEWER_PATH, &self.token(role)).await;
        assert_eq!(peer.next().await["type"], "welcome");
        let devices = peer.snapshot().await;
        (peer, devices)
    }

    /// A viewer with small buffers, so that not reading is felt soon.
    pub(crate) async fn narrow_viewer(&self) -> Peer {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let stream = socket.connect(self.address).await.unwrap();
        let mut peer = Peer::upgrade(stream, self.address, VIEWER_PATH, &self.token(Role::Viewer)).await;
        peer.next_of("welcome").await;
        peer.snapshot().await;
        peer
    }

    /// The number of a series.
    pub(crate) async fn series(&self, device: &str, metric: &str) -> i64 {
        let (_, devices) = self.viewer(Role::Viewer).await;
        series_in(&devices, device, metric)
    }
}

pub(crate) fn series_in(devices: &[Json], device: &str, metric: &str) -> i64 {
    let device = devices.iter().find(|d| d["id"] == device).unwrap();
    let metrics = device["metrics"].as_array().unwrap();
    metrics.iter().find(|m| m["name"] == metric).unwrap()["series"].as_i64().unwrap()
}

impl Peer {
    async fn upgrade(stream: TcpStream, address: SocketAddr, path: &str, token: &str) -> Self {
        let uri: Uri = format!("ws://{address}{path}").parse().unwrap();
        let request = ClientRequestBuilder::new(uri)
            .with_header("Authorization", format!("Bearer {token}"))
            .with_sub_protocol(SUBPROTOCOL);
        let (socket, response) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], SUBPROTOCOL);
        Self { socket }
    }

    pub(crate) async fn say(&mut self, message: Json) {
        self.say_text(&message.to_string()).await;
    }

    pub(crate) async fn say_text(&mut self, text: &str) {
        within("room to write", self.socket.send(Message::text(text))).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        within("a message", async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        return Heard::Message(serde_json::from_str(&text).unwrap());
                    }
                    Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                        return Heard::Closed(code.into(), reason.to_string());
                    }
                    Some(Ok(Message::Binary(_))) => panic!("the hub sent a binary message"),
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Ok(Message::Close(None)) | Err(_)) | None => return Heard::Gone,
                }
            }
        })
        .await
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Json {
        match self.hear().await {
            Heard::Message(message) => message,
            other => panic!("a message was expected: {other:?}"),
        }
    }

    /// The next message of this type; others are passed over.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Json {
        loop {
            let message = self.next().await;
            if message["type"] == kind {
                return message;
            }
            assert!(message["type"] != "error" && message["type"] != "refuse", "{kind} expected: {message}");
        }
    }

    /// The next `error`; others are passed over. Checks its code and returns what it says.
    pub(crate) async fn error(&mut self, code: &str) -> String {
        loop {
            let message = self.next().await;
            if message["type"] == "error" {
                assert_eq!(message["code"], code, "{message}");
                return message["message"].as_str().unwrap().to_owned();
            }
        }
    }

    /// Closes with this code and reason, and waits for the hub's answer.
    pub(crate) async fn close(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        within("room to close", self.socket.close(Some(frame))).await.unwrap();
        while let Heard::Message(_) = self.hear().await {}
    }

    /// The code and reason with which the hub closes; messages before are passed over.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.hear().await {
                Heard::Message(_) => {}
                Heard::Closed(code, reason) => {
                    assert_eq!(self.hear().await, Heard::Gone, "TCP ends after the close frame");
                    return (code, reason);
                }
                Heard::Gone => panic!("the connection ended without a close frame"),
            }
        }
    }

    /// Waits until everything up to `seq` is acknowledged.
    pub(crate) async fn acked(&mut self, seq: u64) {
        loop {
            if self.next_of("ack").await["seq"].as_u64().unwrap() >= seq {
                return;
            }
        }
    }

    /// The next answer to a batch: `ack` or `refuse`.
    pub(crate) async fn answer(&mut self) -> Json {
        let message = self.next().await;
        assert!(message["type"] == "ack" || message["type"] == "refuse", "{message}");
        message
    }

    async fn snapshot(&mut self) -> Vec<Json> {
        let mut devices = Vec::new();
        loop {
            let part = self.next_of("devices").await;
            assert_eq!(part["snapshot"], true, "{part}");
            devices.extend(part["devices"].as_array().unwrap().clone());
            if part["more"] != true {
                return devices;
            }
        }
    }
}

/// A device that minds its own business: whatever others do, its readings are acknowledged on the same connection.
pub(crate) struct Bystander {
    peer: Peer,
    seq: u64,
}

impl Bystander {
    pub(crate) async fn join(hub: &TestHub) -> Self {
        Self { peer: hub.welcomed("bystander").await, seq: 0 }
    }

    pub(crate) async fn is_undisturbed(&mut self) {
        self.seq += 1;
        self.peer.say(counted(self.seq, self.seq as i64, self.seq as i64)).await;
        loop {
            let message = self.peer.next().await;
            assert_eq!(message["type"], "ack", "{message}");
            // One of before may be left when a test did not wait for it.
            if message["seq"] == self.seq {
                return;
            }
        }
    }
}

/// The answer to an HTTP request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Sends a request as it is and reads one answer.
pub(crate) async fn http(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A hub that refuses early may close while we still write.
    drop(stream.write_all(request).await);
    within("an HTTP answer", read_answer(&mut stream)).await
}

/// Sends a request with a token and a body, and reads the answer's status and JSON.
pub(crate) async fn http_json(
    hub: &TestHub,
    method: &str,
    path: &str,
    token: &str,
    body: &str,
) -> (u16, Json) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = http(hub.address, request.as_bytes()).await;
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

/// Sends a request and returns the answer with its id; what else comes is passed over.
pub(crate) async fn ask(operator: &mut Peer, request: Json) -> Json {
    let id = request["id"].clone();
    operator.say(request).await;
    loop {
        let message = operator.next().await;
        if message["id"] == id {
            return message;
        }
    }
}

async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: String::from_utf8(body).unwrap() }
}

/// A WebSocket of bytes, to break the rules with.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

pub(crate) fn upgrade_request(path: &str, token: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGVsZW1ldHJ5LWh1Yi12MQ==\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
}

impl Raw {
    pub(crate) async fn connect(hub: &TestHub, path: &str, role: Role) -> Self {
        Self::with_token(hub, path, &hub.token(role)).await
    }

    pub(crate) async fn with_token(hub: &TestHub, path: &str, token: &str) -> Self {
        let mut stream = TcpStream::connect(hub.address).await.unwrap();
        stream.write_all(upgrade_request(path, token).as_bytes()).await.unwrap();
        let answer = within("the 101", read_answer(&mut stream)).await;
        assert_eq!(answer.status, 101, "{answer:?}");
        assert!(answer.head.contains("sec-websocket-accept: y41aj2wcpb8qon9jqcjxtiynbm0="), "{answer:?}");
        Self { stream }
    }

    pub(crate) async fn bytes(&mut self, bytes: &[u8]) {
        within("room to write", self.stream.write_all(bytes)).await.unwrap();
    }

    /// Sends one masked frame; `first` is the first byte: FIN, reserved bits and opcode.
    pub(crate) async fn frame(&mut self, first: u8, payload: &[u8]) {
        self.bytes(&frame(first, payload)).await;
    }

    /// The next frame: its first byte and its payload. `None`: the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        within("a frame", async {
            let first = match self.stream.read_u8().await {
                Ok(first) => first,
                Err(end) => {
                    assert_eq!(end.kind(), std::io::ErrorKind::UnexpectedEof, "TCP ends in order: {end}");
                    return None;
                }
            };
            let length = match self.stream.read_u8().await.unwrap() {
                126 => self.stream.read_u16().await.unwrap().into(),
                127 => self.stream.read_u64().await.unwrap(),
                short => short.into(),
            };
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).await.unwrap();
            Some((first, payload))
        })
        .await
    }

    /// The code and reason of the hub's close frame, after which its end of TCP is closed; other frames before it are
    /// passed over. Our own close frame is not sent.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            let (first, payload) = self.next().await.unwrap();
            if first == 0x88 {
                assert_eq!(self.next().await, None, "nothing follows a close frame");
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                return (code, String::from_utf8(payload[2..].to_vec()).unwrap());
            }
        }
    }
}

/// A frame as a client sends it: masked.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ ..126 => bytes.push(0x80 | short as u8),
        middle @ 126..65_536 => {
            bytes.push(0xfe);
            bytes.extend((middle as u16).to_be_bytes());
        }
        long => {
            bytes.push(0xff);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    let key = [1, 2, 3, 4];
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}
