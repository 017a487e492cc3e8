//! What relays say to each other of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Message;
use frame::CameraId;
use ladder::Mono;
use runtime::clock;
use web::freshness::State;

use super::Session;
use crate::board::Camera;
use crate::cluster::Trouble;
use crate::cluster::beacon::{Beacon, MOST_CAMERAS, News};
use crate::cluster::connect::{ANSWER_WITHIN, SILENT, causes};

/// How often a relay says how it is.
const BEACON_EVERY: Duration = Duration::from_secs(1);

/// With some sign of the server, but none of the stream, for so long: its announcements have been forgotten there.
const FORGOTTEN: Duration = Duration::from_secs(15);

/// Two beacons of the others.
const SURE_AFTER: Duration = Duration::from_millis(2_500);

/// An agent of which nothing was heard for longer is told of by nobody: everybody calls it offline.
const QUIET_FOR: Duration = Duration::from_secs(120);

impl Session<'_> {
    pub(super) fn hear_beacon(&mut self, message: &Message) {
        let name = message.subject.rsplit('.').next().unwrap_or_default();
        let beacon: Beacon = match serde_json::from_slice(&message.payload) {
            Ok(beacon) => beacon,
            Err(error) => {
                tracing::debug!("cluster: what {name} says of itself is not understood: {error}");
                return;
            }
        };
        let now = clock::mono();
        let quiet: Vec<_> = beacon
            .quiet
            .iter()
            .filter_map(|(id, quiet)| Some((self.board.find(&id.parse().ok()?)?, *quiet)))
            .collect();
        for (camera, quiet) in quiet {
            if camera.home(now).is_some_and(|home| &*home == name) {
                camera.told(quiet.into(), now);
            }
        }
        let own = (&*self.cluster.config.name, crate::status::instance());
        let (news, changed) = self.cluster.peers().heard(name, beacon, own, now, clock::wall_us());
        self.tell(news, changed);
    }

    /// Passes on what is new of other relays.
    fn tell(&self, news: Vec<News>, changed: BTreeSet<CameraId>) {
        self.cluster.say(news);
        let peers = self.cluster.peers();
        for camera in changed.iter().filter_map(|id| self.board.find(id)) {
            camera.watched_elsewhere(peers.viewers(&camera.id));
        }
    }

    pub(super) async fn look(&mut self) -> Result<(), Trouble> {
        let now = clock::mono();
        self.is_alive(now)?;
        if self.unsure && now.since(self.since) > SURE_AFTER {
            self.unsure = false;
            self.cluster.sure(self.board);
        }
        let (news, changed) = self.cluster.peers().look(now);
        self.tell(news, changed);
        let cameras = self.board.all();
        let viewers: BTreeMap<String, u64> = cameras
            .iter()
            .map(|camera| (camera, camera.viewers_here(now)))
            .filter(|(_, viewers)| *viewers > 0)
            .take(MOST_CAMERAS)
            .map(|(camera, viewers)| (camera.id.to_string(), viewers))
            .collect();
        let due = self.beacon_at.is_none_or(|at| now.since(at) >= BEACON_EVERY);
        // Agents wait for the first who watches.
        let begun = viewers.keys().any(|id| !self.viewers.contains_key(id));
        if due || begun {
            self.beacon_at = Some(now);
            self.viewers.clone_from(&viewers);
            self.send_beacon(&cameras, viewers, now).await?;
        }
        Ok(())
    }

    /// Pictures on a thin link keep the stream's heartbeats waiting: as long as anything comes, there is a way.
    fn is_alive(&mut self, now: Mono) -> Result<(), Trouble> {
        let came = self.client.statistics().in_bytes.load(Ordering::Relaxed);
        if came != self.came.0 {
            self.came = (came, now);
        }
        let silent = now.since(self.heard);
        // A large one is counted when all of it is there.
        let patience = if self.incoming.is_idle() { SILENT } else { SILENT * 2 };
        if silent > SILENT && (silent > FORGOTTEN || now.since(self.came.1) > patience) {
            return Err(Trouble::away("the stream is silent".to_owned()));
        }
        Ok(())
    }

    async fn send_beacon(
        &mut self,
        cameras: &[Arc<Camera>],
        viewers: BTreeMap<String, u64>,
        now: Mono,
    ) -> Result<(), Trouble> {
        let config = &self.cluster.config;
        let own = |camera: &&Arc<Camera>| {
            camera.newest().is_some_and(|held| held.home.is_none()) && camera.home(now).is_none()
        };
        let quiet = cameras.iter().filter(own).filter_map(|camera| {
            let presence = camera.presence(now);
            let told = presence.attached || presence.heard_ago < QUIET_FOR;
            let quiet = told && !matches!(camera.state(now), State::Live | State::Empty);
            quiet.then(|| (camera.id.to_string(), presence.into()))
        });
        let beacon = Beacon {
            instance: crate::status::instance().to_owned(),
            role: config.role,
            version: runtime::version::full().to_owned(),
            url: config.url.clone(),
            clock_us: clock::wall_us(),
            cameras: cameras.iter().filter(own).count(),
            viewers,
            quiet: quiet.take(MOST_CAMERAS).collect(),
        };
        // Our own structure always serialises.
        let payload = serde_json::to_vec(&beacon).unwrap_or_default();
        let subject = format!("{}.relay.{}", config.stream, config.name);
        let sending = self.client.publish(subject, payload.into());
        match tokio::time::timeout(ANSWER_WITHIN, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Trouble::away(format!("the connection: {}", causes(&error)))),
            Err(_) => Err(Trouble::away("the connection takes nothing".to_owned())),
        }
    }
}
