//! Revocation lists as no honest authority makes them, signed with its key all the same.

use rcgen::{KeyPair, SigningKey};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{ASN1Time, FromDer};

use crate::pki::{Authority, NOW};

pub(crate) const DAY: i64 = 86_400;

/// DER.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut made = vec![tag];
    match content.len() {
        length @ ..0x80 => made.push(u8::try_from(length).unwrap()),
        length => {
            let digits = length.to_be_bytes();
            let digits = &digits[digits.iter().position(|byte| *byte != 0).unwrap()..];
            made.push(0x80 | u8::try_from(digits.len()).unwrap());
            made.extend(digits);
        }
    }
    made.extend(content);
    made
}

/// An extension of the family 2.5.29.
pub(crate) fn extension(number: u8, is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical { &[1, 1, 0xFF][..] } else { &[] };
    tlv(0x30, &[&tlv(6, &[&[0x55, 0x1D, number]]), critical, &tlv(4, &[value])])
}

/// An issuingDistributionPoint with these fields.
pub(crate) fn distribution_point(fields: &[&[u8]]) -> Vec<u8> {
    extension(28, true, &tlv(0x30, fields))
}

/// The field of it that is its name, a URI.
pub(crate) fn named(uri: &str) -> Vec<u8> {
    tlv(0xA0, &[&tlv(0xA0, &[&tlv(0x86, &[uri.as_bytes()])])])
}

fn time(unix_s: i64) -> Vec<u8> {
    let time = ASN1Time::from_timestamp(unix_s).unwrap().to_datetime();
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    tlv(0x18, &[format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z").as_bytes()])
}

/// A list in the making.
pub(crate) struct Crl {
    issuer: Vec<u8>,
    pub(crate) this_update: i64,
    pub(crate) next_update: Option<i64>,
    pub(crate) serials: Vec<Vec<u8>>,
    pub(crate) entry_extensions: Vec<u8>,
    pub(crate) extensions: Vec<Vec<u8>>,
}

impl Crl {
    /// An honest one of yesterday.
    pub(crate) fn of(issuer: &Authority) -> Self {
        let (_, cert) = X509Certificate::from_der(issuer.der()).unwrap();
        Self {
            issuer: cert.subject().as_raw().to_vec(),
            this_update: NOW - DAY,
            next_update: Some(NOW + DAY),
            serials: Vec::new(),
            entry_extensions: Vec::new(),
            extensions: vec![extension(20, false, &[2, 1, 7])],
        }
    }

    /// Lists this certificate too.
    pub(crate) fn revoking(mut self, der: &[u8]) -> Self {
        let (_, cert) = X509Certificate::from_der(der).unwrap();
        self.serials.push(cert.raw_serial().to_vec());
        self
    }

    pub(crate) fn with(mut self, extension: Vec<u8>) -> Self {
        self.extensions.push(extension);
        self
    }

    pub(crate) fn from(mut self, this_update: i64, next_update: i64) -> Self {
        (self.this_update, self.next_update) = (this_update, Some(next_update));
        self
    }

    /// The list, signed by ECDSA on P-256.
    pub(crate) fn signed_with(&self, key: &KeyPair) -> Vec<u8> {
        let algorithm = tlv(0x30, &[&tlv(6, &[&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 2]])]);
        let when = time(self.this_update);
        let entry = |serial: &Vec<u8>| tlv(0x30, &[&tlv(2, &[serial]), &when, &self.entry_extensions]);
        let entries: Vec<Vec<u8>> = self.serials.iter().map(entry).collect();
        let entries = if entries.is_empty() { Vec::new() } else { tlv(0x30, &[&entries.concat()]) };
        let extensions = tlv(0xA0, &[&tlv(0x30, &[&self.extensions.concat()])]);
        let next = self.next_update.map(time).unwrap_or_default();
        let signed = tlv(0x30, &[&[2, 1, 1], &algorithm, &self.issuer, &when, &next, &entries, &extensions]);
        let signature = key.sign(&signed).unwrap();
        tlv(0x30, &[&signed, &algorithm, &tlv(3, &[&[0], &signature])])
    }

    /// The list, signed by its issuer.
    pub(crate) fn signed(&self, issuer: &Authority) -> Vec<u8> {
        self.signed_with(issuer.key())
    }
}
