//! The `hub` program.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    hub::cli::run(hub::cli::Cli::parse())
}
