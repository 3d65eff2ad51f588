//! HOCON text in EMQX's shape to a typed [`Config`], or the list of all that is wrong with it, each with file,
//! line and column.
//!
//! No I/O: `include` asks a function it is given, the environment is a slice. A [`Config`] is valid by construction;
//! whether the files it names exist and hold what they should is for others to find out.

mod access;
mod emqx;
mod environment;
mod evaluate;
mod handshake;
mod model;
mod mqtt;
mod problem;
mod reader;
pub mod reference;
mod revocation;
mod schema;
mod source;
mod suites;
mod tenancy;
mod transport;
mod tree;
mod units;
mod value;
mod watching;

pub use access::{Authentication, EnableAuthn, HashForm, ScramBase, UserBase, UserFile, UserFileForm, UserIdType};
pub use handshake::{ClientPath, Negotiation, PartialChain};
pub use model::{
    CertFiles, CertSource, ClientAuth, Config, Isolation, Listener, ListenerKind, Loaded, Log, LogFormat, LogLevel,
    ManagedCert, Node, OnError, PasswordSource, PeerCert, PemSource, PluginEntry, PluginsConfig, Secret,
    SessionResumption, SessionTickets, Stapling, Tls, UnknownSni, Versions,
};
pub use mqtt::{DurableSessions, KeepAliveMultiplier, Mqtt, Retainer, RetainerStorage, RevokedWill};
pub use problem::{Origin, Problem, Spanned};
pub use revocation::{Crl, CrlCache, OutdatedCrl};
pub use tenancy::{MultiTenancy, TenantLimits};
pub use transport::{
    AccessRule, KeepAlive, Origins, ProxyProtocol, ProxyTls, PublishRates, Rate, TcpOptions, WebSocket,
};
pub use watching::{Dashboard, HttpListener, SysTopics};

use std::collections::HashMap;
use std::path::Path;

/// Reads a configuration.
///
/// `file` is the name of `text` in messages, and its directory is where includes are looked for; `env` is the
/// environment, for `${VARIABLE}` and for overrides (`POSTERN_NODE__NAME=…`); `include` reads an included file, which
/// is always under that directory by its name.
///
/// # Errors
/// All problems that were found, in the order of their places. Where a text cannot be read at all, only that.
pub fn load(
    file: &Path,
    text: &str,
    env: &[(String, String)],
    include: &mut dyn FnMut(&Path) -> std::io::Result<String>,
) -> Result<Loaded, Vec<Problem>> {
    let mut sources = source::Sources::default();
    let main = sources.add_file(&file.display().to_string());
    let mut root = tree::Fields::new();
    let mut builder = tree::Builder::new(&mut sources, file, include);
    builder.file(main, text, &mut root);
    if !builder.problems.is_empty() {
        return Err(in_order(builder.problems));
    }
    let mut warnings = environment::apply(env, &mut sources, &mut root);

    let variables: HashMap<&str, &str> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut evaluator = evaluate::Evaluator::new(&root, &sources, &variables);
    let fields = evaluator.run();
    if evaluator.is_exhausted() {
        return Err(in_order(evaluator.problems));
    }

    let mut reader = reader::Reader::new(&sources, &variables);
    reader.problems = evaluator.problems;
    let config = schema::config(&mut reader, source::place(main, 1, 1), &fields);
    if !reader.problems.is_empty() {
        return Err(in_order(reader.problems));
    }
    warnings.extend(reader.warnings);
    Ok(Loaded { config, warnings: in_order(warnings) })
}

/// By place; each once.
fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(|a, b| (&a.at, &a.path, &a.text).cmp(&(&b.at, &b.path, &b.text)));
    // One substitution may be met on several ways.
    problems.dedup_by(|a, b| a.at == b.at && a.text == b.text);
    problems
}

#[cfg(test)]
mod tests;
