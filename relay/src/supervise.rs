//! One task that tells systemd how the relay is: its status line, and its watchdog, fed while the
//! loops make progress.
//!
//! The store is watched and not part of the gate: a disk that hangs is said, and must not end a
//! live picture.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ladder::{Mono, Verdict, Watched, judge};
use runtime::event::{About, Event};
use runtime::mark::SharedMark;
use runtime::settings::duration_text;
use runtime::{clock, notify};
use tokio_util::sync::CancellationToken;
use web::freshness::State;

use crate::board::Board;
use crate::cluster::Cluster;
use crate::store::Store;

/// How often it looks.
const TICK: Duration = Duration::from_secs(1);

/// A loop without a turn for so long is stuck: each turns once a second.
const LOOP_PATIENCE: Duration = Duration::from_secs(15);

/// The same for the store's thread, which waits for a disk.
const STORE_PATIENCE: Duration = Duration::from_secs(30);

/// What the task needs.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub board: Arc<Board>,
    pub store: Store,
    /// With other relays.
    pub cluster: Option<Arc<Cluster>>,
    /// Turns of the accept loop.
    pub serving: SharedMark,
    /// Turns of the task in `watch.rs`.
    pub watching: SharedMark,
}

struct Told {
    line: String,
    fed: Option<Mono>,
    stuck: bool,
    disk_hangs: bool,
}

/// Runs until `stop`.
pub(crate) async fn run(supervisor: Supervisor, stop: CancellationToken) {
    let started = clock::mono();
    let feed_every = notify::watchdog_timeout().map(|timeout| timeout / 3);
    let mut told = Told { line: String::new(), fed: None, stuck: false, disk_hangs: false };
    loop {
        let now = clock::mono();
        let line = supervisor.line(now);
        if line != told.line {
            notify::status(&line);
            told.line = line;
        }
        supervisor.feed(&mut told, now, started, feed_every);
        supervisor.watch_disk(&mut told, now, started);
        let tick = feed_every.map_or(TICK, |every| every.min(TICK));
        if stop.run_until_cancelled(tokio::time::sleep(tick)).await.is_none() {
            return;
        }
    }
}

impl Supervisor {
    fn feed(&self, told: &mut Told, now: Mono, started: Mono, feed_every: Option<Duration>) {
        let watched =
            |name, mark: &SharedMark| Watched { name, patience: LOOP_PATIENCE, mark: mark.get() };
        let loops = [watched("accept", &self.serving), watched("freshness", &self.watching)];
        let verdict = judge(now, started, &loops);
        if let Verdict::Withhold { name, silent_for } = verdict
            && !told.stuck
        {
            let silent = duration_text(Duration::from_secs(silent_for.as_secs()));
            Event::RelayStuck.say(
                About { age: Some(silent_for), ..About::organ(name) },
                format_args!(
                    "the {name} loop has been stuck for {silent}; leaving it to systemd's watchdog, if \
                     there is one, to restart the relay"
                ),
            );
        }
        told.stuck = verdict != Verdict::Feed;
        let due = |every| told.fed.is_none_or(|fed| now.since(fed) >= every);
        if verdict == Verdict::Feed && feed_every.is_some_and(due) {
            told.fed = Some(now);
            notify::feed_watchdog();
        }
    }

    fn watch_disk(&self, told: &mut Told, now: Mono, started: Mono) {
        let silent = now.since(self.store.mark().get().last.unwrap_or(started));
        let hangs = silent > STORE_PATIENCE;
        if hangs && !told.disk_hangs {
            let silent = duration_text(Duration::from_secs(silent.as_secs()));
            Event::StoreDegraded.say(
                About { reason: Some("hangs"), ..About::organ("store") },
                format_args!(
                    "the disk has not answered for {silent}: frames are shown, but not kept; check it \
                     (dmesg, smartctl)"
                ),
            );
        } else if told.disk_hangs && !hangs {
            Event::StoreWorks.say(About::organ("store"), format_args!("the disk answers again"));
        }
        told.disk_hangs = hangs;
    }
}

impl Supervisor {
    /// The line of `systemctl status`.
    fn line(&self, now: Mono) -> String {
        let cameras = status_line(&self.board, now);
        match self.cluster.as_ref().map(|cluster| cluster.health().0) {
            None | Some("works") => cameras,
            Some(word) => format!("{cameras}, bus {word}"),
        }
    }
}

fn status_line(board: &Board, now: Mono) -> String {
    let cameras = board.all();
    let mut states = BTreeMap::new();
    for camera in &cameras {
        *states.entry(camera.state(now).word()).or_insert(0_usize) += 1;
    }
    let ages = cameras.iter().filter_map(|camera| camera.latest(now)).map(|newest| newest.age);
    words(&states, ages.min())
}

fn words(states: &BTreeMap<&'static str, usize>, newest: Option<Duration>) -> String {
    let states: Vec<String> =
        [State::Live, State::Stale, State::Frozen, State::Offline, State::Empty]
            .iter()
            .filter_map(|state| states.get(state.word()).map(|count| (count, state)))
            .map(|(count, state)| match count {
                1 => format!("1 camera {state}"),
                _ => format!("{count} cameras {state}"),
            })
            .collect();
    let last = match newest {
        Some(age) => format!("last frame {:.1} s ago", age.as_secs_f64()),
        None => "no frame yet".to_owned(),
    };
    format!("{}, {last}", states.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_reads_like_a_sentence() {
        let states = BTreeMap::from([("empty", 1), ("live", 2), ("stale", 1)]);
        assert_eq!(
            words(&states, Some(Duration::from_millis(230))),
            "2 cameras live, 1 camera stale, 1 camera empty, last frame 0.2 s ago"
        );
        assert_eq!(words(&BTreeMap::from([("empty", 1)]), None), "1 camera empty, no frame yet");
    }
}
