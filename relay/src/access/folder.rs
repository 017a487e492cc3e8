//! The folder `access` in the relay's data folder: passwords' hashes, the keys, and which password was used when. The
//! command line and the relay both write it, each under a lock; its owner alone may read it. Everything here waits for
//! the disk.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, rename};
use std::io::ErrorKind::{AlreadyExists, NotADirectory, NotFound};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use frame::CameraId;
use runtime::files::{Survives, keep_secret};

use super::key::Key;
use super::list::List;
use super::used::Used;
use crate::data::{self, DataError, Stamp, hint};
use crate::words::NoRandom;

/// Longest file that is read.
const MAX_FILE: u64 = 8 << 20;

/// When passwords were used; and what can't be read of that, once there is a new one.
const USED: &str = "used.json";
const DAMAGED: &str = "used.json.damaged";

/// What can go wrong with it. Each names the place and the fix.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    #[error("{path}: {error}{hint}", path = .0.display(), error = .1, hint = hint(.1))]
    Io(PathBuf, io::Error),
    #[error(
        "{path}: this is not as it was written: {why}. Nothing is changed until it is put back from a backup, or \
         removed; then the passwords in it are gone, and new ones have to be made",
        path = .0.display(), why = .1
    )]
    Garbage(PathBuf, String),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
}

/// All that is in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    pub list: List,
    /// Of the passwords' hashes; there is one if the list is not empty.
    pub key: Option<Key>,
    /// Of links; without one none is good.
    pub links: Option<Key>,
    pub used: Used,
    /// Why nothing is known of uses.
    pub used_problem: Option<String>,
}

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// Whoever has it may change the files.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    folder: &'a Folder,
    _lock: File,
}

impl Folder {
    /// In the relay's data folder; nothing is made.
    pub(crate) fn in_data(data: &Path) -> Folder {
        Folder { path: data.join("access") }
    }

    /// Whether there is a list of passwords, as far as this process may see.
    pub(crate) fn has_passwords(&self) -> bool {
        self.file("passwords.json").exists()
    }

    /// The cameras that have a password of their own here: the relay's is not theirs, or not for long. What is wrong
    /// with the list, the relay and `passwords list` say.
    pub(crate) fn cameras(&self) -> BTreeSet<CameraId> {
        // It is root who asks, and the folder is not root's: what lies there may be a pipe.
        let path = self.file("passwords.json");
        if !fs::symlink_metadata(path).is_ok_and(|about| about.is_file()) {
            return BTreeSet::new();
        }
        let list = self.parsed("passwords.json", List::parse).ok().flatten().unwrap_or_default();
        let valid = list.all().iter().filter(|entry| entry.is_valid());
        valid.filter_map(|entry| entry.place.camera().cloned()).collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads all of it; where there is no file there is nothing.
    pub(super) fn read(&self) -> Result<Content, FolderError> {
        let list = self.parsed("passwords.json", List::parse)?.unwrap_or_default();
        let key = |text: &str| Key::parse(text).ok_or_else(|| "64 hexadecimal digits".to_owned());
        let hashing = self.parsed("passwords.key", key)?;
        if hashing.is_none() && !list.all().is_empty() {
            let why = "there is none, and without it the passwords in passwords.json fit nobody";
            return Err(FolderError::Garbage(self.file("passwords.key"), why.to_owned()));
        }
        let links = self.parsed("links.key", key)?;
        // Cameras go on without it.
        let (used, used_problem) = match self.parsed(USED, Used::parse) {
            Ok(used) => (used.unwrap_or_default(), None),
            Err(error) => (Used::default(), Some(error.to_string())),
        };
        Ok(Content { list, key: hashing, links, used, used_problem })
    }

    /// `None` if there is no such file.
    fn parsed<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, FolderError> {
        let path = self.file(name);
        let failed = |error| FolderError::Io(path.clone(), error);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
        let text = if bytes.len() as u64 > MAX_FILE {
            Err(format!("longer than {MAX_FILE} bytes"))
        } else {
            String::from_utf8(bytes).map_err(|error| error.to_string())
        };
        let parsed = text.and_then(|text| parse(&text));
        parsed.map(Some).map_err(|why| FolderError::Garbage(path.clone(), why))
    }

    /// Of what the command line writes: others mean that something was written.
    pub(super) fn stamps(&self) -> [Option<Stamp>; 3] {
        ["passwords.json", "passwords.key", "links.key"].map(|name| Stamp::of(&self.file(name)))
    }

    /// Waits until nobody else changes the files.
    pub(super) fn lock(&self) -> Result<Locked<'_>, FolderError> {
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() != AlreadyExists => {
                return Err(FolderError::Io(self.path.clone(), error));
            }
            _ => {}
        }
        let path = self.file("lock");
        let opened =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let locked = opened.and_then(|lock| lock.lock().map(|()| lock));
        let lock = locked.map_err(|error| FolderError::Io(path, error))?;
        Ok(Locked { folder: self, _lock: lock })
    }

    /// See [`data::become_owner`].
    pub(super) fn become_owner(&self) -> Result<(), FolderError> {
        Ok(data::become_owner(self.path.parent().unwrap_or(&self.path))?)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), FolderError> {
        let path = self.file(name);
        keep_secret(&path, text.as_bytes(), Survives::PowerCut)
            .map_err(|error| FolderError::Io(path, error))
    }
}

impl Locked<'_> {
    pub(super) fn write_list(&self, list: &List) -> Result<(), FolderError> {
        self.folder.write("passwords.json", &list.to_json())
    }

    /// What can't be read of it is set aside, and replaces what was set aside before.
    pub(super) fn write_used(&self, used: &Used) -> Result<(), FolderError> {
        let folder = self.folder;
        if folder.parsed(USED, Used::parse).is_err() {
            let path = folder.file(USED);
            rename(&path, folder.file(DAMAGED)).map_err(|error| FolderError::Io(path, error))?;
        }
        folder.write(USED, &used.to_json())
    }

    /// Makes the key of the passwords.
    pub(super) fn new_password_key(&self) -> Result<Key, FolderError> {
        self.new_key("passwords.key")
    }

    /// Makes the key of links; those of another one end.
    pub(super) fn new_link_key(&self) -> Result<Key, FolderError> {
        self.new_key("links.key")
    }

    fn new_key(&self, name: &str) -> Result<Key, FolderError> {
        let key = Key::random()?;
        self.folder.write(name, &key.to_text())?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::list::Place;
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::in_data(data.path());
        (data, folder)
    }

    #[test]
    fn only_its_owner_may_read_what_is_in_it() {
        let (data, folder) = folder();
        assert!(!folder.has_passwords() && folder.read().unwrap().list == List::default());
        let locked = folder.lock().unwrap();
        let key = locked.new_password_key().unwrap();
        locked.new_link_key().unwrap();
        let mut list = List::default();
        list.add(&Place::All, key.hash("x"), 1, false, &Used::default()).unwrap();
        locked.write_list(&list).unwrap();
        locked.write_used(&Used::default()).unwrap();
        let content = folder.read().unwrap();
        assert_eq!((content.list, content.key), (list, Some(key)));
        assert!(folder.has_passwords());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&data.path().join("access")), 0o700);
        for file in fs::read_dir(data.path().join("access")).unwrap() {
            let path = file.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }

    #[test]
    fn what_is_damaged_is_named_and_stays() {
        for name in ["passwords.json", "passwords.key", "links.key"] {
            let (_data, folder) = folder();
            drop(folder.lock().unwrap());
            for garbage in ["", "{", "\u{0}\u{0}", "null"] {
                fs::write(folder.file(name), garbage).unwrap();
                let error = folder.read().unwrap_err().to_string();
                assert!(error.contains(name) && error.contains("backup"), "{error}");
                assert_eq!(fs::read_to_string(folder.file(name)).unwrap(), garbage);
            }
        }
        let (_data, folder) = folder();
        let locked = folder.lock().unwrap();
        let key = locked.new_password_key().unwrap();
        let mut list = List::default();
        list.add(&Place::All, key.hash("x"), 1, false, &Used::default()).unwrap();
        locked.write_list(&list).unwrap();
        fs::remove_file(folder.file("passwords.key")).unwrap();
        assert!(folder.read().unwrap_err().to_string().contains("passwords.key"));
    }
    #[test]
    fn damaged_uses_are_set_aside_and_stop_nothing() {
        for garbage in ["", "{", "\u{0}\u{0}", "null"] {
            let (_data, folder) = folder();
            let locked = folder.lock().unwrap();
            let key = locked.new_password_key().unwrap();
            fs::write(folder.file(USED), garbage).unwrap();
            let content = folder.read().unwrap();
            assert_eq!((content.key, content.used), (Some(key), Used::default()));
            assert!(content.used_problem.unwrap().contains("used.json: this is not"));
            assert_eq!(fs::read_to_string(folder.file(USED)).unwrap(), garbage, "only read");
            let mut used = Used::default();
            used.note("a", &"garden".parse().unwrap(), 1);
            for _ in 0..2 {
                locked.write_used(&used).unwrap();
                let content = folder.read().unwrap();
                assert_eq!((&content.used, content.used_problem), (&used, None));
                assert_eq!(fs::read_to_string(folder.file(DAMAGED)).unwrap(), garbage);
            }
        }
    }
}
