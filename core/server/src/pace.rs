//! When a responder, or an address with revocation lists, is asked again.

use std::time::Duration;

/// One that gives the same answer again and again, up to its end, is asked no more often than this.
const LEAST: Duration = Duration::from_secs(5);
/// After the first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// More doublings than any pause can have.
const DOUBLINGS_MAX: u32 = 20;

/// The pause after an answer that holds for so many seconds from now. It ends before half of them are over, so that half
/// of the validity is left for those that are out of order.
pub(crate) fn after_answer(refresh: Duration, holds_s: i64) -> Duration {
    let half = Duration::from_secs(u64::try_from(holds_s).unwrap_or_default()) / 2;
    spread(refresh.min(half)).max(LEAST)
}

/// The pause after so many failures in a row.
pub(crate) fn after_failure(refresh: Duration, failures: u32) -> Duration {
    let doubled = FIRST_RETRY * 2_u32.pow(failures.saturating_sub(1).min(DOUBLINGS_MAX));
    spread(doubled.min(refresh.max(FIRST_RETRY)))
}

/// From three quarters to the whole: many that began together do not ask together for ever.
fn spread(pause: Duration) -> Duration {
    let mut random = [u8::MAX];
    // Without randomness, the whole pause is a good one.
    let _ = aws_lc_rs::rand::fill(&mut random);
    pause * 3 / 4 + pause / 4 * u32::from(random[0]) / u32::from(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[track_caller]
    fn within(pause: impl Fn() -> Duration, most: Duration) {
        for _ in 0..100 {
            let pause = pause();
            assert!((most * 3 / 4..=most).contains(&pause), "{pause:?} for {most:?}");
        }
    }

    #[test]
    fn answers_are_renewed_before_half_of_what_is_left_of_them_is_over() {
        within(|| after_answer(5 * MINUTE, 7 * 24 * 3600), 5 * MINUTE);
        within(|| after_answer(5 * MINUTE, 120), MINUTE);
        within(|| after_answer(5 * MINUTE, 60), MINUTE / 2);
        assert_eq!(after_answer(5 * MINUTE, 2), LEAST);
        assert_eq!(after_answer(5 * MINUTE, -1), LEAST);
        within(|| after_answer(5 * MINUTE, i64::MAX), 5 * MINUTE);
    }

    #[test]
    fn failures_are_followed_by_longer_and_longer_pauses() {
        for (failures, seconds) in [(1, 5), (2, 10), (3, 20), (4, 40), (5, 80), (6, 160), (7, 300), (u32::MAX, 300)] {
            within(|| after_failure(5 * MINUTE, failures), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn pauses_are_not_all_the_same() {
        let pauses: std::collections::BTreeSet<_> = (0..50).map(|_| after_failure(MINUTE, 9)).collect();
        assert!(pauses.len() > 5, "{pauses:?}");
    }
}
