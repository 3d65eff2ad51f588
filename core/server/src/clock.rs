//! The time of day.

use std::time::{SystemTime, UNIX_EPOCH};

/// As certificates and lists count it: in seconds since the Unix epoch.
pub(crate) fn now_unix_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
