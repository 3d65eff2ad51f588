//! What an X.509 certificate says (RFC 5280). Reading one says nothing about trust in it.

/// One attribute of a distinguished name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAttribute {
    /// Dotted object identifier.
    pub oid: String,
    /// `CN`, `O`, …, or the identifier again.
    pub short_name: String,
    /// Decoded from UTF8String, PrintableString or IA5String; none for any other type or invalid bytes.
    pub value: Option<String>,
}

/// One SubjectAltName entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectAltName {
    /// dNSName
    Dns(String),
    /// rfc822Name
    Email(String),
    /// uniformResourceIdentifier
    Uri(String),
    /// iPAddress
    Ip(std::net::IpAddr),
}

/// The facts of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertFacts {
    /// The subject's attributes in the certificate's order.
    pub subject: Vec<NameAttribute>,
    /// RFC 4514 text.
    pub subject_dn: String,
    /// The issuer's attributes.
    pub issuer: Vec<NameAttribute>,
    /// RFC 4514 text.
    pub issuer_dn: String,
    /// Lower-case hexadecimal.
    pub serial_hex: String,
    /// In the certificate's order.
    pub sans: Vec<SubjectAltName>,
    /// Seconds since the Unix epoch.
    pub not_before: i64,
    /// Seconds since the Unix epoch.
    pub not_after: i64,
    /// Dotted object identifiers; empty where the extension is absent.
    pub extended_key_usages: Vec<String>,
    /// SHA-256 of the DER.
    pub fingerprint: [u8; 32],
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// The certificate.
    pub der: Vec<u8>,
}

/// Why a certificate was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmbiguousCertificate {
    /// Not DER, or not X.509.
    #[error("not an X.509 certificate: {0}")]
    Malformed(String),
    /// A SubjectAltName entry whose bytes have no one reading.
    #[error("the SubjectAltName has an entry that cannot be read: {0}")]
    SubjectAltName(String),
    /// More entries than any honest certificate has.
    #[error("the certificate has {found} {what}, at most {max} are read")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// Found.
        found: usize,
        /// Allowed.
        max: usize,
    },
}
