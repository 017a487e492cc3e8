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
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        after: Duration::from_secs(60),
        recovered_after: Duration::from_secs(30),
        max_per_hour: 6,
    };

    fn site() -> Site {
        Site { title: "Allotment".to_owned(), url: Some("https://cam.example.org/".to_owned()) }
    }

    fn event(id: &str, what: What) -> Event {
        let subject = Subject::Camera(id.parse().unwrap());
        let facts = Facts { title: Some(format!("The {id}\n")), problem: None };
        Event::new(
            &Notice { subject, what },
            facts,
            &site(),
            &RULES,
            "2026-11-28T14:00:00.000Z".to_owned(),
        )
    }

    fn offline(id: &str) -> Event {
        event(id, What::Trouble { now: Trouble::Offline, lasted: Duration::from_millis(65_400) })
    }

    fn message(events: Vec<Event>) -> Message {
        Message::new(&site(), events, "2026-11-28T14:00:01.000Z".to_owned())
    }

    #[test]
    fn each_kind_reads_like_a_sentence() {
        let seconds = Duration::from_secs;
        let of = |what| {
            let message = message(vec![event("shed", what)]);
            (message.title, message.text, message.priority)
        };
        let told = |title: &str, text: &str, priority| {
            (format!("Allotment: The shed  {title}"), format!("The shed  {text}"), priority)
        };
        assert_eq!(
            of(What::Trouble { now: Trouble::Stale, lasted: seconds(65) }),
            told("is stale", "has been stale for 1m 5s: no new picture comes.", Priority::High)
        );
        assert_eq!(
            of(What::Again { was: Trouble::Offline, lasted: seconds(7_200) }),
            told("is live again", "is live again, after 2h offline.", Priority::Normal)
        );
        assert_eq!(
            of(What::Flapping { now: Some(Trouble::Offline), outages: 3 }),
            told(
                "comes and goes",
                "comes and goes: 3 times in the last hour, offline now. Until it has stayed the same for 10m you \
                 hear of it once an hour.",
                Priority::High
            )
        );
        assert_eq!(
            of(What::StillFlapping { now: None, outages: 9 }),
            told(
                "comes and goes",
                "still comes and goes: 9 times in the last hour, live now.",
                Priority::Low
            )
        );
        assert_eq!(
            of(What::Steady { now: None, lasted: seconds(605) }),
            told(
                "is live",
                "does not come and go any more: it has been live for 10m 5s.",
                Priority::Normal
            )
        );
        let notice = Notice {
            subject: Subject::Store,
            what: What::Trouble { now: Trouble::Degraded, lasted: seconds(60) },
        };
        let facts =
            Facts { title: None, problem: Some("stillwatch.db: the disk is full".to_owned()) };
        let event = Event::new(&notice, facts, &site(), &RULES, String::new());
        assert_eq!(
            event.text,
            "The store has been degraded for 1m: stillwatch.db: the disk is full."
        );
    }

    #[test]
    fn the_shape_that_programs_read() {
        let json: serde_json::Value =
            serde_json::from_slice(&message(vec![offline("shed")]).json()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "version": 1,
                "sent_at": "2026-11-28T14:00:01.000Z",
                "relay": "Allotment",
                "url": "https://cam.example.org/",
                "title": "Allotment: The shed  is offline",
                "text": "The shed  has been offline for 1m 5s: nothing comes from it, so look at its power, its network and its agent.",
                "priority": "high",
                "events": [{
                    "subject": "camera",
                    "camera": "shed",
                    "name": "The shed ",
                    "kind": "trouble",
                    "state": "offline",
                    "lasted_ms": 65400,
                    "outages": null,
                    "url": "https://cam.example.org/cameras/shed/",
                    "at": "2026-11-28T14:00:00.000Z",
                    "text": "The shed  has been offline for 1m 5s: nothing comes from it, so look at its power, its network and its agent.",
                }],
                "more": 0,
            })
        );
    }

    #[test]
    fn many_are_counted_and_some_are_named() {
        let mut events: Vec<Event> = (0..MAX_EVENTS).map(|n| offline(&format!("c{n}"))).collect();
        events.push(event(
            "late",
            What::Again { was: Trouble::Stale, lasted: Duration::from_secs(3) },
        ));
        let message = message(events);
        assert_eq!(message.title, "Allotment: 200 offline, 1 live again");
        assert_eq!(message.text.lines().count(), MAX_NAMED + 1);
        assert!(message.text.ends_with("And 191 more."), "{}", message.text);
        assert_eq!((message.events.len(), message.more), (MAX_EVENTS, 1));
        assert_eq!(message.click(), Some("https://cam.example.org/"));
    }
}
