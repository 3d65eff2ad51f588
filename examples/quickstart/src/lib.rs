//! What the guided first run is made of. The end-to-end tests use the same certificate authority and the
//! same way through TLS, so that what the demonstration shows is what is tested.
//!
//! Everything here is for development machines: keys lie unencrypted on disk, readable by their owner alone.

pub mod broker;
pub mod demo;
pub mod device;
pub mod dial;
pub mod hints;
pub mod pki;
pub mod screen;
