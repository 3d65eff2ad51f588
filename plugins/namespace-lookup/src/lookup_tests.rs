use postern_kit::sample::{attribute, authority, certificate, proxied};
use postern_kit::wit::types::BundleRef;

use super::*;

/// `*.acme.example` is acme's, `mqtt.example` is global, the default is globex's.
struct Attached;

impl Directory for Attached {
    fn by_name(&self, name: &str) -> Option<BundleRef> {
        match name {
            "*.acme.example" => Some(bundle(Some("acme"))),
            "mqtt.example" => Some(bundle(None)),
            _ => None,
        }
    }
    fn has(&self, _: &BundleRef) -> bool {
        true
    }
    fn default_bundle(&self) -> Option<BundleRef> {
        Some(bundle(Some("globex")))
    }
}

/// A listener without bundles.
struct Nothing;

impl Directory for Nothing {
    fn by_name(&self, _: &str) -> Option<BundleRef> {
        None
    }
    fn has(&self, _: &BundleRef) -> bool {
        false
    }
    fn default_bundle(&self) -> Option<BundleRef> {
        None
    }
}

fn bundle(namespace: Option<&str>) -> BundleRef {
    BundleRef { namespace: namespace.map(str::to_owned), name: "mqtt".to_owned() }
}

fn lookup(json: &str) -> Lookup {
    Lookup::from_json(json).unwrap()
}

/// The answer as one word: a namespace, `(global)`, `need`, `pass`, `unknown` or `bad`.
fn word(answer: Answer) -> String {
    match answer {
        Answer::Found { name, .. } => name.unwrap_or_else(|| "(global)".to_owned()),
        Answer::NeedCertificate => "need".to_owned(),
        Answer::Pass => "pass".to_owned(),
        Answer::Reject(rejection) if rejection.code == RejectCode::UnknownName => "unknown".to_owned(),
        Answer::Reject(rejection) => {
            assert_eq!(rejection.code, RejectCode::BadCertificate);
            "bad".to_owned()
        }
    }
}

fn answer(lookup: &Lookup, name: Option<&str>, chain: &[Certificate]) -> String {
    word(lookup.ask(name, chain, None, &Attached))
}

fn device(organisation: &str) -> [Certificate; 2] {
    let mut leaf = certificate("device-1");
    leaf.subject.push(attribute("2.5.4.10", "O", Some(organisation)));
    [leaf, authority()]
}

#[test]
fn without_rules_the_bundle_that_answers_to_the_name_decides() {
    let lookup = lookup("{}");
    for (name, expected) in [
        (Some("mqtt.acme.example"), "acme"),
        (Some("MQTT.ACME.example."), "acme"),
        (Some("mqtt.example"), "(global)"),
        (Some("other.example"), "globex"),
        (None, "globex"),
        (Some("*.acme.example"), "globex"),
    ] {
        assert_eq!(answer(&lookup, name, &[]), expected, "{name:?}");
    }
    assert_eq!(word(lookup.ask(Some("other.example"), &[], None, &Nothing)), "pass");
}

#[test]
fn f_11_a_rule_for_a_wildcard_covers_exactly_one_label() {
    let lookup = lookup(r#"{"rules": [{"sni": "*.t.example", "namespace": "acme"}], "default": "refuse"}"#);
    assert_eq!(answer(&lookup, Some("A.t.example."), &[]), "acme");
    for name in ["a.b.t.example", "t.example", "*.t.example", ".t.example", "192.0.2.1"] {
        assert_eq!(answer(&lookup, Some(name), &[]), "unknown", "{name}");
    }
    assert_eq!(answer(&lookup, None, &[]), "unknown");
}

#[test]
fn the_first_rule_that_applies_decides_and_an_earlier_name_spares_the_certificate() {
    let lookup = lookup(
        r#"{"rules": [
            {"sni": "a.example", "namespace": "first"},
            {"client_ca": {"subject_dn": "CN=Device CA"}, "namespace": "by-ca"},
            {"sni": "b.example", "namespace": "last"}
        ]}"#,
    );
    assert_eq!(answer(&lookup, Some("a.example"), &[]), "first");
    assert_eq!(answer(&lookup, Some("b.example"), &[]), "need");
    assert_eq!(answer(&lookup, Some("b.example"), &device("Acme")), "by-ca");
    let strangers = [certificate("x"), certificate("Other CA")];
    assert_eq!(answer(&lookup, Some("b.example"), &strangers), "last");
    assert_eq!(answer(&lookup, None, &strangers), "pass");
}

#[test]
fn g_13_a_client_ca_is_known_by_its_digest_its_key_or_its_name_and_never_by_the_client() {
    for ca in [
        format!(r#"{{"fingerprint_sha256": "{}"}}"#, "CA:".repeat(32).trim_end_matches(':')),
        format!(r#"{{"spki_sha256": "{}"}}"#, "cb".repeat(32)),
        r#"{"subject_dn": "CN=Device CA"}"#.to_owned(),
    ] {
        let lookup = lookup(&format!(r#"{{"rules": [{{"client_ca": {ca}, "namespace": "acme"}}]}}"#));
        assert_eq!(answer(&lookup, None, &device("x")), "acme", "{ca}");
        // A leaf that calls itself the CA is not on the path above itself.
        assert_eq!(answer(&lookup, None, &[authority(), certificate("Other CA")]), "pass", "{ca}");
    }
}

#[test]
fn a_field_names_the_namespace_through_a_template() {
    let lookup = lookup(
        r#"{"rules": [{"source": "subject.o", "match": "Tenant ([A-Za-z]+)", "case": "lower-ascii", "namespace": "t-${1}"}],
            "default": {"namespace": "rest"}}"#,
    );
    assert_eq!(answer(&lookup, None, &[]), "need");
    assert_eq!(answer(&lookup, None, &device("Tenant Acme")), "t-acme");
    assert_eq!(answer(&lookup, None, &device("Acme")), "rest");
    assert_eq!(answer(&lookup, None, &[certificate("x"), authority()]), "rest");
}

#[test]
fn a_field_that_makes_no_valid_name_or_is_ambiguous_is_refused() {
    let lookup = lookup(r#"{"rules": [{"source": "subject.o", "match": "(.+)", "namespace": "${1}"}]}"#);
    assert_eq!(answer(&lookup, None, &device("acme")), "acme");
    for organisation in ["../acme", "a b", "a\0b", "", &"a".repeat(129), "acme/x"] {
        assert_eq!(answer(&lookup, None, &device(organisation)), "bad", "{organisation:?}");
    }
    let mut twice = device("acme");
    twice[0].subject.push(attribute("2.5.4.10", "O", Some("globex")));
    assert_eq!(answer(&lookup, None, &twice), "bad");
    let mut unread = device("acme");
    unread[0].subject[1].value = None;
    assert_eq!(answer(&lookup, None, &unread), "bad");
}

#[test]
fn all_conditions_of_a_rule_must_hold() {
    let lookup = lookup(
        r#"{"rules": [{"sni": "a.example", "client_ca": {"subject_dn": "CN=Device CA"}, "source": "subject.o", "namespace": "${0}"}]}"#,
    );
    assert_eq!(answer(&lookup, Some("b.example"), &[]), "pass");
    assert_eq!(answer(&lookup, Some("a.example"), &[]), "need");
    assert_eq!(answer(&lookup, Some("a.example"), &device("acme")), "acme");
    assert_eq!(answer(&lookup, Some("b.example"), &device("acme")), "pass");
    assert_eq!(answer(&lookup, Some("a.example"), &[device("acme")[0].clone(), certificate("Other CA")]), "pass");
}

#[test]
fn answers_depend_on_the_certificate_only_where_one_was_seen() {
    let lookup =
        lookup(r#"{"rules": [{"sni": "a.example", "namespace": "a"}, {"source": "subject.o", "namespace": "${0}"}]}"#);
    let hint = |answer| match answer {
        Answer::Found { cache: Some(hint), .. } => (hint.ttl_ms, hint.vary),
        other => panic!("{other:?}"),
    };
    assert_eq!(hint(lookup.ask(Some("a.example"), &[], None, &Attached)), (60_000, Inputs::SERVER_NAME));
    let both = Inputs::SERVER_NAME | Inputs::CERTIFICATE;
    assert_eq!(hint(lookup.ask(None, &device("acme"), None, &Attached)), (60_000, both));
}

#[test]
fn a_field_is_read_from_the_word_of_a_trusted_proxy_as_far_as_it_goes() {
    let by_name = lookup(r#"{"rules": [{"source": "subject.cn", "match": "(\\w+)-.*", "namespace": "${1}"}]}"#);
    let said = |trusted| proxied(trusted, true, Some("acme-17"));
    assert_eq!(word(by_name.ask(None, &[], Some(&said(true)), &Nothing)), "acme");
    assert_eq!(word(by_name.ask(None, &[], Some(&said(false)), &Nothing)), "need");
    let by_issuer = lookup(r#"{"rules": [{"client_ca": {"subject_dn": "CN=Device CA"}, "namespace": "a"}]}"#);
    assert_eq!(word(by_issuer.ask(None, &[], Some(&said(true)), &Nothing)), "pass");
}

#[test]
fn faults_of_the_configuration_are_named_with_their_path() {
    for (json, path) in [
        (r#"{"rule": []}"#, "rule"),
        (r#"{"default": "drop"}"#, "default"),
        (r#"{"default": {"namespace": "a/b"}}"#, "default.namespace"),
        (r#"{"rules": [{"namespace": "acme"}]}"#, "rules[0]"),
        (r#"{"rules": [{"sni": "a.example"}]}"#, "rules[0].namespace"),
        (r#"{"rules": [{"sni": "a.example", "namespace": "${1}"}]}"#, "rules[0].namespace"),
        (r#"{"rules": [{"sni": "a.example", "match": "x", "namespace": "a"}]}"#, "rules[0].match"),
        (r#"{"rules": [{"source": "subject.o", "match": "x", "namespace": "${1}"}]}"#, "rules[0].namespace"),
        (r#"{"rules": [{"client_ca": {}, "namespace": "a"}]}"#, "rules[0].client_ca"),
        (r#"{"rules": [{"client_ca": {"spki_sha256": "00"}, "namespace": "a"}]}"#, "rules[0].client_ca.spki_sha256"),
        (r#"{"rules": [{"client_ca": {"subject": "x"}, "namespace": "a"}]}"#, "rules[0].client_ca.subject"),
    ] {
        let issues = Lookup::from_json(json).unwrap_err();
        assert_eq!(issues.first().map(|issue| issue.path.as_str()), Some(path), "{json}: {issues:?}");
    }
}
