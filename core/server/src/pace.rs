//! When something is asked for again that is kept up to date from elsewhere.

use std::time::{Duration, Instant};

/// After the first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// No more doublings: half a year would be reached.
const MAX_DOUBLINGS: u32 = 24;
/// By how much a wait is longer or shorter, in percent, so that many who began together do not come together.
const JITTER_PERCENT: u32 = 10;

/// The times at which one address is asked.
#[derive(Debug)]
pub(crate) struct Pace {
    due: Instant,
    failures: u32,
}

impl Pace {
    /// The first time is now.
    pub(crate) fn at_once() -> Self {
        Self { due: Instant::now(), failures: 0 }
    }

    /// Whether it is to be asked.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// An answer came: the next time is after about so long.
    pub(crate) fn succeeded(&mut self, wait: Duration) {
        self.failures = 0;
        self.wait(wait);
    }

    /// None came: the next time is sooner, and later with each failure, up to about so long.
    pub(crate) fn failed(&mut self, longest: Duration) {
        let doubled = FIRST_RETRY.saturating_mul(1 << self.failures.min(MAX_DOUBLINGS));
        self.failures = self.failures.saturating_add(1);
        self.wait(doubled.min(longest));
    }

    fn wait(&mut self, about: Duration) {
        self.due = Instant::now() + jittered(about, random_byte());
    }
}

fn jittered(about: Duration, random: u8) -> Duration {
    let percent = 100 - JITTER_PERCENT + u32::from(random) * 2 * JITTER_PERCENT / u32::from(u8::MAX);
    about * percent / 100
}

fn random_byte() -> u8 {
    let mut byte = [0];
    // Without randomness there is no spread; everything else works.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    byte[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_differ_by_a_tenth_at_most() {
        let about = Duration::from_secs(100);
        assert_eq!(jittered(about, 0), Duration::from_secs(90));
        assert_eq!(jittered(about, u8::MAX), Duration::from_secs(110));
    }

    #[test]
    fn failures_are_waited_for_longer_and_longer_and_an_answer_ends_it() {
        let longest = Duration::from_mins(15);
        let mut pace = Pace::at_once();
        assert!(pace.is_due(Instant::now()));
        let mut waits = Vec::new();
        for _ in 0..64 {
            pace.failed(longest);
            waits.push(pace.due.saturating_duration_since(Instant::now()));
        }
        assert!(waits[0] < Duration::from_millis(1_200), "{waits:?}");
        assert!(waits[3] > waits[0] * 4, "{waits:?}");
        assert!(waits[63] > longest * 8 / 10 && waits[63] < longest * 12 / 10, "{waits:?}");
        pace.succeeded(Duration::from_mins(1));
        pace.failed(longest);
        assert!(pace.is_due(Instant::now() + Duration::from_millis(1_200)));
    }
}
