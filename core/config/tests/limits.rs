//! Limits: `mqtt` and `retainer`, each key at its bounds and beyond.

mod support;

use std::num::NonZeroU16;
use std::time::Duration;

use postern_config::{DurableSessions, Mqtt, MultiTenancy, Rate, Retainer, RetainerStorage};
use support::{bad, good, lines};

const LISTENER: &str = "listeners.tcp.a.bind = 1";

fn mqtt(text: &str) -> Mqtt {
    good(&format!("{LISTENER}\nmqtt {{ {text} }}")).config.mqtt
}

fn retainer(text: &str) -> Retainer {
    good(&format!("{LISTENER}\nretainer {{ {text} }}")).config.retainer
}

#[test]
fn what_is_kept_on_disk_can_be_chosen() {
    let durable = |text: &str| good(&format!("{LISTENER}\ndurable_sessions {{ {text} }}")).config.durable_sessions;
    assert_eq!(good(LISTENER).config.durable_sessions, DurableSessions { enable: true, fsync: false });
    assert_eq!(durable("enable = false"), DurableSessions { enable: false, fsync: false });
    assert_eq!(durable("fsync = true"), DurableSessions { enable: true, fsync: true });
    assert_eq!(retainer("backend.storage_type = ram").storage, RetainerStorage::Ram);
    assert_eq!(retainer("backend.storage_type = disc").storage, RetainerStorage::Disc);
    for wrong in ["durable_sessions.fsync = 1", "retainer.backend.storage_type = disk"] {
        let said = lines(&bad(&format!("{LISTENER}\n{wrong}")));
        assert!(said.contains(wrong.split(' ').next().unwrap()), "{said}");
    }
}

/// Values that are taken, and values that are not.
#[track_caller]
fn bounds(section: &str, key: &str, taken: &[&str], refused: &[&str]) {
    for value in taken {
        good(&format!("{LISTENER}\n{section}.{key} = {value}"));
    }
    for value in refused {
        let said = lines(&bad(&format!("{LISTENER}\n{section}.{key} = {value}")));
        assert!(said.contains(&format!("{section}.{key}: ")) && said.lines().count() == 1, "{value}: {said}");
    }
}

#[test]
fn what_is_not_written_has_its_default() {
    assert_eq!(mqtt(""), Mqtt::default());
    assert_eq!(retainer(""), Retainer::default());
    assert_eq!(good(LISTENER).config.mqtt, Mqtt::default());
}

#[test]
fn every_number_has_bounds() {
    for (key, taken, refused) in [
        ("max_packet_size", ["64", "256MB"], ["63", "257MB"]),
        ("max_connect_packet_size", ["256", "256MB"], ["255", "257MB"]),
        ("max_clientid_len", ["23", "65535"], ["22", "65536"]),
        ("max_topic_len", ["1", "65535"], ["0", "65536"]),
        ("max_topic_levels", ["1", "128"], ["0", "129"]),
        ("max_topic_alias", ["0", "65535"], ["-1", "65536"]),
        ("max_user_properties", ["0", "10000"], ["-1", "10001"]),
        ("max_user_properties_size", ["0", "1MB"], ["-1", "257MB"]),
        ("max_subscribe_filters", ["1", "100000"], ["0", "100001"]),
        ("max_qos_allowed", ["0", "2"], ["-1", "3"]),
        ("idle_timeout", ["1s", "2m"], ["999ms", "121s"]),
        ("server_keepalive", ["1", "disabled"], ["0", "65536"]),
        ("max_keepalive", ["0", "65535"], ["-1", "65536"]),
        ("default_keepalive", ["0", "65535"], ["-1", "65536"]),
        ("keepalive_multiplier", ["1.5", "10"], ["1.49", "10.01"]),
        ("max_subscriptions", ["1", "infinity"], ["0", "1000001"]),
        ("max_inflight", ["1", "1024"], ["0", "1025"]),
        ("max_awaiting_rel", ["1", "infinity"], ["0", "65536"]),
        ("await_rel_timeout", ["1s", "infinity"], ["999ms", "7102w"]),
        ("session_expiry_interval", ["0s", "infinity"], ["-1s", "7102w"]),
        ("max_session_expiry_interval", ["0s", "infinity"], ["-1s", "7102w"]),
        ("message_expiry_interval", ["1s", "infinity"], ["0s", "7102w"]),
        ("max_mqueue_len", ["0", "1000000"], ["-1", "1000001"]),
        ("max_mqueue_size", ["1KB", "4GB"], ["1023", "5GB"]),
    ] {
        bounds("mqtt", key, &taken, &refused);
    }
    for (key, taken, refused) in [
        ("max_payload_size", ["1", "255MB"], ["0", "256MB"]),
        ("msg_expiry_interval", ["0s", "1h"], ["-1s", "7102w"]),
        ("backend.max_retained_messages", ["1", "100000000"], ["0", "100000001"]),
        ("backend.max_retained_size", ["1KB", "1024GB"], ["1023", "1025GB"]),
    ] {
        bounds("retainer", key, &taken, &refused);
    }
}

#[test]
fn what_is_written_is_what_holds() {
    let read = mqtt(
        "server_keepalive = 30, keepalive_multiplier = 2.25, max_awaiting_rel = 7, max_qos_allowed = 1\n\
                     retain_available = false, wildcard_subscription = false, shared_subscription = false\n\
                     ignore_loop_deliver = true, upgrade_qos = true, use_username_as_clientid = true\n\
                     mqueue_store_qos0 = true, response_information = \"answers/\", message_expiry_interval = 1d\n\
                     await_rel_timeout = 300s, idle_timeout = 15s, max_subscriptions = infinity",
    );
    assert_eq!((read.server_keepalive, read.keepalive_multiplier.percent()), (NonZeroU16::new(30), 225));
    assert_eq!((read.max_awaiting_rel.get(), read.max_qos_allowed), (7, 1));
    assert!(!read.retain_available && !read.wildcard_subscription && !read.shared_subscription);
    assert!(read.ignore_loop_deliver && read.upgrade_qos && read.use_username_as_clientid && read.mqueue_store_qos0);
    assert_eq!(read.response_information.as_deref(), Some("answers/"));
    assert_eq!(read.message_expiry_interval, Some(Duration::from_hours(24)));
    assert_eq!((read.await_rel_timeout, read.idle_timeout), (Some(Duration::from_mins(5)), Duration::from_secs(15)));
    assert_eq!(read.max_subscriptions, 1_000_000, "the tenant's bound remains");
    assert_eq!(mqtt("response_information = \"\"").response_information, None);

    let read = retainer(
        "enable = false, msg_expiry_interval = 1h, max_payload_size = 1KB\n\
                         backend { type = built_in_database, storage_type = ram, max_retained_messages = 5 }",
    );
    assert_eq!((read.enable, read.max_payload_size, read.max_retained_messages), (false, 1024, 5));
    assert_eq!(read.msg_expiry_interval, Some(Duration::from_hours(1)));
    assert_eq!(retainer("msg_expiry_interval = 0s").msg_expiry_interval, None, "as in EMQX");
}

#[test]
fn a_multiplier_below_the_promise_of_the_standard_is_refused_with_the_reason() {
    let said = lines(&bad(&format!("{LISTENER}\nmqtt.keepalive_multiplier = 1")));
    assert_eq!(
        said,
        "etc/postern.conf:2:29: mqtt.keepalive_multiplier: `1` is not from 1.5 to 10; clients are promised 1.5 \
         (MQTT-3.1.2-22); less would cut off some that keep to their keep alive\n"
    );
    for text in ["x", "\"\"", "1.", ".5", "1.505", "1e1", "-2"] {
        bounds("mqtt", "keepalive_multiplier", &[], &[text]);
    }
}

/// Every key of EMQX's `mqtt` section is one that works or one that is answered.
#[test]
fn the_mqtt_section_of_emqx_with_what_postern_does_anyway() {
    let loaded = good(&format!(
        "{LISTENER}\nmqtt {{ idle_timeout = 15s, max_packet_size = 1MB, max_clientid_len = 65535, max_topic_levels = 128\n\
         max_qos_allowed = 2, max_topic_alias = 65535, retain_available = true, wildcard_subscription = true\n\
         shared_subscription = true, shared_subscription_strategy = round_robin_per_group\n\
         exclusive_subscription = false, ignore_loop_deliver = false, strict_mode = true, response_information = \"\"\n\
         server_keepalive = disabled, keepalive_multiplier = 1.5, retry_interval = infinity, upgrade_qos = false\n\
         use_username_as_clientid = false, peer_cert_as_username = disabled, peer_cert_as_clientid = disabled\n\
         client_attrs_init = [], clientid_override = disabled, max_subscriptions = infinity, max_inflight = 32\n\
         max_awaiting_rel = 100, await_rel_timeout = 300s, session_expiry_interval = 2h\n\
         message_expiry_interval = infinity, max_mqueue_len = 1000, mqueue_priorities = disabled\n\
         mqueue_store_qos0 = true, namespace_as_mountpoint = false }}"
    ));
    assert_eq!(loaded.warnings.len(), 1, "the open listener:\n{}", lines(&loaded.warnings));
    let loaded =
        good(&format!("{LISTENER}\nmqtt {{ keepalive_check_interval = 30s, mqueue_default_priority = lowest }}"));
    assert_eq!(lines(&loaded.warnings).matches("accepted, but without effect: ").count(), 2);
}

#[test]
fn rates_are_of_messages_and_of_bytes_with_what_goes_beyond() {
    let rates =
        |text: &str| good(&format!("listeners.tcp.a {{ bind = 1, {text} }}")).config.listeners.remove(0).publish_rates;
    let second = Duration::from_secs(1);
    let read = rates(
        "messages_rate = \"1000/s\", messages_burst = \"10000/60m\", bytes_rate = \"1MB/s\", bytes_burst = \"100MB/60m\"",
    );
    assert_eq!(read.messages_rate, Some(Rate { count: 1000, per: second }));
    assert_eq!(read.messages_burst, Some(Rate { count: 10_000, per: Duration::from_hours(1) }));
    assert_eq!(read.bytes_rate, Some(Rate { count: 1 << 20, per: second }));
    assert_eq!(read.bytes_burst, Some(Rate { count: 100 << 20, per: Duration::from_hours(1) }));
    for text in
        ["", "messages_rate = infinity, messages_burst = infinity, bytes_rate = infinity, bytes_burst = infinity"]
    {
        assert!(!rates(text).is_limited(), "{text}");
    }
    for (key, value, hint) in [
        ("messages_rate", "1MB/s", "write `1000/s` or `50/10s`"),
        ("messages_rate", "0/s", "write `1000/s` or `50/10s`"),
        ("bytes_rate", "4GB/s", "write `1MB/s` or `64KB/10s`"),
        ("bytes_rate", "1XB/s", "write `1MB/s` or `64KB/10s`"),
        ("bytes_burst", "1MB/2d", "write `1MB/s` or `64KB/10s`"),
    ] {
        let said = lines(&bad(&format!("listeners.tcp.a {{ bind = 1, {key} = \"{value}\" }}")));
        assert!(said.contains(&format!("listeners.tcp.a.{key}: `{value}` is no rate; {hint}")), "{said}");
    }
    let loaded = good("listeners.tcp.a { bind = 1, bytes_burst = \"1MB/s\" }");
    assert!(lines(&loaded.warnings).contains("listeners.tcp.a.bytes_burst: has no effect without `bytes_rate`"));
}

/// A listener that has the namespaces `acme` and `globex`.
const TENANTS: &str = "listeners.ssl.a { bind = 1, namespaces = [acme, globex]\n\
                       ssl_options.managed_certs { bundle_name = x } }";

#[test]
fn a_tenant_has_the_limits_of_default_but_for_its_own() {
    let tenancy = |text: &str| good(&format!("{TENANTS}\n{text}")).config.multi_tenancy;
    assert_eq!(tenancy(""), MultiTenancy::default());
    let read = tenancy(
        "retainer.backend.max_retained_messages = 9\n\
         multi_tenancy {\n\
         default { max_connections = 50, max_retained_size = 1MB, messages_rate = \"100/s\", messages_burst = \"1000/m\" }\n\
         namespaces.acme { max_sessions = 7, max_connections_per_identity = 2, messages_rate = \"5/s\", bytes_rate = \"1KB/s\" }\n\
         }",
    );
    let default = read.default;
    assert_eq!((default.max_connections, default.max_sessions, default.max_retained_messages), (50, 100_000, 9));
    assert_eq!((default.max_retained_size, default.rates.messages_rate.map(|rate| rate.count)), (1 << 20, Some(100)));
    let (name, acme) = read.namespaces.first_key_value().unwrap();
    assert_eq!((name.as_ref(), read.namespaces.len()), ("acme", 1));
    assert_eq!((acme.max_connections, acme.max_sessions, acme.max_connections_per_identity), (50, 7, 2));
    assert_eq!((acme.rates.messages_rate.map(|rate| rate.count), acme.rates.messages_burst), (Some(5), None));
    assert!(acme.rates.bytes_rate.is_some() && default.rates.bytes_rate.is_none());
    assert_eq!(tenancy("multi_tenancy.default_max_sessions = 12").default.max_sessions, 12);
    assert_eq!(tenancy("multi_tenancy.default_max_sessions = infinity").default.max_sessions, 100_000);
    assert_eq!(tenancy("multi_tenancy.allow_only_managed_namespaces = true"), MultiTenancy::default());
}

#[test]
fn limits_of_tenants_have_bounds_and_names_that_exist() {
    for key in [
        "max_sessions",
        "max_connections",
        "max_connections_per_identity",
        "max_subscriptions",
        "max_retained_messages",
    ] {
        bounds("multi_tenancy.default", key, &["1", "100000000"], &["0", "100000001"]);
    }
    for key in ["max_retained_size", "max_mqueue_size"] {
        bounds("multi_tenancy.default", key, &["1KB", "1024GB"], &["1023", "1025GB"]);
    }
    bounds("multi_tenancy", "default_max_sessions", &["1", "infinity"], &["0", "100000001"]);
    for (text, said) in [
        (
            "multi_tenancy { default_max_sessions = 5, default.max_sessions = 6 }",
            "multi_tenancy.default.max_sessions: is the same as `default_max_sessions`, which is there too; remove one of them",
        ),
        ("multi_tenancy.namespaces.\"a/b\" { }", "multi_tenancy.namespaces.\"a/b\": is no name of a namespace"),
        ("multi_tenancy.namespaces.acme.limiter { }", "known in EMQX, not supported yet by this version of Postern"),
        ("multi_tenancy.default.max_session = 5", "unknown key; did you mean `max_sessions`?"),
        ("multi_tenancy.allow_only_managed_namespaces = false", "only `true` is what Postern does anyway"),
    ] {
        let problems = lines(&bad(&format!("{TENANTS}\n{text}")));
        assert!(problems.contains(said) && problems.lines().count() == 1, "{problems}");
    }
    let warned = |name: &str| lines(&good(&format!("{TENANTS}\nmulti_tenancy.namespaces.{name} {{ }}")).warnings);
    assert!(
        warned("acmee")
            .contains("multi_tenancy.namespaces.acmee: no listener has this namespace; did you mean `acme`?")
    );
    assert!(!warned("acme").contains("no listener has this namespace"));
}
