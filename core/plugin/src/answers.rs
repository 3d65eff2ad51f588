//! The check of what guests answer. A guest only narrows: a name that is not within its listener's reach
//! is a failure of the plugin, and so is a text that is none.

use std::sync::Arc;
use std::time::Duration;

use postern_identity::{
    BundleDirectory, CertFacts, CertificateChoice, Identity, IdentityText, Namespace, NamespaceOutcome, Refusal,
};

use crate::bindings::exports::postern::gate::{cert_resolver, client_authorizer, namespace_resolver};
use crate::bindings::postern::gate::types;
use crate::decisions::{Fresh, Lease, Rejected, Vary, Verdict};
use crate::failure::Failure;
use crate::services::unix_ms;
use crate::words;

/// Further facts of one identity.
const MAX_ATTRIBUTES: usize = 32;
/// One text for a bundle that exists nowhere, one that is another tenant's, and a name that cannot be
/// one: a plugin does not find out what others have.
const NO_SUCH_BUNDLE: &str = "no such bundle in the connection's reach";
const NO_SUCH_NAMESPACE: &str = "no such namespace attached to the listener";

impl<T> Fresh<T> {
    fn decided(answer: T, hint: Option<types::CacheHint>) -> Self {
        Self { verdict: Verdict::Decided(answer), lease: hint.map(lease) }
    }

    fn rejected(rejection: &types::Rejection) -> Self {
        let rejected = Rejected { why: words::why(rejection.code), detail: Refusal::foreign(&rejection.detail) };
        Self { verdict: Verdict::Rejected(rejected), lease: rejection.cache.map(lease) }
    }

    const PASS: Self = Self { verdict: Verdict::Pass, lease: None };

    /// Adds inputs to those that the plugin named.
    pub(crate) fn at_least(mut self, floor: Vary) -> Self {
        self.lease = self.lease.map(|lease| Lease { vary: lease.vary.and(floor), ..lease });
        self
    }

    /// Shortens the lease to the life of the client's certificate.
    pub(crate) fn until_end_of(self, chain: &[Arc<CertFacts>]) -> Self {
        match chain.first() {
            Some(leaf) => self.until(end_of(leaf)),
            None => self,
        }
    }

    fn until(mut self, unix_end_ms: u64) -> Self {
        let left = Duration::from_millis(unix_end_ms.saturating_sub(unix_ms()));
        self.lease = self.lease.map(|lease| Lease { ttl: lease.ttl.min(left), ..lease });
        self
    }
}

/// The certificate's notAfter in milliseconds since 1970; 0 for one that ended before.
fn end_of(facts: &CertFacts) -> u64 {
    u64::try_from(facts.not_after).unwrap_or(0).saturating_mul(1_000)
}

fn lease(hint: types::CacheHint) -> Lease {
    const FLAGS: [(types::Inputs, Vary); 6] = [
        (types::Inputs::SERVER_NAME, Vary::SERVER_NAME),
        (types::Inputs::ALPN, Vary::ALPN),
        (types::Inputs::CRYPTO, Vary::CRYPTO),
        (types::Inputs::PEER_IP, Vary::PEER_IP),
        (types::Inputs::CERTIFICATE, Vary::CERTIFICATE),
        (types::Inputs::NAMESPACE, Vary::NAMESPACE),
    ];
    let named = FLAGS.into_iter().filter(|(flag, _)| hint.vary.contains(*flag));
    Lease {
        ttl: Duration::from_millis(u64::from(hint.ttl_ms)),
        vary: named.fold(Vary::NOTHING, |vary, (_, input)| vary.and(input)),
    }
}

/// A namespace has to be attached to the listener.
pub(crate) fn namespace(
    answer: namespace_resolver::Verdict,
    directory: &dyn BundleDirectory,
) -> Result<Fresh<NamespaceOutcome>, Failure> {
    use namespace_resolver::Verdict as Said;
    let found = match answer {
        Said::Found(found) => found,
        Said::NeedCertificate => return Ok(Fresh::decided(NamespaceOutcome::NeedCertificate, None)),
        Said::Pass => return Ok(Fresh::PASS),
        Said::Reject(rejection) => return Ok(Fresh::rejected(&rejection)),
    };
    let namespace = Namespace::from_option(found.name.as_deref())
        .ok()
        .filter(|namespace| namespace.name().is_none_or(|name| directory.namespaces().contains(name)))
        .ok_or_else(|| Failure::Answer(NO_SUCH_NAMESPACE.to_owned()))?;
    Ok(Fresh::decided(NamespaceOutcome::Found(namespace), found.cache))
}

/// A bundle has to be attached to the listener, and to be the connection's own or global.
pub(crate) fn certificate(
    answer: cert_resolver::Verdict,
    namespace: &Namespace,
    directory: &dyn BundleDirectory,
) -> Result<Fresh<CertificateChoice>, Failure> {
    use cert_resolver::Verdict as Said;
    let selection = match answer {
        Said::UseBundle(selection) => selection,
        Said::Pass => return Ok(Fresh::PASS),
        Said::Reject(rejection) => return Ok(Fresh::rejected(&rejection)),
    };
    let bundle = words::bundle_ref_in(&selection.bundle)
        .ok()
        .and_then(|bundle| directory.get(&bundle))
        .filter(|known| within_reach(&known.bundle.namespace, namespace))
        .ok_or_else(|| Failure::Answer(NO_SUCH_BUNDLE.to_owned()))?;
    let choice =
        CertificateChoice { bundle: bundle.bundle.clone(), client_auth: words::client_auth(selection.client_auth) };
    Ok(Fresh::decided(choice, selection.cache))
}

/// Whether a bundle of this owner may answer a connection of that namespace.
pub(crate) fn within_reach(owner: &Namespace, connection: &Namespace) -> bool {
    *owner == Namespace::Global || owner == connection
}

/// Texts have to be texts, and an identity ends with its certificate.
pub(crate) fn identity(
    answer: client_authorizer::Verdict,
    chain: &[Arc<CertFacts>],
) -> Result<Fresh<Identity>, Failure> {
    use client_authorizer::Verdict as Said;
    let said = match answer {
        Said::Allow(identity) => identity,
        Said::Pass => return Ok(Fresh::PASS),
        Said::Deny(rejection) => return Ok(Fresh::rejected(&rejection)),
    };
    if said.attributes.len() > MAX_ATTRIBUTES {
        let found = said.attributes.len();
        return Err(Failure::Answer(format!("{found} attributes, at most {MAX_ATTRIBUTES} are allowed")));
    }
    let end = chain.first().map(|leaf| end_of(leaf));
    let expires_at_unix_ms = match (said.expires_at_unix_ms, end) {
        (Some(said), Some(end)) => Some(said.min(end)),
        (said, end) => said.or(end),
    };
    let identity = Identity {
        username: said.username.as_deref().map(|name| text("username", name)).transpose()?,
        client_id: said.client_id.as_deref().map(|id| text("client-id", id)).transpose()?,
        attributes: said
            .attributes
            .iter()
            .map(|(key, value)| Ok((text("attribute name", key)?, text("attribute", value)?)))
            .collect::<Result<_, Failure>>()?,
        expires_at_unix_ms,
    };
    let fresh = Fresh::decided(identity, said.cache);
    Ok(match expires_at_unix_ms {
        Some(end) => fresh.until(end),
        None => fresh,
    })
}

/// The error says what is wrong with the text and not what is in it.
fn text(what: &str, text: &str) -> Result<IdentityText, Failure> {
    IdentityText::new(text).map_err(|error| Failure::Answer(format!("its {what} is not usable: {error}")))
}
