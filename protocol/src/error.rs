//! Codes: why something was refused, and why a connection was closed.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// All codes, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as it stands on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

codes! {
    /// Why the hub refused a batch.
    RefuseCode {
        /// The message has a `seq` but is otherwise not a `readings` message: a field is missing, or a value is none
        /// (`null`, `NaN`, a text that is too long). Final.
        Malformed = "malformed",
        /// More readings than a batch may hold. Final.
        TooLarge = "too_large",
        /// A metric that `hello` did not declare. Final.
        UnknownMetric = "unknown_metric",
        /// A value of another kind than the metric was declared with. Final.
        WrongKind = "wrong_kind",
        /// A time outside 1970 to 2100. Final.
        BadTime = "bad_time",
        /// Batches before this one are missing. Send this one and all after it, or `skip` what is lost.
        OutOfOrder = "out_of_order",
        /// More than the device may send in this time. Try again.
        RateLimited = "rate_limited",
        /// No room on the hub's disk. Try again.
        StorageFull = "storage_full",
        /// The hub cannot store right now. Try again.
        Busy = "busy",
    }
}

impl RefuseCode {
    /// Whether the same batch may be accepted later. If not, the device gives the batch up and counts it as refused.
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::Malformed | Self::TooLarge | Self::UnknownMetric | Self::WrongKind | Self::BadTime => false,
            Self::OutOfOrder | Self::RateLimited | Self::StorageFull | Self::Busy => true,
        }
    }
}

codes! {
    /// What an `error` message is about. The connection stays open.
    ErrorCode {
        /// Not JSON, not an object, or no `type`.
        Malformed = "malformed",
        /// A `type` this version does not know.
        UnknownType = "unknown_type",
        /// A field is missing, of the wrong type, or out of range.
        BadField = "bad_field",
        /// A message that does not belong here: a second `hello`, say.
        Unexpected = "unexpected",
        /// The device, series or command named does not exist.
        NotFound = "not_found",
        /// The role of the credential does not allow this.
        Forbidden = "forbidden",
        /// A limit is reached; the message names it.
        LimitReached = "limit_reached",
        /// A command that the device did not declare, or arguments it did not declare.
        BadCommand = "bad_command",
        /// A command is in a state in which this cannot be done any more.
        WrongState = "wrong_state",
        /// The hub could not do it; its log says why.
        Internal = "internal",
    }
}

macro_rules! close_codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $retry:literal, $reason:literal;)*) => {
        /// The code in a close frame. 1000 to 1015 are those of RFC 6455, 4000 to 4099 are this protocol's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum CloseCode { $($(#[$doc])* $variant,)* }

        impl CloseCode {
            /// All codes that either side of this protocol sends.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The number in the close frame.
            pub const fn number(self) -> u16 {
                match self { $(Self::$variant => $number,)* }
            }

            /// The code for a number, if it is one of this protocol's.
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// Whether the same client should connect again by itself.
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$variant => $retry,)* }
            }

            /// The reason in the close frame where nothing more precise is known.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$variant => $reason,)* }
            }
        }
    };
}

close_codes! {
    /// Done; the side that closes wants nothing more.
    Normal = 1000, true, "done";
    /// The hub is stopping, or the client is.
    GoingAway = 1001, true, "going away";
    /// The peer broke the rules of the WebSocket protocol.
    ProtocolError = 1002, false, "not valid WebSocket";
    /// A binary message: this subprotocol speaks text.
    Unsupported = 1003, false, "binary messages are not spoken in telemetry.v1.json";
    /// A text message that is not UTF-8.
    InvalidUtf8 = 1007, false, "text is not UTF-8";
    /// Refused for a reason that no other code names.
    Policy = 1008, false, "not allowed";
    /// A message larger than the receiver takes.
    TooBig = 1009, false, "message too large";
    /// The hub failed at something it should not have failed at.
    Internal = 1011, true, "internal error";
    /// Another connection of the same device took over (I-13).
    Replaced = 4000, false, "another connection of this device took over";
    /// The first message was not a valid `hello`.
    HelloExpected = 4001, false, "the first message must be a valid hello";
    /// No `hello` within its deadline.
    HelloTimeout = 4002, true, "no hello in time";
    /// The credential was revoked.
    Revoked = 4003, false, "credential revoked";
    /// No pong to several pings.
    HeartbeatLost = 4004, true, "no answer to pings";
    /// A viewer that does not read what it asked for.
    TooSlow = 4005, true, "reads too slowly";
    /// The hub's disk failed; it stops and does not acknowledge any more.
    StorageFailed = 4006, true, "storage failed";
    /// The credential belongs to another device.
    WrongDevice = 4007, false, "credential is for another device";
    /// Sent more than its rate for too long, though it was slowed.
    TooFast = 4008, true, "sends too fast";
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number(), self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_read_back_as_they_were_written() {
        for code in CloseCode::ALL {
            assert_eq!(CloseCode::from_number(code.number()), Some(*code));
            assert!(code.reason().len() <= 123, "a close reason has at most 123 bytes (RFC 6455, 5.5)");
        }
        assert_eq!(CloseCode::from_number(4999), None);
    }
}
