//! Any bytes in any chunks: the pictures cut out do not depend on where the pipe broke the stream,
//! and no more is kept than a splitter may keep.
#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use frame::jpeg;
use frame::split::Splitter;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    /// Lengths of the chunks, over and over.
    chunks: [u16; 4],
    max_bytes: u16,
    stream: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let Input { chunks, max_bytes, stream } = input;
    let chunked = cut(stream, &chunks, usize::MAX);
    assert_eq!(chunked, cut(stream, &[u16::MAX], usize::MAX));
    cut(stream, &chunks, usize::from(max_bytes));
});

/// All pictures, and how many bytes were skipped.
fn cut(stream: &[u8], chunks: &[u16], max_bytes: usize) -> (Vec<Bytes>, u64) {
    let mut splitter = Splitter::new(max_bytes);
    let mut pictures = Vec::new();
    let (mut pushed, mut cut) = (0, 0);
    let mut rest = stream;
    for (stamp, len) in chunks.iter().cycle().enumerate() {
        if rest.is_empty() {
            break;
        }
        // At least one byte, or it would never end.
        let (chunk, behind) = rest.split_at(usize::from(*len).clamp(1, rest.len()));
        rest = behind;
        splitter.push(chunk, stamp);
        pushed += chunk.len() as u64;
        while let Some(found) = splitter.next(stamp) {
            assert!(found.began <= stamp);
            let bytes = found.picture.bytes().clone();
            let inspection = jpeg::inspect(&bytes).expect("a picture is complete");
            assert_eq!((inspection.end, inspection.tables_belong_at), (bytes.len(), None));
            cut += bytes.len() as u64;
            pictures.push(bytes);
        }
        // What is still buffered; tables that were inserted only make the estimate lower.
        let kept = pushed.saturating_sub(splitter.skipped() + cut);
        assert!(kept <= max_bytes.max(2) as u64, "{kept} bytes kept, {max_bytes} allowed");
    }
    (pictures, splitter.skipped())
}
