//! The structure that the design promises, checked.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod supply;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

/// Who may depend on whom, dev-dependencies aside. ARCHITECTURE.md draws it.
const ARROWS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("client", &["protocol"]),
    ("store", &["protocol", "vtab"]),
    ("vtab", &[]),
    ("crash-vfs", &[]),
    ("hub", &["client", "protocol", "store"]),
    ("dashboard", &["client", "protocol"]),
    ("device-sim", &["client", "protocol"]),
    ("xtask", &[]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn packages() -> BTreeMap<String, Json> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Json = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().map(|package| (package["name"].as_str().unwrap().to_owned(), package.clone())).collect()
}

/// The normal dependencies of a package.
fn dependencies(package: &Json) -> Vec<String> {
    let all = package["dependencies"].as_array().unwrap();
    all.iter().filter(|d| d["kind"].is_null()).map(|d| d["name"].as_str().unwrap().to_owned()).collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn crates_depend_on_each_other_as_designed_and_in_no_other_way() {
    let packages = packages();
    let ours: Vec<&String> = packages.keys().collect();
    let expected: Vec<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    for name in &ours {
        assert!(expected.contains(&name.as_str()), "{name} is not in the design");
    }
    for (name, allowed) in ARROWS {
        let package = packages.get(*name).unwrap_or_else(|| panic!("{name} is missing"));
        let mut found: Vec<String> =
            dependencies(package).into_iter().filter(|d| packages.contains_key(d)).collect();
        found.sort();
        assert_eq!(found, *allowed, "{name}");
    }
}

#[test]
fn only_the_command_line_of_the_hub_is_a_client() {
    let mut files = Vec::new();
    rust_files(&root().join("hub/src"), &mut files);
    let is_client = |file: &PathBuf| std::fs::read_to_string(file).unwrap().contains("client::");
    let clients: Vec<PathBuf> = files.into_iter().filter(is_client).collect();
    assert!(!clients.is_empty());
    for file in clients {
        assert!(file.starts_with(root().join("hub/src/cli")), "{}", file.display());
    }
}

#[test]
fn i_8_protocol_has_no_socket_no_clock_no_task() {
    let dependencies = dependencies(&packages()["protocol"]);
    assert_eq!(dependencies, ["serde", "serde_json", "thiserror"]);
    let mut files = Vec::new();
    rust_files(&root().join("protocol/src"), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for word in ["std::net", "std::thread", "SystemTime", "Instant", "std::fs", "std::io"] {
            assert!(!text.contains(word), "{} has {word}", file.display());
        }
    }
}

#[test]
fn i_9_only_the_store_knows_sqlite() {
    for (name, package) in packages() {
        // `vtab` is what the store's own SQL tables are made with, `crash-vfs` the disk under SQLite in its tests.
        let may = ["store", "vtab", "crash-vfs"].contains(&name.as_str());
        assert_eq!(dependencies(&package).contains(&"rusqlite".to_owned()), may, "{name}");
    }
}

#[test]
fn i_16_the_dashboards_model_knows_no_egui_no_tokio_and_no_files() {
    let mut files = Vec::new();
    for folder in ["model", "series"] {
        rust_files(&root().join("dashboard/src").join(folder), &mut files);
    }
    assert!(files.len() > 2, "the model has moved: move this test with it");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for word in ["egui", "tokio", "std::fs", "std::thread", "SystemTime"] {
            let used = text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(word));
            assert!(!used, "{} has {word}", file.display());
        }
    }
}

#[test]
fn no_file_is_longer_than_a_thousand_lines() {
    let mut files = Vec::new();
    // Both lie within `store`.
    for (name, _) in ARROWS.iter().filter(|(name, _)| !["crash-vfs", "vtab"].contains(name)) {
        rust_files(&root().join(name), &mut files);
    }
    for file in files {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 1_000, "{} has {lines} lines", file.display());
    }
}
