//! E: access rules, by the real configuration, over every way that a message can take.

use std::net::TcpStream;

use postern_tests::alive::{TOPICS, assert_alive, unique};
use postern_tests::broker::{Broker, Setup};
use postern_tests::raw::{self, RawClient};
use postern_tests::shared::Shared;
use postern_tests::tls;
use postern_tests::wire::{self, Connect, V3_1_1, V5, Will, kind};

use crate::fixture::{Certificates, entry, listener, name};

type Client = RawClient<TcpStream>;

const VERSIONS: [u8; 2] = [V3_1_1, V5];

/// `source` and `shut` are user names that a client simply says here; passwords have cases of their own.
const RULES: &str = r##"
  { permission = allow, username = source, topics = all }
  { permission = deny, username = shut, topics = ["#"] }
  { permission = allow, username = shut, topics = all }
  { permission = allow, topics = ["devices/${clientid}/#"] }
  { permission = deny, topics = ["secret/x"] }
  { permission = allow, topics = ["secret/+", "t/a"] }
  { permission = allow, action = publish, topics = ["out/#"], qos = [0, 1], retain = false }
  { permission = allow, action = subscribe, topics = ["in/#"] }"##;

fn guarded(listeners: &str, more: &str) -> Setup {
    Setup::new(listeners).and(&format!(
        "authorization {{ {more}\n rules = [\n  {{ permission = allow, topics = [\"{TOPICS}\"] }}{RULES}\n] }}"
    ))
}

static GUARDED: Shared<Broker> = Shared::new(|| {
    let mounted = "listeners.tcp.mounted { bind = \"127.0.0.1:0\", mountpoint = \"site/${clientid}/\" }";
    guarded(mounted, "").start()
});

fn anybody(broker: &Broker, version: u8) -> Client {
    raw::enter(broker.control(), &Connect::new(version, unique("e")))
}

/// Who may do everything.
fn source(broker: &Broker) -> Client {
    raw::enter(broker.control(), &Connect::new(V5, unique("source")).username("source"))
}

/// "Not authorized" in a SUBACK.
fn denied(version: u8) -> u8 {
    if version == V5 { 0x87 } else { 0x80 }
}

fn may_subscribe(client: &mut Client, version: u8, filter: &str) -> bool {
    let codes = client.codes(&wire::subscribe(version, 7, filter, 1));
    assert!(codes == [1] || codes == [denied(version)], "{filter}: {codes:02x?}");
    codes == [1]
}

/// What comes next on a subscription of QoS 1, in the version of the client.
fn comes(client: &mut Client, version: u8, payload: &str) {
    let packet = client.await_kind(kind::PUBLISH);
    let (topic, id, got) = packet.published(version);
    assert_eq!(String::from_utf8(got).unwrap(), payload, "{topic}");
    if packet.qos() == 1 {
        client.send(&wire::acknowledge(kind::PUBACK, id));
    }
}

#[test]
fn e_01_a_client_identifier_is_one_literal_level_of_a_rule() {
    let broker = GUARDED.get();
    let mut publisher = source(&broker);
    for version in VERSIONS {
        let own = unique("own");
        for odd in ["+", "#", "a/b", "..", "$x", "${clientid}", "devices/victim"] {
            let mut client = raw::enter(broker.control(), &Connect::new(version, odd));
            for filter in ["devices/+/#", "devices/#", "devices/victim/#", "#", "+/+/#", "$share/g/devices/+/#"] {
                assert!(!may_subscribe(&mut client, version, filter), "{odd} subscribes to {filter}");
            }
            // One that can be a level has its own, whatever it looks like.
            if odd != "#" {
                let own = may_subscribe(&mut client, version, &format!("devices/{odd}/#"));
                assert_eq!(own, !odd.contains(['+', '/']), "{odd}");
            }
            let mut victim = source(&broker);
            victim.subscribe("devices/victim/#", 0);
            client.send(&wire::publish(version, "devices/victim/t", 0, 0, "forged")).ping();
            publisher.publish("devices/victim/t", "true");
            assert_eq!(victim.message().1, "true", "{odd}");
            client.ping();
        }
        let mut client = raw::enter(broker.control(), &Connect::new(version, &own));
        assert!(may_subscribe(&mut client, version, &format!("devices/{own}/#")));
        client.publish(&format!("devices/{own}/state"), "own");
        comes(&mut client, version, "own");
        // Who is given its identifier by the broker has the level of that one, and none without.
        let mut nameless = raw::enter(broker.control(), &Connect::new(version, ""));
        for filter in ["devices/+/#", "devices//#", "devices/#"] {
            assert!(!may_subscribe(&mut nameless, version, filter), "{filter}");
        }
    }
    assert_alive(&broker);
}

#[test]
fn e_02_a_common_name_with_a_wildcard_is_refused_where_a_rule_takes_it() {
    // The operator has said that such names may be; the rule is the last to refuse them.
    let cn = r#"allow_topic_characters = true, rules = [{ source = "subject.cn", set = "username" }]"#;
    let options = "verify = verify_peer, fail_if_no_peer_cert = true";
    let setup = Setup::new(&listener("mutual", options, &[entry("mtls-identity", cn)])).and(&format!(
        "authorization.rules = [{{ permission = allow, topics = [\"{TOPICS}\", \"devices/${{username}}/#\"] }}]"
    ));
    let certificates = Certificates::make();
    certificates.write(&setup);
    let broker = setup.start();
    for version in VERSIONS {
        let enter = |common_name: &str| {
            let offer = tls::naming(name::DEFAULT).showing(&certificates.acme_ca.device(common_name));
            offer.enter(broker.address("ssl:mutual"), &Connect::new(version, unique("e02")))
        };
        for wild in ["+", "#", "a+", "a/#"] {
            assert_eq!(enter(wild).connack(), if version == V5 { 0x87 } else { 5 }, "{wild}");
        }
        let mut client = enter("alice").admitted();
        let codes =
            client.codes(&wire::subscribe_with(version, 7, &[], &[("devices/alice/#", 1), ("devices/bob/#", 1)]));
        assert_eq!(codes, [1, denied(version)]);
        client.leave();
    }
    assert_alive(&broker);
}

#[test]
fn e_04_a_denied_topic_under_an_allowed_filter_comes_by_no_way() {
    let broker = GUARDED.get();
    let mut publisher = source(&broker);
    let mut retain = |topic: &str, payload: &str| {
        publisher.send(&wire::retain(V5, topic, 1, 7, payload)).expect(kind::PUBACK);
    };
    for version in VERSIONS {
        let mut client = anybody(&broker, version);
        assert!(!may_subscribe(&mut client, version, "secret/x"));
        assert!(!may_subscribe(&mut client, version, "secret/#"));
        // Retained before, and live.
        retain("secret/x", "retained, denied");
        retain("secret/y", "retained");
        assert!(may_subscribe(&mut client, version, "secret/+"));
        comes(&mut client, version, "retained");
        retain("secret/x", "live, denied");
        retain("secret/y", "live");
        comes(&mut client, version, "live");
        retain("secret/x", "");
        retain("secret/y", "");
        comes(&mut client, version, "");
        client.ping();
        // Kept for who is away.
        let connect = Connect::new(version, unique("away")).persistent();
        let mut away = raw::enter(broker.control(), &connect);
        assert!(may_subscribe(&mut away, version, "secret/+"));
        away.leave();
        let mut live = source(&broker);
        live.publish("secret/x", "queued, denied").publish("secret/y", "queued");
        let mut back = raw::dial(broker.control());
        assert!(back.enter(&connect).session_present());
        comes(&mut back, version, "queued");
        comes(&mut client, version, "queued");
        // Shared: where its turn is another's, it goes to who may have it, and to nobody where there is none.
        let group = unique("group");
        let filter = format!("$share/{group}/secret/+");
        assert!(may_subscribe(&mut client, version, &filter));
        let mut other = source(&broker);
        other.subscribe(&filter, 1);
        for n in 0..6 {
            live.publish("secret/x", &n.to_string());
            assert_eq!(other.message(), ("secret/x".to_owned(), n.to_string()));
        }
        other.leave();
        live.publish("secret/x", "nobody's").publish("secret/y", "shared");
        // By its own subscription and by the group's.
        comes(&mut client, version, "shared");
        comes(&mut client, version, "shared");
        client.ping();
        comes(&mut back, version, "shared");
        back.ping();
    }
    assert_alive(&broker);
}

#[test]
fn e_05_a_shared_subscription_is_authorised_as_its_filter() {
    let broker = GUARDED.get();
    for version in VERSIONS {
        let mut client = anybody(&broker, version);
        for filter in ["$share/g/t/b", "$share/g/#", "$share/g/t/+", "$share/t/a/t/b", "t/+", "t/a/#", "#", "+/a"] {
            assert!(!may_subscribe(&mut client, version, filter), "{filter}");
        }
        assert!(may_subscribe(&mut client, version, "$share/g/t/a"));
        client.publish("t/a", "allowed");
        comes(&mut client, version, "allowed");
        // Each filter of one packet has its own answer.
        let mixed = wire::subscribe_with(version, 7, &[], &[("t/b", 0), ("t/a", 0), ("t/c", 2)]);
        assert_eq!(client.codes(&mixed), [denied(version), 0, denied(version)]);
    }
    assert_alive(&broker);
}

#[test]
fn e_06_a_will_outside_the_rights_is_refused_at_connect_and_one_inside_goes_out() {
    let broker = GUARDED.get();
    let mut witness = source(&broker);
    witness.subscribe("#", 0);
    for version in VERSIONS {
        let with = |topic: &str, qos: u8, retain: bool| {
            let will = Will { topic: topic.into(), payload: b"gone".to_vec(), qos, retain };
            Connect { will: Some(will), ..Connect::new(version, unique("e06")) }
        };
        let code = if version == V5 { 0x87 } else { 5 };
        for refused in [
            with("t/b", 0, false),
            with("secret/x", 0, false),
            with("in/x", 0, false),
            with("out/x", 2, false),
            with("out/x", 1, true),
            with("$SYS/x", 0, false),
        ] {
            assert_eq!(raw::dial(broker.control()).refused(&refused), code, "{:02x?}", refused.bytes());
        }
        let topic = unique("out/e06");
        drop(raw::enter(broker.control(), &with(&topic, 1, false)));
        loop {
            let (got, payload) = witness.message();
            assert!(payload != "gone" || got == topic, "{got}");
            if got == topic {
                break;
            }
        }
    }
    assert_alive(&broker);
}

#[test]
fn e_12_what_is_denied_altogether_is_denied_for_dollar_topics_too() {
    let broker = GUARDED.get();
    let mut witness = source(&broker);
    witness.subscribe("$foo/#", 0);
    for version in VERSIONS {
        let mut client = raw::enter(broker.control(), &Connect::new(version, unique("shut")).username("shut"));
        for filter in ["$foo/bar", "$foo/#", "#", "+/bar", "a"] {
            assert!(!may_subscribe(&mut client, version, filter), "{filter}");
        }
        client.send(&wire::publish(version, "$foo/bar", 0, 0, "denied")).ping();
        let mut allowed = source(&broker);
        allowed.publish("$foo/bar", "allowed");
        assert_eq!(witness.message().1, "allowed");
    }
    assert_alive(&broker);
}

/// v3.1.1: MQTT-3.3.5-2
#[test]
fn a_denied_publish_reaches_nobody_and_is_answered_as_its_qos_and_version_have_it() {
    let broker = GUARDED.get();
    let topic = unique("t/denied");
    let mut witness = source(&broker);
    witness.subscribe(&topic, 2);
    let mut client = anybody(&broker, V5);
    client.send(&wire::publish(V5, &topic, 0, 0, "denied")).ping();
    client.send(&wire::publish(V5, &topic, 1, 7, "denied"));
    assert_eq!(client.expect(kind::PUBACK).acknowledgement_code(), 0x87);
    client.send(&wire::publish(V5, &topic, 2, 8, "denied"));
    assert_eq!(client.expect(kind::PUBREC).acknowledgement_code(), 0x87);
    // PUBREC with an error ends the exchange: nothing waits for a PUBREL.
    client.send(&wire::acknowledge(kind::PUBREL, 8));
    assert_eq!(client.expect(kind::PUBCOMP).acknowledgement_code(), 0x92);
    // 3.1.1 has no word for it: the exchange ends as any other.
    let mut old = anybody(&broker, V3_1_1);
    old.send(&wire::publish(V3_1_1, &topic, 0, 0, "denied")).ping();
    old.send(&wire::publish(V3_1_1, &topic, 1, 7, "denied"));
    assert_eq!(old.expect(kind::PUBACK).body, [0, 7]);
    old.send(&wire::publish(V3_1_1, &topic, 2, 8, "denied"));
    assert_eq!(old.expect(kind::PUBREC).body, [0, 8]);
    old.send(&wire::acknowledge(kind::PUBREL, 8));
    assert_eq!(old.expect(kind::PUBCOMP).body, [0, 8]);
    // By QoS and by retain, as the rule has it.
    for (flags, code) in [(0b0010, 0x10), (0b0100, 0x87), (0b0011, 0x87)] {
        client.send(&wire::publish_with(V5, flags, unique("out/by"), 9, &[], "x"));
        let answer = client.next("PUBACK or PUBREC");
        assert_eq!(answer.acknowledgement_code(), code, "{flags:#b}: {answer:02x?}");
    }
    source(&broker).publish(&topic, "fence");
    assert_eq!(witness.message().1, "fence");
    assert_alive(&broker);
}

#[test]
fn deny_action_disconnect_ends_the_connection_with_the_reason() {
    let broker = guarded("", "deny_action = disconnect").start();
    for version in VERSIONS {
        for packet in [
            wire::publish(version, "t/b", 0, 0, "x"),
            wire::publish(version, "t/b", 1, 7, "x"),
            wire::publish(version, "t/b", 2, 7, "x"),
            wire::subscribe(version, 7, "t/b", 0),
            wire::subscribe_with(version, 7, &[], &[("t/a", 0), ("t/b", 0)]),
        ] {
            let mut client = anybody(&broker, version);
            let closed = client.send(&packet).closed();
            assert_eq!(closed.disconnect(), (version == V5).then_some(0x87), "{packet:02x?}: {closed:?}");
        }
        let mut client = anybody(&broker, version);
        assert!(may_subscribe(&mut client, version, "t/a"));
        client.publish("t/a", "allowed");
        comes(&mut client, version, "allowed");
    }
    assert_alive(&broker);
}

#[test]
fn rules_see_topics_without_the_mountpoint() {
    let broker = GUARDED.get();
    for version in VERSIONS {
        let own = unique("mounted");
        let mut witness = source(&broker);
        witness.subscribe(&format!("site/{own}/#"), 0);
        let mut client = raw::enter(broker.address("tcp:mounted"), &Connect::new(version, &own));
        for filter in ["site/#", "t/b", "#", "secret/x"] {
            assert!(!may_subscribe(&mut client, version, filter), "{filter}");
        }
        assert!(may_subscribe(&mut client, version, "t/a"));
        assert!(may_subscribe(&mut client, version, "secret/+"));
        client.send(&wire::publish(version, "t/b", 0, 0, "denied"));
        client.publish("t/a", "allowed");
        comes(&mut client, version, "allowed");
        assert_eq!(witness.message(), (format!("site/{own}/t/a"), "allowed".to_owned()));
        // The topic behind the mountpoint is what the rule denies on the way out as well.
        let mut outside = source(&broker);
        outside.publish(&format!("site/{own}/secret/x"), "denied").publish(&format!("site/{own}/secret/y"), "fence");
        comes(&mut client, version, "fence");
        // A will has the same rules.
        let will = Connect::new(version, unique("mounted")).will("t/b", "x");
        let code = if version == V5 { 0x87 } else { 5 };
        assert_eq!(raw::dial(broker.address("tcp:mounted")).refused(&will), code);
    }
    assert_alive(&broker);
}

#[test]
fn e_10_an_empty_list_of_rules_denies_everything_and_none_at_all_nothing() {
    let nothing = Setup::new("authorization.rules = []").start();
    for version in VERSIONS {
        let mut client = anybody(&nothing, version);
        for filter in ["a", "#", "$x/y", "$share/g/a", "control/x"] {
            assert!(!may_subscribe(&mut client, version, filter), "{filter}");
        }
    }
    let mut client = anybody(&nothing, V5);
    client.send(&wire::publish(V5, "a", 1, 7, "x"));
    assert_eq!(client.expect(kind::PUBACK).acknowledgement_code(), 0x87);
    assert_eq!(raw::dial(nothing.control()).refused(&Connect::new(V5, unique("e10")).will("a", "x")), 0x87);
    nothing.assert_sound();
    for (text, is_open) in [
        ("authorization {}", true),
        ("authorization.no_match = deny", false),
        ("authorization { rules = [], no_match = allow }", true),
    ] {
        let broker = Setup::new(text).start();
        assert_eq!(may_subscribe(&mut anybody(&broker, V5), V5, "a"), is_open, "{text}");
        broker.assert_sound();
    }
}

#[test]
fn e_10_rules_that_cannot_be_read_refuse_the_start_and_leave_a_running_broker_alone() {
    let running = GUARDED.get();
    for (broken, words) in [
        ("authorization.rules = [{ permission = allow, topics = [\"a\"] ", "this `{` is never closed"),
        ("authorization.rules = [{ permission = alow, topics = [\"a\"] }]", "authorization.rules[0].permission"),
        ("authorization.rules = [{ topics = [\"a\"] }]", "`permission` is missing"),
        ("authorization.rules = [{ permission = allow, topics = [\"a/#/b\"] }]", "authorization.rules[0].topics"),
        ("authorization.rules = [{ permission = allow, topic = [\"a\"] }]", "did you mean `topics`"),
        ("authorization.rules = [{ permission = allow, topics = [\"${user}\"] }]", "no placeholder here"),
        ("authorization { rule = [] }", "did you mean `rules`"),
        ("authorization.sources = [{ type = file }]", "authorization.sources"),
    ] {
        let setup = Setup::new(broken);
        let checked = setup.check();
        assert_eq!(checked.code, Some(1), "{broken}: {checked:?}");
        assert!(checked.text.contains(words), "{broken}: {checked:?}");
        assert!(checked.text.contains("postern.conf:"), "{broken}: {checked:?}");
        // The file of a broker that runs is not looked at again.
        running.setup.file("postern.conf", broken);
    }
    assert_eq!(Setup::new("authorization.rules = [{ permission = alow }]").serve_refused().code, Some(1));
    let mut client = anybody(&running, V5);
    assert!(may_subscribe(&mut client, V5, "t/a") && !may_subscribe(&mut client, V5, "t/b"));
    assert_alive(&running);
}
