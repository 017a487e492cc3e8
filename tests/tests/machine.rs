//! The camera's machine as a whole, in a guest with the kernel's real drivers: it boots, keeps its files, and
//! uploads. What breaks there is in `machine_healing.rs`. Slow: a boot takes some 30 s.

use stories::Relay;
use stories::guest::{SOON, agent_for, new_pictures, with_healer, with_vivid};
use testbed::machine::{Machine, Options, Payload};

/// A camera that encodes itself, or vivid, whose pictures are encoded: small ones.
const CAMERA: &str = "[camera]\nsource = \"v4l2\"\nsize = \"640x480\"\nfps = 5\n";

fn boot(payload: &Payload) -> Machine {
    Machine::boot(payload, &Options::default())
}

/// What the journal has not written yet is lost with the power, a whole boot that has just begun, too.
fn journal_on_disk(guest: &Machine) {
    guest.run("journalctl --flush && journalctl --sync");
}

#[test]
fn it_boots_with_nothing_broken_and_keeps_its_files() {
    let mut guest = boot(&Payload::new());
    assert_eq!(guest.settled(), "running", "{}", guest.run("systemctl --failed"));
    eprintln!("{}", guest.run("systemd-analyze"));
    guest.put("/etc/kept/file", "kept");
    guest.run("sync");
    let boot = guest.boot_id();
    guest.begin("systemctl reboot");
    guest.wait_for_reboot(SOON);
    assert_ne!(guest.boot_id(), boot);
    journal_on_disk(&guest);
    guest.power_cut();
    guest.power_on();
    journal_on_disk(&guest);
    guest.reset();
    assert_eq!(guest.run("cat /etc/kept/file"), "kept");
    let boots = guest.run("journalctl --list-boots --quiet | wc -l");
    assert_eq!(boots.trim(), "4");
}

#[test]
fn the_units_run_and_upload_what_a_v4l2_driver_captures() {
    let relay = Relay::everywhere(&[]);
    let guest = boot(&with_vivid(with_healer(agent_for(&relay, CAMERA))));
    assert_eq!(guest.settled(), "running", "{}", guest.run("systemctl --failed"));
    new_pictures("of vivid", &relay, SOON);
}
