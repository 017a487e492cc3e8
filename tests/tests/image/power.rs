//! The SD card without care: the power is cut again and again, the data partition is full, damaged, gone. It
//! boots every time, and is live.

use std::time::Duration;

use fastrand::Rng;
use stories::faults::{Row, record_boot};
use stories::guest::{SOON, new_pictures};
use stories::journal::line_after;
use stories::sdcard::{VIVID, card_for, with_vivid};
use stories::{PASSWORD, Relay};
use testbed::machine::Machine;

use crate::has_grown;

/// Of each of three kinds; `CUTS=7` (scripts/faults) makes it twenty-one.
fn cuts() -> u32 {
    std::env::var("CUTS").map_or(1, |number| number.parse().expect("CUTS: a number"))
}

/// Writes all the time, as much as the card takes: files that replace each other, the budget, and the journal, of
/// whose lines `synced` holds the last one that has to be there after a power cut.
const WRITER: &str = "[Unit]
After=stillwatch-healer.socket
[Service]
ExecStart=/bin/bash -c 'mkdir -p /data/written; cd /data/written; number=$(cat synced 2>/dev/null || echo 0); while :; do \
    dd if=/dev/urandom of=new bs=64k count=8 conv=fsync status=none && mv new file; \
    stillwatch-healer ask ill; \
    echo \"written $((++number)).\"; journalctl --sync; \
    echo $$number >new && sync new && mv new synced && sync .; done'
";

#[test]
fn the_power_is_cut_while_it_writes() {
    cut_again_and_again(18, "power cut while it writes", |machine, random| {
        let synced = format!("{SYNCED}; test \"$synced\" -gt {}", synced(machine));
        machine.eventually("something written", SOON, &synced);
        machine.power_cut_in(Duration::from_millis(random.u64(0..8_000)));
    });
}

#[test]
fn the_power_is_cut_while_it_boots() {
    cut_again_and_again(19, "power cut while it boots", |machine, random| {
        machine.power_cut();
        machine.power_on_for(Duration::from_millis(random.u64(2_000..45_000)));
    });
}

#[test]
fn the_power_is_cut_while_it_boots_for_the_first_time() {
    let mut random = random();
    let relay = Relay::everywhere(&[]);
    for number in 1..=cuts() {
        println!("cut {number}");
        let mut machine = Machine::without_power(card_for(&relay, SMALL));
        // The data partition grows, passwords move, the SSH host's key is made.
        machine.power_on_for(Duration::from_millis(random.u64(4_000..30_000)));
        machine.power_on();
        new_pictures("after a first boot that was cut", &relay, SOON);
        has_grown(&machine);
        machine.power_cut();
        assert!(!machine.card().read("stillwatch.toml").contains(PASSWORD));
    }
}

/// The test card, small.
const SMALL: &str = "[camera]\nsource = \"pattern\"\nsize = \"320x240\"\nfps = 2\n";

const SYNCED: &str = "synced=$(cat /data/written/synced 2>/dev/null || echo 0)";

/// The number of the writer's last line that has to be in the journal.
fn synced(machine: &Machine) -> u64 {
    machine.run(&format!("{SYNCED}; echo $synced")).trim().parse().expect("a number")
}

/// Whose seed is printed.
pub(crate) fn random() -> Rng {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    Rng::with_seed(seed)
}

fn cut_again_and_again(row: u32, fault: &str, cut: impl Fn(&mut Machine, &mut Rng)) {
    let mut random = random();
    let relay = Relay::everywhere(&[]);
    let mut machine = Machine::insert(card_for(&relay, SMALL).with('w', WRITER));
    new_pictures("at first", &relay, SOON);
    // Only a budget that is not full has a file, which the writer writes again and again.
    machine.begin("stillwatch-healer ask reboot --reason 'one is to be spent'");
    machine.wait_for_reboot(SOON);
    new_pictures("before the first cut", &relay, SOON);
    let mut before = 0;
    for number in 1..=cuts() {
        println!("cut {number}");
        cut(&mut machine, &mut random);
        machine.power_on();
        // Repaired is what a journal of ext4 does not have to be: it is replayed.
        let data = machine.run("cat /run/stillwatch/data");
        let why = machine.journal("-b -t stillwatch");
        assert_eq!(data.trim(), "ok", "after cut {number}: {why}");
        let budget = machine.run("cat /var/lib/stillwatch-healer/reboots");
        assert!(budget.contains(" left=2 spent=1 "), "after cut {number}: {budget}");
        let synced = synced(&machine);
        assert!(synced >= before, "after cut {number}: {synced} is older than {before}");
        if synced > 0 {
            let line = format!("journalctl --quiet --grep '^written {synced}\\.$'");
            assert!(!machine.run(&line).is_empty(), "after cut {number}: no line {synced}");
            let size = machine.run("stat -c %s /data/written/file");
            assert_eq!(size.trim(), "524288", "after cut {number}");
        }
        before = synced;
    }
    assert!(before > 0, "nothing was written");
    new_pictures("after the last cut", &relay, SOON);
    live_again(&machine, row, fault, "ext4's journal, replayed", "data ok");
    let status = machine.run("stillwatch-agent status || true");
    assert!(status.contains("reboots left in the budget: 2"), "{status}");
}

#[test]
fn a_full_damaged_or_missing_data_partition_is_no_reason_to_be_dark() {
    let relay = Relay::everywhere(&[]);
    let mut machine = Machine::insert(with_vivid(card_for(&relay, VIVID)));
    new_pictures("at first", &relay, SOON);

    // Full. What the agent and the healer need is little, and they do not insist.
    machine.run("dd if=/dev/zero of=/data/fill bs=1M status=none; sync; test $(df --output=avail /data | tail -1) -lt 1024");
    machine.run("systemctl restart stillwatch-agent");
    new_pictures("with a full data partition", &relay, SOON);
    line_after(&machine, 0.0, "disk: ");
    machine.reset();
    new_pictures("after a boot with a full data partition", &relay, SOON);
    machine.run("rm /data/fill; sync");

    // Damaged, all over its first half.
    machine.power_cut();
    let data = machine.card().partition(4);
    let mut random = Rng::with_seed(7);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(64 * 1024).collect();
    for at in (data.start..data.start + (data.end - data.start) / 2).step_by(1 << 20) {
        machine.card().overwrite(at, &noise);
    }
    machine.power_on();
    let state = machine.run("cat /run/stillwatch/data");
    assert!(["repaired", "recreated"].contains(&state.trim()), "{state}");
    line_after(&machine, 0.0, "the data partition");
    // Its passwords are where the damage is not.
    new_pictures("with a damaged data partition", &relay, SOON);
    live_again(&machine, 20, "data partition damaged all over", "e2fsck", "the data partition");

    // Damaged where it says what it is: ext4 has copies of that in the groups 1 and the powers of 3, 5 and 7, of 128 MiB.
    machine.run("sync");
    machine.power_cut();
    for group in [0, 1, 3, 5, 7, 9] {
        machine.card().overwrite(data.start + group * (128 << 20), &noise);
    }
    machine.power_on();
    assert_eq!(machine.run("cat /run/stillwatch/data").trim(), "recreated");
    new_pictures("with a new data partition", &relay, SOON);
    let rungs = "made anew; passwords from the spare copy";
    live_again(&machine, 21, "data partition beyond repair", rungs, "the data partition is new");
    machine.power_cut();
    let status = machine.card().read("stillwatch-status.txt");
    assert!(status.contains("damaged beyond repair"), "{status}");
    machine.power_on();

    // Gone: its entry in the partition table.
    machine.power_cut();
    machine.card().forget(4);
    machine.power_on();
    assert_eq!(machine.run("cat /run/stillwatch/data").trim(), "memory");
    line_after(&machine, 0.0, "no data partition");
    new_pictures("without a data partition", &relay, SOON);
    let rungs = "memory; passwords from the spare copy";
    live_again(&machine, 22, "data partition gone", rungs, "no data partition");
    let status = machine.run("cat /boot/firmware/stillwatch-status.txt");
    assert!(status.contains("forgets everything"), "{status}");
}

fn live_again(machine: &Machine, number: u32, fault: &str, rungs: &str, told: &str) {
    let detected = "the initrd looks at each boot";
    let (goal, how) = ("the boot", "QEMU");
    record_boot(
        machine,
        told,
        &Row { number, fault, detected, rungs, goal, how, ..Row::default() },
    );
}
