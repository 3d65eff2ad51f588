//! What holds whatever clients do, checked over random sequences of operations.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use postern_mqtt::packet::{Connect, Disconnect, PacketId, Publish, QoS};
use postern_mqtt::{Packet, ReasonCode};
use postern_realm::{ConnId, Departure, Effect, Input, Owner, Realm, RealmLimits};
use proptest::prelude::*;
use proptest::sample::select;

use crate::sim::*;

pub(crate) const CLIENTS: usize = 3;

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Connect {
        client: usize,
        clean_start: bool,
        expiry: u32,
        receive_maximum: u16,
        delay: Option<u32>,
    },
    Lose(usize),
    Goodbye(usize),
    Subscribe {
        client: usize,
        filter: &'static str,
        qos: QoS,
    },
    Unsubscribe {
        client: usize,
        filter: &'static str,
    },
    Publish {
        client: usize,
        topic: &'static str,
        qos: QoS,
        packet_id: u16,
        retain: bool,
    },
    Release {
        client: usize,
        packet_id: u16,
    },
    /// Answers the oldest packet that wants an answer.
    Answer {
        client: usize,
        reason: ReasonCode,
    },
    Stray {
        client: usize,
        packet: Packet,
    },
    Pass(u64),
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let client = 0..CLIENTS;
    let qos = select(vec![Q0, Q1, Q2]);
    let filter = select(vec!["a", "a/+", "#", "+/b", "$share/g/a/+", "$share/g/#"]);
    let topic = select(vec!["a", "a/b", "c/b", "$x"]);
    let reason = prop_oneof![9 => Just(ReasonCode::SUCCESS), 1 => Just(ReasonCode::QUOTA_EXCEEDED)];
    let stray = select(vec![
        Packet::PubAck(ack(1)),
        Packet::PubRec(ack(1)),
        Packet::PubComp(ack(2)),
        Packet::PubRel(ack(9)),
        Packet::PingResp,
        Packet::PingReq,
    ]);
    prop_oneof![
        3 => (client.clone(), any::<bool>(), 0..20u32, 1..5u16, prop::option::of(0..20u32)).prop_map(
            |(client, clean_start, expiry, receive_maximum, delay)| {
                Op::Connect { client, clean_start, expiry, receive_maximum, delay }
            }
        ),
        1 => client.clone().prop_map(Op::Lose),
        1 => client.clone().prop_map(Op::Goodbye),
        3 => (client.clone(), filter.clone(), qos.clone()).prop_map(|(client, filter, qos)| Op::Subscribe { client, filter, qos }),
        1 => (client.clone(), filter).prop_map(|(client, filter)| Op::Unsubscribe { client, filter }),
        8 => (client.clone(), topic, qos, 1..6u16, any::<bool>()).prop_map(|(client, topic, qos, packet_id, retain)| {
            Op::Publish { client, topic, qos, packet_id, retain }
        }),
        2 => (client.clone(), 1..6u16).prop_map(|(client, packet_id)| Op::Release { client, packet_id }),
        8 => (client.clone(), reason).prop_map(|(client, reason)| Op::Answer { client, reason }),
        1 => (client, stray).prop_map(|(client, packet)| Op::Stray { client, packet }),
        1 => (0..15u64).prop_map(Op::Pass),
    ]
}

/// One client as it sees itself.
#[derive(Debug, Default)]
struct Client {
    conn: Option<ConnId>,
    receive_maximum: usize,
    unanswered: VecDeque<Packet>,
    /// QoS 1 and 2 PUBLISH of this connection that the client has not finished.
    open: BTreeSet<PacketId>,
}

/// The world of a random run, checking after each step.
pub(crate) struct World {
    pub(crate) realm: Realm,
    limits: RealmLimits,
    pub(crate) now_ms: u64,
    conns: u64,
    serial: u32,
    clients: [Client; CLIENTS],
    pub(crate) log: Vec<Effect>,
}

impl World {
    fn new() -> Self {
        let limits = RealmLimits {
            queue_messages: 6,
            inflight_out: 3,
            receive_maximum: max(3).unwrap(),
            retained_messages: 2,
            subscriptions_per_client: 4,
            ..RealmLimits::default()
        };
        Self::of(Realm::new(limits.clone()), limits, 0)
    }

    /// Of a realm that there is, at its own time.
    pub(crate) fn of(realm: Realm, limits: RealmLimits, now_ms: u64) -> Self {
        Self { realm, limits, now_ms, conns: 0, serial: 0, clients: Default::default(), log: Vec::new() }
    }

    /// The next connection has this number.
    pub(crate) fn skip_connections(&mut self, next: u64) {
        self.conns = next;
    }

    pub(crate) fn limits() -> RealmLimits {
        Self::new().limits
    }

    pub(crate) fn run(&mut self, op: Op) {
        let input = match op {
            Op::Pass(seconds) => {
                self.now_ms += seconds * 1000;
                None
            }
            Op::Connect { client, clean_start, expiry, receive_maximum, delay } => {
                let conn = ConnId(self.conns);
                self.conns += 1;
                let connect = Connect {
                    clean_start,
                    session_expiry: Some(expiry),
                    receive_maximum: max(receive_maximum),
                    will: delay.map(|delay| will("a/b", delay)),
                    ..crate::sim::client(&client.to_string())
                };
                // Attached before the effects are read: the realm may close the old one and greet this one.
                self.clients[client] =
                    Client { conn: Some(conn), receive_maximum: receive_maximum.into(), ..Client::default() };
                let owner: Owner = None;
                Some(Input::Connect { conn, connect: Box::new(connect), owner, rights: None, greeting: Box::default() })
            }
            Op::Lose(client) => self.close(client, Departure::Lost),
            Op::Goodbye(client) => self.close(client, Departure::Goodbye(Disconnect::default())),
            Op::Subscribe { client, filter, qos } => {
                self.packet(client, subscribe(None, vec![subscription(filter, qos)])).into()
            }
            Op::Unsubscribe { client, filter } => self.packet(client, unsubscribe(&[filter])).into(),
            Op::Publish { client, topic, qos, packet_id, retain } => {
                self.serial += 1;
                let packet_id = if qos == Q0 { 0 } else { packet_id };
                let publish = publish(qos, packet_id, message(topic, &self.serial.to_string()));
                self.packet(client, Packet::Publish(Publish { retain, ..publish })).into()
            }
            Op::Release { client, packet_id } => self.packet(client, Packet::PubRel(ack(packet_id))).into(),
            Op::Answer { client, reason } => self.answer(client, reason),
            Op::Stray { client, packet } => self.packet(client, packet).into(),
        };
        let mut effects = Vec::new();
        self.realm.turn(self.now_ms, &mut input.into_iter().collect(), &mut effects);
        self.look(&effects);
        self.log.extend(effects);
    }

    fn close(&mut self, client: usize, departure: Departure) -> Option<Input> {
        let conn = self.clients[client].conn.take()?;
        Some(Input::Closed { conn, departure })
    }

    /// A client without a connection still sends on its last, which the realm has forgotten.
    fn packet(&mut self, client: usize, packet: Packet) -> Input {
        let state = &mut self.clients[client];
        match &packet {
            // A stray acknowledgement may be right by chance: then the client has finished.
            Packet::PubAck(a) | Packet::PubComp(a) => {
                state.open.remove(&a.packet_id);
                state.unanswered.retain(|p| !matches!(p, Packet::Publish(p) if p.packet_id == Some(a.packet_id)));
            }
            _ => {}
        }
        let conn = state.conn.unwrap_or(ConnId(u64::MAX));
        Input::Packet { conn, packet }
    }

    fn answer(&mut self, client: usize, reason: ReasonCode) -> Option<Input> {
        let answer = match self.clients[client].unanswered.pop_front()? {
            Packet::Publish(publish) => {
                let packet_id = publish.packet_id?;
                let mut ack = ack(packet_id.get());
                ack.reason = reason;
                if publish.qos == Q1 || reason.is_error() {
                    self.clients[client].open.remove(&packet_id);
                }
                if publish.qos == Q1 { Packet::PubAck(ack) } else { Packet::PubRec(ack) }
            }
            Packet::PubRel(ack) => {
                self.clients[client].open.remove(&ack.packet_id);
                Packet::PubComp(ack)
            }
            other => panic!("{other:?} wants no answer"),
        };
        let conn = self.clients[client].conn?;
        Some(Input::Packet { conn, packet: answer })
    }

    fn look(&mut self, effects: &[Effect]) {
        for effect in effects {
            assert!(has_reasons_of_its_tables(effect), "{effect:?}");
            let (Effect::Send { conn, .. } | Effect::Close { conn, .. } | Effect::Refused { conn, .. }) = effect;
            let Some(client) = self.clients.iter_mut().find(|client| client.conn == Some(*conn)) else {
                assert!(matches!(effect, Effect::Close { .. }), "only a taken-over connection is unknown: {effect:?}");
                continue;
            };
            match effect {
                Effect::Close { .. } => *client = Client::default(),
                Effect::Send { packet: Packet::Publish(publish), .. } if publish.qos != Q0 => {
                    let packet_id = publish.packet_id.expect("QoS 1 and 2 have packet ids");
                    assert!(client.open.insert(packet_id), "a packet id is used once at a time");
                    let window = client.receive_maximum.min(self.limits.inflight_out.into());
                    assert!(client.open.len() <= window, "the window is exceeded");
                    client.unanswered.push_back(Packet::Publish(publish.clone()));
                }
                Effect::Send { packet: packet @ Packet::PubRel(_), .. } => client.unanswered.push_back(packet.clone()),
                Effect::Send { .. } | Effect::Refused { .. } => {}
            }
        }
        let stats = self.realm.stats();
        assert!(stats.sessions <= CLIENTS && stats.connected <= stats.sessions);
        assert!(stats.queued <= CLIENTS * self.limits.queue_messages);
        assert!(stats.in_flight <= CLIENTS * usize::from(self.limits.inflight_out));
        assert!(stats.unreleased <= CLIENTS * usize::from(self.limits.receive_maximum.get()));
        assert!(stats.retained <= self.limits.retained_messages);
        assert!(stats.subscriptions <= CLIENTS * self.limits.subscriptions_per_client);
        assert!(self.realm.next_deadline_ms().is_none_or(|at| at > self.now_ms), "nothing due is left");
    }
}

/// Whether a server may say these reasons in this packet: the tables of 3.2.2.2, 3.4.2.1, 3.5.2.1, 3.6.2.1, 3.7.2.1,
/// 3.9.3, 3.11.3 and 3.14.2.1.
fn has_reasons_of_its_tables(effect: &Effect) -> bool {
    const CONNACK: &[u8] = b"\x00\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8A\x8C\x90\x95\x97\x99\x9A\x9B\x9C\x9D\x9F";
    const RECEIVED: &[u8] = b"\x00\x10\x80\x83\x87\x90\x91\x97\x99";
    const RELEASED: &[u8] = b"\x00\x92";
    const SUBACK: &[u8] = b"\x00\x01\x02\x80\x83\x87\x8F\x91\x97\x9E\xA1\xA2";
    const UNSUBACK: &[u8] = b"\x00\x11\x80\x83\x87\x8F\x91";
    const DISCONNECT: &[u8] = b"\x00\x80\x81\x82\x83\x87\x89\x8B\x8D\x8E\x8F\x90\x93\x94\x95\x96\x97\x98\x99\x9A\x9B\x9C\x9D\x9E\x9F\xA0\xA1\xA2";
    let are_of = |table: &[u8], reasons: &[ReasonCode]| reasons.iter().all(|reason| table.contains(&reason.0));
    let packet = match effect {
        Effect::Close { farewell, .. } => {
            return farewell.as_ref().is_none_or(|farewell| are_of(DISCONNECT, &[farewell.reason]));
        }
        Effect::Send { packet, .. } => packet,
        Effect::Refused { .. } => return true,
    };
    match packet {
        Packet::ConnAck(ack) => are_of(CONNACK, &[ack.reason]),
        Packet::PubAck(ack) | Packet::PubRec(ack) => are_of(RECEIVED, &[ack.reason]),
        Packet::PubRel(ack) | Packet::PubComp(ack) => are_of(RELEASED, &[ack.reason]),
        Packet::SubAck(ack) => are_of(SUBACK, &ack.reasons),
        Packet::UnsubAck(ack) => are_of(UNSUBACK, &ack.reasons),
        Packet::Publish(_) => true,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// v5: MQTT-2.2.1-4, MQTT-3.2.2-8, MQTT-3.3.4-9, MQTT-3.4.2-1, MQTT-3.5.2-1, MQTT-3.9.3-2, MQTT-3.11.3-2
    #[test]
    fn limits_hold_and_the_same_inputs_give_the_same_outputs(ops in prop::collection::vec(op(), 0..120)) {
        let (mut first, mut second) = (World::new(), World::new());
        for op in ops {
            first.run(op.clone());
            second.run(op);
        }
        prop_assert_eq!(&first.log, &second.log);
        // All clients gone and all time passed, nothing is left but what is retained.
        for client in 0..CLIENTS {
            first.run(Op::Lose(client));
        }
        first.run(Op::Pass(1000));
        let stats = first.realm.stats();
        let left = (stats.sessions, stats.connected, stats.subscriptions, stats.queued, stats.in_flight);
        prop_assert_eq!(left, (0, 0, 0, 0, 0));
        prop_assert_eq!((stats.unreleased, stats.queued_bytes, stats.shared_subscriptions), (0, 0, 0));
        prop_assert_eq!(first.realm.next_deadline_ms(), None);
    }

    /// A subscriber that loses its connection at any moment and answers when it likes.
    ///
    /// v5: MQTT-4.4.0-1, MQTT-4.6.0-5, MQTT-4.6.0-6
    #[test]
    fn qos_1_keeps_its_order_and_qos_2_comes_exactly_once(
        steps in prop::collection::vec((0..10u8, select(vec![Q1, Q2])), 1..200),
        receive_maximum in 1..6u16,
    ) {
        let mut sim = Sim::new();
        let publisher = sim.enter(client("p"));
        let connect = || Connect { receive_maximum: max(receive_maximum), ..client("s") };
        let mut conn = sim.enter(connect());
        sim.subscribe(conn, "t", Q2);
        let mut receiver = Receiver::default();
        let mut sent: BTreeMap<QoS, Vec<u32>> = BTreeMap::new();
        for (serial, (step, qos)) in (0u32..).zip(steps) {
            match step {
                0 => {
                    sim.lost(conn);
                    // What was on its way is lost with the connection, or not.
                    if qos == Q1 {
                        receiver.read(sim.take(conn));
                    }
                    receiver.unanswered.clear();
                    conn = sim.enter(connect());
                }
                1..=4 => {
                    sent.entry(qos).or_default().push(serial);
                    sim.send_publish(publisher, publish(qos, 5, message("t", &serial.to_string())));
                    sim.send(publisher, Packet::PubRel(ack(5)));
                    sim.take(publisher);
                }
                _ => {
                    receiver.read(sim.take(conn));
                    if let Some(answer) = receiver.answer() {
                        sim.send(conn, answer);
                    }
                }
            }
        }
        loop {
            receiver.read(sim.take(conn));
            let Some(answer) = receiver.answer() else { break };
            sim.send(conn, answer);
        }
        prop_assert_eq!(sim.realm.stats().in_flight + sim.realm.stats().queued, 0);
        prop_assert_eq!(receiver.twice, sent.remove(&Q2).unwrap_or_default(), "once, and in order");
        // MQTT-4.6.0-5: a repeated message may come after a later one, its first coming may not.
        let mut first = receiver.once.clone();
        let mut seen = BTreeSet::new();
        first.retain(|serial| seen.insert(*serial));
        prop_assert_eq!(first, sent.remove(&Q1).unwrap_or_default());
    }
}

/// The receiving side of section 4.3, method A for QoS 2: the message is taken at PUBLISH, its id kept until PUBREL.
#[derive(Debug, Default)]
struct Receiver {
    once: Vec<u32>,
    twice: Vec<u32>,
    held: BTreeSet<PacketId>,
    unanswered: VecDeque<Packet>,
}

impl Receiver {
    fn read(&mut self, packets: Vec<Packet>) {
        for packet in packets {
            match packet {
                Packet::Publish(publish) => {
                    let packet_id = publish.packet_id.unwrap();
                    let serial = payload(&publish).parse().unwrap();
                    if publish.qos == Q1 {
                        self.once.push(serial);
                        self.unanswered.push_back(Packet::PubAck(ack(packet_id.get())));
                    } else {
                        if self.held.insert(packet_id) {
                            self.twice.push(serial);
                        }
                        self.unanswered.push_back(Packet::PubRec(ack(packet_id.get())));
                    }
                }
                Packet::PubRel(release) => {
                    self.held.remove(&release.packet_id);
                    self.unanswered.push_back(Packet::PubComp(release));
                }
                _ => {}
            }
        }
    }

    fn answer(&mut self) -> Option<Packet> {
        self.unanswered.pop_front()
    }
}
