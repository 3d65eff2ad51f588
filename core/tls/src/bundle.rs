//! A bundle: a certificate chain, the key of its leaf, and the client CA that belongs to it.
//!
//! A value exists only if its parts fit together; what is merely unwise is a [`BundleWarning`]. Keys never
//! show in `Debug`, errors or warnings.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use postern_identity::{AmbiguousCertificate, BundleRef, CertFacts, DnsName, SubjectAltName};
use rustls::SignatureAlgorithm;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

use crate::key;
use crate::ocsp::StapleSlot;
use crate::pem::{self, PemFault};
use crate::trust::Trust;

/// The contents of a bundle's files, all PEM.
#[derive(Clone, Copy)]
pub struct PemSet<'a> {
    /// The server's certificate, then each one's issuer. A root at the end does no harm.
    pub chain: &'a [u8],
    /// The key of the first certificate: PKCS#8, PKCS#1 or SEC1, also encrypted.
    pub key: &'a [u8],
    /// The CAs whose client certificates are trusted where this bundle answers.
    pub ca: Option<&'a [u8]>,
    /// The password of an encrypted key.
    pub password: Option<&'a [u8]>,
}

impl fmt::Debug for PemSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PemSet").finish_non_exhaustive()
    }
}

/// Which of a bundle's files is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundlePart {
    /// The certificate chain: `certfile`, or `chain.pem`.
    Chain,
    /// The private key: `keyfile`, or `key.pem`.
    Key,
    /// The client CA: `cacertfile`, or `ca.pem`.
    Ca,
}

impl fmt::Display for BundlePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "certificate chain",
            Self::Key => "private key",
            Self::Ca => "client CA",
        })
    }
}

/// Why there is no bundle. The text says which file, what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bundle {bundle}, {part}: {fault}")]
pub struct BundleError {
    /// The bundle.
    pub bundle: BundleRef,
    /// The file.
    pub part: BundlePart,
    /// What is wrong.
    pub fault: BundleFault,
}

/// What is wrong with one file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleFault {
    /// The file is not PEM.
    #[error(transparent)]
    Pem(#[from] PemFault),
    /// No certificate in it.
    #[error("the file has no certificate (`-----BEGIN CERTIFICATE-----`)")]
    NoCertificate,
    /// A key where certificates belong.
    #[error("the file holds a private key and no certificate; are the certificate and key files swapped?")]
    KeyInsteadOfCertificate,
    /// Another form of certificate.
    #[error("the section `{label}` is not read; write plain certificates with `openssl x509 -in FILE -out FILE.pem`")]
    CertificateFormat {
        /// The section's label.
        label: String,
    },
    /// A certificate that cannot be read.
    #[error("certificate {position}: {reason}")]
    Certificate {
        /// Its place in the file, from 1.
        position: usize,
        /// Why.
        reason: AmbiguousCertificate,
    },
    /// More certificates than are taken.
    #[error("the file has {found} certificates, at most {max} are taken")]
    TooManyCertificates {
        /// Found.
        found: usize,
        /// Allowed.
        max: usize,
    },
    /// A certificate that is not the issuer of the one before it.
    #[error(
        "the certificates are out of order: certificate {position} ({found}) is not the issuer of the one before \
         it, which names {wanted}; put the server's own certificate first, then each one's issuer"
    )]
    ChainOrder {
        /// Place of the certificate that does not fit, from 1.
        position: usize,
        /// Its subject.
        found: String,
        /// The issuer named by the certificate before it.
        wanted: String,
    },
    /// The key is that of a later certificate.
    #[error(
        "the private key belongs to certificate {position} of the chain; the server's own certificate must come \
         first, then each one's issuer"
    )]
    LeafNotFirst {
        /// Place of the certificate that the key belongs to, from 1.
        position: usize,
    },
    /// A key type that is not served.
    #[error(
        "the certificate's key is {found}; RSA of at least 2048 bits, ECDSA on P-256 or P-384, and Ed25519 are served"
    )]
    KeyType {
        /// What it is, in words.
        found: String,
    },
    /// A CA certificate that cannot be a trust anchor.
    #[error("certificate {position} cannot be a trust anchor: {reason}")]
    Anchor {
        /// Its place in the file, from 1.
        position: usize,
        /// Why.
        reason: String,
    },
    /// No private key in it.
    #[error("the file has no private key (`-----BEGIN PRIVATE KEY-----`)")]
    NoKey,
    /// A certificate where the key belongs.
    #[error("the file holds a certificate and no private key; are the certificate and key files swapped?")]
    CertificateInsteadOfKey,
    /// More than one.
    #[error("the file has several private keys; leave the one that belongs to the server's certificate")]
    SeveralKeys,
    /// A format of another program.
    #[error("a key in the format `{label}` is not read; convert it with `openssl pkcs8 -topk8 -in FILE -out FILE.pem`")]
    KeyFormat {
        /// The section's label.
        label: String,
    },
    /// The RFC 1421 headers of an encrypted key cannot be used.
    #[error(
        "the lines before the key that say how it is encrypted are broken: {what}; take the key from its source again"
    )]
    KeyHeaders {
        /// What is wrong.
        what: &'static str,
    },
    /// More work to derive a key than is done.
    #[error("the key's password is to be hashed {found} times, 1 to {max} are done; encrypt the key anew")]
    KeyRounds {
        /// Asked for.
        found: u32,
        /// Allowed.
        max: u32,
    },
    /// Encrypted with an algorithm that is not supported.
    #[error(
        "the key is encrypted with an algorithm that is not supported; convert it with \
         `openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out FILE.pem`"
    )]
    KeyEncryption,
    /// Encrypted, and no password given.
    #[error("the key is encrypted and no `password` is given")]
    PasswordMissing,
    /// The password does not open it.
    #[error("the `password` does not open the key")]
    WrongPassword,
    /// Not a key of a supported type.
    #[error(
        "the key cannot be used: it is damaged, or neither RSA of 2048 to 8192 bits, ECDSA on P-256 or P-384, nor Ed25519"
    )]
    UnusableKey,
    /// The key of another certificate.
    #[error("the key does not belong to the certificate ({leaf}); they must come from the same request")]
    KeyMismatch {
        /// Subject of the certificate.
        leaf: String,
    },
}

/// Something about a bundle that works and should not stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleWarning {
    /// A certificate is past its end. The operator's clients will refuse it.
    Expired {
        /// The file.
        part: BundlePart,
        /// Its subject.
        subject: String,
        /// Seconds since the Unix epoch.
        not_after: i64,
    },
    /// A certificate is not valid yet.
    NotYetValid {
        /// The file.
        part: BundlePart,
        /// Its subject.
        subject: String,
        /// Seconds since the Unix epoch.
        not_before: i64,
    },
    /// A certificate bears the name of the issuer of the one before it, but did not sign it.
    BrokenChain {
        /// Its place in the chain, from 1.
        position: usize,
        /// Its subject.
        subject: String,
    },
    /// A certificate in the client CA file is not a CA; trusting it is allowed and seldom meant.
    NotACa {
        /// Its subject.
        subject: String,
    },
    /// The key's password is soon guessed by whoever has the file.
    OutdatedKeyEncryption {
        /// How it is encrypted, in OpenSSL's words.
        format: &'static str,
    },
    /// The certificate has no DNS name: it answers as the default or under an explicit `sni` only.
    NoDnsName,
}

impl fmt::Display for BundleWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { part, subject, not_after } => {
                write!(f, "{part}: the certificate of {subject} expired on {}", date(*not_after))
            }
            Self::NotYetValid { part, subject, not_before } => {
                write!(f, "{part}: the certificate of {subject} is not valid before {}", date(*not_before))
            }
            Self::BrokenChain { position, subject } => write!(
                f,
                "certificate chain: certificate {position} ({subject}) did not sign the one before it; clients will \
                 refuse the chain"
            ),
            Self::NotACa { subject } => write!(f, "client CA: the certificate of {subject} is not a CA"),
            Self::OutdatedKeyEncryption { format } => write!(
                f,
                "private key: it is encrypted in an outdated way ({format}), under which passwords are soon guessed; \
                 convert it with `openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out FILE.pem`"
            ),
            Self::NoDnsName => f.write_str(
                "certificate chain: the certificate has no DNS name; it answers as the default or under an explicit \
                 `sni` only",
            ),
        }
    }
}

pub(crate) fn date(unix_s: i64) -> String {
    ASN1Time::from_timestamp(unix_s)
        .map_or_else(|_| format!("second {unix_s} of the Unix era"), |time| time.to_string())
}

/// A certificate chain with its key and client CA. Immutable.
pub struct Bundle {
    name: BundleRef,
    leaf: Arc<CertFacts>,
    key_type: &'static str,
    dns_names: Vec<String>,
    certified: Arc<CertifiedKey>,
    trust: Option<Arc<Trust>>,
    /// The one part that changes while it serves.
    staple: Arc<StapleSlot>,
    generation: u64,
}

impl fmt::Debug for Bundle {
    /// The name and the fingerprint; never a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bundle({} {})", self.name, self.leaf.fingerprint_hex())
    }
}

impl Bundle {
    /// Most certificates in a chain. Public CAs need two or three.
    pub const MAX_CHAIN: usize = 16;
    /// Most client CAs in a bundle: each is named to every client that is asked for a certificate.
    pub const MAX_CAS: usize = 256;
    /// Fewest bits of an RSA key: rustls takes no fewer, and NIST SP 800-131A forbids fewer.
    pub const MIN_RSA_BITS: usize = 2048;

    /// Reads a bundle and checks that its parts belong together. `now_unix_s` is the time of day in
    /// seconds since the Unix epoch; a certificate outside its time is a warning, because serving it is
    /// the operator's decision.
    ///
    /// # Errors
    /// [`BundleError`] with the file at fault, what is wrong with it and what to do.
    pub fn from_pem(
        name: BundleRef,
        set: PemSet<'_>,
        now_unix_s: i64,
    ) -> Result<(Self, Vec<BundleWarning>), BundleError> {
        let fail = |part| {
            let bundle = name.clone();
            move |fault| BundleError { bundle: bundle.clone(), part, fault }
        };
        let mut warnings = Vec::new();
        let chain = certificates(set.chain, Self::MAX_CHAIN).map_err(fail(BundlePart::Chain))?;
        let facts = read_facts(&chain).map_err(fail(BundlePart::Chain))?;
        let key_type = key_type(&chain[0]).map_err(fail(BundlePart::Chain))?;
        let key = key::read(set.key, set.password, &mut warnings).map_err(fail(BundlePart::Key))?;
        check_owner(&facts, &chain, &*key).map_err(|(part, fault)| fail(part)(fault))?;
        check_chain(&chain, &facts, &mut warnings).map_err(fail(BundlePart::Chain))?;
        let trust = set.ca.map(|file| read_trust(file, now_unix_s, &mut warnings)).transpose();
        let trust = trust.map_err(fail(BundlePart::Ca))?.map(Arc::new);
        for facts in &facts {
            check_dates(BundlePart::Chain, facts, now_unix_s, &mut warnings);
        }
        let leaf = Arc::clone(&facts[0]);
        let dns_names = dns_names(&leaf);
        if dns_names.is_empty() {
            warnings.push(BundleWarning::NoDnsName);
        }
        let certified = Arc::new(CertifiedKey::new(chain, key));
        let (staple, generation) = (Arc::default(), next_generation());
        Ok((Self { name, leaf, key_type, dns_names, certified, trust, staple, generation }, warnings))
    }

    /// Its full name.
    pub fn name(&self) -> &BundleRef {
        &self.name
    }

    /// What its own certificate says.
    pub fn leaf(&self) -> &Arc<CertFacts> {
        &self.leaf
    }

    /// Whether it brings a client CA.
    pub fn has_client_ca(&self) -> bool {
        self.trust.is_some()
    }

    /// The DNS names of its certificate in lower case, exact or with one leading `*.`; entries that are no
    /// DNS names are left out.
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// `rsa`, `ecdsa-p256`, `ecdsa-p384` or `ed25519`.
    pub fn key_type(&self) -> &'static str {
        self.key_type
    }

    /// The algorithm that its key signs with.
    pub(crate) fn algorithm(&self) -> SignatureAlgorithm {
        self.certified.key.algorithm()
    }

    /// The facts of its client CAs, in the file's order.
    pub fn client_cas(&self) -> &[Arc<CertFacts>] {
        self.trust.as_ref().map_or(&[], |trust| trust.all())
    }

    /// A number that no other bundle of this process has: what was derived from this one is found by it.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The OCSP response that goes with it.
    pub fn staple(&self) -> &Arc<StapleSlot> {
        &self.staple
    }

    pub(crate) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    pub(crate) fn trust(&self) -> Option<&Arc<Trust>> {
        self.trust.as_ref()
    }
}

fn next_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

// ---- reading -------------------------------------------------------------------------------------------

/// The certificates of a PEM file, in order, at least one. A key beside them is passed over: combined
/// files are common.
pub(crate) fn certificates(file: &[u8], max: usize) -> Result<Vec<CertificateDer<'static>>, BundleFault> {
    let sections = pem::sections(file)?;
    let mut found = Vec::new();
    for section in &sections {
        match section.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" => found.push(CertificateDer::from(section.content.to_vec())),
            "TRUSTED CERTIFICATE" | "PKCS7" | "CMS" => {
                return Err(BundleFault::CertificateFormat { label: section.label.clone() });
            }
            _ => {}
        }
    }
    if found.len() > max {
        return Err(BundleFault::TooManyCertificates { found: found.len(), max });
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let key = sections.iter().any(|section| section.label.ends_with("PRIVATE KEY"));
    Err(if key { BundleFault::KeyInsteadOfCertificate } else { BundleFault::NoCertificate })
}

fn read_facts(chain: &[CertificateDer<'_>]) -> Result<Vec<Arc<CertFacts>>, BundleFault> {
    let read = |(index, der): (usize, &CertificateDer<'_>)| match CertFacts::from_der(der) {
        Ok(facts) => Ok(Arc::new(facts)),
        Err(reason) => Err(BundleFault::Certificate { position: index + 1, reason }),
    };
    chain.iter().enumerate().map(read).collect()
}

/// Once more with the parser whose views borrow from the DER. The facts were read from the same bytes with
/// the same parser before.
fn view<'a>(der: &'a CertificateDer<'_>, position: usize) -> Result<X509Certificate<'a>, BundleFault> {
    X509Certificate::from_der(der).map(|(_, cert)| cert).map_err(|error| BundleFault::Certificate {
        position,
        reason: AmbiguousCertificate::Malformed(error.to_string()),
    })
}

/// The key is that of the first certificate. `SubjectPublicKeyInfo` bytes are compared, as
/// `CertifiedKey::keys_match` does, which cannot read certificates of X.509 version 1.
fn check_owner(
    facts: &[Arc<CertFacts>],
    chain: &[CertificateDer<'_>],
    key: &dyn SigningKey,
) -> Result<(), (BundlePart, BundleFault)> {
    let public = key.public_key().ok_or((BundlePart::Key, BundleFault::UnusableKey))?;
    for (index, der) in chain.iter().enumerate() {
        let cert = view(der, index + 1).map_err(|fault| (BundlePart::Chain, fault))?;
        if cert.public_key().raw == public.as_ref() {
            return match index {
                0 => Ok(()),
                _ => Err((BundlePart::Chain, BundleFault::LeafNotFirst { position: index + 1 })),
            };
        }
    }
    Err((BundlePart::Key, BundleFault::KeyMismatch { leaf: facts[0].subject_dn.clone() }))
}

/// Each certificate is followed by its issuer.
fn check_chain(
    chain: &[CertificateDer<'_>],
    facts: &[Arc<CertFacts>],
    warnings: &mut Vec<BundleWarning>,
) -> Result<(), BundleFault> {
    for (index, pair) in chain.windows(2).enumerate() {
        let position = index + 2;
        let (cert, issuer) = (view(&pair[0], position - 1)?, view(&pair[1], position)?);
        if cert.issuer().as_raw() != issuer.subject().as_raw() {
            return Err(BundleFault::ChainOrder {
                position,
                found: facts[index + 1].subject_dn.clone(),
                wanted: facts[index].issuer_dn.clone(),
            });
        }
        // Only a signature that is known to be wrong counts: not every algorithm can be checked here.
        if let Err(X509Error::SignatureVerificationError) = cert.verify_signature(Some(issuer.public_key())) {
            warnings.push(BundleWarning::BrokenChain { position, subject: facts[index + 1].subject_dn.clone() });
        }
    }
    Ok(())
}

fn key_type(leaf: &CertificateDer<'_>) -> Result<&'static str, BundleFault> {
    let cert = view(leaf, 1)?;
    let info = cert.public_key();
    let curve = || info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let algorithm = &info.algorithm.algorithm;
    if *algorithm == OID_SIG_ED25519 {
        return Ok("ed25519");
    }
    if *algorithm == OID_PKCS1_RSAENCRYPTION {
        return match info.parsed() {
            Ok(PublicKey::RSA(key)) if key.key_size() >= Bundle::MIN_RSA_BITS => Ok("rsa"),
            Ok(PublicKey::RSA(key)) => Err(BundleFault::KeyType { found: format!("RSA of {} bits", key.key_size()) }),
            _ => Err(BundleFault::KeyType { found: "damaged RSA".to_owned() }),
        };
    }
    if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        return match curve() {
            Some(curve) if curve == OID_EC_P256 => Ok("ecdsa-p256"),
            Some(curve) if curve == OID_NIST_EC_P384 => Ok("ecdsa-p384"),
            Some(curve) => Err(BundleFault::KeyType { found: format!("ECDSA on the curve {curve}") }),
            None => Err(BundleFault::KeyType { found: "ECDSA on a curve without a name".to_owned() }),
        };
    }
    Err(BundleFault::KeyType { found: format!("of the algorithm {algorithm}") })
}

fn read_trust(file: &[u8], now_unix_s: i64, warnings: &mut Vec<BundleWarning>) -> Result<Trust, BundleFault> {
    let ders = certificates(file, Bundle::MAX_CAS)?;
    let mut seen = HashSet::new();
    let mut trust = Trust::default();
    for (index, der) in ders.iter().enumerate() {
        let position = index + 1;
        let facts = CertFacts::from_der(der).map_err(|reason| BundleFault::Certificate { position, reason })?;
        // The same anchor twice would make every path through it ambiguous.
        if !seen.insert(facts.fingerprint) {
            continue;
        }
        check_dates(BundlePart::Ca, &facts, now_unix_s, warnings);
        let cert = view(der, position)?;
        if !cert.is_ca() {
            warnings.push(BundleWarning::NotACa { subject: facts.subject_dn.clone() });
        }
        let is_root = cert.subject().as_raw() == cert.issuer().as_raw();
        let added = trust.add(der.clone(), Arc::new(facts), is_root);
        added.map_err(|error| BundleFault::Anchor { position, reason: error.to_string() })?;
    }
    Ok(trust)
}

fn check_dates(part: BundlePart, facts: &CertFacts, now_unix_s: i64, warnings: &mut Vec<BundleWarning>) {
    let subject = || facts.subject_dn.clone();
    if now_unix_s > facts.not_after {
        warnings.push(BundleWarning::Expired { part, subject: subject(), not_after: facts.not_after });
    }
    if now_unix_s < facts.not_before {
        warnings.push(BundleWarning::NotYetValid { part, subject: subject(), not_before: facts.not_before });
    }
}

fn dns_names(leaf: &CertFacts) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for san in &leaf.sans {
        let SubjectAltName::Dns(text) = san else { continue };
        if let Some(name) = served_name(text).filter(|name| !names.contains(name)) {
            names.push(name);
        }
    }
    names
}

/// A name that a bundle can answer to: a DNS name, or one with `*` for its first label.
pub(crate) fn served_name(text: &str) -> Option<String> {
    match text.strip_prefix("*.") {
        Some(parent) => DnsName::new(parent).ok().map(|name| format!("*.{name}")),
        None => DnsName::new(text).ok().map(|name| name.to_string()),
    }
}
