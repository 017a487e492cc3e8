//! What is sent: one message about one or more things, for people and for programs. Pure.

use std::fmt::Write;
use std::time::Duration;

use frame::CameraId;
use runtime::settings::duration_text;
use serde::Serialize;

use super::damping::{Notice, Rules, Subject, Trouble, What};

/// Of the JSON's shape: it grows when something is taken away or means something else.
const VERSION: u32 = 1;

/// A text names so many things; of the others it says how many they are.
const MAX_NAMED: usize = 10;

/// The JSON holds so many.
const MAX_EVENTS: usize = 200;

/// How urgent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Priority {
    Low,
    Normal,
    High,
}

impl Priority {
    /// The word in messages.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
        }
    }
}

/// One thing that is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Event {
    /// `camera`, `store`, `export` or `certificate`; `test`.
    pub subject: &'static str,
    pub camera: Option<String>,
    /// What people call it.
    pub name: String,
    /// `trouble`, `again`, `flapping`, `still-flapping` or `steady`; `test`.
    pub kind: &'static str,
    /// `live` for a camera that is well, `works` for the others; or what is wrong.
    pub state: &'static str,
    /// How long it has been so, or was until now.
    pub lasted_ms: Option<u64>,
    /// How often it went away in the last hour, if it comes and goes.
    pub outages: Option<usize>,
    /// The camera's page.
    pub url: Option<String>,
    pub at: String,
    /// One sentence.
    pub text: String,
}

/// See the module's documentation.
#[derive(Debug, Serialize)]
pub(crate) struct Message {
    pub version: u32,
    pub sent_at: String,
    /// `site.title`.
    pub relay: String,
    pub url: Option<String>,
    pub title: String,
    pub text: String,
    pub priority: Priority,
    pub events: Vec<Event>,
    /// How many more there are.
    pub more: usize,
}

/// What a message says of the relay.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub title: String,
    pub url: Option<String>,
}

/// What is known of a subject beside its state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// What people call a camera.
    pub title: Option<String>,
    /// What exactly is wrong with a part of the relay.
    pub problem: Option<String>,
}

impl Event {
    pub(crate) fn new(
        notice: &Notice,
        facts: Facts,
        site: &Site,
        rules: &Rules,
        at: String,
    ) -> Event {
        let (subject, camera, name) = match &notice.subject {
            Subject::Camera(id) => {
                let only = || "The camera".to_owned();
                let named = || if *id == CameraId::default() { only() } else { id.to_string() };
                let name = facts.title.unwrap_or_else(named);
                ("camera", Some(id.to_string()), plain(&name))
            }
            Subject::Store => ("store", None, "The store".to_owned()),
            Subject::Export => ("export", None, "The export".to_owned()),
            Subject::Certificate => ("certificate", None, "The certificate".to_owned()),
            Subject::Cluster => ("cluster", None, "The cluster".to_owned()),
        };
        let well = if camera.is_some() { "live" } else { "works" };
        let (kind, now, lasted, outages) = match notice.what {
            What::Trouble { now, lasted } => ("trouble", Some(now), Some(lasted), None),
            What::Again { lasted, .. } => ("again", None, Some(lasted), None),
            What::Flapping { now, outages } => ("flapping", now, None, Some(outages)),
            What::StillFlapping { now, outages } => ("still-flapping", now, None, Some(outages)),
            What::Steady { now, lasted } => ("steady", now, Some(lasted), None),
        };
        let url = camera.as_ref().zip(site.url.as_ref());
        let state = now.map_or(well, Trouble::word);
        let problem = facts.problem.filter(|_| now.is_some()).map(|problem| plain(&problem));
        Event {
            text: sentence(&name, well, &notice.what, problem.as_deref(), rules),
            subject,
            url: url.map(|(id, url)| format!("{url}cameras/{id}/")),
            camera,
            name,
            kind,
            state,
            lasted_ms: lasted.map(crate::status::millis),
            outages,
            at,
        }
    }

    /// One that only tries the way.
    pub(crate) fn test(at: String) -> Event {
        Event {
            subject: "test",
            camera: None,
            name: "test".to_owned(),
            kind: "test",
            state: "works",
            lasted_ms: None,
            outages: None,
            url: None,
            at,
            text: "This is a test: whoever reads it will be told when a camera is in trouble."
                .to_owned(),
        }
    }

    fn priority(&self) -> Priority {
        match self.kind {
            "trouble" | "flapping" => Priority::High,
            "still-flapping" => Priority::Low,
            "steady" if !self.is_well() => Priority::High,
            _ => Priority::Normal,
        }
    }

    pub(crate) fn is_well(&self) -> bool {
        matches!(self.state, "live" | "works")
    }

    fn title(&self) -> String {
        let Event { name, state, .. } = self;
        match (self.kind, self.is_well()) {
            ("test", _) => "it works".to_owned(),
            ("flapping" | "still-flapping", _) => format!("{name} comes and goes"),
            ("again", true) if *state == "live" => format!("{name} is live again"),
            ("again", true) => format!("{name} works again"),
            _ => format!("{name} is {state}"),
        }
    }
}

impl Message {
    /// At least one event is told.
    pub(crate) fn new(site: &Site, mut events: Vec<Event>, sent_at: String) -> Message {
        let title = match events.as_slice() {
            [one] => one.title(),
            all => title_of(all),
        };
        let mut text = String::new();
        for event in events.iter().take(MAX_NAMED) {
            // Writing into a String does not fail.
            let _ = writeln!(text, "{}", event.text);
        }
        if events.len() > MAX_NAMED {
            let _ = writeln!(text, "And {} more.", events.len() - MAX_NAMED);
        }
        let priority = events.iter().map(Event::priority).max().unwrap_or(Priority::Normal);
        let more = events.len().saturating_sub(MAX_EVENTS);
        events.truncate(MAX_EVENTS);
        let site_title = plain(&site.title);
        Message {
            version: VERSION,
            sent_at,
            title: format!("{site_title}: {title}"),
            relay: site_title,
            url: site.url.clone(),
            text: text.trim_end().to_owned(),
            priority,
            events,
            more,
        }
    }

    pub(crate) fn json(&self) -> Vec<u8> {
        // Our own structure always serialises.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Where to look.
    pub(crate) fn click(&self) -> Option<&str> {
        match self.events.as_slice() {
            [one] => one.url.as_deref().or(self.url.as_deref()),
            _ => self.url.as_deref(),
        }
    }

    pub(crate) fn is_well(&self) -> bool {
        self.events.iter().all(Event::is_well)
    }
}

fn title_of(events: &[Event]) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for event in events {
        let state = match event.kind {
            "flapping" | "still-flapping" => "coming and going".to_owned(),
            "again" => format!("{} again", event.state),
            _ => event.state.to_owned(),
        };
        match counts.iter_mut().find(|(known, _)| *known == state) {
            Some((_, count)) => *count += 1,
            None => counts.push((state, 1)),
        }
    }
    let counts = counts.iter().map(|(state, count)| format!("{count} {state}"));
    counts.collect::<Vec<_>>().join(", ")
}

fn sentence(
    name: &str,
    well: &'static str,
    what: &What,
    problem: Option<&str>,
    rules: &Rules,
) -> String {
    let time = |lasted: Duration| duration_text(Duration::from_secs(lasted.as_secs()));
    let state = |now: &Option<Trouble>| now.map_or(well, Trouble::word);
    match what {
        What::Trouble { now: Trouble::Expiring, .. } => {
            format!("{name} {}.", problem.unwrap_or(meaning(Trouble::Expiring)))
        }
        What::Trouble { now, lasted } => {
            let why = problem.unwrap_or_else(|| meaning(*now));
            format!("{name} has been {} for {}: {why}.", now.word(), time(*lasted))
        }
        What::Again { was, lasted } => {
            let again = if well == "live" { "is live again" } else { "works again" };
            format!("{name} {again}, after {} {}.", time(*lasted), was.word())
        }
        What::Flapping { now, outages } => format!(
            "{name} comes and goes: {outages} times in the last hour, {} now. Until it has stayed the same for {} \
             you hear of it once an hour.",
            state(now),
            time(rules.steady())
        ),
        What::StillFlapping { now, outages } => {
            format!(
                "{name} still comes and goes: {outages} times in the last hour, {} now.",
                state(now)
            )
        }
        What::Steady { now, lasted } => {
            format!(
                "{name} does not come and go any more: it has been {} for {}.",
                state(now),
                time(*lasted)
            )
        }
    }
}

fn meaning(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Stale => "no new picture comes",
        Trouble::Frozen => "every upload brings the same picture, so its sensor or driver hangs",
        Trouble::Offline => {
            "nothing comes from it, so look at its power, its network and its agent"
        }
        Trouble::Degraded => "look at the relay's journal",
        Trouble::Expiring => "has to be renewed",
    }
}

/// One line without control characters, whatever somebody has written as a title.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
