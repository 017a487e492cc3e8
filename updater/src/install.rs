//! Installs a bundle: look at it, read all of it, write down what is about to be, and only then write the slot.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use frame::version::Version;
use nix::fcntl::{Flock, FlockArg};
use runtime::clock;
use runtime::event::{About, Event};
use runtime::notify;

use crate::bootloader::Bootloader;
use crate::judge::{Asked, Refusal, judge};
use crate::place::{Place, Running};
use crate::programs::{Bundle, Failed, Programs};
use crate::record::{Became, Record, UnderWay};
use crate::slot::Slot;
use crate::{layers, sight, source};

/// How often it is asked how far it is.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Why there is no new system in the other slot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotInstalled {
    /// The bundle is none for this camera, now or ever.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is no bundle, not signed for here, or damaged: nothing was written.
    #[error("{0}")]
    Bad(Failed),
    /// The other slot could not be written.
    #[error("{0}")]
    Failed(Failed),
    #[error("another one is being installed")]
    Busy,
    #[error("it can't be noted on the data partition: {0}")]
    Record(#[from] io::Error),
}

impl NotInstalled {
    fn of(failed: Failed) -> NotInstalled {
        if failed.bundles { NotInstalled::Bad(failed) } else { NotInstalled::Failed(failed) }
    }
}

/// What an installation needs to know.
#[derive(Debug)]
pub(crate) struct Installer<'a> {
    pub place: &'a Place,
    pub programs: &'a Programs,
    pub running: &'a Running,
    pub asked: Asked,
}

impl Installer<'_> {
    /// What the file is, if it is one for this camera.
    ///
    /// # Errors
    /// It is none.
    pub(crate) async fn look(&self, path: &Path, record: &Record) -> Result<Bundle, NotInstalled> {
        let bundle = self.programs.look_into(path).await.map_err(NotInstalled::of)?;
        judge(&bundle, self.running, record, self.asked)?;
        Ok(bundle)
    }

    /// Writes it into the other slot, which the next boot starts; `tell` hears how many percent are done.
    ///
    /// # Errors
    /// The slot that runs stays chosen.
    pub(crate) async fn install(
        &self,
        path: &Path,
        bundle: &Bundle,
        tell: impl FnMut(u8),
    ) -> Result<(), NotInstalled> {
        let Installer { place, programs, running, .. } = self;
        let _lock = lock(place)?;
        self.programs.read_whole(path).await.map_err(NotInstalled::of)?;
        let version = &bundle.version;
        let slot = running.slot.other();
        let mut record = Record::read(&place.state);
        if record.under_way.as_ref().is_some_and(|update| update.slot == running.slot) {
            // The other slot has the only system that is known to be good.
            return Err(NotInstalled::Failed(Failed::here("the system that runs is on trial")));
        }
        if self.asked == Asked::Again {
            // Once: what is taken back again is not tried for ever.
            source::forget_handed(place);
        }
        let held = running.bootloader.hold(place, running.slot, &record).await;
        held.map_err(NotInstalled::Failed)?;
        let baseline = sight::baseline(place, programs).await;
        record.under_way = Some(UnderWay {
            version: version.clone(),
            slot,
            installed: false,
            baseline,
            starts: 0,
            tries: 0,
            failed: None,
            boot: place.boot_id(),
        });
        record.write(&place.state)?;
        // Nothing can go back to what the other slot kept, as of now.
        layers::prune(place);
        Event::UpdateInstall.say(
            ABOUT,
            format_args!("installing {version} into slot {slot}, from {}", path.display()),
        );
        let written = self.write(path, tell).await;
        let written = written.and_then(|()| is_in(slot, version, &rauc_says(place)));
        let written = match written {
            Ok(()) => running.bootloader.try_out(place, programs, slot).await,
            failed @ Err(_) => failed,
        };
        match written {
            Ok(()) => {
                if let Some(update) = &mut record.under_way {
                    update.installed = true;
                }
                Ok(record.write(&place.state)?)
            }
            Err(error) => {
                // RAUC may have chosen it.
                if let Err(error) = running.bootloader.take_back(place, programs, slot).await {
                    tracing::error!("{error}");
                }
                record.end(Became::NotInstalled, Some(error.to_string()), wall_s());
                record.write(&place.state)?;
                Err(NotInstalled::Failed(error))
            }
        }
    }

    /// Reboots into what is installed. Where nobody else counts that, it is counted first: a system that brings down the
    /// machine at once can't do it.
    ///
    /// # Errors
    /// It can't be counted, or `autoboot.txt` does not name the slot. Else this comes back only if the machine does not
    /// go down.
    pub(crate) async fn start(&self, version: &Version) -> Result<(), NotInstalled> {
        let Installer { place, programs, running, .. } = self;
        let bootloader = running.bootloader;
        if bootloader == Bootloader::Tryboot {
            let mut record = Record::read(&place.state);
            let held = bootloader.hold(place, running.slot, &record).await;
            held.map_err(NotInstalled::Failed)?;
            if let Some(update) = &mut record.under_way {
                update.tries += 1;
            }
            record.write(&place.state)?;
        }
        programs.restart(&starting(version), bootloader.argument()).await;
        Ok(())
    }

    async fn write(&self, path: &Path, mut tell: impl FnMut(u8)) -> Result<(), Failed> {
        let mut installed = std::pin::pin!(self.programs.install(path));
        loop {
            tokio::select! {
                ended = &mut installed => return ended,
                () = tokio::time::sleep(ASK_EVERY) => {}
            }
            notify::feed_watchdog();
            if let Some(percent) = self.programs.progress().await {
                tell(percent);
            }
        }
    }
}

/// What RAUC notes of slots (`data-directory=` in `image/root/etc/rauc/system.conf`).
fn rauc_says(place: &Place) -> String {
    fs::read_to_string(place.state.join("rauc/central.raucs")).unwrap_or_default()
}

/// Whether that is what was looked at: the agent could have put another bundle in its place meanwhile, an older one with
/// as good a signature.
fn is_in(slot: Slot, version: &Version, noted: &str) -> Result<(), Failed> {
    let group = match slot {
        Slot::A => "[slot.system.0]",
        Slot::B => "[slot.system.1]",
    };
    let mut lines = noted.lines().skip_while(|line| *line != group).skip(1);
    let mut lines = lines.by_ref().take_while(|line| !line.starts_with('['));
    let there = lines.find_map(|line| line.strip_prefix("bundle.version="));
    if there.is_some_and(|there| there.parse().as_ref() == Ok(version)) {
        return Ok(());
    }
    let there = there.unwrap_or("something unknown");
    Err(Failed::here(format!("slot {slot} has {there} now, and not {version}")))
}

/// What updates are about, in the journal.
pub(crate) const ABOUT: About<'static> = About::organ("update");

/// A new version is to be started.
pub(crate) fn starting(version: &Version) -> String {
    format!("the update {version} is installed and is to be started")
}

pub(crate) fn wall_s() -> i64 {
    clock::wall_us() / 1_000_000
}

/// Whether somebody installs at the moment.
pub(crate) fn is_busy(place: &Place) -> bool {
    matches!(lock(place), Err(NotInstalled::Busy))
}

/// One at a time: the service, or somebody at the command line.
fn lock(place: &Place) -> Result<Flock<File>, NotInstalled> {
    fs::create_dir_all(&place.state)?;
    let file = File::create(place.state.join("lock"))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| NotInstalled::Busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_slot_is_what_was_looked_at() {
        let noted = "[slot.system.0]\nbundle.version=0.1.0-1.1\n\n[slot.system.1]\nbundle.compatible=c\n\
                     bundle.version=0.2.0-2.2\nstatus=ok\n\n[other]\nbundle.version=0.3.0-1.1\n";
        let is_in = |slot, version: &str, noted| is_in(slot, &version.parse().unwrap(), noted);
        assert_eq!(is_in(Slot::B, "0.2.0-2.2", noted), Ok(()));
        assert_eq!(is_in(Slot::A, "0.1.0-1.1", noted), Ok(()));
        let why = is_in(Slot::A, "0.2.0-2.2", noted).unwrap_err().to_string();
        assert_eq!(why, "slot A has 0.1.0-1.1 now, and not 0.2.0-00000002.0002");
        assert!(is_in(Slot::B, "0.3.0-1.1", "").is_err());
    }
}
