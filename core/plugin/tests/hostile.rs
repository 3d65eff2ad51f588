//! Guests that spin, grow, flood, trap and lie.

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postern_identity::{
    CertificateQuestion, Gate, Identity, IdentityQuestion, Namespace, NamespaceOutcome, NamespaceQuestion, Refusal,
    Stage, Why,
};
use postern_plugin::{Chain, PluginSpec};
use serde_json::{Value, json};
use support::{acme, bundle, default_limits, device, gate, hello, peer, spec};

async fn certificate(gate: &Chain, name: &str) -> Result<postern_identity::BundleRef, Refusal> {
    let (peer, hello, namespace) = (peer(), hello(name), acme());
    let question = CertificateQuestion { peer: &peer, hello: &hello, namespace: &namespace };
    gate.certificate(question).await.map(|decision| decision.answer.bundle)
}

async fn namespace(gate: &Chain) -> Result<NamespaceOutcome, Refusal> {
    let (peer, hello) = (peer(), hello("a.example"));
    let question = NamespaceQuestion { peer: &peer, hello: &hello, chain: &[] };
    gate.namespace(question).await.map(|decision| decision.answer)
}

async fn identity(gate: &Chain) -> Result<Option<Identity>, Refusal> {
    let (peer, chain) = (peer(), [device("device-7")]);
    let question = IdentityQuestion {
        peer: &peer,
        namespace: &Namespace::Global,
        bundle: Some(&bundle(None, "default")),
        server_name: None,
        chain: &chain,
        tls: None,
    };
    gate.identity(question).await.map(|decision| decision.answer)
}

/// What the certificate hook says when it does this.
async fn deed(deed: Value) -> Refusal {
    let (gate, _) = gate(&spec(&json!({ "certificate": deed }))).await;
    certificate(&gate, "a.example").await.expect_err("a deed never opens the gate")
}

#[tokio::test]
async fn j_01_endless_loops_end_at_the_deadline_and_others_go_on() {
    for deed in ["spin", "copy-memory", "recurse"] {
        let config = json!({ "certificate": { "do": "by-name", "names": { "bad.example": { "do": deed } } } });
        // Room for an honest call on a busy machine, and still an end in sight.
        let spec = PluginSpec { timeout: Some(Duration::from_millis(500)), ..spec(&config) };
        let (gate, _) = gate(&spec).await;
        let began = Instant::now();
        // On one thread: the honest one gets its answer only if the other gives way.
        let (bad, good) = tokio::join!(certificate(&gate, "bad.example"), certificate(&gate, "acme.example"));
        println!("{deed}: both after {:?}", began.elapsed());
        let refusal = bad.expect_err("it never answers");
        assert_eq!((refusal.at, refusal.why), (Stage::Certificate, Why::PluginFailed), "{refusal}");
        assert_eq!(good.expect("it is honest"), bundle(Some("acme"), "mqtt"));
    }
}

#[tokio::test]
async fn j_01_without_a_timeout_in_the_configuration_a_loop_ends_after_ten_milliseconds_of_computing() {
    let (gate, _) = gate(&default_limits(&json!({ "certificate": { "do": "spin" } }))).await;
    let began = Instant::now();
    let refusal = certificate(&gate, "a.example").await.expect_err("it never answers");
    let took = began.elapsed();
    println!("ended after {took:?}: {refusal}");
    let (cpu, wall) = ("used up its 10ms", "did not answer within 250ms");
    assert!(refusal.detail.contains(cpu) || refusal.detail.contains(wall), "{refusal}");
    assert!(took >= Duration::from_millis(10) && took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn j_02_memory_grows_to_its_limit_and_no_further() {
    // 16 MiB are 256 pages of 64 KiB.
    let refusal = deed(json!({ "do": "grow-memory" })).await;
    assert!(refusal.detail.contains("256 pages, then refused"), "{refusal}");
    let refusal = deed(json!({ "do": "allocate", "bytes": 20 << 20 })).await;
    assert!(refusal.detail.contains("trapped"), "{refusal}");
    let refusal = deed(json!({ "do": "allocate", "bytes": 10 << 20 })).await;
    assert!(refusal.detail.contains("survived"), "{refusal}");
}

#[tokio::test]
async fn j_03_long_texts_and_lists_do_not_reach_the_host() {
    let refusal = deed(json!({ "do": "long-text", "bytes": 8 << 20 })).await;
    assert!(refusal.detail.contains("trapped"), "{refusal}");
    let refusal = deed(json!({ "do": "long-text", "bytes": 100_000 })).await;
    assert!(refusal.detail.contains("xxx") && refusal.detail.len() < 400, "{refusal}");

    let (many, _) = gate(&spec(&json!({ "identity": { "do": "allow", "attributes": 50_000 } }))).await;
    assert!(identity(&many).await.expect_err("too many").detail.contains("trapped"));
    let (few, _) = gate(&spec(&json!({ "identity": { "do": "allow", "attributes": 33 } }))).await;
    assert!(identity(&few).await.expect_err("one too many").detail.contains("at most 32"));
    let (right, _) = gate(&spec(&json!({ "identity": { "do": "allow", "attributes": 32 } }))).await;
    assert_eq!(identity(&right).await.expect("right").expect("an identity").attributes.len(), 32);
}

/// What was logged on this thread while it lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no writer panics").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no writer panics").clone()).expect("UTF-8")
    }
}

#[tokio::test]
async fn j_04_eight_lines_of_a_call_are_written_escaped_and_tagged_and_the_rest_is_counted() {
    let text = "hi\x1b[2J\n{\"level\":\"ERROR\"} \u{202E}";
    let config = json!({ "certificate": { "do": "log", "times": 20, "text": text } });
    let (gate, plugin) = gate(&spec(&config)).await;
    let (log, _guard) = Log::start();
    certificate(&gate, "a.example").await.expect_err("it only logs");
    let logged = log.text();
    let lines: Vec<_> = logged.lines().filter(|line| line.contains("hi")).collect();
    assert_eq!(lines.len(), 8, "{logged}");
    assert_eq!(plugin.stats().log_lines_dropped, 12);
    for line in lines {
        assert!(line.contains(r#"hi\u{1b}[2J\n{"level":"ERROR"} \u{202e}"#), "{line}");
        assert!(line.contains("plugin=hostile") && line.contains("listener=ssl:default"), "{line}");
    }
}

#[tokio::test]
async fn j_04_a_long_line_is_cut_and_a_huge_one_ends_the_call() {
    let (log, _guard) = Log::start();
    deed(json!({ "do": "log-long", "bytes": 100_000 })).await;
    let text = log.text();
    let longest = text.split(|c| c != 'x').map(str::len).max();
    assert_eq!(longest, Some(512));
    let refusal = deed(json!({ "do": "log-long", "bytes": 10 << 20 })).await;
    assert!(refusal.detail.contains("trapped"), "{refusal}");
}

#[tokio::test]
async fn j_05_the_thirty_third_host_call_ends_the_invocation() {
    let refusal = deed(json!({ "do": "host-calls", "times": 32 })).await;
    assert!(refusal.detail.contains("survived"), "{refusal}");
    for times in [33, 1_000_000] {
        let refusal = deed(json!({ "do": "host-calls", "times": times })).await;
        assert!(refusal.detail.contains("more than 32 times"), "{refusal}");
        assert_eq!(refusal.why, Why::PluginFailed);
    }
}

#[tokio::test]
async fn j_07_bundles_out_of_reach_are_refused_in_one_text() {
    let reach = |bundle: Value| async move {
        let mut config = json!({ "do": "use" });
        config.as_object_mut().expect("an object").extend(bundle.as_object().expect("an object").clone());
        let (gate, _) = gate(&spec(&json!({ "certificate": config }))).await;
        certificate(&gate, "a.example").await
    };
    let long = "x".repeat(300);
    let mut texts = Vec::new();
    for out in [
        json!({ "namespace": "other", "name": "mqtt" }),
        json!({ "namespace": "acme", "name": "nope" }),
        json!({ "namespace": "nobody", "name": "mqtt" }),
        json!({ "name": "../x" }),
        json!({ "name": "other/mqtt" }),
        json!({ "name": "" }),
        json!({ "name": long }),
        json!({ "name": "mqtt\u{0}" }),
        json!({ "namespace": "../other", "name": "mqtt" }),
    ] {
        let refusal = reach(out.clone()).await.expect_err("out of reach");
        assert_eq!(refusal.why, Why::PluginFailed, "{out}");
        texts.push(refusal.detail);
    }
    texts.dedup();
    assert_eq!(texts, ["its answer cannot be: no such bundle in the connection's reach"]);
    let own = reach(json!({ "namespace": "acme", "name": "mqtt" })).await;
    assert_eq!(own.expect("its own"), bundle(Some("acme"), "mqtt"));
    assert_eq!(reach(json!({ "name": "default" })).await.expect("global"), bundle(None, "default"));
}

#[tokio::test]
async fn j_07_namespaces_that_are_not_attached_are_refused() {
    for name in ["nobody", "../acme", ""] {
        let (gate, _) = gate(&spec(&json!({ "namespace": { "do": "found", "name": name } }))).await;
        let refusal = namespace(&gate).await.expect_err("not attached");
        assert_eq!((refusal.at, refusal.why), (Stage::Namespace, Why::PluginFailed));
        assert!(refusal.detail.contains("no such namespace attached to the listener"), "{refusal}");
    }
    let (attached, _) = gate(&spec(&json!({ "namespace": { "do": "found", "name": "acme" } }))).await;
    assert_eq!(namespace(&attached).await, Ok(NamespaceOutcome::Found(acme())));
    let (global, _) = gate(&spec(&json!({ "namespace": { "do": "found", "name": null } }))).await;
    assert_eq!(namespace(&global).await, Ok(NamespaceOutcome::Found(Namespace::Global)));
}

#[tokio::test]
async fn j_08_a_trap_in_a_hook_refuses_and_tells_nothing_of_what_the_guest_said() {
    let panic = json!({ "do": "panic", "text": "CN=device-7" });
    let config = json!({ "namespace": panic, "certificate": panic, "identity": { "do": "panic-with-subject" } });
    let (gate, plugin) = gate(&spec(&config)).await;
    let refusals = [
        namespace(&gate).await.expect_err("it panics"),
        certificate(&gate, "a.example").await.expect_err("it panics"),
        identity(&gate).await.expect_err("it panics"),
    ];
    for (refusal, at) in refusals.iter().zip([Stage::Namespace, Stage::Certificate, Stage::Identity]) {
        assert_eq!((refusal.at, refusal.why), (at, Why::PluginFailed));
        assert_eq!(refusal.by.as_ref(), Some(plugin.name()));
        assert!(refusal.detail.contains("unreachable") && !refusal.detail.contains("device-7"), "{refusal}");
    }
}

#[tokio::test]
async fn j_08_the_text_of_a_failure_is_cut_and_escaped() {
    let (gate, _) = gate(&spec(&json!({ "identity": { "do": "fail-with-subject" } }))).await;
    let refusal = identity(&gate).await.expect_err("it fails");
    assert!(refusal.detail.len() < Refusal::MAX_FOREIGN_BYTES + 100, "{refusal}");
    let text = "a\nb\x1b[31m".to_owned() + &"y".repeat(5_000);
    let refusal = deed(json!({ "do": "transient", "text": text })).await;
    assert_eq!(refusal.why, Why::Unavailable);
    assert!(refusal.detail.contains(r"a\nb\u{1b}") && refusal.detail.len() < 400, "{refusal}");
}

#[tokio::test]
async fn identity_texts_with_control_or_bidirectional_characters_are_refused() {
    for name in ["a\u{0}b", "a\nb", "\u{202E}nimda", "", "   ", &"x".repeat(257)] {
        let (gate, _) = gate(&spec(&json!({ "identity": { "do": "allow", "username": name } }))).await;
        let refusal = identity(&gate).await.expect_err("no user name");
        assert_eq!(refusal.why, Why::PluginFailed, "{name:?}");
        assert!(refusal.detail.contains("username is not usable"), "{refusal}");
    }
    let (gate, _) = gate(&spec(&json!({ "identity": { "do": "allow", "username": "Zürich 7" } }))).await;
    let identity = identity(&gate).await.expect("a good name").expect("an identity");
    assert_eq!(identity.username.expect("a name").as_str(), "Zürich 7");
}
