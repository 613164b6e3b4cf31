//! Opens idle device connections to a hub and holds them until its input ends; for measuring what one costs.
//!
//! `idle_connections ws://127.0.0.1:7878 TOKEN_FILE COUNT [READINGS]` prints `ready` when every one has been welcomed; where
//! READINGS are asked for, each has sent so many in a batch and has them acknowledged.

use std::io::Read as _;

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use protocol::device::{DeviceMessage, Hello};
use protocol::{DEVICE_PATH, DeviceId, Epoch, SUBPROTOCOL};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::Message;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(url), Some(file), Some(count)) = (args.next(), args.next(), args.next()) else {
        anyhow::bail!("usage: idle_connections URL TOKEN_FILE COUNT [READINGS]");
    };
    let readings: u64 = args.next().map_or(Ok(0), |text| text.parse())?;
    let token = std::fs::read_to_string(file)?;
    let authority = url.strip_prefix("ws://").context("the URL must begin with ws://")?;
    let config = hub::session::socket_config(1024, 64 * 1024, 512 * 1024);
    let mut sockets = Vec::new();
    for n in 0..count.parse::<u32>()? {
        let stream = TcpStream::connect(authority).await?;
        let request = ClientRequestBuilder::new(format!("{url}{DEVICE_PATH}").parse()?)
            .with_header("Authorization", format!("Bearer {}", token.trim()))
            .with_sub_protocol(SUBPROTOCOL);
        let (mut socket, _) =
            tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
        let hello = Hello {
            device: DeviceId::new(&format!("idle-{n}"))?,
            epoch: Epoch::new("e1")?,
            now: None,
            model: None,
            firmware: None,
            tags: Vec::new(),
            metrics: serde_json::from_str("[{\"name\":\"temperature\",\"unit\":\"Cel\"}]")?,
            commands: Vec::new(),
        };
        socket.send(Message::Text(DeviceMessage::Hello(hello).encode().into())).await?;
        socket.next().await.context("no welcome")??;
        if readings > 0 {
            let start = 1_767_225_600_000_000 + u64::from(n) * 1_000;
            let point =
                |i| format!("{{\"at\":{},\"values\":{{\"temperature\":20.5}}}}", start + i * 1_000_000);
            let points = (0..readings).map(point).collect::<Vec<_>>().join(",");
            let batch = format!("{{\"type\":\"readings\",\"seq\":1,\"points\":[{points}]}}");
            socket.send(Message::Text(batch.into())).await?;
            socket.next().await.context("no ack")??;
        }
        sockets.push(socket);
    }
    #[expect(clippy::print_stdout, reason = "the word is its only output")]
    {
        println!("ready");
    }
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
