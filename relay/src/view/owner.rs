//! What only the owner sees, and decides: `/status` and its data, behind a password of its own.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use frame::CameraId;
use frame::report::Report;
use futures_util::Stream;
use headers::authorization::{Authorization, Basic};
use headers::{HeaderMap, HeaderMapExt};
use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::uri::Authority;
use http::{StatusCode, Uri};
use ladder::Mono;
use runtime::secret::Secret;
use serde::{Deserialize, Serialize};
use warp::Buf;

use crate::board::{AGES_STEP, Camera};
use crate::ingest::body;
use crate::password::Padded;
use crate::rate::Rate;
use crate::respond::{self, Response};
use crate::routes::Site;
use crate::status::{self, millis};
use crate::updates::{Channel, Known, Published, Rejection, Wish};

/// Wrong passwords in a second, of everybody together: a person's mistakes, and no more.
const MAX_GUESSES: u32 = 5;

/// Longest body of a decision, and how long it may take to come.
const MAX_DECISION: usize = 1 << 10;
const DECISION_WITHIN: Duration = Duration::from_secs(10);

/// As long as there is no password.
const OFF: &str = "the owner's page is off: set owner.password_file, or give the unit the systemd \
                   credential \"owner-password\"";

/// The owner's password, and who may try.
#[derive(Debug)]
pub(crate) struct Owner {
    password: Option<Padded>,
    guesses: Mutex<Rate>,
    /// Where the pages are, if the configuration says.
    url: Option<String>,
}

impl Owner {
    pub(crate) fn new(password: Option<&Secret>, url: Option<&str>) -> Owner {
        let password = password.and_then(|password| Padded::new(password.expose()));
        Owner { password, guesses: Mutex::default(), url: url.map(str::to_owned) }
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

/// Whether a request that changes something is sent by the relay's own page, or by no browser at all: browsers send the
/// owner's password along with what other sites' pages ask for. Pure.
fn is_own(headers: &HeaderMap, url: Option<&str>) -> bool {
    // Not over plain HTTP, except from the same machine.
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let authority = |text: &str| text.parse::<Uri>().ok()?.into_parts().authority;
    let Some(origin) = origin.to_str().ok().and_then(authority) else { return false };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    // A proxy may ask for another host than the browser did.
    let own = [host, url.and_then(authority)];
    own.into_iter().flatten().any(|own| own == origin)
}

/// What the owner's page sends, as JSON or as a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Act {
    Start,
    Hold,
    Release,
}

#[derive(Deserialize)]
struct Decision {
    #[serde(rename = "do")]
    act: Act,
}

impl Act {
    fn read(headers: &HeaderMap, body: &[u8]) -> Option<Act> {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("application/json")) {
            return serde_json::from_slice(body).ok().map(|Decision { act }| act);
        }
        let (_, act) = form_urlencoded::parse(body).find(|(name, _)| name == "do")?;
        match &*act {
            "start" => Some(Act::Start),
            "hold" => Some(Act::Hold),
            "release" => Some(Act::Release),
            _ => None,
        }
    }
}

/// `POST /status/cameras/ID/update`: which updates a camera gets.
pub(crate) async fn decide<B: Buf>(
    site: &Site,
    id: &CameraId,
    headers: &HeaderMap,
    body: impl Stream<Item = Result<B, warp::Error>>,
    fully_read: impl FnOnce(),
) -> Response {
    if let Err(refused) = site.owner.admit(headers, runtime::clock::mono()) {
        return *refused;
    }
    if !is_own(headers, site.owner.url.as_deref()) {
        let line = "another site's page may not do this; if it is the relay's own, behind a proxy, set site.url";
        return respond::line(StatusCode::FORBIDDEN, line);
    }
    if site.board.find(id).is_none() {
        return respond::not_found(&format!("there is no camera {id} here"));
    }
    let Ok(body) = body::read(body, None, MAX_DECISION, DECISION_WITHIN).await else {
        return respond::line(StatusCode::BAD_REQUEST, "too long, or it did not come");
    };
    fully_read();
    let wish = match Act::read(headers, &body) {
        Some(Act::Start) => Some(Wish::Start),
        Some(Act::Hold) => Some(Wish::Hold),
        Some(Act::Release) => None,
        None => {
            let line = "do has to be start, hold or release";
            return respond::line(StatusCode::BAD_REQUEST, line);
        }
    };
    match site.updates.decide(id, wish).await {
        Ok(()) => {
            let does = match wish {
                Some(Wish::Start) => "starts the newest update of",
                Some(Wish::Hold) => "holds updates of",
                None => "releases updates of",
            };
            tracing::info!(camera = %id, "the owner {does} camera {id}");
            respond::empty(StatusCode::NO_CONTENT)
        }
        Err(why) => respond::later(&why),
    }
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    status: status::Status,
    history_step_ms: u64,
    /// In the order of `cameras`.
    owner: Vec<CameraData>,
    updates: UpdatesData<'a>,
}

#[derive(Serialize)]
struct UpdatesData<'a> {
    /// Why what follows may be old.
    problem: Option<&'a str>,
    published: &'a [Published],
}

/// What decides which updates a camera gets.
#[derive(Serialize)]
struct UpdateData {
    channel: Channel,
    wish: Option<Wish>,
    rejected: Option<Rejection>,
}

#[derive(Serialize)]
struct CameraData {
    title: Option<String>,
    /// Greatest age in each step of the last hour, oldest first.
    history_ms: Vec<Option<u64>>,
    report: Option<Report>,
    report_age_ms: Option<u64>,
    update: UpdateData,
}

/// `/status/cameras.json`: `/status.json`, and what the owner alone may know.
pub(crate) fn data(site: &Site, now: Mono) -> Response {
    let (cameras, known) = (site.board.all(), site.updates.known());
    let data = Data {
        status: status::all(site, &cameras, now),
        history_step_ms: millis(AGES_STEP),
        owner: cameras.iter().map(|camera| camera_data(site, camera, &known, now)).collect(),
        updates: UpdatesData {
            problem: known.problem.as_deref(),
            published: &known.index.published,
        },
    };
    respond::json(StatusCode::OK, &data)
}

fn camera_data(site: &Site, camera: &Camera, known: &Known, now: Mono) -> CameraData {
    let report = camera.report();
    let mut standing = known.standings.of(&camera.id);
    let update = UpdateData {
        channel: site.updates.channel(&camera.id),
        wish: standing.wish,
        rejected: standing.rejected.pop(),
    };
    CameraData {
        update,
        title: camera.title.clone(),
        history_ms: camera.ages(now).into_iter().map(|age| age.map(millis)).collect(),
        report_age_ms: report.as_ref().map(|(_, at)| millis(now.since(*at))),
        report: report.map(|(report, _)| Report::clone(&report)),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        all.iter().map(pair).collect()
    }

    #[test]
    fn other_sites_pages_decide_nothing() {
        let url = Some("https://cam.example.org/garden/");
        let host = ("host", "192.0.2.1:5000");
        for (sent, own) in [
            (&[host][..], true),
            (&[host, ("sec-fetch-site", "same-origin")], true),
            (&[host, ("sec-fetch-site", "same-site")], false),
            (&[host, ("sec-fetch-site", "cross-site")], false),
            (&[host, ("sec-fetch-site", "none")], false),
            (&[host, ("origin", "http://192.0.2.1:5000")], true),
            (&[host, ("origin", "http://192.0.2.1:5000"), ("sec-fetch-site", "cross-site")], false),
            (&[host, ("origin", "https://cam.example.org")], true),
            (&[host, ("origin", "https://cam.example.org.evil.net")], false),
            (&[host, ("origin", "http://192.0.2.1")], false),
            (&[host, ("origin", "null")], false),
            (&[("origin", "https://evil.net")], false),
        ] {
            assert_eq!(is_own(&headers(sent), url), own, "{sent:?}");
        }
    }

    #[test]
    fn what_is_decided() {
        let json = headers(&[("content-type", "application/json; charset=utf-8")]);
        let form = headers(&[("content-type", "application/x-www-form-urlencoded")]);
        for (headers, body, act) in [
            (&json, r#"{"do":"start"}"#, Some(Act::Start)),
            (&json, r#"{"do":"release","more":1}"#, Some(Act::Release)),
            (&json, "do=start", None),
            (&json, r#"{"do":"evil"}"#, None),
            (&form, "a=b&do=hold", Some(Act::Hold)),
            (&form, r#"{"do":"start"}"#, None),
            (&form, "do=Start", None),
            (&form, "", None),
        ] {
            assert_eq!(Act::read(headers, body.as_bytes()), act, "{body}");
        }
    }
}
