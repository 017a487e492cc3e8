//! The machine's real hooks: the disk, the clock, the way down.

use std::process::Command;

use runtime::heal::{Outcome, Verb};

use crate::stage::Stage;

fn touch(stage: &Stage, file: &str, date: &str) {
    stage.file(file, "x");
    let touched = Command::new("touch").args(["-d", date]).arg(stage.path(file)).status().unwrap();
    assert!(touched.success());
}

#[test]
fn disk_vacuum_takes_what_nobody_misses() {
    let stage = Stage::new();
    stage.tool("journalctl", "");
    let gone = [
        "/tmp/old",
        "/var/tmp/a/old",
        "/var/cache/apt/archives/partial/libc6.deb",
        "/var/lib/systemd/coredump/core.agent.zst",
        "/var/lib/stillwatch-agent/.status.json.tmp",
    ];
    let kept = [
        "/tmp/systemd-private-1-ntp.service/tmp/old",
        "/var/cache/apt/archives/lock",
        "/var/lib/stillwatch-agent/offline/1.jpeg",
        "/var/lib/stillwatch-agent/identity",
    ];
    for file in gone.iter().chain(&kept) {
        touch(&stage, file, "3 days ago");
    }
    for file in ["/tmp/new", "/var/lib/stillwatch-agent/.new.tmp"] {
        touch(&stage, file, "now");
    }
    let healer = stage.serve();
    let said = healer.expect(Verb::DiskVacuum, None, Outcome::Done);
    assert!(said.starts_with("free before: "), "{said}");
    assert_eq!(stage.calls(), ["journalctl --sync", "journalctl --quiet --vacuum-size=32M"]);
    for file in gone {
        assert!(!stage.path(file).exists(), "{file} is left");
    }
    for file in kept.iter().chain(&["/tmp/new", "/var/lib/stillwatch-agent/.new.tmp"]) {
        assert!(stage.path(file).exists(), "{file} is gone");
    }
}

#[test]
fn clock_retry_speaks_to_what_runs() {
    let stage = Stage::new();
    stage.tools(&["journalctl", "chronyc", "sleep"]);
    let healer = stage.serve();
    let last = |active: &str| {
        stage.tool("systemctl", &format!("[ $1 != is-active ] || [ $3 = {active}.service ]"));
        let outcome = healer.ask(Verb::ClockRetry, None).outcome;
        (outcome, stage.calls().last().cloned().unwrap_or_default())
    };
    let done = |call: &str| (Outcome::Done, call.to_owned());
    assert_eq!(last("none").0, Outcome::Unavailable);
    let timesyncd = "systemctl restart systemd-timesyncd.service";
    assert_eq!(last("systemd-timesyncd"), done(timesyncd));
    assert_eq!(last("ntpsec"), done("systemctl restart ntpsec.service"));
    assert_eq!(last("chrony"), done("chronyc makestep"));
    stage.tool("chronyc", "exit 1");
    assert_eq!(last("chrony"), done("systemctl restart chrony.service"));
}

#[test]
fn the_way_down_is_forced_when_it_does_not_begin() {
    let stage = Stage::new();
    stage.tools(&["journalctl", "sleep"]);
    stage.tool("systemctl", "[ $1 != is-system-running ] || { echo stopping; exit 1; }");
    let healer = stage.serve();
    healer.expect(Verb::Reboot, None, Outcome::Done);
    healer.expect(Verb::Poweroff, None, Outcome::Done);
    let down = |action: &str| {
        [
            "journalctl --sync",
            &format!("systemctl --no-block {action}"),
            "systemctl is-system-running",
        ]
        .map(str::to_owned)
    };
    assert_eq!(stage.calls(), [down("reboot"), down("poweroff")].concat());
    stage.tool("systemctl", "[ $1 != is-system-running ] || echo running");
    healer.expect(Verb::Reboot, None, Outcome::Done);
    assert_eq!(stage.calls().last().unwrap(), "systemctl --force reboot");
    assert_eq!(stage.calls().iter().filter(|call| *call == "sleep 1").count(), 10);
}

#[test]
fn another_system_may_need_a_word_to_the_boot_loader() {
    let stage = Stage::new();
    stage.tools(&["journalctl", "sleep"]);
    stage.tool("systemctl", "[ $1 != is-system-running ] || { echo stopping; exit 1; }");
    let restarted = |arguments: &[&str]| {
        stage.run("restart", &[&["--reason", "an update"], arguments].concat());
        stage.calls().into_iter().rfind(|call| call.contains("--no-block")).unwrap()
    };
    assert_eq!(restarted(&[]), "systemctl --no-block reboot");
    let tryboot = ["--argument", "0 tryboot"];
    assert_eq!(restarted(&tryboot), "systemctl --no-block --reboot-argument=0 tryboot reboot");
    stage.tool("systemctl", "[ $1 != is-system-running ] || echo running");
    restarted(&tryboot);
    let last = stage.calls().last().cloned();
    assert_eq!(last.as_deref(), Some("systemctl --force --reboot-argument=0 tryboot reboot"));
    // It costs none of the budget.
    assert!(!stage.path("state/reboots").exists());
}
