//! Revocation of client certificates by lists (RFC 5280, sections 5 and 6.3).
//!
//! A list of a large fleet has a million entries, and every handshake asks it. So a list stays the bytes that it came
//! as, and beside them stand four bytes for each entry: where its serial number is, in the order of serial numbers. A
//! look-up halves its way through them. Nothing of an entry is taken out of the bytes.
//!
//! - [`Revocation`]: the lists of one listener, which can be replaced at any time, and the verdict on a path.
//! - [`RevocationList`]: one list, read from DER or PEM.
//! - [`uncovered`]: the client CAs that a set of lists leaves out.
//! - [`NotGood`]: why a path is refused.

mod der;
mod file;
mod list;
mod revocation;
mod scope;
mod verdict;

pub use file::{CrlFile, CrlFileFault, MAX_CRL_BYTES};
pub use list::{CrlFault, RevocationList, UnusableList};
pub use revocation::{Outdated, Revocation, uncovered};
pub use verdict::{NotGood, RevocationFault};
