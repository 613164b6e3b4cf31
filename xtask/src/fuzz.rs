//! `cargo xtask fuzz`: hostile bytes for everything that reads bytes, for as long as one likes.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Result, bail};

use crate::packages::{self, Need};
use crate::process::{cargo, run};
use crate::{root, say};

/// The C++ compiler, for the library that draws the bytes.
const NEEDS: &[Need] = &[Need { thing: "g++", package: "g++" }];
/// The targets, each with the folder of its seeds.
const TARGETS: &[(&str, &str)] = &[
    ("block", "fuzz/seeds/block"),
    ("messages", "protocol/tests/golden"),
    ("session", "fuzz/seeds/session"),
    ("upgrade", "fuzz/seeds/upgrade"),
    ("config", "fuzz/seeds/config"),
    ("database", "fuzz/seeds/database"),
    ("log", "fuzz/seeds/log"),
];

/// What to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// block, messages, session, upgrade, config, database or log [default: each in turn]
    target: Option<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Fuzzes. What is found lies in `fuzz/artifacts`, and the line that repeats it is printed.
pub(crate) fn run_targets(args: &Args) -> Result<ExitCode> {
    let chosen: Vec<_> =
        TARGETS.iter().filter(|(name, _)| args.target.as_ref().is_none_or(|target| target == name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        bail!("no such target: there are {}", names.join(", "));
    }
    packages::ensure("fuzzing", NEEDS)?;
    let mut version = cargo(&["fuzz", "--version"]);
    if !version.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        say("cargo-fuzz is not here: cargo install cargo-fuzz --locked");
        run(&mut cargo(&["install", "cargo-fuzz", "--locked"]))?;
    }
    for (name, seeds) in chosen {
        say(&format!("fuzzing {name} for {} s", args.seconds));
        let corpus = format!("fuzz/corpus/{name}");
        std::fs::create_dir_all(root().join(&corpus))?;
        // What is found goes into the first folder, which is not kept in the repository.
        let mut fuzz: Command = cargo(&["fuzz", "run", "--fuzz-dir", "fuzz", name, &corpus, seeds, "--"]);
        fuzz.args(["-timeout=20", "-rss_limit_mb=1024", "-print_final_stats=1"]);
        fuzz.arg(format!("-max_total_time={}", args.seconds));
        if ["session", "upgrade"].contains(name) {
            // The threads of a hub go on from input to input: what they hold in between is no leak.
            fuzz.arg("-detect_leaks=0");
        }
        // The instruments of the compiler are not for the stable toolchain, but work there.
        run(fuzz.env("RUSTC_BOOTSTRAP", "1"))?;
    }
    Ok(ExitCode::SUCCESS)
}
