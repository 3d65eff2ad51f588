//! G: client certificates, and who they say their holders are.

use postern_tests::alive::unique;
use postern_tests::der::{self, tag};
use postern_tests::pki::{self, Authority, Credentials};
use postern_tests::tls::{self, Entry, Offer};
use postern_tests::wire::{Connect, V3_1_1, V5};
use rcgen::{BasicConstraints, DnType, IsCa, SanType};

use crate::fixture::{Gate, gate, name};

fn acme(credentials: &Credentials) -> Offer {
    tls::naming(name::ACME).showing(credentials)
}

fn connect() -> Connect {
    Connect::new(V5, unique("g"))
}

/// The certificate must end the handshake, in both versions of TLS.
fn not_verified(gate: &Gate, what: &str, credentials: &Credentials) {
    for offer in [acme(credentials), acme(credentials).tls12()] {
        let (entry, told) = gate.attempt("mutual", &offer, &connect());
        assert!(matches!(entry, Entry::Alert(_) | Entry::Closed), "{what}: {entry:?}");
        assert_eq!(told.text("at"), "handshake", "{what}: {told:?}");
        assert!(!told.text("detail").is_empty(), "{what}: {told:?}");
    }
}

/// The certificate is good, but does not say who its holder is.
fn not_identified(gate: &Gate, what: &str, credentials: &Credentials) {
    let (entry, told) = gate.attempt("mutual", &acme(credentials), &connect().username("admin"));
    assert!(!entry.is_admitted(), "{what}: {entry:?}");
    assert!(matches!(told.text("at").as_str(), "identity" | "handshake"), "{what}: {told:?}");
    let treacherous = |c: char| c.is_control() || matches!(c, '\u{202E}' | '\u{FEFF}');
    assert!(!told.raw.contains(treacherous), "{what}: {told:?}");
}

#[test]
fn g_01_no_certificate_where_one_is_required() {
    let gate = gate();
    for offer in [tls::naming(name::ACME), tls::naming(name::ACME).tls12(), tls::nameless()] {
        let (entry, told) = gate.attempt("mutual", &offer, &connect());
        assert!(matches!(entry, Entry::Alert(_) | Entry::Closed), "{entry:?}");
        assert_eq!(told.text("at"), "handshake", "{told:?}");
    }
    let alice = gate.certificates.acme_ca.device("alice");
    let (entry, told) = gate.attempt("mutual", &acme(&alice), &connect());
    entry.admitted().leave();
    assert_eq!((told.text("username").as_str(), told.text("namespace").as_str()), ("alice", "acme"), "{told:?}");
    gate.assert_alive();
}

#[test]
fn g_01_no_certificate_where_one_is_only_asked_for() {
    let gate = gate();
    let (entry, told) = gate.attempt("optional", &tls::naming(name::ACME), &connect());
    entry.admitted().leave();
    assert!(!told.has("username"), "{told:?}");
    // One that is shown must be good all the same.
    let stranger = Authority::new("Nobody's").device("alice");
    let (entry, _) = gate.attempt("optional", &acme(&stranger), &connect());
    assert!(!entry.is_admitted(), "{entry:?}");
    gate.assert_alive();
}

#[test]
fn g_02_certificates_that_do_not_verify_end_the_handshake() {
    let gate = gate();
    let ca = &gate.certificates.acme_ca;
    let alice = || pki::device("alice");
    let mut leaf_that_is_a_ca = alice();
    leaf_that_is_a_ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    not_verified(&gate, "self-signed", &pki::self_signed(&alice()));
    not_verified(&gate, "another CA", &Authority::new("Another CA").device("alice"));
    not_verified(&gate, "another CA of the same name", &Authority::new("Acme devices").device("alice"));
    not_verified(&gate, "expired", &ca.sign(&pki::expired_yesterday(alice())));
    not_verified(&gate, "not yet valid", &ca.sign(&pki::valid_from_tomorrow(alice())));
    not_verified(&gate, "for servers only", &ca.sign(&pki::for_servers_only(alice())));
    not_verified(&gate, "a CA as leaf", &ca.sign(&leaf_that_is_a_ca));
    not_verified(&gate, "an intermediate that is no CA", &ca.below("No CA", false).device("alice"));
    let below = ca.below("Acme plant 1", true);
    not_verified(&gate, "without the intermediate", &below.device("alice").leaf_alone());
    let (entry, told) = gate.attempt("mutual", &acme(&below.device("alice")), &connect());
    entry.admitted().leave();
    assert_eq!(told.text("username"), "alice");
    gate.assert_alive();
}

#[test]
fn g_04_two_common_names_are_none() {
    let gate = gate();
    let ca = &gate.certificates.acme_ca;
    for (first, second) in [("alice", "bob"), ("bob", "alice")] {
        let mut params = pki::device(first);
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), second);
        not_identified(&gate, "two RDNs", &ca.sign(&params));
        let both = [der::common_name(tag::UTF8, first.as_bytes()), der::common_name(tag::UTF8, second.as_bytes())];
        not_identified(&gate, "one RDN with two values", &ca.device_with_subject(&der::subject(&[&both])));
    }
    let one = ca.device_with_subject(&der::subject(&[&[der::common_name(tag::UTF8, b"alice")]]));
    let (entry, told) = gate.attempt("mutual", &acme(&one), &connect());
    entry.admitted().leave();
    assert_eq!(told.text("username"), "alice");
    gate.assert_alive();
}

#[test]
fn g_05_treacherous_common_names_are_refused_and_logged_escaped() {
    let gate = gate();
    let ca = &gate.certificates.acme_ca;
    let of = |value: &str| ca.device_with_subject(&der::subject(&[&[der::common_name(tag::UTF8, value.as_bytes())]]));
    for value in ["alice\0.evil", "alice\nadmin", "alice\u{1B}[2J", "alice\u{202E}", "\u{FEFF}alice"] {
        not_identified(&gate, value, &of(value));
    }
    not_identified(&gate, "300 bytes", &of(&"a".repeat(300)));
    let (entry, told) = gate.attempt("mutual", &acme(&of(&"a".repeat(256))), &connect());
    entry.admitted().leave();
    assert_eq!(told.text("username"), "a".repeat(256));
    gate.assert_alive();
}

#[test]
fn g_05_a_common_name_of_60_kb_ends_the_handshake_or_the_mapping() {
    let gate = gate();
    let large = der::common_name(tag::UTF8, &vec![b'a'; 60_000]);
    let credentials = gate.certificates.acme_ca.device_with_subject(&der::subject(&[&[large]]));
    let (entry, _) = gate.attempt("mutual", &acme(&credentials), &connect());
    assert!(!entry.is_admitted(), "{entry:?}");
    gate.assert_alive();
}

#[test]
fn g_06_string_types_that_need_guessing_are_refused() {
    let gate = gate();
    let ca = &gate.certificates.acme_ca;
    let wide = |width: usize| b"alice".iter().flat_map(|&c| [vec![0; width - 1], vec![c]].concat()).collect::<Vec<_>>();
    for (what, tag, value) in [
        ("BMPString", tag::BMP, wide(2)),
        ("UniversalString", tag::UNIVERSAL, wide(4)),
        ("TeletexString", tag::TELETEX, b"alice".to_vec()),
        ("UTF8String that is not UTF-8", tag::UTF8, b"al\xC0\x80ice".to_vec()),
    ] {
        not_identified(&gate, what, &ca.device_with_subject(&der::subject(&[&[der::common_name(tag, &value)]])));
    }
    gate.assert_alive();
}

#[test]
fn g_07_no_common_name_is_nobody_and_not_the_username_of_the_connect() {
    let gate = gate();
    let ca = &gate.certificates.acme_ca;
    not_identified(&gate, "no CN", &ca.device_with_subject(&der::subject(&[])));
    for value in ["", "   "] {
        let subject = der::subject(&[&[der::common_name(tag::UTF8, value.as_bytes())]]);
        not_identified(&gate, &format!("{value:?}"), &ca.device_with_subject(&subject));
    }
    // In the words of 3.1.1: not authorised.
    let nameless = ca.device_with_subject(&der::subject(&[]));
    let (entry, _) = gate.attempt("mutual", &acme(&nameless), &Connect::new(V3_1_1, unique("g07")).username("admin"));
    assert_eq!(entry.connack(), 5);
    let admins = gate.broker.journal.lines().into_iter().filter(|line| line.says("admitted"));
    assert_eq!(admins.filter(|line| line.text("username") == "admin").count(), 0);
    gate.assert_alive();
}

#[test]
fn g_08_the_username_of_the_connect_must_be_the_certificates_or_absent() {
    let gate = gate();
    let alice = gate.certificates.acme_ca.device("alice");
    for (version, code) in [(V5, 0x86), (V3_1_1, 4)] {
        let of = |username: &str| Connect::new(version, unique("g08")).username(username);
        let (entry, told) = gate.attempt("mutual", &acme(&alice), &of("bob"));
        assert_eq!(entry.connack(), code);
        assert_eq!((told.text("at"), told.text("why")), ("connect".into(), "username_mismatch".into()), "{told:?}");
        for connect in [of("alice"), Connect::new(version, unique("g08"))] {
            let (entry, told) = gate.attempt("mutual", &acme(&alice), &connect);
            entry.admitted().leave();
            assert_eq!(told.text("username"), "alice");
        }
        // Case is part of a name.
        assert_eq!(gate.attempt("mutual", &acme(&alice), &of("Alice")).0.connack(), code);
        let mut with_password = of("alice");
        with_password.password = Some(b"ignored".to_vec());
        gate.attempt("mutual", &acme(&alice), &with_password).0.admitted().leave();
    }
    gate.assert_alive();
}

#[test]
fn g_09_two_uris_are_none_and_a_uri_in_the_common_name_is_no_uri() {
    let gate = gate();
    let ca = &gate.certificates.acme_ca;
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let mut one = pki::device("alice");
    one.subject_alt_names = vec![uri("spiffe://acme/alice")];
    let mut two = one.clone();
    two.subject_alt_names.push(uri("spiffe://acme/bob"));
    let (entry, told) = gate.attempt("uri", &acme(&ca.sign(&one)), &connect());
    entry.admitted().leave();
    assert_eq!(told.text("username"), "spiffe://acme/alice");
    for credentials in [ca.sign(&two), ca.device("spiffe://acme/alice")] {
        let (entry, told) = gate.attempt("uri", &acme(&credentials), &connect());
        assert!(!entry.is_admitted(), "{entry:?}");
        assert_eq!(told.text("at"), "identity", "{told:?}");
    }
    gate.assert_alive();
}

#[test]
fn g_13_a_device_of_one_tenant_is_nobody_at_the_other() {
    let gate = gate();
    let (of_acme, of_globex) = gate.twins("twin");
    let at = |tenant: &str, credentials: &Credentials| {
        gate.attempt("mutual", &tls::naming(tenant).showing(credentials), &connect())
    };
    for (tenant, stranger) in [(name::ACME, &of_globex), (name::GLOBEX, &of_acme)] {
        let (entry, told) = at(tenant, stranger);
        assert!(!entry.is_admitted(), "{entry:?}");
        assert_eq!(told.text("at"), "handshake", "{told:?}");
    }
    for (tenant, namespace, own) in [(name::ACME, "acme", &of_acme), (name::GLOBEX, "globex", &of_globex)] {
        let (entry, told) = at(tenant, own);
        entry.admitted().leave();
        assert_eq!((told.text("namespace").as_str(), told.text("username").as_str()), (namespace, "twin"), "{told:?}");
    }
    gate.assert_alive();
}

#[test]
fn g_16_a_client_id_that_the_certificate_fixes_must_be_used() {
    let gate = gate();
    let alice = gate.certificates.acme_ca.device("alice-16");
    for (version, code) in [(V5, 0x85), (V3_1_1, 2)] {
        let (entry, told) = gate.attempt("bound", &acme(&alice), &Connect::new(version, "bob-16"));
        assert_eq!(entry.connack(), code);
        assert_eq!(told.text("why"), "client_id_mismatch", "{told:?}");
        let (entry, told) = gate.attempt("bound", &acme(&alice), &Connect::new(version, "alice-16"));
        entry.admitted().leave();
        assert_eq!(told.text("client_id"), "alice-16");
    }
    gate.assert_alive();
}

#[test]
fn the_log_says_which_plugin_decided_what() {
    let gate = gate();
    let (entry, told) = gate.attempt("mutual", &acme(&gate.certificates.acme_ca.device("told")), &connect());
    entry.admitted().leave();
    assert_eq!(told.text("namespace_by"), "namespace-lookup", "{told:?}");
    assert_eq!(told.text("bundle_by"), "sni-selector", "{told:?}");
    assert_eq!(told.text("identity_by"), "mtls-identity", "{told:?}");
    assert_eq!(told.text("server_name"), name::ACME, "{told:?}");
    assert_eq!(told.text("listener"), "ssl:mutual", "{told:?}");
    gate.assert_alive();
}
