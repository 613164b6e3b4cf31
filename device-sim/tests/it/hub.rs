//! A hub of a few lines: takes batches in order, acknowledges each, remembers what it has over connections, and sends
//! one command to each device.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use client::Endpoint;
use futures_util::{SinkExt, StreamExt};
use protocol::Timestamp;
use protocol::command::DeviceCommandState;
use protocol::device::{Ack, CommandRequest, DeviceMessage, HubToDevice, Welcome};
use protocol::limits::DeviceLimits;
use protocol::name::{CommandId, Seq};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// What the hub has, by device and epoch: the last batch, and how many readings.
type Streams = HashMap<(String, String), (u64, u64)>;

#[derive(Default)]
pub(crate) struct Stored {
    pub(crate) streams: Streams,
    /// How many readings each metric of each device has, of all that were declared.
    pub(crate) metrics: BTreeMap<(String, String), u64>,
    /// How each device ended its command.
    pub(crate) ends: HashMap<String, DeviceCommandState>,
}

impl Stored {
    pub(crate) fn readings(&self) -> u64 {
        self.streams.values().map(|(_, readings)| readings).sum()
    }
}

pub(crate) struct Hub {
    pub(crate) endpoint: Endpoint,
    pub(crate) stored: Arc<Mutex<Stored>>,
}

impl Hub {
    /// Starts it; `command` is sent to every device once.
    pub(crate) async fn start(command: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint =
            Endpoint::new(&format!("ws://{}", listener.local_addr().unwrap()), "some-token").unwrap();
        let stored = Arc::new(Mutex::new(Stored::default()));
        let shared = Arc::clone(&stored);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared), command));
            }
        });
        Self { endpoint, stored }
    }
}

async fn serve(stream: TcpStream, stored: Arc<Mutex<Stored>>, command: Option<&'static str>) {
    #[expect(clippy::unnecessary_wraps, clippy::result_large_err, reason = "the signature is the library's")]
    fn speak(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        let spoken = HeaderValue::from_static(protocol::SUBPROTOCOL);
        response.headers_mut().insert("sec-websocket-protocol", spoken);
        Ok(response)
    }
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, speak).await.unwrap();
    let mut stream_of: Option<(String, String)> = None;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let answers = match DeviceMessage::decode(&text).unwrap() {
            DeviceMessage::Hello(hello) => {
                hello.check().unwrap();
                let name = (hello.device.to_string(), hello.epoch.to_string());
                let acked = stored.lock().unwrap().streams.entry(name.clone()).or_default().0;
                for metric in &hello.metrics {
                    let metric = (hello.device.to_string(), metric.name.to_string());
                    stored.lock().unwrap().metrics.entry(metric).or_default();
                }
                stream_of = Some(name);
                let mut answers = vec![welcome(acked)];
                if let Some(name) = command {
                    answers.push(request(hello.device.as_str(), name));
                }
                answers
            }
            DeviceMessage::Readings(readings) => {
                let mut stored = stored.lock().unwrap();
                let Stored { streams, metrics, .. } = &mut *stored;
                let stream = stream_of.as_ref().unwrap();
                let (last, count) = streams.get_mut(stream).unwrap();
                if readings.seq.0 > *last {
                    assert_eq!(readings.seq.0, *last + 1, "batches come in order, none left out");
                    *last += 1;
                    for (metric, _) in readings.points.iter().flat_map(|point| &point.values) {
                        *count += 1;
                        *metrics.get_mut(&(stream.0.clone(), metric.to_string())).unwrap() += 1;
                    }
                }
                vec![HubToDevice::Ack(Ack { seq: Seq(*last) })]
            }
            DeviceMessage::CommandUpdate(update) => {
                let device = stream_of.as_ref().unwrap().0.clone();
                stored.lock().unwrap().ends.insert(device, update.state);
                Vec::new()
            }
            DeviceMessage::Skip(skip) => panic!("nothing should be lost here: {skip:?}"),
        };
        for answer in answers {
            // A device that has just broken its connection on purpose does not hear this.
            if socket.send(Message::text(answer.encode())).await.is_err() {
                return;
            }
        }
    }
}

fn welcome(acked: u64) -> HubToDevice {
    HubToDevice::Welcome(Welcome {
        session: "s".into(),
        server_time: Timestamp(0),
        acked_seq: Seq(acked),
        limits: DeviceLimits::default(),
        heartbeat_seconds: 10,
    })
}

fn request(device: &str, name: &str) -> HubToDevice {
    HubToDevice::Command(CommandRequest {
        id: CommandId::new(&format!("command-for-{device}")).unwrap(),
        name: name.parse().unwrap(),
        args: serde_json::Map::new(),
        attempt: 1,
        sent_at: None,
        expires_at: Timestamp::from_seconds(3_600),
    })
}
