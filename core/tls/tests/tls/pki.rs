//! Authorities, certificates and bundles for the tests.

use std::sync::Arc;

use postern_identity::{BundleName, BundleRef, Namespace};
use postern_tls::{Bundle, BundleError, BundleWarning, PemSet};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// 2027-01-15, within the life of every certificate that is not about its life.
pub(crate) const NOW: i64 = 1_800_000_000;

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) cert: CertificateDer<'static>,
    pub(crate) key: KeyPair,
}

impl Pair {
    pub(crate) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }
}

pub(crate) fn named(cn: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, cn);
    params
}

pub(crate) fn ca_params(cn: &str) -> CertificateParams {
    let mut params = named(cn);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

pub(crate) fn root(cn: &str) -> Authority {
    Authority::self_signed(ca_params(cn), key()).unwrap()
}

pub(crate) fn intermediate(cn: &str, issuer: &Authority) -> Authority {
    Authority::signed_by(ca_params(cn), key(), issuer).unwrap()
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

pub(crate) fn device_params(cn: &str) -> CertificateParams {
    let mut params = named(cn);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

pub(crate) fn issue(params: &CertificateParams, issuer: &Authority) -> Pair {
    let key = key();
    Pair { cert: params.signed_by(&key, issuer).unwrap().der().clone(), key }
}

pub(crate) fn device(cn: &str, issuer: &Authority) -> Pair {
    issue(&device_params(cn), issuer)
}

pub(crate) fn server_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "server");
    params
}

pub(crate) fn server_pair(names: &[&str], issuer: &Authority) -> Pair {
    issue(&server_params(names), issuer)
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    pkcs8::der::pem::encode_string(label, pkcs8::LineEnding::LF, der).unwrap()
}

pub(crate) fn cert_pem(ders: &[&CertificateDer<'_>]) -> String {
    ders.iter().map(|der| pem("CERTIFICATE", der)).collect()
}

pub(crate) fn reference(text: &str) -> BundleRef {
    let (namespace, name) = text.split_once('/').map_or((None, text), |(namespace, name)| (Some(namespace), name));
    BundleRef { namespace: Namespace::from_option(namespace).unwrap(), name: BundleName::new(name).unwrap() }
}

/// What goes into a bundle, to be changed by a test before it is loaded.
pub(crate) struct Files {
    pub(crate) chain: String,
    pub(crate) key: String,
    pub(crate) ca: Option<String>,
    pub(crate) password: Option<String>,
}

impl Files {
    pub(crate) fn of(pair: &Pair) -> Self {
        Self { chain: cert_pem(&[&pair.cert]), key: pair.key.serialize_pem(), ca: None, password: None }
    }

    pub(crate) fn trusting(mut self, authorities: &[&Authority]) -> Self {
        self.ca = Some(authorities.iter().map(|authority| authority.pem()).collect());
        self
    }

    pub(crate) fn load_at(&self, name: &str, now: i64) -> Result<(Bundle, Vec<BundleWarning>), BundleError> {
        let set = PemSet {
            chain: self.chain.as_bytes(),
            key: self.key.as_bytes(),
            ca: self.ca.as_deref().map(str::as_bytes),
            password: self.password.as_deref().map(str::as_bytes),
        };
        Bundle::from_pem(reference(name), set, now)
    }

    pub(crate) fn load(&self, name: &str) -> Result<(Bundle, Vec<BundleWarning>), BundleError> {
        self.load_at(name, NOW)
    }

    pub(crate) fn bundle(&self, name: &str) -> Arc<Bundle> {
        Arc::new(self.load(name).unwrap().0)
    }
}

/// A bundle for these DNS names, from an authority of its own.
pub(crate) fn bundle(name: &str, dns_names: &[&str]) -> Arc<Bundle> {
    Files::of(&server_pair(dns_names, &root("Server CA"))).bundle(name)
}

/// A bundle with a key of this kind, trusting these client CAs.
pub(crate) fn bundle_with(name: &str, algorithm: &'static SignatureAlgorithm, trusted: &[&Authority]) -> Arc<Bundle> {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let cert = server_params(&["any.example"]).signed_by(&key, &root("Server CA")).unwrap().der().clone();
    let files = Files::of(&Pair { cert, key });
    if trusted.is_empty() { files.bundle(name) } else { files.trusting(trusted).bundle(name) }
}
