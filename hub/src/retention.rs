//! What the hub is told about retention, and its turns between commits.
//!
//! `store` knows what goes and does it in slices; this reads the rules from `hub.toml` and gives the slices their turns.

use std::time::{Duration, Instant};

use protocol::Step;
use serde::{Deserialize, Deserializer, de};
use store::{KeptBuckets, RetentionPolicy, RetentionRule, StoreError, Writer};

use crate::clock;

/// Readings' worth of work in one slice. Chosen as for sealing; how long a slice takes is not measured yet.
const ROWS_PER_SLICE: usize = 10_000;
/// Pages that move in one slice of shrinking the file. Chosen, not measured.
const PAGES_PER_SLICE: u32 = 200;
/// While sealing or merging has work, retention has one turn in so many.
const TURN: u32 = 4;
/// Smallest size that the file may be limited to: an empty one has 200 kB.
const SIZE_MIN: u64 = 1_000_000;

/// `[retention]` in `hub.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    max_size: Option<Size>,
    #[serde(default)]
    rule: Vec<Rule>,
}

impl From<Settings> for RetentionPolicy {
    fn from(settings: Settings) -> Self {
        Self {
            max_bytes: settings.max_size.map(|size| size.0),
            rules: settings.rule.into_iter().map(|rule| rule.0).collect(),
        }
    }
}

/// A number of bytes, written as `20 GB`.
#[derive(Debug, Clone, Copy)]
struct Size(u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_size(&text).map(Self).map_err(de::Error::custom)
    }
}

fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 8] = [
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    let problem =
        || format!("{text:?} is not a size: write a number and a unit, as in \"20 GB\" or \"500 MiB\"");
    let digits = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| problem())?;
    let unit = unit.trim();
    let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(problem)?;
    let bytes = (number * *factor as f64) as u64;
    if bytes < SIZE_MIN {
        return Err(format!("{text:?} is too small: at least 1 MB"));
    }
    Ok(bytes)
}

/// A time, written as `90s`, `12h`, `30d` or `5y`; `forever` is `None`.
#[derive(Debug, Clone, Copy)]
struct Keep(Option<Duration>);

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "forever" {
            return Ok(Self(None));
        }
        parse_time(&text).map(|time| Self(Some(time))).map_err(de::Error::custom)
    }
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let problem = || {
        format!(
            "{text:?} is not a time: write a number and a unit, as in \"90s\", \"12h\", \"30d\" or \"5y\", or \"forever\""
        )
    };
    let span: jiff::Span = text.parse().map_err(|_| problem())?;
    // A month is 30 days here and a year 365, whenever it is.
    let days = i64::from(span.get_years()) * 365
        + i64::from(span.get_months()) * 30
        + i64::from(span.get_weeks()) * 7
        + i64::from(span.get_days());
    let seconds =
        days * 86_400 + i64::from(span.get_hours()) * 3_600 + span.get_minutes() * 60 + span.get_seconds();
    match u64::try_from(seconds) {
        Ok(0) => Err(format!("{text:?} is too short: at least 1s")),
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => Err(problem()),
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RuleText")]
struct Rule(RetentionRule);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    device: Option<String>,
    metric: Option<String>,
    keep: Keep,
    buckets: Option<BucketsText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BucketsText {
    step: Step,
    keep: Option<Keep>,
}

impl TryFrom<RuleText> for Rule {
    type Error = String;

    fn try_from(rule: RuleText) -> Result<Self, String> {
        let buckets = rule
            .buckets
            .map(|buckets| KeptBuckets { step: buckets.step, keep: buckets.keep.and_then(|keep| keep.0) });
        match (rule.keep.0, buckets) {
            (None, Some(_)) => {
                return Err("buckets: stay when readings go, but keep is \"forever\": leave one out".into());
            }
            (Some(keep), Some(KeptBuckets { keep: Some(longer), .. })) if longer <= keep => {
                return Err("buckets.keep: must be longer than keep, or they would go first".into());
            }
            _ => {}
        }
        let all = || "*".to_owned();
        Ok(Self(RetentionRule {
            device: rule.device.unwrap_or_else(all),
            metric: rule.metric.unwrap_or_else(all),
            keep: rule.keep.0,
            buckets,
        }))
    }
}

/// The turns of retention in the writing thread.
#[derive(Debug)]
pub(crate) struct Turns {
    /// When it had the last one.
    last: Instant,
    count: u32,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self { last: Instant::now(), count: 0 }
    }

    /// One slice, if it is retention's turn: `busy` says that sealing or merging has work, `idle` that no request waits.
    /// Returns whether there is more to do.
    ///
    /// Trouble is told and tried again later; only a failed disk is an error.
    pub(crate) fn slice(&mut self, writer: &mut Writer, busy: bool, idle: bool) -> Result<bool, StoreError> {
        self.count = self.count.wrapping_add(1);
        if busy && !self.count.is_multiple_of(TURN) {
            return Ok(false);
        }
        let now = Instant::now();
        let elapsed = now.duration_since(self.last);
        self.last = now;
        let result = writer.retain(clock::now(), elapsed, ROWS_PER_SLICE).and_then(|retained| {
            // Shrinking moves pages about: only while nobody waits.
            let shrinks = idle && !busy && !retained.more;
            Ok(retained.more || (shrinks && writer.shrink(PAGES_PER_SLICE)?.more))
        });
        match result {
            Err(error) if !error.is_fatal() => {
                tracing::error!(%error, "retention stops for now: what is stored stays");
                Ok(false)
            }
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RetentionPolicy, String> {
        toml::from_str::<Settings>(text).map(RetentionPolicy::from).map_err(|error| error.to_string())
    }

    #[test]
    fn rules_say_what_they_mean() {
        let policy = parse(
            "max_size = \"20 GB\"
             [[rule]]
             metric = \"vibration*\"
             keep = \"30d\"
             buckets = { step = \"1h\", keep = \"5y\" }
             [[rule]]
             device = \"test-*\"
             keep = \"90s\"
             [[rule]]
             keep = \"forever\"",
        )
        .unwrap();
        assert_eq!(policy.max_bytes, Some(20_000_000_000));
        let day = Duration::from_secs(86_400);
        let buckets = KeptBuckets { step: Step::H1, keep: Some(day * 365 * 5) };
        let rule = |device: &str, metric: &str, keep, buckets| RetentionRule {
            device: device.into(),
            metric: metric.into(),
            keep,
            buckets,
        };
        let expected = [
            rule("*", "vibration*", Some(day * 30), Some(buckets)),
            rule("test-*", "*", Some(Duration::from_secs(90)), None),
            rule("*", "*", None, None),
        ];
        assert_eq!(policy.rules, expected);
        assert_eq!(parse("max_size = \"1.5MiB\"").unwrap().max_bytes, Some(3 << 19));
        assert_eq!(parse("").unwrap(), RetentionPolicy::default());
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        for (text, places) in [
            ("max_sise = \"1 GB\"", ["line 1", "max_sise", "max_size"]),
            ("\nmax_size = \"20\"", ["line 2", "max_size", "20 GB"]),
            ("max_size = 20", ["line 1", "max_size", "string"]),
            ("max_size = \"3 kB\"", ["line 1", "max_size", "at least 1 MB"]),
            ("[[rule]]\nkeep = \"soon\"", ["line 2", "keep", "30d"]),
            ("[[rule]]\nkeep = \"0s\"", ["line 2", "keep", "at least 1s"]),
            ("[[rule]]\nkeep = \"-3d\"", ["line 2", "keep", "not a time"]),
            ("[[rule]]\nmetric = \"a\"", ["line 1", "[[rule]]", "missing field `keep`"]),
            ("[[rule]]\nkeep = \"1d\"\nbuckets = { step = \"2h\" }", ["line 3", "2h", "`1h`"]),
            (
                "[[rule]]\nkeep = \"1d\"\nbuckets = { step = \"1h\", kept = \"3d\" }",
                ["line 3", "kept", "keep"],
            ),
            (
                "[[rule]]\nkeep = \"1d\"\nbuckets = { step = \"1h\", keep = \"1h\" }",
                ["line 1", "buckets.keep", "longer"],
            ),
            ("[[rule]]\nkeep = \"forever\"\nbuckets = { step = \"1h\" }", ["line 1", "buckets", "forever"]),
        ] {
            let error = parse(text).unwrap_err();
            for place in places {
                assert!(error.contains(place), "{text:?} must name {place:?}: {error}");
            }
        }
    }
}
