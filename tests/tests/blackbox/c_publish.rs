//! C: PUBLISH, its properties, and the exchanges of QoS 1 and 2.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::Broker;
use postern_tests::raw::{self, RawClient};
use postern_tests::wire::{self, Connect, V3_1_1, V5, kind};

use crate::fixture::{PLAIN, disconnected_with, hex, plain_broker, refused_after_connect};

type Client = RawClient<TcpStream>;

const VERSIONS: [u8; 2] = [V3_1_1, V5];

fn anybody(broker: &Broker, version: u8) -> Client {
    raw::enter(broker.control(), &Connect::new(version, unique("c")))
}

/// Topic Alias as a property.
fn alias(alias: u16) -> Vec<u8> {
    [&[0x23][..], &alias.to_be_bytes()].concat()
}

/// Message Expiry Interval as a property.
fn expiry(seconds: u32) -> Vec<u8> {
    [&[0x02][..], &seconds.to_be_bytes()].concat()
}

/// The Topic Alias Maximum of the broker.
const ALIAS_MAXIMUM: u16 = 16;

/// v5: MQTT-3.3.2-8, MQTT-3.3.2-9, MQTT-3.14.4-2, MQTT-4.13.2-1
#[test]
fn c_01_a_publish_needs_a_topic_or_an_alias_that_is_known_and_allowed() {
    let aliased = |topic: &str, number: u16| wire::publish_with(V5, 0, topic, 0, &alias(number), "x");
    disconnected_with(&wire::publish(V5, "", 0, 0, "x"), 0x82);
    disconnected_with(&aliased("c01", 0), 0x94);
    disconnected_with(&aliased("c01", ALIAS_MAXIMUM + 1), 0x94);
    disconnected_with(&aliased("c01", u16::MAX), 0x94);
    disconnected_with(&aliased("", ALIAS_MAXIMUM), 0x82);
    refused_after_connect(V3_1_1, &wire::publish(V3_1_1, "", 0, 0, "x"));
    // The neighbours: the highest alias, used by itself, and given to another topic.
    let broker = PLAIN.get();
    let (topic, other) = (unique("c01/topic"), unique("c01/topic"));
    let mut witness = anybody(&broker, V5);
    witness.subscribe(&topic, 0).subscribe(&other, 0);
    let connect = Connect::new(V5, unique("c01"));
    let mut client = raw::dial(broker.control());
    assert_eq!(client.enter(&connect).connack_property(0x22), Some(ALIAS_MAXIMUM.to_be_bytes().to_vec()));
    for (named, meant) in [(&topic[..], &topic), ("", &topic), (&other[..], &other), ("", &other)] {
        client.send(&aliased(named, ALIAS_MAXIMUM)).ping();
        assert_eq!(witness.message().0, *meant);
    }
    assert_alive(&broker);
}

/// v5: MQTT-3.3.2-7, MQTT-3.3.2-11
#[test]
fn c_02_an_alias_means_nothing_on_the_next_connection() {
    let broker = PLAIN.get();
    let topic = unique("c02/secret");
    let mut witness = anybody(&broker, V5);
    witness.subscribe(&topic, 1);
    let connect = Connect::new(V5, unique("c02")).persistent();
    let mut first = raw::enter(broker.control(), &connect);
    first.send(&wire::publish_with(V5, 0, &topic, 0, &alias(3), "named")).ping();
    assert_eq!(witness.message().1, "named");
    // The same session on another connection.
    let mut second = raw::dial(broker.control());
    assert!(second.enter(&connect).session_present());
    let closed = second.send(&wire::publish_with(V5, 0, "", 0, &alias(3), "stale")).closed();
    assert_eq!(closed.disconnect(), Some(0x82), "{closed:?}");
    anybody(&broker, V5).publish(&topic, "fence");
    assert_eq!(witness.message().1, "fence");
    assert_alive(&broker);
}

/// v5: MQTT-3.3.2-2, MQTT-3.3.2-14, MQTT-3.3.4-6
/// v3.1.1: MQTT-3.3.2-2
#[test]
fn c_04_topics_are_names_and_subscription_identifiers_the_brokers() {
    for topic in ["c04/+", "c04/#", "#", "+", "c04/a+b/c"] {
        disconnected_with(&wire::publish(V5, topic, 0, 0, "x"), 0x90);
        disconnected_with(&wire::publish(V5, topic, 2, 7, "x"), 0x90);
        refused_after_connect(V3_1_1, &wire::publish(V3_1_1, topic, 0, 0, "x"));
        let respond = [&[0x08][..], &wire::text(topic)].concat();
        disconnected_with(&wire::publish_with(V5, 0, "c04", 0, &respond, "x"), 0x82);
    }
    for version in VERSIONS {
        refused_after_connect(version, &wire::publish(version, "c04\0", 0, 0, "x"));
    }
    disconnected_with(&wire::publish_with(V5, 0, "c04", 0, &[0x08, 0, 2, b'a', 0], "x"), 0x81);
    disconnected_with(&wire::publish_with(V5, 0, "c04", 0, &[0x0B, 1], "x"), 0x82);
    // A will is a message too.
    let broker = PLAIN.get();
    for version in VERSIONS {
        let connect = Connect::new(version, unique("c04")).will("c04/#", "x");
        assert_ne!(raw::dial(broker.control()).send(&connect.bytes()).closed().connack(), Some(0));
    }
    let mut client = anybody(&broker, V5);
    let topic = unique("c04/$ä b");
    client.subscribe(&topic, 0).send(&wire::publish_with(V5, 0, &topic, 0, &hex("08 0003 612F62"), "x"));
    assert_eq!(client.expect(kind::PUBLISH).publish_properties(), [(0x08, b"a/b".to_vec())]);
    assert_alive(&broker);
}

/// Sends this as often, takes an answer of this kind for each, and gives what the process grew by, in bytes.
fn growth(broker: &Broker, client: &mut Client, times: usize, bytes: impl Fn(usize) -> Vec<u8>, answers: &[u8]) -> u64 {
    const BATCH: usize = 500;
    let mut before = 0;
    for batch in 0..times / BATCH {
        // What the first batches need stays as buffers and caches.
        if batch == times / BATCH / 5 {
            before = broker.resident_bytes();
        }
        client.send(&(0..BATCH).flat_map(|n| bytes(batch * BATCH + n)).collect::<Vec<_>>());
        for _ in 0..BATCH {
            for answer in answers {
                client.expect(*answer);
            }
        }
    }
    broker.resident_bytes().saturating_sub(before)
}

/// What "flat" means: far less than one entry for each packet would take.
const FLAT_BYTES: u64 = 3 << 20;

/// v5: MQTT-4.3.3-10, MQTT-4.3.3-11
#[test]
fn c_05_a_qos_2_message_sent_very_often_is_delivered_once_and_costs_nothing() {
    const TIMES: usize = 40_000;
    let broker = plain_broker();
    for version in VERSIONS {
        let topic = unique("c05/once");
        let mut witness = anybody(&broker, V5);
        witness.subscribe(&topic, 1);
        let mut client = anybody(&broker, version);
        let again = |n: usize| {
            let flags = if n % 2 == 1 { 0b1100 } else { 0b0100 };
            wire::publish_with(version, flags, &topic, 7, &[], vec![b'x'; 100])
        };
        let grown = growth(&broker, &mut client, TIMES, again, &[kind::PUBREC]);
        assert!(grown < FLAT_BYTES, "resident memory grew by {grown} bytes");
        assert_eq!(witness.message().1, "x".repeat(100));
        client.send(&wire::acknowledge(kind::PUBREL, 7)).expect(kind::PUBCOMP);
        // Released, the same identifier is another message.
        client.send(&wire::publish(version, &topic, 2, 7, "another")).expect(kind::PUBREC);
        assert_eq!(witness.message().1, "another");
        witness.ping();
    }
    assert_alive(&broker);
}

#[test]
fn c_06_more_unreleased_messages_than_the_receive_maximum_close() {
    const ALL: u16 = u16::MAX;
    let broker = PLAIN.get();
    let connect = Connect::new(V5, unique("c06"));
    let mut client = raw::dial(broker.control());
    let maximum = client.enter(&connect).connack_property(0x21).unwrap();
    let maximum = u16::from_be_bytes(maximum.try_into().unwrap());
    let send = |client: &mut Client, version: u8, id: u16| {
        client.send(&wire::publish(version, "c06", 2, id, "x"));
    };
    // As many as are allowed, twice: releasing them makes room.
    for _ in 0..2 {
        for id in 1..=maximum {
            send(&mut client, V5, id);
            client.expect(kind::PUBREC);
        }
        for id in 1..=maximum {
            client.send(&wire::acknowledge(kind::PUBREL, id)).expect(kind::PUBCOMP);
        }
    }
    for id in 1..=maximum {
        send(&mut client, V5, id);
        client.expect(kind::PUBREC);
    }
    send(&mut client, V5, maximum + 1);
    assert_eq!(client.closed().disconnect(), Some(0x93));
    // 3.1.1 cannot be told; it is closed where nothing honest gets to.
    let mut client = anybody(&broker, V3_1_1);
    let all = (1..=ALL).flat_map(|id| wire::publish(V3_1_1, "c06", 2, id, "x")).collect::<Vec<_>>();
    let mut writer = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &all).is_ok());
    let answered = client.closed().packets.len();
    assert!((usize::from(maximum)..4_096).contains(&answered), "{answered} were taken");
    sender.join().unwrap();
    assert_alive(&broker);
}

#[test]
fn c_09_acknowledgements_of_what_nobody_sent_leave_nothing_behind() {
    const TIMES: usize = 25_000;
    let broker = plain_broker();
    for version in VERSIONS {
        let mut client = anybody(&broker, version);
        client.subscribe("c09", 1);
        let unknown = |n: usize| {
            let id = u16::try_from(n % 60_000).unwrap() + 1;
            // PUBREC and PUBREL are the ones that have an answer.
            [kind::PUBACK, kind::PUBREC, kind::PUBCOMP, kind::PUBREL].map(|kind| wire::acknowledge(kind, id)).concat()
        };
        let grown = growth(&broker, &mut client, TIMES, unknown, &[kind::PUBREL, kind::PUBCOMP]);
        assert!(grown < FLAT_BYTES, "resident memory grew by {grown} bytes");
        client.send(&wire::acknowledge(kind::PUBREL, 9));
        client.send(&wire::acknowledge(kind::PUBREC, 9));
        for answer in [kind::PUBCOMP, kind::PUBREL] {
            let code = client.expect(answer).acknowledgement_code();
            assert_eq!(code, if version == V5 { 0x92 } else { 0 });
        }
        // The exchanges of this connection are as they should be.
        client.publish("c09", "still");
        assert_eq!(client.message().1, "still");
    }
    assert_alive(&broker);
}

/// v5: MQTT-4.13.1-1
/// v3.1.1: MQTT-4.8.0-1
#[test]
fn an_acknowledgement_that_its_exchange_does_not_have_ends_the_connection() {
    let broker = PLAIN.get();
    for version in VERSIONS {
        for (qos, wrong) in [(1, kind::PUBREC), (1, kind::PUBCOMP), (2, kind::PUBACK), (2, kind::PUBCOMP)] {
            let topic = unique("out-of-order");
            let mut client = anybody(&broker, version);
            client.subscribe(&topic, qos);
            client.send(&wire::publish(version, &topic, qos, 1, "x"));
            let answer = client.await_kind(if qos == 1 { kind::PUBACK } else { kind::PUBREC });
            assert_ne!(answer.kind(), kind::DISCONNECT);
            if qos == 2 {
                client.send(&wire::acknowledge(kind::PUBREL, 1)).await_kind(kind::PUBCOMP);
            }
            let id = client.await_kind(kind::PUBLISH).published(version).1;
            let closed = client.send(&wire::acknowledge(wrong, id)).closed();
            assert_eq!(closed.disconnect(), (version == V5).then_some(0x82), "{version} {qos} {wrong}");
        }
    }
    assert_alive(&broker);
}

/// v5: MQTT-3.3.2-5, MQTT-3.3.2-6
#[test]
fn c_11_a_message_waits_no_longer_than_its_expiry_and_says_what_is_left() {
    const SHORT_S: u32 = 1;
    const LONG_S: u32 = 600;
    let broker = PLAIN.get();
    let (topic, kept) = (unique("c11/queued"), unique("c11/retained"));
    let absent = |id: &str| {
        let connect = Connect::new(V5, unique(id)).persistent();
        raw::enter(broker.control(), &connect).subscribe(&topic, 1).ping();
        connect
    };
    let (soon, late) = (absent("soon"), absent("late"));
    let mut publisher = anybody(&broker, V5);
    let mut send = |flags: u8, topic: &str, seconds: u32, payload: &str| {
        publisher.send(&wire::publish_with(V5, flags, topic, 5, &expiry(seconds), payload)).expect(kind::PUBACK);
    };
    let began = Instant::now();
    send(0b0010, &topic, LONG_S, "first");
    send(0b0010, &topic, SHORT_S, "short");
    send(0b0010, &topic, LONG_S, "last");
    send(0b0011, &kept, SHORT_S, "short");
    // The broker counts from when it has them, which is at the latest now.
    let kept_from = Instant::now();
    let check = |client: &mut Client, payload: &str, total: u32| {
        let packet = client.expect(kind::PUBLISH);
        assert_eq!(packet.published(V5).2, payload.as_bytes());
        let waited = u32::try_from(began.elapsed().as_secs()).unwrap();
        let left = packet.message_expiry().unwrap();
        assert!(left <= total && left >= total.saturating_sub(waited + 1), "{left} s left after {waited} s");
    };
    let mut client = raw::enter(broker.control(), &soon);
    check(&mut client, "first", LONG_S);
    let second = client.expect(kind::PUBLISH).published(V5).2;
    // Where this machine took longer than the message may wait, it is gone here too.
    assert!(second == b"short" || began.elapsed() > Duration::from_secs(u64::from(SHORT_S)), "{second:?}");
    // From here on it must be.
    std::thread::sleep(Duration::from_millis(2_200).saturating_sub(kept_from.elapsed()));
    let mut client = raw::enter(broker.control(), &late);
    check(&mut client, "first", LONG_S - 1);
    check(&mut client, "last", LONG_S - 1);
    client.ping();
    let mut reader = anybody(&broker, V5);
    reader.subscribe(&kept, 1);
    send(0b0010, &kept, LONG_S, "fence");
    assert_eq!(reader.message().1, "fence");
    assert_alive(&broker);
}

/// v5: MQTT-3.3.2-4, MQTT-3.3.2-15, MQTT-3.3.2-16, MQTT-3.3.2-17, MQTT-3.3.2-18, MQTT-3.3.2-20
#[test]
fn c_12_properties_arrive_unchanged_and_in_order_live_retained_and_queued() {
    let broker = PLAIN.get();
    let topic = unique("c12/all");
    let pair = |n: usize| {
        // Three names for thirty pairs, so that each comes ten times.
        [wire::text(format!("name {}", n % 3)), wire::text(format!("välue {n}"))].concat()
    };
    let correlation = b"\0\xFF\0binary\0".to_vec();
    let single = [
        (0x01, vec![1]),
        (0x03, b"application/x-\xC3\xA4".to_vec()),
        (0x08, b"c12/answer".to_vec()),
        (0x09, correlation),
    ];
    let mut list = vec![0x01, 1];
    list.extend(single[1..].iter().flat_map(|(id, value)| [&[*id][..], &wire::text(value)].concat()));
    list.extend((0..30).flat_map(|n| [&[0x26][..], &pair(n)].concat()));
    let mut live = anybody(&broker, V5);
    live.subscribe(&topic, 2);
    let away = Connect::new(V5, unique("c12")).persistent();
    raw::enter(broker.control(), &away).subscribe(&topic, 1).ping();
    let mut publisher = anybody(&broker, V5);
    publisher.send(&wire::publish_with(V5, 0b0011, &topic, 5, &list, "payload")).expect(kind::PUBACK);
    let mut later = anybody(&broker, V5);
    later.subscribe(&topic, 0);
    for client in [&mut live, &mut later, &mut raw::enter(broker.control(), &away)] {
        let packet = client.expect(kind::PUBLISH);
        assert_eq!(packet.published(V5).2, b"payload");
        let (user, mut others): (Vec<_>, Vec<_>) = packet.publish_properties().into_iter().partition(|p| p.0 == 0x26);
        others.sort();
        assert_eq!(others, single);
        assert_eq!(user, (0..30).map(|n| (0x26, pair(n))).collect::<Vec<_>>());
    }
    // 3.1.1 gets the message without them.
    let mut old = anybody(&broker, V3_1_1);
    old.subscribe(&topic, 0);
    assert_eq!(old.message(), (topic.clone(), "payload".to_owned()));
    publisher.send(&wire::retain(V5, &topic, 1, 6, "")).expect(kind::PUBACK);
    assert_alive(&broker);
}

/// What says that it is text is passed on as it is: to check it is the receiver's right (3.3.2.3.2).
#[test]
fn c_13_a_payload_that_is_not_the_text_it_claims_to_be_is_passed_on() {
    let broker = PLAIN.get();
    let topic = unique("c13");
    let mut client = anybody(&broker, V5);
    client.subscribe(&topic, 0);
    for payload in [&b"\xC0\x80"[..], b"\xED\xA0\x80", b"\xFF", b"", b"a\0b"] {
        client.send(&wire::publish_with(V5, 0, &topic, 0, &[0x01, 1], payload));
        let packet = client.expect(kind::PUBLISH);
        assert_eq!((packet.publish_properties(), packet.published(V5).2), (vec![(1, vec![1])], payload.to_vec()));
    }
    // Only 0 and 1 are values of the indicator.
    disconnected_with(&wire::publish_with(V5, 0, &topic, 0, &[0x01, 2], "x"), 0x82);
    assert_alive(&broker);
}

#[test]
fn c_14_a_publish_beyond_the_maximum_is_refused_by_its_header_and_not_allocated() {
    const MAXIMUM: usize = 1 << 20;
    const CONNECTIONS: usize = 100;
    const GROWTH_BYTES_MAX: u64 = 20 << 20;
    let broker = plain_broker();
    // The neighbour: the largest that is allowed, to the byte.
    let mut client = raw::dial(broker.control());
    let connack = client.enter(&Connect::new(V5, unique("c14")));
    assert_eq!(connack.connack_property(0x27), Some(u32::try_from(MAXIMUM).unwrap().to_be_bytes().to_vec()));
    client.subscribe("c14", 1);
    let rest = wire::publish(V5, "c14", 1, 1, "").len() - 2;
    let largest = wire::publish(V5, "c14", 1, 1, vec![b'x'; MAXIMUM - 4 - rest]);
    assert_eq!(largest.len(), MAXIMUM);
    client.send(&largest);
    client.await_kind(kind::PUBACK);
    assert_eq!(client.await_kind(kind::PUBLISH).published(V5).2.len(), MAXIMUM - 4 - rest);
    drop(client);
    let before = broker.resident_bytes();
    for version in VERSIONS {
        let mut clients = (0..CONNECTIONS).map(|_| anybody(&broker, version)).collect::<Vec<_>>();
        for (n, client) in clients.iter_mut().enumerate() {
            // One byte too many, or all that can be announced; nothing of it follows.
            let announced = if n % 2 == 0 { MAXIMUM - 3 } else { 268_435_455 };
            client.send(&[&[0x32][..], &wire::varint(announced)].concat());
        }
        for client in &mut clients {
            assert_eq!(client.closed().disconnect(), (version == V5).then_some(0x95));
        }
    }
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "resident memory grew by {grown} bytes");
    assert_alive(&broker);
}
