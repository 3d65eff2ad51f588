//! From the component's exports to [`crate::selection`].

use std::sync::OnceLock;

use postern_kit::directory::HostDirectory;

use crate::selection::{Choice, Selector};
use bindings::exports::postern::gate::cert_resolver::{self, ClientHello, Connection, Failure, Selection, Verdict};
use bindings::exports::postern::gate::lifecycle::{self, About, ConfigIssue};

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
mod bindings {
    use super::Plugin;

    wit_bindgen::generate!({
        path: "../../wit",
        world: "cert-resolver-plugin",
        with: {
            "postern:gate/types@0.1.0": postern_kit::wit::types,
            "postern:gate/bundle-directory@0.1.0": postern_kit::wit::bundle_directory,
        },
        generate_all,
    });
    export!(Plugin);
}

/// One per instance; an instance is configured once.
static SELECTOR: OnceLock<Selector> = OnceLock::new();

struct Plugin;

impl lifecycle::Guest for Plugin {
    fn describe() -> About {
        About {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
        }
    }

    fn configure(json: String) -> Result<(), Vec<ConfigIssue>> {
        let selector = Selector::from_json(&json).map_err(|issues| {
            issues.into_iter().map(|issue| ConfigIssue { path: issue.path, message: issue.message }).collect::<Vec<_>>()
        })?;
        SELECTOR.set(selector).map_err(|_| {
            vec![ConfigIssue { path: String::new(), message: "this instance is configured already".to_owned() }]
        })
    }
}

impl cert_resolver::Guest for Plugin {
    fn resolve(_: Connection, hello: ClientHello, namespace: Option<String>) -> Result<Verdict, Failure> {
        let selector = SELECTOR.get().ok_or_else(|| Failure::Internal("asked before it was configured".to_owned()))?;
        match selector.choose(hello.server_name.as_deref(), namespace.as_deref(), &HostDirectory) {
            Ok(Choice::Bundle { bundle, client_auth, cache }) => {
                Ok(Verdict::UseBundle(Selection { bundle, client_auth, cache }))
            }
            Ok(Choice::Pass) => Ok(Verdict::Pass),
            Ok(Choice::Reject(rejection)) => Ok(Verdict::Reject(rejection)),
            Err(message) => Err(Failure::Misconfigured(message)),
        }
    }
}
