//! What a message costs in the router: a turn of the realm that takes PUBLISH packets of QoS 0 and gives the packets
//! for its subscribers, with few and with a million filters in the tree.
//!
//! ```text
//! cargo bench -p postern-realm --bench router
//! ```
//!
//! Each number is the median of [`ROUNDS`] turns of [`BATCH`] messages, as many as a realm takes in one turn, with the
//! fastest turn beside it. Topics are drawn from the whole tree, so that most of it is not in the processor's cache.

use std::hint::black_box;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Instant;

use postern_mqtt::packet::{
    Connect, Message, Packet, PacketId, Publish, QoS, RetainHandling, Subscribe, Subscription, Version,
};
use postern_mqtt::{Filter, Topic};
use postern_realm::{ConnId, Effect, Input, Realm, RealmLimits};

/// Messages in one turn.
const BATCH: usize = 256;
const ROUNDS: usize = 101;
/// Filters in one SUBSCRIBE while the tree is built.
const FILTERS: usize = 1_000;

/// Subscribers of the one topic in the fan-out.
const FAN_OUT: u16 = 100;

const PUBLISHER: ConnId = ConnId(0);

/// What one message cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    median_ns: f64,
    fastest_ns: f64,
    allocations: f64,
}

fn main() {
    println!("{:<52} {:>10} {:>10} {:>8}", "one message, QoS 0", "median ns", "fastest", "alloc");
    let mut one = holding(1);
    let base = report("1 filter, exact", &mut one, 1, &mut |_| "s/0/0/0".to_owned());

    let mut many = holding(100_000);
    let mut random = Random(1);
    let cost = report("100,000 filters, exact", &mut many, 1, &mut |_| exact(random.below(100_000)));
    ratio(cost, base);
    drop(many);

    let mut million = holding(1_000_000);
    let cost = report("1,000,000 filters, exact", &mut million, 1, &mut |_| exact(random.below(1_000_000)));
    ratio(cost, base);
    let cost =
        report("1,000,000 filters, none matches", &mut million, 0, &mut |_| exact(random.below(1_000_000)) + "/x");
    ratio(cost, base);
    subscribe(&mut million, ConnId(1), wildcards());
    let cost = report("and 10,000 with '+': one of these matches", &mut million, 1, &mut |_| {
        let n = random.below(10_000);
        format!("s/{}/none/{}", n / 100, n % 100)
    });
    ratio(cost, base);
    let cost = report("the same: an exact one and one with '+' match", &mut million, 1, &mut |_| {
        exact(random.below(1_000_000))
    });
    ratio(cost, base);
    drop(million);

    let mut fan = fanning_out();
    let cost = report("1 topic, 100 subscribers", &mut fan, usize::from(FAN_OUT), &mut |_| "s/0/0/0".to_owned());
    let each = cost.median_ns / f64::from(FAN_OUT);
    println!("{:<52} {each:>10.0}  {:>8.2}x of a message to one", "  for each delivery", each / base.median_ns);
}

fn ratio(cost: Cost, base: Cost) {
    println!("{:<52} {:>9.2}x", "  against 1 filter", cost.median_ns / base.median_ns);
}

/// The n-th of a million topics: 100 x 100 x 100.
fn exact(n: usize) -> String {
    format!("s/{}/{}/{}", n / 10_000, n / 100 % 100, n % 100)
}

fn wildcards() -> impl Iterator<Item = String> {
    (0..10_000).map(|n| format!("s/{}/+/{}", n / 100, n % 100))
}

fn realm() -> Realm {
    let limits = RealmLimits {
        subscriptions: usize::MAX,
        subscriptions_per_client: usize::MAX,
        receive_maximum: NonZeroU16::MAX,
        ..RealmLimits::default()
    };
    let mut realm = Realm::new(limits);
    enter(&mut realm, PUBLISHER);
    realm
}

/// A realm with one subscriber of so many exact filters.
fn holding(filters: usize) -> Realm {
    let mut realm = realm();
    enter(&mut realm, ConnId(1));
    subscribe(&mut realm, ConnId(1), (0..filters).map(exact));
    assert_eq!(realm.stats().subscriptions, filters);
    realm
}

/// A realm with [`FAN_OUT`] subscribers of one topic.
fn fanning_out() -> Realm {
    let mut realm = realm();
    for conn in (1..=u64::from(FAN_OUT)).map(ConnId) {
        enter(&mut realm, conn);
        subscribe(&mut realm, conn, [exact(0)].into_iter());
    }
    realm
}

fn turn(realm: &mut Realm, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    realm.turn(0, &mut vec![input], &mut effects);
    effects
}

fn enter(realm: &mut Realm, conn: ConnId) {
    let connect = Box::new(Connect::new(Version::V5, format!("client {}", conn.0)));
    let effects = turn(realm, Input::Connect { conn, connect, owner: None, rights: None, greeting: Box::default() });
    assert_eq!(effects.len(), 1, "a CONNACK");
}

fn subscribe(realm: &mut Realm, conn: ConnId, filters: impl Iterator<Item = String>) {
    let mut filters = filters.peekable();
    while filters.peek().is_some() {
        let subscriptions = filters.by_ref().take(FILTERS).map(|filter| Subscription {
            filter: Ok(Filter::new(&filter).expect("a filter")),
            qos: QoS::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Never,
        });
        let packet = Packet::Subscribe(Subscribe {
            packet_id: PacketId::MIN,
            subscription_id: None,
            user_properties: Vec::new(),
            subscriptions: subscriptions.collect(),
        });
        let effects = turn(realm, Input::Packet { conn, packet });
        assert_eq!(effects.len(), 1, "a SUBACK");
    }
}

fn publish(topic: &str) -> Input {
    let packet = Packet::Publish(Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        packet_id: None,
        message: Arc::new(Message::new(Topic::new(topic).expect("a topic"), b"21.5".as_slice().into())),
        expiry_left: None,
        subscription_ids: Vec::new(),
    });
    Input::Packet { conn: PUBLISHER, packet }
}

/// Measures turns that publish to `topics`, each message of which goes to so many subscribers.
#[expect(clippy::cast_precision_loss, reason = "batches are small")]
fn report(name: &str, realm: &mut Realm, deliveries: usize, topics: &mut dyn FnMut(usize) -> String) -> Cost {
    let mut effects = Vec::with_capacity(BATCH * deliveries.max(1));
    let mut inputs = Vec::with_capacity(BATCH);
    let mut times_ns = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        inputs.extend((0..BATCH).map(|n| publish(&topics(n))));
        let start = Instant::now();
        realm.turn(0, &mut inputs, &mut effects);
        times_ns.push(start.elapsed().as_secs_f64() * 1e9 / BATCH as f64);
        assert_eq!(black_box(&effects).len(), BATCH * deliveries);
        effects.clear();
    }
    inputs.extend((0..BATCH).map(|n| publish(&topics(n))));
    let counted = allocation_counter::measure(|| realm.turn(0, &mut inputs, &mut effects));
    times_ns.sort_by(f64::total_cmp);
    let cost = Cost {
        median_ns: times_ns[ROUNDS / 2],
        fastest_ns: times_ns[0],
        allocations: counted.count_total as f64 / BATCH as f64,
    };
    println!("{name:<52} {:>10.0} {:>10.0} {:>8.1}", cost.median_ns, cost.fastest_ns, cost.allocations);
    cost
}

/// A small generator (splitmix64): the same topics in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        usize::try_from(mixed >> 33).expect("31 bits") % limit
    }
}
