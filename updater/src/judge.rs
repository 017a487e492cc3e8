//! Whether a bundle is one for this camera. Pure.

use frame::version::Version;
use runtime::update::Rejected;

use crate::place::Running;
use crate::programs::Bundle;
use crate::record::Record;

/// Why it is not installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it is for {bundle}, and this is {here}")]
    Compatible { bundle: String, here: String },
    #[error("{0} runs already")]
    Runs(Version),
    #[error("it is {bundle}, which is older than {running}, which runs")]
    Older { bundle: Version, running: Version },
    #[error("{} was {} before: {}", .0.version, if .0.ran { "taken back" } else { "refused" }, .0.why)]
    Rejected(Rejected),
    #[error("{0} is installed already, and is started with the next boot")]
    UnderWay(Version),
}

/// How a bundle came to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It is there.
    Usual,
    /// The owner says so: also if it was rejected before.
    Again,
    /// Somebody wants exactly this one: also if it is older.
    Exactly,
}

/// Whether to install it.
///
/// # Errors
/// No.
pub(crate) fn judge(
    bundle: &Bundle,
    running: &Running,
    record: &Record,
    asked: Asked,
) -> Result<(), Refusal> {
    let Bundle { compatible, version } = bundle;
    if *compatible != running.compatible {
        return Err(Refusal::Compatible {
            bundle: compatible.clone(),
            here: running.compatible.clone(),
        });
    }
    if *version == running.version {
        return Err(Refusal::Runs(version.clone()));
    }
    if asked == Asked::Exactly {
        return Ok(());
    }
    if let Some(update) = record.under_way.as_ref().filter(|update| update.version == *version) {
        return Err(Refusal::UnderWay(update.version.clone()));
    }
    if *version < running.version {
        return Err(Refusal::Older { bundle: version.clone(), running: running.version.clone() });
    }
    match record.rejects(version) {
        Some(rejected) if asked == Asked::Usual => Err(Refusal::Rejected(rejected)),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootloader::Bootloader;
    use crate::record::{Became, tests::under_way};
    use crate::slot::Slot;

    #[test]
    fn only_what_is_newer_and_fits_and_was_not_rejected() {
        let version = |text: &str| -> Version { text.parse().unwrap() };
        let bundle = |text: &str| Bundle { compatible: "c".to_owned(), version: version(text) };
        let running = Running {
            bootloader: Bootloader::UBoot,
            slot: Slot::A,
            version: version("0.2.0-2.0"),
            compatible: "c".to_owned(),
        };
        let mut record = Record::default();
        let judged =
            |text: &str, record: &Record, asked| judge(&bundle(text), &running, record, asked);
        assert_eq!(judged("0.2.0-3.0", &record, Asked::Usual), Ok(()));
        assert!(matches!(judged("0.2.0-2.0", &record, Asked::Exactly), Err(Refusal::Runs(_))));
        assert!(matches!(judged("0.2.0-1.0", &record, Asked::Usual), Err(Refusal::Older { .. })));
        assert_eq!(judged("0.2.0-1.0", &record, Asked::Exactly), Ok(()));
        let other = Bundle { compatible: "d".to_owned(), version: version("0.3.0-1.0") };
        assert!(matches!(
            judge(&other, &running, &record, Asked::Exactly),
            Err(Refusal::Compatible { .. })
        ));
        record.under_way = Some(under_way("0.2.0-3.0"));
        assert!(matches!(judged("0.2.0-3.0", &record, Asked::Usual), Err(Refusal::UnderWay(_))));
        record.end(Became::TakenBack, Some("no picture".to_owned()), 0);
        let refusal = judged("0.2.0-3.0", &record, Asked::Usual).unwrap_err();
        assert_eq!(refusal.to_string(), "0.2.0-00000003.0000 was taken back before: no picture");
        assert_eq!(judged("0.2.0-3.0", &record, Asked::Again), Ok(()));
        let older = judged("0.2.0-1.0", &record, Asked::Again);
        assert!(matches!(older, Err(Refusal::Older { .. })));
        assert_eq!(judged("0.2.0-4.0", &record, Asked::Usual), Ok(()));
        assert_eq!(judged("0.2.0-3.0", &record, Asked::Exactly), Ok(()));
    }
}
