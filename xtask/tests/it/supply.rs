//! What we depend on: from crates.io alone, unchanged, and under licences that allow what we do with it.
//!
//! `cargo deny` knows more, advisories above all, and takes minutes to build; this takes none. The gate runs both.

use std::process::Command;

use serde_json::Value as Json;

use super::root;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The licences that are allowed: the list in `deny.toml`.
fn allowed() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let (_, list) = text.split_once("allow = [").unwrap();
    let (list, _) = list.split_once(']').unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether an expression of licences (SPDX) can be kept: one of an OR, all of an AND.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced =
        expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "_WITH_");
    let mut words = spaced.split_whitespace().peekable();
    any_of(&mut words, allowed)
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut kept = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        kept |= all_of(words, allowed);
    }
    kept
}

fn all_of(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut kept = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        kept &= one(words, allowed);
    }
    kept
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    match words.next() {
        Some("(") => {
            let kept = any_of(words, allowed);
            kept && words.next() == Some(")")
        }
        Some(licence) => allowed.contains(&licence.replace("_WITH_", " WITH ")),
        None => false,
    }
}

#[test]
fn licences_are_read_as_they_are_meant() {
    let allowed = ["MIT".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
    for (expression, kept) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("MIT AND (GPL-3.0 OR MIT)", true),
        ("MIT AND (GPL-3.0 OR BSD)", false),
        ("MIT OR GPL-3.0 AND BSD", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), kept, "{expression}");
    }
}

#[test]
fn what_we_depend_on_comes_from_crates_io_with_a_checksum() {
    for lock in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let text = std::fs::read_to_string(root().join(lock)).unwrap();
        let mut count = 0;
        for package in text.split("[[package]]").skip(1).filter(|package| package.contains("source = ")) {
            assert!(package.contains(&format!("source = \"{CRATES_IO}\"")), "{lock}: {package}");
            assert!(package.contains("checksum = "), "{lock}: {package}");
            count += 1;
        }
        assert!(count > 10, "{lock} has packages");
    }
}

/// What a manifest or a package of a lock file names in a list.
fn names<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let name = |line: &'a str| line.trim_start_matches([' ', '"']).split(['.', ' ', '=', '"']).next();
    lines.filter_map(name).filter(|name| !name.is_empty() && !name.starts_with(['#', ']'])).collect()
}

#[test]
fn the_lock_file_of_the_fuzz_targets_has_what_our_crates_need_now() {
    let lock = std::fs::read_to_string(root().join("fuzz/Cargo.lock")).unwrap();
    let mut count = 0;
    for folder in ["hub", "store", "store/vtab", "protocol", "client"] {
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let name = manifest.lines().find(|line| line.starts_with("name = ")).unwrap();
        let package = lock.split("[[package]]").find(|package| package.contains(&format!("\n{name}\n")));
        let package = package.unwrap_or_else(|| panic!("{name} is not in fuzz/Cargo.lock"));
        let (_, locked) = package.split_once("dependencies = [").unwrap();
        let locked = names(locked.lines());
        let (_, needed) = manifest.split_once("\n[dependencies]\n").unwrap();
        let needed = names(
            needed
                .lines()
                .take_while(|line| !line.starts_with('['))
                .filter(|line| !line.contains("optional")),
        );
        for dependency in needed {
            assert!(
                locked.contains(&dependency),
                "{folder} needs {dependency}: run `cargo update --manifest-path fuzz/Cargo.toml --workspace`, and commit fuzz/Cargo.lock"
            );
            count += 1;
        }
    }
    assert!(count > 30, "{count} dependencies were read");
}

#[test]
fn what_we_depend_on_may_be_used_as_we_use_it() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Json = serde_json::from_slice(&output.stdout).unwrap();
    let allowed = allowed();
    assert!(allowed.len() > 3, "{allowed:?}");
    for package in metadata["packages"].as_array().unwrap() {
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_allowed(licence, &allowed), "{}: {licence:?} is not among {allowed:?}", package["name"]);
    }
}
