//! The command `device-sim`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use device_sim::cli::{Arguments, is_bad_usage, run};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            // Standard error is gone: nobody to tell.
            drop(writeln!(std::io::stderr().lock(), "device-sim: {error:#}"));
            if is_bad_usage(&error) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
