//! Our packages in a plain Debian: made of the binaries beside the test (`scripts/package`), installed and used
//! as an administrator would, for the stories in `tests/packages.rs`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use testbed::container::Container;
use testbed::eventually::eventually;
use testbed::http::{Message, get, request};
use testbed::machine::Output;
use testbed::program::binary;

use crate::{PASSWORD, of_repository};

/// How long anything may take that should happen soon: containers are as fast as this machine is.
pub const SOON: Duration = Duration::from_secs(90);

/// Where the relay listens in a container.
pub const RELAY: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5000);

/// The versions that packages are made of: the second one is newer.
pub const VERSIONS: [&str; 2] = ["1.0", "1.1"];

/// The path of the package of `name` (relay, agent) in one of [`VERSIONS`].
///
/// # Panics
/// It can't be made.
pub fn package(name: &str, version: &str) -> PathBuf {
    let folder = packages().join(version);
    folder.join(format!("stillwatch-{name}_{version}_amd64.deb"))
}

/// All of them, made once.
fn packages() -> &'static Path {
    static PACKAGES: OnceLock<PathBuf> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let programs =
            binary("stillwatch-relay").parent().expect("a file is in a folder").to_owned();
        let folder = programs.join("packages");
        for version in VERSIONS {
            make(&programs, &folder.join(version), version);
        }
        folder
    })
}

/// Makes all packages for this architecture.
///
/// # Panics
/// They can't be made.
pub fn make(programs: &Path, output: &Path, version: &str) {
    let made = Command::new(of_repository("scripts/package"))
        .args(["amd64", "--version", version, "--programs"])
        .arg(programs)
        .arg("--output")
        .arg(output)
        .stdin(Stdio::null())
        .output();
    let made = made.expect("scripts/package");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Installs a package of ours, or a newer one over it, and returns what dpkg and the package said.
///
/// # Panics
/// It can't be installed.
pub fn install(container: &Container, name: &str, version: &str) -> String {
    let file = package(name, version);
    let place = format!("/root/{name}.deb");
    container.copy_in(&file, &place);
    // What an administrator says with the dialogue of conffiles: the default.
    container.run(&format!("dpkg --install {place} </dev/null"))
}

/// Gives both services the stories' password.
///
/// # Panics
/// It can't be written.
pub fn set_password(container: &Container) {
    container.run("mkdir -p /etc/stillwatch");
    container.put("/etc/stillwatch/relay.password", 0o600, format!("{PASSWORD}\n"));
}

/// That nothing of the system has failed, nor tries again and again.
///
/// # Panics
/// Something has, or does.
pub fn nothing_fails(container: &Container) {
    let failed =
        container.run("systemctl list-units --no-legend --plain --state=failed,auto-restart");
    assert_eq!(failed.trim(), "");
}

/// The newest picture of the container's relay, once it has one.
///
/// # Panics
/// None comes.
pub fn picture(container: &Container) -> Message {
    eventually("a picture", SOON, || container.inside(try_picture))
}

fn try_picture() -> Result<Message, String> {
    let answer = get(RELAY, "/live.jpeg").map_err(|error| error.to_string())?;
    if answer.status() == 200 { Ok(answer) } else { Err(answer.first) }
}

/// Sends a picture to the container's relay.
///
/// # Panics
/// It is refused.
pub fn upload(container: &Container, picture: &[u8]) {
    let path = format!("/?password={PASSWORD}");
    eventually("an upload that is taken", SOON, || {
        let send = || request(RELAY, "POST", &path, &[("Content-Type", "image/jpeg")], picture);
        match container.inside(send).map_err(|error| error.to_string())? {
            answer if (200..300).contains(&answer.status()) => Ok(()),
            answer => Err(format!("{} {}", answer.first, String::from_utf8_lossy(&answer.body))),
        }
    });
}

/// A property of a unit, as `systemctl show` has it.
///
/// # Panics
/// systemd does not answer.
pub fn property(container: &Container, unit: &str, name: &str) -> String {
    container.run(&format!("systemctl show --value -p {name} {unit}")).trim().to_owned()
}

/// Runs a command as the user `owner`, with the user's own systemd.
///
/// # Errors
/// The container does not run.
pub fn as_owner(container: &Container, command: &str) -> Result<Output, String> {
    let user = "runuser -u owner -- env HOME=/home/owner XDG_RUNTIME_DIR=/run/user/$(id -u owner)";
    container.try_run(SOON, &format!("{user} bash -c '{command}'"))
}
