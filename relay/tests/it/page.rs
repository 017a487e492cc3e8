//! The pages as bytes: what they are made of, what they say to machines, who may show and read
//! them. What they look like and do is tested in `tests/`, in a browser.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use testbed::http::Message;

use crate::relay::{PASSWORD, PHOTO, ROOT, Relay, photo};

fn text(answer: &Message) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

fn add(relay: &Relay, id: &str) {
    let path = format!("/cameras/{id}?password={PASSWORD}");
    assert_eq!(relay.post(&path, &[], PHOTO).status(), 200);
}

/// What stands between the first `before` and the next `after`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let found = text.split_once(before).and_then(|(_, rest)| rest.split_once(after));
    assert!(found.is_some(), "no {before:?} in {text}");
    found.unwrap_or_default().0
}

/// The files that a page names, relative to the root.
fn files(page: &str) -> Vec<String> {
    let quoted = page.split('"').filter(|part| part.contains("assets/")).map(str::to_owned);
    quoted.collect()
}

#[test]
fn a_page_is_light_and_nothing_in_it_is_from_elsewhere() {
    let relay = Relay::start();
    relay.upload(PHOTO);
    let page = relay.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("content-encoding"), None, "nobody asked for it");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"));
    assert!(!policy.contains("unsafe"), "{policy}");
    let html = text(&page);
    for (n, _) in html.match_indices("//") {
        assert!(
            html[..n].ends_with("http:") && html[n..].starts_with(&format!("//{}/", relay.address)),
            "{}",
            &html[n - 9..n + 30]
        );
    }
    assert!(!html.contains(" style=") && !html.contains(" onload="), "the policy forbids it");
    let gzip = [("Accept-Encoding", "br, gzip")];
    let mut bytes = relay.get_with("/", &gzip).body.len();
    for file in files(&html) {
        let answer = relay.get_with(&format!("/{file}"), &gzip);
        assert_eq!(answer.status(), 200, "{file}");
        assert_eq!(
            answer.header("cache-control"),
            Some("public, max-age=31536000, immutable"),
            "{file}"
        );
        if file.contains(".js") || file.contains(".css") {
            assert_eq!(answer.header("content-encoding"), Some("gzip"), "{file}");
            bytes += answer.body.len();
        }
    }
    assert!(bytes < 30_000, "HTML, CSS and JavaScript: {bytes} bytes");
    println!("HTML, CSS and JavaScript, compressed: {bytes} bytes");
}

#[test]
fn files_are_asked_for_again_unless_their_name_says_which_they_are() {
    let relay = Relay::start();
    let plain = relay.get("/assets/style.css");
    assert_eq!(plain.header("cache-control"), Some("no-cache"));
    assert_eq!(plain.header("vary"), Some("Accept-Encoding"));
    let etag = plain.header("etag").unwrap();
    let known = relay.get_with("/assets/style.css", &[("If-None-Match", etag)]);
    assert_eq!((known.status(), known.body.len()), (304, 0));
    let old = relay.get("/assets/style.css?v=00000000");
    assert_eq!((old.status(), old.header("cache-control")), (200, Some("no-cache")));
    for path in ["/assets/", "/assets/../Cargo.toml", "/assets/viewer.js/x", "/assets/none.js"] {
        assert_eq!(relay.get(path).status(), 404, "{path}");
    }
    for path in ["/favicon.ico", "/embed.js", "/assets/icon.svg"] {
        assert_eq!(relay.get(path).status(), 200, "{path}");
    }
    let manifest: Value = serde_json::from_slice(&relay.get("/manifest.webmanifest").body).unwrap();
    for icon in manifest["icons"].as_array().unwrap() {
        let icon_file = relay.get(&format!("/{}", icon["src"].as_str().unwrap()));
        assert_eq!(icon_file.header("content-type"), icon["type"].as_str());
    }
}

#[test]
fn the_first_page_is_the_only_cameras_or_the_overview() {
    let relay = Relay::with("site.title = \"My house\"\n[cameras.door]\ntitle = \"The door\"\n");
    let cameras = |path: &str| -> Vec<String> {
        let html = text(&relay.get(path));
        let parts = html.split("data-base=\"").skip(1);
        parts.map(|part| part.split('"').next().unwrap().to_owned()).collect()
    };
    // "default" is nobody's as long as it has no picture and there are others.
    assert_eq!(cameras("/"), ["cameras/door/"]);
    assert!(text(&relay.get("/")).contains("<title>The door · My house</title>"));
    add(&relay, "garden");
    // The door has no picture yet: that is a problem.
    assert_eq!(cameras("/"), ["cameras/door/", "cameras/garden/"]);
    relay.upload(PHOTO);
    assert_eq!(cameras("/"), ["cameras/door/", "cameras/default/", "cameras/garden/"]);
    assert_eq!(cameras("/cameras/garden/"), [""]);
    let html = text(&relay.get("/cameras/garden/"));
    assert!(html.contains("href=\"../.././\"") && html.contains("src=\"../../assets/viewer.js?v="));
    let answer = relay.get("/cameras/garden?transport=poll");
    assert_eq!(answer.header("location"), Some("garden/?transport=poll"));
    assert_eq!(relay.get("/cameras/nobody/").status(), 404);
    // Uploading goes on where it went before.
    assert_eq!(relay.post(ROOT, &[], PHOTO).status(), 200);
}

#[test]
fn a_shared_link_shows_what_the_camera_sees() {
    let relay = Relay::start();
    assert!(!text(&relay.get("/")).contains("og:image\""), "there is none");
    relay.upload(&photo(1600, 900, 0));
    let html = text(&relay.get("/"));
    let image = between(&html, "<meta property=\"og:image\" content=\"", "\"");
    let ours = format!("http://{}", relay.address);
    let picture = relay.get(image.strip_prefix(&ours).unwrap());
    let picture = frame::Picture::accept(picture.body.into()).unwrap();
    assert_eq!((picture.width(), picture.height()), (1280, 720));
    for line in [
        "<meta property=\"og:image:width\" content=\"1280\">",
        "<meta property=\"og:image:height\" content=\"720\">",
        "<meta property=\"og:description\" content=\"Live\">",
        "<meta name=\"twitter:card\" content=\"summary_large_image\">",
    ] {
        assert!(html.contains(line), "{line} in {html}");
    }
    let image_for = |headers: &[(&str, &str)]| -> String {
        let html = text(&relay.get_with("/", headers));
        html.split("og:image\" content=\"")
            .nth(1)
            .map_or(String::new(), |rest| rest.split("/cameras").next().unwrap().to_owned())
    };
    // The test's client is on this machine, as a reverse proxy would be.
    assert_eq!(image_for(&[("X-Forwarded-Proto", "https")]), ours.replace("http:", "https:"));
    assert_eq!(image_for(&[("X-Forwarded-Proto", "javascript")]), ours);
    // Anybody else could make the preview of a link that others see go elsewhere.
    let relay = Relay::with("relay.proxies = \"none\"");
    relay.upload(PHOTO);
    let html = text(&relay.get_with("/", &[("X-Forwarded-Proto", "https")]));
    assert!(between(&html, "og:image\" content=\"", "\"").starts_with("http://"), "{html}");
    let relay = Relay::with("site.url = \"https://cam.example.org/garden\"");
    relay.upload(PHOTO);
    let html = text(&relay.get("/"));
    let image = between(&html, "<meta property=\"og:image\" content=\"", "\"");
    assert!(
        image.starts_with("https://cam.example.org/garden/cameras/default/live1280x65535.jpeg?")
    );
    let lines = text(&relay.get("/embed"));
    assert!(lines.contains("https://cam.example.org/garden/embed.js"), "{lines}");
}

#[test]
fn pages_say_who_may_show_and_read_them() {
    let ancestors = |relay: &Relay, path: &str| {
        let answer = relay.get(path);
        let policy = answer.header("content-security-policy").unwrap();
        policy.split("frame-ancestors ").nth(1).unwrap().to_owned()
    };
    let allowed = |relay: &Relay, path: &str, origin: &str| {
        let answer = relay.get_with(path, &[("Origin", origin)]);
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    let closed = Relay::start();
    closed.upload(PHOTO);
    let site = "https://example.org";
    assert_eq!(ancestors(&closed, "/"), "'self'");
    assert_eq!(allowed(&closed, "/live.jpeg", site), None);
    let open = Relay::with("embed.origins = \"https://example.org http://192.0.2.1:8080\"");
    open.upload(PHOTO);
    let mine = "'self' https://example.org http://192.0.2.1:8080";
    for path in ["/", "/cameras/default/", "/embed"] {
        assert_eq!(ancestors(&open, path), mine, "{path}");
    }
    for path in ["/live.jpeg", "/live8x8.jpeg", "/status.json", "/cameras/default/healthz"] {
        assert_eq!(allowed(&open, path, site).as_deref(), Some(site), "{path}");
        assert_eq!(allowed(&open, path, "https://elsewhere.org"), None, "{path}");
    }
    let exposed = open.get_with("/live.jpeg", &[("Origin", site)]);
    assert_eq!(exposed.header("vary"), Some("Origin"));
    assert!(exposed.header("access-control-expose-headers").unwrap().contains("Frame-State"));
    for path in ["/", "/status", "/status/cameras.json", "/metrics"] {
        assert_eq!(allowed(&open, path, site), None, "{path}");
    }
    let headers = [("Origin", site), ("Access-Control-Request-Headers", "if-none-match")];
    let preflight = testbed::http::request(open.address, "OPTIONS", "/live.jpeg", &headers, b"");
    let preflight = preflight.unwrap();
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some(site));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("If-None-Match"));
}

#[test]
fn pages_name_further_relays_and_those_may_read_here() {
    let usual = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
                 connect-src 'self'; manifest-src 'self'; frame-src 'self'; base-uri 'none'; \
                 form-action 'none'; frame-ancestors 'self'";
    let policy = |relay: &Relay, path: &str| {
        relay.get_with(path, &[OWNER]).header("content-security-policy").unwrap().to_owned()
    };
    let alone = Relay::start();
    alone.upload(PHOTO);
    assert!(!text(&alone.get("/")).contains("mirror"));
    assert_eq!(policy(&alone, "/"), usual);

    let (_, folder) = owners_relay();
    let relay = Relay::with(&format!(
        "site.mirrors = \"https://b.example.org http://192.0.2.1:5000/cams\"\nowner.password_file = \"{}\"",
        folder.path().join("owner").display()
    ));
    relay.upload(PHOTO);
    add(&relay, "garden");
    let attribute = " data-mirrors=\"https://b.example.org/ http://192.0.2.1:5000/cams/\"";
    for (path, cameras) in [("/", 2), ("/cameras/garden/", 1), ("/cameras/garden/?embedded", 1)] {
        assert_eq!(text(&relay.get(path)).matches(attribute).count(), cameras, "{path}");
        let sources =
            " https://b.example.org wss://b.example.org http://192.0.2.1:5000 ws://192.0.2.1:5000";
        let wider = usual.replace("connect-src 'self'", &format!("connect-src 'self'{sources}"));
        assert_eq!(policy(&relay, path), wider, "{path}");
    }
    // These ask nobody else.
    assert_eq!(policy(&relay, "/embed"), usual);
    assert_eq!(
        policy(&relay, "/status"),
        usual.replace("frame-ancestors 'self'", "frame-ancestors 'none'")
    );

    let allowed = |path: &str, origin: &str| {
        let answer = relay.get_with(path, &[("Origin", origin)]);
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    for origin in ["https://b.example.org", "http://192.0.2.1:5000"] {
        for path in ["/live.jpeg", "/cameras/garden/live8x8.jpeg", "/status.json"] {
            assert_eq!(allowed(path, origin).as_deref(), Some(origin), "{path}");
        }
        for path in ["/", "/status", "/status/cameras.json", "/metrics"] {
            assert_eq!(allowed(path, origin), None, "{path}");
        }
        let headers = [("Origin", origin), ("Access-Control-Request-Headers", "if-none-match")];
        let preflight =
            testbed::http::request(relay.address, "OPTIONS", "/live.jpeg", &headers, b"");
        assert_eq!(preflight.unwrap().header("access-control-allow-origin"), Some(origin));
    }
    assert_eq!(allowed("/live.jpeg", "https://example.org"), None);
    // Who embeds goes on being allowed.
    let both = Relay::with(
        "site.mirrors = \"https://b.example.org\"\nembed.origins = \"https://example.org\"",
    );
    both.upload(PHOTO);
    for origin in ["https://b.example.org", "https://example.org"] {
        let answer = both.get_with("/live.jpeg", &[("Origin", origin)]);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    }
    assert!(policy(&both, "/").ends_with("frame-ancestors 'self' https://example.org"));
}

fn owners_relay() -> (Relay, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("owner");
    fs::write(&file, "secret\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let relay = Relay::with(&format!("owner.password_file = \"{}\"", file.display()));
    (relay, folder)
}

/// `any:secret`, as base64.
const OWNER: (&str, &str) = ("Authorization", "Basic YW55OnNlY3JldA==");

/// `any:wrong`.
const WRONG: (&str, &str) = ("Authorization", "Basic YW55Ondyb25n");

#[test]
fn the_owners_page_is_off_until_there_is_a_password_and_then_asks_for_it() {
    let off = Relay::start();
    for path in ["/status", "/status/cameras.json"] {
        let answer = off.get_with(path, &[OWNER]);
        assert_eq!(answer.status(), 404, "{path}");
        assert!(text(&answer).contains("owner.password_file"));
    }
    let (relay, _folder) = owners_relay();
    relay.upload(PHOTO);
    for path in ["/status", "/status/cameras.json"] {
        for headers in [&[][..], &[WRONG], &[("Authorization", "Bearer secret")]] {
            let answer = relay.get_with(path, headers);
            assert_eq!(answer.status(), 401, "{path}");
            assert!(answer.header("www-authenticate").unwrap().starts_with("Basic "));
        }
        // The uploads' password is not the owner's.
        let uploads = relay.get(&format!("{path}?password={PASSWORD}"));
        assert_eq!(uploads.status(), 401);
        assert_eq!(relay.get_with(path, &[OWNER]).status(), 200, "{path}");
    }
    let page = relay.get_with("/status", &[OWNER]);
    assert!(page.header("content-security-policy").unwrap().ends_with("frame-ancestors 'none'"));
    relay.program.line("a wrong password for the owner's page");
    // Who guesses is slowed down, and does not get in with the right one while it goes on; the owner does.
    let from = |headers: &[(&str, &str)]| relay.from("127.0.0.2", "GET", "/status", headers, b"");
    let guesses = (0..100).filter(|_| from(&[WRONG]).status() == 401).count();
    assert!((10..50).contains(&guesses), "{guesses}");
    assert_eq!(from(&[OWNER]).status(), 429);
    assert_eq!(relay.get_with("/status", &[OWNER]).status(), 200);
}

#[test]
fn what_an_agent_says_of_its_machine_is_the_owners() {
    let (relay, _folder) = owners_relay();
    let report = r#"{"version":"0.1.0","temperature_c":51.5,"wifi_dbm":-67,"later":1}"#;
    relay.upload_with(&[("Agent-Report", report)], PHOTO);
    let data = || -> Value {
        let answer = relay.get_with("/status/cameras.json", &[OWNER]);
        serde_json::from_slice(&answer.body).unwrap()
    };
    let told = data();
    let expected = json!({"version": "0.1.0", "temperature_c": 51.5, "wifi_dbm": -67});
    assert_eq!(told["owner"][0]["report"], expected);
    assert!(told["owner"][0]["report_age_ms"].is_u64());
    assert_eq!(told["owner"][0]["history_ms"].as_array().unwrap().len(), 120);
    assert_eq!(told["cameras"][0]["camera"], "default");
    // One that makes no sense changes nothing, and costs no picture.
    relay.upload_with(&[("Agent-Report", "51 degrees")], PHOTO);
    assert_eq!(data()["owner"][0]["report"], expected);
    let everybody = text(&relay.get("/status.json"));
    assert!(!everybody.contains("wifi") && !everybody.contains("51.5"), "{everybody}");
}
