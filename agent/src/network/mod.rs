//! What the machine's network looks like from a process without any privilege, and whose fault it is
//! when uploads fail.
//!
//! ```text
//! netlink ─► route, wifi, gateway ─► kernel: a reading ─► memory: facts ─► judge: blame
//! ```
//!
//! Facts are seen, never made: nothing here scans, connects or configures; that is the healer's. How
//! long blame has to last before something is done about it does not belong here either.

mod gateway;
mod judge;
mod kernel;
mod memory;
mod netlink;
mod report;
mod route;
mod task;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod wifi;

use std::fmt;
use std::time::Duration;

use ladder::Mono;
use runtime::clock;
use serde::Serialize;
use tokio::task::JoinHandle;

pub(crate) use gateway::Gateway;
pub(crate) use judge::{Blame, WifiTrouble, judge, kind};
use kernel::{Kernel, Reading, Want};
use memory::{Known, Memory};
pub(crate) use report::report;
pub(crate) use task::Network;

/// A look takes no longer. A driver that is stuck may hold the kernel's locks for ever.
const WITHIN: Duration = Duration::from_secs(1);

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub at: Mono,
    pub sight: Sight,
    pub wire: Wire,
    /// `None`: this machine has no WiFi and has had none since the start.
    pub wifi: Option<Wifi>,
    /// Of the default route.
    pub gateway: Gateway,
}

/// How much of it could be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sight {
    Whole,
    /// The kernel, or a sandbox, refuses some of it: what is missing looks as if it were not there.
    Part,
    /// The kernel does not answer in time; the facts are the last ones.
    Stuck,
}

/// How far the best way out that is not WiFi has come: cables, modems, a container's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wire {
    /// There is no such interface.
    Absent,
    /// Nothing is connected to it, or it is down.
    NoCarrier,
    /// It has no address that leads further than its link.
    NoAddress,
    /// No default route leads over it, or the machine prefers another.
    NoRoute,
    /// The default route leads over it.
    Carries,
}

/// The WiFi interface; of several, the one that is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wifi {
    pub interface: String,
    /// Otherwise it was there since the start and is gone: the driver, or the chip.
    pub present: bool,
    /// Somebody wants it to work.
    pub up: bool,
    /// Connected to an access point, which has let us in.
    pub associated: bool,
    /// It has an address that leads further than its link.
    pub address: bool,
    /// What it is connected to, or was last. Anybody may give a network any name: it is shown with
    /// `{:?}`.
    pub ssid: Option<String>,
    pub signal_dbm: Option<i16>,
    /// Of `ssid`.
    pub access_point: AccessPoint,
    /// When an access point of `ssid` was last heard, however long ago.
    pub last_heard: Option<Mono>,
    /// Networks heard during the last half minute. 0 while somebody scans: it is deaf.
    pub heard: usize,
}

/// What the last scans say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessPoint {
    /// It was there at that time, not more than half a minute ago.
    Seen(Mono),
    /// Others were heard, and it was not.
    NotSeen,
    /// Nothing was heard at all, or it is not known which it is.
    Unknown,
}

/// Looks at the network.
pub(crate) struct Watch {
    open: Box<dyn Fn() -> Box<dyn Look> + Send + Sync>,
    /// `None` while it is being asked.
    kernel: Option<Box<dyn Look>>,
    asked: Option<JoinHandle<(Box<dyn Look>, Reading)>>,
    memory: Memory,
}

/// What answers: the kernel; in tests, others.
trait Look: Send {
    fn look(&mut self, want: &Want) -> Reading;
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl Default for Watch {
    fn default() -> Watch {
        Watch::of(Box::new(|| Box::new(Kernel::default())))
    }
}

impl Watch {
    fn of(open: Box<dyn Fn() -> Box<dyn Look> + Send + Sync>) -> Watch {
        Watch { open, kernel: None, asked: None, memory: Memory::default() }
    }

    /// With what was known before.
    fn with(known: Known) -> Watch {
        Watch { memory: Memory::with(known), ..Watch::default() }
    }

    /// What is worth knowing after a restart.
    fn known(&self) -> &Known {
        self.memory.known()
    }

    /// Takes a look, within a second. `suspicious`: uploads are in trouble, so the kernel is made to
    /// find out whether the router is there, of which later looks tell.
    ///
    /// It may be cut off.
    pub(crate) async fn look(&mut self, suspicious: bool) -> Facts {
        let reading = tokio::time::timeout(WITHIN, self.reading(suspicious)).await;
        let now = clock::mono();
        match reading {
            Ok(reading) => self.memory.facts(&reading, now),
            Err(_) => self.memory.stuck(now),
        }
    }

    async fn reading(&mut self, suspicious: bool) -> Reading {
        if let Some(late) = &mut self.asked {
            // A thread that is stuck in the kernel can't be left behind again and again.
            let outcome = late.await;
            self.asked = None;
            self.kernel = outcome.ok().map(|(kernel, _)| kernel);
        }
        let mut kernel = self.kernel.take().unwrap_or_else(&self.open);
        let want = Want { suspicious, known: self.memory.interface().map(str::to_owned) };
        let asked = tokio::task::spawn_blocking(move || {
            let reading = kernel.look(&want);
            (kernel, reading)
        });
        let outcome = self.asked.insert(asked).await;
        self.asked = None;
        match outcome {
            Ok((kernel, reading)) => {
                self.kernel = Some(kernel);
                reading
            }
            Err(error) => {
                tracing::debug!("a look at the network ended early: {error}");
                Reading { sight: Sight::Part, ..Reading::default() }
            }
        }
    }
}
