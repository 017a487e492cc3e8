//! What others do to the bus: a stream that is somebody else's, messages that are no frames, old ones, large ones.

use async_nats::HeaderMap;
use async_nats::jetstream::{self, stream};
use serde_json::json;
use testbed::eventually::becomes_true;
use testbed::nats::Nats;
use testbed::program::SOON;

use super::{EDGE, bus_is, config, relay, shows, upload, works};
use crate::relay::{Relay, captured_at, jpeg, photo};

/// Does something with the bus as any other client could.
fn with<T>(nats: &Nats, act: impl AsyncFnOnce(jetstream::Context) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(nats.url()).await.unwrap();
        act(jetstream::new(client)).await
    })
}

pub(super) fn publish(nats: &Nats, subject: &str, headers: &[(&str, &str)], body: &[u8]) {
    let (subject, body) = (subject.to_owned(), body.to_vec());
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    with(nats, async |context| {
        let sent = context.publish_with_headers(subject, map, body.into()).await.unwrap();
        sent.await.unwrap();
    });
}

/// How many messages the stream has; none while there is none.
pub(super) fn messages(nats: &Nats) -> u64 {
    with(nats, async |context| {
        let stream = context.get_stream("stillwatch").await;
        stream.map_or(0, |stream| stream.cached_info().state.messages)
    })
}

/// What a relay would say of a picture.
pub(super) fn headers<'a>(at: &'a str, hash: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("frame-captured-at", at),
        ("frame-arrived-at", at),
        ("frame-seq", "1"),
        ("frame-time-source", "captured"),
        ("frame-hash", hash),
        ("frame-relay", "somebody"),
        ("frame-camera", "garden"),
    ]
}

/// A picture's hash, as the relay tells it.
pub(super) fn hash(body: &[u8]) -> String {
    let picture = frame::Picture::accept(body.to_vec().into()).unwrap();
    picture.hash().to_string()
}

#[test]
fn a_stream_that_is_somebody_elses_is_refused_and_left_as_it_is() {
    let nats = Nats::start("");
    let other = stream::Config {
        name: "stillwatch".to_owned(),
        subjects: vec!["stillwatch.>".to_owned()],
        max_messages_per_subject: 5,
        ..stream::Config::default()
    };
    let before = with(&nats, async |context| {
        context.create_stream(other).await.unwrap();
        context.get_stream("stillwatch").await.unwrap().cached_info().config.clone()
    });
    let a = Relay::with(&config("a", &nats.url(), ""));
    let problem = bus_is(&a, "refused");
    for words in ["\"stillwatch\"", "stillwatch.>", "keeps 5 messages", "cluster.stream"] {
        assert!(problem.contains(words), "{words}: {problem}");
    }
    upload(&a, "garden", &[], &jpeg(1));
    shows(&a, "garden", &jpeg(1));
    let (after, messages) = with(&nats, async |context| {
        let found = context.get_stream("stillwatch").await.unwrap();
        (found.cached_info().config.clone(), found.cached_info().state.messages)
    });
    assert_eq!((after, messages), (before, 0));
    // Another name, or away with it.
    let b = relay("b", &nats.url(), "stream = \"cameras\"");
    upload(&b, "roof", &[], &jpeg(2));
    with(&nats, async |context| context.delete_stream("stillwatch").await.unwrap());
    works(&a);
    shows(&relay("edge", &nats.url(), EDGE), "garden", &jpeg(1));
}

#[test]
fn without_jetstream_it_says_what_to_write_where() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new("nats-server");
    let log = folder.path().join("ports");
    command.args(["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir"]).arg(&log);
    std::fs::create_dir(&log).unwrap();
    let program = testbed::program::Program::start("nats-server", &mut command);
    let line = program.line("Listening for client connections on");
    let address = line.rsplit(' ').next().unwrap();
    let a = Relay::with(&config("a", &format!("nats://{address}"), ""));
    let problem = bus_is(&a, "refused");
    assert!(problem.contains("jetstream {}"), "{problem}");
}

#[test]
fn old_messages_and_those_that_are_no_frames_change_nothing_that_is_shown() {
    let nats = Nats::start("");
    let (a, edge) = (relay("a", &nats.url(), ""), relay("edge", &nats.url(), EDGE));
    upload(&a, "garden", &[("Frame-Captured-At", &captured_at(-1_000))], &jpeg(1));
    shows(&edge, "garden", &jpeg(1));
    let (old, now) = (captured_at(-60_000), captured_at(0));
    // Somebody puts an old one in its place.
    publish(&nats, "stillwatch.frame.garden", &headers(&old, &hash(&jpeg(2))), &jpeg(2));
    // No picture; another picture than announced; headers that are missing.
    publish(&nats, "stillwatch.frame.garden", &headers(&now, &hash(&jpeg(3))), b"no picture");
    edge.said("a picture from the bus is refused", 1);
    for relay in [&a, &edge] {
        let answer = relay.get("/cameras/garden/live.jpeg");
        assert_eq!(answer.body, jpeg(1));
        assert_eq!(answer.header("frame-state"), Some("stale"), "what was announced can't be had");
    }
    publish(&nats, "stillwatch.frame.garden", &[], &jpeg(4));
    a.said("a message on the bus is none of a relay's", 1);
    // The next upload finds another than it knew of, looks, and is published.
    upload(&a, "garden", &[("Frame-Captured-At", &captured_at(1_000))], &jpeg(5));
    for relay in [&a, &edge] {
        shows(relay, "garden", &jpeg(5));
    }
    // Names that are no cameras' get nowhere.
    with(&nats, async |context| {
        for subject in ["stillwatch.frame.Not_A_Camera", "stillwatch.frame.-x"] {
            context.publish(subject.to_owned(), jpeg(6).into()).await.unwrap().await.unwrap();
        }
    });
    upload(&a, "roof", &[], &jpeg(7));
    shows(&edge, "roof", &jpeg(7));
    assert_eq!(edge.status()["cameras"].as_array().unwrap().len(), 3, "default, garden, roof");
}

#[test]
fn a_message_that_somebody_removes_is_published_again() {
    let nats = Nats::start("");
    let a = relay("a", &nats.url(), "");
    upload(&a, "garden", &[], &jpeg(1));
    let published = "stillwatch_cluster_published_total{outcome=\"published\"}";
    becomes_true("it is published", SOON, || a.metric(published) >= 1.0);
    with(&nats, async |context| {
        context.get_stream("stillwatch").await.unwrap().purge().await.unwrap();
    });
    upload(&a, "garden", &[], &jpeg(2));
    shows(&relay("edge", &nats.url(), EDGE), "garden", &jpeg(2));
}

#[test]
fn what_is_too_large_for_the_bus_is_shown_at_home_and_said() {
    let nats = Nats::start("max_payload: 16KB");
    let (a, edge) = (relay("a", &nats.url(), ""), relay("edge", &nats.url(), EDGE));
    a.said("larger ones are shown by this relay only", 1);
    upload(&a, "garden", &[], &jpeg(1));
    shows(&edge, "garden", &jpeg(1));
    let large = photo(400, 300, 1);
    assert!(large.len() > 20_000, "{}", large.len());
    for _ in 0..3 {
        upload(&a, "garden", &[], &large);
        shows(&a, "garden", &large);
    }
    let oversized = "stillwatch_cluster_published_total{outcome=\"oversized\"}";
    becomes_true("it is counted", SOON, || a.metric(oversized) >= 1.0);
    a.said("max_payload in nats-server.conf", 1);
    assert_eq!(edge.get("/cameras/garden/live.jpeg").body, jpeg(1), "as old as it is");
    upload(&a, "garden", &[], &jpeg(2));
    shows(&edge, "garden", &jpeg(2));
}

#[test]
fn no_camera_name_is_another_subject() {
    let nats = Nats::start("");
    let a = relay("a", &nats.url(), "");
    for name in ["*", "%3E", ">", "a.b", "a%2Eb", "a%20b", "$JS", "A", "a%0d%0aPUB"] {
        let answer = a.post(&format!("/cameras/{name}?password=story-password"), &[], &jpeg(1));
        assert!(matches!(answer.status(), 400 | 404 | 405), "{name}: {}", answer.status());
    }
    let count = with(&nats, async |context| {
        context.get_stream("stillwatch").await.unwrap().cached_info().state.messages
    });
    assert_eq!(count, 0);
    assert_eq!(a.of_camera("default", "/state"), json!("empty"));
}
