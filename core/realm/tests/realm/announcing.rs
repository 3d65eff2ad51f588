//! What the broker itself says under `$SYS`.

use postern_mqtt::packet::RetainHandling;
use postern_mqtt::{Filter, ReasonCode, Topic};
use postern_realm::{RealmLimits, Refused, Stats};

use crate::sim::{Q0, Q1, Q2, Sim, client, publishes, subscribe, subscription};

const UPTIME: &str = "$SYS/broker/uptime";

#[test]
fn what_is_kept_meets_a_later_subscriber_at_once_and_is_renewed_for_those_who_are_there() {
    let mut sim = Sim::new();
    sim.announce(UPTIME, "1 seconds", true);
    sim.announce(UPTIME, "2 seconds", true);
    sim.announce("$SYS/brokers/n/clients/a/connected", "{}", false);
    let conn = sim.enter(client("watcher"));
    let first = publishes(sim.ask(conn, subscribe(None, vec![subscription("$SYS/#", Q2)])));
    assert_eq!(first.len(), 1, "an event is not kept: {first:?}");
    assert!(first[0].retain && first[0].qos == Q0 && &first[0].message.payload[..] == b"2 seconds");
    sim.announce(UPTIME, "3 seconds", true);
    let next = publishes(sim.take(conn));
    assert!(next.len() == 1 && !next[0].retain && &next[0].message.payload[..] == b"3 seconds");
}

/// v5: MQTT-4.7.2-1
#[test]
fn d_04_a_leading_wildcard_gets_none_of_it_live_or_kept() {
    let mut sim = Sim::new();
    sim.announce(UPTIME, "1 seconds", true);
    let conn = sim.enter(client("greedy"));
    for filter in ["#", "+/broker/uptime", "+/#", "+/+/+"] {
        sim.subscribe(conn, filter, Q1);
    }
    sim.announce(UPTIME, "2 seconds", true);
    assert_eq!(sim.payloads(conn), [""; 0]);
    sim.subscribe(conn, "$SYS/+/uptime", Q1);
    assert_eq!(sim.payloads(conn), ["2 seconds"]);
}

#[test]
fn it_counts_against_no_limit_of_retained_messages_and_shows_in_none() {
    let mut sim = Sim::with(RealmLimits { retained_messages: 1, retained_bytes: 1000, ..RealmLimits::default() });
    let conn = sim.enter(client("a"));
    sim.retain(conn, "own", "1", Q1);
    let stats = sim.realm.stats();
    for topic in ["$SYS/a", "$SYS/b", "$SYS/c"] {
        sim.announce(topic, "1", true);
    }
    assert_eq!(sim.realm.stats(), stats);
    sim.retain(conn, "own", "2", Q1);
    sim.subscribe(conn, "$SYS/+", Q0);
    assert_eq!(sim.payloads(conn).len(), 3);
    sim.subscribe(conn, "own", Q0);
    assert_eq!(sim.payloads(conn), ["2"]);
}

#[test]
fn the_driver_can_tell_whether_anybody_listens() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("a"));
    sim.subscribe(conn, "#", Q0);
    assert!(!sim.realm.hears_announcements());
    sim.subscribe(conn, "$share/g/$SYS/#", Q0);
    assert!(sim.realm.hears_announcements());
    sim.unsubscribe(conn, "$share/g/$SYS/#");
    assert!(!sim.realm.hears_announcements());
}

#[test]
fn retain_handling_holds_for_it_as_for_any_other() {
    let mut sim = Sim::new();
    sim.announce(UPTIME, "1 seconds", true);
    let conn = sim.enter(client("a"));
    let mut never = subscription("$SYS/#", Q0);
    never.retain_handling = RetainHandling::Never;
    assert_eq!(sim.subscribe_with(conn, 0, vec![never]), [ReasonCode::SUCCESS]);
    assert_eq!(sim.payloads(conn), [""; 0]);
}

#[test]
fn a_topic_that_is_the_clients_is_not_the_brokers_to_announce() {
    let mut sim = Sim::new();
    let conn = sim.enter(client("a"));
    sim.subscribe(conn, "#", Q0);
    for topic in ["broker/uptime", "$SYSTEM/uptime", "$x"] {
        sim.announce(topic, "1", true);
    }
    assert_eq!(sim.payloads(conn), [""; 0]);
    assert_eq!(sim.realm.stats().retained, 0);
}

#[test]
fn the_operator_is_told_of_requests_that_are_refused() {
    let mut sim =
        Sim::with(RealmLimits { subscriptions_per_client: 1, retained_messages: 0, ..RealmLimits::default() });
    let conn = sim.enter(client("a"));
    sim.subscribe(conn, "a", Q0);
    assert_eq!(sim.refused(conn), []);
    sim.subscribe_with(conn, 0, vec![subscription("b", Q0)]);
    let filter = Filter::new("b").unwrap();
    assert_eq!(sim.refused(conn), [(Refused::Subscribe(filter), ReasonCode::QUOTA_EXCEEDED)]);
    // QoS 0 has no acknowledgement that could tell the client.
    sim.tell(conn, "$SYS/forged", "1");
    let forged = Refused::Publish(Topic::new("$SYS/forged").unwrap());
    assert_eq!(sim.refused(conn), [(forged, ReasonCode::NOT_AUTHORIZED)]);
    sim.retain(conn, "kept", "1", Q0);
    let kept = Refused::Publish(Topic::new("kept").unwrap());
    assert_eq!(sim.refused(conn), [(kept, ReasonCode::QUOTA_EXCEEDED)]);
}

#[test]
fn figures_go_up_and_down_with_what_they_count() {
    let mut sim = Sim::new();
    let (a, b) = (sim.enter(client("a")), sim.enter(client("b")));
    sim.subscribe(b, "$share/g/t", Q1);
    sim.subscribe(b, "u", Q2);
    sim.tell_surely(a, "t", "1");
    sim.send_publish(a, crate::sim::publish(Q2, 5, crate::sim::message("u", "1")));
    let stats = sim.realm.stats();
    assert_eq!((stats.in_flight, stats.unreleased, stats.connected_max), (2, 1, 2));
    assert_eq!((stats.subscriptions, stats.shared_subscriptions), (2, 1));
    sim.lost(b);
    sim.tell_surely(a, "t", "22");
    let stats = sim.realm.stats();
    assert_eq!((stats.in_flight, stats.queued, stats.connected, stats.connected_max), (2, 1, 1, 2));
    assert!(stats.queued_bytes > 0);
    sim.lost(a);
    sim.pass(101);
    let end = Stats { connected_max: 2, expired: 2, ..Stats::default() };
    assert_eq!(sim.realm.stats(), end);
}
