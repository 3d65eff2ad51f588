//! Development certificates: a small certificate authority, and the set that the demonstration uses.
//!
//! [`Ca::issue`] takes `rcgen`'s own parameters, so a test can ask for any certificate that `rcgen` can
//! write: start from [`server`] or [`device`] and change what matters.
//!
//! ```
//! use postern_quickstart::pki::{self, Ca, rcgen::DnType};
//!
//! let ca = Ca::new("acme devices")?;
//! let mut twice = pki::device_named("sensor-1");
//! // A second attribute of the same type: to `rcgen`, an identifier of one's own is another type.
//! twice.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "admin");
//! let issued = ca.issue(&twice)?;
//! assert!(issued.chain_pem().starts_with("-----BEGIN CERTIFICATE-----"));
//! # Ok::<(), pki::PkiError>(())
//! ```

mod authority;
mod development;
mod files;

pub use authority::{Ca, Issued, PkiError, authority, device, device_named, expired_yesterday, server, valid_for_days};
pub(crate) use development::sha256_hex;
pub use development::{Bundle, DEVICES, Device, NAMELESS, Prepared, Set, ensure, named};
pub use rcgen;
