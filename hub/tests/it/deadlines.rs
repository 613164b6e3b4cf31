//! Time: what does not come in time is closed, and a peer that does not answer is presumed gone.

use std::time::Instant;

use protocol::{DEVICE_PATH, VIEWER_PATH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Role, TestHub, within};
use crate::wire::{Bystander, Raw, hello, upgrade_request};

/// One test for all deadlines of 10 seconds, so that they are waited for once, together.
#[tokio::test]
async fn half_a_request_and_a_missing_hello_are_closed_in_time_and_nothing_is_said_to_strangers() {
    let hub = TestHub::process(&[]).await;
    let mut bystander = Bystander::join(&hub).await;
    let start = Instant::now();

    let whole = upgrade_request(DEVICE_PATH, "unknown");
    let half = &whole.as_bytes()[..whole.len() / 2];
    let mut strangers = Vec::new();
    for begin in [&b""[..], b"G", half] {
        for _ in 0..20 {
            let mut stream = TcpStream::connect(hub.address).await.unwrap();
            stream.write_all(begin).await.unwrap();
            strangers.push(stream);
        }
    }
    let mut silent = hub.device().await;
    let mut half_hello = Raw::connect(&hub, DEVICE_PATH, Role::Fleet).await;
    half_hello.frame(0x01, br#"{"type":"hello","#).await;
    bystander.is_undisturbed().await;

    let reason = "no hello in time: hello_seconds is 10 (per device); try again at once";
    assert_eq!(silent.closed().await, (4002, reason.to_owned()));
    assert_eq!(half_hello.closed().await.0, 4002);
    for mut stream in strangers {
        let mut said = Vec::new();
        within("the hub to close", stream.read_to_end(&mut said)).await.unwrap();
        let said = String::from_utf8(said).unwrap();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
    }
    let seconds = start.elapsed().as_secs_f64();
    assert!((9.5..15.0).contains(&seconds), "closed after {seconds} s, deadlines are 10 s");
    bystander.is_undisturbed().await;
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_closed_with_4004_and_one_that_does_is_not() {
    let hub = TestHub::process(&["--heartbeat-seconds", "1"]).await;
    let mut bystander = Bystander::join(&hub).await;
    let answers = async {
        let mut again = tokio::time::interval(std::time::Duration::from_millis(100));
        loop {
            again.tick().await;
            bystander.is_undisturbed().await;
        }
    };
    let silence = async {
        let mut device = Raw::connect(&hub, DEVICE_PATH, Role::Fleet).await;
        device.frame(0x81, hello("pump").to_string().as_bytes()).await;
        let mut viewer = Raw::connect(&hub, VIEWER_PATH, Role::Viewer).await;
        for peer in [&mut device, &mut viewer] {
            let mut pings = 0;
            let close = loop {
                let (first, payload) = peer.next().await.unwrap();
                match first {
                    0x89 => pings += 1,
                    0x88 => break payload,
                    other => assert_eq!(other, 0x81),
                }
            };
            let reason = "no answer to pings: heartbeats_missed is 3 (per connection); try again at once";
            assert_eq!(close, [b"\x0f\xa4", reason.as_bytes()].concat());
            assert_eq!(pings, 3);
        }
    };
    tokio::select! {
        () = silence => {}
        () = answers => {}
    }
    bystander.is_undisturbed().await;
}
