//! The store as a whole: live readings, tiles and gaps against a plain list of readings.

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::limits::HISTORY_PENDING_MAX;
use protocol::viewer::{History, HistoryRequest, Resolution};
use protocol::{Bucket, Position, SeriesId, Step, Timestamp, Value};

use super::*;
use crate::viewport::{View, Viewport};

const ID: SeriesId = SeriesId(7);
/// A full day, so that rungs begin at round distances.
const START: i64 = 20_000 * 86_400_000_000;
const SECOND: i64 = 1_000_000;

/// A hub that knows all readings and answers at once.
#[derive(Default)]
struct Hub {
    readings: BTreeMap<i64, f64>,
    asked: Vec<HistoryRequest>,
}

impl Hub {
    fn answer(&mut self, store: &mut SeriesStore, requests: Vec<HistoryRequest>) {
        for request in requests {
            let readings = self.readings.range(request.from.0..request.to.0);
            let (mut points, mut buckets) = (Vec::new(), Vec::<Bucket>::new());
            match request.step {
                Resolution::Raw => {
                    points = readings.map(|(&at, &v)| (Timestamp(at), Value::Number(v))).collect();
                }
                Resolution::Buckets(step) => {
                    for (&at, &value) in readings {
                        let bucket = Bucket::of(step.floor(Timestamp(at)), value);
                        match buckets.last_mut() {
                            Some(last) if last.at == bucket.at => last.merge(&bucket),
                            _ => buckets.push(bucket),
                        }
                    }
                }
            }
            // In two parts, as a hub with little room for a message would.
            let half = (points.len() / 2, buckets.len() / 2);
            let later = (points.split_off(half.0), buckets.split_off(half.1));
            for (points, buckets, more) in [(points, buckets, true), (later.0, later.1, false)] {
                let (id, series, step) = (request.id, request.series, request.step);
                store.on_history(&History {
                    id,
                    series,
                    step,
                    points,
                    buckets,
                    coarser: None,
                    more,
                    position: Position(1),
                });
            }
            self.asked.push(request);
        }
    }
}

fn paused(from: i64, to: i64) -> Viewport {
    Viewport::new(View::Paused { from: Timestamp(from), to: Timestamp(to) })
}

fn trace(store: &SeriesStore, from: i64, to: i64, pixels: f64) -> Trace {
    let mut trace = Trace::default();
    store.trace(ID, Timestamp(from), Timestamp(to), (to - from) as f64 / pixels, &mut trace);
    trace
}

/// The columns that a list of readings makes.
fn naive(readings: &BTreeMap<i64, f64>, width: i64) -> BTreeMap<i64, (u32, f64, f64, f64)> {
    let mut columns: BTreeMap<i64, Rollup> = BTreeMap::new();
    for (&at, &value) in readings {
        columns.entry(at.div_euclid(width)).or_insert(Rollup::EMPTY).add(&Rollup::of(value));
    }
    columns.into_iter().map(|(i, r)| (i * width + width / 2, (r.count, r.min, r.max, r.mean()))).collect()
}

fn assert_columns(
    trace: &Trace,
    readings: &BTreeMap<i64, f64>,
    from: i64,
    to: i64,
) -> Result<(), TestCaseError> {
    let seen = |at: i64| at >= from && at <= to;
    if trace.width == 0 {
        let found: Vec<_> = trace.columns.iter().map(|c| (c.at, c.mean)).filter(|c| seen(c.0)).collect();
        let expected: Vec<_> = readings.iter().map(|(&at, &v)| (at, v)).filter(|c| seen(c.0)).collect();
        prop_assert_eq!(found, expected);
        return Ok(());
    }
    let expected = naive(readings, trace.width);
    let expected: Vec<_> = expected.into_iter().filter(|(at, _)| seen(*at)).collect();
    let found: Vec<_> = trace.columns.iter().filter(|c| seen(c.at)).collect();
    prop_assert_eq!(
        found.iter().map(|c| (c.at, c.count)).collect::<Vec<_>>(),
        expected.iter().map(|(at, (count, ..))| (*at, *count)).collect::<Vec<_>>()
    );
    for (column, (_, (_, min, max, mean))) in found.iter().zip(&expected) {
        prop_assert_eq!((column.min, column.max), (*min, *max));
        prop_assert!((column.mean - mean).abs() < 1e-9, "{} {}", column.mean, mean);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// History up to some time, live readings from there on with an overlap, some late and some twice: what is drawn
    /// is what one list of all readings would show, at every zoom.
    #[test]
    fn tiles_and_live_readings_join_without_a_seam_and_without_doubling(
        cadence in prop::sample::select(vec![SECOND / 10, SECOND, 7 * SECOND]),
        count in 100..3_000i64,
        live_share in 0.0f64..1.0,
        late in prop::collection::vec(0..3_000i64, 0..20),
        zoom in prop::sample::select(vec![200.0, 900.0, 3_000.0]),
    ) {
        let mut hub = Hub::default();
        let at = |i: i64| START + i * cadence + (i * 7_919) % (cadence / 4);
        for i in 0..count {
            hub.readings.insert(at(i), ((i * 31) % 97) as f64);
        }
        let mut store = SeriesStore::new(64 << 20);
        let end = at(count);
        // The chart is opened here; every reading from now on comes live, those shortly before it twice.
        let opened = START + ((end - START) as f64 * (1.0 - live_share)) as i64;
        let viewport = paused(START, end);
        let known: BTreeMap<i64, f64> = hub.readings.clone();
        hub.readings.retain(|at, _| *at < opened);
        for _ in 0..20 {
            let requests = store.wanted(&viewport, &[ID], zoom as f32, Timestamp(opened));
            prop_assert!(requests.len() <= HISTORY_PENDING_MAX);
            hub.answer(&mut store, requests);
        }
        hub.readings = known;
        let mut live: Vec<_> =
            hub.readings.range(opened - 5 * SECOND..).map(|(&at, &v)| (Timestamp(at), Value::Number(v))).collect();
        for i in late {
            // Out of order, and again.
            let i = i as usize % live.len().max(1);
            if let Some(point) = live.get(i).cloned() {
                live.push(point);
            }
        }
        for points in live.chunks(17) {
            store.push_live(ID, points);
        }
        // Time passes; what history can still add is asked for and answered.
        for seconds in [1, 3, 6, 9, 20_000, 90_000] {
            for _ in 0..20 {
                let now = Timestamp(end.max(opened) + seconds * SECOND);
                let requests = store.wanted(&viewport, &[ID], zoom as f32, now);
                hub.answer(&mut store, requests);
            }
        }
        let drawn = trace(&store, START, end, zoom);
        prop_assert!(!drawn.is_partial);
        assert_columns(&drawn, &hub.readings, START, end)?;
    }

    #[test]
    fn columns_stay_the_same_when_the_view_scrolls(
        shift in 1..5_000_000i64,
        cadence in prop::sample::select(vec![SECOND / 20, SECOND / 10, SECOND]),
        span in prop::sample::select(vec![60 * SECOND, 900 * SECOND, 7_200 * SECOND]),
    ) {
        let mut store = SeriesStore::new(64 << 20);
        let points: Vec<_> = (0..20_000)
            .map(|i| (Timestamp(START + i * cadence), Value::Number(((i * 7_919) % 1_009) as f64)))
            .collect();
        store.push_live(ID, &points);
        let before = trace(&store, START, START + span, 1_000.0);
        let after = trace(&store, START + shift, START + shift + span, 1_000.0);
        prop_assert_eq!(before.width, after.width);
        let inside = |column: &&Column| {
            column.at - before.width > START + shift && column.at + before.width < START + span
        };
        prop_assert_eq!(
            before.columns.iter().filter(inside).collect::<Vec<_>>(),
            after.columns.iter().filter(inside).collect::<Vec<_>>()
        );
    }
}

fn filled(count: i64, cadence: i64) -> (Hub, SeriesStore) {
    let mut hub = Hub::default();
    hub.readings.extend((0..count).map(|i| (START + i * cadence, i as f64)));
    (hub, SeriesStore::new(64 << 20))
}

fn settle(hub: &mut Hub, store: &mut SeriesStore, viewport: &Viewport, now: i64) {
    for _ in 0..10 {
        let requests = store.wanted(viewport, &[ID], 1_000.0, Timestamp(now));
        hub.answer(store, requests);
    }
}

#[test]
fn a_view_is_fetched_once_and_at_the_rung_that_fits_its_pixels() {
    let (mut hub, mut store) = filled(10_000, SECOND);
    let end = START + 10_000 * SECOND;
    let viewport = paused(START + 60 * SECOND, end);
    settle(&mut hub, &mut store, &viewport, end);
    assert!(hub.asked.iter().all(|r| r.step == Resolution::Buckets(Step::S5)), "{:?}", hub.asked);
    assert_eq!(hub.asked.len(), 2);
    let (first, last) = (hub.asked.iter().map(|r| r.from.0).min(), hub.asked.iter().map(|r| r.to.0).max());
    assert!(first <= Some(START) && last >= Some(end));
    settle(&mut hub, &mut store, &viewport, end + 1);
    assert_eq!(hub.asked.len(), 2);
}

#[test]
fn at_most_as_many_requests_are_under_way_as_the_hub_takes() {
    let mut store = SeriesStore::new(64 << 20);
    let shown: Vec<_> = (0..100).map(SeriesId).collect();
    let viewport = paused(START, START + 3_600 * SECOND);
    let first = store.wanted(&viewport, &shown, 1_000.0, Timestamp(START + 4_000 * SECOND));
    assert_eq!(first.len(), HISTORY_PENDING_MAX);
    assert!(store.wanted(&viewport, &shown, 1_000.0, Timestamp(START + 4_001 * SECOND)).is_empty());
    store.on_history_error(first[0].id);
    store.on_history_error(12);
    let next = store.wanted(&viewport, &shown, 1_000.0, Timestamp(START + 4_002 * SECOND));
    assert_eq!(next.len(), 1);
    assert_ne!(next[0].id, first[0].id);
}

#[test]
fn a_silence_is_a_gap_and_a_lost_reading_is_not() {
    let mut store = SeriesStore::new(64 << 20);
    let points: Vec<_> = (0..300)
        .filter(|i| !(100..140).contains(i) && *i != 200)
        .map(|i| (Timestamp(START + i * SECOND), Value::Number(1.0)))
        .collect();
    store.push_live(ID, &points);
    for pixels in [100.0, 300.0, 1_000.0, 5_000.0] {
        let drawn = trace(&store, START, START + 300 * SECOND, pixels);
        let lengths: Vec<_> = drawn.runs().map(|run| run.iter().map(|c| c.count).sum::<u32>()).collect();
        assert_eq!(lengths, [100, 159], "{pixels} px, columns of {} µs", drawn.width);
    }
}

#[test]
fn what_lies_in_a_gap_is_not_near_anything() {
    let mut store = SeriesStore::new(64 << 20);
    let points: Vec<_> = (0..100)
        .filter(|i| !(40..60).contains(i))
        .map(|i| (Timestamp(START + i * SECOND), Value::Number(i as f64)))
        .collect();
    store.push_live(ID, &points);
    let drawn = trace(&store, START, START + 100 * SECOND, 1_000.0);
    let near = |seconds: i64| drawn.nearest(Timestamp(START + seconds * SECOND)).map(|c| c.mean);
    assert_eq!((near(20), near(39), near(50), near(61)), (Some(20.0), Some(39.0), None, Some(61.0)));
}

#[test]
fn a_hole_in_the_live_readings_is_filled_from_history() {
    let (mut hub, mut store) = filled(600, SECOND);
    let viewport = paused(START, START + 600 * SECOND);
    store.wanted(&viewport, &[ID], 1_000.0, Timestamp(START));
    let live: Vec<_> = hub
        .readings
        .iter()
        .filter(|(at, _)| !(300..400).contains(&((**at - START) / SECOND)))
        .map(|(&at, &v)| (Timestamp(at), Value::Number(v)))
        .collect();
    store.push_live(ID, &live);
    store.mark_hole(Timestamp(START + 300 * SECOND), Timestamp(START + 399 * SECOND));
    settle(&mut hub, &mut store, &viewport, START + 700 * SECOND);
    let drawn = trace(&store, START, START + 600 * SECOND, 1_000.0);
    assert_eq!(drawn.runs().count(), 1);
    assert_eq!(drawn.columns.iter().map(|c| c.count).sum::<u32>(), 600);
}

#[test]
fn a_tile_whose_second_request_failed_is_asked_for_once_more() {
    let (mut hub, mut store) = filled(600, SECOND);
    // Buckets: a late reading is joined to them as one of which nothing more is known.
    let viewport = paused(START, START + 3_000 * SECOND);
    let now = START + 4_000 * SECOND;
    settle(&mut hub, &mut store, &viewport, now);
    let late = START + 5 * SECOND + 3;
    hub.readings.insert(late, 99.0);
    store.push_live(ID, &[(Timestamp(late), Value::Number(99.0))]);
    let again = store.wanted(&viewport, &[ID], 1_000.0, Timestamp(now + 3 * SECOND));
    assert_eq!(again.len(), 1);
    store.on_history_error(again[0].id);
    settle(&mut hub, &mut store, &viewport, now + 20 * SECOND);
    let drawn = trace(&store, START, START + 3_000 * SECOND, 1_000.0);
    assert_eq!(drawn.columns.iter().map(|c| c.count).sum::<u32>(), 601);
}

#[test]
fn after_a_reconnect_everything_shown_is_asked_for_again() {
    let (mut hub, mut store) = filled(600, SECOND);
    let viewport = paused(START, START + 600 * SECOND);
    settle(&mut hub, &mut store, &viewport, START + 700 * SECOND);
    let asked = hub.asked.len();
    hub.readings.insert(START + 5 * SECOND + 3, 99.0);
    store.on_reconnected();
    settle(&mut hub, &mut store, &viewport, START + 800 * SECOND);
    assert_eq!(hub.asked.len(), asked * 2);
    let drawn = trace(&store, START, START + 600 * SECOND, 1_000.0);
    assert!(drawn.columns.iter().any(|c| c.mean == 99.0));
}

#[test]
fn memory_stays_within_the_budget_and_the_newest_readings_stay() {
    let budget = 1 << 20;
    let mut store = SeriesStore::new(budget);
    for round in 0..200_i64 {
        for series in 0..10 {
            let points: Vec<_> = (0..100)
                .map(|i| (Timestamp(START + (round * 100 + i) * SECOND), Value::Number(i as f64)))
                .collect();
            store.push_live(SeriesId(series), &points);
        }
        assert!(store.bytes() <= budget, "{} after {round}", store.bytes());
    }
    assert!(store.readings() > 30_000);
    for series in 0..10 {
        let newest = store.latest(SeriesId(series)).expect("a reading").0;
        assert_eq!(newest, Timestamp(START + 19_999 * SECOND));
    }
}

#[test]
fn texts_and_truths_keep_their_meaning() {
    let mut store = SeriesStore::new(1 << 20);
    let points = [(0, "idle"), (10, "ramp"), (20, "idle")];
    let points: Vec<_> =
        points.iter().map(|(s, t)| (Timestamp(START + s * SECOND), Value::from(*t))).collect();
    store.push_live(ID, &points);
    let drawn = trace(&store, START, START + 30 * SECOND, 1_000.0);
    let texts: Vec<_> = drawn.columns.iter().filter_map(|c| store.text(ID, c.mean)).map(|t| &**t).collect();
    assert_eq!(texts, ["idle", "ramp", "idle"]);
    assert_eq!(
        store.before(ID, Timestamp(START + 15 * SECOND)).and_then(|(_, v)| store.text(ID, v)).map(|t| &**t),
        Some("ramp")
    );
    assert!(store.sparkline(ID, 10).is_empty());
    store.push_live(SeriesId(8), &[(Timestamp(START), Value::Bool(true))]);
    assert_eq!(store.sparkline(SeriesId(8), 10), [1.0]);
}

#[test]
fn numbers_that_are_not_finite_never_get_in() {
    let mut store = SeriesStore::new(1 << 20);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        store.push_live(ID, &[(Timestamp(START), Value::Number(value))]);
    }
    assert_eq!((store.readings(), store.latest(ID)), (0, None));
}
