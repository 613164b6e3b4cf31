//! The hub steady under everything that a network does: the real program within 256 MiB of memory, beside hostile peers,
//! in a storm of reconnects, and over tens of thousands of connections.
//!
//! The gate runs a short form of each; `cargo xtask hostile`, `storm` and `soak` run the long ones. Their settings come as
//! environment variables, which the xtask sets. Each test prints what it measured.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "clippy allows these in tests, but does not see that what tests share is a test too"
)]

mod fleet;
mod hostile;
mod line;
mod measure;
mod memory;
mod neighbours;
mod process;
mod soak;
mod storm;

use std::time::Duration;

/// The longest that a test waits for anything that has no deadline of its own. Chosen: far above what it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// One test after the other: they measure, and share few processors.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A number from the environment, or `usual`.
fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

/// Asks again and again until the answer is yes. Returns how long that took.
async fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < patience, "waited {} s for {what}", patience.as_secs());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}
