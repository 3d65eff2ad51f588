//! Whether a client takes what is written to it: `tcp_options.send_timeout`.
//!
//! It is looked at only where the socket takes no more, so that a client which keeps up costs nothing, and a packet
//! never moves a timer.

use std::time::{Duration, Instant};

/// A client that takes so many bytes in the time is slow, not stuck.
const PROGRESS_BYTES: u64 = 16 * 1024;

/// One connection's output.
#[derive(Debug)]
pub(crate) struct Stall {
    within: Duration,
    /// Bytes that the stream took since the connection began.
    taken: u64,
    since: Option<Mark>,
}

/// When the socket was full.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    taken: u64,
    /// Bytes that were waiting then.
    waiting: u64,
}

impl Stall {
    /// Of a connection that must make progress within this time.
    pub(crate) fn new(within: Duration) -> Self {
        Self { within, taken: 0, since: None }
    }

    /// The stream took so many bytes.
    pub(crate) fn took(&mut self, bytes: usize) {
        self.taken += bytes as u64;
    }

    /// Nothing waits any more.
    pub(crate) fn flows(&mut self) {
        self.since = None;
    }

    /// The stream takes no more, and so many bytes wait. Whether that is new, so that a timer must be set.
    pub(crate) fn is_stuck(&mut self, waiting: usize) -> bool {
        if self.since.is_some() {
            return false;
        }
        self.mark(waiting, Instant::now());
        true
    }

    fn mark(&mut self, waiting: usize, at: Instant) {
        self.since = Some(Mark { at, taken: self.taken, waiting: waiting as u64 });
    }

    /// When to ask [`Stall::is_over`]; none while nothing is stuck.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.since.map(|mark| mark.at + self.within)
    }

    /// Whether the client had its time and took practically nothing in it: neither [`PROGRESS_BYTES`], nor as much as
    /// waited. Otherwise the time begins anew. `waiting` is what waits now.
    pub(crate) fn is_over(&mut self, waiting: usize, now: Instant) -> bool {
        let Some(mark) = self.since.filter(|mark| now >= mark.at + self.within) else { return false };
        if self.taken - mark.taken < PROGRESS_BYTES.min(mark.waiting) {
            return true;
        }
        self.mark(waiting, now);
        false
    }

    /// In words.
    pub(crate) fn verdict(&self) -> String {
        let waiting = self.since.map_or(0, |mark| mark.waiting);
        format!(
            "the client does not take what is sent to it: less than {} bytes of {waiting} within send_timeout ({:?})",
            PROGRESS_BYTES.min(waiting),
            self.within
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(30);

    #[test]
    fn a_client_that_takes_practically_nothing_in_the_time_is_given_up() {
        let mut stall = Stall::new(WITHIN);
        assert_eq!(stall.deadline(), None);
        assert!(stall.is_stuck(100_000));
        assert!(!stall.is_stuck(100_000), "the time goes on");
        let due = stall.deadline().unwrap();
        stall.took(16 * 1024 - 1);
        assert!(!stall.is_over(80_000, due.checked_sub(Duration::from_millis(1)).unwrap()));
        assert!(stall.is_over(80_000, due));
        assert!(stall.verdict().contains("16384 bytes of 100000"), "{}", stall.verdict());
    }

    #[test]
    fn a_client_that_is_merely_slow_gets_the_time_anew() {
        let mut stall = Stall::new(WITHIN);
        stall.is_stuck(100_000);
        let first = stall.deadline().unwrap();
        stall.took(16 * 1024);
        assert!(!stall.is_over(80_000, first));
        assert_eq!(stall.deadline(), Some(first + WITHIN));
        assert!(stall.is_over(80_000, first + WITHIN));
    }

    #[test]
    fn little_output_must_be_taken_too_and_is_progress_when_it_is() {
        let mut stall = Stall::new(WITHIN);
        stall.is_stuck(10);
        let due = stall.deadline().unwrap();
        stall.took(10);
        assert!(!stall.is_over(5, due), "all that waited then was taken");
        assert!(stall.is_over(5, due + WITHIN));
        stall.flows();
        assert_eq!(stall.deadline(), None);
        assert!(!stall.is_over(0, due + WITHIN));
    }
}
