//! Names are valid by construction.

use postern_identity::{
    BundleName, BundleRef, DnsName, IdentityText, ListenerId, Namespace, NamespaceName, PluginName,
};
use proptest::prelude::*;

fn dns(text: &str) -> Option<String> {
    DnsName::new(text).ok().map(|name| name.to_string())
}

#[test]
fn f08_dns_names_fold_case_and_drop_one_trailing_dot() {
    assert_eq!(dns("HOST.Example.COM").as_deref(), Some("host.example.com"));
    assert_eq!(dns("host.example.com.").as_deref(), Some("host.example.com"));
    assert_eq!(dns("host.example.com.."), None);
    assert_eq!(dns("host_1.example.com").as_deref(), Some("host_1.example.com"));
    assert_eq!(dns("localhost").as_deref(), Some("localhost"));
}

#[test]
fn f08_dns_names_are_bounded() {
    let label = "a".repeat(63);
    assert!(dns(&format!("{label}.example")).is_some());
    assert!(dns(&format!("{label}a.example")).is_none());
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(longest.len(), DnsName::MAX_BYTES);
    assert!(dns(&longest).is_some());
    assert!(dns(&format!("{longest}.")).is_some(), "the dot does not count");
    assert!(dns(&format!("{longest}a")).is_none());
}

#[test]
fn f08_what_is_no_dns_name() {
    for text in
        ["", ".", " host", "host ", "ho st", "-a.example", "a-.example", "a..b", ".a", "*.a", "a\0b", "a/b", "a:1"]
    {
        assert_eq!(dns(text), None, "{text:?}");
    }
}

#[test]
fn f09_ip_literals_are_no_dns_names() {
    for text in ["192.0.2.1", "127.0.0.1.", "[::1]", "::1", "1", "a.1"] {
        assert_eq!(dns(text), None, "{text:?}");
    }
    assert!(dns("1.a").is_some());
}

#[test]
fn f10_labels_outside_ascii_are_refused_and_a_labels_are_bytes() {
    assert_eq!(dns("bücher.example"), None);
    assert_eq!(dns("xn--bcher-kva.example").as_deref(), Some("xn--bcher-kva.example"));
    assert_ne!(dns("xn--example-.org"), dns("example.org"));
    assert_eq!(dns("ｅxample.org"), None, "full-width letters do not fold");
    assert_eq!(dns("\u{212A}.example"), None, "nor does the Kelvin sign");
}

#[test]
fn namespace_names_are_safe_as_directory_names() {
    for text in ["acme", "Acme-1_b.c", "0"] {
        assert!(NamespaceName::new(text).is_ok(), "{text:?}");
    }
    for text in ["", ".", "..", ".a", "-a", "a/b", "a\\b", "a b", "a\0", "ä", "a:b"] {
        assert!(NamespaceName::new(text).is_err(), "{text:?}");
    }
    assert!(NamespaceName::new(&"a".repeat(NamespaceName::MAX_BYTES)).is_ok());
    assert!(NamespaceName::new(&"a".repeat(NamespaceName::MAX_BYTES + 1)).is_err());
}

#[test]
fn bundle_names_have_no_dots() {
    assert!(BundleName::new("mqtt-1_b").is_ok());
    assert!(BundleName::new("mqtt.example").is_err());
    assert!(BundleName::new("_a").is_err());
    assert!(BundleName::new(&"a".repeat(BundleName::MAX_BYTES)).is_ok());
    assert!(BundleName::new(&"a".repeat(BundleName::MAX_BYTES + 1)).is_err());
}

#[test]
fn g05_identity_texts_have_no_treacherous_characters() {
    for text in ["alice", "a b", "älice", "spiffe://td/x", "+", "#"] {
        assert_eq!(IdentityText::new(text).unwrap().as_str(), text);
    }
    for text in ["alice\0.evil", "a\nb", "a\u{1B}", "a\u{202E}b", "\u{FEFF}a", "a\u{2028}b", "a\u{200F}", "\u{85}"] {
        assert!(IdentityText::new(text).is_err(), "{text:?}");
    }
}

#[test]
fn g05_identity_texts_are_bounded() {
    assert!(IdentityText::new(&"a".repeat(IdentityText::MAX_BYTES)).is_ok());
    assert!(IdentityText::new(&"a".repeat(IdentityText::MAX_BYTES + 1)).is_err());
}

#[test]
fn g07_an_empty_text_or_one_of_spaces_is_no_identity() {
    assert!(IdentityText::new("").is_err());
    assert!(IdentityText::new("   ").is_err());
    assert!(IdentityText::new("\u{A0}").is_err());
}

#[test]
fn a_missing_namespace_is_the_global_one_and_an_empty_one_is_an_error() {
    assert_eq!(Namespace::from_option(None).unwrap(), Namespace::Global);
    assert_eq!(Namespace::from_option(Some("acme")).unwrap().name().unwrap().as_str(), "acme");
    assert!(Namespace::from_option(Some("")).is_err());
    assert!(Namespace::from_option(Some("(global)")).is_err(), "its text is no name");
}

#[test]
fn references_show_their_owner() {
    let name = BundleName::new("mqtt").unwrap();
    let tenant = Namespace::from_option(Some("acme")).unwrap();
    assert_eq!(BundleRef { namespace: tenant, name: name.clone() }.to_string(), "acme/mqtt");
    assert_eq!(BundleRef { namespace: Namespace::Global, name }.to_string(), "(global)/mqtt");
    assert_eq!(ListenerId::new("ssl", "default").as_str(), "ssl:default");
    assert_eq!(PluginName::new("a b\n").as_str(), "a_b_");
}

proptest! {
    #[test]
    fn dns_names_are_stable_ascii_and_in_lower_case(text in any::<String>()) {
        if let Ok(name) = DnsName::new(&text) {
            prop_assert!(name.as_str().is_ascii());
            prop_assert_eq!(name.as_str().to_ascii_lowercase(), name.as_str());
            prop_assert_eq!(DnsName::new(name.as_str()), Ok(name));
        }
    }

    #[test]
    fn dns_names_of_plain_labels_are_taken(text in "[a-zA-Z0-9_]{1,20}(\\.[a-zA-Z0-9_]{1,20}){0,5}\\.[a-z]{2,10}\\.?") {
        prop_assert!(DnsName::new(&text).is_ok());
    }

    #[test]
    fn identity_texts_are_taken_as_they_are_or_not_at_all(text in any::<String>()) {
        if let Ok(identity) = IdentityText::new(&text) {
            prop_assert_eq!(identity.as_str(), text.as_str());
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}
