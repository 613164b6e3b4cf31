//! Devices and a viewer that mind their own business beside an attack: what they send is acknowledged, all of it, on the
//! connection that they have had from the start, and the viewer is told of each reading.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::Endpoint;
use client::device::{DeviceClient, DeviceConfig, DeviceEvent, DeviceHandle};
use futures_util::{SinkExt as _, StreamExt as _};
use protocol::device::Point;
use protocol::{MetricName, SUBPROTOCOL, Timestamp, VIEWER_PATH, Value};
use serde_json::{Value as Json, json};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;

use crate::process::Hub;
use crate::{PATIENCE, until};

/// Each device sends so often.
const EVERY: Duration = Duration::from_millis(100);

/// A batch of so many readings of the metric `count`, the next microseconds one by one.
pub(crate) fn points(at: &mut i64, count: i64) -> Vec<Point> {
    let name = MetricName::new("count").unwrap();
    let first = *at;
    *at += count;
    (first..*at)
        .map(|at| Point {
            at: Timestamp(at),
            values: vec![(name.clone(), Value::Number((at % 1_000) as f64))],
        })
        .collect()
}

/// A device's configuration for this hub.
pub(crate) fn device(url: &str, token: &str, name: &str) -> DeviceConfig {
    let epoch = client::device::draw_epoch().unwrap();
    let hello = json!({"device": name, "epoch": epoch, "metrics": [{"name": "count"}]});
    DeviceConfig::new(Endpoint::new(url, token).unwrap(), serde_json::from_value(hello).unwrap())
}

#[derive(Default)]
struct Seen {
    /// Ends of connections, each with its reason.
    ends: Mutex<Vec<String>>,
    /// Times to an ack, in milliseconds.
    acks: Mutex<Vec<f64>>,
    /// Readings that the viewer was told of, also as left out.
    told: AtomicU64,
}

pub(crate) struct Neighbours {
    devices: Vec<DeviceHandle>,
    tasks: Vec<JoinHandle<()>>,
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
}

/// How they fared.
#[derive(Debug)]
pub(crate) struct Fared {
    pub(crate) readings: u64,
    pub(crate) p99_ms: f64,
    pub(crate) worst_ms: f64,
}

impl Neighbours {
    /// So many devices, each with ten readings a batch and ten batches a second, and a viewer of all of them.
    pub(crate) async fn move_in(hub: &Hub, count: u32) -> Self {
        let (url, token) = (format!("ws://{}", hub.address), hub.fleet_token());
        let (seen, stop) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
        let (mut devices, mut tasks) = (Vec::new(), Vec::new());
        let viewer = viewer(hub, Arc::clone(&seen)).await;
        tasks.push(viewer);
        for n in 0..count {
            let (handle, mut events) =
                DeviceClient::spawn(device(&url, &token, &format!("neighbour-{n}"))).unwrap();
            handle.wait_for(|status| status.connected).await.unwrap();
            tasks.push(tokio::spawn({
                let seen = Arc::clone(&seen);
                async move {
                    while let Some(event) = events.recv().await {
                        match event {
                            DeviceEvent::Acked { latency, .. } => {
                                seen.acks.lock().unwrap().push(latency.as_secs_f64() * 1e3);
                            }
                            DeviceEvent::Disconnected { reason, .. } => {
                                seen.ends.lock().unwrap().push(format!("neighbour-{n}: {reason}"));
                            }
                            _ => {}
                        }
                    }
                }
            }));
            tasks.push(tokio::spawn({
                let (handle, stop) = (handle.clone(), Arc::clone(&stop));
                async move {
                    let mut at = 1_767_225_600_000_000;
                    let mut again = tokio::time::interval(EVERY);
                    while !stop.load(Ordering::Relaxed) {
                        again.tick().await;
                        if handle.push(points(&mut at, 10)).await.is_err() {
                            return;
                        }
                    }
                }
            }));
            devices.push(handle);
        }
        Self { devices, tasks, seen, stop }
    }

    /// Sees that nothing has happened to them since the last time, and how long their acks took. Fails if not.
    pub(crate) async fn fare(&self, beside: &str) -> Fared {
        let readings = self.devices.iter().map(|device| device.status().counts.acked).sum();
        let mut acks = std::mem::take(&mut *self.seen.acks.lock().unwrap());
        acks.sort_by(f64::total_cmp);
        let ends = self.seen.ends.lock().unwrap().clone();
        assert!(ends.is_empty(), "beside {beside}: {ends:?}");
        // What is pushed now is acknowledged as well: they are not stuck.
        for device in &self.devices {
            let now = device.status().counts.acked;
            let more = device.wait_for(|status| status.counts.acked > now);
            assert!(tokio::time::timeout(PATIENCE, more).await.is_ok(), "no ack beside {beside}");
        }
        let place = |share: f64| acks.get((acks.len() as f64 * share) as usize).or(acks.last());
        let of = |found: Option<&f64>| found.copied().unwrap_or_default();
        Fared { readings, p99_ms: of(place(0.99)), worst_ms: of(acks.last()) }
    }

    /// They stop; everything was acknowledged, nothing refused or lost, nobody was cut off, and the viewer was told all.
    pub(crate) async fn move_out(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let mut readings = 0;
        for device in &self.devices {
            let idle = device.wait_for(|status| status.waiting_batches == 0 && status.counts.pushed > 0);
            assert!(tokio::time::timeout(PATIENCE, idle).await.is_ok(), "not all was acknowledged");
        }
        // The last push of each may come after its look at `stop`.
        tokio::time::sleep(2 * EVERY).await;
        for device in &self.devices {
            let idle = device.wait_for(|status| status.waiting_batches == 0);
            let status = tokio::time::timeout(PATIENCE, idle).await.unwrap().unwrap();
            assert_eq!((status.counts.refused, status.counts.lost, status.connections), (0, 0, 1));
            assert_eq!(status.counts.acked, status.counts.pushed);
            readings += status.counts.acked;
        }
        until("the viewer to hear of every reading", PATIENCE, || {
            self.seen.told.load(Ordering::Relaxed) >= readings
        })
        .await;
        for task in &self.tasks {
            task.abort();
        }
        readings
    }
}

/// Follows all neighbours, and counts.
async fn viewer(hub: &Hub, seen: Arc<Seen>) -> JoinHandle<()> {
    let uri = format!("ws://{}{VIEWER_PATH}", hub.address).parse().unwrap();
    let request = ClientRequestBuilder::new(uri)
        .with_header("Authorization", format!("Bearer {}", hub.viewer_token()))
        .with_sub_protocol(SUBPROTOCOL);
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let subscribe =
        json!({"type": "subscribe", "id": 1, "select": {"devices": ["neighbour-*"]}, "max_hz": 10});
    socket.send(Message::text(subscribe.to_string())).await.unwrap();
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else { continue };
            let message: Json = serde_json::from_str(&text).unwrap();
            if message["type"] == "readings" && message["snapshot"] != true {
                let series = message["series"].as_array().unwrap();
                let told: usize = series.iter().map(|one| one["points"].as_array().unwrap().len()).sum();
                let omitted = message["omitted"]["count"].as_u64().unwrap_or_default();
                seen.told.fetch_add(told as u64 + omitted, Ordering::Relaxed);
            }
        }
        seen.ends.lock().unwrap().push("the viewer that reads was cut off".into());
    })
}
