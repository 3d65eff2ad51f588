//! Whether an answer may be stapled: it is about our certificate, from who may say so, and of now.

use pkcs8::der::asn1::GeneralizedTime;
use pkcs8::der::{Decode, Encode};
use sha1::{Digest, Sha1};
use x509_ocsp::{CertStatus, OcspResponse, OcspResponseStatus, ResponderId, ResponseData, SingleResponse};
use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::certificate::X509Certificate;

use super::question::{OcspQuestion, without_zeros};
use crate::signature;

/// How far the clock of a responder may be ahead of ours, in seconds.
const SKEW_S: i64 = 300;
/// Most certificates of a response that are looked at: a responder sends its own, seldom with one more.
const MAX_CERTIFICATES: usize = 4;
/// `id-pkix-ocsp-basic`
const BASIC: &str = "1.3.6.1.5.5.7.48.1.1";
/// `id-sha1`
const SHA1: &str = "1.3.14.3.2.26";

/// An answer that may be stapled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspAnswer {
    /// The whole response, as it is stapled.
    pub der: Vec<u8>,
    /// Since when it is known to be so, in seconds since the Unix epoch.
    pub this_update: i64,
    /// Until when it holds; none where the responder always has a newer one.
    pub next_update: Option<i64>,
}

/// Why an answer is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OcspFault {
    /// Not a response.
    #[error("the answer is no OCSP response (RFC 6960), or damaged")]
    Malformed,
    /// The responder does not answer the question.
    #[error("the responder says `{0}`")]
    Unsuccessful(&'static str),
    /// Another kind of response.
    #[error("the response is of a type other than basic ({0})")]
    Type(String),
    /// Nobody who may answer for the issuer.
    #[error(
        "the response is signed neither by the certificate's issuer nor by somebody whom it made a responder \
         (extended key usage OCSPSigning)"
    )]
    Signer,
    /// By somebody who may, and yet wrong.
    #[error("the signature of the response is wrong, or of an algorithm that is not taken")]
    Signature,
    /// About another certificate.
    #[error("the response is about another certificate")]
    OtherCertificate,
    /// Of the future.
    #[error("the response is not valid yet; is the time of day right?")]
    NotYetValid,
    /// Of the past.
    #[error("the response has expired")]
    Expired,
    /// It has to be understood and is not.
    #[error("the response has a critical extension that is not understood")]
    CriticalExtension,
    /// The responder does not know the certificate.
    #[error("the responder does not know the certificate")]
    Unknown,
    /// The certificate is revoked.
    #[error("the certificate is revoked, since second {since_unix_s} of the Unix era")]
    Revoked {
        /// Since when, in seconds since the Unix epoch.
        since_unix_s: i64,
    },
}

impl OcspQuestion {
    /// Takes a response for an answer to this question, if it is one that clients will take.
    ///
    /// # Errors
    /// [`OcspFault`], of which [`OcspFault::Revoked`] alone is an answer.
    pub fn verify(&self, response: &[u8], now_unix_s: i64) -> Result<OcspAnswer, OcspFault> {
        let outer = OcspResponse::from_der(response).map_err(|_| OcspFault::Malformed)?;
        if outer.response_status != OcspResponseStatus::Successful {
            return Err(OcspFault::Unsuccessful(word(outer.response_status)));
        }
        let bytes = outer.response_bytes.ok_or(OcspFault::Malformed)?;
        if bytes.response_type.to_string() != BASIC {
            return Err(OcspFault::Type(bytes.response_type.to_string()));
        }
        let basic = Signed::split(bytes.response.as_bytes()).ok_or(OcspFault::Malformed)?;
        let data = ResponseData::from_der(basic.content).map_err(|_| OcspFault::Malformed)?;
        self.verify_signer(&basic, &data.responder_id, now_unix_s)?;
        if data.response_extensions.iter().flatten().any(|extension| extension.critical) {
            return Err(OcspFault::CriticalExtension);
        }
        let ours = data.responses.iter().find(|single| self.is_about(single)).ok_or(OcspFault::OtherCertificate)?;
        let (this_update, next_update) = check_times(ours, now_unix_s)?;
        if ours.single_extensions.iter().flatten().any(|extension| extension.critical) {
            return Err(OcspFault::CriticalExtension);
        }
        match &ours.cert_status {
            CertStatus::Good(_) => Ok(OcspAnswer { der: response.to_vec(), this_update, next_update }),
            CertStatus::Revoked(info) => Err(OcspFault::Revoked { since_unix_s: unix_s(info.revocation_time.0) }),
            CertStatus::Unknown(_) => Err(OcspFault::Unknown),
        }
    }

    fn is_about(&self, single: &SingleResponse) -> bool {
        let id = &single.cert_id;
        id.hash_algorithm.oid.to_string() == SHA1
            && id.issuer_name_hash.as_bytes() == self.issuer_name_hash
            && id.issuer_key_hash.as_bytes() == self.issuer_key_hash
            && without_zeros(id.serial_number.as_bytes()) == self.serial
    }

    /// The issuer itself, or one whom it signed as a responder (RFC 6960, section 4.2.2.2).
    fn verify_signer(&self, basic: &Signed<'_>, by: &ResponderId, now_unix_s: i64) -> Result<(), OcspFault> {
        let verified = |key: &[u8]| {
            let good = signature::is_signed_by(key, basic.algorithm, basic.content, basic.signature);
            if good { Ok(()) } else { Err(OcspFault::Signature) }
        };
        if is_named(by, &self.issuer_name, &self.issuer_key_hash) {
            return verified(&self.issuer_key);
        }
        let is_delegate = |cert: &X509Certificate<'_>| {
            let key_hash = Sha1::digest(&cert.public_key().subject_public_key.data);
            is_named(by, cert.subject().as_raw(), &key_hash) && self.is_responder(cert, now_unix_s)
        };
        let delegate = basic.certificates().into_iter().find(is_delegate).ok_or(OcspFault::Signer)?;
        verified(delegate.public_key().raw)
    }

    fn is_responder(&self, delegate: &X509Certificate<'_>, now_unix_s: i64) -> bool {
        let validity = delegate.validity();
        let in_time = (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now_unix_s);
        let usage = delegate.extended_key_usage().ok().flatten();
        let may_sign = usage.is_some_and(|usage| usage.value.ocsp_signing);
        in_time && may_sign && delegate.issuer().as_raw() == self.issuer_name && self.issued(delegate)
    }

    fn issued(&self, delegate: &X509Certificate<'_>) -> bool {
        Signed::split(delegate.as_raw())
            .is_some_and(|cert| signature::is_signed_by(&self.issuer_key, cert.algorithm, cert.content, cert.signature))
    }
}

/// What was signed, how, and what follows: a basic response, or a certificate.
struct Signed<'a> {
    content: &'a [u8],
    /// Without its SEQUENCE.
    algorithm: &'a [u8],
    signature: &'a [u8],
    /// The certificates that come with a response.
    certificates: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Nothing may follow, or be out of form: what is stapled is read by clients that may be stricter.
    fn split(der: &'a [u8]) -> Option<Self> {
        let (outer, []) = take(der, SEQUENCE)? else { return None };
        let (_, rest) = take(outer, SEQUENCE)?;
        let content = &outer[..outer.len() - rest.len()];
        let (algorithm, rest) = take(rest, SEQUENCE)?;
        let (signature, rest) = take(rest, BIT_STRING)?;
        let mut certificates = rest;
        if !rest.is_empty() {
            let (tagged, []) = take(rest, FIRST)? else { return None };
            let (list, []) = take(tagged, SEQUENCE)? else { return None };
            certificates = list;
        }
        Some(Self { content, algorithm, signature: signature::whole_bytes(signature)?, certificates })
    }

    /// As far as they are looked at.
    fn certificates(&self) -> Vec<X509Certificate<'a>> {
        let mut rest = self.certificates;
        let mut found = Vec::new();
        while let Ok((after, certificate)) = X509Certificate::from_der(rest)
            && found.len() < MAX_CERTIFICATES
        {
            found.push(certificate);
            rest = after;
        }
        found
    }
}

/// The first byte of a SEQUENCE, of a BIT STRING, and of `[0]` around a value.
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const FIRST: u8 = 0xA0;

/// The content of the value that these bytes begin with, and what follows it.
fn take(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (rest, value) = Any::from_der(der).ok().filter(|_| der[0] == tag)?;
    Some((value.data, rest))
}

/// Whether the responder calls itself by this name, or by the hash of this key.
fn is_named(by: &ResponderId, name: &[u8], key_hash: &[u8]) -> bool {
    match by {
        ResponderId::ByName(own) => own.to_der().is_ok_and(|own| own == name),
        ResponderId::ByKey(own) => own.as_bytes() == key_hash,
    }
}

fn check_times(single: &SingleResponse, now_unix_s: i64) -> Result<(i64, Option<i64>), OcspFault> {
    let this_update = unix_s(single.this_update.0);
    let next_update = single.next_update.map(|time| unix_s(time.0));
    if this_update > now_unix_s + SKEW_S {
        return Err(OcspFault::NotYetValid);
    }
    if next_update.is_some_and(|next_update| next_update <= now_unix_s) {
        return Err(OcspFault::Expired);
    }
    Ok((this_update, next_update))
}

fn unix_s(time: GeneralizedTime) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

fn word(status: OcspResponseStatus) -> &'static str {
    match status {
        OcspResponseStatus::Successful => "successful",
        OcspResponseStatus::MalformedRequest => "malformedRequest",
        OcspResponseStatus::InternalError => "internalError",
        OcspResponseStatus::TryLater => "tryLater",
        OcspResponseStatus::SigRequired => "sigRequired",
        OcspResponseStatus::Unauthorized => "unauthorized",
    }
}
