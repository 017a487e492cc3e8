//! Uploads by HTTP POST, as the tutorial's `camera.py` does it: the JPEG as body, the password in
//! the query. One connection, kept open between frames.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use frame::report::{REPORT, Report};
use frame::sign::Challenge;
use frame::{Frame, wire};
use headers::{Date, HeaderMapExt};
use reqwest::header::{CONNECTION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, redirect};
use runtime::secret::Secret;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::Url;

use super::kind::Kind;
use super::outcome::{Answer, Failure, judge};
use super::signer::{self, Signer};
use super::tls::{OtherKey, RelayClock, Trust, client_config};
use crate::config::{RelayAddress, UploadConfig};

/// How much of an answer's body is read: enough for a line, and to find a web page out.
const MAX_ANSWER: usize = 4 << 10;

/// How long the relay may take to say what time it is.
const TIME_WITHIN: Duration = Duration::from_secs(5);

/// The client can't be made.
#[derive(Debug, thiserror::Error)]
#[error("can't set up HTTPS: {0}; is the package ca-certificates installed?")]
pub(crate) struct HttpError(String);

/// The connection to the relay.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    /// `None`: certificates are not judged by the time.
    clock: Option<Arc<RelayClock>>,
    /// Without the password.
    shown: Url,
    /// With it: never log it.
    url: Url,
    /// Where WebSockets are opened, without it.
    socket_url: Url,
    /// What anybody may ask, for its `Date`.
    time_url: Url,
    /// What is above its cameras.
    root_url: Url,
    password: Secret,
    signer: Option<Signer>,
    /// Of this process.
    /// Which start of the agent this is.
    boot: Arc<str>,
}

impl Http {
    /// One for each relay, with one client.
    ///
    /// # Errors
    /// For `https`, the system has no certificates to check the relay's by.
    pub(crate) fn all(config: &UploadConfig) -> Result<Vec<Http>, HttpError> {
        let clock = Arc::new(RelayClock::new(config.clock));
        let builder = if config.relays.iter().any(|relay| relay.url.scheme() == "https") {
            let tls = client_config(&config.trust, Arc::clone(&clock));
            Client::builder()
                .tls_backend_preconfigured(tls.map_err(|error| HttpError(error.to_string()))?)
        } else {
            // Without TLS no certificates are needed, and a small system may have none.
            Client::builder().tls_certs_only([])
        };
        let client = builder
            .user_agent(concat!("stillwatch-agent/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .http1_only()
            .tcp_nodelay(true)
            // A peer that vanished without a word: the kernel drops the connection after this.
            .tcp_user_timeout(config.timeout)
            .connect_timeout(config.timeout)
            // One for uploads by POST, and one for updates beside them.
            .pool_max_idle_per_host(2)
            .build()
            .map_err(|error| HttpError(innermost(&error).to_string()))?;
        // A key is good at any time.
        let clock = matches!(config.trust, Trust::Authorities(_)).then_some(clock);
        let signer = config.sign_key.clone().and_then(Signer::new);
        let boot: Arc<str> = format!("{:016x}", fastrand::u64(..)).into();
        let http = |relay| {
            Http::new(client.clone(), clock.clone(), signer.clone(), Arc::clone(&boot), relay)
        };
        Ok(config.relays.iter().map(http).collect())
    }

    fn new(
        client: Client,
        clock: Option<Arc<RelayClock>>,
        signer: Option<Signer>,
        boot: Arc<str>,
        relay: &RelayAddress,
    ) -> Http {
        let RelayAddress { url: shown, root: root_url, password } = relay.clone();
        let mut url = shown.clone();
        url.query_pairs_mut().append_pair("password", password.expose());
        let mut socket_url = shown.clone();
        let below = socket_url.path().trim_end_matches('/').to_owned();
        socket_url.set_path(&format!("{below}/upload.ws"));
        let mut time_url = shown.clone();
        time_url.set_path(&format!("{below}/healthz"));
        let clock = clock.filter(|_| shown.scheme() == "https");
        Http { client, clock, shown, url, socket_url, time_url, root_url, password, signer, boot }
    }

    /// Asks the relay for the time, if certificates need it and nobody knows it. Nothing secret is
    /// said: its certificate may turn out to be no good then.
    pub(crate) async fn learn_time(&self) {
        let Some(clock) = self.clock.as_ref().filter(|clock| clock.is_unknown()) else { return };
        let request = self.client.get(self.time_url.clone()).timeout(TIME_WITHIN);
        // The connection ends with it: the next one is judged by what it says.
        let Ok(response) = request.header(CONNECTION, "close").send().await else { return };
        if let Some(date) = response.headers().typed_get::<Date>() {
            let date = SystemTime::from(date).duration_since(UNIX_EPOCH).unwrap_or_default();
            clock.hear(date.as_secs());
            tracing::info!(
                "nobody has set this machine's clock: certificates are judged by the relay's"
            );
        }
    }

    /// Where it is, without the password.
    pub(super) fn shown(&self) -> &Url {
        &self.shown
    }

    /// What frames are signed with.
    pub(super) fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// The beginning of a WebSocket's handshake. The password is not in its URL, which proxies log.
    pub(super) fn get_socket(&self) -> RequestBuilder {
        let request = self.client.get(self.socket_url.clone()).bearer_auth(self.password.expose());
        request.header(wire::BOOT, &*self.boot)
    }

    /// A question about this camera: its path below the camera's own.
    pub(crate) fn get_of_camera(&self, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.shown.clone();
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        url.query_pairs_mut().extend_pairs(query);
        self.client.get(url).bearer_auth(self.password.expose())
    }

    /// What is the same for all of the relay's cameras.
    pub(crate) fn get_of_relay(&self, path: &str) -> RequestBuilder {
        let mut url = self.root_url.clone();
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        self.client.get(url).bearer_auth(self.password.expose())
    }

    /// Sends one frame and waits for its acknowledgement, both within `timeout`. Returns how many
    /// watch, if it was to ask that and the relay says it.
    pub(super) async fn send(
        &self,
        frame: &Frame,
        report: Option<&Report>,
        ask_viewers: bool,
        timeout: Duration,
    ) -> Result<Option<u64>, Failure> {
        let exchange = async {
            let request = self
                .client
                .post(self.url.clone())
                .header(CONTENT_TYPE, "image/jpeg")
                .header(wire::CAPTURED_AT, wire::format_time(frame.captured.unix_us, 6))
                .header(wire::SEQ, frame.seq)
                .header(wire::BOOT, &*self.boot);
            let none = Challenge::default();
            let signer = self.signer.as_ref().map(|signer| (signer, &none));
            let (head, signature) = signer::head(frame, false, signer);
            let request = match head.flags.to_header() {
                Some(flags) => request.header(wire::FLAGS, flags),
                None => request,
            };
            let request = match signature {
                Some(signature) => request.header(wire::SIGNATURE, signature.to_header()),
                None => request,
            };
            let request = match report {
                Some(report) => request.header(REPORT, report.to_json()),
                None => request,
            };
            let request =
                if ask_viewers { request.header(wire::VIEWERS, "wanted") } else { request };
            let mut response = request.body(frame.picture.bytes().clone()).send().await?;
            let body = read(&mut response).await?;
            Ok((response.status().as_u16(), response.headers().clone(), body))
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(Ok((status, headers, body))) => {
                let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
                let body = String::from_utf8_lossy(&body);
                let (retry_after, location) = (text(RETRY_AFTER), text(LOCATION));
                judge(Answer { status, retry_after, location, body: &body })?;
                let viewers = headers.get(wire::VIEWERS).and_then(|value| value.to_str().ok());
                Ok(viewers.and_then(|viewers| viewers.parse().ok()))
            }
            Ok(Err(error)) => Err(failed(&error)),
            Err(_) => Err(Failure::slow(timeout)),
        }
    }
}

/// The certificates of a file.
///
/// # Errors
/// What is wrong with it, for whoever named it.
pub(crate) fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: &str| format!("{}: {why}", path.display());
    let pem = std::fs::read(path).map_err(|error| wrong(&format!("can't read it: {error}")))?;
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(wrong("no certificate in it; it has to be PEM (BEGIN CERTIFICATE)")),
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

/// What an error means for the next attempt, and to the journal.
pub(super) fn failed(error: &reqwest::Error) -> Failure {
    let (kind, errno) = (Kind::of(error), os_error(error));
    Failure { kind, errno, cause: explained(error), ..Failure::default() }
}

/// The innermost cause in plain words; the outer ones ("error sending request for url …") say
/// nothing more, and would show the password.
pub(crate) fn explained(error: &reqwest::Error) -> String {
    if let Some(untrusted) = causes(error).find_map(untrusted) {
        return untrusted;
    }
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

/// Why the relay's certificate was refused, if this is what an error is about, and what to do.
fn untrusted(cause: &(dyn Error + 'static)) -> Option<String> {
    // What an I/O error holds is not its source, but what it stands for; it may hold another.
    if let Some(io) = cause.downcast_ref::<std::io::Error>() {
        return untrusted(io.get_ref()?);
    }
    let rustls::Error::InvalidCertificate(why) = cause.downcast_ref()? else { return None };
    if let rustls::CertificateError::Other(other) = why
        && let Some(other) = other.0.downcast_ref::<OtherKey>()
    {
        return Some(other.to_string());
    }
    let has = |word: &str| format!("{why:?}").starts_with(word);
    let hint = if has("UnknownIssuer") {
        "is from an authority that is not trusted here (upload.ca_file names further ones)"
    } else if has("Expired") || has("NotValidYet") {
        "is not valid at this time: it has run out, or this machine's clock is wrong"
    } else if has("NotValidForName") {
        "is for another name than upload.relay says"
    } else {
        "is not good"
    };
    // What it says itself has the seconds that have passed, and would be news each time.
    Some(format!("the relay's certificate {hint}"))
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
