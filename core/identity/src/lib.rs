//! The words that all rooms of Postern share: names, certificate facts, identities, credentials, access
//! rules, refusals and the three questions of the gate.
//!
//! No I/O, no clock, no async runtime. A value of a type in this crate is valid: it was checked at birth.

pub mod acl;
pub mod certificate;
pub mod credentials;
pub mod decide;
pub mod names;
pub mod network;
pub mod pattern;
pub mod refusal;
pub mod scram;

pub use acl::{AccessRules, Acl, Permission, Principal};
pub use certificate::{AmbiguousCertificate, CertFacts, NameAttribute, SubjectAltName};
pub use credentials::{PasswordHash, Users};
pub use decide::{
    Answer, BundleDirectory, BundleInfo, CertificateChoice, CertificateQuestion, ClientAuthWish, ClientHello, Decision,
    Gate, Identity, IdentityQuestion, NamespaceOutcome, NamespaceQuestion, Peer, Proxied, ProxiedTls, TlsSession,
    Transport,
};
pub use names::{BundleName, BundleRef, DnsName, IdentityText, ListenerId, Namespace, NamespaceName, PluginName};
pub use network::Network;
pub use pattern::TopicTemplate;
pub use refusal::{Refusal, Stage, Why};
