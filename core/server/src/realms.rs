//! The realm of each namespace. A tenant's topics, client identifiers, sessions, retained messages and
//! shared groups live in its realm and have no meaning outside it.

use std::sync::Arc;
use std::time::Instant;

use dashmap::DashMap;
use postern_config::SysTopics;
use postern_identity::Namespace;
use postern_realm::{Realm, RealmLimits};
use tokio::sync::mpsc;

use crate::drive::realm::{Command, MAILBOX_COMMANDS, Watch, drive};
use crate::drive::system::SystemTopics;
use crate::metrics::Metrics;
use crate::report::RealmLog;

/// The way to a realm.
pub(crate) type Mailbox = mpsc::Sender<Command>;

/// All realms of the process. Bounded by the namespaces that the operator attached to listeners.
pub(crate) struct Realms {
    mailboxes: DashMap<Namespace, Mailbox>,
    limits: RealmLimits,
    began: Instant,
    metrics: Arc<Metrics>,
    sys_topics: SysTopics,
}

impl Realms {
    pub(crate) fn new(limits: RealmLimits, sys_topics: SysTopics, began: Instant, metrics: Arc<Metrics>) -> Self {
        Self { mailboxes: DashMap::new(), limits, began, metrics, sys_topics }
    }

    /// The namespace's realm, begun where this is its first connection.
    pub(crate) fn of(&self, namespace: &Namespace) -> Mailbox {
        if let Some(mailbox) = self.mailboxes.get(namespace).filter(|mailbox| !mailbox.is_closed()) {
            return mailbox.clone();
        }
        let mut entry = self.mailboxes.entry(namespace.clone()).or_insert_with(|| self.begin(namespace));
        if entry.is_closed() {
            tracing::error!(%namespace, "the realm ended by a fault of the broker; its sessions are lost, it begins anew");
            *entry = self.begin(namespace);
        }
        entry.clone()
    }

    fn begin(&self, namespace: &Namespace) -> Mailbox {
        let (mailbox, commands) = mpsc::channel(MAILBOX_COMMANDS);
        let realm = Realm::new(self.limits.clone());
        let metrics = self.metrics.realm(namespace);
        let system = SystemTopics::new(self.sys_topics, self.metrics.node().into(), Arc::clone(&metrics), self.began);
        let log = RealmLog::new(namespace.clone());
        tokio::spawn(drive(realm, commands, self.began, Watch { metrics, system, log }));
        mailbox
    }
}
