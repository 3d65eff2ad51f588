//! Says who a client is, by its certificate.
//!
//! The decision is [`identity`], its configuration [`rules`], both plain Rust; `glue` connects them to the host.

#[cfg(target_arch = "wasm32")]
mod glue;
pub mod identity;
pub mod rules;
