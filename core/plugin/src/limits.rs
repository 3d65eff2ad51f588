//! What a guest may use up.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Memory of one instance, unless the configuration says otherwise.
const DEFAULT_MEMORY_BYTES: u64 = 16 << 20;
/// Table elements for each [`DEFAULT_MEMORY_BYTES`] of memory; an interpreter in 128 MiB needs 60,000.
const TABLE_ELEMENTS_PER_DEFAULT_MEMORY: u64 = 10_000;
/// A component of an interpreted language is linked from some twenty core modules.
const MAX_CORE_INSTANCES: usize = 64;
const MAX_TABLES: usize = 16;
/// Their sizes count together against the memory of the instance.
const MAX_MEMORIES: usize = 4;

/// How often a running guest is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// The answer to one question, unless the configuration says otherwise. Waiting for an instance and for a
/// processor counts, so that it is far above what an honest answer computes.
const DEFAULT_WALL: Duration = Duration::from_millis(250);
/// Computing for one question.
const DEFAULT_CPU: Duration = Duration::from_millis(10);
/// Of a configured `timeout`, this part may be spent on computing where it is more than the default.
const CPU_SHARE: u32 = 5;
/// `configure` of the first instance, at load: interpreters warm up in it.
pub(crate) const LOAD_WALL: Duration = Duration::from_secs(10);
/// Bytes that a guest may hand to the host in one call or answer.
pub(crate) const HOSTCALL_BYTES: usize = 256 << 10;
/// Host calls of one invocation.
pub(crate) const MAX_HOST_CALLS: u32 = 32;

/// The limits of one plugin's instances.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) memory_bytes: usize,
    pub(crate) table_elements: usize,
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
}

impl Limits {
    /// `timeout` replaces the wall deadline, and a fifth of it the processor time if that is more than
    /// the default. Processor time is never more than the wall deadline.
    pub(crate) fn new(timeout: Option<Duration>, memory_bytes: Option<u64>) -> Self {
        let wall = timeout.unwrap_or(DEFAULT_WALL);
        let memory = memory_bytes.unwrap_or(DEFAULT_MEMORY_BYTES);
        let elements = memory.saturating_mul(TABLE_ELEMENTS_PER_DEFAULT_MEMORY) / DEFAULT_MEMORY_BYTES;
        Self {
            memory_bytes: usize::try_from(memory).unwrap_or(usize::MAX),
            table_elements: usize::try_from(elements.max(TABLE_ELEMENTS_PER_DEFAULT_MEMORY)).unwrap_or(usize::MAX),
            cpu: DEFAULT_CPU.min(wall).max(timeout.unwrap_or_default() / CPU_SHARE),
            wall,
        }
    }
}

/// Growth of one store, all its memories and tables taken together.
pub(crate) struct Growth {
    memory: usize,
    table_elements: usize,
    max_memory: usize,
    max_table_elements: usize,
}

impl Growth {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory: 0,
            table_elements: 0,
            max_memory: limits.memory_bytes,
            max_table_elements: limits.table_elements,
        }
    }
}

/// The new total, if it is within the limit.
fn grown(total: usize, current: usize, desired: usize, max: usize) -> Option<usize> {
    let total = total.saturating_sub(current).checked_add(desired)?;
    (total <= max).then_some(total)
}

impl ResourceLimiter for Growth {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = grown(self.memory, current, desired, self.max_memory);
        self.memory = total.unwrap_or(self.memory);
        Ok(total.is_some())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = grown(self.table_elements, current, desired, self.max_table_elements);
        self.table_elements = total.unwrap_or(self.table_elements);
        Ok(total.is_some())
    }

    fn instances(&self) -> usize {
        MAX_CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

/// Computing of one invocation, counted in ticks at which the guest was found running. A guest that waited
/// for a processor while a hundred ticks went by is found running once: a busy machine is not its fault.
#[derive(Debug, Default)]
pub(crate) struct Ticks {
    seen: u32,
    budget: u32,
}

impl Ticks {
    /// A new invocation begins.
    pub(crate) fn reset(&mut self, cpu: Duration) {
        let budget = cpu.as_micros().div_ceil(TICK.as_micros());
        *self = Self { seen: 0, budget: u32::try_from(budget).unwrap_or(u32::MAX) };
    }

    /// It is still running. Whether it may go on.
    pub(crate) fn one_more(&mut self) -> bool {
        self.seen = self.seen.saturating_add(1);
        self.seen <= self.budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_raises_both_budgets_and_lowers_both() {
        let check = |timeout: Option<u64>, cpu: u64, wall: u64| {
            let limits = Limits::new(timeout.map(Duration::from_millis), None);
            assert_eq!((limits.cpu.as_millis(), limits.wall.as_millis()), (u128::from(cpu), u128::from(wall)));
        };
        check(None, 10, 250);
        check(Some(500), 100, 500);
        check(Some(20), 10, 20);
        check(Some(5), 5, 5);
    }

    #[test]
    fn computing_ends_after_its_ticks_and_begins_anew_with_each_invocation() {
        let mut ticks = Ticks::default();
        for _ in 0..2 {
            ticks.reset(Duration::from_millis(3));
            assert_eq!([(); 5].map(|()| ticks.one_more()), [true, true, true, false, false]);
        }
    }

    #[test]
    fn memories_of_one_store_count_together() {
        let mut growth = Growth::new(&Limits::new(None, Some(1 << 20)));
        assert!(growth.memory_growing(0, 600_000, None).expect("no error"));
        assert!(!growth.memory_growing(0, 600_000, None).expect("no error"));
        assert!(growth.memory_growing(0, 400_000, None).expect("no error"));
        assert!(growth.memory_growing(600_000, 640_000, None).expect("no error"));
        assert!(!growth.memory_growing(640_000, usize::MAX, None).expect("no error"));
    }
}
