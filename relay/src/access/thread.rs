//! The thread that reads and writes the folder `access` while the relay runs. Nobody waits for its disk: what it read
//! last is what requests see.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use frame::CameraId;
use ladder::Mono;
use runtime::clock;
use runtime::event::{About, Event};
use tokio::sync::oneshot;

use super::folder::{Content, Folder, FolderError};
use super::gate::Gate;
use super::list::{Entry, List};
use crate::data::{LastRead, Stamp};

/// How often it looks whether somebody else has written the files.
const LOOK: Duration = Duration::from_secs(1);

/// How often it looks whether a password is to be retired.
const RETIRE_EVERY: Duration = Duration::from_secs(60);

/// A password was used, or tried though it is retired.
#[derive(Debug)]
pub(super) struct Letter {
    /// The password's.
    pub name: String,
    pub camera: CameraId,
    pub at_us: i64,
}

/// What was read last.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub content: Content,
    /// Once all of it could be read.
    pub read: bool,
    /// Why that is older than what is in the folder.
    problem: Option<String>,
}

/// For all who ask.
pub(super) type Shared = LastRead<Known>;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Thread {
    pub folder: Folder,
    pub shared: Arc<Shared>,
    pub gate: Arc<Gate>,
    /// Of what was read last.
    pub stamps: Option<[Option<Stamp>; 3]>,
    pub retired_at: Mono,
}

impl Thread {
    /// Until nobody can write to it any more. The first look is told.
    pub(super) fn run(mut self, mail: &Receiver<Letter>, looked: oneshot::Sender<()>) {
        self.look();
        // Whoever started it may have given up waiting.
        let _ = looked.send(());
        loop {
            let letter = match mail.recv_timeout(LOOK) {
                Ok(letter) => Some(letter),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Some(letter) = letter {
                self.report(|thread| thread.note(&letter));
            }
            self.look();
            let now = clock::mono();
            self.gate.sweep(now);
            if now.since(self.retired_at) >= RETIRE_EVERY {
                self.retired_at = now;
                self.report(Thread::retire);
            }
        }
    }

    fn report(&mut self, act: impl FnOnce(&mut Thread) -> Result<(), FolderError>) {
        if let Err(error) = act(self) {
            tracing::error!("access: {error}");
        }
    }

    /// Reads the files if they are others than before. What can't be read changes nothing, and is said.
    fn look(&mut self) {
        let stamps = self.folder.stamps();
        if self.stamps == Some(stamps) {
            return;
        }
        let before = self.shared.get();
        match self.folder.read() {
            Ok(mut content) => {
                if let Some(problem) = &before.problem {
                    tracing::info!("access: the files can be read again ({problem})");
                }
                if before.read {
                    say_changes(&before.content, &content);
                    // Only this thread writes it, and what it could not write it still knows.
                    content.used = before.content.used.clone();
                }
                if let (false, Some(problem)) = (before.read, &content.used_problem) {
                    tracing::warn!("access: who used which password when is forgotten: {problem}");
                }
                self.shared.set(Known { content, read: true, problem: None });
                self.stamps = Some(stamps);
            }
            Err(error) => {
                // It is tried again with each look: a disk may come back without the file being another one.
                let problem = Some(error.to_string());
                if before.problem != problem {
                    tracing::error!("access: {error}");
                    self.shared.set(Known { problem, ..Known::clone(&before) });
                }
            }
        }
    }

    fn note(&mut self, letter: &Letter) -> Result<(), FolderError> {
        let Letter { name, camera, at_us } = letter;
        let mut known = Known::clone(&self.shared.get());
        let Content { list, used, .. } = &mut known.content;
        // Several may have come before the first was noted.
        if !known.read || !used.is_news(name, camera, *at_us) {
            return Ok(());
        }
        used.note(name, camera, *at_us);
        used.keep_only(|name| list.all().iter().any(|entry| entry.name() == name));
        let used = used.clone();
        self.shared.set(known);
        self.folder.lock()?.write_used(&used)
    }

    /// Retires passwords that no camera needs any more.
    fn retire(&mut self) -> Result<(), FolderError> {
        let known = self.shared.get();
        let now_us = clock::wall_us();
        if !known.read || known.content.list.due(&known.content.used, now_us).is_empty() {
            return Ok(());
        }
        let locked = self.folder.lock()?;
        // By now it may be another one.
        let mut list = self.folder.read()?.list;
        for Entry { place, number, .. } in list.due(&known.content.used, now_us) {
            list.retire(&place, number, now_us);
        }
        locked.write_list(&list)
    }
}

/// Tells the journal what somebody did by command line, or what was retired.
fn say_changes(before: &Content, now: &Content) {
    let same = |a: &Entry, b: &Entry| a.hash == b.hash;
    let find = |list: &List, one: &Entry| list.all().iter().find(|e| same(e, one)).cloned();
    let say = |event: Event, entry: &Entry, what: &str| {
        let Entry { place, number, .. } = entry;
        let about =
            About { camera: place.camera().map(CameraId::as_str), ..About::organ("access") };
        event.say(about, format_args!("password {number} of {place} {what}"));
    };
    for entry in now.list.all() {
        match find(&before.list, entry) {
            None if entry.follows.is_some() => {
                say(
                    Event::PasswordAdded,
                    entry,
                    "was added; what was valid before stays so for now",
                );
            }
            None => say(Event::PasswordAdded, entry, "was added"),
            Some(was) if was.is_valid() && !entry.is_valid() => {
                say(Event::PasswordRetired, entry, "is retired: it opens nothing any more");
            }
            Some(_) => {}
        }
    }
    for entry in before.list.all() {
        if entry.is_valid() && find(&now.list, entry).is_none() {
            say(Event::PasswordRetired, entry, "was removed: it opens nothing any more");
        }
    }
    if before.links.is_some() && before.links != now.links {
        let about = About::organ("access");
        Event::LinksRevoked.say(about, format_args!("all links that were given out have ended"));
    }
}

#[cfg(test)]
mod tests;
