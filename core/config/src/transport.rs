//! What a listener's connections come by: the part of the model beside TLS and MQTT.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use postern_identity::Network;

/// TCP repeats what is lost after about 1, 2, 4, 8 and 16 s more: a client on a bad radio link gets five tries. EMQX has
/// 15 s, four tries.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// `websocket` of a `ws` or `wss` listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocket {
    /// `mqtt_path`: the only path that is served. Begins with `/`.
    pub mqtt_path: String,
    /// `supported_subprotocols`: the names that a client may offer. Never empty.
    pub subprotocols: Vec<String>,
    /// `fail_if_no_subprotocol`: whether a client must offer one.
    pub subprotocol_required: bool,
    /// `max_frame_size`: the longest frame, and the longest message of several frames, in bytes.
    pub max_frame_bytes: u32,
    /// `idle_timeout`: a client that sends no frame for so long is cut off.
    pub idle_timeout: Duration,
    /// `check_origin_enable` and its neighbours; none where the `Origin` header is not looked at.
    pub origins: Option<Origins>,
}

/// Which web pages may open a connection (RFC 6455, section 10.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins {
    /// `check_origins`: in lower case, each `SCHEME://HOST` or `SCHEME://HOST:PORT`.
    pub allowed: Vec<String>,
    /// `allow_origin_absence`: whether a client that is no web page may come without one.
    pub absence_allowed: bool,
}

/// One of `access_rules`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessRule {
    /// Whether those it fits may enter.
    pub allow: bool,
    /// Whom it fits; none is everybody.
    pub network: Option<Network>,
}

impl AccessRule {
    /// Whether it says something about the address.
    pub fn fits(&self, address: IpAddr) -> bool {
        self.network.is_none_or(|network| network.contains(address))
    }
}

impl fmt::Display for AccessRule {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.allow { "allow " } else { "deny " })?;
        match &self.network {
            Some(network) => network.fmt(f),
            None => f.write_str("all"),
        }
    }
}

/// `proxy_protocol = true`, and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// `proxy_protocol_timeout`: from accept to the end of the header.
    pub timeout: Duration,
    /// `proxy_protocol_trusted`: where connections may come from. Never empty.
    pub trusted: Vec<Network>,
    /// `proxy_protocol_tls`: what becomes of what they say of the client's TLS.
    pub tls: ProxyTls,
}

/// What the words of a proxy about TLS between the client and itself are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyTls {
    /// `inform`: plugins are told, and nothing else goes by it.
    #[default]
    Inform,
    /// `trust`: as much as if it had been verified here.
    Trust,
    /// `require`: the same, and who has no certificate that the proxy verified is refused.
    Require,
}

/// `messages_rate` and its neighbours: what may be published. On a listener each client has these rates for itself, as
/// EMQX's documentation says ("per client"), though EMQX's schema puts them on the listener; in `multi_tenancy` all
/// clients of a tenant share them. Who is faster is read later: nothing is lost, nothing changes its place, nobody is
/// disconnected. None is without limit, as in EMQX: a limit that nobody asked for looks like a slow broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PublishRates {
    /// Messages in a time.
    pub messages_rate: Option<Rate>,
    /// Messages that may be published beyond `messages_rate`.
    pub messages_burst: Option<Rate>,
    /// Bytes of PUBLISH packets in a time.
    pub bytes_rate: Option<Rate>,
    /// Bytes that may be published beyond `bytes_rate`.
    pub bytes_burst: Option<Rate>,
}

impl PublishRates {
    /// These, and where they say nothing of messages or of bytes, those.
    pub(crate) fn or(self, those: Self) -> Self {
        let (messages, bytes) = (self.messages_rate.map_or(those, |_| self), self.bytes_rate.map_or(those, |_| self));
        Self {
            messages_rate: messages.messages_rate,
            messages_burst: messages.messages_burst,
            bytes_rate: bytes.bytes_rate,
            bytes_burst: bytes.bytes_burst,
        }
    }

    /// Whether there is any limit.
    pub fn is_limited(&self) -> bool {
        self.messages_rate.is_some() || self.bytes_rate.is_some()
    }
}

/// So many in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many, or how many bytes; at least one.
    pub count: u32,
    /// In which time; never zero.
    pub per: Duration,
}

/// `tcp_options`, as far as the operating system has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpOptions {
    /// Small packets are sent at once.
    pub nodelay: bool,
    /// Connections that the kernel holds before they are accepted.
    pub backlog: u32,
    /// Probes of an idle connection.
    pub keepalive: Option<KeepAlive>,
    /// The kernel's receive buffer, in bytes; none is its own choice.
    pub recbuf: Option<u32>,
    /// The kernel's send buffer, in bytes; none is its own choice.
    pub sndbuf: Option<u32>,
    /// `send_timeout`: how long a client may take practically nothing of what is sent to it.
    pub send_timeout: Duration,
    /// Listen although connections of an earlier process are still being closed.
    pub reuseaddr: bool,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            backlog: 1024,
            keepalive: None,
            recbuf: None,
            sndbuf: None,
            send_timeout: SEND_TIMEOUT,
            reuseaddr: true,
        }
    }
}

/// `keepalive` of `tcp_options`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Between probes.
    pub interval: Duration,
    /// Unanswered probes after which the connection is lost.
    pub probes: u32,
}
