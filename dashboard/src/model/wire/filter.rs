//! Which rows are shown: by words, by who sent them, by what they belong to, and those that break a rule.

use protocol::frame;
use protocol::wire::{Event, Frame, Side};

use super::Row;

/// What a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Readings and what the hub says of them.
    Readings,
    /// Commands and what the device says of them.
    Commands,
    /// Pings, pongs and closes.
    Control,
}

impl Class {
    /// All, in their order.
    pub const ALL: [Self; 3] = [Self::Readings, Self::Commands, Self::Control];

    /// In words.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Readings => "Readings",
            Self::Commands => "Commands",
            Self::Control => "Control",
        }
    }

    fn of(frame: &Frame) -> Option<Self> {
        if matches!(frame.opcode, frame::PING | frame::PONG | frame::CLOSE) {
            return Some(Self::Control);
        }
        match frame.message.as_ref()?.kind.as_str() {
            "readings" | "skip" | "ack" | "refuse" => Some(Self::Readings),
            "command" | "cancel" | "command_update" => Some(Self::Commands),
            _ => None,
        }
    }
}

/// Which rows are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Words that stand in it; `#41` is the frame of that number.
    pub text: String,
    /// Who sent it.
    pub from: Option<Side>,
    /// What it belongs to.
    pub class: Option<Class>,
    /// Only what breaks a rule.
    pub problems: bool,
}

impl Filter {
    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it shows a row.
    pub(super) fn fits(&self, row: &Row, words: &str) -> bool {
        let Some(record) = row.record() else { return words.is_empty() && !self.problems };
        match &record.event {
            Event::Frame(frame) => {
                self.from.is_none_or(|side| side == frame.from)
                    && self.class.is_none_or(|class| Class::of(frame) == Some(class))
                    && (!self.problems || !frame.problems.is_empty())
                    && is_about(frame, words)
            }
            Event::Opened(handshake) => {
                self.shows_connections()
                    && (says("connection made", words)
                        || says(&record.session, words)
                        || says(&handshake.request, words)
                        || says(&handshake.response, words)
                        || says(&handshake.address, words))
            }
            Event::Ended(ended) => {
                let close = ended.close.as_ref();
                self.shows_connections()
                    && (says("connection ended", words)
                        || says(ended.by.as_str(), words)
                        || says(&record.session, words)
                        || close.is_some_and(|c| says(&c.reason, words) || c.code.to_string() == words))
            }
        }
    }

    fn shows_connections(&self) -> bool {
        self.from.is_none() && self.class.is_none() && !self.problems
    }
}

/// Whether small `words` stand in a text, however it is written.
fn says(text: &str, words: &str) -> bool {
    words.is_empty() || text.to_lowercase().contains(words)
}

fn is_about(frame: &Frame, words: &str) -> bool {
    if words.is_empty() {
        return true;
    }
    if let Some(number) = words.strip_prefix('#').and_then(|number| number.parse::<u64>().ok()) {
        return frame.n == number;
    }
    let message = frame.message.as_ref();
    let close = frame.close.as_ref();
    frame.kind().contains(words)
        || message.is_some_and(|message| says(&message.kind, words))
        || frame.text.as_ref().is_some_and(|text| says(text, words))
        || frame.hex.as_ref().is_some_and(|hex| hex.contains(words))
        || close.is_some_and(|close| says(&close.reason, words) || close.code.to_string() == words)
        || frame.problems.iter().any(|problem| says(problem, words))
}
