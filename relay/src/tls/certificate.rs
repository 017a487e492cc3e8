//! A certificate with its key, as PEM files hold them.

use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What TLS shows, and what it says of itself.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// The chain, its own certificate first, and the key.
    pub key: Arc<CertifiedKey>,
    pub validity: Validity,
    /// The names it is for; addresses are left out.
    pub names: Vec<String>,
}

/// From when until when, in s since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub from: i64,
    pub until: i64,
}

impl Certificate {
    /// Reads a chain and its key; both may be of one file.
    ///
    /// # Errors
    /// What is wrong, in words that follow a file's name.
    pub(crate) fn read(chain: &[u8], key: &[u8]) -> Result<Certificate, String> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("no PEM file: {error}"))?;
        let own = chain.first().ok_or("no certificate (-----BEGIN CERTIFICATE-----) is in it")?;
        let (validity, names) = facts(own)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| "no private key (-----BEGIN PRIVATE KEY-----) is in it")?;
        let key = any_supported_type(&key)
            .map_err(|_| "its key is neither RSA, nor ECDSA, nor Ed25519")?;
        let key = CertifiedKey::new(chain, key);
        // An error other than this one only says that it can't be compared.
        if let Err(rustls::Error::InconsistentKeys(_)) = key.keys_match() {
            return Err("the key is not this certificate's".to_owned());
        }
        Ok(Certificate { key: Arc::new(key), validity, names })
    }
}

fn facts(certificate: &CertificateDer<'_>) -> Result<(Validity, Vec<String>), String> {
    let (_, read) = X509Certificate::from_der(certificate)
        .map_err(|error| format!("its certificate is damaged: {error}"))?;
    let validity = read.validity();
    let validity =
        Validity { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() };
    let names = read.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let dns = names.iter().filter_map(|name| {
        if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None }
    });
    Ok((validity, dns.collect()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// PEM of a certificate for `name`, and of its key.
    pub(crate) fn made(name: &str, until: i32) -> (String, String) {
        let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn what_it_says_of_itself() {
        let (chain, key) = made("cam.example.org", 2027);
        let read = Certificate::read(chain.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(read.names, ["cam.example.org"]);
        assert_eq!(read.validity, Validity { from: 1_767_225_600, until: 1_798_761_600 });
        let both = format!("{key}\n{chain}");
        assert!(Certificate::read(both.as_bytes(), both.as_bytes()).is_ok(), "one file");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let (chain, key) = made("cam.example.org", 2027);
        let (_, other) = made("cam.example.org", 2027);
        for (chain, key, said) in [
            ("", key.as_str(), "no certificate"),
            ("garbage", &key, "no certificate"),
            (&key, &key, "no certificate"),
            (&chain, "", "no private key"),
            (&chain, &chain, "no private key"),
            (&chain, &other, "the key is not this certificate's"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key, "damaged"),
            ("-----BEGIN CERTIFICATE-----\nAA", &key, "no PEM file"),
        ] {
            let wrong = Certificate::read(chain.as_bytes(), key.as_bytes()).unwrap_err();
            assert!(wrong.contains(said), "{wrong}, not {said}");
        }
    }
}
