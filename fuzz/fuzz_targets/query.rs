//! Any path with any query: one name for each thing, and an answer for whatever is asked.
#![no_main]

use fuzz::{answers, last};
use libfuzzer_sys::fuzz_target;
use stillwatch_relay::fuzzing::{PASSWORD, Relay, target};

thread_local! {
    static RELAY: Relay = fuzz::relay();
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let path = text.split('?').next().unwrap_or_default();
    let names = target(path);
    if let Some(names) = &names {
        one_name(path, names);
    }
    // What can't stand in a request line is hyper's business, and `request` finds it.
    if text.is_empty() || text.contains(|c: char| c.is_control() || c == ' ' || c == '#') {
        return;
    }
    RELAY.with(|relay| {
        let head = format!(
            "GET {text} HTTP/1.1\r\nHost: fuzz\r\nAuthorization: Bearer {PASSWORD}\r\n\r\n"
        );
        let answered = relay.talk(head.as_bytes(), |bytes| last(bytes, false).is_some());
        let all = answers(&answered, false);
        if let (Some(first), None, true) = (all.first(), &names, text.starts_with('/')) {
            assert!(
                matches!(first.status, 400 | 404 | 414 | 431),
                "{path:?} is nothing: {first:?}"
            );
        }
    });
});

/// No other way to write a name leads to the same thing, so no cache and no rule of a proxy sees two.
fn one_name(path: &str, names: &str) {
    // Times have several, for people.
    let time = names.starts_with("Past(");
    let page = names.starts_with("Page(Asset");
    if !time && !page {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/.-_".contains(c);
        assert!(names == "NoSize" || path.chars().all(plain), "{path:?} is {names}");
        assert!(
            names == "NoSize" || !path.contains("//") && !path.contains(".."),
            "{path:?} is {names}"
        );
    }
    for other in [format!("/{path}"), format!("{path}%00"), path.replacen('/', "/./", 1)] {
        assert!(
            page || target(&other).is_none_or(|found| found != names),
            "{other:?} is {names}, too"
        );
    }
}
