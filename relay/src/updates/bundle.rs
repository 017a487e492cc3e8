//! Whether a file is a bundle of RAUC's "verity" format, whole and signed.
//!
//! From its beginning: a squashfs, padded to blocks; dm-verity's hashes of it; a CMS signature with the manifest inside;
//! its length, 8 bytes, big-endian. The manifest names the root of the hashes, so a single byte that was changed or is
//! missing shows, whoever signed it; only where nobody signs anything, such as in the names of who did, it does not. Whether that was somebody whom cameras trust is theirs to say; with a keyring
//! it is looked at here as well.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use frame::sign::from_hex;
use frame::update::{MAX_BUNDLE, MAX_COMPATIBLE, is_compatible};
use frame::version::{NoVersion, Version};
use rustls_pki_types::CertificateDer;

use super::signature::{BadSignature, Signed};
use super::verity::{self, BLOCK, HASH};

/// At the file's end: how long the signature before it is.
const TRAILER: u64 = 8;

/// RAUC takes none that is longer.
const MAX_SIGNATURE: u64 = 64 << 10;

/// A squashfs begins with it.
const SQUASHFS: &[u8; 4] = b"hsqs";

/// How the file is read.
const BUFFER: usize = 256 << 10;

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub version: Version,
    pub compatible: String,
    root: [u8; HASH],
    salt: [u8; HASH],
    tree_bytes: u64,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}", path = .path.display())]
pub(crate) struct BadBundle {
    path: PathBuf,
    #[source]
    pub why: Wrong,
}

impl BadBundle {
    /// The same of another file, of which the one that was looked at is a copy.
    pub(crate) fn of(self, path: &Path) -> BadBundle {
        BadBundle { path: path.into(), ..self }
    }
}

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("can't be read: {0}")]
    Unreadable(io::Error),
    #[error("it is no file")]
    NoFile,
    #[error("it is no RAUC bundle: it does not begin with a squashfs; name a .raucb file")]
    NoSquashfs,
    #[error(
        "it is no whole RAUC bundle: its end does not say how long its signature is; was it cut off? Copy or \
         build it again"
    )]
    NoSignature,
    #[error("it has {0} bytes, and no card has room for more than {MAX_BUNDLE}")]
    TooLarge(u64),
    #[error("{0}; build it with: rauc bundle, and in its manifest [bundle] format=verity")]
    Signature(#[from] BadSignature),
    #[error("its manifest has no {key}= in [{section}]; build it anew with one")]
    Missing { section: &'static str, key: &'static str },
    #[error("its format is {0:?}; build it with [bundle] format=verity in its manifest")]
    Format(String),
    #[error("the version in its manifest: {0}")]
    Version(#[from] NoVersion),
    #[error(
        "compatible={0:?} in its manifest is no name of a system: 1 to {MAX_COMPATIBLE} letters, digits, '-', '_' \
         and '.'"
    )]
    Compatible(String),
    #[error("{0}= in its manifest is none; build it anew")]
    Value(&'static str),
    #[error("its sizes do not fit together; was it cut off? Copy or build it again")]
    Sizes,
    #[error(
        "its content is not what its manifest says: it was damaged or changed; copy or build it again"
    )]
    Damaged,
}

/// A bundle, opened, whose signature and manifest were read.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub manifest: Manifest,
    pub bytes: u64,
    file: File,
    path: PathBuf,
    /// Data and tree.
    payload: u64,
}

impl Bundle {
    /// Opens a file, which may be read by this user only.
    pub(crate) fn file(path: &Path) -> Result<File, BadBundle> {
        File::open(path)
            .map_err(|error| BadBundle { path: path.into(), why: Wrong::Unreadable(error) })
    }

    /// Reads all but its content. With a keyring, it is looked whether somebody in it signed, at a time
    /// since the Unix epoch.
    pub(crate) fn open(
        path: &Path,
        file: File,
        keyring: Option<&[CertificateDer<'static>]>,
        now: Duration,
    ) -> Result<Bundle, BadBundle> {
        read(path, file, keyring, now).map_err(|why| BadBundle { path: path.into(), why })
    }

    /// The file that was looked at.
    pub(crate) fn into_file(self) -> File {
        self.file
    }

    /// Reads its content: whether it is what its manifest says.
    pub(crate) fn check(&mut self) -> Result<(), BadBundle> {
        self.is_whole().map_err(|why| BadBundle { path: self.path.clone(), why })
    }

    fn is_whole(&mut self) -> Result<(), Wrong> {
        let Manifest { root, salt, tree_bytes, .. } = &self.manifest;
        let data = self.payload - tree_bytes;
        self.file.seek(SeekFrom::Start(0)).map_err(Wrong::Unreadable)?;
        let mut reader = BufReader::with_capacity(BUFFER, &self.file);
        let tree =
            verity::tree(&mut reader, data / BLOCK as u64, salt).map_err(Wrong::Unreadable)?;
        let mut stored = Vec::new();
        reader.take(*tree_bytes).read_to_end(&mut stored).map_err(Wrong::Unreadable)?;
        if tree.root == *root && tree.blocks == stored { Ok(()) } else { Err(Wrong::Damaged) }
    }
}

fn read(
    path: &Path,
    mut file: File,
    keyring: Option<&[CertificateDer<'static>]>,
    now: Duration,
) -> Result<Bundle, Wrong> {
    let about = file.metadata().map_err(Wrong::Unreadable)?;
    if !about.is_file() {
        return Err(Wrong::NoFile);
    }
    let bytes = about.len();
    if bytes > MAX_BUNDLE {
        return Err(Wrong::TooLarge(bytes));
    }
    let mut magic = [0; SQUASHFS.len()];
    if bytes < TRAILER || file.read_exact(&mut magic).is_err() || magic != *SQUASHFS {
        return Err(Wrong::NoSquashfs);
    }
    let end = bytes - TRAILER;
    let mut trailer = [0; 8];
    read_at(&mut file, end, &mut trailer)?;
    let length = u64::from_be_bytes(trailer);
    if length == 0 || length > MAX_SIGNATURE || length > end {
        return Err(Wrong::NoSignature);
    }
    let payload = end - length;
    let mut cms = vec![0; usize::try_from(length).map_err(|_| Wrong::NoSignature)?];
    read_at(&mut file, payload, &mut cms)?;
    let signed = Signed::read(&cms)?;
    if let Some(keyring) = keyring {
        signed.is_of(keyring, now)?;
    }
    let manifest = manifest(&String::from_utf8_lossy(&signed.manifest))?;
    let block = BLOCK as u64;
    let whole = payload.is_multiple_of(block) && manifest.tree_bytes.is_multiple_of(block);
    if !whole || manifest.tree_bytes == 0 || manifest.tree_bytes + block > payload {
        return Err(Wrong::Sizes);
    }
    Ok(Bundle { manifest, bytes, file, path: path.into(), payload })
}

fn read_at(file: &mut File, at: u64, into: &mut [u8]) -> Result<(), Wrong> {
    file.seek(SeekFrom::Start(at)).map_err(Wrong::Unreadable)?;
    file.read_exact(into).map_err(Wrong::Unreadable)
}

/// Reads what is signed: sections in brackets, below each of them `key=value`.
fn manifest(text: &str) -> Result<Manifest, Wrong> {
    let find = |section: &'static str, key: &'static str| {
        value(text, section, key).ok_or(Wrong::Missing { section, key })
    };
    let format = find("bundle", "format")?;
    if format != "verity" {
        return Err(Wrong::Format(format.to_owned()));
    }
    let compatible = find("update", "compatible")?;
    if !is_compatible(compatible) {
        return Err(Wrong::Compatible(compatible.to_owned()));
    }
    let hexadecimal =
        |key| find("bundle", key).and_then(|text| from_hex(text).ok_or(Wrong::Value(key)));
    let tree_bytes = find("bundle", "verity-size")?;
    Ok(Manifest {
        version: find("update", "version")?.parse()?,
        compatible: compatible.to_owned(),
        root: hexadecimal("verity-hash")?,
        salt: hexadecimal("verity-salt")?,
        tree_bytes: tree_bytes
            .parse()
            .ok()
            .filter(|bytes| *bytes <= MAX_BUNDLE)
            .ok_or(Wrong::Value("verity-size"))?,
    })
}

fn value<'a>(text: &'a str, section: &str, key: &str) -> Option<&'a str> {
    let mut inside = false;
    text.lines().map(str::trim).find_map(|line| {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name == section;
            return None;
        }
        let (name, value) = line.split_once('=').filter(|_| inside)?;
        (name.trim_end() == key).then(|| value.trim_start())
    })
}

#[cfg(test)]
mod tests;
