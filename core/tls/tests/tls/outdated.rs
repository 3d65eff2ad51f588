//! Keys that older OpenSSL encrypted: they open with their password, give a warning, and say what is broken in them.

use postern_tls::BundleWarning;
use postern_tls::bundle::{BundleFault, BundlePart};

use crate::pki::Files;

const EC: &str = include_str!("fixtures/outdated.ec.keys.pem");
const RSA: &str = include_str!("fixtures/outdated.rsa.keys.pem");
/// The commands by which the sections of the fixtures were written: `openssl ec -aes128`, `openssl pkcs8 -v1 …`.
const LEGACY: [&str; 5] = ["aes128", "aes192", "aes256", "des3", "des"];
const PBES1: [&str; 4] = ["PBE-SHA1-3DES", "PBE-SHA1-2DES", "PBE-MD5-DES", "PBE-SHA1-DES"];

/// The key in the section of this name.
fn section(file: &str, name: &str) -> String {
    let sections = file.split("# ").find_map(|part| part.strip_prefix(&format!("{name}\n")));
    sections.unwrap_or_else(|| panic!("no section {name}")).to_owned()
}

/// The certificate that the keys belong to, with a key.
fn with(key: String, password: Option<&str>) -> Files {
    let chain = if key.contains("RSA") || RSA.contains(&key) {
        include_str!("fixtures/rsa2048.chain.pem")
    } else {
        include_str!("fixtures/v1.chain.pem")
    };
    Files { chain: chain.to_owned(), key, ca: None, password: password.map(str::to_owned) }
}

#[track_caller]
fn fault(key: String, password: Option<&str>) -> BundleFault {
    let error = with(key, password).load("a").expect_err("must be refused");
    assert_eq!(error.part, BundlePart::Key, "{error}");
    assert!(!error.to_string().contains("correct") && !error.to_string().contains("wrong"), "{error}");
    error.fault
}

#[test]
fn each_outdated_encryption_opens_with_its_password_and_a_warning() {
    for file in [EC, RSA] {
        for name in LEGACY.iter().chain(&PBES1) {
            let files = with(section(file, name), Some("correct"));
            let (_, warnings) = files.load("a").unwrap_or_else(|error| panic!("{name}: {error}"));
            let format = if LEGACY.contains(name) { "Proc-Type: 4,ENCRYPTED" } else { name };
            assert!(warnings.contains(&BundleWarning::OutdatedKeyEncryption { format }), "{name}: {warnings:?}");
        }
    }
    let said = BundleWarning::OutdatedKeyEncryption { format: "PBE-MD5-DES" }.to_string();
    assert!(said.contains("openssl pkcs8 -topk8 -v2 aes-256-cbc"), "{said}");
}

#[test]
fn a_key_that_is_encrypted_as_it_should_gives_no_such_warning() {
    let files = with(include_str!("fixtures/sec1.pbes2.key.pem").to_owned(), Some("correct"));
    let (_, warnings) = files.load("a").unwrap();
    assert!(!warnings.iter().any(|warning| matches!(warning, BundleWarning::OutdatedKeyEncryption { .. })));
}

#[test]
fn a_wrong_or_missing_password_is_told_as_that() {
    for file in [EC, RSA] {
        for name in LEGACY.iter().chain(&PBES1) {
            // More than one: that the padding looks right by chance must not be told as something else.
            for wrong in ["wrong", "Correct", "correct ", "x"] {
                assert_eq!(fault(section(file, name), Some(wrong)), BundleFault::WrongPassword, "{name} {wrong}");
            }
            assert_eq!(fault(section(file, name), None), BundleFault::PasswordMissing, "{name}");
            assert_eq!(fault(section(file, name), Some("")), BundleFault::PasswordMissing, "{name}");
        }
    }
}

#[test]
fn padding_that_looks_right_by_chance_is_a_wrong_password_all_the_same() {
    let key = section(EC, "aes128");
    for number in 0..2000 {
        let found = fault(key.clone(), Some(&format!("guess {number}")));
        assert_eq!(found, BundleFault::WrongPassword, "{number}");
    }
}

#[test]
fn a_password_in_other_alphabets_is_taken_as_openssl_does() {
    for file in [EC, RSA] {
        assert!(with(section(file, "other alphabets"), Some("p\u{e4}ssw\u{f6}rd")).load("a").is_ok());
        assert_eq!(fault(section(file, "other alphabets"), Some("passw\u{f6}rd")), BundleFault::WrongPassword);
    }
}

#[test]
fn what_is_not_read_is_refused_with_the_command_to_run() {
    for key in [section(EC, "PBE-SHA1-RC2-40"), section(EC, "aes128").replace("AES-128-CBC", "RC2-CBC")] {
        let error = with(key, Some("correct")).load("a").unwrap_err();
        assert_eq!(error.fault, BundleFault::KeyEncryption);
        assert!(error.to_string().contains("openssl pkcs8 -topk8"), "{error}");
    }
}

#[test]
fn broken_headers_are_told_with_what_is_wrong_in_them() {
    let good = section(EC, "aes128");
    let vector = good.split_once("AES-128-CBC,").unwrap().1.lines().next().unwrap().to_owned();
    let without = |start: &str| good.lines().filter(|line| !line.starts_with(start)).fold(String::new(), joined);
    let told = |key: String| match fault(key, Some("correct")) {
        BundleFault::KeyHeaders { what } => what,
        other => panic!("{other:?}"),
    };
    assert!(told(without("DEK-Info")).contains("`DEK-Info` is missing"));
    assert!(told(without("Proc-Type")).contains("`Proc-Type: 4,ENCRYPTED` is missing"));
    assert!(told(good.replace("4,ENCRYPTED", "4,MIC-ONLY")).contains("is not `4,ENCRYPTED`"));
    assert!(told(good.replace("Proc-Type", "DEK-Info: DES-CBC,00\nProc-Type")).contains("twice"));
    assert!(told(good.replace(&format!(",{vector}"), "")).contains("no initialisation vector"));
    for odd in ["", "0", "00", "zz", &vector[1..], &vector[2..], &format!("{vector}00"), &vector.replace('B', "\u{e9}")]
    {
        assert!(told(good.replace(&vector, odd)).contains("initialisation vector"), "{odd}");
    }
    // Their valid neighbours: lower case, blanks, and a line that means nothing.
    let lower = good.replace(&vector, &vector.to_lowercase()).replace("4,ENCRYPTED", " 4, ENCRYPTED ");
    assert!(with(lower, Some("correct")).load("a").is_ok());
    assert!(with(good.replace("Proc-Type", "X-Note: a key\nProc-Type"), Some("correct")).load("a").is_ok());
    let plain = include_str!("fixtures/sec1.key.pem").replace("KEY-----\n", "KEY-----\nComment: mine\n\n");
    assert!(with(plain.replacen("-----END", "\n-----END", 1), None).load("a").is_ok());
}

#[test]
fn a_damaged_key_is_never_a_panic() {
    for name in LEGACY.iter().chain(&PBES1) {
        let good = section(EC, name);
        let body: Vec<&str> = good.lines().collect();
        for cut in 1..body.len() - 1 {
            let key = [&body[..cut], &body[body.len() - 1..]].concat().join("\n");
            assert!(with(key, Some("correct")).load("a").is_err(), "{name} without its lines from {cut} on");
        }
    }
}

fn joined(all: String, line: &str) -> String {
    all + line + "\n"
}
