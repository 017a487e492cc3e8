//! A certificate from the owner's files: whoever renews it writes them, and they are read again then.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ladder::Episode;
use runtime::clock;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Shown;
use super::certificate::Certificate;

/// How often is looked whether they changed.
const LOOK: Duration = Duration::from_secs(5);

/// A disk that does not answer within that is asked again later.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// At most one line about the same trouble in this time.
const LINE_SPACING: Duration = Duration::from_secs(3600);

/// A larger file is something else.
const MAX_BYTES: u64 = 1 << 20;

/// Where they are; both may be one.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// When a file was written, its size and its identity.
type Stamp = (i64, i64, u64, u64);

impl Files {
    /// Reads both.
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub(crate) fn read(&self) -> Result<Certificate, String> {
        let (chain, key) = (whole(&self.certificate)?, whole(&self.key)?);
        let files = if self.certificate == self.key {
            self.certificate.display().to_string()
        } else {
            format!("{} with {}", self.certificate.display(), self.key.display())
        };
        Certificate::read(&chain, &key).map_err(|wrong| format!("{files}: {wrong}"))
    }

    fn stamps(&self) -> [Option<Stamp>; 2] {
        [&self.certificate, &self.key].map(|path| {
            let seen = fs::metadata(path).ok()?;
            Some((seen.mtime(), seen.mtime_nsec(), seen.size(), seen.ino()))
        })
    }
}

fn whole(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let size = fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?.len();
    if size > MAX_BYTES {
        return Err(format!("{shown}: {size} bytes are no certificate or key"));
    }
    fs::read(path).map_err(|error| format!("{shown}: {error}"))
}

/// Shows what is in the files whenever they change; what can't be read leaves the certificate that is shown.
pub(crate) async fn run(files: Files, shown: Arc<Shown>, stop: CancellationToken) {
    let mut trouble = Episode::new(LINE_SPACING);
    let mut seen = None;
    let mut look: Option<JoinHandle<_>> = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
        // One at a time: a disk that hangs keeps its thread, and it is the store's to tell.
        let looking = look.get_or_insert_with(|| {
            let (files, before) = (files.clone(), seen);
            tokio::task::spawn_blocking(move || {
                let stamps = files.stamps();
                (before != Some(stamps)).then(|| (stamps, files.read()))
            })
        });
        let Ok(looked) = tokio::time::timeout(READ_WITHIN, looking).await else { continue };
        look = None;
        let Ok(Some((stamps, read))) = looked else { continue };
        match read {
            Ok(certificate) => {
                // The first look is at what is shown already.
                if seen.is_some() || trouble.leave(clock::mono()).is_some() {
                    let names = certificate.names.join(", ");
                    tracing::info!("the certificate's files have changed: it is for {names} now");
                }
                seen = Some(stamps);
                shown.show(certificate);
            }
            // Half of it may be written yet, so they are read again at the next look.
            Err(wrong) => {
                if trouble.enter(clock::mono(), wrong.clone()).is_some() {
                    tracing::error!("{wrong}; going on with the certificate from before");
                }
            }
        }
    }
}
