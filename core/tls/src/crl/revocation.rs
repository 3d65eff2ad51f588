//! The lists of one listener, and what they say of a path.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use postern_identity::{CertFacts, Refusal};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::list::RevocationList;
use super::scope::Asked;
use super::verdict::{NotGood, RevocationFault};
use crate::bundle::Bundle;

/// How far the clock of who makes a list may be ahead of ours, in seconds.
const CLOCK_SKEW_S: i64 = 300;
/// Most issuers that are remembered, so that a list is verified when it comes and not in a handshake.
const MAX_ISSUERS: usize = 16_384;

/// What a list is worth that is past its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Outdated {
    /// Nothing: who needs it is refused.
    #[default]
    Refuse,
    /// What it was worth before, for so long.
    Grace(Duration),
}

impl Outdated {
    /// Until when a list is taken whose end is there, both in seconds since the Unix epoch.
    pub fn taken_until(self, next_update: i64) -> i64 {
        let grace = match self {
            Self::Refuse => 0,
            Self::Grace(grace) => i64::try_from(grace.as_secs()).unwrap_or(i64::MAX),
        };
        next_update.saturating_add(grace)
    }
}

/// The lists by which a listener judges client certificates. They can be replaced at any time; whoever asks next, in a
/// new handshake or about a connection that is open, is answered by the new ones.
pub struct Revocation {
    outdated: Outdated,
    lists: RwLock<Arc<ByIssuer>>,
    /// Whose lists are to be expected, by the digest of the key.
    issuers: Mutex<HashMap<[u8; 32], Arc<CertFacts>>>,
    revision: AtomicU64,
}

/// By the issuer's name as DER.
type ByIssuer = HashMap<Vec<u8>, Vec<Arc<RevocationList>>>;

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revocation({:?}, revision {})", self.outdated, self.revision())
    }
}

impl Revocation {
    /// Without a list yet: every path is refused.
    pub fn new(outdated: Outdated) -> Self {
        Self { outdated, lists: RwLock::default(), issuers: Mutex::default(), revision: AtomicU64::new(0) }
    }

    /// What a list is worth that is past its end.
    pub fn outdated(&self) -> Outdated {
        self.outdated
    }

    /// Grows with each replacement. Who has judged a path by one revision need not judge it again before it has grown,
    /// apart from what time does.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Expects lists of the bundle's client CAs: their signatures are verified when they come.
    pub fn expect_issuers(&self, bundle: &Bundle) {
        let mut issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        for facts in bundle.trust().into_iter().flat_map(|trust| trust.all()) {
            remember(&mut issuers, facts);
        }
    }

    /// Judges by these from now on, which is the revision that is given back. Verifies those whose issuers are known,
    /// which can take some 100 ms for a large one.
    pub fn replace(&self, lists: Vec<Arc<RevocationList>>) -> u64 {
        let mut next = ByIssuer::new();
        for list in lists {
            next.entry(list.issuer().to_vec()).or_default().push(list);
        }
        let known: Vec<_> = {
            let issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
            issuers.values().cloned().collect()
        };
        for facts in known {
            let Ok((_, cert)) = X509Certificate::from_der(&facts.der) else { continue };
            for list in next.get(cert.subject().as_raw()).into_iter().flatten() {
                list.is_signed_by(cert.public_key().raw);
            }
        }
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        *lists = Arc::new(next);
        self.revision.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Whether none of a verified path is revoked, by the lists of now: the client's certificate first, the trust anchor
    /// last, which is not asked about. `now_unix_s` is the time of day in seconds since the Unix epoch.
    ///
    /// Costs some microseconds for each certificate, and a pass over a list whose issuer was never seen before.
    ///
    /// # Errors
    /// [`NotGood`]: the certificate nearest to the client that is revoked, or, where none is, the nearest of which no
    /// list says that it is not.
    pub fn judge(&self, path: &[Arc<CertFacts>], now_unix_s: i64) -> Result<(), NotGood> {
        let lists = Arc::clone(&self.lists.read().unwrap_or_else(PoisonError::into_inner));
        let mut unknown = None;
        for (position, pair) in path.windows(2).enumerate() {
            let Err(fault) = self.judge_one(&lists, &pair[0], &pair[1], now_unix_s) else { continue };
            let is_revoked = matches!(fault, RevocationFault::Revoked { .. });
            let not_good = NotGood { position, subject: Refusal::foreign(&pair[0].subject_dn), fault };
            if is_revoked {
                return Err(not_good);
            }
            unknown.get_or_insert(not_good);
        }
        unknown.map_or(Ok(()), Err)
    }

    fn judge_one(
        &self,
        lists: &ByIssuer,
        subject: &CertFacts,
        issuer_facts: &Arc<CertFacts>,
        now: i64,
    ) -> Result<(), RevocationFault> {
        let asked = Asked::about(subject).ok_or(RevocationFault::Unreadable)?;
        let issuer = || Refusal::foreign(&subject.issuer_dn);
        let Some(all) = lists.get(&asked.issuer) else { return Err(RevocationFault::NoList { issuer: issuer() }) };
        let mut fit: Vec<&RevocationList> =
            all.iter().map(Arc::as_ref).filter(|list| list.scope().covers(&asked)).collect();
        if fit.is_empty() {
            return Err(RevocationFault::NotInScope { issuer: issuer() });
        }
        let (_, by) = X509Certificate::from_der(&issuer_facts.der).map_err(|_| RevocationFault::Unreadable)?;
        let usage = by.key_usage().map_err(|_| RevocationFault::Unreadable)?;
        if usage.is_some_and(|usage| !usage.value.crl_sign()) {
            return Err(RevocationFault::MayNotSign { issuer: issuer() });
        }
        fit.retain(|list| list.is_signed_by(by.public_key().raw));
        self.expect(issuer_facts);
        if fit.is_empty() {
            return Err(RevocationFault::NotSigned { issuer: issuer() });
        }
        self.ask(&asked, &fit, now, issuer)
    }

    /// By lists that are for the certificate, and signed by its issuer.
    fn ask(
        &self,
        asked: &Asked,
        fit: &[&RevocationList],
        now: i64,
        issuer: impl Fn() -> String,
    ) -> Result<(), RevocationFault> {
        let begun = || fit.iter().filter(|list| list.this_update() <= now.saturating_add(CLOCK_SKEW_S));
        let is_newest = |list: &RevocationList| {
            begun().all(|other| list.this_update() >= other.this_update() || list.scope() != other.scope())
        };
        let mut newest = begun().filter(|list| is_newest(list)).peekable();
        if newest.peek().is_none() {
            let from = fit.iter().map(|list| list.this_update()).min().unwrap_or(i64::MAX);
            return Err(RevocationFault::NotYet { issuer: issuer(), from });
        }
        let mut end = i64::MIN;
        for list in newest {
            // What an outdated list says against a certificate is believed: it is the lack of an entry that grows old.
            if list.lists(&asked.serial) {
                return Err(RevocationFault::Revoked { issuer: issuer() });
            }
            end = end.max(list.next_update());
        }
        if self.outdated.taken_until(end) > now {
            Ok(())
        } else {
            Err(RevocationFault::Outdated { issuer: issuer(), since: end })
        }
    }

    fn expect(&self, issuer: &Arc<CertFacts>) {
        remember(&mut self.issuers.lock().unwrap_or_else(PoisonError::into_inner), issuer);
    }
}

/// The client CAs of the bundle of which there is no list that they signed: whoever they issued is refused.
pub fn uncovered(bundle: &Bundle, lists: &[Arc<RevocationList>]) -> Vec<RevocationFault> {
    let anchors = bundle.trust().into_iter().flat_map(|trust| trust.all());
    let fault = |facts: &Arc<CertFacts>| {
        let (_, cert) = X509Certificate::from_der(&facts.der).ok()?;
        let issuer = || Refusal::foreign(&facts.subject_dn);
        let mut own = lists.iter().filter(|list| list.issuer() == cert.subject().as_raw()).peekable();
        if own.peek().is_none() {
            return Some(RevocationFault::NoList { issuer: issuer() });
        }
        let is_signed = own.any(|list| list.is_signed_by(cert.public_key().raw));
        (!is_signed).then(|| RevocationFault::NotSigned { issuer: issuer() })
    };
    anchors.filter_map(fault).collect()
}

fn remember(issuers: &mut HashMap<[u8; 32], Arc<CertFacts>>, facts: &Arc<CertFacts>) {
    if issuers.len() < MAX_ISSUERS {
        issuers.entry(facts.spki_sha256).or_insert_with(|| Arc::clone(facts));
    }
}
