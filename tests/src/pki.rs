//! Certificates for the cases, the odd ones included, by the certificate authority of the quickstart.

use std::path::{Path, PathBuf};

use postern_quickstart::pki::{self, Ca};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint,
    CustomExtension, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, RevocationReason, RevokedCertParams,
    SerialNumber, SigningKey,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use crate::der;

pub use postern_quickstart::pki::{device_named as device, expired_yesterday};

/// Who signs.
pub struct Authority(Ca);

/// A certificate with its chain and its key.
#[derive(Clone)]
pub struct Credentials {
    /// The leaf first; without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS#8.
    key: Vec<u8>,
}

/// The same parameters, valid from tomorrow on.
pub fn valid_from_tomorrow(mut params: CertificateParams) -> CertificateParams {
    params.not_before = OffsetDateTime::now_utc() + Duration::days(1);
    params
}

/// The same parameters, valid for no longer than this.
pub fn expiring_in(mut params: CertificateParams, life: std::time::Duration) -> CertificateParams {
    params.not_after = OffsetDateTime::now_utc() + life;
    params
}

/// The same parameters, for a server alone.
pub fn for_servers_only(mut params: CertificateParams) -> CertificateParams {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// What an authority takes back.
pub struct Crl<'c> {
    /// Certificates.
    pub revoked: &'c [&'c [u8]],
    /// Seconds from now.
    pub this_update: i64,
    /// Seconds from now.
    pub next_update: i64,
    /// The address of its distribution point.
    pub distribution_point: Option<&'c str>,
}

impl<'c> Crl<'c> {
    /// Made an hour ago, for a day.
    pub fn of(revoked: &'c [&'c [u8]]) -> Self {
        Self { revoked, this_update: -3_600, next_update: 86_400, distribution_point: None }
    }
}

impl Authority {
    /// A revocation list as DER.
    pub fn crl(&self, crl: &Crl<'_>) -> Vec<u8> {
        let now = OffsetDateTime::now_utc();
        let [this_update, next_update] = [crl.this_update, crl.next_update].map(|s| now + Duration::seconds(s));
        let revoked = |certificate: &&[u8]| RevokedCertParams {
            serial_number: SerialNumber::from_slice(der::serial(certificate)),
            revocation_time: now - Duration::days(1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let point = |uri: &str| CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint { uris: vec![uri.to_owned()] },
            scope: None,
        };
        let params = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: crl.distribution_point.map(point),
            revoked_certs: crl.revoked.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let key = KeyPair::from_pem(self.0.key_pem()).unwrap();
        let issuer = Issuer::from_ca_cert_der(self.0.der(), key).unwrap();
        params.signed_by(&issuer).unwrap().der().to_vec()
    }

    /// The same as PEM.
    pub fn crl_pem(&self, crl: &Crl<'_>) -> String {
        pem("X509 CRL", &self.crl(crl))
    }

    /// A root.
    pub fn new(name: &str) -> Self {
        Self(Ca::new(name).unwrap())
    }

    /// An authority below this one; `honest` says whether its certificate admits to being one.
    #[must_use]
    pub fn below(&self, name: &str, honest: bool) -> Self {
        let mut params = pki::authority(name);
        if !honest {
            params.is_ca = IsCa::ExplicitNoCa;
        }
        Self(self.0.intermediate(params).unwrap())
    }

    /// The authority's own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// The authority's key.
    pub fn key_pem(&self) -> &str {
        self.0.key_pem()
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// Signs.
    pub fn sign(&self, params: &CertificateParams) -> Credentials {
        let key = KeyPair::generate().unwrap();
        let key_der = key.serialize_der();
        Credentials { chain: self.0.issue_for(params, key).unwrap().chain().to_vec(), key: key_der }
    }

    /// Signs for a device of this name.
    pub fn device(&self, common_name: &str) -> Credentials {
        self.sign(&device(common_name))
    }

    /// Signs for a server of these names, with this in its certificate.
    pub fn server_with(&self, names: &[&str], extension: CustomExtension) -> Credentials {
        let mut params = pki::server(names).unwrap();
        params.custom_extensions.push(extension);
        self.sign(&params)
    }

    /// Signs for a server of these names.
    pub fn server(&self, names: &[&str]) -> Credentials {
        self.sign(&pki::server(names).unwrap())
    }

    /// Signs for a device whose subject is these bytes (see [`der::subject`]).
    pub fn device_with_subject(&self, subject: &[u8]) -> Credentials {
        let own = KeyPair::from_pem(self.0.key_pem()).unwrap();
        let mut made = self.device("replaced");
        made.chain[0] = der::with_subject(&made.chain[0], subject, |bytes| own.sign(bytes).unwrap()).into();
        made
    }
}

/// Demands that an OCSP response comes with each handshake (RFC 7633).
pub fn must_staple() -> CustomExtension {
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], vec![0x30, 3, 2, 1, 5])
}

/// Names the responder to ask about the certificate. The address has fewer than 100 bytes.
pub fn responder(url: &str) -> CustomExtension {
    let tlv = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()][..], content].concat();
    let method = [6, 8, 0x2B, 6, 1, 5, 5, 7, 0x30, 1];
    let description = tlv(0x30, &[&method[..], &tlv(0x86, url.as_bytes())].concat());
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], tlv(0x30, &description))
}

/// A device's certificate that nobody but itself vouches for.
pub fn self_signed(params: &CertificateParams) -> Credentials {
    let key = KeyPair::generate().unwrap();
    let leaf = params.self_signed(&key).unwrap();
    Credentials { chain: vec![leaf.der().clone()], key: key.serialize_der() }
}

impl Credentials {
    /// The leaf.
    pub fn leaf(&self) -> &[u8] {
        &self.chain[0]
    }

    /// The same without what stands above the leaf.
    #[must_use]
    pub fn leaf_alone(mut self) -> Self {
        self.chain.truncate(1);
        self
    }

    /// The key for rustls.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    /// The chain as PEM, the leaf first.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
    }

    /// The key as PEM.
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }

    /// Writes `NAME.pem` and `NAME.key` and gives both paths back, for programs that want files.
    pub fn write(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let paths = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        std::fs::write(&paths.0, self.chain_pem()).unwrap();
        std::fs::write(&paths.1, self.key_pem()).unwrap();
        paths
    }

    /// Writes the files of a bundle below `DIR/data`; `owner` is `global` or `ns/NAMESPACE`.
    pub fn write_bundle(&self, dir: &Path, owner: &str, bundle: &str, client_ca: Option<&Authority>) {
        let dir = dir.join("data/certs").join(owner).join(bundle);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("chain.pem"), self.chain_pem()).unwrap();
        std::fs::write(dir.join("key.pem"), self.key_pem()).unwrap();
        if let Some(ca) = client_ca {
            std::fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
        }
    }
}

/// PEM (RFC 7468).
pub fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (index, three) in der.chunks(3).enumerate() {
        if index > 0 && index % 16 == 0 {
            text.push('\n');
        }
        let bits = three.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let six = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap();
            text.push(if place <= three.len() { char::from(ALPHABET[six]) } else { '=' });
        }
    }
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}
