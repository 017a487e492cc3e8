//! Static export: the newest frame of each camera, in the chosen sizes, and `status.json`, for whoever serves files better
//! than a relay can: as files (`files.rs`) for a web server, as objects in a bucket (`bucket.rs`) for a CDN.
//!
//! `status.json` has the time at which it was written: whoever reads it can tell when the relay itself is gone. What does
//! not belong here: what is in it (`status.rs`).

pub(crate) mod bucket;
pub(crate) mod files;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use frame::CameraId;
use runtime::clock;
use runtime::tasks::Tasks;

use crate::board::{Camera, Held, Size};
use crate::config::Exports;
use crate::routes::Site;

/// More cameras, or pictures of one, are not looked at when those of private cameras are removed.
const MAX_ENTRIES: usize = 10_000;

/// Whose events these are.
const ORGAN: &str = "export";

/// At most one line about trouble in this time.
const LINE_SPACING: Duration = Duration::from_secs(60);

/// What the relay knows itself, beside the pictures.
const STATUS: &str = "status.json";

/// Where pictures go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Files,
    Bucket,
}

/// What is wrong with the export, if something is. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExportStatus(Arc<Mutex<BTreeMap<Place, String>>>);

impl ExportStatus {
    /// `None` if nothing is exported.
    pub(crate) fn of(exports: &Exports) -> Option<ExportStatus> {
        (exports.files.is_some() || exports.bucket.is_some()).then(ExportStatus::default)
    }

    pub(crate) fn problem(&self) -> Option<String> {
        let problems = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<&str> = problems.values().map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    fn set(&self, place: Place, problem: Option<String>) {
        let mut problems = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match problem {
            Some(problem) => problems.insert(place, problem),
            None => problems.remove(&place),
        };
    }
}

/// Starts what is to be exported.
pub(crate) fn start(
    site: &Arc<Site>,
    exports: &Exports,
    status: Option<&ExportStatus>,
    tasks: &mut Tasks,
) {
    let (Some(status), stop) = (status, tasks.stop_token()) else { return };
    if let Some(config) = exports.files.clone() {
        let run = files::run(Arc::clone(site), config, status.clone(), stop.clone());
        tasks.spawn("export", run);
    }
    if let Some(config) = exports.bucket.clone() {
        tasks.spawn("bucket", bucket::run(Arc::clone(site), config, status.clone(), stop));
    }
}

/// What is exported: what is private would be for everybody for ever.
fn shown(site: &Site) -> impl Iterator<Item = (Arc<Camera>, Arc<Held>)> {
    let public = |camera: &Arc<Camera>| !site.access.is_private(&camera.id);
    let shown = site.board.all().into_iter().filter(public);
    shown.filter_map(|camera| {
        if camera.is_behind() {
            // What is at another relay is fetched.
            camera.asked(clock::mono());
        }
        camera.newest().map(|held| (camera, held))
    })
}

/// Where a camera's pictures are: at the root those of the default one, as in URLs.
fn folder(camera: &CameraId) -> Option<String> {
    (*camera != CameraId::default()).then(|| format!("cameras/{camera}"))
}

fn file_name(size: Option<Size>) -> String {
    let size = size.map(|size| size.to_string()).unwrap_or_default();
    format!("live{size}.jpeg")
}

/// Whether the export gives a picture such a name.
fn is_picture(name: &str) -> bool {
    let size = name.strip_prefix("live").and_then(|rest| rest.strip_suffix(".jpeg"));
    size.is_some_and(|size| size.is_empty() || size.parse::<Size>().is_ok())
}

/// Whose picture this is, by its whole name; `None` if it is no picture of ours.
fn whose(name: &str) -> Option<CameraId> {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    if !is_picture(file) {
        return None;
    }
    if folder.is_empty() {
        return Some(CameraId::default());
    }
    folder.strip_prefix("cameras/")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_whose_pictures_they_are() {
        let garden: CameraId = "garden".parse().unwrap();
        for (camera, size, name) in [
            (CameraId::default(), None, "live.jpeg"),
            (CameraId::default(), Some("8x6"), "live8x6.jpeg"),
            (garden, Some("800x600"), "cameras/garden/live800x600.jpeg"),
        ] {
            let size = size.map(|size| size.parse().unwrap());
            let folder = folder(&camera).map(|folder| folder + "/").unwrap_or_default();
            assert_eq!(folder + &file_name(size), name);
            assert_eq!(whose(name), Some(camera), "{name}");
        }
        for other in [
            "status.json",
            "live.png",
            "live0x0.jpeg",
            "xlive.jpeg",
            "cameras/live.jpeg",
            "cameras/garden/more/live.jpeg",
            "others/garden/live.jpeg",
            "cameras/Garden/live.jpeg",
        ] {
            assert_eq!(whose(other), None, "{other}");
        }
    }

    #[test]
    fn a_problem_lasts_until_its_own_place_works() {
        let status = ExportStatus::default();
        status.set(Place::Bucket, Some("no bucket".to_owned()));
        status.set(Place::Files, Some("no disk".to_owned()));
        assert_eq!(status.problem().unwrap(), "no disk; no bucket");
        status.set(Place::Files, None);
        assert_eq!(status.problem().unwrap(), "no bucket");
        status.set(Place::Bucket, None);
        assert_eq!(status.problem(), None);
    }
}
