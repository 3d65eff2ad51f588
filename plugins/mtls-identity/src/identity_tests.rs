use postern_kit::sample::{attribute, authority, certificate, proxied, uri};

use super::*;

fn rules(json: &str) -> Rules {
    Rules::from_json(json).unwrap()
}

fn by_cn() -> Rules {
    rules(r#"{"rules": [{"source": "subject.cn", "set": "username"}]}"#)
}

fn identify(rules: &Rules, leaf: Certificate) -> Result<Who, Rejection> {
    rules.identify(&[leaf, authority()], None)
}

fn username(rules: &Rules, leaf: Certificate) -> String {
    identify(rules, leaf).unwrap().username.unwrap()
}

/// The kind of the refusal; the log text never repeats what the certificate says.
fn refusal(rules: &Rules, leaf: Certificate) -> RejectCode {
    let said: Vec<String> = leaf.subject.iter().filter_map(|attribute| attribute.value.clone()).collect();
    let rejection = identify(rules, leaf).unwrap_err();
    for text in said.iter().filter(|text| text.len() > 2) {
        assert!(!rejection.detail.contains(text.as_str()), "{}", rejection.detail);
    }
    rejection.code
}

#[test]
fn e_02_a_common_name_that_topics_give_a_meaning_to_is_refused() {
    for cn in ["+", "#", "a/b", "device+1"] {
        assert_eq!(refusal(&by_cn(), certificate(cn)), RejectCode::BadCertificate, "{cn}");
    }
    let allowed = rules(r#"{"peer_cert_as_username": "cn", "allow_topic_characters": true}"#);
    assert_eq!(username(&allowed, certificate("a/b")), "a/b");
    assert_eq!(username(&by_cn(), certificate("device-1")), "device-1");
}

#[test]
fn g_04_two_common_names_are_refused_and_no_later_rule_is_asked() {
    let rules = rules(
        r#"{"rules": [{"source": "subject.cn", "set": "username"}, {"source": "sha256(cert)", "set": "username"}]}"#,
    );
    let mut leaf = certificate("alice");
    leaf.subject.push(attribute("2.5.4.3", "CN", Some("bob")));
    assert_eq!(refusal(&rules, leaf.clone()), RejectCode::BadCertificate);
    leaf.subject.reverse();
    assert_eq!(refusal(&rules, leaf), RejectCode::BadCertificate);
}

#[test]
fn g_05_control_bidirectional_and_over_long_names_are_refused() {
    for cn in ["alice\0.evil", "a\nb", "a\u{1b}b", "a\u{202e}b", "\u{feff}alice", &"a".repeat(300), &"a".repeat(65_536)]
    {
        assert_eq!(refusal(&by_cn(), certificate(cn)), RejectCode::BadCertificate);
    }
    assert_eq!(username(&by_cn(), certificate(&"a".repeat(256))).len(), 256);
}

#[test]
fn g_06_a_name_in_an_encoding_that_is_not_read_is_refused() {
    let mut leaf = certificate("alice");
    leaf.subject[0].value = None;
    assert_eq!(refusal(&by_cn(), leaf), RejectCode::BadCertificate);
}

#[test]
fn g_07_a_missing_or_blank_name_is_refused() {
    let mut leaf = certificate("alice");
    leaf.subject.clear();
    assert_eq!(refusal(&by_cn(), leaf), RejectCode::BadCertificate);
    for cn in ["", "   "] {
        assert_eq!(refusal(&by_cn(), certificate(cn)), RejectCode::BadCertificate);
    }
}

#[test]
fn g_07_a_later_rule_for_the_same_target_stands_in_for_an_absent_field() {
    let rules = rules(
        r#"{"rules": [
            {"source": "san.uri", "match": "spiffe://td/(.+)", "template": "${1}", "set": "username"},
            {"source": "subject.cn", "set": "username"}
        ]}"#,
    );
    assert_eq!(username(&rules, certificate("alice")), "alice");
    let mut leaf = certificate("alice");
    leaf.sans = vec![uri("spiffe://td/device-7")];
    assert_eq!(username(&rules, leaf.clone()), "device-7");
    leaf.sans = vec![uri("https://other/")];
    assert_eq!(username(&rules, leaf), "alice");
}

#[test]
fn g_09_two_uris_are_refused_and_so_is_a_uri_in_the_common_name_alone() {
    let rules = rules(r#"{"allow_topic_characters": true, "rules": [{"source": "san.uri", "set": "username"}]}"#);
    let mut leaf = certificate("spiffe://td/a");
    assert_eq!(refusal(&rules, leaf.clone()), RejectCode::BadCertificate);
    leaf.sans = vec![uri("spiffe://td/a")];
    assert_eq!(username(&rules, leaf.clone()), "spiffe://td/a");
    leaf.sans.push(uri("spiffe://td/b"));
    assert_eq!(refusal(&rules, leaf), RejectCode::BadCertificate);
}

#[test]
fn g_14_a_rule_that_would_backtrack_answers_in_linear_time() {
    let rules = rules(r#"{"rules": [{"source": "subject.cn", "match": "(a+)+$", "set": "username"}]}"#);
    let started = std::time::Instant::now();
    assert_eq!(refusal(&rules, certificate(&"a".repeat(10_000))), RejectCode::BadCertificate);
    assert_eq!(refusal(&rules, certificate(&format!("{}b", "a".repeat(255)))), RejectCode::BadCertificate);
    assert!(started.elapsed() < std::time::Duration::from_secs(2));
    assert_eq!(username(&rules, certificate("aaa")), "aaa");
}

#[test]
fn g_16_the_client_identifier_is_the_certificates() {
    let rules = rules(r#"{"peer_cert_as_username": "cn", "peer_cert_as_clientid": "cn"}"#);
    let who = identify(&rules, certificate("device-1")).unwrap();
    assert_eq!((who.username.as_deref(), who.client_id.as_deref()), (Some("device-1"), Some("device-1")));
    assert_eq!(identify(&by_cn(), certificate("device-1")).unwrap().client_id, None);
}

#[test]
fn g_17_lower_ascii_lowers_ascii_letters_alone() {
    let rules = rules(r#"{"rules": [{"source": "subject.cn", "case": "lower-ascii", "set": "username"}]}"#);
    assert_eq!(username(&rules, certificate("ALICE")), "alice");
    assert_eq!(username(&rules, certificate("İ")), "İ");
}

#[test]
fn emqx_shorthands_read_what_emqx_reads() {
    let mut leaf = certificate("device-1");
    leaf.subject_dn = "O=Acme,CN=device-1".to_owned();
    for (value, expected) in
        [("cn", "device-1"), ("dn", "O=Acme,CN=device-1"), ("md5", "900150983cd24fb0d6963f7d28e17f72")]
    {
        let rules = rules(&format!(r#"{{"peer_cert_as_username": "{value}"}}"#));
        assert_eq!(username(&rules, leaf.clone()), expected, "{value}");
    }
}

#[test]
fn requirements_choose_the_rule_by_issuer_and_usage() {
    let rules = rules(&format!(
        r#"{{"rules": [
            {{"source": "subject.cn", "set": "username", "template": "a-${{0}}",
              "require": {{"issuer_spki": "{}", "eku": ["clientAuth", "OID:1.2.3"]}}}},
            {{"source": "subject.cn", "set": "username", "template": "b-${{0}}",
              "require": {{"issuer_dn": "CN=Device CA", "eku": "clientAuth"}}}}
        ]}}"#,
        "CB".repeat(32)
    ));
    assert_eq!(username(&rules, certificate("x")), "b-x");
    let mut special = certificate("x");
    special.extended_key_usages.push("1.2.3".to_owned());
    assert_eq!(username(&rules, special.clone()), "a-x");
    special.issuer_dn = "CN=Other".to_owned();
    assert_eq!(username(&rules, special.clone()), "a-x");
    assert_eq!(rules.identify(&[special, certificate("Other")], None).unwrap_err().code, RejectCode::NotAllowed);
}

#[test]
fn an_optional_fact_may_be_absent_but_not_ambiguous() {
    let rules = rules(
        r#"{"peer_cert_as_username": "cn", "rules": [
            {"source": "subject.ou", "set": "attribute.site", "optional": true},
            {"source": "subject.o", "set": "attribute.owner"}
        ]}"#,
    );
    let mut leaf = certificate("x");
    assert_eq!(refusal(&rules, leaf.clone()), RejectCode::BadCertificate);
    leaf.subject.push(attribute("2.5.4.10", "O", Some("Acme")));
    let owner = ("owner".to_owned(), "Acme".to_owned());
    assert_eq!(identify(&rules, leaf.clone()).unwrap().attributes, std::slice::from_ref(&owner));
    leaf.subject.push(attribute("2.5.4.11", "OU", Some("Ulm")));
    assert_eq!(identify(&rules, leaf.clone()).unwrap().attributes, [("site".to_owned(), "Ulm".to_owned()), owner]);
    leaf.subject.push(attribute("2.5.4.11", "OU", Some("Bonn")));
    assert_eq!(refusal(&rules, leaf), RejectCode::BadCertificate);
}

#[test]
fn answers_hold_for_the_certificate_in_its_namespace_and_refusals_shorter() {
    let vary = Inputs::CERTIFICATE | Inputs::NAMESPACE;
    let hint = identify(&by_cn(), certificate("x")).unwrap().cache.unwrap();
    assert_eq!((hint.ttl_ms, hint.vary), (300_000, vary));
    let hint = identify(&by_cn(), certificate("+")).unwrap_err().cache.unwrap();
    assert_eq!((hint.ttl_ms, hint.vary), (30_000, vary));
    assert_eq!(by_cn().identify(&[], None).unwrap_err().code, RejectCode::BadCertificate);
}

#[test]
fn a_common_name_from_a_trusted_proxy_is_one_and_meets_no_requirement() {
    let said = proxied(true, true, Some("device-1"));
    assert_eq!(by_cn().identify(&[], Some(&said)).unwrap().username.as_deref(), Some("device-1"));
    assert!(by_cn().identify(&[], Some(&proxied(false, true, Some("device-1")))).is_err());
    let by_dn = rules(r#"{"peer_cert_as_username": "dn"}"#);
    assert_eq!(by_dn.identify(&[], Some(&said)).unwrap_err().code, RejectCode::BadCertificate);
    let strict =
        rules(r#"{"rules": [{"source": "subject.cn", "set": "username", "require": {"eku": ["clientAuth"]}}]}"#);
    assert_eq!(strict.identify(&[], Some(&said)).unwrap_err().code, RejectCode::NotAllowed);
}
