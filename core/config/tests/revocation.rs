//! `enable_crl_check`, `crl` and `crl_cache`.

mod support;

use std::path::Path;
use std::time::Duration;

use postern_config::{Crl, CrlCache, OutdatedCrl};
use support::{bad, good, lines};

/// A listener that asks for client certificates, with these options besides.
fn mutual(options: &str) -> String {
    format!(
        "listeners.wss.a {{ bind = 8084, ssl_options {{ certfile = c.pem, keyfile = k.pem, cacertfile = ca.pem\n\
         verify = verify_peer\n{options}\n}} }}"
    )
}

fn crl(options: &str) -> Option<Crl> {
    good(&mutual(options)).config.listeners.remove(0).tls.and_then(|tls| tls.crl)
}

#[track_caller]
fn refused(text: &str, expect: &str) {
    let said = lines(&bad(text));
    assert!(said.contains(expect), "{said}");
}

#[test]
fn every_key_reaches_its_place() {
    let crl = crl("enable_crl_check = true\ncrl { files = [a.pem, \"b.crl\"], directories = [crls]\n\
                   urls = [\"http://crl.example.org/x.crl\"], refresh_interval = 5m, outdated = { grace = 12h } }")
    .unwrap();
    let files: Vec<&Path> = crl.files.iter().map(|file| file.value.as_path()).collect();
    assert_eq!(files, [Path::new("a.pem"), Path::new("b.crl")]);
    assert_eq!(crl.directories[0].value, Path::new("crls"));
    assert_eq!(crl.urls[0].value, "http://crl.example.org/x.crl");
    assert_eq!(crl.urls[0].at.to_string(), "etc/postern.conf:5:9");
    assert_eq!(crl.at.to_string(), "etc/postern.conf:3:1");
    assert_eq!(crl.refresh_interval, Some(Duration::from_mins(5)));
    assert_eq!(crl.outdated, OutdatedCrl::Grace(Duration::from_hours(12)));
}

#[test]
fn what_is_not_said_is_closed_and_left_to_crl_cache() {
    let crl = crl("enable_crl_check = true, crl { files = [a.pem], outdated = refuse }").unwrap();
    assert_eq!((crl.outdated, crl.refresh_interval), (OutdatedCrl::Refuse, None));
    let cache = |text: &str| good(&format!("listeners.tcp.a.bind = 1\n{text}")).config.crl_cache;
    let [interval, timeout] = [900, 15].map(Duration::from_secs);
    assert_eq!(cache(""), CrlCache { refresh_interval: interval, http_timeout: timeout, capacity: 100 });
    let [interval, timeout] = [60, 3].map(Duration::from_secs);
    let written = cache("crl_cache { refresh_interval = 1m, http_timeout = 3s, capacity = 7 }");
    assert_eq!(written, CrlCache { refresh_interval: interval, http_timeout: timeout, capacity: 7 });
    let warned = good("listeners.tcp.a.bind = 1\ncrl_cache.failure_threshold = 60s").warnings;
    assert!(lines(&warned).contains("without effect: an address that fails is asked again"), "{}", lines(&warned));
}

#[test]
fn checking_without_a_list_is_refused() {
    let nothing = "there is no list to check by, so that nobody could be let in; name some";
    refused(&mutual("enable_crl_check = true"), nothing);
    refused(&mutual("enable_crl_check = true, crl {}"), nothing);
    refused(&mutual("enable_crl_check = true, crl { files = [], directories = [], urls = [] }"), nothing);
    // EMQX's own refusal.
    refused(
        "listeners.ssl.a { bind = 1, ssl_options { certfile = c, keyfile = k, enable_crl_check = true\n\
         crl.files = [a] } }",
        "enable_crl_check: needs `verify = verify_peer`",
    );
}

#[test]
fn lists_without_the_check_are_told_to_have_no_effect() {
    for switch in ["", "enable_crl_check = false\n"] {
        let loaded = good(&mutual(&format!("{switch}crl.files = [a.pem]")));
        assert!(loaded.config.listeners[0].tls.as_ref().unwrap().crl.is_none());
        assert!(lines(&loaded.warnings).contains("crl: has no effect: `enable_crl_check` is off"));
    }
}

#[test]
fn addresses_that_cannot_be_fetched_are_refused() {
    for (url, words) in [
        ("https://crl.example.org/x", "write an `http://` address; a list is signed"),
        ("ldap://x/cn=y", "cannot be fetched"),
        ("crl.pem", "cannot be fetched"),
        ("http://", "is no address of a list"),
        ("http:///x", "is no address of a list"),
        ("http://name:word@host/x", "without a user name"),
        ("http://host/a b", "is no address of a list"),
    ] {
        refused(&mutual(&format!("enable_crl_check = true, crl.urls = [\"{url}\"]")), words);
    }
}

#[test]
fn what_is_out_of_range_or_misspelt_is_refused() {
    for (options, words) in [
        ("crl { files = [a], refresh_interval = 59s }", "refresh_interval: `59s` is not from 60s to 604800s"),
        ("crl { files = [a], outdated = allow }", "`allow` is not one of `refuse`"),
        ("crl { files = [a], outdated = {} }", "`grace` is missing; write `{ grace = 12h }`, or `refuse`"),
        ("crl { files = [a], outdated = { grace = 1s } }", "outdated.grace: `1s` is not from 60s to 31536000s"),
        ("crl { file = [a] }", "did you mean `files`?"),
        ("crl { files = a }", "must be a list"),
        ("crl { files = [\"\"] }", "a path is missing here"),
    ] {
        refused(&mutual(&format!("enable_crl_check = true, {options}")), words);
    }
    refused("listeners.tcp.a.bind = 1\ncrl_cache.refresh_interval = 1s", "`1s` is not from 60s");
    refused("listeners.tcp.a.bind = 1\ncrl_cache.capacity = 0", "`0` is not a whole number from 1 to 10000");
}

#[test]
fn more_addresses_than_there_is_room_for_are_refused() {
    let three =
        mutual("enable_crl_check = true, crl.urls = [\"http://a/1\", \"http://a/2\", \"http://a/3\", \"http://a/1\"]");
    refused(&format!("{three}\ncrl_cache.capacity = 2"), "more than 2 addresses of lists; raise `crl_cache.capacity`");
    good(&format!("{three}\ncrl_cache.capacity = 3"));
}
