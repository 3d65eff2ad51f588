//! F-08 to F-11 and F-13: which certificate answers to which name.

use postern_tests::hello::{self, Answer, Hello};
use postern_tests::programs;
use postern_tests::raw;
use postern_tests::tls;
use postern_tests::wire::{self, Connect, V3_1_1, V5};

use crate::fixture::{Gate, entry, gate, listener, name, namespace_lookup};

/// What the listener that answers unknown names with its default serves for these bytes.
fn served(gate: &Gate, name: impl AsRef<[u8]>) -> &'static str {
    described(gate, &hello::naming(name).ask(gate.at("names")))
}

fn described(gate: &Gate, answer: &Answer) -> &'static str {
    let certificates = &gate.certificates;
    match answer {
        Answer::Alert(_) => "alert",
        Answer::Closed => "closed",
        Answer::Served(leaf) if leaf == certificates.default.leaf() => "default",
        Answer::Served(leaf) if leaf == certificates.acme.leaf() => "acme",
        Answer::Served(leaf) if leaf == certificates.globex.leaf() => "globex",
        Answer::Served(leaf) if leaf == certificates.wild.leaf() => "wild",
        Answer::Served(leaf) if leaf == certificates.a_label.leaf() => "a-label",
        Answer::Served(_) => "a certificate of nobody's",
    }
}

#[test]
fn f_08_names_match_without_regard_to_case_or_a_trailing_dot() {
    let gate = gate();
    assert_eq!(served(&gate, name::ACME), "acme");
    assert_eq!(served(&gate, "MQTT.Acme.EXAMPLE.org"), "acme");
    assert_eq!(served(&gate, "mqtt.acme.example.org."), "acme");
    assert_eq!(served(&gate, name::GLOBEX), "globex");
    assert_eq!(served(&gate, "localhost"), "default");
    gate.assert_alive();
}

#[test]
fn f_08_the_trailing_dot_is_the_same_name_for_bundle_and_tenant() {
    let gate = gate();
    let address = gate.at("names").to_string();
    for asked in [name::ACME, "mqtt.acme.example.org.", "MQTT.ACME.example.org"] {
        let client_id = postern_tests::alive::unique("f08");
        let arguments = ["s_client", "-quiet", "-connect", &address, "-servername", asked];
        let connect = [&Connect::new(V3_1_1, &client_id).bytes()[..], &wire::DISCONNECT].concat();
        programs::run("openssl", &arguments, &connect);
        let line = gate.broker.journal.expect(0, "admitted", |line| line.text("client_id") == client_id);
        assert_eq!(line.text("namespace"), "acme", "{line:?}");
        assert!(line.text("bundle").contains("acme"), "{line:?}");
    }
    gate.assert_alive();
}

#[test]
fn f_08_what_is_no_dns_name_is_refused() {
    let gate = gate();
    let label_64 = format!("{}.example.org", "a".repeat(64));
    let label_63 = format!("{}.example.org", "a".repeat(63));
    let long = |bytes: usize| {
        let labels = "abcdefghi.".repeat(30);
        format!("{}.org", &labels[labels.len() - (bytes - 3)..labels.len() - 1])
    };
    for bad in [" mqtt.acme.example.org", "mqtt.acme.example.org ", "mqtt..example.org", "-a.example.org", &label_64] {
        assert_eq!(served(&gate, bad), "alert", "{bad:?}");
    }
    assert_eq!((long(254).len(), long(256).len()), (254, 256));
    assert_eq!(served(&gate, long(254)), "alert");
    assert_eq!(served(&gate, long(256)), "alert");
    assert_eq!(served(&gate, ""), "alert");
    // Honest neighbours: nobody's name, but a name.
    assert_eq!(served(&gate, long(253)), "default");
    assert_eq!(served(&gate, &label_63), "default");
    assert_eq!(served(&gate, "host_1.example.org"), "default");
    gate.assert_alive();
}

#[test]
fn f_08_a_refused_name_is_logged_escaped_and_once() {
    let gate = gate();
    let mark = gate.broker.journal.mark();
    let mut client = raw::dial(gate.at("names"));
    let own = client.stream.local_addr().unwrap().to_string();
    client.send(&hello::naming(b"f08\n{\"message\":\"admitted\"}.example").records(16_384));
    assert!(matches!(hello::answer(&mut client), Answer::Alert(_)));
    gate.broker.journal.expect(mark, "the refusal", |line| line.says("refused") && line.text("peer") == own);
    gate.assert_alive();
    let told = gate.broker.journal.since(mark).into_iter().filter(|line| line.text("peer") == own).collect::<Vec<_>>();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].text("at"), "hello");
    assert!(!told[0].text("detail").contains('\n'), "{told:?}");
}

#[test]
fn f_09_an_address_is_as_no_name_and_never_a_tenants() {
    let gate = gate();
    assert_eq!(served(&gate, "192.0.2.1"), "default");
    for odd in ["[::1]", "::1", "127.0.0.1.", "1.2.3"] {
        let got = served(&gate, odd);
        assert!(matches!(got, "default" | "alert"), "{odd}: {got}");
    }
    gate.assert_alive();
}

#[test]
fn f_10_international_names_are_compared_as_a_labels() {
    let gate = gate();
    assert_eq!(served(&gate, name::A_LABEL), "a-label");
    assert_eq!(served(&gate, "XN--BCHER-KVA.example.org"), "a-label");
    assert_eq!(served(&gate, "bücher.example.org"), "alert");
    assert_eq!(served(&gate, b"b\xFCcher.example.org"), "alert");
    // RUSTSEC-2024-0421: what a lax decoder takes for another name.
    assert_eq!(served(&gate, "xn--localhost-"), "alert");
    let got = served(&gate, "xn--99999999999.example.org");
    assert!(matches!(got, "default" | "alert"), "{got}");
    gate.assert_alive();
}

#[test]
fn f_11_a_wildcard_covers_one_label() {
    let gate = gate();
    assert_eq!(served(&gate, "a.t.example.org"), "wild");
    assert_eq!(served(&gate, "B.T.Example.Org."), "wild");
    assert_eq!(served(&gate, "a.b.t.example.org"), "default");
    assert_eq!(served(&gate, "t.example.org"), "default");
    assert_eq!(served(&gate, "*.t.example.org"), "alert");
    assert_eq!(served(&gate, ".t.example.org"), "alert");
    gate.assert_alive();
}

#[test]
fn f_11_the_policy_for_unknown_names_may_be_to_refuse() {
    let gate = gate();
    let unrecognized_name = Answer::Alert(112);
    assert_eq!(hello::naming("nobody.example.org").ask(gate.at("strict")), unrecognized_name);
    assert_eq!(hello::naming("a.b.t.example.org").ask(gate.at("strict")), unrecognized_name);
    assert_eq!(described(&gate, &hello::naming(name::ACME).ask(gate.at("strict"))), "acme");
    assert_eq!(described(&gate, &hello::naming("a.t.example.org").ask(gate.at("strict"))), "wild");
    gate.assert_alive();
}

#[test]
fn f_13_no_name_is_answered_by_the_default_and_belongs_to_no_tenant() {
    let gate = gate();
    assert_eq!(described(&gate, &Hello::default().ask(gate.at("names"))), "default");
    let connect = Connect::new(V5, postern_tests::alive::unique("f13"));
    let (entry, line) = gate.attempt("names", &tls::nameless(), &connect);
    entry.admitted().leave();
    assert_eq!(line.text("namespace"), "(global)", "{line:?}");
    assert!(!line.has("server_name") || line.text("server_name").is_empty(), "{line:?}");
    gate.assert_alive();
}

#[test]
fn f_13_a_listener_with_one_certificate_serves_it_to_everybody() {
    let gate = crate::fixture::Certificates::make();
    let setup = postern_tests::broker::Setup::new(
        "listeners.ssl.files { bind = \"127.0.0.1:0\", ssl_options { certfile = server.pem, keyfile = server.key } }",
    );
    gate.acme.write(setup.dir.path(), "server");
    let broker = setup.start();
    let address = broker.address("ssl:files");
    for hello in [Hello::default(), hello::naming(name::ACME), hello::naming("nobody.example.org")] {
        assert_eq!(hello.ask(address), Answer::Served(gate.acme.leaf().to_vec()));
    }
    postern_tests::alive::assert_alive(&broker);
}

// ---- `unknown_sni`, which needs no plugin ---------------------------------------------------------------

/// The same certificates on `ssl` and `wss`, in files and as bundles, with `unknown_sni` as given; without it where empty.
fn listeners(word: &str) -> String {
    let option = if word.is_empty() { String::new() } else { format!("unknown_sni = {word}") };
    let files = format!("certfile = wild.pem, keyfile = wild.key, {option}");
    let of_kind = |kind: &str| {
        let of_files = format!("listeners.{kind}.files {{ bind = \"127.0.0.1:0\", ssl_options {{ {files} }} }}\n");
        // The selector's own word is `default`: what the listener says is stricter.
        let plugins = [namespace_lookup(), entry("sni-selector", "")];
        let bundles = listener("bundles", &option, &plugins);
        of_files + &bundles.replace("listeners.ssl.", &format!("listeners.{kind}."))
    };
    of_kind("ssl") + &of_kind("wss")
}

#[test]
fn f_11_unknown_names_are_refused_where_the_listener_says_so_with_and_without_plugins() {
    let certificates = crate::fixture::Certificates::make();
    for word in ["refuse", "default", ""] {
        let setup = postern_tests::broker::Setup::new(&listeners(word));
        certificates.write(&setup);
        certificates.wild.write(setup.dir.path(), "wild");
        let broker = setup.start();
        let of = |listener: &str, hello: Hello| match hello.ask(broker.address(listener)) {
            Answer::Served(leaf) if leaf == certificates.wild.leaf() => "wild",
            Answer::Served(leaf) if leaf == certificates.default.leaf() => "default",
            Answer::Served(leaf) if leaf == certificates.acme.leaf() => "acme",
            Answer::Alert(112) => "unrecognized_name",
            other => panic!("{listener}: {other:?}"),
        };
        let unknown = |default| if word == "refuse" { "unrecognized_name" } else { default };
        for kind in ["ssl", "wss"] {
            let (files, bundles) = (format!("{kind}:files"), format!("{kind}:bundles"));
            // F-13 and F-09: no name, and an address in its place, are the default's.
            for hello in [Hello::default(), hello::naming("192.0.2.1")] {
                assert_eq!(of(&files, hello.clone()), "wild", "{word} {kind}");
                assert_eq!(of(&bundles, hello), "default", "{word} {kind}");
            }
            // F-08 and F-11: whom a name belongs to does not depend on how it is written.
            for known in ["a.t.example.org", "A.T.Example.Org", "a.t.example.org."] {
                assert_eq!(of(&files, hello::naming(known)), "wild", "{word} {kind} {known}");
                assert_eq!(of(&bundles, hello::naming(known)), "wild", "{word} {kind} {known}");
            }
            assert_eq!(of(&bundles, hello::naming("localhost")), "default", "the default has a name of its own");
            assert_eq!(of(&bundles, hello::naming(name::ACME)), "acme", "{word} {kind}");
            // F-10 and F-11: nobody's.
            for nobody in ["a.b.t.example.org", "t.example.org", "nobody.example.org", "xn--bcher-kva.example.com"] {
                assert_eq!(of(&files, hello::naming(nobody)), unknown("wild"), "{word} {kind} {nobody}");
                assert_eq!(of(&bundles, hello::naming(nobody)), unknown("default"), "{word} {kind} {nobody}");
            }
        }
        postern_tests::alive::assert_alive(&broker);
    }
}

#[test]
fn f_11_a_name_of_another_tenant_is_nobodys() {
    let option = "unknown_sni = refuse";
    // Without a plugin that decides it, everybody is of the global namespace.
    let setup = postern_tests::broker::Setup::new(&listener("a", option, &[entry("sni-selector", "")]));
    let certificates = crate::fixture::Certificates::make();
    certificates.write(&setup);
    let broker = setup.start();
    assert_eq!(hello::naming(name::ACME).ask(broker.address("ssl:a")), Answer::Alert(112));
    let line =
        broker.journal.expect(0, "the refusal", |line| line.says("refused") && line.text("why") == "unknown_name");
    assert!(line.text("detail").contains("unknown_sni"), "{line:?}");
    let served = hello::naming("localhost").ask(broker.address("ssl:a"));
    assert_eq!(served, Answer::Served(certificates.default.leaf().to_vec()));
}
