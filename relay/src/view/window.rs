//! When a WebSocket viewer gets its next frame: when it has drawn the last one. Pure.
//!
//! A second frame may be on its way meanwhile if the viewer is quick, so that distance does not cost
//! frames; a viewer on a slow line would only get it later than a newer one that is sent when it has
//! drawn.

use std::time::Duration;

use ladder::Mono;

/// From sending a frame to hearing that it is drawn: a viewer within this is quick.
const QUICK: Duration = Duration::from_millis(400);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Frames that were sent and not drawn yet, and when: never more than two.
    in_flight: [Option<(u64, Mono)>; 2],
    quick: bool,
}

impl Window {
    pub(super) fn may_send(&self) -> bool {
        match self.in_flight {
            [None, None] => true,
            [Some(_), None] => self.quick,
            _ => false,
        }
    }

    pub(super) fn sent(&mut self, seq: u64, now: Mono) {
        match &mut self.in_flight {
            [first @ None, _] => *first = Some((seq, now)),
            [_, second] => *second = Some((seq, now)),
        }
    }

    /// The viewer has drawn `seq`, and with it all before.
    pub(super) fn ready(&mut self, seq: u64, now: Mono) {
        let quick = |at: Mono| now.since(at) <= QUICK;
        match self.in_flight {
            [_, Some((second, at))] if second == seq => {
                self.quick = quick(at);
                self.in_flight = [None, None];
            }
            [Some((first, at)), second] if first == seq => {
                self.quick = quick(at);
                self.in_flight = [second, None];
            }
            // Of a frame that is long drawn, or was never sent.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::from_boot(Duration::from_millis(1_000 + ms))
    }

    #[test]
    fn a_quick_viewer_may_have_two_on_their_way() {
        let mut window = Window::default();
        assert!(window.may_send());
        window.sent(1, at(0));
        assert!(!window.may_send(), "nobody knows yet whether it is quick");
        window.ready(1, at(100));
        window.sent(2, at(100));
        assert!(window.may_send());
        window.sent(3, at(200));
        assert!(!window.may_send());
        window.ready(2, at(300));
        assert!(window.may_send());
        window.ready(3, at(300));
        assert_eq!(window.in_flight, [None, None]);
    }

    #[test]
    fn a_slow_viewer_gets_one_at_a_time() {
        let mut window = Window::default();
        window.sent(1, at(0));
        window.ready(1, at(500));
        window.sent(2, at(500));
        assert!(!window.may_send());
    }

    #[test]
    fn what_was_never_sent_opens_nothing() {
        let mut window = Window::default();
        window.sent(1, at(0));
        for seq in [0, 2, u64::MAX] {
            window.ready(seq, at(10));
        }
        assert!(!window.may_send());
        window.ready(1, at(20));
        window.ready(1, at(30));
        assert!(window.may_send());
    }

    #[test]
    fn one_word_for_two_frames() {
        let mut window = Window::default();
        window.sent(1, at(0));
        window.ready(1, at(10));
        window.sent(2, at(20));
        window.sent(3, at(30));
        window.ready(3, at(40));
        assert_eq!(window.in_flight, [None, None]);
    }
}
