//! Checkpoints beside the writer: the write-ahead log is copied into the file on a connection and a thread of their own,
//! so that no acknowledgement waits for it.
//!
//! The writer says when the log has grown enough and goes on appending to it. Once the copy is made it copies what has come
//! in meanwhile itself, which is little: then the log is copied as a whole and begins again at its start.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use crate::error::StoreError;
use crate::schema;
use crate::writer::Writer;

type Outcome = Arc<Mutex<Option<Result<(), StoreError>>>>;

/// Copies the log whenever the writer says so. It is for a thread of its own.
#[derive(Debug)]
pub struct Checkpointer {
    connection: Connection,
    orders: Receiver<()>,
    outcome: Outcome,
}

impl Checkpointer {
    /// Serves its writer until that ends, or calls [`Writer::checkpoint_alone`].
    pub fn run(self) {
        for () in &self.orders {
            tracing::debug!(work = "checkpoint beside");
            let result = copy(&self.connection, "PASSIVE").map(drop);
            *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    }
}

/// Runs a checkpoint. Returns the length of the log, in pages.
pub(crate) fn copy(connection: &Connection, mode: &str) -> Result<i64, StoreError> {
    let mut statement = connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
    Ok(statement.query_row([], |row| row.get(1))?)
}

/// The writer's end of it.
#[derive(Debug)]
pub(crate) struct Beside {
    orders: SyncSender<()>,
    outcome: Outcome,
    /// Whether an order was given whose outcome is not known yet.
    pending: bool,
}

/// How a checkpoint beside stands.
pub(crate) enum Standing {
    /// None is under way.
    Free,
    /// It is not done yet.
    Pending,
    /// It has just ended so.
    Ended(Result<(), StoreError>),
}

impl Beside {
    /// Asks how the last one stands; of its end it tells once.
    pub(crate) fn ask(&mut self) -> Standing {
        if !self.pending {
            return Standing::Free;
        }
        match self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Standing::Pending,
            Some(result) => {
                self.pending = false;
                Standing::Ended(result)
            }
        }
    }

    /// Orders one. False: nobody serves any more.
    pub(crate) fn order(&mut self) -> bool {
        self.pending = self.orders.try_send(()).is_ok();
        self.pending
    }
}

impl Writer {
    /// From now on checkpoints are made by whoever runs the [`Checkpointer`], and not in the calls of the writer.
    pub fn checkpoint_beside(&mut self, path: &Path) -> Result<Checkpointer, StoreError> {
        let connection = schema::open_checkpointer(path)?;
        let (orders, received) = sync_channel(1);
        let outcome = Outcome::default();
        let beside = Beside { orders, outcome: Arc::clone(&outcome), pending: false };
        self.link.beside = Some(beside);
        Ok(Checkpointer { connection, orders: received, outcome })
    }

    /// Ends that: [`Checkpointer::run`] returns, and checkpoints are made by the writer again.
    pub fn checkpoint_alone(&mut self) {
        self.link.beside = None;
    }
}
