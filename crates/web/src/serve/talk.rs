//! One connection: TLS if it is that, HTTP/1.1 or HTTP/2, until it ends or is told to.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::HOST;
use http::{HeaderValue, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use ladder::Mono;
use runtime::clock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use warp::filters::BoxedFilter;

use super::line::Line;
use super::{DRAIN, Observer, Peer, forwarded};
use crate::answer::Response;

/// Bounds each connection's memory; a request's head has to fit.
const MAX_BUFFER: usize = 64 << 10;

/// The same for one of HTTP/2, whose requests share it.
const MAX_HEAD: u32 = 16 << 10;

/// Requests at the same time on one connection of HTTP/2: what browsers have of HTTP/1.1 in six, and some.
const MAX_STREAMS: u32 = 32;

/// What waits in a connection of HTTP/2 to be sent, for each request: no more than the kernel takes.
const MAX_WAITING: usize = 64 << 10;

/// Who was let in just before the end is still answered, if the request comes within this time.
const LATECOMER: Duration = Duration::from_millis(500);

/// How often it is looked whether it is there.
const LOOK: Duration = Duration::from_millis(10);

/// One answer of several may be held for so many times the time-out.
const PATIENCE: u32 = 10;

/// Spoken by who checks whether a name is ours (RFC 8737): the handshake is all of it.
pub const ACME: &[u8] = b"acme-tls/1";
const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// What a TLS server offers to speak, in this order.
pub fn protocols() -> Vec<Vec<u8>> {
    [H2, HTTP1, ACME].map(<[u8]>::to_vec).into()
}

/// What all connections share.
#[derive(Debug, Clone)]
pub(super) struct Talk {
    pub routes: BoxedFilter<(Response,)>,
    pub proxies: Arc<[IpNet]>,
    pub header_timeout: Duration,
    pub peer_timeout: Duration,
    pub observer: Arc<dyn Observer>,
}

impl Talk {
    /// Until the connection ends; after `stop` what was begun is still answered.
    pub(super) async fn run(
        self,
        line: Line,
        peer: Peer,
        tls: Option<TlsAcceptor>,
        stop: CancellationToken,
    ) {
        let address = peer.address;
        let ended = match tls {
            None => self.http1(line, peer, stop).await,
            Some(acceptor) => {
                let accepted = tokio::time::timeout(self.header_timeout, acceptor.accept(line));
                let mut accepted = Box::pin(accepted);
                let stream = tokio::select! {
                    accepted = accepted.as_mut() => accepted,
                    () = stop.cancelled() => {
                        let Ok(accepted) = tokio::time::timeout(LATECOMER, accepted).await else {
                            return;
                        };
                        accepted
                    }
                };
                match stream {
                    Ok(Ok(stream)) => match stream.get_ref().1.alpn_protocol() {
                        Some(H2) => self.http2(stream, peer, stop).await,
                        Some(ACME) => return,
                        _ => self.http1(stream, peer, stop).await,
                    },
                    Ok(Err(error)) => {
                        self.observer.handshake_failed();
                        tracing::debug!(peer = %address, "TLS: {error}");
                        return;
                    }
                    Err(_) => {
                        self.observer.handshake_failed();
                        return;
                    }
                }
            }
        };
        // Peers go away in the middle of everything, and that is no news.
        if let Err(error) = ended {
            tracing::debug!(peer = %address, "connection: {error}");
        }
    }

    async fn http1<I>(self, io: I, peer: Peer, stop: CancellationToken) -> Result<(), hyper::Error>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = self.introduced(peer);
        let requests = Arc::clone(&service.requests);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(MAX_BUFFER)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        // Boxed: pinned within the task it would stand in it twice, for each of thousands of viewers.
        let mut connection = Box::pin(connection);
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                // hyper would hang up on one whose first request it has not read yet.
                let first = async {
                    while requests.begun.load(Ordering::Relaxed) == 0 {
                        tokio::time::sleep(LOOK).await;
                    }
                };
                tokio::select! {
                    ended = connection.as_mut() => return ended,
                    _ = tokio::time::timeout(LATECOMER, first) => {}
                }
                // The present request is still answered, and no further one.
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    }

    async fn http2<I>(self, io: I, peer: Peer, stop: CancellationToken) -> Result<(), hyper::Error>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let wire = Arc::clone(&peer.wire);
        let service = self.introduced(peer);
        let requests = Arc::clone(&service.requests);
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD)
            .max_send_buf_size(MAX_WAITING)
            .serve_connection(TokioIo::new(io), service);
        let mut connection = Box::pin(connection);
        let mut seen = (0, 0);
        loop {
            tokio::select! {
                ended = connection.as_mut() => return ended,
                () = stop.cancelled() => break,
                // hyper has no such limit for HTTP/2.
                () = tokio::time::sleep(self.header_timeout) => {
                    let now = (requests.begun.load(Ordering::Relaxed), wire.written());
                    // What was answered may still be on its way to a slow peer.
                    let quiet = now == seen && wire.queue().unacknowledged == 0;
                    if quiet && requests.open.load(Ordering::Relaxed) == 0 {
                        break;
                    }
                    seen = now;
                    if requests.are_stuck(clock::mono(), self.peer_timeout) {
                        self.observer.stalled();
                        return Ok(());
                    }
                }
            }
        }
        GracefulConnection::graceful_shutdown(connection.as_mut());
        // One that has not even begun would wait for its beginning.
        tokio::time::timeout(DRAIN, connection).await.unwrap_or(Ok(()))
    }

    fn introduced(&self, peer: Peer) -> Introduced<impl Routes + use<>> {
        Introduced {
            inner: TowerToHyperService::new(warp::service(self.routes.clone())),
            peer,
            proxies: Arc::clone(&self.proxies),
            requests: Arc::default(),
        }
    }
}

/// What warp makes of routes; its own name is private.
trait Routes:
    Service<Asked, Response = Response, Error = Infallible, Future: Send> + Send + 'static
{
}

impl<S> Routes for S where
    S: Service<Asked, Response = Response, Error = Infallible, Future: Send> + Send + 'static
{
}

type Asked = http::Request<Incoming>;

/// A connection's requests.
#[derive(Debug, Default)]
struct Requests {
    begun: AtomicUsize,
    /// Whose answers are not at their end.
    open: AtomicUsize,
    /// Since when more of an answer could follow, if there were room at the peer.
    held: Mutex<BTreeMap<usize, Mono>>,
}

impl Requests {
    fn held(&self) -> MutexGuard<'_, BTreeMap<usize, Mono>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the peer takes nothing any more: a window that is shut holds an answer as a full buffer does. As long
    /// as it takes another answer it has more time, because a browser's tabs share the connection.
    fn are_stuck(&self, now: Mono, timeout: Duration) -> bool {
        let held = self.held();
        let all = held.len() >= self.open.load(Ordering::Relaxed);
        let times = held.values().map(|since| now.since(*since));
        let (shortest, longest) = (times.clone().min(), times.max());
        longest > Some(timeout * PATIENCE) || (all && shortest > Some(timeout))
    }
}

/// Tells the routes who asks.
struct Introduced<S> {
    inner: S,
    peer: Peer,
    proxies: Arc<[IpNet]>,
    requests: Arc<Requests>,
}

impl<S: Routes> Service<Asked> for Introduced<S>
where
    S::Future: 'static,
{
    type Response = http::Response<Answering>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Asked) -> Self::Future {
        if request.uri().path_and_query().is_none() {
            // CONNECT, or a host alone: warp panics without a path.
            *request.uri_mut() = Uri::from_static("*");
        }
        // HTTP/2 says it apart (RFC 9113, 8.3.1); the routes look in one place.
        if let Some(host) =
            request.uri().authority().map(|host| HeaderValue::try_from(host.as_str()))
            && let Ok(host) = host
            && !request.headers().contains_key(HOST)
        {
            request.headers_mut().insert(HOST, host);
        }
        let mut peer = self.peer.clone();
        peer.wire.set_unread(!request.body().is_end_stream());
        if forwarded::is_proxy(&self.proxies, peer.address.ip()) {
            peer.by_proxy = true;
            peer.secure |= forwarded::is_secure(request.headers());
            if let Some(client) = forwarded::client(request.headers(), &self.proxies) {
                // Its port is the proxy's secret.
                peer.address = (client, 0).into();
            }
        }
        request.extensions_mut().insert(peer);
        let open = Open::new(&self.requests);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            open.held();
            answer.map(|answer| answer.map(|body| Answering { body, open }))
        })
    }
}

/// A request that is not done.
struct Open {
    of: Arc<Requests>,
    number: usize,
}

impl Open {
    fn new(of: &Arc<Requests>) -> Open {
        let number = of.begun.fetch_add(1, Ordering::Relaxed);
        of.open.fetch_add(1, Ordering::Relaxed);
        Open { of: Arc::clone(of), number }
    }

    /// There is an answer, or more of it; hyper asks for it when the peer has room.
    fn held(&self) {
        self.of.held().insert(self.number, clock::mono());
    }

    fn asked(&self) {
        self.of.held().remove(&self.number);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.asked();
        self.of.open.fetch_sub(1, Ordering::Relaxed);
    }
}

type AnswerBody = <Response as IntoBody>::Body;

/// The body type of an answer, which has no other name.
trait IntoBody {
    type Body: Body;
}

impl<B: Body> IntoBody for http::Response<B> {
    type Body = B;
}

/// An answer's body: its request is open as long as it is there.
struct Answering {
    body: AnswerBody,
    open: Open,
}

impl Body for Answering {
    type Data = <AnswerBody as Body>::Data;
    type Error = <AnswerBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.open.asked();
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_ready() {
            self.open.held();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
