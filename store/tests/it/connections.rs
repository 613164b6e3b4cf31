//! When devices were connected: newest first, a bounded number of each, and honest about what nobody knows.

use protocol::limits::CONNECTIONS_KEPT;
use protocol::viewer::EndedBy;
use protocol::{DeviceId, Timestamp};
use store::{ConnectionEvent, ConnectionNote, DeviceKey};

use crate::support::{Base, NOW};

fn opened(device: DeviceKey, n: usize) -> ConnectionNote {
    let event = ConnectionEvent::Opened { address: format!("10.0.0.7:{n}") };
    ConnectionNote { device, session: format!("s{n}"), at: at(n), event }
}

fn ended(device: DeviceKey, n: usize) -> ConnectionNote {
    let event = ConnectionEvent::Ended {
        by: EndedBy::Hub,
        code: Some(4_004),
        reason: "no answer to pings".into(),
        last_seen: Some(at(n)),
    };
    ConnectionNote { device, session: format!("s{n}"), at: at(n).plus_micros(500), event }
}

fn at(n: usize) -> Timestamp {
    NOW.plus_micros(n as i64 * 1_000)
}

#[test]
fn the_last_connections_of_each_device_are_kept_with_their_ends() {
    let base = Base::new();
    let mut writer = base.writer();
    let [pump, press]: [DeviceId; 2] = ["pump", "press"].map(|id| id.parse().unwrap());
    let keys = [&pump, &press].map(|id| writer.create_device(id, NOW).unwrap());
    let many = CONNECTIONS_KEPT + 20;
    let notes: Vec<_> = (0..many).flat_map(|n| [opened(keys[0], n), ended(keys[0], n)]).collect();
    let mut forgotten = 0;
    for part in notes.chunks(7) {
        forgotten += writer.note_connections(part, CONNECTIONS_KEPT).unwrap();
    }
    let last = [opened(keys[0], many), opened(keys[1], 1), opened(DeviceKey(99), 1)];
    forgotten += writer.note_connections(&last, CONNECTIONS_KEPT).unwrap();
    assert_eq!(forgotten, many + 1 - CONNECTIONS_KEPT);

    let reader = base.reader();
    let found = reader.connections(&pump).unwrap().unwrap();
    assert_eq!(found.len(), CONNECTIONS_KEPT);
    for (back, connection) in found.iter().enumerate() {
        let n = many - back;
        assert_eq!((&connection.session, connection.opened_at), (&format!("s{n}"), at(n)));
        assert_eq!(connection.end.is_none(), back == 0);
        if let Some(end) = &connection.end {
            assert_eq!((end.at, end.by, end.code), (Some(at(n).plus_micros(500)), EndedBy::Hub, Some(4_004)));
            assert_eq!(end.reason, "no answer to pings");
        }
    }
    assert_eq!(reader.connections(&press).unwrap().unwrap().len(), 1);
    assert_eq!(reader.connections(&"drill".parse().unwrap()).unwrap(), None);
    let seen = reader.device(&pump).unwrap().unwrap().info.last_seen;
    assert_eq!(seen, Some(at(many - 1)));
}

#[test]
fn a_connection_that_was_open_when_the_hub_was_killed_ended_at_a_time_that_nobody_knows() {
    let base = Base::new();
    let mut writer = base.writer();
    let pump: DeviceId = "pump".parse().unwrap();
    let key = writer.create_device(&pump, NOW).unwrap();
    writer.note_connections(&[opened(key, 1), ended(key, 1), opened(key, 2)], CONNECTIONS_KEPT).unwrap();
    let killed = base.crash_copy();
    let mut writer = killed.writer();
    // The next run counts its sessions anew.
    writer.note_connections(&[opened(key, 2)], CONNECTIONS_KEPT).unwrap();
    let found = killed.reader().connections(&pump).unwrap().unwrap();
    assert_eq!(found.len(), 3);
    assert_eq!(found[0].end, None);
    let end = found[1].end.as_ref().unwrap();
    assert_eq!((end.at, end.by, end.code), (None, EndedBy::Lost, None));
    assert_eq!(found[2].end.as_ref().unwrap().at, Some(at(1).plus_micros(500)));
}
