//! What survives the end of the process, whatever ends it: B-12, C-07, L-01, L-02, L-04 and their neighbours.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use postern_tests::alive::assert_alive;
use postern_tests::broker::{Broker, Setup};
use postern_tests::raw::{self, RawClient};
use postern_tests::wire::{self, Connect, Packet, V3_1_1, V5, Will, acknowledge, kind};

use crate::fixture::plain_broker;

const VERSIONS: [u8; 2] = [V3_1_1, V5];

fn persistent(version: u8, id: &str) -> Connect {
    Connect::new(version, id).persistent()
}

/// Enters with a session that must be there, or must not.
#[track_caller]
fn enter(at: SocketAddr, connect: &Connect, present: bool) -> RawClient<TcpStream> {
    let mut client = raw::dial(at);
    let ack = client.enter(connect);
    assert_eq!(ack.session_present(), present, "{ack:?}");
    client
}

fn restarted(broker: Broker, gracefully: bool) -> Broker {
    let setup = if gracefully {
        let (status, setup) = broker.stop();
        assert_eq!(status.code(), Some(0));
        setup
    } else {
        broker.kill()
    };
    setup.start()
}

/// A PUBLISH of QoS 2 that must come: topic, packet id, whether it is a repetition.
fn arriving(client: &mut RawClient<TcpStream>, version: u8) -> (String, u16, bool) {
    let packet = client.expect(kind::PUBLISH);
    let (_, id, payload) = packet.published(version);
    (String::from_utf8(payload).unwrap(), id, packet.first & 8 != 0)
}

#[test]
fn b_12_a_will_goes_out_once_after_the_broker_was_killed() {
    for (version, connect) in
        VERSIONS.into_iter().flat_map(|v| [(v, Connect::new(v, "doomed")), (v, persistent(v, "doomed"))])
    {
        let broker = plain_broker();
        let mut watcher = enter(broker.control(), &persistent(version, "watcher"), false);
        watcher.subscribe("wills", 1);
        let mut connect = connect;
        connect.will = Some(Will { topic: b"wills".to_vec(), payload: b"gone".to_vec(), qos: 1, retain: true });
        let _doomed = raw::enter(broker.control(), &connect);
        // Killed again and again: it is once all the same.
        let broker = restarted(restarted(restarted(broker, false), false), true);
        let mut watcher = enter(broker.control(), &persistent(version, "watcher"), true).speaking(version);
        assert_eq!(watcher.message(), ("wills".to_owned(), "gone".to_owned()));
        watcher.publish("wills", "after");
        assert_eq!(watcher.message().1, "after", "once");
        let mut late = raw::enter(broker.control(), &Connect::new(version, "late"));
        late.subscribe("wills", 0);
        assert_eq!(late.message().1, "gone", "it was retained");
        assert_alive(&broker);
    }
}

#[test]
fn b_12_a_will_that_was_discarded_stays_discarded() {
    let broker = plain_broker();
    let mut watcher = enter(broker.control(), &persistent(V5, "watcher"), false);
    watcher.subscribe("wills", 1);
    let mut connect = Connect::new(V5, "polite");
    connect.will = Some(Will { topic: b"wills".to_vec(), payload: b"gone".to_vec(), qos: 1, retain: false });
    let mut polite = raw::enter(broker.control(), &connect);
    polite.send(&wire::DISCONNECT).closed();
    // What the realm was told before this is behind it.
    watcher.publish("else", "x");
    let broker = restarted(broker, false);
    let mut watcher = enter(broker.control(), &persistent(V5, "watcher"), true);
    watcher.publish("wills", "first");
    assert_eq!(watcher.message().1, "first");
}

#[test]
fn c_07_qos_2_from_a_client_is_taken_once_at_each_step() {
    for (version, step) in VERSIONS.into_iter().flat_map(|v| (0..4).map(move |step| (v, step))) {
        let broker = plain_broker();
        let mut subscriber = enter(broker.control(), &persistent(version, "s"), false);
        subscriber.subscribe("t", 1);
        subscriber.leave();
        let mut publisher = enter(broker.control(), &persistent(version, "p"), false);
        publisher.send(&wire::publish(version, "t", 2, 7, "once"));
        if step >= 1 {
            assert_eq!(publisher.expect(kind::PUBREC).id(), 7);
        }
        if step >= 2 {
            publisher.send(&acknowledge(kind::PUBREL, 7));
        }
        if step >= 3 {
            assert_eq!(publisher.expect(kind::PUBCOMP).id(), 7);
        }
        let broker = restarted(broker, false);
        let mut publisher = enter(broker.control(), &persistent(version, "p"), true);
        // What the client has no answer to, it says again.
        if step == 0 {
            publisher.send(&wire::publish_with(version, 0b1100, "t", 7, &[], "once"));
            assert_eq!(publisher.expect(kind::PUBREC).id(), 7);
        }
        if step < 3 {
            publisher.send(&acknowledge(kind::PUBREL, 7));
            assert_eq!(publisher.expect(kind::PUBCOMP).id(), 7);
        }
        let mut subscriber = enter(broker.control(), &persistent(version, "s"), true);
        assert_eq!(subscriber.message().1, "once", "version {version}, step {step}");
        subscriber.publish("t", "after");
        assert_eq!(subscriber.message().1, "after", "once: version {version}, step {step}");
    }
}

#[test]
fn c_07_qos_2_to_a_client_comes_once_at_each_step_with_the_same_packet_id() {
    for (version, step) in VERSIONS.into_iter().flat_map(|v| (0..4).map(move |step| (v, step))) {
        let broker = plain_broker();
        let mut subscriber = enter(broker.control(), &persistent(version, "s"), false);
        subscriber.subscribe("t", 2);
        raw::enter(broker.control(), &Connect::new(version, "p")).publish("t", "other");
        let other = arriving(&mut subscriber, version).1;
        subscriber.send(&acknowledge(kind::PUBACK, other));
        let mut publisher = raw::enter(broker.control(), &Connect::new(version, "p"));
        publisher.send(&wire::publish(version, "t", 2, 1, "once"));
        publisher.expect(kind::PUBREC);
        publisher.send(&acknowledge(kind::PUBREL, 1)).expect(kind::PUBCOMP);
        let (_, id, _) = arriving(&mut subscriber, version);
        if step >= 1 {
            subscriber.send(&acknowledge(kind::PUBREC, id));
            assert_eq!(subscriber.expect(kind::PUBREL).id(), id);
        }
        if step >= 2 {
            subscriber.send(&acknowledge(kind::PUBCOMP, id));
        }
        if step >= 3 {
            subscriber.ping();
            // Behind the PUBCOMP in the realm's mailbox.
            subscriber.publish("else", "x");
        }
        let broker = restarted(broker, false);
        let mut subscriber = enter(broker.control(), &persistent(version, "s"), true);
        let mut came = 1;
        match step {
            0 => {
                assert_eq!(arriving(&mut subscriber, version), ("once".to_owned(), id, true));
                subscriber.send(&acknowledge(kind::PUBREC, id));
                assert_eq!(subscriber.expect(kind::PUBREL).id(), id);
                subscriber.send(&acknowledge(kind::PUBCOMP, id));
            }
            1 => {
                assert_eq!(subscriber.expect(kind::PUBREL).id(), id);
                subscriber.send(&acknowledge(kind::PUBCOMP, id));
            }
            _ => {}
        }
        raw::enter(broker.control(), &Connect::new(version, "p")).publish("t", "after");
        loop {
            let packet: Packet = subscriber.next("the message after");
            match packet.kind() {
                // The PUBCOMP may have come too late to be known.
                kind::PUBREL if step == 2 => assert_eq!(packet.id(), id),
                kind::PUBLISH if packet.published(version).2 == b"after" => break,
                kind::PUBLISH => came += 1,
                other => panic!("kind {other}: {packet:?}"),
            }
        }
        assert_eq!(came, 1, "version {version}, step {step}");
    }
}

#[test]
fn l_01_what_was_acknowledged_is_delivered_after_a_kill_at_any_moment() {
    let mut broker = plain_broker();
    let mut subscriber = enter(broker.control(), &persistent(V5, "s"), false);
    subscriber.subscribe("n", 1);
    subscriber.leave();
    let mut sent = 0_u32;
    let mut acknowledged = Vec::new();
    for round in 0..6 {
        let mut publisher = raw::enter(broker.control(), &Connect::new(V5, "p"));
        // All at once, so that the kill finds it at work.
        let burst: Vec<u32> = (sent..sent + 60).collect();
        sent += 60;
        for n in &burst {
            let id = u16::try_from(*n + 1).unwrap();
            publisher.send(&wire::publish(V5, "n", 1, id, n.to_string()));
        }
        for _ in 0..round * 9 {
            acknowledged.push(u32::from(publisher.expect(kind::PUBACK).id()) - 1);
        }
        broker = restarted(broker, false);
    }
    let mut subscriber = enter(broker.control(), &persistent(V5, "s"), true);
    raw::enter(broker.control(), &Connect::new(V5, "p")).publish("n", "end");
    let mut came = Vec::new();
    loop {
        let (_, payload) = subscriber.message();
        match payload.parse::<u32>() {
            Ok(n) => came.push(n),
            Err(_) => break,
        }
    }
    assert!(acknowledged.len() > 100);
    assert!(acknowledged.iter().all(|n| came.contains(n)), "acknowledged {acknowledged:?}, came {came:?}");
    assert!(came.is_sorted(), "in the order of publishing: {came:?}");
}

#[test]
fn l_04_retained_messages_subscriptions_and_queues_survive_a_kill_and_an_orderly_end() {
    for (version, gracefully) in VERSIONS.into_iter().flat_map(|v| [(v, false), (v, true)]) {
        let broker = plain_broker();
        let mut subscriber = enter(broker.control(), &persistent(version, "s"), false);
        subscriber.subscribe("a/+", 1).subscribe("gone/#", 1);
        subscriber.send(&wire::unsubscribe(version, 9, "gone/#")).expect(kind::UNSUBACK);
        subscriber.leave();
        let mut publisher = raw::enter(broker.control(), &Connect::new(version, "p"));
        for payload in ["1", "2", "3"] {
            publisher.publish("a/queue", payload);
        }
        publisher.send(&wire::retain(version, "r/kept", 1, 5, "kept")).expect(kind::PUBACK);
        publisher.send(&wire::retain(version, "r/cleared", 1, 6, "x")).expect(kind::PUBACK);
        publisher.send(&wire::retain(version, "r/cleared", 1, 7, "")).expect(kind::PUBACK);
        let broker = restarted(broker, gracefully);
        let mut subscriber = enter(broker.control(), &persistent(version, "s"), true);
        for payload in ["1", "2", "3"] {
            assert_eq!(subscriber.message(), ("a/queue".to_owned(), payload.to_owned()));
        }
        let mut publisher = raw::enter(broker.control(), &Connect::new(version, "p"));
        publisher.publish("gone/x", "no").publish("a/live", "live");
        assert_eq!(subscriber.message(), ("a/live".to_owned(), "live".to_owned()));
        publisher.subscribe("r/#", 0);
        assert_eq!(publisher.message(), ("r/kept".to_owned(), "kept".to_owned()));
        publisher.publish("r/end", "end");
        assert_eq!(publisher.message().1, "end", "what was cleared is gone");
        assert_alive(&broker);
    }
}

#[test]
fn a_session_that_expires_while_the_broker_is_down_is_gone() {
    let broker = plain_broker();
    let for_a_second = Connect { clean: false, ..Connect::new(V5, "short") }.property(&[0x11, 0, 0, 0, 1]);
    enter(broker.control(), &for_a_second, false).leave();
    enter(broker.control(), &persistent(V5, "long"), false).leave();
    // Behind both in the realm's mailbox.
    enter(broker.control(), &persistent(V5, "last"), false);
    let setup = broker.kill();
    let until = Instant::now() + Duration::from_secs(2);
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
    let broker = setup.start();
    enter(broker.control(), &for_a_second, false);
    enter(broker.control(), &persistent(V5, "long"), true);
}

#[test]
fn what_is_switched_off_does_not_survive_and_writes_nothing() {
    let off = "durable_sessions.enable = false\nretainer.backend.storage_type = ram";
    let broker = Setup::new("").and(off).start();
    enter(broker.control(), &persistent(V5, "s"), false).leave();
    let mut publisher = raw::enter(broker.control(), &Connect::new(V5, "p"));
    publisher.send(&wire::retain(V5, "r", 1, 5, "x")).expect(kind::PUBACK);
    assert!(!broker.dir().join("data/store").exists());
    let broker = restarted(broker, false);
    enter(broker.control(), &persistent(V5, "s"), false);
    let half = Setup::new("")
        .and("durable_sessions { enable = true, fsync = true }\nretainer.backend.storage_type = ram")
        .start();
    enter(half.control(), &persistent(V5, "s"), false).leave();
    let mut publisher = raw::enter(half.control(), &Connect::new(V5, "p"));
    publisher.send(&wire::retain(V5, "r", 1, 5, "x")).expect(kind::PUBACK);
    let half = restarted(half, false);
    let mut subscriber = enter(half.control(), &persistent(V5, "s"), true);
    subscriber.subscribe("r", 1).publish("r", "live");
    assert_eq!(subscriber.message().1, "live", "what was retained is not there");
}

#[test]
fn a_second_broker_on_the_same_directory_is_refused() {
    let broker = plain_broker();
    let data = broker.dir().join("data");
    let listener = "listeners.tcp.second { bind = \"127.0.0.1:0\" }";
    let second = Setup::bare(&format!("node.data_dir = \"{}\"\n{listener}", data.display())).serve_refused();
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.text.contains("is in use by another process"), "{second:?}");
    assert_alive(&broker);
}

#[test]
fn a_damaged_or_newer_database_is_named_and_left_as_it_is() {
    for damaged in [true, false] {
        let broker = plain_broker();
        enter(broker.control(), &persistent(V5, "s"), false).leave();
        let (_, setup) = broker.stop();
        let database = setup.dir.path().join("data/store/global.db");
        let mut bytes = fs::read(&database).unwrap();
        if damaged {
            let half = bytes.len() / 2;
            bytes.truncate(half);
        } else {
            // The format number in SQLite's header.
            bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
        }
        fs::write(&database, &bytes).unwrap();
        let refused = setup.serve_refused();
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.text.contains("data/store/global.db"), "{refused:?}");
        assert!(refused.text.contains(if damaged { "damaged" } else { "format 99" }), "{refused:?}");
        assert_eq!(fs::read(&database).unwrap(), bytes);
    }
}

#[test]
fn a_data_directory_that_cannot_be_used_is_told_by_check_and_at_start_and_check_makes_none() {
    let setup = Setup::bare("node.data_dir = \"blocked/data\"\nlisteners.tcp.a { bind = \"127.0.0.1:0\" }");
    setup.file("blocked", "a file");
    for said in [setup.check(), setup.serve_refused()] {
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.text.contains("blocked/data"), "{said:?}");
    }
    let setup = Setup::new("");
    assert_eq!(setup.check().code, Some(0));
    assert!(!setup.dir.path().join("data/store").exists());
}
