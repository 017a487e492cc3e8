//! Log lines about refused uploads: bounded, however often and by whomever they are sent.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use frame::CameraId;
use ladder::{Entered, Episode};
use runtime::clock::mono;
use runtime::event::{About, Event};
use runtime::settings::duration_text;

use super::Refusal;
use crate::board::Refused;

/// Whose events these are.
const ORGAN: &str = "upload";

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
            let line = &refusal.line;
            let about = about(None, peer, refusal.why, entered);
            Event::UploadsRefused
                .say(about, format_args!("a question for updates from {peer} refused: {line}"));
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
        let entered = if matches!(why, Refused::Password | Refused::Token | Refused::Throttled) {
            lock(&self.strangers).enter(now, peer)
        } else if known_camera {
            let mut cameras = lock(&self.cameras);
            let fresh = || Episode::new(SPACING);
            cameras.entry(camera.clone()).or_insert_with(fresh).enter(now, why)
        } else {
            lock(&self.others).enter(now, why)
        };
        if let Some(entered) = entered {
            let line = &refusal.line;
            Event::UploadsRefused.say(
                about(Some(camera), peer, why, entered),
                format_args!("camera {camera}: upload from {peer} refused: {line}"),
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
            let about = About { organ: ORGAN, age: Some(lasted), ..About::camera(camera.as_str()) };
            let lasted = duration_text(Duration::from_secs(lasted.as_secs()));
            Event::UploadsAgain.say(
                about,
                format_args!("camera {camera}: uploads are accepted again after {lasted}"),
            );
        }
    }
}

fn about(camera: Option<&CameraId>, peer: IpAddr, why: Refused, entered: Entered) -> About<'_> {
    About {
        camera: camera.map(CameraId::as_str),
        peer: Some(peer),
        reason: Some(why.word()),
        failures: Some(entered.failures),
        ..About::organ(ORGAN)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
