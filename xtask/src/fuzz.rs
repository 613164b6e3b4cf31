//! `cargo xtask fuzz`: hostile bytes for everything that reads bytes, for as long as one likes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

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
/// What one input may take, in seconds of the wall clock. The library knows no other, so a machine that is busy or stopped
/// counts too: whatever took longer is tried again alone.
const TIMEOUT: u32 = 20;

/// What to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// block, messages, session, upgrade, config, database or log [default: each in turn]
    target: Option<String>,
    /// Seconds for each target. The first time, building them takes minutes more
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    seconds: u64,
}

/// What came of a target.
struct Outcome {
    name: &'static str,
    /// Inputs that were tried, as the library says at its end.
    executions: Option<u64>,
    /// What to say of it; `None`: nothing was found.
    found: Option<String>,
}

/// Fuzzes. What is found lies in `fuzz/artifacts`, and the line that repeats it is printed. The exit code is 0 only if nothing
/// was found in any target.
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
    say("building, with the instruments of the compiler: minutes the first time");
    let mut build = fuzz(&["build", "--fuzz-dir", "fuzz"]);
    run(build.args(args.target.as_deref()))?;
    let mut outcomes = Vec::new();
    for (name, seeds) in chosen {
        say(&format!("fuzzing {name} for {} s", args.seconds));
        let outcome = run_target(name, seeds, args.seconds)?;
        if let Some(found) = &outcome.found {
            say(&format!("{name}: {found}"));
        }
        outcomes.push(outcome);
    }
    for Outcome { name, executions, found } in &outcomes {
        let executions = executions.map_or_else(|| "?".to_owned(), |count| count.to_string());
        say(&format!(
            "{name:<9} {executions:>12} executions  {}",
            found.as_deref().unwrap_or("nothing found")
        ));
    }
    let is_clean = outcomes.iter().all(|outcome| outcome.found.is_none());
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `cargo fuzz`. The instruments of the compiler are not for the stable toolchain, but work there.
fn fuzz(args: &[&str]) -> Command {
    let mut command = cargo(&["fuzz"]);
    command.args(args).env("RUSTC_BOOTSTRAP", "1");
    command
}

/// The flags of the library for a target.
fn flags(name: &str, command: &mut Command) {
    command.args(["--", &format!("-timeout={TIMEOUT}"), "-rss_limit_mb=1024", "-print_final_stats=1"]);
    if ["session", "upgrade"].contains(&name) {
        // The threads of a hub go on from input to input: what they hold in between is no leak.
        command.arg("-detect_leaks=0");
    }
}

fn run_target(name: &'static str, seeds: &str, seconds: u64) -> Result<Outcome> {
    let corpus = format!("fuzz/corpus/{name}");
    std::fs::create_dir_all(root().join(&corpus))?;
    // What is found goes into the first folder, which is not kept in the repository.
    let mut command = fuzz(&["run", "--fuzz-dir", "fuzz", name, &corpus, seeds]);
    flags(name, &mut command);
    command.arg(format!("-max_total_time={seconds}"));
    let (status, said) = listen(&mut command)?;
    let executions = number(&said, "stat::number_of_executed_units:");
    if status {
        return Ok(Outcome { name, executions, found: None });
    }
    let Some(artifact) = artifact(&said) else {
        let found = "it ended without saying what it found: see above".to_owned();
        return Ok(Outcome { name, executions, found: Some(found) });
    };
    let again = format!("RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir fuzz {name} {}", artifact.display());
    if artifact.file_name().is_some_and(|file| file.to_string_lossy().starts_with("timeout-")) {
        let mut command = fuzz(&["run", "--fuzz-dir", "fuzz", name]);
        command.arg(&artifact);
        flags(name, &mut command);
        if listen(&mut command)?.0 {
            say(&format!(
                "{name}: an input took more than {TIMEOUT} s, and alone does not: the machine was busy or stopped. It is kept: {again}"
            ));
            return Ok(Outcome { name, executions, found: None });
        }
    }
    Ok(Outcome { name, executions, found: Some(format!("FOUND SOMETHING. To see it again: {again}")) })
}

/// Runs a command, and passes on what it says to standard error while listening. Returns whether it succeeded, and its last
/// lines.
fn listen(command: &mut Command) -> Result<(bool, Vec<String>)> {
    const KEPT: usize = 400;
    let mut child =
        command.stderr(Stdio::piped()).spawn().with_context(|| format!("{command:?} cannot be started"))?;
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let mut lines = BufReader::new(stderr);
        let mut line = Vec::new();
        // The library prints inputs as they are, so not all of it need be text.
        while lines.read_until(b'\n', &mut line)? > 0 {
            drop(std::io::stderr().lock().write_all(&line));
            if said.len() >= KEPT {
                said.remove(0);
            }
            said.push(String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
        }
    }
    Ok((child.wait()?.success(), said))
}

/// The number after these words.
fn number(said: &[String], words: &str) -> Option<u64> {
    said.iter().rev().find_map(|line| line.strip_prefix(words)?.trim().parse().ok())
}

/// The file in which the library kept what it found.
fn artifact(said: &[String]) -> Option<PathBuf> {
    const WORDS: &str = "Test unit written to ";
    said.iter().rev().find_map(|line| Some(PathBuf::from(line.split_once(WORDS)?.1.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_library_says_at_its_end_is_understood() {
        let said = [
            "artifact_prefix='/work/fuzz/artifacts/log/'; Test unit written to /work/fuzz/artifacts/log/timeout-11",
            "stat::number_of_executed_units: 4711",
            "stat::average_exec_per_sec:     12",
        ]
        .map(str::to_owned);
        assert_eq!(number(&said, "stat::number_of_executed_units:"), Some(4_711));
        assert_eq!(number(&said, "stat::new_units_added:"), None);
        assert_eq!(artifact(&said), Some(PathBuf::from("/work/fuzz/artifacts/log/timeout-11")));
        assert_eq!(artifact(&said[1..]), None);
    }

    #[test]
    fn what_is_listened_to_is_passed_on_with_its_end() {
        let mut shell = Command::new("sh");
        let (ended_well, said) =
            listen(shell.args(["-c", "printf 'one\\n\\377two\\n' >&2; exit 3"])).expect("a shell");
        assert!(!ended_well);
        assert_eq!(said, ["one", "\u{fffd}two"]);
    }

    #[test]
    fn every_target_has_seeds_and_is_built() {
        let manifest = std::fs::read_to_string(root().join("fuzz/Cargo.toml")).expect("the manifest");
        for (name, seeds) in TARGETS {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            let count = std::fs::read_dir(root().join(seeds)).expect(seeds).count();
            assert!(count > 0, "{name} has no seeds in {seeds}");
        }
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    }
}
