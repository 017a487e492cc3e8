//! Healing on the SD card's own system, with its kernel, drivers, network and watchdog. What each fault cost is a row of
//! docs/faults.md (`scripts/faults`). Times are the machine's own, from its journal; it is some ten times slower
//! than a Pi. Each fault begins and ends live.

use stories::Relay;
use stories::faults::{Row, record, record_boot};
use stories::guest::{KEY, SOON, access_point, new_pictures};
use stories::journal::{all_well, line_after, no_watchdog_bit, rungs, said, seconds, uptime};
use stories::sdcard::{VIVID, card_for, with_access_point, with_usb_camera, with_vivid};
use testbed::machine::Machine;
use testbed::usbcam::{Fault, UsbCamera};

const QEMU: &str = "QEMU";

#[test]
fn a_usb_camera_is_brought_back() {
    let relay = Relay::everywhere(&[]);
    let camera = UsbCamera::plugged_in();
    let machine = Machine::insert(with_usb_camera(card_for(&relay, VIVID), &camera));
    new_pictures("of the USB camera", &relay, SOON);
    usb_camera(&machine, &relay, &camera);
}

#[test]
fn wifi_is_brought_back() {
    let relay = Relay::everywhere(&[]);
    let settings = format!(
        "[wifi]\ncountry = \"DE\"\nssid = \"stillwatch-test\"\npassword = \"{KEY}\"\n{VIVID}"
    );
    let machine = Machine::insert(with_access_point(with_vivid(card_for(&relay, &settings)), KEY));
    new_pictures("over WiFi", &relay, SOON);
    wifi(&machine, &relay);
}

#[test]
fn what_hangs_is_replaced() {
    let relay = Relay::everywhere(&[]);
    let mut machine = Machine::insert(with_vivid(card_for(&relay, VIVID)));
    new_pictures("of vivid", &relay, SOON);
    driver(&machine);
    let killed = Row {
        number: 15,
        fault: "agent killed (SIGKILL)",
        detected: "its process ends",
        goal: "the agent's start",
        ..Row::default()
    };
    replaced_agent(&machine, &relay, "KILL", "Main process exited, code=killed", &killed);
    let stopped = Row {
        number: 10,
        fault: "agent deadlocked (SIGSTOP)",
        detected: "WatchdogSec=30",
        goal: "WatchdogSec + 5 s",
        ..Row::default()
    };
    let bite = "stillwatch-agent.service: Watchdog timeout";
    replaced_agent(&machine, &relay, "STOP", bite, &stopped);

    let crashed = Row {
        number: 16,
        fault: "kernel crashes",
        detected: "panic=10",
        rungs: "reboot by the kernel",
        goal: "10 s + boot (the time is the boot's)",
        ..Row::default()
    };
    let crash = "echo c >/proc/sysrq-trigger";
    let why = "the power was cut, or the machine hung";
    reset_machine(&mut machine, &relay, crash, why, &crashed);
    // And with PID 1 everything that would be restarted.
    let frozen = Row {
        number: 17,
        fault: "systemd hangs (PID 1 frozen)",
        detected: "hardware watchdog (i6300esb, 60 s)",
        rungs: "reset",
        goal: "watchdog + boot (the time is the boot's)",
        ..Row::default()
    };
    let freeze = "echo 1 >/sys/fs/cgroup/init.scope/cgroup.freeze";
    let why = "the hardware watchdog reset the machine";
    reset_machine(&mut machine, &relay, freeze, why, &frozen);
}

/// A USB camera hangs, is unplugged and plugged in, sends garbage.
fn usb_camera(guest: &Machine, relay: &Relay, camera: &UsbCamera) {
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

    for (fault, said) in [
        (Fault::Garbage, "camera: broken picture"),
        (Fault::Stall, "camera: "),
        (Fault::Repeat, "camera: the same picture again and again"),
    ] {
        let begun = all_well(guest);
        camera.set(fault);
        let noticed = line_after(guest, begun, said);
        camera.set(Fault::Run);
        line_after(guest, noticed.at, "camera: works again after");
    }
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

/// vivid injects errors, and is taken away.
fn driver(guest: &Machine) {
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

    let begun = all_well(guest);
    guest.run("v4l2-ctl -d /dev/video0 -c disconnect=1");
    line_after(guest, begun, "was it unplugged?");
    let back = uptime(guest);
    guest.run("cd /sys/bus/platform/drivers/vivid && echo vivid.0 >unbind && echo vivid.0 >bind");
    line_after(guest, back, "camera: works again after");
}

/// An access point restarts, the chip is gone, the key is changed.
fn wifi(guest: &Machine, relay: &Relay) {
    let boot = guest.boot_id();
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

    assert_eq!(guest.boot_id(), boot, "no reboot for a network");
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

/// The agent gets a signal, and is replaced once that is `noticed`.
fn replaced_agent(guest: &Machine, relay: &Relay, signal: &str, noticed: &str, row: &Row<'_>) {
    let begun = uptime(guest);
    guest.run(&format!("systemctl kill --kill-whom=main --signal={signal} stillwatch-agent"));
    let noticed = line_after(guest, begun, noticed);
    let well = line_after(guest, noticed.at, "uploading over a WebSocket");
    record(&Row {
        rungs: "restart by systemd",
        took: seconds(well.at - begun),
        how: QEMU,
        evidence: said(&noticed),
        ..row.clone()
    });
    new_pictures("after the restart", relay, SOON);
}

/// `command` has the machine reset, and the boot after that says `why`.
fn reset_machine(machine: &mut Machine, relay: &Relay, command: &str, why: &str, row: &Row<'_>) {
    machine.run("sync");
    machine.begin(command);
    machine.wait_for_reboot(SOON);
    record_boot(machine, why, &Row { how: QEMU, ..row.clone() });
    new_pictures("after the reset", relay, SOON);
}
