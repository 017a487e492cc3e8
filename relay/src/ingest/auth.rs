//! Who may upload: passwords, compared in a time that tells nothing about them.

use std::collections::BTreeMap;

use frame::CameraId;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use runtime::secret::Secret;

use crate::board::Refused;
use crate::password::Padded;

/// All passwords: one for the relay, and of cameras that have their own.
pub(crate) struct Passwords {
    relay: Option<Padded>,
    cameras: BTreeMap<CameraId, Padded>,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passwords(…)")
    }
}

impl Passwords {
    /// Secrets longer than [`crate::password::MAX_PASSWORD`] are refused by `config.rs`; here they fit nobody.
    pub(crate) fn new<'a>(
        relay: Option<&Secret>,
        cameras: impl Iterator<Item = (&'a CameraId, &'a Secret)>,
    ) -> Passwords {
        let padded = |secret: &Secret| Padded::new(secret.expose());
        Passwords {
            relay: relay.and_then(padded),
            cameras: cameras.filter_map(|(id, own)| Some((id.clone(), padded(own)?))).collect(),
        }
    }

    /// Whether a request knows any camera's password, for what all cameras may have.
    pub(crate) fn check_any(&self, headers: &HeaderMap, query: &str) -> Result<(), Refused> {
        // Each is compared: how long that takes must not tell which one it is.
        let fits = |given: &str| {
            let all = self.relay.iter().chain(self.cameras.values());
            all.fold(false, |fits, right| right.is(given) | fits)
        };
        given(headers, query, fits)
    }

    /// Whether a request may upload for `camera`. A bearer token counts if there is one, else the
    /// query's `password`, as in the tutorial.
    pub(crate) fn check(
        &self,
        camera: &CameraId,
        headers: &HeaderMap,
        query: &str,
    ) -> Result<(), Refused> {
        // A camera's own password replaces the relay's for it.
        let right = self.cameras.get(camera).or(self.relay.as_ref());
        given(headers, query, |given| right.is_some_and(|right| right.is(given)))
    }
}

fn given(headers: &HeaderMap, query: &str, fits: impl Fn(&str) -> bool) -> Result<(), Refused> {
    if let Some(token) = bearer(headers) {
        return if fits(token) { Ok(()) } else { Err(Refused::Token) };
    }
    let given = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "password");
    if given.is_some_and(|(_, given)| fits(&given)) { Ok(()) } else { Err(Refused::Password) }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn passwords() -> Passwords {
        let (relay, own) = (Secret::new("p&ss wörd").unwrap(), Secret::new("own").unwrap());
        let garden: CameraId = "garden".parse().unwrap();
        Passwords::new(Some(&relay), [(&garden, &own)].into_iter())
    }

    fn check(camera: &str, authorization: &str, query: &str) -> Result<(), Refused> {
        let mut headers = HeaderMap::new();
        if !authorization.is_empty() {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
        }
        passwords().check(&camera.parse().unwrap(), &headers, query)
    }

    #[test]
    fn who_may_upload() {
        let right = "password=p%26ss+w%C3%B6rd";
        for (camera, authorization, query, expected) in [
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
        ] {
            let found = check(camera, authorization, query);
            assert_eq!(found, expected, "{camera} {authorization:?} {query:?}");
        }
    }

    #[test]
    fn what_all_cameras_may_have_takes_any_password() {
        for (query, expected) in [
            ("password=own", Ok(())),
            ("password=p%26ss+w%C3%B6rd", Ok(())),
            ("password=ow", Err(Refused::Password)),
            ("", Err(Refused::Password)),
        ] {
            assert_eq!(passwords().check_any(&HeaderMap::new(), query), expected, "{query}");
        }
    }

    #[test]
    fn without_a_password_nobody_may() {
        let nobody = Passwords::new(None, std::iter::empty());
        let id = CameraId::default();
        let found = nobody.check(&id, &HeaderMap::new(), "password=");
        assert_eq!(found, Err(Refused::Password));
    }
}
