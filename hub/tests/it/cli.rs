//! The command line, with a hub that runs and without.

use std::process::Stdio;

use protocol::DEVICE_PATH;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::JoinHandle;

use crate::harness::{Role, TestHub, program, stderr, stdout, until, within};
use crate::wire::{Peer, counted, hello, http};

/// A device that answers each command by its name.
async fn obedient(hub: &TestHub) -> JoinHandle<()> {
    let mut device = hub.device().await;
    let commands = json!([{"name": "work", "params": [{"name": "speed"}, {"name": "how", "kind": "text"}]}, {"name": "fail"}, {"name": "refuse"}]);
    let mut hello = hello("pump");
    hello["commands"] = commands;
    device.say(hello).await;
    device.next_of("welcome").await;
    tokio::spawn(async move {
        loop {
            let command = device.next_of("command").await;
            let id = &command["id"];
            let answer = match command["name"].as_str().unwrap() {
                "work" => json!({"state": "succeeded", "result": command["args"]}),
                "fail" => json!({"state": "failed", "error": "no pressure"}),
                _ => json!({"state": "rejected", "error": "locked out"}),
            };
            let mut update = json!({"type": "command_update", "id": id});
            update.as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
            device.say(update).await;
        }
    })
}

async fn connects(hub: &TestHub, token: &str, device: &str) {
    let mut peer: Peer = hub.dial(DEVICE_PATH, token).await;
    peer.say(hello(device)).await;
    peer.next_of("welcome").await;
}

#[tokio::test]
async fn devices_are_added_and_listed_whether_the_hub_runs_or_not() {
    let mut hub = TestHub::nowhere(&[]);
    let before = hub.cli(&["device", "add", "pump-1"]).await;
    assert!(before.status.success(), "{}", stderr(&before));
    let listed = hub.cli(&["device", "list"]).await;
    assert!(listed.status.success() && stdout(&listed).contains("pump-1"), "{}", stderr(&listed));
    hub.launch().await;
    let running = hub.cli(&["device", "add", "pump-2"]).await;
    assert!(running.status.success(), "{}", stderr(&running));
    let again = hub.cli(&["device", "add", "pump-1"]).await;
    let tokens = [&before, &running, &again].map(|output| stdout(output).trim().to_owned());
    assert!(tokens.iter().all(|token| token.starts_with("device_") && !token.contains('\n')));
    // A second token for a device does not take the first away.
    for (token, device) in tokens.iter().zip(["pump-1", "pump-2", "pump-1"]) {
        connects(&hub, token, device).await;
    }
    let listed = hub.cli(&["device", "list", "--json"]).await;
    let devices: Vec<Json> =
        stdout(&listed).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(devices.iter().map(|d| d["id"].as_str().unwrap()).collect::<Vec<_>>(), ["pump-1", "pump-2"]);
    hub.stop().await;
    let listed = stdout(&hub.cli(&["device", "list"]).await);
    assert!(listed.contains("pump-1") && listed.contains("pump-2"), "{listed}");

    let bad = hub.cli(&["device", "add", "a b"]).await;
    assert_eq!(bad.status.code(), Some(2));
    assert!(stderr(&bad).contains("a b"), "{}", stderr(&bad));
}

#[tokio::test]
async fn a_command_is_sent_and_the_exit_code_says_how_it_ended() {
    let hub = TestHub::process(&[]).await;
    let device = obedient(&hub).await;
    for (arguments, code, place) in [
        (&["work", "speed=42.5", "how=soft", "--wait"][..], 0, "succeeded by pump"),
        (&["work"], 0, "queued by local operator"),
        (&["fail", "--wait"], 3, "failed by pump: no pressure"),
        (&["refuse", "--wait"], 3, "rejected by pump: locked out"),
        (&["work", "sped=1", "--wait"], 1, "args.sped"),
        (&["explode"], 1, "explode"),
        (&["work", "speed"], 2, "KEY=VALUE"),
        (&["work", "speed=1", "speed=2"], 2, "given twice"),
        (
            &["work", "--lifetime", "0"],
            2,
            "--lifetime <SECONDS> is \"0\": it must be a number of seconds above 0",
        ),
    ] {
        let output = hub.cli(&[&["command", "send", "pump"], arguments].concat()).await;
        let said = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(place), "{arguments:?}: {said}");
    }
    let output =
        hub.cli(&["command", "send", "pump", "work", "speed=1", "how=hard", "--wait", "--json"]).await;
    let last: Json = serde_json::from_str(stdout(&output).lines().last().unwrap()).unwrap();
    assert_eq!(last["result"], json!({"speed": 1, "how": "hard"}), "a value that is JSON is taken as such");
    let output = hub.cli(&["command", "send", "kettle", "work"]).await;
    assert!(output.status.code() == Some(1) && stderr(&output).contains("kettle"));
    device.abort();
    drop(device.await);
    let output = hub.cli(&["command", "send", "pump", "work", "--wait", "--lifetime", "0.2"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stdout(&output).contains("expired by hub"), "{}", stdout(&output));
}

#[tokio::test]
async fn tail_prints_as_many_readings_as_asked_for() {
    let hub = TestHub::process(&[]).await;
    let mut device = hub.welcomed("pump").await;
    let mut tail = program(hub.data());
    tail.args([
        "tail",
        "--device",
        "pu*",
        "--metric",
        "count",
        "--count",
        "25",
        "--json",
        "--hub",
        &hub.url(),
    ]);
    let tail = tail.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = tail.wait_with_output();
    tokio::pin!(output);
    let mut seq = 0;
    let output = within("tail to end", async {
        loop {
            seq += 1;
            device.say(counted(seq, seq as i64, seq as i64)).await;
            tokio::select! {
                output = &mut output => return output.unwrap(),
                () = device.acked(seq) => {}
            }
        }
    })
    .await;
    assert!(output.status.success(), "{}", stderr(&output));
    let values: Vec<Json> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(values.len(), 25);
    for (value, next) in values.iter().zip(&values[1..]) {
        assert_eq!((&value["device"], &value["metric"]), (&json!("pump"), &json!("count")));
        assert_eq!(value["value"].as_f64().unwrap() + 1.0, next["value"].as_f64().unwrap());
    }
}

#[tokio::test]
async fn without_a_hub_or_a_token_the_error_says_what_to_do() {
    let hub = TestHub::nowhere(&[]);
    std::fs::write(hub.data().join("operator.token"), "operator_0").unwrap();
    for arguments in [&["tail"][..], &["command", "send", "pump", "work"]] {
        let output = hub.cli(arguments).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("no hub answers at ws://"), "{}", stderr(&output));
    }
    let hub = TestHub::process(&[]).await;
    let url = hub.url();
    let output = hub.run(&["tail", "--hub", &url, "--token", "unknown"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("401") && stderr(&output).contains("unknown or revoked token"),
        "{}",
        stderr(&output)
    );
    let output = hub.run(&["tail", "--hub", &url, "--token", &hub.token(Role::Fleet)]).await;
    assert!(stderr(&output).contains("403"), "{}", stderr(&output));
    let output = hub.run(&["tail", "--hub", "ftp://127.0.0.1:1"]).await;
    assert!(stderr(&output).contains("ws://"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn what_cannot_be_meant_is_said_and_nothing_is_made() {
    let hub = TestHub::nowhere(&[]);
    let folder = hub.data().to_str().unwrap();
    for (arguments, code, words) in [
        (&["cert", "server", "bad name"][..], 2, "neither a name nor an address"),
        (&["cert", "server", "hub.example:7878"], 2, "neither a name nor an address"),
        (&["cert", "server", "wss://hub.example"], 2, "neither a name nor an address"),
        (&["sql", " "], 2, "no query"),
        (&["tail", "--count", "0"], 2, "from 1 on"),
        (&["backup", folder], 2, "is a folder"),
        (&["verify", folder], 4, "is a folder"),
        (&["device", "list"], 1, "there is no database"),
        (&["serve", "--data", "/dev/null"], 1, "it is no folder"),
    ] {
        let output = hub.run(arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    let made = hub.run(&["cert", "server", "*.hub.example", "10.0.0.5", "::1"]).await;
    assert!(made.status.success(), "{}", stderr(&made));
}

#[tokio::test]
async fn a_hub_is_found_by_its_data_folder_wherever_it_listens() {
    let mut hub = TestHub::process(&[]).await;
    let folder = hub.data().to_owned();
    let ask = async |arguments: &[&str]| {
        let mut command = program(&folder);
        command.env_remove("TELEMETRY_HUB").args(arguments);
        within("the program to end", command.output()).await.unwrap()
    };
    let device = hub.welcomed("pump").await;
    let list = ask(&["device", "list"]).await;
    assert!(stdout(&list).contains("online") && stderr(&list).is_empty(), "{}", stderr(&list));
    let add = ask(&["device", "add", "pump-1"]).await;
    connects(&hub, stdout(&add).trim(), "pump-1").await;

    // Another hub does not know this folder's tokens, whichever way it is asked.
    let other = TestHub::process(&[]).await;
    let words = format!("{} does not know the token in {}", other.address, folder.display());
    for arguments in [&["tail"][..], &["command", "list"], &["token", "list"]] {
        let refused = ask(&[arguments, &["--hub", &other.url()]].concat()).await;
        assert_eq!(refused.status.code(), Some(1));
        let said = stderr(&refused);
        assert!(said.contains("401") && said.contains(&words) && said.contains("--data"), "{said}");
    }

    drop(device);
    hub.kill().await;
    let list = ask(&["device", "list"]).await;
    assert!(list.status.success() && stdout(&list).contains("pump-1"), "{}", stderr(&list));
    let words = format!("no hub answers at {}, where {}/hub.url", hub.url(), folder.display());
    assert!(stderr(&list).contains(&words), "{}", stderr(&list));
    hub.launch().await;
    hub.stop().await;
    assert!(!folder.join("hub.url").exists(), "whoever stops in order takes it away");
}

#[tokio::test]
async fn a_tail_that_matches_nothing_says_so_and_waits() {
    let hub = TestHub::process(&[]).await;
    let mut device = hub.welcomed("pump").await;
    let mut tail = program(hub.data());
    tail.args(["tail", "--device", "later", "--count", "1", "--hub", &hub.url()]);
    let mut tail = tail.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut notices = BufReader::new(tail.stderr.take().unwrap()).lines();
    let notice = within("a notice", notices.next_line()).await.unwrap().unwrap();
    assert!(notice.contains("no metric of any device matches now"), "{notice}");
    device.say(counted(1, 1, 1)).await;
    device.acked(1).await;
    let mut later = hub.welcomed("later").await;
    later.say(counted(1, 1, 1)).await;
    let output = within("tail to end", tail.wait_with_output()).await.unwrap();
    assert!(stdout(&output).contains(" later "), "{}", stdout(&output));
}

#[tokio::test]
async fn commands_are_listed_shown_exported_and_cancelled() {
    let mut hub = TestHub::process(&[]).await;
    let device = obedient(&hub).await;
    for arguments in [&["work", "speed=1", "--wait"][..], &["fail", "--wait"], &["refuse", "--wait"]] {
        hub.cli(&[&["command", "send", "pump"], arguments].concat()).await;
    }
    device.abort();
    drop(device.await);
    let waiting = hub.cli(&["command", "send", "pump", "work", "--json"]).await;
    let id = serde_json::from_str::<Json>(&stdout(&waiting)).unwrap()["id"].as_str().unwrap().to_owned();
    let cancelled = hub.cli(&["command", "cancel", &id, "--wait"]).await;
    assert_eq!(cancelled.status.code(), Some(0), "{}", stderr(&cancelled));
    let again = hub.cli(&["command", "cancel", &id]).await;
    assert!(again.status.code() == Some(1) && stderr(&again).contains(&id), "{}", stderr(&again));

    let states = |output: &std::process::Output| -> Vec<String> {
        let lines = stdout(output);
        let of =
            |line: &str| serde_json::from_str::<Json>(line).unwrap()["state"].as_str().unwrap().to_owned();
        lines.lines().map(of).collect()
    };
    // Through the hub, then from its database.
    for runs in [true, false] {
        if !runs {
            hub.stop().await;
        }
        let all = hub.cli(&["command", "list", "--json"]).await;
        assert_eq!(states(&all), ["cancelled", "rejected", "failed", "succeeded"], "{}", stderr(&all));
        let some = hub
            .cli(&["command", "list", "--json", "--state", "failed,rejected", "--by", "local operator"])
            .await;
        assert_eq!(states(&some), ["rejected", "failed"], "{}", stderr(&some));
        let newest = hub.cli(&["command", "list", "--json", "--since", "-1h", "--limit", "2"]).await;
        assert_eq!(states(&newest).len(), 2);
        let none = hub.cli(&["command", "list", "--json", "--until", "-1h"]).await;
        assert_eq!(states(&none).len(), 0, "{}", stdout(&none));
        let csv = stdout(&hub.cli(&["command", "list", "--csv", "--device", "pump"]).await);
        let rows: Vec<&str> = csv.lines().collect();
        assert!(
            rows.len() == 5 && rows[0].starts_with("id,device,name,args,issued_at,issued_by,address"),
            "{csv}"
        );
        assert!(rows[4].contains("local operator,127.0.0.1:") && rows[4].contains("succeeded"), "{csv}");
        assert!(rows[4].contains(r#""{""speed"":1}""#), "{csv}");
        let shown = stdout(&hub.cli(&["command", "show", &id]).await);
        assert!(shown.contains("cancelled by local operator from 127.0.0.1:"), "{shown}");
        assert!(shown.lines().nth(1).unwrap().as_bytes()[19] == b'.', "milliseconds: {shown}");
    }
    let bad = hub.cli(&["command", "list", "--state", "done"]).await;
    assert!(bad.status.code() == Some(2) && stderr(&bad).contains("succeeded"), "{}", stderr(&bad));
    let bad = hub.cli(&["command", "show", "nothing"]).await;
    assert!(bad.status.code() == Some(1) && stderr(&bad).contains("nothing"), "{}", stderr(&bad));
}

#[tokio::test]
async fn commands_go_over_http_as_well() {
    let hub = TestHub::process(&[]).await;
    let device = obedient(&hub).await;
    let ask = async |role: Role, request: &str, body: &str| -> (u16, String) {
        let request = format!(
            "{request} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            hub.token(role),
            body.len()
        );
        let answer = http(hub.address, request.as_bytes()).await;
        (answer.status, answer.body)
    };
    let issued = r#"{"device": "pump", "name": "work", "args": {"speed": 2}, "expires_in_ms": 60000}"#;
    let (status, body) = ask(Role::Operator, "POST /v1/commands", issued).await;
    assert_eq!(status, 201, "{body}");
    let command: Json = serde_json::from_str(&body).unwrap();
    let path = format!("/v1/commands/{}", command["id"].as_str().unwrap());
    until("it to succeed", async || {
        let (status, body) = ask(Role::Viewer, &format!("GET {path}"), "").await;
        assert_eq!(status, 200, "{body}");
        body.contains("succeeded")
    })
    .await;
    let (_, body) =
        ask(Role::Viewer, "GET /v1/commands?device=pump&state=succeeded,failed&limit=10", "").await;
    assert_eq!(serde_json::from_str::<Json>(&body).unwrap()["commands"][0]["id"], command["id"]);
    let (_, csv) = ask(Role::Viewer, "GET /v1/commands?format=csv", "").await;
    assert!(csv.starts_with("id,device,name") && csv.contains(",pump,work,"), "{csv}");
    let (_, lines) = ask(Role::Viewer, "GET /v1/commands?format=jsonl", "").await;
    assert_eq!(lines.lines().filter(|line| line.starts_with('{')).count(), 1, "{lines}");
    for (role, request, body, status, place) in [
        (Role::Viewer, "POST /v1/commands".to_owned(), issued, 403, "operator"),
        (Role::Viewer, format!("POST {path}/cancel"), "", 403, "operator"),
        (Role::Operator, format!("POST {path}/cancel"), "", 404, "ended"),
        (Role::Operator, "POST /v1/commands".to_owned(), "nonsense", 400, "JSON"),
        (Role::Operator, "POST /v1/commands".to_owned(), r#"{"name": "work"}"#, 400, "device"),
        (
            Role::Operator,
            "POST /v1/commands".to_owned(),
            r#"{"device": "pump", "name": "work", "args": {"speed": "x"}}"#,
            400,
            "args.speed",
        ),
        (
            Role::Operator,
            "POST /v1/commands".to_owned(),
            r#"{"device": "kettle", "name": "work"}"#,
            404,
            "kettle",
        ),
        (Role::Viewer, "GET /v1/commands?state=done".to_owned(), "", 400, "done"),
        (Role::Viewer, "GET /v1/commands?limit=0".to_owned(), "", 400, "limit"),
        (Role::Viewer, "GET /v1/commands?colour=red".to_owned(), "", 400, "colour"),
        (Role::Viewer, "GET /v1/commands/nothing".to_owned(), "", 404, "nothing"),
    ] {
        let (found, said) = ask(role, &request, body).await;
        assert_eq!(found, status, "{request}: {said}");
        assert!(said.contains(place), "{request}: {said}");
    }
    let request = b"GET /v1/commands HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n";
    assert_eq!(http(hub.address, request).await.status, 401);
    device.abort();
}

#[tokio::test]
async fn whoever_waits_when_the_hub_dies_is_told_where_to_look() {
    let mut hub = TestHub::process(&[]).await;
    let mut device = hub.device().await;
    let mut declares = hello("pump");
    declares["commands"] = json!([{"name": "work"}]);
    device.say(declares).await;
    device.next_of("welcome").await;
    let wait = |what: &[&str]| {
        let mut command = program(hub.data());
        command.args(what).args(["--hub", &hub.url(), "--wait"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let waiting = [
        (wait(&["command", "send", "pump", "work"]), "see `hub command "),
        (wait(&["group", "send", "work", "--device", "*"]), "see `hub group "),
    ];
    for _ in &waiting {
        device.next_of("command").await;
    }
    hub.kill().await;
    for (waiting, words) in waiting {
        let output = within("the end of waiting", waiting.wait_with_output()).await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}
