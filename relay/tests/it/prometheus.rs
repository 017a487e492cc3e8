//! The alerts in docs/prometheus, by Prometheus' own tool.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::relay::{PHOTO, Relay};

/// There with HTTPS only, and where there are other relays.
const ELSEWHERE: [&str; 3] = [
    "stillwatch_certificate_expiry_seconds",
    "stillwatch_cluster_clock_offset_seconds",
    "stillwatch_cluster_works",
];

fn docs(path: &str) -> PathBuf {
    testbed::of_repository("docs").join(path)
}

fn promtool(arguments: &[&str]) {
    let done = Command::new("promtool")
        .args(arguments)
        .current_dir(docs("prometheus"))
        .output()
        .expect("promtool: run scripts/setup test");
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "promtool {arguments:?}: {said}");
}

#[test]
fn the_rules_are_rules_and_do_what_they_say() {
    promtool(&["check", "rules", "stillwatch-relay.rules.yml"]);
    promtool(&["test", "rules", "stillwatch-relay.test.yml"]);
}

#[test]
fn each_alert_looks_at_what_there_is_is_tested_and_explained() {
    let rules = fs::read_to_string(docs("prometheus/stillwatch-relay.rules.yml")).unwrap();
    let tests = fs::read_to_string(docs("prometheus/stillwatch-relay.test.yml")).unwrap();
    let operations = fs::read_to_string(docs("operations.md")).unwrap();
    let alerts: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in &alerts {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} is not tested");
        assert!(operations.contains(&format!("`{alert}`")), "{alert} is not in docs/operations.md");
    }

    // A channel, so that its metrics are there; nobody is told.
    let relay = Relay::with("[notify]\ncommand = \"/bin/true\"\n");
    relay.upload(PHOTO);
    let metrics = String::from_utf8(relay.get("/metrics").body).unwrap();
    let known: BTreeSet<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .chain(ELSEWHERE)
        .collect();
    let named = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named: BTreeSet<&str> = named.filter(|word| word.starts_with("stillwatch_")).collect();
    assert!(named.len() > 8, "{named:?}");
    for name in named {
        assert!(known.contains(name), "{name} is no metric of the relay");
    }
}
