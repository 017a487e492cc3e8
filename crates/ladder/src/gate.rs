//! The watchdog's gate: systemd may be told that all is well only while every watched loop makes
//! progress.
//!
//! A watched loop marks each turn, a failed one too: "no camera, next attempt in 2 s" is a loop at
//! work, and restarting the process would not bring the camera back. A loop that marks nothing
//! is stuck in a call that does not return, and there a restart is the cure.

use std::time::Duration;

use crate::{Mark, Mono};

/// A loop that has to make progress.
#[derive(Debug, Clone, Copy)]
pub struct Watched {
    /// Its name in the log line.
    pub name: &'static str,
    /// The longest time between two turns that is still healthy.
    pub patience: Duration,
    /// Its last turn.
    pub mark: Mark,
}

/// Whether the watchdog may be fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every loop makes progress.
    Feed,
    /// This one does not: let the watchdog bite.
    Withhold {
        /// The loop that is stuck.
        name: &'static str,
        /// Since when.
        silent_for: Duration,
    },
}

/// Judges all loops of a process that started at `started`; a loop without any turn yet is
/// measured from there. Of several stuck loops the one silent for longest is named.
pub fn judge(now: Mono, started: Mono, loops: &[Watched]) -> Verdict {
    loops
        .iter()
        .map(|watched| (watched, now.since(watched.mark.last.unwrap_or(started))))
        .filter(|(watched, silent_for)| *silent_for > watched.patience)
        .max_by_key(|(_, silent_for)| *silent_for)
        .map_or(Verdict::Feed, |(watched, silent_for)| Verdict::Withhold {
            name: watched.name,
            silent_for,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(secs))
    }

    fn watched(name: &'static str, patience: u64, last: Option<u64>) -> Watched {
        let mark = Mark { last: last.map(at), count: 0 };
        Watched { name, patience: Duration::from_secs(patience), mark }
    }

    #[test]
    fn feeds_up_to_the_patience_and_not_beyond() {
        let loops = [watched("capture", 10, Some(100)), watched("upload", 30, Some(95))];
        assert_eq!(judge(at(110), at(0), &loops), Verdict::Feed);
        let silent_for = Duration::from_secs(11);
        let stuck = Verdict::Withhold { name: "capture", silent_for };
        assert_eq!(judge(at(111), at(0), &loops), stuck);
    }

    #[test]
    fn a_loop_that_never_turned_is_measured_from_the_start() {
        let loops = [watched("capture", 10, None)];
        assert_eq!(judge(at(60), at(50), &loops), Verdict::Feed);
        assert!(matches!(judge(at(61), at(50), &loops), Verdict::Withhold { .. }));
    }

    #[test]
    fn of_two_stuck_loops_the_longer_silence_is_named() {
        let loops = [watched("capture", 10, Some(100)), watched("upload", 10, Some(40))];
        let verdict = judge(at(200), at(0), &loops);
        assert!(matches!(verdict, Verdict::Withhold { name: "upload", .. }), "{verdict:?}");
    }

    #[test]
    fn no_loops_no_objection() {
        assert_eq!(judge(at(1), at(0), &[]), Verdict::Feed);
    }
}
