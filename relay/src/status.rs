//! What machines are told: `/healthz`, a camera's health, `/status.json`.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use frame::sign::to_hex;
use http::StatusCode;
use ladder::Mono;
use ring::rand::{SecureRandom, SystemRandom};
use runtime::version;
use serde::Serialize;
use web::freshness::State;

use crate::board::{Camera, Newest};
use crate::cluster::{Cluster, ClusterStatus};
use crate::export::ExportStatus;
use crate::metrics::CameraMetrics;
use crate::notification::ChannelStatus;
use crate::respond::{self, Response};
use crate::routes::Site;
use crate::store::{Persistence, Store, Usage};

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    /// Of this process: who asks by another way can tell whether the same one answers.
    instance: &'static str,
    #[serde(flatten)]
    keeping: Keeping,
    /// With other relays.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'static str>,
}

#[derive(Serialize)]
struct Keeping {
    persistence: &'static str,
    /// What is wrong with it, and what to do.
    persistence_problem: Option<String>,
}

#[derive(Serialize)]
struct Exporting {
    export: &'static str,
    export_problem: Option<String>,
}

#[derive(Serialize)]
struct CameraHealth {
    camera: String,
    state: &'static str,
    age_ms: Option<u64>,
}

#[derive(Serialize)]
pub(crate) struct Status {
    version: &'static str,
    /// What it was built from, if that is known.
    commit: Option<&'static str>,
    /// For whoever reads it from a file.
    written_at: String,
    uptime_ms: u64,
    #[serde(flatten)]
    keeping: Keeping,
    #[serde(flatten)]
    exporting: Exporting,
    /// Whether somebody would be told of trouble, by channel.
    notifications: Vec<ChannelStatus>,
    connections: usize,
    /// With other relays.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterStatus>,
    cameras: Vec<CameraStatus>,
    /// Uploads for cameras that don't exist.
    refused: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct CameraStatus {
    #[serde(flatten)]
    health: CameraHealth,
    /// As they came lately.
    fps: Option<f64>,
    seq: Option<u64>,
    captured_at: Option<String>,
    time_source: Option<&'static str>,
    /// The relay that takes its frames, if that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<String>,
    bytes: Option<usize>,
    width: Option<u16>,
    height: Option<u16>,
    uploads: Uploads,
    /// Of streams, by kind.
    viewers: BTreeMap<&'static str, i64>,
    history: Option<HistoryStatus>,
}

#[derive(Serialize)]
struct HistoryStatus {
    frames: u64,
    bytes: u64,
    oldest: String,
    newest: String,
}

impl From<&Usage> for HistoryStatus {
    fn from(usage: &Usage) -> HistoryStatus {
        let Usage { frames, bytes, oldest_us, newest_us } = *usage;
        let time = |us| frame::wire::format_time(us, 3);
        HistoryStatus { frames, bytes, oldest: time(oldest_us), newest: time(newest_us) }
    }
}

#[derive(Serialize)]
struct Uploads {
    accepted: u64,
    older: u64,
    refused: BTreeMap<&'static str, u64>,
}

/// The process works if it can say so; a store in trouble is told, and is no reason to restart.
pub(crate) fn health(store: &Store, cluster: Option<&Cluster>) -> Response {
    let (version, instance) = (version::full(), instance());
    let cluster = cluster.map(|cluster| cluster.health().0);
    respond::json(
        StatusCode::OK,
        &Health { status: "ok", version, instance, keeping: keeping(store), cluster },
    )
}

/// A word that no other process has.
pub(crate) fn instance() -> &'static str {
    static INSTANCE: LazyLock<String> = LazyLock::new(|| {
        let mut bytes = [0; 8];
        match SystemRandom::new().fill(&mut bytes) {
            Ok(()) => to_hex(&bytes),
            // It tells no secret; only two machines may be taken for one then.
            Err(_) => std::process::id().to_string(),
        }
    });
    &INSTANCE
}

/// 200 only while the camera's picture is live.
pub(crate) fn camera_health(camera: &Camera, now: Mono) -> Response {
    let healthy = camera.state(now) == State::Live;
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    respond::json(status, &health_of(camera, now))
}

/// `/status.json`.
pub(crate) fn status(site: &Site, cameras: &[Arc<Camera>], now: Mono) -> Response {
    respond::json(StatusCode::OK, &all(site, cameras, now))
}

/// The same as text, for a file: without private cameras.
pub(crate) fn text(site: &Site, now: Mono) -> Vec<u8> {
    let mut cameras = site.board.all();
    cameras.retain(|camera| !site.access.is_private(&camera.id));
    // Our own structure always serialises.
    serde_json::to_vec(&all(site, &cameras, now)).unwrap_or_default()
}

/// Everything there is to know of the relay and these cameras.
pub(crate) fn all(site: &Site, cameras: &[Arc<Camera>], now: Mono) -> Status {
    let usages = site.store.usages();
    Status {
        version: version::NUMBER,
        commit: version::COMMIT,
        written_at: frame::wire::format_time(runtime::clock::wall_us(), 3),
        uptime_ms: millis(now.since(site.started)),
        keeping: keeping(&site.store),
        exporting: exporting(site.export.as_ref()),
        notifications: site.notifications.status(),
        connections: site.connections.open(),
        cluster: site.cluster.as_ref().map(|cluster| cluster.status(now)),
        cameras: cameras.iter().map(|c| camera_status(c, usages.get(&c.id), now)).collect(),
        refused: site.ingest.strangers.all(),
    }
}

fn exporting(status: Option<&ExportStatus>) -> Exporting {
    let problem = status.and_then(ExportStatus::problem);
    let export = match (status, &problem) {
        (None, _) => "off",
        (Some(_), None) => "works",
        (Some(_), Some(_)) => "degraded",
    };
    Exporting { export, export_problem: problem }
}

fn keeping(store: &Store) -> Keeping {
    let persistence = store.persistence();
    let word = persistence.word();
    let problem = match persistence {
        Persistence::Degraded(problem) => Some(problem),
        Persistence::Opening | Persistence::Works => None,
    };
    Keeping { persistence: word, persistence_problem: problem }
}

fn health_of(camera: &Camera, now: Mono) -> CameraHealth {
    CameraHealth {
        camera: camera.id.to_string(),
        state: camera.state(now).word(),
        age_ms: camera.latest(now).map(|newest| millis(newest.age)),
    }
}

fn camera_status(camera: &Camera, usage: Option<&Usage>, now: Mono) -> CameraStatus {
    let newest = camera.latest(now);
    let newest = newest.as_ref();
    // Where it is elsewhere, nobody knows its size.
    let held = camera.newest().filter(|_| !camera.is_behind());
    let held = held.as_deref();
    let picture = held.map(|held| &held.frame.picture);
    let CameraMetrics { accepted, older, .. } = &camera.counts;
    CameraStatus {
        health: health_of(camera, now),
        fps: camera.fps(),
        seq: newest.map(|newest| newest.seq),
        captured_at: newest.map(Newest::captured_at),
        time_source: newest.map(|newest| newest.source.word()),
        relay: newest.and_then(|newest| newest.home.as_deref()).map(str::to_owned),
        bytes: picture.map(|picture| picture.bytes().len()),
        width: picture.map(|picture| picture.width()),
        height: picture.map(|picture| picture.height()),
        uploads: Uploads {
            accepted: accepted.get(),
            older: older.get(),
            refused: camera.counts.refused.all(),
        },
        viewers: camera.counts.viewers(),
        history: usage.map(HistoryStatus::from),
    }
}

pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
