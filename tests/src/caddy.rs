//! Caddy as docs/deploy.md says it.

#![expect(clippy::unwrap_used, reason = "it is test code, and a panic is how a test fails")]

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;
use testbed::eventually::eventually;
use testbed::http::get;
use testbed::program::{Program, SOON};

use crate::nginx::free_port;
use crate::of_repository;

/// Caddy with the site of docs/caddy, as it stands there but for its name and the relay's address: plain HTTP, as no
/// authority can be asked here.
#[derive(Debug)]
pub struct Caddy {
    _program: Program,
    /// Where it listens.
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Caddy {
    /// Before a relay.
    ///
    /// # Panics
    /// It does not come up.
    pub fn before(relay: SocketAddr) -> Caddy {
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut text = fs::read_to_string(of_repository("docs/caddy/Caddyfile")).unwrap();
        let site = format!("http://:{} {{\n\tbind 127.0.0.1", address.port());
        let to = relay.to_string();
        for (from, to) in [("camera.example.org {", site.as_str()), ("127.0.0.1:5000", &to)] {
            assert!(text.contains(from), "the Caddyfile has no {from}");
            text = text.replace(from, to);
        }
        let file = folder.path().join("Caddyfile");
        fs::write(&file, format!("{{\n\tadmin off\n}}\n{text}")).unwrap();
        let program = Program::start(
            "caddy",
            Command::new("caddy")
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(&file)
                .env("HOME", folder.path())
                .env("XDG_DATA_HOME", folder.path())
                .env("XDG_CONFIG_HOME", folder.path()),
        );
        eventually("caddy", SOON, || get(address, "/nothing-here").map_err(|e| e.to_string()));
        Caddy { _program: program, address, _folder: folder }
    }
}
