//! The only room with sockets.
//!
//! [`stage`] turns a configuration into [`policy::ListenerPolicy`]s: bundles read, plugins loaded, all
//! that may fail done. [`server::Server`] binds and runs them. A connection goes through the pipe of
//! types in [`intake`] and is then driven by [`drive`]: socket to link to realm, and back.

mod admission;
mod authn;
mod clock;
mod descriptors;
mod door;
mod drive;
pub mod durability;
mod fetch;
mod intake;
mod meter;
pub mod metrics;
mod pace;
pub mod policy;
mod realms;
pub mod reload;
mod report;
mod revalidation;
mod revocation;
mod server;
pub mod stage;
mod stapling;
mod tenants;

pub use server::{Bound, Server, ServerError};
pub use tenants::{TenantPolicies, TenantPolicy};
