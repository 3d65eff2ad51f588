//! F-01 to F-06 and F-16: slow, broken and old handshakes; H-11 and H-16: what is resumed.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::{Broker, Setup};
use postern_tests::hello::{self, Answer};
use postern_tests::programs;
use postern_tests::raw::{self, Duplex, RawClient};
use postern_tests::tls::{self, Entry};
use postern_tests::wire::{self, Connect, V3_1_1, V5};

use crate::fixture::{Certificates, Gate, gate, name};

/// A broker whose handshakes must end soon.
fn hurried() -> (Broker, Certificates) {
    let certificates = Certificates::make();
    let setup = Setup::new(
        "listeners.ssl.hurried { bind = \"127.0.0.1:0\", max_unauthenticated_per_address = 5000, ssl_options {\n\
         certfile = server.pem, keyfile = server.key, handshake_timeout = 5s } }",
    );
    certificates.default.write(setup.dir.path(), "server");
    (setup.start(), certificates)
}

/// Takes the end of a connection on which bytes drip, one each half second.
fn dripped_until_closed(mut socket: TcpStream, drip: &[u8], began: Instant) -> Duration {
    const GIVE_UP: Duration = Duration::from_secs(30);
    socket.set_nodelay(true).unwrap();
    let mut drip = drip.iter().cycle();
    let mut client = RawClient::over(socket.try_clone().unwrap());
    loop {
        // Fails once the broker has closed, which the read below sees.
        let _ = socket.write_all(&[*drip.next().unwrap()]);
        if client.closed_within(Duration::from_millis(500)).is_ok() {
            return began.elapsed();
        }
        assert!(began.elapsed() < GIVE_UP, "still open after {GIVE_UP:?}");
    }
}

#[test]
fn f_01_slow_handshakes_are_ended_and_hold_nobody_up() {
    const SILENT: usize = 200;
    const DRIPPING: usize = 100;
    // The deadlines are 2 s for the first byte and 5 s for all; the rest is the machine's.
    const SILENT_WITHIN: Duration = Duration::from_millis(4_500);
    const DRIPPING_WITHIN: Duration = Duration::from_secs(9);
    const HONEST_WITHIN: Duration = Duration::from_secs(3);
    let (broker, _) = hurried();
    let address = broker.address("ssl:hurried");
    let done = AtomicBool::new(false);
    let hello = hello::naming("localhost").records(16_384);
    std::thread::scope(|scope| {
        let honest = scope.spawn(|| {
            let mut worst = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let began = Instant::now();
                tls::naming("localhost").enter(address, &Connect::new(V5, unique("f01"))).admitted().leave();
                worst = worst.max(began.elapsed());
                std::thread::sleep(Duration::from_millis(50));
            }
            worst
        });
        let began = Instant::now();
        let mut silent = (0..SILENT).map(|_| raw::dial(address)).collect::<Vec<_>>();
        let dripping = (0..DRIPPING).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>();
        let drippers = dripping.into_iter().map(|socket| {
            let hello = &hello;
            scope.spawn(move || dripped_until_closed(socket, hello, began))
        });
        let drippers = drippers.collect::<Vec<_>>();
        for client in &mut silent {
            let closed = client.closed();
            assert!(closed.packets.is_empty());
        }
        let silent_took = began.elapsed();
        let dripping_took = drippers.into_iter().map(|dripper| dripper.join().unwrap()).max().unwrap();
        done.store(true, Ordering::Relaxed);
        let worst = honest.join().unwrap();
        println!("silent {silent_took:?}, dripping {dripping_took:?}, slowest honest client {worst:?}");
        assert!(silent_took < SILENT_WITHIN, "silent sockets lived {silent_took:?}");
        assert!(dripping_took < DRIPPING_WITHIN, "dripping sockets lived {dripping_took:?}");
        assert!(worst < HONEST_WITHIN, "an honest client took {worst:?}");
    });
    assert_alive(&broker);
}

#[test]
fn f_01_a_complete_handshake_without_a_connect_is_ended_too() {
    let (broker, _) = hurried();
    let mut client = tls::naming("localhost").dial(broker.address("ssl:hurried")).unwrap();
    let closed = client.closed_within(Duration::from_secs(20));
    assert!(closed.is_ok(), "still open: {closed:?}");
    assert_alive(&broker);
}

#[test]
fn f_04_a_hello_in_pieces_is_one_hello() {
    let gate = gate();
    let acme = Answer::Served(gate.certificates.acme.leaf().to_vec());
    let honest = hello::naming(name::ACME);
    let at_name = {
        let message = honest.message();
        message.windows(4).position(|four| four == b"acme").unwrap()
    };
    // One byte in each record is refused by some stacks; certificate or clean alert, nothing else.
    for fragment in [1, 2, at_name + 2, 60] {
        let mut client = raw::dial(gate.at("names"));
        client.send(&honest.records(fragment));
        let answer = hello::answer(&mut client);
        assert!(answer == acme || matches!(answer, Answer::Alert(_)), "records of {fragment}: {answer:?}");
        assert!(fragment < at_name || answer == acme, "records of {fragment}: {answer:?}");
    }
    // One record, one byte a segment.
    let mut client = raw::dial(gate.at("names"));
    for byte in honest.records(16_384) {
        client.send(&[byte]);
    }
    assert_eq!(hello::answer(&mut client), acme);
    gate.assert_alive();
}

#[test]
fn f_04_a_large_hello_gets_a_certificate_or_a_clean_alert() {
    let gate = gate();
    for padding in [1_000, 8_000, 17_000, 60_000] {
        let hello = hello::Hello { padding, ..hello::naming(name::ACME) };
        let answer = hello.ask(gate.at("names"));
        let served = answer == Answer::Served(gate.certificates.acme.leaf().to_vec());
        // Up to a record's worth it must be served; beyond, saying no is as good.
        let refused = matches!(answer, Answer::Alert(_) | Answer::Closed);
        assert!(served || (padding > 8_000 && refused), "{padding}: {answer:?}");
    }
    gate.assert_alive();
}

#[test]
fn f_04_empty_records_and_early_goodbyes_end_quietly() {
    const TICKS_MAX: u64 = 50;
    let (broker, _) = hurried();
    let address = broker.address("ssl:hurried");
    let hello = hello::naming("localhost").records(16_384);
    let mut left_open = Vec::new();
    for bytes in [
        hello::record(&[]),
        hello::record(&[]).repeat(2_000),
        // close_notify, as a warning and in the middle of a hello.
        vec![21, 3, 3, 0, 2, 1, 0],
        [&hello[..40], &[21, 3, 3, 0, 2, 1, 0]].concat(),
        // Change cipher spec and application data before anything else.
        vec![20, 3, 3, 0, 1, 1],
        [&[23, 3, 3, 0, 16][..], &[0; 16]].concat(),
    ] {
        let mut client = raw::dial(address);
        client.send(&bytes);
        left_open.push(client);
    }
    for client in &mut left_open {
        client.closed();
    }
    // Nothing that is closed may keep a core busy.
    let before = broker.cpu_ticks();
    std::thread::sleep(Duration::from_secs(1));
    let used = broker.cpu_ticks() - before;
    assert!(used < TICKS_MAX, "the idle broker used {used} ticks of 10 ms in a second");
    assert_alive(&broker);
}

#[test]
fn f_05_old_protocols_and_other_protocols_are_closed_soon() {
    const WITHIN: Duration = Duration::from_secs(4);
    let gate = gate();
    let ssl_2 = [0x80, 0x2E, 0x01, 0x00, 0x02, 0x00, 0x15, 0x00, 0x00, 0x00, 0x10];
    let mut tls_1_0 = hello::naming(name::ACME).records(16_384);
    // The version in the hello itself: after the record's and the message's header.
    tls_1_0[9..11].copy_from_slice(&[3, 1]);
    let mut tls_1_1 = tls_1_0.clone();
    tls_1_1[10] = 2;
    for (what, bytes) in [
        ("MQTT", Connect::new(V5, "f05").bytes()),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("SSL 2", [&ssl_2[..], &[0; 37]].concat()),
        ("TLS 1.0", tls_1_0),
        ("TLS 1.1", tls_1_1),
    ] {
        let mark = gate.broker.journal.mark();
        let began = Instant::now();
        let mut client = raw::dial(gate.at("names"));
        let own = client.stream.local_addr().unwrap().to_string();
        client.send(&bytes);
        client.closed();
        assert!(began.elapsed() < WITHIN, "{what} took {:?}", began.elapsed());
        let told = gate.broker.journal.expect(mark, what, |line| line.says("refused") && line.text("peer") == own);
        // A version that is too old is a hello like any other to those who choose by it.
        assert!(matches!(told.text("at").as_str(), "hello" | "handshake"), "{what}: {told:?}");
    }
    gate.assert_alive();
}

#[test]
fn f_05_openssl_enters_by_tls_1_2_and_1_3_and_cannot_renegotiate() {
    let gate = gate();
    let address = gate.at("names").to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = ["s_client", "-connect", &address, "-servername", name::ACME, version];
        let text = programs::run("openssl", &arguments, b"Q\n").succeeded();
        assert!(text.contains(&format!("CN = {}", name::ACME)), "{text}");
    }
    // `R` asks for a renegotiation, which the broker does not know: no second handshake ends well.
    let arguments = ["s_client", "-connect", &address, "-servername", name::ACME, "-tls1_2"];
    let text = programs::run("openssl", &arguments, b"R\n").text;
    let after = text.split("RENEGOTIATING").nth(1).unwrap_or_else(|| panic!("not asked for: {text}"));
    assert!(!after.contains("verify return"), "{text}");
    gate.assert_alive();
}

#[test]
fn f_06_early_data_is_not_taken() {
    let gate = gate();
    let dir = gate.broker.dir();
    let path = |name: &str| dir.join(name).display().to_string();
    let (session, early) = (path("f06.session"), path("f06.early"));
    // The broker hands out no tickets, so the client brings one that another server gave it, and with it
    // that server's leave to send early data.
    let (certificate, key) = gate.certificates.acme.write(dir, "f06");
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let serving = ["-oL", "openssl", "s_server", "-accept", "127.0.0.1:0", "-www", "-naccept", "1", "-tls1_3"];
    let allowing = ["-max_early_data", "16384", "-cert", &certificate, "-key", &key];
    let other = programs::start("stdbuf", &[&serving[..], &allowing].concat());
    let address = other.says("ACCEPT").replace("ACCEPT ", "");
    let common = ["s_client", "-tls1_3", "-ign_eof", "-servername", name::ACME];
    let saving = ["-connect", &address, "-sess_out", &session];
    programs::run("openssl", &[&common[..], &saving].concat(), b"GET / HTTP/1.0\r\n\r\n");
    let client_id = unique("f06");
    std::fs::write(&early, Connect::new(V5, &client_id).bytes()).unwrap();
    let text = resuming(&gate, "names", name::ACME, &["-tls1_3", "-sess_in", &session, "-early_data", &early]);
    assert!(text.contains("Early data was rejected"), "{text}");
    gate.assert_alive();
    let entered = gate.broker.journal.lines().into_iter().any(|line| line.text("client_id") == client_id);
    assert!(!entered, "a CONNECT in early data was processed");
}

/// What `openssl s_client` says of a connection that saves, or offers, a session.
fn resuming(gate: &Gate, listener: &str, name: &str, more: &[&str]) -> String {
    let address = gate.at(listener).to_string();
    let fixed = ["s_client", "-connect", &address, "-servername", name, "-ign_eof"];
    // Answers of the broker bring the tickets along; the goodbye ends the program.
    let session = [&Connect::new(V3_1_1, unique("h")).bytes()[..], &wire::DISCONNECT].concat();
    programs::run("openssl", &[&fixed[..], more].concat(), &session).text
}

#[test]
fn h_11_a_ticket_of_one_name_resumes_nothing_under_another() {
    let gate = gate();
    for version in ["-tls1_2", "-tls1_3"] {
        let path = gate.broker.dir().join(format!("h11{version}.session"));
        let path = path.to_str().unwrap();
        resuming(&gate, "names", name::ACME, &[version, "-sess_out", path]);
        if std::path::Path::new(path).exists() {
            let text = resuming(&gate, "names", name::GLOBEX, &[version, "-sess_in", path]);
            assert!(text.contains("New, TLS") && !text.contains("Reused, TLS"), "{text}");
            assert!(text.contains(&format!("CN = {}", name::GLOBEX)), "{text}");
        }
    }
    gate.assert_alive();
}

#[test]
fn h_16_where_client_certificates_are_asked_for_nothing_is_resumed() {
    let gate = gate();
    let dir = gate.broker.dir();
    let (certificate, key) = gate.certificates.acme_ca.device("h16").write(dir, "h16");
    let credentials = ["-cert", certificate.to_str().unwrap(), "-key", key.to_str().unwrap()];
    for version in ["-tls1_2", "-tls1_3"] {
        let path = dir.join(format!("h16{version}.session"));
        let path = path.to_str().unwrap();
        let save = [&[version, "-sess_out", path][..], &credentials].concat();
        let text = resuming(&gate, "mutual", name::ACME, &save);
        assert!(text.contains("New, TLS"), "{text}");
        assert!(!text.contains("New Session Ticket arrived") && !text.contains("TLS session ticket:"), "{text}");
        // TLS 1.2 saves what it has; the session in it must not be known.
        if std::path::Path::new(path).exists() {
            let text =
                resuming(&gate, "mutual", name::ACME, &[&[version, "-sess_in", path][..], &credentials].concat());
            assert!(text.contains("New, TLS") && !text.contains("Reused, TLS"), "{text}");
        }
    }
    gate.assert_alive();
}

#[test]
fn f_16_protocols_offered_by_alpn() {
    let gate = gate();
    let address = gate.at("names");
    let connect = || Connect::new(V5, unique("f16"));
    for offered in [&[][..], &["mqtt"], &["x-nobody-speaks-this", "mqtt"]] {
        tls::naming(name::ACME).alpn(offered).enter(address, &connect()).admitted().leave();
    }
    let entry = tls::naming(name::ACME).alpn(&["x-nobody-speaks-this"]).enter(address, &connect());
    assert!(matches!(entry, Entry::Alert(rustls::AlertDescription::NoApplicationProtocol)), "{entry:?}");
    gate.assert_alive();
}

#[test]
fn f_16_tls_1_2_clients_enter() {
    let gate = gate();
    let mut client =
        tls::naming(name::GLOBEX).tls12().enter(gate.at("names"), &Connect::new(V5, unique("f16"))).admitted();
    client.ping();
    client.stream.shut_writes();
    gate.assert_alive();
}
