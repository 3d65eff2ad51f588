//! What makes a bundle, and what the operator is told where it does not.

use postern_identity::BundleRef;
use postern_tls::bundle::{BundleFault, BundlePart};
use postern_tls::{Bundle, BundleWarning, PemFault, PemSet};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

use crate::pki::{
    Authority, Files, NOW, Pair, ca_params, cert_pem, device, intermediate, issue, key, named, reference, root,
    server_pair, server_params,
};

fn simple() -> (Authority, Pair) {
    let ca = root("Server CA");
    let pair = server_pair(&["mqtt.example"], &ca);
    (ca, pair)
}

#[track_caller]
fn fault(files: &Files) -> (BundlePart, BundleFault) {
    let error = files.load("acme/mqtt").expect_err("must be refused");
    assert!(error.to_string().starts_with("bundle acme/mqtt, "), "{error}");
    (error.part, error.fault)
}

/// A key of a fixture with the certificate of version 1 that belongs to it.
fn fixture(key: &str, password: Option<&str>) -> Files {
    Files {
        chain: include_str!("fixtures/v1.chain.pem").to_owned(),
        key: key.to_owned(),
        ca: None,
        password: password.map(str::to_owned),
    }
}

// ---- what fits -----------------------------------------------------------------------------------------

#[test]
fn a_bundle_knows_its_names_key_and_fingerprint() {
    let ca = root("Server CA");
    let pair = server_pair(&["MQTT.example", "*.devices.example", "mqtt.example", "192.0.2.1"], &ca);
    let (bundle, warnings) = Files::of(&pair).load("acme/mqtt").unwrap();
    assert_eq!(warnings, []);
    assert_eq!(bundle.name(), &reference("acme/mqtt"));
    assert_eq!(bundle.dns_names(), ["mqtt.example", "*.devices.example"]);
    assert_eq!(bundle.key_type(), "ecdsa-p256");
    assert_eq!(bundle.leaf().subject_dn, "CN=server");
    assert!(!bundle.has_client_ca());
}

#[test]
fn each_key_type_has_its_word() {
    let ca = root("Server CA");
    for (algorithm, word) in
        [(&PKCS_ECDSA_P256_SHA256, "ecdsa-p256"), (&PKCS_ECDSA_P384_SHA384, "ecdsa-p384"), (&PKCS_ED25519, "ed25519")]
    {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let cert = server_params(&["a.example"]).signed_by(&key, &ca).unwrap().der().clone();
        assert_eq!(Files::of(&Pair { cert, key }).bundle("a").key_type(), word);
    }
    let rsa = Files {
        chain: include_str!("fixtures/rsa2048.chain.pem").to_owned(),
        key: include_str!("fixtures/rsa2048.pkcs1.key.pem").to_owned(),
        ca: None,
        password: None,
    };
    assert_eq!(rsa.bundle("a").key_type(), "rsa");
}

#[test]
fn every_unencrypted_key_format_is_read() {
    assert!(fixture(include_str!("fixtures/sec1.key.pem"), None).load("a").is_ok(), "SEC1");
    let (_, pair) = simple();
    assert!(Files::of(&pair).load("a").is_ok(), "PKCS#8; PKCS#1 is held with the key types");
}

#[test]
fn an_encrypted_key_opens_with_its_password() {
    for key in [include_str!("fixtures/sec1.pbes2.key.pem"), include_str!("fixtures/sec1.des3.key.pem")] {
        assert!(fixture(key, Some("correct")).load("a").is_ok());
        assert_eq!(fault(&fixture(key, Some("wrong"))), (BundlePart::Key, BundleFault::WrongPassword));
        assert_eq!(fault(&fixture(key, None)), (BundlePart::Key, BundleFault::PasswordMissing));
        assert_eq!(fault(&fixture(key, Some(""))), (BundlePart::Key, BundleFault::PasswordMissing));
    }
}

#[test]
fn a_password_that_is_not_needed_does_no_harm() {
    assert!(fixture(include_str!("fixtures/sec1.key.pem"), Some("any")).load("a").is_ok());
}

#[test]
fn pem_is_read_as_people_have_it() {
    let (ca, pair) = simple();
    let plain = Files::of(&pair).trusting(&[&ca]);
    let changed = |change: &dyn Fn(&str) -> String| Files {
        chain: change(&plain.chain),
        key: change(&plain.key),
        ca: plain.ca.as_deref().map(change),
        password: None,
    };
    for (what, files) in [
        ("CRLF", changed(&|text| text.replace('\n', "\r\n"))),
        ("byte order mark", changed(&|text| format!("\u{FEFF}{text}"))),
        ("text around", changed(&|text| format!("Subject: a: b\nBag Attributes\n{text}\nbye"))),
        ("indented", changed(&|text| text.replace('\n', "  \n   "))),
        ("no last line end", changed(&|text| text.trim_end().to_owned())),
        (
            "long lines",
            changed(&|text| {
                text.replace('\n', "")
                    .replace("E-----M", "E-----\nM")
                    .replace("Y-----M", "Y-----\nM")
                    .replace("-----END", "\n-----END")
            }),
        ),
    ] {
        let bundle = files.load("a").unwrap_or_else(|error| panic!("{what}: {error}")).0;
        assert_eq!(bundle.leaf().fingerprint, plain.bundle("a").leaf().fingerprint, "{what}");
    }
}

#[test]
fn one_file_may_hold_certificate_and_key() {
    let (_, pair) = simple();
    let mut files = Files::of(&pair);
    files.chain.push_str(&files.key.clone());
    files.key = files.chain.clone();
    assert!(files.load("a").is_ok());
}

#[test]
fn a_chain_may_end_in_its_root() {
    let top = root("Root");
    let issuing = intermediate("Issuing", &top);
    let pair = server_pair(&["a.example"], &issuing);
    let mut files = Files::of(&pair);
    for chain in [vec![&pair.cert], vec![&pair.cert, issuing.der()], vec![&pair.cert, issuing.der(), top.der()]] {
        files.chain = cert_pem(&chain);
        assert_eq!(files.load("a").unwrap().1, []);
    }
}

// ---- what does not -------------------------------------------------------------------------------------

#[test]
fn a_chain_out_of_order_is_refused_with_the_place() {
    let top = root("Root");
    let issuing = intermediate("Issuing", &top);
    let pair = server_pair(&["a.example"], &issuing);
    let mut files = Files::of(&pair);
    files.chain = cert_pem(&[&pair.cert, top.der(), issuing.der()]);
    let (part, found) = fault(&files);
    assert_eq!(part, BundlePart::Chain);
    let wanted = BundleFault::ChainOrder { position: 2, found: "CN=Root".to_owned(), wanted: "CN=Issuing".to_owned() };
    assert_eq!(found, wanted);
    files.chain = cert_pem(&[issuing.der(), &pair.cert]);
    assert_eq!(fault(&files), (BundlePart::Chain, BundleFault::LeafNotFirst { position: 2 }));
}

#[test]
fn an_issuer_of_the_right_name_with_another_key_is_a_warning() {
    let issuing = root("Issuing");
    let namesake = root("Issuing");
    let pair = server_pair(&["a.example"], &issuing);
    let mut files = Files::of(&pair);
    files.chain = cert_pem(&[&pair.cert, namesake.der()]);
    let warnings = files.load("a").unwrap().1;
    assert_eq!(warnings, [BundleWarning::BrokenChain { position: 2, subject: "CN=Issuing".to_owned() }]);
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (_, pair) = simple();
    let mut files = Files::of(&pair);
    files.key = key().serialize_pem();
    assert_eq!(fault(&files), (BundlePart::Key, BundleFault::KeyMismatch { leaf: "CN=server".to_owned() }));
}

#[test]
fn swapped_files_are_recognised() {
    let (_, pair) = simple();
    let files = Files::of(&pair);
    let swapped = Files { chain: files.key.clone(), key: files.chain.clone(), ca: None, password: None };
    assert_eq!(fault(&swapped), (BundlePart::Chain, BundleFault::KeyInsteadOfCertificate));
    let twice = Files { chain: files.chain.clone(), key: files.chain.clone(), ca: None, password: None };
    assert_eq!(fault(&twice), (BundlePart::Key, BundleFault::CertificateInsteadOfKey));
}

#[test]
fn keys_that_are_too_weak_or_of_other_kinds_are_refused() {
    let short = Files {
        chain: include_str!("fixtures/rsa1024.chain.pem").to_owned(),
        key: include_str!("fixtures/rsa1024.key.pem").to_owned(),
        ca: None,
        password: None,
    };
    let found = "RSA of 1024 bits".to_owned();
    assert_eq!(fault(&short), (BundlePart::Chain, BundleFault::KeyType { found }));
    let p521 = Files {
        chain: include_str!("fixtures/p521.chain.pem").to_owned(),
        key: include_str!("fixtures/p521.key.pem").to_owned(),
        ca: None,
        password: None,
    };
    assert!(matches!(fault(&p521), (BundlePart::Chain, BundleFault::KeyType { .. })));
}

#[test]
fn two_keys_in_the_key_file_are_one_too_many() {
    let (_, pair) = simple();
    let mut files = Files::of(&pair);
    files.key.push_str(&key().serialize_pem());
    assert_eq!(fault(&files), (BundlePart::Key, BundleFault::SeveralKeys));
}

#[test]
fn each_file_is_blamed_for_itself() {
    let (ca, pair) = simple();
    let good = || Files::of(&pair).trusting(&[&ca]);
    assert!(good().load("a").is_ok());
    let cut = |text: &str| text[..text.len() / 2].to_owned();
    let unfinished = BundleFault::Pem(PemFault::Unfinished { line: 1 });
    assert_eq!(fault(&Files { chain: cut(&good().chain), ..good() }), (BundlePart::Chain, unfinished.clone()));
    assert_eq!(fault(&Files { key: cut(&good().key), ..good() }), (BundlePart::Key, unfinished.clone()));
    assert_eq!(fault(&Files { ca: Some(cut(&good().chain)), ..good() }), (BundlePart::Ca, unfinished));
    let empty = BundleFault::Pem(PemFault::Empty);
    assert_eq!(fault(&Files { chain: " \n".to_owned(), ..good() }), (BundlePart::Chain, empty.clone()));
    assert_eq!(fault(&Files { ca: Some(String::new()), ..good() }), (BundlePart::Ca, empty));
    let none = BundleFault::Pem(PemFault::NoSection);
    assert_eq!(fault(&Files { key: "hello".to_owned(), ..good() }), (BundlePart::Key, none));
    assert_eq!(fault(&Files { ca: Some(good().key), ..good() }).1, BundleFault::KeyInsteadOfCertificate);
}

#[test]
fn damaged_sections_are_refused_with_their_line() {
    let (_, pair) = simple();
    let good = Files::of(&pair);
    let base64 = BundleFault::Pem(PemFault::Base64 { line: 2 });
    let damaged = format!("\n{}", good.chain.replacen("MII", "M!I", 1));
    assert_ne!(damaged.trim(), good.chain.trim());
    assert_eq!(fault(&Files { chain: damaged, ..Files::of(&pair) }), (BundlePart::Chain, base64));
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    let found = fault(&Files { chain: nonsense.clone(), ..Files::of(&pair) });
    assert!(matches!(found, (BundlePart::Chain, BundleFault::Certificate { position: 1, .. })), "{found:?}");
    let nonsense = nonsense.replace("CERTIFICATE", "PRIVATE KEY");
    assert_eq!(fault(&Files { key: nonsense, ..Files::of(&pair) }), (BundlePart::Key, BundleFault::UnusableKey));
}

#[test]
fn binary_and_utf16_files_are_recognised() {
    let (_, pair) = simple();
    let key = pair.key.serialize_pem();
    let load = |chain: &[u8]| {
        let set = PemSet { chain, key: key.as_bytes(), ca: None, password: None };
        Bundle::from_pem(reference("a"), set, NOW).map(|_| ()).map_err(|error| error.fault)
    };
    assert_eq!(load(&pair.cert), Err(BundleFault::Pem(PemFault::Binary)));
    assert_eq!(load(b"\xFF\xFE-\0-\0"), Err(BundleFault::Pem(PemFault::Utf16)));
    assert_eq!(load(cert_pem(&[&pair.cert]).as_bytes()), Ok(()));
}

#[test]
fn files_sections_and_chains_are_bounded() {
    let (ca, pair) = simple();
    let padded = |bytes: usize| {
        let chain = Files::of(&pair).chain;
        let blank = " ".repeat(bytes - chain.len());
        Files { chain: chain + &blank, ..Files::of(&pair) }
    };
    assert!(padded(1024 * 1024).load("a").is_ok());
    assert!(matches!(fault(&padded(1024 * 1024 + 1)).1, BundleFault::Pem(PemFault::TooLarge { .. })));
    let certs = |count| Files { chain: cert_pem(&vec![&pair.cert; count]), ..Files::of(&pair) };
    assert!(matches!(fault(&certs(Bundle::MAX_CHAIN + 1)).1, BundleFault::TooManyCertificates { .. }));
    assert!(matches!(fault(&certs(513)).1, BundleFault::Pem(PemFault::TooManySections { .. })));
    let cas = |count| Files { ca: Some(cert_pem(&vec![ca.der(); count])), ..Files::of(&pair) };
    assert!(cas(Bundle::MAX_CAS).load("a").is_ok());
    assert!(matches!(fault(&cas(Bundle::MAX_CAS + 1)), (BundlePart::Ca, BundleFault::TooManyCertificates { .. })));
}

// ---- what is only unwise -------------------------------------------------------------------------------

#[test]
fn a_leaf_outside_its_time_is_a_loud_warning() {
    let ca = root("Server CA");
    let mut params = server_params(&["a.example"]);
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    let files = Files::of(&issue(&params, &ca));
    let (begin, end) = (1_767_225_600, 1_798_761_600);
    for (now, warned) in [(begin - 1, true), (begin, false), (end, false), (end + 1, true)] {
        assert_eq!(!files.load_at("a", now).unwrap().1.is_empty(), warned, "{now}");
    }
    let warning = &files.load_at("a", end + 1).unwrap().1[0];
    assert_eq!(
        warning.to_string(),
        "certificate chain: the certificate of CN=server expired on Jan  1 00:00:00 2027 +00:00"
    );
}

#[test]
fn a_client_ca_that_is_expired_or_no_ca_is_a_warning() {
    let (ca, pair) = simple();
    let mut params = ca_params("Old CA");
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let old = Authority::self_signed(params, key()).unwrap();
    let warnings = Files::of(&pair).trusting(&[&ca, &old]).load("a").unwrap().1;
    assert!(
        matches!(&warnings[..], [BundleWarning::Expired { part: BundlePart::Ca, subject, .. }] if subject == "CN=Old CA")
    );
    let mut files = Files::of(&pair);
    files.ca = Some(cert_pem(&[&device("device", &ca).cert]));
    let warnings = files.load("a").unwrap().1;
    assert_eq!(warnings, [BundleWarning::NotACa { subject: "CN=device".to_owned() }]);
}

#[test]
fn a_certificate_without_dns_names_is_a_warning() {
    let warnings = Files::of(&issue(&named("server"), &root("CA"))).load("a").unwrap().1;
    assert_eq!(warnings, [BundleWarning::NoDnsName]);
}

#[test]
fn the_same_client_ca_twice_counts_once() {
    let (ca, pair) = simple();
    let bundle = Files::of(&pair).trusting(&[&ca, &ca]).bundle("a");
    assert_eq!(bundle.client_cas().len(), 1);
}

// ---- secrets -------------------------------------------------------------------------------------------

#[test]
fn debug_shows_names_and_never_keys() {
    let (ca, pair) = simple();
    let files = Files::of(&pair).trusting(&[&ca]);
    let bundle = files.bundle("acme/mqtt");
    assert_eq!(format!("{bundle:?}"), format!("Bundle(acme/mqtt {})", bundle.leaf().fingerprint_hex()));
    let set = PemSet { chain: b"CHAIN", key: b"SECRET", ca: None, password: Some(b"SECRET") };
    assert!(!format!("{set:?}").contains("SECRET") && !format!("{set:?}").contains("83, 69, 67"));
    let error = Bundle::from_pem(reference("a"), set, NOW).unwrap_err();
    assert!(!format!("{error:?} {error}").contains("SECRET"));
    let _: &BundleRef = bundle.name();
}
