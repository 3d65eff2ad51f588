//! H-01 to H-04: client certificates are judged by revocation lists, on `ssl` and on `wss`.

use std::fmt::Write as _;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::{Broker, Setup};
use postern_tests::pki::{self, Authority, Credentials, Crl};
use postern_tests::raw::RawClient;
use postern_tests::tls::{self, nameless};
use postern_tests::wire::{Connect, V5};
use rustls::AlertDescription;

use crate::frames::{Frames, ask, request};

/// How long a change of a file or an address may take to be seen: some looks, on a machine with much else to do.
pub(crate) const SEEN_WITHIN: Duration = Duration::from_secs(30);

/// Devices of a plant, whose authority is below the fleet's.
pub(crate) struct Fleet {
    pub(crate) root: Authority,
    pub(crate) plant: Authority,
    pub(crate) revoked: Credentials,
    pub(crate) neighbour: Credentials,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let root = Authority::new("Fleet");
        let plant = root.below("Plant", true);
        Self { revoked: plant.device("revoked-1"), neighbour: plant.device("neighbour-1"), root, plant }
    }

    /// The plant's list, with the revoked device on it.
    pub(crate) fn plant_crl(&self) -> Vec<u8> {
        self.plant.crl(&Crl::of(&[self.revoked.leaf()]))
    }

    /// The root's list, with nobody on it.
    pub(crate) fn root_crl(&self) -> Vec<u8> {
        self.root.crl(&Crl::of(&[]))
    }

    /// Two listeners that check by the same lists, and figures.
    pub(crate) fn setup(&self, crl: &str) -> Setup {
        let mut config = String::from("dashboard.listeners.http.bind = \"127.0.0.1:0\"\n");
        for kind in ["ssl", "wss"] {
            let _ = writeln!(
                config,
                "listeners.{kind}.checked {{ bind = \"127.0.0.1:0\", ssl_options {{ certfile = server.pem\n\
                 keyfile = server.key, cacertfile = ca.pem, verify = verify_peer, fail_if_no_peer_cert = true\n\
                 enable_crl_check = true\ncrl {{ {crl} }} }} }}"
            );
        }
        let setup = Setup::new(&config);
        Authority::new("Servers").server(&["localhost"]).write(setup.dir.path(), "server");
        setup.file("ca.pem", self.root.pem());
        setup
    }

    /// Both devices, what is expected of each, on both listeners.
    #[track_caller]
    pub(crate) fn assert_judged(&self, broker: &Broker) {
        for listener in ["ssl:checked", "wss:checked"] {
            assert!(lets_in(broker, listener, &self.neighbour), "{listener}: {}", broker.journal.text());
            assert_eq!(refused(broker, listener, &self.revoked).0, AlertDescription::CertificateRevoked, "{listener}");
        }
        assert_alive(broker);
    }
}

/// Whether a device gets as far as CONNACK on `ssl`, or the answer to its upgrade on `wss`.
fn lets_in(broker: &Broker, listener: &str, shown: &Credentials) -> bool {
    let address: SocketAddr = broker.address(listener);
    let offer = nameless().showing(shown);
    if listener.starts_with("ssl") {
        return offer.enter(address, &Connect::new(V5, unique("h"))).is_admitted();
    }
    let Ok(mut client) = offer.dial(address) else { return false };
    ask(&mut client.stream, &request("/mqtt", "localhost", Some("mqtt"))).is_ok_and(|head| head.contains(" 101 "))
}

/// The alert with which a device is refused, and what the log says of it.
#[track_caller]
pub(crate) fn refused(broker: &Broker, listener: &str, shown: &Credentials) -> (AlertDescription, String) {
    let mark = broker.journal.mark();
    let error = match nameless().showing(shown).dial(broker.address(listener)) {
        Err(error) => error,
        // Nothing is written: it could meet a closed socket, whose reset would overtake the alert.
        Ok(mut client) => client.stream.read(&mut [0]).unwrap_err(),
    };
    let line = broker.journal.expect(mark, "refused", |line| {
        line.says("refused") && line.text("listener") == listener && line.text("at") == "handshake"
    });
    (tls::refusal(&error).alert(), line.text("detail"))
}

/// Waits until a device is let in, or no longer.
#[track_caller]
pub(crate) fn wait_until(broker: &Broker, shown: &Credentials, is_in: bool) {
    for listener in ["ssl:checked", "wss:checked"] {
        let end = Instant::now() + SEEN_WITHIN;
        while lets_in(broker, listener, shown) != is_in {
            assert!(Instant::now() < end, "{listener}: in {} was wanted; {}", is_in, broker.journal.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn count(broker: &Broker, since: usize, message: &str) -> usize {
    broker.journal.since(since).iter().filter(|line| line.says(message)).count()
}

pub(crate) const RENEWED: &str = "revocation lists are renewed";
pub(crate) const TROUBLE: &str = "revocation lists cannot be renewed; what they said last counts until it is outdated";

#[test]
fn h_01_a_revoked_leaf_is_refused_and_its_neighbour_is_not() {
    let fleet = Fleet::new();
    let setup = fleet.setup("files = [plant.crl, root.pem]");
    setup.file("plant.crl", fleet.plant_crl());
    setup.file("root.pem", fleet.root.crl_pem(&Crl::of(&[])));
    assert!(setup.check().text.contains("ok, can be served"), "{:?}", setup.check());
    let broker = setup.start();
    fleet.assert_judged(&broker);
    let (_, detail) = refused(&broker, "ssl:checked", &fleet.revoked);
    assert!(detail.contains("revoked") && detail.contains("CN=revoked-1"), "{detail}");
    // Without a certificate it is the old story.
    assert!(!nameless().enter(broker.address("ssl:checked"), &Connect::new(V5, unique("h"))).is_admitted());
}

#[test]
fn h_01_a_revoked_intermediate_takes_its_devices_along() {
    let fleet = Fleet::new();
    let other = fleet.root.below("Other plant", true);
    let setup = fleet.setup("files = [plant.crl, other.crl, root.crl]");
    setup.file("plant.crl", fleet.plant_crl());
    setup.file("other.crl", other.crl(&Crl::of(&[])));
    setup.file("root.crl", fleet.root.crl(&Crl::of(&[&fleet.plant.certificate()])));
    let broker = setup.start();
    for listener in ["ssl:checked", "wss:checked"] {
        let (alert, detail) = refused(&broker, listener, &fleet.neighbour);
        assert_eq!(alert, AlertDescription::CertificateRevoked);
        assert!(detail.contains("CN=Plant"), "{detail}");
        assert!(lets_in(&broker, listener, &other.device("sensor-9")));
    }
    assert_alive(&broker);
}

#[test]
fn h_02_a_start_without_lists_is_refused() {
    let fleet = Fleet::new();
    let told = |crl: &str, words: &[&str]| {
        let setup = fleet.setup(crl);
        std::fs::create_dir(setup.dir.path().join("empty")).unwrap();
        setup.file("certificates.pem", fleet.root.pem());
        setup.file("mixed/.hidden", fleet.root_crl());
        setup.file("mixed/readme.txt", "words");
        for checked in [setup.check(), setup.serve_refused()] {
            assert_eq!(checked.code, Some(1), "{crl}: {checked:?}");
            for word in words {
                assert!(checked.text.contains(word), "{crl}: {word}: {checked:?}");
            }
        }
    };
    told("files = [absent.pem]", &["crl.files[0]", "there is no file", "absent.pem"]);
    told("directories = [empty]", &["crl.directories[0]", "has no file"]);
    told("directories = [absent]", &["crl.directories[0]", "cannot be listed"]);
    told("directories = [mixed]", &["readme.txt", "has no revocation list"]);
    told("files = [certificates.pem]", &["certificates.pem", "has no revocation list"]);
    told("", &["there is no list to check by"]);
}

#[test]
fn h_02_without_a_list_of_its_issuer_nobody_is_let_in() {
    let fleet = Fleet::new();
    let setup = fleet.setup("files = [root.crl]");
    // Of the client CA itself, the check can tell.
    let told = "clients that it issued will be refused";
    setup.file("root.crl", fleet.plant_crl());
    let text = setup.check().text;
    assert!(text.contains(&format!("no revocation list of CN=Fleet is loaded: {told}")), "{text}");
    setup.file("root.crl", Authority::new("Fleet").crl(&Crl::of(&[])));
    let text = setup.check().text;
    assert!(text.contains("under the name of CN=Fleet is signed with its key") && text.contains(told), "{text}");
    setup.file("root.crl", fleet.root_crl());
    assert!(!setup.check().text.contains(told));
    let broker = setup.start();
    for listener in ["ssl:checked", "wss:checked"] {
        let (alert, detail) = refused(&broker, listener, &fleet.neighbour);
        assert_eq!(alert, AlertDescription::CertificateUnknown);
        assert!(detail.contains("no revocation list of CN=Plant is loaded"), "{detail}");
        assert!(lets_in(&broker, listener, &fleet.root.device("gateway")));
    }
    assert_alive(&broker);
}

#[test]
fn h_02_what_happens_to_files_is_seen_and_a_bad_one_changes_nothing() {
    let fleet = Fleet::new();
    let setup = fleet.setup("files = [root.crl], directories = [crls]");
    setup.file("root.crl", fleet.root_crl());
    setup.file("crls/plant.pem", fleet.plant.crl_pem(&Crl::of(&[])));
    let broker = setup.start();
    for listener in ["ssl:checked", "wss:checked"] {
        assert!(lets_in(&broker, listener, &fleet.revoked), "not on the list yet");
    }
    // Revoked while the broker runs.
    broker.setup.file("crls/plant.pem", fleet.plant.crl_pem(&Crl::of(&[fleet.revoked.leaf()])));
    wait_until(&broker, &fleet.revoked, false);
    fleet.assert_judged(&broker);

    // Half of a file, garbage, no file at all: what was read last counts, and the log says so once for each.
    let whole = fleet.plant_crl();
    for content in [Some(whole[..whole.len() / 2].to_vec()), Some(b"garbage".to_vec()), None] {
        let mark = broker.journal.mark();
        match content {
            Some(content) => broker.setup.file("crls/plant.pem", content),
            None => std::fs::remove_dir_all(broker.dir().join("crls")).unwrap(),
        }
        broker.journal.expect(mark, TROUBLE, |line| line.says(TROUBLE));
        fleet.assert_judged(&broker);
        assert_eq!(count(&broker, mark, TROUBLE), 1, "{}", broker.journal.text());
    }

    // Whole again, under another name, and the other way round.
    let mark = broker.journal.mark();
    let newer = fleet.plant.crl(&Crl { this_update: -60, ..Crl::of(&[fleet.neighbour.leaf()]) });
    broker.setup.file("crls/plant-2.crl", newer);
    wait_until(&broker, &fleet.revoked, true);
    wait_until(&broker, &fleet.neighbour, false);
    broker.journal.expect(mark, RENEWED, |line| line.says(RENEWED));
    broker.journal.expect(mark, "recovered", |line| line.says("revocation lists can be renewed again"));
    assert_alive(&broker);
}

#[test]
fn h_02_a_list_that_runs_out_while_its_file_is_gone_lets_nobody_in() {
    let fleet = Fleet::new();
    let setup = fleet.setup("files = [root.crl, plant.crl]");
    setup.file("root.crl", fleet.root_crl());
    // Long enough for a slow start.
    setup.file("plant.crl", fleet.plant.crl(&Crl { next_update: 40, ..Crl::of(&[]) }));
    let broker = setup.start();
    std::fs::remove_file(broker.dir().join("plant.crl")).unwrap();
    broker.journal.expect(0, TROUBLE, |line| line.says(TROUBLE));
    assert!(lets_in(&broker, "ssl:checked", &fleet.neighbour), "{}", broker.journal.text());
    let end = Instant::now() + Duration::from_secs(90);
    while lets_in(&broker, "ssl:checked", &fleet.neighbour) {
        assert!(Instant::now() < end, "still let in");
        std::thread::sleep(Duration::from_millis(200));
    }
    let (_, detail) = refused(&broker, "wss:checked", &fleet.neighbour);
    assert!(detail.contains("the revocation list of CN=Plant is outdated since"), "{detail}");
    let told = "a revocation list is outdated; clients that it covers are refused";
    broker.journal.expect(0, told, |line| line.says(told) && line.text("issuer") == "CN=Plant");
    assert_alive(&broker);
}

#[test]
fn h_03_outdated_lists_count_as_the_policy_says() {
    const HOUR: i64 = 3_600;
    let fleet = Fleet::new();
    let revoked = [fleet.revoked.leaf()];
    let outdated = Crl { this_update: -48 * HOUR, next_update: -HOUR, ..Crl::of(&revoked) };
    for (policy, is_in) in [("refuse", false), ("{ grace = 30m }", false), ("{ grace = 2h }", true)] {
        let setup = fleet.setup(&format!("files = [root.crl, plant.crl], outdated = {policy}"));
        setup.file("root.crl", fleet.root_crl());
        setup.file("plant.crl", fleet.plant.crl(&outdated));
        assert!(setup.check().text.contains("the list of CN=Plant is outdated"), "{:?}", setup.check());
        let broker = setup.start();
        for listener in ["ssl:checked", "wss:checked"] {
            assert_eq!(lets_in(&broker, listener, &fleet.neighbour), is_in, "{policy}: {}", broker.journal.text());
            assert_eq!(refused(&broker, listener, &fleet.revoked).0, AlertDescription::CertificateRevoked);
        }
        let words = "a revocation list is outdated; ";
        broker.journal.expect(0, words, |line| line.text("message").starts_with(words));
        assert_alive(&broker);
    }
}

#[test]
fn h_03_a_list_from_the_future_does_not_count() {
    let fleet = Fleet::new();
    let setup = fleet.setup("files = [root.crl, plant.crl]");
    setup.file("root.crl", fleet.root_crl());
    setup.file("plant.crl", fleet.plant.crl(&Crl { this_update: 7_200, ..Crl::of(&[]) }));
    let broker = setup.start();
    for listener in ["ssl:checked", "wss:checked"] {
        let (alert, detail) = refused(&broker, listener, &fleet.neighbour);
        assert_eq!(alert, AlertDescription::CertificateUnknown);
        assert!(detail.contains("does not hold before"), "{detail}");
    }
    broker.setup.file("plant.crl", fleet.plant_crl());
    wait_until(&broker, &fleet.neighbour, true);
    fleet.assert_judged(&broker);
}

#[test]
fn h_04_only_lists_of_the_issuer_itself_count() {
    let fleet = Fleet::new();
    let impostor = fleet.root.below("Plant", true);
    let setup = fleet.setup("directories = [crls]");
    setup.file("crls/root.pem", fleet.root.crl_pem(&Crl::of(&[])));
    // Another authority of the same name, and the root with a device's serial number that is not its own.
    setup.file("crls/impostor.pem", impostor.crl_pem(&Crl::of(&[])));
    setup.file("crls/root-2.pem", fleet.root.crl_pem(&Crl { this_update: -60, ..Crl::of(&[fleet.neighbour.leaf()]) }));
    let broker = setup.start();
    for listener in ["ssl:checked", "wss:checked"] {
        let (alert, detail) = refused(&broker, listener, &fleet.neighbour);
        assert_eq!(alert, AlertDescription::CertificateUnknown);
        assert!(detail.contains("no revocation list under the name of CN=Plant is signed with its key"), "{detail}");
    }
    // PEM with two lists, beside them.
    let both = fleet.plant.crl_pem(&Crl::of(&[fleet.revoked.leaf()])) + &fleet.root.crl_pem(&Crl::of(&[]));
    broker.setup.file("crls/both.pem", both);
    wait_until(&broker, &fleet.neighbour, true);
    fleet.assert_judged(&broker);
}

#[test]
fn h_04_a_list_of_a_distribution_point_counts_for_those_that_name_it() {
    const HERE: &str = "http://crl.example.org/plant-1.crl";
    let fleet = Fleet::new();
    let setup = fleet.setup("files = [root.crl, plant.crl]");
    setup.file("root.crl", fleet.root_crl());
    setup.file("plant.crl", fleet.plant.crl(&Crl { distribution_point: Some(HERE), ..Crl::of(&[]) }));
    let broker = setup.start();
    let mut params = pki::device("sensor-1");
    params.crl_distribution_points = vec![rcgen::CrlDistributionPoint { uris: vec![HERE.to_owned()] }];
    let named = fleet.plant.sign(&params);
    for listener in ["ssl:checked", "wss:checked"] {
        assert!(lets_in(&broker, listener, &named), "{}", broker.journal.text());
        let (alert, detail) = refused(&broker, listener, &fleet.neighbour);
        assert_eq!(alert, AlertDescription::CertificateUnknown);
        assert!(detail.contains("no revocation list of CN=Plant is for this certificate"), "{detail}");
    }
    assert_alive(&broker);
}

#[test]
fn h_04_lists_that_cannot_be_used_are_named_and_no_start_is_made_with_them() {
    let fleet = Fleet::new();
    for (file, words) in [
        ("damaged", "it is no revocation list (RFC 5280), or damaged"),
        ("cut", "has no matching END line; the file may be cut short"),
        ("delta", "list 1 (of CN=Plant): it is a delta list; a complete one is wanted"),
    ] {
        let setup = fleet.setup(&format!("files = [{file}]"));
        let mut damaged = fleet.plant_crl();
        damaged.truncate(damaged.len() - 7);
        setup.file("damaged", damaged);
        let pem = fleet.plant.crl_pem(&Crl::of(&[]));
        setup.file("cut", &pem[..pem.len() - 40]);
        if file == "delta" {
            openssl_delta(&fleet, setup.dir.path());
        }
        let checked = setup.check();
        assert_eq!(checked.code, Some(1), "{checked:?}");
        assert!(checked.text.contains(words), "{words}: {checked:?}");
    }
}

/// A delta list, and by the way a complete one, as OpenSSL makes them.
fn openssl_delta(fleet: &Fleet, dir: &Path) {
    let config = "[ca]\ndefault_ca = plant\n[plant]\ndatabase = index.txt\ncrlnumber = number\ndefault_md = sha256\n\
                  default_crl_days = 2\ncrl_extensions = full\n[full]\nauthorityKeyIdentifier = keyid\n\
                  [delta]\n2.5.29.27 = critical,DER:020101\n";
    std::fs::write(dir.join("ca.cnf"), config).unwrap();
    let serial = postern_tests::der::serial(fleet.revoked.leaf());
    let serial: String = serial.iter().fold(String::new(), |text, byte| text + &format!("{byte:02X}"));
    let index = format!("R\t401231235959Z\t261101000000Z,keyCompromise\t{serial}\tunknown\t/CN=revoked-1\n");
    std::fs::write(dir.join("index.txt"), index).unwrap();
    std::fs::write(dir.join("number"), "01\n").unwrap();
    std::fs::write(dir.join("plant.pem"), pki::pem("CERTIFICATE", &fleet.plant.certificate())).unwrap();
    std::fs::write(dir.join("plant.key"), fleet.plant.key_pem()).unwrap();
    for (out, extensions) in [("complete", "full"), ("delta", "delta")] {
        let made = Command::new("openssl")
            .args(["ca", "-gencrl", "-config", "ca.cnf", "-cert", "plant.pem", "-keyfile", "plant.key"])
            .args(["-crlexts", extensions, "-out", out])
            .current_dir(dir)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}

#[test]
fn h_01_lists_that_openssl_makes_are_understood() {
    let fleet = Fleet::new();
    let setup = fleet.setup("files = [root.crl, complete]");
    setup.file("root.crl", fleet.root_crl());
    openssl_delta(&fleet, setup.dir.path());
    fleet.assert_judged(&setup.start());
}

#[test]
fn h_05_a_client_that_is_revoked_while_it_is_connected_is_closed() {
    const NOT_AUTHORIZED: u8 = 0x87;
    let fleet = Fleet::new();
    let setup = fleet.setup("files = [root.crl, plant.crl]");
    setup.file("root.crl", fleet.root_crl());
    setup.file("plant.crl", fleet.plant.crl(&Crl::of(&[])));
    let broker = setup.start();
    let dial = |kind: &str, shown| nameless().showing(shown).dial(broker.address(&format!("{kind}:checked"))).unwrap();
    let connect = || Connect::new(V5, unique("h05")).keep_alive(0);
    let enter = |shown| {
        let mut plain = dial("ssl", shown);
        plain.enter(&connect());
        let mut web = RawClient::over(Frames::upgrade(dial("wss", shown).stream, "localhost"));
        web.enter(&connect());
        (plain, web)
    };
    let (mut revoked, mut neighbour) = (enter(&fleet.revoked), enter(&fleet.neighbour));
    // That a list is late is no reason to send anybody away; that one is listed is.
    std::fs::remove_file(broker.dir().join("plant.crl")).unwrap();
    broker.journal.expect(0, TROUBLE, |line| line.says(TROUBLE));
    broker.setup.file("plant.crl", fleet.plant_crl());
    let within = Duration::from_mins(1);
    let told = revoked.0.closed_within(within).unwrap_or_else(|said| panic!("still in on ssl: {said:?}")).disconnect();
    assert_eq!(told, Some(NOT_AUTHORIZED));
    let told = revoked.1.closed_within(within).unwrap_or_else(|said| panic!("still in on wss: {said:?}")).disconnect();
    assert_eq!(told, Some(NOT_AUTHORIZED));
    neighbour.0.ping();
    neighbour.1.ping();
    assert_alive(&broker);
}

/// The lines of the example that are to be run, by what stands before them.
fn run_lines(example: &str, prefix: &str, dir: &Path) {
    for line in example.lines().filter_map(|line| line.strip_prefix(prefix)) {
        let ran = Command::new("sh").args(["-ec", line]).current_dir(dir).output().unwrap();
        assert!(ran.status.success(), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[test]
fn the_example_does_what_it_says() {
    let example = std::fs::read_to_string(postern_tests::broker::root().join("examples/revocation.conf")).unwrap();
    let setup = Setup::bare(&example).env("POSTERN_LISTENERS__SSL__DEFAULT__BIND", "127.0.0.1:0");
    run_lines(&example, "#   $ ", setup.dir.path());
    let broker = setup.start();
    let address = broker.address("ssl:default").to_string();
    let shaken = || {
        let mark = broker.journal.mark();
        let client = ["s_client", "-connect", &address, "-cert", ".revocation/device.pem", "-key"];
        let ran = Command::new("openssl")
            .args(client)
            .arg(".revocation/device.key")
            .stdin(std::process::Stdio::null())
            .current_dir(broker.dir())
            .output();
        ran.unwrap();
        // It leaves without a CONNECT, if it gets so far.
        broker.journal.expect(mark, "its end", |line| line.says("refused"))
    };
    assert_eq!(shaken().text("at"), "connect");
    run_lines(&example, "#   $$ ", broker.dir());
    let end = Instant::now() + SEEN_WITHIN;
    while shaken().text("reason") != "revoked" {
        assert!(Instant::now() < end, "{}", broker.journal.text());
    }
}
