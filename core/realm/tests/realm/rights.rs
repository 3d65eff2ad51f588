//! Access rules at every place where they count. The rules themselves are `postern_identity::acl`'s.

#![allow(clippy::unnecessary_wraps, reason = "rights are optional where they are given")]

use std::sync::Arc;

use postern_identity::acl::{AccessRules, Action, DenyAction, Permission, Principal, Rule, TopicSet, Who};
use postern_mqtt::packet::{Ack, Connect, Publish, QoS, Will};
use postern_mqtt::{Packet, ReasonCode};
use postern_realm::{ConnId, Input, Rights};

use crate::sim::*;

use Permission::{Allow, Deny};

const NOT_AUTHORIZED: ReasonCode = ReasonCode::NOT_AUTHORIZED;

fn rule(permission: Permission, action: Action, topics: &[&str]) -> Rule {
    let topics = TopicSet::Some(topics.iter().map(|topic| topic.parse().unwrap()).collect());
    Rule { permission, action, who: Who::default(), qos: None, retain: None, topics }
}

fn rights_with(rules: Vec<Rule>, deny_action: DenyAction) -> Rights {
    let principal = Principal {
        username: None,
        client_id: "c",
        cert_common_name: None,
        namespace: None,
        address: [127, 0, 0, 1].into(),
    };
    let rules = AccessRules { rules, no_match: Deny, deny_action };
    Some(Arc::new(rules.of(&principal, "").unwrap()))
}

fn rights(rules: Vec<Rule>) -> Rights {
    rights_with(rules, DenyAction::Ignore)
}

/// E-04: all of `secret/+` but `secret/x`.
fn all_but_x() -> Rights {
    rights(vec![rule(Deny, Action::Subscribe, &["secret/x"]), rule(Allow, Action::Subscribe, &["secret/+"])])
}

fn nothing() -> Rights {
    rights(Vec::new())
}

/// A client that the rules apply to, and one that may do everything.
fn pair(rights: Rights) -> (Sim, ConnId, ConnId) {
    let mut sim = Sim::new();
    let free = sim.enter(client("free"));
    let bound = enter(&mut sim, client("bound"), rights);
    (sim, bound, free)
}

fn enter(sim: &mut Sim, connect: Connect, rights: Rights) -> ConnId {
    let conn = sim.connect_with(connect, None, rights);
    assert_eq!(sim.conn_ack(conn).reason, ReasonCode::SUCCESS);
    conn
}

fn subscribes(sim: &mut Sim, conn: ConnId, filter: &str) -> ReasonCode {
    sim.subscribe_with(conn, 0, vec![subscription(filter, Q1)])[0]
}

#[test]
fn e04_a_denied_topic_under_an_allowed_filter_is_not_delivered_live() {
    for qos in [Q0, Q1, Q2] {
        let (mut sim, bound, free) = pair(all_but_x());
        sim.subscribe(bound, "secret/+", qos);
        sim.tell(free, "secret/x", "denied");
        sim.tell_surely(free, "secret/x", "denied");
        sim.tell(free, "secret/y", "allowed");
        assert_eq!(sim.payloads(bound), ["allowed"]);
        assert_eq!(sim.realm.stats().dropped.not_authorized, 2);
    }
}

#[test]
fn e04_a_denied_topic_under_an_allowed_filter_is_not_delivered_from_the_retained() {
    let (mut sim, bound, free) = pair(all_but_x());
    sim.retain(free, "secret/x", "denied", Q1);
    sim.retain(free, "secret/y", "allowed", Q1);
    sim.subscribe(bound, "secret/+", Q1);
    assert_eq!(sim.payloads(bound), ["allowed"]);
}

#[test]
fn e04_a_denied_topic_under_an_allowed_filter_is_not_kept_for_a_client_that_is_away() {
    let (mut sim, bound, free) = pair(all_but_x());
    sim.subscribe(bound, "secret/+", Q1);
    sim.lost(bound);
    sim.tell_surely(free, "secret/x", "denied");
    sim.tell_surely(free, "secret/y", "allowed");
    assert_eq!(sim.realm.stats().queued, 1, "the rights of its last connection hold meanwhile");
    let bound = enter(&mut sim, client("bound"), all_but_x());
    assert_eq!(sim.payloads(bound), ["allowed"]);
}

#[test]
fn e04_in_a_shared_group_the_turn_goes_to_who_may_have_the_message() {
    let (mut sim, bound, free) = pair(all_but_x());
    sim.subscribe(bound, "$share/g/secret/+", Q1);
    sim.tell(free, "secret/x", "to nobody");
    assert!(sim.payloads(bound).is_empty());
    let other = sim.enter(client("other"));
    sim.subscribe(other, "$share/g/secret/+", Q1);
    for n in 0..4 {
        sim.tell(free, "secret/x", &n.to_string());
    }
    assert!(sim.payloads(bound).is_empty());
    assert_eq!(sim.payloads(other), ["0", "1", "2", "3"], "none is lost");
    sim.tell(free, "secret/y", "5");
    sim.tell(free, "secret/y", "6");
    assert_eq!((sim.payloads(bound).len(), sim.payloads(other).len()), (1, 1));
}

#[test]
fn a_message_comes_by_the_subscriptions_that_may_have_it() {
    let by_qos = Rule { qos: Some(vec![0]), ..rule(Allow, Action::Subscribe, &["a"]) };
    let wide = rule(Allow, Action::Subscribe, &["eq +"]);
    let (mut sim, bound, free) = pair(rights(vec![by_qos, Rule { qos: Some(vec![1]), ..wide }]));
    assert_eq!(sim.subscribe_with(bound, 1, vec![subscription("a", Q0)]), [ReasonCode::SUCCESS]);
    assert_eq!(sim.subscribe_with(bound, 2, vec![subscription("+", Q1)]), [ReasonCode::GRANTED_QOS_1]);
    sim.change_rights(bound, rights(vec![Rule { qos: Some(vec![0]), ..rule(Allow, Action::Subscribe, &["a"]) }]));
    sim.tell_surely(free, "a", "1");
    let got = publishes(sim.take(bound));
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].qos, &got[0].subscription_ids), (Q0, &vec![1]), "the other subscription has no part in it");
}

#[test]
fn e05_a_shared_subscription_is_authorised_as_its_filter() {
    let (mut sim, bound, _) = pair(rights(vec![rule(Allow, Action::Subscribe, &["t/a"])]));
    for filter in ["$share/g/t/b", "$share/g/#", "$share/t/a/x", "t/b", "#"] {
        assert_eq!(subscribes(&mut sim, bound, filter), NOT_AUTHORIZED, "{filter}");
    }
    for filter in ["$share/g/t/a", "t/a"] {
        assert_eq!(subscribes(&mut sim, bound, filter), ReasonCode::GRANTED_QOS_1, "{filter}");
    }
    assert_eq!(sim.realm.stats().subscriptions, 2);
}

#[test]
fn each_filter_of_a_subscribe_has_its_own_answer() {
    let (mut sim, bound, free) = pair(rights(vec![rule(Allow, Action::Subscribe, &["a", "c"])]));
    let subscriptions = ["a", "b", "c"].map(|filter| subscription(filter, Q0)).to_vec();
    let reasons = sim.subscribe_with(bound, 0, subscriptions);
    assert_eq!(reasons, [ReasonCode::SUCCESS, NOT_AUTHORIZED, ReasonCode::SUCCESS]);
    for topic in ["a", "b", "c"] {
        sim.tell(free, topic, topic);
    }
    assert_eq!(sim.payloads(bound), ["a", "c"]);
}

#[test]
fn e06_a_will_outside_the_rights_is_refused_at_connect() {
    let may_will = || rights(vec![rule(Allow, Action::Publish, &["w"])]);
    let with_will = |topic| Connect { will: Some(will(topic, 0)), ..client("a") };
    for (connect, rights, reason) in [
        (with_will("w"), may_will(), ReasonCode::SUCCESS),
        (with_will("elsewhere"), may_will(), NOT_AUTHORIZED),
        (with_will("w"), nothing(), NOT_AUTHORIZED),
        (client("a"), nothing(), ReasonCode::SUCCESS),
    ] {
        let mut sim = Sim::new();
        let conn = sim.connect_with(connect, None, rights);
        assert_eq!(sim.conn_ack(conn).reason, reason);
        assert_eq!(sim.is_open(conn), reason == ReasonCode::SUCCESS);
    }
}

#[test]
fn e06_rules_see_the_qos_and_retain_of_a_will() {
    let not_retained = Rule { retain: Some(false), qos: Some(vec![1]), ..rule(Allow, Action::Publish, &["w"]) };
    for (qos, retain, reason) in
        [(Q1, false, ReasonCode::SUCCESS), (Q1, true, NOT_AUTHORIZED), (Q2, false, NOT_AUTHORIZED)]
    {
        let mut sim = Sim::new();
        let connect = Connect { will: Some(Will { qos, retain, ..will("w", 0) }), ..client("a") };
        let conn = sim.connect_with(connect, None, rights(vec![not_retained.clone()]));
        assert_eq!(sim.conn_ack(conn).reason, reason);
    }
}

#[test]
fn e06_a_will_whose_right_is_gone_when_it_fires_is_dropped_and_counted() {
    for (delay, expiry) in [(0, 100), (5, 100), (50, 5)] {
        for revoked in [true, false] {
            let mut sim = Sim::new();
            let watcher = sim.enter(client("watcher"));
            sim.subscribe(watcher, "w", Q0);
            let allowed = rights(vec![rule(Allow, Action::Publish, &["w"])]);
            let connect = Connect { will: Some(will("w", delay)), session_expiry: Some(expiry), ..client("a") };
            let conn = enter(&mut sim, connect, allowed);
            if revoked {
                sim.change_rights(conn, nothing());
            }
            sim.lost(conn);
            sim.pass(10);
            assert_eq!(sim.payloads(watcher).len(), usize::from(!revoked), "delay {delay}");
            assert_eq!(sim.realm.stats().dropped.not_authorized, u64::from(revoked));
        }
    }
}

/// A client that was away while messages of both topics came, in each of the QoS.
fn away_with_messages() -> Sim {
    let mut sim = Sim::new();
    let free = sim.enter(client("free"));
    let bound = enter(&mut sim, client("bound"), rights(vec![rule(Allow, Action::Subscribe, &["+"])]));
    sim.subscribe(bound, "+", Q2);
    sim.lost(bound);
    for (packet_id, (qos, topic)) in (1..).zip([(Q1, "a"), (Q1, "b"), (Q2, "a"), (Q2, "b")]) {
        sim.send_publish(free, publish(qos, packet_id, message(topic, topic)));
    }
    sim
}

#[test]
fn e07_what_is_queued_is_not_delivered_after_the_right_is_gone() {
    let mut sim = away_with_messages();
    assert_eq!(sim.realm.stats().queued, 4);
    let bound = enter(&mut sim, client("bound"), rights(vec![rule(Allow, Action::Subscribe, &["b"])]));
    assert_eq!(sim.payloads(bound), ["b", "b"]);
    let stats = sim.realm.stats();
    assert_eq!((stats.queued, stats.dropped.not_authorized), (0, 2));
    let free = sim.enter(client("free2"));
    sim.tell(free, "a", "live");
    assert!(sim.payloads(bound).is_empty(), "the subscription is there, and gets nothing it may not have");
}

#[test]
fn e07_what_was_sent_and_not_acknowledged_is_not_sent_again_after_the_right_is_gone() {
    let mut sim = away_with_messages();
    let bound = enter(&mut sim, client("bound"), rights(vec![rule(Allow, Action::Subscribe, &["+"])]));
    let sent = publishes(sim.take(bound));
    assert_eq!(sent.len(), 4);
    sim.lost(bound);
    let bound = enter(&mut sim, client("bound"), rights(vec![rule(Allow, Action::Subscribe, &["b"])]));
    let packets = sim.take(bound);
    let released: Vec<_> = packets.iter().filter(|p| matches!(p, Packet::PubRel(_))).collect();
    let released_id = sent[2].packet_id.unwrap();
    assert_eq!(released, [&Packet::PubRel(Ack::new(released_id, ReasonCode::SUCCESS))], "of `a` nothing but its id");
    let again = publishes(packets);
    assert!(again.iter().all(|publish| publish.dup && payload(publish) == "b"));
    assert_eq!(again.len(), 2);
    sim.send(bound, Packet::PubComp(Ack::new(released_id, ReasonCode::PACKET_ID_NOT_FOUND)));
    assert_eq!(sim.realm.stats().in_flight, 2);
}

#[test]
fn a_packet_id_whose_message_was_withdrawn_stays_taken_until_its_answer() {
    let (mut sim, bound, free) = pair(rights(vec![rule(Allow, Action::Subscribe, &["+"])]));
    sim.subscribe(bound, "+", Q2);
    sim.tell_surely(free, "a", "1");
    let first = publishes(sim.take(bound))[0].packet_id;
    sim.change_rights(bound, rights(vec![rule(Allow, Action::Subscribe, &["b"])]));
    assert_eq!(sim.realm.stats().in_flight, 1);
    sim.send(bound, Packet::PubAck(Ack::new(first.unwrap(), ReasonCode::SUCCESS)));
    assert_eq!(sim.realm.stats().in_flight, 0);
    sim.tell_surely(free, "b", "2");
    assert_eq!(sim.payloads(bound), ["2"]);
}

#[test]
fn the_same_rights_again_take_nothing_away() {
    let mut sim = away_with_messages();
    let bound = enter(&mut sim, client("bound"), rights(vec![rule(Allow, Action::Subscribe, &["+"])]));
    assert_eq!(sim.payloads(bound), ["a", "b", "a", "b"]);
    assert_eq!(sim.realm.stats().dropped.not_authorized, 0);
}

#[test]
fn e10_without_a_rule_nothing_may_be_done() {
    let (mut sim, bound, free) = pair(nothing());
    assert_eq!(subscribes(&mut sim, bound, "a"), NOT_AUTHORIZED);
    assert_eq!(sim.tell_surely(bound, "a", "x"), NOT_AUTHORIZED);
    assert_eq!(subscribes(&mut sim, free, "a"), ReasonCode::GRANTED_QOS_1, "without rules everything may");
}

#[test]
fn e12_what_is_denied_altogether_is_denied_for_dollar_topics_too() {
    let everything = Rule { topics: TopicSet::Everything, ..rule(Deny, Action::All, &[]) };
    let (mut sim, bound, free) = pair(rights(vec![everything]));
    sim.subscribe(free, "$foo/bar", Q0);
    assert_eq!(subscribes(&mut sim, bound, "$foo/bar"), NOT_AUTHORIZED);
    assert_eq!(sim.tell_surely(bound, "$foo/bar", "x"), NOT_AUTHORIZED);
    assert!(sim.payloads(free).is_empty());
}

fn answer(sim: &mut Sim, conn: ConnId, qos: QoS) -> Vec<Packet> {
    let packet_id = if qos == Q0 { 0 } else { 5 };
    sim.ask(conn, Packet::Publish(Publish { retain: true, ..publish(qos, packet_id, message("denied", "x")) }))
}

#[test]
fn a_denied_publish_reaches_nobody_and_is_answered_in_its_qos() {
    let (mut sim, bound, free) = pair(rights(vec![rule(Allow, Action::Publish, &["allowed"])]));
    sim.subscribe(free, "#", Q0);
    let told = Ack::new(id(5), NOT_AUTHORIZED);
    assert_eq!(answer(&mut sim, bound, Q0), []);
    assert_eq!(answer(&mut sim, bound, Q1), [Packet::PubAck(told.clone())]);
    assert_eq!(answer(&mut sim, bound, Q2), [Packet::PubRec(told)]);
    let stats = sim.realm.stats();
    assert_eq!((stats.unreleased, stats.retained, stats.dropped.not_authorized), (0, 0, 3));
    assert!(sim.payloads(free).is_empty() && sim.is_open(bound));
    assert_eq!(sim.tell_surely(bound, "allowed", "y"), ReasonCode::SUCCESS);
    assert_eq!(sim.payloads(free), ["y"]);
}

#[test]
fn deny_action_disconnect_ends_the_connection_with_the_reason() {
    let strict = || rights_with(vec![rule(Allow, Action::All, &["allowed"])], DenyAction::Disconnect);
    for qos in [Q0, Q1, Q2] {
        let (mut sim, bound, _) = pair(strict());
        assert_eq!(answer(&mut sim, bound, qos), []);
        assert_eq!(sim.farewell(bound), Some(NOT_AUTHORIZED));
    }
    let (mut sim, bound, _) = pair(strict());
    assert_eq!(subscribes(&mut sim, bound, "allowed"), ReasonCode::GRANTED_QOS_1);
    assert!(sim.is_open(bound));
    assert_eq!(subscribes(&mut sim, bound, "denied"), NOT_AUTHORIZED);
    assert_eq!(sim.farewell(bound), Some(NOT_AUTHORIZED));
}

impl Sim {
    fn change_rights(&mut self, conn: ConnId, rights: Rights) {
        self.step(vec![Input::Rights { conn, rights }]);
    }
}
