//! The list of passwords that `stillwatch-relay passwords` keeps: their hashes, which of them are valid for a camera,
//! and when an old one is retired. Pure.

use std::fmt;

use frame::CameraId;
use frame::sign::{from_hex, to_hex};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::used::Used;

/// Valid ones of one place: the one in use, and the one that follows it.
const MAX_VALID: usize = 2;

/// Retired ones of one place that are remembered, so that who still uses them is told.
const MAX_RETIRED: usize = 2;

/// All together.
pub(super) const MAX: usize = 4_000;

/// The new one was used for so long, and the old one not at all: then the old one is retired.
const SETTLED_US: i64 = 24 * 3_600 * 1_000_000;

/// For which cameras a password is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Those without a password of their own.
    All,
    Camera(CameraId),
}

impl Place {
    /// As it is written behind `passwords add` and so on.
    pub(super) fn argument(&self) -> &str {
        match self {
            Place::All => "--all",
            Place::Camera(id) => id.as_str(),
        }
    }

    pub(super) fn camera(&self) -> Option<&CameraId> {
        match self {
            Place::All => None,
            Place::Camera(id) => Some(id),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::All => f.write_str("all cameras"),
            Place::Camera(id) => write!(f, "camera {id}"),
        }
    }
}

/// What a password that was made by `rotate` follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Follows {
    /// Older ones of the same place: they stay valid until they are retired.
    Older,
    /// The relay's, which stay valid for this camera until this one is used.
    Relays,
}

/// One password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub place: Place,
    /// Among those of its place.
    pub number: u32,
    pub(super) hash: [u8; 32],
    pub(super) created_us: i64,
    pub(super) follows: Option<Follows>,
    /// Since then it opens nothing.
    pub(super) retired_us: Option<i64>,
}

impl Entry {
    pub(super) fn is_valid(&self) -> bool {
        self.retired_us.is_none()
    }

    /// What its uses are kept under.
    pub(super) fn name(&self) -> String {
        to_hex(self.hash.get(..8).unwrap_or_default())
    }

    pub(super) fn is(&self, hash: &[u8; 32]) -> bool {
        self.hash.ct_eq(hash).into()
    }
}

/// As it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    camera: Option<String>,
    number: u32,
    hash: String,
    created_us: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    follows: Option<Follows>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retired_us: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    passwords: Vec<Written>,
}

/// Why the list stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unchanged {
    #[error(
        "two passwords of {place} are valid already; remove the one that is not needed: \
         stillwatch-relay passwords remove {argument} NUMBER (passwords list shows them)",
        place = .0, argument = .0.argument()
    )]
    TwoValid(Place),
    #[error("there are {MAX} passwords already; remove some")]
    TooMany,
    #[error("{0} has no password {1} here; see: stillwatch-relay passwords list")]
    Unknown(Place, u32),
}

/// See the module's documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct List {
    entries: Vec<Entry>,
}

impl List {
    /// Reads what [`List::to_json`] wrote.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn parse(json: &str) -> Result<List, String> {
        let file: File = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if file.passwords.len() > MAX {
            return Err(format!("more than {MAX} passwords"));
        }
        let entry = |written: Written| {
            let Written { camera, number, hash, created_us, follows, retired_us } = written;
            let place = match camera {
                Some(id) => {
                    Place::Camera(id.parse().map_err(|e: frame::BadCameraId| e.to_string())?)
                }
                None => Place::All,
            };
            let hash = from_hex(&hash).ok_or("a hash has to be 64 hexadecimal digits")?;
            Ok(Entry { place, number, hash, created_us, follows, retired_us })
        };
        let entries = file.passwords.into_iter().map(entry).collect::<Result<_, String>>()?;
        Ok(List { entries })
    }

    pub(super) fn to_json(&self) -> String {
        let written = |entry: &Entry| Written {
            camera: entry.place.camera().map(ToString::to_string),
            number: entry.number,
            hash: to_hex(&entry.hash),
            created_us: entry.created_us,
            follows: entry.follows,
            retired_us: entry.retired_us,
        };
        let file = File { passwords: self.entries.iter().map(written).collect() };
        // Our own structure always serialises.
        serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
    }

    pub(super) fn all(&self) -> &[Entry] {
        &self.entries
    }

    /// Those of a place, in the order in which they were made.
    pub(super) fn of<'a>(&'a self, place: &'a Place) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.place == *place)
    }

    fn valid_of<'a>(&'a self, place: &'a Place) -> impl Iterator<Item = &'a Entry> {
        self.of(place).filter(|entry| entry.is_valid())
    }

    /// Whether a camera has passwords of its own here, and if so whether the relay's are valid for it all the same.
    pub(super) fn relays_too(&self, camera: &CameraId, used: &Used) -> bool {
        let place = Place::Camera(camera.clone());
        let mut own = self.valid_of(&place).peekable();
        own.peek().is_none() || own.all(|entry| Self::waits_for_use(entry, used))
    }

    fn waits_for_use(entry: &Entry, used: &Used) -> bool {
        entry.follows == Some(Follows::Relays) && !used.is_used(&entry.name())
    }

    /// Adds one and returns its number. `follow`: what was valid before stays so for now.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub(super) fn add(
        &mut self,
        place: &Place,
        hash: [u8; 32],
        now_us: i64,
        follow: bool,
        used: &Used,
    ) -> Result<u32, Unchanged> {
        if self.entries.len() >= MAX {
            return Err(Unchanged::TooMany);
        }
        if self.valid_of(place).count() >= MAX_VALID {
            return Err(Unchanged::TwoValid(place.clone()));
        }
        let relays = *place != Place::All
            && self.valid_of(place).all(|entry| Self::waits_for_use(entry, used));
        let follows = match (follow, relays) {
            (false, _) => None,
            (true, true) => Some(Follows::Relays),
            (true, false) => Some(Follows::Older),
        };
        let number = self.of(place).map(|entry| entry.number).max().unwrap_or(0).saturating_add(1);
        let place = place.clone();
        self.entries.push(Entry {
            place,
            number,
            hash,
            created_us: now_us,
            follows,
            retired_us: None,
        });
        Ok(number)
    }

    /// Retires one, or forgets one that is retired. Returns whether it was valid.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn remove(
        &mut self,
        place: &Place,
        number: u32,
        now_us: i64,
    ) -> Result<bool, Unchanged> {
        let is = |entry: &Entry| entry.place == *place && entry.number == number;
        let found = self.entries.iter().find(|entry| is(entry));
        let found = found.ok_or_else(|| Unchanged::Unknown(place.clone(), number))?;
        let valid = found.is_valid();
        if valid {
            self.retire(place, number, now_us);
        } else {
            self.entries.retain(|entry| !is(entry));
        }
        Ok(valid)
    }

    /// It opens nothing from now on, and is remembered for a while.
    pub(super) fn retire(&mut self, place: &Place, number: u32, now_us: i64) {
        for entry in &mut self.entries {
            if entry.place == *place && entry.number == number {
                entry.retired_us.get_or_insert(now_us);
            }
        }
        let retired: Vec<u32> =
            self.of(place).filter(|entry| !entry.is_valid()).map(|entry| entry.number).collect();
        let surplus = retired.len().saturating_sub(MAX_RETIRED);
        let forgotten = retired.get(..surplus).unwrap_or_default();
        self.entries.retain(|entry| {
            entry.place != *place || entry.is_valid() || !forgotten.contains(&entry.number)
        });
    }

    /// Which are to be retired now: the camera has used the one that follows for a day, and these not at all. Those of
    /// all cameras are retired by hand: one that is switched off may have none but the old one.
    pub(super) fn due(&self, used: &Used, now_us: i64) -> Vec<Entry> {
        let settled = |new: &Entry, old: &Entry| {
            let Some((first, last)) = used.span(&new.name()) else { return false };
            let old_last = used.span(&old.name()).map_or(i64::MIN, |(_, last)| last);
            new.follows == Some(Follows::Older)
                && last.saturating_sub(first) >= SETTLED_US
                && old_last.saturating_add(SETTLED_US) <= now_us
        };
        let valid = || self.entries.iter().filter(|e| e.is_valid() && e.place != Place::All);
        let follower = |old: &Entry| {
            let mut later = valid().filter(|e| e.place == old.place && e.number > old.number);
            later.any(|new| settled(new, old))
        };
        valid().filter(|old| follower(old)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600 * 1_000_000;

    fn garden() -> Place {
        Place::Camera("garden".parse().unwrap())
    }

    fn add(list: &mut List, place: &Place, n: u8, follow: bool) -> Result<u32, Unchanged> {
        list.add(place, [n; 32], i64::from(n), follow, &Used::default())
    }

    fn use_it(used: &mut Used, n: u8, at: i64) {
        used.note(&to_hex(&[n; 8]), &"garden".parse().unwrap(), at);
    }

    #[test]
    fn it_is_kept_as_it_is() {
        let mut list = List::default();
        add(&mut list, &Place::All, 1, false).unwrap();
        add(&mut list, &garden(), 2, true).unwrap();
        list.retire(&Place::All, 1, 9);
        assert_eq!(List::parse(&list.to_json()), Ok(list));
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"passwords":[{"number":1,"hash":"00","created_us":1}]}"#,
            r#"{"passwords":[{"camera":"Garden 1","number":1,"hash":"00","created_us":1}]}"#,
        ] {
            assert!(List::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_are_valid_at_once_and_two_retired_ones_are_remembered() {
        let mut list = List::default();
        for n in 1..=9 {
            assert_eq!(add(&mut list, &garden(), n, true), Ok(u32::from(n)));
            if n > 1 {
                let refused = add(&mut list, &garden(), 99, true);
                assert_eq!(refused, Err(Unchanged::TwoValid(garden())));
                assert_eq!(list.remove(&garden(), u32::from(n) - 1, 7), Ok(true));
            }
        }
        let numbers: Vec<u32> = list.of(&garden()).map(|entry| entry.number).collect();
        assert_eq!(numbers, [7, 8, 9]);
        assert_eq!(list.remove(&garden(), 8, 8), Ok(false), "forgotten");
        assert_eq!(list.remove(&garden(), 8, 8), Err(Unchanged::Unknown(garden(), 8)));
        assert_eq!(list.remove(&Place::All, 9, 8), Err(Unchanged::Unknown(Place::All, 9)));
    }

    #[test]
    fn a_cameras_own_replace_the_relays_at_once_or_when_they_are_used() {
        let camera: CameraId = "garden".parse().unwrap();
        let none = Used::default();
        let mut list = List::default();
        assert!(list.relays_too(&camera, &none));
        add(&mut list, &garden(), 1, false).unwrap();
        assert!(!list.relays_too(&camera, &none));
        let mut list = List::default();
        add(&mut list, &garden(), 1, true).unwrap();
        assert!(list.relays_too(&camera, &none));
        assert!(list.relays_too(&"door".parse().unwrap(), &none));
        let mut used = Used::default();
        use_it(&mut used, 1, 5);
        assert!(!list.relays_too(&camera, &used));
        // Another one beside it changes nothing.
        add(&mut list, &garden(), 2, true).unwrap();
        assert!(list.relays_too(&camera, &none) && !list.relays_too(&camera, &used));
        list.retire(&garden(), 1, 1);
        assert!(list.relays_too(&camera, &none));
    }

    #[test]
    fn the_old_one_is_retired_when_the_camera_has_moved_on() {
        let mut list = List::default();
        add(&mut list, &garden(), 1, false).unwrap();
        add(&mut list, &garden(), 2, true).unwrap();
        let due = |list: &List, used: &Used, hours: i64| -> Vec<u32> {
            list.due(used, hours * HOUR).into_iter().map(|entry| entry.number).collect()
        };
        let mut used = Used::default();
        use_it(&mut used, 1, 0);
        assert_eq!(due(&list, &used, 10_000), [] as [u32; 0], "the new one was never used");
        // Somebody tries it, once.
        use_it(&mut used, 2, 10 * HOUR);
        assert_eq!(due(&list, &used, 10_000), [] as [u32; 0]);
        use_it(&mut used, 1, 20 * HOUR);
        use_it(&mut used, 2, 34 * HOUR);
        assert_eq!(due(&list, &used, 43), [] as [u32; 0], "the old one was used since");
        assert_eq!(due(&list, &used, 44), [1]);
        let by_hand = list.clone();
        list.retire(&garden(), 1, 44 * HOUR);
        assert_eq!(due(&list, &used, 45), [] as [u32; 0]);
        // One that was added beside it is no rotation.
        let mut beside = by_hand;
        beside.entries[1].follows = None;
        assert_eq!(due(&beside, &used, 10_000), [] as [u32; 0]);
        for entry in &mut beside.entries {
            (entry.place, entry.follows) = (Place::All, Some(Follows::Older));
        }
        assert_eq!(due(&beside, &used, 10_000), [] as [u32; 0], "by hand only");
    }
}
