//! Clients that we did not write, in twelve steps each: connect, authenticate, publish, ack, subscribe, receive a command, ping,
//! large frame, bad frame, revoke, close, resume. They know docs/protocol.md and nothing else; the browser also how pages draw
//! tickets.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use crate::harness::{Role, TestHub, stderr, stdout, within};
use crate::python::{python, root};

const STEPS: [&str; 12] = [
    "connect",
    "authenticate",
    "publish",
    "ack",
    "subscribe",
    "command",
    "ping",
    "large frame",
    "bad frame",
    "revoke",
    "close",
    "resume",
];

/// Node with `ws`.
fn node() -> Command {
    const VARIABLE: &str = "TELEMETRY_TEST_NODE_MODULES";
    let modules = match std::env::var_os(VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => root().join("target/node/node_modules"),
    };
    assert!(
        modules.join("ws").exists(),
        "no `ws` in {}: `cargo xtask ci` puts it there; or name a folder that has it with {VARIABLE}",
        modules.display()
    );
    let mut command = Command::new("node");
    command.env("NODE_PATH", modules);
    command
}

/// Chromium without a window.
fn browser() -> PathBuf {
    const NAMES: [&str; 4] = ["chromium-headless-shell", "chromium", "google-chrome", "chrome"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = NAMES.iter().find_map(|name| folders.iter().map(|f| f.join(name)).find(|file| file.exists()));
    found.unwrap_or_else(|| panic!("none of {NAMES:?} is here: `cargo xtask ci` installs the first"))
}

/// Runs a script against a hub of its own, and does what it cannot: revokes its token.
async fn twelve_steps(device: &str, mut script: Command) {
    let mut hub = TestHub::nowhere(&["--heartbeat-seconds", "1"]);
    std::fs::write(hub.data().join("hub.toml"), "origins = [\"http://dash.example\"]\n").unwrap();
    hub.launch().await;
    let add = ["token", "add", "--role", "device", "--device", device];
    let token = stdout(&hub.cli(&add).await).trim().to_owned();
    let listed = stdout(&hub.cli(&["token", "list", "--json"]).await);
    let ours = listed
        .lines()
        .map(|line| serde_json::from_str::<Json>(line).unwrap())
        .find(|token| token["label"] == format!("device {device}"))
        .unwrap();
    let next = stdout(&hub.cli(&add).await).trim().to_owned();
    let mut child = script
        .args([&hub.url(), &token, &next, &hub.token(Role::Operator), device])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut done = Vec::new();
    let mut readings = 0;
    while let Some(line) = within("a step", lines.next_line()).await.unwrap() {
        let said: Json = serde_json::from_str(&line).unwrap();
        if said["wants"] == "revocation" {
            let revoked = hub.cli(&["token", "revoke", &ours["key"].to_string()]).await;
            assert!(revoked.status.success(), "{}", stderr(&revoked));
            continue;
        }
        assert_eq!(said["step"], done.len() + 1, "{said}");
        done.push(said["name"].as_str().unwrap().to_owned());
        readings = said["readings"].as_u64().unwrap_or(readings);
    }
    let mut problem = String::new();
    child.stderr.take().unwrap().read_to_string(&mut problem).await.unwrap();
    let status = within("the script to end", child.wait()).await.unwrap();
    assert!(status.success(), "after {done:?}: {problem}");
    assert_eq!(done, STEPS, "{problem}");
    assert_eq!(readings, 1_000 + 1 + 1 + 4_096 + 1 + 1);
    assert_eq!(hub.reader().stats().unwrap().readings, readings, "each is stored, once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_client_goes_through_all_twelve_steps() {
    let mut script = python();
    script.arg(root().join("hub/tests/it/twelve.py"));
    twelve_steps("python", script).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_client_goes_through_all_twelve_steps() {
    let mut script = node();
    script.arg(root().join("hub/tests/it/twelve.cjs"));
    twelve_steps("node", script).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_in_a_browser_goes_through_all_twelve_steps_and_a_page_of_another_origin_through_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut script = Command::new("node");
    script.arg(root().join("hub/tests/it/browser.cjs")).arg(browser()).arg(folder.path());
    twelve_steps("page", script).await;
}
