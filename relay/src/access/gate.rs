//! Where passwords are judged: by throttle, with what is counted and what the journal is told.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ladder::Mono;
use runtime::clock;
use runtime::event::Event;
use runtime::settings::duration_text;

use super::audit::Audit;
use super::throttle::{Ended, Throttle, Verdict};
use crate::metrics::Guesses;

/// How late a wrong password is answered from where the right one came lately.
const LATE: Duration = Duration::from_secs(1);

/// What a password is for. Who knows one of them may guess another no faster for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Realm {
    Uploads,
    Owner,
    Viewing,
}

impl Realm {
    pub(crate) const ALL: [Realm; 3] = [Realm::Uploads, Realm::Owner, Realm::Viewing];

    /// The word in metrics.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Realm::Uploads => "upload",
            Realm::Owner => "owner",
            Realm::Viewing => "view",
        }
    }

    const fn passwords(self) -> &'static str {
        match self {
            Realm::Uploads => "passwords for uploads",
            Realm::Owner => "passwords of the owner",
            Realm::Viewing => "passwords for viewing",
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Gate {
    uploads: Mutex<Throttle>,
    owner: Mutex<Throttle>,
    viewing: Mutex<Throttle>,
    pub audit: Audit,
    counts: Guesses,
}

impl Gate {
    pub(super) fn new(counts: Guesses) -> Gate {
        Gate {
            uploads: Mutex::default(),
            owner: Mutex::default(),
            viewing: Mutex::default(),
            audit: Audit::default(),
            counts,
        }
    }

    fn throttle(&self, realm: Realm) -> MutexGuard<'_, Throttle> {
        let throttle = match realm {
            Realm::Uploads => &self.uploads,
            Realm::Owner => &self.owner,
            Realm::Viewing => &self.viewing,
        };
        throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges a password. A wrong one may take its time.
    pub(super) async fn judge(
        &self,
        realm: Realm,
        from: IpAddr,
        is_right: impl FnOnce() -> bool,
    ) -> Verdict {
        let verdict = self.judge_now(realm, from, is_right);
        if verdict == Verdict::WrongLate {
            tokio::time::sleep(LATE).await;
        }
        verdict
    }

    /// The same without waiting, for who is bounded by another realm.
    pub(super) fn judge_now(
        &self,
        realm: Realm,
        from: IpAddr,
        is_right: impl FnOnce() -> bool,
    ) -> Verdict {
        let now = clock::mono();
        // Comparing takes microseconds, and no two are compared of which the second should not have been.
        let (verdict, begins) = self.throttle(realm).judge(from, now, is_right);
        if begins {
            let passwords = realm.passwords();
            self.audit.say(
                Event::Guessing,
                None,
                Some(from),
                now,
                format_args!("guessing from {from} is slowed down: too many wrong {passwords}"),
            );
        }
        let outcome = match verdict {
            Verdict::Right => return verdict,
            Verdict::Wrong => "wrong",
            Verdict::WrongLate => "late",
            Verdict::Refused => "throttled",
        };
        self.counts.guesses.with_label_values(&[realm.word(), outcome]).inc();
        verdict
    }

    /// Looks who has stopped to guess.
    pub(super) fn sweep(&self, now: Mono) {
        for realm in Realm::ALL {
            let mut throttle = self.throttle(realm);
            let ended = throttle.sweep(now);
            let beyond = i64::try_from(throttle.beyond()).unwrap_or(i64::MAX);
            drop(throttle);
            self.counts.throttled.with_label_values(&[realm.word()]).set(beyond);
            for Ended { from, count, lasted } in ended {
                let (passwords, lasted) =
                    (realm.passwords(), Duration::from_secs(lasted.as_secs()));
                let lasted = duration_text(lasted);
                self.audit.say(
                    Event::GuessingEnded,
                    None,
                    Some(from),
                    now,
                    format_args!(
                        "guessing from {from} has ended: {count} wrong {passwords} in {lasted}"
                    ),
                );
            }
        }
    }
}
