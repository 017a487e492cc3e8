//! `stillwatch-relay doctor`: one thing is broken after the other, and the right line says so.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use testbed::program::Program;

use crate::relay::{PHOTO, Relay, command};

/// A relay as `init` would leave it, and what the doctor says of it.
struct Patient {
    folder: TempDir,
    port: u16,
}

impl Patient {
    fn new() -> Patient {
        // Free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let patient = Patient { folder: tempfile::tempdir().unwrap(), port };
        for name in ["relay.password", "owner.password"] {
            fs::write(patient.path(name), "k7mq-x3tz-9w4c\n").unwrap();
            fs::set_permissions(patient.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::create_dir(patient.path("data")).unwrap();
        patient.configure(&format!("http://127.0.0.1:{port}/"), &patient.path("data"));
        patient
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, url: &str, data: &Path) {
        let text = format!(
            "site.url = \"{url}\"\n[relay]\nlisten = \"127.0.0.1:{}\"\ndata_dir = \"{}\"\n[history]\nmax_bytes = 1000000\n",
            self.port,
            data.display()
        );
        fs::write(self.path("relay.toml"), text).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = command();
        command.arg("--config").arg(self.path("relay.toml"));
        command
    }

    fn start(&self) -> Program {
        let mut command = self.command();
        let program = Program::start(
            "the relay",
            command.arg("run").arg("--password-file").arg(self.path("relay.password")),
        );
        program.line("listening on ");
        program
    }

    /// All findings, and whether the program said that nothing is wrong.
    fn examined(&self) -> (Vec<Value>, bool) {
        let output = self.command().args(["doctor", "--json"]).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["ok"], output.status.success());
        (said["checks"].as_array().unwrap().clone(), output.status.success())
    }

    /// The findings of one check, as `verdict: text`.
    fn of(&self, check: &str) -> String {
        let (findings, _) = self.examined();
        let of_it = findings.iter().filter(|finding| finding["check"] == check);
        let lines = of_it.map(|f| {
            format!("{}: {}", f["verdict"].as_str().unwrap(), f["says"].as_str().unwrap())
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn is_wrong(&self, check: &str, says: &str) {
        let (findings, well) = self.examined();
        assert!(!well);
        let wrong: Vec<&Value> =
            findings.iter().filter(|finding| finding["verdict"] == "wrong").collect();
        let found = wrong
            .iter()
            .find(|f| f["check"] == check && f["says"].as_str().unwrap().contains(says));
        assert!(
            found.is_some_and(|found| !found["fix"].as_str().unwrap().is_empty()),
            "{check} {says}: {wrong:?}"
        );
    }
}

#[test]
fn what_is_well_is_called_well() {
    let patient = Patient::new();
    let relay = patient.start();
    let (findings, well) = patient.examined();
    // Whether this machine's clock is right, and whether systemd runs here, is not for the test to say.
    let theirs = ["clock", "unit", "tls", "memory"];
    for finding in &findings {
        let check = finding["check"].as_str().unwrap();
        assert!(finding["verdict"] == "ok" || theirs.contains(&check), "{finding}");
    }
    for check in [
        "configuration",
        "passwords",
        "disk",
        "database",
        "port",
        "version",
        "keeping",
        "reachability",
    ] {
        assert!(findings.iter().any(|finding| finding["check"] == check), "{check}");
    }
    assert!(well);
    assert!(patient.of("mjpeg").contains("no camera sent a picture yet"));
    let address = format!("127.0.0.1:{}", patient.port).parse().unwrap();
    let path = "/?password=k7mq-x3tz-9w4c";
    assert_eq!(testbed::http::request(address, "POST", path, &[], PHOTO).unwrap().status(), 200);
    assert_eq!(patient.of("mjpeg"), "ok: comes as it is sent");
    assert_eq!(patient.of("websocket"), "ok: gets through");
    assert!(
        patient.of("cameras").starts_with("warning: ")
            && patient.of("cameras").ends_with("default")
    );
    let printed = patient.command().arg("doctor").output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.contains("ok       reachability") && !printed.contains("k7mq"), "{printed}");
    // Somebody who wants the first line only.
    let script = "set -o pipefail; \"$0\" \"$@\" doctor | head -n 1";
    let mut head = Command::new("bash");
    let program = env!("CARGO_BIN_EXE_stillwatch-relay");
    head.args(["-c", script, program, "--config"]).arg(patient.path("relay.toml"));
    let output = head.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    drop(relay);
}

/// An authority of one's own, and a certificate by it for `localhost`.
fn certificate(patient: &Patient, name: &str, until: i32) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    fs::write(patient.path("authority.pem"), authority.self_signed(&key).unwrap().pem()).unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
    let own = KeyPair::generate().unwrap();
    let signed = params.signed_by(&own, &Issuer::new(authority, key)).unwrap();
    fs::write(patient.path("cert.pem"), own.serialize_pem() + &signed.pem()).unwrap();
}

#[test]
fn certificates_and_https() {
    let patient = Patient::new();
    let [secure, plain] =
        [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    patient.configure(&format!("https://localhost:{}/", secure.port()), &patient.path("data"));
    let text = fs::read_to_string(patient.path("relay.toml")).unwrap();
    // Else this machine's own requests are answered by plain HTTP, and sent nowhere.
    let mut text = text.replace("[relay]\n", "[relay]\nproxies = \"none\"\n");
    text += &format!(
        "[tls]\ncertificate_file = \"{}\"\nlisten = \"{secure}\"\nredirect_listen = \"{plain}\"\n",
        patient.path("cert.pem").display()
    );
    fs::write(patient.path("relay.toml"), text).unwrap();
    certificate(&patient, "localhost", 4000);
    let relay = patient.start();
    // Nobody knows that authority.
    assert!(patient.of("tls").starts_with("warning: this machine does not know the authority"));
    patient.is_wrong("reachability", "its certificate is not accepted");
    let trusting = |check: &str| {
        let mut command = patient.command();
        command.env("SSL_CERT_FILE", patient.path("authority.pem"));
        let output = command.args(["doctor", "--json"]).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = said["checks"].as_array().unwrap();
        checks.iter().find(|finding| finding["check"] == check).unwrap()["verdict"].clone()
    };
    for check in ["certificate", "tls", "dns", "reachability", "redirect", "websocket", "mjpeg"] {
        assert_eq!(trusting(check), "ok", "{check}");
    }
    drop(relay);
    certificate(&patient, "localhost", 2021);
    patient.is_wrong("certificate", "ran out");
}

#[test]
fn a_relay_that_does_not_run_and_one_that_is_another() {
    let patient = Patient::new();
    patient.is_wrong("port", "nothing listens");
    let mut relay = patient.start();
    // Somebody else's answers at the public address.
    let other = Relay::start();
    patient.configure(&format!("http://{}/", other.address), &patient.path("data"));
    patient.is_wrong("reachability", "is another relay");
    drop(other);
    patient.is_wrong("reachability", "nobody listens there");
    patient.configure("http://cam.invalid/", &patient.path("data"));
    patient.is_wrong("dns", "cam.invalid is not found");
    assert!(relay.stop().success());
    // Another program takes its port.
    let taken = TcpListener::bind(("127.0.0.1", patient.port)).unwrap();
    let serving = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = taken.accept().unwrap();
        let mut head = [0; 1024];
        let _ = stream.read(&mut head);
        stream
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .unwrap();
        drop(stream);
    });
    patient.is_wrong("port", "another program listens");
    serving.join().unwrap();
}

#[test]
fn files_that_are_wrong() {
    let patient = Patient::new();
    fs::set_permissions(patient.path("relay.password"), fs::Permissions::from_mode(0o644)).unwrap();
    patient.is_wrong("passwords", "other users can read this password file");
    fs::set_permissions(patient.path("relay.password"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(patient.path("owner.password")).unwrap();
    assert!(patient.of("passwords").starts_with("warning: there is none for its owner"));
    fs::write(patient.path("relay.password"), "short\n").unwrap();
    assert!(patient.of("passwords").contains("fewer than 12"));
    fs::remove_file(patient.path("relay.password")).unwrap();
    patient.is_wrong("configuration", "no password for uploads");
    fs::write(patient.path("relay.toml"), "[relay]\nlissten = \"x\"\n").unwrap();
    patient.is_wrong("configuration", "did you mean");
}

#[test]
fn a_database_of_a_newer_relay() {
    let patient = Patient::new();
    let database = rusqlite::Connection::open(patient.path("data/stillwatch.db")).unwrap();
    database.execute_batch("PRAGMA user_version = 99; CREATE TABLE frame (x)").unwrap();
    drop(database);
    patient.is_wrong("database", "version 99");
    let relay = patient.start();
    // The relay itself says so, too, and shows pictures all the same.
    patient.is_wrong("keeping", "version 99");
    drop(relay);
}

#[test]
fn a_disk_that_is_full() {
    let patient = Patient::new();
    let place = patient.path("small");
    fs::create_dir(&place).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&place);
    if !mount.output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: this test may not mount a file system");
        return;
    }
    let filled = fs::write(place.join("filler"), vec![0; 4 << 20]);
    patient.configure(&format!("http://127.0.0.1:{}/", patient.port), &place);
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        patient.is_wrong("disk", "the disk is full")
    }));
    assert!(Command::new("umount").arg("-l").arg(&place).status().unwrap().success());
    assert!(filled.is_err() && found.is_ok());
}

/// nginx as some have it: no `Upgrade`, and answers are collected before they are passed on, whatever they say.
#[test]
fn a_proxy_that_holds_back() {
    let patient = Patient::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    patient.configure(&format!("http://127.0.0.1:{port}/"), &patient.path("data"));
    let config = format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr; events {{}}\n\
         http {{ access_log off; client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; \
         fastcgi_temp_path {folder}/3; uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;\n\
         proxy_ignore_headers X-Accel-Buffering; server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{relay}; }} }} }}\n",
        folder = patient.folder.path().display(),
        relay = patient.port,
    );
    fs::write(patient.path("nginx.conf"), config).unwrap();
    let mut nginx = Command::new("nginx");
    nginx.args(["-e", "stderr", "-c"]).arg(patient.path("nginx.conf"));
    if nginx.arg("-t").output().is_err() {
        eprintln!("SKIPPED: no nginx here (scripts/setup test)");
        return;
    }
    let mut nginx = Command::new("nginx");
    nginx.args(["-e", "stderr", "-c"]).arg(patient.path("nginx.conf"));
    let nginx = Program::start("nginx", &mut nginx);
    let relay = patient.start();
    let address = format!("127.0.0.1:{}", patient.port).parse().unwrap();
    let path = "/?password=k7mq-x3tz-9w4c";
    assert_eq!(testbed::http::request(address, "POST", path, &[], PHOTO).unwrap().status(), 200);
    testbed::eventually::eventually("the proxy", testbed::program::SOON, || {
        let found = patient.of("reachability");
        if found.starts_with("ok: ") { Ok(()) } else { Err(found) }
    });
    assert!(patient.of("websocket").starts_with("warning: does not get through: "));
    assert_eq!(patient.of("mjpeg"), "warning: a part of the picture is held back on the way");
    drop((relay, nginx));
}
