//! Every limit of protocol version 1, by name (I-6). `docs/protocol.md` prints this table.

use serde::{Deserialize, Serialize};

/// Longest device id, in bytes. Chosen: fits a URN or a MAC with a prefix.
pub const DEVICE_ID_MAX_BYTES: usize = 64;
/// Longest metric name, in bytes.
pub const METRIC_NAME_MAX_BYTES: usize = 64;
/// Longest epoch, in bytes. Chosen: holds a UUID.
pub const EPOCH_MAX_BYTES: usize = 40;
/// Longest command id, and longest group id, in bytes.
pub const COMMAND_ID_MAX_BYTES: usize = 64;
/// Longest tag of a device, in bytes.
pub const TAG_MAX_BYTES: usize = 64;
/// Longest text value of a reading, in bytes. A state name, not a document.
pub const TEXT_VALUE_MAX_BYTES: usize = 256;
/// Longest free text in a declaration (label, model, firmware, unit, choice), in bytes.
pub const LABEL_MAX_BYTES: usize = 256;
/// Most metrics that one device declares.
pub const METRICS_MAX: usize = 256;
/// Most metrics that one device may ever have declared, those that it declares no more among them. Chosen: all of them fit
/// into one message that tells of the device.
pub const METRICS_EVER_MAX: usize = 2_048;
/// Most tags that one device declares.
pub const TAGS_MAX: usize = 32;
/// Most commands that one device declares.
pub const COMMANDS_MAX: usize = 128;
/// Most parameters of one command.
pub const PARAMS_MAX: usize = 32;
/// Most choices of one parameter.
pub const CHOICES_MAX: usize = 64;
/// Most readings in one batch.
pub const READINGS_PER_BATCH_MAX: usize = 4_096;
/// Largest message that a device may send, in bytes.
pub const DEVICE_MESSAGE_MAX_BYTES: usize = 256 * 1024;
/// Largest message that a viewer may send, in bytes.
pub const VIEWER_MESSAGE_MAX_BYTES: usize = 64 * 1024;
/// Largest message that the hub sends, in bytes. A client may set its own limit to this.
pub const HUB_MESSAGE_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Largest arguments of a command, and largest result of one, in bytes of JSON.
pub const COMMAND_PAYLOAD_MAX_BYTES: usize = 16 * 1024;
/// Longest error text in a `command_update`, in bytes.
pub const COMMAND_ERROR_MAX_BYTES: usize = 1_024;
/// Most subscriptions of one viewer.
pub const SUBSCRIPTIONS_MAX: usize = 64;
/// Most patterns, and most series, that one selection names.
pub const SELECT_MAX: usize = 1_024;
/// Most history requests of one viewer that wait for an answer at once.
pub const HISTORY_PENDING_MAX: usize = 32;
/// Most buckets or readings in one `history` message; more come in further messages.
pub const HISTORY_POINTS_PER_MESSAGE: usize = 10_000;
/// Most buckets or readings that one history request may return in all.
pub const HISTORY_POINTS_MAX: usize = 1_000_000;
/// Most messages a second that a subscription may ask for.
pub const MAX_HZ: f64 = 60.0;
/// Fewest messages a second that a subscription may ask for: one in 1000 seconds.
pub const MIN_HZ: f64 = 0.001;
/// Messages a second of a subscription that does not ask.
pub const DEFAULT_HZ: f64 = 10.0;
/// Time between two pings of the hub, in seconds.
pub const HEARTBEAT_SECONDS: u32 = 7;
/// Pings without an answer after which a peer is presumed gone.
pub const HEARTBEATS_MISSED_MAX: u32 = 3;
/// Time from the 101 to a complete `hello`, in seconds.
pub const HELLO_DEADLINE_SECONDS: u32 = 10;
/// Batches that a device may have sent and not yet seen acknowledged.
pub const UNACKED_BATCHES_MAX: u32 = 256;
/// Lifetime of a command that does not say its own, in milliseconds: 5 minutes.
pub const COMMAND_LIFETIME_DEFAULT_MILLIS: u64 = 5 * 60 * 1_000;
/// Longest lifetime of a command, in milliseconds: 30 days.
pub const COMMAND_LIFETIME_MAX_MILLIS: u64 = 30 * 24 * 3_600 * 1_000;
/// Time that a connected device has for its first word about a command, in seconds; then it is `unknown`.
pub const COMMAND_ANSWER_SECONDS: u32 = 10;
/// Time that a connected device has from one word about a command to the next, in seconds, where it declared none: 1 hour.
pub const COMMAND_END_SECONDS: u32 = 3_600;
/// Time that a device has to come back and answer for a command, in seconds: 1 day. Then it is `unresolved`.
pub const COMMAND_SETTLE_SECONDS: u32 = 24 * 3_600;
/// Ids of commands that the client library remembers. Four times what a hub keeps open for one device.
pub const COMMANDS_REMEMBERED_MAX: usize = 1_024;
/// Most commands of one device that are neither finished nor expired.
pub const COMMANDS_OPEN_PER_DEVICE_MAX: usize = 256;
/// Most devices in one group of commands. Chosen: the largest fleet that a hub is measured with.
pub const GROUP_DEVICES_MAX: usize = 10_000;
/// Most patterns with which the devices of a group are named, each of which is tried on every device.
pub const GROUP_PATTERNS_MAX: usize = 256;
/// Most groups that have not ended.
pub const GROUPS_OPEN_MAX: usize = 64;
/// Rows of a list, of commands or groups, unless asked otherwise.
pub const LIST_DEFAULT: usize = 100;
/// Rows of a list that any hub gives at once: what programs ask for that read on until there are no more. Chosen: a screen of
/// charts with their commands, in one answer.
pub const LIST_PAGE: usize = 500;
/// Most rows of a list that may be asked for at once.
pub const LIST_MAX: usize = 1_000;
/// Connections of one device that the hub remembers. Chosen: some weeks of a device that is restarted every few hours.
pub const CONNECTIONS_KEPT: usize = 100;
/// Most traces that a subscription may ask for in each message.
pub const TRACES_MAX: u32 = 16;
/// Most traces that one `painted` tells of.
pub const PAINTED_MAX: usize = 512;
/// Most inspections of one viewer at once.
pub const INSPECTIONS_MAX: usize = 8;
/// Bytes of each payload that an inspection shows, unless it asks otherwise.
pub const INSPECT_PAYLOAD_DEFAULT_BYTES: u32 = 512;
/// Most bytes of each payload that an inspection may ask for.
pub const INSPECT_PAYLOAD_MAX_BYTES: u32 = 64 * 1024;
/// Frames of a device that are recorded in a tenth of a second; more are counted and left out, but for control frames and
/// those that break a rule, which have as many of their own. Chosen: more than a person reads, and little work.
pub const INSPECT_FRAMES_PER_TENTH: u32 = 200;

/// How a refusal names a limit: what it is called where hubs are set up, its value, for what it counts, and what to do.
pub fn refusal(name: &str, value: usize, scope: &str, again: &str) -> String {
    format!("{name} is {value} (per {scope}); {again}")
}

/// The limits a hub tells a device in `welcome`. A device that keeps them is never refused for size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLimits {
    /// Largest message, in bytes.
    pub message_bytes: u64,
    /// Most readings in one batch.
    pub readings_per_batch: u32,
    /// Most batches sent and not yet acknowledged.
    pub unacked_batches: u32,
    /// Longest text value, in bytes.
    pub text_bytes: u32,
}

impl Default for DeviceLimits {
    fn default() -> Self {
        Self {
            message_bytes: DEVICE_MESSAGE_MAX_BYTES as u64,
            readings_per_batch: READINGS_PER_BATCH_MAX as u32,
            unacked_batches: UNACKED_BATCHES_MAX,
            text_bytes: TEXT_VALUE_MAX_BYTES as u32,
        }
    }
}

/// The limits a hub tells a viewer in `welcome`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewerLimits {
    /// Largest message a viewer may send, in bytes.
    pub message_bytes: u64,
    /// Most subscriptions at once.
    pub subscriptions: u32,
    /// Most messages a second for one subscription.
    pub max_hz: f64,
    /// Most buckets or readings that one history request may return.
    pub history_points: u64,
    /// Most history requests waiting at once.
    pub history_pending: u32,
}

impl Default for ViewerLimits {
    fn default() -> Self {
        Self {
            message_bytes: VIEWER_MESSAGE_MAX_BYTES as u64,
            subscriptions: SUBSCRIPTIONS_MAX as u32,
            max_hz: MAX_HZ,
            history_points: HISTORY_POINTS_MAX as u64,
            history_pending: HISTORY_PENDING_MAX as u32,
        }
    }
}
