//! What a connection needs to know of its listener. Immutable; loaded once per connection, so that one
//! handshake never sees a mixture of two states.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use postern_config::{
    AccessRule, ClientAuth as ConfiguredClientAuth, ProxyProtocol, PublishRates, Rate, TcpOptions, UnknownSni,
    WebSocket,
};
use postern_identity::{AccessRules, Gate, ListenerId, Namespace, NamespaceName};
use postern_mqtt::Limits;
use postern_plugin::Plugin;
use postern_tls::{ClientAuth, Keyring, ServerConfigs};

use crate::authn::Authn;
use crate::drive::mountpoint::Mountpoint;
use crate::drive::outbox::Will;
use crate::revocation::Lists;
use crate::stapling::Subject;

/// One listener, ready to serve.
pub struct ListenerPolicy {
    /// Its name.
    pub id: ListenerId,
    /// Where it listens.
    pub bind: SocketAddr,
    /// Which addresses may enter; without one that fits, any may.
    pub access_rules: Vec<AccessRule>,
    /// Connections come through proxies that say from where.
    pub proxy: Option<ProxyProtocol>,
    /// Of the listening socket and of each connection.
    pub tcp: TcpOptions,
    /// Connections in a time; more wait to be accepted.
    pub max_conn_rate: Option<Rate>,
    /// What may be spent beyond that.
    pub max_conn_burst: Option<Rate>,
    /// What each of its clients may publish in a time; more is read later.
    pub publish_rates: PublishRates,
    /// Connections at once; more are closed at accept.
    pub max_connections: usize,
    /// Sockets of one address (IPv4) or /64 network (IPv6) that have not finished CONNECT; more are closed at accept.
    pub max_unauthenticated_per_address: u32,
    /// Topic prefix of its clients.
    pub(crate) mountpoint: Mountpoint,
    /// What a client has to prove.
    pub(crate) authn: Authn,
    /// What a client may do; none where there are no rules.
    pub(crate) access: Option<Arc<AccessRules>>,
    /// From accept to a complete CONNECT.
    pub connect_wait: Duration,
    /// Whether the user name becomes the client identifier.
    pub username_as_client_id: bool,
    /// What becomes of the will of a client that may not stay.
    pub(crate) revoked_will: Will,
    /// What the wire format allows.
    pub link_limits: Limits,
    /// The tenants that its clients can belong to.
    pub namespaces: Vec<NamespaceName>,
    /// How its clients come to be known before their CONNECT.
    pub entrance: Entrance,
    /// None on `tcp` and `ssl`.
    pub websocket: Option<WebSocket>,
}

impl ListenerPolicy {
    /// The same with another entrance.
    pub(crate) fn entered_by(&self, entrance: Entrance) -> Self {
        Self {
            id: self.id.clone(),
            access_rules: self.access_rules.clone(),
            proxy: self.proxy.clone(),
            mountpoint: self.mountpoint.clone(),
            authn: self.authn.clone(),
            access: self.access.clone(),
            namespaces: self.namespaces.clone(),
            websocket: self.websocket.clone(),
            entrance,
            ..*self
        }
    }

    /// The TLS gate, where it has one.
    pub(crate) fn tls(&self) -> Option<&TlsGate> {
        match &self.entrance {
            Entrance::Tls(tls) => Some(tls),
            Entrance::Open | Entrance::Plain(_) => None,
        }
    }

    /// Its plugins in their order.
    pub(crate) fn plugins(&self) -> &[Plugin] {
        match &self.entrance {
            Entrance::Open => &[],
            Entrance::Plain(gate) => &gate.decisions.plugins,
            Entrance::Tls(tls) => &tls.decisions.plugins,
        }
    }
}

/// What is between accept and CONNECT.
pub enum Entrance {
    /// Nothing: whoever comes is nobody yet, in the global namespace.
    Open,
    /// No TLS, and yet plugins, or a proxy whose word on TLS is taken.
    Plain(PlainGate),
    /// TLS.
    Tls(TlsGate),
}

/// The programmable part of a gate.
pub struct Decisions {
    /// The three decisions.
    pub gate: Arc<dyn Gate>,
    /// All plugins of one connection together may take this long.
    pub budget: Duration,
    /// The plugins that take them, for their figures.
    pub plugins: Vec<Plugin>,
    /// Whose a connection is where no plugin decides: the tenant's if all bundles of the listener are one
    /// tenant's, else nobody's in particular.
    pub namespace: Namespace,
}

/// The gate of a listener without TLS.
pub struct PlainGate {
    /// Namespace and identity; there is no certificate to choose.
    pub decisions: Decisions,
    /// Who has no certificate that the proxy verified is refused.
    pub certificate_required: bool,
}

/// The gate of a TLS listener.
pub struct TlsGate {
    /// The three decisions.
    pub decisions: Decisions,
    /// The bundles in reach.
    pub keyring: Arc<Keyring>,
    /// Ready-made TLS configurations.
    pub configs: Arc<ServerConfigs>,
    /// The revocation lists that these judge by, and where they come from; none where revocation is not checked.
    pub(crate) lists: Option<Arc<Lists>>,
    /// The listener's own setting, which plugins may only make stricter.
    pub client_auth: ClientAuth,
    /// What a name that no bundle answers to is answered with.
    pub unknown_sni: UnknownSni,
    /// From accept to the end of the handshake.
    pub handshake_timeout: Duration,
    /// The bundles whose OCSP responses are stapled.
    pub(crate) stapling: Vec<Arc<Subject>>,
}

/// The same word in the two rooms that know it.
pub(crate) fn client_auth(configured: ConfiguredClientAuth) -> ClientAuth {
    match configured {
        ConfiguredClientAuth::Off => ClientAuth::Off,
        ConfiguredClientAuth::Optional => ClientAuth::Optional,
        ConfiguredClientAuth::Required => ClientAuth::Required,
    }
}
