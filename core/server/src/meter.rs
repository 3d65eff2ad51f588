//! How much is taken in a time: connections of a listener (`max_conn_rate`), messages and bytes of a client or of a
//! tenant (`messages_rate`, `bytes_rate`), each with what may be spent beyond (`…_burst`).
//!
//! Who has used up its tokens waits until there is one. A listener stops accepting: new connections wait in the
//! kernel's backlog, which has a bound of its own. A client's socket is not read: what it sends waits in the kernel's
//! buffers, and then with the client. Neither costs this process anything.

use std::time::{Duration, Instant};

use postern_config::{PublishRates, Rate};

/// Tokens that come back evenly, up to a number of them.
#[derive(Debug)]
struct Bucket {
    capacity: f64,
    per_second: f64,
    /// Below 0 after something larger than what was left.
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

    /// Gives what it has of `count`; what is left of it.
    fn give(&mut self, count: f64) -> f64 {
        let given = count.min(self.level.max(0.0));
        self.level -= given;
        count - given
    }
}

/// The tokens of one thing that is limited. Without a rate there is always one.
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

    /// How long to wait before more is taken.
    pub(crate) fn wait(&mut self, now: Instant) -> Duration {
        self.buckets.iter_mut().for_each(|bucket| bucket.refill(now));
        self.buckets.iter().map(Bucket::wait).min().unwrap_or(Duration::ZERO)
    }

    /// So many were taken. What there are no tokens for is owed, so that what is larger than a bucket passes too, and
    /// is waited for afterwards.
    pub(crate) fn take(&mut self, count: u32, now: Instant) {
        self.buckets.iter_mut().for_each(|bucket| bucket.refill(now));
        let owed = self.buckets.iter_mut().fold(f64::from(count), |count, bucket| bucket.give(count));
        if let Some(bucket) = self.buckets.first_mut() {
            bucket.level -= owed;
        }
    }
}

/// The tokens of a publisher, or of all publishers of a tenant: for messages and for bytes.
#[derive(Debug)]
pub(crate) struct Traffic {
    messages: Meter,
    bytes: Meter,
}

impl Traffic {
    /// None where nothing is limited.
    pub(crate) fn new(rates: &PublishRates, now: Instant) -> Option<Self> {
        rates.is_limited().then(|| Self {
            messages: Meter::new(rates.messages_rate, rates.messages_burst, now),
            bytes: Meter::new(rates.bytes_rate, rates.bytes_burst, now),
        })
    }

    /// How long to wait before the next message is taken.
    pub(crate) fn wait(&mut self, now: Instant) -> Duration {
        self.messages.wait(now).max(self.bytes.wait(now))
    }

    /// One message of so many bytes was taken.
    pub(crate) fn take(&mut self, bytes: u32, now: Instant) {
        self.messages.take(1, now);
        self.bytes.take(bytes, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(count: u32, per_ms: u64) -> Rate {
        Rate { count, per: Duration::from_millis(per_ms) }
    }

    /// How many are taken without waiting.
    fn at_once(meter: &mut Meter, now: Instant) -> usize {
        (0..10_000).take_while(|_| meter.wait(now).is_zero().then(|| meter.take(1, now)).is_some()).count()
    }

    #[test]
    fn so_many_are_taken_in_a_time_and_no_more() {
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
        assert!(Traffic::new(&PublishRates::default(), now).is_none());
    }

    #[test]
    fn what_is_larger_than_a_bucket_passes_and_is_waited_for_afterwards() {
        let now = Instant::now();
        let mut meter = Meter::new(Some(rate(10, 1000)), Some(rate(5, 60_000)), now);
        meter.take(45, now);
        let wait = meter.wait(now);
        assert!(wait > Duration::from_secs(3) && wait < Duration::from_millis(3_101), "30 are owed: {wait:?}");
        assert_eq!(at_once(&mut meter, now + wait), 1);
    }

    #[test]
    fn messages_and_bytes_are_counted_apart_and_the_longer_wait_holds() {
        let now = Instant::now();
        let (messages_rate, bytes_rate) = (Some(rate(2, 1000)), Some(rate(100, 1000)));
        let rates = PublishRates { messages_rate, bytes_rate, ..PublishRates::default() };
        let mut traffic = Traffic::new(&rates, now).unwrap();
        traffic.take(10, now);
        assert!(traffic.wait(now).is_zero());
        traffic.take(10, now);
        assert!(traffic.wait(now) < Duration::from_millis(502), "the third message");
        traffic.take(280, now);
        assert!(traffic.wait(now) > Duration::from_secs(2), "200 bytes are owed");
    }
}
