//! Which relay is believed to be the one: by the system's authorities and the owner's, or by its key.
//!
//! A certificate is valid for a time, and a Raspberry Pi does not know the time when it boots. As long
//! as nobody vouches for the clock, the time is at least that of this program's build, so what had run
//! out by then is refused, and what begins later may have begun. Over such a connection the relay is
//! asked for the time (its `Date`) and told nothing; then its certificate has to be valid at that time.
//! docs/protocol.md says what that leaves open. With `upload.pin` time plays no part.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ladder::Mono;
use runtime::clock;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_platform_verifier::Verifier;

use crate::config::ClockTrust;

/// When this was built, s since the Unix epoch: build.rs.
const BUILT: &str = env!("STILLWATCH_BUILT");

/// A chain has so many certificates at most that begin later than what is known of the time.
const MAX_CHAIN: usize = 4;

/// How the relay proves who it is.
#[derive(Debug, Clone)]
pub(crate) enum Trust {
    /// By the system's authorities, and these.
    Authorities(Vec<CertificateDer<'static>>),
    /// By one of these keys.
    Keys(Vec<Key>),
}

/// SHA-256 of a public key (SubjectPublicKeyInfo, DER).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

impl std::str::FromStr for Key {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Key, Self::Err> {
        let wrong = "a key is sha256//, then 44 characters of base64";
        let encoded = text.strip_prefix("sha256//").ok_or(wrong)?;
        let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| wrong)?;
        bytes.try_into().map(Key).map_err(|_| wrong)
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256//{}", BASE64_STANDARD.encode(self.0))
    }
}

/// What time it is, as far as certificates are concerned.
#[derive(Debug)]
pub(super) struct RelayClock {
    trust: ClockTrust,
    /// What the relay said, in s since the Unix epoch, and when.
    said: Mutex<Option<(u64, Mono)>>,
}

/// A time to judge a certificate at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    /// s since the Unix epoch.
    unix_s: u64,
    /// It may be later.
    at_least: bool,
}

impl RelayClock {
    pub(super) fn new(trust: ClockTrust) -> RelayClock {
        RelayClock { trust, said: Mutex::default() }
    }

    /// Whether nobody knows what time it is.
    pub(super) fn is_unknown(&self) -> bool {
        self.moment().at_least
    }

    /// The relay said what time it is.
    pub(super) fn hear(&self, unix_s: u64) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if unix_s >= built() {
            *said = Some((unix_s, clock::mono()));
        } else {
            tracing::warn!(
                "the relay's clock is wrong: it says a time before this agent was built"
            );
        }
    }

    fn moment(&self) -> Moment {
        let wall = self.trust.believes_clock().then(clock::wall_us);
        let said = *self.said.lock().unwrap_or_else(PoisonError::into_inner);
        moment(wall, said, clock::mono(), built())
    }
}

fn built() -> u64 {
    BUILT.parse().unwrap_or(0)
}

/// Pure: from a wall clock that is believed, what the relay said when, and the build's time.
fn moment(wall_us: Option<i64>, said: Option<(u64, Mono)>, now: Mono, built: u64) -> Moment {
    match (wall_us, said) {
        (Some(wall_us), _) => {
            let unix_s = u64::try_from(wall_us / 1_000_000).unwrap_or(0);
            Moment { unix_s, at_least: false }
        }
        (None, Some((unix_s, at))) => {
            Moment { unix_s: unix_s.saturating_add(now.since(at).as_secs()), at_least: false }
        }
        // A clock that nobody set may be years ahead as well as behind.
        (None, None) => Moment { unix_s: built, at_least: true },
    }
}

/// What reqwest needs.
pub(super) fn client_config(
    trust: &Trust,
    clock: Arc<RelayClock>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let law = match trust {
        Trust::Keys(keys) => Law::Keys(keys.clone()),
        Trust::Authorities(authorities) => {
            let all = Verifier::new_with_extra_roots(authorities.clone(), Arc::clone(&provider))?;
            Law::Authorities(Arc::new(all), clock)
        }
    };
    let judge = Judge { law, provider: Arc::clone(&provider) };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(judge))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The relay showed another key than it should have.
#[derive(Debug, thiserror::Error)]
#[error("the relay's key is {0}, and upload.pin names another")]
pub(super) struct OtherKey(Key);

/// Judges what a relay shows. That it has the key of its certificate, it proves with each handshake.
#[derive(Debug)]
struct Judge {
    law: Law,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Law {
    /// The authorities', at a time that may be all but known.
    Authorities(Arc<dyn ServerCertVerifier>, Arc<RelayClock>),
    /// One of these keys, whatever else the certificate says.
    Keys(Vec<Key>),
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let (authorities, clock) = match &self.law {
            Law::Keys(keys) => return is_one_of(keys, end_entity),
            Law::Authorities(authorities, clock) => (authorities, clock),
        };
        let Moment { unix_s, at_least } = clock.moment();
        let mut now = UnixTime::since_unix_epoch(Duration::from_secs(unix_s));
        let mut tries = 0;
        loop {
            let judged =
                authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp, now);
            match judged {
                Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before,
                    ..
                })) if at_least && tries < MAX_CHAIN && not_before > now => now = not_before,
                judged => return judged,
            }
            tries += 1;
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn is_one_of(
    keys: &[Key],
    certificate: &CertificateDer<'_>,
) -> Result<ServerCertVerified, rustls::Error> {
    let key = key_of(certificate).ok_or(CertificateError::BadEncoding)?;
    if keys.contains(&key) {
        return Ok(ServerCertVerified::assertion());
    }
    let other = rustls::OtherError(Arc::new(OtherKey(key)));
    Err(CertificateError::Other(other).into())
}

fn key_of(certificate: &CertificateDer<'_>) -> Option<Key> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let hash = ::ring::digest::digest(&::ring::digest::SHA256, &parsed.subject_public_key_info());
    hash.as_ref().try_into().ok().map(Key)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;

    use super::*;

    const YEAR: u64 = 31_557_600;

    #[test]
    fn which_time_counts() {
        let at = |s| Mono::from_boot(Duration::from_secs(s));
        let found = |wall, said| moment(wall, said, at(100), 50 * YEAR);
        let known = |unix_s| Moment { unix_s, at_least: false };
        assert_eq!(found(Some(7_000_000), None), known(7), "whoever set it is believed");
        assert_eq!(found(None, None), Moment { unix_s: 50 * YEAR, at_least: true });
        assert_eq!(found(None, Some((60 * YEAR, at(90)))), known(60 * YEAR + 10));
        assert_eq!(found(Some(7_000_000), Some((60 * YEAR, at(90)))), known(7));
    }

    #[test]
    fn keys_as_curl_writes_them() {
        let text = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(Key::from_str(text).unwrap().to_string(), text);
        for bad in [
            "",
            "47DEQpj8",
            "sha256//47DEQpj8",
            "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        ] {
            assert!(Key::from_str(bad).is_err(), "{bad}");
        }
    }

    /// A certificate of an authority of ours, valid in these years, and a verifier that trusts it.
    fn certificate(from: i32, until: i32) -> (CertificateDer<'static>, Arc<WebPkiServerVerifier>) {
        let mut params = rcgen::CertificateParams::new([]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::new(params, key);
        let mut params = rcgen::CertificateParams::new(["relay.lan".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let own = rcgen::KeyPair::generate().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
        (params.signed_by(&own, &issuer).unwrap().der().clone(), verifier.build().unwrap())
    }

    fn judge(from: i32, until: i32, said: Option<u64>) -> Result<(), rustls::Error> {
        let (certificate, inner) = certificate(from, until);
        let clock = Arc::new(RelayClock::new(ClockTrust::Untrusted));
        if let Some(unix_s) = said {
            clock.hear(unix_s);
        }
        let name = ServerName::try_from("relay.lan").unwrap();
        let any = UnixTime::since_unix_epoch(Duration::ZERO);
        let provider = Arc::new(ring::default_provider());
        let judge = Judge { law: Law::Authorities(inner, clock), provider };
        judge.verify_server_cert(&certificate, &[], &name, &[], any).map(|_| ())
    }

    #[test]
    fn before_anybody_knows_the_time_only_what_had_run_out_is_refused() {
        assert!(judge(2020, 2099, None).is_ok());
        // It begins after this was built: made while the camera lay in a drawer.
        assert!(judge(2090, 2099, None).is_ok());
        assert!(judge(2020, 2021, None).is_err());
    }

    #[test]
    fn once_the_relay_has_said_the_time_that_counts() {
        let in_2095 = Some(125 * YEAR);
        assert!(judge(2090, 2099, in_2095).is_ok());
        assert!(judge(2020, 2093, in_2095).is_err(), "run out");
        assert!(judge(2097, 2099, in_2095).is_err(), "not valid yet");
        // A relay that says a time before the build is not believed.
        assert!(judge(2020, 2021, Some(50 * YEAR + YEAR / 2)).is_err());
    }

    #[test]
    fn a_pinned_key_is_enough_and_nothing_else_is() {
        let (certificate, _) = certificate(2020, 2021);
        let provider = Arc::new(ring::default_provider());
        let name = ServerName::try_from("another.lan").unwrap();
        let any = UnixTime::since_unix_epoch(Duration::ZERO);
        let key = key_of(&certificate).unwrap();
        for (keys, good) in [(vec![Key([0; 32]), key], true), (vec![Key([0; 32])], false)] {
            let pinned = Judge { law: Law::Keys(keys), provider: Arc::clone(&provider) };
            let judged = pinned.verify_server_cert(&certificate, &[], &name, &[], any);
            assert_eq!(judged.is_ok(), good, "{judged:?}");
        }
    }
}
