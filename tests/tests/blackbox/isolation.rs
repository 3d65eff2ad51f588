//! Tenants never meet: not by topic, client identifier, session, retained message, will or shared group.

use postern_tests::alive::unique;
use postern_tests::raw::RawClient;
use postern_tests::tls::{self, TlsStream};
use postern_tests::wire::{self, Connect, V5, kind};

use crate::fixture::{Gate, gate, name};

fn enter(gate: &Gate, tenant: &str, connect: &Connect) -> (RawClient<TlsStream>, wire::Packet) {
    let mut client = tls::naming(tenant).dial(gate.at("names")).unwrap();
    let connack = client.enter(connect);
    (client, connack)
}

fn member(gate: &Gate, tenant: &str) -> RawClient<TlsStream> {
    enter(gate, tenant, &Connect::new(V5, unique("isolation"))).0
}

#[test]
fn the_same_topic_in_two_tenants_is_two_topics() {
    let gate = gate();
    let topic = unique("isolation/topic");
    let mut subscribers = [name::ACME, name::GLOBEX, name::DEFAULT].map(|tenant| {
        let mut client = member(&gate, tenant);
        client.subscribe(&format!("{topic}/#"), 0).subscribe(&topic, 1);
        client
    });
    for (index, tenant) in [name::ACME, name::GLOBEX, name::DEFAULT].into_iter().enumerate() {
        member(&gate, tenant).publish(&topic, tenant);
        // Every copy, overlapping subscriptions included, is the own tenant's.
        loop {
            let (got, payload) = subscribers[index].message();
            if got == topic {
                assert_eq!(payload, tenant);
                break;
            }
        }
    }
    // Anything that had leaked would stand before these answers.
    for (client, tenant) in subscribers.iter_mut().zip([name::ACME, name::GLOBEX, name::DEFAULT]) {
        client.send(&wire::PINGREQ);
        loop {
            let packet = client.next("PINGRESP");
            if packet.kind() == kind::PINGRESP {
                break;
            }
            let (got, _, payload) = packet.published(V5);
            assert!(got != topic || payload == tenant.as_bytes(), "{tenant} got {payload:?}");
        }
    }
    gate.assert_alive();
}

#[test]
fn b_07_the_same_client_id_in_two_tenants_is_two_clients() {
    let gate = gate();
    let connect = Connect::new(V5, unique("same")).persistent();
    let (mut of_acme, _) = enter(&gate, name::ACME, &connect);
    let topic = unique("isolation/session");
    of_acme.subscribe(&topic, 1);
    let (mut of_globex, connack) = enter(&gate, name::GLOBEX, &connect);
    assert!(!connack.session_present(), "{connack:?}");
    of_acme.ping();
    of_globex.ping();
    // Inside a tenant it is the same client.
    let (mut again, connack) = enter(&gate, name::ACME, &connect);
    assert!(connack.session_present());
    assert_eq!(of_acme.closed().disconnect(), Some(0x8E));
    of_globex.ping();
    member(&gate, name::ACME).publish(&topic, "own");
    assert_eq!(again.message().1, "own");
    gate.assert_alive();
}

#[test]
fn retained_messages_stay_in_their_tenant() {
    let gate = gate();
    let topic = unique("isolation/retained");
    let mut of_acme = member(&gate, name::ACME);
    of_acme.send(&wire::retain(V5, &topic, 1, 5, "acme's")).expect(kind::PUBACK);
    let mut stranger = member(&gate, name::GLOBEX);
    stranger.subscribe(&topic, 0).publish(&topic, "globex's");
    assert_eq!(stranger.message().1, "globex's");
    let mut own = member(&gate, name::ACME);
    own.subscribe(&topic, 0);
    assert_eq!(own.message().1, "acme's");
    gate.assert_alive();
}

#[test]
fn wills_stay_in_their_tenant() {
    let gate = gate();
    let topic = unique("isolation/will");
    let mut own = member(&gate, name::ACME);
    let mut stranger = member(&gate, name::GLOBEX);
    own.subscribe(&topic, 0);
    stranger.subscribe(&topic, 0);
    drop(enter(&gate, name::ACME, &Connect::new(V5, unique("isolation")).will(&topic, "acme is gone")));
    assert_eq!(own.message().1, "acme is gone");
    member(&gate, name::GLOBEX).publish(&topic, "fence");
    assert_eq!(stranger.message().1, "fence");
    gate.assert_alive();
}

#[test]
fn shared_groups_of_the_same_name_do_not_share_across_tenants() {
    const MESSAGES: usize = 20;
    let gate = gate();
    let topic = unique("isolation/shared");
    let filter = format!("$share/group/{topic}");
    let mut own = member(&gate, name::ACME);
    let mut stranger = member(&gate, name::GLOBEX);
    own.subscribe(&filter, 1);
    stranger.subscribe(&filter, 1);
    let mut publisher = member(&gate, name::ACME);
    for n in 0..MESSAGES {
        publisher.publish(&topic, &n.to_string());
        assert_eq!(own.message().1, n.to_string());
    }
    stranger.ping();
    gate.assert_alive();
}
