//! So many bytes in a second for all downloads together. Pure.

use std::time::Duration;

use ladder::Mono;

/// Most that is sent at once.
const PIECE: u64 = 64 << 10;

/// Whoever wants to send gets the next free time. Each has one piece at most on its way, so all get on equally.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// What was promised is sent by then.
    free_at: Option<Mono>,
}

/// How large a piece is: no second without one.
pub(crate) fn piece(max_rate: u64) -> u64 {
    PIECE.min(max_rate.max(1))
}

impl Pace {
    /// How long to wait before so many bytes may be sent.
    pub(crate) fn reserve(&mut self, now: Mono, bytes: u64, max_rate: u64) -> Duration {
        let begins = self.free_at.filter(|at| *at > now).unwrap_or(now);
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(max_rate.max(1));
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.free_at = Some(begins.after(takes));
        begins.since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 1 << 20;

    fn at(ms: u64) -> Mono {
        Mono::from_boot(Duration::from_millis(5_000 + ms))
    }

    /// Sends for 10 s with so many at the same time; each takes its next piece when the last is gone.
    fn sent(takers: usize, piece: u64) -> Vec<u64> {
        let mut pace = Pace::default();
        let mut sent = vec![0; takers];
        let mut next: Vec<Mono> = sent.iter().map(|_| at(0)).collect();
        loop {
            let (taker, now) = next.iter().copied().enumerate().min_by_key(|(_, at)| *at).unwrap();
            if now >= at(10_000) {
                return sent;
            }
            next[taker] = now.after(pace.reserve(now, piece, RATE));
            if next[taker] == now {
                next[taker] = now.after(Duration::from_micros(1));
            }
            sent[taker] += piece;
        }
    }

    #[test]
    fn all_together_get_the_rate_and_each_the_same() {
        for takers in [1, 3, 8] {
            let sent = sent(takers, piece(RATE));
            let all: u64 = sent.iter().sum();
            let room = (takers as u64 + 2) * PIECE;
            assert!(all.abs_diff(10 * RATE) <= room, "{takers}: {all}");
            let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
            assert!(most - least <= 2 * PIECE, "{sent:?}");
        }
    }

    #[test]
    fn who_comes_after_a_rest_waits_for_nobody_and_saves_nothing_up() {
        let mut pace = Pace::default();
        assert_eq!(pace.reserve(at(0), RATE, RATE), Duration::ZERO);
        assert_eq!(pace.reserve(at(0), RATE, RATE), Duration::from_secs(1));
        assert_eq!(pace.reserve(at(60_000), RATE, RATE), Duration::ZERO);
        assert_eq!(pace.reserve(at(60_000), RATE, RATE), Duration::from_secs(1));
    }

    #[test]
    fn the_lowest_rate_has_small_pieces() {
        assert_eq!((piece(1 << 10), piece(4 << 20), piece(0)), (1 << 10, PIECE, 1));
    }
}
