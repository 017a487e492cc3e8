use proptest::prelude::*;

use super::*;
use crate::Picture;
use crate::huffman::STANDARD_TABLES;

/// `marker` with a body behind its length.
fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xff, marker];
    out.extend(u16::try_from(body.len() + 2).unwrap().to_be_bytes());
    out.extend(body);
    out
}

fn sof(marker: u8, width: u16, height: u16) -> Vec<u8> {
    let [h1, h2] = height.to_be_bytes();
    let [w1, w2] = width.to_be_bytes();
    segment(marker, &[8, h1, h2, w1, w2, 1, 1, 0x11, 0])
}

fn sos(data: &[u8]) -> Vec<u8> {
    let mut out = segment(SOS, &[1, 1, 0, 0, 63, 0]);
    out.extend(data);
    out
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

const SOI_BYTES: &[u8] = &[0xff, SOI];
const EOI_BYTES: &[u8] = &[0xff, EOI];

/// A small complete JPEG, structurally.
pub(crate) fn jpeg(width: u16, height: u16) -> Vec<u8> {
    let scan = sos(&[0x12, 0xff, 0x00, 0x34, 0xff, 0xd0, 0x56]);
    join(&[SOI_BYTES, &sof(0xc0, width, height), &STANDARD_TABLES, &scan, EOI_BYTES])
}

#[test]
fn a_complete_picture_passes() {
    let bytes = jpeg(1280, 720);
    let found = inspect(&bytes).unwrap();
    let end = bytes.len();
    let expected =
        Inspection { width: 1280, height: 720, end, tables_belong_at: None, row_by_row: true };
    assert_eq!(found, expected);
}

#[test]
fn every_shortened_picture_is_refused() {
    let bytes = jpeg(64, 48);
    assert_eq!(inspect(&[]), Err(JpegError::Empty));
    for len in 1..bytes.len() {
        assert_eq!(inspect(&bytes[..len]), Err(JpegError::Truncated(len)));
    }
}

#[test]
fn what_is_no_jpeg_is_refused_by_its_first_bytes() {
    for other in ["hello", "\u{89}PNG\r\n", "<html>", "GIF89a", "\0"] {
        assert!(matches!(inspect(other.as_bytes()), Err(JpegError::NotJpeg(_))), "{other}");
    }
}

#[test]
fn padding_is_found_and_cut() {
    let bytes = jpeg(64, 48);
    let mut padded = bytes.clone();
    padded.extend([0; 500]);
    assert_eq!(inspect(&padded).unwrap().end, bytes.len());
    assert_eq!(Picture::normalise(&padded).unwrap().bytes(), &bytes);
    assert_eq!(Picture::accept(padded.clone().into()).unwrap().bytes(), &padded);
}

#[test]
fn missing_tables_are_put_before_the_scan() {
    let with = jpeg(64, 48);
    let scan = sos(&[0x12, 0xff, 0x00, 0x34, 0xff, 0xd0, 0x56]);
    let head = join(&[SOI_BYTES, &sof(0xc0, 64, 48)]);
    let without = join(&[&head, &scan, EOI_BYTES, &[0; 9]]);
    assert_eq!(inspect(&without).unwrap().tables_belong_at, Some(head.len()));
    let mended = Picture::normalise(&without).unwrap();
    assert_eq!(mended.bytes(), &with);
    let shared = Picture::normalised(without.clone().into(), inspect(&without).unwrap());
    assert_eq!(shared.bytes(), &with);
    // A progressive picture defines its own tables or is broken: these would not mend it.
    let progressive = join(&[SOI_BYTES, &sof(0xc2, 64, 48), &scan, EOI_BYTES]);
    assert_eq!(inspect(&progressive).unwrap().tables_belong_at, None);
}

#[test]
fn a_thumbnail_is_not_the_picture() {
    let exif = segment(0xe1, &jpeg(160, 120));
    let bytes = join(&[SOI_BYTES, &exif, &jpeg(640, 480)[2..]]);
    let found = inspect(&bytes).unwrap();
    assert_eq!((found.width, found.height, found.end), (640, 480, bytes.len()));
    let only_thumbnail = join(&[SOI_BYTES, &exif, EOI_BYTES]);
    assert_eq!(inspect(&only_thumbnail), Err(JpegError::NoPicture));
}

#[test]
fn fill_bytes_and_several_scans_are_stepped_over() {
    let scan = sos(&[1, 2, 3, 0xff, 0xff]);
    let fill = [0xff, 0xff, 0xff];
    let bytes = join(&[
        SOI_BYTES,
        &fill,
        &sof(0xc2, 8, 8),
        &fill,
        &STANDARD_TABLES,
        &scan,
        &scan,
        &fill,
        EOI_BYTES,
    ]);
    assert_eq!(inspect(&bytes).unwrap().end, bytes.len());
}

#[test]
fn what_a_decoder_has_to_keep_is_seen() {
    let three = |marker| segment(marker, &[8, 0, 48, 0, 64, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]);
    let all = join(&[&segment(0xda, &[3, 1, 0, 2, 0, 3, 0, 0, 63, 0]), &[1, 2]]);
    let one = join(&[&segment(0xda, &[1, 1, 0, 0, 63, 0]), &[1, 2]]);
    // It shows nothing, and all the same it is the one that a decoder goes by.
    let empty = segment(0xda, &[1, 1, 0, 0, 63, 0]);
    for (case, sof, scans, row_by_row) in [
        ("baseline", 0xc0, &[&all][..], true),
        ("a scan for each component", 0xc0, &[&one, &one, &one], false),
        ("progressive", 0xc2, &[&all], false),
        ("progressive, arithmetic", 0xca, &[&all], false),
        ("an empty one first", 0xc0, &[&empty, &all], false),
    ] {
        let scans: Vec<u8> = scans.iter().flat_map(|scan| scan.iter().copied()).collect();
        let found = inspect(&join(&[SOI_BYTES, &three(sof), &scans, EOI_BYTES]));
        assert_eq!(found.map(|found| found.row_by_row), Ok(row_by_row), "{case}");
    }
}

#[test]
fn impossible_structures_are_refused() {
    let scan = sos(&[1]);
    let cases: [(&str, Vec<u8>); 7] = [
        ("scan before header", join(&[SOI_BYTES, &scan, EOI_BYTES])),
        ("two headers", join(&[SOI_BYTES, &sof(0xc0, 8, 8), &sof(0xc0, 8, 8), &scan, EOI_BYTES])),
        ("garbage for a marker", join(&[SOI_BYTES, &[0x00, 0x01], EOI_BYTES])),
        ("length below two", join(&[SOI_BYTES, &[0xff, 0xe0, 0, 1], EOI_BYTES])),
        ("SOI inside", join(&[SOI_BYTES, SOI_BYTES, EOI_BYTES])),
        ("header too short", join(&[SOI_BYTES, &segment(0xc0, &[8, 0, 8]), EOI_BYTES])),
        ("no components", join(&[SOI_BYTES, &segment(0xc0, &[8, 0, 8, 0, 8, 0]), EOI_BYTES])),
    ];
    for (case, bytes) in cases {
        assert!(matches!(inspect(&bytes), Err(JpegError::Damaged(_))), "{case}");
    }
    let no_scan = join(&[SOI_BYTES, &sof(0xc0, 8, 8), EOI_BYTES]);
    assert_eq!(inspect(&no_scan), Err(JpegError::NoPicture));
    let empty_scan = join(&[SOI_BYTES, &sof(0xc0, 8, 8), &sos(&[]), EOI_BYTES]);
    assert_eq!(inspect(&empty_scan), Err(JpegError::NoPicture));
}

#[test]
fn sizes_at_and_beyond_the_limit() {
    for (width, height, good) in
        [(10_000, 10_000, true), (10_000, 10_001, false), (0, 8, false), (8, 0, false)]
    {
        let result = inspect(&jpeg(width, height));
        assert_eq!(result.is_ok(), good, "{width}x{height}: {result:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = inspect(&bytes);
        let _ = Picture::normalise(&bytes);
        let mut begun = vec![0xff, 0xd8];
        begun.extend(&bytes);
        let _ = Picture::normalise(&begun);
    }

    #[test]
    fn no_change_of_a_good_picture_makes_it_panic_or_claim_more_than_there_is(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = jpeg(64, 48);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Ok(found) = inspect(&bytes) {
            prop_assert!(found.end <= bytes.len());
            prop_assert_eq!(&bytes[found.end - 2..found.end], EOI_BYTES);
            prop_assert!(found.tables_belong_at.is_none_or(|at| at < found.end));
            // What was normalised once passes unchanged ever after.
            let once = Picture::normalise(&bytes).unwrap();
            let twice = Picture::normalise(once.bytes()).unwrap();
            prop_assert_eq!(once.bytes(), twice.bytes());
        }
    }

    #[test]
    fn pausing_anywhere_finds_the_same(
        pieces in prop::collection::vec(1_usize..40, 1..200),
        padding in 0_usize..50,
    ) {
        let mut bytes = jpeg(64, 48);
        bytes.resize(bytes.len() + padding, 0);
        let mut walk = Walk::default();
        let mut seen = 0_usize;
        let mut found = None;
        for piece in pieces.into_iter().chain([usize::MAX]) {
            seen = bytes.len().min(seen.saturating_add(piece));
            found = walk.advance(&bytes[..seen]).unwrap();
            if found.is_some() {
                break;
            }
        }
        prop_assert_eq!(found, inspect(&bytes).ok());
    }
}
