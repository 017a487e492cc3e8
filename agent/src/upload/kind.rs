//! What kind of failure an upload's error is: which part of the way did not work. Pure.
//!
//! What is said of it to a person is in `http.rs`; what the network looks like meanwhile, in
//! `network`.

use std::error::Error;
use std::io;

use serde::Serialize;
use tokio::time::error::Elapsed;

/// The part of the way that did not work, the nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// No network interface is connected to anything.
    NoLink,
    /// None has an address.
    NoAddress,
    /// There is no way to the relay, or its last part does not answer.
    NoRoute,
    /// Nobody says which address the relay's name stands for.
    NoDns,
    /// The relay's machine says that nothing listens there.
    Refused,
    /// Encryption, or who the relay is.
    Tls,
    /// The relay, or what answers in its place, takes no uploads of ours.
    Rejected,
    /// No answer in time.
    Silent,
    /// The connection ended in the middle, or the answer makes no sense.
    #[default]
    Other,
}

impl Kind {
    /// Classifies an error by all its causes. What the relay answered is for the caller to judge.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Kind {
        let mut kind = Kind::Other;
        let mut next = Some(error);
        while let Some(cause) = next {
            // The innermost that says anything is the one that happened.
            kind = of_one(cause).unwrap_or(kind);
            next = match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                // What an I/O error holds is not its source, but what it stands for.
                Some(held) => Some(held as &(dyn Error + 'static)),
                None => cause.source(),
            };
        }
        kind
    }

    /// With what `seen` says of this machine's own network (`network::kind`): a name that can't be
    /// found is no matter of names where there is no network.
    pub(crate) fn seen_with(self, seen: Option<Kind>) -> Kind {
        match self {
            // It got through, so there was one.
            Kind::Refused | Kind::Tls | Kind::Rejected => self,
            Kind::NoLink
            | Kind::NoAddress
            | Kind::NoRoute
            | Kind::NoDns
            | Kind::Silent
            | Kind::Other => seen.unwrap_or(self),
        }
    }
}

/// What a cause says by itself, if it says anything.
fn of_one(cause: &(dyn Error + 'static)) -> Option<Kind> {
    if cause.is::<rustls::Error>() {
        return Some(Kind::Tls);
    }
    if cause.is::<Elapsed>() {
        return Some(Kind::Silent);
    }
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return of_io(error);
    }
    if let Some(error) = cause.downcast_ref::<reqwest::Error>() {
        return match error {
            _ if error.is_timeout() => Some(Kind::Silent),
            _ if error.is_status() => Some(Kind::Rejected),
            _ => None,
        };
    }
    // The type that says so is hyper-util's own; its text is all that can be seen of it.
    cause.to_string().starts_with("dns error").then_some(Kind::NoDns)
}

fn of_io(error: &io::Error) -> Option<Kind> {
    match error.raw_os_error() {
        Some(libc::ENETDOWN) => Some(Kind::NoLink),
        Some(libc::EADDRNOTAVAIL) => Some(Kind::NoAddress),
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EHOSTDOWN) => Some(Kind::NoRoute),
        Some(libc::ECONNREFUSED) => Some(Kind::Refused),
        Some(libc::ETIMEDOUT) => Some(Kind::Silent),
        _ => (error.kind() == io::ErrorKind::TimedOut).then_some(Kind::Silent),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use reqwest::Client;
    use rustls::RootCertStore;
    use rustls::pki_types::PrivateKeyDer;

    use super::*;
    use crate::network::testing::{block_on, in_namespace};

    fn client() -> Client {
        trusting(&[])
    }

    /// Asks, and classifies what goes wrong.
    async fn kind(client: &Client, url: &str) -> Kind {
        let error = client.get(url).timeout(Duration::from_secs(5)).send().await.unwrap_err();
        Kind::of(&error)
    }

    #[tokio::test]
    async fn nothing_listens_there() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(kind(&client(), &format!("http://{closed}/")).await, Kind::Refused);
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows() {
        // RFC 2606: there never is one.
        assert_eq!(kind(&client(), "http://relay.invalid/").await, Kind::NoDns);
    }

    #[test]
    fn no_way_there() {
        let found = in_namespace(|| block_on(async { kind(&client(), "http://192.0.2.1/").await }));
        assert_eq!(found, Kind::NoRoute);
    }

    #[tokio::test]
    async fn no_answer_in_time() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let request = client().get(&url).timeout(Duration::from_millis(50)).send();
        assert_eq!(Kind::of(&request.await.unwrap_err()), Kind::Silent);
        let late = tokio::time::timeout(Duration::from_millis(50), client().get(&url).send());
        assert_eq!(Kind::of(&late.await.unwrap_err()), Kind::Silent);
    }

    #[tokio::test]
    async fn whoever_answers_is_cut_off_or_talks_nonsense() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = thread::spawn(move || drop(listener.accept().unwrap()));
        assert_eq!(kind(&client(), &url).await, Kind::Other);
        server.join().unwrap();
    }

    /// A TLS server with a certificate for `name`; returns where it is.
    fn tls_server(name: &str) -> (u16, rcgen::Certificate) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let connection = rustls::ServerConnection::new(config).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            // The client says what it thinks of the certificate.
            let _ = stream.read(&mut [0; 64]);
        });
        (port, made.cert)
    }

    fn trusting(certificates: &[rcgen::Certificate]) -> Client {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate.der().clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Client::builder().tls_backend_preconfigured(config).no_proxy().build().unwrap()
    }

    #[tokio::test]
    async fn a_certificate_of_somebody_else_or_for_another_name() {
        let (port, _) = tls_server("localhost");
        assert_eq!(kind(&trusting(&[]), &format!("https://localhost:{port}/")).await, Kind::Tls);
        let (port, certificate) = tls_server("another.lan");
        let client = trusting(&[certificate]);
        assert_eq!(kind(&client, &format!("https://localhost:{port}/")).await, Kind::Tls);
    }

    #[tokio::test]
    async fn no_tls_where_there_should_be() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            use std::io::Write;
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            let _ = stream.read(&mut [0; 64]);
        });
        assert_eq!(kind(&trusting(&[]), &format!("https://127.0.0.1:{port}/")).await, Kind::Tls);
        server.join().unwrap();
    }

    #[test]
    fn errors_of_the_system() {
        for (errno, kind) in [
            (libc::ENETDOWN, Kind::NoLink),
            (libc::EADDRNOTAVAIL, Kind::NoAddress),
            (libc::ENETUNREACH, Kind::NoRoute),
            (libc::EHOSTUNREACH, Kind::NoRoute),
            (libc::ECONNREFUSED, Kind::Refused),
            (libc::ETIMEDOUT, Kind::Silent),
            (libc::ECONNRESET, Kind::Other),
            (libc::EPIPE, Kind::Other),
        ] {
            let plain = io::Error::from_raw_os_error(errno);
            assert_eq!(Kind::of(&plain), kind, "{errno}");
            let held = io::Error::other(io::Error::from_raw_os_error(errno));
            assert_eq!(Kind::of(&held), kind, "{errno}");
        }
        assert_eq!(Kind::of(&io::Error::other("nonsense")), Kind::Other);
    }

    #[test]
    fn what_got_through_had_a_network() {
        let all = [
            (Kind::NoLink, true),
            (Kind::NoAddress, true),
            (Kind::NoRoute, true),
            (Kind::NoDns, true),
            (Kind::Refused, false),
            (Kind::Tls, false),
            (Kind::Rejected, false),
            (Kind::Silent, true),
            (Kind::Other, true),
        ];
        for (kind, by_sight) in all {
            assert_eq!(kind.seen_with(None), kind);
            let seen = if by_sight { Kind::NoLink } else { kind };
            assert_eq!(kind.seen_with(Some(Kind::NoLink)), seen, "{kind:?}");
        }
    }
}
