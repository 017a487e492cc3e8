//! What a stranger writes into names, queries and headers stays what it is: no path, no header, no line, no markup.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use super::Bystanders;
use crate::relay::{PASSWORD, PHOTO, Relay, rest};

/// All that comes back to a request that no client library would send.
fn told(relay: &Relay, request: &str) -> String {
    let mut stream = relay.connect();
    stream.write_all(request.as_bytes()).unwrap();
    String::from_utf8_lossy(&rest(&mut stream)).into_owned()
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[test]
fn no_name_leads_out_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("export");
    fs::create_dir(&dir).unwrap();
    let relay = Relay::with(&format!("[export]\ndir = \"{}\"\ninterval = \"20ms\"", dir.display()));
    let mut others = Bystanders::of(&relay);
    for name in [
        "..",
        "../..",
        "../../etc",
        "%2e%2e",
        "%2e%2e%2f",
        "..%2f",
        "a/../../b",
        ".",
        "a%00b",
        "a\\..\\b",
        "-a",
        "A",
        "a.b",
        "é",
        "con%0d%0a",
        "0123456789012345678901234567890123",
        "a%2fb",
        "/etc/passwd",
        "~root",
        "$HOME",
    ] {
        for request in [
            format!("POST /cameras/{name}?password={PASSWORD} HTTP/1.1"),
            format!("POST /cameras/{name}/?password={PASSWORD} HTTP/1.1"),
            format!("GET /cameras/{name}/live.jpeg HTTP/1.1"),
            format!("GET /assets/{name} HTTP/1.1"),
            format!("GET /updates/{name}.raucb HTTP/1.1"),
            format!("GET /history/{name}.jpeg HTTP/1.1"),
        ] {
            let length = PHOTO.len();
            let mut stream = relay.connect();
            let head = format!(
                "{request}\r\nHost: r\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            // It may have said what it thinks before all of this came.
            let _ = stream.write_all(PHOTO);
            let mut answered = Vec::new();
            let _ = stream.read_to_end(&mut answered);
            let first =
                String::from_utf8_lossy(&answered).lines().next().unwrap_or_default().to_owned();
            assert!(first.is_empty() || first.contains(" 40"), "{request}: {first}");
        }
    }
    others.go_on();
    testbed::eventually::becomes_true("the export", testbed::program::SOON, || {
        dir.join("live.jpeg").exists() && dir.join("status.json").exists()
    });
    let outside =
        files(folder.path()).into_iter().filter(|file| !file.starts_with(&*dir.to_string_lossy()));
    assert_eq!(outside.collect::<Vec<_>>(), Vec::<String>::new());
    let known = ["live.jpeg", "status.json", ".live.jpeg.tmp", ".status.json.tmp"];
    for file in files(&dir) {
        assert!(known.iter().any(|name| file.ends_with(&format!("/{name}"))), "{file}");
    }
}

#[test]
fn links_in_the_export_folder_are_replaced_and_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, victim) = (folder.path().join("export"), folder.path().join("victim"));
    fs::create_dir(&dir).unwrap();
    fs::write(&victim, "precious").unwrap();
    for name in ["live.jpeg", ".live.jpeg.tmp", "status.json", ".status.json.tmp"] {
        std::os::unix::fs::symlink(&victim, dir.join(name)).unwrap();
    }
    let relay = Relay::with(&format!("[export]\ndir = \"{}\"\ninterval = \"20ms\"", dir.display()));
    let mut others = Bystanders::of(&relay);
    others.upload(PHOTO);
    testbed::eventually::becomes_true("the export", testbed::program::SOON, || {
        fs::read(dir.join("live.jpeg")).is_ok_and(|found| found == PHOTO)
    });
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(fs::symlink_metadata(dir.join("live.jpeg")).unwrap().is_file());
}

#[test]
fn what_is_asked_for_makes_no_header_and_no_line() {
    let relay = Relay::with("[cameras.garden]\ntitle = \"Garden\"");
    let mut others = Bystanders::of(&relay);
    let lines = relay.program.lines().len();
    for request in [
        "GET /cameras/garden?x=%0d%0aX-Injected:%201 HTTP/1.1\r\nHost: r",
        "GET /cameras/garden?x=\rX-Injected: 1 HTTP/1.1\r\nHost: r",
        "GET /live.jpeg?max_age=%0d%0aX-Injected:%201 HTTP/1.1\r\nHost: r",
        "GET /live.jpeg HTTP/1.1\r\nHost: r\r\nOrigin: https://a.example%0d%0aX-Injected: 1",
        "GET /live.jpeg HTTP/1.1\r\nHost: r\r\nIf-None-Match: \"a\rX-Injected: 1\"",
        "GET / HTTP/1.1\r\nHost: r%0d%0aX-Injected: 1\r\nAccept-Language: de%0d%0aX-Injected: 1",
        "POST /cameras/a%0d%0aERROR%20forged?password=guess HTTP/1.1\r\nHost: r\r\nContent-Length: 0",
        "POST /?password=a%0d%0aERROR%20forged HTTP/1.1\r\nHost: r\r\nContent-Length: 0",
    ] {
        let answered = told(&relay, &format!("{request}\r\nConnection: close\r\n\r\n"));
        let head = answered.split("\r\n\r\n").next().unwrap_or_default();
        let injected = head.lines().any(|line| line.to_ascii_lowercase().starts_with("x-injected"));
        assert!(!injected && !head.contains('\0'), "{request}: {head}");
        others.go_on();
    }
    // What an agent says of itself is logged, too, with its password only.
    let report = r#"{"version":"1\r\nERROR forged","rejected":{"version":"0.1.0-20261128.0312","why":"a\nERROR forged","ran":true}}"#;
    let headers = [("Frame-Report", report)];
    relay.upload_with(&headers, PHOTO);
    for line in relay.program.lines().iter().skip(lines) {
        assert!(!line.starts_with("ERROR forged"), "{line}");
        assert!(!line.contains('\r'), "{line}");
    }
}

#[test]
fn what_is_written_into_pages_is_text() {
    let relay = Relay::with(
        "site.title = \"<script>alert(1)</script>\"\n[cameras.garden]\ntitle = \"<img src=x onerror=alert(1)>\\\" onload=\\\"alert(1)\"",
    );
    let mut others = Bystanders::of(&relay);
    for path in [
        "/",
        "/cameras/garden/",
        "/cameras/garden/embed",
        "/cameras/default/",
        "/manifest.webmanifest",
        "/embed",
    ] {
        for host in ["r", "\"><script>alert(1)</script>", "r/<script>alert(1)</script>"] {
            let answered = told(
                &relay,
                &format!(
                    "GET {path}?<script>alert(1)</script> HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: {host}\r\nX-Forwarded-Proto: \"><script>alert(1)</script>\r\nConnection: close\r\n\r\n"
                ),
            );
            let html = answered.contains("text/html");
            for markup in ["<script>alert", "<img src=x", "\" onload=\"alert"] {
                assert!(!html || !answered.contains(markup), "{path} {host}: {markup}");
            }
            if html {
                assert!(answered.contains("frame-ancestors"), "{path}: who may frame it");
                assert!(answered.contains("x-content-type-options: nosniff"), "{path}");
            }
        }
    }
    others.go_on();
}

#[test]
fn guessed_names_make_no_cameras_and_no_metrics() {
    let relay = Relay::with("relay.max_cameras = 3");
    let mut others = Bystanders::of(&relay);
    let count = |relay: &Relay| {
        let text = String::from_utf8(relay.get("/metrics").body).unwrap();
        let names =
            text.lines().filter_map(|line| line.split("camera=\"").nth(1)?.split('"').next());
        let names: std::collections::BTreeSet<String> = names.map(str::to_owned).collect();
        names.len()
    };
    let before = count(&relay);
    for n in 0..300 {
        // Without the password, or with it and no picture.
        let _ = relay.get(&format!("/cameras/guess-{n}/live.jpeg"));
        // Further ones are answered late: `access::who_guesses_is_slowed_down_and_a_camera_is_not`.
        if n < 8 {
            let _ = relay.post(&format!("/cameras/guess-{n}?password=wrong"), &[], PHOTO);
        }
        let _ = relay.post(&format!("/cameras/guess-{n}?password={PASSWORD}"), &[], b"no picture");
        if n % 100 == 0 {
            others.go_on();
        }
    }
    assert!(count(&relay) <= before + 1, "one for strangers");
    // With it and a picture, up to what may be.
    let taken = (0..20).filter(|n| {
        relay.post(&format!("/cameras/new-{n}?password={PASSWORD}"), &[], PHOTO).status() == 200
    });
    assert_eq!(taken.count(), 2);
    others.go_on();
}
