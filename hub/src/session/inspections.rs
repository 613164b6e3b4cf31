//! The inspections of one viewer: what went over the wire of devices, ten times a second at most.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::ErrorCode;
use protocol::device::ErrorMessage;
use protocol::limits;
use protocol::wire::{Inspect, Wire};
use tokio::time::Instant;

use crate::limits::Limit;
use crate::serve::Hub;
use crate::wire::Inspection;

/// How often is told what there is.
pub(super) const TELL_INTERVAL: Duration = Duration::from_millis(100);
/// Figures are told so often, also if nothing goes over the wire.
const FIGURES_INTERVAL: Duration = Duration::from_secs(1);

/// What a viewer watches, by the ids that it chose.
#[derive(Default)]
pub(super) struct Inspections {
    open: BTreeMap<u64, (Inspection, Instant)>,
}

impl Inspections {
    /// Begins one. Returns its first message.
    pub(super) fn begin(&mut self, hub: &Hub, request: Inspect) -> Result<Wire, ErrorMessage> {
        let Inspect { id, device, payload_bytes } = request;
        let refuse = |code, message| Err(ErrorMessage { id: Some(id), code, message });
        let payload = payload_bytes.unwrap_or(limits::INSPECT_PAYLOAD_DEFAULT_BYTES);
        let limited = |limit, code, found| {
            hub.metrics.reached(limit);
            refuse(code, hub.config.limits.refusal(limit, found).to_string())
        };
        if u64::from(payload) > hub.config.limits.get(Limit::InspectPayloadBytes) {
            let found = format!("payload_bytes: {payload}");
            return limited(Limit::InspectPayloadBytes, ErrorCode::BadField, found);
        }
        if hub.directory.device(&device).is_none() {
            return refuse(ErrorCode::NotFound, format!("no device {device}"));
        }
        self.open.remove(&id);
        let open = self.open.len();
        if open >= hub.config.limits.count(Limit::Inspections) {
            let found = format!("{open} inspections are open");
            return limited(Limit::Inspections, ErrorCode::LimitReached, found);
        }
        let inspection = hub.wires.inspect(device, payload as usize);
        let (inspection, _) = &mut *self.open.entry(id).or_insert((inspection, Instant::now()));
        Ok(next(id, inspection))
    }

    /// Ends one.
    pub(super) fn end(&mut self, id: u64) {
        self.open.remove(&id);
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// What is to be told now: one message of each that has something.
    pub(super) fn due(&mut self) -> Vec<Wire> {
        let now = Instant::now();
        let mut due = Vec::new();
        for (id, (inspection, told_at)) in &mut self.open {
            let wire = next(*id, inspection);
            if !wire.records.is_empty() || wire.left_out > 0 || told_at.elapsed() >= FIGURES_INTERVAL {
                *told_at = now;
                due.push(wire);
            }
        }
        due
    }
}

fn next(id: u64, inspection: &mut Inspection) -> Wire {
    let (records, left_out) = inspection.take();
    Wire { id, device: inspection.device().clone(), figures: inspection.figures(), records, left_out }
}
