//! What RAUC asks of a boot loader that it does not know (`bootloader=custom`), with this program as its backend. Pure,
//! but for the file that remembers which slot is bad.
//!
//! RAUC starts nothing by it: a slot that it has written is started by the updater, which knows why, and how often
//! already. So what an update is about to be is read from the updater's own record, and `rauc install` without the
//! updater is refused before anything is written.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Subcommand, ValueEnum};
use runtime::files::{Survives, replace};
use serde::{Deserialize, Serialize};

use crate::record::Record;
use crate::slot::Slot;

/// In the state directory.
const FILE: &str = "tryboot.json";

/// RAUC's words (its docs/integration.rst, Custom Bootloader Backend Interface): it can't put a word of ours before them.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Ask {
    /// For RAUC: which slot is started next
    #[command(hide = true)]
    GetPrimary,
    /// For RAUC: a slot was written
    #[command(hide = true)]
    SetPrimary { slot: Slot },
    /// For RAUC: whether a slot can be started
    #[command(hide = true)]
    GetState { slot: Slot },
    /// For RAUC: a slot is about to be written, or is well
    #[command(hide = true)]
    SetState { slot: Slot, state: State },
    /// For RAUC: which slot runs
    #[command(hide = true)]
    GetCurrent,
}

/// How a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    Good,
    Bad,
}

/// What is remembered for RAUC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Noted {
    /// Half written, or taken back.
    pub bad: Option<Slot>,
}

impl Noted {
    /// What can't be read says nothing.
    pub(crate) fn read(folder: &Path) -> Noted {
        let text = fs::read(folder.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Writes it, so that a power cut leaves it or the one before; not at all if it is like that.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        if *self == Noted::read(folder) {
            return Ok(());
        }
        replace(&folder.join(FILE), &serde_json::to_vec(self)?, Survives::PowerCut)
    }
}

/// What the answer follows from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    pub running: Slot,
    pub kept: Option<Slot>,
    pub record: &'a Record,
}

/// What RAUC is told, if anything; what is to be remembered changes.
///
/// # Errors
/// Why it can't be done: RAUC says it, and stops.
pub(crate) fn answer(
    ask: Ask,
    known: Known<'_>,
    noted: &mut Noted,
) -> Result<Option<String>, String> {
    let Known { running, kept, record } = known;
    let target = record.under_way.as_ref().map(|update| update.slot);
    match ask {
        Ask::GetCurrent => Ok(Some(running.to_string())),
        Ask::GetPrimary => {
            let waiting = record.under_way.as_ref();
            let waiting = waiting.filter(|update| update.installed && update.failed.is_none());
            let next = waiting.map(|update| update.slot).or(kept).unwrap_or(running);
            Ok(Some(next.to_string()))
        }
        Ask::GetState { slot } => {
            Ok(Some(if noted.bad == Some(slot) { "bad" } else { "good" }.to_owned()))
        }
        Ask::SetState { slot, state: State::Bad } if Some(slot) == kept => Err(format!(
            "slot {slot} is what the firmware starts after each power cut: it stays as it is"
        )),
        Ask::SetState { slot, .. } | Ask::SetPrimary { slot }
            if Some(slot) != target && Some(slot) != kept =>
        {
            Err(format!("no update is under way for slot {slot}: use stillwatch-updater install"))
        }
        Ask::SetState { slot, state: State::Bad } => {
            noted.bad = Some(slot);
            Ok(None)
        }
        Ask::SetState { slot, state: State::Good } | Ask::SetPrimary { slot } => {
            noted.bad = noted.bad.filter(|bad| *bad != slot);
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::UnderWay;
    use crate::record::tests::under_way;

    /// Slot A runs, and is kept.
    fn asked(ask: Ask, update: Option<UnderWay>, noted: &mut Noted) -> Result<String, String> {
        let record = Record { under_way: update, ..Record::default() };
        let known = Known { running: Slot::A, kept: Some(Slot::A), record: &record };
        answer(ask, known, noted).map(Option::unwrap_or_default)
    }

    #[test]
    fn raucs_course_of_an_installation() {
        let folder = tempfile::tempdir().unwrap();
        let noted = &mut Noted::read(folder.path());
        let installing = || Some(UnderWay { installed: false, ..under_way("0.2.0-1.0") });
        let said = |text: &str| Ok(text.to_owned());
        let (bad, good) = (State::Bad, State::Good);
        let slot = Slot::B;
        assert_eq!(asked(Ask::GetCurrent, None, noted), said("A"));
        assert_eq!(asked(Ask::GetPrimary, None, noted), said("A"));
        assert_eq!(asked(Ask::SetState { slot, state: bad }, installing(), noted), said(""));
        noted.write(folder.path()).unwrap();
        // A power cut.
        let noted = &mut Noted::read(folder.path());
        assert_eq!(asked(Ask::GetState { slot }, installing(), noted), said("bad"));
        assert_eq!(asked(Ask::GetPrimary, installing(), noted), said("A"));
        assert_eq!(asked(Ask::SetPrimary { slot }, installing(), noted), said(""));
        assert_eq!(asked(Ask::GetState { slot }, installing(), noted), said("good"));
        assert_eq!(asked(Ask::GetPrimary, Some(under_way("0.2.0-1.0")), noted), said("B"));
        let slot = Slot::A;
        assert_eq!(asked(Ask::SetState { slot, state: good }, None, noted), said(""));
        assert_eq!(asked(Ask::SetPrimary { slot }, None, noted), said(""));
    }

    #[test]
    fn nothing_is_written_without_the_updater_or_over_what_is_kept() {
        let noted = &mut Noted::default();
        let slot = Slot::B;
        let bad = Ask::SetState { slot, state: State::Bad };
        for ask in [bad, Ask::SetPrimary { slot }] {
            assert!(asked(ask, None, noted).unwrap_err().contains("stillwatch-updater"));
        }
        let update = UnderWay { slot: Slot::A, ..under_way("0.2.0-1.0") };
        let over = Ask::SetState { slot: Slot::A, state: State::Bad };
        assert!(asked(over, Some(update), noted).unwrap_err().contains("each power cut"));
        assert_eq!(*noted, Noted::default());
    }
}
