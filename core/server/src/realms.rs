//! The realm of each namespace. A tenant's topics, client identifiers, sessions, retained messages and
//! shared groups live in its realm and have no meaning outside it.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use dashmap::DashMap;
use postern_config::SysTopics;
use postern_identity::Namespace;
use postern_realm::Kept;
use postern_store::{Directory, StoreError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::drive::life::live;
use crate::drive::realm::{Command, MAILBOX_COMMANDS, Watch};
use crate::drive::system::SystemTopics;
use crate::durability::{Alive, Durability, Revival, database};
use crate::meter::Traffic;
use crate::metrics::Metrics;
use crate::report::RealmLog;
use crate::tenants::TenantPolicies;

/// A tenant in its life: its realm, and what its clients share.
#[derive(Clone)]
pub(crate) struct Tenant {
    /// The way to its realm.
    pub(crate) mailbox: Mailbox,
    /// What all its clients may publish; none is without limit.
    pub(crate) traffic: Option<Arc<Mutex<Traffic>>>,
}

/// The way to a realm.
pub(crate) type Mailbox = mpsc::Sender<Command>;

/// All realms of the process. Bounded by the namespaces that the operator attached to listeners.
pub(crate) struct Realms {
    tenants: DashMap<Namespace, Tenant>,
    policies: TenantPolicies,
    kept: Kept,
    /// None where nothing outlives the process.
    directory: Option<Arc<Directory>>,
    began: Instant,
    metrics: Arc<Metrics>,
    sys_topics: SysTopics,
    /// One for each realm that began.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Realms {
    /// Takes the directory of what is kept for this process.
    pub(crate) fn new(
        policies: TenantPolicies,
        durability: &Durability,
        sys_topics: SysTopics,
        began: Instant,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            tenants: DashMap::new(),
            policies,
            kept: durability.kept,
            directory: durability.open()?,
            began,
            metrics,
            sys_topics,
            tasks: Mutex::default(),
        })
    }

    /// Begins every realm that has records, since a will may be due in it; if one cannot be read, none begins.
    pub(crate) fn revive(&self) -> Result<(), StoreError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let mut revived = Vec::new();
        for namespace in directory.namespaces()? {
            let alive = self.revival(&namespace).revive()?;
            let stats = alive.realm.stats();
            tracing::info!(
                %namespace,
                sessions = stats.sessions,
                retained = stats.retained,
                queued = stats.queued,
                in_flight = stats.in_flight,
                "restored"
            );
            revived.push((namespace, alive));
        }
        for (namespace, alive) in revived {
            let tenant = self.begin(&namespace, Some(alive));
            self.tenants.insert(namespace, tenant);
        }
        Ok(())
    }

    /// Ends every realm whose connections are gone, and waits until its database is closed.
    pub(crate) async fn close(&self) {
        self.tenants.clear();
        let tasks = self.tasks.lock().map(|mut tasks| std::mem::take(&mut *tasks)).unwrap_or_default();
        for task in tasks {
            // A fault of its own was told when it happened.
            let _ = task.await;
        }
    }

    /// The namespace's tenant, its realm begun where this is its first connection.
    pub(crate) fn of(&self, namespace: &Namespace) -> Tenant {
        if let Some(tenant) = self.tenants.get(namespace).filter(|tenant| !tenant.mailbox.is_closed()) {
            return tenant.clone();
        }
        let mut entry = self.tenants.entry(namespace.clone()).or_insert_with(|| self.begin(namespace, None));
        if entry.mailbox.is_closed() {
            tracing::error!(%namespace, "the realm ended by a fault of the broker; it begins anew with what was kept of it");
            *entry = self.begin(namespace, None);
        }
        entry.clone()
    }

    fn begin(&self, namespace: &Namespace, alive: Option<Alive>) -> Tenant {
        let (mailbox, commands) = mpsc::channel(MAILBOX_COMMANDS);
        let revival = Arc::new(self.revival(namespace));
        let metrics = self.metrics.realm(namespace);
        let system = SystemTopics::new(self.sys_topics, self.metrics.node().into(), Arc::clone(&metrics), self.began);
        let log = RealmLog::new(namespace.clone());
        let task = tokio::spawn(live(revival, alive, commands, Watch { metrics, system, log }));
        if let Ok(mut tasks) = self.tasks.lock() {
            tasks.retain(|task| !task.is_finished());
            tasks.push(task);
        }
        let rates = &self.policies.of(namespace).rates;
        let traffic = Traffic::new(rates, Instant::now()).map(|traffic| Arc::new(Mutex::new(traffic)));
        Tenant { mailbox, traffic }
    }

    fn revival(&self, namespace: &Namespace) -> Revival {
        let open = self.directory.as_ref().map(|directory| database(Arc::clone(directory), namespace.clone()));
        Revival { open, limits: self.policies.of(namespace).limits.clone(), kept: self.kept, began: self.began }
    }
}
