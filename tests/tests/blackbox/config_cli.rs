//! `postern check`, and what `postern serve` refuses to start with.

use postern_tests::broker::{Checked, Setup, binary, plugin, root};
use postern_tests::programs;
use postern_tests::tls;

use crate::fixture::{Certificates, name};

/// The configuration must be refused with all of these words.
fn refused(setup: &Setup, words: &[&str]) -> Checked {
    let checked = setup.check();
    assert_eq!(checked.code, Some(1), "{checked:?}");
    for word in words {
        assert!(checked.text.contains(word), "{word:?} is not in {checked:?}");
    }
    checked
}

fn accepted(setup: &Setup) -> Checked {
    let checked = setup.check();
    assert_eq!(checked.code, Some(0), "{checked:?}");
    checked
}

#[test]
fn a_good_configuration_is_accepted_and_opens_no_port() {
    let taken = crate::fixture::plain_broker();
    let setup = Setup::bare(&format!(
        "node {{ name = one, data_dir = data }}\nlisteners.tcp.default {{ bind = \"{}\" }}",
        taken.control()
    ));
    accepted(&setup);
}

/// The quickstart's own example is held by the quickstart.
#[test]
fn the_examples_that_need_no_certificates_are_accepted() {
    for example in ["examples/limits.conf", "examples/passwords.conf", "examples/scram.conf", "examples/websocket.conf"]
    {
        let data = tempfile::tempdir().unwrap();
        let ran = std::process::Command::new(binary())
            .args(["check", "--config", example])
            .env("POSTERN_NODE__DATA_DIR", data.path())
            .current_dir(root())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{example}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[test]
fn a_misspelt_key_is_named_with_its_place_and_the_right_one() {
    let setup = Setup::bare("node { data_dir = data }\nlisteners.tcp.default {\n  bimd = \"127.0.0.1:0\"\n}");
    refused(&setup, &["postern.conf:3:3", "bimd", "did you mean `bind`"]);
}

#[test]
fn all_errors_come_at_once() {
    let setup = Setup::bare(
        "node { data_dir = data, nam = x }\nlisteners.ssl.a {\n  bind = \"127.0.0.1:0\"\n  ssl_options { verify = verify_all }\n}",
    );
    refused(&setup, &["postern.conf:1:", "postern.conf:4:", "verify_all", "verify_peer"]);
}

#[test]
fn what_is_not_hocon_is_named_with_its_place() {
    refused(&Setup::bare("node { data_dir = data\nlisteners.tcp.default { bind = "), &["postern.conf:"]);
}

#[test]
fn a_missing_file_is_an_error() {
    let setup = Setup::bare("node.data_dir = data");
    std::fs::remove_dir_all(setup.dir.path().join("data")).unwrap();
    let output = std::process::Command::new(postern_tests::broker::binary())
        .args(["check", "--config", "absent.conf"])
        .current_dir(setup.dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("absent.conf"), "{output:?}");
}

#[test]
fn a_bad_override_names_the_variable_and_an_unknown_one_is_warned_about() {
    let setup = Setup::new("").env("POSTERN_LISTENERS__TCP__CONTROL__BIND", "nowhere");
    refused(&setup, &["POSTERN_LISTENERS__TCP__CONTROL__BIND", "nowhere"]);
    // Environments are shared with other programs, so this one only warns.
    let checked = accepted(&Setup::new("").env("POSTERN_LISTENERS__TCP__CONTROL__BIMD", "127.0.0.1:0"));
    assert!(checked.text.contains("did you mean `POSTERN_LISTENERS__TCP__CONTROL__BIND`"), "{checked:?}");
}

/// The documented listeners; only the ports differ, which the environment sets as an operator would.
fn documented() -> (Setup, Certificates) {
    let certificates = Certificates::make();
    let mut setup = Setup::new(include_str!("listeners.conf"));
    for listener in ["FILES", "GLOBAL_BUNDLES", "TENANT_BUNDLE", "MUTUAL"] {
        setup = setup.env(&format!("POSTERN_LISTENERS__SSL__{listener}__BIND"), "127.0.0.1:0");
    }
    let dir = setup.dir.path();
    let of = |name: &str| certificates.server_ca.server(&[name]);
    of("shop.example.org").write_bundle(dir, "global", "shop", None);
    of("api.example.org").write_bundle(dir, "global", "api", None);
    certificates.acme.write_bundle(dir, "ns/acme", "mqtt", Some(&certificates.acme_ca));
    setup.file("etc/certs/root-ca.pem", certificates.server_ca.pem());
    setup.file("etc/certs/server.pem", certificates.default.chain_pem());
    setup.file("etc/certs/server.key", certificates.default.key_pem());
    for (file, built) in
        [("namespace_lookup", "namespace-lookup"), ("sni_selector", "sni-selector"), ("mtls_identity", "mtls-identity")]
    {
        setup.file(&format!("plugins/{file}.wasm"), std::fs::read(plugin(built)).unwrap());
    }
    // The standard plugins, for the listeners that name none.
    let standard = plugin("sni-selector").parent().unwrap().display().to_string();
    (setup.and(&format!("plugins.dir = \"{standard}\"")), certificates)
}

#[test]
fn the_documented_listeners_work_as_they_stand() {
    let (setup, certificates) = documented();
    let checked = accepted(&setup);
    assert!(checked.text.contains("fail_if_no_peer_cert"), "no warning: {checked:?}");
    let broker = setup.start();
    let served =
        |listener: &str, name: &str| tls::naming(name).served(broker.address(&format!("ssl:{listener}"))).unwrap();
    assert_eq!(served("files", "anything.example.org"), certificates.default.leaf());
    assert_eq!(served("tenant_bundle", name::ACME), certificates.acme.leaf());
    let (shop, api) = (served("global_bundles", "shop.example.org"), served("global_bundles", "api.example.org"));
    assert_ne!(shop, api);
    assert_eq!(served("global_bundles", "elsewhere.example.org"), shop, "the first entry is the default");
    postern_tests::alive::assert_alive(&broker);
}

#[test]
fn fail_if_no_peer_cert_beside_verify_none_warns_and_asks_nobody() {
    let certificates = Certificates::make();
    let setup = Setup::new(
        "listeners.ssl.odd { bind = \"127.0.0.1:0\", ssl_options {\n certfile = s.pem, keyfile = s.key\n\
         verify = verify_none, fail_if_no_peer_cert = true } }",
    );
    certificates.default.write(setup.dir.path(), "s");
    let broker = setup.start();
    let warned = broker.journal.find(0, std::time::Duration::from_secs(2), |line| {
        line.text("level") == "WARN" && line.raw.contains("fail_if_no_peer_cert")
    });
    assert!(warned.is_some(), "{}", broker.journal.text());
    let connect = postern_tests::wire::Connect::new(postern_tests::wire::V5, "anybody");
    tls::naming("localhost").enter(broker.address("ssl:odd"), &connect).admitted().leave();
    postern_tests::alive::assert_alive(&broker);
}

#[test]
fn a_plugin_that_is_not_there_is_named() {
    let certificates = Certificates::make();
    let setup = Setup::new(
        "listeners.ssl.p { bind = \"127.0.0.1:0\", ssl_options { certfile = s.pem, keyfile = s.key }\n\
         plugins = [\"plugins/absent.wasm\"] }",
    );
    certificates.default.write(setup.dir.path(), "s");
    refused(&setup, &["plugins/absent.wasm", "postern.conf:"]);
    let refused = setup.serve_refused();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.text.contains("plugins/absent.wasm"), "{refused:?}");
}

#[test]
fn a_file_that_is_no_component_is_refused() {
    let certificates = Certificates::make();
    for content in [&b"not WebAssembly"[..], b"\0asm\x01\0\0\0", b""] {
        let setup = Setup::new(
            "listeners.ssl.p { bind = \"127.0.0.1:0\", ssl_options { certfile = s.pem, keyfile = s.key }\n\
             plugins = [\"odd.wasm\"] }",
        );
        certificates.default.write(setup.dir.path(), "s");
        setup.file("odd.wasm", content);
        refused(&setup, &["postern.conf:", "plugins[0]", "component"]);
    }
}

#[test]
fn a_fault_in_a_plugins_own_section_is_named() {
    let certificates = Certificates::make();
    let entry = format!(
        "{{ path = \"{}\", config {{ rules = [{{ source = \"subject.nonsense\", set = username }}] }} }}",
        plugin("mtls-identity").display()
    );
    let setup = Setup::new(&format!(
        "listeners.ssl.p {{ bind = \"127.0.0.1:0\", ssl_options {{ certfile = s.pem, keyfile = s.key }}\n plugins = [{entry}] }}"
    ));
    certificates.default.write(setup.dir.path(), "s");
    refused(&setup, &["postern.conf:", "plugins[0]", "rules[0].source", "subject.nonsense"]);
}

#[test]
fn bundles_that_are_absent_or_do_not_fit_are_named() {
    let certificates = Certificates::make();
    let listener =
        "listeners.ssl.m { bind = \"127.0.0.1:0\", ssl_options { managed_certs = [{ bundle_name = shop }] } }";
    let standard = plugin("sni-selector").parent().unwrap().display().to_string();
    let setup = || Setup::new(listener).and(&format!("plugins.dir = \"{standard}\""));
    refused(&setup(), &["shop"]);
    let mismatched = setup();
    certificates.default.write_bundle(mismatched.dir.path(), "global", "shop", None);
    mismatched.file("data/certs/global/shop/key.pem", certificates.acme.key_pem());
    let checked = refused(&mismatched, &["shop"]);
    assert!(!checked.text.contains("PRIVATE KEY"), "{checked:?}");
    let good = setup();
    certificates.default.write_bundle(good.dir.path(), "global", "shop", None);
    accepted(&good);
}

#[test]
fn an_encrypted_key_is_opened_by_its_password() {
    const PASSWORD: &str = "correct horse";
    let certificates = Certificates::make();
    let setup = |password: &str| {
        let setup = Setup::new(&format!(
            "listeners.ssl.e {{ bind = \"127.0.0.1:0\", ssl_options {{ certfile = s.pem, keyfile = locked.key, password = \"{password}\" }} }}"
        ));
        certificates.default.write(setup.dir.path(), "s");
        let path = |name: &str| setup.dir.path().join(name).display().to_string();
        let (plain, locked) = (path("s.key"), path("locked.key"));
        let pass = format!("pass:{PASSWORD}");
        let arguments = ["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", &plain, "-out", &locked, "-passout", &pass];
        programs::run("openssl", &arguments, b"").succeeded();
        setup
    };
    let wrong = refused(&setup("wrong horse"), &["postern.conf:3:", "password"]);
    assert!(!wrong.text.contains("horse"), "{wrong:?}");
    let broker = setup(PASSWORD).start();
    assert_eq!(tls::naming("localhost").served(broker.address("ssl:e")).unwrap(), certificates.default.leaf());
    assert!(!broker.journal.text().contains(PASSWORD));
    postern_tests::alive::assert_alive(&broker);
}

#[test]
fn client_certificates_need_an_authority() {
    let certificates = Certificates::make();
    let setup = |ca: &str| {
        let setup = Setup::new(&format!(
            "listeners.ssl.c {{ bind = \"127.0.0.1:0\", ssl_options {{ certfile = s.pem, keyfile = s.key, verify = verify_peer {ca} }} }}"
        ));
        certificates.default.write(setup.dir.path(), "s");
        setup.file("ca.pem", certificates.acme_ca.pem());
        setup
    };
    refused(&setup(""), &["cacertfile"]);
    refused(&setup(", cacertfile = \"absent.pem\""), &["absent.pem"]);
    // What runs by default for a listener that asks for certificates is in `plugins.dir`.
    let standard = plugin("mtls-identity").parent().unwrap().display().to_string();
    accepted(&setup(", cacertfile = \"ca.pem\"").and(&format!("plugins.dir = \"{standard}\"")));
}

#[test]
fn what_scram_keeps_of_a_password_is_made_of_printable_ascii_alone() {
    let made = |password: &str, more: &[&str]| {
        let binary = binary();
        let arguments = [&["hash-password", "--scram"], more].concat();
        postern_tests::programs::run(binary.to_str().unwrap(), &arguments, password.as_bytes())
    };
    let (one, other) = (made("secret\n", &[]).succeeded(), made("secret\r\n", &["--iterations", "5000"]).succeeded());
    assert!(one.starts_with("SCRAM-SHA-256$4096:") && other.starts_with("SCRAM-SHA-256$5000:"), "{one}{other}");
    assert!(!one.contains("secret") && one.lines().count() == 1);
    assert_ne!(one.split('$').nth(1).unwrap()[5..], other.split('$').nth(1).unwrap()[5..], "another salt");
    for (password, more) in [("s\u{e9}cret\n", &[][..]), ("", &[]), ("secret\n", &["--iterations", "1000"])] {
        let ran = made(password, more);
        assert!(ran.code != Some(0) && !ran.text.contains("cret"), "{ran:?}");
    }
}
