//! rumqttc, told what to do: see ../README.md.

mod five;
mod three;

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use rumqttc::{TlsConfiguration, Transport};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc::{Sender, channel};

/// Commands that one client has not taken yet.
const WAITING_COMMANDS: usize = 16;
/// Of a packet, both ways, in bytes; the library's own is 10 KiB.
const PACKET_BYTES: usize = 2 << 20;
/// Requests that the library takes in advance.
const REQUESTS: usize = 2_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut clients: HashMap<String, Sender<Value>> = HashMap::new();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let command: Value = serde_json::from_str(&line).expect("commands are JSON");
        let name = text(&command, "client");
        match command["do"].as_str() {
            Some("connect") => {
                let (commands, taken) = channel(WAITING_COMMANDS);
                clients.insert(name, commands);
                if command["at"]["version"] == "5.0" {
                    tokio::spawn(five::play(command, taken));
                } else {
                    tokio::spawn(three::play(command, taken));
                }
            }
            Some("reset") => {
                // Without its sender a client ends by itself; what it says still comes is told after that.
                for (_, commands) in clients.drain() {
                    let _ = commands.send(json!({ "do": "end" })).await;
                    commands.closed().await;
                }
                tell("", "reset", json!({}));
            }
            _ => {
                let known = clients.get(&name);
                if known.is_none_or(|commands| commands.is_closed()) {
                    tell(&name, "fault", json!({ "why": "is not connected" }));
                } else if let Some(commands) = known {
                    let _ = commands.send(command).await;
                }
            }
        }
    }
}

/// Tells an event.
fn tell(client: &str, saw: &str, mut more: Value) {
    more["client"] = json!(client);
    more["saw"] = json!(saw);
    println!("{more}");
}

fn text(told: &Value, key: &str) -> String {
    told[key].as_str().unwrap_or_default().to_owned()
}

fn number(told: &Value, key: &str) -> Option<u32> {
    told[key].as_u64().and_then(|number| u32::try_from(number).ok())
}

fn small(told: &Value, key: &str) -> u8 {
    number(told, key).and_then(|number| u8::try_from(number).ok()).unwrap_or(0)
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("digits")).collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The host as the library wants it: for WebSocket it is a URL.
fn host(at: &Value) -> String {
    let (scheme, host, port) = (text(at, "transport"), text(at, "host"), &at["port"]);
    if scheme.starts_with("ws") { format!("{scheme}://{host}:{port}/mqtt") } else { host }
}

fn port(at: &Value) -> u16 {
    number(at, "port").and_then(|port| u16::try_from(port).ok()).expect("a port")
}

fn transport(at: &Value) -> Transport {
    match at["transport"].as_str() {
        Some("ssl") => Transport::tls_with_config(tls(at)),
        Some("ws") => Transport::Ws,
        Some("wss") => Transport::Wss(tls(at)),
        _ => Transport::Tcp,
    }
}

fn tls(at: &Value) -> TlsConfiguration {
    let read = |key: &str| fs::read(text(at, key)).expect("a file that the scenario wrote");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&read("ca")).expect("a certificate")).expect("an authority");
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has what TLS needs")
        .with_root_certificates(roots);
    let config = if at["certificate"].is_null() {
        builder.with_no_client_auth()
    } else {
        let chain = CertificateDer::pem_slice_iter(&read("certificate")).collect::<Result<_, _>>().expect("a chain");
        let key = PrivateKeyDer::from_pem_slice(&read("key")).expect("a key");
        builder.with_client_auth_cert(chain, key).expect("a key that fits")
    };
    TlsConfiguration::Rustls(Arc::new(config))
}

/// What is still to be acknowledged.
#[derive(Default)]
struct Awaited {
    /// Messages of a burst; 0 outside one.
    burst: u64,
}

impl Awaited {
    /// A message is acknowledged, or sent where nobody acknowledges it.
    fn acknowledged(&mut self, client: &str, code: u8) {
        if self.burst == 0 {
            tell(client, "published", json!({ "code": code }));
            return;
        }
        self.burst -= 1;
        if self.burst == 0 {
            tell(client, "burst", json!({}));
        }
    }
}
