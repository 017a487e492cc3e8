//! The task that keeps looking, and what it saw last.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runtime::network::Changes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Facts, Watch};

/// How often it looks while uploads work, and while they don't.
const SELDOM: Duration = Duration::from_secs(10);
const OFTEN: Duration = Duration::from_secs(1);

/// How often it looks at most, whatever the kernel has to tell.
const SPACING: Duration = Duration::from_millis(200);

/// Between the task and whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Network {
    facts: Mutex<Option<Facts>>,
    suspicious: AtomicBool,
    hurry: Notify,
}

impl Network {
    /// What was seen last; `None` before the first look.
    pub(crate) fn latest(&self) -> Option<Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether uploads are in trouble: then it is looked at more often, and closer.
    pub(crate) fn suspect(&self, suspicious: bool) {
        if self.suspicious.swap(suspicious, Ordering::Relaxed) != suspicious {
            self.hurry.notify_one();
        }
    }

    /// Looks until `stop`.
    pub(crate) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let _: Option<()> = stop.run_until_cancelled(self.look()).await;
    }

    async fn look(&self) {
        let mut watch = Watch::default();
        let mut changes = Changes::listen().ok();
        loop {
            let suspicious = self.suspicious.load(Ordering::Relaxed);
            let facts = watch.look(suspicious).await;
            *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts);
            tokio::time::sleep(SPACING).await;
            let wait = if suspicious { OFTEN } else { SELDOM };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.hurry.notified() => {}
                () = changed(&mut changes) => {}
            }
        }
    }
}

async fn changed(changes: &mut Option<Changes>) {
    if let Some(listening) = changes
        && listening.next().await.is_err()
    {
        *changes = None;
    }
    if changes.is_none() {
        std::future::pending().await
    }
}
