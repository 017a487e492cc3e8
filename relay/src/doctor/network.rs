//! What the doctor asks of the network, each with a deadline. Judging it is not done here.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use frame::wire::SUBPROTOCOL;
use http::header::{
    CONNECTION, CONTENT_TYPE, LOCATION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{Client, Response};
use rustls_pki_types::CertificateDer;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::service::{Answer, Health};
use crate::client::builder;

/// Any one question.
pub(super) const WITHIN: Duration = Duration::from_secs(10);

/// A stream's first picture, once there is one.
const PICTURE_WITHIN: Duration = Duration::from_secs(5);

/// Largest picture that is waited for.
const MAX_PART: usize = 64 << 20;

/// Most that is read of an answer.
const MAX_BODY: usize = 1 << 20;

/// Where a name leads.
pub(super) async fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
    match timeout(WITHIN, lookup_host((host, 443))).await {
        Ok(Ok(found)) => {
            let mut addresses: Vec<IpAddr> =
                found.map(|address| address.ip().to_canonical()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            Ok(addresses)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no name server answers".to_owned()),
    }
}

/// This machine's addresses, loopback left out.
pub(super) fn own_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let four = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        four.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    addresses.filter(|ip| !ip.is_loopback()).collect()
}

/// How a relay is asked on its own machine.
#[derive(Debug)]
pub(super) struct Way {
    pub client: Client,
    /// Ends with a slash.
    pub url: String,
}

impl Way {
    pub(super) fn plain(client: &Client, address: SocketAddr) -> Way {
        Way { client: client.clone(), url: format!("http://{address}/") }
    }

    /// By HTTPS at `address`, for `host`; no name server has a say in it.
    pub(super) fn secure(
        authorities: &[CertificateDer<'static>],
        host: &str,
        address: SocketAddr,
    ) -> Result<Way, String> {
        let client = builder(authorities, WITHIN)?.resolve(host, address).build();
        let client = client.map_err(|error| error.to_string())?;
        Ok(Way { client, url: format!("https://{host}:{}/", address.port()) })
    }
}

/// Who answers at `url`, which ends with a slash.
pub(super) async fn health(client: &Client, url: &str) -> Answer {
    let answer = match client.get(format!("{url}healthz")).send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => {
            let words = words(&error);
            let refused = is_refused(&error);
            return if refused { Answer::Nothing } else { Answer::Silent(words) };
        }
        Err(error) => return Answer::Silent(words(&error)),
    };
    let status = answer.status();
    let body = body(answer).await;
    match serde_json::from_slice::<Health>(&body) {
        Ok(health) if status.is_success() => Answer::Relay(health),
        _ => Answer::Other(format!("/healthz is answered with {status}")),
    }
}

/// A relay's `/status.json`.
pub(super) async fn status(client: &Client, url: &str) -> Option<serde_json::Value> {
    let answer = client.get(format!("{url}status.json")).send().await.ok()?;
    serde_json::from_slice(&body(answer).await).ok()
}

/// Whether a WebSocket gets through to the viewers' frames.
pub(super) async fn websocket(client: &Client, url: &str) -> Result<u16, String> {
    let asked = client
        .get(format!("{url}live.ws"))
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        // Any 16 bytes; what comes back is not looked at.
        .header(SEC_WEBSOCKET_KEY, "c3RpbGx3YXRjaC1kb2N0bw==")
        .header(SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    asked.send().await.map(|answer| answer.status().as_u16()).map_err(|error| words(&error))
}

/// What comes of a moving picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moving {
    /// A whole picture.
    Picture,
    /// Only the head, because there is no picture yet.
    HeadOnly,
    /// Of a picture only a part: the rest is held back on the way.
    HeldBack,
    /// Not even a head.
    Nothing,
    /// An answer that is no stream.
    Status(u16),
}

/// Whether MJPEG comes as it is sent; `has_picture` says whether there is something to send.
pub(super) async fn mjpeg(client: &Client, url: &str, has_picture: bool) -> Moving {
    let asked = client.get(format!("{url}live.mjpeg")).send();
    let mut answer = match timeout(PICTURE_WITHIN, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => return Moving::Nothing,
    };
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("multipart/x-mixed-replace")) {
        return Moving::Status(answer.status().as_u16());
    }
    if !has_picture {
        return Moving::HeadOnly;
    }
    let picture = async {
        let mut came = Vec::new();
        while let Ok(Some(piece)) = answer.chunk().await {
            came.extend_from_slice(&piece);
            if has_whole_part(&came) {
                return Moving::Picture;
            }
            if came.len() > MAX_PART {
                return Moving::HeldBack;
            }
        }
        Moving::HeldBack
    };
    timeout(PICTURE_WITHIN, picture).await.unwrap_or(Moving::HeldBack)
}

/// Whether the first part of a stream is there to its end, as its head says it.
fn has_whole_part(came: &[u8]) -> bool {
    let end = |mark: &[u8]| {
        came.windows(mark.len()).position(|part| part == mark).map(|at| at + mark.len())
    };
    let Some(head_end) = end(b"\r\n\r\n") else { return false };
    let head = came.get(..head_end).unwrap_or_default();
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = head.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
    let length = length.and_then(|length| length.trim().parse::<usize>().ok());
    length.is_some_and(|length| came.len() >= head_end.saturating_add(length))
}

/// Where plain HTTP leads: the status, and `Location`.
pub(super) async fn redirect(
    client: &Client,
    host: &str,
    port: u16,
) -> Result<(u16, Option<String>), String> {
    let answer = client
        .get(format!("http://{host}:{port}/healthz"))
        .send()
        .await
        .map_err(|error| words(&error))?;
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    Ok((answer.status().as_u16(), location.map(str::to_owned)))
}

async fn body(mut answer: Response) -> Vec<u8> {
    let mut body = Vec::new();
    // The client's own deadline ends it.
    while let Ok(Some(piece)) = answer.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() > MAX_BODY {
            return Vec::new();
        }
    }
    body
}

/// An error with what is below it: reqwest's own words name the address only.
fn words(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", WITHIN.as_secs());
    }
    let mut deepest: &dyn std::error::Error = error;
    while let Some(below) = deepest.source() {
        deepest = below;
    }
    deepest.to_string()
}

fn is_refused(error: &reqwest::Error) -> bool {
    let mut below: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = below {
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
        {
            return true;
        }
        below = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_whole_when_all_that_its_head_says_is_there() {
        let part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 5\r\n\r\n\xff\xd9abc";
        assert!(
            has_whole_part(part) && has_whole_part(&[part.as_slice(), b"\r\n--frame"].concat())
        );
        // A thumbnail in it ends with the same mark as a picture.
        assert!(!has_whole_part(&part[..part.len() - 1]) && !has_whole_part(&part[..20]));
        assert!(!has_whole_part(b"--frame\r\nContent-Type: image/jpeg\r\n\r\nabcde"));
    }
}
