//! A hub of a few lines that does exactly what a test tells it.

use client::device::DeviceConfig;
use client::{BackoffConfig, Endpoint};
use futures_util::{SinkExt, StreamExt};
use protocol::device::{Ack, DeviceMessage, Hello, HubToDevice, Point, Welcome};
use protocol::limits::{DeviceLimits, ViewerLimits};
use protocol::name::{Position, Seq};
use protocol::viewer::{HubToViewer, Role, ViewerMessage, ViewerWelcome};
use protocol::{DeviceId, Epoch, MetricName, Timestamp, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

pub(crate) const TOKEN: &str = "correct-horse";

pub(crate) struct Hub {
    listener: TcpListener,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        let port = self.listener.local_addr().unwrap().port();
        Endpoint::new(&format!("ws://127.0.0.1:{port}"), TOKEN).unwrap()
    }

    pub(crate) async fn accept_tcp(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// Takes a connection through the upgrade, checking the token and the subprotocol.
    pub(crate) async fn accept(&self) -> Peer {
        #[expect(
            clippy::unnecessary_wraps,
            clippy::result_large_err,
            reason = "the signature is the library's"
        )]
        fn check(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
            assert_eq!(request.headers()["authorization"], format!("Bearer {TOKEN}"));
            assert_eq!(request.headers()["sec-websocket-protocol"], protocol::SUBPROTOCOL);
            response
                .headers_mut()
                .insert("sec-websocket-protocol", HeaderValue::from_static(protocol::SUBPROTOCOL));
            Ok(response)
        }
        let stream = self.accept_tcp().await;
        Peer { socket: tokio_tungstenite::accept_hdr_async(stream, check).await.unwrap() }
    }

    /// Takes a device's connection and welcomes it after `acked`.
    pub(crate) async fn accept_device(&self, acked: u64) -> (Peer, Hello) {
        let mut peer = self.accept().await;
        let DeviceMessage::Hello(hello) = peer.device_message().await else { panic!("hello expected") };
        peer.say(&HubToDevice::Welcome(welcome(acked)).encode()).await;
        (peer, hello)
    }

    /// Takes a viewer's connection and welcomes it.
    pub(crate) async fn accept_viewer(&self) -> Peer {
        let mut peer = self.accept().await;
        let welcome = ViewerWelcome {
            session: "s".into(),
            server_time: Timestamp(0),
            role: Role::Operator,
            position: Position(7),
            limits: ViewerLimits::default(),
            heartbeat_seconds: 10,
        };
        peer.say(&HubToViewer::Welcome(welcome).encode()).await;
        peer
    }

    /// Answers the next request with a plain HTTP response.
    pub(crate) async fn refuse(&self, status: &str, body: &str) {
        let mut stream = self.accept_tcp().await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let length = body.len();
        let response =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        stream.write_all(response.as_bytes()).await.unwrap();
    }
}

/// The hub's end of a connection.
pub(crate) struct Peer {
    socket: WebSocketStream<TcpStream>,
}

impl Peer {
    pub(crate) async fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn tell(&mut self, message: HubToDevice) {
        self.say(&message.encode()).await;
    }

    pub(crate) async fn ack(&mut self, seq: u64) {
        self.tell(HubToDevice::Ack(Ack { seq: Seq(seq) })).await;
    }

    /// The next text, or the close code, pings and pongs left out.
    pub(crate) async fn read(&mut self) -> Result<String, Option<u16>> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(frame))) => return Err(frame.map(|f| f.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    pub(crate) async fn device_message(&mut self) -> DeviceMessage {
        DeviceMessage::decode(&self.read().await.expect("a message")).unwrap()
    }

    pub(crate) async fn viewer_message(&mut self) -> ViewerMessage {
        ViewerMessage::decode(&self.read().await.expect("a message")).unwrap()
    }

    /// Reads batches up to `last` and checks that they start at `first` and leave none out.
    pub(crate) async fn batches(&mut self, first: u64, last: u64) {
        for expected in first..=last {
            let DeviceMessage::Readings(readings) = self.device_message().await else { panic!("readings") };
            assert_eq!(readings.seq, Seq(expected));
        }
    }

    pub(crate) async fn close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::from_static(reason) };
        self.socket.close(Some(frame)).await.unwrap();
    }
}

pub(crate) fn welcome(acked: u64) -> Welcome {
    Welcome {
        session: "s".into(),
        server_time: Timestamp::from_seconds(1_000),
        acked_seq: Seq(acked),
        limits: DeviceLimits::default(),
        heartbeat_seconds: 10,
    }
}

pub(crate) fn device_config(hub: &Hub) -> DeviceConfig {
    let hello = Hello {
        device: DeviceId::new("pump-01").unwrap(),
        epoch: Epoch::new("e1").unwrap(),
        now: None,
        model: None,
        firmware: None,
        tags: Vec::new(),
        metrics: Vec::new(),
        commands: Vec::new(),
    };
    DeviceConfig {
        backoff: BackoffConfig { seed: Some(1), ..BackoffConfig::default() },
        ..DeviceConfig::new(hub.endpoint(), hello)
    }
}

pub(crate) fn point(at: i64) -> Vec<Point> {
    vec![Point { at: Timestamp(at), values: vec![(MetricName::new("flow").unwrap(), Value::Number(1.5))] }]
}
