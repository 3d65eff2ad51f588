//! K: limits that the operator sets, and how a client is told of them.

use std::time::{Duration, Instant};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::{Broker, Setup};
use postern_tests::raw::{self, RawClient};
use postern_tests::tls::{self, TlsStream};
use postern_tests::wire::{self, Connect, V3_1_1, V5, Will, kind};

use crate::fixture::{Certificates, entry, listener, name, namespace_lookup};

/// CONNACK properties.
mod property {
    pub(super) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(super) const RESPONSE_INFORMATION: u8 = 0x1A;
    pub(super) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(super) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(super) const MAXIMUM_QOS: u8 = 0x24;
    pub(super) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(super) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub(super) const WILDCARD_AVAILABLE: u8 = 0x28;
    pub(super) const SHARED_AVAILABLE: u8 = 0x2A;
    /// Of CONNECT.
    pub(super) const REQUEST_RESPONSE_INFORMATION: [u8; 2] = [0x19, 1];
}

fn willing(id: &str, qos: u8, retain: bool) -> Connect {
    let will = Will { topic: b"w".to_vec(), payload: b"x".to_vec(), qos, retain };
    Connect { will: Some(will), ..Connect::new(V5, id) }
}

/// v5: MQTT-3.1.2-28, MQTT-3.2.2-9, MQTT-3.2.2-22
#[test]
fn what_the_operator_sets_is_told_in_connack() {
    let broker = Setup::new(
        "mqtt { max_packet_size = 10KB, max_topic_alias = 3, max_awaiting_rel = 5, server_keepalive = 45\n\
         max_qos_allowed = 1, retain_available = false, wildcard_subscription = false, shared_subscription = false\n\
         response_information = \"answers/\" }",
    )
    .start();
    let connack = raw::dial(broker.control())
        .enter(&Connect::new(V5, "asking").property(&property::REQUEST_RESPONSE_INFORMATION));
    for (id, value) in [
        (property::MAXIMUM_PACKET_SIZE, &[0, 0, 0x28, 0][..]),
        (property::TOPIC_ALIAS_MAXIMUM, &[0, 3]),
        (property::RECEIVE_MAXIMUM, &[0, 5]),
        (property::SERVER_KEEP_ALIVE, &[0, 45]),
        (property::MAXIMUM_QOS, &[1]),
        (property::RETAIN_AVAILABLE, &[0]),
        (property::WILDCARD_AVAILABLE, &[0]),
        (property::SHARED_AVAILABLE, &[0]),
        (property::RESPONSE_INFORMATION, b"answers/"),
    ] {
        assert_eq!(connack.connack_property(id).as_deref(), Some(value), "{id:#04x}");
    }
    let connack = raw::dial(broker.control()).enter(&Connect::new(V5, "silent"));
    assert_eq!(connack.connack_property(property::RESPONSE_INFORMATION), None);
    assert_alive(&broker);
}

/// v5: MQTT-3.2.2-10, MQTT-3.2.2-12, MQTT-3.2.2-13
#[test]
fn what_is_not_offered_is_refused_with_its_code() {
    let broker = Setup::new(
        "mqtt { max_qos_allowed = 1, retain_available = false, wildcard_subscription = false\n\
         shared_subscription = false }",
    )
    .start();
    for (qos, retain, code) in [(2, false, 0x9B), (0, true, 0x9A)] {
        assert_eq!(raw::dial(broker.control()).refused(&willing("will", qos, retain)), code);
    }
    raw::enter(broker.control(), &willing("will", 1, false)).leave();
    for (packet, code) in [(wire::publish(V5, "t", 2, 7, "x"), 0x9B), (wire::retain(V5, "t", 0, 0, "x"), 0x9A)] {
        let mut client = raw::enter(broker.control(), &Connect::new(V5, "publisher"));
        client.send(&wire::publish(V5, "t", 1, 6, "x"));
        client.expect(kind::PUBACK);
        assert_eq!(client.send(&packet).closed().disconnect(), Some(code));
    }
    for (version, codes) in [(V5, [1, 0xA2, 0xA2, 0x9E]), (V3_1_1, [1, 0x80, 0x80, 0x80])] {
        let mut client = raw::enter(broker.control(), &Connect::new(version, "subscriber"));
        for (filter, code) in ["t", "t/+", "t/#", "$share/g/t"].into_iter().zip(codes) {
            let suback = client.send(&wire::subscribe(version, 3, filter, 2)).expect(kind::SUBACK);
            assert_eq!(suback.body.last(), Some(&code), "{filter}");
        }
        client.leave();
    }
    assert_alive(&broker);
}

#[test]
fn limits_of_one_packet_hold_at_the_limit_and_not_beyond() {
    let broker = Setup::new(
        "mqtt { max_clientid_len = 30, max_topic_len = 20, max_topic_levels = 4, max_user_properties = 1\n\
         max_subscribe_filters = 2, max_subscriptions = 2 }",
    )
    .start();
    raw::enter(broker.control(), &Connect::new(V5, "c".repeat(30))).leave();
    assert_eq!(raw::dial(broker.control()).refused(&Connect::new(V5, "c".repeat(31))), 0x85);
    assert_eq!(raw::dial(broker.control()).refused(&Connect::new(V3_1_1, "c".repeat(31))), 2);

    let pair = [&[0x26][..], &wire::text("n"), &wire::text("v")].concat();
    let filters = |count: usize| {
        let filters = [wire::text("f"), vec![0]].concat().repeat(count);
        wire::packet(0x82, &[&[0, 1, 0][..], &filters].concat())
    };
    for (good, bad, code) in [
        (wire::publish(V5, "t".repeat(20), 0, 0, ""), wire::publish(V5, "t".repeat(21), 0, 0, ""), 0x90),
        (wire::publish(V5, "a/b/c/d", 0, 0, ""), wire::publish(V5, "a/b/c/d/e", 0, 0, ""), 0x90),
        (wire::publish_with(V5, 0, "t", 0, &pair, ""), wire::publish_with(V5, 0, "t", 0, &pair.repeat(2), ""), 0x97),
        (filters(2), filters(3), 0x97),
    ] {
        let mut client = raw::enter(broker.control(), &Connect::new(V5, "packets"));
        client.send(&good).publish("fence", "x");
        assert_eq!(client.send(&bad).closed().disconnect(), Some(code));
    }
    let mut client = raw::enter(broker.control(), &Connect::new(V5, "subscriptions"));
    for (filter, code) in [("a", 0), ("b", 0), ("c", 0x97), ("a/b/c/d/e", 0x8F), ("b", 0)] {
        let suback = client.send(&wire::subscribe(V5, 3, filter, 0)).expect(kind::SUBACK);
        assert_eq!(suback.body.last(), Some(&code), "{filter}");
    }
    assert_alive(&broker);
}

#[test]
fn the_user_name_becomes_the_client_identifier_where_that_is_asked_for() {
    let broker = Setup::new("mqtt.use_username_as_clientid = true").start();
    let named = |id: &str| Connect::new(V5, id).username("device-1");
    let mut first = raw::enter(broker.control(), &named("one"));
    let connack = raw::dial(broker.control()).enter(&named(""));
    assert_eq!(connack.connack_property(0x12).as_deref(), Some(&b"device-1"[..]), "told to who named itself not");
    assert_eq!(first.closed().disconnect(), Some(0x8E), "it is the same client");
    raw::enter(broker.control(), &Connect::new(V5, "without")).leave();
    assert_eq!(raw::dial(broker.control()).refused(&Connect::new(V5, "x").username(&"u".repeat(257))), 0x85);
    assert_alive(&broker);
}

#[test]
fn a_client_that_never_connects_is_cut_off_after_idle_timeout() {
    let broker = Setup::new("mqtt.idle_timeout = 1s").start();
    let mark = broker.journal.mark();
    raw::dial(broker.control()).send(&[0x10]).closed();
    let line = broker.journal.expect(mark, "the refusal", |line| line.says("refused"));
    assert!(line.raw.contains("no CONNECT within 1s"), "{}", line.raw);
    assert_alive(&broker);
}

/// A broker whose listener `tcp:metered` has these rates.
fn metered(rates: &str) -> Broker {
    Setup::new(&format!("listeners.tcp.metered {{ bind = \"127.0.0.1:0\", {rates} }}")).start()
}

#[test]
fn k_06_who_publishes_faster_than_allowed_is_read_later_in_order_and_stays_connected() {
    const MESSAGES: usize = 80;
    let broker = metered("messages_rate = \"20/s\"");
    for version in [V3_1_1, V5] {
        let mut subscriber = raw::enter(broker.control(), &Connect::new(V5, unique("watch")));
        let topic = unique("k06");
        subscriber.subscribe(&topic, 0);
        // Its keep-alive passes twice while nobody reads what it has sent.
        let hasty = Connect::new(version, unique("hasty")).keep_alive(1);
        let mut publisher = raw::enter(broker.address("tcp:metered"), &hasty);
        let began = Instant::now();
        let mut flood: Vec<u8> =
            (0..MESSAGES).flat_map(|number| wire::publish(version, &topic, 0, 0, number.to_string())).collect();
        flood.extend(wire::PINGREQ);
        publisher.send(&flood);
        for number in 0..MESSAGES {
            assert_eq!(subscriber.message().1, number.to_string());
        }
        // 20 at once and 60 at 20 a second: no broker that holds the rate is done before.
        assert!(began.elapsed() >= Duration::from_millis(2_900), "{:?}", began.elapsed());
        publisher.expect(kind::PINGRESP);
        publisher.leave();
    }
    assert_alive(&broker);
}

#[test]
fn k_06_a_message_larger_than_a_second_of_bytes_passes_and_the_next_waits() {
    let broker = metered("bytes_rate = \"1KB/s\"");
    let topic = unique("k06/bytes");
    let mut subscriber = raw::enter(broker.control(), &Connect::new(V5, unique("watch")));
    subscriber.subscribe(&topic, 0);
    let mut publisher = raw::enter(broker.address("tcp:metered"), &Connect::new(V5, unique("bulky")));
    let began = Instant::now();
    publisher.send(&wire::publish(V5, &topic, 0, 0, "x".repeat(3 << 10))).publish(&topic, "after");
    assert_eq!(subscriber.message().1.len(), 3 << 10);
    assert_eq!(subscriber.message().1, "after");
    assert!(began.elapsed() >= Duration::from_millis(1_900), "two of three seconds are owed: {:?}", began.elapsed());
    // Others of the listener have rates of their own.
    raw::enter(broker.address("tcp:metered"), &Connect::new(V5, unique("other"))).publish(&topic, "other");
    assert_eq!(subscriber.message().1, "other");
    assert_alive(&broker);
}

#[test]
fn a_connection_that_waits_for_its_rate_can_still_be_closed() {
    let broker = metered("messages_rate = \"1/1h\"");
    let id = unique("waiting");
    let mut publisher = raw::enter(broker.address("tcp:metered"), &Connect::new(V5, &id));
    publisher.publish("t", "one").send(&wire::publish(V5, "t", 1, 2, "two"));
    raw::enter(broker.control(), &Connect::new(V5, &id)).leave();
    assert_eq!(publisher.closed().disconnect(), Some(0x8E));
    assert_alive(&broker);
}

/// A broker on which `acme` has these limits and `globex` has none.
fn tenants(limits: &str) -> Broker {
    let plugins = [namespace_lookup(), entry("sni-selector", "")];
    let setup = Setup::new(&listener("names", "verify = verify_none", &plugins))
        .and(&format!("multi_tenancy.namespaces.acme {{ {limits} }}"));
    Certificates::make().write(&setup);
    setup.start()
}

fn dial(broker: &Broker, tenant: &str) -> RawClient<TlsStream> {
    tls::naming(tenant).dial(broker.address("ssl:names")).unwrap()
}

fn member(broker: &Broker, tenant: &str) -> RawClient<TlsStream> {
    let mut client = dial(broker, tenant);
    client.enter(&Connect::new(V5, unique("member")));
    client
}

#[test]
fn k_09_a_tenant_at_its_limits_changes_nothing_for_another() {
    let broker = tenants("max_connections = 2, max_subscriptions = 1, max_retained_messages = 1");
    let mut of_acme = [member(&broker, name::ACME), member(&broker, name::ACME)];
    assert_eq!(dial(&broker, name::ACME).refused(&Connect::new(V5, "third")), 0x97);
    let mut of_globex = [(); 3].map(|()| member(&broker, name::GLOBEX));
    for (client, codes) in [(&mut of_acme[0], [0, 0x97]), (&mut of_globex[0], [0, 0])] {
        for (filter, code) in ["one", "two"].into_iter().zip(codes) {
            let suback = client.send(&wire::subscribe(V5, 3, filter, 0)).expect(kind::SUBACK);
            assert_eq!(suback.body.last(), Some(&code), "{filter}");
        }
    }
    for (client, codes) in [(&mut of_acme[1], [0x10, 0x97]), (&mut of_globex[1], [0x10, 0x10])] {
        for (topic, code) in ["kept/1", "kept/2"].into_iter().zip(codes) {
            let puback = client.send(&wire::retain(V5, topic, 1, 5, "x")).expect(kind::PUBACK);
            assert_eq!(puback.body.get(2), Some(&code), "{topic}");
        }
    }
    assert_alive(&broker);
}

#[test]
fn k_09_the_rate_of_a_tenant_is_shared_by_its_clients_and_by_no_others() {
    let broker = tenants("messages_rate = \"3/1h\"");
    for (tenant, is_limited) in [(name::ACME, true), (name::GLOBEX, false)] {
        let topic = unique("k09");
        let mut subscriber = member(&broker, tenant);
        subscriber.subscribe(&topic, 0);
        let mut publishers = [member(&broker, tenant), member(&broker, tenant)];
        let three = wire::publish(V5, &topic, 0, 0, "x").repeat(3);
        publishers[0].send(&three);
        for _ in 0..3 {
            subscriber.message();
        }
        publishers[1].send(&three).send(&wire::PINGREQ);
        if is_limited {
            let said = publishers[1].closed_within(Duration::from_secs(1)).expect_err("it only waits");
            assert_eq!(said, [], "nothing that it sent was taken");
            subscriber.ping();
        } else {
            publishers[1].expect(kind::PINGRESP);
            for _ in 0..3 {
                subscriber.message();
            }
        }
    }
    assert_alive(&broker);
}

#[test]
fn an_identity_has_so_many_connections() {
    // The password is `password`.
    let hash = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    let users = ["alice", "bob"].map(|user| format!("{{ user_id = {user}, password_hash = \"{hash}\" }}")).join(", ");
    let broker = Setup::new("listeners.tcp.asking.bind = \"127.0.0.1:0\"\nlisteners.tcp.control.enable_authn = false")
        .and("multi_tenancy.default.max_connections_per_identity = 1")
        .and(&format!(
            "authentication = [{{ mechanism = password_based, backend = built_in_database, users = [{users}] }}]"
        ))
        .start();
    let address = broker.address("tcp:asking");
    let of = |user: &str, id: &str| {
        let named = Connect::new(V5, id).username(user);
        Connect { password: Some(b"password".to_vec()), ..named }
    };
    let mut first = raw::enter(address, &of("alice", "a1"));
    assert_eq!(raw::dial(address).refused(&of("alice", "a2")), 0x97);
    raw::enter(address, &of("bob", "b1")).leave();
    first.ping();
    first.leave();
    raw::enter(address, &of("alice", "a2")).leave();
    assert_alive(&broker);
}
