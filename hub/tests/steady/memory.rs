//! A bound on the memory of the hub, by whatever the system has for it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// What the hub may use, in MiB.
fn limit_mib() -> u64 {
    crate::setting("STEADY_MEMORY_MIB", 256)
}

/// The bound, and how it is kept.
#[derive(Debug)]
pub(crate) enum Bound {
    /// A memory group of cgroup v1: resident memory, page cache and sockets of the kernel; who exceeds it is killed.
    V1(PathBuf),
    /// The same of cgroup v2.
    V2(PathBuf),
    /// `ulimit -d`: heap and private mappings; an allocation above it fails.
    Data,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Bound {
    /// Takes the best that there is.
    pub(crate) fn make() -> Self {
        let name = format!("telemetry-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let group = |root: &str, limit: &str| {
            let folder = Path::new(root).join(&name);
            std::fs::create_dir(&folder).ok()?;
            if std::fs::write(folder.join(limit), (limit_mib() * 1024 * 1024).to_string()).is_err() {
                drop(std::fs::remove_dir(&folder));
                return None;
            }
            Some(folder)
        };
        if let Some(folder) = group("/sys/fs/cgroup/memory", "memory.limit_in_bytes") {
            return Self::V1(folder);
        }
        if Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
            && let Some(folder) = group("/sys/fs/cgroup", "memory.max")
        {
            return Self::V2(folder);
        }
        Self::Data
    }

    /// The words before a command that put it under this bound.
    pub(crate) fn words(&self) -> Vec<String> {
        let script = match self {
            Self::V1(folder) | Self::V2(folder) => {
                format!("echo $$ > {}/cgroup.procs && exec \"$@\"", folder.display())
            }
            Self::Data => format!("ulimit -d {} && exec \"$@\"", limit_mib() * 1024),
        };
        ["sh".into(), "-c".into(), script, "sh".into()].into()
    }

    /// What keeps it, in words.
    pub(crate) fn kept_by(&self) -> String {
        let how = match self {
            Self::V1(_) => "cgroup v1 (memory.limit_in_bytes)",
            Self::V2(_) => "cgroup v2 (memory.max)",
            Self::Data => "ulimit -d, for data alone: no memory group may be made here",
        };
        format!("{} MiB, kept by {how}", limit_mib())
    }

    /// The most that was used, in bytes, if the system tells. Memory of files that was read or written counts as well, and
    /// goes up to the bound: the system takes it back.
    pub(crate) fn used_most(&self) -> Option<u64> {
        let file = match self {
            Self::V1(folder) => folder.join("memory.max_usage_in_bytes"),
            Self::V2(folder) => folder.join("memory.peak"),
            Self::Data => return None,
        };
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Self::V1(folder) | Self::V2(folder) = self {
            // The hub has ended by now; if not, the folder stays, and is empty.
            drop(std::fs::remove_dir(folder));
        }
    }
}
