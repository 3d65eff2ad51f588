//! The check that ends every case: others are still served, by the same process, and nothing panicked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::raw;
use crate::wire::{self, Connect, V5, kind};

/// PINGRESP for a client that has nothing to do with the case.
const PING_WITHIN: Duration = Duration::from_secs(2);
/// A QoS 1 message to itself and back.
const ROUND_TRIP_WITHIN: Duration = Duration::from_secs(4);

/// A name that no other call gives.
pub fn unique(stem: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What an access rule must allow for [`assert_alive`].
pub const TOPICS: &str = "control/#";

/// A client on another connection gets PINGRESP and a QoS 1 round trip in time, the process is the one
/// that was started, and its log speaks of no panic.
///
/// # Panics
/// Where any of it does not hold.
pub fn assert_alive(broker: &Broker) {
    let name = unique("control");
    let mut client = raw::enter(broker.control(), &Connect::new(V5, &name));
    let pinged = client.ping();
    assert!(pinged < PING_WITHIN, "PINGRESP took {pinged:?}");
    let topic = format!("control/{name}");
    client.subscribe(&topic, 1);
    let began = Instant::now();
    client.send(&wire::publish(V5, &topic, 1, 1, "still here"));
    let mut got = [client.next("PUBACK or PUBLISH"), client.next("PUBACK or PUBLISH")].map(|packet| packet.kind());
    got.sort_unstable();
    assert_eq!(got, [kind::PUBLISH, kind::PUBACK]);
    assert!(began.elapsed() < ROUND_TRIP_WITHIN, "the round trip took {:?}", began.elapsed());
    client.leave();
    broker.assert_sound();
}
