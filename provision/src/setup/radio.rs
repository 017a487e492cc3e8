//! The radio as access point, as one that looks around, and as one that joins: the effects. All of it is
//! what the image does for a configured camera: files for wpa_supplicant and systemd-networkd, and their
//! units.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use runtime::setup::Heard;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::heard::{networks, value};
use super::plan::Link;
use crate::access_point::AccessPoint;
use crate::apply::write_files;
use crate::card::Card;
use crate::render::{self, File, RADIO_PATHS};

/// systemd may have to wait for a unit that stops. The longest that one act takes is a few of these.
const COMMAND_WITHIN: Duration = Duration::from_secs(30);

/// A list of networks at most.
const MAX_OUTPUT: u64 = 64 << 10;

/// How long a radio looks around: all channels take 4 s, twice that on one that hears two bands.
const SCAN_FOR: u32 = 15;

/// How long it may take to become an access point: a radio that has to wait for radar is not used.
const OPEN_WITHIN: u32 = 20;

const TURN: Duration = Duration::from_secs(1);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Radio {
    pub interface: String,
    /// Where files go.
    pub run: PathBuf,
}

impl Radio {
    pub(super) fn is_there(&self) -> bool {
        PathBuf::from("/sys/class/net").join(&self.interface).join("phy80211").exists()
    }

    /// Looks for networks. Two looks: the first one often misses some.
    pub(super) async fn scan(&self) -> Result<Vec<Heard>, String> {
        self.become_(&render::listener()).await?;
        let mut found = Vec::new();
        let mut looks = 0;
        for _ in 0..SCAN_FOR {
            // It fails while one is going on.
            if self.supplicant(&["scan"]).await.is_ok_and(|said| said.trim() == "OK") {
                looks += 1;
            }
            sleep(TURN).await;
            found = self.networks().await.unwrap_or(found);
            if looks > 2 && !found.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    /// Is an access point from now on.
    pub(super) async fn open(&self, access_point: &AccessPoint) -> Result<(), String> {
        self.become_(&render::access_point(access_point, &self.interface)).await?;
        for _ in 0..OPEN_WITHIN {
            let status = self.supplicant(&["status"]).await.unwrap_or_default();
            if value(&status, "mode") == Some("AP")
                && value(&status, "wpa_state") == Some("COMPLETED")
            {
                return Ok(());
            }
            sleep(TURN).await;
        }
        Err("the radio does not become an access point".to_owned())
    }

    /// Joins what the card says.
    pub(super) async fn join(&self, card: &Card) -> Result<(), String> {
        self.become_(&render::radio(card)).await
    }

    /// How that goes.
    pub(super) async fn link(&self, ssid: &str) -> Link {
        let status = self.supplicant(&["status"]).await.unwrap_or_default();
        let list = self.supplicant(&["list_networks"]).await.unwrap_or_default();
        let heard = self.networks().await.unwrap_or_default();
        let connected = value(&status, "wpa_state") == Some("COMPLETED");
        Link {
            heard: connected || heard.iter().any(|network| network.ssid == ssid),
            refused: list.contains("[TEMP-DISABLED]"),
            connected,
            address: self.has_address(),
        }
    }

    /// Does nothing any more.
    pub(super) async fn close(&self) -> Result<(), String> {
        self.become_(&[]).await
    }

    /// Another role, with these files alone.
    async fn become_(&self, files: &[File]) -> Result<(), String> {
        let unit = format!("wpa_supplicant@{}.service", self.interface);
        systemctl(&["stop", &unit]).await?;
        write_files(&self.run, files, &RADIO_PATHS).map_err(|error| error.to_string())?;
        said("networkctl", &["reload"]).await?;
        if files.is_empty() {
            return Ok(());
        }
        // Each of our own starts counts for its limit.
        let _ = systemctl(&["reset-failed", &unit]).await;
        systemctl(&["start", &unit]).await
    }

    async fn networks(&self) -> Result<Vec<Heard>, String> {
        Ok(networks(&self.supplicant(&["scan_results"]).await?))
    }

    async fn supplicant(&self, words: &[&str]) -> Result<String, String> {
        let of = ["-p", "/run/wpa_supplicant", "-i", &self.interface];
        said("wpa_cli", &[&of, words].concat()).await
    }

    /// One that others can reach; not one that a machine gives itself.
    fn has_address(&self) -> bool {
        let Ok(all) = getifaddrs() else { return false };
        all.filter(|one| one.interface_name == self.interface).any(|one| {
            let Some(address) = one.address else { return false };
            let v4 = address.as_sockaddr_in().map(|v4| !v4.ip().is_link_local());
            let v6 = address.as_sockaddr_in6().map(|v6| !v6.ip().is_unicast_link_local());
            v4.or(v6).unwrap_or(false)
        })
    }
}

pub(super) async fn systemctl(words: &[&str]) -> Result<(), String> {
    said("systemctl", words).await.map(drop)
}

/// What a program writes; an error if it fails.
pub(super) async fn said(program: &str, words: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.kill_on_drop(true);
    let ended = timeout(COMMAND_WITHIN, output(command)).await;
    match ended.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok((true, text)) => Ok(text),
        Ok((false, text)) => Err(format!("{program} {}: {}", words.join(" "), text.trim())),
        Err(error) => Err(format!("{program} {}: {error}", words.join(" "))),
    }
}

async fn output(mut command: Command) -> io::Result<(bool, String)> {
    let mut child = command.spawn()?;
    let mut text = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(MAX_OUTPUT).read_to_end(&mut text).await?;
    }
    let ended = child.wait().await?;
    Ok((ended.success(), String::from_utf8_lossy(&text).into_owned()))
}
