//! What the broker counts, for the operator and, each its own, for tenants under `$SYS`.
//!
//! Counters stand next to what they count; here is where they are gathered. Labels are listeners, bundles, plugins and
//! namespaces, which the operator named, and words of fixed sets. Nothing that a client may choose is ever one: no client
//! identifier, topic or server name, so that the number of series is bounded by the configuration.

mod families;
mod listener;
mod process;
mod realm;
mod refusals;
mod reloads;
mod stapling;
mod traffic;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use dashmap::DashMap;
use postern_identity::Namespace;

use crate::door::Door;

pub use families::{Family, Kind, Sample, Value};
pub(crate) use listener::{ListenerMetrics, tls_word};
pub(crate) use realm::RealmMetrics;
pub(crate) use reloads::{Reloaded, Reloads};
pub(crate) use traffic::{FlowFigures, TYPES as PACKET_TYPES, Tally};

/// Version of the broker.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// All figures of a running broker. Reading them waits for nobody and keeps nobody waiting.
pub struct Metrics {
    node: String,
    began: Instant,
    started: SystemTime,
    doors: Vec<Arc<Door>>,
    reloads: Reloads,
    /// Bounded by the namespaces that the operator attached to listeners.
    realms: DashMap<Namespace, Arc<RealmMetrics>>,
}

impl Metrics {
    pub(crate) fn new(node: String, began: Instant, doors: Vec<Arc<Door>>) -> Self {
        let metrics = Self {
            node,
            began,
            started: SystemTime::now(),
            doors,
            reloads: Reloads::default(),
            realms: DashMap::new(),
        };
        // What has not happened yet is 0, and not absent.
        metrics.realm(&Namespace::Global);
        for policy in metrics.doors.iter().map(|door| door.policy()) {
            for name in &policy.namespaces {
                metrics.realm(&Namespace::Tenant(name.clone()));
            }
        }
        metrics
    }

    /// The name of this node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The listeners.
    pub(crate) fn doors(&self) -> &[Arc<Door>] {
        &self.doors
    }

    /// How often something was changed.
    pub(crate) fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// The figures of one namespace.
    pub(crate) fn realm(&self, namespace: &Namespace) -> Arc<RealmMetrics> {
        if let Some(known) = self.realms.get(namespace) {
            return Arc::clone(&known);
        }
        Arc::clone(&self.realms.entry(namespace.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and kinds are what dashboards and alerts are made of: a change here breaks somebody's.
    #[test]
    fn the_names_of_metrics_are_those_that_were_promised() {
        let metrics = Metrics::new("n".to_owned(), Instant::now(), Vec::new());
        let families = metrics.families();
        let names: Vec<String> =
            families.iter().map(|family| format!("{} {}", family.name, word(family.kind))).collect();
        let promised: Vec<&str> = include_str!("names.txt").lines().collect();
        assert_eq!(names, promised);
        for family in &families {
            assert!(family.help.ends_with('.'), "{}", family.name);
            let is_total = family.name.ends_with("_total");
            assert_eq!(is_total, family.kind == Kind::Counter, "{}", family.name);
        }
    }

    fn word(kind: Kind) -> &'static str {
        match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}
