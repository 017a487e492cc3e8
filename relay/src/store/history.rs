//! The history's table: frames that were shown once, one in an interval, and what may be asked of
//! them. What is kept and for how long is decided in `retention.rs`.

use std::collections::BTreeMap;

use bytes::Bytes;
use frame::{CameraId, Picture};
use rusqlite::{OptionalExtension, Row, params};

use super::database::Database;
use super::error::StoreError;
use super::retention::{HistoryLimits, Usage, victim};
use crate::board::Held;
use crate::ingest::admit::TimeSource;

/// Frames given up in one turn: a limit that was lowered must not hold the thread for long.
const MAX_VICTIMS: usize = 500;

/// A frame on its way into the history.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub camera: CameraId,
    pub picture: Picture,
    /// µs since the Unix epoch.
    pub captured_us: i64,
    pub source: TimeSource,
}

impl From<&Held> for Sample {
    fn from(held: &Held) -> Sample {
        Sample {
            camera: held.frame.camera.clone(),
            picture: held.frame.picture.clone(),
            captured_us: held.frame.captured.unix_us,
            source: held.source,
        }
    }
}

/// What is known of a frame without its picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// µs since the Unix epoch.
    pub captured_us: i64,
    pub source: TimeSource,
    pub bytes: u64,
    /// Pixels.
    pub width: u16,
    pub height: u16,
}

/// Which frames are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    /// The first time that counts, µs since the Unix epoch; `None`: the last `limit` before `to`.
    pub from_us: Option<i64>,
    /// The first time that does not.
    pub to_us: i64,
    pub limit: u32,
}

/// What all cameras hold.
pub(super) type Usages = BTreeMap<CameraId, Usage>;

const USAGE: &str = "SELECT count(*), coalesce(sum(bytes), 0), coalesce(min(unix_us), 0), \
                     coalesce(max(unix_us), 0) FROM history WHERE camera = ?1";

const INSERT: &str = "INSERT INTO history \
    (camera, unix_us, time_source, bytes, width, height, hash, jpeg) \
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE NOT EXISTS \
    (SELECT 1 FROM history WHERE camera = ?1 AND unix_us >= ?9 AND unix_us < ?10)";

const DELETE_OLDEST: &str = "DELETE FROM history WHERE rowid = \
    (SELECT rowid FROM history WHERE camera = ?1 ORDER BY unix_us LIMIT 1) RETURNING bytes";

const OLDEST: &str = "SELECT min(unix_us) FROM history WHERE camera = ?1";

const AFTER: &str = "SELECT unix_us, time_source, bytes, width, height FROM history \
    WHERE camera = ?1 AND unix_us >= ?2 AND unix_us < ?3 ORDER BY unix_us LIMIT ?4";

const BEFORE: &str = "SELECT unix_us, time_source, bytes, width, height FROM history \
    WHERE camera = ?1 AND unix_us < ?2 ORDER BY unix_us DESC LIMIT ?3";

const PICTURE: &str =
    "SELECT time_source, hash, jpeg FROM history WHERE camera = ?1 AND unix_us = ?2";

impl Database {
    /// What each camera holds.
    pub(super) fn usages(&self) -> Result<Usages, StoreError> {
        let mut cameras = self.0.prepare("SELECT DISTINCT camera FROM history")?;
        let names = cameras.query_map([], |row| row.get::<_, String>(0))?;
        let mut usages = Usages::new();
        for name in names {
            // Only the relay writes here; a name that is none is nobody's to show.
            let Ok(camera) = name?.parse::<CameraId>() else { continue };
            let usage = self.0.query_row(USAGE, [camera.as_str()], |row| {
                Ok(Usage {
                    frames: row.get::<_, i64>(0)?.unsigned_abs(),
                    bytes: row.get::<_, i64>(1)?.unsigned_abs(),
                    oldest_us: row.get(2)?,
                    newest_us: row.get(3)?,
                })
            })?;
            usages.insert(camera, usage);
        }
        Ok(usages)
    }

    /// Adds samples where there is none yet, and gives up what exceeds the limits: all of it, or
    /// nothing. Returns what is held then.
    pub(super) fn write_history(
        &mut self,
        samples: &[Sample],
        limits: &HistoryLimits,
        mut usages: Usages,
        clock: (i64, bool),
    ) -> Result<Usages, StoreError> {
        let transaction = self.0.transaction()?;
        {
            let mut insert = transaction.prepare_cached(INSERT)?;
            for sample in samples {
                let Sample { camera, picture, captured_us, source } = sample;
                let (from, to) = limits.place(*captured_us);
                let bytes = picture.bytes().len() as u64;
                let added = insert.execute(params![
                    camera.as_str(),
                    captured_us,
                    source.word(),
                    bytes.cast_signed(),
                    picture.width(),
                    picture.height(),
                    picture.hash().to_string(),
                    &picture.bytes()[..],
                    from,
                    to,
                ])?;
                if added > 0 {
                    let new =
                        Usage { oldest_us: i64::MAX, newest_us: i64::MIN, ..Usage::default() };
                    let usage = usages.entry(camera.clone()).or_insert(new);
                    usage.frames += 1;
                    usage.bytes += bytes;
                    usage.oldest_us = usage.oldest_us.min(*captured_us);
                    usage.newest_us = usage.newest_us.max(*captured_us);
                }
            }
            let mut delete = transaction.prepare_cached(DELETE_OLDEST)?;
            let mut oldest = transaction.prepare_cached(OLDEST)?;
            for _ in 0..MAX_VICTIMS {
                let Some(camera) = victim(&usages, limits, clock.0, clock.1).cloned() else {
                    break;
                };
                let bytes: Option<i64> =
                    delete.query_row([camera.as_str()], |row| row.get(0)).optional()?;
                let next: Option<i64> = oldest.query_row([camera.as_str()], |row| row.get(0))?;
                let usage = usages.entry(camera.clone()).or_default();
                usage.frames = usage.frames.saturating_sub(1);
                usage.bytes = usage.bytes.saturating_sub(bytes.unwrap_or(0).unsigned_abs());
                match next {
                    Some(next) => usage.oldest_us = next,
                    None => drop(usages.remove(&camera)),
                }
            }
        }
        transaction.commit()?;
        Ok(usages)
    }

    /// Entries in the order of their times, and whether there are more than were asked for.
    pub(super) fn entries(
        &self,
        camera: &CameraId,
        range: Range,
    ) -> Result<(Vec<Entry>, bool), StoreError> {
        let limit = i64::from(range.limit);
        let mut found: Vec<Entry> = match range.from_us {
            Some(from_us) => {
                let mut after = self.0.prepare(AFTER)?;
                let asked = params![camera.as_str(), from_us, range.to_us, limit + 1];
                after.query_map(asked, entry)?.collect::<Result<_, _>>()?
            }
            None => {
                let mut before = self.0.prepare(BEFORE)?;
                let asked = params![camera.as_str(), range.to_us, limit + 1];
                before.query_map(asked, entry)?.collect::<Result<_, _>>()?
            }
        };
        let more = found.len() > range.limit as usize;
        found.truncate(range.limit as usize);
        found.sort_unstable_by_key(|entry| entry.captured_us);
        Ok((found, more))
    }

    /// The frame of exactly this time; `None` if there is none, or a disk changed it.
    pub(super) fn sample(
        &self,
        camera: &CameraId,
        captured_us: i64,
    ) -> Result<Option<Sample>, StoreError> {
        let asked = params![camera.as_str(), captured_us];
        let row = |row: &Row<'_>| {
            Ok((source(&row.get::<_, String>(0)?), row.get::<_, String>(1)?, row.get(2)?))
        };
        let found: Option<(TimeSource, String, Vec<u8>)> =
            self.0.query_row(PICTURE, asked, row).optional()?;
        let Some((source, hash, jpeg)) = found else { return Ok(None) };
        let picture = Picture::accept(Bytes::from(jpeg)).ok();
        let whole = picture.filter(|picture| picture.hash().to_string() == hash);
        if whole.is_none() {
            tracing::warn!(%camera, "camera {camera}: a damaged frame in the history is left out");
        }
        Ok(whole.map(|picture| Sample { camera: camera.clone(), picture, captured_us, source }))
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        captured_us: row.get(0)?,
        source: source(&row.get::<_, String>(1)?),
        bytes: row.get::<_, i64>(2)?.unsigned_abs(),
        width: row.get(3)?,
        height: row.get(4)?,
    })
}

pub(super) fn source(word: &str) -> TimeSource {
    if word == TimeSource::Captured.word() { TimeSource::Captured } else { TimeSource::Arrived }
}
