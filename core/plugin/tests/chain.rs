//! The plugins of a listener together, and what holds when none decides.

mod support;

use std::sync::Arc;

use postern_identity::{
    BundleDirectory, CertificateChoice, CertificateQuestion, ClientAuthWish, Decision, Gate, Identity,
    IdentityQuestion, Namespace, NamespaceOutcome, NamespaceQuestion, Refusal, Stage, Why,
};
use postern_plugin::{Chain, OnError, PluginSpec};
use serde_json::{Value, json};
use support::{acme, bundle, device, guest, hello, listener, load, peer, reach, reach_with_default, spec};

async fn chain(configs: &[Value]) -> Chain {
    let mut plugins = Vec::new();
    for config in configs {
        plugins.push(load(&spec(config)).await.expect("it loads"));
    }
    Chain::new(listener(), plugins, reach())
}

async fn certificate(gate: &Chain, namespace: &Namespace) -> Result<Decision<CertificateChoice>, Refusal> {
    let (peer, hello) = (peer(), hello("a.example"));
    gate.certificate(CertificateQuestion { peer: &peer, hello: &hello, namespace }).await
}

async fn identity(gate: &Chain) -> Result<Decision<Option<Identity>>, Refusal> {
    let (peer, chain) = (peer(), [device("one")]);
    let question = IdentityQuestion {
        peer: &peer,
        namespace: &Namespace::Global,
        bundle: Some(&bundle(None, "default")),
        server_name: None,
        chain: &chain,
        tls: None,
    };
    gate.identity(question).await
}

fn choosing(auth: &str) -> Value {
    json!({ "certificate": { "do": "use", "name": "default", "auth": auth } })
}

#[tokio::test]
async fn the_first_that_does_not_pass_decides() {
    let pass = json!({});
    let gate = chain(&[pass, choosing("required"), choosing("none")]).await;
    let decision = certificate(&gate, &acme()).await.expect("a choice");
    assert_eq!(decision.answer.client_auth, ClientAuthWish::Required);
    assert_eq!(decision.by.expect("a plugin").as_str(), "hostile");
}

#[tokio::test]
async fn a_refusal_and_a_failure_are_final() {
    for (deed, why) in [("reject", Why::NotAllowed), ("panic", Why::PluginFailed), ("transient", Why::Unavailable)] {
        let gate = chain(&[json!({ "certificate": { "do": deed } }), choosing("none")]).await;
        let refusal = certificate(&gate, &acme()).await.expect_err("final");
        assert_eq!((refusal.at, refusal.why), (Stage::Certificate, why));
    }
}

#[tokio::test]
async fn each_code_of_a_rejection_has_its_kind() {
    for (code, why) in [
        ("unknown-name", Why::UnknownName),
        ("not-allowed", Why::NotAllowed),
        ("bad-certificate", Why::BadCertificate),
        ("rate-limited", Why::RateLimited),
        ("unavailable", Why::Unavailable),
    ] {
        let deny = json!({ "identity": { "do": "deny", "code": code, "detail": "a\nb" } });
        let refusal = identity(&chain(&[deny]).await).await.expect_err("denied");
        assert_eq!((refusal.at, refusal.why, refusal.detail.as_str()), (Stage::Identity, why, r"a\nb"));
    }
}

#[tokio::test]
async fn where_all_pass_the_default_bundle_answers_and_nobody_has_an_identity() {
    let gate = chain(&[json!({}), json!({})]).await;
    let decision = certificate(&gate, &acme()).await.expect("the default");
    let default = CertificateChoice { bundle: bundle(None, "default"), client_auth: ClientAuthWish::None };
    assert_eq!(decision, Decision { answer: default, by: None });
    let (peer, hello) = (peer(), hello("a.example"));
    let question = NamespaceQuestion { peer: &peer, hello: &hello, chain: &[] };
    let namespace = gate.namespace(question).await.expect("an answer");
    assert_eq!(namespace, Decision { answer: NamespaceOutcome::Undecided, by: None });
    let refusal = identity(&gate).await.expect_err("no rule");
    assert_eq!((refusal.why, refusal.detail.as_str()), (Why::NotAllowed, "no rule applies"));
}

#[tokio::test]
async fn without_an_authorizer_the_certificate_says_nothing_about_the_user() {
    let one_hook = PluginSpec { path: guest("too-big"), memory_bytes: Some(40 << 20), ..spec(&json!({})) };
    let plugin = load(&one_hook).await.expect("it loads");
    let gate = Chain::new(listener(), vec![plugin], reach());
    assert_eq!(identity(&gate).await, Ok(Decision { answer: None, by: None }));
}

#[tokio::test]
async fn a_default_bundle_of_another_namespace_answers_nobody_else() {
    // The second bundle of the reach is acme's.
    let directory: Arc<dyn BundleDirectory> = Arc::new(reach_with_default(1));
    let gate = Chain::new(listener(), Vec::new(), Arc::clone(&directory));
    assert_eq!(certificate(&gate, &acme()).await.expect("its own").answer.bundle, bundle(Some("acme"), "mqtt"));
    for namespace in [Namespace::Global, Namespace::from_option(Some("other")).expect("a namespace")] {
        let refusal = certificate(&gate, &namespace).await.expect_err("not theirs");
        assert_eq!(refusal.why, Why::UnknownName);
    }
    let spec = PluginSpec { on_error: OnError::DefaultBundle, ..spec(&json!({ "certificate": { "do": "panic" } })) };
    let plugin = load(&spec).await.expect("it loads");
    let gate = Chain::new(listener(), vec![plugin], directory);
    assert!(certificate(&gate, &acme()).await.is_ok());
    assert_eq!(certificate(&gate, &Namespace::Global).await.expect_err("not theirs").why, Why::PluginFailed);
}

#[tokio::test]
async fn on_error_default_bundle_holds_for_certificates_and_never_for_the_other_questions() {
    let panic = json!({ "do": "panic" });
    let config = json!({ "namespace": panic, "certificate": panic, "identity": panic });
    let plugin = load(&PluginSpec { on_error: OnError::DefaultBundle, ..spec(&config) }).await.expect("it loads");
    let gate = Chain::new(listener(), vec![plugin], reach());
    assert_eq!(certificate(&gate, &acme()).await.expect("the default").answer.bundle, bundle(None, "default"));
    assert_eq!(identity(&gate).await.expect_err("denied").why, Why::PluginFailed);
    let (peer, hello) = (peer(), hello("a.example"));
    let question = NamespaceQuestion { peer: &peer, hello: &hello, chain: &[] };
    assert_eq!(gate.namespace(question).await.expect_err("denied").why, Why::PluginFailed);
}

#[tokio::test]
async fn on_error_default_bundle_does_not_soften_a_refusal() {
    let config = json!({ "certificate": { "do": "reject", "code": "unknown-name" } });
    let plugin = load(&PluginSpec { on_error: OnError::DefaultBundle, ..spec(&config) }).await.expect("it loads");
    let gate = Chain::new(listener(), vec![plugin], reach());
    assert_eq!(certificate(&gate, &acme()).await.expect_err("refused").why, Why::UnknownName);
}
