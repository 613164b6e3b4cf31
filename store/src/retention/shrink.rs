//! Gives free pages back to the disk.
//!
//! Sealing frees pages all the time and takes them again; those stay. Only when a good part of the file is free, as after
//! retention, pages move from its end to where room is, some in each slice, and the file gets shorter.

use crate::error::StoreError;
use crate::writer::{Commit, Writer};

/// Fewer free pages are kept: 16 MiB.
const FREE_MIN: i64 = 4_096;
/// The file is shrunk when more than one page in so many is free, until it is half of that.
const FREE_PART: i64 = 4;

/// What a slice of shrinking did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shrunk {
    /// Pages that the file is shorter by.
    pub pages: u64,
    /// Whether there is more to give back: call again.
    pub more: bool,
}

impl Writer {
    /// Does one slice of shrinking the file, of at most so many pages, if a good part of it is free. Call it while nothing
    /// else waits.
    ///
    /// The file itself gets shorter with the next checkpoint.
    pub fn shrink(&mut self, max_pages: u32) -> Result<Shrunk, StoreError> {
        self.link.check()?;
        let pragma = |writer: &Self, sql| -> Result<i64, StoreError> {
            Ok(writer.link.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
        };
        let pages = pragma(self, "PRAGMA page_count")?;
        let free = pragma(self, "PRAGMA freelist_count")?;
        let part = if self.retention.shrinking { 2 } else { 1 };
        self.retention.shrinking = free > FREE_MIN / part && free > pages / FREE_PART / part;
        if !self.retention.shrinking {
            return Ok(Shrunk::default());
        }
        tracing::debug!(work = "shrink");
        let done = self.link.transact(Commit::Lazy, |connection| {
            let mut statement =
                connection.prepare_cached(&format!("PRAGMA incremental_vacuum({})", max_pages.max(1)))?;
            let mut rows = statement.query([])?;
            // Each step gives one page back.
            while rows.next()?.is_some() {}
            Ok(())
        });
        if done.is_err() {
            self.retention.shrinking = false;
        }
        done?;
        let after = pragma(self, "PRAGMA page_count")?;
        if after == pages {
            // A file that was made without the map that this needs.
            self.retention.shrinking = false;
        }
        Ok(Shrunk { pages: (pages - after).max(0) as u64, more: self.retention.shrinking })
    }
}
