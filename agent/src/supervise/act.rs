//! Does what a rung asks for: by the capture thread, by the camera's power, by the healer. It decides
//! nothing, and every act has a deadline.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ladder::Mono;
use runtime::clock;
use runtime::heal::{Outcome, Verb};
use tokio::sync::{Mutex, mpsc};

use super::healer::{Healer, was_available};
use super::healing::Order;
use super::plans::{Action, Organ};
use super::power::Power;
use super::system::{resident_kib, total_kib};
use crate::sensor::Manner;
use crate::sensor::thread::Sensor;

/// What the healer is asked for; `None`: the agent does it itself.
fn verb(action: Action) -> Option<Verb> {
    match action {
        Action::Reopen | Action::OtherFormat | Action::Helper | Action::Power | Action::Shrink => {
            None
        }
        Action::Usb => Some(Verb::CameraUsb),
        Action::Rebind => Some(Verb::CameraRebind),
        Action::Reassociate => Some(Verb::WifiReassociate),
        Action::Rescan => Some(Verb::WifiRescan),
        Action::Cycle => Some(Verb::WifiCycle),
        Action::Restart => Some(Verb::WifiRestart),
        Action::Reload => Some(Verb::WifiReload),
        Action::RebindChip => Some(Verb::WifiRebind),
        Action::Vacuum => Some(Verb::DiskVacuum),
        Action::AskTime => Some(Verb::ClockRetry),
        Action::Reboot => Some(Verb::Reboot),
    }
}

/// A process that holds less than one part in so many of all memory is not what fills it.
const WORTH_IT: u64 = 10;

/// An agent that was started less than so long ago does not end itself.
const SETTLED: Duration = Duration::from_secs(600);

/// How long the agent may take to end itself.
const QUIT_WITHIN: Duration = Duration::from_secs(5);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Actuator {
    pub started: Mono,
    pub sensor: Arc<Sensor>,
    pub healer: Healer,
    pub power: Mutex<Option<Power>>,
    /// Ends the agent, with a reason, for systemd to start it anew.
    pub quit: mpsc::Sender<String>,
}

/// What became of an order.
#[derive(Debug)]
pub(super) struct Performed {
    pub order: Order,
    pub outcome: Outcome,
    /// Whether the healer could be reached, if it was needed.
    pub reached: bool,
    /// What was said of it.
    pub said: String,
}

impl Performed {
    pub(super) fn was_available(&self) -> bool {
        was_available(self.outcome)
    }
}

impl Actuator {
    /// Carries out an order; `wifi` is the WiFi's interface.
    pub(super) async fn perform(&self, order: Order, wifi: Option<String>) -> Performed {
        let done =
            |order| Performed { order, outcome: Outcome::Done, reached: true, said: String::new() };
        if let Some(verb) = verb(order.action) {
            return self.ask(verb, order, wifi).await;
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "`verb` has them all")]
        match order.action {
            Action::OtherFormat => self.sensor.capture.reopen(Manner::Other),
            Action::Power => match self.power.lock().await.as_mut() {
                Some(power) => power.cycle().await,
                None => return Performed { outcome: Outcome::Unavailable, ..done(order) },
            },
            Action::Shrink if self.shrink().await => {}
            Action::Shrink => return Performed { outcome: Outcome::Unavailable, ..done(order) },
            // Each opening starts another helper, after the one before was killed.
            _ => self.sensor.capture.reopen(Manner::Usual),
        }
        done(order)
    }

    async fn ask(&self, verb: Verb, order: Order, wifi: Option<String>) -> Performed {
        let device = match order.organ {
            Organ::Camera => self.sensor.place().map(|place| place.usb.unwrap_or(place.node)),
            Organ::Wifi => wifi,
            Organ::Disk | Organ::Memory | Organ::Clock => None,
        };
        let device = device.filter(|_| verb != Verb::Reboot);
        let reason = match order.organ {
            Organ::Camera => format!("camera: {}", order.reason),
            Organ::Wifi | Organ::Disk | Organ::Memory | Organ::Clock => order.reason.clone(),
        };
        match self.healer.ask(verb, device, &reason).await {
            Ok(answer) => {
                let (outcome, said) = (answer.outcome, answer.said);
                Performed { order, outcome, reached: true, said }
            }
            Err(error) => {
                let said = error.to_string();
                Performed { order, outcome: Outcome::Unavailable, reached: false, said }
            }
        }
    }

    /// Ends the helper if it holds more memory than the agent itself, else the agent. `false`: neither
    /// holds so much that it would help.
    async fn shrink(&self) -> bool {
        let helper = self.sensor.helper.load(Ordering::Relaxed);
        let helper_kib = if helper == 0 { 0 } else { resident_kib(helper) };
        let own_kib = resident_kib(std::process::id());
        if helper_kib.max(own_kib) < total_kib() / WORTH_IT {
            return false;
        }
        if helper_kib > own_kib {
            self.sensor.capture.reopen(Manner::Usual);
            return true;
        }
        // Else one that was started a moment ago would end again and again.
        if clock::mono().since(self.started) < SETTLED {
            return false;
        }
        let why = format!("memory runs out, and the agent's {own_kib} KiB are the most of ours");
        let _ = tokio::time::timeout(QUIT_WITHIN, self.quit.send(why)).await;
        true
    }
}
