//! What the system must have: found out, installed through apt where that is allowed, else named in one line.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::process::run;
use crate::say;

/// A thing that is needed, and the Debian package that brings it.
pub(crate) struct Need {
    /// A shared library (`libX11.so.6`) or a program (`python3`).
    pub(crate) thing: &'static str,
    /// The Debian package.
    pub(crate) package: &'static str,
}

/// What the window loads at run time, on X11. Found one by one on a Debian 12 without any of them.
pub(crate) const WINDOW: &[Need] = &[
    Need { thing: "libX11.so.6", package: "libx11-6" },
    Need { thing: "libX11-xcb.so.1", package: "libx11-xcb1" },
    Need { thing: "libXcursor.so.1", package: "libxcursor1" },
    Need { thing: "libXi.so.6", package: "libxi6" },
    Need { thing: "libxkbcommon-x11.so.0", package: "libxkbcommon-x11-0" },
    Need { thing: "libGL.so.1", package: "libgl1" },
];

fn is_there(thing: &str) -> bool {
    if thing.contains(".so.") {
        let folders =
            ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/lib"];
        return folders.iter().any(|folder| Path::new(folder).join(thing).exists());
    }
    find(thing).is_some()
}

/// Where a program is. Debian has servers in a folder that is not in everyone's PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(program))
        .find(|file| file.exists())
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Sees to it that everything is there. The error names the one line that a person has to run.
pub(crate) fn ensure(what_for: &str, needs: &[Need]) -> Result<()> {
    let missing: Vec<&str> =
        needs.iter().filter(|need| !is_there(need.thing)).map(|need| need.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install --no-install-recommends {}", missing.join(" "));
    if !is_there("apt-get") {
        bail!("{what_for} needs what Debian has in: {}", missing.join(" "));
    }
    let sudo: &[&str] = if rustix::process::geteuid().is_root() {
        &[]
    } else if succeeds("sudo", &["-n", "true"]) {
        &["sudo", "-n"]
    } else {
        bail!("{what_for} needs packages that only root may install: sudo {line}");
    };
    say(&format!("{what_for} needs packages that are not here: {line}"));
    let apt = |args: &[&str]| {
        let mut words: Vec<&str> = sudo.to_vec();
        words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]);
        words.extend(args);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdout(Stdio::null());
        command
    };
    run(&mut apt(&["update"]))?;
    let mut args = vec!["install", "-y", "--no-install-recommends"];
    args.extend(&missing);
    run(&mut apt(&args))
}
