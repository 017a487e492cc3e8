//! A storage that speaks S3: SeaweedFS, as scripts/setup installs it.

#![expect(clippy::unwrap_used, reason = "it is test code, and a panic is how a test fails")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use testbed::eventually::eventually;
use testbed::http::{Message, get};
use testbed::program::{Program, SOON};

use crate::nginx::free_port;

/// What writes there.
pub const ACCESS_KEY: &str = "relays-key";
const SECRET: &str = "relays-secret";

/// Everybody may read what is in it.
pub const BUCKET: &str = "cams";

/// A running storage with one bucket.
#[derive(Debug)]
pub struct Storage {
    /// The process.
    pub program: Program,
    /// Where it listens.
    pub address: SocketAddr,
    ports: Vec<String>,
    folder: TempDir,
}

impl Storage {
    /// Starts one.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start() -> Storage {
        let folder = tempfile::tempdir().unwrap();
        let identities = format!(
            r#"{{"identities":[{{"name":"relay","credentials":[{{"accessKey":"{ACCESS_KEY}","secretKey":"{SECRET}"}}],
            "actions":["Admin"]}},{{"name":"anonymous","actions":["Read:{BUCKET}"]}}]}}"#
        );
        fs::write(folder.path().join("s3.json"), identities).unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let secret = folder.path().join("secret");
        fs::write(&secret, SECRET).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let others = [
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "s3.port.grpc",
        ];
        let ports = others.map(|name| format!("-{name}={}", free_port())).to_vec();
        let program = launch(&folder, address, &ports);
        let storage = Storage { program, address, ports, folder };
        let mut make = Command::new("curl");
        make.args(["-sS", "--fail", "-X", "PUT", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user"]);
        make.args([format!("{ACCESS_KEY}:{SECRET}"), format!("http://{address}/{BUCKET}")]);
        eventually("a bucket", SOON, || {
            let made = make.output().unwrap();
            if made.status.success() { Ok(()) } else { Err(format!("{made:?}")) }
        });
        storage
    }

    /// Starts it again at the same address, with what it had, after its process has ended.
    ///
    /// # Panics
    /// It does not come up.
    pub fn restart(&mut self) {
        self.program = launch(&self.folder, self.address, &self.ports);
    }

    /// A file with the secret of [`ACCESS_KEY`].
    pub fn secret(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    /// What anybody gets of an object.
    ///
    /// # Panics
    /// Nobody answers.
    pub fn object(&self, name: &str) -> Message {
        get(self.address, &format!("/{BUCKET}/{name}")).unwrap()
    }
}

fn launch(folder: &TempDir, address: SocketAddr, ports: &[String]) -> Program {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/stillwatch");
    let cache = std::env::var_os("STILLWATCH_CACHE").map_or_else(home, PathBuf::from);
    let weed = cache.join("seaweedfs/bin/weed");
    assert!(weed.exists(), "{} is not there: run scripts/setup test", weed.display());
    let mut command = Command::new(weed);
    command.args([
        "server",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-filer",
        "-s3",
        "-s3.iam=false",
    ]);
    command.args(["-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
    command.args(["-volume.max=20", "-volume.minFreeSpace=1MiB", "-master.volumeSizeLimitMB=64"]);
    for part in ["filer", "s3"] {
        let socket = folder.path().join(part).with_extension("sock");
        command.arg(format!("-{part}.localSocket={}", socket.display()));
    }
    command.args(ports);
    command.arg(format!("-dir={}", folder.path().join("data").display()));
    command.arg(format!("-s3.config={}", folder.path().join("s3.json").display()));
    command.arg(format!("-s3.port={}", address.port())).current_dir(folder.path());
    let program = Program::start("seaweedfs", &mut command);
    eventually("seaweedfs", SOON, || get(address, "/").map_err(|error| error.to_string()));
    program
}
