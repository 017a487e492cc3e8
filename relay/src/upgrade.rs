//! From a request to a WebSocket: the handshake of RFC 6455, with the subprotocol `stillwatch.v1`.

mod paced;

use std::time::Duration;

use frame::wire::SUBPROTOCOL;
use headers::{HeaderMapExt, SecWebsocketAccept, SecWebsocketKey};
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderName, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use paced::Paced;
use tokio_websockets::{Config, Limits, ServerBuilder, WebSocketStream};

use crate::respond::{self, Response};

/// A connection speaking `stillwatch.v1`.
pub(crate) type WebSocket = WebSocketStream<Paced<TokioIo<Upgraded>>>;

/// What a peer may send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaySend {
    /// The longest message, in bytes.
    pub message: usize,
    /// Everything together, in a second.
    pub bytes_per_second: usize,
}

/// How long the connection may take to become a WebSocket after the answer.
const UPGRADE_WITHIN: Duration = Duration::from_secs(10);

/// What the peer asks for.
#[derive(Debug)]
pub(crate) struct Offer {
    upgrade: OnUpgrade,
    accept: SecWebsocketAccept,
}

/// Why a request gets no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotOffered {
    NoUpgrade,
    Version,
    Key,
    Subprotocol,
}

impl NotOffered {
    /// The answer for whoever asked.
    pub(crate) fn answer(self) -> Response {
        let (status, line, header) = match self {
            NotOffered::NoUpgrade => (
                StatusCode::UPGRADE_REQUIRED,
                "this is a WebSocket (Upgrade: websocket)",
                Some((UPGRADE, "websocket")),
            ),
            NotOffered::Version => (
                StatusCode::UPGRADE_REQUIRED,
                "Sec-WebSocket-Version has to be 13",
                Some((SEC_WEBSOCKET_VERSION, "13")),
            ),
            NotOffered::Key => {
                (StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing or no key", None)
            }
            NotOffered::Subprotocol => {
                (StatusCode::BAD_REQUEST, "Sec-WebSocket-Protocol: stillwatch.v1 is missing", None)
            }
        };
        let mut response = respond::line(status, line);
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl Offer {
    /// # Errors
    /// It asks for something else.
    pub(crate) fn read(
        headers: &HeaderMap,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Offer, NotOffered> {
        let has = |name: &HeaderName, word: &str| {
            headers
                .get_all(name)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','))
                .any(|value| value.trim().eq_ignore_ascii_case(word))
        };
        let asked = has(&UPGRADE, "websocket") && has(&CONNECTION, "upgrade");
        let upgrade = upgrade.filter(|_| asked).ok_or(NotOffered::NoUpgrade)?;
        if !has(&SEC_WEBSOCKET_VERSION, "13") {
            return Err(NotOffered::Version);
        }
        let key = headers.typed_get::<SecWebsocketKey>().ok_or(NotOffered::Key)?;
        if !has(&SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
            return Err(NotOffered::Subprotocol);
        }
        Ok(Offer { upgrade, accept: key.into() })
    }

    /// Accepts, and runs `talk` with the WebSocket.
    pub(crate) fn accept<F>(
        self,
        may_send: MaySend,
        talk: impl FnOnce(WebSocket) -> F + Send + 'static,
    ) -> Response
    where
        F: Future<Output = ()> + Send,
    {
        let Offer { upgrade, accept } = self;
        tokio::spawn(async move {
            let Ok(Ok(upgraded)) = tokio::time::timeout(UPGRADE_WITHIN, upgrade).await else {
                return;
            };
            let limits = Limits::default().max_payload_len(Some(may_send.message));
            // A frame is one WebSocket frame whatever its size: nothing else is sent meanwhile.
            let config = Config::default().frame_size(usize::MAX);
            let socket = ServerBuilder::new().limits(limits).config(config);
            let paced = Paced::new(TokioIo::new(upgraded), may_send.bytes_per_second);
            talk(socket.serve(paced)).await;
        });
        let mut response = respond::empty(StatusCode::SWITCHING_PROTOCOLS);
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        headers.typed_insert(accept);
        response
    }
}
