//! The one place of the hub that writes to the terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Prints one line of an answer. False: nobody reads it any more (`hub tail | head`).
pub(super) fn line(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

/// Prints an error.
pub(super) fn error(text: &str) {
    // Standard error is gone: nobody to tell.
    drop(writeln!(std::io::stderr().lock(), "hub: {text}"));
}

/// How far a long command has come, on standard error: on a terminal one line that changes, else a line now and then.
#[derive(Debug, Default)]
pub(super) struct Progress {
    shown: Option<Instant>,
    /// Characters of the line that stands on the terminal.
    width: usize,
}

impl Progress {
    /// Between two lines in a file or a pipe, and between two changes of a line on a terminal.
    const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_millis(100)];

    /// Shows a line, unless one was shown just now.
    pub(super) fn show(&mut self, text: &str) {
        let terminal = std::io::stderr().is_terminal();
        if self.shown.is_some_and(|shown| shown.elapsed() < Self::PAUSES[usize::from(terminal)]) {
            return;
        }
        self.shown = Some(Instant::now());
        if !terminal {
            error(text);
            return;
        }
        let width = text.chars().count();
        drop(write!(std::io::stderr().lock(), "\r{text:<0$}", self.width));
        self.width = width;
    }

    /// Takes the line off the terminal, so that another can be printed.
    pub(super) fn clear(&mut self) {
        if self.width > 0 {
            drop(write!(std::io::stderr().lock(), "\r{:<0$}\r", self.width));
            self.width = 0;
        }
    }
}
