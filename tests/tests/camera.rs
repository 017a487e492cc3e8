//! Cameras: frames arrive byte for byte, and the agent comes back from every fault of the fake
//! camera by itself, naming the cause and the next attempt.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use stories::{Relay, agent, seq_of, test_card};
use testbed::eventually::eventually;
use testbed::fakecam::{Fakecam, Fault};
use testbed::http::{Message, get};
use testbed::program::{Program, SOON, command};

/// The time after which a silent camera is given up, in the stories.
const PATIENCE: (&str, &str) = ("STILLWATCH_CAMERA_FRAME_TIMEOUT", "700ms");

fn capture_from(camera: &Fakecam, relay: &Relay, arguments: &[&str]) -> Program {
    let mut variables = camera.envs();
    variables.push((PATIENCE.0.to_owned(), PATIENCE.1.to_owned()));
    let device = camera.device().display().to_string();
    let fixed = ["--source", "v4l2", "--device", &device, "--fps", "30"];
    agent(&relay.url(), &[&fixed, arguments].concat(), &variables)
}

/// All JPEGs of a folder, by content.
fn contents(folder: &Path) -> HashSet<Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read(entry.path()).ok()).collect()
}

/// Waits until each of `wanted` was shown by the relay, and nothing else ever was.
fn all_are_shown(relay: &Relay, wanted: &HashSet<Vec<u8>>) {
    let mut missing = wanted.clone();
    eventually("every picture at the relay", SOON * 2, || {
        let frame = relay.frame("/live.jpeg");
        assert!(wanted.contains(&frame.body), "{} bytes that nobody sent", frame.body.len());
        missing.remove(&frame.body);
        if missing.is_empty() { Ok(()) } else { Err(format!("{} missing", missing.len())) }
    });
}

#[test]
fn real_photographs_arrive_byte_for_byte() {
    let (photographs, pictures) = testbed::photographs::folder();
    let wanted = pictures.into_values().collect();
    let relay = Relay::start();
    let path = photographs.path().display().to_string();
    let cycle = [("STILLWATCH_CAMERA_DIRECTORY_MODE".to_owned(), "cycle".to_owned())];
    let arguments = ["--source", "directory", "--path", &path, "--fps", "5"];
    let _agent = agent(&relay.url(), &arguments, &cycle);
    all_are_shown(&relay, &wanted);
}

#[test]
fn a_cameras_own_jpegs_arrive_byte_for_byte() {
    let frames = tempfile::tempdir().unwrap();
    for number in 0..4 {
        let card = test_card(&format!("{}x240", 320 + 16 * number));
        fs::write(frames.path().join(format!("{number}.jpg")), card).unwrap();
    }
    let camera = Fakecam::new().formats("MJPG").frames(frames.path());
    let relay = Relay::start();
    let _agent = capture_from(&camera, &relay, &["--size", "640x480"]);
    all_are_shown(&relay, &contents(frames.path()));
}

#[test]
fn padding_is_cut_and_missing_tables_are_inserted() {
    let camera = Fakecam::new().formats("MJPG").quirks("nodht,padding");
    let relay = Relay::start();
    let _agent = capture_from(&camera, &relay, &["--size", "640x480"]);
    let body = relay.frame("/live.jpeg").body;
    assert!(body.ends_with(b"\xff\xd9"), "padding is left: {:?}", body.last_chunk::<4>());
    assert!(body.windows(4).any(|bytes| bytes == b"\xff\xc4\x01\xa2"), "no tables");
    assert_eq!(decoded_size(&body), "640x480");
}

#[test]
fn yuyv_is_encoded() {
    let camera = Fakecam::new().formats("YUYV");
    let relay = Relay::start();
    let _agent = capture_from(&camera, &relay, &["--size", "640x480"]);
    let first = relay.frame("/live.jpeg");
    assert_eq!(decoded_size(&first.body), "640x480");
    assert_ne!(relay.frame_after(seq_of(&first)).body, first.body);
}

#[test]
fn capture_times_are_the_drivers() {
    let camera = Fakecam::new().formats("MJPG");
    let relay = Relay::start();
    let _agent = capture_from(&camera, &relay, &["--size", "640x480"]);
    let frame = relay.frame_after(5);
    assert_eq!(frame.header("frame-time-source"), Some("captured"));
    let age: u64 = frame.header("frame-age-ms").unwrap().parse().unwrap();
    assert!(age < 30_000, "{age} ms");
}

#[test]
fn every_fault_is_survived_and_named() {
    std::thread::scope(|scope| {
        for (fault, cause) in [
            (Fault::Silent, "no picture for 700ms"),
            (Fault::Repeat, "the same picture again and again"),
            (Fault::Corrupt, "broken picture: "),
            (Fault::Truncate, "broken picture: JPEG cut off"),
            (Fault::ErrorFlag, "the driver marked the picture as broken"),
            (Fault::Empty, "broken picture: empty"),
            (Fault::Unplug, "was it unplugged?"),
        ] {
            scope.spawn(move || survives(fault, cause));
        }
    });
}

fn survives(fault: Fault, cause: &str) {
    let camera = Fakecam::new().formats("MJPG");
    let relay = Relay::start();
    let agent = capture_from(&camera, &relay, &["--size", "320x240"]);
    relay.frame("/live.jpeg");
    camera.set(fault);
    let line = agent.line(cause);
    assert!(line.contains("camera: ") && line.contains("trying again in "), "{line}");
    camera.set(Fault::None);
    agent.line("camera: works again after");
    let newest = seq_of(&relay.frame("/live.jpeg"));
    relay.frame_after(newest + 5);
}

#[test]
fn a_panic_inside_the_library_is_survived() {
    let camera = Fakecam::new().formats("MJPG");
    let relay = Relay::start();
    let agent = capture_from(&camera, &relay, &["--size", "320x240"]);
    relay.frame("/live.jpeg");
    // Silence makes the agent close the stream, and that makes crate v4l panic.
    camera.set(Fault::SilentAndStuck);
    let line = agent.line("the driver's library panicked");
    assert!(line.contains("trying again in "), "{line}");
    camera.set(Fault::None);
    agent.line("camera: works again after");
    relay.frame_after(seq_of(&relay.frame("/live.jpeg")) + 3);
}

#[test]
fn a_driver_that_hangs_is_left_behind_and_comes_back() {
    let camera = Fakecam::new().formats("MJPG");
    let relay = Relay::start();
    let agent = capture_from(&camera, &relay, &["--size", "320x240"]);
    relay.frame("/live.jpeg");
    camera.set(Fault::Hang);
    agent.line("the camera's driver does not return; left it behind");
    camera.set(Fault::None);
    agent.line("camera: works again after");
    relay.frame_after(seq_of(&relay.frame("/live.jpeg")) + 3);
}

#[test]
fn slow_calls_only_slow_it_down() {
    let camera = Fakecam::new().formats("MJPG");
    let relay = Relay::start();
    let mut agent = capture_from(&camera, &relay, &["--size", "320x240"]);
    let before = seq_of(&relay.frame("/live.jpeg"));
    camera.set(Fault::Slow(300));
    relay.frame_after(before + 3);
    camera.set(Fault::None);
    relay.frame_after(before + 20);
    assert!(agent.stop().success());
}

#[test]
fn a_camera_absent_at_first_is_waited_for() {
    let camera = Fakecam::new().formats("MJPG");
    camera.set(Fault::Unplug);
    let relay = Relay::start();
    let agent = capture_from(&camera, &relay, &["--size", "320x240"]);
    let line = agent.line("is the camera plugged in?");
    assert!(line.contains("trying again in "), "{line}");
    camera.set(Fault::None);
    relay.frame("/live.jpeg");
    agent.line("camera: works again after");
    camera.set(Fault::Busy);
}

#[test]
fn probe_and_bench_report_the_camera() {
    let camera = Fakecam::new();
    let device = camera.device().display().to_string();
    let run = |arguments: &[&str]| {
        let mut command = command("stillwatch-agent");
        command.args(arguments).args(["--device", &device]).envs(camera.envs());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let found = run(&["probe", "--json"]);
    let modes = found["cameras"][0]["modes"].as_array().unwrap();
    assert!(modes.iter().any(|mode| mode["format"] == "MJPG" && mode["width"] == 1280), "{found}");
    let bench = ["bench", "--source", "v4l2", "--fps", "30", "--seconds", "2", "--json"];
    let measured = run(&bench);
    // It shows that frames flow, not how fast this machine is: one that is busy took 4 in the two seconds.
    assert!(measured["frames"].as_u64().unwrap() >= 2, "{measured}");
    assert!(measured["bytes_per_frame"].as_u64().unwrap() > 1000, "{measured}");
    assert!(measured["peak_memory_kib"].as_u64().unwrap() > 1000, "{measured}");
}

/// The size as a decoder that is not ours sees it: decodes all of the picture, strictly.
#[expect(clippy::unwrap_used, reason = "it is test code")]
fn decoded_size(jpeg: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.jpg");
    fs::write(&path, jpeg).unwrap();
    let code = "import sys\nfrom PIL import Image\nimage = Image.open(sys.argv[1])\nimage.load()\n\
                print('%dx%d' % image.size)";
    let output = Command::new("/usr/bin/python3").args(["-c", code]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn what_the_relay_shows_is_one_whole_frame_at_any_moment() {
    let camera = Fakecam::new().formats("MJPG");
    let relay = Relay::start();
    let _agent = capture_from(&camera, &relay, &["--size", "1280x720"]);
    relay.frame("/live.jpeg");
    for _ in 0..200 {
        let Message { body, .. } = get(relay.address, "/live.jpeg").unwrap();
        assert!(body.starts_with(b"\xff\xd8") && body.ends_with(b"\xff\xd9"), "half a frame");
    }
}
