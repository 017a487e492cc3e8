//! The ways to somebody: one attempt to deliver on one of them.
//!
//! What goes wrong is said in words that hold no secret: an address may have a token in its path, so only its host
//! is named.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use frame::sign::to_hex;
use http::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{RequestBuilder, Response, Url};
use ring::hmac;
use runtime::child::{self, End, Left};
use runtime::secret::Secret;
use tokio::process::Command;

use super::message::{Message, Priority};
use crate::client;

/// A service that takes longer is asked again later.
const HTTP_WITHIN: Duration = Duration::from_secs(20);

/// A command that takes longer is killed.
const COMMAND_WITHIN: Duration = Duration::from_secs(30);

/// So many commands may hang in the kernel.
const MAX_LEFT: usize = 4;

/// ntfy makes an attachment of what is longer than 4096 bytes.
const MAX_NTFY: usize = 3_800;

/// With a webhook's secret.
const SIGNATURE: &str = "Stillwatch-Signature";

/// What a command finds its own commands with; of the relay's environment it gets nothing.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An address that may hold a token.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address(Url);

impl Address {
    /// `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<Address> {
        let url: Url = text.parse().ok()?;
        let whole = matches!(url.scheme(), "http" | "https") && url.host().is_some();
        whole.then_some(Address(url))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.host_str().unwrap_or_default())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self}…)")
    }
}

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) enum Channel {
    Webhook { to: Address, secret: Option<Secret> },
    Ntfy { to: Address, token: Option<Secret> },
    Command { program: PathBuf, left: Left },
}

impl Channel {
    /// The word in status, metrics and log.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Channel::Webhook { .. } => "webhook",
            Channel::Ntfy { .. } => "ntfy",
            Channel::Command { .. } => "command",
        }
    }

    /// Who is asked, for the log.
    pub(crate) fn whom(&self) -> String {
        match self {
            Channel::Webhook { to, .. } | Channel::Ntfy { to, .. } => to.to_string(),
            Channel::Command { program, .. } => program.display().to_string(),
        }
    }

    /// One attempt, within a deadline.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(crate) async fn deliver(&self, message: &Message) -> Result<(), Undelivered> {
        match self {
            Channel::Webhook { to, secret } => {
                answered(webhook(to, secret.as_ref(), message)?).await
            }
            Channel::Ntfy { to, token } => answered(ntfy(to, token.as_ref(), message)?).await,
            Channel::Command { program, left } => run(program, message, left).await,
        }
    }
}

/// Why it was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}{said}")]
pub(crate) struct Undelivered {
    /// For everybody: it names nobody.
    pub problem: String,
    /// What the command wrote: for the owner's log only.
    pub said: String,
}

impl From<String> for Undelivered {
    fn from(problem: String) -> Undelivered {
        Undelivered { problem, said: String::new() }
    }
}

fn webhook(
    to: &Address,
    secret: Option<&Secret>,
    message: &Message,
) -> Result<RequestBuilder, Undelivered> {
    let body = message.json();
    let mut request = client::client(&[], HTTP_WITHIN)?
        .post(to.0.clone())
        .header(CONTENT_TYPE, "application/json; charset=utf-8");
    if let Some(secret) = secret {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        let tag = hmac::sign(&key, &body);
        request = request.header(SIGNATURE, format!("sha256={}", to_hex(tag.as_ref())));
    }
    Ok(request.body(body))
}

fn ntfy(
    to: &Address,
    token: Option<&Secret>,
    message: &Message,
) -> Result<RequestBuilder, Undelivered> {
    let tags = if message.is_well() { "white_check_mark" } else { "warning" };
    let priority = match message.priority {
        Priority::Low => "low",
        Priority::Normal => "default",
        Priority::High => "high",
    };
    let mut request = client::client(&[], HTTP_WITHIN)?
        .post(to.0.clone())
        .header("Title", text_value(&message.title))
        .header("Priority", priority)
        .header("Tags", tags);
    if let Some(url) = message.click() {
        request = request.header("Click", text_value(url));
    }
    if let Some(token) = token {
        request = request.bearer_auth(token.expose());
    }
    Ok(request.body(cut(&message.text, MAX_NTFY).to_owned()))
}

/// ntfy takes UTF-8.
fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_bytes(text.as_bytes()).unwrap_or(HeaderValue::from_static("Stillwatch"))
}

fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let whole = (0..=max).rev().find(|end| text.is_char_boundary(*end));
    whole.and_then(|end| text.get(..end)).unwrap_or_default()
}

async fn answered(request: RequestBuilder) -> Result<(), Undelivered> {
    let answer: Response = request
        .send()
        .await
        .map_err(|error| format!("it can't be asked: {}", client::causes(error)))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let hint = match status.as_u16() {
        300..=399 => "; it wants to be asked elsewhere, which is not followed: name that address",
        401 | 403 => "; is the token or password the right one?",
        404 => "; is the address the right one?",
        429 => "; it is asked too often",
        _ => "",
    };
    Err(format!("it answers {status}{hint}").into())
}

async fn run(program: &PathBuf, message: &Message, left: &Left) -> Result<(), Undelivered> {
    if left.count() >= MAX_LEFT {
        return Err(format!("it is not started: {MAX_LEFT} of its runs hang").into());
    }
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8").envs(variables(message));
    let ran = child::run_with(command, &message.json(), COMMAND_WITHIN, left).await;
    let problem = match ran.end {
        End::Exited(status) if status.success() => return Ok(()),
        End::Exited(status) => format!("it ended with {status}"),
        End::NotStarted(error) => format!("it can't be run: {error}"),
        End::Late => {
            format!("it was not done within {} s, and was killed", COMMAND_WITHIN.as_secs())
        }
        End::Stuck => "it hangs, and can't be killed".to_owned(),
    };
    let said = if ran.output.is_empty() { String::new() } else { format!(": {}", ran.output) };
    Err(Undelivered { problem, said })
}

/// The facts for a command; those of several are separated by blanks.
fn variables(message: &Message) -> Vec<(&'static str, String)> {
    let all = |of: fn(&super::message::Event) -> &str| {
        message.events.iter().map(of).collect::<Vec<_>>().join(" ")
    };
    vec![
        ("STILLWATCH_TITLE", message.title.clone()),
        ("STILLWATCH_TEXT", message.text.clone()),
        ("STILLWATCH_PRIORITY", message.priority.word().to_owned()),
        ("STILLWATCH_URL", message.click().unwrap_or_default().to_owned()),
        ("STILLWATCH_SUBJECT", all(|event| event.subject)),
        ("STILLWATCH_CAMERA", all(|event| event.camera.as_deref().unwrap_or("-"))),
        ("STILLWATCH_KIND", all(|event| event.kind)),
        ("STILLWATCH_STATE", all(|event| event.state)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_its_host_only() {
        let address = Address::parse("https://user:pass@ntfy.sh:8443/secret?token=x").unwrap();
        assert_eq!(address.to_string(), "ntfy.sh");
        assert_eq!(format!("{address:?}"), "Address(ntfy.sh…)");
        for wrong in ["", "ntfy.sh/topic", "ftp://ntfy.sh/a", "https://", "/topic", "mailto:a@b.c"]
        {
            assert_eq!(Address::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("aä", 2), "a");
        assert_eq!(cut("aä", 3), "aä");
        assert_eq!(cut("aä", 9), "aä");
    }

    #[test]
    fn a_title_is_sent_as_it_is_and_never_as_another_header() {
        assert_eq!(text_value("Gärten: away").as_bytes(), "Gärten: away".as_bytes());
        assert_eq!(text_value("a\r\nX: y"), "Stillwatch");
    }
}
