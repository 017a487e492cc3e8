//! What an answer means for the next attempt. Pure.

use std::time::Duration;

use runtime::settings::duration_text;

use super::kind::Kind;

/// An upload that was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Failure {
    /// Which part of the way did not work.
    pub kind: Kind,
    /// The number of the system's error, if it was one.
    pub errno: Option<i32>,
    /// For the journal: what happened, and what to do where the owner can do something.
    pub cause: String,
    /// The least wait before the next attempt.
    pub hold: Option<Duration>,
    /// The frame was on its way when its time was over.
    pub slow: bool,
}

impl Failure {
    /// Nothing came within `timeout`.
    pub(super) fn late(timeout: Duration) -> Failure {
        let timeout = duration_text(timeout);
        Failure {
            kind: Kind::Silent,
            cause: format!("the relay did not answer within {timeout}"),
            ..Failure::default()
        }
    }

    /// The same, of a frame that was on its way.
    pub(super) fn slow(timeout: Duration) -> Failure {
        Failure { slow: true, ..Failure::late(timeout) }
    }

    /// The relay, or what answers in its place, does not take it.
    pub(super) fn rejected() -> Failure {
        Failure { kind: Kind::Rejected, ..Failure::default() }
    }
}

/// A relay that refuses us will do so again: no hurry.
const REFUSED_HOLD: Duration = Duration::from_secs(5);

/// An answer, as far as it matters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    pub status: u16,
    /// The header Retry-After.
    pub retry_after: Option<&'a str>,
    /// The header Location.
    pub location: Option<&'a str>,
    /// The beginning of the body.
    pub body: &'a str,
}

/// Judges an answer.
///
/// # Errors
/// Anything but a clear acknowledgement.
pub(super) fn judge(answer: Answer<'_>) -> Result<(), Failure> {
    let Answer { status, retry_after, location, body } = answer;
    let said = body.lines().next().unwrap_or_default().trim();
    let said = if said.is_empty() || said.starts_with('<') {
        String::new()
    } else {
        format!(": {}", said.chars().take(200).collect::<String>())
    };
    let (cause, hold) = match status {
        // The relay's acknowledgement is empty. A captive portal's login page is not, and would
        // have us believe for hours that pictures arrive.
        200..=299 if body.trim_start().starts_with('<') => {
            let why = "a web page answered instead of the relay; is there a login page \
                       (captive portal) in between, or is the URL wrong?";
            (why.to_owned(), Some(REFUSED_HOLD))
        }
        200..=299 => return Ok(()),
        300..=399 => {
            let to = location.unwrap_or("elsewhere");
            let why = format!("the relay redirects to {to}; set upload.relay to the right URL");
            (why, Some(REFUSED_HOLD))
        }
        // The tutorial's server answers 400 to a wrong password.
        400 | 401 | 403 => {
            let why = format!(
                "the relay refuses the upload ({status}){said}; is the password right? \
                 (STILLWATCH_PASSWORD, upload.password_file)"
            );
            (why, Some(REFUSED_HOLD))
        }
        404 | 405 => {
            let why = format!("nothing takes uploads at this URL ({status}); check upload.relay");
            (why, Some(REFUSED_HOLD))
        }
        413 => {
            let why = "the picture is too large for the relay (413); lower camera.size or \
                       camera.quality, or raise the relay's limit";
            (why.to_owned(), None)
        }
        _ => (format!("the relay answered {status}{said}"), None),
    };
    let asked = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    Err(Failure { cause, hold: asked.or(hold), ..Failure::rejected() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<(), Failure> {
        judge(Answer { status, retry_after: None, location: None, body })
    }

    #[test]
    fn only_a_clear_acknowledgement_counts() {
        for (status, body) in [(200, ""), (201, ""), (204, ""), (200, "OK"), (200, "{\"ok\":1}")] {
            assert_eq!(answer(status, body), Ok(()), "{status} {body}");
        }
        for status in [100, 199, 304, 400, 404, 418, 500, 503, 599] {
            assert!(answer(status, "").is_err(), "{status}");
        }
    }

    #[test]
    fn a_captive_portal_is_no_relay() {
        let failure = answer(200, "\n<!DOCTYPE html><title>Welcome to HotelNet").unwrap_err();
        assert!(failure.cause.contains("captive portal"), "{failure:?}");
    }

    #[test]
    fn the_cause_says_what_to_do() {
        for (status, body, says) in [
            (400, "", "is the password right?"),
            (401, "wrong password", "wrong password"),
            (404, "<h1>Not Found</h1>", "check upload.relay"),
            (413, "", "lower camera.size"),
            (500, "database is locked\nmore", "the relay answered 500: database is locked"),
            (502, "<html>", "the relay answered 502"),
        ] {
            let cause = answer(status, body).unwrap_err().cause;
            assert!(cause.contains(says) && !cause.contains('<'), "{status}: {cause}");
        }
    }

    #[test]
    fn the_relays_wish_to_wait_is_heard() {
        let busy = Answer { status: 503, retry_after: Some("7"), location: None, body: "" };
        assert_eq!(judge(busy).unwrap_err().hold, Some(Duration::from_secs(7)));
        assert_eq!(judge(Answer { retry_after: Some("soon"), ..busy }).unwrap_err().hold, None);
        assert_eq!(answer(401, "").unwrap_err().hold, Some(REFUSED_HOLD));
    }
}
