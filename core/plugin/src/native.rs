//! The one door through which machine code from a file enters the process.
#![expect(unsafe_code, reason = "wasmtime cannot check that an artefact is one of its own compilations")]

use wasmtime::Engine;
use wasmtime::component::Component;

/// An artefact whose authentication code was checked with this host's own key. Only
/// [`Artefacts`](crate::artefacts::Artefacts) makes one.
pub(crate) struct TrustedArtefact<'a> {
    bytes: &'a [u8],
}

impl<'a> TrustedArtefact<'a> {
    /// `verified` must have come out of the verification of the artefact cache: bytes that this host
    /// serialised itself, unchanged since.
    pub(crate) fn vouched_for(verified: &'a [u8]) -> Self {
        Self { bytes: verified }
    }
}

/// Maps an artefact into memory. Wasmtime refuses one of another version or configuration.
pub(crate) fn load(engine: &Engine, artefact: &TrustedArtefact<'_>) -> wasmtime::Result<Component> {
    // SAFETY: `Component::deserialize` requires bytes that `Component::serialize` of this wasmtime wrote
    // and that nobody changed. The artefact carries an HMAC-SHA256 over its name and its content under a
    // random key that only this user can read (0600 in a directory of mode 0700), and the caller checked
    // it before it made a `TrustedArtefact`. The bytes are a private copy in memory, so they cannot
    // change between that check and this call.
    unsafe { Component::deserialize(engine, artefact.bytes) }
}
