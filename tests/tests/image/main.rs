//! The SD card's image as its owner meets it, in an arm64 machine of QEMU's: flash, write one file, boot.
//! One machine a story, most of which it waits; two run side by side.

#![expect(clippy::expect_used, reason = "it is test code, and a panic is how a test fails")]

mod buildroot;
mod healing;
mod power;
mod update;

use std::collections::BTreeSet;

use runtime::clock::mono;
use runtime::setup::{Ask, SOCKET};
use stories::guest::{SOON, new_pictures};
use stories::journal::line_after;
use stories::sdcard::{VIVID, card_for, configuration, with_vivid};
use stories::{PASSWORD, Relay};
use testbed::machine::{Machine, SdCard};

/// U-Boot's variables on the card: image/layout.bash, `VARIABLES_AT`.
const COUNTERS: u64 = 1 << 20;

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
    all_has_started(&machine);
    let journal = machine.journal("-b");
    assert!(!journal.contains("ordering cycle"), "{journal}");
    println!("{}", machine.run("systemd-analyze"));
    // scripts/check has each unit's limit; here they are with all that the image adds to them.
    let exposure = machine.run("systemd-analyze security --no-pager | grep stillwatch");
    println!("{exposure}");
    assert!(exposure.lines().all(|unit| unit.contains(" OK ")), "{exposure}");
    assert_eq!(open_to_the_network(&machine), BTreeSet::new());
    no_password_opens_anything(&machine);

    // The card is used to its end; this slot has shown that it starts.
    has_grown(&machine);
    gets_its_attempts_back(&machine);

    // What is written to the root is gone with the power, what belongs to the owner stays.
    assert_eq!(machine.run("findmnt -n -o FSTYPE /run/initramfs/lower").trim(), "erofs");
    machine.run("! touch /run/initramfs/lower/file && ! touch /boot/firmware/file");
    machine.run("touch /etc/file /usr/file && touch /data/file");
    machine.run("ssh-keygen -q -t ed25519 -N '' -f /data/owner && sync");
    let key = machine.run("cat /data/owner.pub");
    let boot = machine.run("cat /etc/machine-id");
    machine.power_cut();

    // What its owner finds on the card.
    let file = machine.card().read("stillwatch.toml");
    assert!(!file.contains(PASSWORD) && file.contains("password = \"\""), "{file}");
    let status = machine.card().read("stillwatch-status.txt");
    assert!(status.contains("stillwatch.toml is all right."), "{status}");

    // Another wish, and U-Boot's counters damaged.
    let changed = format!("viewer = true\n{file}[ssh]\nkey = \"{}\"\n", key.trim());
    machine.card().write("stillwatch.toml", changed);
    machine.card().overwrite(COUNTERS, &[0x5a; 512]);
    machine.power_on();
    // An attempt is counted before it is made.
    assert_eq!(machine.run("fw_printenv -n BOOT_A_LEFT").trim(), "2");
    machine.run("! test -e /etc/file && ! test -e /usr/file && test -e /data/file");
    assert_eq!(machine.run("cat /etc/machine-id"), boot);
    new_pictures("with the passwords that it keeps", &relay, SOON);
    all_has_started(&machine);
    gets_its_attempts_back(&machine);
    its_owner_may_look_and_log_in(&machine);
}

fn all_has_started(machine: &Machine) {
    assert_eq!(machine.settled(), "running", "{}", machine.run("systemctl --failed"));
}

fn gets_its_attempts_back(machine: &Machine) {
    machine.eventually("all attempts", SOON, "test $(fw_printenv -n BOOT_A_LEFT) = 3");
}

/// The image's data partition is 64 MiB, the card's is the rest.
fn has_grown(machine: &Machine) {
    let size = machine.run("df --output=size -BM /data | tail -1");
    let size: u32 = size.trim().trim_end_matches('M').parse().expect("MiB");
    assert!(size > 800, "{size} MiB");
}

fn its_owner_may_look_and_log_in(machine: &Machine) {
    let ask = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; head -1 <&3";
    let answer = machine.run(&format!("exec 3<>/dev/tcp/10.0.2.15/80; {ask}"));
    assert!(answer.contains("200 OK"), "{answer}");
    let ssh = "ssh -o StrictHostKeyChecking=no -o BatchMode=yes";
    let said = machine.run(&format!("{ssh} -i /data/owner root@10.0.2.15 stillwatch-agent status"));
    assert!(said.contains("camera: works"), "{said}");
    machine.run(&format!("! {ssh} -o IdentityFile=none root@10.0.2.15 true"));
    let open = ["tcp 0016", "tcp 0050"].map(str::to_owned);
    assert_eq!(open_to_the_network(machine), BTreeSet::from(open));
}

/// What listens but for what docs/image.md lists in any case: DHCP's answers, and mDNS.
fn open_to_the_network(machine: &Machine) -> BTreeSet<String> {
    let listening = machine.run(LISTENING);
    let open = listening.lines().filter_map(|line| {
        let (address, port) = line.rsplit_once(':')?;
        // 127.0.0.0/8 and ::1.
        let local =
            address.ends_with("7F") || address.ends_with("00000000000000000000000001000000");
        // dhcpv4 68, dhcpv6 546, mDNS 5353.
        let usual = ["0044", "0222", "14E9"].contains(&port);
        let protocol = address.split(' ').next()?;
        (!local && !usual).then(|| format!("{protocol} {port}"))
    });
    open.collect()
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
    all_has_started(&machine);
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
    let mut machine = Machine::insert(card.without_cable());
    line_after(&machine, 0.0, "network: ");
    // Not before the image was made.
    machine.run("test $(date +%s) -ge $(stat -c %Y /usr/lib/clock-epoch)");
    assert!(relay.is_empty());
    machine.cable(true);
    new_pictures("with the cable in", &relay, SOON);
    all_has_started(&machine);

    // Nor before it last knew the time: set in the initrd, before the first file of that boot.
    let mark = "/var/lib/systemd/timesync/clock";
    machine.run(&format!("touch -d '+30 days' {mark} && sync"));
    let known = machine.run(&format!("stat -c %Y {mark}"));
    machine.power_cut();
    machine.power_on();
    machine.run(&format!("test $(stat -c %Y /run/stillwatch/data) -ge {}", known.trim()));
}

#[test]
fn a_card_without_a_file_is_set_up_by_radio() {
    let relay = Relay::everywhere(&[]);
    let radio = "[Service]\nType=oneshot\nExecStart=modprobe mac80211_hwsim radios=1\n";
    let mut machine = Machine::insert(with_vivid(SdCard::flashed()).with('r', radio));
    line_after(&machine, 0.0, "is open; its password stands in stillwatch-status.txt");
    machine
        .run("systemctl is-active stillwatch-mistakes && ! systemctl is-active stillwatch-agent");
    // A phone's part is in tests/machine_setup.rs; this is what its page sends on.
    let ask = Ask::Take { text: configuration(&relay, VIVID) };
    machine.put("/run/ask", serde_json::to_vec(&ask).expect("a request"));
    let answer =
        machine.run(&format!("(cat /run/ask; echo) | socat -t 60 - UNIX-CONNECT:{SOCKET}"));
    assert!(answer.contains("begun"), "{answer}");
    new_pictures("once it was set up", &relay, SOON);
    machine.eventually("no mistakes", SOON, "! systemctl is-active stillwatch-mistakes");
    machine.run("! test -e /run/stillwatch/mistakes.txt && sync");
    machine.power_cut();
    let file = machine.card().read("stillwatch.toml");
    assert!(file.contains("[relay]") && !file.contains(PASSWORD), "{file}");
    let status = machine.card().read("stillwatch-status.txt");
    assert!(status.contains("stillwatch.toml is all right."), "{status}");
    // The spare copy alone has the password now.
    machine.card().forget(4);
    machine.power_on();
    new_pictures("from the spare copy", &relay, SOON);
}

#[test]
fn a_raspberry_pi_boots_it() {
    let card = SdCard::flashed();
    let relay = "[relay]\nurl = \"https://192.0.2.1/\"\npassword = \"none\"\n";
    card.write("stillwatch.toml", format!("{relay}[camera]\nsource = \"pattern\"\n"));
    // An emulated Pi has no network that Debian's kernel drives reliably: as far as it needs none.
    let console = card.boot_as_pi("Started stillwatch-agent.service", 3 * SOON);
    assert!(console.contains("stillwatch: slot A on mmcblk"), "{console}");
    assert!(console.contains("Started stillwatch-updater.service"), "{console}");
    assert!(card.read("stillwatch-status.txt").contains("stillwatch.toml is all right."));
}
