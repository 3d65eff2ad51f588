//! B: enhanced authentication, by a SCRAM client that was written elsewhere.

use std::net::TcpStream;

use postern_tests::alive::unique;
use postern_tests::broker::{Broker, Setup, binary, plugin};
use postern_tests::raw::{self, Closed, Duplex, RawClient};
use postern_tests::tls;
use postern_tests::wire::{self, Connect, Packet, V3_1_1, V5, kind};
use postern_tests::{programs, shared::Shared};
use sasl::client::Mechanism;
use sasl::client::mechanisms::Scram;
use sasl::common::scram::Sha256;
use sasl::common::{ChannelBinding, Password};

use crate::fixture::{Certificates, PLAIN, name};

const METHOD: &str = "SCRAM-SHA-256";
const PASSWORDS: [(&str, &str); 2] = [("alice", "open sesame"), ("bob", "bob's, and = nobody else's")];

/// What `postern hash-password --scram` makes of a password.
fn credential(password: &str) -> String {
    let binary = binary();
    let ran = programs::run(binary.to_str().unwrap(), &["hash-password", "--scram"], password.as_bytes());
    ran.succeeded().trim().to_owned()
}

static SCRAM: Shared<Broker> = Shared::new(|| {
    let authentication = "authentication = [{ mechanism = scram, backend = file, users = users }]\n\
         authorization.rules = [{ permission = allow, topics = [\"of/${username}/#\"] }]\n\
         listeners.tcp.open { bind = \"127.0.0.1:0\", enable_authn = false }";
    let setup = Setup::new(authentication);
    let lines = PASSWORDS.map(|(name, password)| format!("{name}:{}\n", credential(password))).concat();
    setup.file("users", &lines);
    setup.start()
});

fn client(name: &str, password: &str) -> Scram<Sha256> {
    Scram::new(name, Password::Plain(password.to_owned()), ChannelBinding::None).unwrap()
}

fn alice() -> Scram<Sha256> {
    client(PASSWORDS[0].0, PASSWORDS[0].1)
}

fn connect(data: Option<&[u8]>) -> Connect {
    Connect::new(V5, unique("b-auth")).property(&wire::authentication(METHOD, data))
}

fn auth(reason: u8, data: &[u8]) -> Vec<u8> {
    wire::auth(reason, &wire::authentication(METHOD, Some(data)))
}

/// The data of an AUTH that asks for more, by the method that was asked for.
fn challenge<S: Duplex>(raw: &mut RawClient<S>) -> Vec<u8> {
    let packet = raw.expect(kind::AUTH);
    assert_eq!(packet.auth_code(), Some(0x18), "{packet:?}");
    assert_eq!(packet.auth_property(0x15).as_deref(), Some(METHOD.as_bytes()));
    packet.auth_property(0x16).unwrap_or_default()
}

/// Goes through the exchange up to the last word of the server.
fn show<S: Duplex>(raw: &mut RawClient<S>, connect: Connect, scram: &mut Scram<Sha256>) -> Packet {
    let connect = connect.property(&wire::authentication(METHOD, Some(&scram.initial())));
    raw.send(&connect.bytes());
    let challenge = challenge(raw);
    raw.send(&auth(0x18, &scram.response(&challenge).unwrap()));
    raw.expect(kind::CONNACK)
}

fn enter(scram: &mut Scram<Sha256>) -> RawClient<TcpStream> {
    enter_as(&unique("b-auth"), scram)
}

fn enter_as(id: &str, scram: &mut Scram<Sha256>) -> RawClient<TcpStream> {
    let mut raw = raw::dial(SCRAM.get().control());
    let connack = show(&mut raw, Connect::new(V5, id), scram);
    assert_eq!(connack.connack_code(), Some(0), "{connack:?}");
    assert_eq!(connack.connack_property(0x15).as_deref(), Some(METHOD.as_bytes()));
    scram.success(&connack.connack_property(0x16).unwrap()).expect("the server's signature");
    raw
}

/// v5: MQTT-4.12.0-2, MQTT-4.12.0-5
#[test]
fn b_auth_a_client_shows_its_password_without_telling_it_and_the_server_too() {
    let broker = SCRAM.get();
    for (name, password) in PASSWORDS {
        let mark = broker.journal.mark();
        let id = unique("b-auth");
        let mut raw = enter_as(&id, &mut client(name, password));
        let line = broker.journal.expect(mark, name, |line| line.says("admitted") && line.text("client_id") == id);
        assert_eq!(line.text("username"), name);
        let (own, other) = (format!("of/{name}/t"), "of/carol/t");
        raw.subscribe(&own, 1).send(&wire::publish(V5, other, 0, 0, "not his"));
        assert_eq!(raw.publish(&own, "his").message(), (own, "his".to_owned()));
        raw.leave();
    }
    broker.assert_sound();
}

#[test]
fn b_auth_a_wrong_password_and_a_name_that_nobody_has_are_refused_alike() {
    let broker = SCRAM.get();
    let mut challenges = Vec::new();
    for name in ["alice", "mallory", "alice", "mallory"] {
        let mark = broker.journal.mark();
        let mut scram = client(name, "guess");
        let mut raw = raw::dial(broker.control());
        raw.send(&connect(Some(&scram.initial())).bytes());
        let asked = challenge(&mut raw);
        raw.send(&auth(0x18, &scram.response(&asked).unwrap()));
        let closed = raw.closed();
        let [connack] = &closed.packets[..] else { panic!("{closed:?}") };
        assert_eq!(connack.connack_code(), Some(0x86));
        assert_eq!(connack.connack_property(0x16).as_deref(), Some(&b"e=invalid-proof"[..]));
        let line = broker.journal.expect(mark, "the refusal", |line| {
            line.says("refused") && line.text("detail").ends_with(&format!("password: {name}"))
        });
        assert_eq!((line.text("at").as_str(), line.text("why").as_str()), ("connect", "bad_credentials"));
        challenges.push(String::from_utf8(asked).unwrap());
    }
    let shape = |challenge: &String| {
        let parts = challenge.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(parts.len(), 3, "{challenge}");
        (parts[1].clone(), parts[2].clone())
    };
    let shapes = challenges.iter().map(shape).collect::<Vec<_>>();
    assert!(shapes[0] == shapes[2] && shapes[1] == shapes[3], "the same salt at each attempt: {shapes:?}");
    assert_ne!(shapes[0].0, shapes[1].0);
    assert_eq!((shapes[0].0.len(), &shapes[0].1), (shapes[1].0.len(), &shapes[1].1));
    assert_ne!(challenges[0], challenges[2], "another nonce");
    broker.assert_sound();
}

#[test]
fn b_auth_an_answer_does_not_hold_for_another_exchange() {
    let broker = SCRAM.get();
    let mut scram = alice();
    let first = scram.initial();
    let ask = || {
        let mut raw = raw::dial(broker.control());
        raw.send(&connect(Some(&first)).bytes());
        let asked = challenge(&mut raw);
        (raw, asked)
    };
    let ((mut one, asked), (mut other, _)) = (ask(), ask());
    let answer = auth(0x18, &scram.response(&asked).unwrap());
    assert_eq!(other.send(&answer).closed().connack(), Some(0x82));
    assert_eq!(one.send(&answer).expect(kind::CONNACK).connack_code(), Some(0));
    broker.assert_sound();
}

#[test]
fn b_auth_a_client_may_let_the_server_ask_first() {
    let broker = SCRAM.get();
    let mut scram = alice();
    let mut raw = raw::dial(broker.control());
    raw.send(&connect(None).bytes());
    assert_eq!(challenge(&mut raw), b"");
    raw.send(&auth(0x18, &scram.initial()));
    let asked = challenge(&mut raw);
    raw.send(&auth(0x18, &scram.response(&asked).unwrap()));
    assert_eq!(raw.expect(kind::CONNACK).connack_code(), Some(0));
}

#[test]
fn b_auth_what_scram_cannot_serve_is_told_in_its_own_words() {
    let broker = SCRAM.get();
    for (data, code, told) in [
        (&b"p=tls-exporter,,n=alice,r=abc"[..], 0x87, &b"e=channel-binding-not-supported"[..]),
        (b"n,a=bob,n=alice,r=abc", 0x87, b"e=other-error"),
        (b"n,,m=x,n=alice,r=abc", 0x87, b"e=extensions-not-supported"),
        (b"n,,n=alice=,r=abc", 0x82, b"e=invalid-username-encoding"),
        (b"\0alice\0open sesame", 0x82, b"e=other-error"),
        (b"", 0x82, b"e=other-error"),
    ] {
        let closed = raw::dial(broker.control()).send(&connect(Some(data)).bytes()).closed();
        let [connack] = &closed.packets[..] else { panic!("{closed:?}") };
        assert_eq!(connack.connack_code(), Some(code), "{data:?}");
        assert_eq!(connack.connack_property(0x16).as_deref(), Some(told), "{data:?}");
    }
    // `y`: the client could bind, and thinks that the server cannot.
    raw::dial(broker.control()).send(&connect(Some(b"y,,n=alice,r=abc")).bytes()).expect(kind::AUTH);
    broker.assert_sound();
}

/// v5: MQTT-4.12.0-1
#[test]
fn b_16_a_method_that_is_not_offered_is_refused_by_name() {
    let (scram, plain) = (SCRAM.get(), PLAIN.get());
    let first = alice().initial();
    let with = |method: &str| Connect::new(V5, unique("b16")).property(&wire::authentication(method, Some(&first)));
    for method in ["SCRAM-SHA-1", "scram-sha-256", "SCRAM-SHA-256-PLUS", ""] {
        assert_eq!(raw::dial(scram.control()).refused(&with(method)), 0x8C, "{method}");
    }
    // A listener that asks nobody who he is offers none, and neither does a broker without such users.
    assert_eq!(raw::dial(scram.address("tcp:open")).refused(&with(METHOD)), 0x8C);
    raw::enter(scram.address("tcp:open"), &Connect::new(V5, unique("b16"))).leave();
    assert_eq!(raw::dial(plain.control()).refused(&with(METHOD)), 0x8C);
    scram.assert_sound();
}

#[test]
fn b_auth_where_users_show_who_they_are_nobody_enters_without() {
    let broker = SCRAM.get();
    for (version, code) in [(V3_1_1, 5), (V5, 0x87)] {
        let mut connect = Connect::new(version, unique("b-auth")).username("alice");
        assert_eq!(raw::dial(broker.control()).refused(&connect), code);
        connect.password = Some(b"open sesame".to_vec());
        assert_eq!(raw::dial(broker.control()).refused(&connect), code);
    }
    // Nor as somebody else than he shows to be.
    let mut raw = raw::dial(broker.control());
    let named = Connect::new(V5, unique("b-auth")).username("bob");
    assert_eq!(show(&mut raw, named, &mut alice()).connack_code(), Some(0x86));
    let mut raw = raw::dial(broker.control());
    let named = Connect::new(V5, unique("b-auth")).username("alice");
    assert_eq!(show(&mut raw, named, &mut alice()).connack_code(), Some(0));
    broker.assert_sound();
}

/// A client with its challenge.
fn challenged() -> RawClient<TcpStream> {
    let mut raw = raw::dial(SCRAM.get().control());
    raw.send(&connect(Some(&alice().initial())).bytes());
    challenge(&mut raw);
    raw
}

/// v5: MQTT-4.12.0-4
#[test]
fn b_16_nothing_but_its_own_auth_goes_before_connack() {
    let broker = SCRAM.get();
    let other = |reason, method| wire::auth(reason, &wire::authentication(method, Some(b"x")));
    for (what, bytes, code) in [
        ("PINGREQ", wire::PINGREQ.to_vec(), 0x82),
        ("PUBLISH", wire::retain(V5, "of/alice/early", 0, 0, "x"), 0x82),
        ("SUBSCRIBE", wire::subscribe(V5, 1, "#", 0), 0x82),
        ("another method", other(0x18, "SCRAM-SHA-1"), 0x82),
        ("no method", wire::auth(0x18, &[]), 0x82),
        ("AUTH success", other(0, METHOD), 0x82),
        ("AUTH again", other(0x19, METHOD), 0x82),
        ("a long AUTH", other(0x18, &"x".repeat(20_000)), 0x95),
        ("two methods", wire::auth(0x18, &wire::authentication(METHOD, None).repeat(2)), 0x82),
    ] {
        let closed = challenged().send(&bytes).closed();
        assert_eq!(closed.connack(), Some(code), "{what}: {closed:?}");
    }
    let Closed { packets, .. } = challenged().send(&wire::DISCONNECT).closed();
    assert_eq!(packets, []);
    let mut witness = enter(&mut alice());
    witness.subscribe("of/alice/early", 0).publish("of/alice/early", "fence");
    assert_eq!(witness.message().1, "fence");
    broker.assert_sound();
}

#[test]
fn b_16_a_client_that_leaves_its_challenge_unanswered_is_given_up() {
    let broker = SCRAM.get();
    for keep_alive in [0, 1] {
        let mark = broker.journal.mark();
        let mut raw = raw::dial(broker.control());
        raw.send(&connect(Some(&alice().initial())).keep_alive(keep_alive).bytes());
        challenge(&mut raw);
        assert_eq!(raw.closed().connack(), Some(0x87));
        broker.journal.expect(mark, "timed out", |line| line.says("refused") && line.text("why") == "timed_out");
    }
    broker.assert_sound();
}

/// v5: MQTT-4.12.1-1
#[test]
fn b_16_a_live_client_authenticates_again_and_goes_on() {
    let broker = SCRAM.get();
    let mut raw = enter(&mut alice());
    raw.subscribe("of/alice/#", 1);
    for round in ["first", "second"] {
        let mut scram = alice();
        raw.send(&auth(0x19, &scram.initial()));
        let asked = challenge(&mut raw);
        // Other packets go their way meanwhile.
        assert_eq!(raw.publish("of/alice/t", round).message().1, round);
        raw.send(&auth(0x18, &scram.response(&asked).unwrap()));
        let done = raw.expect(kind::AUTH);
        assert_eq!(done.auth_code(), Some(0), "{done:?}");
        assert_eq!(done.auth_property(0x15).as_deref(), Some(METHOD.as_bytes()));
        scram.success(&done.auth_property(0x16).unwrap()).expect("the server's signature");
        raw.ping();
    }
    raw.leave();
    broker.assert_sound();
}

/// v5: MQTT-4.12.1-2
#[test]
fn b_16_authenticating_again_as_somebody_else_or_wrongly_ends_the_connection() {
    let broker = SCRAM.get();
    let (bob, guess) = (|| client(PASSWORDS[1].0, PASSWORDS[1].1), || client("alice", "guess"));
    for (mut scram, why) in [(bob(), "username_mismatch"), (guess(), "bad_credentials")] {
        let mark = broker.journal.mark();
        let mut raw = enter(&mut alice());
        raw.send(&auth(0x19, &scram.initial()));
        let asked = challenge(&mut raw);
        raw.send(&auth(0x18, &scram.response(&asked).unwrap()));
        assert_eq!(raw.closed().disconnect(), Some(0x87));
        let told = format!("re-authentication refused ({why})");
        broker.journal.expect(mark, &told, |line| line.says("closed") && line.text("reason").starts_with(&told));
    }
    let first = bob().initial();
    let other = |reason, method| wire::auth(reason, &wire::authentication(method, Some(&first)));
    for (what, bytes) in [
        ("another method", other(0x19, "SCRAM-SHA-1")),
        ("no method", wire::auth(0x19, &[])),
        ("nothing was asked", other(0x18, METHOD)),
        ("success is the server's", other(0, METHOD)),
        ("two at once", other(0x19, METHOD).repeat(2)),
    ] {
        let closed = enter(&mut alice()).send(&bytes).closed();
        assert_eq!(closed.disconnect(), Some(0x82), "{what}: {closed:?}");
    }
    broker.assert_sound();
}

#[test]
fn b_16_there_is_no_auth_in_3_1_1() {
    let broker = PLAIN.get();
    let mut raw = raw::enter(broker.control(), &Connect::new(V3_1_1, unique("b16")));
    assert!(raw.send(&auth(0x19, b"x")).closed().packets.is_empty());
    broker.assert_sound();
}

#[test]
fn b_auth_nothing_of_an_exchange_is_in_the_log() {
    let broker = SCRAM.get();
    let mut scram = alice();
    let first = scram.initial();
    let mut raw = raw::dial(broker.control());
    raw.send(&connect(Some(&first)).bytes());
    let asked = challenge(&mut raw);
    let answer = scram.response(&asked).unwrap();
    raw.send(&auth(0x18, &answer));
    let end = raw.expect(kind::CONNACK).connack_property(0x16).unwrap();
    raw.leave();
    let log = broker.journal.text();
    let users = std::fs::read_to_string(broker.dir().join("users")).unwrap();
    let kept = users.lines().map(|line| line.rsplit('$').next().unwrap());
    let said = [&first, &asked, &answer, &end].map(|message| String::from_utf8(message.clone()).unwrap());
    for secret in said.iter().flat_map(|text| text.split(',')).filter(|text| text.len() > 12).chain(kept) {
        assert!(!log.contains(secret), "{secret}");
    }
    assert!(log.contains("alice"));
}

#[test]
fn b_auth_a_certificate_and_a_password_must_name_the_same_user() {
    let certificates = Certificates::make();
    let setup = Setup::new(&format!(
        "authentication {{ mechanism = scram, backend = built_in_database, algorithm = sha256, iteration_count = 4096, \
         users = [{{ user_id = alice, password_hash = \"{}\" }}] }}\n\
         listeners.ssl.mutual {{ bind = \"127.0.0.1:0\", peer_cert_as_username = cn, ssl_options {{ \
         certfile = server.pem, keyfile = server.key, cacertfile = ca.pem, verify = verify_peer, \
         fail_if_no_peer_cert = true }} }}",
        credential(PASSWORDS[0].1)
    ));
    setup.file("server.pem", certificates.default.chain_pem());
    setup.file("server.key", certificates.default.key_pem());
    setup.file("ca.pem", certificates.acme_ca.pem());
    let standard = plugin("mtls-identity");
    let standard = standard.parent().unwrap().display();
    let broker = setup.and(&format!("plugins.dir = \"{standard}\"")).start();
    let address = broker.address("ssl:mutual");
    for (holder, code) in [("alice", 0), ("bob", 0x86)] {
        let device = certificates.acme_ca.device(holder);
        let mut raw = tls::naming(name::DEFAULT).showing(&device).dial(address).unwrap();
        let connack = show(&mut raw, Connect::new(V5, unique("b-auth")), &mut alice());
        assert_eq!(connack.connack_code(), Some(code), "{holder}");
    }
    broker.assert_sound();
}
