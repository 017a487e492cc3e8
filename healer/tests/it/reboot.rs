//! Reboots: spent and on the disk before the act, never more than the budget has.

use std::fs;

use runtime::heal::{Outcome, Verb};

use crate::stage::Stage;

/// A hook that keeps what is on the disk when it runs.
const WITNESS: &str = "echo reboot >>$STAGE/calls; cp $STAGE/state/* $STAGE/seen/";

fn stage() -> Stage {
    let stage = Stage::new();
    fs::create_dir(stage.path("seen")).unwrap();
    stage.hook(Verb::Reboot, WITNESS);
    stage.tool("journalctl", "");
    stage
}

#[test]
fn each_is_on_the_disk_before_it_happens_until_none_is_left() {
    let stage = stage();
    stage.file("/dev/pmsg0", "");
    let healer = stage.serve();
    for left in [2, 1, 0] {
        healer.expect(Verb::Reboot, None, Outcome::Done);
        let budget = stage.read("seen/reboots");
        assert!(budget.contains(&format!(" left={left} spent={} ", 3 - left)), "{budget}");
        let record = stage.read("seen/last-reboot.json");
        for part in [
            "\"rung\":\"reboot\"",
            "\"reason\":\"the test wants it\"",
            "\"boot_id\":\"this-boot\"",
            &format!("\"left\":{left},"),
        ] {
            assert!(record.contains(part), "{part}: {record}");
        }
        assert_eq!(stage.published().reboots_left, left);
    }
    assert_eq!(stage.calls(), ["journalctl --sync", "reboot"].repeat(3));
    assert!(stage.read("dev/pmsg0").contains("stillwatch: going down (reboot): the test wants it"));
    for _ in 0..3 {
        let said = healer.expect(Verb::Reboot, None, Outcome::Refused);
        assert!(said.starts_with("no reboot is left"), "{said}");
    }
    assert_eq!(stage.calls().len(), 6);
    healer.told(&[("stillwatch_event=\"budget-empty\"", 1), ("stillwatch_event=\"reboot\"", 3)]);
}

#[test]
fn a_budget_from_the_future_is_left_alone() {
    let stage = stage();
    let later = "reboots-2 {\"left\": 9}\n";
    stage.file("state/reboots", later);
    let healer = stage.serve();
    let said = healer.expect(Verb::Reboot, None, Outcome::Refused);
    assert!(said.contains("a later version"), "{said}");
    healer.expect(Verb::Well, None, Outcome::Failed);
    assert_eq!((stage.read("state/reboots").as_str(), stage.calls().len()), (later, 0));
    healer.told(&[("stillwatch_event=\"heal-failed\"", 1)]);
}

#[test]
fn a_torn_budget_has_one_left() {
    for torn in ["", "reboots-1 left=3 spent=0 heal", "\0\0\0\0"] {
        let stage = stage();
        stage.file("state/reboots", torn);
        let healer = stage.serve();
        healer.expect(Verb::Reboot, None, Outcome::Done);
        healer.expect(Verb::Reboot, None, Outcome::Refused);
        healer.program.line("stillwatch_event=\"budget-damaged\"");
    }
}

#[test]
fn what_can_not_be_written_down_does_not_happen() {
    // Not even root writes here.
    for taken in ["state/.reboots.tmp/x", "state/.last-reboot.json.tmp/x"] {
        let stage = stage();
        stage.file(taken, "");
        let healer = stage.serve();
        for _ in 0..3 {
            let said = healer.expect(Verb::Reboot, None, Outcome::Refused);
            assert!(said.starts_with("the reboot could not be written down"), "{said}");
        }
        assert_eq!(stage.calls().len(), 0);
        healer.told(&[("stillwatch_event=\"heal-failed\"", 1)]);
    }
}

#[test]
fn one_that_does_not_begin_is_history() {
    let stage = stage();
    stage.hook(Verb::Reboot, "echo systemd is gone; exit 1");
    let healer = stage.serve();
    let said = healer.expect(Verb::Reboot, None, Outcome::Failed);
    assert!(said.ends_with("exit status: 1: systemd is gone"), "{said}");
    assert!(!stage.path("state/last-reboot.json").exists());
    let history = stage.read("state/reboot-history.jsonl");
    assert!(history.contains("\"happened\":false"), "{history}");
    assert_eq!(stage.published().reboots_left, 2);
}

#[test]
fn well_and_ill_are_no_news_and_no_writes_while_all_is_well() {
    let stage = stage();
    let healer = stage.serve();
    healer.expect(Verb::Well, None, Outcome::Done);
    healer.expect(Verb::Ill, None, Outcome::Done);
    assert!(!stage.path("state/reboots").exists());
    assert_eq!(stage.published().reboots_left, 3);
    healer.expect(Verb::Reboot, None, Outcome::Done);
    let spent = stage.read("state/reboots");
    stage.file("/proc/sys/kernel/random/boot_id", "next-boot\n");
    assert_eq!(healer.expect(Verb::Well, None, Outcome::Done), "reboots left: 2");
    let accounted = stage.read("state/reboots");
    assert!(spent != accounted && accounted.contains(" boot=next-boot "), "{accounted}");
    healer.told(&[("well", 0), (" ill", 0)]);
}

#[test]
fn a_system_on_trial_is_taken_back_and_not_rebooted() {
    let stage = stage();
    let update = |phase: &str| {
        stage.file("run/stillwatch/update.json", &format!("{{\"phase\":\"{phase}\"}}"));
    };
    update("trial");
    let healer = stage.serve();
    let said = healer.expect(Verb::Reboot, None, Outcome::Refused);
    assert!(said.contains("on trial"), "{said}");
    assert_eq!(stage.calls(), [""; 0]);
    assert!(!stage.path("state/reboots").exists(), "it costs none");
    assert_eq!(stage.published().reboot_wanted.as_deref(), Some("the test wants it"));
    update("idle");
    healer.expect(Verb::Reboot, None, Outcome::Done);
}

#[test]
fn the_button_costs_no_reboot() {
    let stage = stage();
    stage.hook(Verb::Poweroff, "echo off >>$STAGE/calls; cp $STAGE/state/* $STAGE/seen/");
    let healer = stage.serve();
    healer.expect(Verb::Poweroff, None, Outcome::Done);
    assert_eq!(stage.calls(), ["journalctl --sync", "off"]);
    assert!(stage.read("seen/last-reboot.json").contains("\"rung\":\"poweroff\""));
    assert!(!stage.path("state/reboots").exists());
    healer.program.line("stillwatch_event=\"button\"");
    // Not even a broken disk keeps the machine on.
    stage.file("state/.last-reboot.json.tmp/x", "");
    healer.expect(Verb::Poweroff, None, Outcome::Done);
}
