//! The trial of a new system: whether it is kept. Pure: it is told the time and what is seen.
//!
//! It is kept only if it does the camera's work. Everything that [`Seen`] names has to hold, all of it at once, for
//! [`AT_REST`]; when it has not within [`AT_MOST`], the old system is taken back.

use std::time::Duration;

use ladder::Mono;
use runtime::settings::duration_text;

use crate::record::{Baseline, Failure};

/// How long it may take, from the trial's begin on. A ladder that has something to do is given its time.
pub(crate) const AT_MOST: Duration = Duration::from_secs(600);

/// For how long nothing may be wrong: a driver that fails every other minute is no success.
pub(crate) const AT_REST: Duration = Duration::from_secs(60);

/// What a system on trial has to have. A `bool` says whether it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// All that starts with the system has started.
    pub started: bool,
    /// Units that failed.
    pub failed: Vec<String>,
    /// A new picture came from the camera lately.
    pub frame: bool,
    /// The relay acknowledged one lately.
    pub upload: bool,
    /// The clock is not before the system was made.
    pub clock: bool,
    /// The data partition takes a file, and is no stand-in.
    pub data: bool,
    /// Organs that are being healed.
    pub ill: Vec<String>,
    /// Why healing wants a reboot: there is nothing left that it could do without.
    pub reboot_wanted: Option<String>,
}

/// The organ that only concerns the network.
const WIFI: &str = "wifi";

impl Seen {
    /// What is missing, in words, and whether that is the network alone; nothing if nothing is.
    fn missing(&self, before: &Baseline) -> (Vec<String>, bool) {
        let mut missing = Vec::new();
        let mut network_only = true;
        let mut wanted = |holds: bool, of_network: bool, what: &str| {
            if !holds {
                missing.push(what.to_owned());
                network_only &= of_network;
            }
        };
        wanted(self.started, false, "not all has started");
        wanted(self.frame, false, "no new picture comes from the camera");
        wanted(self.upload || !before.uploads, true, "the relay acknowledged no picture");
        wanted(self.clock, false, "the clock is wrong");
        wanted(self.data, false, "the data partition can't be written to");
        let failed: Vec<&str> = self
            .failed
            .iter()
            .filter(|unit| !before.failed.contains(unit))
            .map(String::as_str)
            .collect();
        wanted(failed.is_empty(), false, &format!("failed: {}", failed.join(", ")));
        for organ in &self.ill {
            let of_network = organ == WIFI;
            // Where the relay need not answer, nobody waits for the network to be healed.
            let excused = of_network && !before.uploads;
            wanted(excused, of_network, &format!("{organ} is being healed"));
        }
        if let Some(why) = &self.reboot_wanted {
            let of_network = self.ill == [WIFI];
            wanted(false, of_network, &format!("healing wants a reboot, because {why}"));
        }
        (missing, network_only)
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Look again.
    Wait,
    /// Keep it.
    Keep,
    /// Take the old system back.
    TakeBack(Failure),
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Trial {
    began: Mono,
    before: Baseline,
    /// Since when nothing has been missing.
    whole: Option<Mono>,
    missing: Vec<String>,
}

impl Trial {
    pub(crate) fn begin(now: Mono, before: Baseline) -> Trial {
        Trial { began: now, before, whole: None, missing: Vec::new() }
    }

    /// What was missing when it was last looked at.
    pub(crate) fn missing(&self) -> &[String] {
        &self.missing
    }

    /// What becomes of it.
    pub(crate) fn judge(&mut self, now: Mono, seen: &Seen) -> Verdict {
        let (missing, network_only) = seen.missing(&self.before);
        self.missing = missing;
        if self.missing.is_empty() {
            let since = *self.whole.get_or_insert(now);
            if now.since(since) >= AT_REST {
                return Verdict::Keep;
            }
        } else {
            self.whole = None;
        }
        let lasted = now.since(self.began);
        if lasted < AT_MOST && seen.reboot_wanted.is_none() {
            return Verdict::Wait;
        }
        let why = match self.missing.join("; ") {
            missing if missing.is_empty() => {
                "nothing was wrong, but not for long enough".to_owned()
            }
            missing => missing,
        };
        let why = format!("after {}: {why}", duration_text(Duration::from_secs(lasted.as_secs())));
        Verdict::TakeBack(Failure { why, network_only: network_only && !self.missing.is_empty() })
    }
}

/// For how long the old system, back again, may look for the network that the new one did not find.
const DOUBT: Duration = Duration::from_secs(600);

/// Whose fault it was that a new system found no network, once the old one is back for `back`: `Some(true)`, its own,
/// because the old one has it; `Some(false)`, nobody's; `None`: that is not known yet.
pub(crate) fn was_at_fault(back: Duration, upload: bool) -> Option<bool> {
    if upload {
        Some(true)
    } else if back >= DOUBT {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(seconds))
    }

    fn uploads() -> Baseline {
        Baseline { uploads: true, failed: Vec::new() }
    }

    fn whole() -> Seen {
        Seen {
            started: true,
            frame: true,
            upload: true,
            clock: true,
            data: true,
            ..Seen::default()
        }
    }

    #[test]
    fn it_is_kept_once_nothing_was_wrong_for_a_minute() {
        let mut trial = Trial::begin(at(20), uploads());
        assert_eq!(trial.judge(at(21), &Seen::default()), Verdict::Wait);
        assert_eq!(trial.judge(at(40), &whole()), Verdict::Wait);
        assert_eq!(trial.judge(at(99), &whole()), Verdict::Wait);
        assert_eq!(trial.judge(at(100), &whole()), Verdict::Keep);
    }

    #[test]
    fn a_minute_begins_anew_with_each_trouble() {
        let mut trial = Trial::begin(at(0), uploads());
        let mut now = 0;
        // A camera that fails every 50 s never has its minute.
        let verdict = loop {
            now += 1;
            let seen = Seen { frame: now % 50 != 0, ..whole() };
            match trial.judge(at(now), &seen) {
                Verdict::Wait => {}
                verdict @ (Verdict::Keep | Verdict::TakeBack(_)) => break verdict,
            }
        };
        assert_eq!(now, AT_MOST.as_secs());
        assert!(matches!(verdict, Verdict::TakeBack(it) if it.why.contains("no new picture")));
    }

    fn judged(seen: &Seen, before: Baseline) -> Verdict {
        let mut trial = Trial::begin(at(5), before);
        for now in [6, 300, 604] {
            match trial.judge(at(now), seen) {
                Verdict::Wait => {}
                verdict @ (Verdict::Keep | Verdict::TakeBack(_)) => return verdict,
            }
        }
        trial.judge(at(605), seen)
    }

    #[test]
    fn each_thing_that_is_missing_takes_it_back_and_is_named() {
        let cases: [(Seen, &str, bool); 8] = [
            (Seen { started: false, ..whole() }, "not all has started", false),
            (Seen { failed: vec!["a.service".to_owned()], ..whole() }, "failed: a.service", false),
            (Seen { frame: false, ..whole() }, "no new picture", false),
            (Seen { upload: false, ..whole() }, "the relay acknowledged no picture", true),
            (Seen { clock: false, ..whole() }, "the clock is wrong", false),
            (Seen { data: false, ..whole() }, "the data partition", false),
            (Seen { ill: vec!["camera".to_owned()], ..whole() }, "camera is being healed", false),
            (Seen { ill: vec!["wifi".to_owned()], ..whole() }, "wifi is being healed", true),
        ];
        for (seen, named, network) in cases {
            let verdict = judged(&seen, uploads());
            let Verdict::TakeBack(Failure { why, network_only }) = &verdict else {
                panic!("{verdict:?}");
            };
            assert!(why.contains(named), "{why}");
            assert_eq!(*network_only, network, "{why}");
        }
        let both = Seen { upload: false, frame: false, ..whole() };
        assert!(matches!(judged(&both, uploads()), Verdict::TakeBack(it) if !it.network_only));
    }

    #[test]
    fn where_nothing_but_a_reboot_is_left_nobody_waits() {
        let mut trial = Trial::begin(at(0), uploads());
        let seen = Seen { reboot_wanted: Some("the agent does not stay up".to_owned()), ..whole() };
        let Verdict::TakeBack(Failure { why, network_only }) = trial.judge(at(90), &seen) else {
            panic!();
        };
        assert_eq!(why, "after 1m 30s: healing wants a reboot, because the agent does not stay up");
        assert!(!network_only);
        let seen = Seen { ill: vec!["wifi".to_owned()], ..seen };
        let verdict = trial.judge(at(91), &seen);
        assert!(matches!(verdict, Verdict::TakeBack(it) if it.network_only));
    }

    #[test]
    fn what_did_not_work_before_need_not_now() {
        let seen = Seen {
            upload: false,
            ill: vec!["wifi".to_owned()],
            failed: vec!["old.service".to_owned()],
            ..whole()
        };
        let before = Baseline { uploads: false, failed: vec!["old.service".to_owned()] };
        assert_eq!(judged(&seen, before), Verdict::Keep);
    }

    #[test]
    fn whose_fault_it_was_is_seen_by_the_old_system() {
        let seconds = Duration::from_secs;
        assert_eq!(was_at_fault(seconds(30), false), None);
        assert_eq!(was_at_fault(seconds(40), true), Some(true));
        assert_eq!(was_at_fault(DOUBT, false), Some(false));
    }
}
