//! Messages as they stand on the wire, one a file in `tests/golden`: they decode to these values for ever (I-10).
//!
//! A file is named `side.type.json` or `side.type.variant.json`. Those marked canonical are byte for byte what this
//! crate writes. A file is never changed once a version of the protocol is released; new forms are new files.

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
use protocol::limits::{DeviceLimits, ViewerLimits};
use protocol::select::Select;
use protocol::viewer::{
    CancelAsked, CancelCommand, CommandEvent, CommandInfo, Commands, CommandsRequest, Detail, DeviceInfo,
    Devices, History, HistoryRequest, HubToViewer, Latest, LatestRequest, LiveReadings, MetricInfo, Omitted,
    Resolution, Role, SendCommand, SeriesReadings, Subscribe, Subscribed, Transition, Unsubscribe,
    ViewerMessage, ViewerWelcome,
};
use protocol::{
    Bucket, CommandId, DeviceId, Epoch, ErrorCode, Kind, MetricName, Position, RefuseCode, Seq, SeriesId,
    Step, Timestamp, Value,
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
        model: None,
        firmware: None,
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
fn i_10_golden_messages_of_viewers_decode_for_ever() {
    let subscribe =
        |id| Subscribe { id, select: Select::all(), detail: Detail::All, max_hz: None, since: None };
    check::<ViewerMessage>(vec![
        (
            "subscribe",
            Canonical,
            Subscribe {
                select: Select {
                    devices: vec!["pump-*".into()],
                    metrics: vec!["temperature".into(), "flow?".into()],
                    series: vec![SeriesId(3), SeriesId(4)],
                },
                detail: Detail::Latest,
                max_hz: Some(30.0),
                since: Some(Position(81_234)),
                ..subscribe(1)
            }
            .into(),
        ),
        ("subscribe.minimal", Accepted, subscribe(2).into()),
        ("subscribe.unknown_fields", Accepted, Subscribe { max_hz: Some(1.0), ..subscribe(2) }.into()),
        ("unsubscribe", Canonical, Unsubscribe { id: 1 }.into()),
        (
            "history",
            Canonical,
            HistoryRequest {
                id: 7,
                series: SeriesId(3),
                from: Timestamp(1_767_225_600_000_000),
                to: Timestamp(1_767_229_200_000_000),
                step: Resolution::Buckets(Step::M1),
            }
            .into(),
        ),
        (
            "history.raw",
            Canonical,
            HistoryRequest {
                id: 8,
                series: SeriesId(3),
                from: Timestamp(-60_000_000),
                to: Timestamp(0),
                step: Resolution::Raw,
            }
            .into(),
        ),
        (
            "latest",
            Canonical,
            LatestRequest {
                id: 11,
                select: Select { devices: vec!["pump-*".into()], metrics: vec![], series: vec![] },
                at: Some(Timestamp(1_767_225_600_000_000)),
            }
            .into(),
        ),
        ("latest.minimal", Accepted, LatestRequest { id: 11, select: Select::all(), at: None }.into()),
        (
            "send_command",
            Canonical,
            SendCommand {
                id: 8,
                device: device("pump-07"),
                name: name("set_speed"),
                args: object(json!({"ramp": "hard", "speed": 42.5})),
                expires_in_ms: Some(60_000),
                delivery: None,
                force: false,
            }
            .into(),
        ),
        ("send_command.minimal", Accepted, SendCommand::new(0, device("pump-07"), name("reset")).into()),
        (
            "send_command.forced",
            Canonical,
            SendCommand {
                delivery: Some(Delivery::AfterFinished),
                force: true,
                ..SendCommand::new(8, device("pump-07"), name("self_test"))
            }
            .into(),
        ),
        ("cancel_command", Canonical, CancelCommand { id: 9, command: command("c-01JD3W") }.into()),
        (
            "commands",
            Canonical,
            CommandsRequest {
                id: 10,
                device: Some(device("pump-07")),
                before: Some(Timestamp(1_767_225_600_000_000)),
                limit: Some(50),
                ..CommandsRequest::default()
            }
            .into(),
        ),
        (
            "commands.filtered",
            Canonical,
            CommandsRequest {
                id: 10,
                states: vec![CommandState::Failed, CommandState::Unresolved],
                name: Some(name("reset")),
                by: Some("local operator".into()),
                since: Some(Timestamp(1_767_225_600_000_000)),
                ..CommandsRequest::default()
            }
            .into(),
        ),
        ("commands.minimal", Canonical, CommandsRequest { id: 10, ..CommandsRequest::default() }.into()),
    ]);
}

#[test]
fn i_10_golden_messages_to_viewers_decode_for_ever() {
    let info = |id: &str, on: &str, state| CommandInfo {
        id: command(id),
        device: device(on),
        name: name("reset"),
        args: Map::new(),
        state,
        issued_by: "operator".into(),
        expires_at: Timestamp(1),
        attempt: 0,
        progress: None,
        result: None,
        error: None,
        code: None,
        delivery: Delivery::AtOnce,
        forced: false,
        cancel: None,
        transitions: vec![],
    };
    let transition =
        |state, at, by: &str| Transition { state, at: Timestamp(at), by: by.into(), address: None };
    let start = Timestamp(1_767_225_600_000_000);
    check::<HubToViewer>(vec![
        (
            "welcome",
            Canonical,
            ViewerWelcome {
                session: "v-3".into(),
                server_time: start,
                role: Role::Operator,
                position: Position(81_234),
                limits: ViewerLimits {
                    message_bytes: 65_536,
                    subscriptions: 64,
                    max_hz: 60.0,
                    history_points: 1_000_000,
                    history_pending: 32,
                },
                heartbeat_seconds: 10,
            }
            .into(),
        ),
        (
            "devices",
            Canonical,
            Devices {
                devices: vec![DeviceInfo {
                    id: device("pump-07"),
                    model: Some("PS-2".into()),
                    firmware: Some("2.4.1".into()),
                    connected: true,
                    since: Some(start),
                    last_seen: Some(start.plus_micros(60_000_000)),
                    metrics: vec![MetricInfo {
                        series: SeriesId(3),
                        declaration: MetricDeclaration {
                            unit: Some("Cel".into()),
                            ..metric("temperature", Kind::Number)
                        },
                    }],
                    commands: vec![declared("reset", vec![])],
                }],
                snapshot: true,
                more: true,
            }
            .into(),
        ),
        (
            "devices.minimal",
            Canonical,
            Devices {
                devices: vec![DeviceInfo {
                    id: device("d"),
                    model: None,
                    firmware: None,
                    connected: false,
                    since: None,
                    last_seen: None,
                    metrics: vec![],
                    commands: vec![],
                }],
                snapshot: false,
                more: false,
            }
            .into(),
        ),
        (
            "subscribed",
            Canonical,
            Subscribed { id: 1, series: 12, position: Position(81_234), resumed: true }.into(),
        ),
        (
            "readings",
            Canonical,
            LiveReadings {
                id: 1,
                position: Position(81_240),
                snapshot: true,
                series: vec![
                    SeriesReadings {
                        series: SeriesId(3),
                        points: vec![(start, 41.5.into()), (start.plus_micros(1_000_000), (-3.0).into())],
                    },
                    SeriesReadings { series: SeriesId(4), points: vec![(start, true.into())] },
                    SeriesReadings { series: SeriesId(5), points: vec![(start, "ramping".into())] },
                ],
                omitted: Some(Omitted {
                    count: 4,
                    from: start.plus_micros(-10_000_000),
                    to: start.plus_micros(-7_000_000),
                }),
            }
            .into(),
        ),
        (
            "readings.minimal",
            Canonical,
            LiveReadings { id: 1, position: Position(0), snapshot: false, series: vec![], omitted: None }
                .into(),
        ),
        (
            "history",
            Canonical,
            History {
                id: 7,
                series: SeriesId(3),
                step: Resolution::Buckets(Step::M1),
                points: vec![],
                buckets: vec![Bucket {
                    at: start,
                    count: 4,
                    min: 41.0,
                    max: 43.0,
                    sum: 168.0,
                    first: 41.5,
                    last: 42.5,
                }],
                coarser: None,
                more: true,
                position: Position(81_240),
            }
            .into(),
        ),
        (
            "history.raw",
            Canonical,
            History {
                id: 6,
                series: SeriesId(5),
                step: Resolution::Raw,
                points: vec![(start, "ramping".into())],
                buckets: vec![],
                coarser: None,
                more: false,
                position: Position(81_240),
            }
            .into(),
        ),
        (
            "history.coarser",
            Canonical,
            History {
                id: 8,
                series: SeriesId(3),
                step: Resolution::Raw,
                points: vec![],
                buckets: vec![],
                coarser: Some(Step::H1),
                more: false,
                position: Position(81_240),
            }
            .into(),
        ),
        (
            "history.minimal",
            Canonical,
            History {
                id: 6,
                series: SeriesId(5),
                step: Resolution::Buckets(Step::D1),
                points: vec![],
                buckets: vec![],
                coarser: None,
                more: false,
                position: Position(0),
            }
            .into(),
        ),
        (
            "latest",
            Canonical,
            Latest {
                id: 11,
                points: vec![
                    (SeriesId(3), start, 41.5.into()),
                    (SeriesId(4), start, true.into()),
                    (SeriesId(5), start, "ramping".into()),
                ],
                more: true,
                position: Position(81_240),
            }
            .into(),
        ),
        (
            "latest.minimal",
            Canonical,
            Latest { id: 11, points: vec![], more: false, position: Position(0) }.into(),
        ),
        (
            "command",
            Canonical,
            CommandEvent {
                id: Some(8),
                command: CommandInfo {
                    name: name("set_speed"),
                    args: object(json!({"speed": 42.5})),
                    expires_at: start.plus_micros(300_000_000),
                    attempt: 2,
                    progress: Some(1.0),
                    result: Some(json!({"speed": 42.5})),
                    error: Some("late".into()),
                    transitions: vec![
                        transition(CommandState::Queued, start.micros(), "operator"),
                        transition(CommandState::Succeeded, start.micros() + 1_000_000, "device"),
                    ],
                    ..info("c-01JD3W", "pump-07", CommandState::Succeeded)
                },
            }
            .into(),
        ),
        (
            "command.cancelled",
            Canonical,
            CommandEvent {
                id: None,
                command: CommandInfo {
                    code: Some(name("never_received")),
                    delivery: Delivery::AfterReceived,
                    forced: true,
                    cancel: Some(Box::new(CancelAsked {
                        at: start,
                        by: "operator".into(),
                        address: Some("10.0.0.7:51000".into()),
                    })),
                    transitions: vec![Transition {
                        address: Some("10.0.0.7:50000".into()),
                        ..transition(CommandState::Queued, start.micros(), "operator")
                    }],
                    ..info("c-01JD3X", "pump-07", CommandState::Cancelled)
                },
            }
            .into(),
        ),
        (
            "command.minimal",
            Accepted,
            CommandEvent { id: None, command: info("c", "d", CommandState::Queued) }.into(),
        ),
        (
            "commands",
            Canonical,
            Commands {
                id: 10,
                commands: vec![CommandInfo {
                    transitions: vec![
                        transition(CommandState::Queued, 0, "operator"),
                        transition(CommandState::Expired, 1, "hub"),
                    ],
                    ..info("c", "d", CommandState::Expired)
                }],
            }
            .into(),
        ),
        (
            "error",
            Canonical,
            ErrorMessage {
                id: Some(8),
                code: ErrorCode::BadCommand,
                message: "args.speed: 80 is above the maximum of 60 Hz".into(),
            }
            .into(),
        ),
        (
            "error.minimal",
            Canonical,
            ErrorMessage { id: None, code: ErrorCode::Malformed, message: "not a message".into() }.into(),
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
