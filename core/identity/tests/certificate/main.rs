//! What is read out of certificates, and what is not. Ids in names: the project's list of hostile cases.

mod der;

use der::{
    BMP, C, CN, Cert, IA5, O, PRINTABLE, PRIVATE, TELETEX, UNIVERSAL, UTF8, attribute, cn, key_usages, rdn, sans, tlv,
};
use postern_identity::{AmbiguousCertificate, CertFacts, SubjectAltName};
use proptest::prelude::*;

fn read(cert: &Cert) -> CertFacts {
    CertFacts::from_der(&cert.der()).expect("readable")
}

fn refused(cert: &Cert) -> AmbiguousCertificate {
    CertFacts::from_der(&cert.der()).expect_err("must be refused")
}

fn only_value(rdns: &[Vec<u8>]) -> Option<String> {
    let facts = read(&Cert::subject(rdns));
    assert_eq!(facts.subject.len(), 1);
    facts.subject[0].value.clone()
}

fn dn(rdns: &[Vec<u8>]) -> String {
    read(&Cert::subject(rdns)).subject_dn
}

// ---- subject values ------------------------------------------------------------------------------------

#[test]
fn the_three_unambiguous_string_types_are_decoded() {
    assert_eq!(only_value(&[cn(UTF8, "älice".as_bytes())]).as_deref(), Some("älice"));
    assert_eq!(only_value(&[cn(PRINTABLE, b"alice (1) +,-./:=?'")]).as_deref(), Some("alice (1) +,-./:=?'"));
    assert_eq!(only_value(&[cn(IA5, b"alice@example.org")]).as_deref(), Some("alice@example.org"));
}

#[test]
fn g06_ambiguous_string_types_have_no_value() {
    assert_eq!(only_value(&[cn(BMP, b"\0a\0l\0i\0c\0e")]), None);
    assert_eq!(only_value(&[cn(UNIVERSAL, b"\0\0\0a")]), None);
    assert_eq!(only_value(&[cn(TELETEX, b"alice")]), None);
}

#[test]
fn g06_bytes_that_do_not_fit_their_type_have_no_value() {
    assert_eq!(only_value(&[cn(UTF8, b"al\xFFice")]), None, "invalid UTF-8");
    assert_eq!(only_value(&[cn(UTF8, b"\xC0\xAF")]), None, "overlong UTF-8");
    assert_eq!(only_value(&[cn(UTF8, b"\xED\xA0\x80")]), None, "surrogate");
    assert_eq!(only_value(&[cn(IA5, "é".as_bytes())]), None, "not ASCII");
    assert_eq!(only_value(&[cn(PRINTABLE, b"alice@home")]), None, "@ is not in PrintableString");
    assert_eq!(only_value(&[cn(PRINTABLE, b"*.example")]), None, "nor is *");
}

#[test]
fn g06_a_string_in_pieces_has_no_value() {
    assert_eq!(only_value(&[cn(UTF8 | 0x20, &tlv(UTF8, b"alice"))]), None);
}

#[test]
fn g04_every_common_name_is_listed_in_the_certificates_order() {
    let names = |rdns: &[Vec<u8>]| -> Vec<String> {
        read(&Cert::subject(rdns)).subject.into_iter().filter_map(|attribute| attribute.value).collect()
    };
    assert_eq!(names(&[cn(UTF8, b"alice"), cn(UTF8, b"bob")]), ["alice", "bob"]);
    assert_eq!(names(&[cn(UTF8, b"bob"), cn(UTF8, b"alice")]), ["bob", "alice"]);
    let both = rdn(&[attribute(CN, UTF8, b"alice"), attribute(CN, UTF8, b"bob")]);
    assert_eq!(names(&[both]), ["alice", "bob"]);
}

#[test]
fn g05_treacherous_characters_stay_in_the_value_and_are_escaped_in_the_text() {
    for (raw, text) in [
        ("alice\0.evil", "CN=alice\\00.evil"),
        ("a\nb", "CN=a\\0Ab"),
        ("a\u{1B}[2J", "CN=a\\1B[2J"),
        ("a\u{202E}b", "CN=a\\E2\\80\\AEb"),
        ("\u{FEFF}a", "CN=\\EF\\BB\\BFa"),
    ] {
        let facts = read(&Cert::subject(&[cn(UTF8, raw.as_bytes())]));
        assert_eq!(facts.subject[0].value.as_deref(), Some(raw), "a fact is not repaired");
        assert_eq!(facts.subject_dn, text);
    }
}

#[test]
fn g07_an_empty_common_name_is_an_empty_value_and_no_subject_is_no_attribute() {
    assert_eq!(only_value(&[cn(UTF8, b"")]).as_deref(), Some(""));
    assert_eq!(only_value(&[cn(UTF8, b"   ")]).as_deref(), Some("   "));
    let facts = read(&Cert::subject(&[]));
    assert!(facts.subject.is_empty());
    assert_eq!(facts.subject_dn, "");
}

// ---- RFC 4514 text -------------------------------------------------------------------------------------

#[test]
fn rfc4514_2_1_the_last_rdn_comes_first() {
    let rdns = [rdn(&[attribute(C, PRINTABLE, b"DE")]), rdn(&[attribute(O, UTF8, b"Acme")]), cn(UTF8, b"device-1")];
    assert_eq!(dn(&rdns), "CN=device-1,O=Acme,C=DE");
}

#[test]
fn rfc4514_2_2_attributes_of_one_rdn_are_joined_by_plus() {
    assert_eq!(dn(&[rdn(&[attribute(CN, UTF8, b"a"), attribute(O, UTF8, b"b")])]), "CN=a+O=b");
}

#[test]
fn rfc4514_2_4_special_characters_are_escaped() {
    assert_eq!(dn(&[cn(UTF8, br#"a,b+c"d\e<f>g;h=i"#)]), r#"CN=a\,b\+c\"d\\e\<f\>g\;h=i"#);
    assert_eq!(dn(&[cn(UTF8, b" a ")]), r"CN=\ a\ ");
    assert_eq!(dn(&[cn(UTF8, b" ")]), r"CN=\ ");
    assert_eq!(dn(&[cn(UTF8, b"#a#")]), r"CN=\#a#");
    assert_eq!(dn(&[cn(UTF8, "Lučić".as_bytes())]), "CN=Lučić");
}

#[test]
fn rfc4514_2_4_a_value_without_text_is_hexadecimal_der() {
    assert_eq!(dn(&[cn(TELETEX, b"al")]), "CN=#1402616c");
}

#[test]
fn rfc4514_2_3_an_unknown_type_is_its_identifier() {
    let facts = read(&Cert::subject(&[rdn(&[attribute(PRIVATE, UTF8, b"x")])]));
    assert_eq!(facts.subject_dn, "1.2.3.4=#0c0178");
    assert_eq!(facts.subject[0].oid, "1.2.3.4");
    assert_eq!(facts.subject[0].short_name, "1.2.3.4");
    assert_eq!(facts.subject[0].value.as_deref(), Some("x"));
}

#[test]
fn two_different_subjects_never_have_one_text() {
    let one = dn(&[cn(UTF8, b"a,O=b")]);
    let two = dn(&[rdn(&[attribute(O, UTF8, b"b")]), cn(UTF8, b"a")]);
    assert_ne!(one, two);
}

// ---- SubjectAltName ------------------------------------------------------------------------------------

#[test]
fn sans_of_the_four_types_are_read_in_order_and_others_skipped() {
    let facts = read(&Cert::extensions(&[sans(&[
        tlv(0x86, b"spiffe://td/x"),
        tlv(0x82, b"Device.Example"),
        tlv(0x88, PRIVATE),
        tlv(0x81, b"d@example.org"),
        tlv(0x87, &[192, 0, 2, 1]),
        tlv(0xA4, &der::sequence(&[cn(UTF8, b"dir")])),
        tlv(0x87, &[0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ])]));
    assert_eq!(
        facts.sans,
        [
            SubjectAltName::Uri("spiffe://td/x".to_owned()),
            SubjectAltName::Dns("Device.Example".to_owned()),
            SubjectAltName::Email("d@example.org".to_owned()),
            SubjectAltName::Ip("192.0.2.1".parse().unwrap()),
            SubjectAltName::Ip("2001:db8::1".parse().unwrap()),
        ]
    );
}

#[test]
fn a_san_that_cannot_be_read_refuses_the_certificate() {
    for (name, why) in [
        (tlv(0x82, "dévice".as_bytes()), "not IA5"),
        (tlv(0x86, b"\xFF"), "not even UTF-8"),
        (tlv(0x87, &[1, 2, 3]), "address of three bytes"),
        (tlv(0x87, &[0; 8]), "an address with a mask belongs in name constraints"),
        (tlv(0xA2, &tlv(IA5, b"a")), "a text in pieces"),
        (tlv(0x02, b"a"), "an INTEGER is no GeneralName"),
        (tlv(0x89, b"a"), "there is no choice 9"),
    ] {
        let error = refused(&Cert::extensions(&[sans(&[tlv(0x82, b"good.example"), name])]));
        assert!(matches!(error, AmbiguousCertificate::SubjectAltName(_)), "{why}: {error:?}");
    }
}

#[test]
fn an_extension_that_appears_twice_refuses_the_certificate() {
    let twice = [sans(&[tlv(0x82, b"a.example")]), sans(&[tlv(0x82, b"b.example")])];
    assert!(matches!(refused(&Cert::extensions(&twice)), AmbiguousCertificate::Malformed(_)));
    let twice = [key_usages(&[&[0x2A, 3]]), key_usages(&[&[0x2A, 4]])];
    assert!(matches!(refused(&Cert::extensions(&twice)), AmbiguousCertificate::Malformed(_)));
}

#[test]
fn extended_key_usages_keep_the_certificates_order() {
    let client_auth: &[u8] = &[0x2B, 6, 1, 5, 5, 7, 3, 2];
    let any: &[u8] = &[0x55, 0x1D, 0x25, 0];
    let facts = read(&Cert::extensions(&[key_usages(&[PRIVATE, client_auth, any])]));
    assert_eq!(facts.extended_key_usages, ["1.2.3.4", "1.3.6.1.5.5.7.3.2", "2.5.29.37.0"]);
    assert!(read(&Cert::subject(&[])).extended_key_usages.is_empty());
}

// ---- the rest of the facts -----------------------------------------------------------------------------

#[test]
fn serial_dates_issuer_and_digests() {
    let mut cert = Cert::subject(&[cn(UTF8, b"device")]);
    cert.serial = vec![0, 0xFF, 0x0A];
    let facts = read(&cert);
    assert_eq!(facts.serial_hex, "ff0a", "the zero byte of DER is no digit of the number");
    assert_eq!(facts.issuer_dn, "CN=Test CA");
    assert_eq!(facts.not_before, 1_767_225_600, "2026-01-01T00:00:00Z");
    assert_eq!(facts.not_after, 2_713_910_400, "2056-01-01T00:00:00Z");
    assert_eq!(facts.der, cert.der());
    assert_eq!(facts.fingerprint_hex().len(), 64);
    assert_ne!(facts.fingerprint_hex(), facts.spki_sha256_hex());
    cert.serial = vec![0];
    assert_eq!(read(&cert).serial_hex, "00");
}

#[test]
fn a_certificate_of_a_real_ca_library_is_read() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["device.example".to_owned(), "192.0.2.7".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "device");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let facts = CertFacts::from_der(params.self_signed(&key).unwrap().der()).unwrap();
    assert_eq!(facts.subject_dn, "CN=device");
    assert_eq!(facts.sans[0], SubjectAltName::Dns("device.example".to_owned()));
    assert_eq!(facts.extended_key_usages, ["1.3.6.1.5.5.7.3.2"]);
}

#[test]
fn bytes_after_the_certificate_refuse_it() {
    let mut der = Cert::subject(&[]).der();
    assert!(CertFacts::from_der(&der).is_ok());
    der.push(0);
    assert!(matches!(CertFacts::from_der(&der), Err(AmbiguousCertificate::Malformed(_))));
}

// ---- bounds --------------------------------------------------------------------------------------------

#[test]
fn g03_sans_are_bounded() {
    let many = |count| Cert::extensions(&[sans(&vec![tlv(0x82, b"a.example"); count])]);
    assert_eq!(read(&many(CertFacts::MAX_SANS)).sans.len(), CertFacts::MAX_SANS);
    assert!(matches!(refused(&many(CertFacts::MAX_SANS + 1)), AmbiguousCertificate::TooMany { .. }));
}

#[test]
fn g03_subject_attributes_are_bounded() {
    let many = |count| Cert::subject(&vec![cn(UTF8, b"a"); count]);
    assert_eq!(read(&many(CertFacts::MAX_NAME_ATTRIBUTES)).subject.len(), CertFacts::MAX_NAME_ATTRIBUTES);
    assert!(matches!(refused(&many(CertFacts::MAX_NAME_ATTRIBUTES + 1)), AmbiguousCertificate::TooMany { .. }));
}

#[test]
fn g03_key_usages_are_bounded() {
    let many = |count| Cert::extensions(&[key_usages(&vec![PRIVATE; count])]);
    assert_eq!(read(&many(CertFacts::MAX_KEY_USAGES)).extended_key_usages.len(), CertFacts::MAX_KEY_USAGES);
    assert!(matches!(refused(&many(CertFacts::MAX_KEY_USAGES + 1)), AmbiguousCertificate::TooMany { .. }));
}

#[test]
fn g03_the_certificate_itself_is_bounded() {
    let with_cn = |bytes: usize| Cert::subject(&[cn(UTF8, &vec![b'a'; bytes])]);
    let rest = with_cn(60_000).der().len() - 60_000;
    let fits = CertFacts::MAX_DER_BYTES - rest;
    assert_eq!(with_cn(fits).der().len(), CertFacts::MAX_DER_BYTES);
    read(&with_cn(fits));
    assert!(matches!(refused(&with_cn(fits + 1)), AmbiguousCertificate::TooMany { what: "bytes", .. }));
}

// ---- properties ----------------------------------------------------------------------------------------

/// A certificate with every feature that is read, as the seed of mutations.
fn seed() -> Vec<u8> {
    let mut cert =
        Cert::extensions(&[sans(&[tlv(0x82, b"a.example"), tlv(0x87, &[192, 0, 2, 1])]), key_usages(&[PRIVATE])]);
    cert.subject = vec![rdn(&[attribute(C, PRINTABLE, b"DE"), attribute(PRIVATE, BMP, b"\0a")]), cn(UTF8, b"device")];
    cert.der()
}

proptest! {
    #[test]
    fn g18_arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let _ = CertFacts::from_der(&bytes);
    }

    #[test]
    fn g18_damaged_certificates_never_panic_and_are_read_the_same_way_twice(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<Option<proptest::sample::Index>>(),
    ) {
        let mut der = seed();
        for (place, byte) in edits {
            let place = place.index(der.len());
            der[place] = byte;
        }
        if let Some(cut) = cut {
            der.truncate(cut.index(der.len()));
        }
        prop_assert_eq!(CertFacts::from_der(&der), CertFacts::from_der(&der));
    }

    #[test]
    fn g18_any_common_name_is_escaped_onto_one_line(name in any::<String>()) {
        let facts = read(&Cert::subject(&[cn(UTF8, name.as_bytes())]));
        prop_assert_eq!(facts.subject[0].value.as_deref(), Some(name.as_str()));
        prop_assert!(!facts.subject_dn.chars().any(char::is_control));
    }
}
