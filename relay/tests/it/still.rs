//! `live.jpeg`, the page, and what else can be looked at.

use serde_json::Value;

use crate::relay::{PHOTO, Relay, captured_at, jpeg};

/// What shared caches may do with a still, and browsers may not.
pub(crate) const SHARED: &str =
    "public, max-age=0, must-revalidate, s-maxage=1, stale-while-revalidate=1, stale-if-error=0";

#[test]
fn a_still_says_all_about_itself() {
    let relay = Relay::start();
    let at = captured_at(-2_000);
    relay.upload_with(&[("Frame-Captured-At", &at), ("Frame-Seq", "42")], PHOTO);
    for path in ["/live.jpeg", "/live.jpeg?1552907804662", "/cameras/default/live.jpeg?_=1"] {
        let answer = relay.get(path);
        assert_eq!((answer.status(), answer.body.as_slice()), (200, PHOTO), "{path}");
        for (name, value) in [
            ("content-type", "image/jpeg"),
            ("content-length", &PHOTO.len().to_string()),
            ("cache-control", SHARED),
            ("frame-captured-at", &format!("{}Z", &at[..23])),
            ("frame-seq", "42"),
            ("frame-state", "live"),
            ("frame-time-source", "captured"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path} {name}");
        }
        let etag = answer.header("etag").unwrap();
        assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() == 34, "{etag}");
        assert!(answer.header("last-modified").unwrap().ends_with(" GMT"));
        let age: u64 = answer.header("frame-age-ms").unwrap().parse().unwrap();
        assert!((2_000..60_000).contains(&age), "{age}");
    }
}

#[test]
fn head_is_get_without_a_body() {
    let relay = Relay::start();
    relay.upload(PHOTO);
    let names = |headers: &[(String, String)]| {
        let mut names: Vec<String> = headers.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    };
    for path in ["/live.jpeg", "/test", "/status.json", "/healthz", "/", "/nothing"] {
        let (get, head) = (relay.get(path), relay.request("HEAD", path));
        assert_eq!(get.first, head.first, "{path}");
        assert_eq!(names(&get.headers), names(&head.headers), "{path}");
    }
    assert_eq!(
        relay.request("HEAD", "/live.jpeg").header("content-length"),
        Some(PHOTO.len().to_string().as_str())
    );
}

#[test]
fn a_picture_that_is_known_is_not_sent_again() {
    let relay = Relay::start();
    relay.upload(PHOTO);
    let etag = relay.get("/live.jpeg").header("etag").unwrap().to_owned();
    for condition in [&etag, &format!("W/{etag}"), &format!("\"x\", {etag}"), &"*".to_owned()] {
        let answer = relay.get_with("/live.jpeg", &[("If-None-Match", condition)]);
        assert_eq!((answer.status(), answer.body.len()), (304, 0), "{condition}");
        for name in [
            "etag",
            "last-modified",
            "cache-control",
            "frame-captured-at",
            "frame-age-ms",
            "frame-state",
            "frame-seq",
        ] {
            assert!(answer.header(name).is_some(), "{name}");
        }
    }
    relay.upload(&jpeg(1));
    let answer = relay.get_with("/live.jpeg", &[("If-None-Match", &etag)]);
    assert_eq!((answer.status(), answer.body), (200, jpeg(1)));
}

#[test]
fn too_old_can_be_refused() {
    let relay = Relay::start();
    relay.upload_with(&[("Frame-Captured-At", &captured_at(-30_000))], PHOTO);
    assert_eq!(relay.get("/live.jpeg?max_age=3600").status(), 200);
    let answer = relay.get("/live.jpeg?max_age=29.5");
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")));
    let line = String::from_utf8(answer.body.clone()).unwrap();
    assert!(line.starts_with("the newest picture is 3") && line.ends_with(" s old\n"), "{line}");
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(answer.header("frame-age-ms").is_some());
    assert_eq!(relay.get("/live.jpeg?max_age=soon").status(), 400);
}

#[test]
fn caches_keep_stills_and_nothing_that_is_true_for_this_moment_only() {
    let relay = Relay::start();
    let said = |path: &str, headers: &[(&str, &str)]| {
        let answer = relay.get_with(path, headers);
        (answer.status(), answer.header("cache-control").unwrap_or_default().to_owned())
    };
    let is = |status, text: &str| (status, text.to_owned());
    assert_eq!(said("/live.jpeg", &[]), is(503, "no-store"));
    relay.upload_with(&[("Frame-Captured-At", &captured_at(-30_000))], PHOTO);
    let etag = relay.get("/live.jpeg").header("etag").unwrap().to_owned();
    for path in ["/live.jpeg", "/live.jpeg?17", "/live8x8.jpeg", "/cameras/default/live.jpeg"] {
        assert_eq!(said(path, &[]), is(200, SHARED), "{path}");
    }
    assert_eq!(relay.request("HEAD", "/live.jpeg").header("cache-control"), Some(SHARED));
    assert_eq!(said("/live.jpeg", &[("If-None-Match", &etag)]), is(304, SHARED));
    assert_eq!(said("/live.jpeg?max_age=60", &[]), is(200, "no-cache"));
    for (path, status) in [
        ("/live.jpeg?max_age=1", 503),
        ("/live.jpeg?max_age=x", 400),
        ("/live0x0.jpeg", 400),
        ("/cameras/nobody/live.jpeg", 404),
        ("/status.json", 200),
        ("/healthz", 200),
    ] {
        assert_eq!(said(path, &[]), is(status, "no-store"), "{path}");
    }
    // Some count the age anew then, and go on saying the Frame-Age-Ms of before.
    let of_cdn = [("If-None-Match", etag.as_str()), ("CDN-Loop", "example; v=1")];
    assert_eq!(said("/live.jpeg", &of_cdn), is(200, SHARED));
    let off = Relay::with("site.shared_cache = \"0s\"");
    off.upload(PHOTO);
    assert_eq!(off.get("/live.jpeg").header("cache-control"), Some("no-cache"));
}

#[test]
fn before_the_first_picture_there_is_one_that_says_so() {
    let relay = Relay::start();
    let answer = relay.get("/live.jpeg");
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.header("content-type"), Some("image/jpeg"));
    assert_eq!(answer.header("frame-state"), Some("empty"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let picture = frame::Picture::accept(answer.body.into()).unwrap();
    assert_eq!((picture.width(), picture.height()), (640, 360));
}

#[test]
fn the_tutorials_page() {
    let relay = Relay::start();
    for path in ["/test", "/cameras/default/test"] {
        let answer = relay.get(path);
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        let page = String::from_utf8(answer.body).unwrap();
        assert!(page.contains("<img src=\"live.jpeg\"") && page.contains("150"), "{page}");
    }
}

#[test]
fn what_does_not_exist_and_what_can_not_be_done() {
    let relay = Relay::start();
    for path in [
        "/live.jpg",
        "/cameras/garden/live.jpeg",
        "/cameras/garden",
        "/cameras/garden/healthz",
        "/../etc/passwd",
    ] {
        let answer = relay.get(path);
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(String::from_utf8(answer.body).unwrap().lines().count(), 1, "{path}");
    }
    for (method, path, allow) in [
        ("POST", "/live.jpeg", "GET, HEAD"),
        ("PUT", "/", "GET, HEAD, POST"),
        ("DELETE", "/cameras/garden", "GET, HEAD, POST"),
        ("OPTIONS", "/test", "GET, HEAD"),
        ("BREW", "/healthz", "GET, HEAD"),
    ] {
        let answer = relay.request(method, path);
        assert_eq!(
            (answer.status(), answer.header("allow")),
            (405, Some(allow)),
            "{method} {path}"
        );
    }
}

#[test]
fn status_is_complete() {
    let relay = Relay::start();
    relay.upload(PHOTO);
    let status = relay.status();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["persistence"], "works");
    assert!(status["uptime_ms"].is_u64() && status["connections"].is_u64());
    let camera = &status["cameras"][0];
    for (name, value) in [
        ("camera", Value::from("default")),
        ("state", "live".into()),
        ("seq", 0.into()),
        ("time_source", "arrived".into()),
        ("bytes", PHOTO.len().into()),
        ("width", 480.into()),
        ("height", 270.into()),
    ] {
        assert_eq!(camera[name], value, "{name}");
    }
    assert!(camera["age_ms"].is_u64() && camera["captured_at"].is_string());
    let health: Value = serde_json::from_slice(&relay.get("/healthz").body).unwrap();
    assert_eq!((&health["status"], &health["persistence"]), (&"ok".into(), &"works".into()));
}
