//! A guest for the tests of the plugin host: its configuration says, for each hook, what it does.
//!
//! ```json
//! { "issues": [["rules[2].match", "no such field"]],
//!   "configure": { "do": "spin" },
//!   "certificate": { "do": "use", "name": "mqtt", "names": { "bad.example": { "do": "panic" } } } }
//! ```
//!
//! `names` chooses by the server name. `deeds` lists the misdeeds, the hooks below the answers.

mod deeds;

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
mod bindings {
    use super::Plugin;

    wit_bindgen::generate!({ path: "../../../wit", world: "full-plugin", generate_all });
    export!(Plugin);
}

use std::sync::OnceLock;

use bindings::exports::postern::gate::cert_resolver::{self, Selection};
use bindings::exports::postern::gate::client_authorizer::{self, Identity, Request};
use bindings::exports::postern::gate::lifecycle::{self, About, ConfigIssue};
use bindings::exports::postern::gate::namespace_resolver::{self, Certificate, Namespace};
use bindings::postern::gate::types::{
    BundleRef, CacheHint, ClientAuth, ClientHello, Connection, Failure, Inputs, RejectCode, Rejection,
};
use serde_json::Value;

static CONFIG: OnceLock<Value> = OnceLock::new();

struct Plugin;

impl lifecycle::Guest for Plugin {
    fn describe() -> About {
        About { name: "hostile".to_owned(), version: "0".to_owned(), description: "does as it is told".to_owned() }
    }

    fn configure(json: String) -> Result<(), Vec<ConfigIssue>> {
        let config: Value = serde_json::from_str(&json)
            .map_err(|error| vec![ConfigIssue { path: String::new(), message: error.to_string() }])?;
        if let Some(issues) = config["issues"].as_array() {
            let issue = |issue: &Value| ConfigIssue { path: text(&issue[0]), message: text(&issue[1]) };
            return Err(issues.iter().map(issue).collect());
        }
        // The failure of a misdeed has no place in this answer; those that trap never get here.
        let _ = deeds::commit(&config["configure"]);
        CONFIG.get_or_init(|| config);
        Ok(())
    }
}

/// What to do for this hook and this server name.
fn behaviour(hook: &str, server_name: Option<&str>) -> &'static Value {
    let hook = &CONFIG.get_or_init(|| Value::Null)[hook];
    server_name.and_then(|name| hook["names"].get(name)).unwrap_or(hook)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn option(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// `{ "ttl": 60000, "vary": ["server-name"] }`
fn cache(behaviour: &Value) -> Option<CacheHint> {
    let hint = behaviour.get("cache")?;
    let flag = |name: &Value| match name.as_str() {
        Some("server-name") => Inputs::SERVER_NAME,
        Some("alpn") => Inputs::ALPN,
        Some("crypto") => Inputs::CRYPTO,
        Some("peer-ip") => Inputs::PEER_IP,
        Some("certificate") => Inputs::CERTIFICATE,
        Some("namespace") => Inputs::NAMESPACE,
        _ => Inputs::empty(),
    };
    let vary = hint["vary"].as_array().map_or(Inputs::empty(), |names| names.iter().map(flag).collect());
    Some(CacheHint { ttl_ms: u32::try_from(hint["ttl"].as_u64().unwrap_or(0)).unwrap_or(u32::MAX), vary })
}

fn rejection(behaviour: &Value, detail: String) -> Rejection {
    let code = match behaviour["code"].as_str() {
        Some("unknown-name") => RejectCode::UnknownName,
        Some("bad-certificate") => RejectCode::BadCertificate,
        Some("rate-limited") => RejectCode::RateLimited,
        Some("unavailable") => RejectCode::Unavailable,
        _ => RejectCode::NotAllowed,
    };
    Rejection { code, detail, cache: cache(behaviour) }
}

impl namespace_resolver::Guest for Plugin {
    fn lookup(
        conn: Connection,
        hello: ClientHello,
        chain: Vec<Certificate>,
    ) -> Result<namespace_resolver::Verdict, Failure> {
        use namespace_resolver::Verdict;
        let behaviour = behaviour("namespace", hello.server_name.as_deref());
        let report =
            deeds::Report { conn: &conn, server_name: hello.server_name.as_deref(), certificates: chain.len() };
        match behaviour["do"].as_str() {
            Some("found") => {
                Ok(Verdict::Found(Namespace { name: option(&behaviour["name"]), cache: cache(behaviour) }))
            }
            Some("need-certificate") if chain.is_empty() => Ok(Verdict::NeedCertificate),
            Some("need-certificate") => {
                Ok(Verdict::Found(Namespace { name: option(&behaviour["name"]), cache: cache(behaviour) }))
            }
            Some("pass") | None => Ok(Verdict::Pass),
            Some("reject") => Ok(Verdict::Reject(rejection(behaviour, text(&behaviour["detail"])))),
            Some(other) => match deeds::told(other, &report) {
                Some(detail) => Ok(Verdict::Reject(rejection(behaviour, detail))),
                None => Err(deeds::commit(behaviour)),
            },
        }
    }
}

impl cert_resolver::Guest for Plugin {
    fn resolve(
        conn: Connection,
        hello: ClientHello,
        namespace: Option<String>,
    ) -> Result<cert_resolver::Verdict, Failure> {
        use cert_resolver::Verdict;
        let behaviour = behaviour("certificate", hello.server_name.as_deref());
        let report = deeds::Report { conn: &conn, server_name: hello.server_name.as_deref(), certificates: 0 };
        let selected = |bundle: BundleRef| {
            let client_auth = match behaviour["auth"].as_str() {
                Some("required") => ClientAuth::Required,
                Some("optional") => ClientAuth::Optional,
                _ => ClientAuth::None,
            };
            Verdict::UseBundle(Selection { bundle, client_auth, cache: cache(behaviour) })
        };
        match behaviour["do"].as_str() {
            Some("use") => {
                Ok(selected(BundleRef { namespace: option(&behaviour["namespace"]), name: text(&behaviour["name"]) }))
            }
            // What an honest selector does: the bundle of this name, as the host's directory has it.
            Some("by-name") => {
                Ok(bindings::postern::gate::bundle_directory::by_name(hello.server_name.as_deref().unwrap_or_default())
                    .map_or(Verdict::Pass, |info| selected(info.ref_)))
            }
            Some("own-namespace") => Ok(selected(BundleRef { namespace, name: text(&behaviour["name"]) })),
            Some("pass") | None => Ok(Verdict::Pass),
            Some("reject") => Ok(Verdict::Reject(rejection(behaviour, text(&behaviour["detail"])))),
            Some(other) => match deeds::told(other, &report) {
                Some(detail) => Ok(Verdict::Reject(rejection(behaviour, detail))),
                None => Err(deeds::commit(behaviour)),
            },
        }
    }
}

impl client_authorizer::Guest for Plugin {
    fn authorize(conn: Connection, request: Request) -> Result<client_authorizer::Verdict, Failure> {
        use client_authorizer::Verdict;
        let behaviour = behaviour("identity", request.server_name.as_deref());
        let report = deeds::Report {
            conn: &conn,
            server_name: request.server_name.as_deref(),
            certificates: request.chain.len(),
        };
        match behaviour["do"].as_str() {
            Some("allow") => Ok(Verdict::Allow(identity(behaviour, option(&behaviour["username"])))),
            Some("subject") => {
                let subject = request.chain.first().map(|leaf| leaf.subject_dn.clone());
                Ok(Verdict::Allow(identity(behaviour, subject)))
            }
            Some("panic-with-subject") => {
                panic!("no rule for {:?}", request.chain.first().map(|leaf| &leaf.subject_dn))
            }
            Some("fail-with-subject") => {
                let subject = request.chain.first().map(|leaf| leaf.subject_dn.repeat(50));
                Err(Failure::Internal(format!("no rule for {subject:?}")))
            }
            Some("pass") | None => Ok(Verdict::Pass),
            Some("deny") => Ok(Verdict::Deny(rejection(behaviour, text(&behaviour["detail"])))),
            Some("report-session") => {
                let session = request.tls.map(|tls| (tls.version, tls.cipher_suite, tls.resumed));
                Ok(Verdict::Deny(rejection(behaviour, format!("{session:?} of {:?}", request.server_name))))
            }
            Some(other) => match deeds::told(other, &report) {
                Some(detail) => Ok(Verdict::Deny(rejection(behaviour, detail))),
                None => Err(deeds::commit(behaviour)),
            },
        }
    }
}

fn identity(behaviour: &Value, username: Option<String>) -> Identity {
    let count = behaviour["attributes"].as_u64().unwrap_or(0);
    Identity {
        username,
        client_id: option(&behaviour["client-id"]),
        attributes: (0..count).map(|n| (format!("key{n}"), "value".to_owned())).collect(),
        expires_at_unix_ms: behaviour["expires"].as_u64(),
        cache: cache(behaviour),
    }
}
