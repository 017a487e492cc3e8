use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::updates::index::{Channel, Published};

const VERSION: &str = "0.2.0-20261201.0000";

struct Bench {
    data: TempDir,
    thread: Thread,
}

fn bench(stop_after: usize) -> Bench {
    let data = tempfile::tempdir().unwrap();
    let folder = Folder::in_data(data.path());
    let update = Published {
        version: VERSION.parse().unwrap(),
        compatible: "stillwatch-debian".to_owned(),
        bytes: 1,
        sha256: "0f".repeat(32),
        channel: Channel::default(),
        percent: 100,
        paused: None,
    };
    let index = Index { published: vec![update] };
    folder.lock().unwrap().write_index(&index).unwrap();
    let rejected = IntCounter::new("rejected", "of a test").unwrap();
    let shared = Arc::default();
    let thread = Thread { folder, shared, stop_after, rejected, stamps: None };
    Bench { data, thread }
}

impl Bench {
    fn list(&self, name: &str) -> PathBuf {
        self.data.path().join("updates").join(name)
    }

    fn rejects(&mut self, camera: &str, version: &str, ran: bool) {
        let rejection =
            Rejection { version: version.parse().unwrap(), why: "no picture".to_owned(), ran };
        self.thread.take(Letter::Rejected(camera.parse().unwrap(), rejection)).unwrap();
        self.thread.look();
    }

    fn paused(&self) -> Option<String> {
        self.thread.shared.get().index.published.first()?.paused.clone()
    }

    fn wish(&mut self, camera: &str) -> Option<Wish> {
        self.thread.look();
        self.thread.shared.get().standings.of(&camera.parse().unwrap()).wish
    }
}

#[test]
fn a_list_that_is_torn_is_not_taken_for_an_empty_one() {
    let mut bench = bench(2);
    bench.thread.look();
    let good = fs::read(bench.list("index.json")).unwrap();
    fs::write(bench.list("index.json"), &good[..good.len() / 2]).unwrap();
    bench.thread.look();
    let known = bench.thread.shared.get();
    assert!(known.read && known.index.published.len() == 1);
    assert!(known.problem.as_ref().is_some_and(|why| why.contains("index.json")), "{known:?}");
    // Nothing is written over it.
    let (told, mut answer) = oneshot::channel();
    let id = "garden".parse().unwrap();
    bench.thread.take(Letter::Wish(id, Some(Wish::Hold), told)).unwrap();
    assert_eq!(answer.try_recv(), Ok(Ok(())), "the other list is good");
    let rejection = Rejection { version: VERSION.parse().unwrap(), why: String::new(), ran: true };
    let rejected = Letter::Rejected("garden".parse().unwrap(), rejection);
    assert!(bench.thread.take(rejected).is_err());
    assert_eq!(fs::read(bench.list("index.json")).unwrap(), good[..good.len() / 2]);
    fs::write(bench.list("index.json"), good).unwrap();
    assert_eq!(bench.wish("garden"), Some(Wish::Hold));
    assert_eq!(bench.thread.shared.get().problem, None);
}

#[test]
fn a_list_that_is_torn_from_the_beginning_is_none() {
    let mut bench = bench(2);
    for list in ["index.json", "cameras.json"] {
        fs::write(bench.list(list), "{").unwrap();
        bench.thread.look();
        let known = bench.thread.shared.get();
        assert!(!known.read && known.problem.is_some(), "{list}");
        fs::remove_file(bench.list(list)).unwrap();
    }
    bench.thread.look();
    assert!(bench.thread.shared.get().read);
}

#[test]
fn it_stops_when_so_many_cameras_took_it_back() {
    let mut bench = bench(2);
    bench.rejects("garden", VERSION, true);
    bench.rejects("garden", VERSION, true);
    bench.rejects("attic", VERSION, false);
    bench.rejects("shed", "0.3.0-20270101.0000", true);
    assert_eq!(bench.paused(), None, "it is one camera");
    bench.rejects("shed", VERSION, true);
    assert_eq!(bench.paused().as_deref(), Some("2 cameras took it back (garden, shed)"));
    assert_eq!(bench.thread.rejected.get(), 3);
    // Whoever lets it go on wants that, until a further camera fails.
    let mut index = bench.thread.folder.index().unwrap();
    index.published[0].paused = None;
    bench.thread.folder.lock().unwrap().write_index(&index).unwrap();
    bench.rejects("shed", VERSION, true);
    assert_eq!(bench.paused(), None);
    bench.rejects("attic", VERSION, true);
    assert!(bench.paused().unwrap().starts_with("3 cameras"));
}

#[test]
fn zero_never_stops_it() {
    let mut bench = bench(0);
    for camera in ["a", "b", "c"] {
        bench.rejects(camera, VERSION, true);
    }
    assert_eq!(bench.paused(), None);
}

#[test]
fn what_was_started_is_started_once() {
    let mut bench = bench(2);
    for end in ["begun", "rejected"] {
        let (told, _) = oneshot::channel();
        let id: CameraId = "garden".parse().unwrap();
        bench.thread.take(Letter::Wish(id.clone(), Some(Wish::Start), told)).unwrap();
        assert_eq!(bench.wish("garden"), Some(Wish::Start));
        match end {
            "begun" => bench.thread.take(Letter::Started(id)).unwrap(),
            _ => bench.rejects("garden", VERSION, true),
        }
        assert_eq!(bench.wish("garden"), None, "{end}");
    }
    let (told, _) = oneshot::channel();
    bench.thread.take(Letter::Wish("garden".parse().unwrap(), Some(Wish::Hold), told)).unwrap();
    bench.thread.take(Letter::Started("garden".parse().unwrap())).unwrap();
    assert_eq!(bench.wish("garden"), Some(Wish::Hold));
}
