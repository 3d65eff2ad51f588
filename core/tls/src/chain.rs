//! Which path proved a client's certificate?
//!
//! rustls verifies a client's chain and keeps the path to itself. The gate needs it: who signed a certificate
//! decides whose client it is. A client may send certificates that have no part in the path, and may arrange
//! them so that several paths look possible; the answer must be the path that the verification took, never
//! one that the client would like better.
//!
//! Why the answer is right:
//!
//! 1. webpki goes from a certificate only to anchors and presented certificates whose subject equals its
//!    issuer, byte for byte. So the path it took is among the paths that these names allow.
//! 2. Where each step has exactly one candidate, the names allow one path. A verification that succeeded
//!    took it. No signature is checked again; this is the ordinary case.
//! 3. Where a step has several candidates, webpki runs once more on the same input and tells its path. That
//!    costs a second verification, and its own budget of 100 signatures bounds what a mesh of
//!    cross-signed certificates can make of it. Signatures alone would not do in this case: an expired or
//!    constrained intermediate has a good signature too, and a client could steer to it.
//! 4. A presented copy of an anchor is left out first, because many clients send their root along. No path
//!    needs the copy: whatever it signed, the anchor with the same name and key has signed, and webpki tries
//!    anchors before it tries presented certificates.

use std::sync::Arc;
use std::time::Duration;

use postern_identity::{AmbiguousCertificate, BundleRef, CertFacts};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::bundle::Bundle;
use crate::configs::provider;
use crate::policy::Anchors;
use crate::trust::Anchored;

/// Most certificates between leaf and anchor: webpki's own bound.
pub const MAX_INTERMEDIATES: usize = 6;
/// Most certificates that a client may present: a leaf, as many issuers as webpki follows, and the root that
/// some clients send along.
pub const MAX_PRESENTED: usize = MAX_INTERMEDIATES + 2;

/// Why there is no path. All of them refuse the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The client showed no certificate.
    #[error("the client showed no certificate")]
    Nothing,
    /// Certificates without number.
    #[error("the client sent {found} certificates, at most {max} are looked at")]
    TooMany {
        /// Sent.
        found: usize,
        /// Allowed.
        max: usize,
    },
    /// The bundle trusts nobody.
    #[error("bundle {0} has no client CA")]
    NoClientCa(BundleRef),
    /// A certificate of the path cannot be read.
    #[error("certificate {position} of the client's chain: {reason}")]
    Certificate {
        /// Place in the path, from 1.
        position: usize,
        /// Why.
        reason: AmbiguousCertificate,
    },
    /// No path leads to an anchor: the chain is not one that was verified against this bundle.
    #[error("no path from the client's certificate to the client CA of the bundle: {0}")]
    NoPath(String),
}

/// The path of a client certificate that rustls has verified against this bundle: the client's certificate
/// first, the trust anchor last. `presented` is what the client sent, its own certificate first; `now_unix_s`
/// is the time of day in seconds since the Unix epoch.
///
/// The anchor's facts are the bundle's own, read when it was loaded.
///
/// # Errors
/// [`ChainError`]; the client is refused.
pub fn verified_chain(
    presented: &[CertificateDer<'_>],
    (trust, anchors): (&Bundle, Anchors),
    now_unix_s: i64,
) -> Result<Vec<Arc<CertFacts>>, ChainError> {
    let own = trust.trust().ok_or_else(|| ChainError::NoClientCa(trust.name().clone()))?;
    let (leaf, others) = presented.split_first().ok_or(ChainError::Nothing)?;
    if presented.len() > MAX_PRESENTED {
        return Err(ChainError::TooMany { found: presented.len(), max: MAX_PRESENTED });
    }
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now_unix_s).unwrap_or_default()));
    let anchors = own.anchored(anchors);
    verified_path(leaf, &anchors.with_helpers(leaf, others), &anchors, now)
}

/// The same where the number of certificates is bounded already.
pub(crate) fn verified_path(
    leaf: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    anchors: &Anchored,
    now: UnixTime,
) -> Result<Vec<Arc<CertFacts>>, ChainError> {
    let others: Vec<&CertificateDer<'_>> = distinct(others, anchors);
    match walk(leaf, &others, anchors)? {
        Walk::Forced(path) => path.into_facts(leaf, anchors),
        Walk::Fork => verify_again(leaf, &others, anchors, now),
    }
}

/// The presented issuers, each once, without copies of anchors.
fn distinct<'a, 'b>(others: &'a [CertificateDer<'b>], anchors: &Anchored) -> Vec<&'a CertificateDer<'b>> {
    let mut kept: Vec<&CertificateDer<'_>> = Vec::new();
    for other in others {
        let anchor = anchors.facts.iter().any(|facts| facts.der == other.as_ref());
        if !anchor && !kept.contains(&other) {
            kept.push(other);
        }
    }
    kept
}

/// A path in terms of its parts.
struct Path {
    intermediates: Vec<Vec<u8>>,
    /// Index among the bundle's anchors.
    anchor: usize,
}

impl Path {
    fn into_facts(self, leaf: &CertificateDer<'_>, anchors: &Anchored) -> Result<Vec<Arc<CertFacts>>, ChainError> {
        let mut chain = Vec::with_capacity(self.intermediates.len() + 2);
        for der in std::iter::once(leaf.as_ref()).chain(self.intermediates.iter().map(Vec::as_slice)) {
            let position = chain.len() + 1;
            let facts = CertFacts::from_der(der).map_err(|reason| ChainError::Certificate { position, reason })?;
            chain.push(Arc::new(facts));
        }
        chain.push(Arc::clone(&anchors.facts[self.anchor]));
        Ok(chain)
    }
}

enum Walk {
    /// Each step had one candidate.
    Forced(Path),
    /// Some step had several.
    Fork,
}

/// Follows issuer names from the leaf for as long as they leave no choice.
fn walk(leaf: &CertificateDer<'_>, others: &[&CertificateDer<'_>], anchors: &Anchored) -> Result<Walk, ChainError> {
    let leaf = parse(leaf)?;
    // What webpki cannot read it does not build paths from.
    let others: Vec<EndEntityCert<'_>> = others.iter().filter_map(|der| EndEntityCert::try_from(*der).ok()).collect();
    let mut issuer = leaf.issuer();
    let mut intermediates: Vec<Vec<u8>> = Vec::new();
    // One step more than there are intermediates: the last one must reach an anchor.
    for _ in 0..=MAX_INTERMEDIATES {
        let mut by_anchor = positions(anchors.roots.roots.iter().map(|anchor| anchor.subject.as_ref()), issuer);
        let mut by_other = positions(others.iter().map(|other| other.subject()), issuer);
        match (by_anchor.next(), by_other.next()) {
            (Some(anchor), None) if by_anchor.next().is_none() => {
                return Ok(Walk::Forced(Path { intermediates, anchor }));
            }
            (None, Some(other)) if by_other.next().is_none() => {
                intermediates.push(others[other].der().to_vec());
                issuer = others[other].issuer();
            }
            (None, None) => return Err(ChainError::NoPath("an issuer is missing".to_owned())),
            _ => return Ok(Walk::Fork),
        }
    }
    Err(ChainError::NoPath(format!("more than {MAX_INTERMEDIATES} certificates lie between")))
}

fn positions<'a>(subjects: impl Iterator<Item = &'a [u8]>, issuer: &[u8]) -> impl Iterator<Item = usize> {
    subjects.enumerate().filter(move |(_, subject)| *subject == issuer).map(|(position, _)| position)
}

fn parse<'a>(der: &'a CertificateDer<'a>) -> Result<EndEntityCert<'a>, ChainError> {
    EndEntityCert::try_from(der).map_err(|error| ChainError::NoPath(error.to_string()))
}

/// webpki's verification as rustls runs it for client certificates, for the sake of the path it returns.
fn verify_again(
    leaf: &CertificateDer<'_>,
    others: &[&CertificateDer<'_>],
    anchors: &Anchored,
    now: UnixTime,
) -> Result<Vec<Arc<CertFacts>>, ChainError> {
    let others: Vec<CertificateDer<'_>> = others.iter().map(|&other| other.clone()).collect();
    let cert = parse(leaf)?;
    let algorithms = provider().signature_verification_algorithms.all;
    let roots = &anchors.roots.roots;
    let verified = cert
        .verify_for_usage(algorithms, roots, &others, now, KeyUsage::client_auth(), None, None)
        .map_err(|error| ChainError::NoPath(error.to_string()))?;
    // Anchors that are equal in name, key and constraints are one to webpki; the first of them stands for all.
    let anchor = roots.iter().position(|root| root == verified.anchor());
    let anchor = anchor.ok_or_else(|| ChainError::NoPath("the anchor is not the bundle's".to_owned()))?;
    let intermediates = verified.intermediate_certificates().map(|cert| cert.der().to_vec()).collect();
    Path { intermediates, anchor }.into_facts(leaf, anchors)
}
