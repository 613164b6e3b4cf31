//! The hub in numbers, for Prometheus: `/metrics`, and `/readyz`, which says whether it can take readings in.
//!
//! A small one of our own: what is counted is known when the hub is built, so a number is an atomic in a struct, touched once a
//! batch or a commit, without a registry, labels that are looked up, or locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use store::CredentialRole;

use crate::access::Looker;
use crate::limits::{Limit, Reached};
use crate::serve::Hub;

/// Upper bounds of the buckets of times, in microseconds: half a millisecond to ten seconds.
const BOUNDS: [u64; 13] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// It happened so many times more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long things took.
#[derive(Debug, Default)]
pub struct Times {
    buckets: [AtomicU64; BOUNDS.len()],
    longer: AtomicU64,
    micros: AtomicU64,
}

impl Times {
    /// Something took so long.
    pub fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS.partition_point(|bound| *bound < micros);
        self.buckets.get(place).unwrap_or(&self.longer).fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, help: &str) {
        head(out, name, help, "histogram");
        let mut total = 0;
        for (bound, count) in BOUNDS.iter().zip(&self.buckets) {
            total += count.load(Ordering::Relaxed);
            line(out, &format!("{name}_bucket{{le=\"{}\"}}", *bound as f64 / 1e6), total);
        }
        total += self.longer.load(Ordering::Relaxed);
        line(out, &format!("{name}_bucket{{le=\"+Inf\"}}"), total);
        line(out, &format!("{name}_sum"), self.micros.load(Ordering::Relaxed) as f64 / 1e6);
        line(out, &format!("{name}_count"), total);
    }
}

/// What is counted while the hub runs.
#[derive(Debug)]
pub struct Metrics {
    started: Instant,
    /// Sessions that are open, in the order of [`ROLES`].
    sessions: [AtomicU64; ROLES.len()],
    /// How often each limit was reached, in the order of [`Limit::ALL`].
    limits: [Counter; Limit::COUNT],
    /// How often each rate made a peer be read more slowly, in the same order.
    slowed: [Counter; Limit::COUNT],
    /// Wrong credentials.
    pub wrong_credentials: Counter,
    /// Requests and messages that a role does not allow.
    pub forbidden: Counter,
    /// Batches that will never be stored.
    pub batches_refused: Counter,
    /// Readings left out toward viewers, and told so.
    pub omitted: Counter,
    /// Commits, and readings in them.
    pub commits: Counter,
    /// Readings that were committed.
    pub readings: Counter,
    /// Commits of which nothing was stored.
    pub failed_commits: Counter,
    /// The last commit found no room.
    pub storage_full: AtomicBool,
    /// From measuring the last reading of a batch to its arrival, as far as the device's clock is known.
    pub on_its_way: Times,
    /// From the last byte of a batch to the beginning of its commit: read, checked, and waited.
    pub ingest: Times,
    /// From the last byte of a batch to when its ack is handed to the system to be sent.
    pub ack: Times,
    /// A commit with its fsync.
    pub commit: Times,
    /// From a commit to when a viewer's session has it.
    pub fan_out: Times,
    /// From a message to a viewer to its arrival there, as viewers tell.
    pub arrived: Times,
    /// From there to the end of painting, as viewers tell.
    pub painted: Times,
}

/// The roles whose sessions are counted.
const ROLES: [&str; 5] = ["device", "fleet", "viewer", "operator", "admin"];

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            sessions: Default::default(),
            limits: std::array::from_fn(|_| Counter::default()),
            slowed: std::array::from_fn(|_| Counter::default()),
            wrong_credentials: Counter::default(),
            forbidden: Counter::default(),
            batches_refused: Counter::default(),
            omitted: Counter::default(),
            commits: Counter::default(),
            readings: Counter::default(),
            failed_commits: Counter::default(),
            storage_full: AtomicBool::new(false),
            on_its_way: Times::default(),
            ingest: Times::default(),
            ack: Times::default(),
            commit: Times::default(),
            fan_out: Times::default(),
            arrived: Times::default(),
            painted: Times::default(),
        }
    }
}

/// A session that is counted until this is dropped.
#[derive(Debug)]
pub struct Counted {
    metrics: Arc<Metrics>,
    place: usize,
}

impl Metrics {
    /// A limit is reached.
    pub fn reached(&self, limit: Limit) {
        self.limits[limit as usize].add(1);
    }

    /// Somebody is refused with these words: counts the limit that they name, if they name one. For what is refused where
    /// nothing is known of metrics, as by the protocol's own checks.
    pub fn reached_in(&self, refusal: &str) {
        if let Some((limit, _)) = Limit::named_in(refusal) {
            self.reached(limit);
        }
    }

    /// A peer is above a rate, and is read more slowly.
    pub fn slowed(&self, limit: Limit) {
        self.slowed[limit as usize].add(1);
    }

    /// Counts a session of this role.
    pub fn session(self: &Arc<Self>, role: &CredentialRole) -> Counted {
        let place = ROLES.iter().position(|name| *name == role.as_str()).unwrap_or_default();
        self.sessions[place].fetch_add(1, Ordering::Relaxed);
        Counted { metrics: Arc::clone(self), place }
    }
}

impl Metrics {
    /// How often each limit of a kind was reached.
    fn write_limits(&self, out: &mut String, name: &str, of_kind: impl Fn(Reached) -> bool) {
        for (limit, counter) in Limit::ALL.iter().zip(&self.limits) {
            if of_kind(limit.reached()) {
                line(out, &format!("{name}{{limit=\"{}\"}}", limit.name()), counter.get());
            }
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.sessions[self.place].fetch_sub(1, Ordering::Relaxed);
    }
}

fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

fn line(out: &mut String, name: &str, value: impl std::fmt::Display) {
    out.push_str(&format!("{name} {value}\n"));
}

fn one(out: &mut String, name: &str, help: &str, kind: &str, value: impl std::fmt::Display) {
    head(out, name, help, kind);
    line(out, name, value);
}

/// Everything, as Prometheus reads it.
pub(crate) async fn show(State(hub): State<Arc<Hub>>, _: Looker) -> Response {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], text(&hub)).into_response()
}

fn text(hub: &Hub) -> String {
    let metrics = &hub.metrics;
    let mut out = String::with_capacity(8 * 1024);
    let o = &mut out;
    head(o, "telemetry_build_info", "The version that runs.", "gauge");
    line(o, &format!("telemetry_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1);
    let up = metrics.started.elapsed().as_secs_f64();
    one(o, "telemetry_uptime_seconds", "Since the hub started.", "gauge", up);
    one(
        o,
        "telemetry_ready",
        "1 if the hub can take readings in, as /readyz.",
        "gauge",
        u8::from(reasons(hub).is_empty()),
    );

    head(o, "telemetry_limit", "The limits in force, by name.", "gauge");
    for limit in Limit::ALL {
        line(o, &format!("telemetry_limit{{name=\"{}\"}}", limit.name()), hub.config.limits.get(*limit));
    }
    head(o, "telemetry_refused_total", "What was refused, by the limit or rule that it broke.", "counter");
    for (name, counter) in [
        ("credential", &metrics.wrong_credentials),
        ("role", &metrics.forbidden),
        ("batch", &metrics.batches_refused),
    ] {
        line(o, &format!("telemetry_refused_total{{limit=\"{name}\"}}"), counter.get());
    }
    metrics.write_limits(o, "telemetry_refused_total", Reached::refuses);
    let help =
        "How often a limit made somebody wait, or something be left out, told anew or forgotten, by limit.";
    head(o, "telemetry_held_total", help, "counter");
    metrics
        .write_limits(o, "telemetry_held_total", |reached| !reached.refuses() && reached != Reached::Measure);
    head(
        o,
        "telemetry_slowed_total",
        "How often a peer above a rate began to be read more slowly, by rate.",
        "counter",
    );
    for (limit, counter) in Limit::ALL.iter().zip(&metrics.slowed).filter(|(limit, _)| limit.is_rate()) {
        line(o, &format!("telemetry_slowed_total{{limit=\"{}\"}}", limit.name()), counter.get());
    }

    head(o, "telemetry_sessions", "Open WebSockets, by role.", "gauge");
    for (role, count) in ROLES.iter().zip(&metrics.sessions) {
        line(o, &format!("telemetry_sessions{{role=\"{role}\"}}"), count.load(Ordering::Relaxed));
    }
    one(
        o,
        "telemetry_strangers",
        "Connections that have shown no credential yet.",
        "gauge",
        hub.gate.strangers(),
    );
    let (devices, connected) = hub.directory.counts();
    one(o, "telemetry_devices", "Devices that are known.", "gauge", devices);
    one(o, "telemetry_devices_connected", "Devices that are connected.", "gauge", connected);

    let (requests, readings) = hub.ingest.waiting();
    head(
        o,
        "telemetry_queue",
        "What waits, by queue; its limit is telemetry_limit of the same name.",
        "gauge",
    );
    line(o, "telemetry_queue{name=\"ingest_requests\"}", requests);
    line(o, "telemetry_queue{name=\"ingest_readings\"}", readings);
    one(
        o,
        "telemetry_position",
        "Place of the last reading in the order of commits.",
        "gauge",
        hub.live.position().0,
    );
    one(o, "telemetry_commits_total", "Commits of readings.", "counter", metrics.commits.get());
    one(o, "telemetry_readings_total", "Readings committed.", "counter", metrics.readings.get());
    one(
        o,
        "telemetry_commit_failures_total",
        "Commits of which nothing was stored.",
        "counter",
        metrics.failed_commits.get(),
    );
    one(
        o,
        "telemetry_omitted_total",
        "Readings left out toward viewers, and told so.",
        "counter",
        metrics.omitted.get(),
    );
    let full = u8::from(metrics.storage_full.load(Ordering::Relaxed));
    one(o, "telemetry_storage_full", "1 if the last commit found no room on the disk.", "gauge", full);
    let help =
        "From measuring the last reading of a batch to its arrival, as far as the device's clock is known.";
    metrics.on_its_way.write(o, "telemetry_on_its_way_seconds", help);
    metrics.commit.write(o, "telemetry_commit_seconds", "A commit with its fsync.");
    let help = "From the last byte of a batch to the beginning of its commit: read, checked, and waited.";
    metrics.ingest.write(o, "telemetry_ingest_seconds", help);
    let help = "From the last byte of a batch to when its ack is handed to the system to be sent.";
    metrics.ack.write(o, "telemetry_ack_seconds", help);
    let help = "From writing a message with readings to its arrival, as windows that trace tell.";
    metrics.arrived.write(o, "telemetry_arrived_seconds", help);
    let help =
        "From the arrival of readings to the end of the frame that shows them, as windows that trace tell.";
    metrics.painted.write(o, "telemetry_painted_seconds", help);
    metrics.fan_out.write(o, "telemetry_fan_out_seconds", "From a commit to when a viewer's session has it.");
    if let Some(tls) = &hub.tls {
        let help = "When the hub's certificate ends, in seconds since 1970.";
        one(o, "telemetry_certificate_expires_seconds", help, "gauge", tls.expires());
    }
    out
}

/// Why the hub cannot take readings in now; nothing if it can.
fn reasons(hub: &Hub) -> Vec<&'static str> {
    [
        (hub.failed.is_cancelled(), "storage_failed"),
        (hub.stopping.is_cancelled(), "stopping"),
        (hub.metrics.storage_full.load(Ordering::Relaxed), "storage_full"),
    ]
    .into_iter()
    .filter_map(|(is_so, reason)| is_so.then_some(reason))
    .collect()
}

/// Whether readings can be taken in: for whoever sends traffic here. While the database is opened and migrated nothing is
/// answered at all.
pub(crate) async fn readyz(State(hub): State<Arc<Hub>>) -> Response {
    let reasons = reasons(&hub);
    let code = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_in_the_bucket_that_holds_them_and_in_all_above() {
        let times = Times::default();
        for micros in [0, 500, 501, 10_000_000, 10_000_001, u64::MAX / 4] {
            times.note(Duration::from_micros(micros));
        }
        let mut out = String::new();
        times.write(&mut out, "t", "Time.");
        for line in [
            "t_bucket{le=\"0.0005\"} 2",
            "t_bucket{le=\"0.001\"} 3",
            "t_bucket{le=\"10\"} 4",
            "t_bucket{le=\"+Inf\"} 6",
            "t_count 6",
        ] {
            assert!(out.lines().any(|l| l == line), "{line} is not in\n{out}");
        }
    }

    #[test]
    fn a_session_is_counted_while_it_lasts() {
        let metrics = Arc::new(Metrics::default());
        let first = metrics.session(&CredentialRole::Viewer);
        let second = metrics.session(&CredentialRole::Admin);
        let counts = || metrics.sessions.each_ref().map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts(), [0, 0, 1, 0, 1]);
        drop((first, second));
        assert_eq!(counts(), [0; 5]);
    }
}
