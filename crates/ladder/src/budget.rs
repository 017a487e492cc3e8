//! How many reboots may still be spent.
//!
//! A reboot cures much and costs the picture, so there are only so many, and each comes back after
//! hours of healthy running. What counts is time that the machine has run, by boot and uptime, never the
//! wall clock: a Raspberry Pi's is wrong after each boot. Time without health counts, too, but much
//! less: an empty budget re-arms by itself, even if nothing gets well without a reboot.
//!
//! The budget is kept in a file through reboots, as one line of text with a checksum; a line that was
//! torn by a power cut counts as one reboot left, so that neither a storm of them nor none at all comes
//! of it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Mono;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Reboots left.
    left: u32,
    /// Reboots that were spent, ever.
    spent: u64,
    /// Healthy running since the last one came back, in s.
    healthy_s: u64,
    /// Running without health since then, in s.
    ill_s: u64,
    /// The boot that was last accounted for (`/proc/sys/kernel/random/boot_id`), and until when in it.
    boot: String,
    until_s: u64,
}

/// Why a line is no budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoBudget {
    /// Torn, or written by something else.
    #[error("the reboot budget is damaged: one reboot is left until it refills")]
    Torn,
    /// Of a later version: it is left as it is.
    #[error("a later version wrote the reboot budget: no reboot until it is removed")]
    Later,
}

/// What the line begins with: its format.
const FORMAT: &str = "reboots-1";

/// And what all of its formats begin with.
const ANY_FORMAT: &str = "reboots-";

/// A boot of which nothing was accounted for yet.
const NO_BOOT: &str = "-";

impl Budget {
    /// Reboots in a row, at most.
    pub const MAX: u32 = 3;

    /// Healthy running that gives one back.
    pub const REFILL: Duration = Duration::from_secs(6 * 3_600);

    /// Running without health that does.
    pub const REFILL_ILL: Duration = Duration::from_secs(24 * 3_600);

    /// Longest time that one account is believed: whoever was not asked for longer was not well.
    pub const MAX_ACCOUNT: Duration = Duration::from_secs(3_600);

    fn of(left: u32) -> Budget {
        Budget { left, spent: 0, healthy_s: 0, ill_s: 0, boot: NO_BOOT.to_owned(), until_s: 0 }
    }

    /// Of a new machine.
    pub fn full() -> Budget {
        Budget::of(Budget::MAX)
    }

    /// Of a machine whose file is torn.
    pub fn careful() -> Budget {
        Budget::of(1)
    }

    /// Of one that must not reboot.
    pub fn empty() -> Budget {
        Budget::of(0)
    }

    /// Reboots left.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// Reboots that were spent, ever.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// Spends one. It has to be on the disk before the reboot; `None`: there is none left.
    #[must_use]
    pub fn spend(self) -> Option<Budget> {
        let left = self.left.checked_sub(1)?;
        Some(Budget { left, spent: self.spent.saturating_add(1), healthy_s: 0, ill_s: 0, ..self })
    }

    /// The machine ran until `now` in this `boot` since it was last accounted for, and was `well` or
    /// was not. Returns the budget then.
    #[must_use]
    pub fn account(self, boot: &str, now: Mono, well: bool) -> Budget {
        let until_s = now.since_boot().as_secs();
        let before = if self.boot == boot { self.until_s } else { 0 };
        let ran = until_s.saturating_sub(before).min(Budget::MAX_ACCOUNT.as_secs());
        let boot: String = boot.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
        let boot = if boot.is_empty() { NO_BOOT.to_owned() } else { boot };
        let (healthy_s, ill_s) = if well { (ran, 0) } else { (0, ran) };
        let mut budget = Budget {
            healthy_s: self.healthy_s.saturating_add(healthy_s),
            ill_s: self.ill_s.saturating_add(ill_s),
            boot,
            until_s,
            ..self
        };
        while budget.left < Budget::MAX && budget.refill() {}
        if budget.left == Budget::MAX {
            (budget.healthy_s, budget.ill_s) = (0, 0);
        }
        budget
    }

    fn refill(&mut self) -> bool {
        let (healthy, ill) = (Budget::REFILL.as_secs(), Budget::REFILL_ILL.as_secs());
        if self.healthy_s >= healthy {
            self.healthy_s -= healthy;
        } else if self.ill_s >= ill {
            self.ill_s -= ill;
        } else {
            return false;
        }
        self.left += 1;
        true
    }
}

/// The line in the file, without a line break.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Budget { left, spent, healthy_s, ill_s, boot, until_s } = self;
        let text = format!(
            "{FORMAT} left={left} spent={spent} healthy_s={healthy_s} ill_s={ill_s} boot={boot} \
             until_s={until_s}"
        );
        write!(f, "{text} sum={:08x}", sum(&text))
    }
}

impl FromStr for Budget {
    type Err = NoBudget;

    fn from_str(line: &str) -> Result<Budget, NoBudget> {
        let line = line.trim_end();
        let format = line.split(' ').next().unwrap_or_default();
        if format.starts_with(ANY_FORMAT) && !FORMAT.starts_with(format) {
            return Err(NoBudget::Later);
        }
        let (text, given) = line.rsplit_once(" sum=").ok_or(NoBudget::Torn)?;
        if u32::from_str_radix(given, 16) != Ok(sum(text)) {
            return Err(NoBudget::Torn);
        }
        let word = |name: &str| {
            let mut words = text.split(' ');
            let found = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            found.ok_or(NoBudget::Torn)
        };
        let number = |name: &str| word(name)?.parse::<u64>().map_err(|_| NoBudget::Torn);
        let left = u32::try_from(number("left")?).map_err(|_| NoBudget::Torn)?;
        Ok(Budget {
            left: left.min(Budget::MAX),
            spent: number("spent")?,
            healthy_s: number("healthy_s")?,
            ill_s: number("ill_s")?,
            boot: word("boot")?.to_owned(),
            until_s: number("until_s")?,
        })
    }
}

/// FNV-1a (draft-eastlake-fnv), 32 bits: against torn lines, not against people.
fn sum(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 3_600;

    fn at(seconds: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(seconds))
    }

    fn spent() -> Budget {
        let mut budget = Budget::full();
        while let Some(less) = budget.clone().spend() {
            budget = less;
        }
        budget
    }

    #[test]
    fn it_is_spent_and_comes_back() {
        assert_eq!((spent().left(), spent().spent()), (0, 3));
        let mut budget = spent();
        for hour in 1..=6 {
            budget = budget.account("a", at(hour * HOUR), true);
            assert_eq!(budget.left(), u32::from(hour == 6), "after {hour} h");
        }
        // A reboot in between takes nothing away but what was not accounted for.
        budget = budget.account("b", at(HOUR), true);
        for hour in 2..=100 {
            budget = budget.account("b", at(hour * HOUR), true);
        }
        assert_eq!(budget.left(), Budget::MAX);
    }

    #[test]
    fn without_health_it_comes_back_slowly() {
        let mut budget = spent();
        for hour in 1..=24 {
            assert_eq!(budget.left(), 0, "after {hour} h");
            budget = budget.account("a", at(hour * HOUR), false);
        }
        assert_eq!(budget.left(), 1);
    }

    #[test]
    fn time_is_counted_once_and_only_as_far_as_it_is_known() {
        let mut budget = spent();
        for _ in 0..100 {
            budget = budget.account("a", at(HOUR), true);
        }
        assert_eq!(budget.healthy_s, HOUR);
        // Nobody said anything for days: that is no health.
        budget = budget.account("a", at(100 * HOUR), true);
        assert_eq!((budget.left(), budget.healthy_s), (0, 2 * HOUR));
        // The clock of a boot never runs backwards; if it seems to, nothing is given.
        budget = budget.account("a", at(HOUR), true);
        assert_eq!(budget.healthy_s, 2 * HOUR);
    }

    #[test]
    fn a_file_that_is_none_is_told_apart() {
        let line = Budget::full().account("a b\n", at(7), true).to_string();
        assert!(line.contains(" boot=ab "), "{line}");
        assert_eq!(format!("{line}\n").parse(), Ok(Budget::full().account("ab", at(7), true)));
        for torn in
            ["", "x", &line[..line.len() - 1], &line.replace("left=3", "left=9"), "reboots-1 "]
        {
            assert_eq!(torn.parse::<Budget>(), Err(NoBudget::Torn), "{torn}");
        }
        assert_eq!("reboots-2 left=7".parse::<Budget>(), Err(NoBudget::Later));
    }

    proptest! {
        #[test]
        fn it_survives_its_file(
            left in 0..=Budget::MAX, numbers: [u64; 4], boot in "[0-9a-f-]{1,36}",
        ) {
            let [spent, healthy_s, ill_s, until_s] = numbers;
            let budget = Budget { left, spent, healthy_s, ill_s, boot, until_s };
            prop_assert_eq!(budget.to_string().parse(), Ok(budget));
        }

        #[test]
        fn nothing_makes_it_panic_or_more_than_full(text in "(reboots-[0-9]|left=|sum=|\\PC){0,8}") {
            if let Ok(budget) = text.parse::<Budget>() {
                prop_assert!(budget.left() <= Budget::MAX);
            }
        }

        /// However it is used: no more reboots than there may be in the time.
        #[test]
        fn never_more_than_the_time_gives(
            hours in prop::collection::vec((0_u64..10, any::<bool>()), 1..200),
        ) {
            let (mut budget, mut ran) = (Budget::full(), 0);
            for (boot, (hours, well)) in hours.into_iter().enumerate() {
                for hour in 1..=hours {
                    budget = budget.account(&boot.to_string(), at(hour * HOUR), well);
                    ran += 1;
                }
                budget = budget.clone().spend().unwrap_or(budget);
            }
            prop_assert!(budget.spent() <= u64::from(Budget::MAX) + ran / 6);
        }
    }
}
