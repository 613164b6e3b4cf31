//! A yardstick: what WebSockets and JSON alone cost. Speaks enough of the protocol for the load generator, decodes
//! every reading, acknowledges every message at once, and stores nothing.
//!
//! `cargo run --release --example bare_socket -- 127.0.0.1:0` prints the address and runs until it is killed.

use futures_util::{SinkExt as _, StreamExt as _};
use protocol::device::{Ack, DeviceMessage, HubToDevice, RawReadings, Welcome};
use protocol::limits::{DEVICE_MESSAGE_MAX_BYTES, DeviceLimits};
use protocol::{Seq, Timestamp, codec};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::Message;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    let listener = TcpListener::bind(address).await?;
    #[expect(clippy::print_stdout, reason = "the address is its only output")]
    {
        println!("{}", listener.local_addr()?);
    }
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // The peer is gone: nothing else to do.
            drop(serve(stream).await);
        });
    }
}

#[expect(
    clippy::result_large_err,
    clippy::unnecessary_wraps,
    reason = "the type of the callback is the library's"
)]
fn speak_ours(
    _: &Request,
    mut response: Response,
) -> Result<Response, tokio_tungstenite::tungstenite::handshake::server::ErrorResponse> {
    response.headers_mut().insert(
        "sec-websocket-protocol",
        tokio_tungstenite::tungstenite::http::HeaderValue::from_static(protocol::SUBPROTOCOL),
    );
    Ok(response)
}

async fn serve(stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let config = hub::session::socket_config(4 * 1024, DEVICE_MESSAGE_MAX_BYTES, 256 * 1024);
    let mut socket =
        tokio_tungstenite::accept_hdr_async_with_config(stream, speak_ours, Some(config)).await?;
    let mut sum = 0.0;
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else { continue };
        let answer = if codec::read_type(&text)? == "readings" {
            let batch = RawReadings::decode(&text)?;
            for reading in &batch.readings {
                if let protocol::value::ValueRef::Number(n) = reading.value {
                    sum += n;
                }
            }
            HubToDevice::Ack(Ack { seq: batch.seq })
        } else {
            DeviceMessage::decode(&text)?;
            HubToDevice::Welcome(Welcome {
                session: format!("bare{sum}"),
                server_time: Timestamp(0),
                acked_seq: Seq(0),
                limits: DeviceLimits::default(),
                heartbeat_seconds: 10,
            })
        };
        socket.send(Message::Text(answer.encode().into())).await?;
    }
    Ok(())
}
