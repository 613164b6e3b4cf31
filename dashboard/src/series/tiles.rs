//! History as tiles: stretches anchored in absolute time, asked for once and kept, like the tiles of a map.
//!
//! A tile holds [`BUCKETS_PER_TILE`] buckets of one rung, or every reading of one stretch. It knows up to which time
//! it could be complete when it was asked for, and whether something has happened since that it does not know of.

use std::collections::BTreeMap;

use protocol::viewer::Resolution;
use protocol::{Step, Timestamp};

use super::chunk::Chunk;
use super::rollup::Indexed;

/// Buckets in a tile. Chosen: about a screen.
pub const BUCKETS_PER_TILE: i64 = 1_024;
/// The shortest stretch of a tile of single readings. Chosen: at 1 kHz it is a quarter of what a request may return.
pub const RAW_SPAN_MICROS: i64 = 256_000_000;
/// A stale tile is not asked for again sooner than this. Chosen: late readings come in bursts.
pub(super) const REFETCH_MICROS: i64 = 2_000_000;
/// A tile that could not be had is not asked for again sooner than this.
pub(super) const RETRY_MICROS: i64 = 10_000_000;

/// How fine a tile is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Fineness {
    /// Every reading of a stretch of this many microseconds.
    Raw(i64),
    /// Buckets.
    Buckets(Step),
}

impl Fineness {
    /// Width of a tile.
    pub(super) const fn span(self) -> i64 {
        match self {
            Self::Raw(span) => span,
            Self::Buckets(step) => BUCKETS_PER_TILE * step.micros(),
        }
    }

    /// Width of the smallest thing in it.
    pub(super) const fn grain(self) -> i64 {
        match self {
            Self::Raw(_) => 1,
            Self::Buckets(step) => step.micros(),
        }
    }

    /// As the protocol says it.
    pub(super) const fn resolution(self) -> Resolution {
        match self {
            Self::Raw(_) => Resolution::Raw,
            Self::Buckets(step) => Resolution::Buckets(step),
        }
    }
}

/// Which tile of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TileKey {
    pub(super) fineness: Fineness,
    pub(super) index: i64,
}

impl TileKey {
    pub(super) const fn from(self) -> i64 {
        self.index.saturating_mul(self.fineness.span())
    }

    pub(super) const fn to(self) -> i64 {
        self.index.saturating_add(1).saturating_mul(self.fineness.span())
    }
}

/// What a tile holds, ascending.
#[derive(Debug)]
pub(super) enum Content {
    Readings(Chunk),
    Buckets(Vec<Indexed>),
}

impl Content {
    pub(super) fn empty(fineness: Fineness) -> Self {
        match fineness {
            Fineness::Raw(_) => Self::Readings(Chunk::default()),
            Fineness::Buckets(_) => Self::Buckets(Vec::new()),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Readings(readings) => readings.bytes(),
            Self::Buckets(buckets) => buckets.capacity() * size_of::<Indexed>(),
        }
    }

    /// Puts in order what a peer may have sent out of order; of one time or bucket the first stays.
    pub(super) fn settle(&mut self) {
        match self {
            Self::Readings(readings) => {
                readings.settle();
                readings.pack();
            }
            Self::Buckets(buckets) => {
                buckets.sort_by_key(|bucket| bucket.index);
                buckets.dedup_by_key(|bucket| bucket.index);
                buckets.shrink_to_fit();
            }
        }
    }

    /// The readings of `from <= time < to`; none of a tile of buckets.
    pub(super) fn readings(&self, from: i64, to: i64) -> impl DoubleEndedIterator<Item = (i64, f64)> + '_ {
        let readings = match self {
            Self::Readings(readings) => Some(readings.range(from, to)),
            Self::Buckets(_) => None,
        };
        readings.into_iter().flatten()
    }

    /// The number of readings of `from <= time < to`; 0 in a tile of buckets.
    pub(super) fn count(&self, from: i64, to: i64) -> usize {
        match self {
            Self::Readings(readings) => readings.range(from, to).len(),
            Self::Buckets(_) => 0,
        }
    }
}

/// A place for a tile: empty, asked for, filled, or all of these at once.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// What is known.
    pub(super) content: Option<Content>,
    /// The request that is under way.
    pub(super) request: Option<u64>,
    /// When it was last asked for.
    pub(super) asked_at: Option<Timestamp>,
    /// Everything before this time was known to the hub when it answered.
    pub(super) known_to: i64,
    /// Whether the hub may know more of it by now.
    pub(super) is_stale: bool,
    /// The width of the only buckets that retention has left of some readings here.
    pub(super) coarser: Option<Step>,
    /// Whether the last request failed.
    pub(super) has_failed: bool,
    /// The last round in which a view used it.
    pub(super) used: u64,
}

/// The tiles of one series.
#[derive(Debug, Default)]
pub(super) struct Tiles {
    pub(super) slots: BTreeMap<TileKey, Slot>,
}

impl Tiles {
    pub(super) fn content(&self, key: TileKey) -> Option<&Content> {
        self.slots.get(&key).and_then(|slot| slot.content.as_ref())
    }

    /// The tiles of one fineness that overlap `from..to`.
    pub(super) fn keys(fineness: Fineness, from: i64, to: i64) -> impl Iterator<Item = TileKey> {
        let span = fineness.span();
        let end = if to > from { to.saturating_sub(1).div_euclid(span) } else { i64::MIN };
        (from.div_euclid(span)..=end).map(move |index| TileKey { fineness, index })
    }

    /// The coarser tiles that hold what retention has left of `from..to`, with the width of their buckets.
    pub(super) fn left_by_retention(
        &self,
        fineness: Fineness,
        from: i64,
        to: i64,
    ) -> impl Iterator<Item = (TileKey, Step)> {
        let mut found: BTreeMap<TileKey, Step> = BTreeMap::new();
        let is_left = |key: &TileKey| self.slots.get(key).is_some_and(|slot| slot.coarser.is_some());
        let mut looked_at: Vec<TileKey> = Self::keys(fineness, from, to).filter(is_left).collect();
        // What answers that it is coarser still leads on; each rung is coarser than the one before, so it ends.
        while let Some(key) = looked_at.pop() {
            let coarser = self.slots.get(&key).and_then(|slot| slot.coarser);
            let Some(step) = coarser.filter(|step| step.micros() > key.fineness.grain()) else { continue };
            for key in Self::keys(Fineness::Buckets(step), key.from().max(from), key.to().min(to)) {
                if found.insert(key, step).is_none() {
                    looked_at.push(key);
                }
            }
        }
        found.into_iter()
    }

    /// The filled tiles that overlap `from..to`, of every fineness, finest first.
    pub(super) fn filled(&self, from: i64, to: i64) -> impl Iterator<Item = (TileKey, &Content)> {
        self.slots
            .iter()
            .filter(move |(key, _)| key.from() < to && key.to() > from)
            .filter_map(|(key, slot)| slot.content.as_ref().map(|content| (*key, content)))
    }

    /// Marks what overlaps `from..=to` as not knowing all. Returns whether anything was marked.
    pub(super) fn mark_stale(&mut self, from: i64, to: i64, buckets_only: bool) -> bool {
        let mut any = false;
        for (key, slot) in &mut self.slots {
            let counts = !buckets_only || matches!(key.fineness, Fineness::Buckets(_));
            if counts && key.from() <= to && key.to() > from && !slot.is_stale {
                slot.is_stale = true;
                any = true;
            }
        }
        any
    }

    /// Forgets what was asked for and never answered.
    pub(super) fn forget_requests(&mut self) {
        self.slots.retain(|_, slot| {
            slot.request = None;
            slot.content.is_some()
        });
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.values().filter_map(|slot| slot.content.as_ref()).map(Content::bytes).sum()
    }
}
