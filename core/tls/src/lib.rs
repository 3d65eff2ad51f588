//! Keys, certificates and TLS settings: what a listener can answer with, whom it trusts, and what a
//! handshake proved.
//!
//! Values in, values out: no sockets, no files, no clock. The crypto provider is always named (aws-lc-rs);
//! no process default is read or set.
//!
//! - [`Bundle`]: a certificate chain, its key and the client CA that belongs to it, checked at birth.
//! - [`Keyring`]: the bundles of one listener and the names they answer to.
//! - [`ServerConfigs`]: the rustls settings for a bundle, made once.
//! - [`Resumption`]: whether clients may come back with a shorter handshake.
//! - [`OcspQuestion`]: what is asked about a bundle's certificate, and whether the answer may be stapled.
//! - [`sanitize_hello`]: what a client offered, in words that are safe to compare and to log.
//! - [`observed`]: a handshake with the verdict on its client's certificate.
//! - [`verified_chain`]: the path that proved a client's certificate, leaf first, anchor last.
//! - [`Revocation`]: the revocation lists of a listener, and what they say of such a path.
//! - [`explain`], [`Opening`], [`plaintext_alert`]: how a handshake failed, and how to say so to the client.
//! - [`Reason`]: the fixed set of words for it.

pub mod alert;
pub mod bundle;
pub mod chain;
pub mod configs;
pub mod crl;
pub mod hello;
mod key;
pub mod keyring;
pub mod ocsp;
mod offer;
pub mod opening;
mod outdated;
mod pem;
pub mod policy;
pub mod reason;
pub mod resumption;
mod signature;
mod trust;
pub mod verdict;
mod verifier;

pub use alert::{alert_for, explain, plaintext_alert};
pub use bundle::{Bundle, BundleError, BundleFault, BundlePart, BundleWarning, PemSet};
pub use chain::{ChainError, verified_chain};
pub use configs::{ConfigError, ServerConfigs, check_client_auth};
pub use crl::{CrlFile, Outdated, Revocation, RevocationList};
pub use hello::sanitize_hello;
pub use keyring::{Keyring, KeyringEntry, KeyringError, Mismatch};
pub use ocsp::{NoQuestion, OcspAnswer, OcspFault, OcspQuestion};
pub use opening::Opening;
pub use pem::PemFault;
pub use policy::{Anchors, ClientAuth, ClientPath, TlsPolicy, Versions};
pub use reason::Reason;
pub use resumption::Resumption;
pub use verdict::{Rejected, Verdict, observed};
