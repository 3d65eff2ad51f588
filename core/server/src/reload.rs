//! What changes while the broker runs: certificates when their files do, the rest when it is asked to.
//!
//! Files are looked at, not subscribed to: a look sees a swapped link, a renamed file, one written in place, and all of
//! that on network file systems too. A change counts once two looks in a row agree, so that a set that is being written is
//! let finish, and what was read is thrown away if a file changed meanwhile. All of it runs on a thread of its own.

mod scope;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_config::{Config, Loaded, Problem};
use postern_identity::BundleRef;
use postern_tls::Bundle;

use crate::clock::now_unix_s;
use crate::door::Door;
use crate::metrics::{Metrics, Reloaded};
use crate::policy::{ListenerPolicy, TlsGate};
use crate::revalidation::{Affected, Revalidation};
use crate::stage::stamps::Stamps;
use crate::stage::{Renewal, Stager, Which};
use crate::stapling::Keeper;

/// From one look at the files to the next. A look at all costs a file about a microsecond.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A pause is at least so many times as long as the look before it, so that looking at very many files costs 5 % of a core
/// at most.
const PAUSE_PER_LOOK: u32 = 20;

/// Files that changed must be quiet for so long.
const SETTLED_AFTER: Duration = Duration::from_millis(250);

/// How often what was read for a SIGHUP is read again because a file changed meanwhile. What is served then is looked at
/// again as any change is.
const STAGED_AGAIN_MAX: usize = 20;

/// So long a replaced bundle, and with it its key, is held beyond its last handshake.
const SHED_EVERY: Duration = Duration::from_secs(30);

/// Renewed bundles of one listener that are told one by one.
const RENEWED_TOLD_MAX: usize = 100;

/// Keeps listeners at what the files say.
pub struct Reloader {
    doors: Vec<Arc<Door>>,
    revalidation: Arc<Revalidation>,
    metrics: Arc<Metrics>,
    keeper: Keeper,
    stager: Stager,
    /// As it was at start. What cannot be changed since is as here.
    started: Config,
    /// What is in force.
    config: Config,
    /// Files as they were found last, while they differ from what was read.
    unsettled: Option<Stamps>,
    next_look: Instant,
    next_shed: Instant,
    /// What is wrong with certificates and has been told.
    told: BTreeSet<String>,
}

impl Reloader {
    /// `stager` has staged what the doors serve by, out of `config`.
    pub(crate) fn new(
        (doors, revalidation): (Vec<Arc<Door>>, Arc<Revalidation>),
        metrics: Arc<Metrics>,
        keeper: Keeper,
        stager: Stager,
        config: Config,
    ) -> Self {
        Self {
            doors,
            revalidation,
            metrics,
            keeper,
            stager,
            started: config.clone(),
            config,
            unsettled: None,
            next_look: Instant::now() + LOOK_EVERY,
            next_shed: Instant::now() + SHED_EVERY,
            told: BTreeSet::new(),
        }
    }

    /// When [`Reloader::look`] is due.
    pub fn next_look(&self) -> Instant {
        self.next_look
    }

    /// Looks at the files of certificates, and serves new ones. Blocks its thread while it reads.
    pub async fn look(&mut self) {
        self.shed();
        let began = Instant::now();
        let is_current = self.stager.read().are_current();
        let took = began.elapsed();
        if is_current {
            self.unsettled = None;
        } else {
            let now = self.stager.read().now();
            if self.unsettled.as_ref() == Some(&now) {
                self.renew(now).await;
            } else {
                self.unsettled = Some(now);
            }
        }
        let pause = if self.unsettled.is_some() { SETTLED_AFTER } else { LOOK_EVERY.max(took * PAUSE_PER_LOOK) };
        self.next_look = Instant::now() + pause;
    }

    /// The keys of replaced bundles do not wait in memory for a table to grow.
    fn shed(&mut self) {
        if self.next_shed <= Instant::now() {
            self.next_shed = Instant::now() + SHED_EVERY;
            for tls in self.serving().iter().filter_map(|policy| policy.tls()) {
                tls.configs.shed();
            }
        }
    }

    async fn renew(&mut self, files: Stamps) {
        let serving = self.serving();
        let renewal = self.stager.renew(&self.config, &serving, now_unix_s(), files).await;
        if !self.stager.read().are_current() {
            // It may be a mixture of old and new.
            self.unsettled = Some(Stamps::default());
            return;
        }
        self.unsettled = None;
        let Renewal { policies, refused, warnings } = renewal;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        if !policies.is_empty() {
            self.serve_by(policies);
            self.metrics.reloads().served(Reloaded::Certificates);
        }
        self.tell(&refused);
    }

    /// One line for each fault, once until it is over.
    fn tell(&mut self, refused: &[Problem]) {
        let faults: BTreeSet<String> = refused.iter().map(ToString::to_string).collect();
        // Before a line says so: who reads it finds the figures as it says.
        self.metrics.reloads().set_current(Reloaded::Certificates, faults.is_empty());
        if !faults.is_subset(&self.told) {
            self.metrics.reloads().refused(Reloaded::Certificates);
        }
        for fault in faults.difference(&self.told) {
            tracing::error!("{fault}; what was served before is served on");
        }
        if faults.is_empty() && !self.told.is_empty() {
            tracing::info!("all certificates are served as their files are");
        }
        self.told = faults;
    }

    /// Serves by a configuration that was read anew, or says why not and goes on with the one of before. Blocks its
    /// thread while it reads.
    pub async fn reconfigure(&mut self, loaded: Loaded) {
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let (config, later) = scope::in_force(&self.started, &self.config, loaded.config);
        let serving = self.serving();
        let mut staged = self.stager.stage(&config, Which::Enabled, now_unix_s(), &serving).await;
        for _ in 0..STAGED_AGAIN_MAX {
            if staged.is_err() || self.stager.read().are_current() {
                break;
            }
            // A file changed under it: what was read may be a mixture.
            tokio::time::sleep(SETTLED_AFTER).await;
            staged = self.stager.stage(&config, Which::Enabled, now_unix_s(), &serving).await;
        }
        match staged {
            Ok(staged) => {
                for warning in staged.warnings.iter().map(ToString::to_string).chain(later) {
                    tracing::warn!("{warning}");
                }
                self.serve_by(staged.listeners);
                self.config = config;
                self.unsettled = None;
                self.tell(&[]);
                let reloads = self.metrics.reloads();
                reloads.served(Reloaded::Configuration);
                reloads.set_current(Reloaded::Configuration, true);
                tracing::info!("the configuration was read again and is in force for new connections");
            }
            Err(problems) => self.refuse(&problems.iter().map(ToString::to_string).collect::<Vec<_>>()),
        }
    }

    /// A configuration that cannot be in force.
    pub fn refuse(&self, problems: &[String]) {
        for problem in problems {
            tracing::error!("{problem}");
        }
        tracing::error!(
            problems = problems.len(),
            "the new configuration is refused; the one of before stays in force"
        );
        let reloads = self.metrics.reloads();
        reloads.refused(Reloaded::Configuration);
        reloads.set_current(Reloaded::Configuration, false);
    }

    fn serving(&self) -> Vec<Arc<ListenerPolicy>> {
        self.doors.iter().map(|door| door.policy()).collect()
    }

    fn serve_by(&self, policies: Vec<ListenerPolicy>) {
        for policy in policies {
            let Some(door) = self.doors.iter().find(|door| door.id == policy.id) else { continue };
            let before = door.policy();
            door.serve_by(policy);
            let now = door.policy();
            self.keeper.keep(&now);
            // Who is in was let in by what was trusted before.
            if let Some(bundles) = affected(&before, &now) {
                self.revalidation.begin_epoch_of(Affected { door: Arc::clone(door), bundles });
            }
            tell_renewed(&before, &now);
        }
    }
}

/// The bundles whose clients may not be let in any more: none where a new certificate is all that is new, `Some(None)` for
/// all.
#[allow(clippy::option_option, reason = "nobody, some, or everybody")]
fn affected(before: &ListenerPolicy, now: &ListenerPolicy) -> Option<Option<HashSet<BundleRef>>> {
    let (before, now) = (before.tls()?, now.tls()?);
    let lists = |tls: &TlsGate| tls.lists.as_ref().map(Arc::as_ptr);
    // Other lists go into the handle that the settings of before have too.
    if !Arc::ptr_eq(&before.configs, &now.configs) || lists(before) != lists(now) {
        return Some(None);
    }
    let cas = |bundle: &Bundle| bundle.client_cas().iter().map(|ca| ca.fingerprint).collect::<Vec<_>>();
    let is_trusted_as_before =
        |bundle: &&Arc<Bundle>| now.keyring.bundle(bundle.name()).is_some_and(|now| cas(now) == cas(bundle));
    let changed = before.keyring.bundles().filter(|bundle| !is_trusted_as_before(bundle));
    let changed: HashSet<BundleRef> = changed.map(|bundle| bundle.name().clone()).collect();
    (!changed.is_empty()).then_some(Some(changed))
}

/// Which bundles of a listener are other ones than before.
fn tell_renewed(before: &ListenerPolicy, now: &ListenerPolicy) {
    let (Some(before), Some(tls)) = (before.tls(), now.tls()) else { return };
    let is_new =
        |bundle: &&Arc<Bundle>| before.keyring.bundle(bundle.name()).is_none_or(|served| !Arc::ptr_eq(served, bundle));
    let renewed: Vec<_> = tls.keyring.bundles().filter(is_new).collect();
    for bundle in renewed.iter().take(RENEWED_TOLD_MAX) {
        tracing::info!(
            listener = %now.id,
            bundle = %bundle.name(),
            fingerprint_sha256 = bundle.leaf().fingerprint_hex(),
            subject = bundle.leaf().subject_dn,
            "certificate renewed"
        );
    }
    if renewed.len() > RENEWED_TOLD_MAX {
        tracing::info!(listener = %now.id, more = renewed.len() - RENEWED_TOLD_MAX, "certificates renewed");
    }
}
