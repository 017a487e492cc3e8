//! Healing inside a whole machine with our packages on a Debian, as far as the SD card's system
//! (`tests/tests/image/healing.rs`) has not the same: real drivers, the real healer, real watchdogs. What
//! each fault cost is a row of docs/faults.md (`scripts/faults`). Times are the guest's own, from its
//! journal; the guest is some ten times slower than a Pi.

use std::time::Duration;

use stories::faults::{Row, record, record_boot};
use stories::guest::{SOON, agent_for, new_pictures, with_healer, with_vivid, with_watchdog};
use stories::journal::{line_after, said, seconds, uptime};
use stories::{Relay, test_card};
use testbed::machine::{Machine, Options, Payload};

const CAMERA: &str = "[camera]\nsource = \"v4l2\"\nsize = \"640x480\"\nfps = 5\n";

const QEMU: &str = "QEMU";

fn boot(payload: Payload) -> Machine {
    let debug = "STILLWATCH_LOG=info,stillwatch_agent=debug\n";
    let payload = payload.file("/etc/default/stillwatch-agent", 0o644, debug);
    Machine::boot(&with_healer(payload), &Options::default())
}

#[test]
fn an_agent_that_cannot_start_is_a_reason_to_reboot() {
    let relay = Relay::everywhere(&[]);
    let mut guest = boot(with_vivid(agent_for(&relay, CAMERA)));
    new_pictures("of vivid", &relay, SOON);

    // For a reason that a reboot takes away: systemd gives up, the healer reboots.
    let broken = "#!/bin/sh\n[ -e /run/broken ] && exit 1\nexec /usr/lib/stillwatch/agent \"$@\"\n";
    guest.run("mv /usr/bin/stillwatch-agent /usr/lib/stillwatch/agent && touch /run/broken");
    guest.put("/usr/bin/stillwatch-agent", broken);
    guest.run("chmod 755 /usr/bin/stillwatch-agent && sync");
    guest.begin("systemctl restart stillwatch-agent");
    guest.wait_for_reboot(SOON);
    new_pictures("after the reboot", &relay, SOON);
    let state = guest.run("cat /run/stillwatch/healer.json");
    assert!(state.contains("\"reboots_left\":2"), "{state}");
    let status = guest.run("stillwatch-agent status || true");
    assert!(status.contains("the machine was started: "), "{status}");
    let row = Row {
        number: 11,
        fault: "agent that can't start",
        detected: "8 failed starts (start limit)",
        rungs: "reboot within the budget",
        goal: "the reboot's boot",
        how: QEMU,
        ..Row::default()
    };
    record_boot(&guest, "Stillwatch rebooted the machine, because", &row);
}

#[test]
fn a_kernel_that_hangs_is_reset_and_the_reason_told() {
    let relay = Relay::everywhere(&[]);
    let settings = format!("watchdog.device = \"/dev/watchdog1\"\n{CAMERA}");
    let payload = with_watchdog(with_vivid(agent_for(&relay, &settings))).file(
        "/etc/modules-load.d/softdog.conf",
        0o644,
        "softdog\n",
    );
    let mut guest = boot(payload);
    new_pictures("of vivid", &relay, SOON);
    let armed = "grep active /sys/class/watchdog/watchdog0/state";
    guest.eventually("an armed watchdog", SOON, armed);
    guest.run("sync");
    guest.begin("echo 0 >/proc/sys/kernel/panic; echo c >/proc/sysrq-trigger");
    guest.wait_for_reboot(SOON);
    let row = Row {
        number: 12,
        fault: "kernel hangs",
        detected: "hardware watchdog (i6300esb, 15 s here, 60 s in the images)",
        rungs: "reset",
        goal: "watchdog + boot",
        how: QEMU,
        ..Row::default()
    };
    record_boot(&guest, "the hardware watchdog reset the machine", &row);
    new_pictures("after the reset", &relay, SOON);
    let left = guest.run("cat /run/stillwatch/healer.json");
    assert!(left.contains("\"reboots_left\":3"), "the watchdog's resets cost none of ours: {left}");

    // The agent's own watchdog: one that ends in order takes its hand away, one that hangs does not.
    // Only one that has lived for four minutes arms it.
    let armed = "grep active /sys/class/watchdog/watchdog1/state | grep -v inactive";
    let patience = Duration::from_secs(420);
    guest.eventually("the agent's watchdog", patience, armed);
    line_after(&guest, 0.0, "watchdog /dev/watchdog1 armed");
    guest.run("systemctl stop stillwatch-agent");
    assert_eq!(guest.run("cat /sys/class/watchdog/watchdog1/state").trim(), "inactive");
    guest.run("mkdir -p /run/systemd/system/stillwatch-agent.service.d; printf '[Service]\\nWatchdogSec=0\\n' >/run/systemd/system/stillwatch-agent.service.d/none.conf; systemctl daemon-reload; systemctl start --no-block stillwatch-agent");
    guest.eventually("the agent's watchdog", patience, armed);
    guest.begin("sync; systemctl kill --kill-whom=main --signal=STOP stillwatch-agent");
    guest.wait_for_reboot(SOON);
    let row = Row {
        number: 14,
        fault: "agent hangs, and systemd does not see it",
        detected: "watchdog.device (softdog, 60 s)",
        rungs: "reset",
        goal: "watchdog + boot",
        how: QEMU,
        ..Row::default()
    };
    record_boot(&guest, "the power was cut, or the machine hung", &row);
}

#[test]
fn a_helper_stuck_in_a_driver_is_left_behind() {
    // A pipe of pictures; the first one to run is stuck (state D) in a frozen file system later.
    let script = r#"#!/bin/bash
n=0; mine=/frozen/first; mkdir /run/helper-$$ 2>/dev/null
[ -e /run/stillwatch-agent/second ] && mine=/dev/null
: >/run/stillwatch-agent/second
while :; do
    n=$((n + 1)); echo $n >$mine
    head -c 20 /usr/share/card.jpg; printf '\377\376\000\012%08d' $n; tail -c +21 /usr/share/card.jpg
    sleep 0.3
done
"#;
    let relay = Relay::everywhere(&[]);
    let settings = "[camera]\nsource = \"rpicam\"\nrpicam_command = \"/usr/bin/helper\"\nfps = 3\n";
    let card = test_card("320x240");
    let payload = agent_for(&relay, settings)
        .file("/usr/bin/helper", 0o755, script)
        .file("/usr/share/card.jpg", 0o644, card)
        .file(
            "/etc/systemd/system/stillwatch-agent.service.d/frozen.conf",
            0o644,
            "[Unit]\nRequiresMountsFor=/frozen\n[Service]\nReadWritePaths=/frozen\n",
        )
        .file(
            "/etc/systemd/system/frozen.mount",
            0o644,
            "[Unit]\nDefaultDependencies=yes\n[Mount]\nWhat=/var/frozen.img\nWhere=/frozen\nOptions=loop\n",
        );
    let guest = boot(payload);
    guest.run("systemctl stop stillwatch-agent; rm -f /run/stillwatch-agent/second; truncate -s 16M /var/frozen.img && mkfs.ext4 -q /var/frozen.img && mkdir -p /frozen && mount -o loop /var/frozen.img /frozen && chmod 777 /frozen");
    guest.run("systemctl start --no-block stillwatch-agent");
    new_pictures("of the helper", &relay, SOON);
    let begun = uptime(&guest);
    guest.run("fsfreeze --freeze /frozen");
    let noticed = line_after(&guest, begun, "camera: no picture for 5s");
    let well = line_after(&guest, begun, "camera: works again after");
    assert!(guest.run("ps -eo stat,comm").contains('D'), "the first one is stuck");
    new_pictures("of another helper", &relay, SOON);
    guest.run("fsfreeze --unfreeze /frozen");
    record(&Row {
        number: 13,
        fault: "helper process in state D",
        detected: "no picture for 5 s",
        rungs: "left behind, another one started",
        took: seconds(well.at - begun),
        goal: "15 s",
        how: QEMU,
        evidence: said(&noticed),
    });
}
