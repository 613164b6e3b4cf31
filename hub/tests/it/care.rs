//! Verify, backup, restore and stats, beside a hub that works and without one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value as Json, json};
use store::Reader;

use crate::crash::load;
use crate::harness::{Role, TestHub, stderr, stdout, until, within};
use crate::wire::{START, counted};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_restored_and_the_devices_go_on() {
    let mut hub = TestHub::process(&[]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> = (0..3).map(|n| load(&hub, &format!("pump-{n}"), &stop)).collect();
    let acked = || loads.iter().map(|load| load.handle.status().counts.acked).sum::<u64>();
    until("some load", async || acked() > 5_000).await;

    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("copy.db");
    let before = acked();
    let backup = hub.run(&["backup", text(&file)]).await;
    assert!(backup.status.success(), "{}", stderr(&backup));
    assert!(stdout(&backup).contains("checked"), "{}", stdout(&backup));
    let again = hub.run(&["backup", text(&file)]).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("--force"), "{}", stderr(&again));
    // Beside the hub, and on the copy.
    for arguments in [&["verify"][..], &["verify", "--quick"], &["verify", text(&file)]] {
        let verify = hub.run(arguments).await;
        assert_eq!(verify.status.code(), Some(0), "{arguments:?}: {}{}", stdout(&verify), stderr(&verify));
        assert!(stdout(&verify).contains("clean"), "{}", stdout(&verify));
    }
    let held = Reader::open(&file).unwrap().stats().unwrap().readings;
    assert!(held >= before, "{before} acknowledged before the backup, {held} in it");
    until("more load", async || acked() > held + 5_000).await;

    let busy = hub.run(&["restore", text(&file), "--force"]).await;
    assert_eq!(busy.status.code(), Some(1));
    assert!(stderr(&busy).contains("stop the hub first"), "{}", stderr(&busy));
    let other = elsewhere.path().join("other");
    let restored = hub.run(&["restore", text(&file), "--data", text(&other)]).await;
    assert!(restored.status.success(), "{}", stderr(&restored));
    let verify = hub.run(&["verify", "--data", text(&other)]).await;
    assert_eq!(verify.status.code(), Some(0), "{}", stdout(&verify));

    // The hub dies, and its database with it. The devices have acks for more than the copy holds.
    hub.kill().await;
    let refused = hub.run(&["restore", text(&file)]).await;
    assert!(refused.status.code() == Some(1) && stderr(&refused).contains("--force"), "{}", stderr(&refused));
    let restored = hub.run(&["restore", text(&file), "--force"]).await;
    assert!(restored.status.success(), "{}", stderr(&restored));
    assert!(stdout(&restored).contains(".before-restore-1"), "{}", stdout(&restored));
    hub.launch().await;
    let enough = acked() + 2_000;
    until("the devices to go on", async || acked() > enough).await;
    stop.store(true, Ordering::Relaxed);
    let mut skipped = 0;
    for load in loads {
        let pushed = within("the last push", load.pushing).await.unwrap();
        let status = within("the last acks", load.handle.close(Duration::from_secs(20))).await;
        assert_eq!((status.counts.acked, status.counts.refused), (pushed, 0));
        let ledger = &hub.reader().ledger(&load.device).unwrap()[0];
        assert_eq!(ledger.last_seq.0, ledger.stored + ledger.skipped);
        skipped += ledger.skipped;
    }
    assert!(skipped > 0, "what came after the copy is declared as lost");
    hub.stop().await;
    let verify = hub.run(&["verify"]).await;
    assert_eq!(verify.status.code(), Some(0), "{}", stdout(&verify));
}

#[tokio::test]
async fn verify_says_what_is_damaged_or_why_it_could_not_look() {
    let mut hub = TestHub::process(&[]).await;
    let mut device = hub.welcomed("pump").await;
    for seq in 1..=5 {
        device.say(counted(seq, seq as i64, seq as i64)).await;
    }
    device.acked(5).await;
    let verify = hub.run(&["verify", "--json"]).await;
    let last: Json = serde_json::from_str(stdout(&verify).lines().last().unwrap()).unwrap();
    assert_eq!((&last["clean"], &last["hot"]), (&json!(true), &json!(5)));
    hub.stop().await;

    let missing = hub.run(&["verify", "/no/such/file"]).await;
    assert_eq!(missing.status.code(), Some(4), "{}", stderr(&missing));
    let stranger = hub.data().join("stranger.db");
    std::fs::write(&stranger, "a letter to my aunt, long enough to be a database").unwrap();
    let stranger = hub.run(&["verify", text(&stranger)]).await;
    assert_eq!(stranger.status.code(), Some(4), "{}", stderr(&stranger));

    let copy = hub.data().join("copy.db");
    let backup = hub.run(&["backup", text(&copy), "--full-speed"]).await;
    assert!(backup.status.success(), "{}", stderr(&backup));
    let whole = std::fs::read(&copy).unwrap();
    std::fs::write(&copy, &whole[..whole.len() / 2]).unwrap();
    let verify = hub.run(&["verify", text(&copy), "--json"]).await;
    assert_eq!(verify.status.code(), Some(1), "{}{}", stdout(&verify), stderr(&verify));
    let first: Json = serde_json::from_str(stdout(&verify).lines().next().unwrap()).unwrap();
    assert!(first["finding"].is_string(), "{first}");
    let restored = hub.run(&["restore", text(&copy), "--data", text(&hub.data().join("new"))]).await;
    assert_eq!(restored.status.code(), Some(1), "{}", stdout(&restored));
    assert!(!hub.data().join("new/telemetry.db").exists());
}

#[tokio::test]
async fn stats_count_what_is_stored_beside_the_hub_that_stores_it() {
    let hub = TestHub::process(&[]).await;
    let mut device = hub.welcomed("pump").await;
    hub.welcomed("idle").await;
    for seq in 1..=5 {
        device.say(counted(seq, seq as i64, seq as i64)).await;
    }
    device.acked(5).await;
    let stats = hub.run(&["stats", "--json", "--devices"]).await;
    assert!(stats.status.success(), "{}", stderr(&stats));
    let lines: Vec<Json> = stdout(&stats).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [whole, idle, pump] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&whole["devices"], &whole["readings"], &whole["hot"]), (&json!(2), &json!(5), &json!(5)));
    assert!(whole["file_bytes"].as_u64().unwrap() > 4_096 && whole["oldest"].is_number());
    assert_eq!(
        (&idle["device"], &idle["readings"], &idle["newest"]),
        (&json!("idle"), &json!(0), &Json::Null)
    );
    assert_eq!((&pump["device"], &pump["readings"], &pump["hot"]), (&json!("pump"), &json!(5), &json!(5)));
    let stats = stdout(&hub.run(&["stats", "--devices"]).await);
    assert!(stats.contains("the write-ahead log: beside the file"), "{stats}");
    assert!(stats.contains("readings   5") && stats.contains("pump"), "{stats}");
}

/// A plain GET with a token. Returns the status and the body.
async fn get(hub: &TestHub, path: &str, token: &str) -> (u16, Json) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(hub.address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn the_ledger_of_a_device_adds_up_over_http_on_the_command_line_and_without_a_hub() {
    let mut hub = TestHub::process(&[]).await;
    let mut device = hub.welcomed("pump").await;
    for seq in [1, 2, 3] {
        device.say(counted(seq, seq as i64, seq as i64)).await;
    }
    device.acked(3).await;
    device.say(json!({"type": "readings", "seq": 4, "points": [{"at": 1, "values": {"unheard": 1}}]})).await;
    device.next_of("refuse").await;
    device.say(json!({"type": "skip", "seq": 9})).await;
    device.acked(9).await;
    device.say(counted(2, 2, 2)).await;
    device.say(counted(10, 10, 10)).await;
    device.acked(10).await;
    let path = "/v1/devices/pump/ledger";
    let (status, ledger) = get(&hub, path, &hub.token(Role::Viewer)).await;
    assert_eq!((status, &ledger["adds_up"], &ledger["readings"]), (200, &json!(true), &json!(4)), "{ledger}");
    let stream = &ledger["streams"][0];
    let counts =
        ["sent", "stored", "refused", "skipped", "readings"].map(|key| stream[key].as_u64().unwrap());
    assert_eq!(counts, [10, 4, 1, 5, 4], "{stream}");
    assert_eq!(get(&hub, path, &hub.token(Role::Operator)).await.0, 200);
    assert_eq!(get(&hub, path, &hub.token(Role::Fleet)).await.0, 403);
    assert_eq!(get(&hub, path, "unknown").await.0, 401);
    assert_eq!(get(&hub, "/v1/devices/kettle/ledger", &hub.token(Role::Viewer)).await.0, 404);
    assert_eq!(get(&hub, "/v1/devices/a%20b/ledger", &hub.token(Role::Viewer)).await.0, 400);
    for runs in [true, false] {
        let shown = hub.cli(&["device", "show", "pump"]).await;
        assert!(shown.status.success() && stdout(&shown).contains("it adds up"), "{}", stderr(&shown));
        let shown = hub.cli(&["device", "show", "pump", "--json"]).await;
        assert_eq!(serde_json::from_str::<Json>(&stdout(&shown)).unwrap(), ledger, "a hub runs: {runs}");
        let nobody = hub.cli(&["device", "show", "kettle"]).await;
        assert_eq!(nobody.status.code(), Some(1));
        assert!(stderr(&nobody).contains("no device kettle"), "{}", stderr(&nobody));
        if runs {
            hub.stop().await;
        }
    }
}

#[tokio::test]
async fn the_latest_readings_as_of_a_time_come_over_the_wire_and_from_the_file() {
    let mut hub = TestHub::process(&[]).await;
    let mut device = hub.welcomed("pump").await;
    for seq in 1..=5 {
        device.say(counted(seq, seq as i64, seq as i64)).await;
    }
    device.acked(5).await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    for (id, at, value) in [(1, None, 5.0), (2, Some(3_000), 3.0), (3, Some(3_999), 3.0)] {
        let mut request = json!({"type": "latest", "id": id, "select": {"metrics": ["count"]}});
        if let Some(at) = at {
            request["at"] = json!(START + at);
        }
        viewer.say(request).await;
        let answer = viewer.next_of("latest").await;
        assert_eq!((&answer["id"], answer["points"][0][2].as_f64()), (&json!(id), Some(value)), "{answer}");
        assert_eq!(answer["points"].as_array().unwrap().len(), 1);
    }
    viewer.say(json!({"type": "latest", "id": 4, "at": 5})).await;
    assert_eq!(viewer.next_of("latest").await["points"], json!([]));
    let many: Vec<u64> = (0..2_000).collect();
    viewer.say(json!({"type": "latest", "id": 5, "select": {"series": many}})).await;
    assert_eq!(viewer.next_of("error").await["code"], "limit_reached");
    for runs in [true, false] {
        let now = hub.cli(&["latest", "--metric", "count", "--json"]).await;
        let now: Json = serde_json::from_str(&stdout(&now)).unwrap();
        assert_eq!(
            (&now["device"], now["value"].as_f64()),
            (&json!("pump"), Some(5.0)),
            "a hub runs: {runs}"
        );
        let before = hub.cli(&["latest", "--at", "1971-01-01"]).await;
        assert!(before.status.success() && stdout(&before).is_empty());
        assert!(stderr(&before).contains("no metric that matches has a reading"), "{}", stderr(&before));
        let bad = hub.cli(&["latest", "--at", "noon"]).await;
        assert_eq!(bad.status.code(), Some(2), "{}", stderr(&bad));
        if runs {
            hub.stop().await;
        }
    }
}
