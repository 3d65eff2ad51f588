//! What a failed handshake says: one line of the log, one count of its reason, and the alert that belongs to it, on `ssl`
//! and `wss` alike. F-05, F-16, F-19, G-01 and G-02; each with a neighbour that enters.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::{Broker, Setup};
use postern_tests::hello::{self, Answer};
use postern_tests::http::Scrape;
use postern_tests::journal::Line;
use postern_tests::pki::{self, Authority, Credentials};
use postern_tests::raw::{self, Duplex, RawClient};
use postern_tests::shared::Shared;
use postern_tests::tls::{self, Offer};
use postern_tests::wire::{Connect, V5};
use postern_tests::{programs, tls::TlsStream};
use rcgen::{BasicConstraints, IsCa};
use rustls::AlertDescription;

use crate::frames::Frames;

const NAME: &str = "mqtt.example.org";

/// The reason, the alert, and words of the log.
type Expected<'a> = (&'a str, AlertDescription, &'a str);

/// One broker with the same settings on `ssl` and `wss`.
pub(crate) struct Site {
    pub(crate) broker: Broker,
    pub(crate) devices: Authority,
}

impl Site {
    /// `options` come after the certificates; `ca` is the whole CA file.
    pub(crate) fn start(devices: Authority, ca: &str, options: &str) -> Self {
        let listener = |kind| {
            format!(
                "listeners.{kind}.gate {{ bind = \"127.0.0.1:0\", max_unauthenticated_per_address = 100000, ssl_options {{\n\
                 certfile = server.pem, keyfile = server.key, cacertfile = ca.pem\n{options}\n}} }}\n"
            )
        };
        let http = "dashboard.listeners.http.bind = \"127.0.0.1:0\"\n";
        let config = [http, &listener("ssl"), &listener("wss")].concat();
        let setup = Setup::new(&config);
        Authority::new("Server CA").server(&[NAME]).write(setup.dir.path(), "server");
        setup.file("ca.pem", ca);
        Self { broker: setup.start(), devices }
    }

    pub(crate) fn at(&self, kind: &str) -> SocketAddr {
        self.broker.address(&format!("{kind}:gate"))
    }

    fn count(&self, kind: &str, reason: &str) -> f64 {
        let labels = format!("{{listener=\"{kind}:gate\",reason=\"{reason}\"}}");
        let series = format!("postern_tls_handshake_failures_total{labels}");
        let scrape = Scrape::of(self.broker.address("http:dashboard"));
        assert!(scrape.has(&series), "{series}");
        scrape.get(&series)
    }

    /// The one line about this client.
    fn told(&self, mark: usize, own: SocketAddr) -> Line {
        let own = own.to_string();
        let of_client = |line: &Line| line.says("refused") && line.text("peer") == own;
        self.broker.journal.expect(mark, &format!("refused for {own}"), of_client)
    }

    /// The handshake must end so, and the broker must say so: once in its log, once in its figures.
    pub(crate) fn refuses(&self, kind: &str, offer: &Offer, what: &str, expected: Expected<'_>) {
        let (reason, alert, words) = expected;
        let (mark, before) = (self.broker.journal.mark(), self.count(kind, reason));
        let (own, seen) = offer.refused_from(self.at(kind));
        let line = self.told(mark, own);
        assert_eq!(seen, alert, "{kind}, {what}: {line:?}");
        assert_eq!(line.text("reason"), reason, "{kind}, {what}: {line:?}");
        assert!(line.text("detail").contains(words), "{kind}, {what}: {words} in {line:?}");
        assert_eq!(line.text("listener"), format!("{kind}:gate"), "{line:?}");
        assert_eq!(line.text("server_name"), offer.server_name.clone().unwrap_or_default(), "{line:?}");
        let lines = self.broker.journal.since(mark);
        let lines = lines.iter().filter(|line| line.text("peer") == own.to_string()).count();
        assert_eq!(lines, 1, "{kind}, {what}: one line for one handshake");
        assert!((self.count(kind, reason) - before - 1.0).abs() < f64::EPSILON, "{kind}, {what}: not counted once");
    }

    /// The client must be let in, MQTT included.
    pub(crate) fn admits(&self, kind: &str, offer: &Offer) {
        let connect = Connect::new(V5, unique("site"));
        if kind == "ssl" {
            offer.enter(self.at(kind), &connect).admitted().leave();
            return;
        }
        let stream: TlsStream = offer.dial(self.at(kind)).unwrap().stream;
        let mut client = RawClient::over(Frames::upgrade(stream, NAME)).speaking(V5);
        client.send(&connect.bytes());
        assert_eq!(client.next("CONNACK").connack_code(), Some(0));
        client.leave();
    }
}

pub(crate) fn naming() -> Offer {
    tls::naming(NAME)
}

pub(crate) const MUTUAL: &str = "verify = verify_peer, fail_if_no_peer_cert = true";

static SITE: Shared<Site> = Shared::new(|| {
    let devices = Authority::new("Devices");
    let ca = devices.pem();
    Site::start(devices, &ca, MUTUAL)
});

#[test]
fn g_01_g_02_a_client_certificate_that_does_not_do_is_told_by_line_count_and_alert() {
    // A broker of its own: the counts are exact.
    let devices = Authority::new("Devices");
    let ca = devices.pem();
    let site = Site::start(devices, &ca, MUTUAL);
    let ca = &site.devices;
    let params = || pki::device("device-7");
    let mut authority = params();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let late = pki::valid_from_tomorrow(params());
    let plant = ca.below("Plant 1", true);
    let cases: [(&str, Option<Credentials>, Expected<'_>); 9] = [
        ("no certificate", None, ("no_certificate", AlertDescription::CertificateRequired, "sent no certificate")),
        (
            "expired",
            Some(ca.sign(&pki::expired_yesterday(params()))),
            ("expired", AlertDescription::CertificateExpired, "client certificate expired 1 day ago: CN=device-7"),
        ),
        (
            "not yet valid",
            Some(ca.sign(&late)),
            ("not_yet_valid", AlertDescription::CertificateExpired, " from now on: CN=device-7"),
        ),
        (
            "self-signed",
            Some(pki::self_signed(&params())),
            ("unknown_issuer", AlertDescription::UnknownCA, "(unknown issuer, or an intermediate"),
        ),
        (
            "without its intermediate",
            Some(plant.device("device-7").leaf_alone()),
            ("unknown_issuer", AlertDescription::UnknownCA, ": CN=device-7"),
        ),
        (
            "another CA of the same name",
            Some(Authority::new("Devices").device("device-7")),
            ("bad_signature", AlertDescription::BadCertificate, "a signature is wrong"),
        ),
        (
            "for servers",
            Some(ca.sign(&pki::for_servers_only(params()))),
            ("wrong_purpose", AlertDescription::UnsupportedCertificate, "not for client authentication"),
        ),
        (
            "a CA as leaf",
            Some(ca.sign(&authority)),
            ("bad_certificate", AlertDescription::BadCertificate, "is a CA certificate"),
        ),
        (
            "an intermediate that is no CA",
            Some(ca.below("No CA", false).device("device-7")),
            ("bad_certificate", AlertDescription::BadCertificate, "issued by one that is not a CA"),
        ),
    ];
    for kind in ["ssl", "wss"] {
        for (what, credentials, expected) in &cases {
            let offer = credentials.as_ref().map_or_else(naming, |shown| naming().showing(shown));
            site.refuses(kind, &offer, what, *expected);
            site.refuses(kind, &offer.tls12(), what, *expected);
        }
        site.admits(kind, &naming().showing(&plant.device("device-7")));
        site.admits(kind, &naming().tls12().showing(&ca.device("device-7")));
    }
    assert_alive(&site.broker);
}

#[test]
fn g_03_chains_without_end_are_refused_in_little_time() {
    /// Of 10 ms each, for eight handshakes in an unoptimised build.
    const TICKS_MAX: u64 = 400;
    let site = SITE.get();
    let ca = &site.devices;
    let with = |others: usize| {
        let mut credentials = ca.device("device-7");
        let filler = Authority::new("Filler").certificate();
        credentials.chain.extend(std::iter::repeat_n(filler, others));
        naming().showing(&credentials)
    };
    let before = site.broker.cpu_ticks();
    for kind in ["ssl", "wss"] {
        for offer in [with(14), with(14).tls12()] {
            let (own, alert) = offer.refused_from(site.at(kind));
            assert_eq!(alert, AlertDescription::BadCertificate);
            let line = site.told(0, own);
            assert_eq!(line.text("reason"), "bad_certificate", "{line:?}");
            assert!(line.text("detail").contains("more work to verify than is allowed"), "{line:?}");
        }
        // More than 64 KiB.
        for offer in [with(300), with(300).tls12()] {
            // It is closed with most of that unread, and the reset may overtake the alert.
            let (own, entry) = offer.enter_from(site.at(kind), &Connect::new(V5, "g03"));
            assert!(!entry.is_admitted(), "{entry:?}");
            let line = site.told(0, own);
            assert_eq!(line.text("reason"), "bad_message", "{line:?}");
            assert!(line.text("detail").contains("exceeds 64 KiB"), "{line:?}");
        }
        site.admits(kind, &with(3));
    }
    let used = site.broker.cpu_ticks() - before;
    assert!(used < TICKS_MAX, "{used} ticks");
    assert_alive(&site.broker);
}

#[test]
fn f_16_f_19_protocols_that_are_not_served_get_no_application_protocol() {
    let site = SITE.get();
    let device = site.devices.device("device");
    for (kind, served) in [("ssl", "mqtt"), ("wss", "http/1.1")] {
        for offered in ["x-amzn-mqtt-ca", "mqtt\nrefused\u{1b}[2J"] {
            let (own, alert) = naming().showing(&device).alpn(&[offered]).refused_from(site.at(kind));
            assert_eq!(alert, AlertDescription::NoApplicationProtocol);
            let line = site.told(0, own);
            assert_eq!(line.text("reason"), "alpn", "{line:?}");
            assert!(!line.raw.contains(char::is_control), "{line:?}");
        }
        site.admits(kind, &naming().showing(&device).alpn(&[served]));
    }
    assert_alive(&site.broker);
}

/// Sends the bytes, and gives the alert that came, if one did, and the line of the log.
fn raw_bytes(site: &Site, kind: &str, bytes: &[u8]) -> (Answer, Line) {
    let mark = site.broker.journal.mark();
    let mut client = raw::dial(site.at(kind));
    let own = client.stream.local_addr().unwrap();
    client.send(bytes);
    (hello::answer(&mut client), site.told(mark, own))
}

#[test]
fn f_05_old_versions_and_other_protocols_are_told_apart() {
    let site = SITE.get();
    let mut tls_1_0 = hello::naming(NAME).records(16_384);
    tls_1_0[9..11].copy_from_slice(&[3, 1]);
    let ssl_2 = [&[0x80, 0x2E, 0x01, 0x00, 0x02, 0x00, 0x15, 0x00, 0x00, 0x00, 0x10][..], &[0; 37]].concat();
    for kind in ["ssl", "wss"] {
        for (bytes, alert, reason, words) in [
            (&tls_1_0[..], Some(70), "no_common_version", "the client offers no TLS version"),
            (&ssl_2, Some(70), "no_common_version", "SSL in the format of its version 2"),
            (&Connect::new(V5, "f05").bytes(), None, "not_tls", "does not speak TLS"),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", None, "not_tls", "does not speak TLS"),
        ] {
            let (answer, line) = raw_bytes(&site, kind, bytes);
            assert_eq!(line.text("reason"), reason, "{line:?}");
            assert!(line.text("detail").contains(words), "{line:?}");
            match alert {
                Some(alert) => assert_eq!(answer, Answer::Alert(alert), "{line:?}"),
                None => assert!(!matches!(answer, Answer::Served(_)), "{answer:?}"),
            }
        }
        for name in [&b"a\nrefused.example.org"[..], b"a\x1b[2J.example.org", b" host"] {
            let (answer, line) = raw_bytes(&site, kind, &hello::naming(name).records(16_384));
            assert_eq!(answer, Answer::Alert(112), "{line:?}");
            assert_eq!(line.text("reason"), "invalid_name", "{line:?}");
            assert!(!line.raw.contains(char::is_control), "{line:?}");
        }
        site.admits(kind, &naming().tls12().showing(&site.devices.device("f05")));
    }
    assert_alive(&site.broker);
}

/// `openssl s_client`, which is another's idea of TLS.
fn openssl(site: &Site, kind: &str, more: &[&str]) -> (String, Line) {
    let mark = site.broker.journal.mark();
    let address = site.at(kind).to_string();
    let fixed = ["s_client", "-connect", &address, "-servername", NAME];
    let text = programs::run("openssl", &[&fixed[..], more].concat(), b"Q\n").text;
    let listener = format!("{kind}:gate");
    let of_listener = |line: &Line| line.says("refused") && line.text("listener") == listener;
    (text, site.broker.journal.expect(mark, "refused", of_listener))
}

#[test]
fn f_05_openssl_hears_the_alert_that_fits_what_is_not_common() {
    // A broker of its own: lines are found by their listener.
    let devices = Authority::new("Devices");
    let ca = devices.pem();
    let site = Site::start(devices, &ca, "verify = verify_none");
    let dir = site.broker.dir();
    let (stranger, _) = Authority::new("Stranger").server(&[NAME]).write(dir, "stranger");
    let stranger = stranger.display().to_string();
    for kind in ["ssl", "wss"] {
        for (offer, alert, reason) in [
            (&["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"][..], "alert protocol version", "no_common_version"),
            (&["-tls1", "-cipher", "DEFAULT:@SECLEVEL=0"], "alert protocol version", "no_common_version"),
            (&["-tls1_2", "-cipher", "AES128-SHA"], "alert handshake failure", "no_common_cipher"),
            (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "alert handshake failure", "no_common_cipher"),
            (&["-tls1_3", "-groups", "P-521"], "alert handshake failure", "no_common_group"),
            (&["-tls1_2", "-groups", "P-521"], "alert handshake failure", "no_common_group"),
            (&["-sigalgs", "RSA+SHA256:RSA-PSS+SHA256"], "alert handshake failure", "no_common_signature"),
            (&["-alpn", "x-unknown"], "alert no application protocol", "alpn"),
            // Its own alert: it does not know the CA.
            (&["-verify_return_error", "-CAfile", &stranger], "verify error", "client_alert"),
        ] {
            let (text, line) = openssl(&site, kind, offer);
            assert!(text.contains(alert), "{offer:?}: {text}");
            assert_eq!(line.text("reason"), reason, "{offer:?}: {line:?}");
        }
        site.admits(kind, &naming());
    }
    assert_alive(&site.broker);
}

#[test]
fn who_goes_away_and_who_is_too_slow_are_counted_as_such() {
    let devices = Authority::new("Devices");
    let ca = devices.pem();
    let site = Site::start(devices, &ca, "handshake_timeout = 1s");
    let hello = hello::naming(NAME).records(16_384);
    for kind in ["ssl", "wss"] {
        let mark = site.broker.journal.mark();
        let mut gone = raw::dial(site.at(kind));
        gone.send(&hello[..40]);
        let own = gone.stream.local_addr().unwrap();
        drop(gone);
        assert_eq!(site.told(mark, own).text("reason"), "closed");
        let mut slow = raw::dial(site.at(kind));
        slow.send(&hello[..40]);
        let line = site.told(mark, slow.stream.local_addr().unwrap());
        assert_eq!((line.text("reason"), line.text("why")), ("timeout".into(), "timed_out".into()), "{line:?}");
        for reason in ["closed", "timeout"] {
            let end = Instant::now() + Duration::from_secs(20);
            while site.count(kind, reason) < 1.0 {
                assert!(Instant::now() < end, "{reason} is never counted");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        site.admits(kind, &naming());
    }
    assert_alive(&site.broker);
}

#[test]
fn f_04_hellos_in_pieces_and_broken_off_are_one_hello_or_one_refusal() {
    // TLS 1.2 alone tells its certificate in the clear.
    let devices = Authority::new("Devices");
    let ca = devices.pem();
    let site = Site::start(devices, &ca, "verify = verify_none");
    let honest = hello::naming(NAME);
    let whole = honest.records(16_384);
    for kind in ["ssl", "wss"] {
        for pieces in [honest.records(60), honest.records(40), whole.clone()] {
            let mut client = raw::dial(site.at(kind));
            // Each byte in a segment of its own.
            for byte in pieces {
                client.send(&[byte]);
            }
            assert!(matches!(hello::answer(&mut client), Answer::Served(_)), "{kind}");
        }
        for (what, bytes, reasons) in [
            ("empty records", hello::record(&[]).repeat(2_000), &["bad_message"][..]),
            ("close_notify first", vec![21, 3, 3, 0, 2, 1, 0], &["closed", "bad_message", "client_alert"]),
            ("application data first", [&[23, 3, 3, 0, 16][..], &[0; 16]].concat(), &["bad_message"]),
            ("a hello that ends in its middle", [&whole[..40], &hello::record(&[0; 40])].concat(), &["closed"]),
        ] {
            let mark = site.broker.journal.mark();
            let mut client = raw::dial(site.at(kind));
            let own = client.stream.local_addr().unwrap();
            client.send(&bytes);
            client.stream.shut_writes();
            let line = site.told(mark, own);
            assert!(reasons.contains(&line.text("reason").as_str()), "{what}: {line:?}");
        }
        site.admits(kind, &naming());
    }
    assert_alive(&site.broker);
}
