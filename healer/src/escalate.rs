//! What is left when systemd has given up starting the agent: a reboot from the budget, else another
//! try every few minutes, for ever.

use std::convert::Infallible;
use std::time::Duration;

use runtime::clock;
use runtime::event::{About, Event};
use runtime::heal::{Outcome, Verb};
use tokio::time::sleep;

use crate::child::{Left, Ran, run as run_child};
use crate::cli;
use crate::down::{Down, SAID};
use crate::said::Said;
use crate::site::Site;

/// The unit that it is about.
const UNIT: &str = "stillwatch-agent.service";

/// The exit status of a wrong configuration: `runtime::settings::EXIT_CONFIG`, as systemd shows it.
const CONFIGURATION: &str = "78";

/// How long systemd may take to answer.
const ASKED_WITHIN: Duration = Duration::from_secs(20);

/// How the agent failed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Failure {
    /// No reboot mends it.
    Configuration,
    /// What systemd knows of it.
    Other(String),
}

/// From what `systemctl show` prints.
fn judge(shown: &str) -> Failure {
    let value = |name: &str| {
        let found =
            shown.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.filter(|value| !value.is_empty()).unwrap_or("unknown")
    };
    let (status, result) = (value("ExecMainStatus"), value("Result"));
    if status == CONFIGURATION {
        return Failure::Configuration;
    }
    Failure::Other(format!("result {result}, exit status {status}"))
}

impl Failure {
    fn sentence(&self, pause: Duration) -> String {
        match self {
            Failure::Configuration => format!(
                "the agent does not start: its configuration is wrong (stillwatch-agent check-config \
                 says where); trying again in {pause:?}"
            ),
            Failure::Other(what) => format!("the agent does not stay up: {what}"),
        }
    }
}

/// Does it.
///
/// # Errors
/// None: it does what can be done.
pub(crate) async fn run(escalate: cli::Escalate) -> Result<(), Infallible> {
    let (pause, pause_config) = (escalate.pause, escalate.pause_config);
    let site = Site::new(escalate.places);
    if let Err(error) = site.make() {
        tracing::warn!("the healer's folders could not be made: {error}");
    }
    let shown = systemctl(&site, &["show", "-p", "ExecMainStatus", "-p", "Result", UNIT]).await;
    let failure = judge(&shown.output);
    let pause = match failure {
        Failure::Configuration => Duration::from_secs(pause_config),
        Failure::Other(_) => Duration::from_secs(pause),
    };
    let sentence = failure.sentence(pause);
    say(&site, &sentence);
    if let Failure::Other(_) = failure {
        reboot(&site, &sentence, pause).await;
    }
    // If the machine reboots, this is where it ends.
    sleep(pause).await;
    start_again(&site).await;
    Ok(())
}

fn say(site: &Site, sentence: &str) {
    let mut said = Said::read(&site.run(SAID));
    if said.result("escalate", clock::mono(), false) {
        Event::AgentFailed.say(About::organ("agent"), format_args!("{sentence}"));
    } else {
        tracing::debug!("again: {sentence}");
    }
    said.write(&site.run(SAID));
}

async fn reboot(site: &Site, reason: &str, pause: Duration) {
    let down = Down { rung: "start-limit", reason, deadline: Verb::Reboot.deadline() };
    let answer = down.reboot(site, &Left::default()).await;
    if answer.outcome != Outcome::Done {
        tracing::debug!("no reboot ({}): trying the agent again in {pause:?}", answer.said);
    }
}

async fn start_again(site: &Site) {
    // Somebody may have started it, or stopped it for good, meanwhile.
    if !systemctl(site, &["is-failed", "--quiet", UNIT]).await.succeeded() {
        return;
    }
    systemctl(site, &["reset-failed", UNIT]).await;
    let started = systemctl(site, &["start", "--no-block", UNIT]).await;
    if !started.succeeded() {
        tracing::warn!("{UNIT} could not be started: {:?} {}", started.end, started.output);
    }
}

async fn systemctl(site: &Site, arguments: &[&str]) -> Ran {
    let mut command = site.program("systemctl");
    command.args(arguments);
    run_child(command, ASKED_WITHIN, &Left::default()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_configuration_is_told_apart() {
        let other = |text: &str| Failure::Other(text.to_owned());
        for (shown, failure) in [
            ("ExecMainStatus=78 Result=exit-code", Failure::Configuration),
            ("Result=start-limit-hit\nExecMainStatus=78\n", Failure::Configuration),
            ("ExecMainStatus=6 Result=watchdog", other("result watchdog, exit status 6")),
            ("ExecMainStatus=1 Result=", other("result unknown, exit status 1")),
            ("", other("result unknown, exit status unknown")),
        ] {
            assert_eq!(judge(shown), failure, "{shown}");
        }
        assert_eq!(CONFIGURATION, runtime::settings::EXIT_CONFIG.to_string());
    }
}
