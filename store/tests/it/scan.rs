//! Scans: everything of a series, part by part, while the file changes underneath.

use protocol::{SeriesId, Timestamp, Value};
use store::{Reader, Scan, SealPolicy, StoreError, Writer};

use crate::support::{Base, Chance, NOW, register, row, store};

const SECOND: i64 = 1_000_000;
const END: Timestamp = Timestamp::END_READING;

type Point = (Timestamp, Value);

fn raw(reader: &Reader, series: SeriesId, from: Timestamp, to: Timestamp) -> Vec<Point> {
    reader.raw(series, from, to, usize::MAX).unwrap().points
}

/// Scans to the end, doing something between any two parts.
fn scan(reader: &Reader, mut scan: Scan, mut between: impl FnMut()) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    while let Some(part) = scan.next(reader).unwrap() {
        assert!(!part.is_empty());
        points.extend(part);
        between();
    }
    assert!(points.is_sorted_by(|a, b| a.0 < b.0), "in the order of time, each once");
    points
}

/// Eight days at about one reading in half a minute, a quarter of it late, doubled or both, sealed in many small runs.
fn fill(writer: &mut Writer, chance: &mut Chance) -> [SeriesId; 3] {
    let device = register(writer, "pump");
    let [a, b, c] = [device.series[0], device.series[1], device.series[2]];
    let mut at = NOW.0;
    for seq in 1..=60 {
        let mut rows = Vec::new();
        for n in 0..400 {
            at += 28 * SECOND + chance.below(4_000_000) as i64;
            let late = if chance.one_in(4) { chance.below(200_000_000_000) as i64 } else { 0 };
            let time = (at - late).max(NOW.0) / 1_000 * 1_000;
            rows.push(row(a, time, f64::from(n)));
            rows.push(row(b, time, n % 2 == 0));
            rows.push(row(c, time, ["open", "shut"][n as usize % 2]));
        }
        store(writer, device.stream, seq, rows);
        if seq % 3 == 0 {
            slices(writer, chance, 90);
        }
    }
    [a, b, c]
}

/// A few slices of sealing and merging.
fn slices(writer: &mut Writer, chance: &mut Chance, count: u64) {
    let keep = [0, 500, 2_000][chance.below(3) as usize];
    writer.set_seal_policy(SealPolicy { keep, run_min: 1, run_max: 700, pieces: 3, quiet: 1_000 });
    for _ in 0..count {
        if chance.one_in(2) {
            writer.seal(300).unwrap();
        } else {
            writer.merge(300).unwrap();
        }
    }
}

#[test]
fn a_scan_gives_what_a_query_gives_while_blocks_are_sealed_and_merged_underneath() {
    for seed in 0..2 {
        let base = Base::new();
        let mut writer = base.writer();
        let mut chance = Chance(seed);
        let series = fill(&mut writer, &mut chance);
        let reader = base.reader();
        for (series, part) in
            series.into_iter().flat_map(|series| [(series, 1), (series, 700), (series, 50_000)])
        {
            let (from, to) = match chance.below(3) {
                0 => (Timestamp(0), END),
                1 => (Timestamp(i64::MIN), Timestamp(i64::MAX)),
                _ => (NOW.plus_micros(36_000 * SECOND + 7), NOW.plus_micros(600_000 * SECOND)),
            };
            let expected = raw(&reader, series, from, to);
            assert!(expected.len() > 5_000, "seed {seed}: {}", expected.len());
            let found = scan(&reader, Scan::new(series, from, to).with_part(part), || {
                slices(&mut writer, &mut chance, 2);
            });
            assert!(found == expected, "seed {seed}, {series:?} in parts of {part}");
        }
    }
}

#[test]
fn i_2_what_comes_in_during_a_scan_takes_nothing_away_from_it() {
    for seed in 0..2 {
        let base = Base::new();
        let mut writer = base.writer();
        let mut chance = Chance(seed);
        let [series, ..] = fill(&mut writer, &mut chance);
        let device = register(&mut writer, "pump");
        let reader = base.reader();
        let before = raw(&reader, series, Timestamp(0), END);
        let mut seq = device.settled.0;
        let found = scan(&reader, Scan::new(series, Timestamp(0), END).with_part(500), || {
            seq += 1;
            let at = |chance: &mut Chance| NOW.0 + chance.below(900_000_000_000) as i64;
            let rows = (0..20).map(|_| row(series, at(&mut chance), -1.0)).collect();
            store(&mut writer, device.stream, seq, rows);
            slices(&mut writer, &mut chance, 3);
        });
        let after = raw(&reader, series, Timestamp(0), END);
        let is_in = |points: &[Point], point: &Point| {
            points.binary_search_by_key(&point.0, |(at, _)| *at).is_ok_and(|place| points[place].1 == point.1)
        };
        assert!(
            before.iter().all(|point| is_in(&found, point)),
            "seed {seed}: acknowledged before, and missing"
        );
        assert!(found.iter().all(|point| is_in(&after, point)), "seed {seed}: never stored");
        assert!(found.len() > before.len(), "seed {seed}: what comes in ahead of the scan is seen");
    }
}

#[test]
fn parts_are_small_and_a_scan_holds_no_state_of_the_file_between_them() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let series = device.series[0];
    writer.set_seal_policy(SealPolicy { keep: 0, run_min: 1, ..SealPolicy::default() });
    for seq in 1..=30 {
        let rows = (0..4_000).map(|n| row(series, NOW.0 + (seq * 4_000 + n) * SECOND, 0.5)).collect();
        store(&mut writer, device.stream, seq as u64, rows);
    }
    while writer.seal(1_000_000).unwrap().more {}
    let reader = base.reader();
    let mut scan = Scan::new(series, Timestamp(0), END).with_part(5_000);
    let mut parts = 0;
    while let Some(part) = scan.next(&reader).unwrap() {
        assert!(part.len() <= 15_000, "{} readings in one part", part.len());
        parts += 1;
        // While somebody reads an earlier state, the log cannot be emptied.
        writer.checkpoint().unwrap();
        let log = std::fs::metadata(crate::support::suffixed(&base.path(), "-wal")).unwrap().len();
        assert_eq!(log, 0);
        writer.touch(&[(device.device, NOW.plus_micros(parts))]).unwrap();
    }
    assert!(parts > 8, "{parts} parts");
}

#[test]
fn a_scan_of_nothing_ends_and_one_of_an_unknown_series_says_so() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let reader = base.reader();
    let next = |series, from, to| Scan::new(series, Timestamp(from), Timestamp(to)).next(&reader);
    assert_eq!(next(device.series[0], 0, i64::MAX).unwrap(), None);
    assert_eq!(next(SeriesId(99), 9, 9).unwrap(), None);
    assert!(matches!(next(SeriesId(99), 0, 9), Err(StoreError::NotFound("series"))));
}
