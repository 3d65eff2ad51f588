//! What one namespace counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use postern_realm::Stats;

use crate::drive::allowance::Delays;

use super::refusals::Refusals;
use super::traffic::Flow;

/// Packets of its clients, and what its realm held at the end of its last turn.
#[derive(Debug, Default)]
pub(crate) struct RealmMetrics {
    pub(crate) received: Flow,
    pub(crate) sent: Flow,
    /// Requests refused by the realm, by what was asked for and why.
    pub(crate) refused: Refusals,
    /// How often publishers were made to wait.
    pub(crate) delays: Delays,
    closed_as_slow: AtomicU64,
    /// Written once a turn and read by who looks: nobody waits for it longer than a copy takes.
    stats: Mutex<Stats>,
}

impl RealmMetrics {
    /// A connection was closed, since its client does not take what is sent to it.
    pub(crate) fn closed_as_slow(&self) {
        self.closed_as_slow.fetch_add(1, Relaxed);
    }

    pub(crate) fn closed_as_slow_total(&self) -> u64 {
        self.closed_as_slow.load(Relaxed)
    }

    pub(crate) fn set(&self, stats: Stats) {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }

    pub(crate) fn stats(&self) -> Stats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Messages that did not reach a subscriber, whatever the reason.
    pub(crate) fn dropped_total(&self) -> u64 {
        self.dropped().iter().map(|(_, count)| count).sum()
    }

    /// How often each limit of the tenant was reached: requests that it refused, and waits of publishers.
    pub(crate) fn limits_reached(&self) -> [(&'static str, u64); 6] {
        let exhausted = self.stats().exhausted;
        [
            ("connections", exhausted.connections),
            ("connections_per_identity", exhausted.connections_of_owner),
            ("sessions", exhausted.sessions),
            ("subscriptions", exhausted.subscriptions),
            ("publish_rate_of_client", self.delays.own.load(Relaxed)),
            ("publish_rate_of_tenant", self.delays.of_tenant.load(Relaxed)),
        ]
    }

    /// By reason.
    pub(crate) fn dropped(&self) -> [(&'static str, u64); 8] {
        let dropped = self.stats().dropped;
        [
            ("expired", dropped.expired),
            ("not_authorized", dropped.not_authorized),
            ("offline", dropped.offline),
            ("queue_full", dropped.queue_full),
            ("reserved_topic", dropped.reserved_topic),
            ("retained_full", dropped.retained_full),
            ("slow_consumer", dropped.slow_consumer),
            ("too_large", dropped.too_large),
        ]
    }
}
