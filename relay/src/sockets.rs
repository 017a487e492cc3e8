//! Where the relay listens: at the sockets that systemd passes, else at its own.
//!
//! A socket of systemd's is there before the relay and after it: nobody is refused while it restarts, and port 443
//! needs no privilege here. Its unit names it: `web` for HTTPS at the port of `tls.listen` and for what is sent there,
//! anything else for plain HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use web::serve::{self, BindError, Listener};

use crate::tls::TlsConfig;

/// What is wrong with where it is to listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketsError {
    #[error("{0} (relay.listen, --listen)")]
    Relay(BindError),
    #[error(
        "{0} (tls.listen; with the package's units: systemctl stop stillwatch-relay.socket stillwatch-relay; systemctl enable --now stillwatch-relay.socket stillwatch-relay-web.socket stillwatch-relay)"
    )]
    Https(BindError),
    #[error("the sockets that systemd passes can't be used: {0}")]
    Inherited(io::Error),
    #[error(
        "{key} is {wanted}, but systemd listens at {passed} for this relay: take {key} out of the configuration and run \
         systemctl edit {unit} ([Socket], ListenStream=, then ListenStream={wanted}), or systemctl disable --now {unit}"
    )]
    Conflict { key: &'static str, unit: &'static str, wanted: SocketAddr, passed: SocketAddr },
}

/// What the configuration asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    pub listen: SocketAddr,
    /// Whether nobody asked for anything else than usual.
    pub listen_is_usual: bool,
    pub tls: Option<(&'a TlsConfig, Arc<ServerConfig>)>,
}

/// The sockets of systemd's that there are.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    plain: Vec<TcpListener>,
    web: Vec<TcpListener>,
}

impl Passed {
    /// Takes them over. To be called once.
    pub(crate) fn take() -> Result<Passed, SocketsError> {
        let mut passed = Passed::default();
        for (fd, name) in runtime::inherited::sockets().map_err(SocketsError::Inherited)? {
            let listener = serve::adopt(fd).map_err(SocketsError::Inherited)?;
            if name == "web" { passed.web.push(listener) } else { passed.plain.push(listener) }
        }
        Ok(passed)
    }
}

/// Opens what is missing, and says where it listens.
pub(crate) fn open(passed: Passed, wanted: &Wanted<'_>) -> Result<Vec<Listener>, SocketsError> {
    let Passed { mut plain, web } = passed;
    if plain.is_empty() {
        plain.push(serve::bind(wanted.listen).map_err(SocketsError::Relay)?);
    } else if !wanted.listen_is_usual {
        agree("relay.listen", "stillwatch-relay.socket", wanted.listen, &plain)?;
    }
    let mut listeners = Vec::new();
    for socket in plain {
        said("listening on", &socket);
        listeners.push(Listener::plain(socket));
    }
    let (mut https, mut http) = (Vec::new(), Vec::new());
    for socket in web {
        let port = socket.local_addr().map_err(SocketsError::Inherited)?.port();
        // What is said to 443 is meant for nobody else, whatever the configuration calls it.
        let secure =
            port == 443 || wanted.tls.as_ref().is_some_and(|(tls, _)| tls.listen.port() == port);
        if secure { https.push(socket) } else { http.push(socket) }
    }
    if let Some((tls, _)) = &wanted.tls {
        agree("tls.listen", "stillwatch-relay-web.socket", tls.listen, &https)?;
    }
    match &wanted.tls {
        Some((tls, server)) => {
            if https.is_empty() {
                https.push(serve::bind(tls.listen).map_err(SocketsError::Https)?);
            }
            for socket in https {
                said("HTTPS on", &socket);
                listeners.push(Listener { socket, tls: Some(Arc::clone(server)) });
            }
            if http.is_empty() {
                http.extend(redirecting(tls));
            }
        }
        None if https.is_empty() => {}
        None => tracing::warn!(
            "systemd listens for HTTPS for this relay, which has no certificate: nobody is answered there (set \
             tls.domain, or systemctl disable --now stillwatch-relay-web.socket)"
        ),
    }
    for socket in http {
        said("listening on", &socket);
        listeners.push(Listener::plain(socket));
    }
    Ok(listeners)
}

/// HTTPS works without it, so it may fail.
fn redirecting(tls: &TlsConfig) -> Option<TcpListener> {
    serve::bind(tls.redirect_listen?)
        .inspect_err(|error| {
            tracing::warn!(
                "{error}; whoever types no https:// finds nothing (tls.redirect_listen)"
            );
        })
        .ok()
}

fn said(what: &str, socket: &TcpListener) {
    if let Ok(address) = socket.local_addr() {
        tracing::info!("{what} {address}");
    }
}

/// Whether all of `passed` are where the configuration says.
fn agree(
    key: &'static str,
    unit: &'static str,
    wanted: SocketAddr,
    passed: &[TcpListener],
) -> Result<(), SocketsError> {
    for socket in passed {
        let passed = socket.local_addr().map_err(SocketsError::Inherited)?;
        if !is_same(wanted, passed) {
            return Err(SocketsError::Conflict { key, unit, wanted, passed });
        }
    }
    Ok(())
}

/// All addresses are all addresses, of IPv4 or of both.
fn is_same(wanted: SocketAddr, passed: SocketAddr) -> bool {
    let all = wanted.ip().is_unspecified() && passed.ip().is_unspecified();
    wanted.port() == passed.port() && (all || wanted.ip() == passed.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_place() {
        for (wanted, passed, same) in [
            ("[::]:5000", "[::]:5000", true),
            ("0.0.0.0:5000", "[::]:5000", true),
            ("127.0.0.1:5000", "127.0.0.1:5000", true),
            // Somebody wanted less than the whole world.
            ("127.0.0.1:5000", "[::]:5000", false),
            ("[::]:8080", "[::]:5000", false),
        ] {
            let found = is_same(wanted.parse().unwrap(), passed.parse().unwrap());
            assert_eq!(found, same, "{wanted} {passed}");
        }
    }
}
