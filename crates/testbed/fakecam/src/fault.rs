//! What is wrong with the camera at the moment: read from the control file by its own thread, so
//! that no hooked call ever waits for a file.

use std::sync::atomic::{AtomicU32, Ordering};

/// A fault, by the word that switches it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    None,
    Silent,
    Repeat,
    Corrupt,
    ErrorFlag,
    Truncate,
    Empty,
    Unplug,
    Slow,
    Hang,
    EioStreamoff,
    Busy,
}

/// All faults, at the place of their number.
const ALL: [(Fault, &str); 12] = [
    (Fault::None, "none"),
    (Fault::Silent, "silent"),
    (Fault::Repeat, "repeat"),
    (Fault::Corrupt, "corrupt"),
    (Fault::ErrorFlag, "error-flag"),
    (Fault::Truncate, "truncate"),
    (Fault::Empty, "empty"),
    (Fault::Unplug, "unplug"),
    (Fault::Slow, "slow"),
    (Fault::Hang, "hang"),
    (Fault::EioStreamoff, "eio-streamoff"),
    (Fault::Busy, "busy"),
];

/// Number of the fault in the low byte, milliseconds of `slow` above.
static NOW: AtomicU32 = AtomicU32::new(0);

/// Set while a fault beside the one above lets STREAMOFF fail: `silent eio-streamoff`.
static STREAMOFF_FAILS: AtomicU32 = AtomicU32::new(0);

/// The fault at this moment.
pub(crate) fn now() -> Fault {
    let number = NOW.load(Ordering::Relaxed) & 0xff;
    ALL.get(number as usize).map_or(Fault::None, |(fault, _)| *fault)
}

/// How long each call takes while [`Fault::Slow`].
pub(crate) fn slow_ms() -> u32 {
    NOW.load(Ordering::Relaxed) >> 8
}

/// Whether STREAMOFF fails with EIO.
pub(crate) fn streamoff_fails() -> bool {
    STREAMOFF_FAILS.load(Ordering::Relaxed) != 0
}

/// Takes the control file's text.
///
/// # Errors
/// A word that names no fault.
pub(crate) fn set(text: &str) -> Result<(), String> {
    let (mut now, mut streamoff) = (0, 0);
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let Some(number) = ALL.iter().position(|(_, known)| *known == word) else {
            let known: Vec<_> = ALL.iter().map(|(_, word)| *word).collect();
            return Err(format!("unknown fault \"{word}\"; one of {}", known.join(" ")));
        };
        let number = u32::try_from(number).unwrap_or(0);
        match ALL.get(number as usize).map(|(fault, _)| *fault) {
            Some(Fault::EioStreamoff) => streamoff = 1,
            Some(Fault::Slow) => {
                let ms = words.next_if(|word| word.parse::<u32>().is_ok());
                let ms = ms.and_then(|word| word.parse::<u32>().ok()).unwrap_or(20_000);
                now = number | ms.min(1 << 23) << 8;
            }
            _ => now = number,
        }
    }
    NOW.store(now, Ordering::Relaxed);
    STREAMOFF_FAILS.store(streamoff, Ordering::Relaxed);
    Ok(())
}
