//! `GET /updates/SHA256.raucb`, `.blocks`: a bundle or the list of its blocks, or what is left of it, in pieces, at a pace that leaves the link to pictures.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use frame::blocks::list_bytes;
use frame::version::Version;
use futures_util::stream;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderValue, IF_RANGE, RANGE, RETRY_AFTER,
};
use http::{Method, StatusCode};
use ladder::Mono;
use runtime::clock;
use tokio::sync::OwnedSemaphorePermit;
use warp::Reply;

use super::Updates;
use super::folder::Folder;
use super::index::Published;
use super::pace::piece;
use crate::data::on_disk;
use crate::respond::{self, Response};

/// Who is not done by then comes again for the rest: a place is nobody's for ever.
const LONGEST: Duration = Duration::from_secs(3_600);

/// When to come again while all places are taken.
const BUSY_FOR: &str = "60";

/// What of a file is asked for. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    /// From here up to, and without, there.
    From(u64, u64),
    /// It begins behind the end.
    None,
}

impl Part {
    /// RFC 9110, 14.2, as far as a download that goes on needs it: one range with a beginning. All else asks for all,
    /// as it may.
    fn of(headers: &HeaderMap, etag: &HeaderValue, bytes: u64) -> Part {
        let text = headers.get(RANGE).and_then(|value| value.to_str().ok());
        let range = text.and_then(|text| text.strip_prefix("bytes="));
        let same = headers.get(IF_RANGE).is_none_or(|known| known == etag);
        let Some((from, to)) = range.filter(|_| same).and_then(|range| range.split_once('-'))
        else {
            return Part::All;
        };
        let end =
            if to.is_empty() { Some(bytes) } else { number(to).map(|to| to.saturating_add(1)) };
        match (number(from), end) {
            (Some(from), Some(end)) if from < end || to.is_empty() => {
                if from < bytes {
                    Part::From(from, end.min(bytes))
                } else {
                    Part::None
                }
            }
            _ => Part::All,
        }
    }
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// One download.
struct Transfer {
    updates: Arc<Updates>,
    file: Arc<File>,
    at: u64,
    end: u64,
    begun: Mono,
    outcome: Option<&'static str>,
    _place: OwnedSemaphorePermit,
}

/// A file of a published update.
#[derive(Debug)]
pub(crate) struct Served {
    path: PathBuf,
    bytes: u64,
    etag: HeaderValue,
    version: Version,
}

impl Served {
    /// The bundle itself.
    pub(crate) fn bundle(folder: &Folder, update: &Published) -> Served {
        Served {
            path: folder.bundle(&update.sha256),
            bytes: update.bytes,
            etag: etag(&update.sha256),
            version: update.version.clone(),
        }
    }

    /// The list of its blocks.
    pub(crate) fn blocks(folder: &Folder, update: &Published) -> Served {
        Served {
            path: folder.blocks(&update.sha256),
            bytes: list_bytes(update.bytes),
            etag: etag(&format!("{}.blocks", update.sha256)),
            version: update.version.clone(),
        }
    }
}

fn etag(text: &str) -> HeaderValue {
    // It is hexadecimal.
    HeaderValue::try_from(format!("\"{text}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Answers for one.
pub(super) async fn answer(
    updates: &Arc<Updates>,
    served: Served,
    method: &Method,
    headers: &HeaderMap,
) -> Response {
    let Served { path, bytes, etag, version } = served;
    if respond::is_known(headers, &etag) {
        return dressed(respond::not_modified(), &etag);
    }
    let part = Part::of(headers, &etag, bytes);
    let (status, from, end) = match part {
        Part::All => (StatusCode::OK, 0, bytes),
        Part::From(from, end) => (StatusCode::PARTIAL_CONTENT, from, end),
        Part::None => return beyond(bytes, &etag),
    };
    let body = if *method == Method::HEAD {
        respond::empty(status)
    } else {
        let Ok(place) = Arc::clone(&updates.places).try_acquire_owned() else {
            updates.counts.downloads.with_label_values(&["busy"]).inc();
            let mut busy = respond::later("as many updates as may be are being downloaded");
            respond::set(&mut busy, RETRY_AFTER, BUSY_FOR);
            return busy;
        };
        let named = path.display().to_string();
        match open(path, bytes).await {
            Ok(file) => stream_of(Transfer {
                updates: Arc::clone(updates),
                file: Arc::new(file),
                at: from,
                end,
                begun: clock::mono(),
                outcome: None,
                _place: place,
            }),
            Err(error) => {
                tracing::error!("update {version}: {named}: {error}");
                return respond::later("the update's file can't be read; the relay's log says why");
            }
        }
    };
    let mut response = dressed(body, &etag);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_LENGTH, (end - from).into());
    if let Part::From(from, end) = part {
        content_range(&mut response, &format!("bytes {from}-{}/{bytes}", end.saturating_sub(1)));
    }
    response
}

fn beyond(bytes: u64, etag: &HeaderValue) -> Response {
    let line = "the range begins behind the end";
    let mut response = dressed(respond::line(StatusCode::RANGE_NOT_SATISFIABLE, line), etag);
    respond::set(&mut response, CONTENT_TYPE, "text/plain; charset=utf-8");
    content_range(&mut response, &format!("bytes */{bytes}"));
    response
}

fn content_range(response: &mut Response, range: &str) {
    if let Ok(range) = HeaderValue::try_from(range) {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
}

fn dressed(mut response: Response, etag: &HeaderValue) -> Response {
    response.headers_mut().insert(ETAG, etag.clone());
    respond::set(&mut response, ACCEPT_RANGES, "bytes");
    respond::set(&mut response, CONTENT_TYPE, "application/octet-stream");
    // Its name is its content. For cameras alone: a cache on the way would ask nobody for a password.
    respond::set(&mut response, CACHE_CONTROL, "private, max-age=31536000, immutable");
    response
}

/// Opens the file, if it is as long as it should be.
async fn open(path: PathBuf, bytes: u64) -> io::Result<File> {
    on_disk(move || {
        let file = File::open(path)?;
        let found = file.metadata()?.len();
        if found == bytes {
            return Ok(file);
        }
        Err(io::Error::other(format!("it has {found} bytes instead of {bytes}; add it again")))
    })
    .await
}

fn stream_of(transfer: Transfer) -> Response {
    transfer.updates.counts.downloading.inc();
    let pieces = stream::unfold(transfer, |mut transfer| async move {
        let piece = transfer.next().await?;
        Some((piece, transfer))
    });
    warp::reply::stream(pieces).into_response()
}

impl Transfer {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.at >= self.end {
            self.outcome.get_or_insert("done");
            return None;
        }
        let sent = self.piece().await;
        if sent.is_err() {
            // What the peer was promised does not come: hyper closes the connection.
            self.outcome.get_or_insert("cut");
            self.end = self.at;
        }
        Some(sent)
    }

    async fn piece(&mut self) -> io::Result<Bytes> {
        let now = clock::mono();
        if now.since(self.begun) > LONGEST {
            self.outcome = Some("too_slow");
            return Err(io::ErrorKind::TimedOut.into());
        }
        let length = piece(self.updates.max_rate).min(self.end - self.at);
        let wait = {
            let mut pace = self.updates.pace.lock().unwrap_or_else(PoisonError::into_inner);
            pace.reserve(now, length, self.updates.max_rate)
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.updates.board.closed() => return Err(io::ErrorKind::Interrupted.into()),
        }
        let (file, at) = (Arc::clone(&self.file), self.at);
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        let read = on_disk(move || file.read_exact_at(&mut buffer, at).map(|()| buffer)).await;
        let buffer =
            read.inspect_err(|error| tracing::error!("an update can't be read: {error}"))?;
        self.at += length;
        self.updates.counts.sent_bytes.inc_by(length);
        Ok(Bytes::from(buffer))
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let counts = &self.updates.counts;
        counts.downloading.dec();
        // hyper does not ask for more than it was told there is.
        let whole = self.at >= self.end && self.outcome.is_none();
        let outcome = self.outcome.unwrap_or(if whole { "done" } else { "cut" });
        counts.downloads.with_label_values(&[outcome]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(range: &str, if_range: &str) -> Part {
        let mut headers = HeaderMap::new();
        for (name, value) in [(RANGE, range), (IF_RANGE, if_range)] {
            if !value.is_empty() {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
        }
        Part::of(&headers, &HeaderValue::from_static("\"0f\""), 1_000)
    }

    #[test]
    fn ranges() {
        for (range, expected) in [
            ("", Part::All),
            ("bytes=0-", Part::From(0, 1_000)),
            ("bytes=999-", Part::From(999, 1_000)),
            ("bytes=1000-", Part::None),
            ("bytes=1000-2000", Part::None),
            ("bytes=0-0", Part::From(0, 1)),
            ("bytes=10-19", Part::From(10, 20)),
            ("bytes=10-18446744073709551615", Part::From(10, 1_000)),
            ("bytes=19-10", Part::All),
            ("bytes=-10", Part::All),
            ("bytes=-", Part::All),
            ("bytes=+1-", Part::All),
            ("bytes= 1-", Part::All),
            ("bytes=1-5,7-9", Part::All),
            ("bytes=18446744073709551616-", Part::All),
            ("lines=1-", Part::All),
            ("Bytes=1-", Part::All),
        ] {
            assert_eq!(part(range, ""), expected, "{range}");
        }
        assert_eq!(part("bytes=10-", "\"0f\""), Part::From(10, 1_000));
        assert_eq!(part("bytes=10-", "\"aa\""), Part::All);
        assert_eq!(part("bytes=10-", "W/\"0f\""), Part::All);
    }
}
