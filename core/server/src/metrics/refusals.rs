//! Refusals by their kind.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts by two words, each of a fixed set. Who is refused has cost a connection or a packet already, beside which a
/// mutex is nothing.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Refusals {
    pub(crate) fn add(&self, what: &'static str, why: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((what, why)).or_default() += 1;
    }

    /// All there were, in the order of the words.
    pub(super) fn read(&self) -> Vec<((&'static str, &'static str), u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(words, count)| (*words, *count)).collect()
    }
}
