//! How the running agent is: written by it each second half, read by `stillwatch-agent status`.

use std::io;
use std::path::Path;
use std::time::Duration;

use frame::report::{Rejected, Update};
use ladder::Mono;
use runtime::clock;
use runtime::heal::Outcome;
use runtime::settings::duration_text;
use serde::{Deserialize, Serialize};

use crate::health::{Organ, rounded};

/// The status file's content.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub version: String,
    pub pid: u32,
    /// Milliseconds since boot.
    pub written_ms: u128,
    pub uptime_ms: u128,
    pub camera_id: String,
    pub relay: String,
    /// The line of `systemctl status`.
    pub line: String,
    pub fps: f64,
    /// Broken pictures that were left out.
    pub frames_corrupt: u64,
    /// Frames that a newer one replaced before they could be sent.
    pub frames_replaced: u64,
    pub watchdog_withheld: bool,
    pub camera: OrganStatus,
    pub upload: OrganStatus,
    /// What the network is like from here, as a sentence.
    pub network: String,
    pub ladders: Vec<LadderStatus>,
    /// The last ones, the newest first.
    pub cures: Vec<CureStatus>,
    /// Only a reboot is left, and none is.
    pub safe_mode: bool,
    /// `None`: there is no healer.
    pub reboots_left: Option<u32>,
    /// Why the machine was started last.
    pub booted: Option<String>,
    /// Whether the supply's voltage is too low now; `None`: nobody says.
    #[serde(default)]
    pub undervoltage: Option<bool>,
    /// The version of the whole system; `None`: it can't be updated here.
    #[serde(default)]
    pub system: Option<String>,
    #[serde(default)]
    pub slot: Option<String>,
    /// What an update of it does.
    #[serde(default)]
    pub update: Option<Update>,
    /// The last version that was not kept.
    #[serde(default)]
    pub rejected: Option<Rejected>,
}

/// An organ that is healed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LadderStatus {
    pub organ: String,
    /// For how long it has been ill; `None`: it is well.
    pub ill_ms: Option<u128>,
    /// What was tried last.
    pub rung: Option<String>,
    /// All was tried in vain; it begins anew later.
    pub resting: bool,
}

/// What was done about an organ.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CureStatus {
    pub organ: String,
    pub rung: String,
    /// What became of the act itself; whether it helped has to be seen.
    pub outcome: Outcome,
    pub ago_ms: u128,
}

/// One organ's part of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OrganStatus {
    pub successes: u64,
    pub failures: u64,
    pub last_success_ms: Option<u128>,
    /// What is wrong now, and for how long it has been.
    pub trouble: Option<String>,
    pub trouble_ms: Option<u128>,
}

impl OrganStatus {
    pub(crate) fn of<F: Clone>(organ: &Organ<F>, now: Mono) -> OrganStatus {
        let mark = organ.progress.get();
        let trouble = organ.trouble();
        OrganStatus {
            successes: mark.count,
            failures: organ.failures(),
            last_success_ms: mark.age(now).map(|age| age.as_millis()),
            trouble_ms: trouble.as_ref().map(|trouble| now.since(trouble.since).as_millis()),
            trouble: trouble.map(|trouble| trouble.failure.cause),
        }
    }
}

/// A file older than this is one that a killed agent left behind.
const OUTDATED: Duration = Duration::from_secs(10);

/// LSB's exit status of `status`: the program is not running.
const NOT_RUNNING: u8 = 3;

/// What a status file says.
#[derive(Debug)]
pub(crate) enum Found {
    Running(Box<Status>),
    /// And why that is believed.
    NotRunning(String),
    /// And why.
    Unreadable(String),
}

/// Reads the status of the agent that writes `path`.
pub(crate) fn find(path: &Path) -> Found {
    let name = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Found::NotRunning(format!("there is no {name}"));
        }
        Err(error) => return Found::Unreadable(format!("{name}: can't read the status: {error}")),
    };
    let status: Status = match serde_json::from_str(&text) {
        Ok(status) => status,
        Err(error) => {
            return Found::Unreadable(format!("{name}: not a status of this version: {error}"));
        }
    };
    let age = clock::mono().since_boot().as_millis().saturating_sub(status.written_ms);
    if age > OUTDATED.as_millis() {
        return Found::NotRunning(format!("its last status is {} old", text_of(age)));
    }
    Found::Running(Box::new(status))
}

/// Prints the status of the agent that writes `path`. Returns the exit status: 0 if all is well, 1
/// if something is wrong, 3 if no agent runs.
pub(crate) fn report(path: &Path, json: bool) -> u8 {
    let status = match find(path) {
        Found::Running(status) => status,
        Found::NotRunning(why) => {
            println!("stillwatch-agent does not run ({why})");
            return NOT_RUNNING;
        }
        Found::Unreadable(why) => {
            eprintln!("{why}");
            return 1;
        }
    };
    if json {
        crate::print_json(&status);
    } else {
        print!("{}", text(&status));
    }
    u8::from(status.camera.trouble.is_some() || status.upload.trouble.is_some())
}

/// For people, in lines.
pub(crate) fn text(status: &Status) -> String {
    let Status { version, pid, camera_id, relay, line, .. } = status;
    let mut lines = vec![
        format!("stillwatch-agent {version}, process {pid}, for {}", text_of(status.uptime_ms)),
        format!("camera \"{camera_id}\" to {relay}"),
        line.clone(),
    ];
    for (name, organ) in [("camera", &status.camera), ("upload", &status.upload)] {
        lines.push(match (&organ.trouble, organ.trouble_ms) {
            (Some(cause), Some(lasted)) => format!("{name}: {cause}, for {}", text_of(lasted)),
            _ => format!("{name}: works ({} so far, {} failed)", organ.successes, organ.failures),
        });
    }
    let Status { frames_corrupt, frames_replaced, .. } = status;
    lines.push(format!(
        "{frames_corrupt} broken frames left out, {frames_replaced} replaced by newer ones"
    ));
    if status.watchdog_withheld {
        lines.push("the watchdog is not fed any more: a loop is stuck".to_owned());
    }
    lines.extend(healing(status));
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

fn healing(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    if !status.network.is_empty() {
        lines.push(format!("network: {}", status.network));
    }
    for LadderStatus { organ, ill_ms, rung, resting } in &status.ladders {
        let Some(ill_ms) = ill_ms else { continue };
        let tried = rung.as_ref().map_or("nothing tried yet".to_owned(), |rung| match resting {
            true => format!("all tried, up to \"{rung}\"; resting"),
            false => format!("trying \"{rung}\""),
        });
        lines.push(format!("healing {organ}: ill for {}, {tried}", text_of(*ill_ms)));
    }
    for CureStatus { organ, rung, outcome, ago_ms } in &status.cures {
        let outcome = format!("{outcome:?}").to_lowercase();
        lines.push(format!("cure of {} ago: {organ} \"{rung}\", {outcome}", text_of(*ago_ms)));
    }
    lines.push(match status.reboots_left {
        Some(left) => format!("reboots left in the budget: {left}"),
        None => "there is no healer: what needs root is left out".to_owned(),
    });
    if status.safe_mode {
        let text = "safe mode: only a reboot is left, and none is; staying up as it is";
        lines.push(text.to_owned());
    }
    lines.extend(status.booted.as_ref().map(|b| format!("the machine was started: {b}")));
    if status.undervoltage == Some(true) {
        lines.push("the supply's voltage is too low now".to_owned());
    }
    lines.extend(updates(status));
    lines
}

fn updates(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(system) = &status.system {
        let slot = status.slot.as_ref().map(|slot| format!(" in slot {slot}")).unwrap_or_default();
        lines.push(format!("system: {system}{slot}"));
    }
    if let Some(Update { version, doing, percent, why }) = &status.update {
        let percent = percent.map(|percent| format!(", {percent} %")).unwrap_or_default();
        let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        lines.push(format!("update: {version} {doing}{percent}{why}"));
    }
    if let Some(Rejected { version, why, ran }) = &status.rejected {
        let what = if *ran { "was taken back" } else { "was not installed" };
        lines.push(format!("update {version} {what}: {why}"));
    }
    lines
}

fn text_of(millis: u128) -> String {
    let whole = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
    let exact = if whole > Duration::from_secs(60) {
        Duration::from_secs(whole.as_secs())
    } else {
        rounded(whole)
    };
    duration_text(exact)
}
