//! What is asked about a certificate, and of whom.

use rustls_pki_types::CertificateDer;
use sha1::{Digest, Sha1};
use x509_parser::asn1_rs::Oid;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::asn1_rs::oid;
use x509_parser::prelude::FromDer;

use super::response::OcspAnswer;
use crate::bundle::{Bundle, BundleFault, certificates};

/// `id-ad-ocsp`
const OCSP_ACCESS: Oid<'static> = oid!(1.3.6.1.5.5.7.48.1);
/// `id-pe-tlsfeature`
const TLS_FEATURE: Oid<'static> = oid!(1.3.6.1.5.5.7.1.24);
/// `status_request` as a TLS feature: an INTEGER.
const STATUS_REQUEST: &[u8] = &[2, 1, 5];
/// `id-sha1` with its NULL, as an `AlgorithmIdentifier`. Responders are required to know it alone (RFC 5019, section 2.1.1).
const SHA1: &[u8] = &[0x30, 9, 6, 5, 0x2B, 0x0E, 3, 2, 0x1A, 5, 0];

/// Longest serial number, in bytes. RFC 5280 allows 20; some authorities do not hold to it.
const MAX_SERIAL_BYTES: usize = 64;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;

/// Why nobody can be asked about a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoQuestion {
    /// The issuer's key is part of the question.
    #[error(
        "the certificate of its issuer ({issuer}) is neither in `issuer_pem` nor the next one in the certificate chain \
         nor in the CA file; append it to the chain, or name it in `ocsp.issuer_pem`"
    )]
    NoIssuer {
        /// The issuer's name (RFC 4514).
        issuer: String,
    },
    /// One of the two certificates cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
}

/// What is asked about one certificate, and who may answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspQuestion {
    pub(super) issuer_name_hash: [u8; 20],
    pub(super) issuer_key_hash: [u8; 20],
    /// Without leading zeros.
    pub(super) serial: Vec<u8>,
    /// As DER.
    pub(super) issuer_name: Vec<u8>,
    /// As DER.
    pub(super) issuer_key: Vec<u8>,
    request: Vec<u8>,
}

impl OcspQuestion {
    /// The media type of [`OcspQuestion::request`].
    pub const REQUEST_TYPE: &'static str = "application/ocsp-request";
    /// The media type of an answer.
    pub const RESPONSE_TYPE: &'static str = "application/ocsp-response";

    /// The question as DER. It has no nonce: an answer that was made for everybody is as good.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    fn new(leaf: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> Self {
        let issuer_name_hash: [u8; 20] = Sha1::digest(leaf.issuer().as_raw()).into();
        let issuer_key_hash: [u8; 20] = Sha1::digest(&issuer.public_key().subject_public_key.data).into();
        let id = [
            SHA1,
            &tlv(OCTET_STRING, &issuer_name_hash),
            &tlv(OCTET_STRING, &issuer_key_hash),
            &tlv(INTEGER, leaf.raw_serial()),
        ];
        // CertID, Request, requestList, tbsRequest, OCSPRequest: each the only thing in the next.
        let request = (0..5).fold(id.concat(), |inside, _| tlv(SEQUENCE, &inside));
        Self {
            issuer_name_hash,
            issuer_key_hash,
            serial: without_zeros(leaf.raw_serial()).to_vec(),
            issuer_name: issuer.subject().as_raw().to_vec(),
            issuer_key: issuer.public_key().raw.to_vec(),
            request,
        }
    }
}

impl Bundle {
    /// What is asked about the bundle's own certificate. Its issuer is looked for among `issuers`, then as the next
    /// certificate of the chain, then among the client CAs.
    ///
    /// # Errors
    /// [`NoQuestion`] where the issuer is not there.
    pub fn ocsp_question(&self, issuers: &[CertificateDer<'_>]) -> Result<OcspQuestion, NoQuestion> {
        let chain = &self.certified().cert;
        let unreadable = |error: x509_parser::nom::Err<X509Error>| NoQuestion::Unreadable(error.to_string());
        let (_, leaf) = X509Certificate::from_der(&chain[0]).map_err(unreadable)?;
        if leaf.raw_serial().len() > MAX_SERIAL_BYTES {
            return Err(NoQuestion::Unreadable("its serial number is too long".to_owned()));
        }
        let of_cas = self.client_cas().iter().map(|facts| &facts.der[..]);
        let candidates = issuers.iter().map(AsRef::as_ref).chain(chain.get(1).map(AsRef::as_ref)).chain(of_cas);
        let issuer = candidates
            .filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, cert)| cert))
            .find(|candidate| is_issuer(candidate, &leaf));
        match issuer {
            Some(issuer) => Ok(OcspQuestion::new(&leaf, &issuer)),
            None => Err(NoQuestion::NoIssuer { issuer: self.leaf().issuer_dn.clone() }),
        }
    }

    /// The responders that the certificate itself names, in its order.
    pub fn ocsp_responders(&self) -> Vec<String> {
        let Ok((_, leaf)) = X509Certificate::from_der(&self.certified().cert[0]) else { return Vec::new() };
        let mut found = Vec::new();
        for extension in leaf.extensions() {
            let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else { continue };
            for description in access.iter().filter(|description| description.access_method == OCSP_ACCESS) {
                if let GeneralName::URI(uri) = description.access_location {
                    found.push(uri.to_owned());
                }
            }
        }
        found
    }

    /// Staples a verified answer to this bundle's question to handshakes, up to this second of the Unix era.
    pub fn staple_until(&self, answer: OcspAnswer, ends_unix_s: i64) {
        self.staple().put(self.certified(), answer.der, ends_unix_s);
    }

    /// Takes over what is stapled to another bundle, where that one has the same certificate by the same issuer.
    pub fn inherit_staple(&self, other: &Self) {
        let same = self.certified().cert.first() == other.certified().cert.first();
        if let Some((response, ends_unix_s)) = other.staple().response().filter(|_| same) {
            self.staple().put(self.certified(), response, ends_unix_s);
        }
    }

    /// Whether the certificate demands that a response comes with each handshake (RFC 7633).
    pub fn must_staple(&self) -> bool {
        let Ok((_, leaf)) = X509Certificate::from_der(&self.certified().cert[0]) else { return false };
        let features = leaf.extensions().iter().find(|extension| extension.oid == TLS_FEATURE);
        features.is_some_and(|features| {
            let inside = features.value.get(2..).unwrap_or_default();
            inside.chunks(STATUS_REQUEST.len()).any(|feature| feature == STATUS_REQUEST)
        })
    }
}

/// The certificates of a PEM file with issuers.
///
/// # Errors
/// [`BundleFault`] where it has none, or is something else.
pub fn read_issuers(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BundleFault> {
    certificates(pem, Bundle::MAX_CHAIN)
}

/// By its name, and by its signature where that can be checked here.
fn is_issuer(candidate: &X509Certificate<'_>, of: &X509Certificate<'_>) -> bool {
    candidate.subject().as_raw() == of.issuer().as_raw()
        && !matches!(of.verify_signature(Some(candidate.public_key())), Err(X509Error::SignatureVerificationError))
}

pub(super) fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    &number[zeros..]
}

/// A value in DER. The longest here has some hundred bytes.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("hashes and a serial number").to_be_bytes();
    let header = match length {
        [0, short @ 0..0x80] => vec![tag, short],
        [0, long] => vec![tag, 0x81, long],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [header, content.to_vec()].concat()
}
