//! What a URL's path names. Pure; what is done with it is decided in `routes.rs`.

use frame::CameraId;

use crate::board::Size;

/// Something that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// `/` or `/cameras/{id}`: where its frames are uploaded to, and its page.
    Camera(CameraId),
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
    /// `test` of a camera: the tutorial's page.
    TestPage(CameraId),
    /// `/cameras/{id}/healthz`.
    CameraHealth(CameraId),
    /// `/healthz`.
    Health,
    /// `/status.json`.
    Status,
    /// `/metrics`.
    Metrics,
}

/// Reads a path as it stands in the request; `None` if it names nothing. No name here needs
/// percent-encoding, so an encoded one is no name.
pub(crate) fn parse(path: &str) -> Option<Target> {
    let path = path.strip_prefix('/')?;
    match path {
        "healthz" => return Some(Target::Health),
        "status.json" => return Some(Target::Status),
        "metrics" => return Some(Target::Metrics),
        _ => {}
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
        "" => Some(Target::Camera(id)),
        "live.jpeg" => Some(Target::Still(id, None)),
        "live.mjpeg" => Some(Target::Mjpeg(id)),
        "live.ws" => Some(Target::Push(id)),
        "upload.ws" => Some(Target::UploadSocket(id)),
        "test" => Some(Target::TestPage(id)),
        _ => {
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
            ("/", Some(Target::Camera(default()))),
            ("/live.jpeg", Some(Target::Still(default(), None))),
            ("/test", Some(Target::TestPage(default()))),
            ("/healthz", Some(Target::Health)),
            ("/status.json", Some(Target::Status)),
            ("/cameras/default", Some(Target::Camera(default()))),
            ("/cameras/garden", Some(Target::Camera(garden()))),
            ("/cameras/garden/", Some(Target::Camera(garden()))),
            ("/cameras/garden/live.jpeg", Some(Target::Still(garden(), None))),
            ("/cameras/garden/test", Some(Target::TestPage(garden()))),
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
            ("/favicon.ico", None),
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

    proptest! {
        #[test]
        fn no_path_makes_it_panic(path in "(/|cameras|[a-z0-9.-]{0,3}|\\PC){0,12}") {
            let _ = parse(&path);
        }
    }
}
