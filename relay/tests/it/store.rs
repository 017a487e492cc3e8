//! Persistence: what survives, and that the live picture goes on whatever happens to the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use testbed::eventually::eventually;
use testbed::program::SOON;

use crate::relay::{PASSWORD, PHOTO, Relay, jpeg, padded};

fn database(folder: &Path) -> PathBuf {
    folder.join("stillwatch.db")
}

/// Names in a folder that contain `part`.
fn names(folder: &Path, part: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains(part))
        .collect();
    names.sort();
    names
}

/// Databases that were set aside; their logs may lie beside them.
fn damaged(folder: &Path) -> Vec<String> {
    let mut names = names(folder, "damaged");
    names.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
    names
}

/// A folder with a database that holds `frame` (and the age of it is honest).
fn folder_with(frame: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut relay = Relay::at(folder.path(), "", &[]);
    relay.upload(frame);
    assert!(relay.program.stop().success());
    folder
}

#[test]
fn killed_amid_uploads_it_shows_a_complete_frame_again() {
    let mut relay = Relay::with("store.interval = \"50ms\"");
    let frame = |n: u32| padded(n, 200_000);
    for round in 0..5 {
        let first = round * 1_000;
        let last = std::thread::scope(|scope| {
            let uploads = scope.spawn(|| {
                let mut sent = first;
                let path = format!("/?password={PASSWORD}");
                let post = |n| testbed::http::request(relay.address, "POST", &path, &[], &frame(n));
                while post(sent + 1).is_ok_and(|answer| answer.status() == 200) {
                    sent += 1;
                }
                sent
            });
            eventually("uploads", SOON, || {
                let seen = relay.get("/live.jpeg").body;
                if seen > frame(first + 3) && seen.len() == 200_000 { Ok(()) } else { Err("none") }
            });
            relay.stored_any();
            relay.program.signal("KILL");
            uploads.join().unwrap()
        });
        relay.program.ended();
        relay.restart();
        let answer = relay.get("/live.jpeg");
        assert_eq!(answer.status(), 200);
        let whole = (0..=last + 1).any(|n| answer.body == frame(n));
        assert!(whole, "{} bytes", answer.body.len());
        let age: u64 = answer.header("frame-age-ms").unwrap().parse().unwrap();
        assert!(age < 30_000, "{age}");
    }
}

#[test]
fn several_cameras_survive() {
    let mut relay = Relay::start();
    for (n, id) in (1..).zip(["garden", "street"]) {
        let path = format!("/cameras/{id}?password={PASSWORD}");
        assert_eq!(relay.post(&path, &[], &jpeg(n)).status(), 200);
    }
    assert!(relay.program.stop().success());
    relay.restart();
    assert_eq!(relay.get("/cameras/garden/live.jpeg").body, jpeg(1));
    assert_eq!(relay.get("/cameras/street/live.jpeg").body, jpeg(2));
    assert_eq!(relay.get("/live.jpeg").status(), 503);
}

#[test]
fn frames_are_written_behind_and_coalesced() {
    let relay = Relay::with("relay.max_upload_rate = 10000");
    for n in 0..200 {
        relay.upload(&jpeg(n));
    }
    relay.stored(&jpeg(199));
}

#[test]
fn a_file_that_is_no_database_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = b"this is no database, and long enough to be taken for one".repeat(100);
    fs::write(database(folder.path()), &garbage).unwrap();
    let mut relay = Relay::at(folder.path(), "", &[]);
    relay.program.line("is damaged");
    relay.upload(PHOTO);
    assert_eq!(relay.shown(), PHOTO);
    relay.persistence_becomes("works");
    relay.stored(PHOTO);
    let aside = damaged(folder.path());
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(fs::read(folder.path().join(&aside[0])).unwrap(), garbage);
    relay.said("ERROR", 1);
    relay.kill_and_restart();
    assert_eq!(relay.shown(), PHOTO);
}

#[test]
fn a_truncated_database_is_set_aside() {
    for keep in [100, 5_000, 100_000] {
        let folder = folder_with(&padded(1, 150_000));
        let file = fs::File::options().write(true).open(database(folder.path())).unwrap();
        file.set_len(keep).unwrap();
        let relay = Relay::at(folder.path(), "", &[]);
        relay.upload(PHOTO);
        assert_eq!(relay.shown(), PHOTO);
        relay.stored(PHOTO);
        assert_eq!(damaged(folder.path()).len(), 1, "{keep}");
        relay.said("is damaged", 1);
    }
}

#[test]
fn a_database_that_breaks_while_in_use_is_set_aside_with_all_that_is_shown() {
    for how in [
        // SQLITE_CORRUPT, and a table that is gone.
        "PRAGMA writable_schema = ON; \
         UPDATE sqlite_schema SET rootpage = 99999 WHERE name = 'frame'; \
         PRAGMA schema_version = 1000;",
        "DROP TABLE frame",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let relay = Relay::at(folder.path(), "store.interval = \"20ms\"", &[]);
        let garden = format!("/cameras/garden?password={PASSWORD}");
        assert_eq!(relay.post(&garden, &[], &jpeg(1)).status(), 200);
        relay.upload(&padded(2, 50_000));
        relay.stored(&padded(2, 50_000));
        Connection::open(database(folder.path())).unwrap().execute_batch(how).unwrap();
        relay.upload(PHOTO);
        assert_eq!(relay.shown(), PHOTO);
        relay.stored(PHOTO);
        assert_eq!(damaged(folder.path()).len(), 1);
        // The other camera's frame was written again, too.
        let connection = Connection::open(database(folder.path())).unwrap();
        let rows: i64 =
            connection.query_row("SELECT count(*) FROM frame", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 2);
        relay.persistence_becomes("works");
    }
}

#[test]
fn three_damaged_files_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    for n in 1..=3 {
        fs::write(folder.path().join(format!("stillwatch.db.damaged-{n}")), "old").unwrap();
    }
    let garbage = vec![b'x'; 10_000];
    fs::write(database(folder.path()), &garbage).unwrap();
    let relay = Relay::at(folder.path(), "", &[]);
    relay.program.line("3 damaged ones lie there already; check the disk");
    relay.upload(PHOTO);
    assert_eq!(relay.shown(), PHOTO);
    relay.persistence_becomes("degraded");
    assert_eq!(fs::read(database(folder.path())).unwrap(), garbage);
    // Its advice helps.
    fs::remove_file(folder.path().join("stillwatch.db.damaged-1")).unwrap();
    relay.persistence_becomes("works");
    relay.program.line("frames are kept again after");
}

#[test]
fn a_damaged_frame_is_left_out_and_the_others_are_not() {
    let folder = folder_with(PHOTO);
    let connection = Connection::open(database(folder.path())).unwrap();
    let insert = |camera: &str, column: &str, value: &str| {
        let sql = format!(
            "INSERT INTO frame SELECT '{camera}', jpeg, hash, seq, unix_us, time_source, \
             may_repeat, arrived_us FROM frame WHERE camera = 'default'; \
             UPDATE frame SET {column} = {value} WHERE camera = '{camera}'"
        );
        connection.execute_batch(&sql).unwrap();
    };
    insert("cut", "jpeg", "CAST(substr(jpeg, 1, 100) AS BLOB)");
    insert("rotten", "jpeg", "CAST(jpeg || x'00' AS BLOB)");
    insert("Bad Name", "seq", "1");
    drop(connection);
    let relay = Relay::at(folder.path(), "", &[]);
    assert_eq!(relay.shown(), PHOTO);
    for id in ["cut", "rotten"] {
        relay.program.line(&format!("camera {id}: its stored frame is left out"));
        assert_eq!(relay.get(&format!("/cameras/{id}/live.jpeg")).status(), 404);
    }
    relay.said("left out", 3);
}

#[test]
fn what_is_not_ours_is_left_untouched() {
    for (sql, says) in [
        ("PRAGMA user_version = 99; CREATE TABLE frame (x)", "version 99"),
        ("CREATE TABLE recipes (cake)", "another program"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        Connection::open(database(folder.path())).unwrap().execute_batch(sql).unwrap();
        let before = fs::read(database(folder.path())).unwrap();
        let mut relay = Relay::at(folder.path(), "", &[]);
        relay.program.line(says);
        relay.upload(PHOTO);
        assert_eq!(relay.shown(), PHOTO);
        relay.persistence_becomes("degraded");
        assert_eq!(relay.get("/healthz").status(), 200);
        assert!(relay.program.stop().success());
        assert_eq!(fs::read(database(folder.path())).unwrap(), before);
        assert_eq!(names(folder.path(), "").len(), 1);
    }
}

#[test]
fn a_folder_that_can_not_be_made_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let relay = Relay::at(&file.join("data"), "store.interval = \"10ms\"", &[]);
    for n in 0..50 {
        relay.upload(&jpeg(n));
        assert_eq!(relay.shown(), jpeg(n));
    }
    relay.persistence_becomes("degraded");
    relay.program.line("not kept through a restart");
    relay.said("ERROR", 1);
    fs::remove_file(&file).unwrap();
    relay.program.line("frames are kept again");
    relay.stored(&jpeg(49));
}

/// A file system of its own, gone when dropped.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// `None`, visibly, where this is not permitted.
    fn mount(options: &str) -> Option<Tmpfs> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path());
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Tmpfs(folder));
        }
        eprintln!("SKIPPED: this test may not mount a file system");
        None
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let mut command = Command::new("mount");
        assert!(command.args(["-o", &options]).arg(self.path()).status().unwrap().success());
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_read_only_folder_is_said_once_and_its_picture_is_shown() {
    let Some(disk) = Tmpfs::mount("size=4m") else { return };
    let mut relay = Relay::at(disk.path(), "", &[]);
    relay.upload(PHOTO);
    assert!(relay.program.stop().success());
    disk.remount("ro");
    relay.restart();
    assert_eq!(relay.shown(), PHOTO);
    relay.program.line("make that folder writable");
    for n in 0..20 {
        relay.upload(&jpeg(n));
        assert_eq!(relay.shown(), jpeg(n));
    }
    relay.said("not kept through a restart", 1);
    assert_eq!(relay.status()["persistence"], "degraded");
    disk.remount("rw");
    relay.program.line("frames are kept again after");
    relay.stored(&jpeg(19));
    relay.program.stop();
}

#[test]
fn a_read_only_folder_without_a_database() {
    let Some(disk) = Tmpfs::mount("size=4m,ro") else { return };
    let mut relay = Relay::at(disk.path(), "", &[]);
    relay.upload(PHOTO);
    assert_eq!(relay.shown(), PHOTO);
    relay.persistence_becomes("degraded");
    relay.said("not kept through a restart", 1);
    relay.program.stop();
}

#[test]
fn a_full_disk_is_said_once_and_keeps_what_was_kept() {
    let Some(disk) = Tmpfs::mount("size=2m") else { return };
    let mut relay = Relay::at(disk.path(), "store.interval = \"10ms\"", &[]);
    relay.upload(PHOTO);
    relay.stored(PHOTO);
    let ballast = disk.path().join("ballast");
    // Until nothing more fits.
    let _ = fs::write(&ballast, vec![0; 4 << 20]);
    for n in 0..20 {
        let frame = padded(n, 300_000);
        relay.upload(&frame);
        assert_eq!(relay.shown(), frame);
    }
    relay.persistence_becomes("degraded");
    relay.program.line("make space on that disk");
    relay.said("not kept through a restart", 1);
    // Killed now, it has what was written last, whole.
    relay.kill_and_restart();
    assert_eq!(relay.shown(), PHOTO);
    fs::remove_file(&ballast).unwrap();
    relay.upload(&jpeg(7));
    relay.stored(&jpeg(7));
    relay.persistence_becomes("works");
    relay.program.stop();
}
