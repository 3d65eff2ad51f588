//! How long calls took, in a few sizes: what a histogram is made of.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds in seconds, from what a kept instance takes for an easy question to the default timeout.
pub const DURATION_BOUNDS_S: [f64; 9] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.01, 0.05, 0.25];

/// Calls by their duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durations {
    /// For each of [`DURATION_BOUNDS_S`] the calls that took no longer than it and longer than the bound before; behind
    /// them those that took longer than all.
    pub counts: [u64; DURATION_BOUNDS_S.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

/// The same while it grows.
#[derive(Default)]
pub(crate) struct Clock {
    counts: [AtomicU64; DURATION_BOUNDS_S.len() + 1],
    sum_ns: AtomicU64,
}

impl Clock {
    pub(crate) fn add(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let place = DURATION_BOUNDS_S.iter().position(|&bound| seconds <= bound).unwrap_or(DURATION_BOUNDS_S.len());
        self.counts[place].fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn read(&self) -> Durations {
        Durations {
            counts: self.counts.each_ref().map(|count| count.load(Relaxed)),
            sum: Duration::from_nanos(self.sum_ns.load(Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_once_at_the_first_bound_that_it_does_not_exceed() {
        let clock = Clock::default();
        for micros in [0, 50, 51, 1_000, 250_000, 250_001, 10_000_000] {
            clock.add(Duration::from_micros(micros));
        }
        let read = clock.read();
        assert_eq!(read.counts, [2, 1, 0, 0, 1, 0, 0, 0, 1, 2]);
        assert_eq!(read.sum, Duration::from_micros(10_501_102));
    }
}
