//! How soon a frame follows what has arrived.
//!
//! News that come after a quiet time are shown at once; then frames keep the chosen distance. Readings for charts come from
//! the hub at that distance already: they are shown as they come, because whoever waits twice waits longer, and what
//! else comes is shown with them. Where a frame is dear, as where a program makes the pixels, frames keep a greater
//! distance: the window takes at most half a core.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

use crate::link::Waker;
use crate::model::Haste;

/// The longest: numbers that change less often than this feel dead.
const PACE_MAX: Duration = Duration::from_millis(250);
/// While the window cannot be seen.
const PACE_HIDDEN: Duration = Duration::from_secs(1);
/// The part of one core that frames may take: one in so many.
const SHARE: u32 = 2;
/// The shortest wait that is asked for: without any, egui draws twice.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// How soon a frame follows what has arrived, shared with the link's thread.
#[derive(Debug, Clone)]
pub struct Pace(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    epoch: Instant,
    /// Microseconds between two frames, as they may be drawn.
    least: AtomicU64,
    /// The same, as they are wanted.
    between: AtomicU64,
    /// When the last frame began, in microseconds since the epoch.
    begun: AtomicU64,
}

impl Default for Pace {
    fn default() -> Self {
        let shared = Shared { epoch: Instant::now(), least: 0.into(), between: 0.into(), begun: 0.into() };
        Self(Arc::new(shared))
    }
}

impl Pace {
    /// The wanted time between two frames for readings.
    pub fn get(&self) -> Duration {
        Duration::from_micros(self.0.between.load(Ordering::Relaxed))
    }

    fn set(&self, least: Duration, between: Duration) {
        self.0.least.store(least.as_micros() as u64, Ordering::Relaxed);
        self.0.between.store(between.as_micros() as u64, Ordering::Relaxed);
    }

    fn begin(&self, now: Instant) {
        let since = now.saturating_duration_since(self.0.epoch);
        self.0.begun.store(since.as_micros() as u64, Ordering::Relaxed);
    }

    /// How long news that come now have to wait.
    fn wait(&self, now: Instant, haste: Haste) -> Duration {
        let micros = match haste {
            Haste::AtOnce => return Duration::ZERO,
            Haste::Paced => self.0.least.load(Ordering::Relaxed),
            // Half a distance more, so that they come with those that are paced.
            Haste::Usual => self.0.between.load(Ordering::Relaxed) * 3 / 2,
        };
        let begun = Duration::from_micros(self.0.begun.load(Ordering::Relaxed) + micros);
        (self.0.epoch + begun).saturating_duration_since(now).max(WAIT_MIN)
    }

    /// Wakes a window at this pace, or at once for what is urgent.
    pub fn waker(&self, ctx: egui::Context) -> Waker {
        let pace = self.clone();
        Arc::new(move |haste| match pace.wait(Instant::now(), haste) {
            Duration::ZERO => ctx.request_repaint(),
            wait => ctx.request_repaint_after(wait),
        })
    }
}

/// Sets the pace by what frames cost.
#[derive(Debug)]
pub(super) struct Meter {
    pace: Pace,
    last: ProcessTime,
    /// Processor time from one frame to the next, smoothed.
    cost: Duration,
}

impl Meter {
    /// Begins to measure.
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, last: ProcessTime::now(), cost: Duration::ZERO }
    }

    /// The pace that it sets.
    pub(super) const fn pace(&self) -> &Pace {
        &self.pace
    }

    /// A frame begins. `chosen` is the shortest distance that the user wants between two.
    pub(super) fn begin(&mut self, now: Instant, chosen: Duration, is_hidden: bool) {
        let used = ProcessTime::now();
        let cost = used.duration_since(self.last);
        self.last = used;
        self.cost = smooth(self.cost, cost);
        self.pace.begin(now);
        let (least, between) =
            if is_hidden { (PACE_HIDDEN, PACE_HIDDEN) } else { distances(chosen, self.cost) };
        self.pace.set(least, between);
    }
}

/// The mean of the last frames, the newest an eighth of it. One that was very dear counts as [`PACE_MAX`].
fn smooth(mean: Duration, new: Duration) -> Duration {
    (mean * 7 + new.min(PACE_MAX)) / 8
}

/// The distances of frames that cost so much: the least, and the wanted one.
fn distances(chosen: Duration, cost: Duration) -> (Duration, Duration) {
    let least = (cost * SHARE).min(PACE_MAX);
    (least, chosen.max(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn news_after_a_quiet_time_are_shown_at_once_and_others_with_the_readings_that_the_hub_paces() {
        let pace = Pace::default();
        let start = pace.0.epoch;
        pace.set(6 * MS, 30 * MS);
        pace.begin(start + 100 * MS);
        for (haste, after, wait) in [
            (Haste::AtOnce, 101, Duration::ZERO),
            (Haste::Paced, 101, 5 * MS),
            (Haste::Paced, 120, WAIT_MIN),
            (Haste::Usual, 101, 44 * MS),
            (Haste::Usual, 140, 5 * MS),
            (Haste::Usual, 5_000, WAIT_MIN),
        ] {
            assert_eq!(pace.wait(start + after * MS, haste), wait, "{haste:?} {after} ms");
        }
    }

    #[test]
    fn dear_frames_take_at_most_half_a_core_and_never_stop() {
        assert_eq!(distances(33 * MS, 3 * MS), (6 * MS, 33 * MS), "with a graphics card");
        assert_eq!(distances(33 * MS, 60 * MS), (120 * MS, 120 * MS), "pixels by a program");
        assert_eq!(distances(33 * MS, 900 * MS), (PACE_MAX, PACE_MAX));
        assert_eq!(distances(500 * MS, 900 * MS).1, 500 * MS, "whoever wants fewer gets fewer");
    }

    #[test]
    fn one_dear_frame_is_soon_forgotten() {
        let mut mean = smooth(3 * MS, Duration::from_secs(9));
        assert!(mean < 35 * MS, "{mean:?}");
        for _ in 0..20 {
            mean = smooth(mean, 3 * MS);
        }
        assert!(distances(33 * MS, mean).1 == 33 * MS, "{mean:?}");
    }
}
