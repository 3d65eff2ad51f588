//! Which bundle answers to which name.

use std::sync::Arc;

use postern_identity::{BundleDirectory, DnsName, Namespace, NamespaceName};
use postern_tls::{Bundle, Keyring, KeyringEntry, KeyringError, Mismatch};

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

use crate::pki::{Authority, bundle, bundle_with, reference, root};

fn entry(bundle: &Arc<Bundle>, sni: Option<&str>) -> KeyringEntry {
    KeyringEntry { bundle: Arc::clone(bundle), sni: sni.map(str::to_owned), siblings: Vec::new() }
}

fn build(entries: &[(&Arc<Bundle>, Option<&str>)]) -> Result<Keyring, KeyringError> {
    Keyring::build(entries.iter().map(|&(bundle, sni)| entry(bundle, sni)).collect(), Vec::new())
}

/// The bundle that answers to the name.
fn answers(keyring: &Keyring, name: &str) -> Option<String> {
    keyring.by_name(name).map(|info| info.bundle.to_string())
}

#[test]
fn names_come_from_sni_or_from_the_certificate() {
    let a = bundle("a", &["A.example", "*.a.example"]);
    let b = bundle("acme/b", &["ignored.example"]);
    let keyring = build(&[(&a, None), (&b, Some("B.example."))]).unwrap();
    assert_eq!(answers(&keyring, "a.example").as_deref(), Some("(global)/a"));
    assert_eq!(answers(&keyring, "b.example").as_deref(), Some("acme/b"));
    assert_eq!(answers(&keyring, "ignored.example"), None);
    assert_eq!(keyring.get(&reference("acme/b")).unwrap().names, ["b.example"]);
    assert_eq!(keyring.get(&reference("a")).unwrap().names, ["a.example", "*.a.example"]);
}

#[test]
fn f11_a_wildcard_matches_nothing_but_itself() {
    let a = bundle("a", &["*.a.example"]);
    let keyring = build(&[(&a, None)]).unwrap();
    assert!(keyring.by_name("*.a.example").is_some());
    assert!(keyring.by_name("x.a.example").is_none());
    assert!(keyring.by_name("a.example").is_none());
}

#[test]
fn a_name_claimed_twice_by_sni_names_both_bundles() {
    let (a, b) = (bundle("a", &[]), bundle("acme/b", &[]));
    let error = build(&[(&a, Some("x.example")), (&b, Some("X.example"))]).unwrap_err();
    let wanted = KeyringError::NameTwice {
        name: "x.example".to_owned(),
        first: reference("a"),
        second: reference("acme/b"),
        mismatch: Mismatch::Namespace,
    };
    assert_eq!(error, wanted);
    assert!(build(&[(&a, Some("x.example")), (&b, Some("y.example"))]).is_ok());
}

#[test]
fn the_same_bundle_may_come_under_several_names() {
    let a = bundle("a", &["own.example"]);
    let keyring =
        build(&[(&a, Some("x.example")), (&a, Some("y.example")), (&a, Some("x.example")), (&a, None)]).unwrap();
    assert_eq!(keyring.get(&reference("a")).unwrap().names, ["x.example", "y.example", "own.example"]);
    assert_eq!(keyring.bundles().count(), 1);
}

#[test]
fn among_certificates_the_first_entry_wins_and_sni_beats_them_all() {
    let a = bundle("a", &["x.example", "y.example"]);
    let b = bundle("b", &["x.example", "z.example"]);
    let c = bundle("c", &[]);
    let keyring = build(&[(&a, None), (&b, None), (&c, Some("y.example"))]).unwrap();
    assert_eq!(answers(&keyring, "x.example").as_deref(), Some("(global)/a"));
    assert_eq!(answers(&keyring, "y.example").as_deref(), Some("(global)/c"));
    assert_eq!(keyring.get(&reference("a")).unwrap().names, ["x.example"], "a lost name is not listed");
    assert_eq!(keyring.get(&reference("b")).unwrap().names, ["z.example"]);
}

#[test]
fn the_first_entry_is_the_default() {
    let (a, b) = (bundle("a", &[]), bundle("b", &[]));
    let keyring = build(&[(&b, Some("b.example")), (&a, Some("a.example"))]).unwrap();
    assert_eq!(keyring.default_bundle().unwrap().bundle, reference("b"));
    assert!(Arc::ptr_eq(keyring.first().unwrap(), &b));
    let empty = build(&[]).unwrap();
    assert!(empty.default_bundle().is_none() && empty.first().is_none());
}

#[test]
fn a_bundle_outside_the_keyring_does_not_exist() {
    let a = bundle("acme/a", &[]);
    let keyring = build(&[(&a, None)]).unwrap();
    assert!(Arc::ptr_eq(keyring.bundle(&reference("acme/a")).unwrap(), &a));
    assert!(keyring.bundle(&reference("a")).is_none(), "the owner is part of the name");
    assert!(keyring.bundle(&reference("globex/a")).is_none());
    assert!(keyring.get(&reference("globex/a")).is_none());
}

#[test]
fn what_is_no_name_is_refused() {
    let a = bundle("a", &[]);
    for sni in ["", "*", "*.", "a.*.example", "192.0.2.1", "bücher.example", "a b", "**.example"] {
        let error = build(&[(&a, Some(sni))]).unwrap_err();
        assert!(matches!(error, KeyringError::InvalidName { .. }), "{sni:?}: {error}");
    }
    assert!(build(&[(&a, Some("*.example"))]).is_ok());
}

#[test]
fn one_reference_with_two_contents_is_refused() {
    let (one, two) = (bundle("a", &[]), bundle("a", &[]));
    let error = build(&[(&one, None), (&two, Some("x.example"))]).unwrap_err();
    assert_eq!(error, KeyringError::TwoContents { bundle: reference("a") });
}

#[test]
fn namespaces_are_listed_once_in_order() {
    let [acme, globex] = ["acme", "globex"].map(|name| NamespaceName::new(name).unwrap());
    let keyring = Keyring::build(Vec::new(), vec![globex.clone(), acme.clone(), globex.clone()]).unwrap();
    assert_eq!(keyring.namespaces(), [globex, acme]);
}

#[test]
fn the_directory_tells_what_a_plugin_may_know() {
    let a = bundle("acme/a", &["a.example"]);
    let keyring = build(&[(&a, None)]).unwrap();
    let info = keyring.by_name("a.example").unwrap();
    assert_eq!(info.subject_dn, "CN=server");
    assert_eq!(info.key_type, "ecdsa-p256");
    assert_eq!(info.fingerprint_sha256, a.leaf().fingerprint_hex());
    assert_eq!((info.not_before, info.not_after), (a.leaf().not_before, a.leaf().not_after));
    assert!(!info.has_client_ca);
}

// ---- several certificates for one name -------------------------------------------------------------------

fn candidates(keyring: &Keyring, bundle: &str) -> Vec<String> {
    keyring.candidates(&reference(bundle)).map(|bundle| bundle.name().to_string()).collect()
}

#[test]
fn f_17_bundles_with_keys_of_different_types_share_a_name() {
    let [p256, ed25519] = [("p256", &PKCS_ECDSA_P256_SHA256), ("ed25519", &PKCS_ED25519)]
        .map(|(name, algorithm)| bundle_with(name, algorithm, &[]));
    let alone = bundle("alone", &[]);
    let keyring = build(&[
        (&p256, Some("x.example")),
        (&alone, Some("z.example")),
        (&p256, Some("y.example")),
        (&ed25519, Some("y.example")),
        (&ed25519, Some("x.example")),
    ])
    .unwrap();
    assert_eq!(answers(&keyring, "x.example").as_deref(), Some("(global)/p256"), "the first entry is the first");
    assert_eq!(candidates(&keyring, "p256"), ["(global)/p256", "(global)/ed25519"]);
    assert_eq!(candidates(&keyring, "ed25519"), ["(global)/ed25519", "(global)/p256"], "what was chosen comes first");
    assert_eq!(candidates(&keyring, "alone"), ["(global)/alone"]);
    assert!(candidates(&keyring, "nobody").is_empty());
}

#[test]
fn f_17_what_cannot_stand_in_is_told() {
    let [one, other] = [root("One"), root("Other")];
    let p256 = |name: &str| bundle_with(name, &PKCS_ECDSA_P256_SHA256, &[]);
    let ed25519 = |name: &str, trusted: &[&Authority]| bundle_with(name, &PKCS_ED25519, trusted);
    let mismatch = |a: &Arc<Bundle>, b: &Arc<Bundle>| match build(&[(a, Some("x.example")), (b, Some("x.example"))])
        .unwrap_err()
    {
        KeyringError::NameTwice { mismatch, .. } => mismatch,
        error => panic!("{error}"),
    };
    assert_eq!(mismatch(&p256("a"), &p256("b")), Mismatch::KeyType);
    let p384 = bundle_with("b", &PKCS_ECDSA_P384_SHA384, &[]);
    assert_eq!(mismatch(&p256("a"), &p384), Mismatch::KeyType, "clients that do ECDSA do both curves");
    assert_eq!(mismatch(&p256("a"), &ed25519("acme/b", &[])), Mismatch::Namespace);
    assert_eq!(mismatch(&p256("a"), &ed25519("b", &[&one])), Mismatch::ClientCas);
    let trusting = bundle_with("a", &PKCS_ECDSA_P256_SHA256, &[&one, &other]);
    assert_eq!(mismatch(&trusting, &ed25519("b", &[&one])), Mismatch::ClientCas);
    assert_eq!(mismatch(&trusting, &ed25519("b", &[&other, &one])), Mismatch::ClientCas, "their order has a meaning");
    let same = ed25519("b", &[&one, &other]);
    assert!(build(&[(&trusting, Some("x.example")), (&same, Some("x.example"))]).is_ok());
}

#[test]
fn f_17_siblings_have_all_their_names_in_common() {
    let (a, b) = (bundle_with("a", &PKCS_ECDSA_P256_SHA256, &[]), bundle_with("b", &PKCS_ED25519, &[]));
    let both = [(&a, Some("x.example")), (&b, Some("x.example"))];
    for more in [&a, &b] {
        let error = build(&[&both[..], &[(more, Some("y.example"))]].concat()).unwrap_err();
        assert!(error.to_string().contains("\"y.example\""), "{error}");
    }
    // The names of certificates are no claims.
    assert!(build(&[&both[..], &[(&a, None)]].concat()).is_ok());
}

#[test]
fn f_17_an_entry_may_bring_its_siblings() {
    let (a, b) = (bundle_with("a", &PKCS_ECDSA_P256_SHA256, &[]), bundle_with("b", &PKCS_ED25519, &[]));
    let with = |siblings: &[&Arc<Bundle>]| {
        let siblings = siblings.iter().copied().cloned().collect();
        Keyring::build(vec![KeyringEntry { bundle: Arc::clone(&a), sni: None, siblings }], Vec::new())
    };
    let keyring = with(&[&b]).unwrap();
    assert_eq!(candidates(&keyring, "a"), ["(global)/a", "(global)/b"]);
    assert_eq!(answers(&keyring, "any.example").as_deref(), Some("(global)/a"));
    let error = with(&[&b, &bundle_with("c", &PKCS_ED25519, &[])]).unwrap_err();
    assert!(matches!(error, KeyringError::NoSibling { mismatch: Mismatch::KeyType, .. }), "{error}");
}

#[test]
fn a_name_is_answered_within_a_namespaces_reach_exactly_or_by_a_wildcard() {
    let (acme, shared) = (bundle("acme/a", &[]), bundle("shared", &[]));
    let keyring = build(&[(&acme, Some("*.acme.example")), (&shared, Some("shared.example"))]).unwrap();
    let [nobody, of_acme, globex] = [None, Some("acme"), Some("globex")].map(|n| Namespace::from_option(n).unwrap());
    let answers = |name: &str, namespace: &Namespace| keyring.answers(&DnsName::new(name).unwrap(), namespace);
    assert!(answers("x.acme.example", &of_acme) && answers("shared.example", &of_acme));
    for namespace in [&nobody, &globex] {
        assert!(!answers("x.acme.example", namespace) && answers("shared.example", namespace));
    }
    for unknown in ["x.y.acme.example", "acme.example", "example", "x.shared.example"] {
        assert!(!answers(unknown, &of_acme), "{unknown}");
    }
}
