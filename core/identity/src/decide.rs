//! The three questions of the gate, and what may be answered.
//!
//! The core asks them through [`Gate`]; the plugin host implements it for the components of a listener,
//! benches and tests implement it natively. Every answer that comes through this trait has been checked
//! already: a bundle in it is in the listener's reach, a namespace is attached to it, a text is valid.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use crate::certificate::CertFacts;
use crate::names::{BundleRef, DnsName, IdentityText, ListenerId, Namespace, NamespaceName, PluginName};
use crate::refusal::Refusal;

/// What carries the MQTT bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// MQTT directly over TCP or TLS.
    Tcp,
    /// MQTT in WebSocket frames.
    WebSocket,
}

/// What a proxy says of the TLS connection between the client and itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ProxiedTls {
    /// The protocol version, in the proxy's words.
    pub version: Option<String>,
    /// The cipher suite, in the proxy's words.
    pub cipher: Option<String>,
    /// The client showed a certificate, and the proxy says that it verified it.
    pub verified: bool,
    /// The common name of that certificate.
    pub common_name: Option<String>,
}

/// What the PROXY header says of the connection behind it. No text in it has control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proxied {
    /// The proxy's own address.
    pub proxy: IpAddr,
    /// The operator takes the proxy's word for the rest.
    pub trusted: bool,
    /// The name that the client asked for.
    pub authority: Option<String>,
    /// The protocol that was agreed on.
    pub alpn: Option<String>,
    /// What was said of TLS.
    pub tls: Option<ProxiedTls>,
}

impl Proxied {
    /// The client's certificate, as far as a trusted proxy has verified one.
    pub fn verified(&self) -> Option<&ProxiedTls> {
        self.tls.as_ref().filter(|tls| self.trusted && tls.verified)
    }
}

/// Facts about a connection that the core vouches for, and what a proxy says of it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Number of the connection since the start of the process.
    pub connection: u64,
    /// Where it came in.
    pub listener: ListenerId,
    /// What carries the MQTT bytes.
    pub transport: Transport,
    /// The client's address.
    pub address: SocketAddr,
    /// The port it connected to.
    pub local_port: u16,
    /// What the proxy in front says.
    pub proxied: Option<Arc<Proxied>>,
}

/// What the client offered, sanitised: the name is valid, ALPN entries are UTF-8.
#[derive(Debug, Clone, Default)]
pub struct ClientHello {
    /// The `server_name` extension.
    pub server_name: Option<DnsName>,
    /// The ALPN extension, in the client's order.
    pub alpn: Vec<String>,
    /// IANA numbers, in the client's order.
    pub cipher_suites: Vec<u16>,
    /// IANA numbers, in the client's order.
    pub signature_schemes: Vec<u16>,
    /// IANA numbers, in the client's order.
    pub named_groups: Vec<u16>,
}

/// Whose connection is this?
#[derive(Debug, Clone, Copy)]
pub struct NamespaceQuestion<'a> {
    /// The connection.
    pub peer: &'a Peer,
    /// What the client offered.
    pub hello: &'a ClientHello,
    /// Empty before the handshake and where no certificate was shown; otherwise the verified path, the
    /// client's certificate first, the trust anchor last.
    pub chain: &'a [Arc<CertFacts>],
}

/// The answer to [`NamespaceQuestion`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceOutcome {
    /// Decided.
    Found(Namespace),
    /// A plugin wants the verified chain; only before the handshake.
    NeedCertificate,
    /// No plugin decided: the listener's own namespace holds.
    Undecided,
}

/// Which certificate answers this `ClientHello`?
#[derive(Debug, Clone, Copy)]
pub struct CertificateQuestion<'a> {
    /// The connection.
    pub peer: &'a Peer,
    /// What the client offered.
    pub hello: &'a ClientHello,
    /// What was decided before; the global one where nothing was.
    pub namespace: &'a Namespace,
}

/// How strictly a client certificate is asked for. Ordered: later is stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientAuthWish {
    /// Not asked for.
    None,
    /// Asked for, may be missing.
    Optional,
    /// Must be there.
    Required,
}

/// The answer to [`CertificateQuestion`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateChoice {
    /// A bundle in the listener's reach, of the connection's namespace or global.
    pub bundle: BundleRef,
    /// The plugin's wish; the listener's own setting may be stricter.
    pub client_auth: ClientAuthWish,
}

/// What a TLS handshake agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsSession {
    /// `TLSv1.2` or `TLSv1.3`
    pub version: &'static str,
    /// The cipher suite, as its IANA number.
    pub cipher_suite: u16,
    /// Whether an earlier session was resumed: the client then proved possession of its key at an earlier time.
    pub resumed: bool,
}

/// Who is this client?
#[derive(Debug, Clone, Copy)]
pub struct IdentityQuestion<'a> {
    /// The connection.
    pub peer: &'a Peer,
    /// Its namespace.
    pub namespace: &'a Namespace,
    /// The bundle that answered; none where TLS ended at a proxy.
    pub bundle: Option<&'a BundleRef>,
    /// The name that the client asked for.
    pub server_name: Option<&'a DnsName>,
    /// The verified path, the client's certificate first, the trust anchor last. Empty where a trusted proxy
    /// verified it.
    pub chain: &'a [Arc<CertFacts>],
    /// The handshake; none where TLS ended at a proxy.
    pub tls: Option<TlsSession>,
}

/// Who a certificate says its holder is: the answer to [`IdentityQuestion`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The user name. A CONNECT that names another one is refused (0x86).
    pub username: Option<IdentityText>,
    /// The client identifier that the CONNECT must use (0x85 otherwise).
    pub client_id: Option<IdentityText>,
    /// Further facts, for rules and logs.
    pub attributes: Vec<(IdentityText, IdentityText)>,
    /// End of the identity in milliseconds since the Unix epoch.
    pub expires_at_unix_ms: Option<u64>,
}

/// An answer and who gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<T> {
    /// The answer.
    pub answer: T,
    /// The plugin; none where all passed and the listener's default holds.
    pub by: Option<PluginName>,
}

/// An answer under way. A [`Refusal`] is final.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<Decision<T>, Refusal>> + Send + 'a>>;

/// The decisions of one listener.
pub trait Gate: Send + Sync {
    /// Whose connection is this?
    fn namespace<'a>(&'a self, question: NamespaceQuestion<'a>) -> Answer<'a, NamespaceOutcome>;

    /// Which certificate answers? Where no plugin decides, the listener's default bundle.
    fn certificate<'a>(&'a self, question: CertificateQuestion<'a>) -> Answer<'a, CertificateChoice>;

    /// Who is this client? `None` where the listener has no plugin for it: the certificate then says
    /// nothing about the user name. Where there is one, and all pass, the answer is a refusal.
    fn identity<'a>(&'a self, question: IdentityQuestion<'a>) -> Answer<'a, Option<Identity>>;
}

/// What a plugin may learn of a bundle. Never a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleInfo {
    /// Its name.
    pub bundle: BundleRef,
    /// The names it answers to on this listener, in lower case, exact or with one leading `*.`.
    pub names: Vec<String>,
    /// RFC 4514 text.
    pub subject_dn: String,
    /// `rsa`, `ecdsa-p256`, `ecdsa-p384` or `ed25519`.
    pub key_type: &'static str,
    /// Seconds since the Unix epoch.
    pub not_before: i64,
    /// Seconds since the Unix epoch.
    pub not_after: i64,
    /// SHA-256 of the leaf, lower-case hexadecimal.
    pub fingerprint_sha256: String,
    /// Whether it brings its own client CA.
    pub has_client_ca: bool,
}

/// The bundles and namespaces within one listener's reach. What is not in it does not exist for the
/// listener's plugins. Immutable; look-ups cost the same however many bundles there are.
pub trait BundleDirectory: Send + Sync {
    /// The bundle that answers to exactly this name; `*.example.org` matches only itself.
    fn by_name(&self, name: &str) -> Option<&BundleInfo>;
    /// The bundle of this reference.
    fn get(&self, bundle: &BundleRef) -> Option<&BundleInfo>;
    /// The default bundle.
    fn default_bundle(&self) -> Option<&BundleInfo>;
    /// The attached namespaces, without the global one.
    fn namespaces(&self) -> &[NamespaceName];
}
