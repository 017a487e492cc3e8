use std::path::Path;
use std::time::Duration;

use http::HeaderValue;
use testbed::eventually::becomes_true;
use testbed::program::SOON;

use super::list::List;
use super::used::Used;
use super::*;
use crate::metrics::Metrics;

fn id(text: &str) -> CameraId {
    text.parse().unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

async fn start(data: &Path, relay: Option<&str>) -> Arc<Access> {
    let config = AccessConfig {
        data_dir: data.into(),
        password: relay.map(secret),
        own: BTreeMap::from([(id("garden"), secret("own"))]),
        owner: None,
        view: None,
        view_own: BTreeMap::new(),
        hosts: Hosts::default(),
    };
    let (access, looked) = Access::start(&config, Metrics::new().unwrap().guesses).unwrap();
    looked.await.unwrap();
    access
}

async fn upload(access: &Access, camera: &str, query: &str) -> Result<(), Refused> {
    access.upload(Some(&id(camera)), &HeaderMap::new(), query, PEER).await
}

/// Writes a list with these passwords, and their key.
fn keep(folder: &Folder, passwords: &[(&str, Place, bool)]) -> List {
    let locked = folder.lock().unwrap();
    let key = match folder.read().unwrap().key {
        Some(key) => key,
        None => locked.new_password_key().unwrap(),
    };
    let mut list = folder.read().unwrap().list;
    for (password, place, follow) in passwords {
        list.add(place, key.hash(password), clock::wall_us(), *follow, &Used::default()).unwrap();
    }
    locked.write_list(&list).unwrap();
    list
}

#[tokio::test]
async fn who_may_upload() {
    let data = tempfile::tempdir().unwrap();
    let access = start(data.path(), Some("p&ss wörd")).await;
    let right = "password=p%26ss+w%C3%B6rd";
    for (n, (camera, authorization, query, expected)) in [
        ("default", "", right, Ok(())),
        ("default", "", "a=b&password=p%26ss%20w%C3%B6rd&c", Ok(())),
        ("default", "", "", Err(Refused::Password)),
        ("default", "", "password", Err(Refused::Password)),
        ("default", "", "password=", Err(Refused::Password)),
        ("default", "", "password=p%26ss", Err(Refused::Password)),
        ("default", "", "password=own", Err(Refused::Password)),
        ("default", "", "password=%ff%00", Err(Refused::Password)),
        ("default", "", "Password=own", Err(Refused::Password)),
        // The first counts: appending a guess to a URL changes nothing.
        ("default", "", "password=x&password=p%26ss+w%C3%B6rd", Err(Refused::Password)),
        ("new", "", right, Ok(())),
        ("garden", "", "password=own", Ok(())),
        ("garden", "", right, Err(Refused::Password)),
        ("garden", "Bearer own", "", Ok(())),
        ("garden", "bearer  own ", "", Ok(())),
        ("garden", "Bearer wrong", "password=own", Err(Refused::Token)),
        ("garden", "Bearer ", "password=own", Err(Refused::Token)),
        // A proxy's own credentials are not meant for us.
        ("garden", "Basic b3du", "password=own", Ok(())),
    ]
    .into_iter()
    .enumerate()
    {
        let mut headers = HeaderMap::new();
        if !authorization.is_empty() {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
        }
        // From another address each: none of them is slowed down.
        let peer = IpAddr::from([192, 0, 2, u8::try_from(n).unwrap()]);
        let found = access.upload(Some(&id(camera)), &headers, query, peer).await;
        assert_eq!(found, expected, "{camera} {authorization:?} {query:?}");
    }
    // What all cameras may have takes any password.
    for (query, expected) in [
        ("password=own", Ok(())),
        (right, Ok(())),
        ("password=ow", Err(Refused::Password)),
        ("", Err(Refused::Password)),
    ] {
        let found = access.upload(None, &HeaderMap::new(), query, PEER).await;
        assert_eq!(found, expected, "{query}");
    }
}

#[tokio::test]
async fn without_a_password_nobody_may() {
    let data = tempfile::tempdir().unwrap();
    let access = start(data.path(), None).await;
    for query in ["password=", "password=x", ""] {
        assert_eq!(upload(&access, "default", query).await, Err(Refused::Password), "{query}");
    }
}

#[tokio::test]
async fn passwords_that_are_kept_by_their_hash() {
    let data = tempfile::tempdir().unwrap();
    let folder = Folder::in_data(data.path());
    let door = Place::Camera(id("door"));
    keep(
        &folder,
        &[
            ("shared", Place::All, false),
            ("doors", door.clone(), false),
            ("gardens", Place::Camera(id("garden")), false),
        ],
    );
    let access = start(data.path(), Some("plain")).await;
    for (camera, given, right) in [
        ("default", "plain", true),
        ("default", "shared", true),
        ("default", "doors", false),
        ("door", "doors", true),
        ("door", "shared", false),
        ("door", "plain", false),
        // Beside what the configuration names, which replaces the relay's as well.
        ("garden", "own", true),
        ("garden", "gardens", true),
        ("garden", "shared", false),
    ] {
        let found = upload(&access, camera, &format!("password={given}")).await;
        assert_eq!(found.is_ok(), right, "{camera} {given}");
    }
    let any = |given: &'static str| {
        let access = Arc::clone(&access);
        async move { access.upload(None, &HeaderMap::new(), given, PEER).await.is_ok() }
    };
    assert!(any("password=doors").await && !any("password=door").await);
}

#[tokio::test]
async fn a_rotation_takes_effect_by_itself_and_loses_nobody() {
    let data = tempfile::tempdir().unwrap();
    let folder = Folder::in_data(data.path());
    let door = Place::Camera(id("door"));
    let access = start(data.path(), Some("plain")).await;
    assert_eq!(upload(&access, "door", "password=plain").await, Ok(()));
    keep(&folder, &[("first", door.clone(), true)]);
    let tries = async |given: &str, right: bool| {
        for _ in 0..600 {
            if upload(&access, "door", &format!("password={given}")).await.is_ok() == right {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    };
    assert!(tries("plain", true).await, "until its own is used");
    assert!(tries("first", true).await, "the relay sees the list by itself");
    assert!(tries("plain", false).await, "it is used now");
    let name = keep(&folder, &[("second", door.clone(), true)]).all()[0].name();
    assert!(tries("second", true).await && tries("first", true).await, "two at once");
    // A retired one opens nothing, and it is noted that it is tried.
    let locked = folder.lock().unwrap();
    let mut list = folder.read().unwrap().list;
    list.remove(&door, 1, clock::wall_us()).unwrap();
    locked.write_list(&list).unwrap();
    drop(locked);
    assert!(tries("first", false).await && tries("second", true).await);
    becomes_true("its use in the file", SOON, || {
        folder.read().unwrap().used.cameras(&name).any(|(camera, _)| *camera == id("door"))
    });
}

#[tokio::test]
async fn what_cannot_be_read_lets_nobody_in_that_it_should_not() {
    let data = tempfile::tempdir().unwrap();
    let folder = Folder::in_data(data.path());
    keep(&folder, &[("doors", Place::Camera(id("door")), false)]);
    let file = data.path().join("access/passwords.json");
    let good = std::fs::read(&file).unwrap();
    std::fs::write(&file, "{").unwrap();
    let access = start(data.path(), Some("plain")).await;
    // Nobody knows whether the door has a password of its own; the garden has.
    assert_eq!(upload(&access, "door", "password=plain").await, Err(Refused::NotReady));
    assert_eq!(upload(&access, "garden", "password=own").await, Ok(()));
    assert_eq!(std::fs::read(&file).unwrap(), b"{", "it is not touched");
    std::fs::write(&file, &good).unwrap();
    for _ in 0..600 {
        if upload(&access, "door", "password=doors").await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(upload(&access, "door", "password=plain").await, Err(Refused::Password));
    // Later damage changes nothing.
    std::fs::write(&file, "{").unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(upload(&access, "door", "password=doors").await, Ok(()));
}

#[tokio::test]
async fn guessing_is_slowed_down_and_a_camera_is_not() {
    let data = tempfile::tempdir().unwrap();
    let (access, looked) = {
        let config = AccessConfig {
            data_dir: data.path().into(),
            password: Some(secret("right")),
            own: BTreeMap::new(),
            owner: Some(secret("owner")),
            view: None,
            view_own: BTreeMap::new(),
            hosts: Hosts::default(),
        };
        Access::start(&config, Metrics::new().unwrap().guesses).unwrap()
    };
    looked.await.unwrap();
    let stranger: IpAddr = "198.51.100.1".parse().unwrap();
    let from = async |peer: IpAddr, given: &str| {
        let began = clock::mono();
        let (camera, query) = (id("a"), format!("password={given}"));
        let found = access.upload(Some(&camera), &HeaderMap::new(), &query, peer).await;
        (found, clock::mono().since(began))
    };
    let mut refused = 0;
    for _ in 0..50 {
        refused += u32::from(from(stranger, "wrong").await.0 == Err(Refused::Throttled));
    }
    assert!(refused >= 35, "{refused}");
    assert_eq!(from(stranger, "right").await.0, Err(Refused::Throttled), "not even compared");
    assert_eq!(from(PEER, "right").await.0, Ok(()));
    let mut late = 0;
    for _ in 0..12 {
        let (found, took) = from(PEER, "wrong").await;
        assert_eq!(found, Err(Refused::Password), "always compared");
        late += u32::from(took >= Duration::from_secs(1));
        assert_eq!(from(PEER, "right").await.0, Ok(()), "and never late");
    }
    assert!((1..=2).contains(&late), "{late}");
    // Asking without a password is no guess.
    for _ in 0..50 {
        let nothing = access.upload(Some(&id("a")), &HeaderMap::new(), "", stranger).await;
        assert_eq!(nothing, Err(Refused::Password));
    }
}

#[tokio::test]
async fn damaged_uses_stop_no_uploads() {
    let data = tempfile::tempdir().unwrap();
    let folder = Folder::in_data(data.path());
    let name = keep(&folder, &[("doors", Place::Camera(id("door")), false)]).all()[0].name();
    std::fs::write(data.path().join("access/used.json"), "{").unwrap();
    let access = start(data.path(), Some("plain")).await;
    assert_eq!(upload(&access, "door", "password=doors").await, Ok(()));
    assert_eq!(upload(&access, "shed", "password=plain").await, Ok(()));
    becomes_true("its use in the file", SOON, || {
        folder.read().unwrap().used.cameras(&name).any(|(camera, _)| *camera == id("door"))
    });
    let aside = data.path().join("access/used.json.damaged");
    assert_eq!(std::fs::read_to_string(aside).unwrap(), "{");
}

fn basic_auth(password: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.typed_insert(Authorization::basic("anybody", password));
    headers
}

#[tokio::test]
async fn the_owners_password_is_guessed_late_from_the_owners_address() {
    let data = tempfile::tempdir().unwrap();
    let config = AccessConfig {
        data_dir: data.path().into(),
        password: None,
        own: BTreeMap::new(),
        owner: Some(secret("owner")),
        view: Some(secret("view")),
        view_own: BTreeMap::new(),
        hosts: Hosts::default(),
    };
    let (access, looked) = Access::start(&config, Metrics::new().unwrap().guesses).unwrap();
    looked.await.unwrap();
    access.owner(&basic_auth("owner"), PEER).await.unwrap();
    let guess = |access: Arc<Access>, password: &'static str, peer: IpAddr| async move {
        let began = clock::mono();
        let eyes = access.eyes(&basic_auth(password), "", peer, Some(&id("garden"))).await;
        (eyes.sees(&access, &id("garden")), clock::mono().since(began))
    };
    // By the pages of private cameras, which have compared what they may: all at once.
    let mut guesses = tokio::task::JoinSet::new();
    for _ in 0..40 {
        guesses.spawn(guess(Arc::clone(&access), "wrong", PEER));
    }
    let all = guesses.join_all().await;
    let late = all.iter().filter(|(_, took)| *took >= Duration::from_secs(1)).count();
    assert!(all.iter().all(|(seen, _)| !seen) && late >= 20, "{late} of {}", all.len());
    // The owner is heard all the same, a stranger is not.
    assert!(guess(Arc::clone(&access), "owner", PEER).await.0);
    let stranger: IpAddr = "198.51.100.1".parse().unwrap();
    for _ in 0..40 {
        guess(Arc::clone(&access), "wrong", stranger).await;
    }
    assert!(!guess(Arc::clone(&access), "owner", stranger).await.0, "not even compared");
}
