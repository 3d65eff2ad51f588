//! Whether those who are in may stay.
//!
//! A certificate is verified when its client comes in. It may end, be revoked, or lose the CA that vouched for it while the
//! client is connected for weeks. Each connection that came in by a certificate, or by an identity that ends, has a record
//! here. It is judged again, as its handshake would be today, when something in it ends and whenever what is trusted
//! changed. Who would not be let in any more is closed.
//!
//! A client whose bundle its listener has no more stays as long as another bundle of the same namespace vouches for it.
//! Trust is never another tenant's.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postern_identity::{BundleRef, ClientAuthWish};
use postern_mqtt::ReasonCode;
use postern_mqtt::packet::Disconnect;
use postern_realm::ConnId;
use postern_tls::{Bundle, Reason, Verdict};
use rustls::pki_types::CertificateDer;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::door::Door;
use crate::drive::outbox::{Outbox, Will};
use crate::policy::TlsGate;
use crate::report::Who;

/// How often ends are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// From one judgement of a connection to the next, in milliseconds, unless what is trusted changes.
const PAUSE_MS: u64 = 1000;

/// Changes that wait together; one more, and everybody is judged again.
const AFFECTED_MAX: usize = 64;

/// Connections looked at while the table is locked: less than a millisecond.
const LOOKED_AT_ONCE: usize = 1024;

/// Connections judged in one piece: some milliseconds of one processor.
const SLICE: usize = 32;

/// What a client's stay depends on. None of it lasts for ever.
#[derive(Default)]
pub(crate) struct Credential {
    /// The certificate it came in by.
    pub(crate) certificate: Option<Presented>,
    /// When its identity ends, in milliseconds since the Unix epoch.
    pub(crate) identity_ends_ms: Option<u64>,
}

/// A certificate as its client presented it.
pub(crate) struct Presented {
    /// The bundle whose CA vouched for it.
    pub(crate) bundle: BundleRef,
    /// How strictly a plugin asked for it.
    pub(crate) wish: ClientAuthWish,
    /// Its own first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// Its subject, escaped and cut.
    pub(crate) subject: String,
    /// When the first certificate of the verified path ends, in seconds since the Unix epoch.
    pub(crate) not_after: i64,
}

/// Why a client may not stay.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    /// A word of a fixed set.
    pub(crate) reason: &'static str,
    pub(crate) detail: String,
}

/// A connection whose client may have to go.
pub(crate) struct Member {
    pub(crate) door: Arc<Door>,
    pub(crate) credential: Credential,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) who: Arc<Who>,
    /// What becomes of its will if it has to go.
    pub(crate) will: Will,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Revalidation {
    /// Grows when what is trusted has changed.
    epoch: AtomicU64,
    members: Mutex<Members>,
    /// Who is to be judged again.
    pending: Mutex<Pending>,
    changed: Notify,
}

/// Whom a change of what is trusted may concern.
#[derive(Default)]
enum Pending {
    #[default]
    Nobody,
    /// At most [`AFFECTED_MAX`].
    Some(Vec<Affected>),
    Everybody,
}

/// A door at which something else is trusted than before.
pub(crate) struct Affected {
    pub(crate) door: Arc<Door>,
    /// Whose clients are concerned; none is everybody's.
    pub(crate) bundles: Option<HashSet<BundleRef>>,
}

#[derive(Default)]
struct Members {
    by_connection: BTreeMap<ConnId, Arc<Member>>,
    /// When each is to be judged again, in milliseconds since the Unix epoch.
    due: BTreeSet<(u64, ConnId)>,
    due_of: BTreeMap<ConnId, u64>,
}

/// A connection's place among them, until it is dropped.
pub(crate) struct Membership {
    revalidation: Arc<Revalidation>,
    connection: ConnId,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.revalidation.lock().leave(self.connection);
    }
}

impl Members {
    fn set_due(&mut self, connection: ConnId, at: u64) {
        if let Some(before) = self.due_of.insert(connection, at) {
            self.due.remove(&(before, connection));
        }
        self.due.insert((at, connection));
    }

    fn leave(&mut self, connection: ConnId) {
        self.by_connection.remove(&connection);
        if let Some(at) = self.due_of.remove(&connection) {
            self.due.remove(&(at, connection));
        }
    }
}

impl Revalidation {
    /// What is trusted now, as a number. To be taken before a connection loads what it is judged by.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// What is trusted has changed: everybody is judged again.
    pub(crate) fn begin_epoch(&self) {
        self.begin(Pending::Everybody);
    }

    /// What is trusted has changed at this door: whom it concerns is judged again.
    pub(crate) fn begin_epoch_of(&self, affected: Affected) {
        self.begin(Pending::Some(vec![affected]));
    }

    fn begin(&self, more: Pending) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        *pending = match (std::mem::take(&mut *pending), more) {
            (Pending::Some(mut all), Pending::Some(more)) if all.len() + more.len() <= AFFECTED_MAX => {
                all.extend(more);
                Pending::Some(all)
            }
            (Pending::Nobody, more) | (more, Pending::Nobody) => more,
            _ => Pending::Everybody,
        };
        drop(pending);
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_one();
    }

    /// Adds a connection that was let in by what was trusted in `epoch`; none where there is nothing that could end.
    pub(crate) fn enter(self: &Arc<Self>, connection: ConnId, member: Member, epoch: u64) -> Option<Membership> {
        if member.credential.is_empty() {
            return None;
        }
        let ends = member.credential.ends_ms();
        let mut members = self.lock();
        members.by_connection.insert(connection, Arc::new(member));
        // A change that it missed has not found it here either.
        let at = if epoch == self.epoch() { ends } else { 0 };
        members.set_due(connection, at);
        drop(members);
        Some(Membership { revalidation: Arc::clone(self), connection })
    }

    /// Judges whoever is due, until `stop`.
    pub(crate) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stopping| *stopping) => return,
                () = self.changed.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let pending = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
            self.judge_affected(&pending, &stop).await;
            self.judge_due(&stop).await;
        }
    }

    /// In the order of connections, which are numbered as they come: who comes meanwhile knows what is trusted.
    async fn judge_affected(self: &Arc<Self>, pending: &Pending, stop: &watch::Receiver<bool>) {
        if matches!(pending, Pending::Nobody) {
            return;
        }
        let mut after = Bound::Unbounded;
        self.in_slices(stop, |members| {
            let mut slice = Vec::new();
            let mut is_end = true;
            for (connection, member) in members.by_connection.range((after, Bound::Unbounded)).take(LOOKED_AT_ONCE) {
                after = Bound::Excluded(*connection);
                is_end = false;
                if pending.concerns(member) {
                    slice.push((*connection, Arc::clone(member)));
                    if slice.len() == SLICE {
                        break;
                    }
                }
            }
            (!is_end).then_some(slice)
        })
        .await;
    }

    async fn judge_due(self: &Arc<Self>, stop: &watch::Receiver<bool>) {
        self.in_slices(stop, |members| {
            let now = now_ms();
            let due: Vec<_> = members.due.range(..=(now, ConnId(u64::MAX))).take(SLICE).copied().collect();
            // Not again before this judgement is there.
            for &(_, connection) in &due {
                members.set_due(connection, u64::MAX);
            }
            let found = due.iter().filter_map(|(_, id)| Some((*id, Arc::clone(members.by_connection.get(id)?))));
            (!due.is_empty()).then(|| found.collect())
        })
        .await;
    }

    /// Judges slice after slice, on half of the processors.
    async fn in_slices(
        self: &Arc<Self>,
        stop: &watch::Receiver<bool>,
        mut next: impl FnMut(&mut Members) -> Option<Vec<(ConnId, Arc<Member>)>>,
    ) {
        let at_once = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).div_ceil(2);
        let mut running = JoinSet::new();
        loop {
            let Some(slice) = next(&mut self.lock()).filter(|_| !*stop.borrow()) else { break };
            if slice.is_empty() {
                tokio::task::yield_now().await;
                continue;
            }
            if running.len() >= at_once {
                running.join_next().await;
            }
            let this = Arc::clone(self);
            running.spawn_blocking(move || this.judge(slice));
        }
        while running.join_next().await.is_some() {}
    }

    fn judge(&self, slice: Vec<(ConnId, Arc<Member>)>) {
        for (connection, member) in slice {
            let now = now_ms();
            match member.credential.judge(&member.door, now) {
                Ok(ends) => {
                    let mut members = self.lock();
                    if members.by_connection.contains_key(&connection) {
                        // In the future: nobody is judged again and again in the same moment.
                        members.set_due(connection, ends.max(now + PAUSE_MS));
                    }
                }
                Err(invalid) => {
                    // It leaves when its connection ends; nobody judges it again until then.
                    self.lock().leave(connection);
                    member.close(&invalid);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn concerns(&self, member: &Member) -> bool {
        match self {
            Self::Nobody => false,
            Self::Some(all) => all.iter().any(|affected| affected.concerns(member)),
            Self::Everybody => true,
        }
    }
}

impl Affected {
    fn concerns(&self, member: &Member) -> bool {
        let Some(presented) = &member.credential.certificate else { return false };
        let Some(bundles) = &self.bundles else { return Arc::ptr_eq(&self.door, &member.door) };
        // A bundle that is gone is one of those, or went before, and others vouch for its clients.
        let is_gone = || self.door.policy().tls().is_none_or(|tls| tls.keyring.bundle(&presented.bundle).is_none());
        Arc::ptr_eq(&self.door, &member.door) && (bundles.contains(&presented.bundle) || is_gone())
    }
}

impl Member {
    fn close(&self, invalid: &Invalid) {
        self.door.metrics.revoked(invalid.reason);
        let subject = self.credential.certificate.as_ref().map(|presented| presented.subject.as_str());
        self.who.revoked(subject, invalid);
        let mut farewell = Disconnect::new(ReasonCode::NOT_AUTHORIZED);
        farewell.reason_string = Some(invalid.detail.as_str().into());
        self.outbox.close_with(Some(farewell), self.will);
        self.outbox.wake();
    }
}

impl Credential {
    /// Whether there is nothing that could end.
    pub(crate) fn is_empty(&self) -> bool {
        self.certificate.is_none() && self.identity_ends_ms.is_none()
    }

    /// When the first of it ends, in milliseconds since the Unix epoch.
    fn ends_ms(&self) -> u64 {
        let certificate = self.certificate.as_ref().map(|presented| ends_ms(presented.not_after));
        certificate.into_iter().chain(self.identity_ends_ms).min().unwrap_or(u64::MAX)
    }

    /// Whether its client would be let in now at this door, and until when.
    fn judge(&self, door: &Door, now_ms: u64) -> Result<u64, Invalid> {
        if self.identity_ends_ms.is_some_and(|end| end <= now_ms) {
            return Err(Invalid { reason: "identity_ended", detail: "the identity has ended".to_owned() });
        }
        let identity = self.identity_ends_ms.unwrap_or(u64::MAX);
        let policy = door.policy();
        match (&self.certificate, policy.tls()) {
            (Some(presented), Some(tls)) => Ok(identity.min(presented.judge(tls, now_ms)?)),
            _ => Ok(identity),
        }
    }
}

impl Presented {
    /// By the bundle that vouched for it, or where the listener has it no more, by one of the same namespace.
    fn judge(&self, tls: &TlsGate, now_ms: u64) -> Result<u64, Invalid> {
        let now = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
        if let Some(bundle) = tls.keyring.bundle(&self.bundle) {
            return self.judge_by(bundle, tls, now);
        }
        let others = tls.keyring.bundles().filter(|bundle| bundle.name().namespace == self.bundle.namespace);
        let gone = Invalid {
            reason: "bundle_gone",
            detail: format!(
                "the listener has the bundle {} no more, and no other one of its namespace vouches for the client \
                 certificate",
                self.bundle
            ),
        };
        others
            .filter(|bundle| bundle.has_client_ca())
            .find_map(|bundle| self.judge_by(bundle, tls, now).ok())
            .ok_or(gone)
    }

    fn judge_by(&self, bundle: &Arc<Bundle>, tls: &TlsGate, now: i64) -> Result<u64, Invalid> {
        // Who came in by a certificate is judged by it, whether or not it would be asked for today.
        let wish = self.wish.max(ClientAuthWish::Optional);
        match tls.configs.judge(bundle, wish, &self.chain, now) {
            Ok(Some(verdict)) => self.ends_ms(verdict),
            Ok(None) => Ok(u64::MAX),
            Err(error) => Err(Invalid { reason: "bundle_unusable", detail: error.to_string() }),
        }
    }

    /// That nobody can say whether a certificate is revoked closes the way in, and is no reason to send away whoever is
    /// in: a list that comes late would cost a fleet its connections.
    fn ends_ms(&self, verdict: Verdict) -> Result<u64, Invalid> {
        match verdict {
            Ok(path) => Ok(ends_ms(first_end(&path))),
            Err(rejected) => match rejected.reason() {
                Reason::NoRevocationList | Reason::RevocationListOutdated => Ok(ends_ms(self.not_after)),
                reason => Err(Invalid { reason: reason.label(), detail: rejected.to_string() }),
            },
        }
    }
}

/// When the first certificate of a verified path ends. That of the anchor at its end is not asked for: neither is it in a
/// handshake.
pub(crate) fn first_end(path: &[Arc<postern_identity::CertFacts>]) -> i64 {
    let below = if path.len() > 1 { &path[..path.len() - 1] } else { path };
    below.iter().map(|facts| facts.not_after).min().unwrap_or(i64::MAX)
}

/// A certificate is good through its last second (RFC 5280, section 4.1.2.5).
fn ends_ms(not_after: i64) -> u64 {
    u64::try_from(not_after).map_or(0, |second| second.saturating_add(1).saturating_mul(1000))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
