//! Reads the card, keeps what is right, and writes the programs' files: the effects.
//!
//! The order is one that a power cut may interrupt anywhere: first the whole text is kept, synced, on the
//! data partition and in the spare, then its secrets are blanked on the card. The card is written to only
//! if something on it is to change, and is writable only then.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::unistd::sethostname;
use runtime::files::{Survives, keep_secret, publish};

use crate::agent;
use crate::card::{self, Card, with_secrets, without_secrets};
use crate::cli::Cli;
use crate::forgive::{self, MAX_BYTES, Unreadable};
use crate::render::{AGENT_CONFIG, PATHS, files};
use crate::report::{Finding, report};
use crate::spare::Spare;

const CARD_FILE: &str = "stillwatch.toml";
const STATUS_FILE: &str = "stillwatch-status.txt";
/// What was right last, its secrets in it.
const KEPT_FILE: &str = "stillwatch.toml";

/// Why the camera is not configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error("nothing to go on with; {STATUS_FILE} on the card says what is missing")]
    Unprovisioned,
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    Write(PathBuf, io::Error),
}

/// Does all of it.
pub(crate) fn run(cli: &Cli) -> Result<(), ApplyError> {
    let zones = cli.root.join("usr/share/zoneinfo");
    let read = |text: &str| card::read(text, |zone| is_zone(&zones, zone));
    let spare = cli.spare.as_deref().map(|path| Spare::new(path, cli.spare_offset));
    let kept = Kept { path: cli.state.join(KEPT_FILE), spare };
    let last = kept.read(|text| read(text).is_ok());
    let (finding, right) = match on_card(&cli.card.join(CARD_FILE)) {
        Ok(Some(text)) => {
            let full = with_secrets(&text, last.as_deref().unwrap_or_default());
            let checked =
                read(&full).and_then(|card| agent::check(&cli.agent, &card).map(|()| card));
            match checked {
                Ok(card) => {
                    let outcome = kept.keep(&full).map_err(|error| error.to_string());
                    (Finding::Right { kept: outcome }, Some((card, text)))
                }
                Err(mistakes) => (Finding::Wrong(mistakes), None),
            }
        }
        Ok(None) => (Finding::Missing, None),
        Err(why) => (Finding::Unreadable(why), None),
    };
    tell(&finding);
    let blank = matches!(finding, Finding::Right { kept: Ok(()) });
    let (in_force, text) = match right {
        Some((card, text)) => (Some(card), Some(text).filter(|_| blank)),
        None => (last.and_then(|text| read(&text).ok()), None),
    };
    write_card(&cli.card, text.as_deref(), &report(&finding, in_force.as_ref()));
    let card = in_force.ok_or(ApplyError::Unprovisioned)?;
    configure(cli, &card)
}

fn tell(finding: &Finding) {
    match finding {
        Finding::Right { kept: Ok(()) } => tracing::info!("{CARD_FILE} is all right"),
        Finding::Right { kept: Err(why) } => {
            tracing::warn!("{CARD_FILE} is all right, but could not be kept ({why})");
        }
        Finding::Missing => tracing::info!("there is no {CARD_FILE} on the card"),
        Finding::Unreadable(why) => tracing::error!("{CARD_FILE} can't be read: {why}"),
        Finding::Wrong(mistakes) => {
            for mistake in mistakes {
                tracing::error!("{CARD_FILE}: {mistake}");
            }
        }
    }
}

/// The file's text; `None` if there is none.
fn on_card(path: &Path) -> Result<Option<String>, Unreadable> {
    match bounded(path) {
        Ok(bytes) => forgive::text(&bytes).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Unreadable::Card(error.to_string())),
    }
}

/// A file, or one byte more of it than is taken.
fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_zone(zones: &Path, zone: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-_/".contains(c);
    zone.chars().all(plain) && !zone.starts_with('/') && zones.join(zone).is_file()
}

/// What was right last, in two places: the data partition may be lost, and with it passwords that are
/// nowhere else.
struct Kept {
    path: PathBuf,
    spare: Option<Spare>,
}

impl Kept {
    fn read(&self, is_right: impl Fn(&str) -> bool) -> Option<String> {
        let file = bounded(&self.path).ok().and_then(|bytes| forgive::text(&bytes).ok());
        file.filter(|text| is_right(text)).or_else(|| {
            let text = self.spare.as_ref()?.read().filter(|text| is_right(text))?;
            tracing::warn!("{} is lost: going on with its spare copy", self.path.display());
            Some(text)
        })
    }

    fn keep(&self, text: &str) -> io::Result<()> {
        if bounded(&self.path).ok().as_deref() != Some(text.as_bytes()) {
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder)?;
            }
            keep_secret(&self.path, text.as_bytes(), Survives::PowerCut)?;
        }
        match &self.spare {
            Some(spare) if spare.read().as_deref() != Some(text) => spare.write(text),
            _ => Ok(()),
        }
    }
}

/// Writes to the card what is to change on it. That it can't be written is told, and no more: the camera
/// works without.
fn write_card(card: &Path, text: Option<&str>, report: &str) {
    let blanked = text.map(|text| (text, without_secrets(text)));
    let blanked = blanked.filter(|(text, blanked)| text != blanked).map(|(_, blanked)| blanked);
    let status = card.join(STATUS_FILE);
    let is_old = bounded(&status).ok().as_deref() != Some(report.as_bytes());
    if blanked.is_none() && !is_old {
        return;
    }
    let _writable = Writable::new(card);
    let write = |path: PathBuf, content: &str| {
        if let Err(error) = publish(&path, content.as_bytes(), Survives::PowerCut) {
            tracing::warn!("{}: can't be written: {error}", path.display());
        }
    };
    if let Some(blanked) = blanked {
        write(card.join(CARD_FILE), &blanked);
    }
    if is_old {
        write(status, report);
    }
}

/// The card, writable for as long as this lives. A folder that is no mount of its own is as it is.
struct Writable<'a>(&'a Path);

impl<'a> Writable<'a> {
    fn new(card: &'a Path) -> Writable<'a> {
        remount(card, MsFlags::empty());
        Writable(card)
    }
}

impl Drop for Writable<'_> {
    fn drop(&mut self) {
        remount(self.0, MsFlags::MS_RDONLY);
    }
}

fn remount(card: &Path, more: MsFlags) {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if let Err(error) = mount(None::<&str>, card, None::<&str>, flags | more, None::<&str>) {
        tracing::debug!("{}: can't be remounted: {error}", card.display());
    }
}

/// Writes the programs' files, and says the machine its name.
fn configure(cli: &Cli, card: &Card) -> Result<(), ApplyError> {
    let files = files(card);
    for path in PATHS.iter().filter(|path| files.iter().all(|file| file.path != **path)) {
        // What an earlier configuration left; most often nothing.
        let _ = fs::remove_file(cli.run.join(path));
    }
    for file in files {
        let path = cli.run.join(file.path);
        let content = file.content.as_bytes();
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        let written = folder.and_then(|()| match file.secret {
            true => keep_secret(&path, content, Survives::Exit),
            false => publish(&path, content, Survives::Exit),
        });
        written.map_err(|error| ApplyError::Write(path, error))?;
    }
    let zone = cli.root.join("etc/localtime");
    let _ = fs::remove_file(&zone);
    if let Err(error) = symlink(format!("../usr/share/zoneinfo/{}", card.timezone), &zone) {
        tracing::warn!("{}: can't set the time zone: {error}", zone.display());
    }
    if cli.root == Path::new("/")
        && let Err(error) = sethostname(card.name.as_str())
    {
        tracing::warn!("can't set the machine's name: {error}");
    }
    tracing::info!("configured as \"{}\", in {}", card.name, cli.run.join(AGENT_CONFIG).display());
    Ok(())
}

#[cfg(test)]
mod tests;
