//! Bundles, keyrings, handshakes in memory, and the paths that they proved. Ids in names: the project's
//! list of hostile cases.

#![allow(clippy::unwrap_used, reason = "a helper that fails should stop the test where it fails")]

mod asked;
mod bundle;
mod chain;
mod crl;
mod crl_maker;
mod handshake;
mod hello;
mod keyring;
mod ocsp;
mod outdated;
mod pki;
mod resumption;
mod wire;
