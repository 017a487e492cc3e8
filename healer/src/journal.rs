//! Making sure that the reason is on the disk before the act.

use std::time::Duration;

use crate::site::Site;
use runtime::child::{Left, run};

/// The act can't wait for a disk that hangs: it may be what cures it.
const DEADLINE: Duration = Duration::from_secs(2);

/// Writes out what was logged; where there is no journal, nothing.
pub(crate) async fn sync(site: &Site) {
    let mut command = site.program("journalctl");
    command.arg("--sync");
    let ran = run(command, DEADLINE, &Left::default()).await;
    if !ran.succeeded() {
        tracing::debug!("journalctl --sync: {:?} {}", ran.end, ran.output);
    }
}
