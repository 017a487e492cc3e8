//! The thread that reads and writes the folder of updates while the relay runs. Nobody waits for its disk: what it read
//! last is what requests see.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use frame::CameraId;
use prometheus::IntCounter;
use tokio::sync::oneshot;

use super::command::change_wish;
use super::folder::{Folder, FolderError};
use super::index::Index;
use super::standing::{Rejection, Standings, Wish};
use crate::data::{LastRead, Stamp};

/// How often it looks whether somebody else has written the lists.
const LOOK: Duration = Duration::from_secs(1);

/// Something to write.
#[derive(Debug)]
pub(super) enum Letter {
    /// What the owner decides for a camera; the answer is what went wrong.
    Wish(CameraId, Option<Wish>, oneshot::Sender<Result<(), String>>),
    /// A camera did not keep a version.
    Rejected(CameraId, Rejection),
    /// A camera has begun with what it was to start now, or there is nothing.
    Started(CameraId),
}

/// What was read last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub index: Index,
    pub standings: Standings,
    /// Why that is older than what is in the folder.
    pub problem: Option<String>,
    /// Once both lists could be read.
    pub read: bool,
}

/// For all who ask.
pub(super) type Shared = LastRead<Known>;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Thread {
    pub folder: Folder,
    pub shared: Arc<Shared>,
    /// So many cameras that took a version back stop it; 0: none do.
    pub stop_after: usize,
    pub rejected: IntCounter,
    /// Of what was read last.
    pub stamps: Option<[Option<Stamp>; 2]>,
}

impl Thread {
    /// Until nobody can write to it any more.
    pub(super) fn run(mut self, mail: &Receiver<Letter>) {
        loop {
            self.look();
            let letter = match mail.recv_timeout(LOOK) {
                Ok(letter) => letter,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Err(error) = self.take(letter) {
                tracing::error!("updates: {error}");
            }
        }
    }

    /// Reads the lists if they are others than before. What can't be read changes nothing, and is said.
    pub(super) fn look(&mut self) {
        let stamps = self.folder.stamps();
        if self.stamps == Some(stamps) {
            return;
        }
        let read = self.folder.index().and_then(|index| Ok((index, self.folder.standings()?)));
        let before = self.shared.get();
        match read {
            Ok((index, standings)) => {
                if let Some(problem) = &before.problem {
                    tracing::info!("updates: the lists can be read again ({problem})");
                }
                self.shared.set(Known { index, standings, problem: None, read: true });
                self.stamps = Some(stamps);
            }
            Err(error) => {
                // It is tried again with each look: a disk may come back without the file being another one.
                let problem = Some(error.to_string());
                if before.problem != problem {
                    tracing::error!("updates: {error}");
                    self.shared.set(Known { problem, ..Known::clone(&before) });
                }
            }
        }
    }

    fn take(&mut self, letter: Letter) -> Result<(), FolderError> {
        match letter {
            Letter::Wish(camera, wish, told) => {
                let changed = change_wish(&self.folder, &camera, wish);
                // Whoever asked sees it.
                self.look();
                // Nobody may be waiting any more.
                let _ = told.send(changed.as_ref().map_err(ToString::to_string).copied());
                changed
            }
            Letter::Started(camera) => self.started(&camera),
            Letter::Rejected(camera, rejection) => self.rejected(&camera, rejection),
        }
    }

    fn started(&self, camera: &CameraId) -> Result<(), FolderError> {
        let locked = self.folder.lock()?;
        let mut standings = self.folder.standings()?;
        if standings.of(camera).wish != Some(Wish::Start) {
            return Ok(());
        }
        standings.change(camera, |standing| standing.wish = None);
        locked.write_standings(&standings)
    }

    fn rejected(&self, camera: &CameraId, rejection: Rejection) -> Result<(), FolderError> {
        let locked = self.folder.lock()?;
        let (mut index, mut standings) = (self.folder.index()?, self.folder.standings()?);
        if !index.has(&rejection.version) || !standings.of(camera).lacks(&rejection) {
            return Ok(());
        }
        let (version, why, ran) = (rejection.version.clone(), rejection.why.clone(), rejection.ran);
        standings.keep_only(|version| index.has(version));
        standings.change(camera, |standing| standing.reject(rejection));
        let cameras: BTreeSet<String> =
            standings.took_back(&version).into_iter().map(ToString::to_string).collect();
        // First of all: what is rejected twice because of a power cut does no harm.
        if ran && self.stop_after > 0 && cameras.len() >= self.stop_after {
            let names: Vec<&str> = cameras.iter().map(String::as_str).take(5).collect();
            let reason = format!("{} cameras took it back ({})", cameras.len(), names.join(", "));
            let mut stopped = false;
            index.change(&version, |update| {
                stopped |= update.paused.is_none();
                update.paused.get_or_insert_with(|| reason.clone());
            });
            if stopped {
                locked.write_index(&index)?;
                tracing::warn!(
                    %version,
                    "update {version}: {reason}: no further camera gets it (updates.stop_after); when it is \
                     known why: stillwatch-relay updates resume {version}"
                );
            }
        }
        locked.write_standings(&standings)?;
        self.rejected.inc();
        let did = if ran { "took back" } else { "did not install" };
        tracing::warn!(%camera, %version, "camera {camera}: {did} update {version}: {why}");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
