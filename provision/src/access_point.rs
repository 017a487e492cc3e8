//! The setup access point's name and password: made once, at random, for this card.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use frame::CameraId;
use runtime::files::{Survives, keep_secret};

/// In `--state`: the password.
const KEPT: &str = "setup.password";

/// From /run on: name and password, one line each, as long as there is no configuration. The unit of the
/// access point starts only if it is there.
pub(crate) const OFFERED: &str = "stillwatch/access-point";

/// Letters and digits that nobody takes for others, wherever they are printed.
const LETTERS: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// Groups of four: 59 bits. Who has recorded a phone that joins can try passwords at home.
const GROUPS: usize = 3;

/// IEEE 802.11.
const MAX_NAME: usize = 32;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessPoint {
    pub name: String,
    pub password: String,
}

impl AccessPoint {
    /// The one of a camera of this name. `given` is the password on the card, for who prints labels; else
    /// it is the one that is kept in `state`, or a new one.
    pub(crate) fn find(state: &Path, camera: &CameraId, given: Option<&str>) -> AccessPoint {
        let mut name = format!("stillwatch-{camera}");
        name.truncate(MAX_NAME);
        let password = given.map_or_else(|| kept(state), str::to_owned);
        AccessPoint { name, password }
    }

    /// What a keeper is to open.
    pub(crate) fn read(run: &Path) -> Result<AccessPoint, String> {
        let path = run.join(OFFERED);
        let text = fs::read_to_string(&path).unwrap_or_default();
        match text.lines().collect::<Vec<_>>().as_slice() {
            [name, password] => {
                Ok(AccessPoint { name: (*name).to_owned(), password: (*password).to_owned() })
            }
            _ => Err(path.display().to_string()),
        }
    }

    /// For the keeper.
    pub(crate) fn offered(&self) -> String {
        format!("{}\n{}\n", self.name, self.password)
    }
}

/// What a WiFi password may be: 8 to 63 printable ASCII characters (IEEE 802.11, annex J).
pub(crate) fn is_password(text: &str) -> bool {
    (8..=63).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

fn kept(state: &Path) -> String {
    let path = state.join(KEPT);
    if let Ok(text) = fs::read_to_string(&path)
        && is_password(text.trim())
    {
        return text.trim().to_owned();
    }
    let made = match random() {
        Ok(made) => made,
        Err(error) => {
            // Without chance there is no password, and without one no access point: none that is known.
            tracing::error!("/dev/urandom: {error}: no setup access point");
            return String::new();
        }
    };
    let folder = fs::create_dir_all(state);
    let written = folder
        .and_then(|()| keep_secret(&path, format!("{made}\n").as_bytes(), Survives::PowerCut));
    if let Err(error) = written {
        let path = path.display();
        tracing::warn!("{path}: {error}: the setup access point gets another password each time");
    }
    made
}

/// `abcd-efgh-jkmn`.
fn random() -> io::Result<String> {
    let mut source = File::open("/dev/urandom")?;
    let mut letters = Vec::new();
    while letters.len() < GROUPS * 4 {
        let mut byte = [0];
        source.read_exact(&mut byte)?;
        // Five bits are 0 to 31: the one that has no letter is drawn again, so that all are as likely.
        letters.extend(LETTERS.get(usize::from(byte[0] & 31)).copied().map(char::from));
    }
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    Ok(groups.join("-"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn camera(name: &str) -> CameraId {
        name.parse().unwrap()
    }

    #[test]
    fn a_password_is_made_once_and_differs_from_card_to_card() {
        let states = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, other] = [0, 1].map(|at| {
            let state = states[at].path().join("provision");
            let first = AccessPoint::find(&state, &camera("camera"), None);
            assert_eq!(AccessPoint::find(&state, &camera("camera"), None), first);
            let mode = fs::metadata(state.join(KEPT)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            first
        });
        assert_ne!(one.password, other.password);
        assert!(is_password(&one.password) && one.password.len() == 14, "{one:?}");
        let letters = |text: &str| text.bytes().all(|b| b == b'-' || LETTERS.contains(&b));
        assert!(letters(&one.password) && letters(&other.password));
    }

    #[test]
    fn the_cards_own_password_wins_and_a_torn_one_is_made_anew() {
        let state = tempfile::tempdir().unwrap();
        let id = camera("garden");
        let given = AccessPoint::find(state.path(), &id, Some("printed on the label"));
        assert_eq!(given.password, "printed on the label");
        assert!(!state.path().join(KEPT).exists());
        fs::write(state.path().join(KEPT), "abc").unwrap();
        assert!(is_password(&AccessPoint::find(state.path(), &id, None).password));
    }

    #[test]
    fn what_is_offered_is_read() {
        let run = tempfile::tempdir().unwrap();
        assert!(AccessPoint::read(run.path()).is_err());
        let id = camera("a-very-long-name-of-a-camera-1");
        let ours = AccessPoint::find(run.path(), &id, None);
        assert_eq!(ours.name.len(), MAX_NAME);
        fs::create_dir(run.path().join("stillwatch")).unwrap();
        fs::write(run.path().join(OFFERED), ours.offered()).unwrap();
        assert_eq!(AccessPoint::read(run.path()), Ok(ours));
    }
}
