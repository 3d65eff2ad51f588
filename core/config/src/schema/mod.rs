//! What may be written, section by section.

mod authentication;
mod authorization;
mod listener;
mod mqtt;
mod negotiation;
mod open;
mod plugin;
mod resumption;
mod retainer;
mod revocation;
mod scram;
mod socket;
mod stapling;
mod tenancy;
mod tls;
mod transport;
mod watching;

use std::path::PathBuf;

use crate::emqx;
use crate::model::{Config, Log, LogFormat, LogLevel, Node, PeerCert, PluginsConfig};
use crate::reader::{Item, Reader, Section};
use crate::source::Place;
use crate::value::Object;

/// Longest name of a node, in bytes.
const MAX_NODE_NAME: usize = 255;

/// Reads the whole. What comes back is of use only if the reader found no problem.
pub(crate) fn config(reader: &mut Reader<'_>, start: Place, fields: &Object) -> Config {
    let mut root = Section::root(start, fields);
    let node = root.take("node").and_then(|item| node(reader, &item)).unwrap_or_default();
    let plugins = root.take("plugins").and_then(|item| plugins(reader, &item)).unwrap_or_default();
    let mqtt = root.take("mqtt").and_then(|item| mqtt::mqtt(reader, &item)).unwrap_or_default();
    let retainer = root.take("retainer").and_then(|item| retainer::retainer(reader, &item)).unwrap_or_default();
    let durable_sessions =
        root.take("durable_sessions").and_then(|item| retainer::durable_sessions(reader, &item)).unwrap_or_default();
    let log = root.take("log").and_then(|item| log(reader, &item)).unwrap_or_default();
    let authentication = root.take("authentication").map(|item| authentication::all(reader, &item)).unwrap_or_default();
    let authorization = root.take("authorization").and_then(|item| authorization::rules(reader, &item));
    let listeners = listener::all(reader, &mut root, &mqtt);
    let dashboard = root.take("dashboard").and_then(|item| watching::dashboard(reader, &item, &listeners));
    let dashboard = dashboard.unwrap_or_default();
    let sys_topics = root.take("sys_topics").and_then(|item| watching::sys_topics(reader, &item)).unwrap_or_default();
    let crl_cache = root.take("crl_cache").and_then(|item| revocation::cache(reader, &item)).unwrap_or_default();
    revocation::check_capacity(reader, crl_cache, &listeners);
    let tenancy = root.take("multi_tenancy");
    let multi_tenancy = tenancy::multi_tenancy(reader, tenancy.as_ref(), &retainer, &listeners);
    reader.finish(&root, emqx::ROOT);
    let config = Config {
        node,
        plugins,
        mqtt,
        retainer,
        multi_tenancy,
        durable_sessions,
        log,
        authentication,
        authorization,
        listeners,
        dashboard,
        sys_topics,
        crl_cache,
    };
    open::warn(reader, &config);
    config
}

fn node(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Node> {
    let mut section = reader.section(item)?;
    let mut node = Node::default();
    if let Some(item) = section.take("name")
        && let Some(name) = reader.text(&item)
    {
        node.name = name;
        let plain = |c: char| c.is_ascii_graphic();
        if node.name.is_empty() || node.name.len() > MAX_NODE_NAME || !node.name.chars().all(plain) {
            let text = format!("must be 1 to {MAX_NODE_NAME} letters, digits and signs without white space");
            reader.wrong(&item, text, None);
        }
    }
    if let Some(path) = section.take("data_dir").and_then(|item| path(reader, &item)) {
        node.data_dir = path;
    }
    node.session_tickets = resumption::of_node(reader, &mut section);
    reader.finish(&section, emqx::NODE);
    Some(node)
}

fn plugins(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<PluginsConfig> {
    let mut section = reader.section(item)?;
    let dir = section.take("dir").and_then(|item| path(reader, &item));
    reader.finish(&section, emqx::PLUGINS);
    Some(dir.map_or_else(PluginsConfig::default, |dir| PluginsConfig { dir }))
}

/// `peer_cert_as_username` and `peer_cert_as_clientid`.
fn peer_cert(reader: &mut Reader<'_>, item: Option<Item<'_>>) -> Option<PeerCert> {
    const ALL: [PeerCert; 4] = [PeerCert::Disabled, PeerCert::Cn, PeerCert::Dn, PeerCert::Md5];
    let item = item?;
    let text = reader.text(&item)?;
    if matches!(text.as_str(), "crt" | "pem") {
        let text = format!("`{text}` is not supported: a whole certificate is longer than a name may be");
        reader.wrong(&item, text, Some("use `md5`, `cn` or `dn`"));
        return None;
    }
    reader.word(&item, &ALL.map(|choice| (choice.word(), choice)))
}

fn log(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Log> {
    const LEVELS: [LogLevel; 5] = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
    const FORMATS: [(&str, LogFormat); 3] =
        [("text", LogFormat::Text), ("json", LogFormat::Json), ("auto", LogFormat::Auto)];
    let mut section = reader.section(item)?;
    let mut log = Log::default();
    let levels = LEVELS.map(|level| (level.word(), level));
    if let Some(level) = section.take("level").and_then(|item| reader.word(&item, &levels)) {
        log.level = level;
    }
    if let Some(format) = section.take("format").and_then(|item| reader.word(&item, &FORMATS)) {
        log.format = format;
    }
    reader.finish(&section, emqx::LOG);
    Some(log)
}

/// A path, with `${VARIABLE}` in it replaced.
fn path(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<PathBuf> {
    let text = reader.text(item)?;
    path_of(reader, item, &text)
}

fn path_of(reader: &mut Reader<'_>, item: &Item<'_>, text: &str) -> Option<PathBuf> {
    let text = expanded(reader, item, text)?;
    if text.trim().is_empty() {
        reader.wrong(item, "a path is missing here", None);
        return None;
    }
    if text.contains(char::is_control) {
        reader.wrong(item, "a path with a line end or another control character", None);
        return None;
    }
    Some(PathBuf::from(text))
}

/// The text with each `${VARIABLE}` replaced by the environment's, as EMQX does in file paths within quotes.
fn expanded(reader: &mut Reader<'_>, item: &Item<'_>, text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else {
            reader.wrong(item, "a `${` without its `}`", None);
            return None;
        };
        let Some(value) = reader.env.get(name) else {
            let hint = "set it, or write the path out";
            reader.wrong(item, format!("the environment variable `{}` is not set", name.escape_debug()), Some(hint));
            return None;
        };
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}
