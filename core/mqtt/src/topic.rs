//! Topic names and filters, valid by construction (section 4.7).

use std::sync::Arc;

/// A topic name: 1 to 65,535 bytes, no wildcard, no control character, at most [`MAX_LEVELS`] levels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

/// A topic filter, shared or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Filter {
    share: Option<Arc<str>>,
    filter: Arc<str>,
}

/// Deepest topic or filter, in levels.
pub const MAX_LEVELS: usize = 128;

/// Why a text is no topic or filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// MQTT-4.7.3-1
    #[error("it is empty")]
    Empty,
    /// MQTT-4.7.3-2
    #[error("it contains U+0000")]
    Nul,
    /// 1.5.4
    #[error("it contains a control character or a noncharacter of Unicode")]
    DisallowedCharacter,
    /// MQTT-3.3.2-2
    #[error("a topic name has no wildcards")]
    Wildcard,
    /// MQTT-4.7.1-1, MQTT-4.7.1-2
    #[error("a wildcard must fill its level, and '#' must be the last one")]
    MisplacedWildcard,
    /// MQTT-4.8.2-1, MQTT-4.8.2-2
    #[error("a shared subscription is $share/NAME/FILTER, its name without '/', '+' and '#'")]
    Share,
    /// MQTT-4.7.3-3
    #[error("it has more than 65,535 bytes")]
    TooLong,
    /// Our bound.
    #[error("it has more than {MAX_LEVELS} levels")]
    TooDeep,
}

impl Topic {
    /// Checks and takes a topic name.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        check(text)?;
        if text.contains(['+', '#']) {
            return Err(TopicError::Wildcard);
        }
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its levels.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether it begins with `$`, so that a leading wildcard does not match it (MQTT-4.7.2-1).
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl Filter {
    /// Checks and takes a filter, with its `$share/NAME/` if there is one.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        check(text)?;
        if text == "$share" {
            return Err(TopicError::Share);
        }
        let Some(rest) = text.strip_prefix("$share/") else {
            check_wildcards(text)?;
            return Ok(Self { share: None, filter: text.into() });
        };
        let (share, filter) = rest.split_once('/').ok_or(TopicError::Share)?;
        if share.is_empty() || share.contains(['+', '#']) || filter.is_empty() {
            return Err(TopicError::Share);
        }
        check_wildcards(filter)?;
        Ok(Self { share: Some(share.into()), filter: filter.into() })
    }

    /// The share name; none where the subscription is not shared.
    pub fn share(&self) -> Option<&str> {
        self.share.as_deref()
    }

    /// The filter without `$share/NAME/`.
    pub fn as_str(&self) -> &str {
        &self.filter
    }

    /// Its levels.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.filter.split('/')
    }

    /// Whether a topic matches (section 4.7). Share names play no part.
    pub fn matches(&self, topic: &Topic) -> bool {
        if topic.is_reserved() && self.filter.starts_with(['+', '#']) {
            return false;
        }
        let mut topic = topic.levels();
        for level in self.levels() {
            match (level, topic.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (level, Some(name)) if level == name => {}
                _ => return false,
            }
        }
        topic.next().is_none()
    }
}

fn check(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > usize::from(u16::MAX) {
        return Err(TopicError::TooLong);
    }
    if text.contains('\0') {
        return Err(TopicError::Nul);
    }
    if !is_plain(text) {
        return Err(TopicError::DisallowedCharacter);
    }
    if text.bytes().filter(|&b| b == b'/').count() >= MAX_LEVELS {
        return Err(TopicError::TooDeep);
    }
    Ok(())
}

/// Whether a text is free of what 1.5.4 lets a receiver refuse: the control characters U+0001 to U+001F and U+007F to
/// U+009F, and the noncharacters of Unicode. What names a thing is also shown to people and written to logs.
pub(crate) fn is_plain(text: &str) -> bool {
    let is_noncharacter = |c| matches!(u32::from(c), 0xFDD0..=0xFDEF) || u32::from(c) & 0xFFFE == 0xFFFE;
    text.bytes().all(|b| matches!(b, b' '..=b'~')) || !text.chars().any(|c| c.is_control() || is_noncharacter(c))
}

fn check_wildcards(filter: &str) -> Result<(), TopicError> {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let fills_level = level.len() == 1 || !level.contains(['+', '#']);
        if !fills_level || (level == "#" && levels.peek().is_some()) {
            return Err(TopicError::MisplacedWildcard);
        }
    }
    Ok(())
}
