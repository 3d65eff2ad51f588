//! What can go wrong with a plugin, in words that can go to a log: guests' texts cut and escaped, never
//! a guest's memory or a certificate.

use std::path::PathBuf;
use std::time::Duration;

use postern_identity::Why;

/// The host cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The engine refuses its configuration; a fault of this build.
    #[error("the WebAssembly engine cannot start: {0}")]
    Engine(String),
    /// The directory for compiled components cannot be used.
    #[error("the plugin cache {path} cannot be used: {source}")]
    Cache {
        /// The file or directory at fault.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// No random key for the cache could be made.
    #[error("the system gives no random bytes for the key of the plugin cache")]
    Random,
    /// The thread of the epoch ticker cannot be started.
    #[error("the thread that keeps plugins to their time cannot be started: {0}")]
    Thread(std::io::Error),
}

/// One fault in a plugin's `config` section, found by the plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigIssue {
    /// The path inside the section, for example `rules[2].match`; empty for the section itself.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for ConfigIssue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

/// A plugin cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("the plugin {path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Larger than any component should be.
    #[error("the component has {bytes} bytes, at most {max} are allowed")]
    TooBig {
        /// Bytes found.
        bytes: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// Machine code. The host runs only what it compiled itself.
    #[error(
        "the file is a precompiled native artefact; only WebAssembly components are loaded, the host compiles them itself"
    )]
    NativeArtefact,
    /// WebAssembly, but a core module.
    #[error(
        "the file is a core WebAssembly module; make a component of it, for example with `wasm-tools component new`"
    )]
    CoreModule,
    /// Something else.
    #[error("the file is not a WebAssembly component")]
    NotWebAssembly,
    /// It does not validate, or needs a feature of WebAssembly that is switched off.
    #[error("the component cannot be compiled: {0}")]
    Compile(String),
    /// It imports what plugins do not get.
    #[error("the component imports `{import}`: {reason}")]
    ImportNotGranted {
        /// The import as the component names it.
        import: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// It does not export what every plugin exports.
    #[error("the component does not export `{0}`")]
    NoLifecycle(String),
    /// It decides nothing.
    #[error(
        "the component exports no hook of postern:gate@0.1.0 (namespace-resolver, cert-resolver or client-authorizer)"
    )]
    NoHook,
    /// Names agree, types do not.
    #[error("the component does not fit postern:gate@0.1.0: {0}")]
    Contract(String),
    /// It failed while it started.
    #[error("the component failed in `{during}`: {failure}")]
    Start {
        /// What it was asked to do.
        during: &'static str,
        /// How it failed.
        failure: Failure,
    },
    /// It refuses its `config` section.
    #[error("the plugin refuses its configuration: {}", list(.0))]
    Config(Vec<ConfigIssue>),
    /// The task that compiled it went away.
    #[error("the compilation was abandoned")]
    Abandoned,
}

fn list(issues: &[ConfigIssue]) -> String {
    if issues.is_empty() {
        return "it does not say why".to_owned();
    }
    issues.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A plugin that could not answer. Never an answer: `on_error` of the plugin says what holds instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It trapped or broke the contract between guest and host. Its instance is gone.
    #[error("it trapped: {0}")]
    Trapped(String),
    /// It computed for too long. Its instance is gone.
    #[error("it used up its {0:?} of processor time")]
    CpuTime(Duration),
    /// No answer in time. Its instance is gone.
    #[error("it did not answer within {0:?}")]
    WallTime(Duration),
    /// It called the host too often. Its instance is gone.
    #[error("it called the host more than {0} times in one call")]
    HostCalls(u32),
    /// All its instances were busy for the whole time that the call may take.
    #[error("all of its {0} instances were busy")]
    Overloaded(usize),
    /// A new instance refused the configuration that the first one took.
    #[error("a new instance refused the configuration")]
    Reconfigured,
    /// It says that it may work next time.
    #[error("it cannot answer just now: {0}")]
    Transient(String),
    /// It says that its configuration does not cover the case.
    #[error("its configuration does not cover the case: {0}")]
    Misconfigured(String),
    /// It says that it is at fault.
    #[error("it reports a fault of its own: {0}")]
    Internal(String),
    /// An answer that cannot be.
    #[error("its answer cannot be: {0}")]
    Answer(String),
}

impl Failure {
    /// The kind of refusal that it becomes.
    pub fn why(&self) -> Why {
        match self {
            Self::Transient(_) | Self::Overloaded(_) => Why::Unavailable,
            _ => Why::PluginFailed,
        }
    }

    /// Whether the guest came back in an orderly way, so that its instance can be used again.
    pub(crate) fn spares_the_instance(&self) -> bool {
        matches!(self, Self::Transient(_) | Self::Misconfigured(_) | Self::Internal(_) | Self::Answer(_))
    }
}
