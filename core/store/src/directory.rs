//! Where the databases of a broker are: `DATA_DIR/store/global.db` and `DATA_DIR/store/ns/NAMESPACE.db`.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use postern_identity::{Namespace, NamespaceName};

use crate::error::StoreError;
use crate::sqlite::{FILE_MODE, Options, Sqlite};

/// Directories are for the broker alone.
const DIRECTORY_MODE: u32 = 0o700;

/// The databases of one broker, which no other process may open as long as this lives.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    options: Options,
    /// Released by the system with the process, however that ends.
    _lock: File,
}

impl Directory {
    /// Makes the directory where it is missing, and takes it for this process.
    ///
    /// # Errors
    /// Where it cannot be made or written, and where another process has it.
    pub fn open(data_dir: &Path, options: Options) -> Result<Self, StoreError> {
        let path = Self::path(data_dir);
        make(&path.join("ns"))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&lock_path);
        let lock = lock.map_err(|source| StoreError::Files { path: lock_path.clone(), source })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, options, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path)),
            Err(TryLockError::Error(source)) => Err(StoreError::Files { path: lock_path, source }),
        }
    }

    /// Where the databases are below a data directory.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("store")
    }

    /// The namespaces that have a database.
    ///
    /// # Errors
    /// Where the directory cannot be read, or has a log without its database.
    pub fn namespaces(&self) -> Result<Vec<Namespace>, StoreError> {
        let mut found = Vec::new();
        if self.has(&Namespace::Global)? {
            found.push(Namespace::Global);
        }
        let dir = self.path.join("ns");
        let failed = |source| StoreError::Files { path: dir.clone(), source };
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(name) = name.to_str() else { continue };
            let stem = [".db", ".db-wal"].iter().find_map(|end| name.strip_suffix(end));
            let Some(Ok(name)) = stem.map(NamespaceName::new) else { continue };
            let namespace = Namespace::Tenant(name);
            if !found.contains(&namespace) && self.has(&namespace)? {
                found.push(namespace);
            }
        }
        found.sort();
        Ok(found)
    }

    fn has(&self, namespace: &Namespace) -> Result<bool, StoreError> {
        let path = self.file_of(namespace);
        if path.exists() {
            return Ok(true);
        }
        let log = crate::damage::log_of(&path);
        match fs::metadata(&log) {
            Ok(log) if log.len() > 0 => {
                Err(StoreError::Damaged { path, what: "it is missing, though its log is there".to_owned() })
            }
            _ => Ok(false),
        }
    }

    /// Opens a namespace's database, made anew where there is none.
    ///
    /// # Errors
    /// Each is about the file it names.
    pub fn database(&self, namespace: &Namespace) -> Result<Sqlite, StoreError> {
        self.has(namespace)?;
        Sqlite::open(&self.file_of(namespace), &namespace.to_string(), self.options)
    }

    fn file_of(&self, namespace: &Namespace) -> PathBuf {
        match namespace {
            Namespace::Global => self.path.join("global.db"),
            Namespace::Tenant(name) => self.path.join("ns").join(format!("{name}.db")),
        }
    }
}

fn make(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
        .map_err(|source| StoreError::Files { path: path.to_path_buf(), source })
}
