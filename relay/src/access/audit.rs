//! Lines of the journal about access: who came from where, and who guesses. Bounded, whoever does what.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use frame::CameraId;
use ladder::Mono;
use runtime::event::{About, Event};
use web::serve::site;

/// Lines about one kind of event in [`WINDOW`]; those beyond are counted, and told with the next one.
const MAX_LINES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);

/// So long an address that came is no news; and so many are remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
const MAX_REMEMBERED: usize = 8_192;

/// How many lines there were lately. Pure.
#[derive(Debug, Default)]
struct Lines {
    since: Mono,
    said: u32,
    left_out: u64,
}

impl Lines {
    /// Whether there may be one more, and how many were left out before it.
    fn one(&mut self, now: Mono) -> Option<u64> {
        if self.said == 0 || now.since(self.since) >= WINDOW {
            (self.since, self.said) = (now, 0);
        }
        if self.said >= MAX_LINES {
            self.left_out += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

type Coming = (&'static str, Option<CameraId>, IpAddr);

/// Who came lately. Pure.
#[derive(Debug, Default)]
struct Seen(HashMap<Coming, Mono>);

impl Seen {
    /// Whether it is news.
    fn come(&mut self, who: Coming, now: Mono) -> bool {
        let is_new = |at: &Mono| now.since(*at) >= REMEMBERED;
        let news = self.0.get(&who).is_none_or(is_new);
        if self.0.len() >= MAX_REMEMBERED && !self.0.contains_key(&who) {
            self.0.retain(|_, at| !is_new(at));
            let oldest = self.0.iter().min_by_key(|(_, at)| **at).map(|(who, _)| who.clone());
            if let Some(oldest) = oldest.filter(|_| self.0.len() >= MAX_REMEMBERED) {
                self.0.remove(&oldest);
            }
        }
        self.0.insert(who, now);
        news
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Audit {
    lines: Mutex<HashMap<Event, Lines>>,
    seen: Mutex<Seen>,
}

impl Audit {
    /// Writes a line, if there were not too many of its kind.
    pub(super) fn say(
        &self,
        event: Event,
        camera: Option<&CameraId>,
        peer: Option<IpAddr>,
        now: Mono,
        sentence: fmt::Arguments<'_>,
    ) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(left_out) = lines.entry(event).or_default().one(now) else { return };
        drop(lines);
        let about = About { camera: camera.map(CameraId::as_str), peer, ..About::organ("access") };
        match left_out {
            0 => event.say(about, sentence),
            n => event
                .say(about, format_args!("{sentence} (before it, {n} such lines were left out)")),
        }
    }

    /// Writes a line if nobody came from this address for a day.
    pub(super) fn came(
        &self,
        event: Event,
        camera: Option<&CameraId>,
        peer: IpAddr,
        now: Mono,
        sentence: fmt::Arguments<'_>,
    ) {
        let who = (event.name(), camera.cloned(), site(peer));
        let news = self.seen.lock().unwrap_or_else(PoisonError::into_inner).come(who, now);
        if news {
            self.say(event, camera, Some(peer), now, sentence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(1_000 + s))
    }

    #[test]
    fn lines_are_bounded_and_what_is_left_out_is_counted() {
        let mut lines = Lines::default();
        let said = (0..1_000).filter(|_| lines.one(at(0)).is_some()).count();
        assert_eq!((said, lines.one(at(59))), (20, None));
        assert_eq!(lines.one(at(60)), Some(981));
        assert_eq!(lines.one(at(61)), Some(0));
    }

    #[test]
    fn who_came_is_news_once_a_day_and_takes_no_memory() {
        let mut seen = Seen::default();
        let who = |n: u32| ("a", None, IpAddr::from(n.to_be_bytes()));
        assert!(seen.come(who(1), at(0)) && !seen.come(who(1), at(86_399)));
        assert!(!seen.come(who(1), at(100_000)), "it was there a while ago");
        assert!(seen.come(who(1), at(200_000)));
        assert!(seen.come(("a", Some(CameraId::default()), who(1).2), at(200_000)));
        for n in 0..10_000 {
            seen.come(who(n), at(200_001));
        }
        assert_eq!(seen.0.len(), MAX_REMEMBERED);
    }
}
