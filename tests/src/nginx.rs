//! nginx as docs/deploy.md says it.

#![expect(clippy::unwrap_used, reason = "it is test code, and a panic is how a test fails")]

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use tempfile::TempDir;
use testbed::eventually::eventually;
use testbed::http::get;
use testbed::program::{Program, SOON};

use crate::of_repository;

/// nginx with one of the sites of docs/nginx, as it stands there but for its addresses and folders.
#[derive(Debug)]
pub struct Nginx {
    _program: Program,
    /// Where it listens.
    pub address: SocketAddr,
    _folder: TempDir,
}

/// Starts it, with pieces of the site's text replaced.
///
/// # Panics
/// It does not come up.
pub fn nginx(site: &str, changes: &[(&str, &str)]) -> Nginx {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut text = fs::read_to_string(of_repository("docs/nginx").join(site)).unwrap();
    let listen = format!("listen 127.0.0.1:{port};");
    for (from, to) in [("listen 80;", listen.as_str())].iter().chain(changes) {
        assert!(text.contains(from), "{site} has no {from}");
        text = text.replace(from, to);
    }
    let at = folder.path().display();
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
        .concat();
    let config = format!(
        "daemon off; master_process off; pid {at}/pid; error_log stderr; user root;\n\
         events {{ worker_connections 64; }}\n\
         http {{ access_log off; types {{ image/jpeg jpeg; application/json json; }}\n{paths}{text}\n}}"
    );
    let file = folder.path().join("nginx.conf");
    fs::write(&file, config).unwrap();
    let program = Program::start("nginx", Command::new("nginx").arg("-c").arg(&file));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    eventually("nginx", SOON, || get(address, "/nothing-here").map_err(|e| e.to_string()));
    Nginx { _program: program, address, _folder: folder }
}

/// A port that nobody listens at.
///
/// # Panics
/// There is none.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
