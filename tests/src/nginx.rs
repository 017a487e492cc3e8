//! nginx as docs/deploy.md says it.

#![expect(clippy::unwrap_used, reason = "it is test code, and a panic is how a test fails")]

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use testbed::eventually::{eventually, pause};
use testbed::http::get;
use testbed::program::{Program, SOON};

use crate::of_repository;

/// nginx with one of the sites of docs/nginx, as it stands there but for its addresses and folders.
#[derive(Debug)]
pub struct Nginx {
    program: Program,
    /// Where it listens.
    pub address: SocketAddr,
    folder: TempDir,
}

impl Nginx {
    /// What it has kept of others' answers, as files.
    pub fn kept(&self) -> PathBuf {
        self.folder.path().join("kept")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers would outlive a master that is killed.
        self.program.signal("TERM");
        for _ in 0..100 {
            if !self.program.runs() {
                return;
            }
            pause(Duration::from_millis(20));
        }
    }
}

/// Starts it, with pieces of the site's text replaced.
///
/// # Panics
/// It does not come up.
pub fn nginx(site: &str, changes: &[(&str, &str)]) -> Nginx {
    start(site, changes, "")
}

fn start(site: &str, changes: &[(&str, &str)], options: &str) -> Nginx {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut text = fs::read_to_string(of_repository("docs/nginx").join(site)).unwrap();
    let listen = format!("listen 127.0.0.1:{port}{options};");
    for (from, to) in [("listen 80;", listen.as_str())].iter().chain(changes) {
        assert!(text.contains(from), "{site} has no {from}");
        text = text.replace(from, to);
    }
    let at = folder.path().display();
    text = text.replace("/run/stillwatch-nginx", &format!("{at}/kept"));
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
        .concat();
    let config = format!(
        "daemon off; worker_processes 2; worker_rlimit_nofile 16384; pid {at}/pid; error_log stderr; user root;\n\
         events {{ worker_connections 16384; }}\n\
         http {{ access_log off; types {{ image/jpeg jpeg; application/json json; }}\n{paths}{text}\n}}"
    );
    let file = folder.path().join("nginx.conf");
    fs::write(&file, config).unwrap();
    let program = Program::start("nginx", Command::new("nginx").arg("-c").arg(&file));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    // Over TLS it answers this with 400, and that is an answer, too.
    eventually("nginx", SOON, || get(address, "/nothing-here").map_err(|e| e.to_string()));
    Nginx { program, address, folder }
}

/// A port that nobody listens at.
///
/// # Panics
/// There is none.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An authority of our own, and certificates of it for a server on this machine.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Default for Authority {
    fn default() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = rcgen::CertificateParams::new([]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        // Two that have the same name would take each other for themselves, with a wrong key.
        let name = folder.path().display().to_string();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { folder, issuer: rcgen::Issuer::new(params, key) }
    }
}

impl Authority {
    /// The key of the server made last, as curl's `--pinnedpubkey` and `upload.pin` have it, by
    /// OpenSSL.
    ///
    /// # Panics
    /// There is no server yet.
    pub fn pin(&self) -> String {
        let script = "openssl x509 -pubkey -noout -in pem | openssl pkey -pubin -outform der \
                      | openssl dgst -sha256 -binary | openssl base64";
        let output =
            Command::new("sh").args(["-c", script]).current_dir(self.folder.path()).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        format!("sha256//{}", text.trim())
    }

    /// Its own certificate, as a file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for this name or address, valid until the end of this year, and its key, as files. Each call
    /// writes the same two anew.
    ///
    /// # Panics
    /// They can't be made.
    pub fn certificate(&self, name: &str, until: i32) -> (PathBuf, PathBuf) {
        let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 12, 31);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (pem, secret) = (self.folder.path().join("pem"), self.folder.path().join("key"));
        fs::write(&pem, certificate.pem()).unwrap();
        fs::write(&secret, key.serialize_pem()).unwrap();
        (pem, secret)
    }

    /// nginx as a proxy with TLS before a relay: its certificate is for this name or address, and
    /// valid until the end of this year.
    ///
    /// # Panics
    /// It does not come up.
    pub fn nginx(&self, relay: SocketAddr, name: &str, until: i32) -> Nginx {
        let (pem, secret) = self.certificate(name, until);
        let tls = format!(
            "    ssl_certificate {}; ssl_certificate_key {};",
            pem.display(),
            secret.display()
        );
        let to = relay.to_string();
        let server = format!("{tls}\n    server_name camera.example.org;");
        let changes =
            [("127.0.0.1:5000", to.as_str()), ("    server_name camera.example.org;", &server)];
        start("stillwatch-proxy.conf", &changes, " ssl")
    }
}
