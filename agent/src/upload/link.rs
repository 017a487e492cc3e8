//! The way to the relay: a WebSocket that is opened when needed, or POST.

use std::time::Duration;

use frame::Frame;
use frame::report::Report;
use ladder::Mono;
use runtime::clock;
use runtime::settings::duration_text;

use super::http::Http;
use super::outcome::Failure;
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
}

impl Link {
    pub(super) fn new(http: Http, config: &UploadConfig) -> Link {
        let (transport, timeout) = (Transport::new(config.transport), config.timeout);
        Link { http, socket: None, transport, timeout, said: None, reported: None }
    }

    /// Sends one frame and waits for its acknowledgement, both within the time-out.
    pub(super) async fn send(&mut self, frame: &Frame) -> Result<(), Failure> {
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
            Err(_) => Failure::late(self.timeout),
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
        Some(Failure { cause, hold: Some(NO_SOCKET_HOLD) })
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
