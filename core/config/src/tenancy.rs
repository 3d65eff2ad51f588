//! `multi_tenancy`: how much a tenant may hold and publish.

use std::collections::BTreeMap;

use postern_identity::names::NamespaceName;

use crate::mqtt::Retainer;
use crate::transport::PublishRates;

/// `multi_tenancy`. Keys are ours but for `default_max_sessions` and `allow_only_managed_namespaces`: EMQX sets the limits
/// of a namespace over HTTP alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultiTenancy {
    /// `default`: of each tenant that is not named, and of those who belong to none (the global namespace).
    pub default: TenantLimits,
    /// `namespaces.NAME`: what a tenant does not say of itself is as in `default`.
    pub namespaces: BTreeMap<NamespaceName, TenantLimits>,
}

/// Limits of one tenant. What goes beyond is refused or lost there, and changes nothing for another tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantLimits {
    /// Sessions, connected or not; one more CONNECT gets 0x97.
    pub max_sessions: usize,
    /// Connections; one more CONNECT gets 0x97.
    pub max_connections: usize,
    /// Connections of one identity, where clients show or prove one; one more CONNECT gets 0x97.
    pub max_connections_per_identity: usize,
    /// Subscriptions of all its clients; one more gets 0x97.
    pub max_subscriptions: usize,
    /// Retained messages; one more is not retained, and gets 0x97 where that can be said.
    pub max_retained_messages: usize,
    /// Bytes of all retained messages; as above.
    pub max_retained_size: usize,
    /// Bytes of the messages that wait for its clients, all together; more cost a client the oldest of its own.
    pub max_mqueue_size: usize,
    /// What all its clients together may publish in a time.
    pub rates: PublishRates,
}

impl TenantLimits {
    /// Where nothing is written. Wide enough for a tenant alone on a machine, and finite; fewer connections for one
    /// identity are for the operator to set, who knows whether a name is one device or a whole fleet.
    pub(crate) fn new(retainer: &Retainer) -> Self {
        Self {
            max_sessions: 100_000,
            max_connections: 100_000,
            max_connections_per_identity: 100_000,
            max_subscriptions: 1_000_000,
            max_retained_messages: retainer.max_retained_messages,
            max_retained_size: retainer.max_retained_size,
            max_mqueue_size: 512 << 20,
            rates: PublishRates::default(),
        }
    }
}

impl Default for MultiTenancy {
    fn default() -> Self {
        Self { default: TenantLimits::new(&Retainer::default()), namespaces: BTreeMap::new() }
    }
}
