//! What can be wrong with a store, for the person who has to mend it.

use std::io;
use std::path::PathBuf;

/// Why a store cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Two brokers must not write the same files.
    #[error("{path} is in use by another process: is a broker running with the same node.data_dir?", path = .0.display())]
    InUse(PathBuf),
    /// Written by a later version.
    #[error(
        "{path} has format {found}, and this version of Postern knows formats up to {known}: run the version that wrote \
         it, or move it away to begin without it",
        path = .path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// Something else under our name.
    #[error("{path} is not Postern's: {what}; move it away", path = .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// Not as it was written.
    #[error(
        "{path} is damaged: {what}; bring it back from a copy, or move it away to begin without it",
        path = .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The disk is full, or a quota is reached.
    #[error("{path} cannot grow: the disk is full", path = .0.display())]
    NoRoom(PathBuf),
    /// The file system refused.
    #[error("{path}: {source}", path = .path.display())]
    Files {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database refused.
    #[error("{path}: {source}", path = .path.display())]
    Database {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<rusqlite::Error>,
    },
}

impl StoreError {
    /// Whether the batch may be tried again as it is.
    pub fn is_no_room(&self) -> bool {
        matches!(self, Self::NoRoom(_))
    }
}
