//! What the relay's `/status.json` says, as a table for people. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use runtime::child::plain;
use runtime::settings::duration_text;
use serde::Deserialize;

use super::relays::Cluster;

/// The least width of the cameras' column.
const MIN_NAME: usize = 7;

const HEAD: [&str; 8] =
    ["CAMERA", "STATE", "AGE", "RATE", "SIZE", "VIEWERS", "REFUSED", "LAST PICTURE"];

/// How it is to look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Most characters of a line.
    pub width: usize,
    pub coloured: bool,
}

/// What of it is read; other versions may say more, or less.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    version: String,
    #[serde(default)]
    uptime_ms: u64,
    persistence: String,
    persistence_problem: Option<String>,
    export: Option<String>,
    export_problem: Option<String>,
    #[serde(default)]
    notifications: Vec<Channel>,
    #[serde(default)]
    connections: u64,
    cluster: Option<Cluster>,
    cameras: Vec<Camera>,
}

#[derive(Debug, Deserialize)]
struct Channel {
    channel: String,
    problem: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Camera {
    camera: String,
    state: String,
    age_ms: Option<u64>,
    fps: Option<f64>,
    width: Option<u64>,
    height: Option<u64>,
    captured_at: Option<String>,
    /// That takes its pictures, if it is another.
    relay: Option<String>,
    #[serde(default)]
    viewers: BTreeMap<String, i64>,
    uploads: Option<Uploads>,
}

#[derive(Debug, Deserialize)]
struct Uploads {
    #[serde(default)]
    refused: BTreeMap<String, u64>,
}

impl Answer {
    /// Every camera that has ever sent a picture is live, there is one, and the relay does all that it should.
    pub(super) fn is_well(&self) -> bool {
        let live = |camera: &Camera| camera.state == "live";
        let counts = |camera: &&Camera| camera.state != "empty";
        self.cameras.iter().any(live)
            && self.cameras.iter().filter(counts).all(live)
            && self.troubles().is_empty()
    }

    /// The others, and which of them takes what.
    pub(super) fn relays(&self) -> String {
        let Some(cluster) = &self.cluster else {
            return "this relay is in no cluster (cluster.url)\n\n".to_owned();
        };
        let mut homes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for camera in &self.cameras {
            if let Some(relay) = &camera.relay {
                let home = homes.entry(plain(relay.as_bytes())).or_default();
                home.push(plain(camera.camera.as_bytes()));
            }
        }
        let mut out = cluster.table();
        for (relay, cameras) in &homes {
            // Writing into a String does not fail.
            let _ = writeln!(out, "{relay} takes {}", cameras.join(", "));
        }
        if !homes.is_empty() {
            out.push('\n');
        }
        out
    }

    pub(super) fn table(&self, look: &Look) -> String {
        let rows: Vec<[String; 8]> = self.cameras.iter().map(Camera::row).collect();
        let widest = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| count(cell));
            cells.chain(HEAD.get(column).map(|head| head.len())).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..HEAD.len()).map(widest).collect();
        let others: usize = widths.iter().skip(1).map(|width| width + 2).sum();
        if let Some(name) = widths.first_mut() {
            *name = (*name).min(look.width.saturating_sub(others).max(MIN_NAME));
        }
        let up = about(Duration::from_millis(self.uptime_ms));
        let version = plain(self.version.as_bytes());
        // Writing into a String does not fail.
        let connections = match self.connections {
            1 => "1 connection".to_owned(),
            many => format!("{many} connections"),
        };
        let mut out = format!("relay {version}, up {up}, {connections}\n\n");
        let _ = writeln!(out, "{}", line(&HEAD.map(str::to_owned), &widths, None));
        for row in &rows {
            let colour = row.get(1).filter(|_| look.coloured).map(|state| colour_of(state));
            let _ = writeln!(out, "{}", line(row, &widths, colour));
        }
        for trouble in self.troubles() {
            let _ = writeln!(out, "\n{trouble}");
        }
        out
    }

    fn troubles(&self) -> Vec<String> {
        let degraded = |state: &str| state == "degraded";
        let said = |what: &str, problem: &Option<String>| {
            let problem = problem.as_deref().unwrap_or("see the journal");
            format!("{what}: {}", plain(problem.as_bytes()))
        };
        let mut troubles = Vec::new();
        if degraded(&self.persistence) {
            troubles.push(said("pictures are not kept", &self.persistence_problem));
        }
        if self.export.as_deref().is_some_and(degraded) {
            troubles.push(said("files are not exported", &self.export_problem));
        }
        for channel in self.notifications.iter().filter(|channel| channel.problem.is_some()) {
            let what = format!("nobody is told by {}", plain(channel.channel.as_bytes()));
            troubles.push(said(&what, &channel.problem));
        }
        troubles.extend(self.cluster.as_ref().and_then(Cluster::trouble));
        troubles
    }
}

impl Camera {
    fn row(&self) -> [String; 8] {
        let none = || "-".to_owned();
        let age = self.age_ms.map(Duration::from_millis).map(about);
        let size = self.width.zip(self.height).map(|(width, height)| format!("{width}x{height}"));
        let refused: u64 = self.uploads.iter().flat_map(|uploads| uploads.refused.values()).sum();
        [
            plain(self.camera.as_bytes()),
            plain(self.state.as_bytes()),
            age.unwrap_or_else(none),
            self.fps.and_then(rate).unwrap_or_else(none),
            size.unwrap_or_else(none),
            self.viewers.values().sum::<i64>().to_string(),
            refused.to_string(),
            self.captured_at.as_deref().map_or_else(none, to_the_second),
        ]
    }
}

/// The two largest units of it, or a tenth of a second.
pub(super) fn about(time: Duration) -> String {
    let seconds = time.as_secs();
    let unit = match seconds {
        0..10 => return format!("{:.1}s", time.as_secs_f64()),
        10..3_600 => 1,
        3_600..86_400 => 60,
        86_400..172_800 => 3_600,
        _ => return format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    };
    duration_text(Duration::from_secs(seconds - seconds % unit))
}

fn rate(fps: f64) -> Option<String> {
    if fps >= 0.95 {
        return Some(format!("{fps:.1}/s"));
    }
    let every = Duration::try_from_secs_f64(1.0 / fps).ok()?;
    Some(format!("1 in {}", about(Duration::from_secs(every.as_secs().max(1)))))
}

/// `2026-11-28T14:53:46.123Z` with less noise.
fn to_the_second(time: &str) -> String {
    let time = plain(time.as_bytes());
    match time.split_once('.') {
        Some((second, _)) => format!("{}Z", second.replacen('T', " ", 1)),
        None => time,
    }
}

fn colour_of(state: &str) -> u8 {
    match state {
        "live" => 32,
        "empty" => 0,
        "stale" => 33,
        _ => 31,
    }
}

pub(super) fn count(cell: &str) -> usize {
    cell.chars().count()
}

fn line(row: &[String; 8], widths: &[usize], colour: Option<u8>) -> String {
    let mut out = String::new();
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        let cut: String = match count(cell) > *width {
            true => cell.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
            false => cell.clone(),
        };
        let blanks = " ".repeat(width.saturating_sub(count(&cut)) + 2);
        match (column, colour) {
            (1, Some(colour)) => out += &format!("\x1b[{colour}m{cut}\x1b[0m{blanks}"),
            _ => out += &format!("{cut}{blanks}"),
        }
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Look = Look { width: 100, coloured: false };

    fn answer(cameras: &serde_json::Value) -> Answer {
        serde_json::from_value(json!({
            "version": "1.2.3",
            "uptime_ms": 273_600_000_u64,
            "persistence": "works",
            "export": "off",
            "connections": 12,
            "cameras": cameras,
            "something": "new",
        }))
        .unwrap()
    }

    fn camera(name: &str, state: &str) -> serde_json::Value {
        json!({
            "camera": name,
            "state": state,
            "age_ms": 230,
            "fps": 15.02,
            "width": 1280,
            "height": 720,
            "captured_at": "2026-11-28T14:53:46.123Z",
            "viewers": {"mjpeg": 1, "websocket": 2},
            "uploads": {"accepted": 9, "refused": {"password": 3, "token": 1}},
        })
    }

    #[test]
    fn a_table_for_people() {
        let mut slow = camera("allotment", "offline");
        slow["age_ms"] = json!(7_421_000);
        slow["fps"] = json!(0.1);
        let empty = json!({"camera": "default", "state": "empty", "age_ms": null});
        let answer = answer(&json!([camera("a", "live"), slow, empty]));
        assert_eq!(
            answer.table(&PLAIN),
            "relay 1.2.3, up 3d 4h, 12 connections\n\
             \n\
             CAMERA     STATE    AGE    RATE      SIZE      VIEWERS  REFUSED  LAST PICTURE\n\
             a          live     0.2s   15.0/s    1280x720  3        4        2026-11-28 14:53:46Z\n\
             allotment  offline  2h 3m  1 in 10s  1280x720  3        4        2026-11-28 14:53:46Z\n\
             default    empty    -      -         -         0        0        -\n"
        );
        let coloured = answer.table(&Look { coloured: true, ..PLAIN });
        assert!(coloured.contains("\x1b[32mlive\x1b[0m     0.2s"), "{coloured:?}");
    }

    #[test]
    fn it_is_never_wider_than_it_may() {
        let long = "an-allotment-with-a-very-long-na";
        for width in [0, 80, 90, 100, 200] {
            let answer = answer(&json!([camera(long, "offline"), camera("\x1b[31mx", "live")]));
            let table = answer.table(&Look { width, ..PLAIN });
            let widest = table.lines().map(count).max().unwrap();
            assert!(widest <= width.max(80), "{width}: {table}");
            assert!(!table.contains('\x1b'), "{table:?}");
            assert_eq!(table.contains(long), width >= 112, "{width}: {table}");
        }
    }

    #[test]
    fn well_is_every_camera_that_ever_was() {
        let well = |cameras: serde_json::Value| answer(&cameras).is_well();
        assert!(well(json!([camera("a", "live")])));
        assert!(well(json!([camera("a", "live"), camera("b", "empty")])));
        assert!(!well(json!([camera("a", "live"), camera("b", "stale")])));
        assert!(!well(json!([camera("b", "empty")])) && !well(json!([])));
        let mut degraded = answer(&json!([camera("a", "live")]));
        degraded.persistence = "degraded".to_owned();
        degraded.persistence_problem = Some("the disk is full".to_owned());
        assert!(!degraded.is_well());
        assert!(degraded.table(&PLAIN).ends_with("\npictures are not kept: the disk is full\n"));
        let mut silent = answer(&json!([camera("a", "live")]));
        silent.notifications = vec![Channel {
            channel: "ntfy".to_owned(),
            problem: Some("it answers 404".to_owned()),
        }];
        assert!(!silent.is_well());
        assert!(silent.table(&PLAIN).ends_with("\nnobody is told by ntfy: it answers 404\n"));
    }
}
