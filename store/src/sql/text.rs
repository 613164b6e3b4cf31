//! Times as the SQL tables show them: `2026-01-31 12:00:00.000000`, the form of SQLite's own functions, in UTC.

use protocol::Timestamp;
use rusqlite::types::Value;

/// The earliest text; a shorter text is read as if it went on like this.
const FIRST: [u8; 26] = *b"0000-01-01 00:00:00.000000";
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A time as text; of times from the year 0 to 9999.
pub(super) fn time(at: Timestamp) -> [u8; 26] {
    let mut text = FIRST;
    let (days, micros) = (at.0.div_euclid(MICROS_PER_DAY), at.0.rem_euclid(MICROS_PER_DAY));
    let (year, month, day) = civil(days);
    for (place, count, mut number) in [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, micros / 3_600_000_000),
        (14, 2, micros / 60_000_000 % 60),
        (17, 2, micros / 1_000_000 % 60),
        (20, 6, micros % 1_000_000),
    ] {
        for byte in text[place..place + count].iter_mut().rev() {
            *byte = b'0' + number.rem_euclid(10) as u8;
            number /= 10;
        }
    }
    text
}

/// The earliest time whose text is not before this one, as texts are compared. `None` if the text is not the beginning
/// of a time.
pub(super) fn first_at(text: &str) -> Option<Timestamp> {
    // Half a month or half a day: what comes first after it is not always what FIRST goes on with.
    if matches!(text.len(), 6 | 9) {
        return None;
    }
    let mut full = FIRST;
    full.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    let fits = |(place, byte): (usize, &u8)| {
        if FIRST[place].is_ascii_digit() { byte.is_ascii_digit() } else { *byte == FIRST[place] }
    };
    if !full.iter().enumerate().all(fits) {
        return None;
    }
    let number = |place: usize, count: usize| {
        full[place..place + count].iter().fold(0_i64, |number, byte| number * 10 + i64::from(byte - b'0'))
    };
    let (month, day) = (number(5, 2), number(8, 2));
    let year = number(0, 4);
    if !(1..=12).contains(&month) || civil(days(year, month, day)) != (year, month, day) {
        return None;
    }
    let seconds = number(11, 2) * 3_600 + number(14, 2) * 60 + number(17, 2);
    Some(Timestamp(days(year, month, day) * MICROS_PER_DAY + seconds * 1_000_000 + number(20, 6)))
}

/// A time that was given as an argument: microseconds, or text.
pub(super) fn argument(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Integer(micros) => Some(Timestamp(*micros)),
        Value::Real(micros) => Some(Timestamp(*micros as i64)),
        Value::Text(text) => first_at(text.trim_end_matches('Z').replace('T', " ").as_str()),
        Value::Null | Value::Blob(_) => None,
    }
}

/// Year, month and day of a day since 1970 in the Gregorian calendar, counted from March so that the leap day is the
/// last of a year; 146 097 days are 400 years.
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + (month <= 2) as i64, month, day)
}

/// The day since 1970 of a date; the inverse of [`civil`].
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - (month <= 2) as i64;
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_four_centuries_comes_back_and_dates_are_right() {
        for day in days(1970, 1, 1)..=days(2370, 1, 1) {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
        assert_eq!((days(1970, 1, 1), days(2000, 3, 1), civil(11_016)), (0, 11_017, (2000, 2, 29)));
        assert_eq!(&time(Timestamp(1_767_225_600_123_456)), b"2026-01-01 00:00:00.123456");
        assert_eq!(first_at("2026-01-01 00:00:00.123456"), Some(Timestamp(1_767_225_600_123_456)));
    }

    #[test]
    fn the_beginning_of_a_time_stands_for_its_first_moment() {
        for text in ["2026", "2026-", "2026-01", "2026-01-01", "2026-01-01 00:00", "2026-01-01 00:00:00."] {
            assert_eq!(first_at(text), Some(Timestamp(1_767_225_600_000_000)), "{text}");
        }
        for text in [
            "2026-1",
            "2026-01-3",
            "2026-02-30",
            "2026-01-01T00",
            "2026-13",
            "x",
            "2026-01-01 00:00:00.0000000",
            "2026-01-01ü",
        ] {
            assert_eq!(first_at(text), None, "{text}");
        }
        assert_eq!(argument(&Value::Text("2026-01-01T00:00:00Z".into())), first_at("2026-01-01"));
    }
}
