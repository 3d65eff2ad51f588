//! What each tenant may hold and publish.

use std::collections::HashMap;

use postern_config::PublishRates;
use postern_identity::Namespace;
use postern_realm::RealmLimits;

/// One tenant's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantPolicy {
    /// Of its realm.
    pub limits: RealmLimits,
    /// Shared by its clients.
    pub rates: PublishRates,
}

/// The limits of all tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantPolicies {
    /// Of those that are not named, and of the global namespace.
    pub default: TenantPolicy,
    /// Of the others.
    pub named: HashMap<Namespace, TenantPolicy>,
}

impl TenantPolicies {
    /// A tenant's.
    pub fn of(&self, namespace: &Namespace) -> &TenantPolicy {
        self.named.get(namespace).unwrap_or(&self.default)
    }
}
