//! Why a connection could not be made or came to its end, and whether trying again by itself makes sense.

use std::time::Duration;

use protocol::CloseCode;

/// Longest wait that a hub may ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_mins(10);

/// Why no connection was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers at the address, or the network lost the connection.
    #[error("{address} cannot be reached: {problem}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// What the system said.
        problem: String,
    },
    /// The hub did not finish the upgrade in time.
    #[error("{address} did not answer within {} s", after.as_secs())]
    TimedOut {
        /// `host:port`.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// TLS was not agreed on: the hub's certificate is not to be trusted, ours is not by the hub, or one of both speaks
    /// none.
    #[error("no TLS with {address}: {problem}")]
    Tls {
        /// `host:port`.
        address: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// 401: the hub does not know the token.
    #[error("the hub does not accept the token: {message}")]
    Unauthorized {
        /// What the hub said.
        message: String,
    },
    /// 403: the hub knows the token, and it does not allow this.
    #[error("the token does not allow this: {message}")]
    Forbidden {
        /// What the hub said.
        message: String,
    },
    /// The hub answered with another status than 101.
    #[error("the hub refused the connection with HTTP {status}: {message}")]
    Refused {
        /// The status.
        status: u16,
        /// What the hub said.
        message: String,
        /// How long the hub asks to wait, at most [`RETRY_AFTER_MAX`].
        retry_after: Option<Duration>,
    },
    /// Whoever answers does not speak this protocol.
    #[error("{address} is not a hub that speaks {}: {problem}", protocol::SUBPROTOCOL)]
    NotAHub {
        /// `host:port`.
        address: String,
        /// What it did.
        problem: String,
    },
}

impl ConnectError {
    /// Whether the same attempt may succeed later without anybody doing anything.
    pub const fn is_retryable(&self) -> bool {
        match self {
            // A certificate that has expired is renewed at the hub: a fleet must not have to be touched for that.
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Tls { .. } => true,
            Self::Unauthorized { .. } | Self::Forbidden { .. } | Self::NotAHub { .. } => false,
            // 408 and 429 say "later" and 5xx says "my fault"; any other status says that the request is wrong.
            Self::Refused { status, .. } => matches!(*status, 408 | 429 | 500..=599),
        }
    }
}

/// How a connection, or the attempt to make one, came to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// There was no connection to begin with.
    #[error(transparent)]
    NotConnected(#[from] ConnectError),
    /// The hub closed it in order.
    #[error("the hub closed the connection: {}", describe(*code, reason))]
    Closed {
        /// The code of the close frame, if there was one.
        code: Option<u16>,
        /// The reason in the close frame.
        reason: String,
    },
    /// It broke without a close frame.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// Nothing was heard of the hub for too long.
    #[error("nothing was heard of the hub for {} s", .0.as_secs())]
    Silent(Duration),
    /// The hub did not say welcome in time.
    #[error("the hub did not say welcome within {} s", .0.as_secs())]
    NoWelcome(Duration),
    /// The hub broke the rules; we close with the code.
    #[error("the hub broke the protocol: {problem}")]
    Broken {
        /// What the hub is told.
        code: CloseCode,
        /// What it did.
        problem: String,
    },
    /// Our own side wanted it.
    #[error("{0}")]
    Asked(&'static str),
}

impl Ending {
    /// Whether to connect again by itself, after the usual wait.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotConnected(error) => error.is_retryable(),
            // A code that this version does not know may come from a newer hub: the waits keep it harmless.
            Self::Closed { code, .. } => {
                code.and_then(CloseCode::from_number).is_none_or(CloseCode::is_retryable)
            }
            Self::Lost(_) | Self::Silent(_) | Self::NoWelcome(_) | Self::Broken { .. } | Self::Asked(_) => {
                true
            }
        }
    }

    /// What the hub asks to wait in addition to our own wait.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NotConnected(ConnectError::Refused { retry_after, .. }) => *retry_after,
            Self::NotConnected(_)
            | Self::Closed { .. }
            | Self::Lost(_)
            | Self::Silent(_)
            | Self::NoWelcome(_)
            | Self::Broken { .. }
            | Self::Asked(_) => None,
        }
    }

    /// Whether another connection has taken this one's place. Coming back would only throw that one out in turn.
    pub fn is_replaced(&self) -> bool {
        self.code() == Some(CloseCode::Replaced.number())
    }

    /// The code of the hub's close frame, if it sent one.
    pub const fn code(&self) -> Option<u16> {
        match self {
            Self::Closed { code, .. } => *code,
            Self::NotConnected(_)
            | Self::Lost(_)
            | Self::Silent(_)
            | Self::NoWelcome(_)
            | Self::Broken { .. }
            | Self::Asked(_) => None,
        }
    }

    /// What to tell the hub when it can still hear us.
    pub const fn farewell(&self) -> Option<CloseCode> {
        match self {
            Self::Broken { code, .. } => Some(*code),
            Self::Silent(_) => Some(CloseCode::HeartbeatLost),
            Self::NoWelcome(_) => Some(CloseCode::Policy),
            Self::NotConnected(_) | Self::Closed { .. } | Self::Lost(_) | Self::Asked(_) => None,
        }
    }
}

fn describe(code: Option<u16>, reason: &str) -> String {
    let known = code.and_then(CloseCode::from_number).map_or("", CloseCode::reason);
    match (code, reason.is_empty()) {
        (Some(code), false) => format!("{reason} ({code})"),
        (Some(code), true) if known.is_empty() => format!("code {code}"),
        (Some(code), true) => format!("{known} ({code})"),
        (None, _) => "without a code".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_mend_itself_is_tried_again() {
        let refused = |status| ConnectError::Refused { status, message: String::new(), retry_after: None };
        for (error, retry) in [
            (ConnectError::Unauthorized { message: String::new() }, false),
            (ConnectError::Forbidden { message: String::new() }, false),
            (refused(400), false),
            (refused(404), false),
            (refused(426), false),
            (refused(429), true),
            (refused(503), true),
        ] {
            assert_eq!(error.is_retryable(), retry, "{error}");
        }
        for code in CloseCode::ALL {
            let ending = Ending::Closed { code: Some(code.number()), reason: String::new() };
            assert_eq!(ending.is_retryable(), code.is_retryable(), "{ending}");
        }
        assert!(Ending::Closed { code: Some(4_099), reason: String::new() }.is_retryable());
    }

    #[test]
    fn a_close_says_its_reason_and_code_once() {
        let text = |code, reason: &str| Ending::Closed { code, reason: reason.into() }.to_string();
        assert_eq!(text(Some(1001), ""), "the hub closed the connection: going away (1001)");
        assert_eq!(text(Some(1001), "stopping"), "the hub closed the connection: stopping (1001)");
        assert_eq!(text(None, ""), "the hub closed the connection: without a code");
    }
}
