//! What is done about what is seen: all ladders together. Pure.
//!
//! Signal watched: what `sight.rs` sees of each organ, never what an action returned. Recovery: a fresh
//! picture, a network that works, lasting. What it must never do: two cures at once, of whatever organs
//! (each could spoil the evidence of the other); heal a network that is not this machine's to heal; or
//! reboot for a camera or a network that is merely away, sooner than in many minutes, or without a
//! reboot left in the budget.
//!
//! An access point that is gone is nobody's fault here. It is looked for, where it was last, so that
//! the camera is live within seconds of its return; the WiFi's ladder stands still meanwhile.

use std::time::Duration;

use ladder::{Ladder, Mono, Plan, Step};

use super::plans::{Action, Organ};
use crate::sensor::CameraFault;

/// A camera that is there and fails may cost a reboot after so long.
const REBOOT_AFTER: Duration = Duration::from_secs(10 * 60);

/// A camera that is not there, after so long: nearly always somebody has pulled it out.
const REBOOT_GONE: Duration = Duration::from_secs(30 * 60);

/// The WiFi, after so long.
const REBOOT_OFFLINE: Duration = Duration::from_secs(15 * 60);

/// An access point that was heard within this time is there, and not connecting is our fault. Longer
/// than the kernel keeps what was heard (30 s) and a scan takes, and not much: one whose plug was pulled
/// is not there any more.
const HEARD_LATELY: Duration = Duration::from_secs(120);

/// An illness that was over so soon was none.
const HICCUP: Duration = Duration::from_secs(3);

/// How often an access point that is gone is looked for: at first, and after [`SEEK_SOON`].
const SEEK_EVERY: Duration = Duration::from_secs(3);
const SEEK_SLOWLY: Duration = Duration::from_secs(15);
const SEEK_SOON: Duration = Duration::from_secs(5 * 60);

/// If nothing at all is heard for so long, it is this machine that is deaf.
const DEAF_AFTER: Duration = Duration::from_secs(60);

/// What is seen of the camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CameraSight {
    /// Pictures come, fresh ones.
    pub well: bool,
    /// If not, what is wrong.
    pub fault: CameraFault,
    /// The same as a sentence, for the journal.
    pub cause: String,
    /// It is known where it is on the USB bus.
    pub usb: bool,
    /// It is known which device it has.
    pub device: bool,
    /// A program captures for us.
    pub helper: bool,
    /// Its power can be switched.
    pub power: bool,
}

/// What is seen of the WiFi.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WifiSight {
    /// It works, or is not needed, or its trouble is none of ours.
    Well,
    /// It does not work, and this machine is to blame.
    Ill(String),
    /// Its access point is not there; whether anything else is heard.
    NoAccessPoint { heard_others: bool },
}

/// What is seen of everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sight {
    pub camera: CameraSight,
    pub wifi: WifiSight,
    /// Its interface is there.
    pub wifi_present: bool,
    /// When the access point was heard last.
    pub access_point_heard: Option<Mono>,
    /// There is another way than WiFi.
    pub wired: bool,
    /// The network works: then the time can be asked for.
    pub online: bool,
    /// Pictures of the time without network are kept.
    pub keeps_pictures: bool,
    pub disk_full: bool,
    pub memory_low: bool,
    pub clock_set: bool,
    /// Reboots left; `None`: there is no healer.
    pub reboots_left: Option<u32>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub organ: Organ,
    pub action: Action,
    /// The rung is climbed for the first time in this illness, or costs a reboot: worth a line.
    pub is_news: bool,
    /// Why, for the journal.
    pub reason: String,
}

/// What is to be done, or said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    Do(Order),
    /// The organ is well again, and it lasted.
    Recovered {
        organ: Organ,
        rung: Option<Action>,
        lasted: Duration,
    },
    /// All rungs were climbed in vain.
    GaveUp {
        organ: Organ,
        rest: Duration,
    },
    /// A reboot is the only cure left, and there is none left.
    SafeMode {
        organ: Organ,
    },
}

/// The ladders' plans.
#[derive(Debug, Clone)]
pub(crate) struct Plans {
    pub camera: Plan<Action>,
    pub wifi: Plan<Action>,
    pub disk: Plan<Action>,
    pub memory: Plan<Action>,
    pub clock: Plan<Action>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Healing {
    ladders: [(Organ, Ladder<Action>); 5],
    seek: Seek,
    /// Whose only cure left is a reboot, while there is none.
    safe_mode: Option<Organ>,
}

impl Healing {
    pub(crate) fn new(plans: Plans) -> Healing {
        let Plans { camera, wifi, disk, memory, clock } = plans;
        let [a, b, c, d, e] = Organ::ALL;
        let plans = [(a, camera), (b, wifi), (c, disk), (d, memory), (e, clock)];
        Healing {
            ladders: plans.map(|(organ, plan)| (organ, Ladder::new(plan))),
            seek: Seek::default(),
            safe_mode: None,
        }
    }

    /// The ladder of an organ, for the status.
    pub(crate) fn ladders(&self) -> impl Iterator<Item = (Organ, &Ladder<Action>)> {
        self.ladders.iter().map(|(organ, ladder)| (*organ, ladder))
    }

    /// Whether reboots would be the cure, and there is none left.
    pub(crate) fn is_safe_mode(&self) -> bool {
        self.safe_mode.is_some()
    }

    /// Whether every organ is well.
    pub(crate) fn is_well(&self) -> bool {
        self.ladders.iter().all(|(_, ladder)| ladder.ill_since().is_none())
    }

    /// Whether an order is being carried out.
    pub(crate) fn is_acting(&self) -> bool {
        self.seek.acting || self.ladders.iter().any(|(_, ladder)| ladder.is_acting())
    }

    /// What is to be done at this moment. At most one order is out at a time, until
    /// [`Healing::done`].
    pub(crate) fn look(&mut self, now: Mono, sight: &Sight) -> Vec<Deed> {
        let mut deeds = Vec::new();
        let away = self.seek.see(now, &sight.wifi);
        let mut seek = away;
        for index in 0..self.ladders.len() {
            let busy = self.is_acting();
            let Some((organ, ladder)) = self.ladders.get_mut(index) else { continue };
            let organ = *organ;
            let busy = busy && !ladder.is_acting();
            ladder.hold(now, busy || held(organ, sight));
            if organ == Organ::Wifi {
                if away {
                    // When it is back, what was seen of its absence says nothing of us.
                    ladder.begin_anew(now);
                }
                let is_gone = matches!(sight.wifi, WifiSight::NoAccessPoint { .. });
                seek |= is_gone && ladder.is_resting();
            }
            let ill_for = ladder.ill_since().map(|since| now.since(since)).unwrap_or_default();
            let may = |action: &Action| may(organ, *action, now, ill_for, sight);
            let step = ladder.see(now, is_well(organ, sight), may);
            deeds.extend(step.and_then(|step| deed(organ, ladder.plan(), step, sight)));
        }
        if seek && !self.is_acting() && self.seek.is_due(now) {
            deeds.push(Deed::Do(Order {
                organ: Organ::Wifi,
                action: Action::Reassociate,
                is_news: false,
                reason: "the access point is not there: looking for it".to_owned(),
            }));
        }
        deeds.extend(self.safe_mode(now, sight));
        deeds
    }

    /// The order is carried out, or given up; `available` is false if there was nothing here that it
    /// could be done to.
    pub(crate) fn done(&mut self, now: Mono, organ: Organ, available: bool) {
        if organ == Organ::Wifi && self.seek.acting {
            self.seek.acting = false;
            return;
        }
        for (_, ladder) in self.ladders.iter_mut().filter(|(of, _)| *of == organ) {
            ladder.done(now, available);
        }
    }

    /// Whether a reboot would be next, were there one left.
    fn safe_mode(&mut self, now: Mono, sight: &Sight) -> Option<Deed> {
        let is_empty = sight.reboots_left == Some(0);
        let wants = |(organ, ladder): &&(Organ, Ladder<Action>)| {
            let top = ladder.plan().rungs.last().map(|rung| rung.action);
            let since = ladder.ill_since().filter(|_| ladder.is_resting());
            top == Some(Action::Reboot)
                && since.is_some_and(|since| is_due(*organ, now, now.since(since), sight))
        };
        let organ = self.ladders.iter().find(wants).filter(|_| is_empty).map(|(organ, _)| *organ);
        // While its ladder climbs once more it is no better off.
        let still = |of: &Organ| {
            let mut ladders = self.ladders.iter();
            is_empty && ladders.any(|(organ, l)| organ == of && l.ill_since().is_some())
        };
        self.safe_mode = self.safe_mode.filter(still);
        let organ = organ.filter(|_| self.safe_mode.is_none())?;
        self.safe_mode = Some(organ);
        Some(Deed::SafeMode { organ })
    }
}

fn is_well(organ: Organ, sight: &Sight) -> bool {
    match organ {
        Organ::Camera => sight.camera.well,
        Organ::Wifi => sight.wifi == WifiSight::Well,
        Organ::Disk => !sight.disk_full,
        Organ::Memory => !sight.memory_low,
        Organ::Clock => sight.clock_set,
    }
}

/// Whether an organ's trouble is explained by another's.
fn held(organ: Organ, sight: &Sight) -> bool {
    organ == Organ::Clock && !sight.online
}

fn may(organ: Organ, action: Action, now: Mono, ill_for: Duration, sight: &Sight) -> bool {
    let camera = &sight.camera;
    let healer = sight.reboots_left.is_some();
    match action {
        Action::Reopen | Action::Shrink => true,
        Action::OtherFormat => match camera.fault {
            CameraFault::Corrupt | CameraFault::Refused(_) | CameraFault::Other => true,
            // No format brings back what has stopped; unless there is nothing better to try.
            CameraFault::NoFrame | CameraFault::Helper => !camera.usb,
            CameraFault::Repeated
            | CameraFault::Gone
            | CameraFault::Hung
            | CameraFault::Unsuitable => false,
        },
        Action::Helper => camera.helper,
        Action::Usb => healer && camera.usb,
        Action::Rebind => healer && camera.device,
        Action::Power => camera.power,
        // Nothing of that can be done to an interface that is gone.
        Action::Reassociate | Action::Rescan | Action::Cycle | Action::Restart => {
            healer && sight.wifi_present
        }
        Action::Reload | Action::RebindChip | Action::Vacuum | Action::AskTime => healer,
        Action::Reboot => {
            sight.reboots_left.is_some_and(|left| left > 0) && is_due(organ, now, ill_for, sight)
        }
    }
}

/// Whether an organ has been ill for long enough to be worth a reboot.
fn is_due(organ: Organ, now: Mono, ill_for: Duration, sight: &Sight) -> bool {
    match organ {
        Organ::Camera => reboot_after(sight.camera.fault).is_some_and(|after| ill_for >= after),
        Organ::Wifi => ill_for >= REBOOT_OFFLINE && is_to_blame(now, sight),
        Organ::Disk | Organ::Memory | Organ::Clock => false,
    }
}

/// After how long a camera's fault is worth a reboot; `None`: it never is.
fn reboot_after(fault: CameraFault) -> Option<Duration> {
    match fault {
        CameraFault::Gone => Some(REBOOT_GONE),
        // A matter of configuration, of rights, or of another program.
        CameraFault::Unsuitable
        | CameraFault::Refused(libc::EACCES | libc::EPERM | libc::EBUSY) => None,
        // In complete darkness a cheap sensor may well see the same twice.
        CameraFault::Repeated => None,
        CameraFault::NoFrame
        | CameraFault::Corrupt
        | CameraFault::Refused(_)
        | CameraFault::Helper
        | CameraFault::Hung
        | CameraFault::Other => Some(REBOOT_AFTER),
    }
}

/// No reboot for a lost network alone: only if the access point was there lately, so that the fault
/// must be here; or if nothing of what the camera sees is saved in any way.
fn is_to_blame(now: Mono, sight: &Sight) -> bool {
    let heard = sight.access_point_heard;
    heard.is_some_and(|heard| now.since(heard) < HEARD_LATELY)
        || (!sight.wired && !sight.keeps_pictures)
}

fn deed(organ: Organ, plan: &Plan<Action>, step: Step<Action>, sight: &Sight) -> Option<Deed> {
    match step {
        Step::Act { attempt, climb, action, .. } => {
            let reason = match (organ, &sight.wifi) {
                (Organ::Camera, _) => sight.camera.cause.clone(),
                (Organ::Wifi, WifiSight::Ill(why)) => why.clone(),
                (Organ::Wifi, _) => "the access point is not heard, and nothing else".to_owned(),
                (Organ::Disk, _) => "the disk is full".to_owned(),
                (Organ::Memory, _) => "memory runs out".to_owned(),
                (Organ::Clock, _) => "nobody sets the clock".to_owned(),
            };
            let is_news = attempt == 1 && (climb == 1 || action == Action::Reboot);
            Some(Deed::Do(Order { organ, action, is_news, reason }))
        }
        Step::Recovered { rung, lasted } => {
            let rung = rung.and_then(|rung| plan.rungs.get(rung)).map(|rung| rung.action);
            // A hiccup that nobody cured is no news.
            let is_news = rung.is_some() || lasted >= HICCUP || organ == Organ::Clock;
            is_news.then_some(Deed::Recovered { organ, rung, lasted })
        }
        Step::Rests { rest, climb } => (climb == 1).then_some(Deed::GaveUp { organ, rest }),
    }
}

/// Looks for an access point that is gone.
#[derive(Debug, Default)]
struct Seek {
    since: Option<Mono>,
    deaf_since: Option<Mono>,
    sought: Option<Mono>,
    acting: bool,
}

impl Seek {
    /// Whether the access point is away, and that is no fault of ours.
    fn see(&mut self, now: Mono, wifi: &WifiSight) -> bool {
        let WifiSight::NoAccessPoint { heard_others } = wifi else {
            let acting = self.acting;
            *self = Seek { acting, ..Seek::default() };
            return false;
        };
        self.since.get_or_insert(now);
        if *heard_others {
            self.deaf_since = None;
            return true;
        }
        now.since(*self.deaf_since.get_or_insert(now)) < DEAF_AFTER
    }

    fn is_due(&mut self, now: Mono) -> bool {
        let Some(since) = self.since else { return false };
        let every = if now.since(since) < SEEK_SOON { SEEK_EVERY } else { SEEK_SLOWLY };
        if self.sought.is_some_and(|sought| now.since(sought) < every) {
            return false;
        }
        self.sought = Some(now);
        self.acting = true;
        true
    }
}

#[cfg(test)]
mod tests;
