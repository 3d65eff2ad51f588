//! Why the gate stays shut, with all its faces in one place: what the TLS alert says, what the CONNACK
//! says, what the metric is called and what the log tells.

/// Where on the way in a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Before any byte was read.
    Accept,
    /// Reading the header of a proxy in front.
    Proxy,
    /// Reading the `ClientHello`.
    Hello,
    /// Deciding the namespace.
    Namespace,
    /// Choosing the certificate.
    Certificate,
    /// The TLS handshake, verification of the client's certificate included.
    Handshake,
    /// Mapping the certificate to an identity.
    Identity,
    /// The WebSocket upgrade.
    Upgrade,
    /// The CONNECT packet.
    Connect,
}

impl Stage {
    /// A lower-case word for logs and metric labels.
    pub fn label(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Proxy => "proxy",
            Self::Hello => "hello",
            Self::Namespace => "namespace",
            Self::Certificate => "certificate",
            Self::Handshake => "handshake",
            Self::Identity => "identity",
            Self::Upgrade => "upgrade",
            Self::Connect => "connect",
        }
    }
}

/// The kind of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// Nothing is served under this name.
    UnknownName,
    /// The server name is not a DNS name.
    InvalidName,
    /// None of the offered protocols is spoken here.
    NoApplicationProtocol,
    /// This client may not enter.
    NotAllowed,
    /// The certificate does not say who the client is, or says it ambiguously.
    BadCertificate,
    /// The CONNECT names another user than the certificate.
    UsernameMismatch,
    /// No such user, or not with this password: the two are never told apart.
    BadCredentials,
    /// The CONNECT uses another client identifier than the certificate allows.
    ClientIdMismatch,
    /// Too many attempts or connections.
    RateLimited,
    /// The broker cannot decide just now.
    Unavailable,
    /// A plugin trapped, ran out of its limits or gave an answer that cannot be.
    PluginFailed,
    /// Not complete in time.
    TimedOut,
    /// The peer broke the protocol or went away.
    Protocol,
}

impl Why {
    /// A lower-case word for logs and metric labels.
    pub fn label(self) -> &'static str {
        match self {
            Self::UnknownName => "unknown_name",
            Self::InvalidName => "invalid_name",
            Self::NoApplicationProtocol => "no_application_protocol",
            Self::NotAllowed => "not_allowed",
            Self::BadCertificate => "bad_certificate",
            Self::UsernameMismatch => "username_mismatch",
            Self::BadCredentials => "bad_credentials",
            Self::ClientIdMismatch => "client_id_mismatch",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::PluginFailed => "plugin_failed",
            Self::TimedOut => "timed_out",
            Self::Protocol => "protocol",
        }
    }

    /// The alert for a refusal before or during the handshake, as its number in RFC 8446 section 6.
    pub fn alert(self) -> u8 {
        match self {
            Self::UnknownName | Self::InvalidName => 112,
            Self::NoApplicationProtocol => 120,
            Self::NotAllowed
            | Self::UsernameMismatch
            | Self::BadCredentials
            | Self::ClientIdMismatch
            | Self::RateLimited => 49,
            Self::BadCertificate => 42,
            Self::Unavailable | Self::PluginFailed | Self::TimedOut => 80,
            Self::Protocol => 10,
        }
    }

    /// The reason code of the MQTT 5.0 CONNACK (section 3.2.2.2) for a refusal after the handshake. The
    /// codec turns it into its 3.1.1 return code.
    pub fn connack(self) -> u8 {
        match self {
            Self::UsernameMismatch | Self::BadCredentials => 0x86,
            Self::ClientIdMismatch => 0x85,
            Self::RateLimited => 0x9F,
            Self::Unavailable => 0x88,
            Self::Protocol => 0x82,
            _ => 0x87,
        }
    }
}

/// A refused connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Where.
    pub at: Stage,
    /// The kind, which the peer may learn.
    pub why: Why,
    /// The reason in words, for the operator's log alone: escaped, at most 256 bytes of foreign text in it.
    pub detail: String,
    /// The plugin that refused or failed, if one did.
    pub by: Option<crate::names::PluginName>,
}

impl Refusal {
    /// Longest piece of foreign text kept in a refusal, in bytes.
    pub const MAX_FOREIGN_BYTES: usize = 256;

    /// A refusal by the core itself.
    pub fn new(at: Stage, why: Why, detail: impl Into<String>) -> Self {
        Self { at, why, detail: detail.into(), by: None }
    }

    /// Cuts a text of a peer or plugin to size and escapes what would break a log line. Quotation marks
    /// stay as they are.
    pub fn foreign(text: &str) -> String {
        let mut end = text.len().min(Self::MAX_FOREIGN_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut shown = String::with_capacity(end);
        for character in text[..end].chars() {
            match character {
                '"' | '\'' => shown.push(character),
                other => shown.extend(other.escape_debug()),
            }
        }
        shown
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}): {}", self.at.label(), self.why.label(), self.detail)?;
        self.by.as_ref().map_or(Ok(()), |plugin| write!(f, " [{plugin}]"))
    }
}

impl std::error::Error for Refusal {}
