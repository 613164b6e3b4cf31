//! How soon a frame follows what has arrived.
//!
//! News that come after a quiet time are shown at once; then frames keep the chosen distance. Where a frame is dear, as
//! where a program makes the pixels, they keep a greater one: the window takes at most half a core.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

use crate::link::Waker;

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
    /// Microseconds between two frames.
    between: AtomicU64,
    /// When the last frame began, in microseconds since the epoch.
    begun: AtomicU64,
}

impl Default for Pace {
    fn default() -> Self {
        let shared = Shared { epoch: Instant::now(), between: 0.into(), begun: 0.into() };
        Self(Arc::new(shared))
    }
}

impl Pace {
    /// The shortest time between two frames for readings.
    pub fn get(&self) -> Duration {
        Duration::from_micros(self.0.between.load(Ordering::Relaxed))
    }

    fn set(&self, between: Duration) {
        self.0.between.store(between.as_micros() as u64, Ordering::Relaxed);
    }

    fn begin(&self, now: Instant) {
        let since = now.saturating_duration_since(self.0.epoch);
        self.0.begun.store(since.as_micros() as u64, Ordering::Relaxed);
    }

    /// How long news that come now have to wait.
    fn wait(&self, now: Instant) -> Duration {
        let begun = self.0.epoch + Duration::from_micros(self.0.begun.load(Ordering::Relaxed));
        (begun + self.get()).saturating_duration_since(now).max(WAIT_MIN)
    }

    /// Wakes a window at this pace, or at once for what is urgent.
    pub fn waker(&self, ctx: egui::Context) -> Waker {
        let pace = self.clone();
        Arc::new(move |urgent| {
            if urgent {
                ctx.request_repaint();
            } else {
                ctx.request_repaint_after(pace.wait(Instant::now()));
            }
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
        self.pace.set(if is_hidden { PACE_HIDDEN } else { between(chosen, self.cost) });
    }
}

/// The mean of the last frames, the newest an eighth of it. One that was very dear counts as [`PACE_MAX`].
fn smooth(mean: Duration, new: Duration) -> Duration {
    (mean * 7 + new.min(PACE_MAX)) / 8
}

/// The distance of frames that cost so much.
fn between(chosen: Duration, cost: Duration) -> Duration {
    chosen.max((cost * SHARE).min(PACE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn news_after_a_quiet_time_are_shown_at_once_and_others_at_the_chosen_distance() {
        let pace = Pace::default();
        let start = pace.0.epoch;
        pace.set(33 * MS);
        pace.begin(start + 100 * MS);
        assert_eq!(pace.wait(start + 110 * MS), 23 * MS);
        assert_eq!(pace.wait(start + 133 * MS), WAIT_MIN);
        assert_eq!(pace.wait(start + 5_000 * MS), WAIT_MIN);
    }

    #[test]
    fn dear_frames_take_at_most_half_a_core_and_never_stop() {
        assert_eq!(between(33 * MS, 3 * MS), 33 * MS, "with a graphics card");
        assert_eq!(between(33 * MS, 60 * MS), 120 * MS, "pixels by a program");
        assert_eq!(between(33 * MS, 900 * MS), PACE_MAX);
        assert_eq!(between(500 * MS, 900 * MS), 500 * MS, "whoever wants fewer gets fewer");
    }

    #[test]
    fn one_dear_frame_is_soon_forgotten() {
        let mut mean = smooth(3 * MS, Duration::from_secs(9));
        assert!(mean < 35 * MS, "{mean:?}");
        for _ in 0..20 {
            mean = smooth(mean, 3 * MS);
        }
        assert!(between(33 * MS, mean) == 33 * MS, "{mean:?}");
    }
}
