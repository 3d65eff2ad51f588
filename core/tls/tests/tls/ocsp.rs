//! H-10 and F-18 without sockets: which answers are stapled, to whom, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use postern_identity::ClientAuthWish;
use postern_tls::{Bundle, NoQuestion, OcspFault, OcspQuestion, ServerConfigs, TlsPolicy};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SigningKey};
use rustls::SupportedProtocolVersion;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;

use crate::pki::{Authority, Files, NOW, Pair, cert_pem, intermediate, issue, named, root, server_params};
use crate::wire::{BOTH, client, handshake};

const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
const DAY: i64 = 24 * 3600;

// ---- a responder -----------------------------------------------------------------------------------------

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82][..], &length, content].concat()
}

/// The same with the shortest length, as DER has it.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    match content.len() {
        0..0x80 => [&[tag, u8::try_from(content.len()).unwrap()][..], &content].concat(),
        0x80..0x100 => [&[tag, 0x81, u8::try_from(content.len()).unwrap()][..], &content].concat(),
        _ => tlv(tag, &content),
    }
}

fn time(unix_s: i64) -> Vec<u8> {
    let time = x509_parser::time::ASN1Time::from_timestamp(unix_s).unwrap().to_datetime();
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let text = format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}Z", time.hour(), time.minute(), time.second());
    der(0x18, &[text.as_bytes()])
}

const GOOD: &[u8] = &[0x80, 0];
const UNKNOWN: &[u8] = &[0x82, 0];
const ECDSA_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 2];

/// A response as it is about to be signed.
struct Draft {
    /// `CertID` as DER.
    id: Vec<u8>,
    status: Vec<u8>,
    this_update: i64,
    next_update: Option<i64>,
    extensions: Vec<u8>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Draft {
    /// Good for a day, about what is asked.
    fn good(question: &OcspQuestion) -> Self {
        // OCSPRequest, TBSRequest, requestList and Request are each a SEQUENCE around the next, which ends with it.
        let id = (0..4).fold(question.request(), |outer, _| &outer[2 + usize::from(outer[1] > 0x7F)..]);
        Self {
            id: id.to_vec(),
            status: GOOD.to_vec(),
            this_update: NOW,
            next_update: Some(NOW + DAY),
            extensions: Vec::new(),
            certificates: Vec::new(),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// By this key, under this name.
    fn signed(&self, name: &[u8], key: &KeyPair) -> Vec<u8> {
        let next = self.next_update.map(|next| der(0xA0, &[&time(next)])).unwrap_or_default();
        let single = der(0x30, &[&self.id, &self.status, &time(self.this_update), &next]);
        let (by, singles) = (der(0xA1, &[name]), der(0x30, &[&single]));
        let data = der(0x30, &[&by, &time(self.this_update), &singles, &self.extensions]);
        let signature = der(0x03, &[&[0], &key.sign(&data).unwrap()]);
        let certificates: Vec<&[u8]> = self.certificates.iter().map(AsRef::as_ref).collect();
        let certificates = der(0xA0, &[&der(0x30, &certificates)]);
        let basic = der(0x30, &[&data, ECDSA_SHA256, &signature, &certificates]);
        let kind = [6, 9, 0x2B, 6, 1, 5, 5, 7, 0x30, 1, 1];
        der(0x30, &[&[0x0A, 1, 0], &der(0xA0, &[&der(0x30, &[&kind, &der(0x04, &[&basic])])])])
    }

    fn signed_by(&self, authority: &Authority) -> Vec<u8> {
        self.signed(&subject(authority.der()), authority.key())
    }
}

fn subject(certificate: &CertificateDer<'_>) -> Vec<u8> {
    use x509_parser::prelude::FromDer;
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(certificate).unwrap();
    certificate.subject().as_raw().to_vec()
}

// ---- the cases -------------------------------------------------------------------------------------------

struct Site {
    ca: Authority,
    bundle: Arc<Bundle>,
    question: OcspQuestion,
}

fn site() -> Site {
    let ca = root("CA");
    let pair = issue(&server_params(&["a.example"]), &ca);
    let files = Files { chain: cert_pem(&[&pair.cert, ca.der()]), ..Files::of(&pair) };
    let bundle = files.bundle("bundle");
    let question = bundle.ocsp_question(&[]).unwrap();
    Site { ca, bundle, question }
}

impl Site {
    fn verify(&self, response: &[u8]) -> Result<(), OcspFault> {
        self.question.verify(response, NOW).map(|answer| assert_eq!(answer.der, response))
    }

    fn draft(&self) -> Draft {
        Draft::good(&self.question)
    }

    fn verdict(&self, change: impl FnOnce(&mut Draft)) -> Result<(), OcspFault> {
        self.verify(&self.draft().with(change).signed_by(&self.ca))
    }

    /// What a responder with this certificate gets for its answer.
    fn by_delegate(&self, params: &CertificateParams, issuer: &Authority) -> Result<(), OcspFault> {
        let Pair { cert, key } = issue(params, issuer);
        self.verify(&self.draft().with(|draft| draft.certificates.push(cert.clone())).signed(&subject(&cert), &key))
    }
}

fn responder(usages: &[ExtendedKeyUsagePurpose]) -> CertificateParams {
    let mut params = named("Responder");
    params.extended_key_usages = usages.to_vec();
    params
}

#[test]
fn a_good_answer_is_taken_with_its_times() {
    let site = site();
    let answer = site.question.verify(&site.draft().signed_by(&site.ca), NOW).unwrap();
    assert_eq!((answer.this_update, answer.next_update), (NOW, Some(NOW + DAY)));
    let open = site.draft().with(|draft| draft.next_update = None).signed_by(&site.ca);
    assert_eq!(site.question.verify(&open, NOW).unwrap().next_update, None);
}

#[test]
fn h10_an_answer_counts_within_its_time_alone() {
    let site = site();
    let response = site.draft().signed_by(&site.ca);
    assert!(site.question.verify(&response, NOW + DAY - 1).is_ok());
    assert_eq!(site.question.verify(&response, NOW + DAY).unwrap_err(), OcspFault::Expired);
    assert_eq!(site.question.verify(&response, NOW - 3600).unwrap_err(), OcspFault::NotYetValid);
    assert!(site.question.verify(&response, NOW - 60).is_ok(), "a clock that is a little slow");
}

#[test]
fn h10_what_is_said_of_the_certificate_counts() {
    let site = site();
    let revoked = [&[0xA1, 17][..], &time(NOW - DAY)].concat();
    let since_unix_s = NOW - DAY;
    assert_eq!(site.verdict(|draft| draft.status = revoked), Err(OcspFault::Revoked { since_unix_s }));
    assert_eq!(site.verdict(|draft| draft.status = UNKNOWN.to_vec()), Err(OcspFault::Unknown));
}

#[test]
fn h10_an_answer_about_another_certificate_is_none() {
    let site = site();
    let other = issue(&server_params(&["a.example"]), &site.ca);
    let chain = cert_pem(&[&other.cert, site.ca.der()]);
    let other = Files { chain, ..Files::of(&other) }.bundle("other").ocsp_question(&[]).unwrap();
    assert_eq!(site.verdict(|draft| draft.id = Draft::good(&other).id), Err(OcspFault::OtherCertificate));
    // The same serial number of another issuer.
    let last = site.draft().id.len();
    for place in [last - 30, last - 50] {
        let verdict = site.verdict(|draft| draft.id[place] ^= 1);
        assert!(matches!(verdict, Err(OcspFault::OtherCertificate | OcspFault::Malformed)), "{verdict:?}");
    }
}

#[test]
fn h10_who_signs_must_be_the_issuer_or_made_a_responder_by_it() {
    use ExtendedKeyUsagePurpose::{ClientAuth, OcspSigning, ServerAuth};
    let site = site();
    assert_eq!(site.by_delegate(&responder(&[OcspSigning]), &site.ca), Ok(()));
    assert_eq!(site.by_delegate(&responder(&[ServerAuth, ClientAuth]), &site.ca), Err(OcspFault::Signer));
    assert_eq!(site.by_delegate(&responder(&[]), &site.ca), Err(OcspFault::Signer));
    let mut expired = responder(&[OcspSigning]);
    expired.not_after = rcgen::date_time_ymd(2026, 1, 1);
    assert_eq!(site.by_delegate(&expired, &site.ca), Err(OcspFault::Signer));
    // Another authority of the same name, and one below the right one.
    assert_eq!(site.by_delegate(&responder(&[OcspSigning]), &root("CA")), Err(OcspFault::Signer));
    let below = intermediate("Below", &site.ca);
    assert_eq!(site.by_delegate(&responder(&[OcspSigning]), &below), Err(OcspFault::Signer));
    // A certificate that is right, and a key that is not its own.
    let Pair { cert, .. } = issue(&responder(&[OcspSigning]), &site.ca);
    let draft = site.draft().with(|draft| draft.certificates.push(cert.clone()));
    let stranger = KeyPair::generate().unwrap();
    assert_eq!(site.verify(&draft.signed(&subject(&cert), &stranger)), Err(OcspFault::Signature));
    assert_eq!(site.verify(&draft.signed(&subject(site.ca.der()), &stranger)), Err(OcspFault::Signature));
    assert_eq!(site.verify(&site.draft().signed(&subject(&cert), &stranger)), Err(OcspFault::Signer));
}

#[test]
fn h10_no_byte_of_an_answer_can_be_changed() {
    let site = site();
    let response = site.draft().signed_by(&site.ca);
    assert_eq!(site.verify(&response), Ok(()));
    let mut taken = Vec::new();
    for place in 0..response.len() {
        let mut damaged = response.clone();
        damaged[place] ^= 1;
        if site.question.verify(&damaged, NOW).is_ok() {
            taken.push(place);
        }
        assert!(site.question.verify(&response[..place], NOW).is_err(), "cut short at {place}");
    }
    assert_eq!(taken, Vec::<usize>::new());
    for garbage in [&b""[..], b"\x30\x80", b"<html>", &[0x30; 10_000], &[0x30, 3, 0x0A, 1, 0]] {
        assert_eq!(site.verify(garbage), Err(OcspFault::Malformed));
    }
    assert_eq!(site.verify(&[0x30, 3, 0x0A, 1, 3]), Err(OcspFault::Unsuccessful("tryLater")));
    assert_eq!(site.verify(&[0x30, 3, 0x0A, 1, 6]), Err(OcspFault::Unsuccessful("unauthorized")));
}

#[test]
fn the_issuer_is_named_or_in_the_chain_or_among_the_cas() {
    let (ca, other) = (root("CA"), root("CA"));
    let pair = issue(&server_params(&["a.example"]), &ca);
    let alone = Files::of(&pair);
    let refused = alone.bundle("b").ocsp_question(&[other.der().clone()]);
    assert_eq!(refused, Err(NoQuestion::NoIssuer { issuer: "CN=CA".to_owned() }));
    let named = alone.bundle("b").ocsp_question(&[other.der().clone(), ca.der().clone()]).unwrap();
    let in_chain = Files { chain: cert_pem(&[&pair.cert, ca.der()]), ..Files::of(&pair) };
    assert_eq!(in_chain.bundle("b").ocsp_question(&[]), Ok(named.clone()));
    assert_eq!(Files::of(&pair).trusting(&[&other, &ca]).bundle("b").ocsp_question(&[]), Ok(named));
}

#[test]
fn a_certificate_says_whom_to_ask_and_whether_it_must_be_stapled() {
    let ca = root("CA");
    let with = |extension: Option<rcgen::CustomExtension>| {
        let mut params = server_params(&["a.example"]);
        params.custom_extensions.extend(extension);
        Files::of(&issue(&params, &ca)).bundle("b")
    };
    let url = b"http://ocsp.example/a";
    let access = der(0x30, &[&der(0x30, &[&[6, 8, 0x2B, 6, 1, 5, 5, 7, 0x30, 1], &der(0x86, &[url])])]);
    let access = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access);
    let feature = vec![0x30, 3, 2, 1, 5];
    let feature = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], feature);
    let (plain, asked, must) = (with(None), with(Some(access)), with(Some(feature)));
    assert_eq!((plain.ocsp_responders(), plain.must_staple()), (vec![], false));
    assert_eq!((asked.ocsp_responders(), asked.must_staple()), (vec!["http://ocsp.example/a".to_owned()], false));
    assert_eq!((must.ocsp_responders(), must.must_staple()), (vec![], true));
}

// ---- what clients get ------------------------------------------------------------------------------------

#[derive(Debug)]
struct Clock(AtomicU64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed))))
    }
}

/// Keeps the response that it was shown.
#[derive(Debug, Default)]
struct Seen(std::sync::Mutex<Vec<u8>>);

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        response: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = response.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What is stapled to a handshake of a client that asks for it.
fn stapled(configs: &ServerConfigs, site: &Site, versions: &[&'static SupportedProtocolVersion]) -> Vec<u8> {
    let seen = Arc::new(Seen::default());
    let mut client = client(site.ca.der(), None, versions);
    client.dangerous().set_certificate_verifier(Arc::clone(&seen) as _);
    handshake(&configs.get(&site.bundle, ClientAuthWish::None).unwrap(), client, "a.example").unwrap();
    let response = seen.0.lock().unwrap();
    response.clone()
}

#[test]
fn f18_a_response_is_stapled_until_it_ends_and_where_stapling_is_on() {
    let site = site();
    let clock = Arc::new(Clock(AtomicU64::new(NOW.unsigned_abs())));
    let listener =
        |stapling| ServerConfigs::by_clock(TlsPolicy { stapling, ..TlsPolicy::default() }, Arc::clone(&clock) as _);
    let (on, off) = (listener(true), listener(false));
    for versions in [BOTH, TLS12] {
        clock.0.store(NOW.unsigned_abs(), Ordering::Relaxed);
        site.bundle.staple().clear();
        assert_eq!(stapled(&on, &site, versions), b"", "nothing is there yet");
        let answer = site.question.verify(&site.draft().signed_by(&site.ca), NOW).unwrap();
        site.bundle.staple_until(answer.clone(), NOW + 60);
        assert_eq!(site.bundle.staple().ends_unix_s(), Some(NOW + 60));
        assert_eq!(stapled(&on, &site, versions), answer.der);
        assert_eq!(stapled(&off, &site, versions), b"", "the listener staples nothing");
        clock.0.fetch_add(59, Ordering::Relaxed);
        assert_eq!(stapled(&on, &site, versions), answer.der);
        clock.0.fetch_add(1, Ordering::Relaxed);
        assert_eq!(stapled(&on, &site, versions), b"", "nobody took it away, and yet it is over");
    }
}

#[test]
fn a_bundle_that_is_read_anew_inherits_what_is_stapled_to_the_same_certificate() {
    let site = site();
    let answer = site.question.verify(&site.draft().signed_by(&site.ca), NOW).unwrap();
    site.bundle.staple_until(answer, NOW + 60);
    let other = crate::pki::bundle("other", &["a.example"]);
    other.inherit_staple(&site.bundle);
    assert_eq!(other.staple().ends_unix_s(), None);
    other.staple().clear();
    site.bundle.inherit_staple(&other);
    assert_eq!(site.bundle.staple().ends_unix_s(), Some(NOW + 60), "nothing to inherit takes nothing away");
}
