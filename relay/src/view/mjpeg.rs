//! `live.mjpeg`: `multipart/x-mixed-replace`, a part for each frame, until the viewer goes.
//!
//! Each part but a Blink browser's says its length, so that a client never has to search for the
//! boundary, and each is followed by the next boundary at once, so that one that does search has the
//! picture without waiting for the next. Blink draws a part only when the *head* of the next one has
//! come, so for it the next head is sent ahead, without a length, which it does not need: a client
//! that showed the last picture one frame late would break the promise of this program.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use runtime::clock;
use tokio::sync::watch;
use warp::Reply;
use web::serve::Wire;

use super::pace::{Pace, Progress};
use crate::access::viewing::Permit;
use crate::board::{BOUNDARY, Camera, Held, OPEN_HEAD, Size, Watched};
use crate::metrics::Kind;
use crate::respond::Response;
use crate::scale::Scaler;

/// How often a viewer that has not taken its last frame is looked at again.
const AGAIN: Duration = Duration::from_millis(20);

/// One viewer of one stream.
struct Viewer {
    camera: Arc<Camera>,
    frames: watch::Receiver<Option<Arc<Held>>>,
    scaler: Scaler,
    size: Option<Size>,
    wire: Arc<Wire>,
    /// It may be seen for so long.
    permit: Permit,
    /// A viewer that takes nothing for so long is gone, or might as well be.
    timeout: Duration,
    pace: Pace,
    /// The next part's head was sent ahead.
    blink: bool,
    begun: bool,
    /// The number of the last frame sent.
    last: Option<u64>,
    _watching: Watched,
}

/// A stream's head, as `HEAD` gets it.
pub(crate) fn head() -> Response {
    dressed(crate::respond::empty(http::StatusCode::OK))
}

/// Answers with a stream of a camera's frames.
pub(crate) fn answer(
    camera: &Arc<Camera>,
    scaler: &Scaler,
    size: Option<Size>,
    headers: &HeaderMap,
    (wire, timeout): (&Arc<Wire>, Duration),
    permit: Permit,
) -> Response {
    let mut frames = camera.frames();
    frames.mark_changed();
    let viewer = Viewer {
        camera: Arc::clone(camera),
        frames,
        scaler: scaler.clone(),
        size,
        wire: Arc::clone(wire),
        permit,
        timeout,
        pace: Pace::default(),
        blink: is_blink(headers) && !reads_parts(headers),
        begun: false,
        last: None,
        _watching: camera.watched(camera.counts.out(Kind::Mjpeg)),
    };
    let parts = stream::unfold(viewer, |mut viewer| async move {
        let part = viewer.next().await?;
        Some((Ok::<Bytes, io::Error>(part), viewer))
    });
    dressed(warp::reply::stream(parts).into_response())
}

fn dressed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.remove(http::header::CONTENT_LENGTH);
    let kind = format!("multipart/x-mixed-replace; boundary={BOUNDARY}");
    // The boundary is a plain word.
    let kind = HeaderValue::try_from(kind).unwrap_or(HeaderValue::from_static("multipart/mixed"));
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would collect frames before it passes them on.
    let (name, no) = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    headers.insert(name, no);
    response
}

/// A script that takes the stream apart says so, and wants every part's head.
fn reads_parts(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.contains("multipart/x-mixed-replace")
}

/// Chromium and what is built on it; the header is the same in all of them.
fn is_blink(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    agent.contains("Chrome/")
}

impl Viewer {
    /// The next bytes; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.begun {
            self.begun = true;
            // Not an old picture first, if the newest is elsewhere.
            self.camera.fetched().await;
            let open = if self.blink { OPEN_HEAD } else { "" };
            return Some(Bytes::from(format!("--{BOUNDARY}\r\n{open}")));
        }
        loop {
            tokio::select! {
                changed = self.frames.changed() => changed.ok()?,
                () = self.permit.ended() => return None,
            }
            self.clear().await?;
            if self.camera.is_closing() || !self.permit.holds() {
                return None;
            }
            // The newest by now, not the one that woke us.
            let Some(held) = self.frames.borrow_and_update().clone() else { continue };
            if self.last == Some(held.number) {
                continue;
            }
            // Without a picture in this size there is nothing to show; the next frame may have one.
            let Ok(rendition) = self.scaler.get(&self.camera, &held, self.size).await else {
                continue;
            };
            let part = rendition.part();
            let part = if self.blink { &part.open } else { &part.sized };
            let out = self.camera.counts.out(Kind::Mjpeg);
            let now = clock::mono();
            out.sent(part.len(), held.age(now));
            out.skipped.inc_by(held.skipped_since(self.last));
            self.last = Some(held.number);
            self.pace.handed(now);
            self.wire.begin();
            return Some(part.clone());
        }
    }

    /// Waits until the viewer has taken what was sent before; `None` if it takes nothing.
    async fn clear(&mut self) -> Option<()> {
        let began = clock::mono();
        let flushed = tokio::time::timeout(self.timeout, self.wire.flushed()).await;
        if flushed.is_ok() {
            loop {
                let queue = self.wire.queue();
                let progress = Progress {
                    written: self.wire.written(),
                    unacknowledged: queue.unacknowledged.into(),
                    unsent: queue.unsent.into(),
                };
                let now = clock::mono();
                if self.pace.may_send(now, progress) {
                    return Some(());
                }
                if now.since(began) > self.timeout {
                    break;
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
        self.camera.counts.dropped.with_label_values(&["mjpeg", "stalled"]).inc();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_browsers_are_blink() {
        for (agent, blink) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
                true,
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/131.0.0.0 Safari/537.36",
                true,
            ),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", false),
            (
                "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15",
                false,
            ),
            ("curl/7.88.1", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(USER_AGENT, HeaderValue::from_str(agent).unwrap());
            assert_eq!(is_blink(&headers), blink, "{agent}");
        }
    }
}
