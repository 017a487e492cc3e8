//! Faults of a whole machine and what has to come of them, on whichever system: Debian with our packages
//! (`tests/machine_healing.rs`) or the SD card (`tests/image/healing.rs`). Each begins and ends live.

use testbed::machine::Machine;
use testbed::usbcam::{Fault, UsbCamera};

use crate::Relay;
use crate::faults::{Row, record};
use crate::guest::{KEY, SOON, access_point, new_pictures};
use crate::journal::{all_well, line_after, no_watchdog_bit, rungs, said, seconds, uptime};

const QEMU: &str = "QEMU";

/// A USB camera hangs, is unplugged and plugged in, sends garbage.
///
/// # Panics
/// Something else happens.
pub fn usb_camera(guest: &Machine, relay: &Relay, camera: &UsbCamera) {
    // Only the rung "usb" cures this.
    let begun = all_well(guest);
    camera.set(Fault::DeadUntilReset);
    let noticed = line_after(guest, begun, "camera: no picture for 5s");
    let well = line_after(guest, begun, "camera: works again after");
    assert_eq!(rungs(guest, "camera", begun), "reopen, usb");
    let cure = line_after(guest, begun, "camera: trying \"usb\"");
    let healed = line_after(guest, begun, "camera: well again by \"usb\"");
    assert!(healed.at > well.at);
    // The reason was in the journal before the act.
    let reason = line_after(guest, begun, "about to do camera-usb");
    assert!(reason.text.contains("no picture for 5s") && reason.at < well.at, "{reason:?}");
    new_pictures("after its reset", relay, SOON);
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

    let begun = all_well(guest);
    camera.unplug();
    line_after(guest, begun, "was it unplugged?");
    camera.plug();
    let plugged = line_after(guest, begun, "New USB device found");
    let well = line_after(guest, plugged.at, "camera: works again after");
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

    let begun = all_well(guest);
    camera.set(Fault::Garbage);
    let noticed = line_after(guest, begun, "camera: broken picture");
    camera.set(Fault::Run);
    line_after(guest, noticed.at, "camera: works again after");
    let status = guest.run("stillwatch-agent status || true");
    assert!(status.contains("camera \"usb\", done"), "{status}");
    assert!(status.contains("reboots left in the budget: 3"), "{status}");
    // What happened last night, explained.
    let explained = guest.journal("-b -u stillwatch-agent -u stillwatch-healer -x");
    assert!(explained.contains("Defined-By: Stillwatch"), "{explained}");
    let cures = guest.journal("-b STILLWATCH_EVENT=cure ORGAN=camera RUNG=usb -o json");
    assert!(cures.contains("MESSAGE_ID"), "{cures}");
    no_watchdog_bit(guest);
}

/// vivid injects errors.
///
/// # Panics
/// Something else happens.
pub fn driver(guest: &Machine) {
    let mut took: f64 = 0.0;
    let mut evidence = String::new();
    // A queue that fails for good, and streams that can't be started once.
    for control in ["inject_fatal_streaming_error", "inject_vidioc_dqbuf_error"] {
        let known = guest.run("v4l2-ctl -d /dev/video0 -l");
        if !known.contains(control) {
            continue;
        }
        let begun = all_well(guest);
        guest.run(&format!("v4l2-ctl -d /dev/video0 -c {control}=1"));
        let noticed = line_after(guest, begun, "camera: ");
        let well = line_after(guest, begun, "camera: works again after");
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

/// An access point restarts, the chip is gone, the key is changed.
///
/// # Panics
/// Something else happens.
pub fn wifi(guest: &Machine, relay: &Relay) {
    // What association, keys and address take by themselves in an emulated machine.
    let begun = all_well(guest);
    guest.run("wpa_cli -i wlan0 disconnect && wpa_cli -i wlan0 reconnect");
    let connecting = line_after(guest, begun, "DHCPACK").at - begun;

    let begun = all_well(guest);
    access_point(guest, "off");
    // The kernel remembers for half a minute what it has heard.
    let gone = line_after(guest, begun, "hears no network at all");
    access_point(guest, "on");
    let answers = line_after(guest, gone.at, "AP-ENABLED");
    let well = line_after(guest, answers.at, "upload: works again after");
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
    new_pictures("after the access point was off", relay, SOON);

    let begun = all_well(guest);
    access_point(guest, "vanish");
    let cure = line_after(guest, begun, "wifi: trying \"reload\"");
    let well = line_after(guest, begun, "upload: works again after");
    record(&Row {
        number: 8,
        fault: "WiFi chip gone, driver dead until it is reloaded",
        detected: "wlan0 has vanished",
        rungs: &rungs(guest, "wifi", begun),
        took: seconds(well.at - begun),
        goal: "60 s",
        how: QEMU,
        evidence: said(&cure),
    });
    new_pictures("after the driver was loaded anew", relay, SOON);
    // Not which rung did it: the access point's radio came back with the driver, and while it was not
    // heard the ladder stood on its ground.
    line_after(guest, cure.at, "wifi: well again");

    // The third fault in as many minutes: the ladder is four times as patient by now.
    the_key_is_changed_and_put_right(guest);
    new_pictures("after the key was put right", relay, SOON);

    let boots = guest.run("journalctl --list-boots --quiet | wc -l");
    assert_eq!(boots.trim(), "1", "no reboot for a network");
    assert!(guest.run("iw dev wlan0 get power_save").contains("off"));
    no_watchdog_bit(guest);
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

/// The agent is stopped, and its watchdog has it replaced.
///
/// # Panics
/// Something else happens.
pub fn stopped_agent(guest: &Machine, relay: &Relay) {
    let begun = uptime(guest);
    guest.run("systemctl kill --kill-whom=main --signal=STOP stillwatch-agent");
    let bite = line_after(guest, begun, "stillwatch-agent.service: Watchdog timeout");
    let well = line_after(guest, bite.at, "uploading over a WebSocket");
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
    new_pictures("after the restart", relay, SOON);
}
