//! The parts of a bench: not everything with everything, but the rows that say most.

/// One measurement.
pub(crate) struct Part {
    /// Words joined by hyphens, from the general to the particular.
    pub(crate) name: String,
    pub(crate) work: Work,
}

/// What is done.
pub(crate) enum Work {
    /// As fast as it goes.
    Load(Load),
    /// A constant rate, without and with backups beside it.
    Backup,
    /// A constant rate for a long time.
    Long,
    /// The memory of an idle connection.
    Idle,
    /// Commands: one at a time, many beside readings, and the memory of those that ended.
    Commands,
    /// The same work over other transports.
    Transports,
    /// The wire made visible: watched and unwatched.
    Wire,
    /// The dashboard: frames, memory, a window on a screen in memory.
    Ui,
    /// A part of `store/examples/rates.rs`.
    Store(&'static str),
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) server: Server,
    pub(crate) connections: u32,
    /// Series of one connection.
    pub(crate) series_each: u32,
    /// Readings in a message.
    pub(crate) readings: u32,
    /// Messages in flight on a connection.
    pub(crate) in_flight: u32,
}

/// Who receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// `hub/examples/bare_socket.rs`: decodes and acknowledges, and stores nothing.
    Bare,
    /// A broker: acknowledges at QoS 1, and stores nothing.
    Mosquitto,
    /// The hub: acknowledges after the fsync.
    Hub,
}

impl Server {
    /// As a part of a name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Mosquitto => "mosquitto",
            Self::Hub => "hub",
        }
    }
}

impl Load {
    /// Series in all.
    pub(crate) const fn series(&self) -> u32 {
        self.connections * self.series_each
    }
}

impl Part {
    /// Whether its name begins with these words: `batch-1` is not the beginning of `batch-10-1-hub`.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

/// All parts, in the order in which they run: what is compared runs close together.
pub(crate) fn all() -> Vec<Part> {
    let mut parts = Vec::new();
    let store = |name| Part { name: format!("store-{name}"), work: Work::Store(name) };
    parts.push(store("append"));
    for readings in [1, 10, 100] {
        for in_flight in [1, 16] {
            for server in [Server::Bare, Server::Mosquitto, Server::Hub] {
                let name = format!("batch-{readings}-{in_flight}-{}", server.name());
                let load = Load { server, connections: 50, series_each: 10, readings, in_flight };
                parts.push(Part { name, work: Work::Load(load) });
            }
        }
    }
    // A device declares 256 metrics at most, so 100 000 series need more connections. What those alone cost is told by
    // the same with 10 000 series on 400.
    for (connections, series_each, name) in
        [(50, 2, "100"), (50, 200, "10000"), (400, 25, "10000-400"), (400, 250, "100000")]
    {
        for in_flight in [1, 16] {
            let name = format!("series-{name}-{in_flight}-hub");
            let load = Load { server: Server::Hub, connections, series_each, readings: 10, in_flight };
            parts.push(Part { name, work: Work::Load(load) });
        }
    }
    parts.push(Part { name: "backup".into(), work: Work::Backup });
    parts.push(Part { name: "idle".into(), work: Work::Idle });
    parts.push(Part { name: "commands".into(), work: Work::Commands });
    parts.push(Part { name: "transports".into(), work: Work::Transports });
    parts.push(Part { name: "wire".into(), work: Work::Wire });
    parts.push(Part { name: "ui".into(), work: Work::Ui });
    parts.extend(["fleet", "year", "asof", "latest"].map(store));
    parts.push(Part { name: "long".into(), work: Work::Long });
    parts
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_are_chosen_by_whole_words() {
        let all = all();
        let names: HashSet<&str> = all.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
        let called = |name: &str| all.iter().filter(|part| part.is_called(name)).count();
        assert_eq!((called("batch"), called("batch-1"), called("batch-10-16-hub")), (18, 6, 1));
        assert_eq!((called("series-100"), called("long"), called("lon"), called("")), (2, 1, 0, 0));
    }

    #[test]
    fn no_row_asks_a_device_for_more_metrics_than_it_may_declare() {
        for part in all() {
            if let Work::Load(load) = part.work {
                assert!((1..=256).contains(&load.series_each), "{}", part.name);
            }
        }
    }
}
