//! Marks that any thread may set and any task may read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ladder::{Mark, Mono};

/// A shared [`Mark`]; clones are the same mark.
#[derive(Debug, Clone, Default)]
pub struct SharedMark(Arc<Cell>);

#[derive(Debug, Default)]
struct Cell {
    /// Microseconds since boot, plus one; 0 is never.
    last: AtomicU64,
    count: AtomicU64,
}

impl SharedMark {
    /// Progress was made at `now`.
    pub fn touch(&self, now: Mono) {
        let micros = u64::try_from(now.since_boot().as_micros()).unwrap_or(u64::MAX - 1);
        self.0.last.store(micros + 1, Ordering::Relaxed);
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }

    /// What is known by now. Time and count may be of two neighbouring touches.
    pub fn get(&self) -> Mark {
        let last = self.0.last.load(Ordering::Relaxed).checked_sub(1);
        let last = last.map(|micros| Mono::from_boot(Duration::from_micros(micros)));
        Mark { last, count: self.0.count.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_what_was_touched() {
        let mark = SharedMark::default();
        assert_eq!(mark.get(), Mark::default());
        let now = Mono::from_boot(Duration::from_millis(5));
        mark.clone().touch(now);
        assert_eq!(mark.get(), Mark { last: Some(now), count: 1 });
    }
}
