//! What a TLS handshake may end with, and what is asked of a client's certificate beyond a path to its CA.

/// What the two sides agree on, by its numbers in the registries of IANA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiation {
    /// `ciphers`: the cipher suites, the first one is the dearest; empty for all.
    pub ciphers: Vec<u16>,
    /// `honor_cipher_order`: whether the listener's order of suites holds, and not the client's.
    pub honor_cipher_order: bool,
    /// `groups`: the key exchange groups. Never empty.
    pub groups: Vec<u16>,
}

impl Default for Negotiation {
    fn default() -> Self {
        // X25519MLKEM768, x25519, secp256r1, secp384r1
        Self { ciphers: Vec::new(), honor_cipher_order: true, groups: vec![0x11EC, 0x001D, 0x0017, 0x0018] }
    }
}

/// What is asked of a client's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPath {
    /// `depth`: most intermediate certificates between the client's and the trust anchor.
    pub depth: usize,
    /// `partial_chain`: which certificates of the CA file are anchors.
    pub partial_chain: PartialChain,
    /// `verify_peer_ext_key_usage`: dotted object identifiers, all of which the certificate must have.
    pub usages: Vec<String>,
}

impl Default for ClientPath {
    fn default() -> Self {
        Self { depth: 10, partial_chain: PartialChain::Roots, usages: Vec::new() }
    }
}

/// Which certificates of a CA file are trust anchors. The others help to build paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartialChain {
    /// `false`: those that are signed by themselves.
    Roots,
    /// `true` and `cacert_from_cacertfile`: the file's last one too.
    Last,
    /// `two_cacerts_from_cacertfile`: the file's last two, too.
    LastTwo,
}
