//! A host, a listener's reach and questions for it, and the hostile guests as components.
#![allow(dead_code, reason = "no test file needs all of it")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use postern_identity::{
    BundleDirectory, BundleInfo, BundleName, BundleRef, CertFacts, ClientHello, DnsName, ListenerId, NameAttribute,
    Namespace, NamespaceName, Peer, Transport,
};
use postern_plugin::{Chain, Host, HostOptions, Isolation, LoadError, OnError, Plugin, PluginSpec};
use serde_json::Value;

/// Long enough for an honest guest on a machine that is busy with other things.
pub(crate) const PATIENT: Duration = Duration::from_secs(20);

/// The component of a guest in `tests/guests`, built when its sources have changed.
pub(crate) fn guest(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build_guests).join(format!("{name}.wasm"))
}

/// Test programs may run as several processes at once: one builds, the others wait for the lock.
fn build_guests() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
    fs::create_dir_all(&out).expect("the directory for test files can be made");
    let lock = File::create(out.join("lock")).expect("a lock file can be made");
    lock.lock().expect("the lock file can be locked");
    let stamp = out.join("stamp");
    let sources = [root.join("tests/guests"), root.join("wit")];
    let newest = sources.iter().map(|path| newest(path)).max().expect("there are two");
    if modified(&stamp).is_some_and(|built| built > newest) {
        return out;
    }
    let status = Command::new(env!("CARGO"))
        .current_dir(&root)
        .args(["run", "--quiet", "--package", "xtask", "--", "build-plugins", "--dir", "tests/guests", "--out"])
        .arg(&out)
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "the hostile guests do not build");
    File::create(stamp).expect("the stamp can be written");
    out
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

fn newest(path: &Path) -> SystemTime {
    let entries = fs::read_dir(path).expect("the sources can be listed").map(|entry| entry.expect("an entry").path());
    entries
        .filter_map(|path| if path.is_dir() { Some(newest(&path)) } else { modified(&path) })
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A host whose compiled guests all tests share.
pub(crate) fn host() -> Host {
    let cache_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache");
    Host::new(HostOptions { cache_dir }).expect("the host starts")
}

pub(crate) fn listener() -> ListenerId {
    ListenerId::new("ssl", "default")
}

/// The hostile guest with this configuration, warm, with patience and a cache.
pub(crate) fn spec(config: &Value) -> PluginSpec {
    PluginSpec {
        path: guest("hostile"),
        config_json: config.to_string(),
        timeout: Some(PATIENT),
        memory_bytes: None,
        on_error: OnError::Deny,
        isolation: Isolation::Warm,
        cache: true,
    }
}

/// With the limits that hold where the configuration says nothing.
pub(crate) fn default_limits(config: &Value) -> PluginSpec {
    PluginSpec { timeout: None, ..spec(config) }
}

pub(crate) async fn load(spec: &PluginSpec) -> Result<Plugin, LoadError> {
    host().load(spec, &listener(), reach()).await
}

/// A gate of the hostile guest alone.
pub(crate) async fn gate(spec: &PluginSpec) -> (Chain, Plugin) {
    let plugin = load(spec).await.expect("the guest loads");
    (Chain::new(listener(), vec![plugin.clone()], reach()), plugin)
}

/// What the listener of these tests has.
pub(crate) struct Reach {
    bundles: Vec<BundleInfo>,
    namespaces: Vec<NamespaceName>,
    default: usize,
}

/// `(global)/default`, `acme/mqtt` and `other/mqtt`; the first is the default.
pub(crate) fn reach() -> Arc<dyn BundleDirectory> {
    Arc::new(reach_with_default(0))
}

pub(crate) fn reach_with_default(default: usize) -> Reach {
    Reach {
        bundles: vec![
            info(None, "default", "mqtt.example"),
            info(Some("acme"), "mqtt", "acme.example"),
            info(Some("other"), "mqtt", "other.example"),
        ],
        namespaces: ["acme", "other"].map(|name| NamespaceName::new(name).expect("a name")).to_vec(),
        default,
    }
}

fn info(namespace: Option<&str>, name: &str, dns: &str) -> BundleInfo {
    BundleInfo {
        bundle: bundle(namespace, name),
        names: vec![dns.to_owned()],
        subject_dn: format!("CN={dns}"),
        key_type: "ecdsa-p256",
        not_before: 0,
        not_after: 4_000_000_000,
        fingerprint_sha256: "00".repeat(32),
        has_client_ca: false,
    }
}

pub(crate) fn bundle(namespace: Option<&str>, name: &str) -> BundleRef {
    BundleRef {
        namespace: Namespace::from_option(namespace).expect("a namespace"),
        name: BundleName::new(name).expect("a bundle name"),
    }
}

impl BundleDirectory for Reach {
    fn by_name(&self, name: &str) -> Option<&BundleInfo> {
        self.bundles.iter().find(|info| info.names.iter().any(|known| known == name))
    }

    fn get(&self, bundle: &BundleRef) -> Option<&BundleInfo> {
        self.bundles.iter().find(|info| info.bundle == *bundle)
    }

    fn default_bundle(&self) -> Option<&BundleInfo> {
        self.bundles.get(self.default)
    }

    fn namespaces(&self) -> &[NamespaceName] {
        &self.namespaces
    }
}

pub(crate) fn peer() -> Peer {
    peer_at("192.0.2.7:50000")
}

pub(crate) fn peer_at(address: &str) -> Peer {
    Peer {
        connection: 1,
        listener: listener(),
        transport: Transport::Tcp,
        address: address.parse().expect("an address"),
        local_port: 8883,
        proxied: None,
    }
}

pub(crate) fn hello(name: &str) -> ClientHello {
    ClientHello {
        server_name: Some(DnsName::new(name).expect("a DNS name")),
        alpn: vec!["mqtt".to_owned()],
        cipher_suites: vec![0x1301, 0x1302],
        signature_schemes: vec![0x0403],
        named_groups: vec![0x001d],
    }
}

pub(crate) fn acme() -> Namespace {
    Namespace::from_option(Some("acme")).expect("a namespace")
}

/// A client's certificate that is valid for long.
pub(crate) fn device(cn: &str) -> Arc<CertFacts> {
    device_until(cn, 4_000_000_000)
}

pub(crate) fn device_until(cn: &str, not_after: i64) -> Arc<CertFacts> {
    let attribute =
        NameAttribute { oid: "2.5.4.3".to_owned(), short_name: "CN".to_owned(), value: Some(cn.to_owned()) };
    let mut fingerprint = [0; 32];
    fingerprint.iter_mut().zip(cn.bytes()).for_each(|(to, from)| *to = from);
    Arc::new(CertFacts {
        subject: vec![attribute.clone()],
        subject_dn: format!("CN={cn}"),
        issuer: vec![attribute],
        issuer_dn: "CN=device ca".to_owned(),
        serial_hex: "01".to_owned(),
        sans: Vec::new(),
        not_before: 0,
        not_after,
        extended_key_usages: Vec::new(),
        fingerprint,
        spki_sha256: fingerprint,
        der: vec![0x30, 0x00],
    })
}
