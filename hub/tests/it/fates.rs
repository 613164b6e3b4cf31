//! Commands under kill -9 of the hub and of devices, all real processes: what the operator is told is what the devices did.
//!
//! Devices of three kinds take part, each with a memory and without: the client library (this test program, started again to
//! run [`a_device`]), simulated fleets that play every fault of commands ([`a_fleet`]), and a device in Python that was written
//! from `docs/protocol.md` alone (`worker.py`). All write down what they do before they tell it.
//! `COMMANDS=10000` sends more of them.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use client::Endpoint;
use client::backoff::BackoffConfig;
use client::device::{DeviceClient, DeviceConfig, DeviceEvent, draw_epoch};
use device_sim::deeds::{Deed, Did};
use device_sim::faults::{CommandFault, FaultPlan};
use device_sim::fleet::{Fleet, FleetConfig};
use device_sim::kinds::DeviceKind;
use protocol::command::{CommandState, DeviceCommandState};
use protocol::device::CommandUpdate;
use protocol::group::{MemberState, Tally};
use protocol::viewer::CommandInfo;
use protocol::{CommandId, DeviceId, Timestamp};
use serde_json::{Value as Json, json};
use store::CommandFilter;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::fleet::read_deeds;
use crate::harness::{DEADLINE, Role, TestHub, until};
use crate::python::{python, root};

/// Commands sent between two kills, groups aside.
const BURST: usize = 40;
/// The numbers of requests that are not for a command.
const CANCEL: u64 = 1_000_000;
const GROUP: u64 = 1_000_001;
/// Less than devices are late, and more than they are away.
const PATIENCE: &str = "[commands]\nanswer_seconds = 2\nend_seconds = 2\nsettle_seconds = 8\n";

/// A process with one device, or some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Client,
    Fleet,
    Python,
}

/// The processes, and whether each has a memory over a restart.
const PROCESSES: [(Kind, bool); 8] = [
    (Kind::Client, true),
    (Kind::Client, false),
    (Kind::Client, true),
    (Kind::Client, false),
    (Kind::Fleet, true),
    (Kind::Fleet, false),
    (Kind::Python, true),
    (Kind::Python, false),
];
/// Devices of a fleet.
const FLEET: usize = 3;

/// The devices, each with a command that it takes.
fn targets() -> Vec<(String, &'static str)> {
    let devices = |(number, (kind, _)): (usize, &(Kind, bool))| match kind {
        Kind::Client | Kind::Python => vec![(format!("d{number}"), "work")],
        Kind::Fleet => (1..=FLEET).map(|n| (format!("f{number}/pump-{n:02}"), "stop")).collect(),
    };
    PROCESSES.iter().enumerate().flat_map(devices).collect()
}

/// How a device that is told to do something does it: a number from the random part of the id.
fn chance(id: &str) -> u64 {
    u64::from_str_radix(&id[id.len() - 8..], 16).unwrap()
}

fn micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap()
}

fn short_waits() -> BackoffConfig {
    let (base, cap) = (Duration::from_millis(5), Duration::from_millis(50));
    BackoffConfig { base, cap, ..BackoffConfig::default() }
}

#[tokio::test]
#[ignore = "is run by the other test of this file, as a process of its own"]
async fn a_device() {
    let Ok(name) = std::env::var("FATES_DEVICE") else { return };
    let endpoint = Endpoint::new(&variable("FATES_HUB"), &variable("FATES_TOKEN")).unwrap();
    let hello = json!({"device": name, "epoch": draw_epoch().unwrap(), "commands": [{"name": "work"}]});
    let config = DeviceConfig {
        backoff: short_waits(),
        memory: std::env::var_os("FATES_MEMORY").map(Into::into),
        ..DeviceConfig::new(endpoint, serde_json::from_value(hello).unwrap())
    };
    let deeds = File::options().create(true).append(true).open(variable("FATES_DEEDS")).unwrap();
    let deeds = Arc::new(Mutex::new(deeds));
    let device = DeviceId::new(&name).unwrap();
    let note = move |command: &CommandId, did| {
        let deed = Deed { at: Timestamp(micros()), device: device.clone(), command: command.clone(), did };
        // One write, whole or not at all.
        let line = serde_json::to_string(&deed).unwrap() + "\n";
        deeds.lock().unwrap().write_all(line.as_bytes()).unwrap();
    };
    let (handle, mut events) = DeviceClient::spawn(config).unwrap();
    let mut work: HashMap<CommandId, CancellationToken> = HashMap::new();
    while let Some(event) = events.recv().await {
        match event {
            DeviceEvent::Command(request) => {
                let (handle, note, id) = (handle.clone(), note.clone(), request.id.clone());
                let stop = CancellationToken::new();
                work.insert(request.id, stop.clone());
                tokio::spawn(async move {
                    let chance = chance(id.as_str());
                    note(&id, Did::Begun);
                    let running = CommandUpdate::new(id.clone(), DeviceCommandState::Running);
                    handle.command_update(running).await.unwrap();
                    let (did, end) = tokio::select! {
                        () = stop.cancelled() => (Did::Stopped, DeviceCommandState::Cancelled),
                        () = tokio::time::sleep(Duration::from_millis(chance % 40)) => match chance % 5 {
                            0 => (Did::Failed, DeviceCommandState::Failed),
                            _ => (Did::Done, DeviceCommandState::Succeeded),
                        },
                    };
                    note(&id, did);
                    handle.command_update(CommandUpdate::new(id, end)).await.unwrap();
                });
            }
            DeviceEvent::Cancel(id) => work.entry(id).or_default().cancel(),
            _ => {}
        }
    }
}

#[tokio::test]
#[ignore = "is run by the other test of this file, as a process of its own"]
async fn a_fleet() {
    let Ok(name) = std::env::var("FATES_DEVICE") else { return };
    let faults = CommandFault::ALL.into_iter().map(|fault| match fault {
        // These cost the hub its patience each time.
        CommandFault::Overdue | CommandFault::Mute => (fault, 0.02),
        CommandFault::Late => (fault, 0.04),
        _ => (fault, 0.08),
    });
    let config = FleetConfig {
        kinds: vec![DeviceKind::Pump],
        prefix: format!("{name}/"),
        seed: variable("FATES_SEED").parse().unwrap(),
        batch_interval: Duration::from_millis(10),
        backoff: short_waits(),
        memory: std::env::var_os("FATES_MEMORY").map(Into::into),
        deeds: Some(variable("FATES_DEEDS").into()),
        faults: FaultPlan {
            commands: faults.collect(),
            command_time: Duration::from_millis(60),
            late: Duration::from_millis(2_500),
            ..FaultPlan::default()
        },
        ..FleetConfig::new(Endpoint::new(&variable("FATES_HUB"), &variable("FATES_TOKEN")).unwrap(), FLEET)
    };
    let _fleet = Fleet::start(&config).unwrap();
    std::future::pending::<()>().await;
}

fn start(hub: &TestHub, number: usize, seed: usize, folder: &Path) -> Child {
    let (kind, remembers) = PROCESSES[number];
    let (deeds, memory) = (folder.join("deeds"), folder.join(format!("memory-{number}")));
    let mut command;
    if kind == Kind::Python {
        command = python();
        command.arg(root().join("hub/tests/it/worker.py"));
        command.args([hub.url(), hub.token(Role::Fleet), format!("d{number}")]).arg(deeds);
        if remembers {
            command.arg(memory);
        }
    } else {
        command = Command::new(std::env::current_exe().unwrap());
        let (run, name) =
            if kind == Kind::Fleet { ("fates::a_fleet", "f") } else { ("fates::a_device", "d") };
        command
            .args(["--ignored", "--exact", run])
            .env("FATES_DEVICE", format!("{name}{number}"))
            .env("FATES_HUB", hub.url())
            .env("FATES_TOKEN", hub.token(Role::Fleet))
            .env("FATES_DEEDS", deeds)
            .env("FATES_SEED", seed.to_string());
        if remembers {
            if kind == Kind::Fleet {
                std::fs::create_dir_all(&memory).unwrap();
            }
            command.env("FATES_MEMORY", memory);
        }
    }
    let log = File::options().create(true).append(true).open(folder.join(format!("log-{number}"))).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn().unwrap()
}

/// Kills a process, which must not have ended by itself.
async fn kill(number: usize, device: &mut Child, folder: &Path) {
    let ended = device.try_wait().unwrap();
    device.kill().await.unwrap();
    let log = std::fs::read_to_string(folder.join(format!("log-{number}"))).unwrap();
    let broken = log.contains("panicked") || log.contains("Traceback");
    assert!(ended.is_none() && !broken, "{:?} {number} ended by itself: {ended:?}\n{log}", PROCESSES[number]);
}

/// Waits until every command and every group has ended: as long as one ends after the other.
async fn all_end(hub: &TestHub) {
    let groups = || hub.reader().groups(None, usize::MAX).unwrap();
    let left = || {
        let waiting: u32 = groups().iter().map(|group| group.tally.of(MemberState::Waiting)).sum();
        hub.reader().open_commands().unwrap().len() + waiting as usize
    };
    let mut before = left();
    while before > 0 {
        let ends = async {
            while left() >= before {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let ended = tokio::time::timeout(DEADLINE, ends).await.is_ok();
        assert!(ended, "these do not end: {:?}, {:?}", hub.reader().open_commands(), groups());
        before = left();
    }
    until("every group to end", async || groups().iter().all(|group| group.ended_at.is_some())).await;
}

/// What is wrong with what the operator was told of groups.
fn wrong_groups(hub: &TestHub, commands: &[CommandInfo]) -> Vec<String> {
    let mut wrong = Vec::new();
    for group in hub.reader().groups(None, usize::MAX).unwrap() {
        let members = hub.reader().members(&group.id, &[]).unwrap().unwrap();
        let mut tally = Tally::default();
        for member in members {
            tally.add(member.state, 1);
            let mut of = commands.iter().filter(|command| {
                command.group.as_ref() == Some(&group.id) && command.device == member.device
            });
            let (command, another) = (of.next(), of.next());
            let is = command.map_or(member.state, |command| MemberState::Issued(command.state));
            let issued = matches!(member.state, MemberState::Issued(_));
            if another.is_some() || is != member.state || issued != command.is_some() {
                wrong.push(format!("{member:?} of {group:?} has {command:?} and {another:?}"));
            }
        }
        if tally != group.tally {
            wrong.push(format!("{group:?} has {tally:?}"));
        }
    }
    wrong
}

/// What was done, in a word.
fn word(deeds: &[Deed]) -> &'static str {
    let did: Vec<Did> = deeds.iter().map(|deed| deed.did).collect();
    match did[..] {
        [] | [Did::Refused] => "nothing",
        [Did::Begun, Did::Done] => "all of it",
        [Did::Begun, Did::Failed] => "failed",
        [Did::Begun, Did::Stopped] => "stopped",
        [Did::Begun] | [Did::Begun, Did::Cut] => "a part",
        _ => "twice",
    }
}

/// The ends, each with what may have been done then.
const TRUE: [(CommandState, &[&str]); 6] = [
    (CommandState::Succeeded, &["all of it"]),
    (CommandState::Failed, &["failed"]),
    (CommandState::Rejected, &["nothing"]),
    (CommandState::Expired, &["nothing"]),
    (CommandState::Cancelled, &["nothing", "stopped"]),
    (CommandState::Unresolved, &["nothing", "a part", "stopped", "failed", "all of it"]),
];
const WORDS: [&str; 6] = ["nothing", "a part", "stopped", "failed", "all of it", "twice"];

#[tokio::test]
async fn i_14_what_the_operator_is_told_is_what_the_devices_did_however_often_all_are_killed() {
    let wanted: usize = std::env::var("COMMANDS").map_or(800, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut hub = TestHub::nowhere(&[]);
    std::fs::write(hub.data().join("hub.toml"), PATIENCE).unwrap();
    hub.launch().await;
    let mut devices: Vec<Child> = (0..PROCESSES.len()).map(|n| start(&hub, n, n, folder.path())).collect();
    let targets = targets();
    until("all devices to be known", async || hub.reader().stats().unwrap().devices == targets.len() as u64)
        .await;

    // The last that the operator was told of each command.
    let mut told: HashMap<String, Json> = HashMap::new();
    let mut sent = 0;
    while sent < wanted {
        let round = sent / BURST;
        let (mut operator, _) = hub.viewer(Role::Operator).await;
        // A group beside them, rolling or all at once; the hub is killed in the middle of it.
        operator
            .say(match round % 3 {
                0 => json!({"type": "send_group", "id": GROUP, "to": {"devices": ["d*"]}, "name": "work",
                            "at_once": 2}),
                1 => json!({"type": "send_group", "id": GROUP, "to": {"devices": ["f*"]}, "name": "stop"}),
                _ => json!({"type": "send_group", "id": GROUP, "to": {"devices": ["*"]}, "name": "work",
                            "at_once": 3, "stop_after": 2}),
            })
            .await;
        for n in sent..sent + BURST {
            let (device, name) = &targets[n % targets.len()];
            // Some have little time, some wait for those before them.
            let mut request = json!({"type": "send_command", "id": n, "device": device, "name": name});
            match n % 7 {
                0 => request["expires_in_ms"] = json!(1 + n % 50),
                1 => request["delivery"] = json!("after_received"),
                2 => request["delivery"] = json!("after_finished"),
                _ => {}
            }
            operator.say(request).await;
        }
        // Up to here, or a little less: it is killed in the middle of the rest.
        let mut answers = BURST + 1 - sent % 7;
        while answers > 0 {
            let message = operator.next().await;
            if let Some(id) = message["command"]["id"].as_str() {
                told.insert(id.to_owned(), message["command"].clone());
                if message["id"].as_u64().is_some_and(|n| n % 6 == 3) {
                    let cancel = json!({"type": "cancel_command", "id": CANCEL, "command": id});
                    operator.say(cancel).await;
                }
            }
            answers -= usize::from(message["id"].as_u64().is_some_and(|id| id != CANCEL));
        }
        let (device_dies, hub_dies) = [(false, true), (true, false), (true, true)][round % 3];
        let victim = round % PROCESSES.len();
        if device_dies {
            kill(victim, &mut devices[victim], folder.path()).await;
        }
        if hub_dies {
            hub.kill().await;
            hub.launch().await;
        }
        if device_dies {
            devices[victim] = start(&hub, victim, sent + victim, folder.path());
        }
        sent += BURST;
        // Room for the next: a device has at most 256 open commands.
        until("the queues to be short", async || hub.reader().open_commands().unwrap().len() < 400).await;
    }
    // Whoever has kept silent is asked again.
    for (number, device) in devices.iter_mut().enumerate() {
        kill(number, device, folder.path()).await;
        *device = start(&hub, number, sent + number, folder.path());
    }
    all_end(&hub).await;
    for (number, device) in devices.iter_mut().enumerate() {
        kill(number, device, folder.path()).await;
    }

    let deeds = read_deeds(&folder.path().join("deeds"));
    let commands = hub.reader().commands(&CommandFilter::default(), usize::MAX).unwrap();
    let mut table: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut wrong = wrong_groups(&hub, &commands);
    for command in &commands {
        let id = command.id.as_str();
        let done = deeds.get(id).map_or(&[][..], Vec::as_slice);
        let did = word(done);
        *table.entry((command.state.as_str(), did)).or_default() += 1;
        let allowed = TRUE.iter().find(|(state, _)| *state == command.state).map_or(&[][..], |(_, did)| did);
        if !allowed.contains(&did) {
            wrong.push(format!("told {}, and did {did} ({done:?}): {command:?}", command.state));
        }
        // A device learns the hub's time with each welcome, which may have been on its way for a while.
        let begun = done.iter().find(|deed| deed.did == Did::Begun).map_or(0, |deed| deed.at.0);
        if begun > command.expires_at.0 + 2_000_000 {
            wrong.push(format!("began at {begun}, after it expired: {command:?}"));
        }
        if let Some(told) = told.get(id) {
            let stored = serde_json::to_value(&command.transitions).unwrap();
            let (stored, told) = (stored.as_array().unwrap(), told["transitions"].as_array().unwrap());
            if !stored.starts_with(told) {
                wrong.push(format!("was told {told:?}, and stored is {command:?}"));
            }
        }
    }
    for id in deeds.keys().chain(told.keys()) {
        if !commands.iter().any(|command| command.id.as_str() == id) {
            wrong.push(format!("{id} was done or told, and is not known"));
        }
    }
    let groups = hub.reader().groups(None, usize::MAX).unwrap().len();
    println!("{} commands, some in {groups} groups; told, and what the devices did:", commands.len());
    println!("| | {} |\n|---|{}", WORDS.join(" | "), "---|".repeat(WORDS.len()));
    for (state, _) in TRUE {
        let counts = WORDS.map(|did| table.get(&(state.as_str(), did)).unwrap_or(&0).to_string());
        println!("| {state} | {} |", counts.join(" | "));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), commands.len(), wrong.join("\n"));
    assert!(commands.len() >= wanted * 3 / 4, "{} of {sent} were taken in", commands.len());
    for (cell, what) in [
        (("succeeded", "all of it"), "succeeds"),
        (("failed", "failed"), "fails"),
        (("rejected", "nothing"), "is rejected"),
        (("unresolved", "a part"), "is cut short"),
    ] {
        assert!(table.contains_key(&cell), "nothing {what}: {table:?}");
    }
    for device in ["d6", "d7"] {
        let succeeded = |c: &CommandInfo| c.device.as_str() == device && c.state == CommandState::Succeeded;
        assert!(commands.iter().any(succeeded), "Python's {device} did nothing");
    }
}
