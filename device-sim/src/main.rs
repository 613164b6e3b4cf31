//! The command `device-sim`.

use std::process::ExitCode;

use clap::Parser;
use device_sim::cli::{Arguments, run};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    run(Arguments::parse()).await
}
