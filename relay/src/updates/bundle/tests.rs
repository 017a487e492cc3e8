//! With bundles that rauc itself makes.

use std::fs;
use std::process::Command;

use runtime::clock;
use tempfile::TempDir;

use super::*;
use crate::updates::signature::keyring;

const MANIFEST: &str = "[update]\ncompatible=stillwatch-debian\nversion=0.2.0-20261201.0000\n\n\
                        [bundle]\nformat=verity\n\n[image.rootfs]\nfilename=rootfs.img\n";

fn run(folder: &TempDir, program: &str, arguments: &str) {
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace()).current_dir(folder.path());
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A key and a certificate that signed itself.
fn own_key(folder: &TempDir, name: &str, kind: &str) {
    let arguments = format!(
        "req -x509 -newkey {kind} -nodes -days 30 -subj /CN={name} -keyout {name}.key -out {name}.pem"
    );
    run(folder, "openssl", &arguments);
}

/// Makes the bundle `test.raucb` with this manifest.
fn make(folder: &TempDir, manifest: &str, key: &str) -> Vec<u8> {
    let content = folder.path().join("content");
    fs::create_dir_all(&content).unwrap();
    // Three levels of hashes, of what no squashfs makes smaller.
    let mut state = 1_u64;
    let noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    let image: Vec<u8> = std::iter::repeat_with(noise).take(700_000).collect();
    fs::write(content.join("rootfs.img"), image).unwrap();
    fs::write(content.join("manifest.raucm"), manifest).unwrap();
    let _ = fs::remove_file(folder.path().join("test.raucb"));
    run(folder, "rauc", &format!("bundle {key} content test.raucb"));
    fs::read(folder.path().join("test.raucb")).unwrap()
}

fn now() -> Duration {
    Duration::from_micros(clock::wall_us().unsigned_abs())
}

fn look(
    folder: &TempDir,
    bytes: &[u8],
    keyring: Option<&[CertificateDer<'static>]>,
) -> Result<Manifest, Wrong> {
    let path = folder.path().join("looked-at.raucb");
    fs::write(&path, bytes).unwrap();
    let mut bundle =
        Bundle::open(&path, File::open(&path).unwrap(), keyring, now()).map_err(|bad| bad.why)?;
    assert_eq!(bundle.bytes, bytes.len() as u64);
    bundle.check().map_err(|bad| bad.why)?;
    Ok(bundle.manifest)
}

#[test]
fn what_rauc_makes_is_taken_with_each_kind_of_key() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [
        "rsa:2048",
        "rsa:4096",
        "ec -pkeyopt ec_paramgen_curve:P-256",
        "ec -pkeyopt ec_paramgen_curve:P-384",
    ] {
        own_key(&folder, "owner", kind);
        let bundle = make(&folder, MANIFEST, "--cert owner.pem --key owner.key");
        let manifest = look(&folder, &bundle, None);
        assert!(manifest.is_ok(), "{kind}: {manifest:?}");
        let Manifest { version, compatible, .. } = manifest.unwrap();
        assert_eq!(version.to_string(), "0.2.0-20261201.0000");
        assert_eq!(compatible, "stillwatch-debian");
    }
}

#[test]
fn a_byte_that_is_changed_or_missing_shows() {
    let folder = tempfile::tempdir().unwrap();
    own_key(&folder, "owner", "rsa:2048");
    let bundle = make(&folder, MANIFEST, "--cert owner.pem --key owner.key");
    let length = bundle.len();
    let trailer: [u8; 8] = bundle[length - 8..].try_into().unwrap();
    let signature = length - 8 - usize::try_from(u64::from_be_bytes(trailer)).unwrap();
    let mut places: Vec<usize> = (0..signature).step_by(length / 40).collect();
    places.extend([signature - 4096, signature - 4000]);
    // What is signed, how it was signed, and how long that is. The rest of it, such as names, the camera looks at.
    let manifest = bundle.windows(8).position(|bytes| bytes == b"[update]").unwrap();
    places.extend((manifest..manifest + MANIFEST.len()).step_by(7));
    places.extend((length - 8 - 256..length - 8).step_by(17));
    places.extend(length - 8..length);
    for place in places {
        let mut other = bundle.clone();
        other[place] ^= 1;
        let found = look(&folder, &other, None);
        assert!(found.is_err(), "byte {place} of {length}");
    }
    for left in [0, 1, 8, 4095, 4096, length / 2, signature, length - 8, length - 1] {
        assert!(look(&folder, &bundle[..left], None).is_err(), "{left} bytes of {length}");
    }
    let longer = [bundle.as_slice(), &[0; 4096]].concat();
    assert!(matches!(look(&folder, &longer, None), Err(Wrong::NoSignature)));
    let other = [&bundle[..4096], &bundle[8192..]].concat();
    assert!(matches!(look(&folder, &other, None), Err(Wrong::Unreadable(_) | Wrong::Damaged)));
}

#[test]
fn manifests_that_are_none_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    own_key(&folder, "owner", "rsa:2048");
    for (one, other, says) in [
        ("version=0.2.0-20261201.0000", "version=2026.1", "\"2026.1\" is no version"),
        ("version=0.2.0-20261201.0000\n", "", "no version= in [update]"),
        ("compatible=stillwatch-debian", "compatible=a b", "no name of a system"),
    ] {
        let bundle =
            make(&folder, &MANIFEST.replace(one, other), "--cert owner.pem --key owner.key");
        let why = look(&folder, &bundle, None).unwrap_err().to_string();
        assert!(why.contains(says), "{why}");
    }
    // The manifest is in the squashfs, and the signature beside it.
    let plain =
        make(&folder, &MANIFEST.replace("verity", "plain"), "--cert owner.pem --key owner.key");
    let why = look(&folder, &plain, None).unwrap_err().to_string();
    assert!(why.contains("not one of the \"verity\" format"), "{why}");
    let image = vec![7; 10_000];
    assert!(matches!(look(&folder, &image, None), Err(Wrong::NoSquashfs)));
}

#[test]
fn with_a_keyring_the_signer_has_to_be_in_it_or_below_it() {
    let folder = tempfile::tempdir().unwrap();
    own_key(&folder, "owner", "rsa:2048");
    own_key(&folder, "stranger", "rsa:2048");
    own_key(&folder, "root", "ec -pkeyopt ec_paramgen_curve:P-256");
    fs::write(folder.path().join("between.ext"), "basicConstraints=critical,CA:TRUE\n").unwrap();
    let end = "basicConstraints=CA:FALSE\nextendedKeyUsage=codeSigning\n";
    fs::write(folder.path().join("release.ext"), end).unwrap();
    for (name, above) in [("between", "root"), ("release", "between")] {
        let request = format!(
            "req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        );
        run(&folder, "openssl", &request);
        let sign = format!(
            "x509 -req -in {name}.csr -CA {above}.pem -CAkey {above}.key -CAcreateserial -days 30 \
             -extfile {name}.ext -out {name}.pem"
        );
        run(&folder, "openssl", &sign);
    }
    let read = |name: &str| keyring(&fs::read(folder.path().join(name)).unwrap()).unwrap();
    let own = make(&folder, MANIFEST, "--cert owner.pem --key owner.key");
    let chain = "--cert release.pem --key release.key --intermediate between.pem";
    let chained = make(&folder, MANIFEST, chain);
    let alone = make(&folder, MANIFEST, "--cert release.pem --key release.key");
    for (bundle, ring, taken) in [
        (&own, "owner.pem", true),
        (&own, "stranger.pem", false),
        (&own, "root.pem", false),
        (&chained, "root.pem", true),
        (&chained, "between.pem", true),
        (&chained, "release.pem", true),
        (&chained, "owner.pem", false),
        (&alone, "between.pem", true),
        (&alone, "root.pem", false),
    ] {
        let found = look(&folder, bundle, Some(&read(ring)));
        let right = match &found {
            Ok(_) => taken,
            Err(why) => !taken && matches!(why, Wrong::Signature(BadSignature::Unknown)),
        };
        assert!(right, "{ring}: {found:?}");
    }
    // In a year its certificate has run out.
    let path = folder.path().join("looked-at.raucb");
    fs::write(&path, &chained).unwrap();
    let later = now() + Duration::from_secs(366 * 86_400);
    assert!(
        Bundle::open(&path, File::open(&path).unwrap(), Some(&read("root.pem")), later).is_err()
    );
    for garbage in [
        "",
        "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    ] {
        assert!(keyring(garbage.as_bytes()).is_err(), "{garbage}");
    }
}
