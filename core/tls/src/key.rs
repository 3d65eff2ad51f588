//! Private keys: finds the one in a PEM file, opens it if it is encrypted, and says what is wrong in words.

use std::sync::Arc;

use pkcs8::EncryptedPrivateKeyInfo;
use pkcs8::der::asn1::AnyRef;
use pkcs8::der::{Decode, Tag, Tagged};
use postern_identity::Refusal;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::SigningKey;
use rustls_pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use crate::bundle::{BundleFault, BundleWarning};
use crate::outdated;
use crate::pem::{Headers, Section, sections};

/// The private key of a file. Certificates and curve parameters beside it are passed over. One that is encrypted in an
/// outdated way is a warning.
pub(crate) fn read(
    file: &[u8],
    password: Option<&[u8]>,
    warnings: &mut Vec<BundleWarning>,
) -> Result<Arc<dyn SigningKey>, BundleFault> {
    let sections = sections(file)?;
    let mut keys = sections.iter().filter(|section| section.label.ends_with("PRIVATE KEY"));
    let Some(key) = keys.next() else {
        let certificate = sections.iter().any(|section| section.label.ends_with("CERTIFICATE"));
        return Err(if certificate { BundleFault::CertificateInsteadOfKey } else { BundleFault::NoKey });
    };
    if keys.next().is_some() {
        return Err(BundleFault::SeveralKeys);
    }
    open(key, password, warnings)
}

/// The content stays in buffers that are wiped; the key object keeps its own copy in the crypto library.
fn open(
    section: &Section,
    password: Option<&[u8]>,
    warnings: &mut Vec<BundleWarning>,
) -> Result<Arc<dyn SigningKey>, BundleFault> {
    let wrap: fn(&[u8]) -> PrivateKeyDer<'_> = match section.label.as_str() {
        "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => |der| PrivateKeyDer::Pkcs8(der.into()),
        "RSA PRIVATE KEY" => |der| PrivateKeyDer::Pkcs1(der.into()),
        "EC PRIVATE KEY" => |der| PrivateKeyDer::Sec1(der.into()),
        _ => return Err(BundleFault::KeyFormat { label: Refusal::foreign(&section.label) }),
    };
    let content = section.content.as_slice();
    let encrypted = section.label == "ENCRYPTED PRIVATE KEY" || is_encrypted(&section.headers)?;
    if !encrypted {
        return any_supported_type(&wrap(content)).map_err(|_| BundleFault::UnusableKey);
    }
    // EMQX's published examples write `password = ""` where there is none.
    let password = password.filter(|text| !text.is_empty()).ok_or(BundleFault::PasswordMissing)?;
    let (plain, outdated) = match section.label.as_str() {
        "ENCRYPTED PRIVATE KEY" => decrypt(content, password)?,
        _ => (outdated::open_pem(&section.headers, content, password)?, Some("Proc-Type: 4,ENCRYPTED")),
    };
    if let Some(format) = outdated {
        warnings.push(BundleWarning::OutdatedKeyEncryption { format });
    }
    // One wrong password in 256 leaves padding that looks right, and no DER.
    any_supported_type(&wrap(&plain)).map_err(|_| match outdated {
        Some(_) if !is_sequence(&plain) => BundleFault::WrongPassword,
        _ => BundleFault::UnusableKey,
    })
}

/// Whether the headers say so. Half of what must be there is no reason to take the content as it stands.
fn is_encrypted(headers: &Headers) -> Result<bool, BundleFault> {
    let broken = |what| Err(BundleFault::KeyHeaders { what });
    if headers.repeated {
        return broken("a line stands twice");
    }
    match headers.proc_type.as_deref() {
        None if headers.dek_info.is_none() => Ok(false),
        None => broken("the line `Proc-Type: 4,ENCRYPTED` is missing"),
        Some(text) if text.split(',').map(str::trim).eq(["4", "ENCRYPTED"]) => Ok(true),
        Some(_) => broken("`Proc-Type` is not `4,ENCRYPTED`"),
    }
}

/// Whether these bytes are one DER SEQUENCE, as every key is.
fn is_sequence(der: &[u8]) -> bool {
    matches!(AnyRef::from_der(der), Ok(any) if any.tag() == Tag::Sequence)
}

/// The key in PKCS#8, and the old algorithm's name where it is one.
fn decrypt(der: &[u8], password: &[u8]) -> Result<(Zeroizing<Vec<u8>>, Option<&'static str>), BundleFault> {
    let new = EncryptedPrivateKeyInfo::try_from(der).ok().filter(|info| info.encryption_algorithm.pbes2().is_some());
    let Some(encrypted) = new else {
        return outdated::open_pkcs8(der, password).map(|(plain, name)| (plain, Some(name)));
    };
    let plain = encrypted.decrypt(password).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. }) => {
            BundleFault::KeyEncryption
        }
        // A wrong password shows as bad padding, or as plaintext that is not DER.
        _ => BundleFault::WrongPassword,
    })?;
    Ok((plain.to_bytes(), None))
}
