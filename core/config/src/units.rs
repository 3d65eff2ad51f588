//! Durations and sizes as EMQX writes them.

use std::time::Duration;

/// `infinity`, `15s`, `1h30m`, `50ms`, `1d`, `2w`; a number alone is milliseconds, as in EMQX.
///
/// Only whole numbers; each unit at most once and from the largest to the smallest. None where it is not one.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 6] =
        [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let text = text.trim().to_ascii_lowercase();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_millis);
    }
    let mut rest = text.as_str();
    let mut total: u64 = 0;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let (number, after) = digits(rest)?;
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (word, after) = after.split_at(end);
        // The iterator goes on from the unit found before: larger ones are behind it.
        let (_, factor) = units.find(|(unit, _)| *unit == word)?;
        total = total.checked_add(number.checked_mul(*factor)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

/// `1MB`, `512KB`, `2GB`, `100B`, or a number of bytes; units are powers of 1024, as in EMQX.
pub(crate) fn size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (number, unit) = digits(&text)?;
    let shift = match unit.trim_start() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

fn digits(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_emqx_writes_them() {
        for (text, ms) in [
            ("50ms", 50),
            ("15s", 15_000),
            ("1h30m", 5_400_000),
            ("1m30s500ms", 90_500),
            ("2H", 7_200_000),
            ("1d", 86_400_000),
            ("2w", 1_209_600_000),
            ("0", 0),
            ("1500", 1500),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "s",
            "-1s",
            "1.5s",
            "15 s x",
            "30m1h",
            "1h1h",
            "1y",
            "1h30",
            "99999999999999999999s",
            "20000000000000w",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in
            [("16KB", 16 << 10), ("1MB", 1 << 20), ("1 mb", 1 << 20), ("2GB", 2 << 30), ("100", 100), ("7B", 7)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "MB", "-1MB", "1.5MB", "1TB", "18446744073709551615KB", "1MB2"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
