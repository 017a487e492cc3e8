//! What follows when systemd has given up starting the agent.

use runtime::heal::Verb;

use crate::stage::Stage;

const PAUSES: [&str; 4] = ["--pause", "0", "--pause-config", "0"];

const SHOW: &str =
    "systemctl show -p SubState -p ExecMainStatus -p Result stillwatch-agent.service";
const AGAIN: [&str; 3] = [
    "systemctl is-failed --quiet stillwatch-agent.service",
    "systemctl reset-failed stillwatch-agent.service",
    "systemctl start --no-block stillwatch-agent.service",
];

/// The agent ended with `status` each time.
fn stage(status: u8) -> Stage {
    let stage = Stage::new();
    stage.tool(
        "systemctl",
        &format!(
            "case $1 in show) echo SubState=failed Result=exit-code ExecMainStatus={status} ;; esac"
        ),
    );
    stage.tool("journalctl", "");
    stage.hook(Verb::Reboot, "echo reboot >>$STAGE/calls");
    stage
}

#[test]
fn the_budget_is_spent_and_then_it_is_tried_for_ever() {
    let stage = stage(1);
    for left in [2, 1, 0] {
        stage.run("escalate", &PAUSES);
        let mut expected = vec![SHOW, "journalctl --sync", "reboot"];
        expected.extend(AGAIN);
        assert_eq!(stage.calls(), expected);
        assert_eq!(stage.published().reboots_left, left);
        std::fs::remove_file(stage.path("calls")).unwrap();
    }
    assert!(stage.read("state/last-reboot.json").contains("\"rung\":\"start-limit\""));
    for _ in 0..3 {
        stage.run("escalate", &PAUSES);
        assert_eq!(stage.calls(), [&[SHOW], &AGAIN[..]].concat());
        std::fs::remove_file(stage.path("calls")).unwrap();
    }
}

#[test]
fn a_wrong_configuration_costs_no_reboot() {
    let stage = stage(78);
    let output = stage.run("escalate", &PAUSES);
    assert_eq!(stage.calls(), [&[SHOW], &AGAIN[..]].concat());
    assert!(!stage.path("state/reboots").exists());
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("stillwatch_event=\"agent-failed\""), "{log}");
    assert!(log.contains("its configuration is wrong"), "{log}");
    // The same again is no news.
    let output = stage.run("escalate", &PAUSES);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(!log.contains("stillwatch_event=\"agent-failed\""), "{log}");
}

#[test]
fn what_was_stopped_meanwhile_stays_so() {
    let stage = stage(1);
    stage.tool("systemctl", "echo SubState=failed; [ $1 != is-failed ]");
    stage.run("escalate", &PAUSES);
    assert_eq!(stage.calls().last().unwrap(), AGAIN[0]);
}

#[test]
fn what_systemd_starts_again_by_itself_is_left_to_it() {
    let stage = stage(1);
    let tool = "[ -e $STAGE/asked ] && echo SubState=running || echo SubState=auto-restart; \
                touch $STAGE/asked";
    stage.tool("systemctl", tool);
    stage.run("escalate", &PAUSES);
    assert_eq!(stage.calls(), [SHOW, SHOW]);
    assert!(!stage.path("state/reboots").exists());
}
