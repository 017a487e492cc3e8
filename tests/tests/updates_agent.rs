//! Updates of the whole system, the agent's side: the real agent beside a real relay, with an updater that is
//! only a file and a server that is made to misbehave. Installing is in the image's stories.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use stories::faults::{Row, record};
use stories::{Relay, agent, seq_of};
use tempfile::TempDir;
use testbed::eventually::{becomes_true, eventually};
use testbed::program::{Program, SOON, command};
use testbed::relay::{FakeRelay, OK};
use testbed::updates::Updates;

const SYSTEM: &str = "stillwatch-debian";
const RUNS: &str = "0.1.0-20261128.0312";
const NEWER: &str = "0.2.0-20261128.0312";
const CARD: [&str; 6] = ["--source", "pattern", "--size", "320x240", "--fps", "5"];

/// A machine whose system can be updated.
struct Machine {
    folder: TempDir,
}

#[expect(clippy::unwrap_used, reason = "it is test code, and a panic is how a test fails")]
impl Machine {
    fn new() -> Machine {
        let machine = Machine { folder: tempfile::tempdir().unwrap() };
        machine.says(&json!({}));
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The updater's words.
    fn says(&self, more: &Value) {
        let mut state = json!({"system": RUNS, "compatible": SYSTEM, "slot": "A"});
        let more = more.as_object().unwrap().clone();
        state.as_object_mut().unwrap().extend(more);
        let beside = self.path("update.json.new");
        fs::write(&beside, state.to_string()).unwrap();
        fs::rename(beside, self.path("update.json")).unwrap();
    }

    fn variables(&self) -> Vec<(String, String)> {
        let path = |name| self.path(name).display().to_string();
        [
            ("STATE_DIRECTORY", path("state")),
            ("STILLWATCH_UPDATE_STATE", path("update.json")),
            ("STILLWATCH_UPDATE_POLL", "1s".to_owned()),
            ("STILLWATCH_AGENT_STATUS_FILE", path("status.json")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    fn agent(&self, url: &str) -> Program {
        fs::create_dir_all(self.path("state")).unwrap();
        agent(url, &CARD, &self.variables())
    }

    fn status(&self, arguments: &[&str]) -> String {
        let mut command = command("stillwatch-agent");
        command.arg("status").args(arguments).envs(self.variables());
        String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
    }

    fn status_says(&self, line: &str) {
        eventually(&format!("a status with {line:?}"), SOON, || {
            let status = self.status(&[]);
            if status.contains(line) { Ok(()) } else { Err(status) }
        });
    }

    fn handed(&self) -> Option<Value> {
        let text = fs::read_to_string(self.path("state/update/handed.json")).ok()?;
        serde_json::from_str(&text).ok()
    }
}

fn content(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(3);
    (0..bytes).map(|_| random.u8(..)).collect()
}

#[test]
fn an_update_is_fetched_beside_the_pictures_whatever_happens_on_the_way() {
    let (machine, relay) = (Machine::new(), Relay::start());
    let server = Updates::at("127.0.0.1", Some(relay.address));
    let bundle = content(6_000_000);
    let offer = server.offer(NEWER, SYSTEM, bundle.clone());
    // The relay vanishes in the middle, and the power is cut.
    server.vanish_after(Some(1_500_000));
    let mut agent = machine.agent(&server.url());
    let first = seq_of(&relay.frame("/live.jpeg"));
    agent.line(&format!("update {NEWER}: the relay offers it"));
    machine.status_says(&format!("system: {RUNS} in slot A"));
    machine.status_says(&format!("update: {NEWER} "));
    let part = machine.path(&format!("state/update/{}.part", offer.sha256));
    becomes_true("a part", SOON, || fs::metadata(&part).is_ok_and(|m| m.len() >= 1_400_000));
    agent.signal("KILL");
    agent.ended();
    server.vanish_after(None);
    let before = server.requests().len();
    let agent = machine.agent(&server.url());
    agent.line(&format!("update {NEWER}: fetched, 6 MB; the updater has it now"));
    let file = format!("stillwatch-{NEWER}.raucb");
    let expected = json!({"version": NEWER, "file": file, "now": false});
    assert_eq!(machine.handed(), Some(expected));
    let fetched = fs::read(machine.path(&format!("state/update/{file}"))).unwrap();
    assert!(fetched == bundle, "{} bytes, and not the same", fetched.len());
    let again = server.requests();
    let ranges = again.iter().skip(before).filter_map(|request| request.header("range"));
    let begun = ranges.filter_map(|range| range.strip_prefix("bytes=")?.split('-').next());
    let first_byte = begun.filter_map(|first| first.parse::<u64>().ok()).min();
    assert!(first_byte.is_some_and(|first| first >= 1_400_000), "{first_byte:?}");
    // All that time pictures went on, and the owner is told.
    relay.frame_after(first + 5);
    record(&Row {
        number: 54,
        fault: "relay gone, and agent killed, while an update is fetched",
        detected: "the answer ends early",
        rungs: "asked again, for what is missing",
        goal: "live all the time, no byte twice",
        how: "processes",
        evidence: "update 0.2.0-20261128.0312: fetched, 6 MB; the updater has it now",
        ..Row::default()
    });
    machine.status_says(&format!("update: {NEWER} waiting"));
    machine.says(&json!({"phase": "waiting", "version": NEWER, "why": "it is not 02:00 yet"}));
    machine.status_says(&format!("update: {NEWER} waiting: it is not 02:00 yet"));

    // It was tried, and is not kept.
    let rejected = json!({"version": NEWER, "why": "no picture came", "ran": true});
    machine.says(&json!({"rejected": [rejected]}));
    machine.status_says(&format!("update {NEWER} was taken back: no picture came"));
    let status: Value = serde_json::from_str(&machine.status(&["--json"])).unwrap();
    assert_eq!(status["update"], Value::Null);
    assert_eq!(status["undervoltage"], Value::Null);
    assert!(status["upload"]["successes"].as_u64() > Some(0) && status["written_ms"].is_u64());
    let folder = machine.path("state/update");
    becomes_true("nothing is left of it", SOON, || {
        fs::read_dir(&folder).is_ok_and(|files| files.count() == 0)
    });
}

#[test]
fn the_owner_wants_it_now() {
    let (machine, relay) = (Machine::new(), Relay::start());
    let server = Updates::at("127.0.0.1", Some(relay.address));
    let offer = server.offer(NEWER, SYSTEM, content(100_000));
    let _agent = machine.agent(&server.url());
    becomes_true("it is handed over", SOON, || machine.handed().is_some());
    server.offers(Some(frame::update::Offer { now: true, ..offer }));
    becomes_true("it is wanted now", SOON, || {
        machine.handed().is_some_and(|handed| handed["now"] == true)
    });
    let fetched = server.requests().iter().filter(|r| r.first.contains("/updates/")).count();
    assert!(fetched <= 10, "{fetched}: it is fetched once");
}

#[test]
fn the_relay_is_told_what_goes_on() {
    let (machine, relay) = (Machine::new(), FakeRelay::start(OK));
    let rejected = json!({"version": NEWER, "why": "no picture came", "ran": true});
    let state = json!({"phase": "waiting", "version": NEWER, "why": "it is not 02:00 yet"});
    machine.says(&state);
    let _agent = machine.agent(&relay.url());
    let report = || {
        let uploads = relay.uploads();
        let said = uploads.iter().filter_map(|upload| upload.header("agent-report")).next_back()?;
        serde_json::from_str::<Value>(said).ok()
    };
    let report = eventually("a report", SOON, || report().ok_or("none"));
    assert_eq!((&report["system"], &report["slot"]), (&json!(RUNS), &json!("A")));
    let waiting = json!({"version": NEWER, "doing": "waiting", "why": "it is not 02:00 yet"});
    assert_eq!((&report["update"], &report["rejected"]), (&waiting, &Value::Null));
    machine.says(&json!({"rejected": [rejected]}));
    machine.status_says("was taken back");
}

#[test]
fn an_owner_who_wants_no_updates_gets_none() {
    let (machine, relay) = (Machine::new(), Relay::start());
    let server = Updates::at("127.0.0.1", Some(relay.address));
    server.offer(NEWER, SYSTEM, content(100_000));
    let mut variables = machine.variables();
    variables.push(("STILLWATCH_UPDATE_ENABLED".to_owned(), "false".to_owned()));
    let _agent = agent(&server.url(), &CARD, &variables);
    relay.frame_after(seq_of(&relay.frame("/live.jpeg")) + 15);
    machine.status_says(&format!("system: {RUNS} in slot A"));
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn a_machine_without_an_updater_asks_for_nothing() {
    let (machine, relay) = (Machine::new(), Relay::start());
    let server = Updates::at("127.0.0.1", Some(relay.address));
    server.offer(NEWER, SYSTEM, content(100_000));
    fs::remove_file(machine.path("update.json")).unwrap();
    let _agent = machine.agent(&server.url());
    relay.frame_after(seq_of(&relay.frame("/live.jpeg")) + 15);
    assert_eq!(server.requests().len(), 0);
    let status = machine.status(&[]);
    assert!(!status.contains("system:"), "{status}");
}
