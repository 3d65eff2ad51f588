//! What a packet costs in the codec: nanoseconds and allocations for decoding and for encoding it.
//!
//! ```text
//! cargo bench -p postern-mqtt --bench codec
//! ```
//!
//! Each number is the median of [`ROUNDS`] rounds of [`BATCH`] packets, with the fastest round beside it: on a machine
//! that does other things, the fastest is nearer to the truth. Decoding takes whole packets out of one buffer, as they
//! come from a socket; encoding appends to one that has room.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use postern_mqtt::packet::{
    Ack, Connect, Message, Packet, PacketId, Publish, QoS, RetainHandling, Subscribe, Subscription, Version,
};
use postern_mqtt::wire::{Decoder, Sender, encode};
use postern_mqtt::{Filter, Limits, Link, ReasonCode, Sent, Topic};

/// Packets in one round.
const BATCH: usize = 512;
const ROUNDS: usize = 101;

const TOPIC: &str = "plant/7/line/3/temperature";
const VERSIONS: [Version; 2] = [Version::V3_1_1, Version::V5];

/// What one packet cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    median_ns: f64,
    fastest_ns: f64,
    allocations: f64,
}

fn main() {
    println!("{:<34} {:>7} {:>6}  {:>38}  {:>38}", "packet", "version", "bytes", "decode", "encode");
    for (name, packet) in packets() {
        let mut costs = Vec::new();
        for version in VERSIONS {
            if version != Version::V5 && name.contains("properties") {
                continue;
            }
            let bytes = wire(version, &packet);
            let (decoded, encoded) = (decoding(version, &bytes), encoding(version, &packet));
            println!(
                "{name:<34} {:>7} {:>6}  {}  {}",
                version.to_string(),
                bytes.len(),
                shown(decoded),
                shown(encoded)
            );
            costs.push((decoded, encoded));
        }
        if let [old, new] = costs[..] {
            let ratio = |old: Cost, new: Cost| new.median_ns / old.median_ns;
            println!(
                "{:<34} {:>7} {:>6}  {:>37.2}x  {:>37.2}x",
                "",
                "5/3.1.1",
                "",
                ratio(old.0, new.0),
                ratio(old.1, new.1)
            );
        }
    }
    println!();
    let (named, aliased) = (sending(None), sending(Some(1)));
    println!("{:<56} {}", "Link::send, PUBLISH QoS 0 of 64 B, topic by name", shown(named));
    println!("{:<56} {}", "Link::send, PUBLISH QoS 0 of 64 B, topic by alias", shown(aliased));
}

fn shown(cost: Cost) -> String {
    format!("{:>7.0} ns (fastest {:>5.0}), {:>4.1} alloc", cost.median_ns, cost.fastest_ns, cost.allocations)
}

fn packets() -> Vec<(&'static str, Packet)> {
    let plain = |bytes: usize| Message::new(topic(), Bytes::from(vec![b'x'; bytes]));
    let with_properties = Message {
        expiry: Some(60),
        content_type: Some("application/json".into()),
        user_properties: vec![("unit".into(), "celsius".into())],
        ..plain(64)
    };
    let subscriptions = |count: usize| {
        (0..count).map(|n| Subscription {
            filter: Ok(Filter::new(&format!("plant/{n}/+/temperature")).expect("a filter")),
            qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Always,
        })
    };
    let subscribe = |count| {
        Packet::Subscribe(Subscribe {
            packet_id: PacketId::MIN,
            subscription_id: None,
            user_properties: Vec::new(),
            subscriptions: subscriptions(count).collect(),
        })
    };
    vec![
        ("PUBLISH QoS 0, 64 B", publish(plain(64))),
        ("PUBLISH QoS 0, 1 KiB", publish(plain(1024))),
        ("PUBLISH QoS 0, 64 B, 3 properties", publish(with_properties)),
        ("SUBSCRIBE, 1 filter", subscribe(1)),
        ("SUBSCRIBE, 10 filters", subscribe(10)),
        ("PUBACK", Packet::PubAck(Ack::new(PacketId::MIN, ReasonCode::SUCCESS))),
    ]
}

fn topic() -> Topic {
    Topic::new(TOPIC).expect("a topic")
}

fn publish(message: Message) -> Packet {
    Packet::Publish(Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        packet_id: None,
        message: Arc::new(message),
        expiry_left: None,
        subscription_ids: Vec::new(),
    })
}

fn wire(version: Version, packet: &Packet) -> Bytes {
    let mut output = BytesMut::new();
    assert_eq!(encode(version, packet, &mut output), Sent::Written);
    output.freeze()
}

fn decoding(version: Version, bytes: &[u8]) -> Cost {
    let mut decoder = Decoder::new(Sender::Client, Some(version), Limits::default());
    let stream = bytes.repeat(BATCH);
    measured(|timed| {
        let mut input = BytesMut::from(&stream[..]);
        timed(&mut || {
            for _ in 0..BATCH {
                let packet = decoder.next(&mut input);
                assert!(matches!(black_box(packet), Ok(Some(_))));
            }
        });
        assert!(input.is_empty());
    })
}

fn encoding(version: Version, packet: &Packet) -> Cost {
    let mut output = BytesMut::with_capacity(wire(version, packet).len() * BATCH);
    measured(|timed| {
        output.clear();
        timed(&mut || {
            for _ in 0..BATCH {
                assert_eq!(encode(version, black_box(packet), &mut output), Sent::Written);
            }
        });
        black_box(&output);
    })
}

/// Through a link to a client with this Topic Alias Maximum.
fn sending(topic_alias_maximum: Option<u16>) -> Cost {
    let mut link = Link::new(Limits::default(), 0);
    let connect = Packet::Connect(Box::new(Connect { topic_alias_maximum, ..plainest_connect() }));
    let connected = link.receive(0, &mut BytesMut::from(&wire(Version::V5, &connect)[..]));
    assert!(matches!(connected, Ok(Some(_))));
    let mut output = BytesMut::new();
    assert_eq!(link.send(&Packet::ConnAck(Box::default()), &mut output), Sent::Written);
    let packet = publish(Message::new(topic(), Bytes::from(vec![b'x'; 64])));
    output.reserve(256 * BATCH);
    measured(|timed| {
        output.clear();
        timed(&mut || {
            for _ in 0..BATCH {
                assert_eq!(link.send(black_box(&packet), &mut output), Sent::Written);
            }
        });
        black_box(&output);
    })
}

fn plainest_connect() -> Connect {
    Connect { keep_alive: 60, ..Connect::new(Version::V5, "bench") }
}

/// Runs `round` again and again; what it hands to its argument is measured, the rest is preparation.
#[expect(clippy::cast_precision_loss, reason = "batches are small")]
fn measured(mut round: impl FnMut(&mut dyn FnMut(&mut dyn FnMut()))) -> Cost {
    let mut times_ns = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        round(&mut |work| {
            let start = Instant::now();
            work();
            times_ns.push(start.elapsed().as_secs_f64() * 1e9 / BATCH as f64);
        });
    }
    let mut allocations = 0;
    round(&mut |work| allocations = allocation_counter::measure(work).count_total);
    times_ns.sort_by(f64::total_cmp);
    Cost { median_ns: times_ns[ROUNDS / 2], fastest_ns: times_ns[0], allocations: allocations as f64 / BATCH as f64 }
}
