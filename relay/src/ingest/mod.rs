//! From an upload to the board: who sends it, how much of it is read, whether it is a picture, and
//! whether it is newer than the one shown.
//!
//! Whatever is wrong with an upload, the picture shown before stays as it is: the board is touched
//! only by a complete, inspected frame. What does not belong here: HTTP's status codes
//! (`respond.rs`), and anything that reads the board.

pub(crate) mod admit;
pub(crate) mod body;
mod journal;
pub(crate) mod socket;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use admit::{Claim, TimeSource, admit_past};
use bytes::Bytes;
use frame::report::{REPORT, Report};
use frame::sign::{Challenge, SignKey, Signature};
use frame::wire::{self, Flags, Head};
use frame::{CameraId, Picture};
use futures_util::Stream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use journal::Journal;
use tokio::sync::Semaphore;
use warp::Buf;

use crate::access::Access;
use crate::board::{Board, Now, Refused};
use crate::cluster::Cluster;
use crate::metrics::Refusals;
use crate::store::{Sample, Store};
use crate::updates::Updates;

/// A signed frame without a challenge may be so old, or so far ahead, in µs: a recording of it is then
/// older than what is shown, or not taken at all.
const SIGNED_WITHIN_US: u64 = 60_000_000;

/// What bounds uploads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Else there are none.
    pub takes_uploads: bool,
    pub max_uploads: usize,
    pub max_frame_bytes: usize,
    pub body_timeout: Duration,
    /// A WebSocket from which nothing comes for so long is closed.
    pub peer_timeout: Duration,
    /// Frames of one camera in a second.
    pub max_upload_rate: u32,
    /// WebSockets of agents at the same time.
    pub max_sockets: usize,
}

/// An upload, before its body is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upload<'a> {
    pub camera: &'a CameraId,
    pub headers: &'a HeaderMap,
    pub query: &'a str,
    pub peer: IpAddr,
}

/// An upload that was refused: why, and one line for whoever sent it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub why: Refused,
    pub line: String,
}

/// Where frames go beside the board, and who hears of cameras.
#[derive(Debug)]
pub(crate) struct Onward {
    pub store: Store,
    pub updates: Arc<Updates>,
    /// With other relays.
    pub cluster: Option<Arc<Cluster>>,
}

/// The only way onto the board.
#[derive(Debug)]
pub(crate) struct Ingest {
    board: Arc<Board>,
    access: Arc<Access>,
    sign_keys: BTreeMap<CameraId, SignKey>,
    store: Store,
    bounds: Bounds,
    places: Semaphore,
    sockets: Arc<Semaphore>,
    journal: Journal,
    updates: Arc<Updates>,
    cluster: Option<Arc<Cluster>>,
    /// Refused uploads for cameras that don't exist.
    pub strangers: Refusals,
}

/// What an upload says of its frame.
#[derive(Debug, Clone, Copy)]
struct Described {
    claim: Claim,
    may_repeat: bool,
    /// It is of the past: see [`Flags::history`].
    history: bool,
    signature: Option<Signature>,
}

impl Described {
    fn of(head: &Head, signature: Option<Signature>, boot: Option<u64>) -> Described {
        let claim = Claim {
            captured_us: Some(head.captured_us),
            clock_unsynchronised: head.flags.clock_unsynchronised,
            seq: Some(head.seq),
            boot,
        };
        let Flags { may_repeat, history, .. } = head.flags;
        Described { claim, may_repeat, history, signature }
    }
}

impl Ingest {
    pub(crate) fn new(
        board: Arc<Board>,
        access: Arc<Access>,
        sign_keys: BTreeMap<CameraId, SignKey>,
        bounds: Bounds,
        strangers: Refusals,
        onward: Onward,
    ) -> Ingest {
        let Onward { store, updates, cluster } = onward;
        let places = Semaphore::new(bounds.max_uploads);
        let sockets = Arc::new(Semaphore::new(bounds.max_sockets));
        let journal = Journal::default();
        Ingest {
            board,
            access,
            sign_keys,
            store,
            bounds,
            places,
            sockets,
            journal,
            updates,
            cluster,
            strangers,
        }
    }

    /// Takes an upload. An older frame than the one shown is dropped, and acknowledged all the
    /// same: sending it again would not make it newer.
    pub(crate) async fn take<B: Buf, E>(
        &self,
        upload: Upload<'_>,
        body: impl Stream<Item = Result<B, E>>,
        fully_read: impl FnOnce(),
    ) -> Result<(), Refusal> {
        let outcome = match self.read(upload, body).await {
            Ok(bytes) => {
                fully_read();
                let described = described(upload.headers);
                let shown = self
                    .is_signed_post(&upload, described, &bytes)
                    .map_err(|why| self.refusal(why))
                    .and_then(|()| self.accept(upload.camera, described, bytes));
                if let Some(report) = text(upload.headers, REPORT).and_then(Report::parse) {
                    self.report(upload.camera, report);
                }
                shown
            }
            Err(why) => Err(self.refusal(why)),
        };
        if let Err(refusal) = &outcome {
            self.count(upload.camera, upload.peer, refusal);
        }
        outcome
    }

    /// An upload that is refused before anything of it is looked at.
    pub(crate) fn refuse(&self, camera: &CameraId, peer: IpAddr, why: Refused) -> Refusal {
        let refusal = self.refusal(why);
        self.count(camera, peer, &refusal);
        refusal
    }

    fn count(&self, camera: &CameraId, peer: IpAddr, refusal: &Refusal) {
        let known = self.board.find(camera);
        known.as_ref().map_or(&self.strangers, |c| &c.counts.refused).count(refusal.why);
        self.journal.refused(camera, peer, known.is_some(), refusal);
    }

    /// Whether frames of the past are kept.
    pub(crate) fn wants_history(&self) -> bool {
        self.store.keeps_history()
    }

    /// Who it is, and whether it may upload at all.
    async fn authorise(&self, upload: Upload<'_>) -> Result<(), Refused> {
        let Upload { camera, headers, query, peer } = upload;
        if !self.bounds.takes_uploads {
            return Err(Refused::NotHere);
        }
        self.access.upload(Some(camera), headers, query, peer).await?;
        self.journal.authorised();
        // Not to strangers: they would hear which cameras there are.
        if self.access.is_hidden(camera) {
            return Err(Refused::Private);
        }
        match self.board.find(upload.camera) {
            Some(camera) => camera.heard(runtime::clock::mono()),
            None if self.board.is_full() => return Err(Refused::TooManyCameras),
            // It is made by its first picture, not by somebody's attempt.
            None => {}
        }
        Ok(())
    }

    /// Whether whoever asks for updates is this camera, or any if none is named.
    ///
    /// # Errors
    /// As for an upload.
    pub(crate) async fn may_update(
        &self,
        camera: Option<&CameraId>,
        headers: &HeaderMap,
        query: &str,
        peer: IpAddr,
    ) -> Result<(), Refusal> {
        match self.access.upload(camera, headers, query, peer).await {
            Ok(()) => {
                self.journal.authorised();
                Ok(())
            }
            Err(why) => {
                let refusal = self.refusal(why);
                let known = camera.and_then(|camera| self.board.find(camera));
                known.as_ref().map_or(&self.strangers, |c| &c.counts.refused).count(why);
                self.journal.refused_update(peer, &refusal);
                Err(refusal)
            }
        }
    }

    /// Whether the camera has not sent too many frames already.
    fn in_time(&self, camera: &CameraId) -> Result<(), Refused> {
        let rate = self.bounds.max_upload_rate;
        match self.board.find(camera) {
            Some(camera) if !camera.may_upload(runtime::clock::mono(), rate) => {
                Err(Refused::TooFast)
            }
            _ => Ok(()),
        }
    }

    /// Everything that can be refused without looking at the body comes before reading it.
    async fn read<B: Buf, E>(
        &self,
        upload: Upload<'_>,
        body: impl Stream<Item = Result<B, E>>,
    ) -> Result<Bytes, Refused> {
        self.authorise(upload).await?;
        self.in_time(upload.camera)?;
        let _place = self.places.try_acquire().map_err(|_| Refused::Busy)?;
        let Bounds { max_frame_bytes, body_timeout, .. } = self.bounds;
        let told = number(upload.headers, CONTENT_LENGTH.as_str());
        if told.is_some_and(|length: usize| length > max_frame_bytes) {
            return Err(Refused::TooLarge);
        }
        body::read(body, told, max_frame_bytes, body_timeout).await
    }

    /// Whether a frame is signed, if its camera's have to be.
    fn is_signed(
        &self,
        camera: &CameraId,
        challenge: &Challenge,
        signature: Option<Signature>,
        head: &Head,
        jpeg: &[u8],
    ) -> Result<(), Refused> {
        let Some(key) = self.sign_keys.get(camera) else { return Ok(()) };
        let signature = signature.ok_or(Refused::Signature)?;
        let good = key.verify(challenge, camera, &signature, head, jpeg);
        if good { Ok(()) } else { Err(Refused::Signature) }
    }

    /// The same for a POST. It has no challenge, so only its time tells it from a recording.
    fn is_signed_post(
        &self,
        upload: &Upload<'_>,
        described: Described,
        jpeg: &[u8],
    ) -> Result<(), Refused> {
        if !self.sign_keys.contains_key(upload.camera) {
            return Ok(());
        }
        let Claim { captured_us, clock_unsynchronised, seq, .. } = described.claim;
        let captured_us =
            captured_us.filter(|_| !clock_unsynchronised).ok_or(Refused::Signature)?;
        if captured_us.abs_diff(runtime::clock::wall_us()) > SIGNED_WITHIN_US {
            return Err(Refused::Signature);
        }
        let Described { may_repeat, history, signature, .. } = described;
        let flags = Flags { clock_unsynchronised, may_repeat, history, signed: true };
        let head = Head { captured_us, seq: seq.unwrap_or(0), flags };
        self.is_signed(upload.camera, &Challenge::default(), signature, &head, jpeg)
    }

    /// Puts a frame where it belongs: onto the board, or into the history.
    fn accept(&self, id: &CameraId, described: Described, bytes: Bytes) -> Result<(), Refusal> {
        // The tutorial's server took anything, and showed it. Here nothing that is no picture gets
        // further, an empty body included.
        let picture = Picture::accept(bytes)
            .map_err(|error| Refusal { why: Refused::NotJpeg, line: error.to_string() })?;
        if described.history {
            return self.remember(id, described.claim, picture);
        }
        let camera =
            self.board.find_or_add(id).map_err(|_| self.refusal(Refused::TooManyCameras))?;
        match camera.show(picture, described.claim, described.may_repeat, Now::read()) {
            Some(held) => {
                if let Some(cluster) = &self.cluster {
                    cluster.put(Arc::clone(&held));
                }
                self.store.put(held);
            }
            None => {
                camera.counts.older.inc();
                tracing::debug!(camera = %camera.id, "an older frame than the one shown was dropped");
            }
        }
        self.journal.accepted(&camera.id);
        Ok(())
    }

    /// Puts a frame into the history. One whose time can't be believed has no place there, nor has
    /// one of a camera that nobody knows; both are acknowledged all the same, because sending them
    /// again would not change it.
    fn remember(&self, id: &CameraId, claim: Claim, picture: Picture) -> Result<(), Refusal> {
        let arrived_us = runtime::clock::wall_us();
        let (Some(camera), Some(captured_us)) =
            (self.board.find(id), admit_past(claim, arrived_us))
        else {
            tracing::debug!(camera = %id, "a frame of the past without a place was dropped");
            return Ok(());
        };
        let source = TimeSource::Captured;
        let sample = Sample { camera: id.clone(), picture, captured_us, source };
        if self.store.keeps_history() && !self.store.put_history(sample) {
            return Err(self.refusal(Refused::Busy));
        }
        camera.counts.past.inc();
        Ok(())
    }

    /// What an agent says of its machine; of a camera that has no picture yet nobody asks.
    fn report(&self, id: &CameraId, report: Report) {
        if let Some(camera) = self.board.find(id) {
            let (before, now) = (camera.report(), runtime::clock::mono());
            let before = before.as_ref().map(|(report, at)| (&**report, now.since(*at)));
            self.updates.reported(id, before, &report);
            camera.reported(report, now);
        }
    }

    fn refusal(&self, why: Refused) -> Refusal {
        let line = match why {
            Refused::NotHere => {
                "this relay takes no uploads (cluster.role = \"edge\"): upload to one that does"
                    .to_owned()
            }
            Refused::Private => {
                "the camera is private at another relay, and this one does not know for whom (cameras.*.view_password_file): \
                 upload to one that does".to_owned()
            }
            Refused::Password => "wrong password, or none".to_owned(),
            Refused::Token => "wrong bearer token".to_owned(),
            Refused::Throttled => "too many wrong passwords from this address".to_owned(),
            Refused::OtherSite => {
                "a browser sent this for a page of another site, which may not upload".to_owned()
            }
            Refused::NotReady => {
                "the relay can't read its passwords (its log says why); try again".to_owned()
            }
            Refused::Signature => {
                "not signed with this camera's key (cameras.*.sign_key_file), or a recording"
                    .to_owned()
            }
            Refused::TooLarge => {
                format!("larger than {} bytes, the relay's limit", self.bounds.max_frame_bytes)
            }
            Refused::NotJpeg => "not a JPEG".to_owned(),
            Refused::NotFrame => {
                "a frame is a binary message: 24 bytes of head, then the JPEG".to_owned()
            }
            Refused::TooFast => {
                let rate = self.bounds.max_upload_rate;
                format!("more than {rate} frames a second (relay.max_upload_rate)")
            }
            Refused::Busy => "too many uploads at once; try again".to_owned(),
            Refused::TooManyCameras => {
                "the relay has as many cameras as it may have (relay.max_cameras)".to_owned()
            }
            Refused::TooSlow => {
                let limit = runtime::settings::duration_text(self.bounds.body_timeout);
                format!("the body did not arrive within {limit}")
            }
            Refused::Cut => "the connection ended before the body did".to_owned(),
        };
        Refusal { why, line }
    }
}

fn described(headers: &HeaderMap) -> Described {
    let flags = text(headers, wire::FLAGS).map(Flags::from_header).unwrap_or_default();
    let claim = Claim {
        captured_us: text(headers, wire::CAPTURED_AT).and_then(wire::parse_time),
        clock_unsynchronised: flags.clock_unsynchronised,
        seq: number(headers, wire::SEQ),
        boot: boot(headers),
    };
    let signature = text(headers, wire::SIGNATURE).and_then(Signature::from_header);
    Described { claim, may_repeat: flags.may_repeat, history: flags.history, signature }
}

/// Which start of the agent this is.
fn boot(headers: &HeaderMap) -> Option<u64> {
    text(headers, wire::BOOT).and_then(wire::parse_boot)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn number<T: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    text(headers, name)?.trim().parse().ok()
}
