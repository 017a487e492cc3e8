//! Certificates from an authority that speaks ACME (RFC 8555), such as Let's Encrypt: the account, the order, the
//! proof that the names are ours, and the files that survive a restart. When, is `renew.rs`' decision.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType,
    Error as AcmeError, HttpClient, Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use ladder::Episode;
use runtime::clock;
use runtime::files::{Survives, keep_secret};
use runtime::settings::duration_text;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

use super::certificate::{Certificate, Validity};
use super::renew::{Renewal, is_late};
use super::{Proof, Shown};
use crate::client::{self, causes, client};
use crate::data::on_disk;

/// For each request of an order.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// Longest answer of an authority, in bytes: a chain of certificates is some thousand.
const MAX_ANSWER: usize = 1 << 20;

/// How long an authority may take to look whether a name is ours, or to sign.
const POLL: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));

/// For a whole order.
const ORDER_WITHIN: Duration = Duration::from_secs(300);

/// What could not be written is tried again so often.
const KEEP_AGAIN: Duration = Duration::from_secs(60);

/// At most one line about the same trouble in this time.
const LINE_SPACING: Duration = Duration::from_secs(6 * 3600);

/// What the configuration says of it.
#[derive(Debug, Clone)]
pub(crate) struct AcmeConfig {
    /// The names, at least one.
    pub domains: Vec<String>,
    /// Whom the authority may write to.
    pub contact: Option<String>,
    /// The address of the authority's directory.
    pub directory: String,
    /// Authorities to trust when asking this one, beside the system's.
    pub roots: Vec<CertificateDer<'static>>,
    /// Account and certificate are kept here, for each authority in a folder of its own.
    pub folder: PathBuf,
}

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
enum OrderError {
    #[error("{0}")]
    Http(String),
    #[error("the authority says: {}", said(.0))]
    Acme(#[from] AcmeError),
    #[error("the authority offers no way of proving that is known here")]
    NoChallenge,
    #[error("the authority could not see that {0} is this relay: {1}")]
    NotProved(String, String),
    #[error("a key or a request can't be made: {0}")]
    Made(#[from] rcgen::Error),
    #[error("{0}")]
    Certificate(String),
    #[error("{path}: {source}", path = .path.display())]
    Kept { path: PathBuf, source: io::Error },
    #[error("it took longer than {}", duration_text(ORDER_WITHIN))]
    TooLong,
}

fn said(error: &AcmeError) -> String {
    let AcmeError::Api(problem) = error else { return error.to_string() };
    problem.detail.clone().unwrap_or_else(|| problem.to_string())
}

impl AcmeConfig {
    /// The certificate of an earlier run.
    pub(crate) async fn kept(&self) -> Option<Certificate> {
        let path = self.certificate_file();
        let file = path.clone();
        let pem = on_disk(move || fs::read(file)).await.ok()?;
        let read = Certificate::read(&pem, &pem);
        let wrong = read.as_ref().err();
        if let Some(wrong) = wrong {
            tracing::warn!("{}: {wrong}; a new certificate is asked for", path.display());
        }
        read.ok()
    }

    fn folder(&self) -> PathBuf {
        let host = self.directory.split("://").nth(1).and_then(|rest| rest.split('/').next());
        let plain = |c: char| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' };
        self.folder.join(host.unwrap_or("authority").chars().map(plain).collect::<String>())
    }

    fn certificate_file(&self) -> PathBuf {
        let first = self.domains.first().map(String::as_str).unwrap_or_default();
        self.folder().join(format!("{first}.pem"))
    }

    fn account_file(&self) -> PathBuf {
        self.folder().join("account.json")
    }

    /// Writes a file, away from the async threads: a disk may hang.
    async fn keep(&self, path: PathBuf, content: Vec<u8>) -> Result<(), OrderError> {
        let (folder, to) = (self.folder(), path.clone());
        let written = on_disk(move || {
            fs::create_dir_all(folder)?;
            keep_secret(&to, &content, Survives::PowerCut)
        });
        written.await.map_err(|source| OrderError::Kept { path, source })
    }

    async fn account(&self) -> Result<Account, OrderError> {
        let http = client(&self.roots, REQUEST_WITHIN).map_err(OrderError::Http)?;
        let builder = Account::builder_with_http(Box::new(Http(http)));
        let file = self.account_file();
        let kept = on_disk(move || fs::read(file)).await.ok();
        // A damaged file costs a new account, and nothing else.
        let kept = kept.and_then(|kept| serde_json::from_slice::<AccountCredentials>(&kept).ok());
        if let Some(credentials) = kept {
            return Ok(builder.from_credentials(credentials).await?);
        }
        let contact = self.contact.as_ref().map(|contact| format!("mailto:{contact}"));
        let contact: Vec<&str> = contact.as_deref().into_iter().collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let (account, credentials) = builder.create(&new, self.directory.clone(), None).await?;
        let json = serde_json::to_vec(&credentials).map_err(AcmeError::Json)?;
        // Without it the next order makes another account, and that is all.
        if let Err(error) = self.keep(self.account_file(), json).await {
            tracing::warn!("the account at the authority can't be kept: {error}");
        }
        Ok(account)
    }

    /// One order, to its end: key and chain in PEM.
    async fn order(&self, shown: &Shown, way: ChallengeType) -> Result<String, OrderError> {
        let account = self.account().await?;
        let names: Vec<_> = self.domains.iter().cloned().map(Identifier::Dns).collect();
        let mut order = match account.new_order(&NewOrder::new(&names)).await {
            Err(error) if is_unknown_account(&error) => {
                // The authority has forgotten it; the next attempt makes another one.
                let _ = fs::remove_file(self.account_file());
                return Err(error.into());
            }
            order => order?,
        };
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let challenge = authorization.challenge(way.clone());
            let mut challenge = challenge.ok_or(OrderError::NoChallenge)?;
            let (domain, answer) =
                (challenge.identifier().to_string(), challenge.key_authorization());
            let proof = Proof {
                key: proof_key(&domain, answer.digest().as_ref())?,
                token: challenge.token.clone(),
                authorization: answer.as_str().to_owned(),
            };
            shown.proofs().insert(domain, proof);
            challenge.set_ready().await?;
        }
        match order.poll_ready(&POLL).await {
            Ok(OrderStatus::Ready) => {}
            Ok(_) | Err(AcmeError::Api(_)) => return Err(why_not(&mut order).await),
            Err(error) => return Err(error.into()),
        }
        let key = rcgen::KeyPair::generate()?;
        let mut params = rcgen::CertificateParams::new(self.domains.clone())?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        order.finalize_csr(params.serialize_request(&key)?.der()).await?;
        let chain = order.poll_certificate(&POLL).await?;
        Ok(format!("{}\n{chain}", key.serialize_pem()))
    }

    /// The same with a deadline, over either port, and the certificate shown. Returns what has to be kept.
    async fn renew(&self, shown: &Shown) -> Result<Vec<u8>, OrderError> {
        let by = async |way| {
            let ordered = tokio::time::timeout(ORDER_WITHIN, self.order(shown, way)).await;
            // Nobody asks for them any more.
            shown.proofs().clear();
            ordered.map_err(|_| OrderError::TooLong)?
        };
        let pem = match by(ChallengeType::TlsAlpn01).await {
            // Something else may answer at port 443, or nothing.
            Err(OrderError::NotProved(..) | OrderError::NoChallenge) => {
                by(ChallengeType::Http01).await?
            }
            ordered => ordered?,
        };
        let certificate =
            Certificate::read(pem.as_bytes(), pem.as_bytes()).map_err(OrderError::Certificate)?;
        shown.show(certificate);
        Ok(pem.into_bytes())
    }

    /// Whether a certificate is for all names that there are now.
    fn is_for(&self, certificate: &Certificate) -> bool {
        self.domains.iter().all(|domain| certificate.names.contains(domain))
    }
}

fn is_unknown_account(error: &AcmeError) -> bool {
    let AcmeError::Api(problem) = error else { return false };
    problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist")
}

/// What the authority found wrong, for whoever has to mend it.
async fn why_not(order: &mut instant_acme::Order) -> OrderError {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        let wrong = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(wrong) = wrong {
            let detail = wrong.detail.clone().unwrap_or_else(|| wrong.to_string());
            return OrderError::NotProved(state.identifier().to_string(), detail);
        }
    }
    let detail = order.state().error.as_ref().and_then(|problem| problem.detail.clone());
    OrderError::NotProved("the domain".to_owned(), detail.unwrap_or_else(|| "no reason".to_owned()))
}

/// A certificate that says what the authority wants to hear (RFC 8737, 3).
fn proof_key(domain: &str, digest: &[u8]) -> Result<Arc<CertifiedKey>, OrderError> {
    let mut params = rcgen::CertificateParams::new([domain.to_owned()])?;
    params.custom_extensions.push(rcgen::CustomExtension::new_acme_identifier(digest));
    let key = rcgen::KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let secret = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let secret =
        any_supported_type(&secret).map_err(|error| OrderError::Certificate(error.to_string()))?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], secret)))
}

/// Has a certificate all the time, as far as that depends on this side.
pub(crate) async fn run(config: AcmeConfig, shown: Arc<Shown>, stop: CancellationToken) {
    let (mut renewal, mut trouble) = (Renewal::default(), Episode::new(LINE_SPACING));
    let mut unkept: Option<Vec<u8>> = None;
    loop {
        if let Some(pem) = unkept.take()
            && let Err(error) = config.keep(config.certificate_file(), pem.clone()).await
        {
            unkept = Some(pem);
            if trouble.enter(clock::mono(), error.to_string()).is_some() {
                tracing::error!(
                    "the certificate is shown, but not kept through a restart: {error}"
                );
            }
        }
        let unix_s = clock::wall_us() / 1_000_000;
        let present = shown.certificate();
        // One that lacks a name is shown until there is another.
        let validity = present.filter(|one| config.is_for(one)).map(|one| one.validity);
        let wait = renewal.wait(validity, unix_s, clock::mono());
        let wait = if unkept.is_some() { wait.min(KEEP_AGAIN) } else { wait };
        if !wait.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(wait) => continue,
                () = stop.cancelled() => return,
            }
        }
        let outcome = tokio::select! {
            outcome = config.renew(&shown) => outcome,
            () = stop.cancelled() => return,
        };
        match outcome {
            Ok(pem) => {
                unkept = Some(pem);
                renewal.succeeded(clock::mono());
                trouble.leave(clock::mono());
                say_shown(&config, &shown);
            }
            Err(error) => {
                renewal.failed(clock::mono());
                let sentence = error.to_string();
                if trouble.enter(clock::mono(), sentence.clone()).is_some() {
                    let wait = renewal.wait(None, unix_s, clock::mono());
                    let lacks = shown.certificate().is_some();
                    say_failed(&config, &sentence, validity, lacks, unix_s, wait);
                }
            }
        }
    }
}

fn say_shown(config: &AcmeConfig, shown: &Shown) {
    let until = shown.certificate().map_or(0, |one| one.validity.until);
    let until = jiff::Timestamp::from_second(until).unwrap_or_default();
    let names = config.domains.join(", ");
    tracing::info!("a certificate for {names}, valid until {until}, is shown from now on");
}

fn say_failed(
    config: &AcmeConfig,
    sentence: &str,
    validity: Option<Validity>,
    lacks: bool,
    unix_s: i64,
    wait: Duration,
) {
    let names = config.domains.join(", ");
    let what = match validity {
        None if lacks => "the present one is not for all of them",
        None => "HTTPS is not answered",
        Some(validity) if is_late(validity, unix_s) => "the present one runs out soon",
        Some(_) => "the present one is shown meanwhile",
    };
    let seconds = wait.as_millis().div_ceil(1_000).try_into().unwrap_or(0);
    let again = duration_text(Duration::from_secs(seconds));
    tracing::error!("no new certificate for {names}: {sentence}; {what}; trying again in {again}");
}

/// The relay's client, as instant-acme wants it.
struct Http(reqwest::Client);

impl HttpClient for Http {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, AcmeError>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let asked = client
                .request(head.method, head.uri.to_string())
                .headers(head.headers)
                .body(body)
                .send();
            let mut answer = asked.await.map_err(reached)?;
            let whole = client::body(&mut answer, MAX_ANSWER).await.map_err(reached)?;
            let whole = whole.ok_or(AcmeError::Str("a shorter answer"))?;
            let mut response = http::Response::new(Full::new(Bytes::from(whole)));
            *response.status_mut() = answer.status();
            *response.headers_mut() = std::mem::take(answer.headers_mut());
            Ok(BytesResponse::from(response))
        })
    }
}

fn reached(error: reqwest::Error) -> AcmeError {
    AcmeError::Other(causes(error).into())
}
