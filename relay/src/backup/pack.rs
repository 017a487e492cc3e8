//! Makes an archive, beside a relay that runs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use frame::sign::to_hex;
use ring::digest::{Context, SHA256, digest};
use runtime::clock;
use tar::{Builder, EntryType, Header};

use super::files::{self, Found};
use super::manifest::{DATA, Manifest, NAME, Packed, SEAL};
use super::{BackupError, Owner, Places, io_at, megabytes};
use crate::store;

/// How the database is read.
const BUFFER: usize = 256 << 10;

/// What is removed when it is done, or when it failed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It may have got its name, or never have been there.
        let _ = fs::remove_file(&self.0);
    }
}

/// Packs everything into `to`; returns what to print.
pub(crate) fn export(to: &Path, places: &Places) -> Result<String, BackupError> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(BackupError::Exists(to.into()));
    }
    let database = places.data_dir.join(store::FILE);
    let mut found = Found::default();
    files::of_config(&places.config, &mut found)?;
    files::of_data(&places.data_dir, &mut found)?;
    let relay = Owner::of_relay(&places.data_dir);
    let mut packed: Vec<Packed> = found
        .files
        .iter()
        .map(|file| Packed {
            path: file.path.clone(),
            bytes: file.content.len() as u64,
            sha256: to_hex(digest(&SHA256, &file.content).as_ref()),
            mode: file.mode,
            of_user: relay.as_ref().is_some_and(|relay| relay.user == file.user),
            of_group: relay.as_ref().is_some_and(|relay| relay.group == file.group),
        })
        .collect();

    // The database's copy lies beside the archive: there has to be room for it anyway.
    let copy = Temporary(beside(to, "db"));
    let _ = fs::remove_file(&copy.0);
    let schema = if database.exists() {
        // SQLite would make it readable for all.
        private(&copy.0)?;
        let schema = store::snapshot(&database, &copy.0);
        let schema = schema.map_err(|error| BackupError::Store(database.clone(), error))?;
        let (bytes, sha256) = hash(&copy.0)?;
        let path = format!("{DATA}/{}", store::FILE);
        let (mode, of_user, of_group) = (0o600, true, false);
        packed.push(Packed { path, bytes, sha256, mode, of_user, of_group });
        schema
    } else {
        store::SCHEMA
    };
    found.left_out.sort();
    let made_at = frame::wire::format_time(clock::wall_us(), 0);
    let manifest = Manifest::new(schema, made_at, packed, found.left_out);

    let unfinished = Temporary(beside(to, "tar"));
    let _ = fs::remove_file(&unfinished.0);
    let archive = private(&unfinished.0)?;
    write(archive, &manifest, &found.files, &copy.0).map_err(io_at(to))?;
    // Unlike a rename, it writes over nothing.
    match fs::hard_link(&unfinished.0, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(BackupError::Exists(to.into()));
        }
        // FAT, for instance, has no links.
        Err(_) => fs::rename(&unfinished.0, to).map_err(io_at(to))?,
        Ok(()) => {}
    }
    Ok(report(to, &manifest, &database))
}

fn report(to: &Path, manifest: &Manifest, database: &Path) -> String {
    let bytes = manifest.files.iter().map(|file| file.bytes).sum();
    let (path, count) = (to.display(), manifest.files.len());
    let mut out = format!("{path}: {count} files, {}\n\n", megabytes(bytes));
    out += "THIS FILE HOLDS PASSWORDS AND KEYS. Only its owner may read it: keep it so, wherever it goes.\n";
    if !database.exists() {
        out +=
            &format!("\nThere is no {}: no picture and no history go along.\n", database.display());
    }
    if !manifest.left_out.is_empty() {
        out += "\nLeft out:\n";
        for left in &manifest.left_out {
            out += &format!("  {}: {}\n", left.path, left.why);
        }
    }
    let name = to.file_name().unwrap_or(to.as_os_str()).display();
    out += &format!(
        "\nOn the other machine, before a relay runs there: stillwatch-relay import {name}\n"
    );
    out
}

/// `.NAME.what.tmp` in the same folder.
fn beside(path: &Path, what: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().display().to_string();
    path.with_file_name(format!(".{name}.{what}.tmp"))
}

/// A new file that only its owner can read, from its first byte on.
fn private(path: &Path) -> Result<File, BackupError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.map_err(io_at(path))
}

fn hash(path: &Path) -> Result<(u64, String), BackupError> {
    let mut file = File::open(path).map_err(io_at(path))?;
    let (mut buffer, mut context, mut bytes) = (vec![0; BUFFER], Context::new(&SHA256), 0);
    loop {
        let length = file.read(&mut buffer).map_err(io_at(path))?;
        let piece = buffer.get(..length).unwrap_or_default();
        if piece.is_empty() {
            return Ok((bytes, to_hex(context.finish().as_ref())));
        }
        context.update(piece);
        bytes += length as u64;
    }
}

fn write(
    archive: File,
    manifest: &Manifest,
    files: &[files::Small],
    database: &Path,
) -> io::Result<()> {
    let mut builder = Builder::new(io::BufWriter::new(archive));
    let text = serde_json::to_vec_pretty(manifest)?;
    let mut add = |path: &str, mode: u32, bytes: u64, content: &mut dyn Read| {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(mode);
        header.set_size(bytes);
        header.set_mtime(u64::try_from(clock::wall_us() / 1_000_000).unwrap_or_default());
        builder.append_data(&mut header, path, content)
    };
    add(NAME, 0o600, text.len() as u64, &mut text.as_slice())?;
    for file in files {
        add(&file.path, file.mode, file.content.len() as u64, &mut file.content.as_slice())?;
    }
    let copied = format!("{DATA}/{}", store::FILE);
    if let Some(packed) = manifest.files.iter().find(|file| file.path == copied) {
        add(&copied, packed.mode, packed.bytes, &mut File::open(database)?)?;
    }
    let seal = to_hex(digest(&SHA256, &text).as_ref());
    add(SEAL, 0o600, seal.len() as u64, &mut seal.as_bytes())?;
    let mut writer = builder.into_inner()?;
    writer.flush()?;
    writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}
