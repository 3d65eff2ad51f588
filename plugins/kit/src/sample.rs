//! Certificates for the tests of the guests: what the host would hand over, without any DER.

use crate::wit::certificates::{Certificate, NameAttribute, San};
use crate::wit::types::{Proxied, ProxiedTls};

/// A certificate with one CN, issued by `CN=Device CA`.
pub fn certificate(cn: &str) -> Certificate {
    Certificate {
        subject: vec![attribute("2.5.4.3", "CN", Some(cn))],
        subject_dn: format!("CN={cn}"),
        issuer: vec![attribute("2.5.4.3", "CN", Some("Device CA"))],
        issuer_dn: "CN=Device CA".to_owned(),
        serial_hex: "0a1b".to_owned(),
        sans: Vec::new(),
        not_before: 1_700_000_000,
        not_after: 1_900_000_000,
        extended_key_usages: vec!["1.3.6.1.5.5.7.3.2".to_owned()],
        fingerprint_sha256: "11".repeat(32),
        spki_sha256: "22".repeat(32),
        der: b"abc".to_vec(),
    }
}

/// The CA of [`certificate`].
pub fn authority() -> Certificate {
    Certificate {
        fingerprint_sha256: "ca".repeat(32),
        spki_sha256: "cb".repeat(32),
        extended_key_usages: Vec::new(),
        der: b"ca".to_vec(),
        ..certificate("Device CA")
    }
}

/// One attribute of a name; no value is one that cannot be read.
pub fn attribute(oid: &str, short_name: &str, value: Option<&str>) -> NameAttribute {
    NameAttribute { oid: oid.to_owned(), short_name: short_name.to_owned(), value: value.map(str::to_owned) }
}

/// A URI of the `SubjectAltName`.
pub fn uri(text: &str) -> San {
    San::Uri(text.to_owned())
}

/// What a proxy says of a client that came to it with TLS.
pub fn proxied(trusted: bool, verified: bool, common_name: Option<&str>) -> Proxied {
    let common_name = common_name.map(str::to_owned);
    let tls = ProxiedTls { version: None, cipher: None, verified, common_name };
    Proxied { proxy_ip: "192.0.2.1".to_owned(), trusted, authority: None, alpn: None, tls: Some(tls) }
}
