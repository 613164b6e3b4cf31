//! No room: nothing is acknowledged, everything stays readable, and it goes on by itself.

use protocol::{Position, Seq};
use store::{Outcome, SealPolicy, StoreError};

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

#[test]
fn a_disk_that_fills_up_while_sealing_costs_nothing_and_sealing_goes_on_later() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let series = device.series[0];
    for seq in 1..=20 {
        let rows = (0..1_000).map(|i| {
            let at = (seq * 1_000 + i) as i64;
            row(series, at * 999_983, (at * 7_919 % 100_003) as f64)
        });
        store(&mut writer, device.stream, seq, rows.collect());
    }
    writer.checkpoint().unwrap();
    let before = times(&base.reader(), series);
    writer.set_seal_policy(SealPolicy { keep: 10, run_min: 1, ..SealPolicy::default() });
    writer.limit_bytes(Some(0)).unwrap();
    let error = (0..100).find_map(|_| writer.seal(1_000).err()).unwrap();
    assert!(matches!(error, StoreError::Full), "{error}");
    assert_eq!(times(&base.reader(), series), before);
    assert_eq!(times(&base.crash_copy().reader_after_recovery(), series), before);

    writer.limit_bytes(None).unwrap();
    while writer.seal(1_000).unwrap().more {}
    assert_eq!(writer.sealed_through().unwrap(), Position(19_990));
    assert_eq!(times(&base.reader(), series), before);
    assert_eq!(base.reader().stats().unwrap().hot, 10);
}
