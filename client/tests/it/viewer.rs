//! A viewer's connection: subscriptions that outlive it, requests that do not, slow applications.

use std::time::Duration;

use client::viewer::{SendError, ViewerClient, ViewerConfig, ViewerEvent, ViewerHandle};
use protocol::ErrorCode;
use protocol::name::{Position, SeriesId};
use protocol::viewer::{HubToViewer, LiveReadings, Subscribed, ViewerMessage};
use serde_json::json;
use tokio::sync::mpsc;

use crate::hub::Hub;

fn spawn(hub: &Hub, events: usize) -> (ViewerHandle, mpsc::Receiver<ViewerEvent>) {
    let (events_tx, events) = mpsc::channel(events);
    (ViewerClient::spawn(ViewerConfig::new(hub.endpoint()), events_tx), events)
}

/// The next event that is not a round trip.
async fn next(events: &mut mpsc::Receiver<ViewerEvent>) -> ViewerEvent {
    loop {
        match events.recv().await.expect("an event") {
            ViewerEvent::RoundTrip(_) => {}
            other => return other,
        }
    }
}

async fn connected(events: &mut mpsc::Receiver<ViewerEvent>) {
    loop {
        if matches!(next(events).await, ViewerEvent::Connected(_)) {
            return;
        }
    }
}

fn message(json: serde_json::Value) -> ViewerMessage {
    ViewerMessage::decode(&json.to_string()).unwrap()
}

fn history(id: u64) -> ViewerMessage {
    message(json!({"type": "history", "id": id, "series": 1, "from": 0, "to": 1, "step": "raw"}))
}

fn readings(id: u64, position: i64) -> String {
    HubToViewer::Readings(LiveReadings {
        id,
        position: Position(position),
        snapshot: false,
        series: vec![],
        omitted: None,
        traces: vec![],
    })
    .encode()
}

#[tokio::test]
async fn subscriptions_go_on_after_a_reconnect_where_they_stopped() {
    let hub = Hub::start().await;
    let (viewer, mut events) = spawn(&hub, 64);
    // Asked for before there is a connection: remembered.
    viewer
        .try_send(message(json!({"type": "subscribe", "id": 1, "select": {"devices": ["pump-*"]}})))
        .unwrap();
    viewer.try_send(message(json!({"type": "subscribe", "id": 2}))).unwrap();
    viewer.try_send(message(json!({"type": "unsubscribe", "id": 2}))).unwrap();
    let mut peer = hub.accept_viewer().await;
    let ViewerMessage::Subscribe(subscribe) = peer.viewer_message().await else { panic!() };
    assert_eq!((subscribe.id, subscribe.since), (1, None));
    let subscribed = Subscribed { id: 1, series: 3, position: Position(10), resumed: false };
    peer.say(&HubToViewer::Subscribed(subscribed).encode()).await;
    peer.say(&readings(1, 17)).await;
    connected(&mut events).await;
    assert!(matches!(next(&mut events).await, ViewerEvent::Message(HubToViewer::Subscribed(_))));
    assert!(matches!(next(&mut events).await, ViewerEvent::Message(HubToViewer::Readings(_))));
    drop(peer);
    assert!(matches!(next(&mut events).await, ViewerEvent::Disconnected { retry_in: Some(_), .. }));
    let mut peer = hub.accept_viewer().await;
    let ViewerMessage::Subscribe(subscribe) = peer.viewer_message().await else { panic!() };
    assert_eq!((subscribe.id, subscribe.since), (1, Some(Position(17))));
    assert_eq!(subscribe.select.devices, ["pump-*"]);
    assert_eq!(subscribe.select.series, Vec::<SeriesId>::new());
}

#[tokio::test]
async fn every_request_gets_an_answer_with_or_without_a_connection() {
    let hub = Hub::start().await;
    let (viewer, mut events) = spawn(&hub, 64);
    viewer.try_send(history(1)).unwrap();
    let error = |event| match event {
        ViewerEvent::Message(HubToViewer::Error(error)) => (error.id, error.code),
        other => panic!("{other:?}"),
    };
    assert_eq!(next(&mut events).await, ViewerEvent::Connecting { attempt: 1 });
    assert_eq!(error(next(&mut events).await), (Some(1), ErrorCode::Internal));

    let mut peer = hub.accept_viewer().await;
    connected(&mut events).await;
    for id in 2..=3 {
        viewer.try_send(history(id)).unwrap();
        assert!(matches!(peer.viewer_message().await, ViewerMessage::History(h) if h.id == id));
    }
    let answer = json!({"type": "history", "id": 2, "series": 1, "step": "raw", "position": 1});
    peer.say(&answer.to_string()).await;
    assert!(matches!(next(&mut events).await, ViewerEvent::Message(HubToViewer::History(_))));
    drop(peer);
    assert_eq!(error(next(&mut events).await), (Some(3), ErrorCode::Internal), "2 was answered, 3 was not");
    assert!(matches!(next(&mut events).await, ViewerEvent::Disconnected { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_hub_never_answers_is_given_up() {
    let hub = Hub::start().await;
    let (viewer, mut events) = spawn(&hub, 64);
    let mut peer = hub.accept_viewer().await;
    while !matches!(next(&mut events).await, ViewerEvent::Connected(_)) {}
    viewer.try_send(history(2)).unwrap();
    viewer.try_send(history(3)).unwrap();
    let asked = tokio::time::Instant::now();
    // It lives, answers every ping, and sends one part of the second answer.
    let part = json!({"type": "history", "id": 3, "series": 1, "step": "raw", "position": 1, "more": true});
    let living = tokio::spawn(async move {
        let later = asked + Duration::from_secs(40);
        while tokio::time::timeout_at(later, peer.read()).await.is_ok() {}
        peer.say(&part.to_string()).await;
        while peer.read().await.is_ok() {}
    });
    let mut given_up = Vec::new();
    while given_up.len() < 2 {
        match next(&mut events).await {
            ViewerEvent::Message(HubToViewer::Error(error)) => {
                assert!(error.message.contains("has not answered for 60 s"), "{error:?}");
                given_up.push((error.id.unwrap(), asked.elapsed().as_secs() / 10));
            }
            ViewerEvent::Message(HubToViewer::History(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(given_up, [(2, 6), (3, 10)], "each a minute after its last sign of life");
    living.abort();
}

#[tokio::test]
async fn a_message_that_no_hub_takes_is_refused_here() {
    let hub = Hub::start().await;
    let (viewer, mut events) = spawn(&hub, 64);
    let _peer = hub.accept_viewer().await;
    connected(&mut events).await;
    let patterns: Vec<String> = (0..2_000).map(|i| format!("{i:-<64}")).collect();
    viewer.try_send(message(json!({"type": "subscribe", "id": 5, "select": {"devices": patterns}}))).unwrap();
    let ViewerEvent::Message(HubToViewer::Error(error)) = next(&mut events).await else { panic!() };
    assert_eq!((error.id, error.code), (Some(5), ErrorCode::LimitReached));
}

#[tokio::test(start_paused = true)]
async fn an_application_that_does_not_read_holds_the_hub_back_and_loses_nothing() {
    let hub = Hub::start().await;
    let (_viewer, mut events) = spawn(&hub, 2);
    let mut peer = hub.accept_viewer().await;
    let talker = tokio::spawn(async move {
        for position in 0..5_000 {
            peer.say(&readings(1, position)).await;
        }
        peer
    });
    // Long enough for every heartbeat to be missed, had the silence been the hub's.
    tokio::time::advance(Duration::from_mins(2)).await;
    connected(&mut events).await;
    for position in 0..5_000 {
        let ViewerEvent::Message(HubToViewer::Readings(readings)) = next(&mut events).await else { panic!() };
        assert_eq!(readings.position, Position(position));
    }
    drop(talker);
}

#[tokio::test]
async fn closing_says_1000_and_refuses_what_comes_after() {
    let hub = Hub::start().await;
    let (viewer, mut events) = spawn(&hub, 64);
    let mut peer = hub.accept_viewer().await;
    connected(&mut events).await;
    let other = viewer.clone();
    let (code, ()) = tokio::join!(peer.read(), viewer.close());
    assert_eq!(code, Err(Some(1000)));
    assert_eq!(other.try_send(history(1)), Err(SendError::Closed));
    other.close().await;
}

#[tokio::test]
async fn closing_does_not_wait_for_a_hub_that_is_not_there() {
    let hub = Hub::start().await;
    let (viewer, mut events) = spawn(&hub, 64);
    drop(hub);
    while !matches!(next(&mut events).await, ViewerEvent::Disconnected { .. }) {}
    let since = tokio::time::Instant::now();
    viewer.close().await;
    assert!(since.elapsed() < Duration::from_millis(10));
}

#[tokio::test]
async fn the_round_trip_is_told_soon_after_connecting() {
    let hub = Hub::start().await;
    let (_viewer, mut events) = spawn(&hub, 64);
    let mut peer = hub.accept_viewer().await;
    let reading = tokio::spawn(async move { peer.read().await });
    while !matches!(events.recv().await.unwrap(), ViewerEvent::RoundTrip(_)) {}
    drop(reading);
}
