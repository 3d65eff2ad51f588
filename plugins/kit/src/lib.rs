//! What Postern's own plugins have in common.
//!
//! Everything here is plain Rust that runs natively in tests; only [`directory::HostDirectory`] calls the host.
//! A plugin of your own needs none of it: the contract is `wit/gate.wit`.

pub mod config;
pub mod directory;
pub mod dns;
pub mod expression;
pub mod field;
pub mod known;
#[cfg(any(test, feature = "sample"))]
pub mod sample;
pub mod texts;

/// The words of the gate, generated from `wit/gate.wit`. The guests' own bindings refer to these types, so that
/// nothing is converted on the way in or out.
pub mod wit {
    #[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
    mod bindings {
        wit_bindgen::generate!({
            path: "../../wit",
            inline: "
                package postern:kit;
                world words {
                    import postern:gate/types@0.1.0;
                    import postern:gate/certificates@0.1.0;
                    import postern:gate/bundle-directory@0.1.0;
                }
            ",
            generate_unused_types: true,
            generate_all,
        });
    }
    pub use bindings::postern::gate::{bundle_directory, certificates, types};

    use types::{CacheHint, Inputs, RejectCode, Rejection};

    /// Permission to reuse an answer for `ttl_ms` milliseconds where the named inputs agree.
    pub fn reusable(ttl_ms: u32, vary: Inputs) -> Option<CacheHint> {
        Some(CacheHint { ttl_ms, vary })
    }

    /// A refusal; `detail` is for the operator's log.
    pub fn rejection(code: RejectCode, detail: impl Into<String>, cache: Option<CacheHint>) -> Rejection {
        Rejection { code, detail: detail.into(), cache }
    }
}
