//! The firmware as Raspberry Pi documents it, a card, and the updater's course on both, with a power cut before each
//! write. A model, not a board: docs/updates-tryboot.md says what was read where, and docs/hardware.md what is to be tried.
//!
//! What is decided is decided by the real functions (`Start`, `hold`, `kept`, `text`, `Record`); the order of what is
//! written is that of run.rs and install.rs, and has to follow them.

use proptest::prelude::*;

use super::{ARGUMENT, ATTEMPTS, Hold, hold, kept, text};
use crate::bootloader::Bootloader;
use crate::record::{Baseline, Became, Failure, Record, UnderWay};
use crate::slot::Slot;
use crate::start::Start;

/// What the firmware does; the documentation is config_txt/autoboot.adoc and raspberry-pi/{bootflow-eeprom,
/// eeprom-bootloader}.adoc of raspberrypi/documentation.
#[derive(Debug, Clone, Copy)]
struct Firmware {
    /// It knows `[tryboot]` and the others: since November 2022. One before takes the last number of the file.
    sections: bool,
    /// PARTITION_WALK: it looks for another partition when the one that was named can't be started.
    walks: bool,
    /// A Pi 4 of revision 1.0 or 1.1 keeps the flag in its EEPROM, where a power cut does not reach it.
    durable: bool,
    flag: bool,
}

impl Firmware {
    /// What is started; the flag is gone before that. `None`: nothing, and no reset changes it.
    fn start(&mut self, card: &Card) -> Option<Slot> {
        for flag in [std::mem::take(&mut self.flag), false] {
            let named = self.named(card.autoboot.as_deref(), flag);
            let one = |partition: u32| super::slot(&partition.to_string());
            let starts = |partition: &u32| one(*partition).is_some_and(|slot| card.starts(slot));
            // Partition 1 holds neither config.txt nor start4.elf, so it never starts.
            let found = match named {
                0 => (1..=8).find(starts),
                named if self.walks => (named..=8).chain(0..named).find(starts),
                named => Some(named).filter(starts),
            };
            if let Some(slot) = found.and_then(one) {
                return Some(slot);
            }
            // A fatal error ends in a reset, and the flag is gone.
        }
        None
    }

    /// The partition that `autoboot.txt` names; 0: none, which is the first that can be started.
    fn named(&self, autoboot: Option<&str>, flag: bool) -> u32 {
        let mut applies = true;
        let mut partition = 0;
        for line in autoboot.filter(|text| text.len() <= 512).unwrap_or_default().lines() {
            match line.split_once('=') {
                _ if line.starts_with('[') => {
                    applies = match line {
                        "[all]" => true,
                        "[tryboot]" => flag,
                        _ => false,
                    } || !self.sections;
                }
                Some(("boot_partition", number)) if applies => {
                    partition = number.parse().unwrap_or(0);
                }
                _ => {}
            }
        }
        partition
    }

    fn power_cut(&mut self) {
        self.flag &= self.durable;
    }

    /// The word after the partition is what the kernel looks for (drivers/firmware/raspberrypi.c of raspberrypi/linux).
    fn reboot(&mut self, argument: Option<&str>) {
        self.flag = argument.is_some_and(|argument| argument.contains(" tryboot"));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Whole,
    /// Half written; the firmware may take it for a system all the same.
    Torn {
        looks_whole: bool,
    },
}

#[derive(Debug, Clone)]
struct Card {
    autoboot: Option<String>,
    a: Content,
    b: Content,
}

impl Card {
    fn slot(&mut self, slot: Slot) -> &mut Content {
        match slot {
            Slot::A => &mut self.a,
            Slot::B => &mut self.b,
        }
    }

    fn starts(&self, slot: Slot) -> bool {
        let content = if slot == Slot::A { self.a } else { self.b };
        content != Content::Torn { looks_whole: false }
    }
}

/// What a power cut leaves of the block that was being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Old,
    New,
    /// No card should do this.
    Garbage,
}

/// What happens during a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// It goes down before the updater runs, or while it runs and waits.
    Crash {
        early: bool,
    },
    /// A reboot without a word, such as one that heals.
    Reboot,
    /// A bundle comes; by hand it is not started at once.
    Install {
        by_hand: bool,
        looks_whole: bool,
    },
    /// A trial ends, else nothing happens.
    Keep,
    TakeBack {
        network_only: bool,
    },
    /// The data partition is made anew, early in the boot; then a bundle comes by hand, or nothing happens.
    Forget {
        by_hand: bool,
    },
}

#[derive(Debug)]
struct PowerCut;

#[derive(Debug)]
struct Machine {
    firmware: Firmware,
    card: Card,
    record: Record,
    /// What was noted as kept last, if that is known.
    kept: Option<Slot>,
    starts_of_new: u32,
    /// Writes until the power is cut.
    left: Option<u32>,
    block: Block,
}

impl Machine {
    fn new(firmware: Firmware) -> Machine {
        // As an image is written: there is nothing in B.
        let card = Card {
            autoboot: Some(text(Slot::A)),
            a: Content::Whole,
            b: Content::Torn { looks_whole: false },
        };
        Machine {
            firmware,
            card,
            record: Record::default(),
            kept: Some(Slot::A),
            starts_of_new: 0,
            left: None,
            block: Block::Old,
        }
    }

    fn write(&mut self) -> Result<(), PowerCut> {
        match &mut self.left {
            Some(0) => Err(PowerCut),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn note(&mut self, change: impl FnOnce(&mut Record)) -> Result<(), PowerCut> {
        let mut record = self.record.clone();
        change(&mut record);
        if record != self.record {
            self.write()?;
            self.record = record;
        }
        Ok(())
    }

    fn named(&self) -> Option<Slot> {
        kept(self.card.autoboot.as_deref().unwrap_or_default())
    }

    /// `bootloader::name`.
    fn name(&mut self, slot: Slot) -> Result<(), PowerCut> {
        if self.named() == Some(slot) {
            return Ok(());
        }
        let written = self.write();
        match self.block {
            Block::Old if written.is_err() => {}
            Block::Garbage if written.is_err() => self.card.autoboot = Some("\0[tr".to_owned()),
            Block::Old | Block::New | Block::Garbage => self.card.autoboot = Some(text(slot)),
        }
        written
    }

    /// One boot, until the machine goes down or nothing happens any more.
    fn boot(&mut self, act: Act) -> Result<(), PowerCut> {
        let slot = self.firmware.start(&self.card).expect("something is started");
        assert_eq!(*self.card.slot(slot), Content::Whole, "slot {slot} is whole");
        if act == (Act::Crash { early: true }) {
            return Ok(());
        }
        let act = match act {
            Act::Forget { by_hand } => {
                self.record = Record::default();
                self.kept = None;
                if by_hand { BY_HAND } else { Act::Keep }
            }
            Act::Crash { .. }
            | Act::Reboot
            | Act::Install { .. }
            | Act::Keep
            | Act::TakeBack { .. } => act,
        };
        let start = Start::of(slot, &self.record, Bootloader::Tryboot, self.named(), "");
        self.note(|record| start.note(record, 0))?;
        match &start {
            Start::Usual => {
                let expected = self.kept.unwrap_or(slot);
                assert_eq!(slot, expected, "what was kept is started");
            }
            Start::Alone(_) | Start::Kept(_) => self.kept = Some(slot),
            Start::Trial(_) => self.starts_of_new += 1,
            Start::FellBack(..) | Start::Again(_) | Start::Interrupted(_) | Start::Waits => {}
        }
        match act {
            Act::Crash { .. } => return Ok(()),
            Act::Reboot => {
                self.firmware.reboot(None);
                return Ok(());
            }
            Act::Install { .. } | Act::Keep | Act::TakeBack { .. } | Act::Forget { .. } => {}
        }
        if matches!(start, Start::Trial(_)) {
            self.trial(slot, act)
        } else {
            // Somebody's hand may be faster than the service.
            if !matches!(act, Act::Install { by_hand: true, .. }) {
                self.name(slot)?;
                self.kept = Some(slot);
            }
            self.ready(slot, &start, act)
        }
    }

    fn trial(&mut self, slot: Slot, act: Act) -> Result<(), PowerCut> {
        match act {
            Act::Keep => {
                self.name(slot)?;
                self.note(|record| record.end(Became::Kept, None, 0))?;
                self.kept = Some(slot);
            }
            Act::TakeBack { network_only } => {
                let failure = Failure { why: String::new(), network_only };
                self.note(|record| record.under_way.as_mut().unwrap().failed = Some(failure))?;
                self.name(slot.other())?;
                self.firmware.reboot(None);
            }
            Act::Install { .. } => {
                assert!(matches!(hold(self.named(), slot, &self.record), Hold::Refuse(_)));
            }
            Act::Crash { .. } | Act::Reboot | Act::Forget { .. } => {}
        }
        Ok(())
    }

    fn ready(&mut self, slot: Slot, start: &Start, act: Act) -> Result<(), PowerCut> {
        if matches!(start, Start::FellBack(_, failure) if failure.network_only) {
            self.note(|record| record.end(Became::Unproven, None, 0))?;
        }
        if let Act::Install { by_hand, looks_whole } = act {
            if !self.hold(slot)? {
                return Ok(());
            }
            let target = slot.other();
            self.note(|record| record.under_way = Some(under_way(target)))?;
            for looks_whole in [false, looks_whole] {
                self.write()?;
                *self.card.slot(target) = Content::Torn { looks_whole };
            }
            self.write()?;
            *self.card.slot(target) = Content::Whole;
            self.note(|record| record.under_way.as_mut().unwrap().installed = true)?;
            self.starts_of_new = 0;
            if by_hand { Ok(()) } else { self.start(slot) }
        } else if matches!(start, Start::Again(_)) {
            self.start(slot)
        } else {
            Ok(())
        }
    }

    /// `Installer::start`.
    fn start(&mut self, slot: Slot) -> Result<(), PowerCut> {
        assert!(self.hold(slot)?);
        self.note(|record| record.under_way.as_mut().unwrap().tries += 1)?;
        self.firmware.reboot(Some(ARGUMENT));
        Ok(())
    }

    /// `Bootloader::hold`: whether the other slot may be written.
    fn hold(&mut self, slot: Slot) -> Result<bool, PowerCut> {
        match hold(self.named(), slot, &self.record) {
            Hold::Fine => Ok(true),
            Hold::Repair => self.name(slot).map(|()| true),
            Hold::Refuse(_) => Ok(false),
        }
    }

    fn run(&mut self, act: Act, cut: Option<u32>, block: Block) {
        (self.left, self.block) = (cut, block);
        // At the latest when the machine is about to start again.
        if self.boot(act).is_err() || cut.is_some() {
            self.firmware.power_cut();
        }
        (self.left, self.block) = (None, Block::Old);
    }

    fn calm(&mut self, act: Act) {
        self.run(act, None, Block::Old);
    }
}

fn under_way(slot: Slot) -> UnderWay {
    UnderWay {
        version: "0.2.0-1.0".parse().unwrap(),
        slot,
        installed: false,
        baseline: Baseline::default(),
        starts: 0,
        tries: 0,
        failed: None,
        boot: String::new(),
    }
}

const PI_5: Firmware = Firmware { sections: true, walks: true, durable: false, flag: false };
const INSTALL: Act = Act::Install { by_hand: false, looks_whole: true };
const BY_HAND: Act = Act::Install { by_hand: true, looks_whole: true };
const CRASH: Act = Act::Crash { early: true };

/// Installed and kept: B is kept.
fn updated() -> Machine {
    let mut machine = Machine::new(PI_5);
    machine.calm(INSTALL);
    machine.calm(Act::Keep);
    assert_eq!((machine.kept, machine.named()), (Some(Slot::B), Some(Slot::B)));
    machine
}

#[test]
fn the_documentations_example() {
    let mut firmware = PI_5;
    let card = Card { autoboot: Some(text(Slot::A)), a: Content::Whole, b: Content::Whole };
    firmware.reboot(Some(ARGUMENT));
    // For once.
    assert_eq!(firmware.start(&card), Some(Slot::B));
    assert_eq!(firmware.start(&card), Some(Slot::A));
    firmware.reboot(Some(ARGUMENT));
    firmware.power_cut();
    assert_eq!(firmware.start(&card), Some(Slot::A));
    let card = Card { autoboot: Some(text(Slot::B)), ..card };
    assert_eq!(firmware.start(&card), Some(Slot::B));
    // Missing, damaged or longer than a block: the first that can be started.
    for damaged in [None, Some("\0\0".to_owned()), Some(format!("{}#", " ".repeat(512)))] {
        let mut card = Card { autoboot: damaged, ..card.clone() };
        assert_eq!(firmware.start(&card), Some(Slot::A));
        card.a = Content::Torn { looks_whole: false };
        assert_eq!(firmware.start(&card), Some(Slot::B));
    }
    // A partition that is named and can't be started: the next one, if it looks for that.
    let broken = Card { b: Content::Torn { looks_whole: false }, ..card };
    assert_eq!(firmware.start(&broken), Some(Slot::A));
    firmware.walks = false;
    assert_eq!(firmware.start(&broken), None);
    // From before there were sections.
    firmware.sections = false;
    for slot in [Slot::A, Slot::B] {
        firmware.flag = true;
        let card = Card { autoboot: Some(text(slot)), a: Content::Whole, b: Content::Whole };
        assert_eq!(firmware.start(&card), Some(slot));
    }
}

#[test]
fn one_that_never_comes_up_has_three_tries() {
    let mut machine = updated();
    machine.calm(INSTALL);
    for tries in 1..=ATTEMPTS {
        assert_eq!(machine.record.under_way.as_ref().unwrap().tries, tries);
        // The new one, in A, and then the old one.
        machine.calm(CRASH);
        machine.calm(Act::Keep);
    }
    assert_eq!(machine.record.under_way, None);
    let past = machine.record.past.last().unwrap();
    assert_eq!(past.became, Became::TakenBack);
    assert_eq!(past.why.as_deref(), Some("it did not come up, 3 times"));
    assert_eq!(machine.kept, Some(Slot::B));
}

#[test]
fn a_firmware_that_knows_no_trial_keeps_the_old_system() {
    let mut machine = Machine::new(Firmware { sections: false, walks: false, ..PI_5 });
    machine.calm(INSTALL);
    for _ in 0..ATTEMPTS {
        machine.calm(Act::Keep);
    }
    assert_eq!((machine.starts_of_new, machine.kept), (0, Some(Slot::A)));
    assert_eq!(machine.record.past.last().unwrap().became, Became::TakenBack);
}

#[test]
fn a_power_cut_between_keeping_and_noting_it_changes_nothing() {
    let mut machine = Machine::new(PI_5);
    machine.calm(INSTALL);
    // Its start is noted, autoboot.txt is written, and then.
    machine.run(Act::Keep, Some(2), Block::Old);
    assert_eq!(machine.named(), Some(Slot::B));
    machine.calm(Act::Keep);
    assert_eq!(machine.record.past.last().unwrap().became, Became::Kept);
    assert_eq!((machine.starts_of_new, machine.kept), (1, Some(Slot::B)));
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => any::<bool>().prop_map(|early| Act::Crash { early }),
        1 => Just(Act::Reboot),
        4 => any::<(bool, bool)>()
            .prop_map(|(by_hand, looks_whole)| Act::Install { by_hand, looks_whole }),
        4 => Just(Act::Keep),
        2 => any::<bool>().prop_map(|network_only| Act::TakeBack { network_only }),
        1 => any::<bool>().prop_map(|by_hand| Act::Forget { by_hand }),
    ]
}

fn firmware() -> impl Strategy<Value = Firmware> {
    any::<(bool, bool, bool)>().prop_map(|(sections, walks, durable)| Firmware {
        sections,
        walks,
        durable,
        flag: false,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// `Machine::boot` asserts what has to hold: something is started, it is whole, and what was kept is it.
    #[test]
    fn whatever_happens_a_whole_system_is_started_and_what_was_kept_stays(
        firmware in firmware(),
        boots in prop::collection::vec(
            (
                act(),
                prop::option::of(0..9_u32),
                prop_oneof![Just(Block::Old), Just(Block::New), Just(Block::Garbage)],
            ),
            1..40,
        ),
    ) {
        let mut machine = Machine::new(firmware);
        for (act, cut, block) in boots {
            machine.run(act, cut, block);
        }
        // And it comes to an end: nothing is tried for ever.
        for _ in 0..2 * ATTEMPTS + 2 {
            machine.calm(Act::TakeBack { network_only: false });
        }
        prop_assert_eq!(&machine.record.under_way, &None);
        let kept = machine.kept;
        machine.calm(Act::Reboot);
        prop_assert_eq!(machine.kept, kept);
        prop_assert_eq!(machine.named(), kept);
    }

    /// No more than three, whatever it does, as long as a card writes a block whole or not at all.
    #[test]
    fn a_new_system_that_is_not_judged_is_started_three_times_at_most(
        boots in prop::collection::vec((any::<bool>(), prop::option::of(0..3_u32)), 1..40),
    ) {
        let mut machine = updated();
        machine.calm(INSTALL);
        for (crash, cut) in boots {
            let act = if crash { Act::Crash { early: false } } else { INSTALL };
            // An installation is refused while it is on trial, and a calm boot else.
            let on_trial = machine.firmware.flag;
            machine.run(if on_trial { act } else { Act::Keep }, cut, Block::Old);
            prop_assert!(machine.starts_of_new <= ATTEMPTS);
        }
    }
}
