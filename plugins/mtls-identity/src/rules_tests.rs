use super::*;

fn issues(json: &str) -> Vec<(String, String)> {
    let found = Rules::from_json(json).map_or_else(|issues| issues, |_| Vec::new());
    found.into_iter().map(|issue| (issue.path, issue.message)).collect()
}

#[test]
fn without_a_rule_there_is_nothing_to_go_by() {
    let found = issues("{}");
    assert_eq!(found.len(), 1);
    assert!(found[0].1.contains("at least one rule"), "{found:?}");
    assert_eq!(issues(r#"{"rules": [{"source": "subject.cn", "set": "username"}]}"#), []);
    assert_eq!(issues(r#"{"peer_cert_as_username": "cn"}"#), []);
}

#[test]
fn a_list_that_names_no_user_says_so_aloud() {
    let clientid = r#""peer_cert_as_clientid": "cn""#;
    let found = issues(&format!("{{{clientid}}}"));
    assert!(found[0].1.contains("username_from_connect"), "{found:?}");
    assert_eq!(issues(&format!(r#"{{{clientid}, "username_from_connect": true}}"#)), []);
    let both = issues(r#"{"peer_cert_as_username": "cn", "username_from_connect": true}"#);
    assert_eq!(both[0].0, "username_from_connect");
}

#[test]
fn emqx_values_that_cannot_be_an_identity_are_refused_with_what_to_use() {
    for value in ["crt", "pem"] {
        let found = issues(&format!(r#"{{"peer_cert_as_username": "{value}"}}"#));
        assert_eq!(found[0].0, "peer_cert_as_username");
        assert!(found[0].1.contains("sha256(cert)"), "{found:?}");
    }
    assert_eq!(issues(r#"{"peer_cert_as_username": "md5", "peer_cert_as_clientid": "disabled"}"#), []);
    assert!(issues(r#"{"peer_cert_as_username": "cm"}"#)[0].1.contains("did you mean \"cn\"?"));
}

#[test]
fn faults_are_named_with_their_path() {
    let rule = |inner: &str| format!(r#"{{"rules": [{{"source": "subject.cn", "set": "username"{inner}}}]}}"#);
    for (json, path) in [
        (r#"{"rule": []}"#.to_owned(), "rule"),
        (rule(r#", "templat": "x""#), "rules[0].templat"),
        (rule(r#", "optional": true"#), "rules[0].optional"),
        (rule(r#", "require": {"policy_oid": "1.2.3"}"#), "rules[0].require.policy_oid"),
        (rule(r#", "require": {"eku": "clientAuht"}"#), "rules[0].require.eku"),
        (rule(r#", "require": {"issuer_spki": "00"}"#), "rules[0].require.issuer_spki"),
        (rule(r#", "match": "(?<=a)b""#), "rules[0].match"),
        (r#"{"rules": [{"source": "subject.cn", "set": "user"}]}"#.to_owned(), "rules[0].set"),
        (r#"{"rules": [{"source": "subject.cn", "set": "attribute."}]}"#.to_owned(), "rules[0].set"),
        (
            r#"{"peer_cert_as_username": "cn", "rules": [{"source": "subject.dn", "set": "username"}]}"#.to_owned(),
            "peer_cert_as_username",
        ),
    ] {
        let found = issues(&json);
        assert_eq!(found.first().map(|(path, _)| path.as_str()), Some(path), "{json}: {found:?}");
    }
}

#[test]
fn attributes_are_bounded() {
    let rule = |index: usize| format!(r#"{{"source": "subject.cn", "set": "attribute.a{index}", "optional": true}}"#);
    let json = |count| {
        let rules: Vec<String> = (0..count).map(rule).collect();
        format!(r#"{{"peer_cert_as_username": "cn", "rules": [{}]}}"#, rules.join(","))
    };
    assert_eq!(issues(&json(32)), []);
    assert_eq!(issues(&json(33))[0].0, "rules");
}
