//! An authority that speaks ACME, Debian's `pebble`, and its DNS, on this machine.

#![expect(clippy::unwrap_used, reason = "it is test code, and a panic is how a test fails")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;
use testbed::eventually::eventually;
use testbed::program::{Program, SOON};

use crate::nginx::{Authority, free_port};

/// See the module's documentation. All names are this machine.
#[derive(Debug)]
pub struct Pebble {
    /// The process.
    pub program: Program,
    _names: Program,
    authority: Authority,
    port: u16,
    management: u16,
    folder: TempDir,
}

impl Pebble {
    /// Starts one that looks for proofs at these two ports, and whose certificates are valid for so many seconds.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start(https: u16, http: u16, valid_s: u32) -> Pebble {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::default());
        let (pem, key) = authority.certificate("localhost", 2099);
        let (port, management, names_port) = (free_port(), free_port(), free_port());
        let names = Program::start(
            "names",
            Command::new("pebble-challtestsrv")
                .args(["-dns01", &format!("127.0.0.1:{names_port}"), "-defaultIPv4", "127.0.0.1"])
                .args(["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""])
                .args(["-management", &format!("127.0.0.1:{}", free_port())]),
        );
        let config = folder.path().join("pebble.json");
        let settings = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": pem, "privateKey": key,
            "httpPort": http, "tlsPort": https,
            "ocspResponderURL": "", "externalAccountBindingRequired": false,
            "certificateValidityPeriod": valid_s,
        }});
        fs::write(&config, settings.to_string()).unwrap();
        let program = Program::start(
            "pebble",
            Command::new("pebble")
                .args(["-dnsserver", &format!("127.0.0.1:{names_port}"), "-config"])
                .arg(&config)
                .env("PEBBLE_VA_NOSLEEP", "1"),
        );
        let pebble = Pebble { program, _names: names, authority, port, management, folder };
        eventually("pebble", SOON, || pebble.roots().map(drop));
        pebble
    }

    /// `tls.directory`.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// `tls.directory_ca_file`.
    pub fn ca_file(&self) -> PathBuf {
        self.authority.file()
    }

    /// The root of the certificates it gives, as a file.
    ///
    /// # Errors
    /// It does not answer.
    pub fn roots(&self) -> Result<PathBuf, String> {
        let file = self.folder.path().join("root.pem");
        let url = format!("https://localhost:{}/roots/0", self.management);
        let got = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--cacert"])
            .arg(self.ca_file())
            .arg("--output")
            .arg(&file)
            .arg(url)
            .output()
            .unwrap();
        if got.status.success() { Ok(file) } else { Err(format!("{got:?}")) }
    }
}
