//! A plugin of one listener, ready to be asked.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use postern_identity::{
    BundleDirectory, CertificateChoice, CertificateQuestion, Identity, IdentityQuestion, NamespaceOutcome,
    NamespaceQuestion, PluginName,
};

use crate::decisions::{Boarding, Decisions, Verdict};
use crate::durations::Durations;
use crate::failure::{Failure, LoadError};
use crate::pool::{Counts, Pool};
use crate::questions::Ask;
use crate::services::LogBudget;
use crate::shape::{Hook, Shape};

/// What the configuration says of one plugin.
#[derive(Debug, Clone)]
pub struct PluginSpec {
    /// The component.
    pub path: PathBuf,
    /// Its `config` section as JSON; `{}` where there is none.
    pub config_json: String,
    /// Time for one answer, waiting included; 250 ms where none is given. Computing is 10 ms of it, or a fifth
    /// of a given time where that is more.
    pub timeout: Option<Duration>,
    /// Memory of one instance; 16 MiB where none is given.
    pub memory_bytes: Option<u64>,
    /// What holds when it fails.
    pub on_error: OnError,
    /// Whether an instance serves more than one call.
    pub isolation: Isolation,
    /// Whether its answers may be used again as far as it allows.
    pub cache: bool,
}

/// What holds when a plugin fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The connection ends.
    Deny,
    /// Where the certificate was asked for, the listener's default bundle answers, if it is global or of
    /// the connection's namespace. For the other questions the connection ends.
    DefaultBundle,
}

/// Whether an instance serves more than one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// It does: fast, and the plugin may remember what it saw.
    Warm,
    /// It does not: nothing is left of a call when the next one comes.
    PerCall,
}

/// Who a plugin says it is. Escaped and cut, for logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// A short name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One sentence.
    pub description: String,
}

/// Numbers of one plugin since the start of the broker: one that takes its place goes on with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PluginStats {
    /// Questions that went to a guest.
    pub calls: u64,
    /// Of those, without a usable answer.
    pub failures: u64,
    /// How long each took, waiting for an instance included. A call that its connection gave up is in none of them.
    pub durations: Durations,
    /// Questions that a kept answer served.
    pub cache_hits: u64,
    /// Connections that it refused, by a kept answer or a new one.
    pub refused: u64,
    /// Decisions kept now.
    pub kept_decisions: usize,
    /// Refusals kept now.
    pub kept_refusals: usize,
    /// Instances started.
    pub instances_started: u64,
    /// Instances thrown away: after a trap, a deadline or a dropped call, when worn out, and after each
    /// call with [`Isolation::PerCall`].
    pub instances_discarded: u64,
    /// Instances that wait for a question now.
    pub instances_idle: usize,
    /// Log lines that were not written because there were too many.
    pub log_lines_dropped: u64,
}

/// A loaded plugin. Cheap to clone; all clones are the same plugin.
#[derive(Clone)]
pub struct Plugin(Arc<Inner>);

struct Inner {
    name: PluginName,
    shape: Shape,
    about: About,
    on_error: OnError,
    cache: bool,
    pool: Pool,
    namespaces: Decisions<NamespaceOutcome>,
    certificates: Decisions<CertificateChoice>,
    identities: Decisions<Identity>,
}

impl Plugin {
    pub(crate) fn new(
        name: PluginName,
        shape: Shape,
        about: About,
        (on_error, cache): (OnError, bool),
        pool: Pool,
    ) -> Self {
        Self(Arc::new(Inner {
            name,
            shape,
            about,
            on_error,
            cache,
            pool,
            namespaces: Decisions::new(),
            certificates: Decisions::new(),
            identities: Decisions::new(),
        }))
    }

    /// The same plugin with other names within its reach: it takes its configuration anew, nothing that it decided
    /// before is kept, and its figures go on.
    ///
    /// # Errors
    /// [`LoadError`] where it does not take its configuration any more.
    pub async fn reseat(&self, directory: Arc<dyn BundleDirectory>) -> Result<Self, LoadError> {
        let Inner { name, shape, on_error, cache, pool, .. } = &*self.0;
        let pool = pool.reseat(directory);
        let about = pool.warm_up().await?;
        Ok(Self::new(name.clone(), shape.clone(), about, (*on_error, *cache), pool))
    }

    /// What it counts with, for who takes its place.
    pub(crate) fn figures(&self) -> (Arc<Counts>, Arc<LogBudget>) {
        (Arc::clone(&self.0.pool.counts), Arc::clone(self.0.pool.log()))
    }

    /// The name in logs and refusals.
    pub fn name(&self) -> &PluginName {
        &self.0.name
    }

    /// The questions it answers.
    pub fn hooks(&self) -> &[Hook] {
        &self.0.shape.hooks
    }

    /// Who it says it is.
    pub fn describe(&self) -> &About {
        &self.0.about
    }

    /// Its numbers.
    pub fn stats(&self) -> PluginStats {
        let Inner { pool, namespaces, certificates, identities, .. } = &*self.0;
        let sizes = [namespaces.sizes(), certificates.sizes(), identities.sizes()];
        PluginStats {
            calls: pool.counts.calls.load(Relaxed),
            failures: pool.counts.failures.load(Relaxed),
            durations: pool.counts.took.read(),
            cache_hits: pool.counts.hits.load(Relaxed),
            refused: pool.counts.refused.load(Relaxed),
            kept_decisions: sizes.iter().map(|(decisions, _)| decisions).sum(),
            kept_refusals: sizes.iter().map(|(_, refusals)| refusals).sum(),
            instances_started: pool.counts.started.load(Relaxed),
            instances_discarded: pool.counts.discarded.load(Relaxed),
            instances_idle: pool.idle(),
            log_lines_dropped: pool.log_lines_dropped(),
        }
    }

    pub(crate) fn on_error(&self) -> OnError {
        self.0.on_error
    }

    pub(crate) async fn namespace(
        &self,
        question: NamespaceQuestion<'_>,
    ) -> Result<Verdict<NamespaceOutcome>, Failure> {
        self.decide(&self.0.namespaces, &question).await
    }

    pub(crate) async fn certificate(
        &self,
        question: CertificateQuestion<'_>,
    ) -> Result<Verdict<CertificateChoice>, Failure> {
        self.decide(&self.0.certificates, &question).await
    }

    pub(crate) async fn identity(&self, question: IdentityQuestion<'_>) -> Result<Verdict<Identity>, Failure> {
        self.decide(&self.0.identities, &question).await
    }

    async fn decide<A: Ask>(&self, kept: &Decisions<A::Answer>, ask: &A) -> Result<Verdict<A::Answer>, Failure> {
        let verdict = self.find_or_ask(kept, ask).await;
        self.0.pool.counts.refused.fetch_add(u64::from(matches!(verdict, Ok(Verdict::Rejected(_)))), Relaxed);
        verdict
    }

    /// From what was kept, or from the guest.
    async fn find_or_ask<A: Ask>(&self, kept: &Decisions<A::Answer>, ask: &A) -> Result<Verdict<A::Answer>, Failure> {
        if !self.0.cache {
            return Ok(self.0.pool.ask(ask).await?.verdict);
        }
        let inputs = ask.inputs();
        if let Some(verdict) = self.find(kept, &inputs) {
            return Ok(verdict);
        }
        let flight = match kept.board(&inputs) {
            Boarding::Ask(flight) => flight,
            Boarding::Wait(gate) => {
                // The one that asks is bounded by the plugin's time, so this is too. Closed is the signal;
                // there are no permits.
                let _ = gate.acquire().await;
                if let Some(verdict) = self.find(kept, &inputs) {
                    return Ok(verdict);
                }
                None
            }
        };
        // Between the look above and the flight, another one may have landed.
        if flight.is_some()
            && let Some(verdict) = self.find(kept, &inputs)
        {
            return Ok(verdict);
        }
        let fresh = self.0.pool.ask(ask).await?;
        kept.keep(&inputs, &fresh, Instant::now());
        drop(flight);
        Ok(fresh.verdict)
    }

    fn find<T: Clone>(&self, kept: &Decisions<T>, inputs: &crate::decisions::Inputs<'_>) -> Option<Verdict<T>> {
        let verdict = kept.find(inputs, Instant::now())?;
        self.0.pool.counts.hits.fetch_add(1, Relaxed);
        Some(verdict)
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("name", &self.0.name).field("hooks", &self.0.shape.hooks).finish_non_exhaustive()
    }
}
