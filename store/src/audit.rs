//! The audit trail: who was let in, who was not, and who changed who may connect.
//!
//! What changes who may connect is written in the transaction that changes it, so that neither is there without the other.

use protocol::Timestamp;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};

use crate::error::StoreError;
use crate::reader::Reader;
use crate::types::{AuditEntry, AuditFilter, AuditRow};
use crate::writer::{Commit, Writer};

impl Writer {
    /// Adds to the audit trail.
    pub fn audit(&mut self, entries: &[AuditEntry]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.link.transact(Commit::Synced, |connection| {
            entries.iter().try_for_each(|entry| add(connection, entry))
        })
    }
}

/// Adds one entry, in the transaction that is open.
pub(crate) fn add(connection: &Connection, entry: &AuditEntry) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO audit (at, action, outcome, by, address, subject, detail, count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute((
            entry.at.0,
            entry.action,
            if entry.refused { "refused" } else { "done" },
            &entry.actor.by,
            &entry.actor.address,
            &entry.subject,
            &entry.detail,
            entry.count.max(1),
        ))?;
    Ok(())
}

impl Reader {
    /// Rows of the audit trail, newest first, at most `limit`.
    pub fn audit(&self, filter: &AuditFilter, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        let mut sql =
            "SELECT audit_key, at, action, outcome, by, address, subject, detail, count FROM audit WHERE 1"
                .to_owned();
        let mut values = Vec::new();
        let mut narrow = |condition: &str, value: Sql| {
            values.push(value);
            sql.push_str(&format!(" AND {condition} ?{}", values.len()));
        };
        if let Some(before) = filter.before {
            narrow("audit_key <", Sql::Integer(before));
        }
        if let Some(since) = filter.since {
            narrow("at >=", Sql::Integer(since.0));
        }
        if let Some(action) = &filter.action {
            narrow("action >=", Sql::Text(action.clone()));
            // No action begins with a character above these.
            narrow("action <", Sql::Text(format!("{action}\u{10ffff}")));
        }
        if let Some(by) = &filter.by {
            narrow("by =", Sql::Text(by.clone()));
        }
        if filter.refused {
            narrow("outcome =", Sql::Text("refused".into()));
        }
        values.push(Sql::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
        sql.push_str(&format!(" ORDER BY audit_key DESC LIMIT ?{}", values.len()));
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(AuditRow {
                key: row.get(0)?,
                at: Timestamp(row.get(1)?),
                action: row.get(2)?,
                outcome: row.get(3)?,
                by: row.get(4)?,
                address: row.get(5)?,
                subject: row.get(6)?,
                detail: row.get(7)?,
                count: row.get(8)?,
            });
        }
        Ok(found)
    }
}
