//! Healing inside a whole machine: real drivers, the real healer with its real hooks, real watchdogs. What
//! each fault cost is a row of docs/faults.md (`scripts/faults`). Times are the guest's own, from its
//! journal; the guest is some ten times slower than a Pi.

use std::time::Duration;

use stories::faults::{Row, record};
use stories::guest::{
    KEY, SOON, access_point, agent_for, new_pictures, with_healer, with_usb_camera, with_vivid,
    with_watchdog, with_wifi,
};
use stories::{Relay, test_card};
use testbed::eventually::eventually;
use testbed::machine::{Machine, Options, Payload};
use testbed::usbcam::{Fault, UsbCamera};

const CAMERA: &str = "[camera]\nsource = \"v4l2\"\nsize = \"640x480\"\nfps = 5\n";

const QEMU: &str = "QEMU";

/// How long a line of the journal may take.
const LINE: Duration = Duration::from_secs(120);

fn boot(payload: Payload) -> Machine {
    let debug = "STILLWATCH_LOG=info,stillwatch_agent=debug\n";
    let payload = payload.file("/etc/default/stillwatch-agent", 0o644, debug);
    Machine::boot(&with_healer(payload), &Options::default())
}

/// Waits until no organ is ill, nor has just been, and returns when that was.
fn all_well(guest: &Machine) -> f64 {
    let command = "stillwatch-agent status >/run/status; ! grep '^healing' /run/status";
    guest.eventually("health of all organs", SOON, command);
    guest.uptime().as_secs_f64()
}

/// A line of the journal, and when it was written, in seconds since boot.
#[derive(Debug, Clone)]
struct Line {
    at: f64,
    text: String,
}

/// The first line after `since` that holds `text`, once there is one.
fn line_after(guest: &Machine, since: f64, text: &str) -> Line {
    eventually(&format!("a line with {text:?} after {since} s"), LINE, || {
        let journal = guest.journal("-b -o short-monotonic --no-hostname");
        let found =
            journal.lines().filter_map(parse).find(|l| l.at > since && l.text.contains(text));
        let last: Vec<&str> = journal.lines().rev().take(15).collect();
        found.ok_or_else(|| last.into_iter().rev().collect::<Vec<_>>().join("\n"))
    })
}

/// `[   12.345678] stillwatch-agent[7]: text`
fn parse(line: &str) -> Option<Line> {
    let (at, text) = line.strip_prefix('[')?.split_once(']')?;
    Some(Line { at: at.trim().parse().ok()?, text: text.trim().to_owned() })
}

/// The rungs that an organ's ladder climbed after `since`.
fn rungs(guest: &Machine, organ: &str, since: f64) -> String {
    let journal = guest.journal("-b -o short-monotonic --no-hostname");
    let start = format!("{organ}: trying \"");
    let lines = journal.lines().filter_map(parse).filter(|line| line.at > since);
    let of = |line: Line| Some(line.text.split_once(&start)?.1.split('"').next()?.to_owned());
    lines.filter_map(of).collect::<Vec<_>>().join(", ")
}

fn uptime(guest: &Machine) -> f64 {
    guest.uptime().as_secs_f64()
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.max(0.0))
}

/// A watchdog that bites while something heals would be worse than none.
fn no_watchdog_bit(guest: &Machine) {
    let journal = guest.journal("-b");
    assert!(!journal.contains("Watchdog timeout"), "{journal}");
}

/// Without the name of the process.
fn said(line: &Line) -> &str {
    line.text.split_once("]: ").map_or(line.text.as_str(), |(_, text)| text)
}

#[test]
fn a_usb_camera_is_brought_back() {
    let relay = Relay::everywhere(&[]);
    let camera = UsbCamera::plugged_in();
    let guest = boot(with_usb_camera(agent_for(&relay, CAMERA), &camera));
    new_pictures("of the USB camera", &relay, SOON);

    // Only the rung "usb" cures this.
    let begun = all_well(&guest);
    camera.set(Fault::DeadUntilReset);
    let noticed = line_after(&guest, begun, "camera: no picture for 5s");
    let well = line_after(&guest, begun, "camera: works again after");
    assert_eq!(rungs(&guest, "camera", begun), "reopen, usb");
    let cure = line_after(&guest, begun, "camera: trying \"usb\"");
    let healed = line_after(&guest, begun, "camera: well again by \"usb\"");
    assert!(healed.at > well.at);
    // The reason was in the journal before the act.
    let reason = line_after(&guest, begun, "about to do camera-usb");
    assert!(reason.text.contains("no picture for 5s") && reason.at < well.at, "{reason:?}");
    new_pictures("after its reset", &relay, SOON);
    record(&Row {
        number: 3,
        fault: "USB camera hangs until it is reset",
        detected: "no picture for 5 s",
        rungs: "reopen, usb (`authorized` 0, 1)",
        took: seconds(well.at - noticed.at),
        goal: "10 s after detection",
        how: QEMU,
        evidence: said(&cure),
    });

    let begun = all_well(&guest);
    camera.unplug();
    line_after(&guest, begun, "was it unplugged?");
    camera.plug();
    let plugged = line_after(&guest, begun, "New USB device found");
    let well = line_after(&guest, plugged.at, "camera: works again after");
    record(&Row {
        number: 5,
        fault: "USB camera unplugged and plugged in",
        detected: "the device is gone (ENODEV); its file appears (inotify)",
        rungs: "none",
        took: seconds(well.at - plugged.at),
        goal: "3 s after plug",
        how: QEMU,
        evidence: said(&well),
    });

    let begun = all_well(&guest);
    camera.set(Fault::Garbage);
    let noticed = line_after(&guest, begun, "camera: broken picture");
    camera.set(Fault::Run);
    line_after(&guest, noticed.at, "camera: works again after");
    let status = guest.run("stillwatch-agent status || true");
    assert!(status.contains("camera \"usb\", done"), "{status}");
    assert!(status.contains("reboots left in the budget: 3"), "{status}");
    // What happened last night, explained. (A package's trigger does this when it is installed.)
    guest.run("journalctl --update-catalog");
    let explained = guest.journal("-b -u stillwatch-agent -u stillwatch-healer -x");
    assert!(explained.contains("Defined-By: Stillwatch"), "{explained}");
    let cures = guest.journal("-b STILLWATCH_EVENT=cure ORGAN=camera RUNG=usb -o json");
    assert!(cures.contains("MESSAGE_ID"), "{cures}");
    no_watchdog_bit(&guest);
}

#[test]
fn a_driver_that_errs_is_opened_anew() {
    let relay = Relay::everywhere(&[]);
    let guest = boot(with_vivid(agent_for(&relay, CAMERA)));
    new_pictures("of vivid", &relay, SOON);
    let mut took: f64 = 0.0;
    let mut evidence = String::new();
    // A queue that fails for good, and streams that can't be started once.
    for control in ["inject_fatal_streaming_error", "inject_vidioc_dqbuf_error"] {
        let known = guest.run("v4l2-ctl -d /dev/video0 -l");
        if !known.contains(control) {
            continue;
        }
        let begun = all_well(&guest);
        guest.run(&format!("v4l2-ctl -d /dev/video0 -c {control}=1"));
        let noticed = line_after(&guest, begun, "camera: ");
        let well = line_after(&guest, begun, "camera: works again after");
        took = took.max(well.at - noticed.at);
        evidence = said(&noticed).to_owned();
    }
    assert!(!evidence.is_empty(), "vivid injects nothing");
    record(&Row {
        number: 6,
        fault: "camera's driver gives up its stream (vivid)",
        detected: "VIDIOC_DQBUF fails (EIO)",
        rungs: "none: opened anew at once",
        took: seconds(took),
        goal: "10 s after detection",
        how: QEMU,
        evidence: &evidence,
    });
}

fn the_key_is_changed_and_put_right(guest: &Machine) {
    let begun = all_well(guest);
    access_point(guest, "key another-key");
    line_after(guest, begun, "wifi: trying \"reassociate\"");
    let righted = uptime(guest);
    access_point(guest, &format!("key {KEY}"));
    let answers = line_after(guest, righted, "AP-ENABLED");
    let well = line_after(guest, answers.at, "upload: works again after");
    record(&Row {
        number: 9,
        fault: "access point's key changed and put right",
        detected: "not connected though the access point is heard",
        rungs: &rungs(guest, "wifi", begun),
        took: seconds(well.at - answers.at),
        goal: "(wpa_supplicant alone: 40 s)",
        how: QEMU,
        evidence: said(&well),
    });
}

#[test]
fn wifi_is_brought_back() {
    let relay = Relay::everywhere(&[]);
    let guest = boot(with_wifi(with_vivid(agent_for(&relay, CAMERA))));
    new_pictures("over WiFi", &relay, SOON);

    // What association, keys and address take by themselves in an emulated machine.
    let begun = all_well(&guest);
    guest.run("wpa_cli -i wlan0 disconnect && wpa_cli -i wlan0 reconnect");
    let connecting = line_after(&guest, begun, "DHCPACK").at - begun;

    let begun = all_well(&guest);
    access_point(&guest, "off");
    // The kernel remembers for half a minute what it has heard.
    let gone = line_after(&guest, begun, "hears no network at all");
    access_point(&guest, "on");
    let answers = line_after(&guest, gone.at, "AP-ENABLED");
    let well = line_after(&guest, answers.at, "upload: works again after");
    record(&Row {
        number: 7,
        fault: "access point restarts",
        detected: "carrier lost, nothing heard in scans",
        rungs: "none: it is looked for where it was last, every 3 s",
        took: seconds(well.at - answers.at),
        goal: &format!("5 s after it answers; connecting alone takes {connecting:.1} s here"),
        how: QEMU,
        evidence: said(&gone),
    });
    new_pictures("after the access point was off", &relay, SOON);

    let begun = all_well(&guest);
    access_point(&guest, "vanish");
    let cure = line_after(&guest, begun, "wifi: trying \"reload\"");
    let well = line_after(&guest, begun, "upload: works again after");
    record(&Row {
        number: 8,
        fault: "WiFi chip gone, driver dead until it is reloaded",
        detected: "wlan0 has vanished",
        rungs: &rungs(&guest, "wifi", begun),
        took: seconds(well.at - begun),
        goal: "60 s",
        how: QEMU,
        evidence: said(&cure),
    });
    new_pictures("after the driver was loaded anew", &relay, SOON);
    // Not which rung did it: the access point's radio came back with the driver, and while it was not
    // heard the ladder stood on its ground.
    line_after(&guest, cure.at, "wifi: well again");

    // The third fault in as many minutes: the ladder is four times as patient by now.
    the_key_is_changed_and_put_right(&guest);
    new_pictures("after the key was put right", &relay, SOON);

    let boots = guest.run("journalctl --list-boots --quiet | wc -l");
    assert_eq!(boots.trim(), "1", "no reboot for a network");
    assert!(guest.run("iw dev wlan0 get power_save").contains("off"));
    no_watchdog_bit(&guest);
}

#[test]
fn an_agent_that_hangs_or_dies_is_replaced() {
    let relay = Relay::everywhere(&[]);
    let mut guest = boot(with_vivid(agent_for(&relay, CAMERA)));
    new_pictures("of vivid", &relay, SOON);

    let begun = uptime(&guest);
    guest.run("systemctl kill --kill-whom=main --signal=STOP stillwatch-agent");
    let bite = line_after(&guest, begun, "stillwatch-agent.service: Watchdog timeout");
    let well = line_after(&guest, bite.at, "uploading over a WebSocket");
    record(&Row {
        number: 10,
        fault: "agent deadlocked (SIGSTOP)",
        detected: "WatchdogSec=30",
        rungs: "restart by systemd",
        took: seconds(well.at - begun),
        goal: "WatchdogSec + 5 s",
        how: QEMU,
        evidence: said(&bite),
    });
    new_pictures("after the restart", &relay, SOON);

    // An agent that can't start, for a reason that a reboot takes away: systemd gives up, the healer reboots.
    let broken = "#!/bin/sh\n[ -e /run/broken ] && exit 1\nexec /usr/lib/stillwatch/agent \"$@\"\n";
    guest.run("mv /usr/bin/stillwatch-agent /usr/lib/stillwatch/agent && touch /run/broken");
    guest.put("/usr/bin/stillwatch-agent", broken);
    guest.run("chmod 755 /usr/bin/stillwatch-agent && sync");
    guest.begin("systemctl restart stillwatch-agent");
    guest.wait_for_reboot(SOON);
    let booted = line_after(&guest, 0.0, "Stillwatch rebooted the machine, because");
    let well = line_after(&guest, 0.0, "uploading over a WebSocket");
    new_pictures("after the reboot", &relay, SOON);
    let state = guest.run("cat /run/stillwatch/healer.json");
    assert!(state.contains("\"reboots_left\":2"), "{state}");
    let status = guest.run("stillwatch-agent status || true");
    assert!(status.contains("the machine was started: "), "{status}");
    record(&Row {
        number: 11,
        fault: "agent that can't start",
        detected: "8 failed starts (start limit)",
        rungs: "reboot within the budget",
        took: seconds(well.at),
        goal: "the reboot's boot",
        how: QEMU,
        evidence: said(&booted),
    });
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
    let booted = line_after(&guest, 0.0, "the hardware watchdog reset the machine");
    let well = line_after(&guest, 0.0, "uploading over a WebSocket");
    record(&Row {
        number: 12,
        fault: "kernel hangs",
        detected: "hardware watchdog (i6300esb, 15 s here, 60 s in the images)",
        rungs: "reset",
        took: seconds(well.at),
        goal: "watchdog + boot",
        how: QEMU,
        evidence: said(&booted),
    });
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
    let booted = line_after(&guest, 0.0, "the power was cut, or the machine hung");
    let well = line_after(&guest, 0.0, "uploading over a WebSocket");
    record(&Row {
        number: 14,
        fault: "agent hangs, and systemd does not see it",
        detected: "watchdog.device (softdog, 60 s)",
        rungs: "reset",
        took: seconds(well.at),
        goal: "watchdog + boot",
        how: QEMU,
        evidence: said(&booted),
    });
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
