//! A WebSocket to a hub that stays connected: connect, authenticate, heartbeat, reconnect, outbox.

pub mod backoff;
pub mod claim;
pub mod connect;
pub mod device;
pub mod dialer;
pub mod ending;
pub mod endpoint;
pub mod heartbeat;
mod line;
mod link;
pub mod tls;
pub mod viewer;

pub use backoff::BackoffConfig;
pub use dialer::Dialer;
pub use ending::{ConnectError, Ending};
pub use endpoint::{Endpoint, EndpointError, Given, Token, TokenRole};
pub use tls::{Tls, TlsError, TlsFiles, Transport};
