//! Clients that take less than they are sent: parked connections, bounded windows, and the paced replay of retained
//! messages.

use std::sync::Arc;

use postern_mqtt::packet::{Message, Publish};
use postern_mqtt::{Packet, ReasonCode, Topic};
use postern_realm::{ConnId, Input, RealmLimits, TURN_BYTES, held_bytes};

use crate::sim::{
    Q0, Q1, Q2, Sim, ack, client, max, message, payload, publish, publishes, subscribe, subscription, unsubscribe,
};

const KIB: usize = 1024;

fn park(sim: &mut Sim, conn: ConnId) {
    sim.step(vec![Input::Parked { conn }]);
}

fn resume(sim: &mut Sim, conn: ConnId) {
    sim.step(vec![Input::Resumed { conn }]);
}

fn large(topic: &str, bytes: usize) -> Message {
    Message::new(Topic::new(topic).unwrap(), vec![b'x'; bytes].into())
}

/// Retained messages `t/000`, `t/001` and so on, in the order of their topics.
fn retained(sim: &mut Sim, count: usize, qos: postern_mqtt::packet::QoS) -> Vec<String> {
    let publisher = sim.enter(client("keeper"));
    let names: Vec<String> = (0..count).map(|n| format!("{n:03}")).collect();
    for name in &names {
        sim.retain(publisher, &format!("t/{name}"), name, qos);
    }
    names
}

#[test]
fn a_parked_client_gets_answers_and_no_messages_until_it_is_resumed() {
    let mut sim = Sim::new();
    let publisher = sim.enter(client("p"));
    let slow = sim.enter(client("s"));
    sim.subscribe(slow, "t", Q1);
    park(&mut sim, slow);
    for payload in ["1", "2", "3"] {
        sim.tell_surely(publisher, "t", payload);
    }
    sim.tell(publisher, "t", "once");
    assert!(sim.payloads(slow).is_empty());
    assert_eq!(sim.realm.stats().queued, 3);
    assert_eq!(sim.realm.stats().dropped.slow_consumer, 1, "QoS 0 does not wait");
    assert_eq!(sim.tell_surely(slow, "elsewhere", "x"), ReasonCode::NO_MATCHING_SUBSCRIBERS, "answers go on");
    resume(&mut sim, slow);
    assert_eq!(sim.payloads(slow), ["1", "2", "3"]);
    sim.tell(publisher, "t", "4");
    assert_eq!(sim.payloads(slow), ["4"]);
}

#[test]
fn the_queue_of_a_parked_client_keeps_its_limits_and_counts_what_they_cost() {
    let mut sim = Sim::with(RealmLimits { queue_messages: 2, ..RealmLimits::default() });
    let publisher = sim.enter(client("p"));
    let slow = sim.enter(client("s"));
    sim.subscribe(slow, "t", Q2);
    park(&mut sim, slow);
    for payload in ["1", "2", "3", "4", "5"] {
        sim.tell_surely(publisher, "t", payload);
    }
    assert_eq!(sim.realm.stats().dropped.queue_full, 3);
    resume(&mut sim, slow);
    assert_eq!(sim.payloads(slow), ["4", "5"], "the newest, in their order");
}

#[test]
fn parking_ends_with_the_connection_and_what_it_left_behind_is_repeated() {
    let mut sim = Sim::new();
    let publisher = sim.enter(client("p"));
    let slow = sim.enter(client("s"));
    sim.subscribe(slow, "t", Q1);
    sim.tell_surely(publisher, "t", "1");
    park(&mut sim, slow);
    sim.tell_surely(publisher, "t", "2");
    sim.lost(slow);
    let again = sim.enter(client("s"));
    assert_eq!(sim.payloads(again), ["1", "2"]);
    // Late word of a connection that is gone.
    resume(&mut sim, slow);
    park(&mut sim, slow);
    sim.tell_surely(publisher, "t", "3");
    assert_eq!(sim.payloads(again), ["3"]);
}

#[test]
fn the_share_of_a_turn_bounds_what_one_client_gets_and_the_queue_goes_on_in_the_next() {
    let mut sim = Sim::with(RealmLimits { inflight_out: 1000, ..RealmLimits::default() });
    let publisher = sim.enter(client("p"));
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q1);
    let message = large("t", 100 * KIB);
    let inputs =
        (1..=30).map(|n| Input::Packet { conn: publisher, packet: Packet::Publish(publish(Q1, n, message.clone())) });
    sim.turn(inputs.collect());
    let first = publishes(sim.take(conn));
    assert_eq!(first.len(), TURN_BYTES.div_ceil(held_bytes(&message)));
    assert!(sim.realm.has_more());
    let mut turns = 1;
    let mut all = first;
    while sim.realm.has_more() {
        sim.turn(Vec::new());
        turns += 1;
        all.extend(publishes(sim.take(conn)));
    }
    assert_eq!((turns, all.len()), (3, 30));
    assert!(all.is_sorted_by_key(|publish| publish.packet_id), "in their order");
    assert_eq!(sim.realm.stats().dropped.slow_consumer, 0);
}

#[test]
fn beyond_the_share_of_a_turn_qos_0_is_dropped_and_counted() {
    let mut sim = Sim::new();
    let publisher = sim.enter(client("p"));
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q0);
    let message = large("t", 100 * KIB);
    let publish = || Packet::Publish(publish(Q0, 0, message.clone()));
    sim.turn((0..30).map(|_| Input::Packet { conn: publisher, packet: publish() }).collect());
    let got = publishes(sim.take(conn)).len();
    assert_eq!(got, TURN_BYTES.div_ceil(held_bytes(&message)));
    assert_eq!(sim.realm.stats().dropped.slow_consumer, 30 - got as u64);
    sim.send(publisher, publish());
    assert_eq!(publishes(sim.take(conn)).len(), 1, "the next turn has a share of its own");
}

#[test]
fn what_is_not_acknowledged_is_bounded_in_bytes_and_counts_for_all_sessions_together() {
    let one = held_bytes(&large("t", KIB));
    let limits = RealmLimits { queue_bytes: 3 * one, queue_bytes_total: 4 * one, ..RealmLimits::default() };
    let mut sim = Sim::with(limits);
    let publisher = sim.enter(client("p"));
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q1);
    for _ in 0..6 {
        sim.send_publish(publisher, publish(Q1, 1, large("t", KIB)));
    }
    let got = publishes(sim.take(conn));
    assert_eq!((got.len(), sim.realm.stats().queued), (3, 1), "three in flight, and one more fits the realm");
    assert_eq!(sim.realm.stats().dropped.queue_full, 2);
    for publish in &got {
        sim.send(conn, Packet::PubAck(ack(publish.packet_id.unwrap().get())));
    }
    assert_eq!(publishes(sim.take(conn)).len(), 1);
    sim.send(conn, Packet::PubAck(ack(4)));
    for _ in 0..4 {
        sim.send_publish(publisher, publish(Q1, 1, large("t", KIB)));
    }
    assert_eq!(sim.realm.stats().dropped.queue_full, 2, "what was acknowledged gave its place back");
}

#[test]
fn a_message_larger_than_the_window_goes_alone() {
    let mut sim = Sim::with(RealmLimits { queue_bytes: 3 * KIB, ..RealmLimits::default() });
    let publisher = sim.enter(client("p"));
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q1);
    for _ in 0..2 {
        sim.send_publish(publisher, publish(Q1, 1, large("t", 2 * KIB)));
    }
    assert_eq!(publishes(sim.take(conn)).len(), 1);
    sim.send(conn, Packet::PubAck(ack(1)));
    assert_eq!(publishes(sim.take(conn)).len(), 1);
}

#[test]
fn one_payload_is_held_once_however_many_subscribers_it_has() {
    let mut sim = Sim::new();
    let publisher = sim.enter(client("p"));
    let mut taken: Vec<Publish> = Vec::new();
    let mut conns = Vec::new();
    for n in 0..50 {
        let conn = sim.enter(client(&format!("s{n}")));
        sim.subscribe(conn, "t", [Q0, Q1, Q2][n % 3]);
        // Some get it at once, for some it waits.
        if n % 2 == 0 {
            park(&mut sim, conn);
        }
        conns.push(conn);
    }
    sim.send_publish(publisher, publish(Q2, 1, message("t", "x")));
    for &conn in &conns {
        resume(&mut sim, conn);
        taken.extend(publishes(sim.take(conn)));
    }
    assert!(taken.len() > 30);
    assert!(taken.iter().all(|publish| Arc::ptr_eq(&publish.message, &taken[0].message)));
}

#[test]
fn a_shared_message_goes_to_a_member_that_keeps_up() {
    let mut sim = Sim::new();
    let publisher = sim.enter(client("p"));
    let [slow, fast] = ["slow", "fast"].map(|name| {
        let conn = sim.enter(client(name));
        sim.subscribe(conn, "$share/g/t", Q1);
        conn
    });
    park(&mut sim, slow);
    for payload in ["1", "2", "3"] {
        sim.tell_surely(publisher, "t", payload);
    }
    assert_eq!(sim.payloads(fast), ["1", "2", "3"]);
    resume(&mut sim, slow);
    assert!(sim.payloads(slow).is_empty());
    sim.tell_surely(publisher, "t", "4");
    assert_eq!(sim.payloads(slow), ["4"]);
}

#[test]
fn d_11_a_replay_is_whole_however_long_it_is_and_each_turn_brings_a_part() {
    let mut sim = Sim::new();
    let names = retained(&mut sim, 900, Q0);
    let conn = sim.enter(client("s"));
    sim.turn(vec![Input::Packet { conn, packet: subscribe(Some(7), vec![subscription("#", Q1)]) }]);
    let mut came = publishes(sim.take(conn));
    assert!(!came.is_empty() && came.len() < names.len(), "{}", came.len());
    // Others are served between the parts.
    let other = sim.connect(client("other"));
    assert_eq!(sim.conn_ack(other).reason, ReasonCode::SUCCESS);
    came.extend(publishes(sim.take(conn)));
    assert_eq!(came.iter().map(payload).collect::<Vec<_>>(), names);
    assert!(came.iter().all(|publish| publish.retain && publish.subscription_ids == [7]));
}

#[test]
fn d_11_a_replay_waits_for_acknowledgements_and_takes_no_place_in_the_queue() {
    let mut sim = Sim::with(RealmLimits { queue_messages: 5, ..RealmLimits::default() });
    let names = retained(&mut sim, 100, Q1);
    let conn = sim.enter(postern_mqtt::packet::Connect { receive_maximum: max(3), ..client("s") });
    let publisher = sim.enter(client("p"));
    sim.subscribe(conn, "t/#", Q1);
    let mut came = Vec::new();
    let mut live = 0;
    loop {
        let part = publishes(sim.take(conn));
        assert!(part.len() <= 3 && sim.realm.stats().in_flight <= 3);
        let Some(first) = part.first() else { break };
        if live < 20 {
            live += 1;
            sim.tell_surely(publisher, "t/live", "live");
        }
        sim.send(conn, Packet::PubAck(ack(first.packet_id.unwrap().get())));
        for publish in &part[1..] {
            sim.send(conn, Packet::PubAck(ack(publish.packet_id.unwrap().get())));
        }
        came.extend(part);
    }
    let of = |retain| came.iter().filter(move |publish| publish.retain == retain).map(payload).collect::<Vec<_>>();
    assert_eq!(of(true), names);
    assert_eq!(of(false).len(), live);
    assert_eq!(sim.realm.stats().dropped.queue_full, 0);
}

#[test]
fn a_replay_waits_for_a_parked_connection() {
    let mut sim = Sim::new();
    let names = retained(&mut sim, 900, Q0);
    let conn = sim.enter(client("s"));
    sim.turn(vec![Input::Packet { conn, packet: subscribe(None, vec![subscription("#", Q0)]) }]);
    sim.turn(vec![Input::Parked { conn }]);
    let first = sim.payloads(conn);
    sim.pass(1);
    assert!(sim.payloads(conn).is_empty() && !sim.realm.has_more(), "it waits without work");
    resume(&mut sim, conn);
    assert_eq!([first, sim.payloads(conn)].concat(), names);
    assert_eq!(sim.realm.stats().dropped.slow_consumer, 0, "nothing of a replay is dropped");
}

#[test]
fn a_topic_that_changes_during_a_replay_comes_once_and_one_that_ends_does_not_come() {
    let mut sim = Sim::new();
    retained(&mut sim, 900, Q0);
    let publisher = sim.enter(client("p"));
    let conn = sim.enter(client("s"));
    sim.turn(vec![Input::Packet { conn, packet: subscribe(None, vec![subscription("t/#", Q0)]) }]);
    let tell = |topic: &str, payload: &str| Input::Packet {
        conn: publisher,
        packet: Packet::Publish(Publish { retain: true, ..publish(Q0, 0, message(topic, payload)) }),
    };
    sim.step(vec![tell("t/899", "new"), tell("t/898", ""), tell("t/900", "born")]);
    let came = publishes(sim.take(conn));
    let of = |name: &str| -> Vec<(bool, &str)> {
        let here = came.iter().filter(|publish| publish.message.topic.as_str() == name);
        here.map(|publish| (publish.retain, payload(publish))).collect()
    };
    assert_eq!(of("t/899"), [(false, "new")]);
    assert_eq!(of("t/898"), [(false, "")], "the live message that ended it");
    assert_eq!(of("t/900"), [(false, "born")]);
    assert_eq!(came.len(), 901);
}

#[test]
fn a_change_that_a_slow_client_lost_comes_with_the_rest_of_the_replay() {
    for (granted, limit) in [(Q0, 1000), (Q1, 1)] {
        let mut sim = Sim::with(RealmLimits { queue_messages: limit, ..RealmLimits::default() });
        retained(&mut sim, 900, Q0);
        let publisher = sim.enter(client("p"));
        let conn = sim.enter(client("s"));
        sim.turn(vec![Input::Packet { conn, packet: subscribe(None, vec![subscription("t/#", granted)]) }]);
        sim.turn(vec![Input::Parked { conn }]);
        for topic in ["t/898", "t/899"] {
            sim.retain(publisher, topic, "new", Q1);
        }
        resume(&mut sim, conn);
        let came = publishes(sim.take(conn));
        let of = |name: &str| came.iter().filter(|p| p.message.topic.as_str() == name).map(payload).collect::<Vec<_>>();
        assert_eq!(of("t/898"), ["new"], "{granted:?}");
        assert!(of("t/899").contains(&"new") && !of("t/899").contains(&"899"), "{granted:?}");
    }
}

#[test]
fn unsubscribing_and_the_end_of_the_connection_end_a_replay() {
    let mut sim = Sim::new();
    retained(&mut sim, 900, Q0);
    let conn = sim.enter(client("s"));
    let begin = || Input::Packet { conn, packet: subscribe(None, vec![subscription("#", Q0)]) };
    sim.turn(vec![begin()]);
    sim.take(conn);
    sim.step(vec![Input::Packet { conn, packet: unsubscribe(&["#"]) }]);
    assert!(publishes(sim.take(conn)).is_empty());
    sim.turn(vec![begin()]);
    sim.lost(conn);
    let again = sim.enter(client("s"));
    assert!(publishes(sim.take(again)).is_empty(), "the subscription is there, and new messages come by it");
    assert!(!sim.realm.has_more());
}

#[test]
fn subscribing_again_begins_a_replay_anew_and_one_packet_replays_a_filter_once() {
    let mut sim = Sim::new();
    let names = retained(&mut sim, 900, Q0);
    let conn = sim.enter(client("s"));
    let hungry = (0..20).map(|_| subscription("#", Q0)).collect();
    sim.turn(vec![Input::Packet { conn, packet: subscribe(None, hungry) }]);
    let first = publishes(sim.take(conn)).len();
    assert!(first < names.len());
    sim.step(vec![Input::Packet { conn, packet: subscribe(Some(3), vec![subscription("#", Q0)]) }]);
    let second = publishes(sim.take(conn));
    assert_eq!(second.len(), names.len());
    assert!(second.iter().all(|publish| publish.subscription_ids == [3]));
}

#[test]
fn replays_of_many_clients_share_a_turn() {
    let mut sim = Sim::new();
    let names = retained(&mut sim, 900, Q0);
    let conns: Vec<ConnId> = (0..20).map(|n| sim.enter(client(&format!("s{n}")))).collect();
    let begin = |&conn| Input::Packet { conn, packet: subscribe(None, vec![subscription("#", Q0)]) };
    sim.turn(conns.iter().map(begin).collect());
    let mut came = vec![0; conns.len()];
    let mut turns = 1;
    loop {
        let parts: Vec<usize> = conns.iter().map(|&conn| publishes(sim.take(conn)).len()).collect();
        assert!(parts.iter().sum::<usize>() <= 5000, "the work of a turn is bounded: {parts:?}");
        came.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        if turns == 3 {
            assert!(came.iter().all(|&count| count > 0), "nobody waits for the end of another's: {came:?}");
        }
        if !sim.realm.has_more() {
            break;
        }
        sim.turn(Vec::new());
        turns += 1;
    }
    assert!(came.iter().all(|&count| count == names.len()), "{came:?}");
}
