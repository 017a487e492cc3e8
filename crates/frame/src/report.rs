//! What an agent tells of the machine it runs on, beside its frames.

use serde::{Deserialize, Serialize};

/// Longest report, in bytes of JSON.
pub const MAX_REPORT: usize = 2 << 10;

/// Longest text in a report, in characters.
const MAX_TEXT: usize = 120;

/// The HTTP header that carries a report, as JSON, with an upload by POST.
pub const REPORT: &str = "agent-report";

/// The state of a camera's machine. What is not known there is missing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The agent's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The processor's temperature in °C.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f32>,
    /// The WiFi signal's level in dBm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wifi_dbm: Option<i16>,
    /// Whether the supply's voltage is too low now, or was since boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undervoltage: Option<bool>,
    /// Whether the processor is, or was since boot, slowed down by heat or by low voltage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled: Option<bool>,
    /// What the WiFi sends with at the moment, in Mbit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wifi_mbps: Option<f32>,
    /// How long the machine has been running, in s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_s: Option<u64>,
    /// What is wrong with the camera; empty if nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera: Option<String>,
    /// Uploads that failed since the agent started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_failures: Option<u64>,
    /// What the link carries, in bytes a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink_rate: Option<u64>,
    /// The JPEG quality that pictures are made smaller with for it; missing if they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<u8>,
    /// And what their width is divided by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divisor: Option<u8>,
    /// Frames of the time without network that wait to be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u64>,
    /// Why the machine was restarted last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_reboot: Option<String>,
    /// The version of the machine's whole system, where that can be updated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Which of the two slots it runs from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// What an update of it does, and which version that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
    /// The last version that was not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Rejected>,
}

/// An update that is under way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Update {
    /// To which version.
    pub version: String,
    /// One of [`DOING`].
    pub doing: String,
    /// How far that is, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// What it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What an update does: it is fetched, waits until it may be installed, and is then on trial.
pub const DOING: [&str; 5] = ["downloading", "waiting", "installing", "restarting", "trial"];

/// A version that a camera did not keep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rejected {
    /// Which one.
    pub version: String,
    /// Why: one sentence.
    pub why: String,
    /// Whether it ran there and was taken back; else it was never installed.
    pub ran: bool,
}

impl Report {
    /// Reads a report; `None` if it is none. Keys of a later version are ignored, what is too long
    /// or would not print is cut out.
    pub fn parse(json: &str) -> Option<Report> {
        if json.len() > MAX_REPORT {
            return None;
        }
        let report: Report = serde_json::from_str(json).ok()?;
        let update = report.update.filter(|update| DOING.contains(&update.doing.as_str()));
        let report = Report {
            update,
            wifi_mbps: report.wifi_mbps.filter(|rate| rate.is_finite()),
            // Neither JSON nor a thermometer has them, but 1e999 reads as one.
            temperature_c: report.temperature_c.filter(|t| t.is_finite()),
            ..report
        };
        Some(report.with_texts_of(MAX_TEXT))
    }

    /// As JSON of at most [`MAX_REPORT`] bytes: texts that are too long for it are cut.
    pub fn to_json(&self) -> String {
        let lengths = [MAX_TEXT, MAX_TEXT / 2, MAX_TEXT / 4, MAX_TEXT / 8, 0];
        // A structure of plain fields always serialises.
        let json = lengths
            .map(|length| serde_json::to_string(&self.clone().with_texts_of(length)))
            .into_iter()
            .flatten();
        json.into_iter().find(|json| json.len() <= MAX_REPORT).unwrap_or_default()
    }

    /// No text is longer than so many characters, and all of them would print.
    fn with_texts_of(self, length: usize) -> Report {
        let clean = |text: String| -> String {
            text.chars().filter(|c| !c.is_control()).take(length).collect()
        };
        Report {
            version: self.version.map(clean),
            last_reboot: self.last_reboot.map(clean),
            camera: self.camera.map(clean),
            system: self.system.map(clean),
            slot: self.slot.map(clean),
            update: self.update.map(|update| Update {
                version: clean(update.version),
                why: update.why.map(clean),
                ..update
            }),
            rejected: self.rejected.map(|rejected| Rejected {
                version: clean(rejected.version),
                why: clean(rejected.why),
                ..rejected
            }),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_comes_back_as_it_was() {
        let report = Report {
            version: Some("0.1.0".to_owned()),
            temperature_c: Some(51.5),
            wifi_dbm: Some(-67),
            undervoltage: Some(false),
            throttled: Some(true),
            uptime_s: Some(86_400),
            waiting: Some(7),
            update: Some(Update {
                version: "0.2.0-20261128.0312".to_owned(),
                doing: "downloading".to_owned(),
                percent: Some(7),
                why: None,
            }),
            rejected: Some(Rejected { version: "0.1.9".to_owned(), ..Rejected::default() }),
            ..Report::default()
        };
        assert_eq!(Report::parse(&report.to_json()), Some(report));
    }

    #[test]
    fn whatever_it_says_it_fits() {
        for letter in ["x", "\"", "é", "\u{1F4F7}", "\u{1}"] {
            let text = || letter.repeat(1_000);
            let report = Report {
                version: Some(text()),
                camera: Some(text()),
                last_reboot: Some(text()),
                system: Some(text()),
                slot: Some(text()),
                update: Some(Update {
                    version: text(),
                    doing: DOING[1].to_owned(),
                    percent: Some(100),
                    why: Some(text()),
                }),
                rejected: Some(Rejected { version: text(), why: text(), ran: true }),
                uptime_s: Some(u64::MAX),
                temperature_c: Some(51.5),
                ..Report::default()
            };
            let json = report.to_json();
            assert!(json.len() <= MAX_REPORT, "{}", json.len());
            let read = Report::parse(&json).unwrap();
            assert_eq!(read.uptime_s, Some(u64::MAX));
            assert_eq!(read.update.unwrap().percent, Some(100));
        }
    }

    #[test]
    fn what_others_send() {
        assert_eq!(Report::parse("{}"), Some(Report::default()));
        assert_eq!(Report::parse(r#"{"later":[1]}"#), Some(Report::default()));
        let long = format!(r#"{{"version":"{}"}}"#, "x".repeat(500));
        assert_eq!(Report::parse(&long).unwrap().version.unwrap().len(), MAX_TEXT);
        let odd = Report::parse(r#"{"last_reboot":"a\u0000\nb","temperature_c":1e999}"#);
        let odd = odd.unwrap_or_default();
        assert_eq!(odd.temperature_c, None);
        assert!(odd.last_reboot.is_none_or(|text| text == "ab"));
        let unknown = Report::parse(r#"{"update":{"version":"1","doing":"evil"}}"#);
        assert_eq!(unknown, Some(Report::default()));
        let huge = format!(r#"{{"version":"{}"}}"#, "x".repeat(MAX_REPORT));
        for bad in ["", "null", "{", r#"{"wifi_dbm":"strong"}"#, &huge] {
            assert_eq!(Report::parse(bad), None, "{bad}");
        }
    }
}
