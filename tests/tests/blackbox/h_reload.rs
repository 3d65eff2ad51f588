//! Certificates that change while the broker runs, and a configuration that is read again on SIGHUP.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::{Broker, Setup};
use postern_tests::http::Scrape;
use postern_tests::pki::{Authority, Credentials};
use postern_tests::raw::{self, RawClient};
use postern_tests::tls::{self, Offer, Returning, TlsStream};
use postern_tests::wire::{Connect, V3_1_1, V5};
use rustls::HandshakeKind;

use crate::fixture::{REQUIRED, entry, mtls_identity};
use crate::frames::Frames;

/// A change must be served by then, on a busy machine.
const SERVED_WITHIN: Duration = Duration::from_secs(20);
const NAME: &str = "mqtt.example.org";
const HTTP: &str = "dashboard.listeners.http.bind = \"127.0.0.1:0\"";

/// A certificate that no other one is like, with an intermediate of its own: a chain in which the two do not belong
/// together is seen.
fn generation(root: &Authority) -> Credentials {
    root.below(&unique("intermediate"), true).server(&[NAME])
}

/// The whole chain that a handshake is served; it proves that the server has the leaf's key.
fn chain_at(address: SocketAddr) -> Vec<Vec<u8>> {
    let client = tls::naming(NAME).dial(address).unwrap_or_else(|error| panic!("a handshake failed: {error}"));
    chain_of(&client)
}

fn chain_of(client: &RawClient<TlsStream>) -> Vec<Vec<u8>> {
    client.stream.conn.peer_certificates().unwrap().iter().map(|der| der.to_vec()).collect()
}

fn chain(credentials: &Credentials) -> Vec<Vec<u8>> {
    credentials.chain.iter().map(|der| der.to_vec()).collect()
}

/// Waits until handshakes are served this chain; how long that took.
fn await_served(address: SocketAddr, wanted: &Credentials) -> Duration {
    let began = Instant::now();
    while chain_at(address) != chain(wanted) {
        assert!(began.elapsed() < SERVED_WITHIN, "not served after {SERVED_WITHIN:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    began.elapsed()
}

/// A directory as Kubernetes mounts a secret: files are links through `..data` to a directory that is swapped.
fn mount_secret(dir: &Path, version: usize, files: &[(&str, &str)]) {
    let own = format!("..version-{version}");
    fs::create_dir_all(dir.join(&own)).unwrap();
    for (name, text) in files {
        fs::write(dir.join(&own).join(name), text).unwrap();
        if fs::symlink_metadata(dir.join(name)).is_err() {
            symlink(Path::new("..data").join(name), dir.join(name)).unwrap();
        }
    }
    symlink(&own, dir.join("..data_tmp")).unwrap();
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    for old in (0..version).map(|old| dir.join(format!("..version-{old}"))) {
        let _ = fs::remove_dir_all(old);
    }
}

/// Each file in one step, one after the other.
fn rename_into(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        fs::write(dir.join("new"), text).unwrap();
        fs::rename(dir.join("new"), dir.join(name)).unwrap();
    }
}

fn write_into(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        fs::write(dir.join(name), text).unwrap();
    }
}

/// An `ssl` listener with files as Kubernetes mounts them, a `wss` listener with a bundle and plugins, and a bundle
/// that has nothing to do with it.
fn rotating(root: &Authority) -> (Broker, Credentials) {
    let first = generation(root);
    let plugins = [entry("namespace-lookup", ""), entry("sni-selector", "")].join("\n");
    let setup = Setup::new(&format!(
        "{HTTP}\n
         listeners.ssl.mounted {{ bind = \"127.0.0.1:0\", max_unauthenticated_per_address = 100000
           ssl_options {{ certfile = \"secret/tls.crt\", keyfile = \"secret/tls.key\" }} }}
         listeners.wss.managed {{ bind = \"127.0.0.1:0\", max_unauthenticated_per_address = 100000
           ssl_options.managed_certs = [{{ bundle_name = rotated }}, {{ bundle_name = other, sni = other.example.org }}]
           plugins = [{plugins}] }}"
    ));
    mount_secret(
        &setup.dir.path().join("secret"),
        0,
        &[("tls.crt", &first.chain_pem()), ("tls.key", &first.key_pem())],
    );
    first.write_bundle(setup.dir.path(), "global", "rotated", None);
    root.server(&["other.example.org"]).write_bundle(setup.dir.path(), "global", "other", None);
    (setup.start(), first)
}

fn from_environment(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// The full size: `POSTERN_TEST_ROTATIONS=100 POSTERN_TEST_ROTATION_CLIENTS=1000`.
#[test]
fn h_17_bundles_rotate_under_a_stream_of_handshakes_and_nobody_notices() {
    let rotations = from_environment("POSTERN_TEST_ROTATIONS", 6);
    let clients = from_environment("POSTERN_TEST_ROTATION_CLIENTS", 40);
    let root = Authority::new("Rotation");
    let (broker, first) = rotating(&root);
    let (mounted, managed) = (broker.address("ssl:mounted"), broker.address("wss:managed"));
    let enter = |_| tls::naming(NAME).enter(mounted, &Connect::new(V5, unique("live")).keep_alive(0)).admitted();
    let mut live = (0..clients).map(enter).collect::<Vec<_>>();
    let over = Frames::upgrade(tls::naming(NAME).dial(managed).unwrap().stream, NAME);
    let mut browser = RawClient::over(over);
    browser.enter(&Connect::new(V5, unique("live-wss")).keep_alive(0));
    let before = Scrape::of(broker.address("http:dashboard"));

    let generations = (0..rotations).map(|_| generation(&root)).collect::<Vec<_>>();
    let known = [&first].into_iter().chain(&generations).map(chain).collect::<Vec<_>>();
    let (done, handshakes) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for address in [mounted, managed] {
            let (known, done, handshakes) = (&known, &done, &handshakes);
            scope.spawn(move || {
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) {
                    let served = chain_at(address);
                    let at = known.iter().position(|known| *known == served).expect("a chain that never was written");
                    assert!(at >= newest, "the chain {at} after the chain {newest}");
                    newest = at;
                    handshakes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut slowest = Duration::ZERO;
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for (number, next) in generations.iter().enumerate() {
                let (chain, key) = (next.chain_pem(), next.key_pem());
                let dir = broker.dir();
                mount_secret(&dir.join("secret"), number + 1, &[("tls.crt", &chain), ("tls.key", &key)]);
                let files = [("chain.pem", chain.as_str()), ("key.pem", key.as_str())];
                let bundle = dir.join("data/certs/global/rotated");
                if number % 2 == 0 {
                    rename_into(&bundle, &files);
                } else {
                    write_into(&bundle, &files);
                }
                slowest = slowest.max(await_served(mounted, next)).max(await_served(managed, next));
            }
        }));
        done.store(true, Ordering::Relaxed);
        ended.unwrap();
        println!("slowest of {rotations} rotations: {slowest:?}");
    });
    for client in &mut live {
        client.ping();
    }
    browser.ping();
    println!("{} handshakes, {} clients stayed", handshakes.load(Ordering::Relaxed), live.len() + 1);

    let after = Scrape::of(broker.address("http:dashboard"));
    let count = r#"postern_reloads_total{what="certificates",result="served"}"#;
    assert!(after.since(&before, count) >= f64::from(u32::try_from(rotations).unwrap()), "{after:?}");
    let calls = r#"postern_plugin_calls_total{listener="wss:managed",plugin="sni-selector",position="2"}"#;
    assert!(after.get(calls) + after.get(&calls.replace("calls", "cache_hits")) > 0.0);
    for (name, grown) in
        before.names().into_iter().filter(|name| name.contains("_total")).map(|name| (name, after.since(&before, name)))
    {
        assert!(grown >= 0.0, "{name} went back by {grown}");
    }
    assert_alive(&broker);
}

#[test]
fn h_17_half_a_set_is_refused_once_and_its_neighbour_and_the_whole_one_are_served() {
    let root = Authority::new("Rotation");
    let (broker, first) = rotating(&root);
    let managed = broker.address("wss:managed");
    let bundle = broker.dir().join("data/certs/global/rotated");
    let mark = broker.journal.mark();
    let next = generation(&root);
    // The new certificate beside the old key.
    rename_into(&bundle, &[("chain.pem", &next.chain_pem())]);
    let told = |line: &postern_tests::journal::Line| line.text("message").contains(", private key: ");
    let line = broker.journal.expect(mark, "the key does not fit", |line| {
        let message = line.text("message");
        message.contains("bundle (global)/rotated, private key: ")
            && message.contains("does not belong to the certificate")
    });
    assert_eq!(line.text("level"), "ERROR");
    assert!(line.text("message").contains("data/certs/global/rotated"), "{line:?}");
    assert!(line.text("message").ends_with("what was served before is served on"), "{line:?}");
    assert_eq!(chain_at(managed), chain(&first));
    let current = r#"postern_reload_current{what="certificates"}"#;
    assert!(Scrape::of(broker.address("http:dashboard")).get(current) < 0.5);

    // A bundle of the same listener is none the worse.
    let other = root.server(&["other.example.org"]);
    other.write_bundle(broker.dir(), "global", "other", None);
    let began = Instant::now();
    while tls::naming("other.example.org").served(managed).unwrap() != other.leaf() {
        assert!(began.elapsed() < SERVED_WITHIN, "the neighbour is not served");
    }
    assert_eq!(chain_at(managed), chain(&first));

    // The bundle is gone altogether, and there again with its key.
    fs::rename(&bundle, bundle.with_file_name("away")).unwrap();
    broker.journal.expect(mark, "no file", |line| line.text("message").contains("there is no file"));
    assert_eq!(chain_at(managed), chain(&first));
    fs::rename(bundle.with_file_name("away"), &bundle).unwrap();
    rename_into(&bundle, &[("key.pem", &next.key_pem())]);
    await_served(managed, &next);
    broker.journal.expect(mark, "all is well", |line| line.says("all certificates are served as their files are"));
    assert!(Scrape::of(broker.address("http:dashboard")).get(current) > 0.5);
    let lines = broker.journal.since(mark);
    assert_eq!(lines.iter().filter(|line| told(line) && line.text("level") == "ERROR").count(), 1, "{lines:#?}");
    assert!(lines.iter().all(|line| !line.raw.contains("PRIVATE KEY")));
    assert_alive(&broker);
}

#[test]
fn h_12_a_ticket_dies_with_its_bundle_and_outlives_a_change_of_its_neighbour() {
    let root = Authority::new("Rotation");
    let plugins = [entry("namespace-lookup", ""), entry("sni-selector", "")].join("\n");
    let setup = Setup::new(&format!(
        "listeners.ssl.managed {{ bind = \"127.0.0.1:0\", max_unauthenticated_per_address = 1000
           ssl_options {{ session_tickets = stateless
             managed_certs = [{{ bundle_name = rotated }}, {{ bundle_name = other, sni = other.example.org }}] }}
           plugins = [{plugins}] }}"
    ));
    generation(&root).write_bundle(setup.dir.path(), "global", "rotated", None);
    root.server(&["other.example.org"]).write_bundle(setup.dir.path(), "global", "other", None);
    let broker = setup.start();
    let address = broker.address("ssl:managed");
    let is_resumed = |client: &Returning| {
        let (_, entry) = client.enter_from(address, &Connect::new(V5, unique("h12")));
        let mut client = entry.admitted();
        client.ping();
        let kind = client.stream.conn.handshake_kind();
        client.leave();
        kind == Some(HandshakeKind::Resumed)
    };
    let (rotated, other) = (tls::naming(NAME).returning(), tls::naming("other.example.org").returning());
    for client in [&rotated, &other] {
        assert!(!is_resumed(client) && is_resumed(client), "what is switched on");
    }
    let next = generation(&root);
    next.write_bundle(broker.dir(), "global", "rotated", None);
    await_served(address, &next);
    assert!(!is_resumed(&rotated), "a session of the bundle of before");
    assert!(is_resumed(&rotated) && is_resumed(&other));
    let text = fs::read_to_string(broker.dir().join("postern.conf")).unwrap();
    hang_up(&broker, &text, IN_FORCE);
    assert!(is_resumed(&rotated) && is_resumed(&other), "the configuration is the same");
    assert_alive(&broker);
}

#[test]
fn h_17_a_key_of_another_certificate_is_refused_and_the_right_one_is_served() {
    let root = Authority::new("Rotation");
    let (broker, first) = rotating(&root);
    let mounted = broker.address("ssl:mounted");
    let secret = broker.dir().join("secret");
    let (next, stranger) = (generation(&root), generation(&root));
    mount_secret(&secret, 1, &[("tls.crt", &next.chain_pem()), ("tls.key", &stranger.key_pem())]);
    let line = broker.journal.expect(0, "the key does not fit", |line| line.text("message").contains("private key: "));
    assert!(line.text("message").contains("listeners.ssl.mounted.ssl_options"), "{line:?}");
    assert_eq!(chain_at(mounted), chain(&first));
    mount_secret(&secret, 2, &[("tls.crt", &next.chain_pem()), ("tls.key", &next.key_pem())]);
    await_served(mounted, &next);
    // No certificate at all.
    mount_secret(&secret, 3, &[("tls.crt", "nothing"), ("tls.key", &next.key_pem())]);
    broker.journal.expect(0, "no certificate", |line| line.text("message").contains("certificate chain: "));
    assert_eq!(chain_at(mounted), chain(&next));
    assert_alive(&broker);
}

/// A listener that asks for certificates, with its CA in a file of its own.
fn mutual(ca: &Authority, server: &Credentials) -> Setup {
    let setup = Setup::new(&format!(
        "listeners.ssl.mutual {{ bind = \"127.0.0.1:0\"
           ssl_options {{ certfile = server.pem, keyfile = server.key, cacertfile = ca.pem, {REQUIRED} }}
           plugins = [{}] }}",
        mtls_identity(r#"{ source = "subject.cn", set = "username" }"#)
    ));
    server.write(setup.dir.path(), "server");
    setup.file("ca.pem", ca.pem());
    setup
}

#[test]
fn h_17_a_ca_that_is_added_lets_its_clients_in_while_the_others_go_on() {
    let (old, new) = (Authority::new("Old devices"), Authority::new("New devices"));
    let broker = mutual(&old, &Authority::new("Servers").server(&[NAME])).start();
    let address = broker.address("ssl:mutual");
    let enter = |device: &Credentials| {
        let offer: Offer = tls::naming(NAME).showing(device);
        offer.enter(address, &Connect::new(V5, unique("h17")).keep_alive(0))
    };
    let (anna, ben) = (old.device("anna"), new.device("ben"));
    let mut live = enter(&anna).admitted();
    assert!(!enter(&ben).is_admitted());
    broker.setup.file("ca.pem", old.pem() + &new.pem());
    let began = Instant::now();
    while !enter(&ben).is_admitted() {
        assert!(began.elapsed() < SERVED_WITHIN, "the new CA's clients are not let in");
    }
    enter(&anna).admitted().leave();
    live.ping();
    assert_alive(&broker);
}

const HASH: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

fn configuration(extra: &str) -> String {
    format!(
        "node {{ name = \"blackbox\", data_dir = \"data\" }}
         listeners.tcp.control {{ bind = \"127.0.0.1:0\", enable_authn = false, max_unauthenticated_per_address = 100000 }}
         listeners.tcp.users {{ bind = \"127.0.0.1:0\", max_unauthenticated_per_address = 100000 }}
         authentication = [{{ mechanism = password_based, backend = file, users = users }}]
         authorization.rules = [{{ permission = allow, topics = [\"control/#\", \"old/#\"] }}]
         {extra}\n"
    )
}

fn hang_up(broker: &Broker, text: &str, wanted: &str) -> usize {
    let mark = broker.journal.mark();
    broker.setup.file("postern.conf", text);
    broker.signal("HUP");
    broker.journal.expect(mark, wanted, |line| line.text("message").starts_with(wanted));
    mark
}

#[test]
fn e_07_what_was_queued_does_not_reach_a_client_whose_right_was_taken_away_meanwhile() {
    let rules = |topics: &str| {
        format!(
            "node.data_dir = data\nlisteners.tcp.control.bind = \"127.0.0.1:0\"\n\
             authorization.rules = [\n\
             {{ permission = allow, action = publish, topics = all }}\n\
             {{ permission = allow, action = subscribe, topics = [{topics}] }}]"
        )
    };
    let broker = Setup::bare(&rules("\"kept/#\", \"taken/#\"")).start();
    let connect = Connect::new(V5, unique("e07")).persistent();
    let mut client = raw::enter(broker.control(), &connect);
    client.subscribe("taken/#", 1).subscribe("kept/#", 1);
    client.leave();
    let publish = |topic: &str| _ = raw::enter(broker.control(), &Connect::new(V5, unique("p"))).publish(topic, topic);
    publish("taken/1");
    publish("kept/1");
    hang_up(&broker, &rules("\"kept/#\""), IN_FORCE);
    let mut back = raw::dial(broker.control());
    assert!(back.enter(&connect).session_present());
    publish("taken/2");
    publish("kept/2");
    let came = [back.message(), back.message()].map(|(topic, _)| topic);
    assert_eq!(came, ["kept/1", "kept/2"]);
}

const IN_FORCE: &str = "the configuration was read again";
const REFUSED: &str = "the new configuration is refused";

#[test]
fn h_18_on_sighup_a_wrong_configuration_is_refused_and_a_right_one_is_in_force() {
    let setup = Setup::bare(&configuration(""));
    setup.file("users", format!("alice:{HASH}\n"));
    let broker = setup.start();
    let address = broker.address("tcp:users");
    let as_user = |name: &str| Connect::new(V3_1_1, unique("h18")).username(name).password("password");
    let mut earlier = raw::enter(address, &as_user("alice"));

    // Users and rules are of one piece with the rest.
    broker.setup.file("users", format!("alice:{HASH}\nbob:{HASH}\n"));
    let new_rules = "authorization.rules = [{ permission = allow, topics = [\"control/#\", \"new/#\"] }]";
    let wrong = configuration(&format!("{new_rules}\nlisteners.tcp.users.max_conections = 7"));
    let mark = hang_up(&broker, &wrong, REFUSED);
    let line = broker.journal.expect(mark, "the place", |line| line.text("message").starts_with("postern.conf:"));
    assert_eq!(line.text("level"), "ERROR");
    assert!(line.text("message").contains("did you mean `max_connections`?"), "{line:?}");
    assert_ne!(raw::dial(address).refused(&as_user("bob")), 0);
    raw::enter(address, &as_user("alice")).subscribe("old/1", 1);
    let truncated = hang_up(&broker, "listeners.tcp {", REFUSED);
    assert!(broker.journal.since(truncated).iter().any(|line| line.text("message").starts_with("postern.conf:1")));

    hang_up(&broker, &configuration(new_rules), IN_FORCE);
    let mut bob = raw::enter(address, &as_user("bob"));
    bob.subscribe("new/1", 1);
    let denied = bob.codes(&postern_tests::wire::subscribe(V3_1_1, 9, "old/1", 1));
    assert_eq!(denied, [0x80]);
    earlier.ping();
    // Who is in has the rights of its CONNECT.
    earlier.subscribe("old/2", 1);

    let closed = configuration(&format!("{new_rules}\nlisteners.tcp.users.access_rules = [\"deny all\"]"));
    hang_up(&broker, &closed, IN_FORCE);
    raw::dial(address).closed();
    earlier.ping();
    assert_alive(&broker);
}

#[test]
fn h_18_what_sighup_cannot_change_is_said_and_nothing_is_silently_ignored() {
    let setup = Setup::bare(&configuration(""));
    setup.file("users", format!("alice:{HASH}\n"));
    let broker = setup.start();
    let text = configuration("listeners.tcp.late.bind = \"127.0.0.1:0\"\nmqtt.max_mqueue_len = 5\n")
        .replace("name = \"blackbox\"", "name = \"other\"")
        .replace("listeners.tcp.users { bind", "listeners.tcp.users { enable = false, bind");
    let mark = hang_up(&broker, &text, IN_FORCE);
    let told = |what: &str| {
        let lines = broker.journal.since(mark);
        let found = lines.iter().filter(|line| line.text("level") == "WARN" && line.text("message").contains(what));
        assert_eq!(found.count(), 1, "{what}: {lines:#?}");
    };
    told("node: the change takes effect at the next start");
    told("limits of sessions, retained messages and tenants");
    told("listeners.tcp.late is opened at the next start");
    told("listeners.tcp.users is closed at the next start; until then it serves as before");
    let alice = Connect::new(V5, unique("h18")).username("alice").password("password");
    raw::enter(broker.address("tcp:users"), &alice).leave();
    assert_alive(&broker);
}
