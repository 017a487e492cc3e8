//! Runs the hook of a verb: an executable that does it, with a clean environment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime::heal::{Answer, Outcome, Verb};

use crate::site::Site;
use runtime::child::{End, Left, Ran, run};

/// What a hook ends with if there is nothing here to do it to (sysexits.h).
const EX_UNAVAILABLE: i32 = 69;

/// Hooks that hang in the kernel, at most: each may hold what the next one needs.
const MAX_LEFT: usize = 4;

/// One call of a hook.
#[derive(Debug)]
pub(crate) struct Hook<'a> {
    pub verb: Verb,
    pub device: Option<&'a str>,
    pub reason: &'a str,
    /// What a boot loader is told by a reboot; most often nothing.
    pub argument: &'a str,
    pub deadline: Duration,
}

impl Hook<'_> {
    /// Runs it, and says what became of it.
    pub(crate) async fn run(&self, site: &Site, left: &Left) -> Answer {
        let path = match site.hook(self.verb) {
            Ok(path) => path,
            Err(missing) => return answer(Outcome::Unavailable, no_hook(&missing)),
        };
        if left.count() >= MAX_LEFT {
            let said = format!("{MAX_LEFT} hooks hang in the kernel: no more until one comes back");
            return answer(Outcome::Refused, said);
        }
        let mut command = site.program(&path);
        command
            .env("STILLWATCH_DEVICE", self.device.unwrap_or_default())
            .env("STILLWATCH_REASON", self.reason)
            .env("STILLWATCH_ROOT", site.prefix())
            .env("STILLWATCH_STATE", site.memory());
        if !self.argument.is_empty() {
            command.env("STILLWATCH_ARGUMENT", self.argument);
        }
        judge(run(command, self.deadline, left).await, self.deadline, &path)
    }
}

fn no_hook(missing: &[PathBuf]) -> String {
    let all: Vec<String> = missing.iter().map(|path| path.display().to_string()).collect();
    format!("no hook does this: there is no executable {}", all.join(" or "))
}

fn judge(ran: Ran, deadline: Duration, path: &Path) -> Answer {
    let path = path.display();
    let (outcome, how) = match ran.end {
        End::Exited(status) if status.success() => (Outcome::Done, String::new()),
        End::Exited(status) if status.code() == Some(EX_UNAVAILABLE) => {
            (Outcome::Unavailable, String::new())
        }
        End::Exited(status) => (Outcome::Failed, format!("{path} ended with {status}")),
        End::NotStarted(error) => (Outcome::Failed, format!("{path} could not be run: {error}")),
        End::Late => {
            (Outcome::Failed, format!("{path} took longer than {deadline:?} and was killed"))
        }
        End::Stuck => (
            Outcome::Failed,
            format!("{path} hangs in the kernel since {deadline:?} and is left behind"),
        ),
    };
    let parts = [how, ran.output];
    let parts: Vec<&str> =
        parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    answer(outcome, parts.join(": "))
}

pub(crate) fn answer(outcome: Outcome, said: String) -> Answer {
    Answer { outcome, said }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::tests::site;

    #[tokio::test]
    async fn with_too_many_left_behind_none_is_run() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        std::fs::create_dir(folder.path().join("lib")).unwrap();
        let hook = folder.path().join("lib/clock-retry");
        std::os::unix::fs::symlink("/bin/true", hook).unwrap();
        let deadline = Duration::from_secs(20);
        let call =
            Hook { verb: Verb::ClockRetry, device: None, reason: "", argument: "", deadline };
        for (hanging, outcome) in [(MAX_LEFT - 1, Outcome::Done), (MAX_LEFT, Outcome::Refused)] {
            assert_eq!(call.run(&site, &Left::of(hanging)).await.outcome, outcome);
        }
    }
}
