//! What a run amounted to: the numbers, as JSON and for people.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::faults::{CommandFault, FaultCounts};

/// Commands, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CommandCounts {
    /// Delivered to a device.
    pub received: u64,
    /// Done.
    pub succeeded: u64,
    /// Tried, and went wrong.
    pub failed: u64,
    /// Not tried.
    pub rejected: u64,
    /// Stopped as asked.
    pub cancelled: u64,
    /// Of which nobody can say how they ended.
    pub unresolved: u64,
    /// Done, and not said so on purpose.
    pub untold: u64,
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Latencies {
    /// How many were measured.
    pub count: u64,
    /// Half were faster.
    pub p50: f64,
    /// Nine of ten were faster.
    pub p90: f64,
    /// All but one of a hundred were faster.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

impl Latencies {
    /// Reads them from a histogram of microseconds.
    pub fn from_micros(histogram: &Histogram<u64>) -> Self {
        let millis = |micros: u64| micros as f64 / 1_000.0;
        Self {
            count: histogram.len(),
            p50: millis(histogram.value_at_quantile(0.5)),
            p90: millis(histogram.value_at_quantile(0.9)),
            p99: millis(histogram.value_at_quantile(0.99)),
            max: millis(histogram.max()),
        }
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p90, p99, max, .. } = self;
        write!(f, "p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")
    }
}

/// What became of a fleet. `readings_pushed` is the sum of the six that follow it, `resent` aside.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Devices.
    pub devices: u64,
    /// Devices connected at the moment of the report.
    pub connected: u64,
    /// How long it ran, in seconds.
    pub seconds: f64,
    /// Readings that the devices made.
    pub readings_pushed: u64,
    /// Readings that the hub has acknowledged.
    pub acknowledged: u64,
    /// Readings that the hub refused for good.
    pub refused: u64,
    /// Readings given up because an outbox was full.
    pub lost: u64,
    /// Readings forgotten in reboots that were asked for; the hub may have some of them.
    pub lost_in_reboots: u64,
    /// Readings that still wait for an ack.
    pub waiting: u64,
    /// Batches written more than once because a connection broke or the hub said "later".
    pub batches_resent: u64,
    /// From the writing of a batch to its ack, in milliseconds.
    pub ack_latency_ms: Latencies,
    /// Connections after the first of each device.
    pub reconnects: u64,
    /// Devices that the hub refused for good.
    pub gave_up: u64,
    /// Why, for the first of them.
    pub refusal: Option<String>,
    /// Commands.
    pub commands: CommandCounts,
    /// Faults played.
    pub faults: FaultCounts,
}

impl Report {
    /// Whether every reading arrived or was refused by name: nothing lost, nothing waiting, no device turned away.
    /// What was forgotten in reboots that were asked for does not count.
    pub fn is_complete(&self) -> bool {
        self.lost == 0 && self.waiting == 0 && self.gave_up == 0
    }

    /// One line for while it runs.
    pub fn line(&self) -> String {
        let mut line = format!(
            "{:>5.0} s  {}/{} up  {} readings  {} acked  {} waiting  ack p50 {:.1} p99 {:.1} ms",
            self.seconds,
            self.connected,
            self.devices,
            self.readings_pushed,
            self.acknowledged,
            self.waiting,
            self.ack_latency_ms.p50,
            self.ack_latency_ms.p99,
        );
        for (count, word) in [
            (self.lost, "lost"),
            (self.lost_in_reboots, "lost in reboots"),
            (self.refused, "refused"),
            (self.reconnects, "reconnects"),
            (self.commands.received, "commands"),
        ] {
            if count > 0 {
                line.push_str(&format!("  {count} {word}"));
            }
        }
        line
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = if self.seconds > 0.0 { self.acknowledged as f64 / self.seconds } else { 0.0 };
        writeln!(f, "devices          {} for {:.1} s", self.devices, self.seconds)?;
        writeln!(f, "readings pushed  {}", self.readings_pushed)?;
        writeln!(f, "  acknowledged   {} ({rate:.0} a second)", self.acknowledged)?;
        writeln!(f, "  refused        {}", self.refused)?;
        writeln!(f, "  lost           {}", self.lost)?;
        writeln!(f, "  in reboots     {}", self.lost_in_reboots)?;
        writeln!(f, "  waiting        {}", self.waiting)?;
        writeln!(f, "batches resent   {}", self.batches_resent)?;
        writeln!(f, "ack latency      {}", self.ack_latency_ms)?;
        writeln!(f, "reconnects       {}", self.reconnects)?;
        let c = &self.commands;
        writeln!(
            f,
            "commands         {} received: {} succeeded, {} failed, {} rejected, {} cancelled, {} not told",
            c.received, c.succeeded, c.failed, c.rejected, c.cancelled, c.untold
        )?;
        if self.faults != FaultCounts::default() {
            let x = &self.faults;
            writeln!(
                f,
                "faults           {} disconnects, {} silences, {} reboots, {} duplicates, {} outages, {} wrong clocks",
                x.disconnects, x.silences, x.reboots, x.duplicates, x.outages, x.skewed_clocks
            )?;
        }
        let mut played = self.faults.commands;
        let counts = CommandFault::ALL.map(|fault| (fault.as_str(), *played.of(fault)));
        if counts.iter().any(|(_, count)| *count > 0) {
            let counts = counts.map(|(name, count)| format!("{count} {name}"));
            writeln!(f, "with commands    {}", counts.join(", "))?;
        }
        if let Some(refusal) = &self.refusal {
            writeln!(f, "gave up          {} devices: {refusal}", self.gave_up)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_complete_only_if_nothing_is_lost_or_waits_and_nobody_was_turned_away() {
        assert!(Report { refused: 3, lost_in_reboots: 4, ..Report::default() }.is_complete());
        assert!(!Report { lost: 1, ..Report::default() }.is_complete());
        assert!(!Report { waiting: 1, ..Report::default() }.is_complete());
        assert!(!Report { gave_up: 1, ..Report::default() }.is_complete());
    }
}
