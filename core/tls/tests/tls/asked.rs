//! What a listener asks beyond a path: `depth`, anchors, extended key usages; and what it speaks.

use std::sync::Arc;

use postern_identity::ClientAuthWish;
use postern_tls::chain::MAX_INTERMEDIATES;
use postern_tls::{
    Anchors, Bundle, ClientAuth, ClientPath, ConfigError, Reason, ServerConfigs, TlsPolicy, Versions, check_client_auth,
};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, PublicKeyData};
use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};
use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription, CipherSuite, ClientConfig, NamedGroup};

use crate::pki::{
    Authority, Files, NOW, Pair, ca_params, device, device_params, intermediate, issue, key, reference, root,
    server_pair,
};
use crate::wire::{BOTH, Done, Failed, client, handshake};

fn asking(client_path: ClientPath) -> TlsPolicy {
    TlsPolicy { client_auth: ClientAuth::Required, client_path, ..TlsPolicy::default() }
}

fn trusting(authorities: &[&Authority]) -> (Authority, Arc<Bundle>) {
    let server_ca = root("Server CA");
    let files = Files::of(&server_pair(&["a.example"], &server_ca));
    let files = if authorities.is_empty() { files } else { files.trusting(authorities) };
    (server_ca, files.bundle("acme/a"))
}

/// The outcome of a handshake; and what a later look at the same certificates says must agree.
fn enter(
    policy: &TlsPolicy,
    (server_ca, bundle): &(Authority, Arc<Bundle>),
    shown: (&Pair, &[&CertificateDer<'static>]),
) -> Result<Done, Box<Failed>> {
    let configs = ServerConfigs::new(policy.clone());
    let config = configs.get(bundle, ClientAuthWish::None).unwrap();
    let outcome = handshake(&config, client(server_ca.der(), Some(shown), BOTH), "a.example");
    let presented: Vec<_> =
        std::iter::once(shown.0.cert.clone()).chain(shown.1.iter().map(|&der| der.clone())).collect();
    let judged = configs.judge(bundle, ClientAuthWish::None, &presented, NOW).unwrap().unwrap();
    assert_eq!(outcome.is_ok(), judged.is_ok(), "{judged:?}");
    outcome
}

/// Authorities, each below the one before.
fn ladder(top: &Authority, count: usize) -> Vec<Authority> {
    let mut ladder: Vec<Authority> = Vec::new();
    for number in 1..=count {
        ladder.push(intermediate(&format!("Below {number}"), ladder.last().unwrap_or(top)));
    }
    ladder
}

#[test]
fn depth_counts_the_certificates_between() {
    let ca = root("Client CA");
    let site = trusting(&[&ca]);
    let steps = ladder(&ca, MAX_INTERMEDIATES);
    for depth in [0, 1, 2, 6] {
        let policy = asking(ClientPath { depth, ..ClientPath::default() });
        for between in 0..=MAX_INTERMEDIATES {
            let pair = device("device", steps[..between].last().unwrap_or(&ca));
            let sent: Vec<_> = steps[..between].iter().map(rcgen::CertifiedIssuer::der).collect();
            let outcome = enter(&policy, &site, (&pair, &sent));
            if between <= depth {
                assert!(outcome.is_ok(), "{between} of {depth}");
                continue;
            }
            let failed = outcome.map(|_| ()).expect_err("too deep");
            let (reason, words) = failed.explained();
            assert_eq!((reason, failed.alert), (Reason::TooDeep, Some(AlertDescription::BadCertificate)), "{words}");
            assert_eq!(
                words,
                format!(
                    "{between} certificates lie between the client certificate and the CA, and `depth` allows {depth}: \
                     CN=device"
                )
            );
        }
    }
}

#[test]
fn only_self_signed_certificates_are_anchors_unless_the_last_ones_are_trusted_too() {
    let ca = root("Client CA");
    let (first, second) = (intermediate("Plant 1", &ca), intermediate("Plant 2", &ca));
    let (of_first, of_second) = (device("one", &first), device("two", &second));
    // Without the root in the file, what counts is which one stands where.
    let site = trusting(&[&first, &second]);
    for (last, enters) in [(1, [false, true]), (2, [true, true])] {
        let policy = asking(ClientPath { anchors: Anchors { last }, ..ClientPath::default() });
        for (pair, lets_in) in [&of_first, &of_second].into_iter().zip(enters) {
            let outcome = enter(&policy, &site, (pair, &[]));
            match outcome {
                Ok(_) => assert!(lets_in, "{last}"),
                Err(failed) => {
                    assert!(!lets_in, "{last}");
                    assert_eq!(failed.explained().0, Reason::UnknownIssuer);
                }
            }
        }
    }
    let wanted = ConfigError::NoAnchor { bundle: reference("acme/a") };
    assert_eq!(check_client_auth(&site.1, ClientAuth::Required, Anchors::default()), Err(wanted.clone()));
    assert!(wanted.to_string().contains("partial_chain = cacert_from_cacertfile"));
    assert_eq!(check_client_auth(&site.1, ClientAuth::Off, Anchors::default()), Ok(()));
    assert_eq!(check_client_auth(&site.1, ClientAuth::Required, Anchors { last: 1 }), Ok(()));
}

#[test]
fn intermediates_in_the_ca_file_need_not_be_sent() {
    let ca = root("Client CA");
    let steps = ladder(&ca, 3);
    let pair = device("device", &steps[2]);
    let site = trusting(&[&steps[2], &ca, &steps[0], &root("Another"), &steps[1]]);
    let policy = asking(ClientPath::default());
    let (lowest, upper) = (steps[2].der(), steps[0].der());
    for sent in [&[][..], &[lowest], &[lowest, upper], &[upper]] {
        let configs = ServerConfigs::new(policy.clone());
        let done = enter(&policy, &site, (&pair, sent)).unwrap();
        let shown = done.server.peer_certificates().unwrap();
        let path = configs.judge(&site.1, ClientAuthWish::None, shown, NOW).unwrap().unwrap().unwrap();
        let names: Vec<&str> = path.iter().map(|facts| facts.subject_dn.as_str()).collect();
        assert_eq!(names, ["CN=device", "CN=Below 3", "CN=Below 2", "CN=Below 1", "CN=Client CA"]);
    }
    // They are counted all the same.
    let policy = asking(ClientPath { depth: 2, ..ClientPath::default() });
    assert_eq!(enter(&policy, &site, (&pair, &[])).map(|_| ()).unwrap_err().explained().0, Reason::TooDeep);
    // An intermediate that has ended helps nobody.
    let mut params = ca_params("Old plant");
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let old = Authority::signed_by(params, key(), &ca).unwrap();
    let site = trusting(&[&ca, &old]);
    let failed = enter(&asking(ClientPath::default()), &site, (&device("device", &old), &[])).map(|_| ()).unwrap_err();
    assert_eq!(failed.explained().0, Reason::Expired);
}

#[test]
fn all_usages_that_are_asked_for_must_be_there() {
    let ca = root("Client CA");
    let site = trusting(&[&ca]);
    let with = |usages: &[ExtendedKeyUsagePurpose]| {
        let mut params = device_params("device");
        params.extended_key_usages = usages.to_vec();
        issue(&params, &ca)
    };
    let own = ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 99_999, 1]);
    let client_auth = ExtendedKeyUsagePurpose::ClientAuth;
    let both = with(&[client_auth.clone(), own]);
    let (one, none) = (with(std::slice::from_ref(&client_auth)), with(&[]));
    let any = with(&[client_auth, ExtendedKeyUsagePurpose::Any]);
    let asked = |usages: &[&str]| {
        asking(ClientPath { usages: usages.iter().map(|&oid| oid.to_owned()).collect(), ..ClientPath::default() })
    };
    let (client_oid, own_oid) = ("1.3.6.1.5.5.7.3.2", "1.3.6.1.4.1.99999.1");
    for (usages, pair, lets_in) in [
        (&[][..], &none, true),
        (&[client_oid], &none, false),
        (&[client_oid], &one, true),
        (&[client_oid, own_oid], &one, false),
        (&[client_oid, own_oid], &both, true),
        (&[own_oid], &any, false),
    ] {
        match enter(&asked(usages), &site, (pair, &[])) {
            Ok(_) => assert!(lets_in, "{usages:?}"),
            Err(failed) => {
                assert!(!lets_in, "{usages:?}");
                let (reason, words) = failed.explained();
                assert_eq!(reason, Reason::WrongPurpose, "{words}");
                assert_eq!(failed.alert, Some(AlertDescription::UnsupportedCertificate), "{words}");
                assert!(words.contains("lacks the extended key usage 1.3.6.1."), "{words}");
            }
        }
    }
}

/// A public key of RSA that nobody has the other half of.
struct VastRsa(Vec<u8>);

impl VastRsa {
    fn of_bits(bits: usize) -> Self {
        let integer = |content: &[u8]| element(0x02, content);
        let mut modulus = vec![0; bits / 8 + 1];
        modulus[1..].fill(0xC3);
        Self(element(0x30, &[integer(&modulus), integer(&[1, 0, 1])].concat()))
    }
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82][..], &length, content].concat()
}

impl PublicKeyData for VastRsa {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

#[test]
fn g03_vast_certificates_are_refused_without_much_work() {
    let ca = root("Client CA");
    let site = trusting(&[&ca]);
    let configs = ServerConfigs::new(asking(ClientPath::default()));
    let judge = |der: &CertificateDer<'static>, others: &[CertificateDer<'static>]| {
        let presented = [std::slice::from_ref(der), others].concat();
        configs.judge(&site.1, ClientAuthWish::None, &presented, NOW).unwrap().unwrap()
    };
    let with_sans = |count: usize| {
        let mut params = device_params("device");
        let names = (0..count).map(|number| rcgen::SanType::DnsName(format!("d{number}.example").try_into().unwrap()));
        params.subject_alt_names = names.collect();
        issue(&params, &ca).cert
    };
    assert!(judge(&with_sans(2_000), &[]).is_err(), "2,000 names");
    assert!(judge(&with_sans(100), &[]).is_ok(), "100 names");

    let constrained = |count: usize| {
        let mut params = ca_params("Constrained");
        let permitted = (0..count).map(|number| rcgen::GeneralSubtree::DnsName(format!("d{number}.example")));
        params.name_constraints =
            Some(rcgen::NameConstraints { permitted_subtrees: permitted.collect(), excluded_subtrees: vec![] });
        Authority::signed_by(params, key(), &ca).unwrap()
    };
    for (constraints, names, good) in [(5_000, 250, false), (100, 100, true)] {
        let authority = constrained(constraints);
        let mut params = device_params("device");
        let sans = (0..names).map(|number| rcgen::SanType::DnsName(format!("d{number}.example").try_into().unwrap()));
        params.subject_alt_names = sans.collect();
        let verdict = judge(&issue(&params, &authority).cert, &[authority.der().clone()]);
        assert_eq!(verdict.is_ok(), good, "{constraints} constraints: {verdict:?}");
    }

    // The path is good, and the holder would have to sign with 16,384 bits: the handshake's own signature refuses it.
    let params: CertificateParams = device_params("vast");
    let vast = params.signed_by(&VastRsa::of_bits(16_384), &ca).unwrap().der().clone();
    let pair = Pair { cert: vast, key: KeyPair::generate().unwrap() };
    let resolver = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(
        vec![pair.cert.clone()],
        rustls::crypto::aws_lc_rs::sign::any_supported_type(&pair.key_der()).unwrap(),
    ));
    let mut config = client(site.0.der(), None, BOTH);
    config.client_auth_cert_resolver = Arc::new(resolver);
    let server = configs.get(&site.1, ClientAuthWish::None).unwrap();
    assert!(handshake(&server, config, "a.example").is_err());
}

// ---- what is spoken --------------------------------------------------------------------------------------

/// What a client that offers everything agrees on with this listener.
fn agreed(
    policy: TlsPolicy,
    suites: Option<&[rustls::SupportedCipherSuite]>,
) -> Result<(CipherSuite, NamedGroup), Reason> {
    let (server_ca, bundle) = trusting(&[]);
    let config = ServerConfigs::new(policy).get(&bundle, ClientAuthWish::None).unwrap();
    let mut client = client(server_ca.der(), None, BOTH);
    if let Some(suites) = suites {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(server_ca.der().clone()).unwrap();
        let provider = client.crypto_provider().as_ref().clone();
        let provider = Arc::new(rustls::crypto::CryptoProvider { cipher_suites: suites.to_vec(), ..provider });
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
        client = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
    }
    let done = handshake(&config, client, "a.example").map_err(|failed| failed.explained().0)?;
    let group = done.server.negotiated_key_exchange_group().unwrap().name();
    Ok((done.server.negotiated_cipher_suite().unwrap().suite(), group))
}

fn number(suite: CipherSuite) -> u16 {
    suite.into()
}

#[test]
fn suites_of_the_list_alone_are_spoken_in_whose_order_is_said() {
    let (aes, chacha) = (CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    let policy = |ciphers: &[CipherSuite], honor_cipher_order| TlsPolicy {
        ciphers: ciphers.iter().map(|suite| number(*suite)).collect(),
        honor_cipher_order,
        versions: Versions { tls12: false, tls13: true },
        ..TlsPolicy::default()
    };
    let aes_first = [cipher_suite::TLS13_AES_128_GCM_SHA256, cipher_suite::TLS13_CHACHA20_POLY1305_SHA256];
    let chosen = |outcome: Result<(CipherSuite, NamedGroup), Reason>| outcome.map(|(suite, _)| suite);
    assert_eq!(chosen(agreed(policy(&[chacha, aes], true), Some(&aes_first))), Ok(chacha));
    assert_eq!(chosen(agreed(policy(&[chacha, aes], false), Some(&aes_first))), Ok(aes));
    assert_eq!(chosen(agreed(policy(&[chacha], false), Some(&aes_first))), Ok(chacha));
    assert_eq!(chosen(agreed(policy(&[chacha], true), Some(&aes_first[..1]))), Err(Reason::NoCommonCipher));
}

#[test]
fn groups_of_the_list_alone_are_spoken() {
    let policy = |groups: &[NamedGroup]| TlsPolicy {
        groups: groups.iter().map(|group| u16::from(*group)).collect(),
        ..TlsPolicy::default()
    };
    let chosen = |groups: &[NamedGroup]| agreed(policy(groups), None).map(|(_, group)| group);
    assert_eq!(chosen(&[NamedGroup::secp384r1]), Ok(NamedGroup::secp384r1));
    assert_eq!(chosen(&[NamedGroup::X25519MLKEM768]), Ok(NamedGroup::X25519MLKEM768));
    // The client's order decides: rustls' clients have the cheap one first.
    let all =
        [kx_group::SECP384R1, kx_group::X25519MLKEM768, kx_group::X25519].map(rustls::crypto::SupportedKxGroup::name);
    assert_eq!(chosen(&all), Ok(NamedGroup::X25519));
    assert_eq!(
        chosen(&[rustls::crypto::SupportedKxGroup::name(kx_group::SECP256R1MLKEM768)]),
        Err(Reason::NoCommonGroup)
    );
}

#[test]
fn a_key_that_no_suite_of_the_list_fits_is_found_before_anybody_comes() {
    let (_, bundle) = trusting(&[]);
    let rsa = [number(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)];
    let check = |ciphers: &[u16], tls13| {
        let versions = Versions { tls12: true, tls13 };
        let policy = TlsPolicy { ciphers: ciphers.to_vec(), versions, ..TlsPolicy::default() };
        ServerConfigs::new(policy).check_ciphers(&bundle)
    };
    let misfit = ConfigError::NoCipher { bundle: reference("acme/a"), key_type: "ecdsa-p256" };
    assert_eq!(check(&rsa, false), Err(misfit));
    let aes = number(CipherSuite::TLS13_AES_128_GCM_SHA256);
    assert_eq!(check(&[rsa[0], aes], true), Ok(()));
    assert_eq!(check(&[number(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)], false), Ok(()));
}
