//! What a first run prints.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use frame::CameraId;
use runtime::secret::Secret;

use crate::card;
use crate::units::Manager;

/// Whether the relay runs now.
#[derive(Debug)]
pub(super) enum Started {
    NotAsked,
    Units(Vec<&'static str>),
    /// systemd does not run here, or does not know the units: what starts them.
    NoUnits(String),
    /// What starts them, and why that failed.
    Failed(String, String),
    /// What starts it, without systemd.
    Command(String),
}

impl Started {
    pub(super) fn by_hand(manager: Manager, names: &[&str]) -> Started {
        Started::Command(manager.command(names))
    }
}

/// What is told.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub written: &'a [PathBuf],
    pub uploads: (&'a Path, &'a Secret),
    pub owner: (&'a Path, Option<&'a Secret>),
    pub url: &'a str,
    pub domain: Option<&'a str>,
    /// This machine's, as far as it knows.
    pub address: Option<IpAddr>,
    pub cameras: &'a [CameraId],
    /// Those that have a password of their own, which is not known here.
    pub own: &'a BTreeSet<CameraId>,
    pub started: &'a Started,
    /// If the programs have to be told.
    pub config: Option<&'a Path>,
    pub colour: bool,
}

/// All of it.
pub(super) fn text(facts: &Facts<'_>) -> String {
    let mut out = String::new();
    files(&mut out, facts);
    match facts.started {
        Started::NotAsked => {}
        Started::Units(names) => {
            out += &format!("\nThe relay runs, and will after each boot: {}\n", names.join(" "));
        }
        Started::NoUnits(command) => {
            out += &format!("\nsystemd does not know the relay here. Where it does: {command}\n");
        }
        Started::Failed(command, why) => {
            out += &format!("\nThe relay was not started: {why}\nTry again with: {command}\n");
        }
        Started::Command(command) => out += &format!("\nStart the relay with: {command}\n"),
    }
    if facts.cameras.is_empty() {
        on_the_card(&mut out, facts, None);
    }
    for camera in facts.cameras {
        on_the_card(&mut out, facts, Some(camera));
    }
    out += &format!("\nThe picture, once a camera sends it: {}\n", facts.url);
    if let Some(password) = facts.owner.1 {
        let (url, password) = (facts.url, password.expose());
        out += &format!("Your page: {url}status (any user name; password: {password})\n");
    }
    let todo = todo(facts);
    if !todo.is_empty() {
        out += "\nStill to do:\n";
        for line in todo {
            out += &format!("  * {line}\n");
        }
    }
    out += &format!("\nIs all well? {} doctor\n", program(facts));
    out
}

/// As it is called here.
fn program(facts: &Facts<'_>) -> String {
    let config = facts.config.map(|path| format!(" --config {}", path.display()));
    format!("stillwatch-relay{}", config.unwrap_or_default())
}

fn files(out: &mut String, facts: &Facts<'_>) {
    let mut told = vec![(facts.uploads.0, "the cameras' password")];
    if facts.owner.1.is_some() {
        told.push((facts.owner.0, "yours, for the page /status"));
    }
    let is_new = |path: &Path| facts.written.iter().any(|written| written == path);
    for (path, what) in told {
        let new = if is_new(path) { "written" } else { "kept as it was" };
        *out += &format!("{}: {new} ({what})\n", path.display());
    }
    let others =
        facts.written.iter().filter(|path| **path != facts.uploads.0 && **path != facts.owner.0);
    for path in others {
        *out += &format!("{}: written (settings)\n", path.display());
    }
}

fn on_the_card(out: &mut String, facts: &Facts<'_>, camera: Option<&CameraId>) {
    let id = camera.cloned().unwrap_or_default();
    if facts.own.contains(&id) {
        *out += &format!(
            "\nThe camera {id} has a password of its own, which is not shown here. For a new one, with the lines for \
             its card:\n  {} passwords rotate {id}\n",
            program(facts)
        );
        return;
    }
    let lines = card::lines(facts.url, facts.uploads.1, camera);
    let whose = camera.map_or_else(
        || "the camera's card".to_owned(),
        |id| format!("the card of the camera {id}"),
    );
    *out += &format!("\nOn {whose}, in stillwatch.toml:\n\n");
    *out += &card::indented(&lines);
    if let Some(code) = card::code(&lines, facts.colour) {
        *out += "\nThe same for a phone's camera, to copy:\n\n";
        *out += &code;
    }
}

fn todo(facts: &Facts<'_>) -> Vec<String> {
    let mut todo = Vec::new();
    match facts.domain {
        Some(domain) => {
            let kind = if facts.address.is_some_and(|ip| ip.is_ipv6()) { "AAAA" } else { "A" };
            let (address, why) = match facts.address {
                Some(address) if is_private(address) => (
                    "the address that the internet knows you by".to_owned(),
                    format!("; this machine's own, {address}, is one of the local network"),
                ),
                Some(address) => (format!("this machine's address {address}"), String::new()),
                None => ("this machine's address".to_owned(), String::new()),
            };
            todo.push(format!("DNS: {domain} needs a record ({kind}) with {address}{why}"));
            todo.push(
                "firewall, router: let TCP ports 80 and 443 through to this machine; the certificate comes by \
                 one of them"
                    .to_owned(),
            );
        }
        None if facts.url.starts_with("http://") => {
            todo.push(
                "a camera outside of the local network wants https: give the relay a name (--domain), or put it \
                 behind a proxy (--url; docs/deploy.md)"
                    .to_owned(),
            );
            if facts.url.contains("ADDRESS") {
                todo.push("put this machine's address in the place of ADDRESS".to_owned());
            }
        }
        None => {}
    }
    todo
}

/// Not for the internet.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address {
        // 100.64.0.0/10 is shared by a provider's customers.
        IpAddr::V4(ip) => {
            let shared = ip.octets().first() == Some(&100)
                && ip.octets().get(1).is_some_and(|b| b & 0xc0 == 64);
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static NONE: BTreeSet<CameraId> = BTreeSet::new();

    fn facts<'a>(
        domain: Option<&'a str>,
        url: &'a str,
        started: &'a Started,
        secret: &'a Secret,
    ) -> Facts<'a> {
        Facts {
            written: &[],
            uploads: (Path::new("/etc/stillwatch/relay.password"), secret),
            owner: (Path::new("/etc/stillwatch/owner.password"), Some(secret)),
            url,
            domain,
            address: Some([203, 0, 113, 7].into()),
            cameras: &[],
            own: &NONE,
            started,
            config: None,
            colour: false,
        }
    }

    #[test]
    fn what_is_left_to_do_depends_on_the_domain() {
        let secret = Secret::new("k7mq").unwrap();
        let text_of = |facts: &Facts<'_>| text(facts);
        let with =
            facts(Some("cam.example.org"), "https://cam.example.org/", &Started::NotAsked, &secret);
        let said = text_of(&with);
        assert!(said.contains("record (A) with this machine's address 203.0.113.7\n"), "{said}");
        assert!(said.contains("ports 80 and 443") && said.contains("kept as it was"), "{said}");
        assert!(
            said.contains("https://cam.example.org/status (any user name; password: k7mq)"),
            "{said}"
        );
        let inside = Facts { address: Some([192, 168, 1, 5].into()), ..with };
        assert!(text_of(&inside).contains("192.168.1.5, is one of the local network"));
        let without = facts(None, "http://203.0.113.7:5000/", &Started::NotAsked, &secret);
        let said = text_of(&without);
        assert!(said.contains("wants https") && !said.contains("DNS"), "{said}");
        assert!(said.contains("    url = \"http://203.0.113.7:5000/\"\n"), "{said}");
    }

    #[test]
    fn addresses_of_the_local_network() {
        for (address, private) in [
            ("10.1.2.3", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("8.8.8.8", false),
            ("fe80::1", true),
            ("fd00::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_private(address.parse().unwrap()), private, "{address}");
        }
    }
}
