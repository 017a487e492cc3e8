//! What the setup page asks of the setup access point's keeper, and what it is told: the page speaks to
//! whoever joins, and has no privilege; the keeper has the radio and the card, and speaks to the page only.
//!
//! The keeper (`stillwatch-provision setup`) listens on a Unix socket ([`SOCKET`]). A request is one line
//! of JSON, at most [`MAX_REQUEST`] bytes; the answer is one line, and then the connection is closed.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::settings::written::Mistake;

/// Where the keeper listens.
pub const SOCKET: &str = "/run/stillwatch/setup.sock";

/// The user that the page runs as, and the only one but root that is answered: `stillwatch-agent.sysusers`.
pub const USER: &str = "stillwatch-setup";

/// The appliance's own address in its access point's network: an odd one, so that no network at home has it.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 223, 1);

/// Longest request, in bytes, its line break included: a configuration as JSON writes it.
pub const MAX_REQUEST: usize = 64 << 10;

/// Longest answer, in bytes, its line break included.
pub const MAX_ANSWER: usize = 64 << 10;

/// How long the keeper may take to answer: it asks the agent whether its part is right, which takes a
/// second on a slow card.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// How is it?
    Look,
    /// Look for networks again. The access point is away meanwhile.
    Scan,
    /// Try this text, as it would stand on the card as stillwatch.toml, and keep it if its WiFi works.
    Take {
        /// It.
        text: String,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Ask::Look`].
    Setup(Setup),
    /// It begins in a moment.
    Begun,
    /// The text has mistakes; nothing happens.
    Wrong(Vec<Mistake>),
    /// It is not done, and why: a request that is none, or something else is being done.
    Refused(String),
}

/// How setting up is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The access point's name.
    pub name: String,
    /// What was heard, the strongest first.
    pub networks: Vec<Heard>,
    /// Why the last attempt failed.
    pub trouble: Option<String>,
    /// Until the access point closes.
    pub left: Duration,
}

/// A network that was heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Its name.
    pub ssid: String,
    /// Of its strongest access point, in dBm.
    pub signal: i32,
    /// What it wants of who joins.
    pub wants: Wants,
}

/// See [`Heard::wants`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wants {
    /// Nothing.
    Nothing,
    /// A password.
    Password,
    /// Everybody's own name and password (802.1X).
    Account,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_like_some() {
        let take = Ask::Take { text: "name = \"a\"".to_owned() };
        for (ask, line) in [
            (Ask::Look, r#""look""#),
            (Ask::Scan, r#""scan""#),
            (take, r#"{"take":{"text":"name = \"a\""}}"#),
        ] {
            assert_eq!(serde_json::to_string(&ask).unwrap(), line);
            assert_eq!(serde_json::from_str::<Ask>(line).unwrap(), ask);
        }
        for bad in ["", "look", r#"{"take":{}}"#, r#"{"take":{"text":"","more":1}}"#, r#""reboot""#]
        {
            assert!(serde_json::from_str::<Ask>(bad).is_err(), "{bad}");
        }
    }
}
