//! The service: first it judges the system that runs, then it looks out for updates, and installs them when it may.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use frame::version::Version;
use ladder::Mono;
use runtime::event::Event;
use runtime::files::{Survives, publish};
use runtime::update::{Phase, STATE, State};
use runtime::{clock, notify, signal};

use crate::install::{ABOUT, Installer, NotInstalled, wall_s};
use crate::judge::{Asked, Refusal, judge};
use crate::may::{Machine, Origin, may};
use crate::place::{Place, Running};
use crate::programs::{Bundle, Failed, Programs};
use crate::record::{Became, Failure, Past, Record, UnderWay};
use crate::slot::Slot;
use crate::source::{Found, Stamp, Sticks, found};
use crate::start::{self, Start};
use crate::trial::{Trial, Verdict, was_at_fault};
use crate::{install, sight};

/// Between two looks. A trial's minute is measured with it, an update waits for it.
const TURN: Duration = Duration::from_secs(5);

/// So many files are remembered as looked into; more are looked into again.
const MAX_LOOKED: usize = 32;

/// After so long it is tried again what could not be installed, though nothing was wrong with the bundle.
const AGAIN_AFTER: Duration = Duration::from_secs(3_600);

/// Why the service ended, other than because it was told to.
#[derive(Debug, thiserror::Error)]
#[error("can't listen for signals: {0}")]
pub(crate) struct RunError(#[from] io::Error);

/// Runs until a signal ends it.
///
/// # Errors
/// See [`RunError`].
pub(crate) async fn run(place: Place, running: Running) -> Result<(), RunError> {
    let mut stop = std::pin::pin!(signal::stop_requested());
    let mut updater = Updater::begin(place, running, clock::mono());
    notify::ready();
    loop {
        tokio::select! {
            signal = &mut stop => {
                tracing::info!("{}: stopping", signal?);
                updater.sticks.leave(&updater.place);
                return Ok(());
            }
            () = updater.turn() => {}
        }
        tokio::select! {
            signal = &mut stop => {
                tracing::info!("{}: stopping", signal?);
                return Ok(());
            }
            () = tokio::time::sleep(TURN) => {}
        }
        notify::feed_watchdog();
    }
}

/// What the running system has still to show.
#[derive(Debug)]
enum Stage {
    /// A new one, on trial.
    Trial(Box<Trial>),
    /// One that was kept before: that it starts.
    Starting,
    /// Nothing.
    Ready,
}

/// What came of looking into a file.
#[derive(Debug)]
enum Looked {
    Fits(Bundle),
    /// It fits, but could not be installed: not before then.
    Later(Bundle, Mono),
    No,
}

impl Looked {
    fn bundle(&self, now: Mono) -> Option<Bundle> {
        match self {
            Looked::Fits(bundle) => Some(bundle.clone()),
            Looked::Later(bundle, then) => (now >= *then).then(|| bundle.clone()),
            Looked::No => None,
        }
    }
}

#[derive(Debug)]
struct Updater {
    place: Place,
    programs: Programs,
    running: Running,
    began: Mono,
    stage: Stage,
    /// A new version that found no network, until it is known whether the old one does.
    doubt: Option<Failure>,
    /// What is under way may be started by us, not only by the next boot.
    again: bool,
    /// Nothing is noted of an update.
    is_usual: bool,
    /// The slot that was being written when this program ended.
    undo: Option<Slot>,
    sticks: Sticks,
    /// Files that were looked into, and what came of it.
    looked: HashMap<Stamp, Looked>,
    published: Option<State>,
    /// What the boot loader could not be told for, last.
    complaint: Option<Failed>,
}

impl Updater {
    fn begin(place: Place, running: Running, now: Mono) -> Updater {
        let mut record = Record::read(&place.state);
        let Running { bootloader, slot, version, .. } = &running;
        tracing::info!("{version} runs in slot {slot}");
        let is_trial = record.under_way.as_ref().is_some_and(|update| update.slot == *slot);
        // Somebody installs by hand: that is not ours to judge.
        let start = if install::is_busy(&place) && !is_trial {
            Start::Waits
        } else {
            Start::of(*slot, &record, *bootloader, bootloader.kept(&place), &place.boot_id())
        };
        start.note(&mut record, wall_s());
        say(&start, &running);
        let is_usual = start == Start::Usual;
        let (mut undo, mut doubt, mut again) = (None, None, false);
        let mut stage = Stage::Starting;
        match start {
            Start::Usual | Start::Waits | Start::Alone(_) | Start::Kept(_) => {}
            Start::Trial(update) => {
                stage = Stage::Trial(Box::new(Trial::begin(now, update.baseline)));
            }
            Start::Again(_) => again = true,
            Start::FellBack(_, failure) if failure.network_only => doubt = Some(failure),
            Start::FellBack(update, _) => bootloader.is_bad(&place, update.slot),
            Start::Interrupted(update) => {
                undo = Some(update.slot).filter(|_| update.boot == place.boot_id());
            }
        }
        let updater = Updater {
            programs: Programs::new(&place),
            place,
            running,
            began: now,
            stage,
            doubt,
            again,
            is_usual,
            undo,
            sticks: Sticks::default(),
            looked: HashMap::new(),
            published: None,
            complaint: None,
        };
        updater.write(&record);
        updater
    }

    fn write(&self, record: &Record) {
        if *record == Record::read(&self.place.state) {
            return;
        }
        if let Err(error) = record.write(&self.place.state) {
            tracing::error!("{}: {error}", self.place.state.display());
        }
    }

    async fn turn(&mut self) {
        let now = clock::mono();
        match &mut self.stage {
            Stage::Trial(trial) => {
                let seen = sight::seen(&self.place, &self.programs).await;
                let verdict = trial.judge(now, &seen);
                let missing = trial.missing().join("; ");
                let why = Some(missing).filter(|missing| !missing.is_empty());
                let version = self.running.version.clone();
                self.publish(Phase::Trial, Some(&version), None, why);
                match verdict {
                    Verdict::Wait => {}
                    Verdict::Keep => self.keep().await,
                    Verdict::TakeBack(failure) => self.take_back(failure).await,
                }
            }
            Stage::Starting => {
                self.publish(Phase::Idle, None, None, None);
                self.undo().await;
                if self.programs.has_started().await {
                    self.started().await;
                }
            }
            Stage::Ready if self.doubt.is_some() => self.settle_doubt(now),
            Stage::Ready => self.look().await,
        }
    }

    /// All has started: is it a system that was kept?
    async fn started(&mut self) {
        let Running { bootloader, slot, .. } = self.running;
        if self.is_usual && bootloader.is_on_trial(&self.place, &self.programs, slot).await {
            // Without the data partition there is no trial, and what can't bring that up is none to keep.
            let why = "what is noted of it can't be read: it has no data partition".to_owned();
            return self.take_back(Failure { why, network_only: false }).await;
        }
        if self.is_good().await {
            self.stage = Stage::Ready;
        }
    }

    /// An installation that this program was in the middle of when it ended: RAUC may still be at it.
    async fn undo(&mut self) {
        let Some(slot) = self.undo.take() else { return };
        self.programs.stop_rauc().await;
        let Running { bootloader, .. } = self.running;
        if let Err(error) = bootloader.take_back(&self.place, &self.programs, slot).await {
            tracing::error!("{error}");
        }
    }

    /// Tells the boot loader that the slot that runs comes up.
    async fn is_good(&mut self) -> bool {
        let Running { bootloader, slot, .. } = self.running;
        let kept = bootloader.keep(&self.place, &self.programs, slot).await;
        if let Err(error) = &kept
            && self.complaint.as_ref() != Some(error)
        {
            tracing::warn!("the boot loader can't be told that slot {slot} comes up: {error}");
        }
        self.complaint = kept.err();
        self.complaint.is_none()
    }

    async fn keep(&mut self) {
        if !self.is_good().await {
            // Tried again in the next turn.
            return;
        }
        let mut record = Record::read(&self.place.state);
        record.end(Became::Kept, None, wall_s());
        self.write(&record);
        say_kept(&self.running.version, self.running.slot);
        self.stage = Stage::Ready;
        self.publish(Phase::Idle, None, None, None);
    }

    async fn take_back(&mut self, failure: Failure) {
        let why = failure.why.clone();
        let Running { bootloader, slot, ref version, .. } = self.running;
        Event::UpdateTakenBack.say(
            ABOUT,
            format_args!(
                "{version} did not prove itself, going back to slot {}: {why}",
                slot.other()
            ),
        );
        match bootloader.take_back(&self.place, &self.programs, slot).await {
            Ok(()) => {
                // Only now: with this noted, whoever is here again is alone.
                let mut record = Record::read(&self.place.state);
                if let Some(update) = &mut record.under_way {
                    update.failed = Some(failure);
                }
                self.write(&record);
            }
            // Each start is another attempt, and they are counted.
            Err(error) => tracing::error!("{error}"),
        }
        bootloader.is_bad(&self.place, slot);
        let reason = format!("the update {version} did not prove itself: {why}");
        self.programs.restart(&reason, None).await;
    }

    /// Whether the new version was at fault when it found no network.
    fn settle_doubt(&mut self, now: Mono) {
        let mut record = Record::read(&self.place.state);
        let (Some(failure), Some(update)) = (&self.doubt, &record.under_way) else {
            self.doubt = None;
            return;
        };
        let (version, why) = (update.version.clone(), failure.why.clone());
        self.publish(Phase::Idle, None, None, None);
        match was_at_fault(now.since(self.began), sight::machine(&self.place).uploads) {
            None => return,
            Some(true) => {
                say_taken_back(&version, &why);
                record.end(Became::TakenBack, Some(why), wall_s());
            }
            Some(false) => {
                let why = format!("{why}; but {} finds no network either", self.running.version);
                Event::UpdateNotInstalled.say(
                    ABOUT,
                    format_args!("{version} could not prove itself, and may try again: {why}"),
                );
                record.end(Became::Unproven, Some(why), wall_s());
            }
        }
        self.write(&record);
        self.doubt = None;
    }

    /// Looks for a bundle, and installs it if it may be.
    async fn look(&mut self) {
        let record = Record::read(&self.place.state);
        if let Some(update) = &record.under_way {
            return match may_start(self.again, &sight::machine(&self.place)) {
                Ok(()) => self.start(&update.version).await,
                Err(why) => self.publish(Phase::Waiting, Some(&update.version), None, Some(why)),
            };
        }
        let mut files = found(&self.place);
        files.extend(self.sticks.look(&self.place));
        let mut best: Option<(Found, Bundle)> = None;
        for file in files {
            if let Some(bundle) = self.look_into(&file, &record).await
                && judge(&bundle, &self.running, &record, asked(file.origin)).is_ok()
                && best.as_ref().is_none_or(|(_, other)| other.version < bundle.version)
            {
                best = Some((file, bundle));
            }
        }
        let Some((file, bundle)) = best else {
            self.sticks.leave(&self.place);
            return self.publish(Phase::Idle, None, None, None);
        };
        let machine = sight::machine(&self.place);
        match may(file.origin, &machine, sight::window(&self.place)) {
            Ok(()) => self.install(&file, &bundle).await,
            Err(why) => self.publish(Phase::Waiting, Some(&bundle.version), None, Some(why)),
        }
        self.sticks.leave(&self.place);
    }

    /// What is in a file, if it is to be installed. Each file is looked into once.
    async fn look_into(&mut self, file: &Found, record: &Record) -> Option<Bundle> {
        if let Some(known) = self.looked.get(&file.stamp) {
            return known.bundle(clock::mono());
        }
        self.sticks.reach(&self.place, file);
        let installer = self.installer(asked(file.origin));
        let looked = installer.look(&file.path, record).await;
        let looked = match looked {
            Ok(bundle) => Looked::Fits(bundle),
            Err(NotInstalled::Refused(refusal @ (Refusal::Runs(_) | Refusal::UnderWay(_)))) => {
                tracing::debug!("{}: {refusal}", file.path.display());
                Looked::No
            }
            Err(error) => {
                self.refuse(file, None, &error);
                Looked::No
            }
        };
        if self.looked.len() >= MAX_LOOKED {
            self.looked.clear();
        }
        let bundle = looked.bundle(clock::mono());
        self.looked.insert(file.stamp.clone(), looked);
        bundle
    }

    fn installer(&self, asked: Asked) -> Installer<'_> {
        let Updater { place, programs, running, .. } = self;
        Installer { place, programs, running, asked }
    }

    async fn install(&mut self, file: &Found, bundle: &Bundle) {
        let version = bundle.version.clone();
        self.publish(Phase::Installing, Some(&version), Some(0), None);
        let asked = asked(file.origin);
        self.sticks.reach(&self.place, file);
        let installed = {
            let (place, programs, running) =
                (self.place.clone(), self.programs.clone(), self.running.clone());
            let installer =
                Installer { place: &place, programs: &programs, running: &running, asked };
            let tell =
                |percent| self.publish(Phase::Installing, Some(&version), Some(percent), None);
            installer.install(&file.path, bundle, tell).await
        };
        self.sticks.leave(&self.place);
        match installed {
            Ok(()) => self.start(&version).await,
            Err(error) => {
                let looked = match error {
                    NotInstalled::Refused(_) | NotInstalled::Bad(_) => Looked::No,
                    NotInstalled::Failed(_) | NotInstalled::Busy | NotInstalled::Record(_) => {
                        let now = clock::mono().since_boot();
                        Looked::Later(bundle.clone(), Mono::from_boot(now + AGAIN_AFTER))
                    }
                };
                self.looked.insert(file.stamp.clone(), looked);
                self.refuse(file, Some(&version), &error);
            }
        }
    }

    /// Reboots into what is installed.
    async fn start(&mut self, version: &Version) {
        // Once in each boot.
        self.again = false;
        self.publish(Phase::Restarting, Some(version), None, None);
        if let Err(error) = self.installer(Asked::Usual).start(version).await {
            tracing::error!("{version} can't be started: {error}");
        }
    }

    /// Says why a file is not installed. What is no bundle for here is remembered, so that the agent fetches it once.
    fn refuse(&self, file: &Found, version: Option<&Version>, error: &NotInstalled) {
        let path = file.path.display();
        let event = match error {
            NotInstalled::Refused(_) | NotInstalled::Bad(_) => Event::UpdateRefused,
            NotInstalled::Failed(_) | NotInstalled::Busy | NotInstalled::Record(_) => {
                Event::UpdateNotInstalled
            }
        };
        event.say(ABOUT, format_args!("{path} is not installed: {error}"));
        let offered = || file.offered.as_ref()?.parse().ok();
        let never = matches!(
            error,
            NotInstalled::Bad(_)
                | NotInstalled::Refused(Refusal::Compatible { .. } | Refusal::Older { .. })
        );
        if never
            && file.origin != Origin::Hand
            && let Some(version) = version.cloned().or_else(offered)
        {
            let mut record = Record::read(&self.place.state);
            let why = Some(error.to_string());
            record.remember(Past { version, became: Became::Refused, why, wall_s: wall_s() });
            self.write(&record);
        }
    }

    /// Says what is done, if that has changed.
    fn publish(
        &mut self,
        phase: Phase,
        version: Option<&Version>,
        percent: Option<u8>,
        why: Option<String>,
    ) {
        let Running { slot, version: system, compatible, .. } = &self.running;
        let state = State {
            system: system.to_string(),
            compatible: compatible.clone(),
            slot: slot.to_string(),
            phase,
            version: version.map(Version::to_string),
            percent,
            why,
            rejected: Record::read(&self.place.state).rejected(),
        };
        if self.published.as_ref() == Some(&state) {
            return;
        }
        let said = self.published.as_ref().map(|before| (before.phase, &before.why));
        if phase == Phase::Waiting && said != Some((phase, &state.why)) {
            let version = state.version.as_deref().unwrap_or_default();
            tracing::info!("{version} waits: {}", state.why.as_deref().unwrap_or_default());
        }
        let path = self.place.below(STATE);
        let written = serde_json::to_vec_pretty(&state).map_err(io::Error::from);
        if let Err(error) = written.and_then(|json| publish(&path, &json, Survives::Exit)) {
            tracing::warn!("{}: {error}", path.display());
        }
        self.published = Some(state);
    }
}

/// What the owner wants now may have failed before.
fn asked(origin: Origin) -> Asked {
    match origin {
        Origin::Relay { now: true } => Asked::Again,
        Origin::Relay { now: false } | Origin::Hand => Asked::Usual,
    }
}

/// What a boot means, in the journal.
fn say(start: &Start, running: &Running) {
    let Running { version, slot, .. } = running;
    match start {
        Start::Usual | Start::Waits => {}
        Start::Alone(_) => Event::UpdateKept
            .say(ABOUT, format_args!("{version} is kept, because {}", start::ALONE)),
        Start::Kept(_) => say_kept(version, *slot),
        Start::Trial(update) => Event::UpdateTrial.say(
            ABOUT,
            format_args!("{version} is on trial in slot {slot}, start {}", update.starts + 1),
        ),
        Start::Again(UnderWay { version, tries, .. }) => {
            tracing::warn!("{version} did not come up; {tries} tries were made");
        }
        // Whose fault it was has to be seen.
        Start::FellBack(_, failure) if failure.network_only => {}
        Start::FellBack(update, failure) => say_taken_back(&update.version, &failure.why),
        Start::Interrupted(update) => Event::UpdateNotInstalled.say(
            ABOUT,
            format_args!("{} is not installed: {}", update.version, start::INTERRUPTED),
        ),
    }
}

fn say_kept(version: &Version, slot: Slot) {
    Event::UpdateKept.say(
        ABOUT,
        format_args!(
            "{version} has proved itself, and is kept: slot {slot} is started from now on"
        ),
    );
}

fn say_taken_back(version: &Version, why: &str) {
    Event::UpdateTakenBack.say(ABOUT, format_args!("{version} was taken back: {why}"));
}

/// Whether what is installed may be started now. Somebody, or the hour, has allowed it before; what can be wrong since
/// is the machine.
///
/// # Errors
/// What it waits for, as one sentence.
fn may_start(again: bool, machine: &Machine) -> Result<(), String> {
    // By hand, without a reboot.
    if !again {
        return Err("it is started with the next boot".to_owned());
    }
    may(Origin::Hand, machine, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootloader::Bootloader;
    use crate::install::starting;
    use crate::place::tests::place;
    use crate::record::tests::under_way;
    use crate::tryboot;

    fn begin(folder: &std::path::Path, slot: Slot, update: Option<UnderWay>) -> (Updater, Record) {
        let place = place(folder);
        Record { under_way: update, ..Record::default() }.write(&place.state).unwrap();
        let version = "0.2.0-2.0".parse().unwrap();
        let running =
            Running { bootloader: Bootloader::UBoot, slot, version, compatible: "c".to_owned() };
        let updater = Updater::begin(place, running, clock::mono());
        let record = Record::read(&updater.place.state);
        (updater, record)
    }

    #[test]
    fn each_boot_settles_what_the_one_before_left() {
        let folder = tempfile::tempdir().unwrap();
        let begin = |slot, update| begin(folder.path(), slot, update);
        let update = || under_way("0.2.0-2.0");
        let failed = |network_only| Some(Failure { why: "no picture".to_owned(), network_only });

        let (updater, _) = begin(Slot::A, None);
        assert!(matches!(updater.stage, Stage::Starting));

        // Three starts of a new one, counted.
        let (updater, record) = begin(Slot::B, Some(update()));
        assert!(matches!(updater.stage, Stage::Trial(_)));
        assert_eq!(record.under_way.map(|it| it.starts), Some(1));
        let (_, record) = begin(Slot::A, Some(UnderWay { starts: 2, ..update() }));
        let past = record.past.first().unwrap();
        assert_eq!(past.became, Became::TakenBack);
        assert_eq!(past.why.as_deref(), Some("it was started 2 times, and never proved itself"));

        // Taken back for a reason.
        let (_, record) = begin(Slot::A, Some(UnderWay { failed: failed(false), ..update() }));
        assert_eq!(record.past.first().unwrap().why.as_deref(), Some("no picture"));
        let (updater, record) = begin(Slot::A, Some(UnderWay { failed: failed(true), ..update() }));
        assert!(updater.doubt.is_some() && record.past.is_empty());

        // And the old one does not start any more.
        let (updater, record) =
            begin(Slot::B, Some(UnderWay { failed: failed(false), ..update() }));
        assert!(matches!(updater.stage, Stage::Starting));
        assert_eq!(record.past.first().unwrap().became, Became::Kept);

        let (_, record) = begin(Slot::A, Some(UnderWay { installed: false, ..update() }));
        assert_eq!(record.past.first().unwrap().became, Became::NotInstalled);
        assert_eq!(record.under_way, None);
    }

    /// Programs that write down how they were called, and fail: none reboots.
    fn programs(bin: &std::path::Path) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::create_dir(bin).unwrap();
        for name in ["stillwatch-healer", "systemctl"] {
            let script =
                format!("#!/bin/sh\necho {name} \"$*\" >>{}/calls\nexit 1\n", bin.display());
            std::fs::write(bin.join(name), script).unwrap();
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(bin.join(name), mode).unwrap();
        }
    }

    fn called(bin: &std::path::Path) -> String {
        let calls = std::fs::read_to_string(bin.join("calls")).unwrap_or_default();
        let _ = std::fs::remove_file(bin.join("calls"));
        calls
    }

    /// The real updater with the firmware's file.
    #[tokio::test]
    async fn with_tryboot_a_new_system_is_started_for_once_until_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        programs(&bin);
        let mut place = place(folder.path());
        place.path = bin.display().to_string();
        std::fs::create_dir_all(place.below(crate::source::CARD)).unwrap();
        tryboot::file::write(&place, Slot::A).unwrap();
        Record { under_way: Some(under_way("0.2.0-2.0")), ..Record::default() }
            .write(&place.state)
            .unwrap();
        let version: Version = "0.2.0-2.0".parse().unwrap();
        let boot = |slot| {
            let compatible = "c".to_owned();
            let running = Running {
                bootloader: Bootloader::Tryboot,
                slot,
                version: version.clone(),
                compatible,
            };
            Updater::begin(place.clone(), running, clock::mono())
        };
        let tries = || Record::read(&place.state).under_way.map(|update| update.tries);

        // The power was cut before the reboot: it is waited for a machine that is well.
        let mut old = boot(Slot::A);
        old.look().await;
        assert_eq!(old.published.as_ref().unwrap().why.as_deref(), Some("the agent does not run"));
        assert_eq!((tries(), called(&bin).as_str()), (Some(0), ""));
        old.start(&version).await;
        let forced = "systemctl reboot --force --force";
        let why = starting(&version);
        assert_eq!(tries(), Some(1));
        assert_eq!(
            called(&bin),
            format!(
                "stillwatch-healer restart --reason {why} --argument=0 tryboot\n\
                 {forced} --reboot-argument=0 tryboot\n"
            )
        );

        // It does not prove itself: there is nothing to write, and a reboot without a word.
        let mut new = boot(Slot::B);
        let record = Record::read(&place.state);
        let failure = Failure { why: "no picture".to_owned(), network_only: false };
        new.take_back(failure).await;
        assert_eq!(tryboot::file::read(&place), Some(Slot::A));
        let words = called(&bin);
        assert!(words.ends_with(&format!("no picture\n{forced}\n")), "{words}");
        boot(Slot::A);
        assert_eq!(Record::read(&place.state).past.first().unwrap().became, Became::TakenBack);

        // It does: it is started from now on.
        record.write(&place.state).unwrap();
        boot(Slot::B).keep().await;
        assert_eq!(tryboot::file::read(&place), Some(Slot::B));
        let record = Record::read(&place.state);
        assert_eq!((record.under_way, record.past.first().unwrap().became), (None, Became::Kept));
    }

    #[test]
    fn a_network_that_nobody_finds_is_no_fault_of_the_new_version() {
        let folder = tempfile::tempdir().unwrap();
        let failure = Failure { why: "no relay".to_owned(), network_only: true };
        let update = UnderWay { failed: Some(failure), ..under_way("0.3.0-2.0") };
        let (mut updater, _) = begin(folder.path(), Slot::A, Some(update));
        let now = updater.began;
        updater.settle_doubt(now);
        assert!(updater.doubt.is_some());
        updater.settle_doubt(Mono::from_boot(now.since_boot() + Duration::from_secs(600)));
        let past = Record::read(&updater.place.state).past;
        assert_eq!(past.first().map(|it| it.became), Some(Became::Unproven));
        assert!(updater.doubt.is_none());
    }
}
