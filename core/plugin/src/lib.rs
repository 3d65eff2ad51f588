//! The host of plugins: WebAssembly components that decide for a listener whose a connection is, which
//! certificate answers it and who its client is.
//!
//! A [`Host`] holds the engine and the cache of compiled components. It loads a [`Plugin`] for one
//! listener; the plugins of a listener make a [`Chain`], which is the listener's
//! [`Gate`](postern_identity::Gate).
//!
//! A guest can compute, read the time, write a few log lines and look up the names within its listener's
//! reach. It cannot open a file or a socket, and it never sees a key. Time, memory, host calls and log
//! lines are bounded; whatever goes wrong is a [`Failure`], and failures keep the gate shut.

mod answers;
mod artefacts;
mod bindings;
mod chain;
mod decisions;
mod durations;
mod failure;
mod host;
mod instance;
mod limits;
mod native;
mod plugin;
mod pool;
mod questions;
mod services;
mod shape;
mod ticker;
mod words;

pub use chain::Chain;
pub use durations::{DURATION_BOUNDS_S, Durations};
pub use failure::{ConfigIssue, Failure, HostError, LoadError};
pub use host::{Host, HostOptions};
pub use plugin::{About, Isolation, OnError, Plugin, PluginSpec, PluginStats};
pub use shape::{Hook, MAX_COMPONENT_BYTES, Shape};
