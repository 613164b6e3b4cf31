//! A small pool of read-only connections, used from async code.
//!
//! A query runs on a blocking thread with a connection of its own; at most so many as `queries_at_once` says run at once, others wait.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use store::{Reader, StoreError};
use tokio::sync::Semaphore;

use crate::limits::{Limit, Limits};
use crate::metrics::Metrics;

/// The pool.
#[derive(Clone)]
pub struct Readers {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    idle: Mutex<Vec<Reader>>,
    permits: Arc<Semaphore>,
    /// Queries run where they are asked.
    here: bool,
    metrics: Arc<Metrics>,
}

impl Readers {
    /// Makes a pool for the database at `path`. Connections are opened when first needed.
    pub fn new(path: PathBuf, limits: &Limits, metrics: Arc<Metrics>) -> Self {
        Self::make(path, limits, metrics, false)
    }

    /// The same without threads, for simulations: a query holds up whoever asks, and everybody else.
    pub fn here(path: PathBuf, limits: &Limits, metrics: Arc<Metrics>) -> Self {
        Self::make(path, limits, metrics, true)
    }

    fn make(path: PathBuf, limits: &Limits, metrics: Arc<Metrics>, here: bool) -> Self {
        let at_once = limits.count(Limit::QueriesAtOnce);
        let permits = Arc::new(Semaphore::new(at_once));
        let idle = Mutex::new(Vec::with_capacity(at_once));
        Self { inner: Arc::new(Inner { path, idle, permits, here, metrics }) }
    }

    /// Runs `query` with a connection of its own.
    pub async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    {
        if self.inner.permits.available_permits() == 0 {
            self.inner.metrics.reached(Limit::QueriesAtOnce);
        }
        let Ok(permit) = Arc::clone(&self.inner.permits).acquire_owned().await else {
            return Err(StoreError::Busy("the hub is stopping".into()));
        };
        let inner = Arc::clone(&self.inner);
        let work = move || {
            let _permit = permit;
            let idle = inner.idle.lock().ok().and_then(|mut idle| idle.pop());
            let reader = match idle {
                Some(reader) => reader,
                None => Reader::open(&inner.path)?,
            };
            let answer = query(&reader);
            if answer.is_ok()
                && let Ok(mut idle) = inner.idle.lock()
            {
                idle.push(reader);
            }
            answer
        };
        if self.inner.here {
            return work();
        }
        match tokio::task::spawn_blocking(work).await {
            Ok(answer) => answer,
            Err(e) => Err(StoreError::Corrupt(format!("a query failed unexpectedly: {e}"))),
        }
    }
}
