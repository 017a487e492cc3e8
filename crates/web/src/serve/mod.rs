//! Listens, and serves each connection: time-outs, limits, and a bounded end.
//!
//! warp's own server has neither time-outs nor limits nor TLS, and panics when it can't bind; so its routes
//! are served by hyper here (`talk.rs`). What is answered, and whose certificate is shown, does not belong here.

mod addresses;
mod bind;
mod forwarded;
mod line;
mod talk;

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use std::{fmt, future};

use addresses::{Addresses, Counted};
use http::{HeaderMap, Method};
use ipnet::IpNet;
use ladder::Episode;
use line::{Line, StallLimit};
use runtime::clock;
use runtime::event::{About, Event};
use runtime::mark::SharedMark;
use rustls::ServerConfig;
use socket2::SockRef;
use talk::Talk;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;

pub use addresses::site;
pub use bind::{BindError, adopt, bind, bind_to_device};
pub use line::Wire;
pub use talk::{ACME, protocols};

use crate::answer::Response;

/// Connections that are not done by then are cut off at the end.
pub const DRAIN: Duration = Duration::from_secs(3);

/// How often an idle accept loop turns.
const IDLE: Duration = Duration::from_secs(1);

/// After this long without an acknowledgement from a peer that should send one, it is gone.
const PEER_TIMEOUT: Duration = Duration::from_secs(30);

/// After a failed accept: out of file descriptors or memory, and only time can help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// At most one line about each kind of trouble in this time.
const LINE_SPACING: Duration = Duration::from_secs(60);

/// Whose events these are.
const CONNECTIONS: About<'static> = About::organ("connections");

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
    /// The client's address, behind a proxy of ours as well; an IPv4 one as such.
    pub address: SocketAddr,
    /// Whether a proxy of ours passed the request on, or something else on such a machine asks.
    pub by_proxy: bool,
    /// Whether the client came by HTTPS.
    pub secure: bool,
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
    proxies: Arc<[IpNet]>,
    observer: Arc<dyn Observer>,
}

/// Who counts what goes wrong with connections.
pub trait Observer: fmt::Debug + Send + Sync {
    /// One was refused, for the limit named so: `total` or `address`.
    fn refused(&self, limit: &'static str);
    /// One was ended whose peer took nothing of an answer.
    fn stalled(&self);
    /// One did not get as far as TLS.
    fn handshake_failed(&self);
}

/// Nobody does.
impl Observer for () {
    fn refused(&self, _: &'static str) {}
    fn stalled(&self) {}
    fn handshake_failed(&self) {}
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
        let proxies: Arc<[IpNet]> = limits.proxies.as_slice().into();
        let addresses = Addresses::new(limits.per_address, Arc::clone(&proxies));
        let places = Arc::new(Semaphore::new(limits.total));
        Connections { places, max: limits.total, addresses, proxies, observer }
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

/// Where connections come from.
#[derive(Debug)]
pub struct Listener {
    /// From [`bind`], or [`adopt`].
    pub socket: TcpListener,
    /// They speak TLS: what is offered, [`protocols`] among it.
    pub tls: Option<Arc<ServerConfig>>,
}

impl Listener {
    /// For plain HTTP.
    pub fn plain(socket: TcpListener) -> Listener {
        Listener { socket, tls: None }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Server {
    /// At least one.
    pub listeners: Vec<Listener>,
    /// What is answered.
    pub routes: BoxedFilter<(Response,)>,
    /// How many there may be.
    pub connections: Connections,
    /// How long a TLS handshake may take, the head of a request, or the next request on an idle connection.
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
    let mut turn = 0;
    let talk = server.talk();
    while !stop.is_cancelled() {
        server.mark.touch(clock::mono());
        let accepted = tokio::select! {
            accepted = accept(&server.listeners, &mut turn) => accepted,
            () = tokio::time::sleep(IDLE) => continue,
            () = stop.cancelled() => break,
        };
        let (stream, address, tls) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if trouble.enter(clock::mono(), error.kind()).is_some() {
                    let about = About { errno: error.raw_os_error(), ..CONNECTIONS };
                    let advice = server.advice;
                    Event::AcceptFails.say(
                        about,
                        format_args!("can't accept connections: {error}; trying again all the time ({advice})"),
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if trouble.leave(clock::mono()).is_some() {
            Event::AcceptWorks.say(CONNECTIONS, format_args!("connections are accepted again"));
        }
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        match server.connections.admit(address) {
            Ok(admitted) => {
                full.leave(clock::mono());
                let line = server.line(stream, admitted);
                let secure = tls.is_some();
                let peer = Peer { address, by_proxy: false, secure, wire: line.wire() };
                tokio::spawn(talk.clone().run(line, peer, tls, stop.clone()));
            }
            Err(answer) => {
                if full.enter(clock::mono(), answer.len()).is_some() {
                    let open = server.connections.open();
                    let (from, advice) = (address.ip(), server.advice);
                    Event::ConnectionsLimit.say(
                        About { peer: Some(from), ..CONNECTIONS },
                        format_args!(
                            "a connection from {from} was refused: {open} are open ({advice})"
                        ),
                    );
                }
                refuse(stream, answer);
            }
        }
    }
    drop(server.listeners);
    if tokio::time::timeout(DRAIN, server.connections.all_closed()).await.is_err() {
        let open = server.connections.open();
        tracing::warn!("{open} connections were not done in time and are cut off");
    }
}

/// The next connection of any listener; none of them can keep the others waiting.
async fn accept(
    listeners: &[Listener],
    turn: &mut usize,
) -> io::Result<(TcpStream, SocketAddr, Option<TlsAcceptor>)> {
    let (first, rest) = (*turn % listeners.len().max(1), listeners.len());
    *turn = turn.wrapping_add(1);
    future::poll_fn(|cx| {
        for listener in listeners.iter().cycle().skip(first).take(rest) {
            if let Poll::Ready(accepted) = listener.socket.poll_accept(cx) {
                let tls = listener.tls.clone().map(TlsAcceptor::from);
                return Poll::Ready(accepted.map(|(stream, address)| (stream, address, tls)));
            }
        }
        Poll::Pending
    })
    .await
}

impl Server {
    fn talk(&self) -> Talk {
        Talk {
            routes: self.routes.clone(),
            proxies: Arc::clone(&self.connections.proxies),
            header_timeout: self.header_timeout,
            peer_timeout: self.peer_timeout,
            observer: Arc::clone(&self.connections.observer),
        }
    }

    fn line(&self, stream: TcpStream, admitted: Admitted) -> Line {
        set_options(&stream);
        let limit = StallLimit {
            timeout: self.peer_timeout,
            observer: Arc::clone(&self.connections.observer),
        };
        Line::new(Arc::new(Wire::new(stream)), admitted, limit)
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
