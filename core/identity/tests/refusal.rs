//! The faces of a refusal.

use std::collections::HashSet;

use postern_identity::{ClientAuthWish, PluginName, Refusal, Stage, Why};
use proptest::prelude::*;

const ALL: [Why; 13] = [
    Why::UnknownName,
    Why::InvalidName,
    Why::NoApplicationProtocol,
    Why::NotAllowed,
    Why::BadCertificate,
    Why::UsernameMismatch,
    Why::BadCredentials,
    Why::ClientIdMismatch,
    Why::RateLimited,
    Why::Unavailable,
    Why::PluginFailed,
    Why::TimedOut,
    Why::Protocol,
];

#[test]
fn every_reason_has_a_label_of_its_own() {
    let labels: HashSet<&str> = ALL.iter().map(|why| why.label()).collect();
    assert_eq!(labels.len(), ALL.len());
    assert!(labels.iter().all(|label| label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
}

#[test]
fn no_reason_is_a_success_on_the_wire() {
    for why in ALL {
        assert_ne!(why.alert(), 0, "{why:?}: 0 is close_notify");
        assert!(why.connack() >= 0x80, "{why:?}: codes below 0x80 are successes");
    }
}

#[test]
fn g08_a_refusal_says_whose_fault_it_is() {
    assert_eq!(Why::UsernameMismatch.connack(), 0x86);
    assert_eq!(Why::ClientIdMismatch.connack(), 0x85);
    assert_eq!(Why::UnknownName.alert(), 112);
}

#[test]
fn f19_foreign_text_is_escaped_and_cut() {
    assert_eq!(Refusal::foreign("a\nb\u{1B}"), "a\\nb\\u{1b}");
    assert_eq!(Refusal::foreign(&"a".repeat(300)).len(), Refusal::MAX_FOREIGN_BYTES);
    assert_eq!(Refusal::foreign(&"ä".repeat(200)).chars().count(), 128, "cut between characters");
}

#[test]
fn a_refusal_reads_as_one_line() {
    let mut refusal = Refusal::new(Stage::Hello, Why::InvalidName, "no such name");
    assert_eq!(refusal.to_string(), "hello (invalid_name): no such name");
    refusal.by = Some(PluginName::new("sni-selector"));
    assert_eq!(refusal.to_string(), "hello (invalid_name): no such name [sni-selector]");
}

#[test]
fn wishes_are_ordered_by_strictness() {
    assert!(ClientAuthWish::None < ClientAuthWish::Optional);
    assert!(ClientAuthWish::Optional < ClientAuthWish::Required);
}

proptest! {
    #[test]
    fn f19_foreign_text_never_breaks_a_line(text in any::<String>()) {
        prop_assert!(!Refusal::foreign(&text).chars().any(char::is_control));
    }
}
