//! One task that looks at the organs' health and acts on it: ladders decide (`healing.rs`), an actuator
//! does (`act.rs`), one thing at a time. It tells others, too: systemd's watchdog, `systemctl status`,
//! the status file (`tell.rs`). It captures and sends nothing, and no file of the pipeline knows it.

mod act;
pub(crate) mod button;
mod chores;
mod healer;
mod healing;
mod heat;
pub(crate) mod led;
pub(crate) mod plans;
mod power;
mod rate;
mod sight;
pub(crate) mod system;
mod tell;
mod watchdog;

use std::collections::VecDeque;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ladder::{Ladder, Mono};
use runtime::clock;
use runtime::event::{About, Event};
use runtime::heal::{Outcome, State};
use runtime::settings::duration_text;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use self::act::{Actuator, Performed};
use self::chores::Chores;
use self::healer::Healer;
use self::healing::{Deed, Healing, Order, Plans};
use self::heat::Heat;
use self::plans::{Action, CameraPace, Organ};
use self::power::Power;
use self::sight::{Seen, Setup, uploads_work};
use self::system::{Disk, Looks, System};
use self::tell::Teller;
use crate::config::{ClockTrust, HealConfig, SourceKind};
use crate::health::{Health, rounded};
use crate::machine::Machine;
use crate::network::{Blame, Network, judge};
use crate::sensor::thread::Sensor;
use crate::status::CureStatus;
use crate::update::{Surroundings, Updates};

/// How often it looks.
const TICK: Duration = Duration::from_millis(500);

/// How often it looks at what changes slowly: disk, memory, temperature, the healer's state.
const SLOW_TICK: Duration = Duration::from_secs(5);

/// A change of the network that did not last so long is not worth a line.
const NETWORK_SETTLES: Duration = Duration::from_secs(3);

/// Cures that the status shows.
const MAX_CURES: usize = 10;

/// What the task needs.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub health: Arc<Health>,
    pub sensor: Arc<Sensor>,
    pub network: Arc<Network>,
    pub machine: Arc<Machine>,
    pub updates: Arc<Updates>,
    pub heal: HealConfig,
    pub clock: ClockTrust,
    /// A watchdog of the agent's own.
    pub watchdog: Option<PathBuf>,
    /// The longest normal turn of the upload loop.
    pub upload_turn: Duration,
    /// Whether pictures of the time without network are kept.
    pub keeps_pictures: bool,
    /// The relay's URL without the password.
    pub relay: String,
    pub status_file: PathBuf,
    /// Ends the agent, with a reason, for systemd to start it anew.
    pub quit: mpsc::Sender<String>,
}

/// Runs until `stop`.
pub(crate) async fn run(supervisor: Supervisor, stop: CancellationToken) {
    let mut care = Care::new(supervisor);
    loop {
        care.look().await;
        tokio::select! {
            () = stop.cancelled() => break,
            performed = under_way(&mut care.acting) => care.performed(performed),
            () = care.chores.turn() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
    care.teller.end(&care.supervisor.status_file);
}

type Acting = Pin<Box<dyn Future<Output = Performed> + Send>>;

/// Waits for what is being done; for ever if nothing is.
async fn under_way(acting: &mut Option<Acting>) -> Performed {
    match acting {
        Some(future) => {
            let performed = future.await;
            *acting = None;
            performed
        }
        None => std::future::pending().await,
    }
}

struct Care {
    supervisor: Supervisor,
    setup: Setup,
    actuator: Arc<Actuator>,
    healer: Healer,
    healing: Healing,
    heat: Heat,
    acting: Option<Acting>,
    chores: Chores,
    teller: Teller,
    cures: VecDeque<(Mono, CureStatus)>,
    /// What was found at the last slow tick.
    looked: Option<Mono>,
    looks: Looks,
    system: System,
    state: Option<State>,
    /// What the network was last judged to be, since when, and what was said of it.
    blame: (Blame, Mono),
    network_said: Option<(Blame, String)>,
    no_healer_said: bool,
    undervoltage: bool,
}

impl Care {
    fn new(supervisor: Supervisor) -> Care {
        let Supervisor { heal, sensor, .. } = &supervisor;
        let now = clock::mono();
        let config = &sensor.config;
        let power = Power::on(config.power_gpio, config.power_active);
        let setup = Setup {
            started: now,
            has_power: power.is_some(),
            keeps_pictures: supervisor.keeps_pictures,
        };
        let healer = Healer::at(&heal.socket);
        let actuator = Actuator {
            started: now,
            sensor: Arc::clone(sensor),
            healer: healer.clone(),
            power: Mutex::new(power),
            quit: supervisor.quit.clone(),
        };
        // A folder and a test card have no driver, no plug and no power.
        let is_real = !matches!(config.source, SourceKind::Directory | SourceKind::Pattern);
        let mut rungs = heal.camera.clone();
        rungs.retain(|rung| is_real || *rung == Action::Reopen);
        let pace = CameraPace { warm_up: config.warm_up, interval: config.interval() };
        let plans = Plans {
            camera: plans::camera(&rungs, pace),
            wifi: plans::wifi(&heal.wifi),
            disk: plans::disk(),
            memory: plans::memory(),
            clock: plans::clock(),
        };
        Care {
            setup,
            actuator: Arc::new(actuator),
            chores: Chores::new(now, healer.clone()),
            healer,
            healing: Healing::new(plans),
            heat: Heat::new(heal.max_temperature),
            acting: None,
            teller: Teller::new(now, supervisor.watchdog.clone()),
            cures: VecDeque::new(),
            looked: None,
            looks: Looks::default(),
            system: System::default(),
            state: None,
            blame: (Blame::Nobody, now),
            network_said: None,
            no_healer_said: false,
            undervoltage: false,
            supervisor,
        }
    }

    async fn look(&mut self) {
        let now = clock::mono();
        if self.looked.is_none_or(|looked| now.since(looked) >= SLOW_TICK) {
            self.looked = Some(now);
            self.look_slowly(now).await;
        }
        self.look_at_network(now);
        let clock_set = match self.supervisor.clock {
            ClockTrust::Auto => clock::synchronised(),
            ClockTrust::Trusted | ClockTrust::Untrusted => true,
        };
        let facts = self.supervisor.network.latest();
        let seen = Seen {
            now,
            setup: &self.setup,
            health: &self.supervisor.health,
            sensor: &self.supervisor.sensor,
            network: facts.as_ref(),
            blame: self.blame.0,
            system: self.system,
            clock_set,
            healer: self.state.as_ref(),
        };
        let sight = seen.sight();
        for deed in self.healing.look(now, &sight) {
            self.deed(deed);
        }
        let wifi = facts.and_then(|facts| facts.wifi);
        self.chores.see(now, self.healing.is_well(), wifi.as_ref());
        self.light();
        self.supervisor.updates.surrounded_by(Surroundings {
            healing: self.at_work(),
            low_voltage: self.supervisor.machine.has_low_voltage() == Some(true),
            reboots_left: self.state.as_ref().map(|state| state.reboots_left),
        });
        self.tell(now);
    }

    /// The organ that is being healed. That nobody sets the clock is no reason to leave anything else;
    /// and where all was tried in vain, an update may be what helps.
    fn at_work(&self) -> Option<&'static str> {
        let at_work = |(organ, ladder): &(Organ, &Ladder<Action>)| {
            *organ != Organ::Clock && ladder.ill_since().is_some() && !ladder.is_resting()
        };
        self.healing.ladders().find(at_work).map(|(organ, _)| organ.name())
    }

    /// What the status light shows beside the loops' own trouble.
    fn light(&self) {
        let Health { wifi_ill, system_ill, safe_mode, .. } = self.supervisor.health.as_ref();
        let is_ill = |organs: &[Organ]| {
            let ill = |(organ, ladder): (Organ, &Ladder<Action>)| {
                organs.contains(&organ) && ladder.ill_since().is_some()
            };
            self.healing.ladders().any(ill)
        };
        wifi_ill.store(is_ill(&[Organ::Wifi]), Ordering::Relaxed);
        let slowed = self.supervisor.sensor.capture.divisor() > 1;
        let disk = self.system.disk != Disk::Fine;
        system_ill
            .store(slowed || disk || is_ill(&[Organ::Disk, Organ::Memory]), Ordering::Relaxed);
        safe_mode.store(self.healing.is_safe_mode(), Ordering::Relaxed);
    }

    async fn look_slowly(&mut self, now: Mono) {
        let before = self.system.disk;
        let folder = system::state_directory();
        self.system = self.looks.look(now, folder.as_deref()).await;
        // It has the last word on reboots; before it has said anything, one may be left.
        let unknown = State { reboots_left: 1, ..State::default() };
        let is_there = self.healer.is_there();
        self.state = is_there.then(|| self.healer.state().unwrap_or(unknown));
        let disk = About::organ(Organ::Disk.name());
        match self.system.disk {
            found if found == before => {}
            Disk::Fine => Event::DiskFine.say(disk, format_args!("disk: works again")),
            Disk::Full => Event::DiskFull.say(disk, format_args!("disk: no room is left")),
            Disk::ReadOnly => Event::DiskReadOnly.say(
                disk,
                format_args!("disk: can't be written to any more; pictures go on, kept in memory"),
            ),
            Disk::Hangs => Event::DiskReadOnly.say(
                disk,
                format_args!("disk: does not answer any more; pictures go on, kept in memory"),
            ),
        }
        let report = self.supervisor.machine.latest().unwrap_or_default();
        let undervoltage = report.undervoltage == Some(true);
        if undervoltage && !std::mem::replace(&mut self.undervoltage, undervoltage) {
            Event::Undervoltage.say(
                About::organ("power"),
                format_args!("power: the supply's voltage is too low, or was since the start"),
            );
        }
        if let Some(celsius) = report.temperature_c
            && let Some(divisor) = self.heat.see(now, celsius)
        {
            self.supervisor.sensor.capture.slow(divisor);
            let heat = About::organ("heat");
            match divisor {
                1 => Event::Cooled
                    .say(heat, format_args!("heat: {celsius:.0} °C: all pictures again")),
                _ => Event::Hot.say(
                    heat,
                    format_args!("heat: {celsius:.0} °C: only one picture in {divisor} is taken"),
                ),
            }
        }
    }

    fn look_at_network(&mut self, now: Mono) {
        let works = uploads_work(&self.supervisor.health);
        self.supervisor.network.suspect(!works);
        let Some(facts) = self.supervisor.network.latest() else { return };
        let blame = judge(&facts, works);
        if blame != self.blame.0 {
            self.blame = (blame, now);
        }
        let (blame, since) = self.blame;
        let said = self.network_said.as_ref().map(|(blame, _)| *blame);
        if said == Some(blame) || now.since(since) < NETWORK_SETTLES {
            return;
        }
        let sentence = blame.sentence(&facts);
        // That nothing is wrong at first is no news.
        if said.is_some() || blame != Blame::Nobody {
            Event::Network.say(About::organ("network"), format_args!("network: {sentence}"));
        }
        self.network_said = Some((blame, sentence));
    }

    fn deed(&mut self, deed: Deed) {
        match deed {
            Deed::Do(order) => self.act(order),
            Deed::Recovered { organ: Organ::Clock, lasted, .. } => {
                let about = About { age: Some(lasted), ..About::organ(Organ::Clock.name()) };
                Event::ClockSet.say(about, format_args!("clock: is set again"));
            }
            Deed::Recovered { organ, rung, lasted } => {
                let (organ, rung) = (organ.name(), rung.map(Action::name));
                let by = rung.map_or("by itself".to_owned(), |rung| format!("by \"{rung}\""));
                let about = About { rung, age: Some(lasted), ..About::organ(organ) };
                let lasted = duration_text(rounded(lasted));
                let text = format_args!("{organ}: well again {by} after {lasted}");
                Event::Recovered.say(about, text);
            }
            Deed::GaveUp { organ, rest } => {
                let organ = organ.name();
                let rest = duration_text(rounded(rest));
                Event::GaveUp.say(
                    About::organ(organ),
                    format_args!("{organ}: nothing has helped; beginning anew in {rest}"),
                );
            }
            Deed::SafeMode { organ } => {
                let organ = organ.name();
                Event::SafeMode.say(
                    About::organ(organ),
                    format_args!(
                        "{organ}: only a reboot is left, and the budget is empty: staying up as \
                         it is, until it refills"
                    ),
                );
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "two of many have a line of their own")]
    fn act(&mut self, order: Order) {
        if !self.healer.is_there() && !self.no_healer_said {
            self.no_healer_said = true;
            let socket = self.supervisor.heal.socket.display();
            Event::NoHealer.say(
                About::organ(order.organ.name()),
                format_args!("there is no healer at {socket}: what needs root is left out"),
            );
        }
        let Order { organ, action, is_news, reason } = &order;
        let (organ, rung) = (organ.name(), action.name());
        if *is_news {
            let about = About { organ, rung: Some(rung), ..About::default() };
            match action {
                Action::Shrink => {
                    Event::MemoryLow.say(About::organ(organ), format_args!("memory: runs out"));
                }
                Action::AskTime => Event::ClockUnset
                    .say(About::organ(organ), format_args!("clock: nobody has set it for 5 min")),
                _ => {}
            }
            Event::Cure.say(about, format_args!("{organ}: trying \"{rung}\" ({reason})"));
        } else {
            tracing::debug!("{organ}: trying \"{rung}\" again ({reason})");
        }
        let actuator = Arc::clone(&self.actuator);
        let wifi = self.supervisor.network.latest().and_then(|facts| facts.wifi);
        let interface = wifi.map(|wifi| wifi.interface);
        self.acting = Some(Box::pin(async move { actuator.perform(order, interface).await }));
    }

    fn performed(&mut self, performed: Performed) {
        let now = clock::mono();
        let available = performed.was_available();
        let Performed { order, outcome, reached, said } = performed;
        let (organ, rung) = (order.organ.name(), order.action.name());
        self.healing.done(now, order.organ, available);
        let failed = outcome != Outcome::Done;
        if !reached {
            if std::mem::replace(&mut self.no_healer_said, true) {
                return;
            }
            Event::NoHealer.say(
                About::organ(organ),
                format_args!("the healer can't be reached ({said}): what needs root is left out"),
            );
        } else if failed && order.is_news {
            let about = About { organ, rung: Some(rung), ..About::default() };
            let what = match outcome {
                Outcome::Unavailable => "is not possible here",
                Outcome::Refused => "is refused",
                Outcome::Busy => "has to wait for another cure",
                Outcome::Done | Outcome::Failed => "failed",
            };
            Event::CureFailed.say(about, format_args!("{organ}: \"{rung}\" {what}: {said}"));
        }
        self.no_healer_said &= !reached || !self.healer.is_there();
        if order.is_news {
            let cure =
                CureStatus { organ: organ.to_owned(), rung: rung.to_owned(), outcome, ago_ms: 0 };
            self.cures.truncate(MAX_CURES - 1);
            self.cures.push_front((now, cure));
        }
    }
}
