//! `device-sim claim`, the real program, against a real hub.

use std::process::{Output, Stdio};

use hub::Config;
use hub::claims::Code;
use hub::config::Options;
use protocol::desk::Actor;
use store::NewClaim;
use tokio::process::Command;

async fn claim(home: &std::path::Path, hub: &str, code: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_device-sim"));
    command.args(["claim", code, "--hub", hub]).env_clear().env("HOME", home).stdin(Stdio::null());
    tokio::time::timeout(std::time::Duration::from_secs(30), command.kill_on_drop(true).output())
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_gives_its_device_a_token_once_and_then_says_that_it_is_good_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        listen: Some(([127, 0, 0, 1], 0).into()),
        data: Some(folder.path().to_owned()),
        ..Options::default()
    };
    let running = hub::start(Config::resolve(&options).unwrap()).await.unwrap();
    let url = format!("ws://{}", running.address);
    let code = Code::draw().unwrap();
    let now = hub::clock::now();
    let new = NewClaim {
        hash: code.hash(),
        device: "pump-07".parse().unwrap(),
        created_at: now,
        expires_at: now.plus_micros(60_000_000),
    };
    running.hub().ingest.add_claim(new, Actor { by: "test".into(), address: None }).await.unwrap();

    let first = claim(folder.path(), &url, &code.reveal()).await;
    assert!(first.status.success(), "{first:?}");
    let token = String::from_utf8(first.stdout).unwrap();
    assert!(token.starts_with("device_") && token.trim().len() == 71, "{token}");
    assert!(!String::from_utf8(first.stderr).unwrap().contains(token.trim()), "only the output has it");
    // The token is the device's: the hub lets it in.
    let endpoint = client::Endpoint::new(&url, token.trim()).unwrap();
    let hello = serde_json::from_str(r#"{"device":"pump-07","epoch":"e1"}"#).unwrap();
    let config = client::device::DeviceConfig::new(endpoint, hello);
    let (device, _events) = client::device::DeviceClient::spawn(config).unwrap();
    device.push(Vec::new()).await.unwrap();
    device.wait_for(|status| status.connected).await.unwrap();

    let again = claim(folder.path(), &url, &code.reveal()).await;
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    let error = String::from_utf8(again.stderr).unwrap();
    assert!(error.contains("`hub claim add` makes a new one"), "{error}");
    device.close(std::time::Duration::from_secs(5)).await;
    assert!(running.stop().await);
}
