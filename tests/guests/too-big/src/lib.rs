//! Asks for 32 MiB of memory before its first instruction. Given them, it is a plugin that exports one
//! hook and passes.

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "cert-resolver-plugin", generate_all });
    export!(Plugin);
    use super::Plugin;
}

use bindings::exports::postern::gate::cert_resolver::{self, ClientHello, Connection, Failure, Verdict};
use bindings::exports::postern::gate::lifecycle::{self, About, ConfigIssue};

struct Plugin;

impl lifecycle::Guest for Plugin {
    fn describe() -> About {
        About { name: "too-big".to_owned(), version: "0".to_owned(), description: "passes".to_owned() }
    }

    fn configure(_: String) -> Result<(), Vec<ConfigIssue>> {
        Ok(())
    }
}

impl cert_resolver::Guest for Plugin {
    fn resolve(_: Connection, _: ClientHello, _: Option<String>) -> Result<Verdict, Failure> {
        Ok(Verdict::Pass)
    }
}
