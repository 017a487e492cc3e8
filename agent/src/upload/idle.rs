//! How often a frame is sent while nobody watches. Pure: it is told the time.

use std::time::Duration;

use ladder::Mono;

/// Nobody has watched for so long: somebody who reloads the page should not wait.
const NOBODY_FOR: Duration = Duration::from_secs(30);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Idle {
    /// One frame in so long; `None`: always all of them.
    every: Option<Duration>,
    /// Since when nobody watches; `None` while somebody does, or the relay does not say.
    nobody_since: Option<Mono>,
    sent: Option<Mono>,
}

impl Idle {
    pub(super) fn new(every: Option<Duration>) -> Idle {
        Idle { every, nobody_since: None, sent: None }
    }

    /// Whether the relay is to be asked how many watch.
    pub(super) fn is_wanted(&self) -> bool {
        self.every.is_some()
    }

    /// The relay said how many watch.
    pub(super) fn watched_by(&mut self, viewers: u64, now: Mono) {
        self.nobody_since = (viewers == 0).then(|| self.nobody_since.unwrap_or(now));
    }

    /// The relay that said it is gone.
    pub(super) fn forget(&mut self) {
        self.nobody_since = None;
    }

    pub(super) fn sent(&mut self, now: Mono) {
        self.sent = Some(now);
    }

    /// From when on the next frame may be sent; `None`: at once.
    pub(super) fn next_at(&self, now: Mono) -> Option<Mono> {
        let (every, since, sent) = (self.every?, self.nobody_since?, self.sent?);
        (now.since(since) >= NOBODY_FOR).then(|| sent.after(every))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(1_000 + s))
    }

    #[test]
    fn it_slows_down_when_nobody_watches_and_is_back_at_once() {
        let mut idle = Idle::new(Some(Duration::from_secs(5)));
        idle.sent(at(0));
        assert_eq!(idle.next_at(at(0)), None, "the relay has said nothing");
        idle.watched_by(0, at(0));
        idle.watched_by(0, at(20));
        assert_eq!(idle.next_at(at(29)), None);
        idle.sent(at(29));
        assert_eq!(idle.next_at(at(30)), Some(at(34)));
        idle.watched_by(1, at(31));
        assert_eq!(idle.next_at(at(31)), None);
        idle.watched_by(0, at(40));
        assert_eq!(idle.next_at(at(69)), None, "from the last viewer on");
        assert!(idle.next_at(at(70)).is_some());
        idle.forget();
        assert_eq!(idle.next_at(at(71)), None, "another relay may have viewers");
    }

    #[test]
    fn it_is_off_unless_the_owner_wants_it() {
        let mut idle = Idle::new(None);
        idle.sent(at(0));
        idle.watched_by(0, at(0));
        assert_eq!(idle.next_at(at(1_000)), None);
    }
}
