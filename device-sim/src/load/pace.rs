//! When messages are due, if a load is to have a rate instead of being as fast as it can.

use std::time::Duration;

/// Readings a second over all connections, evenly: the connections send in turns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Readings a second.
    pub(crate) rate: u64,
    /// Readings in a message.
    pub(crate) readings: u32,
    /// Connections.
    pub(crate) connections: u32,
}

impl Pace {
    /// When a connection's message is due, counted from the start. Both are counted from 0.
    pub(crate) fn due(&self, connection: u32, message: u64) -> Duration {
        let before = u128::from(message) * u128::from(self.connections) + u128::from(connection);
        let nanos = before * u128::from(self.readings) * 1_000_000_000 / u128::from(self.rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_readings_are_due_as_were_asked_for_and_evenly() {
        for (rate, readings, connections) in
            [(100_000, 10, 50), (500_000, 100, 3), (7, 1, 2), (1_000_003, 10, 7)]
        {
            let pace = Pace { rate, readings, connections };
            let in_time = |seconds: u64| -> u64 {
                let end = Duration::from_secs(seconds);
                (0..connections)
                    .map(|connection| {
                        (0..1_000_000).take_while(|n| pace.due(connection, *n) < end).count() as u64
                    })
                    .sum::<u64>()
                    * u64::from(readings)
            };
            for seconds in [1, 2] {
                let asked = rate * seconds;
                assert!((asked..asked + u64::from(readings)).contains(&in_time(seconds)), "{pace:?}");
            }
            let turns: Vec<Duration> =
                (0..3).flat_map(|n| (0..connections).map(move |c| pace.due(c, n))).collect();
            assert!(turns.is_sorted(), "{turns:?}");
        }
    }
}
