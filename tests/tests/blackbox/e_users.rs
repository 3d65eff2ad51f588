//! E: users and passwords, and whose a session is (B-07).

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::{Broker, Setup, plugin};
use postern_tests::raw::{self, ANSWER_WITHIN, RawClient};
use postern_tests::shared::Shared;
use postern_tests::tls::{self, Entry};
use postern_tests::wire::{self, Connect, V3_1_1, V5, kind};

use crate::fixture::{Certificates, name};

const VERSIONS: [u8; 2] = [V3_1_1, V5];

/// "secret", as `mosquitto_passwd` hashes it, in few rounds.
const HASH: &str =
    "$7$101$MDEyMzQ1Njc4OWFi$EO/lLlkeUgIiBaS8G8UK0ZMP1u508TA7Tl+AdJ1cEsmlbGyEPAERErpfq84j1kepISs0UzmcdL4ucgZ2uodxfQ==";
/// "secret", by PBKDF2 with SHA-256, 4096 rounds and the salt beside it, as EMQX keeps it.
const EMQX_HASH: &str = "b98633cf8ec6708b2d9eee12d40a10d68054ca105a5b0cf87b50d8e532a79aed";
const EMQX_SALT: &str = "e378187547bf2d6f";
const PASSWORD: &str = "secret";
/// What must never be in a log.
const WRONG: &str = "not-the-password-7781";

const PBKDF2: &str = "password_hash_algorithm { name = pbkdf2, mac_fun = sha256, iterations = 4096, dk_length = 32 }";

struct Users {
    broker: Broker,
    certificates: Certificates,
}

static USERS: Shared<Users> = Shared::new(|| {
    let certificates = Certificates::make();
    let plugins = plugin("sni-selector").parent().unwrap().display().to_string();
    let setup = Setup::new(&format!(
        r#"
listeners.tcp.control.enable_authn = false
listeners.tcp.users {{ bind = "127.0.0.1:0", max_unauthenticated_per_address = 1000 }}
listeners.tcp.quick {{ bind = "127.0.0.1:0", enable_authn = quick_deny_anonymous }}
listeners.ssl.either {{
  bind = "127.0.0.1:0", peer_cert_as_username = cn
  ssl_options {{ certfile = server.pem, keyfile = server.key, cacertfile = ca.pem
    verify = verify_peer, fail_if_no_peer_cert = false }}
}}
plugins.dir = "{plugins}"
authentication = [
  {{ mechanism = password_based, backend = file, users = users }}
  {{ mechanism = password_based, backend = built_in_database, user_id_type = clientid
    users = [{{ user_id = meter-1, password_hash = "{HASH}" }}] }}
  {{ mechanism = password_based, backend = built_in_database, bootstrap_file = "users.csv", {PBKDF2} }}
  {{ mechanism = password_based, backend = built_in_database, bootstrap_file = "users.json", {PBKDF2} }}
]"#
    ));
    setup.file("users", format!("# of mosquitto\nalice:{HASH}\nbob:{HASH}\n"));
    setup.file("users.csv", format!("user_id,password_hash,salt,is_superuser\ncarol,{EMQX_HASH},{EMQX_SALT},false\n"));
    let row = format!(r#"[{{"user_id": "dave", "password_hash": "{EMQX_HASH}", "salt": "{EMQX_SALT}"}}]"#);
    setup.file("users.json", row);
    setup.file("ca.pem", certificates.acme_ca.pem());
    certificates.default.write(setup.dir.path(), "server");
    Users { broker: setup.start(), certificates }
});

fn by(version: u8, username: &str, password: &str) -> Connect {
    Connect::new(version, unique("user")).username(username).password(password)
}

/// CONNACK's code for a refusal, in the words of the version.
fn code(version: u8, of_5_0: u8) -> u8 {
    match (version, of_5_0) {
        (V5, code) => code,
        (_, 0x86) => 4,
        (_, 0x87) => 5,
        (_, other) => panic!("{other:#04x}"),
    }
}

/// The packets of a refusal: what a stranger can learn.
fn refusal(address: SocketAddr, connect: &Connect) -> Vec<wire::Packet> {
    let closed = raw::dial(address).send(&connect.bytes()).closed();
    assert_ne!(closed.connack(), Some(0), "{closed:?}");
    closed.packets
}

/// v5: MQTT-3.1.4-2, MQTT-3.1.4-6, MQTT-3.2.2-7
/// v3.1.1: MQTT-3.2.2-5
#[test]
fn passwords_of_every_kind_of_file_let_their_users_in_and_nobody_else() {
    let users = USERS.get();
    let address = users.broker.address("tcp:users");
    for version in VERSIONS {
        for user in ["alice", "bob", "carol", "dave"] {
            raw::enter(address, &by(version, user, PASSWORD)).leave();
            let wrong = refusal(address, &by(version, user, WRONG));
            assert_eq!(wrong[0].connack_code(), Some(code(version, 0x86)), "{user}");
            // Nearly right, and empty.
            for other in ["Secret", "secret ", "secre", ""] {
                assert_eq!(refusal(address, &by(version, user, other)), wrong, "{user} {other:?}");
            }
            // None: that is another thing than an empty one, and as wrong.
            assert_eq!(refusal(address, &Connect::new(version, unique("user")).username(user)), wrong);
        }
        // Who is not there is told the same as who has the wrong password, byte for byte.
        let unknown = refusal(address, &by(version, "mallory", PASSWORD));
        assert_eq!(unknown, refusal(address, &by(version, "alice", WRONG)));
        for near in ["Alice", "alice ", "alic", "# of mosquitto"] {
            assert_eq!(refusal(address, &by(version, near, PASSWORD)), unknown, "{near:?}");
        }
        // Nobody at all: a client identifier could have been one that has a password.
        assert_eq!(refusal(address, &Connect::new(version, unique("user"))), unknown);
    }
    // 5.0 may send a password without a user name: it is nobody's.
    let alone = Connect::new(V5, unique("user")).password(PASSWORD);
    assert_eq!(refusal(address, &alone)[0].connack_code(), Some(0x86));
    let log = users.broker.journal.text();
    assert!(log.contains("mallory") && !log.contains(WRONG) && !log.contains("MDEyMzQ1Njc4OWFi"), "{log}");
    assert_alive(&users.broker);
}

#[test]
fn a_client_identifier_can_be_what_the_password_is_for() {
    let users = USERS.get();
    let address = users.broker.address("tcp:users");
    for version in VERSIONS {
        let of =
            |id: &str, password: &str| Connect { client_id: id.into(), ..by(version, "whatever it says", password) };
        raw::enter(address, &of("meter-1", PASSWORD)).leave();
        for refused in [of("meter-1", WRONG), of("meter-2", PASSWORD), of("alice", PASSWORD)] {
            assert_eq!(refusal(address, &refused)[0].connack_code(), Some(code(version, 0x86)));
        }
    }
    // Its user name is proven by nothing, and is none.
    let mark = users.broker.journal.mark();
    raw::enter(address, &Connect { client_id: b"meter-1".to_vec(), ..by(V5, "admin", PASSWORD) }).leave();
    let admitted = users
        .broker
        .journal
        .expect(mark, "meter-1's line", |line| line.says("admitted") && line.text("client_id") == "meter-1");
    assert_eq!(admitted.text("username"), "", "{admitted:?}");
    assert_alive(&users.broker);
}

#[test]
fn a_listener_without_authentication_stands_beside_and_one_may_refuse_the_nameless_at_once() {
    let users = USERS.get();
    for version in VERSIONS {
        for connect in [Connect::new(version, unique("open")), by(version, "mallory", WRONG)] {
            raw::enter(users.broker.control(), &connect).leave();
        }
        let quick = users.broker.address("tcp:quick");
        for nameless in [Connect::new(version, unique("quick")), by(version, "", PASSWORD)] {
            assert_eq!(refusal(quick, &nameless)[0].connack_code(), Some(code(version, 0x87)));
        }
        // Even one whose client identifier has a password.
        let mut meter = Connect::new(version, "meter-1");
        if version == V5 {
            meter = meter.password(PASSWORD);
        }
        assert_eq!(refusal(quick, &meter)[0].connack_code(), Some(code(version, 0x87)));
        raw::enter(quick, &by(version, "alice", PASSWORD)).leave();
        assert_eq!(refusal(quick, &by(version, "alice", WRONG))[0].connack_code(), Some(code(version, 0x86)));
    }
    assert_alive(&users.broker);
}

#[test]
fn a_certificate_stands_for_a_password_and_its_name_for_the_user() {
    let users = USERS.get();
    let address = users.broker.address("ssl:either");
    let nobody = tls::naming(name::DEFAULT);
    for version in VERSIONS {
        let alice = nobody.clone().showing(&users.certificates.acme_ca.device("alice"));
        let plain = || Connect::new(version, unique("cert"));
        for connect in [plain(), plain().username("alice"), by(version, "alice", WRONG)] {
            alice.enter(address, &connect).admitted().leave();
        }
        // A right password of another user does not make one out of the other.
        assert_eq!(alice.enter(address, &by(version, "bob", PASSWORD)).connack(), code(version, 0x86));
        // Without a certificate it takes the password, and with another authority's nothing helps.
        nobody.enter(address, &by(version, "alice", PASSWORD)).admitted().leave();
        assert_eq!(nobody.enter(address, &plain()).connack(), code(version, 0x86));
        assert_eq!(nobody.enter(address, &plain().username("alice")).connack(), code(version, 0x86));
        let foreign = nobody.clone().showing(&users.certificates.globex_ca.device("alice"));
        let entry = foreign.enter(address, &by(version, "alice", PASSWORD));
        assert!(matches!(entry, Entry::Alert(_) | Entry::Closed), "{entry:?}");
    }
    assert_alive(&users.broker);
}

fn session(address: SocketAddr, connect: &Connect) -> (RawClient<TcpStream>, wire::Packet) {
    let mut client = raw::dial(address);
    let connack = client.enter(connect);
    (client, connack)
}

#[test]
fn b_07_another_user_can_neither_take_a_session_over_nor_resume_nor_replace_it() {
    let users = USERS.get();
    let address = users.broker.address("tcp:users");
    let mut witness = raw::enter(users.broker.control(), &Connect::new(V5, unique("witness")));
    for version in VERSIONS {
        let (topic, last) = (unique("b07/topic"), unique("b07/will"));
        witness.subscribe(&last, 1);
        let of = |user: &str| {
            let connect = Connect { client_id: topic.clone().into(), ..by(version, user, PASSWORD) };
            connect.persistent()
        };
        let (mut alices, _) = session(address, &of("alice").will(&last, "alice is gone"));
        alices.subscribe(&topic, 1);
        let clean = Connect { clean: true, ..of("bob") };
        let refused = |when: &str| {
            for connect in [of("bob"), clean.clone(), of("carol"), of("bob").will(&last, "bob is gone")] {
                assert_eq!(raw::dial(address).refused(&connect), code(version, 0x87), "{when}");
            }
        };
        refused("while she is connected");
        alices.ping();
        witness.publish(&topic, "still hers");
        assert_eq!(alices.message().1, "still hers");
        // Her acknowledgement is read before the next connection takes over.
        alices.ping();
        // She can, and her will goes as it should.
        let (mut again, connack) = session(address, &of("alice").will(&last, "goodbye"));
        assert!(connack.session_present());
        assert_eq!(alices.closed().disconnect(), (version == V5).then_some(0x8E));
        assert_eq!(witness.message().1, "alice is gone");
        again.ping();
        again.leave();
        // Away, her session waits for her alone.
        witness.publish(&topic, "for her eyes");
        refused("while she is away");
        let (mut back, connack) = session(address, &of("alice"));
        assert!(connack.session_present());
        assert_eq!(back.message().1, "for her eyes");
        back.leave();
        // Where the session ends, the identifier is free.
        let (over, connack) = session(address, &Connect { clean: true, properties: Vec::new(), ..of("alice") });
        assert!(!connack.session_present());
        over.leave();
        // Her goodbye and his CONNECT come on two connections: it may take a moment until the first is read.
        let end = Instant::now() + ANSWER_WITHIN;
        let connack = loop {
            let connack = raw::dial(address).speaking(version).send(&clean.bytes()).next("CONNACK");
            if connack.connack_code() == Some(0) {
                break connack;
            }
            assert_eq!(connack.connack_code(), Some(code(version, 0x87)));
            assert!(Instant::now() < end, "the identifier is not free");
        };
        assert!(!connack.session_present());
    }
    witness.send(&wire::PINGREQ).expect(kind::PINGRESP);
    assert_alive(&users.broker);
}

#[test]
fn users_that_cannot_be_read_refuse_the_start_with_file_and_line() {
    let entry = |text: &str| format!("authentication = [{{ mechanism = password_based, {text} }}]");
    let file = entry("backend = file, users = u");
    let csv = entry(&format!("backend = built_in_database, bootstrap_file = \"u.csv\", {PBKDF2}"));
    let json = entry(&format!("backend = built_in_database, bootstrap_file = \"u.json\", {PBKDF2}"));
    for (config, path, content, words) in [
        (&file, "u", format!("alice:{HASH}\nbob\n"), "u:2: a line is `NAME:HASH`"),
        (&file, "u", "alice:secret\n".to_owned(), "u:1: the password's hash: it is none of"),
        (&file, "u", format!("alice:{HASH}\nalice:{HASH}\n"), "u:2: the user is there already"),
        (&csv, "u.csv", format!("user_id,password_hash\ncarol,{EMQX_HASH}\n"), "u.csv:2: there is no salt"),
        (&csv, "u.csv", format!("user,password_hash\ncarol,{EMQX_HASH}\n"), "u.csv:1: the column `user`"),
        (
            &csv,
            "u.csv",
            format!("user_id,password_hash,salt,is_superuser\nc,{EMQX_HASH},{EMQX_SALT},true\n"),
            "u.csv:2: there are no superusers",
        ),
        (&json, "u.json", "[{".to_owned(), "u.json:1: it is not JSON"),
    ] {
        let setup = Setup::new(config);
        setup.file(path, content);
        let checked = setup.check();
        assert_eq!(checked.code, Some(1), "{checked:?}");
        assert!(checked.text.contains(words), "{words}: {checked:?}");
        assert!(!checked.text.contains("MDEyMzQ1Njc4OWFi") && !checked.text.contains(EMQX_HASH), "{checked:?}");
    }
    let setup = Setup::new(&file);
    let checked = setup.check();
    assert_eq!(checked.code, Some(1), "no file at all: {checked:?}");
    setup.file("u", "# nobody yet\n");
    let checked = setup.check();
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.text.contains("by it nobody gets in"), "{checked:?}");
}
