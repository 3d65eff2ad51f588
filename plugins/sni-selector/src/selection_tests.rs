use std::collections::BTreeMap;

use super::*;

/// Names to bundles, and the default.
#[derive(Default)]
struct Listed {
    names: BTreeMap<String, BundleRef>,
    default: Option<BundleRef>,
}

impl Directory for Listed {
    fn by_name(&self, name: &str) -> Option<BundleRef> {
        self.names.get(name).cloned()
    }
    fn has(&self, bundle: &BundleRef) -> bool {
        self.names.values().chain(&self.default).any(|known| full(known) == full(bundle))
    }
    fn default_bundle(&self) -> Option<BundleRef> {
        self.default.clone()
    }
}

fn full(bundle: &BundleRef) -> String {
    format!("{}/{}", bundle.namespace.as_deref().unwrap_or(""), bundle.name)
}

/// `acme/mqtt`, or `/mqtt` for a global one.
fn bundle(text: &str) -> BundleRef {
    let (namespace, name) = text.split_once('/').unwrap();
    BundleRef { namespace: (!namespace.is_empty()).then(|| namespace.to_owned()), name: name.to_owned() }
}

fn directory() -> Listed {
    let names = [
        ("mqtt.example.org", "/plain"),
        ("*.t.example", "/wild"),
        ("mqtt.acme.example", "acme/mqtt"),
        ("mqtt.globex.example", "globex/mqtt"),
    ];
    Listed {
        names: names.iter().map(|(name, to)| ((*name).to_owned(), bundle(to))).collect(),
        default: Some(bundle("/default")),
    }
}

fn selector(json: &str) -> Selector {
    Selector::from_json(json).unwrap()
}

/// The answer as one word: a bundle, `pass` or `refuse`.
fn answer(selector: &Selector, name: Option<&str>, namespace: Option<&str>) -> String {
    match selector.choose(name, namespace, &directory()).unwrap() {
        Choice::Bundle { bundle, .. } => full(&bundle),
        Choice::Pass => "pass".to_owned(),
        Choice::Reject(rejection) => {
            assert_eq!(rejection.code, RejectCode::UnknownName);
            "refuse".to_owned()
        }
    }
}

#[test]
fn f_08_case_and_trailing_dot_find_the_same_bundle() {
    let selector = selector("{}");
    for name in ["mqtt.example.org", "MQTT.Example.Org", "mqtt.example.org."] {
        assert_eq!(answer(&selector, Some(name), None), "/plain", "{name}");
    }
    for name in [" mqtt", "mqtt.example.org..", &format!("{}.example", "a".repeat(64)), ""] {
        assert_eq!(answer(&selector, Some(name), None), "refuse", "{name}");
    }
}

#[test]
fn f_09_an_address_gets_no_bundle_by_accident() {
    let selector = selector("{}");
    for name in ["192.0.2.1", "[::1]", "127.0.0.1."] {
        assert_eq!(answer(&selector, Some(name), Some("acme")), "refuse", "{name}");
    }
}

#[test]
fn f_11_a_wildcard_answers_for_exactly_one_label() {
    for (json, expected) in [
        (r#"{"unknown": "refuse"}"#, "/wild"),
        (r#"{"unknown": "refuse", "entries": [{"sni": "*.T.example", "bundle": "plain"}]}"#, "/plain"),
    ] {
        let selector = selector(json);
        assert_eq!(answer(&selector, Some("a.t.example"), None), expected);
        for name in ["a.b.t.example", "t.example", "*.t.example", ".t.example"] {
            assert_eq!(answer(&selector, Some(name), None), "refuse", "{name}");
        }
    }
}

#[test]
fn f_13_without_a_name_the_policy_decides() {
    assert_eq!(answer(&selector("{}"), None, None), "/default");
    assert_eq!(answer(&selector("{}"), None, Some("acme")), "/default");
    assert_eq!(answer(&selector(r#"{"no_sni": "refuse"}"#), None, None), "refuse");
    assert_eq!(answer(&selector(r#"{"unknown": "refuse"}"#), None, None), "/default");
}

#[test]
fn an_unknown_name_gets_the_default_or_a_refusal() {
    assert_eq!(answer(&selector("{}"), Some("other.example"), None), "/default");
    assert_eq!(answer(&selector(r#"{"unknown": "refuse"}"#), Some("other.example"), None), "refuse");
}

#[test]
fn an_exact_entry_comes_before_a_wildcard_entry_and_both_before_the_directory() {
    let selector = selector(
        r#"{"entries": [
            {"sni": "*.t.example", "bundle": "plain"},
            {"sni": "x.t.example", "bundle": "mqtt", "namespace": "acme"},
            {"sni": "mqtt.example.org", "bundle": "wild"}
        ]}"#,
    );
    assert_eq!(answer(&selector, Some("x.t.example"), Some("acme")), "acme/mqtt");
    assert_eq!(answer(&selector, Some("y.t.example"), Some("acme")), "/plain");
    assert_eq!(answer(&selector, Some("mqtt.example.org"), None), "/wild");
    assert_eq!(answer(&selector, Some("mqtt.acme.example"), Some("acme")), "acme/mqtt");
}

#[test]
fn g_13_another_namespaces_bundle_is_as_good_as_none() {
    let strict =
        selector(r#"{"unknown": "refuse", "entries": [{"sni": "e.example", "bundle": "mqtt", "namespace": "acme"}]}"#);
    for namespace in [None, Some("globex")] {
        assert_eq!(answer(&strict, Some("mqtt.acme.example"), namespace), "refuse");
        assert_eq!(answer(&strict, Some("e.example"), namespace), "refuse");
    }
    let detail = |name| match strict.choose(Some(name), Some("globex"), &directory()).unwrap() {
        Choice::Reject(rejection) => rejection.detail,
        other => panic!("{other:?}"),
    };
    assert_eq!(detail("mqtt.acme.example"), detail("nowhere.example"));
    assert_eq!(answer(&selector("{}"), Some("mqtt.acme.example"), Some("globex")), "/default");
}

#[test]
fn a_default_of_another_namespace_is_left_to_the_host() {
    let directory = Listed { default: Some(bundle("acme/mqtt")), ..directory() };
    let choose = |namespace| selector("{}").choose(None, namespace, &directory).unwrap();
    assert!(matches!(choose(Some("acme")), Choice::Bundle { .. }));
    assert!(matches!(choose(Some("globex")), Choice::Pass));
    assert!(matches!(selector("{}").choose(None, None, &Listed::default()).unwrap(), Choice::Pass));
}

#[test]
fn an_entry_whose_bundle_is_not_attached_is_a_fault_of_the_configuration() {
    let selector = selector(r#"{"entries": [{"sni": "a.example", "bundle": "gone"}]}"#);
    let message = selector.choose(Some("a.example"), None, &directory()).unwrap_err();
    assert!(message.contains("entries[0]") && message.contains("gone"), "{message}");
}

#[test]
fn answers_hold_for_the_name_and_the_namespace_and_unknown_ones_shorter() {
    let strict = selector(r#"{"unknown": "refuse"}"#);
    let Choice::Bundle { cache: Some(hint), .. } = strict.choose(Some("mqtt.example.org"), None, &directory()).unwrap()
    else {
        panic!("a bundle is served")
    };
    assert_eq!((hint.ttl_ms, hint.vary), (60_000, Inputs::SERVER_NAME | Inputs::NAMESPACE));
    let Choice::Reject(rejection) = strict.choose(Some("other.example"), None, &directory()).unwrap() else {
        panic!("nothing is served")
    };
    let hint = rejection.cache.unwrap();
    assert_eq!((hint.ttl_ms, hint.vary), (10_000, Inputs::SERVER_NAME | Inputs::NAMESPACE));
}

#[test]
fn the_wish_for_client_certificates_is_the_entrys_else_the_sections() {
    let json = r#"{"client_auth": "optional", "entries": [
        {"sni": "a.example", "bundle": "plain", "client_auth": "required"}, {"sni": "b.example", "bundle": "plain"}]}"#;
    let selector = selector(json);
    for (name, expected) in [
        ("a.example", ClientAuth::Required),
        ("b.example", ClientAuth::Optional),
        ("mqtt.example.org", ClientAuth::Optional),
    ] {
        let Choice::Bundle { client_auth, .. } = selector.choose(Some(name), None, &directory()).unwrap() else {
            panic!("a bundle is served")
        };
        assert_eq!(client_auth, expected, "{name}");
    }
}

#[test]
fn faults_of_the_configuration_are_named_with_their_path() {
    for (json, path) in [
        (r#"{"entires": []}"#, "entires"),
        (r#"{"unknown": "reject"}"#, "unknown"),
        (r#"{"entries": [{"sni": "a.*.example", "bundle": "x"}]}"#, "entries[0].sni"),
        (r#"{"entries": [{"sni": "a.example"}]}"#, "entries[0].bundle"),
        (r#"{"entries": [{"sni": "a.example", "bundle": "../x"}]}"#, "entries[0].bundle"),
        (r#"{"entries": [{"sni": "a.example", "bundle": "x", "namespace": "a/b"}]}"#, "entries[0].namespace"),
        (
            r#"{"entries": [{"sni": "A.example", "bundle": "x"}, {"sni": "a.example.", "bundle": "y"}]}"#,
            "entries[1].sni",
        ),
    ] {
        let paths: Vec<String> = Selector::from_json(json).unwrap_err().into_iter().map(|issue| issue.path).collect();
        assert_eq!(paths, [path], "{json}");
    }
}
