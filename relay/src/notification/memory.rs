//! What was told, for the next process: a restart repeats nothing, and an end is told though the relay was
//! restarted in between.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::{fs, io};

use ladder::Mono;
use runtime::clock;
use runtime::files::{Survives, publish};
use serde::{Deserialize, Serialize};

use super::damping::{Damping, Subject, Told, Trouble};

/// In the data folder.
const FILE: &str = "told.json";

/// A longer one is none of ours.
const MAX_BYTES: u64 = 4 << 20;

/// One subject. Times are microseconds since the Unix epoch, because the next process may run after a reboot.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Kept {
    subject: String,
    told: String,
    since_us: Option<i64>,
    sent_us: Vec<i64>,
}

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(super) struct Memory(PathBuf);

impl Memory {
    pub(super) fn new(data_dir: &Path) -> Memory {
        Memory(data_dir.join(FILE))
    }

    /// Gives back what is remembered. What can't be read is forgotten: then something is told twice.
    pub(super) fn recall(&self, damping: &mut Damping) -> io::Result<()> {
        let bytes = match fs::metadata(&self.0) {
            Ok(file) if file.len() <= MAX_BYTES => fs::read(&self.0)?,
            Ok(_) => return Err(io::ErrorKind::FileTooLarge.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let kept: Vec<Kept> = serde_json::from_slice(&bytes)?;
        let (now, wall) = (clock::mono(), clock::wall_us());
        for one in kept {
            if let (Some(subject), Some(told)) = (subject(&one.subject), one.told(now, wall)) {
                let sent = one.sent_us.iter().map(|us| at(*us, now, wall)).collect();
                damping.recall(now, subject, told, sent);
            }
        }
        Ok(())
    }

    /// What the file has to hold now.
    pub(super) fn content(damping: &Damping) -> Vec<u8> {
        let (now, wall) = (clock::mono(), clock::wall_us());
        let of = |mono: &Mono| wall.saturating_sub(micros(now, *mono));
        let news = |(_, told, sent): &(&Subject, Told, &VecDeque<Mono>)| {
            *told != Told::Well || !sent.is_empty()
        };
        let kept: Vec<Kept> = damping
            .told()
            .filter(news)
            .map(|(subject, told, sent)| {
                let (told, since) = match told {
                    Told::Well => ("well", None),
                    Told::Flapping => ("flapping", None),
                    Told::Trouble { what, since } => (what.word(), Some(since)),
                };
                Kept {
                    subject: word(subject),
                    told: told.to_owned(),
                    since_us: since.as_ref().map(of),
                    sent_us: sent.iter().map(of).collect(),
                }
            })
            .collect();
        // Our own structure always serialises.
        serde_json::to_vec(&kept).unwrap_or_default()
    }

    /// Replaces the file; the disk may take its time.
    pub(super) fn write(&self, content: &[u8]) -> io::Result<()> {
        publish(&self.0, content, Survives::PowerCut)
    }
}

impl Kept {
    fn told(&self, now: Mono, wall: i64) -> Option<Told> {
        Some(match self.told.as_str() {
            "well" => Told::Well,
            "flapping" => Told::Flapping,
            word => {
                let what = Trouble::of_word(word)?;
                Told::Trouble { what, since: at(self.since_us.unwrap_or(wall), now, wall) }
            }
        })
    }
}

/// A time that lies ahead, by a clock that was set since, is now.
fn at(us: i64, now: Mono, wall: i64) -> Mono {
    let ago = u64::try_from(wall.saturating_sub(us)).unwrap_or(0);
    let since_boot = now.since_boot();
    Mono::from_boot(since_boot.saturating_sub(std::time::Duration::from_micros(ago)))
}

fn micros(now: Mono, then: Mono) -> i64 {
    i64::try_from(now.since(then).as_micros()).unwrap_or(i64::MAX)
}

fn word(subject: &Subject) -> String {
    match subject {
        Subject::Camera(id) => format!("cameras/{id}"),
        Subject::Store => "store".to_owned(),
        Subject::Export => "export".to_owned(),
        Subject::Certificate => "certificate".to_owned(),
        Subject::Cluster => "cluster".to_owned(),
    }
}

fn subject(word: &str) -> Option<Subject> {
    match word {
        "store" => Some(Subject::Store),
        "export" => Some(Subject::Export),
        "certificate" => Some(Subject::Certificate),
        "cluster" => Some(Subject::Cluster),
        _ => word.strip_prefix("cameras/")?.parse().ok().map(Subject::Camera),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::super::damping::{Rules, What};
    use super::*;

    const RULES: Rules = Rules {
        after: Duration::from_secs(60),
        recovered_after: Duration::from_secs(30),
        max_per_hour: 6,
    };

    fn garden(is: Option<Trouble>) -> BTreeMap<Subject, Option<Trouble>> {
        BTreeMap::from([(Subject::Camera("garden".parse().unwrap()), is)])
    }

    #[test]
    fn what_was_told_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(folder.path());
        let mut before = Damping::new(RULES);
        memory.recall(&mut before).unwrap();
        let now = clock::mono().since_boot();
        let at = |seconds| Mono::from_boot(now + Duration::from_secs(seconds));
        let told =
            (0..100).filter(|s| !before.turn(at(*s), &garden(Some(Trouble::Stale))).is_empty());
        assert_eq!(told.count(), 1);
        memory.write(&Memory::content(&before)).unwrap();
        let mut after = Damping::new(RULES);
        memory.recall(&mut after).unwrap();
        let told: Vec<_> = (100..1_000).flat_map(|s| after.turn(at(s), &garden(None))).collect();
        assert!(
            matches!(told.as_slice(), [one] if matches!(one.what, What::Again { was: Trouble::Stale, .. })),
            "{told:?}"
        );
    }

    #[test]
    fn what_is_no_memory_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(folder.path());
        for (content, good) in [
            ("", false),
            ("{}", false),
            ("[]", true),
            ("[{\"subject\":\"moon\",\"told\":\"stale\",\"since_us\":1,\"sent_us\":[]}]", true),
            (
                "[{\"subject\":\"store\",\"told\":\"degraded\",\"since_us\":99999999999999999,\"sent_us\":[-1]}]",
                true,
            ),
        ] {
            fs::write(folder.path().join(FILE), content).unwrap();
            let mut damping = Damping::new(RULES);
            assert_eq!(memory.recall(&mut damping).is_ok(), good, "{content}");
            // It goes on in any case.
            damping.turn(clock::mono(), &garden(None));
        }
    }
}
