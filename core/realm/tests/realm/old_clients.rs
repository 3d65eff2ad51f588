//! The statements of 3.1.1 about sessions and messages, kept by 3.1.1 clients among themselves.

use postern_mqtt::packet::{Connect, Publish, Will};
use postern_mqtt::{Packet, ReasonCode};
use postern_realm::ConnId;

use crate::sim::*;

fn lasting(sim: &mut Sim, name: &str) -> ConnId {
    sim.enter(v3_client(name, false))
}

fn passing(sim: &mut Sim, name: &str) -> ConnId {
    sim.enter(v3_client(name, true))
}

/// v3.1.1: MQTT-3.1.2-4, MQTT-3.1.2-6, MQTT-3.1.3-2, MQTT-3.1.4-3, MQTT-3.1.4-4, MQTT-3.2.2-1, MQTT-3.2.2-2
/// v3.1.1: MQTT-3.2.2-3
#[test]
fn clean_session_decides_what_is_resumed() {
    let mut sim = Sim::new();
    let mut enters = |clean, expected| {
        let conn = sim.connect(v3_client("a", clean));
        let conn_ack = sim.conn_ack(conn);
        assert_eq!((conn_ack.reason, conn_ack.session_present), (ReasonCode::SUCCESS, expected));
        if expected {
            sim.tell(conn, "t", "x");
            assert_eq!(sim.payloads(conn), ["x"], "what was subscribed to before still is");
        } else {
            sim.tell(conn, "t", "x");
            assert!(sim.take(conn).is_empty(), "nothing of an earlier session is left");
            sim.subscribe(conn, "t", Q0);
        }
        sim.goodbye(conn);
    };
    enters(false, false);
    enters(false, true);
    enters(false, true);
    enters(true, false);
    enters(false, false);
}

/// v3.1.1: MQTT-3.1.2-5, MQTT-4.5.0-1
#[test]
fn messages_for_an_absent_client_are_stored() {
    let mut sim = Sim::new();
    let publisher = passing(&mut sim, "p");
    let conn = lasting(&mut sim, "s");
    sim.subscribe(conn, "t/#", Q2);
    sim.goodbye(conn);
    sim.tell_surely(publisher, "t/1", "1");
    sim.send_publish(publisher, publish(Q2, 5, message("t/2", "2")));
    let conn = lasting(&mut sim, "s");
    let arrived = publishes(sim.take(conn));
    assert_eq!(arrived.iter().map(|p| (p.qos, payload(p))).collect::<Vec<_>>(), [(Q1, "1"), (Q2, "2")]);
}

/// v3.1.1: MQTT-3.1.2-7
#[test]
fn retained_messages_outlive_the_session_of_their_publisher() {
    let mut sim = Sim::new();
    let publisher = passing(&mut sim, "p");
    sim.retain(publisher, "t", "x", Q1);
    sim.goodbye(publisher);
    assert_eq!(sim.realm.stats().sessions, 0);
    let conn = passing(&mut sim, "s");
    sim.subscribe(conn, "t", Q0);
    assert_eq!(sim.payloads(conn), ["x"]);
}

/// v3.1.1: MQTT-3.1.2-8, MQTT-3.1.2-10, MQTT-3.1.2-12, MQTT-3.1.2-16, MQTT-3.1.2-17, MQTT-3.14.4-3
#[test]
fn a_will_is_published_once_as_it_was_asked_for_unless_the_client_says_goodbye() {
    for retain in [false, true] {
        let mut sim = Sim::new();
        let watcher = passing(&mut sim, "w");
        sim.subscribe(watcher, "w", Q1);
        let with_will = || Connect { will: Some(Will { retain, ..will("w", 0) }), ..v3_client("a", true) };
        let conn = sim.enter(with_will());
        sim.goodbye(conn);
        let conn = passing(&mut sim, "a");
        sim.lost(conn);
        assert!(sim.take(watcher).is_empty());
        let conn = sim.enter(with_will());
        sim.lost(conn);
        sim.pass(1000);
        assert_eq!(sim.payloads(watcher), ["will"]);
        let late = passing(&mut sim, "late");
        sim.subscribe(late, "w", Q0);
        assert_eq!(sim.payloads(late).len(), usize::from(retain));
    }
}

/// v3.1.1: MQTT-3.1.4-2
#[test]
fn the_second_connect_disconnects_the_first() {
    let mut sim = Sim::new();
    let first = passing(&mut sim, "a");
    let second = passing(&mut sim, "a");
    assert!(!sim.is_open(first) && sim.is_open(second));
}

/// v3.1.1: MQTT-3.1.3-8, MQTT-3.1.3-9, MQTT-3.2.2-5
#[test]
fn a_refused_client_is_closed() {
    let mut sim = Sim::new();
    let conn = sim.connect(v3_client("", false));
    assert_eq!(sim.conn_ack(conn).reason, ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
    assert!(!sim.is_open(conn));
}

/// v3.1.1: MQTT-3.3.1-5, MQTT-3.3.1-6, MQTT-3.3.1-7, MQTT-3.3.1-8, MQTT-3.3.1-9, MQTT-3.3.1-10, MQTT-3.3.1-11
/// v3.1.1: MQTT-3.3.1-12
#[test]
fn the_last_retained_message_is_kept_for_new_subscriptions() {
    let mut sim = Sim::new();
    let (publisher, live) = (passing(&mut sim, "p"), passing(&mut sim, "live"));
    sim.subscribe(live, "t", Q0);
    let mut late = 0..;
    let mut replayed = |sim: &mut Sim| {
        let conn = passing(sim, &format!("late{}", late.next().unwrap()));
        sim.subscribe(conn, "t", Q1);
        publishes(sim.take(conn)).iter().map(|p| (payload(p).to_owned(), p.qos, p.retain)).collect::<Vec<_>>()
    };
    sim.retain(publisher, "t", "1", Q1);
    assert_eq!(replayed(&mut sim), [("1".to_owned(), Q1, true)]);
    sim.tell(publisher, "t", "not retained");
    assert_eq!(replayed(&mut sim), [("1".to_owned(), Q1, true)]);
    sim.retain(publisher, "t", "2", Q0);
    assert_eq!(replayed(&mut sim), [("2".to_owned(), Q0, true)]);
    sim.retain(publisher, "t", "", Q0);
    assert_eq!(replayed(&mut sim), []);
    assert_eq!(sim.realm.stats().retained, 0);
    let seen = publishes(sim.take(live));
    assert_eq!(seen.iter().map(payload).collect::<Vec<_>>(), ["1", "not retained", "2", ""]);
    assert!(seen.iter().all(|publish| !publish.retain));
}

/// v3.1.1: MQTT-3.3.1-3, MQTT-3.3.4-1, MQTT-3.8.4-6, MQTT-4.3.2-2
#[test]
fn each_qos_is_acknowledged_in_its_way_and_delivered_at_the_lower_of_both() {
    let mut sim = Sim::new();
    let publisher = passing(&mut sim, "p");
    let subscribers = [Q0, Q1, Q2].map(|qos| {
        let conn = passing(&mut sim, &format!("{qos:?}"));
        sim.subscribe(conn, "t", qos);
        (conn, qos)
    });
    for (sent, answer) in [(Q0, vec![]), (Q1, vec![Packet::PubAck(ack(5))]), (Q2, vec![Packet::PubRec(ack(5))])] {
        let packet_id = if sent == Q0 { 0 } else { 5 };
        let packet = Publish { dup: sent != Q0, ..publish(sent, packet_id, message("t", "x")) };
        assert_eq!(sim.ask(publisher, Packet::Publish(packet)), answer);
        for (conn, granted) in subscribers {
            let arrived = publishes(sim.take(conn));
            assert_eq!(arrived.iter().map(|p| (p.qos, p.dup)).collect::<Vec<_>>(), [(sent.min(granted), false)]);
        }
    }
}

/// v3.1.1: MQTT-2.3.1-6, MQTT-4.3.3-2
#[test]
fn qos_2_is_delivered_once_until_it_is_released() {
    let mut sim = Sim::new();
    let (publisher, subscriber) = (passing(&mut sim, "p"), passing(&mut sim, "s"));
    sim.subscribe(subscriber, "t", Q0);
    for dup in [false, true, true] {
        let again = Publish { dup, ..publish(Q2, 7, message("t", "x")) };
        assert_eq!(sim.ask(publisher, Packet::Publish(again)), [Packet::PubRec(ack(7))]);
    }
    assert_eq!(sim.payloads(subscriber), ["x"]);
    assert_eq!(sim.ask(publisher, Packet::PubRel(ack(7))), [Packet::PubComp(ack(7))]);
    sim.ask(publisher, Packet::Publish(publish(Q2, 7, message("t", "next"))));
    assert_eq!(sim.payloads(subscriber), ["next"]);
}

/// v3.1.1: MQTT-2.3.1-4, MQTT-3.3.1-1, MQTT-4.3.2-1, MQTT-4.3.3-1, MQTT-4.4.0-1
#[test]
fn what_was_not_acknowledged_is_sent_again_in_order_with_its_ids() {
    let mut sim = Sim::new();
    let publisher = passing(&mut sim, "p");
    let conn = lasting(&mut sim, "s");
    sim.subscribe(conn, "t", Q2);
    let brief = |packets: Vec<Packet>| -> Vec<String> {
        let brief = |packet: &Packet| match packet {
            Packet::Publish(p) => format!("{} {}{}", p.packet_id.unwrap(), payload(p), if p.dup { "+" } else { "" }),
            Packet::PubRel(release) => format!("{} released", release.packet_id),
            other => panic!("{other:?}"),
        };
        packets.iter().map(brief).collect()
    };
    sim.tell_surely(publisher, "t", "a");
    sim.send_publish(publisher, publish(Q2, 5, message("t", "b")));
    sim.tell_surely(publisher, "t", "c");
    assert_eq!(brief(sim.take(conn)), ["1 a", "2 b", "3 c"]);
    sim.send(conn, Packet::PubAck(ack(1)));
    assert_eq!(brief(sim.ask(conn, Packet::PubRec(ack(2)))), ["2 released"]);
    sim.lost(conn);
    let conn = lasting(&mut sim, "s");
    assert_eq!(brief(sim.take(conn)), ["2 released", "3 c+"]);
    assert!(sim.ask(conn, Packet::PubComp(ack(2))).is_empty());
    assert!(sim.ask(conn, Packet::PubAck(ack(3))).is_empty());
    sim.lost(conn);
    let conn = lasting(&mut sim, "s");
    assert!(sim.take(conn).is_empty());
}

/// v3.1.1: MQTT-4.1.0-1, MQTT-4.1.0-2
#[test]
fn a_session_lasts_as_long_as_its_connection_and_is_stored_after_it() {
    const DAY_S: u64 = 24 * 3600;
    let mut sim = Sim::new();
    let (publisher, conn) = (passing(&mut sim, "p"), lasting(&mut sim, "s"));
    sim.subscribe(conn, "t", Q1);
    sim.pass(30 * DAY_S);
    sim.tell_surely(publisher, "t", "1");
    assert_eq!(sim.payloads(conn), ["1"]);
    sim.lost(conn);
    sim.pass(3600);
    sim.tell_surely(publisher, "t", "2");
    let conn = lasting(&mut sim, "s");
    assert_eq!(sim.payloads(conn), ["1", "2"]);
}

/// v3.1.1: MQTT-4.6.0-5, MQTT-4.6.0-6
#[test]
fn messages_of_one_topic_and_qos_keep_their_order() {
    for qos in [Q0, Q1, Q2] {
        let mut sim = Sim::new();
        let (publisher, conn) = (passing(&mut sim, "p"), passing(&mut sim, "s"));
        sim.subscribe(conn, "+", Q2);
        let sent: Vec<String> = (1..=20).map(|n| n.to_string()).collect();
        for (packet_id, payload) in (1..).zip(&sent) {
            let packet_id = if qos == Q0 { 0 } else { packet_id };
            sim.send(publisher, Packet::Publish(publish(qos, packet_id, message("t", payload))));
        }
        assert_eq!(sim.payloads(conn), sent);
    }
}

/// 3.1.1 has no word for a refusal: a message that is not let through is acknowledged to the end all the same.
///
/// v3.1.1: MQTT-3.3.5-2
#[test]
fn a_publish_that_is_not_allowed_is_acknowledged_and_goes_nowhere() {
    let mut sim = Sim::new();
    let (publisher, subscriber) = (passing(&mut sim, "p"), passing(&mut sim, "s"));
    sim.subscribe(subscriber, "$SYS/#", Q2);
    let brief = |packets: Vec<Packet>| match &packets[..] {
        [Packet::PubAck(ack)] => ("PUBACK", ack.packet_id),
        [Packet::PubRec(ack)] => ("PUBREC", ack.packet_id),
        [Packet::PubComp(ack)] => ("PUBCOMP", ack.packet_id),
        other => panic!("{other:?}"),
    };
    for (qos, expected) in [(Q1, "PUBACK"), (Q2, "PUBREC")] {
        let refused = Packet::Publish(publish(qos, 5, message("$SYS/x", "x")));
        assert_eq!(brief(sim.ask(publisher, refused)), (expected, id(5)));
    }
    assert_eq!(brief(sim.ask(publisher, Packet::PubRel(ack(5)))), ("PUBCOMP", id(5)));
    assert!(sim.take(subscriber).is_empty() && sim.is_open(publisher));
}

/// v3.1.1: MQTT-3.3.5-1
#[test]
fn overlapping_subscriptions_deliver_at_the_highest_qos() {
    let mut sim = Sim::new();
    let conn = passing(&mut sim, "s");
    for (filter, qos) in [("a/+", Q0), ("a/#", Q2), ("#", Q1)] {
        sim.subscribe(conn, filter, qos);
    }
    sim.send_publish(conn, publish(Q2, 1, message("a/b", "x")));
    assert_eq!(publishes(sim.take(conn)).iter().map(|p| p.qos).max(), Some(Q2));
}

/// v3.1.1: MQTT-2.3.1-7, MQTT-3.8.4-1, MQTT-3.8.4-2, MQTT-3.8.4-3, MQTT-3.8.4-4, MQTT-3.8.4-5, MQTT-3.9.3-1
#[test]
fn a_subscribe_is_answered_filter_by_filter_and_replaces_what_was() {
    let mut sim = Sim::new();
    let conn = passing(&mut sim, "s");
    sim.retain(conn, "a", "retained", Q1);
    let filters = || vec![subscription("a", Q2), subscription("b", Q0), subscription("c", Q1)];
    for _ in 0..2 {
        let reasons = sim.subscribe_with(conn, 0, filters());
        assert_eq!(reasons, [ReasonCode::GRANTED_QOS_2, ReasonCode::SUCCESS, ReasonCode::GRANTED_QOS_1]);
        assert_eq!(sim.payloads(conn), ["retained"], "every time");
    }
    assert_eq!(sim.realm.stats().subscriptions, 3);
    sim.subscribe(conn, "a", Q0);
    sim.take(conn);
    sim.tell_surely(conn, "a", "x");
    assert_eq!(publishes(sim.take(conn)).iter().map(|p| p.qos).collect::<Vec<_>>(), [Q0]);
}

/// v3.1.1: MQTT-3.10.4-1, MQTT-3.10.4-2, MQTT-3.10.4-3, MQTT-3.10.4-4, MQTT-3.10.4-5, MQTT-3.10.4-6
#[test]
fn an_unsubscribe_is_answered_and_ends_what_has_not_begun() {
    let mut sim = Sim::new();
    let conn = lasting(&mut sim, "s");
    sim.subscribe(conn, "a/+", Q2);
    sim.subscribe(conn, "b", Q2);
    sim.send_publish(conn, publish(Q2, 1, message("a/x", "on its way")));
    sim.take(conn);
    match &sim.ask(conn, unsubscribe(&["a/+", "b", "a/x"]))[..] {
        [Packet::UnsubAck(answer)] => assert_eq!(answer.packet_id, id(8)),
        other => panic!("one UNSUBACK, not {other:?}"),
    }
    sim.tell(conn, "a/x", "later");
    sim.tell(conn, "b", "later");
    assert!(sim.take(conn).is_empty());
    assert_eq!(sim.ask(conn, Packet::PubRec(ack(1))), [Packet::PubRel(ack(1))]);
    assert!(sim.ask(conn, Packet::PubComp(ack(1))).is_empty());
    assert_eq!(sim.realm.stats().in_flight, 0);
}
