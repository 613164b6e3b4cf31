//! What the window measures of itself: how soon it shows something, and how long a reading waits to be painted.
//!
//! Pure bookkeeping, without a clock of its own. A frame is painted when its processor time has passed after its begin;
//! what the screen does after that cannot be seen from here.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Waits that are remembered: an hour of frames at the fastest pace.
const WAITS_MAX: usize = 100_000;

/// The figures of one run.
#[derive(Debug)]
pub struct Figures {
    started: Instant,
    first_frame: Option<Duration>,
    first_data: Option<Duration>,
    frame: Option<Frame>,
    waits: VecDeque<Duration>,
}

/// The frame that is being drawn.
#[derive(Debug)]
struct Frame {
    begun: Instant,
    /// When the oldest reading in it arrived.
    arrived: Option<Instant>,
    has_data: bool,
}

/// The figures as they are said at the end.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Summary {
    /// From the start of the program to the first frame, in milliseconds.
    pub first_frame_ms: Option<f64>,
    /// From the start of the program to the first frame with readings on a chart, in milliseconds.
    pub first_data_ms: Option<f64>,
    /// Frames that showed something new.
    pub frames: usize,
    /// From the arrival of a frame's oldest news to the end of its painting, in milliseconds: the median.
    pub painted_p50_ms: Option<f64>,
    /// The same, of the slowest in a hundred.
    pub painted_p99_ms: Option<f64>,
}

impl Figures {
    /// Begins; the program was started then.
    pub const fn new(started: Instant) -> Self {
        Self { started, first_frame: None, first_data: None, frame: None, waits: VecDeque::new() }
    }

    /// A frame begins, and shows what has arrived since `arrived`.
    pub const fn begin(&mut self, begun: Instant, arrived: Option<Instant>) {
        self.frame = Some(Frame { begun, arrived, has_data: false });
    }

    /// The frame shows readings on a chart.
    pub const fn shows_data(&mut self) {
        if let Some(frame) = &mut self.frame {
            frame.has_data = true;
        }
    }

    /// The frame took so long to draw and to paint.
    pub fn painted(&mut self, took: Duration) {
        let Some(Frame { begun, arrived, has_data }) = self.frame.take() else { return };
        let end = begun + took;
        let since_start = end.saturating_duration_since(self.started);
        self.first_frame.get_or_insert(since_start);
        if has_data {
            self.first_data.get_or_insert(since_start);
        }
        if let Some(arrived) = arrived {
            if self.waits.len() == WAITS_MAX {
                self.waits.pop_front();
            }
            self.waits.push_back(end.saturating_duration_since(arrived));
        }
    }

    /// Measures waits anew.
    pub fn forget_waits(&mut self) {
        self.waits.clear();
    }

    /// All of it.
    pub fn summary(&self) -> Summary {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let mut waits: Vec<Duration> = self.waits.iter().copied().collect();
        waits.sort_unstable();
        let at = |percent: usize| waits.get(waits.len() * percent / 100).copied().map(millis);
        Summary {
            first_frame_ms: self.first_frame.map(millis),
            first_data_ms: self.first_data.map(millis),
            frames: waits.len(),
            painted_p50_ms: at(50),
            painted_p99_ms: at(99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_its_frame_is_painted_and_not_when_it_begins() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut figures = Figures::new(start);
        figures.begin(at(100), None);
        figures.painted(Duration::from_millis(20));
        for i in 0..100 {
            figures.begin(at(200 + i * 40), Some(at(190 + i * 40)));
            figures.shows_data();
            figures.painted(Duration::from_millis(if i == 50 { 60 } else { 5 }));
        }
        assert_eq!(
            figures.summary(),
            Summary {
                first_frame_ms: Some(120.0),
                first_data_ms: Some(205.0),
                frames: 100,
                painted_p50_ms: Some(15.0),
                painted_p99_ms: Some(70.0),
            }
        );
    }
}
