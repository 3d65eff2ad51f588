//! Which of several certificates a client can use: it says in its `ClientHello` what it can verify.
//!
//! The version that will be spoken is not known when the certificate is chosen, as the library does not show what the
//! client said of versions. So a certificate is preferred that fits every version which the cipher suites leave open.

use std::sync::Arc;

use postern_identity::ClientHello;
use rustls::{SignatureScheme, SupportedCipherSuite};

use crate::bundle::Bundle;
use crate::policy::Versions;

/// How well a bundle fits. Ordered: later is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// In no version that client and server may speak.
    Never,
    /// In TLS 1.2, and not in TLS 1.3, which may be spoken too.
    OnlyTls12,
    /// In TLS 1.3, and not in TLS 1.2, which may be spoken too.
    OnlyTls13,
    /// In each version that may be spoken.
    Always,
}

/// The first of those that fit best; the first of all where none does.
pub(crate) fn best<'b>(
    candidates: impl Iterator<Item = &'b Arc<Bundle>>,
    versions: Versions,
    suites: &[SupportedCipherSuite],
    hello: &ClientHello,
) -> Option<&'b Arc<Bundle>> {
    let mut best: Option<(&Arc<Bundle>, Fit)> = None;
    for bundle in candidates {
        let fit = fit(bundle, versions, suites, hello);
        if best.is_none_or(|(_, known)| fit > known) {
            best = Some((bundle, fit));
        }
        if fit == Fit::Always {
            break;
        }
    }
    best.map(|(bundle, _)| bundle)
}

fn fit(bundle: &Bundle, versions: Versions, suites: &[SupportedCipherSuite], hello: &ClientHello) -> Fit {
    let common = || suites.iter().filter(|suite| hello.cipher_suites.contains(&u16::from(suite.suite())));
    let tls13 = versions.tls13 && common().any(|suite| suite.tls13().is_some());
    let of_tls12 = || common().filter(|suite| suite.tls13().is_none());
    let tls12 = versions.tls12 && of_tls12().next().is_some();

    let key = &bundle.certified().key;
    let offered: Vec<SignatureScheme> = hello.signature_schemes.iter().map(|&scheme| scheme.into()).collect();
    let modern: Vec<SignatureScheme> = offered.iter().copied().filter(|scheme| !is_pkcs1(*scheme)).collect();
    let in_tls13 = tls13 && key.choose_scheme(&modern).is_some();
    let suite_fits = of_tls12().any(|suite| suite.usable_for_signature_algorithm(key.algorithm()));
    let in_tls12 = tls12 && suite_fits && key.choose_scheme(&offered).is_some();
    match (in_tls13, in_tls12) {
        (false, false) => Fit::Never,
        (true, false) if tls12 => Fit::OnlyTls13,
        (false, true) if tls13 => Fit::OnlyTls12,
        _ => Fit::Always,
    }
}

/// Signatures that TLS 1.3 has in certificates alone (RFC 8446 section 4.2.3).
fn is_pkcs1(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA1
            | SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::PemSet;
    use crate::configs::provider;

    const TLS13: u16 = 0x1301;
    const ECDHE_ECDSA: u16 = 0xC02B;
    const ECDHE_RSA: u16 = 0xC02F;
    const P256: u16 = 0x0403;
    const ED25519: u16 = 0x0807;
    const PSS: u16 = 0x0804;
    const PKCS1: u16 = 0x0401;

    fn bundle(name: &str, key: &rcgen::KeyPair) -> Arc<Bundle> {
        let cert = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(key).unwrap();
        load(name, &cert.pem(), &key.serialize_pem())
    }

    fn load(name: &str, chain: &str, key: &str) -> Arc<Bundle> {
        let set = PemSet { chain: chain.as_bytes(), key: key.as_bytes(), ca: None, password: None };
        let name = postern_identity::BundleName::new(name).unwrap();
        let name = postern_identity::BundleRef { namespace: postern_identity::Namespace::Global, name };
        Arc::new(Bundle::from_pem(name, set, 1_800_000_000).unwrap().0)
    }

    fn all() -> [Arc<Bundle>; 3] {
        let rsa = load(
            "rsa",
            include_str!("../tests/tls/fixtures/rsa2048.chain.pem"),
            include_str!("../tests/tls/fixtures/rsa2048.pkcs1.key.pem"),
        );
        let p256 = bundle("p256", &rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap());
        let ed25519 = bundle("ed25519", &rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
        [ed25519, p256, rsa]
    }

    #[test]
    fn f_17_the_first_that_the_client_can_use_in_every_version_is_taken() {
        let all = all();
        let both = Versions { tls12: true, tls13: true };
        let chosen = |versions: Versions, suites: &[u16], schemes: &[u16]| {
            let hello = ClientHello {
                cipher_suites: suites.to_vec(),
                signature_schemes: schemes.to_vec(),
                ..ClientHello::default()
            };
            let suites = provider().cipher_suites;
            best(all.iter(), versions, &suites, &hello).unwrap().name().name.to_string()
        };
        let every = [P256, ED25519, PSS, PKCS1];
        assert_eq!(chosen(both, &[TLS13, ECDHE_ECDSA, ECDHE_RSA], &every), "ed25519", "the order is the operator's");
        assert_eq!(chosen(both, &[TLS13], &[PSS, P256]), "p256");
        assert_eq!(chosen(both, &[TLS13], &[PSS]), "rsa");
        // TLS 1.2: the cipher suite has a say too.
        assert_eq!(chosen(both, &[ECDHE_RSA], &every), "rsa");
        assert_eq!(chosen(both, &[ECDHE_ECDSA], &every), "ed25519");
        assert_eq!(chosen(both, &[ECDHE_ECDSA, ECDHE_RSA], &[PKCS1]), "rsa");
        // Either version may be spoken: RSA alone fits both.
        assert_eq!(chosen(both, &[TLS13, ECDHE_RSA], &every), "rsa");
        assert_eq!(chosen(Versions { tls12: false, tls13: true }, &[TLS13, ECDHE_RSA], &every), "ed25519");
        assert_eq!(chosen(Versions { tls12: true, tls13: false }, &[TLS13, ECDHE_RSA], &every), "rsa");
        // PKCS#1 is none of TLS 1.3's: what fits one version is better than nothing.
        assert_eq!(chosen(both, &[TLS13, ECDHE_RSA], &[PKCS1, P256]), "p256");
        // Nothing fits: the first, and the library says why.
        assert_eq!(chosen(both, &[TLS13], &[0x0603]), "ed25519");
        assert_eq!(chosen(both, &[], &[]), "ed25519");
    }
}
