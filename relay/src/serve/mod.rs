//! Listens, and serves each connection: time-outs, limits, and a bounded end.
//!
//! warp's own server has neither time-outs nor limits, and panics when it can't bind; so its routes
//! are served by hyper here. What does not belong here: what is answered (`routes.rs`).

mod bind;
mod linger;

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ladder::Episode;
use linger::Lingering;
use runtime::clock;
use runtime::mark::SharedMark;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use warp::filters::BoxedFilter;

pub(crate) use bind::{BindError, bind};

use crate::respond::Response;

/// Connections that are not done by then are cut off at the end.
pub(crate) const DRAIN: Duration = Duration::from_secs(3);

/// How often an idle accept loop turns.
const IDLE: Duration = Duration::from_secs(1);

/// After this long without an acknowledgement from a peer that should send one, it is gone.
const PEER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bounds each connection's memory; a request's head has to fit.
const MAX_BUFFER: usize = 64 << 10;

/// After a failed accept: out of file descriptors or memory, and only time can help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// At most one line about each kind of trouble in this time.
const LINE_SPACING: Duration = Duration::from_secs(60);

/// For one connection too many; nobody has read its request.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n\
    Retry-After: 5\r\nContent-Length: 21\r\nConnection: close\r\n\r\ntoo many connections\n";

/// Who is at the other end of a request's connection; `warp::ext` finds it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub address: SocketAddr,
    /// Bytes of the present request may still be on their way.
    unread: Arc<AtomicBool>,
}

impl Peer {
    /// The request's body was read to its end.
    pub(crate) fn body_was_read(&self) {
        self.unread.store(false, Ordering::Relaxed);
    }
}

/// The places for connections.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    places: Arc<Semaphore>,
    max: usize,
}

impl Connections {
    pub(crate) fn new(max: usize) -> Connections {
        Connections { places: Arc::new(Semaphore::new(max)), max }
    }

    /// How many are taken.
    pub(crate) fn open(&self) -> usize {
        self.max.saturating_sub(self.places.available_permits())
    }

    /// Waits until none is.
    async fn all_closed(&self) {
        // The semaphore is never closed, and `config` keeps the number small enough.
        let _ = self.places.acquire_many(u32::try_from(self.max).unwrap_or(u32::MAX)).await;
    }
}

/// See the module's documentation.
pub(crate) struct Server {
    pub listener: TcpListener,
    pub routes: BoxedFilter<(Response,)>,
    pub connections: Connections,
    /// How long the head of a request may take, or the next request on an idle connection.
    pub header_timeout: Duration,
    /// Each turn of the accept loop.
    pub mark: SharedMark,
}

/// Serves until `stop`, and then for at most [`DRAIN`].
pub(crate) async fn run(server: Server, stop: CancellationToken) {
    let mut trouble = Episode::new(LINE_SPACING);
    let mut full = Episode::new(LINE_SPACING);
    while !stop.is_cancelled() {
        server.mark.touch(clock::mono());
        let accepted = tokio::select! {
            accepted = server.listener.accept() => accepted,
            () = tokio::time::sleep(IDLE) => continue,
            () = stop.cancelled() => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if trouble.enter(clock::mono(), error.kind()).is_some() {
                    tracing::error!(
                        "can't accept connections: {error}; trying again all the time (if it is \
                         too many open files: raise LimitNOFILE= or lower relay.max_connections)"
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if trouble.leave(clock::mono()).is_some() {
            tracing::info!("connections are accepted again");
        }
        match Arc::clone(&server.connections.places).try_acquire_owned() {
            Ok(place) => {
                full.leave(clock::mono());
                server.serve(stream, address, place, stop.clone());
            }
            Err(_) => {
                if full.enter(clock::mono(), ()).is_some() {
                    let max = server.connections.max;
                    tracing::warn!("more than {max} connections (relay.max_connections): refused");
                }
                refuse(stream);
            }
        }
    }
    drop(server.listener);
    if tokio::time::timeout(DRAIN, server.connections.all_closed()).await.is_err() {
        let open = server.connections.open();
        tracing::warn!("{open} connections were not done in time and are cut off");
    }
}

impl Server {
    fn serve(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
        stop: CancellationToken,
    ) {
        set_options(&stream);
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let unread = Arc::new(AtomicBool::new(false));
        let peer = Peer { address, unread: Arc::clone(&unread) };
        let inner = TowerToHyperService::new(warp::service(self.routes.clone()));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(MAX_BUFFER)
            .serve_connection(
                TokioIo::new(Lingering::new(stream, unread)),
                Introduced { inner, peer },
            )
            .with_upgrades();
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    // The present request is still answered, and no further one.
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            // Peers go away in the middle of everything, and that is no news.
            if let Err(error) = ended {
                tracing::debug!(peer = %address, "connection: {error}");
            }
            drop(place);
        });
    }
}

/// Tells the routes who asks.
struct Introduced<S> {
    inner: S,
    peer: Peer,
}

impl<S> Service<http::Request<Incoming>> for Introduced<S>
where
    S: Service<http::Request<Incoming>, Error = Infallible>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: http::Request<Incoming>) -> S::Future {
        self.peer.unread.store(!request.body().is_end_stream(), Ordering::Relaxed);
        request.extensions_mut().insert(self.peer.clone());
        self.inner.call(request)
    }
}

fn set_options(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    // Without them a connection works, too, but worse.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_user_timeout(Some(PEER_TIMEOUT));
    // A silent peer is asked whether it is still there.
    let keepalive =
        socket2::TcpKeepalive::new().with_time(PEER_TIMEOUT).with_interval(PEER_TIMEOUT / 3);
    let _ = socket.set_tcp_keepalive(&keepalive);
}

fn refuse(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        // It does not block, and a fresh socket's buffer is empty.
        let _ = stream.write(FULL);
    }
}
