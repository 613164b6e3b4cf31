//! Times as text: RFC 3339 in UTC with microseconds, and what people write instead.

use protocol::Timestamp;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Reads RFC 3339 (`2026-11-22T21:00:00.5+01:00`), the same without an offset (UTC), a date (its first moment in UTC),
/// or microseconds since 1970. Digits below the microsecond are cut off.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(micros) = text.parse::<i64>() {
        return Some(Timestamp(micros));
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(floor(at));
    }
    let civil = text.parse::<jiff::civil::DateTime>().ok()?;
    civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| floor(zoned.timestamp()))
}

fn floor(at: jiff::Timestamp) -> Timestamp {
    Timestamp(at.as_nanosecond().div_euclid(1_000) as i64)
}

/// Writes times. Remembers the day, because the next time is mostly of the same one.
#[derive(Debug)]
pub(crate) struct TimeText {
    day: i64,
    text: [u8; 27],
}

impl TimeText {
    pub(crate) const fn new() -> Self {
        Self { day: 0, text: *b"1970-01-01T00:00:00.000000Z" }
    }

    /// The time as text; of times that a reading can have.
    pub(crate) fn write(&mut self, at: Timestamp) -> &[u8] {
        let (seconds, micros) = (at.0.div_euclid(MICROS_PER_SECOND), at.0.rem_euclid(MICROS_PER_SECOND));
        let (day, second) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
        if day != self.day
            && let Ok(date) = jiff::Timestamp::from_second(seconds)
        {
            let date = date.to_zoned(jiff::tz::TimeZone::UTC).date();
            self.digits(0, 4, i64::from(date.year()));
            self.digits(5, 2, i64::from(date.month()));
            self.digits(8, 2, i64::from(date.day()));
            self.day = day;
        }
        self.digits(11, 2, second / 3_600);
        self.digits(14, 2, second / 60 % 60);
        self.digits(17, 2, second % 60);
        self.digits(20, 6, micros);
        &self.text
    }

    fn digits(&mut self, place: usize, count: usize, mut number: i64) {
        for byte in self.text[place..place + count].iter_mut().rev() {
            *byte = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_and_read_back() {
        let mut text = TimeText::new();
        for at in [0, 1, 86_399_999_999, 86_400_000_000, 1_767_225_600_000_001, 951_782_400_123_456, 5] {
            let written = std::str::from_utf8(text.write(Timestamp(at))).unwrap().to_owned();
            assert_eq!(parse(&written), Some(Timestamp(at)), "{written}");
            assert_eq!(written.len(), 27);
        }
        let last = Timestamp(Timestamp::END_READING.0 - 1);
        assert_eq!(text.write(last), b"2099-12-31T23:59:59.999999Z");
    }

    #[test]
    fn what_people_write_is_understood() {
        for (text, micros) in [
            ("1767225600000000", 1_767_225_600_000_000),
            ("2026-01-01", 1_767_225_600_000_000),
            (" 2026-01-01T00:00:00Z ", 1_767_225_600_000_000),
            ("2026-01-01 01:00:00+01:00", 1_767_225_600_000_000),
            ("2026-01-01 00:00:00.25", 1_767_225_600_250_000),
            ("2026-01-01T00:00:00.1234567Z", 1_767_225_600_123_456),
        ] {
            assert_eq!(parse(text), Some(Timestamp(micros)), "{text}");
        }
        for text in ["", "yesterday", "12:00", "2026-13-01", "1.5"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
