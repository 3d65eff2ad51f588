//! The words that all rooms of Postern share: names, certificate facts, identities, refusals and the
//! three questions of the gate.
//!
//! No I/O, no clock, no async runtime. A value of a type in this crate is valid: it was checked at birth.

pub mod certificate;
pub mod decide;
pub mod names;
pub mod refusal;

pub use certificate::{AmbiguousCertificate, CertFacts, NameAttribute, SubjectAltName};
pub use decide::{
    Answer, BundleDirectory, BundleInfo, CertificateChoice, CertificateQuestion, ClientAuthWish, ClientHello, Decision,
    Gate, Identity, IdentityQuestion, NamespaceOutcome, NamespaceQuestion, Peer, Transport,
};
pub use names::{BundleName, BundleRef, DnsName, IdentityText, ListenerId, Namespace, NamespaceName, PluginName};
pub use refusal::{Refusal, Stage, Why};
