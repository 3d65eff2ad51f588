//! H-11 to H-13, H-16 and F-06 where resumption is switched on: what is resumed is judged anew, and nothing crosses over
//! to another name, listener or strictness.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::{Broker, Setup};
use postern_tests::http::Scrape;
use postern_tests::journal::Line;
use postern_tests::pki::{self, Authority, Crl};
use postern_tests::programs;
use postern_tests::tls::{self, Entry, Returning};
use postern_tests::wire::{self, Connect, V3_1_1, V5};
use rustls::HandshakeKind;

use crate::fixture::{Certificates, REQUIRED, entry, listener, mtls_identity, name, namespace_lookup};

const BOTH: &str = "session_tickets = stateless_with_cert, reuse_sessions = true";

struct Site {
    broker: Broker,
    certificates: Certificates,
}

impl Site {
    fn start() -> Self {
        let certificates = Certificates::make();
        let open = [namespace_lookup(), entry("sni-selector", "")];
        let mutual = [&open[..], &[mtls_identity(r#"{ source = "subject.cn", set = "username" }"#)]].concat();
        let wss = |text: String| text.replace("listeners.ssl.", "listeners.wss.");
        let listeners = [
            listener("open", &format!("verify = verify_none, {BOTH}"), &open),
            wss(listener("open", &format!("verify = verify_none, {BOTH}"), &open)),
            listener("tickets", "verify = verify_none, session_tickets = stateless", &open),
            listener("ids", "verify = verify_none, reuse_sessions = true", &open),
            listener("off", "verify = verify_none, session_tickets = disabled, reuse_sessions = false", &open),
            listener("mutual", &format!("{REQUIRED}, {BOTH}"), &mutual),
            wss(listener("mutual", &format!("{REQUIRED}, {BOTH}"), &mutual)),
        ];
        let setup = Setup::new(&listeners.concat())
            .and("dashboard.listeners.http.bind = \"127.0.0.1:0\"")
            .and("node { tls_server_session_tickets_amount = 3, tls_server_session_ticket_lifetime = 5400 }");
        certificates.write(&setup);
        Self { broker: setup.start(), certificates }
    }

    fn at(&self, listener: &str) -> SocketAddr {
        self.broker.address(listener)
    }

    fn scrape(&self) -> Scrape {
        Scrape::of(self.at("http:dashboard"))
    }

    /// What `openssl s_client` says of a connection that saves, or offers, a session.
    fn openssl(&self, listener: &str, name: &str, more: &[&str]) -> String {
        let address = self.at(listener).to_string();
        let fixed = ["s_client", "-connect", &address, "-servername", name, "-ign_eof"];
        // What the broker answers brings the tickets along, and its goodbye ends the program.
        let input = if listener.starts_with("wss") {
            b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()
        } else {
            [&Connect::new(V3_1_1, unique("h")).bytes()[..], &wire::DISCONNECT].concat()
        };
        programs::run("openssl", &[&fixed[..], more].concat(), &input).text
    }

    fn path(&self, name: &str) -> String {
        self.broker.dir().join(name).display().to_string()
    }

    /// A device of Acme's, in the words of `openssl s_client`.
    fn device(&self, name: &str) -> [String; 4] {
        let (certificate, key) = self.certificates.acme_ca.device(name).write(self.broker.dir(), name);
        ["-cert".to_owned(), certificate.display().to_string(), "-key".to_owned(), key.display().to_string()]
    }

    /// What the log says of a client that asked to enter.
    fn enters(&self, listener: &str, client: &Returning) -> (Entry, Line) {
        let mark = self.broker.journal.mark();
        let (own, entry) = client.enter_from(self.at(listener), &Connect::new(V5, unique("h")));
        let own = own.to_string();
        let line = self.broker.journal.expect(mark, &format!("the end of {own}, {entry:?}"), |line| {
            (line.says("admitted") || line.says("refused")) && line.text("peer") == own
        });
        (entry, line)
    }
}

fn is_resumed(text: &str) -> bool {
    assert_ne!(text.contains("New, TLS"), text.contains("Reused, TLS"), "{text}");
    text.contains("Reused, TLS")
}

fn resumed_series(listener: &str, version: &str) -> String {
    format!("postern_tls_resumed_handshakes_total{{listener=\"{listener}\",version=\"{version}\"}}")
}

#[test]
fn h_16_what_is_switched_on_is_resumed_and_nothing_else() {
    let site = Site::start();
    let (by_ticket, by_id): (&[&str], &[&str]) = (&["-tls1_2"], &["-tls1_2", "-no_ticket"]);
    let in_1_3: &[&str] = &["-tls1_3"];
    let mut number = 0;
    for (listener, how, wanted) in [
        ("ssl:open", in_1_3, true),
        ("ssl:open", by_ticket, true),
        ("ssl:open", by_id, true),
        ("wss:open", in_1_3, true),
        ("wss:open", by_ticket, true),
        ("wss:open", by_id, true),
        ("ssl:tickets", in_1_3, true),
        ("ssl:tickets", by_ticket, true),
        ("ssl:tickets", by_id, false),
        ("ssl:ids", in_1_3, false),
        ("ssl:ids", by_id, true),
        ("ssl:off", in_1_3, false),
        ("ssl:off", by_ticket, false),
        ("ssl:off", by_id, false),
    ] {
        number += 1;
        let path = site.path(&format!("h16-{number}.session"));
        let before = site.scrape();
        let text = site.openssl(listener, name::ACME, &[how, &["-sess_out", &path]].concat());
        assert!(!is_resumed(&text), "{listener} {how:?}: {text}");
        let ticket = text.contains("TLS session ticket:");
        assert_eq!(ticket, !listener.ends_with("ids") && !listener.ends_with("off") && how != by_id, "{text}");
        assert!(!ticket || text.contains("lifetime hint: 5400 (seconds)"), "{text}");
        let again = Path::new(&path).exists().then(|| {
            let text = site.openssl(listener, name::ACME, &[how, &["-sess_in", &path]].concat());
            is_resumed(&text)
        });
        assert_eq!(again.unwrap_or(false), wanted, "{listener} {how:?}");
        let version = if how == in_1_3 { "TLSv1.3" } else { "TLSv1.2" };
        let counted = site.scrape().since(&before, &resumed_series(listener, version));
        assert!((counted - f64::from(u8::from(wanted))).abs() < f64::EPSILON, "{listener} {how:?}: {counted}");
    }
    assert_alive(&site.broker);
}

#[test]
fn h_16_a_client_is_given_as_many_tickets_as_the_node_says() {
    let site = Site::start();
    let client = tls::naming(name::ACME).returning();
    let mut entered = client.enter_from(site.at("ssl:tickets"), &Connect::new(V5, unique("h16"))).1.admitted();
    entered.ping();
    assert_eq!(entered.stream.conn.tls13_tickets_received(), 3);
    // Three tickets, three returns.
    for _ in 0..3 {
        let again = client.dial(site.at("ssl:tickets")).unwrap();
        assert_eq!(again.stream.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    }
}

#[test]
fn h_11_a_session_of_one_name_resumes_nothing_under_another() {
    let site = Site::start();
    let device = site.device("h11");
    let device: Vec<&str> = device.iter().map(String::as_str).collect();
    for (number, how) in [&["-tls1_3"][..], &["-tls1_2"], &["-tls1_2", "-no_ticket"]].into_iter().enumerate() {
        let path = site.path(&format!("h11-{number}.session"));
        site.openssl("ssl:open", name::ACME, &[how, &["-sess_out", &path]].concat());
        let offering = [how, &["-sess_in", &path]].concat();
        let text = site.openssl("ssl:open", name::GLOBEX, &offering);
        assert!(!is_resumed(&text) && text.contains(&format!("CN = {}", name::GLOBEX)), "{how:?}: {text}");
        assert!(is_resumed(&site.openssl("ssl:open", name::ACME, &offering)), "the neighbour, {how:?}");

        // Nor does it carry a client of one tenant past the authority of the other.
        let path = site.path(&format!("h11-mutual-{number}.session"));
        let text = site.openssl("ssl:mutual", name::ACME, &[how, &device, &["-sess_out", &path]].concat());
        assert!(!is_resumed(&text), "{text}");
        let mark = site.broker.journal.mark();
        let offering = [how, &device, &["-sess_in", &path]].concat();
        let text = site.openssl("ssl:mutual", name::GLOBEX, &offering);
        assert!(!text.contains("Reused, TLS"), "{how:?}: {text}");
        let refused = site.broker.journal.expect(mark, "refused", |line| line.says("refused"));
        assert_eq!((refused.text("at"), refused.text("why")), ("handshake".into(), "bad_certificate".into()));
        assert!(is_resumed(&site.openssl("ssl:mutual", name::ACME, &offering)), "the neighbour, {how:?}");
    }
    assert_alive(&site.broker);
}

#[test]
fn h_12_a_session_of_another_listener_is_no_session() {
    let site = Site::start();
    let device = site.device("h12");
    let device: Vec<&str> = device.iter().map(String::as_str).collect();
    for scheme in ["ssl", "wss"] {
        let (open, mutual) = (format!("{scheme}:open"), format!("{scheme}:mutual"));
        for (number, how) in [&["-tls1_3"][..], &["-tls1_2"], &["-tls1_2", "-no_ticket"]].into_iter().enumerate() {
            let path = site.path(&format!("h12-{scheme}-{number}.session"));
            site.openssl(&open, name::ACME, &[how, &["-sess_out", &path]].concat());
            let offering = [how, &["-sess_in", &path]].concat();
            // Without a certificate: asked for one, and refused for want of it.
            let mark = site.broker.journal.mark();
            let text = site.openssl(&mutual, name::ACME, &offering);
            assert!(!text.contains("Reused, TLS"), "{how:?}: {text}");
            let refused = site.broker.journal.expect(mark, "refused", |line| line.says("refused"));
            assert_eq!(refused.text("detail"), "the client sent no certificate and one is required");
            // With one: a handshake of its own.
            let text = site.openssl(&mutual, name::ACME, &[&offering[..], &device].concat());
            assert!(!is_resumed(&text), "{how:?}: {text}");
            assert!(is_resumed(&site.openssl(&open, name::ACME, &offering)), "the neighbour, {how:?}");
        }
    }
    assert_alive(&site.broker);
}

#[test]
fn h_13_who_comes_back_is_judged_and_asked_again() {
    let site = Site::start();
    let calls = || {
        let scrape = site.scrape();
        let names = scrape.names().into_iter().filter(|name| {
            name.starts_with("postern_plugin_calls_total{listener=\"ssl:mutual\"") && name.contains("mtls-identity")
        });
        names.map(|name| scrape.get(name)).sum::<f64>()
    };
    for tls12_only in [false, true] {
        let offer = tls::naming(name::ACME).showing(&site.certificates.acme_ca.device("h13"));
        let client = if tls12_only { offer.tls12() } else { offer }.returning();
        let mut asked = calls();
        for resumed in [false, true] {
            let (entry, line) = site.enters("ssl:mutual", &client);
            let entered = entry.admitted();
            assert_eq!(entered.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed), resumed, "{line:?}");
            assert_eq!((line.text("username"), line.text("namespace")), ("h13".into(), "acme".into()));
            assert_eq!(line.raw.contains("\"resumed\":true"), resumed, "{}", line.raw);
            entered.leave();
            // The host remembers answers, but none for another kind of handshake.
            let now = calls();
            assert!(now > asked, "the plugin was not asked again, resumed: {resumed}");
            asked = now;
        }
    }
}

#[test]
fn h_13_a_certificate_that_expired_since_does_not_come_back() {
    // Long enough for the two handshakes before it on a machine that is busy.
    const LIFE: Duration = Duration::from_secs(15);
    let site = Site::start();
    for tls12_only in [false, true] {
        let issued = Instant::now();
        let device = pki::expiring_in(pki::device("h13"), LIFE);
        let offer = tls::naming(name::ACME).showing(&site.certificates.acme_ca.sign(&device));
        let client = if tls12_only { offer.tls12() } else { offer }.returning();
        site.enters("ssl:mutual", &client).0.admitted().leave();
        let (entry, line) = site.enters("ssl:mutual", &client);
        assert!(line.raw.contains("\"resumed\":true"), "{}", line.raw);
        entry.admitted().leave();
        // Certificates count whole seconds, and end after the last.
        std::thread::sleep((LIFE + Duration::from_secs(2)).saturating_sub(issued.elapsed()));
        let before = site.scrape();
        let (entry, line) = site.enters("ssl:mutual", &client);
        assert!(!entry.is_admitted(), "{entry:?}");
        assert_eq!((line.text("at"), line.text("why")), ("handshake".into(), "bad_certificate".into()), "{line:?}");
        assert!(line.text("detail").contains("expired"), "{line:?}");
        assert!(line.raw.contains("\"resumed\":true"), "{}", line.raw);
        let refused = "postern_connections_refused_total{listener=\"ssl:mutual\",stage=\"handshake\",\
                       reason=\"bad_certificate\"}";
        assert!(site.scrape().since(&before, refused) > 0.0);
    }
    assert_alive(&site.broker);
}

#[test]
fn f_06_no_early_data_where_sessions_are_resumed() {
    let site = Site::start();
    let (session, early) = (site.path("f06.session"), site.path("f06.early"));
    let client_id = unique("f06");
    std::fs::write(&early, Connect::new(V5, &client_id).bytes()).unwrap();
    // Our own tickets give no leave for early data, so that the client sends none.
    site.openssl("ssl:open", name::ACME, &["-tls1_3", "-sess_out", &session]);
    let text = site.openssl("ssl:open", name::ACME, &["-tls1_3", "-sess_in", &session, "-early_data", &early]);
    assert!(text.contains("Early data was not sent") && is_resumed(&text), "{text}");
    // A ticket of another server that did give leave: the client sends, and nobody listens.
    let (certificate, key) = site.certificates.acme.write(site.broker.dir(), "f06");
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let serving = ["-oL", "openssl", "s_server", "-accept", "127.0.0.1:0", "-www", "-naccept", "1", "-tls1_3"];
    let allowing = ["-max_early_data", "16384", "-cert", &certificate, "-key", &key];
    let other = programs::start("stdbuf", &[&serving[..], &allowing].concat());
    let address = other.says("ACCEPT").replace("ACCEPT ", "");
    let saving = ["s_client", "-tls1_3", "-ign_eof", "-servername", name::ACME, "-connect", &address];
    programs::run("openssl", &[&saving[..], &["-sess_out", &session]].concat(), b"GET / HTTP/1.0\r\n\r\n");
    let text = site.openssl("ssl:open", name::ACME, &["-tls1_3", "-sess_in", &session, "-early_data", &early]);
    assert!(text.contains("Early data was rejected"), "{text}");
    assert_alive(&site.broker);
    let entered = site.broker.journal.lines().into_iter().any(|line| line.text("client_id") == client_id);
    assert!(!entered, "a CONNECT in early data was processed");
}

/// From a change of a file to what comes of it, on a machine with much else to do.
const SEEN_WITHIN: Duration = Duration::from_secs(30);

/// A broker with one listener whose sessions can be resumed, and whose certificate and client CA are in files.
fn one(options: &str) -> String {
    format!(
        "node {{ name = \"blackbox\", data_dir = \"data\" }}
         listeners.tcp.control {{ bind = \"127.0.0.1:0\", max_unauthenticated_per_address = 100000 }}
         listeners.ssl.one {{ bind = \"127.0.0.1:0\", max_unauthenticated_per_address = 100000, ssl_options {{
           certfile = server.pem, keyfile = server.key, cacertfile = ca.pem, {BOTH}
           {options} }} }}\n"
    )
}

/// Whether a client that came before resumes its session, and what the log says of it.
fn comes_back(broker: &Broker, client: &Returning) -> (Entry, Option<bool>, Line) {
    let mark = broker.journal.mark();
    let (own, entry) = client.enter_from(broker.address("ssl:one"), &Connect::new(V5, unique("h")));
    let own = own.to_string();
    let line = broker.journal.expect(mark, &format!("the end of {own}, {entry:?}"), |line| {
        (line.says("admitted") || line.says("refused")) && line.text("peer") == own
    });
    let resumed = match &entry {
        Entry::Admitted(client, _) => Some(client.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)),
        _ => None,
    };
    (entry, resumed, line)
}

/// Serves by this configuration from now on.
fn reload(broker: &Broker, config: &str) {
    let mark = broker.journal.mark();
    broker.setup.file("postern.conf", config);
    broker.signal("HUP");
    broker.journal.expect(mark, "in force", |line| line.text("message").contains("is in force for new"));
}

#[test]
fn h_12_a_session_of_a_replaced_certificate_or_of_other_settings_is_no_session() {
    let (ca, devices) = (Authority::new("Server CA"), Authority::new("Devices"));
    let setup = Setup::bare(&one("verify = verify_none"));
    setup.file("ca.pem", devices.pem());
    ca.server(&[name::DEFAULT]).write(setup.dir.path(), "server");
    let broker = setup.start();
    let clients = [tls::naming(name::DEFAULT), tls::naming(name::DEFAULT).tls12()].map(|offer| offer.returning());
    let come = |wanted: Option<bool>, what: &str| {
        for client in &clients {
            let (entry, resumed, line) = comes_back(&broker, client);
            assert_eq!(resumed, wanted, "{what}: {entry:?}, {line:?}");
        }
    };
    come(Some(false), "the first time");
    come(Some(true), "the neighbour");

    let mark = broker.journal.mark();
    ca.server(&[name::DEFAULT]).write(broker.dir(), "server");
    broker.journal.expect(mark, "the new certificate", |line| line.says("certificate renewed"));
    come(Some(false), "another certificate of the same name");
    come(Some(true), "the neighbour");

    let reload = |options: &str| reload(&broker, &one(options));
    reload("verify = verify_none");
    come(Some(true), "nothing has changed");
    reload("verify = verify_none, versions = [tlsv1.3, tlsv1.2], handshake_timeout = 7s, honor_cipher_order = false");
    come(Some(false), "other settings");
    come(Some(true), "the neighbour");
    reload("verify = verify_peer, fail_if_no_peer_cert = true");
    for client in &clients {
        let (entry, _, line) = comes_back(&broker, client);
        assert!(!entry.is_admitted() && line.text("detail").contains("sent no certificate"), "{entry:?}, {line:?}");
    }
    assert_alive(&broker);
}

#[test]
fn h_13_a_certificate_that_was_revoked_since_does_not_come_back() {
    let (ca, devices) = (Authority::new("Server CA"), Authority::new("Devices"));
    let setup = Setup::bare(&one(
        "verify = verify_peer, fail_if_no_peer_cert = true, enable_crl_check = true, crl { files = [\"devices.crl\"] }",
    ));
    setup.file("ca.pem", devices.pem());
    setup.file("devices.crl", devices.crl(&Crl::of(&[])));
    ca.server(&[name::DEFAULT]).write(setup.dir.path(), "server");
    let broker = setup.start();
    let (revoked, neighbour) = (devices.device("h13"), devices.device("h13-neighbour"));
    let offer = tls::naming(name::DEFAULT).showing(&revoked);
    let clients = [offer.clone(), offer.clone().tls12()].map(|offer| offer.returning());
    let spared = tls::naming(name::DEFAULT).showing(&neighbour).returning();
    for client in clients.iter().chain([&spared]) {
        for resumed in [false, true] {
            assert_eq!(comes_back(&broker, client).1, Some(resumed));
        }
    }
    broker.setup.file("devices.crl", devices.crl(&Crl::of(&[revoked.leaf()])));
    let end = Instant::now() + SEEN_WITHIN;
    while offer.enter(broker.address("ssl:one"), &Connect::new(V5, unique("h13"))).is_admitted() {
        assert!(Instant::now() < end, "the new list is not seen");
    }
    for client in &clients {
        let (entry, _, line) = comes_back(&broker, client);
        assert!(!entry.is_admitted(), "{entry:?}");
        assert!(line.raw.contains("\"resumed\":true"), "it came back by its session: {line:?}");
        assert!(line.text("detail").contains("revoked"), "{line:?}");
    }
    assert_eq!(comes_back(&broker, &spared).1, Some(true), "the neighbour");
    assert_alive(&broker);
}

#[test]
fn h_13_rules_that_changed_since_say_who_comes_back() {
    let (ca, devices) = (Authority::new("Server CA"), Authority::new("Devices"));
    let config = |rule: &str| {
        let listener = one("verify = verify_peer, fail_if_no_peer_cert = true");
        let plugins = [entry("sni-selector", ""), mtls_identity(rule)].join("\n");
        format!("{listener}\nlisteners.ssl.one.plugins = [\n{plugins}\n]\n")
    };
    let setup = Setup::bare(&config(r#"{ source = "subject.cn", set = "username" }"#));
    setup.file("ca.pem", devices.pem());
    ca.server(&[name::DEFAULT]).write(setup.dir.path(), "server");
    let broker = setup.start();
    let offer = tls::naming(name::DEFAULT).showing(&devices.device("h13"));
    let clients = [offer.clone(), offer.tls12()].map(|offer| offer.returning());
    let come = |username: &str, wanted: bool| {
        for client in &clients {
            let (_, resumed, line) = comes_back(&broker, client);
            assert_eq!((resumed, line.text("username").as_str()), (Some(wanted), username), "{line:?}");
        }
    };
    come("h13", false);
    come("h13", true);
    reload(
        &broker,
        &config(r#"{ source = "subject.cn", match = "(.*)", template = "device-${1}", set = "username" }"#),
    );
    come("device-h13", true);
    reload(&broker, &config(r#"{ source = "san.uri", set = "username" }"#));
    for client in &clients {
        let (entry, _, line) = comes_back(&broker, client);
        assert!(!entry.is_admitted() && line.raw.contains("\"resumed\":true"), "{entry:?}, {line:?}");
    }
    assert_alive(&broker);
}
