//! Healing on the SD card's own system: the same faults as in `tests/tests/machine_healing.rs`, with the image's kernel,
//! drivers, network and watchdog.

use stories::guest::{KEY, SOON, new_pictures};
use stories::journal::line_after;
use stories::sdcard::{VIVID, card_for, with_access_point, with_usb_camera, with_vivid};
use stories::{Relay, healing};
use testbed::machine::Machine;
use testbed::usbcam::UsbCamera;

#[test]
fn a_usb_camera_is_brought_back() {
    let relay = Relay::everywhere(&[]);
    let camera = UsbCamera::plugged_in();
    let machine = Machine::insert(with_usb_camera(card_for(&relay, VIVID), &camera));
    new_pictures("of the USB camera", &relay, SOON);
    healing::usb_camera(&machine, &relay, &camera);
}

#[test]
fn wifi_is_brought_back() {
    let relay = Relay::everywhere(&[]);
    let wifi = format!(
        "[wifi]\ncountry = \"DE\"\nssid = \"stillwatch-test\"\npassword = \"{KEY}\"\n{VIVID}"
    );
    let machine = Machine::insert(with_access_point(with_vivid(card_for(&relay, &wifi)), KEY));
    new_pictures("over WiFi", &relay, SOON);
    healing::wifi(&machine, &relay);
}

#[test]
fn what_hangs_is_replaced() {
    let relay = Relay::everywhere(&[]);
    let mut machine = Machine::insert(with_vivid(card_for(&relay, VIVID)));
    new_pictures("of vivid", &relay, SOON);
    healing::driver(&machine);
    healing::stopped_agent(&machine, &relay);

    machine.run("sync");
    machine.begin("echo 1 >/sys/fs/cgroup/init.scope/cgroup.freeze");
    machine.wait_for_reboot(SOON);
    line_after(&machine, 0.0, "the hardware watchdog reset the machine");
    new_pictures("after PID 1 was frozen", &relay, SOON);
}
