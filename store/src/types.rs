//! What goes into the store and comes out of it.

use std::fmt;

use protocol::command::CommandState;
use protocol::desk::Actor;
use protocol::viewer::{Account, DeviceInfo, EndedBy, GroupInfo, GroupStopped, StreamAccount};
use protocol::{
    Bucket, CommandId, DeviceId, Epoch, GroupId, MetricName, Position, Seq, SeriesId, Step, Timestamp, Value,
};
use serde::{Deserialize, Serialize};

/// The number of a device in this database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceKey(pub i64);

/// The number of a stream, the batches of one device in one epoch, in this database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey(pub i64);

/// The number of a credential in this database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialKey(pub i64);

/// What [`Writer::register`](crate::Writer::register) knows of a device that said hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The device.
    pub device: DeviceKey,
    /// Its stream in the epoch it named.
    pub stream: StreamKey,
    /// The last settled batch of the stream.
    pub settled: Seq,
    /// The series of each declared metric, in the order of the declaration.
    pub series: Vec<SeriesId>,
}

/// One reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The series.
    pub series: SeriesId,
    /// When it was observed, by the device's clock.
    pub at: Timestamp,
    /// What was measured.
    pub value: Value,
}

/// One batch to settle.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The stream that it belongs to.
    pub stream: StreamKey,
    /// The batch that must be the last settled one of the stream for this one to be taken.
    pub after: Seq,
    /// Its number; the stream moves there. It directly follows `after`, unless the batch is a skip.
    pub seq: Seq,
    /// What is in it.
    pub content: BatchContent,
}

/// What a batch holds.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchContent {
    /// Readings to store.
    Readings(Vec<Row>),
    /// Nothing that can ever be accepted: only the stream moves.
    Refused,
    /// Nothing: the device lost every batch after `after` up to `seq`.
    Skipped,
}

/// What became of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is on disk.
    Settled,
    /// It was settled before; nothing of it was stored again (I-2).
    Duplicate,
    /// It does not follow the last settled batch of its stream; nothing of it was stored.
    OutOfOrder,
}

/// What [`Writer::append`](crate::Writer::append) did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// What became of each batch, in order.
    pub outcomes: Vec<Outcome>,
    /// Position of the first reading stored. Those of all batches settled follow it without a gap, in order.
    pub first: Position,
    /// Position of the last reading stored; one before `first` if there was none.
    pub last: Position,
}

/// A credential to store.
#[derive(Clone, PartialEq, Eq)]
pub struct NewCredential {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// What it opens.
    pub role: CredentialRole,
    /// What a person calls it.
    pub label: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The hash is left out: secrets are not printed, not even hashed (I-12).
impl fmt::Debug for NewCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewCredential")
            .field("role", &self.role)
            .field("label", &self.label)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// What a credential opens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CredentialRole {
    /// Connect as this device.
    Device(DeviceId),
    /// Connect as any device.
    Fleet,
    /// Look.
    Viewer,
    /// Look, and send commands.
    Operator,
    /// All of that, and say who may connect.
    Admin,
}

impl CredentialRole {
    /// The role as it stands in JSON and in the database, and at the beginning of a token.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Device(_) => "device",
            Self::Fleet => "fleet",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The device, if it is one's alone.
    pub const fn device(&self) -> Option<&DeviceId> {
        match self {
            Self::Device(id) => Some(id),
            Self::Fleet | Self::Viewer | Self::Operator | Self::Admin => None,
        }
    }
}

/// A stored credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its number.
    pub key: CredentialKey,
    /// What it opens.
    pub role: CredentialRole,
    /// What a person calls it.
    pub label: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it opens nothing any more.
    pub revoked_at: Option<Timestamp>,
}

/// A code to store with which a device gets a token, once.
#[derive(Clone, PartialEq, Eq)]
pub struct NewClaim {
    /// SHA-256 of the code.
    pub hash: [u8; 32],
    /// The device that it is for.
    pub device: DeviceId,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is good for nothing.
    pub expires_at: Timestamp,
}

/// The hash is left out (I-12).
impl fmt::Debug for NewClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewClaim").field("device", &self.device).finish_non_exhaustive()
    }
}

/// A stored claim; its code is nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its number in this database.
    pub key: i64,
    /// The device that it is for.
    pub device: DeviceId,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// From when on it is good for nothing.
    pub expires_at: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
    /// From where it was used.
    pub used_from: Option<String>,
}

/// Something that the audit trail keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// What: `token.add`, `sign_in`.
    pub action: &'static str,
    /// Whether it was refused.
    pub refused: bool,
    /// Who, and from where.
    pub actor: Actor,
    /// What it was about.
    pub subject: String,
    /// Why it was refused.
    pub detail: Option<String>,
    /// How often, where several are told together; at least 1.
    pub count: u32,
}

/// A row of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Its number: later rows have higher ones.
    pub key: i64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub action: String,
    /// `done` or `refused`.
    pub outcome: String,
    /// Who.
    pub by: String,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What it was about.
    pub subject: String,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How often, where several are told together.
    pub count: u32,
}

/// Which rows of the audit trail are wanted; the default is all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// Only those before this number.
    pub before: Option<i64>,
    /// Only those at this time or later.
    pub since: Option<Timestamp>,
    /// Only those whose action begins so.
    pub action: Option<String>,
    /// Only those by this one.
    pub by: Option<String>,
    /// Only those that were refused.
    pub refused: bool,
}

/// Which commands are wanted; the default is all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandFilter {
    /// Only those of this device.
    pub device: Option<DeviceId>,
    /// Only those in one of these states; empty: any.
    pub states: Vec<CommandState>,
    /// Only those of this name.
    pub name: Option<MetricName>,
    /// Only those issued by this one.
    pub by: Option<String>,
    /// Only those issued at this time or later.
    pub since: Option<Timestamp>,
    /// Only those issued before this time.
    pub before: Option<Timestamp>,
    /// Only those of this group.
    pub group: Option<GroupId>,
}

/// What has changed of a group.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupChange {
    /// It was issued to these devices, in the order of their turns; with each that gets no command stands why.
    New(Box<GroupInfo>, Vec<(DeviceId, Option<String>)>),
    /// A member whose turn it was takes no such command.
    Refused(GroupId, DeviceId, String),
    /// No more members are begun.
    Stopped(GroupId, GroupStopped),
    /// Every member has ended.
    Ended(GroupId, Timestamp),
}

/// A group that has not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenGroup {
    /// The group.
    pub info: GroupInfo,
    /// The members whose turn has not come, in order; none once it is stopped.
    pub waiting: Vec<DeviceId>,
    /// The commands that have not ended.
    pub open: Vec<(CommandId, CommandState)>,
}

/// A device as it stands in the database.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceRecord {
    /// Its number.
    pub key: DeviceKey,
    /// What is known of it. `connected` is false and `since` is `None`: the store does not know who is connected.
    /// Metrics that it declares no more come last.
    pub info: DeviceInfo,
}

/// The newest reading of each series.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// Everything up to this position was looked at.
    pub position: Position,
    /// The reading with the latest `at` of each series that has any, by series.
    pub readings: Vec<Row>,
}

/// Readings of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct RawHistory {
    /// Time and value, ascending in time, each time once.
    pub points: Vec<(Timestamp, Value)>,
    /// Whether these are all; otherwise the first ones.
    pub complete: bool,
    /// Among them were readings of which retention has left only buckets of this width: ask for those. `None`: none were.
    pub coarser: Option<Step>,
    /// Everything up to this position was looked at.
    pub position: Position,
}

/// Buckets of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct BucketHistory {
    /// The buckets that hold any reading, ascending in time, each one whole.
    pub buckets: Vec<Bucket>,
    /// Whether these are all; otherwise the first ones.
    pub complete: bool,
    /// Among them were readings of which retention has left only buckets of this width, wider than those asked for: they
    /// are not in the answer, and buckets beside them may lack some. Ask for that width. `None`: none were.
    pub coarser: Option<Step>,
    /// Everything up to this position was looked at.
    pub position: Position,
}

/// What was committed after a position.
#[derive(Debug, Clone, PartialEq)]
pub enum Since {
    /// The readings that follow it, in the order of their commit.
    Rows {
        /// The readings with their positions.
        rows: Vec<(Position, Row)>,
        /// Position of the last of them, where to go on; the position asked for if there is none.
        last: Position,
    },
    /// Some of them are sealed already, or the position is not one of this database: ask for the history instead.
    Gone,
}

/// The account of one stream: what became of its batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamLedger {
    /// The epoch.
    pub epoch: Epoch,
    /// The last settled batch.
    pub last_seq: Seq,
    /// Batches stored.
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

/// What has happened to a connection of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionNote {
    /// The device.
    pub device: DeviceKey,
    /// Names the connection among those since the hub's start.
    pub session: String,
    /// When it happened.
    pub at: Timestamp,
    /// What.
    pub event: ConnectionEvent,
}

/// What can happen to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// It was opened, from this address.
    Opened {
        /// Where it came from.
        address: String,
    },
    /// It has ended.
    Ended {
        /// Which side began.
        by: EndedBy,
        /// The code of the close frame, if there was one.
        code: Option<u16>,
        /// Why, in words.
        reason: String,
        /// When the device was last heard; `None` if it has connected again and that is known better.
        last_seen: Option<Timestamp>,
    },
}

/// The database in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Devices known.
    pub devices: u64,
    /// Series known.
    pub series: u64,
    /// Readings stored, hot and sealed, also those of which only statistics are left; without those that are counted
    /// as conflicts, removed or damaged.
    pub readings: u64,
    /// Readings that are not sealed yet.
    pub hot: u64,
    /// Readings left out of blocks because their series had one at the same microsecond, stored before.
    pub conflicts: u64,
    /// Readings that retention took away.
    pub removed: u64,
    /// Readings of which retention has left only statistics.
    pub thinned: u64,
    /// Hot readings that were found damaged when the database was opened, and put aside.
    pub damaged: u64,
    /// Size of the database file without its write-ahead log, in bytes.
    pub file_bytes: u64,
    /// Time of the earliest reading.
    pub oldest: Option<Timestamp>,
    /// Time of the latest reading.
    pub newest: Option<Timestamp>,
}

/// Sizes of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Blocks.
    pub blocks: u64,
    /// Bundles: readings of several series together, that are not in blocks yet.
    pub bundles: u64,
    /// Compressed readings of both, and their finer statistics, in bytes.
    pub block_bytes: u64,
    /// The database file, without its write-ahead log, in bytes.
    pub file_bytes: u64,
    /// Pages of the file that hold nothing now, in bytes.
    pub free_bytes: u64,
    /// The write-ahead log, in bytes.
    pub log_bytes: u64,
}

/// What one device has in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStats {
    /// The device.
    pub device: DeviceId,
    /// Its series.
    pub series: u64,
    /// Readings in its stored batches, of all epochs.
    pub readings: u64,
    /// Readings of these that are not sealed yet.
    pub hot: u64,
    /// Readings of these in blocks.
    pub sealed: u64,
    /// Readings of these that were left out of blocks because their microsecond was taken.
    pub conflicts: u64,
    /// Readings of these that retention took away.
    pub removed: u64,
    /// Hot readings of these that were found damaged and put aside, as far as their series can be read.
    pub damaged: u64,
    /// Its blocks.
    pub blocks: u64,
    /// Their compressed readings and finer statistics, in bytes.
    pub block_bytes: u64,
    /// Time of its earliest reading.
    pub oldest: Option<Timestamp>,
    /// Time of its latest reading.
    pub newest: Option<Timestamp>,
}

/// The account of one device: what became of its batches, and where the readings in them are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAccount {
    /// Its batches, by epoch, oldest first.
    pub streams: Vec<StreamLedger>,
    /// Its readings.
    pub stats: DeviceStats,
}

impl DeviceAccount {
    /// As a viewer is told.
    pub fn told(&self) -> Account {
        let DeviceStats { readings, hot, sealed, conflicts, removed, damaged, ref device, .. } = self.stats;
        let streams = self.streams.iter().map(|stream| StreamAccount {
            epoch: stream.epoch.clone(),
            sent: stream.sent(),
            stored: stream.stored,
            refused: stream.refused,
            skipped: stream.skipped,
            duplicate: stream.duplicate,
            readings: stream.readings,
            created_at: stream.created_at,
            changed_at: stream.changed_at,
        });
        Account {
            device: device.clone(),
            adds_up: self.adds_up(),
            readings,
            hot,
            sealed,
            conflicts,
            removed,
            damaged,
            streams: streams.collect(),
        }
    }

    /// Whether nothing is missing and nothing is too much: every batch is stored, refused or skipped, and every reading
    /// of the stored ones is hot, in a block, or counted as a conflict, removed or damaged.
    pub fn adds_up(&self) -> bool {
        let batches =
            |stream: &StreamLedger| stream.sent() == stream.stored + stream.refused + stream.skipped;
        let of_streams: u64 = self.streams.iter().map(|stream| stream.readings).sum();
        let DeviceStats { readings, hot, sealed, conflicts, removed, damaged, .. } = self.stats;
        let found = hot + sealed + conflicts + removed + damaged;
        self.streams.iter().all(batches) && of_streams == readings && readings == found
    }
}

impl StreamLedger {
    /// Batches that the device sent, or lost before it could: it counts without a hole.
    pub const fn sent(&self) -> u64 {
        self.last_seq.0
    }
}

/// When sealing and merging begin, and how much they leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealPolicy {
    /// Newest readings that stay hot, so that viewers who come back can go on where they were.
    pub keep: u64,
    /// Fewest readings that a run takes. With many series a run waits for more, so that its pieces do not get too small.
    pub run_min: u64,
    /// Most readings that a run takes: it holds them in memory, about 24 bytes each.
    pub run_max: u64,
    /// Small blocks in one day of a series that are worth merging.
    pub pieces: usize,
    /// Readings of all series after which a day that has got none is merged for good, however few its blocks are.
    pub quiet: u64,
}

/// Chosen: every query scans the hot rows, and 100 000 take it about 5 ms. With 12 pieces each reading is rewritten about
/// three times until its block is full.
impl Default for SealPolicy {
    fn default() -> Self {
        Self { keep: 100_000, run_min: 50_000, run_max: 500_000, pieces: 12, quiet: 4_000_000 }
    }
}

/// What a slice of sealing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sealed {
    /// Readings written into blocks by this slice.
    pub readings: u64,
    /// Readings that are hot now.
    pub hot: u64,
    /// Whether a run is under way: call again.
    pub more: bool,
}

/// What a slice of merging did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Merged {
    /// Readings in the blocks that were made.
    pub readings: u64,
    /// Blocks that went.
    pub from_blocks: u64,
    /// Blocks that were made of them.
    pub into_blocks: u64,
    /// Whether there is more to merge: call again.
    pub more: bool,
}
