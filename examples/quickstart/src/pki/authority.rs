//! A certificate authority in memory.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

/// Why a certificate was not made, written or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The parameters cannot be written as a certificate.
    #[error("making a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A file or directory could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that was just checked does not hold what it should.
    #[error("{path}: {what}")]
    Content {
        /// Which.
        path: std::path::PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// A certificate with its key and the intermediates above it. `Debug` does not show the key.
pub struct Issued {
    /// The certificate first, then the intermediates; the root is left out.
    chain: Vec<CertificateDer<'static>>,
    chain_pem: String,
    key: KeyPair,
}

impl Issued {
    /// The certificate and the intermediates above it, without the root.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The same as PEM.
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    /// The key as PKCS#8 DER.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()))
    }

    /// The key as PKCS#8 PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// A certificate authority: a root, or an intermediate below one.
pub struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The intermediates from this one up, without the root; empty for a root.
    above: Vec<(CertificateDer<'static>, String)>,
    key_pem: String,
}

impl Ca {
    /// A root of this common name, valid from yesterday for two years.
    pub fn new(common_name: &str) -> Result<Self, PkiError> {
        Self::from_params(authority(common_name))
    }

    /// A root of one's own parameters.
    pub fn from_params(params: CertificateParams) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let key_pem = key.serialize_pem();
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, key)?, above: Vec::new(), key_pem })
    }

    /// An authority below this one; its certificate is part of every chain it issues.
    pub fn intermediate(&self, params: CertificateParams) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let key_pem = key.serialize_pem();
        let issuer = CertifiedIssuer::signed_by(params, key, &self.issuer)?;
        let mut above = vec![(issuer.der().clone(), issuer.pem())];
        above.extend(self.above.iter().cloned());
        Ok(Self { issuer, above, key_pem })
    }

    /// A certificate of these parameters, with a new P-256 key.
    pub fn issue(&self, params: &CertificateParams) -> Result<Issued, PkiError> {
        self.issue_for(params, KeyPair::generate()?)
    }

    /// A certificate of these parameters for a key that exists.
    pub fn issue_for(&self, params: &CertificateParams, key: KeyPair) -> Result<Issued, PkiError> {
        let leaf = params.signed_by(&key, &self.issuer)?;
        let mut chain = vec![leaf.der().clone()];
        let mut chain_pem = leaf.pem();
        for (der, pem) in &self.above {
            chain.push(der.clone());
            chain_pem.push_str(pem);
        }
        Ok(Issued { chain, chain_pem, key })
    }

    /// The authority's own certificate.
    pub fn der(&self) -> &CertificateDer<'static> {
        self.issuer.der()
    }

    /// The authority's own certificate as PEM: what a `ca.pem` holds.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The authority's key as PKCS#8 PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ca").field("intermediates", &self.above.len()).finish_non_exhaustive()
    }
}

/// Days that an authority is valid.
const CA_DAYS: i64 = 730;

/// Days that a server or device certificate is valid: under the 398 that clients accept of servers.
pub(super) const LEAF_DAYS: i64 = 365;

/// Parameters of an authority.
pub fn authority(common_name: &str) -> CertificateParams {
    let mut params = blank(OffsetDateTime::now_utc(), CA_DAYS);
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Parameters of a server certificate for these DNS names and IP addresses; the first is the common name too.
pub fn server(names: &[&str]) -> Result<CertificateParams, PkiError> {
    let mut params = blank(OffsetDateTime::now_utc(), LEAF_DAYS);
    for name in names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into()?),
        });
    }
    if let Some(first) = names.first() {
        params.distinguished_name.push(DnType::CommonName, *first);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

/// Parameters of a client certificate that names nobody yet.
pub fn device() -> CertificateParams {
    let mut params = blank(OffsetDateTime::now_utc(), LEAF_DAYS);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// Parameters of a client certificate with this common name.
pub fn device_named(common_name: &str) -> CertificateParams {
    let mut params = device();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

/// The same parameters, with a validity that ended yesterday.
pub fn expired_yesterday(mut params: CertificateParams) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::days(30);
    params.not_after = now - Duration::days(1);
    params
}

/// The same parameters, valid from the day before `now` for `days` after it.
pub fn valid_for_days(mut params: CertificateParams, now: OffsetDateTime, days: i64) -> CertificateParams {
    // A day of slack for clocks that are behind.
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(days);
    params
}

fn blank(now: OffsetDateTime, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    // The default carries a common name of rcgen's own.
    params.distinguished_name = DistinguishedName::new();
    params.use_authority_key_identifier_extension = true;
    valid_for_days(params, now, days)
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::{FromDer, X509Certificate};

    fn parsed(issued: &Issued) -> X509Certificate<'_> {
        X509Certificate::from_der(&issued.chain()[0]).unwrap().1
    }

    #[test]
    fn an_issued_certificate_verifies_with_its_authority_and_with_no_other() {
        let (ca, other) = (Ca::new("one").unwrap(), Ca::new("two").unwrap());
        let issued = ca.issue(&device_named("sensor-1")).unwrap();
        let (_, ca_cert) = X509Certificate::from_der(ca.der()).unwrap();
        let (_, other_cert) = X509Certificate::from_der(other.der()).unwrap();
        assert!(parsed(&issued).verify_signature(Some(ca_cert.public_key())).is_ok());
        assert!(parsed(&issued).verify_signature(Some(other_cert.public_key())).is_err());
    }

    #[test]
    fn a_second_common_name_is_written_beside_the_first() {
        let mut params = device_named("sensor-1");
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "admin");
        let issued = Ca::new("ca").unwrap().issue(&params).unwrap();
        let names: Vec<String> =
            parsed(&issued).subject().iter_common_name().map(|cn| cn.as_str().unwrap().to_owned()).collect();
        assert_eq!(names, ["sensor-1", "admin"]);
    }

    #[test]
    fn an_intermediate_is_part_of_the_chain_it_issues_and_the_root_is_not() {
        let root = Ca::new("root").unwrap();
        let issued = root.intermediate(authority("middle")).unwrap().issue(&device_named("d")).unwrap();
        assert_eq!(issued.chain().len(), 2);
        assert_eq!(issued.chain_pem().matches("BEGIN CERTIFICATE").count(), 2);
        assert_ne!(&issued.chain()[1], root.der());
    }

    #[test]
    fn a_device_without_a_name_has_an_empty_subject_and_may_only_be_a_client() {
        let issued = Ca::new("ca").unwrap().issue(&device()).unwrap();
        let certificate = parsed(&issued);
        assert_eq!(certificate.subject().iter_attributes().count(), 0);
        let usage = certificate.extended_key_usage().unwrap().unwrap();
        assert!(usage.value.client_auth && !usage.value.server_auth);
    }

    #[test]
    fn addresses_and_names_of_a_server_are_told_apart() {
        let issued = Ca::new("ca").unwrap().issue(&server(&["localhost", "127.0.0.1"]).unwrap()).unwrap();
        let certificate = parsed(&issued);
        let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(format!("{}", names[0]), "DNSName(localhost)");
        assert!(matches!(names[1], x509_parser::extensions::GeneralName::IPAddress([127, 0, 0, 1])));
    }

    #[test]
    fn debug_shows_no_key() {
        let ca = Ca::new("ca").unwrap();
        let issued = ca.issue(&device()).unwrap();
        assert!(!format!("{ca:?} {issued:?}").contains("PRIVATE"));
    }
}
