//! Messages between a viewer (a dashboard, a script) and the hub.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::codec::messages;
use crate::command::{CommandState, Delivery};
use crate::declare::{CommandDeclaration, MetricDeclaration};
pub use crate::device::ErrorMessage;
use crate::group::{MemberState, Tally, Targets};
use crate::ladder::{Bucket, Step};
use crate::limits::ViewerLimits;
use crate::name::{CommandId, DeviceId, Epoch, GroupId, MetricName, Position, SeriesId, Tag};
use crate::select::Select;
use crate::time::Timestamp;
pub use crate::trace::{Painted, Trace};
use crate::value::Value;
pub use crate::wire::{Inspect, StopInspecting, Wire};

messages! {
    /// What a viewer sends to the hub.
    ViewerMessage {
        /// Keep me told of these series.
        Subscribe(Subscribe) = "subscribe",
        /// Not any more.
        Unsubscribe(Unsubscribe) = "unsubscribe",
        /// What was measured between two times.
        History(HistoryRequest) = "history",
        /// The newest reading of these series, now or as of a time.
        Latest(LatestRequest) = "latest",
        /// Tell a device to do something. Operators only.
        SendCommand(SendCommand) = "send_command",
        /// Take a command back. Operators only.
        CancelCommand(CancelCommand) = "cancel_command",
        /// The commands of the past.
        Commands(CommandsRequest) = "commands",
        /// Tell many devices to do the same. Operators only.
        SendGroup(SendGroup) = "send_group",
        /// Begin no more of a group. Operators only.
        CancelGroup(CancelGroup) = "cancel_group",
        /// Send the command of a group again to those that failed. Operators only.
        RetryGroup(RetryGroup) = "retry_group",
        /// The groups of the past.
        Groups(GroupsRequest) = "groups",
        /// The members of a group.
        Members(MembersRequest) = "members",
        /// What became of everything a device sent.
        Ledger(LedgerRequest) = "ledger",
        /// When a device was connected, and why it was not any more.
        Connections(ConnectionsRequest) = "connections",
        /// Show me what the connections of a device carry. Operators only.
        Inspect(Inspect) = "inspect",
        /// Not any more. Operators only.
        StopInspecting(StopInspecting) = "stop_inspecting",
        /// How long traces took to arrive and to be painted.
        Painted(Painted) = "painted",
    }
}

messages! {
    /// What the hub sends to a viewer.
    HubToViewer {
        /// The first message.
        Welcome(ViewerWelcome) = "welcome",
        /// Devices, all of them at first, then those that changed.
        Devices(Devices) = "devices",
        /// The answer to `subscribe`.
        Subscribed(Subscribed) = "subscribed",
        /// What was measured.
        Readings(LiveReadings) = "readings",
        /// A part of the answer to `history`.
        History(History) = "history",
        /// A part of the answer to `latest`.
        Latest(Latest) = "latest",
        /// A command, each time that its state or progress changed.
        Command(CommandEvent) = "command",
        /// The answer to `commands`.
        Commands(Commands) = "commands",
        /// A group of commands, when it has changed.
        Group(GroupEvent) = "group",
        /// The answer to `groups`.
        Groups(Groups) = "groups",
        /// A part of the answer to `members`, and of that to a dry run.
        Members(Members) = "members",
        /// The answer to `ledger`.
        Ledger(Ledger) = "ledger",
        /// The answer to `connections`.
        Connections(Connections) = "connections",
        /// What went over the wire of a device.
        Wire(Wire) = "wire",
        /// A request that could not be met.
        Error(ErrorMessage) = "error",
    }
}

impl ViewerMessage {
    /// The number that the viewer chose, and that the answer repeats.
    pub const fn id(&self) -> u64 {
        match self {
            Self::Subscribe(m) => m.id,
            Self::Unsubscribe(m) => m.id,
            Self::History(m) => m.id,
            Self::Latest(m) => m.id,
            Self::SendCommand(m) => m.id,
            Self::CancelCommand(m) => m.id,
            Self::Commands(m) => m.id,
            Self::SendGroup(m) => m.id,
            Self::CancelGroup(m) => m.id,
            Self::RetryGroup(m) => m.id,
            Self::Groups(m) => m.id,
            Self::Members(m) => m.id,
            Self::Ledger(m) => m.id,
            Self::Connections(m) => m.id,
            Self::Inspect(m) => m.id,
            Self::StopInspecting(m) => m.id,
            Self::Painted(m) => m.id,
        }
    }
}

/// What a viewer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Look, and send commands.
    Operator,
}

/// The hub's first message to a viewer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewerWelcome {
    /// Names this connection in the hub's log.
    pub session: String,
    /// The hub's clock.
    pub server_time: Timestamp,
    /// What this viewer may do.
    pub role: Role,
    /// Where the hub is in its order of commits.
    pub position: Position,
    /// What the hub takes.
    pub limits: ViewerLimits,
    /// Time between two pings of the hub, in seconds.
    pub heartbeat_seconds: u32,
}

/// A list of devices: a part of the snapshot at the start, or those that changed since.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Devices {
    /// The devices, each whole.
    pub devices: Vec<DeviceInfo>,
    /// Whether this is part of the snapshot that follows `welcome`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snapshot: bool,
    /// Whether more parts of the snapshot follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// All that is known of a device but its readings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// The device.
    pub id: DeviceId,
    /// What it said it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The version of its software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// With what it can be chosen among others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Whether it is connected now.
    pub connected: bool,
    /// Since when it is connected, or not; `None` if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When something was last heard of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// What it measures, and the series each is stored in.
    pub metrics: Vec<MetricInfo>,
    /// What it can be told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<CommandDeclaration>,
    /// Which of its readings came late or were lost since the hub started, in the order in which that became known; the
    /// last [`LATE_OR_LOST_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late_or_lost: Vec<LateOrLost>,
}

/// Most stretches in [`DeviceInfo::late_or_lost`]. Chosen: a day with an outage every other hour.
pub const LATE_OR_LOST_MAX: usize = 16;

/// A stretch of time whose readings came late, or were lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateOrLost {
    /// Which of both.
    pub what: Unpunctual,
    /// Late: the time of the first of these readings. Lost: that of the last reading before.
    pub from: Timestamp,
    /// Late: the time of the last of these readings. Lost: that of the first reading after.
    pub to: Timestamp,
    /// When the last of it came, or when it was known to be lost, by the hub's clock.
    pub told_at: Timestamp,
    /// How many batches.
    pub batches: u64,
}

/// What became of readings that were not told when they were measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unpunctual {
    /// The device kept them while it was away, and they are stored.
    Late,
    /// The device gave them up, or the hub could never accept them: they will not come.
    Lost,
}

/// A metric with its series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricInfo {
    /// The series.
    pub series: SeriesId,
    /// What the device declared.
    #[serde(flatten)]
    pub declaration: MetricDeclaration,
}

/// How much of a subscription's readings the viewer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Detail {
    /// Every reading.
    #[default]
    All,
    /// Of each series, the newest reading at the time of each message.
    Latest,
}

/// Asks to be kept told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subscribe {
    /// Chosen by the viewer; repeated in every `readings` of this subscription. Replaces an older one of this id.
    pub id: u64,
    /// Of what.
    #[serde(default)]
    pub select: Select,
    /// How much.
    #[serde(default)]
    pub detail: Detail,
    /// Messages a second at most; 10 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_hz: Option<f64>,
    /// Go on after this position instead of beginning with a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Position>,
    /// Traces that are wanted in each message, at most [`TRACES_MAX`](crate::limits::TRACES_MAX); none if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traces: Option<u32>,
}

/// Ends a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsubscribe {
    /// The subscription.
    pub id: u64,
}

/// The answer to `subscribe`, before its first `readings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    /// The subscription.
    pub id: u64,
    /// How many series are chosen now. Series that appear later are added by themselves.
    pub series: u64,
    /// Every reading after this position will come.
    pub position: Position,
    /// Whether it goes on after the asked `since`. If not, a snapshot comes, and what lies between is in `history`.
    pub resumed: bool,
}

/// Readings of a subscription.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveReadings {
    /// The subscription.
    pub id: u64,
    /// Everything up to here has been said, or is named in `omitted`.
    pub position: Position,
    /// Whether this is the latest value of each series at the start, and not new.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snapshot: bool,
    /// The readings, by series.
    pub series: Vec<SeriesReadings>,
    /// What was left out because the viewer did not read fast enough (I-4). It can be had by `history`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omitted: Option<Omitted>,
    /// The way of some of them, drawn by lot among the batches that they came in; only if asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traces: Vec<Trace>,
}

/// Readings of one series, in the order in which the hub stored them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesReadings {
    /// The series.
    pub series: SeriesId,
    /// Time and value of each reading.
    pub points: Vec<(Timestamp, Value)>,
}

/// Readings that were left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omitted {
    /// How many.
    pub count: u64,
    /// The earliest time among them.
    pub from: Timestamp,
    /// The latest time among them.
    pub to: Timestamp,
}

/// How finely history is wanted: every reading, or buckets of a rung of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// Every reading.
    Raw,
    /// Buckets.
    Buckets(Step),
}

impl Serialize for Resolution {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Raw => serializer.serialize_str("raw"),
            Self::Buckets(step) => step.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Resolution {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        if text == "raw" {
            return Ok(Self::Raw);
        }
        Step::deserialize(serde::de::value::CowStrDeserializer::<D::Error>::new(text)).map(Self::Buckets)
    }
}

/// Asks for what was measured from `from` (inclusive) to `to` (exclusive).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRequest {
    /// Chosen by the viewer; repeated in the answer.
    pub id: u64,
    /// The series.
    pub series: SeriesId,
    /// Start, inclusive. With buckets: the bucket that holds it comes whole.
    pub from: Timestamp,
    /// End, exclusive. With buckets: the bucket that holds the last microsecond before it comes whole.
    pub to: Timestamp,
    /// How finely.
    pub step: Resolution,
}

/// A part of the answer to `history`, ascending in time. Empty buckets are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The request.
    pub id: u64,
    /// The series.
    pub series: SeriesId,
    /// How finely.
    pub step: Resolution,
    /// The readings, with `step` raw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<(Timestamp, Value)>,
    /// The buckets, with any other `step`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<Bucket>,
    /// Retention has left only buckets of this width of some readings that lie here: they are not in the answer, and
    /// buckets beside them may lack some. Ask again with this `step`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coarser: Option<Step>,
    /// Whether more parts follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// Every reading up to this position is in the answer; later ones come in subscriptions.
    pub position: Position,
}

/// Asks for the newest reading of each of some series, of all or of those up to a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatestRequest {
    /// Chosen by the viewer; repeated in the answer.
    pub id: u64,
    /// Of what.
    #[serde(default)]
    pub select: Select,
    /// Only readings up to this time, inclusive; all if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// A part of the answer to `latest`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latest {
    /// The request.
    pub id: u64,
    /// Of each chosen series that has any, the reading with the latest time, by series.
    pub points: Vec<(SeriesId, Timestamp, Value)>,
    /// Whether more parts follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// Every reading up to this position was looked at.
    pub position: Position,
}

/// Tells a device to do something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SendCommand {
    /// Chosen by the viewer; repeated in the answer, a `command` or an `error`.
    pub id: u64,
    /// The device.
    pub device: DeviceId,
    /// Which of its declared commands.
    pub name: MetricName,
    /// The arguments.
    #[serde(default)]
    pub args: Map<String, Json>,
    /// How long it may wait for its delivery, in milliseconds; 5 minutes if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// When it is handed over, seen from those before it; what the device declares for it if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// Send it even if the device did not declare it; then its arguments are not checked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

impl SendCommand {
    /// A command without arguments, with the usual lifetime.
    pub fn new(id: u64, device: DeviceId, name: MetricName) -> Self {
        Self { id, device, name, args: Map::new(), expires_in_ms: None, delivery: None, force: false }
    }
}

/// Takes a command back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelCommand {
    /// Chosen by the viewer; repeated in the answer.
    pub id: u64,
    /// The command.
    pub command: CommandId,
}

/// Asks for commands of the past, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct CommandsRequest {
    /// Chosen by the viewer; repeated in the answer.
    pub id: u64,
    /// Only those of this device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// Only those issued before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
    /// At most this many, 1 to 1000; 100 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only those in one of these states; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<CommandState>,
    /// Only those of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<MetricName>,
    /// Only those issued by this person or program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Only those issued at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only those of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupId>,
}

/// The answer to `commands`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Commands {
    /// The request.
    pub id: u64,
    /// Newest first.
    pub commands: Vec<CommandInfo>,
}

/// A command has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandEvent {
    /// The request that this answers, if it does and this viewer made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The command as it is now.
    pub command: CommandInfo,
}

/// A command as it is now, with its life so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandInfo {
    /// The command.
    pub id: CommandId,
    /// The device.
    pub device: DeviceId,
    /// Which of its commands.
    pub name: MetricName,
    /// The arguments as sent, defaults filled in.
    #[serde(default)]
    pub args: Map<String, Json>,
    /// Where it is now.
    pub state: CommandState,
    /// Who issued it.
    pub issued_by: String,
    /// When its time for delivery runs out.
    pub expires_at: Timestamp,
    /// How often it was handed to the device.
    pub attempt: u32,
    /// How far it has come, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// What it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
    /// Why it did not succeed, or why it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The same for a program: one of [`crate::command::code`], or the device's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<MetricName>,
    /// When it is handed over, seen from those before it.
    #[serde(default, skip_serializing_if = "Delivery::is_default")]
    pub delivery: Delivery,
    /// Whether it was sent although the device had not declared it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// Who asked for it to be stopped, once it was out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Box<CancelAsked>>,
    /// The group that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupId>,
    /// Its states so far, oldest first; the first is `queued`, the time of issue.
    pub transitions: Vec<Transition>,
}

/// A state that a command entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The state.
    pub state: CommandState,
    /// When, by the hub's clock.
    pub at: Timestamp,
    /// Who caused it: `hub`, the device's id, or who issued or cancelled it.
    pub by: String,
    /// From which address the one who issued or cancelled it was connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// Someone asked for a command to be stopped that was out already. The device decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelAsked {
    /// When, by the hub's clock.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// What a group tells its devices, to whom and how; also how it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupRequest {
    /// To whom.
    pub to: Targets,
    /// Which of their declared commands.
    pub name: MetricName,
    /// The arguments.
    #[serde(default)]
    pub args: Map<String, Json>,
    /// How long each command may wait for its delivery, from its own issue on, in milliseconds; 5 minutes if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// When each is handed over, seen from those before it; what the device declares for it if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// Send it even to devices that did not declare it; then their arguments are not checked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Rolling: so many devices at a time, the next when one has ended, 1 or more; all of them if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<u32>,
    /// Begin no more once so many are `failed`, `rejected`, `expired` or `unresolved`, 1 or more; never if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_after: Option<u32>,
}

impl GroupRequest {
    /// A command without arguments for all of these devices at once.
    pub fn new(to: Targets, name: MetricName) -> Self {
        let (args, expires_in_ms, delivery, force) = (Map::new(), None, None, false);
        Self { to, name, args, expires_in_ms, delivery, force, at_once: None, stop_after: None }
    }
}

/// Tells many devices to do the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SendGroup {
    /// Chosen by the viewer; repeated in the answer, a `group` or an `error`; with `dry_run` in parts of `members`.
    pub id: u64,
    /// What, to whom and how.
    #[serde(flatten)]
    pub request: GroupRequest,
    /// Only say who would get it, and who would not and why.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// Begins no more of a group: what waits or is `queued` is not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelGroup {
    /// Chosen by the viewer; repeated in the answer.
    pub id: u64,
    /// The group.
    pub group: GroupId,
    /// Ask also the devices that have begun to stop.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub begun: bool,
}

/// Sends the command of a group again, as a new group, to those of its devices that did not do it. Once for each group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryGroup {
    /// Chosen by the viewer; repeated in the answer.
    pub id: u64,
    /// The group.
    pub group: GroupId,
    /// Which members: `failed`, `rejected` and `expired` if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<MemberState>,
}

/// Asks for groups of the past, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct GroupsRequest {
    /// Chosen by the viewer; repeated in the answer.
    pub id: u64,
    /// Only this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupId>,
    /// Only those issued before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
    /// At most this many, 1 to 1000; 100 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Asks for the members of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersRequest {
    /// Chosen by the viewer; repeated in the answer.
    pub id: u64,
    /// The group.
    pub group: GroupId,
    /// Only those in one of these states; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<MemberState>,
}

/// A group has changed; at most ten times a second for each, however many commands it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupEvent {
    /// The request that this answers, if it does and this viewer made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The group as it is now.
    pub group: Box<GroupInfo>,
}

/// The answer to `groups`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Groups {
    /// The request.
    pub id: u64,
    /// Newest first.
    pub groups: Vec<GroupInfo>,
}

/// A part of the members of a group, in the order of their turns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Members {
    /// The request.
    pub id: u64,
    /// The members.
    pub members: Vec<Member>,
    /// Whether more parts follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// A device of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The device.
    pub device: DeviceId,
    /// Where it is.
    pub state: MemberState,
    /// Its command, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandId>,
    /// Why it got none, or why the command did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The same for a program, where there is a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<MetricName>,
}

/// A group as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupInfo {
    /// The group.
    pub id: GroupId,
    /// What was asked for.
    #[serde(flatten)]
    pub request: GroupRequest,
    /// Who issued it.
    pub issued_by: String,
    /// When. No two groups of a hub have the same.
    pub issued_at: Timestamp,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The group whose failed members these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<GroupId>,
    /// How many members are in which state.
    pub tally: Tally,
    /// Why no more are begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<GroupStopped>,
    /// When the last of its commands ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// No more of a group are begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStopped {
    /// When, by the hub's clock.
    pub at: Timestamp,
    /// Who: `hub` after too many failures, or who cancelled it.
    pub by: String,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// Asks what became of everything that a device sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRequest {
    /// Chosen by the viewer; repeated in the answer.
    pub id: u64,
    /// The device.
    pub device: DeviceId,
}

/// The answer to `ledger`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The request.
    pub id: u64,
    /// The account.
    #[serde(flatten)]
    pub account: Account,
}

/// What became of everything that a device sent, in one state of the store. The same over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The device.
    pub device: DeviceId,
    /// Whether nothing is missing and nothing is too much: in each stream `sent` is `stored`, `refused` and `skipped`
    /// together, and `readings` is `hot`, `sealed`, `conflicts`, `removed` and `damaged` together.
    pub adds_up: bool,
    /// Readings in its stored batches.
    pub readings: u64,
    /// Of these, the newest ones.
    pub hot: u64,
    /// Of these, those in compressed blocks.
    pub sealed: u64,
    /// Of these, those left out because their metric had a reading at the same microsecond.
    pub conflicts: u64,
    /// Of these, those that retention took away.
    pub removed: u64,
    /// Of these, those found damaged on the hub's disk and put aside.
    pub damaged: u64,
    /// Its batches, by epoch, oldest first.
    pub streams: Vec<StreamAccount>,
}

/// The batches of a device in one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamAccount {
    /// The epoch.
    pub epoch: Epoch,
    /// Its last settled batch: the device counts without a hole.
    pub sent: u64,
    /// Batches on disk.
    pub stored: u64,
    /// Batches that could never be accepted.
    pub refused: u64,
    /// Batches that the device lost.
    pub skipped: u64,
    /// Batches that came again and were dropped.
    pub duplicate: u64,
    /// Readings in the stored batches.
    pub readings: u64,
    /// When the device first named this epoch.
    pub created_at: Timestamp,
    /// When a batch was last settled.
    pub changed_at: Timestamp,
}

/// Asks for connections of a device, newest first. The hub keeps the last 100 of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionsRequest {
    /// Chosen by the viewer; repeated in the answer.
    pub id: u64,
    /// The device.
    pub device: DeviceId,
}

/// The answer to `connections`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// The request.
    pub id: u64,
    /// The device.
    pub device: DeviceId,
    /// Its connections, newest first.
    pub connections: Vec<ConnectionInfo>,
}

/// One connection of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionInfo {
    /// Names it in the hub's log, among those since the hub's start.
    pub session: String,
    /// Where it came from.
    pub address: String,
    /// When the hub welcomed the device.
    pub opened_at: Timestamp,
    /// How it ended; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<ConnectionEnd>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionEnd {
    /// When; absent if the hub was killed and does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Which side began.
    pub by: EndedBy,
    /// The code of the close frame, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Why, in words; empty if nobody said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The device closed.
    Device,
    /// The hub closed.
    Hub,
    /// Nobody: the line broke, or the hub was killed.
    Lost,
}

impl EndedBy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Device, Self::Hub, Self::Lost];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Hub => "hub",
            Self::Lost => "lost",
        }
    }
}
