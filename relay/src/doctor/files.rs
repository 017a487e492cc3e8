//! The configuration, and the passwords beside it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};
use runtime::settings::ConfigError;
use runtime::settings::written::read;

use super::finding::Finding;
use crate::config::{Config, KEYS};

/// Shorter passwords are found by trying.
const SHORT: usize = 12;

/// Settings of the unit that this program does not see.
const VARIABLES: &str = "/etc/default/stillwatch-relay";

/// Whether a file of variables (systemd.exec(5), EnvironmentFile) has any: the package's is all comments.
fn sets_something(text: &str) -> bool {
    text.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with(['#', ';']))
}

/// Whether the configuration can be used.
pub(super) fn configuration(file: &Path, config: &Result<Config, ConfigError>) -> Finding {
    let there = file.exists();
    let name = file.display();
    match config {
        Ok(config) if !config.unknown_variables.is_empty() => Finding::warning(
            "configuration",
            format!("these variables name no setting: {}", config.unknown_variables.join(", ")),
            "see docs/configuration.md for their names",
        ),
        Ok(_) if sets_something(&fs::read_to_string(VARIABLES).unwrap_or_default()) => {
            Finding::warning(
                "configuration",
                format!(
                    "{name} is good; {VARIABLES} has settings besides that are not looked at here"
                ),
                "better put them into the configuration file",
            )
        }
        Ok(_) if there => Finding::ok("configuration", format!("{name} is good")),
        Ok(_) => Finding::ok("configuration", "the defaults; there is no configuration file"),
        Err(ConfigError::Password(error)) => Finding::wrong(
            "passwords",
            error.to_string(),
            "as it says; if it is not yours to read, ask as root",
        ),
        Err(error) => {
            let fix = if there {
                "mend it; stillwatch-relay check-config says whether it is right"
            } else {
                "stillwatch-relay init"
            };
            Finding::wrong("configuration", error.to_string(), fix)
        }
    }
}

/// Passwords that are good to have, or too short.
pub(super) fn passwords(config: &Config) -> Vec<Finding> {
    let uploads = config.access.password.as_ref().map(|secret| secret.expose().len());
    let owner = config.access.owner.as_ref().map(|secret| secret.expose().len());
    judge_passwords(uploads, owner)
}

fn judge_passwords(uploads: Option<usize>, owner: Option<usize>) -> Vec<Finding> {
    let is_short = |length: &Option<usize>| length.is_some_and(|length| length < SHORT);
    let mut findings = Vec::new();
    for (whose, length) in [("the one for uploads", uploads), ("the owner's", owner)] {
        if is_short(&length) {
            findings.push(Finding::warning(
                "passwords",
                format!("{whose} has fewer than {SHORT} characters: it may be found by trying"),
                "take a longer one; stillwatch-relay init makes one where there is none",
            ));
        }
    }
    if owner.is_none() {
        findings.push(Finding::warning(
            "passwords",
            "there is none for its owner: the page /status is off",
            "stillwatch-relay init makes one, and keeps all others",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("passwords", "there, and only their owners can read them"));
    }
    findings
}

/// A file that the configuration names, and whether the unit's user may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    path: PathBuf,
    user: u32,
    group: u32,
    mode: u32,
}

/// Who the unit runs as.
#[derive(Debug, Clone, Copy)]
struct Relay {
    user: u32,
    group: u32,
}

/// Files that root can read, and the relay, which is another user, may not.
pub(super) fn named_files(file: &Path) -> Vec<Finding> {
    let user = User::from_name("stillwatch-relay").ok().flatten();
    let Some(user) = user.filter(|_| geteuid().is_root()) else { return Vec::new() };
    let relay = Relay { user: user.uid.as_raw(), group: user.gid.as_raw() };
    let text = fs::read_to_string(file).unwrap_or_default();
    let written = read(&text, KEYS, &[]).unwrap_or_default();
    let named =
        written.keys().filter(|key| key.ends_with("_file")).filter_map(|key| written.text(key));
    named
        .filter_map(|path| {
            let about = fs::metadata(path).ok()?;
            let path = path.into();
            judge_named(
                &Named { path, user: about.uid(), group: about.gid(), mode: about.mode() },
                relay,
            )
        })
        .collect()
}

fn judge_named(named: &Named, relay: Relay) -> Option<Finding> {
    let Named { path, user, group, mode } = named;
    let bits = if *user == relay.user {
        mode >> 6
    } else if *group == relay.group {
        mode >> 3
    } else {
        *mode
    };
    let path = path.display();
    (bits & 0o4 == 0).then(|| {
        Finding::wrong(
            "passwords",
            format!("{path}: the relay, whose user is stillwatch-relay, can't read it"),
            format!("chgrp stillwatch-relay {path} && chmod 640 {path}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn passwords_are_long_and_there() {
        let verdicts = |uploads, owner| {
            judge_passwords(uploads, owner).iter().map(|found| found.verdict).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(Some(34), Some(34)), [Verdict::Ok]);
        assert_eq!(verdicts(Some(4), Some(4)), [Verdict::Warning, Verdict::Warning]);
        assert_eq!(verdicts(Some(34), None), [Verdict::Warning]);
        // Cameras have their own.
        assert_eq!(verdicts(None, Some(34)), [Verdict::Ok]);
    }

    #[test]
    fn a_key_has_to_be_the_relays_to_read() {
        let relay = Relay { user: 990, group: 980 };
        for (user, group, mode, readable) in [
            (0, 0, 0o600, false),
            (0, 980, 0o640, true),
            (0, 980, 0o600, false),
            (990, 980, 0o600, true),
            (990, 980, 0o040, false),
            (0, 0, 0o644, true),
        ] {
            let named = Named { path: "/etc/stillwatch/garden.key".into(), user, group, mode };
            let found = judge_named(&named, relay);
            assert_eq!(found.is_none(), readable, "{named:?} {found:?}");
        }
    }
}
