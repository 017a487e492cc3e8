//! `live.jpeg`: the newest frame, byte for byte as it was uploaded, and how old it is.
//!
//! The default is to show the last frame whatever its age, and to say its age; `?max_age=SECONDS`
//! asks for none rather than an older one.

use std::time::Duration;

use bytes::Bytes;
use frame::wire;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue};
use ladder::Mono;
use web::freshness::State;

use crate::board::{Camera, NotScaled, Rendition, Size};
use crate::metrics::Kind;
use crate::respond::{self, Response};
use crate::scale::Scaler;
use crate::status::millis;
use crate::view::caching::{SharedCache, is_cdn};

/// Shown before the first frame.
const NO_PICTURE_YET: &[u8] = include_bytes!("../../../crates/web/assets/no-picture-yet.jpeg");

/// Answers a request for a camera's newest frame.
pub(crate) async fn answer(
    camera: &Camera,
    scaler: &Scaler,
    size: Option<Size>,
    request: (&str, &HeaderMap),
    cache: &SharedCache,
    now: Mono,
) -> Response {
    let (query, headers) = request;
    let max_age = match max_age(query) {
        Ok(max_age) => max_age,
        Err(line) => return respond::line(StatusCode::BAD_REQUEST, line),
    };
    camera.asked(now);
    let now = if camera.fetched().await { runtime::clock::mono() } else { now };
    let state = camera.picture_state(now);
    let Some(held) = camera.newest() else {
        let picture = Bytes::from_static(NO_PICTURE_YET);
        let mut response = respond::answer(StatusCode::SERVICE_UNAVAILABLE, "image/jpeg", picture);
        mark(&mut response, State::Empty);
        return respond::retry(response);
    };
    let age = held.age(now);
    if max_age.is_some_and(|max_age| age > max_age) {
        let line = format!("the newest picture is {:.1} s old", age.as_secs_f64());
        let mut response = respond::later(&line);
        for name in [wire::CAPTURED_AT, wire::SEQ, wire::TIME_SOURCE] {
            if let Some(value) = held.full.headers.get(name) {
                response.headers_mut().insert(HeaderName::from_static(name), value.clone());
            }
        }
        aged(&mut response, camera, state, age, now);
        return response;
    }
    let rendition = match scaler.get(camera, &held, size).await {
        Ok(rendition) => rendition,
        Err(why @ NotScaled::Impossible) => {
            return respond::line(StatusCode::UNPROCESSABLE_ENTITY, why.line());
        }
        Err(why @ (NotScaled::Busy | NotScaled::TooManySizes)) => {
            return respond::later(why.line());
        }
    };
    let mut response = whole_or_unchanged(&rendition, headers);
    cache.say(max_age.is_some(), response.headers_mut());
    aged(&mut response, camera, state, age, now);
    if response.status() == StatusCode::OK {
        camera.counts.out(Kind::Still).sent(rendition.jpeg.len(), age);
    }
    response
}

fn whole_or_unchanged(held: &Rendition, headers: &HeaderMap) -> Response {
    let known = !is_cdn(headers)
        && held.headers.get(ETAG).is_some_and(|etag| respond::is_known(headers, etag));
    let mut response = if known {
        respond::empty(StatusCode::NOT_MODIFIED)
    } else {
        respond::answer(StatusCode::OK, "", held.jpeg.clone())
    };
    response.headers_mut().extend(held.headers.clone());
    if known {
        // They describe a body, and there is none.
        response.headers_mut().remove(CONTENT_TYPE);
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}

fn aged(response: &mut Response, camera: &Camera, state: State, age: Duration, now: Mono) {
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static(wire::AGE_MS), millis(age).into());
    if state == State::Frozen
        && let Some(unchanged) = camera.unchanged(now)
    {
        headers.insert(HeaderName::from_static(wire::UNCHANGED_MS), millis(unchanged).into());
    }
    mark(response, state);
}

fn mark(response: &mut Response, state: State) {
    let name = HeaderName::from_static(wire::STATE);
    response.headers_mut().insert(name, HeaderValue::from_static(state.word()));
}

/// `max_age` of a query; anything else in it only defeats caches.
fn max_age(query: &str) -> Result<Option<Duration>, &'static str> {
    let Some((_, text)) =
        form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "max_age")
    else {
        return Ok(None);
    };
    let seconds = text.parse::<f64>().ok();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.map(Some).ok_or("max_age has to be a number of seconds, such as max_age=2.5")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_max_age_matters_in_a_query() {
        let seconds = |s| Ok(Some(Duration::from_secs_f64(s)));
        for (query, expected) in [
            ("", Ok(None)),
            ("1552907804662", Ok(None)),
            ("_=1&x=max_age", Ok(None)),
            ("max_age=10", seconds(10.0)),
            ("x&max_age=0.25&max_age=9", seconds(0.25)),
            ("max_age=0", seconds(0.0)),
        ] {
            assert_eq!(max_age(query), expected, "{query}");
        }
        for query in
            ["max_age", "max_age=", "max_age=ten", "max_age=-1", "max_age=nan", "max_age=inf"]
        {
            assert!(max_age(query).is_err(), "{query}");
        }
    }
}
