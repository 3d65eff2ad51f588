//! What a proxy that ended TLS says of it, in PROXY protocol version 2: hearsay for plugins, or as good as verified
//! here, as the operator says.

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::{Broker, Setup, plugin};
use postern_tests::journal::Line;
use postern_tests::raw::{self, RawClient};
use postern_tests::shared::Shared;
use postern_tests::wire::{Connect, V3_1_1, V5};

use crate::fixture::{entry, mtls_identity};

const PROXY: &str = "bind = \"127.0.0.1:0\", proxy_protocol = true, proxy_protocol_trusted = \"127.0.0.0/8\"";
const BY_CN: &str = "peer_cert_as_username = cn";

/// A proxy that verified the certificate, as HAProxy tells it.
const VERIFIED: u32 = 0;
/// PP2_CLIENT_SSL, PP2_CLIENT_CERT_CONN, PP2_CLIENT_CERT_SESS.
const WITH_CERTIFICATE: u8 = 0x07;

static BEHIND: Shared<Broker> = Shared::new(|| {
    let tenants = entry("namespace-lookup", "rules = [{ sni = \"mqtt.acme.example.org\", namespace = acme }]");
    let identity = mtls_identity("{ source = \"subject.cn\", set = \"username\" }");
    let dir = plugin("mtls-identity");
    Setup::new(&format!(
        "plugins.dir = \"{}\"\n\
         listeners.tcp.inform {{ {PROXY} }}\n\
         listeners.tcp.trust {{ {PROXY}, proxy_protocol_tls = trust, {BY_CN} }}\n\
         listeners.tcp.require {{ {PROXY}, proxy_protocol_tls = require, {BY_CN} }}\n\
         listeners.tcp.tenants {{ {PROXY}, proxy_protocol_tls = trust, namespaces = [acme]\n\
         plugins = [{tenants}, {identity}] }}",
        dir.parent().unwrap().display()
    ))
    .start()
});

fn field(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
}

/// PP2_TYPE_SSL with these flags, this result of the verification, and this common name.
fn tls(flags: u8, verify: u32, common_name: &str) -> Vec<u8> {
    field(
        0x20,
        &[&[flags][..], &verify.to_be_bytes(), &field(0x21, b"TLSv1.3"), &field(0x22, common_name.as_bytes())].concat(),
    )
}

/// A header with these fields in front of a CONNECT, and what became of it: the CONNACK's code and the line of the log.
fn knock(listener: &str, fields: &[u8], connect: &Connect) -> (u8, Line) {
    let broker = BEHIND.get();
    let mark = broker.journal.mark();
    let addresses = [192, 0, 2, 99, 198, 51, 100, 1, 0xC3, 0x50, 0x07, 0x5B];
    let length = u16::try_from(addresses.len() + fields.len()).unwrap().to_be_bytes();
    let header = [&b"\r\n\r\n\x00\r\nQUIT\n\x21\x11"[..], &length, &addresses, fields].concat();
    let listener = format!("tcp:{listener}");
    let mut client: RawClient<_> = raw::dial(broker.address(&listener)).speaking(connect.version);
    client.send(&[header, connect.bytes()].concat());
    let code = client.next("CONNACK").connack_code().unwrap();
    let told = broker.journal.expect(mark, "admitted or refused", |line| {
        (line.says("admitted") || line.says("refused")) && line.text("listener") == listener
    });
    assert_alive(&broker);
    (code, told)
}

#[test]
fn where_the_operator_does_not_say_so_a_proxys_word_makes_nobody() {
    let (code, told) = knock("inform", &tls(WITH_CERTIFICATE, VERIFIED, "alice"), &Connect::new(V5, unique("inform")));
    assert_eq!(code, 0);
    assert!(told.says("admitted") && !told.has("username") && !told.has("identity_by"), "{told:?}");
}

// One after the other: the log says which listener, and not which test.
#[test]
fn where_the_operator_says_so_the_common_name_that_a_proxy_verified_is_the_user() {
    let connect = || Connect::new(V5, unique("trust"));
    let alice = || tls(WITH_CERTIFICATE, VERIFIED, "alice");
    let (code, told) = knock("trust", &alice(), &connect());
    assert_eq!((code, told.text("username").as_str()), (0, "alice"));
    let (code, _) = knock("trust", &alice(), &Connect::new(V3_1_1, unique("trust")));
    assert_eq!(code, 0);

    let (code, _) = knock("trust", &alice(), &connect().username("bob"));
    assert_eq!(code, 0x86, "G-08: another user name than the certificate's");

    for (what, fields) in [
        ("the proxy did not verify it", tls(WITH_CERTIFICATE, 1, "alice")),
        ("no certificate was shown", tls(0x01, VERIFIED, "alice")),
        ("no word of TLS", Vec::new()),
    ] {
        let (code, told) = knock("trust", &fields, &connect());
        assert!(code == 0 && !told.has("username"), "{what}: as without a certificate, {told:?}");
        let (code, told) = knock("require", &fields, &connect());
        assert_eq!(code, 0x87, "{what}: {told:?}");
    }
    assert_eq!(knock("require", &alice(), &connect()).0, 0);
    for name in ["", "+", "a\u{202e}b"] {
        let (code, told) = knock("require", &tls(WITH_CERTIFICATE, VERIFIED, name), &connect());
        assert_eq!(code, 0x87, "{name:?}: {told:?}");
    }
}

#[test]
fn the_name_that_a_trusted_proxy_passes_on_finds_the_tenant() {
    let connect = || Connect::new(V5, unique("tenant"));
    let device = || tls(WITH_CERTIFICATE, VERIFIED, "device-1");
    let asking = |name: &str| [field(0x02, name.as_bytes()), device()].concat();
    let (code, told) = knock("tenants", &asking("MQTT.acme.example.org"), &connect());
    assert_eq!(code, 0, "{told:?}");
    assert_eq!((told.text("namespace").as_str(), told.text("username").as_str()), ("acme", "device-1"));
    let (code, told) = knock("tenants", &device(), &connect());
    assert_eq!(code, 0);
    assert_ne!(told.text("namespace"), "acme", "without a name: the listener's own");
    let (code, told) = knock("tenants", &asking("no name"), &connect());
    assert_ne!(code, 0, "{told:?}");
}

#[test]
fn what_a_plugin_would_never_be_asked_is_an_error_of_the_configuration() {
    let identity = mtls_identity("{ source = \"subject.cn\", set = \"username\" }");
    let selector = entry("sni-selector", "");
    for (listener, expect) in [
        (format!("listeners.tcp.a {{ bind = 0, plugins = [{identity}] }}"), "proxy_protocol_tls = trust"),
        (format!("listeners.tcp.a {{ bind = 0, plugins = [{selector}] }}"), "without TLS there is no certificate"),
    ] {
        let checked = Setup::bare(&listener).check();
        assert!(checked.code != Some(0) && checked.text.contains(expect), "{checked:?}");
    }
}
