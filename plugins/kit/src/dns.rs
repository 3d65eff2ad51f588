//! DNS names as the gate compares them: A-labels, lower case, no trailing dot.

use std::borrow::Cow;

/// Longest name without the trailing dot (RFC 1035 section 2.3.4).
const MAX_NAME_BYTES: usize = 253;
/// Longest label (RFC 1035 section 2.3.4).
const MAX_LABEL_BYTES: usize = 63;

/// The name as it is compared; none where the text is no DNS name. An IP address is none (RFC 6066 section 3),
/// and neither is a wildcard: a client that sends `*.example.org` asks for nothing.
pub fn folded(text: &str) -> Option<Cow<'_, str>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() || text.len() > MAX_NAME_BYTES || !text.split('.').all(is_label) {
        return None;
    }
    let last = text.rsplit('.').next().unwrap_or(text);
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(Cow::Owned(text.to_ascii_lowercase()));
    }
    Some(Cow::Borrowed(text))
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// The one wildcard that covers a folded name: `*.` and the parent (RFC 6125 section 6.4.3: one label, the leftmost).
pub fn covering_wildcard(name: &str) -> Option<String> {
    let (_, parent) = name.split_once('.')?;
    Some(format!("*.{parent}"))
}

/// A name as an operator writes it: exact, or with `*` as its first label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// This name alone.
    Exact(String),
    /// Every name of exactly one label before this parent; never the parent itself.
    OneLevel(String),
}

impl Pattern {
    /// Reads a pattern; case and one trailing dot do not matter.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "is not a DNS name: write mqtt.example.org or *.example.org, international names as xn--…";
        let (parent, wildcard) = text.strip_prefix("*.").map_or((text, false), |parent| (parent, true));
        let name = folded(parent).ok_or_else(|| format!("\"{text}\" {FORM}"))?.into_owned();
        Ok(if wildcard { Self::OneLevel(name) } else { Self::Exact(name) })
    }

    /// Whether it covers a folded name.
    pub fn covers(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::OneLevel(parent) => name.split_once('.').is_some_and(|(_, rest)| rest == parent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f_08_case_and_one_trailing_dot_do_not_matter() {
        assert_eq!(folded("HOST.Example.COM").as_deref(), Some("host.example.com"));
        assert_eq!(folded("host.example.com.").as_deref(), Some("host.example.com"));
        assert_eq!(folded("host.example.com..").as_deref(), None);
        assert_eq!(folded("host_1.example.com").as_deref(), Some("host_1.example.com"));
        assert_eq!(folded(" host"), None);
        assert_eq!(folded(&format!("{}.example", "a".repeat(63))).map(|n| n.len()), Some(71));
        assert_eq!(folded(&format!("{}.example", "a".repeat(64))), None);
        assert_eq!(folded(&"a.".repeat(127)).map(|n| n.len()), Some(253));
        assert_eq!(folded(&format!("{}aa", "a.".repeat(126))), None);
        assert_eq!(folded(""), None);
    }

    #[test]
    fn f_09_an_address_is_no_name() {
        for text in ["192.0.2.1", "127.0.0.1.", "[::1]", "::1", "1"] {
            assert_eq!(folded(text), None, "{text}");
        }
        assert!(folded("1.example").is_some());
    }

    #[test]
    fn f_11_a_wildcard_covers_exactly_one_label() {
        let pattern = Pattern::parse("*.T.example.").unwrap();
        assert!(pattern.covers("a.t.example"));
        for name in ["a.b.t.example", "t.example", "xt.example", "t.example.org", "example"] {
            assert!(!pattern.covers(name), "{name}");
        }
        for name in ["*.t.example", ".t.example"] {
            assert_eq!(folded(name), None, "{name}");
        }
        assert_eq!(covering_wildcard("a.t.example").as_deref(), Some("*.t.example"));
        assert_eq!(covering_wildcard("localhost"), None);
    }

    #[test]
    fn patterns_other_than_one_leading_wildcard_are_refused() {
        for text in ["", "*", "*.", "a.*.example", "*.*.example", "a*.example", "host ", "192.0.2.1", "*.192.0.2.1"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        assert_eq!(Pattern::parse("MQTT.example.org").unwrap(), Pattern::Exact("mqtt.example.org".to_owned()));
    }
}
