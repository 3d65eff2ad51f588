//! What lives on from one call to the next, and what does not.

mod support;

use std::time::Duration;

use postern_identity::{CertificateQuestion, Gate, Refusal, Why};
use postern_plugin::{Chain, Isolation, PluginSpec};
use serde_json::json;
use support::{acme, gate, hello, peer, spec};

/// What the certificate hook says in its refusal.
async fn told(gate: &Chain, name: &str) -> Refusal {
    let (peer, hello, namespace) = (peer(), hello(name), acme());
    let question = CertificateQuestion { peer: &peer, hello: &hello, namespace: &namespace };
    gate.certificate(question).await.expect_err("these guests only refuse")
}

#[tokio::test]
async fn a_warm_instance_serves_the_next_call_too() {
    let (gate, plugin) = gate(&spec(&json!({ "certificate": { "do": "count" } }))).await;
    for call in 1..=3 {
        assert_eq!(told(&gate, "a.example").await.detail, format!("call {call}"));
    }
    let stats = plugin.stats();
    assert_eq!((stats.instances_started, stats.instances_discarded, stats.instances_idle), (1, 0, 1));
}

#[tokio::test]
async fn j_12_per_call_nothing_is_left_of_one_client_for_the_next() {
    let config = json!({ "certificate": { "do": "remember" } });
    let (warm, _) = gate(&spec(&config)).await;
    told(&warm, "tenant-a.example").await;
    assert_eq!(told(&warm, "tenant-b.example").await.detail, "tenant-a.example", "the guest does remember");

    let (fresh, plugin) = gate(&PluginSpec { isolation: Isolation::PerCall, ..spec(&config) }).await;
    for name in ["tenant-a.example", "tenant-b.example", "tenant-a.example"] {
        assert_eq!(told(&fresh, name).await.detail, "nothing");
    }
    let stats = plugin.stats();
    assert_eq!((stats.instances_started, stats.instances_discarded, stats.instances_idle), (4, 3, 0));
}

#[tokio::test]
async fn an_orderly_failure_keeps_the_instance_and_a_trap_ends_it() {
    let names = json!({ "fails.example": { "do": "transient", "text": "later" }, "traps.example": { "do": "panic" } });
    let (gate, plugin) = gate(&spec(&json!({ "certificate": { "do": "count", "names": names } }))).await;
    assert_eq!(told(&gate, "a.example").await.detail, "call 1");
    assert_eq!(told(&gate, "fails.example").await.why, Why::Unavailable);
    assert_eq!(told(&gate, "a.example").await.detail, "call 2");
    assert_eq!(told(&gate, "traps.example").await.why, Why::PluginFailed);
    assert_eq!(told(&gate, "a.example").await.detail, "call 1", "from a new instance");
    assert_eq!((plugin.stats().instances_started, plugin.stats().instances_discarded), (2, 1));
}

#[tokio::test]
async fn a_dropped_call_discards_its_instance_and_the_next_one_answers() {
    let names = json!({ "slow.example": { "do": "spin" } });
    let (gate, plugin) = gate(&spec(&json!({ "certificate": { "do": "count", "names": names } }))).await;
    assert_eq!(told(&gate, "a.example").await.detail, "call 1");
    for round in 1..=5 {
        // The guest spins for seconds; whoever asked goes away long before.
        let cancelled = tokio::time::timeout(Duration::from_millis(20), told(&gate, "slow.example")).await;
        assert!(cancelled.is_err(), "it was still spinning");
        assert_eq!(plugin.stats().instances_discarded, round);
        assert_eq!(told(&gate, "a.example").await.detail, "call 1", "from a new instance");
    }
    assert_eq!(plugin.stats().instances_idle, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_calls_at_once_are_all_answered_by_a_few_instances() {
    let config = json!({ "certificate": { "do": "report" } });
    let (gate, plugin) = gate(&spec(&config)).await;
    let gate = std::sync::Arc::new(gate);
    let calls: Vec<_> = (0..400)
        .map(|n| {
            let gate = std::sync::Arc::clone(&gate);
            tokio::spawn(async move { (n, told(&gate, &format!("n{n}.example")).await) })
        })
        .collect();
    for call in calls {
        let (n, refusal) = call.await.expect("no task panics");
        assert!(refusal.detail.contains(&format!(" n{n}.example ")), "{refusal}");
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let stats = plugin.stats();
    assert!(stats.instances_started <= 2 * cores, "{stats:?}");
    assert_eq!((stats.calls, stats.failures), (400, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn more_calls_than_instances_for_the_whole_deadline_are_refused_as_unavailable() {
    let spec = PluginSpec {
        timeout: Some(Duration::from_millis(300)),
        cache: false,
        ..spec(&json!({ "certificate": { "do": "spin" } }))
    };
    let (gate, _) = gate(&spec).await;
    let gate = std::sync::Arc::new(gate);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let calls: Vec<_> = (0..cores * 2 * 10)
        .map(|n| {
            let gate = std::sync::Arc::clone(&gate);
            tokio::spawn(async move { told(&gate, &format!("n{n}.example")).await })
        })
        .collect();
    let mut unavailable = 0;
    for call in calls {
        let refusal = call.await.expect("no task panics");
        assert!(matches!(refusal.why, Why::Unavailable | Why::PluginFailed), "{refusal}");
        unavailable += usize::from(refusal.why == Why::Unavailable);
    }
    assert!(unavailable > 0, "each of them spins for a fifth of the deadline on one of few cores");
}

#[tokio::test]
async fn the_guest_sees_the_connection_and_the_listeners_reach() {
    let (gate, _) = gate(&spec(&json!({ "certificate": { "do": "report" } }))).await;
    let refusal = told(&gate, "a.example").await;
    let expected =
        "ssl:default 192.0.2.7 a.example 0 certificates, namespaces [\"acme\", \"other\"], default Some(\"default\")";
    assert_eq!(refusal.detail, expected);
}
