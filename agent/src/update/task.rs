//! The task: one thing after the other, each with a deadline. What is decided is in the files beside, and
//! how an offer gets here in `bundle.rs`.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use frame::update::{Offer, is_compatible};
use frame::version::Version;
use ladder::Mono;
use runtime::clock;
use runtime::event::{About, Event};
use runtime::update::{FOLDER, Handed, Phase, State};
use tokio_util::sync::CancellationToken;

use super::Updates;
use super::bundle::Wanted;
use super::fetch::{self, Answer, NotCame};
use super::files::Folder;
use super::permit::{is_done_with, takes};
use super::plan::{Plan, Said};
use super::told::{Told, told};
use crate::config::UpdateConfig;
use crate::health::Health;
use crate::upload::{Http, Traffic};

/// How often the updater's state is read, at most; and how often it is looked whether something may be
/// fetched.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// The same of a machine that has no updater, or nothing to fetch.
const LOOK_RARELY: Duration = Duration::from_secs(5);

/// Longest state that is believed to be one, in bytes.
const MAX_STATE: u64 = 64 << 10;

/// That a card does not answer for so long is told.
const CARD_WITHIN: Duration = Duration::from_secs(20);

/// For so long is kept what may be offered again.
pub(super) const DAY: Duration = Duration::from_secs(24 * 3_600);

/// What the task needs.
#[derive(Debug)]
pub(crate) struct Updater {
    pub config: UpdateConfig,
    pub relays: Vec<Http>,
    /// The agent's state directory.
    pub folder: Option<PathBuf>,
    pub health: Arc<Health>,
    pub traffic: Arc<Traffic>,
    pub updates: Arc<Updates>,
}

/// Asks for updates, and fetches them, until `stop`.
pub(crate) async fn run(updater: Updater, stop: CancellationToken) {
    let Some(folder) = updater.folder.clone() else {
        tracing::debug!("there is no state directory: no updates are fetched");
        return stop.cancelled().await;
    };
    let mut task = Task::new(updater, Folder::at(folder.join(FOLDER)));
    let work = async {
        loop {
            let wait = task.turn().await;
            tokio::time::sleep(wait).await;
        }
    };
    let _: Option<()> = stop.run_until_cancelled(work).await;
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) updater: Updater,
    pub(super) folder: Folder,
    plan: Plan,
    looked: Option<Mono>,
    state: Option<State>,
    pub(super) handed: Option<Handed>,
    pub(super) wanted: Option<Wanted>,
    /// The last offer that was not taken, and why: said once.
    not_taken: Option<(Version, String)>,
    /// When fetching came to nothing, the bundle being another than was offered.
    pub(super) wrong: VecDeque<Mono>,
    wrong_hash: String,
    /// The relay has had nothing since then.
    nothing_since: Option<Mono>,
    ask_failed: bool,
    card_failed: bool,
}

impl Task {
    pub(super) fn new(updater: Updater, folder: Folder) -> Task {
        let plan = Plan::new(clock::mono(), updater.config.poll, fastrand::f64());
        Task {
            updater,
            folder,
            plan,
            looked: None,
            state: None,
            handed: None,
            wanted: None,
            not_taken: None,
            wrong: VecDeque::new(),
            wrong_hash: String::new(),
            nothing_since: None,
            ask_failed: false,
            card_failed: false,
        }
    }

    /// Does what there is to do, and returns how long nothing has to be done.
    pub(super) async fn turn(&mut self) -> Duration {
        if self.looked.is_none_or(|looked| clock::mono().since(looked) >= LOOK) {
            self.look().await;
        }
        let Some(state) = self.state.clone() else {
            self.updater.updates.tell(Told::default());
            return LOOK_RARELY.min(self.updater.config.poll);
        };
        if !self.updater.config.enabled {
            self.tell(&state);
            return LOOK_RARELY;
        }
        if clock::mono() >= self.plan.next_at() {
            self.ask(&state).await;
        }
        let wait = match self.wanted.take() {
            Some(wanted) => self.fetch(&state, wanted).await,
            None => LOOK_RARELY,
        };
        self.tell(&state);
        wait.min(self.plan.next_at().since(clock::mono())).max(Duration::from_millis(1))
    }

    fn tell(&self, state: &State) {
        let progress = self.wanted.as_ref().map(Wanted::progress);
        let handed = self.handed.as_ref().map(|handed| handed.version.as_str());
        self.updater.updates.tell(told(state, progress.as_ref(), handed));
    }

    /// Reads what the updater says, and clears away what that makes useless.
    async fn look(&mut self) {
        self.looked = Some(clock::mono());
        let state = read_state(&self.updater.config.state);
        if state == self.state {
            return;
        }
        self.state.clone_from(&state);
        let Some(state) = state else { return };
        if self.wanted.as_ref().is_some_and(|wanted| takes(&state, &wanted.offer).is_err()) {
            self.wanted = None;
        }
        let (folder, enabled) = (self.folder.clone(), self.updater.config.enabled);
        let wanted = self.wanted.as_ref().map(|wanted| wanted.offer.version.to_string());
        let look = move || {
            let is_useful =
                |handed: &Handed| enabled && !is_done_with(&state, &handed.version, handed.now);
            let handed = folder.handed().filter(is_useful);
            if handed.is_none() {
                folder.take_back()?;
            }
            let wanted =
                handed.as_ref().map(|handed| handed.version.as_str()).or(wanted.as_deref());
            folder
                .tidy(|version| Some(version) != wanted && is_done_with(&state, version, false))?;
            Ok(handed)
        };
        if let Some(handed) = self.on_card(look).await {
            self.handed = handed;
        }
    }

    /// Asks the relay in use, and if it knows nothing the others in their order.
    async fn ask(&mut self, state: &State) {
        let random = fastrand::f64();
        if !is_compatible(&state.compatible) || state.system.parse::<Version>().is_err() {
            self.plan.heard(clock::mono(), Said::Failed(None), random);
            return;
        }
        let relays = &self.updater.relays;
        let first = self.updater.traffic.seen().relay.min(relays.len().saturating_sub(1));
        let others = (0..relays.len()).filter(|relay| *relay != first);
        let mut last = (Said::Unknown, None);
        for place in std::iter::once(first).chain(others) {
            let Some(relay) = relays.get(place) else { continue };
            let answer = fetch::ask(relay, &state.compatible, &state.system).await;
            match answer.said() {
                Said::Something => {
                    last = (Said::Something, Some((place, answer)));
                    break;
                }
                Said::Unknown => {}
                said @ Said::Failed(_) => last = (said, Some((place, answer))),
            }
        }
        let (said, answer) = last;
        self.plan.heard(clock::mono(), said, random);
        match answer {
            Some((place, Answer::Offer(offer))) => {
                (self.nothing_since, self.ask_failed) = (None, false);
                self.offered(state, *offer, place).await;
            }
            Some((_, Answer::Failed(NotCame { why, .. }))) => {
                if !std::mem::replace(&mut self.ask_failed, true) {
                    tracing::info!("the relay can't be asked for updates: {why}");
                }
            }
            Some((_, Answer::Nothing)) => {
                self.ask_failed = false;
                self.nothing(state).await;
            }
            Some((_, Answer::Unknown)) | None => {}
        }
    }

    /// There is nothing for this camera, or not any more: its owner, or who makes the updates, has taken
    /// it back.
    async fn nothing(&mut self, state: &State) {
        let now = clock::mono();
        self.wanted = None;
        let since = *self.nothing_since.get_or_insert(now);
        let waits = matches!(state.phase, Phase::Idle | Phase::Waiting);
        if let Some(handed) = self.handed.take_if(|_| waits) {
            tracing::info!("update {}: the relay does not offer it any more", handed.version);
            let folder = self.folder.clone();
            // Its bundle is kept for a day, as any part is: it may be offered again.
            self.on_card(move || folder.take_back()).await;
        }
        if now.since(since) >= DAY && self.handed.is_none() {
            self.nothing_since = Some(now);
            let folder = self.folder.clone();
            self.on_card(move || folder.keep_only(None, None)).await;
        }
    }

    async fn offered(&mut self, state: &State, offer: Offer, relay: usize) {
        let version = offer.version.clone();
        if let Err(why) = takes(state, &offer) {
            self.wanted = None;
            if self.not_taken.as_ref() != Some(&(version.clone(), why.clone())) {
                tracing::info!("update {version} is not taken: {why}");
                self.not_taken = Some((version, why));
            }
            return;
        }
        let is_handed = |handed: &Handed| handed.version == version.to_string();
        if let Some(handed) = self.handed.clone().filter(is_handed) {
            self.wanted = None;
            // What is in the updater's hands already is not asked for again.
            let waits = matches!(state.phase, Phase::Idle | Phase::Waiting);
            if offer.now != handed.now && waits {
                self.hand(version.to_string(), offer.now).await;
            }
            return;
        }
        if let Some(wanted) = &mut self.wanted
            && (&wanted.offer.sha256, &wanted.offer.version) == (&offer.sha256, &version)
        {
            if wanted.relay != relay || wanted.offer.path != offer.path {
                (wanted.tag, wanted.coming) = (None, None);
            }
            (wanted.offer, wanted.relay) = (offer, relay);
            return;
        }
        Event::UpdateOffered.say(
            About::organ("update"),
            format_args!("update {version}: the relay offers it, it is fetched now"),
        );
        let (folder, handed, keep) = (self.folder.clone(), self.handed.clone(), offer.clone());
        self.on_card(move || folder.keep_only(handed.as_ref(), Some(&keep))).await;
        if self.wrong_hash != offer.sha256 {
            self.wrong.clear();
            self.wrong_hash.clone_from(&offer.sha256);
        }
        self.wanted = Some(Wanted::new(offer, relay, self.updater.config.max_rate));
    }

    pub(super) async fn hand(&mut self, version: String, now: bool) -> bool {
        let folder = self.folder.clone();
        let handed = self.on_card(move || folder.hand(&version, now)).await;
        let done = handed.is_some();
        if done {
            self.handed = handed;
        }
        done
    }

    /// Does what may wait for the card where nobody else waits, and says so if it takes long. One at a
    /// time: a card that hangs gets no further thread.
    pub(super) async fn on_card<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let mut working = tokio::task::spawn_blocking(work);
        let result = loop {
            match tokio::time::timeout(CARD_WITHIN, &mut working).await {
                Ok(Ok(result)) => break result,
                Ok(Err(panicked)) => break Err(io::Error::other(panicked)),
                Err(_) => {
                    let mut told = self.updater.updates.told();
                    if let Some(update) = &mut told.update {
                        update.why = Some("the data partition does not answer".to_owned());
                    }
                    self.updater.updates.tell(told);
                }
            }
        };
        let failed = std::mem::replace(&mut self.card_failed, result.is_err());
        if let Err(error) = &result
            && !failed
        {
            tracing::warn!("updates: can't write to the data partition: {error}");
        }
        result.ok()
    }
}

/// `None`: there is no updater, or it says nothing.
fn read_state(path: &std::path::Path) -> Option<State> {
    let mut text = String::new();
    File::open(path).ok()?.take(MAX_STATE).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
