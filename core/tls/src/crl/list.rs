//! One revocation list.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use postern_identity::Refusal;
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::{ASN1Time, FromDer};
use x509_parser::x509::X509Name;

use super::der::{self, Broken, Der, Tlv};
use super::scope::{Scope, without_zeros};
use crate::signature;

/// Longest serial number, in bytes. RFC 5280 allows 20; some authorities do not hold to it.
const MAX_SERIAL_BYTES: usize = 64;
/// Most extensions of a list. Honest ones have five.
const MAX_EXTENSIONS: usize = 64;
/// Most keys whose answer is remembered: authorities that share a name are few.
const MAX_KEYS: usize = 16;

/// Why a list cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlFault {
    /// Not a list, or only a part of one.
    #[error("it is no revocation list (RFC 5280), or damaged: byte {at}: {what}")]
    Malformed {
        /// Where.
        at: usize,
        /// What is there, or should be.
        what: &'static str,
    },
    /// It tells the difference to another list.
    #[error("it is a delta list; a complete one is wanted")]
    Delta,
    /// It speaks of certificates of other issuers.
    #[error("it is an indirect list, which speaks of other issuers' certificates")]
    Indirect,
    /// Of some reasons alone.
    #[error("it lists revocations for some reasons alone (onlySomeReasons)")]
    SomeReasons,
    /// Of no certificates of clients.
    #[error("it is for attribute certificates alone, or for none")]
    NotForCertificates,
    /// Its distribution point has no name of its own.
    #[error("its distribution point is named relative to its issuer (nameRelativeToCRLIssuer)")]
    RelativeName,
    /// It does not say until when it holds.
    #[error("it does not say when the next one comes (nextUpdate), so nobody can tell when it is outdated")]
    NoNextUpdate,
    /// An extension that must be understood, and is not.
    #[error("it has a critical extension that is not understood ({oid})")]
    CriticalExtension {
        /// Dotted object identifier.
        oid: String,
    },
    /// The same of an entry.
    #[error("one of its entries has a critical extension that is not understood ({oid})")]
    CriticalEntryExtension {
        /// Dotted object identifier.
        oid: String,
    },
}

impl From<Broken> for CrlFault {
    fn from(broken: Broken) -> Self {
        Self::Malformed { at: broken.at, what: broken.what }
    }
}

/// A list that cannot be used, and which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableList {
    /// Its place in the file, from 1.
    pub position: usize,
    /// Its issuer, escaped and cut; none where it cannot be read so far.
    pub issuer: Option<String>,
    /// Why.
    pub fault: CrlFault,
}

impl fmt::Display for UnusableList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.issuer {
            Some(issuer) => write!(f, "list {} (of {issuer}): {}", self.position, self.fault),
            None => write!(f, "list {}: {}", self.position, self.fault),
        }
    }
}

impl std::error::Error for UnusableList {}

/// A complete revocation list. That it was read says nothing about who signed it.
pub struct RevocationList {
    /// The file that it came in.
    bytes: Arc<Vec<u8>>,
    issuer: Range<usize>,
    issuer_dn: String,
    this_update: i64,
    next_update: i64,
    scope: Scope,
    /// Where each entry's serial number begins, in the order of serial numbers.
    entries: Box<[u32]>,
    signed: Range<usize>,
    /// Without its SEQUENCE, as the provider has it.
    algorithm: Range<usize>,
    signature: Range<usize>,
    /// Whether the key of this `SubjectPublicKeyInfo` signed it.
    by: Mutex<Vec<(Vec<u8>, bool)>>,
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RevocationList({}, {} entries, from {})", self.issuer_dn, self.entries.len(), self.this_update)
    }
}

impl PartialEq for RevocationList {
    /// The same bytes.
    fn eq(&self, other: &Self) -> bool {
        self.signed.len() == other.signed.len()
            && self.bytes[self.signed.clone()] == other.bytes[other.signed.clone()]
            && self.bytes[self.signature.clone()] == other.bytes[other.signature.clone()]
    }
}

impl RevocationList {
    /// Reads the list that is in this part of a file.
    pub(super) fn read(bytes: &Arc<Vec<u8>>, part: Range<usize>, position: usize) -> Result<Self, UnusableList> {
        let mut issuer = None;
        read(bytes, part, &mut issuer).map_err(|fault| UnusableList { position, issuer, fault })
    }

    /// The issuer's name (RFC 4514), escaped and cut.
    pub fn issuer_dn(&self) -> &str {
        &self.issuer_dn
    }

    /// The issuer's name as DER.
    pub(super) fn issuer(&self) -> &[u8] {
        &self.bytes[self.issuer.clone()]
    }

    /// From when on it holds, in seconds since the Unix epoch.
    pub fn this_update(&self) -> i64 {
        self.this_update
    }

    /// When the next one comes at the latest, in seconds since the Unix epoch.
    pub fn next_update(&self) -> i64 {
        self.next_update
    }

    /// Revoked certificates.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Memory of it, in bytes; of a file with several lists, each counts its own part.
    pub fn memory_bytes(&self) -> usize {
        self.signed.len() + self.signature.len() + size_of_val(&*self.entries)
    }

    /// Whether it speaks of the same certificates.
    pub fn is_of_the_same(&self, other: &Self) -> bool {
        self.issuer() == other.issuer() && self.scope == other.scope
    }

    /// Whether a key that is known to have signed that list signed this one too; true where none is known.
    pub fn is_signed_as(&self, other: &Self) -> bool {
        let proven = other.proven();
        proven.is_empty() || proven.iter().any(|key| self.is_signed_by(key))
    }

    /// Whether a trusted issuer is known to have signed it.
    pub fn is_proven(&self) -> bool {
        !self.proven().is_empty()
    }

    fn proven(&self) -> Vec<Vec<u8>> {
        let known = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter(|(_, signed)| *signed).map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether it lists this serial number, which is without leading zeros.
    pub(super) fn lists(&self, serial: &[u8]) -> bool {
        self.entries.binary_search_by(|&at| serial_at(&self.bytes, at).cmp(serial)).is_ok()
    }

    /// Whether the key of this `SubjectPublicKeyInfo` signed it. The first answer costs a pass over the list; then it is
    /// known.
    pub(super) fn is_signed_by(&self, spki: &[u8]) -> bool {
        let answers = || self.by.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, signed)) = answers().iter().find(|(key, _)| key == spki) {
            return *signed;
        }
        // Without the lock: those whose answer is known do not wait for it.
        let signed = self.verify(spki);
        let mut known = answers();
        // A key that signed it takes the place of one that did not: those may be many.
        if known.len() == MAX_KEYS
            && let Some(place) = known.iter().position(|(_, signed)| !signed)
        {
            known.swap_remove(place);
        }
        if known.len() < MAX_KEYS && known.iter().all(|(key, _)| key != spki) {
            known.push((spki.to_vec(), signed));
        }
        signed
    }

    fn verify(&self, spki: &[u8]) -> bool {
        let algorithm = &self.bytes[self.algorithm.clone()];
        let (signed, signature) = (&self.bytes[self.signed.clone()], &self.bytes[self.signature.clone()]);
        signature::is_signed_by(spki, algorithm, signed, signature)
    }
}

/// The serial number of the entry that begins there, without leading zeros.
fn serial_at(bytes: &[u8], at: u32) -> &[u8] {
    let at = at as usize;
    let length = usize::from(bytes[at + 1]);
    without_zeros(&bytes[at + 2..at + 2 + length])
}

fn range(part: &[u8], end: usize) -> Range<usize> {
    end - part.len()..end
}

fn content(tlv: &Tlv<'_>) -> Range<usize> {
    range(tlv.content, tlv.at + tlv.whole.len())
}

/// `issuer` is filled in as soon as it is known, for messages.
fn read(bytes: &Arc<Vec<u8>>, part: Range<usize>, issuer: &mut Option<String>) -> Result<RevocationList, CrlFault> {
    let mut outer = Der::new(&bytes[part.clone()], part.start);
    let list = outer.expect(der::SEQUENCE, "a SEQUENCE was expected")?;
    outer.end("something follows the list")?;
    let mut list = list.inside();
    let signed = list.expect(der::SEQUENCE, "the signed part was expected")?;
    let algorithm = list.expect(der::SEQUENCE, "the signature's algorithm was expected")?;
    let signature = list.expect(der::BIT_STRING, "the signature was expected")?;
    list.end("something follows the signature")?;

    let mut fields = signed.inside();
    let version = fields.optional(der::INTEGER)?;
    if version.is_some_and(|version| version.content != [1]) {
        return Err(signed.inside().broken("a version that is not 2").into());
    }
    if fields.expect(der::SEQUENCE, "the algorithm was expected")?.content != algorithm.content {
        return Err(fields.broken("two algorithms of one signature").into());
    }
    let name = fields.expect(der::SEQUENCE, "the issuer's name was expected")?;
    let (_, parsed) = X509Name::from_der(name.whole).map_err(|_| fields.broken("the issuer's name cannot be read"))?;
    let issuer_dn = Refusal::foreign(&parsed.to_string());
    *issuer = Some(issuer_dn.clone());
    let this_update = time(&mut fields)?.ok_or_else(|| fields.broken("a time was expected"))?;
    let next_update = time(&mut fields)?;
    let entries = fields.optional(der::SEQUENCE)?;
    let extensions = fields.optional(der::context_of(0))?;
    fields.end("something follows the entries")?;
    if extensions.is_some() && version.is_none() {
        return Err(fields.broken("extensions in a list of version 1").into());
    }
    let scope = extensions.map(|all| read_extensions(all.inside())).transpose()?.unwrap_or_default();
    let next_update = next_update.ok_or(CrlFault::NoNextUpdate)?;
    let entries = entries.map(|all| read_entries(bytes, all.inside())).transpose()?.unwrap_or_default();
    let signature_bits = bits(signature)?;
    Ok(RevocationList {
        bytes: Arc::clone(bytes),
        issuer: range(name.whole, name.at + name.whole.len()),
        issuer_dn,
        this_update,
        next_update,
        scope,
        entries,
        signed: range(signed.whole, signed.at + signed.whole.len()),
        algorithm: content(&algorithm),
        signature: range(signature_bits, signature.at + signature.whole.len()),
        by: Mutex::default(),
    })
}

/// A BIT STRING of whole bytes.
fn bits(tlv: Tlv<'_>) -> Result<&[u8], Broken> {
    match tlv.content {
        [0, bytes @ ..] => Ok(bytes),
        _ => Err(tlv.inside().broken("bits that are not whole bytes")),
    }
}

/// A time, if the next value is one.
fn time(fields: &mut Der<'_>) -> Result<Option<i64>, Broken> {
    let here = fields.broken("a time that cannot be read");
    let found = match fields.optional(der::UTC_TIME)? {
        Some(found) => Some(found),
        None => fields.optional(der::GENERALIZED_TIME)?,
    };
    let Some(found) = found else { return Ok(None) };
    let (_, time) = ASN1Time::from_der(found.whole).map_err(|_| here)?;
    Ok(Some(time.timestamp()))
}

/// What a certificate list may say of itself (RFC 5280, section 5.2).
fn read_extensions(value: Der<'_>) -> Result<Scope, CrlFault> {
    let mut scope = None;
    let mut seen = Vec::new();
    for_each_extension(value, |oid, is_critical, value| {
        if seen.contains(&oid) || seen.len() == MAX_EXTENSIONS {
            return Err(value.broken("an extension is there twice, or more than any honest list has").into());
        }
        seen.push(oid);
        match oid {
            DELTA => return Err(CrlFault::Delta),
            ISSUING_DISTRIBUTION_POINT => scope = Some(Scope::read(value)?),
            // They change nothing of what the list says, however it marks them.
            NUMBER | AUTHORITY_KEY => {}
            other if is_critical => return Err(CrlFault::CriticalExtension { oid: dotted(other) }),
            _ => {}
        }
        Ok(())
    })?;
    Ok(scope.unwrap_or_default())
}

/// Where the serial numbers are, in their order.
fn read_entries(bytes: &[u8], mut all: Der<'_>) -> Result<Box<[u32]>, CrlFault> {
    let mut found = Vec::new();
    while !all.is_empty() {
        let mut entry = all.expect(der::SEQUENCE, "an entry was expected")?.inside();
        let serial = entry.expect(der::INTEGER, "the serial number of an entry was expected")?;
        if !(1..=MAX_SERIAL_BYTES).contains(&serial.content.len()) {
            return Err(all.broken("a serial number that is empty or too long").into());
        }
        let date = entry.next()?;
        if !matches!(date.tag, der::UTC_TIME | der::GENERALIZED_TIME) {
            return Err(all.broken("the time of a revocation was expected").into());
        }
        if let Some(extensions) = entry.optional(der::SEQUENCE)? {
            entry.end("something follows the extensions of an entry")?;
            let whole = Der::new(extensions.whole, extensions.at);
            for_each_extension(whole, |oid, is_critical, _| match oid {
                CERTIFICATE_ISSUER => Err(CrlFault::Indirect),
                // Whatever the reason is, and since when it held: revoked it is.
                REASON | INVALIDITY_DATE => Ok(()),
                other if is_critical => Err(CrlFault::CriticalEntryExtension { oid: dotted(other) }),
                _ => Ok(()),
            })?;
        }
        entry.end("something follows the time of a revocation")?;
        found.push(u32::try_from(serial.at).map_err(|_| all.broken("the file is too long"))?);
    }
    found.shrink_to_fit();
    found.sort_unstable_by(|&a, &b| serial_at(bytes, a).cmp(serial_at(bytes, b)));
    Ok(found.into_boxed_slice())
}

/// `Extensions`, each with its identifier, whether it is critical, and what it says.
fn for_each_extension<'a>(
    mut value: Der<'a>,
    mut each: impl FnMut(&'a [u8], bool, Der<'a>) -> Result<(), CrlFault>,
) -> Result<(), CrlFault> {
    let mut all = value.expect(der::SEQUENCE, "extensions were expected")?.inside();
    value.end("something follows the extensions")?;
    while !all.is_empty() {
        let mut fields = all.expect(der::SEQUENCE, "an extension was expected")?.inside();
        let oid = fields.expect(der::OBJECT_IDENTIFIER, "the name of an extension was expected")?.content;
        let is_critical = fields.optional(der::BOOLEAN)?.map_or(Ok(false), |flag| flag.is_true())?;
        let value = fields.expect(der::OCTET_STRING, "the value of an extension was expected")?;
        fields.end("something follows the value of an extension")?;
        each(oid, is_critical, value.inside())?;
    }
    Ok(())
}

/// For messages.
fn dotted(oid: &[u8]) -> String {
    Refusal::foreign(&Oid::new(oid.into()).to_id_string())
}

// id-ce of RFC 5280: 2.5.29.n.
const NUMBER: &[u8] = &[0x55, 0x1D, 20];
const REASON: &[u8] = &[0x55, 0x1D, 21];
const INVALIDITY_DATE: &[u8] = &[0x55, 0x1D, 24];
const DELTA: &[u8] = &[0x55, 0x1D, 27];
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1D, 28];
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1D, 29];
const AUTHORITY_KEY: &[u8] = &[0x55, 0x1D, 35];
