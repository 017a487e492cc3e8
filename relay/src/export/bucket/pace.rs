//! When which object is uploaded. Pure: it is told the time.
//!
//! Each object is a slot: while one upload of it is under way, newer pictures replace each other on the board, and the
//! next upload takes the newest. Whoever waited longest is next. While the bucket is in trouble, one at a time tries.

use std::collections::BTreeMap;
use std::time::Duration;

use ladder::{Backoff, Mono};

/// So many uploads are under way at once: each holds a picture in memory.
pub(super) const AT_ONCE: usize = 8;

/// How long nothing is tried while the bucket is in trouble: at first, and at most.
const REST: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// How an upload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// This version is stored now.
    Stored(u64),
    /// There is nothing to store of this version.
    LeftOut(u64),
    /// The bucket is in trouble.
    Failed,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Pace {
    every: Duration,
    objects: BTreeMap<String, Object>,
    under_way: usize,
    /// Until when nothing is tried, while the bucket is in trouble.
    rests: Option<Mono>,
    backoff: Backoff,
}

#[derive(Debug, Default)]
struct Object {
    /// The version that is stored.
    has: Option<u64>,
    began: Option<Mono>,
    under_way: bool,
}

impl Pace {
    /// Each object at most once in `every`.
    pub(super) fn new(every: Duration, seed: u64) -> Pace {
        let backoff = Backoff::new(REST.0, REST.1, seed);
        Pace { every, objects: BTreeMap::new(), under_way: 0, rests: None, backoff }
    }

    /// Which of these objects are to be uploaded now, given the version each of them has here: all that are returned have
    /// begun.
    pub(super) fn begin(&mut self, here: &BTreeMap<String, u64>, now: Mono) -> Vec<String> {
        // What is not to be there any more needs no slot.
        self.objects.retain(|name, object| object.under_way || here.contains_key(name));
        let may = match self.rests {
            None => AT_ONCE.saturating_sub(self.under_way),
            Some(until) => usize::from(now >= until && self.under_way == 0),
        };
        let mut due: Vec<(Option<Mono>, &String)> = Vec::new();
        for (name, version) in here {
            let object = self.objects.entry(name.clone()).or_default();
            let waited = object.began.is_none_or(|began| now.since(began) >= self.every);
            // Who failed tries again as soon as the bucket may be tried.
            let waited = waited || self.rests.is_some();
            if waited && !object.under_way && object.has != Some(*version) {
                due.push((object.began, name));
            }
        }
        due.sort();
        let begun: Vec<String> = due.into_iter().take(may).map(|(_, name)| name.clone()).collect();
        for name in &begun {
            let object = self.objects.entry(name.clone()).or_default();
            (object.began, object.under_way) = (Some(now), true);
        }
        self.under_way += begun.len();
        begun
    }

    /// An upload has ended.
    pub(super) fn end(&mut self, name: &str, ended: Ended, now: Mono) {
        self.under_way = self.under_way.saturating_sub(1);
        if let Some(object) = self.objects.get_mut(name) {
            object.under_way = false;
            if let Ended::Stored(version) | Ended::LeftOut(version) = ended {
                object.has = Some(version);
            }
        }
        match ended {
            Ended::Stored(_) => {
                self.rests = None;
                self.backoff.reset();
            }
            // Those that were under way together fail together: that is one trouble.
            Ended::Failed if self.rests.is_none_or(|until| now >= until) => {
                let rest = self.backoff.next().unwrap_or(REST.1);
                self.rests = Some(now.after(rest));
            }
            Ended::Failed | Ended::LeftOut(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Ended::{Failed, LeftOut, Stored};
    use super::*;

    const EVERY: Duration = Duration::from_secs(5);

    fn at(ms: u64) -> Mono {
        Mono::from_boot(Duration::from_millis(100_000 + ms))
    }

    fn here(objects: &[(&str, u64)]) -> BTreeMap<String, u64> {
        objects.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect()
    }

    #[test]
    fn the_newest_once_in_its_interval_and_never_two_of_one() {
        let mut pace = Pace::new(EVERY, 1);
        assert_eq!(pace.begin(&here(&[("a", 1)]), at(0)), ["a"]);
        assert!(pace.begin(&here(&[("a", 9)]), at(60_000)).is_empty(), "it is under way");
        pace.end("a", Stored(1), at(60_000));
        assert_eq!(pace.begin(&here(&[("a", 9)]), at(60_000)), ["a"], "newer, and long ago");
        pace.end("a", Stored(9), at(60_100));
        assert!(pace.begin(&here(&[("a", 9)]), at(90_000)).is_empty(), "it is there");
        assert_eq!(pace.begin(&here(&[("a", 10)]), at(90_000)), ["a"]);
        pace.end("a", LeftOut(10), at(90_010));
        assert!(pace.begin(&here(&[("a", 11)]), at(94_999)).is_empty(), "too soon");
        assert_eq!(pace.begin(&here(&[("a", 11)]), at(95_000)), ["a"]);
    }

    #[test]
    fn who_waited_longest_is_next() {
        let mut pace = Pace::new(EVERY, 1);
        let names: Vec<String> = (0..20).map(|n| format!("{n:02}")).collect();
        let all = |version| names.iter().map(|name| (name.clone(), version)).collect();
        let mut seen: Vec<Vec<String>> = Vec::new();
        for round in 0..50 {
            let now = at(round * 10_000);
            let begun = pace.begin(&all(round), now);
            assert_eq!(begun.len(), AT_ONCE);
            assert!(pace.begin(&all(round), now).is_empty(), "as many as may be");
            begun.iter().for_each(|name| pace.end(name, Stored(round), now));
            seen.push(begun);
        }
        // Twenty in eights: nobody waits for longer than three rounds.
        for three in seen.windows(3) {
            assert!(names.iter().all(|name| three.iter().any(|begun| begun.contains(name))));
        }
    }

    #[test]
    fn while_the_bucket_is_in_trouble_one_tries_ever_more_seldom() {
        let mut pace = Pace::new(EVERY, 1);
        let all = here(&[("a", 1), ("b", 1), ("c", 1)]);
        assert_eq!(pace.begin(&all, at(0)).len(), 3);
        ["a", "b", "c"].iter().for_each(|name| pace.end(name, Failed, at(100)));
        let (mut tries, mut last) = (0, 0);
        for ms in (100..600_000).step_by(50) {
            for name in pace.begin(&all, at(ms)) {
                tries += 1;
                assert!(ms - last <= 11_000, "it is given up for {} ms", ms - last);
                last = ms;
                pace.end(&name, Failed, at(ms));
            }
        }
        assert!((60..130).contains(&tries), "{tries} in ten minutes");
        let [probe] = pace.begin(&all, at(700_000)).try_into().unwrap();
        pace.end(&probe, Stored(1), at(700_000));
        assert_eq!(pace.begin(&all, at(705_000)).len(), 2, "the others at once");
    }

    proptest! {
        #[test]
        fn bounds_hold_whatever_happens(
            steps in prop::collection::vec((0_usize..30, 0_u64..4_000, any::<bool>(), any::<bool>()), 1..200)
        ) {
            let mut pace = Pace::new(EVERY, 7);
            let (mut ms, mut version, mut flying) = (0, 0, Vec::<(String, u64)>::new());
            for (objects, passed, ends, good) in steps {
                ms += passed;
                version += 1;
                if ends && !flying.is_empty() {
                    let (name, was) = flying.remove(0);
                    pace.end(&name, if good { Stored(was) } else { Failed }, at(ms));
                }
                let all: BTreeMap<String, u64> = (0..objects).map(|n| (n.to_string(), version)).collect();
                flying.extend(pace.begin(&all, at(ms)).into_iter().map(|name| (name, version)));
                let mut names: Vec<&String> = flying.iter().map(|(name, _)| name).collect();
                prop_assert!(names.len() <= AT_ONCE);
                names.sort();
                names.dedup();
                prop_assert_eq!(names.len(), flying.len());
                prop_assert!(pace.objects.len() <= objects + AT_ONCE);
            }
        }
    }
}
