//! Server names and ALPN as they come in, byte by byte. The table in `postern_tls::hello` is held here.

use postern_identity::{ClientHello, Why};
use postern_tls::hello::{MAX_ALPN, MAX_NUMBERS};
use postern_tls::{Reason, alert_for, explain, plaintext_alert, sanitize_hello};
use rustls::{AlertDescription, ClientConnection, Error};

use crate::pki::root;
use crate::wire::{self, accept, alpn, hello, sni};

fn clean(bytes: &[u8]) -> ClientHello {
    let accepted = accept(bytes).expect("accepted");
    sanitize_hello(&accepted.client_hello()).expect("clean")
}

/// The name that comes out of this one; the outer error is rustls' refusal.
fn name(bytes: &[u8]) -> Result<Option<String>, Error> {
    let accepted = accept(&hello(&[sni(&[bytes])], &[0x1301])).map_err(|(error, _)| error)?;
    let hello = sanitize_hello(&accepted.client_hello()).expect("rustls let it in, so it is a name");
    Ok(hello.server_name.map(|name| name.to_string()))
}

#[track_caller]
fn refused(bytes: &[u8]) {
    let error = name(bytes).expect_err("must be refused");
    assert_eq!(explain(&error, None, None).0, Reason::InvalidName, "{error:?}");
}

#[test]
fn f08_names_fold_case_and_lose_the_trailing_dot() {
    assert_eq!(name(b"HOST.Example.COM").unwrap().as_deref(), Some("host.example.com"));
    assert_eq!(name(b"host.example.com.").unwrap().as_deref(), Some("host.example.com"));
    assert_eq!(name(b"host_1.example.com").unwrap().as_deref(), Some("host_1.example.com"));
}

#[test]
fn f08_invalid_names_end_the_handshake() {
    refused(b" host");
    refused(b"host..example");
    refused(b"host.example..");
    refused(b"-host.example");
    refused(format!("{}.example", "a".repeat(64)).as_bytes());
    refused("a.".repeat(128).as_bytes());
    assert!(name(format!("{}.example", "a".repeat(63)).as_bytes()).is_ok());
}

#[test]
fn f09_an_ip_literal_counts_as_no_name_or_is_refused() {
    assert_eq!(name(b"192.0.2.1").unwrap(), None);
    assert_eq!(name(b"::1").unwrap(), None);
    refused(b"[::1]");
    refused(b"127.0.0.1.");
    refused(b"1.2.3");
}

#[test]
fn f10_raw_unicode_is_refused_and_a_labels_are_bytes() {
    refused("bücher.example".as_bytes());
    refused(b"b\xFFcher.example");
    assert_eq!(name(b"xn--bcher-kva.example").unwrap().as_deref(), Some("xn--bcher-kva.example"));
    // A fake A-label: not valid punycode of anything, and never the name that it imitates.
    refused(b"xn--example-.org");
    assert_eq!(name(b"xn--example.org").unwrap().as_deref(), Some("xn--example.org"));
}

#[test]
fn f11_wildcards_and_leading_dots_are_no_names_to_ask_for() {
    refused(b"*.t.example");
    refused(b".t.example");
    assert!(name(b"a.b.t.example").is_ok());
}

#[test]
fn f13_no_extension_is_no_name() {
    assert_eq!(clean(&hello(&[], &[0x1301])).server_name, None);
}

#[test]
fn f19_control_characters_in_a_name_are_refused() {
    refused(b"a\0.example");
    refused(b"a\n.example");
    refused(b"a\x1B.example");
}

#[test]
fn two_names_are_refused() {
    let (error, _) = accept(&hello(&[sni(&[b"a.example", b"b.example"])], &[0x1301])).expect_err("must be refused");
    assert_eq!(explain(&error, None, None).0, Reason::InvalidName);
}

#[test]
fn an_invalid_name_is_answered_by_a_fatal_alert_of_rustls() {
    let (_, alert) = accept(&hello(&[sni(&[b" host"])], &[0x1301])).expect_err("must be refused");
    assert_eq!(alert, plaintext_alert(u8::from(AlertDescription::IllegalParameter)), "our record has the same form");
}

#[test]
fn f16_alpn_keeps_its_order_and_drops_what_is_no_plain_text() {
    let offer = alpn(&[b"x-amzn-mqtt-ca", b"mqtt", b"\xFF\xFE", b"\n\n", "protocól".as_bytes()]);
    assert_eq!(clean(&hello(&[offer], &[0x1301])).alpn, ["x-amzn-mqtt-ca", "mqtt", "protocól"]);
    assert!(clean(&hello(&[], &[0x1301])).alpn.is_empty());
}

#[test]
fn lists_are_cut_at_their_bounds() {
    let protocols: Vec<String> = (0..=MAX_ALPN).map(|number| format!("p{number}")).collect();
    let protocols: Vec<&[u8]> = protocols.iter().map(String::as_bytes).collect();
    let suites: Vec<u16> = (1..=u16::try_from(MAX_NUMBERS).unwrap() + 1).collect();
    let cut = clean(&hello(&[alpn(&protocols)], &suites));
    assert_eq!(cut.alpn.len(), MAX_ALPN);
    assert_eq!(cut.cipher_suites, suites[..MAX_NUMBERS]);
    let whole = clean(&hello(&[alpn(&protocols[..MAX_ALPN])], &suites[..MAX_NUMBERS]));
    assert_eq!(whole.alpn.len(), MAX_ALPN);
    assert_eq!(whole.cipher_suites.len(), MAX_NUMBERS);
}

#[test]
fn numbers_are_passed_on_in_the_clients_order() {
    let clean = clean(&hello(&[], &[0xC02B, 0x1301, 0x0A0A]));
    assert_eq!(clean.cipher_suites, [0xC02B, 0x1301, 0x0A0A]);
    assert_eq!(clean.signature_schemes, [0x0403]);
    assert_eq!(clean.named_groups, [0x001D, 0x0017]);
}

#[test]
fn f05_plain_mqtt_is_named_in_the_explanation() {
    let connect = b"\x10\x10\0\x04MQTT\x04\x02\0\x3C\0\x04test";
    let (error, _) = accept(connect).expect_err("not TLS");
    let (reason, text) = explain(&error, None, None);
    assert_eq!(reason, Reason::NotTls);
    assert!(text.contains("does not speak TLS"), "{text}");
}

#[test]
fn a_client_understands_our_alert_in_either_version() {
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12][..]] {
        let config = wire::client(root("any").der(), None, versions);
        let mut client = ClientConnection::new(config.into(), "a.example".try_into().unwrap()).unwrap();
        client.write_tls(&mut Vec::new()).unwrap();
        client.read_tls(&mut alert_for(Why::UnknownName).as_slice()).unwrap();
        let error = client.process_new_packets().expect_err("refused");
        assert_eq!(error, Error::AlertReceived(AlertDescription::UnrecognisedName));
    }
}
