//! Who may do what: passwords for uploads, the owner's, who may see private cameras; and how often all of them may be
//! guessed.
//!
//! What the configuration names is compared as it is (`password.rs`); what `stillwatch-relay passwords` keeps
//! (`command.rs`) is known by its hash only (`key.rs`, `list.rs`), and one thread sees when that changes (`thread.rs`).
//! Every password and link goes through `gate.rs`, which asks `throttle.rs` first. What does not belong here: what is
//! answered to an upload (`ingest`, `respond.rs`).

mod audit;
pub(crate) mod command;
mod folder;
mod gate;
pub(crate) mod hosts;
mod key;
mod link;
mod list;
mod thread;
mod throttle;
mod used;
pub(crate) mod viewing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, RwLock};
use std::{io, thread as threads};

use frame::CameraId;
use headers::HeaderMapExt;
use headers::authorization::{Authorization, Basic};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use runtime::clock;
use runtime::event::Event;
use runtime::secret::Secret;
use tokio::sync::oneshot;

pub(crate) use folder::Folder;
pub(crate) use gate::Realm;

use crate::board::Refused;
use crate::metrics::Guesses;
use crate::password::{MAX_PASSWORD, Padded};
use crate::respond::{self, Response};
use gate::Gate;
use hosts::Hosts;
use list::{Entry, Place};
use thread::{Known, Letter, Shared, Thread};
use throttle::Verdict;

/// Most that waits to be noted: uses come again.
const MAX_LETTERS: usize = 64;

/// As long as there is no owner's password.
const OFF: &str = "the owner's page is off: set owner.password_file, or give the unit the systemd \
                   credential \"owner-password\"";

/// What the configuration says of access.
#[derive(Debug, Clone)]
pub(crate) struct AccessConfig {
    /// The relay's.
    pub data_dir: PathBuf,
    /// For uploads, of cameras without one of their own.
    pub password: Option<Secret>,
    /// For uploads, of cameras that have one of their own.
    pub own: BTreeMap<CameraId, Secret>,
    pub owner: Option<Secret>,
    /// For viewing anything.
    pub view: Option<Secret>,
    /// For viewing cameras that have one of their own.
    pub view_own: BTreeMap<CameraId, Secret>,
    pub hosts: Hosts,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Access {
    relay: Option<Padded>,
    own: BTreeMap<CameraId, Padded>,
    owner: Option<Padded>,
    view: Option<Padded>,
    view_own: BTreeMap<CameraId, Padded>,
    /// Private at another relay, and nobody here knows for whom.
    hidden: RwLock<BTreeSet<CameraId>>,
    pub hosts: Hosts,
    shared: Arc<Shared>,
    mail: SyncSender<Letter>,
    gate: Arc<Gate>,
}

/// What comes of a password among those that are kept by their hash.
#[derive(Debug, Default)]
struct Found {
    right: bool,
    entry: Option<Entry>,
}

impl Access {
    /// Starts the thread, which ends with the last of these; what is told is that it has looked first.
    ///
    /// # Errors
    /// There can be no thread.
    pub(crate) fn start(
        config: &AccessConfig,
        counts: Guesses,
    ) -> io::Result<(Arc<Access>, oneshot::Receiver<()>)> {
        let (shared, gate) = (Arc::<Shared>::default(), Arc::new(Gate::new(counts)));
        let (mail, letters) = sync_channel(MAX_LETTERS);
        let thread = Thread {
            folder: Folder::in_data(&config.data_dir),
            shared: Arc::clone(&shared),
            gate: Arc::clone(&gate),
            stamps: None,
            retired_at: clock::mono(),
        };
        let (told, looked) = oneshot::channel();
        threads::Builder::new()
            .name("access".to_owned())
            .spawn(move || thread.run(&letters, told))?;
        // Longer ones are refused by `config`; here they would fit nobody.
        let padded = |secret: &Secret| Padded::new(secret.expose());
        let all = |secrets: &BTreeMap<CameraId, Secret>| {
            secrets.iter().filter_map(|(id, secret)| Some((id.clone(), padded(secret)?))).collect()
        };
        let access = Access {
            hidden: RwLock::default(),
            relay: config.password.as_ref().and_then(padded),
            own: all(&config.own),
            owner: config.owner.as_ref().and_then(padded),
            view: config.view.as_ref().and_then(padded),
            view_own: all(&config.view_own),
            hosts: config.hosts.clone(),
            shared,
            mail,
            gate,
        };
        Ok((Arc::new(access), looked))
    }

    /// Whether a request may upload for `camera`, or, if there is none, have what all cameras may have. A bearer token
    /// counts if there is one, else the query's `password`, as in the tutorial.
    ///
    /// # Errors
    /// It may not.
    pub(crate) async fn upload(
        &self,
        camera: Option<&CameraId>,
        headers: &HeaderMap,
        query: &str,
        peer: IpAddr,
    ) -> Result<(), Refused> {
        let (given, wrong) = given(headers, query);
        // Nothing was guessed.
        let Some(given) = given.filter(|given| !given.is_empty()) else { return Err(wrong) };
        let known = self.shared.get();
        if !known.read && camera.is_none_or(|camera| !self.own.contains_key(camera)) {
            return Err(Refused::NotReady);
        }
        let mut found = Found::default();
        let verdict = self
            .gate
            .judge(Realm::Uploads, peer, || {
                found = self.find(&known, camera, &given);
                found.right
            })
            .await;
        if let (Some(entry), Some(camera)) = (&found.entry, camera) {
            self.note(&known, entry, camera);
        }
        match (verdict, camera) {
            (Verdict::Right, Some(camera)) => {
                let sentence = format_args!("camera {camera}: uploads come from {peer}");
                self.gate.audit.came(
                    Event::UploadFrom,
                    Some(camera),
                    peer,
                    clock::mono(),
                    sentence,
                );
                Ok(())
            }
            (Verdict::Right, None) => Ok(()),
            (Verdict::Wrong | Verdict::WrongLate, _) => Err(wrong),
            (Verdict::Refused, _) => Err(Refused::Throttled),
        }
    }

    /// Compares with every password that counts: how long that takes must not tell which one it is.
    fn find(&self, known: &Known, camera: Option<&CameraId>, given: &str) -> Found {
        let content = &known.content;
        let (plain, places) = match camera {
            None => (self.relay.iter().chain(self.own.values()).collect::<Vec<_>>(), None),
            Some(camera) => {
                let own = self.own.get(camera);
                // A camera's own passwords replace the relay's for it.
                let relays = own.is_none() && content.list.relays_too(camera, &content.used);
                let relay = self.relay.as_ref().filter(|_| relays);
                let all = relays.then_some(Place::All);
                let places = [Some(Place::Camera(camera.clone())), all];
                (own.or(relay).into_iter().collect(), Some(places))
            }
        };
        let right = plain.into_iter().fold(false, |right, one| one.is(given) | right);
        let mut found = Found { right, entry: None };
        let Some(key) = content.key.as_ref().filter(|_| given.len() <= MAX_PASSWORD) else {
            return found;
        };
        let hash = key.hash(given);
        for entry in content.list.all() {
            let counts = places
                .as_ref()
                .is_none_or(|places| places.iter().flatten().any(|place| *place == entry.place));
            if counts && entry.is(&hash) {
                found = Found { right: found.right | entry.is_valid(), entry: Some(entry.clone()) };
            }
        }
        found
    }

    fn note(&self, known: &Known, entry: &Entry, camera: &CameraId) {
        let (name, at_us) = (entry.name(), clock::wall_us());
        if known.content.used.is_news(&name, camera, at_us) {
            // What finds no place comes again with the next picture.
            let _ = self.mail.try_send(Letter { name, camera: camera.clone(), at_us });
        }
    }

    /// Whether a request comes from the owner; the user's name does not matter.
    ///
    /// # Errors
    /// The answer for whoever it is from.
    pub(crate) async fn owner(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
    ) -> Result<(), Box<Response>> {
        let Some(password) = &self.owner else {
            return Err(Box::new(respond::not_found(OFF)));
        };
        let ask = |line: &str| Err(Box::new(respond::unauthorised("stillwatch owner", line)));
        let Some(given) = basic(headers) else { return ask("the owner's password is asked for") };
        let now = clock::mono();
        let audit = &self.gate.audit;
        match self.gate.judge(Realm::Owner, peer, || password.is(&given)).await {
            Verdict::Right => {
                let sentence = format_args!("the owner comes from {peer}");
                audit.came(Event::OwnerFrom, None, peer, now, sentence);
                Ok(())
            }
            Verdict::Wrong | Verdict::WrongLate => {
                let sentence = format_args!("a wrong password for the owner's page from {peer}");
                audit.say(Event::OwnerPasswordWrong, None, Some(peer), now, sentence);
                ask("this is not the owner's password")
            }
            Verdict::Refused => Err(Box::new(too_many())),
        }
    }
}

/// What a request gives, and what it is if that is wrong.
fn given(headers: &HeaderMap, query: &str) -> (Option<String>, Refused) {
    if let Some(token) = bearer(headers) {
        return (Some(token.to_owned()), Refused::Token);
    }
    let given = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "password");
    (given.map(|(_, given)| given.into_owned()), Refused::Password)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The password of HTTP Basic, whoever the user says to be.
fn basic(headers: &HeaderMap) -> Option<String> {
    let Authorization(given) = headers.typed_get::<Authorization<Basic>>()?;
    Some(given.password().to_owned())
}

/// For who guesses too often.
fn too_many() -> Response {
    let line = "too many wrong passwords from this address";
    respond::retry(respond::line(http::StatusCode::TOO_MANY_REQUESTS, line))
}

#[cfg(test)]
mod tests;
