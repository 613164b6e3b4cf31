//! The simulated fleet against the real hub: whatever is played with a command, the operator is told what became of it.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use client::{BackoffConfig, Endpoint};
use device_sim::deeds::{Deed, Did};
use device_sim::faults::{CommandFault, FaultPlan};
use device_sim::fleet::{Fleet, FleetConfig};
use device_sim::kinds::DeviceKind;
use protocol::command::CommandState;
use protocol::viewer::CommandInfo;
use protocol::{CommandId, DeviceId};
use serde_json::json;

use crate::harness::{Role, TestHub, until};

/// What devices wrote down, in order.
pub(crate) fn read_deeds(path: &Path) -> HashMap<String, Vec<Deed>> {
    let mut deeds: HashMap<String, Vec<Deed>> = HashMap::new();
    for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
        let deed: Deed = serde_json::from_str(line).unwrap();
        deeds.entry(deed.command.to_string()).or_default().push(deed);
    }
    deeds
}

/// A fleet of one pump that plays one fault with every command.
fn pump(hub: &TestHub, fault: CommandFault, name: &str, memory: bool) -> (DeviceId, Fleet) {
    let config = FleetConfig {
        kinds: vec![DeviceKind::Pump],
        prefix: format!("{name}/"),
        batch_interval: Duration::from_millis(50),
        backoff: BackoffConfig { cap: Duration::from_millis(100), ..BackoffConfig::default() },
        memory: memory.then(|| hub.data().to_owned()),
        deeds: Some(hub.data().join("deeds")),
        faults: FaultPlan {
            commands: vec![(fault, 1.0)],
            command_time: Duration::from_millis(700),
            // Longer than the hub's patience.
            late: Duration::from_secs(5),
            ..FaultPlan::default()
        },
        ..FleetConfig::new(Endpoint::new(&hub.url(), &hub.token(Role::Fleet)).unwrap(), 1)
    };
    let fleet = Fleet::start(&config).unwrap();
    (fleet.devices()[0].0.clone(), fleet)
}

fn find(hub: &TestHub, id: &str) -> CommandInfo {
    hub.reader().command(&CommandId::new(id).unwrap()).unwrap().unwrap()
}

#[tokio::test]
async fn whatever_a_fleet_plays_with_a_command_the_operator_is_told_what_became_of_it() {
    use CommandFault as F;
    use Did::{Begun, Cut, Done, Failed, Refused};
    let mut hub = TestHub::nowhere(&[]);
    std::fs::write(hub.data().join("hub.toml"), "[commands]\nend_seconds = 2\nsettle_seconds = 20\n")
        .unwrap();
    hub.launch().await;
    // The fault, whether the device keeps a memory, what the operator is told, with which code, and what was done.
    let cases: [(F, bool, &str, &str, &[Did]); 10] = [
        (F::Slow, false, "succeeded", "", &[Begun, Done]),
        (F::Fail, false, "failed", "fault_played", &[Begun, Failed]),
        (F::Reject, false, "rejected", "refusal_played", &[Refused]),
        (F::Disconnect, false, "succeeded", "", &[Begun, Done]),
        (F::PowerCut, false, "unresolved", "forgotten", &[Begun, Cut]),
        (F::PowerCut, true, "unresolved", "interrupted", &[Begun, Cut]),
        (F::Late, false, "succeeded", "", &[Begun, Done]),
        (F::Overdue, false, "succeeded", "", &[Begun, Done]),
        (F::Twice, false, "succeeded", "", &[Begun, Done]),
        (F::Mute, false, "unresolved", "timeout", &[Begun, Done]),
    ];
    let mut fleets = Vec::new();
    for (fault, memory, ..) in cases {
        fleets.push(pump(&hub, fault, &format!("{}-{memory}", fault.as_str()), memory));
    }
    until("the pumps to be known", async || hub.reader().stats().unwrap().devices == cases.len() as u64)
        .await;
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    let mut ids = Vec::new();
    for (n, (device, _)) in fleets.iter().enumerate() {
        operator.say(json!({"type": "send_command", "id": n, "device": device, "name": "stop"})).await;
        let answer = loop {
            let message = operator.next().await;
            if message["id"] == n {
                break message;
            }
        };
        ids.push(answer["command"]["id"].as_str().unwrap().to_owned());
    }
    until("every command to end", async || hub.reader().open_commands().unwrap().is_empty()).await;
    // What is said after the hub's patience counts all the same.
    until("what is said late", async || {
        ids.iter().zip(&cases).all(|(id, (_, _, state, ..))| find(&hub, id).state.as_str() == *state)
    })
    .await;
    for (n, (fault, memory, state, code, did)) in cases.into_iter().enumerate() {
        let deeds = read_deeds(&hub.data().join("deeds"));
        let told = find(&hub, &ids[n]);
        let what = format!("{} with memory {memory}: {told:?}", fault.as_str());
        assert_eq!(told.state.as_str(), state, "{what}");
        assert_eq!(told.code.as_ref().map_or("", |code| code.as_str()), code, "{what}");
        assert_eq!(told.error.is_some(), !code.is_empty(), "{what}");
        let done: Vec<Did> = deeds[&ids[n]].iter().map(|deed| deed.did).collect();
        assert_eq!(done, did, "{what}");
        let given_up = told.transitions.iter().any(|t| t.state == CommandState::Unresolved && t.by == "hub");
        assert!(given_up || !matches!(fault, F::Overdue | F::Mute), "{what}");
        let asked_again = matches!(fault, F::Disconnect | F::PowerCut | F::Late);
        assert_eq!(told.attempt > 1, asked_again, "{what}");
    }
    for ((fault, ..), (_, fleet)) in cases.into_iter().zip(fleets) {
        let report = fleet.stop().await;
        let mut played = report.faults.commands;
        assert_eq!(*played.of(fault), 1, "{report}");
        let ends = [report.commands.succeeded, report.commands.failed, report.commands.rejected];
        let cut = u64::from(fault == F::PowerCut);
        assert_eq!(ends.iter().sum::<u64>() + report.commands.untold + cut, 1, "{report}");
    }
    assert!(hub.reader().open_commands().unwrap().is_empty());
}
