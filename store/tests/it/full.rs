//! No room: nothing is acknowledged, everything stays readable, and it goes on by itself.

use protocol::{Position, Seq};
use store::{Outcome, StoreError};

use crate::support::{Base, NOW, batch, hello, register, row, store, times};

#[test]
fn a_full_disk_refuses_keeps_what_it_has_and_recovers() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let series = device.series[0];
    let rows =
        |seq: u64| (0..1_000).map(|i| row(series, (seq * 1_000 + i) as i64, i as f64)).collect::<Vec<_>>();
    store(&mut writer, device.stream, 1, rows(1));
    writer.limit_bytes(Some(300_000)).unwrap();
    let mut seq = 2;
    let error = loop {
        match writer.append(&[batch(device.stream, seq, rows(seq))], NOW) {
            Ok(appended) => assert_eq!(appended.outcomes, [Outcome::Settled]),
            Err(error) => break error,
        }
        seq += 1;
    };
    assert!(matches!(error, StoreError::Full), "{error}");
    assert!(error.is_retryable() && !error.is_fatal());
    assert!(seq > 3, "some batches fitted");

    // Nothing of the refused batch is there, and everything before it is.
    let stored = (seq - 1) as usize * 1_000;
    assert_eq!(writer.position(), Position(stored as i64));
    assert_eq!(times(&base.reader(), series).len(), stored);
    assert_eq!(base.crash_copy().writer().position(), Position(stored as i64));
    assert!(matches!(writer.append(&[batch(device.stream, seq, rows(seq))], NOW), Err(StoreError::Full)));
    assert_eq!(writer.register(&hello("pump", "e1"), NOW).unwrap().settled, Seq(seq - 1));

    writer.limit_bytes(None).unwrap();
    store(&mut writer, device.stream, seq, rows(seq));
    let all = times(&base.reader(), series);
    assert!(all.iter().copied().eq(1_000..(seq as i64 + 1) * 1_000));
}
