//! Why was the machine started: five stories of how a boot ended.

use runtime::heal::{Outcome, Verb};

use crate::stage::Stage;

/// The next boot; what it says.
fn boot(stage: &Stage, id: &str) -> String {
    stage.file("/proc/sys/kernel/random/boot_id", id);
    std::fs::remove_dir_all(stage.path("run")).unwrap();
    let output = stage.run("boot", &[]);
    let booted = stage.published().booted.unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let said: Vec<&str> =
        log.lines().filter(|line| line.contains("stillwatch_event=\"booted\"")).collect();
    assert!(said.len() == 1 && said[0].contains(&booted), "{log}");
    booted
}

#[test]
fn each_end_is_told_by_the_next_boot() {
    let stage = Stage::new();
    stage.tool("systemctl", "echo stopping; exit 1");
    assert!(boot(&stage, "1").contains("for the first time"));
    assert!(boot(&stage, "2").contains("the power was cut"));
    stage.run("halt", &[]);
    assert!(boot(&stage, "3").contains("in order"));
    stage.file("/sys/fs/pstore/dmesg-ramoops-0", "<0>[ 9.1] Kernel panic - not syncing: Oops\n");
    assert_eq!(boot(&stage, "4"), "the kernel crashed: Kernel panic - not syncing: Oops");
    stage.file("/sys/class/watchdog/watchdog0/bootstatus", "32\n");
    assert!(boot(&stage, "5").contains("the hardware watchdog"));
    stage.hook(Verb::Reboot, "");
    let healer = stage.serve();
    healer.expect(Verb::Reboot, None, Outcome::Done);
    drop(healer);
    assert_eq!(
        boot(&stage, "6"),
        "Stillwatch rebooted the machine, because the test wants it: reboot 1 of the budget, 2 left"
    );
    let history = stage.read("state/reboot-history.jsonl");
    assert!(
        history.contains("\"boot_id\":\"5\"") && history.contains("\"happened\":true"),
        "{history}"
    );
    assert_eq!(stage.published().reboots_left, 2);
    // Serving keeps what the boot has found.
    let healer = stage.serve();
    healer.expect(Verb::Ill, None, Outcome::Done);
    assert!(stage.published().booted.unwrap().contains("rebooted the machine"));
}

#[test]
fn stopping_the_unit_is_no_shutdown() {
    let stage = Stage::new();
    stage.tool("systemctl", "echo running");
    boot(&stage, "1");
    stage.run("halt", &[]);
    assert!(boot(&stage, "2").contains("the power was cut"));
}

#[test]
fn a_disk_that_takes_nothing_is_survived() {
    let stage = Stage::new();
    std::fs::remove_dir(stage.path("state")).unwrap();
    stage.file("state", "a file, where a folder should be");
    assert!(boot(&stage, "1").contains("for the first time"));
    stage.run("halt", &[]);
}
