//! Coming from the tutorial: its database is taken over.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use serde_json::json;

use crate::relay::{PHOTO, Relay, jpeg};

/// The tutorial's database with `image`, two hours old. Returns its bytes.
fn global_db(folder: &Path, image: &dyn rusqlite::ToSql) -> Vec<u8> {
    let path = folder.join("global.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE store (id INTEGER PRIMARY KEY, image BLOB)").unwrap();
    connection.execute("INSERT INTO store (id, image) VALUES (1, ?1)", [image]).unwrap();
    drop(connection);
    #[expect(clippy::disallowed_methods, reason = "files have wall clock times")]
    let then = SystemTime::now() - Duration::from_secs(7_200);
    File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
    fs::read(&path).unwrap()
}

#[test]
fn the_tutorials_picture_is_taken_over_as_old_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let before = global_db(folder.path(), &PHOTO);
    let mut relay = Relay::at(folder.path(), "", &[]);
    let answer = relay.get("/live.jpeg");
    assert_eq!(answer.body, PHOTO);
    assert_eq!(answer.header("frame-state"), Some("offline"));
    assert_eq!(answer.header("frame-time-source"), Some("arrived"));
    let age: u64 = answer.header("frame-age-ms").unwrap().parse().unwrap();
    assert!((7_200_000..7_300_000).contains(&age), "{age}");
    relay.said("took over the tutorial's picture", 1);
    assert_eq!(relay.get("/live.jpeg?max_age=60").status(), 503);
    // Its own frames come first from now on.
    relay.upload(&jpeg(1));
    assert!(relay.program.stop().success());
    relay.restart();
    assert_eq!(relay.shown(), jpeg(1));
    assert_eq!(relay.count_lines("tutorial"), 0);
    assert_eq!(fs::read(folder.path().join("global.db")).unwrap(), before);
}

#[test]
fn a_tutorials_database_without_a_picture() {
    for (image, says) in [
        (&"" as &dyn rusqlite::ToSql, "holds no picture yet"),
        (&b"hello".as_slice(), "can't be taken over: not a JPEG"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let before = global_db(folder.path(), image);
        let relay = Relay::at(folder.path(), "", &[]);
        relay.program.line(says);
        assert_eq!(relay.of_camera("default", "/state"), json!("empty"));
        relay.upload(PHOTO);
        assert_eq!(relay.shown(), PHOTO);
        assert_eq!(fs::read(folder.path().join("global.db")).unwrap(), before);
    }
}

#[test]
fn a_global_db_of_something_else() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("global.db"), "no database").unwrap();
    let relay = Relay::at(folder.path(), "", &[]);
    relay.program.line("can't be taken over");
    assert_eq!(relay.get("/live.jpeg").status(), 503);
    relay.persistence_becomes("works");
}
