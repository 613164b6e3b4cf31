//! What a process has used so far, as Linux tells in `/proc`.

use std::path::PathBuf;

/// What a process has used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// Processor time, user and system, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Bytes that it had the disk write; `None` if the process is another user's.
    pub(crate) written_bytes: Option<u64>,
    /// Memory that it holds, in bytes: what it maps of files with it.
    pub(crate) resident_bytes: u64,
    /// Of that, what is no file's: heap and stacks.
    pub(crate) anonymous_bytes: u64,
}

impl Usage {
    /// Of a process, or with `None` of this one. `None`: there is no such process, or the system does not tell.
    pub(crate) fn read(pid: Option<u32>) -> Option<Self> {
        let folder =
            PathBuf::from("/proc").join(pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string()));
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let (stat, status) = (text("stat")?, text("status")?);
        let written = text("io").and_then(|io| number(&io, "write_bytes:"));
        Some(Self {
            cpu_seconds: cpu_seconds(&stat)?,
            written_bytes: written,
            resident_bytes: number(&status, "VmRSS:")? * 1_024,
            anonymous_bytes: number(&status, "RssAnon:")? * 1_024,
        })
    }
}

/// Fields 14 and 15 of `stat`, in hundredths of a second on every Linux that Rust runs on (`getconf CLK_TCK`).
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the program's name in brackets and may hold spaces.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / 100.0)
}

/// The number after `name` at the start of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_has_used_is_known_on_linux() {
        let usage = Usage::read(None);
        assert_eq!(usage.is_some(), cfg!(target_os = "linux"));
        assert!(usage.is_none_or(|usage| usage.resident_bytes >= usage.anonymous_bytes));
        assert_eq!(Usage::read(Some(u32::MAX)), None);
        assert_eq!(cpu_seconds("1 (a b) c) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0"), Some(2.0));
    }
}
