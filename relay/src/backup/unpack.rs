//! Takes an archive apart, on a machine on which no relay ran yet. It is read twice: the first time nothing is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use frame::sign::to_hex;
use nix::sys::statvfs::statvfs;
use nix::unistd::geteuid;
use ring::digest::{Context, SHA256, digest};
use runtime::settings::written::read as read_settings;
use tar::{Archive, Entry, EntryType};

use super::manifest::{CONFIG, DATA, MAX_FILES, Manifest, NAME, Packed, SEAL};
use super::{BackupError, Owner, Places, io_at, megabytes};
use crate::config::KEYS;
use crate::store;

const BUFFER: usize = 256 << 10;

/// Longest manifest.
const MAX_MANIFEST: u64 = 8 << 20;

/// What an unpacked archive leaves free.
const SPARE: u64 = 16 << 20;

/// Where files wait in the data folder until all are there.
const COMING: &str = ".import";

/// Unpacks `from`; returns what to print. `data_dir` of `places` is where data goes unless the archive's own
/// configuration says where, which `named` overrules.
pub(crate) fn import(from: &Path, places: &Places, named: bool) -> Result<String, BackupError> {
    let (manifest, settings) = check(from)?;
    let data = match data_dir(settings.as_deref()) {
        Some(dir) if !named => dir,
        _ => places.data_dir.clone(),
    };
    let config = &places.config;
    in_the_way(&manifest, config, &data)?;
    let total = manifest.files.iter().map(|file| file.bytes).sum::<u64>();
    room(&data, total + SPARE)?;
    // Only root can give files away.
    let owner = if geteuid().is_root() { Owner::of_relay(&data) } else { None };
    write(from, &manifest, config, &data, owner.as_ref())?;
    Ok(report(&manifest, config, &data, total))
}

fn report(manifest: &Manifest, config: &Path, data: &Path, total: u64) -> String {
    let (count, folder) = (manifest.files.len(), config.parent().unwrap_or(config).display());
    let mut out = format!(
        "{count} files, {}, of {} by version {}: now in {folder} and {}\n",
        megabytes(total),
        manifest.made_at,
        manifest.version,
        data.display()
    );
    if !manifest.left_out.is_empty() {
        out += "\nNot in the archive:\n";
        for left in &manifest.left_out {
            out += &format!("  {}: {}\n", left.path, left.why);
        }
    }
    out += "\nThe archive holds passwords and keys: remove it when all is well.\n";
    out += "Stop the other relay, and its sockets, which would start it again:\n  ";
    out += "systemctl disable --now stillwatch-relay.socket stillwatch-relay-web.socket stillwatch-relay\n";
    out += "Let its name in DNS lead here, and start this one:\n  stillwatch-relay init\n";
    out += "It keeps what is there now. Then: stillwatch-relay doctor\n";
    out
}

/// Reads all of it: each file is the one that the manifest names, and none is missing. Returns the configuration, too.
fn check(from: &Path) -> Result<(Manifest, Option<String>), BackupError> {
    let damaged = |why: &str| BackupError::Damaged(from.into(), why.to_owned());
    let broken = |error: io::Error| BackupError::Damaged(from.into(), error.to_string());
    let file = File::open(from).map_err(io_at(from))?;
    let mut archive = Archive::new(io::BufReader::new(file));
    let mut entries = archive.entries().map_err(broken)?;
    let not_ours = || BackupError::Manifest(from.into(), super::BadManifest::NotOurs);
    let first = entries.next().and_then(Result::ok).ok_or_else(not_ours)?;
    let (manifest, seal) = manifest(from, first)?;
    let mut wanted: BTreeMap<&str, &Packed> =
        manifest.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let (mut settings, mut sealed) = (None, false);
    for entry in entries {
        let mut entry = entry.map_err(broken)?;
        let path = path_of(&entry).ok_or_else(|| damaged("a file in it has no proper name"))?;
        if path == SEAL {
            let mut text = String::new();
            entry.take(seal.len() as u64 + 1).read_to_string(&mut text).map_err(broken)?;
            sealed = text == seal;
            continue;
        }
        let Some(packed) = wanted.remove(path.as_str()) else {
            return Err(damaged(&format!(
                "its manifest does not name {path}, or it is there twice"
            )));
        };
        if entry.header().entry_type() != EntryType::Regular {
            return Err(damaged(&format!("{path} is no file")));
        }
        let mut text = Vec::new();
        let keep: &mut dyn Write =
            if path == format!("{CONFIG}/relay.toml") { &mut text } else { &mut io::sink() };
        if !copy(&mut entry, packed, keep).map_err(broken)? {
            return Err(damaged(&format!("{path} is not as it was packed")));
        }
        if !text.is_empty() {
            settings = String::from_utf8(text).ok();
        }
    }
    match wanted.keys().next() {
        Some(path) => Err(damaged(&format!("{path} is missing"))),
        None if !sealed => {
            Err(damaged("its manifest is not as it was written, or its end is missing"))
        }
        None => Ok((manifest, settings)),
    }
}

/// With its SHA-256.
fn manifest<R: Read>(
    from: &Path,
    mut entry: Entry<'_, R>,
) -> Result<(Manifest, String), BackupError> {
    let bad = |why| BackupError::Manifest(from.into(), why);
    if path_of(&entry).as_deref() != Some(NAME) || entry.size() > MAX_MANIFEST {
        return Err(bad(super::BadManifest::NotOurs));
    }
    let mut text = Vec::new();
    let broken = |error: io::Error| BackupError::Damaged(from.into(), error.to_string());
    entry.read_to_end(&mut text).map_err(broken)?;
    let manifest = Manifest::parse(&text, store::SCHEMA).map_err(bad)?;
    Ok((manifest, to_hex(digest(&SHA256, &text).as_ref())))
}

fn path_of<R: Read>(entry: &Entry<'_, R>) -> Option<String> {
    entry.path().ok()?.to_str().map(str::to_owned)
}

/// Copies a file out of the archive; `false` if it is another one than the manifest says.
fn copy(from: &mut dyn Read, packed: &Packed, to: &mut dyn Write) -> io::Result<bool> {
    let (mut buffer, mut context, mut bytes) = (vec![0; BUFFER], Context::new(&SHA256), 0_u64);
    loop {
        let length = from.read(&mut buffer)?;
        let piece = buffer.get(..length).unwrap_or_default();
        bytes += length as u64;
        if bytes > packed.bytes {
            return Ok(false);
        }
        if piece.is_empty() {
            return Ok(bytes == packed.bytes && to_hex(context.finish().as_ref()) == packed.sha256);
        }
        context.update(piece);
        to.write_all(piece)?;
    }
}

/// What the archive's own configuration says.
fn data_dir(settings: Option<&str>) -> Option<PathBuf> {
    let written = read_settings(settings?, KEYS, &[]).ok()?;
    let dir = PathBuf::from(written.text("relay.data_dir")?);
    dir.is_absolute().then_some(dir)
}

/// Nothing may be there but comments, and what is the same, byte for byte: of an import that was cut off.
fn in_the_way(manifest: &Manifest, config: &Path, data: &Path) -> Result<(), BackupError> {
    let wanted: BTreeMap<PathBuf, &Packed> = manifest
        .files
        .iter()
        .filter_map(|file| Some((target(file, config, data)?, file)))
        .collect();
    for (path, packed) in &wanted {
        if fs::symlink_metadata(path).is_ok()
            && !is_same(path, packed)?
            && !(path == config && is_empty(path))
        {
            return Err(BackupError::InTheWay(path.clone()));
        }
    }
    let mut folders: BTreeSet<&Path> = wanted
        .keys()
        .filter(|path| path.starts_with(data))
        .filter_map(|path| path.parent())
        .collect();
    folders.insert(data);
    let mut looked = vec![data.to_owned()];
    while let Some(folder) = looked.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(BackupError::Io(folder, error)),
        };
        for entry in entries.take(MAX_FILES) {
            let entry = entry.map_err(io_at(&folder))?;
            let path = entry.path();
            if path == data.join(COMING) || wanted.contains_key(&path) {
                continue;
            }
            // A link would lead root elsewhere.
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && folders.iter().any(|folder| folder.starts_with(&path)) {
                looked.push(path);
                continue;
            }
            return Err(BackupError::InTheWay(path));
        }
    }
    Ok(())
}

fn is_same(path: &Path, packed: &Packed) -> Result<bool, BackupError> {
    let about = fs::symlink_metadata(path).map_err(io_at(path))?;
    if !about.is_file() || about.len() != packed.bytes {
        return Ok(false);
    }
    let mut file = File::open(path).map_err(io_at(path))?;
    copy(&mut file, packed, &mut io::sink()).map_err(io_at(path))
}

/// As the package leaves it: comments only.
fn is_empty(config: &Path) -> bool {
    let is_comment = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    fs::read_to_string(config).is_ok_and(|text| text.lines().all(is_comment))
}

fn target(packed: &Packed, config: &Path, data: &Path) -> Option<PathBuf> {
    let (top, rest) = packed.path.split_once('/')?;
    match (top, rest) {
        (CONFIG, "relay.toml") => Some(config.into()),
        (CONFIG, name) => Some(config.with_file_name(name)),
        (DATA, rest) => Some(data.join(rest)),
        _ => None,
    }
}

fn room(data: &Path, needed: u64) -> Result<(), BackupError> {
    let there = data.ancestors().find(|path| path.is_dir()).unwrap_or(data);
    let space = statvfs(there).map_err(|error| BackupError::Io(there.into(), error.into()))?;
    let free = space.blocks_available() * space.fragment_size();
    if free < needed {
        Err(BackupError::NoSpace { path: there.into(), needed, free })
    } else {
        Ok(())
    }
}

fn write(
    from: &Path,
    manifest: &Manifest,
    config: &Path,
    data: &Path,
    owner: Option<&Owner>,
) -> Result<(), BackupError> {
    make_folder(data, 0o750, owner)?;
    let of_config = config.parent().unwrap_or(config);
    make_folder(of_config, if geteuid().is_root() { 0o755 } else { 0o700 }, None)?;
    let coming = data.join(COMING);
    // Of an import that was cut off.
    let _ = fs::remove_dir_all(&coming);
    DirBuilder::new().mode(0o700).create(&coming).map_err(io_at(&coming))?;
    let changed = || BackupError::Changed(coming.clone());
    let wanted: BTreeMap<&str, &Packed> =
        manifest.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let file = File::open(from).map_err(io_at(from))?;
    let mut archive = Archive::new(io::BufReader::new(file));
    let mut arrived = Vec::new();
    for (n, entry) in archive.entries().map_err(io_at(from))?.enumerate().skip(1) {
        let mut entry = entry.map_err(io_at(from))?;
        let path = path_of(&entry).ok_or_else(changed)?;
        if path == SEAL {
            continue;
        }
        let packed = *wanted.get(path.as_str()).ok_or_else(changed)?;
        let target = target(packed, config, data).ok_or_else(changed)?;
        let waits = coming.join(n.to_string());
        if !take(&mut entry, packed, &waits, owner).map_err(io_at(&waits))? {
            return Err(changed());
        }
        arrived.push((waits, target));
    }
    // The configuration's last: with it a relay would start.
    arrived.sort_by_key(|(_, target)| (!target.starts_with(data), target == config));
    for (waits, target) in arrived {
        let below = target.strip_prefix(data).ok().and_then(Path::parent);
        let mut folder = data.to_owned();
        for part in below.into_iter().flatten() {
            folder.push(part);
            make_folder(&folder, 0o700, owner)?;
        }
        place(&waits, &target).map_err(io_at(&target))?;
    }
    fs::remove_dir_all(&coming).map_err(io_at(&coming))
}

/// Makes one, unless it is there.
fn make_folder(path: &Path, mode: u32, owner: Option<&Owner>) -> Result<(), BackupError> {
    if path.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.and_then(|()| give(path, owner)).map_err(io_at(path))
}

fn give(path: &Path, owner: Option<&Owner>) -> io::Result<()> {
    owner.map_or(Ok(()), |owner| chown(path, Some(owner.user), Some(owner.group)))
}

/// Writes one where it waits; `false` if it is not what it was.
fn take(
    entry: &mut dyn Read,
    packed: &Packed,
    waits: &Path,
    owner: Option<&Owner>,
) -> io::Result<bool> {
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(waits)?;
    if !copy(entry, packed, &mut out)? {
        return Ok(false);
    }
    out.sync_all()?;
    let of_data = packed.path.starts_with(DATA);
    match owner {
        Some(_) if of_data => give(waits, owner)?,
        Some(owner) => {
            let user = packed.of_user.then_some(owner.user);
            chown(waits, user, packed.of_group.then_some(owner.group))?;
        }
        None => {}
    }
    // Nobody's set-user-ID bits, and nobody but the relay may write to what is its own.
    let mode = packed.mode & if of_data { 0o640 } else { 0o644 };
    fs::set_permissions(waits, Permissions::from_mode(mode))?;
    Ok(true)
}

/// Gives a file its place, on another file system as well.
fn place(waits: &Path, target: &Path) -> io::Result<()> {
    let renamed = match fs::rename(waits, target) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let mut name = target.file_name().unwrap_or_default().to_owned();
            name.push(".import");
            let beside = target.with_file_name(name);
            let about = fs::metadata(waits)?;
            let mut out = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&beside)?;
            io::copy(&mut File::open(waits)?, &mut out)?;
            chown(&beside, Some(about.uid()), Some(about.gid()))?;
            out.set_permissions(about.permissions())?;
            out.sync_all()?;
            fs::rename(&beside, target)
        }
        outcome => outcome,
    };
    renamed.and_then(|()| File::open(target.parent().unwrap_or(target))?.sync_all())
}
