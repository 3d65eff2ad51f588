//! From the component's exports to [`crate::lookup`].

use std::sync::OnceLock;

use postern_kit::directory::HostDirectory;

use crate::lookup::{Answer, Lookup};
use bindings::exports::postern::gate::lifecycle::{self, About, ConfigIssue};
use bindings::exports::postern::gate::namespace_resolver::{
    self, Certificate, ClientHello, Connection, Failure, Namespace, Verdict,
};

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
mod bindings {
    use super::Plugin;

    wit_bindgen::generate!({
        path: "../../wit",
        world: "namespace-plugin",
        with: {
            "postern:gate/types@0.1.0": postern_kit::wit::types,
            "postern:gate/certificates@0.1.0": postern_kit::wit::certificates,
            "postern:gate/bundle-directory@0.1.0": postern_kit::wit::bundle_directory,
        },
        generate_all,
    });
    export!(Plugin);
}

/// One per instance; an instance is configured once.
static LOOKUP: OnceLock<Lookup> = OnceLock::new();

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
        let lookup = Lookup::from_json(&json).map_err(|issues| {
            issues.into_iter().map(|issue| ConfigIssue { path: issue.path, message: issue.message }).collect::<Vec<_>>()
        })?;
        LOOKUP.set(lookup).map_err(|_| {
            vec![ConfigIssue { path: String::new(), message: "this instance is configured already".to_owned() }]
        })
    }
}

impl namespace_resolver::Guest for Plugin {
    fn lookup(conn: Connection, hello: ClientHello, chain: Vec<Certificate>) -> Result<Verdict, Failure> {
        let lookup = LOOKUP.get().ok_or_else(|| Failure::Internal("asked before it was configured".to_owned()))?;
        Ok(match lookup.ask(hello.server_name.as_deref(), &chain, conn.proxied.as_ref(), &HostDirectory) {
            Answer::Found { name, cache } => Verdict::Found(Namespace { name, cache }),
            Answer::NeedCertificate => Verdict::NeedCertificate,
            Answer::Pass => Verdict::Pass,
            Answer::Reject(rejection) => Verdict::Reject(rejection),
        })
    }
}
