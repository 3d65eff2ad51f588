//! How many connections a listener takes in a time: `max_conn_rate` and `max_conn_burst`.
//!
//! A listener that has used up its tokens stops accepting until there is one: new connections wait in the
//! kernel's backlog, which has a bound of its own, and cost this process nothing.

use std::time::{Duration, Instant};

use postern_config::Rate;

/// Tokens that come back evenly, up to a number of them.
#[derive(Debug)]
struct Bucket {
    capacity: f64,
    per_second: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: Rate, now: Instant) -> Self {
        let capacity = f64::from(rate.count);
        Self { capacity, per_second: capacity / rate.per.as_secs_f64(), level: capacity, at: now }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.per_second).min(self.capacity);
        self.at = now;
    }

    /// Until there is a token; zero where there is one.
    fn wait(&self) -> Duration {
        // Rounded up: a wait that ends a moment too early would be followed by another.
        let seconds = (1.0 - self.level) / self.per_second + 1e-6;
        if self.level >= 1.0 { Duration::ZERO } else { Duration::from_secs_f64(seconds) }
    }
}

/// The tokens of one listener. Without a rate there is always one.
#[derive(Debug)]
pub(crate) struct Meter {
    /// The rate, and what may be spent beyond it.
    buckets: Vec<Bucket>,
}

impl Meter {
    pub(crate) fn new(rate: Option<Rate>, burst: Option<Rate>, now: Instant) -> Self {
        // A burst beyond no limit is nothing.
        let burst = burst.filter(|_| rate.is_some());
        Self { buckets: [rate, burst].into_iter().flatten().map(|rate| Bucket::new(rate, now)).collect() }
    }

    /// How long to wait before the next connection is accepted.
    pub(crate) fn wait(&mut self, now: Instant) -> Duration {
        self.buckets.iter_mut().for_each(|bucket| bucket.refill(now));
        self.buckets.iter().map(Bucket::wait).min().unwrap_or(Duration::ZERO)
    }

    /// One was accepted.
    pub(crate) fn take(&mut self, now: Instant) {
        self.buckets.iter_mut().for_each(|bucket| bucket.refill(now));
        if let Some(bucket) = self.buckets.iter_mut().find(|bucket| bucket.level >= 1.0) {
            bucket.level -= 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(count: u32, per_ms: u64) -> Rate {
        Rate { count, per: Duration::from_millis(per_ms) }
    }

    /// Connections accepted without waiting.
    fn at_once(meter: &mut Meter, now: Instant) -> usize {
        (0..10_000).take_while(|_| meter.wait(now).is_zero().then(|| meter.take(now)).is_some()).count()
    }

    #[test]
    fn so_many_are_accepted_in_a_time_and_no_more() {
        let now = Instant::now();
        let mut meter = Meter::new(Some(rate(10, 1000)), None, now);
        assert_eq!(at_once(&mut meter, now), 10);
        let wait = meter.wait(now);
        assert!(wait > Duration::from_millis(99) && wait < Duration::from_millis(101), "{wait:?}");
        assert_eq!(at_once(&mut meter, now + wait), 1);
        assert_eq!(at_once(&mut meter, now + Duration::from_mins(1)), 10, "they do not pile up");
    }

    #[test]
    fn a_burst_is_spent_beyond_the_rate_and_comes_back_at_its_own() {
        let now = Instant::now();
        let mut meter = Meter::new(Some(rate(10, 1000)), Some(rate(100, 60_000)), now);
        assert_eq!(at_once(&mut meter, now), 110);
        assert_eq!(at_once(&mut meter, now + Duration::from_secs(1)), 11);
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let now = Instant::now();
        assert_eq!(at_once(&mut Meter::new(None, None, now), now), 10_000);
        assert_eq!(at_once(&mut Meter::new(None, Some(rate(1, 1000)), now), now), 10_000);
    }
}
