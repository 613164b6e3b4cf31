//! A WebSocket to a hub that stays connected: connect, authenticate, heartbeat, reconnect, outbox.

pub mod endpoint;
pub mod viewer;

pub use endpoint::{Endpoint, EndpointError, Token, TokenRole};
