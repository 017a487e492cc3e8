//! What a URL's path names. Pure; what is done with it is decided in `routes.rs`.

use frame::CameraId;
use frame::update::is_sha256;
use frame::wire::parse_time;

use crate::board::Size;

/// Something that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// What people look at; two of them can be uploaded to.
    Page(Page),
    /// `live.jpeg` of a camera, or `live800x600.jpeg`.
    Still(CameraId, Option<Size>),
    /// `live….jpeg` of a camera with something that is no size.
    NoSize,
    /// `live.mjpeg` of a camera.
    Mjpeg(CameraId),
    /// `live.ws` of a camera: its frames over a WebSocket.
    Push(CameraId),
    /// `upload.ws` of a camera.
    UploadSocket(CameraId),
    /// `history` of a camera: which frames of the past there are.
    History(CameraId),
    /// `history/{captured_at}.jpeg` of a camera: one of them, by its time in µs since the Unix
    /// epoch.
    Past(CameraId, i64),
    /// `update` of a camera: which update it may have.
    Update(CameraId),
    /// `/updates/{sha256}.raucb`: an update itself.
    Bundle(String),
    /// `/updates/{sha256}.blocks`: the list of its blocks.
    Blocks(String),
    /// `/cameras/{id}/healthz`.
    CameraHealth(CameraId),
    /// `/healthz`.
    Health,
    /// `/status.json`.
    Status,
    /// `/metrics`.
    Metrics,
}

/// What people look at, and what that is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    /// `/`: where camera `default` is uploaded to, and the first page.
    Home,
    /// `/cameras/{id}`: where its frames are uploaded to, and its page.
    Camera(CameraId),
    /// `test` of a camera: the tutorial's page.
    Test(CameraId),
    /// `embed` of a camera: the lines to copy.
    Embed(CameraId),
    /// `/status`: the owner's page.
    Owner,
    /// `/status/cameras.json`: what it shows.
    OwnerData,
    /// `/status/cameras/{id}/update`: where the owner's decisions of its updates are sent to.
    OwnerUpdate(CameraId),
    /// What pages are made of; the path without its first slash says what.
    Asset,
    /// `/favicon.ico`.
    Favicon,
    /// `/manifest.webmanifest`.
    Manifest,
}

impl Target {
    /// Which camera a POST to it is an upload for.
    pub(crate) fn uploads_to(&self) -> Option<CameraId> {
        if *self == Target::Page(Page::Home) {
            return Some(CameraId::default());
        }
        if let Target::Page(Page::Camera(id)) = self { Some(id.clone()) } else { None }
    }

    /// Which camera it shows: what may be private.
    pub(crate) fn views(&self) -> Option<&CameraId> {
        match self {
            Target::Still(id, _)
            | Target::Mjpeg(id)
            | Target::Push(id)
            | Target::History(id)
            | Target::Past(id, _)
            | Target::Page(Page::Camera(id) | Page::Test(id) | Page::Embed(id)) => Some(id),
            Target::Page(
                Page::Home
                | Page::Owner
                | Page::OwnerData
                | Page::OwnerUpdate(_)
                | Page::Asset
                | Page::Favicon
                | Page::Manifest,
            )
            | Target::NoSize
            | Target::UploadSocket(_)
            | Target::Update(_)
            | Target::Bundle(_)
            | Target::Blocks(_)
            | Target::CameraHealth(_)
            | Target::Health
            | Target::Status
            | Target::Metrics => None,
        }
    }

    /// Whether it shows all cameras that may be seen by who asks.
    pub(crate) fn shows_all(&self) -> bool {
        matches!(self, Target::Page(Page::Home) | Target::Status)
    }

    /// Whether it needs a password of its own that stands in the request, whoever sends it.
    pub(crate) fn is_of_agents(&self) -> bool {
        matches!(
            self,
            Target::UploadSocket(_) | Target::Update(_) | Target::Bundle(_) | Target::Blocks(_)
        )
    }

    /// Whether scripts of other sites may read it, as far as any may: what shows a camera.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(
            self,
            Target::Still(..)
                | Target::NoSize
                | Target::Mjpeg(_)
                | Target::History(_)
                | Target::Past(..)
                | Target::CameraHealth(_)
                | Target::Status
        )
    }
}

/// Reads a path as it stands in the request; `None` if it names nothing. No name here needs
/// percent-encoding, so an encoded one is no name.
pub(crate) fn parse(path: &str) -> Option<Target> {
    let path = path.strip_prefix('/')?;
    match path {
        "healthz" => return Some(Target::Health),
        "status.json" => return Some(Target::Status),
        "" => return Some(Target::Page(Page::Home)),
        "metrics" => return Some(Target::Metrics),
        "status" => return Some(Target::Page(Page::Owner)),
        "status/cameras.json" => return Some(Target::Page(Page::OwnerData)),
        "favicon.ico" => return Some(Target::Page(Page::Favicon)),
        "manifest.webmanifest" => return Some(Target::Page(Page::Manifest)),
        "embed.js" => return Some(Target::Page(Page::Asset)),
        asset if asset.starts_with("assets/") => return Some(Target::Page(Page::Asset)),
        _ => {}
    }
    if let Some(file) = path.strip_prefix("updates/") {
        let (sha256, kind) = file.split_once('.').filter(|(name, _)| is_sha256(name))?;
        return match kind {
            "raucb" => Some(Target::Bundle(sha256.to_owned())),
            "blocks" => Some(Target::Blocks(sha256.to_owned())),
            _ => None,
        };
    }
    if let Some(below) = path.strip_prefix("status/cameras/") {
        let id = below.strip_suffix("/update")?.parse().ok()?;
        return Some(Target::Page(Page::OwnerUpdate(id)));
    }
    let Some(below) = path.strip_prefix("cameras/") else {
        return of_camera(CameraId::default(), path);
    };
    let (id, rest) = below.split_once('/').unwrap_or((below, ""));
    let id: CameraId = id.parse().ok()?;
    match rest {
        "healthz" => Some(Target::CameraHealth(id)),
        _ => of_camera(id, rest),
    }
}

/// What each camera has; the default one has it at the root, as in the tutorial, too.
fn of_camera(id: CameraId, name: &str) -> Option<Target> {
    match name {
        "" => Some(Target::Page(Page::Camera(id))),
        "live.jpeg" => Some(Target::Still(id, None)),
        "live.mjpeg" => Some(Target::Mjpeg(id)),
        "live.ws" => Some(Target::Push(id)),
        "upload.ws" => Some(Target::UploadSocket(id)),
        "history" => Some(Target::History(id)),
        "update" => Some(Target::Update(id)),
        "test" => Some(Target::Page(Page::Test(id))),
        "embed" => Some(Target::Page(Page::Embed(id))),
        _ => {
            if let Some(past) = name.strip_prefix("history/") {
                let captured_us = parse_time(past.strip_suffix(".jpeg")?)?;
                return Some(Target::Past(id, captured_us));
            }
            let size = name.strip_prefix("live")?.strip_suffix(".jpeg")?;
            Some(size.parse().map_or(Target::NoSize, |size| Target::Still(id, Some(size))))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_path() {
        let default = CameraId::default;
        let garden = || "garden".parse::<CameraId>().unwrap();
        for (path, target) in [
            ("/", Some(Target::Page(Page::Home))),
            ("/embed", Some(Target::Page(Page::Embed(default())))),
            ("/cameras/garden/embed", Some(Target::Page(Page::Embed(garden())))),
            ("/embed.js", Some(Target::Page(Page::Asset))),
            ("/assets/viewer.js", Some(Target::Page(Page::Asset))),
            ("/cameras/garden/assets/viewer.js", None),
            ("/status", Some(Target::Page(Page::Owner))),
            ("/status/cameras.json", Some(Target::Page(Page::OwnerData))),
            ("/manifest.webmanifest", Some(Target::Page(Page::Manifest))),
            ("/favicon.ico", Some(Target::Page(Page::Favicon))),
            ("/live.jpeg", Some(Target::Still(default(), None))),
            ("/test", Some(Target::Page(Page::Test(default())))),
            ("/healthz", Some(Target::Health)),
            ("/status.json", Some(Target::Status)),
            ("/cameras/default", Some(Target::Page(Page::Camera(default())))),
            ("/cameras/garden", Some(Target::Page(Page::Camera(garden())))),
            ("/cameras/garden/", Some(Target::Page(Page::Camera(garden())))),
            ("/cameras/garden/live.jpeg", Some(Target::Still(garden(), None))),
            ("/cameras/garden/test", Some(Target::Page(Page::Test(garden())))),
            ("/cameras/garden/healthz", Some(Target::CameraHealth(garden()))),
            ("", None),
            ("*", None),
            ("//", None),
            ("/cameras", None),
            ("/cameras/", None),
            ("/cameras//live.jpeg", None),
            ("/cameras/Garden", None),
            ("/cameras/../test", None),
            ("/cameras/garden/status.json", None),
            ("/cameras/garden/live.jpeg/", None),
            ("/live%2Ejpeg", None),
            ("/LIVE.JPEG", None),
            ("/live.jpeg/", None),
            ("/live800x600.jpeg", Some(Target::Still(default(), Some("800x600".parse().unwrap())))),
            (
                "/cameras/garden/live1x1.jpeg",
                Some(Target::Still(garden(), Some("1x1".parse().unwrap()))),
            ),
            ("/live800X600.jpeg", Some(Target::NoSize)),
            ("/live0x600.jpeg", Some(Target::NoSize)),
            ("/live-8x6.jpeg", Some(Target::NoSize)),
            ("/live99999x99999.jpeg", Some(Target::NoSize)),
            ("/live.mjpeg", Some(Target::Mjpeg(default()))),
            ("/cameras/garden/live.mjpeg", Some(Target::Mjpeg(garden()))),
            ("/live.ws", Some(Target::Push(default()))),
            ("/upload.ws", Some(Target::UploadSocket(default()))),
            ("/cameras/garden/upload.ws", Some(Target::UploadSocket(garden()))),
            ("/metrics", Some(Target::Metrics)),
            ("/live800x600.mjpeg", None),
        ] {
            assert_eq!(parse(path), target, "{path}");
        }
    }

    #[test]
    fn updates() {
        let garden = || "garden".parse::<CameraId>().unwrap();
        let sha256 = "0f".repeat(32);
        for (path, target) in [
            ("/update", Some(Target::Update(CameraId::default()))),
            ("/cameras/garden/update", Some(Target::Update(garden()))),
            ("/status/cameras/garden/update", Some(Target::Page(Page::OwnerUpdate(garden())))),
            ("/status/cameras/Garden/update", None),
            ("/status/cameras/garden/", None),
            (&format!("/updates/{sha256}.raucb"), Some(Target::Bundle(sha256.clone()))),
            (&format!("/updates/{sha256}.blocks"), Some(Target::Blocks(sha256.clone()))),
            (&format!("/updates/{sha256}.x.blocks"), None),
            (&format!("/updates/{}.raucb", sha256.to_uppercase()), None),
            ("/updates/../stillwatch.db", None),
            ("/updates/index.json", None),
            ("/updates/.raucb", None),
            ("/updates/", None),
        ] {
            assert_eq!(parse(path), target, "{path}");
        }
    }

    #[test]
    fn the_past() {
        let default = CameraId::default;
        let garden = || "garden".parse::<CameraId>().unwrap();
        for (path, target) in [
            ("/history", Some(Target::History(default()))),
            ("/cameras/garden/history", Some(Target::History(garden()))),
            (
                "/cameras/garden/history/2019-03-18T11:16:44.662123Z.jpeg",
                Some(Target::Past(garden(), 1_552_907_804_662_123)),
            ),
            ("/history/2019-03-18T11:16:44Z", None),
            ("/history/yesterday.jpeg", None),
            ("/history/", None),
        ] {
            assert_eq!(parse(path), target, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic(path in "(/|cameras|[a-z0-9.-]{0,3}|\\PC){0,12}") {
            let _ = parse(&path);
        }
    }
}
