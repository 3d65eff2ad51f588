//! What must survive the end of the process: records in tables, changed in batches that are whole or not there.
//!
//! The only room with a database. It knows nothing of what the records mean. One file for each namespace, so that one
//! realm has one writer, no key can reach another tenant's records, and damage to one tenant's file is that tenant's.

mod backend;
mod damage;
mod directory;
mod error;
mod log;
mod memory;
mod sqlite;

pub use backend::{Backend, LARGE, Record, Write};
pub use directory::Directory;
pub use error::StoreError;
pub use memory::{Fault, Memory};
pub use sqlite::{Options, Sqlite};
