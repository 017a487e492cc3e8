//! The process: whether it runs, whether it would after a reboot, and what listens at its port.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use serde::Deserialize;

use super::finding::Finding;
use crate::units::{self, Manager, Needs, SERVICE, SOCKET, WEB_SOCKET};

/// What is asked of systemd.
const PROPERTIES: [&str; 6] =
    ["ActiveState", "UnitFileState", "WatchdogUSec", "NRestarts", "LimitNOFILE", "Listen"];

/// Descriptors that are no connections: files, sockets of its own.
const OTHER_FILES: u64 = 64;

/// What `/healthz` says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Health {
    pub version: String,
    pub instance: String,
    pub persistence: String,
    pub persistence_problem: Option<String>,
}

/// Who answers at the relay's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Relay(Health),
    /// Something that is no relay of ours, or an earlier one.
    Other(String),
    /// Nothing listens there.
    Nothing,
    /// It takes the connection, and is silent.
    Silent(String),
}

/// Its units.
pub(super) type Units = BTreeMap<&'static str, BTreeMap<String, String>>;

/// What systemd says of them; `None` where it does not run.
pub(super) async fn units(manager: Manager) -> Option<Units> {
    if !manager.has_units().await {
        return None;
    }
    let mut units = Units::new();
    for name in [SERVICE, SOCKET, WEB_SOCKET] {
        units.insert(name, manager.properties(name, &PROPERTIES).await);
    }
    Some(units)
}

/// Whether it runs as a unit, and comes again.
pub(super) fn judge_units(
    units: Option<&Units>,
    manager: Manager,
    needs: Needs,
    connections: u64,
) -> Vec<Finding> {
    let Some(units) = units else {
        return vec![Finding::warning(
            "unit",
            "systemd does not run here, or does not know the relay: nobody restarts it, and nobody starts it after a reboot",
            "install its package, or the units by hand (systemd/README.md)",
        )];
    };
    let mut findings = started(units, manager, needs);
    // Of a unit that does not run systemd says nothing true.
    if property(units, SERVICE, "ActiveState") == "active" {
        findings.extend(limits(units, connections));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("unit", format!("{SERVICE} runs, and will after a reboot")));
    }
    findings
}

fn property<'a>(units: &'a Units, name: &str, key: &str) -> &'a str {
    units.get(name).and_then(|unit| unit.get(key)).map(String::as_str).unwrap_or_default()
}

fn started(units: &Units, manager: Manager, needs: Needs) -> Vec<Finding> {
    let wanted = units::of_relay(needs);
    let mut findings = Vec::new();
    let state = property(units, SERVICE, "ActiveState");
    if state != "active" {
        let user = if manager == Manager::User { "--user " } else { "" };
        let enable = manager.command(&wanted);
        findings.push(Finding::wrong(
            "unit",
            format!("{SERVICE} is {state}"),
            format!("{enable}; journalctl {user}-u {SERVICE} says why it ended"),
        ));
    }
    // A socket that was not installed has no state.
    let is_off = |name: &&str| {
        let state = property(units, name, "UnitFileState");
        !state.is_empty() && !matches!(state, "enabled" | "enabled-runtime")
    };
    let off: Vec<&str> = wanted.iter().copied().filter(is_off).collect();
    if !off.is_empty() {
        let says = format!("would not start after a reboot: {}", off.join(" "));
        findings.push(Finding::warning("unit", says, manager.command(&off)));
    }
    findings
}

fn limits(units: &Units, connections: u64) -> Vec<Finding> {
    let number = |key: &str| property(units, SERVICE, key).parse::<u64>().ok();
    let mut findings = Vec::new();
    if matches!(property(units, SERVICE, "WatchdogUSec"), "0" | "infinity") {
        findings.push(Finding::warning(
            "unit",
            "its watchdog is off: a relay that hangs would not be restarted",
            format!("systemctl revert {SERVICE}, or WatchdogSec=30 in it"),
        ));
    }
    if let Some(files) = number("LimitNOFILE").filter(|files| *files < connections + OTHER_FILES) {
        findings.push(Finding::warning(
            "unit",
            format!("LimitNOFILE is {files}, and relay.max_connections {connections}: viewers would be turned away"),
            "raise the one, or lower the other",
        ));
    }
    if let Some(restarts) = number("NRestarts").filter(|restarts| *restarts > 0) {
        findings.push(Finding::warning(
            "unit",
            format!("systemd had to restart it {restarts} times"),
            format!("journalctl -u {SERVICE} -p warning says why"),
        ));
    }
    findings
}

/// Where systemd listens for it, which wins over what the configuration says.
pub(super) fn passed(units: &Units) -> Option<SocketAddr> {
    let is_open = property(units, SOCKET, "ActiveState") == "active";
    property(units, SOCKET, "Listen").parse().ok().filter(|_| is_open)
}

/// Where a program on this machine reaches who listens on `address`.
pub(super) fn from_here(address: SocketAddr) -> SocketAddr {
    // `[::]` takes IPv4 too, and that is there on each machine.
    let ip = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
    SocketAddr::new(ip, address.port())
}

/// Whether the right one listens there.
pub(super) fn judge_answer(address: SocketAddr, answer: &Answer, ours: &str) -> Vec<Finding> {
    let port = "port";
    let fix = "choose another port (relay.listen), or stop that program (ss -ltnp shows which)";
    match answer {
        Answer::Nothing => vec![Finding::wrong(
            port,
            format!("nothing listens on {address}: the relay does not run, or elsewhere"),
            "start it: stillwatch-relay init says how; its log says what is wrong (journalctl -u stillwatch-relay)",
        )],
        Answer::Other(what) => {
            vec![Finding::wrong(port, format!("another program listens on {address}: {what}"), fix)]
        }
        Answer::Silent(why) => {
            vec![Finding::wrong(port, format!("{address} does not answer: {why}"), fix)]
        }
        Answer::Relay(health) => {
            let mut findings = vec![Finding::ok(port, format!("the relay listens on {address}"))];
            findings.push(if health.version == ours {
                Finding::ok("version", format!("{ours} runs"))
            } else {
                Finding::warning(
                    "version",
                    format!("{} runs, and {ours} is installed", health.version),
                    "systemctl restart stillwatch-relay.service",
                )
            });
            findings.push(match (health.persistence.as_str(), &health.persistence_problem) {
                ("works", _) => Finding::ok("keeping", "pictures are kept through a restart"),
                ("opening", _) => Finding::ok("keeping", "the database is being opened"),
                (word, problem) => Finding::wrong(
                    "keeping",
                    problem.clone().unwrap_or_else(|| word.to_owned()),
                    "as it says; pictures are shown, and not kept",
                ),
            });
            findings
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn needs(https: bool) -> Needs {
        Needs { https, usual_port: true }
    }

    fn unit(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn good() -> Units {
        let service = unit(&[
            ("ActiveState", "active"),
            ("UnitFileState", "enabled"),
            ("WatchdogUSec", "30s"),
            ("NRestarts", "0"),
            ("LimitNOFILE", "65536"),
        ]);
        let socket = unit(&[("ActiveState", "active"), ("UnitFileState", "enabled")]);
        Units::from([(SERVICE, service), (SOCKET, socket.clone()), (WEB_SOCKET, socket)])
    }

    #[test]
    fn units_that_would_not_come_again_are_told() {
        let judge = |units: &Units| judge_units(Some(units), Manager::System, needs(true), 4096);
        assert_eq!(judge(&good())[0].verdict, Verdict::Ok);
        for (name, key, value, verdict, says) in [
            (
                SERVICE,
                "ActiveState",
                "failed",
                Verdict::Wrong,
                "stillwatch-relay.service is failed",
            ),
            (
                SERVICE,
                "UnitFileState",
                "disabled",
                Verdict::Warning,
                "after a reboot: stillwatch-relay.service",
            ),
            (
                WEB_SOCKET,
                "UnitFileState",
                "disabled",
                Verdict::Warning,
                "stillwatch-relay-web.socket",
            ),
            (SERVICE, "WatchdogUSec", "0", Verdict::Warning, "watchdog is off"),
            (SERVICE, "LimitNOFILE", "1024", Verdict::Warning, "LimitNOFILE is 1024"),
            (SERVICE, "NRestarts", "3", Verdict::Warning, "restart it 3 times"),
        ] {
            let mut units = good();
            units.get_mut(name).unwrap().insert(key.to_owned(), value.to_owned());
            let found = judge(&units);
            assert!(
                found.len() == 1 && found[0].verdict == verdict && found[0].says.contains(says),
                "{found:?}"
            );
        }
        // Without a domain nobody asks for ports 80 and 443, and an installation by hand may have no sockets.
        let mut units = good();
        units.remove(SOCKET);
        units.remove(WEB_SOCKET);
        assert_eq!(
            judge_units(Some(&units), Manager::System, needs(false), 4096)[0].verdict,
            Verdict::Ok
        );
        assert_eq!(
            judge_units(None, Manager::System, needs(false), 4096)[0].verdict,
            Verdict::Warning
        );
    }

    #[test]
    fn who_answers() {
        let address = "127.0.0.1:5000".parse().unwrap();
        let health = Health {
            version: "0.1.0".to_owned(),
            instance: "ab".to_owned(),
            persistence: "works".to_owned(),
            persistence_problem: None,
        };
        let worst = |answer: &Answer| {
            judge_answer(address, answer, "0.1.0")
                .into_iter()
                .max_by_key(|found| found.verdict)
                .unwrap()
        };
        assert_eq!(worst(&Answer::Relay(health.clone())).verdict, Verdict::Ok);
        let older = Health { version: "0.0.9".to_owned(), ..health.clone() };
        assert_eq!(worst(&Answer::Relay(older)).says, "0.0.9 runs, and 0.1.0 is installed");
        let problem = Some("the disk is full".to_owned());
        let full =
            Health { persistence: "degraded".to_owned(), persistence_problem: problem, ..health };
        assert_eq!(worst(&Answer::Relay(full)).says, "the disk is full");
        for answer in
            [Answer::Nothing, Answer::Other("404".to_owned()), Answer::Silent("late".to_owned())]
        {
            assert_eq!(worst(&answer).verdict, Verdict::Wrong);
        }
    }

    #[test]
    fn a_socket_of_systemds_wins() {
        let mut units = good();
        assert_eq!(passed(&units), None);
        units.get_mut(SOCKET).unwrap().insert("Listen".to_owned(), "[::]:8080".to_owned());
        assert_eq!(passed(&units), Some("[::]:8080".parse().unwrap()));
        units.get_mut(SOCKET).unwrap().insert("ActiveState".to_owned(), "inactive".to_owned());
        assert_eq!(passed(&units), None);
    }

    #[test]
    fn addresses_from_here() {
        for (listens, asked) in [
            ("[::]:5000", "127.0.0.1:5000"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("192.0.2.1:5000", "192.0.2.1:5000"),
        ] {
            assert_eq!(from_here(listens.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
