//! Says whose connection it is: by name, by client CA, by a field of the client's certificate.
//!
//! The decision is [`lookup`], plain Rust; `glue` connects it to the host.

#[cfg(target_arch = "wasm32")]
mod glue;
pub mod lookup;
