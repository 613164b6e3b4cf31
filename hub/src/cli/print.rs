//! The one place of the hub that writes to the terminal.

use std::io::Write as _;

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
