//! What every store can do.

use crate::error::StoreError;

/// The table for what is large: its keys are numbers of eight bytes, big endian, which grow from record to record.
/// All other tables are for small records, under keys of any length.
pub const LARGE: u8 = 0;

/// One record, to be put in place of what is there, or taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Which table.
    pub table: u8,
    /// Which record.
    pub key: Vec<u8>,
    /// What it is from now on; none takes it away.
    pub value: Option<Vec<u8>>,
}

/// One record, as it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Which table.
    pub table: u8,
    /// Which record.
    pub key: &'a [u8],
    /// What it is.
    pub value: &'a [u8],
}

/// A store of records.
pub trait Backend: Send {
    /// Makes all the writes, or none of them. When this returns, they survive the end of the process, and what else the
    /// store was opened for.
    ///
    /// # Errors
    /// [`StoreError::NoRoom`]: nothing was written, and the same batch may be tried again. Any other: the store must be
    /// opened anew, and read, before it is known what it holds.
    fn commit(&mut self, batch: &[Write]) -> Result<(), StoreError>;

    /// Hands over every record, in the order of tables and then of keys.
    ///
    /// # Errors
    /// Where a record is not as it was written, or `take` finds that it cannot be: its sentence becomes the error's.
    fn scan(&mut self, take: &mut dyn FnMut(Record<'_>) -> Result<(), String>) -> Result<(), StoreError>;

    /// Ends it, so that it opens quickly next time.
    ///
    /// # Errors
    /// What was committed is there in any case.
    fn close(self: Box<Self>) -> Result<(), StoreError>;
}

impl Record<'_> {
    /// The sum by which damage is found.
    pub(crate) fn sum(&self) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        sum.update(&[self.table]);
        sum.update(&u64::try_from(self.key.len()).unwrap_or(u64::MAX).to_be_bytes());
        sum.update(self.key);
        sum.update(self.value);
        sum.finalize()
    }
}
