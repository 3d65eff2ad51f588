//! F-17: several certificates for one name, chosen by what the client can verify, as `openssl s_client` finds them; and what
//! is told at check where certificates cannot stand in for each other.

use postern_tests::alive::assert_alive;
use postern_tests::broker::{Broker, Checked, Setup, plugin, root};
use postern_tests::openssl::{self, ED25519, P256, P384, RSA, Served, s_client};
use postern_tests::pki::Authority;

use crate::fixture::{entry, namespace_lookup};

const NAME: &str = "mqtt.acme.example.org";

/// Options of a client, and the key type of what it must be served where there are all three, the preferred one first.
const CLIENTS: [(&str, &str); 9] = [
    ("", "p256"),
    ("-tls1_3 -sigalgs rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256", "p256"),
    ("-tls1_3 -sigalgs rsa_pss_rsae_sha256", "rsa"),
    ("-tls1_3 -sigalgs ed25519", "ed25519"),
    ("-tls1_2", "p256"),
    ("-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256", "rsa"),
    ("-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", "p256"),
    ("-tls1_2 -sigalgs rsa_pkcs1_sha256", "rsa"),
    ("-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256 -sigalgs ed25519", "ed25519"),
];

#[track_caller]
fn assert_each_client_gets_its_own(broker: &Broker, listener: &str, naming: &str) {
    for (offer, kind) in CLIENTS {
        let served = s_client(broker.address(listener), &format!("{naming} {offer}"));
        assert_eq!(served, Served::CommonName(kind.to_owned()), "{listener} for {offer:?}");
    }
}

/// Bundles of one tenant with the three types of keys.
const MANAGED: &str = "managed_certs = [
    { namespace = acme, bundle_name = p256, sni = \"mqtt.acme.example.org\" }
    { namespace = acme, bundle_name = rsa, sni = \"mqtt.acme.example.org\" }
    { namespace = acme, bundle_name = ed25519, sni = \"MQTT.acme.example.org.\" }
    { bundle_name = other, sni = \"other.example.org\" }
  ]";

#[test]
fn f_17_of_managed_bundles_with_one_name_each_client_gets_the_one_that_it_can_use() {
    let listener = |kind: &str| {
        format!(
            "listeners.{kind}.names {{ bind = \"127.0.0.1:0\", ssl_options {{ {MANAGED} }}\n plugins = [{}, {}] }}\n",
            namespace_lookup(),
            entry("sni-selector", "")
        )
    };
    let setup = Setup::new(&(listener("ssl") + &listener("wss")));
    for (bundle, algorithm) in [("p256", P256), ("rsa", RSA), ("ed25519", ED25519)] {
        openssl::self_signed_bundle(setup.dir.path(), "ns/acme", bundle, algorithm, NAME);
    }
    openssl::self_signed_bundle(setup.dir.path(), "global", "other", P384, "other.example.org");
    let broker = setup.start();
    for listener in ["ssl:names", "wss:names"] {
        assert_each_client_gets_its_own(&broker, listener, &format!("-servername {NAME}"));
        // A name with one certificate has that alone.
        let other = "-servername other.example.org -tls1_3 -sigalgs";
        let served = s_client(broker.address(listener), &format!("{other} ecdsa_secp384r1_sha384"));
        assert_eq!(served, Served::CommonName("other".to_owned()), "{listener}");
        let refused = s_client(broker.address(listener), &format!("{other} rsa_pss_rsae_sha256"));
        assert_eq!(refused, Served::Alert(40), "{listener}: nothing fits");
    }
    assert_alive(&broker);
}

#[test]
fn f_17_of_files_each_client_gets_the_one_that_it_can_use_whatever_it_asks_for() {
    let options = "certfile = p256.pem, keyfile = p256.key, additional_certs = [
        { certfile = rsa.pem, keyfile = rsa.locked, password = \"file://word\" }
        { certfile = ed25519.pem, keyfile = ed25519.key }
      ]";
    let listener =
        |kind: &str| format!("listeners.{kind}.files {{ bind = \"127.0.0.1:0\", ssl_options {{ {options} }} }}\n");
    let setup = Setup::new(&(listener("ssl") + &listener("wss")));
    let dir = setup.dir.path();
    for (file, algorithm) in [("p256", P256), ("rsa", RSA), ("ed25519", ED25519)] {
        openssl::self_signed(dir, file, algorithm, NAME);
    }
    setup.file("word", "open\n");
    openssl::run(dir, "pkcs8 -topk8 -v2 aes-256-cbc -passout file:DIR/word -in DIR/rsa.key -out DIR/rsa.locked");
    assert!(!setup.check().text.contains("has not the name"), "all have it");
    let broker = setup.start();
    for listener in ["ssl:files", "wss:files"] {
        for naming in ["-noservername", &format!("-servername {NAME}"), "-servername nobody.example.org"] {
            assert_each_client_gets_its_own(&broker, listener, naming);
        }
    }
    assert_alive(&broker);
}

/// A listener whose bundles are made as `(owner/bundle, algorithm)`, all under one name.
fn checked(bundles: &[(&str, &str)], more: &str, prepare: impl Fn(&Setup)) -> Checked {
    let entries: String = bundles
        .iter()
        .map(|(place, _)| match place.split_once('/').unwrap() {
            ("global", bundle) => format!("{{ bundle_name = {bundle}, sni = \"{NAME}\" }}\n"),
            (owner, bundle) => format!("{{ namespace = {owner}, bundle_name = {bundle}, sni = \"{NAME}\" }}\n"),
        })
        .collect();
    let plugins = entry("sni-selector", "");
    let setup = Setup::new(&format!(
        "listeners.ssl.a {{ bind = \"127.0.0.1:0\", namespaces = [acme], ssl_options {{ managed_certs = [\n{entries} {more} ] }}\n\
         plugins = [{plugins}] }}"
    ));
    for (place, algorithm) in bundles {
        let (owner, bundle) = place.split_once('/').unwrap();
        let owner = if owner == "global" { owner.to_owned() } else { format!("ns/{owner}") };
        openssl::self_signed_bundle(setup.dir.path(), &owner, bundle, algorithm, NAME);
    }
    prepare(&setup);
    setup.check()
}

#[track_caller]
fn refused(bundles: &[(&str, &str)], more: &str, prepare: impl Fn(&Setup), words: &[&str]) {
    let checked = checked(bundles, more, prepare);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    for word in words {
        assert!(checked.text.contains(word), "{word:?} is not in {}", checked.text);
    }
}

#[test]
fn f_17_certificates_that_cannot_stand_in_for_each_other_are_told_at_check() {
    let nothing = |_: &Setup| {};
    let fine = checked(&[("global/one", RSA), ("global/two", P256)], "", nothing);
    assert_eq!(fine.code, Some(0), "{fine:?}");
    let at = "postern.conf:5:";
    let both = [("global/one", P256), ("global/two", P256)];
    refused(&both, "", nothing, &[at, "managed_certs[1]", "a key of the same type"]);
    let curves = [("global/one", P256), ("global/two", P384)];
    refused(&curves, "", nothing, &[at, "managed_certs[1]", "a key of the same type"]);
    let owners = [("global/one", RSA), ("acme/two", P256)];
    refused(&owners, "", nothing, &[at, "managed_certs[1].sni", "one of another namespace"]);
    let types = [("global/one", RSA), ("global/two", P256)];
    let more = "{ bundle_name = two, sni = \"more.example.org\" }";
    refused(&types, more, nothing, &[at, "managed_certs[1]", "\"more.example.org\"", "give both the same names"]);
    let one_ca = |setup: &Setup| setup.file("data/certs/global/two/ca.pem", Authority::new("Devices").pem());
    refused(&types, "", one_ca, &[at, "managed_certs[1]", "their client CAs differ"]);
}

#[test]
fn f_17_files_that_do_not_go_together_are_told_at_check() {
    let setup = |additional: &str| {
        let setup = Setup::new(&format!(
            "listeners.ssl.a {{ bind = \"127.0.0.1:0\", ssl_options {{ certfile = one.pem, keyfile = one.key\n\
             additional_certs = [{additional}] }} }}"
        ));
        for (file, algorithm, name) in [("one", P256, NAME), ("two", P384, NAME), ("rsa", RSA, "other.example.org")] {
            openssl::self_signed(setup.dir.path(), file, algorithm, name);
        }
        setup
    };
    let told = |additional: &str, code: i32, words: &[&str]| {
        let checked = setup(additional).check();
        assert_eq!(checked.code, Some(code), "{checked:?}");
        for word in words {
            assert!(checked.text.contains(word), "{word:?} is not in {}", checked.text);
        }
    };
    let at = "postern.conf:4:";
    told("{ certfile = two.pem, keyfile = two.key }", 1, &[at, "additional_certs", "a key of the same type"]);
    told("{ certfile = rsa.pem, keyfile = one.key }", 1, &[at, "additional_certs[0]", "does not belong"]);
    told("{ certfile = rsa.pem }", 1, &[at, "additional_certs[0]", "no `keyfile`"]);
    told("{ certfile = rsa.pem, keyfile = rsa.key }", 0, &[at, "additional_certs[0]", "has not the name `mqtt."]);
}

/// `examples/certificates.conf`, with bundles as it says.
#[test]
fn f_17_the_example_serves_what_it_says() {
    let example = std::fs::read_to_string(root().join("examples/certificates.conf")).unwrap();
    let plugins = plugin("sni-selector");
    let setup = Setup::bare(&example)
        .env("POSTERN_NODE__DATA_DIR", "data")
        .env("POSTERN_PLUGINS__DIR", plugins.parent().unwrap().to_str().unwrap())
        .env("POSTERN_LISTENERS__SSL__DEFAULT__BIND", "127.0.0.1:0");
    for (owner, bundle, algorithm, name) in [
        ("global", "default", P256, "localhost"),
        ("ns/acme", "mqtt-ecdsa", P256, NAME),
        ("ns/acme", "mqtt-rsa", RSA, NAME),
        ("ns/globex", "wildcard", P384, "*.globex.example.org"),
    ] {
        openssl::self_signed_bundle(setup.dir.path(), owner, bundle, algorithm, name);
    }
    let broker = setup.start();
    for (options, wanted) in [
        ("-noservername", Some("default")),
        ("-servername localhost", Some("default")),
        ("-servername mqtt.acme.example.org", Some("mqtt-ecdsa")),
        ("-servername mqtt.acme.example.org -tls1_3 -sigalgs rsa_pss_rsae_sha256", Some("mqtt-rsa")),
        ("-servername a.globex.example.org", Some("wildcard")),
        ("-servername nobody.example.org", None),
    ] {
        let wanted = wanted.map_or(Served::Alert(112), |name| Served::CommonName(name.to_owned()));
        assert_eq!(s_client(broker.address("ssl:default"), options), wanted, "{options}");
    }
}
