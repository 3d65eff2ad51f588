//! Handshakes in memory: who is served what, who is let in, and what is said to those who are not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_identity::{ClientAuthWish, Why};
use postern_tls::chain::MAX_PRESENTED;
use postern_tls::{
    Anchors, Bundle, ClientAuth, ConfigError, Reason, ServerConfigs, TlsPolicy, Versions, check_client_auth, explain,
};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa};
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    AlertDescription, CertificateError, Error, HandshakeKind, InvalidMessage, PeerIncompatible, ProtocolVersion,
};

use crate::pki::{
    Authority, Files, Pair, ca_params, device, device_params, intermediate, issue, key, reference, root, server_pair,
};
use crate::wire::{BOTH, Failed, client, handshake, only_tls12, policy, server_config, shake};

const TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// A server with a client CA of its own.
struct Site {
    server_ca: Authority,
    client_ca: Authority,
    bundle: Arc<Bundle>,
}

fn site() -> Site {
    let (server_ca, client_ca) = (root("Server CA"), root("Client CA"));
    let bundle = Files::of(&server_pair(&["a.example"], &server_ca)).trusting(&[&client_ca]).bundle("acme/a");
    Site { server_ca, client_ca, bundle }
}

impl Site {
    /// A client with this certificate, in TLS 1.3 and 1.2, which must agree.
    fn try_client(
        &self,
        auth: ClientAuth,
        identity: Option<(&Pair, &[&CertificateDer<'static>])>,
    ) -> Result<Option<usize>, Box<Failed>> {
        let config = server_config(&self.bundle, auth);
        let [new, old] = [BOTH, TLS12].map(|versions| {
            let done = handshake(&config, client(self.server_ca.der(), identity, versions), "a.example")?;
            Ok(done.server.peer_certificates().map(<[_]>::len))
        });
        let told = |outcome: &Result<_, Box<Failed>>| {
            outcome.as_ref().map(|count| *count).map_err(|failed| failed.explained())
        };
        assert_eq!(told(&new), told(&old), "the versions disagree");
        new
    }

    #[track_caller]
    fn refused(
        &self,
        pair: &Pair,
        issuers: &[&CertificateDer<'static>],
        (reason, alert, words): (Reason, AlertDescription, &str),
    ) {
        for auth in [ClientAuth::Required, ClientAuth::Optional] {
            let failed = self.try_client(auth, Some((pair, issuers))).expect_err("must be refused");
            let (why, text) = failed.explained();
            assert_eq!((why, failed.alert), (reason, Some(alert)), "{text}");
            assert_eq!(why.why(), Why::BadCertificate);
            assert!(text.contains(words), "{text}");
            assert!(text.contains("CN=device"), "no subject: {text}");
        }
    }

    fn device(&self, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = device_params("device");
        change(&mut params);
        issue(&params, &self.client_ca)
    }
}

// ---- the server's side ---------------------------------------------------------------------------------

#[test]
fn the_chosen_bundle_is_served() {
    let configs = ServerConfigs::new(policy(ClientAuth::Off));
    for name in ["a.example", "b.example"] {
        let ca = root("CA");
        let bundle = Files::of(&server_pair(&[name], &ca)).bundle("bundle");
        let config = configs.get(&bundle, ClientAuthWish::None).unwrap();
        let done = handshake(&config, client(ca.der(), None, BOTH), name).unwrap();
        assert_eq!(done.client.peer_certificates().unwrap()[0].as_ref(), bundle.leaf().der);
    }
}

#[test]
fn settings_are_made_once_for_each_bundle_and_strictness() {
    let (one, two) = (site().bundle, site().bundle);
    let configs = ServerConfigs::new(policy(ClientAuth::Off));
    let get = |bundle, wish| configs.get(bundle, wish).unwrap();
    let first = get(&one, ClientAuthWish::Required);
    assert!(Arc::ptr_eq(&first, &get(&one, ClientAuthWish::Required)));
    assert!(!Arc::ptr_eq(&first, &get(&one, ClientAuthWish::None)));
    assert!(!Arc::ptr_eq(&first, &get(&two, ClientAuthWish::Required)), "the same name, another bundle");
}

#[test]
fn settings_of_replaced_bundles_are_shed() {
    let files = Files::of(&server_pair(&["a.example"], &root("CA")));
    let configs = ServerConfigs::new(policy(ClientAuth::Off));
    let get = |bundle: &Arc<Bundle>| configs.get(bundle, ClientAuthWish::None).unwrap();
    let kept = files.bundle("kept");
    let first = get(&kept);
    let replaced: Vec<_> = (0..64).map(|_| Arc::downgrade(&get(&files.bundle("replaced")))).collect();
    let alive = replaced.iter().filter(|config| config.upgrade().is_some()).count();
    assert!(alive < 8, "{alive} of 64 settings outlive their bundles");
    assert!(Arc::ptr_eq(&first, &get(&kept)));
}

#[test]
fn a_plugins_wish_makes_it_stricter_and_never_laxer() {
    use ClientAuth::{Off, Optional, Required};
    for (listener, wish, result) in [
        (Off, ClientAuthWish::None, Off),
        (Off, ClientAuthWish::Required, Required),
        (Optional, ClientAuthWish::None, Optional),
        (Optional, ClientAuthWish::Required, Required),
        (Required, ClientAuthWish::None, Required),
        (Required, ClientAuthWish::Optional, Required),
    ] {
        assert_eq!(listener.with(wish), result);
    }
    let site = site();
    let configs = ServerConfigs::new(policy(Required));
    let config = configs.get(&site.bundle, ClientAuthWish::None).unwrap();
    let error = handshake(&config, client(site.server_ca.der(), None, BOTH), "a.example").map(|_| ()).unwrap_err();
    assert_eq!(error.error, Error::NoCertificatesPresented);
}

#[test]
fn f05_only_the_enabled_versions_are_spoken() {
    let site = site();
    let served = |versions: Versions, offered| {
        let policy = TlsPolicy { versions, ..TlsPolicy::default() };
        let config = ServerConfigs::new(policy).get(&site.bundle, ClientAuthWish::None)?;
        Ok(handshake(&config, client(site.server_ca.der(), None, offered), "a.example")
            .map(|done| done.server.protocol_version().unwrap())
            .map_err(|failed| (failed.explained(), failed.alert)))
    };
    assert_eq!(served(Versions::default(), BOTH), Ok(Ok(ProtocolVersion::TLSv1_3)));
    assert_eq!(served(only_tls12(), BOTH), Ok(Ok(ProtocolVersion::TLSv1_2)));
    let only_tls13 = Versions { tls12: false, tls13: true };
    let ((reason, text), alert) = served(only_tls13, TLS12).unwrap().unwrap_err();
    assert_eq!((reason, alert), (Reason::NoCommonVersion, Some(AlertDescription::ProtocolVersion)));
    assert_eq!(text, "the client offers no TLS version that is enabled");
    let none = Versions { tls12: false, tls13: false };
    assert_eq!(served(none, BOTH), Err(ConfigError::NoVersion));
}

#[test]
fn f16_alpn_absent_and_mqtt_are_served_and_unknown_alone_is_not() {
    let site = site();
    let config = server_config(&site.bundle, ClientAuth::Off);
    let offer = |protocols: &[&[u8]]| {
        let mut client = client(site.server_ca.der(), None, BOTH);
        client.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        handshake(&config, client, "a.example").map(|done| done.server.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(offer(&[]).unwrap(), None);
    assert_eq!(offer(&[b"mqtt"]).unwrap(), Some(b"mqtt".to_vec()));
    assert_eq!(offer(&[b"x", b"mqtt"]).unwrap(), Some(b"mqtt".to_vec()));
    let failed = offer(&[b"x-amzn-mqtt-ca"]).unwrap_err();
    assert_eq!(failed.explained().0, Reason::Alpn);
    assert_eq!(failed.alert, Some(AlertDescription::NoApplicationProtocol));
}

#[test]
fn no_session_is_ever_resumed() {
    let site = site();
    let device = site.device(|_| ());
    for auth in [ClientAuth::Off, ClientAuth::Required] {
        let config = server_config(&site.bundle, auth);
        assert_eq!((config.send_tls13_tickets, config.max_early_data_size), (0, 0));
        for versions in [BOTH, TLS12] {
            let client = Arc::new(client(site.server_ca.der(), Some((&device, &[])), versions));
            for _ in 0..2 {
                let done = shake(&config, &client, "a.example").unwrap();
                assert_eq!(done.client.tls13_tickets_received(), 0);
                assert!(matches!(
                    done.server.handshake_kind(),
                    Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
                ));
            }
        }
    }
}

#[test]
fn client_certificates_need_a_client_ca() {
    let bundle = Files::of(&server_pair(&["a.example"], &root("CA"))).bundle("acme/a");
    let wanted = ConfigError::NoClientCa { bundle: reference("acme/a") };
    assert_eq!(check_client_auth(&bundle, ClientAuth::Required, Anchors::default()), Err(wanted.clone()));
    assert_eq!(check_client_auth(&bundle, ClientAuth::Optional, Anchors::default()), Err(wanted.clone()));
    assert_eq!(check_client_auth(&bundle, ClientAuth::Off, Anchors::default()), Ok(()));
    let configs = ServerConfigs::new(policy(ClientAuth::Off));
    assert_eq!(configs.get(&bundle, ClientAuthWish::Required).map(|_| ()), Err(wanted));
    assert!(configs.get(&bundle, ClientAuthWish::None).is_ok());
}

// ---- the client's certificate --------------------------------------------------------------------------

#[test]
fn g01_a_missing_certificate_is_refused_only_where_it_is_required() {
    let site = site();
    let failed = site.try_client(ClientAuth::Required, None).unwrap_err();
    let words = "the client sent no certificate and one is required";
    assert_eq!(failed.explained(), (Reason::NoCertificate, words.to_owned()));
    assert_eq!(failed.alert, Some(AlertDescription::CertificateRequired));
    assert_eq!(site.try_client(ClientAuth::Optional, None).unwrap(), None);
    assert_eq!(site.try_client(ClientAuth::Off, None).unwrap(), None);
}

#[test]
fn a_good_certificate_is_let_in_and_where_it_is_off_not_asked_for() {
    let site = site();
    let device = site.device(|_| ());
    for (auth, seen) in [(ClientAuth::Required, Some(1)), (ClientAuth::Optional, Some(1)), (ClientAuth::Off, None)] {
        assert_eq!(site.try_client(auth, Some((&device, &[]))).unwrap(), seen);
    }
}

#[test]
fn g02_self_signed_and_foreign_certificates_are_refused() {
    let site = site();
    let key = key();
    let cert = device_params("device").self_signed(&key).unwrap().der().clone();
    let unknown = (Reason::UnknownIssuer, AlertDescription::UnknownCA, "unknown issuer");
    site.refused(&Pair { cert, key }, &[], unknown);
    site.refused(&device("device", &root("Other CA")), &[], unknown);
    site.refused(&device("device", &site.server_ca), &[], unknown);
    let forged = (Reason::BadSignature, AlertDescription::BadCertificate, "signature is wrong");
    site.refused(&device("device", &root("Client CA")), &[], forged);
}

#[test]
fn g02_certificates_outside_their_time_are_refused() {
    let site = site();
    let ended = site.device(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    site.refused(&ended, &[], (Reason::Expired, AlertDescription::CertificateExpired, "client certificate expired "));
    site.refused(&ended, &[], (Reason::Expired, AlertDescription::CertificateExpired, " days ago: CN=device"));
    let early = site.device(|params| params.not_before = rcgen::date_time_ymd(3000, 1, 1));
    let alert = AlertDescription::CertificateExpired;
    site.refused(&early, &[], (Reason::NotYetValid, alert, "client certificate is not valid yet"));
}

#[test]
fn g02_an_expired_authority_above_the_client_is_named() {
    let site = site();
    let mut params = ca_params("Plant 1");
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let plant = Authority::signed_by(params, key(), &site.client_ca).unwrap();
    let words = "CA certificate above the client's expired ";
    let told = (Reason::Expired, AlertDescription::CertificateExpired, words);
    site.refused(&device("device", &plant), &[plant.der()], told);
    let whose = " days ago: CN=Plant 1 (the client is CN=device)";
    site.refused(&device("device", &plant), &[plant.der()], (told.0, told.1, whose));
}

#[test]
fn g02_a_server_certificate_is_no_client_certificate() {
    let site = site();
    let server =
        |params: &mut CertificateParams| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let told = (Reason::WrongPurpose, AlertDescription::UnsupportedCertificate, "not for client authentication");
    site.refused(&site.device(server), &[], told);
    let none = site.device(|params| params.extended_key_usages.clear());
    assert!(site.try_client(ClientAuth::Required, Some((&none, &[]))).is_ok(), "no restriction at all");
}

#[test]
fn g02_a_ca_certificate_is_no_client_certificate() {
    let site = site();
    let authority = site.device(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    site.refused(&authority, &[], (Reason::BadCertificate, AlertDescription::BadCertificate, "CA:TRUE"));
}

#[test]
fn g02_intermediates_must_be_sent_and_be_cas() {
    let site = site();
    let issuing = intermediate("Issuing", &site.client_ca);
    let device_of = |authority| device("device", authority);
    let below = device_of(&issuing);
    site.refused(&below, &[], (Reason::UnknownIssuer, AlertDescription::UnknownCA, "unknown issuer"));
    assert_eq!(site.try_client(ClientAuth::Required, Some((&below, &[issuing.der()]))).unwrap(), Some(2));
    let mut params = ca_params("Not a CA");
    params.is_ca = IsCa::ExplicitNoCa;
    let fake = Authority::signed_by(params, key(), &site.client_ca).unwrap();
    let told = (Reason::BadCertificate, AlertDescription::BadCertificate, "not a CA");
    site.refused(&device_of(&fake), &[fake.der()], told);
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    let site = site();
    let stolen = site.device(|_| ());
    let other = rustls::crypto::aws_lc_rs::sign::any_supported_type(&site.device(|_| ()).key_der()).unwrap();
    let mut config = client(site.server_ca.der(), None, BOTH);
    let resolver = SingleCertAndKey::from(CertifiedKey::new(vec![stolen.cert.clone()], other));
    config.client_auth_cert_resolver = Arc::new(resolver);
    let server = server_config(&site.bundle, ClientAuth::Required);
    let failed = handshake(&server, config, "a.example").map(|_| ()).unwrap_err();
    let words = "the client does not have the private key of the certificate it shows: CN=device";
    assert_eq!(failed.explained(), (Reason::BadSignature, words.to_owned()));
    assert_eq!(failed.alert, Some(AlertDescription::DecryptError));
}

const TOO_MUCH_WORK: (Reason, AlertDescription, &str) =
    (Reason::BadCertificate, AlertDescription::BadCertificate, "more work to verify than is allowed");

#[test]
fn g03_more_certificates_than_a_path_can_have_are_refused() {
    let site = site();
    let device = site.device(|_| ());
    let junk: Vec<Authority> = (0..MAX_PRESENTED).map(|number| root(&format!("Junk {number}"))).collect();
    let junk: Vec<&CertificateDer<'static>> = junk.iter().map(rcgen::CertifiedIssuer::der).collect();
    assert!(site.try_client(ClientAuth::Required, Some((&device, &junk[..MAX_PRESENTED - 1]))).is_ok());
    site.refused(&device, &junk, TOO_MUCH_WORK);
}

/// The search for paths goes through every order of these before it fails.
fn layers(widths: &[usize]) -> (Pair, Vec<CertificateDer<'static>>) {
    let mut ders = Vec::new();
    let mut bottom = None;
    for (depth, &width) in widths.iter().enumerate() {
        let above = root(&format!("Layer {}", depth + 1));
        for _ in 0..width {
            let authority = intermediate(&format!("Layer {depth}"), &above);
            ders.push(authority.der().clone());
            bottom = (depth == 0).then_some(authority).or(bottom);
        }
    }
    (device("device", &bottom.unwrap()), ders)
}

#[test]
fn g03_a_mesh_of_certificates_that_name_each_other_is_refused_in_little_time() {
    let site = site();
    let (pair, mesh) = layers(&[2, 2, 2, 1]);
    assert_eq!(mesh.len(), MAX_PRESENTED - 1);
    let begin = Instant::now();
    let unknown = (Reason::UnknownIssuer, AlertDescription::UnknownCA, "unknown issuer");
    site.refused(&pair, &mesh.iter().collect::<Vec<_>>(), unknown);
    // Four handshakes, not optimised, beside other tests.
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    let (pair, mesh) = layers(&[10, 10, 10, 10, 10]);
    let begin = Instant::now();
    site.refused(&pair, &mesh.iter().collect::<Vec<_>>(), TOO_MUCH_WORK);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn explanations_are_one_line_and_end_in_no_surprise() {
    let hostile = Error::General("a\nb\u{1B}".repeat(200));
    let (reason, text) = explain(&hostile, None, None);
    assert_eq!(reason, Reason::BadMessage);
    assert!(!text.chars().any(char::is_control), "{text}");
    for (error, words) in [
        (Error::AlertReceived(AlertDescription::UnknownCA), "does not trust the server's certificate"),
        (Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon), "no cipher suite in common"),
        (Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon), "no signature that the bundle's key"),
        (Error::InvalidCertificate(CertificateError::Revoked), "revoked"),
        (Error::InvalidMessage(InvalidMessage::CertificatePayloadTooLarge), "64 KiB"),
    ] {
        let text = explain(&error, None, None).1;
        assert!(text.contains(words), "{text}");
    }
}
