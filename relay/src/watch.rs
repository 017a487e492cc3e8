//! One task that looks at all cameras' freshness and says when it changes: each change once.
//!
//! Viewers need no such task: the state in an answer is computed when it is asked for. What does
//! not belong here: when a state is entered (`freshness.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use frame::CameraId;
use ladder::Mono;
use runtime::clock;
use runtime::event::{About, Event};
use runtime::mark::SharedMark;
use runtime::settings::duration_text;
use tokio_util::sync::CancellationToken;
use web::freshness::State;

use crate::board::{Board, Camera};

/// How often it looks: a log line may be so late, an answer never is.
const TICK: Duration = Duration::from_millis(250);

/// What was seen of a camera last.
struct Seen {
    state: State,
    since: Mono,
    older: u64,
    refused: u64,
    two_agents: bool,
}

/// Runs until `stop`. It looks for the first time when it is called, which is before anybody can upload: what
/// comes after that is news.
pub(crate) fn run(
    board: Arc<Board>,
    mark: SharedMark,
    stop: CancellationToken,
) -> impl Future<Output = ()> {
    let mut seen = BTreeMap::new();
    // What earlier processes left was said when it was loaded.
    for camera in board.all() {
        let now = clock::mono();
        seen.insert(camera.id.clone(), look(&camera, now));
    }
    async move {
        loop {
            let now = clock::mono();
            mark.touch(now);
            for camera in board.all() {
                compare(&mut seen, &camera, now);
            }
            if stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
                return;
            }
        }
    }
}

fn look(camera: &Camera, now: Mono) -> Seen {
    Seen {
        state: camera.state(now),
        since: now,
        older: camera.counts.older.get(),
        refused: camera.counts.refused.all().values().sum(),
        two_agents: camera.has_two_agents(),
    }
}

fn compare(seen: &mut BTreeMap<CameraId, Seen>, camera: &Camera, now: Mono) {
    let new = || Seen { state: State::Empty, since: now, older: 0, refused: 0, two_agents: false };
    let before = seen.entry(camera.id.clone()).or_insert_with(new);
    let after = look(camera, now);
    camera.announce(after.state);
    camera.record(now);
    if after.two_agents && !std::mem::replace(&mut before.two_agents, true) {
        let id = &camera.id;
        tracing::warn!(
            camera = %id,
            "camera {id}: two agents have this name and take turns: what is shown jumps between them; give each a name of \
             its own (the agent's camera.id)"
        );
    }
    if before.state != after.state {
        say(camera, before, &after);
        *before = after;
    } else if after.state == State::Live {
        // Counted from the last moment when all was well.
        (before.older, before.refused) = (after.older, after.refused);
    }
}

fn say(camera: &Camera, before: &Seen, after: &Seen) {
    let id = &camera.id;
    let newest = camera.latest(after.since);
    let about = About {
        age: newest.as_ref().map(|newest| newest.age),
        seq: newest.as_ref().map(|newest| newest.seq),
        state: Some(after.state.word()),
        ..About::camera(id.as_str())
    };
    let lasted = after.since.since(before.since);
    let lasted = duration_text(Duration::from_secs(lasted.as_secs()));
    let hint = if after.older > before.older {
        "; uploads come, but were captured before the picture that is shown: was the camera's \
         clock set back?"
    } else if after.refused > before.refused {
        "; uploads come, but are refused"
    } else {
        ""
    };
    match (before.state, after.state) {
        (State::Empty, State::Live) => {
            Event::CameraFirst.say(about, format_args!("camera {id}: live, its first picture"));
        }
        (was, State::Live) => Event::CameraAgain
            .say(about, format_args!("camera {id}: live again after {lasted} {was}")),
        (_, State::Stale) => {
            Event::CameraStale.say(about, format_args!("camera {id}: stale, no new picture{hint}"))
        }
        (_, State::Frozen) => Event::CameraFrozen.say(
            about,
            format_args!(
                "camera {id}: frozen, every upload brings the same picture; its sensor or driver \
                 hangs (a source that may repeat itself says so in Frame-Flags)"
            ),
        ),
        (_, State::Offline) => Event::CameraOffline.say(
            about,
            format_args!(
                "camera {id}: offline, nothing comes from it; does its agent run, and has it a \
                 network?"
            ),
        ),
        (_, State::Empty) => {}
    }
}
