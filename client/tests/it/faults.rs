//! Faults on purpose.

use std::time::Duration;

use client::device::{DeviceClient, DeviceConfig, DeviceEvent, Fault};
use protocol::command::DeviceCommandState;
use protocol::device::{CommandUpdate, DeviceMessage, HubToDevice};
use protocol::{CommandId, Epoch};
use serde_json::json;

use crate::hub::{Hub, Peer, device_config, point};

#[tokio::test]
async fn a_reboot_starts_a_new_epoch_at_1_and_counts_what_it_forgot() {
    let hub = Hub::start().await;
    let (device, _events) = DeviceClient::spawn(device_config(&hub)).unwrap();
    let (mut peer, _) = hub.accept_device(0).await;
    device.push(point(1)).await.unwrap();
    device.push(point(2)).await.unwrap();
    peer.batches(1, 2).await;
    peer.ack(1).await;
    device.wait_for(|s| s.counts.acked == 1).await.unwrap();
    device.inject(Fault::Reboot(Epoch::new("e2").unwrap())).await.unwrap();
    let (mut peer, hello) = hub.accept_device(0).await;
    assert_eq!(hello.epoch.as_str(), "e2");
    device.push(point(3)).await.unwrap();
    peer.batches(1, 1).await;
    peer.ack(1).await;
    let status = device.wait_for(|s| s.counts.acked == 2).await.unwrap();
    assert_eq!((status.counts.pushed, status.lost_in_reboots, status.waiting_readings), (3, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends_in_a_burst_of_everything_held_back() {
    let hub = Hub::start().await;
    let (device, mut events) = DeviceClient::spawn(device_config(&hub)).unwrap();
    let (mut peer, _) = hub.accept_device(0).await;
    device.wait_for(|s| s.connected).await.unwrap();
    device.inject(Fault::Offline(Duration::from_mins(2))).await.unwrap();
    assert_eq!(peer.read().await, Err(None), "gone without a close frame");
    assert!(matches!(events.recv().await, Some(DeviceEvent::Connected(_))));
    assert!(matches!(events.recv().await, Some(DeviceEvent::Disconnected { .. })));
    let since = tokio::time::Instant::now();
    for at in 0..50 {
        device.push(point(at)).await.unwrap();
    }
    let (mut peer, _) = hub.accept_device(0).await;
    assert_eq!(since.elapsed().as_secs(), 120);
    peer.batches(1, 50).await;
    peer.ack(50).await;
    device.wait_for(|s| s.waiting_batches == 0).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_device_keeps_its_connection_and_goes_on_later() {
    let hub = Hub::start().await;
    let (device, _events) = DeviceClient::spawn(device_config(&hub)).unwrap();
    let (mut peer, _) = hub.accept_device(0).await;
    device.wait_for(|s| s.connected).await.unwrap();
    device.inject(Fault::Silence(Duration::from_secs(100))).await.unwrap();
    device.push(point(1)).await.unwrap();
    let since = tokio::time::Instant::now();
    peer.batches(1, 1).await;
    assert_eq!(since.elapsed().as_secs(), 100);
}

#[tokio::test]
async fn a_duplicate_is_written_twice_and_counted_once() {
    let hub = Hub::start().await;
    let (device, _events) = DeviceClient::spawn(device_config(&hub)).unwrap();
    let (mut peer, _) = hub.accept_device(0).await;
    device.wait_for(|s| s.connected).await.unwrap();
    device.inject(Fault::Duplicate(1)).await.unwrap();
    device.push(point(1)).await.unwrap();
    device.push(point(2)).await.unwrap();
    let mut seqs = Vec::new();
    while seqs.len() < 3 {
        let DeviceMessage::Readings(readings) = peer.device_message().await else { panic!() };
        seqs.push(readings.seq.0);
    }
    assert_eq!(seqs, [1, 1, 2]);
    peer.ack(2).await;
    let status = device.wait_for(|s| s.waiting_batches == 0).await.unwrap();
    assert_eq!((status.duplicates, status.counts.acked), (1, 2));
}

fn command(attempt: u32) -> HubToDevice {
    let command = json!({"type": "command", "id": "c1", "name": "work", "args": {}, "attempt": attempt,
                         "expires_at": 2_000_000_000_u64, "sent_at": 999_000_000});
    HubToDevice::decode(&command.to_string()).unwrap()
}

async fn update(peer: &mut Peer) -> CommandUpdate {
    let DeviceMessage::CommandUpdate(update) = peer.device_message().await else { panic!("an answer") };
    update
}

#[tokio::test]
async fn an_answer_is_said_again_when_asked_for() {
    let hub = Hub::start().await;
    let (device, _events) = DeviceClient::spawn(device_config(&hub)).unwrap();
    let (mut peer, _) = hub.accept_device(0).await;
    peer.tell(command(1)).await;
    let id: CommandId = "c1".parse().unwrap();
    assert_eq!(update(&mut peer).await.state, DeviceCommandState::Received);
    device.command_update(CommandUpdate::new(id.clone(), DeviceCommandState::Succeeded)).await.unwrap();
    assert_eq!(update(&mut peer).await.state, DeviceCommandState::Succeeded);
    device.inject(Fault::Repeat(id)).await.unwrap();
    assert_eq!(update(&mut peer).await.state, DeviceCommandState::Succeeded);
}

#[tokio::test]
async fn a_device_without_power_forgets_its_commands_unless_it_keeps_them_and_begins_none_again() {
    let folder = tempfile::tempdir().unwrap();
    for (memory, code) in [(None, "forgotten"), (Some(folder.path().join("memory")), "interrupted")] {
        let hub = Hub::start().await;
        let config = DeviceConfig { memory, ..device_config(&hub) };
        let (device, mut events) = DeviceClient::spawn(config).unwrap();
        let (mut peer, _) = hub.accept_device(0).await;
        peer.tell(command(1)).await;
        assert_eq!(update(&mut peer).await.state, DeviceCommandState::Received);
        device.inject(Fault::PowerCut(Epoch::new("e2").unwrap())).await.unwrap();
        let (mut peer, hello) = hub.accept_device(0).await;
        assert_eq!(hello.epoch.as_str(), "e2");
        peer.tell(command(2)).await;
        let said = update(&mut peer).await;
        assert_eq!(said.state, DeviceCommandState::Unresolved, "{said:?}");
        assert_eq!(said.code.unwrap().as_str(), code);
        drop(device);
        let mut begun = 0;
        while let Some(event) = events.recv().await {
            begun += usize::from(matches!(event, DeviceEvent::Command(_)));
        }
        assert_eq!(begun, 1, "with {code}");
    }
}
