//! Access rules: whom they concern, what they cover, and that no client's value is more than one level.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::IpAddr;

use postern_identity::acl::{AccessRules, Acl, Action, DenyAction, Permission, Principal, Rule, TopicSet, Who};
use postern_identity::pattern::{PatternError, Placeholder, TopicTemplate, WildcardInName};
use proptest::prelude::*;

use Permission::{Allow, Deny};

const DEVICE: Principal<'static> = Principal {
    username: Some("alice"),
    client_id: "dev1",
    cert_common_name: None,
    namespace: Some("acme"),
    address: IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3)),
};

fn rule(permission: Permission, action: Action, topics: &[&str]) -> Rule {
    let topics = TopicSet::Some(topics.iter().map(|topic| topic.parse().unwrap()).collect());
    Rule { permission, action, who: Who::default(), qos: None, retain: None, topics }
}

fn everything(permission: Permission) -> Rule {
    Rule { topics: TopicSet::Everything, ..rule(permission, Action::All, &[]) }
}

fn rules(rules: Vec<Rule>, no_match: Permission) -> AccessRules {
    AccessRules { rules, no_match, deny_action: DenyAction::Ignore }
}

fn acl(list: Vec<Rule>) -> Acl {
    rules(list, Deny).of(&DEVICE, "").unwrap()
}

fn as_client(client_id: &str, list: Vec<Rule>) -> Acl {
    rules(list, Deny).of(&Principal { client_id, ..DEVICE }, "").unwrap()
}

#[test]
fn e01_a_client_identifier_is_one_literal_level_or_fits_no_allowing_rule() {
    let own = || vec![rule(Allow, Action::All, &["devices/${clientid}/#"])];
    let honest = as_client("dev1", own());
    assert!(honest.may_publish("devices/dev1/x", 0, false) && honest.may_subscribe("devices/dev1/#", 2));
    assert!(honest.may_receive("devices/dev1", 0), "the level above `#`");
    for id in ["+", "#", "a/b", "", "a\0", "dev+", "#x"] {
        let acl = as_client(id, own());
        for topic in ["devices/dev1/x", "devices/a/b/x", "devices/+/x", "devices//x", "devices/#/x"] {
            assert!(!acl.may_publish(topic, 0, false) && !acl.may_receive(topic, 0), "{id:?} {topic}");
        }
        for filter in ["devices/+/#", "devices/#", "#", "devices/a/b/#", "devices//#"] {
            assert!(!acl.may_subscribe(filter, 0), "{id:?} {filter}");
        }
    }
    let dots = as_client("..", own());
    assert!(dots.may_publish("devices/../x", 0, false), "two dots are a level like any other");
    assert!(!dots.may_publish("x", 0, false) && !dots.may_publish("devices/x", 0, false));
}

#[test]
fn e01_a_value_that_does_not_fit_denies_more_and_never_less() {
    let list = || vec![rule(Deny, Action::All, &["private/${clientid}/x"]), everything(Allow)];
    let fits = as_client("dev1", list());
    assert!(!fits.may_publish("private/dev1/x", 0, false) && fits.may_publish("private/dev2/x", 0, false));
    let does_not = as_client("a/b", list());
    assert!(!does_not.may_publish("private/dev1/x", 0, false), "any level stands in its place");
    assert!(!does_not.may_subscribe("private/+/x", 0));
    assert!(does_not.may_publish("private/a/b/x", 0, false) && does_not.may_publish("other", 0, false));
    let exactly = vec![rule(Deny, Action::All, &["eq t/${clientid}"]), everything(Allow)];
    assert!(!as_client("a/b", exactly).may_publish("t/anything", 0, false));
}

#[test]
fn e02_a_user_or_common_name_with_a_wildcard_is_refused_where_a_rule_takes_it() {
    for (topic, placeholder) in
        [("u/${username}/#", Placeholder::Username), ("c/${cert_common_name}", Placeholder::CertCommonName)]
    {
        for permission in [Allow, Deny] {
            let list = rules(vec![rule(permission, Action::All, &[topic])], Deny);
            for name in ["+", "#", "a+b"] {
                let principal = Principal { username: Some(name), cert_common_name: Some(name), ..DEVICE };
                assert_eq!(list.of(&principal, ""), Err(WildcardInName(placeholder)), "{topic} {name}");
            }
            let principal = Principal { username: Some("a.b"), cert_common_name: Some("a.b"), ..DEVICE };
            assert!(list.of(&principal, "").is_ok());
        }
    }
    let other = rules(vec![rule(Allow, Action::All, &["u/${clientid}"])], Deny);
    assert!(other.of(&Principal { username: Some("+"), ..DEVICE }, "").is_ok(), "no rule takes the user name");
}

#[test]
fn a_name_that_is_absent_fits_no_allowing_rule() {
    let list = rules(vec![rule(Allow, Action::All, &["u/${username}", "c/${cert_common_name}"])], Deny);
    let nobody = list.of(&Principal { username: None, ..DEVICE }, "").unwrap();
    assert!(!nobody.may_publish("u/", 0, false) && !nobody.may_publish("c/", 0, false));
    assert!(!nobody.may_publish("u/alice", 0, false));
    assert!(list.of(&DEVICE, "").unwrap().may_publish("u/alice", 0, false));
}

#[test]
fn a_value_at_the_begin_of_a_topic_is_not_a_way_to_the_brokers_own() {
    let own = || vec![rule(Allow, Action::All, &["${clientid}/#"])];
    assert!(!as_client("$SYS", own()).may_subscribe("$SYS/#", 0));
    assert!(as_client("dev1", own()).may_subscribe("dev1/#", 0));
    assert!(as_client("$x", vec![rule(Allow, Action::All, &["a/${clientid}"])]).may_publish("a/$x", 0, false));
}

#[test]
fn e04_a_denied_part_of_an_allowed_filter_is_denied_by_topic() {
    let acl = acl(vec![rule(Deny, Action::Subscribe, &["secret/x"]), rule(Allow, Action::Subscribe, &["secret/+"])]);
    assert!(acl.may_subscribe("secret/+", 0), "a part of it may be had");
    assert!(!acl.may_subscribe("secret/x", 0));
    assert!(!acl.may_receive("secret/x", 0) && acl.may_receive("secret/y", 0));
}

#[test]
fn e05_a_filter_is_allowed_only_if_all_of_it_is() {
    let narrow = acl(vec![rule(Allow, Action::Subscribe, &["t/a"])]);
    assert!(narrow.may_subscribe("t/a", 0));
    for filter in ["t/b", "t/+", "t/#", "#", "+/a", "t/a/#"] {
        assert!(!narrow.may_subscribe(filter, 0), "{filter}");
    }
    let wide = acl(vec![rule(Allow, Action::Subscribe, &["a/+/c", "d/#"])]);
    for filter in ["a/b/c", "a/+/c", "d", "d/#", "d/+", "d/+/#", "d/e/f"] {
        assert!(wide.may_subscribe(filter, 0), "{filter}");
    }
    for filter in ["a/#", "a/+/+", "+/b/c", "a/b/c/#", "+", "$share/g/d"] {
        assert!(!wide.may_subscribe(filter, 0), "{filter}");
    }
}

#[test]
fn e10_no_rules_at_all_deny_everything() {
    let empty = acl(Vec::new());
    assert!(!empty.may_publish("a", 0, false) && !empty.may_subscribe("a", 0) && !empty.may_receive("a", 0));
    let open = rules(Vec::new(), Allow).of(&DEVICE, "").unwrap();
    assert!(open.may_publish("a", 0, false) && open.may_subscribe("#", 0));
}

#[test]
fn e12_everything_denied_is_dollar_topics_too_and_everything_allowed_by_a_wildcard_is_not() {
    for denied in [everything(Deny), rule(Deny, Action::All, &["#"]), rule(Deny, Action::All, &["+/#"])] {
        let acl = rules(vec![denied], Allow).of(&DEVICE, "").unwrap();
        assert!(!acl.may_publish("$foo/bar", 0, false) && !acl.may_subscribe("$foo/bar", 0));
        assert!(!acl.may_receive("$foo/bar", 0) && !acl.may_publish("a/b", 0, false));
    }
    let hash = acl(vec![rule(Allow, Action::All, &["#"])]);
    assert!(hash.may_subscribe("#", 0) && hash.may_publish("a/$b", 0, false));
    assert!(!hash.may_publish("$foo/bar", 0, false) && !hash.may_subscribe("$SYS/#", 0));
    let all = acl(vec![everything(Allow)]);
    assert!(all.may_publish("$foo/bar", 0, false) && all.may_subscribe("$SYS/#", 0));
}

#[test]
fn the_first_rule_that_fits_decides() {
    let acl = acl(vec![
        rule(Allow, Action::Publish, &["a/b"]),
        rule(Deny, Action::Publish, &["a/#"]),
        rule(Allow, Action::Publish, &["a/c"]),
    ]);
    assert!(acl.may_publish("a/b", 0, false));
    assert!(!acl.may_publish("a/c", 0, false));
    assert!(!acl.may_subscribe("a/b", 0), "it is about publishing");
}

#[test]
fn rules_may_ask_for_qos_and_retain() {
    let by_qos = Rule { qos: Some(vec![0, 1]), ..rule(Allow, Action::All, &["a"]) };
    let acl = acl(vec![by_qos, Rule { retain: Some(true), ..rule(Allow, Action::Publish, &["b"]) }]);
    assert!(acl.may_publish("a", 1, true) && !acl.may_publish("a", 2, true));
    assert!(acl.may_subscribe("a", 0) && !acl.may_subscribe("a", 2));
    assert!(acl.may_publish("b", 2, true) && !acl.may_publish("b", 2, false));
}

#[test]
fn a_rule_concerns_those_who_are_in_all_its_lists() {
    let list = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    for (who, concerned) in [
        (Who { usernames: list(&["bob", "alice"]), ..Who::default() }, true),
        (Who { usernames: list(&["bob"]), ..Who::default() }, false),
        (Who { client_ids: list(&["dev1"]), usernames: list(&["alice"]), ..Who::default() }, true),
        (Who { client_ids: list(&["dev2"]), usernames: list(&["alice"]), ..Who::default() }, false),
        (Who { namespaces: list(&["acme"]), ..Who::default() }, true),
        (Who { namespaces: list(&["globex"]), ..Who::default() }, false),
        (Who { networks: Some(vec!["10.0.0.0/8".parse().unwrap()]), ..Who::default() }, true),
        (Who { networks: Some(vec!["10.1.2.4".parse().unwrap()]), ..Who::default() }, false),
    ] {
        let acl = acl(vec![Rule { who: who.clone(), ..everything(Allow) }]);
        assert_eq!(acl.may_publish("a", 0, false), concerned, "{who:?}");
    }
}

#[test]
fn an_exact_rule_means_its_text() {
    let allowed = acl(vec![rule(Allow, Action::All, &["eq t/+"])]);
    assert!(allowed.may_subscribe("t/+", 0) && !allowed.may_subscribe("t/a", 0) && !allowed.may_subscribe("t/#", 0));
    assert!(allowed.may_receive("t/a", 0), "what the one allowed subscription matches");
    assert!(!allowed.may_publish("t/a", 0, false) && !allowed.may_receive("t/a/b", 0));
    let denied = acl(vec![rule(Deny, Action::Subscribe, &["eq #"]), everything(Allow)]);
    assert!(!denied.may_subscribe("#", 0) && denied.may_subscribe("a/#", 0) && denied.may_receive("a", 0));
}

#[test]
fn rules_see_topics_as_the_client_does() {
    let list = rules(vec![rule(Allow, Action::All, &["a/#"])], Deny);
    let acl = list.of(&DEVICE, "fleet/dev1/").unwrap();
    assert!(acl.may_publish("fleet/dev1/a/b", 0, false) && acl.may_subscribe("fleet/dev1/a/#", 0));
    assert!(!acl.may_publish("fleet/dev1/b", 0, false));
    assert!(!acl.may_publish("a/b", 0, false) && !acl.may_receive("fleet/dev2/a/b", 0), "not below the mountpoint");
}

#[test]
fn texts_that_are_no_patterns_are_refused() {
    for (text, error) in [
        ("", PatternError::Empty),
        ("eq ", PatternError::Empty),
        ("a/b+", PatternError::MisplacedWildcard),
        ("#/a", PatternError::MisplacedWildcard),
        ("+${clientid}", PatternError::MisplacedWildcard),
        ("a\0", PatternError::Nul),
        ("$share/g/a", PatternError::Shared),
        ("${client_id}/a", PatternError::UnknownPlaceholder("client_id".into())),
        ("a/${clientid", PatternError::OpenPlaceholder),
        ("a/${client/id}", PatternError::OpenPlaceholder),
    ] {
        assert_eq!(text.parse::<TopicTemplate>(), Err(error), "{text}");
    }
    for text in ["#", "+", "a/+/#", "$SYS/#", "dev-${clientid}-x/${username}/${namespace}", "eq a/+", "/"] {
        assert!(text.parse::<TopicTemplate>().is_ok(), "{text}");
    }
}

/// Longhand: whether a filter of MQTT matches a topic (section 4.7).
fn matches(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) | ([], []) => true,
        (["+", filter @ ..], [_, topic @ ..]) => matches(filter, topic),
        ([a, filter @ ..], [b, topic @ ..]) => a == b && matches(filter, topic),
        _ => false,
    }
}

fn split(text: &str) -> Vec<&str> {
    text.split('/').collect()
}

proptest! {
    #[test]
    fn a_filled_in_value_never_reaches_beyond_its_own_level(
        value in "[+#/$ab\0]{0,4}",
        topic in "[abv+]{0,2}(/[abv]{0,2}){0,3}",
    ) {
        let acl = as_client(&value, vec![rule(Allow, Action::All, &["v/${clientid}/b"])]);
        if acl.may_publish(&topic, 0, false) || acl.may_receive(&topic, 0) || acl.may_subscribe(&topic, 0) {
            prop_assert_eq!(topic, format!("v/{value}/b"));
            prop_assert!(!value.contains(['+', '#', '/', '\0']) && !value.is_empty());
        }
    }

    #[test]
    fn an_allowed_subscription_gets_nothing_that_publishing_rights_would_not_name(
        allowed in "([ab]|\\+)(/([ab]|\\+)){0,2}(/#)?",
        filter in "([ab]|\\+)(/([ab]|\\+)){0,2}(/#)?",
        topic in "[ab](/[ab]){0,3}",
    ) {
        let acl = acl(vec![rule(Allow, Action::Subscribe, &[&allowed])]);
        let (allowed, filter, topic_levels) = (split(&allowed), split(&filter), split(&topic));
        if acl.may_subscribe(&filter.join("/"), 0) && matches(&filter, &topic_levels) {
            prop_assert!(matches(&allowed, &topic_levels), "covered means contained");
        }
        prop_assert_eq!(acl.may_receive(&topic, 0), matches(&allowed, &topic_levels));
    }
}
