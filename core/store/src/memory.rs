//! A store for tests: what was committed outlives it within the process, and it fails when it is told to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::{Backend, Record, Write};
use crate::error::StoreError;

/// What is wrong with the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is full.
    NoRoom,
    /// It does not answer as it should.
    Broken,
}

/// See the module. Clones share their records.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    records: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
    fault: Option<Fault>,
    commits: u64,
}

impl Memory {
    /// Every commit and scan fails so until it is told otherwise.
    pub fn fail(&self, fault: Option<Fault>) {
        self.shared().fault = fault;
    }

    /// Batches that were committed.
    pub fn commits(&self) -> u64 {
        self.shared().commits
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn check(&self) -> Result<(), StoreError> {
        let path = PathBuf::from("memory");
        match self.fault {
            None => Ok(()),
            Some(Fault::NoRoom) => Err(StoreError::NoRoom(path)),
            Some(Fault::Broken) => Err(StoreError::Files { path, source: std::io::Error::other("a fault for tests") }),
        }
    }
}

impl Backend for Memory {
    fn commit(&mut self, batch: &[Write]) -> Result<(), StoreError> {
        let mut shared = self.shared();
        shared.check()?;
        for Write { table, key, value } in batch {
            let place = (*table, key.clone());
            match value {
                Some(value) => shared.records.insert(place, value.clone()),
                None => shared.records.remove(&place),
            };
        }
        shared.commits += 1;
        Ok(())
    }

    fn scan(&mut self, take: &mut dyn FnMut(Record<'_>) -> Result<(), String>) -> Result<(), StoreError> {
        let shared = self.shared();
        shared.check()?;
        for ((table, key), value) in &shared.records {
            take(Record { table: *table, key, value })
                .map_err(|what| StoreError::Damaged { path: PathBuf::from("memory"), what })?;
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}
