//! Clients that we did not write: a device and a viewer on Python's `websockets`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use protocol::DeviceId;
use serde_json::Value as Json;
use tokio::process::Command;

use crate::harness::{Role, TestHub, stderr, stdout, until, within};
use crate::wire::counted;

const VARIABLE: &str = "TELEMETRY_TEST_PYTHON";

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A Python that has `websockets`.
pub(crate) fn python() -> Command {
    let path = match std::env::var_os(VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => root().join("target/venv/bin/python"),
    };
    assert!(
        path.exists(),
        "no Python at {}: `cargo xtask ci` makes it; or name one that has `websockets` with {VARIABLE}",
        path.display()
    );
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn the_python_device_loses_nothing_over_a_restart_and_runs_its_command_once() {
    let mut hub = TestHub::process(&[]).await;
    let device = DeviceId::new("python-1").unwrap();
    let running = python()
        .arg(root().join("examples/device.py"))
        .args(["--url", &hub.url(), "--device", device.as_str(), "--rate", "100", "--seconds", "4"])
        .arg("--token-file")
        .arg(hub.data().join(protocol::local::FLEET_TOKEN_FILE))
        .spawn()
        .unwrap();
    let output = running.wait_with_output();
    tokio::pin!(output);
    tokio::select! {
        () = until("some readings", async || hub.reader().stats().unwrap().readings >= 100) => {}
        output = &mut output => panic!("the device ended early: {}", stderr(&output.unwrap())),
    }
    hub.kill().await;
    hub.launch().await;
    let sent = hub.cli(&["command", "send", device.as_str(), "set_led", "on=true", "--wait"]).await;
    assert!(sent.status.success(), "{}{}", stdout(&sent), stderr(&sent));

    let output = within("the device to end", output).await.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let said: Json = serde_json::from_str(stdout(&output).lines().last().unwrap()).unwrap();
    let count = |name: &str| said[name].as_u64().unwrap();
    assert!(count("sent") > 0);
    assert_eq!((count("acked"), count("refused"), count("commands")), (count("sent"), 0, 1), "{said}");
    assert_eq!(count("reconnects"), 1, "{}", stderr(&output));
    let ledger = hub.reader().ledger(&device).unwrap();
    assert_eq!(ledger.iter().map(|stream| stream.readings).sum::<u64>(), count("acked"));
    assert_eq!(hub.reader().stats().unwrap().readings, count("acked"), "acknowledged is stored, once");
}

#[tokio::test]
async fn the_python_device_says_why_it_is_refused_for_good() {
    let hub = TestHub::process(&[]).await;
    let added = hub.cli(&["device", "add", "bench-1"]).await;
    let token = stdout(&added).trim().to_owned();
    for (token, words) in [
        (token.as_str(), "for good: 4007 credential is for another device: bench-1, not python-1"),
        ("nonsense", "`hub device add` makes one for a device"),
    ] {
        let mut device = python();
        device.arg(root().join("examples/device.py")).args(["--url", &hub.url()]);
        let output =
            within("the device to end", device.env("TELEMETRY_TOKEN", token).output()).await.unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}

#[tokio::test]
async fn a_python_viewer_sees_the_snapshot_and_then_each_reading_once_also_over_a_reconnect() {
    const LAST: i64 = 4_000;
    let hub = TestHub::process(&[]).await;
    let mut device = hub.welcomed("pump").await;
    device.say(counted(1, 0, 0)).await;
    device.acked(1).await;
    let viewer = python()
        .arg(root().join("hub/tests/it/viewer.py"))
        .args([&hub.url(), &hub.token(Role::Viewer), &LAST.to_string()])
        .spawn()
        .unwrap();
    let output = viewer.wait_with_output();
    tokio::pin!(output);
    let (mut next, mut seq) = (1, 2);
    let output = within("the viewer to end", async {
        while next <= LAST {
            device.say(counted(seq, next, next + 4)).await;
            tokio::select! {
                output = &mut output => return output,
                () = device.acked(seq) => {}
            }
            (next, seq) = (next + 5, seq + 1);
        }
        output.await
    })
    .await
    .unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let said: Json = serde_json::from_str(stdout(&output).trim()).unwrap();
    assert_eq!(said["last"], LAST, "{said}");
}
