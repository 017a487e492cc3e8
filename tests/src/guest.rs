//! What is installed in the guest of the stories in `tests/machine.rs`: what our packages install, what
//! its owner configured, and the test bed's side of cameras and networks (`tests/guest/`).

use std::fs;
use std::path::Path;
use std::time::Duration;

use testbed::eventually::eventually;
use testbed::http::get;
use testbed::machine::{HOST, Machine, Payload};
use testbed::program::binary;

use crate::{PASSWORD, Relay, of_repository};

/// How long anything may take in a machine that should happen soon: it is some twenty times slower than
/// a Pi.
pub const SOON: Duration = Duration::from_secs(400);

/// What installing the agent installs, each file in its place, and the unit enabled.
///
/// # Panics
/// It is not built.
pub fn packages() -> Payload {
    install(Payload::new(), "agent").enable("stillwatch-agent.service")
}

/// With the healer beside the agent.
///
/// # Panics
/// It is not built.
#[must_use]
pub fn with_healer(payload: Payload) -> Payload {
    install(payload, "healer")
        .enable_for("sockets.target", "stillwatch-healer.socket")
        .enable("stillwatch-boot.service")
}

/// The same, configured to upload to `relay`. `settings` are further sections and keys of agent.toml.
///
/// # Panics
/// As above.
pub fn agent_for(relay: &Relay, settings: &str) -> Payload {
    let url = format!("http://{HOST}:{}/", relay.address.port());
    // Nobody synchronises the guest's clock, and it is this machine's.
    let fixed = format!("agent.clock = \"trusted\"\nupload.relay = \"{url}\"\n");
    packages().file("/etc/stillwatch/agent.toml", 0o644, fixed + settings).file(
        "/etc/stillwatch/relay.password",
        0o600,
        format!("{PASSWORD}\n"),
    )
}

/// With the kernel's own test camera (vivid), which moves.
#[must_use]
pub fn with_vivid(payload: Payload) -> Payload {
    payload
        .file("/etc/modules-load.d/vivid.conf", 0o644, "vivid\n")
        // One device that captures.
        .file("/etc/modprobe.d/vivid.conf", 0o644, "options vivid n_devs=1 node_types=0x1\n")
}

/// The key of the access point and of the guest's configuration, at first.
pub const KEY: &str = "the-right-key";

/// As the image has it, without a configuration: provisioning, the setup access point and the units around
/// them. Nearby are an access point ([`access_point`]), and a phone ([`phone`]). The card is a folder.
///
/// # Panics
/// It is not built.
#[must_use]
pub fn with_setup(payload: Payload) -> Payload {
    let mut payload = install(with_script(payload, "access-point"), "provision")
        .file("/var/lib/access-point/key", 0o600, format!("{KEY}\n"))
        .file("/etc/modprobe.d/mac80211_hwsim.conf", 0o644, "options mac80211_hwsim radios=3\n")
        .install(&of_repository("tests/guest/phone.sh"), "/usr/lib/guest/phone.sh", 0o755)
        // It brings what a phone has and the guest has not: a DHCP client.
        .install(Path::new("/bin/busybox"), "/usr/lib/guest/busybox", 0o755)
        .file("/boot/firmware/README", 0o644, "the card\n")
        // In the image the initrd does that.
        .link("/etc/stillwatch", "/run/stillwatch/etc")
        .file("/etc/tmpfiles.d/etc.conf", 0o644, "d /run/stillwatch/etc 0755\n")
        .enable_for("sysinit.target", "stillwatch-provision.service")
        .enable("stillwatch-setup.service");
    for file in [
        "udev/rules.d/70-stillwatch-wifi.rules",
        "systemd/system/wpa_supplicant@.service.d/60-stillwatch.conf",
        "systemd/system/stillwatch-agent.service.d/60-provisioned.conf",
    ] {
        let of_image = of_repository("image/root/usr/lib").join(file);
        payload = payload.install(&of_image, &format!("/usr/lib/{file}"), 0o644);
    }
    payload
}

/// Has the phone near the guest do something, such as `join NAME PASSWORD` (`tests/guest/phone.sh`). Returns
/// what it says.
///
/// # Panics
/// It fails.
pub fn phone(guest: &Machine, what: &str) -> String {
    guest.run(&format!("/usr/lib/guest/phone.sh {what}"))
}

/// Tells the access point `on`, `off`, `key KEY`, or `vanish` (`tests/guest/access-point.sh`).
///
/// # Panics
/// It does not do it.
pub fn access_point(guest: &Machine, what: &str) {
    guest.run(&format!("/usr/lib/guest/access-point.sh {what}"));
}

/// With systemd as the one who feeds the machine's watchdog, which resets it after 15 s without.
#[must_use]
pub fn with_watchdog(payload: Payload) -> Payload {
    let settings = "[Manager]\nRuntimeWatchdogSec=15s\n";
    payload.file("/etc/systemd/system.conf.d/watchdog.conf", 0o644, settings)
}

/// Waits until `relay` got two pictures that it does not have yet. Two: one may have been on its way.
///
/// # Panics
/// They don't come.
pub fn new_pictures(what: &str, relay: &Relay, deadline: Duration) {
    let mut seen = mark(relay);
    for _ in 0..2 {
        seen = eventually(&format!("a new picture {what}"), deadline, || match mark(relay) {
            mark if mark.is_some() && mark != seen => Ok(mark),
            mark => Err(format!("{mark:?}")),
        });
    }
}

/// What tells the relay's newest picture from others. Numbers begin anew with the agent.
fn mark(relay: &Relay) -> Option<(String, String)> {
    let answer = get(relay.address, "/live.jpeg").ok()?;
    let value = |name: &str| answer.header(name).map(str::to_owned);
    value("frame-captured-at").zip(value("frame-seq"))
}

/// With `tests/guest/NAME.sh` as a service.
fn with_script(payload: Payload, name: &str) -> Payload {
    let folder = of_repository("tests/guest");
    let (script, unit) = (format!("{name}.sh"), format!("{name}.service"));
    payload
        .install(&folder.join(&script), &format!("/usr/lib/guest/{script}"), 0o755)
        .install(&folder.join(&unit), &format!("/usr/lib/systemd/system/{unit}"), 0o644)
        .enable(&unit)
}

/// With what `systemd/payload` lists for `part`.
fn install(mut payload: Payload, part: &str) -> Payload {
    for line in list().lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [of, how, what, place] = *words.as_slice() else { continue };
        if of != part {
            continue;
        }
        let place = |name: &str| match place.strip_suffix('/') {
            Some(folder) => format!("{folder}/{}", name.rsplit('/').next().unwrap_or(name)),
            None => place.to_owned(),
        };
        payload = match how {
            "program" => payload.install(&binary(what), &place(what), 0o755),
            "link" => payload.link(&place(what), what),
            mode => {
                let mode = u32::from_str_radix(mode, 8).expect("a mode");
                let names = match what.strip_suffix("/*") {
                    Some(folder) => files(&format!("systemd/{folder}"))
                        .iter()
                        .map(|name| format!("{folder}/{name}"))
                        .collect(),
                    None => vec![what.to_owned()],
                };
                names.iter().fold(payload, |payload, name| {
                    payload.install(&of_repository("systemd").join(name), &place(name), mode)
                })
            }
        };
    }
    payload
}

/// What is installed where.
fn list() -> String {
    let text = fs::read_to_string(of_repository("systemd/payload")).expect("systemd/payload");
    text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

/// The names of the files in a folder of the repository.
fn files(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(of_repository(folder)).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_systemd_has_a_place() {
        let list = list();
        let known: Vec<&str> =
            list.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
        for file in files("systemd") {
            let elsewhere = ["README.md", "install", "payload"].contains(&file.as_str());
            assert!(elsewhere || known.contains(&file.as_str()), "systemd/{file}");
        }
    }
}
