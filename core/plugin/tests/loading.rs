//! Which files become plugins, and what the others are told.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use postern_identity::{CertificateQuestion, Gate};
use postern_plugin::{ConfigIssue, Failure, Hook, Host, HostOptions, LoadError, MAX_COMPONENT_BYTES, PluginSpec};
use serde_json::json;
use support::{acme, guest, hello, listener, load, peer, reach, spec};

fn passing() -> PluginSpec {
    spec(&json!({}))
}

/// A component that imports one empty instance and has nothing else (component model, binary format).
fn component_importing(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).expect("a short name");
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    // Type section: one instance type without declarations.
    bytes.extend([7, 3, 1, 0x42, 0]);
    // Import section: one import of an instance of that type.
    bytes.extend([10, length + 5, 1, 0, length]);
    bytes.extend(name.as_bytes());
    bytes.extend([5, 0]);
    bytes
}

fn loaded_from(bytes: &[u8]) -> PluginSpec {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{:?}.wasm", std::thread::current().id()));
    fs::write(&path, bytes).expect("a test file can be written");
    PluginSpec { path, ..passing() }
}

#[tokio::test]
async fn a_plugin_tells_who_it_is_and_what_it_answers() {
    let plugin = load(&passing()).await.expect("it loads");
    assert_eq!(plugin.name().as_str(), "hostile");
    assert_eq!(plugin.hooks(), [Hook::Namespace, Hook::Certificate, Hook::Identity]);
    assert_eq!(plugin.describe().description, "does as it is told");
}

#[test]
fn a_component_with_one_hook_is_inspected_without_being_started() {
    let shape = support::host().inspect(&fs::read(guest("too-big")).expect("built")).expect("a plugin");
    assert_eq!(shape.hooks, [Hook::Certificate]);
    assert_eq!(shape.wit_version, "0.1.0");
    assert!(shape.imports.iter().all(|import| import.starts_with("postern:gate/")), "{:?}", shape.imports);
}

#[tokio::test]
async fn j_06_an_import_that_is_not_granted_is_refused_by_its_name() {
    for (import, words) in [
        ("wasi:filesystem/types@0.2.0", "grants no WASI"),
        ("wasi:sockets/tcp@0.2.0", "grants no WASI"),
        ("wasi:clocks/wall-clock@0.2.0", "grants no WASI"),
        ("wasi:random/random@0.2.0", "grants no WASI"),
        ("acme:secrets/store@1.0.0", "nothing else"),
        ("postern:gate/log@0.2.0", "postern:gate@0.1.0 only"),
    ] {
        let error = load(&loaded_from(&component_importing(import))).await.expect_err("it is not granted");
        assert!(matches!(&error, LoadError::ImportNotGranted { import: named, .. } if named == import), "{error}");
        assert!(error.to_string().contains(import) && error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_component_that_imports_only_what_is_granted_still_has_to_export_something() {
    let error = load(&loaded_from(&component_importing("postern:gate/types@0.1.0"))).await.expect_err("no exports");
    assert!(matches!(error, LoadError::NoLifecycle(_)), "{error}");
}

#[tokio::test]
async fn j_10_native_code_is_refused() {
    let elf = load(&loaded_from(b"\x7fELF\x02\x01\x01\0 and so on")).await.expect_err("machine code");
    assert!(matches!(elf, LoadError::NativeArtefact), "{elf}");
    // The host's own artefact, cut free from its authentication code.
    let cache = tempfile::tempdir().expect("a directory");
    let host = Host::new(HostOptions { cache_dir: cache.path().to_owned() }).expect("the host starts");
    host.inspect(&fs::read(guest("too-big")).expect("built")).expect("a plugin");
    let sealed = fs::read(artefacts(cache.path()).remove(0)).expect("an artefact");
    let own = load(&loaded_from(&sealed[32..])).await.expect_err("machine code");
    assert!(matches!(own, LoadError::NativeArtefact), "{own}");
}

#[tokio::test]
async fn what_is_no_component_is_told_so() {
    let module = load(&loaded_from(b"\0asm\x01\0\0\0")).await.expect_err("a core module");
    assert!(matches!(module, LoadError::CoreModule), "{module}");
    let text = load(&loaded_from(b"(component)")).await.expect_err("text");
    assert!(matches!(text, LoadError::NotWebAssembly), "{text}");
    let garbage = load(&loaded_from(b"\0asm\x0d\0\x01\0 garbage")).await.expect_err("garbage");
    assert!(matches!(garbage, LoadError::Compile(_)), "{garbage}");
}

#[tokio::test]
async fn a_missing_file_and_one_that_is_too_big_are_told_by_name_and_size() {
    let missing = PluginSpec { path: "no/such/plugin.wasm".into(), ..passing() };
    let error = load(&missing).await.expect_err("no file");
    assert!(error.to_string().contains("no/such/plugin.wasm"), "{error}");
    let huge = loaded_from(b"");
    let file = fs::OpenOptions::new().write(true).open(&huge.path).expect("just written");
    file.set_len(MAX_COMPONENT_BYTES + 1).expect("a sparse file");
    let error = load(&huge).await.expect_err("too big");
    fs::remove_file(&huge.path).expect("just made");
    assert!(matches!(error, LoadError::TooBig { .. }), "{error}");
}

#[tokio::test]
async fn config_issues_come_with_their_paths() {
    let issues = json!({ "issues": [["rules[2].match", "no such field"], ["", "empty"]] });
    let error = load(&spec(&issues)).await.expect_err("it refuses");
    let LoadError::Config(found) = &error else { panic!("{error}") };
    let expected = ConfigIssue { path: "rules[2].match".to_owned(), message: "no such field".to_owned() };
    assert_eq!(found[0], expected);
    assert!(error.to_string().ends_with("rules[2].match: no such field; empty"), "{error}");
}

#[tokio::test]
async fn a_trap_in_configure_refuses_the_load() {
    let error = load(&spec(&json!({ "configure": { "do": "panic" } }))).await.expect_err("it panics");
    assert!(matches!(&error, LoadError::Start { during: "configure", failure: Failure::Trapped(_) }), "{error}");
}

#[tokio::test]
async fn j_02_memory_over_the_limit_at_the_start_is_refused_and_within_it_granted() {
    let over = PluginSpec { path: guest("too-big"), ..passing() };
    let error = load(&over).await.expect_err("16 MiB are granted, 32 wanted");
    assert!(matches!(error, LoadError::Start { .. }), "{error}");
    let plugin = load(&PluginSpec { memory_bytes: Some(40 << 20), ..over }).await.expect("40 MiB are enough");
    assert_eq!(plugin.hooks(), [Hook::Certificate]);
}

fn artefacts(cache: &std::path::Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache).expect("the cache can be listed").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "artefact")).collect()
}

#[tokio::test]
async fn a_changed_artefact_is_compiled_again_and_never_loaded() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache_dir = dir.path().join("plugin-cache");
    let start = || Host::new(HostOptions { cache_dir: cache_dir.clone() }).expect("the host starts");
    let bytes = fs::read(guest("too-big")).expect("built");
    start().inspect(&bytes).expect("a plugin");
    let [artefact] = &artefacts(&cache_dir)[..] else { panic!("one artefact") };
    let good = fs::read(artefact).expect("an artefact");
    assert_eq!(fs::metadata(&cache_dir).expect("there").permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(cache_dir.join("key")).expect("there").permissions().mode() & 0o777, 0o600);

    let written = fs::metadata(artefact).expect("there").modified().expect("a time");
    start().inspect(&bytes).expect("a plugin");
    let untouched = fs::metadata(artefact).expect("there").modified().expect("a time");
    assert_eq!(written, untouched, "an artefact that verifies is used as it is");

    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for damaged in [&flipped[..], &good[..good.len() - 1], &good[..10], &[]] {
        fs::write(artefact, damaged).expect("the test may write");
        start().inspect(&bytes).expect("compiled again");
        assert_eq!(fs::read(artefact).expect("an artefact").len(), good.len(), "and replaced");
        assert_ne!(fs::read(artefact).expect("an artefact"), damaged);
    }

    // One made under another key, as an attacker could who can write but not read.
    fs::remove_file(cache_dir.join("key")).expect("a key");
    start().inspect(&bytes).expect("compiled again under a new key");
    assert_ne!(fs::read(artefact).expect("an artefact")[..32], good[..32]);
    // A key that others could read is worth nothing.
    let key = fs::read(cache_dir.join("key")).expect("a key");
    fs::set_permissions(cache_dir.join("key"), fs::Permissions::from_mode(0o644)).expect("the owner may");
    start();
    assert_ne!(fs::read(cache_dir.join("key")).expect("a key"), key);
}

#[tokio::test]
async fn a_plugin_from_the_cache_answers_like_one_freshly_compiled() {
    let dir = tempfile::tempdir().expect("a directory");
    for _ in 0..2 {
        let host = Host::new(HostOptions { cache_dir: dir.path().to_owned() }).expect("the host starts");
        let spec = spec(&json!({ "certificate": { "do": "by-name" } }));
        let plugin = host.load(&spec, &listener(), reach()).await.expect("it loads");
        let gate = postern_plugin::Chain::new(listener(), vec![plugin], reach());
        let (peer, hello, namespace) = (peer(), hello("acme.example"), acme());
        let question = CertificateQuestion { peer: &peer, hello: &hello, namespace: &namespace };
        let choice = gate.certificate(question).await.expect("a choice").answer;
        assert_eq!(choice.bundle, support::bundle(Some("acme"), "mqtt"));
    }
}
