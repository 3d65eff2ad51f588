//! From a server name to a bundle.

use std::collections::BTreeMap;

use postern_kit::config::{self, Issue, Section};
use postern_kit::directory::{self, Directory};
use postern_kit::dns::{self, Pattern};
use postern_kit::texts;
use postern_kit::wit::types::{BundleRef, CacheHint, ClientAuth, Inputs, RejectCode, Rejection};
use postern_kit::wit::{rejection, reusable};

/// Most entries. More names than this belong into the host's bundle directory, which is asked anyway.
const MAX_ENTRIES: usize = 1024;
/// How long a choice by name holds.
const KNOWN_TTL_MS: u32 = 60_000;
/// How long the answer to an unknown name holds: short, because a bundle may be added for it.
const UNKNOWN_TTL_MS: u32 = 10_000;

/// What becomes of a client whose name leads to no bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fallback {
    /// The listener's default bundle.
    Default,
    /// The handshake ends.
    Refuse,
}

#[derive(Debug)]
struct Entry {
    bundle: BundleRef,
    client_auth: ClientAuth,
    /// Its place in `entries`, for messages.
    place: usize,
}

/// The plugin's configuration, ready to be asked.
#[derive(Debug)]
pub struct Selector {
    entries: BTreeMap<Pattern, Entry>,
    unknown: Fallback,
    no_sni: Fallback,
    client_auth: ClientAuth,
}

/// The answer.
#[derive(Debug)]
pub enum Choice {
    /// This bundle.
    Bundle {
        /// Global, or of the connection's namespace.
        bundle: BundleRef,
        /// The plugin's wish; the host takes the stricter of this and the listener's.
        client_auth: ClientAuth,
        /// Whether the answer may be used again.
        cache: Option<CacheHint>,
    },
    /// Somebody else's to say.
    Pass,
    /// None.
    Reject(Rejection),
}

impl Selector {
    /// Reads the `config` section.
    pub fn from_json(json: &str) -> Result<Self, Vec<Issue>> {
        config::read(json, &["entries", "unknown", "no_sni", "client_auth"], |section| {
            let words = [("default", Fallback::Default), ("refuse", Fallback::Refuse)];
            let client_auth = client_auth(section, ClientAuth::None);
            Some(Self {
                entries: entries(section, client_auth),
                unknown: section.choice("unknown", &words, Fallback::Default),
                no_sni: section.choice("no_sni", &words, Fallback::Default),
                client_auth,
            })
        })
    }

    /// Chooses: an entry for exactly this name, an entry for its wildcard, the directory's bundle for the name,
    /// the directory's for its wildcard, then the policy. The error is a fault of the configuration.
    pub fn choose(
        &self,
        server_name: Option<&str>,
        namespace: Option<&str>,
        directory: &impl Directory,
    ) -> Result<Choice, String> {
        let Some(server_name) = server_name else {
            return Ok(self.fall_back(self.no_sni, KNOWN_TTL_MS, namespace, directory, "the client sent no name"));
        };
        let Some(name) = dns::folded(server_name) else {
            return Ok(refused("the client asked for something that is no DNS name", UNKNOWN_TTL_MS));
        };
        if let Some(entry) = self.entry(&name) {
            if !directory.has(&entry.bundle) {
                let name = &entry.bundle.name;
                return Err(format!("entries[{}]: bundle \"{name}\" is not attached to this listener", entry.place));
            }
            if within_reach(&entry.bundle, namespace) {
                return Ok(chosen(entry.bundle.clone(), entry.client_auth, KNOWN_TTL_MS));
            }
        } else if let Some(bundle) = directory::answering(directory, &name) {
            if within_reach(&bundle, namespace) {
                return Ok(chosen(bundle, self.client_auth, KNOWN_TTL_MS));
            }
        }
        // One text for what exists elsewhere and what does not: the client learns nothing of other tenants.
        Ok(self.fall_back(self.unknown, UNKNOWN_TTL_MS, namespace, directory, "no bundle answers to the name"))
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        let exact = self.entries.get(&Pattern::Exact(name.to_owned()));
        exact.or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.entries.get(&Pattern::OneLevel(parent.to_owned()))
        })
    }

    fn fall_back(
        &self,
        policy: Fallback,
        ttl_ms: u32,
        namespace: Option<&str>,
        directory: &impl Directory,
        reason: &str,
    ) -> Choice {
        if policy == Fallback::Refuse {
            return refused(reason, UNKNOWN_TTL_MS);
        }
        match directory.default_bundle().filter(|bundle| within_reach(bundle, namespace)) {
            Some(bundle) => chosen(bundle, self.client_auth, ttl_ms),
            None => Choice::Pass,
        }
    }
}

/// A connection gets the bundles of its own namespace and the global ones.
fn within_reach(bundle: &BundleRef, namespace: Option<&str>) -> bool {
    bundle.namespace.as_deref().is_none_or(|owner| Some(owner) == namespace)
}

fn looked_at() -> Inputs {
    Inputs::SERVER_NAME | Inputs::NAMESPACE
}

fn chosen(bundle: BundleRef, client_auth: ClientAuth, ttl_ms: u32) -> Choice {
    Choice::Bundle { bundle, client_auth, cache: reusable(ttl_ms, looked_at()) }
}

fn refused(reason: &str, ttl_ms: u32) -> Choice {
    Choice::Reject(rejection(RejectCode::UnknownName, reason, reusable(ttl_ms, looked_at())))
}

fn client_auth(section: &Section<'_>, absent: ClientAuth) -> ClientAuth {
    let words = [("none", ClientAuth::None), ("optional", ClientAuth::Optional), ("required", ClientAuth::Required)];
    section.choice("client_auth", &words, absent)
}

fn entries(section: &Section<'_>, default_client_auth: ClientAuth) -> BTreeMap<Pattern, Entry> {
    let mut entries = BTreeMap::new();
    let sections = section.sections("entries", MAX_ENTRIES, &["sni", "bundle", "namespace", "client_auth"]);
    for (place, section) in sections.iter().enumerate() {
        let pattern = section.required("sni", Pattern::parse);
        let name = section.required("bundle", texts::bundle);
        let namespace = section.parsed("namespace", texts::namespace);
        let client_auth = client_auth(section, default_client_auth);
        let (Some(pattern), Some(name)) = (pattern, name) else { continue };
        let entry = Entry { bundle: BundleRef { namespace, name }, client_auth, place };
        if let Some(earlier) = entries.insert(pattern, entry) {
            section.issue("sni", format!("is there already, in entries[{}]; one of the two must go", earlier.place));
        }
    }
    entries
}

#[cfg(test)]
#[path = "selection_tests.rs"]
mod tests;
