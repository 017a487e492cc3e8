//! What was said in the journal already: it tells changes of state, and a cure that is tried every few
//! seconds is none.
//!
//! It is kept in the run directory, because the healer ends when nobody asks.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use ladder::Mono;
use runtime::files::{Survives, replace};
use serde::{Deserialize, Serialize};

/// What comes again within this time is no news.
const AGAIN: Duration = Duration::from_secs(600);

/// More are forgotten: there are only so many devices.
const MAX_KEPT: usize = 64;

/// See the module's documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said(BTreeMap<String, Last>);

/// What was done last with one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Last {
    /// In s since boot.
    at_s: u64,
    ok: bool,
}

impl Said {
    /// Whether doing `what` is news.
    pub(crate) fn news(&self, what: &str, now: Mono) -> bool {
        self.last(what, now).is_none()
    }

    /// Whether it is news that `what` was done, successfully or not.
    pub(crate) fn result(&mut self, what: &str, now: Mono, ok: bool) -> bool {
        let news = match self.last(what, now) {
            None => true,
            Some(last) => last.ok && !ok,
        };
        let now_s = now.since_boot().as_secs();
        self.0.retain(|_, last| now_s.saturating_sub(last.at_s) < AGAIN.as_secs());
        if self.0.len() >= MAX_KEPT {
            self.0.clear();
        }
        self.0.insert(what.to_owned(), Last { at_s: now_s, ok });
        news
    }

    fn last(&self, what: &str, now: Mono) -> Option<&Last> {
        let now_s = now.since_boot().as_secs();
        self.0.get(what).filter(|last| now_s.saturating_sub(last.at_s) < AGAIN.as_secs())
    }

    /// From its file; nothing was said if there is none, or it is damaged.
    pub(crate) fn read(path: &Path) -> Said {
        let content = fs::read(path).unwrap_or_default();
        serde_json::from_slice(&content).unwrap_or_default()
    }

    pub(crate) fn write(&self, path: &Path) {
        let written = serde_json::to_vec(self)
            .map_err(Into::into)
            .and_then(|content| replace(path, &content, Survives::Exit));
        if let Err(error) = written {
            // It costs a line too many.
            tracing::debug!("{}: {error}", path.display());
        }
    }
}

/// Lets one of many through: against a journal full of the same.
#[derive(Debug, Default)]
pub(crate) struct Limit {
    last: Option<Mono>,
    held_back: u64,
}

impl Limit {
    /// Between two.
    const PAUSE: Duration = Duration::from_secs(60);

    /// `None`: not now. Else how many were held back since the last one.
    pub(crate) fn pass(&mut self, now: Mono) -> Option<u64> {
        if self.last.is_some_and(|last| now.since(last) < Limit::PAUSE) {
            self.held_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(seconds))
    }

    #[test]
    fn only_changes_are_news() {
        let mut said = Said::default();
        let story = [
            // At second 10: it is news that it begins, and that it worked.
            (10, true, (true, true)),
            // And again, and again: neither.
            (20, true, (false, false)),
            (600, true, (false, false)),
            // Now it fails: that is news, but not that it was tried.
            (700, false, (false, true)),
            (710, false, (false, false)),
            (720, true, (false, false)),
            (730, false, (false, true)),
            // Long after: all of it.
            (1_330, false, (true, true)),
        ];
        for (second, ok, (begin, end)) in story {
            let news =
                (said.news("wifi wlan0", at(second)), said.result("wifi wlan0", at(second), ok));
            assert_eq!(news, (begin, end), "at {second}");
        }
        assert!(said.news("wifi wlan1", at(1_330)));
    }

    #[test]
    fn it_survives_its_file_and_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("said.json");
        let mut said = Said::default();
        for device in 0..1_000 {
            said.result(&format!("wifi-tune wlan{device}"), at(5), true);
        }
        assert!(said.0.len() <= MAX_KEPT);
        said.write(&path);
        assert_eq!(Said::read(&path), said);
        fs::write(&path, "{").unwrap();
        assert_eq!(Said::read(&path), Said::default());
    }

    #[test]
    fn one_in_a_minute() {
        let mut limit = Limit::default();
        let passed = [0, 1, 59, 60, 61].map(|second| limit.pass(at(second)));
        assert_eq!(passed, [Some(0), None, None, Some(2), None]);
    }
}
