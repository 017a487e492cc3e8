//! The folder of updates: bundles by their SHA-256, `index.json`, `cameras.json`. The relay and its command line both
//! write it, each under a lock. Everything here waits for the disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind::{NotADirectory, NotFound};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use frame::blocks::Lister;
use frame::sign::to_hex;
use frame::update::is_sha256;
use ring::digest::{Context, SHA256};
use runtime::files::{Survives, replace};

use super::index::Index;
use super::standing::Standings;
use crate::data::{self, DataError, Stamp, hint};

/// Longest file that is read as a list.
const MAX_LIST: u64 = 4 << 20;

/// How a bundle is copied.
const BUFFER: usize = 256 << 10;

/// What can go wrong with it. Each names the place and the fix.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    #[error("{path}: {error}{hint}", path = .0.display(), error = .1, hint = hint(.1))]
    Io(PathBuf, io::Error),
    #[error(
        "{path}: this is not as it was written: {why}. Nothing is changed until it is mended, or removed: then \
         `updates add` begins a new one",
        path = .0.display(), why = .1
    )]
    Garbage(PathBuf, String),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("another `updates add` is running; try again when it is done")]
    Adding,
}

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// Whoever has it may change the lists.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    folder: &'a Folder,
    _lock: File,
}

impl Folder {
    /// In the relay's data folder; nothing is made.
    pub(crate) fn in_data(data: &Path) -> Folder {
        Folder { path: data.join("updates") }
    }

    pub(crate) fn bundle(&self, sha256: &str) -> PathBuf {
        self.path.join(format!("{sha256}.raucb"))
    }

    /// The list of a bundle's blocks (`frame::blocks`).
    pub(crate) fn blocks(&self, sha256: &str) -> PathBuf {
        self.path.join(format!("{sha256}.blocks"))
    }

    fn index_path(&self) -> PathBuf {
        self.path.join("index.json")
    }

    fn standings_path(&self) -> PathBuf {
        self.path.join("cameras.json")
    }

    /// What is published; nothing where there is no such file.
    pub(crate) fn index(&self) -> Result<Index, FolderError> {
        let path = self.index_path();
        let Some(text) = read_list(&path)? else { return Ok(Index::default()) };
        Index::parse(&text).map_err(|why| FolderError::Garbage(path, why))
    }

    /// What is known of cameras.
    pub(crate) fn standings(&self) -> Result<Standings, FolderError> {
        let path = self.standings_path();
        let Some(text) = read_list(&path)? else { return Ok(Standings::default()) };
        Standings::parse(&text).map_err(|why| FolderError::Garbage(path, why))
    }

    /// Of both lists: another one means that one of them was written.
    pub(super) fn stamps(&self) -> [Option<Stamp>; 2] {
        [self.index_path(), self.standings_path()].map(|path| Stamp::of(&path))
    }

    /// Waits until nobody else changes the lists.
    pub(crate) fn lock(&self) -> Result<Locked<'_>, FolderError> {
        self.make()?;
        let lock = self.lock_file("lock")?;
        lock.lock().map_err(|error| FolderError::Io(self.path.join("lock"), error))?;
        Ok(Locked { folder: self, _lock: lock })
    }

    /// Nobody else adds a bundle for as long as it is open.
    fn lock_adding(&self) -> Result<File, FolderError> {
        let lock = self.lock_file("adding")?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(FolderError::Adding),
            Err(TryLockError::Error(error)) => {
                Err(FolderError::Io(self.path.join("adding"), error))
            }
        }
    }

    fn lock_file(&self, name: &str) -> Result<File, FolderError> {
        let path = self.path.join(name);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        opened.map_err(|error| FolderError::Io(path, error))
    }

    fn make(&self) -> Result<(), FolderError> {
        match fs::create_dir(&self.path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(FolderError::Io(self.path.clone(), error)),
        }
    }

    /// See [`data::become_owner`].
    pub(crate) fn become_owner(&self) -> Result<(), FolderError> {
        Ok(data::become_owner(self.path.parent().unwrap_or(&self.path))?)
    }
}

impl Locked<'_> {
    pub(crate) fn write_index(&self, index: &Index) -> Result<(), FolderError> {
        self.write(&self.folder.index_path(), &index.to_json())
    }

    pub(crate) fn write_standings(&self, standings: &Standings) -> Result<(), FolderError> {
        self.write(&self.folder.standings_path(), &standings.to_json())
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), FolderError> {
        let written = replace(path, text.as_bytes(), Survives::PowerCut);
        written.map_err(|error| FolderError::Io(path.into(), error))?;
        Ok(())
    }

    /// Removes bundles that are not published. Who takes one at the moment gets it to its end.
    pub(crate) fn sweep(&self, index: &Index) -> Result<(), FolderError> {
        let path = &self.folder.path;
        let failed = |error| FolderError::Io(path.clone(), error);
        for entry in fs::read_dir(path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let bundle = name.strip_suffix(".raucb").or_else(|| name.strip_suffix(".blocks"));
            let bundle = bundle.filter(|name| is_sha256(name));
            if bundle.is_some_and(|sha256| index.find(sha256).is_none()) {
                fs::remove_file(&path).map_err(|error| FolderError::Io(path, error))?;
            }
        }
        Ok(())
    }
}

/// A bundle on its way into the folder: it is there under its name when all of it is on the disk.
#[derive(Debug)]
pub(crate) struct Coming {
    folder: Folder,
    pub path: PathBuf,
    /// In hexadecimal.
    pub sha256: String,
    blocks: Vec<u8>,
    _lock: File,
}

impl Coming {
    /// Copies a file that is called `from`.
    pub(crate) fn copy(folder: &Folder, from: &Path, file: &File) -> Result<Coming, FolderError> {
        folder.make()?;
        let lock = folder.lock_adding()?;
        let path = folder.path.join(".adding.raucb");
        let (folder, sha256) = (folder.clone(), String::new());
        let mut coming = Coming { folder, path, sha256, blocks: Vec::new(), _lock: lock };
        let source = |error| FolderError::Io(from.into(), error);
        let target = |error| FolderError::Io(coming.path.clone(), error);
        let mut reading = file;
        reading.rewind().map_err(source)?;
        let mut writing = File::create(&coming.path).map_err(target)?;
        let (mut buffer, mut hash) = (vec![0; BUFFER], Context::new(&SHA256));
        let mut blocks = Lister::default();
        loop {
            let length = reading.read(&mut buffer).map_err(source)?;
            let piece = buffer.get(..length).unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            hash.update(piece);
            blocks.update(piece);
            writing.write_all(piece).map_err(target)?;
        }
        writing.sync_all().map_err(target)?;
        coming.sha256 = to_hex(hash.finish().as_ref());
        coming.blocks = blocks.finish();
        Ok(coming)
    }

    /// Gives it its name, for good.
    pub(crate) fn arrive(self) -> Result<(), FolderError> {
        let blocks = self.folder.blocks(&self.sha256);
        let written = replace(&blocks, &self.blocks, Survives::PowerCut);
        written.map_err(|error| FolderError::Io(blocks, error))?;
        let path = self.folder.bundle(&self.sha256);
        let renamed =
            fs::rename(&self.path, &path).and_then(|()| File::open(&self.folder.path)?.sync_all());
        renamed.map_err(|error| FolderError::Io(path, error))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        // It is gone if it has arrived.
        let _ = fs::remove_file(&self.path);
    }
}

/// `None` if there is no such file.
fn read_list(path: &Path) -> Result<Option<String>, FolderError> {
    let failed = |error| FolderError::Io(path.into(), error);
    let file = match File::open(path) {
        Ok(file) => file,
        // Where there is no folder nothing is published.
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_LIST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_LIST {
        return Err(FolderError::Garbage(path.into(), format!("longer than {MAX_LIST} bytes")));
    }
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|error| FolderError::Garbage(path.into(), error.to_string()))
}
