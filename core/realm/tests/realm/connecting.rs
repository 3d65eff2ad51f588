//! CONNECT, take-over, the end of sessions.

use postern_mqtt::packet::{Auth, ConnAck, Connect, Disconnect};
use postern_mqtt::{Packet, ReasonCode};
use postern_realm::{ConnId, Departure, Input, RealmLimits};

use crate::sim::*;

/// v5: MQTT-3.1.2-4, MQTT-3.1.2-6, MQTT-3.1.2-23, MQTT-3.1.4-4, MQTT-3.1.4-5, MQTT-3.2.2-2, MQTT-3.2.2-3
#[test]
fn mqtt_3_2_2_2_session_present_tells_whether_a_session_was_resumed() {
    let mut sim = Sim::new();
    let first = sim.connect(client("a"));
    assert!(!sim.conn_ack(first).session_present);
    sim.lost(first);
    let second = sim.connect(client("a"));
    assert!(sim.conn_ack(second).session_present);
    sim.lost(second);
    let third = sim.connect(Connect { clean_start: true, ..client("a") });
    assert!(!sim.conn_ack(third).session_present, "MQTT-3.1.2-4");
}

#[test]
fn connack_tells_the_limits_of_the_server() {
    let mut sim = Sim::new();
    let conn = sim.connect(client("a"));
    let conn_ack = sim.conn_ack(conn);
    assert_eq!(conn_ack.receive_maximum, max(64));
    assert_eq!(conn_ack.server_keep_alive, Some(60));
    assert_eq!((conn_ack.session_expiry, conn_ack.assigned_client_id), (None, None));
}

/// v5: MQTT-3.1.2-28, MQTT-4.12.0-6
#[test]
fn connack_has_nothing_that_the_client_did_not_ask_for() {
    let mut sim = Sim::new();
    let conn = sim.connect(client("a"));
    let conn_ack = sim.conn_ack(conn);
    assert_eq!((conn_ack.response_information, conn_ack.authentication_method), (None, None));
}

#[test]
fn what_the_gate_has_to_say_is_in_the_connack_of_a_client_that_is_let_in_alone() {
    let mut sim = Sim::with(RealmLimits { sessions: 1, ..RealmLimits::default() });
    let greeting = ConnAck { assigned_client_id: Some("a".into()), ..ConnAck::default() };
    let first = sim.connect_greeted(client("a"), greeting.clone());
    assert_eq!(sim.conn_ack(first).assigned_client_id.as_deref(), Some("a"));
    let refused = sim.connect_greeted(client("b"), greeting);
    let conn_ack = sim.conn_ack(refused);
    assert_eq!((conn_ack.reason, conn_ack.assigned_client_id), (ReasonCode::QUOTA_EXCEEDED, None));
}

#[test]
fn b_01_a_client_without_an_id_has_no_session() {
    for connect in [client(""), v3_client("", false), v3_client("", true)] {
        let mut sim = Sim::new();
        let conn = sim.connect(connect);
        assert_eq!(sim.conn_ack(conn).reason, ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
        assert!(!sim.is_open(conn));
        assert_eq!(sim.realm.stats().sessions, 0);
    }
}

/// v5: MQTT-3.1.2-5, MQTT-3.1.3-2, MQTT-3.1.4-3
#[test]
fn b_06_the_second_connect_takes_the_session_over() {
    let mut sim = Sim::new();
    let first = sim.enter(client("a"));
    sim.subscribe(first, "t", Q1);
    let second = sim.connect(client("a"));
    assert!(sim.conn_ack(second).session_present);
    assert_eq!(sim.farewell(first), Some(ReasonCode::SESSION_TAKEN_OVER));
    sim.tell(second, "t", "x");
    assert_eq!(sim.payloads(second), ["x"]);
    // The driver's late news of the first connection changes nothing.
    sim.lost(first);
    sim.tell(second, "t", "y");
    assert_eq!(sim.payloads(second), ["y"]);
    assert_eq!((sim.realm.stats().sessions, sim.realm.stats().connected), (1, 1));
}

#[test]
fn b_06_a_session_of_expiry_0_ends_with_its_connection_at_take_over() {
    let mut sim = Sim::new();
    sim.enter(Connect { session_expiry: None, ..client("a") });
    let second = sim.connect(client("a"));
    assert!(!sim.conn_ack(second).session_present);
}

/// v5: MQTT-3.1.4-2, MQTT-3.2.2-7
#[test]
fn b_07_another_owner_can_neither_take_over_nor_resume_nor_replace() {
    let mut sim = Sim::new();
    let first = sim.connect_as(client("a"), Some("alice".into()));
    sim.take(first);
    for owner in [Some("mallory".into()), None] {
        for clean_start in [false, true] {
            let other = sim.connect_as(Connect { clean_start, ..client("a") }, owner.clone());
            assert_eq!(sim.conn_ack(other).reason, ReasonCode::NOT_AUTHORIZED);
            assert!(!sim.is_open(other));
        }
    }
    assert!(sim.is_open(first));
    sim.subscribe(first, "t", Q0);
    sim.lost(first);
    let other = sim.connect_as(client("a"), Some("mallory".into()));
    assert_eq!(sim.conn_ack(other).reason, ReasonCode::NOT_AUTHORIZED);
    let again = sim.connect_as(client("a"), Some("alice".into()));
    assert!(sim.conn_ack(again).session_present);
}

/// v5: MQTT-3.1.4-6
#[test]
fn mqtt_3_1_4_6_what_follows_a_refused_connect_is_not_processed() {
    let mut sim = Sim::with(RealmLimits { sessions: 1, ..RealmLimits::default() });
    let first = sim.enter(client("a"));
    sim.subscribe(first, "#", Q0);
    let refused = sim.connect(client("b"));
    assert_eq!(sim.conn_ack(refused).reason, ReasonCode::QUOTA_EXCEEDED);
    sim.tell(refused, "t", "x");
    assert!(sim.take(first).is_empty());
    let again = sim.enter(client("a"));
    assert!(sim.is_open(again), "a take-over needs no further session");
}

/// v5: MQTT-3.1.2-23, MQTT-4.1.0-2
#[test]
fn a_session_ends_when_its_expiry_has_passed() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("a"));
    sim.subscribe(conn, "t", Q1);
    sim.lost(conn);
    assert_eq!(sim.wakes_in_ms(), Some(100_000));
    sim.pass(99);
    assert_eq!(sim.realm.stats().sessions, 1);
    sim.pass(1);
    assert_eq!((sim.realm.stats().sessions, sim.realm.stats().subscriptions), (0, 0));
    assert_eq!(sim.wakes_in_ms(), None);
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("a"));
    let mut effects = Vec::new();
    let lost = Input::Closed { conn, departure: Departure::Lost };
    sim.realm.turn(0, &mut vec![lost], &mut effects);
    assert_eq!(sim.wakes_in_ms(), Some(100_000));
}

/// v5: MQTT-4.1.0-1
#[test]
fn the_expiry_counts_from_the_last_connection() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("a"));
    sim.lost(conn);
    sim.pass(99);
    let conn = sim.enter(client("a"));
    sim.pass(200);
    assert_eq!(sim.realm.stats().sessions, 1);
    sim.lost(conn);
    sim.pass(99);
    let conn = sim.connect(client("a"));
    assert!(sim.conn_ack(conn).session_present);
}

#[test]
fn a_longer_expiry_than_the_realm_grants_is_lowered_and_told() {
    let mut sim = Sim::new();
    let conn = sim.connect(Connect { session_expiry: Some(u32::MAX), ..client("a") });
    assert_eq!(sim.conn_ack(conn).session_expiry, Some(7 * 24 * 3600));
    sim.lost(conn);
    assert_eq!(sim.wakes_in_ms(), Some(7 * 24 * 3600 * 1000));
}

#[test]
fn sessions_of_3_1_1_last_as_configured_or_as_long_as_the_connection() {
    let mut sim = Sim::new();
    let lasting = sim.enter(v3_client("a", false));
    let passing = sim.enter(v3_client("b", true));
    sim.lost(passing);
    assert_eq!(sim.realm.stats().sessions, 1);
    sim.goodbye(lasting);
    assert_eq!(sim.wakes_in_ms(), Some(2 * 3600 * 1000));
}

#[test]
fn disconnect_may_change_the_expiry() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("a"));
    sim.closed(conn, Departure::Goodbye(Disconnect { session_expiry: Some(5), ..Disconnect::default() }));
    assert_eq!(sim.wakes_in_ms(), Some(5000));
    let conn = sim.enter(client("a"));
    let forever = Disconnect { session_expiry: Some(u32::MAX), ..Disconnect::default() };
    sim.closed(conn, Departure::Goodbye(forever));
    assert_eq!(sim.wakes_in_ms(), Some(7 * 24 * 3600 * 1000), "within what the realm grants");
    let conn = sim.enter(client("a"));
    sim.closed(conn, Departure::Goodbye(Disconnect { session_expiry: Some(0), ..Disconnect::default() }));
    assert_eq!(sim.realm.stats().sessions, 0);
}

#[test]
fn b_10_disconnect_cannot_give_an_expiry_to_a_session_that_had_none() {
    let mut sim = Sim::new();
    let disconnect = Disconnect { session_expiry: Some(100), ..Disconnect::default() };
    let conn = sim.enter(Connect { session_expiry: Some(0), ..client("a") });
    sim.closed(conn, Departure::Goodbye(disconnect.clone()));
    assert_eq!(sim.farewell(conn), Some(ReasonCode::PROTOCOL_ERROR));
    let conn = sim.enter(Connect { session_expiry: Some(0), ..client("a") });
    sim.send(conn, Packet::Disconnect(disconnect));
    assert_eq!(sim.farewell(conn), Some(ReasonCode::PROTOCOL_ERROR));
    assert_eq!(sim.realm.stats().sessions, 0);
}

#[test]
fn packets_that_only_a_server_sends_close_the_connection() {
    for packet in [
        Packet::Connect(Box::new(client("a"))),
        Packet::ConnAck(Box::default()),
        Packet::PingResp,
        Packet::Auth(Auth {
            reason: ReasonCode::RE_AUTHENTICATE,
            method: None,
            data: None,
            reason_string: None,
            user_properties: Vec::new(),
        }),
    ] {
        let mut sim = Sim::new();
        let conn = sim.enter(client("a"));
        sim.send(conn, packet);
        assert_eq!(sim.farewell(conn), Some(ReasonCode::PROTOCOL_ERROR));
        assert_eq!(sim.realm.stats().connected, 0);
    }
}

/// v5: MQTT-3.1.0-2
#[test]
fn mqtt_3_1_0_2_a_second_connect_on_a_connection_closes_it() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("a"));
    let connect = Box::new(client("b"));
    sim.step(vec![Input::Connect { conn, connect, owner: None, rights: None, greeting: Box::default() }]);
    assert_eq!(sim.farewell(conn), Some(ReasonCode::PROTOCOL_ERROR));
    assert_eq!(sim.realm.stats().sessions, 1);
}

#[test]
fn connections_that_nobody_knows_are_harmless() {
    let mut sim = Sim::new();
    let conn = ConnId(999);
    sim.step(vec![
        Input::Packet { conn, packet: Packet::Publish(publish(Q1, 1, message("t", "x"))) },
        Input::Closed { conn, departure: Departure::Lost },
        Input::Closed { conn, departure: Departure::Goodbye(Disconnect::default()) },
    ]);
    assert_eq!(sim.realm.stats(), postern_realm::Stats::default());
}
