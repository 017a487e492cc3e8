//! The pages that people look at: the viewer, the overview of several cameras, the lines to copy.
//!
//! HTML is made for each request, in the browser's language and with the state of that moment, so
//! that a page without JavaScript, a link's preview and a page whose relay dies at once say the
//! truth as well. What happens on it afterwards is in `relay/assets/js/`.

mod assets;
mod language;
mod texts;

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use frame::CameraId;
use http::header::{
    ACCEPT_LANGUAGE, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderValue, REFERRER_POLICY, VARY,
};
use http::uri::Authority;
use http::{HeaderName, StatusCode};
use ladder::Mono;
use web::freshness::State;
use web::serve::Peer;

use crate::access::Access;
use crate::access::viewing::Eyes;
use crate::board::{Board, Camera};
use crate::mirrors::Mirrors;
use crate::origins::Origins;
use crate::respond::{self, Body, Response};
use crate::status::millis;
use assets::Assets;
use texts::Texts;

/// What the pages' own policy allows beside framing: files of this relay, nothing inline, nothing
/// from elsewhere but what the script asks of `readable`.
fn policy(readable: &[String], ancestors: &str) -> String {
    let readable: String = readable.iter().map(|source| format!(" {source}")).collect();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
         connect-src 'self'{readable}; manifest-src 'self'; frame-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors {ancestors}"
    )
}

/// Width of the picture in a link's preview: what its readers ask for is 1200 (Open Graph, Twitter),
/// and this is a width that the viewer uses, too.
const PREVIEW_WIDTH: u16 = 1280;

/// Before the first picture.
const NO_PICTURE: (u16, u16) = (320, 240);

/// What the pages are told by the configuration.
#[derive(Debug, Clone)]
pub(crate) struct PagesConfig {
    /// Of the whole, and of the camera `default`.
    pub title: String,
    /// With a slash at its end.
    pub url: Option<String>,
    pub origins: Origins,
    pub mirrors: Mirrors,
}

impl PagesConfig {
    /// Whose scripts may read pictures and states.
    pub(crate) fn readers(&self) -> Origins {
        self.origins.clone().and(self.mirrors.origins())
    }
}

/// Makes the pages.
#[derive(Debug)]
pub(crate) struct Pages {
    config: PagesConfig,
    assets: Assets,
}

/// A request for a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    pub query: &'a str,
    pub peer: &'a Peer,
    pub now: Mono,
    pub access: &'a Access,
    pub eyes: &'a Eyes,
}

/// A camera, as a template needs it.
struct View {
    id: CameraId,
    title: String,
    alt: String,
    /// Before `live.jpeg`.
    base: String,
    /// Behind it: the key of a link, or nothing.
    query: String,
    /// Where its pictures are if not here.
    mirrors: String,
    state: State,
    state_text: String,
    stale_ms: u64,
    width: u16,
    height: u16,
}

/// What a shared link shows.
struct Preview {
    page: String,
    image: String,
    width: u16,
    height: u16,
}

#[derive(Template)]
#[template(path = "viewer.html")]
struct ViewerPage<'a> {
    t: &'static Texts,
    texts: String,
    assets: &'a Assets,
    root: &'static str,
    site: &'a str,
    title: String,
    heading: &'a str,
    description: &'a str,
    alt: &'a str,
    preview: Option<Preview>,
    views: &'a [View],
    embedded: bool,
    overview: bool,
    several: bool,
}

/// A line to copy.
struct Way {
    title: &'static str,
    line: String,
}

#[derive(Template)]
#[template(path = "embed.html")]
struct EmbedPage<'a> {
    query: &'a str,
    t: &'static Texts,
    texts: String,
    assets: &'a Assets,
    root: &'static str,
    title: String,
    id: &'a CameraId,
    alt: &'a str,
    others: Vec<(CameraId, String)>,
    ways: [Way; 4],
    policy: &'static str,
    allowed: &'a [String],
}

#[derive(Template)]
#[template(path = "owner.html")]
struct OwnerPage<'a> {
    t: &'static Texts,
    texts: String,
    assets: &'a Assets,
    root: &'static str,
    title: String,
}

/// The tutorial's page, the same for every camera: its links are relative.
pub(crate) fn test() -> Response {
    let page = Bytes::from_static(include_bytes!("../../../assets/test.html"));
    respond::answer(StatusCode::OK, "text/html; charset=utf-8", page)
}

impl Pages {
    pub(crate) fn new(config: &PagesConfig) -> Pages {
        Pages { config: config.clone(), assets: Assets::new() }
    }

    /// A file that pages are made of.
    pub(crate) fn asset(&self, path: &str, query: &str, headers: &HeaderMap) -> Response {
        match self.assets.find(path) {
            Some(asset) => asset.answer(query, headers),
            None => respond::not_found("there is nothing at this path"),
        }
    }

    /// For a browser that asks for it whatever the page says.
    pub(crate) fn favicon(&self, query: &str, headers: &HeaderMap) -> Response {
        self.assets.touch_icon.answer(query, headers)
    }

    /// What a phone needs to put the page on its home screen.
    pub(crate) fn manifest(&self, headers: &HeaderMap) -> Response {
        let icon = |asset: &web::asset::Asset, sizes: &str, kind: &str| serde_json::json!({ "src": asset.url, "sizes": sizes, "type": kind });
        let manifest = serde_json::json!({
            "name": self.config.title,
            "short_name": self.config.title,
            "start_url": "./",
            "display": "standalone",
            "background_color": "#101418",
            "theme_color": "#101418",
            "icons": [
                icon(&self.assets.icon, "any", "image/svg+xml"),
                icon(&self.assets.icon_192, "192x192", "image/png"),
                icon(&self.assets.icon_512, "512x512", "image/png"),
            ],
        });
        let body = Body::once(Bytes::from(manifest.to_string()));
        body.answer("application/manifest+json", headers)
    }

    /// `/`: the viewer of the only camera, or the overview; `None` if all that there is may not be seen.
    pub(crate) fn home(&self, board: &Board, asked: Asked<'_>) -> Option<Response> {
        let cameras = shown(board, asked);
        Some(match cameras.as_slice() {
            [] => return None,
            [only] => {
                let default = only.id == CameraId::default();
                let base = if default { String::new() } else { format!("cameras/{}/", only.id) };
                self.viewer(only, base, false, asked)
            }
            _ => self.overview(&cameras, asked),
        })
    }

    /// `/cameras/ID/`.
    pub(crate) fn camera(&self, camera: &Camera, board: &Board, asked: Asked<'_>) -> Response {
        let several = shown(board, asked).len() > 1;
        self.viewer(camera, String::new(), several, asked)
    }

    fn viewer(&self, camera: &Camera, base: String, several: bool, asked: Asked<'_>) -> Response {
        let t = language(asked.headers);
        let view = self.view(camera, t, base, asked);
        let embedded = form_urlencoded::parse(asked.query.as_bytes()).any(|(n, _)| n == "embedded");
        let page = ViewerPage {
            t,
            texts: texts(t),
            assets: &self.assets,
            root: asked.root(),
            site: &self.config.title,
            title: self.with_site(&view.title),
            heading: &view.title,
            description: &view.state_text,
            alt: &view.alt,
            preview: self.preview(camera, asked),
            views: std::slice::from_ref(&view),
            embedded,
            overview: false,
            several,
        };
        self.page(&page, asked.headers, &self.config.mirrors.sources())
    }

    fn overview(&self, cameras: &[Arc<Camera>], asked: Asked<'_>) -> Response {
        let t = language(asked.headers);
        let mut views: Vec<View> = cameras
            .iter()
            .map(|camera| self.view(camera, t, format!("cameras/{}/", camera.id), asked))
            .collect();
        // Whoever looks wants to know first what is wrong.
        views.sort_by_key(|view| (view.state == State::Live, view.title.clone()));
        let worst = views.first();
        let page = ViewerPage {
            t,
            texts: texts(t),
            assets: &self.assets,
            root: "",
            site: &self.config.title,
            title: self.config.title.clone(),
            heading: &self.config.title,
            description: t.cameras,
            alt: worst.map_or("", |view| &view.alt),
            preview: worst
                .and_then(|view| cameras.iter().find(|camera| camera.id == view.id))
                .and_then(|camera| {
                    let page = self.url(asked)?;
                    Some(Preview { page, ..self.preview(camera, asked)? })
                }),
            views: &views,
            embedded: false,
            overview: true,
            several: true,
        };
        self.page(&page, asked.headers, &self.config.mirrors.sources())
    }

    /// `/embed`: the lines to copy.
    pub(crate) fn embed(&self, camera: &Camera, board: &Board, asked: Asked<'_>) -> Response {
        let t = language(asked.headers);
        let view = self.view(camera, t, String::new(), asked);
        let id = &camera.id;
        let url = self.url(asked).unwrap_or_default();
        let base =
            if *id == CameraId::default() { url.clone() } else { format!("{url}cameras/{id}/") };
        let ways = ways(&view, t, &url, &base);
        let (policy, allowed) = match &self.config.origins {
            Origins::Any => (t.embed_any, &[][..]),
            Origins::These(list) if list.is_empty() => (t.embed_closed, &[][..]),
            Origins::These(list) => (t.embed_open, list.as_slice()),
        };
        let named = |other: &Arc<Camera>| (other.id.clone(), self.title(other).to_owned());
        let others =
            shown(board, asked).iter().filter(|other| other.id != *id).map(named).collect();
        let page = EmbedPage {
            t,
            texts: texts(t),
            assets: &self.assets,
            root: asked.root(),
            title: t.embed_title.replace("{name}", &view.title),
            query: &view.query,
            id,
            alt: &view.alt,
            others,
            ways,
            policy,
            allowed,
        };
        self.page(&page, asked.headers, &[])
    }

    /// `/status`, for whoever knows the owner's password.
    pub(crate) fn owner(&self, headers: &HeaderMap) -> Response {
        let t = language(headers);
        let page = OwnerPage {
            t,
            texts: texts(t),
            assets: &self.assets,
            root: "",
            title: self.with_site(t.status),
        };
        let mut response = self.page(&page, headers, &[]);
        deny_frames(&mut response);
        response
    }

    /// `readable`: what the script may ask beside this relay.
    fn page(&self, page: &impl Template, headers: &HeaderMap, readable: &[String]) -> Response {
        // It only fails if writing into memory does.
        let html = page.render().unwrap_or_default();
        let body = Body::once(Bytes::from(html));
        let mut response = body.answer("text/html; charset=utf-8", headers);
        let ancestors = self.config.origins.frame_ancestors();
        let policy = HeaderValue::try_from(policy(readable, &ancestors));
        let headers = response.headers_mut();
        if let Ok(policy) = policy {
            headers.insert(CONTENT_SECURITY_POLICY, policy);
        }
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.append(VARY, HeaderValue::from_static("Accept-Language"));
        response
    }

    fn title<'a>(&'a self, camera: &'a Camera) -> &'a str {
        match &camera.title {
            Some(title) => title,
            None if camera.id == CameraId::default() => &self.config.title,
            None => camera.id.as_str(),
        }
    }

    fn with_site(&self, title: &str) -> String {
        let site = &self.config.title;
        if title == site { title.to_owned() } else { format!("{title} · {site}") }
    }

    fn view(&self, camera: &Camera, t: &'static Texts, base: String, asked: Asked<'_>) -> View {
        let now = asked.now;
        let title = self.title(camera).to_owned();
        let (width, height) = size(camera);
        let state = camera.state(now);
        View {
            id: camera.id.clone(),
            alt: t.picture.replace("{name}", &title),
            title,
            base,
            query: asked.eyes.query(&camera.id),
            // Nobody is let in there by this relay's passwords, cookies and links, and it must not hear of them.
            mirrors: match asked.access.is_private(&camera.id) {
                true => String::new(),
                false => self.config.mirrors.urls(),
            },
            state,
            state_text: state_text(camera, state, t, now),
            stale_ms: millis(camera.patience()),
            width,
            height,
        }
    }

    /// The site's address as the browser sees it, with a slash at its end; `None` if it can't be
    /// known.
    fn url(&self, asked: Asked<'_>) -> Option<String> {
        if let Some(url) = &self.config.url {
            return Some(url.clone());
        }
        let text = |name: &HeaderName| asked.headers.get(name)?.to_str().ok();
        // It stands in a page that others may see, so only what is a host and a port.
        let host: Authority = text(&HOST)?.parse().ok()?;
        let plain = !host.as_str().contains('@');
        plain.then(|| format!("{}://{host}/", if asked.peer.secure { "https" } else { "http" }))
    }

    fn preview(&self, camera: &Camera, asked: Asked<'_>) -> Option<Preview> {
        // Who makes previews has no key, and shows them to anybody.
        if asked.access.is_private(&camera.id) {
            return None;
        }
        let newest = camera.latest(asked.now)?;
        let (full_width, full_height) = size(camera);
        let url = self.url(asked)?;
        let page = format!("{url}cameras/{}/", camera.id);
        let size: crate::board::Size = format!("{PREVIEW_WIDTH}x65535").parse().ok()?;
        let (width, height) = size.fit(full_width, full_height);
        // Its readers keep pictures by their address.
        let at = newest.unix_us / 1_000_000;
        let image = format!("{page}live{size}.jpeg?{at}");
        Some(Preview { page, image, width, height })
    }
}

impl Asked<'_> {
    /// From where the page is to the site's root: relative, so that it holds behind a proxy that
    /// serves the relay below some path, too.
    fn root(&self) -> &'static str {
        if self.path.starts_with("/cameras/") { "../../" } else { "" }
    }
}

/// The lines to copy.
fn ways(view: &View, t: &Texts, url: &str, base: &str) -> [Way; 4] {
    let id = &view.id;
    let (width, height) = (view.width, view.height);
    let alt = &view.alt;
    let quoted =
        |text: &str| text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    let title = quoted(&view.title);
    let quoted = quoted(alt);
    // Of digits, letters, `.`, `-` and `_`.
    let key = view.query.strip_prefix("?key=").unwrap_or_default();
    let (attribute, and, only) = if key.is_empty() {
        Default::default()
    } else {
        (format!(" data-key=\"{key}\""), format!("&amp;key={key}"), format!("?key={key}"))
    };
    [
        Way {
            title: t.embed_script,
            line: format!(
                "<script src=\"{url}embed.js\" data-camera=\"{id}\"{attribute} data-title=\"{title}\" data-ratio=\"{width}/{height}\" async></script>"
            ),
        },
        Way {
            title: t.embed_frame,
            line: format!(
                "<iframe src=\"{url}cameras/{id}/?embedded{and}\" title=\"{quoted}\" width=\"{width}\" \
                 height=\"{height}\" style=\"border:0\" allow=\"fullscreen\" loading=\"lazy\"></iframe>"
            ),
        },
        Way {
            title: t.embed_mjpeg,
            line: format!("<img src=\"{base}live.mjpeg{only}\" alt=\"{quoted}\">"),
        },
        Way {
            title: t.embed_still,
            line: format!("<img src=\"{base}live.jpeg?max_age=60{and}\" alt=\"{quoted}\">"),
        },
    ]
}

/// Which cameras there are for people: all that have or should have a picture. `default` always
/// exists, but is nobody's as long as it never had one and others are there.
///
/// Private ones only for whoever may see them.
fn shown(board: &Board, asked: Asked<'_>) -> Vec<Arc<Camera>> {
    let all = board.all();
    let default = CameraId::default();
    let others = all.iter().any(|camera| camera.id != default);
    let unused = |camera: &Camera| camera.id == default && camera.latest(asked.now).is_none();
    let used = all.into_iter().filter(|camera| !others || !unused(camera));
    used.filter(|camera| asked.eyes.sees(asked.access, &camera.id)).collect()
}

fn size(camera: &Camera) -> (u16, u16) {
    camera
        .newest()
        .map_or(NO_PICTURE, |held| (held.frame.picture.width(), held.frame.picture.height()))
}

fn language(headers: &HeaderMap) -> &'static Texts {
    let accept = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    language::choose(accept.unwrap_or_default())
}

/// For the page's script. None of them has a `<`, so none ends the element that they stand in.
fn texts(t: &Texts) -> String {
    // Our own structure always serialises.
    serde_json::to_string(t).unwrap_or_default()
}

/// The state in words, at this moment, for those who have no script: in UTC.
fn state_text(camera: &Camera, state: State, t: &Texts, now: Mono) -> String {
    let text = match state {
        State::Empty => t.empty,
        State::Live => t.live,
        State::Stale => t.stale,
        State::Frozen => t.frozen,
        State::Offline => t.offline,
    };
    let Some(newest) = camera.latest(now) else { return text.to_owned() };
    let time = frame::wire::format_time(newest.unix_us, 0);
    let time = time.replace('T', " ").replace('Z', " UTC");
    text.replace("{time}", &time).replace("{age}", &age_text(newest.age))
}

fn age_text(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The owner's page is in nobody's frame, whoever may show the others.
fn deny_frames(response: &mut Response) {
    if let Ok(policy) = HeaderValue::try_from(policy(&[], "'none'")) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
}
