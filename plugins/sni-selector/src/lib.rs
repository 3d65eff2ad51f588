//! Chooses the certificate by the name that the client asked for.
//!
//! The decision is [`selection`], plain Rust; `glue` connects it to the host.

#[cfg(target_arch = "wasm32")]
mod glue;
pub mod selection;
