//! Passwords for uploads by command line, and who guesses them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};
use testbed::eventually::{becomes_true, eventually};
use testbed::program::{Program, SOON};

use crate::relay::{PASSWORD, PHOTO, ROOT, Relay, command, jpeg};

/// The password that the command line shows: 7 groups of 4.
fn shown(text: &str) -> String {
    let words = text.split_whitespace().map(|word| word.trim_matches('"'));
    let found = words.filter(|word| word.len() == 34 && word.split('-').count() == 7);
    let found: Vec<&str> = found.collect();
    assert_eq!(found.len(), 2, "once to read, and once for the card: {text}");
    assert_eq!(found[0], found[1]);
    found[0].to_owned()
}

fn uploads(relay: &Relay, camera: &str, password: &str) -> bool {
    let status = relay.post(&format!("/cameras/{camera}?password={password}"), &[], PHOTO).status();
    assert!(matches!(status, 200 | 400), "{status}");
    status == 200
}

fn becomes(relay: &Relay, camera: &str, password: &str, right: bool) {
    becomes_true(&format!("{camera} with {password}: {right}"), SOON, || {
        // Never so often that it is slowed down.
        testbed::eventually::pause(std::time::Duration::from_millis(300));
        uploads(relay, camera, password) == right
    });
}

#[test]
fn a_camera_gets_its_own_password_and_another_one_later_and_is_never_away() {
    let relay = Relay::start();
    assert!(uploads(&relay, "garden", PASSWORD));
    assert!(relay.run(&["passwords", "list"]).contains("there are none"));
    let text = relay.run(&["passwords", "rotate", "garden"]);
    let first = shown(&text);
    assert!(
        text.contains("[relay]") && text.contains(&format!("url = \"http://{}/\"", relay.address))
    );
    assert!(uploads(&relay, "garden", PASSWORD), "until its own is used");
    becomes(&relay, "garden", &first, true);
    becomes(&relay, "garden", PASSWORD, false);
    assert!(uploads(&relay, "door", PASSWORD), "others are not concerned");
    let second = shown(&relay.run(&["passwords", "rotate", "garden"]));
    becomes(&relay, "garden", &second, true);
    assert!(uploads(&relay, "garden", &first), "two at once");
    let (more, text) = relay.try_run(&["passwords", "add", "garden"]);
    assert!(!more && text.contains("passwords remove garden NUMBER"), "{text}");
    let text = relay.run(&["passwords", "remove", "garden", "1"]);
    assert!(text.contains("opens nothing any more"), "{text}");
    becomes(&relay, "garden", &first, false);
    assert!(uploads(&relay, "garden", &second));
    // Who still has the old one is seen.
    let list = || relay.run(&["passwords", "list"]);
    eventually("the retired one's use in the list", SOON, || {
        let list = list();
        let (one, two) = list.split_once('\n').unwrap();
        let good = one.starts_with("camera garden: password 1, made 20")
            && two.contains("password 2")
            && two.contains("last used by garden on 20");
        if good { Ok(()) } else { Err(list) }
    });
    let json: Value = serde_json::from_str(&relay.run(&["passwords", "list", "--json"])).unwrap();
    assert_eq!(json["passwords"][0]["valid"], json!(false));
    assert_eq!(json["passwords"][1]["camera"], json!("garden"));
    relay.run(&["passwords", "remove", "garden", "1"]);
    assert_eq!(list().lines().count(), 1);
    for line in [
        "password 1 of camera garden was added",
        "password 2 of camera garden was added; what was valid before stays so for now",
        "password 1 of camera garden is retired",
        "camera garden: uploads come from 127.0.0.1",
    ] {
        relay.said(line, 1);
    }
    assert!(relay.program.line("password 2").contains("password-added"));
    // What is secret is nowhere but on the screen.
    let kept = fs::read_to_string(relay.data.join("access/passwords.json")).unwrap();
    let lines = relay.program.lines().join("\n");
    for secret in [&first, &second, PASSWORD] {
        assert!(!kept.contains(secret) && !lines.contains(secret));
    }
}

#[test]
fn one_for_all_cameras_is_enough_to_start_with() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let run = |arguments: &[&str]| {
        let output = command().args(arguments).args(["--data-dir", data]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let password = shown(&run(&["passwords", "add", "--all"]));
    assert!(run(&["check-config"]).contains("stillwatch-relay passwords"));
    let mut start = command();
    let program =
        Program::start("the relay", start.args(["--listen", "127.0.0.1:0", "--data-dir", data]));
    let line = program.line("listening on ");
    let address = line.split("listening on ").nth(1).unwrap().trim().parse().unwrap();
    let post = |password: &str| {
        let path = format!("/?password={password}");
        testbed::http::request(address, "POST", &path, &[], PHOTO).unwrap().status()
    };
    assert_eq!((post(&password), post("wrong")), (200, 400));
    let next = shown(&run(&["passwords", "rotate", "--all"]));
    eventually("the next one", SOON, || match post(&next) {
        200 => Ok(()),
        status => {
            testbed::eventually::pause(std::time::Duration::from_secs(1));
            Err(status)
        }
    });
    assert_eq!(post(&password), 200);
    run(&["passwords", "remove", "--all", "1"]);
    becomes_true("the end of the first", SOON, || {
        testbed::eventually::pause(std::time::Duration::from_millis(300));
        post(&password) == 400
    });
}

#[test]
fn a_camera_that_is_added_takes_no_other_from_then_on() {
    let relay = Relay::start();
    let text = relay.run(&["passwords", "add", "garden"]);
    // A card without a name is another camera's (docs/provision.md).
    assert!(text.contains("    name = \"garden\"\n\n    [relay]\n    url = \""), "{text}");
    assert!(text.contains("From now on garden takes no other"), "{text}");
    becomes(&relay, "garden", PASSWORD, false);
    assert!(uploads(&relay, "garden", &shown(&text)));
    let text = relay.run(&["passwords", "remove", "garden", "1"]);
    assert!(text.contains("those of all cameras are valid for it again"), "{text}");
    becomes(&relay, "garden", PASSWORD, true);
}

#[test]
fn what_is_wrong_is_said() {
    let relay = Relay::start();
    for (arguments, says) in [
        (&["passwords", "add"][..], "<CAMERA|--all>"),
        (&["passwords", "add", "Garden 1"], "is no camera id"),
        (&["passwords", "add", "garden", "--all"], "cannot be used with"),
        (&["passwords", "remove", "garden", "1"], "camera garden has no password 1 here"),
        (&["passwords", "remove", "--all", "7"], "all cameras has no password 7 here"),
        (&["passwords", "remove", "garden"], "say which one"),
        (&["passwords", "remove", "--all", "garden", "1"], "say which one"),
        (&["passwords", "remove", "1", "garden"], "say which one"),
        (&["link", "garden", "--for", "never"], "write a time such as"),
        (&["link", "garden"], "view_password_file"),
        (&["link"], "<CAMERA>"),
    ] {
        let (succeeded, text) = relay.try_run(arguments);
        assert!(!succeeded && text.contains(says), "{arguments:?}: {text}");
    }
    let missing = command().args(["passwords", "list", "--data-dir", "/nonexistent"]).output();
    let text = String::from_utf8(missing.unwrap().stderr).unwrap();
    assert!(text.contains("start the relay once"), "{text}");
}

#[test]
fn a_damaged_list_is_said_and_nothing_is_written_over_it() {
    let relay = Relay::start();
    let password = shown(&relay.run(&["passwords", "add", "garden"]));
    becomes(&relay, "garden", &password, true);
    let file = relay.data.join("access/passwords.json");
    fs::write(&file, "{\"passwords\": [").unwrap();
    for arguments in [
        &["passwords", "add", "door"][..],
        &["passwords", "list"],
        &["passwords", "remove", "garden", "1"],
    ] {
        let (succeeded, text) = relay.try_run(arguments);
        assert!(!succeeded && text.contains("passwords.json") && text.contains("backup"), "{text}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "{\"passwords\": [");
    relay.program.line("passwords.json: this is not as it was written");
    assert!(uploads(&relay, "garden", &password), "what was read before is still true");
    relay.said("passwords.json: this is not", 1);
}

#[test]
fn what_root_writes_is_the_relays() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: not root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // The way to it is for all.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    std::os::unix::fs::chown(&data, Some(65_534), Some(65_534)).unwrap();
    for arguments in [
        &["passwords", "add", "--all"][..],
        &["passwords", "add", "garden"],
        &["link", "--revoke-all"],
    ] {
        let done = command().args(arguments).arg("--data-dir").arg(&data).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    let about = |path: &Path| {
        let about = fs::metadata(path).unwrap();
        (about.uid(), about.gid(), about.mode() & 0o777)
    };
    assert_eq!(about(&data.join("access")), (65_534, 65_534, 0o700));
    let mut files = 0;
    for file in fs::read_dir(data.join("access")).unwrap() {
        assert_eq!(about(&file.unwrap().path()), (65_534, 65_534, 0o600));
        files += 1;
    }
    assert_eq!(files, 4, "the list, two keys and the lock");
}

#[test]
fn who_guesses_is_slowed_down_and_a_camera_is_not() {
    let relay = Relay::start();
    relay.upload(PHOTO);
    let stranger = |method: &str, path: &str, headers: &[(&str, &str)]| {
        relay.from("127.0.0.2", method, path, headers, PHOTO)
    };
    // As the tutorial's server answers, until it is too often.
    let statuses: Vec<u16> =
        (0..20).map(|n| stranger("POST", &format!("/?password={n}"), &[]).status()).collect();
    assert_eq!(statuses[..10], [400; 10]);
    let refused = stranger("POST", ROOT, &[]);
    assert_eq!((refused.status(), refused.header("retry-after")), (429, Some("1")));
    assert!(String::from_utf8(refused.body).unwrap().contains("too many wrong passwords"));
    // However it is tried.
    for (method, path, headers) in [
        ("POST", "/cameras/garden", &[("Authorization", "Bearer story-password")][..]),
        ("GET", "/update?compatible=a&version=0.1.0-20261128.0312&password=story-password", &[]),
        ("GET", "/cameras/x/update?password=guess", &[]),
    ] {
        assert_eq!(stranger(method, path, headers).status(), 429, "{path}");
    }
    // Neither the camera nor anybody else suffers from it, and viewing is another thing.
    relay.upload(&jpeg(1));
    assert_eq!(relay.from("127.0.0.3", "POST", ROOT, &[], PHOTO).status(), 200);
    assert_eq!(stranger("GET", "/live.jpeg", &[]).status(), 200);
    // Behind the same address as the camera everything is compared, however much is guessed.
    for n in 0..11 {
        assert_eq!(relay.post(&format!("/?password={n}"), &[], PHOTO).status(), 400);
    }
    relay.upload(&jpeg(2));
    let count = |outcome: &str| {
        relay.metric(&format!(
            "stillwatch_password_guesses_total{{outcome=\"{outcome}\",what=\"upload\"}}"
        ))
    };
    assert!(count("wrong") >= 20.0 && count("late") >= 1.0 && count("throttled") >= 10.0);
    assert_eq!(
        relay.metric("stillwatch_uploads_refused_total{camera=\"default\",reason=\"throttled\"}"),
        relay.of_camera("default", "/uploads/refused/throttled").as_f64().unwrap()
    );
    becomes_true("the gauge", SOON, || {
        relay.metric("stillwatch_password_guessing_addresses{what=\"upload\"}") >= 2.0
    });
    for address in ["127.0.0.1", "127.0.0.2"] {
        relay.said(&format!("guessing from {address} is slowed down"), 1);
    }
}

#[test]
fn other_sites_pages_do_not_upload() {
    let relay = Relay::start();
    for (headers, status) in [
        (&[("Origin", "https://evil.example")][..], 403),
        (&[("Origin", "null")], 403),
        (&[("Sec-Fetch-Site", "cross-site")], 403),
        (&[("Sec-Fetch-Site", "same-origin")], 200),
        (&[], 200),
    ] {
        assert_eq!(relay.post(ROOT, headers, PHOTO).status(), status, "{headers:?}");
    }
    let own = format!("http://{}", relay.address);
    assert_eq!(relay.post(ROOT, &[("Origin", &own)], PHOTO).status(), 200);
    let upgrade = [
        ("Origin", "https://evil.example"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", "stillwatch.v1"),
    ];
    let answer = relay.get_with(&format!("/upload.ws?password={PASSWORD}"), &upgrade);
    assert_eq!(answer.status(), 403);
    assert_eq!(relay.of_camera("default", "/uploads/refused/other_site"), json!(4));
}

#[test]
fn another_name_is_not_answered_to() {
    let relay = Relay::with(
        "relay.proxies = \"none\"\nsite.url = \"https://cam.example.org/\"\nsite.hosts = \"relay.lan\"",
    );
    relay.upload(PHOTO);
    let status = |method: &str, path: &str, headers: &[(&str, &str)]| {
        relay.from("127.0.0.1", method, path, headers, PHOTO).status()
    };
    let evil = ("Host", "evil.example:5000");
    for path in ["/", "/live.jpeg", "/status.json", "/status", "/history", "/metrics", "/live.ws"] {
        assert_eq!(status("GET", path, &[evil]), 421, "{path}");
    }
    for host in ["cam.example.org", "relay.lan:5000", "localhost:5000", "192.0.2.1", "[::1]:5000"] {
        assert_eq!(status("GET", "/live.jpeg", &[("Host", host)]), 200, "{host}");
    }
    // What brings its password with it, and what a monitor asks for.
    assert_eq!(status("POST", ROOT, &[evil]), 200);
    assert_eq!(status("GET", "/healthz", &[evil]), 200);
    // But not from a page.
    let page = ("Origin", "http://evil.example:5000");
    assert_eq!(status("POST", ROOT, &[evil, page]), 421);
    // Whoever does not say what it is called can't know that it is called otherwise.
    let unnamed = Relay::start();
    unnamed.upload(PHOTO);
    assert_eq!(unnamed.from("127.0.0.1", "GET", "/live.jpeg", &[evil], b"").status(), 200);
}
