//! Kill -9 at full load: what was acknowledged or shown is on disk, and nothing is there twice (I-1, I-2, I-3).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::device::{DeviceClient, DeviceConfig, DeviceHandle, Fault, WhenFull};
use protocol::device::Point;
use protocol::{DeviceId, Timestamp, Value};
use serde_json::json;
use store::Reader;
use tokio::task::JoinHandle;

use crate::harness::{Role, TestHub, until, within};
use crate::wire::{Heard, START, hello};

const DEVICES: usize = 4;
const KILLS: u64 = 10;

pub(crate) struct Load {
    pub(crate) device: DeviceId,
    pub(crate) handle: DeviceHandle,
    pub(crate) pushing: JoinHandle<u64>,
}

/// A device that counts as fast as the hub lets it.
pub(crate) fn load(hub: &TestHub, name: &str, stop: &Arc<AtomicBool>) -> Load {
    let hello = serde_json::from_value(hello(name)).unwrap();
    let config =
        DeviceConfig { when_full: WhenFull::Wait, outbox_bytes: 64 * 1024, ..hub.device_config(hello) };
    let device = config.hello.device.clone();
    let count = config.hello.metrics[0].name.clone();
    let (handle, mut events) = DeviceClient::spawn(config).unwrap();
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let pushes = handle.clone();
    let stop = Arc::clone(stop);
    let pushing = tokio::spawn(async move {
        let mut pushed = 0;
        while !stop.load(Ordering::Relaxed) {
            let points = (pushed..pushed + 7).map(|n| Point {
                at: Timestamp(START + n as i64),
                values: vec![(count.clone(), Value::Number(n as f64))],
            });
            pushes.push(points.collect()).await.unwrap();
            pushed += 7;
        }
        pushed
    });
    Load { device, handle, pushing }
}

/// A viewer that looks on until the hub is gone. Returns the latest time of each series that it was shown.
async fn look_on(hub: &TestHub) -> JoinHandle<HashMap<i64, i64>> {
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    viewer.say(json!({"type": "subscribe", "id": 1, "max_hz": 60})).await;
    viewer.next_of("subscribed").await;
    tokio::spawn(async move {
        let mut shown = HashMap::new();
        while let Heard::Message(message) = viewer.hear().await {
            for series in message["series"].as_array().into_iter().flatten() {
                let latest =
                    series["points"].as_array().unwrap().iter().map(|point| point[0].as_i64().unwrap()).max();
                let before = shown.entry(series["series"].as_i64().unwrap()).or_default();
                *before = latest.unwrap().max(*before);
            }
        }
        shown
    })
}

fn stored(reader: &Reader, device: &DeviceId) -> u64 {
    reader.ledger(device).unwrap().iter().map(|stream| stream.readings).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i_1_i_2_i_3_killed_again_and_again_the_hub_keeps_all_it_acknowledged_or_showed_exactly_once() {
    let mut hub = TestHub::process(&[]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let loads: Vec<Load> = (0..DEVICES).map(|n| load(&hub, &format!("pump-{n}"), &stop)).collect();
    let acked = || loads.iter().map(|load| load.handle.status().counts.acked).sum::<u64>();
    let mut shown_in_all = 0;
    for kill in 0..KILLS {
        let viewer = look_on(&hub).await;
        for load in &loads {
            load.handle.inject(Fault::Duplicate(3)).await.unwrap();
        }
        // Now and then at once, else when some thousands more are acknowledged.
        let enough = acked() + (kill * 7_919) % 5_000 * u64::from(kill % 4 != 3);
        until("some more acks", async || acked() >= enough).await;
        hub.kill().await;
        let reader = hub.reader();
        for load in &loads {
            let acked = load.handle.status().counts.acked;
            let stored = stored(&reader, &load.device);
            assert!(stored >= acked, "kill {kill}: {}: {acked} acknowledged, {stored} stored", load.device);
        }
        let shown = within("the viewer to end", viewer).await.unwrap();
        let latest: HashMap<i64, i64> =
            reader.latest().unwrap().readings.iter().map(|row| (row.series.0, row.at.0)).collect();
        for (series, at) in &shown {
            assert!(latest[series] >= *at, "kill {kill}: series {series} was shown up to {at}: {latest:?}");
        }
        shown_in_all += shown.len();
        drop(reader);
        hub.launch().await;
    }
    assert!(shown_in_all > 0, "the viewers saw nothing");
    stop.store(true, Ordering::Relaxed);
    let mut total = 0;
    for load in loads {
        let pushed = within("the last push", load.pushing).await.unwrap();
        let status = within("the last acks", load.handle.close(Duration::from_secs(20))).await;
        assert_eq!((status.counts.pushed, status.counts.acked, status.waiting_readings), (pushed, pushed, 0));
        assert_eq!((status.counts.refused, status.counts.lost), (0, 0));
        let reader = hub.reader();
        assert_eq!(stored(&reader, &load.device), pushed);
        let series = reader.device(&load.device).unwrap().unwrap().info.metrics[0].series;
        let history = reader.raw(series, Timestamp(0), Timestamp::END_READING, usize::MAX).unwrap();
        assert_eq!(history.points.len() as u64, pushed);
        for (n, (at, value)) in history.points.iter().enumerate() {
            assert_eq!((at.0, value), (START + n as i64, &Value::Number(n as f64)));
        }
        total += pushed;
    }
    assert!(total > 10_000, "only {total} readings: that is no load");
    assert_eq!(hub.reader().stats().unwrap().readings, total, "nothing is stored twice");
    hub.stop().await;
}
