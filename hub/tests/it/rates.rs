//! Rates: whoever sends too fast is read more slowly, then refused by name, and nobody else notices (I-5, I-6).

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use protocol::{DEVICE_PATH, DeviceId};
use serde_json::{Value as Json, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Role, TestHub, stdout, within};
use crate::limits::metrics;
use crate::wire::{Bystander, Heard, Peer, counted, hello};

/// The real program with these limits.
async fn hub_with(limits: &str) -> TestHub {
    let mut hub = TestHub::nowhere(&[]);
    std::fs::write(hub.data().join("hub.toml"), format!("[limits]\n{limits}")).unwrap();
    hub.launch().await;
    hub
}

/// A device with a token of its own, welcomed.
async fn own_device(hub: &TestHub, device: &str) -> Peer {
    let token = stdout(&hub.cli(&["device", "add", device]).await).trim().to_owned();
    let mut peer = hub.dial(DEVICE_PATH, &token).await;
    peer.say(hello(device)).await;
    assert_eq!(peer.next().await["type"], "welcome");
    peer
}

#[tokio::test]
async fn a_device_above_its_rate_is_read_more_slowly_and_loses_nothing() {
    let hub = hub_with("device_readings_per_second = 1000\nrate_burst_seconds = 1\n").await;
    let mut device = own_device(&hub, "pump").await;
    let start = Instant::now();
    for seq in 1..=30 {
        device.say(counted(seq, seq as i64 * 100, seq as i64 * 100 + 99)).await;
    }
    device.acked(30).await;
    let seconds = start.elapsed().as_secs_f64();
    // 1 000 at once, and 1 900 more before the last batch is read.
    assert!(seconds > 1.8, "3000 readings were taken in {seconds} s");
    assert_eq!(hub.reader().stats().unwrap().readings, 3_000);
    let metrics = metrics(&hub).await;
    for line in [
        "telemetry_slowed_total{limit=\"device_readings_per_second\"} 1",
        "telemetry_refused_total{limit=\"device_readings_per_second\"} 0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn i_5_a_device_that_floods_is_refused_by_name_in_the_end_and_others_are_acknowledged_all_the_while() {
    let hub =
        hub_with("device_readings_per_second = 2000\nrate_burst_seconds = 1\nrate_patience_seconds = 3\n")
            .await;
    let mut bystander = Bystander::join(&hub).await;
    let (mut out, mut back) = own_device(&hub, "flood").await.socket.split();
    let flood = async {
        let mut seq = 0_u64;
        loop {
            seq += 1;
            let batch = counted(seq, seq as i64 * 50, seq as i64 * 50 + 49).to_string();
            if out.send(Message::text(batch)).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let told = async {
        let (mut acked, mut error) = (0, None);
        loop {
            match back.next().await.unwrap().unwrap() {
                Message::Text(text) => {
                    let message: Json = serde_json::from_str(&text).unwrap();
                    match message["type"].as_str().unwrap() {
                        "ack" => acked = message["seq"].as_u64().unwrap(),
                        "error" => error = Some(message),
                        other => panic!("{other}: a silent refusal?"),
                    }
                }
                Message::Close(frame) => return (acked, error, frame.unwrap()),
                _ => {}
            }
        }
    };
    let others = async {
        let mut slowest = Duration::ZERO;
        loop {
            let asked = Instant::now();
            bystander.is_undisturbed().await;
            slowest = slowest.max(asked.elapsed());
            assert!(slowest < Duration::from_secs(5), "an ack took {slowest:?} beside a flood");
        }
    };
    let start = Instant::now();
    let (acked, error, close) = tokio::select! {
        told = within("the flood to be refused", told) => told,
        () = flood => unreachable!("it never ends"),
        () = others => unreachable!("they never end"),
    };
    assert!(start.elapsed() >= Duration::from_secs(3), "not before its patience is over");
    let limit = "device_readings_per_second is 2000 (per device); try again in ";
    let error = error.unwrap();
    assert_eq!(error["code"], "limit_reached");
    assert!(error["message"].as_str().unwrap().contains(limit), "{error}");
    assert_eq!(u16::from(close.code), 4008);
    assert!(close.reason.contains(limit), "{}", close.reason);
    assert!(metrics(&hub).await.contains("telemetry_refused_total{limit=\"device_readings_per_second\"} 1"));

    // It may come back at once, and is read at its rate.
    let token = stdout(&hub.cli(&["device", "add", "flood"]).await).trim().to_owned();
    let mut again = hub.dial(DEVICE_PATH, &token).await;
    again.say(hello("flood")).await;
    let settled = again.next().await["acked_seq"].as_u64().unwrap();
    assert!(
        settled >= acked && settled <= 300,
        "{settled} batches of 50 were taken in some 4 s at 2000 a second"
    );
    let ledger = hub.reader().ledger(&DeviceId::new("flood").unwrap()).unwrap();
    assert_eq!(ledger[0].readings, settled * 50, "what was taken is stored, and nothing after it");
    again.say(counted(settled + 1, 0, 9)).await;
    again.acked(settled + 1).await;
}

#[tokio::test]
async fn each_role_has_a_rate_of_messages_of_its_own() {
    let hub = hub_with(
        "device_messages_per_second = 20\nfleet_messages_per_second = 30\nfleet_readings_per_second = 40\n\
         viewer_messages_per_second = 50\noperator_messages_per_second = 60\nrate_burst_seconds = 1\n\
         rate_patience_seconds = 1\n",
    )
    .await;
    let nothing = |n: u64| json!({"type": "readings", "seq": n, "points": []});
    let ask = |n: u64| json!({"type": "unsubscribe", "id": n});
    let (viewer, _) = hub.viewer(Role::Viewer).await;
    let (operator, _) = hub.viewer(Role::Operator).await;
    type Message = Box<dyn Fn(u64) -> Json>;
    let peers: Vec<(Peer, &str, u64, Message)> = vec![
        (own_device(&hub, "own").await, "device_messages_per_second", 20, Box::new(nothing)),
        (hub.welcomed("fleet").await, "fleet_messages_per_second", 30, Box::new(nothing)),
        (
            hub.welcomed("fleet-2").await,
            "fleet_readings_per_second",
            40,
            Box::new(|n| counted(n, n as i64 * 20, n as i64 * 20 + 19)),
        ),
        (viewer, "viewer_messages_per_second", 50, Box::new(ask)),
        (operator, "operator_messages_per_second", 60, Box::new(ask)),
    ];
    for (mut peer, limit, value, message) in peers {
        for n in 1..=400 {
            peer.say(message(n)).await;
        }
        let mut error = String::new();
        let close = loop {
            match peer.hear().await {
                Heard::Message(message) if message["type"] == "error" => {
                    error = message["message"].to_string();
                }
                Heard::Message(message) => {
                    assert!(message["type"] == "ack" || message["type"] == "devices", "{message}");
                }
                Heard::Closed(code, reason) => break (code, reason),
                Heard::Gone => panic!("{limit}: closed without a word"),
            }
        };
        let scope =
            if limit.starts_with("viewer") || limit.starts_with("operator") { "viewer" } else { "device" };
        let expected = format!("above it for 1 s: {limit} is {value} (per {scope}); try again in ");
        assert!(error.contains(&expected), "{limit}: {error}");
        assert_eq!(close.0, 4008, "{limit}");
        assert!(close.1.contains(&expected), "{close:?}");
    }
}
