//! Every limit of the hub, in one table: its name, what it is unless set, what it counts for, what happens when it is
//! reached, and when to try again (I-6).
//!
//! The name is the key in `hub.toml`, the name of its metrics and the name in refusals. `docs/operations.md` prints the table,
//! and a test walks it. A number that bounds something and is not here is no limit of its own but follows from one.

use std::fmt;
use std::time::Duration;

use protocol::DeviceId;
use protocol::declare::{CommandDeclaration, ParamDeclaration};
use protocol::device::Hello;
use protocol::limits as wire;
use protocol::viewer::LATE_OR_LOST_MAX;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, Visitor};

use crate::session::viewer;
use crate::wire::{heads, recording};
use crate::{auth, door, handshake, ingest};

/// What happens when a limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// What was asked is refused, by name.
    Refused,
    /// The connection is closed: with this code where it is a WebSocket, else as HTTP can.
    Closed(u16),
    /// Whoever sends is not read, or waits, until there is room. Nothing is lost.
    Waits,
    /// Something is left out, and that is told, or told anew as a whole.
    LeftOut,
    /// The oldest is forgotten, or what is new is not remembered apart.
    Forgotten,
    /// Nothing by itself: it measures out another limit.
    Measure,
}

impl Reached {
    /// In words, for a person.
    pub fn words(self) -> String {
        match self {
            Self::Refused => "refused".into(),
            Self::Closed(0) => "closed".into(),
            Self::Closed(code) => format!("closed, {code}"),
            Self::Waits => "waits".into(),
            Self::LeftOut => "left out and told".into(),
            Self::Forgotten => "forgotten".into(),
            Self::Measure => String::new(),
        }
    }

    /// Whether somebody is told no.
    pub const fn refuses(self) -> bool {
        matches!(self, Self::Refused | Self::Closed(_))
    }
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])* $variant:ident = $key:literal, $default:expr, $min:expr => $max:expr, $scope:literal, $reached:expr, $again:literal;)*) => {
        /// A limit, by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Limit { $($(#[doc = $doc])* $variant,)* }

        impl Limit {
            /// All of them, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Its key in `hub.toml`, with the section before it.
            pub const fn key(self) -> &'static str {
                match self { $(Self::$variant => $key,)* }
            }

            /// What it is unless it is set.
            pub const fn default(self) -> u64 {
                match self { $(Self::$variant => $default as u64,)* }
            }

            /// The least and the most it may be set to.
            pub const fn bounds(self) -> (u64, u64) {
                match self { $(Self::$variant => ($min as u64, $max as u64),)* }
            }

            /// For what it counts: so much for each of these.
            pub const fn scope(self) -> &'static str {
                match self { $(Self::$variant => $scope,)* }
            }

            /// What happens when it is reached.
            pub const fn reached(self) -> Reached {
                match self { $(Self::$variant => $reached,)* }
            }

            /// When to try again, and with what.
            pub const fn again(self) -> &'static str {
                match self { $(Self::$variant => $again,)* }
            }

            /// What it limits, as the comment on it says.
            pub fn what(self) -> String {
                let lines: &[&str] = match self { $(Self::$variant => &[$($doc,)*],)* };
                lines.concat().trim().trim_end_matches('.').to_owned()
            }
        }
    };
}

use Reached::{Closed, Forgotten, LeftOut, Measure, Refused, Waits};

/// Longest time that may be set for a step, in seconds.
const STEP_MAX: u64 = 300;
/// Most that may be set of what is counted, where nothing else bounds it.
const MANY: u64 = 1_000_000;
/// Longest wait that may be set for commands, in seconds: 1 year.
const YEAR: u64 = 365 * 24 * 3_600;

limits! {
    /// connections at once.
    MaxConnections = "max_connections", 10_000, 1 => MANY, "hub", Refused, "try again in 5 s";
    /// connections that have shown no credential. Those from this machine are counted only where the key is set: a proxy here makes all peers come from here.
    StrangersPerAddress = "limits.strangers_per_address", 1_024, 1 => MANY, "address", Refused, "try again in 5 s";
    /// wrong credentials in a minute; further ones wait `guess_seconds` each, and claims of that address wait.
    FailuresPerMinute = "limits.failures_per_minute", 30, 1 => MANY, "address", Refused, "try again when the answer says";
    /// for which each of those further answers waits.
    GuessSeconds = "limits.guess_seconds", 1, 1 => 60, "answer", Measure, "";
    /// addresses whose strangers and failures are counted apart; those beyond share one count.
    AddressesKnown = "limits.addresses_known", 50_000, 1 => 10_000_000, "hub", Forgotten, "";
    /// connections that wait to be accepted by the hub.
    AcceptBacklog = "limits.accept_backlog", 4_096, 1 => 65_535, "hub", Waits, "";
    /// from accepting a connection to the end of the handshake of TLS.
    TlsHandshakeSeconds = "limits.tls_handshake_seconds", 10, 1 => STEP_MAX, "connection", Closed(0), "try again at once";
    /// from there, or from the answer before, to the whole head of a request.
    RequestHeadSeconds = "limits.request_head_seconds", 10, 1 => STEP_MAX, "request", Closed(0), "try again at once";
    /// headers of a request; then 431.
    RequestHeaders = "limits.request_headers", 64, 16 => 1_000, "request", Refused, "send fewer";
    /// bytes of the head of a request; then 431.
    RequestHeadBytes = "limits.request_head_bytes", 16 * 1024, 8 * 1024 => 1024 * 1024, "request", Refused, "send less";
    /// bytes of the body of a request; then 413.
    RequestBodyBytes = "limits.request_body_bytes", wire::VIEWER_MESSAGE_MAX_BYTES, 1_024 => 16 * 1024 * 1024, "request", Refused, "send less";
    /// from the head of a request to its answer, the body in it; then 408.
    RequestSeconds = "limits.request_seconds", 30, 1 => STEP_MAX, "request", Refused, "try again at once";
    /// connections whose first request is worked on; those beyond wait, with what they sent and nothing more.
    HandshakesAtOnce = "limits.handshakes_at_once", 256, 1 => MANY, "hub", Waits, "";
    /// tickets that are open.
    TicketsOpen = "limits.tickets_open", 10_000, 1 => MANY, "hub", Refused, "try again in 30 s";
    /// tickets of one token that are open.
    TicketsPerToken = "limits.tickets_per_token", 256, 1 => MANY, "token", Refused, "use them, or try again in 30 s";
    /// for which a ticket is good.
    TicketSeconds = "limits.ticket_seconds", 30, 1 => STEP_MAX, "ticket", Measure, "";
    /// for which a claim may be good.
    ClaimSeconds = "limits.claim_seconds", 30 * 24 * 3_600, 1 => YEAR, "claim", Refused, "ask for less";
    /// from the 101 to a whole `hello`.
    HelloSeconds = "limits.hello_seconds", wire::HELLO_DEADLINE_SECONDS, 1 => STEP_MAX, "device", Closed(4002), "try again at once";
    /// between two pings to a peer.
    HeartbeatSeconds = "heartbeat_seconds", wire::HEARTBEAT_SECONDS, 1 => 3_600, "connection", Measure, "";
    /// pings in a row without a word; at the next one the peer is presumed gone.
    HeartbeatsMissed = "limits.heartbeats_missed", wire::HEARTBEATS_MISSED_MAX, 1 => 100, "connection", Closed(4004), "try again at once";
    /// for a peer to let one message, or an answer over HTTP, into its receive buffer.
    WriteSeconds = "limits.write_seconds", 10, 1 => STEP_MAX, "connection", Closed(4005), "read what comes, and try again at once";
    /// for a viewer that does not read to read on.
    ViewerStuckSeconds = "limits.viewer_stuck_seconds", 20, 1 => STEP_MAX, "viewer", Closed(4005), "read what comes, and try again at once";
    /// connections that are told at once why they are turned away; those beyond are closed without a word.
    TurnedAway = "limits.turned_away", 64, 1 => 10_000, "hub", Closed(0), "try again in 5 s";
    /// for a peer to answer a close frame.
    CloseSeconds = "limits.close_seconds", 2, 1 => STEP_MAX, "connection", Closed(0), "try again at once";
    /// for an orderly stop, before the rest is cut off.
    ShutdownSeconds = "shutdown_seconds", 5, 1 => 600, "hub", Closed(1001), "try again once the hub is back";

    /// readings a second of a device with a token of its own or a certificate.
    DeviceReadings = "limits.device_readings_per_second", 50_000, 1 => 1_000_000_000, "device", Closed(4008), "send fewer, and try again when the message says";
    /// messages a second of such a device, pings and all.
    DeviceMessages = "limits.device_messages_per_second", 2_000, 1 => 1_000_000_000, "device", Closed(4008), "send fewer, and try again when the message says";
    /// readings a second of a device that connects with a fleet token.
    FleetReadings = "limits.fleet_readings_per_second", 5_000_000, 1 => 1_000_000_000, "device", Closed(4008), "send fewer, and try again when the message says";
    /// messages a second of such a device, pings and all.
    FleetMessages = "limits.fleet_messages_per_second", 500_000, 1 => 1_000_000_000, "device", Closed(4008), "send fewer, and try again when the message says";
    /// messages a second of a viewer, pings and all.
    ViewerMessages = "limits.viewer_messages_per_second", 500, 1 => 1_000_000_000, "viewer", Closed(4008), "send fewer, and try again when the message says";
    /// messages a second of an operator or an administrator at `/v1/viewer`.
    OperatorMessages = "limits.operator_messages_per_second", 50_000, 1 => 1_000_000_000, "viewer", Closed(4008), "send fewer, and try again when the message says";
    /// seconds for which a rate may be used at once by whoever was quiet before.
    RateBurstSeconds = "limits.rate_burst_seconds", 10, 1 => 3_600, "rate", Measure, "";
    /// seconds above its rate, slowed by not being read, after which a peer is refused.
    RatePatienceSeconds = "limits.rate_patience_seconds", 60, 1 => 86_400, "rate", Measure, "";

    /// bytes of a message of a device.
    DeviceMessageBytes = "limits.device_message_bytes", wire::DEVICE_MESSAGE_MAX_BYTES, 1_024 => wire::DEVICE_MESSAGE_MAX_BYTES, "message", Closed(1009), "send smaller ones";
    /// bytes of a message of a viewer.
    ViewerMessageBytes = "limits.viewer_message_bytes", wire::VIEWER_MESSAGE_MAX_BYTES, 1_024 => wire::VIEWER_MESSAGE_MAX_BYTES, "message", Closed(1009), "send smaller ones";
    /// bytes that wait to be written to a device.
    DeviceUnsentBytes = "limits.device_unsent_bytes", 256 * 1024, 64 * 1024 => 16 * 1024 * 1024, "device", Closed(4005), "read what comes, and try again at once";
    /// readings in a batch.
    ReadingsPerBatch = "limits.readings_per_batch", wire::READINGS_PER_BATCH_MAX, 1 => wire::READINGS_PER_BATCH_MAX, "batch", Refused, "send smaller ones";
    /// batches sent and not settled.
    UnackedBatches = "limits.unacked_batches", wire::UNACKED_BATCHES_MAX, 1 => wire::UNACKED_BATCHES_MAX, "device", Waits, "";
    /// devices that are known.
    Devices = "limits.devices", 100_000, 1 => 10_000_000, "hub", Refused, "use ids that are known, or set it higher";
    /// bytes of a device id.
    DeviceIdBytes = "limits.device_id_bytes", wire::DEVICE_ID_MAX_BYTES, 1 => wire::DEVICE_ID_MAX_BYTES, "name", Refused, "choose a shorter one";
    /// bytes of the name of a metric, a command or a parameter.
    MetricNameBytes = "limits.metric_name_bytes", wire::METRIC_NAME_MAX_BYTES, 1 => wire::METRIC_NAME_MAX_BYTES, "name", Refused, "choose a shorter one";
    /// bytes of an epoch.
    EpochBytes = "limits.epoch_bytes", wire::EPOCH_MAX_BYTES, 1 => wire::EPOCH_MAX_BYTES, "name", Refused, "choose a shorter one";
    /// bytes of the id of a command or of a group.
    CommandIdBytes = "limits.command_id_bytes", wire::COMMAND_ID_MAX_BYTES, wire::COMMAND_ID_MAX_BYTES => wire::COMMAND_ID_MAX_BYTES, "name", Refused, "choose a shorter one";
    /// bytes of a tag.
    TagBytes = "limits.tag_bytes", wire::TAG_MAX_BYTES, 1 => wire::TAG_MAX_BYTES, "name", Refused, "choose a shorter one";
    /// bytes of a label, model, firmware, unit or choice.
    LabelBytes = "limits.label_bytes", wire::LABEL_MAX_BYTES, 1 => wire::LABEL_MAX_BYTES, "text", Refused, "choose a shorter one";
    /// bytes of a text value.
    TextValueBytes = "limits.text_value_bytes", wire::TEXT_VALUE_MAX_BYTES, 1 => wire::TEXT_VALUE_MAX_BYTES, "reading", Refused, "send a shorter one";
    /// metrics that a device declares.
    MetricsPerDevice = "limits.metrics_per_device", wire::METRICS_MAX, 1 => wire::METRICS_MAX, "device", Refused, "declare fewer";
    /// metrics that a device has ever declared.
    MetricsEverPerDevice = "limits.metrics_ever_per_device", wire::METRICS_EVER_MAX, 1 => wire::METRICS_EVER_MAX, "device", Refused, "use names again";
    /// tags that a device declares.
    TagsPerDevice = "limits.tags_per_device", wire::TAGS_MAX, 0 => wire::TAGS_MAX, "device", Refused, "declare fewer";
    /// commands that a device declares.
    CommandsPerDevice = "limits.commands_per_device", wire::COMMANDS_MAX, 0 => wire::COMMANDS_MAX, "device", Refused, "declare fewer";
    /// parameters of a command.
    ParamsPerCommand = "limits.params_per_command", wire::PARAMS_MAX, 0 => wire::PARAMS_MAX, "command", Refused, "declare fewer";
    /// choices of a parameter.
    ChoicesPerParam = "limits.choices_per_param", wire::CHOICES_MAX, 0 => wire::CHOICES_MAX, "parameter", Refused, "declare fewer";

    /// subscriptions of a viewer.
    Subscriptions = "limits.subscriptions", wire::SUBSCRIPTIONS_MAX, 1 => wire::SUBSCRIPTIONS_MAX, "viewer", Refused, "unsubscribe one first";
    /// messages a second that a subscription asks for.
    SubscriptionHz = "limits.subscription_hz", wire::MAX_HZ, 2 => wire::MAX_HZ, "subscription", Refused, "ask for fewer";
    /// inspections of an operator that are open.
    Inspections = "limits.inspections", wire::INSPECTIONS_MAX, 1 => wire::INSPECTIONS_MAX, "viewer", Refused, "stop one first";
    /// bytes of each payload that an inspection asks for.
    InspectPayloadBytes = "limits.inspect_payload_bytes", wire::INSPECT_PAYLOAD_MAX_BYTES, wire::INSPECT_PAYLOAD_DEFAULT_BYTES => wire::INSPECT_PAYLOAD_MAX_BYTES, "inspection", Refused, "ask for fewer";
    /// frames of an inspected device that are shown of a tenth of a second, and as many that are control frames or break a rule.
    InspectFrames = "limits.inspect_frames", wire::INSPECT_FRAMES_PER_TENTH, 1 => wire::INSPECT_FRAMES_PER_TENTH, "device", LeftOut, "";
    /// bytes of records that are kept of an inspected device, for viewers that are behind.
    InspectBytes = "limits.inspect_bytes", 4 * 1024 * 1024, 512 * 1024 => 256 * 1024 * 1024, "device", LeftOut, "";
    /// records that are kept of an inspected device.
    InspectRecords = "limits.inspect_records", 4_096, 512 => MANY, "device", LeftOut, "";
    /// traces that a subscription asks for in each message.
    Traces = "limits.traces", wire::TRACES_MAX, 1 => wire::TRACES_MAX, "subscription", Refused, "ask for fewer";
    /// traces of which one `painted` tells.
    PaintedWaits = "limits.painted_waits", wire::PAINTED_MAX, 1 => wire::PAINTED_MAX, "message", Refused, "tell them in several messages";
    /// rows of a list that are asked for at once: commands, groups, tokens, claims, the audit trail; not below 500.
    ListRows = "limits.list_rows", wire::LIST_MAX, wire::LIST_PAGE => wire::LIST_MAX, "request", Refused, "ask for fewer, and for those before them with before";
    /// connections of a device that are remembered.
    ConnectionsKept = "limits.connections_kept", wire::CONNECTIONS_KEPT, 1 => wire::CONNECTIONS_KEPT, "device", Forgotten, "";
    /// entries of a selection, all lists together.
    SelectEntries = "limits.select_entries", wire::SELECT_MAX, 1 => wire::SELECT_MAX, "selection", Refused, "use patterns, or ask several times";
    /// requests `history` and `latest` that wait for an answer.
    HistoryPending = "limits.history_pending", wire::HISTORY_PENDING_MAX, 1 => wire::HISTORY_PENDING_MAX, "viewer", Refused, "try again when one is answered";
    /// points or buckets of one history request.
    HistoryPoints = "limits.history_points", wire::HISTORY_POINTS_MAX, 1 => wire::HISTORY_POINTS_MAX, "request", Refused, "ask for a shorter time or a coarser step";
    /// commands of a device that have not ended.
    CommandsOpenPerDevice = "limits.commands_open_per_device", wire::COMMANDS_OPEN_PER_DEVICE_MAX, 1 => wire::COMMANDS_OPEN_PER_DEVICE_MAX, "device", Refused, "cancel some, or try again when one has ended";
    /// for which a command may wait to be delivered.
    CommandLifetimeSeconds = "limits.command_lifetime_seconds", wire::COMMAND_LIFETIME_MAX_MILLIS / 1_000, 1 => wire::COMMAND_LIFETIME_MAX_MILLIS / 1_000, "command", Refused, "ask for less";
    /// bytes of JSON of the arguments of a command, and of its result.
    CommandPayloadBytes = "limits.command_payload_bytes", wire::COMMAND_PAYLOAD_MAX_BYTES, 16 => wire::COMMAND_PAYLOAD_MAX_BYTES, "command", Refused, "send less";
    /// bytes of the `error` of a `command_update`.
    CommandErrorBytes = "limits.command_error_bytes", wire::COMMAND_ERROR_MAX_BYTES, 16 => wire::COMMAND_ERROR_MAX_BYTES, "command", Refused, "send a shorter one";
    /// patterns with which the devices of a group are named.
    GroupPatterns = "limits.group_patterns", wire::GROUP_PATTERNS_MAX, 1 => wire::GROUP_PATTERNS_MAX, "group", Refused, "use fewer, or send several groups";
    /// devices in a group.
    GroupDevices = "limits.group_devices", wire::GROUP_DEVICES_MAX, 1 => wire::GROUP_DEVICES_MAX, "group", Refused, "choose fewer";
    /// groups that have not ended.
    GroupsOpen = "limits.groups_open", wire::GROUPS_OPEN_MAX, 1 => wire::GROUPS_OPEN_MAX, "hub", Refused, "cancel some, or try again when one has ended";
    /// for the first word about a command from a connected device; then `unknown`.
    CommandAnswerSeconds = "commands.answer_seconds", wire::COMMAND_ANSWER_SECONDS, 1 => YEAR, "command", LeftOut, "";
    /// from one word about a command to the next, where no `timeout` is declared; then `unresolved`.
    CommandEndSeconds = "commands.end_seconds", wire::COMMAND_END_SECONDS, 1 => YEAR, "command", LeftOut, "";
    /// for a device to come back and answer for a command; then `unresolved`.
    CommandSettleSeconds = "commands.settle_seconds", wire::COMMAND_SETTLE_SECONDS, 1 => YEAR, "command", LeftOut, "";

    /// requests that wait for the writing thread.
    IngestRequests = "limits.ingest_requests", 4_096, 1 => MANY, "hub", Waits, "";
    /// readings that wait for the writing thread.
    IngestReadings = "limits.ingest_readings", 262_144, wire::READINGS_PER_BATCH_MAX => 100_000_000, "hub", Waits, "";
    /// readings from which on a commit takes no further batch.
    ReadingsPerCommit = "limits.readings_per_commit", 16_384, 1 => MANY, "hub", Waits, "";
    /// queries that run at once.
    QueriesAtOnce = "limits.queries_at_once", 4, 1 => 64, "hub", Waits, "";
    /// requests that wait for the task of commands.
    CommandRequests = "limits.command_requests", 1_024, 1 => MANY, "hub", Waits, "";
    /// words of devices about commands that have ended, which wait to be looked up.
    LateWordsWaiting = "limits.late_words_waiting", 1_024, 1 => MANY, "hub", Refused, "say it again";
    /// words of a device about commands, not stored yet.
    UpdatesWaiting = "limits.updates_waiting", 64, 1 => 10_000, "device", Waits, "";
    /// requests of a viewer about commands, not stored yet.
    OrdersWaiting = "limits.orders_waiting", 256, 1 => 10_000, "viewer", Waits, "";
    /// messages that wait to be written to a viewer.
    ViewerMessagesWaiting = "limits.viewer_messages_waiting", 16, 1 => 1_024, "viewer", Waits, "";
    /// readings that wait for a subscription, or two for each of its series where that is more.
    ReadingsWaiting = "limits.readings_waiting", 50_000, 1 => 10_000_000, "subscription", LeftOut, "";
    /// commits that a viewer may lag behind before it is told what it missed from the store.
    CommitsBehind = "limits.commits_behind", 256, 1 => 65_536, "viewer", LeftOut, "";
    /// readings that a viewer who fell behind or came back is told from the store; of more it is told that they are omitted.
    CatchUpReadings = "limits.catch_up_readings", 500_000, 1 => 100_000_000, "subscription", LeftOut, "";
    /// changes of devices that a viewer may lag behind before it is told all of them again.
    DevicesBehind = "limits.devices_behind", 1_024, 1 => 65_536, "viewer", LeftOut, "";
    /// changes of commands that a viewer may lag behind before it is told the newest again.
    CommandsBehind = "limits.commands_behind", 4_096, 1 => 65_536, "viewer", LeftOut, "";
    /// devices of which the audit trail knows from where they came last; others are not told of.
    SignInsKnown = "limits.sign_ins_known", 100_000, 1 => 10_000_000, "hub", Forgotten, "";
    /// refusals a minute that the audit trail tells apart; those beyond are counted together.
    AuditToldApart = "limits.audit_told_apart", 100, 1 => 10_000, "hub", Forgotten, "";
}

/// A bound that cannot be set: part of the protocol, or of how the hub is built.
#[derive(Debug, Clone, Copy)]
pub struct Fixed {
    /// What is bounded, with its unit.
    pub what: &'static str,
    /// At what.
    pub value: u64,
    /// Why it cannot be set, and what happens there.
    pub why: &'static str,
}

const fn fixed(what: &'static str, value: u64, why: &'static str) -> Fixed {
    Fixed { what, value, why }
}

/// All of them, as the documentation prints them.
pub const FIXED: &[Fixed] = &[
    fixed(
        "bytes of a message of the hub",
        wire::HUB_MESSAGE_MAX_BYTES as u64,
        "what every client must be able to take; what is longer goes in several messages",
    ),
    fixed(
        "bytes of a list in one message to a viewer",
        viewer::LIST_BYTES as u64,
        "well below the one above; devices and members go on in the next message, commands and groups are asked for with `before`",
    ),
    fixed(
        "devices in one message to a viewer",
        viewer::DEVICES_PER_MESSAGE as u64,
        "the rest go on in the next one",
    ),
    fixed(
        "readings in one message to a viewer",
        viewer::READINGS_PER_MESSAGE as u64,
        "the rest go on in the next one",
    ),
    fixed(
        "points or buckets in one message of history",
        wire::HISTORY_POINTS_PER_MESSAGE as u64,
        "the rest go on in the next one",
    ),
    fixed(
        "commands that are told again to a viewer that was behind",
        viewer::COMMANDS_AGAIN as u64,
        "older ones are asked for with `commands`",
    ),
    fixed(
        "records of an inspected device in one message",
        recording::TAKE_RECORDS as u64,
        "the rest go on in the next one, a tenth of a second later",
    ),
    fixed(
        "bytes of their payloads",
        recording::TAKE_BYTES as u64,
        "JSON may make them six times as long, which is below what a message may have",
    ),
    fixed(
        "bytes that an inspection keeps of the head of a request",
        heads::KEPT_MAX as u64,
        "what is longer is cut there, for show alone",
    ),
    fixed(
        "bytes of the payload of a ping, a pong or a close frame",
        protocol::frame::CONTROL_MAX_BYTES,
        "RFC 6455, 5.5; closed, 1002",
    ),
    fixed(
        "bytes of a token",
        auth::TOKEN_MAX_BYTES as u64,
        "three times as long as those of the hub; a longer one is a wrong one",
    ),
    fixed(
        "times that a device was late or lost something, told with it",
        LATE_OR_LOST_MAX as u64,
        "the last ones; all of what was missed stands in its ledger",
    ),
    fixed(
        "commands that a device remembers",
        wire::COMMANDS_REMEMBERED_MAX as u64,
        "of the client library, four times as many as may be open; the oldest is forgotten",
    ),
    fixed(
        "seconds for the last request of a connection when the hub stops",
        door::LAST_REQUEST_DEADLINE.as_secs(),
        "within `shutdown_seconds`; then the connection is closed",
    ),
    fixed(
        "seconds that a first request keeps its turn among `handshakes_at_once`",
        handshake::TURN_MAX.as_secs(),
        "then the next one begins beside it",
    ),
    fixed(
        "seconds for telling somebody why they are turned away",
        door::TURN_AWAY_DEADLINE.as_secs(),
        "a peer that does not read it is closed",
    ),
    fixed(
        "ends and beginnings of connections in one transaction",
        ingest::NOTES_MAX as u64,
        "a storm of them is written in that many at a time, or once a second",
    ),
];

impl Limit {
    /// Its name: the key without the section.
    pub fn name(self) -> &'static str {
        let key = self.key();
        key.rsplit_once('.').map_or(key, |(_, name)| name)
    }

    /// The limit with this key in the section `[limits]`.
    fn in_section(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|limit| limit.key().strip_prefix("limits.") == Some(name))
    }

    /// The limit that a refusal names, if it names one, and its value there.
    pub fn named_in(refusal: &str) -> Option<(Self, u64)> {
        let (before, _) = refusal.rsplit_once(" (per ")?;
        let mut words = before.rsplit(' ');
        let (value, is, name) = (words.next()?, words.next()?, words.next()?);
        let limit = Self::ALL.iter().find(|limit| is == "is" && limit.name() == name)?;
        Some((*limit, value.parse().ok()?))
    }

    /// What it may be set to, in words.
    pub fn range(self) -> String {
        let (min, max) = self.bounds();
        let unit = if self.is_time() {
            " of seconds"
        } else if self.name().ends_with("_bytes") {
            " of bytes"
        } else {
            ""
        };
        format!("a whole number{unit} from {min} to {max}")
    }

    /// A value as somebody typed it, or what it may be.
    pub fn parse<T: TryFrom<u64>>(self, text: &str) -> Result<T, String> {
        let (min, max) = self.bounds();
        let value = text.trim().parse().ok().filter(|value| (min..=max).contains(value));
        value.and_then(|value| T::try_from(value).ok()).ok_or_else(|| format!("it must be {}", self.range()))
    }

    /// Whether it is a rate.
    pub fn is_rate(self) -> bool {
        self.name().ends_with("_per_second")
    }

    /// Whether it is a time, in seconds.
    pub fn is_time(self) -> bool {
        self.name().ends_with("_seconds")
    }
}

/// The value of each limit.
#[derive(Clone, PartialEq, Eq)]
pub struct Limits {
    values: [u64; Limit::COUNT],
    set: [bool; Limit::COUNT],
}

impl Default for Limits {
    fn default() -> Self {
        let mut values = [0; Limit::COUNT];
        for limit in Limit::ALL {
            values[*limit as usize] = limit.default();
        }
        Self { values, set: [false; Limit::COUNT] }
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(Limit::ALL.iter().map(|limit| (limit.name(), self.get(*limit)))).finish()
    }
}

impl Limits {
    /// The value.
    pub const fn get(&self, limit: Limit) -> u64 {
        self.values[limit as usize]
    }

    /// The value of one that is counted in memory.
    pub fn count(&self, limit: Limit) -> usize {
        usize::try_from(self.get(limit)).unwrap_or(usize::MAX)
    }

    /// The value of one that is a time.
    pub const fn time(&self, limit: Limit) -> Duration {
        Duration::from_secs(self.get(limit))
    }

    /// Whether it was set, to whatever.
    pub const fn is_set(&self, limit: Limit) -> bool {
        self.set[limit as usize]
    }

    /// Sets one; an error if it may not be that.
    pub const fn set(&mut self, limit: Limit, value: u64) -> Result<(), OutOfRange> {
        let (min, max) = limit.bounds();
        if value < min || value > max {
            return Err(OutOfRange { limit, value });
        }
        self.values[limit as usize] = value;
        self.set[limit as usize] = true;
        Ok(())
    }

    /// The refusal of somebody who reached a limit; `found` says with what.
    pub fn refusal(&self, limit: Limit, found: impl Into<String>) -> Refusal {
        Refusal { limit, value: self.get(limit), found: found.into(), retry_after: None }
    }

    /// Holds the id of a device that is to be made against its limit: one that could never say hello is not made.
    pub fn check_id(&self, device: &DeviceId) -> Result<(), Refusal> {
        let bytes = device.as_str().len();
        if bytes > self.count(Limit::DeviceIdBytes) {
            return Err(self.refusal(Limit::DeviceIdBytes, format!("device: {bytes} bytes")));
        }
        Ok(())
    }

    /// How many rows of a list are asked for: at most what the limit says, and a hundred unless asked otherwise.
    pub fn list_rows(&self, asked: Option<u32>) -> Result<usize, String> {
        let most = self.count(Limit::ListRows);
        match asked.map(|asked| asked as usize) {
            None => Ok(most.min(wire::LIST_DEFAULT)),
            Some(0) => Err("limit: 0 is none: it must be 1 or more".to_owned()),
            Some(asked) if asked > most => {
                Err(self.refusal(Limit::ListRows, format!("limit: {asked}")).to_string())
            }
            Some(asked) => Ok(asked),
        }
    }

    /// Holds what a device says of itself against the limits. What is above those of the protocol was refused before.
    pub fn check_hello(&self, hello: &Hello) -> Result<(), Refusal> {
        let most = |limit: Limit, found: usize, place: &str| {
            if found > self.count(limit) {
                return Err(self.refusal(limit, format!("{place}: {found}")));
            }
            Ok(())
        };
        let text = |text: &Option<String>, place: &str| {
            most(Limit::LabelBytes, text.as_deref().map_or(0, str::len), place)
        };
        most(Limit::DeviceIdBytes, hello.device.as_str().len(), "device")?;
        most(Limit::EpochBytes, hello.epoch.as_str().len(), "epoch")?;
        text(&hello.model, "model")?;
        text(&hello.firmware, "firmware")?;
        most(Limit::TagsPerDevice, hello.tags.len(), "tags")?;
        most(Limit::MetricsPerDevice, hello.metrics.len(), "metrics")?;
        most(Limit::CommandsPerDevice, hello.commands.len(), "commands")?;
        for (i, tag) in hello.tags.iter().enumerate() {
            most(Limit::TagBytes, tag.as_str().len(), &format!("tags[{i}]"))?;
        }
        for (i, metric) in hello.metrics.iter().enumerate() {
            most(Limit::MetricNameBytes, metric.name.as_str().len(), &format!("metrics[{i}].name"))?;
            text(&metric.unit, &format!("metrics[{i}].unit"))?;
            text(&metric.label, &format!("metrics[{i}].label"))?;
        }
        for (i, CommandDeclaration { name, label, params, .. }) in hello.commands.iter().enumerate() {
            let place = format!("commands[{i}]");
            most(Limit::MetricNameBytes, name.as_str().len(), &format!("{place}.name"))?;
            text(label, &format!("{place}.label"))?;
            most(Limit::ParamsPerCommand, params.len(), &format!("{place}.params"))?;
            for (j, ParamDeclaration { name, unit, choices, .. }) in params.iter().enumerate() {
                let place = format!("{place}.params[{j}]");
                most(Limit::MetricNameBytes, name.as_str().len(), &format!("{place}.name"))?;
                text(unit, &format!("{place}.unit"))?;
                most(Limit::ChoicesPerParam, choices.len(), &format!("{place}.choices"))?;
                for (k, choice) in choices.iter().enumerate() {
                    most(Limit::LabelBytes, choice.len(), &format!("{place}.choices[{k}]"))?;
                }
            }
        }
        Ok(())
    }
}

/// A value that a limit may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange {
    /// The limit.
    pub limit: Limit,
    /// What it was set to.
    pub value: u64,
}

/// Why somebody is refused: which limit, its value, for what it counts, and when to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The limit that is reached.
    pub limit: Limit,
    /// Its value.
    pub value: u64,
    /// What reached it.
    pub found: String,
    /// When to try again, where that is known better than the table says.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// The same, to be tried again after this time.
    pub fn after(self, time: Duration) -> Self {
        Self { retry_after: Some(time), ..self }
    }
}

/// Whole seconds, at least 1.
pub fn seconds_up(time: Duration) -> u64 {
    (time.as_millis().div_ceil(1_000) as u64).max(1)
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, value, found, retry_after } = self;
        if !found.is_empty() {
            write!(f, "{found}: ")?;
        }
        write!(f, "{} is {value} (per {}); ", limit.name(), limit.scope())?;
        match retry_after {
            Some(time) => write!(f, "try again in {} s", seconds_up(*time)),
            None => f.write_str(limit.again()),
        }
    }
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, value } = self;
        write!(f, "{} is {value}: it must be {}", limit.key(), limit.range())
    }
}

/// Reads the value of a limit. Anything else that stands there is an error that names the limit and what it may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number(pub(crate) Limit);

impl Number {
    fn check<E: de::Error>(self, value: Option<u64>, found: impl fmt::Display) -> Result<u64, E> {
        let (min, max) = self.0.bounds();
        value
            .filter(|value| (min..=max).contains(value))
            .ok_or_else(|| E::custom(format!("{} is {found}: it must be {}", self.0.key(), self.0.range())))
    }
}

impl<'de> DeserializeSeed<'de> for Number {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Number {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be {}", self.0.key(), self.0.range())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<u64, E> {
        self.check(u64::try_from(value).ok(), value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
        self.check(Some(value), value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<u64, E> {
        self.check(None, value)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<u64, E> {
        let (key, range) = (self.0.key(), self.0.range());
        Err(E::custom(format!("{key} is {value:?}: it must be {range}, without quotes")))
    }
}

/// What the section `[limits]` sets, before it is held against the bounds.
#[derive(Debug, Default)]
pub(crate) struct Settings(Vec<(Limit, u64)>);

impl Settings {
    /// The limits with these settings.
    pub(crate) fn resolve(&self) -> Result<Limits, OutOfRange> {
        let mut limits = Limits::default();
        for (limit, value) in &self.0 {
            limits.set(*limit, *value)?;
        }
        Ok(limits)
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Section;

        impl<'de> Visitor<'de> for Section {
            type Value = Settings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a section: [limits], and below it a line for each limit, as in subscriptions = 8",
                )
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Settings, A::Error> {
                let mut settings = Vec::new();
                while let Some(key) = map.next_key::<LimitKey>()? {
                    settings.push((key.0, map.next_value_seed(Number(key.0))?));
                }
                Ok(Settings(settings))
            }
        }

        deserializer.deserialize_map(Section)
    }
}

struct LimitKey(Limit);

impl<'de> Deserialize<'de> for LimitKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Limit::in_section(&name).map(Self).ok_or_else(|| {
            de::Error::custom(format!(
                "unknown limit `{name}`: {}; docs/operations.md has the table of them",
                instead_of(&name)
            ))
        })
    }
}

/// What may have been meant by a key that is none in `[limits]`.
fn instead_of(name: &str) -> String {
    if let Some(limit) = Limit::ALL.iter().find(|limit| limit.name() == name) {
        let (section, _) = limit.key().rsplit_once('.').unwrap_or_default();
        return match section {
            "" => format!("`{name}` stands above all sections"),
            section => format!("`{name}` stands in [{section}]"),
        };
    }
    let words: Vec<&str> = name.split('_').filter(|word| word.len() > 3).collect();
    let shares = |limit: &&Limit| words.iter().any(|word| limit.name().contains(word.trim_end_matches('s')));
    let near: Vec<String> = Limit::ALL
        .iter()
        .filter(|limit| limit.key().starts_with("limits."))
        .filter(shares)
        .map(|limit| format!("`{}`", limit.name()))
        .collect();
    if near.is_empty() { "none is like it".to_owned() } else { format!("there is {}", near.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_no_limit_is_answered_with_what_may_be_meant() {
        assert_eq!(instead_of("max_connections"), "`max_connections` stands above all sections");
        assert_eq!(instead_of("answer_seconds"), "`answer_seconds` stands in [commands]");
        assert_eq!(instead_of("subscription"), "there is `subscriptions`, `subscription_hz`");
        assert_eq!(instead_of("xyz"), "none is like it");
    }

    #[test]
    fn every_limit_has_a_name_of_its_own_and_a_default_within_its_bounds() {
        let mut names = std::collections::HashSet::new();
        let mut limits = Limits::default();
        for limit in Limit::ALL {
            assert!(names.insert(limit.name()), "{limit:?}");
            assert_eq!(limits.set(*limit, limit.default()), Ok(()), "{limit:?}");
            let (_, max) = limit.bounds();
            assert_eq!(limits.set(*limit, max + 1), Err(OutOfRange { limit: *limit, value: max + 1 }));
            assert!(!limit.what().is_empty() && !limit.scope().is_empty(), "{limit:?}");
            assert_eq!(limit.reached().refuses(), !limit.again().is_empty(), "{limit:?}: when to try again");
        }
    }

    #[test]
    fn a_refusal_names_limit_value_scope_and_when_to_try_again_and_fits_into_a_close_frame() {
        let limits = Limits::default();
        for limit in Limit::ALL.iter().filter(|limit| limit.reached().refuses()) {
            let text = limits.refusal(*limit, "").to_string();
            for part in [limit.name(), &limit.default().to_string(), limit.scope(), limit.again()] {
                assert!(text.contains(part), "{text}");
            }
            let text = limits.refusal(*limit, "here").after(Duration::from_millis(2_001)).to_string();
            assert!(text.starts_with("here: ") && text.ends_with("try again in 3 s"), "{text}");
            assert!(text.len() <= 123, "{text}");
        }
    }
}
