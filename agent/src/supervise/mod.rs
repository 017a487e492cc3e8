//! One task that looks at the organs' health and tells others: systemd's watchdog, `systemctl
//! status`, the status file. It captures and sends nothing.

pub(crate) mod led;
mod rate;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ladder::{Mono, Verdict, Watched, judge};
use runtime::files::{Survives, replace};
use runtime::settings::duration_text;
use runtime::slot::Writer;
use runtime::{clock, notify};
use tokio_util::sync::CancellationToken;

use crate::health::{Health, Organ, rounded};
use crate::sensor::thread::Sensor;
use crate::status::{OrganStatus, Status};
use rate::Rate;

/// How often it looks.
const TICK: Duration = Duration::from_millis(500);

/// A capture thread without a turn for so long hangs, and its replacements with it: several times
/// the longest normal turn, which is the source's patience. See `sensor/thread.rs`.
const CAMERA_PATIENCE: Duration = Duration::from_secs(60);

/// The same for the upload loop, whose turns end with each attempt or after a few idle seconds.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(60);

/// If by then neither a picture arrived nor anything failed, start-up is over all the same.
const START_UP: Duration = Duration::from_secs(20);

/// What the task needs.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub health: Arc<Health>,
    pub sensor: Arc<Sensor>,
    /// The longest normal turn of the upload loop.
    pub upload_turn: Duration,
    /// The relay's URL without the password.
    pub relay: String,
    pub status_file: PathBuf,
}

/// Runs until `stop`.
pub(crate) async fn run(supervisor: Supervisor, stop: CancellationToken) {
    let mut watch = Watch {
        started: clock::mono(),
        ready: false,
        withheld: false,
        fed: None,
        status_failed: false,
        rate: Rate::default(),
        feed_every: notify::watchdog_timeout().map(|timeout| timeout / 3),
        supervisor,
    };
    loop {
        watch.look();
        if stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
            break;
        }
    }
    // Nobody should read of a running agent that is gone.
    let _ = std::fs::remove_file(&watch.supervisor.status_file);
}

struct Watch {
    supervisor: Supervisor,
    started: Mono,
    ready: bool,
    withheld: bool,
    fed: Option<Mono>,
    feed_every: Option<Duration>,
    status_failed: bool,
    rate: Rate,
}

impl Watch {
    fn look(&mut self) {
        let now = clock::mono();
        let Health { camera, upload, .. } = self.supervisor.health.as_ref();
        let captured = camera.progress.get();
        let fps = self.rate.see(now, captured.count);
        let line = status_line(fps, captured.age(now), upload.failures());
        let settled = upload.progress.get().count > 0
            || camera.trouble().or(upload.trouble()).is_some()
            || now.since(self.started) > START_UP;
        if settled && !self.ready {
            self.ready = true;
            notify::ready();
        }
        notify::status(&line);
        self.write_status(now, fps, line);
        self.feed(now);
    }

    fn feed(&mut self, now: Mono) {
        let Supervisor { health, sensor, upload_turn, .. } = &self.supervisor;
        let camera_turn = sensor.config.longest_turn();
        let loops = [
            watched("camera", CAMERA_PATIENCE.max(camera_turn * 4), &health.camera),
            watched("upload", UPLOAD_PATIENCE.max(*upload_turn * 4), &health.upload),
        ];
        let verdict = judge(now, self.started, &loops);
        if let Verdict::Withhold { name, silent_for } = verdict
            && !self.withheld
        {
            let silent = duration_text(rounded(silent_for));
            tracing::error!(
                organ = name,
                "the {name} loop has been stuck for {silent}; leaving it to systemd's watchdog, \
                 if there is one, to restart the agent"
            );
        }
        self.withheld = verdict != Verdict::Feed;
        let due = |every| self.fed.is_none_or(|fed| now.since(fed) >= every);
        if verdict == Verdict::Feed && self.feed_every.is_some_and(due) {
            self.fed = Some(now);
            notify::feed_watchdog();
        }
    }

    fn write_status(&mut self, now: Mono, fps: f64, line: String) {
        let Supervisor { health, sensor, relay, status_file, .. } = &self.supervisor;
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            written_ms: now.since_boot().as_millis(),
            uptime_ms: now.since(self.started).as_millis(),
            camera_id: sensor.id.to_string(),
            relay: relay.clone(),
            line,
            fps,
            frames_corrupt: health.corrupt.load(Ordering::Relaxed),
            frames_replaced: Writer::replaced(&sensor.frames),
            watchdog_withheld: self.withheld,
            camera: organ_status(&health.camera, now),
            upload: organ_status(&health.upload, now),
        };
        let written = serde_json::to_vec_pretty(&status)
            .map_err(std::io::Error::from)
            .and_then(|json| replace(status_file, &json, Survives::Exit));
        if let Err(error) = &written
            && !self.status_failed
        {
            let path = status_file.display();
            tracing::warn!("can't write {path} ({error}): `stillwatch-agent status` will not work");
        }
        self.status_failed = written.is_err();
    }
}

fn watched(name: &'static str, patience: Duration, organ: &Organ) -> Watched {
    Watched { name, patience, mark: organ.turn.get() }
}

fn organ_status(organ: &Organ, now: Mono) -> OrganStatus {
    let mark = organ.progress.get();
    let trouble = organ.trouble();
    OrganStatus {
        successes: mark.count,
        failures: organ.failures(),
        last_success_ms: mark.age(now).map(|age| age.as_millis()),
        trouble_ms: trouble.as_ref().map(|(_, since)| now.since(*since).as_millis()),
        trouble: trouble.map(|(cause, _)| cause),
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
