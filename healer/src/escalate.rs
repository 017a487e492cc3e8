//! What is left when systemd has given up starting the agent: a reboot from the budget, else another
//! try every few minutes, for ever.

use std::convert::Infallible;
use std::time::Duration;

use runtime::clock;
use runtime::event::{About, Event};
use runtime::heal::{Outcome, Verb};
use tokio::time::sleep;

use crate::cli;
use crate::down::{Down, SAID};
use crate::said::Said;
use crate::site::Site;
use runtime::child::{Left, Ran, run as run_child};

/// The unit that it is about.
const UNIT: &str = "stillwatch-agent.service";

/// The exit status of a wrong configuration: `runtime::settings::EXIT_CONFIG`, as systemd shows it.
const CONFIGURATION: &str = "78";

/// How long systemd may take to answer.
const ASKED_WITHIN: Duration = Duration::from_secs(20);

/// How long systemd may take from a failure to the next start, or to giving up.
const DECIDED_WITHIN: Duration = Duration::from_secs(20);

/// How often it is asked meanwhile.
const AGAIN: Duration = Duration::from_millis(500);

/// What is asked of systemd.
const SHOW: [&str; 8] = ["show", "-p", "SubState", "-p", "ExecMainStatus", "-p", "Result", UNIT];

/// How the agent failed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Failure {
    /// No reboot mends it.
    Configuration,
    /// What systemd knows of it.
    Other(String),
}

/// Whether systemd has given up the agent, by what `systemctl show` prints; `None`: that is not decided.
/// Since version 254 `OnFailure=` comes with every failure, those included after which systemd starts it
/// again by itself (systemd.service(5), `RestartMode=`).
fn has_given_up(shown: &str) -> Option<bool> {
    match value(shown, "SubState") {
        "failed" => Some(true),
        // Somebody stopped it, or it is up again.
        "dead" | "running" | "unknown" => Some(false),
        _ => None,
    }
}

/// From what `systemctl show` prints.
fn value<'a>(shown: &'a str, name: &str) -> &'a str {
    let mut words = shown.split_whitespace();
    let found = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    found.filter(|value| !value.is_empty()).unwrap_or("unknown")
}

/// From the same.
fn judge(shown: &str) -> Failure {
    let (status, result) = (value(shown, "ExecMainStatus"), value(shown, "Result"));
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
    let Some(shown) = given_up(&site).await else { return Ok(()) };
    let failure = judge(&shown);
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

/// What systemd says of the agent once it has given it up; `None`: it has not.
async fn given_up(site: &Site) -> Option<String> {
    let began = clock::mono();
    loop {
        let shown = systemctl(site, &SHOW).await.output;
        match has_given_up(&shown) {
            Some(given_up) => return given_up.then_some(shown),
            None if clock::mono().since(began) > DECIDED_WITHIN => return None,
            None => sleep(AGAIN).await,
        }
    }
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
    let down =
        Down { rung: "start-limit", reason, argument: "", deadline: Verb::Reboot.deadline() };
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
    fn a_failure_that_systemd_still_deals_with_is_none_of_ours() {
        for (state, given_up) in [
            ("failed", Some(true)),
            ("running", Some(false)),
            ("dead", Some(false)),
            ("failed-before-auto-restart", None),
            ("auto-restart", None),
            ("auto-restart-queued", None),
            ("start", None),
        ] {
            let shown = format!("Result=exit-code\nSubState={state}\n");
            assert_eq!(has_given_up(&shown), given_up, "{state}");
        }
        assert_eq!(has_given_up(""), Some(false));
    }

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
