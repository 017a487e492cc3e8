//! One offer on its way here: piece after piece onto the card, until it is whole.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use frame::blocks::list_bytes;
use frame::update::Offer;
use ladder::{Backoff, Mono};
use runtime::clock;
use runtime::event::{About, Event};
use runtime::update::State;

use super::blocks::{Here, Step};
use super::fetch::{self, Coming, NotCame, Remote};
use super::files::Part;
use super::pace::{Pace, Turn};
use super::permit::{Room, may_fetch};
use super::task::{DAY, LOOK, Task};
use super::told::Progress;

/// How often the room on the data partition is looked at.
const MEASURE: Duration = Duration::from_secs(10);

/// Waits after a piece that did not come.
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// The longest wait that a relay can ask for.
const LONGEST_HOLD: Duration = Duration::from_secs(3_600);

/// A bundle that is not what was offered is fetched so often in that time.
const TRIES: usize = 3;

/// While pictures do not get through nothing is fetched, but not for ever: then an update may be what
/// helps, and there is no live picture to be in the way of.
const GIVE_WAY: Duration = Duration::from_secs(600);

/// So often the list of blocks may not come, before all of the bundle is fetched.
const LIST_TRIES: u32 = 3;

/// After blocks that were copied: the card is not there for updates alone.
const COPIED: Duration = Duration::from_millis(100);

/// What of a bundle is here already.
#[derive(Debug)]
enum List {
    /// Its list of blocks comes, so far this; and how often it did not.
    Coming(Vec<u8>, u32),
    Here(Arc<Here>),
    /// Nobody knows: all of it is fetched.
    None,
}

/// An offer that was taken.
#[derive(Debug)]
pub(super) struct Wanted {
    pub offer: Offer,
    /// Of which relay.
    pub relay: usize,
    list: List,
    /// `None`: it was not looked at yet, or the card failed.
    part: Option<Part>,
    room: Option<(Mono, Room)>,
    pace: Pace,
    backoff: Backoff,
    /// Of the relay's file.
    pub tag: Option<String>,
    /// Whoever knows no ranges sends all of it.
    pub coming: Option<Coming>,
    /// What is waited for.
    why: Option<String>,
    /// It is something here, and not the relay.
    paused: bool,
}

impl Task {
    /// Goes on with an offer, unless something is in the way; returns when to look again.
    pub(super) async fn fetch(&mut self, state: &State, mut wanted: Wanted) -> Duration {
        let now = clock::mono();
        let wait = if let Err(why) = self.may_fetch(state, &mut wanted).await {
            (wanted.why, wanted.paused) = (Some(why), true);
            // Nobody knows how the link is afterwards; and a relay does not keep what is not read.
            wanted.coming = None;
            wanted.pace.hold(now, LOOK);
            LOOK
        } else {
            if std::mem::take(&mut wanted.paused) {
                wanted.why = None;
            }
            match wanted.pace.turn(now, &self.updater.traffic.seen()) {
                Turn::Wait(until) => until.since(now),
                Turn::Fetch(_) if !self.has_part(&mut wanted).await => LOOK,
                Turn::Fetch(_) if wanted.is_whole() => return self.finish(wanted).await,
                Turn::Fetch(length) => match self.go_on(&mut wanted, length).await {
                    Some(wait) => wait,
                    None => return LOOK,
                },
            }
        };
        self.wanted = Some(wanted);
        wait
    }

    async fn may_fetch(&mut self, state: &State, wanted: &mut Wanted) -> Result<(), String> {
        let now = clock::mono();
        self.wrong.retain(|at| now.since(*at) < DAY);
        if self.wrong.len() >= TRIES {
            return Err("what the relay sends is not what it offers".to_owned());
        }
        let trouble = self.updater.health.upload.trouble();
        if trouble.is_some_and(|trouble| now.since(trouble.since) < GIVE_WAY) {
            return Err("pictures do not get through".to_owned());
        }
        let room = match wanted.room {
            Some((at, room)) if now.since(at) < MEASURE => room,
            _ => {
                let (folder, offer) = (self.folder.clone(), wanted.offer.clone());
                let room = self.on_card(move || folder.room(&offer)).await;
                let room = room.ok_or_else(card_fails)?;
                wanted.room = Some((now, room));
                room
            }
        };
        may_fetch(state.phase, &self.updater.updates.around(), room)
    }

    /// Looks at what is there already, if that was not done.
    async fn has_part(&mut self, wanted: &mut Wanted) -> bool {
        if wanted.part.is_none() {
            let (folder, offer) = (self.folder.clone(), wanted.offer.clone());
            wanted.part = self.on_card(move || folder.part(&offer)).await;
        }
        if wanted.part.is_none() {
            wanted.failed(card_fails(), None);
        }
        wanted.part.is_some()
    }

    /// Goes on with `length` bytes, or with what is here. Returns how long to wait; `None`: the relay does not have it
    /// any more.
    async fn go_on(&mut self, wanted: &mut Wanted, length: u64) -> Option<Duration> {
        let here = match &wanted.list {
            List::Coming(..) => {
                self.list(wanted, length).await;
                return Some(Duration::ZERO);
            }
            List::None => None,
            List::Here(here) => Some(Arc::clone(here)),
        };
        let mut until = wanted.offer.bytes;
        // A relay that knows no ranges sends all of it.
        if let Some(here) = here.filter(|_| wanted.coming.is_none()) {
            let at = wanted.length();
            match self.on_card(move || Ok(here.step(at))).await? {
                Step::Fetch(end) => until = end,
                Step::Copy(bytes) => {
                    self.add(wanted, bytes).await;
                    return Some(COPIED);
                }
            }
        }
        let length = length.min(until.saturating_sub(wanted.length()));
        let gone = self.piece(wanted, length).await;
        (!gone).then_some(Duration::ZERO)
    }

    /// Adds what came, or was here, to the part. One that failed is looked through again: who knows what is in it.
    async fn add(&mut self, wanted: &mut Wanted, bytes: Vec<u8>) {
        if let Some(mut part) = wanted.part.take_if(|_| !bytes.is_empty()) {
            let add = move || part.add(&bytes).map(|()| part);
            wanted.part = self.on_card(add).await;
        }
        if wanted.part.is_none() {
            wanted.failed(card_fails(), None);
        }
    }

    /// Fetches the next bytes of the list of blocks, and looks for them when it is whole.
    async fn list(&mut self, wanted: &mut Wanted, length: u64) {
        let List::Coming(list, failures) = &mut wanted.list else { return };
        let bytes = list_bytes(wanted.offer.bytes);
        let path = wanted.offer.path.strip_suffix(".raucb").map(|path| format!("{path}.blocks"));
        let began = clock::mono();
        let (Some(path), Some(relay)) = (path, self.updater.relays.get(wanted.relay)) else {
            wanted.list = List::None;
            return;
        };
        let from = list.len() as u64;
        if from < bytes {
            let length = length.min(bytes - from);
            let remote = Remote { path: &path, bytes };
            let came = match fetch::piece(relay, remote, from, length, None).await {
                // It would be all of it, at once.
                Ok(coming) if coming.is_whole => Err(None),
                Ok(mut coming) => {
                    let (bytes, failed) = coming.read(length).await;
                    list.extend_from_slice(&bytes);
                    failed.map_or(Ok((bytes.len() as u64, coming.head)), |failed| Err(Some(failed)))
                }
                Err(NotCame { gone: true, .. }) => Err(None),
                Err(failed) => Err(Some(failed)),
            };
            match came {
                Ok((count, head)) => {
                    let now = clock::mono();
                    wanted.pace.fetched(now, count, head, now.since(began));
                }
                Err(Some(NotCame { why, after, .. })) if *failures < LIST_TRIES => {
                    *failures += 1;
                    wanted.failed(why, after);
                }
                Err(_) => wanted.list = List::None,
            }
            return;
        }
        let (list, slot) = (std::mem::take(list), self.updater.config.slot.clone());
        let (whole, at) = (wanted.offer.bytes, wanted.length());
        // What can't be found is fetched.
        let found = tokio::task::spawn_blocking(move || Here::find(&slot, whole, &list)).await;
        wanted.list = match found.map_err(io::Error::other).and_then(|found| found) {
            Ok(here) => {
                tracing::info!(
                    "update {}: {} of {} MB have to be fetched, the rest is here",
                    wanted.offer.version,
                    here.missing(at).div_ceil(1_000_000),
                    whole.div_ceil(1_000_000)
                );
                List::Here(Arc::new(here))
            }
            Err(error) => {
                tracing::info!("update {}: all of it is fetched: {error}", wanted.offer.version);
                List::None
            }
        };
    }

    /// Fetches a piece. Returns whether the relay does not have it any more.
    async fn piece(&mut self, wanted: &mut Wanted, length: u64) -> bool {
        let began = clock::mono();
        let came = self.pull(wanted, length).await;
        let now = clock::mono();
        let (bytes, head, failed) = match came {
            Ok((bytes, head, failed)) => (bytes, head, failed),
            Err(failed) => (Vec::new(), Duration::ZERO, Some(failed)),
        };
        let count = bytes.len() as u64;
        self.add(wanted, bytes).await;
        if let Some(NotCame { why, after, gone }) = failed {
            wanted.failed(why, after);
            return gone;
        }
        if wanted.part.is_some() {
            wanted.why = None;
            wanted.backoff.reset();
            wanted.pace.fetched(now, count, head, now.since(began));
        }
        false
    }

    /// What comes next of a bundle: bytes, how long the answer took to begin, and what went wrong in the
    /// middle.
    async fn pull(
        &mut self,
        wanted: &mut Wanted,
        length: u64,
    ) -> Result<(Vec<u8>, Duration, Option<NotCame>), NotCame> {
        let from = wanted.length();
        let left = wanted.offer.bytes.saturating_sub(from);
        let length = length.min(left);
        let mut head = Duration::ZERO;
        if wanted.coming.is_none() {
            let Some(relay) = self.updater.relays.get(wanted.relay) else {
                return Err(NotCame { why: String::new(), after: None, gone: true });
            };
            let Offer { path, bytes, .. } = &wanted.offer;
            let remote = Remote { path, bytes: *bytes };
            let coming = fetch::piece(relay, remote, from, length, wanted.tag.as_deref()).await?;
            head = coming.head;
            wanted.tag.clone_from(&coming.tag);
            if coming.is_whole
                && let Some(mut part) = wanted.part.take()
            {
                // It knows no ranges, or has another file by now: from the beginning.
                wanted.part = self.on_card(move || part.clear().map(|()| part)).await;
            }
            wanted.coming = Some(coming);
        }
        let Some(coming) = &mut wanted.coming else { return Ok((Vec::new(), head, None)) };
        let (bytes, failed) = coming.read(length).await;
        if !coming.is_whole {
            wanted.coming = None;
        }
        Ok((bytes, head, failed))
    }

    /// All of it is there: whether it is what was offered has to be seen.
    async fn finish(&mut self, mut wanted: Wanted) -> Duration {
        let (folder, offer) = (self.folder.clone(), wanted.offer.clone());
        let Some(part) = wanted.part.take() else { return LOOK };
        let finished = self.on_card(move || folder.finish(part, &offer)).await;
        let version = wanted.offer.version.to_string();
        match finished {
            Some(true) => {
                let now = wanted.offer.now;
                if self.hand(version.clone(), now).await {
                    let mb = wanted.offer.bytes.div_ceil(1_000_000);
                    Event::UpdateFetched.say(
                        About::organ("update"),
                        format_args!("update {version}: fetched, {mb} MB; the updater has it now"),
                    );
                    let (folder, handed) = (self.folder.clone(), self.handed.clone());
                    self.on_card(move || folder.keep_only(handed.as_ref(), None)).await;
                    return LOOK;
                }
                wanted.failed(card_fails(), None);
            }
            Some(false) => {
                self.wrong.push_back(clock::mono());
                let times = self.wrong.len();
                tracing::warn!(
                    "update {version}: what came is not what was offered ({times} of {TRIES} \
                     attempts in a day)"
                );
                wanted.tag = None;
                // The next time without what is here: the slot may be another than it seems.
                wanted.list = List::None;
            }
            None => wanted.failed(card_fails(), None),
        }
        self.wanted = Some(wanted);
        LOOK
    }
}

fn card_fails() -> String {
    "the data partition can't be written to".to_owned()
}

impl Wanted {
    pub(super) fn new(offer: Offer, relay: usize, max_rate: Option<u64>) -> Wanted {
        Wanted {
            offer,
            relay,
            list: List::Coming(Vec::new(), 0),
            part: None,
            room: None,
            pace: Pace::new(clock::mono(), max_rate),
            backoff: Backoff::new(RETRY_MIN, RETRY_MAX, fastrand::u64(..)),
            tag: None,
            coming: None,
            why: None,
            paused: false,
        }
    }

    /// Nothing came, or it could not be kept; after a while it is tried again.
    fn failed(&mut self, why: String, after: Option<Duration>) {
        tracing::debug!("update {}: {why}", self.offer.version);
        let wait = self.backoff.next().unwrap_or(RETRY_MAX);
        self.pace.hold(clock::mono(), wait.max(after.unwrap_or_default().min(LONGEST_HOLD)));
        self.coming = None;
        self.why = Some(why);
    }

    fn length(&self) -> u64 {
        self.part.as_ref().map_or(0, Part::length)
    }

    fn is_whole(&self) -> bool {
        self.length() >= self.offer.bytes
    }

    pub(super) fn progress(&self) -> Progress {
        let percent = self.length().saturating_mul(100) / self.offer.bytes.max(1);
        Progress {
            version: self.offer.version.to_string(),
            percent: u8::try_from(percent).unwrap_or(100).min(100),
            why: self.why.clone(),
        }
    }
}
