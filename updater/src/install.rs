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
use crate::judge::{Refusal, judge};
use crate::place::{Place, Running};
use crate::programs::{Bundle, Failed, Programs};
use crate::record::{Became, Record, UnderWay};
use crate::{layers, sight};

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
    #[error("it can't be noted in {0}")]
    Record(#[from] io::Error),
}

/// What an installation needs to know.
#[derive(Debug)]
pub(crate) struct Installer<'a> {
    pub place: &'a Place,
    pub programs: &'a Programs,
    pub running: &'a Running,
    /// Also what is older, or was rejected.
    pub older: bool,
}

impl Installer<'_> {
    /// What the file is, if it is one for this camera.
    ///
    /// # Errors
    /// It is none.
    pub(crate) async fn look(&self, path: &Path, record: &Record) -> Result<Bundle, NotInstalled> {
        let bundle = self.programs.look_into(path).await.map_err(NotInstalled::Bad)?;
        judge(&bundle, self.running, record, self.older)?;
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
        self.programs.read_whole(path).await.map_err(NotInstalled::Bad)?;
        let version = &bundle.version;
        let slot = running.slot.other();
        let mut record = Record::read(&place.state);
        let held = running.bootloader.hold(place, running.slot, &record).await;
        held.map_err(NotInstalled::Failed)?;
        let baseline = sight::baseline(place, programs).await;
        record.under_way = Some(UnderWay {
            version: version.clone(),
            slot,
            before: running.version.clone(),
            installed: false,
            baseline,
            starts: 0,
            tries: 0,
            failed: None,
        });
        record.write(&place.state)?;
        // Nothing can go back to what the other slot kept, as of now.
        layers::prune(place);
        Event::UpdateInstall.say(
            ABOUT,
            format_args!("installing {version} into slot {slot}, from {}", path.display()),
        );
        match self.write(path, tell).await {
            Ok(()) => {
                if let Some(update) = &mut record.under_way {
                    update.installed = true;
                }
                Ok(record.write(&place.state)?)
            }
            Err(error) => {
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

/// What updates are about, in the journal.
pub(crate) const ABOUT: About<'static> =
    About { organ: "update", rung: None, age: None, errno: None };

/// A new version is to be started.
pub(crate) fn starting(version: &Version) -> String {
    format!("the update {version} is installed and is to be started")
}

pub(crate) fn wall_s() -> i64 {
    clock::wall_us() / 1_000_000
}

/// One at a time: the service, or somebody at the command line.
fn lock(place: &Place) -> Result<Flock<File>, NotInstalled> {
    fs::create_dir_all(&place.state)?;
    let file = File::create(place.state.join("lock"))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| NotInstalled::Busy)
}
