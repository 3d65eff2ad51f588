//! A realm on a disk that fails when it is told to.

use std::sync::Arc;

use bytes::Bytes;
use postern_mqtt::Topic;
use postern_mqtt::packet::{
    Ack, Connect, Message, PacketId, Publish, RetainHandling, Subscribe, Subscription, Version,
};
use postern_mqtt::{Filter, Packet};
use postern_realm::{Input, Kept, RealmLimits, Restore};
use postern_store::{Fault, Memory};

use super::*;

const SUBSCRIBER: ConnId = ConnId(1);
const PUBLISHER: ConnId = ConnId(2);

struct World {
    realm: Realm,
    storage: Storage,
    memory: Memory,
}

impl World {
    /// A subscriber of `t` at QoS 1 whose session is kept, and a publisher whose session is not.
    async fn new() -> Self {
        let memory = Memory::default();
        let kept = Kept { sessions: true, retained: true };
        let realm = Restore::new(RealmLimits::default(), kept, 1, wall_ms()).finish();
        let disk = Disk::begin(Box::new(memory.clone())).unwrap();
        let mut world = Self { realm, storage: Storage::new(Some(disk)), memory };
        world.connect(SUBSCRIBER, "s", 100).await;
        world.connect(PUBLISHER, "p", 0).await;
        let subscription = Subscription {
            filter: Ok(Filter::new("t").unwrap()),
            qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Always,
        };
        let packet_id = PacketId::MIN;
        let subscriptions = vec![subscription];
        let subscribe = Subscribe { packet_id, subscription_id: None, user_properties: Vec::new(), subscriptions };
        assert_eq!(world.send(SUBSCRIBER, Packet::Subscribe(subscribe)).await.unwrap().out, ["SUBACK to 1"]);
        world
    }

    async fn connect(&mut self, conn: ConnId, id: &str, expiry: u32) {
        let connect = Box::new(Connect { session_expiry: Some(expiry), ..Connect::new(Version::V5, id) });
        let input = Input::Connect { conn, connect, owner: None, rights: None, greeting: Box::default() };
        assert_eq!(self.turn(vec![input]).await.unwrap().out.len(), 1);
    }

    async fn send(&mut self, conn: ConnId, packet: Packet) -> Result<Settled, Broken> {
        self.turn(vec![Input::Packet { conn, packet }]).await
    }

    async fn publish(&mut self, qos: QoS) -> Result<Settled, Broken> {
        self.send(PUBLISHER, publish(qos)).await
    }

    async fn turn(&mut self, mut inputs: Vec<Input>) -> Result<Settled, Broken> {
        let (mut effects, mut early) = (Vec::new(), Vec::new());
        self.realm.turn(1, &mut inputs, &mut effects);
        let take = |effects: &mut Vec<Effect>| early.extend(effects.drain(..).map(|effect| named(&effect)));
        let news = self.storage.settle(&mut self.realm, &mut effects, take).await?;
        Ok(Settled { early, out: effects.iter().map(named).collect(), news })
    }

    async fn retry(&mut self) -> Result<Settled, Broken> {
        if let Some(full) = &mut self.storage.full {
            full.retry_at = Some(Instant::now());
        }
        let mut effects = Vec::new();
        let news = self.storage.retry(&mut self.realm, &mut effects).await?;
        Ok(Settled { early: Vec::new(), out: effects.iter().map(named).collect(), news })
    }
}

#[derive(Debug)]
struct Settled {
    early: Vec<String>,
    out: Vec<String>,
    news: News,
}

fn publish(qos: QoS) -> Packet {
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        packet_id: (qos != QoS::AtMostOnce).then_some(PacketId::MIN),
        message: Arc::new(Message::new(Topic::new("t").unwrap(), Bytes::from_static(b"x"))),
        expiry_left: None,
        subscription_ids: Vec::new(),
    })
}

fn named(effect: &Effect) -> String {
    match effect {
        Effect::Send { conn, packet } => {
            let name = match packet {
                Packet::Publish(publish) => format!("PUBLISH {}", publish.qos as u8),
                Packet::PubAck(ack) => format!("PUBACK {}", ack.reason.label()),
                Packet::ConnAck(_) => "CONNACK".to_owned(),
                Packet::SubAck(_) => "SUBACK".to_owned(),
                other => format!("{other:?}"),
            };
            format!("{name} to {}", conn.0)
        }
        Effect::Close { conn, .. } => format!("close {}", conn.0),
        other @ Effect::Refused { .. } => format!("{other:?}"),
    }
}

#[tokio::test]
async fn nothing_that_depends_on_a_record_goes_out_before_it_and_what_does_not_goes_at_once() {
    let mut world = World::new().await;
    let before = world.memory.commits();
    let quick = world.publish(QoS::AtMostOnce).await.unwrap();
    assert_eq!((quick.out, world.memory.commits()), (vec!["PUBLISH 0 to 1".to_owned()], before));
    let inputs = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::AtMostOnce];
    let inputs = inputs.map(|qos| Input::Packet { conn: PUBLISHER, packet: publish(qos) });
    let mixed = world.turn(inputs.into()).await.unwrap();
    assert_eq!(mixed.early, ["PUBLISH 0 to 1"]);
    // What came behind a message that waits stays behind it.
    assert_eq!(mixed.out, ["PUBLISH 1 to 1", "PUBACK Success to 2", "PUBLISH 0 to 1"]);
    assert_eq!(world.memory.commits(), before + 1);
}

#[tokio::test]
async fn without_room_nothing_is_acknowledged_and_with_room_again_everything_is() {
    let mut world = World::new().await;
    world.memory.fail(Some(Fault::NoRoom));
    let stuck = world.publish(QoS::AtLeastOnce).await.unwrap();
    assert!(matches!(stuck.news, News::Full(_)), "{stuck:?}");
    assert_eq!(stuck.out, [""; 0]);
    let refused = world.publish(QoS::AtLeastOnce).await.unwrap();
    assert!(matches!(refused.news, News::Nothing));
    // The answer waits behind the first, and neither is a success that is none.
    assert_eq!(refused.out, [""; 0]);
    let mut other = world.turn(Vec::new()).await.unwrap();
    assert_eq!(other.out, [""; 0]);
    assert!(matches!(world.retry().await.unwrap().news, News::Nothing), "still no room");
    assert!(world.storage.retry_at().is_some());
    world.memory.fail(None);
    other = world.retry().await.unwrap();
    assert!(matches!(other.news, News::Room));
    assert_eq!(other.out, ["PUBLISH 1 to 1", "PUBACK Success to 2", "PUBACK Quota exceeded to 2"]);
    assert!(world.storage.retry_at().is_none());
    let again = world.publish(QoS::AtLeastOnce).await.unwrap();
    assert_eq!(again.out, ["PUBLISH 1 to 1", "PUBACK Success to 2"]);
}

#[tokio::test]
async fn acknowledgements_of_clients_are_taken_without_room_and_written_with_it() {
    let mut world = World::new().await;
    world.publish(QoS::AtLeastOnce).await.unwrap();
    world.memory.fail(Some(Fault::NoRoom));
    world.publish(QoS::AtLeastOnce).await.unwrap();
    let ack = Packet::PubAck(Ack::new(PacketId::MIN, ReasonCode::SUCCESS));
    assert_eq!(world.send(SUBSCRIBER, ack).await.unwrap().out, [""; 0]);
    world.memory.fail(None);
    world.retry().await.unwrap();
    let mut deliveries = 0;
    let mut memory = world.memory.clone();
    postern_store::Backend::scan(&mut memory, &mut |record| {
        deliveries += usize::from(record.table == 3);
        Ok(())
    })
    .unwrap();
    assert_eq!(deliveries, 1, "the first is done with, the second waits for its PUBACK");
}

#[tokio::test]
async fn a_disk_that_fails_gives_the_realm_up_and_acknowledges_nothing() {
    let mut world = World::new().await;
    world.memory.fail(Some(Fault::Broken));
    let broken = world.publish(QoS::AtLeastOnce).await;
    assert!(broken.is_err(), "{broken:?}");
    let mut world = World::new().await;
    world.memory.fail(Some(Fault::NoRoom));
    world.publish(QoS::AtLeastOnce).await.unwrap();
    world.memory.fail(Some(Fault::Broken));
    assert!(world.retry().await.is_err());
}

#[tokio::test]
async fn effects_that_wait_for_room_are_bounded_and_their_connections_end() {
    let mut full = Full::default();
    let effect = |conn| Effect::Send { conn, packet: publish(QoS::AtLeastOnce) };
    let write = || vec![Write { table: 1, key: Vec::new(), value: None }];
    let mut effects: Vec<Effect> = (0..HELD_EFFECTS).map(|_| effect(SUBSCRIBER)).collect();
    full.take(&mut write(), &mut effects);
    assert_eq!((effects.len(), full.held.len(), full.writes.len()), (0, HELD_EFFECTS, 1));
    effects.push(effect(SUBSCRIBER));
    full.take(&mut write(), &mut effects);
    assert_eq!(effects.iter().map(named).collect::<Vec<_>>(), ["close 1"]);
    assert_eq!(full.held.len(), 0);
}
