//! The latest-wins cell between two stages: capacity one, the newest value replaces one that was
//! not taken. A slow consumer skips values; it never falls behind, and memory never grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;

/// Makes a slot.
pub fn slot<T: Clone>() -> (Writer<T>, Reader<T>) {
    let (sender, receiver) = watch::channel(None);
    let stats = Arc::new(Stats::default());
    (Writer { sender, stats: Arc::clone(&stats) }, Reader { receiver, stats })
}

#[derive(Debug, Default)]
struct Stats {
    waiting: AtomicBool,
    replaced: AtomicU64,
}

/// The filling end. May be used from any thread; clones fill the same slot.
#[derive(Debug, Clone)]
pub struct Writer<T> {
    sender: watch::Sender<Option<T>>,
    stats: Arc<Stats>,
}

/// Sees what the taking end may take, and takes nothing.
#[derive(Debug)]
pub struct Watcher<T> {
    receiver: watch::Receiver<Option<T>>,
}

impl<T: Clone> Watcher<T> {
    /// Waits for a value that was not seen yet, and returns the newest. `None` when all writers are
    /// gone.
    pub async fn next(&mut self) -> Option<T> {
        self.receiver.changed().await.ok()?;
        self.receiver.borrow_and_update().clone()
    }
}

/// The taking end.
#[derive(Debug)]
pub struct Reader<T> {
    receiver: watch::Receiver<Option<T>>,
    stats: Arc<Stats>,
}

impl<T: Clone> Writer<T> {
    /// Puts `value` in, instead of the one that may still be waiting there.
    pub fn put(&self, value: T) {
        if self.stats.waiting.swap(true, Ordering::Relaxed) {
            self.stats.replaced.fetch_add(1, Ordering::Relaxed);
        }
        self.sender.send_replace(Some(value));
    }

    /// How many values were replaced before anybody took them.
    pub fn replaced(&self) -> u64 {
        self.stats.replaced.load(Ordering::Relaxed)
    }

    /// Sees the values from now on.
    pub fn watch(&self) -> Watcher<T> {
        Watcher { receiver: self.sender.subscribe() }
    }
}

impl<T: Clone> Reader<T> {
    /// Waits for a value that was not taken yet. `None` when all writers are gone and nothing
    /// waits.
    pub async fn take(&mut self) -> Option<T> {
        self.receiver.changed().await.ok()?;
        self.latest()
    }

    /// The newest value, taken before or not; marks it taken.
    pub fn latest(&mut self) -> Option<T> {
        self.stats.waiting.store(false, Ordering::Relaxed);
        self.receiver.borrow_and_update().clone()
    }

    /// How many values were replaced before anybody took them.
    pub fn replaced(&self) -> u64 {
        self.stats.replaced.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_wins_and_what_it_replaced_is_counted() {
        let (writer, mut reader) = slot();
        for value in 1..=5 {
            writer.put(value);
        }
        assert_eq!(reader.take().await, Some(5));
        assert_eq!(writer.replaced(), 4);
        writer.put(6);
        assert_eq!(reader.take().await, Some(6));
        assert_eq!(reader.replaced(), 4);
        assert_eq!(reader.latest(), Some(6));
        let mut watcher = writer.watch();
        writer.put(7);
        assert_eq!(watcher.next().await, Some(7));
        drop(writer);
        assert_eq!(watcher.next().await, None);
        assert_eq!(reader.take().await, Some(7));
        assert_eq!(reader.take().await, None);
    }
}
