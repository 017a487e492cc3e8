//! WebSocket or POST? Pure: it is told the time and what happened.
//!
//! A relay, or a proxy before it, that takes no WebSocket is asked again later: proxies are
//! configured, relays are updated. A network that fails says nothing about that.

use std::time::Duration;

use ladder::Mono;

/// The first time to upload by POST before asking again.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// The longest.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(3_600);

/// A proxy that passes the upgrade and nothing after it looks like this so many times.
const SILENT_SOCKETS: u32 = 3;

/// What the owner wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Choice {
    /// WebSocket, and POST where there is none.
    Auto,
    WebSocket,
    Http,
}

/// How the next frame is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Socket,
    Post,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Transport {
    choice: Choice,
    /// No WebSocket before this.
    not_before: Option<Mono>,
    wait: Duration,
    silent: u32,
}

impl Transport {
    pub(super) fn new(choice: Choice) -> Transport {
        Transport { choice, not_before: None, wait: ASK_AGAIN, silent: 0 }
    }

    pub(super) fn way(&self, now: Mono) -> Way {
        match self.choice {
            Choice::Http => Way::Post,
            Choice::WebSocket => Way::Socket,
            Choice::Auto if self.not_before.is_some_and(|at| now < at) => Way::Post,
            Choice::Auto => Way::Socket,
        }
    }

    /// A frame sent over a WebSocket was answered.
    pub(super) fn answered(&mut self) {
        *self = Transport::new(self.choice);
    }

    /// The upgrade was refused. Returns for how long to upload by POST; `None` if that is not wanted.
    pub(super) fn refused(&mut self, now: Mono) -> Option<Duration> {
        if self.choice != Choice::Auto {
            return None;
        }
        let wait = self.wait;
        self.not_before = Some(now.after(wait));
        self.wait = (wait * 2).min(ASK_AGAIN_MAX);
        self.silent = 0;
        Some(wait)
    }

    /// A WebSocket was opened and died before it answered anything. Returns as `refused` does, once
    /// that is what it comes to.
    pub(super) fn died_silent(&mut self, now: Mono) -> Option<Duration> {
        self.silent += 1;
        if self.silent < SILENT_SOCKETS { None } else { self.refused(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(1_000 + s))
    }

    #[test]
    fn a_refusal_leads_to_post_and_is_asked_again_ever_more_rarely() {
        let mut transport = Transport::new(Choice::Auto);
        assert_eq!(transport.way(at(0)), Way::Socket);
        let (mut now, mut waits) = (0, Vec::new());
        for _ in 0..9 {
            let wait = transport.refused(at(now)).unwrap();
            assert_eq!(transport.way(at(now)), Way::Post);
            now += wait.as_secs();
            assert_eq!(transport.way(at(now - 1)), Way::Post);
            assert_eq!(transport.way(at(now)), Way::Socket);
            waits.push(wait.as_secs());
        }
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
        transport.answered();
        assert_eq!(transport.refused(at(now)), Some(ASK_AGAIN), "it worked meanwhile");
    }

    #[test]
    fn sockets_that_never_answer_are_a_refusal_in_the_end() {
        let mut transport = Transport::new(Choice::Auto);
        assert_eq!(transport.died_silent(at(0)), None);
        assert_eq!(transport.died_silent(at(1)), None);
        assert_eq!(transport.way(at(1)), Way::Socket, "a network may fail twice");
        assert_eq!(transport.died_silent(at(2)), Some(ASK_AGAIN));
        assert_eq!(transport.way(at(2)), Way::Post);
        transport.answered();
        assert_eq!(transport.died_silent(at(3)), None);
    }

    #[test]
    fn what_the_owner_chose_stays() {
        for (choice, way) in [(Choice::Http, Way::Post), (Choice::WebSocket, Way::Socket)] {
            let mut transport = Transport::new(choice);
            assert_eq!(transport.refused(at(0)), None);
            for n in 0..5 {
                assert_eq!(transport.died_silent(at(n)), None);
            }
            assert_eq!(transport.way(at(0)), way);
        }
    }
}
