//! Listeners, their TLS and their plugins: what is written becomes what is meant.

mod support;

use std::path::PathBuf;
use std::time::Duration;

use postern_config::{
    CertFiles, CertSource, ClientAuth, Isolation, ListenerKind, LogFormat, LogLevel, OnError, PasswordSource, PeerCert,
    PemSource, Versions,
};
use support::{bad, good, lines, load_text, load_with};

/// A TLS listener with these options beside its files.
fn files(options: &str) -> String {
    format!("listeners.ssl.a {{ bind = 8883, ssl_options {{ certfile = c.pem, keyfile = k.pem\n{options}\n}} }}")
}

/// A TLS listener with these options and no certificate.
fn ssl(options: &str) -> String {
    format!("listeners.ssl.a {{ bind = 8883, ssl_options {{ {options} }} }}")
}

/// The least that a TLS listener needs.
const BUNDLE: &str = "ssl_options.managed_certs { bundle_name = x }";

#[track_caller]
fn refused(text: &str, expect: &str) {
    let said = lines(&bad(text));
    assert!(said.contains(expect), "{said}");
}

#[track_caller]
fn warned(text: &str, expect: &str) {
    let said = lines(&good(text).warnings);
    assert!(said.contains(expect), "{said}");
}

#[test]
fn the_documented_listeners_are_read_as_they_stand() {
    let loaded = good(include_str!("fixtures/listeners.conf"));
    let listeners = &loaded.config.listeners;
    let names: Vec<&str> = listeners.iter().map(|l| l.id.as_str()).collect();
    assert_eq!(names, ["ssl:files", "ssl:global_bundles", "ssl:mutual", "ssl:tenant_bundle"]);

    let tls = listeners[0].tls.as_ref().unwrap();
    assert_eq!(tls.client_auth, ClientAuth::Off);
    let CertSource::Files { files: CertFiles { certfile, keyfile, password: None }, .. } = &tls.source else {
        panic!("{tls:?}")
    };
    assert_eq!(certfile.value, PemSource::Path("etc/certs/server.pem".into()));
    assert_eq!(keyfile.at.to_string(), "etc/postern.conf:9:15");
    assert_eq!(tls.cacertfile.as_ref().unwrap().value, PemSource::Path("etc/certs/root-ca.pem".into()));
    assert_eq!((tls.versions, tls.handshake_timeout), (Versions { tls12: true, tls13: true }, Duration::from_secs(5)));

    let CertSource::Managed(certs) = &listeners[1].tls.as_ref().unwrap().source else { panic!("not managed") };
    let certs: Vec<_> = certs.iter().map(|c| (c.value.bundle.to_string(), c.value.sni.clone().unwrap())).collect();
    let expect = [("(global)/shop", "shop.example.org"), ("(global)/api", "api.example.org")];
    assert_eq!(certs, expect.map(|(a, b)| (a.to_owned(), b.to_owned())));

    let mutual = &listeners[2];
    assert_eq!(mutual.tls.as_ref().unwrap().client_auth, ClientAuth::Required);
    assert_eq!(mutual.namespaces.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["acme"]);
    let plugins = mutual.plugins.as_ref().unwrap();
    assert_eq!(plugins[0].value.path, PathBuf::from("plugins/namespace_lookup.wasm"));
    assert_eq!(plugins[2].value.timeout, Some(Duration::from_millis(50)));
    assert_eq!(plugins[2].value.config, serde_json::json!({"rules": [{"source": "san.uri", "set": "username"}]}));
    assert_eq!(listeners[0].plugins, None);

    let said = lines(&loaded.warnings);
    assert!(said.starts_with(
        "etc/postern.conf:4:1: listeners.ssl.files: anyone who can reach it is let in: there is no `authentication`, and clients are not asked for a certificate"
    ), "{said}");
    assert!(said.contains("etc/postern.conf:11:28: listeners.ssl.files.ssl_options.fail_if_no_peer_cert: has no effect with `verify = verify_none`"), "{said}");
    assert_eq!(loaded.warnings.len(), 4, "three open listeners and one key without effect:\n{said}");
}

#[test]
fn defaults_are_those_of_emqx_where_it_has_some() {
    let config = good("listeners.tcp.a.bind = 1883").config;
    assert_eq!((config.node.name.as_str(), config.node.data_dir), ("postern@127.0.0.1", PathBuf::from("data")));
    assert_eq!(config.plugins.dir, PathBuf::from("plugins"));
    assert_eq!((config.log.level, config.log.format), (LogLevel::Info, LogFormat::Auto));
    let mqtt = config.mqtt;
    assert_eq!((mqtt.max_packet_size, mqtt.max_inflight, mqtt.max_mqueue_len), (1 << 20, 32, 1000));
    assert_eq!(mqtt.session_expiry_interval, Duration::from_hours(2));
    let listener = &config.listeners[0];
    assert_eq!((listener.kind, listener.enable, listener.max_connections), (ListenerKind::Tcp, true, None));
    assert_eq!((listener.mountpoint.as_str(), listener.max_unauthenticated_per_address), ("", 64));
}

#[test]
fn sections_are_read() {
    let text = "listeners.tcp.a.bind = 1\nnode { name = \"n1@host\", data_dir = /var/lib/postern }\nplugins.dir = p\n\
                mqtt { max_packet_size = 16MB, max_inflight = 1024, max_mqueue_len = 0, session_expiry_interval = 1h30m }\n\
                log { level = debug, format = json }";
    let config = good(text).config;
    assert_eq!((config.node.name.as_str(), config.node.data_dir), ("n1@host", PathBuf::from("/var/lib/postern")));
    let mqtt = config.mqtt;
    assert_eq!((mqtt.max_packet_size, mqtt.max_inflight, mqtt.max_mqueue_len), (16 << 20, 1024, 0));
    assert_eq!(mqtt.session_expiry_interval, Duration::from_mins(90));
    assert_eq!((config.log.level, config.log.format), (LogLevel::Debug, LogFormat::Json));
}

#[test]
fn addresses_are_taken_in_all_their_forms() {
    for (text, address) in [
        ("8883", "0.0.0.0:8883"),
        ("\"8883\"", "0.0.0.0:8883"),
        ("\":8883\"", "0.0.0.0:8883"),
        ("0", "0.0.0.0:0"),
        ("65535", "0.0.0.0:65535"),
        ("127.0.0.1:8883", "127.0.0.1:8883"),
        ("\"10.0.0.1:1\"", "10.0.0.1:1"),
        ("\"[::1]:8883\"", "[::1]:8883"),
        ("\"[::]:8883\"", "[::]:8883"),
    ] {
        let config = good(&format!("listeners.tcp.a.bind = {text}")).config;
        assert_eq!(config.listeners[0].bind.value.to_string(), address, "{text}");
    }
    for text in [
        "65536",
        "-1",
        "\"\"",
        "\":\"",
        "localhost:1",
        "1.2.3:80",
        "\"::1:80\"",
        "1.2.3.4",
        "\"1.2.3.4:99999\"",
        "8883x",
        "010.0.0.1:1",
    ] {
        refused(&format!("listeners.tcp.a.bind = {text}"), "is no address to listen on");
    }
    refused("listeners.tcp.a.enable = true", "`bind` is missing");
}

#[test]
fn client_authentication_has_three_settings() {
    for (options, expect) in [
        ("", ClientAuth::Off),
        ("verify = verify_none", ClientAuth::Off),
        ("cacertfile = ca.pem, verify = verify_peer", ClientAuth::Optional),
        ("cacertfile = ca.pem, verify = verify_peer, fail_if_no_peer_cert = false", ClientAuth::Optional),
        ("cacertfile = ca.pem, verify = verify_peer, fail_if_no_peer_cert = true", ClientAuth::Required),
    ] {
        assert_eq!(good(&files(options)).config.listeners[0].tls.as_ref().unwrap().client_auth, expect, "{options}");
    }
    refused(&files("verify = verify_peer"), "ssl_options.cacertfile: is missing: with `verify_peer` it says who signs");
    refused(&files("cacertfile = \"\", verify = verify_peer"), "cacertfile: is missing");
    good(&ssl("managed_certs { bundle_name = x }, verify = verify_peer"));
    assert!(good(&files("cacertfile = \"\"")).config.listeners[0].tls.as_ref().unwrap().cacertfile.is_none());
}

#[test]
fn a_certificate_is_a_must() {
    refused("listeners.ssl.a.bind = 1", "listeners.ssl.a: there is no certificate");
    refused(&ssl("verify = verify_none"), "there is no certificate; add `certfile` and `keyfile`, or `managed_certs`");
    refused(&ssl("certfile = a"), "there is a `certfile`, but no `keyfile`");
    refused(&ssl("keyfile = a"), "there is a `keyfile`, but no `certfile`");
    refused("listeners.tcp.a { bind = 1, ssl_options { certfile = a } }", "a `tcp` listener has no TLS");
}

#[test]
fn managed_certs_may_be_one_or_many_but_not_none() {
    for text in ["{ bundle_name = x }", "[{ bundle_name = x }]"] {
        let config = good(&ssl(&format!("managed_certs = {text}"))).config;
        let CertSource::Managed(certs) = &config.listeners[0].tls.as_ref().unwrap().source else {
            panic!("not managed")
        };
        assert_eq!((certs.len(), certs[0].value.sni.clone()), (1, None));
    }
    refused(&ssl("managed_certs = []"), "managed_certs: must define at least one managed cert bundle");
    refused(&ssl("managed_certs = [{ sni = a.example }]"), "managed_certs[0]: `bundle_name` is missing");
    refused(&ssl("managed_certs = x"), "must be a list");
    warned(&files("managed_certs { bundle_name = x }"), "ssl_options.certfile: has no effect beside `managed_certs`");
}

#[test]
fn server_names_are_folded_and_given_once() {
    let list = |a: &str, b: &str| {
        ssl(&format!("managed_certs = [{{ bundle_name = x, sni = \"{a}\" }}, {{ bundle_name = y, sni = \"{b}\" }}]"))
    };
    let config = good(&list("MQTT.Example.org.", "*.Example.org")).config;
    let CertSource::Managed(certs) = &config.listeners[0].tls.as_ref().unwrap().source else { panic!("not managed") };
    assert_eq!(certs[0].value.sni.as_deref(), Some("mqtt.example.org"));
    assert_eq!(certs[1].value.sni.as_deref(), Some("*.example.org"));
    assert!(load_text(&list("a.example", "A.Example.")).is_ok(), "whether their keys differ, the files show");
    let three = |second: &str, third: &str| {
        ssl(&format!(
            "managed_certs = [{{ bundle_name = x, sni = a.example }}, {{ bundle_name = y, sni = a.example }}, \
             {{ {second}, sni = \"A.Example.\" }}, {{ {third}, sni = b.example }}]"
        ))
    };
    assert!(load_text(&three("bundle_name = z", "bundle_name = z")).is_ok());
    let twice = "managed_certs[2].sni: the name was given a bundle already at etc/postern.conf:1:";
    refused(&three("bundle_name = y", "bundle_name = z"), twice);
    refused(&three("bundle_name = z, namespace = acme", "bundle_name = z"), twice);
    let four = three("bundle_name = z", "bundle_name = u").replace("b.example", "a.example");
    refused(&four, "managed_certs[3].sni: the name was given a bundle already at etc/postern.conf:1:");
    for name in ["127.0.0.1", "a..b", "*.*.a.example", "a.*.example", "*", "-a.example", "a b"] {
        refused(&list("ok.example", name), "is no server name");
    }
}

#[test]
fn namespaces_are_those_named_and_those_of_the_bundles() {
    let text = "listeners.ssl.a { bind = 1, namespaces = [globex, acme], ssl_options.managed_certs = [\
                { bundle_name = x, namespace = initech }, { bundle_name = y, namespace = acme }, { bundle_name = z }] }";
    let config = good(text).config;
    let names: Vec<&str> = config.listeners[0].namespaces.iter().map(AsRef::as_ref).collect();
    assert_eq!(names, ["acme", "globex", "initech"]);
    refused(
        &format!("listeners.ssl.a {{ bind = 1, namespaces = [\"a/b\"], {BUNDLE} }}"),
        "namespaces[0]: `a/b` is no namespace",
    );
}

#[test]
fn old_versions_of_tls_are_refused_in_words() {
    let of = |list: &str| files(&format!("versions = [{list}]"));
    let versions = |list: &str| good(&of(list)).config.listeners[0].tls.as_ref().unwrap().versions;
    assert_eq!(versions("tlsv1.3"), Versions { tls12: false, tls13: true });
    assert_eq!(versions("tlsv1.2"), Versions { tls12: true, tls13: false });
    assert_eq!(versions("\"tlsv1.3\", \"tlsv1.2\""), Versions { tls12: true, tls13: true });
    for old in ["tlsv1", "tlsv1.1"] {
        refused(
            &of(&format!("tlsv1.2, {old}")),
            &format!("versions[1]: `{old}` is broken and not spoken here (RFC 8996)"),
        );
    }
    refused(&of("tlsv1.4"), "`tlsv1.4` is not one of `tlsv1.2`, `tlsv1.3`");
    refused(&of(""), "no version of TLS is left");
}

#[test]
fn variables_in_quoted_paths_are_replaced() {
    let text = files("cacertfile = \"${EMQX_ETC_DIR}/certs/ca.pem\"");
    let config = load_with(&text, &[("EMQX_ETC_DIR", "/etc/emqx")], &[]).expect("good").config;
    let tls = config.listeners[0].tls.as_ref().unwrap();
    assert_eq!(tls.cacertfile.as_ref().unwrap().value, PemSource::Path("/etc/emqx/certs/ca.pem".into()));
    refused(&text, "the environment variable `EMQX_ETC_DIR` is not set");
    refused(&files("cacertfile = \"${X/ca.pem\""), "a `${` without its `}`");
}

#[test]
fn keys_may_stand_in_the_configuration_and_passwords_in_files() {
    let pem = "-----BEGIN PRIVATE KEY-----\\nabc\\n-----END PRIVATE KEY-----";
    let config = good(&ssl(&format!("certfile = c.pem, keyfile = \"{pem}\", password = \"file:///run/pw\""))).config;
    let CertSource::Files { files: CertFiles { keyfile, password, .. }, .. } =
        &config.listeners[0].tls.as_ref().unwrap().source
    else {
        panic!("no files")
    };
    let PemSource::Inline(key) = &keyfile.value else { panic!("a path") };
    assert!(key.expose().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert_eq!(password.as_ref().unwrap().value, PasswordSource::File("/run/pw".into()));
    let config = good(&files("password = 0012")).config;
    let CertSource::Files { files: CertFiles { password, .. }, .. } = &config.listeners[0].tls.as_ref().unwrap().source
    else {
        panic!("no files")
    };
    let PasswordSource::Inline(password) = &password.as_ref().unwrap().value else { panic!("a file") };
    assert_eq!(password.expose(), "0012");
}

#[test]
fn mountpoints_have_three_placeholders() {
    let of = |text: &str| format!("listeners.tcp.a {{ bind = 1, mountpoint = \"{text}\" }}");
    for text in ["", "a/", "${namespace}/${username}/${clientid}/"] {
        assert_eq!(good(&of(text)).config.listeners[0].mountpoint, text);
    }
    refused(
        &of("${client_attrs.x}/"),
        "`${client_attrs.x}` is no placeholder here; use `${clientid}`, `${username}` or `${namespace}`",
    );
    refused(&of("${clientid/"), "is no placeholder here");
    refused(&of("a/#"), "cannot be part of a topic's name");
}

#[test]
fn connection_limits_are_numbers_or_infinity() {
    let of = |value: &str| load_text(&format!("listeners.tcp.a {{ bind = 1, max_connections = {value} }}"));
    assert_eq!(of("infinity").unwrap().config.listeners[0].max_connections, None);
    assert_eq!(of("1024000").unwrap().config.listeners[0].max_connections, Some(1_024_000));
    for value in ["0", "-1", "4294967296", "unlimited"] {
        assert!(of(value).is_err(), "{value}");
    }
}

#[test]
fn plugins_are_paths_or_objects() {
    let of = |entry: &str| {
        format!("listeners.ssl.a {{ bind = 1, ssl_options.managed_certs {{ bundle_name = x }}, plugins = [{entry}] }}")
    };
    let entry = |text: &str| good(&of(text)).config.listeners[0].plugins.as_ref().unwrap()[0].value.clone();
    let plain = entry("p.wasm");
    assert_eq!((plain.on_error, plain.isolation, plain.cache), (OnError::Deny, Isolation::Warm, true));
    assert_eq!((plain.timeout, plain.memory, plain.config), (None, None, serde_json::json!({})));
    let full = entry(
        "{ path = p.wasm, timeout = 5ms, memory = 16MB, on_error = default-bundle, isolation = per-call, cache = false }",
    );
    assert_eq!((full.timeout, full.memory), (Some(Duration::from_millis(5)), Some(16 << 20)));
    assert_eq!((full.on_error, full.isolation, full.cache), (OnError::DefaultBundle, Isolation::PerCall, false));
    assert_eq!(entry("{ path = p, on_error = default_bundle }").on_error, OnError::DefaultBundle);
    for (text, expect) in [
        ("{ pth = p }", "plugins[0].pth: unknown key; did you mean `path`?"),
        ("{ timeout = 1s }", "plugins[0]: `path` is missing"),
        ("{ path = p, timeout = 0 }", "`0` is not from 1ms to 60s"),
        ("{ path = p, memory = 1KB }", "`1KB` is not from 65536 to 4294967296 bytes"),
        ("{ path = p, on_error = allow }", "`allow` is not one of"),
        ("{ path = p, config = 5 }", "config: must be an object"),
        ("\"\"", "a path is missing here"),
    ] {
        refused(&of(text), expect);
    }
    assert_eq!(good(&of("")).config.listeners[0].plugins, Some(vec![]));
    refused(&of(&"p,".repeat(17)), "17 plugins, at most 16 are run");
}

#[test]
fn names_from_certificates_are_set_for_all_or_for_one_listener() {
    let text = format!(
        "mqtt {{ peer_cert_as_username = cn, peer_cert_as_clientid = md5 }}\n\
         listeners.ssl.a {{ bind = 1, peer_cert_as_username = dn, peer_cert_as_clientid = disabled, {BUNDLE} }}\n\
         listeners.ssl.b {{ bind = 2, {BUNDLE} }}"
    );
    let config = good(&text).config;
    let of = |i: usize| (config.listeners[i].peer_cert_as_username, config.listeners[i].peer_cert_as_clientid);
    assert_eq!((of(0), of(1)), ((PeerCert::Dn, PeerCert::Disabled), (PeerCert::Cn, PeerCert::Md5)));
    for word in ["crt", "pem"] {
        refused(&format!("mqtt.peer_cert_as_username = {word}"), "a whole certificate is longer than a name may be");
    }
    warned(
        &format!("listeners.ssl.a {{ bind = 1, plugins = [p], peer_cert_as_username = cn, {BUNDLE} }}"),
        "listeners.ssl.a.peer_cert_as_username: has no effect beside `plugins`",
    );
}

#[test]
fn what_has_nothing_to_go_by_on_a_tcp_listener_is_refused() {
    let tcp = |settings: &str| format!("listeners.tcp.a {{ bind = 1, {settings} }}");
    for (key, expect) in [
        ("namespaces = [acme]", "namespaces: nothing on this `tcp` listener chooses among them"),
        ("peer_cert_as_username = cn", "peer_cert_as_username: a `tcp` listener has no TLS handshake"),
        ("peer_cert_as_clientid = cn", "peer_cert_as_clientid: a `tcp` listener has no TLS handshake"),
    ] {
        refused(&tcp(key), &format!("listeners.tcp.a.{expect}"));
        good(&format!("listeners.ssl.a {{ bind = 1, {key}, {BUNDLE} }}"));
    }
    good(&tcp("plugins = [p], namespaces = [acme]"));
}

#[test]
fn open_listeners_are_warned_of_and_closed_ones_are_not() {
    let mutual = "cacertfile = ca.pem, verify = verify_peer, fail_if_no_peer_cert = true";
    let said = |text: &str| lines(&good(text).warnings);
    assert!(
        said("listeners.tcp.a.bind = 1").contains("listeners.tcp.a: anyone who can reach it is let in, in clear text")
    );
    assert!(said(&files("")).contains("clients are not asked for a certificate"));
    assert!(
        said(&files("cacertfile = ca.pem, verify = verify_peer")).contains("a client without a certificate is let in")
    );
    assert!(said(&files(mutual)).contains("chooses its own user name"));
    assert_eq!(said(&format!("mqtt.peer_cert_as_username = cn\n{}", files(mutual))), "");
    assert_eq!(said(&format!("{}\nlisteners.ssl.a.plugins = [identity.wasm]", files(mutual))), "");
    assert_eq!(said("listeners.tcp.a { bind = 1, enable = false }"), "");
}

#[test]
fn names_of_listeners_are_plain_words() {
    good("listeners.tcp.a-b_C9.bind = 1");
    refused("listeners.tcp.\"a b\".bind = 1", "listeners.tcp.\"a b\": a listener's name is 1 to 64 letters");
    refused("listeners.tcp.\"\".bind = 1", "a listener's name is 1 to 64 letters");
}
