//! A device of the torture: sends as fast as the hub acknowledges, connects again and again, reboots, and sends much of
//! what it sends twice or in the wrong order.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use protocol::{CloseCode, DEVICE_PATH, SUBPROTOCOL, VIEWER_PATH};
use serde_json::Value as Json;
use tokio::net::TcpStream;
use tokio::sync::RwLock;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::content::{METRICS, mix};
use crate::oracle::Account;

/// Time between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(5);
/// A hub that says nothing for so long while batches wait is stuck.
const SILENCE: Duration = Duration::from_secs(30);

/// What the devices share.
#[derive(Debug)]
pub(crate) struct World {
    /// Held for reading by every device that is connected: whoever gets it for writing knows that all is quiet.
    pub(crate) gate: RwLock<()>,
    /// Where the hub listens, as soon as that is known.
    pub(crate) address: Mutex<Option<SocketAddr>>,
    /// The file with the token.
    pub(crate) token: PathBuf,
    /// Whether every device sends one batch at a time, each once, and never reboots.
    pub(crate) steady: bool,
    /// Whether it is time to go home.
    pub(crate) over: AtomicBool,
}

/// Why a connection ended.
enum End {
    /// There was none, or the hub went away.
    Away,
    /// The device wants another connection.
    Left,
    /// The hub closed, for a reason.
    Closed(u16, String),
    /// Something that may not be.
    Problem(String),
}

impl From<Error> for End {
    fn from(_: Error) -> Self {
        Self::Away
    }
}

type Socket = WebSocketStream<TcpStream>;

/// Lives until the world is over.
pub(crate) async fn live(account: Arc<Mutex<Account>>, world: Arc<World>, seed: u64) {
    let device = account.lock().unwrap().device;
    let seed = mix([seed, device, 2]);
    let mut device = Device { account, draws: 0, seed, steady: world.steady, left: None };
    while !world.over.load(Ordering::Relaxed) {
        let open = world.gate.read().await;
        let end = device.session(&world).await;
        drop(open);
        match end {
            End::Away => tokio::time::sleep(AGAIN).await,
            End::Left | End::Closed(..) => {}
            End::Problem(problem) => {
                let mut account = device.account.lock().unwrap();
                let id = account.id();
                account.problems.push(format!("{id}: {problem}"));
            }
        }
    }
}

struct Device {
    account: Arc<Mutex<Account>>,
    seed: u64,
    draws: u64,
    steady: bool,
    /// A connection that was left behind without a word; the hub has to end it when the device comes back.
    left: Option<Socket>,
}

impl Device {
    /// Whether something that happens once in `n` times happens now.
    fn once_in(&mut self, n: u64) -> bool {
        self.draws += 1;
        !self.steady && mix([self.seed, self.draws, n]).is_multiple_of(n)
    }

    /// One connection, from its beginning to its end.
    async fn session(&mut self, world: &World) -> End {
        let mut socket = match connect(world).await {
            Ok(socket) => socket,
            Err(end) => return end,
        };
        let Err(mut end) = self.converse(&mut socket).await;
        if let End::Closed(code, reason) = end {
            // When a connection that was left behind stores more after our welcome, the hub asks for a new one.
            end = match (code, &self.left) {
                (1001, _) | (1011, Some(_)) => End::Away,
                (1011, _) if reason.starts_with("no room") => {
                    self.account.lock().unwrap().full += 1;
                    End::Away
                }
                _ if code == CloseCode::StorageFailed.number() => {
                    self.account.lock().unwrap().failed += 1;
                    End::Away
                }
                _ => End::Problem(format!("the hub closed with {code}: {reason}")),
            };
        }
        self.left = matches!(end, End::Left).then_some(socket);
        end
    }

    async fn converse(&mut self, socket: &mut Socket) -> Result<Infallible, End> {
        self.hello(socket).await?;
        let window =
            if self.steady { 1 } else { [1, 4, 16, 64][mix([self.seed, self.draws, 3]) as usize % 4] };
        let mut next = self.account.lock().unwrap().now().acked + 1;
        loop {
            while next <= self.account.lock().unwrap().now().acked + window {
                if self.once_in(300) {
                    // The wrong way round: the hub asks for the right one.
                    self.send(socket, next + 1).await?;
                } else if next > 1 && self.once_in(40) {
                    self.send(socket, next - 1 - self.draws % window.min(next - 1)).await?;
                }
                self.send(socket, next).await?;
                next += 1;
            }
            socket.flush().await?;
            if let Some(seq) = self.hear(socket).await? {
                next = seq;
            }
            if self.once_in(3_000) {
                self.account.lock().unwrap().reboot();
                return Err(End::Left);
            }
            if self.once_in(2_000) {
                return Err(End::Left);
            }
        }
    }

    async fn hello(&mut self, socket: &mut Socket) -> Result<(), End> {
        let hello = {
            let mut account = self.account.lock().unwrap();
            let (id, epoch) = (account.id(), account.now().name.clone());
            format!(r#"{{"type":"hello","device":"{id}","epoch":"{epoch}","metrics":{METRICS}}}"#)
        };
        socket.send(Message::text(hello)).await?;
        let welcome = message(socket).await?;
        let Some(seq) = welcome["acked_seq"].as_u64() else {
            return Err(End::Problem(format!("the answer to hello: {welcome}")));
        };
        self.account.lock().unwrap().acked(seq, "welcome");
        Ok(())
    }

    async fn send(&mut self, socket: &mut Socket, seq: u64) -> Result<(), End> {
        let batch = self.account.lock().unwrap().send(seq);
        Ok(socket.feed(Message::text(batch.message(seq))).await?)
    }

    /// Takes one message. Returns where to go back to, if the hub says so.
    async fn hear(&mut self, socket: &mut Socket) -> Result<Option<u64>, End> {
        let message = message(socket).await?;
        let seq = message["seq"].as_u64();
        match (message["type"].as_str(), seq) {
            (Some("ack"), Some(seq)) => {
                self.account.lock().unwrap().acked(seq, "ack");
                Ok(None)
            }
            (Some("refuse"), Some(seq)) if message["code"] == "out_of_order" => Ok(Some(seq)),
            (Some("refuse"), Some(seq)) if message["code"] == "storage_full" => {
                self.account.lock().unwrap().full += 1;
                let wait = Duration::from_millis(message["retry_after_ms"].as_u64().unwrap());
                tokio::time::sleep(wait).await;
                Ok(Some(seq))
            }
            _ => Err(End::Problem(format!("the hub said {message}"))),
        }
    }
}

async fn connect(world: &World) -> Result<Socket, End> {
    let address = *world.address.lock().unwrap();
    let (Some(address), Ok(token)) = (address, std::fs::read_to_string(&world.token)) else {
        return Err(End::Away);
    };
    match dial(address, DEVICE_PATH, &token).await {
        Ok(socket) => Ok(socket),
        // 503 is the answer of a hub that stops.
        Err(Error::Http(answer)) if answer.status() != 503 => {
            Err(End::Problem(format!("the hub answered {}", answer.status())))
        }
        Err(_) => Err(End::Away),
    }
}

async fn dial(address: SocketAddr, path: &str, token: &str) -> Result<Socket, Error> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let uri: Uri = format!("ws://{address}{path}").parse()?;
    let request = ClientRequestBuilder::new(uri)
        .with_header("Authorization", format!("Bearer {}", token.trim()))
        .with_sub_protocol(SUBPROTOCOL);
    Ok(tokio_tungstenite::client_async(request, stream).await?.0)
}

/// A connection of a viewer.
pub(crate) async fn viewer(address: SocketAddr, token: &str) -> Socket {
    dial(address, VIEWER_PATH, token).await.unwrap()
}

/// The next message.
async fn message(socket: &mut Socket) -> Result<Json, End> {
    loop {
        let Ok(next) = tokio::time::timeout(SILENCE, socket.next()).await else {
            return Err(End::Problem(format!("no word from the hub for {} s", SILENCE.as_secs())));
        };
        match next {
            Some(Ok(Message::Text(text))) => {
                return serde_json::from_str(&text)
                    .map_err(|error| End::Problem(format!("not JSON: {error}: {text}")));
            }
            Some(Ok(Message::Close(Some(frame)))) => {
                return Err(End::Closed(frame.code.into(), frame.reason.to_string()));
            }
            Some(Ok(Message::Close(None)) | Err(_)) | None => return Err(End::Away),
            Some(Ok(_)) => {}
        }
    }
}
