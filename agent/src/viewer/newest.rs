//! The newest frame, and whether it is live.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use frame::Frame;
use ladder::Mono;
use runtime::clock;
use runtime::slot::Watcher;
use tokio_util::sync::CancellationToken;
use web::freshness::{Limits, Signs, State};

/// As at the relay, so that both say the same of the same camera. There is no connection here that could be
/// lost: the camera is never *offline*.
pub(super) const LIMITS: Limits = Limits { offline_after: Duration::MAX, ..Limits::USUAL };

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Newest(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    signs: Signs,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    frame: Frame,
    /// When it came here, and how old it was then.
    since: Mono,
    age_then: Duration,
}

/// What there is at a moment.
#[derive(Debug)]
pub(super) struct Shown {
    pub frame: Option<Frame>,
    pub state: State,
    /// Of the frame.
    pub age: Duration,
    /// For how long all frames have been the same.
    pub unchanged: Option<Duration>,
    /// An older picture is not live.
    pub patience: Duration,
}

impl Newest {
    /// Takes what the camera's slot holds, until `stop`.
    pub(super) async fn follow(&self, mut frames: Watcher<Frame>, stop: CancellationToken) {
        while let Some(Some(frame)) = stop.run_until_cancelled(frames.next()).await {
            self.put(frame, clock::mono(), clock::wall_us());
        }
        // The camera's end is the agent's affair.
        stop.cancelled().await;
    }

    /// The wall clock is asked once: one that is set later makes no picture older or younger.
    fn put(&self, frame: Frame, now: Mono, wall_us: i64) {
        let age_us = wall_us.saturating_sub(frame.captured.unix_us);
        let age_then = Duration::from_micros(u64::try_from(age_us).unwrap_or_default());
        let mut seen = self.seen();
        seen.signs.shown(now, frame.picture.hash(), frame.may_repeat);
        seen.held = Some(Held { frame, since: now, age_then });
    }

    pub(super) fn at(&self, now: Mono) -> Shown {
        let seen = self.seen();
        let age = |held: &Held| held.age_then.saturating_add(now.since(held.since));
        Shown {
            frame: seen.held.as_ref().map(|held| held.frame.clone()),
            state: seen.signs.state(now, &LIMITS),
            age: seen.held.as_ref().map(age).unwrap_or_default(),
            unchanged: seen.signs.unchanged(now),
            patience: seen.signs.patience(&LIMITS),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use frame::{CameraId, CaptureTime, Picture};

    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(seconds))
    }

    fn frame(seq: u64, unix_s: i64, of: u8) -> Frame {
        let mut bytes = web::asset::NO_PICTURE_YET.to_vec();
        bytes.push(of);
        Frame {
            camera: CameraId::default(),
            seq,
            captured: CaptureTime { unix_us: unix_s * 1_000_000, synchronised: true },
            may_repeat: false,
            picture: Picture::accept(bytes.into()).unwrap(),
        }
    }

    #[test]
    fn a_picture_grows_old_whatever_the_wall_clock_does() {
        let newest = Newest::default();
        assert_eq!(newest.at(at(1)).state, State::Empty);
        newest.put(frame(1, 1_000, 1), at(10), 1_002_000_000);
        let shown = newest.at(at(15));
        assert_eq!((shown.state, shown.age), (State::Live, Duration::from_secs(7)));
        assert_eq!(newest.at(at(21)).state, State::Stale);
        // A clock that was set back meanwhile: no age below zero.
        newest.put(frame(2, 5_000, 2), at(30), 1_000_000_000);
        assert_eq!(newest.at(at(30)).age, Duration::ZERO);
        // It is never offline: nobody is connected here.
        assert_eq!(newest.at(at(100_000)).state, State::Stale);
    }

    #[test]
    fn the_same_picture_again_and_again_is_frozen() {
        let newest = Newest::default();
        for second in 0..20_u64 {
            newest.put(frame(second, 1_000, 7), at(100 + second), 1_000_000_000);
        }
        assert_eq!(newest.at(at(120)).state, State::Frozen);
        newest.put(frame(99, 1_000, 8), at(121), 1_000_000_000);
        assert_eq!(newest.at(at(121)).state, State::Live);
    }
}
