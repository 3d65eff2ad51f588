//! What an X.509 certificate says (RFC 5280). Reading one says nothing about trust in it.
//!
//! The reader is strict where two readers could disagree: a text is decoded only from the string types
//! with one meaning, and a `SubjectAltName` entry that cannot be read refuses the whole certificate rather
//! than vanish from it.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};
use x509_parser::asn1_rs::{Any, Class, FromDer, Oid, Tag, ToDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_SUBJECT_ALT_NAME};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// One attribute of a distinguished name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAttribute {
    /// Dotted object identifier.
    pub oid: String,
    /// `CN`, `O`, …, or the identifier again.
    pub short_name: String,
    /// Decoded from `UTF8String`, `PrintableString` or `IA5String`; none for any other type or invalid bytes.
    pub value: Option<String>,
}

/// One `SubjectAltName` entry.
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
    /// Lower-case hexadecimal, without the zero byte that DER puts before a high first bit.
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
    /// SHA-256 of the `SubjectPublicKeyInfo`.
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
    /// A `SubjectAltName` entry whose bytes have no one reading.
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

impl CertFacts {
    /// Longest certificate that is read, in bytes: rustls takes no longer Certificate message.
    pub const MAX_DER_BYTES: usize = 64 * 1024;
    /// Most attributes read of one distinguished name. Honest ones have fewer than ten.
    pub const MAX_NAME_ATTRIBUTES: usize = 64;
    /// Most `SubjectAltName` entries read. Public CAs stop at 100.
    pub const MAX_SANS: usize = 256;
    /// Most extended key usages read. About thirty are registered.
    pub const MAX_KEY_USAGES: usize = 64;

    /// Reads one certificate.
    ///
    /// # Errors
    /// [`AmbiguousCertificate`] where the bytes are not exactly one certificate, an extension appears
    /// twice, a `SubjectAltName` entry has no one reading, or a bound is passed. A subject attribute of an
    /// unreadable type is no error: its value is none, and a rule that asks for it refuses.
    pub fn from_der(der: &[u8]) -> Result<Self, AmbiguousCertificate> {
        bounded("bytes", der.len(), Self::MAX_DER_BYTES)?;
        let (rest, cert) = X509Certificate::from_der(der).map_err(malformed)?;
        if !rest.is_empty() {
            return Err(AmbiguousCertificate::Malformed(format!("{} bytes follow it", rest.len())));
        }
        let (subject, subject_dn) = read_name(cert.subject(), "subject attributes")?;
        let (issuer, issuer_dn) = read_name(cert.issuer(), "issuer attributes")?;
        Ok(Self {
            subject,
            subject_dn,
            issuer,
            issuer_dn,
            serial_hex: hex(unpadded(cert.raw_serial())),
            sans: read_sans(&cert)?,
            not_before: cert.validity().not_before.timestamp(),
            not_after: cert.validity().not_after.timestamp(),
            extended_key_usages: read_key_usages(&cert)?,
            fingerprint: Sha256::digest(der).into(),
            spki_sha256: Sha256::digest(cert.public_key().raw).into(),
            der: der.to_vec(),
        })
    }

    /// The fingerprint as lower-case hexadecimal digits.
    pub fn fingerprint_hex(&self) -> String {
        hex(&self.fingerprint)
    }

    /// The digest of the `SubjectPublicKeyInfo` as lower-case hexadecimal digits.
    pub fn spki_sha256_hex(&self) -> String {
        hex(&self.spki_sha256)
    }
}

fn bounded(what: &'static str, found: usize, max: usize) -> Result<(), AmbiguousCertificate> {
    if found > max { Err(AmbiguousCertificate::TooMany { what, found, max }) } else { Ok(()) }
}

/// The parser's errors name rules, not bytes of the certificate: safe for logs.
fn malformed(error: impl std::fmt::Display) -> AmbiguousCertificate {
    AmbiguousCertificate::Malformed(error.to_string())
}

/// DER integers are signed: a positive one with its first bit set carries a zero byte in front.
fn unpadded(serial: &[u8]) -> &[u8] {
    match serial {
        [0, rest @ ..] if !rest.is_empty() => rest,
        _ => serial,
    }
}

/// Lower-case hexadecimal digits. Not by way of `format!`: it is asked for with each decision.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 0xf));
    }
    text
}

// ---- distinguished names -------------------------------------------------------------------------------

/// Short names: RFC 4514 section 3, and those that certificates use besides (RFC 4519, RFC 2985).
const SHORT_NAMES: [(&str, &str); 16] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.4", "SN"),
    ("2.5.4.42", "GN"),
    ("2.5.4.12", "title"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.97", "organizationIdentifier"),
];

fn short_name(oid: &str) -> Option<&'static str> {
    SHORT_NAMES.iter().find(|(known, _)| *known == oid).map(|&(_, short)| short)
}

/// The attributes in the certificate's order, and the text: last RDN first, the attributes of one RDN
/// joined by `+` (RFC 4514 section 2).
fn read_name(name: &X509Name<'_>, what: &'static str) -> Result<(Vec<NameAttribute>, String), AmbiguousCertificate> {
    bounded(what, name.iter_attributes().count(), CertFacts::MAX_NAME_ATTRIBUTES)?;
    let mut attributes = Vec::new();
    let mut rdns = Vec::new();
    for rdn in name.iter_rdn() {
        let mut texts = Vec::new();
        for raw in rdn.iter() {
            let attribute = read_attribute(raw);
            texts.push(attribute_text(&attribute, raw.attr_value())?);
            attributes.push(attribute);
        }
        rdns.push(texts.join("+"));
    }
    rdns.reverse();
    Ok((attributes, rdns.join(",")))
}

fn read_attribute(raw: &AttributeTypeAndValue<'_>) -> NameAttribute {
    let oid = raw.attr_type().to_id_string();
    let short_name = short_name(&oid).map_or_else(|| oid.clone(), str::to_owned);
    NameAttribute { short_name, value: decode_text(raw.attr_value()), oid }
}

/// The three string types with one meaning. `TeletexString`, `BMPString` and `UniversalString` have been read
/// in more than one way by different libraries, which made two names out of one certificate.
fn decode_text(value: &Any<'_>) -> Option<String> {
    if value.header.class() != Class::Universal || value.header.constructed() {
        return None;
    }
    let text = std::str::from_utf8(value.data).ok()?;
    let valid = match value.tag() {
        Tag::Utf8String => true,
        Tag::Ia5String => text.is_ascii(),
        Tag::PrintableString => text.bytes().all(is_printable_string_byte),
        _ => false,
    };
    valid.then(|| text.to_owned())
}

/// The alphabet of `PrintableString` (X.680 section 41.4).
fn is_printable_string_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte)
}

/// `type=value`. A value without a text, or of a type without a short name, is `#` and the hexadecimal
/// DER (RFC 4514 section 2.4).
fn attribute_text(attribute: &NameAttribute, raw: &Any<'_>) -> Result<String, AmbiguousCertificate> {
    let named = attribute.short_name != attribute.oid;
    match &attribute.value {
        Some(value) if named => Ok(format!("{}={}", attribute.short_name, escape(value))),
        _ => Ok(format!("{}=#{}", attribute.short_name, hex(&raw.to_der_vec().map_err(malformed)?))),
    }
}

/// RFC 4514 section 2.4. Control and bidirectional characters, which it merely allows to escape, are
/// always escaped: the text goes to logs.
fn escape(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (position, c) in value.chars().enumerate() {
        let at_edge = (c == ' ' && (position == 0 || position == last)) || (c == '#' && position == 0);
        if at_edge || matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\') {
            text.push('\\');
            text.push(c);
        } else if crate::names::is_treacherous(c) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(text, "\\{byte:02X}");
            }
        } else {
            text.push(c);
        }
    }
    text
}

// ---- extensions ----------------------------------------------------------------------------------------

/// The value of an extension that may appear once (RFC 5280 section 4.2).
fn extension_value<'a>(
    cert: &X509Certificate<'a>,
    oid: &Oid<'static>,
) -> Result<Option<&'a [u8]>, AmbiguousCertificate> {
    Ok(cert.get_extension_unique(oid).map_err(malformed)?.map(|extension| extension.value))
}

/// The elements of a SEQUENCE that fills `value` exactly.
fn elements<'a>(value: &'a [u8], what: &'static str, max: usize) -> Result<Vec<Any<'a>>, AmbiguousCertificate> {
    let (rest, sequence) = Any::from_der(value).map_err(malformed)?;
    sequence.tag().assert_eq(Tag::Sequence).map_err(malformed)?;
    if !rest.is_empty() {
        return Err(AmbiguousCertificate::Malformed(format!("bytes follow the {what}")));
    }
    let (mut rest, mut found) = (sequence.data, Vec::new());
    while !rest.is_empty() {
        // Counted before it is kept, so that a long list costs no memory.
        bounded(what, found.len() + 1, max)?;
        let (next, element) = Any::from_der(rest).map_err(malformed)?;
        found.push(element);
        rest = next;
    }
    Ok(found)
}

fn read_key_usages(cert: &X509Certificate<'_>) -> Result<Vec<String>, AmbiguousCertificate> {
    let Some(value) = extension_value(cert, &OID_X509_EXT_EXTENDED_KEY_USAGE)? else { return Ok(Vec::new()) };
    elements(value, "extended key usages", CertFacts::MAX_KEY_USAGES)?
        .into_iter()
        .map(|element| Ok(Oid::try_from(element).map_err(malformed)?.to_id_string()))
        .collect()
}

fn read_sans(cert: &X509Certificate<'_>) -> Result<Vec<SubjectAltName>, AmbiguousCertificate> {
    let Some(value) = extension_value(cert, &OID_X509_EXT_SUBJECT_ALT_NAME)? else { return Ok(Vec::new()) };
    let mut sans = Vec::new();
    for element in elements(value, "SubjectAltName entries", CertFacts::MAX_SANS)? {
        sans.extend(read_san(&element)?);
    }
    Ok(sans)
}

/// One `GeneralName` (RFC 5280 section 4.2.1.6); none for the types that carry no text or address.
fn read_san(element: &Any<'_>) -> Result<Option<SubjectAltName>, AmbiguousCertificate> {
    if element.header.class() != Class::ContextSpecific {
        return Err(AmbiguousCertificate::SubjectAltName("it is not a GeneralName".to_owned()));
    }
    let tag = element.tag().0;
    let read = match tag {
        1 => ia5(element).map(SubjectAltName::Email)?,
        2 => ia5(element).map(SubjectAltName::Dns)?,
        6 => ia5(element).map(SubjectAltName::Uri)?,
        7 => SubjectAltName::Ip(ip_address(element)?),
        // otherName, x400Address, directoryName, ediPartyName, registeredID.
        0 | 3 | 4 | 5 | 8 => return Ok(None),
        _ => return Err(AmbiguousCertificate::SubjectAltName(format!("GeneralName has no choice {tag}"))),
    };
    Ok(Some(read))
}

fn ia5(element: &Any<'_>) -> Result<String, AmbiguousCertificate> {
    let bytes = primitive(element)?;
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Ok(text.to_owned()),
        _ => Err(AmbiguousCertificate::SubjectAltName("a text with bytes outside IA5String".to_owned())),
    }
}

fn ip_address(element: &Any<'_>) -> Result<IpAddr, AmbiguousCertificate> {
    let bytes = primitive(element)?;
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(v4).into());
    }
    let v6 = <[u8; 16]>::try_from(bytes)
        .map_err(|_| AmbiguousCertificate::SubjectAltName(format!("an IP address of {} bytes", bytes.len())))?;
    Ok(Ipv6Addr::from(v6).into())
}

/// A constructed string would be pieces that some readers join and others do not; DER forbids it.
fn primitive<'a>(element: &Any<'a>) -> Result<&'a [u8], AmbiguousCertificate> {
    if element.header.constructed() {
        return Err(AmbiguousCertificate::SubjectAltName("a text in pieces".to_owned()));
    }
    Ok(element.data)
}
