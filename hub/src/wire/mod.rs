//! Connections made visible: every socket counts what goes over it, and one that is inspected is recorded, frame by frame.
//!
//! [`tap`] sits between TLS and the WebSocket library and sees every byte of both directions; [`heads`] keeps the handshake;
//! [`recording`] is the bounded memory of one inspected device; here it is known who is connected and who is inspected.
//! Nobody is inspected most of the time, and then a read or a write costs its counting and one look at a flag.

pub mod heads;
pub mod recording;
pub mod tap;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::DeviceId;
use protocol::wire::{Figures, Record};

use recording::{Bounds, Cursor, Recording};
pub use tap::{Tap, Tapped};

/// Who is connected, and who is inspected. Its lock is held for moments and never across an await.
#[derive(Debug)]
pub struct Wires {
    /// What is recorded of a device at most.
    bounds: Bounds,
    devices: Mutex<HashMap<DeviceId, Entry>>,
    /// Inspections that are open, of all devices.
    open: AtomicUsize,
    /// The most that one of them has wanted of each payload.
    payload_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Entry {
    present: Option<Arc<Tap>>,
    recording: Option<Arc<Recording>>,
    inspections: usize,
}

impl Entry {
    const fn is_idle(&self) -> bool {
        self.present.is_none() && self.inspections == 0
    }
}

impl Wires {
    /// Nobody is connected yet.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            devices: Mutex::default(),
            open: AtomicUsize::default(),
            payload_bytes: AtomicUsize::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, Entry>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a new connection is recorded in until it is known whose it is: somewhere, if any device is inspected.
    pub fn for_a_stranger(&self) -> Option<Arc<Recording>> {
        (self.open.load(Ordering::Relaxed) > 0).then(|| {
            let recording = Recording::new(self.bounds.clone());
            recording.wants_payloads_of(self.payload_bytes.load(Ordering::Relaxed));
            Arc::new(recording)
        })
    }

    /// The connection is this device's, until the guard is dropped.
    pub fn connected(self: &Arc<Self>, device: &DeviceId, tap: &Arc<Tap>) -> Connected {
        let mut devices = self.lock();
        let entry = devices.entry(device.clone()).or_default();
        entry.present = Some(Arc::clone(tap));
        match &entry.recording {
            Some(recording) => tap.is_recorded_in(recording),
            None => tap.is_not_recorded(),
        }
        Connected { wires: Arc::clone(self), device: device.clone(), tap: Arc::clone(tap) }
    }

    /// Begins to record a device, over all its connections, until the inspection is dropped.
    pub fn inspect(self: &Arc<Self>, device: DeviceId, payload_bytes: usize) -> Inspection {
        let mut devices = self.lock();
        let entry = devices.entry(device.clone()).or_default();
        entry.inspections += 1;
        self.open.fetch_add(1, Ordering::Relaxed);
        let recording =
            Arc::clone(entry.recording.get_or_insert_with(|| Arc::new(Recording::new(self.bounds.clone()))));
        recording.wants_payloads_of(payload_bytes);
        self.payload_bytes.fetch_max(payload_bytes, Ordering::Relaxed);
        let cursor = recording.now();
        let first = entry.present.as_ref().and_then(|tap| tap.opened());
        if let Some(tap) = &entry.present {
            tap.begin(&recording);
        }
        drop(devices);
        Inspection { wires: Arc::clone(self), device, recording, cursor, first }
    }

    /// The device's present connection in numbers.
    pub fn figures(&self, device: &DeviceId) -> Option<Figures> {
        self.lock().get(device).and_then(|entry| entry.present.as_ref()).map(|tap| tap.figures())
    }
}

/// A connection of a device that is there.
#[derive(Debug)]
pub struct Connected {
    wires: Arc<Wires>,
    device: DeviceId,
    tap: Arc<Tap>,
}

impl Connected {
    /// Its figures, and its switch.
    pub fn tap(&self) -> &Tap {
        &self.tap
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut devices = self.wires.lock();
        if let Some(entry) = devices.get_mut(&self.device) {
            if entry.present.as_ref().is_some_and(|present| Arc::ptr_eq(present, &self.tap)) {
                entry.present = None;
            }
            if entry.is_idle() {
                devices.remove(&self.device);
            }
        }
    }
}

/// Somebody watches a device.
#[derive(Debug)]
pub struct Inspection {
    wires: Arc<Wires>,
    device: DeviceId,
    recording: Arc<Recording>,
    cursor: Cursor,
    /// How the connection that was there was made.
    first: Option<Record>,
}

impl Inspection {
    /// The device.
    pub const fn device(&self) -> &DeviceId {
        &self.device
    }

    /// What has happened since the last time, as much as fits into a message, and how many frames were left out.
    pub fn take(&mut self) -> (Vec<Record>, u64) {
        let mut records: Vec<Record> = self.first.take().into_iter().collect();
        let left_out = self.recording.take(&mut self.cursor, &mut records);
        (records, left_out)
    }

    /// The present connection in numbers.
    pub fn figures(&self) -> Option<Figures> {
        self.wires.figures(&self.device)
    }
}

impl Drop for Inspection {
    fn drop(&mut self) {
        let mut devices = self.wires.lock();
        self.wires.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(entry) = devices.get_mut(&self.device) {
            entry.inspections -= 1;
            if entry.inspections == 0 {
                entry.recording = None;
                if let Some(tap) = &entry.present {
                    tap.is_not_recorded();
                }
            }
            if entry.is_idle() {
                devices.remove(&self.device);
            }
        }
    }
}
