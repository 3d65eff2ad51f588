//! Why handshakes fail, in a fixed set of words: for the counter by reason and the `reason` of a log line.

use postern_identity::Why;

/// What ended a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The client certificate, or one above it, is past its end.
    Expired,
    /// The client certificate, or one above it, has not begun yet.
    NotYetValid,
    /// A certificate of the path is revoked.
    Revoked,
    /// Revocation is checked, and there is no list of the issuer.
    NoRevocationList,
    /// Revocation is checked, and the issuer's list is past its end.
    RevocationListOutdated,
    /// No path leads to a CA that the bundle trusts.
    UnknownIssuer,
    /// A signature does not verify: on a certificate, or the client's own with its key.
    BadSignature,
    /// The certificate is for something else.
    WrongPurpose,
    /// More certificates lie between the client's and the trust anchor than `depth` allows.
    TooDeep,
    /// Anything else about the client's certificate.
    BadCertificate,
    /// The client showed none, and one is required.
    NoCertificate,
    /// No protocol version that both speak.
    NoCommonVersion,
    /// No cipher suite that both speak.
    NoCommonCipher,
    /// No key exchange group that both know.
    NoCommonGroup,
    /// No signature scheme that the client knows and the bundle's key can make.
    NoCommonSignature,
    /// The first bytes are not TLS.
    NotTls,
    /// What was sent breaks TLS.
    BadMessage,
    /// None of the offered application protocols is served.
    Alpn,
    /// The server name is no DNS name.
    InvalidName,
    /// Nothing is served under the server name.
    UnknownName,
    /// The client ended the handshake with an alert.
    ClientAlert,
    /// Not done in time.
    Timeout,
    /// The client went away.
    Closed,
    /// A plugin said no, or too many came at once.
    NotAllowed,
    /// A plugin failed.
    PluginFailed,
    /// The broker could not.
    Unavailable,
}

impl Reason {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 26] = [
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::NoRevocationList,
        Self::RevocationListOutdated,
        Self::UnknownIssuer,
        Self::BadSignature,
        Self::WrongPurpose,
        Self::TooDeep,
        Self::BadCertificate,
        Self::NoCertificate,
        Self::NoCommonVersion,
        Self::NoCommonCipher,
        Self::NoCommonGroup,
        Self::NoCommonSignature,
        Self::NotTls,
        Self::BadMessage,
        Self::Alpn,
        Self::InvalidName,
        Self::UnknownName,
        Self::ClientAlert,
        Self::Timeout,
        Self::Closed,
        Self::NotAllowed,
        Self::PluginFailed,
        Self::Unavailable,
    ];

    /// A lower-case word for logs and metric labels.
    pub fn label(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
            Self::NoRevocationList => "no_revocation_list",
            Self::RevocationListOutdated => "revocation_list_outdated",
            Self::UnknownIssuer => "unknown_issuer",
            Self::BadSignature => "bad_signature",
            Self::WrongPurpose => "wrong_purpose",
            Self::TooDeep => "too_deep",
            Self::BadCertificate => "bad_certificate",
            Self::NoCertificate => "no_certificate",
            Self::NoCommonVersion => "no_common_version",
            Self::NoCommonCipher => "no_common_cipher",
            Self::NoCommonGroup => "no_common_group",
            Self::NoCommonSignature => "no_common_signature",
            Self::NotTls => "not_tls",
            Self::BadMessage => "bad_message",
            Self::Alpn => "alpn",
            Self::InvalidName => "invalid_name",
            Self::UnknownName => "unknown_name",
            Self::ClientAlert => "client_alert",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::NotAllowed => "not_allowed",
            Self::PluginFailed => "plugin_failed",
            Self::Unavailable => "unavailable",
        }
    }

    /// The coarser kind, which is that of all stages on the way in.
    pub fn why(self) -> Why {
        match self {
            Self::Expired
            | Self::NotYetValid
            | Self::Revoked
            | Self::NoRevocationList
            | Self::RevocationListOutdated
            | Self::UnknownIssuer
            | Self::BadSignature
            | Self::WrongPurpose
            | Self::TooDeep
            | Self::BadCertificate => Why::BadCertificate,
            Self::NoCertificate | Self::NotAllowed => Why::NotAllowed,
            Self::Alpn => Why::NoApplicationProtocol,
            Self::InvalidName => Why::InvalidName,
            Self::UnknownName => Why::UnknownName,
            Self::Timeout => Why::TimedOut,
            Self::PluginFailed => Why::PluginFailed,
            Self::Unavailable => Why::Unavailable,
            Self::NoCommonVersion
            | Self::NoCommonCipher
            | Self::NoCommonGroup
            | Self::NoCommonSignature
            | Self::NotTls
            | Self::BadMessage
            | Self::ClientAlert
            | Self::Closed => Why::Protocol,
        }
    }
}

impl From<Why> for Reason {
    /// For a handshake that ended before TLS had a word to say about it.
    fn from(why: Why) -> Self {
        match why {
            Why::UnknownName => Self::UnknownName,
            Why::InvalidName => Self::InvalidName,
            Why::NoApplicationProtocol => Self::Alpn,
            Why::NotAllowed
            | Why::RateLimited
            | Why::UsernameMismatch
            | Why::BadCredentials
            | Why::ClientIdMismatch => Self::NotAllowed,
            Why::BadCertificate => Self::BadCertificate,
            Why::Unavailable => Self::Unavailable,
            Why::PluginFailed => Self::PluginFailed,
            Why::TimedOut => Self::Timeout,
            Why::Protocol => Self::BadMessage,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_its_own_word_and_place() {
        let words: HashSet<&str> = Reason::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "{reason:?}");
        }
    }
}
