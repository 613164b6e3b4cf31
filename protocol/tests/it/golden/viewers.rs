//! The messages between viewers and the hub.

use protocol::viewer::{Inspect, Painted, StopInspecting, Trace, Wire};
use protocol::wire::{
    self, Close, Ended, Event, Figures, Frame, Handshake, MessageHead, Record, Tls, Traffic,
};

use super::*;

#[test]
fn i_10_golden_messages_of_viewers_decode_for_ever() {
    let subscribe = |id| Subscribe {
        id,
        select: Select::all(),
        detail: Detail::All,
        max_hz: None,
        since: None,
        traces: None,
    };
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
        ("subscribe.traces", Canonical, Subscribe { traces: Some(4), ..subscribe(1) }.into()),
        ("painted", Canonical, Painted { id: 1, waits: vec![(180, 4_200), (310, 12_050)] }.into()),
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
        (
            "commands.group",
            Canonical,
            CommandsRequest { id: 10, group: Some(group("g-01JD3W")), ..CommandsRequest::default() }.into(),
        ),
        ("commands.minimal", Canonical, CommandsRequest { id: 10, ..CommandsRequest::default() }.into()),
        ("send_group", Canonical, SendGroup { id: 12, request: group_request(), dry_run: true }.into()),
        (
            "send_group.minimal",
            Accepted,
            SendGroup {
                id: 12,
                request: GroupRequest::new(
                    Targets { devices: vec!["pump-*".into()], ..Targets::default() },
                    name("reset"),
                ),
                dry_run: false,
            }
            .into(),
        ),
        ("cancel_group", Canonical, CancelGroup { id: 13, group: group("g-01JD3W"), begun: true }.into()),
        (
            "cancel_group.minimal",
            Canonical,
            CancelGroup { id: 13, group: group("g-01JD3W"), begun: false }.into(),
        ),
        (
            "retry_group",
            Canonical,
            RetryGroup {
                id: 14,
                group: group("g-01JD3W"),
                states: vec![MemberState::Issued(CommandState::Unresolved), MemberState::Skipped],
            }
            .into(),
        ),
        (
            "retry_group.minimal",
            Canonical,
            RetryGroup { id: 14, group: group("g-01JD3W"), states: vec![] }.into(),
        ),
        (
            "groups",
            Canonical,
            GroupsRequest {
                id: 15,
                group: Some(group("g-01JD3W")),
                before: Some(Timestamp(1_767_225_600_000_000)),
                limit: Some(50),
            }
            .into(),
        ),
        ("groups.minimal", Canonical, GroupsRequest { id: 15, ..GroupsRequest::default() }.into()),
        (
            "members",
            Canonical,
            MembersRequest { id: 16, group: group("g-01JD3W"), states: vec![MemberState::Refused] }.into(),
        ),
        (
            "members.minimal",
            Canonical,
            MembersRequest { id: 16, group: group("g-01JD3W"), states: vec![] }.into(),
        ),
        ("ledger", Canonical, LedgerRequest { id: 17, device: device("pump-07") }.into()),
        ("connections", Canonical, ConnectionsRequest { id: 18, device: device("pump-07") }.into()),
        (
            "inspect",
            Canonical,
            Inspect { id: 19, device: device("pump-07"), payload_bytes: Some(4_096) }.into(),
        ),
        (
            "inspect.minimal",
            Canonical,
            Inspect { id: 19, device: device("pump-07"), payload_bytes: None }.into(),
        ),
        ("stop_inspecting", Canonical, StopInspecting { id: 19 }.into()),
    ]);
}

fn group_request() -> GroupRequest {
    GroupRequest {
        args: object(json!({"speed": 42.5})),
        expires_in_ms: Some(60_000),
        delivery: Some(Delivery::AfterFinished),
        force: true,
        at_once: Some(2),
        stop_after: Some(5),
        ..GroupRequest::new(
            Targets {
                devices: vec!["pump-*".into()],
                models: vec!["PS-2".into()],
                tags: vec!["site:north".into()],
            },
            name("set_speed"),
        )
    }
}

fn group_info(id: &str, request: GroupRequest) -> GroupInfo {
    GroupInfo {
        id: group(id),
        request,
        issued_by: "local operator".into(),
        issued_at: Timestamp(1_767_225_600_000_000),
        address: None,
        retry_of: None,
        tally: Tally::default(),
        stopped: None,
        ended_at: None,
    }
}

fn tally(counts: &[(MemberState, u32)]) -> Tally {
    let mut tally = Tally::default();
    for (state, count) in counts {
        tally.add(*state, *count);
    }
    tally
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
        group: None,
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
                    tags: vec![],
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
                    late_or_lost: vec![],
                }],
                snapshot: true,
                more: true,
            }
            .into(),
        ),
        (
            "devices.late_or_lost",
            Canonical,
            Devices {
                devices: vec![DeviceInfo {
                    id: device("d"),
                    model: None,
                    firmware: None,
                    tags: vec![],
                    connected: true,
                    since: Some(start),
                    last_seen: None,
                    metrics: vec![],
                    commands: vec![],
                    late_or_lost: [(Unpunctual::Lost, -90, -60), (Unpunctual::Late, -60, -10)]
                        .map(|(what, from, to)| LateOrLost {
                            what,
                            from: start.plus_micros(from * 1_000_000),
                            to: start.plus_micros(to * 1_000_000),
                            told_at: start.plus_micros(2_000_000),
                            batches: 12,
                        })
                        .into(),
                }],
                snapshot: false,
                more: false,
            }
            .into(),
        ),
        (
            "devices.tags",
            Canonical,
            Devices {
                devices: vec![DeviceInfo {
                    id: device("d"),
                    model: None,
                    firmware: None,
                    tags: vec![tag("canary")],
                    connected: false,
                    since: None,
                    last_seen: None,
                    metrics: vec![],
                    commands: vec![],
                    late_or_lost: vec![],
                }],
                snapshot: false,
                more: false,
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
                    tags: vec![],
                    connected: false,
                    since: None,
                    last_seen: None,
                    metrics: vec![],
                    commands: vec![],
                    late_or_lost: vec![],
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
                traces: vec![],
            }
            .into(),
        ),
        (
            "readings.traces",
            Canonical,
            LiveReadings {
                id: 1,
                position: Position(81_240),
                snapshot: false,
                series: vec![SeriesReadings { series: SeriesId(3), points: vec![(start, 41.5.into())] }],
                omitted: None,
                traces: vec![Trace {
                    series: SeriesId(3),
                    measured: start,
                    received: start.plus_micros(400),
                    committed: start.plus_micros(2_300),
                    sent: start.plus_micros(9_100),
                }],
            }
            .into(),
        ),
        (
            "readings.minimal",
            Canonical,
            LiveReadings {
                id: 1,
                position: Position(0),
                snapshot: false,
                series: vec![],
                omitted: None,
                traces: vec![],
            }
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
            "command.group",
            Canonical,
            CommandEvent {
                id: None,
                command: CommandInfo { group: Some(group("g-1")), ..info("c", "d", CommandState::Queued) },
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
            "group",
            Canonical,
            GroupEvent {
                id: Some(12),
                group: Box::new(GroupInfo {
                    address: Some("10.0.0.7:51000".into()),
                    retry_of: Some(group("g-01JD3V")),
                    tally: tally(&[
                        (MemberState::Skipped, 2),
                        (MemberState::Issued(CommandState::Running), 1),
                        (MemberState::Issued(CommandState::Failed), 5),
                    ]),
                    stopped: Some(GroupStopped {
                        at: start,
                        by: "local operator".into(),
                        address: Some("10.0.0.7:51000".into()),
                    }),
                    ended_at: Some(start),
                    ..group_info("g-01JD3W", group_request())
                }),
            }
            .into(),
        ),
        (
            "group.minimal",
            Canonical,
            GroupEvent {
                id: None,
                group: Box::new(group_info(
                    "g",
                    GroupRequest::new(
                        Targets { tags: vec!["canary".into()], ..Targets::default() },
                        name("reset"),
                    ),
                )),
            }
            .into(),
        ),
        ("groups", Canonical, Groups { id: 15, groups: vec![] }.into()),
        (
            "members",
            Canonical,
            Members {
                id: 16,
                members: vec![
                    Member {
                        device: device("pump-07"),
                        state: MemberState::Issued(CommandState::Failed),
                        command: Some(command("c-01JD3W")),
                        error: Some("the pump is locked out".into()),
                        code: Some(name("locked_out")),
                    },
                    Member {
                        device: device("pump-08"),
                        state: MemberState::Waiting,
                        command: None,
                        error: None,
                        code: None,
                    },
                ],
                more: true,
            }
            .into(),
        ),
        (
            "ledger",
            Canonical,
            Ledger {
                id: 17,
                account: Account {
                    device: device("pump-07"),
                    adds_up: true,
                    readings: 1_200,
                    hot: 200,
                    sealed: 999,
                    conflicts: 1,
                    removed: 0,
                    damaged: 0,
                    streams: vec![StreamAccount {
                        epoch: "e-5f1c".parse().unwrap(),
                        sent: 121,
                        stored: 120,
                        refused: 0,
                        skipped: 1,
                        duplicate: 3,
                        readings: 1_200,
                        created_at: Timestamp(1_767_225_600_000_000),
                        changed_at: Timestamp(1_767_229_200_000_000),
                    }],
                },
            }
            .into(),
        ),
        (
            "connections",
            Canonical,
            Connections {
                id: 18,
                device: device("pump-07"),
                connections: vec![
                    ConnectionInfo {
                        session: "s12".into(),
                        address: "10.0.0.7:50412".into(),
                        opened_at: Timestamp(1_767_229_200_000_000),
                        end: None,
                    },
                    ConnectionInfo {
                        session: "s3".into(),
                        address: "10.0.0.7:50123".into(),
                        opened_at: Timestamp(1_767_225_600_000_000),
                        end: Some(ConnectionEnd {
                            at: Some(Timestamp(1_767_229_100_000_000)),
                            by: EndedBy::Hub,
                            code: Some(4_004),
                            reason: "no answer to pings".into(),
                        }),
                    },
                ],
            }
            .into(),
        ),
        (
            "connections.killed",
            Canonical,
            Connections {
                id: 18,
                device: device("pump-07"),
                connections: vec![ConnectionInfo {
                    session: "s3".into(),
                    address: "10.0.0.7:50123".into(),
                    opened_at: Timestamp(1_767_225_600_000_000),
                    end: Some(ConnectionEnd {
                        at: None,
                        by: EndedBy::Lost,
                        code: None,
                        reason: String::new(),
                    }),
                }],
            }
            .into(),
        ),
        ("wire", Canonical, wire().into()),
        (
            "wire.minimal",
            Canonical,
            Wire { id: 19, device: device("pump-07"), figures: None, records: vec![], left_out: 0 }.into(),
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

fn wire() -> Wire {
    let at = |micros: i64| Timestamp(1_767_225_600_000_000 + micros);
    let record = |micros, event| Record { session: "s12".into(), at: at(micros), event };
    let text = r#"{"type":"ack","seq":2}"#;
    let plain = Frame {
        n: 41,
        from: wire::Side::Hub,
        offset: 1_204,
        opcode: 1,
        fin: true,
        rsv: 0,
        mask: None,
        header_bytes: 2,
        payload_bytes: 22,
        came_bytes: None,
        text: Some(text.into()),
        hex: None,
        message: MessageHead::read(text),
        round_trip: None,
        close: None,
        problems: vec![],
    };
    let close = Close { code: 1_000, reason: "done".into() };
    Wire {
        id: 19,
        device: device("pump-07"),
        figures: Some(Figures {
            session: "s12".into(),
            opened_at: at(900),
            at: at(3_000_000),
            device: Traffic { bytes: 8_210, frames: 24, messages: 22, header_bytes: 188 },
            hub: Traffic { bytes: 1_226, frames: 17, messages: 15, header_bytes: 34 },
            round_trip: Some(412),
            clock_ahead: Some(-1_800),
        }),
        records: vec![
            record(
                900,
                Event::Opened(Box::new(Handshake {
                    address: "10.0.0.7:50412".into(),
                    tls: Some(Tls { version: "TLSv1_3".into(), cipher: "TLS13_AES_128_GCM_SHA256".into() }),
                    request: "GET /v1/device HTTP/1.1\r\nAuthorization: ***\r\n\r\n".into(),
                    response: "HTTP/1.1 101 Switching Protocols\r\n\r\n".into(),
                    key: "dGVsZW1ldHJ5LWh1Yi12MQ==".into(),
                    accept: "Y41aj2wCpB8qOn9JQCjxTIYNBM0=".into(),
                    subprotocol: "telemetry.v1.json".into(),
                    accepted_at: at(0),
                    tls_at: Some(at(300)),
                    requested_at: at(500),
                    upgraded_at: at(700),
                    hello_at: Some(at(900)),
                })),
            ),
            record(2_000_000, Event::Frame(Box::new(plain))),
            record(
                2_100_000,
                Event::Frame(Box::new(Frame {
                    n: 44,
                    from: wire::Side::Device,
                    offset: 8_194,
                    opcode: 8,
                    fin: false,
                    rsv: 4,
                    mask: Some("01020304".into()),
                    header_bytes: 6,
                    payload_bytes: 130,
                    came_bytes: Some(10),
                    text: None,
                    hex: Some("03e8646f6e65ff".into()),
                    message: None,
                    round_trip: Some(380),
                    close: Some(close.clone()),
                    problems: vec!["reserved bits".into()],
                })),
            ),
            record(
                2_200_000,
                Event::Ended(Ended { by: EndedBy::Device, in_order: true, close: Some(close) }),
            ),
        ],
        left_out: 2,
    }
}
