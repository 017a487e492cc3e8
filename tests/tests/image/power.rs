//! The SD card without care: the power is cut again and again, the data partition is full, damaged, gone. It
//! boots every time, and is live.

use std::time::Duration;

use stories::Relay;
use stories::guest::{SOON, new_pictures};
use stories::journal::line_after;
use stories::sdcard::{VIVID, card_for, with_vivid};
use testbed::machine::Machine;

/// Half of them while the machine runs, half while it boots.
const CUTS: u32 = 20;

/// Writes all the time, as much as the card takes: files that replace each other, and the journal.
const WRITER: &str = "[Unit]
DefaultDependencies=no
After=local-fs.target systemd-journald.service
[Service]
ExecStart=/bin/bash -c 'mkdir -p /data/written; while :; do \
    dd if=/dev/urandom of=/data/written/new bs=64k count=8 conv=fsync status=none; \
    mv /data/written/new /data/written/file; echo \"written $((++n))\"; done'
";

#[test]
fn the_power_is_cut_twenty_times() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let relay = Relay::everywhere(&[]);
    let card = card_for(&relay, "[camera]\nsource = \"pattern\"\nsize = \"320x240\"\nfps = 2\n");
    let mut machine = Machine::insert(card.with('w', WRITER));
    new_pictures("at first", &relay, SOON);
    // Only a budget that is not full has a file, which is written again every few minutes.
    machine.begin("stillwatch-healer ask reboot --reason 'one is to be spent'");
    machine.wait_for_reboot(SOON);
    new_pictures("before the first cut", &relay, SOON);
    machine.run("journalctl --sync");
    for cut in 1..=CUTS {
        if cut % 2 == 0 {
            machine.power_cut();
            machine.power_on_for(Duration::from_millis(random.u64(2_000..45_000)));
        } else {
            machine.power_cut_in(Duration::from_millis(random.u64(0..12_000)));
        }
        machine.power_on();
        // Repaired is what a journal of ext4 does not have to be: it is replayed.
        let data = machine.run("cat /run/stillwatch/data");
        assert_eq!(
            data.trim(),
            "ok",
            "after cut {cut}: {}",
            machine.journal("-b -t kernel -g stillwatch")
        );
        let budget = machine.run("cat /var/lib/stillwatch-healer/reboots");
        assert!(budget.contains(" left=2 spent=1 "), "after cut {cut}: {budget}");
    }
    new_pictures("after the last cut", &relay, SOON);
    // A boot of seconds has not written its lines yet; what was written can be read.
    let boots = machine.run("journalctl --list-boots --quiet | wc -l");
    let boots: u32 = boots.trim().parse().expect("a number");
    assert!(boots >= 2, "{boots} boots in the journal");
    assert!(!machine.journal("-b -1 -n 5").is_empty());
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
    let mut random = fastrand::Rng::with_seed(7);
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

    // Gone: its entry in the partition table.
    machine.power_cut();
    machine.card().forget(4);
    machine.power_on();
    assert_eq!(machine.run("cat /run/stillwatch/data").trim(), "memory");
    line_after(&machine, 0.0, "no data partition");
    new_pictures("without a data partition", &relay, SOON);
}
