//! The plugins of a listener: the ones it lists, or the standard ones that its settings call for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use postern_config::{Config, Isolation, Listener, OnError, Origin, PeerCert, PluginEntry, Problem};
use postern_identity::{BundleDirectory, PluginName};
use postern_plugin::{Hook, Host, LoadError, Plugin, PluginSpec};

/// What a listener's gate runs.
pub(super) struct Plugins {
    pub(super) loaded: Vec<Plugin>,
    /// The timeouts that the operator gave, added up.
    pub(super) longest_timeouts: Duration,
}

impl Plugins {
    /// A certificate that was verified lets its holder in, but says nothing about who it is unless a plugin maps
    /// it. The configuration cannot see what a listed plugin decides, and warns itself where none is listed.
    pub(super) fn unmapped(&self, listener: &Listener, verified: bool) -> Option<Problem> {
        let mapped = self.loaded.iter().any(|plugin| plugin.hooks().contains(&Hook::Identity));
        let listed = listener.plugins.as_ref().is_some_and(|plugins| !plugins.is_empty());
        (verified && listed && !mapped).then(|| Problem {
            path: format!("listeners.{}.{}", listener.kind.word(), listener.name),
            at: listener.at.clone(),
            text: "client certificates are verified, but no plugin maps them to an identity: any holder of one may \
                   use any user name and client identifier"
                .to_owned(),
            hint: Some("add mtls-identity to `plugins`, or set `peer_cert_as_username`".to_owned()),
        })
    }
}

/// One to be loaded, and where it was asked for.
struct Wanted {
    path: String,
    at: Origin,
    entry: PluginEntry,
}

/// Loads them all and collects every problem. One that has the name and place of one of `before` counts on where that
/// one is.
pub(super) async fn load(
    listener: &Listener,
    config: &Config,
    host: &Host,
    directory: &Arc<dyn BundleDirectory>,
    before: &[Plugin],
) -> Result<Plugins, Vec<Problem>> {
    let wanted = wanted(listener, config);
    let longest_timeouts = wanted.iter().filter_map(|w| w.entry.timeout).sum();
    let mut loaded = Vec::new();
    let mut problems = Vec::new();
    for (index, Wanted { path, at, entry }) in wanted.into_iter().enumerate() {
        let name = PluginName::new(&entry.path.file_stem().unwrap_or_default().to_string_lossy());
        let before = before.get(index).filter(|plugin| *plugin.name() == name);
        match host.load_after(&spec(&entry), &listener.id, Arc::clone(directory), before).await {
            Ok(plugin) => loaded.push(plugin),
            Err(error) => {
                let hint = Some(hint(&error, &entry, listener.plugins.is_none()));
                problems.push(Problem { path, at, text: error.to_string(), hint });
            }
        }
    }
    if problems.is_empty() { Ok(Plugins { loaded, longest_timeouts }) } else { Err(problems) }
}

/// Which file it is about, and what helps where it is not where it should be.
fn hint(error: &LoadError, entry: &PluginEntry, standard: bool) -> String {
    let shown = std::path::absolute(&entry.path).unwrap_or_else(|_| entry.path.clone());
    match error {
        LoadError::Read { .. } if standard => {
            format!("looked for at {}; say with `plugins.dir` where the standard plugins are", shown.display())
        }
        LoadError::Read { .. } => {
            format!("looked for at {}; relative paths are meant from the working directory", shown.display())
        }
        _ => format!("the plugin is {}", shown.display()),
    }
}

fn wanted(listener: &Listener, config: &Config) -> Vec<Wanted> {
    let listener_path = format!("listeners.{}.{}", listener.kind.word(), listener.name);
    if let Some(listed) = &listener.plugins {
        return listed
            .iter()
            .enumerate()
            .map(|(index, entry)| Wanted {
                path: format!("{listener_path}.plugins[{index}]"),
                at: entry.at.clone(),
                entry: entry.value.clone(),
            })
            .collect();
    }
    standard(listener)
        .into_iter()
        .map(|(name, json)| Wanted {
            path: format!("{listener_path} (standard plugin {name})"),
            at: listener.at.clone(),
            entry: standard_entry(config.plugins.dir.join(format!("{name}.wasm")), json),
        })
        .collect()
}

/// What a listener without a `plugins` list runs: managed bundles call for the first two, identity
/// settings for the last one.
fn standard(listener: &Listener) -> Vec<(&'static str, serde_json::Value)> {
    let mut plugins = Vec::new();
    if listener.tls.as_ref().is_some_and(super::is_managed) {
        plugins.push(("namespace-lookup", serde_json::json!({})));
        plugins.push(("sni-selector", serde_json::json!({})));
    }
    let shorthands = [
        ("peer_cert_as_username", listener.peer_cert_as_username),
        ("peer_cert_as_clientid", listener.peer_cert_as_clientid),
    ];
    let mut set: serde_json::Map<_, _> = shorthands
        .into_iter()
        .filter(|(_, value)| *value != PeerCert::Disabled)
        .map(|(key, value)| (key.to_owned(), value.word().into()))
        .collect();
    if !set.is_empty() {
        // As in EMQX: what no certificate field is taken for comes from the CONNECT.
        if listener.peer_cert_as_username == PeerCert::Disabled {
            set.insert("username_from_connect".to_owned(), true.into());
        }
        plugins.push(("mtls-identity", set.into()));
    }
    plugins
}

fn standard_entry(path: PathBuf, config: serde_json::Value) -> PluginEntry {
    PluginEntry {
        path,
        config,
        timeout: None,
        memory: None,
        on_error: OnError::Deny,
        isolation: Isolation::Warm,
        cache: true,
    }
}

fn spec(entry: &PluginEntry) -> PluginSpec {
    PluginSpec {
        path: entry.path.clone(),
        config_json: entry.config.to_string(),
        timeout: entry.timeout,
        memory_bytes: entry.memory,
        on_error: match entry.on_error {
            OnError::Deny => postern_plugin::OnError::Deny,
            OnError::DefaultBundle => postern_plugin::OnError::DefaultBundle,
        },
        isolation: match entry.isolation {
            Isolation::Warm => postern_plugin::Isolation::Warm,
            Isolation::PerCall => postern_plugin::Isolation::PerCall,
        },
        cache: entry.cache,
    }
}
