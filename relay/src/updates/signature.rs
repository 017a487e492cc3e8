//! A bundle's signature: CMS (RFC 5652) with the manifest inside. As far as RAUC writes it: one or more signers, each
//! with signed attributes and a certificate that goes with it.

use std::time::Duration;

use der::asn1::AnyRef;
use der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};
use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, ring as algorithms};

/// Object identifiers, as DER has them behind tag and length.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
const HASHES: [(&[u8], &Algorithm); 3] = [
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01], &SHA256),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02], &SHA384),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03], &SHA512),
];

/// What a certificate may be for that says what it is for: RAUC's default, and its `check-purpose=codesign`.
const EMAIL_PROTECTION: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x04];
const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];

/// The tag of a set, as it is signed.
const SET: u8 = 0x31;

/// With which keys, and hashed how.
static ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 8] = [
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ED25519,
];

/// What is wrong with a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSignature {
    #[error("it has no CMS signature at its end, or not one of the \"verity\" format")]
    NoCms,
    #[error("its signature fits neither its manifest nor any certificate in it")]
    DoesNotFit,
    #[error(
        "it is signed, but by no certificate that is in updates.keyring_file or below one of those, or by one \
         that is not valid today"
    )]
    Unknown,
}

/// A signature whose parts are found, and belong together.
#[derive(Debug)]
pub(super) struct Signed {
    /// What is signed.
    pub manifest: Vec<u8>,
    signers: Vec<CertificateDer<'static>>,
    /// All that are in it.
    certificates: Vec<CertificateDer<'static>>,
}

impl Signed {
    /// Reads one, and whether it was made with the key of a certificate in it.
    pub(super) fn read(cms: &[u8]) -> Result<Signed, BadSignature> {
        let Parts { manifest, certificates, signers } =
            parts(cms).ok().flatten().ok_or(BadSignature::NoCms)?;
        let mut found = Vec::new();
        for signer in signers {
            let whose = signer.made_by(manifest, &certificates);
            found.push(whose.ok_or(BadSignature::DoesNotFit)?.clone());
        }
        if found.is_empty() {
            return Err(BadSignature::NoCms);
        }
        Ok(Signed { manifest: manifest.to_vec(), signers: found, certificates })
    }

    /// Whether one of the signers is in the keyring or below one of those, at a time since the Unix epoch.
    pub(super) fn is_of(
        &self,
        keyring: &[CertificateDer<'static>],
        now: Duration,
    ) -> Result<(), BadSignature> {
        let anchors: Vec<_> =
            keyring.iter().filter_map(|one| anchor_from_trusted_cert(one).ok()).collect();
        let now = UnixTime::since_unix_epoch(now);
        let trusted = |signer: &CertificateDer<'static>| {
            // One that signed itself is no end of a chain, and is what rauc's manual begins with.
            if keyring.contains(signer) {
                return true;
            }
            let Ok(end) = EndEntityCert::try_from(signer) else { return false };
            let usages = [EMAIL_PROTECTION, CODE_SIGNING].map(KeyUsage::required_if_present);
            usages.into_iter().any(|usage| {
                let between = &self.certificates;
                end.verify_for_usage(&ALGORITHMS, &anchors, between, now, usage, None, None).is_ok()
            })
        };
        if self.signers.iter().any(trusted) { Ok(()) } else { Err(BadSignature::Unknown) }
    }
}

/// Reads the certificates of a PEM file.
///
/// # Errors
/// It has none, or one that is broken.
pub(crate) fn keyring(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.map_err(|error| format!("no PEM certificates: {error}"))?;
    if certificates.is_empty() {
        return Err("there is no PEM certificate in it".to_owned());
    }
    match certificates.iter().find_map(|one| anchor_from_trusted_cert(one).err()) {
        Some(error) => Err(format!("a certificate in it can't be read: {error}")),
        None => Ok(certificates),
    }
}

struct Parts<'a> {
    manifest: &'a [u8],
    certificates: Vec<CertificateDer<'static>>,
    signers: Vec<Signer<'a>>,
}

/// What one signer says.
struct Signer<'a> {
    hash: &'a [u8],
    /// Without their tag, which is another one where they are signed.
    attributes: &'a [u8],
    signature: &'a [u8],
}

impl Signer<'_> {
    /// The certificate whose key made this for `manifest`. Its name is not looked at: nobody else can have made it.
    fn made_by<'c>(
        &self,
        manifest: &[u8],
        certificates: &'c [CertificateDer<'static>],
    ) -> Option<&'c CertificateDer<'static>> {
        let (_, hash) = HASHES.into_iter().find(|(oid, _)| *oid == self.hash)?;
        let told = message_digest(self.attributes).ok().flatten()?;
        if told != digest(hash, manifest).as_ref() {
            return None;
        }
        let signed = [set_head(self.attributes.len())?.as_slice(), self.attributes].concat();
        certificates.iter().find(|certificate| {
            let Ok(end) = EndEntityCert::try_from(*certificate) else { return false };
            let fits = |algorithm: &&dyn SignatureVerificationAlgorithm| {
                end.verify_signature(*algorithm, &signed, self.signature).is_ok()
            };
            ALGORITHMS.iter().any(fits)
        })
    }
}

/// Tag and length of a set.
fn set_head(length: usize) -> Option<Vec<u8>> {
    let length = der::Length::try_from(length).ok()?.to_der().ok()?;
    Some([&[SET], length.as_slice()].concat())
}

/// The values inside of a sequence, a set, or what stands for one of those.
fn inside(of: AnyRef<'_>) -> der::Result<Vec<AnyRef<'_>>> {
    let constructed = of.tag().is_constructed();
    if constructed { elements(of.value()) } else { Err(of.tag().value_error().into()) }
}

fn sequence(of: AnyRef<'_>) -> der::Result<Vec<AnyRef<'_>>> {
    of.tag().assert_eq(Tag::Sequence)?;
    inside(of)
}

fn elements(bytes: &[u8]) -> der::Result<Vec<AnyRef<'_>>> {
    let mut reader = SliceReader::new(bytes)?;
    let mut elements = Vec::new();
    while !reader.is_finished() {
        elements.push(AnyRef::decode(&mut reader)?);
    }
    Ok(elements)
}

/// A value with the context-specific tag of this number.
fn has_number(value: &AnyRef<'_>, wanted: u32) -> bool {
    matches!(value.tag(), Tag::ContextSpecific { number, .. } if number.value() == wanted)
}

/// `None`: it is DER, and no such signature.
fn parts(cms: &[u8]) -> der::Result<Option<Parts<'_>>> {
    let content = sequence(AnyRef::from_der(cms)?)?;
    let [kind, content] = content.as_slice() else { return Ok(None) };
    if kind.value() != SIGNED_DATA || !has_number(content, 0) {
        return Ok(None);
    }
    let signed = sequence(AnyRef::from_der(content.value())?)?;
    let [_version, _hashes, encapsulated, rest @ .., signers] = signed.as_slice() else {
        return Ok(None);
    };
    // What is signed alone, without its content, is RAUC's format "plain".
    let encapsulated = sequence(*encapsulated)?;
    let Some(manifest) = encapsulated.get(1).filter(|content| has_number(content, 0)) else {
        return Ok(None);
    };
    let manifest = AnyRef::from_der(manifest.value())?;
    if manifest.tag() != Tag::OctetString || signers.tag() != Tag::Set {
        return Ok(None);
    }
    let mut certificates = Vec::new();
    for set in rest.iter().filter(|set| has_number(set, 0)) {
        for certificate in inside(*set)? {
            certificates.push(CertificateDer::from(certificate.to_der()?));
        }
    }
    let signers = inside(*signers)?.into_iter().map(signer).collect::<der::Result<Option<_>>>()?;
    let manifest = manifest.value();
    Ok(signers.map(|signers| Parts { manifest, certificates, signers }))
}

fn signer(info: AnyRef<'_>) -> der::Result<Option<Signer<'_>>> {
    let parts = sequence(info)?;
    let [_version, _who, hash, attributes, _algorithm, signature, ..] = parts.as_slice() else {
        return Ok(None);
    };
    let hash = sequence(*hash)?;
    let right = has_number(attributes, 0) && signature.tag() == Tag::OctetString;
    Ok(hash.first().filter(|_| right).map(|hash| Signer {
        hash: hash.value(),
        attributes: attributes.value(),
        signature: signature.value(),
    }))
}

/// The hash that signed attributes name.
fn message_digest(attributes: &[u8]) -> der::Result<Option<&[u8]>> {
    for attribute in elements(attributes)? {
        let attribute = inside(attribute)?;
        if let [kind, values] = attribute.as_slice()
            && kind.value() == MESSAGE_DIGEST
        {
            return Ok(inside(*values)?.first().map(|hash| hash.value()));
        }
    }
    Ok(None)
}
