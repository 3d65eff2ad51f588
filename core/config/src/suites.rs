//! The names of cipher suites and key exchange groups: those that are spoken, and those that are real and never spoken
//! here, as older configurations list them.

/// A cipher suite that is spoken.
#[derive(Debug)]
pub(crate) struct Suite {
    /// IANA's number.
    pub(crate) number: u16,
    iana: &'static str,
    /// OpenSSL's name; that of IANA in TLS 1.3.
    openssl: &'static str,
    pub(crate) tls13: bool,
}

const fn tls13(number: u16, name: &'static str) -> Suite {
    Suite { number, iana: name, openssl: name, tls13: true }
}

const fn tls12(number: u16, iana: &'static str, openssl: &'static str) -> Suite {
    Suite { number, iana, openssl, tls13: false }
}

/// In the order of preference that holds where nothing is said.
pub(crate) const SPOKEN: [Suite; 9] = [
    tls13(0x1302, "TLS_AES_256_GCM_SHA384"),
    tls13(0x1301, "TLS_AES_128_GCM_SHA256"),
    tls13(0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    tls12(0xC02C, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    tls12(0xC02B, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    tls12(0xCCA9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    tls12(0xC030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    tls12(0xC02F, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    tls12(0xCCA8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
];

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Named<T> {
    Spoken(T),
    /// There is such a thing, and it is never spoken here.
    Unspoken,
}

/// A cipher suite by either name.
pub(crate) fn suite(name: &str) -> Option<Named<&'static Suite>> {
    let name = name.to_ascii_uppercase();
    if let Some(suite) = SPOKEN.iter().find(|suite| suite.iana == name || suite.openssl == name) {
        return Some(Named::Spoken(suite));
    }
    (is_iana(&name) || is_openssl(&name)).then_some(Named::Unspoken)
}

/// All names that can be meant, for guesses.
pub(crate) fn suite_names() -> impl Iterator<Item = &'static str> {
    SPOKEN.iter().flat_map(|suite| [suite.iana, suite.openssl])
}

/// Of TLS 1.3, and not spoken.
const TLS13_CCM: [&str; 2] = ["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"];

/// Whether a name that is not spoken is one of TLS 1.3.
pub(crate) fn is_tls13(name: &str) -> bool {
    TLS13_CCM.contains(&name.to_ascii_uppercase().as_str())
}

/// `TLS_KEYEXCHANGE_WITH_CIPHER_MAC`, out of IANA's words.
fn is_iana(name: &str) -> bool {
    const EXCHANGES: &[&str] = &[
        "NULL",
        "RSA",
        "DH_RSA",
        "DH_DSS",
        "DHE_RSA",
        "DHE_DSS",
        "DH_ANON",
        "ECDH_RSA",
        "ECDH_ECDSA",
        "ECDHE_RSA",
        "ECDHE_ECDSA",
        "ECDH_ANON",
        "PSK",
        "RSA_PSK",
        "DHE_PSK",
        "ECDHE_PSK",
        "SRP_SHA",
        "SRP_SHA_RSA",
        "SRP_SHA_DSS",
        "KRB5",
    ];
    const CIPHERS: &[&str] = &[
        "NULL",
        "RC4_128",
        "DES_CBC",
        "3DES_EDE_CBC",
        "IDEA_CBC",
        "SEED_CBC",
        "AES_128_CBC",
        "AES_256_CBC",
        "AES_128_GCM",
        "AES_256_GCM",
        "AES_128_CCM",
        "AES_256_CCM",
        "AES_128_CCM_8",
        "AES_256_CCM_8",
        "CAMELLIA_128_CBC",
        "CAMELLIA_256_CBC",
        "CAMELLIA_128_GCM",
        "CAMELLIA_256_GCM",
        "ARIA_128_CBC",
        "ARIA_256_CBC",
        "ARIA_128_GCM",
        "ARIA_256_GCM",
        "CHACHA20_POLY1305",
    ];
    let parts = name.strip_prefix("TLS_").and_then(|rest| rest.split_once("_WITH_"));
    let is_suite = parts.is_some_and(|(exchange, rest)| EXCHANGES.contains(&exchange) && is_cipher(rest, CIPHERS, '_'));
    is_suite || TLS13_CCM.contains(&name)
}

/// `KEYEXCHANGE-CIPHER-MAC`, out of OpenSSL's words; without the first part where RSA carries the key.
fn is_openssl(name: &str) -> bool {
    const EXCHANGES: &[&str] = &[
        "",
        "ECDHE-ECDSA-",
        "ECDHE-RSA-",
        "ECDH-ECDSA-",
        "ECDH-RSA-",
        "DHE-RSA-",
        "DHE-DSS-",
        "EDH-RSA-",
        "EDH-DSS-",
        "DH-RSA-",
        "DH-DSS-",
        "ADH-",
        "AECDH-",
        "PSK-",
        "RSA-PSK-",
        "DHE-PSK-",
        "ECDHE-PSK-",
        "SRP-",
        "SRP-RSA-",
        "SRP-DSS-",
    ];
    const CIPHERS: &[&str] = &[
        "NULL",
        "RC4",
        "DES-CBC",
        "DES-CBC3",
        "3DES-EDE-CBC",
        "IDEA-CBC",
        "SEED",
        "AES128",
        "AES256",
        "AES128-CBC",
        "AES256-CBC",
        "AES-128-CBC",
        "AES-256-CBC",
        "AES128-GCM",
        "AES256-GCM",
        "AES128-CCM",
        "AES256-CCM",
        "AES128-CCM8",
        "AES256-CCM8",
        "CAMELLIA128",
        "CAMELLIA256",
        "ARIA128-GCM",
        "ARIA256-GCM",
        "CHACHA20-POLY1305",
    ];
    EXCHANGES.iter().filter_map(|exchange| name.strip_prefix(exchange)).any(|rest| is_cipher(rest, CIPHERS, '-'))
}

/// A cipher with the hash behind it, which some have in themselves.
fn is_cipher(text: &str, ciphers: &[&str], between: char) -> bool {
    const HASHES: [&str; 4] = ["MD5", "SHA", "SHA256", "SHA384"];
    let whole = |text: &str| ciphers.contains(&text) && (text.contains("CCM") || text.contains("POLY1305"));
    let hashed = |(cipher, hash): (&str, &str)| ciphers.contains(&cipher) && HASHES.contains(&hash);
    whole(text) || text.rsplit_once(between).is_some_and(hashed)
}

/// A key exchange group that is spoken.
#[derive(Debug)]
pub(crate) struct Group {
    /// IANA's number.
    pub(crate) number: u16,
    names: &'static [&'static str],
    /// Whether TLS 1.2 can use it.
    pub(crate) tls12: bool,
}

pub(crate) const GROUPS: [Group; 5] = [
    Group { number: 0x11EC, names: &["X25519MLKEM768"], tls12: false },
    Group { number: 0x001D, names: &["x25519"], tls12: true },
    Group { number: 0x0017, names: &["secp256r1", "P-256", "prime256v1"], tls12: true },
    Group { number: 0x0018, names: &["secp384r1", "P-384"], tls12: true },
    Group { number: 0x11EB, names: &["SecP256r1MLKEM768"], tls12: false },
];

/// A group by any of its names.
pub(crate) fn group(name: &str) -> Option<Named<&'static Group>> {
    const UNSPOKEN: &[&str] = &[
        "secp521r1",
        "P-521",
        "x448",
        "ffdhe2048",
        "ffdhe3072",
        "ffdhe4096",
        "ffdhe6144",
        "ffdhe8192",
        "secp224r1",
        "P-224",
        "secp256k1",
        "secp192r1",
        "P-192",
        "prime192v1",
        "brainpoolP256r1",
        "brainpoolP384r1",
        "brainpoolP512r1",
        "brainpoolP256r1tls13",
        "brainpoolP384r1tls13",
        "brainpoolP512r1tls13",
        "SecP384r1MLKEM1024",
        "X448MLKEM1024",
        "MLKEM512",
        "MLKEM768",
        "MLKEM1024",
    ];
    let is = |known: &&str| known.eq_ignore_ascii_case(name);
    let spoken = GROUPS.iter().find(|group| group.names.iter().any(&is));
    spoken.map(Named::Spoken).or_else(|| UNSPOKEN.iter().any(is).then_some(Named::Unspoken))
}

/// All names that can be meant, for guesses.
pub(crate) fn group_names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|group| group.names.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spoken_unspoken_or_unknown() {
        for suite_of in &SPOKEN {
            for name in [suite_of.iana.to_owned(), suite_of.openssl.to_owned(), suite_of.openssl.to_lowercase()] {
                assert!(
                    matches!(suite(&name), Some(Named::Spoken(found)) if found.number == suite_of.number),
                    "{name}"
                );
            }
        }
        for name in [
            "TLS_AES_128_CCM_SHA256",
            "TLS_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA256",
            "TLS_DH_anon_WITH_RC4_128_MD5",
            "ECDHE-ECDSA-AES256-SHA384",
            "DHE-RSA-AES256-GCM-SHA384",
            "RSA-PSK-AES256-CBC-SHA384",
            "AES128-SHA",
            "DES-CBC3-SHA",
            "ECDHE-ECDSA-AES128-CCM8",
            "EDH-RSA-DES-CBC3-SHA",
        ] {
            assert!(matches!(suite(name), Some(Named::Unspoken)), "{name}");
        }
        for name in
            ["", "TLS", "HIGH", "!aNULL", "TLS_AES_256_GCM_SHA385", "ECDHE-RSA-AES512-GCM-SHA384", "AES128", "SHA"]
        {
            assert!(suite(name).is_none(), "{name}");
        }
        assert!(matches!(group("prime256V1"), Some(Named::Spoken(found)) if found.number == 0x17));
        assert!(matches!(group("ffdhe2048"), Some(Named::Unspoken)));
        assert!(group("x25518").is_none());
    }
}
