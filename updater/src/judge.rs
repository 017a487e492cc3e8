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

/// Whether to install it; `older`: somebody wants exactly this one.
///
/// # Errors
/// No.
pub(crate) fn judge(
    bundle: &Bundle,
    running: &Running,
    record: &Record,
    older: bool,
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
    if older {
        return Ok(());
    }
    if let Some(update) = record.under_way.as_ref().filter(|update| update.version == *version) {
        return Err(Refusal::UnderWay(update.version.clone()));
    }
    if *version < running.version {
        return Err(Refusal::Older { bundle: version.clone(), running: running.version.clone() });
    }
    match record.rejects(version) {
        Some(rejected) => Err(Refusal::Rejected(rejected)),
        None => Ok(()),
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
            |text: &str, record: &Record, older| judge(&bundle(text), &running, record, older);
        assert_eq!(judged("0.2.0-3.0", &record, false), Ok(()));
        assert!(matches!(judged("0.2.0-2.0", &record, true), Err(Refusal::Runs(_))));
        assert!(matches!(judged("0.2.0-1.0", &record, false), Err(Refusal::Older { .. })));
        assert_eq!(judged("0.2.0-1.0", &record, true), Ok(()));
        let other = Bundle { compatible: "d".to_owned(), version: version("0.3.0-1.0") };
        assert!(matches!(judge(&other, &running, &record, true), Err(Refusal::Compatible { .. })));
        record.under_way = Some(under_way("0.2.0-3.0"));
        assert!(matches!(judged("0.2.0-3.0", &record, false), Err(Refusal::UnderWay(_))));
        record.end(Became::TakenBack, Some("no picture".to_owned()), 0);
        let refusal = judged("0.2.0-3.0", &record, false).unwrap_err();
        assert_eq!(refusal.to_string(), "0.2.0-00000003.0000 was taken back before: no picture");
        assert_eq!(judged("0.2.0-4.0", &record, false), Ok(()));
        assert_eq!(judged("0.2.0-3.0", &record, true), Ok(()));
    }
}
