//! What only the owner sees, and decides: `/status` and its data, behind a password of its own.

use std::net::IpAddr;
use std::time::Duration;

use frame::CameraId;
use frame::report::Report;
use futures_util::Stream;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap};
use ladder::Mono;
use serde::{Deserialize, Serialize};
use warp::Buf;

use crate::board::{AGES_STEP, Camera};
use crate::ingest::body;
use crate::respond::{self, Response};
use crate::routes::Site;
use crate::status::{self, millis};
use crate::updates::{Channel, Known, Published, Rejection, Wish};

/// Longest body of a decision, and how long it may take to come.
const MAX_DECISION: usize = 1 << 10;
const DECISION_WITHIN: Duration = Duration::from_secs(10);

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
    (headers, peer): (&HeaderMap, IpAddr),
    body: impl Stream<Item = Result<B, warp::Error>>,
    fully_read: impl FnOnce(),
) -> Response {
    if let Err(refused) = site.access.owner(headers, peer).await {
        return *refused;
    }
    // Browsers send the owner's password along with what other sites' pages ask for.
    if !site.access.hosts.is_own(headers) {
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
