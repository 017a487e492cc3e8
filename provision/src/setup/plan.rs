//! When the setup access point opens, closes, gives way and comes back. Pure: it is told the time and
//! what is seen, and says what to do next.
//!
//! * It looks for networks before it opens: most radios hear little while they are an access point.
//! * It closes [`OPEN_FOR`] after it was opened first, or after somebody last sent something, but in no
//!   case later than [`AT_MOST`]: a radio that is open is one that can be attacked.
//! * What was sent is tried, and kept only if its WiFi works. If not, the access point is back, and says
//!   why: a mistyped password locks nobody out.

use std::time::Duration;

use ladder::Mono;

/// For a person who has to find the phone's WiFi settings and the relay's password.
pub(crate) const OPEN_FOR: Duration = Duration::from_secs(600);

/// However often something is sent.
const AT_MOST: Duration = Duration::from_secs(3600);

/// How long a network may take to let us in and give an address. Bad reception costs several attempts of
/// some 10 s, a slow router's DHCP another 10 s.
const TRY_FOR: Duration = Duration::from_secs(90);

/// A password that is refused may have been heard badly: it counts as wrong after a second attempt.
const REFUSED_FOR: Duration = Duration::from_secs(25);

/// What failed is tried again after so long.
const RETRY: Duration = Duration::from_secs(10);

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Look for networks.
    Scan,
    /// Be an access point.
    Open,
    /// Be none, and join the network that was chosen.
    Try,
    /// Keep what was sent, and let it come into force.
    Keep,
    /// Be no access point any more, and end.
    Close,
}

/// What somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Scan,
    /// `wifi`: a network was chosen; else there is a cable.
    Try {
        wifi: bool,
    },
}

/// How the network that was chosen takes us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Link {
    /// It was heard.
    pub heard: bool,
    /// It let us not in: most often the password is wrong.
    pub refused: bool,
    /// It let us in.
    pub connected: bool,
    /// We have an address in it.
    pub address: bool,
}

/// What is seen at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seen {
    /// The radio is there.
    pub radio: bool,
    pub wish: Option<Wish>,
    /// While a network is tried.
    pub link: Link,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is no radio, or nothing was done yet.
    Waiting,
    Scanned,
    Open,
    Trying,
    /// It works, and is to be kept.
    Working,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Plan {
    phase: Phase,
    started: Mono,
    /// Since when it has been in this phase.
    since: Mono,
    /// When it was opened first.
    opened: Option<Mono>,
    /// When somebody last sent something, or it was opened first.
    touched: Mono,
    trouble: Option<String>,
    /// Of the last attempt, in this phase.
    failed: Option<Mono>,
}

impl Plan {
    pub(crate) fn new(now: Mono) -> Plan {
        Plan {
            phase: Phase::Waiting,
            started: now,
            since: now,
            opened: None,
            touched: now,
            trouble: None,
            failed: None,
        }
    }

    /// Why the last attempt failed, for the page.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Whether somebody may ask for something.
    pub(crate) fn takes_wishes(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether what was chosen is being tried.
    pub(crate) fn is_trying(&self) -> bool {
        self.phase == Phase::Trying
    }

    /// Until it closes.
    pub(crate) fn left(&self, now: Mono) -> Duration {
        let longest = AT_MOST.saturating_sub(now.since(self.opened.unwrap_or(self.started)));
        OPEN_FOR.saturating_sub(now.since(self.touched)).min(longest)
    }

    /// What to do now.
    pub(crate) fn next(&mut self, now: Mono, seen: Seen) -> Option<Act> {
        let rests = self.failed.is_some_and(|failed| now.since(failed) < RETRY);
        match self.phase {
            // What is being tried has a time of its own; what works is kept whatever the time is.
            Phase::Trying => self.judge(now, seen.link),
            Phase::Working => Some(Act::Keep),
            _ if self.left(now) == Duration::ZERO => Some(Act::Close),
            _ if !seen.radio => {
                // Its driver may be on its way, or was loaded anew.
                self.enter(now, Phase::Waiting);
                None
            }
            _ if rests => None,
            Phase::Waiting => Some(Act::Scan),
            Phase::Scanned => Some(Act::Open),
            Phase::Open => match seen.wish? {
                Wish::Scan => Some(Act::Scan),
                Wish::Try { wifi } => {
                    self.touched = now;
                    self.trouble = None;
                    if wifi {
                        return Some(Act::Try);
                    }
                    self.enter(now, Phase::Working);
                    Some(Act::Keep)
                }
            },
        }
    }

    /// What came of an act. One that failed is tried again.
    pub(crate) fn did(&mut self, now: Mono, act: Act, outcome: Result<(), String>) {
        match (act, outcome) {
            // Names can be typed in.
            (Act::Scan, _) => self.enter(now, Phase::Scanned),
            (Act::Open, Ok(())) => {
                if self.opened.is_none() {
                    self.opened = Some(now);
                    self.touched = now;
                }
                self.enter(now, Phase::Open);
            }
            (Act::Try, Ok(())) => self.enter(now, Phase::Trying),
            (Act::Try, Err(why)) => self.give_up(now, why),
            (Act::Keep, Err(why)) => {
                self.give_up(now, format!("it works, but can't be kept: {why}"));
            }
            (Act::Open, Err(_)) => self.failed = Some(now),
            // Then it ends.
            (Act::Keep, Ok(())) | (Act::Close, _) => {}
        }
    }

    fn enter(&mut self, now: Mono, phase: Phase) {
        if self.phase != phase {
            (self.phase, self.since, self.failed) = (phase, now, None);
        }
    }

    /// Back to the access point; what was heard before still holds.
    fn give_up(&mut self, now: Mono, why: String) {
        self.trouble = Some(why);
        self.touched = now;
        self.enter(now, Phase::Scanned);
    }

    fn judge(&mut self, now: Mono, link: Link) -> Option<Act> {
        let lasted = now.since(self.since);
        if link.connected && link.address {
            self.enter(now, Phase::Working);
            return Some(Act::Keep);
        }
        let is_refused = link.refused && !link.connected && lasted >= REFUSED_FOR;
        if lasted < TRY_FOR && !is_refused {
            return None;
        }
        let why = if link.connected {
            "it lets the camera in, but gives it no address: is its DHCP on?"
        } else if is_refused || link.refused {
            "it does not let the camera in: is its password right?"
        } else if link.heard {
            "it was heard, but does not answer: the camera may be too far away"
        } else {
            "no network of that name was heard: is it spelt right, and near enough?"
        };
        self.give_up(now, why.to_owned());
        Some(Act::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A radio whose acts succeed unless told otherwise, and a clock.
    struct Bench {
        plan: Plan,
        now: u64,
        seen: Seen,
        done: Vec<Act>,
        fails: Option<Act>,
    }

    impl Bench {
        fn new() -> Bench {
            let plan = Plan::new(at(0));
            let seen = Seen { radio: true, ..Seen::default() };
            Bench { plan, now: 0, seen, done: Vec::new(), fails: None }
        }

        /// Lets `seconds` go by; what was done meanwhile.
        fn goes_on(&mut self, seconds: u64) -> Vec<Act> {
            self.done.clear();
            for _ in 0..seconds {
                self.turn();
                self.now += 1;
            }
            self.done.clone()
        }

        fn turn(&mut self) {
            if let Some(act) = self.plan.next(at(self.now), self.seen) {
                self.seen.wish = None;
                self.done.push(act);
                let outcome =
                    if self.fails == Some(act) { Err("broken".to_owned()) } else { Ok(()) };
                self.plan.did(at(self.now), act, outcome);
            }
        }

        fn wishes(&mut self, wish: Wish) {
            assert!(self.plan.takes_wishes());
            self.seen.wish = Some(wish);
        }
    }

    fn at(seconds: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(1_000 + seconds))
    }

    const WIFI: Wish = Wish::Try { wifi: true };

    #[test]
    fn it_looks_then_opens_and_closes_after_ten_minutes() {
        let mut bench = Bench::new();
        assert_eq!(bench.goes_on(5), [Act::Scan, Act::Open]);
        assert_eq!(bench.goes_on(590), []);
        assert_eq!(bench.goes_on(10).first(), Some(&Act::Close));
    }

    #[test]
    fn what_works_is_kept() {
        let mut bench = Bench::new();
        bench.goes_on(5);
        bench.wishes(WIFI);
        assert_eq!(bench.goes_on(10), [Act::Try]);
        bench.seen.link = Link { heard: true, connected: true, ..Link::default() };
        assert_eq!(bench.goes_on(20), []);
        bench.seen.link.address = true;
        assert_eq!(bench.goes_on(1), [Act::Keep]);
    }

    #[test]
    fn by_cable_there_is_nothing_to_try() {
        let mut bench = Bench::new();
        bench.goes_on(5);
        bench.wishes(Wish::Try { wifi: false });
        assert_eq!(bench.goes_on(1), [Act::Keep]);
    }

    #[test]
    fn a_wrong_password_brings_it_back_with_the_reason_and_time_to_correct_it() {
        let mut bench = Bench::new();
        bench.goes_on(595);
        bench.wishes(WIFI);
        bench.seen.link = Link { heard: true, refused: true, ..Link::default() };
        assert_eq!(bench.goes_on(20), [Act::Try]);
        assert_eq!(bench.goes_on(10), [Act::Open]);
        assert!(bench.plan.trouble().is_some_and(|why| why.contains("is its password right?")));
        assert_eq!(bench.goes_on(590), []);
        bench.wishes(WIFI);
        bench.goes_on(1);
        assert_eq!(bench.plan.trouble(), None);
    }

    #[test]
    fn each_way_of_not_working_has_its_words_and_its_end() {
        for (link, says) in [
            (Link::default(), "no network of that name"),
            (Link { heard: true, ..Link::default() }, "too far away"),
            (Link { heard: true, connected: true, ..Link::default() }, "no address"),
        ] {
            let mut bench = Bench::new();
            bench.goes_on(5);
            bench.wishes(WIFI);
            bench.seen.link = link;
            assert_eq!(bench.goes_on(100), [Act::Try, Act::Open]);
            assert!(bench.plan.trouble().is_some_and(|why| why.contains(says)), "{link:?}");
        }
    }

    #[test]
    fn nobody_keeps_it_open_for_ever() {
        let mut bench = Bench::new();
        let mut closed = None;
        for minute in 0..120 {
            if bench.goes_on(60).contains(&Act::Close) {
                closed = Some(minute);
                break;
            }
            if bench.plan.takes_wishes() {
                bench.wishes(WIFI);
            }
        }
        assert!(closed.is_some_and(|minute| (59..=62).contains(&minute)), "{closed:?}");
    }

    #[test]
    fn what_can_not_be_kept_is_told_and_what_fails_is_tried_again_at_its_pace() {
        let mut bench = Bench::new();
        bench.fails = Some(Act::Open);
        let tries = bench.goes_on(60);
        assert_eq!(tries.len(), 1 + 6, "{tries:?}");
        bench.fails = Some(Act::Keep);
        bench.goes_on(10);
        bench.wishes(Wish::Try { wifi: false });
        assert_eq!(bench.goes_on(5), [Act::Keep, Act::Open]);
        assert!(bench.plan.trouble().is_some_and(|why| why.contains("can't be kept: broken")));
    }

    #[test]
    fn a_radio_that_comes_late_is_waited_for_and_one_that_never_comes_is_not() {
        let mut bench = Bench::new();
        bench.seen.radio = false;
        assert_eq!(bench.goes_on(100), []);
        bench.seen.radio = true;
        assert_eq!(bench.goes_on(3), [Act::Scan, Act::Open]);
        // Its driver is loaded anew.
        bench.seen.radio = false;
        bench.goes_on(3);
        bench.seen.radio = true;
        assert_eq!(bench.goes_on(3), [Act::Scan, Act::Open]);
        let mut bench = Bench::new();
        bench.seen.radio = false;
        assert_eq!(bench.goes_on(601).last(), Some(&Act::Close));
    }

    #[test]
    fn looking_again_takes_no_more_time_than_there_was() {
        let mut bench = Bench::new();
        bench.goes_on(300);
        bench.wishes(Wish::Scan);
        assert_eq!(bench.goes_on(3), [Act::Scan, Act::Open]);
        assert_eq!(bench.goes_on(299), [Act::Close]);
    }
}
