//! Numbers, units, ages and times as a person reads them.

use std::time::Duration;

use jiff::tz::TimeZone;
use protocol::{Timestamp, Value};

/// A unit of SenML's registry as it is written on an instrument: `Cel` is °C. Unknown ones stay as they are.
pub fn unit(code: &str) -> &str {
    match code {
        "Cel" => "°C",
        "degF" => "°F",
        "%RH" | "%EL" | "%" | "/100" => "%",
        "lx" => "lx",
        "m/s2" => "m/s²",
        "m2" => "m²",
        "m3" => "m³",
        "m3/s" => "m³/s",
        "l/s" => "L/s",
        "l/min" => "L/min",
        "l/h" => "L/h",
        "l" => "L",
        "kg/m3" => "kg/m³",
        "W/m2" | "W/m2/s" => "W/m²",
        "Ohm" => "Ω",
        "deg" => "°",
        "1/min" | "rpm" => "rpm",
        "/" | "EL" | "count" | "counts" => "",
        "ug/m3" => "µg/m³",
        "us" => "µs",
        other => other,
    }
}

/// Decimals that show about four significant digits of a number of this size.
pub fn decimals_for(magnitude: f64) -> usize {
    match magnitude.abs() {
        m if m >= 1_000.0 => 0,
        m if m >= 10.0 => 1,
        m if m >= 1.0 => 2,
        m if m >= 0.01 || m == 0.0 => 3,
        _ => 5,
    }
}

/// A number with about four significant digits, thousands set apart by a thin space.
pub fn number(n: f64) -> String {
    if !n.is_finite() {
        return "–".to_owned();
    }
    if n == 0.0 {
        return "0".to_owned();
    }
    if n.abs() < 1e-5 || n.abs() >= 1e9 {
        return format!("{n:.2e}");
    }
    grouped(&format!("{n:.*}", decimals_for(n)))
}

/// A whole number, thousands set apart.
pub fn count(n: u64) -> String {
    grouped(&n.to_string())
}

fn grouped(plain: &str) -> String {
    let (sign, rest) = plain.strip_prefix('-').map_or(("", plain), |rest| ("−", rest));
    let (whole, fraction) = rest.split_once('.').map_or((rest, None), |(w, f)| (w, Some(f)));
    let mut text = String::with_capacity(plain.len() + 4);
    text.push_str(sign);
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) && whole.len() > 4 {
            text.push(' ');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// A value without its unit.
pub fn value(v: &Value) -> String {
    match v {
        Value::Number(n) => number(*n),
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::Text(t) => t.to_string(),
    }
}

/// A value as it stands before its unit: a number without a unit that is whole is a count, and has no decimals.
pub fn value_of_unit(v: &Value, code: Option<&str>) -> String {
    let has_unit = code.map(unit).is_some_and(|u| !u.is_empty());
    match v {
        Value::Number(n) if !has_unit && n.fract() == 0.0 && n.abs() < 1e9 => grouped(&format!("{n:.0}")),
        other => value(other),
    }
}

/// A value with its unit, if that says anything.
pub fn value_with_unit(v: &Value, code: Option<&str>) -> String {
    with_unit(value_of_unit(v, code), code)
}

/// A text followed by a unit: a space between, but not before `°` alone.
pub fn with_unit(text: String, code: Option<&str>) -> String {
    match code.map(unit) {
        None | Some("") => text,
        Some("°") => format!("{text}°"),
        Some(u) => format!("{text} {u}"),
    }
}

/// A byte count.
pub fn bytes(n: usize) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.0} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

/// A large count in few characters: `1.9 M`.
pub fn short_count(n: u64) -> String {
    match n {
        0..10_000 => count(n),
        10_000..1_000_000 => format!("{:.0} k", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", n as f64 / 1e6),
        _ => format!("{:.1} G", n as f64 / 1e9),
    }
}

/// How long something took or takes.
pub fn duration(micros: i64) -> String {
    let micros = micros.max(0);
    let seconds = micros / 1_000_000;
    match seconds {
        0 if micros < 10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        0 => format!("{} ms", micros / 1_000),
        1..60 => format!("{:.1} s", micros as f64 / 1e6),
        60..3_600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// How long something took, to the millisecond and finer below one.
pub fn precise(micros: i64) -> String {
    match micros.max(0) {
        0..10_000 => format!("{:.2} ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0} ms", micros as f64 / 1e3),
        1_000_000..60_000_000 => format!("{:.3} s", micros as f64 / 1e6),
        _ => duration(micros),
    }
}

/// How long something may wait, in the largest unit that says it exactly: `5 min`, `90 s`.
pub fn lifetime(millis: u64) -> String {
    for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")] {
        if millis >= unit && millis.is_multiple_of(unit) {
            return format!("{} {name}", millis / unit);
        }
    }
    format!("{millis} ms")
}

/// Reads a time as a person types it, in milliseconds: `90`, `90 s`, `1.5 h`. A number alone is seconds.
pub fn parse_duration(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ',')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.replacen(',', ".", 1).parse().ok()?;
    let unit = match unit.trim() {
        "ms" => 1.0,
        "" | "s" | "sec" => 1e3,
        "m" | "min" => 60e3,
        "h" => 3_600e3,
        "d" => 86_400e3,
        _ => return None,
    };
    let millis = number * unit;
    (millis.is_finite() && millis < 1e15).then_some(millis as u64)
}

/// How long ago, in one number: `4 m ago`.
pub fn age(micros: i64) -> String {
    let seconds = micros.max(0) / 1_000_000;
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} m ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// How far behind something is, in one number: `4 m behind`.
pub fn behind(micros: i64) -> String {
    age(micros).replace("ago", "behind")
}

/// Time until the text of [`age`] changes.
pub fn age_changes_in(micros: i64) -> Duration {
    let micros = micros.max(0);
    let step = match micros / 1_000_000 {
        0..60 => 1_000_000,
        60..3_600 => 60_000_000,
        3_600..86_400 => 3_600_000_000,
        _ => 86_400_000_000,
    };
    Duration::from_micros((step - micros % step) as u64)
}

/// A round trip.
pub fn round_trip(rtt: Duration) -> String {
    let micros = rtt.as_micros();
    if micros < 1_000 { "<1 ms".to_owned() } else { format!("{} ms", micros / 1_000) }
}

/// A time of milliseconds with as many digits as matter: `4.3 ms`, `120 ms`, `14 s`.
pub fn milliseconds(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    match millis {
        0.0..10.0 => format!("{millis:.1} ms"),
        0.0..10_000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.0} s", millis / 1e3),
    }
}

/// The time of day, to the second, in this zone.
pub fn clock(at: Timestamp, zone: &TimeZone) -> String {
    strftime(at, zone, "%H:%M:%S")
}

/// The time of day; with the date when it is not the day of `now`.
pub fn clock_or_date(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let day = |t| strftime(t, zone, "%Y-%m-%d");
    if day(at) == day(now) { clock(at, zone) } else { strftime(at, zone, "%b %-d %H:%M") }
}

/// The time of day to the millisecond, in this zone.
pub fn clock_millis(at: Timestamp, zone: &TimeZone) -> String {
    strftime(at, zone, "%H:%M:%S%.3f")
}

/// The time of day to the microsecond, in this zone.
pub fn clock_micros(at: Timestamp, zone: &TimeZone) -> String {
    strftime(at, zone, "%H:%M:%S%.6f")
}

/// Date and time to the millisecond.
pub fn full(at: Timestamp, zone: &TimeZone) -> String {
    strftime(at, zone, "%Y-%m-%d %H:%M:%S%.3f")
}

fn strftime(at: Timestamp, zone: &TimeZone, pattern: &str) -> String {
    jiff::Timestamp::from_microsecond(at.micros())
        .map_or_else(|_| "–".to_owned(), |t| t.to_zoned(zone.clone()).strftime(pattern).to_string())
}

/// A name as a person reads it: `set_target` is "Set target".
pub fn humanize(name: &str) -> String {
    let mut text = name.replace(['_', '-'], " ");
    if let Some(first) = text.get(..1) {
        let first = first.to_ascii_uppercase();
        text.replace_range(..1, &first);
    }
    text
}

/// A text that begins with a capital, as it stands alone. An address at its beginning stays as it is.
pub fn sentence(text: &str) -> String {
    let first = text.split(' ').next().unwrap_or_default();
    if first.trim_end_matches(':').contains(':') {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// A text cut to `max` characters, with an ellipsis where it was cut.
pub fn ellipsis(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_about_four_digits() {
        for (n, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (21.587, "21.6"),
            (-18.04, "−18.0"),
            (1_013.2, "1013"),
            (101_325.0, "101 325"),
            (0.0421, "0.042"),
            (1.234_5, "1.23"),
            (3.2e-7, "3.20e-7"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(number(n), text);
        }
    }

    #[test]
    fn units_read_as_on_an_instrument() {
        assert_eq!(with_unit("21.6".into(), Some("Cel")), "21.6 °C");
        assert_eq!(with_unit("40".into(), Some("%RH")), "40 %");
        assert_eq!(with_unit("3".into(), None), "3");
        assert_eq!(with_unit("90".into(), Some("deg")), "90°");
    }

    #[test]
    fn counts_have_no_decimals_and_measurements_keep_theirs() {
        assert_eq!(value_with_unit(&Value::Number(71.0), None), "71");
        assert_eq!(value_with_unit(&Value::Number(71.0), Some("Cel")), "71.0 °C");
        assert_eq!(value_with_unit(&Value::Number(0.5), None), "0.500");
    }

    #[test]
    fn an_age_changes_when_it_says_so() {
        for micros in [0, 999_999, 1_000_000, 59_999_999, 60_000_000, 4_000_000_000, 100_000_000_000] {
            let next = micros + i64::try_from(age_changes_in(micros).as_micros()).unwrap();
            assert_ne!(age(micros), age(next));
            assert_eq!(age(micros), age(next - 1));
        }
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for (text, millis) in [("90", 90_000), ("5 min", 300_000), ("1,5h", 5_400_000), ("2 d", 172_800_000)]
        {
            assert_eq!(parse_duration(text), Some(millis));
        }
        for text in ["", "soon", "5 weeks", "-1 s", "1.2.3 s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert_eq!([lifetime(300_000), lifetime(90_000), lifetime(1)], ["5 min", "90 s", "1 ms"]);
    }

    #[test]
    fn times_outside_the_calendar_are_a_dash() {
        assert_eq!(clock(Timestamp(i64::MAX), &TimeZone::UTC), "–");
        assert_eq!(clock(Timestamp(0), &TimeZone::UTC), "00:00:00");
    }

    #[test]
    fn names_become_words() {
        assert_eq!(humanize("set_target"), "Set target");
        assert_eq!(humanize("é"), "é");
        assert_eq!(humanize(""), "");
    }
}
