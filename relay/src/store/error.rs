//! What can be wrong with the database, and what its owner can do about it. The only place that
//! looks at SQLite's codes.

use std::io;

use rusqlite::ErrorCode;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No space left.
    Full,
    /// The file or its folder can't be written to.
    ReadOnly,
    /// The file can't be opened or created.
    CannotOpen,
    /// The file is no database, or a broken one.
    Damaged,
    /// Somebody else holds its lock.
    Busy,
    /// A newer version made it, or some other program.
    NotOurs,
    /// Enough broken files lie aside.
    TooManyDamaged,
    /// The disk fails.
    Disk,
    /// Something else.
    Other,
}

impl Kind {
    /// The word in the journal.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Kind::Full => "full",
            Kind::ReadOnly => "read_only",
            Kind::CannotOpen => "cannot_open",
            Kind::Damaged => "damaged",
            Kind::Busy => "busy",
            Kind::NotOurs => "not_ours",
            Kind::TooManyDamaged => "too_many_damaged",
            Kind::Disk => "disk",
            Kind::Other => "other",
        }
    }

    /// What to do about it.
    pub(crate) const fn advice(self) -> &'static str {
        match self {
            Kind::Full => "make space on that disk",
            Kind::ReadOnly => {
                "make that folder writable for the relay, or choose another one \
                               (relay.data_dir, --data-dir)"
            }
            Kind::CannotOpen => {
                "check that the folder exists and that the relay may write there, \
                                 or choose another one (relay.data_dir, --data-dir)"
            }
            Kind::Damaged => "it is set aside and a new one is begun",
            Kind::Busy => {
                "another program has it open; does a second relay run with the same \
                           data folder?"
            }
            Kind::NotOurs => {
                "it is left untouched; update the relay, or choose another folder \
                              (relay.data_dir, --data-dir)"
            }
            Kind::TooManyDamaged => {
                "check the disk (dmesg, smartctl), then delete the files \
                                     stillwatch.db.damaged-*"
            }
            Kind::Disk => "check the disk (dmesg, df, smartctl)",
            Kind::Other => "this should not happen; please report it",
        }
    }
}

/// An error with its kind.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct StoreError {
    pub kind: Kind,
    message: String,
}

impl StoreError {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> StoreError {
        StoreError { kind, message: message.into() }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        StoreError::new(kind_of(&error), error.to_string())
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> StoreError {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the list of kinds is open")]
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Full,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Kind::ReadOnly,
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Kind::CannotOpen,
            _ => Kind::Disk,
        };
        StoreError::new(kind, error.to_string())
    }
}

fn kind_of(error: &rusqlite::Error) -> Kind {
    let Some(code) = error.sqlite_error_code() else { return Kind::Other };
    #[expect(clippy::wildcard_enum_match_arm, reason = "the list of codes is open")]
    match code {
        ErrorCode::DiskFull => Kind::Full,
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Kind::ReadOnly,
        ErrorCode::CannotOpen => Kind::CannotOpen,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Kind::Damaged,
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed => Kind::Busy,
        ErrorCode::SystemIoFailure => Kind::Disk,
        // SQLITE_ERROR: our statements are constant, so it is the tables that don't fit them.
        ErrorCode::Unknown => Kind::Damaged,
        _ => Kind::Other,
    }
}
