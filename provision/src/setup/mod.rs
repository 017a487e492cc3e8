//! `stillwatch-provision setup`: keeps the setup access point of a camera that has no configuration.
//!
//! When what is done is `plan.rs`' decision; `radio.rs` does it, `door.rs` lets the page ask. The page
//! itself, and whatever speaks to a network, is `stillwatch-agent setup`, another user's process.

mod door;
mod heard;
mod plan;
mod radio;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ladder::Mono;
use runtime::event::{About, Event};
use runtime::setup::{Answer, Ask, Heard, Setup};
use runtime::{clock, notify, signal};
use tokio::net::UnixListener;

use self::plan::{Act, Plan, Seen, Wish};
use self::radio::{Radio, said, systemctl};
use crate::access_point::AccessPoint;
use crate::apply;
use crate::card::Card;
use crate::cli::Cli;

/// How often it looks.
const TURN: Duration = Duration::from_millis(500);

/// The page's answer has to reach the phone before the access point goes.
const GIVE_WAY: Duration = Duration::from_secs(3);

/// When the unit is stopped; it waits for 10 s.
const CLOSED_WITHIN: Duration = Duration::from_secs(8);

/// Why there is no access point.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error("can't listen at {path}: {error}", path = .0.display(), error = .1)]
    Listen(PathBuf, std::io::Error),
    #[error("can't listen for signals: {0}")]
    Signals(std::io::Error),
    #[error(
        "{0}: can't be read: run stillwatch-provision first; it writes that if nothing is configured"
    )]
    NoAccessPoint(String),
}

/// Between the door and the keeper.
struct Desk {
    cli: Cli,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    setup: Setup,
    takes_wishes: bool,
    wished: Option<Wished>,
}

/// What somebody asks for.
struct Wished {
    wish: Wish,
    at: Mono,
    chosen: Option<Chosen>,
}

/// What was sent, and is right.
#[derive(Debug, Clone)]
struct Chosen {
    text: String,
    card: Card,
}

/// Keeps the access point until it is configured, or nobody came.
pub(crate) async fn run(cli: Cli, interface: String, socket: PathBuf) -> Result<(), SetupError> {
    let access_point = AccessPoint::read(&cli.run).map_err(SetupError::NoAccessPoint)?;
    let stop = signal::stop_requested();
    let listener =
        door::listen(&socket).map_err(|error| SetupError::Listen(socket.clone(), error))?;
    let radio = Radio { interface, run: cli.run.clone() };
    let setup = Setup { name: access_point.name.clone(), ..Setup::default() };
    let inner = Mutex::new(Inner { setup, ..Inner::default() });
    let desk = Arc::new(Desk { cli, inner });
    let keeper = Keeper { radio, access_point, desk, plan: Plan::new(clock::mono()), chosen: None };
    notify::ready();
    let ended = keeper.keep(listener, stop).await.map_err(SetupError::Signals);
    let _ = std::fs::remove_file(socket);
    ended
}

impl Desk {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, ask: Ask) -> Answer {
        match ask {
            Ask::Look => Answer::Setup(self.inner().setup.clone()),
            Ask::Scan => self.wish(Wish::Scan, None),
            Ask::Take { text } => self.take(text).await,
        }
    }

    /// The very checks that the card's file goes through.
    async fn take(&self, text: String) -> Answer {
        let (cli, to_check) = (self.cli.clone(), text.clone());
        // The agent is asked, which has a deadline of its own.
        let checked = tokio::task::spawn_blocking(move || apply::check(&cli, &to_check)).await;
        match checked {
            Ok(Ok(card)) => {
                let wish = Wish::Try { wifi: card.wifi.is_some() };
                self.wish(wish, Some(Chosen { text, card }))
            }
            Ok(Err(mistakes)) => Answer::Wrong(mistakes),
            Err(_) => Answer::Refused("it can't be checked; send it again".to_owned()),
        }
    }

    fn wish(&self, wish: Wish, chosen: Option<Chosen>) -> Answer {
        let mut inner = self.inner();
        if !inner.takes_wishes || inner.wished.is_some() {
            return Answer::Refused("the camera is at work; send it again in a moment".to_owned());
        }
        inner.wished = Some(Wished { wish, at: clock::mono(), chosen });
        Answer::Begun
    }
}

struct Keeper {
    radio: Radio,
    access_point: AccessPoint,
    desk: Arc<Desk>,
    plan: Plan,
    /// What is being tried.
    chosen: Option<Chosen>,
}

impl Keeper {
    async fn keep(
        mut self,
        listener: UnixListener,
        stop: impl Future<Output = std::io::Result<&'static str>>,
    ) -> std::io::Result<()> {
        let desk = Arc::clone(&self.desk);
        let signal = tokio::select! {
            signal = stop => Some(signal),
            () = self.turn_on() => None,
            () = door::answer(listener, desk) => None,
        };
        let Some(signal) = signal.transpose()? else { return Ok(()) };
        tracing::info!("{signal}: closing the setup access point");
        if !matches!(tokio::time::timeout(CLOSED_WITHIN, self.radio.close()).await, Ok(Ok(()))) {
            tracing::warn!("setup: the access point could not be closed");
        }
        Ok(())
    }

    /// Turns until it ends.
    async fn turn_on(&mut self) {
        loop {
            let now = clock::mono();
            let seen = self.see(now).await;
            let act = self.plan.next(now, seen);
            self.tell(now);
            match act {
                None => tokio::time::sleep(TURN).await,
                Some(act) => {
                    if self.act(act).await {
                        return;
                    }
                }
            }
        }
    }

    async fn see(&mut self, now: Mono) -> Seen {
        let wished = {
            let mut inner = self.desk.inner();
            let is_due = |wished: &Wished| now.since(wished.at) >= GIVE_WAY;
            if inner.wished.as_ref().is_some_and(is_due) { inner.wished.take() } else { None }
        };
        let wish = wished.as_ref().map(|wished| wished.wish);
        if let Some(chosen) = wished.and_then(|wished| wished.chosen) {
            self.chosen = Some(chosen);
        }
        let mut seen = Seen { radio: self.radio.is_there(), wish, ..Seen::default() };
        if let (true, Some(Chosen { card, .. })) = (self.plan.is_trying(), &self.chosen)
            && let Some(wifi) = &card.wifi
        {
            seen.link = self.radio.link(&wifi.ssid).await;
        }
        seen
    }

    /// For the page.
    fn tell(&self, now: Mono) {
        let mut inner = self.desk.inner();
        inner.takes_wishes = self.plan.takes_wishes();
        inner.setup.trouble = self.plan.trouble().map(str::to_owned);
        inner.setup.left = self.plan.left(now);
    }

    /// Does it. Returns whether that was the last.
    async fn act(&mut self, act: Act) -> bool {
        let before = self.plan.trouble().map(str::to_owned);
        let outcome = match act {
            Act::Scan => self.scan().await,
            Act::Open => self.radio.open(&self.access_point).await,
            Act::Try => match &self.chosen {
                Some(Chosen { card, .. }) => self.radio.join(card).await,
                None => Err("nothing was sent".to_owned()),
            },
            Act::Keep => self.take_over().await,
            Act::Close => self.radio.close().await,
        };
        let is_last = act == Act::Close || (act == Act::Keep && outcome.is_ok());
        self.say(act, &outcome, before.as_deref());
        self.plan.did(clock::mono(), act, outcome);
        is_last
    }

    fn say(&self, act: Act, outcome: &Result<(), String>, trouble: Option<&str>) {
        let about = About::organ("setup");
        let name = &self.access_point.name;
        match (act, outcome) {
            (Act::Open, Ok(())) => {
                if let Some(why) = trouble {
                    Event::SetupFailed.say(about, format_args!("setup: the chosen WiFi: {why}"));
                }
                Event::SetupOpen.say(
                    about,
                    format_args!(
                        "setup: the access point \"{name}\" is open; its password stands in \
                         stillwatch-status.txt on the card"
                    ),
                );
            }
            (Act::Try, Ok(())) => tracing::info!("setup: trying the WiFi that was chosen"),
            (Act::Keep, Ok(())) => {
                Event::SetupClosed.say(about, format_args!("setup: the camera is configured"));
            }
            (Act::Close, _) => Event::SetupClosed.say(
                about,
                format_args!(
                    "setup: nobody configured the camera; power off and on opens it again"
                ),
            ),
            (Act::Scan, Ok(())) => {}
            (_, Err(why)) => tracing::warn!("setup: {act:?}: {why}"),
        }
    }

    async fn scan(&self) -> Result<(), String> {
        let mut found: Vec<Heard> = self.radio.scan().await?;
        found.retain(|network| network.ssid != self.access_point.name);
        if !found.is_empty() {
            self.desk.inner().setup.networks = found;
        }
        Ok(())
    }

    /// Keeps what works, and lets it come into force as at boot.
    async fn take_over(&mut self) -> Result<(), String> {
        let Some(Chosen { text, card }) = self.chosen.clone() else {
            return Err("nothing was sent".to_owned());
        };
        let cli = self.desk.cli.clone();
        let kept = tokio::task::spawn_blocking(move || apply::take(&cli, &text)).await;
        kept.map_err(|error| error.to_string())??;
        if card.wifi.is_none() {
            // By cable: the radio is not needed any more.
            if let Err(error) = self.radio.close().await {
                tracing::warn!("setup: {error}");
            }
        }
        // From here on it is kept: what fails now is what the next boot does.
        for outcome in [
            systemctl(&["restart", "stillwatch-provision.service"]).await,
            said("networkctl", &["reload"]).await.map(drop),
            systemctl(&["start", "--no-block", "stillwatch-agent.service"]).await,
        ] {
            if let Err(error) = outcome {
                tracing::warn!("setup: {error}");
            }
        }
        Ok(())
    }
}
