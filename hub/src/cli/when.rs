//! Times as they are typed: `now`, `-7d`, a date, RFC 3339.

use protocol::Timestamp;

use super::BadUsage;
use crate::exchange::parse_time;

/// Reads a time: `now`, a stretch before now (`-90s`, `-15m`, `-6h`, `-7d`, `-2w`), or what a file of readings may hold.
pub(super) fn parse(text: &str, now: Timestamp) -> Result<Timestamp, BadUsage> {
    let text = text.trim();
    let at = match text.strip_prefix('-') {
        _ if text == "now" => Some(now),
        Some(stretch) => micros(stretch).map(|micros| now.plus_micros(-micros)),
        None => parse_time(text),
    };
    at.ok_or_else(|| {
        BadUsage(format!(
            "{text:?} is not a time: now, -7d (s, m, h, d or w before now), 2026-01-31, or 2026-01-31T12:00:00Z"
        ))
    })
}

/// The length of `15m` in microseconds.
fn micros(stretch: &str) -> Option<i64> {
    let unit = stretch.chars().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    let count: u32 = stretch[..stretch.len() - 1].parse().ok()?;
    i64::from(count).checked_mul(seconds)?.checked_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_typed() {
        let now = Timestamp::from_seconds(1_767_225_600);
        for (text, seconds) in [
            ("now", 1_767_225_600),
            ("-7d", 1_767_225_600 - 7 * 86_400),
            ("-90m", 1_767_225_600 - 5_400),
            ("2025-12-31", 1_767_225_600 - 86_400),
            ("2026-01-01T01:00:00+01:00", 1_767_225_600),
        ] {
            assert_eq!(parse(text, now).unwrap(), Timestamp::from_seconds(seconds), "{text}");
        }
        for text in ["", "-", "-d", "-7", "-7y", "7d", "-99999999999d", "-7ä", "tomorrow"] {
            assert!(parse(text, now).unwrap_err().to_string().contains("is not a time"), "{text}");
        }
    }
}
