//! F-18 and H-10: what is stapled, to whom, and that no responder whatever can do anything to a handshake. OpenSSL makes
//! the responses and looks at what is stapled.

use std::time::{Duration, Instant};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::{Broker, Setup, plugin};
use postern_tests::http::Scrape;
use postern_tests::ocsp::{Manner, Responder};
use postern_tests::pki::{self, Authority, Credentials};
use postern_tests::programs;
use postern_tests::tls;
use postern_tests::wire::{self, Connect, V3_1_1, V5};

const HTTP: &str = "dashboard.listeners.http.bind = \"127.0.0.1:0\"";
/// Longer than the first pauses after failures.
const SETTLED_WITHIN: Duration = Duration::from_mins(1);

/// A listener with the certificate `NAME.pem`, whose responder is asked at this address; `""` for the certificate's own.
fn listener(kind: &str, name: &str, url: &str, more: &str) -> String {
    format!(
        "listeners.{kind}.{name} {{ bind = \"127.0.0.1:0\", max_unauthenticated_per_address = 100000, ssl_options {{\n\
         certfile = \"{name}.pem\", keyfile = \"{name}.key\"\n\
         ocsp {{ enable_ocsp_stapling = true, issuer_pem = \"ca.pem\", responder_url = \"{url}\", {more} }} }} }}\n"
    )
}

/// What `openssl s_client` says of a listener.
fn openssl(broker: &Broker, listener: &str, more: &[&str]) -> String {
    let address = broker.address(listener).to_string();
    let fixed = ["s_client", "-connect", &address, "-ign_eof"];
    let input = if listener.starts_with("wss") {
        b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()
    } else {
        [&Connect::new(V3_1_1, unique("h")).bytes()[..], &wire::DISCONNECT].concat()
    };
    let text = programs::run("openssl", &[&fixed[..], more].concat(), &input).text;
    assert!(text.contains("New, TLSv1."), "{text}");
    text
}

/// Whether a response comes with the handshake of a client that asks for one; it must be good then.
fn is_stapled(broker: &Broker, listener: &str) -> bool {
    let text = openssl(broker, listener, &["-status"]);
    assert_ne!(text.contains("OCSP response: no response sent"), text.contains("OCSP Response Data:"), "{text}");
    let is_stapled = text.contains("OCSP Response Data:");
    assert_eq!(is_stapled, text.contains("Cert Status: good"), "{text}");
    is_stapled
}

fn scrape(broker: &Broker) -> Scrape {
    Scrape::of(broker.address("http:dashboard"))
}

/// A series of a listener with a certificate of its own.
fn series(name: &str, listener: &str, more: &str) -> String {
    format!("{name}{{listener=\"{listener}\",namespace=\"(global)\",bundle=\"certfile\"{more}}}")
}

fn is_one(scrape: &Scrape, series: &str) -> bool {
    (scrape.get(series) - 1.0).abs() < f64::EPSILON
}

/// Waits until it is like this with a listener's responses.
fn settled(broker: &Broker, listener: &str, status: &str) {
    let series = series("postern_ocsp_status", listener, &format!(",status=\"{status}\""));
    let end = Instant::now() + SETTLED_WITHIN;
    while !is_one(&scrape(broker), &series) {
        assert!(Instant::now() < end, "never {series}; the log says\n{}", broker.journal.text());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn standard_plugins() -> String {
    format!("plugins.dir = \"{}\"", plugin("sni-selector").parent().unwrap().display())
}

fn told(broker: &Broker, words: &str) -> usize {
    broker.journal.lines().into_iter().filter(|line| line.raw.contains(words)).count()
}

#[test]
fn f_18_every_bundle_has_its_response_and_only_who_asks_gets_it() {
    let ca = Authority::new("Server CA");
    let names = ["a.example.org", "b.example.org"];
    let issued = names.map(|name| ca.server(&[name]));
    let responder = Responder::start(&ca);
    for one in &issued {
        responder.issue(one);
    }
    let url = responder.url("both");
    let both = ["ssl", "wss"].map(|kind| {
        format!(
            "listeners.{kind}.names {{ bind = \"127.0.0.1:0\", ssl_options {{\n\
             managed_certs = [{{ bundle_name = a }}, {{ bundle_name = b }}]\n\
             ocsp {{ enable_ocsp_stapling = true, responder_url = \"{url}\", issuer_pem = \"ca.pem\" }}\n\
             }}, plugins = [{}] }}\n",
            crate::fixture::entry("sni-selector", "")
        )
    });
    let setup = Setup::new(&both.concat()).and(HTTP);
    issued[0].write_bundle(setup.dir.path(), "global", "a", None);
    issued[1].write_bundle(setup.dir.path(), "global", "b", None);
    setup.file("ca.pem", ca.pem());
    let authority = setup.dir.path().join("ca.pem").display().to_string();
    let broker = setup.start();
    for listener in ["ssl:names", "wss:names"] {
        for (bundle, name) in ["a", "b"].into_iter().zip(names) {
            let stapled =
                format!("postern_ocsp_stapled{{listener=\"{listener}\",namespace=\"(global)\",bundle=\"{bundle}\"}}");
            let end = Instant::now() + SETTLED_WITHIN;
            while !is_one(&scrape(&broker), &stapled) {
                assert!(Instant::now() < end, "never {stapled}; the log says\n{}", broker.journal.text());
                std::thread::sleep(Duration::from_millis(50));
            }
            for version in ["-tls1_2", "-tls1_3"] {
                let asking = ["-servername", name, version, "-CAfile", &authority];
                let text = openssl(&broker, listener, &[&asking[..], &["-status"]].concat());
                assert!(text.contains("OCSP Response Status: successful"), "{listener} {name} {version}: {text}");
                assert!(text.contains("Cert Status: good") && text.contains(&format!("CN = {name}")), "{text}");
                let text = openssl(&broker, listener, &asking);
                assert!(!text.contains("OCSP"), "nobody asked: {text}");
            }
        }
    }
    // One bundle on two listeners is one certificate to ask about.
    assert_eq!(told(&broker, "an OCSP response is stapled"), 2, "{}", broker.journal.text());
    assert_eq!(responder.asked("both"), 2);
    assert_alive(&broker);
}

/// What a responder can do, and the reason by which it is counted.
fn manners() -> Vec<(&'static str, Manner, &'static str)> {
    vec![
        ("down", Manner::Down, "http"),
        ("silent", Manner::Silent, "timeout"),
        ("status", Manner::Status(500), "http"),
        ("moved", Manner::Status(302), "http"),
        ("garbage", Manner::Bytes(b"<html>All is well</html>".to_vec()), "malformed"),
        ("nothing", Manner::Bytes(Vec::new()), "malformed"),
        ("later", Manner::Bytes(vec![0x30, 3, 0x0A, 1, 3]), "responder"),
        ("huge", Manner::Bytes(vec![0x30; 10 * 1024 * 1024]), "http"),
        ("stranger", Manner::Stranger, "signature"),
        ("other", Manner::Other, "other_certificate"),
    ]
}

#[test]
fn h_10_no_answer_and_no_bad_one_keeps_a_client_out_or_is_stapled() {
    let ca = Authority::new("Server CA");
    let manners = manners();
    let mut names: Vec<&str> = manners.iter().map(|(name, ..)| *name).collect();
    names.extend(["unheard", "good", "delegate", "revoked", "unknown"]);
    let certificates: Vec<Credentials> =
        names.iter().map(|name| ca.server(&[&format!("{name}.example.org")])).collect();
    let responder = Responder::start(&ca);
    for (name, one) in names.iter().zip(&certificates) {
        match *name {
            "unknown" => {}
            "revoked" => responder.revoke(one),
            _ => responder.issue(one),
        }
    }
    for (name, manner, _) in &manners {
        responder.behave(name, manner.clone());
    }
    responder.behave("delegate", Manner::Delegate);
    // A port at which nobody listens any more.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut listeners = String::new();
    for name in &names {
        // One host is asked one question at a time, so that the silent one would hold the others up.
        let url = match *name {
            "unheard" => format!("http://{free}/"),
            name => responder.url(name),
        };
        listeners.push_str(&listener("ssl", name, &url, "refresh_http_timeout = 2s"));
    }
    let setup = Setup::new(&listeners).and(HTTP);
    setup.file("ca.pem", ca.pem());
    for (name, one) in names.iter().zip(&certificates) {
        one.write(setup.dir.path(), name);
    }
    let broker = setup.start();
    // While some are still being asked.
    for name in &names {
        let address = broker.address(&format!("ssl:{name}"));
        tls::naming("x.example.org").enter(address, &Connect::new(V5, unique("h10"))).admitted().leave();
    }
    let wanted = |name: &str| match name {
        "good" | "delegate" => "good",
        "revoked" => "revoked",
        _ => "empty",
    };
    for name in &names {
        let listener = format!("ssl:{name}");
        settled(&broker, &listener, wanted(name));
        assert_eq!(is_stapled(&broker, &listener), wanted(name) == "good", "{name}");
        tls::naming("x.example.org")
            .enter(broker.address(&listener), &Connect::new(V5, unique("h10")))
            .admitted()
            .leave();
    }
    let scrape = scrape(&broker);
    let reasons = manners.iter().map(|(name, _, reason)| (*name, *reason));
    for (name, reason) in reasons.chain([("unheard", "unreachable"), ("unknown", "unknown")]) {
        let failures = series("postern_ocsp_failures_total", &format!("ssl:{name}"), &format!(",reason=\"{reason}\""));
        assert!(scrape.get(&failures) > 0.0, "{failures}; the log says\n{}", broker.journal.text());
    }
    let revoked = broker.journal.expect(0, "revoked", |line| line.raw.contains("the certificate is revoked"));
    assert_eq!(revoked.text("level"), "ERROR", "{revoked:?}");
    assert_alive(&broker);
    // A shutdown waits for no responder.
    assert!(broker.stop().0.success());
}

#[test]
fn h_10_one_line_for_each_change_and_a_responder_that_comes_back_is_found() {
    let ca = Authority::new("Server CA");
    let certificate = ca.server(&["a.example.org"]);
    let responder = Responder::start(&ca);
    responder.issue(&certificate);
    responder.behave("a", Manner::Status(500));
    let setup = Setup::new(&listener("ssl", "a", &responder.url("a"), "")).and(HTTP);
    setup.file("ca.pem", ca.pem());
    certificate.write(setup.dir.path(), "a");
    let broker = setup.start();
    let end = Instant::now() + SETTLED_WITHIN;
    while responder.asked("a") < 3 {
        assert!(Instant::now() < end, "asked {} times", responder.asked("a"));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!is_stapled(&broker, "ssl:a"));
    responder.behave("a", Manner::Good(60));
    settled(&broker, "ssl:a", "good");
    assert!(is_stapled(&broker, "ssl:a"));
    let counts = ["no OCSP response", "an OCSP response is stapled"].map(|words| told(&broker, words));
    assert_eq!(counts, [1, 1], "{}", broker.journal.text());
    let failures = series("postern_ocsp_failures_total", "ssl:a", ",reason=\"http\"");
    assert!(scrape(&broker).get(&failures) >= 3.0);
}

#[test]
fn h_10_a_response_is_renewed_in_time_and_never_stapled_past_its_end() {
    // One minute is the shortest that OpenSSL gives.
    const LIFE: Duration = Duration::from_mins(1);
    const SLACK: Duration = Duration::from_secs(30);
    let ca = Authority::new("Server CA");
    let names = ["short", "lasting", "often", "seldom"];
    let certificates = names.map(|name| ca.server(&[&format!("{name}.example.org")]));
    let responder = Responder::start(&ca);
    for one in &certificates {
        responder.issue(one);
    }
    responder.behave("short", Manner::Good(1));
    responder.behave("lasting", Manner::Good(1));
    let listeners = [("short", ""), ("lasting", ""), ("often", "refresh_interval = 1m"), ("seldom", "")];
    let listeners = listeners.map(|(name, more)| listener("ssl", name, &responder.url(name), more));
    let setup = Setup::new(&listeners.concat()).and(HTTP);
    setup.file("ca.pem", ca.pem());
    for (name, one) in names.iter().zip(&certificates) {
        one.write(setup.dir.path(), name);
    }
    let broker = setup.start();
    for name in names {
        settled(&broker, &format!("ssl:{name}"), "good");
    }
    // From now on this one answers no more; what was given holds on for its time.
    responder.behave("short", Manner::Down);
    let silent = Instant::now();
    settled(&broker, "ssl:short", "failing");
    assert!(is_stapled(&broker, "ssl:short") || silent.elapsed() >= LIFE, "it holds still");
    let stapled = series("postern_ocsp_stapled", "ssl:short", "");
    while is_one(&scrape(&broker), &stapled) {
        assert!(silent.elapsed() < LIFE + SLACK, "stapled past its end");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(!is_stapled(&broker, "ssl:short"));
    settled(&broker, "ssl:short", "empty");
    assert_eq!(told(&broker, "the last one is stapled until it ends"), 1, "{}", broker.journal.text());
    // The one whose responder goes on was renewed before, and twice: in less than half of its time each.
    assert!(is_stapled(&broker, "ssl:lasting"));
    assert!(responder.asked("lasting") >= 3, "{}", responder.asked("lasting"));
    assert_eq!(responder.asked("seldom"), 1, "five minutes are not over");
    let end = Instant::now() + SLACK;
    while responder.asked("often") < 2 {
        assert!(Instant::now() < end, "a minute is over");
        std::thread::sleep(Duration::from_millis(200));
    }
    responder.behave("short", Manner::Good(60));
    settled(&broker, "ssl:short", "good");
    assert!(is_stapled(&broker, "ssl:short"));
    assert_alive(&broker);
}

#[test]
fn f_18_a_certificate_that_demands_a_response_has_it_from_the_first_handshake_on() {
    let ca = Authority::new("Server CA");
    let demanding =
        ["first", "without"].map(|name| ca.server_with(&[&format!("{name}.example.org")], pki::must_staple()));
    let responder = Responder::start(&ca);
    for one in &demanding {
        responder.issue(one);
    }
    responder.behave("without", Manner::Status(500));
    let listeners = ["first", "without"].map(|name| listener("ssl", name, &responder.url(name), ""));
    let setup = Setup::new(&listeners.concat()).and(HTTP);
    setup.file("ca.pem", ca.pem());
    demanding[0].write(setup.dir.path(), "first");
    demanding[1].write(setup.dir.path(), "without");
    let broker = setup.start();
    assert!(is_stapled(&broker, "ssl:first"), "{}", broker.journal.text());
    assert!(!is_stapled(&broker, "ssl:without"));
    let alarm = broker.journal.expect(0, "alarm", |line| line.raw.contains("which the certificate demands"));
    let listening = broker.journal.expect(0, "listening", |line| line.says("listening"));
    assert_eq!(alarm.text("level"), "ERROR");
    let place = |line: &postern_tests::journal::Line| broker.journal.text().find(&line.raw).unwrap();
    assert!(place(&alarm) < place(&listening), "asked before anybody could connect");
    let address = broker.address("ssl:without");
    tls::naming("x.example.org").enter(address, &Connect::new(V5, unique("f18"))).admitted().leave();
}

#[test]
fn f_18_a_bundle_that_is_read_anew_keeps_the_response_of_its_certificate() {
    let (ca, client_ca) = (Authority::new("Server CA"), Authority::new("Devices"));
    let responder = Responder::start(&ca);
    let [first, second] = [(); 2].map(|()| ca.server(&["a.example.org"]));
    responder.issue(&first);
    responder.issue(&second);
    let ocsp = format!(
        "ocsp {{ enable_ocsp_stapling = true, responder_url = \"{}\", issuer_pem = \"ca.pem\" }}",
        responder.url("a")
    );
    let setup = Setup::new(&format!(
        "listeners.ssl.a {{ bind = \"127.0.0.1:0\", ssl_options {{ managed_certs {{ bundle_name = a }}, {ocsp} }} }}"
    ))
    .and(&standard_plugins())
    .and(HTTP);
    setup.file("ca.pem", ca.pem());
    first.write_bundle(setup.dir.path(), "global", "a", None);
    let broker = setup.start();
    let good = "postern_ocsp_status{listener=\"ssl:a\",namespace=\"(global)\",bundle=\"a\",status=\"good\"}";
    let wait = |what: &str, until: &dyn Fn() -> bool| {
        let end = Instant::now() + SETTLED_WITHIN;
        while !until() {
            assert!(Instant::now() < end, "never {what}; the log says\n{}", broker.journal.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait("good", &|| is_one(&scrape(&broker), good));
    responder.behave("a", Manner::Down);
    // The same certificate with another client CA.
    first.write_bundle(broker.dir(), "global", "a", Some(&client_ca));
    wait("renewed", &|| told(&broker, "certificate renewed") == 1);
    assert!(is_stapled(&broker, "ssl:a"));
    assert_eq!(responder.asked("a"), 1, "nobody was asked again");
    // Another certificate: what is stapled to the first is not for it.
    second.write_bundle(broker.dir(), "global", "a", Some(&client_ca));
    wait("renewed", &|| told(&broker, "certificate renewed") == 2);
    assert!(!is_stapled(&broker, "ssl:a"));
    responder.behave("a", Manner::Good(60));
    wait("good", &|| is_one(&scrape(&broker), good));
    assert!(is_stapled(&broker, "ssl:a"));
}

#[test]
fn h_10_a_new_certificate_is_served_whomever_one_can_ask_about_it_and_issuers_may_come_later() {
    let (ca, other) = (Authority::new("Server CA"), Authority::new("Another CA"));
    let (first, second) = (ca.server(&["a.example.org"]), other.server(&["a.example.org"]));
    let responder = Responder::start(&other);
    responder.issue(&second);
    let setup = Setup::new(&listener("ssl", "a", &responder.url("a"), "")).and(HTTP);
    setup.file("ca.pem", ca.pem());
    first.write(setup.dir.path(), "a");
    let broker = setup.start();
    settled(&broker, "ssl:a", "empty");
    // Its issuer is unknown: nobody can be asked, and yet it must not wait until the old one has expired.
    let mark = broker.journal.mark();
    second.write(broker.dir(), "a");
    broker.journal.expect(mark, "the new certificate", |line| line.says("certificate renewed"));
    let said = broker.journal.expect(mark, "why", |line| line.raw.contains("no OCSP response can be had"));
    assert!(said.raw.contains("the certificate of its issuer (CN=Another CA)"), "{said:?}");
    assert_eq!(tls::naming("a.example.org").served(broker.address("ssl:a")).unwrap(), second.leaf());
    // The file of issuers alone changes.
    broker.setup.file("ca.pem", ca.pem() + &other.pem());
    settled(&broker, "ssl:a", "good");
    assert!(is_stapled(&broker, "ssl:a"));
}

#[test]
fn without_an_address_the_responder_of_the_certificate_is_asked() {
    let ca = Authority::new("Server CA");
    let responder = Responder::start(&ca);
    let certificate = ca.server_with(&["a.example.org"], pki::responder(&responder.url("own")));
    responder.issue(&certificate);
    let setup = Setup::new(&listener("ssl", "a", "", "")).and(HTTP);
    setup.file("ca.pem", ca.pem());
    certificate.write(setup.dir.path(), "a");
    let broker = setup.start();
    settled(&broker, "ssl:a", "good");
    assert!(is_stapled(&broker, "ssl:a"));
    assert_eq!(responder.asked("own"), 1);
}

#[test]
fn what_cannot_be_asked_is_said_at_check() {
    let ca = Authority::new("Server CA");
    let other = Authority::new("Another CA");
    let plain = ca.server(&["a.example.org"]);
    let checked = |config: &str| {
        let setup = Setup::new(config).and(&standard_plugins());
        setup.file("ca.pem", ca.pem());
        setup.file("other.pem", other.pem());
        plain.write(setup.dir.path(), "a");
        plain.write_bundle(setup.dir.path(), "global", "plain", None);
        ca.server_with(&["b.example.org"], pki::responder("http://127.0.0.1:1/")).write_bundle(
            setup.dir.path(),
            "global",
            "named",
            None,
        );
        ca.server_with(&["c.example.org"], pki::must_staple()).write_bundle(setup.dir.path(), "global", "must", None);
        setup.check()
    };
    let managed = |bundles: &str, ocsp: &str| {
        format!("listeners.ssl.m {{ bind = 0, ssl_options {{ managed_certs = [{bundles}], {ocsp} }} }}")
    };
    let on = "ocsp { enable_ocsp_stapling = true, issuer_pem = \"ca.pem\" }";

    let refused = checked(&listener("ssl", "a", "", ""));
    assert_eq!(refused.code, Some(1));
    assert!(refused.text.contains("names no responder that can be asked by http://"), "{}", refused.text);
    let refused = checked(&listener("ssl", "a", "http://o.example/", "").replace("\"ca.pem\"", "\"other.pem\""));
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.text.contains("the certificate of its issuer (") && refused.text.contains("issuer_pem"),
        "{}",
        refused.text
    );
    let refused = checked(&listener("ssl", "a", "http://o.example/", "").replace("\"ca.pem\"", "\"none.pem\""));
    assert!(refused.text.contains("ocsp.issuer_pem: there is no file"), "{}", refused.text);

    let warned = checked(&managed("{ bundle_name = named }, { bundle_name = plain }", on));
    assert_eq!(warned.code, Some(0), "{}", warned.text);
    assert!(warned.text.contains("warning") && warned.text.contains("for (global)/plain"), "{}", warned.text);
    assert!(!warned.text.contains("for (global)/named"), "{}", warned.text);

    let warned = checked(&managed("{ bundle_name = must }", ""));
    assert_eq!(warned.code, Some(0), "{}", warned.text);
    assert!(warned.text.contains("demands a stapled OCSP response"), "{}", warned.text);
    let good = checked(&listener("ssl", "a", "http://o.example/", ""));
    assert_eq!(good.code, Some(0), "{}", good.text);
    assert!(!good.text.contains("OCSP"), "{}", good.text);
}

#[test]
fn the_example_is_accepted_where_its_certificates_are() {
    let ca = Authority::new("Server CA");
    let dir = tempfile::tempdir().unwrap();
    let quickstart = dir.path().join(".quickstart");
    for (owner, bundle, name) in [
        ("global", "default", "localhost"),
        ("ns/acme", "mqtt", "mqtt.acme.example.org"),
        ("ns/globex", "mqtt", "mqtt.globex.example.org"),
    ] {
        ca.server(&[name]).write_bundle(&quickstart, owner, bundle, None);
    }
    std::fs::create_dir(quickstart.join("ca")).unwrap();
    std::fs::write(quickstart.join("ca/server-ca.pem"), ca.pem()).unwrap();
    let example = postern_tests::broker::root().join("examples/stapling.conf");
    let ran = std::process::Command::new(postern_tests::broker::binary())
        .args(["check", "--config", example.to_str().unwrap()])
        .env("POSTERN_PLUGINS__DIR", plugin("sni-selector").parent().unwrap())
        .current_dir(dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && !text.contains("OCSP"), "{text}{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn f_18_stapling_is_switched_on_and_off_while_the_broker_runs() {
    let ca = Authority::new("Server CA");
    let certificate = ca.server(&["a.example.org"]);
    let responder = Responder::start(&ca);
    responder.issue(&certificate);
    let config = |on: bool| {
        let listener = listener("ssl", "a", &responder.url("a"), "");
        let listener = listener.replace("enable_ocsp_stapling = true", &format!("enable_ocsp_stapling = {on}"));
        let node = "node { name = \"blackbox\", data_dir = \"data\" }";
        let control = "listeners.tcp.control { bind = \"127.0.0.1:0\", max_unauthenticated_per_address = 100000 }";
        format!("{node}\n{control}\n{HTTP}\n{listener}")
    };
    let setup = Setup::bare(&config(false));
    setup.file("ca.pem", ca.pem());
    certificate.write(setup.dir.path(), "a");
    let broker = setup.start();
    let switch = |on: bool| {
        let mark = broker.journal.mark();
        broker.setup.file("postern.conf", config(on));
        broker.signal("HUP");
        broker.journal.expect(mark, "in force", |line| line.text("message").contains("is in force for new"));
    };
    assert!(!is_stapled(&broker, "ssl:a"));
    switch(true);
    settled(&broker, "ssl:a", "good");
    assert!(is_stapled(&broker, "ssl:a"));
    switch(false);
    assert!(!is_stapled(&broker, "ssl:a"));
    assert!(!scrape(&broker).has(&series("postern_ocsp_stapled", "ssl:a", "")));
    assert_alive(&broker);
}
