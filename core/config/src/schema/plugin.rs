//! `plugins` of a listener.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{Isolation, OnError, PluginEntry};
use crate::problem::Spanned;
use crate::reader::{Item, Reader};
use crate::value::Value;

/// Longest chain: each plugin is a call in each handshake.
const MAX_PLUGINS: usize = 16;
/// Longest call. A handshake's own deadline ends it earlier where that is shorter.
const MAX_TIMEOUT: Duration = Duration::from_mins(1);
/// Least and most memory of an instance, in bytes: one page of WebAssembly, and all that it can address.
const MEMORY: (u64, u64) = (64 << 10, 4 << 30);

pub(super) fn list(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Vec<Spanned<PluginEntry>>> {
    let items = reader.list(item)?;
    if items.len() > MAX_PLUGINS {
        reader.wrong(item, format!("{} plugins, at most {MAX_PLUGINS} are run", items.len()), None);
    }
    let mut entries = Vec::new();
    for item in &items {
        if let Some(value) = entry(reader, item) {
            entries.push(Spanned { value, at: reader.origin(item.node.at) });
        }
    }
    Some(entries)
}

/// The words of `on_error` and `isolation`; with an underscore as well, as EMQX's words have.
const ON_ERROR: [(&str, OnError); 3] =
    [("deny", OnError::Deny), ("default-bundle", OnError::DefaultBundle), ("default_bundle", OnError::DefaultBundle)];
const ISOLATION: [(&str, Isolation); 3] =
    [("warm", Isolation::Warm), ("per-call", Isolation::PerCall), ("per_call", Isolation::PerCall)];

fn entry(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<PluginEntry> {
    if !matches!(item.node.value, Value::Object(_)) {
        return super::path(reader, item).map(plain);
    }
    let mut section = reader.section(item)?;
    let path = section.take("path");
    if path.is_none() && !section.misspelt(&["path"]) {
        reader.problem(item.node.at, &item.path, "`path` is missing: where the plugin's .wasm file is", None);
    }
    let path = path.and_then(|item| super::path(reader, &item));
    let mut entry = plain(path.unwrap_or_default());
    if let Some(config) = section.take("config") {
        // Must be an object, as the plugins read one; what is in it is theirs.
        if reader.section(&config).is_some() {
            entry.config = config.node.value.to_json();
        }
    }
    let timeout = section.take("timeout");
    entry.timeout = timeout.and_then(|item| reader.duration(&item, Duration::from_millis(1), MAX_TIMEOUT));
    entry.memory = section.take("memory").and_then(|item| reader.size(&item, MEMORY.0, MEMORY.1));
    entry.on_error = section.take("on_error").and_then(|item| reader.word(&item, &ON_ERROR)).unwrap_or_default();
    entry.isolation = section.take("isolation").and_then(|item| reader.word(&item, &ISOLATION)).unwrap_or_default();
    entry.cache = section.take("cache").and_then(|item| reader.boolean(&item)).unwrap_or(true);
    reader.finish(&section, &[]);
    Some(entry)
}

fn plain(path: PathBuf) -> PluginEntry {
    PluginEntry {
        path,
        config: serde_json::Value::Object(serde_json::Map::new()),
        timeout: None,
        memory: None,
        on_error: OnError::default(),
        isolation: Isolation::default(),
        cache: true,
    }
}
