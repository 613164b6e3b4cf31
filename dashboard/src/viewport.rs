//! Which stretch of time is shown: following the newest data, or paused somewhere.
//!
//! All charts share one viewport. It is pure arithmetic: the hub's clock is an argument. A view is never narrower than
//! [`MIN_SPAN_MICROS`] nor wider than [`MAX_SPAN_MICROS`] and never leaves the years 1970 to 2100.

use protocol::Timestamp;

/// The narrowest view: 1 ms. Chosen: a thousand columns of a microsecond, which is as fine as time gets here.
pub const MIN_SPAN_MICROS: i64 = 1_000;
/// The widest view: 20 years. Chosen: longer than any hub has run.
pub const MAX_SPAN_MICROS: i64 = 20 * 366 * 86_400_000_000;
/// How far the right edge stays behind the hub's clock while following, so that a reading is there before the edge
/// passes it. Chosen: a message every 100 ms, the fsync before it, and a slow frame.
pub const LATENCY_MICROS: i64 = 300_000;
/// The width of the first view: 5 minutes.
pub const DEFAULT_WIDTH_MICROS: i64 = 5 * 60_000_000;
/// A zoom at or right of this share of the view keeps following. Chosen: people aim at the line's end, not at its pixel.
const KEEP_FOLLOWING_SHARE: f64 = 0.9;
/// Movements closer together than this are one step for [`Viewport::back`].
const ONE_GESTURE_MICROS: i64 = 800_000;
/// Views that [`Viewport::back`] remembers.
const HISTORY_MAX: usize = 64;

/// Following or paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// The right edge is the newest data.
    Follow {
        /// Microseconds shown.
        width: i64,
    },
    /// The view stands still; data go on arriving.
    Paused {
        /// Left edge.
        from: Timestamp,
        /// Right edge.
        to: Timestamp,
    },
}

/// The shared view, and the views before and after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewport {
    view: View,
    back: Vec<View>,
    forward: Vec<View>,
    moved_at: Option<Timestamp>,
}

impl Default for Viewport {
    fn default() -> Self {
        Self::new(View::Follow { width: DEFAULT_WIDTH_MICROS })
    }
}

impl Viewport {
    /// Begins at `view`, made to fit the limits.
    pub fn new(view: View) -> Self {
        let view = match view {
            View::Follow { width } => View::Follow { width: clamp_span(width) },
            View::Paused { from, to } => {
                let (from, to) = clamp_range(from, to);
                View::Paused { from, to }
            }
        };
        Self { view, back: Vec::new(), forward: Vec::new(), moved_at: None }
    }

    /// Following or paused.
    pub const fn view(&self) -> View {
        self.view
    }

    /// Whether the right edge is the newest data.
    pub const fn is_following(&self) -> bool {
        matches!(self.view, View::Follow { .. })
    }

    /// Microseconds shown.
    pub const fn width(&self) -> i64 {
        match self.view {
            View::Follow { width } => width,
            View::Paused { from, to } => to.micros_since(from),
        }
    }

    /// What is shown when the hub's clock says `now`.
    pub fn range(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        match self.view {
            View::Follow { width } => {
                let to = live_edge(now);
                (to.plus_micros(-width), to)
            }
            View::Paused { from, to } => (from, to),
        }
    }

    /// Shows `factor` times as much, keeping `at` at its place.
    ///
    /// A view that follows goes on doing so when it is zoomed near its right edge, or when it grows past now.
    pub fn zoom(&mut self, at: Timestamp, factor: f64, now: Timestamp) {
        if !factor.is_finite() || factor <= 0.0 {
            return;
        }
        let (from, to) = self.range(now);
        let width = to.micros_since(from);
        let share = at.micros_since(from) as f64 / width.max(1) as f64;
        let new_width = clamp_span((width as f64 * factor) as i64);
        self.remember(now);
        if self.is_following() && (share >= KEEP_FOLLOWING_SHARE || factor >= 1.0) {
            self.view = View::Follow { width: new_width };
            return;
        }
        let share = share.clamp(0.0, 1.0);
        let new_from = at.plus_micros(-((new_width as f64 * share) as i64));
        self.stand(new_from, new_from.plus_micros(new_width), now);
    }

    /// Moves by `micros`; negative is back in time. Moving past now follows again.
    pub fn pan(&mut self, micros: i64, now: Timestamp) {
        if micros == 0 || (self.is_following() && micros > 0) {
            return;
        }
        let (from, to) = self.range(now);
        self.remember(now);
        let edge = live_edge(now);
        if micros > 0 && to.plus_micros(micros) >= edge && to <= edge {
            self.view = View::Follow { width: to.micros_since(from) };
        } else {
            self.stand(from.plus_micros(micros), to.plus_micros(micros), now);
        }
    }

    /// Shows exactly this stretch, paused.
    pub fn show(&mut self, from: Timestamp, to: Timestamp, now: Timestamp) {
        self.remember(now);
        self.stand(from.min(to), from.max(to), now);
    }

    /// Follows the newest data with this many microseconds.
    pub fn show_up_to_now(&mut self, width: i64, now: Timestamp) {
        self.remember(now);
        self.view = View::Follow { width: clamp_span(width) };
    }

    /// How far the right edge is behind the newest data, in microseconds; 0 while following.
    pub fn behind(&self, now: Timestamp) -> i64 {
        live_edge(now).micros_since(self.range(now).1).max(0)
    }

    /// Shows this many microseconds: up to now while following, else around the middle of the view.
    pub fn set_width(&mut self, width: i64, now: Timestamp) {
        let width = clamp_span(width);
        self.remember(now);
        match self.view {
            View::Follow { .. } => self.view = View::Follow { width },
            View::Paused { from, to } => {
                let middle = from.plus_micros(to.micros_since(from) / 2);
                let from = middle.plus_micros(-width / 2);
                self.stand(from, from.plus_micros(width), now);
            }
        }
    }

    /// Follows the newest data with the width of the view.
    pub fn follow(&mut self, now: Timestamp) {
        if !self.is_following() {
            self.remember(now);
            self.view = View::Follow { width: clamp_span(self.width()) };
        }
    }

    /// Stands still where the view is.
    pub fn pause(&mut self, now: Timestamp) {
        if self.is_following() {
            let (from, to) = self.range(now);
            self.remember(now);
            self.view = View::Paused { from, to };
        }
    }

    /// Goes to the view before this one.
    pub fn back(&mut self) {
        if let Some(view) = self.back.pop() {
            self.forward.push(std::mem::replace(&mut self.view, view));
            self.moved_at = None;
        }
    }

    /// Goes to the view that [`Viewport::back`] came from.
    pub fn forward(&mut self) {
        if let Some(view) = self.forward.pop() {
            self.back.push(std::mem::replace(&mut self.view, view));
            self.moved_at = None;
        }
    }

    /// Whether [`Viewport::back`] leads anywhere.
    pub const fn can_go_back(&self) -> bool {
        !self.back.is_empty()
    }

    /// Whether [`Viewport::forward`] leads anywhere.
    pub const fn can_go_forward(&self) -> bool {
        !self.forward.is_empty()
    }

    fn stand(&mut self, from: Timestamp, to: Timestamp, now: Timestamp) {
        let (from, to) = clamp_range(from, to);
        // A view wholly after now would be empty for ever: keep its last tenth on what is known.
        let width = to.micros_since(from);
        let latest_from = now.plus_micros(-width / 10);
        let from = from.min(latest_from.max(Timestamp::MIN_READING));
        self.view = View::Paused { from, to: from.plus_micros(width) };
    }

    fn remember(&mut self, now: Timestamp) {
        let same_gesture =
            self.moved_at.is_some_and(|at| (0..ONE_GESTURE_MICROS).contains(&now.micros_since(at)));
        self.moved_at = Some(now);
        if same_gesture {
            return;
        }
        self.forward.clear();
        if self.back.len() == HISTORY_MAX {
            self.back.remove(0);
        }
        self.back.push(self.view);
    }
}

const fn live_edge(now: Timestamp) -> Timestamp {
    now.plus_micros(-LATENCY_MICROS)
}

fn clamp_span(width: i64) -> i64 {
    width.clamp(MIN_SPAN_MICROS, MAX_SPAN_MICROS)
}

fn clamp_range(from: Timestamp, to: Timestamp) -> (Timestamp, Timestamp) {
    let width = clamp_span(to.micros_since(from));
    let latest = Timestamp::END_READING.plus_micros(-width);
    let from = from.clamp(Timestamp::MIN_READING, latest);
    (from, from.plus_micros(width))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_750_000_000_000_000);
    const MINUTE: i64 = 60_000_000;

    fn later(micros: i64) -> Timestamp {
        NOW.plus_micros(micros)
    }

    #[test]
    fn following_ends_a_little_before_now_and_moves_with_it() {
        let viewport = Viewport::default();
        assert_eq!(
            viewport.range(NOW),
            (later(-LATENCY_MICROS - DEFAULT_WIDTH_MICROS), later(-LATENCY_MICROS))
        );
        assert_eq!(viewport.range(later(MINUTE)).1, later(MINUTE - LATENCY_MICROS));
    }

    #[test]
    fn zooming_in_at_a_place_pauses_and_keeps_the_place() {
        let mut viewport = Viewport::default();
        let (from, _) = viewport.range(NOW);
        let at = from.plus_micros(DEFAULT_WIDTH_MICROS / 4);
        viewport.zoom(at, 0.5, NOW);
        assert!(!viewport.is_following());
        let (from, to) = viewport.range(NOW);
        assert_eq!(to.micros_since(from), DEFAULT_WIDTH_MICROS / 2);
        assert_eq!(at.micros_since(from), DEFAULT_WIDTH_MICROS / 8);
    }

    #[test]
    fn zooming_at_the_live_edge_goes_on_following() {
        let mut viewport = Viewport::default();
        viewport.zoom(later(-MINUTE / 10), 0.5, NOW);
        assert_eq!(viewport.view(), View::Follow { width: DEFAULT_WIDTH_MICROS / 2 });
        viewport.zoom(later(-2 * MINUTE), 4.0, NOW);
        assert_eq!(viewport.view(), View::Follow { width: DEFAULT_WIDTH_MICROS * 2 });
    }

    #[test]
    fn panning_back_pauses_and_panning_past_now_follows() {
        let mut viewport = Viewport::default();
        viewport.pan(-MINUTE, NOW);
        assert!(!viewport.is_following());
        viewport.pan(MINUTE / 2, NOW);
        assert!(!viewport.is_following());
        viewport.pan(MINUTE, NOW);
        assert_eq!(viewport.view(), View::Follow { width: DEFAULT_WIDTH_MICROS });
    }

    #[test]
    fn a_paused_view_falls_behind_and_going_back_to_live_is_a_step_like_any_other() {
        let mut viewport = Viewport::default();
        assert_eq!(viewport.behind(NOW), 0);
        viewport.pause(NOW);
        assert_eq!(viewport.behind(later(2 * MINUTE)), 2 * MINUTE);
        viewport.show_up_to_now(MINUTE, later(2 * MINUTE));
        assert_eq!(
            (viewport.view(), viewport.behind(later(3 * MINUTE))),
            (View::Follow { width: MINUTE }, 0)
        );
        viewport.back();
        assert_eq!(viewport.behind(later(3 * MINUTE)), 3 * MINUTE);
    }

    #[test]
    fn a_gesture_is_one_step_back() {
        let mut viewport = Viewport::default();
        for step in 0..20 {
            viewport.pan(-1_000_000, later(step * 16_000));
        }
        let after = viewport.view();
        viewport.back();
        assert_eq!(viewport.view(), View::Follow { width: DEFAULT_WIDTH_MICROS });
        assert!(!viewport.can_go_back());
        viewport.forward();
        assert_eq!(viewport.view(), after);
    }

    proptest! {
        #[test]
        fn no_sequence_of_movements_leaves_the_limits(
            moves in prop::collection::vec((0..6u8, any::<i64>(), 1e-12f64..1e12), 1..40),
        ) {
            let mut viewport = Viewport::default();
            let mut now = NOW;
            for (kind, micros, factor) in moves {
                let at = now.plus_micros(micros % (400 * MINUTE));
                match kind {
                    0 => viewport.zoom(at, factor, now),
                    1 => viewport.pan(micros, now),
                    2 => viewport.set_width(micros, now),
                    3 => viewport.show(Timestamp(micros), at, now),
                    4 => viewport.back(),
                    _ => viewport.follow(now),
                }
                now = now.plus_micros(1_000_000);
                let (from, to) = viewport.range(now);
                let width = to.micros_since(from);
                prop_assert!((MIN_SPAN_MICROS..=MAX_SPAN_MICROS).contains(&width), "{viewport:?}");
                if !viewport.is_following() {
                    prop_assert!(from >= Timestamp::MIN_READING, "{viewport:?}");
                    prop_assert!(to <= Timestamp::END_READING.plus_micros(MAX_SPAN_MICROS), "{viewport:?}");
                }
            }
        }
    }
}
