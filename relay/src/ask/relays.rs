//! The relays of a cluster as a table for people. Pure.

use std::fmt::Write;
use std::time::Duration;

use runtime::child::plain;
use serde::Deserialize;

use super::table::{about, count};

const HEAD: [&str; 7] = ["RELAY", "ROLE", "STATE", "HEARD", "CLOCK", "CAMERAS", "VIEWERS"];

/// What of it is read; other versions may say more, or less.
#[derive(Debug, Deserialize)]
pub(super) struct Cluster {
    bus: String,
    problem: Option<String>,
    name: String,
    role: String,
    stream: String,
    #[serde(default)]
    relays: Vec<Relay>,
}

#[derive(Debug, Deserialize)]
struct Relay {
    relay: String,
    role: String,
    state: String,
    heard_ms: u64,
    clock_offset_ms: i64,
    cameras: u64,
    viewers: u64,
}

impl Cluster {
    /// What is wrong with it.
    pub(super) fn trouble(&self) -> Option<String> {
        if self.bus != "works" {
            let problem = self.problem.as_deref().unwrap_or("see the journal");
            return Some(format!("frames are not shared: {}", plain(problem.as_bytes())));
        }
        let missing = self.relays.iter().filter(|relay| relay.state != "heard");
        let names: Vec<String> = missing.map(|relay| plain(relay.relay.as_bytes())).collect();
        (!names.is_empty()).then(|| format!("relays that are not heard: {}", names.join(", ")))
    }

    /// This relay first.
    pub(super) fn table(&self) -> String {
        let word = |text: &str| plain(text.as_bytes());
        let (name, role) = (word(&self.name), word(&self.role));
        let mut out = format!(
            "cluster: bus {}, stream {}; this relay is {name} ({role})\n\n",
            word(&self.bus),
            word(&self.stream)
        );
        if self.relays.is_empty() {
            out += "no other relay is heard\n\n";
            return out;
        }
        let rows: Vec<[String; 7]> = self.relays.iter().map(Relay::row).collect();
        let head = HEAD.map(str::to_owned);
        let widths: Vec<usize> = (0..HEAD.len())
            .map(|column| {
                let cells = rows.iter().chain([&head]).filter_map(|row| row.get(column));
                cells.map(|cell| count(cell)).max().unwrap_or(0)
            })
            .collect();
        for row in [&head].into_iter().chain(&rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // Writing into a String does not fail.
                let _ = write!(line, "{cell:width$}  ");
            }
            out += line.trim_end();
            out.push('\n');
        }
        out.push('\n');
        out
    }
}

impl Relay {
    fn row(&self) -> [String; 7] {
        let off = Duration::from_millis(self.clock_offset_ms.unsigned_abs());
        let clock = match self.clock_offset_ms {
            // No more than the message's way.
            -100..=100 => "same".to_owned(),
            101.. => format!("{} ahead", about(off)),
            _ => format!("{} behind", about(off)),
        };
        [
            plain(self.relay.as_bytes()),
            plain(self.role.as_bytes()),
            plain(self.state.as_bytes()),
            format!("{} ago", about(Duration::from_millis(self.heard_ms))),
            clock,
            self.cameras.to_string(),
            self.viewers.to_string(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cluster(bus: &str, relays: &serde_json::Value) -> Cluster {
        serde_json::from_value(json!({
            "bus": bus, "problem": "it does not answer", "name": "alps-1", "role": "both",
            "stream": "stillwatch", "relays": relays, "something": "new",
        }))
        .unwrap()
    }

    #[test]
    fn a_table_of_relays() {
        let relays = json!([
            { "relay": "alps-2", "role": "edge", "state": "heard", "heard_ms": 420, "clock_offset_ms": 3,
              "cameras": 0, "viewers": 1200 },
            { "relay": "sea", "role": "ingest", "state": "missing", "heard_ms": 65_000,
              "clock_offset_ms": -2_400, "cameras": 12, "viewers": 0 },
        ]);
        let cluster = cluster("works", &relays);
        assert_eq!(
            cluster.table(),
            "cluster: bus works, stream stillwatch; this relay is alps-1 (both)\n\n\
             RELAY   ROLE    STATE    HEARD      CLOCK        CAMERAS  VIEWERS\n\
             alps-2  edge    heard    0.4s ago   same         0        1200\n\
             sea     ingest  missing  1m 5s ago  2.4s behind  12       0\n\n"
        );
        assert_eq!(cluster.trouble().as_deref(), Some("relays that are not heard: sea"));
    }

    #[test]
    fn without_a_bus() {
        let cluster = cluster("away", &json!([]));
        assert_eq!(cluster.trouble().as_deref(), Some("frames are not shared: it does not answer"));
        assert!(cluster.table().contains("no other relay is heard"));
    }
}
