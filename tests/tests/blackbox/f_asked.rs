//! What a listener speaks and what it asks of client certificates, key by key, on `ssl` and `wss`: each would fail if the key
//! were passed over. By `openssl s_client` and rustls.

use postern_quickstart::pki::{ensure, named};
use postern_tests::alive::assert_alive;
use postern_tests::broker::{Setup, plugin, root};
use postern_tests::pki::{self, Authority};
use postern_tests::programs;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::AlertDescription;
use time::OffsetDateTime;

use crate::f_failures::{MUTUAL, Site, naming};

/// What `openssl s_client` says of a handshake with these offers.
fn openssl(site: &Site, kind: &str, more: &[&str]) -> String {
    let address = site.at(kind).to_string();
    let fixed = ["s_client", "-connect", &address, "-servername", "mqtt.example.org"];
    programs::run("openssl", &[&fixed[..], more].concat(), b"Q\n").text
}

fn speaking(options: &str) -> Site {
    let devices = Authority::new("Devices");
    let ca = devices.pem();
    Site::start(devices, &ca, &format!("verify = verify_none\n{options}"))
}

#[test]
fn ciphers_are_those_of_the_list_by_either_name() {
    let site = speaking(
        "ciphers = \"TLS_CHACHA20_POLY1305_SHA256:TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:\
         AES128-SHA\"",
    );
    for kind in ["ssl", "wss"] {
        for (offer, wanted) in [
            (&["-tls1_3"][..], "New, TLSv1.3, Cipher is TLS_CHACHA20_POLY1305_SHA256"),
            (&["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"], "alert handshake failure"),
            (&["-tls1_2"], "Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"),
            (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"], "alert handshake failure"),
            // The listener's order, whatever the client's.
            (
                &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"],
                "Cipher is ECDHE-ECDSA-AES128-GCM-SHA256",
            ),
        ] {
            let text = openssl(&site, kind, offer);
            assert!(text.contains(wanted), "{kind}, {offer:?}: {text}");
        }
        site.admits(kind, &naming());
    }
    assert_alive(&site.broker);
}

#[test]
fn honor_cipher_order_says_whose_order_decides() {
    let site = speaking(
        "honor_cipher_order = false\nciphers = \"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305\"",
    );
    for kind in ["ssl", "wss"] {
        for (offer, wanted) in [
            ("ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256", "Cipher is ECDHE-ECDSA-CHACHA20-POLY1305"),
            ("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305", "Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"),
        ] {
            let text = openssl(&site, kind, &["-tls1_2", "-cipher", offer]);
            assert!(text.contains(wanted), "{kind}, {offer}: {text}");
        }
        // The three suites of TLS 1.3 came in front by themselves.
        site.admits(kind, &naming());
    }
    assert_alive(&site.broker);
}

#[test]
fn groups_are_those_of_the_list() {
    let site = speaking("groups = \"secp384r1:X25519MLKEM768\"");
    for kind in ["ssl", "wss"] {
        for (offer, wanted) in [
            ("P-384", "Server Temp Key: ECDH, secp384r1, 384 bits"),
            ("X25519:P-384", "Server Temp Key: ECDH, secp384r1, 384 bits"),
            ("X25519:P-256", "alert handshake failure"),
        ] {
            for version in ["-tls1_2", "-tls1_3"] {
                let text = openssl(&site, kind, &[version, "-groups", offer]);
                assert!(text.contains(wanted), "{kind}, {version} {offer}: {text}");
            }
        }
        // rustls' own client sends the post-quantum group last, and takes what is common.
        site.admits(kind, &naming());
    }
    assert_alive(&site.broker);
}

#[test]
fn versions_are_those_of_the_list() {
    for (options, spoken, unspoken) in
        [("versions = [tlsv1.3]", "-tls1_3", "-tls1_2"), ("versions = [tlsv1.2]", "-tls1_2", "-tls1_3")]
    {
        let site = speaking(options);
        for kind in ["ssl", "wss"] {
            assert!(openssl(&site, kind, &[spoken]).contains("BEGIN CERTIFICATE"), "{kind} {options}");
            let text = openssl(&site, kind, &[unspoken]);
            assert!(text.contains("alert protocol version"), "{kind} {options}: {text}");
        }
        assert_alive(&site.broker);
    }
}

#[test]
fn depth_bounds_the_certificates_between() {
    let root = Authority::new("Root");
    let (plant, line) = (root.below("Plant", true), root.below("Plant", true).below("Line", true));
    let ca = root.pem();
    let site = Site::start(root, &ca, &format!("{MUTUAL}\ndepth = 1"));
    let expected = ("too_deep", AlertDescription::BadCertificate, "2 certificates lie between");
    for kind in ["ssl", "wss"] {
        site.refuses(kind, &naming().showing(&line.device("device")), "two between", expected);
        site.refuses(kind, &naming().tls12().showing(&line.device("device")), "two between", expected);
        site.admits(kind, &naming().showing(&plant.device("device")));
        site.admits(kind, &naming().tls12().showing(&site.devices.device("device")));
    }
    assert_alive(&site.broker);
}

#[test]
fn partial_chain_says_which_certificates_of_the_file_are_trusted() {
    let root = Authority::new("Root");
    let (old, new) = (root.below("Plant, old", true), root.below("Plant, new", true));
    let ca = [old.pem(), new.pem()].concat();
    let unknown = ("unknown_issuer", AlertDescription::UnknownCA, "unknown issuer");
    let of = |authority: &Authority| naming().showing(&authority.device("device").leaf_alone());
    for (word, old_enters) in
        [("true", false), ("cacert_from_cacertfile", false), ("two_cacerts_from_cacertfile", true)]
    {
        let site = Site::start(Authority::new("Unused"), &ca, &format!("{MUTUAL}\npartial_chain = {word}"));
        for kind in ["ssl", "wss"] {
            site.admits(kind, &of(&new));
            if old_enters {
                site.admits(kind, &of(&old));
            } else {
                site.refuses(kind, &of(&old), word, unknown);
            }
        }
        assert_alive(&site.broker);
    }
    // Without the key only roots are trusted, and the others of the file help to build the paths to them.
    let with_root = [ca.clone(), root.pem()].concat();
    let site = Site::start(Authority::new("Unused"), &with_root, MUTUAL);
    for kind in ["ssl", "wss"] {
        site.admits(kind, &of(&old));
        site.admits(kind, &of(&new));
    }
    assert_alive(&site.broker);
    // A file without a root is found before anybody comes.
    for kind in ["ssl", "wss"] {
        let config = format!(
            "listeners.{kind}.gate {{ bind = \"127.0.0.1:0\", ssl_options {{ certfile = server.pem, keyfile = server.key\n\
             cacertfile = ca.pem\n{MUTUAL} }} }}"
        );
        let setup = Setup::new(&config);
        Authority::new("Server CA").server(&["mqtt.example.org"]).write(setup.dir.path(), "server");
        setup.file("ca.pem", &ca);
        let checked = setup.check();
        assert_eq!(checked.code, Some(1), "{checked:?}");
        assert!(checked.text.contains("set `partial_chain = cacert_from_cacertfile`"), "{checked:?}");
    }
}

#[test]
fn partial_chain_reads_the_ca_of_each_managed_bundle() {
    let root = Authority::new("Root");
    let plant = root.below("Plant", true);
    let config = ["ssl", "wss"].map(|kind| {
        format!(
            "listeners.{kind}.gate {{ bind = \"127.0.0.1:0\", ssl_options {{ managed_certs = {{ bundle_name = own }}\n\
             {MUTUAL}, partial_chain = true }}, plugins = [] }}\n"
        )
    });
    let setup = Setup::new(&(config.concat() + "dashboard.listeners.http.bind = \"127.0.0.1:0\"\n"));
    Authority::new("Server CA").server(&["mqtt.example.org"]).write_bundle(
        setup.dir.path(),
        "global",
        "own",
        Some(&plant),
    );
    let site = Site { broker: setup.start(), devices: root };
    let unknown = ("unknown_issuer", AlertDescription::UnknownCA, "unknown issuer");
    for kind in ["ssl", "wss"] {
        site.admits(kind, &naming().showing(&plant.device("device")));
        site.refuses(kind, &naming().showing(&site.devices.device("device")), "the root itself", unknown);
    }
    assert_alive(&site.broker);
}

#[test]
fn verify_peer_ext_key_usage_wants_all_of_them() {
    let devices = Authority::new("Devices");
    let ca = devices.pem();
    let options = format!("{MUTUAL}\nverify_peer_ext_key_usage = \"clientAuth,OID:1.3.6.1.4.1.99999.1\"");
    let site = Site::start(devices, &ca, &options);
    let with = |usages: &[ExtendedKeyUsagePurpose]| {
        let mut params = pki::device("device");
        params.extended_key_usages = usages.to_vec();
        naming().showing(&site.devices.sign(&params))
    };
    let own = ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 99_999, 1]);
    let lacks = ("wrong_purpose", AlertDescription::UnsupportedCertificate, "lacks the extended key usage 1.3.6.1.");
    for kind in ["ssl", "wss"] {
        site.admits(kind, &with(&[own.clone(), ExtendedKeyUsagePurpose::ClientAuth]));
        site.refuses(kind, &with(&[ExtendedKeyUsagePurpose::ClientAuth]), "one of two", lacks);
        site.refuses(kind, &with(&[]), "no usages at all", lacks);
    }
    assert_alive(&site.broker);
}

#[test]
fn suites_that_fit_no_key_and_versions_without_a_suite_are_found_by_check() {
    for (options, words) in [
        ("versions = [tlsv1.2], ciphers = \"ECDHE-RSA-AES128-GCM-SHA256\"", "none of `ciphers` fits the key of bundle"),
        ("ciphers = \"AES128-SHA\"", "no cipher suite of TLS 1.2 is left"),
    ] {
        for kind in ["ssl", "wss"] {
            let config = format!(
                "listeners.{kind}.gate {{ bind = \"127.0.0.1:0\", ssl_options {{ certfile = server.pem, keyfile = server.key\n\
                 {options} }} }}"
            );
            let setup = Setup::new(&config);
            Authority::new("Server CA").server(&["mqtt.example.org"]).write(setup.dir.path(), "server");
            let checked = setup.check();
            assert_eq!(checked.code, Some(1), "{checked:?}");
            assert!(checked.text.contains(words), "{checked:?}");
        }
    }
}

#[test]
fn the_example_for_mutual_tls_runs() {
    let config = std::fs::read_to_string(root().join("examples/mutual-tls.conf")).unwrap();
    let setup = Setup::bare(&config)
        .env("POSTERN_LISTENERS__SSL__DEFAULT__BIND", "127.0.0.1:0")
        .env("POSTERN_PLUGINS__DIR", plugin("mtls-identity").parent().unwrap().to_str().unwrap());
    let set = ensure(&setup.dir.path().join(".quickstart"), OffsetDateTime::now_utc()).unwrap();
    let broker = setup.start();
    let port = broker.address("ssl:default").port().to_string();
    let publish = |label: &str| {
        let device = named(label).unwrap();
        let files =
            [set.server_ca(), set.certificate_of(&device), set.key_of(&device)].map(|file| file.display().to_string());
        let arguments = [
            "-h",
            "localhost",
            "-p",
            &port,
            "-t",
            "lamps/1",
            "-m",
            "on",
            "-i",
            device.name,
            "--cafile",
            &files[0],
            "--cert",
            &files[1],
            "--key",
            &files[2],
        ];
        programs::run("mosquitto_pub", &arguments, b"").code
    };
    assert_eq!(publish("global/lamp"), Some(0));
    let admitted = broker.journal.expect(0, "admitted", |line| line.says("admitted"));
    assert_eq!((admitted.text("username"), admitted.text("client_id")), ("lamp".to_owned(), "lamp".to_owned()));
    // Another authority's device is a stranger here.
    assert_ne!(publish("acme/sensor-1"), Some(0));
    let refused = broker.journal.expect(0, "refused", |line| line.says("refused"));
    assert_eq!(refused.text("reason"), "unknown_issuer", "{refused:?}");
    broker.assert_sound();
}
