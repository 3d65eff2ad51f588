//! Why a path is refused for the sake of revocation.

use crate::bundle::date;

/// A certificate of a path, and what the lists say of it, or why they say nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct NotGood {
    /// Its place in the path, from 0: the client's own.
    pub position: usize,
    /// Its subject (RFC 4514), escaped and cut.
    pub subject: String,
    /// What is said of it.
    pub fault: RevocationFault,
}

/// What the lists say of a certificate that is not good. Issuers are escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationFault {
    /// It is revoked.
    #[error("it is revoked by the list of {issuer}")]
    Revoked {
        /// Whose list says so.
        issuer: String,
    },
    /// The certificate cannot be read again.
    #[error("it cannot be read")]
    Unreadable,
    /// Nothing of its issuer.
    #[error("no revocation list of {issuer} is loaded")]
    NoList {
        /// Who issued it.
        issuer: String,
    },
    /// Only lists for other certificates.
    #[error(
        "no revocation list of {issuer} is for this certificate: those that are loaded are for another kind of \
         certificates, or for distribution points that it does not name"
    )]
    NotInScope {
        /// Who issued it.
        issuer: String,
    },
    /// Its issuer's certificate does not allow it to sign lists.
    #[error("{issuer} may not sign revocation lists (its keyUsage has no cRLSign)")]
    MayNotSign {
        /// Who issued it.
        issuer: String,
    },
    /// Only lists of somebody else of the same name, or forged ones.
    #[error("no revocation list under the name of {issuer} is signed with its key")]
    NotSigned {
        /// Who issued it.
        issuer: String,
    },
    /// Only lists from the future.
    #[error("the revocation list of {issuer} does not hold before {}", date(*from))]
    NotYet {
        /// Who issued it.
        issuer: String,
        /// Seconds since the Unix epoch.
        from: i64,
    },
    /// Only lists that are past their end.
    #[error("the revocation list of {issuer} is outdated since {}", date(*since))]
    Outdated {
        /// Who issued it.
        issuer: String,
        /// Seconds since the Unix epoch.
        since: i64,
    },
}
