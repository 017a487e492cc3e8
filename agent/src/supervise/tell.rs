//! Tells others how the agent is: systemd and its watchdog, a watchdog of the agent's own, `systemctl
//! status`, the status file. It decides only whether the watchdogs may be fed.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use ladder::{Ladder, Mark, Mono, Verdict, Watched, judge};
use runtime::event::{About, Event};
use runtime::files::{Survives, replace};
use runtime::notify;
use runtime::settings::duration_text;
use runtime::slot::Writer;

use super::plans::{Action, Organ};
use super::rate::Rate;
use super::watchdog::Watchdog;
use super::{Care, Supervisor};
use crate::config::SourceKind;
use crate::health::{Health, rounded};
use crate::status::{CureStatus, LadderStatus, OrganStatus, Status};
use crate::update::Told;

/// A capture thread without a turn for so long hangs, and its replacements with it: several times
/// the longest normal turn, which is the source's patience. See `sensor/thread.rs`.
const CAMERA_PATIENCE: Duration = Duration::from_secs(60);

/// The same for the upload loop, whose turns end with each attempt or after a few idle seconds.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(60);

/// And for an act of healing: the longest deadline of a verb, and time to start the healer.
const HEALING_PATIENCE: Duration = Duration::from_secs(90);

/// After so long an agent stays up: with eight starts in half an hour the unit's start limit is another one.
const STAYS_UP: Duration = Duration::from_secs(240);

/// If by then neither a picture arrived nor anything failed, start-up is over all the same.
const START_UP: Duration = Duration::from_secs(20);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Teller {
    started: Mono,
    ready: bool,
    withheld: bool,
    fed: Option<Mono>,
    feed_every: Option<Duration>,
    /// To be armed when the agent has lived for a while.
    to_arm: Option<PathBuf>,
    watchdog: Option<Watchdog>,
    /// When the present act of healing began.
    acting_since: Option<Mono>,
    status_failed: bool,
    rate: Rate,
}

impl Teller {
    pub(super) fn new(now: Mono, watchdog: Option<PathBuf>) -> Teller {
        Teller {
            started: now,
            ready: false,
            withheld: false,
            fed: None,
            feed_every: notify::watchdog_timeout().map(|timeout| timeout / 3),
            to_arm: watchdog,
            watchdog: None,
            acting_since: None,
            status_failed: false,
            rate: Rate::default(),
        }
    }

    /// The agent ends on purpose.
    pub(super) fn end(&mut self, status_file: &Path) {
        // Nobody should read of a running agent that is gone. A file that stays is known by its age.
        let _ = std::fs::remove_file(status_file);
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.disarm();
        }
    }

    fn feed(&mut self, now: Mono, verdict: Verdict) {
        if let Verdict::Withhold { name, silent_for } = verdict
            && !self.withheld
        {
            let about = About { organ: name, age: Some(silent_for), ..About::default() };
            let silent = duration_text(rounded(silent_for));
            Event::LoopStuck.say(
                about,
                format_args!(
                    "the {name} loop has been stuck for {silent}; leaving it to the watchdog, if \
                     there is one, to restart the agent"
                ),
            );
        }
        self.withheld = verdict != Verdict::Feed;
        if self.withheld {
            return;
        }
        let due = |every| self.fed.is_none_or(|fed| now.since(fed) >= every);
        if self.feed_every.is_some_and(due) {
            self.fed = Some(now);
            notify::feed_watchdog();
        }
        if now.since(self.started) >= STAYS_UP
            && let Some(device) = self.to_arm.take()
        {
            self.watchdog = Watchdog::arm(&device);
        }
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.feed();
        }
    }

    fn write(&mut self, path: &Path, status: &Status) {
        let written = serde_json::to_vec_pretty(status)
            .map_err(std::io::Error::from)
            .and_then(|json| replace(path, &json, Survives::Exit));
        if let Err(error) = &written
            && !self.status_failed
        {
            let path = path.display();
            tracing::warn!("can't write {path} ({error}): `stillwatch-agent status` will not work");
        }
        self.status_failed = written.is_err();
    }
}

impl Care {
    pub(super) fn tell(&mut self, now: Mono) {
        let Health { camera, upload, .. } = self.supervisor.health.as_ref();
        let captured = camera.progress.get();
        let fps = self.teller.rate.see(now, captured.count);
        let line = status_line(fps, captured.age(now), upload.failures());
        let settled = upload.progress.get().count > 0
            || camera.trouble().is_some()
            || upload.trouble().is_some()
            || now.since(self.teller.started) > START_UP;
        if settled && !self.teller.ready {
            self.teller.ready = true;
            notify::ready();
        }
        notify::status(&line);
        let status = self.status(now, fps, line);
        let verdict = self.verdict(now);
        self.teller.write(&self.supervisor.status_file, &status);
        self.teller.feed(now, verdict);
    }

    /// Whether the watchdogs may be fed: every loop makes its turns, and either pictures come or the
    /// camera's ladder knows that they don't and is at work on it. Each of its steps takes a bounded
    /// time; so does each act of healing.
    fn verdict(&mut self, now: Mono) -> Verdict {
        let Supervisor { health, sensor, upload_turn, .. } = &self.supervisor;
        let camera_turn = sensor.longest_turn();
        let camera_patience = CAMERA_PATIENCE.max(camera_turn * 4);
        let is_acting = self.acting.is_some();
        let acting_since = is_acting.then(|| self.teller.acting_since.unwrap_or(now));
        self.teller.acting_since = acting_since;
        let turns = |last: Option<Mono>| Mark { last, count: 0 };
        let cared_for = sensor.config.source == SourceKind::Directory
            || self.ladders().any(|(organ, l)| organ == Organ::Camera && l.ill_since().is_some());
        let frames = if cared_for { Some(now) } else { health.camera.progress.get().last };
        let loops = [
            Watched { name: "camera", patience: camera_patience, mark: health.camera.turn.get() },
            Watched {
                name: "upload",
                patience: UPLOAD_PATIENCE.max(*upload_turn * 4),
                mark: health.upload.turn.get(),
            },
            Watched { name: "frames", patience: camera_patience, mark: turns(frames) },
            Watched {
                name: "healing",
                patience: HEALING_PATIENCE,
                mark: turns(acting_since.or(Some(now))),
            },
        ];
        judge(now, self.teller.started, &loops)
    }

    fn ladders(&self) -> impl Iterator<Item = (Organ, &Ladder<Action>)> {
        self.healing.ladders()
    }

    fn status(&self, now: Mono, fps: f64, line: String) -> Status {
        let Supervisor { health, sensor, relay, .. } = &self.supervisor;
        let cures = self.cures.iter().map(|(at, cure)| {
            let ago_ms = now.since(*at).as_millis();
            CureStatus { ago_ms, ..cure.clone() }
        });
        let Told { system, slot, update, rejected } = self.supervisor.updates.told();
        Status {
            undervoltage: self.supervisor.machine.has_low_voltage(),
            system,
            slot,
            update,
            rejected,
            version: runtime::version::full().to_owned(),
            pid: std::process::id(),
            written_ms: now.since_boot().as_millis(),
            uptime_ms: now.since(self.teller.started).as_millis(),
            camera_id: sensor.id.to_string(),
            relay: relay.clone(),
            line,
            fps,
            frames_corrupt: health.corrupt.load(Ordering::Relaxed),
            frames_replaced: Writer::replaced(&sensor.frames),
            watchdog_withheld: self.teller.withheld,
            camera: OrganStatus::of(&health.camera, now),
            upload: OrganStatus::of(&health.upload, now),
            network: self.network_said.as_ref().map(|(_, text)| text.clone()).unwrap_or_default(),
            ladders: self
                .ladders()
                .map(|(organ, ladder)| ladder_status(organ, ladder, now))
                .collect(),
            cures: cures.collect(),
            safe_mode: self.healing.is_safe_mode(),
            reboots_left: self.state.as_ref().map(|state| state.reboots_left),
            booted: self.state.as_ref().and_then(|state| state.booted.clone()),
        }
    }
}

fn ladder_status(organ: Organ, ladder: &Ladder<Action>, now: Mono) -> LadderStatus {
    let rung = ladder.rung().and_then(|rung| ladder.plan().rungs.get(rung));
    LadderStatus {
        organ: organ.name().to_owned(),
        ill_ms: ladder.ill_since().map(|since| now.since(since).as_millis()),
        rung: rung.map(|rung| rung.action.name().to_owned()),
        resting: ladder.is_resting(),
    }
}

/// The line of `systemctl status`.
fn status_line(fps: f64, age: Option<Duration>, failed: u64) -> String {
    let last = match age {
        Some(age) => format!("last frame {:.1} s ago", age.as_secs_f64()),
        None => "no frame yet".to_owned(),
    };
    let uploads = if failed == 1 { "upload" } else { "uploads" };
    format!("{fps:.1} fps, {last}, {failed} {uploads} failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_reads_like_a_sentence() {
        let age = Some(Duration::from_millis(120));
        assert_eq!(status_line(5.0, age, 3), "5.0 fps, last frame 0.1 s ago, 3 uploads failed");
        assert_eq!(status_line(0.0, None, 1), "0.0 fps, no frame yet, 1 upload failed");
    }
}
