//! `stillwatch-relay updates …`: publishes updates, and decides which cameras get them. It writes the folder that the
//! running relay reads; neither waits for the other.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use frame::CameraId;
use frame::version::Version;
use runtime::clock;
use rustls_pki_types::CertificateDer;

use super::bundle::{BadBundle, Bundle};
use super::folder::{Coming, Folder, FolderError, Locked};
use super::index::{Added, Channel, Index, MAX_PUBLISHED, NotAdded, Published};
use super::signature;
use super::standing::{Standings, Wish};
use crate::config::UpdatesFiles;

/// What of updates can be done by hand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a bundle and publish it: cameras get it from now on
    Add {
        /// A .raucb file, as scripts/image makes it
        file: PathBuf,
        /// The cameras of this channel get it [default: stable]
        #[arg(long, value_name = "NAME")]
        channel: Option<Channel>,
        /// So many of a hundred cameras get it [default: 100]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
        percent: Option<u8>,
    },
    /// Show what is published, and what is known of cameras
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Change which cameras get a version
    Set {
        /// Such as 0.2.0-20261128.0312
        #[arg(id = "which", value_name = "VERSION")]
        version: Version,
        /// The cameras of this channel get it
        #[arg(long, value_name = "NAME")]
        channel: Option<Channel>,
        /// So many of a hundred cameras get it; a greater share has all of a smaller one
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
        percent: Option<u8>,
    },
    /// Give a version to no further camera
    Pause {
        /// Such as 0.2.0-20261128.0312
        #[arg(id = "which", value_name = "VERSION")]
        version: Version,
    },
    /// Give it to cameras again
    Resume {
        /// Such as 0.2.0-20261128.0312
        #[arg(id = "which", value_name = "VERSION")]
        version: Version,
    },
    /// Forget a version, and delete its file
    Remove {
        /// Such as 0.2.0-20261128.0312
        #[arg(id = "which", value_name = "VERSION")]
        version: Version,
    },
    /// Give a camera no updates
    Hold {
        /// Its id
        camera: CameraId,
    },
    /// Give a camera the newest version now, whatever its share, a pause or its hours say
    Start {
        /// Its id
        camera: CameraId,
    },
    /// Treat a camera like all others again
    Release {
        /// Its id
        camera: CameraId,
    },
}

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Bundle(#[from] BadBundle),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(
        "{file}: version {version} for {compatible} is published with another content already; build it with a \
         version of its own, or first run: stillwatch-relay updates remove {version}",
        file = .0.display(), version = .1, compatible = .2
    )]
    OtherContent(PathBuf, Version, String),
    #[error(
        "there are {MAX_PUBLISHED} updates already; remove one: stillwatch-relay updates remove VERSION"
    )]
    TooMany,
    #[error("no update {0} is published here; {1}")]
    Unknown(Version, String),
    #[error("say what to change: --channel NAME, --percent N, or both")]
    NothingToSet,
    #[error("{file}: {why} (updates.keyring_file)", file = .0.display(), why = .1)]
    Keyring(PathBuf, String),
}

/// Does it; returns what to print.
pub(crate) fn run(command: &Command, files: &UpdatesFiles) -> Result<String, CommandError> {
    let folder = Folder::in_data(&files.data_dir);
    if !matches!(command, Command::Add { .. }) {
        folder.become_owner()?;
    }
    match command {
        Command::Add { file, channel, percent } => {
            let keyring = files.keyring.as_deref().map(read_keyring).transpose()?;
            add(&folder, file, keyring.as_deref(), channel.as_ref(), *percent)
        }
        Command::List { json: false } => Ok(list(&folder.index()?, &folder.standings()?)),
        Command::List { json: true } => list_json(&folder),
        Command::Set { channel: None, percent: None, .. } => Err(CommandError::NothingToSet),
        Command::Set { version, channel, percent } => change(&folder, version, |update| {
            set(update, channel.as_ref(), *percent);
        }),
        Command::Pause { version } => change(&folder, version, |update| {
            update.paused = Some("by its owner".to_owned());
        }),
        Command::Resume { version } => change(&folder, version, |update| update.paused = None),
        Command::Remove { version } => remove(&folder, version),
        Command::Hold { camera } => wish(&folder, camera, Some(Wish::Hold)),
        Command::Start { camera } => wish(&folder, camera, Some(Wish::Start)),
        Command::Release { camera } => wish(&folder, camera, None),
    }
}

fn read_keyring(path: &Path) -> Result<Vec<CertificateDer<'static>>, CommandError> {
    let pem = fs::read(path).map_err(|error| error.to_string());
    let keyring = pem.and_then(|pem| signature::keyring(&pem));
    keyring.map_err(|why| CommandError::Keyring(path.into(), why))
}

fn add(
    folder: &Folder,
    file: &Path,
    keyring: Option<&[CertificateDer<'static>]>,
    channel: Option<&Channel>,
    percent: Option<u8>,
) -> Result<String, CommandError> {
    let now = Duration::from_micros(clock::wall_us().unsigned_abs());
    // First what can be known at once. Then a copy, which nobody changes any more, is looked at from end to end.
    let source = Bundle::open(file, Bundle::file(file)?, keyring, now)?.into_file();
    folder.become_owner()?;
    let coming = Coming::copy(folder, file, &source)?;
    let named = |bad: BadBundle| bad.of(file);
    let copy = Bundle::file(&coming.path)?;
    let mut bundle = Bundle::open(&coming.path, copy, keyring, now).map_err(named)?;
    bundle.check().map_err(named)?;
    let mut update = Published {
        version: bundle.manifest.version.clone(),
        compatible: bundle.manifest.compatible.clone(),
        bytes: bundle.bytes,
        sha256: coming.sha256.clone(),
        channel: Channel::default(),
        percent: 100,
        paused: None,
    };
    set(&mut update, channel, percent);
    let locked = folder.lock()?;
    let mut index = folder.index()?;
    let Published { version, compatible, .. } = &update;
    let added = index.add(&update).map_err(|why| match why {
        NotAdded::OtherContent => {
            CommandError::OtherContent(file.into(), version.clone(), compatible.clone())
        }
        NotAdded::TooMany => CommandError::TooMany,
    })?;
    let same = |known: &&mut Published| known.sha256 == coming.sha256;
    if let Some(known) = index.published.iter_mut().find(same) {
        set(known, channel, percent);
        update = known.clone();
    }
    // Even if it was there: perhaps its file was not.
    coming.arrive()?;
    if matches!(added, Added::New) {
        // Whoever was to start the newest meant another one.
        let mut standings = folder.standings()?;
        if standings.forget_starts() {
            locked.write_standings(&standings)?;
        }
    }
    locked.write_index(&index)?;
    let what = match added {
        Added::New => "published",
        Added::Again => "was published already",
    };
    Ok(format!("{what}: {}\n", line(&update)))
}

fn set(update: &mut Published, channel: Option<&Channel>, percent: Option<u8>) {
    if let Some(channel) = channel {
        update.channel = channel.clone();
    }
    update.percent = percent.unwrap_or(update.percent);
}

fn change(
    folder: &Folder,
    version: &Version,
    change: impl FnMut(&mut Published),
) -> Result<String, CommandError> {
    let (locked, mut index) = found(folder, version)?;
    index.change(version, change);
    locked.write_index(&index)?;
    let changed = index.published.iter().filter(|update| update.version == *version);
    Ok(changed.map(|update| line(update) + "\n").collect())
}

fn remove(folder: &Folder, version: &Version) -> Result<String, CommandError> {
    let (locked, mut index) = found(folder, version)?;
    let mut standings = folder.standings()?;
    index.published.retain(|update| update.version != *version);
    standings.keep_only(|version| index.has(version));
    locked.write_index(&index)?;
    locked.write_standings(&standings)?;
    locked.sweep(&index)?;
    Ok(format!("{version}: removed; no camera gets it any more\n"))
}

/// The index, with the version in it, and nobody else may write it.
fn found<'a>(folder: &'a Folder, version: &Version) -> Result<(Locked<'a>, Index), CommandError> {
    let locked = folder.lock()?;
    let index = folder.index()?;
    if index.has(version) {
        return Ok((locked, index));
    }
    let mut known: Vec<String> =
        index.published.iter().map(|update| update.version.to_string()).collect();
    known.dedup();
    let there = match known.as_slice() {
        [] => "there is none".to_owned(),
        known => format!("there are: {}", known.join(", ")),
    };
    Err(CommandError::Unknown(version.clone(), there))
}

fn wish(folder: &Folder, camera: &CameraId, wish: Option<Wish>) -> Result<String, CommandError> {
    change_wish(folder, camera, wish)?;
    Ok(match wish {
        Some(Wish::Hold) => {
            format!("{camera}: gets no updates until: stillwatch-relay updates release {camera}\n")
        }
        Some(Wish::Start) => {
            format!("{camera}: gets the newest version for it as soon as it asks the next time\n")
        }
        None => format!("{camera}: gets updates as all others\n"),
    })
}

/// What the owner decides for a camera, by hand or on the page.
pub(super) fn change_wish(
    folder: &Folder,
    camera: &CameraId,
    wish: Option<Wish>,
) -> Result<(), FolderError> {
    let locked = folder.lock()?;
    let mut standings = folder.standings()?;
    standings.change(camera, |standing| standing.wish = wish);
    locked.write_standings(&standings)
}

/// `0.2.0-… for stillwatch-debian: channel stable, 100 %, 12.3 MB`
fn line(update: &Published) -> String {
    let Published { version, compatible, bytes, channel, percent, paused, .. } = update;
    let tenths = bytes / 100_000;
    let paused = paused.as_ref().map(|why| format!("; paused: {why}")).unwrap_or_default();
    format!(
        "{version} for {compatible}, {}.{} MB: to {percent} % of channel {channel}{paused}",
        tenths / 10,
        tenths % 10
    )
}

fn list(index: &Index, standings: &Standings) -> String {
    let mut text = String::new();
    if index.published.is_empty() {
        text += "no updates are published; publish one with: stillwatch-relay updates add FILE\n";
    }
    for update in &index.published {
        text += &(line(update) + "\n");
    }
    for (camera, standing) in standings.all() {
        match standing.wish {
            Some(Wish::Hold) => text += &format!("camera {camera}: held, gets no updates\n"),
            Some(Wish::Start) => text += &format!("camera {camera}: gets the newest now\n"),
            None => {}
        }
        for rejection in &standing.rejected {
            let did = if rejection.ran { "took back" } else { "did not install" };
            let (version, why) = (&rejection.version, &rejection.why);
            // Writing into a text does not fail.
            let _ = writeln!(text, "camera {camera}: {did} {version}: {why}");
        }
    }
    text
}

fn list_json(folder: &Folder) -> Result<String, CommandError> {
    let (index, standings) = (folder.index()?, folder.standings()?);
    let cameras: std::collections::BTreeMap<_, _> =
        standings.all().map(|(id, standing)| (id.as_str(), standing)).collect();
    let json = serde_json::json!({ "published": index.published, "cameras": cameras });
    // Our own structure always serialises.
    Ok(serde_json::to_string_pretty(&json).unwrap_or_default() + "\n")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        crate::cli::Cli::command().debug_assert();
    }
}
