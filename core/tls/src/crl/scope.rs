//! Which certificates of its issuer a list speaks of (RFC 5280, section 5.2.5).

use postern_identity::CertFacts;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::OID_X509_EXT_CRL_DISTRIBUTION_POINTS;
use x509_parser::prelude::FromDer;

use super::der::{self, Broken, Der};
use super::list::CrlFault;

/// Most distribution points that are read of a certificate, and most names of a list's own. Honest ones have three.
const MAX_POINTS: usize = 64;

/// What a list speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Scope {
    only: Option<Kind>,
    /// The names of the list's distribution point, as DER and sorted; empty where it has none.
    points: Vec<Vec<u8>>,
}

/// Two kinds of certificates that a list can be for alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    User,
    Authority,
}

/// What a list is asked about.
pub(super) struct Asked {
    /// The issuer's name as DER.
    pub(super) issuer: Vec<u8>,
    /// Without leading zeros.
    pub(super) serial: Vec<u8>,
    kind: Kind,
    /// The names of all its distribution points, as DER.
    points: Vec<Vec<u8>>,
}

impl Scope {
    /// Reads an issuingDistributionPoint.
    pub(super) fn read(value: Der<'_>) -> Result<Self, CrlFault> {
        let mut fields = enclosed(value)?;
        let mut scope = Self::default();
        if let Some(point) = fields.optional(der::context_of(0))? {
            scope.points = full_names(point.inside())?.ok_or(CrlFault::RelativeName)?;
            scope.points.sort_unstable();
            scope.points.dedup();
        }
        let mut flag = |number| fields.optional(der::context(number))?.map_or(Ok(false), |flag| flag.is_true());
        let (users, authorities) = (flag(1)?, flag(2)?);
        // Only that it is there matters: a list for some reasons cannot say that a certificate is good.
        if fields.optional(der::context(3))?.is_some() {
            return Err(CrlFault::SomeReasons);
        }
        let mut flag = |number| fields.optional(der::context(number))?.map_or(Ok(false), |flag| flag.is_true());
        if flag(4)? {
            return Err(CrlFault::Indirect);
        }
        if flag(5)? || users && authorities {
            return Err(CrlFault::NotForCertificates);
        }
        fields.end("something behind its distribution point")?;
        scope.only = match (users, authorities) {
            (true, _) => Some(Kind::User),
            (_, true) => Some(Kind::Authority),
            _ => None,
        };
        Ok(scope)
    }

    /// Whether what the list says holds for this certificate of its issuer.
    pub(super) fn covers(&self, asked: &Asked) -> bool {
        let kind = self.only.is_none_or(|only| only == asked.kind);
        kind && (self.points.is_empty() || self.points.iter().any(|point| asked.points.contains(point)))
    }
}

impl Asked {
    /// None where the certificate cannot be read.
    pub(super) fn about(facts: &CertFacts) -> Option<Self> {
        let (_, cert) = X509Certificate::from_der(&facts.der).ok()?;
        let is_ca = cert.basic_constraints().ok()?.is_some_and(|basic| basic.value.ca);
        let mut points = Vec::new();
        if let Some(extension) = cert.get_extension_unique(&OID_X509_EXT_CRL_DISTRIBUTION_POINTS).ok()? {
            points = named_points(Der::new(extension.value, 0)).ok()?;
        }
        Some(Self {
            issuer: cert.issuer().as_raw().to_vec(),
            serial: without_zeros(cert.raw_serial()).to_vec(),
            kind: if is_ca { Kind::Authority } else { Kind::User },
            points,
        })
    }
}

/// Two ways to write one number are one number.
pub(super) fn without_zeros(serial: &[u8]) -> &[u8] {
    &serial[serial.iter().take_while(|byte| **byte == 0).count()..]
}

/// The one SEQUENCE that a value is.
fn enclosed(mut value: Der<'_>) -> Result<Der<'_>, Broken> {
    let sequence = value.expect(der::SEQUENCE, "an extension that is not what its name says")?;
    value.end("something behind an extension")?;
    Ok(sequence.inside())
}

/// The names of a certificate's distribution points (RFC 5280, section 4.2.1.13). A point whose lists are another's, or
/// for some reasons alone, is none of ours.
fn named_points(value: Der<'_>) -> Result<Vec<Vec<u8>>, Broken> {
    let mut points = enclosed(value)?;
    let mut names = Vec::new();
    while !points.is_empty() {
        let mut fields = points.expect(der::SEQUENCE, "a distribution point")?.inside();
        let name = fields.optional(der::context_of(0))?;
        let is_plain = fields.is_empty();
        if let Some(name) = name.filter(|_| is_plain) {
            names.extend(full_names(name.inside())?.unwrap_or_default());
        }
        if names.len() > MAX_POINTS {
            return Err(points.broken("more names of distribution points than any honest certificate has"));
        }
    }
    Ok(names)
}

/// The names of a `DistributionPointName`; none where it is relative to the issuer's name.
fn full_names(mut choice: Der<'_>) -> Result<Option<Vec<Vec<u8>>>, Broken> {
    let Some(full) = choice.optional(der::context_of(0))? else { return Ok(None) };
    choice.end("something behind the name of a distribution point")?;
    let mut all = full.inside();
    let mut names = Vec::new();
    while !all.is_empty() {
        if names.len() == MAX_POINTS {
            return Err(all.broken("more names of a distribution point than any honest list has"));
        }
        names.push(all.next()?.whole.to_vec());
    }
    Ok(Some(names))
}
