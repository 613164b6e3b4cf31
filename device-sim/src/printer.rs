//! The only place that writes to standard output and standard error: results to the one, progress to the other.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use tokio::time::Instant;

/// Time between two progress lines that stay, where there is no terminal to overwrite them.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Shows progress on standard error: one line that is overwritten on a terminal, now and then a line elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
    terminal: bool,
    shown_at: Option<Instant>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), shown_at: None }
    }

    /// Shows how it stands, if it is time to.
    pub(crate) fn show(&mut self, line: &str) {
        let now = Instant::now();
        if self.terminal {
            write_error(&format!("\r\x1b[2K{line}"));
        } else if self.shown_at.is_none_or(|shown| now - shown >= PLAIN_EVERY) {
            self.shown_at = Some(now);
            write_error(&format!("{line}\n"));
        }
    }

    /// Leaves the line for good.
    pub(crate) fn end(&mut self) {
        if self.terminal {
            write_error("\n");
        }
    }
}

/// A progress line that cannot be written is no reason to stop.
fn write_error(text: &str) {
    let mut out = std::io::stderr().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        tracing::trace!("standard error is closed");
    }
}

/// Writes a result to standard output.
#[expect(clippy::print_stdout, reason = "this module is the command line's printer")]
pub(crate) fn result(text: &str) {
    println!("{}", text.trim_end());
}
