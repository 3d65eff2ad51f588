//! What survives: a realm that is brought back from what it wrote goes on as the one that wrote it.

use std::collections::{BTreeMap, BTreeSet};

use postern_mqtt::packet::{Connect, Publish};
use postern_mqtt::{Packet, ReasonCode};
use postern_realm::{ConnId, Departure, Dropped, Effect, Exhausted, Input, Kept, Realm, RealmLimits, Restore};
use proptest::prelude::*;

use crate::properties::{CLIENTS, Op, World, op};
use crate::sim::*;

const ALL: Kept = Kept { sessions: true, retained: true };

/// Where the wall clock stood when a realm's own began.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// Records as a store has them.
#[derive(Debug, Default, Clone)]
struct Records(BTreeMap<(u8, Vec<u8>), Vec<u8>>);

impl Records {
    /// Takes what the realm has to write. How many records that were.
    fn take(&mut self, realm: &mut Realm, wall_ms: u64) -> usize {
        let mut count = 0;
        realm.take_writes(wall_ms, |table, key, value| {
            count += 1;
            match value {
                Some(value) => self.0.insert((table, key), value),
                None => self.0.remove(&(table, key)),
            };
        });
        count
    }

    fn restore(&self, kept: Kept, limits: RealmLimits, now_ms: u64, wall_ms: u64) -> Result<Realm, String> {
        let mut restore = Restore::new(limits, kept, now_ms, wall_ms);
        for ((table, key), value) in &self.0 {
            restore.take(*table, key, value)?;
        }
        Ok(restore.finish())
    }

    fn of_table(&self, table: u8) -> usize {
        self.0.keys().filter(|key| key.0 == table).count()
    }
}

/// A simulation whose realm dies and comes back.
struct Mortal {
    sim: Sim,
    records: Records,
    kept: Kept,
}

impl Mortal {
    fn new() -> Self {
        Self::keeping(ALL)
    }

    fn keeping(kept: Kept) -> Self {
        let mut sim = Sim::new();
        sim.realm = Restore::new(RealmLimits::default(), kept, 0, EPOCH_MS).finish();
        Self { sim, records: Records::default(), kept }
    }

    fn wall_ms(&self) -> u64 {
        EPOCH_MS + self.sim.now_ms()
    }

    fn commit(&mut self) -> usize {
        let wall_ms = self.wall_ms();
        self.records.take(&mut self.sim.realm, wall_ms)
    }

    /// Killed, with what was committed by then, and begun again so many seconds later.
    fn die_for(&mut self, seconds: u64) {
        let (now_ms, wall_ms) = (self.sim.now_ms() + seconds * 1000, self.wall_ms() + seconds * 1000);
        let realm = self.records.restore(self.kept, RealmLimits::default(), now_ms, wall_ms).unwrap();
        self.sim.realm = realm;
        self.sim.pass(seconds);
        self.commit();
    }

    fn kill(&mut self) {
        self.commit();
        self.die_for(0);
    }
}

#[test]
fn what_need_not_survive_costs_no_write() {
    let mut world = Mortal::new();
    let conn = world.sim.enter(Connect { session_expiry: Some(0), ..client("s") });
    world.sim.subscribe(conn, "#", Q2);
    let publisher = world.sim.enter(Connect { session_expiry: None, ..client("p") });
    world.sim.tell(publisher, "a", "1");
    world.sim.tell_surely(publisher, "a", "2");
    world.sim.send_publish(publisher, publish(Q2, 5, message("a", "3")));
    assert_eq!(world.commit(), 0);
    let kept = world.sim.enter(client("k"));
    assert_eq!(world.commit(), 1, "the session");
    world.sim.subscribe(kept, "#", Q2);
    assert_eq!(world.commit(), 1, "the subscription");
    world.sim.tell(publisher, "a", "4");
    assert_eq!(world.commit(), 0, "QoS 0 is for who is there");
    world.sim.tell_surely(publisher, "a", "5");
    assert_eq!(world.commit(), 2, "the message and its delivery");
    world.sim.lost(conn);
    world.sim.lost(publisher);
    assert_eq!(world.commit(), 0);
}

#[test]
fn a_message_is_written_once_for_all_who_wait_for_it_and_goes_when_the_last_has_it() {
    let mut world = Mortal::new();
    let conns = ["a", "b", "c"].map(|id| {
        let conn = world.sim.enter(client(id));
        world.sim.subscribe(conn, "t", Q1);
        conn
    });
    let publisher = world.sim.enter(Connect { session_expiry: Some(0), ..client("p") });
    let retained = Publish { retain: true, ..publish(Q1, 1, message("t", "payload")) };
    world.sim.send(publisher, Packet::Publish(retained));
    world.commit();
    assert_eq!((world.records.of_table(0), world.records.of_table(3), world.records.of_table(5)), (1, 3, 1));
    for conn in conns {
        world.sim.send(conn, Packet::PubAck(ack(1)));
    }
    world.commit();
    assert_eq!((world.records.of_table(0), world.records.of_table(3)), (1, 0), "it is still retained");
    world.sim.retain(publisher, "t", "", Q0);
    world.commit();
    assert_eq!((world.records.of_table(0), world.records.of_table(5)), (0, 0));
}

/// v5: MQTT-4.1.0-1, MQTT-4.4.0-1
#[test]
fn outgoing_qos_2_goes_on_at_each_of_its_steps_with_the_same_packet_id() {
    for step in 0..4 {
        let mut world = Mortal::new();
        let mut conn = world.sim.enter(client("s"));
        world.sim.subscribe(conn, "t", Q2);
        world.sim.take(conn);
        let publisher = world.sim.enter(client("p"));
        world.sim.send_publish(publisher, publish(Q2, 9, message("t", "once")));
        let sent = publishes(world.sim.take(conn));
        let packet_id = sent[0].packet_id.unwrap().get();
        if step >= 1 {
            world.sim.send(conn, Packet::PubRec(ack(packet_id)));
        }
        if step >= 2 {
            assert_eq!(world.sim.take(conn), [Packet::PubRel(ack(packet_id))]);
        }
        if step >= 3 {
            world.sim.send(conn, Packet::PubComp(ack(packet_id)));
        }
        world.kill();
        conn = world.sim.connect(client("s"));
        assert!(world.sim.conn_ack(conn).session_present);
        match (step, &world.sim.take(conn)[..]) {
            (0, [Packet::Publish(publish)]) => {
                assert!(publish.dup && publish.packet_id == Some(id(packet_id)) && payload(publish) == "once");
            }
            (1 | 2, [Packet::PubRel(release)]) => assert_eq!(release.packet_id, id(packet_id)),
            (3, []) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// v5: MQTT-4.3.3-10
#[test]
fn incoming_qos_2_is_taken_once_at_each_of_its_steps() {
    for release_first in [false, true] {
        let mut world = Mortal::new();
        let subscriber = world.sim.enter(client("s"));
        world.sim.subscribe(subscriber, "t", Q1);
        world.sim.lost(subscriber);
        let publisher = world.sim.enter(client("p"));
        assert_eq!(world.sim.send_publish(publisher, publish(Q2, 9, message("t", "once"))), ReasonCode::SUCCESS);
        if release_first {
            world.sim.send(publisher, Packet::PubRel(ack(9)));
        }
        world.kill();
        let publisher = world.sim.enter(client("p"));
        if !release_first {
            world.sim.send_publish(publisher, Publish { dup: true, ..publish(Q2, 9, message("t", "once")) });
        }
        let answers = world.sim.ask(publisher, Packet::PubRel(ack(9)));
        let known = matches!(&answers[..], [Packet::PubComp(a)] if a.reason == ReasonCode::SUCCESS);
        assert_eq!(known, !release_first, "released once");
        let subscriber = world.sim.enter(client("s"));
        assert_eq!(world.sim.payloads(subscriber), ["once"]);
    }
}

/// v5: MQTT-3.1.2-8
#[test]
fn a_will_that_was_armed_goes_out_once_after_a_kill_also_of_a_session_that_is_not_kept() {
    for expiry in [0, 100] {
        let mut world = Mortal::new();
        let watcher = world.sim.enter(client("w"));
        world.sim.subscribe(watcher, "will", Q1);
        world.sim.enter(Connect { session_expiry: Some(expiry), will: Some(will("will", 0)), ..client("p") });
        world.commit();
        for _ in 0..3 {
            world.die_for(1);
        }
        let watcher = world.sim.enter(client("w"));
        assert_eq!(world.sim.payloads(watcher), ["will"]);
    }
}

#[test]
fn a_will_with_a_delay_waits_for_it_across_a_kill_and_not_at_all_if_the_client_is_back() {
    for returns in [false, true] {
        let mut world = Mortal::new();
        let watcher = world.sim.enter(client("w"));
        world.sim.subscribe(watcher, "will", Q1);
        world.sim.enter(Connect { will: Some(will("will", 10)), ..client("p") });
        world.commit();
        world.die_for(5);
        let watcher = world.sim.enter(client("w"));
        world.sim.pass(9);
        assert_eq!(world.sim.payloads(watcher), [""; 0]);
        if returns {
            world.sim.enter(client("p"));
        }
        world.kill();
        world.sim.pass(2);
        let watcher = world.sim.enter(client("w"));
        assert_eq!(world.sim.payloads(watcher).len(), usize::from(!returns));
    }
}

#[test]
fn a_will_that_a_goodbye_discarded_stays_discarded() {
    let mut world = Mortal::new();
    let watcher = world.sim.enter(client("w"));
    world.sim.subscribe(watcher, "will", Q1);
    let conn = world.sim.enter(Connect { will: Some(will("will", 0)), ..client("p") });
    world.commit();
    world.sim.goodbye(conn);
    world.kill();
    let watcher = world.sim.enter(client("w"));
    assert_eq!(world.sim.payloads(watcher), [""; 0]);
}

#[test]
fn what_expired_while_there_was_no_process_is_gone_and_what_did_not_is_there() {
    for (away, is_there) in [(99, true), (101, false)] {
        let mut world = Mortal::new();
        let conn = world.sim.enter(client("s"));
        world.sim.lost(conn);
        let publisher = world.sim.enter(client("p"));
        let mut short = message("retained", "x");
        short.expiry = Some(100);
        let publish = Publish { retain: true, ..publish(Q1, 1, short) };
        world.sim.send(publisher, Packet::Publish(publish));
        world.commit();
        world.die_for(away);
        assert_eq!(world.sim.realm.stats().retained, usize::from(is_there));
        let conn = world.sim.connect(client("s"));
        assert_eq!(world.sim.conn_ack(conn).session_present, is_there);
        assert_eq!(world.records.of_table(5), usize::from(is_there));
    }
}

#[test]
fn what_is_not_to_be_kept_any_more_is_taken_away() {
    let mut world = Mortal::new();
    let conn = world.sim.enter(client("s"));
    world.sim.subscribe(conn, "#", Q1);
    world.sim.retain(conn, "t", "x", Q1);
    world.commit();
    world.kept = Kept { sessions: false, retained: true };
    world.die_for(1);
    let stats = world.sim.realm.stats();
    assert_eq!((stats.sessions, stats.retained), (0, 1));
    assert_eq!((world.records.of_table(1), world.records.of_table(3), world.records.of_table(0)), (0, 0, 1));
    world.kept = Kept { sessions: true, retained: false };
    world.die_for(1);
    assert_eq!(world.records.0.len(), 0, "{:?}", world.records);
}

#[test]
fn only_its_owner_resumes_a_session_after_a_kill() {
    let mut world = Mortal::new();
    world.sim.connect_as(client("s"), Some("alice".into()));
    world.kill();
    let stranger = world.sim.connect_as(client("s"), Some("mallory".into()));
    assert_eq!(world.sim.conn_ack(stranger).reason, ReasonCode::NOT_AUTHORIZED);
    let owner = world.sim.connect_as(client("s"), Some("alice".into()));
    assert!(world.sim.conn_ack(owner).session_present);
}

#[test]
fn records_that_do_not_fit_together_are_refused_with_a_sentence() {
    let mut world = Mortal::new();
    let conn = world.sim.enter(client("s"));
    world.sim.subscribe(conn, "t", Q1);
    world.sim.tell_surely(conn, "t", "x");
    world.commit();
    let restore = |records: &Records| records.restore(ALL, RealmLimits::default(), 0, EPOCH_MS).err();
    assert_eq!(restore(&world.records), None, "the valid neighbour");
    for table in [0, 1] {
        let mut records = world.records.clone();
        records.0.retain(|key, _| key.0 != table);
        assert!(restore(&records).is_some_and(|text| text.contains("is missing")), "without table {table}");
    }
    let mut records = world.records.clone();
    records.0.insert((9, Vec::new()), vec![1]);
    assert_eq!(restore(&records).unwrap(), "a record of table 9 cannot be read");
}

/// While there is no room, what would need it is refused and the rest goes on.
/// v3.1.1: MQTT-4.8.0-2
#[test]
fn without_room_what_must_survive_is_refused_and_the_rest_goes_on() {
    let mut world = Mortal::new();
    let subscriber = world.sim.enter(client("s"));
    world.sim.subscribe(subscriber, "t", Q1);
    let publisher = world.sim.enter(client("p"));
    let old = world.sim.enter(Connect { ..v3_client("old", true) });
    assert_eq!(world.sim.send_publish(publisher, publish(Q2, 4, message("t", "before"))), ReasonCode::SUCCESS);
    world.sim.take(subscriber);
    world.commit();
    world.sim.realm.set_full(true);
    assert_eq!(world.sim.tell_surely(publisher, "t", "x"), ReasonCode::QUOTA_EXCEEDED);
    assert_eq!(world.sim.send_publish(publisher, publish(Q2, 6, message("t", "x"))), ReasonCode::QUOTA_EXCEEDED);
    let repeated = Publish { dup: true, ..publish(Q2, 4, message("t", "before")) };
    assert_eq!(world.sim.send_publish(publisher, repeated), ReasonCode::SUCCESS, "it was taken before");
    let refused = world.sim.subscribe_with(subscriber, 0, vec![subscription("u", Q1)]);
    assert_eq!(refused, [ReasonCode::QUOTA_EXCEEDED]);
    world.sim.send(old, Packet::Publish(publish(Q1, 3, message("t", "x"))));
    assert!(!world.sim.is_open(old), "3.1.1 has no word for it: closed, and not acknowledged");
    let newcomer = world.sim.connect(client("new"));
    assert_eq!(world.sim.conn_ack(newcomer).reason, ReasonCode::QUOTA_EXCEEDED);
    world.sim.retain(publisher, "r", "x", Q0);
    world.sim.tell(publisher, "t", "live");
    assert_eq!(world.sim.payloads(subscriber), ["live"]);
    assert_eq!(world.commit(), 0);
    world.sim.enter(Connect { session_expiry: Some(0), ..client("brief") });
    assert_eq!(world.commit(), 0);
    world.sim.realm.set_full(false);
    assert_eq!(world.sim.tell_surely(publisher, "t", "again"), ReasonCode::SUCCESS);
}

/// What a client finds that comes back, and answers all it is sent.
fn drain(world: &mut World) -> Vec<Effect> {
    world.log.clear();
    for client in 0..CLIENTS {
        world.run(Op::Connect { client, clean_start: false, expiry: 50, receive_maximum: 4, delay: None });
        for _ in 0..60 {
            world.run(Op::Answer { client, reason: ReasonCode::SUCCESS });
        }
    }
    world.run(Op::Pass(10));
    for filter in ["#", "$x"] {
        world.run(Op::Subscribe { client: 0, filter, qos: Q1 });
    }
    let mut log = std::mem::take(&mut world.log);
    forget_new_ids(&mut log);
    log
}

/// What was on its way before keeps its packet id; what is sent for the first time gets one that is free, and which one
/// is nobody's business.
fn forget_new_ids(log: &mut [Effect]) {
    let mut new = BTreeSet::new();
    for effect in log {
        let Effect::Send { conn, packet } = effect else { continue };
        match packet {
            Packet::Publish(publish) if !publish.dup => new.extend(publish.packet_id.take().map(|id| (*conn, id))),
            Packet::PubRel(release) if new.contains(&(*conn, release.packet_id)) => release.packet_id = id(u16::MAX),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_realm_from_records_goes_on_as_the_one_that_wrote_them(ops in prop::collection::vec(op(), 0..150)) {
        let limits = World::limits();
        let realm = Restore::new(limits.clone(), ALL, 0, EPOCH_MS).finish();
        let mut living = World::of(realm, limits.clone(), 0);
        let mut records = Records::default();
        // In the order in which their sessions were born, which is that in which a restart finds them.
        let mut born: Vec<usize> = Vec::new();
        for op in ops {
            // Wills go out in another order; they have tests of their own.
            let op = match op {
                Op::Connect { client, clean_start, expiry, receive_maximum, .. } => {
                    Op::Connect { client, clean_start, expiry, receive_maximum, delay: None }
                }
                other => other,
            };
            let before = living.log.len();
            let client = if let Op::Connect { client, .. } = &op { Some(*client) } else { None };
            living.run(op);
            let is_new = living.log[before..].iter().any(|effect| {
                matches!(effect, Effect::Send { packet: Packet::ConnAck(ack), .. } if !ack.session_present)
            });
            if let Some(client) = client.filter(|_| is_new) {
                born.retain(|other| *other != client);
                born.push(client);
            }
            let wall_ms = EPOCH_MS + living.now_ms;
            records.take(&mut living.realm, wall_ms);
        }
        // The process is killed: for the one that lives on, all connections are lost.
        let wall_ms = EPOCH_MS + living.now_ms;
        let realm = records.restore(ALL, limits.clone(), 5_000, wall_ms).unwrap();
        let mut restored = World::of(realm, limits, 5_000);
        for client in born {
            living.run(Op::Lose(client));
        }
        let mut living_again = World::of(std::mem::replace(&mut living.realm, Realm::new(World::limits())), World::limits(), living.now_ms);
        living_again.skip_connections(1000);
        restored.skip_connections(1000);
        restored.run(Op::Pass(0));
        prop_assert_eq!(drain(&mut living_again), drain(&mut restored));
        let (mut first, mut second) = (living_again.realm.stats(), restored.realm.stats());
        for stats in [&mut first, &mut second] {
            stats.dropped = Dropped::default();
            stats.exhausted = Exhausted::default();
            stats.connected_max = 0;
            stats.expired = 0;
        }
        prop_assert_eq!(first, second);
        // With the last session and the last retained message, the last record goes.
        for client in 0..CLIENTS {
            restored.run(Op::Lose(client));
        }
        restored.run(Op::Pass(1000));
        for topic in ["a", "a/b", "c/b", "$x"] {
            clear(&mut restored.realm, restored.now_ms, topic);
        }
        records.take(&mut restored.realm, wall_ms + 1_000_000);
        prop_assert_eq!(records.0, BTreeMap::new());
    }
}

/// A client of expiry 0 comes, takes away what is retained, and goes.
fn clear(realm: &mut Realm, now_ms: u64, topic: &str) {
    let conn = ConnId(u64::MAX - 1);
    let connect = Box::new(Connect { session_expiry: Some(0), ..client("cleaner") });
    let empty = Publish { retain: true, ..publish(Q0, 0, message(topic, "")) };
    let mut inputs = vec![
        Input::Connect { conn, connect, owner: None, rights: None, greeting: Box::default() },
        Input::Packet { conn, packet: Packet::Publish(empty) },
        Input::Closed { conn, departure: Departure::Lost },
    ];
    realm.turn(now_ms, &mut inputs, &mut Vec::new());
}
