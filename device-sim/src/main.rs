//! The command `device-sim`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use device_sim::cli::{Arguments, run};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            // Standard error is gone: nobody to tell.
            drop(writeln!(std::io::stderr().lock(), "device-sim: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
