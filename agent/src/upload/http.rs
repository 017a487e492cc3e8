//! Uploads by HTTP POST, as the tutorial's `camera.py` does it: the JPEG as body, the password in
//! the query. One connection, kept open between frames.

use std::error::Error;
use std::time::Duration;

use frame::report::{REPORT, Report};
use frame::{Frame, wire};
use reqwest::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, redirect};
use runtime::secret::Secret;
use url::Url;

use super::outcome::{Answer, Failure, judge};
use crate::config::UploadConfig;

/// How much of an answer's body is read: enough for a line, and to find a web page out.
const MAX_ANSWER: usize = 4 << 10;

/// The client can't be made.
#[derive(Debug, thiserror::Error)]
#[error("can't set up HTTPS: {0}; is the package ca-certificates installed?")]
pub(crate) struct HttpError(String);

/// The connection to the relay.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    /// With the password: never log it.
    url: Url,
    /// Where WebSockets are opened, without it.
    socket_url: Url,
    password: Secret,
    timeout: Duration,
}

impl Http {
    /// # Errors
    /// For `https`, the system has no certificates to check the relay's by.
    pub(crate) fn new(config: &UploadConfig) -> Result<Http, HttpError> {
        let builder = match config.url.scheme() {
            "https" => Client::builder(),
            // Without TLS no certificates are needed, and a small system may have none.
            _ => Client::builder().tls_certs_only([]),
        };
        let client = builder
            .user_agent(concat!("stillwatch-agent/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .http1_only()
            .tcp_nodelay(true)
            // A peer that vanished without a word: the kernel drops the connection after this.
            .tcp_user_timeout(config.timeout)
            .connect_timeout(config.timeout)
            .pool_max_idle_per_host(1)
            .build()
            .map_err(|error| HttpError(innermost(&error).to_string()))?;
        let mut url = config.url.clone();
        url.query_pairs_mut().append_pair("password", config.password.expose());
        let mut socket_url = config.url.clone();
        let below = socket_url.path().trim_end_matches('/').to_owned();
        socket_url.set_path(&format!("{below}/upload.ws"));
        let (password, timeout) = (config.password.clone(), config.timeout);
        Ok(Http { client, url, socket_url, password, timeout })
    }

    /// The beginning of a WebSocket's handshake. The password is not in its URL, which proxies log.
    pub(super) fn get_socket(&self) -> RequestBuilder {
        self.client.get(self.socket_url.clone()).bearer_auth(self.password.expose())
    }

    /// Sends one frame and waits for its acknowledgement, both within the time-out.
    pub(super) async fn send(&self, frame: &Frame, report: Option<&Report>) -> Result<(), Failure> {
        let exchange = async {
            let request = self
                .client
                .post(self.url.clone())
                .header(CONTENT_TYPE, "image/jpeg")
                .header(wire::CAPTURED_AT, wire::format_time(frame.captured.unix_us, 6))
                .header(wire::SEQ, frame.seq);
            let request = match wire::Flags::from(frame).to_header() {
                Some(flags) => request.header(wire::FLAGS, flags),
                None => request,
            };
            let request = match report {
                Some(report) => request.header(REPORT, report.to_json()),
                None => request,
            };
            let mut response = request.body(frame.picture.bytes().clone()).send().await?;
            let body = read(&mut response).await?;
            Ok((response.status().as_u16(), response.headers().clone(), body))
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(Ok((status, headers, body))) => {
                let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
                let body = String::from_utf8_lossy(&body);
                let (retry_after, location) = (text(RETRY_AFTER), text(LOCATION));
                judge(Answer { status, retry_after, location, body: &body })
            }
            Ok(Err(error)) => Err(Failure { cause: explained(&error), ..Failure::default() }),
            Err(_) => Err(Failure::slow(self.timeout)),
        }
    }
}

/// Reads the body to its end, so that the connection can be used again, unless it is too long.
async fn read(response: &mut Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while body.len() < MAX_ANSWER {
        let Some(chunk) = response.chunk().await? else { break };
        body.extend_from_slice(&chunk);
    }
    body.truncate(MAX_ANSWER);
    Ok(body)
}

/// The innermost cause in plain words; the outer ones ("error sending request for url …") say
/// nothing more, and would show the password.
pub(super) fn explained(error: &reqwest::Error) -> String {
    let cause = innermost(error);
    let hint = match os_error(error) {
        Some(libc::ECONNREFUSED) => "no relay listens there",
        Some(libc::ENETUNREACH) => "no network",
        Some(libc::EHOSTUNREACH) => "no route to the relay",
        Some(libc::ECONNRESET | libc::EPIPE) => "the relay cut the connection",
        Some(libc::ETIMEDOUT) => "the connection died without a word",
        _ if error.is_connect() => "can't connect",
        _ => "the relay's answer makes no sense",
    };
    format!("{hint} ({cause})")
}

/// All causes of an error, outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause: &&'a (dyn Error + 'static)| (*cause).source())
}

fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    causes(error).last().unwrap_or(error)
}

fn os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    let io = causes(error).filter_map(|cause| cause.downcast_ref::<std::io::Error>()).last();
    io.and_then(std::io::Error::raw_os_error)
}
