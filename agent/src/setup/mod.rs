//! `stillwatch-agent setup`: the page of the setup access point, and the answers to every name that lead
//! to it. It has no privilege: what is entered goes to the access point's keeper (`stillwatch-provision
//! setup`), which checks it as it checks the card. It ends with it.
//!
//! It listens at the appliance's address in that network and for what comes in by its radio, nowhere else.

mod dns;
mod form;
mod pages;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use runtime::tasks::Tasks;
use runtime::{notify, signal};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use web::serve::{self, BindError};

use self::pages::Pages;
use crate::{cli, phones};

/// A phone or two; each opens a few to look whether this is the Internet.
const MAX_CONNECTIONS: usize = 32;
const MAX_PER_ADDRESS: usize = 16;

const STOP_WITHIN: Duration = Duration::from_secs(1);

/// How often it looks for a radio that is not there yet.
const LOOK_FOR_RADIO: Duration = Duration::from_secs(1);

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("names: can't listen on {0}: {1}")]
    Names(SocketAddrV4, io::Error),
    #[error("can't listen for signals: {0}")]
    Signals(io::Error),
    #[error("{0}; ending, for systemd to start the page anew")]
    TaskEnded(runtime::tasks::Ended),
}

/// Serves until told to stop.
pub(crate) async fn run(setup: cli::Setup) -> Result<(), SetupError> {
    let mut stop_requested = pin!(signal::stop_requested());
    notify::ready();
    if let Some(interface) = &setup.interface {
        tokio::select! {
            signal = &mut stop_requested => {
                return signal.map(drop).map_err(SetupError::Signals);
            }
            () = is_there(interface) => {}
        }
    }
    let at = |port| SocketAddrV4::new(setup.address, port);
    let listener = listen(at(setup.http_port), setup.interface.as_deref())?;
    let names = at(setup.dns_port);
    let names = listen_for_names(names, setup.interface.as_deref())
        .map_err(|error| SetupError::Names(names, error))?;
    let mut tasks = start(listener, names, setup.address, setup.socket);
    let outcome = tokio::select! {
        signal = stop_requested => signal.map(drop).map_err(SetupError::Signals),
        ended = tasks.ended() => Err(SetupError::TaskEnded(ended)),
    };
    notify::stopping();
    for name in tasks.stop(STOP_WITHIN).await {
        tracing::warn!("the task \"{name}\" did not end in time and was cut off");
    }
    outcome
}

/// Its driver may be on its way, or there is none.
async fn is_there(interface: &str) {
    let mut told = false;
    while if_nametoindex(interface).is_err() {
        if !told {
            tracing::info!("there is no {interface} yet: waiting for it");
            told = true;
        }
        tokio::time::sleep(LOOK_FOR_RADIO).await;
    }
}

fn start(listener: TcpListener, names: UdpSocket, address: Ipv4Addr, socket: PathBuf) -> Tasks {
    let host = listener.local_addr().map_or_else(
        |_| address.to_string(),
        |at| if at.port() == 80 { address.to_string() } else { at.to_string() },
    );
    tracing::info!("the setup page is at http://{host}/");
    if let Ok(at) = names.local_addr() {
        tracing::info!("names are answered on {at}");
    }
    let routes = pages::routes(Arc::new(Pages::new(host, socket)));
    let advice = "the setup page is for a phone or two";
    let server = phones::server(listener, routes, MAX_CONNECTIONS, MAX_PER_ADDRESS, advice);
    let mut tasks = Tasks::default();
    let stop = tasks.stop_token();
    tasks.spawn("page", serve::run(server, stop.clone()));
    tasks.spawn("names", dns::run(Arc::new(names), address, stop));
    tasks
}

fn listen(at: SocketAddrV4, interface: Option<&str>) -> Result<TcpListener, BindError> {
    match interface {
        Some(interface) => serve::bind_to_device(at, interface),
        None => serve::bind(at.into()),
    }
}

/// As `serve::bind_to_device`, whose reasons hold here, too.
fn listen_for_names(at: SocketAddrV4, interface: Option<&str>) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    if let Some(interface) = interface {
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_freebind_v4(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    UdpSocket::from_std(socket.into())
}
