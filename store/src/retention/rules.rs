//! Which rule decides about a series, and how far the blocks of each have been dealt with.

use std::time::Duration;

use protocol::select::pattern_matches;
use protocol::{Kind, SeriesId, Step, Timestamp};

use super::Slice;
use crate::error::StoreError;
use crate::row;

/// Series that are read at once.
const PAGE: i64 = 2_000;

/// What goes when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetentionPolicy {
    /// Most bytes that the file may use, free pages not counted; the oldest blocks go when it uses more.
    pub max_bytes: Option<u64>,
    /// The first rule that fits a series decides about it. A series that none fits is kept for ever.
    pub rules: Vec<RetentionRule>,
}

/// How long the readings of some series are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// Pattern of device ids, as in `Select`.
    pub device: String,
    /// Pattern of metric names.
    pub metric: String,
    /// Age at which readings go; `None`: never.
    pub keep: Option<Duration>,
    /// What stays when they go; `None`: nothing. Texts have no buckets: of them nothing stays.
    pub buckets: Option<KeptBuckets>,
}

/// Buckets that stay when the readings go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptBuckets {
    /// How wide they are.
    pub step: Step,
    /// Age at which they go too; `None`: never.
    pub keep: Option<Duration>,
}

/// A time as microseconds.
pub(super) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// A series, and what is to be done about it.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) id: SeriesId,
    pub(super) kind: Kind,
    /// Index of its rule.
    pub(super) rule: Option<usize>,
    /// Every block that begins before has been dealt with: it is gone, or only statistics are left.
    pub(super) done: Timestamp,
}

/// The policy, applied to the series there are.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) policy: RetentionPolicy,
    /// By id.
    pub(super) series: Vec<Series>,
}

impl Rules {
    pub(super) const fn new(policy: RetentionPolicy) -> Self {
        Self { policy, series: Vec::new() }
    }

    pub(super) fn rule(&self, series: &Series) -> Option<&RetentionRule> {
        self.policy.rules.get(series.rule?)
    }

    /// The buckets that stay of a series.
    pub(super) fn buckets(&self, series: &Series) -> Option<KeptBuckets> {
        self.rule(series)?.buckets.filter(|_| series.kind != Kind::Text)
    }

    /// Reads some series that were not there before; returns whether there may be more. A rule once found stays: a series
    /// keeps its device and its name.
    pub(super) fn learn(&mut self, slice: &mut Slice<'_>) -> Result<bool, StoreError> {
        let mut statement = slice.connection.prepare_cached(
            "SELECT series_id, kind, device.id, metric FROM series JOIN device USING (device_key)
             WHERE series_id > ?1 ORDER BY series_id LIMIT ?2",
        )?;
        let after = self.series.last().map_or(i64::MIN, |series| series.id.0);
        let mut rows = statement.query((after, PAGE))?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let kind = row::kind(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
            let (device, metric): (String, String) = (row.get(2)?, row.get(3)?);
            let fits = |rule: &RetentionRule| {
                pattern_matches(&rule.device, &device) && pattern_matches(&rule.metric, &metric)
            };
            let rule = self.policy.rules.iter().position(fits);
            let done = Timestamp(i64::MIN);
            self.series.push(Series { id: SeriesId(row.get(0)?), kind, rule, done });
            count += 1;
            slice.spend(Slice::LOOK);
        }
        Ok(count == PAGE)
    }

    /// A block that begins at this time has come.
    pub(super) fn look_again(&mut self, series: SeriesId, first_at: Timestamp) {
        if let Ok(place) = self.series.binary_search_by_key(&series, |series| series.id) {
            let series = &mut self.series[place];
            series.done = series.done.min(first_at);
        }
    }

    /// Nothing is known of how far any series is dealt with.
    pub(super) fn forget(&mut self) {
        for series in &mut self.series {
            series.done = Timestamp(i64::MIN);
        }
    }

    /// The shortest time after which readings go.
    pub(super) fn shortest(&self) -> Option<i64> {
        self.policy.rules.iter().filter_map(|rule| rule.keep).map(micros).min()
    }

    /// The shortest time after which buckets go.
    pub(super) fn shortest_of_buckets(&self) -> Option<i64> {
        self.policy.rules.iter().filter_map(|rule| rule.buckets?.keep).map(micros).min()
    }

    /// The longest time after which anything goes.
    pub(super) fn longest(&self) -> Option<i64> {
        let times = |rule: &RetentionRule| [rule.keep, rule.buckets.and_then(|buckets| buckets.keep)];
        self.policy.rules.iter().flat_map(times).flatten().map(micros).max()
    }

    /// Time between two marks.
    pub(super) fn mark_interval(&self) -> i64 {
        interval(self.shortest(), Step::H1)
    }
}

/// How often to look at what goes after a time: ten times in that time, but not more often than each second, and at least
/// once in `most`.
pub(super) fn interval(time: Option<i64>, most: Step) -> i64 {
    time.map_or(most.micros(), |time| (time / 10).clamp(Step::S1.micros(), most.micros()))
}
