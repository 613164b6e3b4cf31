//! A hub that refuses, or is none.

use std::time::Duration;

use client::device::{DeviceClient, DeviceEvent};
use client::viewer::{ViewerClient, ViewerConfig, ViewerEvent};
use tokio::sync::mpsc;

use crate::hub::{Hub, device_config};

async fn refused(hub: &Hub, status: &str, body: &str) -> (String, Option<Duration>) {
    let (_device, mut events) = DeviceClient::spawn(device_config(hub)).unwrap();
    hub.refuse(status, body).await;
    match events.recv().await {
        Some(DeviceEvent::Disconnected { reason, code: None, retry_in }) => (reason, retry_in),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_whose_token_is_refused_tries_again_slowly() {
    let hub = Hub::start().await;
    for (status, body, said) in [
        ("401 Unauthorized", "no such token", "the hub does not accept the token: no such token"),
        ("403 Forbidden", "{\"message\":\"viewers only\"}", "the token does not allow this: viewers only"),
        ("426 Upgrade Required", "", "the hub refused the connection with HTTP 426: Upgrade Required"),
        ("400 Bad Request", "spoken: telemetry.v1.json", "HTTP 400: spoken: telemetry.v1.json"),
    ] {
        let (reason, retry_in) = refused(&hub, status, body).await;
        assert!(reason.contains(said), "{reason}");
        let wait = retry_in.unwrap();
        assert!((300..=360).contains(&wait.as_secs()), "{status}: {wait:?}");
    }
}

#[tokio::test]
async fn a_hub_that_is_only_busy_is_tried_again_soon() {
    let hub = Hub::start().await;
    for (status, least) in [
        ("503 Service Unavailable", 0),
        ("429 Too Many Requests", 0),
        ("503 Service Unavailable\r\nRetry-After: 7", 7_000),
    ] {
        let (_, retry_in) = refused(&hub, status, "full").await;
        let wait = retry_in.unwrap().as_millis();
        assert!((least..=least + 500).contains(&wait), "{status}: {wait}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_viewer_whose_token_is_refused_waits_for_a_person() {
    let hub = Hub::start().await;
    let (events_tx, mut events) = mpsc::channel(16);
    let viewer = ViewerClient::spawn(ViewerConfig::new(hub.endpoint()), events_tx);
    hub.refuse("401 Unauthorized", "no such token").await;
    assert_eq!(events.recv().await, Some(ViewerEvent::Connecting { attempt: 1 }));
    let Some(ViewerEvent::Disconnected { reason, retry_in: None }) = events.recv().await else { panic!() };
    assert!(reason.contains("no such token"), "{reason}");
    assert!(tokio::time::timeout(Duration::from_hours(1), events.recv()).await.is_err());
    viewer.reconnect_now();
    let _peer = hub.accept_viewer().await;
    assert!(matches!(events.recv().await, Some(ViewerEvent::Connecting { .. })));
    assert!(matches!(events.recv().await, Some(ViewerEvent::Connected(_))));
}

#[tokio::test]
async fn a_token_of_a_file_that_is_refused_is_perhaps_another_hubs() {
    let hub = Hub::start().await;
    let endpoint = client::Endpoint { token_file: Some("data/operator.token".into()), ..hub.endpoint() };
    let address = endpoint.address();
    let (events_tx, mut events) = mpsc::channel(16);
    let _viewer = ViewerClient::spawn(ViewerConfig::new(endpoint), events_tx);
    hub.refuse("401 Unauthorized", "no such token").await;
    events.recv().await;
    let Some(ViewerEvent::Disconnected { reason, .. }) = events.recv().await else { panic!() };
    let words = format!("{address} does not know the token in data/operator.token");
    assert!(reason.contains(&words) && reason.contains("another hub"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn waits_between_attempts_are_jittered_and_bounded() {
    let hub = Hub::start().await;
    let config = device_config(&hub);
    drop(hub);
    let (_device, mut events) = DeviceClient::spawn(config).unwrap();
    let mut waits = Vec::new();
    while waits.len() < 20 {
        let Some(DeviceEvent::Disconnected { retry_in: Some(wait), .. }) = events.recv().await else {
            panic!()
        };
        waits.push(wait);
    }
    for (attempt, wait) in waits.iter().enumerate() {
        let bound = Duration::from_millis(500 << attempt.min(10)).min(Duration::from_secs(30));
        assert!(*wait <= bound, "{attempt}: {wait:?}");
    }
    let distinct: std::collections::BTreeSet<_> = waits.iter().collect();
    assert_eq!(distinct.len(), waits.len(), "no two waits are the same");
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_answers_nothing_is_given_up_at_every_step() {
    let hub = Hub::start().await;
    let (_device, mut events) = DeviceClient::spawn(device_config(&hub)).unwrap();
    let reason = |event| match event {
        Some(DeviceEvent::Disconnected { reason, retry_in: Some(_), .. }) => reason,
        other => panic!("{other:?}"),
    };

    let tcp_only = hub.accept_tcp().await;
    let said = reason(events.recv().await);
    assert!(said.ends_with("did not answer within 10 s"), "{said}");
    drop(tcp_only);

    let no_welcome = hub.accept().await;
    assert_eq!(reason(events.recv().await), "the hub did not say welcome within 10 s");
    drop(no_welcome);

    let (mut no_pongs, _) = hub.accept_device(0).await;
    let connected_at = tokio::time::Instant::now();
    assert!(matches!(events.recv().await, Some(DeviceEvent::Connected(_))));
    assert_eq!(reason(events.recv().await), "nothing was heard of the hub for 30 s");
    assert!((30..31).contains(&connected_at.elapsed().as_secs()));
    assert_eq!(no_pongs.read().await, Err(Some(4004)), "and it is told, should it still listen");
}

#[tokio::test]
async fn a_hub_that_breaks_the_rules_is_told_which() {
    let hub = Hub::start().await;
    let (_device, mut events) = DeviceClient::spawn(device_config(&hub)).unwrap();
    let (mut peer, _) = hub.accept_device(0).await;
    let talker = tokio::spawn(async move {
        peer.say(&"x".repeat(5 * 1024 * 1024)).await;
        peer
    });
    assert!(matches!(events.recv().await, Some(DeviceEvent::Connected(_))));
    let Some(DeviceEvent::Disconnected { reason, retry_in: Some(_), .. }) = events.recv().await else {
        panic!()
    };
    assert!(reason.contains("Message too long"), "{reason}");
    drop(talker);
}

#[tokio::test]
async fn messages_that_cannot_be_read_are_skipped() {
    let hub = Hub::start().await;
    let (events_tx, mut events) = mpsc::channel(16);
    let _viewer = ViewerClient::spawn(ViewerConfig::new(hub.endpoint()), events_tx);
    let mut peer = hub.accept_viewer().await;
    peer.say("{\"type\":\"of_the_future\"}").await;
    peer.say("{\"type\":\"readings\",\"id\":\"x\"}").await;
    assert!(matches!(events.recv().await, Some(ViewerEvent::Connecting { .. })));
    assert!(matches!(events.recv().await, Some(ViewerEvent::Connected(_))));
    let bad = loop {
        match events.recv().await.unwrap() {
            ViewerEvent::RoundTrip(_) => {}
            other => break other,
        }
    };
    assert!(matches!(&bad, ViewerEvent::BadMessage(problem) if problem.contains("readings")), "{bad:?}");
}
