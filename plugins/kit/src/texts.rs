//! Which texts may leave a certificate, and which names are names.

/// Longest text that goes into or comes out of a rule, in bytes; the host's own bound for identities.
pub const MAX_BYTES: usize = 256;

/// Why a text may not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// Nothing there, or nothing but white space.
    Blank,
    /// Over [`MAX_BYTES`].
    TooLong,
    /// A control character, a bidirectional control or a byte order mark.
    Treacherous,
    /// `/`, `+` or `#`: the text would become a level or a wildcard where a topic takes it up.
    Topic,
}

impl Unusable {
    /// In words; never the text itself, which is the client's.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Blank => "is blank",
            Self::TooLong => "is longer than 256 bytes",
            Self::Treacherous => "has a control or bidirectional character",
            Self::Topic => "has one of / + #, which topics give a meaning to",
        }
    }
}

/// Checks a text for use as an identity.
pub fn usable(text: &str, topic_characters: bool) -> Result<(), Unusable> {
    if text.len() > MAX_BYTES {
        return Err(Unusable::TooLong);
    }
    if text.chars().any(is_treacherous) {
        return Err(Unusable::Treacherous);
    }
    if text.chars().all(char::is_whitespace) {
        return Err(Unusable::Blank);
    }
    if !topic_characters && text.contains(['/', '+', '#']) {
        return Err(Unusable::Topic);
    }
    Ok(())
}

fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}')
}

/// Whether a text may name a namespace: a letter or digit, then letters, digits, `-`, `_` and `.`; at most 128 bytes.
pub fn is_namespace(text: &str) -> bool {
    is_word(text, 128, b"-_.")
}

/// Whether a text may name a bundle: a letter or digit, then letters, digits, `-` and `_`; at most 254 bytes.
pub fn is_bundle(text: &str) -> bool {
    is_word(text, 254, b"-_")
}

/// Reads a namespace's name.
pub fn namespace(text: &str) -> Result<String, String> {
    let form = "is not a namespace: a letter or digit, then letters, digits, '-', '_' and '.', at most 128 in all";
    if is_namespace(text) { Ok(text.to_owned()) } else { Err(format!("\"{text}\" {form}")) }
}

/// Reads a bundle's name.
pub fn bundle(text: &str) -> Result<String, String> {
    let form = "is not a bundle's name: a letter or digit, then letters, digits, '-' and '_', at most 254 in all";
    if is_bundle(text) { Ok(text.to_owned()) } else { Err(format!("\"{text}\" {form}")) }
}

/// Reads a SHA-256 digest: 64 hexadecimal digits, with or without colons, in either case.
pub fn sha256(text: &str) -> Result<String, String> {
    let digits: String = text.chars().filter(|&c| c != ':').collect();
    if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(digits.to_ascii_lowercase())
    } else {
        Err("is not a SHA-256 digest: write its 64 hexadecimal digits".to_owned())
    }
}

fn is_word(text: &str, max: usize, marks: &[u8]) -> bool {
    text.len() <= max
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || marks.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g_05_control_and_bidirectional_characters_and_long_texts_are_refused() {
        for text in ["alice\0.evil", "a\nb", "a\u{1b}[31m", "a\u{202e}b", "\u{feff}alice", "a\u{85}b"] {
            assert_eq!(usable(text, true), Err(Unusable::Treacherous), "{text:?}");
        }
        assert_eq!(usable(&"a".repeat(257), true), Err(Unusable::TooLong));
        assert_eq!(usable(&"a".repeat(256), true), Ok(()));
        assert_eq!(usable("Zoë 東京", false), Ok(()));
    }

    #[test]
    fn g_07_blank_texts_are_refused() {
        for text in ["", " ", "\u{3000} "] {
            assert_eq!(usable(text, true), Err(Unusable::Blank), "{text:?}");
        }
    }

    #[test]
    fn e_02_topic_characters_are_refused_unless_allowed() {
        for text in ["+", "#", "a/b"] {
            assert_eq!(usable(text, false), Err(Unusable::Topic));
            assert_eq!(usable(text, true), Ok(()));
        }
    }

    #[test]
    fn names_of_namespaces_and_bundles_have_a_strict_alphabet() {
        assert!(is_namespace("acme.eu-1_a") && is_bundle("a-1_b"));
        for text in ["", ".acme", "-a", "a/b", "../a", "ä", "a b"] {
            assert!(!is_namespace(text) && !is_bundle(text), "{text}");
        }
        assert!(!is_bundle("a.b"));
        assert!(is_namespace(&"a".repeat(128)) && !is_namespace(&"a".repeat(129)));
    }

    #[test]
    fn digests_are_read_in_the_forms_that_tools_print() {
        let plain = "0123456789abcdef".repeat(4);
        let colons: Vec<String> =
            plain.to_uppercase().as_bytes().chunks(2).map(|p| String::from_utf8_lossy(p).into()).collect();
        assert_eq!(sha256(&colons.join(":")), Ok(plain.clone()));
        assert!(sha256(&plain[1..]).is_err());
        assert!(sha256(&plain.replace('0', "g")).is_err());
    }
}
