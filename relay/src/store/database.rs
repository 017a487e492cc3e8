//! The database file: opened or begun, read once, written to. Its statements are all here.
//!
//! When to do any of this, and what to do when it fails, is decided in `thread.rs`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use frame::{CameraId, Picture};
use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, Row, params};

use super::error::{Kind, StoreError};
use super::history::source;
use crate::board::{Held, Kept};
use crate::ingest::admit::Stamp;

/// `PRAGMA user_version`: 1 had no history.
pub(super) const VERSION: i64 = 2;

/// What made a file of the version before into the next.
const STEPS: [&str; 2] = [include_str!("schema.sql"), include_str!("history.sql")];

/// Another process may be looking at the file for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

const LOAD: &str = "SELECT camera, jpeg, hash, seq, unix_us, time_source, may_repeat, arrived_us \
                    FROM frame ORDER BY arrived_us DESC";

const WRITE: &str = "INSERT OR REPLACE INTO frame \
    (camera, jpeg, hash, seq, unix_us, time_source, may_repeat, arrived_us) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// An open database of our version.
#[derive(Debug)]
pub(super) struct Database(pub(super) Connection);

impl Database {
    /// Opens the file, or begins it. A file that is not ours is left as it is.
    pub(super) fn open(path: &Path) -> Result<Database, StoreError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        if connection.is_readonly("main")? {
            return Err(StoreError::new(Kind::ReadOnly, "the file is read-only"));
        }
        let version = check_version(&connection)?;
        // WAL: a writer never waits for a reader, and a commit is one append. NORMAL: a power cut
        // may cost the last second's frame, never the database.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let missing = STEPS.get(version..).unwrap_or_default();
        if !missing.is_empty() {
            let transaction = connection.transaction()?;
            for step in missing {
                transaction.execute_batch(step)?;
            }
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
        }
        Ok(Database(connection))
    }

    /// Opens the file where nothing can be written, not even the lock's file, for one look. What a
    /// crash left in the write-ahead log is not seen this way: the picture may be a little older.
    pub(super) fn open_unwritable(path: &Path) -> Result<Database, StoreError> {
        let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f");
        let uri = format!("file:{}?immutable=1", escaped.replace('#', "%23"));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(uri, flags)?;
        check_version(&connection)?;
        Ok(Database(connection))
    }

    /// Opens the file of a relay that runs, to read what it does not hold in memory.
    pub(super) fn open_for_reading(path: &Path) -> Result<Database, StoreError> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(Database(connection))
    }

    /// Writes a copy of one moment into the file `to`, which is empty or not there, while others write; returns its
    /// version.
    pub(super) fn snapshot(&self, to: &Path) -> Result<i64, StoreError> {
        let version = check_version(&self.0)?;
        self.0.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
        Ok(i64::try_from(version).unwrap_or_default())
    }

    /// Its version.
    pub(super) fn version(&self) -> Result<usize, StoreError> {
        check_version(&self.0)
    }

    /// All frames, the newest first. A damaged one is left out, and said.
    pub(super) fn load(&self) -> Result<Vec<Kept>, StoreError> {
        let mut statement = self.0.prepare(LOAD)?;
        let mut rows = statement.query([])?;
        let mut kept = Vec::new();
        while let Some(row) = rows.next()? {
            match read(row) {
                Ok(frame) => kept.push(frame),
                Err(why) => {
                    let camera = row.get(0).unwrap_or_else(|_| "?".to_owned());
                    tracing::warn!(camera, "camera {camera}: its stored frame is left out: {why}");
                }
            }
        }
        Ok(kept)
    }

    /// Writes frames: all of them, or none.
    pub(super) fn write<'a>(
        &mut self,
        frames: impl Iterator<Item = &'a Held>,
    ) -> Result<(), StoreError> {
        let transaction = self.0.transaction()?;
        {
            let mut statement = transaction.prepare_cached(WRITE)?;
            for held in frames {
                let (frame, stamp) = (&held.frame, held.stamp());
                statement.execute(params![
                    frame.camera.as_str(),
                    &frame.picture.bytes()[..],
                    frame.picture.hash().to_string(),
                    stamp.seq.cast_signed(),
                    stamp.unix_us,
                    stamp.source.word(),
                    frame.may_repeat,
                    held.arrived_us,
                ])?;
            }
        }
        Ok(transaction.commit()?)
    }
}

/// How many steps of the schema the file has; an error if it is somebody else's.
fn check_version(connection: &Connection) -> Result<usize, StoreError> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (version, tables) {
        (1..=VERSION, _) => Ok(usize::try_from(version).unwrap_or_default()),
        (0, 0) => Ok(0),
        (0, _) => Err(StoreError::new(Kind::NotOurs, "another program made it")),
        _ => Err(StoreError::new(
            Kind::NotOurs,
            format!("it has version {version}, and this relay knows version {VERSION}"),
        )),
    }
}

/// Reads a row, or says in words why not.
fn read(row: &Row<'_>) -> Result<Kept, String> {
    let wrong = |error: rusqlite::Error| error.to_string();
    let camera: String = row.get(0).map_err(wrong)?;
    let camera: CameraId = camera.parse().map_err(|error| format!("{error}"))?;
    let jpeg: Vec<u8> = row.get(1).map_err(wrong)?;
    let hash: String = row.get(2).map_err(wrong)?;
    let picture = Picture::accept(Bytes::from(jpeg)).map_err(|error| error.to_string())?;
    if picture.hash().to_string() != hash {
        return Err("its bytes are not those that were written".to_owned());
    }
    let source = source(&row.get::<_, String>(5).map_err(wrong)?);
    let seq: i64 = row.get(3).map_err(wrong)?;
    let unix_us = row.get(4).map_err(wrong)?;
    Ok(Kept {
        camera,
        picture,
        stamp: Stamp { unix_us, source, seq: seq.cast_unsigned(), boot: None },
        may_repeat: row.get(6).map_err(wrong)?,
        arrived_us: row.get(7).map_err(wrong)?,
    })
}

/// The picture in a tutorial's `global.db`, which is opened for reading only: `Ok(None)` if there
/// is no such file, or no picture in it yet.
pub(super) fn read_tutorial(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    if !path.exists() {
        return Ok(None);
    }
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let image = connection.query_row("SELECT image FROM store WHERE id = 1", [], |row| {
        // Before the tutorial's first upload, it is an empty text.
        if row.get_ref(0)?.data_type() == Type::Blob { row.get(0) } else { Ok(Vec::new()) }
    });
    match image {
        Ok(image) => Ok(Some(image).filter(|image| !image.is_empty())),
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Where files are put that are no databases any more.
pub(super) fn set_aside(path: &Path, at: &str) -> Result<PathBuf, StoreError> {
    /// More would fill the disk of a machine whose disk is failing.
    const MAX_DAMAGED: usize = 3;
    let (folder, name) = match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => (folder, name.to_string_lossy().into_owned()),
        _ => return Err(StoreError::new(Kind::CannotOpen, "it has no name")),
    };
    let mark = format!("{name}.damaged-");
    let mut there = 0;
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        there += usize::from(
            name.starts_with(&mark) && !name.ends_with("-wal") && !name.ends_with("-shm"),
        );
    }
    if there >= MAX_DAMAGED {
        let why = format!("it is damaged, and {there} damaged ones lie there already");
        return Err(StoreError::new(Kind::TooManyDamaged, why));
    }
    let aside = folder.join(format!("{mark}{at}"));
    if aside.exists() {
        return Err(StoreError::new(Kind::Busy, "it is damaged, and one was set aside just now"));
    }
    std::fs::rename(path, &aside)?;
    for suffix in ["-wal", "-shm"] {
        // They may not exist. Left behind, they would be taken for the new file's.
        let beside = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        match std::fs::rename(beside(path), beside(&aside)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(aside)
}
