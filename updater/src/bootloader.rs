//! Which boot loader starts the slots, and what it is told. Everything else asks here.
//!
//! U-Boot starts a new system up to three times, and counts that itself. A Raspberry Pi's own firmware starts it once,
//! when it is told so with the reboot before, so counting is ours ([`crate::start`]). What either is told are texts, in
//! `uboot` and `tryboot`; here they are written.

use std::time::Duration;

use tokio::time::timeout;

use crate::place::Place;
use crate::programs::{Failed, Programs};
use crate::record::Record;
use crate::slot::Slot;
use crate::tryboot::backend::Noted;
use crate::tryboot::{self, Hold};

/// A card that takes longer to take one block is broken.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);

/// See the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bootloader {
    UBoot,
    /// A Raspberry Pi's firmware, without U-Boot (docs/updates-tryboot.md).
    Tryboot,
}

impl Bootloader {
    /// As RAUC's `system.conf` says, because the two have to agree: `custom` is what [`tryboot::backend`] is for.
    pub(crate) fn of(conf: &str) -> Bootloader {
        let mut section = "";
        let mut bootloader = "";
        for line in conf.lines().map(str::trim) {
            match line.split_once('=') {
                _ if line.starts_with('[') => section = line,
                Some((key, value)) if section == "[system]" && key.trim() == "bootloader" => {
                    bootloader = value.trim();
                }
                _ => {}
            }
        }
        if bootloader == "custom" { Bootloader::Tryboot } else { Bootloader::UBoot }
    }

    /// What the reboot says that starts a new system for the first time.
    pub(crate) fn argument(self) -> Option<&'static str> {
        match self {
            Bootloader::UBoot => None,
            Bootloader::Tryboot => Some(tryboot::ARGUMENT),
        }
    }

    /// Which slot the firmware starts without being told anything; U-Boot has no such one.
    pub(crate) fn kept(self, place: &Place) -> Option<Slot> {
        match self {
            Bootloader::UBoot => None,
            Bootloader::Tryboot => tryboot::file::read(place),
        }
    }

    /// `slot` comes up, and is started from now on.
    ///
    /// # Errors
    /// The card can't be written.
    pub(crate) async fn keep(
        self,
        place: &Place,
        programs: &Programs,
        slot: Slot,
    ) -> Result<(), Failed> {
        match self {
            Bootloader::UBoot => {
                programs.change_variables(place, |variables| variables.keep(slot)).await
            }
            Bootloader::Tryboot => name(place, slot).await,
        }
    }

    /// `slot` is to be started, and has to prove itself; for the case that nothing can be read any more.
    ///
    /// # Errors
    /// The card can't be written.
    pub(crate) async fn try_out(
        self,
        place: &Place,
        programs: &Programs,
        slot: Slot,
    ) -> Result<(), Failed> {
        match self {
            Bootloader::UBoot => {
                programs.change_variables(place, |variables| variables.on_trial(slot)).await
            }
            // What is not kept is on trial.
            Bootloader::Tryboot => Ok(()),
        }
    }

    /// Whether the slot that runs has still to prove itself, by what the boot loader knows.
    pub(crate) async fn is_on_trial(self, place: &Place, programs: &Programs, slot: Slot) -> bool {
        match self {
            Bootloader::UBoot => {
                let variables = programs.variables().await;
                variables.is_ok_and(|variables| variables.is_on_trial(slot))
            }
            Bootloader::Tryboot => self.kept(place) == Some(slot.other()),
        }
    }

    /// `failed`, which runs, is not started again.
    ///
    /// # Errors
    /// The card can't be written.
    pub(crate) async fn take_back(
        self,
        place: &Place,
        programs: &Programs,
        failed: Slot,
    ) -> Result<(), Failed> {
        match self {
            Bootloader::UBoot => {
                programs.change_variables(place, |variables| variables.take_back(failed)).await
            }
            // It was started for once, so most often there is nothing to write.
            Bootloader::Tryboot => name(place, failed.other()).await,
        }
    }

    /// RAUC is to know that what is in `slot` failed. U-Boot's variables say so by themselves.
    pub(crate) fn is_bad(self, place: &Place, slot: Slot) {
        let noted = Noted { bad: Some(slot) };
        if self == Bootloader::Tryboot
            && let Err(error) = noted.write(&place.state)
        {
            tracing::warn!("{}: {error}", place.state.display());
        }
    }

    /// Makes sure that no power cut starts the slot that is about to be written. RAUC does that with U-Boot.
    ///
    /// # Errors
    /// It would.
    pub(crate) async fn hold(
        self,
        place: &Place,
        running: Slot,
        record: &Record,
    ) -> Result<(), Failed> {
        if self == Bootloader::UBoot {
            return Ok(());
        }
        match tryboot::hold(self.kept(place), running, record) {
            Hold::Fine => Ok(()),
            Hold::Repair => name(place, running).await,
            Hold::Refuse(why) => Err(Failed::here(why)),
        }
    }
}

/// Has the firmware start `slot`, unless it does.
async fn name(place: &Place, slot: Slot) -> Result<(), Failed> {
    if tryboot::file::read(place) == Some(slot) {
        return Ok(());
    }
    let place = place.clone();
    let write = tokio::task::spawn_blocking(move || tryboot::file::write(&place, slot));
    match timeout(WRITTEN_WITHIN, write).await {
        Ok(Ok(written)) => {
            written.map_err(|error| Failed::here(format!("{}: {error}", tryboot::file::NAME)))
        }
        Ok(Err(panicked)) => Err(Failed::here(panicked.to_string())),
        Err(_) => {
            let seconds = WRITTEN_WITHIN.as_secs();
            Err(Failed::here(format!(
                "{} can't be written within {seconds} s",
                tryboot::file::NAME
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raucs_own_file_says_which_one_it_is() {
        let image = include_str!("../../image/root/etc/rauc/system.conf");
        assert_eq!(Bootloader::of(image), Bootloader::UBoot);
        assert_eq!(Bootloader::of(""), Bootloader::UBoot);
        let custom =
            "[system]\n compatible=x\n bootloader = custom\n[handlers]\nbootloader=uboot\n";
        assert_eq!(Bootloader::of(custom), Bootloader::Tryboot);
        assert_eq!(Bootloader::of("[other]\nbootloader=custom\n"), Bootloader::UBoot);
    }
}
