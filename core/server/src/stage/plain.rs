//! The gate of a listener without TLS: there where it has plugins, or where a proxy's word on TLS is taken.

use std::sync::Arc;

use postern_config::{Config, Listener, Problem, ProxyTls};
use postern_identity::{BundleDirectory, BundleInfo, BundleRef, Namespace, NamespaceName};
use postern_plugin::{Hook, Host, Plugin};

use super::plugins::{self, Plugins};
use crate::policy::{Entrance, PlainGate};

/// Loads its plugins. What a plugin is never asked would seem to guard, and is refused.
pub(super) async fn stage(
    listener: &Listener,
    config: &Config,
    host: &Host,
    before: &[Plugin],
    warnings: &mut Vec<Problem>,
) -> Result<Entrance, Vec<Problem>> {
    let word = listener.proxy_protocol.as_ref().map(|proxy| proxy.tls).unwrap_or_default();
    let taken = word != ProxyTls::Inform;
    if listener.plugins.is_none() && !taken {
        return Ok(Entrance::Open);
    }
    let directory: Arc<dyn BundleDirectory> = Arc::new(NoBundles { namespaces: listener.namespaces.clone() });
    let plugins = plugins::load(listener, config, host, &directory, before).await?;
    let problems = never_asked(listener, &plugins, taken);
    if !problems.is_empty() {
        return Err(problems);
    }
    if !config.authenticates(listener) {
        warnings.extend(plugins.unmapped(listener, taken));
    }
    let decisions = super::decisions(listener, plugins, Namespace::Global, directory);
    Ok(Entrance::Plain(PlainGate { decisions, certificate_required: word == ProxyTls::Require }))
}

fn never_asked(listener: &Listener, plugins: &Plugins, taken: bool) -> Vec<Problem> {
    let problem = |hook: &str, hint: &str| Problem {
        path: format!("listeners.{}.{}.plugins", listener.kind.word(), listener.name),
        at: listener.at.clone(),
        text: format!("a plugin decides {hook}, and on this `{}` listener nobody asks it", listener.kind.word()),
        hint: Some(hint.to_owned()),
    };
    let mut problems = Vec::new();
    for plugin in &plugins.loaded {
        let hooks = plugin.hooks();
        if hooks.iter().all(|hook| *hook == Hook::Certificate) {
            problems.push(problem("which certificate answers", "remove it: without TLS there is no certificate"));
        } else if hooks.contains(&Hook::Identity) && !taken {
            let hint =
                "behind a proxy that verifies certificates say `proxy_protocol_tls = trust`; otherwise remove it";
            problems.push(problem("who a client is by its certificate", hint));
        }
    }
    problems
}

/// The reach of a listener without TLS.
struct NoBundles {
    namespaces: Vec<NamespaceName>,
}

impl BundleDirectory for NoBundles {
    fn by_name(&self, _: &str) -> Option<&BundleInfo> {
        None
    }

    fn get(&self, _: &BundleRef) -> Option<&BundleInfo> {
        None
    }

    fn default_bundle(&self) -> Option<&BundleInfo> {
        None
    }

    fn namespaces(&self) -> &[NamespaceName] {
        &self.namespaces
    }
}
