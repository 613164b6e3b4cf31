//! What goes and what stays: by age, by size, and never because a clock jumped.

use std::time::Duration;

use protocol::{Bucket, SeriesId, Step, Timestamp};
use store::{KeptBuckets, Reader, Retained, RetentionPolicy, RetentionRule, SealPolicy, Stats, Writer};

use crate::support::{Base, Chance, NOW, register, row, store, times};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;
const EVER: Timestamp = Timestamp::END_READING;

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

fn rule(metric: &str, keep: Duration, buckets: Option<KeptBuckets>) -> RetentionRule {
    RetentionRule { device: "*".into(), metric: metric.into(), keep: Some(keep), buckets }
}

fn policy(rules: Vec<RetentionRule>) -> RetentionPolicy {
    RetentionPolicy { max_bytes: None, rules }
}

fn seal_all(writer: &mut Writer) {
    // With many readings in large runs, and what is too little for one in small ones.
    for (run_max, enough) in [(100_000, 1_000), (50, 50), (1, 0)] {
        writer.set_seal_policy(SealPolicy { keep: 0, run_min: 1, run_max, pieces: 3, quiet: 2_000 });
        for _ in 0..10_000 {
            let sealed = writer.seal(10_000).unwrap();
            if !sealed.more && sealed.hot <= enough {
                break;
            }
        }
    }
    while writer.merge(10_000).unwrap().more {}
}

/// Seals everything, too little at a time for blocks, and merges nothing.
fn bundle_all(writer: &mut Writer) {
    let mut run_max = 200;
    loop {
        writer.set_seal_policy(SealPolicy { keep: 0, run_min: 1, run_max, pieces: 100, quiet: 1 << 40 });
        let sealed = writer.seal(10_000).unwrap();
        if !sealed.more && sealed.hot == 0 {
            break;
        }
        run_max = sealed.hot.clamp(1, 200);
    }
}

fn bundles(base: &Base, of: &str) -> i64 {
    let connection = rusqlite::Connection::open(base.path()).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM bundle WHERE {of}"), [], |row| row.get(0)).unwrap()
}

/// Lets time pass for the hub, in steps, and retention do what it has to.
fn pass(writer: &mut Writer, now: &mut Timestamp, time: Duration) -> Retained {
    let mut all = Retained::default();
    for _ in 0..24 {
        *now = now.plus_micros(time.as_micros() as i64 / 24);
        all = merged(all, settle(writer, *now, time / 24));
    }
    all
}

/// Calls retention until it has nothing to do.
fn settle(writer: &mut Writer, now: Timestamp, elapsed: Duration) -> Retained {
    let mut all = Retained::default();
    let mut elapsed = elapsed;
    for _ in 0..100_000 {
        let slice = writer.retain(now, std::mem::take(&mut elapsed), 1_000).unwrap();
        all = merged(all, slice);
        if !slice.more {
            return all;
        }
    }
    panic!("retention does not end")
}

fn merged(one: Retained, two: Retained) -> Retained {
    Retained { removed: one.removed + two.removed, thinned: one.thinned + two.thinned, ..two }
}

/// Every position is accounted for, by what the tables hold.
fn adds_up(base: &Base) -> Stats {
    let stats = base.reader().stats().unwrap();
    let connection = rusqlite::Connection::open(base.path()).unwrap();
    let sum = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    let held = sum("SELECT (SELECT count(*) FROM reading, sealed WHERE position > through)
                         + (SELECT coalesce(sum(count), 0) FROM bundle, sealed WHERE position <= through)
                         + (SELECT coalesce(sum(count), 0) FROM block, sealed WHERE position <= through)");
    assert_eq!(stats.readings, held, "{stats:?}");
    assert_eq!(sum("SELECT coalesce(sum(count), 0) FROM block WHERE step IS NOT NULL"), stats.thinned);
    let last = base.reader().position().unwrap().0 as u64;
    assert_eq!(stats.readings + stats.conflicts + stats.removed + stats.damaged, last);
    stats
}

fn buckets(reader: &Reader, series: SeriesId, step: Step) -> (Vec<Bucket>, Option<Step>) {
    let found = reader.buckets(series, step, Timestamp(0), EVER, usize::MAX).unwrap();
    (found.buckets, found.coarser)
}

#[test]
fn readings_go_when_they_are_old_enough_and_only_those_that_a_rule_names() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let mut now = NOW;
    writer.set_retention(policy(vec![rule("temp*", days(30), None)]));
    for day in 0..60_u64 {
        let rows = (0..48).flat_map(|i| {
            let at = now.0 + i * HOUR / 2;
            [row(device.series[0], at, i as f64), row(device.series[1], at, i % 2 == 0)]
        });
        store(&mut writer, device.stream, day + 1, rows.collect());
        seal_all(&mut writer);
        pass(&mut writer, &mut now, days(1));
    }
    let reader = base.reader();
    let left = times(&reader, device.series[0]);
    let oldest = now.0 - left[0];
    // Sealed once a day, and then a day in bundles.
    assert!((30 * DAY..34 * DAY).contains(&oldest), "the oldest is {} days old", oldest / DAY);
    assert_eq!(times(&reader, device.series[1]).len(), 60 * 48, "no rule names it");
    let stats = adds_up(&base);
    assert_eq!(stats.removed as usize, 60 * 48 - left.len());
    assert_eq!(reader.raw(device.series[0], Timestamp(0), EVER, 10).unwrap().coarser, None);

    // Nobody sends any more: in the end all of it goes, but for the latest value, which stays known.
    pass(&mut writer, &mut now, days(40));
    assert_eq!(times(&base.reader(), device.series[0]).len(), 0);
    let latest = base.reader().latest().unwrap().readings;
    assert_eq!(latest[0], row(device.series[0], NOW.0 + 60 * DAY - HOUR / 2, 47.0));
    assert_eq!(adds_up(&base).removed, 60 * 48);
}

#[test]
fn no_clock_that_jumps_wipes_anything() {
    for jump in [10 * YEAR, -10 * YEAR, 40 * DAY, -40 * DAY, HOUR, -HOUR] {
        let base = Base::new();
        let mut writer = base.writer();
        let device = register(&mut writer, "pump");
        let keep = KeptBuckets { step: Step::H1, keep: Some(days(60)) };
        let rules = || policy(vec![rule("door", days(30), None), rule("*", days(30), Some(keep))]);
        writer.set_retention(rules());
        // Readings of devices whose clocks are right, ten years behind, in 1970, and ten years ahead.
        let mut now = NOW;
        let rows = |now: Timestamp| -> Vec<_> {
            let times = [now.0, now.0 - 10 * YEAR, 5_000_000, now.0 + 10 * YEAR];
            let series = device.series.iter();
            series
                .flat_map(|series| {
                    times.map(|at| match series.0 % 3 {
                        1 => row(*series, at, 1.0),
                        2 => row(*series, at, true),
                        _ => row(*series, at, "on"),
                    })
                })
                .collect()
        };
        store(&mut writer, device.stream, 1, rows(now));
        seal_all(&mut writer);
        pass(&mut writer, &mut now, days(3));
        assert_eq!(adds_up(&base).readings, 12);
        // The hub's clock jumps, while it runs and over a restart, and it runs with it for weeks.
        now = now.plus_micros(jump);
        pass(&mut writer, &mut now, days(10));
        drop(writer);
        writer = base.writer();
        writer.set_retention(rules());
        now = now.plus_micros(jump);
        pass(&mut writer, &mut now, days(14));
        let stats = adds_up(&base);
        assert_eq!((stats.removed, stats.thinned), (0, 0), "after a jump of {} days", jump / DAY);
        assert_eq!(times(&base.reader(), device.series[0]).len(), 4);
    }
}

#[test]
fn what_comes_from_long_ago_stays_as_long_as_what_is_new() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    writer.set_retention(policy(vec![rule("*", days(30), None)]));
    let mut now = NOW;
    let import = (0..1_000).map(|i| row(device.series[0], NOW.0 - 3 * YEAR + i * HOUR, i as f64));
    store(&mut writer, device.stream, 1, import.collect());
    seal_all(&mut writer);
    pass(&mut writer, &mut now, days(29));
    assert_eq!(times(&base.reader(), device.series[0]).len(), 1_000);
    pass(&mut writer, &mut now, days(3));
    assert_eq!(times(&base.reader(), device.series[0]).len(), 0);
    adds_up(&base);
}

#[test]
fn where_buckets_stay_wide_questions_are_answered_and_fine_ones_are_told_so() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let [number, truth, text] = device.series[..] else { panic!() };
    let start = NOW.0 / DAY * DAY;
    for seq in 1..=24_u64 {
        let rows = (0..360).flat_map(|i| {
            let at = start + (seq as i64 - 1) * HOUR + i * 10_000_000 + 1;
            [
                row(number, at, (i * seq as i64 % 77) as f64 / 8.0),
                row(truth, at, i % 3 == 0),
                row(text, at, "on"),
            ]
        });
        store(&mut writer, device.stream, seq, rows.collect());
        if seq % 5 == 0 {
            seal_all(&mut writer);
        }
    }
    seal_all(&mut writer);
    let before = base.reader();
    let expected: Vec<_> = [number, truth]
        .into_iter()
        .flat_map(|series| [Step::H1, Step::H6, Step::D1].map(|step| (series, step)))
        .map(|(series, step)| (series, step, buckets(&before, series, step).0))
        .collect();
    let mut now = Timestamp(start + DAY);
    let kept = KeptBuckets { step: Step::H1, keep: Some(days(100)) };
    writer.set_retention(policy(vec![rule("*", days(10), Some(kept))]));
    pass(&mut writer, &mut now, days(13));
    let reader = base.reader();
    let stats = adds_up(&base);
    assert_eq!((stats.thinned, stats.removed), (2 * 8_640, 8_640), "of texts nothing can stay");
    for (series, step, expected) in expected {
        assert_eq!(buckets(&reader, series, step), (expected, None), "{series:?} {step:?}");
    }
    let (fine, coarser) = buckets(&reader, number, Step::M5);
    assert_eq!((fine.len(), coarser), (0, Some(Step::H1)));
    let raw = reader.raw(number, Timestamp(0), EVER, 10).unwrap();
    assert_eq!((raw.points.len(), raw.complete, raw.coarser), (0, true, Some(Step::H1)));
    let later = reader.raw(number, Timestamp(start + DAY), EVER, 10).unwrap();
    assert_eq!(later.coarser, None, "nothing lay there");

    // Late readings among them: count, least, greatest and sum are right.
    let noon = start + 12 * HOUR;
    let late = vec![row(number, noon + 1_800_000_000, 1_000.0), row(number, noon + HOUR, -1_000.0)];
    let before = buckets(&reader, number, Step::H1).0;
    store(&mut writer, device.stream, 25, late);
    for sealed in [false, true] {
        if sealed {
            seal_all(&mut writer);
        }
        let (found, coarser) = buckets(&reader, number, Step::H1);
        assert_eq!((found.len(), coarser), (24, None));
        assert_eq!((found[12].count, found[12].max), (before[12].count + 1, 1_000.0));
        assert_eq!((found[12].sum, found[12].min), (before[12].sum + 1_000.0, before[12].min));
        assert_eq!((found[12].first, found[12].last), (before[12].first, before[12].last));
        assert_eq!((found[13].count, found[13].min), (before[13].count + 1, -1_000.0));
        let (fine, coarser) = buckets(&reader, number, Step::M1);
        assert_eq!((fine.len(), coarser), (2, Some(Step::H1)));
        assert_eq!(times(&reader, number), [noon + 1_800_000_000, noon + HOUR]);
    }

    // The late ones are thinned in their time, and at last the buckets go too.
    pass(&mut writer, &mut now, days(13));
    let stats = adds_up(&base);
    assert_eq!((stats.thinned, stats.removed), (2 * 8_640 + 2, 8_640));
    assert_eq!(buckets(&reader, number, Step::H1).0[12].count, before[12].count + 1);
    for _ in 0..5 {
        pass(&mut writer, &mut now, days(25));
    }
    let stats = adds_up(&base);
    assert_eq!((stats.readings, stats.thinned, stats.removed), (0, 0, 3 * 8_640 + 2));
}

#[test]
fn a_sum_beyond_numbers_cannot_be_thinned_and_stays() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let rows = (0..10).map(|i| row(device.series[0], NOW.0 + i, f64::MAX)).collect();
    store(&mut writer, device.stream, 1, rows);
    seal_all(&mut writer);
    let mut now = NOW;
    let kept = KeptBuckets { step: Step::S1, keep: Some(days(20)) };
    writer.set_retention(policy(vec![rule("*", days(1), Some(kept))]));
    pass(&mut writer, &mut now, days(10));
    assert_eq!(times(&base.reader(), device.series[0]).len(), 10);
    pass(&mut writer, &mut now, days(15));
    assert_eq!(adds_up(&base).removed, 10);
}

/// Fills some days of two series, so that there is something to take.
fn fill(base: &Base, writer: &mut Writer) -> [SeriesId; 2] {
    let devices = [register(writer, "pump"), register(writer, "press")];
    for seq in 1..=40_u64 {
        for (place, device) in devices.iter().enumerate() {
            let rows = (0..3_600).map(|i| {
                let at = NOW.0 + (seq as i64 * 3_600 + i) * 1_000_000 + place as i64;
                row(device.series[0], at, Chance(at as u64).below(100_000) as f64 / 100.0)
            });
            store(writer, device.stream, seq, rows.collect());
        }
        seal_all(writer);
    }
    writer.checkpoint().unwrap();
    let _ = base;
    devices.map(|device| device.series[0])
}

fn used(base: &Base) -> u64 {
    let connection = rusqlite::Connection::open(base.path()).unwrap();
    let sql = "SELECT (page_count - freelist_count) * page_size
               FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64
}

#[test]
fn when_the_file_is_too_large_the_oldest_go_first() {
    let base = Base::new();
    let mut writer = base.writer();
    let series = fill(&base, &mut writer);
    let full = used(&base);
    let limit = full * 6 / 10;
    writer.set_retention(RetentionPolicy { max_bytes: Some(limit), rules: Vec::new() });
    let retained = settle(&mut writer, NOW, Duration::from_secs(10));
    assert!(retained.removed > 50_000 && retained.thinned == 0, "{retained:?}");
    assert!(used(&base) <= limit && used(&base) > limit / 2, "{} of {limit}", used(&base));
    let reader = base.reader();
    let left = series.map(|series| times(&reader, series));
    assert!(left.iter().all(|times| times.len() > 10_000), "what is newer stays");
    let first = left.each_ref().map(|times| times[0]);
    assert!((first[0] - first[1]).abs() <= HOUR, "both series lose what is older than the same time");
    for times in &left {
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 1_000_000), "nothing goes from the middle");
    }
    adds_up(&base);
    assert_eq!(settle(&mut writer, NOW, Duration::from_secs(10)).removed, 0, "it is small enough");
}

#[test]
fn when_the_file_is_too_large_readings_go_before_the_buckets_that_a_rule_keeps() {
    let base = Base::new();
    let mut writer = base.writer();
    let series = fill(&base, &mut writer);
    let expected = series.map(|series| buckets(&base.reader(), series, Step::H6).0);
    let full = used(&base);
    let kept = KeptBuckets { step: Step::H1, keep: None };
    writer.set_retention(RetentionPolicy {
        max_bytes: Some(full * 6 / 10),
        rules: vec![rule("*", days(1_000), Some(kept))],
    });
    let retained = settle(&mut writer, NOW, Duration::from_secs(10));
    assert!(retained.thinned > 50_000 && retained.removed == 0, "{retained:?}");
    let reader = base.reader();
    for (series, expected) in series.into_iter().zip(expected) {
        let (found, _) = buckets(&reader, series, Step::H6);
        let shape =
            |buckets: &[Bucket]| buckets.iter().map(|b| (b.at, b.count, b.min, b.max)).collect::<Vec<_>>();
        assert_eq!(shape(&found), shape(&expected));
    }
    adds_up(&base);

    // No room even for those: they go too, and the newest readings stay whatever the limit is.
    let device = register(&mut writer, "pump");
    let rows = (0..500).map(|i| row(series[0], NOW.0 + YEAR + i, 1.0)).collect();
    store(&mut writer, device.stream, 41, rows);
    writer.set_retention(RetentionPolicy {
        max_bytes: Some(1),
        rules: vec![rule("*", days(1_000), Some(kept))],
    });
    settle(&mut writer, NOW, Duration::from_secs(10));
    let stats = adds_up(&base);
    assert_eq!((stats.readings, stats.hot, stats.thinned), (500, 500, 0));
    assert_eq!(settle(&mut writer, NOW, Duration::from_secs(100)).removed, 0);
}

#[test]
fn the_file_shrinks_on_the_disk_after_retention() {
    let base = Base::new();
    let mut writer = base.writer();
    let series = fill(&base, &mut writer);
    let devices = [register(&mut writer, "pump"), register(&mut writer, "press")];
    // Rows that are sealed and deleted leave free pages: 20 MB of them.
    for seq in 41..=80_u64 {
        let rows = (0..20_000).map(|i| {
            let at = NOW.0 + 10 * DAY + (seq as i64 * 20_000 + i) * 1_000;
            row(series[0], at, ((at / 1_000 * 7_919) % 100_003) as f64)
        });
        store(&mut writer, devices[0].stream, seq, rows.collect());
    }
    let mut now = NOW.plus_micros(11 * DAY);
    seal_all(&mut writer);
    writer.set_retention(policy(vec![rule("*", days(5), None)]));
    pass(&mut writer, &mut now, days(1));
    pass(&mut writer, &mut now, days(10));
    writer.checkpoint().unwrap();
    let size = || std::fs::metadata(base.path()).unwrap().len();
    let before = size();
    assert!(before > 17_000_000, "{before}");
    assert_eq!(adds_up(&base).readings, 0);
    let mut slices = 0;
    while writer.shrink(500).unwrap().more {
        slices += 1;
        assert!(slices < 1_000);
    }
    writer.checkpoint().unwrap();
    assert!(size() < before / 2, "{} of {before} bytes", size());
    assert!(slices > 3, "in {slices} slices");
    // What is left free is for what comes next.
    assert_eq!(writer.shrink(500).unwrap().pages, 0);
    store(&mut writer, devices[0].stream, 81, vec![row(series[0], now.0, 1.0)]);
    adds_up(&base);
    let connection = rusqlite::Connection::open(base.path()).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn what_waits_in_bundles_goes_in_its_time_and_by_the_rule_of_its_series() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let [number, truth, text] = device.series[..] else { panic!() };
    let kept = KeptBuckets { step: Step::H1, keep: None };
    writer.set_retention(policy(vec![
        rule("temp*", days(10), None),
        rule("door", days(20), Some(kept)),
        rule("mode", days(1_000), None),
    ]));
    let mut now = NOW;
    let start = NOW.0;
    for day in 0..40_u64 {
        let rows = (0..24).flat_map(|i| {
            let at = now.0 + i * HOUR;
            [row(number, at, i as f64), row(truth, at, i % 2 == 0), row(text, at, "on")]
        });
        store(&mut writer, device.stream, day + 1, rows.collect());
        bundle_all(&mut writer);
        pass(&mut writer, &mut now, days(1));
    }
    let reader = base.reader();
    let [numbers, truths] = [number, truth].map(|series| times(&reader, series));
    for (left, kept) in [(&numbers, 10), (&truths, 20)] {
        let oldest = now.0 - left[0];
        assert!((kept * DAY..(kept + 2) * DAY).contains(&oldest), "the oldest is {} days old", oldest / DAY);
        assert!(left.windows(2).all(|pair| pair[1] - pair[0] == HOUR), "nothing goes from the middle");
    }
    assert_eq!(times(&reader, text).len(), 40 * 24);
    let hours = buckets(&reader, truth, Step::H1).0;
    assert!(hours.iter().map(|bucket| bucket.at.0).eq((0..40 * 24).map(|i| start + i * HOUR)));
    let stats = adds_up(&base);
    let all = 40 * 24;
    assert_eq!((stats.removed as usize, stats.thinned as usize), (all - numbers.len(), all - truths.len()));
    assert!(bundles(&base, "level = 0") > 5, "what is newer waits");
    assert_eq!(bundles(&base, "level = 1"), 0);
    drop(reader);
    // Nothing of it depends on merging.
    seal_all(&mut writer);
    adds_up(&base);
}

#[test]
fn when_the_file_is_too_large_only_the_bundles_with_the_oldest_readings_become_blocks() {
    let base = Base::new();
    let mut writer = base.writer();
    let pump = register(&mut writer, "pump");
    for other in 0..5 {
        register(&mut writer, &format!("other-{other}"));
    }
    let press = register(&mut writer, "press");
    for (device, later) in [(&pump, 0), (&press, 30 * DAY)] {
        for seq in 1..=10 {
            let rows = (0..3_600).map(|i| {
                let at = NOW.0 + later + (seq as i64 * 3_600 + i) * 1_000_000;
                row(device.series[0], at, Chance(at as u64).below(100_000) as f64 / 100.0)
            });
            store(&mut writer, device.stream, seq, rows.collect());
        }
    }
    bundle_all(&mut writer);
    let whole = bundles(&base, "shelf = 1");
    assert!(whole > 100 && bundles(&base, "shelf = 0") > 100);
    let limit = used(&base) * 3 / 4;
    writer.set_retention(RetentionPolicy { max_bytes: Some(limit), rules: Vec::new() });
    let retained = settle(&mut writer, NOW, Duration::from_secs(10));
    assert!(retained.removed > 1_000 && used(&base) <= limit, "{retained:?}");
    assert_eq!((bundles(&base, "shelf = 0"), bundles(&base, "shelf = 1")), (0, whole));
    let reader = base.reader();
    let left = times(&reader, pump.series[0]);
    assert_eq!(left.last().copied(), Some(NOW.0 + (10 * 3_600 + 3_599) * 1_000_000), "the oldest went");
    assert!(left.windows(2).all(|pair| pair[1] - pair[0] == 1_000_000));
    assert_eq!(times(&reader, press.series[0]).len(), 36_000);
    adds_up(&base);
    // Much too large: of the other shelf too, and nothing but bundles and hot rows is left for the newest.
    writer.set_retention(RetentionPolicy { max_bytes: Some(used(&base) / 3), rules: Vec::new() });
    settle(&mut writer, NOW, Duration::from_secs(10));
    let left = times(&base.reader(), press.series[0]);
    assert!(left.len() < 36_000 && times(&base.reader(), pump.series[0]).is_empty(), "{}", left.len());
    adds_up(&base);
}

#[test]
fn retention_passes_over_a_damaged_bundle_and_goes_on_with_the_others() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    writer.set_retention(policy(vec![rule("*", days(10), None)]));
    let mut now = NOW;
    for seq in 1..=5 {
        let rows = (0..100).map(|i| row(device.series[0], NOW.0 + (seq as i64 * 100 + i) * 1_000_000, 1.0));
        store(&mut writer, device.stream, seq, rows.collect());
        bundle_all(&mut writer);
    }
    let connection = rusqlite::Connection::open(base.path()).unwrap();
    connection.execute("UPDATE bundle SET data = x'51' WHERE bundle_id = 3", []).unwrap();
    let retained = pass(&mut writer, &mut now, days(20));
    assert_eq!((retained.removed, bundles(&base, "bundle_id = 3"), bundles(&base, "1")), (400, 1, 1));
    adds_up(&base);
}
