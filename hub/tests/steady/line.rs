//! A connection made of bytes: from a source address of its own, upgraded by hand, in frames that may be anything.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use protocol::SUBPROTOCOL;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BEGIN: u8 = 0x01;
pub(crate) const GO_ON: u8 = 0x00;
pub(crate) const PING: u8 = 0x89;

/// How long a write may take, in seconds, before whoever writes gives up: the hub does not read any more, or only slowly.
fn stuck() -> Duration {
    Duration::from_secs(crate::setting("HOSTILE_STUCK", 2))
}

/// The address of the n-th source: 127.200.0.1 and on.
pub(crate) const fn source(n: u32) -> Ipv4Addr {
    Ipv4Addr::new(127, 200 + (n / 62_500 % 50) as u8, (n / 250 % 250) as u8, (n % 250) as u8 + 1)
}

/// Connects from the n-th source. `narrow`: with little room for what comes, so that not reading it is felt soon.
pub(crate) async fn dial(from: u32, to: SocketAddr, narrow: bool) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if narrow {
        socket.set_recv_buffer_size(4_096)?;
    }
    // The port is chosen when it connects, as it need only differ toward the same hub; binding to port 0 would choose one of
    // the whole machine.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((source(from), 0)))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The request for an upgrade.
pub(crate) fn request(path: &str, token: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGVsZW1ldHJ5LWh1Yi12MQ==\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
}

/// Upgrades, and fails with what the hub says if it does not let us in.
pub(crate) async fn upgrade(stream: &mut TcpStream, path: &str, token: &str) -> std::io::Result<()> {
    stream.write_all(request(path, token).as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if head.starts_with("HTTP/1.1 101 ") { Ok(()) } else { Err(std::io::Error::other(head)) }
}

/// The least that is a hello, as a frame.
pub(crate) fn hello(device: &str) -> Vec<u8> {
    let text = format!(
        "{{\"type\":\"hello\",\"device\":\"{device}\",\"epoch\":\"{:x}\",\"metrics\":[{{\"name\":\"count\"}}]}}",
        rand::random::<u64>()
    );
    frame(TEXT, text.as_bytes())
}

/// Reads one frame.
pub(crate) async fn read(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let first = stream.read_u8().await?;
    let length = match stream.read_u8().await? {
        126 => stream.read_u16().await?.into(),
        127 => stream.read_u64().await?,
        short => short.into(),
    };
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await?;
    Ok((first, payload))
}

/// Connects as a device and is welcomed.
pub(crate) async fn welcomed(
    from: u32,
    to: SocketAddr,
    token: &str,
    device: &str,
) -> std::io::Result<TcpStream> {
    let mut stream = dial(from, to, false).await?;
    upgrade(&mut stream, protocol::DEVICE_PATH, token).await?;
    stream.write_all(&hello(device)).await?;
    let (first, payload) = read(&mut stream).await?;
    if first == TEXT && payload.starts_with(b"{\"type\":\"welcome\"") {
        Ok(stream)
    } else {
        Err(std::io::Error::other(String::from_utf8_lossy(&payload).into_owned()))
    }
}

/// How an attack ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ended {
    /// All was sent, and the connection is up.
    Taken,
    /// The hub stopped reading it.
    NotRead,
    /// The hub closed, with this code.
    Closed(u16),
    /// The connection is gone without a close frame that could be read.
    Cut,
}

/// Writes all, for as long as the hub takes it.
pub(crate) async fn pour(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), Ended> {
    match timeout(stuck(), stream.write_all(bytes)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Ended::Cut),
        Err(_) => Err(Ended::NotRead),
    }
}

/// Reads what is there to the close frame, if one comes.
pub(crate) async fn ended(mut stream: TcpStream, otherwise: Ended) -> Ended {
    let close = async {
        loop {
            match read(&mut stream).await {
                Ok((0x88, payload)) if payload.len() >= 2 => {
                    return Ended::Closed(u16::from_be_bytes([payload[0], payload[1]]));
                }
                Ok(_) => {}
                Err(_) => return if otherwise == Ended::Taken { Ended::Cut } else { otherwise },
            }
        }
    };
    timeout(Duration::from_secs(1), close).await.unwrap_or(otherwise)
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
