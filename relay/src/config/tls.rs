//! The section `tls`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use runtime::settings::ConfigError;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, DnsName};
use serde::Deserialize;

use crate::tls::acme::AcmeConfig;
use crate::tls::files::Files;
use crate::tls::{Source, TlsConfig, acme_folder};

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTls {
    pub domain: String,
    pub contact: Option<String>,
    pub directory: String,
    pub directory_ca_file: Option<PathBuf>,
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub listen: String,
    pub redirect_listen: String,
    pub plain_http: bool,
}

impl Default for RawTls {
    fn default() -> Self {
        RawTls {
            domain: String::new(),
            contact: None,
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            directory_ca_file: None,
            certificate_file: None,
            key_file: None,
            listen: "[::]:443".to_owned(),
            redirect_listen: "[::]:80".to_owned(),
            plain_http: false,
        }
    }
}

impl RawTls {
    /// `None` if there is to be no HTTPS.
    pub(super) fn checked(
        &self,
        data_dir: &Path,
        place: &impl Fn(&str) -> String,
    ) -> Result<Option<TlsConfig>, ConfigError> {
        let wrong = |key: &str, what: String| {
            ConfigError::Value(format!("{}tls.{key}: {what}", place(&format!("tls.{key}"))))
        };
        let domains = self.domains().map_err(|what| wrong("domain", what))?;
        let source = match (&self.certificate_file, &self.key_file) {
            (Some(certificate), key) => Source::Files(Files {
                certificate: certificate.clone(),
                key: key.clone().unwrap_or_else(|| certificate.clone()),
            }),
            (None, Some(_)) => {
                let what = "there is no tls.certificate_file for this key".to_owned();
                return Err(wrong("key_file", what));
            }
            (None, None) if domains.is_empty() => return Ok(None),
            (None, None) => {
                if !self.directory.starts_with("https://") {
                    let what = format!("\"{}\" has to begin with https://", self.directory);
                    return Err(wrong("directory", what));
                }
                let roots = match &self.directory_ca_file {
                    None => Vec::new(),
                    Some(path) => read_roots(path).map_err(|what| {
                        wrong("directory_ca_file", format!("{}: {what}", path.display()))
                    })?,
                };
                Source::Acme(AcmeConfig {
                    domains: domains.clone(),
                    contact: self.contact.clone(),
                    directory: self.directory.clone(),
                    roots,
                    folder: acme_folder(data_dir),
                })
            }
        };
        let address = |key: &str, text: &str| {
            let what = || format!("\"{text}\" is no address and port; write such as [::]:443");
            text.parse::<SocketAddr>().map_err(|_| wrong(key, what()))
        };
        let listen = address("listen", &self.listen)?;
        let redirect_listen = match self.redirect_listen.as_str() {
            "none" => None,
            text => Some(address("redirect_listen", text)?),
        };
        let host = domains.first().map(|domain| match listen.port() {
            443 => domain.clone(),
            port => format!("{domain}:{port}"),
        });
        Ok(Some(TlsConfig { source, listen, redirect_listen, plain_http: self.plain_http, host }))
    }

    fn domains(&self) -> Result<Vec<String>, String> {
        let name = |word: &str| {
            let plain = word.contains('.') && word.parse::<std::net::IpAddr>().is_err();
            match DnsName::try_from(word) {
                Ok(name) if plain => Ok(name.to_lowercase_owned().as_ref().to_owned()),
                _ => Err(format!("\"{word}\" is no domain; write such as cam.example.org")),
            }
        };
        self.domain.split_whitespace().map(name).collect()
    }
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| error.to_string())?;
    if found.is_empty() { Err("no certificate is in it".to_owned()) } else { Ok(found) }
}
