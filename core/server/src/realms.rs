//! The realm of each namespace. A tenant's topics, client identifiers, sessions, retained messages and
//! shared groups live in its realm and have no meaning outside it.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use dashmap::DashMap;
use postern_config::SysTopics;
use postern_identity::Namespace;
use postern_realm::Realm;
use tokio::sync::mpsc;

use crate::drive::realm::{Command, MAILBOX_COMMANDS, Watch, drive};
use crate::drive::system::SystemTopics;
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
    began: Instant,
    metrics: Arc<Metrics>,
    sys_topics: SysTopics,
}

impl Realms {
    pub(crate) fn new(policies: TenantPolicies, sys_topics: SysTopics, began: Instant, metrics: Arc<Metrics>) -> Self {
        Self { tenants: DashMap::new(), policies, began, metrics, sys_topics }
    }

    /// The namespace's tenant, its realm begun where this is its first connection.
    pub(crate) fn of(&self, namespace: &Namespace) -> Tenant {
        if let Some(tenant) = self.tenants.get(namespace).filter(|tenant| !tenant.mailbox.is_closed()) {
            return tenant.clone();
        }
        let mut entry = self.tenants.entry(namespace.clone()).or_insert_with(|| self.begin(namespace));
        if entry.mailbox.is_closed() {
            tracing::error!(%namespace, "the realm ended by a fault of the broker; its sessions are lost, it begins anew");
            *entry = self.begin(namespace);
        }
        entry.clone()
    }

    fn begin(&self, namespace: &Namespace) -> Tenant {
        let policy = self.policies.of(namespace);
        let (mailbox, commands) = mpsc::channel(MAILBOX_COMMANDS);
        let realm = Realm::new(policy.limits.clone());
        let metrics = self.metrics.realm(namespace);
        let system = SystemTopics::new(self.sys_topics, self.metrics.node().into(), Arc::clone(&metrics), self.began);
        let log = RealmLog::new(namespace.clone());
        tokio::spawn(drive(realm, commands, self.began, Watch { metrics, system, log }));
        let traffic = Traffic::new(&policy.rates, Instant::now()).map(|traffic| Arc::new(Mutex::new(traffic)));
        Tenant { mailbox, traffic }
    }
}
