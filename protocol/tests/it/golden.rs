//! Messages as they stand on the wire, one a file in `tests/golden`: they decode to these values for ever (I-10).
//!
//! A file is named `side.type.json` or `side.type.variant.json`. Those marked canonical are byte for byte what this
//! crate writes. A file is never changed once a version of the protocol is released; new forms are new files.

mod viewers;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::PathBuf;

use protocol::codec::DecodeError;
use protocol::command::{CommandState, Delivery, DeviceCommandState};
use protocol::declare::{CommandDeclaration, MetricDeclaration, ParamDeclaration};
use protocol::device::{
    Ack, Cancel, CommandRequest, CommandUpdate, DeviceMessage, ErrorMessage, Hello, HubToDevice, Point,
    RawReadings, Readings, Refuse, Skip, Welcome,
};
use protocol::group::{MemberState, Tally, Targets};
use protocol::limits::{DeviceLimits, ViewerLimits};
use protocol::select::Select;
use protocol::viewer::{
    Account, CancelAsked, CancelCommand, CancelGroup, CommandEvent, CommandInfo, Commands, CommandsRequest,
    ConnectionEnd, ConnectionInfo, Connections, ConnectionsRequest, Detail, DeviceInfo, Devices, EndedBy,
    GroupEvent, GroupInfo, GroupRequest, GroupStopped, Groups, GroupsRequest, History, HistoryRequest,
    HubToViewer, LateOrLost, Latest, LatestRequest, Ledger, LedgerRequest, LiveReadings, Member, Members,
    MembersRequest, MetricInfo, Omitted, Resolution, RetryGroup, Role, SendCommand, SendGroup,
    SeriesReadings, StreamAccount, Subscribe, Subscribed, Transition, Unpunctual, Unsubscribe, ViewerMessage,
    ViewerWelcome,
};
use protocol::{
    Bucket, CommandId, DeviceId, Epoch, ErrorCode, GroupId, Kind, MetricName, Position, RefuseCode, Seq,
    SeriesId, Step, Tag, Timestamp, Value,
};
use serde_json::{Map, Value as Json, json};

/// A set of messages, as these tests see it.
pub(crate) trait Side: Sized + PartialEq + Debug {
    /// What the names of its files begin with.
    const NAME: &'static str;
    /// All its types.
    const ALL_TYPES: &'static [&'static str];
    /// Reads one.
    fn read(text: &str) -> Result<Self, DecodeError>;
    /// Writes one.
    fn write(&self) -> String;
}

macro_rules! sides {
    ($($side:ident $name:literal;)*) => { $(impl Side for $side {
        const NAME: &'static str = $name;
        const ALL_TYPES: &'static [&'static str] = Self::TYPES;
        fn read(text: &str) -> Result<Self, DecodeError> {
            Self::decode(text)
        }
        fn write(&self) -> String {
            self.encode()
        }
    })* };
}
sides! {
    DeviceMessage "device";
    HubToDevice "hub_to_device";
    ViewerMessage "viewer";
    HubToViewer "hub_to_viewer";
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Every golden message: the name of its file without `.json`, and its text.
pub(crate) fn all() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let name = name.strip_suffix(".json").unwrap_or_else(|| panic!("{name} is not a .json file"));
            (name.to_owned(), std::fs::read_to_string(&path).unwrap().trim_end().to_owned())
        })
        .collect();
    found.sort();
    found
}

/// Whether this crate writes the message exactly as it stands in the file.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Canonical,
    Accepted,
}
use Form::{Accepted, Canonical};

fn check<S: Side>(expected: Vec<(&str, Form, S)>) {
    let files: Vec<(String, String)> =
        all().into_iter().filter(|(name, _)| name.split('.').next() == Some(S::NAME)).collect();
    let listed: BTreeSet<&str> = expected.iter().map(|(name, ..)| *name).collect();
    let present: BTreeSet<&str> = files.iter().map(|(name, _)| &name[S::NAME.len() + 1..]).collect();
    assert_eq!(listed, present, "every file has an expected value, and every value a file");
    for kind in S::ALL_TYPES {
        assert!(
            expected.iter().any(|(name, form, _)| name.split('.').next() == Some(kind) && *form == Canonical),
            "{}.{kind} has no canonical golden message",
            S::NAME
        );
    }
    for (name, form, value) in expected {
        let (_, text) = files.iter().find(|(file, _)| file[S::NAME.len() + 1..] == *name).unwrap();
        let read = S::read(text).unwrap_or_else(|e| panic!("{}.{name}: {e}", S::NAME));
        assert_eq!(read, value, "{}.{name}", S::NAME);
        if form == Canonical {
            assert_eq!(value.write(), *text, "{}.{name}", S::NAME);
        }
        assert_eq!(S::read(&value.write()).unwrap(), value, "{}.{name}: written and read again", S::NAME);
    }
}

fn device(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

fn name(name: &str) -> MetricName {
    MetricName::new(name).unwrap()
}

fn command(id: &str) -> CommandId {
    CommandId::new(id).unwrap()
}

fn tag(tag: &str) -> Tag {
    Tag::new(tag).unwrap()
}

fn group(id: &str) -> GroupId {
    GroupId::new(id).unwrap()
}

fn object(json: Json) -> Map<String, Json> {
    json.as_object().unwrap().clone()
}

fn metric(metric: &str, kind: Kind) -> MetricDeclaration {
    MetricDeclaration { name: name(metric), unit: None, label: None, min: None, max: None, kind }
}

fn param(param: &str, kind: Kind) -> ParamDeclaration {
    ParamDeclaration {
        name: name(param),
        kind,
        unit: None,
        min: None,
        max: None,
        choices: vec![],
        default: None,
        required: false,
    }
}

fn declared(command: &str, params: Vec<ParamDeclaration>) -> CommandDeclaration {
    CommandDeclaration {
        name: name(command),
        label: None,
        params,
        confirm: false,
        timeout: None,
        delivery: Delivery::AtOnce,
    }
}

fn hello(id: &str, epoch: &str) -> Hello {
    Hello {
        device: device(id),
        epoch: Epoch::new(epoch).unwrap(),
        now: None,
        model: None,
        firmware: None,
        tags: vec![],
        metrics: vec![],
        commands: vec![],
    }
}

fn point(at: i64, values: &[(&str, Value)]) -> Point {
    Point {
        at: Timestamp(at),
        values: values.iter().map(|(metric, value)| (name(metric), value.clone())).collect(),
    }
}

fn update(id: &str, state: DeviceCommandState) -> CommandUpdate {
    CommandUpdate::new(command(id), state)
}

#[test]
fn i_10_golden_messages_of_devices_decode_for_ever() {
    let full_hello = Hello {
        model: Some("PS-2".into()),
        firmware: Some("2.4.1".into()),
        metrics: vec![
            MetricDeclaration {
                unit: Some("Cel".into()),
                label: Some("Bearing".into()),
                min: Some(-20.0),
                max: Some(120.0),
                ..metric("temperature", Kind::Number)
            },
            metric("running", Kind::Bool),
            metric("state", Kind::Text),
        ],
        commands: vec![
            CommandDeclaration {
                label: Some("Set speed".into()),
                confirm: true,
                timeout: Some(10.0),
                ..declared(
                    "set_speed",
                    vec![
                        ParamDeclaration {
                            unit: Some("Hz".into()),
                            min: Some(0.0),
                            max: Some(60.0),
                            required: true,
                            ..param("speed", Kind::Number)
                        },
                        ParamDeclaration {
                            choices: vec!["soft".into(), "hard".into()],
                            default: Some(json!("soft")),
                            ..param("ramp", Kind::Text)
                        },
                        ParamDeclaration { default: Some(json!(false)), ..param("log", Kind::Bool) },
                    ],
                )
            },
            declared("reset", vec![]),
        ],
        ..hello("pump-07", "7f3a9c")
    };
    full_hello.check().unwrap();
    check::<DeviceMessage>(vec![
        ("hello", Canonical, full_hello.into()),
        ("hello.minimal", Accepted, hello("d", "1").into()),
        (
            "hello.tags",
            Canonical,
            Hello { tags: vec![tag("site:north"), tag("canary")], ..hello("d", "1") }.into(),
        ),
        (
            "hello.now",
            Canonical,
            Hello { now: Some(Timestamp(1_767_225_600_000_000)), ..hello("d", "1") }.into(),
        ),
        (
            "hello.unknown_fields",
            Accepted,
            Hello {
                metrics: vec![metric("t", Kind::Number)],
                commands: vec![declared(
                    "go",
                    vec![ParamDeclaration { min: Some(1.0), ..param("far", Kind::Number) }],
                )],
                ..hello("d", "1")
            }
            .into(),
        ),
        (
            "readings",
            Canonical,
            Readings {
                seq: Seq::MAX,
                points: vec![
                    point(
                        1_767_225_600_000_000,
                        &[
                            ("temperature", 41.5.into()),
                            ("running", true.into()),
                            ("state", "ramping \"up\" µ".into()),
                        ],
                    ),
                    point(0, &[("temperature", (-0.5).into())]),
                ],
            }
            .into(),
        ),
        ("readings.minimal", Canonical, Readings { seq: Seq(1), points: vec![] }.into()),
        ("readings.no_values", Canonical, Readings { seq: Seq(2), points: vec![point(5, &[])] }.into()),
        (
            "readings.unknown_fields",
            Accepted,
            Readings {
                seq: Seq(3),
                points: vec![point(
                    7,
                    &[
                        ("n", 1.0.into()),
                        ("big", 18_446_744_073_709_551_615.0.into()),
                        ("small", (-0.001).into()),
                        ("text", "é\n".into()),
                    ],
                )],
            }
            .into(),
        ),
        ("skip", Canonical, Skip { seq: Seq(9) }.into()),
        (
            "command_update",
            Canonical,
            CommandUpdate { progress: Some(0.5), ..update("c-01JD3W", DeviceCommandState::Running) }.into(),
        ),
        (
            "command_update.succeeded",
            Canonical,
            CommandUpdate {
                result: Some(json!({"speed": 42.5, "steps": [1, "two", null]})),
                ..update("c-01JD3W", DeviceCommandState::Succeeded)
            }
            .into(),
        ),
        (
            "command_update.rejected",
            Canonical,
            CommandUpdate {
                error: Some("the pump is locked out".into()),
                ..update("c-01JD3X", DeviceCommandState::Rejected)
            }
            .into(),
        ),
        (
            "command_update.unresolved",
            Canonical,
            CommandUpdate {
                error: Some("switched off while it did it".into()),
                code: Some(name("interrupted")),
                ..update("c-01JD3X", DeviceCommandState::Unresolved)
            }
            .into(),
        ),
        ("command_update.minimal", Canonical, update("c", DeviceCommandState::Received).into()),
    ]);
}

#[test]
fn i_10_golden_messages_to_devices_decode_for_ever() {
    let welcome = |acked| Welcome {
        session: "d-12".into(),
        server_time: Timestamp(1_767_225_600_000_000),
        acked_seq: Seq(acked),
        limits: DeviceLimits {
            message_bytes: 262_144,
            readings_per_batch: 4_096,
            unacked_batches: 256,
            text_bytes: 256,
        },
        heartbeat_seconds: 10,
    };
    check::<HubToDevice>(vec![
        ("welcome", Canonical, welcome(41).into()),
        ("welcome.unknown_fields", Accepted, welcome(0).into()),
        ("ack", Canonical, Ack { seq: Seq(3) }.into()),
        (
            "refuse",
            Canonical,
            Refuse {
                seq: Seq(5),
                code: RefuseCode::StorageFull,
                message: "the disk of the hub is full".into(),
                retry_after_ms: Some(5_000),
            }
            .into(),
        ),
        (
            "refuse.final",
            Canonical,
            Refuse {
                seq: Seq(4),
                code: RefuseCode::UnknownMetric,
                message: "points[0].values.tempreture: hello declares no such metric".into(),
                retry_after_ms: None,
            }
            .into(),
        ),
        (
            "command",
            Canonical,
            CommandRequest {
                id: command("c-01JD3W"),
                name: name("set_speed"),
                args: object(json!({"ramp": "soft", "speed": 42.5})),
                attempt: 1,
                expires_at: Timestamp(1_767_225_900_000_000),
                sent_at: None,
            }
            .into(),
        ),
        (
            "command.again",
            Canonical,
            CommandRequest {
                id: command("c-01JD3W"),
                name: name("reset"),
                args: Map::new(),
                attempt: 2,
                expires_at: Timestamp(1_767_225_900_000_000),
                sent_at: Some(Timestamp(1_767_225_600_000_000)),
            }
            .into(),
        ),
        (
            "cancel.again",
            Canonical,
            Cancel { id: command("c-01JD3W"), sent_at: Some(Timestamp(1_767_225_600_000_000)) }.into(),
        ),
        (
            "command.minimal",
            Accepted,
            CommandRequest {
                id: command("c"),
                name: name("reset"),
                args: Map::new(),
                attempt: 2,
                expires_at: Timestamp(0),
                sent_at: None,
            }
            .into(),
        ),
        ("cancel", Canonical, Cancel { id: command("c-01JD3W"), sent_at: None }.into()),
        (
            "error",
            Canonical,
            ErrorMessage {
                id: None,
                code: ErrorCode::BadField,
                message: "command_update: progress: 1.5 is outside 0 to 1".into(),
            }
            .into(),
        ),
    ]);
}

#[test]
fn every_golden_file_belongs_to_a_side_and_says_its_type() {
    let sides = [DeviceMessage::NAME, HubToDevice::NAME, ViewerMessage::NAME, HubToViewer::NAME];
    for (file, text) in all() {
        let mut parts = file.split('.');
        assert!(parts.next().is_some_and(|side| sides.contains(&side)), "{file}");
        let json: Json = serde_json::from_str(&text).unwrap();
        assert_eq!(parts.next(), json["type"].as_str(), "{file}");
    }
}

#[test]
fn the_hubs_flat_reading_of_a_batch_says_the_same_as_the_full_one() {
    for (file, text) in all().into_iter().filter(|(file, _)| file.starts_with("device.readings")) {
        let DeviceMessage::Readings(full) = DeviceMessage::decode(&text).unwrap() else { panic!("{file}") };
        let raw = RawReadings::decode(&text).unwrap();
        let flat: Vec<(Timestamp, String, Value)> = full
            .points
            .into_iter()
            .flat_map(|p| p.values.into_iter().map(move |(metric, value)| (p.at, metric.to_string(), value)))
            .collect();
        assert_eq!(raw.seq, full.seq, "{file}");
        let raw: Vec<(Timestamp, String, Value)> =
            raw.readings.into_iter().map(|r| (r.at, r.metric.into_owned(), r.value.into_owned())).collect();
        assert_eq!(raw, flat, "{file}");
    }
}
