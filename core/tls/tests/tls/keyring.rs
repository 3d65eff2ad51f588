//! Which bundle answers to which name.

use std::sync::Arc;

use postern_identity::{BundleDirectory, NamespaceName};
use postern_tls::{Bundle, Keyring, KeyringEntry, KeyringError};

use crate::pki::{bundle, reference};

fn entry(bundle: &Arc<Bundle>, sni: Option<&str>) -> KeyringEntry {
    KeyringEntry { bundle: Arc::clone(bundle), sni: sni.map(str::to_owned) }
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
    let wanted =
        KeyringError::NameTwice { name: "x.example".to_owned(), first: reference("a"), second: reference("acme/b") };
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
