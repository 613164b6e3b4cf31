//! The wire in random orders: whatever comes, the bounds hold and links lead where they should.

use proptest::prelude::*;
use protocol::frame;
use protocol::wire::{MessageHead, Tls};

use super::*;

const NOW: Timestamp = Timestamp(1_749_988_800_000_000);

fn said(n: u64, from: Side, text: &str) -> Frame {
    Frame {
        n,
        from,
        offset: n * 100,
        opcode: frame::TEXT,
        fin: true,
        rsv: 0,
        mask: (from == Side::Device).then(|| "01020304".into()),
        header_bytes: if from == Side::Device { 6 } else { 2 },
        payload_bytes: text.len() as u64,
        came_bytes: None,
        text: Some(text.into()),
        hex: None,
        message: MessageHead::read(text),
        round_trip: None,
        close: None,
        problems: Vec::new(),
    }
}

fn record(session: &str, millis: i64, event: Event) -> Record {
    Record { session: session.into(), at: NOW.plus_micros(millis * 1_000), event }
}

fn batch(n: u64, seq: u64) -> Event {
    Event::Frame(Box::new(said(
        n,
        Side::Device,
        &format!(r#"{{"type":"readings","seq":{seq},"points":[]}}"#),
    )))
}

fn ack(n: u64, seq: u64) -> Event {
    Event::Frame(Box::new(said(n, Side::Hub, &format!(r#"{{"type":"ack","seq":{seq}}}"#))))
}

fn opened(key: &str) -> Event {
    Event::Opened(Box::new(Handshake {
        address: "10.0.0.7:50412".into(),
        tls: Some(Tls { version: "TLSv1_3".into(), cipher: "TLS13_AES_128_GCM_SHA256".into() }),
        request: "GET /v1/device HTTP/1.1\r\n\r\n".into(),
        response: "HTTP/1.1 101 Switching Protocols\r\n\r\n".into(),
        key: key.into(),
        accept: "a".into(),
        subprotocol: "telemetry.v1.json".into(),
        accepted_at: NOW,
        tls_at: None,
        requested_at: NOW,
        upgraded_at: NOW,
        hello_at: None,
    }))
}

fn wire(records: Vec<Record>, left_out: u64) -> Wire {
    Wire { id: 1, device: DeviceId::new("pump-07").unwrap(), figures: None, records, left_out }
}

fn inspector() -> Inspector {
    Inspector::new(DeviceId::new("pump-07").unwrap())
}

/// What must hold after anything.
fn check(wire: &Inspector) {
    assert!(
        wire.rows.len() <= RECORDS_MAX && wire.bytes <= BYTES_MAX,
        "{} rows, {} bytes",
        wire.rows.len(),
        wire.bytes
    );
    assert_eq!(wire.bytes, wire.rows.iter().map(|row| row.bytes).sum::<usize>());
    assert!(wire.rows.iter().zip(wire.rows.iter().skip(1)).all(|(a, b)| a.key + 1 == b.key));
    assert!(wire.shown.iter().zip(wire.shown.iter().skip(1)).all(|(a, b)| a < b));
    assert!(wire.shown.iter().all(|key| wire.row(*key).is_some()));
    let index: usize = wire.watched.iter().map(|watched| watched.rows.len()).sum();
    assert!(index <= wire.rows.len() && wire.watched.len() <= CONNECTIONS_MAX);
    for row in &wire.rows {
        if let Some(other) = row.answered_by.and_then(|n| wire.row_beside(row, n)) {
            assert!(other.answers.contains(&row.frame().unwrap().n));
        }
    }
}

#[test]
fn a_batch_leads_to_its_ack_and_an_ack_to_all_that_it_answers() {
    let mut wire_of = inspector();
    let records = vec![
        record("s1", 0, opened("k")),
        record("s1", 1, batch(1, 1)),
        record("s1", 2, batch(2, 2)),
        record("s1", 4, ack(3, 2)),
    ];
    wire_of.on_wire(wire(records, 0), NOW);
    let first = wire_of.row(1).unwrap();
    assert_eq!(first.answered_by, Some(3));
    let ack = wire_of.row_beside(first, 3).unwrap();
    assert_eq!((ack.answers.as_slice(), ack.at.micros_since(first.at)), (&[1, 2][..], 3_000));
    check(&wire_of);
}

#[test]
fn a_hub_that_was_started_anew_counts_its_connections_anew_and_they_are_not_mixed_up() {
    let mut wire_of = inspector();
    wire_of.on_wire(wire(vec![record("s1", 0, opened("k")), record("s1", 1, batch(7, 1))], 0), NOW);
    // The same connection told again is no news; what was told before neither.
    wire_of.was_lost = true;
    wire_of.on_wire(wire(vec![record("s1", 0, opened("k")), record("s1", 1, batch(7, 1))], 0), NOW);
    assert_eq!(
        wire_of.rows.iter().map(|row| row.record().is_some()).collect::<Vec<_>>(),
        [true, true, false]
    );
    // Another one of the same name is.
    wire_of.on_wire(
        wire(
            vec![
                record("s1", 9, opened("other")),
                record("s1", 10, batch(1, 1)),
                record("s1", 11, ack(2, 1)),
            ],
            0,
        ),
        NOW,
    );
    assert_eq!(wire_of.watched.len(), 2);
    assert_eq!(wire_of.row(1).unwrap().answered_by, None);
    assert_eq!(wire_of.row(4).unwrap().answered_by, Some(2));
    check(&wire_of);
}

#[test]
fn a_paused_table_keeps_what_comes_as_far_as_there_is_room_and_counts_the_rest() {
    let mut wire_of = inspector();
    wire_of.on_wire(wire((1..=10).map(|n| record("s1", 0, batch(n, n))).collect(), 0), NOW);
    wire_of.set_paused(true, NOW);
    let before = wire_of.shown.clone();
    let more = RECORDS_MAX as u64 + 100;
    for part in (11..=more).collect::<Vec<_>>().chunks(1_000) {
        wire_of.on_wire(wire(part.iter().map(|n| record("s1", 0, batch(*n, *n))).collect(), 0), NOW);
        assert_eq!(wire_of.shown, before);
    }
    let pause = wire_of.pause.unwrap();
    assert_eq!(pause.came, more - 10);
    assert_eq!(pause.came, wire_of.rows.len() as u64 - 10 + pause.missed);
    check(&wire_of);
    // Other filters show other rows, but none that came later.
    wire_of.edit(WireEdit::Filter(Box::new(Filter { text: "#11".into(), ..Filter::default() })), NOW);
    assert_eq!(wire_of.shown.len(), 0);
    wire_of.set_paused(false, NOW);
    wire_of.edit(WireEdit::Filter(Box::default()), NOW);
    let last = wire_of.rows.back().unwrap();
    assert_eq!(last.what, What::LeftOut { frames: pause.missed, paused: true });
    assert_eq!(wire_of.shown.len(), wire_of.rows.len());
    check(&wire_of);
}

#[test]
fn the_oldest_go_by_number_and_by_bytes_and_a_capture_still_begins_with_its_handshake() {
    let mut wire_of = inspector();
    wire_of.on_wire(wire(vec![record("s1", 0, opened("k"))], 0), NOW);
    let long = "x".repeat(64 * 1024);
    for n in 1..=1_000 {
        wire_of
            .on_wire(wire(vec![record("s1", 0, Event::Frame(Box::new(said(n, Side::Hub, &long))))], 0), NOW);
    }
    check(&wire_of);
    assert!(wire_of.rows.len() < 300 && wire_of.dropped > 700);
    let rows = wire_of.rows_to_write();
    assert!(matches!(rows[0].record().unwrap().event, Event::Opened(_)));
    assert!(export::capture(&rows).len() > 15 * 1024 * 1024);
    assert!(export::json_lines(&rows).lines().all(|line| serde_json::from_str::<Record>(line).is_ok()));
}

#[test]
fn rates_are_of_the_last_ten_seconds_of_one_connection() {
    let mut wire_of = inspector();
    let figures = |session: &str, seconds: i64, messages: u64| {
        let traffic = protocol::wire::Traffic {
            bytes: messages * 100,
            frames: messages,
            messages,
            header_bytes: messages * 6,
        };
        let figures = Figures {
            session: session.into(),
            opened_at: NOW,
            at: NOW.plus_micros(seconds * 1_000_000),
            device: traffic,
            hub: protocol::wire::Traffic::default(),
            round_trip: None,
            clock_ahead: None,
        };
        Wire { figures: Some(figures), ..wire(Vec::new(), 0) }
    };
    for second in 0..60 {
        wire_of.on_wire(figures("s1", second, if second < 40 { 0 } else { (second as u64 - 40) * 5 }), NOW);
    }
    assert_eq!(wire_of.rates(), Some([(5.0, 500.0), (0.0, 0.0)]));
    assert!(wire_of.earlier.len() <= 12);
    wire_of.on_wire(figures("s2", 61, 3), NOW);
    assert_eq!(wire_of.rates(), None);
}

/// Anything that a hub, and a person, may do.
#[derive(Debug, Clone)]
enum Step {
    Told(Vec<Record>, u64),
    Edit(WireEdit),
    Lost,
}

fn event() -> impl Strategy<Value = Event> {
    let n = 0_u64..200;
    prop_oneof![
        1 => prop_oneof![Just("k"), Just("l")].prop_map(opened),
        6 => (n.clone(), 0_u64..50).prop_map(|(n, seq)| batch(n, seq)),
        4 => (n.clone(), 0_u64..50).prop_map(|(n, seq)| ack(n, seq)),
        1 => (n, 0_u8..16, any::<u8>(), any::<Option<u64>>()).prop_map(|(n, opcode, bits, round_trip)| {
            let mut frame = said(n, if bits & 1 == 0 { Side::Hub } else { Side::Device }, "");
            frame.opcode = opcode;
            frame.rsv = bits >> 1 & 7;
            frame.text = None;
            frame.hex = Some("03e8zz".into());
            frame.round_trip = round_trip;
            if bits & 0x80 != 0 {
                frame.problems.push("reserved bits".into());
            }
            Event::Frame(Box::new(frame))
        }),
        1 => Just(Event::Ended(Ended { by: protocol::viewer::EndedBy::Lost, in_order: false, close: None })),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let record = (0_u8..4, -50_i64..50, event())
        .prop_map(|(session, millis, event)| record(&format!("s{session}"), millis, event));
    let filter = (prop_oneof![Just(""), Just("ack"), Just("#7"), Just("RESERVED")], 0_u8..4, any::<bool>())
        .prop_map(|(text, kind, problems)| Filter {
            text: text.into(),
            from: (kind == 1).then_some(Side::Hub),
            class: (kind == 2).then_some(Class::Readings),
            problems,
        });
    let edit = prop_oneof![
        filter.prop_map(|filter| WireEdit::Filter(Box::new(filter))),
        any::<bool>().prop_map(WireEdit::Pause),
        (0_u64..400).prop_map(|key| WireEdit::Select(Some(key))),
        (-9_i64..9).prop_map(WireEdit::Step),
        Just(WireEdit::Answer),
        Just(WireEdit::Clear),
    ];
    prop_oneof![
        6 => (prop::collection::vec(record, 0..12), 0_u64..3).prop_map(|(records, left_out)| Step::Told(records, left_out)),
        3 => edit.prop_map(Step::Edit),
        1 => Just(Step::Lost),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_comes_in_whatever_order_the_bounds_hold_and_links_lead_back(steps in prop::collection::vec(step(), 0..60)) {
        let mut wire_of = inspector();
        for step in steps {
            match step {
                Step::Told(records, left_out) => wire_of.on_wire(wire(records, left_out), NOW),
                Step::Edit(edit) => wire_of.edit(edit, NOW),
                Step::Lost => wire_of.was_lost = true,
            }
            check(&wire_of);
            // What is shown is what the filter says of all rows, unless it stands still.
            if wire_of.pause.is_none() {
                let shown = wire_of.shown.clone();
                wire_of.find_shown();
                prop_assert_eq!(shown, wire_of.shown.clone());
            }
        }
    }
}
