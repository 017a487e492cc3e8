//! The stream that is the board of all relays: how it has to be, and whether one that is there is. Pure.
//!
//! One that somebody made otherwise is refused and left as it is: it may be somebody else's.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use super::ClusterConfig;
use super::message::subjects;

/// A stream as a relay makes it.
pub(super) fn wanted(config: &ClusterConfig) -> Config {
    Config {
        name: config.stream.clone(),
        subjects: vec![subjects(&config.stream)],
        description: Some("The newest frame of each camera (Stillwatch)".to_owned()),
        retention: RetentionPolicy::Limits,
        max_messages_per_subject: 1,
        discard: DiscardPolicy::Old,
        storage: if config.on_disk { StorageType::File } else { StorageType::Memory },
        num_replicas: config.replicas,
        allow_direct: true,
        // The server's least: frames carry no message ids.
        duplicate_window: Duration::from_millis(100),
        ..Config::default()
    }
}

/// Whether a stream that is there serves.
///
/// # Errors
/// What is wrong with it, and what to do: one sentence.
pub(super) fn judge(found: &Config, config: &ClusterConfig) -> Result<(), String> {
    let wanted = wanted(config);
    let mut wrong = Vec::new();
    let mut must = |is: bool, what: String| {
        if !is {
            wrong.push(what);
        }
    };
    must(
        found.subjects == wanted.subjects,
        format!(
            "its subjects are {} and not {}",
            found.subjects.join(" "),
            wanted.subjects.join(" "),
        ),
    );
    must(
        found.max_messages_per_subject == 1,
        format!("it keeps {} messages of a subject and not 1", found.max_messages_per_subject,),
    );
    must(found.retention == wanted.retention, "its retention is not \"limits\"".to_owned());
    must(found.discard == wanted.discard, "it discards new messages and not old ones".to_owned());
    must(found.allow_direct, "it does not allow direct gets".to_owned());
    must(!found.no_ack, "it acknowledges nothing".to_owned());
    must(!found.sealed, "it is sealed".to_owned());
    let derived = found.mirror.is_some() || found.sources.as_ref().is_some_and(|s| !s.is_empty());
    must(!derived, "it is a copy of others (mirror, sources)".to_owned());
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the stream \"{}\" was made otherwise by somebody: {}; give it another name (cluster.stream), or remove it if \
         it is nobody's (nats stream rm {})",
        found.name,
        wrong.join("; "),
        found.name,
    ))
}

/// What of a stream is otherwise than this relay would have made it, and matters when something dies; its operator's
/// affair.
pub(super) fn differs(found: &Config, config: &ClusterConfig) -> Option<String> {
    let wanted = wanted(config);
    let mut says = Vec::new();
    if found.num_replicas < wanted.num_replicas {
        says.push(format!(
            "it is kept by {} of the {} servers that cluster.replicas asks for",
            found.num_replicas, wanted.num_replicas
        ));
    }
    if wanted.storage == StorageType::File && found.storage != StorageType::File {
        says.push("it is kept in memory and not on disk (cluster.storage)".to_owned());
    }
    let change =
        "a stream that is there is not changed: docs/guide/scale.md says how it is made anew";
    (!says.is_empty())
        .then(|| format!("the stream \"{}\": {}; {change}", found.name, says.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_and_is_not_so_is_said() {
        let config = ClusterConfig { replicas: 3, on_disk: true, ..ClusterConfig::default() };
        assert_eq!(differs(&wanted(&config), &config), None);
        let small = wanted(&ClusterConfig::default());
        let says = differs(&small, &config).unwrap();
        assert!(says.contains("1 of the 3") && says.contains("memory"), "{says}");
        assert_eq!(differs(&wanted(&config), &ClusterConfig::default()), None, "better is fine");
    }

    #[test]
    fn its_own_serves_and_others_do_not() {
        let config = ClusterConfig::default();
        assert_eq!(judge(&wanted(&config), &config), Ok(()));
        // Its operator's affair.
        let bigger = Config {
            storage: StorageType::File,
            num_replicas: 3,
            max_bytes: 1 << 30,
            max_age: Duration::from_secs(86_400),
            ..wanted(&config)
        };
        assert_eq!(judge(&bigger, &config), Ok(()));
        for (word, other) in [
            ("subjects", Config { subjects: vec![">".to_owned()], ..wanted(&config) }),
            ("keeps 5", Config { max_messages_per_subject: 5, ..wanted(&config) }),
            ("retention", Config { retention: RetentionPolicy::WorkQueue, ..wanted(&config) }),
            ("discards", Config { discard: DiscardPolicy::New, ..wanted(&config) }),
            ("direct", Config { allow_direct: false, ..wanted(&config) }),
            ("acknowledges", Config { no_ack: true, ..wanted(&config) }),
            ("sealed", Config { sealed: true, ..wanted(&config) }),
        ] {
            let sentence = judge(&other, &config).unwrap_err();
            assert!(sentence.contains(word) && sentence.contains("cluster.stream"), "{sentence}");
        }
    }
}
