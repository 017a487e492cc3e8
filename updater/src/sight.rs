//! What can be seen of the machine: the agent's status, the healer's, systemd's.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use runtime::clock;
use runtime::files::{Survives, replace};
use runtime::heal;
use runtime::update::{WINDOW, Window};
use serde::Deserialize;

use crate::may::Machine;
use crate::place::Place;
use crate::programs::Programs;
use crate::record::Baseline;
use crate::trial::{AT_REST, Seen};

/// An agent whose status is older than this does not run, or hangs.
const OUTDATED: Duration = Duration::from_secs(10);

/// The organ that is ill while nobody sets the clock. That is no reason to take a system back: without a time server it
/// would be ill before and after.
const CLOCK: &str = "clock";

/// What of the agent's status counts here; the rest is ignored.
#[derive(Debug, Deserialize)]
struct Status {
    written_ms: u64,
    fps: f64,
    camera: OrganStatus,
    upload: OrganStatus,
    ladders: Vec<LadderStatus>,
    #[serde(default)]
    undervoltage: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct OrganStatus {
    last_success_ms: Option<u64>,
    #[serde(default)]
    trouble: Option<String>,
}

#[derive(Debug, Deserialize)]
struct LadderStatus {
    organ: String,
    ill_ms: Option<u64>,
    resting: bool,
}

impl Status {
    fn read(path: &Path) -> Option<Status> {
        let status: Status = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let written = Duration::from_millis(status.written_ms);
        let age = clock::mono().since_boot().saturating_sub(written);
        (age < OUTDATED).then_some(status)
    }

    /// Whether an organ did its work lately: within a minute, or three of the camera's intervals.
    fn works(&self, organ: &OrganStatus) -> bool {
        let lately = if self.fps > 0.0 { 3.0 / self.fps } else { 0.0 }.max(AT_REST.as_secs_f64());
        let age = organ.last_success_ms.map(Duration::from_millis);
        age.is_some_and(|age| age.as_secs_f64() < lately)
    }

    /// Whether uploads work: lately one arrived, or none had to, because nobody watches.
    fn uploads(&self) -> bool {
        let OrganStatus { last_success_ms, trouble } = &self.upload;
        self.works(&self.upload) || (last_success_ms.is_some() && trouble.is_none())
    }

    fn ill(&self) -> Vec<(String, bool)> {
        let ill = self.ladders.iter().filter(|it| it.ill_ms.is_some() && it.organ != CLOCK);
        ill.map(|it| (it.organ.clone(), it.resting)).collect()
    }
}

/// How the machine is, for an update that could be installed.
pub(crate) fn machine(place: &Place) -> Machine {
    let status = Status::read(&place.agent_status());
    Machine {
        agent: status.is_some(),
        frames: status.as_ref().is_some_and(|it| it.works(&it.camera)),
        uploads: status.as_ref().is_some_and(Status::uploads),
        ill: status.as_ref().map(Status::ill).unwrap_or_default(),
        undervoltage: status.as_ref().and_then(|it| it.undervoltage).unwrap_or(false),
        reboots_left: healer(place).reboots_left,
        minute: clock::synchronised().then(local_minute),
    }
}

/// How it is before an update.
pub(crate) async fn baseline(place: &Place, programs: &Programs) -> Baseline {
    let status = Status::read(&place.agent_status());
    let uploads = status.is_some_and(|it| it.uploads());
    Baseline { uploads, failed: programs.failed_units().await }
}

/// How a system on trial is.
pub(crate) async fn seen(place: &Place, programs: &Programs) -> Seen {
    let status = Status::read(&place.agent_status());
    Seen {
        started: programs.has_started().await,
        failed: programs.failed_units().await,
        frame: status.as_ref().is_some_and(|it| it.works(&it.camera)),
        upload: status.as_ref().is_some_and(Status::uploads),
        clock: clock::wall_us() / 1_000_000 >= floor(place),
        data: data_is_kept(place),
        ill: status.iter().flat_map(Status::ill).map(|(organ, _)| organ).collect(),
        reboot_wanted: healer(place).reboot_wanted,
    }
}

/// Before which no clock is right, in seconds since the epoch: when the system was made, as the initrd takes it.
fn floor(place: &Place) -> i64 {
    fs::metadata(place.below("/usr/lib/clock-epoch")).map_or(0, |file| file.mtime())
}

fn healer(place: &Place) -> heal::State {
    let state = fs::read(place.below(heal::STATE)).ok();
    state.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// The initrd says what came of the data partition (image/initrd/init); `repaired` is as good as `ok`.
fn data_is_kept(place: &Place) -> bool {
    let state = fs::read_to_string(place.run.join("data")).unwrap_or_default();
    let kept = ["ok", "repaired", "recreated"].contains(&state.trim());
    kept && replace(&place.state.join("trial"), b"\n", Survives::PowerCut).is_ok()
}

fn local_minute() -> u16 {
    let zone = jiff::tz::TimeZone::system();
    let now = jiff::Timestamp::from_microsecond(clock::wall_us()).unwrap_or_default();
    let time = zone.to_datetime(now).time();
    // 0 to 23, and 0 to 59.
    u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs())
}

/// The hours in which the owner wants updates, from the agent's configuration, which the agent has checked.
pub(crate) fn window(place: &Place) -> Option<Window> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct File {
        update: Update,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Update {
        window: Option<String>,
    }
    let text = fs::read_to_string(place.agent_config()).unwrap_or_default();
    let file: File = toml::from_str(&text).unwrap_or_default();
    file.update.window.as_deref().unwrap_or(WINDOW).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::tests::place;

    fn status(age_s: u64, ladders: &str) -> String {
        let now = clock::mono().since_boot().as_millis();
        let age = age_s * 1000;
        let organ = format!("{{\"successes\":3,\"last_success_ms\":{age}}}");
        format!(
            "{{\"written_ms\":{now},\"fps\":5.0,\"camera\":{organ},\"upload\":{organ},\"ladders\":[{ladders}],\
             \"undervoltage\":true}}"
        )
    }

    #[test]
    fn the_agents_status_says_how_the_machine_is() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        assert_eq!(
            machine(&place),
            Machine { minute: machine(&place).minute, ..Machine::default() }
        );
        let write = |path: std::path::PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let ladder = |organ: &str, ill: &str| {
            format!("{{\"organ\":\"{organ}\",\"ill_ms\":{ill},\"rung\":null,\"resting\":true}}")
        };
        let ladders =
            [ladder("camera", "null"), ladder("wifi", "7"), ladder("clock", "9")].join(",");
        write(place.agent_status(), &status(1, &ladders));
        write(place.below(heal::STATE), "{\"reboots_left\":2}");
        let seen = machine(&place);
        assert!(seen.agent && seen.frames && seen.uploads && seen.undervoltage);
        assert_eq!(seen.ill, [("wifi".to_owned(), true)]);
        assert_eq!(seen.reboots_left, 2);
        // No picture for more than a minute; an upload need not come, unless something is wrong.
        write(place.agent_status(), &status(61, ""));
        let seen = machine(&place);
        assert!(!seen.frames && seen.uploads);
        let trouble = status(61, "").replace("61000}", "61000,\"trouble\":\"no network\"}");
        write(place.agent_status(), &trouble);
        assert!(!machine(&place).uploads);
        // Left behind by an agent that is gone.
        let old = status(1, "").replacen("written_ms\":", "written_ms\":0,\"was\":", 1);
        write(place.agent_status(), &old);
        assert_eq!(machine(&place).agent, clock::mono().since_boot() < OUTDATED);
    }

    #[test]
    fn the_window_is_the_agents_setting() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        assert_eq!(window(&place), Some(WINDOW.parse().unwrap()));
        let path = place.agent_config();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "[camera]\nfps = 5\n").unwrap();
        assert_eq!(window(&place), Some(WINDOW.parse().unwrap()));
        fs::write(&path, "[camera]\nfps = 5\n[update]\nwindow = \"12:00-13:00\"\n").unwrap();
        assert_eq!(window(&place), Some("12:00-13:00".parse().unwrap()));
    }
}
