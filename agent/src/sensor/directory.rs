//! The source `directory`: a folder's JPEGs in turn, or its newest file whenever there is a newer
//! one (what a camera's FTP upload or `raspistill` on a timer leaves behind).
//!
//! In the mode `newest` a picture's time is its file's: that is when it was taken. In the mode
//! `cycle` it is the time of playing, because old times that come round again would make the relay
//! drop the frames as older than what it has.
//!
//! A folder without anything new is no failure: whoever fills it may be slow. The picture's age, and
//! the relay's *stale*, tell the viewer.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::park_timeout;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use frame::Picture;
use runtime::clock;

use super::{Capture, MAX_FRAME_BYTES, Source, SourceError, captured_at, stamp};
use crate::config::{CameraConfig, ClockTrust, DirectoryMode};

/// A file younger than this that is no complete JPEG is still being written.
const WRITING: Duration = Duration::from_secs(10);

/// How often the folder is looked at for something new, at most.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// After so long without anything new, the caller gets its turn.
const NOTHING_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    mode: DirectoryMode,
    interval: Duration,
    trust: ClockTrust,
    /// The file shown last, and its time.
    shown: Option<(PathBuf, SystemTime)>,
    next_us: i64,
    description: String,
}

impl Directory {
    pub(super) fn open(config: &CameraConfig, trust: ClockTrust) -> Result<Self, SourceError> {
        let path = config.path.clone().unwrap_or_default();
        fs::read_dir(&path).map_err(|error| SourceError::Open(path.clone(), error))?;
        Ok(Directory {
            description: format!("folder {} ({:?})", path.display(), config.directory_mode)
                .to_lowercase(),
            path,
            mode: config.directory_mode,
            interval: config.interval(),
            trust,
            shown: None,
            next_us: clock::monotonic_us(),
        })
    }

    fn candidates(&self) -> Result<Vec<(PathBuf, SystemTime)>, SourceError> {
        let gone = |error| SourceError::Open(self.path.clone(), error);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(gone)? {
            let Ok(path) = entry.map(|entry| entry.path()) else { continue };
            let Ok(meta) = fs::metadata(&path) else { continue };
            let Ok(modified) = meta.modified() else { continue };
            if meta.is_file() && meta.len() <= MAX_FRAME_BYTES as u64 && is_jpeg_name(&path) {
                files.push((path, modified));
            }
        }
        Ok(files)
    }

    fn newer(&mut self) -> Result<Option<Capture>, SourceError> {
        let newest = self.candidates()?.into_iter().max_by_key(|(_, modified)| *modified);
        let Some((path, modified)) = newest else { return Ok(None) };
        if self.shown.as_ref() == Some(&(path.clone(), modified)) {
            return Ok(None);
        }
        let since_epoch = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified_us = i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX);
        let read = read(&path);
        let age = Duration::from_micros((clock::wall_us() - modified_us).max(0).unsigned_abs());
        if read.is_err() && age < WRITING {
            return Ok(None);
        }
        self.shown = Some((path, modified));
        let captured = stamp(modified_us, self.trust);
        Ok(Some(Capture { picture: read?, captured, may_repeat: true }))
    }

    fn next_in_turn(&mut self) -> Result<Option<Capture>, SourceError> {
        let mut files = self.candidates()?;
        files.sort();
        let last = self.shown.as_ref().map(|(path, _)| path.clone());
        let following = files.iter().find(|(path, _)| Some(path) > last.as_ref());
        let Some(file) = following.or(files.first()).cloned() else { return Ok(None) };
        let picture = read(&file.0);
        self.shown = Some(file);
        let captured = captured_at(None, self.trust);
        Ok(Some(Capture { picture: picture?, captured, may_repeat: true }))
    }
}

impl Source for Directory {
    fn next(&mut self) -> Result<Option<Capture>, SourceError> {
        let began = clock::mono();
        loop {
            wait_until(self.next_us);
            let found = match self.mode {
                DirectoryMode::Newest => self.newer(),
                DirectoryMode::Cycle => self.next_in_turn(),
            };
            let wait = match found {
                Ok(None) => self.interval.min(LOOK_EVERY),
                Ok(Some(_)) | Err(_) => self.interval,
            };
            let wait = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
            // Never catches up on what it missed.
            self.next_us = self.next_us.max(clock::monotonic_us() - wait).saturating_add(wait);
            let found = found?;
            if found.is_some() || clock::mono().since(began) > NOTHING_AFTER {
                return Ok(found);
            }
        }
    }

    fn describe(&self) -> &str {
        &self.description
    }
}

fn is_jpeg_name(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let hidden = path.file_name().and_then(|n| n.to_str()).is_none_or(|n| n.starts_with('.'));
    !hidden && ["jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

fn read(path: &Path) -> Result<Picture, SourceError> {
    let bytes = fs::read(path).map_err(|error| SourceError::Open(path.to_owned(), error))?;
    Ok(Picture::normalise(&bytes)?)
}

/// Waits until `CLOCK_MONOTONIC` reaches `monotonic_us`.
pub(super) fn wait_until(monotonic_us: i64) {
    loop {
        let left = monotonic_us.saturating_sub(clock::monotonic_us());
        let Ok(left) = u64::try_from(left) else { return };
        if left == 0 {
            return;
        }
        // May return early: hence the loop.
        park_timeout(Duration::from_micros(left));
    }
}

#[cfg(test)]
mod tests;
