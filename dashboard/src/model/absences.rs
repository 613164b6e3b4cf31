//! When devices were away before this window was told: asked of the hub for the devices that charts show.
//!
//! Asked once with each connection to the hub, a few at a time. What came between two connections of a device was an
//! absence; where the hub does not know how one ended, nothing is claimed, and a gap stays a plain gap.

use std::collections::HashSet;

use protocol::viewer::{ConnectionInfo, ConnectionsRequest};
use protocol::{DeviceId, SeriesId, Timestamp};

use super::{Effect, Model, Request};

/// Most devices that are asked for at once. Chosen: a first layout of charts is there with two waits.
const PENDING_MAX: usize = 4;
/// A shorter absence is not told, in microseconds. Chosen: a device that reconnects at once was not away.
const SHORTEST_MICROS: i64 = 1_000_000;

/// Of which devices the past is known, or asked for.
#[derive(Debug, Default)]
pub(super) struct Absences {
    asked: HashSet<DeviceId>,
    /// What was looked at last: nothing new is to be asked for while neither changes.
    settled: Option<(u64, Vec<SeriesId>)>,
}

/// The absences that a list of connections tells of, oldest first.
pub(super) fn absences(connections: &[ConnectionInfo]) -> Vec<(Timestamp, Timestamp)> {
    let mut ascending: Vec<&ConnectionInfo> = connections.iter().collect();
    ascending.sort_by_key(|connection| connection.opened_at);
    let mut absences = Vec::new();
    // Up to when it was surely there; a newer connection may take over from one that has not ended yet.
    let mut there_to: Option<Timestamp> = None;
    for connection in ascending {
        let opened = connection.opened_at;
        if let Some(from) = there_to.filter(|from| opened.micros_since(*from) >= SHORTEST_MICROS) {
            absences.push((from, opened));
        }
        let ended = match &connection.end {
            Some(end) => end.at,
            None => Some(Timestamp(i64::MAX)),
        };
        // Not known when it ended: it may have been there up to the next.
        there_to = match (ended, there_to) {
            (Some(ended), Some(before)) => Some(ended.max(before)),
            (Some(ended), None) => Some(ended),
            (None, _) => None,
        };
    }
    absences
}

impl Model {
    /// Asks for the past of devices that charts show and that it was not asked for yet.
    pub(super) fn absences_wanted(&mut self, shown: &[SeriesId]) -> Vec<Effect> {
        let revision = self.devices.revision();
        if self.absences.settled.as_ref().is_some_and(|(of, series)| *of == revision && series == shown) {
            return Vec::new();
        }
        let is_pending = |request: &&Request| matches!(request, Request::Absences(_));
        let mut free = PENDING_MAX.saturating_sub(self.requests.values().filter(is_pending).count());
        let mut effects = Vec::new();
        for series in shown {
            let Some(info) = self.devices.series(*series) else { continue };
            let device = info.device.info.id.clone();
            if self.absences.asked.contains(&device) {
                continue;
            }
            // The open page asks for the same, and its answer is taken in too.
            if self.page.as_ref().is_some_and(|page| page.device == device && page.is_asking_connections()) {
                self.absences.asked.insert(device);
                continue;
            }
            if free == 0 {
                return effects;
            }
            free -= 1;
            self.absences.asked.insert(device.clone());
            let id = self.request(Request::Absences(device.clone()));
            effects.push(Effect::Send(ConnectionsRequest { id, device }.into()));
        }
        self.absences.settled = Some((revision, shown.to_vec()));
        effects
    }

    /// A new connection to the hub: what happened without one is asked for too.
    pub(super) fn absences_begin(&mut self) {
        self.absences = Absences::default();
        self.requests.retain(|_, request| !matches!(request, Request::Absences(_)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(of: serde_json::Value) -> Vec<ConnectionInfo> {
        serde_json::from_value(of).unwrap()
    }

    fn connection(opened: i64, end: serde_json::Value) -> serde_json::Value {
        let mut connection =
            serde_json::json!({"session": "s", "address": "a", "opened_at": opened * 1_000_000});
        if !end.is_null() {
            connection["end"] = end;
        }
        connection
    }

    fn ended(at: i64) -> serde_json::Value {
        serde_json::json!({"at": at * 1_000_000, "by": "lost"})
    }

    fn found(connections: &[serde_json::Value]) -> Vec<(i64, i64)> {
        let connections = list(serde_json::Value::Array(connections.to_vec()));
        absences(&connections).iter().map(|(from, to)| (from.0 / 1_000_000, to.0 / 1_000_000)).collect()
    }

    #[test]
    fn what_lies_between_two_connections_was_an_absence() {
        let open = serde_json::Value::Null;
        let unknown = serde_json::json!({"by": "lost"});
        let newest_first =
            [connection(500, open.clone()), connection(300, ended(400)), connection(100, ended(200))];
        assert_eq!(found(&newest_first), [(200, 300), (400, 500)]);
        assert_eq!(found(&[connection(300, ended(400)), connection(100, unknown)]), [], "nobody knows");
        assert_eq!(found(&[connection(300, open.clone()), connection(100, ended(350))]), [], "taken over");
        assert_eq!(found(&[connection(200, open.clone()), connection(100, ended(200))]), [], "at once");
        assert_eq!(found(&[connection(100, open)]), []);
        assert_eq!(found(&[]), []);
    }
}
