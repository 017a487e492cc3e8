//! Log lines about refused uploads: bounded, however often and by whomever they are sent.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use frame::CameraId;
use ladder::Episode;
use runtime::clock::mono;
use runtime::settings::duration_text;

use super::Refusal;
use crate::board::Refused;

/// At most one line about each kind of trouble in this time.
const SPACING: Duration = Duration::from_secs(60);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Journal {
    /// Wrong passwords; the cause is who sent them.
    strangers: Mutex<Episode<IpAddr>>,
    /// Refusals of cameras that exist, so there are only so many.
    cameras: Mutex<BTreeMap<CameraId, Episode<Refused>>>,
    /// Refusals for all others.
    others: Mutex<Episode<Refused>>,
}

impl Default for Journal {
    fn default() -> Self {
        Journal {
            strangers: Mutex::new(Episode::new(SPACING)),
            cameras: Mutex::default(),
            others: Mutex::new(Episode::new(SPACING)),
        }
    }
}

impl Journal {
    /// Somebody wanted an update without a camera's password.
    pub(super) fn refused_update(&self, peer: IpAddr, refusal: &Refusal) {
        if let Some(entered) = lock(&self.strangers).enter(mono(), peer) {
            let (line, failures) = (&refusal.line, entered.failures);
            tracing::warn!(
                %peer, reason = refusal.why.word(), failures,
                "a question for updates from {peer} refused: {line}"
            );
        }
    }

    pub(super) fn refused(
        &self,
        camera: &CameraId,
        peer: IpAddr,
        known_camera: bool,
        refusal: &Refusal,
    ) {
        let (now, why) = (mono(), refusal.why);
        let entered = if matches!(why, Refused::Password | Refused::Token) {
            lock(&self.strangers).enter(now, peer)
        } else if known_camera {
            let mut cameras = lock(&self.cameras);
            let fresh = || Episode::new(SPACING);
            cameras.entry(camera.clone()).or_insert_with(fresh).enter(now, why)
        } else {
            lock(&self.others).enter(now, why)
        };
        if let Some(entered) = entered {
            let (line, failures) = (&refusal.line, entered.failures);
            tracing::warn!(
                %camera, %peer, reason = why.word(), failures,
                "camera {camera}: upload from {peer} refused: {line}"
            );
        }
    }

    /// Somebody knew the password: whoever gets it wrong after this is news again.
    pub(super) fn authorised(&self) {
        lock(&self.strangers).leave(mono());
    }

    pub(super) fn accepted(&self, camera: &CameraId) {
        lock(&self.others).leave(mono());
        let lasted = lock(&self.cameras).get_mut(camera).and_then(|episode| episode.leave(mono()));
        if let Some(lasted) = lasted {
            let lasted = duration_text(Duration::from_secs(lasted.as_secs()));
            tracing::info!(%camera, "camera {camera}: uploads are accepted again after {lasted}");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
