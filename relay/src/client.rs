//! The relay as a client: of its owner's notification services, and of itself (`doctor`, `status`).

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Response, redirect};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_platform_verifier::{BuilderVerifierExt, Verifier};

/// A client that trusts the system's authorities and these, follows nobody elsewhere, and gives up after
/// `timeout`.
///
/// # Errors
/// In words: the system's certificates can't be read, most often.
pub(crate) fn client(
    authorities: &[CertificateDer<'static>],
    timeout: Duration,
) -> Result<Client, String> {
    builder(authorities, timeout)?.build().map_err(|error| error.to_string())
}

/// The same, for who has more to say about it.
///
/// # Errors
/// As [`client`].
pub(crate) fn builder(
    authorities: &[CertificateDer<'static>],
    timeout: Duration,
) -> Result<ClientBuilder, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let tls = if authorities.is_empty() {
        // A machine that trusts nobody can still ask over plain HTTP.
        let nobody = || builder.clone().with_root_certificates(RootCertStore::empty());
        builder.clone().with_platform_verifier().unwrap_or_else(|_| nobody())
    } else {
        let verifier = Verifier::new_with_extra_roots(authorities.iter().cloned(), provider)
            .map_err(|error| error.to_string())?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    };
    Ok(Client::builder()
        .tls_backend_preconfigured(tls.with_no_client_auth())
        .user_agent(concat!("stillwatch-relay/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .timeout(timeout)
        .connect_timeout(timeout))
}

/// The whole of an answer; `None` if it has more than `max` bytes.
///
/// # Errors
/// It is cut off, or the client's deadline ends it.
pub(crate) async fn body(answer: &mut Response, max: usize) -> reqwest::Result<Option<Vec<u8>>> {
    let mut whole = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if whole.len() + piece.len() > max {
            return Ok(None);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Some(whole))
}

/// What went wrong, with its causes: the first alone says only that a request failed. The address is not named, as
/// it may hold a token.
pub(crate) fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(of) = cause {
        words = format!("{words}: {of}");
        cause = of.source();
    }
    words
}
