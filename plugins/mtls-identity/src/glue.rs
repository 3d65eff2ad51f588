//! From the component's exports to [`crate::identity`].

use std::sync::OnceLock;

use crate::identity::Who;
use crate::rules::Rules;
use bindings::exports::postern::gate::client_authorizer::{self, Connection, Failure, Identity, Request, Verdict};
use bindings::exports::postern::gate::lifecycle::{self, About, ConfigIssue};

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
mod bindings {
    use super::Plugin;

    wit_bindgen::generate!({
        path: "../../wit",
        world: "authorizer-plugin",
        with: {
            "postern:gate/types@0.1.0": postern_kit::wit::types,
            "postern:gate/certificates@0.1.0": postern_kit::wit::certificates,
        },
        generate_all,
    });
    export!(Plugin);
}

/// One per instance; an instance is configured once.
static RULES: OnceLock<Rules> = OnceLock::new();

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
        let rules = Rules::from_json(&json).map_err(|issues| {
            issues.into_iter().map(|issue| ConfigIssue { path: issue.path, message: issue.message }).collect::<Vec<_>>()
        })?;
        RULES.set(rules).map_err(|_| {
            vec![ConfigIssue { path: String::new(), message: "this instance is configured already".to_owned() }]
        })
    }
}

impl client_authorizer::Guest for Plugin {
    fn authorize(conn: Connection, request: Request) -> Result<Verdict, Failure> {
        let rules = RULES.get().ok_or_else(|| Failure::Internal("asked before it was configured".to_owned()))?;
        Ok(match rules.identify(&request.chain, conn.proxied.as_ref()) {
            Ok(Who { username, client_id, attributes, cache }) => {
                // The host ends the identity with the certificate; there is no earlier end here.
                Verdict::Allow(Identity { username, client_id, attributes, expires_at_unix_ms: None, cache })
            }
            Err(rejection) => Verdict::Deny(rejection),
        })
    }
}
