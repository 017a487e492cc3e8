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
    let facts = Facts { title: None, problem: Some("stillwatch.db: the disk is full".to_owned()) };
    let event = Event::new(&notice, facts, &site(), &RULES, String::new());
    assert_eq!(event.text, "The store has been degraded for 1m: stillwatch.db: the disk is full.");
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
    events.push(event("late", What::Again { was: Trouble::Stale, lasted: Duration::from_secs(3) }));
    let message = message(events);
    assert_eq!(message.title, "Allotment: 200 offline, 1 live again");
    assert_eq!(message.text.lines().count(), MAX_NAMED + 1);
    assert!(message.text.ends_with("And 191 more."), "{}", message.text);
    assert_eq!((message.events.len(), message.more), (MAX_EVENTS, 1));
    assert_eq!(message.click(), Some("https://cam.example.org/"));
}
