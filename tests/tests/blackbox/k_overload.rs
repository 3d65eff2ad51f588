//! K, and D-11: clients that take less than they are sent, and more clients than there are file descriptors.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use postern_tests::alive::assert_alive;
use postern_tests::broker::{Broker, Setup};
use postern_tests::raw::{self, RawClient};
use postern_tests::wire::{self, Connect, V5, kind};

/// A broker on busy cores.
const PATIENCE: Duration = Duration::from_mins(2);

/// A listener whose sockets hold little, so that what a slow client does not take is the broker's to hold.
fn narrow_broker(send_timeout: &str) -> Broker {
    let options = format!("sndbuf = 8KB, send_timeout = {send_timeout}, send_timeout_close = true");
    Setup::new(&format!("listeners.tcp.narrow {{ bind = \"127.0.0.1:0\", tcp_options {{ {options} }} }}")).start()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The number that a test's payload begins with.
fn number(payload: &[u8]) -> usize {
    std::str::from_utf8(&payload[..8]).unwrap().parse().unwrap()
}

fn numbered(n: usize, bytes: usize) -> Vec<u8> {
    let mut payload = format!("{n:08}").into_bytes();
    payload.resize(bytes, b'.');
    payload
}

/// A subscriber that keeps up, and checks that it gets every message in its order.
struct Keen {
    received: Arc<AtomicUsize>,
    reader: JoinHandle<()>,
}

impl Keen {
    fn begin(address: SocketAddr, filter: &str, expected: usize) -> Self {
        let mut client = raw::enter(address, &Connect::new(V5, "keen"));
        client.subscribe(filter, 1);
        let received = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&received);
        let reader = std::thread::spawn(move || {
            while count.load(Ordering::Relaxed) < expected {
                let packet = client.expect(kind::PUBLISH);
                let (_, id, payload) = packet.published(V5);
                assert_eq!(number(&payload), count.load(Ordering::Relaxed), "every message, in order");
                client.send(&wire::acknowledge(kind::PUBACK, id));
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { received, reader }
    }
}

/// Publishes numbered messages of QoS 1 as fast as the keen subscriber takes them. Gives the largest resident memory
/// of the broker back, in bytes.
fn publish_numbered(broker: &Broker, keen: &Keen, topic: &str, count: usize, bytes: usize) -> u64 {
    const BATCH: usize = 50;
    let mut publisher = raw::enter(broker.control(), &Connect::new(V5, "publisher"));
    let mut most = 0;
    for first in (0..count).step_by(BATCH) {
        wait_until("the keen subscriber keeps up", || {
            assert!(!keen.reader.is_finished(), "it ended early");
            first - keen.received.load(Ordering::Relaxed) < 400
        });
        for n in first..first + BATCH {
            let id = u16::try_from(n - first + 1).unwrap();
            publisher.send(&wire::publish(V5, topic, 1, id, numbered(n, bytes)));
        }
        for _ in 0..BATCH {
            assert_eq!(publisher.expect(kind::PUBACK).body.get(2).copied().unwrap_or(0), 0);
        }
        most = most.max(broker.resident_bytes());
    }
    publisher.leave();
    most
}

/// Reads a byte now and then until it is done.
fn dawdle(mut client: RawClient<TcpStream>, done: &Arc<AtomicBool>) -> JoinHandle<()> {
    use std::io::Read;
    let done = Arc::clone(done);
    std::thread::spawn(move || {
        let mut byte = [0];
        while !done.load(Ordering::Relaxed) && client.stream.read(&mut byte).is_ok_and(|read| read > 0) {
            std::thread::sleep(Duration::from_millis(500));
        }
    })
}

fn enter_narrow(broker: &Broker, connect: &Connect) -> RawClient<TcpStream> {
    let mut client = raw::dial_narrow(broker.address("tcp:narrow"));
    client.enter(connect);
    client
}

fn sum(broker: &Broker, field: &str) -> u64 {
    broker.journal.lines().iter().filter_map(|line| line.fields[field].as_u64()).sum()
}

#[test]
fn k_02_a_slow_subscriber_is_closed_and_its_queue_bounded_while_others_get_everything() {
    const COUNT: usize = 20_000;
    let broker = narrow_broker("2s");
    let mut slow = enter_narrow(&broker, &Connect::new(V5, "slow\"one").persistent());
    slow.subscribe("k/#", 1);
    let done = Arc::new(AtomicBool::new(false));
    let dawdler = dawdle(slow, &done);
    let keen = Keen::begin(broker.control(), "k/#", COUNT);
    let before = broker.resident_bytes();
    let most = publish_numbered(&broker, &keen, "k/02", COUNT, 4096);
    keen.reader.join().unwrap();
    let grown = most.saturating_sub(before) >> 20;
    println!("resident memory: {} MiB before, {} MiB at most", before >> 20, most >> 20);
    // 80 MB went through. The slow one's queue has 1000 messages of 4 KiB; its outbox, and what the allocator keeps, come on top.
    assert!(grown < 48, "{grown} MiB more than before");
    let closed = broker.journal.find(0, PATIENCE, |line| line.says("closed") && line.text("client_id") == "slow\"one");
    let closed = closed.unwrap_or_else(|| panic!("the slow one was not closed: {}", broker.journal.text()));
    assert!(closed.text("reason").contains("within send_timeout (2s)"), "{closed:?}");
    assert!(closed.has("connection") && closed.text("namespace") == "(global)", "{closed:?}");
    done.store(true, Ordering::Relaxed);
    dawdler.join().unwrap();
    assert!(sum(&broker, "queue_full") > 0, "losses are told: {}", broker.journal.text());

    // Its session lives on, with the newest messages.
    let mut again = raw::dial(broker.control());
    assert!(again.enter(&Connect::new(V5, "slow\"one").persistent()).session_present());
    let mut last = None;
    while last != Some(COUNT - 1) {
        let packet = again.expect(kind::PUBLISH);
        let (_, id, payload) = packet.published(V5);
        let n = number(&payload);
        assert!(last.is_none_or(|last| last < n), "{n} after {last:?}");
        last = Some(n);
        again.send(&wire::acknowledge(kind::PUBACK, id));
    }
    again.leave();
    assert_alive(&broker);
}

#[test]
fn k_02_qos_0_to_a_slow_subscriber_is_dropped_and_counted_and_costs_bounded_memory() {
    const COUNT: usize = 20_000;
    let broker = narrow_broker("30s");
    let mut slow = enter_narrow(&broker, &Connect::new(V5, "slow"));
    slow.subscribe("k/#", 0);
    let keen = Keen::begin(broker.control(), "k/#", COUNT);
    let before = broker.resident_bytes();
    let most = publish_numbered(&broker, &keen, "k/02", COUNT, 4096);
    keen.reader.join().unwrap();
    let grown = most.saturating_sub(before) >> 20;
    assert!(grown < 48, "{grown} MiB more than before");
    // It reads on in the end, and has lost what it was too slow for and nothing of the order.
    let mut publisher = raw::enter(broker.control(), &Connect::new(V5, "publisher"));
    let end = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&end);
    let reader = std::thread::spawn(move || {
        let (mut got, mut last) = (0, None);
        loop {
            let (_, _, payload) = slow.expect(kind::PUBLISH).published(V5);
            let n = number(&payload);
            if n >= COUNT {
                seen.store(true, Ordering::Relaxed);
                return got;
            }
            assert!(last.is_none_or(|last| last < n), "{n} after {last:?}");
            last = Some(n);
            got += 1;
        }
    });
    // Until one gets through, since it may be parked still.
    wait_until("a message gets through again", || {
        publisher.send(&wire::publish(V5, "k/02", 0, 0, numbered(COUNT, 100)));
        end.load(Ordering::Relaxed)
    });
    let got: usize = reader.join().unwrap();
    assert!(got < COUNT, "nothing was dropped");
    wait_until("the drops are told", || sum(&broker, "slow_consumer") > 0);
    assert_alive(&broker);
}

#[test]
fn k_02_a_subscriber_that_is_slow_but_moves_is_kept() {
    let broker = narrow_broker("3s");
    let mut slow = enter_narrow(&broker, &Connect::new(V5, "unhurried"));
    slow.subscribe("k", 0);
    let mut publisher = raw::enter(broker.control(), &Connect::new(V5, "publisher"));
    for n in 0..100 {
        publisher.publish("k", std::str::from_utf8(&numbered(n, 10_000)).unwrap());
    }
    // A pause after each message, three times the send timeout in all.
    for n in 0..100 {
        assert_eq!(number(&slow.expect(kind::PUBLISH).published(V5).2), n);
        std::thread::sleep(Duration::from_millis(90));
    }
    slow.ping();
    assert_alive(&broker);
}

#[test]
fn a_client_that_is_stuck_is_taken_over_at_once() {
    let broker = narrow_broker("1h");
    let mut stuck = enter_narrow(&broker, &Connect::new(V5, "twice").persistent());
    stuck.subscribe("k", 1);
    let mut publisher = raw::enter(broker.control(), &Connect::new(V5, "publisher"));
    for n in 0..30 {
        publisher.publish("k", std::str::from_utf8(&numbered(n, 100_000)).unwrap());
    }
    let mut again = raw::dial(broker.control());
    assert!(again.enter(&Connect::new(V5, "twice").persistent()).session_present());
    for n in 0..30 {
        let (_, id, payload) = again.expect(kind::PUBLISH).published(V5);
        assert_eq!(number(&payload), n);
        again.send(&wire::acknowledge(kind::PUBACK, id));
    }
    broker.journal.expect(0, "closed", |line| line.says("closed") && line.text("client_id") == "twice");
    drop(stuck);
    assert_alive(&broker);
}

#[test]
fn k_10_a_payload_is_held_once_however_many_slow_subscribers_it_has() {
    const SUBSCRIBERS: usize = 150;
    const PAYLOAD: usize = 1_000_000;
    let broker = narrow_broker("1h");
    let mut subscribers: Vec<RawClient<TcpStream>> = (0..SUBSCRIBERS)
        .map(|n| {
            let mut client = enter_narrow(&broker, &Connect::new(V5, format!("slow-{n}")));
            client.subscribe("k/10", u8::try_from(n % 2).unwrap());
            client
        })
        .collect();
    let before = broker.resident_bytes();
    let mut publisher = raw::enter(broker.control(), &Connect::new(V5, "publisher"));
    let payload = "x".repeat(PAYLOAD);
    publisher.publish("k/10", &payload);
    assert_alive(&broker);
    let grown = broker.resident_bytes().saturating_sub(before) >> 20;
    assert!(grown < 32, "{grown} MiB for {SUBSCRIBERS} subscribers of 1 MB");
    for client in &mut subscribers {
        let (_, id, got) = client.expect(kind::PUBLISH).published(V5);
        assert!(got == payload.as_bytes());
        if id != 0 {
            client.send(&wire::acknowledge(kind::PUBACK, id));
        }
    }
    assert_alive(&broker);
}

#[test]
fn d_11_all_retained_messages_reach_a_slow_reader_and_nobody_waits_for_it() {
    const TOPICS: usize = 50_000;
    let broker = narrow_broker("1h");
    let mut publisher = raw::enter(broker.control(), &Connect::new(V5, "publisher"));
    for first in (0..TOPICS).step_by(500) {
        let batch: Vec<u8> =
            (first..first + 500).flat_map(|n| wire::retain(V5, &format!("d/{}/{n}", n % 7), 0, 0, "state")).collect();
        publisher.send(&batch).ping();
    }
    // Acknowledged when all before it is kept.
    publisher.publish("fence", "x");
    let before = broker.resident_bytes();
    let mut slow = enter_narrow(&broker, &Connect::new(V5, "reader"));
    slow.subscribe("#", 1);
    assert_alive(&broker);
    // Changed before it comes to it; as a live message of QoS 0, that would be lost.
    let changed = format!("d/{}/49999", 49_999 % 7);
    publisher.send(&wire::retain(V5, &changed, 0, 0, "newer")).ping();
    let grown = broker.resident_bytes().saturating_sub(before) >> 20;
    assert!(grown < 16, "{grown} MiB for a reader that does not read");
    let mut came: BTreeMap<String, usize> = BTreeMap::new();
    while came.len() < TOPICS {
        let (topic, _, payload) = slow.expect(kind::PUBLISH).published(V5);
        // The liveness check speaks too.
        if !topic.starts_with("d/") {
            continue;
        }
        assert_eq!(payload == b"newer", topic == changed, "{topic}");
        *came.entry(topic).or_default() += 1;
    }
    assert!(came.values().all(|&times| times == 1), "each once");
    slow.ping();
    assert_alive(&broker);
}

#[test]
fn k_05_connections_stop_short_of_the_last_descriptor_and_go_on_when_others_leave() {
    // 8 and 64 are kept.
    const FITTING: usize = 160 - 72;
    let broker = Setup::new("").open_files(64, 160).start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", broker.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["160", "160"], "the soft one is raised");

    let mut inside = Vec::new();
    let mut refused = 0;
    for n in 0..300 {
        let mut client = raw::dial(broker.control());
        client.send(&Connect::new(V5, format!("c{n}")).bytes());
        client.stream.set_read_timeout(Some(raw::ANSWER_WITHIN)).unwrap();
        match wire::read_packet(&mut client.stream) {
            Ok(Some(packet)) => {
                assert_eq!(packet.connack_code(), Some(0));
                inside.push(client);
            }
            Ok(None) => refused += 1,
            Err(error) => {
                assert!(!raw::timed_out(&error), "neither let in nor closed");
                refused += 1;
            }
        }
    }
    assert_eq!((inside.len(), refused), (FITTING, 300 - FITTING));
    let told =
        broker.journal.lines().into_iter().filter(|line| line.says("new connections are closed at once")).count();
    assert!((1..10).contains(&told), "{told} lines");
    // Those inside are served, by a process that does not spin.
    let ticks = broker.cpu_ticks();
    for client in &mut inside {
        client.ping();
    }
    std::thread::sleep(Duration::from_secs(2));
    let spent = broker.cpu_ticks() - ticks;
    assert!(spent < 100, "{spent} ticks of 10 ms in two quiet seconds");
    // Room again.
    inside.truncate(FITTING / 2);
    wait_until("a new client is let in", || {
        let mut client = raw::dial(broker.control());
        client.send(&Connect::new(V5, "late").bytes());
        client.stream.set_read_timeout(Some(raw::ANSWER_WITHIN)).unwrap();
        matches!(wire::read_packet(&mut client.stream), Ok(Some(packet)) if packet.connack_code() == Some(0))
    });
    assert_alive(&broker);
}

#[test]
fn k_05_below_the_limit_nobody_is_refused_and_nothing_is_said() {
    let broker = Setup::new("").open_files(160, 160).start();
    let mut clients: Vec<_> =
        (0..80).map(|n| raw::enter(broker.control(), &Connect::new(V5, format!("c{n}")))).collect();
    for client in &mut clients {
        client.ping();
    }
    assert!(!broker.journal.text().contains("closed at once"), "{}", broker.journal.text());
    assert_alive(&broker);
}
