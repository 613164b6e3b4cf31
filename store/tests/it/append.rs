//! Batches: stored once, in order, whole or not at all.

use protocol::{Position, Seq, SeriesId, Timestamp, Value};
use store::{Batch, BatchContent, Outcome, Since, StoreError, StreamKey};

use crate::support::{Base, NOW, batch, hello, register, row, store, suffixed, times};

#[test]
fn i_1_what_append_returned_survives_a_kill() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    for seq in 1..=20 {
        store(&mut writer, device.stream, seq, vec![row(device.series[0], seq as i64, seq as f64)]);
        let copy = base.crash_copy();
        let reopened = copy.writer();
        assert_eq!(reopened.position(), Position(seq as i64));
        assert_eq!(times(&copy.reader(), device.series[0]).len(), seq as usize);
    }
}

#[test]
fn i_2_a_batch_that_comes_again_is_not_stored_again_also_after_a_restart() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let one = batch(device.stream, 1, vec![row(device.series[0], 5, 1.0)]);
    assert_eq!(writer.append(std::slice::from_ref(&one), NOW).unwrap().outcomes, [Outcome::Settled]);
    assert_eq!(writer.append(&[one.clone(), one.clone()], NOW).unwrap().outcomes, [Outcome::Duplicate; 2]);
    drop(writer);
    let mut writer = base.writer();
    assert_eq!(writer.append(&[one], NOW).unwrap().outcomes, [Outcome::Duplicate]);
    assert_eq!(writer.register(&hello("pump", "e1"), NOW).unwrap().settled, Seq(1));
    let reader = base.reader();
    assert_eq!(times(&reader, device.series[0]), [5]);
    let ledger = reader.ledger(&"pump".parse().unwrap()).unwrap();
    assert_eq!((ledger[0].stored, ledger[0].duplicate, ledger[0].readings), (1, 3, 1));
}

#[test]
fn a_batch_whose_predecessor_is_missing_is_not_stored() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let far = Seq(Seq::MAX.0 + 1);
    let rows = || vec![row(device.series[0], 5, 1.0)];
    let content = || BatchContent::Readings(rows());
    let appended = writer
        .append(
            &[
                batch(device.stream, 2, rows()),
                Batch { stream: device.stream, after: Seq(0), seq: Seq(2), content: content() },
                Batch { stream: device.stream, after: Seq(0), seq: far, content: BatchContent::Skipped },
                batch(device.stream, 1, rows()),
                batch(device.stream, 2, rows()),
            ],
            NOW,
        )
        .unwrap();
    use Outcome::{OutOfOrder, Settled};
    assert_eq!(appended.outcomes, [OutOfOrder, OutOfOrder, OutOfOrder, Settled, Settled]);
    assert_eq!((appended.first, appended.last), (Position(1), Position(2)));
}

#[test]
fn refused_and_skipped_batches_move_the_stream_and_are_counted() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let of = |after, seq, content| Batch { stream: device.stream, after: Seq(after), seq: Seq(seq), content };
    let appended = writer
        .append(
            &[
                of(0, 1, BatchContent::Refused),
                of(1, 4, BatchContent::Skipped),
                of(4, 5, BatchContent::Readings(vec![row(device.series[0], 5, 1.0)])),
            ],
            NOW,
        )
        .unwrap();
    assert_eq!(appended.outcomes, [Outcome::Settled; 3]);
    let ledger = base.reader().ledger(&"pump".parse().unwrap()).unwrap();
    assert_eq!(ledger[0].last_seq, Seq(5));
    assert_eq!((ledger[0].stored, ledger[0].refused, ledger[0].skipped), (1, 1, 3));
}

#[test]
fn many_streams_commit_together_with_consecutive_positions() {
    let base = Base::new();
    let mut writer = base.writer();
    let devices: Vec<_> = (0..50).map(|i| register(&mut writer, &format!("pump-{i}"))).collect();
    let batches: Vec<Batch> = (1..=4)
        .flat_map(|seq| devices.iter().map(move |device| (seq, device)))
        .map(|(seq, device)| {
            let rows = (0..3).map(|i| row(device.series[0], (seq * 3 + i) as i64, i as f64)).collect();
            batch(device.stream, seq, rows)
        })
        .collect();
    let appended = writer.append(&batches, NOW).unwrap();
    assert!(appended.outcomes.iter().all(|outcome| *outcome == Outcome::Settled));
    assert_eq!((appended.first, appended.last), (Position(1), Position(600)));
    let Since::Rows { rows, last } = base.reader().since(Position(0), usize::MAX).unwrap() else { panic!() };
    assert_eq!(last, Position(600));
    let flat = batches.iter().flat_map(|batch| match &batch.content {
        BatchContent::Readings(rows) => rows.clone(),
        BatchContent::Refused | BatchContent::Skipped => panic!(),
    });
    assert!(rows.iter().map(|(position, _)| position.0).eq(1..=600));
    assert!(rows.into_iter().map(|(_, row)| row).eq(flat));
    for device in &devices {
        assert_eq!(times(&base.reader(), device.series[0]).len(), 12);
    }
}

#[test]
fn what_may_not_be_stored_fails_the_whole_call_and_leaves_nothing() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let [number, truth, text] = device.series[..] else { panic!() };
    let end = Timestamp::END_READING.0;
    for bad in [
        row(number, 5, f64::NAN),
        row(number, 5, f64::INFINITY),
        row(number, -1, 1.0),
        row(number, end, 1.0),
        row(number, 5, true),
        row(truth, 5, 1.0),
        row(text, 5, 1.0),
        row(text, 5, "x".repeat(257).as_str()),
        row(SeriesId(99), 5, 1.0),
        row(SeriesId(-1), 5, 1.0),
        row(SeriesId(i64::MAX), 5, 1.0),
    ] {
        let good = batch(device.stream, 1, vec![row(number, 1, 1.0)]);
        let error = writer.append(&[good, batch(device.stream, 2, vec![bad.clone()])], NOW).unwrap_err();
        assert!(matches!(error, StoreError::Invalid(_) | StoreError::NotFound("series")), "{bad:?}: {error}");
        assert!(error.is_request() && !error.is_fatal() && !error.is_retryable());
    }
    let unknown = batch(StreamKey(99), 1, Vec::new());
    assert!(matches!(writer.append(&[unknown], NOW), Err(StoreError::NotFound("stream"))));
    assert_eq!(writer.position(), Position(0));
    assert_eq!(base.reader().stats().unwrap().readings, 0);
    store(
        &mut writer,
        device.stream,
        1,
        vec![row(number, 1, 1.0), row(truth, 1, true), row(text, 1, "open")],
    );
}

#[test]
fn values_come_back_as_they_were_given() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let [number, truth, text] = device.series[..] else { panic!() };
    let numbers =
        [1.0, -0.0, 0.0, f64::MIN_POSITIVE, f64::MAX, f64::MIN, 0.1, 9_007_199_254_740_993.0, 5e-324];
    let mut rows: Vec<_> = (1..).zip(numbers).map(|(at, n)| row(number, at, n)).collect();
    rows.extend([
        row(truth, 1, true),
        row(truth, 2, false),
        row(text, 1, ""),
        row(text, 2, "1.0"),
        row(text, 3, "é\0"),
    ]);
    store(&mut writer, device.stream, 1, rows);
    let reader = base.reader();
    let raw = |series| reader.raw(series, Timestamp(0), Timestamp(100), 100).unwrap().points;
    let back: Vec<u64> = raw(number).iter().map(|(_, value)| value.as_number().unwrap().to_bits()).collect();
    assert_eq!(back, numbers.map(f64::to_bits));
    assert_eq!(raw(truth), [(Timestamp(1), Value::Bool(true)), (Timestamp(2), Value::Bool(false))]);
    let texts: Vec<_> = raw(text).into_iter().map(|(_, value)| value).collect();
    assert_eq!(texts, ["", "1.0", "é\0"].map(Value::from));
}

#[test]
fn a_call_without_batches_changes_nothing() {
    let base = Base::new();
    let appended = base.writer().append(&[], NOW).unwrap();
    assert_eq!((appended.first, appended.last), (Position(1), Position(0)));
}

#[test]
fn the_log_is_copied_into_the_file_while_it_grows() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    for seq in 1..=30 {
        let rows = (0..50_000).map(|i| row(device.series[0], seq * 100_000 + i, 1.0)).collect();
        store(&mut writer, device.stream, seq as u64, rows);
    }
    let log = std::fs::metadata(crate::support::suffixed(&base.path(), "-wal")).unwrap().len();
    assert!(log < 30 << 20, "the log has {log} bytes");
    assert_eq!(base.reader().stats().unwrap().readings, 1_500_000);
    writer.checkpoint().unwrap();
    let log = std::fs::metadata(crate::support::suffixed(&base.path(), "-wal")).unwrap().len();
    assert_eq!(log, 0);
}

#[test]
fn checkpoints_beside_the_writer_copy_the_log_and_lose_nothing() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let checkpointer = writer.checkpoint_beside(&base.path()).unwrap();
    let copying = std::thread::spawn(move || checkpointer.run());
    let log = || std::fs::metadata(suffixed(&base.path(), "-wal")).unwrap().len();
    let mut stored = 0;
    let text = "x".repeat(250);
    // Ten times what makes a checkpoint due.
    for seq in 1..=80 {
        let times = (0..8_000).map(|i| (seq * 8_000 + i) as i64);
        let rows: Vec<_> = times.map(|at| row(device.series[2], at, text.as_str())).collect();
        stored += rows.len();
        store(&mut writer, device.stream, seq, rows);
    }
    let written = (stored * text.len()) as u64;
    assert!(log() < written / 2, "{} bytes of {written} are still in the log", log());
    assert!(std::fs::metadata(base.path()).unwrap().len() > written / 2, "the file has the rest");
    let killed = base.crash_copy();
    assert_eq!(killed.reader_after_recovery().stats().unwrap().readings, stored as u64);

    writer.checkpoint_alone();
    copying.join().unwrap();
    writer.checkpoint().unwrap();
    assert_eq!(log(), 0);
}
