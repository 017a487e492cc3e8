//! Signed links: `?key=1.garden.1798761600.MAC` opens one camera until a moment. Pure.
//!
//! Whoever has the link has the view; nothing is kept of it. All links end when the relay's key for them is another.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use frame::CameraId;
use subtle::ConstantTimeEq;

use super::key::Key;

/// What stands first.
const VERSION: &str = "1";

/// Of the HMAC-SHA-256's 32 bytes: nobody guesses 128 bits.
const MAC: usize = 16;

/// The longest that is looked at.
const MAX_LEN: usize = 128;

/// A link's end, as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub camera: CameraId,
    /// Seconds since the Unix epoch.
    pub expires_s: i64,
}

impl Link {
    /// As it stands behind `?key=`.
    pub(super) fn to_text(&self, key: &Key) -> String {
        let Link { camera, expires_s } = self;
        let signed = format!("{VERSION}.{camera}.{expires_s}");
        format!("{signed}.{}", mac(key, &signed))
    }
}

/// The link behind `?key=`. `None`: it has run out, or was revoked, or nobody signed it; which one it is, is not to be
/// told apart once the key is another.
pub(super) fn check(text: &str, key: Option<&Key>, now_s: i64) -> Option<Link> {
    let (signed, given, link) = read(text)?;
    let right: bool = mac(key?, signed).as_bytes().ct_eq(given.as_bytes()).into();
    (right && now_s < link.expires_s).then_some(link)
}

/// What is signed, the signature, and what it says.
fn read(text: &str) -> Option<(&str, &str, Link)> {
    if text.len() > MAX_LEN {
        return None;
    }
    let (signed, given) = text.rsplit_once('.')?;
    let mut parts = signed.split('.');
    let (version, camera, expires) = (parts.next()?, parts.next()?, parts.next()?);
    if version != VERSION || parts.next().is_some() {
        return None;
    }
    let link = Link { camera: camera.parse().ok()?, expires_s: expires.parse().ok()? };
    Some((signed, given, link))
}

fn mac(key: &Key, signed: &str) -> String {
    let whole = key.sign("link", signed);
    URL_SAFE_NO_PAD.encode(whole.get(..MAC).unwrap_or(&whole))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link() -> Link {
        Link { camera: "garden".parse().unwrap(), expires_s: 1_000 }
    }

    #[test]
    fn a_link_is_good_until_its_end_and_for_its_key_only() {
        let (key, other) = (Key::random().unwrap(), Key::random().unwrap());
        let text = link().to_text(&key);
        assert_eq!(text.rsplit('.').next().unwrap().len(), 22, "128 bits: {text}");
        for (text, key, now, expected) in [
            (text.clone(), Some(&key), 999, Some(link())),
            (text.clone(), Some(&key), 1_000, None),
            (text.clone(), Some(&other), 999, None),
            (text.clone(), None, 999, None),
            (text.replace("1000", "2000"), Some(&key), 999, None),
            (text.replace("garden", "door"), Some(&key), 999, None),
            (text.replace("1.garden", "2.garden"), Some(&key), 999, None),
            (text.replace("1.garden", "1.a.garden"), Some(&key), 999, None),
            (format!("{text}A"), Some(&key), 999, None),
            (text.replace("1000", "01000"), Some(&key), 999, None),
            ("1".repeat(10_000), Some(&key), 999, None),
        ] {
            assert_eq!(check(&text, key, now), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_gets_in(text in "(1|\\.|garden|[0-9]{1,5}|\\PC){0,12}") {
            let key = Key::random().unwrap();
            prop_assert_eq!(check(&text, Some(&key), 0), None);
        }
    }
}
