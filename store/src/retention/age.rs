//! Retention by age: a pass over all series, some of them in each slice.

use protocol::{Position, Step, Timestamp};
use rusqlite::Connection;

use super::rules::{Rules, interval, micros};
use super::running::Running;
use super::{Retained, Slice, thin};
use crate::block::{Meta, shelf};
use crate::error::StoreError;
use crate::history::overlapping;

/// Blocks of a series that are read at once.
const PAGE: usize = 200;

/// What goes: blocks whose last reading was observed before `observed`, and received at or before `position`.
#[derive(Debug, Clone, Copy)]
struct Limit {
    observed: Timestamp,
    position: i64,
}

impl Limit {
    const NONE: Self = Self { observed: Timestamp(i64::MIN), position: 0 };

    fn of(connection: &Connection, running: &Running, now: Timestamp, age: i64) -> Result<Self, StoreError> {
        Ok(Self { observed: now.plus_micros(-age), position: running.received_before(connection, age)? })
    }

    fn takes(&self, block: &Meta) -> bool {
        block.last_at < self.observed && block.position <= self.position
    }
}

/// A pass over all series, or the time until the next.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// Place of the next series; `None`: no pass is under way.
    at: Option<usize>,
    /// Where to go on within that series.
    within: Option<Timestamp>,
    /// Whether this pass looks at what is left of blocks too.
    buckets: bool,
    /// The limits of each rule: readings, buckets.
    limits: Vec<(Limit, Limit)>,
    /// Running time of the next pass, and of the next one that looks at buckets.
    next: i64,
    next_buckets: i64,
    done: Retained,
}

impl Pass {
    /// Whether there is something to do.
    pub(super) fn is_due(&self, rules: &Rules, running: &Running) -> bool {
        rules.shortest().is_some() && (self.at.is_some() || running.ran >= self.next)
    }

    /// Tries again later, from the beginning.
    pub(super) fn put_off(&mut self, running: &Running) {
        *self = Self {
            next: running.ran + Step::M1.micros(),
            next_buckets: self.next_buckets,
            ..Self::default()
        };
    }

    fn begin(
        &mut self,
        connection: &Connection,
        rules: &Rules,
        running: &Running,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.limits.clear();
        for rule in &rules.policy.rules {
            let limit = |age: Option<_>| match age {
                Some(age) => Limit::of(connection, running, now, micros(age)),
                None => Ok(Limit::NONE),
            };
            self.limits.push((limit(rule.keep)?, limit(rule.buckets.and_then(|buckets| buckets.keep))?));
        }
        self.buckets = running.ran >= self.next_buckets;
        self.at = Some(0);
        self.within = None;
        self.done = Retained::default();
        Ok(())
    }

    /// Does a part of a pass; returns whether more of it is left.
    pub(super) fn run(
        &mut self,
        slice: &mut Slice<'_>,
        rules: &mut Rules,
        running: &Running,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if self.at.is_none() {
            self.begin(slice.connection, rules, running, now)?;
        }
        let mut more = true;
        while more && !slice.is_spent() {
            let at = self.at.unwrap_or_default();
            if at >= rules.series.len() && !rules.learn(slice)? && at >= rules.series.len() {
                more = false;
            } else if self.look(slice, rules, at)? {
                self.at = Some(at + 1);
                self.within = None;
            }
        }
        self.done.add(&slice.retained);
        if !more {
            self.at = None;
            self.next = running.ran + interval(rules.shortest(), Step::H1);
            if self.buckets {
                self.next_buckets = running.ran + interval(rules.shortest_of_buckets(), Step::D1);
            }
            let Retained { removed, thinned, blocks, .. } = self.done;
            if blocks > 0 {
                tracing::info!(removed, thinned, blocks, "retention: what was too old has gone");
            }
        }
        Ok(more)
    }

    /// Deals with one series, a day of it at a time; returns whether it is done with.
    fn look(&mut self, slice: &mut Slice<'_>, rules: &mut Rules, at: usize) -> Result<bool, StoreError> {
        slice.spend(1);
        let Some(series) = rules.series.get(at) else { return Ok(true) };
        let Some((limit, of_buckets)) = series.rule.and_then(|rule| self.limits.get(rule)).copied() else {
            return Ok(true);
        };
        if self.within.is_none() && limit.position > 0 {
            empty(slice, rules, at, limit)?;
        }
        let series = &rules.series[at];
        let kept = rules.buckets(series);
        let from = match self.within {
            Some(within) => within,
            None => {
                let from = if self.buckets && kept.is_some() { Timestamp(i64::MIN) } else { series.done };
                if from >= limit.observed {
                    return Ok(true);
                }
                // From here on it only gets earlier: by what is found undone, and by what is sealed meanwhile.
                rules.series[at].done = Timestamp(i64::MAX);
                from
            }
        };
        let series = &mut rules.series[at];
        slice.spend(Slice::LOOK);
        let first = thin::first(slice, series.id, from)?;
        let Some(first) = first.filter(|first| *first < limit.observed) else {
            series.done = series.done.min(limit.observed);
            return Ok(true);
        };
        self.within = Some(thin::end_of_day(first));
        let Some((blocks, next)) = thin::day(slice, series.id, first, PAGE)? else {
            series.done = series.done.min(first);
            return Ok(false);
        };
        self.within = Some(next);
        // At least one block is dealt with, however much there was to look at.
        let mut acted = false;

        let gone = if kept.is_some() { of_buckets } else { limit };
        let mut left = Vec::new();
        for block in blocks {
            if gone.takes(&block) {
                if acted && slice.is_spent() {
                    // With what was passed over for thinning.
                    self.within = Some(left.first().map_or(block.first_at, |left: &Meta| left.first_at));
                    return Ok(false);
                }
                acted = true;
                thin::remove(slice, series.id, &block)?;
            } else if kept.is_none() || block.step.is_none() {
                left.push(block);
            }
        }
        let mut left = &left[..];
        while let Some(earliest) = left.first() {
            if acted && slice.is_spent() {
                self.within = Some(earliest.first_at);
                return Ok(false);
            }
            acted = true;
            let (group, _) = overlapping(left);
            left = &left[group.len()..];
            let thinned = match kept {
                // Only together: which of two readings at the same microsecond counts is not known afterwards.
                Some(kept) if group.iter().all(|block| limit.takes(block)) => {
                    thin::thin(slice, (series.id, series.kind), kept.step, group)?
                }
                _ => false,
            };
            if !thinned {
                series.done = series.done.min(earliest.first_at);
            }
        }
        Ok(false)
    }
}

/// Makes blocks of the bundles of a series that have something to go, and of those before them.
fn empty(slice: &mut Slice<'_>, rules: &mut Rules, at: usize, limit: Limit) -> Result<(), StoreError> {
    let series = rules.series[at].id;
    let shelf = shelf::shelf_of(series);
    let upto: Option<i64> = slice
        .connection
        .prepare_cached(
            "SELECT max(position) FROM bundle
             WHERE shelf = ?1 AND series & ?2 AND first_at < ?3 AND position <= ?4",
        )?
        .query_row((shelf, shelf::bit_of(series), limit.observed.0, limit.position), |row| row.get(0))?;
    match upto {
        Some(upto) => slice.empty(rules, shelf, Position(upto)).map(drop),
        None => Ok(()),
    }
}
