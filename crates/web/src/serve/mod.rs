//! Listens, and serves each connection: time-outs, limits, and a bounded end.
//!
//! warp's own server has neither time-outs nor limits, and panics when it can't bind; so its routes
//! are served by hyper here. What is answered does not belong here.

mod addresses;
mod bind;
mod line;

use std::convert::Infallible;
use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use addresses::{Addresses, Counted};
use http::{HeaderMap, Method};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use ladder::Episode;
use line::{Line, StallLimit};
use runtime::clock;
use runtime::mark::SharedMark;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;

pub use bind::{BindError, bind, bind_to_device};
pub use line::Wire;

use crate::answer::Response;

/// Connections that are not done by then are cut off at the end.
pub const DRAIN: Duration = Duration::from_secs(3);

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

/// For one connection too many of one address.
const FULL_FOR_YOU: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\n\
    Retry-After: 5\r\nContent-Length: 39\r\nConnection: close\r\n\r\n\
    too many connections from your address\n";

/// Unsent bytes the kernel takes per connection: a frame as cameras send it, and no second one
/// behind it. It leaves the buffer for what is sent, and so the speed over long distances, alone.
const UNSENT: u32 = 64 << 10;

/// Who is at the other end of a request's connection; `warp::ext` finds it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address; an IPv4 one as such.
    pub address: SocketAddr,
    /// The socket.
    pub wire: Arc<Wire>,
}

impl Peer {
    /// The request's body was read to its end.
    pub fn body_was_read(&self) {
        self.wire.set_unread(false);
    }
}

/// What of a request all routes look at: its method, its path, its query (empty without one), its headers.
pub fn asked()
-> impl Filter<Extract = (Method, FullPath, String, HeaderMap), Error = Infallible> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method().and(warp::path::full()).and(query).and(warp::header::headers_cloned())
}

/// How many connections there may be.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Of all peers.
    pub total: usize,
    /// Of one address; of one /64 for IPv6.
    pub per_address: usize,
    /// Reverse proxies: many viewers behind one address.
    pub proxies: Vec<IpNet>,
}

/// The places for connections.
#[derive(Debug, Clone)]
pub struct Connections {
    places: Arc<Semaphore>,
    max: usize,
    addresses: Addresses,
    observer: Arc<dyn Observer>,
}

/// Who counts what goes wrong with connections.
pub trait Observer: fmt::Debug + Send + Sync {
    /// One was refused, for the limit named so: `total` or `address`.
    fn refused(&self, limit: &'static str);
    /// One was ended whose peer took nothing of an answer.
    fn stalled(&self);
}

/// Nobody does.
impl Observer for () {
    fn refused(&self, _: &'static str) {}
    fn stalled(&self) {}
}

/// A connection's places: they are free again when this is dropped.
#[derive(Debug)]
struct Admitted {
    _place: OwnedSemaphorePermit,
    _counted: Counted,
}

impl Connections {
    /// With none taken.
    pub fn new(limits: &ConnectionLimits, observer: Arc<dyn Observer>) -> Connections {
        let addresses = Addresses::new(limits.per_address, &limits.proxies);
        let places = Arc::new(Semaphore::new(limits.total));
        Connections { places, max: limits.total, addresses, observer }
    }

    fn admit(&self, address: SocketAddr) -> Result<Admitted, &'static [u8]> {
        let refuse = |reason, answer| {
            self.observer.refused(reason);
            answer
        };
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| refuse("total", FULL))?;
        let counted = self.addresses.enter(address.ip());
        let counted = counted.ok_or_else(|| refuse("address", FULL_FOR_YOU))?;
        Ok(Admitted { _place: place, _counted: counted })
    }

    /// How many are taken.
    pub fn open(&self) -> usize {
        self.max.saturating_sub(self.places.available_permits())
    }

    /// Waits until none is.
    async fn all_closed(&self) {
        // The semaphore is never closed, and `config` keeps the number small enough.
        let _ = self.places.acquire_many(u32::try_from(self.max).unwrap_or(u32::MAX)).await;
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Server {
    /// From [`bind`].
    pub listener: TcpListener,
    /// What is answered.
    pub routes: BoxedFilter<(Response,)>,
    /// How many there may be.
    pub connections: Connections,
    /// How long the head of a request may take, or the next request on an idle connection.
    pub header_timeout: Duration,
    /// How long a peer may take nothing of an answer.
    pub peer_timeout: Duration,
    /// For the journal: what to do when there are too many connections, or open files.
    pub advice: &'static str,
    /// Each turn of the accept loop.
    pub mark: SharedMark,
}

/// Serves until `stop`, and then for at most [`DRAIN`].
pub async fn run(server: Server, stop: CancellationToken) {
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
                        "can't accept connections: {error}; trying again all the time ({})",
                        server.advice
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if trouble.leave(clock::mono()).is_some() {
            tracing::info!("connections are accepted again");
        }
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        match server.connections.admit(address) {
            Ok(admitted) => {
                full.leave(clock::mono());
                server.serve(stream, address, admitted, stop.clone());
            }
            Err(answer) => {
                if full.enter(clock::mono(), answer.len()).is_some() {
                    let open = server.connections.open();
                    tracing::warn!(
                        "a connection from {} was refused: {open} are open ({})",
                        address.ip(),
                        server.advice
                    );
                }
                refuse(stream, answer);
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
        admitted: Admitted,
        stop: CancellationToken,
    ) {
        set_options(&stream);
        let wire = Arc::new(Wire::new(stream));
        let limit = StallLimit {
            timeout: self.peer_timeout,
            observer: Arc::clone(&self.connections.observer),
        };
        let admitted = Arc::new(admitted);
        let peer = Peer { address, wire: Arc::clone(&wire) };
        let inner = TowerToHyperService::new(warp::service(self.routes.clone()));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(MAX_BUFFER)
            .serve_connection(
                TokioIo::new(Line::new(wire, Arc::clone(&admitted), limit)),
                Introduced { inner, peer },
            )
            .with_upgrades();
        // Boxed: pinned within the task it would stand in it twice, for each of thousands of viewers.
        let mut connection = Box::pin(connection);
        tokio::spawn(async move {
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
            drop(admitted);
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
        self.peer.wire.set_unread(!request.body().is_end_stream());
        request.extensions_mut().insert(self.peer.clone());
        self.inner.call(request)
    }
}

fn set_options(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    // Without them a connection works, too, but worse.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_user_timeout(Some(PEER_TIMEOUT));
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
    // A silent peer is asked whether it is still there.
    let keepalive =
        socket2::TcpKeepalive::new().with_time(PEER_TIMEOUT).with_interval(PEER_TIMEOUT / 3);
    let _ = socket.set_tcp_keepalive(&keepalive);
}

fn refuse(stream: TcpStream, answer: &[u8]) {
    if let Ok(mut stream) = stream.into_std() {
        // It does not block, and a fresh socket's buffer is empty.
        let _ = stream.write(answer);
    }
}
