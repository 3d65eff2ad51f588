//! a flood of mutated packets, beside a publisher and a subscriber that must not notice.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postern_tests::alive::assert_alive;
use postern_tests::broker::{Broker, Setup};
use postern_tests::mutation::{Corpus, Random, framed};
use postern_tests::pki::Authority;
use postern_tests::raw::{self, Duplex, RawClient};
use postern_tests::tls;
use postern_tests::wire::{self, Connect, V3_1, V3_1_1, V5, kind};

/// Hostile packets where `POSTERN_TEST_MUTATIONS` says no other number.
const PACKETS: u64 = 100_000;
/// Connections at the same time over TCP, and over TLS.
const PLAIN: u64 = 8;
const SECURE: u64 = 2;
/// The part of the flood after which memory is compared, in percent: pools and allocators have their size then.
const WARM_UP_PERCENT: u64 = 30;
/// What resident memory may grow by after that, in bytes. Sessions and retained messages that mutations leave behind are
/// bounded by the configuration below; what is left is the allocator's.
const GROWTH_BYTES_MAX: u64 = 16 << 20;
/// After a hostile packet comes PINGRESP, or the end; never silence.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);
/// Between two messages of the publisher.
const PAUSE: Duration = Duration::from_millis(2);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn broker() -> Broker {
    let setup = Setup::new(
        "listeners.ssl.secure { bind = \"127.0.0.1:0\", max_unauthenticated_per_address = 1000\n\
         ssl_options { certfile = \"server.pem\", keyfile = \"server.key\" } }\n\
         mqtt { session_expiry_interval = 5s, max_session_expiry_interval = 5s }\n\
         retainer { backend { max_retained_messages = 100 } }",
    );
    Authority::new("Servers").server(&["localhost"]).write(setup.dir.path(), "server");
    setup.start()
}

/// One attacker: what it sends follows from its seed alone.
struct Attacker<'a> {
    random: Random,
    corpora: [Corpus; 3],
    sent: &'a AtomicU64,
    name: String,
}

impl Attacker<'_> {
    /// Sends so many mutated packets, on as many connections as that takes.
    fn attack<S: Duplex>(&mut self, packets: u64, dial: impl Fn() -> Option<RawClient<S>>) {
        let mut left = packets;
        while left > 0 {
            // A handshake that a busy machine did not finish is none of the packets.
            let Some(mut client) = dial() else { continue };
            let version = self.random.below(3);
            if self.random.below(8) == 0 {
                // As the first thing ever sent.
                let bytes = self.corpora[version].mutated(&mut self.random);
                self.last_words(&mut client, &bytes);
                left -= 1;
                continue;
            }
            let level = [V3_1, V3_1_1, V5][version];
            client.enter(&Connect::new(level, &self.name));
            while left > 0 {
                left -= 1;
                let bytes = self.corpora[version].mutated(&mut self.random);
                if !framed(&bytes) {
                    // What follows would be taken for a part of it.
                    self.last_words(&mut client, &bytes);
                    break;
                }
                self.sent.fetch_add(1, Ordering::Relaxed);
                client.send(&[&bytes[..], &wire::PINGREQ].concat());
                if !answered(&mut client.stream, &bytes) {
                    break;
                }
            }
        }
    }

    /// Sends these bytes and no more, and takes the end, which must come.
    fn last_words<S: Duplex>(&self, client: &mut RawClient<S>, bytes: &[u8]) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        client.send(bytes).stream.shut_writes();
        let ended = client.closed_within(ANSWER_WITHIN);
        assert!(ended.is_ok(), "neither answered nor closed after {bytes:02x?}");
    }
}

/// Reads to the PINGRESP, and says whether it came; if not, the connection has ended.
fn answered(stream: &mut impl Duplex, bytes: &[u8]) -> bool {
    stream.read_deadline(ANSWER_WITHIN);
    loop {
        match wire::read_packet(stream) {
            Ok(Some(packet)) if packet.kind() == kind::PINGRESP => return true,
            Ok(Some(_)) => {}
            Err(error) if raw::timed_out(&error) => panic!("neither PINGRESP nor the end after {bytes:02x?}"),
            Ok(None) | Err(_) => return false,
        }
    }
}

/// Publishes numbers with QoS 1 until it is told to end; the last message says so.
fn publish(address: SocketAddr, ended: &AtomicBool) -> u64 {
    let mut publisher = raw::enter(address, &Connect::new(V5, "two-party-publisher"));
    let mut count = 0;
    while !ended.load(Ordering::Relaxed) {
        publisher.publish("two-party", &count.to_string());
        count += 1;
        std::thread::sleep(PAUSE);
    }
    publisher.publish("two-party", "end");
    publisher.leave();
    count
}

/// Takes the numbers, each once and in order, and gives their count.
fn subscribe(mut subscriber: RawClient<std::net::TcpStream>) -> u64 {
    let mut count: u64 = 0;
    loop {
        let (_, payload) = subscriber.message();
        if payload == "end" {
            subscriber.leave();
            return count;
        }
        assert_eq!(payload, count.to_string(), "lost, repeated or out of order");
        count += 1;
    }
}

#[test]
fn a_18_a_flood_of_mutated_packets_neither_hurts_others_nor_grows_memory() {
    let packets = number("POSTERN_TEST_MUTATIONS").unwrap_or(PACKETS);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let seed = number("POSTERN_TEST_SEED").unwrap_or(u64::from(now));
    println!("again: POSTERN_TEST_SEED={seed} POSTERN_TEST_MUTATIONS={packets}");

    let broker = broker();
    let (plain, secure) = (broker.control(), broker.address("ssl:secure"));
    let (sent, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut subscriber = raw::enter(plain, &Connect::new(V5, "two-party-subscriber"));
    subscriber.subscribe("two-party", 1);
    let (warm, published, heard) = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish(plain, &ended));
        let subscriber = scope.spawn(move || subscribe(subscriber));
        let attackers: Vec<_> = (0..PLAIN + SECURE)
            .map(|which| {
                let mut attacker = Attacker {
                    random: Random::new(seed, which),
                    corpora: [V3_1, V3_1_1, V5].map(Corpus::new),
                    sent: &sent,
                    name: format!("attacker-{which}"),
                };
                let share = packets / (PLAIN + SECURE);
                scope.spawn(move || {
                    if which < PLAIN {
                        attacker.attack(share, || Some(raw::dial(plain)));
                    } else {
                        attacker.attack(share, || tls::naming("localhost").dial(secure).ok());
                    }
                })
            })
            .collect();
        let mut warm = None;
        while attackers.iter().any(|attacker| !attacker.is_finished()) {
            if warm.is_none() && sent.load(Ordering::Relaxed) * 100 >= packets * WARM_UP_PERCENT {
                warm = Some(broker.resident_bytes());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        ended.store(true, Ordering::Relaxed);
        for attacker in attackers {
            attacker.join().unwrap();
        }
        (warm.unwrap_or_else(|| broker.resident_bytes()), publisher.join().unwrap(), subscriber.join().unwrap())
    });
    assert_eq!(heard, published, "messages that were acknowledged and not delivered");
    let grown = broker.resident_bytes().saturating_sub(warm);
    println!("{} hostile packets, {heard} messages, {warm} bytes resident, {grown} more", sent.into_inner());
    assert!(grown < GROWTH_BYTES_MAX, "resident memory grew by {grown} bytes");
    assert_alive(&broker);
}
