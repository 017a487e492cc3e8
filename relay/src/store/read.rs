//! Reading the history, beside the thread that writes it: on a thread of tokio's pool, a few at the
//! same time, with a deadline.

use std::sync::Arc;
use std::time::Duration;

use frame::CameraId;

use super::database::Database;
use super::error::StoreError;
use super::{Entry, Range, Sample, Store};

/// Reads at the same time: a disk has one head.
pub(super) const MAX_READS: usize = 4;

/// How long a reader waits for its place.
const PLACE_WITHIN: Duration = Duration::from_secs(2);

/// A disk that takes longer is not waited for; its reader keeps its place until it answers.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// Why nothing was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unread {
    /// There is no history here.
    Off,
    /// Too many read already.
    Busy,
    /// The disk does not answer, or the database can't be read.
    Trouble(String),
}

impl Store {
    /// A camera's entries in the order of their times, and whether there are more than were asked
    /// for.
    pub(crate) async fn entries(
        &self,
        camera: CameraId,
        range: Range,
    ) -> Result<(Vec<Entry>, bool), Unread> {
        self.read(move |database| database.entries(&camera, range)).await
    }

    /// The frame that a camera captured at exactly this time, in µs since the Unix epoch.
    pub(crate) async fn sample(
        &self,
        camera: CameraId,
        captured_us: i64,
    ) -> Result<Option<Sample>, Unread> {
        self.read(move |database| database.sample(&camera, captured_us)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Unread> {
        if !self.keeps_history() {
            return Err(Unread::Off);
        }
        let places = Arc::clone(&self.shared.reads);
        let place = match tokio::time::timeout(PLACE_WITHIN, places.acquire_owned()).await {
            Ok(Ok(place)) => place,
            _ => return Err(Unread::Busy),
        };
        let path = self.shared.path.clone();
        let read = tokio::task::spawn_blocking(move || {
            // Opened anew each time: the file may have been set aside since.
            let found = Database::open_for_reading(&path).and_then(|database| ask(&database));
            drop(place);
            found.map_err(|error| error.to_string())
        });
        match tokio::time::timeout(READ_WITHIN, read).await {
            Ok(Ok(found)) => found.map_err(Unread::Trouble),
            Ok(Err(_)) => Err(Unread::Trouble("reading it failed".to_owned())),
            Err(_) => Err(Unread::Trouble("the disk does not answer".to_owned())),
        }
    }
}
