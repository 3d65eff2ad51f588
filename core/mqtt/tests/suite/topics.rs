//! Names, filters and how they match (section 4.7).

use postern_mqtt::topic::{MAX_LEVELS, TopicError};
use postern_mqtt::{Filter, Topic};
use proptest::prelude::*;

use crate::packets::{filter, topic};

fn matches(filter: &str, topic: &str) -> bool {
    Filter::new(filter).expect("a filter").matches(&Topic::new(topic).expect("a topic"))
}

#[test]
fn mqtt_4_7_filters_match_as_the_standard_shows() {
    for (filter, topic, expected) in [
        ("a/b", "a/b", true),
        ("a/b", "a/B", false),
        ("a/b", "a/b/", false),
        ("a/b", "a", false),
        ("a", "/a", false),
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/#", "sport", true),
        ("sport/#", "sports", false),
        ("#", "any/thing", true),
        ("#", "/", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("+/tennis/#", "sport/tennis", true),
        ("+/+/#", "a", false),
        ("//", "//", true),
        ("/+/", "//", true),
    ] {
        assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
    }
}

/// v5: MQTT-4.7.2-1
/// v3.1.1: MQTT-4.7.2-1
#[test]
fn mqtt_4_7_2_1_a_leading_wildcard_does_not_match_reserved_topics() {
    for filter in ["#", "+/monitor/Clients", "+/#", "$share/g/#", "$share/g/+/x"] {
        assert!(!matches(filter, "$SYS/monitor/Clients"), "{filter}");
    }
    for filter in ["$SYS/#", "$SYS/monitor/+", "$SYS/+/Clients", "$share/g/$SYS/#"] {
        assert!(matches(filter, "$SYS/monitor/Clients"), "{filter}");
    }
    assert!(matches("a/#", "a/$SYS"), "only at the front");
}

/// v5: MQTT-4.7.3-4
/// v3.1.1: MQTT-4.7.3-4
#[test]
fn mqtt_4_7_3_4_letters_are_compared_as_they_are() {
    assert!(!matches("a\u{308}", "\u{E4}"), "one letter, two spellings");
    assert!(matches(" ", " "));
    assert!(!matches("ACCOUNTS", "Accounts"));
}

/// v5: MQTT-4.7.1-1, MQTT-4.7.1-2
/// v3.1.1: MQTT-4.7.1-2, MQTT-4.7.1-3
#[test]
fn mqtt_4_7_1_wildcards_must_fill_their_level() {
    for text in ["a#", "#a", "a/#/b", "#/", "a+", "+a", "a/b+/c", "++", "+#", "##"] {
        assert_eq!(Filter::new(text), Err(TopicError::MisplacedWildcard), "{text}");
        assert_eq!(Filter::new(&format!("$share/g/{text}")), Err(TopicError::MisplacedWildcard), "{text}");
    }
    for text in ["#", "+", "+/#", "a/+/b", "+/+", "/#", "/+"] {
        assert!(Filter::new(text).is_ok(), "{text}");
    }
}

/// v5: MQTT-4.7.3-1, MQTT-4.7.3-2, MQTT-4.7.3-3
/// v3.1.1: MQTT-4.7.3-1, MQTT-4.7.3-2, MQTT-4.7.3-3
#[test]
fn mqtt_4_7_3_1_to_3_names_and_filters_have_a_length_and_no_nul() {
    assert_eq!((Topic::new(""), Filter::new("")), (Err(TopicError::Empty), Err(TopicError::Empty)));
    assert_eq!((Topic::new("a\0"), Filter::new("a\0")), (Err(TopicError::Nul), Err(TopicError::Nul)));
    let longest = "x".repeat(65_535);
    assert!(Topic::new(&longest).is_ok() && Filter::new(&longest).is_ok());
    let longer = longest + "x";
    assert_eq!((Topic::new(&longer), Filter::new(&longer)), (Err(TopicError::TooLong), Err(TopicError::TooLong)));
}

/// v5: MQTT-3.3.2-2, MQTT-4.7.0-1
/// v3.1.1: MQTT-3.3.2-2, MQTT-4.7.1-1
#[test]
fn mqtt_3_3_2_2_a_name_has_no_wildcards() {
    for text in ["a/+", "#", "a+b", "a#"] {
        assert_eq!(Topic::new(text), Err(TopicError::Wildcard), "{text}");
    }
}

#[test]
fn levels_are_bounded() {
    let deepest = "/".repeat(MAX_LEVELS - 1);
    assert_eq!(Topic::new(&deepest).expect("deep").levels().count(), MAX_LEVELS);
    assert!(Filter::new(&deepest).is_ok());
    let deeper = deepest + "/";
    assert_eq!((Topic::new(&deeper), Filter::new(&deeper)), (Err(TopicError::TooDeep), Err(TopicError::TooDeep)));
}

/// v5: MQTT-4.8.2-1, MQTT-4.8.2-2
#[test]
fn mqtt_4_8_2_1_and_2_a_shared_subscription_has_a_name_and_a_filter() {
    for text in ["$share", "$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/#", "$share/g#/a"] {
        assert_eq!(Filter::new(text), Err(TopicError::Share), "{text}");
    }
    let shared = Filter::new("$share/g/a/+").expect("a filter");
    assert_eq!((shared.share(), shared.as_str()), (Some("g"), "a/+"));
    assert_eq!(shared.levels().collect::<Vec<_>>(), ["a", "+"]);
    let slash = Filter::new("$share/g//").expect("the filter is a slash");
    assert_eq!((slash.share(), slash.as_str()), (Some("g"), "/"));
    assert_eq!(Filter::new("$shared/g/a").expect("ordinary").share(), None);
    assert_eq!(Filter::new("$sharex").expect("ordinary").share(), None);
}

/// The rules of 4.7 said in another way, by recursion.
fn matches_slowly(filter: &[&str], topic: &[&str]) -> bool {
    match (filter.split_first(), topic.split_first()) {
        (Some((&"#", _)), _) | (None, None) => true,
        (Some((level, filter)), Some((name, topic))) => {
            (*level == "+" || level == name) && matches_slowly(filter, topic)
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn a_name_is_a_filter_that_matches_itself(topic in topic()) {
        prop_assume!(!topic.as_str().starts_with("$share"));
        prop_assert!(Filter::new(topic.as_str()).expect("no wildcards").matches(&topic));
    }

    #[test]
    fn matching_agrees_with_the_rules(filter in filter(), levels in proptest::collection::vec("[a-c]{0,2}", 1..5)) {
        // The one name that is too short to be one.
        let name = if levels == [""] { "/".to_owned() } else { levels.join("/") };
        let topic = Topic::new(&name).expect("a topic");
        let filter_levels: Vec<&str> = filter.levels().collect();
        let topic_levels: Vec<&str> = topic.levels().collect();
        prop_assert_eq!(filter.matches(&topic), matches_slowly(&filter_levels, &topic_levels));
    }

    #[test]
    fn a_level_generalised_still_matches(levels in proptest::collection::vec("[a-c]{1,2}", 1..6), at in any::<prop::sample::Index>()) {
        let topic = Topic::new(&levels.join("/")).expect("a topic");
        let at = at.index(levels.len());
        let mut general = levels.clone();
        general[at] = "+".to_owned();
        prop_assert!(matches(&general.join("/"), topic.as_str()));
        general[at] = "#".to_owned();
        general.truncate(at + 1);
        prop_assert!(matches(&general.join("/"), topic.as_str()));
    }

    #[test]
    fn any_text_is_judged_without_panic(text in "[a/+#$share\\x00é]{0,20}") {
        if let Ok(topic) = Topic::new(&text) {
            prop_assert!(!topic.as_str().contains(['+', '#', '\0']));
        }
        if let Ok(filter) = Filter::new(&text) {
            let whole = filter.share().map_or(filter.as_str().to_owned(), |share| format!("$share/{share}/{}", filter.as_str()));
            prop_assert_eq!(whole, text);
        }
    }
}
