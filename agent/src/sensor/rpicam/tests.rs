use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::encode::{Encoder, Planes};

/// A shell script in rpicam-vid's place; `$1` in it is a file with one JPEG.
fn helper(script: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let jpeg = folder.path().join("frame.jpg");
    let picture = Encoder::new(64, 48, 80).unwrap().encode(&Planes::new(64, 48)).unwrap();
    std::fs::write(&jpeg, picture.bytes()).unwrap();
    let path = folder.path().join("rpicam-vid");
    let text = format!("#!/bin/sh\necho \"$@\" > {0}.args\nset -- {0}\n{script}\n", jpeg.display());
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    (folder, path)
}

fn open(program: PathBuf, frame_timeout: Duration) -> Rpicam {
    let config = CameraConfig {
        rpicam_command: program,
        rpicam_arguments: "--rotation 180".to_owned(),
        fps: 50.0,
        warm_up: Duration::ZERO,
        frame_timeout,
        ..CameraConfig::default()
    };
    Rpicam::open(&config, ClockTrust::Trusted).unwrap()
}

fn error_of(script: &str, frame_timeout: Duration) -> String {
    let (_folder, program) = helper(script);
    let mut source = open(program, frame_timeout);
    loop {
        match source.next() {
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(500);

#[test]
fn pictures_are_cut_from_the_pipe_and_it_is_asked_rightly() {
    let (folder, program) = helper("while cat \"$1\"; do sleep 0.02; done");
    let mut source = open(program, LONG);
    for _ in 0..5 {
        let capture = source.next().unwrap().unwrap();
        assert_eq!((capture.picture.width(), capture.picture.height()), (64, 48));
    }
    let arguments = std::fs::read_to_string(folder.path().join("frame.jpg.args")).unwrap();
    let wanted = "-t 0 -n --codec mjpeg --flush -o - --width 1280 --height 720 --framerate 50 \
                  --quality 85 --rotation 180\n";
    assert_eq!(arguments, wanted);
}

#[test]
fn its_end_is_told_with_its_last_words() {
    let error =
        error_of("cat \"$1\"; echo 'ERROR: *** no cameras available ***' >&2; exit 255", LONG);
    assert!(error.contains("ended (exit status: 255)"), "{error}");
    assert!(error.contains("it said: ERROR: *** no cameras available ***"), "{error}");
}

#[test]
fn silence_is_told_and_the_helper_is_killed_with_all_it_started() {
    let (folder, program) = helper("echo stuck >&2; sleep 1000 & echo $! > \"$1.pid\"; wait");
    let mut source = open(program, SHORT);
    let error = source.next().unwrap_err().to_string();
    assert!(error.contains("no picture for 500ms; it said: stuck"), "{error}");
    let pid = std::fs::read_to_string(folder.path().join("frame.jpg.pid")).unwrap();
    let sleeper = Path::new("/proc").join(pid.trim()).join("stat");
    drop(source);
    let began = clock::mono();
    // Dead is enough: nobody may be there to reap an orphan in a container.
    while std::fs::read_to_string(&sleeper).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(clock::mono().since(began) < LONG, "the helper's child still runs");
        park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn rubbish_is_no_picture() {
    let error = error_of("while echo rubbish; do sleep 0.05; done", SHORT);
    assert!(error.contains("no picture for 500ms"), "{error}");
}

#[test]
fn a_missing_program_is_named() {
    let config =
        CameraConfig { rpicam_command: "/none/rpicam-vid".into(), ..CameraConfig::default() };
    let Err(error) = Rpicam::open(&config, ClockTrust::Auto) else { panic!("it opened") };
    assert!(error.to_string().contains("/none/rpicam-vid: can't be started"), "{error}");
    assert!(!is_installed(&config.rpicam_command));
    assert!(is_installed(Path::new("sh")));
}
