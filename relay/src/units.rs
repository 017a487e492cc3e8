//! The relay's systemd units, as its command line sees them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use runtime::child::{End, Left, Ran, run};
use tokio::process::Command;

/// The relay itself.
pub(crate) const SERVICE: &str = "stillwatch-relay.service";

/// Opens port 5000 before it.
pub(crate) const SOCKET: &str = "stillwatch-relay.socket";

/// Opens ports 80 and 443, where the relay has a domain.
pub(crate) const WEB_SOCKET: &str = "stillwatch-relay-web.socket";

/// A start waits until the relay says that it is ready: the unit gives it 90 s.
const START_WITHIN: Duration = Duration::from_secs(120);

/// Anything else.
const ASK_WITHIN: Duration = Duration::from_secs(10);

/// What decides which units a relay needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    /// It answers at HTTPS.
    pub https: bool,
    /// `relay.listen` is the default.
    pub usual_port: bool,
}

/// Who runs units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manager {
    System,
    /// The user's own.
    User,
}

/// Those that a relay needs. Where it is to listen elsewhere than usual, port 5000 is not opened for it: it would
/// refuse to run (`sockets.rs`).
pub(crate) fn of_relay(needs: Needs) -> Vec<&'static str> {
    let all = [(needs.usual_port, SOCKET), (needs.https, WEB_SOCKET), (true, SERVICE)];
    all.into_iter().filter_map(|(needed, name)| needed.then_some(name)).collect()
}

impl Manager {
    /// Of whoever runs this.
    pub(crate) fn own() -> Manager {
        if nix::unistd::geteuid().is_root() { Manager::System } else { Manager::User }
    }

    /// Whether systemd runs here, and knows the relay.
    pub(crate) async fn has_units(self) -> bool {
        // sd_booted(3).
        Path::new("/run/systemd/system").is_dir() && self.ask(&["cat", SERVICE]).await.succeeded()
    }

    /// What starts them by hand.
    pub(crate) fn command(self, names: &[&str]) -> String {
        let user = if self == Manager::User { " --user" } else { "" };
        format!("systemctl{user} enable --now {}", names.join(" "))
    }

    /// Starts them, now and at each boot; in words if that fails.
    pub(crate) async fn enable(self, names: &[&str]) -> Result<(), String> {
        let mut arguments = vec!["enable", "--now"];
        arguments.extend(names);
        let ran = self.systemctl(&arguments, START_WITHIN).await;
        if ran.succeeded() {
            return Ok(());
        }
        Err(match ran.end {
            End::Late | End::Stuck => "systemctl does not come to an end".to_owned(),
            End::NotStarted(error) => format!("systemctl: {error}"),
            End::Exited(_) => ran.output,
        })
    }

    /// Stops one, if it runs.
    pub(crate) async fn stop(self, name: &str) {
        // What does not stop is told by the start that follows.
        let _ = self.systemctl(&["stop", name], START_WITHIN).await;
    }

    /// What systemd says of a unit: its properties without blanks in their values.
    pub(crate) async fn properties(self, name: &str, of: &[&str]) -> BTreeMap<String, String> {
        let wanted = format!("--property={}", of.join(","));
        let ran = self.ask(&["show", name, &wanted]).await;
        let said = if ran.succeeded() { ran.output } else { String::new() };
        let pairs = said.split_whitespace().filter_map(|word| word.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    async fn ask(self, arguments: &[&str]) -> Ran {
        self.systemctl(arguments, ASK_WITHIN).await
    }

    async fn systemctl(self, arguments: &[&str], within: Duration) -> Ran {
        let mut command = Command::new("systemctl");
        if self == Manager::User {
            command.arg("--user");
        }
        command.arg("--no-pager").arg("--no-ask-password").args(arguments);
        run(command, within, &Left::default()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_started_for_a_relay_that_takes_it() {
        for (https, usual_port, names) in [
            (false, true, &[SOCKET, SERVICE][..]),
            (true, true, &[SOCKET, WEB_SOCKET, SERVICE]),
            // It would refuse to run: the socket is not where it is to listen.
            (true, false, &[WEB_SOCKET, SERVICE]),
            (false, false, &[SERVICE]),
        ] {
            assert_eq!(of_relay(Needs { https, usual_port }), names);
        }
    }
}
