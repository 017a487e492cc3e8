//! What is asked of the relay, over the uploads' own HTTP client: whether it has an update, and pieces of it.
//! When does not belong here.

use std::time::Duration;

use bytes::Bytes;
use frame::update::{MAX_OFFER, Offer};
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_RANGE, RANGE, RETRY_AFTER,
};
use reqwest::{Response, StatusCode};
use runtime::clock;
use runtime::settings::duration_text;

use super::plan::Said;
use crate::upload::{Http, explained};

/// How long an answer may take to begin, or to go on.
const WITHIN: Duration = Duration::from_secs(15);

/// And all of a piece.
const PIECE_WITHIN: Duration = Duration::from_secs(60);

/// What the relay answers.
#[derive(Debug)]
pub(super) enum Answer {
    Offer(Box<Offer>),
    /// There is none for this camera now.
    Nothing,
    /// Nobody knows of updates there.
    Unknown,
    Failed(NotCame),
}

/// Why something did not come.
#[derive(Debug)]
pub(super) struct NotCame {
    /// One sentence.
    pub why: String,
    /// How long it wants to be left alone.
    pub after: Option<Duration>,
    /// The relay does not have it any more.
    pub gone: bool,
}

impl NotCame {
    fn because(why: impl Into<String>) -> NotCame {
        NotCame { why: why.into(), after: None, gone: false }
    }
}

impl Answer {
    /// What it means for the next time.
    pub(super) fn said(&self) -> Said {
        match self {
            Answer::Offer(_) | Answer::Nothing => Said::Something,
            Answer::Unknown => Said::Unknown,
            Answer::Failed(NotCame { after, .. }) => Said::Failed(*after),
        }
    }
}

/// Asks for an update of this version.
pub(super) async fn ask(relay: &Http, compatible: &str, version: &str) -> Answer {
    let exchange = async {
        relay.learn_time().await;
        let query = [("compatible", compatible), ("version", version)];
        let mut response = relay.get_of_camera("/update", &query).send().await.map_err(failed)?;
        let status = response.status();
        let mut body = Vec::new();
        while body.len() <= MAX_OFFER {
            let Some(chunk) = response.chunk().await.map_err(failed)? else { break };
            body.extend_from_slice(&chunk);
        }
        let body = String::from_utf8_lossy(&body);
        Ok(match status {
            StatusCode::OK => Offer::parse(&body).map_or_else(
                || Answer::Failed(NotCame::because("what the relay offers is no update")),
                |offer| Answer::Offer(Box::new(offer)),
            ),
            StatusCode::NO_CONTENT => Answer::Nothing,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Answer::Unknown,
            _ => Answer::Failed(refused(&response, &body)),
        })
    };
    within(WITHIN, exchange).await.unwrap_or_else(Answer::Failed)
}

/// A file that comes.
#[derive(Debug)]
pub(super) struct Coming {
    response: Response,
    /// What came more than was asked for.
    left: Bytes,
    /// It begins at the file's beginning and goes on to its end, whatever was asked for.
    pub is_whole: bool,
    /// How long the answer took to begin.
    pub head: Duration,
    /// Of this version of the file.
    pub tag: Option<String>,
}

/// A file at the relay: its path, and its length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remote<'a> {
    pub path: &'a str,
    pub bytes: u64,
}

/// Asks for a piece of a file, of the version `tag` if that is known.
pub(super) async fn piece(
    relay: &Http,
    Remote { path, bytes }: Remote<'_>,
    from: u64,
    length: u64,
    tag: Option<&str>,
) -> Result<Coming, NotCame> {
    let began = clock::mono();
    let exchange = async {
        relay.learn_time().await;
        let last = from.saturating_add(length).min(bytes).saturating_sub(1);
        let request = relay.get_of_relay(path).header(RANGE, format!("bytes={from}-{last}"));
        let request = match tag {
            Some(tag) => request.header(IF_RANGE, tag),
            None => request,
        };
        request.send().await.map_err(failed)
    };
    let response = within(WITHIN, exchange).await?;
    let text = |name: HeaderName| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.map(str::to_owned)
    };
    let is_whole = match response.status() {
        StatusCode::PARTIAL_CONTENT => {
            let range = text(CONTENT_RANGE).unwrap_or_default();
            if !is_of(&range, from, bytes) {
                return Err(NotCame::because("the relay sends another part than was asked for"));
            }
            false
        }
        StatusCode::OK => {
            if text(CONTENT_LENGTH).is_some_and(|length| length != bytes.to_string()) {
                return Err(NotCame::because("the relay has another file than it offered"));
            }
            true
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            let gone = NotCame::because("the relay does not have it any more");
            return Err(NotCame { gone: true, ..gone });
        }
        _ => return Err(refused(&response, "")),
    };
    // A weak one does not say that it is the same, byte for byte.
    let tag = text(ETAG).filter(|tag| tag.starts_with('"'));
    let head = clock::mono().since(began);
    Ok(Coming { response, left: Bytes::new(), is_whole, head, tag })
}

impl Coming {
    /// Reads on: up to so many bytes, all there are, or all that came before it failed.
    pub(super) async fn read(&mut self, length: u64) -> (Vec<u8>, Option<NotCame>) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        let reading = async {
            loop {
                let room = length.saturating_sub(bytes.len());
                let taken = self.left.split_to(self.left.len().min(room));
                bytes.extend_from_slice(&taken);
                if !self.left.is_empty() || (self.is_whole && bytes.len() >= length) {
                    return Ok(());
                }
                // After the last byte, too: only what is read to its end leaves its connection to
                // the next one.
                let chunk = async { self.response.chunk().await.map_err(failed) };
                match within(WITHIN, chunk).await? {
                    Some(chunk) => self.left = chunk,
                    None if bytes.is_empty() => return Err(NotCame::because("nothing came")),
                    None => return Ok(()),
                }
            }
        };
        let failed = within(PIECE_WITHIN, reading).await.err();
        (bytes, failed)
    }
}

/// RFC 9110, section 14.4: `bytes 0-99/1234`.
fn is_of(range: &str, from: u64, bytes: u64) -> bool {
    let parsed = || {
        let (part, whole) = range.strip_prefix("bytes ")?.split_once('/')?;
        let (first, _) = part.split_once('-')?;
        Some((first.parse().ok()?, whole))
    };
    parsed().is_some_and(|(first, whole): (u64, &str)| {
        first == from && (whole == "*" || whole.parse() == Ok(bytes))
    })
}

fn refused(response: &Response, body: &str) -> NotCame {
    let status = response.status().as_u16();
    let said = body.lines().next().unwrap_or_default().trim();
    let said = if said.is_empty() || said.starts_with('<') {
        String::new()
    } else {
        format!(": {}", said.chars().take(100).collect::<String>())
    };
    let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    NotCame { why: format!("the relay answers {status}{said}"), after, gone: false }
}

fn failed(error: reqwest::Error) -> NotCame {
    NotCame::because(explained(&error))
}

async fn within<T>(
    time: Duration,
    exchange: impl Future<Output = Result<T, NotCame>>,
) -> Result<T, NotCame> {
    tokio::time::timeout(time, exchange).await.unwrap_or_else(|_| {
        Err(NotCame::because(format!("the relay did not answer within {}", duration_text(time))))
    })
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_range_is_the_one_that_was_asked_for() {
        for (range, from, bytes, right) in [
            ("bytes 0-99/1234", 0, 1234, true),
            ("bytes 100-199/1234", 100, 1234, true),
            ("bytes 100-199/*", 100, 1234, true),
            ("bytes 100-199/1235", 100, 1234, false),
            ("bytes 0-199/1234", 100, 1234, false),
            ("bytes */1234", 0, 1234, false),
            ("", 0, 1234, false),
        ] {
            assert_eq!(is_of(range, from, bytes), right, "{range}");
        }
    }
}
