//! How many bytes may be on their way to the bus, or from it, at the same time: as many as come through within a second.
//! More would be a queue, and what stands in it grows old; heartbeats stand in it, too. Pure.

use std::time::Duration;

/// A thin link carries that much in a second: two small pictures.
const MIN: usize = 128 << 10;

/// At the beginning, when nobody knows the link: a thin one carries it in a second or two. On a good one it grows with
/// each answer.
const FIRST: usize = 256 << 10;

/// Pictures under way are memory.
const MAX: usize = 64 << 20;

/// An answer that takes longer waited for others.
const SLOW: Duration = Duration::from_millis(750);

/// After one that took less, there is room for more.
const FAST: Duration = Duration::from_millis(250);

/// Things under way at the same time, however small.
const MOST: usize = 256;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Window {
    limit: usize,
    bytes: usize,
    count: usize,
    /// It was reached since the last answer.
    full: bool,
}

impl Default for Window {
    fn default() -> Self {
        Window { limit: FIRST, bytes: 0, count: 0, full: false }
    }
}

impl Window {
    /// Whether there is room; one has it always.
    pub(super) fn has_room(&mut self) -> bool {
        let room = self.count == 0 || (self.bytes < self.limit && self.count < MOST);
        self.full |= !room;
        room
    }

    pub(super) fn is_idle(&self) -> bool {
        self.count == 0
    }

    /// So many bytes are on their way.
    pub(super) fn begin(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.count += 1;
    }

    /// They came through, or did not, and it took so long.
    pub(super) fn end(&mut self, bytes: usize, took: Duration) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.count = self.count.saturating_sub(1);
        if took > SLOW {
            self.limit = (self.limit / 2).max(MIN);
        } else if took < FAST && std::mem::take(&mut self.full) {
            self.limit = self.limit.saturating_add(bytes.max(MIN / 2)).min(MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link of so many bytes a second, always full: the longest that anything took once it had settled.
    fn settled(bytes_per_second: f64, size: usize) -> Duration {
        let mut window = Window::default();
        let (mut now, mut free_at, mut longest) = (0.0_f64, 0.0_f64, 0.0_f64);
        let mut under_way = std::collections::VecDeque::new();
        for turn in 0..3_000 {
            while window.has_room() {
                window.begin(size);
                free_at = free_at.max(now) + size as f64 / bytes_per_second;
                under_way.push_back((now, free_at));
            }
            let (begun, through) = under_way.pop_front().unwrap();
            now = now.max(through);
            window.end(size, Duration::from_secs_f64(now - begun));
            if turn > 1_000 {
                longest = longest.max(now - begun);
            }
        }
        Duration::from_secs_f64(longest)
    }

    #[test]
    fn what_is_under_way_is_through_within_about_a_second() {
        for rate in [200e3, 1e6, 10e6, 100e6] {
            let longest = settled(rate, 80_000);
            assert!(longest < Duration::from_millis(1_300), "{rate}: {longest:?}");
        }
        // A picture that takes longer by itself is alone.
        assert!(settled(50e3, 400_000) < Duration::from_secs(17));
    }

    #[test]
    fn a_good_link_is_used() {
        let mut window = Window::default();
        for _ in 0..2_000 {
            let mut begun = 0;
            while window.has_room() {
                window.begin(50_000);
                begun += 1;
            }
            for _ in 0..begun {
                window.end(50_000, Duration::from_millis(3));
            }
        }
        let mut begun = 0;
        while window.has_room() {
            window.begin(50_000);
            begun += 1;
        }
        assert_eq!(begun, MOST);
    }
}
