//! When an MJPEG viewer gets its next frame. Pure: it is told the time and what the socket says.
//!
//! The kernel takes whatever is written as long as its buffers have room, so a viewer that reads
//! slower than the frames come sees pictures that waited in them: 12 to 37 s old in every peer
//! measured. A newer frame is therefore sent only while the older ones get through: everything
//! before it was sent, and what the viewer has not acknowledged yet is young enough to be on its
//! way. A viewer that falls behind skips frames, and is never further behind than one of them.

use std::collections::VecDeque;
use std::time::Duration;

use ladder::Mono;

/// How long a frame may be on its way before it counts as stuck: the longest round trip that is
/// usual between continents.
const ON_ITS_WAY: Duration = Duration::from_millis(300);

/// Frames on their way at once. More are not needed for 20 fps over the longest round trip.
const MAX_FRAMES: usize = 8;

/// What the connection says of what was sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// Bytes the kernel has taken so far.
    pub written: u64,
    /// Of them, not acknowledged by the viewer's kernel.
    pub unacknowledged: u64,
    /// Of them, not even sent.
    pub unsent: u64,
}

/// See the module's documentation. It is asked only when the kernel has taken all of the last frame.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last frame was handed over, until it is known where it ends.
    handed: Option<Mono>,
    /// Where frames end, in bytes of the connection, and when they were handed over.
    on_their_way: VecDeque<(u64, Mono)>,
}

impl Pace {
    /// A frame is handed over.
    pub(super) fn handed(&mut self, now: Mono) {
        self.handed = Some(now);
    }

    /// Whether a newer frame may follow.
    pub(super) fn may_send(&mut self, now: Mono, progress: Progress) -> bool {
        if let Some(at) = self.handed.take() {
            self.on_their_way.push_back((progress.written, at));
        }
        let acknowledged = progress.written.saturating_sub(progress.unacknowledged);
        while self.on_their_way.front().is_some_and(|(end, _)| *end <= acknowledged) {
            self.on_their_way.pop_front();
        }
        if progress.unsent > 0 || self.on_their_way.len() >= MAX_FRAMES {
            return false;
        }
        self.on_their_way.front().is_none_or(|(_, at)| now.since(*at) < ON_ITS_WAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::from_boot(Duration::from_millis(100_000 + ms))
    }

    fn line(written: u64, unacknowledged: u64, unsent: u64) -> Progress {
        Progress { written, unacknowledged, unsent }
    }

    #[test]
    fn a_viewer_that_keeps_up_gets_every_frame() {
        let mut pace = Pace::default();
        for frame in 0..100 {
            assert!(pace.may_send(at(frame * 10), line(frame * 50_000, 0, 0)), "{frame}");
            pace.handed(at(frame * 10));
        }
    }

    #[test]
    fn unsent_bytes_hold_the_next_frame_back() {
        let mut pace = Pace::default();
        assert!(pace.may_send(at(0), line(0, 0, 0)));
        pace.handed(at(0));
        assert!(!pace.may_send(at(10), line(50_000, 50_000, 1)));
        assert!(pace.may_send(at(20), line(50_000, 30_000, 0)));
    }

    /// 15 fps to a viewer 200 ms away: three frames are on their way all the time.
    #[test]
    fn a_distant_viewer_gets_every_frame() {
        let mut pace = Pace::default();
        for frame in 0..100_u64 {
            let unacknowledged = frame.min(3) * 50_000;
            assert!(
                pace.may_send(at(frame * 66), line(frame * 50_000, unacknowledged, 0)),
                "{frame}"
            );
            pace.handed(at(frame * 66));
        }
    }

    /// Buffers in the network take everything, and deliver less than that.
    #[test]
    fn frames_do_not_pile_up_in_the_network() {
        let mut pace = Pace::default();
        let (mut sent, mut oldest) = (0_u64, 0_u64);
        for ms in (0..60_000).step_by(10) {
            // 100 bytes per ms get through, 250 would be needed.
            let acknowledged = (ms * 100).min(sent);
            let progress = line(sent, sent - acknowledged, 0);
            if ms % 200 == 0 && pace.may_send(at(ms), progress) {
                pace.handed(at(ms));
                sent += 50_000;
            }
            oldest = oldest.max((sent - acknowledged) / 100);
        }
        assert!(oldest <= 1_500, "{oldest} ms behind");
        assert!(sent > 4_000_000, "{sent} bytes");
    }

    #[test]
    fn what_is_stuck_stays_stuck_until_it_is_acknowledged() {
        let mut pace = Pace::default();
        pace.handed(at(0));
        assert!(pace.may_send(at(299), line(50_000, 50_000, 0)));
        assert!(!pace.may_send(at(300), line(50_000, 50_000, 0)));
        assert!(!pace.may_send(at(3_000), line(50_000, 1, 0)));
        assert!(pace.may_send(at(3_001), line(50_000, 0, 0)));
    }
}
