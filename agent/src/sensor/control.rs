//! What a thin link asks of a camera's own encoder: a lower quality there costs nothing, and loses
//! less than encoding a second time.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Between the upload, which wishes, and the source, which grants what it can. Pure, but for its
/// lock.
#[derive(Debug, Default)]
pub(crate) struct EncoderControl(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    wish: Option<u8>,
    /// The first frames of the last two changes, and their quality; the newest last.
    granted: [(u64, Option<u8>); 2],
}

impl EncoderControl {
    /// The JPEG quality that would be good now; `None`: the configured one.
    pub(crate) fn wish(&self, quality: Option<u8>) {
        self.state().wish = quality;
    }

    /// What is wished.
    pub(super) fn wished(&self) -> Option<u8> {
        self.state().wish
    }

    /// From the frame `seq` on, the source encodes with this quality.
    pub(super) fn grant(&self, seq: u64, quality: Option<u8>) {
        let mut state = self.state();
        let [_, last] = state.granted;
        state.granted = [last, (seq, quality)];
    }

    /// What the frame `seq` was encoded with for the link's sake; `None`: nothing was done for it.
    pub(crate) fn quality_of(&self, seq: u64) -> Option<u8> {
        let state = self.state();
        let granted = state.granted.iter().rev().find(|(first, _)| *first <= seq);
        granted.and_then(|(_, quality)| *quality)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frame_is_known_by_what_was_granted_when_it_was_taken() {
        let control = EncoderControl::default();
        assert_eq!((control.wished(), control.quality_of(1)), (None, None));
        control.wish(Some(50));
        assert_eq!((control.wished(), control.quality_of(1)), (Some(50), None), "only a wish");
        control.grant(10, Some(50));
        control.grant(20, None);
        let found: Vec<_> = [9, 10, 19, 20].map(|seq| control.quality_of(seq)).to_vec();
        assert_eq!(found, [None, Some(50), Some(50), None]);
    }
}
