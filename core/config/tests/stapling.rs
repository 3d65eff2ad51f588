//! `ssl_options.ocsp`.

mod support;

use std::time::Duration;

use postern_config::{PemSource, Stapling};
use support::{bad, good, lines};

fn listener(kind: &str, ocsp: &str) -> String {
    format!(
        "listeners.{kind}.a {{ bind = 8883, ssl_options {{ certfile = c.pem, keyfile = k.pem\nocsp {{ {ocsp} }} }} }}"
    )
}

fn read(ocsp: &str) -> Option<Stapling> {
    let [ssl, wss] = ["ssl", "wss"].map(|kind| {
        let mut loaded = good(&listener(kind, ocsp));
        loaded.config.listeners.remove(0).tls.and_then(|tls| tls.stapling)
    });
    assert_eq!(format!("{ssl:?}"), format!("{wss:?}").replace("wss", "ssl"));
    ssl
}

#[test]
fn nothing_is_stapled_unless_it_is_asked_for() {
    assert!(read("").is_none());
    assert!(read("enable_ocsp_stapling = false, responder_url = \"http://o.example\"").is_none());
    let stapling = read("enable_ocsp_stapling = true").unwrap();
    assert!(stapling.responder_url.is_none() && stapling.issuer_pem.is_none());
    assert_eq!((stapling.refresh_interval, stapling.http_timeout), (Duration::from_mins(5), Duration::from_secs(15)));
}

#[test]
fn each_key_is_read() {
    let stapling = read(
        "enable_ocsp_stapling = true, responder_url = \"http://o.example:8080/x\", issuer_pem = i.pem, \
         refresh_interval = 2m, refresh_http_timeout = 3s",
    );
    let stapling = stapling.unwrap();
    assert_eq!(stapling.responder_url.unwrap().value, "http://o.example:8080/x");
    assert_eq!(stapling.issuer_pem.unwrap().value, PemSource::Path("i.pem".into()));
    assert_eq!((stapling.refresh_interval, stapling.http_timeout), (Duration::from_mins(2), Duration::from_secs(3)));
}

#[test]
fn what_cannot_be_is_said() {
    for (ocsp, words) in [
        ("responder_url = \"https://o.example\"", "responses are signed, and responders are asked without TLS"),
        ("responder_url = \"o.example\"", "is not an address of the form `http://HOST/PATH`"),
        ("responder_url = \"http://\"", "is not an address"),
        ("responder_url = \"http://user:word@o.example\"", "is not an address"),
        ("refresh_interval = 59s", "`59s` is not from 60s to 604800s"),
        ("refresh_http_timeout = 0s", "`0s` is not from 100ms to 60s"),
        ("enable_ocsp_stapling = maybe", "must be true or false"),
        ("responder_uri = \"http://o.example\"", "unknown key; did you mean `responder_url`?"),
    ] {
        for kind in ["ssl", "wss"] {
            let said = lines(&bad(&listener(kind, ocsp)));
            assert!(said.contains(words), "{said}");
        }
    }
}
