//! What the operator takes away, and how clients are told.

use postern_mqtt::packet::{Connect, Publish, QoS, Will};
use postern_mqtt::{Packet, ReasonCode};
use postern_realm::{ConnId, RealmLimits};

use crate::sim::*;

fn publish_to(sim: &mut Sim, conn: ConnId, qos: QoS, retain: bool) {
    let packet_id = if qos == Q0 { 0 } else { 5 };
    sim.send(conn, Packet::Publish(Publish { retain, ..publish(qos, packet_id, message("t", "x")) }));
}

fn willing(id: &str, qos: QoS, retain: bool) -> Connect {
    Connect { will: Some(Will { qos, retain, ..will("t", 0) }), ..client(id) }
}

/// v5: MQTT-3.2.2-9, MQTT-3.2.2-11
#[test]
fn mqtt_3_2_2_9_a_lower_maximum_qos_is_told_and_a_publish_above_it_ends_the_connection() {
    for (maximum, above) in [(Q0, Q1), (Q1, Q2)] {
        let mut sim = Sim::with(RealmLimits { maximum_qos: maximum, ..RealmLimits::default() });
        let conn = sim.connect(client("a"));
        assert_eq!(sim.conn_ack(conn).maximum_qos, Some(maximum));
        publish_to(&mut sim, conn, maximum, false);
        assert!(sim.is_open(conn));
        publish_to(&mut sim, conn, above, false);
        assert_eq!((sim.is_open(conn), sim.farewell(conn)), (false, Some(ReasonCode::QOS_NOT_SUPPORTED)));
    }
}

/// v5: MQTT-3.2.2-10
#[test]
fn mqtt_3_2_2_10_a_subscription_of_any_qos_is_taken_and_granted_the_highest_there_is() {
    let mut sim = Sim::with(RealmLimits { maximum_qos: Q1, ..RealmLimits::default() });
    let conn = sim.enter(client("a"));
    let reasons = sim.subscribe_with(conn, 0, [Q0, Q1, Q2].map(|qos| subscription("t", qos)).to_vec());
    assert_eq!(reasons, [ReasonCode::SUCCESS, ReasonCode::GRANTED_QOS_1, ReasonCode::GRANTED_QOS_1]);
}

/// v5: MQTT-3.2.2-12, MQTT-3.2.2-13
#[test]
fn mqtt_3_2_2_12_and_13_a_will_beyond_what_there_is_refuses_the_connection() {
    let limits = RealmLimits { maximum_qos: Q1, retain_available: false, ..RealmLimits::default() };
    let mut sim = Sim::with(limits);
    for (qos, retain, reason) in [
        (Q2, false, ReasonCode::QOS_NOT_SUPPORTED),
        (Q0, true, ReasonCode::RETAIN_NOT_SUPPORTED),
        (Q1, false, ReasonCode::SUCCESS),
    ] {
        let conn = sim.connect(willing("a", qos, retain));
        assert_eq!((sim.conn_ack(conn).reason, sim.is_open(conn)), (reason, !reason.is_error()));
    }
}

/// v5: MQTT-3.2.2-14
#[test]
fn mqtt_3_2_2_14_where_nothing_is_retained_that_is_told_and_retain_ends_the_connection() {
    let mut sim = Sim::with(RealmLimits { retain_available: false, ..RealmLimits::default() });
    let conn = sim.connect(client("a"));
    assert_eq!(sim.conn_ack(conn).retain_available, Some(false));
    publish_to(&mut sim, conn, Q1, false);
    assert!(sim.is_open(conn));
    publish_to(&mut sim, conn, Q0, true);
    assert_eq!((sim.is_open(conn), sim.farewell(conn)), (false, Some(ReasonCode::RETAIN_NOT_SUPPORTED)));
    let old = sim.enter(v3_client("b", true));
    publish_to(&mut sim, old, Q0, true);
    assert!(!sim.is_open(old), "3.x too, though it cannot be told why");
}

#[test]
fn what_there_is_is_not_announced() {
    let mut sim = Sim::new();
    let conn = sim.connect(client("a"));
    let ack = sim.conn_ack(conn);
    assert_eq!((ack.maximum_qos, ack.retain_available), (None, None));
    assert_eq!((ack.wildcard_subscription_available, ack.shared_subscription_available), (None, None));
}

#[test]
fn subscriptions_that_are_not_offered_are_refused_one_by_one_and_that_is_announced() {
    let limits = RealmLimits { wildcard_subscription: false, shared_subscription: false, ..RealmLimits::default() };
    let mut sim = Sim::with(limits);
    let conn = sim.connect(client("a"));
    let ack = sim.conn_ack(conn);
    assert_eq!(ack.wildcard_subscription_available, Some(false));
    assert_eq!(ack.shared_subscription_available, Some(false));
    let filters = ["t", "t/+", "#", "$share/g/t"].map(|filter| subscription(filter, Q0)).to_vec();
    let wildcard = ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED;
    assert_eq!(
        sim.subscribe_with(conn, 0, filters),
        [ReasonCode::SUCCESS, wildcard, wildcard, ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED]
    );
    assert_eq!(sim.realm.stats().subscriptions, 1);
}

/// v5: MQTT-3.1.2-28
#[test]
fn mqtt_3_1_2_28_response_information_is_for_who_asks() {
    let limits = RealmLimits { response_information: Some("answers/".into()), ..RealmLimits::default() };
    let mut sim = Sim::with(limits);
    let silent = sim.connect(client("a"));
    assert_eq!(sim.conn_ack(silent).response_information, None);
    let asking = sim.connect(Connect { request_response_information: true, ..client("b") });
    assert_eq!(sim.conn_ack(asking).response_information.as_deref(), Some("answers/"));
    let mut sim = Sim::new();
    let conn = sim.connect(Connect { request_response_information: true, ..client("c") });
    assert_eq!(sim.conn_ack(conn).response_information, None, "there is none to tell");
}

#[test]
fn ignore_loop_deliver_keeps_messages_of_3_x_clients_from_themselves() {
    for (no_local_untold, own) in [(false, 1), (true, 0)] {
        let mut sim = Sim::with(RealmLimits { no_local_untold, ..RealmLimits::default() });
        let (old, new) = (sim.enter(v3_client("a", true)), sim.enter(client("b")));
        for conn in [old, new] {
            sim.subscribe(conn, "t", Q0);
            sim.tell(conn, "t", "x");
        }
        assert_eq!(sim.payloads(old).len(), own + 1, "its own, and that of the other");
        assert_eq!(sim.payloads(new), ["x"], "5.0 has No Local");
    }
}

#[test]
fn upgrade_qos_delivers_at_the_qos_of_the_subscription() {
    for (upgrade_qos, qos) in [(false, Q0), (true, Q1)] {
        let mut sim = Sim::with(RealmLimits { upgrade_qos, ..RealmLimits::default() });
        let conn = sim.enter(client("a"));
        sim.subscribe(conn, "t", Q1);
        sim.tell(conn, "t", "x");
        assert_eq!(publishes(sim.take(conn))[0].qos, qos);
    }
}

#[test]
fn qos_0_waits_for_an_absent_client_where_it_is_to_be_stored_and_keeps_its_order() {
    let limits = RealmLimits { queue_qos_0: true, queue_messages: 3, inflight_out: 1, ..RealmLimits::default() };
    let mut sim = Sim::with(limits);
    let publisher = sim.enter(client("p"));
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q1);
    sim.lost(conn);
    for payload in ["0", "1", "2"] {
        sim.tell(publisher, "t", payload);
    }
    sim.tell_surely(publisher, "t", "3");
    assert_eq!((sim.realm.stats().queued, sim.realm.stats().dropped.queue_full), (3, 1), "bounded as others are");
    sim.tell_surely(publisher, "t", "4");
    let conn = sim.enter(client("s"));
    assert_eq!(sim.payloads(conn), ["2", "3"], "one that needs an acknowledgement fills the window");
    sim.tell(publisher, "t", "5");
    assert!(sim.take(conn).is_empty(), "behind those that wait");
    let acknowledged = sim.ask(conn, Packet::PubAck(ack(1)));
    assert_eq!(publishes(acknowledged).iter().map(payload).collect::<Vec<_>>(), ["4", "5"]);
}

#[test]
fn messages_without_an_expiry_get_that_of_the_server() {
    let limits = RealmLimits { message_expiry_s: Some(10), retained_expiry_s: Some(5), ..RealmLimits::default() };
    let mut sim = Sim::with(limits);
    let publisher = sim.enter(client("p"));
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q1);
    sim.lost(conn);
    sim.tell_surely(publisher, "t", "short");
    let long = postern_mqtt::packet::Message { expiry: Some(60), ..message("t", "long") };
    sim.send_publish(publisher, publish(Q1, 78, long));
    sim.retain(publisher, "kept", "x", Q1);
    sim.pass(6);
    sim.subscribe(publisher, "kept", Q1);
    assert!(publishes(sim.take(publisher)).is_empty(), "retained for 5 s");
    sim.pass(5);
    let conn = sim.enter(client("s"));
    assert_eq!(sim.payloads(conn), ["long"]);
}

#[test]
fn a_payload_too_long_to_be_retained_is_refused_where_that_can_be_told() {
    let mut sim = Sim::with(RealmLimits { retained_payload_bytes: 3, ..RealmLimits::default() });
    let conn = sim.enter(client("a"));
    for (payload, reason) in [("abc", ReasonCode::NO_MATCHING_SUBSCRIBERS), ("abcd", ReasonCode::QUOTA_EXCEEDED)] {
        let sent = Publish { retain: true, ..publish(Q1, 7, message("t", payload)) };
        assert_eq!(sim.send_publish(conn, sent), reason);
    }
    assert_eq!((sim.realm.stats().retained, sim.realm.stats().dropped.retained_full), (1, 1));
}

#[test]
fn await_rel_timeout_gives_a_place_up_only_where_it_is_needed() {
    let limits = RealmLimits { receive_maximum: max(2).unwrap(), release_wait_s: Some(10), ..RealmLimits::default() };
    let mut sim = Sim::with(limits);
    let conn = sim.enter(client("a"));
    let send = |sim: &mut Sim, id: u16| sim.send_publish(conn, publish(Q2, id, message("t", "x")));
    send(&mut sim, 1);
    sim.pass(11);
    send(&mut sim, 2);
    assert_eq!(sim.realm.stats().unreleased, 2, "there is room for both");
    send(&mut sim, 3);
    assert_eq!(sim.realm.stats().unreleased, 2, "the first has waited too long");
    sim.send(conn, Packet::Publish(publish(Q2, 4, message("t", "x"))));
    assert_eq!(sim.farewell(conn), Some(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED), "the others have not");
}

#[test]
fn a_tenant_has_so_many_connections_and_a_client_that_comes_again_needs_no_other() {
    let mut sim = Sim::with(RealmLimits { connections: 2, ..RealmLimits::default() });
    let first = sim.enter(client("a"));
    sim.enter(client("b"));
    let third = sim.connect(client("c"));
    assert_eq!((sim.conn_ack(third).reason, sim.is_open(third)), (ReasonCode::QUOTA_EXCEEDED, false));
    let again = sim.enter(client("a"));
    assert_eq!(sim.farewell(first), Some(ReasonCode::SESSION_TAKEN_OVER));
    sim.lost(again);
    sim.enter(client("c"));
    let back = sim.connect(client("a"));
    assert_eq!(sim.conn_ack(back).reason, ReasonCode::QUOTA_EXCEEDED, "its session is there, and its place is taken");
    let stats = sim.realm.stats();
    assert_eq!((stats.connected, stats.exhausted.connections, stats.exhausted.sessions), (2, 2, 0));
}

#[test]
fn an_owner_has_so_many_connections_and_another_has_its_own() {
    let mut sim = Sim::with(RealmLimits { connections_per_owner: 1, ..RealmLimits::default() });
    let first = sim.connect_as(client("a"), Some("x".into()));
    assert_eq!(sim.conn_ack(first).reason, ReasonCode::SUCCESS);
    for (id, who, reason) in [
        ("b", Some("x".into()), ReasonCode::QUOTA_EXCEEDED),
        ("c", Some("y".into()), ReasonCode::SUCCESS),
        ("d", None, ReasonCode::SUCCESS),
        ("e", None, ReasonCode::SUCCESS),
    ] {
        let conn = sim.connect_as(client(id), who);
        assert_eq!(sim.conn_ack(conn).reason, reason, "{id}");
    }
    let again = sim.connect_as(client("a"), Some("x".into()));
    assert_eq!(sim.conn_ack(again).reason, ReasonCode::SUCCESS, "in the place of its own");
    sim.goodbye(again);
    let other = sim.connect_as(client("b"), Some("x".into()));
    assert_eq!(sim.conn_ack(other).reason, ReasonCode::SUCCESS);
    assert_eq!(sim.realm.stats().exhausted.connections_of_owner, 1);
}

#[test]
fn what_is_refused_for_want_of_room_is_counted() {
    let limits = RealmLimits { sessions: 1, subscriptions_per_client: 1, ..RealmLimits::default() };
    let mut sim = Sim::with(limits);
    let conn = sim.enter(client("a"));
    let other = sim.connect(client("b"));
    assert_eq!(sim.conn_ack(other).reason, ReasonCode::QUOTA_EXCEEDED);
    let filters = ["t", "u", "t"].map(|filter| subscription(filter, Q0)).to_vec();
    let reasons = sim.subscribe_with(conn, 0, filters);
    assert_eq!(reasons, [ReasonCode::SUCCESS, ReasonCode::QUOTA_EXCEEDED, ReasonCode::SUCCESS]);
    let exhausted = sim.realm.stats().exhausted;
    assert_eq!((exhausted.sessions, exhausted.subscriptions), (1, 1));
}
