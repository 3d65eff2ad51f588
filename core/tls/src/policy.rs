//! The TLS settings of a listener.

use postern_identity::ClientAuthWish;

use crate::resumption::Resumption;

/// How a listener treats client certificates. Ordered: later is stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientAuth {
    /// Not asked for.
    Off,
    /// Asked for; one that is shown must be good, none is fine.
    Optional,
    /// Must be there and good.
    Required,
}

impl ClientAuth {
    /// The stricter of the listener's setting and a plugin's wish: a plugin narrows, it never opens.
    #[must_use]
    pub fn with(self, wish: ClientAuthWish) -> Self {
        self.max(wish.into())
    }
}

impl From<ClientAuthWish> for ClientAuth {
    fn from(wish: ClientAuthWish) -> Self {
        match wish {
            ClientAuthWish::None => Self::Off,
            ClientAuthWish::Optional => Self::Optional,
            ClientAuthWish::Required => Self::Required,
        }
    }
}

/// The TLS versions that a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// TLS 1.2 (RFC 5246)
    pub tls12: bool,
    /// TLS 1.3 (RFC 8446)
    pub tls13: bool,
}

impl Default for Versions {
    fn default() -> Self {
        Self { tls12: true, tls13: true }
    }
}

/// The TLS settings of a listener that hold for all its bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPolicy {
    /// The versions.
    pub versions: Versions,
    /// The least that is asked of clients.
    pub client_auth: ClientAuth,
    /// The protocols in order of preference (RFC 7301). A client that offers none is served; one that
    /// offers only others gets `no_application_protocol`.
    pub alpn: Vec<Vec<u8>>,
    /// The cipher suites by IANA's numbers, in order of preference; empty for all. Others than rustls' are passed over.
    pub ciphers: Vec<u16>,
    /// Whether that order decides, and not the client's.
    pub honor_cipher_order: bool,
    /// The key exchange groups by IANA's numbers; empty for rustls' own. The client's order decides.
    pub groups: Vec<u16>,
    /// What is asked of a client's certificate beyond a path to the bundle's CA.
    pub client_path: ClientPath,
    /// Whether clients may come back with a shorter handshake.
    pub resumption: Resumption,
    /// A bundle's OCSP response is sent along to clients that ask for it (RFC 6066, section 8).
    pub stapling: bool,
}

/// Which certificates of a bundle's CA file are trust anchors. The others help to build paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Anchors {
    /// So many of the file's last ones, whoever signed them; those that are signed by themselves are anchors anyway.
    pub last: usize,
}

/// What is asked of a client's certificate beyond a path to the bundle's CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPath {
    /// Most certificates between it and the anchor, those not counted that issued themselves (RFC 5280, section 6.1).
    pub depth: usize,
    /// The trust anchors.
    pub anchors: Anchors,
    /// Dotted object identifiers of extended key usages that it must have, all of them.
    pub usages: Vec<String>,
}

impl Default for ClientPath {
    fn default() -> Self {
        Self { depth: crate::chain::MAX_INTERMEDIATES, anchors: Anchors::default(), usages: Vec::new() }
    }
}

impl Default for TlsPolicy {
    /// Both versions, no client certificates, the protocol `mqtt`, all suites, no resumption, no stapling.
    fn default() -> Self {
        Self {
            versions: Versions::default(),
            client_auth: ClientAuth::Off,
            alpn: vec![b"mqtt".to_vec()],
            ciphers: Vec::new(),
            honor_cipher_order: true,
            groups: Vec::new(),
            client_path: ClientPath::default(),
            resumption: Resumption::default(),
            stapling: false,
        }
    }
}
