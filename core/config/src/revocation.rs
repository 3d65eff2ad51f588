//! Revocation lists for client certificates.

use std::path::PathBuf;
use std::time::Duration;

use crate::problem::{Origin, Spanned};

/// `enable_crl_check` and `crl` of `ssl_options`. Names one file, directory or address at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crl {
    /// Where the check is switched on.
    pub at: Origin,
    /// `files`: each has a list in DER, or lists in PEM.
    pub files: Vec<Spanned<PathBuf>>,
    /// `directories`: the files in them are such files.
    pub directories: Vec<Spanned<PathBuf>>,
    /// `urls`: addresses under `http://` where such a file is.
    pub urls: Vec<Spanned<String>>,
    /// `refresh_interval`: between two fetches of an address; none for that of [`CrlCache`].
    pub refresh_interval: Option<Duration>,
    /// `outdated`: what a list is worth that is past its end.
    pub outdated: OutdatedCrl,
}

/// What a list is worth that is past its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OutdatedCrl {
    /// `refuse`: nothing.
    #[default]
    Refuse,
    /// `{ grace = … }`: what it was worth before, for so long.
    Grace(Duration),
}

/// `crl_cache`: of all listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrlCache {
    /// `refresh_interval`: between two fetches of an address, where a listener does not say.
    pub refresh_interval: Duration,
    /// `http_timeout`: of one fetch, from the beginning of the connection to the last byte.
    pub http_timeout: Duration,
    /// `capacity`: addresses of all listeners together.
    pub capacity: usize,
}

impl Default for CrlCache {
    fn default() -> Self {
        Self { refresh_interval: Duration::from_mins(15), http_timeout: Duration::from_secs(15), capacity: 100 }
    }
}
