//! The way to the relay: a WebSocket that is opened when needed, or POST.

use std::time::Duration;

use frame::Frame;
use frame::report::Report;
use ladder::Mono;
use runtime::clock;
use runtime::settings::duration_text;

use super::adapt::{Adapt, Step};
use super::http::Http;
use super::outcome::Failure;
use super::thin::Thinner;
use super::transport::{Transport, Way};
use super::websocket::{NotOpened, Socket};
use crate::config::UploadConfig;
use crate::machine;

/// A relay without WebSockets will not have one in a moment: no hurry.
const NO_SOCKET_HOLD: Duration = Duration::from_secs(5);

/// How often the relay is told of the machine.
const REPORT_EVERY: Duration = Duration::from_secs(30);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Link {
    http: Http,
    socket: Option<Socket>,
    transport: Transport,
    timeout: Duration,
    said: Option<Way>,
    reported: Option<Mono>,
    /// `None`: pictures are sent as they are.
    adapt: Option<Adapt>,
    /// While it is not at work.
    thinner: Option<Thinner>,
}

impl Link {
    pub(super) fn new(http: Http, config: &UploadConfig) -> Link {
        let (transport, timeout) = (Transport::new(config.transport), config.timeout);
        let adapt = config.adapt.map(Adapt::new);
        let (socket, said, reported, thinner) = (None, None, None, None);
        Link { http, socket, transport, timeout, said, reported, adapt, thinner }
    }

    /// Sends one frame and waits for its acknowledgement, both within the time-out.
    pub(super) async fn send(&mut self, original: &Frame) -> Result<(), Failure> {
        let thin = self.thinned(original).await;
        let frame = thin.as_ref().unwrap_or(original);
        let began = clock::mono();
        let sent = self.send_as_it_is(frame).await;
        let took = match (&sent, &self.socket) {
            (Ok(()), Some(socket)) => Some(socket.took),
            (Ok(()), None) => Some(clock::mono().since(began)),
            // What did not get through in all that time tells of the link; other trouble does not.
            (Err(failure), _) => failure.slow.then_some(self.timeout),
        };
        if let Some(took) = took {
            self.learn(original, frame, took);
        }
        sent
    }

    /// The frame as the link can carry it; `None`: as it is.
    async fn thinned(&mut self, frame: &Frame) -> Option<Frame> {
        let step = self.adapt.as_ref()?.step(frame.picture.width());
        step.quality?;
        let mut thinner = match self.thinner.take() {
            Some(thinner) => thinner,
            None => Thinner::new().ok()?,
        };
        let picture = frame.picture.clone();
        let work = tokio::task::spawn_blocking(move || {
            let thin = thinner.thin(&picture, step);
            (thinner, thin)
        });
        let (thinner, thin) = work.await.ok()?;
        self.thinner = Some(thinner);
        let thin = thin.inspect_err(|why| tracing::debug!("not made smaller: {why}")).ok()?;
        let (before, after) = (frame.picture.bytes().len(), thin.bytes().len());
        self.adapt.as_mut()?.encoded(step, before, after);
        // Then nothing is gained, and its first quality lost.
        (after < before).then(|| Frame { picture: thin, ..frame.clone() })
    }

    fn learn(&mut self, original: &Frame, sent: &Frame, took: Duration) {
        let Some(adapt) = &mut self.adapt else { return };
        let (bytes, before) = (sent.picture.bytes().len(), original.picture.bytes().len());
        let width = original.picture.width();
        if adapt.sent(clock::mono(), bytes, took, before, width) {
            let rate = adapt.rate().unwrap_or_default() / 1e3;
            match adapt.step(width) {
                Step { quality: None, .. } => {
                    tracing::info!("uplink: {rate:.0} KB/s: pictures go as they are again");
                }
                Step { quality: Some(quality), divisor } => {
                    let part = if divisor == 1 {
                        String::new()
                    } else {
                        format!(", 1/{divisor} of the width")
                    };
                    tracing::info!(
                        "uplink: {rate:.0} KB/s: pictures go at quality {quality}{part}"
                    );
                }
            }
        }
    }

    async fn send_as_it_is(&mut self, frame: &Frame) -> Result<(), Failure> {
        let report = if self.report_is_due() { machine::report().await } else { None };
        if self.transport.way(clock::mono()) == Way::Socket {
            match self.send_by_socket(frame, report.as_ref()).await {
                Ok(()) => return Ok(()),
                Err(Some(failure)) => return Err(failure),
                // By POST, then.
                Err(None) => {}
            }
        }
        let sent = self.http.send(frame, report.as_ref()).await;
        if sent.is_ok() {
            self.told(report.as_ref());
            self.say(Way::Post);
        }
        sent
    }

    fn report_is_due(&self) -> bool {
        self.reported.is_none_or(|last| clock::mono().since(last) >= REPORT_EVERY)
    }

    fn told(&mut self, report: Option<&Report>) {
        if report.is_some() {
            self.reported = Some(clock::mono());
        }
    }

    /// `Err(None)`: it has to go by POST.
    async fn send_by_socket(
        &mut self,
        frame: &Frame,
        report: Option<&Report>,
    ) -> Result<(), Option<Failure>> {
        // Taken out: if this is cut off in the middle, the connection is of no more use.
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => match tokio::time::timeout(self.timeout, Socket::open(&self.http)).await {
                Ok(Ok(socket)) => socket,
                Ok(Err(NotOpened::Failed(failure))) => return Err(Some(failure)),
                Ok(Err(NotOpened::NotOffered(why))) => return Err(self.not_offered(&why)),
                Err(_) => return Err(Some(Failure::late(self.timeout))),
            },
        };
        let outcome = match tokio::time::timeout(self.timeout, socket.send(frame, report)).await {
            Ok(Ok(answer)) => {
                self.transport.answered();
                self.told(report);
                self.say(Way::Socket);
                self.socket = Some(socket);
                return answer.map_err(Some);
            }
            Ok(Err(broken)) => broken,
            Err(_) => Failure::slow(self.timeout),
        };
        if !socket.answered
            && let Some(wait) = self.transport.died_silent(clock::mono())
        {
            self.fall_back("it opens and says nothing", wait);
        }
        Err(Some(outcome))
    }

    fn not_offered(&mut self, why: &str) -> Option<Failure> {
        if let Some(wait) = self.transport.refused(clock::mono()) {
            self.fall_back(why, wait);
            return None;
        }
        let cause = format!(
            "the relay takes no WebSocket ({why}); set upload.transport = \"auto\", or look at \
             the proxy before it"
        );
        Some(Failure { cause, hold: Some(NO_SOCKET_HOLD), slow: false })
    }

    fn fall_back(&mut self, why: &str, wait: Duration) {
        // Said once, not each time it is asked again.
        if self.said != Some(Way::Post) {
            let wait = duration_text(wait);
            tracing::info!(
                "the relay takes no WebSocket ({why}): uploading by POST, asking again in {wait}"
            );
            self.said = Some(Way::Post);
        }
    }

    fn say(&mut self, way: Way) {
        if self.said != Some(way) {
            match way {
                Way::Socket => tracing::info!("uploading over a WebSocket"),
                Way::Post => tracing::info!("uploading by POST"),
            }
            self.said = Some(way);
        }
    }

    /// Answers the relay's pings while there is nothing to send. Never returns.
    pub(super) async fn attend(&mut self) {
        if let Some(socket) = &mut self.socket {
            socket.attend().await;
            self.socket = None;
        }
        std::future::pending().await
    }

    /// Says goodbye.
    pub(super) async fn close(self) {
        if let Some(socket) = self.socket {
            socket.close().await;
        }
    }
}
