//! What only the owner sees: `/status` and its data, behind a password of its own.

use std::sync::{Mutex, PoisonError};

use frame::report::Report;
use headers::authorization::{Authorization, Basic};
use headers::{HeaderMap, HeaderMapExt};
use http::StatusCode;
use ladder::Mono;
use runtime::secret::Secret;
use serde::Serialize;

use crate::board::{AGES_STEP, Camera};
use crate::password::Padded;
use crate::rate::Rate;
use crate::respond::{self, Response};
use crate::routes::Site;
use crate::status::{self, millis};

/// Wrong passwords in a second, of everybody together: a person's mistakes, and no more.
const MAX_GUESSES: u32 = 5;

/// As long as there is no password.
const OFF: &str = "the owner's page is off: set owner.password_file, or give the unit the systemd \
                   credential \"owner-password\"";

/// The owner's password, and who may try.
#[derive(Debug)]
pub(crate) struct Owner {
    password: Option<Padded>,
    guesses: Mutex<Rate>,
}

impl Owner {
    pub(crate) fn new(password: Option<&Secret>) -> Owner {
        let password = password.and_then(|password| Padded::new(password.expose()));
        Owner { password, guesses: Mutex::default() }
    }

    /// Whether a request comes from the owner; the user's name does not matter.
    ///
    /// # Errors
    /// The answer for whoever it is from.
    pub(crate) fn admit(&self, headers: &HeaderMap, now: Mono) -> Result<(), Box<Response>> {
        let Some(password) = &self.password else {
            return Err(Box::new(respond::not_found(OFF)));
        };
        let Some(Authorization(given)) = headers.typed_get::<Authorization<Basic>>() else {
            return Err(Box::new(respond::unauthorised("the owner's password is asked for")));
        };
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        // Before it is compared: or else guessing would go on as fast as the network is.
        if !guesses.is_free(now, MAX_GUESSES) {
            let line = "too many wrong passwords";
            let response = respond::line(StatusCode::TOO_MANY_REQUESTS, line);
            return Err(Box::new(respond::retry(response)));
        }
        if password.is(given.password()) {
            return Ok(());
        }
        guesses.take(now, MAX_GUESSES);
        tracing::warn!("a wrong password for the owner's page /status");
        Err(Box::new(respond::unauthorised("this is not the owner's password")))
    }
}

#[derive(Serialize)]
struct Data {
    #[serde(flatten)]
    status: status::Status,
    history_step_ms: u64,
    /// In the order of `cameras`.
    owner: Vec<CameraData>,
}

#[derive(Serialize)]
struct CameraData {
    title: Option<String>,
    /// Greatest age in each step of the last hour, oldest first.
    history_ms: Vec<Option<u64>>,
    report: Option<Report>,
    report_age_ms: Option<u64>,
}

/// `/status/cameras.json`: `/status.json`, and what the owner alone may know.
pub(crate) fn data(site: &Site, now: Mono) -> Response {
    let cameras = site.board.all();
    let data = Data {
        status: status::all(site, &cameras, now),
        history_step_ms: millis(AGES_STEP),
        owner: cameras.iter().map(|camera| camera_data(camera, now)).collect(),
    };
    respond::json(StatusCode::OK, &data)
}

fn camera_data(camera: &Camera, now: Mono) -> CameraData {
    let report = camera.report();
    CameraData {
        title: camera.title.clone(),
        history_ms: camera.ages(now).into_iter().map(|age| age.map(millis)).collect(),
        report_age_ms: report.as_ref().map(|(_, at)| millis(now.since(*at))),
        report: report.map(|(report, _)| Report::clone(&report)),
    }
}
