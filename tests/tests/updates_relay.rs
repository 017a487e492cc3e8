//! Updates, the relay's side: the real relay and its command line, bundles that rauc makes, and cameras that are
//! requests over real sockets.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "it is test code, and a panic is how a test fails"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stories::browser::Browser;
use stories::{PASSWORD, Relay};
use tempfile::TempDir;
use testbed::eventually::eventually;
use testbed::http::{Message, request};
use testbed::link::Link;
use testbed::program::{SOON, command};

const RUNS: &str = "0.1.0-20261128.0312";
const NEW: &str = "0.2.0-20261201.0000";
const NEWER: &str = "0.3.0-20261224.1200";
const DEBIAN: &str = "stillwatch-debian";

/// owner:geheim
const OWNER: (&str, &str) = ("Authorization", "Basic b3duZXI6Z2VoZWlt");
const BEARER: (&str, &str) = ("Authorization", "Bearer story-password");

const PHOTO: &[u8] = include_bytes!("../../relay/tests/it/data/photo.jpeg");

/// A key, and bundles that are signed with it; made once.
struct Workshop {
    folder: TempDir,
}

static WORKSHOP: LazyLock<Workshop> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    for name in ["owner", "stranger"] {
        let arguments = format!(
            "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN={name} -keyout {name}.key -out {name}.pem"
        );
        run(folder.path(), "openssl", &arguments);
    }
    Workshop { folder }
});

fn run(folder: &Path, program: &str, arguments: &str) {
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace()).current_dir(folder);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Workshop {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A bundle of so many bytes of noise, and a few more; each call makes another one.
    fn bundle(&self, name: &str, version: &str, bytes: usize) -> PathBuf {
        let content = self.path(&format!("{name}-content"));
        fs::create_dir_all(&content).unwrap();
        let mut noise = fastrand::Rng::new();
        let image: Vec<u8> = std::iter::repeat_with(|| noise.u8(..)).take(bytes).collect();
        fs::write(content.join("rootfs.img"), image).unwrap();
        let manifest = format!(
            "[update]\ncompatible={DEBIAN}\nversion={version}\n\n[bundle]\nformat=verity\n\n\
             [image.rootfs]\nfilename=rootfs.img\n"
        );
        fs::write(content.join("manifest.raucm"), manifest).unwrap();
        let arguments =
            format!("bundle --cert owner.pem --key owner.key {name}-content {name}.raucb");
        run(self.folder.path(), "rauc", &arguments);
        self.path(&format!("{name}.raucb"))
    }

    /// One that was changed.
    fn changed(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }
}

/// A relay with an owner, two cameras with pictures, and further settings.
struct Scene {
    relay: Relay,
    file: PathBuf,
    _folder: TempDir,
}

fn scene(settings: &str) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("owner");
    fs::write(&password, "geheim\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let file = folder.path().join("relay.toml");
    let owner = format!("owner.password_file = \"{}\"\n", password.display());
    fs::write(&file, owner + settings).unwrap();
    let relay = Relay::configured(&file);
    let scene = Scene { relay, file, _folder: folder };
    for camera in ["garden", "shed"] {
        scene.report(camera, &json!({}));
    }
    scene
}

impl Scene {
    /// What `stillwatch-relay updates …` prints; `Err` if it fails.
    fn updates(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = command("stillwatch-relay");
        command.arg("--config").arg(&self.file).arg("--data-dir").arg(self.relay.data());
        let done = command.arg("updates").args(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        println!("$ stillwatch-relay updates {}", arguments.join(" "));
        println!("{}{}", text(done.stdout.clone()), text(done.stderr.clone()));
        if done.status.success() { Ok(text(done.stdout)) } else { Err(text(done.stderr)) }
    }

    fn add(&self, bundle: &Path, more: &[&str]) -> Result<String, String> {
        self.updates(&[&["add", bundle.to_str().unwrap()], more].concat())
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Message {
        request(self.relay.address, "GET", path, headers, &[]).unwrap()
    }

    /// What a camera is offered that runs a version.
    fn ask(&self, camera: &str, version: &str) -> Message {
        let path = format!("/cameras/{camera}/update?compatible={DEBIAN}&version={version}");
        self.get(&path, &[BEARER])
    }

    fn offered(&self, camera: &str) -> Option<Value> {
        let answer = self.ask(camera, RUNS);
        match answer.status() {
            200 => Some(serde_json::from_slice(&answer.body).unwrap()),
            204 => None,
            _ => panic!("{answer:?}"),
        }
    }

    /// Waits until a camera is offered this version, or none.
    fn is_offered(&self, camera: &str, version: Option<&str>) -> Option<Value> {
        eventually(&format!("{camera} is offered {version:?}"), SOON, || {
            if self.ask(camera, RUNS).status() == 503 {
                return Err("the lists were not read yet".to_owned());
            }
            let offer = self.offered(camera);
            let found = offer.as_ref().map(|offer| offer["version"].as_str().unwrap());
            if found == version { Ok(offer.clone()) } else { Err(format!("{offer:?}")) }
        })
    }

    /// A picture of a camera, and what its agent says.
    fn report(&self, camera: &str, report: &Value) {
        let path = format!("/cameras/{camera}?password={PASSWORD}");
        let headers = [("Agent-Report", report.to_string())];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let answer = request(self.relay.address, "POST", &path, &headers, PHOTO).unwrap();
        assert_eq!(answer.status(), 200, "{answer:?}");
    }

    fn rejects(&self, camera: &str, version: &str, ran: bool) {
        let rejected = json!({ "version": version, "why": "no picture came", "ran": ran });
        self.report(camera, &json!({ "system": RUNS, "slot": "A", "rejected": rejected }));
    }

    fn decide(&self, camera: &str, headers: &[(&str, &str)], body: &str) -> Message {
        let path = format!("/status/cameras/{camera}/update");
        request(self.relay.address, "POST", &path, headers, body.as_bytes()).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.relay.data().join("updates").join(name)
    }

    fn metric(&self, line: &str) -> bool {
        let text = String::from_utf8(self.get("/metrics", &[]).body).unwrap();
        text.lines().any(|found| found == line)
    }
}

#[test]
fn what_is_published_is_offered_and_comes_whole() {
    let scene = scene("");
    assert_eq!(scene.offered("garden"), None, "there is nothing yet");
    let bundle = WORKSHOP.bundle("first", NEW, 300_000);
    let bytes = fs::read(&bundle).unwrap();
    let said = scene.add(&bundle, &[]).unwrap();
    assert!(
        said.starts_with(&format!("published: {NEW} for {DEBIAN}, 0.3 MB: to 100 %")),
        "{said}"
    );
    let offer = scene.is_offered("garden", Some(NEW)).unwrap();
    let path = offer["path"].as_str().unwrap();
    let sha256 = offer["sha256"].as_str().unwrap();
    assert_eq!(path, format!("/updates/{sha256}.raucb"));
    assert_eq!((&offer["bytes"], &offer["now"]), (&json!(bytes.len()), &json!(false)));
    assert!(frame::update::Offer::parse(&offer.to_string()).is_some(), "{offer}");
    // Nobody goes back, or gets what is for another machine.
    for version in [NEW, NEWER] {
        assert_eq!(scene.ask("garden", version).status(), 204, "{version}");
    }
    let other = format!("/update?compatible=stillwatch-bare&version={RUNS}");
    assert_eq!(scene.get(&other, &[BEARER]).status(), 204);
    // The tutorial's camera, and the tutorial's way to give a password.
    let tutorial = format!("/update?compatible={DEBIAN}&version={RUNS}&password={PASSWORD}");
    assert_eq!(scene.get(&tutorial, &[]).status(), 200);
    for (query, says) in [
        (format!("compatible={DEBIAN}"), "version="),
        (format!("compatible={DEBIAN}&version=1"), "version="),
        (format!("compatible=a+b&version={RUNS}"), "compatible="),
    ] {
        let answer = scene.get(&format!("/update?{query}"), &[BEARER]);
        assert_eq!(answer.status(), 400);
        assert!(String::from_utf8_lossy(&answer.body).contains(says), "{answer:?}");
    }
    for asked in [&format!("/update?compatible={DEBIAN}&version={RUNS}"), path] {
        assert_eq!(scene.get(asked, &[]).status(), 400);
        assert_eq!(scene.get(asked, &[("Authorization", "Bearer wrong")]).status(), 401);
    }
    let whole = scene.get(path, &[BEARER]);
    assert_eq!((whole.status(), whole.body == bytes), (200, true));
    let etag = format!("\"{sha256}\"");
    assert_eq!(whole.header("etag"), Some(etag.as_str()));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    let head = request(scene.relay.address, "HEAD", path, &[BEARER], &[]).unwrap();
    assert_eq!(head.header("content-length"), Some(bytes.len().to_string().as_str()));
    assert_eq!(scene.get(path, &[BEARER, ("If-None-Match", &etag)]).status(), 304);
    let part = scene.get(path, &[BEARER, ("Range", "bytes=10-19")]);
    let range = format!("bytes 10-19/{}", bytes.len());
    assert_eq!((part.status(), part.body.as_slice()), (206, &bytes[10..20]));
    assert_eq!(part.header("content-range"), Some(range.as_str()));
    let beyond = format!("bytes={}-", bytes.len());
    let beyond = scene.get(path, &[BEARER, ("Range", &beyond)]);
    let range = format!("bytes */{}", bytes.len());
    assert_eq!((beyond.status(), beyond.header("content-range")), (416, Some(range.as_str())));
    the_list_of_its_blocks(&scene, path, &bytes);
    let other = path.replace(&sha256[..4], "0000");
    assert_eq!(scene.get(&other, &[BEARER]).status(), 404);
    assert_eq!(scene.get("/updates/index.json", &[BEARER]).status(), 404);
    it_is_removed(&scene, path, sha256);
}

fn it_is_removed(scene: &Scene, path: &str, sha256: &str) {
    scene.updates(&["remove", NEW]).unwrap();
    scene.is_offered("garden", None);
    assert_eq!(scene.get(path, &[BEARER]).status(), 404);
    assert!(
        ["raucb", "blocks"].iter().all(|kind| !scene.file(&format!("{sha256}.{kind}")).exists())
    );
}

fn the_list_of_its_blocks(scene: &Scene, path: &str, bytes: &[u8]) {
    let path = path.replace(".raucb", ".blocks");
    assert_eq!(scene.get(&path, &[]).status(), 400);
    let list = scene.get(&path, &[BEARER]);
    let mut lister = frame::blocks::Lister::default();
    lister.update(bytes);
    let hashes = lister.finish();
    assert_eq!((list.status(), list.body == hashes), (200, true));
    let part = scene.get(&path, &[BEARER, ("Range", "bytes=6-11")]);
    assert_eq!((part.status(), Some(part.body.as_slice())), (206, hashes.get(6..12)));
}

#[test]
fn a_download_that_was_cut_goes_on_where_it_was() {
    let scene = scene("");
    let bundle = WORKSHOP.bundle("cut", NEW, 900_000);
    let bytes = fs::read(&bundle).unwrap();
    scene.add(&bundle, &[]).unwrap();
    let offer = scene.is_offered("garden", Some(NEW)).unwrap();
    let (path, sha256) = (offer["path"].as_str().unwrap(), offer["sha256"].as_str().unwrap());
    let link = Link::to(scene.relay.address);
    let mut got: Vec<u8> = Vec::new();
    let mut cuts = 0;
    while got.len() < bytes.len() {
        // The last way is a good one.
        link.slow(if cuts < 3 { 400_000 } else { 0 });
        let mut stream = TcpStream::connect(link.address).unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: r\r\nAuthorization: Bearer {PASSWORD}\r\nRange: bytes={}-\r\n\
             If-Range: \"{sha256}\"\r\nConnection: close\r\n\r\n",
            got.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut piece) {
            answer.extend_from_slice(&piece[..length]);
            if cuts < 3 && answer.len() > 100_000 {
                link.cut();
                cuts += 1;
            }
        }
        let body = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        assert!(
            answer.starts_with(b"HTTP/1.1 206 "),
            "{}",
            String::from_utf8_lossy(&answer[..body])
        );
        got.extend_from_slice(&answer[body..]);
    }
    assert_eq!(cuts, 3);
    assert!(got == bytes);
    eventually("the count of downloads", SOON, || {
        let done = "stillwatch_update_downloads_ended_total{outcome=\"done\"} 1";
        let cut = "stillwatch_update_downloads_ended_total{outcome=\"cut\"} 3";
        if scene.metric(done) && scene.metric(cut) { Ok(()) } else { Err("others") }
    });
}

#[test]
fn what_is_damaged_or_a_strangers_is_refused_and_changes_nothing() {
    let keyring = WORKSHOP.path("owner.pem");
    let trusting = scene(&format!("updates.keyring_file = \"{}\"", keyring.display()));
    let good = WORKSHOP.bundle("good", NEW, 300_000);
    trusting.add(&good, &["--channel", "beta", "--percent", "10"]).unwrap();
    let index = fs::read(trusting.file("index.json")).unwrap();
    let bytes = fs::read(&good).unwrap();
    let mut altered = bytes.clone();
    altered[150_000] ^= 1;
    let unsigned = &bytes[..bytes.len() - 2_000];
    let other = WORKSHOP.bundle("other", NEW, 300_000);
    let refused = [
        (WORKSHOP.changed("altered.raucb", &altered), "was damaged or changed"),
        (WORKSHOP.changed("cut.raucb", &bytes[..200_000]), "was it cut off?"),
        (WORKSHOP.changed("unsigned.raucb", unsigned), "how long its signature is"),
        (WORKSHOP.changed("image.raucb", &bytes[4096..]), "no RAUC bundle"),
        (WORKSHOP.path("missing.raucb"), "No such file"),
        (WORKSHOP.folder.path().to_owned(), "it is no file"),
        (other, "is published with another content already"),
    ];
    for (file, says) in &refused {
        let why = trusting.add(file, &[]).unwrap_err();
        assert!(why.contains(says) && why.contains(file.to_str().unwrap()), "{why}");
    }
    let strangers =
        scene(&format!("updates.keyring_file = \"{}\"", WORKSHOP.path("stranger.pem").display()));
    let why = strangers.add(&good, &[]).unwrap_err();
    assert!(why.contains("updates.keyring_file"), "{why}");
    assert!(!strangers.file("index.json").exists());
    // Nothing is lost, nothing is left over.
    assert_eq!(fs::read(trusting.file("index.json")).unwrap(), index);
    let mut left: Vec<String> = fs::read_dir(trusting.file(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left.len(), 5, "{left:?}");
    // The same again is no mistake, and changes what it says.
    let said = trusting.add(&good, &["--percent", "20"]).unwrap();
    assert!(
        said.starts_with("was published already") && said.contains("20 % of channel beta"),
        "{said}"
    );
    let why = trusting.updates(&["set", NEWER, "--percent", "20"]).unwrap_err();
    assert!(
        why.contains(&format!("no update {NEWER} is published here; there are: {NEW}")),
        "{why}"
    );
    assert!(trusting.updates(&["set", NEW]).unwrap_err().contains("--channel NAME"));
}

#[test]
fn shares_pauses_channels_and_the_owners_word() {
    let mut scene = scene("cameras.shed.channel = \"beta\"\n");
    let (new, newer) =
        (WORKSHOP.bundle("new", NEW, 20_000), WORKSHOP.bundle("newer", NEWER, 20_000));
    scene.add(&new, &["--percent", "0"]).unwrap();
    scene.add(&newer, &["--channel", "beta"]).unwrap();
    scene.is_offered("shed", Some(NEWER));
    scene.is_offered("garden", None);
    scene.updates(&["set", NEW, "--percent", "100"]).unwrap();
    scene.is_offered("garden", Some(NEW));
    scene.updates(&["pause", NEW]).unwrap();
    scene.is_offered("garden", None);
    scene.updates(&["start", "garden"]).unwrap();
    assert_eq!(scene.is_offered("garden", Some(NEW)).unwrap()["now"], true);
    scene.updates(&["hold", "garden"]).unwrap();
    scene.is_offered("garden", None);
    // All of it survives.
    assert!(scene.relay.program.stop().success());
    scene.relay.restart();
    scene.is_offered("shed", Some(NEWER));
    let list = scene.updates(&["list"]).unwrap();
    assert!(
        list.contains("paused: by its owner") && list.contains("camera garden: held"),
        "{list}"
    );
    scene.updates(&["resume", NEW]).unwrap();
    scene.is_offered("garden", None);
    scene.updates(&["release", "garden"]).unwrap();
    scene.is_offered("garden", Some(NEW));
    let listed: Value = serde_json::from_str(&scene.updates(&["list", "--json"]).unwrap()).unwrap();
    assert_eq!(listed["published"][1]["channel"], "beta");
    assert_eq!(listed["cameras"], json!({}));
    // What was started is started once: then the camera has it.
    scene.updates(&["start", "garden"]).unwrap();
    eventually("the start", SOON, || {
        let offer = scene.offered("garden").unwrap();
        if offer["now"] == true { Ok(()) } else { Err(offer) }
    });
    scene.report("garden", &json!({ "update": { "version": NEW, "doing": "installing" } }));
    eventually("its end", SOON, || {
        let offer = scene.offered("garden").unwrap();
        if offer["now"] == false { Ok(()) } else { Err(offer) }
    });
}

#[test]
fn what_root_publishes_is_the_relays() {
    let scene = scene("");
    let data = scene.relay.data();
    let nobody = 65_534;
    if std::os::unix::fs::chown(data, Some(nobody), Some(nobody)).is_err() {
        eprintln!("SKIPPED: only root can give a folder to somebody");
        return;
    }
    // What others can't read.
    let bundle = WORKSHOP.bundle("root", NEW, 20_000);
    fs::set_permissions(&bundle, fs::Permissions::from_mode(0o600)).unwrap();
    // Where the relay's user could have root write.
    let elsewhere = WORKSHOP.changed("elsewhere", b"root's own");
    fs::create_dir(scene.file("")).unwrap();
    std::os::unix::fs::chown(scene.file(""), Some(nobody), Some(nobody)).unwrap();
    std::os::unix::fs::symlink(&elsewhere, scene.file(".adding.raucb")).unwrap();
    assert!(scene.add(&bundle, &[]).is_err());
    assert_eq!(fs::read(&elsewhere).unwrap(), b"root's own");
    let _ = fs::remove_file(scene.file(".adding.raucb"));
    scene.add(&bundle, &[]).unwrap();
    scene.updates(&["hold", "garden"]).unwrap();
    for entry in fs::read_dir(scene.file("")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().uid(), nobody, "{entry:?}");
    }
}

#[test]
fn the_owners_page_decides_and_no_other_sites_does() {
    let scene = scene("");
    scene.add(&WORKSHOP.bundle("decided", NEW, 20_000), &[]).unwrap();
    scene.is_offered("garden", Some(NEW));
    let host = format!("http://{}", scene.relay.address);
    let json = ("Content-Type", "application/json");
    let hold = r#"{"do":"hold"}"#;
    for (camera, headers, body, status) in [
        ("garden", &[][..], "do=hold", 401),
        ("garden", &[BEARER], "do=hold", 401),
        ("garden", &[OWNER, ("Sec-Fetch-Site", "cross-site")], "do=hold", 403),
        ("garden", &[OWNER, ("Origin", "https://evil.net")], "do=hold", 403),
        ("garden", &[OWNER, ("Origin", "null")], "do=hold", 403),
        ("nobody", &[OWNER], "do=hold", 404),
        ("garden", &[OWNER], "do=evil", 400),
        ("garden", &[OWNER], &"x".repeat(2_000), 400),
        ("garden", &[OWNER, json], "do=hold", 400),
    ] {
        assert_eq!(scene.decide(camera, headers, body).status(), status, "{camera} {headers:?}");
    }
    assert!(scene.offered("garden").is_some());
    assert_eq!(scene.get("/status/cameras/garden/update", &[OWNER]).status(), 405);
    // At once, not with the next look at the folder.
    assert_eq!(scene.decide("garden", &[OWNER, json, ("Origin", &host)], hold).status(), 204);
    assert_eq!(scene.offered("garden"), None);
    assert_eq!(scene.decide("garden", &[OWNER], "do=start").status(), 204);
    assert_eq!(scene.offered("garden").unwrap()["now"], true);
    assert_eq!(scene.decide("garden", &[OWNER], "do=release").status(), 204);
    assert_eq!(scene.offered("garden").unwrap()["now"], false);
}

#[test]
fn cameras_that_took_it_back_stop_it() {
    let mut scene = scene("updates.stop_after = 2");
    scene.add(&WORKSHOP.bundle("bad", NEW, 20_000), &[]).unwrap();
    scene.is_offered("garden", Some(NEW));
    scene.rejects("garden", NEW, true);
    scene.relay.program.line(&format!("camera garden: took back update {NEW}: no picture came"));
    scene.is_offered("garden", None);
    scene.is_offered("shed", Some(NEW));
    // What never ran says nothing of others.
    scene.rejects("attic", NEW, false);
    scene.is_offered("attic", None);
    scene.is_offered("shed", Some(NEW));
    scene.rejects("shed", NEW, true);
    scene.relay.program.line("2 cameras took it back (garden, shed): no further camera gets it");
    scene.is_offered("cellar", None);
    let list = scene.updates(&["list"]).unwrap();
    assert!(list.contains("paused: 2 cameras took it back (garden, shed)"), "{list}");
    assert!(
        list.contains(&format!("camera attic: did not install {NEW}: no picture came")),
        "{list}"
    );
    assert!(scene.metric("stillwatch_updates_rejected_total 3"));
    assert!(scene.metric("stillwatch_updates_paused 1"));
    let system =
        "stillwatch_system_info{camera=\"garden\",slot=\"A\",version=\"0.1.0-20261128.0312\"} 1";
    assert!(scene.metric(system));
    assert!(scene.relay.program.stop().success());
    scene.relay.restart();
    scene.updates(&["resume", NEW]).unwrap();
    scene.is_offered("cellar", Some(NEW));
    // It goes on for others, not for those that know it to be bad.
    scene.report("garden", &json!({}));
    assert_eq!(scene.offered("garden"), None);
}

#[test]
fn a_list_that_is_torn_is_said_and_what_was_known_goes_on() {
    let mut scene = scene("");
    scene.add(&WORKSHOP.bundle("torn", NEW, 20_000), &[]).unwrap();
    scene.is_offered("garden", Some(NEW));
    let index = fs::read(scene.file("index.json")).unwrap();
    fs::write(scene.file("index.json"), &index[..50]).unwrap();
    scene.relay.program.line("index.json: this is not as it was written");
    assert!(scene.offered("garden").is_some());
    assert!(scene.updates(&["pause", NEW]).unwrap_err().contains("index.json"));
    assert!(scene.metric("stillwatch_updates_works 0"));
    // From the beginning nobody knows what there is.
    assert!(scene.relay.program.stop().success());
    scene.relay.restart();
    let answer = scene.ask("garden", RUNS);
    assert_eq!(answer.status(), 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    fs::write(scene.file("index.json"), &index).unwrap();
    scene.relay.program.line("the lists can be read again");
    scene.is_offered("garden", Some(NEW));
}

#[test]
fn downloads_share_what_they_may_take() {
    let scene = scene("updates.max_downloads = 2\nupdates.max_rate = 400000");
    let bundle = WORKSHOP.bundle("slow", NEW, 400_000);
    let bytes = fs::read(&bundle).unwrap();
    scene.add(&bundle, &[]).unwrap();
    let offer = scene.is_offered("garden", Some(NEW)).unwrap();
    let path = offer["path"].as_str().unwrap();
    #[expect(clippy::disallowed_methods, reason = "a rate takes real time")]
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let downloads: Vec<_> =
            (0..2).map(|_| scope.spawn(|| scene.get(path, &[BEARER]).body)).collect();
        eventually("two downloads", SOON, || {
            let two = scene.metric("stillwatch_update_downloads 2");
            if two { Ok(()) } else { Err("fewer") }
        });
        let third = scene.get(path, &[BEARER]);
        assert_eq!((third.status(), third.header("retry-after")), (503, Some("60")));
        for download in downloads {
            assert!(download.join().unwrap() == bytes);
        }
    });
    // Twice the bytes at this rate, less the first pieces.
    let least = Duration::from_secs_f64((2.0 * bytes.len() as f64 - 200_000.0) / 400_000.0);
    assert!(begun.elapsed() > least, "{:?}", begun.elapsed());
    let sent = format!("stillwatch_update_sent_bytes_total {}", 2 * bytes.len());
    assert!(scene.metric(&sent));
    assert_eq!(scene.get(path, &[BEARER, ("Range", "bytes=0-9")]).status(), 206);
}

#[test]
fn who_takes_nothing_gives_its_place_back() {
    let scene = scene("updates.max_downloads = 1\nrelay.peer_timeout = \"1s\"");
    scene.add(&WORKSHOP.bundle("stalled", NEW, 8_000_000), &[]).unwrap();
    let offer = scene.is_offered("garden", Some(NEW)).unwrap();
    let path = offer["path"].as_str().unwrap();
    let mut stream = TcpStream::connect(scene.relay.address).unwrap();
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: r\r\nAuthorization: Bearer {PASSWORD}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    eventually("a download", SOON, || {
        if scene.metric("stillwatch_update_downloads 1") { Ok(()) } else { Err("none") }
    });
    let part = [BEARER, ("Range", "bytes=0-9")];
    assert_eq!(scene.get(path, &part).status(), 503);
    eventually("its place", SOON, || {
        let answer = scene.get(path, &part);
        if answer.status() == 206 { Ok(()) } else { Err(answer.first) }
    });
}

#[test]
fn many_commands_at_the_same_time_lose_nothing() {
    let scene = scene("");
    let bundles: Vec<PathBuf> = (0..4)
        .map(|n| WORKSHOP.bundle(&format!("many-{n}"), &format!("0.2.{n}-1.1"), 20_000))
        .collect();
    std::thread::scope(|scope| {
        for n in 0..12 {
            let scene = &scene;
            scope.spawn(move || scene.updates(&["hold", &format!("camera-{n}")]).unwrap());
        }
        for bundle in &bundles {
            let scene = &scene;
            scope.spawn(move || {
                eventually("its turn", SOON, || {
                    let added = scene.add(bundle, &[]);
                    added.inspect_err(|why| assert!(why.contains("is running"), "{why}"))
                })
            });
        }
    });
    let listed: Value = serde_json::from_str(&scene.updates(&["list", "--json"]).unwrap()).unwrap();
    assert_eq!(listed["cameras"].as_object().unwrap().len(), 12);
    assert_eq!(listed["published"].as_array().unwrap().len(), 4);
}

#[test]
fn the_owner_sees_updates_and_decides_with_buttons() {
    let scene = scene("[cameras.garden]\ntitle = \"Garden\"\n[cameras.shed]\nchannel = \"beta\"\n");
    scene.add(&WORKSHOP.bundle("seen", NEW, 200_000), &["--percent", "25"]).unwrap();
    scene.add(&WORKSHOP.bundle("beta", NEWER, 150_000), &["--channel", "beta"]).unwrap();
    scene.updates(&["pause", NEWER]).unwrap();
    let doing =
        json!({ "version": NEW, "doing": "downloading", "percent": 42, "why": "slow network" });
    scene.report("garden", &json!({ "system": RUNS, "slot": "A", "update": doing }));
    scene.rejects("shed", NEWER, true);
    let browser = Browser::start(&[]);
    let tab = browser.tab();
    tab.go(&format!("http://owner:geheim@{}/status", scene.relay.address));
    let body = "document.body.innerText";
    for text in [
        &format!("{RUNS}, slot A"),
        &format!("{NEW} is being downloaded, 42%, slow network"),
        &format!("{NEWER} was taken back: no picture came"),
        "25% of the cameras in channel stable",
        "paused: by its owner",
        "channel beta",
    ] {
        tab.becomes(&format!("{body}.includes({})", json!(text)));
    }
    let pressed = |wish: &str| {
        format!(
            "document.querySelector('[data-camera=garden] [data-do={wish}]').ariaPressed === 'true'"
        )
    };
    for wish in ["hold", "start"] {
        tab.press(&format!("[data-camera=garden] [data-do={wish}]"), "Enter");
        tab.becomes(&pressed(wish));
        assert_eq!(tab.text("document.activeElement.dataset.do"), wish, "it keeps the focus");
    }
    assert_eq!(scene.offered("garden").unwrap()["now"], true);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    tab.resize(1000, 1100, 1.0, false);
    tab.screenshot(&folder.join("owner-updates.png"));
    tab.resize(390, 1100, 1.0, true);
    tab.screenshot(&folder.join("owner-updates-phone.png"));
    let wide = "document.documentElement.scrollWidth > innerWidth";
    assert_eq!(tab.eval(wide), json!(false), "it fits a phone");
    let tall = "document.querySelector('.updates').offsetHeight > 250";
    assert_eq!(tab.eval(tall), json!(false), "what is published is read in lines");
    tab.press("[data-camera=garden] [data-do=release]", "Enter");
    tab.becomes("document.querySelector('[data-camera=garden] [data-do=release]').disabled");
    assert_eq!(scene.offered("garden"), None, "it is not among the first quarter");
    assert_eq!(tab.complaints(), [] as [String; 0]);
}
