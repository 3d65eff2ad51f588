//! Signatures of what is not a certificate: revocation lists and OCSP responses.

use rustls_pki_types::SignatureVerificationAlgorithm;
use x509_parser::asn1_rs::{Any, FromDer};

use crate::configs::provider;

/// Whether the key of this `SubjectPublicKeyInfo` signed it, by an algorithm that handshakes take too. `algorithm` is the
/// `AlgorithmIdentifier` without its SEQUENCE, as the provider has it.
pub(crate) fn is_signed_by(spki: &[u8], algorithm: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    let Some((key_algorithm, key)) = parts(spki) else { return false };
    let fits = |one: &&&dyn SignatureVerificationAlgorithm| {
        one.public_key_alg_id().as_ref() == key_algorithm && one.signature_alg_id().as_ref() == algorithm
    };
    let all = provider().signature_verification_algorithms.all;
    all.iter().filter(fits).any(|one| one.verify_signature(key, signed, signature).is_ok())
}

/// The algorithm without its SEQUENCE, and the key's bits.
fn parts(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, info) = Any::from_der(spki).ok()?;
    let (rest, algorithm) = Any::from_der(info.data).ok()?;
    let (_, bits) = Any::from_der(rest).ok()?;
    Some((algorithm.data, whole_bytes(bits.data)?))
}

/// The content of a BIT STRING that has no unused bits.
pub(crate) fn whole_bytes(content: &[u8]) -> Option<&[u8]> {
    content.split_first().filter(|(unused, _)| **unused == 0).map(|(_, bytes)| bytes)
}
