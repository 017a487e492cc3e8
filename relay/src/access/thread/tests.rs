use ladder::Mono;

use super::super::list::Place;
use super::super::used::Used;
use super::*;
use crate::metrics::Metrics;

const DAY_US: i64 = 24 * 3_600 * 1_000_000;

#[test]
fn a_password_that_its_camera_has_left_is_retired_and_remembered() {
    let data = tempfile::tempdir().unwrap();
    let folder = Folder::in_data(data.path());
    let place = Place::Camera("garden".parse().unwrap());
    let locked = folder.lock().unwrap();
    let key = locked.new_password_key().unwrap();
    let (mut list, none) = (List::default(), Used::default());
    list.add(&place, key.hash("old"), 1, false, &none).unwrap();
    list.add(&place, key.hash("new"), 2, true, &none).unwrap();
    locked.write_list(&list).unwrap();
    drop(locked);
    let mut thread = Thread {
        folder: folder.clone(),
        shared: Arc::default(),
        gate: Arc::new(Gate::new(Metrics::new().unwrap().guesses)),
        stamps: None,
        retired_at: Mono::default(),
    };
    thread.look();
    let name = |n: usize| list.all()[n].name();
    let now = clock::wall_us();
    let mut used_at = |n: usize, at_us: i64| {
        let letter = Letter { name: name(n), camera: "garden".parse().unwrap(), at_us };
        thread.note(&letter).unwrap();
    };
    used_at(0, now - 3 * DAY_US);
    used_at(1, now - 2 * DAY_US);
    used_at(1, now);
    thread.retire().unwrap();
    thread.look();
    let known = thread.shared.get();
    let valid: Vec<bool> = known.content.list.all().iter().map(Entry::is_valid).collect();
    assert_eq!(valid, [false, true]);
    // What was noted is in the file, and stays with the relay when the list is another one.
    assert_eq!(folder.read().unwrap().used, known.content.used);
    assert_eq!(known.content.used.span(&name(1)), Some((now - 2 * DAY_US, now)));
}
