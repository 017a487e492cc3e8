//! The task that keeps looking, and what it saw last.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runtime::files::{Survives, replace};
use runtime::network::Changes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::memory::Known;
use super::{Facts, Watch};

/// How often it looks while uploads work, and while they don't.
const SELDOM: Duration = Duration::from_secs(10);
const OFTEN: Duration = Duration::from_secs(1);

/// How often it looks at most, whatever the kernel has to tell.
const SPACING: Duration = Duration::from_millis(200);

/// What is known of the WiFi, in systemd's state directory.
const FILE: &str = "wifi.json";

/// The disk may be dying.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

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
        let file = crate::supervise::system::state_directory().map(|folder| folder.join(FILE));
        let mut known = file.as_deref().map(read).unwrap_or_default();
        let mut watch = Watch::with(known.clone());
        let mut changes = Changes::listen().ok();
        loop {
            let suspicious = self.suspicious.load(Ordering::Relaxed);
            let facts = watch.look(suspicious).await;
            *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts);
            if *watch.known() != known {
                known = watch.known().clone();
                keep(file.clone(), known.clone()).await;
            }
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

fn read(file: &Path) -> Known {
    let content = std::fs::read(file).unwrap_or_default();
    serde_json::from_slice(&content).unwrap_or_default()
}

/// It is written seldom, and what can't be written is learnt again.
async fn keep(file: Option<PathBuf>, known: Known) {
    let Some(file) = file else { return };
    let write = move || {
        let content = serde_json::to_vec(&known)?;
        replace(&file, &content, Survives::PowerCut)
    };
    let written = tokio::time::timeout(WRITTEN_WITHIN, tokio::task::spawn_blocking(write)).await;
    if !matches!(written, Ok(Ok(Ok(())))) {
        tracing::debug!("what is known of the WiFi could not be kept: {written:?}");
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
