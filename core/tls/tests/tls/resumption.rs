//! H-11 to H-13 and H-16 without sockets: who resumes what, and what is asked then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use postern_identity::{CertFacts, ClientAuthWish};
use postern_tls::{Bundle, ClientAuth, Reason, Resumption, ServerConfigs, TlsPolicy};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};

use crate::pki::{Authority, Files, NOW, Pair, device_params, issue, root, server_pair};
use crate::wire::{BOTH, client, shake};

const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

const TICKETS: Resumption = Resumption { tickets: 1, session_ids: false, lifetime: Duration::from_hours(2) };
const IDS: Resumption = Resumption { tickets: 0, session_ids: true, lifetime: Duration::from_hours(2) };

#[derive(Debug)]
struct Clock(AtomicU64);

impl Clock {
    fn at_now() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(NOW.unsigned_abs())))
    }

    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }

    fn unix_s(&self) -> i64 {
        i64::try_from(self.0.load(Ordering::Relaxed)).unwrap()
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed))))
    }
}

struct Site {
    server_ca: Authority,
    client_ca: Authority,
    files: Files,
    clock: Arc<Clock>,
}

fn site() -> Site {
    let (server_ca, client_ca) = (root("Server CA"), root("Client CA"));
    let files = Files::of(&server_pair(&["a.example", "*.a.example"], &server_ca)).trusting(&[&client_ca]);
    Site { server_ca, client_ca, files, clock: Clock::at_now() }
}

impl Site {
    fn bundle(&self) -> Arc<Bundle> {
        self.files.bundle("bundle")
    }

    fn listener(&self, client_auth: ClientAuth, resumption: Resumption) -> ServerConfigs {
        let policy = TlsPolicy { client_auth, resumption, ..TlsPolicy::default() };
        ServerConfigs::by_clock(policy, Arc::clone(&self.clock) as _)
    }

    fn device(&self) -> Pair {
        issue(&device_params("device"), &self.client_ca)
    }

    /// A client that keeps what it is given to come back with.
    fn client(&self, device: &Pair, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        Arc::new(client(self.server_ca.der(), Some((device, &[])), versions))
    }
}

/// Whether the handshake resumed a session, and what certificate the server holds for the client's.
fn resumed(
    listener: &ServerConfigs,
    bundle: &Arc<Bundle>,
    client: &Arc<ClientConfig>,
) -> (bool, Option<Vec<CertificateDer<'static>>>) {
    let done = shake(&listener.get(bundle, ClientAuthWish::None).unwrap(), client, "a.example").unwrap();
    let certificates = done.server.peer_certificates().map(<[_]>::to_vec);
    (done.server.handshake_kind() == Some(HandshakeKind::Resumed), certificates)
}

#[test]
fn what_is_switched_on_is_resumed_and_nothing_else() {
    let site = site();
    let device = site.device();
    let off = Resumption { tickets: 0, session_ids: false, ..TICKETS };
    for (resumption, tls12, tls13) in [(off, false, false), (TICKETS, true, true), (IDS, true, false)] {
        for (versions, wanted) in [(TLS12, tls12), (TLS13, tls13), (BOTH, tls13)] {
            for auth in [ClientAuth::Off, ClientAuth::Required] {
                let (bundle, listener) = (site.bundle(), site.listener(auth, resumption));
                let client = site.client(&device, versions);
                assert!(!resumed(&listener, &bundle, &client).0, "the first time");
                let (second, shown) = resumed(&listener, &bundle, &client);
                assert_eq!(second, wanted, "{resumption:?} {versions:?} {auth:?}");
                // Whom the client showed itself to be comes along, however the session came back.
                assert_eq!(shown.is_some(), auth == ClientAuth::Required, "{resumption:?} {versions:?} {auth:?}");
            }
        }
    }
}

#[test]
fn a_client_is_given_as_many_tickets_as_the_policy_says_and_no_early_data() {
    let site = site();
    for tickets in [1, 3] {
        let listener = site.listener(ClientAuth::Off, Resumption { tickets, ..TICKETS });
        let config = listener.get(&site.bundle(), ClientAuthWish::None).unwrap();
        assert_eq!(config.max_early_data_size, 0);
        let done = shake(&config, &site.client(&site.device(), TLS13), "a.example").unwrap();
        assert_eq!(done.client.tls13_tickets_received(), u32::from(tickets));
    }
}

#[test]
fn h12_another_listener_another_generation_and_another_strictness_know_no_session() {
    let site = site();
    let device = site.device();
    let (first, second) = (site.bundle(), site.bundle());
    for (resumption, versions) in [(TICKETS, TLS13), (TICKETS, TLS12), (IDS, TLS12)] {
        let listener = site.listener(ClientAuth::Optional, resumption);
        let client = site.client(&device, versions);
        let begin = || {
            resumed(&listener, &first, &client);
            assert!(resumed(&listener, &first, &client).0, "the neighbour: its own session is resumed");
        };
        begin();
        let (again, shown) = resumed(&listener, &second, &client);
        assert!(!again && shown.is_some(), "a bundle that was replaced by the same files: {resumption:?}");
        begin();
        let elsewhere = site.listener(ClientAuth::Optional, resumption);
        assert!(!resumed(&elsewhere, &first, &client).0, "another listener: {resumption:?}");
        begin();
        let stricter = listener.get(&first, ClientAuthWish::Required).unwrap();
        let done = shake(&stricter, &client, "a.example").unwrap();
        assert_ne!(done.server.handshake_kind(), Some(HandshakeKind::Resumed), "stricter: {resumption:?}");
    }
}

#[test]
fn h12_who_came_without_a_certificate_is_asked_where_one_is_required() {
    let site = site();
    for (resumption, versions) in [(TICKETS, TLS13), (TICKETS, TLS12), (IDS, TLS12)] {
        let (bundle, open) = (site.bundle(), site.listener(ClientAuth::Off, resumption));
        let nobody = Arc::new(client(site.server_ca.der(), None, versions));
        resumed(&open, &bundle, &nobody);
        assert!(resumed(&open, &bundle, &nobody).0);
        let strict = site.listener(ClientAuth::Required, resumption);
        let config = strict.get(&bundle, ClientAuthWish::None).unwrap();
        let error = shake(&config, &nobody, "a.example").map(|_| ()).unwrap_err();
        assert_eq!(error.error, rustls::Error::NoCertificatesPresented, "{resumption:?}");
    }
}

#[test]
fn h13_a_certificate_that_expired_since_is_not_good_any_more() {
    let site = site();
    let mut params = device_params("device");
    // Sixteen hours after NOW.
    params.not_after = rcgen::date_time_ymd(2027, 1, 16);
    let device = issue(&params, &site.client_ca);
    for (resumption, versions) in [(TICKETS, TLS13), (TICKETS, TLS12), (IDS, TLS12)] {
        site.clock.0.store(NOW.unsigned_abs() + 15 * 3600, Ordering::Relaxed);
        let (bundle, listener) = (site.bundle(), site.listener(ClientAuth::Required, resumption));
        let client = site.client(&device, versions);
        let judged = || {
            let (again, shown) = resumed(&listener, &bundle, &client);
            let verdict = listener.judge(&bundle, ClientAuthWish::None, &shown.unwrap(), site.clock.unix_s());
            (again, verdict.unwrap().unwrap())
        };
        let (again, _) = judged();
        assert!(!again, "the first time");
        let (again, verdict) = judged();
        let path: Vec<Arc<CertFacts>> = verdict.unwrap();
        assert!(again);
        assert_eq!(path[0].der, device.cert.as_ref());
        site.clock.advance(3600 + 60);
        let (again, verdict) = judged();
        assert!(again, "the session itself lives on: {resumption:?}");
        let rejected = verdict.unwrap_err();
        assert_eq!(rejected.subject.as_deref(), Some("CN=device"));
        assert_eq!(rejected.reason(), Reason::Expired, "{rejected}");
    }
}

#[test]
fn a_session_is_not_resumed_after_its_lifetime() {
    let site = site();
    let device = site.device();
    let short = Duration::from_mins(10);
    for (resumption, versions) in [(TICKETS, TLS13), (TICKETS, TLS12), (IDS, TLS12)] {
        for (passed_s, wanted) in [(599, true), (601, false)] {
            let resumption = Resumption { lifetime: short, ..resumption };
            let (bundle, listener) = (site.bundle(), site.listener(ClientAuth::Off, resumption));
            let client = site.client(&device, versions);
            resumed(&listener, &bundle, &client);
            site.clock.advance(passed_s);
            assert_eq!(resumed(&listener, &bundle, &client).0, wanted, "{resumption:?} after {passed_s} s");
        }
    }
}

#[test]
fn a_client_with_more_certificates_than_a_session_holds_enters_and_is_given_none() {
    let site = site();
    let mut params = device_params("device");
    let names = (0..200).map(|n| {
        rcgen::SanType::DnsName(format!("device-{n}.of-a-site-with-a-long-name.somewhere.example").try_into().unwrap())
    });
    params.subject_alt_names = names.collect();
    let device = issue(&params, &site.client_ca);
    for (resumption, versions) in [(TICKETS, TLS13), (TICKETS, TLS12), (IDS, TLS12)] {
        let (bundle, listener) = (site.bundle(), site.listener(ClientAuth::Required, resumption));
        let client = site.client(&device, versions);
        for _ in 0..2 {
            let (again, shown) = resumed(&listener, &bundle, &client);
            assert!(!again && shown.is_some(), "{resumption:?}");
        }
    }
}
