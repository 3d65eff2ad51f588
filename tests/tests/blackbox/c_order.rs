//! C-10: the order of what several publishers send at each QoS, to subscribers that lose their connection.

use std::collections::{BTreeMap, HashSet};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;

use postern_tests::alive::assert_alive;
use postern_tests::raw::{self, RawClient};
use postern_tests::wire::{self, Connect, Packet, V3_1_1, V5, kind};

use crate::fixture::plain_broker;

const PUBLISHERS: usize = 4;
const SUBSCRIBERS: usize = 8;
/// Of each publisher at each QoS. All of QoS 1 and 2 together are fewer than a session may have waiting, so that
/// none may be lost however slow this machine is.
const MESSAGES: usize = 80;
/// Packets after which a subscriber takes its own session over.
const CONNECTION_PACKETS: usize = 150;

type Client = RawClient<TcpStream>;

/// What one subscriber has got, and what it must remember between its connections.
struct Ledger {
    version: u8,
    /// By topic, which is the publisher's, and QoS: the numbers in the order in which they came first.
    firsts: BTreeMap<(String, u8), Vec<usize>>,
    /// Packet identifiers of QoS 2 that are not released.
    held: HashSet<u16>,
}

impl Ledger {
    /// Takes a packet and answers it.
    fn take(&mut self, packet: &Packet, client: &mut Client) {
        match packet.kind() {
            kind::PUBLISH => {
                let (topic, id, payload) = packet.published(self.version);
                let number = String::from_utf8(payload).unwrap().parse().unwrap();
                let qos = packet.qos();
                if qos < 2 || self.held.insert(id) {
                    self.note(&topic, qos, number, packet.is_dup());
                }
                if qos > 0 {
                    client.send(&wire::acknowledge([0, kind::PUBACK, kind::PUBREC][usize::from(qos)], id));
                }
            }
            kind::PUBREL => {
                self.held.remove(&packet.id());
                client.send(&wire::acknowledge(kind::PUBCOMP, packet.id()));
            }
            _ => panic!("{packet:?}"),
        }
    }

    fn note(&mut self, topic: &str, qos: u8, number: usize, is_dup: bool) {
        let firsts = self.firsts.entry((topic.to_owned(), qos)).or_default();
        match firsts.last() {
            // QoS 1 may come twice, and then says so; the others never do.
            Some(&last) if number <= last => {
                assert!(qos == 1 && is_dup && firsts.contains(&number), "{topic} at {qos}: {number} after {last}");
            }
            _ => firsts.push(number),
        }
    }

    fn is_complete(&self) -> bool {
        let complete = self.firsts.iter().filter(|((_, qos), firsts)| *qos > 0 && firsts.len() == MESSAGES);
        complete.count() == 2 * PUBLISHERS && self.held.is_empty()
    }
}

fn subscriber(address: SocketAddr, number: usize, ready: &Barrier) -> Ledger {
    let version = if number.is_multiple_of(2) { V5 } else { V3_1_1 };
    let connect = Connect::new(version, format!("subscriber-{number}")).persistent();
    let mut client = raw::enter(address, &connect);
    client.subscribe("c10/+", 2);
    ready.wait();
    let mut ledger = Ledger { version, firsts: BTreeMap::new(), held: HashSet::new() };
    let mut taken = 0;
    while !ledger.is_complete() {
        let packet = client.next("a message");
        ledger.take(&packet, &mut client);
        taken += 1;
        // The other half keep their connections.
        if number < SUBSCRIBERS / 2 && taken % CONNECTION_PACKETS == 0 {
            let mut next = raw::dial(address);
            assert!(next.enter(&connect).session_present());
            client = next;
        }
    }
    ledger
}

fn publisher(address: SocketAddr, number: usize, ready: &Barrier) {
    const BURST: usize = 20;
    let mut client = raw::enter(address, &Connect::new(V5, format!("publisher-{number}")));
    let topic = format!("c10/{number}");
    ready.wait();
    for burst in (0..MESSAGES).collect::<Vec<_>>().chunks(BURST) {
        let id = |n: usize, qos: usize| u16::try_from(qos * MESSAGES + n).unwrap();
        let publish = |n: usize, qos: u8| wire::publish(V5, &topic, qos, id(n, usize::from(qos)), n.to_string());
        client.send(&burst.iter().flat_map(|&n| [0, 1, 2].map(|qos| publish(n, qos)).concat()).collect::<Vec<_>>());
        for &n in burst {
            assert_eq!(client.await_kind(kind::PUBACK).id(), id(n, 1));
            assert_eq!(client.await_kind(kind::PUBREC).id(), id(n, 2));
        }
        client.send(&burst.iter().flat_map(|&n| wire::acknowledge(kind::PUBREL, id(n, 2))).collect::<Vec<_>>());
        for &n in burst {
            assert_eq!(client.await_kind(kind::PUBCOMP).id(), id(n, 2));
        }
    }
}

/// v5: MQTT-4.6.0-5, MQTT-4.6.0-6, MQTT-4.3.3-10
/// v3.1.1: MQTT-4.6.0-5, MQTT-4.6.0-6
#[test]
fn c_10_each_subscriber_gets_each_publishers_messages_in_order_though_sessions_are_taken_over() {
    let broker = plain_broker();
    let address = broker.control();
    let ready = Barrier::new(PUBLISHERS + SUBSCRIBERS);
    let ledgers = std::thread::scope(|scope| {
        let ready = &ready;
        let subscribers = (0..SUBSCRIBERS).map(|n| scope.spawn(move || subscriber(address, n, ready)));
        let subscribers = subscribers.collect::<Vec<_>>();
        for n in 0..PUBLISHERS {
            scope.spawn(move || publisher(address, n, ready));
        }
        subscribers.into_iter().map(|subscriber| subscriber.join().unwrap()).collect::<Vec<_>>()
    });
    for (number, ledger) in ledgers.iter().enumerate() {
        for ((topic, qos), firsts) in &ledger.firsts {
            if *qos > 0 || number >= SUBSCRIBERS / 2 {
                assert_eq!(*firsts, (0..MESSAGES).collect::<Vec<_>>(), "{topic} at {qos} to {number}");
            }
        }
    }
    assert_alive(&broker);
}
