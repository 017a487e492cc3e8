//! Passwords: where they come from, and that they are shown nowhere.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A password or token. Debug and log output show only that there is one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

/// Longest password that is read, in bytes; a longer "password" is some other file.
const MAX_LEN: u64 = 1024;

/// Longest text: NATS credentials have about 1 KB.
const MAX_TEXT: u64 = 16 << 10;

/// Why a password file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file can't be read.
    #[error("{path}: can't read this password file: {source}", path = .0.display(), source = .1)]
    Unreadable(PathBuf, io::Error),
    /// Anybody on the machine could read the password.
    #[error("{path}: other users can read this password file; run: chmod 600 {path}", path = .0.display())]
    Exposed(PathBuf),
    /// No password is in it.
    #[error("{path}: no password in this file; write one line of up to {MAX_LEN} bytes", path = .0.display())]
    Unusable(PathBuf),
}

/// Keeps this process' memory, and the secrets in it, out of core dumps and away from other processes
/// of the same user (prctl(2), PR_SET_DUMPABLE). Every program that reads secrets calls it first.
pub fn keep_from_core_dumps() {
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::debug!("core dumps of this process may hold secrets: {error}");
    }
}

impl Secret {
    /// A secret from a variable or a URL; `None` if it is empty.
    pub fn new(text: &str) -> Option<Secret> {
        (!text.is_empty()).then(|| Secret(text.into()))
    }

    /// Reads a file that only its owner (and group) may read. A line break at its end does not
    /// belong to the password.
    ///
    /// # Errors
    /// The file is missing, exposed, empty, too long or not UTF-8.
    pub fn read(path: &Path) -> Result<Secret, SecretError> {
        let content = contents(path, MAX_LEN)?;
        let text = std::str::from_utf8(&content).ok();
        text.map(|text| text.trim_end_matches(['\r', '\n']))
            .filter(|text| text.len() as u64 <= MAX_LEN)
            .and_then(Secret::new)
            .ok_or_else(|| SecretError::Unusable(path.into()))
    }

    /// Reads a file whose whole text is the secret.
    ///
    /// # Errors
    /// As [`Secret::read`].
    pub fn read_text(path: &Path) -> Result<Secret, SecretError> {
        let content = contents(path, MAX_TEXT)?;
        let text = String::from_utf8(content).ok();
        text.filter(|text| text.len() as u64 <= MAX_TEXT)
            .and_then(|text| Secret::new(&text))
            .ok_or_else(|| SecretError::Unusable(path.into()))
    }

    /// The systemd credential `name` (systemd.exec(5), LoadCredential), if the unit has one.
    ///
    /// # Errors
    /// As [`Secret::read`].
    pub fn credential(name: &str) -> Result<Option<Secret>, SecretError> {
        let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY") else { return Ok(None) };
        let path = Path::new(&directory).join(name);
        if path.exists() { Secret::read(&path).map(Some) } else { Ok(None) }
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A little more than `max` bytes of it, at most.
fn contents(path: &Path, max: u64) -> Result<Vec<u8>, SecretError> {
    let unreadable = |error| SecretError::Unreadable(path.into(), error);
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(SecretError::Exposed(path.into()));
    }
    let mut content = Vec::new();
    file.take(max + 2).read_to_end(&mut content).map_err(unreadable)?;
    Ok(content)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn reads_a_line_and_shows_nothing() {
        for content in ["s3cret", "s3cret\n", "s3cret\r\n"] {
            let (_directory, path) = file(content.as_bytes(), 0o600);
            let secret = Secret::read(&path).unwrap();
            assert_eq!(secret.expose(), "s3cret");
            assert!(!format!("{secret:?}").contains("s3cret"));
        }
    }

    #[test]
    fn what_can_not_be_used_says_why_and_what_to_do() {
        let long = vec![b'a'; 1025];
        for (content, mode, says) in [
            (b"s3cret".as_slice(), 0o644, "chmod 600"),
            (b"", 0o600, "no password in this file"),
            (b"\n", 0o600, "no password in this file"),
            (b"\xff\xfe", 0o600, "no password in this file"),
            (&long, 0o600, "no password in this file"),
        ] {
            let (_directory, path) = file(content, mode);
            let error = Secret::read(&path).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("password:"), "{error}");
        }
        let missing = Secret::read(Path::new("/nonexistent/password")).unwrap_err();
        assert!(missing.to_string().contains("No such file"), "{missing}");
    }
}
