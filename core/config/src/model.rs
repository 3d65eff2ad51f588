//! The configuration as the rest of Postern sees it: checked, with every default filled in.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use postern_identity::AccessRules;
use postern_identity::names::{BundleRef, ListenerId, NamespaceName};
use zeroize::Zeroizing;

use crate::access::{Authentication, EnableAuthn};
use crate::handshake::{ClientPath, Negotiation};
use crate::mqtt::{DurableSessions, Mqtt, Retainer};
use crate::problem::{Origin, Problem, Spanned};
use crate::revocation::{Crl, CrlCache};
use crate::tenancy::MultiTenancy;
use crate::transport::{AccessRule, ProxyProtocol, PublishRates, Rate, TcpOptions, WebSocket};
use crate::watching::{Dashboard, SysTopics};

/// A configuration, and what its author should know about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// To be shown at start; none of them stops the broker.
    pub warnings: Vec<Problem>,
}

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// This process.
    pub node: Node,
    /// The standard plugins.
    pub plugins: PluginsConfig,
    /// Limits of connections and sessions.
    pub mqtt: Mqtt,
    /// Retained messages.
    pub retainer: Retainer,
    /// Limits of tenants.
    pub multi_tenancy: MultiTenancy,
    /// Whether sessions outlive the process.
    pub durable_sessions: DurableSessions,
    /// The log.
    pub log: Log,
    /// How clients without a certificate show who they are, and where their users are.
    pub authentication: Authentication,
    /// Who may do what; none where everybody may do everything.
    pub authorization: Option<AccessRules>,
    /// All listeners, also those with `enable = false`: `tcp`, `ssl`, `ws`, `wss`, each in the order of names.
    pub listeners: Vec<Listener>,
    /// What is served over HTTP.
    pub dashboard: Dashboard,
    /// What is told under `$SYS`.
    pub sys_topics: SysTopics,
    /// How revocation lists are fetched.
    pub crl_cache: CrlCache,
}

impl Config {
    /// Whether the listener's clients must show a certificate that says who they are, a password, or a proof that they
    /// have one.
    pub fn authenticates(&self, listener: &Listener) -> bool {
        !self.authentication.is_empty() && listener.enable_authn != EnableAuthn::No
    }
}

/// `node`: this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `node.name`
    pub name: String,
    /// `node.data_dir`: certificates are under it, and the cache of compiled plugins.
    pub data_dir: PathBuf,
    /// `node.tls_server_session_…`: of all listeners with `session_tickets`.
    pub session_tickets: SessionTickets,
}

/// How many tickets clients are given to come back with, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTickets {
    /// `node.tls_server_session_tickets_amount`: after one handshake of TLS 1.3.
    pub amount: u8,
    /// `node.tls_server_session_ticket_lifetime`: also of sessions that are resumed by their identifier.
    pub lifetime: Duration,
}

impl Default for SessionTickets {
    fn default() -> Self {
        Self { amount: 1, lifetime: Duration::from_hours(2) }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self {
            name: "postern@127.0.0.1".to_owned(),
            data_dir: PathBuf::from("data"),
            session_tickets: SessionTickets::default(),
        }
    }
}

/// `plugins`: the standard plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginsConfig {
    /// `plugins.dir`: where the standard plugins are.
    pub dir: PathBuf,
}

impl Default for PluginsConfig {
    fn default() -> Self {
        Self { dir: PathBuf::from("plugins") }
    }
}

/// What of the client's certificate becomes a name, in EMQX's words. EMQX's `crt` and `pem` are the certificate
/// itself, which is longer than any name may be, and are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerCert {
    /// Nothing.
    Disabled,
    /// The subject's common name.
    Cn,
    /// The subject as RFC 4514 text.
    Dn,
    /// The MD5 of the DER.
    Md5,
}

impl PeerCert {
    /// The word in the configuration, which is also the plugin's.
    pub fn word(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Cn => "cn",
            Self::Dn => "dn",
            Self::Md5 => "md5",
        }
    }
}

/// `log`: what is logged and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Log {
    /// From which level on.
    pub level: LogLevel,
    /// How.
    pub format: LogFormat,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    /// What stops something from working.
    Error,
    /// What needs somebody's eye.
    Warn,
    /// The events of the day.
    #[default]
    Info,
    /// Each connection's steps.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The word in the configuration, which is also that of the `tracing` crates.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
    /// Text: in colours on a terminal, plain otherwise.
    #[default]
    Auto,
}

/// What carries the MQTT bytes of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListenerKind {
    /// `listeners.tcp`
    Tcp,
    /// `listeners.ssl`
    Ssl,
    /// `listeners.ws`: MQTT in WebSocket frames (RFC 6455).
    Ws,
    /// `listeners.wss`: the same under TLS.
    Wss,
}

impl ListenerKind {
    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Ssl => "ssl",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// Whether its connections begin with a TLS handshake.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::Wss)
    }

    /// Whether its connections carry MQTT in WebSocket frames.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// One listener.
#[derive(Debug, Clone)]
pub struct Listener {
    /// `TYPE:NAME`
    pub id: ListenerId,
    /// What carries the MQTT bytes.
    pub kind: ListenerKind,
    /// The listener's own name.
    pub name: String,
    /// Where its block begins.
    pub at: Origin,
    /// Whether it is opened.
    pub enable: bool,
    /// The address to listen on; port 0 is any free one.
    pub bind: Spanned<SocketAddr>,
    /// Which addresses may connect: the first that fits decides, and where none does, any may.
    pub access_rules: Vec<AccessRule>,
    /// Connections come through proxies that say where from.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The sockets' own settings.
    pub tcp_options: TcpOptions,
    /// Connections in a time; none is without limit.
    pub max_conn_rate: Option<Rate>,
    /// What may be spent beyond `max_conn_rate`.
    pub max_conn_burst: Option<Rate>,
    /// What each of its clients may publish in a time.
    pub publish_rates: PublishRates,
    /// Connections at the same time; none is without limit.
    pub max_connections: Option<usize>,
    /// Before all topics of its clients, with `${clientid}`, `${username}` and `${namespace}` in it; may be empty.
    pub mountpoint: String,
    /// The tenants that its clients can belong to: those of `namespaces` and of `managed_certs`, sorted, each once.
    pub namespaces: Vec<NamespaceName>,
    /// TLS; none on `tcp` and `ws`, always there on `ssl` and `wss`.
    pub tls: Option<Tls>,
    /// WebSocket; none on `tcp` and `ssl`, always there on `ws` and `wss`.
    pub websocket: Option<WebSocket>,
    /// The plugins in their order; none where the key is absent, and the standard plugins run.
    pub plugins: Option<Vec<Spanned<PluginEntry>>>,
    /// The listener's own, else that of `mqtt`.
    pub peer_cert_as_username: PeerCert,
    /// The listener's own, else that of `mqtt`.
    pub peer_cert_as_clientid: PeerCert,
    /// Whether `authentication` holds for its clients.
    pub enable_authn: EnableAuthn,
    /// Sockets of one address that have not yet finished their CONNECT.
    pub max_unauthenticated_per_address: u32,
}

/// `ssl_options` of a listener.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Where certificates come from.
    pub source: CertSource,
    /// Whether clients show one.
    pub client_auth: ClientAuth,
    /// Who signs the clients' certificates. For managed bundles each bundle brings its own.
    pub cacertfile: Option<Spanned<PemSource>>,
    /// What is asked of the clients' certificates beyond that.
    pub client_path: ClientPath,
    /// The protocol versions.
    pub versions: Versions,
    /// Cipher suites and key exchange groups.
    pub negotiation: Negotiation,
    /// Whether clients may come back with a shorter handshake.
    pub resumption: SessionResumption,
    /// What client certificates are checked by for revocation; none where they are not.
    pub crl: Option<Crl>,
    /// `ocsp`; none where nothing is stapled.
    pub stapling: Option<Stapling>,
    /// What a name that nobody answers to is answered with.
    pub unknown_sni: UnknownSni,
    /// From the first byte of the connection to the end of the TLS handshake.
    pub handshake_timeout: Duration,
}

/// What of an earlier session a client may build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionResumption {
    /// `session_tickets` is not `disabled`. A ticket carries the client's certificate always.
    pub tickets: bool,
    /// `reuse_sessions`: TLS 1.2 by session identifier.
    pub session_ids: bool,
}

/// `ocsp`: from whom and how often a response is fetched for each of the listener's certificates.
#[derive(Debug, Clone)]
pub struct Stapling {
    /// Where the section begins.
    pub at: Origin,
    /// Who is asked, by `http://`; none for whom each certificate names.
    pub responder_url: Option<Spanned<String>>,
    /// Issuers of the certificates, looked through before the chain and the CA file.
    pub issuer_pem: Option<Spanned<PemSource>>,
    /// The longest pause between two responses.
    pub refresh_interval: Duration,
    /// How long a responder may take.
    pub http_timeout: Duration,
}

/// Whether clients show a certificate: `verify` and `fail_if_no_peer_cert` in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// `verify_none`
    Off,
    /// `verify_peer` alone.
    Optional,
    /// `verify_peer` with `fail_if_no_peer_cert = true`.
    Required,
}

/// The protocol versions of a listener. At least one is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Versions {
    /// TLS 1.2 (RFC 5246).
    pub tls12: bool,
    /// TLS 1.3 (RFC 8446).
    pub tls13: bool,
}

/// Where a listener's certificates come from.
#[derive(Debug, Clone)]
pub enum CertSource {
    /// One certificate, from files.
    Files {
        /// `certfile`, `keyfile` and `password`.
        files: CertFiles,
        /// `additional_certs`: those with keys of other types.
        additional: Vec<CertFiles>,
    },
    /// Bundles under the data directory, chosen by name. Never empty; the first one is the default.
    Managed(Vec<Spanned<ManagedCert>>),
}

/// A certificate and its key, in files or in the configuration.
#[derive(Debug, Clone)]
pub struct CertFiles {
    /// Leaf first, then the intermediates in their order.
    pub certfile: Spanned<PemSource>,
    /// The private key.
    pub keyfile: Spanned<PemSource>,
    /// Opens the key where it is encrypted.
    pub password: Option<Spanned<PasswordSource>>,
}

/// What becomes of a client that asks for a name which no bundle of the listener answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UnknownSni {
    /// The default bundle answers, as in EMQX.
    #[default]
    Default,
    /// The handshake ends with the alert `unrecognized_name`.
    Refuse,
}

/// A bundle that a listener presents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedCert {
    /// Which.
    pub bundle: BundleRef,
    /// For which name: in lower case without a trailing dot, exact or with one leading `*.`.
    pub sni: Option<String>,
}

/// PEM in a file, or in the configuration itself as EMQX allows it.
#[derive(Clone, PartialEq, Eq)]
pub enum PemSource {
    /// A path; a relative one is meant from the working directory.
    Path(PathBuf),
    /// The PEM.
    Inline(Secret),
}

impl fmt::Debug for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Inline(_) => f.write_str("(PEM in the configuration)"),
        }
    }
}

/// A password, or the file that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// The password.
    Inline(Secret),
    /// Written as `file://PATH`: the file's text without the line end.
    File(PathBuf),
}

/// A text that is shown to nobody: wiped when dropped, and not in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// One plugin of a listener.
#[derive(Clone, PartialEq)]
pub struct PluginEntry {
    /// The component; a relative path is meant from the working directory.
    pub path: PathBuf,
    /// Handed to the plugin as it is; an empty object where nothing is written.
    pub config: serde_json::Value,
    /// Longest time of one call; none for the host's default.
    pub timeout: Option<Duration>,
    /// Most memory of one instance, in bytes; none for the host's default.
    pub memory: Option<u64>,
    /// What a failed call means.
    pub on_error: OnError,
    /// Whether instances are used again.
    pub isolation: Isolation,
    /// Whether decisions may be remembered.
    pub cache: bool,
}

impl fmt::Debug for PluginEntry {
    /// Without `config`, which may hold what only the plugin should know.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginEntry")
            .field("path", &self.path)
            .field("timeout", &self.timeout)
            .field("memory", &self.memory)
            .field("on_error", &self.on_error)
            .field("isolation", &self.isolation)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

/// What a failed plugin call means for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnError {
    /// It is refused.
    #[default]
    Deny,
    /// For the choice of the certificate alone: the listener's default bundle answers. Other calls: refused.
    DefaultBundle,
}

/// Whether a plugin's instances are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Isolation {
    /// After an ordinary answer.
    #[default]
    Warm,
    /// Never: each call has a pristine one.
    PerCall,
}
