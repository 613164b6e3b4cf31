//! The storage engine: one SQLite file that holds devices, readings, commands and credentials.
//!
//! It owns all SQL of the project (I-9); `schema.sql` is its format. It is synchronous, knows no network and no clock:
//! time is an argument.
//!
//! - One [`Writer`], on a thread of its own, owns the only connection that writes. What it returned `Ok` for is synced
//!   to disk (I-1), and a batch that comes again is recognised in the transaction that would store it (I-2).
//! - Any number of [`Reader`]s, one for each thread that asks. Every query sees one consistent state of the file and
//!   says up to which [`Position`](protocol::Position) it looked.
//!
//! Limits: one process writes (a lock file sees to it). Every row that is read is checked; a damaged file gives
//! [`StoreError::Corrupt`], never a panic (I-7).

mod append;
mod audit;
mod backup;
mod block;
mod checkpoint;
mod claim;
mod command;
mod connection;
mod credential;
mod device;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod history;
mod hot;
mod hot_row;
mod latest;
mod leavings;
mod points;
mod reader;
mod recent;
mod retention;
mod row;
mod scan;
mod schema;
mod sql;
mod stats;
mod types;
mod verify;
mod writer;

pub use backup::{BackedUp, CopyNotice, CopyVisitor, Pace, Restored, restore};
pub use checkpoint::Checkpointer;
pub use error::StoreError;
pub use reader::Reader;
pub use retention::{KeptBuckets, Retained, RetentionPolicy, RetentionRule, Shrunk};
pub use scan::Scan;
pub use schema::SCHEMA;
pub use sql::{Cell, Sql};
pub use types::{
    Appended, AuditEntry, AuditFilter, AuditRow, Batch, BatchContent, BucketHistory, Claim, CommandFilter,
    ConnectionEvent, ConnectionNote, Credential, CredentialKey, CredentialRole, DeviceAccount, DeviceKey,
    DeviceRecord, DeviceStats, GroupChange, Latest, Merged, NewClaim, NewCredential, OpenGroup, Outcome,
    RawHistory, Registered, Row, SealPolicy, Sealed, Since, Sizes, Stats, StreamKey, StreamLedger,
};
pub use verify::{Depth, Finding, Notice, Stage, Verified};
pub use writer::Writer;
