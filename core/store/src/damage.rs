//! From what the database says to what is wrong.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::error::StoreError;

/// Which kind of trouble a database's error is.
pub(crate) fn of_database(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_path_buf();
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::NoRoom(path),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse(path),
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged { path, what: source.to_string() },
        Some(ErrorCode::NotADatabase) => StoreError::Foreign { path, what: "it is no SQLite database".to_owned() },
        _ => StoreError::Database { path, source: Box::new(source) },
    }
}

/// The file beside a database that its latest changes are in.
pub(crate) fn log_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}
