//! What the agent's two small sites share, the local viewer and the setup page: both are for a few phones.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use runtime::mark::SharedMark;
use tokio::net::TcpListener;
use warp::filters::BoxedFilter;
use web::answer::{self, Body, Response};
use web::serve::{ConnectionLimits, Connections, Listener, Server};

/// For the head of a request, and for the next one on an idle connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A phone that takes nothing of an answer for so long has walked away.
const PEER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves `routes` to at most `total` connections, `per_address` of one phone. `advice` says in the journal
/// what to do about more.
pub(crate) fn server(
    listener: TcpListener,
    routes: BoxedFilter<(Response,)>,
    total: usize,
    per_address: usize,
    advice: &'static str,
) -> Server {
    let limits = ConnectionLimits { total, per_address, proxies: Vec::new() };
    Server {
        listeners: vec![Listener::plain(listener)],
        routes,
        connections: Connections::new(&limits, Arc::new(())),
        header_timeout: HEADER_TIMEOUT,
        peer_timeout: PEER_TIMEOUT,
        advice,
        mark: SharedMark::default(),
    }
}

/// A page, with its Content-Security-Policy and its Referrer-Policy.
pub(crate) fn html(
    text: String,
    policy: &'static str,
    referrer: &'static str,
    request: &HeaderMap,
) -> Response {
    let mut response = Body::once(text.into()).answer("text/html; charset=utf-8", request);
    answer::set(&mut response, CONTENT_SECURITY_POLICY, policy);
    answer::set(&mut response, REFERRER_POLICY, referrer);
    response
}
