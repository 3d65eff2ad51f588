//! OCSP (RFC 6960) as far as a server needs it for its own certificate: what to ask, and whether the answer may be
//! stapled to handshakes (RFC 6066, section 8).

mod question;
mod response;
mod staple;

pub use question::{NoQuestion, OcspQuestion, read_issuers};
pub use response::{OcspAnswer, OcspFault};
pub use staple::StapleSlot;
pub(crate) use staple::StaplingCert;
