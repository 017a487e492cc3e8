//! The export to a storage that speaks S3, with a real one: what stands there, what happens while it is away, and that
//! nothing of a private camera stays there.

#![expect(clippy::unwrap_used, reason = "it is test code, and a panic is how a test fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stories::seaweedfs::{ACCESS_KEY, BUCKET, Storage};
use stories::{Relay, agent};
use tempfile::TempDir;
use testbed::eventually::{becomes_true, eventually};
use testbed::http::get;
use testbed::program::{Program, SOON};

/// What is written there, but for the bucket.
fn settings(storage: &Storage, bucket: &str, secret: &Path) -> String {
    format!(
        "[export]\nsizes = \"160x120\"\ns3_bucket = \"{bucket}\"\ns3_endpoint = \"http://{}\"\n\
         s3_access_key = \"{ACCESS_KEY}\"\ns3_secret_file = \"{}\"\ns3_interval = \"200ms\"\n",
        storage.address,
        secret.display()
    )
}

fn configured(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    fs::write(&file, text).unwrap();
    (folder, file)
}

fn camera(relay: &Relay, id: &str) -> Program {
    let arguments = ["--source", "pattern", "--size", "320x240", "--fps", "10", "--camera", id];
    let file =
        std::env::temp_dir().join(format!("stillwatch-bucket-{}-{id}.json", std::process::id()));
    let status = ("STILLWATCH_AGENT_STATUS_FILE".to_owned(), file.display().to_string());
    agent(&relay.url(), &arguments, &[status])
}

/// A key of `/status.json`.
fn status(relay: &Relay, key: &str) -> String {
    let status: Value =
        serde_json::from_slice(&get(relay.address, "/status.json").unwrap().body).unwrap();
    status.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn becomes(relay: &Relay, export: &str, problem: &str) {
    eventually(&format!("{export}: {problem}"), SOON, || {
        let (is, why) = (status(relay, "export"), status(relay, "export_problem"));
        if is == export && why.contains(problem) { Ok(()) } else { Err(format!("{is}: {why}")) }
    });
}

fn moves(storage: &Storage, name: &str) {
    let captured =
        || storage.object(name).header("x-amz-meta-frame-captured-at").map(str::to_owned);
    let before = eventually(name, SOON, || captured().ok_or(storage.object(name).first));
    becomes_true("a newer picture", SOON, || captured().is_some_and(|now| now > before));
}

#[test]
fn stills_and_status_are_objects_and_nothing_private_is() {
    let storage = Storage::start();
    let (folder, file) = configured("");
    let secret = folder.path().join("garden");
    fs::write(&secret, "gardens-secret\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let text = settings(&storage, BUCKET, &storage.secret());
    let private =
        |id: &str| format!("[cameras.{id}]\nview_password_file = \"{}\"\n", secret.display());
    fs::write(&file, format!("{text}{}", private("garden"))).unwrap();
    let mut relay = Relay::configured(&file);
    let cameras = ["default", "pond", "garden"].map(|id| camera(&relay, id));
    for name in ["live.jpeg", "live160x120.jpeg", "cameras/pond/live.jpeg"] {
        moves(&storage, name);
        let object = storage.object(name);
        assert_eq!((object.status(), object.header("content-type")), (200, Some("image/jpeg")));
        let of_relay = get(relay.address, "/live.jpeg").unwrap();
        assert_eq!(object.header("cache-control"), of_relay.header("cache-control"));
        assert!(
            object.header("x-amz-meta-frame-seq").is_some()
                && object.header("frame-age-ms").is_none()
        );
        assert_eq!(object.header("x-amz-meta-frame-time-source"), Some("captured"));
        let whole = object.body.starts_with(b"\xff\xd8") && object.body.ends_with(b"\xff\xd9");
        assert!(whole, "{} bytes", object.body.len());
    }
    let about = storage.object("status.json");
    let headers = ["content-type", "cache-control"].map(|name| about.header(name));
    assert_eq!(headers, [Some("application/json"), Some("no-cache")]);
    let about: Value = serde_json::from_slice(&about.body).unwrap();
    let ids: Vec<&str> = about["cameras"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["camera"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["default", "pond"]);
    becomes(&relay, "works", "");
    becomes_true("the garden is live", SOON, || {
        let metrics = get(relay.address, "/metrics").unwrap().body;
        String::from_utf8(metrics).unwrap().contains("frames_received_total{camera=\"garden\"}")
    });
    assert_eq!(storage.object("cameras/garden/live.jpeg").status(), 404);

    // And what is private from now on.
    drop(cameras);
    fs::write(&file, format!("{text}{}{}", private("garden"), private("pond"))).unwrap();
    relay.program.stop();
    relay.restart();
    relay.program.line("removed the objects of cameras that are private now: pond");
    assert_eq!(storage.object("cameras/pond/live.jpeg").status(), 404);
    assert_eq!(storage.object("cameras/pond/live160x120.jpeg").status(), 404);
    assert_eq!(storage.object("live.jpeg").status(), 200);
}

#[test]
fn a_storage_that_is_away_is_told_once_and_tried_again() {
    let mut storage = Storage::start();
    let (_folder, file) = configured(&settings(&storage, BUCKET, &storage.secret()));
    let relay = Relay::configured(&file);
    let _camera = camera(&relay, "default");
    moves(&storage, "live.jpeg");
    let told = |what: &str| relay.program.lines().iter().filter(|line| line.contains(what)).count();
    for end in ["KILL", "STOP"] {
        storage.program.signal(end);
        becomes(&relay, "degraded", "export.s3_");
        // The picture goes on.
        let seq = stories::seq_of(&relay.frame("/live.jpeg"));
        relay.frame_after(seq + 20);
        // Once in a minute, as all lines of trouble.
        assert_eq!(told("pictures are not exported: "), 1, "{:?}", relay.program.lines());
        match end {
            "KILL" => {
                storage.program.ended();
                storage.restart();
            }
            _ => storage.program.signal("CONT"),
        }
        becomes(&relay, "works", "");
        moves(&storage, "live.jpeg");
    }
    assert_eq!(told("pictures are exported again"), 1, "{:?}", relay.program.lines());
}

#[test]
fn what_is_wrong_is_said_with_its_key() {
    let storage = Storage::start();
    let wrong = tempfile::tempdir().unwrap();
    let secret = wrong.path().join("secret");
    fs::write(&secret, "anothers-secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    for (bucket, secret, advice) in [
        (BUCKET, secret, "export.s3_access_key"),
        ("others", storage.secret(), "make this bucket (export.s3_bucket)"),
    ] {
        let (_folder, file) = configured(&settings(&storage, bucket, &secret));
        let relay = Relay::configured(&file);
        becomes(&relay, "degraded", advice);
        let said = relay.program.lines().join("\n");
        assert!(!said.contains("relays-secret") && !said.contains("anothers-secret"), "{said}");
    }
}
