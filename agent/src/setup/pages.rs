//! The setup page. Everything else that a phone asks for leads to it: that is how a phone finds out
//! that this is not the Internet, and shows it ("captive portal", RFC 8952).

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use askama::Template;
use futures_util::{Stream, StreamExt};
use http::header::{ACCEPT_LANGUAGE, HOST, HeaderMap, ORIGIN};
use http::{Method, StatusCode};
use runtime::setup::{ANSWERED_WITHIN, Answer, Ask, Heard, MAX_ANSWER, Setup, Wants};
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::{Buf, Filter};
use web::answer::{self, Response};
use web::asset::{Asset, CSS, STYLE};
use web::serve::{self, Peer};

use super::form::{CABLE, Form, Mistakes, OTHER, by_field, country_of};
use crate::ask::ask;
use crate::phones::html;

/// No script at all: what phones show such pages in can do less than their browsers.
const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'";

/// Not "no-referrer": browsers would then call the origin of our own form "null".
const REFERRER: &str = "same-origin";

/// Eight fields of a form.
const MAX_BODY: usize = 32 << 10;

const BODY_WITHIN: Duration = Duration::from_secs(10);

/// What the page is made of.
#[derive(Debug)]
pub(super) struct Pages {
    /// Our own name in a request.
    host: String,
    keeper: PathBuf,
    style: Asset,
    /// What was sent last, for who corrects it.
    last: Mutex<Option<Form>>,
}

#[derive(Template)]
#[template(path = "setup.html")]
struct Page<'a> {
    style: &'a str,
    setup: &'a Setup,
    choices: Vec<Choice<'a>>,
    form: &'a Form,
    /// The name of a network is typed in.
    is_other: bool,
    is_cable: bool,
    knows_relay_password: bool,
    mistakes: &'a Mistakes,
    minutes: u64,
}

/// A line of the list of networks.
struct Choice<'a> {
    ssid: &'a str,
    bars: &'static str,
    is_protected: bool,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "setup-done.html")]
struct Done<'a> {
    style: &'a str,
    title: &'a str,
    lines: &'a [String],
}

impl Page<'_> {
    /// What is wrong with `field`.
    fn wrong(&self, field: &str) -> Option<&str> {
        let of = |found: &&(Option<&'static str>, String)| found.0 == Some(field);
        self.mistakes.iter().find(of).map(|(_, why)| why.as_str())
    }

    /// What is wrong with no field of its own.
    fn others(&self) -> Vec<&str> {
        let none = self.mistakes.iter().filter(|(field, _)| field.is_none());
        none.map(|(_, why)| why.as_str()).collect()
    }
}

/// All routes.
pub(super) fn routes(pages: Arc<Pages>) -> BoxedFilter<(Response,)> {
    serve::asked()
        .and(warp::ext::get::<Peer>())
        .and(warp::body::stream())
        .then(move |method, path: FullPath, query: String, headers, peer: Peer, body| {
            let pages = Arc::clone(&pages);
            Box::pin(async move {
                let request = Request { method, path: path.as_str(), query: &query, headers };
                pages.answer(request, body, &peer).await
            })
        })
        .boxed()
}

struct Request<'a> {
    method: Method,
    path: &'a str,
    query: &'a str,
    headers: HeaderMap,
}

impl Pages {
    pub(super) fn new(host: String, keeper: PathBuf) -> Pages {
        let style = Asset::new("style.css", CSS, STYLE.as_bytes(), true);
        Pages { host, keeper, style, last: Mutex::default() }
    }

    async fn answer<B: Buf>(
        &self,
        request: Request<'_>,
        body: impl Stream<Item = Result<B, warp::Error>>,
        peer: &Peer,
    ) -> Response {
        let Request { method, path, query, headers } = request;
        if !self.is_for_us(&headers) {
            return self.here();
        }
        match (method, path) {
            (Method::GET | Method::HEAD, "/") => self.form(&headers).await,
            (Method::GET | Method::HEAD, "/style.css") => self.style.answer(query, &headers),
            (Method::POST, "/" | "/scan") if !self.is_from_us(&headers) => {
                answer::line(StatusCode::FORBIDDEN, "this was sent by another site's page")
            }
            (Method::POST, "/") => match read(body).await {
                Ok(body) => {
                    peer.body_was_read();
                    self.take(&body, &headers).await
                }
                Err(refusal) => *refusal,
            },
            (Method::POST, "/scan") => self.scan().await,
            _ => self.here(),
        }
    }

    /// Called by our name: neither by that of a phone's probe, nor by that of another site.
    fn is_for_us(&self, headers: &HeaderMap) -> bool {
        let hosts = headers.get_all(HOST);
        hosts.iter().next().is_some()
            && hosts.iter().all(|host| host.as_bytes() == self.host.as_bytes())
    }

    /// A form of our own page; browsers say so of each.
    fn is_from_us(&self, headers: &HeaderMap) -> bool {
        let ours = format!("http://{}", self.host);
        headers.get(ORIGIN).is_none_or(|origin| origin.as_bytes() == ours.as_bytes())
    }

    /// Where the page is.
    fn here(&self) -> Response {
        answer::redirect(&format!("http://{}/", self.host))
    }

    async fn form(&self, headers: &HeaderMap) -> Response {
        let setup = match self.look().await {
            Ok(setup) => setup,
            Err(refusal) => return *refusal,
        };
        let last = self.last();
        let languages = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        // Nobody gets to see the passwords that somebody else has entered.
        let shown = match &last {
            Some(last) => {
                Form { wifi_password: String::new(), relay_password: String::new(), ..last.clone() }
            }
            None => Form { country: country_of(languages.unwrap_or_default()), ..Form::default() },
        };
        self.page(&setup, &shown, last.is_some(), &Mistakes::new(), headers)
    }

    async fn take(&self, body: &[u8], headers: &HeaderMap) -> Response {
        let setup = match self.look().await {
            Ok(setup) => setup,
            Err(refusal) => return *refusal,
        };
        let last = self.last();
        let form = Form::read(body).completed(last.as_ref());
        let mut mistakes = form.mistakes(&setup.networks);
        if mistakes.is_empty() {
            match self.ask(Ask::Take { text: form.text() }).await {
                Ok(Answer::Begun) => {
                    let done = self.begun(&setup, &form);
                    *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(form);
                    return done;
                }
                Ok(Answer::Wrong(wrong)) => mistakes = by_field(&wrong),
                Ok(Answer::Refused(why)) => mistakes.push((None, why)),
                Ok(Answer::Setup(_)) | Err(_) => mistakes.push((None, GONE.to_owned())),
            }
        }
        self.page(&setup, &form, last.is_some(), &mistakes, headers)
    }

    async fn scan(&self) -> Response {
        let setup = match self.look().await {
            Ok(setup) => setup,
            Err(refusal) => return *refusal,
        };
        match self.ask(Ask::Scan).await {
            Ok(Answer::Begun) => self.done(
                "Looking for networks",
                &[format!(
                    "The network “{}” is gone for half a minute. Join it again then, and this page \
                     comes back.",
                    setup.name
                )],
            ),
            Ok(Answer::Refused(why)) => answer::later(&why),
            Ok(Answer::Setup(_) | Answer::Wrong(_)) | Err(_) => answer::later(GONE),
        }
    }

    fn begun(&self, setup: &Setup, form: &Form) -> Response {
        let mut lines = match form.ssid() {
            Some(ssid) => vec![
                format!(
                    "The camera now tries to join “{ssid}”. “{}” is gone meanwhile.",
                    setup.name
                ),
                format!(
                    "If “{}” comes back within two minutes, it did not work: join it again, and this \
                     page says why. If it does not come back, all is well.",
                    setup.name
                ),
            ],
            None => vec!["The camera goes on by cable. That was all.".to_owned()],
        };
        let mut next = "Pictures go to the relay then.".to_owned();
        if form.viewer {
            next += &format!(" At home the camera shows itself at http://{}.local/", form.name);
        }
        lines.push(next);
        self.done("That was all", &lines)
    }

    fn done(&self, title: &str, lines: &[String]) -> Response {
        let page = Done { style: &self.style.url, title, lines };
        html(page.render().unwrap_or_default(), POLICY, REFERRER, &HeaderMap::new())
    }

    fn page(
        &self,
        setup: &Setup,
        form: &Form,
        has_last: bool,
        mistakes: &Mistakes,
        headers: &HeaderMap,
    ) -> Response {
        let choice = |heard| choice(heard, form);
        let choices: Vec<Choice<'_>> = setup.networks.iter().map(choice).collect();
        let is_cable = form.network == CABLE;
        let page = Page {
            style: &self.style.url,
            setup,
            is_other: !is_cable
                && (form.network != OTHER || !form.other.is_empty() || choices.is_empty())
                && choices.iter().all(|choice| !choice.is_chosen),
            choices,
            form,
            is_cable,
            knows_relay_password: has_last,
            mistakes,
            minutes: setup.left.as_secs().div_ceil(60),
        };
        // A template of plain texts can't fail.
        html(page.render().unwrap_or_default(), POLICY, REFERRER, headers)
    }

    /// Asks the keeper of the access point, who has the privileges.
    async fn ask(&self, request: Ask) -> io::Result<Answer> {
        ask(&self.keeper, &request, MAX_ANSWER, ANSWERED_WITHIN).await
    }

    async fn look(&self) -> Result<Setup, Box<Response>> {
        match self.ask(Ask::Look).await {
            Ok(Answer::Setup(setup)) => Ok(setup),
            Ok(_) | Err(_) => Err(Box::new(answer::later(GONE))),
        }
    }

    fn last(&self) -> Option<Form> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The keeper does not answer.
const GONE: &str = "the camera is busy or already set up; try again in a moment";

fn choice<'a>(heard: &'a Heard, form: &Form) -> Choice<'a> {
    // As phones draw them, in dBm.
    let bars = match heard.signal {
        -60.. => "▂▄▆█",
        -70.. => "▂▄▆",
        -80.. => "▂▄",
        _ => "▂",
    };
    Choice {
        ssid: &heard.ssid,
        bars,
        is_protected: heard.wants != Wants::Nothing,
        is_chosen: form.network == heard.ssid,
    }
}

/// The body of a form, within its bounds.
async fn read<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Vec<u8>, Box<Response>> {
    let refused = |status, why| Err(Box::new(answer::line(status, why)));
    let whole = async {
        let mut body = std::pin::pin!(body);
        let mut whole = Vec::new();
        while let Some(piece) = body.next().await {
            let Ok(mut piece) = piece else {
                return refused(StatusCode::BAD_REQUEST, "the form was cut off");
            };
            if whole.len() + piece.remaining() > MAX_BODY {
                return refused(StatusCode::PAYLOAD_TOO_LARGE, "that is no form of this page");
            }
            while piece.has_remaining() {
                let chunk = piece.chunk();
                let length = chunk.len();
                whole.extend_from_slice(chunk);
                piece.advance(length);
            }
        }
        Ok(whole)
    };
    match tokio::time::timeout(BODY_WITHIN, whole).await {
        Ok(outcome) => outcome,
        Err(_) => refused(StatusCode::REQUEST_TIMEOUT, "the form took too long to arrive"),
    }
}
