//! Private cameras: passwords for viewing, and signed links.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;
use testbed::eventually::{becomes_true, pause};
use testbed::http::Message;
use testbed::program::SOON;

use crate::relay::{PASSWORD, PHOTO, Relay, captured_at, photo};
use crate::still::SHARED;
use crate::websocket::{OURS, try_open};

/// Files with the passwords `gardens-secret`, `site-secret` and `owner-secret`.
fn files() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["garden", "site", "owner"] {
        let path = folder.path().join(name);
        fs::write(&path, format!("{name}-secret\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

/// `default` is for everybody, `garden` is private.
fn with_garden(more: &str) -> (Relay, TempDir) {
    let files = files();
    let path = |name: &str| files.path().join(name).display().to_string();
    let relay = Relay::with(&format!(
        "owner.password_file = \"{}\"\n{more}\n[cameras.garden]\ntitle = \"Behind the house\"\n\
         view_password_file = \"{}\"\n",
        path("owner"),
        path("garden")
    ));
    relay.upload(PHOTO);
    let garden = format!("/cameras/garden?password={PASSWORD}");
    let at = captured_at(0);
    let answer = relay.post(&garden, &[("Frame-Captured-At", &at)], &photo(320, 240, 1));
    assert_eq!(answer.status(), 200);
    (relay, files)
}

fn basic(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("anybody:{password}")))
}

fn text(answer: &Message) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// Everything that shows the garden.
fn paths(relay: &Relay) -> Vec<String> {
    let list =
        relay.get_with("/cameras/garden/history", &[("Authorization", &basic("garden-secret"))]);
    let list: Value = serde_json::from_slice(&list.body).unwrap();
    let past = list["frames"][0]["captured_at"].as_str().unwrap().to_owned();
    [
        "",
        "/",
        "/?embedded",
        "/live.jpeg",
        "/live64x64.jpeg",
        "/live.mjpeg",
        "/history",
        "/test",
        "/embed",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([format!("/history/{past}.jpeg")])
    .map(|rest| format!("/cameras/garden{rest}"))
    .collect()
}

/// The link's address without the relay's, and its key.
fn link(relay: &Relay, lasts: &str) -> (String, String) {
    let text = relay.run(&["link", "garden", "--for", lasts]);
    let url = text.lines().next().unwrap();
    let path = url.strip_prefix(&format!("http://{}", relay.address)).unwrap().to_owned();
    let key = path.strip_prefix("/cameras/garden/?key=").unwrap().to_owned();
    (path, key)
}

/// Waits until the running relay knows it.
fn good(relay: &Relay, key: &str) {
    becomes_true("the link is good", SOON, || {
        pause(std::time::Duration::from_millis(300));
        relay.request("HEAD", &format!("/cameras/garden/live.jpeg?key={key}")).status() == 200
    });
}

#[test]
fn everything_of_a_private_camera_asks_for_its_password() {
    let (relay, _files) = with_garden("");
    let asked = |path: &str, password: &str| {
        // A stream has no end.
        let method = if path.contains("mjpeg") { "HEAD" } else { "GET" };
        let authorization = basic(password);
        let with = [("Authorization", authorization.as_str())];
        let headers = if password.is_empty() { &[][..] } else { &with };
        testbed::http::request(relay.address, method, path, headers, b"").unwrap()
    };
    relay.becomes("default", "/state", &"live".into());
    becomes_true("a picture of the past", SOON, || {
        let list = asked("/cameras/garden/history", "garden-secret");
        text(&list).contains("captured_at")
    });
    for path in paths(&relay) {
        let refused = asked(&path, "");
        assert_eq!(refused.status(), 401, "{path}");
        assert_eq!(
            refused.header("www-authenticate"),
            Some("Basic realm=\"stillwatch garden\", charset=\"UTF-8\"")
        );
        assert!(!text(&refused).contains("house"), "{path}");
        for password in ["garden-secret", "owner-secret"] {
            let seen = asked(&path, password);
            assert!([200, 302].contains(&seen.status()), "{path}: {}", seen.first);
            assert_eq!(seen.header("cache-control"), Some("private, no-store"), "{path}");
            assert_eq!(seen.header("x-robots-tag"), Some("noindex"), "{path}");
            assert!(!text(&seen).contains("og:image\""), "{path}: nobody else can load it");
        }
    }
    assert_eq!(try_open(&relay, "/cameras/garden/live.ws", &[OURS]).err(), Some(401));
    let with = basic("garden-secret");
    assert!(try_open(&relay, "/cameras/garden/live.ws", &[OURS, ("authorization", &with)]).is_ok());
    // Where all cameras stand, it does for whoever may see it.
    for path in ["/", "/status.json"] {
        assert!(!text(&asked(path, "")).contains("garden"), "{path}");
        assert!(text(&asked(path, "garden-secret")).contains("garden"), "{path}");
        assert!(text(&asked(path, "owner-secret")).contains("garden"), "{path}");
    }
    // The public one is as it was.
    let public = asked("/live.jpeg", "");
    assert_eq!((public.status(), public.header("cache-control")), (200, Some(SHARED)));
    // For monitors: that it is live, and how it is, but no picture.
    assert_eq!(asked("/cameras/garden/healthz", "").status(), 200);
    assert!(text(&asked("/metrics", "")).contains("camera=\"garden\""));
    // A conditional request gets no picture either.
    let etag =
        asked("/cameras/garden/live.jpeg", "garden-secret").header("etag").unwrap().to_owned();
    let answer = relay.get_with("/cameras/garden/live.jpeg", &[("If-None-Match", &etag)]);
    assert_eq!(answer.status(), 401);
    relay.program.line("camera garden: private, seen from 127.0.0.1 with a password");
    assert_eq!(relay.count_lines("slowed down"), 0, "nobody guessed");
    let lines = relay.program.lines().join("\n");
    assert!(!lines.contains("-secret") && !lines.contains(&with), "{lines}");
}

#[test]
fn a_link_opens_one_camera_until_its_end() {
    let (relay, _files) = with_garden("");
    let (path, key) = link(&relay, "1h");
    good(&relay, &key);
    let page = relay.get(&path);
    assert_eq!(page.status(), 200);
    let cookie = page.header("set-cookie").unwrap();
    let (name_and_key, rest) = cookie.split_once("; ").unwrap();
    assert_eq!(name_and_key, format!("stillwatch-garden={key}"));
    assert!(rest.starts_with("Path=/cameras/garden/; Max-Age=3"), "{rest}");
    assert!(rest.ends_with("; HttpOnly; SameSite=Lax"), "{rest}");
    let secure = relay.get_with(&path, &[("X-Forwarded-Proto", "https")]);
    assert!(secure.header("set-cookie").unwrap().ends_with("; Secure"));
    // What is on the page leads on with the key, for who has no cookies.
    let html = text(&page);
    assert!(html.contains(&format!("src=\"live.jpeg?key={key}\"")), "{html}");
    assert!(html.contains(&format!("href=\"embed?key={key}\"")), "{html}");
    let lines = text(&relay.get(&format!("/cameras/garden/embed?key={key}")));
    assert!(lines.contains(&format!("data-key=&#34;{key}&#34;")), "{lines}");
    assert!(lines.contains(&format!("?embedded&#38;amp;key={key}")), "{lines}");
    let mut all = vec!["/live.jpeg", "/live64x64.jpeg", "/live.mjpeg", "/history", "/test"];
    all.push("/live.jpeg?max_age=60");
    for rest in all {
        let method = if rest.contains("mjpeg") { "HEAD" } else { "GET" };
        let address = format!("/cameras/garden{rest}");
        let joint = if rest.contains('?') { '&' } else { '?' };
        assert_eq!(relay.request(method, &format!("{address}{joint}key={key}")).status(), 200);
        let headers = [("Cookie", format!("a=b; {name_and_key}"))];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let seen = testbed::http::request(relay.address, method, &address, &headers, b"").unwrap();
        assert_eq!((seen.status(), seen.header("set-cookie")), (200, None), "{rest}");
    }
    assert!(try_open(&relay, &format!("/cameras/garden/live.ws?key={key}"), &[OURS]).is_ok());
    let overview = text(&relay.get(&format!("/?key={key}")));
    assert!(overview.contains(&format!("href=\"cameras/garden/?key={key}\"")), "{overview}");
    // It is not for others, nor when anything of it is changed.
    for wrong in [key.replace("garden", "default"), format!("{key}x"), key.replace("1.", "2.")] {
        let refused = relay.get(&format!("/cameras/garden/live.jpeg?key={wrong}"));
        assert_eq!((refused.status(), refused.header("www-authenticate")), (403, None), "{wrong}");
    }
    relay.program.line("camera garden: private, seen from 127.0.0.1 by a link");
    // All end at once.
    let text = relay.run(&["link", "--revoke-all"]);
    assert!(text.contains("have ended"), "{text}");
    becomes_true("the link's end", SOON, || relay.get(&path).status() == 403);
    let headers = [("Cookie", name_and_key)];
    assert_eq!(relay.get_with("/cameras/garden/live.jpeg", &headers).status(), 401);
    relay.program.line("all links that were given out have ended");
    let lines = relay.program.lines().join("\n");
    assert!(!lines.contains(&key), "{lines}");
    // Old cookies are no guesses: the password is heard at once.
    for _ in 0..20 {
        relay.get_with("/cameras/garden/live.jpeg", &headers);
    }
    let with = basic("garden-secret");
    let answer = relay.get_with("/cameras/garden/live.jpeg", &[("Authorization", &with)]);
    assert_eq!(answer.status(), 200);
}

#[test]
fn pages_of_a_private_camera_lead_to_no_other_relay() {
    let (relay, _files) = with_garden("site.mirrors = \"https://b.example.org/\"");
    let (path, key) = link(&relay, "1h");
    good(&relay, &key);
    for page in [path.as_str(), "/cameras/garden/embed"] {
        let html = text(&relay.get_with(page, &[("Authorization", &basic("garden-secret"))]));
        assert!(html.contains("Behind the house") && !html.contains("b.example.org"), "{html}");
    }
    // Beside it, the one that is for everybody.
    let html = text(&relay.get_with("/", &[("Authorization", &basic("garden-secret"))]));
    let sections: Vec<&str> = html.split("<section").skip(1).collect();
    let with: Vec<bool> = sections.iter().map(|s| s.contains("b.example.org")).collect();
    let private: Vec<bool> =
        sections.iter().map(|s| s.contains("data-camera=\"garden\"")).collect();
    assert_eq!((with.len(), private.iter().filter(|is| **is).count()), (2, 1));
    assert!(with.iter().zip(&private).all(|(with, private)| with != private), "{html}");
}

#[test]
fn a_stream_ends_with_its_link() {
    let (relay, _files) = with_garden("");
    let (_, key) = link(&relay, "1h");
    good(&relay, &key);
    let (_, short) = link(&relay, "4s");
    let mut mjpeg = relay.connect();
    let head = format!("GET /cameras/garden/live.mjpeg?key={short} HTTP/1.1\r\nHost: r\r\n\r\n");
    mjpeg.write_all(head.as_bytes()).unwrap();
    let mut socket =
        try_open(&relay, &format!("/cameras/garden/live.ws?key={short}"), &[OURS]).unwrap();
    let mut revoked =
        try_open(&relay, &format!("/cameras/garden/live.ws?key={key}"), &[OURS]).unwrap();
    let mut all = String::new();
    let mut bytes = Vec::new();
    // Until the relay ends it; the connection stays open for the next request.
    let mut buffer = [0; 4096];
    while !bytes.ends_with(b"0\r\n\r\n") {
        let n = mjpeg.read(&mut buffer).unwrap();
        assert!(n > 0);
        bytes.extend_from_slice(&buffer[..n]);
    }
    all.push_str(&String::from_utf8_lossy(&bytes));
    assert!(all.starts_with("HTTP/1.1 200") && all.contains("image/jpeg"), "{all}");
    while socket.read().is_ok() {}
    assert_eq!(relay.get(&format!("/cameras/garden/live.jpeg?key={short}")).status(), 403);
    // The other one's is still good, until it is revoked.
    assert_eq!(
        relay.request("HEAD", &format!("/cameras/garden/live.jpeg?key={key}")).status(),
        200
    );
    relay.run(&["link", "--revoke-all"]);
    while revoked.read().is_ok() {}
}

#[test]
fn a_password_for_all_is_asked_for_by_all_pages() {
    let files = files();
    let path = |name: &str| files.path().join(name).display().to_string();
    let relay = Relay::with(&format!(
        "site.view_password_file = \"{}\"\nowner.password_file = \"{}\"\n[cameras.garden]\n\
         view_password_file = \"{}\"\n",
        path("site"),
        path("owner"),
        path("garden")
    ));
    relay.upload(PHOTO);
    let status = |path: &str, password: &str| {
        let authorization = basic(password);
        let with = [("Authorization", authorization.as_str())];
        relay.get_with(path, if password.is_empty() { &[] } else { &with }).status()
    };
    for path in [
        "/",
        "/live.jpeg",
        "/status.json",
        "/embed",
        "/cameras/default/",
        "/cameras/nobody/live.jpeg",
    ] {
        let refused = relay.get(path);
        assert_eq!(refused.status(), 401, "{path}");
        assert!(refused.header("www-authenticate").unwrap().contains("realm=\"stillwatch\""));
    }
    for path in ["/", "/live.jpeg", "/status.json", "/embed"] {
        assert_eq!(
            (status(path, "site-secret"), status(path, "owner-secret")),
            (200, 200),
            "{path}"
        );
    }
    assert_eq!(status("/live.jpeg", "garden-secret"), 401);
    // A camera's own replaces the site's for it, as it is with uploads.
    assert_eq!(status("/cameras/garden/live.jpeg", "site-secret"), 401);
    assert_eq!(status("/cameras/garden/live.jpeg", "garden-secret"), 503, "no picture yet");
    assert_eq!(status("/cameras/nobody/live.jpeg", "site-secret"), 404);
    // What pages are made of is no secret, and a monitor needs no password.
    for path in ["/assets/style.css", "/healthz", "/favicon.ico", "/embed.js"] {
        assert_eq!(status(path, ""), 200, "{path}");
    }
}

#[test]
fn another_sites_page_opens_no_websocket_with_the_viewers_cookie() {
    let (relay, _files) = with_garden("");
    let (_, key) = link(&relay, "1h");
    good(&relay, &key);
    let cookie = format!("stillwatch-garden={key}");
    let password = basic("garden-secret");
    let own = format!("http://{}", relay.address);
    for (name, value) in [("cookie", &cookie), ("authorization", &password)] {
        let open = |origin: &str| {
            let headers = [OURS, (name, value), ("origin", origin)];
            try_open(&relay, "/cameras/garden/live.ws", &headers).err()
        };
        assert_eq!(open("https://evil.example"), Some(403), "{name}");
        assert_eq!(open(&own), None, "{name}");
    }
    // Who has the key needs nothing of the viewer's.
    let by_key = format!("/cameras/garden/live.ws?key={key}");
    assert!(try_open(&relay, &by_key, &[OURS, ("origin", "https://example.org")]).is_ok());
    // And a public camera is for everybody.
    assert!(try_open(&relay, "/live.ws", &[OURS, ("origin", "https://example.org")]).is_ok());
}

#[test]
fn a_private_camera_is_in_no_file_for_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let (relay, _files) = with_garden(&format!("export.dir = \"{}\"\n", dir.path().display()));
    becomes_true("the public one's file", SOON, || dir.path().join("live.jpeg").exists());
    becomes_true("the status", SOON, || {
        fs::read_to_string(dir.path().join("status.json"))
            .is_ok_and(|status| status.contains("\"default\"") && !status.contains("garden"))
    });
    assert!(!dir.path().join("cameras").exists());
    relay
        .program
        .line("not exported (export.dir) because they are private (view_password_file): garden");
    let text = relay.run(&["check-config"]);
    assert!(text.contains("warning: not exported") && text.contains("garden"), "{text}");
}

#[test]
fn what_was_exported_before_a_camera_became_private_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let garden = |name: &str| path("cameras/garden").join(name);
    let exported = ["live.jpeg", "live64x64.jpeg", "live800x600.jpeg", ".live.jpeg.tmp"];
    let others = ["index.html", "live.jpeg.old", "live064x1.jpeg", "lively.jpeg", "mylive.jpeg"];
    fs::create_dir_all(garden("")).unwrap();
    fs::create_dir_all(path("cameras/door")).unwrap();
    for file in exported.iter().chain(&others).map(|name| garden(name)) {
        fs::write(file, "x").unwrap();
    }
    for file in ["live64x64.jpeg", "cameras/live.jpeg", "cameras/door/live.jpeg"] {
        fs::write(path(file), "x").unwrap();
    }
    // A link is not the export's, and leads elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("live.jpeg"), "x").unwrap();
    symlink(elsewhere.path(), path("cameras/shed")).unwrap();
    symlink(elsewhere.path().join("live.jpeg"), garden("live1x1.jpeg")).unwrap();
    let export = format!("export.dir = \"{}\"\n", dir.path().display());
    let files = files();
    let shed = files.path().join("site");
    let private = format!("{export}[cameras.shed]\nview_password_file = \"{}\"", shed.display());
    let (relay, _files) = with_garden(&private);
    let said = relay.program.line("removed the files of cameras that are private now");
    assert!(said.ends_with(": garden"), "{said}");
    for name in exported {
        assert!(!garden(name).exists(), "{name}");
    }
    for name in others {
        assert!(garden(name).exists(), "{name}");
    }
    for name in ["live64x64.jpeg", "cameras/live.jpeg", "cameras/door/live.jpeg"] {
        assert!(path(name).exists(), "{name}");
    }
    assert!(elsewhere.path().join("live.jpeg").exists());
    assert!(garden("live1x1.jpeg").is_symlink() && path("cameras/shed").is_symlink());
    drop(relay);
    // All of them, with the one at the root.
    let site = format!("{export}site.view_password_file = \"{}\"\n", shed.display());
    let relay = Relay::with(&site);
    let said = relay.program.line("removed the files of cameras that are private now");
    assert!(said.contains("default") && said.contains("door"), "{said}");
    for name in ["live.jpeg", "live64x64.jpeg", "cameras/door/live.jpeg"] {
        assert!(!path(name).exists(), "{name}");
    }
    assert!(path("cameras/live.jpeg").exists());
}

#[test]
fn who_guesses_a_viewing_password_is_slowed_down_and_a_viewer_is_not() {
    let (relay, _files) = with_garden("");
    let path = "/cameras/garden/live.jpeg";
    let from = |address: &str, password: &str| {
        let authorization = basic(password);
        relay.from(address, "GET", path, &[("Authorization", &authorization)], b"").status()
    };
    assert_eq!(from("127.0.0.1", "garden-secret"), 200);
    let statuses: Vec<u16> = (0..30).map(|n| from("127.0.0.2", &n.to_string())).collect();
    assert_eq!(statuses[..10], [401; 10]);
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(from("127.0.0.2", "garden-secret"), 429, "not even the right one");
    // Nor the owner's, which was guessed as well.
    let owner = basic("owner-secret");
    let with = [("Authorization", owner.as_str())];
    assert_eq!(relay.from("127.0.0.2", "GET", "/status", &with, b"").status(), 429);
    assert_eq!(from("127.0.0.1", "garden-secret"), 200);
    assert_eq!(from("127.0.0.3", "owner-secret"), 200);
    let links = (0..30).map(|n| {
        let path = format!("{path}?key=1.garden.99999999999.{n:022}");
        relay.from("127.0.0.4", "GET", &path, &[], b"").status()
    });
    // Links are no guesses: those that were revoked stand in other sites' pages for long.
    let links: Vec<u16> = links.collect();
    assert_eq!(links, [403; 30]);
    assert_eq!(from("127.0.0.4", "garden-secret"), 200);
    relay.said("too many wrong passwords for viewing", 1);
}
