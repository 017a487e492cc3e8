//! Updates of the card's whole system: what is good is kept, what is not leaves no trace but a line in the journal.

use std::time::Duration;

use stories::Relay;
use stories::guest::{SOON, new_pictures};
use stories::journal::line_after;
use stories::sdcard::{VIVID, card_for, with_vivid};
use testbed::machine::{Machine, bundle};

use crate::all_has_started;

/// Installing one, in a machine of 125 MIPS.
const INSTALLED: Duration = Duration::from_secs(1200);

/// What `/etc/os-release` calls the running system.
const VERSION: &str = "sed -n s/^IMAGE_VERSION=//p /etc/os-release";

const SLOT: &str = "grep -o 'rauc.slot=.' /proc/cmdline";

/// The version that is in a bundle's name.
fn version_of(path: &std::path::Path) -> String {
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let version = name.trim_start_matches("stillwatch-").splitn(3, '-').take(2);
    version.collect::<Vec<_>>().join("-")
}

#[test]
fn an_update_on_the_card_proves_itself_and_is_kept() {
    let relay = Relay::everywhere(&[]);
    let card = with_vivid(card_for(&relay, VIVID));
    let wrong = ["older", "other-key", "other-image", "truncated", "altered"];
    for name in wrong {
        card.bring(&bundle(name));
    }
    let mut machine = Machine::insert(card);
    new_pictures("of the old system", &relay, SOON);
    let before = machine.run(VERSION);
    // Each is refused, for its own reason, and the other slot stays as it was.
    for (name, why) in [
        ("older", "which is older than"),
        ("other-key", "signature"),
        ("other-image", "it is for stillwatch-other, and this is stillwatch-debian"),
        ("truncated", ""),
        ("altered", "it is damaged"),
    ] {
        let refused = line_after(&machine, 0.0, &format!("{name}.raucb is not installed: "));
        println!("{}", refused.text);
        assert!(refused.text.contains(why), "{}", refused.text);
    }
    all_has_started(&machine);
    machine.power_cut();
    assert!(machine.card().is_blank(3), "something was written to slot B");
    for name in wrong {
        let path = bundle(name);
        machine.card().remove(&path.file_name().expect("a name").to_string_lossy());
    }

    let good = bundle("good");
    machine.card().bring(&good);
    machine.power_on();
    machine.wait_for_reboot(INSTALLED);
    assert_eq!(machine.run(SLOT).trim(), "rauc.slot=B");
    assert_eq!(machine.run(VERSION).trim(), version_of(&good));
    assert_ne!(machine.run(VERSION), before);
    let kept = line_after(&machine, 0.0, "has proved itself, and is kept");
    println!("{}", kept.text);
    new_pictures("of the new system", &relay, SOON);
    let variables = machine.run("fw_printenv");
    assert!(
        variables.contains("BOOT_ORDER=B A") && variables.contains("BOOT_B_LEFT=3"),
        "{variables}"
    );
    println!("{}", machine.run("stillwatch-updater status"));
}
