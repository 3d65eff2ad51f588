//! Where a listener's certificate and key may stand, and in which forms: each served by a real broker. Keys are written by
//! the `openssl` of this machine.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use postern_tests::alive::assert_alive;
use postern_tests::broker::{Broker, Setup};
use postern_tests::openssl::{self, ED25519, P256, P384, RSA};
use postern_tests::pki::pem;
use postern_tests::tls;

const PASSWORD: &str = "correct horse";

/// A self-signed certificate `NAME.pem` with the key `NAME.key` in PKCS#8.
fn make(dir: &Path, name: &str, algorithm: &str) {
    openssl::self_signed(dir, name, algorithm, &format!("{name}.example"));
}

/// A file listener `listeners.TYPE.NAME`.
fn listener(kind: &str, name: &str, options: &str) -> String {
    format!("listeners.{kind}.{name} {{ bind = \"127.0.0.1:0\", ssl_options {{ {options} }} }}\n")
}

/// What the listener serves must be the certificate of this file.
#[track_caller]
fn assert_serves(broker: &Broker, listener: &str, file: &str) {
    let offer = tls::naming("any.example");
    let leaf = offer.served(broker.address(listener)).unwrap_or_else(|entry| panic!("{listener}: {entry:?}"));
    let text = std::fs::read_to_string(broker.dir().join(file)).unwrap();
    assert_eq!(pem("CERTIFICATE", &leaf).trim(), text.trim(), "{listener}");
}

/// How a key file is made of `IN.key`, and whether the password is needed.
const FORMS: [(&str, &str, &str, bool); 14] = [
    ("rsa-pkcs8", "rsa", "pkcs8 -topk8 -nocrypt", false),
    ("rsa-pkcs1", "rsa", "rsa -traditional", false),
    ("rsa-pbes2", "rsa", "pkcs8 -topk8 -v2 aes-256-cbc -passout file:DIR/word", true),
    ("rsa-pbes1", "rsa", "pkcs8 -topk8 -v1 PBE-SHA1-3DES -passout file:DIR/word", true),
    ("rsa-legacy", "rsa", "rsa -traditional -aes256 -passout file:DIR/word", true),
    ("rsa-legacy-des3", "rsa", "rsa -traditional -des3 -passout file:DIR/word", true),
    ("p256-sec1", "p256", "ec", false),
    ("p256-pbes2", "p256", "pkcs8 -topk8 -v2 aes-128-cbc -v2prf hmacWithSHA256 -passout file:DIR/word", true),
    ("p256-pbes1", "p256", "pkcs8 -topk8 -v1 PBE-SHA1-3DES -passout file:DIR/word", true),
    ("p256-legacy", "p256", "ec -aes128 -passout file:DIR/word", true),
    ("p384-sec1", "p384", "ec", false),
    ("p384-legacy", "p384", "ec -aes192 -passout file:DIR/word", true),
    ("ed25519-pkcs8", "ed25519", "pkcs8 -topk8 -nocrypt", false),
    ("ed25519-pbes2", "ed25519", "pkcs8 -topk8 -v2 aes-256-cbc -passout file:DIR/word", true),
];

#[test]
fn every_form_of_key_that_openssl_writes_is_served_with_its_password_inline_and_from_a_file() {
    let mut config = String::new();
    for (name, _, _, encrypted) in FORMS {
        let (inline, file) = if encrypted {
            (format!(", password = \"{PASSWORD}\""), ", password = \"file://word\"")
        } else {
            (String::new(), "")
        };
        let files = format!("certfile = {name}.crt, keyfile = {name}.key");
        let _ = write!(config, "{}", listener("ssl", &format!("{name}-inline"), &format!("{files}{inline}")));
        let _ = write!(config, "{}", listener("wss", &format!("{name}-file"), &format!("{files}{file}")));
    }
    let setup = Setup::new(&config);
    let dir = setup.dir.path();
    setup.file("word", format!("{PASSWORD}\n"));
    for (name, algorithm) in [("rsa", RSA), ("p256", P256), ("p384", P384), ("ed25519", ED25519)] {
        make(dir, name, algorithm);
    }
    for (name, from, how, _) in FORMS {
        openssl::run(dir, &format!("{how} -in DIR/{from}.key -out DIR/{name}.key"));
        std::fs::copy(dir.join(from).with_extension("pem"), dir.join(name).with_extension("crt")).unwrap();
    }
    let checked = setup.check();
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let warned = checked.text.lines().filter(|line| line.contains("outdated way")).count();
    assert_eq!(warned, 2 * 6, "{checked:?}");
    assert!(!checked.text.contains(PASSWORD), "{checked:?}");
    let broker = setup.start();
    for (name, ..) in FORMS {
        assert_serves(&broker, &format!("ssl:{name}-inline"), &format!("{name}.crt"));
        assert_serves(&broker, &format!("wss:{name}-file"), &format!("{name}.crt"));
    }
    assert!(!broker.journal.text().contains(PASSWORD));
    assert_alive(&broker);
}

#[test]
fn a_wrong_password_is_told_and_never_shown() {
    for (form, how) in [("pkcs8", "pkcs8 -topk8 -v1 PBE-SHA1-3DES"), ("legacy", "ec -aes128")] {
        let files = "certfile = p.pem, keyfile = locked.key";
        let setup = Setup::new(&listener("ssl", "a", &format!("{files}, password = \"not that one\"")));
        let dir = setup.dir.path();
        setup.file("word", PASSWORD);
        make(dir, "p", P256);
        openssl::run(dir, &format!("{how} -in DIR/p.key -out DIR/locked.key -passout file:DIR/word"));
        let checked = setup.check();
        assert_eq!(checked.code, Some(1), "{form}: {checked:?}");
        assert!(checked.text.contains("does not open the key"), "{form}: {checked:?}");
        assert!(!checked.text.contains("not that one"), "{form}: {checked:?}");
        let refused = setup.serve_refused();
        assert!(refused.text.contains("does not open the key"), "{form}: {refused:?}");
    }
}

#[test]
fn certificates_come_by_symbolic_link_by_variable_and_as_pem_in_the_configuration() {
    let pems = tempfile::tempdir().unwrap();
    make(pems.path(), "linked", RSA);
    make(pems.path(), "inline", P256);
    make(pems.path(), "ca", P256);
    let inline = |file: &str| std::fs::read_to_string(pems.path().join(file)).unwrap();
    let config = [
        listener("ssl", "linked", "certfile = links/chain.pem, keyfile = links/key.pem"),
        listener("ssl", "variable", "certfile = \"${CERTS}/linked.pem\", keyfile = \"${CERTS}/linked.key\""),
        listener(
            "wss",
            "inline",
            &format!(
                "certfile = \"\"\"{}\"\"\", keyfile = \"\"\"{}\"\"\", cacertfile = \"\"\"{}\"\"\", verify = verify_peer",
                inline("inline.pem"),
                inline("inline.key"),
                inline("ca.pem")
            ),
        ),
    ]
    .concat();
    let setup = Setup::new(&config).env("CERTS", pems.path().to_str().unwrap());
    for file in ["linked.pem", "inline.pem"] {
        setup.file(file, inline(file));
    }
    // As Kubernetes mounts a secret: a link to a file below a link to a directory.
    let dir = setup.dir.path();
    std::fs::create_dir(dir.join("links")).unwrap();
    symlink(pems.path(), dir.join("links/..data")).unwrap();
    symlink("..data/linked.pem", dir.join("links/chain.pem")).unwrap();
    symlink("..data/linked.key", dir.join("links/key.pem")).unwrap();
    let broker = setup.start();
    assert_serves(&broker, "ssl:linked", "linked.pem");
    assert_serves(&broker, "ssl:variable", "linked.pem");
    assert_serves(&broker, "wss:inline", "inline.pem");
    assert_alive(&broker);
}

#[test]
fn a_variable_that_is_not_set_and_a_link_to_nothing_are_told() {
    let setup = Setup::new(&listener("ssl", "a", "certfile = \"${NO_SUCH_VARIABLE}/a.pem\", keyfile = b"));
    let checked = setup.check();
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.text.contains("NO_SUCH_VARIABLE"), "{checked:?}");
    let setup = Setup::new(&listener("ssl", "a", "certfile = gone.pem, keyfile = gone.pem"));
    symlink("nowhere.pem", setup.dir.path().join("gone.pem")).unwrap();
    let checked = setup.check();
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.text.contains("there is no file") && checked.text.contains("gone.pem"), "{checked:?}");
}
