//! The one gate for pictures: what `inspect` lets pass is what its documentation says, and what
//! `Picture` makes of it passes again unchanged.
#![no_main]

use bytes::Bytes;
use frame::Picture;
use frame::jpeg::{self, Inspection, MAX_PIXELS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match jpeg::inspect(data) {
        Ok(inspection) => {
            consistent(data, inspection);
            pictures(data, inspection);
        }
        Err(error) => {
            assert_eq!(Picture::accept(Bytes::copy_from_slice(data)).err(), Some(error));
            assert_eq!(Picture::normalise(data).err(), Some(error));
        }
    }
});

fn consistent(data: &[u8], found: Inspection) {
    let Inspection { width, height, end, tables_belong_at, row_by_row: _ } = found;
    assert!(end <= data.len());
    assert!((1..=MAX_PIXELS).contains(&(u32::from(width) * u32::from(height))));
    assert_eq!(data[end - 2..end], [0xff, 0xd9]);
    if let Some(at) = tables_belong_at {
        // Before the first scan, at the last fill byte of its marker.
        assert_eq!(data[at..at + 2], [0xff, 0xda]);
    }
    // Padding decides nothing, and nothing before the end is complete.
    assert_eq!(jpeg::inspect(&data[..end]), Ok(found));
    assert!(jpeg::inspect(&data[..end - 1]).is_err());
    assert!(jpeg::inspect(&data[..end / 2]).is_err());
}

fn pictures(data: &[u8], found: Inspection) {
    let shared = Bytes::copy_from_slice(data);
    let accepted = Picture::accept(shared.clone()).expect("inspected");
    assert_eq!(accepted.bytes(), data);
    assert_eq!((accepted.width(), accepted.height()), (found.width, found.height));

    let normal = Picture::normalise(data).expect("inspected");
    assert_eq!((normal.width(), normal.height()), (found.width, found.height));
    assert_eq!(Picture::normalised(shared, found).bytes(), normal.bytes());

    let again = jpeg::inspect(normal.bytes()).expect("normalise keeps a picture complete");
    assert_eq!((again.end, again.tables_belong_at), (normal.bytes().len(), None));
    let twice = Picture::normalise(normal.bytes()).expect("inspected");
    assert_eq!((twice.bytes(), twice.hash()), (normal.bytes(), normal.hash()));
    assert_eq!(normal.bytes() == data, normal.hash() == accepted.hash());
}
