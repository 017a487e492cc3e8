//! Which update a camera gets, if any. Pure.

use frame::CameraId;
use frame::update::Offer;
use frame::version::Version;
use ring::digest::{SHA256, digest};

use super::index::{Channel, Published};
use super::standing::{Standing, Wish};

/// A camera that asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asks<'a> {
    pub camera: &'a CameraId,
    /// What its system runs on.
    pub compatible: &'a str,
    /// Which it has.
    pub version: &'a Version,
    /// Where it gets its updates from.
    pub channel: &'a Channel,
    /// What is known of it.
    pub standing: &'a Standing,
}

impl Asks<'_> {
    /// The newest of these that it may have, if that is newer than what it has. Who wants it now waits for no
    /// share and no pause, and asks on purpose for what it rejected.
    pub(crate) fn offer<'a>(&self, published: &'a [Published]) -> Option<&'a Published> {
        let now = self.standing.wish == Some(Wish::Start);
        if self.standing.wish == Some(Wish::Hold) {
            return None;
        }
        let open = |update: &&Published| {
            update.paused.is_none()
                && is_in_share(self.camera, &update.version, update.percent)
                && !self.standing.has_rejected(&update.version)
        };
        self.newer(published)
            .filter(|update| now || open(update))
            .max_by(|one, other| one.version.cmp(&other.version))
    }

    /// All that are meant for it, whether or not it may have them now.
    pub(crate) fn newer<'a>(
        &self,
        published: &'a [Published],
    ) -> impl Iterator<Item = &'a Published> {
        published.iter().filter(|update| {
            update.channel == *self.channel
                && update.compatible == self.compatible
                && update.version > *self.version
        })
    }

    /// As it goes over the wire.
    pub(crate) fn wire(&self, update: &Published) -> Offer {
        Offer {
            version: update.version.clone(),
            compatible: update.compatible.clone(),
            bytes: update.bytes,
            sha256: update.sha256.clone(),
            path: format!("/updates/{}.raucb", update.sha256),
            now: self.standing.wish == Some(Wish::Start),
        }
    }
}

/// Whether a camera is among the first `percent` of a hundred. It has its place by what never changes, so that
/// a greater share has all of a smaller one, and another place in the next version: nobody is always the first.
fn is_in_share(camera: &CameraId, version: &Version, percent: u8) -> bool {
    let hash = digest(&SHA256, format!("{camera}\n{version}").as_bytes());
    let first = hash.as_ref().first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(first) % 100 < u64::from(percent)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::updates::standing::Rejection;

    const OLD: &str = "0.1.0-20261128.0312";
    const NEW: &str = "0.2.0-20261201.0000";
    const NEWER: &str = "0.3.0-20261224.1200";

    /// The smallest shares that have the cameras camera-0 to camera-2.
    const PLACES: [u8; 3] = [75, 13, 41];

    fn published(version: &str) -> Published {
        Published {
            version: version.parse().unwrap(),
            compatible: "stillwatch-debian".to_owned(),
            bytes: 1,
            sha256: "0f".repeat(32),
            channel: Channel::default(),
            percent: 100,
            paused: None,
        }
    }

    fn offered(standing: &Standing, published: &[Published]) -> Option<String> {
        let asks = Asks {
            camera: &"garden".parse().unwrap(),
            compatible: "stillwatch-debian",
            version: &OLD.parse().unwrap(),
            channel: &Channel::default(),
            standing,
        };
        asks.offer(published).map(|update| update.version.to_string())
    }

    fn wishes(wish: Wish) -> Standing {
        Standing { wish: Some(wish), ..Standing::default() }
    }

    fn rejected(version: &str) -> Standing {
        let rejection =
            Rejection { version: version.parse().unwrap(), why: String::new(), ran: true };
        Standing { rejected: vec![rejection], ..Standing::default() }
    }

    #[test]
    fn the_newest_that_fits_is_offered_and_never_an_older_one() {
        let nothing = Standing::default();
        assert_eq!(offered(&nothing, &[]), None);
        assert_eq!(offered(&nothing, &[published(OLD)]), None);
        assert_eq!(offered(&nothing, &[published("0.0.9-20270101.0000")]), None);
        let both = [published(NEWER), published(NEW)];
        assert_eq!(offered(&nothing, &both).as_deref(), Some(NEWER));
        let beta = Published { channel: "beta".parse().unwrap(), ..published(NEWER) };
        assert_eq!(offered(&nothing, std::slice::from_ref(&beta)), None);
        assert_eq!(offered(&nothing, &[beta, published(NEW)]).as_deref(), Some(NEW));
        let other = Published { compatible: "stillwatch-bare".to_owned(), ..published(NEWER) };
        assert_eq!(offered(&nothing, &[other]), None);
    }

    #[test]
    fn who_may_not_have_it_gets_the_newest_that_it_may_have() {
        let nothing = Standing::default();
        let closed = Published { percent: 0, ..published(NEWER) };
        assert_eq!(offered(&nothing, std::slice::from_ref(&closed)), None);
        assert_eq!(offered(&nothing, &[closed, published(NEW)]).as_deref(), Some(NEW));
        let paused = Published { paused: Some("it is bad".to_owned()), ..published(NEWER) };
        assert_eq!(offered(&nothing, &[paused, published(NEW)]).as_deref(), Some(NEW));
        let both = [published(NEWER), published(NEW)];
        assert_eq!(offered(&rejected(NEWER), &both).as_deref(), Some(NEW));
        assert_eq!(offered(&rejected(NEWER), &both[..1]), None);
    }

    #[test]
    fn the_owners_word_counts() {
        assert_eq!(offered(&wishes(Wish::Hold), &[published(NEW)]), None);
        let paused = Some("it is bad".to_owned());
        let closed = [Published { percent: 0, paused, ..published(NEW) }];
        assert_eq!(offered(&wishes(Wish::Start), &closed).as_deref(), Some(NEW));
        assert_eq!(offered(&wishes(Wish::Start), &[published(OLD)]), None);
        let again = Standing { wish: Some(Wish::Start), ..rejected(NEW) };
        assert_eq!(offered(&again, &[published(NEW)]).as_deref(), Some(NEW));
    }

    #[test]
    fn a_share_is_about_as_large_as_it_says() {
        let version = NEW.parse().unwrap();
        let cameras: Vec<CameraId> =
            (0..2_000).map(|n| format!("camera-{n}").parse().unwrap()).collect();
        for (percent, least, most) in [(0, 0, 0), (10, 140, 260), (50, 900, 1_100)] {
            let count = cameras.iter().filter(|c| is_in_share(c, &version, percent)).count();
            assert!((least..=most).contains(&count), "{percent} %: {count} of 2000");
        }
        assert!(cameras.iter().all(|camera| is_in_share(camera, &version, 100)));
        // For ever: cameras of a share that moved would be other ones after the relay's own update.
        let places: Vec<u8> = cameras
            .iter()
            .take(3)
            .map(|c| (0..=100).find(|p| is_in_share(c, &version, *p)).unwrap())
            .collect();
        assert_eq!(places, PLACES);
    }

    fn any_published() -> impl Strategy<Value = Published> {
        let names = prop::sample::select(vec!["stillwatch-debian", "stillwatch-bare"]);
        let channels = prop::sample::select(vec!["stable", "beta"]);
        let paused = prop::option::of(Just("it is bad".to_owned()));
        (0_u32..9, names, channels, 0_u8..=100, paused).prop_map(
            |(minor, compatible, channel, percent, paused)| Published {
                compatible: compatible.to_owned(),
                channel: channel.parse().unwrap(),
                percent,
                paused,
                ..published(&format!("0.{minor}.0-1.1"))
            },
        )
    }

    proptest! {
        #[test]
        fn whatever_is_published_nobody_gets_what_is_not_meant_for_it(
            all in prop::collection::vec(any_published(), 0..12),
            has in 0_u32..9, rejects in 0_u32..9,
            wish in prop::sample::select(vec![None, Some(Wish::Start), Some(Wish::Hold)]),
        ) {
            let standing = Standing { wish, ..rejected(&format!("0.{rejects}.0-1.1")) };
            let asks = Asks {
                camera: &"garden".parse().unwrap(),
                compatible: "stillwatch-debian",
                version: &format!("0.{has}.0-1.1").parse().unwrap(),
                channel: &Channel::default(),
                standing: &standing,
            };
            let newest = asks.newer(&all).map(|update| &update.version).max();
            let Some(offered) = asks.offer(&all) else {
                prop_assert!(wish != Some(Wish::Start) || newest.is_none());
                return Ok(());
            };
            prop_assert!(wish != Some(Wish::Hold));
            prop_assert!(offered.version > *asks.version && offered.compatible == asks.compatible);
            prop_assert_eq!(&offered.channel, asks.channel);
            if wish == Some(Wish::Start) {
                prop_assert_eq!(Some(&offered.version), newest);
            } else {
                let known_bad = standing.has_rejected(&offered.version);
                prop_assert!(offered.paused.is_none() && !known_bad && offered.percent > 0);
            }
        }

        #[test]
        fn a_greater_share_has_all_of_a_smaller_one(
            camera in "[a-z0-9][a-z0-9-]{0,31}", made in 0_u32..99_999_999, one in 0_u8..=100, other in 0_u8..=100,
        ) {
            let camera: CameraId = camera.parse().unwrap();
            let version = format!("0.1.0-{made}.0000").parse().unwrap();
            let (less, more) = (one.min(other), one.max(other));
            if is_in_share(&camera, &version, less) {
                prop_assert!(is_in_share(&camera, &version, more));
            }
        }
    }
}
