//! Another way to a hub's port than its address: from a certain address of this machine, for thousands of devices in one
//! process; or within the process, for simulations.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use crate::tls::Transport;

type Dialing = Pin<Box<dyn Future<Output = io::Result<Transport>> + Send>>;

/// Makes the connection that the upgrade goes over. It is taken as it is: what TLS it needs is the dialer's affair.
#[derive(Clone)]
pub struct Dialer(Arc<dyn Fn() -> Dialing + Send + Sync>);

impl Dialer {
    /// Calls `dial` for each attempt to connect.
    pub fn new<F>(dial: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Transport>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(dial())))
    }

    pub(crate) fn dial(&self) -> Dialing {
        (self.0)()
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialer(…)")
    }
}
