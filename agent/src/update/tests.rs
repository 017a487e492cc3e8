//! Fetching from relays that do what they like, over loopback.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use runtime::clock;
use runtime::secret::Secret;
use runtime::update::{Handed, Phase, Rejected, State};
use testbed::updates::Updates as Server;

use super::files::Folder;
use super::task::Task;
use super::*;
use crate::config::{ClockTrust, RelayAddress, UpdateConfig, UploadConfig};
use crate::health::{Failure, Health};
use crate::upload::{Choice, Http, Traffic, Trust, UploadFault};

const SYSTEM: &str = "stillwatch-debian";
const RUNS: &str = "0.1.0-20261128.0312";
const NEWER: &str = "0.2.0-20261128.0312";
const NEWEST: &str = "0.3.0-20261128.0312";

/// Longer than any of these tests takes, unless it hangs.
const SOON: Duration = Duration::from_secs(60);

/// An agent's task with its folder, and an updater's file.
struct Camera {
    scratch: tempfile::TempDir,
    health: Arc<Health>,
    updates: Arc<Updates>,
    task: Task,
}

fn http(servers: &[&Server]) -> Vec<Http> {
    let relays = servers.iter().map(|server| {
        let root: url::Url = server.url().parse().unwrap();
        let url = root.join("cameras/garden").unwrap();
        RelayAddress { url, root, password: Secret::new("p").unwrap() }
    });
    let config = UploadConfig {
        relays: relays.collect(),
        trust: Trust::Authorities(Vec::new()),
        sign_key: None,
        clock: ClockTrust::Trusted,
        transport: Choice::Auto,
        timeout: Duration::from_secs(10),
        retry_min: Duration::from_millis(200),
        retry_max: Duration::from_secs(2),
        adapt: None,
        idle_interval: None,
    };
    // As main does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Http::all(&config).unwrap()
}

impl Camera {
    fn new(servers: &[&Server]) -> Camera {
        Camera::with(servers, tempfile::tempdir().unwrap())
    }

    fn with(servers: &[&Server], scratch: tempfile::TempDir) -> Camera {
        let state = scratch.path().join("update.json");
        let (health, updates) = (Arc::new(Health::new()), Arc::new(Updates::default()));
        let updater = Updater {
            config: UpdateConfig {
                enabled: true,
                poll: Duration::from_millis(300),
                max_rate: None,
                state,
                slot: scratch.path().join("slot"),
            },
            relays: http(servers),
            folder: None,
            health: Arc::clone(&health),
            traffic: Arc::new(Traffic::default()),
            updates: Arc::clone(&updates),
        };
        let task = Task::new(updater, Folder::at(scratch.path().join("update")));
        let camera = Camera { scratch, health, updates, task };
        if !camera.scratch.path().join("update.json").exists() {
            camera.state(&State::default());
        }
        camera
    }

    /// What the updater says from now on.
    fn state(&self, state: &State) {
        let state = State {
            system: RUNS.to_owned(),
            compatible: SYSTEM.to_owned(),
            slot: "A".to_owned(),
            ..state.clone()
        };
        let json = serde_json::to_vec(&state).unwrap();
        std::fs::write(self.scratch.path().join("update.json"), json).unwrap();
    }

    /// Another process, after a power cut.
    fn restarted(self, servers: &[&Server]) -> Camera {
        Camera::with(servers, self.scratch)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join("update").join(name)
    }

    fn names(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.path("")).into_iter().flatten();
        let mut names: Vec<String> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn handed(&self) -> Option<Handed> {
        let json = std::fs::read(self.path("handed.json")).ok()?;
        serde_json::from_slice(&json).ok()
    }

    fn doing(&self) -> String {
        let Some(update) = self.updates.told().update else { return "nothing".to_owned() };
        let percent = update.percent.map(|percent| format!(" {percent} %")).unwrap_or_default();
        format!("{} {}{percent} {}", update.version, update.doing, update.why.unwrap_or_default())
    }

    async fn run(&mut self, until: impl Fn(&Camera) -> bool) {
        let began = clock::mono();
        while !until(self) {
            let waited = clock::mono().since(began);
            assert!(waited < SOON, "{}; {:?}", self.doing(), self.names());
            let wait = self.task.turn().await;
            tokio::time::sleep(wait.min(Duration::from_millis(50))).await;
        }
    }

    async fn run_for(&mut self, time: Duration) {
        let until = clock::mono().after(time);
        self.run(|_| clock::mono() >= until).await;
    }
}

fn content(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..bytes).map(|_| random.u8(..)).collect()
}

fn begins(request: &testbed::http::Message) -> bool {
    request.header("range").is_some_and(|range| range.starts_with("bytes=0-"))
}

fn bundle(version: &str) -> String {
    format!("stillwatch-{version}.raucb")
}

#[tokio::test]
async fn an_update_is_fetched_in_pieces_and_handed_over() {
    let server = Server::start();
    let offer = server.offer(NEWER, SYSTEM, content(300_000));
    let mut camera = Camera::new(&[&server]);
    camera.run(|camera| camera.doing().contains("downloading")).await;
    camera.run(|camera| camera.handed().is_some()).await;
    let handed = Handed { version: NEWER.to_owned(), file: bundle(NEWER), now: false };
    assert_eq!(camera.handed(), Some(handed));
    assert_eq!(camera.names(), ["handed.json".to_owned(), bundle(NEWER)]);
    assert_eq!(std::fs::read(camera.path(&bundle(NEWER))).unwrap(), content(300_000));
    camera.run(|camera| camera.doing().contains("waiting")).await;
    let requests = server.requests();
    let asked = &requests[0];
    let query = format!("compatible={SYSTEM}&version={RUNS}");
    assert_eq!(asked.first, format!("GET /cameras/garden/update?{query} HTTP/1.1"));
    assert_eq!(asked.header("authorization"), Some("Bearer p"));
    let pieces: Vec<_> = requests.iter().filter(|r| r.first.contains(&offer.path)).collect();
    assert!(pieces.len() >= 3, "{}", pieces.len());
    assert_eq!(pieces[0].header("range"), Some("bytes=0-16383"));
    assert_eq!(pieces[0].header("authorization"), Some("Bearer p"));
    assert_eq!(
        (pieces[0].header("if-range"), pieces[1].header("if-range")),
        (None, Some("\"same\""))
    );
    assert_eq!(server.connections(), 1, "it is kept open");

    // Its owner wants it now.
    server.offers(Some(frame::update::Offer { now: true, ..offer }));
    camera.run(|camera| camera.handed().is_some_and(|handed| handed.now)).await;
    let fetched = server.requests().iter().filter(|r| r.first.contains("/updates/")).count();
    assert_eq!(fetched, pieces.len(), "nothing is fetched twice");

    // It was installed, and did not stay.
    let rejected = Rejected { version: NEWER.into(), why: "no picture came".into(), ran: true };
    camera.state(&State { rejected: vec![rejected], ..State::default() });
    // The updater has taken its note, and the owner does not want it any more.
    std::fs::remove_file(camera.path("handed.json")).unwrap();
    server.offers(None);
    camera.run(|camera| camera.names().is_empty()).await;
    camera.run_for(Duration::from_secs(2)).await;
    assert_eq!((camera.doing().as_str(), camera.names().len()), ("nothing", 0));
    assert!(camera.updates.told().rejected.is_some_and(|r| r.why == "no picture came"));
}

#[tokio::test]
async fn a_relay_that_vanishes_in_the_middle_and_an_agent_that_is_restarted() {
    let server = Server::start();
    let offer = server.offer(NEWER, SYSTEM, content(400_000));
    server.vanish_after(Some(100_000));
    let mut camera = Camera::new(&[&server]);
    let part = format!("{}.part", offer.sha256);
    let length = |camera: &Camera| std::fs::metadata(camera.path(&part)).map_or(0, |m| m.len());
    camera.run(|camera| camera.doing().contains("waiting")).await;
    assert_eq!(length(&camera), 100_000, "all that came is kept");
    let mut camera = camera.restarted(&[&server]);
    server.vanish_after(Some(150_000));
    camera.run(|camera| length(camera) >= 250_000).await;
    server.vanish_after(None);
    camera.run(|camera| camera.handed().is_some()).await;
    assert_eq!(std::fs::read(camera.path(&bundle(NEWER))).unwrap(), content(400_000));
    let again = server.requests().iter().filter(|r| begins(r)).count();
    assert_eq!(again, 1, "it never began anew");
}

/// How much of bundles was asked for.
fn asked_for(server: &Server) -> u64 {
    let ranges = server.requests();
    let ranges =
        ranges.iter().filter_map(|request| request.header("range")?.strip_prefix("bytes="));
    let lengths = ranges.map(|range| {
        let (first, last) = range.split_once('-').unwrap();
        last.parse::<u64>().unwrap() + 1 - first.parse::<u64>().unwrap()
    });
    lengths.sum()
}

#[tokio::test]
async fn what_the_running_system_has_is_not_fetched() {
    let server = Server::start();
    let (old, new) = (content(400_000), content(100_000));
    let mut all = new[..96].to_vec();
    all.extend_from_slice(&old[8_192..8_192 + 80 * 4096]);
    all.extend_from_slice(&new[96..50_000]);
    let offer = server.offer(NEWER, SYSTEM, all.clone());
    server.lists(None);
    let mut camera = Camera::new(&[&server]);
    let slot = camera.scratch.path().join("slot");
    std::fs::create_dir(&slot).unwrap();
    std::fs::write(slot.join("root.erofs"), &old).unwrap();
    // A power cut in the middle.
    let part = camera.path(&format!("{}.part", offer.sha256));
    camera.run(|_| std::fs::metadata(&part).is_ok_and(|part| part.len() > 200_000)).await;
    let mut camera = camera.restarted(&[&server]);
    camera.run(|camera| camera.handed().is_some()).await;
    assert!(std::fs::read(camera.path(&bundle(NEWER))).unwrap() == all);
    let fetched = asked_for(&server);
    assert!((50_000..60_000).contains(&fetched), "{fetched}");
}

#[tokio::test]
async fn a_list_that_is_none_or_wrong_costs_nothing_but_the_list() {
    let server = Server::start();
    let wrong = |camera: &Camera| {
        let slot = camera.scratch.path().join("slot");
        std::fs::create_dir(&slot).unwrap();
        std::fs::write(slot.join("root.erofs"), vec![7; 40 * 4096]).unwrap();
    };
    let all = content(150_000);
    server.offer(NEWER, SYSTEM, all.clone());
    // Of another bundle: what is put together is not what was offered, and then all of it is fetched.
    let mut lister = frame::blocks::Lister::default();
    lister.update(&vec![7; 150_000]);
    server.lists(Some(&lister.finish()));
    let mut camera = Camera::new(&[&server]);
    wrong(&camera);
    camera.run(|camera| camera.handed().is_some()).await;
    assert!(std::fs::read(camera.path(&bundle(NEWER))).unwrap() == all);
    // Garbage of another length.
    server.offer(NEWEST, SYSTEM, all.clone());
    server.lists(Some(b"<html>"));
    camera.run(|camera| camera.handed().is_some_and(|handed| handed.version == NEWEST)).await;
    assert!(std::fs::read(camera.path(&bundle(NEWEST))).unwrap() == all);
}

#[tokio::test]
async fn a_relay_that_knows_no_ranges_sends_all_of_it() {
    let server = Server::start();
    server.offer(NEWER, SYSTEM, content(500_000));
    server.ranges(false);
    server.vanish_after(Some(120_000));
    let mut camera = Camera::new(&[&server]);
    camera.run(|camera| camera.doing().contains("waiting")).await;
    server.vanish_after(None);
    camera.run(|camera| camera.handed().is_some()).await;
    assert_eq!(std::fs::read(camera.path(&bundle(NEWER))).unwrap(), content(500_000));
    let asked = server.requests().iter().filter(|r| r.first.contains("/updates/")).count();
    assert!(asked <= 4, "{asked}: not one request for each piece");
}

#[tokio::test]
async fn what_is_not_what_was_offered_is_not_fetched_for_ever() {
    let server = Server::start();
    let offer = server.offer(NEWER, SYSTEM, content(20_000));
    server.sends(vec![7; 20_000]);
    let mut camera = Camera::new(&[&server]);
    camera.run(|camera| camera.doing().contains("not what it offers")).await;
    camera.run_for(Duration::from_secs(3)).await;
    let begun = || server.requests().iter().filter(|r| begins(r)).count();
    assert_eq!((begun(), camera.handed(), camera.names().len()), (3, None, 0));
    // Another one is another matter.
    let other = server.offer(NEWEST, SYSTEM, content(30_000));
    assert!(other.sha256 != offer.sha256);
    camera.run(|camera| camera.handed().is_some_and(|handed| handed.version == NEWEST)).await;
}

#[tokio::test]
async fn another_offer_takes_the_place_of_the_last_one() {
    let server = Server::start();
    let first = server.offer(NEWER, SYSTEM, content(3_000_000));
    let mut camera = Camera::new(&[&server]);
    camera.run(|camera| camera.names() == [format!("{}.part", first.sha256)]).await;
    server.offer(NEWEST, SYSTEM, content(50_000));
    camera.run(|camera| camera.handed().is_some_and(|handed| handed.version == NEWEST)).await;
    camera.run(|camera| camera.names() == ["handed.json".to_owned(), bundle(NEWEST)]).await;
    // It is taken back before it was installed: nothing is left to be installed at night.
    server.offers(None);
    camera.run(|camera| camera.handed().is_none()).await;
    assert_eq!(camera.names(), [bundle(NEWEST)], "but it may be offered again");
    server.offer(NEWEST, SYSTEM, content(50_000));
    let before = server.requests().iter().filter(|r| r.first.contains("/updates/")).count();
    camera.run(|camera| camera.handed().is_some()).await;
    let after = server.requests().iter().filter(|r| r.first.contains("/updates/")).count();
    assert_eq!(after, before, "and is not fetched twice then");
}

#[tokio::test]
async fn what_is_not_for_this_system_is_left_where_it_is() {
    let server = Server::start();
    let mut camera = Camera::new(&[&server]);
    for (version, compatible) in
        [(NEWER, "stillwatch-pi"), (RUNS, SYSTEM), ("0.0.9-20261128.0312", SYSTEM)]
    {
        server.offer(version, compatible, content(20_000));
        let asked = server.requests().len();
        camera.run(|_| server.requests().len() >= asked + 2).await;
        assert_eq!((camera.doing().as_str(), camera.names().len()), ("nothing", 0), "{version}");
    }
    assert!(server.requests().iter().all(|request| !request.first.contains("/updates/")));
}

#[tokio::test]
async fn while_something_else_goes_on_it_waits_and_says_for_what() {
    let server = Server::start();
    server.offer(NEWER, SYSTEM, content(4_000_000));
    let mut camera = Camera::new(&[&server]);
    camera.run(|camera| camera.doing().contains("downloading")).await;
    camera.updates.surrounded_by(Surroundings { healing: Some("wifi"), ..Surroundings::default() });
    camera.run(|camera| camera.doing().contains("waiting")).await;
    assert!(camera.doing().contains("the wifi is being healed"), "{}", camera.doing());
    let fetched = || server.requests().iter().filter(|r| r.first.contains("/updates/")).count();
    let before = fetched();
    camera.run_for(Duration::from_secs(2)).await;
    assert_eq!(fetched(), before);
    camera.updates.surrounded_by(Surroundings::default());
    camera.run(|camera| camera.doing().contains("downloading")).await;
    let failure =
        Failure { fault: UploadFault::default(), cause: "no network".to_owned(), errno: None };
    camera.health.upload.failed(failure, Duration::ZERO);
    camera.run(|camera| camera.doing().contains("pictures do not get through")).await;
    camera.health.upload.succeeded();
    camera.run(|camera| camera.doing().contains("downloading")).await;
    camera.state(&State {
        phase: Phase::Installing,
        version: Some(NEWER.into()),
        ..State::default()
    });
    camera.run(|camera| camera.doing().contains("installing")).await;
}

#[tokio::test]
async fn the_tutorials_server_is_not_bothered_and_a_busy_one_left_alone() {
    let (tutorials, busy) = (Server::start(), Server::start());
    tutorials.refuse(Some("404 Not Found"));
    busy.refuse(Some("503 Busy\r\nRetry-After: 100"));
    for server in [&tutorials, &busy] {
        let mut camera = Camera::new(&[server]);
        camera.run(|_| !server.requests().is_empty()).await;
        camera.run_for(Duration::from_secs(2)).await;
        assert_eq!(server.requests().len(), 1);
    }
    // Of two, the one that knows something is heard.
    let knows = Server::start();
    knows.offer(NEWER, SYSTEM, content(20_000));
    let mut camera = Camera::new(&[&tutorials, &knows]);
    camera.run(|camera| camera.handed().is_some()).await;
}

#[tokio::test]
async fn a_card_that_takes_nothing_is_said_and_not_asked_again_and_again() {
    let server = Server::start();
    let offer = server.offer(NEWER, SYSTEM, content(20_000));
    let mut camera = Camera::new(&[&server]);
    let taken = camera.path(&format!("{}.part", offer.sha256));
    std::fs::create_dir_all(&taken).unwrap();
    camera.run(|camera| camera.doing().contains("can't be written to")).await;
    camera.run_for(Duration::from_secs(1)).await;
    assert!(server.requests().iter().all(|request| !request.first.contains("/updates/")));
    std::fs::remove_dir(&taken).unwrap();
    camera.run(|camera| camera.handed().is_some()).await;
}

#[tokio::test]
async fn without_an_updater_nobody_is_asked() {
    let server = Server::start();
    server.offer(NEWER, SYSTEM, content(20_000));
    let mut camera = Camera::new(&[&server]);
    let file = camera.scratch.path().join("update.json");
    std::fs::remove_file(&file).unwrap();
    camera.run_for(Duration::from_secs(2)).await;
    assert_eq!((server.requests().len(), camera.updates.told()), (0, Told::default()));
    assert!(!Path::new(&camera.path("")).exists());
    // It starts later than the agent.
    camera.state(&State::default());
    camera.run(|camera| camera.handed().is_some()).await;
}
