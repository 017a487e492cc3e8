//! HTTPS without a proxy: whose certificate is shown, where it comes from, and where plain HTTP is sent to.
//!
//! * `certificate`: what is in the files.
//! * `files`: the owner's own files, read again when they change.
//! * `acme`: an authority that gives certificates to whoever answers at a name; `renew` decides when it is asked.
//! * `redirect`: from HTTP to HTTPS. Pure.
//!
//! TLS itself is rustls', and `web::serve` speaks it.

pub(crate) mod acme;
pub(crate) mod certificate;
pub(crate) mod files;
pub(crate) mod redirect;
mod renew;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use certificate::Certificate;
pub(crate) use renew::is_late;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use web::serve::{ACME, protocols};

/// What the configuration says of it.
#[derive(Debug, Clone)]
pub(crate) struct TlsConfig {
    pub source: Source,
    pub listen: SocketAddr,
    /// Where plain HTTP is listened for, to be sent on; `None`: nowhere.
    pub redirect_listen: Option<SocketAddr>,
    /// Whether plain HTTP is answered all the same.
    pub plain_http: bool,
    /// Its name, and port if it is not 443; `None`: the one the client asked for.
    pub host: Option<String>,
}

/// Where the certificate comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Files(files::Files),
    Acme(acme::AcmeConfig),
}

/// The certificate that is shown, and proofs that a name is ours.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    certificate: RwLock<Option<Arc<Certificate>>>,
    proofs: Mutex<BTreeMap<String, Proof>>,
}

/// The answer to an authority's question at one name.
#[derive(Debug)]
struct Proof {
    /// For the handshake of RFC 8737.
    key: Arc<CertifiedKey>,
    /// For `/.well-known/acme-challenge/` (RFC 8555, 8.3).
    token: String,
    authorization: String,
}

impl Shown {
    /// From now on.
    pub(crate) fn show(&self, certificate: Certificate) {
        let mut shown = self.certificate.write().unwrap_or_else(PoisonError::into_inner);
        *shown = Some(Arc::new(certificate));
    }

    /// The present one.
    pub(crate) fn certificate(&self) -> Option<Arc<Certificate>> {
        self.certificate.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is wrong with it, in words that follow "The certificate"; `None`: nothing is.
    pub(crate) fn trouble(&self, unix_s: i64) -> Option<String> {
        let Some(certificate) = self.certificate() else {
            return Some("is not there, so HTTPS is not answered".to_owned());
        };
        let validity = certificate.validity;
        is_late(validity, unix_s).then(|| {
            let until = frame::wire::format_time(validity.until.saturating_mul(1_000_000), 0);
            format!("is valid until {until}, and was not renewed")
        })
    }

    /// What whoever asks for `token` over plain HTTP gets.
    pub(crate) fn authorization(&self, token: &str) -> Option<String> {
        let proofs = self.proofs();
        let proof = proofs.values().find(|proof| proof.token == token)?;
        Some(proof.authorization.clone())
    }

    fn proofs(&self) -> MutexGuard<'_, BTreeMap<String, Proof>> {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let proves = hello.alpn().is_some_and(|mut offered| offered.any(|one| one == ACME));
        if proves {
            let proofs = self.proofs();
            return Some(Arc::clone(&proofs.get(hello.server_name()?)?.key));
        }
        Some(Arc::clone(&self.certificate()?.key))
    }
}

/// What the listening side needs.
///
/// # Errors
/// rustls knows no version of TLS, which does not happen.
pub(crate) fn server(shown: &Arc<Shown>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let resolver: Arc<dyn ResolvesServerCert> = Arc::<Shown>::clone(shown);
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = protocols();
    Ok(Arc::new(config))
}

/// Where certificates of authorities are kept, below the data folder.
pub(crate) fn acme_folder(data_dir: &std::path::Path) -> PathBuf {
    data_dir.join("acme")
}

#[cfg(test)]
mod tests {
    use super::certificate::tests::made;
    use super::*;

    #[test]
    fn what_is_wrong_with_the_certificate_is_known_in_time() {
        let shown = Shown::default();
        assert!(shown.trouble(0).is_some_and(|said| said.contains("is not there")));
        let (chain, key) = made("cam.example.org", 2027);
        shown.show(Certificate::read(chain.as_bytes(), key.as_bytes()).unwrap());
        let until = 1_798_761_600;
        assert_eq!(shown.trouble(until - 30 * 86_400), None);
        let late = Some("is valid until 2027-01-01T00:00:00Z, and was not renewed".to_owned());
        assert_eq!(shown.trouble(until - 86_400), late);
    }
}
