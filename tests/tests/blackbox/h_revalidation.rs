//! H-05 and H-06: clients that are in when their certificate, the CA that vouched for it, or their identity ends.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::{Broker, Setup, plugin};
use postern_tests::http::Scrape;
use postern_tests::pki::{Authority, Credentials, device};
use postern_tests::raw::{self, Duplex, RawClient};
use postern_tests::tls::{self, TlsStream};
use postern_tests::wire::{Connect, V3_1_1, V5};

use crate::fixture::{REQUIRED, mtls_identity};
use crate::frames::Frames;

/// The requirement.
const CLOSED_WITHIN: Duration = Duration::from_mins(1);
const NAME: &str = "mqtt.example.org";
const NOT_AUTHORIZED: u8 = 0x87;

/// `ssl` and `wss` with client certificates of `ca.pem`; wills as `revoked_will` says.
fn mutual(cas: &str, revoked_will: &str) -> Setup {
    let options = format!("certfile = server.pem, keyfile = server.key, cacertfile = ca.pem, {REQUIRED}");
    let plugins = mtls_identity(r#"{ source = "subject.cn", set = "username" }"#);
    let setup = Setup::new(&format!(
        "dashboard.listeners.http.bind = \"127.0.0.1:0\"
         mqtt.revoked_will = {revoked_will}
         listeners.ssl.mutual {{ bind = \"127.0.0.1:0\", ssl_options {{ {options} }}, plugins = [{plugins}] }}
         listeners.wss.mutual {{ bind = \"127.0.0.1:0\", ssl_options {{ {options} }}, plugins = [{plugins}] }}"
    ));
    Authority::new("Servers").server(&[NAME]).write(setup.dir.path(), "server");
    setup.file("ca.pem", cas);
    setup
}

/// Enters with a will on `wills/NAME`.
fn enter(broker: &Broker, version: u8, credentials: &Credentials, name: &str) -> RawClient<TlsStream> {
    let connect = Connect::new(version, unique(name)).will(&format!("wills/{name}"), name).keep_alive(0);
    tls::naming(NAME).showing(credentials).enter(broker.address("ssl:mutual"), &connect).admitted()
}

fn enter_web(broker: &Broker, credentials: &Credentials, name: &str) -> RawClient<Frames<TlsStream>> {
    let stream = tls::naming(NAME).showing(credentials).dial(broker.address("wss:mutual")).unwrap().stream;
    let mut client = RawClient::over(Frames::upgrade(stream, NAME));
    client.enter(&Connect::new(V5, unique(name)).will(&format!("wills/{name}"), name).keep_alive(0));
    client
}

/// The broker must end the connection; what it says then.
fn ended<S: Duplex>(client: &mut RawClient<S>) -> Option<u8> {
    let closed = client.closed_within(CLOSED_WITHIN);
    closed.unwrap_or_else(|said| panic!("still open after {CLOSED_WITHIN:?}; it said {said:?}")).disconnect()
}

/// The line that says who may not stay, and why.
fn audit(broker: &Broker, username: &str) -> postern_tests::journal::Line {
    broker
        .journal
        .expect(0, "who may not stay", |line| line.says("no longer valid") && line.text("username") == username)
}

#[test]
fn h_05_when_a_ca_is_taken_away_its_clients_are_closed_and_their_wills_published() {
    let (gone, kept) = (Authority::new("Gone"), Authority::new("Kept"));
    let broker = mutual(&(gone.pem() + &kept.pem()), "publish").start();
    let mut watcher = raw::enter(broker.control(), &Connect::new(V5, unique("watcher")));
    watcher.subscribe("wills/+", 0);
    let mut five = enter(&broker, V5, &gone.device("five"), "five");
    let mut three = enter(&broker, V3_1_1, &gone.device("three"), "three");
    let mut web = enter_web(&broker, &gone.device("web"), "web");
    let mut neighbour = enter(&broker, V5, &kept.device("neighbour"), "neighbour");
    let mut neighbour_web = enter_web(&broker, &kept.device("neighbour-web"), "neighbour-web");

    broker.setup.file("ca.pem", kept.pem());
    assert_eq!(ended(&mut five), Some(NOT_AUTHORIZED));
    assert_eq!(ended(&mut web), Some(NOT_AUTHORIZED));
    assert_eq!(ended(&mut three), None, "3.1.1 has no word for it");
    let mut wills = [watcher.message(), watcher.message(), watcher.message()].map(|(_, name)| name);
    wills.sort_unstable();
    assert_eq!(wills, ["five", "three", "web"]);
    neighbour.ping();
    neighbour_web.ping();

    let line = audit(&broker, "five");
    assert_eq!((line.text("level"), line.text("subject")), ("WARN".into(), "CN=five".into()), "{line:?}");
    assert_eq!((line.text("listener"), line.text("namespace")), ("ssl:mutual".into(), "(global)".into()), "{line:?}");
    assert!(line.has("connection") && line.has("reason") && !line.text("detail").is_empty(), "{line:?}");
    let scrape = Scrape::of(broker.address("http:dashboard"));
    let count = |listener: &str| {
        let series = format!("postern_connections_revoked_total{{listener=\"{listener}\"");
        let names = scrape.names().into_iter().filter(|name| name.starts_with(&series));
        names.map(|name| scrape.get(name)).sum::<f64>()
    };
    assert!((count("ssl:mutual") - 2.0).abs() < 0.5 && (count("wss:mutual") - 1.0).abs() < 0.5, "{scrape:?}");
    let back = tls::naming(NAME).showing(&gone.device("five"));
    assert!(!back.enter(broker.address("ssl:mutual"), &Connect::new(V5, unique("back"))).is_admitted());
    assert_alive(&broker);
}

#[test]
fn h_05_a_will_is_discarded_where_that_is_asked_for() {
    let (gone, kept) = (Authority::new("Gone"), Authority::new("Kept"));
    let broker = mutual(&(gone.pem() + &kept.pem()), "discard").start();
    let mut watcher = raw::enter(broker.control(), &Connect::new(V5, unique("watcher")));
    watcher.subscribe("wills/+", 0);
    let mut revoked = enter(&broker, V5, &gone.device("revoked"), "revoked");
    let neighbour = enter(&broker, V5, &kept.device("neighbour"), "neighbour");
    broker.setup.file("ca.pem", kept.pem());
    assert_eq!(ended(&mut revoked), Some(NOT_AUTHORIZED));
    broker.journal.expect(0, "its end", |line| line.says("closed") && line.text("username") == "revoked");
    // Whoever is lost in another way leaves its will as ever; it would come behind the other one.
    drop(neighbour);
    assert_eq!(watcher.message().1, "neighbour");
    assert_alive(&broker);
}

#[test]
fn h_05_a_change_of_the_configuration_is_a_change_of_what_is_trusted() {
    let (one, other) = (Authority::new("One"), Authority::new("Other"));
    let setup = mutual(&one.pem(), "publish");
    setup.file("other.pem", other.pem() + &one.pem());
    setup.file("strangers.pem", other.pem());
    let broker = setup.start();
    let mut client = enter(&broker, V5, &one.device("client"), "client");
    let text = std::fs::read_to_string(broker.dir().join("postern.conf")).unwrap();
    let swap = |ca: &str| {
        let mark = broker.journal.mark();
        broker.setup.file("postern.conf", text.replace("cacertfile = ca.pem", &format!("cacertfile = {ca}")));
        broker.signal("HUP");
        broker.journal.expect(mark, "it is in force", |line| line.text("message").contains("is in force"));
    };
    swap("other.pem");
    client.ping();
    swap("strangers.pem");
    assert_eq!(ended(&mut client), Some(NOT_AUTHORIZED));
    assert_alive(&broker);
}

#[test]
fn h_06_a_certificate_that_ends_ends_its_connection() {
    let ca = Authority::new("Short lives");
    let broker = mutual(&ca.pem(), "publish").start();
    let mut params = device("short");
    params.not_after = (SystemTime::now() + Duration::from_secs(5)).into();
    let mut short = enter(&broker, V5, &ca.sign(&params), "short");
    let mut long = enter(&broker, V5, &ca.device("long"), "long");
    short.ping();
    assert_eq!(ended(&mut short), Some(NOT_AUTHORIZED));
    assert!(SystemTime::now() >= SystemTime::from(params.not_after), "too early");
    let line = audit(&broker, "short");
    assert!(line.text("detail").contains("expired"), "{line:?}");
    long.ping();
    assert_alive(&broker);
}

#[test]
fn h_06_an_identity_that_ends_ends_its_connection() {
    let ca = Authority::new("Devices");
    let ends = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(6);
    let guest = format!(
        "{{ path = \"{}\", config {{ identity {{ do = allow, username = lasting, names {{ \"{NAME}\" {{ \
         do = allow, username = ending, expires = {} }} }} }} }} }}",
        plugin("hostile").display(),
        ends.as_millis()
    );
    let setup = Setup::new(&format!(
        "listeners.ssl.mutual {{ bind = \"127.0.0.1:0\"
           ssl_options {{ certfile = server.pem, keyfile = server.key, cacertfile = ca.pem, {REQUIRED} }}
           plugins = [{guest}] }}"
    ));
    Authority::new("Servers").server(&[NAME, "other.example.org"]).write(setup.dir.path(), "server");
    setup.file("ca.pem", ca.pem());
    let broker = setup.start();
    let as_named = |name: &str| {
        let offer = tls::naming(name).showing(&ca.device("device"));
        offer.enter(broker.address("ssl:mutual"), &Connect::new(V5, unique("h06")).keep_alive(0)).admitted()
    };
    let (mut ending, mut lasting) = (as_named(NAME), as_named("other.example.org"));
    let began = Instant::now();
    assert_eq!(ended(&mut ending), Some(NOT_AUTHORIZED));
    println!("closed after {:?}", began.elapsed());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(now >= ends, "too early");
    assert_eq!(audit(&broker, "ending").text("detail"), "the identity has ended");
    lasting.ping();
    assert_alive(&broker);
}
