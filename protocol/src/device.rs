//! Messages between a device and the hub.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value as Json};

use crate::codec::{self, DecodeError, messages};
use crate::command::DeviceCommandState;
use crate::declare::{self, CommandDeclaration, DeclarationError, MetricDeclaration};
use crate::error::{ErrorCode, RefuseCode};
use crate::limits::{self, DeviceLimits};
use crate::name::{CommandId, DeviceId, Epoch, MetricName, Seq, Tag};
use crate::time::Timestamp;
use crate::value::{Value, ValueRef};

messages! {
    /// What a device sends to the hub.
    DeviceMessage {
        /// Who I am and what I have: the first message, once.
        Hello(Hello) = "hello",
        /// A batch of readings.
        Readings(Readings) = "readings",
        /// Batches that I lost and will never send.
        Skip(Skip) = "skip",
        /// What became of a command.
        CommandUpdate(CommandUpdate) = "command_update",
    }
}

messages! {
    /// What the hub sends to a device.
    HubToDevice {
        /// The answer to `hello`.
        Welcome(Welcome) = "welcome",
        /// Every batch up to here is settled: on disk, or refused by name.
        Ack(Ack) = "ack",
        /// A batch that is not accepted.
        Refuse(Refuse) = "refuse",
        /// Do this.
        Command(CommandRequest) = "command",
        /// Do not do this any more.
        Cancel(Cancel) = "cancel",
        /// Something else was wrong with a message.
        Error(ErrorMessage) = "error",
    }
}

/// The first message of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The device.
    pub device: DeviceId,
    /// The epoch its `seq` counts in.
    pub epoch: Epoch,
    /// Its clock as it says this, so that the hub knows how far it is ahead before the first reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<Timestamp>,
    /// What it is: `pump station PS-2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The version of its software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// With what it can be chosen among others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// What it measures.
    #[serde(default)]
    pub metrics: Vec<MetricDeclaration>,
    /// What it can be told.
    #[serde(default)]
    pub commands: Vec<CommandDeclaration>,
}

impl Hello {
    /// Checks everything that the types do not.
    pub fn check(&self) -> Result<(), DeclarationError> {
        for (place, text) in [("model", &self.model), ("firmware", &self.firmware)] {
            if let Some(text) = text
                && text.len() > limits::LABEL_MAX_BYTES
            {
                return Err(DeclarationError {
                    place: place.into(),
                    problem: format!(
                        "{} bytes long: {}",
                        text.len(),
                        limits::refusal(
                            "label_bytes",
                            limits::LABEL_MAX_BYTES,
                            "text",
                            "choose a shorter one"
                        )
                    ),
                });
            }
        }
        declare::check_tags(&self.tags)?;
        declare::check_metrics(&self.metrics)?;
        declare::check_commands(&self.commands)
    }
}

/// A batch of readings. `points` is ordered as the device likes; times may repeat and run backwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Readings {
    /// The number of the batch: one more than the last.
    pub seq: Seq,
    /// What was measured.
    pub points: Vec<Point>,
}

/// What a device measured at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When, by the device's clock.
    pub at: Timestamp,
    /// A value for each metric that has one.
    #[serde(serialize_with = "write_values", deserialize_with = "read_values")]
    pub values: Vec<(MetricName, Value)>,
}

fn write_values<S: Serializer>(values: &[(MetricName, Value)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(values.len()))?;
    for (metric, value) in values {
        map.serialize_entry(metric, value)?;
    }
    map.end()
}

fn read_values<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(MetricName, Value)>, D::Error> {
    struct Values;
    impl<'de> Visitor<'de> for Values {
        type Value = Vec<(MetricName, Value)>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of metric names and values")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut values = Vec::with_capacity(map.size_hint().unwrap_or(4).min(limits::METRICS_MAX));
            while let Some(entry) = map.next_entry()? {
                values.push(entry);
            }
            Ok(values)
        }
    }
    deserializer.deserialize_map(Values)
}

/// A batch as the hub reads it: flat, borrowing from the message, nothing allocated for a reading.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RawReadings<'a> {
    /// The number of the batch.
    pub seq: Seq,
    /// Every reading of every point, in the order of the message.
    #[serde(borrow, rename = "points", deserialize_with = "read_points")]
    pub readings: Vec<RawReading<'a>>,
}

/// One reading, borrowing from the message.
#[derive(Debug, Clone, PartialEq)]
pub struct RawReading<'a> {
    /// When, by the device's clock.
    pub at: Timestamp,
    /// Of which metric, as the device wrote it.
    pub metric: Cow<'a, str>,
    /// The value.
    pub value: ValueRef<'a>,
}

impl<'a> RawReadings<'a> {
    /// Reads a text whose type is `readings`.
    pub fn decode(text: &'a str) -> Result<Self, DecodeError> {
        codec::read_fields("readings", text)
    }
}

#[derive(Deserialize)]
struct CowStr<'a>(#[serde(borrow)] Cow<'a, str>);

fn read_points<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RawReading<'de>>, D::Error> {
    struct Points;
    impl<'de> Visitor<'de> for Points {
        type Value = Vec<RawReading<'de>>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of points")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut readings = Vec::with_capacity(16);
            let mut index = 0;
            while seq.next_element_seed(PointSeed { readings: &mut readings, index })?.is_some() {
                index += 1;
            }
            Ok(readings)
        }
    }
    deserializer.deserialize_seq(Points)
}

struct PointSeed<'b, 'de> {
    readings: &'b mut Vec<RawReading<'de>>,
    index: usize,
}

impl<'de> de::DeserializeSeed<'de> for PointSeed<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum PointField {
    At,
    Values,
    #[serde(other)]
    Other,
}

impl<'de> Visitor<'de> for PointSeed<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a point {at, values}")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let start = self.readings.len();
        let (mut at, mut has_values) = (None, false);
        while let Some(field) = map.next_key::<PointField>()? {
            match field {
                PointField::At => at = Some(map.next_value::<Timestamp>()?),
                PointField::Values => {
                    has_values = true;
                    map.next_value_seed(ValuesSeed { readings: self.readings, index: self.index })?;
                }
                PointField::Other => {
                    map.next_value::<de::IgnoredAny>()?;
                }
            }
        }
        let missing = |field| de::Error::custom(format_args!("points[{}]: {field} is missing", self.index));
        let at = at.ok_or_else(|| missing("at"))?;
        if !has_values {
            return Err(missing("values"));
        }
        for reading in &mut self.readings[start..] {
            reading.at = at;
        }
        Ok(())
    }
}

struct ValuesSeed<'b, 'de> {
    readings: &'b mut Vec<RawReading<'de>>,
    index: usize,
}

impl<'de> de::DeserializeSeed<'de> for ValuesSeed<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ValuesSeed<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of metric names and values")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(CowStr(metric)) = map.next_key()? {
            let value = map.next_value::<ValueRef<'de>>().map_err(|e| {
                de::Error::custom(format_args!("points[{}].values.{metric}: {e}", self.index))
            })?;
            self.readings.push(RawReading { at: Timestamp::default(), metric, value });
        }
        Ok(())
    }
}

/// Batches that the device lost (its outbox was full) and will never send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// Every batch up to here that the hub does not have is lost.
    pub seq: Seq,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandUpdate {
    /// The command.
    pub id: CommandId,
    /// Where it is now.
    pub state: DeviceCommandState,
    /// How far it has come, 0 to 1. Only while running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// What it gave, at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
    /// Why it failed, was rejected or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The same for a program: `no_pressure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<MetricName>,
}

impl CommandUpdate {
    /// An update that says the state alone.
    pub const fn new(id: CommandId, state: DeviceCommandState) -> Self {
        Self { id, state, progress: None, result: None, error: None, code: None }
    }

    /// Checks everything that the types do not: progress from 0 to 1, bounded result and error.
    pub fn check(&self) -> Result<(), String> {
        if let Some(progress) = self.progress.filter(|p| !(0.0..=1.0).contains(p)) {
            return Err(format!("progress: {progress} is outside 0 to 1"));
        }
        if let Some(error) = &self.error
            && error.len() > limits::COMMAND_ERROR_MAX_BYTES
        {
            return Err(format!(
                "error: {} bytes long: {}",
                error.len(),
                limits::refusal(
                    "command_error_bytes",
                    limits::COMMAND_ERROR_MAX_BYTES,
                    "command",
                    "send a shorter one"
                )
            ));
        }
        let length = self.result.as_ref().map_or(0, |r| r.to_string().len());
        if length > limits::COMMAND_PAYLOAD_MAX_BYTES {
            return Err(format!(
                "result: {length} bytes of JSON: {}",
                limits::refusal(
                    "command_payload_bytes",
                    limits::COMMAND_PAYLOAD_MAX_BYTES,
                    "command",
                    "send less"
                )
            ));
        }
        Ok(())
    }
}

/// The answer to `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Names this connection in the hub's log.
    pub session: String,
    /// The hub's clock.
    pub server_time: Timestamp,
    /// The last settled batch of this epoch: the device goes on with the one after it.
    pub acked_seq: Seq,
    /// What the hub takes.
    pub limits: DeviceLimits,
    /// Time between two pings of the hub, in seconds.
    pub heartbeat_seconds: u32,
}

/// Every batch up to `seq` is settled: stored with fsync, or refused for good by a `refuse` of its own (I-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The last settled batch.
    pub seq: Seq,
}

/// A batch that is not accepted; nothing of it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuse {
    /// The batch.
    pub seq: Seq,
    /// Which rule or limit.
    pub code: RefuseCode,
    /// The same in words, with the place and the limit's value.
    pub message: String,
    /// With a code that can be tried again: send this batch and all after it again after this time, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// An instruction to the device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandRequest {
    /// Identifies it for ever: a device that gets the same id twice does not act twice, it repeats its last answer.
    pub id: CommandId,
    /// Which of the declared commands.
    pub name: MetricName,
    /// Its arguments, checked against the declaration, defaults filled in.
    #[serde(default)]
    pub args: Map<String, Json>,
    /// 1 for the first delivery, one more for each further one.
    pub attempt: u32,
    /// After this time, by the hub's clock, the device should not start it any more.
    pub expires_at: Timestamp,
    /// When it was first delivered, by the hub's clock: a device that has forgotten what came before this time cannot know
    /// whether it began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}

/// Asks the device to stop a command that it has not finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// The command.
    pub id: CommandId,
    /// When it was first delivered, as in `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}

/// Something was wrong with a message that is not a batch; the connection stays open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorMessage {
    /// The request it answers, if that had a readable `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// What sort of error.
    pub code: ErrorCode,
    /// The same in words, with the place.
    pub message: String,
}
