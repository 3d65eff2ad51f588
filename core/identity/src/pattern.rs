//! Topic patterns of access rules: filters with placeholders, which become filters of one client.
//!
//! A client's value is put in as what it is, a piece of one literal level, and never as text to be read
//! again: it can add neither a level nor a wildcard. Values that could not stand so do not fit.

use std::str::FromStr;

use crate::acl::{Permission, Principal};

/// Longest pattern, in bytes: that of a topic [MQTT-4.7.3-3].
const MAX_BYTES: usize = 65_535;

/// A client's value in a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Placeholder {
    /// `${clientid}`
    ClientId,
    /// `${username}`
    Username,
    /// `${cert_common_name}`
    CertCommonName,
    /// `${namespace}`
    Namespace,
}

impl Placeholder {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::ClientId, Self::Username, Self::CertCommonName, Self::Namespace];

    /// The name between `${` and `}`.
    pub fn word(self) -> &'static str {
        match self {
            Self::ClientId => "clientid",
            Self::Username => "username",
            Self::CertCommonName => "cert_common_name",
            Self::Namespace => "namespace",
        }
    }

    fn value<'p>(self, principal: &Principal<'p>) -> Option<&'p str> {
        match self {
            Self::ClientId => Some(principal.client_id),
            Self::Username => principal.username,
            Self::CertCommonName => principal.cert_common_name,
            Self::Namespace => principal.namespace,
        }
    }
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing there.
    #[error("a topic is missing here")]
    Empty,
    /// Longer than any topic.
    #[error("it has more than {MAX_BYTES} bytes")]
    TooLong,
    /// U+0000
    #[error("it contains U+0000")]
    Nul,
    /// MQTT-4.7.1-1, MQTT-4.7.1-2
    #[error("a wildcard must fill its level, and `#` must be the last one")]
    MisplacedWildcard,
    /// Not one of ours.
    #[error("`${{{0}}}` is no placeholder here")]
    UnknownPlaceholder(String),
    /// `${` without `}`.
    #[error("a `${{` without its `}}`")]
    OpenPlaceholder,
    /// Access is decided by the filter alone.
    #[error("the rule for a shared subscription is the one for its filter: leave out `$share/NAME/`")]
    Shared,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Value(Placeholder),
}

/// A pattern as it is written in a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicTemplate {
    /// `eq FILTER`: the text itself is meant, its wildcards stand for nothing else.
    exact: bool,
    levels: Vec<Vec<Piece>>,
}

/// A pattern of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) exact: bool,
    /// The filter: what is `+` or `#` in it was so in the rule, or stands for a value that did not fit.
    pub(crate) text: Box<str>,
}

/// A proven name that has wildcards in it, where a rule wants it as a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rule takes ${{{}}}, and the client's has a wildcard in it", .0.word())]
pub struct WildcardInName(pub Placeholder);

impl FromStr for TopicTemplate {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (exact, text) = text.strip_prefix("eq ").map_or((false, text), |rest| (true, rest.trim_start()));
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(PatternError::TooLong);
        }
        if text.contains('\0') {
            return Err(PatternError::Nul);
        }
        if text == "$share" || text.starts_with("$share/") {
            return Err(PatternError::Shared);
        }
        let count = text.split('/').count();
        let level = |(index, text)| level(text, index + 1 == count);
        Ok(Self { exact, levels: text.split('/').enumerate().map(level).collect::<Result<_, _>>()? })
    }
}

fn level(text: &str, is_last: bool) -> Result<Vec<Piece>, PatternError> {
    let is_wildcard = text == "+" || (text == "#" && is_last);
    if text.contains(['+', '#']) && !is_wildcard {
        return Err(PatternError::MisplacedWildcard);
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or(PatternError::OpenPlaceholder)?;
        let value = Placeholder::ALL.into_iter().find(|placeholder| placeholder.word() == name);
        if !before.is_empty() {
            pieces.push(Piece::Text(before.into()));
        }
        pieces.push(Piece::Value(value.ok_or_else(|| PatternError::UnknownPlaceholder(name.to_owned()))?));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.into()));
    }
    Ok(pieces)
}

impl TopicTemplate {
    /// The pattern of one client. Where a value does not fit, an allowing pattern is none, and in a denying
    /// one any level stands in its place: what cannot be told apart is denied.
    pub(crate) fn fill(
        &self,
        permission: Permission,
        principal: &Principal<'_>,
    ) -> Result<Option<Pattern>, WildcardInName> {
        let mut text = String::new();
        let mut exact = self.exact;
        for (index, pieces) in self.levels.iter().enumerate() {
            if index > 0 {
                text.push('/');
            }
            let begin = text.len();
            if !fill_level(pieces, index == 0, principal, &mut text)? {
                if permission == Permission::Allow {
                    return Ok(None);
                }
                text.truncate(begin);
                text.push('+');
                exact = false;
            }
        }
        Ok(Some(Pattern { exact, text: text.into() }))
    }
}

/// Whether every value fits.
fn fill_level(
    pieces: &[Piece],
    is_first: bool,
    principal: &Principal<'_>,
    text: &mut String,
) -> Result<bool, WildcardInName> {
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(literal) => text.push_str(literal),
            Piece::Value(placeholder) => match placeholder.value(principal) {
                Some(value) if value.contains(['+', '#']) && *placeholder != Placeholder::ClientId => {
                    return Err(WildcardInName(*placeholder));
                }
                Some(value) if fits(value, is_first && index == 0) => text.push_str(value),
                _ => return Ok(false),
            },
        }
    }
    Ok(true)
}

/// Whether a value is one literal level, and at the begin of a topic none of the broker's own (`$SYS`).
fn fits(value: &str, begins_topic: bool) -> bool {
    let reserved = begins_topic && value.starts_with('$');
    !(reserved || value.is_empty() || value.contains(['/', '+', '#', '\0']))
}

/// Whether all topics that `filter` matches are matched by `pattern` (section 4.7); a topic is a filter that
/// matches itself. May say no where the answer is yes only in roundabout spellings (`+/#` for `#`).
///
/// With `reaches_reserved`, a leading wildcard of the pattern matches a leading `$` as well, which MQTT's own
/// do not [MQTT-4.7.2-1].
pub(crate) fn covers(pattern: &str, filter: &str, reaches_reserved: bool) -> bool {
    if !reaches_reserved && filter.starts_with('$') && pattern.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = filter.split('/');
    for level in pattern.split('/') {
        match (level, levels.next()) {
            // `#` stands for the parent level as well.
            ("#", _) => return true,
            ("+", Some(other)) if other != "#" => {}
            (level, Some(other)) if level == other && level != "+" => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}
