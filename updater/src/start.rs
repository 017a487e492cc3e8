//! What a boot means for an update that is under way. Pure.

use crate::record::{Record, UnderWay};
use crate::slot::Slot;

/// What this boot is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// As any other: what has started well gets its attempts back.
    Usual,
    /// One of the first of a new system, which has to prove itself.
    Trial(UnderWay),
    /// The old system runs again: the new one was taken back, or did not come up.
    FellBack(UnderWay),
    /// The power was cut while the new one was being installed: it was never started.
    Interrupted(UnderWay),
}

impl Start {
    pub(crate) fn of(booted: Slot, record: &Record) -> Start {
        match &record.under_way {
            None => Start::Usual,
            // Chosen for this boot before that could be noted: RAUC chooses last of all.
            Some(update) if update.slot == booted => Start::Trial(update.clone()),
            Some(update) if update.installed => Start::FellBack(update.clone()),
            Some(update) => Start::Interrupted(update.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::under_way;

    #[test]
    fn the_slot_that_runs_says_what_became_of_the_update() {
        let update = |installed| UnderWay { installed, ..under_way("0.2.0-20261128.0000") };
        let record = |update: Option<UnderWay>| Record { under_way: update, ..Record::default() };
        assert_eq!(Start::of(Slot::A, &record(None)), Start::Usual);
        for installed in [true, false] {
            let start = Start::of(Slot::B, &record(Some(update(installed))));
            assert_eq!(start, Start::Trial(update(installed)));
        }
        let start = Start::of(Slot::A, &record(Some(update(true))));
        assert_eq!(start, Start::FellBack(update(true)));
        let start = Start::of(Slot::A, &record(Some(update(false))));
        assert_eq!(start, Start::Interrupted(update(false)));
    }
}
