//! Photographs of real cameras, with EXIF and thumbnails: the test data of a Go library, from the
//! Debian package `golang-github-rwcarlsen-goexif-dev` (`scripts/setup test` installs it).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use frame::Picture;
use tempfile::TempDir;

const FOLDER: &str = "/usr/share/gocode/src/github.com/rwcarlsen/goexif/exif";

/// A folder with copies of all of them that are complete (most are cut off behind their headers),
/// and their contents by name.
///
/// # Panics
/// The package is not installed.
pub fn folder() -> (TempDir, BTreeMap<PathBuf, Vec<u8>>) {
    let copies = tempfile::tempdir().expect("a temporary directory");
    let mut pictures = BTreeMap::new();
    for path in
        ["", "samples", "corrupt"].iter().flat_map(|part| jpegs(&Path::new(FOLDER).join(part)))
    {
        let bytes = fs::read(&path).unwrap_or_default();
        let complete = Picture::normalise(&bytes).is_ok_and(|picture| picture.bytes() == &bytes);
        if let Some(name) = path.file_name().filter(|_| complete) {
            fs::write(copies.path().join(name), &bytes).expect("a temporary file");
            pictures.insert(PathBuf::from(name), bytes);
        }
    }
    assert!(pictures.len() >= 2, "no photographs in {FOLDER}: run scripts/setup test");
    (copies, pictures)
}

fn jpegs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|kind| kind == "jpg")).collect()
}
