//! A device's connection: readings, commands, closing.

use std::time::Duration;

use client::device::{DeviceClient, DeviceEvent, WhenFull};
use protocol::Timestamp;
use protocol::command::DeviceCommandState;
use protocol::device::{Cancel, CommandRequest, CommandUpdate, DeviceMessage, HubToDevice, Refuse};
use protocol::error::RefuseCode;
use protocol::name::{CommandId, MetricName, Seq};
use tokio::sync::mpsc::Receiver;

use crate::hub::{Hub, Peer, device_config, point};

async fn next(events: &mut Receiver<DeviceEvent>) -> DeviceEvent {
    events.recv().await.expect("an event")
}

fn command(id: &str, attempt: u32, expires_at: i64) -> HubToDevice {
    HubToDevice::Command(CommandRequest {
        id: CommandId::new(id).unwrap(),
        name: MetricName::new("start").unwrap(),
        args: serde_json::Map::new(),
        attempt,
        expires_at: Timestamp::from_seconds(expires_at),
        sent_at: Some(Timestamp::from_seconds(1_001)),
    })
}

fn update(id: &str, state: DeviceCommandState) -> CommandUpdate {
    CommandUpdate::new(CommandId::new(id).unwrap(), state)
}

async fn answered(peer: &mut Peer) -> (String, DeviceCommandState) {
    let DeviceMessage::CommandUpdate(update) = peer.device_message().await else { panic!("an update") };
    (update.id.to_string(), update.state)
}

#[tokio::test]
async fn i_2_a_reconnect_goes_on_after_the_last_ack_and_loses_nothing() {
    let hub = Hub::start().await;
    let (device, mut events) = DeviceClient::spawn(device_config(&hub)).unwrap();
    for at in 0..10 {
        device.push(point(at)).await.unwrap();
    }
    let (mut peer, _) = hub.accept_device(0).await;
    peer.batches(1, 5).await;
    peer.ack(3).await;
    assert!(matches!(next(&mut events).await, DeviceEvent::Connected(_)));
    for expected in 1..=3 {
        assert!(matches!(next(&mut events).await, DeviceEvent::Acked { seq, .. } if seq == Seq(expected)));
    }
    drop(peer);
    let DeviceEvent::Disconnected { retry_in: Some(wait), code: None, .. } = next(&mut events).await else {
        panic!("a disconnection that is retried");
    };
    assert!(wait <= Duration::from_millis(500));

    // 4 was stored before the line broke, only its ack was lost.
    let (mut peer, hello) = hub.accept_device(4).await;
    assert_eq!(hello.epoch.as_str(), "e1");
    peer.batches(5, 10).await;
    peer.ack(10).await;
    let status = device.wait_for(|s| s.waiting_readings == 0).await.unwrap();
    assert_eq!((status.counts.acked, status.counts.lost, status.connections), (10, 0, 2));
}

#[tokio::test]
async fn closing_waits_for_the_acks_and_then_says_1000() {
    let hub = Hub::start().await;
    let (device, _events) = DeviceClient::spawn(device_config(&hub)).unwrap();
    for at in 0..3 {
        device.push(point(at)).await.unwrap();
    }
    let hub_side = async {
        let (mut peer, _) = hub.accept_device(0).await;
        peer.batches(1, 3).await;
        peer.ack(3).await;
        assert_eq!(peer.read().await, Err(Some(1000)));
    };
    let (status, ()) = tokio::join!(device.close(Duration::from_secs(5)), hub_side);
    assert_eq!((status.counts.acked, status.waiting_readings), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn closing_gives_up_at_its_deadline_and_says_what_still_waits() {
    let hub = Hub::start().await;
    let (device, _events) = DeviceClient::spawn(device_config(&hub)).unwrap();
    device.push(point(1)).await.unwrap();
    let (peer, _) = hub.accept_device(0).await;
    let status = device.close(Duration::from_secs(5)).await;
    assert_eq!((status.counts.acked, status.waiting_readings), (0, 1));
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_closes_is_come_back_to_or_not_as_its_code_says() {
    let hub = Hub::start().await;
    let (_device, mut events) = DeviceClient::spawn(device_config(&hub)).unwrap();
    for (code, soon) in [(1001, true), (4007, false), (1011, true), (4003, false)] {
        let (mut peer, _) = hub.accept_device(0).await;
        peer.close(code, "because").await;
        assert_eq!(peer.read().await, Err(Some(code)), "the close is answered with its own code");
        assert!(matches!(next(&mut events).await, DeviceEvent::Connected(_)));
        let DeviceEvent::Disconnected { reason, code: found, retry_in } = next(&mut events).await else {
            panic!()
        };
        assert_eq!(found, Some(code));
        assert!(reason.contains("because"), "{reason}");
        let wait = retry_in.expect("a device never gives up");
        assert_eq!(wait <= Duration::from_secs(30), soon, "{code}: {wait:?}");
        assert!(wait <= Duration::from_mins(6), "{code}: {wait:?}");
    }
    let (mut peer, _) = hub.accept_device(0).await;
    peer.close(4000, "because").await;
    assert!(matches!(next(&mut events).await, DeviceEvent::Connected(_)));
    let event = next(&mut events).await;
    assert!(
        matches!(event, DeviceEvent::Disconnected { retry_in: None, code: Some(4000), .. }),
        "two connections of one device must not throw each other out for ever: {event:?}"
    );
}

#[tokio::test]
async fn a_command_is_delivered_once_however_often_it_is_sent() {
    let hub = Hub::start().await;
    let (device, mut events) = DeviceClient::spawn(device_config(&hub)).unwrap();
    let (mut peer, _) = hub.accept_device(0).await;
    assert!(matches!(next(&mut events).await, DeviceEvent::Connected(_)));
    peer.tell(command("c1", 1, 2_000)).await;
    assert!(matches!(next(&mut events).await, DeviceEvent::Command(r) if r.id.as_str() == "c1"));
    assert_eq!(answered(&mut peer).await, ("c1".into(), DeviceCommandState::Received));
    device.command_update(update("c1", DeviceCommandState::Succeeded)).await.unwrap();
    assert_eq!(answered(&mut peer).await, ("c1".into(), DeviceCommandState::Succeeded));

    peer.tell(command("c1", 2, 2_000)).await;
    assert_eq!(answered(&mut peer).await, ("c1".into(), DeviceCommandState::Succeeded));

    // The answer may have died with the line, so the next one hears it unasked.
    drop(peer);
    assert!(matches!(next(&mut events).await, DeviceEvent::Disconnected { .. }));
    let (mut peer, _) = hub.accept_device(0).await;
    assert_eq!(answered(&mut peer).await, ("c1".into(), DeviceCommandState::Succeeded));
    peer.tell(command("c1", 3, 2_000)).await;
    assert_eq!(answered(&mut peer).await, ("c1".into(), DeviceCommandState::Succeeded));
    peer.tell(command("c2", 1, 2_000)).await;
    assert!(matches!(next(&mut events).await, DeviceEvent::Connected(_)));
    assert!(matches!(next(&mut events).await, DeviceEvent::Command(r) if r.id.as_str() == "c2"));
}

#[tokio::test]
async fn a_command_whose_time_ran_out_on_the_way_is_not_started() {
    let hub = Hub::start().await;
    let (_device, mut events) = DeviceClient::spawn(device_config(&hub)).unwrap();
    let (mut peer, _) = hub.accept_device(0).await;
    // The hub's clock stands at 1 000 s in its welcome.
    peer.tell(command("late", 1, 999)).await;
    assert_eq!(answered(&mut peer).await, ("late".into(), DeviceCommandState::Rejected));
    peer.tell(command("good", 1, 1_060)).await;
    assert!(matches!(next(&mut events).await, DeviceEvent::Connected(_)));
    assert!(matches!(next(&mut events).await, DeviceEvent::Command(r) if r.id.as_str() == "good"));
}

#[tokio::test]
async fn a_cancellation_reaches_a_running_command_and_no_other() {
    let hub = Hub::start().await;
    let (_device, mut events) = DeviceClient::spawn(device_config(&hub)).unwrap();
    let (mut peer, _) = hub.accept_device(0).await;
    assert!(matches!(next(&mut events).await, DeviceEvent::Connected(_)));
    let cancel = |id| {
        HubToDevice::Cancel(Cancel {
            id: CommandId::new(id).unwrap(),
            sent_at: Some(Timestamp::from_seconds(1_001)),
        })
    };
    peer.tell(cancel("never-seen")).await;
    assert_eq!(answered(&mut peer).await, ("never-seen".into(), DeviceCommandState::Cancelled));
    peer.tell(command("c1", 1, 2_000)).await;
    peer.tell(cancel("c1")).await;
    assert!(matches!(next(&mut events).await, DeviceEvent::Command(_)));
    assert!(matches!(next(&mut events).await, DeviceEvent::Cancel(id) if id.as_str() == "c1"));
}

#[tokio::test]
async fn an_application_that_takes_no_events_loses_no_command() {
    let hub = Hub::start().await;
    let (_device, mut events) = DeviceClient::spawn(device_config(&hub)).unwrap();
    let (mut peer, _) = hub.accept_device(0).await;
    for i in 0..1_000 {
        peer.tell(command(&format!("c{i}"), 1, 2_000)).await;
    }
    assert!(matches!(next(&mut events).await, DeviceEvent::Connected(_)));
    for i in 0..1_000 {
        let DeviceEvent::Command(request) = next(&mut events).await else { panic!("a command") };
        assert_eq!(request.id.as_str(), format!("c{i}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_refused_for_now_is_sent_again_after_the_hubs_time() {
    let hub = Hub::start().await;
    let (device, mut events) = DeviceClient::spawn(device_config(&hub)).unwrap();
    let (mut peer, _) = hub.accept_device(0).await;
    assert!(matches!(next(&mut events).await, DeviceEvent::Connected(_)));
    device.push(point(1)).await.unwrap();
    device.push(point(2)).await.unwrap();
    peer.batches(1, 2).await;
    let refuse = |seq, code, retry_after_ms| {
        HubToDevice::Refuse(Refuse { seq: Seq(seq), code, message: "no".into(), retry_after_ms })
    };
    peer.tell(refuse(1, RefuseCode::StorageFull, Some(2_500))).await;
    let refused_at = tokio::time::Instant::now();
    assert!(matches!(next(&mut events).await, DeviceEvent::Refused(_)));
    peer.batches(1, 2).await;
    let waited = refused_at.elapsed();
    assert!((2_500..2_600).contains(&waited.as_millis()), "{waited:?}");

    peer.tell(refuse(1, RefuseCode::WrongKind, None)).await;
    peer.ack(2).await;
    let status = device.wait_for(|s| s.waiting_batches == 0).await.unwrap();
    assert_eq!((status.counts.acked, status.counts.refused, status.counts.lost), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_gives_up_the_oldest_or_lets_push_wait() {
    let hub = Hub::start().await;
    let mut config = device_config(&hub);
    config.outbox_bytes = 500;
    let (device, _events) = DeviceClient::spawn(config.clone()).unwrap();
    for at in 0..100 {
        device.push(point(at)).await.unwrap();
    }
    let status = device.wait_for(|s| s.counts.pushed == 100).await.unwrap();
    assert!(status.counts.lost > 80 && status.outbox_bytes <= 500, "{status:?}");
    drop(device);

    config.when_full = WhenFull::Wait;
    let (device, _events) = DeviceClient::spawn(config).unwrap();
    let pushing = async {
        for at in 0..1_000 {
            device.push(point(at)).await.unwrap();
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_mins(1), pushing).await.is_err(),
        "it should wait for the hub"
    );
    assert_eq!(device.status().counts.lost, 0);
}

#[tokio::test]
async fn a_device_that_has_forgotten_its_place_goes_on_in_a_new_epoch_with_everything_it_holds() {
    let hub = Hub::start().await;
    let (device, mut events) = DeviceClient::spawn(device_config(&hub)).unwrap();
    for at in 0..3 {
        device.push(point(at)).await.unwrap();
    }
    let (_peer, hello) = hub.accept_device(77).await;
    assert_eq!(hello.epoch.as_str(), "e1");
    let (mut peer, hello) = hub.accept_device(0).await;
    assert_ne!(hello.epoch.as_str(), "e1");
    peer.batches(1, 3).await;
    peer.ack(3).await;
    assert!(matches!(next(&mut events).await, DeviceEvent::Disconnected { .. }));
    let status = device.wait_for(|s| s.counts.acked == 3).await.unwrap();
    assert_eq!((status.counts.pushed, status.waiting_readings, status.counts.lost), (3, 0, 0));
}
