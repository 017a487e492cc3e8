//! Who may see a private camera: who knows its password (HTTP Basic), the owner, and who has a signed link.
//!
//! A link's key stands in the address (`?key=`), or in a cookie that a page with it has set, so that what the page is
//! made of is seen as well. A cookie and a password are sent by browsers for other sites' pages, too: see [`Eyes::is_ambient`].

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use frame::CameraId;
use http::header::{COOKIE, HeaderMap, HeaderValue};
use http::{HeaderName, StatusCode};
use runtime::clock;
use runtime::event::Event;

use super::gate::Realm;
use super::link::{self, Link};
use super::throttle::Verdict;
use super::{Access, basic, too_many};
use crate::password::Padded;
use crate::respond::{self, Response};

/// `relay.max_cameras` is no more (config/keys.rs).
const MOST_HIDDEN: usize = 20_000;

/// How often a stream looks whether its link is still good.
const LOOK: Duration = Duration::from_secs(5);

/// What a request may see, and why not more.
#[derive(Debug, Default)]
pub(crate) struct Eyes {
    /// The owner's.
    all: bool,
    /// All cameras without a password of their own.
    site: bool,
    /// Those whose own password it knows.
    cameras: BTreeSet<CameraId>,
    links: Vec<Given>,
    denied: Denied,
}

/// A link that a request has.
#[derive(Debug, Clone)]
struct Given {
    link: Link,
    text: String,
    /// It stands in the address; else in a cookie.
    in_address: bool,
}

/// Why a request sees nothing that is private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Denied {
    /// It has nothing to show.
    #[default]
    Nothing,
    /// A link that is not, or not any more.
    Link,
    Password,
    TooMany,
}

/// How long a stream may be seen.
#[derive(Debug)]
pub(crate) struct Permit {
    link: Option<(Arc<Access>, Given)>,
}

impl Permit {
    /// Whether it holds at this moment.
    pub(crate) fn holds(&self) -> bool {
        self.link.as_ref().is_none_or(|(access, given)| access.check_link(&given.text).is_some())
    }

    /// Waits until it holds no more.
    pub(crate) async fn ended(&self) {
        while self.holds() {
            let Some((_, given)) = &self.link else { return std::future::pending().await };
            let left = given.link.expires_s.saturating_sub(now_s()).max(0).unsigned_abs();
            tokio::time::sleep(Duration::from_secs(left).min(LOOK)).await;
        }
    }
}

fn now_s() -> i64 {
    clock::wall_us().div_euclid(1_000_000)
}

/// The name of the cookie with a camera's key.
fn cookie_name(camera: &CameraId) -> String {
    format!("stillwatch-{camera}")
}

impl Access {
    /// Whether a camera's pictures are not for everybody.
    pub(crate) fn is_private(&self, camera: &CameraId) -> bool {
        self.knows_viewers(camera) || self.is_hidden(camera)
    }

    /// Whether it is known here who may see a camera, of which not everybody may.
    pub(crate) fn knows_viewers(&self, camera: &CameraId) -> bool {
        self.view.is_some() || self.view_own.contains_key(camera)
    }

    /// Whether a camera is private at another relay, and nobody here knows for whom: then for nobody.
    pub(crate) fn is_hidden(&self, camera: &CameraId) -> bool {
        self.hidden.read().unwrap_or_else(PoisonError::into_inner).contains(camera)
    }

    /// Hides a camera, or not any more. As many as a relay may have cameras, at most.
    pub(crate) fn hide(&self, camera: &CameraId, hide: bool) {
        if self.is_hidden(camera) == hide {
            return;
        }
        let mut hidden = self.hidden.write().unwrap_or_else(PoisonError::into_inner);
        if !hide {
            hidden.remove(camera);
        } else if hidden.len() < MOST_HIDDEN {
            hidden.insert(camera.clone());
        }
    }

    /// Whether anything is not for everybody.
    pub(crate) fn has_private(&self) -> bool {
        let hidden = || !self.hidden.read().unwrap_or_else(PoisonError::into_inner).is_empty();
        self.view.is_some() || !self.view_own.is_empty() || hidden()
    }

    fn check_link(&self, text: &str) -> Option<Link> {
        link::check(text, self.shared.get().content.links.as_ref(), now_s())
    }

    /// What a request may see; `wanted` is the camera that it is about. A wrong password may take its time.
    pub(crate) async fn eyes(
        &self,
        headers: &HeaderMap,
        query: &str,
        peer: IpAddr,
        wanted: Option<&CameraId>,
    ) -> Eyes {
        let mut eyes = Eyes::default();
        if !self.has_private() || wanted.is_some_and(|camera| !self.is_private(camera)) {
            return eyes;
        }
        self.take_links(&mut eyes, headers, query);
        let linked = wanted.is_some_and(|camera| eyes.link(camera).is_some());
        if let (false, Some(given)) = (linked, basic(headers)) {
            self.take_password(&mut eyes, &given, peer, wanted).await;
        }
        if let Some(camera) = wanted.filter(|camera| eyes.sees(self, camera)) {
            let by = if eyes.link(camera).is_some() { "by a link" } else { "with a password" };
            let sentence = format_args!("camera {camera}: private, seen from {peer} {by}");
            self.gate.audit.came(Event::ViewedFrom, Some(camera), peer, clock::mono(), sentence);
        }
        eyes
    }

    /// None of them is a guess: nobody guesses 128 bits. And browsers send old ones for long, innocently: cookies for as
    /// long as they have them, keys for as long as they stand in other sites' pages.
    fn take_links(&self, eyes: &mut Eyes, headers: &HeaderMap, query: &str) {
        let key = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "key");
        if let Some((_, text)) = key {
            match self.check_link(&text) {
                Some(link) => {
                    eyes.links.push(Given { link, text: text.into_owned(), in_address: true });
                }
                None => eyes.denied = Denied::Link,
            }
        }
        let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        for cookie in cookies.flat_map(|cookies| cookies.split(';')) {
            let Some((name, text)) = cookie.trim().split_once('=') else { continue };
            if name.starts_with("stillwatch-")
                && let Some(link) = self.check_link(text)
                && name == cookie_name(&link.camera)
            {
                eyes.links.push(Given { link, text: text.to_owned(), in_address: false });
            }
        }
    }

    async fn take_password(
        &self,
        eyes: &mut Eyes,
        given: &str,
        peer: IpAddr,
        wanted: Option<&CameraId>,
    ) {
        // The owner's is guessed no faster here than on the owner's own page: its own realm judges it.
        let owners = |owner: &Padded| owner.is(given);
        let verdict = self
            .gate
            .judge(Realm::Viewing, peer, || {
                // All are compared, whichever it is.
                eyes.site = self.view.as_ref().is_some_and(|right| right.is(given));
                let fits = self.view_own.iter().filter(|(_, right)| right.is(given));
                eyes.cameras = fits.map(|(id, _)| id.clone()).collect();
                let right = match wanted {
                    Some(camera) => eyes.sees(self, camera),
                    None => eyes.site || !eyes.cameras.is_empty(),
                };
                // Viewing bounds how often this comes, or answers late.
                let is_owner = |owner| {
                    self.gate.judge_now(Realm::Owner, peer, || owners(owner)) == Verdict::Right
                };
                eyes.all = !right && self.owner.as_ref().is_some_and(is_owner);
                right || eyes.all
            })
            .await;
        eyes.denied = match verdict {
            Verdict::Right => return,
            // Whoever guesses behind the owner's address does not lock the owner out.
            Verdict::Refused => {
                eyes.all = match &self.owner {
                    Some(owner) => {
                        let verdict = self.gate.judge(Realm::Owner, peer, || owners(owner)).await;
                        verdict == Verdict::Right
                    }
                    None => false,
                };
                if eyes.all {
                    return;
                }
                Denied::TooMany
            }
            Verdict::Wrong | Verdict::WrongLate => Denied::Password,
        };
    }
}

impl Eyes {
    pub(crate) fn sees(&self, access: &Access, camera: &CameraId) -> bool {
        if access.is_hidden(camera) {
            return false;
        }
        if self.all || self.link(camera).is_some() {
            return true;
        }
        if access.view_own.contains_key(camera) {
            return self.cameras.contains(camera);
        }
        access.view.is_none() || self.site
    }

    fn link(&self, camera: &CameraId) -> Option<&Given> {
        // The one in the address first: it was put there on purpose.
        self.links.iter().find(|given| given.link.camera == *camera)
    }

    /// What is to be added to addresses of a camera, for who has no cookie: `?key=…`, or nothing.
    pub(crate) fn query(&self, camera: &CameraId) -> String {
        self.link(camera).map(|given| format!("?key={}", given.text)).unwrap_or_default()
    }

    /// Whether this private camera is seen only by what browsers send along with other sites' requests as well.
    pub(crate) fn is_ambient(&self, camera: &CameraId) -> bool {
        !self.link(camera).is_some_and(|given| given.in_address)
    }

    /// The answer for who may not see.
    pub(crate) fn refusal(&self, access: &Access, camera: Option<&CameraId>) -> Response {
        let mut response = match self.denied {
            Denied::TooMany => too_many(),
            Denied::Link => {
                let line = "this link has run out, or was revoked, or is not whole; ask for a new one, or open the \
                            camera without ?key= and give its password";
                respond::line(StatusCode::FORBIDDEN, line)
            }
            Denied::Nothing | Denied::Password => {
                let own = camera.filter(|camera| access.view_own.contains_key(camera));
                let realm = own.map_or("stillwatch".to_owned(), |id| format!("stillwatch {id}"));
                let line = if self.denied == Denied::Password {
                    "this is not the password"
                } else {
                    "private: a password is asked for (any user name), or a link with a key"
                };
                respond::unauthorised(&realm, line)
            }
        };
        keep_private(&mut response);
        response
    }

    /// What a page that was opened by a link sets, so that what it is made of is seen as well.
    /// `path` is the page's, and `root` what browsers have before the relay's paths.
    pub(crate) fn cookie(&self, path: &str, root: &str, secure: bool) -> Option<HeaderValue> {
        let given = self.links.iter().find(|given| given.in_address)?;
        let camera = &given.link.camera;
        let below = path.starts_with("/cameras/") || *camera != CameraId::default();
        let path = if below { format!("{root}cameras/{camera}/") } else { root.to_owned() };
        let age = given.link.expires_s.saturating_sub(now_s()).max(0);
        let secure = if secure { "; Secure" } else { "" };
        let (name, text) = (cookie_name(camera), &given.text);
        let cookie =
            format!("{name}={text}; Path={path}; Max-Age={age}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::try_from(cookie).ok()
    }

    /// For how long a stream may be seen.
    pub(crate) fn permit(&self, access: &Arc<Access>, camera: &CameraId) -> Permit {
        Permit { link: self.link(camera).map(|given| (Arc::clone(access), given.clone())) }
    }
}

/// No cache but the viewer's own memory keeps it, no search engine lists it, and no other site hears its address.
pub(crate) fn keep_private(response: &mut Response) {
    for (name, value) in [
        ("cache-control", "private, no-store"),
        ("x-robots-tag", "noindex"),
        ("referrer-policy", "no-referrer"),
    ] {
        let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
        response.headers_mut().insert(name, value);
    }
}
