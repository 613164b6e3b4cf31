//! Where the axes of a chart are marked, and what the marks say.
//!
//! Time is marked at round times of the viewer's own zone: full minutes, midnights, firsts of a month. Marks are
//! strictly ascending also where a clock is put forward or back. Values are marked at 1, 2 and 5 times powers of ten.

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan};
use protocol::Timestamp;

/// Least distance between the labels of the time axis, in points. Chosen: the widest label and as much air.
pub const TIME_LABEL_PX: f64 = 110.0;
/// Least distance between the labels of a value axis, in points.
pub const VALUE_LABEL_PX: f64 = 44.0;
/// Least distance between unlabelled grid lines, in points.
const MINOR_PX: f64 = 20.0;
/// Most marks of one axis, whatever is asked for (I-6).
const MARKS_MAX: usize = 400;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A distance between marks of the time axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rung {
    /// Microseconds, less than a day; a divisor of a day.
    Micros(i64),
    /// Days of the calendar.
    Days(i64),
    /// Months, a divisor of 12 or a multiple of it.
    Months(i64),
}

const RUNGS: [Rung; 41] = [
    Rung::Micros(1),
    Rung::Micros(10),
    Rung::Micros(100),
    Rung::Micros(1_000),
    Rung::Micros(2_000),
    Rung::Micros(5_000),
    Rung::Micros(10_000),
    Rung::Micros(20_000),
    Rung::Micros(50_000),
    Rung::Micros(100_000),
    Rung::Micros(200_000),
    Rung::Micros(500_000),
    Rung::Micros(SECOND),
    Rung::Micros(2 * SECOND),
    Rung::Micros(5 * SECOND),
    Rung::Micros(10 * SECOND),
    Rung::Micros(15 * SECOND),
    Rung::Micros(30 * SECOND),
    Rung::Micros(MINUTE),
    Rung::Micros(2 * MINUTE),
    Rung::Micros(5 * MINUTE),
    Rung::Micros(10 * MINUTE),
    Rung::Micros(15 * MINUTE),
    Rung::Micros(30 * MINUTE),
    Rung::Micros(HOUR),
    Rung::Micros(2 * HOUR),
    Rung::Micros(3 * HOUR),
    Rung::Micros(6 * HOUR),
    Rung::Micros(12 * HOUR),
    Rung::Days(1),
    Rung::Days(2),
    Rung::Days(7),
    Rung::Days(14),
    Rung::Months(1),
    Rung::Months(2),
    Rung::Months(3),
    Rung::Months(6),
    Rung::Months(12),
    Rung::Months(24),
    Rung::Months(60),
    Rung::Months(120),
];

impl Rung {
    const fn micros(self) -> i64 {
        match self {
            Self::Micros(micros) => micros,
            Self::Days(days) => days * DAY,
            Self::Months(months) => months * 30 * DAY,
        }
    }

    const fn divides(self, coarser: Self) -> bool {
        match (self, coarser) {
            (Self::Micros(a), Self::Micros(b))
            | (Self::Days(a), Self::Days(b))
            | (Self::Months(a), Self::Months(b)) => b % a == 0,
            (Self::Micros(a), _) => DAY % a == 0,
            (Self::Days(a), Self::Months(_)) => a == 1,
            (Self::Days(_) | Self::Months(_), Self::Micros(_)) | (Self::Months(_), Self::Days(_)) => false,
        }
    }
}

/// A mark of the time axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeTick {
    /// Where.
    pub at: Timestamp,
    /// What it says; `None` for a line of the fine grid.
    pub label: Option<String>,
}

/// The marks of a time axis from `from` to `to`, `width_px` wide.
pub fn time_ticks(from: Timestamp, to: Timestamp, width_px: f64, zone: &TimeZone) -> Vec<TimeTick> {
    let span = to.micros_since(from);
    if span <= 0 || width_px < 1.0 {
        return Vec::new();
    }
    let per_px = span as f64 / width_px;
    let major = RUNGS
        .into_iter()
        .find(|rung| rung.micros() as f64 >= per_px * TIME_LABEL_PX)
        .unwrap_or(RUNGS[RUNGS.len() - 1]);
    let minor = RUNGS
        .into_iter()
        .find(|rung| rung.micros() as f64 >= per_px * MINOR_PX && rung.divides(major))
        .filter(|rung| rung.micros() < major.micros());
    let labelled = marks(major, from, to, zone);
    let fine = minor.map(|rung| marks(rung, from, to, zone)).unwrap_or_default();
    let mut ticks: Vec<TimeTick> = fine
        .into_iter()
        .filter(|at| labelled.binary_search(at).is_err())
        .map(|at| TimeTick { at, label: None })
        .chain(labelled.iter().map(|&at| TimeTick { at, label: Some(time_label(at, major, zone)) }))
        .collect();
    ticks.sort_by_key(|tick| tick.at);
    ticks
}

/// The times of a rung inside a view, strictly ascending.
fn marks(rung: Rung, from: Timestamp, to: Timestamp, zone: &TimeZone) -> Vec<Timestamp> {
    match rung {
        Rung::Micros(step) => clock_marks(step, from, to, zone),
        Rung::Days(days) => {
            // Counted from a Monday, so that weeks begin on one.
            let monday = date(1970, 1, 5);
            calendar_marks(from, to, zone, |first| {
                let since = first.since((jiff::Unit::Day, monday)).map_or(0, |s| i64::from(s.get_days()));
                (first.checked_sub(since.rem_euclid(days).days()).ok(), days.days())
            })
        }
        Rung::Months(months) => calendar_marks(from, to, zone, |first| {
            let count = i64::from(first.year()) * 12 + i64::from(first.month()) - 1;
            let start = count - count.rem_euclid(months);
            let year = i16::try_from(start.div_euclid(12)).ok();
            let month = i8::try_from(start.rem_euclid(12) + 1).ok();
            (year.zip(month).and_then(|(year, month)| Date::new(year, month, 1).ok()), months.months())
        }),
    }
}

/// Marks at multiples of `step` of the local clock.
fn clock_marks(step: i64, from: Timestamp, to: Timestamp, zone: &TimeZone) -> Vec<Timestamp> {
    let mut found: Vec<Timestamp> = Vec::new();
    let mut at = from.0;
    while at <= to.0 && found.len() < MARKS_MAX {
        let offset = offset_micros(at, zone);
        let mark = -(-(at + offset)).div_euclid(step) * step - offset;
        // The clock may have been changed between here and there; then the mark is where the new clock has it.
        let offset_there = offset_micros(mark, zone);
        let mark = if offset_there == offset {
            mark
        } else {
            let mark = (-(-(at + offset_there)).div_euclid(step) * step - offset_there).max(at);
            // Where the clock goes back, that may lie before the change.
            if offset_micros(mark, zone) == offset_there { mark } else { mark + step }
        };
        if mark > to.0 {
            break;
        }
        if found.last().is_none_or(|last| mark > last.0) {
            found.push(Timestamp(mark));
        }
        at = mark + 1;
    }
    found
}

fn calendar_marks(
    from: Timestamp,
    to: Timestamp,
    zone: &TimeZone,
    start: impl FnOnce(Date) -> (Option<Date>, Span),
) -> Vec<Timestamp> {
    let mut found: Vec<Timestamp> = Vec::new();
    let Some(first) = zoned(from, zone) else { return found };
    let (Some(mut day), step) = start(first.date()) else { return found };
    while found.len() < MARKS_MAX {
        let Ok(midnight) = day.to_zoned(zone.clone()) else { break };
        let at = Timestamp(midnight.timestamp().as_microsecond());
        if at > to {
            break;
        }
        if at >= from && found.last().is_none_or(|last| at > *last) {
            found.push(at);
        }
        let Ok(next) = day.checked_add(step) else { break };
        day = next;
    }
    found
}

fn zoned(at: Timestamp, zone: &TimeZone) -> Option<jiff::Zoned> {
    Some(jiff::Timestamp::from_microsecond(at.0).ok()?.to_zoned(zone.clone()))
}

fn offset_micros(at: i64, zone: &TimeZone) -> i64 {
    jiff::Timestamp::from_microsecond(at).map_or(0, |at| i64::from(zone.to_offset(at).seconds()) * SECOND)
}

/// The date at midnight, else the time of day as finely as the rung needs.
fn time_label(at: Timestamp, rung: Rung, zone: &TimeZone) -> String {
    let Some(time) = zoned(at, zone) else { return String::new() };
    let pattern = match rung {
        Rung::Months(12..) => "%Y",
        Rung::Months(_) if time.month() == 1 => "%Y",
        Rung::Months(_) => "%b",
        Rung::Days(_) if time.day_of_year() == 1 => "%Y",
        Rung::Days(_) => "%-d %b",
        Rung::Micros(_) if time.time() == jiff::civil::Time::midnight() => "%-d %b",
        Rung::Micros(MINUTE..) => "%H:%M",
        Rung::Micros(SECOND..) => "%H:%M:%S",
        Rung::Micros(1_000..) => "%H:%M:%S%.3f",
        Rung::Micros(_) => "%M:%S%.6f",
    };
    time.strftime(pattern).to_string()
}

/// A mark of a value axis.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueTick {
    /// Where.
    pub at: f64,
    /// What it says; `None` for a line of the fine grid.
    pub label: Option<String>,
}

/// The smallest of 1, 2 and 5 times a power of ten that is at least `least`.
pub fn nice_step(least: f64) -> f64 {
    if !least.is_finite() || least <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powi(least.log10().floor() as i32);
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|m| m * power)
        .find(|step| *step >= least * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// The marks of a value axis from `low` to `high`, `height_px` high.
pub fn value_ticks(low: f64, high: f64, height_px: f64) -> Vec<ValueTick> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 || height_px < 1.0 {
        return Vec::new();
    }
    let major = nice_step(span / height_px * VALUE_LABEL_PX);
    let minor = major / if (major / 10f64.powf(major.log10().floor())).round() == 2.0 { 4.0 } else { 5.0 };
    let is_fine = minor / span * height_px >= MINOR_PX / 2.0;
    let step = if is_fine { minor } else { major };
    let per_major = (major / step).round() as i64;
    let first = (low / step - 1e-6).ceil();
    let mut ticks = Vec::new();
    for i in 0..MARKS_MAX {
        let index = first + i as f64;
        let at = index * step;
        if at > high + step * 1e-6 {
            break;
        }
        // Beyond 2^53 steps from zero neighbouring marks are no longer different numbers.
        let is_major = index.abs() < 9e15 && (index as i64).rem_euclid(per_major) == 0;
        ticks.push(ValueTick { at, label: is_major.then(|| value_label(at, major)) });
    }
    ticks
}

/// The marks of a logarithmic axis whose ends are the powers of ten `low` and `high`; so are the places of the marks.
pub fn log_ticks(low: f64, high: f64, height_px: f64) -> Vec<ValueTick> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 || height_px < 1.0 {
        return Vec::new();
    }
    let decade_px = height_px / span;
    if span < 1.0 {
        // Less than a decade is marked at round numbers, which lie closer towards the top.
        let (from, to) = (10f64.powf(low), 10f64.powf(high));
        let marks = value_ticks(from, to, height_px).into_iter().filter(|tick| tick.at > 0.0);
        return marks.map(|tick| ValueTick { at: tick.at.log10(), label: tick.label }).collect();
    }
    let every = (VALUE_LABEL_PX / decade_px).ceil().max(1.0) as i64;
    let (is_named, is_fine) = (decade_px >= 3.4 * VALUE_LABEL_PX, decade_px >= VALUE_LABEL_PX);
    let mut ticks = Vec::new();
    for power in (low.floor() as i64)..=(high.ceil() as i64) {
        for digit in 1..=9 {
            let at = power as f64 + f64::from(digit).log10();
            if at < low - 1e-9 || at > high + 1e-9 || ticks.len() >= MARKS_MAX {
                continue;
            }
            let is_labelled = match digit {
                1 => power.rem_euclid(every) == 0,
                2 | 5 => is_named,
                _ => false,
            };
            let is_line = if digit == 1 { is_labelled || decade_px >= 2.0 * MINOR_PX } else { is_fine };
            if is_line {
                ticks.push(ValueTick { at, label: is_labelled.then(|| power_label(digit, power)) });
            }
        }
    }
    ticks
}

/// `digit` times ten to the power of `power`, in as few characters as tell it.
fn power_label(digit: i32, power: i64) -> String {
    match power {
        -4..=5 => value_label(f64::from(digit) * 10f64.powi(power as i32), 10f64.powi(power as i32)),
        _ => format!("{digit}e{power}").replace('-', "−"),
    }
}

/// A mark's value with the decimals that tell it from its neighbours.
pub fn value_label(at: f64, step: f64) -> String {
    let at = if at.abs() < step * 1e-6 { 0.0 } else { at };
    if at.abs() >= 1e7 || (step < 1e-6 && step > 0.0) {
        return format!("{at:.3e}").replace('-', "−");
    }
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    format!("{at:.decimals$}").replace('-', "−")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().expect("a time").as_microsecond())
    }

    fn labels(ticks: &[TimeTick]) -> Vec<&str> {
        ticks.iter().filter_map(|tick| tick.label.as_deref()).collect()
    }

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect("a zone of the bundled database")
    }

    #[test]
    fn five_minutes_are_marked_at_full_minutes() {
        let ticks = time_ticks(at("2026-03-12T14:05:10Z"), at("2026-03-12T14:10:10Z"), 600.0, &TimeZone::UTC);
        assert_eq!(labels(&ticks), ["14:06", "14:07", "14:08", "14:09", "14:10"]);
        assert!(ticks.iter().any(|tick| tick.label.is_none()));
    }

    #[test]
    fn midnight_says_the_date() {
        let ticks = time_ticks(at("2026-03-12T20:00:00Z"), at("2026-03-13T04:00:00Z"), 500.0, &TimeZone::UTC);
        assert_eq!(labels(&ticks), ["20:00", "22:00", "13 Mar", "02:00", "04:00"]);
    }

    #[test]
    fn days_and_months_are_those_of_the_calendar() {
        let berlin = zone("Europe/Berlin");
        let ticks = time_ticks(at("2025-11-20T00:00:00Z"), at("2026-05-02T00:00:00Z"), 700.0, &berlin);
        assert_eq!(labels(&ticks), ["Dec", "2026", "Feb", "Mar", "Apr", "May"]);
        let first_of_april = ticks.iter().find(|tick| tick.label.as_deref() == Some("Apr")).expect("April");
        assert_eq!(first_of_april.at, at("2026-03-31T22:00:00Z"));
    }

    #[test]
    fn a_change_of_the_clock_neither_doubles_nor_loses_marks() {
        let berlin = zone("Europe/Berlin");
        let spring = time_ticks(at("2026-03-29T00:00:00Z"), at("2026-03-29T06:00:00Z"), 700.0, &berlin);
        assert_eq!(labels(&spring), ["01:00", "03:00", "04:00", "05:00", "06:00", "07:00", "08:00"]);
        let autumn = time_ticks(at("2026-10-24T23:00:00Z"), at("2026-10-25T04:00:00Z"), 600.0, &berlin);
        assert_eq!(labels(&autumn), ["01:00", "02:00", "02:00", "03:00", "04:00", "05:00"]);
        let by_threes = time_ticks(at("2026-10-24T20:00:00Z"), at("2026-10-25T10:00:00Z"), 560.0, &berlin);
        assert_eq!(labels(&by_threes), ["25 Oct", "03:00", "06:00", "09:00"]);
    }

    #[test]
    fn values_are_marked_at_round_numbers_with_no_more_decimals_than_needed() {
        let texts = |low, high| {
            let ticks = value_ticks(low, high, 300.0);
            ticks.into_iter().filter_map(|tick| tick.label).collect::<Vec<_>>()
        };
        assert_eq!(texts(18.0, 31.0), ["18", "20", "22", "24", "26", "28", "30"]);
        assert_eq!(texts(-0.1, 0.1), ["−0.10", "−0.05", "0.00", "0.05", "0.10"]);
        assert_eq!(texts(101_300.0, 101_350.0), ["101300", "101310", "101320", "101330", "101340", "101350"]);
    }

    #[test]
    fn a_logarithmic_axis_is_marked_at_powers_of_ten_and_between_where_there_is_room() {
        let texts = |low, high, px| {
            log_ticks(low, high, px).into_iter().filter_map(|tick| tick.label).collect::<Vec<_>>()
        };
        assert_eq!(texts(-2.0, 3.0, 300.0), ["0.01", "0.1", "1", "10", "100", "1000"]);
        assert_eq!(texts(0.0, 1.0, 300.0), ["1", "2", "5", "10"]);
        assert_eq!(texts(-10.0, 10.0, 200.0).len(), 5);
        assert_eq!(texts(1.30103, 1.477_121, 300.0).first().map(String::as_str), Some("20"));
        assert!(log_ticks(-300.0, 300.0, 200.0).len() < 20);
    }

    proptest! {
        #[test]
        fn time_marks_ascend_and_keep_their_distance(
            from in 0..4_000_000_000_000_000i64,
            span_log in 3.0f64..14.8,
            width in 200.0f64..3_000.0,
            place in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]),
        ) {
            let span = 10f64.powf(span_log) as i64;
            let (from, to) = (Timestamp(from), Timestamp(from + span));
            let ticks = time_ticks(from, to, width, &zone(place));
            prop_assert!(ticks.windows(2).all(|pair| pair[0].at < pair[1].at));
            prop_assert!(ticks.iter().all(|tick| tick.at >= from && tick.at <= to));
            let labelled: Vec<_> = ticks.iter().filter(|tick| tick.label.is_some()).collect();
            // Months differ in length, and a changed clock takes an hour out of a day.
            let least = TIME_LABEL_PX * 0.45;
            for pair in labelled.windows(2) {
                let px = pair[1].at.micros_since(pair[0].at) as f64 / span as f64 * width;
                prop_assert!(px >= least, "{px} between {:?} and {:?}", pair[0], pair[1]);
            }
        }

        #[test]
        fn value_marks_ascend_and_keep_their_distance(
            low in -1e6f64..1e6, span_log in -4.0f64..7.0, height in 40.0f64..2_000.0,
        ) {
            let high = low + 10f64.powf(span_log);
            let ticks = value_ticks(low, high, height);
            prop_assert!(ticks.windows(2).all(|pair| pair[0].at < pair[1].at));
            let labelled: Vec<_> = ticks.iter().filter(|tick| tick.label.is_some()).collect();
            for pair in labelled.windows(2) {
                let px = (pair[1].at - pair[0].at) / (high - low) * height;
                prop_assert!(px >= VALUE_LABEL_PX * 0.99, "{px}");
                prop_assert!(pair[0].label != pair[1].label, "{pair:?}");
            }
        }
    }
}
