//! The card that Buildroot's scripts make, of a root filesystem that Debian's packages are in (`scripts/test.d/buildroot-card`):
//! what of it is ours is the same, whoever built the rest.

use std::fs;
use std::process::Command;

use stories::Relay;
use stories::guest::{SOON, new_pictures};
use stories::sdcard::{VIVID, configured, with_vivid};
use testbed::machine::{Machine, SdCard, buildroot_card};

use crate::{all_has_started, gets_its_attempts_back};

#[test]
fn a_card_that_buildroots_scripts_made_is_live() {
    let images = buildroot_card("qemu_aarch64_virt");
    let relay = Relay::everywhere(&[]);
    let card = with_vivid(configured(SdCard::flashed_with(&images), &relay, VIVID));
    let machine = Machine::insert(card);
    new_pictures("of vivid", &relay, SOON);
    all_has_started(&machine);
    gets_its_attempts_back(&machine);
    let system = machine.run("cat /etc/os-release");
    assert!(system.contains("IMAGE_ID=stillwatch-buildroot-qemu_aarch64_virt"), "{system}");
    // Called twice, as Buildroot calls it for each build, it says so once.
    assert_eq!(system.matches("IMAGE_VERSION=").count(), 1, "{system}");
    let status = machine.run("rauc status");
    assert!(status.contains("booted") && status.contains("A"), "{status}");

    // Its update is for it, and signed.
    let mut files = fs::read_dir(&images).expect("the folder").flatten();
    let bundle = files.find(|file| file.file_name().to_string_lossy().ends_with(".raucb"));
    let mut rauc = Command::new("rauc");
    rauc.arg("info").arg("--keyring").arg(images.join("keyring.pem"));
    let said = rauc.arg(bundle.expect("an update").path()).output().expect("rauc");
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert!(text.contains("'stillwatch-buildroot-qemu_aarch64_virt'"), "{text}");
}

#[test]
fn a_card_for_the_pi_has_what_its_firmware_looks_for() {
    let card = SdCard::flashed_with(&buildroot_card("rpi4_64"));
    let debians = SdCard::flashed();
    for number in 1..=4 {
        assert_eq!(card.partition(number), debians.partition(number));
    }
    assert!(card.is_blank(3));
    let config = card.read("config.txt");
    assert!(config.contains("kernel=u-boot.bin") && config.contains("camera_auto_detect=1"));
    assert_eq!(card.read("stillwatch-example.toml"), debians.read("stillwatch-example.toml"));
    // Behind U-Boot's header, which says when it was made.
    let script = |card: &SdCard| card.read_bytes("boot.scr").split_off(64);
    assert_eq!(script(&card), script(&debians));
    for name in ["u-boot.bin", "start4.elf", "fixup4.dat", "bcm2711-rpi-4-b.dtb"] {
        assert!(!card.read_bytes(name).is_empty(), "{name}");
    }
}
