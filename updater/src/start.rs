//! What a boot means for an update that is under way. Pure.

use crate::bootloader::Bootloader;
use crate::record::{Became, Failure, Record, UnderWay};
use crate::slot::Slot;
use crate::tryboot;

/// What this boot is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// As any other: what has started well gets its attempts back.
    Usual,
    /// One of the first of a new system, which has to prove itself.
    Trial(UnderWay),
    /// The new system, which was taken back: the old one does not start any more.
    Alone(UnderWay),
    /// The new system was kept, and a power cut came before that was noted.
    Kept(UnderWay),
    /// The old system runs again: the new one was taken back, or did not come up.
    FellBack(UnderWay, Failure),
    /// The same, but the new one may be started again: no verdict was reached, and not all attempts are used.
    Again(UnderWay),
    /// The power was cut while the new one was being installed: it was never started.
    Interrupted(UnderWay),
    /// It is no boot at all: this program was started again. What was installed waits for the next one.
    Waits,
}

impl Start {
    /// `kept` is what the boot loader starts without being told anything, where there is such a slot; `boot` is the
    /// kernel's id of this boot.
    pub(crate) fn of(
        booted: Slot,
        record: &Record,
        bootloader: Bootloader,
        kept: Option<Slot>,
        boot: &str,
    ) -> Start {
        let Some(update) = record.under_way.clone() else { return Start::Usual };
        let ours = update.slot == booted;
        match &update.failed {
            Some(_) if ours => Start::Alone(update),
            None if ours && kept == Some(booted) => Start::Kept(update),
            // Chosen for this boot before that could be noted: RAUC chooses last of all.
            None if ours => Start::Trial(update),
            _ if !update.installed => Start::Interrupted(update),
            None if !boot.is_empty() && update.boot == boot => Start::Waits,
            Some(failure) => Start::FellBack(update.clone(), failure.clone()),
            None if may_again(&update, bootloader) => Start::Again(update),
            None => Start::FellBack(update.clone(), did_not_come_up(&update)),
        }
    }

    /// Notes what has ended with it, or begun. What a fall back means is not known at once, if the network is in doubt.
    pub(crate) fn note(&self, record: &mut Record, wall_s: i64) {
        match self {
            Start::Usual | Start::Again(_) | Start::Waits => {}
            Start::Trial(update) => {
                let starts = update.starts + 1;
                record.under_way = Some(UnderWay { installed: true, starts, ..update.clone() });
            }
            Start::Alone(_) => record.end(Became::Kept, Some(ALONE.to_owned()), wall_s),
            Start::Kept(_) => record.end(Became::Kept, None, wall_s),
            Start::FellBack(_, failure) if failure.network_only => {}
            Start::FellBack(_, failure) => {
                record.end(Became::TakenBack, Some(failure.why.clone()), wall_s);
            }
            Start::Interrupted(_) => {
                record.end(Became::NotInstalled, Some(INTERRUPTED.to_owned()), wall_s);
            }
        }
    }
}

/// Why what failed is kept.
pub(crate) const ALONE: &str = "the system before it does not start any more";

/// Why it is not installed.
pub(crate) const INTERRUPTED: &str = "it was interrupted while it was being installed";

/// U-Boot has tried it as often as it may be, when it goes back.
fn may_again(update: &UnderWay, bootloader: Bootloader) -> bool {
    bootloader == Bootloader::Tryboot && update.tries < tryboot::ATTEMPTS
}

/// The boot loader has gone back by itself.
fn did_not_come_up(update: &UnderWay) -> Failure {
    let why = match (update.starts, update.tries) {
        (0, 0 | 1) => "it did not come up".to_owned(),
        (0, tries) => format!("it did not come up, {tries} times"),
        (1, _) => "it was started once, and did not come up again".to_owned(),
        (starts, _) => format!("it was started {starts} times, and never proved itself"),
    };
    Failure { why, network_only: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::under_way;

    const U_BOOT: Bootloader = Bootloader::UBoot;
    const TRYBOOT: Bootloader = Bootloader::Tryboot;

    fn update() -> UnderWay {
        under_way("0.2.0-20261128.0000")
    }

    /// It is in slot B.
    fn start(booted: Slot, update: UnderWay, bootloader: Bootloader, kept: Option<Slot>) -> Start {
        let record = Record { under_way: Some(update), ..Record::default() };
        Start::of(booted, &record, bootloader, kept, "this")
    }

    #[test]
    fn the_slot_that_runs_says_what_became_of_the_update() {
        let installed = |installed| UnderWay { installed, ..update() };
        assert_eq!(Start::of(Slot::A, &Record::default(), U_BOOT, None, "this"), Start::Usual);
        for it in [installed(true), installed(false)] {
            assert_eq!(start(Slot::B, it.clone(), U_BOOT, None), Start::Trial(it));
        }
        assert!(matches!(start(Slot::A, update(), U_BOOT, None), Start::FellBack(..)));
        let it = installed(false);
        assert_eq!(start(Slot::A, it.clone(), U_BOOT, None), Start::Interrupted(it));
        let failure = Failure { why: "no picture".to_owned(), network_only: false };
        let failed = UnderWay { failed: Some(failure.clone()), ..update() };
        assert_eq!(start(Slot::B, failed.clone(), U_BOOT, None), Start::Alone(failed.clone()));
        let back = Start::FellBack(failed.clone(), failure);
        assert_eq!(start(Slot::A, failed, TRYBOOT, Some(Slot::A)), back);
    }

    #[test]
    fn a_program_that_is_started_again_is_no_boot() {
        for bootloader in [U_BOOT, TRYBOOT] {
            let here = UnderWay { boot: "this".to_owned(), ..update() };
            assert_eq!(start(Slot::A, here.clone(), bootloader, Some(Slot::A)), Start::Waits);
            let half = UnderWay { installed: false, ..here };
            let start = start(Slot::A, half.clone(), bootloader, Some(Slot::A));
            assert_eq!(start, Start::Interrupted(half));
        }
        let before = UnderWay { boot: "before".to_owned(), ..update() };
        assert!(matches!(start(Slot::A, before, U_BOOT, None), Start::FellBack(..)));
    }

    #[test]
    fn what_fell_back_without_a_verdict_has_three_tries_where_nobody_else_counts() {
        for tries in 0..5 {
            let it = UnderWay { tries, ..update() };
            let start = start(Slot::A, it.clone(), TRYBOOT, Some(Slot::A));
            if tries < 3 {
                assert_eq!(start, Start::Again(it));
            } else {
                let Start::FellBack(_, failure) = start else { panic!("{start:?}") };
                assert_eq!(failure.why, format!("it did not come up, {tries} times"));
            }
        }
        let started = UnderWay { tries: 3, starts: 3, ..update() };
        let Start::FellBack(_, failure) = start(Slot::A, started, TRYBOOT, None) else { panic!() };
        assert_eq!(failure.why, "it was started 3 times, and never proved itself");
        let never = UnderWay { installed: false, ..update() };
        let never = start(Slot::A, never, TRYBOOT, Some(Slot::A));
        assert!(matches!(never, Start::Interrupted(_)));
    }

    #[test]
    fn what_the_firmware_starts_always_was_kept() {
        assert_eq!(start(Slot::B, update(), TRYBOOT, Some(Slot::B)), Start::Kept(update()));
        for kept in [Some(Slot::A), None] {
            assert_eq!(start(Slot::B, update(), TRYBOOT, kept), Start::Trial(update()));
        }
    }
}
