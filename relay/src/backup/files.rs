//! Which files make a relay what it is, and which of them stay behind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use runtime::settings::written::read;

use super::manifest::{CONFIG, DATA, LeftOut, MAX_DEPTH, MAX_FILES};
use super::{BackupError, io_at};
use crate::config::KEYS;
use crate::store;

/// A larger file of the data folder is no list, key or certificate.
const MAX_FILE: u64 = 1 << 20;

/// All of them together: they are held in memory.
const MAX_ALL: u64 = 64 << 20;

/// Where settings and passwords may be besides, which no archive takes along.
const ELSEWHERE: [(&str, &str); 4] = [
    ("/etc/default/stillwatch-relay", "settings as variables"),
    ("/etc/credstore/stillwatch-relay.password", "a password of the machine's credential store"),
    (
        "/etc/credstore/stillwatch-relay.owner-password",
        "a password of the machine's credential store",
    ),
    (
        "/etc/credstore/stillwatch-relay.cluster-password",
        "a password of the machine's credential store",
    ),
];

/// A small file, read.
#[derive(Debug)]
pub(super) struct Small {
    /// In the archive.
    pub path: String,
    pub content: Vec<u8>,
    pub mode: u32,
    pub user: u32,
    /// Its group is not that of its owner.
    pub group: u32,
}

/// What goes along, and what does not.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub files: Vec<Small>,
    pub left_out: Vec<LeftOut>,
    bytes: u64,
}

impl Found {
    fn leave(&mut self, path: &Path, why: &str) {
        self.left_out.push(LeftOut { path: path.display().to_string(), why: why.to_owned() });
    }

    /// Reads one; who is gone meanwhile is left out in silence.
    fn take(&mut self, path: &Path, name: String) -> Result<(), BackupError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(BackupError::Io(path.into(), error)),
        };
        let about = file.metadata().map_err(io_at(path))?;
        let mut content = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut content).map_err(io_at(path))?;
        let length = content.len() as u64;
        if length > MAX_FILE || self.bytes + length > MAX_ALL || self.files.len() >= MAX_FILES {
            let why = if length > MAX_FILE {
                "larger than 1 MiB"
            } else {
                "there are too many small files"
            };
            self.leave(path, why);
            return Ok(());
        }
        self.bytes += length;
        self.files.push(Small {
            path: name,
            content,
            mode: about.mode() & 0o777,
            user: about.uid(),
            group: about.gid(),
        });
        Ok(())
    }
}

/// The configuration, and the secrets beside it that it names.
pub(super) fn of_config(config: &Path, found: &mut Found) -> Result<(), BackupError> {
    let folder = config.parent().unwrap_or(config);
    let mut wanted: BTreeSet<PathBuf> =
        ["relay", "owner", "cluster"].map(|of| folder.join(format!("{of}.password"))).into();
    wanted.insert(config.into());
    if config.exists() {
        let text = fs::read_to_string(config).map_err(io_at(config))?;
        // One with mistakes is taken along as it is: what it names, nobody knows then.
        let written = read(&text, KEYS, &[]).unwrap_or_default();
        let names_file = |key: &&str| key.ends_with("_file");
        wanted.extend(
            written
                .keys()
                .filter(names_file)
                .filter_map(|key| written.text(key))
                .map(PathBuf::from),
        );
    }
    for path in wanted {
        match path.file_name().and_then(|name| name.to_str()) {
            Some(_) if path == config => found.take(&path, format!("{CONFIG}/relay.toml"))?,
            Some(name) if path.parent() == Some(folder) => {
                found.take(&path, format!("{CONFIG}/{name}"))?
            }
            _ => {
                found.leave(&path, "it is not beside the configuration: copy it to the same place")
            }
        }
    }
    for (path, what) in ELSEWHERE {
        if Path::new(path).exists() {
            found.leave(Path::new(path), &format!("{what}: copy them by hand, if they matter"));
        }
    }
    Ok(())
}

/// The small files of the data folder, whoever put them there; not the database.
pub(super) fn of_data(folder: &Path, found: &mut Found) -> Result<(), BackupError> {
    let mut folders = vec![(folder.to_owned(), DATA.to_owned(), 1)];
    while let Some((folder, below, depth)) = folders.pop() {
        let mut entries = fs::read_dir(&folder)
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .map_err(io_at(&folder))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, kind) = (entry.path(), entry.file_type().map_err(io_at(&folder))?);
            let file_name = entry.file_name();
            let Some(name) = file_name.to_str() else {
                found.leave(&path, "its name is no text");
                continue;
            };
            if kind.is_dir() && depth < MAX_DEPTH && !name.starts_with('.') {
                folders.push((path, format!("{below}/{name}"), depth + 1));
            } else if kind.is_file() {
                match stays(name) {
                    None => found.take(&path, format!("{below}/{name}"))?,
                    Some("") => {}
                    Some(why) => found.leave(&path, why),
                }
            } else if !name.starts_with('.') {
                found.leave(&path, "neither a file nor a folder that is looked into");
            }
        }
    }
    Ok(())
}

/// Why a file of the data folder stays behind; an empty reason is not worth a word.
fn stays(name: &str) -> Option<&'static str> {
    // It goes along as a copy of one moment.
    let of_database = name
        .strip_prefix(store::FILE)
        .is_some_and(|rest| matches!(rest, "" | "-wal" | "-shm" | "-journal"));
    let is_lock = matches!(name, "lock" | "adding");
    if of_database || is_lock || name.starts_with('.') {
        Some("")
    } else if name.contains(".damaged-") {
        Some("a damaged database that was set aside")
    } else if name.starts_with("global.db") {
        Some("the tutorial's database: its picture was taken over")
    } else if name.ends_with(".raucb") || name.ends_with(".blocks") {
        Some("an update for cameras, large: publish it again, or copy it to the same place")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_small_goes_along_and_the_rest_is_named() {
        let data = tempfile::tempdir().unwrap();
        let put = |name: &str, content: &[u8]| {
            let path = data.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        for name in [
            "stillwatch.db",
            "stillwatch.db-wal",
            "updates/lock",
            "updates/.index.json.tmp",
            ".import/x",
        ] {
            put(name, b"x");
        }
        for name in ["link-key", "acme/cam.example.org/key.pem", "updates/index.json"] {
            put(name, name.as_bytes());
        }
        put("updates/aa.raucb", b"x");
        put("stillwatch.db.damaged-20260101T000000Z", b"x");
        put("large", &vec![0; 1 + (1 << 20)]);
        std::os::unix::fs::symlink("/etc/passwd", data.path().join("link")).unwrap();
        let mut found = Found::default();
        of_data(data.path(), &mut found).unwrap();
        let mut taken: Vec<&str> = found.files.iter().map(|file| file.path.as_str()).collect();
        taken.sort_unstable();
        assert_eq!(
            taken,
            ["data/acme/cam.example.org/key.pem", "data/link-key", "data/updates/index.json"]
        );
        let mut left: Vec<&str> =
            found.left_out.iter().map(|left| left.path.rsplit('/').next().unwrap()).collect();
        left.sort_unstable();
        assert_eq!(left, ["aa.raucb", "large", "link", "stillwatch.db.damaged-20260101T000000Z"]);
    }

    #[test]
    fn the_secrets_that_the_configuration_names_go_along() {
        let folder = tempfile::tempdir().unwrap();
        let beside = folder.path().join("garden.key");
        let config = folder.path().join("my.toml");
        let text = format!(
            "[cameras.garden]\nsign_key_file = \"{}\"\npassword_file = \"/elsewhere/garden.password\"\n",
            beside.display()
        );
        fs::write(&config, text).unwrap();
        fs::write(&beside, "key").unwrap();
        fs::write(folder.path().join("owner.password"), "geheim").unwrap();
        fs::write(folder.path().join("other"), "x").unwrap();
        let mut found = Found::default();
        of_config(&config, &mut found).unwrap();
        let mut taken: Vec<&str> = found.files.iter().map(|file| file.path.as_str()).collect();
        taken.sort_unstable();
        assert_eq!(taken, ["config/garden.key", "config/owner.password", "config/relay.toml"]);
        let left = found.left_out.iter().any(|left| left.path == "/elsewhere/garden.password");
        assert!(left, "{:?}", found.left_out);
    }
}
