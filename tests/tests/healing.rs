//! Healing with the real programs on this machine: the agent notices, climbs, asks the real healer, and
//! says what it did. Drivers, WiFi and watchdogs are in `machine.rs`, inside QEMU.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use stories::faults::{Row, record, said};
use stories::{Relay, agent, seq_of, test_card};
use tempfile::TempDir;
use testbed::eventually::eventually;
use testbed::fakecam::{Fakecam, Fault};
use testbed::program::{Program, SOON, command};

/// The default of `camera.frame_timeout`: the detection threshold of a silent camera.
const THRESHOLD: Duration = Duration::from_secs(5);

fn capture_from(camera: &Fakecam, relay: &Relay, variables: &[(&str, &str)]) -> Program {
    let mut all = camera.envs();
    all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let device = camera.device().display().to_string();
    let arguments = ["--source", "v4l2", "--device", &device, "--fps", "10"];
    agent(&relay.url(), &[&arguments[..], &["--size", "320x240"]].concat(), &all)
}

/// A status file of its own, for stories that ask for the status.
fn status_file(folder: &TempDir) -> (String, String) {
    let path = folder.path().join("status.json").display().to_string();
    ("STILLWATCH_AGENT_STATUS_FILE".to_owned(), path)
}

#[expect(clippy::disallowed_methods, reason = "a person's stop watch, from outside")]
fn now() -> Instant {
    Instant::now()
}

/// A hook of the healer's.
#[expect(clippy::unwrap_used, reason = "it is test code")]
fn hook(folder: &Path, verb: &str, script: &str) {
    let path = folder.join(verb);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The real healer at a socket of its own.
#[expect(clippy::unwrap_used, reason = "it is test code")]
fn healer(folder: &Path) -> Program {
    let inside = |name: &str| folder.join(name).display().to_string();
    let mut command = command("stillwatch-healer");
    command.args(["serve", "--listen", &inside("healer.sock"), "--run-dir", &inside("")]).args([
        "--state-dir",
        &inside("state"),
        "--hooks",
        &inside("hooks"),
    ]);
    fs::create_dir_all(folder.join("hooks")).unwrap();
    let program = Program::start("the healer", &mut command);
    eventually("the healer's socket", SOON, || {
        if folder.join("healer.sock").exists() { Ok(()) } else { Err("not there".to_owned()) }
    });
    program
}

#[test]
fn a_camera_that_stalls_is_opened_anew_and_the_table_says_how_fast() {
    std::thread::scope(|scope| {
        for (number, fault, what, detected, threshold) in [
            (1, Fault::Silent, "camera stops delivering frames", "no picture for 5 s", THRESHOLD),
            (2, Fault::Repeat, "camera repeats one frame", "same hash for 5 s", THRESHOLD),
        ] {
            scope.spawn(move || {
                let camera = Fakecam::new().formats("MJPG");
                let relay = Relay::start();
                let agent = capture_from(&camera, &relay, &[]);
                relay.frame_after(5);
                let begun = now();
                camera.set(fault);
                // What cures it is being opened anew.
                let line = agent.line("camera: trying \"reopen\"");
                camera.set(Fault::None);
                let newest = seq_of(&relay.frame("/live.jpeg"));
                agent.line("camera: works again after");
                relay.frame_after(newest + 3);
                let took = begun.elapsed().saturating_sub(threshold);
                record(&Row {
                    number,
                    fault: what,
                    detected,
                    rungs: "reopen",
                    took,
                    goal: "10 s after detection",
                    how: "processes",
                    evidence: said(&line),
                });
                let line = agent.line("camera: well again");
                assert!(line.contains("stillwatch_event=\"recovered\""), "{line}");
                assert!(!agent.lines().iter().any(|line| line.contains("reboot")));
            });
        }
    });
}

#[test]
fn a_helper_that_hangs_is_killed_and_another_one_started() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("card.jpg");
    fs::write(&picture, test_card("320x240")).unwrap();
    // Pictures that differ, as a real sensor's noise makes them, until it is told to hang.
    let script = folder.path().join("rpicam");
    let text = format!(
        "#!/bin/sh\necho $$ > {0}/pid\nn=0\nwhile :; do n=$((n+1)); head -c 20 {1}; \
         printf '\\377\\376\\000\\012%08d' $n; tail -c +21 {1}; sleep 0.1; done\n",
        folder.path().display(),
        picture.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let relay = Relay::start();
    let variables = [("STILLWATCH_CAMERA_RPICAM_COMMAND".to_owned(), script.display().to_string())];
    let agent = agent(&relay.url(), &["--source", "rpicam", "--fps", "10"], &variables);
    let newest = seq_of(&relay.frame_after(5));
    let process = fs::read_to_string(folder.path().join("pid")).unwrap();
    let begun = now();
    let stop = Command::new("kill").args(["-s", "STOP", process.trim()]).status().unwrap();
    assert!(stop.success());
    let line = agent.line("no picture for 5s");
    agent.line("camera: works again after");
    let newest = seq_of(&relay.frame("/live.jpeg")).max(newest);
    relay.frame_after(newest + 3);
    let took = begun.elapsed();
    assert_ne!(fs::read_to_string(folder.path().join("pid")).unwrap(), process, "another one");
    record(&Row {
        number: 4,
        fault: "helper process hangs (SIGSTOP)",
        detected: "no picture for 5 s",
        rungs: "kill and respawn",
        took,
        goal: "15 s",
        how: "processes",
        evidence: said(&line),
    });
}

#[test]
fn without_a_healer_it_is_said_once_what_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("healer.sock").display().to_string();
    let camera = Fakecam::new().formats("MJPG");
    let relay = Relay::start();
    let variables =
        [("STILLWATCH_HEAL_SOCKET", &*socket), ("STILLWATCH_CAMERA_FRAME_TIMEOUT", "500ms")];
    let agent = capture_from(&camera, &relay, &variables);
    relay.frame("/live.jpeg");
    camera.set(Fault::Silent);
    agent.line("camera: nothing has helped; beginning anew in 3m");
    let lines = agent.lines();
    let about = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(about("there is no healer"), 1, "{lines:#?}");
    assert_eq!(about("trying \"reopen\""), 1, "{lines:#?}");
    assert_eq!(about("trying \"other-format\""), 1, "{lines:#?}");
    assert_eq!(about("trying \"usb\"") + about("trying \"reboot\""), 0, "{lines:#?}");
    camera.set(Fault::None);
    agent.line("camera: works again after");
}

#[test]
fn a_full_disk_is_cleared_by_the_healer_and_the_status_tells_it() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=64m", "stillwatch-story"]).arg(&disk);
    if !mount.status().unwrap().success() {
        eprintln!("SKIPPED: no mount here");
        return;
    }
    let _unmounted = Unmount(&disk);
    let waste = disk.join("waste");
    let healer = healer(folder.path());
    let hooks = folder.path().join("hooks");
    hook(&hooks, "disk-vacuum", &format!("rm {} && echo made room", waste.display()));
    let relay = Relay::start();
    let socket = folder.path().join("healer.sock").display().to_string();
    let status = status_file(&folder);
    let variables = [
        ("STILLWATCH_HEAL_SOCKET".to_owned(), socket),
        ("STATE_DIRECTORY".to_owned(), disk.display().to_string()),
        status.clone(),
    ];
    let agent = agent(&relay.url(), &["--source", "pattern", "--size", "320x240"], &variables);
    let newest = seq_of(&relay.frame("/live.jpeg"));
    fs::write(&waste, vec![0; 62 << 20]).unwrap();
    agent.line("disk: no room is left");
    agent.line("disk: trying \"vacuum\" (the disk is full)");
    healer.line("disk-vacuum");
    agent.line("disk: works again");
    agent.line("disk: well again by \"vacuum\"");
    relay.frame_after(newest + 1);
    let mut ask = command("stillwatch-agent");
    ask.arg("status").env(&status.0, &status.1);
    let output = String::from_utf8(ask.output().unwrap().stdout).unwrap();
    assert!(output.contains("disk \"vacuum\", done"), "{output}");
    assert!(output.contains("reboots left in the budget: 3"), "{output}");
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        // Lazily: the agent may still look at it.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}
