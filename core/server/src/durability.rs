//! What survives the process, where it is, and how a realm comes back from it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use postern_config::{Config, RetainerStorage};
use postern_identity::Namespace;
use postern_realm::{FORMAT, Kept, Realm, RealmLimits, Restore};
use postern_store::{Backend, Directory, Options, StoreError};

use crate::drive::disk::Disk;
use crate::drive::realm::elapsed_ms;

/// What is kept and where, as it is configured.
#[derive(Debug, Clone)]
pub struct Durability {
    /// `node.data_dir`
    pub data_dir: PathBuf,
    /// What outlives the process.
    pub kept: Kept,
    /// Whether each acknowledgement waits until the disk says that it has what is acknowledged.
    pub fsync: bool,
}

impl Durability {
    /// As the configuration has it.
    pub(crate) fn of(config: &Config) -> Self {
        let on_disc = config.retainer.storage == RetainerStorage::Disc;
        let retained = on_disc && config.retainer.enable && config.mqtt.retain_available;
        let kept = Kept { sessions: config.durable_sessions.enable, retained };
        Self { data_dir: config.node.data_dir.clone(), kept, fsync: config.durable_sessions.fsync }
    }

    /// What is wrong with the directory, as far as that can be known without making or writing anything.
    pub fn problem(&self) -> Option<String> {
        let error = if self.kept.anything() { writable(&self.data_dir).err()? } else { return None };
        Some(format!(
            "node.data_dir: sessions and retained messages cannot be kept in {}: {error}; make it writable for the \
             broker, or set durable_sessions.enable = false and retainer.backend.storage_type = ram",
            self.data_dir.display()
        ))
    }

    /// Takes the directory for this process; none where nothing is to be kept.
    pub(crate) fn open(&self) -> Result<Option<Arc<Directory>>, StoreError> {
        if !self.kept.anything() {
            return Ok(None);
        }
        let options = Options { format: FORMAT, fsync: self.fsync, max_pages: None };
        Directory::open(&self.data_dir, options).map(|directory| Some(Arc::new(directory)))
    }
}

/// Opens what a realm keeps its records in.
pub(crate) type Open = Box<dyn Fn() -> Result<Box<dyn Backend>, StoreError> + Send + Sync>;

/// How a realm comes back, at start and after its disk failed.
pub(crate) struct Revival {
    pub(crate) open: Option<Open>,
    pub(crate) limits: RealmLimits,
    pub(crate) kept: Kept,
    pub(crate) began: Instant,
}

/// A realm, and its database where it has one.
pub(crate) struct Alive {
    pub(crate) realm: Realm,
    pub(crate) disk: Option<Disk>,
}

impl Revival {
    /// Reads all records. It takes its time: not for a task.
    pub(crate) fn revive(&self) -> Result<Alive, StoreError> {
        let Some(open) = &self.open else { return Ok(Alive { realm: Realm::new(self.limits.clone()), disk: None }) };
        let mut backend = open()?;
        let mut restore = Restore::new(self.limits.clone(), self.kept, elapsed_ms(self.began), wall_ms());
        backend.scan(&mut |record| restore.take(record.table, record.key, record.value))?;
        let disk = Disk::begin(backend)
            .map_err(|source| StoreError::Files { path: PathBuf::from("the thread of a database"), source })?;
        Ok(Alive { realm: restore.finish(), disk: Some(disk) })
    }
}

/// Opens a namespace's database, and says what was lost of it in a power cut.
pub(crate) fn database(directory: Arc<Directory>, namespace: Namespace) -> Open {
    Box::new(move || {
        let database = directory.database(&namespace)?;
        if database.lost() > 0 {
            tracing::error!(
                %namespace,
                changes = database.lost(),
                "the log of the database was not whole: these latest changes at most are lost, as after a power cut \
                 without durable_sessions.fsync"
            );
        }
        Ok(Box::new(database))
    })
}

/// Milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Whether a directory can be made or written, as far as that can be known without doing it.
fn writable(data_dir: &Path) -> io::Result<()> {
    let nearest = data_dir.ancestors().find(|path| path.exists());
    let nearest = nearest.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !nearest.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    rustix::fs::access(nearest, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).map_err(Into::into)
}
