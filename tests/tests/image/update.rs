//! Updates of the card's whole system: what is good is kept, what is not leaves no trace but a line in the journal.

use std::path::Path;
use std::time::Duration;

use stories::Relay;
use stories::faults::{Row, record, record_boot};
use stories::guest::{SOON, new_pictures};
use stories::journal::line_after;
use stories::sdcard::{VIVID, card_for, with_vivid};
use testbed::http::get;
use testbed::machine::{Machine, bundle};

use crate::all_has_started;
use crate::power::random;

/// Installing one, in a machine of 125 MIPS.
const INSTALLED: Duration = Duration::from_secs(1200);

/// What `/etc/os-release` calls the running system.
const VERSION: &str = "sed -n s/^IMAGE_VERSION=//p /etc/os-release";

const SLOT: &str = "grep -o 'rauc.slot=.' /proc/cmdline";

/// The version that is in a bundle's name.
fn version_of(path: &Path) -> String {
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let version = name.trim_start_matches("stillwatch-").splitn(3, '-').take(2);
    version.collect::<Vec<_>>().join("-")
}

/// Whoever asks every few seconds, and waits for no hour.
const AT_ONCE: &str = "[update]\nwindow = \"00:00-24:00\"\npoll = \"5s\"\n";

/// What is refused, and why.
const WRONG: [(&str, &str); 5] = [
    ("older", "which is older than"),
    ("other-key", "not signed with a key that is trusted here"),
    ("other-image", "it is for stillwatch-other, and this is stillwatch-debian"),
    ("truncated", "no whole bundle"),
    ("altered", "it is damaged"),
];

#[test]
fn updates_prove_themselves_and_are_kept() {
    let relay = Relay::everywhere(&[]);
    let card = with_vivid(card_for(&relay, &format!("{AT_ONCE}{VIVID}")));
    for (name, _) in WRONG {
        card.bring(&bundle(name));
    }
    let mut machine = Machine::insert(card.with_usb_port());
    new_pictures("of the old system", &relay, SOON);
    machine.plug_stick(&bundle("other-image"));
    line_after(&machine, 0.0, "/run/stillwatch-stick/stillwatch-0.1.9");
    refuses(&mut machine);

    // From A to B, by hand: the stick waits until the camera is well.
    let good = bundle("good");
    machine.power_on();
    machine.plug_stick(&good);
    is_kept(&mut machine, "B", &good);
    new_pictures("of the new system", &relay, SOON);
    let variables = machine.run("fw_printenv");
    assert!(
        variables.contains("BOOT_ORDER=B A") && variables.contains("BOOT_B_LEFT=3"),
        "{variables}"
    );
    kept_row(39, "update that is good", &machine, &relay);

    if all() {
        from_the_relay(&mut machine, &relay, &good);
        on_purpose(&mut machine, &relay, &good);
    }
}

/// And back to A, from the relay, and the power is cut while it is fetched.
fn from_the_relay(machine: &mut Machine, relay: &Relay, before: &Path) {
    let later = bundle("later");
    relay.publish(&later);
    machine.eventually("fetching", SOON, "stillwatch-agent status | grep -E 'downloading, [1-9]'");
    machine.power_cut();
    // For later: the card's folder can be written to now.
    machine.card().bring(before);
    machine.power_on();
    is_kept(machine, "A", &later);
    println!("{}", machine.journal("-q -t stillwatch-agent --grep 'have to be fetched' -o cat"));
    new_pictures("of the one after it", relay, SOON);
    let metrics = get(relay.address, "/metrics").expect("an answer");
    let system = format!("version=\"{}\"", version_of(&later));
    assert!(String::from_utf8_lossy(&metrics.body).contains(&system));

    // It keeps its state differently, and has left the other one's alone.
    assert_eq!(machine.run("cat /var/lib/stillwatch-agent/version").trim(), "2");
    machine.run("test -e /data/state-2/provision/stillwatch.toml && test -d /data/agent && ! test -e /data/agent/version");
    all_has_started(machine);
    kept_row(
        55,
        "a second one, from the relay; power cut while it is fetched; new kind of state",
        machine,
        relay,
    );
}

/// Each for its own reason, and the other slot stays as it was.
fn refuses(machine: &mut Machine) {
    for (number, (name, why)) in (47..).zip(WRONG) {
        let refused = line_after(machine, 0.0, &format!("{name}.raucb is not installed: "));
        println!("{}", refused.text);
        assert!(refused.text.contains(why), "{}", refused.text);
        record(&Row {
            number,
            fault: &format!("update: {name}"),
            detected: "before a byte is written",
            rungs: "refused",
            goal: "nothing written, live all the time",
            how: "QEMU",
            evidence: text_of(&refused.text),
            ..Row::default()
        });
    }
    all_has_started(machine);
    machine.power_cut();
    assert!(machine.card().is_blank(3), "something was written to slot B");
    for (name, _) in WRONG {
        machine.card().remove(&name_of(&bundle(name)));
    }
}

fn is_kept(machine: &mut Machine, slot: &str, path: &Path) {
    let version = version_of(path);
    let kept = format!("stillwatch-updater status | grep '{version} was kept'");
    machine.eventually("its trial's end", 2 * INSTALLED, &kept);
    machine.wait_for_reboot(SOON);
    assert_eq!(machine.run(SLOT).trim(), format!("rauc.slot={slot}"));
    assert_eq!(machine.run(VERSION).trim(), version);
    println!("{}", machine.run("stillwatch-updater status"));
}

/// A downgrade: state of an older kind is gone, the configuration is not.
fn on_purpose(machine: &mut Machine, relay: &Relay, good: &Path) {
    let file = format!("/boot/firmware/{}", name_of(good));
    // Not by itself, and not where it could not be noted.
    machine.run_within(INSTALLED, &format!("! stillwatch-updater install {file}"));
    machine.run("dd if=/dev/zero of=/data/fill bs=1M status=none; sync");
    let install = format!("stillwatch-updater install {file} --older");
    let said = machine.try_run(INSTALLED, &install).expect("an answer");
    println!("{}", said.text);
    assert!(said.status != 0 && said.text.contains("it can't be noted"), "{}", said.text);
    machine.run("rm /data/fill; sync");
    let refused = said.text.trim().lines().next_back().unwrap_or_default();
    record(&Row {
        number: 53,
        fault: "update with a full data partition",
        detected: "before a byte is written",
        rungs: "refused",
        goal: "nothing written, live all the time",
        how: "QEMU",
        evidence: refused.split_once("ERROR ").map_or(refused, |(_, text)| text),
        ..Row::default()
    });
    machine.begin(&format!("stillwatch-updater install {file} --older --reboot"));
    is_kept(machine, "B", good);
    new_pictures("of the older system", relay, SOON);
    kept_row(56, "downgrade on purpose", machine, relay);
}

/// What stands in docs/faults.md, and is told of what.
struct Bad {
    number: u32,
    name: &'static str,
    fault: &'static str,
    detected: &'static str,
    /// In the sentence about why it was taken back.
    why: &'static str,
}

/// What does not come far enough to be judged: U-Boot gives it three attempts.
const DOES_NOT_START: [Bad; 4] = [
    Bad {
        number: 43,
        name: "no-kernel",
        fault: "update whose kernel is none",
        detected: "U-Boot: it can't be started",
        why: "it did not come up",
    },
    Bad {
        number: 40,
        name: "panics",
        fault: "update whose kernel panics",
        detected: "panic=10",
        why: "it did not come up",
    },
    Bad {
        number: 42,
        name: "init-dies",
        fault: "update whose PID 1 dies",
        detected: "panic=10",
        why: "it did not come up",
    },
    Bad {
        number: 41,
        name: "hangs",
        fault: "update whose initrd hangs",
        detected: "hardware watchdog, 60 s",
        why: "it did not come up",
    },
];

/// What comes up and does not do a camera's work.
const DOES_NOT_WORK: [Bad; 3] = [
    Bad {
        number: 44,
        name: "agent-crashes",
        fault: "update whose agent crashes",
        detected: "trial: healing wants a reboot",
        why: "healing wants a reboot",
    },
    Bad {
        number: 45,
        name: "no-camera",
        fault: "update without the camera's driver",
        detected: "trial: no picture",
        why: "no new picture comes from the camera",
    },
    Bad {
        number: 46,
        name: "no-network",
        fault: "update that finds no network",
        detected: "trial: no upload, and the old one uploads",
        why: "the relay acknowledged no picture",
    },
];

/// Whether all of them are wanted (`UPDATES=all`, scripts/faults), or what takes no hour.
fn all() -> bool {
    std::env::var("UPDATES").is_ok_and(|which| which == "all")
}

#[test]
fn what_does_not_start_is_left_again() {
    let of_which = if all() { &DOES_NOT_START[..] } else { &DOES_NOT_START[..1] };
    taken_back(of_which);
}

#[test]
fn what_does_no_cameras_work_is_taken_back() {
    let of_which = if all() { &DOES_NOT_WORK[..] } else { &DOES_NOT_WORK[..1] };
    taken_back(of_which);
}

fn taken_back(of_which: &[Bad]) {
    let relay = Relay::everywhere(&[]);
    let mut machine = Machine::insert(with_vivid(card_for(&relay, VIVID)));
    new_pictures("of the system that works", &relay, SOON);
    let version = machine.run(VERSION);
    let budget = budget(&machine);
    for bad in of_which {
        machine.power_cut();
        let path = bundle(bad.name);
        machine.card().bring(&path);
        machine.power_on();
        let begun = format!("installing {}", version_of(&path));
        machine.eventually(
            "its installation",
            INSTALLED,
            &format!("journalctl -q --grep '{begun}' | grep ."),
        );
        let told = format!("{} was taken back: ", version_of(&path));
        let told = machine.eventually(
            "the system before it",
            INSTALLED,
            &format!("journalctl -q -b -o cat --grep '{told}' | grep ."),
        );
        machine.wait_for_reboot(SOON);
        println!("{told}");
        assert!(told.contains(bad.why), "{told}");
        new_pictures("of the system that works, again", &relay, SOON);
        assert_eq!(machine.run(VERSION), version);
        assert_eq!(machine.run(SLOT).trim(), "rauc.slot=A");
        row(&relay, bad, told.trim());
        // Not tried again, though it lies there, and it cost nothing that healing may need.
        machine.eventually("its attempts back", SOON, "test $(fw_printenv -n BOOT_A_LEFT) = 3");
        machine.run("test $(fw_printenv -n BOOT_B_LEFT) = 0");
        assert_eq!(self::budget(&machine), budget);
        let status = machine.run("stillwatch-updater status");
        println!("{status}");
        assert!(status.contains("no update is under way"), "{status}");
        machine.power_cut();
        machine.card().remove(&name_of(&path));
        machine.power_on();
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

fn budget(machine: &Machine) -> String {
    machine.run("stillwatch-agent status | grep 'reboots left' || true")
}

/// For how long the relay missed it last, in this machine's time: the camera's clock does not count reboots.
fn missed(relay: &Relay) -> Duration {
    let lines = relay.program.lines();
    let again = lines.iter().rev().find_map(|line| line.split_once("live again after "));
    let (_, lasted) = again.expect("it was away");
    let words = lasted.split(' ').map_while(|word| {
        let digits = word.trim_end_matches(char::is_alphabetic);
        let seconds = match word.get(digits.len()..)? {
            "h" => 3600,
            "m" => 60,
            "s" => 1,
            _ => return None,
        };
        Some(digits.parse::<u64>().ok()? * seconds)
    });
    // It says so when nothing came for 10 s.
    Duration::from_secs(words.sum::<u64>() + 10)
}

fn kept_row(number: u32, fault: &str, machine: &Machine, relay: &Relay) {
    let kept = line_after(machine, 0.0, "has proved itself, and is kept");
    record(&Row {
        number,
        fault,
        detected: "trial: 60 s without a fault",
        rungs: "none",
        took: missed(relay),
        goal: "the boot",
        how: "QEMU",
        evidence: text_of(&kept.text),
    });
}

/// Without the program that says it.
fn text_of(line: &str) -> &str {
    line.split_once("]: ").map_or(line, |(_, text)| text)
}

fn row(relay: &Relay, bad: &Bad, evidence: &str) {
    let Bad { number, fault, detected, .. } = bad;
    record(&Row {
        number: *number,
        fault,
        detected,
        rungs: "the system before it",
        took: missed(relay),
        goal: "3 attempts, or 10 min of trial",
        how: "QEMU",
        evidence,
    });
}

/// Random moments of an update, each with a card of its own: `UPDATE_CUTS=20` (scripts/faults).
fn cuts() -> u32 {
    std::env::var("UPDATE_CUTS").map_or(1, |number| number.parse().expect("UPDATE_CUTS: a number"))
}

#[test]
fn the_power_is_cut_in_the_middle_of_an_update() {
    let mut random = random();
    for number in 1..=cuts() {
        let relay = Relay::everywhere(&[]);
        let card = with_vivid(card_for(&relay, VIVID));
        card.bring(&bundle("good"));
        let mut machine = Machine::without_power(card);
        // From the first look at the bundle to the end of the trial.
        let moment = Duration::from_millis(random.u64(20_000..270_000));
        machine.power_on_for(moment);
        machine.power_on();
        let slot = machine.run(SLOT);
        println!("cut {number} after {moment:?}: {}", slot.trim());
        assert!(["rauc.slot=A", "rauc.slot=B"].contains(&slot.trim()), "{slot}");
        new_pictures("after the cut", &relay, SOON);
        record_boot(
            &machine,
            "stillwatch: slot",
            &Row {
                number: 52,
                fault: "power cut in the middle of an update",
                detected: "the updater's record, at each boot",
                rungs: "one of the two systems, and the update goes on",
                goal: "the boot",
                how: "QEMU",
                ..Row::default()
            },
        );
        // Whatever was cut, it ends as it would have. That takes minutes more, hence once.
        if number == cuts() {
            machine.eventually(
                "the update",
                2 * INSTALLED,
                "stillwatch-updater status | grep 'was kept'",
            );
            // With or without another reboot.
            machine.eventually("slot B", SOON, "grep rauc.slot=B /proc/cmdline");
            new_pictures("of the new system", &relay, SOON);
        }
    }
}
