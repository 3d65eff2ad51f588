//! Wills (section 3.1.2.5): when, and how often.

use postern_mqtt::packet::{Connect, Disconnect, Message, Will};
use postern_mqtt::{Packet, ReasonCode};
use postern_realm::{ConnId, Departure};

use crate::sim::*;

fn watched() -> (Sim, ConnId) {
    let mut sim = Sim::new();
    let watcher = sim.enter(client("watcher"));
    sim.subscribe(watcher, "w", Q0);
    (sim, watcher)
}

fn with_will(delay: u32, session_expiry: u32) -> Connect {
    Connect { will: Some(will("w", delay)), session_expiry: Some(session_expiry), ..client("a") }
}

/// Whether the will came since the last look. Never more than once.
fn came(sim: &mut Sim, watcher: ConnId) -> bool {
    match sim.payloads(watcher).len() {
        0 => false,
        1 => true,
        n => panic!("{n} wills"),
    }
}

/// v5: MQTT-3.1.2-7, MQTT-3.1.2-8, MQTT-3.1.2-10
#[test]
fn mqtt_3_1_2_8_a_lost_connection_publishes_the_will() {
    let (mut sim, watcher) = watched();
    let conn = sim.enter(with_will(0, 100));
    sim.lost(conn);
    assert!(came(&mut sim, watcher));
    sim.pass(1000);
    assert!(!came(&mut sim, watcher), "once");
}

/// v5: MQTT-3.1.2-8, MQTT-3.1.2-10, MQTT-3.14.4-3
#[test]
fn mqtt_3_14_4_3_a_normal_disconnect_discards_the_will() {
    let (mut sim, watcher) = watched();
    let conn = sim.enter(with_will(0, 0));
    sim.goodbye(conn);
    let conn = sim.enter(with_will(5, 100));
    sim.send(conn, Packet::Disconnect(Disconnect::default()));
    sim.pass(1000);
    assert!(!came(&mut sim, watcher));
}

/// v5: MQTT-3.1.2-8
#[test]
fn a_disconnect_with_any_other_reason_publishes_the_will() {
    for reason in [ReasonCode::DISCONNECT_WITH_WILL, ReasonCode::UNSPECIFIED] {
        let (mut sim, watcher) = watched();
        let conn = sim.enter(with_will(0, 100));
        sim.closed(conn, Departure::Goodbye(Disconnect::new(reason)));
        assert!(came(&mut sim, watcher));
    }
}

#[test]
fn a_connection_that_the_realm_closes_publishes_the_will() {
    let (mut sim, watcher) = watched();
    let conn = sim.enter(with_will(0, 100));
    sim.send(conn, Packet::PingResp);
    assert_eq!(sim.farewell(conn), Some(ReasonCode::PROTOCOL_ERROR));
    assert!(came(&mut sim, watcher));
}

/// v5: MQTT-3.1.3-9
#[test]
fn b_11_mqtt_3_1_3_9_no_will_if_the_client_is_back_within_the_delay() {
    let (mut sim, watcher) = watched();
    let conn = sim.enter(with_will(5, 100));
    sim.lost(conn);
    assert_eq!(sim.wakes_in_ms(), Some(5000));
    sim.pass(3);
    sim.enter(client("a"));
    assert_eq!(sim.wakes_in_ms(), None);
    sim.pass(1000);
    assert!(!came(&mut sim, watcher));
}

/// v5: MQTT-3.1.2-8
#[test]
fn b_11_a_delayed_will_comes_after_its_delay() {
    let (mut sim, watcher) = watched();
    let conn = sim.enter(with_will(5, 100));
    sim.lost(conn);
    sim.pass(4);
    assert!(!came(&mut sim, watcher));
    sim.pass(1);
    assert!(came(&mut sim, watcher));
    sim.pass(1000);
    assert!(!came(&mut sim, watcher), "once");
}

/// v5: MQTT-3.1.2-8
#[test]
fn b_11_the_end_of_the_session_ends_the_delay() {
    let (mut sim, watcher) = watched();
    let conn = sim.enter(with_will(5, 2));
    sim.lost(conn);
    sim.pass(1);
    assert!(!came(&mut sim, watcher));
    sim.pass(1);
    assert!(came(&mut sim, watcher));
    sim.pass(1000);
    assert!(!came(&mut sim, watcher), "once");
}

#[test]
fn a_session_without_expiry_has_no_delay() {
    let (mut sim, watcher) = watched();
    let conn = sim.enter(with_will(5, 0));
    sim.lost(conn);
    assert!(came(&mut sim, watcher));
}

#[test]
fn b_06_take_over_publishes_a_will_without_delay() {
    for clean_start in [false, true] {
        let (mut sim, watcher) = watched();
        sim.enter(with_will(0, 100));
        sim.enter(Connect { clean_start, ..client("a") });
        assert!(came(&mut sim, watcher));
    }
}

#[test]
fn b_06_take_over_publishes_a_delayed_will_only_if_the_session_ends() {
    for clean_start in [false, true] {
        let (mut sim, watcher) = watched();
        sim.enter(with_will(5, 100));
        sim.enter(Connect { clean_start, ..client("a") });
        assert_eq!(came(&mut sim, watcher), clean_start);
        sim.pass(1000);
        assert!(!came(&mut sim, watcher));
    }
}

#[test]
fn clean_start_after_a_loss_publishes_a_delayed_will_at_once() {
    let (mut sim, watcher) = watched();
    let conn = sim.enter(with_will(5, 100));
    sim.lost(conn);
    sim.enter(Connect { clean_start: true, ..client("a") });
    assert!(came(&mut sim, watcher));
    sim.pass(1000);
    assert!(!came(&mut sim, watcher));
}

#[test]
fn each_connection_has_the_will_of_its_own_connect() {
    let (mut sim, watcher) = watched();
    let conn = sim.enter(with_will(0, 100));
    sim.goodbye(conn);
    let conn = sim.enter(client("a"));
    sim.lost(conn);
    assert!(!came(&mut sim, watcher));
}

/// v5: MQTT-3.1.2-14
#[test]
fn mqtt_3_1_2_14_a_will_that_is_not_retained_is_not_kept() {
    let (mut sim, watcher) = watched();
    let conn = sim.enter(with_will(0, 0));
    sim.lost(conn);
    assert!(!publishes(sim.take(watcher))[0].retain);
    assert_eq!(sim.realm.stats().retained, 0);
}

/// v5: MQTT-3.1.3-10
#[test]
fn mqtt_3_1_3_10_user_properties_of_a_will_keep_their_order() {
    let (mut sim, watcher) = watched();
    let properties: Vec<_> =
        ["b", "a", "b"].into_iter().zip(["1", "2", "3"]).map(|(k, v)| (k.into(), v.into())).collect();
    let message = Message { user_properties: properties.clone(), ..message("w", "will") };
    let will = Some(Will { message: message.into(), ..will("w", 0) });
    let conn = sim.enter(Connect { will, ..client("a") });
    sim.lost(conn);
    assert_eq!(publishes(sim.take(watcher))[0].message.user_properties, properties);
}

/// v5: MQTT-3.1.2-15
#[test]
fn mqtt_3_1_2_15_a_retained_will_is_retained() {
    let (mut sim, watcher) = watched();
    let retained = Some(Will { retain: true, ..will("w", 0) });
    let conn = sim.enter(Connect { will: retained, ..client("a") });
    sim.lost(conn);
    assert!(came(&mut sim, watcher));
    sim.subscribe(watcher, "w", Q2);
    let replayed = publishes(sim.take(watcher));
    assert!(replayed[0].retain);
    assert_eq!(replayed[0].qos, Q1);
}
