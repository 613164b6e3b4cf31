//! `cargo xtask ci`: the one gate. Cheap checks first.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Result, bail};

use crate::packages::{self, Need};
use crate::process::{cargo, run};
use crate::{root, say};

/// What the tests need beside Rust: Python, Node and a browser without a window, for the clients that were written from the
/// protocol's document alone; what makes a disk fail and a clock jump under the hub.
const NEEDS: &[Need] = &[
    Need { thing: "python3", package: "python3" },
    Need { thing: "node", package: "nodejs" },
    Need { thing: "npm", package: "npm" },
    Need { thing: "chromium-headless-shell", package: "chromium-headless-shell" },
    Need { thing: "strace", package: "strace" },
    Need { thing: "faketime", package: "faketime" },
];

/// The WebSocket library of the Python device. Fixed, so that a release of it does not turn the gate red.
const WEBSOCKETS: &str = "websockets==17.4";

/// The WebSocket library of the client in Node. Fixed as well.
const WS: &str = "8.23.0";

fn run_step(name: &str, command: &mut Command) -> Result<()> {
    let start = Instant::now();
    say(name);
    run(command)?;
    say(&format!("{name}: {:.0} s", start.elapsed().as_secs_f64()));
    Ok(())
}

/// Runs the gate.
pub(crate) fn gate() -> Result<ExitCode> {
    packages::ensure("the tests", NEEDS)?;
    python()?;
    node()?;
    for component in ["rustfmt", "clippy"] {
        if !cargo(&[if component == "rustfmt" { "fmt" } else { component }, "--version"])
            .output()
            .is_ok_and(|output| output.status.success())
        {
            run_step("rustup component add", Command::new("rustup").args(["component", "add", component]))?;
        }
    }
    run_step("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    run_step(
        "lints",
        &mut cargo(&[
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    dependencies()?;
    run_step("tests", &mut cargo(&["test", "--locked", "--workspace", "--all-features"]))?;
    run_step(
        "docs",
        cargo(&["doc", "--locked", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    say("all passed");
    Ok(ExitCode::SUCCESS)
}

/// Licences, bans and sources of what we depend on; advisories where a database of them is at hand, as the gate fetches none.
fn dependencies() -> Result<()> {
    if !cargo(&["deny", "--version"]).output().is_ok_and(|output| output.status.success()) {
        say("cargo-deny is not here: cargo install cargo-deny --locked, which takes some minutes");
        let mut install = cargo(&["install", "cargo-deny", "--locked", "--quiet"]);
        // It runs for a second, and takes three minutes to build as its authors do, half of it so.
        install
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_RELEASE_LTO", "false")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        run_step("cargo-deny", &mut install)?;
    }
    let deny = |words: &[&str]| cargo(&[&["deny", "--log-level", "error"][..], words].concat());
    run_step("licences, bans, sources", &mut deny(&["check", "licenses", "bans", "sources"]))?;
    // A check that lets everything pass would look the same: without the licence of most crates it must fail.
    let text = std::fs::read_to_string(root().join("deny.toml"))?;
    let stricter = target().join("deny-without-mit.toml");
    std::fs::write(&stricter, text.replace("    \"MIT\",\n", ""))?;
    let stricter = stricter.to_string_lossy().into_owned();
    let refused = deny(&["--config", &stricter, "check", "licenses"]).output()?;
    if refused.status.success() || !String::from_utf8_lossy(&refused.stderr).contains("MIT") {
        bail!("cargo deny does not notice a licence that is not allowed: see deny.toml");
    }
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let databases = home.map(|home| home.join("advisory-dbs"));
    let has_one = |folder: &PathBuf| {
        std::fs::read_dir(folder).is_ok_and(|mut found| {
            found.any(|entry| entry.is_ok_and(|entry| entry.path().join("crates").is_dir()))
        })
    };
    if databases.as_ref().is_some_and(has_one) {
        return run_step("advisories", &mut deny(&["check", "--disable-fetch", "advisories"]));
    }
    say("no database of advisories is here: `cargo deny fetch db` gets one, and then they are looked up too");
    Ok(())
}

/// Where what is made and fetched is kept.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Puts the WebSocket library for Node into `target/node`.
fn node() -> Result<()> {
    let folder = target().join("node");
    let there = std::fs::read_to_string(folder.join("node_modules/ws/package.json")).unwrap_or_default();
    if there.contains(&format!("\"version\": \"{WS}\"")) {
        return Ok(());
    }
    std::fs::create_dir_all(&folder)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", "--prefix"]);
    run_step("node packages", npm.arg(&folder).arg(format!("ws@{WS}")))
}

/// Makes a Python environment of our own in `target/venv`, with the WebSocket library in it.
fn python() -> Result<()> {
    let venv = target().join("venv");
    let python = venv.join("bin/python");
    let check = format!(
        "import websockets; assert websockets.__version__ == '{}'",
        WEBSOCKETS.trim_start_matches("websockets==")
    );
    if Command::new(&python).args(["-c", &check]).output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    let make = || Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv).output();
    if !make().is_ok_and(|output| output.status.success()) {
        // Debian's python3 comes without what makes environments.
        packages::ensure("a Python environment", &[Need { thing: "python3-venv", package: "python3-venv" }])?;
        run_step("python environment", Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    }
    run_step("python packages", Command::new(&python).args(["-m", "pip", "install", "--quiet", WEBSOCKETS]))
}
