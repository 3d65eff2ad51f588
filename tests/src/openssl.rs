//! The `openssl` of this machine: it makes keys and certificates of all kinds, and is a client that can be told in detail
//! what to offer.

use std::net::SocketAddr;
use std::path::Path;

use crate::programs;

/// The options of `openssl req` for a key on P-256.
pub const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";
/// The options of `openssl req` for a key on P-384.
pub const P384: &str = "ec -pkeyopt ec_paramgen_curve:P-384";
/// The options of `openssl req` for an RSA key.
pub const RSA: &str = "rsa:2048";
/// The options of `openssl req` for an Ed25519 key.
pub const ED25519: &str = "ed25519";

/// Runs one command, whose words have no blanks in them; `DIR/` is the directory.
///
/// # Panics
/// Where it fails.
#[track_caller]
pub fn run(dir: &Path, line: &str) {
    let in_dir = |word: &str| word.replace("DIR/", &format!("{}/", dir.display()));
    let words: Vec<String> = line.split_whitespace().map(in_dir).collect();
    programs::run("openssl", &words, b"").succeeded();
}

/// A self-signed certificate of this DNS name: `FILE.pem` with the common name FILE, and `FILE.key`.
pub fn self_signed(dir: &Path, file: &str, algorithm: &str, dns_name: &str) {
    let (key, subject) = (format!("-newkey {algorithm} -nodes -keyout DIR/{file}.key"), format!("-subj /CN={file}"));
    let names = format!("-addext subjectAltName=DNS:{dns_name}");
    run(dir, &format!("req -x509 -days 2 {key} {subject} {names} -out DIR/{file}.pem"));
}

/// The same as a bundle below `DIR/data`; `owner` is `global` or `ns/NAMESPACE`. Its common name is BUNDLE.
pub fn self_signed_bundle(dir: &Path, owner: &str, bundle: &str, algorithm: &str, dns_name: &str) {
    let place = dir.join("data/certs").join(owner).join(bundle);
    std::fs::create_dir_all(&place).unwrap();
    self_signed(&place, bundle, algorithm, dns_name);
    std::fs::rename(place.join(format!("{bundle}.pem")), place.join("chain.pem")).unwrap();
    std::fs::rename(place.join(format!("{bundle}.key")), place.join("key.pem")).unwrap();
}

/// What `openssl s_client` is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// A certificate with this common name.
    CommonName(String),
    /// The handshake ended with this alert, by its number.
    Alert(u8),
}

/// Handshakes as `openssl s_client` with these options.
///
/// # Panics
/// Where it ended in neither.
#[track_caller]
pub fn s_client(address: SocketAddr, options: &str) -> Served {
    let line = format!("s_client -brief -connect {address} {options}");
    let words: Vec<&str> = line.split_whitespace().collect();
    let text = programs::run("openssl", &words, b"").text;
    if let Some((_, rest)) = text.split_once("Peer certificate: CN = ") {
        return Served::CommonName(rest.lines().next().unwrap_or_default().to_owned());
    }
    let alert = text.split_once("SSL alert number ").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
    Served::Alert(alert.unwrap_or_else(|| panic!("openssl {line}: {text}")))
}
