//! Subscriptions: overlapping, shared, with options; retained messages.

use postern_mqtt::packet::{
    Ack, Connect, InvalidFilter, Message, Packet, Publish, RetainHandling, SubAck, Subscription, Unsubscribe,
};
use postern_mqtt::{Filter, ReasonCode};
use postern_realm::{ConnId, RealmLimits};

use crate::sim::*;

/// v5: MQTT-4.7.2-1
#[test]
fn d_04_mqtt_4_7_2_1_leading_wildcards_do_not_match_a_leading_dollar() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "#", Q0);
    sim.subscribe(conn, "+/info", Q0);
    sim.retain(conn, "$x/info", "retained", Q0);
    sim.tell(conn, "$x/info", "x");
    sim.subscribe(conn, "#", Q0);
    assert!(sim.take(conn).is_empty());
    sim.tell(conn, "x/info", "x");
    assert_eq!(sim.payloads(conn), ["x"]);
}

/// v5: MQTT-3.3.4-2, MQTT-3.3.4-3, MQTT-3.3.4-4
#[test]
fn d_07_overlapping_subscriptions_are_one_copy_of_the_highest_qos_with_all_ids() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    for (filter, subscription_id, qos) in [("a/+", 1, Q0), ("a/#", 2, Q2), ("#", 3, Q1), ("b", 4, Q2)] {
        sim.subscribe_with(conn, subscription_id, vec![subscription(filter, qos)]);
    }
    sim.send_publish(conn, publish(Q2, 1, message("a/b", "x")));
    let mut arrived = publishes(sim.take(conn));
    assert_eq!(arrived.len(), 1);
    arrived[0].subscription_ids.sort_unstable();
    assert_eq!((arrived[0].qos, &arrived[0].subscription_ids[..]), (Q2, &[1, 2, 3][..]));
}

/// v5: MQTT-3.8.4-3
#[test]
fn mqtt_3_8_4_3_a_subscription_is_replaced_by_one_of_the_same_filter() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.subscribe_with(conn, 1, vec![subscription("t", Q2)]);
    sim.subscribe_with(conn, 2, vec![subscription("t", Q0)]);
    assert_eq!(sim.realm.stats().subscriptions, 1);
    sim.tell_surely(conn, "t", "x");
    let arrived = publishes(sim.take(conn));
    assert_eq!(arrived.len(), 1);
    assert_eq!((arrived[0].qos, &arrived[0].subscription_ids[..]), (Q0, &[2][..]));
}

/// v5: MQTT-3.8.3-3
#[test]
fn mqtt_3_8_3_3_no_local_keeps_a_clients_own_messages_from_it() {
    let mut sim = Sim::new();
    let (conn, other) = (sim.enter(client("s")), sim.enter(client("o")));
    sim.retain(conn, "t", "own, retained", Q0);
    sim.subscribe_with(conn, 0, vec![Subscription { no_local: true, ..subscription("t", Q0) }]);
    sim.tell(conn, "t", "own");
    assert!(sim.take(conn).is_empty());
    sim.tell(other, "t", "of another");
    assert_eq!(sim.payloads(conn), ["of another"]);
    sim.subscribe(conn, "#", Q0);
    sim.take(conn);
    sim.tell(conn, "t", "own");
    assert_eq!(sim.payloads(conn), ["own"], "by the subscription without No Local");
}

/// v5: MQTT-3.8.3-4
#[test]
fn d_03_mqtt_3_8_3_4_no_local_on_a_shared_subscription_closes_the_connection() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    let packet = subscribe(None, vec![Subscription { no_local: true, ..subscription("$share/g/t", Q0) }]);
    sim.send(conn, packet);
    assert_eq!(sim.farewell(conn), Some(ReasonCode::PROTOCOL_ERROR));
    assert_eq!(sim.realm.stats().subscriptions, 0);
}

/// v5: MQTT-3.3.1-12, MQTT-3.3.1-13
#[test]
fn mqtt_3_3_1_12_and_13_retain_is_forwarded_only_as_asked() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    for retain_as_published in [false, true] {
        sim.subscribe_with(conn, 0, vec![Subscription { retain_as_published, ..subscription("t", Q0) }]);
        for retain in [false, true] {
            sim.send(conn, Packet::Publish(Publish { retain, ..publish(Q0, 0, message("t", "")) }));
            assert_eq!(publishes(sim.take(conn))[0].retain, retain && retain_as_published);
        }
    }
}

/// v5: MQTT-3.3.1-9, MQTT-3.3.1-10, MQTT-3.3.1-11, MQTT-3.8.4-8
#[test]
fn d_08_retain_handling_decides_on_the_replay() {
    use RetainHandling::{Always, IfNew, Never};
    for (handling, at_first, again) in [(Always, 1, 1), (IfNew, 1, 0), (Never, 0, 0)] {
        let mut sim = Sim::new();
        let conn = sim.enter(client("s"));
        sim.retain(conn, "t", "x", Q2);
        for expected in [at_first, again] {
            let filter = Subscription { retain_handling: handling, ..subscription("t", Q0) };
            sim.subscribe_with(conn, 5, vec![filter]);
            let replayed = publishes(sim.take(conn));
            assert_eq!(replayed.len(), expected, "{handling:?}");
            for publish in replayed {
                assert_eq!((publish.qos, publish.retain), (Q0, true), "MQTT-3.8.4-8, MQTT-3.3.1-8");
                assert_eq!(publish.subscription_ids, [5], "MQTT-3.3.4-4");
            }
        }
    }
}

#[test]
fn the_suback_comes_before_the_retained_messages() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.retain(conn, "t", "x", Q1);
    let packet = subscribe(None, vec![subscription("t", Q1)]);
    let packets = sim.ask(conn, packet);
    assert!(matches!(&packets[..], [Packet::SubAck(_), Packet::Publish(_)]), "{packets:?}");
}

/// v5: MQTT-3.3.1-5, MQTT-3.3.1-6, MQTT-3.3.1-7
#[test]
fn mqtt_3_3_1_5_to_7_a_retained_message_is_replaced_and_taken_away() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.retain(conn, "a/b", "1", Q0);
    sim.retain(conn, "a/b", "2", Q1);
    sim.retain(conn, "a/c", "3", Q0);
    sim.subscribe(conn, "a/+", Q0);
    assert_eq!(sim.payloads(conn), ["2", "3"]);
    sim.retain(conn, "a/b", "", Q0);
    sim.subscribe(conn, "a/#", Q0);
    assert_eq!(sim.payloads(conn), ["3"]);
    assert_eq!(sim.realm.stats().retained, 1);
}

/// v5: MQTT-3.3.2-3
/// v3.1.1: MQTT-3.3.2-3
#[test]
fn mqtt_3_3_2_3_a_message_comes_only_where_its_topic_matches_the_filter() {
    for (filter, expected) in [
        ("a/b/c", &["a/b/c"][..]),
        ("a/+/c", &["a/b/c", "a/x/c"]),
        ("a/#", &["a", "a/b/c", "a/x/c", "a/"]),
        ("+", &["a", "A"]),
        ("$share/g/a/b/#", &["a/b/c"]),
    ] {
        for connect in [client("s"), v3_client("s", true)] {
            let mut sim = Sim::new();
            let conn = sim.enter(connect);
            sim.subscribe(conn, filter, Q0);
            for topic in ["a", "A", "a/b/c", "a/x/c", "/a", "a/", "ab/c"] {
                sim.tell(conn, topic, "");
            }
            let arrived = publishes(sim.take(conn));
            let topics: Vec<&str> = arrived.iter().map(|publish| publish.message.topic.as_str()).collect();
            assert_eq!(topics, expected, "{filter}");
        }
    }
}

/// v5: MQTT-3.3.1-8
#[test]
fn mqtt_3_3_1_8_a_message_that_is_not_retained_leaves_the_retained_one_alone() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.tell(conn, "new", "x");
    sim.retain(conn, "t", "kept", Q0);
    sim.tell(conn, "t", "passing");
    sim.tell(conn, "t", "");
    sim.subscribe(conn, "#", Q0);
    assert_eq!(sim.payloads(conn), ["kept"]);
}

/// v5: MQTT-3.8.4-4
#[test]
fn mqtt_3_8_4_4_nothing_is_lost_while_a_subscription_is_replaced() {
    let mut sim = Sim::with(RealmLimits { inflight_out: 1, ..RealmLimits::default() });
    let conn = sim.enter(client("s"));
    sim.retain(conn, "t", "retained", Q0);
    let mut came = Vec::new();
    for round in 0..3 {
        sim.subscribe(conn, "t", Q1);
        sim.tell_surely(conn, "t", &round.to_string());
        came.extend(sim.payloads(conn));
    }
    for packet_id in 1..=2 {
        came.extend(publishes(sim.ask(conn, Packet::PubAck(ack(packet_id)))).iter().map(|p| payload(p).to_owned()));
    }
    assert_eq!(came.iter().filter(|payload| *payload == "retained").count(), 3, "sent again each time");
    came.retain(|payload| payload != "retained");
    assert_eq!(came, ["0", "1", "2"]);
}

/// v5: MQTT-3.10.4-3
#[test]
fn mqtt_3_10_4_3_what_has_begun_is_completed_after_unsubscribe() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q2);
    sim.send_publish(conn, publish(Q2, 1, message("t", "x")));
    sim.take(conn);
    assert_eq!(sim.unsubscribe(conn, "t"), ReasonCode::SUCCESS);
    sim.lost(conn);
    let conn = sim.enter(client("s"));
    assert_eq!(sim.payloads(conn), ["x"]);
    assert_eq!(sim.ask(conn, Packet::PubRec(ack(1))), [Packet::PubRel(ack(1))]);
    assert!(sim.ask(conn, Packet::PubComp(ack(1))).is_empty());
    assert_eq!(sim.realm.stats().in_flight, 0);
}

/// Two members of a group; the first got a message and has not acknowledged it.
fn a_shared_message_in_flight() -> (Sim, [ConnId; 2]) {
    let mut sim = Sim::new();
    let members = ["first", "second"].map(|name| {
        let conn = sim.enter(client(name));
        sim.subscribe(conn, "$share/g/t", Q1);
        conn
    });
    let publisher = sim.enter(client("p"));
    sim.tell_surely(publisher, "t", "x");
    assert_eq!(members.map(|conn| sim.payloads(conn).len()), [1, 0]);
    (sim, members)
}

/// v5: MQTT-4.8.2-4
#[test]
fn mqtt_4_8_2_4_a_shared_message_in_flight_is_completed_with_its_member() {
    let (mut sim, [first, second]) = a_shared_message_in_flight();
    sim.lost(first);
    assert!(sim.take(second).is_empty());
    let first = sim.enter(client("first"));
    assert_eq!(sim.payloads(first), ["x"]);
    assert!(sim.take(second).is_empty());
}

/// v5: MQTT-4.8.2-5
#[test]
fn mqtt_4_8_2_5_a_shared_message_in_flight_ends_with_the_session_of_its_member() {
    let (mut sim, [first, second]) = a_shared_message_in_flight();
    sim.lost(first);
    sim.pass(101);
    assert_eq!(sim.realm.stats().sessions, 2);
    assert!(sim.take(second).is_empty());
}

/// v5: MQTT-4.8.2-6
#[test]
fn mqtt_4_8_2_6_a_shared_message_that_its_member_refuses_goes_to_nobody_else() {
    let (mut sim, [first, second]) = a_shared_message_in_flight();
    let refused = Packet::PubAck(Ack::new(id(1), ReasonCode::QUOTA_EXCEEDED));
    assert!(sim.ask(first, refused).is_empty());
    sim.lost(first);
    let first = sim.enter(client("first"));
    assert!(sim.take(first).is_empty());
    assert!(sim.take(second).is_empty());
}

/// v5: MQTT-3.3.2-5, MQTT-3.3.2-6
#[test]
fn mqtt_3_3_2_5_retained_messages_expire() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    let expiring = Message { expiry: Some(10), ..message("t", "x") };
    sim.send(conn, Packet::Publish(Publish { retain: true, ..publish(Q0, 0, expiring) }));
    sim.pass(4);
    sim.subscribe(conn, "t", Q0);
    assert_eq!(publishes(sim.take(conn))[0].expiry_left, Some(6));
    assert_eq!(sim.wakes_in_ms(), Some(6001));
    sim.pass(7);
    sim.subscribe(conn, "t", Q0);
    assert!(sim.take(conn).is_empty());
    assert_eq!(sim.realm.stats().retained, 0);
}

#[test]
fn a_full_retained_store_refuses_who_can_be_told_and_delivers_for_the_rest() {
    let mut sim = Sim::with(RealmLimits { retained_messages: 1, ..RealmLimits::default() });
    let conn = sim.enter(client("s"));
    let old = sim.enter(v3_client("old", true));
    sim.retain(conn, "a", "1", Q0);
    sim.subscribe(conn, "b", Q0);
    let retained = |qos, packet_id| Publish { retain: true, ..publish(qos, packet_id, message("b", "x")) };
    assert_eq!(sim.send_publish(conn, retained(Q1, 1)), ReasonCode::QUOTA_EXCEEDED);
    assert_eq!(sim.send_publish(conn, retained(Q2, 1)), ReasonCode::QUOTA_EXCEEDED);
    assert!(sim.take(conn).is_empty());
    assert_eq!(sim.send_publish(old, retained(Q1, 1)), ReasonCode::SUCCESS);
    sim.send(old, Packet::Publish(retained(Q0, 0)));
    assert_eq!(sim.payloads(conn), ["x", "x"]);
    assert_eq!((sim.realm.stats().retained, sim.realm.stats().dropped.retained_full), (1, 4));
}

/// v5: MQTT-4.8.2-3
#[test]
fn shared_subscriptions_take_turns_at_the_qos_of_each_member() {
    let mut sim = Sim::new();
    let publisher = sim.enter(client("p"));
    let members = [Q0, Q1].map(|qos| {
        let conn = sim.enter(client(&format!("{qos:?}")));
        sim.subscribe(conn, "$share/g/t", qos);
        conn
    });
    for n in 0..6 {
        assert_eq!(sim.tell_surely(publisher, "t", &n.to_string()), ReasonCode::SUCCESS);
    }
    let [first, second] = members.map(|conn| publishes(sim.take(conn)));
    assert_eq!(first.iter().map(payload).collect::<Vec<_>>(), ["0", "2", "4"]);
    assert_eq!(second.iter().map(payload).collect::<Vec<_>>(), ["1", "3", "5"]);
    assert_eq!((first[0].qos, second[0].qos), (Q0, Q1));
    sim.lost(members[0]);
    for _ in 0..3 {
        sim.tell_surely(publisher, "t", "x");
    }
    assert_eq!(sim.payloads(members[1]).len(), 3, "who is away is passed over");
}

/// v5: MQTT-3.3.4-5
#[test]
fn mqtt_3_3_4_5_each_of_two_copies_has_the_id_of_its_own_subscription() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.subscribe_with(conn, 1, vec![subscription("$share/g/t", Q0)]);
    sim.subscribe_with(conn, 2, vec![subscription("t", Q0)]);
    sim.tell(conn, "t", "x");
    let mut ids: Vec<_> = publishes(sim.take(conn)).into_iter().map(|publish| publish.subscription_ids).collect();
    ids.sort_unstable();
    assert_eq!(ids, [[1], [2]]);
}

#[test]
fn a_shared_and_an_ordinary_subscription_are_two_copies_and_retained_goes_to_the_ordinary() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.retain(conn, "t", "retained", Q0);
    sim.subscribe(conn, "$share/g/t", Q0);
    assert!(sim.take(conn).is_empty());
    sim.subscribe(conn, "t", Q0);
    assert_eq!(sim.payloads(conn), ["retained"]);
    sim.tell(conn, "t", "x");
    assert_eq!(sim.payloads(conn), ["x", "x"]);
}

/// v5: MQTT-2.2.1-6, MQTT-3.8.4-1, MQTT-3.8.4-2, MQTT-3.8.4-5, MQTT-3.8.4-6, MQTT-3.8.4-7, MQTT-3.9.3-1
/// v5: MQTT-3.10.4-4, MQTT-3.10.4-5, MQTT-3.10.4-6, MQTT-3.11.3-1
#[test]
fn d_01_a_bad_filter_fails_alone() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    let invalid = || Err(InvalidFilter { reason: ReasonCode::TOPIC_FILTER_INVALID });
    let bad = Subscription { filter: invalid(), ..subscription("t", Q0) };
    let reasons = sim.subscribe_with(conn, 0, vec![subscription("a", Q2), bad, subscription("b", Q1)]);
    assert_eq!(reasons, [ReasonCode::GRANTED_QOS_2, ReasonCode::TOPIC_FILTER_INVALID, ReasonCode::GRANTED_QOS_1]);
    let filters = vec![Ok(Filter::new("a").unwrap()), invalid(), Ok(Filter::new("c").unwrap())];
    let packet = Unsubscribe { packet_id: id(3), user_properties: Vec::new(), filters };
    let reasons = [0x00, 0x8F, 0x11].map(ReasonCode).to_vec();
    let expected = Packet::UnsubAck(SubAck { packet_id: id(3), reasons, reason_string: None });
    assert_eq!(sim.ask(conn, Packet::Unsubscribe(packet)), [expected]);
}

#[test]
fn d_06_one_subscription_too_many_gets_0x97_and_the_rest_is_untouched() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    let filters = |n: std::ops::Range<u32>| n.map(|n| subscription(&format!("t/{n}/x"), Q0)).collect::<Vec<_>>();
    let reasons = sim.subscribe_with(conn, 0, filters(0..1001));
    assert_eq!(reasons.iter().filter(|r| r.is_error()).count(), 1);
    assert_eq!(reasons[1000], ReasonCode::QUOTA_EXCEEDED);
    let reasons = sim.subscribe_with(conn, 0, filters(0..1000));
    assert!(reasons.iter().all(|r| !r.is_error()), "to replace one needs no further place");
    sim.tell(conn, "t/999/x", "x");
    assert_eq!(sim.payloads(conn), ["x"]);
    for n in 0..1000 {
        assert_eq!(sim.unsubscribe(conn, &format!("t/{n}/x")), ReasonCode::SUCCESS);
    }
    assert_eq!(sim.realm.stats().subscriptions, 0);
}

#[test]
fn d_06_the_realm_as_a_whole_has_a_limit_of_subscriptions() {
    let mut sim = Sim::with(RealmLimits { subscriptions: 1, ..RealmLimits::default() });
    let (first, second) = (sim.enter(Connect { session_expiry: None, ..client("a") }), sim.enter(client("b")));
    sim.subscribe(first, "t", Q0);
    assert_eq!(sim.subscribe_with(second, 0, vec![subscription("t", Q0)]), [ReasonCode::QUOTA_EXCEEDED]);
    sim.lost(first);
    sim.subscribe(second, "t", Q0);
}

/// v5: MQTT-3.10.4-1, MQTT-3.10.4-2, MQTT-3.10.4-5, MQTT-4.7.3-4
#[test]
fn d_12_unsubscribe_names_the_filter_byte_for_byte() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "Straße/é", Q0);
    for other in ["straße/é", "Strasse/é", "Straße/e\u{301}", "$share/g/Straße/é"] {
        assert_eq!(sim.unsubscribe(conn, other), ReasonCode::NO_SUBSCRIPTION_EXISTED);
    }
    sim.tell(conn, "Straße/é", "x");
    assert_eq!(sim.payloads(conn), ["x"]);
    assert_eq!(sim.unsubscribe(conn, "Straße/é"), ReasonCode::SUCCESS);
    sim.tell(conn, "Straße/é", "x");
    assert!(sim.take(conn).is_empty());
}
