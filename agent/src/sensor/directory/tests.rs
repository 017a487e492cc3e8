use std::fs::File;

use tempfile::TempDir;

use super::*;
use crate::encode::{Encoder, Planes};

fn jpeg(width: usize) -> Vec<u8> {
    let mut encoder = Encoder::new(width, 16, 80).unwrap();
    encoder.encode(&Planes::new(width, 16)).unwrap().bytes().to_vec()
}

fn put(folder: &TempDir, name: &str, content: &[u8], modified_s: u64) {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    let modified = UNIX_EPOCH + Duration::from_secs(modified_s);
    File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

fn open(folder: &TempDir, mode: DirectoryMode) -> Directory {
    let config = CameraConfig {
        path: Some(folder.path().to_owned()),
        directory_mode: mode,
        fps: 100.0,
        ..CameraConfig::default()
    };
    Directory::open(&config, ClockTrust::Trusted).unwrap()
}

#[test]
fn newest_shows_each_newest_file_once_with_its_time() {
    let folder = tempfile::tempdir().unwrap();
    put(&folder, "a.jpg", &jpeg(16), 1_000);
    put(&folder, "b.JPEG", &jpeg(32), 2_000);
    put(&folder, "z.png", b"no", 9_000);
    put(&folder, ".hidden.jpg", &jpeg(48), 9_000);
    let mut source = open(&folder, DirectoryMode::Newest);
    let capture = source.next().unwrap().unwrap();
    assert_eq!((capture.picture.width(), capture.captured.unix_us), (32, 2_000_000_000));
    assert!(capture.may_repeat && capture.captured.synchronised);
    assert!(source.next().unwrap().is_none());
    put(&folder, "a.jpg", &jpeg(64), 3_000);
    assert_eq!(source.next().unwrap().unwrap().picture.width(), 64);
}

#[test]
fn a_file_still_being_written_is_waited_for_and_a_broken_one_reported() {
    let folder = tempfile::tempdir().unwrap();
    let whole = jpeg(32);
    let now = SystemTime::UNIX_EPOCH + Duration::from_micros(clock::wall_us().unsigned_abs());
    let now_s = now.duration_since(UNIX_EPOCH).unwrap().as_secs();
    put(&folder, "a.jpg", &whole[..whole.len() / 2], now_s);
    let mut source = open(&folder, DirectoryMode::Newest);
    assert!(source.next().unwrap().is_none());
    put(&folder, "a.jpg", &whole, now_s);
    assert_eq!(source.next().unwrap().unwrap().picture.width(), 32);
    put(&folder, "b.jpg", b"rubbish", now_s - 60);
    fs::remove_file(folder.path().join("a.jpg")).unwrap();
    assert!(matches!(source.next(), Err(SourceError::Corrupt(_))));
}

#[test]
fn cycle_plays_all_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    for (name, width) in [("1.jpg", 16), ("2.jpg", 32), ("3.jpg", 48)] {
        put(&folder, name, &jpeg(width), 1_000);
    }
    let mut source = open(&folder, DirectoryMode::Cycle);
    let mut last_us = 0;
    for width in [16, 32, 48, 16, 32] {
        let capture = source.next().unwrap().unwrap();
        assert_eq!(capture.picture.width(), width);
        assert!(capture.captured.unix_us > last_us);
        last_us = capture.captured.unix_us;
    }
    fs::remove_dir_all(folder.path()).unwrap();
    assert!(matches!(source.next(), Err(SourceError::Open(..))));
}
