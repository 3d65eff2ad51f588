//! `listeners.{tcp,ssl,ws,wss}.NAME`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use postern_identity::names::{ListenerId, NamespaceName};

use crate::access::EnableAuthn;
use crate::emqx;
use crate::model::{CertSource, Listener, ListenerKind, PeerCert, Tls};
use crate::mqtt::Mqtt;
use crate::problem::Spanned;
use crate::reader::{Item, Reader, Section, nearest, shown};
use crate::transport::ProxyTls;
use crate::value::Value;

/// Longest name of a listener, in bytes: it is in each log line.
const MAX_NAME: usize = 64;
/// Longest mountpoint, in bytes.
const MAX_MOUNTPOINT: usize = 256;
/// Tenants of one listener, by name.
const MAX_NAMESPACES: usize = 10_000;
/// Unless the listener says otherwise.
const MAX_UNAUTHENTICATED: u32 = 64;
/// What a mountpoint may have in it.
const PLACEHOLDERS: [&str; 3] = ["clientid", "username", "namespace"];

pub(super) fn all(reader: &mut Reader<'_>, root: &mut Section<'_>, mqtt: &Mqtt) -> Vec<Listener> {
    let mut listeners = Vec::new();
    let problems = reader.problems.len();
    let item = root.take("listeners");
    let mut blocks = 0;
    if let Some(section) = item.as_ref().and_then(|item| reader.section(item)) {
        for (word, kind_item) in section.all() {
            let Some(kind) = kind(reader, word, &kind_item) else { continue };
            let Some(names) = reader.section(&kind_item) else { continue };
            for (name, item) in names.all() {
                blocks += 1;
                listeners.extend(listener(reader, kind, name, &item, mqtt));
            }
        }
    }
    if blocks == 0 && reader.problems.len() == problems {
        let at = item.as_ref().map_or(root.at, |item| item.key_at);
        let hint = "write for example `listeners.tcp.default { bind = \"127.0.0.1:1883\" }`";
        reader.problem(at, "listeners", "there is no listener, so that no client could connect", Some(hint));
    }
    same_bind(reader, &listeners);
    listeners.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    listeners
}

fn kind(reader: &mut Reader<'_>, word: &str, item: &Item<'_>) -> Option<ListenerKind> {
    const KINDS: [ListenerKind; 4] = [ListenerKind::Tcp, ListenerKind::Ssl, ListenerKind::Ws, ListenerKind::Wss];
    if let Some(kind) = KINDS.into_iter().find(|kind| kind.word() == word) {
        return Some(kind);
    }
    if emqx::LISTENERS.contains(&word) {
        let text = format!("listeners of type `{word}` are not supported yet by this version of Postern");
        reader.problem(item.key_at, &item.path, text, Some("remove it, or use `tcp`, `ssl`, `ws` or `wss`"));
    } else {
        let near = nearest(word, KINDS.into_iter().map(ListenerKind::word));
        let hint = "the types are `tcp`, `ssl`, `ws` and `wss`, and names come below them";
        reader.unknown_word(item, 1, near, "unknown type of listener", Some(hint));
    }
    None
}

fn listener(reader: &mut Reader<'_>, kind: ListenerKind, name: &str, item: &Item<'_>, mqtt: &Mqtt) -> Option<Listener> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
        let text = format!("a listener's name is 1 to {MAX_NAME} letters, digits, `-` and `_`");
        reader.problem(item.key_at, &item.path, text, None);
    }
    let mut section = reader.section(item)?;
    let enable = enabled(reader, &mut section);
    let bind = bind(reader, &mut section);
    let max_connections = section.take("max_connections").and_then(|item| max_connections(reader, &item));
    let mountpoint = section.take("mountpoint").and_then(|item| mountpoint(reader, &item)).unwrap_or_default();
    let namespaces = section.take("namespaces").and_then(|item| namespaces(reader, &item)).unwrap_or_default();
    let per_address = section.take("max_unauthenticated_per_address");
    let per_address = per_address.and_then(|item| reader.integer(&item, 1, 1_000_000));
    let plugins = section.take("plugins").and_then(|item| super::plugin::list(reader, &item));
    let socket = super::socket::settings(reader, kind, &mut section);
    let peer_certs = ["peer_cert_as_username", "peer_cert_as_clientid"].map(|key| section.take(key));
    let by_proxy = socket.proxy_protocol.as_ref().is_some_and(|proxy| proxy.tls != ProxyTls::Inform);
    if !kind.is_tls() {
        without_handshake(reader, kind, &section, by_proxy);
    }
    if plugins.is_some() && (kind.is_tls() || by_proxy) {
        overruled(reader, &peer_certs);
    }
    let [username, clientid] = peer_certs.map(|item| super::peer_cert(reader, item));
    let username = username.unwrap_or(mqtt.peer_cert_as_username);
    let clientid = clientid.unwrap_or(mqtt.peer_cert_as_clientid);
    if by_proxy && plugins.is_none() {
        only_common_name(reader, &section, [username, clientid]);
    }
    if section.take("authentication").is_some_and(|item| !is_empty_list(&item)) {
        let text = "a listener has no users of its own yet in this version of Postern";
        let hint = "write `authentication` at the top, and `enable_authn = false` for listeners that it is not for";
        reader.problem(section.at, &section.inner("authentication"), text, Some(hint));
    }
    let enable_authn = section.take("enable_authn").and_then(|item| enable_authn(reader, &item)).unwrap_or_default();
    let tls = tls(reader, kind, &mut section);
    let websocket = super::transport::websocket(reader, kind, &mut section, mqtt);
    reader.finish(&section, emqx::LISTENER);
    Some(Listener {
        id: ListenerId::new(kind.word(), name),
        kind,
        name: name.to_owned(),
        at: reader.origin(item.key_at),
        enable,
        bind: bind?,
        access_rules: socket.access_rules,
        proxy_protocol: socket.proxy_protocol,
        tcp_options: socket.tcp_options,
        max_conn_rate: socket.max_conn_rate,
        max_conn_burst: socket.max_conn_burst,
        publish_rates: socket.publish_rates,
        max_connections,
        mountpoint,
        namespaces: with_managed(namespaces, tls.as_ref()),
        tls,
        websocket,
        plugins,
        peer_cert_as_username: username,
        peer_cert_as_clientid: clientid,
        enable_authn,
        max_unauthenticated_per_address: per_address
            .map_or(MAX_UNAUTHENTICATED, |n| u32::try_from(n).expect("the range ends within 32 bits")),
    })
}

fn enable_authn(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<EnableAuthn> {
    const WORDS: [(&str, EnableAuthn); 3] = [
        ("true", EnableAuthn::Yes),
        ("false", EnableAuthn::No),
        ("quick_deny_anonymous", EnableAuthn::QuickDenyAnonymous),
    ];
    reader.word(item, &WORDS)
}

fn is_empty_list(item: &Item<'_>) -> bool {
    matches!(&item.node.value, Value::List(items) if items.is_empty())
}

/// `enable`, or `enabled` as EMQX also takes it.
fn enabled(reader: &mut Reader<'_>, section: &mut Section<'_>) -> bool {
    let item = section.take("enable");
    let alias = section.take("enabled");
    item.or(alias).and_then(|item| reader.boolean(&item)).unwrap_or(true)
}

/// The listener's own list of plugins decides, not the shorthand.
fn overruled(reader: &mut Reader<'_>, peer_certs: &[Option<Item<'_>>]) {
    for item in peer_certs.iter().flatten() {
        if !matches!(&item.node.value, Value::Text(text) if text == PeerCert::Disabled.word()) {
            let text = "has no effect beside `plugins`: the list alone says who a client is";
            reader.warn(item.key_at, &item.path, text, Some("remove it, or give it to the plugin as its `config`"));
        }
    }
}

fn tls(reader: &mut Reader<'_>, kind: ListenerKind, section: &mut Section<'_>) -> Option<Tls> {
    let options = section.take("ssl_options");
    match (kind.is_tls(), options) {
        (true, Some(options)) => super::tls::options(reader, &options),
        (true, None) => {
            let hint = "add `ssl_options` with `certfile` and `keyfile`, or with `managed_certs`";
            reader.problem(section.at, &section.path, "there is no certificate", Some(hint));
            None
        }
        (false, Some(options)) => {
            let text = format!("a `{}` listener has no TLS", kind.word());
            let hint = format!("remove it, or make it `listeners.{}.…`", with_tls(kind).word());
            reader.problem(options.key_at, &options.path, text, Some(&hint));
            None
        }
        (false, None) => None,
    }
}

/// What has nothing to decide on would seem to guard, if it were passed over in silence.
fn without_handshake(reader: &mut Reader<'_>, kind: ListenerKind, section: &Section<'_>, by_proxy: bool) {
    let has_plugins = section.all().any(|(key, _)| key == "plugins");
    for (key, item) in section.all() {
        let (text, hint) = match key {
            "namespaces" if !has_plugins => (
                format!("nothing on this `{}` listener chooses among them", kind.word()),
                "add a plugin that does to `plugins`, or remove it".to_owned(),
            ),
            "peer_cert_as_username" | "peer_cert_as_clientid" if !by_proxy => (
                format!("a `{}` listener has no TLS handshake, and so no certificate to go by", kind.word()),
                format!(
                    "remove it, make it `listeners.{}.…`, or, behind a proxy that verifies certificates, say \
                     `proxy_protocol_tls = trust`",
                    with_tls(kind).word()
                ),
            ),
            _ => continue,
        };
        reader.problem(item.key_at, &item.path, text, Some(&hint));
    }
}

/// A proxy passes the common name on, and no more of a certificate.
fn only_common_name(reader: &mut Reader<'_>, section: &Section<'_>, asked: [PeerCert; 2]) {
    for (key, value) in ["peer_cert_as_username", "peer_cert_as_clientid"].into_iter().zip(asked) {
        if !matches!(value, PeerCert::Disabled | PeerCert::Cn) {
            let text = format!("`{}` cannot be had from a proxy, which says the common name alone", value.word());
            reader.problem(section.at, &section.inner(key), text, Some("write `cn` here"));
        }
    }
}

/// The same transport under TLS.
fn with_tls(kind: ListenerKind) -> ListenerKind {
    if kind.is_websocket() { ListenerKind::Wss } else { ListenerKind::Ssl }
}

fn with_managed(mut names: BTreeSet<NamespaceName>, tls: Option<&Tls>) -> Vec<NamespaceName> {
    if let Some(Tls { source: CertSource::Managed(certs), .. }) = tls {
        names.extend(certs.iter().filter_map(|cert| cert.value.bundle.namespace.name().cloned()));
    }
    names.into_iter().collect()
}

fn namespaces(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<BTreeSet<NamespaceName>> {
    let items = reader.list(item)?;
    if items.len() > MAX_NAMESPACES {
        reader.wrong(item, format!("{} namespaces, at most {MAX_NAMESPACES} fit one listener", items.len()), None);
        return None;
    }
    Some(items.iter().filter_map(|item| super::tls::name(reader, item, "namespace", NamespaceName::new)).collect())
}

fn max_connections(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<usize> {
    if matches!(&item.node.value, Value::Text(text) if text == "infinity") {
        return None;
    }
    let count = reader.integer(item, 1, u64::from(u32::MAX))?;
    Some(usize::try_from(count).expect("the range ends within 32 bits"))
}

fn mountpoint(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<String> {
    let text = reader.text(item)?;
    if text.len() > MAX_MOUNTPOINT {
        reader.wrong(item, format!("is longer than {MAX_MOUNTPOINT} bytes"), None);
    }
    if text.contains(['+', '#']) || text.contains(char::is_control) {
        reader.wrong(item, "`+`, `#` and control characters cannot be part of a topic's name", None);
    }
    for piece in text.split("${").skip(1) {
        let name = piece.split_once('}').map(|(name, _)| name);
        if !name.is_some_and(|name| PLACEHOLDERS.contains(&name)) {
            let text = format!(
                "{} is no placeholder here",
                shown(&format!("${{{}", piece.split_inclusive('}').next().unwrap_or("")))
            );
            reader.wrong(item, text, Some("use `${clientid}`, `${username}` or `${namespace}`"));
        }
    }
    Some(text)
}

fn bind(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<Spanned<SocketAddr>> {
    let Some(item) = section.take("bind") else {
        if !section.misspelt(&["bind"]) {
            let hint = "for example `bind = \"0.0.0.0:8883\"`";
            reader.problem(section.at, &section.path, "`bind` is missing: the address to listen on", Some(hint));
        }
        return None;
    };
    bind_to(reader, &item, Ipv4Addr::UNSPECIFIED)
}

/// An address to listen on; `host` is what a port alone means.
pub(super) fn bind_to(reader: &mut Reader<'_>, item: &Item<'_>, host: Ipv4Addr) -> Option<Spanned<SocketAddr>> {
    let text = reader.text(item)?;
    let Some(value) = address(&text, host) else {
        let hint =
            "write a port from 0 to 65535 or an address with one: `8883`, `\"127.0.0.1:8883\"`, `\"[::1]:8883\"`";
        reader.wrong(item, format!("{} is no address to listen on", shown(&text)), Some(hint));
        return None;
    };
    Some(Spanned { value, at: reader.origin(item.node.at) })
}

/// `8883`, `:8883`, `127.0.0.1:8883` or `[::1]:8883`; without an address `host` is meant: for listeners all IPv4 addresses,
/// as in EMQX.
fn address(text: &str, host: Ipv4Addr) -> Option<SocketAddr> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) {
        return port.parse().ok().map(|port| SocketAddr::new(IpAddr::V4(host), port));
    }
    text.parse().ok()
}

/// The listener that has this address, where it is open.
pub(super) fn taken(address: SocketAddr, listeners: &[Listener]) -> Option<&Listener> {
    let open = |listener: &&Listener| listener.enable && listener.bind.value.port() != 0;
    listeners.iter().filter(open).find(|listener| collide(listener.bind.value, address))
}

/// The second listener on a port would fail at start.
fn same_bind(reader: &mut Reader<'_>, listeners: &[Listener]) {
    let open: Vec<&Listener> = listeners.iter().filter(|l| l.enable && l.bind.value.port() != 0).collect();
    for (i, later) in open.iter().enumerate() {
        let earlier = open[..i].iter().find(|earlier| collide(earlier.bind.value, later.bind.value));
        if let Some(earlier) = earlier {
            let problem = crate::problem::Problem {
                path: format!("listeners.{}.{}.bind", later.kind.word(), later.name),
                at: later.bind.at.clone(),
                text: format!("{} is taken by `{}` at {}", later.bind.value, earlier.id, earlier.bind.at),
                hint: Some("give one of them another port, or `enable = false`".to_owned()),
            };
            reader.problems.push(problem);
        }
    }
}

/// One port, and the same address or all addresses of a family.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let (one, other) = (a.ip(), b.ip());
    let all = (one.is_unspecified() || other.is_unspecified()) && one.is_ipv4() == other.is_ipv4();
    a.port() == b.port() && (one == other || all)
}
