//! Faults on purpose.

use std::time::Duration;

use client::device::{DeviceClient, DeviceEvent, Fault};
use protocol::Epoch;
use protocol::device::DeviceMessage;

use crate::hub::{Hub, device_config, point};

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
