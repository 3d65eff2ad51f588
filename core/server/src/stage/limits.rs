//! The limits of the configuration in the words of the rooms that hold them.

use std::time::Duration;

use postern_config::{Config, Mqtt, MultiTenancy, Retainer, TenantLimits};
use postern_identity::Namespace;
use postern_mqtt::Limits;
use postern_mqtt::packet::QoS;
use postern_realm::RealmLimits;

use crate::tenants::{TenantPolicies, TenantPolicy};

/// Of each connection.
pub(super) fn of_link(mqtt: &Mqtt) -> Limits {
    Limits {
        connect_packet_bytes: mqtt.max_connect_packet_size,
        packet_bytes: mqtt.max_packet_size,
        topic_alias_maximum: mqtt.max_topic_alias,
        client_id_bytes: mqtt.max_clientid_len,
        topic_bytes: mqtt.max_topic_len,
        topic_levels: mqtt.max_topic_levels,
        user_properties: mqtt.max_user_properties,
        user_property_bytes: mqtt.max_user_properties_size,
        filters: mqtt.max_subscribe_filters,
        server_keep_alive_s: mqtt.server_keepalive,
        keep_alive_max_s: mqtt.max_keepalive,
        keep_alive_default_s: mqtt.default_keepalive,
        keep_alive_percent: mqtt.keepalive_multiplier.percent(),
        ..Limits::default()
    }
}

/// Of all tenants.
pub(crate) fn of_tenants(config: &Config) -> TenantPolicies {
    let policy = |tenant: &TenantLimits| TenantPolicy {
        limits: of_realm(&config.mqtt, &config.retainer, tenant),
        rates: tenant.rates,
    };
    let MultiTenancy { default, namespaces } = &config.multi_tenancy;
    let named = namespaces.iter().map(|(name, tenant)| (Namespace::Tenant(name.clone()), policy(tenant)));
    TenantPolicies { default: policy(default), named: named.collect() }
}

/// Of one tenant.
fn of_realm(mqtt: &Mqtt, retainer: &Retainer, tenant: &TenantLimits) -> RealmLimits {
    RealmLimits {
        sessions: tenant.max_sessions,
        connections: tenant.max_connections,
        connections_per_owner: tenant.max_connections_per_identity,
        subscriptions: tenant.max_subscriptions,
        queue_bytes_total: tenant.max_mqueue_size,
        subscriptions_per_client: mqtt.max_subscriptions,
        queue_messages: mqtt.max_mqueue_len,
        queue_bytes: mqtt.max_mqueue_size,
        inflight_out: mqtt.max_inflight,
        receive_maximum: mqtt.max_awaiting_rel,
        // Who cannot be told gets no less than who can.
        receive_maximum_untold: mqtt.max_awaiting_rel.max(RealmLimits::default().receive_maximum_untold),
        retained_messages: tenant.max_retained_messages,
        retained_bytes: tenant.max_retained_size,
        retained_payload_bytes: retainer.max_payload_size,
        retained_expiry_s: retainer.msg_expiry_interval.map(seconds),
        message_expiry_s: mqtt.message_expiry_interval.map(seconds),
        release_wait_s: mqtt.await_rel_timeout.map(seconds),
        maximum_qos: match mqtt.max_qos_allowed {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        },
        retain_available: mqtt.retain_available && retainer.enable,
        wildcard_subscription: mqtt.wildcard_subscription,
        shared_subscription: mqtt.shared_subscription,
        no_local_untold: mqtt.ignore_loop_deliver,
        upgrade_qos: mqtt.upgrade_qos,
        queue_qos_0: mqtt.mqueue_store_qos0,
        response_information: mqtt.response_information.as_deref().map(Into::into),
        session_expiry_default_s: seconds(mqtt.session_expiry_interval),
        session_expiry_max_s: seconds(mqtt.max_session_expiry_interval),
    }
}

fn seconds(interval: Duration) -> u32 {
    u32::try_from(interval.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> TenantLimits {
        MultiTenancy::default().default
    }

    #[test]
    fn a_configuration_that_says_nothing_has_the_defaults_of_the_rooms() {
        assert_eq!(of_link(&Mqtt::default()), Limits::default());
        assert_eq!(of_realm(&Mqtt::default(), &Retainer::default(), &tenant()), RealmLimits::default());
    }

    #[test]
    fn a_retainer_that_is_off_is_no_retained_messages_for_clients() {
        let off = Retainer { enable: false, ..Retainer::default() };
        assert!(!of_realm(&Mqtt::default(), &off, &tenant()).retain_available);
        let mqtt = Mqtt { retain_available: false, ..Mqtt::default() };
        assert!(!of_realm(&mqtt, &Retainer::default(), &tenant()).retain_available);
    }
}
