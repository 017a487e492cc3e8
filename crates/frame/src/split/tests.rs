use proptest::prelude::*;

use super::*;
use crate::jpeg::tests::jpeg;

fn drain(splitter: &mut Splitter<usize>, stamp: usize) -> Vec<(u16, usize)> {
    std::iter::from_fn(|| splitter.next(stamp))
        .map(|cut| (cut.picture.width(), cut.began))
        .collect()
}

#[test]
fn a_picture_carries_the_time_its_first_byte_came() {
    let mut splitter = Splitter::new(10_000);
    let first = jpeg(1, 8);
    let both = [first.clone(), jpeg(2, 8)].concat();
    let middle = first.len() + 5;
    splitter.push(&both[..5], 10);
    assert!(splitter.next(10).is_none());
    splitter.push(&both[5..middle], 20);
    assert_eq!(drain(&mut splitter, 20), [(1, 10)]);
    splitter.push(&both[middle..], 30);
    assert_eq!(drain(&mut splitter, 30), [(2, 20)]);
    assert_eq!(splitter.skipped(), 0);
}

#[test]
fn garbage_between_pictures_is_skipped_and_counted() {
    let mut splitter = Splitter::new(10_000);
    let stream = [b"noise".as_slice(), &jpeg(1, 8), &[0; 7], &jpeg(2, 8)].concat();
    splitter.push(&stream, 1);
    assert_eq!(drain(&mut splitter, 1), [(1, 1), (2, 1)]);
    assert_eq!(splitter.skipped(), 5 + 7);
}

#[test]
fn a_picture_beyond_the_limit_is_dropped_and_the_next_one_found() {
    let small = jpeg(1, 8);
    let mut splitter = Splitter::new(small.len());
    // Begins like a picture and never ends.
    let endless = [&small[..small.len() - 2], &vec![0x11; 2 * small.len()]].concat();
    splitter.push(&endless, 1);
    assert_eq!(drain(&mut splitter, 1), []);
    assert!(splitter.buffer.len() <= small.len());
    splitter.push(&small, 2);
    assert_eq!(drain(&mut splitter, 2), [(1, 2)]);
}

proptest! {
    #[test]
    fn any_chunking_yields_the_same_pictures(
        widths in prop::collection::vec(1_u16..2000, 1..6),
        chunks in prop::collection::vec(1_usize..700, 1..50),
    ) {
        let stream: Vec<u8> = widths.iter().flat_map(|width| jpeg(*width, 8)).collect();
        let mut splitter = Splitter::new(10_000);
        let mut found = Vec::new();
        let mut rest = stream.as_slice();
        for (stamp, chunk) in chunks.iter().cycle().enumerate() {
            let (now, later) = rest.split_at(rest.len().min(*chunk));
            splitter.push(now, stamp);
            found.extend(drain(&mut splitter, stamp).into_iter().map(|(width, _)| width));
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(found, widths);
        prop_assert_eq!(splitter.skipped(), 0);
    }

    #[test]
    fn no_bytes_make_it_panic_or_grow(
        chunks in prop::collection::vec(prop::collection::vec(
            prop_oneof![Just(0xff_u8), Just(0xd8), Just(0xd9), any::<u8>()], 0..100), 0..40),
    ) {
        let mut splitter = Splitter::new(256);
        for chunk in chunks {
            splitter.push(&chunk, 0);
            while splitter.next(0).is_some() {}
            prop_assert!(splitter.buffer.len() <= 256);
        }
    }
}
