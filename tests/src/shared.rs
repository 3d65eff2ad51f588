//! One broker for the cases of a group, started by the first of them and ended with the last.

use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Something dear that tests share while at least one of them runs. A `static` alone would never be
/// dropped, and its broker would outlive the tests.
pub struct Shared<T> {
    current: Mutex<Weak<T>>,
    make: fn() -> T,
}

impl<T> Shared<T> {
    /// Nothing is made until somebody asks.
    pub const fn new(make: fn() -> T) -> Self {
        Self { current: Mutex::new(Weak::new()), make }
    }

    /// What the others use, or a new one.
    pub fn get(&self) -> Arc<T> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.upgrade().unwrap_or_else(|| {
            let made = Arc::new((self.make)());
            *current = Arc::downgrade(&made);
            made
        })
    }
}
