//! The SD card's image as its owner meets it, in an arm64 machine of QEMU's: flash, write one file, boot.
//! One machine a story, most of which it waits; two run side by side.

mod healing;
mod power;

use runtime::clock::mono;
use stories::guest::{SOON, new_pictures};
use stories::journal::line_after;
use stories::sdcard::{VIVID, card_for, configuration, with_vivid};
use stories::{PASSWORD, Relay};
use testbed::machine::{Machine, SdCard};

/// What may listen, by the kernel's tables: ports of TCP and UDP, in hexadecimal.
const LISTENING: &str = "cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == \"0A\" { print \"tcp\", $2 }'; \
    cat /proc/net/udp /proc/net/udp6 | awk '$4 == \"07\" { print \"udp\", $2 }'";

#[test]
fn a_flashed_card_with_one_file_on_it_is_live() {
    let relay = Relay::everywhere(&[]);
    let card = with_vivid(card_for(&relay, VIVID));
    let begun = mono();
    let mut machine = Machine::insert(card);
    println!("its shell answers {:.0} s after power-on", mono().since(begun).as_secs_f64());
    new_pictures("of vivid", &relay, SOON);
    println!("live {:.0} s after power-on", mono().since(begun).as_secs_f64());

    // Nothing failed, and nothing waits for what waits for it.
    assert_eq!(machine.settled(), "running", "{}", machine.run("systemctl --failed"));
    let journal = machine.journal("-b");
    assert!(!journal.contains("ordering cycle"), "{journal}");
    println!("{}", machine.run("systemd-analyze"));
    // scripts/check has each unit's limit; here they are with all that the image adds to them.
    let exposure = machine.run("systemd-analyze security --no-pager | grep stillwatch");
    println!("{exposure}");
    assert!(exposure.lines().all(|unit| unit.contains(" OK ")), "{exposure}");
    listens_to_nobody(&machine);
    no_password_opens_anything(&machine);

    // What is written to the root is gone with the power, what belongs to the owner stays.
    assert_eq!(machine.run("findmnt -n -o FSTYPE /run/initramfs/lower").trim(), "erofs");
    machine.run("! touch /run/initramfs/lower/file && ! touch /boot/firmware/file");
    machine.run("touch /etc/file /usr/file && touch /data/file && sync");
    let boot = machine.run("cat /etc/machine-id");
    machine.power_cut();

    // What its owner finds on the card.
    let file = machine.card().read("stillwatch.toml");
    assert!(!file.contains(PASSWORD) && file.contains("password = \"\""), "{file}");
    let status = machine.card().read("stillwatch-status.txt");
    assert!(status.contains("stillwatch.toml is all right."), "{status}");

    machine.power_on();
    machine.run("! test -e /etc/file && ! test -e /usr/file && test -e /data/file");
    assert_eq!(machine.run("cat /etc/machine-id"), boot);
    new_pictures("with the passwords that it keeps", &relay, SOON);
}

/// As documented in docs/image.md: DHCP's answers, and mDNS.
fn listens_to_nobody(machine: &Machine) {
    let listening = machine.run(LISTENING);
    let open = listening.lines().filter(|line| {
        let (address, port) = line.rsplit_once(':').unwrap_or_default();
        // 127.0.0.0/8 and ::1.
        let local =
            address.ends_with("7F") || address.ends_with("00000000000000000000000001000000");
        // dhcpv4 68, dhcpv6 546, mDNS 5353.
        !local && !["0044", "0222", "14E9"].contains(&port)
    });
    let open: Vec<&str> = open.collect();
    assert!(open.is_empty(), "{open:?}");
}

fn no_password_opens_anything(machine: &Machine) {
    assert_eq!(machine.run("grep -vE '^[^:]+:[!*]' /etc/shadow || true"), "");
    machine.run("! systemctl is-active ssh.service && ! systemctl is-active ssh.socket");
    assert!(!machine.journal("-b").contains(PASSWORD));
}

#[test]
fn a_mistake_is_told_on_the_card_and_put_right() {
    let relay = Relay::everywhere(&[]);
    let card = SdCard::flashed();
    // As a phone writes it, and with a slip.
    let wrong = configuration(&relay, "[camera]\r\nsource = “pattern”\r\nfps = \"many\"\r\n");
    card.write("stillwatch.toml", wrong);
    let mut machine = Machine::insert(card);
    assert_eq!(machine.settled(), "running", "{}", machine.run("systemctl --failed"));
    line_after(&machine, 0.0, "fps");
    machine.run("! systemctl is-active stillwatch-agent");
    machine.power_cut();
    let status = machine.card().read("stillwatch-status.txt");
    assert!(
        status.contains("line 6") && status.contains("fps") && status.contains("\r\n"),
        "{status}"
    );
    // Nothing was in force, so the password stays where it was written.
    assert!(machine.card().read("stillwatch.toml").contains(PASSWORD));

    let right = configuration(&relay, "[camera]\r\nsource = “pattern”\r\nsize = “320x240”\r\n");
    machine.card().write("stillwatch.toml", right);
    machine.power_on();
    new_pictures("once it is put right", &relay, SOON);
}

#[test]
fn without_network_and_time_it_waits_and_then_is_live() {
    let relay = Relay::everywhere(&[]);
    // As a Pi, which has no clock.
    let card = with_vivid(card_for(&relay, VIVID)).with_clock("1999-12-31T23:59:00");
    let machine = Machine::insert(card.without_cable());
    line_after(&machine, 0.0, "network: ");
    // Not before the image was made.
    machine.run("test $(date +%s) -ge $(stat -c %Y /usr/lib/clock-epoch)");
    assert!(relay.is_empty());
    machine.cable(true);
    new_pictures("with the cable in", &relay, SOON);
    assert_eq!(machine.settled(), "running", "{}", machine.run("systemctl --failed"));
}

#[test]
fn a_raspberry_pi_boots_it() {
    let card = SdCard::flashed();
    let relay = "[relay]\nurl = \"https://192.0.2.1/\"\npassword = \"none\"\n";
    card.write("stillwatch.toml", format!("{relay}[camera]\nsource = \"pattern\"\n"));
    // An emulated Pi has no network that Debian's kernel drives reliably: as far as it needs none.
    let console = card.boot_as_pi("Finished stillwatch-mark-good.service", 3 * SOON);
    assert!(console.contains("stillwatch: slot A on mmcblk"), "{console}");
    assert!(console.contains("Started stillwatch-agent.service"), "{console}");
    assert!(card.read("stillwatch-status.txt").contains("stillwatch.toml is all right."));
}
