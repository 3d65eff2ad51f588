//! New certificates for listeners that serve, under the configuration that they serve by.

use std::sync::Arc;

use postern_config::{Config, Listener, Problem, Tls};
use postern_identity::BundleDirectory;
use postern_plugin::Plugin;
use postern_tls::{Bundle, Keyring};

use super::bundles::Bundles;
use super::plugins::Plugins;
use super::stamps::Stamps;
use super::stapling::Subjects;
use super::{Stager, check_ciphers, decisions, keyring, own_namespace, stapling};
use crate::policy::{Entrance, ListenerPolicy, TlsGate};
use crate::stapling::Subject;

/// What came of looking at all certificates again.
pub(crate) struct Renewal {
    /// Of the listeners that have new bundles.
    pub(crate) policies: Vec<ListenerPolicy>,
    /// What is served on though its files say otherwise, and why.
    pub(crate) refused: Vec<Problem>,
    /// Of the new bundles.
    pub(crate) warnings: Vec<Problem>,
}

impl Stager {
    /// Reads all bundles again. What cannot be had any more stays as it is served; the rest goes on. `files` are those
    /// that were there when it began, as they were found.
    pub(crate) async fn renew(
        &mut self,
        config: &Config,
        serving: &[Arc<ListenerPolicy>],
        now_unix_s: i64,
        files: Stamps,
    ) -> Renewal {
        let before = std::mem::take(&mut self.memory);
        let mut bundles = Bundles::new(&config.node.data_dir, now_unix_s, &before, Some(&files));
        let (mut policies, mut refused, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        let mut stapled = Subjects::default();
        for policy in serving {
            let listener = config.listeners.iter().find(|listener| listener.id == policy.id);
            let (Some(gate), Some((listener, tls))) = (policy.tls(), listener.and_then(|l| Some((l, l.tls.as_ref()?))))
            else {
                continue;
            };
            match renewed(listener, tls, gate, (&mut bundles, &mut stapled), &mut warnings).await {
                Ok(Some(gate)) => policies.push(policy.entered_by(Entrance::Tls(gate))),
                Ok(None) => {}
                Err(problems) => refused.extend(problems),
            }
        }
        let mut found = bundles.into_found();
        refused.append(&mut found.refused);
        let memory = &mut found.memory;
        if !refused.is_empty() {
            // Where a file is put back to what is served still, it is the bundle that is served.
            memory.known.extend(before.known.into_iter().filter(|(_, known)| Arc::strong_count(&known.bundle) > 1));
        }
        memory.read.absorb(files);
        self.memory = found.memory;
        warnings.append(&mut found.warnings);
        Renewal { policies, refused, warnings }
    }
}

/// The gate with the bundles of now; none where they are the same.
async fn renewed(
    listener: &Listener,
    tls: &Tls,
    gate: &TlsGate,
    (bundles, stapled): (&mut Bundles<'_>, &mut Subjects),
    warnings: &mut Vec<Problem>,
) -> Result<Option<TlsGate>, Vec<Problem>> {
    let entries = bundles.of_listener(listener, tls, gate.client_auth, Some(&gate.keyring))?;
    bundles.look_after_issuers(tls);
    let mut read = entries.iter().flat_map(|entry| std::iter::once(&entry.bundle).chain(&entry.siblings));
    let same = read.all(|bundle| is_served(&gate.keyring, bundle));
    let keyring = if same { Arc::clone(&gate.keyring) } else { keyring(listener, tls, entries)? };
    let stapling = stapling::of_listener(listener, tls, &keyring, (&gate.stapling, stapled));
    if same && is_stapled(&gate.stapling, &stapling.subjects) {
        return Ok(None);
    }
    let stapling = stapling.anyhow(warnings);
    check_ciphers(listener, &gate.configs, &keyring)?;
    if let Some(lists) = &gate.lists {
        lists.expect_issuers(&keyring);
    }
    let directory: Arc<dyn BundleDirectory> = keyring.clone();
    let loaded = reseat(listener, &gate.decisions.plugins, &directory).await?;
    // The budget is that of before: the plugins are the same.
    let plugins = Plugins { loaded, longest_timeouts: gate.decisions.budget };
    Ok(Some(TlsGate {
        decisions: decisions(listener, plugins, own_namespace(&keyring), directory),
        keyring,
        configs: Arc::clone(&gate.configs),
        lists: gate.lists.clone(),
        client_auth: gate.client_auth,
        unknown_sni: gate.unknown_sni,
        handshake_timeout: gate.handshake_timeout,
        stapling,
    }))
}

/// Whether it is this very bundle, and not merely one of its name.
fn is_served(keyring: &Keyring, bundle: &Arc<Bundle>) -> bool {
    keyring.bundle(bundle.name()).is_some_and(|served| Arc::ptr_eq(served, bundle))
}

/// Whether the same responses are kept as before.
fn is_stapled(before: &[Arc<Subject>], now: &[Arc<Subject>]) -> bool {
    before.len() == now.len() && before.iter().zip(now).all(|(before, now)| Arc::ptr_eq(before, now))
}

/// The same plugins with the new bundles within their reach.
async fn reseat(
    listener: &Listener,
    plugins: &[Plugin],
    directory: &Arc<dyn BundleDirectory>,
) -> Result<Vec<Plugin>, Vec<Problem>> {
    let mut reseated = Vec::new();
    for plugin in plugins {
        let found = plugin.reseat(Arc::clone(directory)).await.map_err(|error| {
            vec![Problem {
                path: format!("listeners.{}.{}", listener.kind.word(), listener.name),
                at: listener.at.clone(),
                text: format!("the plugin {} does not take the new certificates: {error}", plugin.name()),
                hint: None,
            }]
        })?;
        reseated.push(found);
    }
    Ok(reseated)
}
