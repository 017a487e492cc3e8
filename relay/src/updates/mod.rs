//! Updates of the cameras' whole system: which are published, who gets one, and its bytes.
//!
//! The owner publishes with `stillwatch-relay updates` (`command.rs`), which checks a bundle (`bundle.rs`) and writes the
//! folder's lists (`folder.rs`); one thread of the running relay sees that (`thread.rs`), and notes what cameras say.
//! Which update a camera is offered is decided in `offer.rs`. What does not belong here: whether a camera should trust
//! a bundle, which it decides itself, by its signature.

mod bundle;
pub(crate) mod command;
mod download;
mod folder;
mod index;
mod journal;
mod offer;
mod pace;
mod signature;
mod standing;
mod thread;
mod verity;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, thread as threads};

use frame::CameraId;
use frame::report::{Rejected, Report};
use frame::update::{MAX_COMPATIBLE, is_compatible};
use frame::version::Version;
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::{Semaphore, oneshot};

pub(crate) use download::Served;
pub(crate) use folder::Folder;
pub(crate) use index::{Channel, Published};
pub(crate) use standing::{Rejection, Wish};
pub(crate) use thread::Known;

use crate::board::Board;
use crate::metrics::UpdateCounts;
use crate::respond::{self, Response};
use offer::Asks;
use pace::Pace;
use thread::{Letter, Shared, Thread};

/// Most that waits to be written: reports come again, and an owner is told.
const MAX_LETTERS: usize = 64;

/// How long the disk may take for what the owner decides.
const DECIDED_WITHIN: Duration = Duration::from_secs(10);

/// Steps of a camera that follow each other sooner are not told: real ones are minutes.
const LINE_SPACING: Duration = Duration::from_millis(500);

/// What an update is doing that the camera has in its hands: nothing is to be started any more.
const BEGUN: [&str; 3] = ["installing", "restarting", "trial"];

/// What bounds updates, and who gets which.
#[derive(Debug, Clone)]
pub(crate) struct UpdatesConfig {
    /// The relay's.
    pub data_dir: PathBuf,
    pub max_downloads: usize,
    /// Bytes a second, all together.
    pub max_rate: u64,
    pub stop_after: usize,
    /// Of cameras that have one of their own.
    pub channels: BTreeMap<CameraId, Channel>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Updates {
    folder: Folder,
    shared: Arc<Shared>,
    mail: SyncSender<Letter>,
    channels: BTreeMap<CameraId, Channel>,
    places: Arc<Semaphore>,
    pace: Mutex<Pace>,
    max_rate: u64,
    counts: UpdateCounts,
    board: Arc<Board>,
}

impl Updates {
    /// Starts the thread, which ends with the last of these.
    ///
    /// # Errors
    /// There can be no thread.
    pub(crate) fn start(
        config: UpdatesConfig,
        board: Arc<Board>,
        counts: UpdateCounts,
    ) -> io::Result<Arc<Updates>> {
        let (folder, shared) = (Folder::in_data(&config.data_dir), Arc::<Shared>::default());
        let (mail, letters) = sync_channel(MAX_LETTERS);
        let thread = Thread {
            folder: folder.clone(),
            shared: Arc::clone(&shared),
            stop_after: config.stop_after,
            rejected: counts.rejected.clone(),
            stamps: None,
        };
        threads::Builder::new().name("updates".to_owned()).spawn(move || thread.run(&letters))?;
        Ok(Arc::new(Updates {
            folder,
            shared,
            mail,
            channels: config.channels,
            places: Arc::new(Semaphore::new(config.max_downloads)),
            pace: Mutex::default(),
            max_rate: config.max_rate,
            counts,
            board,
        }))
    }

    /// What there is, as it was read last.
    pub(crate) fn known(&self) -> Arc<Known> {
        self.shared.get()
    }

    pub(crate) fn channel(&self, camera: &CameraId) -> Channel {
        self.channels.get(camera).cloned().unwrap_or_default()
    }

    /// Answers `GET /cameras/ID/update?compatible=C&version=V`.
    pub(crate) fn offer(&self, camera: &CameraId, query: &str) -> Response {
        let asked = |name: &str| {
            let mut query = form_urlencoded::parse(query.as_bytes());
            query.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
        };
        let bad = |line: &str| respond::line(StatusCode::BAD_REQUEST, line);
        let Some(compatible) = asked("compatible").filter(|text| is_compatible(text)) else {
            return bad(&format!(
                "compatible= has to be 1 to {MAX_COMPATIBLE} letters, digits, '-', '_' and '.'"
            ));
        };
        let version: Version = match asked("version").unwrap_or_default().parse() {
            Ok(version) => version,
            Err(_) => return bad("version= has to be one such as 0.1.0-20261128.0312"),
        };
        let known = self.known();
        if !known.read {
            // There may be one, and the camera may be held: nobody knows.
            return respond::later("what is published can't be read; the relay's log says why");
        }
        let standing = known.standings.of(camera);
        let asks = Asks {
            camera,
            compatible: &compatible,
            version: &version,
            channel: &self.channel(camera),
            standing: &standing,
        };
        match asks.offer(&known.index.published) {
            Some(update) => respond::json(StatusCode::OK, &asks.wire(update)),
            None => {
                if standing.wish == Some(Wish::Start) {
                    // There is nothing to start. What is published in a year waits for its hours again.
                    let _ = self.mail.try_send(Letter::Started(camera.clone()));
                }
                respond::empty(StatusCode::NO_CONTENT)
            }
        }
    }

    /// Answers `GET /updates/SHA256.raucb` and `.blocks`: `file` says which.
    pub(crate) async fn download(
        self: &Arc<Self>,
        sha256: &str,
        file: fn(&Folder, &Published) -> Served,
        method: &Method,
        headers: &HeaderMap,
    ) -> Response {
        match self.known().index.find(sha256) {
            Some(update) => {
                download::answer(self, file(&self.folder, update), method, headers).await
            }
            None => respond::not_found("no update of this name is published here"),
        }
    }

    /// A camera told of itself; `before` is what it told before, and how long ago.
    pub(crate) fn reported(
        &self,
        camera: &CameraId,
        before: Option<(&Report, Duration)>,
        now: &Report,
    ) {
        // Whoever tells of another step with each frame does not fill the log.
        if before.is_none_or(|(_, ago)| ago >= LINE_SPACING) {
            journal::say(camera, before.map(|(before, _)| before), now);
        }
        let known = self.known();
        let standing = known.standings.of(camera);
        if let Some(rejection) = now.rejected.as_ref().and_then(rejection)
            && known.index.has(&rejection.version)
            && standing.lacks(&rejection)
        {
            // What finds no place comes again with the next report.
            let _ = self.mail.try_send(Letter::Rejected(camera.clone(), rejection));
        }
        let begun = |doing: &str| BEGUN.contains(&doing);
        if standing.wish == Some(Wish::Start)
            && now.update.as_ref().is_some_and(|update| begun(&update.doing))
        {
            let _ = self.mail.try_send(Letter::Started(camera.clone()));
        }
    }

    /// What the owner decides for a camera.
    ///
    /// # Errors
    /// What went wrong, for the owner.
    pub(crate) async fn decide(&self, camera: &CameraId, wish: Option<Wish>) -> Result<(), String> {
        let (told, answer) = oneshot::channel();
        let letter = Letter::Wish(camera.clone(), wish, told);
        let busy = || "the disk does not answer; try again".to_owned();
        self.mail.try_send(letter).map_err(|_| busy())?;
        let answer = tokio::time::timeout(DECIDED_WITHIN, answer).await;
        answer.map_err(|_| busy())?.map_err(|_| busy())?
    }
}

fn rejection(rejected: &Rejected) -> Option<Rejection> {
    let Rejected { version, why, ran } = rejected;
    Some(Rejection { version: version.parse().ok()?, why: why.clone(), ran: *ran })
}
