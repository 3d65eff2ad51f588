//! The path that proved a client's certificate, and never another one.

use std::sync::Arc;

use postern_identity::CertFacts;
use postern_tls::chain::MAX_PRESENTED;
use postern_tls::{Anchors, Bundle, ChainError, ClientAuth, verified_chain};
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;

use crate::pki::{Authority, Files, NOW, Pair, ca_params, device, intermediate, key, reference, root, server_pair};
use crate::wire::{BOTH, client, handshake, server_config};

type Der = CertificateDer<'static>;

fn trusting(authorities: &[&Authority]) -> Arc<Bundle> {
    Files::of(&server_pair(&["a.example"], &root("Server CA"))).trusting(authorities).bundle("acme/a")
}

fn path(pair: &Pair, issuers: &[&Der], bundle: &Bundle) -> Result<Vec<Arc<CertFacts>>, ChainError> {
    let mut presented = vec![pair.cert.clone()];
    presented.extend(issuers.iter().map(|&issuer| issuer.clone()));
    verified_chain(&presented, (bundle, Anchors { last: 2 }), NOW)
}

/// The path is these certificates, and its end is the bundle's own facts, not a copy.
#[track_caller]
fn assert_path(pair: &Pair, issuers: &[&Der], bundle: &Bundle, wanted: &[&Der]) {
    let found = path(pair, issuers, bundle).expect("a path");
    let ders: Vec<&[u8]> = found.iter().map(|facts| facts.der.as_slice()).collect();
    let wanted: Vec<&[u8]> = wanted.iter().map(std::convert::AsRef::as_ref).collect();
    assert!(ders == wanted, "found {:?}", found.iter().map(|facts| &facts.subject_dn).collect::<Vec<_>>());
    assert!(bundle.client_cas().iter().any(|anchor| Arc::ptr_eq(anchor, found.last().unwrap())));
}

/// The same CA certificate again, signed by another: one name and key, two issuers.
fn cross(cn: &str, key: &KeyPair, issuer: &Authority, expired: bool) -> Der {
    let mut params = ca_params(cn);
    if expired {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    params.signed_by(key, issuer).unwrap().der().clone()
}

fn again(key: &KeyPair) -> KeyPair {
    KeyPair::from_pem(&key.serialize_pem()).unwrap()
}

#[test]
fn leaf_and_anchor() {
    let ca = root("CA");
    let pair = device("device", &ca);
    assert_path(&pair, &[], &trusting(&[&ca]), &[&pair.cert, ca.der()]);
}

#[test]
fn leaf_intermediate_and_anchor_in_any_order_of_sending() {
    let ca = root("CA");
    let upper = intermediate("Upper", &ca);
    let lower = intermediate("Lower", &upper);
    let pair = device("device", &lower);
    let bundle = trusting(&[&root("Other"), &ca]);
    let wanted = [&pair.cert, lower.der(), upper.der(), ca.der()];
    assert_path(&pair, &[lower.der(), upper.der()], &bundle, &wanted);
    assert_path(&pair, &[upper.der(), lower.der()], &bundle, &wanted);
}

#[test]
fn an_intermediate_in_the_ca_file_is_the_anchor() {
    let ca = root("CA");
    let issuing = intermediate("Issuing", &ca);
    let pair = device("device", &issuing);
    assert_path(&pair, &[issuing.der()], &trusting(&[&ca, &issuing]), &[&pair.cert, issuing.der()]);
}

#[test]
fn a_root_that_is_sent_along_changes_nothing() {
    let ca = root("CA");
    let issuing = intermediate("Issuing", &ca);
    let pair = device("device", &issuing);
    let bundle = trusting(&[&ca]);
    let wanted = [&pair.cert, issuing.der(), ca.der()];
    assert_path(&pair, &[issuing.der(), ca.der()], &bundle, &wanted);
    assert_path(&pair, &[ca.der(), issuing.der(), issuing.der()], &bundle, &wanted);
}

#[test]
fn junk_that_is_sent_along_changes_nothing() {
    let ca = root("CA");
    let pair = device("device", &ca);
    let (stranger, namesake) = (root("Stranger"), root("CA"));
    let unreadable = Der::from(vec![0x30, 3, 1, 2, 3]);
    let bundle = trusting(&[&ca]);
    for junk in
        [&[stranger.der()][..], &[namesake.der()], &[&unreadable], &[&pair.cert], &[namesake.der(), &unreadable]]
    {
        assert_path(&pair, junk, &bundle, &[&pair.cert, ca.der()]);
    }
}

#[test]
fn of_two_cas_with_one_name_the_one_that_signed_is_found() {
    let (one, two) = (root("CA"), root("CA"));
    let bundle = trusting(&[&one, &two]);
    for ca in [&one, &two] {
        let pair = device("device", ca);
        assert_path(&pair, &[], &bundle, &[&pair.cert, ca.der()]);
    }
}

#[test]
fn g13_a_client_cannot_steer_to_another_ca_with_an_expired_cross_certificate() {
    let (ours, theirs) = (root("Ours"), root("Theirs"));
    let bundle = trusting(&[&theirs, &ours]);
    let shared = key();
    // The issuing CA once belonged to the other root; that certificate expired, its signature is still good.
    let past = cross("Issuing", &shared, &theirs, true);
    let present = cross("Issuing", &shared, &ours, false);
    let issuing = Authority::signed_by(ca_params("Issuing"), again(&shared), &ours).unwrap();
    let pair = device("device", &issuing);
    let wanted = [&pair.cert, &present, ours.der()];
    assert_path(&pair, &[&past, &present], &bundle, &wanted);
    assert_path(&pair, &[&present, &past], &bundle, &wanted);
    assert!(path(&pair, &[&present], &bundle).is_ok());
}

#[test]
fn of_two_good_paths_the_one_that_the_verification_takes_is_found() {
    let (one, two) = (root("One"), root("Two"));
    let bundle = trusting(&[&one, &two]);
    let shared = key();
    let by = [cross("Issuing", &shared, &one, false), cross("Issuing", &shared, &two, false)];
    let issuing = Authority::signed_by(ca_params("Issuing"), again(&shared), &one).unwrap();
    let pair = device("device", &issuing);
    assert_path(&pair, &[&by[0], &by[1]], &bundle, &[&pair.cert, &by[0], one.der()]);
    assert_path(&pair, &[&by[1], &by[0]], &bundle, &[&pair.cert, &by[1], two.der()]);
}

#[test]
fn a_ca_in_two_certificates_is_one_anchor() {
    let shared = key();
    let old = Authority::self_signed(ca_params("CA"), again(&shared)).unwrap();
    let new = Authority::self_signed(ca_params("CA"), again(&shared)).unwrap();
    assert_ne!(old.der(), new.der(), "serial numbers differ");
    let pair = device("device", &new);
    assert_path(&pair, &[], &trusting(&[&old, &new]), &[&pair.cert, old.der()]);
}

#[test]
fn what_leads_to_no_anchor_has_no_path() {
    let ca = root("CA");
    let bundle = trusting(&[&ca]);
    let issuing = intermediate("Issuing", &ca);
    let pair = device("device", &issuing);
    assert!(matches!(path(&pair, &[], &bundle), Err(ChainError::NoPath(_))));
    assert!(path(&pair, &[issuing.der()], &bundle).is_ok());
    // Two that issue each other, and no way out.
    let (a, b) = (key(), key());
    let issuer = |cn: &str, key: &KeyPair| Authority::self_signed(ca_params(cn), again(key)).unwrap();
    let ring = [cross("A", &a, &issuer("B", &b), false), cross("B", &b, &issuer("A", &a), false)];
    let pair = device("device", &issuer("A", &a));
    assert!(matches!(path(&pair, &[&ring[0], &ring[1]], &bundle), Err(ChainError::NoPath(_))));
}

#[test]
fn no_certificate_no_ca_and_too_many_certificates() {
    let ca = root("CA");
    let bundle = trusting(&[&ca]);
    let pair = device("device", &ca);
    assert_eq!(verified_chain(&[], (&bundle, Anchors::default()), NOW), Err(ChainError::Nothing));
    let without = Files::of(&server_pair(&["a.example"], &ca)).bundle("acme/a");
    assert_eq!(path(&pair, &[], &without), Err(ChainError::NoClientCa(reference("acme/a"))));
    assert!(path(&pair, &[ca.der(); MAX_PRESENTED - 1], &bundle).is_ok());
    assert!(matches!(path(&pair, &[ca.der(); MAX_PRESENTED], &bundle), Err(ChainError::TooMany { .. })));
}

#[test]
fn a_finished_handshake_yields_its_path() {
    let (server_ca, client_ca) = (root("Server CA"), root("Client CA"));
    let bundle = Files::of(&server_pair(&["a.example"], &server_ca)).trusting(&[&client_ca]).bundle("acme/a");
    let issuing = intermediate("Issuing", &client_ca);
    let pair = device("device", &issuing);
    let config = server_config(&bundle, ClientAuth::Required);
    let client = client(server_ca.der(), Some((&pair, &[issuing.der(), client_ca.der()])), BOTH);
    let done = handshake(&config, client, "a.example").unwrap();
    let chain = verified_chain(done.server.peer_certificates().unwrap(), (&bundle, Anchors::default()), NOW).unwrap();
    let subjects: Vec<&str> = chain.iter().map(|facts| facts.subject_dn.as_str()).collect();
    assert_eq!(subjects, ["CN=device", "CN=Issuing", "CN=Client CA"]);
}
