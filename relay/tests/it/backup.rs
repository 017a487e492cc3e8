//! `stillwatch-relay export` and `import`: a relay moves, and nothing is written over or elsewhere.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::eventually::eventually;
use testbed::http::{Message, request};
use testbed::program::{Program, SOON};

use crate::relay::{PHOTO, captured_at, command, jpeg, padded};

/// A machine's folders: `etc/` and `data/`.
struct Machine {
    folder: TempDir,
}

/// A relay with the machine's configuration.
struct Running {
    program: Program,
    address: std::net::SocketAddr,
}

impl Machine {
    fn empty() -> Machine {
        Machine { folder: tempfile::tempdir().unwrap() }
    }

    /// With a password and a camera of its own.
    fn new() -> Machine {
        let machine = Machine::empty();
        fs::create_dir(machine.path("etc")).unwrap();
        for (name, mode) in
            [("relay.password", 0o600), ("owner.password", 0o600), ("garden.password", 0o640)]
        {
            fs::write(machine.path("etc").join(name), format!("the {name}\n")).unwrap();
            fs::set_permissions(machine.path("etc").join(name), fs::Permissions::from_mode(mode))
                .unwrap();
        }
        machine.configure("[history]\ninterval = \"1s\"\n");
        machine
    }

    fn configure(&self, more: &str) {
        let etc = self.path("etc");
        let etc = etc.display();
        let text = format!(
            "[relay]\npassword_file = \"{etc}/relay.password\"\n[cameras.garden]\npassword_file = \"{etc}/garden.password\"\n{more}"
        );
        fs::write(self.path("etc/relay.toml"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = command();
        let (config, data) = (self.path("etc/relay.toml"), self.path("data"));
        command.arg("--config").arg(config).arg("--data-dir").arg(data);
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.command();
        let Output { status, stdout, stderr } = command.args(arguments).output().unwrap();
        if status.success() {
            Ok(String::from_utf8(stdout).unwrap())
        } else {
            Err(String::from_utf8(stderr).unwrap())
        }
    }

    fn export(&self, to: &Path) -> Result<String, String> {
        self.run(&["export", to.to_str().unwrap()])
    }

    fn import(&self, from: &Path) -> Result<String, String> {
        self.run(&["import", from.to_str().unwrap()])
    }

    fn start(&self) -> Running {
        let mut command = self.command();
        let program = Program::start("the relay", command.args(["--listen", "127.0.0.1:0"]));
        let line = program.line("listening on ");
        let address = line.split("listening on ").nth(1).unwrap().trim().parse().unwrap();
        Running { program, address }
    }

    /// Everything there is, with modes and contents.
    fn all(&self) -> Vec<(PathBuf, u32, Vec<u8>)> {
        let (mut folders, mut found) = (vec![self.folder.path().to_owned()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
                    found.push((path.clone(), mode, fs::read(&path).unwrap()));
                }
            }
        }
        found.sort();
        found
    }
}

impl Running {
    fn get(&self, path: &str) -> Message {
        request(self.address, "GET", path, &[], b"").unwrap()
    }

    fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> u16 {
        request(self.address, "POST", path, headers, body).unwrap().status()
    }

    /// The garden's, with one frame a second.
    fn history_times(&self) -> Vec<Value> {
        let body = self.get("/cameras/garden/history").body;
        let history: Value = serde_json::from_slice(&body).unwrap();
        history["frames"]
            .as_array()
            .unwrap()
            .iter()
            .map(|frame| frame["captured_at"].clone())
            .collect()
    }
}

const GARDEN: &str = "/cameras/garden?password=the%20garden.password";

/// Uploads large pictures, from number 100 on, until the archive is made; returns what the command said, and the number
/// after the last.
fn export_amid_uploads(machine: &Machine, relay: &Running, archive: &Path) -> (String, u32) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let uploads = scope.spawn(|| {
            let mut n = 100;
            while !done.load(Ordering::Relaxed) && n < 100_000 {
                let status = relay.post("/?password=the%20relay.password", &[], &padded(n, 50_000));
                // More come than a camera may send in a second.
                assert!(matches!(status, 200 | 429), "{status}");
                n += 1;
            }
            n
        });
        eventually("the first of them in the database", SOON, || {
            let database = rusqlite::Connection::open(machine.path("data/stillwatch.db"))
                .map_err(|e| e.to_string())?;
            let query = "SELECT count(*) FROM frame WHERE camera IN ('default', 'garden')";
            let rows: i64 =
                database.query_row(query, [], |row| row.get(0)).map_err(|e| e.to_string())?;
            if rows == 2 { Ok(()) } else { Err(rows.to_string()) }
        });
        let said = machine.export(archive);
        done.store(true, Ordering::Relaxed);
        (said.unwrap(), uploads.join().unwrap())
    })
}

#[test]
fn a_relay_moves_while_uploads_go_on() {
    let old = Machine::new();
    let relay = old.start();
    for (n, ago) in (1..).zip([-9_000, -6_000, -3_000]) {
        let captured = [("Frame-Captured-At", &*captured_at(ago))];
        assert_eq!(relay.post(GARDEN, &captured, &jpeg(n)), 200);
    }
    fs::create_dir_all(old.path("data/acme/cam.example.org")).unwrap();
    fs::write(old.path("data/acme/cam.example.org/cert.pem"), "certificate").unwrap();
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        // As a package's relay has it: docs/access.md gives such files to its user.
        for name in ["data", "etc/garden.password"] {
            chown(old.path(name), Some(4711), Some(4711)).unwrap();
        }
        chown(old.path("etc/owner.password"), None, Some(4711)).unwrap();
    }
    let archive = old.path("moved.tar");
    let (said, sent) = export_amid_uploads(&old, &relay, &archive);
    assert!(said.contains("HOLDS PASSWORDS") && sent > 100, "{said}");
    assert_eq!(fs::metadata(&archive).unwrap().permissions().mode() & 0o777, 0o600);
    let times = relay.history_times();
    assert!(old.export(&archive).unwrap_err().contains("is not written over"));
    drop(relay);

    // The other machine has the same places, and nothing in them but what a package makes.
    let kept = tempfile::tempdir().unwrap();
    let archive_there = kept.path().join("moved.tar");
    fs::rename(&archive, &archive_there).unwrap();
    let before = old.all();
    for name in ["etc", "data"] {
        fs::rename(old.path(name), kept.path().join(name)).unwrap();
    }
    fs::create_dir(old.path("data")).unwrap();
    if is_root {
        // Its user has another number there.
        chown(old.path("data"), Some(4712), Some(4712)).unwrap();
    }
    let said = old.import(&archive_there).unwrap();
    assert!(said.contains("now in") && said.contains("doctor"), "{said}");
    // The sockets of the other one would start it again.
    let stop =
        "disable --now stillwatch-relay.socket stillwatch-relay-web.socket stillwatch-relay\n";
    assert!(said.contains(stop), "{said}");
    let after = old.all();
    assert_eq!(named(&before, "/etc/"), named(&after, "/etc/"));
    assert_eq!(named(&after, "/acme/cam.example.org/")[0].2, b"certificate");
    let is_left = |path: &Path| path.file_name().unwrap().to_str().unwrap().ends_with(".tmp");
    let left: Vec<_> = after.iter().filter(|(path, ..)| is_left(path)).collect();
    assert!(named(&after, ".import").is_empty() && left.is_empty());
    if is_root {
        owned_by_the_relay(&old);
    }
    let relay = old.start();
    assert_eq!(relay.get("/cameras/garden/live.jpeg").body, jpeg(3));
    // One that was whole at that moment.
    let shown = relay.get("/live.jpeg").body;
    assert!((100..sent).any(|n| shown == padded(n, 50_000)), "{} bytes", shown.len());
    assert_eq!((times.len(), relay.history_times()), (3, times));
    assert_eq!(relay.post(GARDEN, &[], PHOTO), 200);
}

/// Those with this in their path.
fn named(all: &[(PathBuf, u32, Vec<u8>)], part: &str) -> Vec<(PathBuf, u32, Vec<u8>)> {
    all.iter().filter(|(path, ..)| path.to_str().unwrap().contains(part)).cloned().collect()
}

/// What root unpacked belongs to whom the data folder belongs, and of the rest what belonged to the relay before.
fn owned_by_the_relay(machine: &Machine) {
    let of = |path: &Path| fs::metadata(path).unwrap().uid();
    let owner = of(&machine.path("data"));
    for name in ["stillwatch.db", "acme", "acme/cam.example.org", "acme/cam.example.org/cert.pem"] {
        assert_eq!(of(&machine.path("data").join(name)), owner, "{name}");
    }
    for (name, ids) in [
        ("relay.password", (0, 0)),
        ("relay.toml", (0, 0)),
        ("owner.password", (0, owner)),
        ("garden.password", (owner, owner)),
    ] {
        let about = fs::metadata(machine.path("etc").join(name)).unwrap();
        assert_eq!((about.uid(), about.gid()), ids, "{name}");
    }
}

/// An archive of a machine that has one picture.
fn archive(machine: &Machine) -> PathBuf {
    let mut relay = machine.start();
    assert_eq!(relay.post(GARDEN, &[], PHOTO), 200);
    assert!(relay.program.stop().success());
    let path = machine.path("backup.tar");
    machine.export(&path).unwrap();
    path
}

#[test]
fn an_import_writes_over_nothing() {
    let old = Machine::new();
    let archive = archive(&old);
    let wanted = [
        ("etc/relay.toml", "[site]\ntitle = \"mine\"\n"),
        ("etc/garden.password", "mine\n"),
        ("data/stillwatch.db", "mine"),
        ("data/anything", "mine"),
    ];
    for (name, content) in wanted {
        let new = Machine::empty();
        let path = new.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let before = new.all();
        let refused = new.import(&archive).unwrap_err();
        assert!(
            refused.contains(path.to_str().unwrap()) && refused.contains("Nothing was written"),
            "{refused}"
        );
        assert_eq!(new.all(), before, "{name}");
    }
    // What the package leaves there, and what an import that was cut off has written, is nobody's loss.
    let new = Machine::empty();
    fs::create_dir_all(new.path("data/.import")).unwrap();
    fs::create_dir(new.path("etc")).unwrap();
    fs::write(new.path("etc/relay.toml"), "# Settings.\n\n").unwrap();
    fs::copy(old.path("etc/garden.password"), new.path("etc/garden.password")).unwrap();
    fs::write(new.path("data/.import/0"), "half").unwrap();
    new.import(&archive).unwrap();
    assert_eq!(
        fs::read(new.path("etc/relay.toml")).unwrap(),
        fs::read(old.path("etc/relay.toml")).unwrap()
    );
    assert!(!new.path("data/.import").exists());
    // A link would lead root elsewhere.
    let new = Machine::empty();
    fs::create_dir(new.path("data")).unwrap();
    std::os::unix::fs::symlink("/nonexistent", new.path("data/stillwatch.db")).unwrap();
    assert!(new.import(&archive).unwrap_err().contains("something already"));
}

#[test]
fn a_damaged_archive_is_refused_before_anything_is_written() {
    let old = Machine::new();
    let archive = archive(&old);
    let whole = fs::read(&archive).unwrap();
    let mut damaged = Vec::new();
    for keep in [0, 100, 512, whole.len() / 2, whole.len() - 12_000] {
        damaged.push(whole[..keep].to_vec());
    }
    for at in [600, whole.len() / 3, whole.len() / 2, whole.len() - 12_000] {
        let mut changed = whole.clone();
        changed[at] ^= 0x20;
        damaged.push(changed);
    }
    let path = old.path("damaged.tar");
    for content in damaged {
        fs::write(&path, &content).unwrap();
        let new = Machine::empty();
        let refused = new.import(&path).unwrap_err();
        assert!(
            refused.contains("Nothing was written") && refused.contains("damaged.tar"),
            "{refused}"
        );
        assert!(new.all().is_empty(), "{} bytes: {refused}", content.len());
    }
}

/// The archive with another manifest, and with what stands in it.
fn forged(from: &Path, to: &Path, change: impl Fn(&mut Value), more: &[(&str, &[u8])]) {
    let mut archive = tar::Archive::new(File::open(from).unwrap());
    let mut builder = tar::Builder::new(File::create(to).unwrap());
    let mut add = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        // `append_data` would refuse such names.
        let field = &mut header.as_old_mut().name;
        field[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, content).unwrap();
    };
    let mut seal = String::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if name == "manifest.json" {
            let mut manifest = serde_json::from_slice(&content).unwrap();
            change(&mut manifest);
            content = manifest.to_string().into_bytes();
            seal =
                frame::sign::to_hex(ring::digest::digest(&ring::digest::SHA256, &content).as_ref());
        }
        if name == "manifest.json.sha256" {
            content = seal.clone().into_bytes();
        }
        add(&name, &content);
    }
    for (name, content) in more {
        add(name, content);
    }
    builder.finish().unwrap();
}

#[test]
fn a_newer_one_and_one_that_leads_elsewhere_are_refused() {
    let old = Machine::new();
    let archive = archive(&old);
    let path = old.path("forged.tar");
    let outside = "../../outside";
    let entry = || {
        let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        json!({ "path": outside, "bytes": 5, "sha256": sha256, "mode": 0o600 })
    };
    let refused = |change: &dyn Fn(&mut Value), more: &[(&str, &[u8])]| {
        forged(&archive, &path, change, more);
        let new = Machine::empty();
        let refused = new.import(&path).unwrap_err();
        assert!(new.all().is_empty(), "{refused}");
        refused
    };
    let newer = refused(&|manifest| manifest["schema"] = json!(99), &[]);
    assert!(newer.contains("version 99") && newer.contains("update this relay first"), "{newer}");
    let newer = refused(&|manifest| manifest["format"] = json!(99), &[]);
    assert!(newer.contains("a newer relay made it"), "{newer}");
    let named = refused(
        &|manifest| manifest["files"].as_array_mut().unwrap().push(entry()),
        &[(outside, b"hello")],
    );
    assert!(named.contains("may not hold"), "{named}");
    let unnamed = refused(&|_| {}, &[(outside, b"hello")]);
    assert!(unnamed.contains("does not name"), "{unnamed}");
    let twice = refused(&|_| {}, &[("config/relay.toml", b"")]);
    assert!(twice.contains("twice"), "{twice}");
    // The forging itself is none of the reasons.
    forged(&archive, &path, |_| {}, &[]);
    let new = Machine::empty();
    new.import(&path).unwrap();
}

#[test]
fn a_newer_database_is_not_exported_and_not_touched() {
    let old = Machine::new();
    fs::create_dir(old.path("data")).unwrap();
    let database = rusqlite::Connection::open(old.path("data/stillwatch.db")).unwrap();
    database.execute_batch("PRAGMA user_version = 99; CREATE TABLE frame (x)").unwrap();
    drop(database);
    let before = old.all();
    let refused = old.export(&old.path("backup.tar")).unwrap_err();
    assert!(refused.contains("version 99") && refused.contains("update the relay"), "{refused}");
    assert_eq!(old.all(), before);
}
