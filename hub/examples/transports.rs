//! What other transports cost for the same telemetry and the same commands: WebSocket, and HTTP/1.1 with commands in the
//! answers of posts, by polling, by long-polling and by Server-Sent Events.
//!
//! `transports serve FOLDER` runs a hub and, beside its port, another that speaks HTTP to devices; both hand batches to the
//! same ingest and take commands from the same desk. `transports load ...` is the devices. `cargo xtask bench transports` runs
//! both and prints the table. A part of the bench: no hub speaks to devices in this way.

#[path = "transports/front.rs"]
mod front;
#[path = "transports/load.rs"]
mod load;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use hub::Config;
use hub::config::Options;

/// How the devices speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    WebSocket,
    Post,
    Poll,
    LongPoll,
    Events,
}

impl Kind {
    fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(match text {
            "websocket" => Self::WebSocket,
            "post" => Self::Post,
            "poll" => Self::Poll,
            "long_poll" => Self::LongPoll,
            "events" => Self::Events,
            other => bail!("no transport is called {other}"),
        })
    }
}

fn print(line: &str) {
    #[expect(clippy::print_stdout, reason = "what it has to say")]
    {
        println!("{line}");
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", folder] => {
            let options = Options {
                listen: Some(([127, 0, 0, 1], 0).into()),
                data: Some(PathBuf::from(folder)),
                ..Options::default()
            };
            let running = hub::start(Config::resolve(&options)?).await?;
            let address = front::start(std::sync::Arc::clone(running.hub())).await?;
            print(&format!("{} {address}", running.address));
            std::future::pending().await
        }
        ["load", kind, socket, http, folder, server, seconds] => {
            let target = load::Target {
                kind: Kind::parse(kind)?,
                socket: socket.parse()?,
                http: http.parse()?,
                token: std::fs::read_to_string(PathBuf::from(folder).join("fleet.token"))?.trim().to_owned(),
                operator: std::fs::read_to_string(PathBuf::from(folder).join("operator.token"))?
                    .trim()
                    .to_owned(),
                server: server.parse().context("the id of the server's process")?,
            };
            print(&load::run(target, seconds.parse()?).await?.to_string());
            Ok(())
        }
        _ => bail!("usage: transports serve FOLDER | load KIND SOCKET HTTP FOLDER PID SECONDS"),
    }
}
