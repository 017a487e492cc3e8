//! Reads the card, keeps what is right, and writes the programs' files: the effects.
//!
//! The order is one that a power cut may interrupt anywhere: first the whole text is kept, synced, on the
//! data partition and in the spare, then its secrets are blanked on the card. The card is written to only
//! if something on it is to change, and is writable only then.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::unistd::sethostname;
use runtime::card::Writable;
use runtime::files::{Survives, keep_secret, publish};
use runtime::settings::written::Mistake;

use crate::access_point::{AccessPoint, OFFERED};
use crate::agent;
use crate::card::{self, Card, UTC, is_readable, with_secrets, without_secrets};
use crate::cli::Cli;
use crate::forgive::{self, MAX_BYTES, Unreadable};
use crate::render::{AGENT_CONFIG, File, PATHS, files};
use crate::report::{Data, Finding, report};
use crate::spare::Spare;

const CARD_FILE: &str = "stillwatch.toml";
const STATUS_FILE: &str = "stillwatch-status.txt";
/// The same, from /run on: for a screen.
const STATUS_HERE: &str = "stillwatch/status.txt";
/// What the initrd says of the data partition.
const DATA_HERE: &str = "stillwatch/data";
/// The report again, there only if the owner has something to put right.
const MISTAKES_HERE: &str = "stillwatch/mistakes.txt";
/// What becomes of it where endings are hidden, or where it was only copied.
const MISNAMED: [&str; 2] = ["stillwatch.toml.txt", "stillwatch-example.toml.txt"];
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
    let copies = copies(cli);
    let last = copies.newest();
    let (finding, in_force) = look(cli, &copies, last.as_ref());
    tell(&finding);
    let access_point = if in_force.is_some() { None } else { Some(access_point(cli)) };
    let data = data(&cli.run);
    let report = report(&finding, in_force.as_ref(), access_point.as_ref(), data);
    tell_on_card(&cli.card, &report);
    tell_here(&cli.run, &finding, &report);
    offer(cli, access_point.as_ref())?;
    let card = in_force.ok_or(ApplyError::Unprovisioned)?;
    configure(cli, &card)
}

/// What became of the data partition at this boot.
fn data(run: &Path) -> Data {
    let word = fs::read_to_string(run.join(DATA_HERE)).unwrap_or_default();
    let data = Data::named(&word);
    if let Some(sentence) = data.sentence() {
        tracing::warn!("{sentence}");
    }
    data
}

/// Whether `text` may become the configuration: the card's file, or what was sent to the setup page.
///
/// # Errors
/// All of its mistakes.
pub(crate) fn check(cli: &Cli, text: &str) -> Result<Card, Vec<Mistake>> {
    let zones = zones(cli);
    let card = card::read(text, |zone| is_zone(&zones, zone))?;
    agent::check(&cli.agent, &card).map(|()| card)
}

/// Keeps `text`, which is right, as if it had stood on the card, and puts it there without its secrets. In
/// this order: wherever the power is cut, the next boot finds none of it, or goes on with all of it.
pub(crate) fn take(cli: &Cli, text: &str) -> Result<(), String> {
    let copies = copies(cli);
    copies.keep(text, copies.newest().as_ref())?;
    if let Err(why) = put_on_card(&cli.card, &without_secrets(text)) {
        tracing::warn!("{why}: it is in the camera all the same");
    }
    Ok(())
}

fn copies(cli: &Cli) -> Copies {
    let spare = cli.spare.as_deref().map(|path| Spare::new(path, cli.spare_offset));
    Copies { path: cli.state.join(KEPT_FILE), spare }
}

/// The setup access point of a card that configures nothing.
fn access_point(cli: &Cli) -> AccessPoint {
    let text = on_card(&cli.card.join(CARD_FILE)).ok().flatten().unwrap_or_default();
    let (name, given) = card::for_setup(&text);
    AccessPoint::find(&cli.state, &name, given.as_deref())
}

/// Where its keeper finds it, which starts only then.
fn offer(cli: &Cli, access_point: Option<&AccessPoint>) -> Result<(), ApplyError> {
    let file = access_point.map(|access_point| File {
        path: OFFERED,
        content: access_point.offered(),
        secret: true,
    });
    write_files(&cli.run, file.as_slice(), &[OFFERED])
}

/// What is on the card, and what is in force. What is right is kept, and loses its secrets there.
fn look(cli: &Cli, copies: &Copies, last: Option<&Kept>) -> (Finding, Option<Card>) {
    // It was right once. A system that is older or newer, and knows other zones, is no reason to be gone.
    let before = || last.and_then(|kept| card::read(&kept.text, |_| true).ok());
    let text = match on_card(&cli.card.join(CARD_FILE)) {
        Ok(Some(text)) => text,
        Ok(None) => {
            let misnamed = MISNAMED.into_iter().find(|name| cli.card.join(name).exists());
            return (Finding::Missing { misnamed }, before());
        }
        Err(why) => return (Finding::Unreadable(why), before()),
    };
    let full = with_secrets(&text, last.map_or("", |kept| &kept.text));
    if last.is_none() && card::is_for_setup_only(&full) {
        return (Finding::SetupOnly, None);
    }
    match check(cli, &full) {
        Ok(card) => {
            let kept = copies.keep(&full, last).and_then(|()| blank(&cli.card, &text));
            (Finding::Right { kept }, Some(card))
        }
        Err(mistakes) => (Finding::Wrong(mistakes), before()),
    }
}

fn tell(finding: &Finding) {
    match finding {
        Finding::Right { kept: Ok(()) } => tracing::info!("{CARD_FILE} is all right"),
        Finding::Right { kept: Err(why) } => {
            tracing::warn!("{CARD_FILE} is all right, but its passwords stay on the card: {why}");
        }
        Finding::SetupOnly => tracing::info!("{CARD_FILE} leaves all to the setup access point"),
        Finding::Missing { .. } => tracing::info!("there is no {CARD_FILE} on the card"),
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
    fs::File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn zones(cli: &Cli) -> PathBuf {
    cli.root.join("usr/share/zoneinfo")
}

fn is_zone(zones: &Path, zone: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-_/".contains(c);
    zone == UTC || zone.chars().all(plain) && !zone.starts_with('/') && zones.join(zone).is_file()
}

/// What was right last.
struct Kept {
    /// Counts its changes. The data partition may be away for a while, and come back with an older one.
    generation: u64,
    text: String,
}

impl Kept {
    /// The number stands in a comment before the text, the same in both copies.
    fn parse(copy: &str) -> Option<Kept> {
        let (first, text) = copy.split_once('\n')?;
        let generation = first.strip_prefix(GENERATION)?.parse().ok()?;
        is_readable(text).then(|| Kept { generation, text: text.to_owned() })
    }
}

/// Before the number of a copy.
const GENERATION: &str = "# kept by stillwatch-provision, change ";

/// The two copies of it: the data partition may be lost, and with it passwords that are nowhere else.
struct Copies {
    path: PathBuf,
    spare: Option<Spare>,
}

impl Copies {
    fn file(&self) -> Option<String> {
        bounded(&self.path).ok().and_then(|bytes| String::from_utf8(bytes).ok())
    }

    fn newest(&self) -> Option<Kept> {
        let file = self.file().and_then(|copy| Kept::parse(&copy));
        let spare = self.spare.as_ref().and_then(Spare::read).and_then(|copy| Kept::parse(&copy));
        let newer =
            |kept: &Kept| file.as_ref().is_none_or(|file| file.generation < kept.generation);
        match spare.filter(newer) {
            Some(spare) => {
                let path = self.path.display();
                tracing::warn!("{path} is lost, or an old one: going on with its spare copy");
                Some(spare)
            }
            None => file,
        }
    }

    /// Keeps `text` in both places; one of them is enough.
    fn keep(&self, text: &str, last: Option<&Kept>) -> Result<(), String> {
        let generation = last.map_or(1, |last| match last.text == text {
            true => last.generation,
            false => last.generation.saturating_add(1),
        });
        let copy = format!("{GENERATION}{generation}\n{text}");
        if copy.len() > MAX_BYTES {
            return Err(format!("it is longer than {} KB", MAX_BYTES / 1024));
        }
        let file = if self.file().as_ref() == Some(&copy) { Ok(()) } else { self.write(&copy) };
        let file = file.map_err(|error| format!("{}: {error}", self.path.display()));
        let spare = match &self.spare {
            Some(spare) if spare.read().as_ref() != Some(&copy) => spare.write(&copy),
            Some(_) => Ok(()),
            None => return file,
        };
        let spare = spare.map_err(|error| format!("the spare copy: {error}"));
        match (file, spare) {
            (Ok(()), Ok(())) => Ok(()),
            (Err(why), Ok(())) | (Ok(()), Err(why)) => {
                tracing::warn!("kept in one place only: {why}");
                Ok(())
            }
            (Err(file), Err(spare)) => Err(format!("{file}; {spare}")),
        }
    }

    fn write(&self, copy: &str) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        keep_secret(&self.path, copy.as_bytes(), Survives::PowerCut)
    }
}

/// Takes the secrets out of the card's file, if there are any.
fn blank(card: &Path, text: &str) -> Result<(), String> {
    let blanked = without_secrets(text);
    if blanked == text {
        return Ok(());
    }
    put_on_card(card, &blanked)
}

fn put_on_card(card: &Path, text: &str) -> Result<(), String> {
    let path = card.join(CARD_FILE);
    let _writable = Writable::new(card);
    publish(&path, text.as_bytes(), Survives::PowerCut)
        .map_err(|error| format!("{} can't be written: {error}", path.display()))
}

/// That the card can't be written to is told, and no more: the camera works without.
fn tell_on_card(card: &Path, report: &str) {
    let path = card.join(STATUS_FILE);
    if bounded(&path).ok().as_deref() == Some(report.as_bytes()) {
        return;
    }
    let _writable = Writable::new(card);
    if let Err(error) = publish(&path, report.as_bytes(), Survives::PowerCut) {
        tracing::warn!("{}: can't be written: {error}", path.display());
    }
}

/// For what else tells it: a screen, a light.
fn tell_here(run: &Path, finding: &Finding, report: &str) {
    let file = |path| File { path, content: report.to_owned(), secret: false };
    let mut files = vec![file(STATUS_HERE)];
    if !matches!(finding, Finding::Right { .. }) {
        files.push(file(MISTAKES_HERE));
    }
    if let Err(error) = write_files(run, &files, &[MISTAKES_HERE]) {
        tracing::warn!("{error}");
    }
}

/// Writes `files` below `run`, and removes what else there is of `paths`.
pub(crate) fn write_files(run: &Path, files: &[File], paths: &[&str]) -> Result<(), ApplyError> {
    for path in paths.iter().filter(|path| files.iter().all(|file| file.path != **path)) {
        // What an earlier configuration left; most often nothing.
        let _ = fs::remove_file(run.join(path));
    }
    for file in files {
        let path = run.join(file.path);
        let content = file.content.as_bytes();
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        let written = folder.and_then(|()| match file.secret {
            true => keep_secret(&path, content, Survives::Exit),
            false => publish(&path, content, Survives::Exit),
        });
        written.map_err(|error| ApplyError::Write(path, error))?;
    }
    Ok(())
}

/// Writes the programs' files, and says the machine its name.
fn configure(cli: &Cli, card: &Card) -> Result<(), ApplyError> {
    write_files(&cli.run, &files(card), &PATHS)?;
    let timezone = Some(card.timezone.as_str()).filter(|zone| is_zone(&zones(cli), zone));
    let link = cli.root.join("etc/localtime");
    let _ = fs::remove_file(&link);
    if let Err(error) = symlink(format!("../usr/share/zoneinfo/{}", timezone.unwrap_or(UTC)), &link)
    {
        tracing::warn!("{}: can't set the time zone: {error}", link.display());
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
