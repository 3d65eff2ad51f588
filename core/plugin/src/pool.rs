//! Instances that wait for the next question.
//!
//! An instance is checked out for one call and comes back only after an orderly answer. After a trap, a
//! deadline or a dropped call it is gone, because it was never anywhere but in the future of that call.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use postern_identity::BundleDirectory;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};

use crate::decisions::Fresh;
use crate::durations::Clock;
use crate::failure::{ConfigIssue, Failure, LoadError};
use crate::instance::{Blueprint, Live};
use crate::limits::LOAD_WALL;
use crate::plugin::{About, Isolation};
use crate::questions::Ask;
use crate::services::LogBudget;

/// An instance is replaced after so many calls, so that what leaks inside it stays bounded.
const MAX_CALLS_PER_INSTANCE: u32 = 10_000;
/// Calls of one plugin that run at the same time, for each core.
const INSTANCES_PER_CORE: usize = 2;

/// The instances of one plugin.
pub(crate) struct Pool {
    blueprint: Blueprint,
    isolation: Isolation,
    permits: Semaphore,
    max: usize,
    /// Never held while anything waits.
    idle: Mutex<Vec<Live>>,
    pub(crate) counts: Arc<Counts>,
}

/// Since the load of the first plugin that had this place on its listener: who takes its place counts on.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) calls: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) started: AtomicU64,
    pub(crate) discarded: AtomicU64,
    pub(crate) took: Clock,
    pub(crate) hits: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// Counts an instance as discarded unless it is put back: a dropped future runs no code but this.
struct CheckedOut<'a> {
    pool: &'a Pool,
    live: Option<Live>,
}

impl Drop for CheckedOut<'_> {
    fn drop(&mut self) {
        if self.live.take().is_some() {
            self.pool.counts.discarded.fetch_add(1, Relaxed);
        }
    }
}

impl Pool {
    pub(crate) fn new(blueprint: Blueprint, isolation: Isolation, counts: Arc<Counts>) -> Self {
        let cores = available_parallelism().map_or(1, std::num::NonZero::get);
        let max = cores * INSTANCES_PER_CORE;
        Self {
            blueprint,
            isolation,
            permits: Semaphore::new(max),
            max,
            idle: Mutex::new(Vec::with_capacity(max)),
            counts,
        }
    }

    /// The same plugin with other names within its reach, and no instance yet.
    pub(crate) fn reseat(&self, directory: Arc<dyn BundleDirectory>) -> Self {
        Self::new(self.blueprint.reseat(directory), self.isolation, Arc::clone(&self.counts))
    }

    pub(crate) fn log(&self) -> &Arc<LogBudget> {
        &self.blueprint.badge.log
    }

    pub(crate) fn directory(&self) -> &dyn BundleDirectory {
        &*self.blueprint.badge.directory
    }

    pub(crate) fn log_lines_dropped(&self) -> u64 {
        self.blueprint.badge.log.dropped.load(Relaxed)
    }

    pub(crate) fn idle(&self) -> usize {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Starts the first instance, with more time than a question gets, and lets it check its configuration.
    pub(crate) async fn warm_up(&self) -> Result<About, LoadError> {
        let _running = self.blueprint.engine.running();
        let failed = |during| move |failure| LoadError::Start { during, failure };
        let cpu = LOAD_WALL;
        let mut live = loading(self.blueprint.start(cpu)).await.map_err(failed("its start"))?;
        let about = loading(live.describe(cpu)).await.map_err(failed("describe"))?;
        loading(live.configure(&self.blueprint.config_json, cpu))
            .await
            .map_err(failed("configure"))?
            .map_err(|issues: Vec<ConfigIssue>| LoadError::Config(issues))?;
        self.counts.started.fetch_add(1, Relaxed);
        if self.isolation == Isolation::Warm {
            self.put_back(live);
        }
        Ok(about)
    }

    /// Puts a question to an instance, within the plugin's time.
    pub(crate) async fn ask<A: Ask>(&self, ask: &A) -> Result<Fresh<A::Answer>, Failure> {
        self.counts.calls.fetch_add(1, Relaxed);
        let wall = self.blueprint.limits.wall;
        let began = Instant::now();
        let deadline = began + wall;
        let answer = match timeout_at(deadline, self.permits.acquire()).await {
            Ok(Ok(permit)) => {
                timeout_at(deadline, self.ask_one(ask, permit)).await.unwrap_or(Err(Failure::WallTime(wall)))
            }
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(Failure::Overloaded(self.max)),
        };
        self.counts.took.add(began.elapsed());
        self.counts.failures.fetch_add(u64::from(answer.is_err()), Relaxed);
        answer
    }

    async fn ask_one<A: Ask>(&self, ask: &A, _permit: SemaphorePermit<'_>) -> Result<Fresh<A::Answer>, Failure> {
        let _running = self.blueprint.engine.running();
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let live = match idle {
            Some(live) => live,
            None => self.start_configured().await?,
        };
        let mut out = CheckedOut { pool: self, live: Some(live) };
        let live = out.live.as_mut().expect("it was put there a line above");
        let answer = ask.put(live, self.directory(), self.blueprint.limits.cpu).await;
        let orderly = answer.as_ref().err().is_none_or(Failure::spares_the_instance);
        if orderly
            && self.isolation == Isolation::Warm
            && let Some(live) = out.live.take_if(|live| live.calls < MAX_CALLS_PER_INSTANCE)
        {
            self.put_back(live);
        }
        answer
    }

    async fn start_configured(&self) -> Result<Live, Failure> {
        self.counts.started.fetch_add(1, Relaxed);
        self.blueprint.start_configured().await
    }

    fn put_back(&self, live: Live) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(live);
    }
}

async fn loading<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, E>
where
    E: From<Late>,
{
    timeout(LOAD_WALL, work).await.unwrap_or_else(|_| Err(Late(LOAD_WALL).into()))
}

/// A step of the load took too long.
struct Late(Duration);

impl From<Late> for Failure {
    fn from(late: Late) -> Self {
        Self::WallTime(late.0)
    }
}
