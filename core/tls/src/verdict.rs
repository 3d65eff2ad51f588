//! What was found about a client's certificate while rustls shook hands.
//!
//! rustls asks for the verification in the middle of a poll, and passes on neither the path that proved a certificate nor
//! which certificate it refused. Both are kept aside here until the same poll returns, for the handshake that is
//! being polled and no other.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use postern_identity::{CertFacts, Refusal};
use rustls::{CertificateError, Error, ExtendedKeyPurpose};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::crl::{NotGood, RevocationFault};
use crate::reason::Reason;

/// The path that proved a client's certificate, its own first and the trust anchor last; or why there is none.
pub type Verdict = Result<Vec<Arc<CertFacts>>, Rejected>;

/// A client's certificate that is not accepted. Shown, it is the sentence for the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// Its subject (RFC 4514), escaped and cut; none where the certificate cannot be read.
    pub subject: Option<String>,
    /// The subject of the certificate above it that is at fault, where it is known and is not the client's own.
    pub above: Option<String>,
    /// Why.
    pub error: Error,
}

/// What webpki and rustls have no word for. It travels in [`CertificateError::Other`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unacceptable {
    /// The listener's `depth`.
    #[error("{found} certificates lie between the client certificate and the CA, and `depth` allows {depth}")]
    TooDeep {
        /// Certificates between.
        found: usize,
        /// Allowed.
        depth: usize,
    },
    /// The listener's `verify_peer_ext_key_usage`.
    #[error("client certificate lacks the extended key usage {0} that `verify_peer_ext_key_usage` asks for")]
    MissingUsage(String),
}

impl Unacceptable {
    fn reason(&self) -> Reason {
        match self {
            Self::TooDeep { .. } => Reason::TooDeep,
            Self::MissingUsage(_) => Reason::WrongPurpose,
        }
    }
}

impl Rejected {
    pub(crate) fn new(presented: &CertificateDer<'_>, others: &[CertificateDer<'_>], error: Error) -> Self {
        let leaf = CertFacts::from_der(presented).ok();
        let above = leaf.as_ref().and_then(|leaf| at_fault_above(leaf, others, &error));
        Self { subject: leaf.map(|facts| Refusal::foreign(&facts.subject_dn)), above, error }
    }

    /// The kind, for metrics.
    pub fn reason(&self) -> Reason {
        self.told().0
    }

    fn told(&self) -> (Reason, String) {
        let whose = if self.above.is_some() { "CA certificate above the client's" } else { "client certificate" };
        match &self.error {
            Error::InvalidCertificate(reason) => of_certificate(reason, whose),
            other => (Reason::BadCertificate, format!("{whose} is refused: {}", Refusal::foreign(&other.to_string()))),
        }
    }

    /// The error that makes rustls send the alert of RFC 8446, section 6.2. It has its own view of some.
    pub(crate) fn for_alert(&self) -> Error {
        let Error::InvalidCertificate(error) = &self.error else { return self.error.clone() };
        let shaped = match self.reason() {
            // certificate_unknown: that nothing is known of a revocation is no fault of the CA.
            Reason::NoRevocationList | Reason::RevocationListOutdated => other_error(self.error.clone()),
            // bad_certificate; decrypt_error is for the handshake's own signatures.
            Reason::BadSignature | Reason::BadCertificate | Reason::TooDeep => CertificateError::BadEncoding,
            Reason::Revoked => CertificateError::Revoked,
            // unsupported_certificate
            Reason::WrongPurpose => CertificateError::InvalidPurpose,
            _ => error.clone(),
        };
        Error::InvalidCertificate(shaped)
    }
}

fn other_error(reason: impl std::error::Error + Send + Sync + 'static) -> CertificateError {
    CertificateError::Other(rustls::OtherError(Arc::new(reason)))
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told().1)?;
        match (&self.above, &self.subject) {
            (Some(above), Some(subject)) => write!(f, ": {above} (the client is {subject})"),
            (Some(one), None) | (None, Some(one)) => write!(f, ": {one}"),
            (None, None) => Ok(()),
        }
    }
}

/// webpki says when the certificate ended that stopped it, and not which one it was.
fn at_fault_above(leaf: &CertFacts, others: &[CertificateDer<'_>], error: &Error) -> Option<String> {
    let Error::InvalidCertificate(error) = error else { return None };
    if let CertificateError::Other(other) = error {
        let found: &NotGood = other.0.downcast_ref()?;
        return (found.position > 0).then(|| found.subject.clone());
    }
    let is_at_fault = |facts: &CertFacts| match error {
        CertificateError::ExpiredContext { not_after, .. } => Some(facts.not_after) == signed(*not_after),
        CertificateError::NotValidYetContext { not_before, .. } => Some(facts.not_before) == signed(*not_before),
        _ => true,
    };
    if is_at_fault(leaf) {
        return None;
    }
    let above = others.iter().filter_map(|der| CertFacts::from_der(der).ok()).find(|facts| is_at_fault(facts));
    above.map(|facts| Refusal::foreign(&facts.subject_dn))
}

fn signed(time: UnixTime) -> Option<i64> {
    i64::try_from(time.as_secs()).ok()
}

/// The kind and the words, which go on with a certificate's subject.
pub(crate) fn of_certificate(reason: &CertificateError, whose: &str) -> (Reason, String) {
    match reason {
        CertificateError::Expired => (Reason::Expired, format!("{whose} expired")),
        CertificateError::ExpiredContext { time, not_after } => {
            (Reason::Expired, format!("{whose} expired {} ago", span(*not_after, *time)))
        }
        CertificateError::NotValidYet => (Reason::NotYetValid, format!("{whose} is not valid yet")),
        CertificateError::NotValidYetContext { time, not_before } => {
            (Reason::NotYetValid, format!("{whose} is not valid yet, but {} from now on", span(*time, *not_before)))
        }
        CertificateError::Revoked => (Reason::Revoked, format!("{whose} is revoked")),
        CertificateError::UnknownRevocationStatus => {
            (Reason::NoRevocationList, "there is no revocation list that speaks of the client certificate".to_owned())
        }
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            (Reason::RevocationListOutdated, "the revocation list for the client certificate is outdated".to_owned())
        }
        CertificateError::UnknownIssuer => (
            Reason::UnknownIssuer,
            "no client CA of the bundle issued the client certificate (unknown issuer, or an intermediate is missing)"
                .to_owned(),
        ),
        CertificateError::BadSignature => {
            let words = "a signature is wrong: the client certificate, or one above it, is forged";
            (Reason::BadSignature, words.to_owned())
        }
        CertificateError::InvalidPurpose => {
            (Reason::WrongPurpose, "client certificate is not for client authentication".to_owned())
        }
        CertificateError::InvalidPurposeContext { presented, .. } => {
            let purposes = purposes(presented);
            let words = format!("client certificate is not for client authentication (extended key usage: {purposes})");
            (Reason::WrongPurpose, words)
        }
        CertificateError::BadEncoding => (Reason::BadCertificate, "client certificate cannot be read".to_owned()),
        CertificateError::UnhandledCriticalExtension => {
            let words = "client certificate has a critical extension that is not understood";
            (Reason::BadCertificate, words.to_owned())
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            let words =
                "client certificate is signed with an algorithm that is not accepted (SHA-1, or RSA under 2048 bits)";
            (Reason::BadCertificate, words.to_owned())
        }
        CertificateError::Other(other) => of_path(other, whose),
        other => (Reason::BadCertificate, refused(other)),
    }
}

/// The reasons of path building that rustls passes on without words of its own, and ours.
fn of_path(other: &rustls::OtherError, whose: &str) -> (Reason, String) {
    if let Some(ours) = other.0.downcast_ref::<Unacceptable>() {
        return (ours.reason(), ours.to_string());
    }
    if let Some(NotGood { fault, .. }) = other.0.downcast_ref() {
        return of_revocation(fault, whose);
    }
    let words = match other.0.downcast_ref::<webpki::Error>() {
        Some(webpki::Error::CaUsedAsEndEntity) => "client certificate is a CA certificate (basicConstraints CA:TRUE)",
        Some(webpki::Error::EndEntityUsedAsCa) => "client certificate was issued by one that is not a CA",
        Some(webpki::Error::PathLenConstraintViolated) => "the client's chain is longer than one of its CAs allows",
        Some(webpki::Error::NameConstraintViolation) => {
            "a name in the client certificate is outside the name constraints of its CA"
        }
        Some(
            webpki::Error::MaximumSignatureChecksExceeded
            | webpki::Error::MaximumPathBuildCallsExceeded
            | webpki::Error::MaximumPathDepthExceeded
            | webpki::Error::MaximumNameConstraintComparisonsExceeded,
        ) => "the client's chain takes more work to verify than is allowed",
        Some(webpki::Error::UnsupportedCertVersion) => "client certificate is not X.509 version 3",
        _ => return (Reason::BadCertificate, refused(other)),
    };
    (Reason::BadCertificate, words.to_owned())
}

fn of_revocation(fault: &RevocationFault, whose: &str) -> (Reason, String) {
    let unsure = format!("whether the {whose} is revoked cannot be told: {fault}");
    match fault {
        RevocationFault::Revoked { issuer } => (Reason::Revoked, format!("{whose} is revoked by the list of {issuer}")),
        RevocationFault::Outdated { .. } => (Reason::RevocationListOutdated, unsure),
        _ => (Reason::NoRevocationList, unsure),
    }
}

fn refused(other: &impl fmt::Display) -> String {
    format!("client certificate is refused: {}", Refusal::foreign(&other.to_string()))
}

/// At most this many purposes are named in a log line.
const MAX_PURPOSES: usize = 4;

fn purposes(presented: &[ExtendedKeyPurpose]) -> String {
    let names: Vec<String> = presented.iter().take(MAX_PURPOSES).map(ToString::to_string).collect();
    if names.is_empty() { "none".to_owned() } else { Refusal::foreign(&names.join(", ")) }
}

/// A time between two moments in its largest unit: `3 days`.
fn span(from: UnixTime, to: UnixTime) -> String {
    const UNITS: [(&str, u64); 4] = [("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];
    let seconds = to.as_secs().saturating_sub(from.as_secs());
    let (unit, length) = UNITS.into_iter().find(|(_, length)| seconds >= *length).unwrap_or(UNITS[3]);
    let count = seconds / length;
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

thread_local! {
    static LAST: Cell<Option<Verdict>> = const { Cell::new(None) };
}

/// Keeps the verdict for [`observed`].
pub(crate) fn keep(verdict: Verdict) {
    LAST.set(Some(verdict));
}

/// Runs a handshake, and gives the verdict on the client's certificate with its outcome. None where no certificate was
/// verified: the client showed none, or the session was resumed.
pub async fn observed<H: Future>(handshake: H) -> (H::Output, Option<Verdict>) {
    let mut handshake = pin!(handshake);
    let mut verdict = None;
    let outcome = poll_fn(|context| {
        LAST.set(None);
        let polled = handshake.as_mut().poll(context);
        // The thread may poll another handshake before it comes back to this one.
        if let Some(found) = LAST.take() {
            verdict = Some(found);
        }
        polled
    })
    .await;
    (outcome, verdict)
}
