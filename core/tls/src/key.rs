//! Private keys: finds the one in a PEM file, opens it if it is encrypted, and says what is wrong in words.

use std::sync::Arc;

use pkcs8::EncryptedPrivateKeyInfo;
use postern_identity::Refusal;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::SigningKey;
use rustls_pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use crate::bundle::BundleFault;
use crate::pem::{Section, sections};

/// The private key of a file. Certificates and curve parameters beside it are passed over.
pub(crate) fn read(file: &[u8], password: Option<&[u8]>) -> Result<Arc<dyn SigningKey>, BundleFault> {
    let sections = sections(file)?;
    let mut keys = sections.iter().filter(|section| section.label.ends_with("PRIVATE KEY"));
    let Some(key) = keys.next() else {
        let certificate = sections.iter().any(|section| section.label.ends_with("CERTIFICATE"));
        return Err(if certificate { BundleFault::CertificateInsteadOfKey } else { BundleFault::NoKey });
    };
    if keys.next().is_some() {
        return Err(BundleFault::SeveralKeys);
    }
    open(key, password)
}

/// The content stays in buffers that are wiped; the key object keeps its own copy in the crypto library.
fn open(section: &Section, password: Option<&[u8]>) -> Result<Arc<dyn SigningKey>, BundleFault> {
    if section.legacy_encrypted {
        return Err(BundleFault::LegacyEncryptedKey);
    }
    let content = section.content.as_slice();
    let decrypted;
    let der = match section.label.as_str() {
        "PRIVATE KEY" => PrivateKeyDer::Pkcs8(content.into()),
        "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(content.into()),
        "EC PRIVATE KEY" => PrivateKeyDer::Sec1(content.into()),
        "ENCRYPTED PRIVATE KEY" => {
            decrypted = decrypt(content, password)?;
            PrivateKeyDer::Pkcs8(decrypted.as_slice().into())
        }
        _ => return Err(BundleFault::KeyFormat { label: Refusal::foreign(&section.label) }),
    };
    any_supported_type(&der).map_err(|_| BundleFault::UnusableKey)
}

fn decrypt(der: &[u8], password: Option<&[u8]>) -> Result<Zeroizing<Vec<u8>>, BundleFault> {
    // EMQX's published examples write `password = ""` where there is none.
    let password = password.filter(|text| !text.is_empty()).ok_or(BundleFault::PasswordMissing)?;
    let encrypted = EncryptedPrivateKeyInfo::try_from(der).map_err(|_| BundleFault::KeyEncryption)?;
    if encrypted.encryption_algorithm.pbes2().is_none() {
        return Err(BundleFault::KeyEncryption);
    }
    let plain = encrypted.decrypt(password).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. }) => {
            BundleFault::KeyEncryption
        }
        // A wrong password shows as bad padding, or as plaintext that is not DER.
        _ => BundleFault::WrongPassword,
    })?;
    Ok(plain.to_bytes())
}
