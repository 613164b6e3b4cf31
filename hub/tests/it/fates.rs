//! Commands under kill -9 of the hub and of devices, all real processes: what the operator is told is what the devices did.
//!
//! A device is this test program, started again to run [`a_device`]; it writes down what it does before and after it does it.
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
use protocol::command::{CommandState, DeviceCommandState};
use protocol::device::CommandUpdate;
use serde_json::json;
use store::CommandFilter;
use tokio::process::{Child, Command};

use crate::harness::{Role, TestHub, until};

/// Devices; the first half of them keeps its memory over a restart.
const DEVICES: usize = 6;
/// Commands sent between two kills.
const BURST: usize = 40;

/// How a device that is told to do something does it: a number from the random part of the id.
fn chance(id: &str) -> u64 {
    u64::from_str_radix(&id[id.len() - 8..], 16).unwrap()
}

fn micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

#[tokio::test]
#[ignore = "is run by the other test of this file, as a process of its own"]
async fn a_device() {
    let Ok(name) = std::env::var("FATES_DEVICE") else { return };
    let variable = |name: &str| std::env::var(name).unwrap();
    let endpoint = Endpoint::new(&variable("FATES_HUB"), &variable("FATES_TOKEN")).unwrap();
    let hello = json!({"device": name, "epoch": draw_epoch().unwrap(), "commands": [{"name": "work"}]});
    let config = DeviceConfig {
        backoff: BackoffConfig {
            base: Duration::from_millis(5),
            cap: Duration::from_millis(50),
            ..BackoffConfig::default()
        },
        memory: std::env::var_os("FATES_MEMORY").map(Into::into),
        ..DeviceConfig::new(endpoint, serde_json::from_value(hello).unwrap())
    };
    let deeds = File::options().create(true).append(true).open(variable("FATES_DEEDS")).unwrap();
    let deeds = Arc::new(Mutex::new(deeds));
    let note = |deeds: &Mutex<File>, what: &str, id: &str| {
        // One write, whole or not at all.
        deeds.lock().unwrap().write_all(format!("{what} {id} {}\n", micros()).as_bytes()).unwrap();
    };
    let (handle, mut events) = DeviceClient::spawn(config).unwrap();
    while let Some(event) = events.recv().await {
        let DeviceEvent::Command(request) = event else { continue };
        let (handle, deeds) = (handle.clone(), Arc::clone(&deeds));
        tokio::spawn(async move {
            let id = request.id;
            let chance = chance(id.as_str());
            note(&deeds, "begun", id.as_str());
            handle.command_update(CommandUpdate::new(id.clone(), DeviceCommandState::Running)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(chance % 40)).await;
            let fails = chance.is_multiple_of(5);
            note(&deeds, if fails { "failed" } else { "done" }, id.as_str());
            let end = if fails { DeviceCommandState::Failed } else { DeviceCommandState::Succeeded };
            handle.command_update(CommandUpdate::new(id, end)).await.unwrap();
        });
    }
}

fn start_device(hub: &TestHub, number: usize, folder: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "fates::a_device"])
        .env("FATES_DEVICE", format!("d{number}"))
        .env("FATES_HUB", hub.url())
        .env("FATES_TOKEN", hub.token(Role::Fleet))
        .env("FATES_DEEDS", folder.join(format!("deeds-{number}")))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    if number < DEVICES / 2 {
        command.env("FATES_MEMORY", folder.join(format!("memory-{number}")));
    }
    command.spawn().unwrap()
}

/// What a device did with a command: how often it began, when last, and how it ended.
#[derive(Debug, Default, Clone)]
struct Deed {
    begun: u32,
    begun_at: i64,
    done: u32,
    failed: u32,
}

fn read_deeds(folder: &Path) -> HashMap<String, Deed> {
    let mut deeds: HashMap<String, Deed> = HashMap::new();
    for number in 0..DEVICES {
        let text = std::fs::read_to_string(folder.join(format!("deeds-{number}"))).unwrap_or_default();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let deed = deeds.entry(words[1].to_owned()).or_default();
            match words[0] {
                "begun" => (deed.begun, deed.begun_at) = (deed.begun + 1, words[2].parse().unwrap()),
                "done" => deed.done += 1,
                _ => deed.failed += 1,
            }
        }
    }
    deeds
}

#[tokio::test]
async fn i_14_what_the_operator_is_told_is_what_the_devices_did_however_often_all_are_killed() {
    let wanted: usize = std::env::var("COMMANDS").map_or(800, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut hub = TestHub::process(&[]).await;
    let mut devices: Vec<Child> = (0..DEVICES).map(|n| start_device(&hub, n, folder.path())).collect();
    until("all devices to be known", async || hub.reader().stats().unwrap().devices == DEVICES as u64).await;

    let mut sent = 0;
    while sent < wanted {
        let (mut operator, _) = hub.viewer(Role::Operator).await;
        for n in sent..sent + BURST {
            // Some have little time, some wait for those before them.
            let mut request = json!({"type": "send_command", "id": n, "device": format!("d{}", n % DEVICES),
                                     "name": "work"});
            match n % 7 {
                0 => request["expires_in_ms"] = json!(1 + n % 50),
                1 => request["delivery"] = json!("after_received"),
                2 => request["delivery"] = json!("after_finished"),
                _ => {}
            }
            operator.say(request).await;
        }
        // Up to here, or a little less: it is killed in the middle of the rest.
        let mut answers = BURST - sent % 7;
        while answers > 0 {
            answers -= usize::from(operator.next().await["id"].is_u64());
        }
        match (sent / BURST) % 3 {
            0 => {
                hub.kill().await;
                hub.launch().await;
            }
            1 => {
                let number = (sent / BURST / 3) % DEVICES;
                devices[number].kill().await.unwrap();
                devices[number] = start_device(&hub, number, folder.path());
            }
            _ => {
                let both = (sent / BURST) % DEVICES;
                devices[both].kill().await.unwrap();
                hub.kill().await;
                hub.launch().await;
                devices[both] = start_device(&hub, both, folder.path());
            }
        }
        sent += BURST;
        // Room for the next: a device has at most 256 open commands.
        until("the queues to be short", async || hub.reader().open_commands().unwrap().len() < 400).await;
    }
    until("every command to end", async || hub.reader().open_commands().unwrap().is_empty()).await;
    for device in &mut devices {
        device.kill().await.unwrap();
    }

    let deeds = read_deeds(folder.path());
    let commands = hub.reader().commands(&CommandFilter::default(), usize::MAX).unwrap();
    for id in deeds.keys() {
        assert!(commands.iter().any(|command| command.id.as_str() == id), "{id} was done and is not known");
    }
    let mut table: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for command in &commands {
        let deed = deeds.get(command.id.as_str()).cloned().unwrap_or_default();
        let did = match (deed.begun, deed.done, deed.failed) {
            (0, 0, 0) => "nothing",
            (1, 1, 0) => "all of it",
            (1, 0, 1) => "failed",
            (1, 0, 0) => "a part",
            _ => panic!("{} was done twice: {deed:?}", command.id),
        };
        // A device learns the hub's time with each welcome, which may have been on its way for a while.
        assert!(deed.begun_at <= command.expires_at.0 + 2_000_000, "{command:?} began at {}", deed.begun_at);
        let holds = match command.state {
            CommandState::Succeeded => did == "all of it",
            CommandState::Failed => did == "failed",
            CommandState::Rejected | CommandState::Expired | CommandState::Cancelled => did == "nothing",
            CommandState::Unresolved => true,
            state => panic!("{} has not ended: {state}", command.id),
        };
        assert!(holds, "told {}, and the device did {did}: {command:?}", command.state);
        *table.entry((command.state.as_str(), did)).or_default() += 1;
    }
    println!("{} commands, told and done: {table:?}", commands.len());
    assert!(commands.len() >= wanted * 3 / 4, "{} of {sent} were taken in", commands.len());
    assert!(table.contains_key(&("succeeded", "all of it")), "{table:?}");
}
