//! Queries at their edges; that they are right in the middle is the business of `model`.

use protocol::{Position, SeriesId, Step, Timestamp};
use store::{Since, StoreError};

use crate::support::{Base, NOW, register, row, store};

const SECOND: i64 = 1_000_000;

#[test]
fn of_two_readings_at_one_microsecond_the_first_stored_counts() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let series = device.series[0];
    store(&mut writer, device.stream, 1, vec![row(series, 5, 1.0), row(series, 5, 2.0), row(series, 9, 3.0)]);
    store(&mut writer, device.stream, 2, vec![row(series, 9, 4.0), row(series, 5, 5.0)]);
    let reader = base.reader();
    let raw = reader.raw(series, Timestamp(0), Timestamp(10), 10).unwrap();
    assert_eq!(raw.points, [(Timestamp(5), 1.0.into()), (Timestamp(9), 3.0.into())]);
    assert_eq!(raw.position, Position(5));
    let buckets = reader.buckets(series, Step::S1, Timestamp(0), Timestamp(10), 10).unwrap().buckets;
    assert_eq!((buckets[0].count, buckets[0].sum), (2, 4.0));
    assert_eq!(reader.latest().unwrap().readings, [row(series, 9, 3.0)]);
}

#[test]
fn ranges_include_their_start_and_exclude_their_end() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let series = device.series[0];
    store(&mut writer, device.stream, 1, (0..10).map(|i| row(series, i, i as f64)).collect());
    let reader = base.reader();
    let times = |from, to, limit| {
        let raw = reader.raw(series, Timestamp(from), Timestamp(to), limit).unwrap();
        (raw.points.iter().map(|(at, _)| at.0).collect::<Vec<_>>(), raw.complete)
    };
    assert_eq!(times(3, 6, 10), (vec![3, 4, 5], true));
    assert_eq!(times(3, 6, 3), (vec![3, 4, 5], true));
    assert_eq!(times(3, 6, 2), (vec![3, 4], false));
    assert_eq!(times(3, 6, 0), (vec![], false));
    assert_eq!(times(6, 3, 10), (vec![], true));
    assert_eq!(times(i64::MIN, i64::MAX, 100).0.len(), 10);
}

#[test]
fn the_first_and_the_last_bucket_come_whole() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let series = device.series[0];
    let rows = (0..40).map(|i| row(series, i * SECOND / 4, i as f64)).collect();
    store(&mut writer, device.stream, 1, rows);
    let reader = base.reader();
    let ask = |from, to, limit| {
        let history = reader.buckets(series, Step::S1, Timestamp(from), Timestamp(to), limit).unwrap();
        let shape: Vec<_> = history.buckets.iter().map(|bucket| (bucket.at.0, bucket.count)).collect();
        (shape, history.complete)
    };
    let (one, two) = ((SECOND, 4), (2 * SECOND, 4));
    assert_eq!(ask(SECOND + 700_000, 2 * SECOND + 1, 10), (vec![one, two], true));
    assert_eq!(ask(SECOND, 2 * SECOND, 10), (vec![one], true));
    assert_eq!(ask(SECOND, 3 * SECOND, 1), (vec![one], false));
    assert_eq!(ask(SECOND, SECOND, 1), (vec![], true));
    assert_eq!(ask(i64::MIN, i64::MAX, 100).0.len(), 10);
}

#[test]
fn a_series_of_texts_has_no_buckets_and_an_unknown_one_has_nothing() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let reader = base.reader();
    let buckets = |series| reader.buckets(series, Step::M1, Timestamp(0), NOW, 10);
    assert!(matches!(buckets(device.series[2]), Err(StoreError::Invalid(_))));
    assert!(matches!(buckets(SeriesId(99)), Err(StoreError::NotFound("series"))));
    assert!(matches!(reader.raw(SeriesId(99), Timestamp(0), NOW, 10), Err(StoreError::NotFound("series"))));
    assert_eq!(buckets(device.series[0]).unwrap().buckets, []);
}

#[test]
fn since_goes_on_where_it_was_and_a_position_of_nowhere_is_gone() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let series = device.series[0];
    store(&mut writer, device.stream, 1, (0..10).map(|i| row(series, i, i as f64)).collect());
    let reader = base.reader();
    let Since::Rows { rows, last } = reader.since(Position(3), 4).unwrap() else { panic!() };
    assert_eq!(rows.iter().map(|(position, _)| position.0).collect::<Vec<_>>(), [4, 5, 6, 7]);
    assert_eq!(last, Position(7));
    assert_eq!(reader.since(Position(10), 4).unwrap(), Since::Rows { rows: vec![], last: Position(10) });
    assert_eq!(reader.since(Position(11), 4).unwrap(), Since::Gone);
    assert_eq!(reader.since(Position(-1), 4).unwrap(), Since::Gone);
    assert_eq!(reader.position().unwrap(), Position(10));
}

#[test]
fn the_database_is_counted() {
    let base = Base::new();
    let mut writer = base.writer();
    assert_eq!(base.reader().stats().unwrap().oldest, None);
    let device = register(&mut writer, "pump");
    store(&mut writer, device.stream, 1, (1..=10).map(|i| row(device.series[0], i, 1.0)).collect());
    let stats = base.reader().stats().unwrap();
    assert_eq!((stats.devices, stats.series, stats.readings, stats.hot), (1, 3, 10, 10));
    assert_eq!((stats.oldest, stats.newest), (Some(Timestamp(1)), Some(Timestamp(10))));
    assert!(stats.file_bytes > 0);
}
