//! The form in which a stretch of time is typed: from and to, as people write times.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use protocol::Timestamp;

use crate::format;

/// What can be typed, for whoever typed something else.
pub const EXAMPLES: &str = "2026-03-12 14:05, 14:05:30 (today), 2026-03-12, 90 min ago, now";

/// What is typed. Nothing happens before it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeForm {
    /// The left edge.
    pub from: String,
    /// The right edge.
    pub to: String,
}

/// What a form asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// This stretch, standing still.
    Stretch(Timestamp, Timestamp),
    /// So many microseconds up to now, following.
    UpToNow(i64),
}

impl RangeForm {
    /// A form that says what is shown now.
    pub fn of(from: Timestamp, to: Timestamp, is_following: bool, zone: &TimeZone) -> Self {
        let text = |at| {
            let full = format::full(at, zone);
            full.strip_suffix(".000").unwrap_or(&full).to_owned()
        };
        Self { from: text(from), to: if is_following { "now".to_owned() } else { text(to) } }
    }

    /// What it asks for, or what is wrong with it as a whole; mistakes of a field are told by [`moment`].
    pub fn asked(&self, now: Timestamp, zone: &TimeZone) -> Result<Asked, String> {
        let (from, to) = (moment(&self.from, now, zone)?, moment(&self.to, now, zone)?);
        if from >= to {
            return Err("The end must be after the beginning".to_owned());
        }
        if from >= now {
            return Err("It has not begun yet: nothing is known of it".to_owned());
        }
        if is_now(&self.to) {
            return Ok(Asked::UpToNow(to.micros_since(from)));
        }
        Ok(Asked::Stretch(from, to))
    }
}

fn is_now(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("now")
}

/// Reads a time as people write it, in this zone; a time of day is today's.
///
/// # Errors
///
/// What is wrong, and what could be typed instead.
pub fn moment(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let text = text.trim();
    let unreadable = || format!("Not a time. For example: {EXAMPLES}");
    if is_now(text) {
        return Ok(now);
    }
    let ago = text.strip_suffix("ago").or_else(|| text.strip_prefix('-')).or_else(|| text.strip_prefix('−'));
    let at = if let Some(ago) = ago {
        let millis = format::parse_duration(ago).ok_or_else(unreadable)?;
        let micros = i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1_000);
        Timestamp(now.0.saturating_sub(micros))
    } else {
        let today = jiff::Timestamp::from_microsecond(now.0).map_err(|_| unreadable())?;
        let today = today.to_zoned(zone.clone()).date();
        // The longest first: a date with its time is also a date.
        let civil = if text.contains(':') {
            let whole = text.parse::<DateTime>().ok();
            whole.or_else(|| text.parse::<Time>().ok().map(|time| today.to_datetime(time)))
        } else {
            text.parse::<Date>().ok().map(|date| date.to_datetime(Time::midnight()))
        };
        let zoned = civil.ok_or_else(unreadable)?.to_zoned(zone.clone()).map_err(|_| unreadable())?;
        Timestamp(zoned.timestamp().as_microsecond())
    };
    if !(Timestamp::MIN_READING..Timestamp::END_READING).contains(&at) {
        return Err("Readings are from the years 1970 to 2100".to_owned());
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-12 14:10:00 UTC.
    const NOW: Timestamp = Timestamp(1_773_324_600_000_000);
    const MINUTE: i64 = 60_000_000;

    fn utc(text: &str) -> Result<Timestamp, String> {
        moment(text, NOW, &TimeZone::UTC)
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, minutes) in [
            ("now", 0),
            (" Now ", 0),
            ("14:05", -5),
            ("14:05:00.000", -5),
            ("2026-03-12 14:05", -5),
            ("2026-03-12T14:05:00", -5),
            ("2026-03-12", -850),
            ("90 min ago", -90),
            ("-2h", -120),
            ("1.5 h ago", -90),
        ] {
            assert_eq!(utc(text), Ok(NOW.plus_micros(minutes * MINUTE)), "{text}");
        }
        let east = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(moment("16:05", NOW, &east), Ok(NOW.plus_micros(-5 * MINUTE)));
    }

    #[test]
    fn what_is_no_time_is_refused_with_an_example() {
        for text in ["", "soon", "25:00", "2026-13-01", "14", "ago", "-", "5 moons ago"] {
            assert!(utc(text).is_err_and(|why| why.contains("14:05")), "{text}");
        }
        assert!(utc("1812-01-01").is_err_and(|why| why.contains("1970")));
        assert!(utc("999999999 d ago").is_err());
    }

    #[test]
    fn a_form_says_what_is_shown_and_asks_for_the_same() {
        let (from, to) = (NOW.plus_micros(-MINUTE), NOW.plus_micros(-1_500_000));
        let zone = TimeZone::UTC;
        let form = RangeForm::of(from, to, false, &zone);
        assert_eq!(
            (form.from.as_str(), form.to.as_str()),
            ("2026-03-12 14:09:00", "2026-03-12 14:09:58.500")
        );
        assert_eq!(form.asked(NOW, &zone), Ok(Asked::Stretch(from, to)));
        let form = RangeForm::of(from, to, true, &zone);
        assert_eq!(form.asked(NOW, &zone), Ok(Asked::UpToNow(MINUTE)));
        let form = RangeForm { from: "14:05".into(), to: "14:04".into() };
        assert!(form.asked(NOW, &zone).is_err_and(|why| why.contains("after")));
    }
}
