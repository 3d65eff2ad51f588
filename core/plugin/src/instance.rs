//! One running component: a store, its exports, and the way in and out.

use std::sync::Arc;
use std::time::Duration;

use postern_identity::BundleDirectory;
use wasmtime::component::InstancePre;
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::bindings::exports::postern::gate::{cert_resolver, client_authorizer, lifecycle, namespace_resolver};
use crate::failure::{ConfigIssue, Failure, LoadError};
use crate::host::Engine;
use crate::limits::{Growth, HOSTCALL_BYTES, Limits, MAX_HOST_CALLS};
use crate::plugin::About;
use crate::services::{Badge, OverQuota, Session};
use crate::shape::Hook;

/// Issues of a configuration that are reported; the rest are cut off.
const MAX_CONFIG_ISSUES: usize = 32;

/// Everything that it takes to start one more instance of a plugin.
#[derive(Clone)]
pub(crate) struct Blueprint {
    pub(crate) engine: Arc<Engine>,
    pub(crate) component: InstancePre<Session>,
    pub(crate) exports: Arc<Exports>,
    pub(crate) badge: Arc<Badge>,
    pub(crate) config_json: String,
    pub(crate) limits: Limits,
}

/// Where the exports of a component are.
pub(crate) struct Exports {
    lifecycle: lifecycle::GuestIndices,
    namespace: Option<namespace_resolver::GuestIndices>,
    certificate: Option<cert_resolver::GuestIndices>,
    identity: Option<client_authorizer::GuestIndices>,
}

impl Exports {
    /// Checks their types too.
    pub(crate) fn find(component: &InstancePre<Session>, hooks: &[Hook]) -> Result<Self, LoadError> {
        let contract = |error: wasmtime::Error| LoadError::Contract(format!("{error:#}"));
        let has = |hook| hooks.contains(&hook).then_some(component);
        Ok(Self {
            lifecycle: lifecycle::GuestIndices::new(component).map_err(contract)?,
            namespace: has(Hook::Namespace).map(namespace_resolver::GuestIndices::new).transpose().map_err(contract)?,
            certificate: has(Hook::Certificate).map(cert_resolver::GuestIndices::new).transpose().map_err(contract)?,
            identity: has(Hook::Identity).map(client_authorizer::GuestIndices::new).transpose().map_err(contract)?,
        })
    }
}

/// A running instance. Dropping it is always safe, and the only thing to do with it after a trap, after a
/// deadline, and after a call whose future was dropped.
pub(crate) struct Live {
    store: Store<Session>,
    lifecycle: lifecycle::Guest,
    pub(crate) namespace: Option<namespace_resolver::Guest>,
    pub(crate) certificate: Option<cert_resolver::Guest>,
    pub(crate) identity: Option<client_authorizer::Guest>,
    pub(crate) calls: u32,
}

impl Blueprint {
    /// The same with other names within reach.
    pub(crate) fn reseat(&self, directory: Arc<dyn BundleDirectory>) -> Self {
        let Badge { plugin, listener, log, .. } = &*self.badge;
        let (plugin, listener, log) = (plugin.clone(), listener.clone(), Arc::clone(log));
        Self { badge: Arc::new(Badge { plugin, listener, directory, log }), ..self.clone() }
    }

    /// A fresh instance, not yet configured.
    pub(crate) async fn start(&self, cpu: Duration) -> Result<Live, Failure> {
        let mut store = self.store();
        arm(&mut store, cpu);
        let instance = self.component.instantiate_async(&mut store).await.map_err(|error| explain(&error, cpu))?;
        let broken = |error: wasmtime::Error| explain(&error, cpu);
        let exports = &self.exports;
        Ok(Live {
            lifecycle: exports.lifecycle.load(&mut store, &instance).map_err(broken)?,
            namespace: exports
                .namespace
                .as_ref()
                .map(|at| at.load(&mut store, &instance))
                .transpose()
                .map_err(broken)?,
            certificate: exports
                .certificate
                .as_ref()
                .map(|at| at.load(&mut store, &instance))
                .transpose()
                .map_err(broken)?,
            identity: exports.identity.as_ref().map(|at| at.load(&mut store, &instance)).transpose().map_err(broken)?,
            store,
            calls: 0,
        })
    }

    /// A fresh instance that has taken the configuration.
    pub(crate) async fn start_configured(&self) -> Result<Live, Failure> {
        let mut live = self.start(self.limits.cpu).await?;
        match live.configure(&self.config_json, self.limits.cpu).await? {
            Ok(()) => Ok(live),
            Err(_) => Err(Failure::Reconfigured),
        }
    }

    fn store(&self) -> Store<Session> {
        let session = Session::new(Arc::clone(&self.badge), Growth::new(&self.limits));
        let mut store = Store::new(self.engine.wasm(), session);
        store.limiter(|session| &mut session.growth);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        // At each tick the guest gives way to the other tasks of its thread; without that, no timeout
        // could be noticed there.
        store.epoch_deadline_callback(|mut context| {
            if context.data_mut().ticks.one_more() {
                Ok(UpdateDeadline::Yield(1))
            } else {
                Err(wasmtime::Error::new(OverQuota::CpuTime))
            }
        });
        store
    }
}

/// Gives a store the quotas of a new invocation.
fn arm(store: &mut Store<Session>, cpu: Duration) {
    store.data_mut().rearm(cpu);
    // The callback sets the next deadline only when it runs; the first one has to be set here, or a
    // deadline of long ago would hold.
    store.set_epoch_deadline(1);
}

impl Live {
    /// Calls an export with fresh quotas. `call` gets the store and returns the typed call.
    pub(crate) async fn enter<'a, F, R>(
        &'a mut self,
        cpu: Duration,
        call: impl FnOnce(&'a mut Store<Session>) -> F,
    ) -> Result<R, Failure>
    where
        F: Future<Output = wasmtime::Result<R>> + Send,
    {
        self.calls += 1;
        arm(&mut self.store, cpu);
        call(&mut self.store).await.map_err(|error| explain(&error, cpu))
    }

    /// Who the plugin says it is.
    pub(crate) async fn describe(&mut self, cpu: Duration) -> Result<About, Failure> {
        let guest = self.lifecycle.clone();
        let about = self.enter(cpu, |store| async move { guest.call_describe(store).await }).await?;
        let kept = postern_identity::Refusal::foreign;
        Ok(About { name: kept(&about.name), version: kept(&about.version), description: kept(&about.description) })
    }

    /// Hands over the configuration.
    pub(crate) async fn configure(
        &mut self,
        json: &str,
        cpu: Duration,
    ) -> Result<Result<(), Vec<ConfigIssue>>, Failure> {
        let guest = self.lifecycle.clone();
        let answer = self.enter(cpu, |store| async move { guest.call_configure(store, json).await }).await?;
        Ok(answer.map_err(|issues| issues.iter().take(MAX_CONFIG_ISSUES).map(issue).collect()))
    }
}

fn issue(issue: &lifecycle::ConfigIssue) -> ConfigIssue {
    let kept = postern_identity::Refusal::foreign;
    ConfigIssue { path: kept(&issue.path), message: kept(&issue.message) }
}

/// What went wrong, in the host's words. A trap has a fixed text of wasmtime; whatever else ended the call
/// is cut and escaped, since it may quote what the guest sent.
fn explain(error: &wasmtime::Error, cpu: Duration) -> Failure {
    match error.downcast_ref::<OverQuota>() {
        Some(OverQuota::CpuTime) => return Failure::CpuTime(cpu),
        Some(OverQuota::HostCalls) => return Failure::HostCalls(MAX_HOST_CALLS),
        None => {}
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => Failure::Trapped(trap.to_string()),
        None => Failure::Trapped(postern_identity::Refusal::foreign(&error.root_cause().to_string())),
    }
}
