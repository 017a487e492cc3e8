//! What the firmware of a Raspberry Pi is told: which slot it starts (`autoboot.txt`), and which for once (`tryboot`).
//! Pure: texts and numbers in and out. `file` writes them, `backend` answers RAUC, `model` is the firmware in tests.
//!
//! No board has run this. What the firmware does is taken from Raspberry Pi's documentation and from what others
//! measured (docs/updates-tryboot.md).

pub(crate) mod backend;
pub(crate) mod file;
#[cfg(test)]
mod model;

use crate::record::Record;
use crate::slot::Slot;

/// The reboot that starts the other slot, for once: the first word is a partition, 0 is the one that `autoboot.txt` names.
pub(crate) const ARGUMENT: &str = "0 tryboot";

/// How many starts a new system has to show that it comes up. U-Boot gives as many.
pub(crate) const ATTEMPTS: u32 = 3;

/// The partitions that hold the slots (`image/layout.bash`).
const PARTITION_A: u32 = 2;
const PARTITION_B: u32 = 3;

/// `autoboot.txt` with `kept` started always, and the other slot for once. It is as long for either.
///
/// The last section is for boot loaders from before November 2022: they know no sections, and take the last number.
pub(crate) fn text(kept: Slot) -> String {
    let (always, once) = (partition(kept), partition(kept.other()));
    format!(
        "[all]\ntryboot_a_b=1\nboot_partition={always}\n[tryboot]\nboot_partition={once}\n[none]\nboot_partition={always}\n"
    )
}

/// Which slot is started always, if the text says that and all else that a trial needs.
pub(crate) fn kept(text: &str) -> Option<Slot> {
    let mut section = "[all]";
    let (mut always, mut once, mut whole) = (None, None, false);
    for line in text.lines().map(str::trim) {
        match (section, line.split_once('=')) {
            _ if line.starts_with('[') => section = line,
            ("[all]", Some(("boot_partition", number))) => always = slot(number),
            ("[tryboot]", Some(("boot_partition", number))) => once = slot(number),
            ("[all]", Some(("tryboot_a_b", value))) => whole = value == "1",
            _ => {}
        }
    }
    always.filter(|slot| whole && once == Some(slot.other()))
}

/// The slot that runs, by what the firmware leaves in `/proc/device-tree/chosen/bootloader/partition`.
pub(crate) fn booted(partition: &[u8]) -> Option<Slot> {
    slot(&u32::from_be_bytes(partition.try_into().ok()?).to_string())
}

/// What has to be done before the slot that does not run may be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nothing: the slot that runs is started always.
    Fine,
    /// It has to become so: `autoboot.txt` is missing or damaged, which makes the firmware take slot A.
    Repair,
    /// It must not be: the other one is started always.
    Refuse(String),
}

/// See [`Hold`].
pub(crate) fn hold(kept: Option<Slot>, running: Slot, record: &Record) -> Hold {
    let on_trial = record.under_way.as_ref().is_some_and(|update| update.slot == running);
    match kept {
        Some(kept) if kept == running => Hold::Fine,
        None if !on_trial => Hold::Repair,
        _ => Hold::Refuse(format!(
            "slot {running} has not proved itself yet: slot {} is what it would go back to",
            running.other()
        )),
    }
}

fn partition(slot: Slot) -> u32 {
    match slot {
        Slot::A => PARTITION_A,
        Slot::B => PARTITION_B,
    }
}

fn slot(number: &str) -> Option<Slot> {
    let number: u32 = number.trim().parse().ok()?;
    [Slot::A, Slot::B].into_iter().find(|slot| partition(*slot) == number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::under_way;

    #[test]
    fn both_texts_fit_one_block_and_are_as_long_as_each_other() {
        for slot in [Slot::A, Slot::B] {
            assert_eq!(kept(&text(slot)), Some(slot));
            assert_eq!(kept(&text(slot).replace('\n', "\r\n")), Some(slot));
            assert_eq!(text(slot).len(), text(slot.other()).len());
            assert!(text(slot).len() < 512);
        }
    }

    #[test]
    fn a_text_that_could_not_try_anything_is_damaged() {
        let good = text(Slot::B);
        for damaged in [
            "",
            "\0\0\0",
            "boot_partition=3\n",
            &good.replace("tryboot_a_b=1", "tryboot_a_b=0"),
            &good.replace("[tryboot]\nboot_partition=2", "[tryboot]\nboot_partition=3"),
            &good.replace('3', "9"),
            good.split_at(40).0,
        ] {
            assert_eq!(kept(damaged), None, "{damaged:?}");
        }
        // What a later version adds is none of ours.
        assert_eq!(kept(&format!("new=1\n{good}[later]\nboot_partition=7\n")), Some(Slot::B));
    }

    #[test]
    fn the_firmware_says_which_partition_it_took() {
        assert_eq!(booted(&[0, 0, 0, 2]), Some(Slot::A));
        assert_eq!(booted(&[0, 0, 0, 3]), Some(Slot::B));
        for unknown in [&[0, 0, 0, 0][..], &[0, 0, 0, 1], &[2], &[]] {
            assert_eq!(booted(unknown), None);
        }
    }

    #[test]
    fn only_a_slot_that_no_power_cut_starts_may_be_written() {
        let idle = Record::default();
        let trial = Record { under_way: Some(under_way("0.2.0-1.0")), ..Record::default() };
        assert_eq!(hold(Some(Slot::A), Slot::A, &idle), Hold::Fine);
        assert_eq!(hold(Some(Slot::A), Slot::A, &trial), Hold::Fine);
        assert_eq!(hold(None, Slot::B, &idle), Hold::Repair);
        assert_eq!(hold(None, Slot::A, &trial), Hold::Repair);
        for (kept, record) in [(Some(Slot::A), &idle), (Some(Slot::A), &trial), (None, &trial)] {
            assert!(matches!(hold(kept, Slot::B, record), Hold::Refuse(_)), "{kept:?}");
        }
    }
}
