//! The hub's memory of devices: what each declared, which series it has, and whether it is connected.
//!
//! Holds no readings. Everything durable in it comes from the store; presence is only here, but for `last_seen`.
//! Sees to it that a device has one session: the newer wins (I-13).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::device::{Cancel, CommandRequest, Hello};
use protocol::select::Select;
use protocol::viewer::{DeviceInfo, LATE_OR_LOST_MAX, LateOrLost, MetricInfo};
use protocol::{CloseCode, DeviceId, SeriesId, Timestamp};
use store::{DeviceKey, DeviceRecord, Registered};
use tokio::sync::broadcast;

use crate::mailbox;

/// What the rest of the hub can tell a device's session.
#[derive(Debug)]
pub enum ToSession {
    /// Hand this command to the device.
    Command(Box<CommandRequest>),
    /// Ask the device to stop this command.
    Cancel(Cancel),
    /// Close with this code.
    Close(CloseCode),
}

/// Names one session among all since the hub started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub u64);

/// The way into a device's session. From anyone in the hub to the one session task; when full, the session is stuck
/// on a peer that does not read, and the sender treats the device as not connected.
pub type SessionSender = mailbox::Sender<ToSession>;

/// Messages waiting for one session. Chosen: as many commands as a device may have open, and a few more.
pub const SESSION_QUEUE: usize = protocol::limits::COMMANDS_OPEN_PER_DEVICE_MAX + 16;

/// When a session heard its device last: noted by it with each message, and read by whoever asks meanwhile.
#[derive(Debug, Clone)]
pub struct LastHeard(Arc<AtomicI64>);

impl LastHeard {
    /// Begins with a device that was just heard.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(now.0)))
    }

    /// Something was heard.
    pub fn note(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::Relaxed);
    }

    fn get(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

struct Entry {
    key: DeviceKey,
    info: Arc<DeviceInfo>,
    session: Option<Present>,
}

/// The session of a connected device.
#[derive(Debug)]
pub struct Present {
    /// Which one.
    pub id: SessionId,
    /// The way into it.
    pub sender: SessionSender,
    /// When it heard its device last.
    pub heard: LastHeard,
}

#[derive(Default)]
struct State {
    devices: BTreeMap<DeviceId, Entry>,
    series: HashMap<SeriesId, (DeviceId, protocol::MetricName)>,
}

/// The directory. Cheap to share; its lock is held for moments and never across an await.
pub struct Directory {
    state: Mutex<State>,
    /// Tells viewers of each device that changed. A viewer that falls behind gets the whole snapshot again.
    changes: broadcast::Sender<Arc<DeviceInfo>>,
}

impl Directory {
    /// Makes the directory of what the database knows. A viewer may lag `behind` changes behind before it gets a new snapshot.
    pub fn new(records: Vec<DeviceRecord>, behind: usize) -> Self {
        let mut state = State::default();
        for record in records {
            let id = record.info.id.clone();
            for metric in &record.info.metrics {
                state.series.insert(metric.series, (id.clone(), metric.declaration.name.clone()));
            }
            let entry = Entry { key: record.key, info: Arc::new(record.info), session: None };
            state.devices.insert(id, entry);
        }
        Self { state: Mutex::new(state), changes: broadcast::channel(behind).0 }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The changes from now on.
    pub fn changes(&self) -> broadcast::Receiver<Arc<DeviceInfo>> {
        self.changes.subscribe()
    }

    /// All devices, by id.
    pub fn snapshot(&self) -> Vec<Arc<DeviceInfo>> {
        self.lock().devices.values().map(|entry| Arc::clone(&entry.info)).collect()
    }

    /// All devices, by id, and when those that are connected were heard last.
    pub fn heard(&self) -> Vec<(Arc<DeviceInfo>, Option<Timestamp>)> {
        let heard = |entry: &Entry| entry.session.as_ref().map(|present| present.heard.get());
        self.lock().devices.values().map(|entry| (Arc::clone(&entry.info), heard(entry))).collect()
    }

    /// One device.
    pub fn device(&self, id: &DeviceId) -> Option<Arc<DeviceInfo>> {
        self.lock().devices.get(id).map(|entry| Arc::clone(&entry.info))
    }

    /// Whether a device is known or may become so; else what is too much.
    pub fn has_room(&self, id: &DeviceId, most: usize) -> Result<(), String> {
        let state = self.lock();
        let known = state.devices.len();
        if known < most || state.devices.contains_key(id) {
            Ok(())
        } else {
            Err(format!("{known} devices are known"))
        }
    }

    /// How many metrics a device will ever have declared with these; `None` if none of them is new.
    pub fn metrics_with(&self, hello: &Hello) -> Option<usize> {
        let Some(info) = self.device(&hello.device) else { return Some(hello.metrics.len()) };
        let known: HashSet<&str> =
            info.metrics.iter().map(|metric| metric.declaration.name.as_str()).collect();
        let new = hello.metrics.iter().filter(|metric| !known.contains(metric.name.as_str())).count();
        (new > 0).then_some(known.len() + new)
    }

    /// Whether the series exists.
    pub fn has_series(&self, series: SeriesId) -> bool {
        self.lock().series.contains_key(&series)
    }

    /// The series that a selection chooses now.
    pub fn select(&self, select: &Select) -> Vec<SeriesId> {
        let state = self.lock();
        let mut chosen: Vec<SeriesId> = state
            .series
            .iter()
            .filter(|(series, (device, metric))| select.matches(**series, device.as_str(), metric.as_str()))
            .map(|(series, _)| *series)
            .collect();
        chosen.sort_unstable();
        chosen
    }

    /// How many devices there are, and how many are connected.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.devices.len(), state.devices.values().filter(|entry| entry.session.is_some()).count())
    }

    /// The way to a connected device.
    pub fn session(&self, id: &DeviceId) -> Option<SessionSender> {
        self.lock()
            .devices
            .get(id)
            .and_then(|entry| entry.session.as_ref())
            .map(|present| present.sender.clone())
    }

    /// A device was made known without having connected.
    pub fn created(&self, key: DeviceKey, id: &DeviceId) {
        let info = {
            let mut state = self.lock();
            if state.devices.contains_key(id) {
                return;
            }
            let info = Arc::new(DeviceInfo {
                id: id.clone(),
                model: None,
                firmware: None,
                tags: Vec::new(),
                connected: false,
                since: None,
                last_seen: None,
                metrics: Vec::new(),
                commands: Vec::new(),
                late_or_lost: Vec::new(),
            });
            state.devices.insert(id.clone(), Entry { key, info: Arc::clone(&info), session: None });
            info
        };
        self.tell(info);
    }

    /// A device has said hello and is registered. Returns the session it had until now, which must close.
    pub fn connected(
        &self,
        hello: &Hello,
        registered: &Registered,
        session: Present,
        now: Timestamp,
    ) -> Option<SessionSender> {
        let (older, info) = {
            let mut state = self.lock();
            let mut metrics: Vec<MetricInfo> = hello
                .metrics
                .iter()
                .zip(&registered.series)
                .map(|(declaration, series)| MetricInfo { series: *series, declaration: declaration.clone() })
                .collect();
            for metric in &metrics {
                state.series.insert(metric.series, (hello.device.clone(), metric.declaration.name.clone()));
            }
            let entry = state.devices.remove(&hello.device);
            // What it declared before and does not any more still has a history.
            if let Some(before) = &entry {
                let gone = before.info.metrics.iter().filter(|m| !registered.series.contains(&m.series));
                metrics.extend(gone.cloned().collect::<Vec<_>>());
            }
            let info = Arc::new(DeviceInfo {
                id: hello.device.clone(),
                model: hello.model.clone(),
                firmware: hello.firmware.clone(),
                tags: hello.tags.clone(),
                connected: true,
                since: Some(now),
                last_seen: Some(now),
                metrics,
                commands: hello.commands.clone(),
                late_or_lost: entry.as_ref().map(|e| e.info.late_or_lost.clone()).unwrap_or_default(),
            });
            let older = entry.and_then(|entry| entry.session).map(|present| present.sender);
            let entry = Entry { key: registered.device, info: Arc::clone(&info), session: Some(session) };
            state.devices.insert(hello.device.clone(), entry);
            (older, info)
        };
        self.tell(info);
        older
    }

    /// A session has ended. Returns whether it was the device's present one, with the device's key.
    pub fn disconnected(
        &self,
        id: &DeviceId,
        session: SessionId,
        last_seen: Timestamp,
        now: Timestamp,
    ) -> Option<DeviceKey> {
        let (key, info) = {
            let mut state = self.lock();
            let entry = state.devices.get_mut(id)?;
            if entry.session.as_ref().is_none_or(|present| present.id != session) {
                return None;
            }
            entry.session = None;
            let mut info = DeviceInfo::clone(&entry.info);
            info.connected = false;
            info.since = Some(now);
            info.last_seen = Some(last_seen);
            entry.info = Arc::new(info);
            (entry.key, Arc::clone(&entry.info))
        };
        self.tell(info);
        Some(key)
    }

    /// Some readings of a device came late or are lost. What is told again with a later end replaces what was told.
    pub fn late_or_lost(&self, id: &DeviceId, news: Vec<LateOrLost>) {
        if news.is_empty() {
            return;
        }
        let info = {
            let mut state = self.lock();
            let Some(entry) = state.devices.get_mut(id) else { return };
            let mut info = DeviceInfo::clone(&entry.info);
            let known = &mut info.late_or_lost;
            for new in news {
                known.retain(|old| (old.what, old.from) != (new.what, new.from));
                known.push(new);
            }
            let surplus = known.len().saturating_sub(LATE_OR_LOST_MAX);
            known.drain(..surplus);
            if let Some(present) = &entry.session {
                info.last_seen = Some(present.heard.get());
            }
            entry.info = Arc::new(info);
            Arc::clone(&entry.info)
        };
        self.tell(info);
    }

    fn tell(&self, info: Arc<DeviceInfo>) {
        // No viewer is connected: nobody to tell.
        drop(self.changes.send(info));
    }
}
