//! Files for a web server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use serde_json::Value;
use testbed::eventually::{becomes_true, eventually};
use testbed::program::SOON;

use crate::relay::{PHOTO, Relay, padded, photo};

fn exporting(dir: &Path, more: &str) -> Relay {
    let dir = dir.display();
    Relay::with(&format!("[export]\ndir = \"{dir}\"\ninterval = \"20ms\"\n{more}"))
}

fn becomes(path: &Path, content: &[u8]) {
    becomes_true(&format!("{}", path.display()), SOON, || {
        fs::read(path).is_ok_and(|f| f == content)
    });
}

#[test]
fn the_newest_frame_its_sizes_and_the_status_are_files() {
    let dir = tempfile::tempdir().unwrap();
    let relay = exporting(dir.path(), "sizes = \"64x64 32x32\"");
    let picture = photo(640, 480, 0);
    relay.upload(&picture);
    assert_eq!(relay.post("/cameras/garden?password=story-password", &[], PHOTO).status(), 200);
    becomes(&dir.path().join("live.jpeg"), &picture);
    becomes(&dir.path().join("cameras/garden/live.jpeg"), PHOTO);
    let small = fs::read(dir.path().join("live64x64.jpeg")).unwrap();
    assert_eq!(small, relay.get("/live64x64.jpeg").body);
    assert!(dir.path().join("live32x32.jpeg").exists());
    let file = dir.path().join("status.json");
    eventually("the status", SOON, || {
        let status: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let cameras = status["cameras"].as_array().unwrap();
        if cameras.len() == 2 && status["export"] == "works" && status["written_at"].is_string() {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    for path in ["live.jpeg", "status.json", "cameras/garden/live.jpeg"] {
        let mode = fs::metadata(dir.path().join(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "{path}");
    }
    let hidden = fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert!(hidden.count() <= 1, "what is being written, at most");
}

#[test]
fn whoever_reads_all_the_time_never_sees_a_torn_or_missing_file() {
    let dir = tempfile::tempdir().unwrap();
    let relay = exporting(dir.path(), "[relay]\nmax_upload_rate = 10000");
    relay.upload(&padded(0, 100_000));
    let file = dir.path().join("live.jpeg");
    becomes(&file, &padded(0, 100_000));
    let (done, reads) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let read = fs::read(&file).expect("never missing");
                assert_eq!(read.len(), 100_000, "never torn");
                frame::Picture::accept(read.into()).unwrap();
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
        for n in 1..300 {
            relay.upload(&padded(n, 100_000));
        }
        becomes(&file, &padded(299, 100_000));
        done.store(true, Ordering::Relaxed);
    });
    assert!(reads.into_inner() > 100);
}

#[test]
fn a_missing_folder_is_said_and_the_picture_goes_on() {
    let above = tempfile::tempdir().unwrap();
    let dir = above.path().join("not-mounted");
    let relay = exporting(&dir, "");
    relay.upload(PHOTO);
    relay.program.line("files are not exported");
    assert_eq!(relay.shown(), PHOTO);
    let status = relay.status();
    assert_eq!(status["export"], "degraded");
    let problem = status["export_problem"].as_str().unwrap();
    assert!(problem.contains("export.dir") && problem.contains("not-mounted"), "{problem}");
    fs::create_dir(&dir).unwrap();
    becomes(&dir.join("live.jpeg"), PHOTO);
    relay.program.line("files are exported again");
    relay.said("files are not exported", 1);
}

/// Mounts a file system in memory for as long as what is returned lives; `None` without the right to.
fn mounted<'a>(dir: &'a Path, options: &str) -> Option<Unmount<'a>> {
    let mut mount = std::process::Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", options, "stillwatch-story"]).arg(dir);
    if mount.status().is_ok_and(|status| status.success()) {
        return Some(Unmount(dir));
    }
    eprintln!("SKIPPED: no right to mount a disk");
    None
}

#[test]
fn a_full_disk_is_said_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = mounted(dir.path(), "size=64k") else { return };
    let relay = exporting(dir.path(), "[relay]\nmax_upload_rate = 10000");
    relay.upload(PHOTO);
    becomes(&dir.path().join("live.jpeg"), PHOTO);
    relay.upload(&padded(1, 300_000));
    let line = relay.program.line("files are not exported");
    assert!(line.contains("the disk is full"), "{line}");
    assert_eq!(fs::read(dir.path().join("live.jpeg")).unwrap(), PHOTO, "the old one stays");
    assert_eq!(relay.shown(), padded(1, 300_000), "the live picture goes on");
    relay.upload(&padded(2, 1_000));
    becomes(&dir.path().join("live.jpeg"), &padded(2, 1_000));
    drop(relay);
    drop(disk);
}

#[test]
fn a_read_only_disk_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = mounted(dir.path(), "ro") else { return };
    let relay = exporting(dir.path(), "");
    relay.upload(PHOTO);
    let line = relay.program.line("files are not exported");
    assert!(line.contains("the file system is read-only"), "{line}");
    assert_eq!(relay.shown(), PHOTO);
    drop(relay);
    drop(disk);
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
    }
}
