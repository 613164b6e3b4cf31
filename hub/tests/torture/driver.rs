//! Cycle after cycle: start the hub, let the devices send, kill it, and now and then compare everything.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::RwLock;
use tokio::task::{JoinHandle, block_in_place};

use crate::age::{is_old, make_old};
use crate::check::{Found, check};
use crate::content::mix;
use crate::device::{World, live};
use crate::oracle::Account;
use crate::process::{Ended, Process, Trap, program};

/// The longest that a start may take: far above what it takes on a busy machine.
const START: Duration = Duration::from_secs(60);
/// Kills between two comparisons of everything.
const CHECK_EVERY: u64 = 5;
/// The longest that a hub runs before it is killed, in milliseconds.
const RUN_MAX: u64 = 900;

/// What is done, and how often.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) cycles: u64,
    pub(crate) seed: u64,
    pub(crate) connections: u64,
    /// Readings after which a new database is begun, so that checking does not take all the time.
    pub(crate) readings_max: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    cycles: u64,
    /// Kills by what the hub was doing.
    kills: BTreeMap<String, u64>,
    databases: u64,
    aged: u64,
    backups: u64,
    backups_killed: u64,
    checks: u64,
    reboots: u64,
    again: u64,
    sent: u64,
    acked: u64,
    stored: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    slowest_start: Duration,
    took: Duration,
    pub(crate) problems: Vec<String>,
    /// Where the database was kept because of them.
    pub(crate) kept: Option<PathBuf>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| killed while | times |\n|---|---|")?;
        for (work, times) in &self.kills {
            writeln!(f, "| {work} | {times} |")?;
        }
        writeln!(f, "\n| | |\n|---|---|")?;
        for (what, number) in [
            ("cycles", self.cycles),
            ("databases", self.databases),
            ("databases made old, to be migrated", self.aged),
            ("comparisons of everything", self.checks),
            ("backups, each compared", self.backups),
            ("backups killed before they had their name", self.backups_killed),
            ("reboots of devices", self.reboots),
            ("batches sent again", self.again),
            ("readings sent", self.sent),
            ("readings acknowledged", self.acked),
            ("readings stored", self.stored),
            ("readings doubled", self.doubled),
            ("readings lost", self.lost),
            ("other problems", self.problems.len() as u64),
        ] {
            writeln!(f, "| {what} | {number} |")?;
        }
        writeln!(f, "| slowest start | {} ms |", self.slowest_start.as_millis())?;
        writeln!(f, "| seconds | {} |", self.took.as_secs())?;
        for problem in &self.problems {
            writeln!(f, "problem: {problem}")?;
        }
        if let Some(kept) = &self.kept {
            writeln!(f, "the database and what the hub said are kept in {}", kept.display())?;
        }
        Ok(())
    }
}

/// How a hub is killed.
enum Plan {
    /// So long after it was started, whatever it has come to.
    Starting(Duration),
    /// So long after it began to listen.
    Running(Duration),
    /// While it does this, or after all that time.
    Working(Trap),
    /// So long after it was asked to stop.
    Stopping(Duration, Duration),
}

/// Pieces of work that are rare: the hub is killed in them on purpose.
const RARE: &[&str] =
    &["gather", "write blocks", "delete sealed", "merge bundles", "merge", "checkpoint", "retain", "shrink"];

/// What retention may take; the checker knows ([`may_go`](crate::content::may_go)). Hardly any time, as it is that in
/// which the hub has run which counts.
const RETENTION: &str = "[[retention.rule]]\nmetric = \"mode\"\nkeep = \"1s\"\n";

/// For tests in which retention must take nothing, whatever the clock on the wall says: no hub of theirs runs that long.
pub(crate) const KEEP_ALL: &str = "[[retention.rule]]\nkeep = \"30d\"\n";

/// A `hub.toml` for every database, instead of one with [`RETENTION`].
fn configuration() -> String {
    std::env::var_os("TORTURE_CONFIG").map_or(RETENTION.into(), |file| std::fs::read_to_string(file).unwrap())
}

struct Chance {
    seed: u64,
    draws: u64,
}

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.draws += 1;
        mix([self.seed, self.draws, 4]) % n
    }

    fn plan_migration(&mut self) -> Plan {
        Plan::Working(Trap { work: "migrate", times: 1, delay: Duration::from_micros(self.below(20_000)) })
    }

    fn plan(&mut self, usual_start: Duration) -> Plan {
        // Within the piece of work, or some pieces later.
        let most = [300, 4_000][self.below(2) as usize];
        let run = Duration::from_millis(100 + self.below(RUN_MAX - 100));
        match self.below(10) {
            0..=2 => {
                let most = usual_start.as_micros() as u64 * 5 / 4 + 5_000;
                Plan::Starting(Duration::from_micros(self.below(most)))
            }
            3..=4 => Plan::Running(run),
            5 => Plan::Stopping(run, Duration::from_micros(self.below(60_000))),
            _ => Plan::Working(Trap {
                work: RARE[self.below(RARE.len() as u64) as usize],
                times: 1 + self.below(3) as u32,
                delay: Duration::from_micros(self.below(most)),
            }),
        }
    }
}

/// A database, the devices that fill it, and the oracle.
pub(crate) struct Stage {
    pub(crate) folder: TempDir,
    pub(crate) accounts: Vec<Arc<Mutex<Account>>>,
    pub(crate) world: Arc<World>,
    devices: Vec<JoinHandle<()>>,
    /// Readings that retention took, of which the database has no account any more.
    forgotten: u64,
}

impl Stage {
    /// An empty folder, and devices that look for a hub.
    pub(crate) fn open(
        connections: u64,
        seed: u64,
        address: Option<SocketAddr>,
        steady: bool,
        settings: &str,
    ) -> Self {
        let folder =
            tempfile::Builder::new().prefix("torture-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::write(folder.path().join("hub.toml"), settings).unwrap();
        let world = Arc::new(World {
            gate: RwLock::new(()),
            address: Mutex::new(address),
            token: folder.path().join(protocol::local::FLEET_TOKEN_FILE),
            steady,
            over: AtomicBool::new(false),
        });
        let accounts: Vec<_> =
            (0..connections).map(|device| Arc::new(Mutex::new(Account::new(device)))).collect();
        let devices = accounts
            .iter()
            .map(|account| tokio::spawn(live(Arc::clone(account), Arc::clone(&world), seed)))
            .collect();
        Self { folder, accounts, world, devices, forgotten: 0 }
    }

    pub(crate) fn data(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.data().join(protocol::local::DATABASE_FILE)
    }

    /// Copies of the accounts. While devices are connected these move on.
    pub(crate) fn accounts(&self) -> Vec<Account> {
        self.accounts.iter().map(|account| account.lock().unwrap().clone()).collect()
    }

    /// Readings acknowledged so far.
    pub(crate) fn acked(&self) -> u64 {
        self.accounts().iter().map(|account| account.readings().1).sum()
    }

    /// Sends the devices home.
    pub(crate) async fn close(&mut self) {
        self.world.over.store(true, Ordering::Relaxed);
        for device in self.devices.drain(..) {
            device.await.unwrap();
        }
    }

    /// Starts a hub.
    pub(crate) fn start(&self, trap: Option<Trap>) -> Process {
        Process::start(self.data(), *self.world.address.lock().unwrap(), &[], &[], trap)
    }

    /// Starts a hub under another program, or in another environment.
    pub(crate) fn start_under(&self, under: &[String], environment: &[(String, String)]) -> Process {
        Process::start(self.data(), *self.world.address.lock().unwrap(), under, environment, None)
    }

    /// Waits until the hub listens, and tells the devices where.
    pub(crate) fn listens(&self, hub: &Process) -> Option<Duration> {
        let (address, took) = block_in_place(|| hub.listens(START))?;
        *self.world.address.lock().unwrap() = Some(address);
        Some(took)
    }
}

/// A backup that is made while the hub runs, is killed, or starts again.
struct Backup {
    program: Child,
    /// What was acknowledged when it began must be in it.
    before: Vec<Account>,
}

impl Backup {
    fn file(stage: &Stage) -> PathBuf {
        stage.data().join("backup.db")
    }

    /// Begins one as soon as there is a hub that listens.
    fn of(stage: &Stage) -> Self {
        let before = stage.accounts();
        let mut command = Command::new(program());
        command
            .env_clear()
            .arg("backup")
            .arg(Self::file(stage))
            .args(["--full-speed", "--data"])
            .arg(stage.data());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { program: command.spawn().unwrap(), before }
    }

    /// Kills it after some time. A backup that has its name must be whole; what was acknowledged before it began must be
    /// in it, and nothing that was not sent.
    fn compare(mut self, stage: &Stage, patience: Duration, report: &mut Report) {
        let until = Instant::now() + patience;
        while self.program.try_wait().unwrap().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.program.kill().unwrap();
        let status = self.program.wait().unwrap();
        let file = Self::file(stage);
        if !file.exists() {
            report.backups_killed += u64::from(status.code().is_none());
            if status.success() {
                report.problems.push("a backup ended well and is not there".into());
            }
            return;
        }
        report.backups += 1;
        let mut accounts = stage.accounts();
        for (now, before) in accounts.iter_mut().zip(&self.before) {
            for (place, epoch) in now.epochs.iter_mut().enumerate() {
                epoch.acked = before.epochs.get(place).map_or(0, |epoch| epoch.acked);
            }
        }
        match check(&file, &accounts, stage.forgotten) {
            Ok(found) => report.problems.extend(found.problems.iter().map(|p| format!("in the backup: {p}"))),
            Err(error) => report.problems.push(format!("the backup cannot be read: {error}")),
        }
        std::fs::remove_file(&file).unwrap();
    }
}

/// Tortures the hub.
pub(crate) async fn run(settings: &Settings, say: impl Fn(&str)) -> Report {
    let begun = Instant::now();
    let mut report = Report::default();
    let configuration = configuration();
    let mut chance = Chance { seed: settings.seed, draws: 0 };
    let mut address = None;
    let mut usual_start = Duration::from_millis(50);
    while report.cycles < settings.cycles && report.problems.is_empty() {
        let chances = mix([settings.seed, report.databases, 5]);
        let mut stage = Stage::open(settings.connections, chances, address, false, &configuration);
        report.databases += 1;
        let mut logs: Vec<Ended> = Vec::new();
        let mut old = false;
        loop {
            let plan = if old { chance.plan_migration() } else { chance.plan(usual_start) };
            let backup = (chance.below(4) == 0).then(|| Backup::of(&stage));
            let ended = cycle(&stage, &plan, &mut report, &mut usual_start);
            report.cycles += 1;
            if ended.log.iter().any(|line| line.contains("ERROR") || line.contains("panicked")) {
                report.problems.push("the hub's log has an error".into());
            }
            logs.push(ended);
            // Killed in the middle of it, or before: it is still to be migrated.
            old = old && is_old(&stage.database());
            // From here on no device is connected.
            let quiet = stage.world.gate.write().await;
            if let Some(backup) = backup {
                let patience = Duration::from_millis([0, 5_000][chance.below(2) as usize]);
                block_in_place(|| backup.compare(&stage, patience, &mut report));
            }
            let over = report.cycles >= settings.cycles || stage.acked() > settings.readings_max;
            if over || report.cycles.is_multiple_of(CHECK_EVERY) || !report.problems.is_empty() {
                report.checks += 1;
                let (found, ended) = compare(&stage);
                logs.push(ended);
                report.problems.extend(found.problems);
                if over || !report.problems.is_empty() {
                    report.stored += found.stored;
                    report.lost += found.lost;
                    report.doubled += found.doubled;
                    drop(quiet);
                    break;
                }
                if report.aged == 0 || chance.below(4) == 0 {
                    stage.forgotten += block_in_place(|| make_old(&stage.database()));
                    report.aged += 1;
                    old = true;
                }
                say(&format!(
                    "{} of {} cycles, {} readings in this database",
                    report.cycles, settings.cycles, found.stored
                ));
            }
        }
        stage.close().await;
        address = *stage.world.address.lock().unwrap();
        for account in stage.accounts() {
            let (sent, acked) = account.readings();
            report.sent += sent;
            report.acked += acked;
            report.again += account.again;
            if account.full + account.failed > 0 {
                report.problems.push(format!("{}: the disk is full, or has failed", account.id()));
            }
            report.reboots += account.epochs.len() as u64 - 1;
        }
        if !report.problems.is_empty() {
            let log: Vec<String> = logs
                .iter()
                .flat_map(|ended| [&ended.log[..], &[format!("{:?}", ended.status)]].concat())
                .collect();
            std::fs::write(stage.data().join("hub.log"), log.join("\n")).unwrap();
            report.kept = Some(stage.folder.keep());
        }
    }
    report.took = begun.elapsed();
    report
}

/// One life of the hub.
fn cycle(stage: &Stage, plan: &Plan, report: &mut Report, usual_start: &mut Duration) -> Ended {
    let trap = if let Plan::Working(trap) = plan { Some(*trap) } else { None };
    let hub = stage.start(trap);
    if let Plan::Starting(after) = plan {
        block_in_place(|| std::thread::sleep(*after));
    } else if let Some(took) = stage.listens(&hub) {
        report.slowest_start = report.slowest_start.max(took);
        *usual_start = (*usual_start * 3 + took) / 4;
    }
    let mut stopping = false;
    match plan {
        Plan::Starting(_) => {}
        Plan::Running(time) => block_in_place(|| std::thread::sleep(*time)),
        Plan::Working(_) => {
            block_in_place(|| hub.wait(Duration::from_millis(RUN_MAX)));
        }
        Plan::Stopping(time, after) => {
            block_in_place(|| std::thread::sleep(*time));
            hub.terminate();
            stopping = true;
            block_in_place(|| hub.wait(*after));
        }
    }
    let ended = block_in_place(|| hub.kill());
    let killed = std::os::unix::process::ExitStatusExt::signal(&ended.status) == Some(9);
    let work = match &ended.work {
        _ if !killed && stopping => "(it had stopped in order before)",
        _ if !killed => {
            report.problems.push(format!("the hub ended by itself: {}", ended.status));
            "(it ended by itself)"
        }
        None => "start and recovery",
        Some(_) if stopping => "stop",
        Some(work) => work,
    };
    *report.kills.entry(work.to_owned()).or_default() += 1;
    ended
}

/// Starts the hub with no device connected, compares everything with the oracle, and stops it in order.
pub(crate) fn compare(stage: &Stage) -> (Found, Ended) {
    let mut hub = stage.start(None);
    let listens = stage.listens(&hub);
    let mut found = block_in_place(|| check(&stage.database(), &stage.accounts(), stage.forgotten))
        .unwrap_or_else(|error| Found {
            problems: vec![format!("the database cannot be read: {error}")],
            ..Found::default()
        });
    hub.terminate();
    let ended = block_in_place(|| hub.end());
    if listens.is_none() || !ended.status.success() {
        found.problems.push(format!("the hub did not start and stop in order: {}", ended.status));
    }
    (found, ended)
}
