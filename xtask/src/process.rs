//! Children: cargo, the hub, the fleet, the window. Each in a process group of its own, so that Ctrl-C in the terminal
//! reaches only xtask, which then ends them in order.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{root, say};

/// Whether Ctrl-C or SIGTERM came.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Watches for the signals from now on. A second one ends xtask at once.
    pub(crate) fn watch() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))?;
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Self(flag))
    }

    /// Whether it came.
    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs a command to its end and fails if it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?} cannot be started"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// `cargo` in the workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_ours(name)) {
        command.env_remove(name);
    }
    command
}

/// Whether cargo has set this variable for the program that it runs, which is this one. Some build scripts ask to be run
/// anew when such a variable changes: with them, each change between `cargo` and `cargo xtask` built half of everything.
fn is_ours(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// Where cargo puts a program. `profile` is `debug` or `release`.
pub(crate) fn program(profile: &str, name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join(profile).join(name)
}

/// A child that is ended, in order if it can be, when it is dropped.
pub(crate) struct Running {
    name: &'static str,
    child: Child,
}

impl Running {
    /// Starts a program in a process group of its own.
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("{name} cannot be started: {command:?}"))?;
        Ok(Self { name, child })
    }

    /// The same, with a way to read what it prints.
    pub(crate) fn start_piped(
        name: &'static str,
        command: &mut Command,
    ) -> Result<(Self, BufReader<ChildStdout>)> {
        let mut running = Self::start(name, command.stdout(Stdio::piped()))?;
        let lines = running.child.stdout.take().context("no output")?;
        Ok((running, BufReader::new(lines)))
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for it to end by itself.
    pub(crate) fn wait(mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// Sends a signal; a process that has ended does not mind.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, signal).unwrap_or_default();
        }
    }

    /// Asks it to stop, and kills it if it has not within `patience`.
    pub(crate) fn stop(mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM);
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        say(&format!("{} does not stop: killed", self.name));
        self.child.kill()?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// A hub that listens.
pub(crate) struct Hub {
    /// The process.
    pub(crate) running: Running,
    /// Its URL.
    pub(crate) url: String,
}

/// Starts a hub on `listen` with its log in `log`, and waits until it listens.
pub(crate) fn start_hub(profile: &str, data: &Path, listen: &str, log: &Path) -> Result<Hub> {
    std::fs::create_dir_all(data).with_context(|| format!("folder {}", data.display()))?;
    let file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("log {}", log.display()))?;
    let from = file.metadata()?.len();
    let mut command = Command::new(program(profile, "hub"));
    command.arg("serve").arg("--data").arg(data).args(["--listen", listen]).stderr(file);
    let mut running = Running::start("hub", &mut command)?;
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        if let Some(address) = listening_address(log, from)? {
            return Ok(Hub { running, url: format!("ws://{address}") });
        }
        if let Some(status) = running.ended()? {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let last = text.lines().last().unwrap_or("it said nothing");
            bail!("the hub did not start ({status}): {last}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("the hub does not listen after a minute: see {}", log.display())
}

/// Finds `hub is listening address=127.0.0.1:7878` in what the log has gained.
fn listening_address(log: &Path, from: u64) -> Result<Option<String>> {
    use std::io::{Seek as _, SeekFrom};
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(from))?;
    for line in BufReader::new(file).lines() {
        let line = line?;
        if let Some((_, rest)) = line.split_once("hub is listening")
            && let Some((_, rest)) = rest.split_once("address=")
            && let Some(address) = rest.split_whitespace().next()
        {
            return Ok(Some(address.to_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_not_told_which_program_started_it() {
        let removed: Vec<_> = cargo(&["build"])
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.to_owned())
            .collect();
        for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME"] {
            assert!(
                std::env::var_os(name).is_some() && removed.iter().any(|gone| gone == name),
                "{name}: {removed:?}"
            );
        }
        assert!(
            !removed.iter().any(|name| name == "CARGO_HOME" || name == "CARGO_TARGET_DIR"),
            "{removed:?}"
        );
    }
}
