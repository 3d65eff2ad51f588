use super::*;
use crate::config;
use crate::sample::{attribute, certificate, uri};

fn field(json: &str) -> Result<Field, Vec<config::Issue>> {
    let keys = [&Field::KEYS[..], &["template"]].concat();
    config::read(json, &keys, |section| Field::configured(section, "template"))
}

fn said(json: &str, certificate: &Certificate) -> Said {
    field(json).unwrap().read(certificate)
}

fn text(text: &str) -> Said {
    Said::Text(text.to_owned())
}

#[test]
fn every_source_is_read_from_its_place() {
    let mut c = certificate("alice");
    c.subject.push(attribute("2.5.4.10", "O", Some("Acme")));
    c.subject_dn = "O=Acme,CN=alice".to_owned();
    c.sans = vec![
        San::Dns("a.example".to_owned()),
        uri("spiffe://td/a"),
        San::Email("a@example".to_owned()),
        San::Ip("192.0.2.1".to_owned()),
    ];
    for (source, expected) in [
        ("subject.cn", "alice"),
        ("subject.O", "Acme"),
        ("subject.rdn(2.5.4.10)", "Acme"),
        ("subject.dn", "O=Acme,CN=alice"),
        ("san.dns", "a.example"),
        ("san.uri", "spiffe://td/a"),
        ("san.email", "a@example"),
        ("san.ip", "192.0.2.1"),
        ("serial+issuer", "0a1b:CN=Device CA"),
        ("sha256(cert)", &"11".repeat(32)),
        ("sha256(spki)", &"22".repeat(32)),
    ] {
        assert_eq!(said(&format!(r#"{{"source": "{source}"}}"#), &c), text(expected), "{source}");
    }
    // RFC 1321 appendix A.5: MD5 ("abc").
    assert_eq!(Field::plain(Source::CertificateMd5).read(&c), text("900150983cd24fb0d6963f7d28e17f72"));
}

#[test]
fn g_04_two_common_names_are_refused_in_either_order() {
    let mut c = certificate("alice");
    c.subject.push(attribute("2.5.4.3", "CN", Some("bob")));
    let only = r#"{"source": "subject.cn"}"#;
    assert!(matches!(said(only, &c), Said::Refused(_)));
    c.subject.reverse();
    assert!(matches!(said(only, &c), Said::Refused(_)));
    assert_eq!(said(r#"{"source": "subject.cn", "pick": "first"}"#, &c), text("bob"));
    assert_eq!(said(r#"{"source": "subject.cn", "pick": "index(1)"}"#, &c), text("alice"));
    assert_eq!(said(r#"{"source": "subject.cn", "pick": "index(2)"}"#, &c), Said::Nothing);
}

#[test]
fn g_06_a_value_that_cannot_be_read_is_refused_whatever_is_picked() {
    let mut c = certificate("alice");
    c.subject.push(attribute("2.5.4.3", "CN", None));
    for pick in ["only", "first", "index(0)", "any-matching(alice)"] {
        let json = format!(r#"{{"source": "subject.cn", "pick": "{pick}"}}"#);
        assert!(matches!(said(&json, &c), Said::Refused(_)), "{pick}");
    }
    assert!(matches!(said(r#"{"source": "subject.dn"}"#, &c), Said::Refused(_)));
}

#[test]
fn g_07_an_absent_field_says_nothing_and_a_blank_one_is_refused() {
    let mut c = certificate("");
    assert!(matches!(said(r#"{"source": "subject.cn"}"#, &c), Said::Refused(_)));
    c.subject[0].value = Some("  ".to_owned());
    assert!(matches!(said(r#"{"source": "subject.cn"}"#, &c), Said::Refused(_)));
    c.subject.clear();
    c.subject_dn.clear();
    assert_eq!(said(r#"{"source": "subject.cn"}"#, &c), Said::Nothing);
    assert_eq!(said(r#"{"source": "subject.dn"}"#, &c), Said::Nothing);
}

#[test]
fn g_09_two_uris_are_refused_and_a_uri_in_the_common_name_is_none() {
    let mut c = certificate("spiffe://td/a");
    assert_eq!(said(r#"{"source": "san.uri"}"#, &c), Said::Nothing);
    c.sans = vec![uri("spiffe://td/a"), uri("spiffe://td/b")];
    assert!(matches!(said(r#"{"source": "san.uri"}"#, &c), Said::Refused(_)));
    c.sans.pop();
    assert_eq!(said(r#"{"source": "san.uri"}"#, &c), text("spiffe://td/a"));
}

#[test]
fn any_matching_finds_the_one_that_matches_and_refuses_two() {
    let mut c = certificate("x");
    c.sans = vec![uri("https://example/"), uri("spiffe://td/a")];
    let rule = r#"{"source": "san.uri", "pick": "any-matching", "match": "spiffe://td/(.+)", "template": "${1}"}"#;
    assert_eq!(said(rule, &c), text("a"));
    let own = r#"{"source": "san.uri", "pick": "any-matching(https:.*)"}"#;
    assert_eq!(said(own, &c), text("https://example/"));
    c.sans.push(uri("spiffe://td/b"));
    assert!(matches!(said(rule, &c), Said::Refused(_)));
    c.sans.clear();
    assert_eq!(said(rule, &c), Said::Nothing);
}

#[test]
fn g_05_what_match_would_cut_away_still_refuses() {
    let rule = r#"{"source": "subject.cn", "match": "([a-z]+)(?s:.*)", "template": "${1}"}"#;
    assert_eq!(said(rule, &certificate("alice7")), text("alice"));
    for cn in ["alice\0.evil", "alice\u{202e}", "alice\n"] {
        assert!(matches!(said(rule, &certificate(cn)), Said::Refused(_)), "{cn:?}");
    }
    assert!(matches!(said(rule, &certificate(&"a".repeat(300))), Said::Refused(_)));
    assert_eq!(said(rule, &certificate("7")), Said::Nothing);
}

#[test]
fn g_17_lower_ascii_leaves_all_other_letters_alone() {
    let rule = r#"{"source": "subject.cn", "case": "lower-ascii"}"#;
    assert_eq!(said(rule, &certificate("ALICE")), text("alice"));
    assert_eq!(said(rule, &certificate("İÄ")), text("İÄ"));
    assert_eq!(said(r#"{"source": "subject.cn"}"#, &certificate("ALICE")), text("ALICE"));
}

#[test]
fn faults_of_a_field_are_named_by_key() {
    for (json, path) in [
        ("{}", "source"),
        (r#"{"source": "subject.cm"}"#, "source"),
        (r#"{"source": "subject.rdn(x)"}"#, "source"),
        (r#"{"source": "subject.cn", "pick": "index(-1)"}"#, "pick"),
        (r#"{"source": "subject.cn", "pick": "any-matching"}"#, "pick"),
        (r#"{"source": "subject.cn", "pick": "last"}"#, "pick"),
        (r#"{"source": "subject.cn", "match": "("}"#, "match"),
        (r#"{"source": "subject.cn", "template": "${1}"}"#, "template"),
        (r#"{"source": "subject.cn", "case": "lower"}"#, "case"),
    ] {
        let paths: Vec<String> = field(json).unwrap_err().into_iter().map(|issue| issue.path).collect();
        assert_eq!(paths, [path], "{json}");
    }
    let nearest = &field(r#"{"source": "subject.cm"}"#).unwrap_err()[0].message;
    assert!(nearest.contains("\"subject.cn\""), "{nearest}");
}
