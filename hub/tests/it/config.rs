//! What the program says when it cannot start: which setting, which file, and what to do.

use std::os::unix::fs::FileExt as _;

use crate::harness::{TestHub, stderr};

/// Runs `hub serve` where it must fail, and returns what it says.
async fn fails(hub: &TestHub, flags: &[&str], code: i32) -> String {
    let output = hub.run(&[&["serve", "--listen", "127.0.0.1:0"], flags].concat()).await;
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{flags:?}: {error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

#[tokio::test]
async fn a_mistake_in_the_configuration_is_named_with_its_place() {
    let hub = TestHub::nowhere(&[]);
    let file = hub.data().join("hub.toml");
    for (text, places) in [
        ("listn = \"127.0.0.1:1\"", &["hub.toml", "listn", "line 1", "listen"][..]),
        ("\nlisten = 7", &["hub.toml", "line 2", "listen"]),
        ("listen = \"localhost:1\"", &["hub.toml", "line 1", "localhost:1", "127.0.0.1:7878"]),
        ("[limits]\nmax_connections = 1", &["line 2", "max_connections", "stands above all sections"]),
        ("listen = 7878", &["hub.toml", "line 1", "listen: it must be an IP address with a port"]),
        ("log_format = \"xml\"", &["log_format", "xml"]),
        ("heartbeat_seconds = -1", &["heartbeat_seconds", "-1"]),
        ("heartbeat_seconds = 0", &["heartbeat_seconds is 0", "1 to 3600"]),
        ("shutdown_seconds = 601", &["shutdown_seconds is 601", "600"]),
        ("max_connections = 0", &["max_connections is 0"]),
        ("this is not TOML", &["hub.toml", "line 1"]),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = fails(&hub, &[], 2).await;
        for place in places {
            assert!(error.contains(place), "{text:?} must name {place:?}: {error}");
        }
    }
    std::fs::remove_file(&file).unwrap();
    let error = fails(&hub, &["--config", "/nowhere/hub.toml"], 2).await;
    assert!(error.contains("/nowhere/hub.toml"), "{error}");
    let error = fails(&hub, &["--log", "loud=very"], 2).await;
    assert!(error.contains("loud=very"), "{error}");
}

#[tokio::test]
async fn a_bad_flag_is_bad_usage_and_named() {
    let hub = TestHub::nowhere(&[]);
    for (flags, place) in [
        (&["--max-conections", "1"][..], "--max-conections"),
        (&["--max-connections", "many"], "many"),
        (&["--log-format", "xml"], "xml"),
        (&["--data"], "--data"),
        (&["--heartbeat-seconds", "-1"], "-1"),
    ] {
        let error = fails(&hub, flags, 2).await;
        assert!(error.contains(place), "{flags:?}: {error}");
    }
    let output = hub.run(&["serve", "--listen", "localhost"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("is \"localhost\": it must be an IP address with a port"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn a_bad_variable_of_the_environment_is_named_and_not_the_flag_that_was_not_typed() {
    let hub = TestHub::nowhere(&[]);
    let serve = &["serve"][..];
    for (variable, arguments, parts) in [
        (
            ("TELEMETRY_HEARTBEAT_SECONDS", "7s"),
            serve,
            &["is \"7s\"", "a whole number of seconds from 1 to 3600"][..],
        ),
        (("TELEMETRY_MAX_CONNECTIONS", "0"), serve, &["is \"0\"", "from 1 to 1000000"]),
        (("TELEMETRY_LISTEN", "here"), serve, &["is \"here\"", "127.0.0.1:7878"]),
        (("TELEMETRY_LOG", "loud"), serve, &["is \"loud\"", "not a level"]),
        (("TELEMETRY_LOG_FORMAT", "xml"), serve, &["is \"xml\"", "text, json"]),
        (("TELEMETRY_HUB", "http//x"), &["tail"], &["\"http//x\" is not the URL of a hub", "ws://host:port"]),
    ] {
        let output = hub.run_with(variable, arguments).await;
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{variable:?}: {error}");
        for part in parts.iter().chain([&variable.0]) {
            assert!(error.contains(part), "{variable:?} must name {part:?}: {error}");
        }
    }
    let output =
        hub.run_with(("TELEMETRY_LISTEN", "127.0.0.1:0"), &["serve", "--heartbeat-seconds", "7s"]).await;
    let error = stderr(&output);
    assert!(
        error.contains("--heartbeat-seconds <SECONDS> is \"7s\"") && !error.contains("TELEMETRY"),
        "{error}"
    );
}

#[tokio::test]
async fn a_second_hub_on_the_same_folder_or_address_is_refused_and_the_first_goes_on() {
    let hub = TestHub::process(&[]).await;
    let error = fails(&hub, &[], 1).await;
    let data = hub.data().to_str().unwrap();
    assert!(error.contains(data) && error.contains("another hub") && error.contains("--data"), "{error}");

    let elsewhere = TestHub::nowhere(&[]);
    let address = hub.address.to_string();
    let output = elsewhere.run(&["serve", "--listen", &address]).await;
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(error.contains(&format!("cannot listen on {address}")) && error.contains("--listen"), "{error}");
    crate::wire::Bystander::join(&hub).await.is_undisturbed().await;
}

#[tokio::test]
async fn a_database_of_a_later_program_is_refused_and_not_touched() {
    let mut hub = TestHub::process(&[]).await;
    hub.stop().await;
    // The schema version is the user version of the SQLite file: 4 bytes at 60, big endian.
    let file = std::fs::File::options().write(true).open(hub.database()).unwrap();
    file.write_all_at(&4_711_u32.to_be_bytes(), 60).unwrap();
    drop(file);
    let before = std::fs::read(hub.database()).unwrap();
    let error = fails(&hub, &[], 1).await;
    assert!(error.contains("schema version 4711") && error.contains("use a newer program"), "{error}");
    assert!(error.contains(hub.database().to_str().unwrap()), "{error}");
    assert!(std::fs::read(hub.database()).unwrap() == before, "the file was changed");
}

#[tokio::test]
async fn a_file_that_is_no_database_of_ours_is_refused_and_not_touched() {
    let hub = TestHub::nowhere(&[]);
    let text = "Dear diary, ".repeat(1_000);
    std::fs::write(hub.database(), &text).unwrap();
    let error = fails(&hub, &[], 1).await;
    assert!(error.contains(hub.database().to_str().unwrap()), "{error}");
    assert_eq!(std::fs::read_to_string(hub.database()).unwrap(), text);
}

#[tokio::test]
async fn a_folder_that_cannot_be_is_named() {
    let hub = TestHub::nowhere(&[]);
    let file = hub.data().join("a-file");
    std::fs::write(&file, "").unwrap();
    let folder = file.join("data");
    let error = fails(&hub, &["--data", folder.to_str().unwrap()], 1).await;
    assert!(error.contains(folder.to_str().unwrap()), "{error}");
}
