//! A mark: the last progress of a loop or of a stage in a frame's life.

use std::time::Duration;

use crate::Mono;

/// When something last made progress, and how often it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// The last time, if there was one.
    pub last: Option<Mono>,
    /// How many times since the program began.
    pub count: u64,
}

impl Mark {
    /// How long ago the last progress was; `None` before the first.
    pub fn age(&self, now: Mono) -> Option<Duration> {
        self.last.map(|last| now.since(last))
    }
}
