//! The tables, in Markdown, and how the targets were met.

use std::fmt;
use std::io::Write as _;

use anyhow::Result;

use super::commands::{Commands, RATE};
use super::load::{Left, Row};
use super::plan::Server;
use super::steady::{Long, WithBackup};
use super::transports::Transports;
use super::wire::{self, Wire};

/// Readings a second that the hub is to take for a long time.
const LONG_RATE: f64 = 500_000.0;

/// What was measured.
#[derive(Default)]
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    pub(super) backup: Vec<WithBackup>,
    pub(super) long: Option<Long>,
    /// Idle connections, and KiB of memory of each.
    pub(super) idle: Option<(u32, f64)>,
    pub(super) commands: Option<Commands>,
    pub(super) transports: Option<Transports>,
    pub(super) wire: Option<Wire>,
    pub(super) ui: Option<String>,
    /// What `rates` printed.
    pub(super) store: Vec<String>,
    /// Parts that could not be measured.
    pub(super) failed: Vec<String>,
}

/// Prints to standard output.
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

impl Report {
    /// Of the rows that were measured more than once, leaves the one in the middle by CPU time.
    pub(super) fn take_medians(&mut self) {
        let mut rows: Vec<Row> = std::mem::take(&mut self.rows);
        while let Some(first) = rows.first() {
            let load = first.measured.load;
            let (mut same, others): (Vec<Row>, Vec<Row>) =
                rows.into_iter().partition(|row| row.measured.load == load);
            same.sort_by(|a, b| a.measured.cpu_per_million.total_cmp(&b.measured.cpu_per_million));
            self.rows.push(same.swap_remove(same.len() / 2));
            rows = others;
        }
    }

    fn find(&self, server: Server, series: u32, readings: u32, in_flight: u32) -> Option<&Row> {
        self.rows.iter().find(|row| {
            let load = &row.measured.load;
            (load.server, load.series(), load.readings, load.in_flight)
                == (server, series, readings, in_flight)
        })
    }

    /// CPU time of a row beside that of Mosquitto for the same messages on as many connections.
    fn of_mosquitto(&self, row: &Row) -> Option<f64> {
        let load = &row.measured.load;
        let same = self.rows.iter().find(|other| {
            let it = &other.measured.load;
            it.server == Server::Mosquitto
                && (it.connections, it.readings, it.in_flight)
                    == (load.connections, load.readings, load.in_flight)
        })?;
        (load.server != Server::Mosquitto)
            .then(|| row.measured.cpu_per_million / same.measured.cpu_per_million)
    }

    /// Rows a second that bare SQLite appends, in commits of 5 000: what is in flight with 16 messages of 10.
    fn bare_sqlite(&self) -> Option<f64> {
        let line =
            self.store.iter().flat_map(|text| text.lines()).find(|line| {
                line.split_once("rows a commit").is_some_and(|(rows, _)| rows.trim() == "5000")
            })?;
        line.split_once("bare ")?.1.split_whitespace().next()?.parse().ok()
    }

    fn targets(&self) -> Vec<(String, f64, bool)> {
        let mut targets = Vec::new();
        let mut at_most = |what: &str, limit: f64, value: Option<f64>| {
            targets.extend(value.map(|value| (format!("{what}: at most {limit}"), value, value <= limit)));
        };
        let hub = |readings, in_flight| self.find(Server::Hub, 500, readings, in_flight);
        for (in_flight, limit) in [(1, 1.5), (16, 1.0)] {
            let ratio = hub(10, in_flight).and_then(|row| self.of_mosquitto(row));
            at_most(
                &format!("CPU of Mosquitto's, 10 readings a message, {in_flight} in flight"),
                limit,
                ratio,
            );
        }
        let written = |row: &Row| row.measured.written;
        at_most(
            "bytes written to disk per reading, 10 a message, 16 in flight",
            100.0,
            hub(10, 16).map(written),
        );
        let hubs = self.rows.iter().filter(|row| row.left.is_some());
        at_most("the same, the worst of all rows", 100.0, hubs.map(written).reduce(f64::max));
        let sealed = hub(10, 16).and_then(|row| row.left).map(|left| left.sealed_bytes);
        at_most("bytes a reading after sealing, 500 series", 3.0, sealed);
        let with = self.backup.iter().find(|with| with.backups > 0);
        at_most("ack p99 ms at 100 000 readings/s while backups run", 25.0, with.map(|w| w.measured.p99_ms));
        let mut at_least = |what: &str, limit: f64, value: Option<f64>| {
            targets.extend(value.map(|value| (format!("{what}: at least {limit}"), value, value >= limit)));
        };
        let rate = |row: Option<&Row>| row.map(|row| row.measured.readings_per_second);
        at_least("readings/s, 10 a message, 1 in flight", 400_000.0, rate(hub(10, 1)));
        at_least("readings/s, 10 a message, 16 in flight", 700_000.0, rate(hub(10, 16)));
        let of_sqlite = rate(hub(10, 16)).zip(self.bare_sqlite()).map(|(hub, bare)| hub / bare);
        at_least("rate of bare SQLite's (5 000 rows a commit), 16 in flight", 0.5, of_sqlite);
        for in_flight in [1, 16] {
            let series = |count| rate(self.find(Server::Hub, count, 10, in_flight));
            let ratio = series(100_000).zip(series(100)).map(|(many, few)| many / few);
            at_least(
                &format!("rate with 100 000 series of that with 100, {in_flight} in flight"),
                0.7,
                ratio,
            );
        }
        let long = self.long.as_ref().filter(|long| long.rate == 0 || long.rate as f64 >= LONG_RATE);
        // A few of those that were due are still on their way when the measured stretch ends.
        let long = long.map(|long| long.measured.readings_per_second);
        at_least("readings/s for a long time", LONG_RATE * 0.999, long);
        targets.extend(self.commands.iter().flat_map(command_targets));
        targets.extend(self.wire.iter().flat_map(wire_targets));
        targets
    }

    fn load_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| | series | connections | readings a message | in flight | acknowledged readings/s | server CPU s per million | of Mosquitto's | ack p50 ms | ack p99 ms | bytes written per reading | hot left | of them never sealed | bytes per sealed reading | file bytes per reading | server MiB (anonymous) | load CPU s per million |"
        )?;
        writeln!(f, "|{}", "---|".repeat(17))?;
        for row in &self.rows {
            let (m, load) = (&row.measured, &row.measured.load);
            let ratio = self.of_mosquitto(row).map_or_else(String::new, |ratio| format!("{ratio:.2}"));
            let left = row.left.map_or_else(
                || "| | |".to_owned(),
                |left| {
                    let Left { hot, hot_settled, sealed_bytes, file_bytes } = left;
                    format!("{hot} | {hot_settled} | {sealed_bytes:.2} | {file_bytes:.2}")
                },
            );
            let written = if row.left.is_some() { format!("{:.1}", m.written) } else { String::new() };
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {:.0} | {:.2} | {ratio} | {:.2} | {:.2} | {written} | {left} | {:.0} ({:.0}) | {:.2} |",
                load.server.name(),
                load.series(),
                load.connections,
                load.readings,
                load.in_flight,
                m.readings_per_second,
                m.cpu_per_million,
                m.p50_ms,
                m.p99_ms,
                m.resident_mib,
                m.anonymous_mib,
                m.own_cpu_per_million,
            )?;
        }
        writeln!(f)
    }
}

fn command_targets(commands: &Commands) -> Vec<(String, f64, bool)> {
    let mut targets = Vec::new();
    if let Some(one) = commands.rows.iter().find(|row| row.per_second.is_none() && row.succeeded.is_some()) {
        let p99 = one.received[1];
        targets.push(("ms from operator to device, p99: at most 15".to_owned(), p99, p99 <= 15.0));
    }
    if let Some(rate) = commands.rows.iter().filter_map(|row| row.per_second).reduce(f64::min) {
        let what = format!("commands/s to 1000 devices beside 50 000 readings/s: at least {RATE}");
        // A few of those that were due are still on their way when the measured stretch ends.
        targets.push((what, rate, rate >= f64::from(RATE) * 0.99));
    }
    // The first tenth fills what is bounded: queues, and the pages that SQLite keeps.
    if let (Some((_, after)), Some((_, before))) = (commands.memory.last(), commands.memory.get(1)) {
        let grown = after - before;
        targets.push(("MiB that 90 000 ended commands leave: at most 8".to_owned(), grown, grown <= 8.0));
    }
    targets
}

fn wire_targets(wire: &Wire) -> Vec<(String, f64, bool)> {
    let (unwatched, watched) = (wire::median(&wire.unwatched), wire::median(&wire.watched));
    let more = (watched / unwatched - 1.0) * 100.0;
    let off = wire.nanos / (unwatched * 1e3) * 100.0;
    vec![
        (
            "% of CPU more while a device with 50 000 frames/s is watched: at most 10".into(),
            more,
            more <= 10.0,
        ),
        ("% of the CPU of a frame that the tap takes unwatched: at most 1".into(), off, off <= 1.0),
    ]
}

fn wire_table(wire: &Wire, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "| one device, a reading a frame | frames/s | hub CPU s per million | ack p50 ms | p99 |")?;
    writeln!(f, "|{}", "---|".repeat(5))?;
    for (what, runs) in [("unwatched", &wire.unwatched), ("watched by `hub wire`", &wire.watched)] {
        for m in runs {
            writeln!(
                f,
                "| {what} | {:.0} | {:.2} | {:.2} | {:.2} |",
                m.readings_per_second, m.cpu_per_million, m.p50_ms, m.p99_ms
            )?;
        }
    }
    writeln!(f, "\nUnwatched the tap takes {:.1} ns for a frame.\n", wire.nanos)
}

fn command_table(commands: &Commands, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(
        f,
        "| | commands | succeeded a second | received p50 ms | p99 | worst | succeeded p50 ms | p99 | worst | hub CPU s a second |"
    )?;
    writeln!(f, "|{}", "---|".repeat(10))?;
    for row in &commands.rows {
        let [p50, p99, worst] = row.received;
        let rate = row.per_second.map_or_else(String::new, |rate| format!("{rate:.0}"));
        let cpu = row.cpu.map_or_else(String::new, |cpu| format!("{cpu:.2}"));
        let ended = row.succeeded.map_or_else(
            || "| |".to_owned(),
            |[p50, p99, worst]| format!("{p50:.2} | {p99:.2} | {worst:.2}"),
        );
        writeln!(
            f,
            "| {} | {} | {rate} | {p50:.2} | {p99:.2} | {worst:.2} | {ended} | {cpu} |",
            row.what, row.count
        )?;
    }
    let beside = &commands.beside;
    writeln!(
        f,
        "\nThe readings beside them: {:.0} a second, ack p50 {:.2} ms, p99 {:.2} ms, worst {:.2} ms.",
        beside.readings_per_second, beside.p50_ms, beside.p99_ms, beside.worst_ms
    )?;
    let memory: Vec<String> =
        commands.memory.iter().map(|(ended, mib)| format!("{mib:.1} after {ended}")).collect();
    writeln!(
        f,
        "As fast as they end, {:.0} a second; MiB of hub memory: {}.\n",
        commands.many_per_second,
        memory.join(", ")
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.rows.is_empty() {
            self.load_table(f)?;
        }
        if !self.backup.is_empty() {
            writeln!(
                f,
                "| backups beside it | readings/s | server CPU s per million | ack p50 ms | ack p99 ms | worst ms | backups | s each | hot left |"
            )?;
            writeln!(f, "|{}", "---|".repeat(9))?;
            for with in &self.backup {
                let m = &with.measured;
                writeln!(
                    f,
                    "| {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {:.1} | {} |",
                    with.what,
                    m.readings_per_second,
                    m.cpu_per_million,
                    m.p50_ms,
                    m.p99_ms,
                    m.worst_ms,
                    with.backups,
                    with.seconds_each,
                    with.hot
                )?;
            }
            writeln!(f)?;
        }
        if let Some(Long { rate: _, measured: m, left, looks }) = &self.long {
            writeln!(f, "| s | readings stored | hot | file MB | free MB | log MB | hub MiB |")?;
            writeln!(f, "|{}", "---|".repeat(7))?;
            for look in looks {
                let mb = |bytes: u64| bytes as f64 / 1e6;
                let s = &look.stats;
                writeln!(
                    f,
                    "| {:.0} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} |",
                    look.seconds,
                    s.readings,
                    s.hot,
                    mb(s.file_bytes),
                    mb(s.free_bytes),
                    mb(s.log_bytes),
                    look.resident_mib
                )?;
            }
            writeln!(
                f,
                "\nIn all {:.0} acknowledged readings/s, {:.2} CPU s per million (the load {:.2}), ack p50 {:.2} ms, p99 {:.2} ms, worst {:.2} ms, {:.1} bytes written per reading; {} hot readings left; {:.2} bytes a sealed reading, {:.2} of the file for each.\n",
                m.readings_per_second,
                m.cpu_per_million,
                m.own_cpu_per_million,
                m.p50_ms,
                m.p99_ms,
                m.worst_ms,
                m.written,
                left.hot,
                left.sealed_bytes,
                left.file_bytes
            )?;
        }
        if let Some((connections, kib)) = self.idle {
            writeln!(f, "{connections} idle connections: {kib:.1} KiB of hub memory each\n")?;
        }
        if let Some(commands) = &self.commands {
            command_table(commands, f)?;
        }
        if let Some(transports) = &self.transports {
            write!(f, "{transports}")?;
        }
        if let Some(wire) = &self.wire {
            wire_table(wire, f)?;
        }
        if let Some(tables) = &self.ui {
            writeln!(f, "{tables}")?;
        }
        if !self.store.is_empty() {
            writeln!(f, "```\n{}```\n", self.store.concat())?;
        }
        let targets = self.targets();
        if !targets.is_empty() {
            writeln!(f, "| target | measured | |\n|---|---|---|")?;
            for (what, value, met) in targets {
                let digits = if value >= 1_000.0 { 0 } else { 2 };
                writeln!(f, "| {what} | {value:.digits$} | {} |", if met { "met" } else { "not met" })?;
            }
        }
        if !self.failed.is_empty() {
            writeln!(f, "\nnot measured, because it failed: {}", self.failed.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::Measured;
    use super::super::plan::Load;
    use super::*;

    fn row(server: Server, in_flight: u32, cpu_per_million: f64) -> Row {
        let measured = Measured {
            load: Load { server, connections: 50, series_each: 10, readings: 10, in_flight },
            readings_per_second: 1e6,
            cpu_per_million,
            own_cpu_per_million: 1.0,
            p50_ms: 1.0,
            p99_ms: 2.0,
            worst_ms: 3.0,
            written: 50.0,
            resident_mib: 10.0,
            anonymous_mib: 5.0,
        };
        Row { measured, left: None }
    }

    #[test]
    fn of_several_rounds_the_middle_one_is_shown_and_beside_the_mosquitto_of_the_same_messages() {
        let (hub, mosquitto) = (Server::Hub, Server::Mosquitto);
        let rows = vec![
            row(mosquitto, 1, 1.0),
            row(hub, 1, 9.0),
            row(hub, 16, 0.5),
            row(mosquitto, 16, 2.0),
            row(mosquitto, 1, 2.0),
            row(hub, 1, 3.0),
            row(mosquitto, 1, 9.0),
            row(hub, 1, 2.0),
        ];
        let mut report = Report { rows, ..Report::default() };
        report.take_medians();
        let shown: Vec<f64> = report.rows.iter().map(|row| row.measured.cpu_per_million).collect();
        assert_eq!(shown, [2.0, 3.0, 0.5, 2.0]);
        let ratios: Vec<Option<f64>> = report.rows.iter().map(|row| report.of_mosquitto(row)).collect();
        assert_eq!(ratios, [None, Some(1.5), Some(0.25), None]);
        let met: Vec<bool> = report.targets().into_iter().map(|(_, _, met)| met).collect();
        assert_eq!(met, [true; 5], "both ratios, both rates, and the bytes written");
    }

    #[test]
    fn the_rate_of_bare_sqlite_is_found_in_what_rates_prints() {
        let text = "   500 rows a commit: bare     1 rows/s, store 2 rows/s\n  5000 rows a commit: bare  2545653 rows/s, store  1651256; x\n";
        let report = Report { store: vec!["other\n".into(), text.into()], ..Report::default() };
        assert_eq!(report.bare_sqlite(), Some(2_545_653.0));
    }
}
