//! B-09: what a lost connection leaves in flight (section 4.4).

use postern_mqtt::packet::{Ack, Connect, Message};
use postern_mqtt::{Packet, ReasonCode};

use crate::sim::*;

/// What a packet is, in short: `P1+` is a PUBLISH of packet id 1 with DUP, `R2` a PUBREL.
fn brief(packets: &[Packet]) -> Vec<String> {
    let brief = |packet: &Packet| match packet {
        Packet::Publish(p) => format!("P{}{}", p.packet_id.unwrap(), if p.dup { "+" } else { "" }),
        Packet::PubRel(a) => format!("R{}", a.packet_id),
        other => panic!("{other:?}"),
    };
    packets.iter().map(brief).collect()
}

/// A subscriber that has 6 messages in flight, one of them acknowledged and two received.
fn interrupted(sim: &mut Sim) {
    let publisher = sim.enter(client("p"));
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q2);
    for (qos, n) in [Q1, Q2, Q2, Q1, Q2, Q1].into_iter().zip(1..) {
        sim.send_publish(publisher, publish(qos, n, message("t", &n.to_string())));
    }
    assert_eq!(brief(&sim.take(conn)), ["P1", "P2", "P3", "P4", "P5", "P6"]);
    sim.send(conn, Packet::PubAck(ack(1)));
    sim.send(conn, Packet::PubRec(ack(2)));
    sim.send(conn, Packet::PubRec(ack(3)));
    sim.lost(conn);
}

/// v5: MQTT-3.1.2-5, MQTT-3.3.1-1, MQTT-4.3.3-6, MQTT-4.4.0-1
#[test]
fn b_09_mqtt_4_4_0_1_resend_has_the_same_ids_in_the_original_order() {
    let mut sim = Sim::new();
    interrupted(&mut sim);
    let conn = sim.enter(client("s"));
    let resent = sim.take(conn);
    assert_eq!(brief(&resent), ["R2", "R3", "P4+", "P5+", "P6+"], "MQTT-4.3.3-6: no PUBLISH after PUBREL");
    let payloads: Vec<String> = publishes(resent).iter().map(|p| payload(p).to_owned()).collect();
    assert_eq!(payloads, ["4", "5", "6"]);
    assert!(sim.ask(conn, Packet::PubComp(ack(2))).is_empty());
    assert!(sim.ask(conn, Packet::PubAck(ack(4))).is_empty());
    assert_eq!(sim.ask(conn, Packet::PubRec(ack(5))), [Packet::PubRel(ack(5))]);
    assert_eq!(sim.realm.stats().in_flight, 3);
}

/// v5: MQTT-2.2.1-4, MQTT-4.3.2-1, MQTT-4.3.3-1, MQTT-4.5.0-1
#[test]
fn b_09_new_messages_come_after_the_resent_and_take_ids_of_their_own() {
    let mut sim = Sim::new();
    interrupted(&mut sim);
    let publisher = sim.enter(client("p2"));
    sim.tell_surely(publisher, "t", "while away");
    let conn = sim.enter(client("s"));
    assert_eq!(brief(&sim.take(conn)), ["R2", "R3", "P4+", "P5+", "P6+", "P7"]);
    assert_eq!(sim.tell_surely(publisher, "t", "now"), ReasonCode::SUCCESS);
    assert_eq!(brief(&sim.take(conn)), ["P8"]);
}

/// v5: MQTT-3.3.4-9
#[test]
fn mqtt_3_3_4_9_a_lower_receive_maximum_holds_for_the_resent_too() {
    let mut sim = Sim::new();
    interrupted(&mut sim);
    let conn = sim.enter(Connect { receive_maximum: max(3), ..client("s") });
    assert_eq!(brief(&sim.take(conn)), ["R2", "R3", "P4+"]);
    assert_eq!(brief(&sim.ask(conn, Packet::PubComp(ack(3)))), ["P5+"]);
    assert_eq!(brief(&sim.ask(conn, Packet::PubComp(ack(2)))), ["P6+"]);
}

/// v5: MQTT-4.4.0-2
#[test]
fn mqtt_4_4_0_2_what_was_refused_is_not_sent_again() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q2);
    sim.tell_surely(conn, "t", "1");
    sim.send_publish(conn, publish(Q2, 5, message("t", "2")));
    assert_eq!(brief(&sim.take(conn)), ["P1", "P2"]);
    for packet in [Packet::PubAck, Packet::PubRec].into_iter().zip([1, 2]) {
        let (kind, packet_id) = packet;
        assert!(sim.ask(conn, kind(Ack::new(id(packet_id), ReasonCode::UNSPECIFIED))).is_empty());
    }
    sim.lost(conn);
    let conn = sim.enter(client("s"));
    assert!(sim.take(conn).is_empty());
}

/// v5: MQTT-4.3.3-7
#[test]
fn mqtt_4_3_3_7_what_was_sent_does_not_expire() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q2);
    let expiring = Message { expiry: Some(2), ..message("t", "x") };
    sim.send_publish(conn, publish(Q2, 5, expiring));
    assert_eq!(brief(&sim.take(conn)), ["P1"]);
    sim.lost(conn);
    sim.pass(3);
    let conn = sim.enter(client("s"));
    assert_eq!(brief(&sim.take(conn)), ["P1+"]);
    assert_eq!(sim.ask(conn, Packet::PubRec(ack(1))), [Packet::PubRel(ack(1))]);
}

/// v5: MQTT-4.4.0-1
#[test]
fn nothing_is_sent_again_while_the_connection_lasts() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q1);
    sim.tell_surely(conn, "t", "x");
    assert_eq!(sim.payloads(conn), ["x"]);
    sim.pass(1000);
    assert!(sim.take(conn).is_empty());
}

/// v5: MQTT-3.1.2-4
#[test]
fn clean_start_forgets_what_was_in_flight() {
    let mut sim = Sim::new();
    interrupted(&mut sim);
    let conn = sim.enter(Connect { clean_start: true, ..client("s") });
    assert!(sim.take(conn).is_empty());
    assert_eq!(sim.realm.stats().in_flight, 0);
}

#[test]
fn a_take_over_resends_to_the_new_connection() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.subscribe(conn, "t", Q1);
    sim.tell_surely(conn, "t", "x");
    let second = sim.enter(client("s"));
    assert_eq!(brief(&sim.take(second)), ["P1+"]);
}

#[test]
fn retained_messages_do_not_come_again_when_a_session_is_resumed() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("s"));
    sim.retain(conn, "t", "x", Q0);
    sim.subscribe(conn, "t", Q1);
    assert_eq!(sim.payloads(conn), ["x"]);
    sim.lost(conn);
    let conn = sim.enter(client("s"));
    assert!(sim.take(conn).is_empty());
}
