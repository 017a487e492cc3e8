//! What U-Boot is told: which slot it starts, and how often (image/boot.cmd). Pure: texts of its tools in and out.
//! [`crate::bootloader`] is who tells it.
//!
//! RAUC chooses the slot that it has installed by itself; here are the two things that follow. Each is one write of one
//! block of the card, so a power cut leaves the one choice or the other.

use crate::slot::Slot;

/// How many starts a slot has to show that it comes up, and what a good one always has.
const ATTEMPTS: &str = "3";

/// No slot.
const NONE: &str = "none";

/// U-Boot's variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variables {
    order: String,
    left_a: String,
    left_b: String,
    /// The slot that has still to prove itself, for the case that what is noted of it can't be read.
    trial: String,
}

impl Variables {
    /// From what `fw_printenv` says. What is missing or damaged is as U-Boot's script takes it.
    pub(crate) fn parse(said: &str) -> Variables {
        let value = |key: &str, default: &str| {
            let words = said.split('\n').filter_map(|line| line.split_once('='));
            let value =
                words.filter(|(name, _)| *name == key).map(|(_, value)| value.trim()).next();
            value.unwrap_or(default).to_owned()
        };
        Variables {
            order: value("BOOT_ORDER", "A B"),
            left_a: value("BOOT_A_LEFT", ATTEMPTS),
            left_b: value("BOOT_B_LEFT", ATTEMPTS),
            trial: value("BOOT_TRIAL", NONE),
        }
    }

    /// Whether a slot has still to prove itself.
    pub(crate) fn is_on_trial(&self, slot: Slot) -> bool {
        self.trial == slot.to_string()
    }

    /// With a slot that has.
    pub(crate) fn on_trial(&self, slot: Slot) -> Variables {
        Variables { trial: slot.to_string(), ..self.clone() }
    }

    fn left(&mut self, slot: Slot) -> &mut String {
        match slot {
            Slot::A => &mut self.left_a,
            Slot::B => &mut self.left_b,
        }
    }

    /// With all attempts for the slot that runs, and first.
    pub(crate) fn keep(&self, slot: Slot) -> Variables {
        let mut kept = self.clone();
        ATTEMPTS.clone_into(kept.left(slot));
        kept.order = format!("{slot} {}", slot.other());
        NONE.clone_into(&mut kept.trial);
        kept
    }

    /// With none for the slot that failed: the other one is taken, and if that does not come up either, each gets its
    /// attempts again.
    pub(crate) fn take_back(&self, failed: Slot) -> Variables {
        let mut back = self.keep(failed.other());
        "0".clone_into(back.left(failed));
        back
    }

    /// What `fw_setenv --script FILE` takes.
    pub(crate) fn script(&self) -> String {
        let Variables { order, left_a, left_b, trial } = self;
        format!(
            "BOOT_ORDER={order}\nBOOT_A_LEFT={left_a}\nBOOT_B_LEFT={left_b}\nBOOT_TRIAL={trial}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(order: &str, left_a: &str, left_b: &str) -> Variables {
        let [order, left_a, left_b] = [order, left_a, left_b].map(str::to_owned);
        Variables { order, left_a, left_b, trial: NONE.to_owned() }
    }

    #[test]
    fn what_u_boot_says_comes_back() {
        let said = variables("B A", "3", "1").script();
        assert_eq!(Variables::parse(&said), variables("B A", "3", "1"));
        assert_eq!(Variables::parse(""), variables("A B", "3", "3"));
        let trial = Variables::parse(&said).on_trial(Slot::B);
        assert!(trial.is_on_trial(Slot::B) && !trial.is_on_trial(Slot::A));
        assert_eq!(Variables::parse(&trial.script()), trial);
        for ended in [trial.keep(Slot::B), trial.take_back(Slot::B)] {
            assert!(!ended.is_on_trial(Slot::B));
        }
    }

    #[test]
    fn a_new_system_that_is_kept_is_first_and_the_old_one_stays_behind_it() {
        assert_eq!(variables("B A", "3", "2").keep(Slot::B), variables("B A", "3", "3"));
        // As the image is made, with nothing in B.
        assert_eq!(variables("A", "2", "0").keep(Slot::A), variables("A B", "3", "0"));
    }

    #[test]
    fn one_that_is_taken_back_is_not_started_again() {
        assert_eq!(variables("B A", "3", "2").take_back(Slot::B), variables("A B", "3", "0"));
        assert_eq!(variables("A B", "1", "2").take_back(Slot::A), variables("B A", "0", "3"));
    }
}
