//! Revocation lists that are fetched, and that go on under a new configuration.

use std::time::{Duration, Instant};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::http::Scrape;
use postern_tests::http_server::{HttpServer, Reply};
use postern_tests::pki::Crl;
use postern_tests::tls::nameless;
use postern_tests::wire::{Connect, V5};
use rustls::AlertDescription;

use crate::h_revocation::{Fleet, RENEWED, TROUBLE, refused, wait_until};

#[track_caller]
fn assert_is(figures: &Scrape, series: &str, value: f64) {
    assert!(figures.has(series) && (figures.get(series) - value).abs() < 0.5, "{series}: {}", figures.get(series));
}

#[test]
fn lists_are_fetched_in_the_background_and_until_then_nobody_is_let_in() {
    let fleet = Fleet::new();
    let server = HttpServer::start(Reply::With(404, b"not there".to_vec()));
    let setup = fleet.setup(&format!("files = [root.crl], urls = [\"{}\"]", server.url("plant.crl")));
    setup.file("root.crl", fleet.root_crl());
    let checked = setup.check();
    assert_eq!((checked.code, server.asked()), (Some(0), 0), "a check fetches nothing: {checked:?}");
    let broker = setup.start();
    for listener in ["ssl:checked", "wss:checked"] {
        let (_, detail) = refused(&broker, listener, &fleet.neighbour);
        assert!(detail.contains("no revocation list of CN=Plant is loaded"), "{detail}");
    }
    server.wait_until_asked(1);
    // One line for the fault, however often it is asked, and one for its end.
    let of_server = |message: &str| {
        let line = broker.journal.lines();
        line.iter().filter(|line| line.says(message) && line.text("source").starts_with("http://")).count()
    };
    assert_eq!(of_server(TROUBLE), 1, "{}", broker.journal.text());
    let figures = Scrape::of(broker.address("http:dashboard"));
    let label = |listener: &str| format!("{{listener=\"{listener}\",source=\"{}\"}}", server.url("plant.crl"));
    for listener in ["ssl:checked", "wss:checked"] {
        assert!(figures.get(&format!("postern_crl_failures_total{}", label(listener))) >= 1.0);
        assert_is(&figures, &format!("postern_crl_lists{}", label(listener)), 0.0);
    }

    server.reply(Reply::With(200, fleet.plant_crl()));
    wait_until(&broker, &fleet.neighbour, true);
    fleet.assert_judged(&broker);
    assert_eq!(of_server("revocation lists can be renewed again"), 1);
    let figures = Scrape::of(broker.address("http:dashboard"));
    for listener in ["ssl:checked", "wss:checked"] {
        assert_is(&figures, &format!("postern_crl_lists{}", label(listener)), 1.0);
        assert_is(&figures, &format!("postern_crl_entries{}", label(listener)), 1.0);
        let end = figures.get(&format!("postern_crl_next_update_timestamp_seconds{}", label(listener)));
        let begun = figures.get(&format!("postern_crl_this_update_timestamp_seconds{}", label(listener)));
        assert!((end - begun - 90_000.0).abs() < 2.0, "{begun} to {end}");
    }
    // Both listeners name the address; it is asked for once.
    let asked = server.asked();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(server.asked(), asked, "a list that is good for a day is not fetched each second");
}

#[test]
fn an_address_is_asked_again_at_its_interval() {
    let fleet = Fleet::new();
    let [often, seldom] = [(); 2].map(|()| HttpServer::start(Reply::With(200, fleet.plant_crl())));
    let crl = |server: &HttpServer, more: &str| {
        fleet.setup(&format!("files = [root.crl], urls = [\"{}\"]{more}", server.url("plant.crl")))
    };
    let brokers = [crl(&often, ", refresh_interval = 1m"), crl(&seldom, "").and("crl_cache.refresh_interval = 2h")];
    let brokers = brokers.map(|setup| {
        setup.file("root.crl", fleet.root_crl());
        setup.start()
    });
    // A minute and a tenth at most.
    let end = Instant::now() + Duration::from_mins(3);
    while often.asked() < 2 {
        assert!(Instant::now() < end, "asked {} times", often.asked());
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(seldom.asked(), 1);
    brokers.iter().for_each(assert_alive);
}

#[test]
fn what_an_address_answers_otherwise_changes_nothing() {
    let fleet = Fleet::new();
    // A list that ends soon is fetched again and again.
    let revoked = [fleet.revoked.leaf()];
    let soon = Crl { next_update: 20, ..Crl::of(&revoked) };
    let server = HttpServer::start(Reply::With(200, fleet.plant.crl(&soon)));
    let setup = fleet
        .setup(&format!("files = [root.crl], urls = [\"{}\"]", server.url("plant.crl")))
        .and("crl_cache.http_timeout = 1s");
    setup.file("root.crl", fleet.root_crl());
    let broker = setup.start();
    wait_until(&broker, &fleet.neighbour, true);

    let long = |crl: Crl<'_>| fleet.plant.crl(&crl);
    let impostor = fleet.root.below("Plant", true);
    let older = long(Crl { this_update: -7_200, ..Crl::of(&[]) });
    let whole = fleet.plant_crl();
    for (reply, words) in [
        (Reply::With(200, older), "is older than the last one from there"),
        (Reply::With(200, long(Crl { this_update: -600, next_update: -60, ..Crl::of(&[]) })), "is outdated"),
        (Reply::With(200, b"<html>nothing here</html>".to_vec()), "has no revocation list"),
        (Reply::With(500, Vec::new()), "the answer is 500"),
        (Reply::With(302, Vec::new()), "the answer is 302"),
        (Reply::BrokenOff(whole[..whole.len() / 2].to_vec()), "broke off"),
        (Reply::Silence, "no answer within 1s"),
    ] {
        let mark = broker.journal.mark();
        server.reply(reply);
        let told = broker
            .journal
            .find(mark, Duration::from_mins(1), |line| line.says(TROUBLE) && line.text("why").contains(words));
        assert!(told.is_some(), "{words}: {}", broker.journal.text());
        assert_eq!(refused(&broker, "ssl:checked", &fleet.revoked).0, AlertDescription::CertificateRevoked, "{words}");
        // Back to good, so that the next wait is short again.
        let mark = broker.journal.mark();
        let next_update = if words.contains("within") { 40 } else { 8 };
        let fresh = Crl { this_update: -1_800, next_update, ..Crl::of(&revoked) };
        server.reply(Reply::With(200, fleet.plant.crl(&fresh)));
        let told = broker
            .journal
            .find(mark, Duration::from_mins(1), |line| line.says("revocation lists can be renewed again"));
        assert!(told.is_some(), "{words}: {}", broker.journal.text());
    }
    // A forged list of the same name does not push the good one out.
    let mark = broker.journal.mark();
    server.reply(Reply::With(200, impostor.crl(&Crl { this_update: -10, ..Crl::of(&[]) })));
    let told = broker.journal.find(mark, Duration::from_mins(1), |line| line.says(RENEWED));
    assert!(told.is_some(), "{}", broker.journal.text());
    assert_eq!(refused(&broker, "wss:checked", &fleet.revoked).0, AlertDescription::CertificateRevoked);
    assert_alive(&broker);
}

#[test]
fn h_05_lists_of_a_new_configuration_concern_those_who_are_in() {
    const NOT_AUTHORIZED: u8 = 0x87;
    let fleet = Fleet::new();
    let setup = fleet.setup("files = [root.crl, plant.crl]");
    setup.file("root.crl", fleet.root_crl());
    setup.file("plant.crl", fleet.plant.crl(&Crl { this_update: -7_200, ..Crl::of(&[]) }));
    setup.file("plant-2.crl", fleet.plant_crl());
    let broker = setup.start();
    let address = broker.address("ssl:checked");
    let enter =
        |shown| nameless().showing(shown).enter(address, &Connect::new(V5, unique("h05")).keep_alive(0)).admitted();
    let (mut revoked, mut neighbour) = (enter(&fleet.revoked), enter(&fleet.neighbour));
    let text = std::fs::read_to_string(broker.dir().join("postern.conf")).unwrap();
    broker.setup.file("postern.conf", text.replace("plant.crl]", "plant.crl, plant-2.crl]"));
    broker.signal("HUP");
    let closed = revoked.closed_within(Duration::from_mins(1));
    let told = closed.unwrap_or_else(|said| panic!("still in: {said:?}")).disconnect();
    assert_eq!(told, Some(NOT_AUTHORIZED));
    neighbour.ping();
    assert_alive(&broker);
}

#[test]
fn a_new_configuration_goes_on_with_what_was_fetched() {
    let fleet = Fleet::new();
    let server = HttpServer::start(Reply::With(200, fleet.plant_crl()));
    let crl = format!("files = [root.crl], urls = [\"{}\"]", server.url("plant.crl"));
    let setup = fleet.setup(&crl);
    setup.file("root.crl", fleet.root_crl());
    let broker = setup.start();
    wait_until(&broker, &fleet.neighbour, true);
    let text = std::fs::read_to_string(broker.dir().join("postern.conf")).unwrap();
    server.reply(Reply::With(500, Vec::new()));
    let in_force = "the configuration was read again and is in force for new connections";
    // As it was; and with another policy, whose lists are asked anew.
    for text in [text.clone(), text.replace("crl { files", "crl { outdated = { grace = 1h }, files")] {
        let mark = broker.journal.mark();
        broker.setup.file("postern.conf", text);
        broker.signal("HUP");
        broker.journal.expect(mark, in_force, |line| line.says(in_force));
        fleet.assert_judged(&broker);
    }
    // Switched off, the revoked one is let in; and on again.
    for (text, is_in) in [(text.replace("enable_crl_check = true", "enable_crl_check = false"), true), (text, false)] {
        server.reply(Reply::With(200, fleet.plant_crl()));
        let mark = broker.journal.mark();
        broker.setup.file("postern.conf", text);
        broker.signal("HUP");
        broker.journal.expect(mark, in_force, |line| line.says(in_force));
        wait_until(&broker, &fleet.neighbour, true);
        wait_until(&broker, &fleet.revoked, is_in);
    }
    assert_alive(&broker);
}
