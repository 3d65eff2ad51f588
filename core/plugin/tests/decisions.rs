//! Answers that are used again, and for whom.

mod support;

use std::sync::Arc;
use std::time::Duration;

use postern_identity::{
    BundleRef, CertFacts, CertificateQuestion, Gate, Identity, IdentityQuestion, Namespace, NamespaceOutcome,
    NamespaceQuestion, Refusal,
};
use postern_plugin::{Chain, PluginSpec};
use serde_json::{Value, json};
use support::{acme, bundle, device, device_until, gate, hello, peer, peer_at, spec};

async fn certificate_in(gate: &Chain, name: &str, at: &str, namespace: &Namespace) -> Result<BundleRef, Refusal> {
    let (peer, hello) = (peer_at(at), hello(name));
    let question = CertificateQuestion { peer: &peer, hello: &hello, namespace };
    gate.certificate(question).await.map(|decision| decision.answer.bundle)
}

async fn certificate(gate: &Chain, name: &str, at: &str) -> Result<BundleRef, Refusal> {
    certificate_in(gate, name, at, &acme()).await
}

async fn identity(gate: &Chain, who: &Arc<CertFacts>, namespace: &Namespace) -> Result<Identity, Refusal> {
    let (peer, chain) = (peer(), [Arc::clone(who)]);
    let question = IdentityQuestion {
        peer: &peer,
        namespace,
        bundle: Some(&bundle(None, "default")),
        server_name: None,
        chain: &chain,
        tls: None,
    };
    gate.identity(question).await.map(|decision| decision.answer.expect("there is an authorizer"))
}

fn hint(vary: &[&str]) -> Value {
    json!({ "ttl": 60_000, "vary": vary })
}

const HERE: &str = "192.0.2.1:1000";
const THERE: &str = "192.0.2.2:1000";

#[tokio::test]
async fn an_answer_is_used_again_where_the_named_inputs_agree() {
    let config = json!({ "certificate": { "do": "by-name", "cache": hint(&["server-name"]) } });
    let (gate, plugin) = gate(&spec(&config)).await;
    let choice = bundle(Some("acme"), "mqtt");
    for at in [HERE, THERE, HERE] {
        assert_eq!(certificate(&gate, "acme.example", at).await, Ok(choice.clone()));
    }
    assert_eq!((plugin.stats().calls, plugin.stats().cache_hits), (1, 2));
    assert_eq!(certificate(&gate, "mqtt.example", HERE).await, Ok(bundle(None, "default")));
    assert_eq!(plugin.stats().calls, 2);
}

#[tokio::test]
async fn an_answer_that_looked_at_the_address_is_not_used_for_another_one() {
    let config = json!({ "certificate": { "do": "by-name", "cache": hint(&["server-name", "peer-ip"]) } });
    let (gate, plugin) = gate(&spec(&config)).await;
    for (at, calls) in [(HERE, 1), (THERE, 2), (HERE, 2), ("192.0.2.1:2000", 2), ("[::ffff:192.0.2.1]:3000", 2)] {
        certificate(&gate, "acme.example", at).await.expect("a choice");
        assert_eq!(plugin.stats().calls, calls, "{at}");
    }
}

#[tokio::test]
async fn a_choice_of_one_namespace_is_never_used_in_another() {
    // The plugin claims that its answer is the same for everyone. It is out of reach for `other`.
    let config = json!({ "certificate": { "do": "use", "namespace": "acme", "name": "mqtt", "cache": hint(&[]) } });
    let (gate, plugin) = gate(&spec(&config)).await;
    certificate(&gate, "a.example", HERE).await.expect("its own");
    let other = Namespace::from_option(Some("other")).expect("a namespace");
    certificate_in(&gate, "a.example", HERE, &other).await.expect_err("another tenant's");
    assert_eq!((plugin.stats().calls, plugin.stats().cache_hits), (2, 0));
}

#[tokio::test]
async fn an_identity_is_never_shared_between_certificates_or_namespaces() {
    let config = json!({ "identity": { "do": "subject", "cache": hint(&[]) } });
    let (gate, plugin) = gate(&spec(&config)).await;
    for (cn, calls) in [("one", 1), ("two", 2), ("one", 2)] {
        let identity = identity(&gate, &device(cn), &acme()).await.expect("allowed");
        assert_eq!(identity.username.expect("a name").as_str(), format!("CN={cn}"));
        assert_eq!(plugin.stats().calls, calls);
    }
    identity(&gate, &device("one"), &Namespace::Global).await.expect("allowed");
    assert_eq!(plugin.stats().calls, 3);
}

#[tokio::test]
async fn an_identity_ends_with_its_certificate_and_is_not_kept_beyond() {
    let config = json!({ "identity": { "do": "subject", "expires": 9_000_000_000_000_u64, "cache": hint(&[]) } });
    let (gate, plugin) = gate(&spec(&config)).await;
    let valid = identity(&gate, &device("one"), &acme()).await.expect("allowed");
    assert_eq!(valid.expires_at_unix_ms, Some(4_000_000_000_000), "the certificate's end");
    assert_eq!(plugin.stats().kept_decisions, 1);
    let over = identity(&gate, &device_until("two", 1_000), &acme()).await.expect("the host checked the dates before");
    assert_eq!(over.expires_at_unix_ms, Some(1_000_000));
    assert_eq!(plugin.stats().kept_decisions, 1, "nothing to keep of an identity that has ended");

    let config = json!({ "identity": { "do": "subject", "expires": 3_000_000_000_000_u64 } });
    let (gate, _) = support::gate(&spec(&config)).await;
    let sooner = identity(&gate, &device("one"), &acme()).await.expect("allowed");
    assert_eq!(sooner.expires_at_unix_ms, Some(3_000_000_000_000), "the plugin's end");
}

#[tokio::test]
async fn a_namespace_found_by_certificate_is_not_used_for_a_client_without_one() {
    let config = json!({ "namespace": { "do": "need-certificate", "name": "acme", "cache": hint(&["server-name"]) } });
    let (gate, plugin) = gate(&spec(&config)).await;
    let (peer, hello, chain) = (peer(), hello("a.example"), [device("one")]);
    let before = NamespaceQuestion { peer: &peer, hello: &hello, chain: &[] };
    let after = NamespaceQuestion { chain: &chain, ..before };
    let outcome = async |question| gate.namespace(question).await.expect("an answer").answer;
    assert_eq!(outcome(before).await, NamespaceOutcome::NeedCertificate);
    assert_eq!(outcome(after).await, NamespaceOutcome::Found(acme()));
    assert_eq!(outcome(after).await, NamespaceOutcome::Found(acme()));
    assert_eq!(plugin.stats().cache_hits, 1);
    assert_eq!(outcome(before).await, NamespaceOutcome::NeedCertificate);
    assert_eq!(plugin.stats().calls, 3);
}

#[tokio::test]
async fn refusals_are_kept_apart_and_failures_never() {
    let names = json!({
        "no.example": { "do": "reject", "code": "unknown-name", "cache": hint(&["server-name"]) },
        "later.example": { "do": "transient", "text": "later" },
        "trap.example": { "do": "panic" },
        "lie.example": { "do": "use", "name": "nope", "cache": hint(&["server-name"]) },
    });
    let (gate, plugin) = gate(&spec(&json!({ "certificate": { "do": "pass", "names": names } }))).await;
    for _ in 0..3 {
        certificate(&gate, "no.example", HERE).await.expect_err("refused");
    }
    assert_eq!((plugin.stats().calls, plugin.stats().kept_refusals), (1, 1));
    for name in ["later.example", "trap.example", "lie.example"] {
        let calls = plugin.stats().calls;
        for _ in 0..2 {
            certificate(&gate, name, HERE).await.expect_err("no answer");
        }
        assert_eq!(plugin.stats().calls, calls + 2, "{name}");
    }
    assert_eq!((plugin.stats().kept_decisions, plugin.stats().kept_refusals), (0, 1));
}

#[tokio::test]
async fn an_answer_without_leave_or_with_an_ended_one_is_asked_for_again() {
    let silent = json!({ "certificate": { "do": "by-name" } });
    let brief = json!({ "certificate": { "do": "by-name", "cache": { "ttl": 30, "vary": ["server-name"] } } });
    for config in [silent, brief] {
        let (gate, plugin) = gate(&spec(&config)).await;
        certificate(&gate, "acme.example", HERE).await.expect("a choice");
        // Longer than the lease of the second one.
        tokio::time::sleep(Duration::from_millis(40)).await;
        certificate(&gate, "acme.example", HERE).await.expect("a choice");
        assert_eq!(plugin.stats().calls, 2);
    }
}

#[tokio::test]
async fn without_a_cache_the_guest_is_asked_each_time() {
    let config = json!({ "certificate": { "do": "by-name", "cache": hint(&["server-name"]) } });
    let (gate, plugin) = gate(&PluginSpec { cache: false, ..spec(&config) }).await;
    for _ in 0..3 {
        certificate(&gate, "acme.example", HERE).await.expect("a choice");
    }
    assert_eq!((plugin.stats().calls, plugin.stats().kept_decisions), (3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_equal_questions_at_once_are_one_call() {
    let config = json!({ "certificate": { "do": "by-name", "cache": hint(&["server-name"]) } });
    let (gate, plugin) = gate(&spec(&config)).await;
    let gate = Arc::new(gate);
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move { certificate(&gate, "acme.example", HERE).await })
        })
        .collect();
    for call in calls {
        call.await.expect("no task panics").expect("a choice");
    }
    assert_eq!((plugin.stats().calls, plugin.stats().cache_hits), (1, 99));
}

#[tokio::test]
async fn whoever_waits_for_a_call_that_is_dropped_asks_for_itself() {
    let names = json!({ "slow.example": { "do": "spin" } });
    let spec = PluginSpec {
        timeout: Some(Duration::from_millis(500)),
        ..spec(&json!({ "certificate": { "do": "by-name", "names": names } }))
    };
    let (gate, plugin) = gate(&spec).await;
    let first = tokio::time::timeout(Duration::from_millis(20), certificate(&gate, "slow.example", HERE));
    let (first, second) = tokio::join!(first, certificate(&gate, "slow.example", HERE));
    assert!(first.is_err(), "dropped while it spun");
    second.expect_err("it spun too, to its end");
    assert_eq!(plugin.stats().calls, 2);
}
