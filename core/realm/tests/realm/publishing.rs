//! PUBLISH in both directions: QoS, windows, expiry, size.

use postern_mqtt::packet::{Ack, Connect, Message, Publish};
use postern_mqtt::{Packet, ReasonCode, Topic};
use postern_realm::RealmLimits;

use crate::sim::*;

/// v5: MQTT-3.8.4-8, MQTT-4.3.2-2, MQTT-4.3.3-2
#[test]
fn mqtt_4_3_3_each_subscriber_gets_the_lower_of_both_qos() {
    let mut sim = Sim::new();
    let publisher = sim.enter(client("p"));
    let subscribers = [Q0, Q1, Q2].map(|qos| {
        let conn = sim.enter(client(&format!("{qos:?}")));
        sim.subscribe(conn, "t", qos);
        conn
    });
    for sent in [Q0, Q1, Q2] {
        let packet_id = if sent == Q0 { 0 } else { 5 };
        sim.send(publisher, Packet::Publish(publish(sent, packet_id, message("t", "x"))));
        for (conn, granted) in subscribers.into_iter().zip([Q0, Q1, Q2]) {
            let arrived = publishes(sim.take(conn));
            assert_eq!(arrived.len(), 1);
            assert_eq!(arrived[0].qos, sent.min(granted));
            assert_eq!(arrived[0].packet_id.is_some(), arrived[0].qos != Q0);
        }
    }
}

/// v5: MQTT-3.3.1-3, MQTT-4.3.2-4
#[test]
fn mqtt_3_3_1_3_dup_and_packet_id_of_the_publisher_go_no_further() {
    let mut sim = Sim::new();
    let (publisher, subscriber) = (sim.enter(client("p")), sim.enter(client("s")));
    sim.subscribe(subscriber, "t", Q1);
    let reason = sim.send_publish(publisher, Publish { dup: true, ..publish(Q1, 777, message("t", "x")) });
    assert_eq!(reason, ReasonCode::SUCCESS);
    let arrived = publishes(sim.take(subscriber));
    assert_eq!((arrived[0].dup, arrived[0].packet_id), (false, Some(id(1))));
}

#[test]
fn nobody_to_receive_is_told_with_0x10() {
    let mut sim = Sim::new();
    let publisher = sim.enter(client("p"));
    assert_eq!(sim.tell_surely(publisher, "t", "x"), ReasonCode::NO_MATCHING_SUBSCRIBERS);
    let reason = sim.send_publish(publisher, publish(Q2, 3, message("t", "x")));
    assert_eq!(reason, ReasonCode::NO_MATCHING_SUBSCRIBERS);
    sim.subscribe(publisher, "t", Q0);
    assert_eq!(sim.tell_surely(publisher, "t", "x"), ReasonCode::SUCCESS);
}

/// v5: MQTT-4.3.3-9
#[test]
fn topics_of_the_broker_are_not_for_clients() {
    let mut sim = Sim::new();
    let (publisher, subscriber) = (sim.enter(client("p")), sim.enter(client("s")));
    sim.subscribe(subscriber, "$SYS/#", Q2);
    sim.subscribe(subscriber, "$SYSTEM", Q2);
    assert_eq!(sim.tell_surely(publisher, "$SYS/x", "x"), ReasonCode::NOT_AUTHORIZED);
    assert_eq!(sim.tell_surely(publisher, "$share/g/x", "x"), ReasonCode::NOT_AUTHORIZED);
    for _ in 0..100 {
        let reason = sim.send_publish(publisher, publish(Q2, 3, message("$SYS/x", "x")));
        assert_eq!(reason, ReasonCode::NOT_AUTHORIZED);
    }
    sim.tell(publisher, "$SYS/x", "x");
    assert!(sim.take(subscriber).is_empty());
    assert_eq!(sim.realm.stats().dropped.reserved_topic, 103);
    assert_eq!(sim.realm.stats().unreleased, 0, "a refused packet id is free");
    sim.tell(publisher, "$SYSTEM", "x");
    assert_eq!(sim.payloads(subscriber), ["x"]);
    let refused = sim.connect(Connect { will: Some(will("$SYS/x", 0)), ..client("w") });
    assert_eq!(sim.conn_ack(refused).reason, ReasonCode::NOT_AUTHORIZED);
}

/// v5: MQTT-2.2.1-5, MQTT-3.3.4-1, MQTT-4.3.3-8, MQTT-4.3.3-10, MQTT-4.3.3-11, MQTT-4.3.3-12
#[test]
fn c_05_qos_2_is_delivered_once_however_often_it_comes() {
    let mut sim = Sim::new();
    let (publisher, subscriber) = (sim.enter(client("p")), sim.enter(client("s")));
    sim.subscribe(subscriber, "t", Q0);
    for repeat in 0..10_000 {
        let again = Publish { dup: repeat % 2 == 1, ..publish(Q2, 7, message("t", "x")) };
        assert_eq!(sim.send_publish(publisher, again), ReasonCode::SUCCESS);
    }
    assert_eq!(sim.payloads(subscriber), ["x"]);
    assert_eq!(sim.realm.stats().unreleased, 1);
    assert_eq!(sim.ask(publisher, Packet::PubRel(ack(7))), [Packet::PubComp(ack(7))]);
    sim.send_publish(publisher, publish(Q2, 7, message("t", "next")));
    assert_eq!(sim.payloads(subscriber), ["next"], "MQTT-4.3.3-12: after PUBREL the id is a new message");
}

/// v5: MQTT-4.3.3-10
#[test]
fn c_05_qos_2_is_delivered_once_across_a_reconnect() {
    let mut sim = Sim::new();
    let (publisher, subscriber) = (sim.enter(client("p")), sim.enter(client("s")));
    sim.subscribe(subscriber, "t", Q0);
    sim.send_publish(publisher, publish(Q2, 7, message("t", "x")));
    sim.lost(publisher);
    let publisher = sim.enter(client("p"));
    sim.send_publish(publisher, Publish { dup: true, ..publish(Q2, 7, message("t", "x")) });
    assert_eq!(sim.payloads(subscriber), ["x"]);
    assert_eq!(sim.ask(publisher, Packet::PubRel(ack(7))), [Packet::PubComp(ack(7))]);
}

/// v5: MQTT-4.3.2-5
#[test]
fn mqtt_4_3_2_5_a_publish_after_its_puback_is_a_new_message_whatever_its_dup() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q0);
    for dup in [false, true, true] {
        sim.send_publish(conn, Publish { dup, ..publish(Q1, 7, message("t", "x")) });
    }
    assert_eq!(sim.payloads(conn).len(), 3);
}

/// v5: MQTT-3.3.4-7
#[test]
fn c_06_one_more_than_the_receive_maximum_closes_the_connection() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("p"));
    for packet_id in 1..=64 {
        sim.send_publish(conn, publish(Q2, packet_id, message("t", "x")));
    }
    sim.tell_surely(conn, "t", "acknowledged at once, so not counted");
    assert!(sim.is_open(conn));
    sim.send(conn, Packet::Publish(publish(Q2, 65, message("t", "x"))));
    assert_eq!(sim.farewell(conn), Some(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED));
    assert_eq!(sim.realm.stats().unreleased, 64);
}

#[test]
fn c_06_a_3_1_1_client_which_was_told_no_maximum_has_a_wider_one() {
    let mut sim = Sim::new();
    let conn = sim.enter(v3_client("p", true));
    for packet_id in 1..=1024 {
        sim.send_publish(conn, publish(Q2, packet_id, message("t", "x")));
    }
    assert!(sim.is_open(conn));
    sim.send(conn, Packet::Publish(publish(Q2, 1025, message("t", "x"))));
    assert!(!sim.is_open(conn));
}

#[test]
fn c_09_acknowledgements_of_unknown_ids_leave_nothing_behind() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("a"));
    for packet_id in 1..=u16::MAX {
        assert!(sim.ask(conn, Packet::PubAck(ack(packet_id))).is_empty());
        let not_found = Packet::PubRel(Ack::new(id(packet_id), ReasonCode::PACKET_ID_NOT_FOUND));
        assert_eq!(sim.ask(conn, Packet::PubRec(ack(packet_id))), [not_found]);
        assert!(sim.ask(conn, Packet::PubComp(ack(packet_id))).is_empty());
        let unknown = Ack::new(id(packet_id), ReasonCode::PACKET_ID_NOT_FOUND);
        assert_eq!(sim.ask(conn, Packet::PubRel(ack(packet_id))), [Packet::PubComp(unknown)]);
    }
    assert_eq!((sim.realm.stats().in_flight, sim.realm.stats().unreleased), (0, 0));
}

/// v5: MQTT-4.13.1-1
/// v3.1.1: MQTT-4.8.0-1
#[test]
fn an_acknowledgement_that_its_exchange_does_not_have_ends_the_connection() {
    for connect in [client("s"), v3_client("s", false)] {
        for (qos, is_released, wrong) in [
            (Q1, false, Packet::PubRec(ack(1))),
            (Q1, false, Packet::PubComp(ack(1))),
            (Q2, false, Packet::PubAck(ack(1))),
            (Q2, false, Packet::PubComp(ack(1))),
            (Q2, true, Packet::PubAck(ack(1))),
        ] {
            let mut sim = Sim::new();
            let conn = sim.enter(connect.clone());
            sim.subscribe(conn, "t", qos);
            let publisher = sim.enter(client("p"));
            sim.send(publisher, Packet::Publish(publish(qos, 1, message("t", "x"))));
            assert_eq!(sim.payloads(conn), ["x"]);
            if is_released {
                assert_eq!(sim.ask(conn, Packet::PubRec(ack(1))), [Packet::PubRel(ack(1))]);
            }
            sim.send(conn, wrong.clone());
            assert_eq!(sim.farewell(conn), Some(ReasonCode::PROTOCOL_ERROR), "{qos:?} {wrong:?}");
            assert!(!sim.is_open(conn));
        }
    }
}

/// v5: MQTT-4.3.3-3, MQTT-4.3.3-4, MQTT-4.3.3-5
#[test]
fn outgoing_qos_2_goes_its_four_steps() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("a"));
    sim.subscribe(conn, "t", Q2);
    sim.send_publish(conn, publish(Q2, 1, message("t", "x")));
    assert_eq!(publishes(sim.take(conn)).len(), 1);
    assert_eq!(sim.ask(conn, Packet::PubRec(ack(1))), [Packet::PubRel(ack(1))]);
    assert_eq!(sim.ask(conn, Packet::PubRec(ack(1))), [Packet::PubRel(ack(1))], "a PUBREC again, a PUBREL again");
    assert_eq!(sim.realm.stats().in_flight, 1);
    assert!(sim.ask(conn, Packet::PubComp(ack(1))).is_empty());
    assert_eq!(sim.realm.stats().in_flight, 0);
}

/// v5: MQTT-4.3.3-4
#[test]
fn mqtt_4_3_3_4_a_pubrec_with_an_error_ends_the_exchange_without_pubrel() {
    let mut sim = Sim::with(RealmLimits { inflight_out: 1, ..RealmLimits::default() });
    let conn = sim.enter(client("a"));
    sim.subscribe(conn, "t", Q2);
    for payload in ["1", "2"] {
        sim.send_publish(conn, publish(Q2, 1, message("t", payload)));
        sim.send(conn, Packet::PubRel(ack(1)));
    }
    sim.take(conn);
    let answer = sim.ask(conn, Packet::PubRec(Ack::new(id(1), ReasonCode::QUOTA_EXCEEDED)));
    let [Packet::Publish(next)] = &answer[..] else { panic!("{answer:?}") };
    assert_eq!(payload(next), "2", "the next message takes the place");
}

/// v5: MQTT-3.3.4-9, MQTT-4.3.2-3, MQTT-4.9.0-1, MQTT-4.9.0-2
#[test]
fn mqtt_3_3_4_9_no_more_unacknowledged_than_the_receive_maximum_of_the_client() {
    let mut sim = Sim::new();
    let publisher = sim.enter(client("p"));
    let conn = sim.enter(Connect { receive_maximum: max(2), ..client("s") });
    sim.subscribe(conn, "t", Q1);
    for payload in ["1", "2", "3", "4"] {
        sim.tell_surely(publisher, "t", payload);
    }
    assert_eq!(sim.payloads(conn), ["1", "2"]);
    assert_eq!((sim.realm.stats().in_flight, sim.realm.stats().queued), (2, 2));
    sim.send(conn, Packet::PubAck(ack(1)));
    assert_eq!(sim.payloads(conn), ["3"]);
    sim.tell(publisher, "t", "QoS 0 has no window");
    assert_eq!(sim.payloads(conn), ["QoS 0 has no window"]);
}

/// v5: MQTT-3.3.4-10, MQTT-4.9.0-3
#[test]
fn mqtt_4_9_0_3_a_full_window_holds_up_nothing_but_publishes() {
    let mut sim = Sim::new();
    let publisher = sim.enter(client("p"));
    let conn = sim.enter(Connect { receive_maximum: max(1), ..client("s") });
    sim.subscribe(conn, "t", Q2);
    for payload in ["1", "2"] {
        sim.tell_surely(publisher, "t", payload);
    }
    assert_eq!(sim.payloads(conn), ["1"]);
    sim.subscribe(conn, "other", Q0);
    assert_eq!(sim.unsubscribe(conn, "other"), ReasonCode::SUCCESS);
    assert_eq!(sim.tell_surely(conn, "nobody", "x"), ReasonCode::NO_MATCHING_SUBSCRIBERS);
    assert_eq!(sim.send_publish(conn, publish(Q2, 3, message("nobody", "x"))), ReasonCode::NO_MATCHING_SUBSCRIBERS);
    assert_eq!(sim.ask(conn, Packet::PubRel(ack(3))), [Packet::PubComp(ack(3))]);
}

#[test]
fn the_window_of_the_server_caps_that_of_the_client() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q1);
    for _ in 0..40 {
        sim.tell_surely(conn, "t", "x");
    }
    assert_eq!(sim.payloads(conn).len(), 32);
}

/// v5: MQTT-3.1.2-24, MQTT-3.1.2-25
#[test]
fn mqtt_3_1_2_24_what_is_larger_than_the_client_takes_is_not_sent() {
    let mut sim = Sim::new();
    let publisher = sim.enter(client("p"));
    // 1 + 1 header, 2 + 1 topic, 2 packet id, 1 property length, 32 payload
    let conn = sim.enter(Connect { maximum_packet_size: Some(40), ..client("s") });
    sim.subscribe(conn, "t", Q1);
    for size in [32, 33] {
        sim.tell_surely(publisher, "t", &"x".repeat(size));
    }
    sim.tell(publisher, "t", &"x".repeat(34));
    sim.tell(publisher, "t", &"x".repeat(35));
    let sizes: Vec<usize> = sim.payloads(conn).iter().map(String::len).collect();
    assert_eq!(sizes, [32, 34]);
    assert_eq!(sim.realm.stats().dropped.too_large, 2);
    assert_eq!(sim.realm.stats().in_flight, 1, "MQTT-3.1.2-25: as if it had been delivered");
}

/// v5: MQTT-3.3.2-5, MQTT-3.3.2-6
#[test]
fn c_11_the_expiry_is_reduced_by_the_wait_and_the_expired_is_not_delivered() {
    for (away, expected) in [(1, Some(1)), (3, None)] {
        let mut sim = Sim::new();
        let publisher = sim.enter(client("p"));
        let conn = sim.enter(client("s"));
        sim.subscribe(conn, "t", Q1);
        sim.lost(conn);
        let expiring = Message { expiry: Some(2), ..message("t", "x") };
        sim.send_publish(publisher, publish(Q1, 1, expiring));
        sim.pass(away);
        let conn = sim.enter(client("s"));
        let arrived = publishes(sim.take(conn));
        assert_eq!(arrived.first().map(|p| p.expiry_left), expected.map(Some));
        assert_eq!(sim.realm.stats().dropped.expired, u64::from(expected.is_none()));
    }
}

#[test]
fn a_message_without_delay_keeps_its_expiry() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q0);
    for expiry in [0, 5] {
        sim.send(conn, Packet::Publish(publish(Q0, 0, Message { expiry: Some(expiry), ..message("t", "x") })));
        assert_eq!(publishes(sim.take(conn))[0].expiry_left, Some(expiry));
    }
}

/// v5: MQTT-4.3.3-13
#[test]
fn mqtt_4_3_3_13_an_exchange_goes_on_though_its_message_expired() {
    let mut sim = Sim::new();
    let (publisher, subscriber) = (sim.enter(client("p")), sim.enter(client("s")));
    sim.subscribe(subscriber, "t", Q2);
    sim.lost(subscriber);
    let expiring = || publish(Q2, 5, Message { expiry: Some(1), ..message("t", "x") });
    assert_eq!(sim.send_publish(publisher, expiring()), ReasonCode::SUCCESS);
    sim.pass(10);
    assert_eq!(sim.send_publish(publisher, Publish { dup: true, ..expiring() }), ReasonCode::SUCCESS);
    assert_eq!(sim.ask(publisher, Packet::PubRel(ack(5))), [Packet::PubComp(ack(5))]);
    let subscriber = sim.enter(client("s"));
    assert!(sim.take(subscriber).is_empty());
}

#[test]
fn qos_0_waits_for_nobody() {
    let mut sim = Sim::new();
    let publisher = sim.enter(client("p"));
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q2);
    sim.lost(conn);
    sim.tell(publisher, "t", "x");
    let conn = sim.enter(client("s"));
    assert!(sim.take(conn).is_empty());
    assert_eq!(sim.realm.stats().dropped.offline, 1);
}

#[test]
fn a_full_queue_of_an_absent_client_keeps_the_newest() {
    let mut sim = Sim::with(RealmLimits { queue_messages: 3, ..RealmLimits::default() });
    let publisher = sim.enter(client("p"));
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q1);
    sim.lost(conn);
    for payload in ["1", "2", "3", "4"] {
        sim.tell_surely(publisher, "t", payload);
    }
    assert_eq!((sim.realm.stats().queued, sim.realm.stats().dropped.queue_full), (3, 1));
    let conn = sim.enter(client("s"));
    assert_eq!(sim.payloads(conn), ["2", "3", "4"]);
}

/// v5: MQTT-3.3.2-4, MQTT-3.3.2-15, MQTT-3.3.2-16, MQTT-3.3.2-17, MQTT-3.3.2-18, MQTT-3.3.2-20
#[test]
fn c_12_a_message_arrives_as_it_was_sent_and_is_held_once() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q1);
    let properties = (0..30).map(|i| (format!("k{}", i % 3).into(), format!("v{i}").into())).collect();
    let sent = Message {
        payload_is_utf8: Some(true),
        correlation_data: Some(b"\0\x01\0"[..].into()),
        content_type: Some("text".into()),
        response_topic: Some(Topic::new("answers/here").unwrap()),
        user_properties: properties,
        ..message("t", "x")
    };
    let packet = publish(Q1, 1, sent.clone());
    let held = std::sync::Arc::clone(&packet.message);
    sim.send(conn, Packet::Publish(packet));
    let arrived = publishes(sim.take(conn)).remove(0);
    assert_eq!(*arrived.message, sent);
    assert!(std::sync::Arc::ptr_eq(&arrived.message, &held));
}
