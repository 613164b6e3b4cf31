//! A viewer: the real client, which remembers everything it is told, and does not read for a while if it is told so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::Endpoint;
use client::viewer::{ViewerClient, ViewerConfig, ViewerEvent, ViewerHandle};
use protocol::viewer::{HubToViewer, SendCommand, ViewerMessage};
use protocol::{MetricName, Position, SeriesId, Value};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::device::backoff;
use crate::network::Network;

#[derive(Default)]
pub(crate) struct Told {
    /// The readings of each series that were told, by their number, and how often: also as part of a snapshot if 0.
    pub(crate) readings: BTreeMap<SeriesId, BTreeMap<u64, u32>>,
    /// Readings that were told of since [`Told::from`], and those that were left out.
    pub(crate) new: u64,
    pub(crate) omitted: u64,
    /// Where the subscription began, without going on after an earlier one.
    pub(crate) from: Option<Position>,
    /// How far it has come.
    pub(crate) position: Position,
    /// What was told in parts since then: should the connection break before the last part, it comes again.
    parts: Vec<(SeriesId, u64)>,
    parts_omitted: u64,
    pub(crate) resumed: u32,
    pub(crate) problems: Vec<String>,
    /// What became of its subscription, for a failure.
    pub(crate) log: Vec<String>,
}

impl Told {
    fn forget_parts(&mut self) {
        for (series, number) in std::mem::take(&mut self.parts) {
            self.new -= 1;
            if let Some(known) = self.readings.get_mut(&series).and_then(|all| all.get_mut(&number)) {
                *known -= 1;
            }
        }
        self.omitted -= std::mem::take(&mut self.parts_omitted);
    }
}

pub(crate) struct Viewer {
    pub(crate) handle: ViewerHandle,
    pub(crate) told: Arc<Mutex<Told>>,
    /// It reads nothing until then.
    stuck_until: Arc<Mutex<Instant>>,
    requests: u64,
}

impl Viewer {
    pub(crate) fn start(seed: u64, host: usize, network: &Network, token: &str) -> Self {
        let mut endpoint = Endpoint::new("ws://hub:1", token).unwrap();
        endpoint.dialer = Some(network.dialer(host));
        let config = ViewerConfig {
            backoff: backoff(seed + host as u64),
            connect_deadline: Duration::from_secs(3),
            ..ViewerConfig::new(endpoint)
        };
        // Small, so that not reading is felt soon.
        let (sender, events) = mpsc::channel(2);
        let handle = ViewerClient::spawn(config, sender);
        let told = Arc::new(Mutex::new(Told::default()));
        let stuck_until = Arc::new(Mutex::new(Instant::now()));
        let subscribe = json!({"type": "subscribe", "id": 1, "max_hz": 20});
        handle.try_send(ViewerMessage::decode(&subscribe.to_string()).unwrap()).unwrap();
        tokio::spawn(listen(events, Arc::clone(&told), Arc::clone(&stuck_until)));
        Self { handle, told, stuck_until, requests: 0 }
    }

    pub(crate) fn stuck(&self, time: Duration) {
        *self.stuck_until.lock().unwrap() = Instant::now() + time;
    }

    /// Sends a command; without a connection nothing comes of it.
    pub(crate) fn send(&mut self, device: &str) {
        self.requests += 1;
        let command = SendCommand {
            id: 1_000 + self.requests,
            device: device.parse().unwrap(),
            name: MetricName::new("work").unwrap(),
            args: serde_json::Map::default(),
            expires_in_ms: None,
            delivery: None,
            force: true,
        };
        // Full: it is stuck.
        drop(self.handle.try_send(ViewerMessage::SendCommand(command)));
    }
}

async fn listen(
    mut events: mpsc::Receiver<ViewerEvent>,
    told: Arc<Mutex<Told>>,
    stuck_until: Arc<Mutex<Instant>>,
) {
    loop {
        let until = *stuck_until.lock().unwrap();
        tokio::time::sleep_until(until).await;
        let Some(event) = events.recv().await else { return };
        let mut told = told.lock().unwrap();
        match event {
            ViewerEvent::Message(HubToViewer::Subscribed(subscribed)) => {
                let said = format!(
                    "{subscribed:?} after {} told and {} left out, at {:?}",
                    told.new, told.omitted, told.position
                );
                told.log.push(said);
                if subscribed.resumed {
                    told.resumed += 1;
                    told.forget_parts();
                } else {
                    told.from = Some(subscribed.position);
                    told.parts.clear();
                    told.parts_omitted = 0;
                    told.new = 0;
                    told.omitted = 0;
                }
                told.position = told.position.max(subscribed.position);
            }
            ViewerEvent::Message(HubToViewer::Readings(readings)) => {
                let goes_on = !readings.snapshot && readings.position <= told.position;
                for series in &readings.series {
                    for (at, value) in &series.points {
                        let number = if let Value::Number(number) = value { *number as u64 } else { 0 };
                        if crate::device::time(number) != *at {
                            told.problems.push(format!("{value:?} at {}", at.0));
                        }
                        let known =
                            told.readings.entry(series.series).or_default().entry(number).or_default();
                        *known += u32::from(!readings.snapshot);
                        if *known > 1 {
                            told.problems.push(format!("{number} of {:?} was told twice", series.series));
                        }
                        told.new += u64::from(!readings.snapshot);
                        if goes_on {
                            told.parts.push((series.series, number));
                        }
                    }
                }
                let omitted = readings.omitted.map_or(0, |omitted| omitted.count);
                told.omitted += omitted;
                if goes_on {
                    told.parts_omitted += omitted;
                } else {
                    told.parts.clear();
                    told.parts_omitted = 0;
                }
                if !readings.snapshot {
                    told.position = told.position.max(readings.position);
                }
            }
            ViewerEvent::BadMessage(problem) => told.problems.push(problem),
            _ => {}
        }
    }
}
