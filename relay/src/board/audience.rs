//! Who watches a camera: agents may slow down while nobody does. Pure, but for telling those who wait.

use std::time::Duration;

use ladder::Mono;
use tokio::sync::watch;

/// Somebody who asks for still pictures watches until so long after the last one.
const STILL_FOR: Duration = Duration::from_secs(15);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Audience(watch::Sender<Seen>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    streams: u64,
    still: Option<Mono>,
    /// At other relays.
    elsewhere: u64,
}

impl Default for Audience {
    fn default() -> Self {
        Audience(watch::channel(Seen::default()).0)
    }
}

impl Audience {
    /// A stream began, or ended.
    pub(super) fn stream(&self, begins: bool) {
        self.0.send_modify(|seen| {
            seen.streams = if begins { seen.streams + 1 } else { seen.streams.saturating_sub(1) };
        });
    }

    /// Somebody asked for a still picture, or for its state.
    pub(super) fn still(&self, now: Mono) {
        self.0.send_if_modified(|seen| {
            let news = !is_recent(seen.still, now);
            seen.still = Some(now);
            news
        });
    }

    /// So many watch at other relays.
    pub(super) fn elsewhere(&self, viewers: u64) {
        self.0.send_if_modified(|seen| std::mem::replace(&mut seen.elsewhere, viewers) != viewers);
    }

    /// How many watch here; all who ask for still pictures are one.
    pub(super) fn here(&self, now: Mono) -> u64 {
        let seen = *self.0.borrow();
        seen.streams + u64::from(is_recent(seen.still, now))
    }

    /// How many watch at all relays.
    pub(super) fn count(&self, now: Mono) -> u64 {
        self.here(now).saturating_add(self.0.borrow().elsewhere)
    }

    /// Sees that somebody begins or ends; that somebody asks for no more stills, nobody says.
    pub(super) fn changes(&self) -> watch::Receiver<impl Sized + Send + Sync + use<>> {
        self.0.subscribe()
    }
}

fn is_recent(still: Option<Mono>, now: Mono) -> bool {
    still.is_some_and(|at| now.since(at) < STILL_FOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(1_000 + s))
    }

    #[test]
    fn streams_and_stills_are_counted_and_the_first_is_told() {
        let audience = Audience::default();
        let mut changes = audience.changes();
        assert_eq!(audience.count(at(0)), 0);
        audience.still(at(0));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        audience.still(at(10));
        assert!(!changes.has_changed().unwrap(), "that is no news");
        audience.stream(true);
        assert_eq!((audience.count(at(24)), audience.count(at(25))), (2, 1));
        assert!(changes.has_changed().unwrap());
        audience.stream(false);
        assert_eq!(audience.count(at(25)), 0);
        audience.elsewhere(3);
        assert_eq!((audience.here(at(25)), audience.count(at(25))), (0, 3));
    }
}
