//! A simulated machine: faults come and go by a schedule, cures take their time, reboots are spent from
//! a budget. Canonical faults leave traces in `traces/`, to be reviewed like code
//! (`BLESS=1 cargo test -p stillwatch-agent traces` writes them anew).

#![expect(clippy::wildcard_enum_match_arm, reason = "a simulation picks what it is about")]

use std::fmt::Write as _;
use std::path::Path;

use ladder::Budget;
use proptest::prelude::*;

use super::*;
use crate::supervise::plans::{self, CAMERA, CameraPace, WIFI};

const TICK: Duration = Duration::from_millis(500);
const BOOT: Duration = Duration::from_secs(40);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// What is wrong, and what cures it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Camera { fault: CameraFault, cured_by: Option<Action> },
    Wifi { cured_by: Option<Action> },
    AccessPointGone { heard_others: bool },
    DiskFull { cured_by: Option<Action> },
    MemoryLow,
    ClockUnset { cured_by: Option<Action> },
}

#[derive(Debug, Clone, Copy)]
struct Episode {
    at: Duration,
    /// When it ends by itself.
    ends: Option<Duration>,
    fault: Fault,
}

/// The machine, over all its boots.
struct World {
    healing: Healing,
    budget: Budget,
    /// Since the beginning, and since this boot.
    time: Duration,
    up: Duration,
    boot: u32,
    present: Vec<Episode>,
    acting: Option<(Organ, Action, Duration)>,
    accounted: Duration,
    heard: Option<Mono>,
    wifi_present: bool,
    wired: bool,
    keeps_pictures: bool,
    has_healer: bool,
    reboots: Vec<Duration>,
    trace: String,
}

fn healing() -> Healing {
    let pace = CameraPace { warm_up: Duration::from_secs(1), interval: Duration::from_millis(200) };
    Healing::new(Plans {
        camera: plans::camera(&CAMERA, pace),
        wifi: plans::wifi(&WIFI),
        disk: plans::disk(),
        memory: plans::memory(),
        clock: plans::clock(),
    })
}

impl World {
    fn new() -> World {
        World {
            healing: healing(),
            budget: Budget::full(),
            time: Duration::ZERO,
            up: MINUTE,
            boot: 1,
            present: Vec::new(),
            acting: None,
            accounted: Duration::ZERO,
            heard: None,
            wifi_present: true,
            wired: false,
            keeps_pictures: true,
            has_healer: true,
            reboots: Vec::new(),
            trace: String::new(),
        }
    }

    fn now(&self) -> Mono {
        Mono::from_boot(self.up)
    }

    fn say(&mut self, text: &str) {
        let _ = writeln!(self.trace, "{:>9.1} s  {text}", self.time.as_secs_f64());
    }

    fn sight(&self) -> Sight {
        let camera = self.present.iter().find_map(|episode| match episode.fault {
            Fault::Camera { fault, .. } => Some(fault),
            _ => None,
        });
        let mut wifi = WifiSight::Well;
        let (mut disk_full, mut memory_low, mut clock_set) = (false, false, true);
        for episode in &self.present {
            match episode.fault {
                Fault::Wifi { .. } => wifi = WifiSight::Ill("wlan0 is not connected".to_owned()),
                Fault::AccessPointGone { heard_others } => {
                    wifi = WifiSight::NoAccessPoint { heard_others };
                }
                Fault::DiskFull { .. } => disk_full = true,
                Fault::MemoryLow => memory_low = true,
                Fault::ClockUnset { .. } => clock_set = false,
                Fault::Camera { .. } => {}
            }
        }
        Sight {
            camera: CameraSight {
                well: camera.is_none(),
                fault: camera.unwrap_or(CameraFault::Other),
                cause: camera.map(|fault| format!("{fault:?}")).unwrap_or_default(),
                usb: true,
                device: true,
                helper: false,
                power: true,
            },
            online: wifi == WifiSight::Well,
            wifi_present: self.wifi_present,
            wifi,
            access_point_heard: self.heard,
            wired: self.wired,
            keeps_pictures: self.keeps_pictures,
            disk_full,
            memory_low,
            clock_set,
            reboots_left: self.has_healer.then(|| self.budget.left()),
        }
    }

    fn tick(&mut self, by: Duration) {
        self.time += by;
        self.up += by;
        if !self.present.iter().any(|e| matches!(e.fault, Fault::AccessPointGone { .. })) {
            self.heard = Some(self.now());
        }
        let time = self.time;
        let ended = self.present.iter().any(|e| e.ends.is_some_and(|ends| ends <= time));
        if ended {
            self.present.retain(|episode| episode.ends.is_none_or(|ends| ends > time));
            self.say("the fault is over by itself");
        }
        if let Some((organ, action, _)) = self.acting.take_if(|(_, _, until)| *until <= time) {
            self.acted(organ, action);
        }
        self.account();
        for deed in self.healing.look(self.now(), &self.sight()) {
            self.deed(deed);
        }
    }

    fn account(&mut self) {
        if self.up.saturating_sub(self.accounted) >= 30 * MINUTE {
            self.accounted = self.up;
            let (boot, well) = (self.boot.to_string(), self.healing.is_well());
            self.budget = self.budget.clone().account(&boot, self.now(), well);
        }
    }

    fn deed(&mut self, deed: Deed) {
        match deed {
            Deed::Do(Order { organ, action, is_news, reason }) => {
                assert!(self.acting.is_none(), "two cures at once: {action:?}");
                if is_news {
                    self.say(&format!("{}: {} ({reason})", organ.name(), action.name()));
                }
                let takes = Duration::from_millis(match action {
                    Action::Reopen | Action::OtherFormat | Action::Helper => 100,
                    Action::Power | Action::Reload => 4_000,
                    Action::Vacuum => 5_000,
                    _ => 1_500,
                });
                self.acting = Some((organ, action, self.time + takes));
            }
            Deed::Recovered { organ, rung, lasted } => {
                let rung = rung.map_or("itself", Action::name);
                let lasted = lasted.as_secs_f64();
                self.say(&format!("{}: well again by {rung} after {lasted:.1} s", organ.name()));
            }
            Deed::GaveUp { organ, rest } => {
                self.say(&format!("{}: all tried, rests {} s", organ.name(), rest.as_secs()));
            }
            Deed::SafeMode { organ } => self.say(&format!("{}: safe mode", organ.name())),
        }
    }

    fn acted(&mut self, organ: Organ, action: Action) {
        let cured = |fault: &Fault| match *fault {
            Fault::Camera { cured_by, .. } => organ == Organ::Camera && cured_by == Some(action),
            Fault::Wifi { cured_by } => organ == Organ::Wifi && cured_by == Some(action),
            Fault::DiskFull { cured_by } | Fault::ClockUnset { cured_by } => {
                cured_by == Some(action)
            }
            Fault::MemoryLow => action == Action::Shrink,
            Fault::AccessPointGone { .. } => false,
        };
        if action != Action::Reboot {
            self.present.retain(|episode| !cured(&episode.fault));
            return self.healing.done(self.now(), organ, true);
        }
        match self.budget.clone().spend() {
            None => self.healing.done(self.now(), organ, true),
            Some(less) => {
                self.budget = less;
                self.present.retain(|episode| !cured(&episode.fault));
                self.healing = healing();
                self.boot += 1;
                self.time += BOOT;
                (self.up, self.accounted, self.heard) = (BOOT, Duration::ZERO, None);
                self.reboots.push(self.time);
                let left = self.budget.left();
                self.say(&format!("rebooted, {left} left"));
            }
        }
    }

    /// Runs until `end`, with these faults; in big steps while all is well.
    fn run(&mut self, mut faults: Vec<Episode>, end: Duration) {
        faults.sort_by_key(|episode| episode.at);
        let mut faults = faults.into_iter().peekable();
        while self.time < end {
            let next = faults.peek().map_or(end, |episode| episode.at.min(end));
            while let Some(episode) = faults.next_if(|episode| episode.at <= self.time) {
                self.present.push(episode);
            }
            let calm = self.present.is_empty() && self.healing.is_well() && self.acting.is_none();
            let long = self.healing.ladders().all(|(_, ladder)| {
                ladder.ill_since().is_none_or(|since| self.now().since(since) > HOUR)
            });
            let step = match (calm, long) {
                (true, _) => next.saturating_sub(self.time).clamp(TICK, 5 * MINUTE),
                (false, true) => 4 * TICK,
                (false, false) => TICK,
            };
            self.tick(step);
        }
    }
}

fn camera(fault: CameraFault, cured_by: Option<Action>) -> Fault {
    Fault::Camera { fault, cured_by }
}

fn from(fault: Fault, minutes: u32) -> Vec<Episode> {
    vec![Episode { at: MINUTE, ends: Some(MINUTE + MINUTE * minutes), fault }]
}

/// The trace of one fault that begins after a minute.
fn trace(fault: Fault, minutes: u32) -> World {
    let mut world = World::new();
    world.run(from(fault, minutes), MINUTE * (minutes + 2));
    world
}

#[test]
fn traces_of_canonical_faults_are_as_reviewed() {
    let day = 24 * 60;
    let stall = CameraFault::NoFrame;
    let wifi = |cured_by| Fault::Wifi { cured_by };
    for (name, fault, minutes) in [
        ("camera-stalls-until-reopened", camera(stall, Some(Action::Reopen)), 30),
        ("camera-stalls-until-usb", camera(stall, Some(Action::Usb)), 30),
        ("camera-stalls-until-powered", camera(stall, Some(Action::Power)), 30),
        ("camera-stalls-until-reboot", camera(stall, Some(Action::Reboot)), 60),
        ("camera-repeats", camera(CameraFault::Repeated, Some(Action::Usb)), 30),
        ("camera-broken-pictures", camera(CameraFault::Corrupt, Some(Action::OtherFormat)), 30),
        ("camera-unplugged-for-two-minutes", camera(CameraFault::Gone, None), 2),
        ("camera-dead-for-a-day", camera(stall, None), day),
        ("wifi-until-reload", wifi(Some(Action::Reload)), 30),
        ("wifi-until-reboot", wifi(Some(Action::Reboot)), 60),
        ("wifi-wrong-key-for-a-day", wifi(None), day),
        ("access-point-gone-for-an-hour", Fault::AccessPointGone { heard_others: true }, 60),
        ("deaf-for-a-day", Fault::AccessPointGone { heard_others: false }, day),
        ("disk-full", Fault::DiskFull { cured_by: Some(Action::Vacuum) }, 60),
        ("memory-low", Fault::MemoryLow, 60),
        ("clock-unset", Fault::ClockUnset { cured_by: Some(Action::AskTime) }, 60),
    ] {
        let trace = trace(fault, minutes).trace;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/supervise/healing/traces");
        let path = folder.join(format!("{name}.txt"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &trace).unwrap();
        }
        let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(trace, reviewed, "{name}: BLESS=1 if this is meant");
    }
}

#[test]
fn what_is_done_to_an_interface_is_left_out_when_it_is_gone() {
    let mut world = World { wifi_present: false, ..World::new() };
    world.run(from(Fault::Wifi { cured_by: Some(Action::Reload) }, 5), 5 * MINUTE);
    assert!(world.trace.contains("65.0 s  wifi: reload"), "{}", world.trace);
    assert!(!world.trace.contains("restart"), "{}", world.trace);
}

#[test]
fn what_no_reboot_cures_costs_the_budget_and_no_more_in_a_day() {
    for fault in [camera(CameraFault::NoFrame, None), Fault::Wifi { cured_by: None }] {
        let mut world = World::new();
        world.run(from(fault, 24 * 60), DAY);
        assert_eq!(world.reboots.len(), 3, "{}", world.trace);
        assert!(world.healing.is_safe_mode() && world.trace.contains("safe mode"));
        record(&world);
    }
}

/// A row of docs/faults.md (`scripts/faults`, tests/src/faults.rs).
fn record(world: &World) {
    let Some(folder) = std::env::var_os("STILLWATCH_FAULTS") else { return };
    let organ = if world.trace.contains("camera: safe mode") { "camera" } else { "WiFi" };
    let number = if organ == "camera" { 30 } else { 31 };
    let row = format!(
        "{organ} broken for 24 h, and no reboot cures it\tno fresh picture, or no network\tall, {} \
         reboots, then safe mode: up and reachable all the time\tnever\tat most the budget's reboots (3)\
         \tsimulated\t{organ}: only a reboot is left, and the budget is empty: staying up as it is\n",
        world.reboots.len(),
    );
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(Path::new(&folder).join(format!("{number}.tsv")), row).unwrap();
}

#[test]
fn a_network_that_is_merely_away_costs_no_reboot() {
    for heard_others in [true, false] {
        let mut world = World::new();
        world.run(from(Fault::AccessPointGone { heard_others }, 7 * 24 * 60), 7 * DAY);
        assert_eq!(world.reboots.len(), 0, "{}", world.trace);
    }
    // But if pictures are kept nowhere, and nothing is heard, the machine may be deaf.
    let mut world = World { keeps_pictures: false, ..World::new() };
    world.run(from(Fault::AccessPointGone { heard_others: false }, 24 * 60), DAY);
    assert!(!world.reboots.is_empty(), "{}", world.trace);
}

#[test]
fn without_a_healer_the_camera_is_still_reopened_and_switched() {
    let mut world = World { has_healer: false, ..World::new() };
    world.run(from(camera(CameraFault::NoFrame, Some(Action::Power)), 30), 10 * MINUTE);
    assert!(world.trace.contains("well again by power"), "{}", world.trace);
    let mut world = World { has_healer: false, ..World::new() };
    world.run(from(Fault::Wifi { cured_by: None }, 24 * 60), DAY);
    assert!(world.reboots.is_empty() && !world.trace.contains("safe mode"), "{}", world.trace);
}

#[test]
fn while_one_organ_heals_the_other_waits_its_turn() {
    let mut world = World::new();
    let faults = [
        Fault::Wifi { cured_by: Some(Action::Reload) },
        camera(CameraFault::NoFrame, Some(Action::Usb)),
        Fault::DiskFull { cured_by: Some(Action::Vacuum) },
    ];
    let faults = faults.map(|fault| Episode { at: MINUTE, ends: None, fault });
    // `World::deed` fails if two are at work at once.
    world.run(faults.to_vec(), 10 * MINUTE);
    for organ in ["camera: well again by usb", "wifi: well again by reload", "disk: well again"] {
        assert!(world.trace.contains(organ), "{}", world.trace);
    }
}

fn any_fault() -> impl Strategy<Value = Fault> {
    let camera_cure = prop::option::of(prop::sample::select(CAMERA.to_vec()));
    let kinds = vec![
        CameraFault::NoFrame,
        CameraFault::Repeated,
        CameraFault::Corrupt,
        CameraFault::Gone,
        CameraFault::Refused(5),
        CameraFault::Hung,
    ];
    prop_oneof![
        (prop::sample::select(kinds), camera_cure).prop_map(|(fault, cure)| camera(fault, cure)),
        prop::option::of(prop::sample::select(WIFI.to_vec()))
            .prop_map(|cured_by| Fault::Wifi { cured_by }),
        any::<bool>().prop_map(|heard_others| Fault::AccessPointGone { heard_others }),
        Just(Fault::DiskFull { cured_by: Some(Action::Vacuum) }),
        Just(Fault::DiskFull { cured_by: None }),
        Just(Fault::MemoryLow),
        Just(Fault::ClockUnset { cured_by: None }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// A year with any faults: never two cures at once, never more reboots than the budget gives,
    /// and after the last fault all ladders are on the ground.
    #[test]
    fn any_year(
        faults in prop::collection::vec((0_u64..365 * 24 * 60, 1_u32..20 * 60, any_fault()), 1..40),
        wired: bool, keeps_pictures: bool,
    ) {
        let year = 365 * DAY;
        let episodes: Vec<Episode> = faults.into_iter().map(|(at, lasts, fault)| {
            let at = Duration::from_secs(at * 60);
            Episode { at, ends: Some((at + MINUTE * lasts).min(year - HOUR)), fault }
        }).collect();
        let ill = episodes.iter().map(|e| e.ends.unwrap_or(year).saturating_sub(e.at)).sum::<Duration>();
        let mut world = World { wired, keeps_pictures, ..World::new() };
        world.run(episodes, year);
        prop_assert!(world.healing.is_well(), "{}", world.trace);
        prop_assert!(!world.healing.is_safe_mode());
        // What the budget can give: all at first, and one in six healthy hours.
        let most = 3 + (world.time.as_secs() / (6 * 3_600));
        prop_assert!(world.reboots.len() as u64 <= most);
        let per_illness = 3 * (1 + ill.as_secs() / (10 * 60));
        prop_assert!(world.reboots.len() as u64 <= per_illness, "{}", world.trace);
        for window in world.reboots.windows(5) {
            let [first, .., last] = window else { continue };
            prop_assert!(*last - *first >= 6 * HOUR, "{}", world.trace);
        }
    }

    /// A fault that stays is always climbed as far as it may be, whatever came before.
    #[test]
    fn what_stays_is_climbed(before in prop::collection::vec((0_u64..600, 1_u32..60, any_fault()), 0..8)) {
        let mut world = World::new();
        let mut episodes: Vec<Episode> = before.into_iter().map(|(at, lasts, fault)| {
            let at = Duration::from_secs(at * 60);
            Episode { at, ends: Some(at + MINUTE * lasts), fault }
        }).collect();
        let at = 12 * HOUR;
        episodes.push(Episode { at, ends: None, fault: camera(CameraFault::NoFrame, Some(Action::Power)) });
        world.run(episodes, at + HOUR);
        prop_assert!(world.healing.is_well(), "{}", world.trace);
    }
}
