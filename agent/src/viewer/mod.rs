//! The local viewer: the newest frame and the status, on a page of the agent's own, for somebody who
//! stands on a ladder and aims the camera. Off unless `viewer.listen` names an address.
//!
//! It looks, and changes nothing. It takes frames from the camera's slot, so it shows what is captured
//! whether uploads work or not; and whatever happens to it, capture and upload go on. How long a
//! picture counts as live is `web::freshness`' decision, as at the relay.

mod host;
mod newest;
mod pages;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use frame::{CameraId, Frame};
use ladder::{Backoff, Episode};
use runtime::clock;
use runtime::slot::Watcher;
use tokio_util::sync::CancellationToken;
use web::serve;

use self::newest::Newest;
use self::pages::Pages;
use crate::health::Health;
use crate::phones;

/// Two or three phones, with a browser's few connections each.
const MAX_CONNECTIONS: usize = 16;

/// Of one phone: browsers open six at most.
const MAX_PER_ADDRESS: usize = 8;

/// An address that comes late, or a port that another program has: no hurry, and no end.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What fails in the same way is said again after so long.
const LINE_SPACING: Duration = Duration::from_secs(600);

/// What the viewer is made of.
#[derive(Debug)]
pub(crate) struct Viewer {
    pub listen: SocketAddr,
    pub camera: CameraId,
    pub frames: Watcher<Frame>,
    pub health: Arc<Health>,
    pub status_file: PathBuf,
}

/// Serves until `stop`.
pub(crate) async fn run(viewer: Viewer, stop: CancellationToken) {
    let Viewer { listen, camera, frames, health, status_file } = viewer;
    let newest = Arc::new(Newest::default());
    let pages = Arc::new(Pages::new(camera, Arc::clone(&newest), health, status_file));
    tokio::join!(newest.follow(frames, stop.clone()), serve(listen, pages, stop));
}

async fn serve(listen: SocketAddr, pages: Arc<Pages>, stop: CancellationToken) {
    let mut trouble = Episode::new(LINE_SPACING);
    let mut waits = Backoff::new(RETRY_MIN, RETRY_MAX, u64::from(listen.port()));
    let listener = loop {
        match serve::bind(listen) {
            Ok(listener) => break listener,
            Err(error) => {
                let wait = waits.next().unwrap_or(RETRY_MAX);
                if trouble.enter(clock::mono(), error.to_string()).is_some() {
                    tracing::warn!("viewer.listen: {error}; trying again, the camera goes on");
                }
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = stop.cancelled() => return,
                }
            }
        }
    };
    let address = listener.local_addr().unwrap_or(listen);
    tracing::info!("the local viewer listens on {address}");
    let routes = pages::routes(pages);
    let advice = "the local viewer is for a few phones; the relay's page is for everybody else";
    let server = phones::server(listener, routes, MAX_CONNECTIONS, MAX_PER_ADDRESS, advice);
    serve::run(server, stop).await;
}
