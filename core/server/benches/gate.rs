//! What the programmable gate costs: server CPU per connection (TCP accept, full TLS 1.3 handshake with a
//! client certificate, CONNECT, CONNACK) with the three decisions taken natively, by warm components
//! without and with the decision cache, and by a pristine component for each call.
//!
//! One process, one binary: the server runs on one thread whose CPU clock is read, the client on another.
//! Rounds are interleaved, so that a machine that changes its speed changes it for all.
//!
//! ```text
//! cargo xtask build-plugins && cargo bench -p postern-server --bench gate
//! ```
//!
//! An argument picks the variants whose name contains it, beside the native one: `-- "no cache"`.

use std::collections::HashMap;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postern_identity::{
    Answer, BundleName, BundleRef, CertFacts, CertificateChoice, CertificateQuestion, ClientAuthWish, ClientHello,
    Decision, DnsName, Gate, Identity, IdentityQuestion, IdentityText, ListenerId, Namespace, NamespaceName,
    NamespaceOutcome, NamespaceQuestion, Peer, Refusal, Stage, Transport, Why,
};
use postern_plugin::{Host, HostOptions};
use postern_quickstart::pki::{self, Ca, Issued};
use postern_server::Server;
use postern_server::policy::Entrance;
use postern_server::stage::{Staged, Which, stage};
use rustix::time::{ClockId, clock_gettime};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::runtime::Runtime;

type Failure = Box<dyn Error + Send + Sync>;

const SERVER_NAME: &str = "mqtt.acme.example.org";
const DEVICE: &str = "sensor-1";

/// Connections in one round of one variant.
const CONNECTIONS: u32 = 300;
const ROUNDS: usize = 15;

/// CONNECT of MQTT 3.1.1 with a clean session, client identifier `b` and no keep-alive.
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01b";

fn main() -> Result<(), Failure> {
    // A plugin that fails says so.
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).init();
    let dir = tempfile::tempdir()?;
    let material = Material::make(dir.path())?;
    let server = runtime(1)?;
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let mut variants = Vec::new();
    let mut alone = Vec::new();
    for (name, settings, native) in [
        ("native", "", true),
        ("warm, no cache", "cache = false", false),
        ("warm, cached", "", false),
        ("per-call", "cache = false, isolation = per-call", false),
    ] {
        if !native && !name.contains(&wanted) {
            continue;
        }
        let staged = server.block_on(staged(&material, settings, native))?;
        if let Some(Entrance::Tls(tls)) = staged.listeners.first().map(|listener| &listener.entrance) {
            alone.push((name, server.block_on(ask(Arc::clone(&tls.decisions.gate), Arc::clone(&material.leaf)))?));
        }
        let runtime = server.enter();
        let address = start(staged)?;
        drop(runtime);
        variants.push(Variant { name, address, us: Vec::new() });
    }
    for variant in &mut variants {
        material.connect(variant.address, CONNECTIONS / 3)?;
    }
    for _ in 0..ROUNDS {
        for variant in &mut variants {
            let before = thread_cpu_us(&server)?;
            material.connect(variant.address, CONNECTIONS)?;
            variant.us.push((thread_cpu_us(&server)? - before) / f64::from(CONNECTIONS));
        }
    }
    report(&variants);
    println!("\nthe questions alone, CPU us: {:>12} {:>12} {:>12}", "namespace", "certificate", "identity");
    for (name, [namespace, certificate, identity]) in alone {
        println!("{name:<28} {namespace:>12.2} {certificate:>12.2} {identity:>12.2}");
    }
    Ok(())
}

struct Variant {
    name: &'static str,
    address: SocketAddr,
    /// Server CPU per connection, one entry a round.
    us: Vec<f64>,
}

/// Ratios are taken round by round and then their median, so that a slow round is slow on both sides.
fn report(variants: &[Variant]) {
    let Some(native) = variants.first() else { return };
    println!(
        "{ROUNDS} rounds of {CONNECTIONS} connections: full TLS 1.3 handshake with client certificate, CONNECT, CONNACK\n"
    );
    println!("{:<16} {:>12} {:>12} {:>10}", "decisions", "CPU us/conn", "min", "ratio");
    for variant in variants {
        let ratios = variant.us.iter().zip(&native.us).map(|(ours, theirs)| ours / theirs).collect();
        let least = variant.us.iter().copied().fold(f64::INFINITY, f64::min);
        println!("{:<16} {:>12.1} {:>12.1} {:>10.3}", variant.name, median(variant.us.clone()), least, median(ratios));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn runtime(threads: usize) -> Result<Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?)
}

/// CPU time of the server's only worker thread.
fn thread_cpu_us(server: &Runtime) -> Result<f64, Failure> {
    let time = server.block_on(server.spawn(async { clock_gettime(ClockId::ThreadCPUTime) }))?;
    let time = Duration::try_from(time)?;
    Ok(time.as_secs_f64() * 1e6)
}

/// Certificates, and a client that uses them.
struct Material {
    data_dir: PathBuf,
    leaf: Arc<CertFacts>,
    client: Arc<ClientConfig>,
}

impl Material {
    fn make(dir: &Path) -> Result<Self, Failure> {
        let server_ca = Ca::new("bench server CA")?;
        let client_ca = Ca::new("bench client CA")?;
        let server = server_ca.issue(&pki::server(&[SERVER_NAME])?)?;
        let bundle = dir.join("certs/ns/acme/mqtt");
        std::fs::create_dir_all(&bundle)?;
        std::fs::write(bundle.join("chain.pem"), server.chain_pem())?;
        std::fs::write(bundle.join("key.pem"), server.key_pem())?;
        std::fs::write(bundle.join("ca.pem"), client_ca.pem())?;
        let device = client_ca.issue(&pki::device_named(DEVICE))?;
        let leaf = device.chain().first().ok_or("no leaf")?;
        let leaf = Arc::new(CertFacts::from_der(leaf)?);
        Ok(Self { data_dir: dir.to_owned(), leaf, client: Arc::new(client_config(&server_ca, &device)?) })
    }

    /// Connects one after the other.
    fn connect(&self, address: SocketAddr, times: u32) -> Result<(), Failure> {
        let name = ServerName::try_from(SERVER_NAME)?;
        for _ in 0..times {
            let session = ClientConnection::new(Arc::clone(&self.client), name.clone())?;
            let socket = TcpStream::connect(address)?;
            socket.set_nodelay(true)?;
            let mut stream = StreamOwned::new(session, socket);
            stream.write_all(CONNECT)?;
            let mut connack = [0; 4];
            stream.read_exact(&mut connack)?;
            if connack != [0x20, 2, 0, 0] {
                return Err(format!("CONNACK {connack:?}").into());
            }
        }
        Ok(())
    }
}

fn client_config(server_ca: &Ca, device: &Issued) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(server_ca.der().clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(device.chain().to_vec(), device.key())?;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Questions of each kind that are timed.
const QUESTIONS: u32 = 20_000;

/// CPU microseconds of one question of each kind.
async fn ask(gate: Arc<dyn Gate>, leaf: Arc<CertFacts>) -> Result<[f64; 3], Failure> {
    let peer = Peer {
        connection: 1,
        listener: ListenerId::new("ssl", "bench"),
        transport: Transport::Tcp,
        address: "127.0.0.1:50000".parse()?,
        local_port: 8883,
        proxied: None,
    };
    let name = DnsName::new(SERVER_NAME)?;
    let hello = ClientHello {
        server_name: Some(name.clone()),
        alpn: Vec::new(),
        cipher_suites: (0x1301..0x1304).collect(),
        signature_schemes: (0x0403..0x0410).collect(),
        named_groups: (0x1d..0x1f).collect(),
    };
    let tenant = Namespace::Tenant(NamespaceName::new("acme")?);
    let bundle = BundleRef { namespace: tenant.clone(), name: BundleName::new("mqtt")? };
    let chain = [Arc::clone(&leaf), leaf];
    let mut us = [0.0; 3];
    for (kind, us) in us.iter_mut().enumerate() {
        let before = clock_gettime(ClockId::ThreadCPUTime);
        for _ in 0..QUESTIONS {
            match kind {
                0 => drop(gate.namespace(NamespaceQuestion { peer: &peer, hello: &hello, chain: &[] }).await?),
                1 => drop(
                    gate.certificate(CertificateQuestion { peer: &peer, hello: &hello, namespace: &tenant }).await?,
                ),
                _ => {
                    let question = IdentityQuestion {
                        peer: &peer,
                        namespace: &tenant,
                        bundle: Some(&bundle),
                        server_name: Some(&name),
                        chain: &chain,
                        tls: None,
                    };
                    drop(gate.identity(question).await?);
                }
            }
        }
        let spent = clock_gettime(ClockId::ThreadCPUTime) - before;
        *us = Duration::try_from(spent)?.as_secs_f64() * 1e6 / f64::from(QUESTIONS);
    }
    Ok(us)
}

/// One listener whose decisions are taken in the way that is to be measured.
async fn staged(material: &Material, settings: &str, native: bool) -> Result<Staged, Failure> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins");
    let plugin = |file: &str, config: &str| {
        format!("{{ path = \"{}\", config {{ {config} }}, {settings} }}", plugins.join(file).display())
    };
    let text = format!(
        "node.data_dir = \"{}\"
         listeners.ssl.bench {{
           bind = \"127.0.0.1:0\"
           ssl_options {{
             managed_certs = [{{ namespace = acme, bundle_name = mqtt, sni = \"{SERVER_NAME}\" }}]
             verify = verify_peer
             fail_if_no_peer_cert = true
           }}
           plugins = [{}, {}, {}]
         }}",
        material.data_dir.display(),
        plugin("namespace-lookup.wasm", ""),
        plugin("sni-selector.wasm", ""),
        plugin("mtls-identity.wasm", "rules = [{ source = \"subject.cn\", set = \"username\" }]"),
    );
    let mut no_includes = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    let loaded = postern_config::load(Path::new("bench.conf"), &text, &[], &mut no_includes).map_err(shown)?;
    let host = Host::new(HostOptions { cache_dir: material.data_dir.join("plugin-cache") })?;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let mut staged = stage(&loaded.config, &host, Which::Enabled, now).await.map_err(shown)?;
    if native {
        for listener in &mut staged.listeners {
            if let Entrance::Tls(tls) = &mut listener.entrance {
                tls.decisions.gate = Arc::new(NativeGate::new()?);
            }
        }
    }
    Ok(staged)
}

fn start(staged: Staged) -> Result<SocketAddr, Failure> {
    let server = Server::start(staged)?;
    let address = server.bound().first().ok_or("no listener")?.address;
    // It serves until the process ends.
    std::mem::forget(server);
    Ok(address)
}

fn shown(problems: impl IntoIterator<Item = postern_config::Problem>) -> Failure {
    problems.into_iter().map(|problem| problem.to_string()).collect::<Vec<_>>().join("\n").into()
}

/// The decisions of the three plugins, as plain Rust in the same binary.
struct NativeGate {
    by_name: HashMap<String, BundleRef>,
}

impl NativeGate {
    fn new() -> Result<Self, Failure> {
        let bundle =
            BundleRef { namespace: Namespace::Tenant(NamespaceName::new("acme")?), name: BundleName::new("mqtt")? };
        Ok(Self { by_name: HashMap::from([(SERVER_NAME.to_owned(), bundle)]) })
    }

    fn bundle(&self, hello: &ClientHello, at: Stage) -> Result<&BundleRef, Refusal> {
        let name = hello.server_name.as_ref().map(AsRef::as_ref);
        name.and_then(|name: &str| self.by_name.get(name)).ok_or_else(|| Refusal::new(at, Why::UnknownName, "unknown"))
    }
}

impl Gate for NativeGate {
    fn namespace<'a>(&'a self, question: NamespaceQuestion<'a>) -> Answer<'a, NamespaceOutcome> {
        Box::pin(async move {
            let bundle = self.bundle(question.hello, Stage::Namespace)?;
            Ok(Decision { answer: NamespaceOutcome::Found(bundle.namespace.clone()), by: None })
        })
    }

    fn certificate<'a>(&'a self, question: CertificateQuestion<'a>) -> Answer<'a, CertificateChoice> {
        Box::pin(async move {
            let bundle = self.bundle(question.hello, Stage::Certificate)?.clone();
            Ok(Decision { answer: CertificateChoice { bundle, client_auth: ClientAuthWish::None }, by: None })
        })
    }

    fn identity<'a>(&'a self, question: IdentityQuestion<'a>) -> Answer<'a, Option<Identity>> {
        Box::pin(async move {
            let bad = || Refusal::new(Stage::Identity, Why::BadCertificate, "no one CN");
            let leaf = question.chain.first().ok_or_else(bad)?;
            let mut names = leaf.subject.iter().filter(|attribute| attribute.oid == "2.5.4.3");
            let (Some(name), None) = (names.next(), names.next()) else { return Err(bad()) };
            let text = name.value.as_deref().ok_or_else(bad)?;
            let username = Some(IdentityText::new(text).map_err(|_| bad())?);
            Ok(Decision { answer: Some(Identity { username, ..Identity::default() }), by: None })
        })
    }
}
