//! The rustls settings for each bundle, made once and shared by all its connections.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use postern_identity::{BundleRef, ClientAuthWish, ClientHello};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, ALL_KX_GROUPS};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedCipherSuite};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::bundle::Bundle;
use crate::crl::Revocation;
use crate::ocsp::StaplingCert;
use crate::offer;
use crate::policy::{Anchors, ClientAuth, TlsPolicy, Versions};
use crate::resumption::Sessions;
use crate::verdict::Verdict;
use crate::verifier::Verifier;

/// Why a bundle cannot answer under these settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Client certificates are wanted and there is nobody to trust.
    #[error(
        "bundle {bundle} has no client CA, and client certificates are asked for; give it one (`ca.pem`, or \
         `cacertfile`), or set `verify = verify_none`"
    )]
    NoClientCa {
        /// The bundle.
        bundle: BundleRef,
    },
    /// There is a client CA, and none of its certificates is an anchor.
    #[error(
        "the client CA of bundle {bundle} has no self-signed certificate, and no other is trusted by itself; add the root, \
         or set `partial_chain = cacert_from_cacertfile` to trust the last certificate of the file"
    )]
    NoAnchor {
        /// The bundle.
        bundle: BundleRef,
    },
    /// No cipher suite is left for the bundle's key.
    #[error(
        "none of `ciphers` fits the key of bundle {bundle} ({key_type}); add one with ECDHE-ECDSA for keys on curves, \
         ECDHE-RSA for RSA keys, or enable tlsv1.3"
    )]
    NoCipher {
        /// The bundle.
        bundle: BundleRef,
        /// Its key.
        key_type: &'static str,
    },
    /// Neither TLS 1.2 nor 1.3.
    #[error("no TLS version is enabled; `versions` must name tlsv1.2 or tlsv1.3")]
    NoVersion,
    /// rustls refused the settings.
    #[error("bundle {bundle}: {reason}")]
    Refused {
        /// The bundle.
        bundle: BundleRef,
        /// In rustls' words.
        reason: String,
    },
}

/// Whether the bundle can ask for client certificates in this way: the trust in them is the bundle's own CA,
/// never another's.
pub fn check_client_auth(bundle: &Bundle, auth: ClientAuth, anchors: Anchors) -> Result<(), ConfigError> {
    if auth == ClientAuth::Off {
        return Ok(());
    }
    match bundle.trust() {
        None => Err(ConfigError::NoClientCa { bundle: bundle.name().clone() }),
        Some(trust) if !trust.has_anchor(anchors) => Err(ConfigError::NoAnchor { bundle: bundle.name().clone() }),
        Some(_) => Ok(()),
    }
}

/// The crypto provider of everything in this crate.
pub(crate) fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// The same with the suites and groups of the policy alone.
fn speaking(policy: &TlsPolicy) -> CryptoProvider {
    let mut provider = provider();
    if !policy.ciphers.is_empty() {
        let suite = |number: &u16| ALL_CIPHER_SUITES.iter().find(|suite| u16::from(suite.suite()) == *number);
        provider.cipher_suites = policy.ciphers.iter().filter_map(suite).copied().collect();
    }
    if !policy.groups.is_empty() {
        let group = |number: &u16| ALL_KX_GROUPS.iter().find(|group| u16::from(group.name()) == *number);
        provider.kx_groups = policy.groups.iter().filter_map(group).copied().collect();
    }
    provider
}

/// A generation of a bundle, and how strictly clients are asked.
type Key = (u64, ClientAuth);

/// A number that no other settings of this process have.
fn next_serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

struct Made {
    /// Tells when nobody can ask for this any more.
    bundle: Weak<Bundle>,
    config: Arc<ServerConfig>,
    /// None where clients are not asked for certificates.
    verifier: Option<Arc<Verifier>>,
}

/// The rustls settings of one listener, one for each bundle and strictness.
pub struct ServerConfigs {
    policy: TlsPolicy,
    /// None where revocation is not checked.
    revocation: Option<Arc<Revocation>>,
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn TimeProvider>,
    sessions: Arc<Sessions>,
    made: RwLock<HashMap<Key, Made>>,
}

impl fmt::Debug for ServerConfigs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfigs").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl ServerConfigs {
    /// Settings under this policy.
    pub fn new(policy: TlsPolicy) -> Self {
        Self::by_clock(policy, Arc::new(DefaultTimeProvider))
    }

    /// The same, for whoever brings the time of day along: it says whether certificates are valid and sessions fresh.
    pub fn by_clock(policy: TlsPolicy, clock: Arc<dyn TimeProvider>) -> Self {
        let sessions = Sessions::new(policy.resumption, Arc::clone(&clock));
        let provider = Arc::new(speaking(&policy));
        Self { policy, revocation: None, provider, clock, sessions, made: RwLock::default() }
    }

    /// The same, with client certificates judged by revocation lists too. They can be replaced later, which needs no
    /// new settings.
    #[must_use]
    pub fn checking(mut self, revocation: Arc<Revocation>) -> Self {
        self.revocation = Some(revocation);
        self
    }

    /// The revocation lists; none where they are not checked.
    pub fn revocation(&self) -> Option<&Arc<Revocation>> {
        self.revocation.as_ref()
    }

    /// The policy.
    pub fn policy(&self) -> &TlsPolicy {
        &self.policy
    }

    /// Which of several bundles answers this client: the first that it can use.
    pub fn pick<'b>(
        &self,
        candidates: impl Iterator<Item = &'b Arc<Bundle>>,
        hello: &ClientHello,
    ) -> Option<&'b Arc<Bundle>> {
        offer::best(candidates, self.policy.versions, &self.provider.cipher_suites, hello)
    }

    /// The settings with which the bundle answers, where a plugin wishes this of the client. A hit costs a
    /// shared lock and a hash. The table holds at most two settings for each living bundle, and sheds those
    /// of replaced ones when it would grow.
    ///
    /// # Errors
    /// [`ConfigError`] where client certificates are asked for and the bundle has no CA, or no version is
    /// enabled.
    pub fn get(&self, bundle: &Arc<Bundle>, wish: ClientAuthWish) -> Result<Arc<ServerConfig>, ConfigError> {
        self.find_or_make(bundle, wish, |made| Arc::clone(&made.config))
    }

    /// Lets go of what was made for bundles that are no more, and so of their keys.
    pub fn shed(&self) {
        self.made.write().unwrap_or_else(PoisonError::into_inner).retain(|_, made| made.bundle.strong_count() > 0);
    }

    /// The verdict of now on what a client presented, its own certificate first, as a new handshake would have it. A
    /// resumed handshake verifies nothing itself. None where nothing was presented, or nothing is asked for.
    ///
    /// # Errors
    /// As [`ServerConfigs::get`].
    pub fn judge(
        &self,
        bundle: &Arc<Bundle>,
        wish: ClientAuthWish,
        presented: &[CertificateDer<'_>],
        now_unix_s: i64,
    ) -> Result<Option<Verdict>, ConfigError> {
        let verifier = self.find_or_make(bundle, wish, |made| made.verifier.clone())?;
        let (Some(verifier), Some((leaf, others))) = (verifier, presented.split_first()) else { return Ok(None) };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now_unix_s).unwrap_or_default()));
        Ok(Some(verifier.judge(leaf, others, now)))
    }

    fn find_or_make<T>(
        &self,
        bundle: &Arc<Bundle>,
        wish: ClientAuthWish,
        take: impl Fn(&Made) -> T,
    ) -> Result<T, ConfigError> {
        let auth = self.policy.client_auth.with(wish);
        let key = (bundle.generation(), auth);
        if let Some(made) = self.made.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(take(made));
        }
        let new = self.make(bundle, auth)?;
        let mut table = self.made.write().unwrap_or_else(PoisonError::into_inner);
        if table.len() == table.capacity() {
            table.retain(|_, made| made.bundle.strong_count() > 0);
        }
        Ok(take(table.entry(key).or_insert(new)))
    }

    fn make(&self, bundle: &Arc<Bundle>, auth: ClientAuth) -> Result<Made, ConfigError> {
        let refused = |reason: String| ConfigError::Refused { bundle: bundle.name().clone(), reason };
        let versions = match self.policy.versions {
            Versions { tls12: true, tls13: true } => vec![&TLS13, &TLS12],
            Versions { tls12: false, tls13: true } => vec![&TLS13],
            Versions { tls12: true, tls13: false } => vec![&TLS12],
            Versions { tls12: false, tls13: false } => return Err(ConfigError::NoVersion),
        };
        self.check_ciphers(bundle)?;
        let verifier = self.verifier(bundle, auth)?;
        let of_rustls: Arc<dyn ClientCertVerifier> = match &verifier {
            Some(verifier) => Arc::clone(verifier) as _,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config = ServerConfig::builder_with_details(Arc::clone(&self.provider), Arc::clone(&self.clock))
            .with_protocol_versions(&versions)
            .map_err(|error| refused(error.to_string()))?
            .with_client_cert_verifier(of_rustls)
            .with_cert_resolver(self.resolver(bundle));
        config.ignore_client_order = self.policy.honor_cipher_order;
        config.alpn_protocols.clone_from(&self.policy.alpn);
        self.sessions.allow_in(&mut config, next_serial()).map_err(|error| refused(error.to_string()))?;
        // Compressing certificates costs each handshake more than the bytes it saves.
        config.cert_compressors.clear();
        config.cert_decompressors.clear();
        Ok(Made { bundle: Arc::downgrade(bundle), config: Arc::new(config), verifier })
    }

    fn resolver(&self, bundle: &Bundle) -> Arc<dyn ResolvesServerCert> {
        let bare = Arc::clone(bundle.certified());
        if !self.policy.stapling {
            return Arc::new(SingleCertAndKey::from(bare));
        }
        Arc::new(StaplingCert { bare, slot: Arc::clone(bundle.staple()), clock: Arc::clone(&self.clock) })
    }

    /// Whether some handshake could end well with the bundle's key.
    ///
    /// # Errors
    /// [`ConfigError::NoCipher`].
    pub fn check_ciphers(&self, bundle: &Bundle) -> Result<(), ConfigError> {
        let algorithm = bundle.certified().key.algorithm();
        let Versions { tls12, tls13 } = self.policy.versions;
        let fits = |suite: &SupportedCipherSuite| {
            let enabled = if suite.tls13().is_some() { tls13 } else { tls12 };
            enabled && suite.usable_for_signature_algorithm(algorithm)
        };
        if self.provider.cipher_suites.iter().any(fits) {
            return Ok(());
        }
        Err(ConfigError::NoCipher { bundle: bundle.name().clone(), key_type: bundle.key_type() })
    }

    fn verifier(&self, bundle: &Bundle, auth: ClientAuth) -> Result<Option<Arc<Verifier>>, ConfigError> {
        let path = &self.policy.client_path;
        check_client_auth(bundle, auth, path.anchors)?;
        let (Some(trust), true) = (bundle.trust(), auth != ClientAuth::Off) else { return Ok(None) };
        let trust = trust.anchored(path.anchors);
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&trust.roots), Arc::clone(&self.provider));
        let builder = if auth == ClientAuth::Optional { builder.allow_unauthenticated() } else { builder };
        match builder.build() {
            Ok(webpki) => Ok(Some(Arc::new(Verifier::new(webpki, trust, path.clone(), self.revocation.clone())))),
            Err(error) => Err(ConfigError::Refused { bundle: bundle.name().clone(), reason: error.to_string() }),
        }
    }
}
