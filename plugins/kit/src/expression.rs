//! Regular expressions that match a whole text in linear time, and templates over their groups.

use regex_lite::{Captures, Regex, RegexBuilder};

use crate::texts::MAX_BYTES;

/// Largest compiled expression, in bytes. Matching takes time in proportion to this times [`MAX_BYTES`].
const MAX_PROGRAM_BYTES: usize = 64 * 1024;

/// An expression that must match the whole text. No look-around and no back-references: none is linear.
#[derive(Debug, Clone)]
pub struct Expression(Regex);

impl Expression {
    /// Compiles it.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Alone first: `a)|(b` would otherwise climb out of the group that anchors it.
        compiled(text)?;
        compiled(&format!(r"\A(?:{text})\z")).map(Self)
    }

    /// The groups, if the whole text matches. Texts over [`MAX_BYTES`] match nothing.
    pub fn groups<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        if text.len() > MAX_BYTES {
            return None;
        }
        self.0.captures(text)
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        text.len() <= MAX_BYTES && self.0.is_match(text)
    }

    fn has_group(&self, group: &Group) -> bool {
        match group {
            Group::Number(number) => *number < self.0.captures_len(),
            Group::Name(name) => self.0.capture_names().flatten().any(|known| known == name),
        }
    }
}

fn compiled(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(MAX_PROGRAM_BYTES).build().map_err(|error| {
        format!("is not a regular expression that matches in linear time (no look-around, no back-references): {error}")
    })
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Group {
    Number(usize),
    Name(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(Group),
}

/// A text with groups in it: `device-${1}`, `${site}`; `$$` is a dollar sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

impl Template {
    /// The whole match.
    pub fn whole() -> Self {
        Self(vec![Part::Group(Group::Number(0))])
    }

    /// Reads a template; without an expression there is only `${0}`, the whole value.
    pub fn parse(text: &str, expression: Option<&Expression>) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            if let Some(after) = after.strip_prefix('$') {
                parts.push(Part::Text("$".to_owned()));
                rest = after;
                continue;
            }
            let (name, after) = after
                .strip_prefix('{')
                .and_then(|inner| inner.split_once('}'))
                .ok_or("has a '$' that begins neither ${group} nor $$")?;
            parts.push(Part::Group(known_group(name, expression)?));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if parts.is_empty() { Err("is empty".to_owned()) } else { Ok(Self(parts)) }
    }

    /// Fills the groups in. None where a group took no part in the match: the text would lack a piece.
    pub fn fill(&self, value: &str, groups: Option<&Captures<'_>>) -> Option<String> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Group(group) => filled.push_str(match (group, groups) {
                    (Group::Number(0), None) => value,
                    (Group::Number(number), Some(groups)) => groups.get(*number)?.as_str(),
                    (Group::Name(name), Some(groups)) => groups.name(name)?.as_str(),
                    (_, None) => return None,
                }),
            }
        }
        Some(filled)
    }
}

fn known_group(name: &str, expression: Option<&Expression>) -> Result<Group, String> {
    let group = name.parse().map_or_else(|_| Group::Name(name.to_owned()), Group::Number);
    let known = match expression {
        Some(expression) => expression.has_group(&group),
        None => group == Group::Number(0),
    };
    if known { Ok(group) } else { Err(format!("names the group ${{{name}}}, which `match` does not have")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_the_whole_text_and_cannot_climb_out() {
        let expression = Expression::parse("a|ab").unwrap();
        assert!(expression.matches("ab") && expression.matches("a"));
        assert!(!expression.matches("xab") && !expression.matches("ab\n") && !expression.matches("abx"));
        assert!(Expression::parse("a)|(?:b").is_err());
        assert!(!Expression::parse("(?m)^a$").unwrap().matches("a\nb"));
    }

    #[test]
    fn g_14_what_backtracks_elsewhere_is_linear_here_and_look_around_is_refused() {
        let expression = Expression::parse("(a+)+$").unwrap();
        let started = std::time::Instant::now();
        assert!(!expression.matches(&format!("{}b", "a".repeat(255))));
        assert!(!expression.matches(&"a".repeat(10_000)));
        // A backtracking engine needs 2^255 steps; a linear one some thousands.
        assert!(started.elapsed() < std::time::Duration::from_secs(2));
        assert!(expression.matches(&"a".repeat(256)));
        for text in ["(?<=a)b", "(?=a)", "(?!a)", r"(a)\1", "("] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
        assert!(Expression::parse("(?:a{1000}){1000}").is_err());
    }

    #[test]
    fn a_template_takes_groups_by_number_and_name() {
        let expression = Expression::parse("(?P<site>[a-z]+)-([0-9]+)").unwrap();
        let template = Template::parse("$$${2}@${site}", Some(&expression)).unwrap();
        let groups = expression.groups("ulm-17").unwrap();
        assert_eq!(template.fill("ulm-17", Some(&groups)).as_deref(), Some("$17@ulm"));
        assert_eq!(Template::whole().fill("ulm", None).as_deref(), Some("ulm"));
    }

    #[test]
    fn a_template_names_only_groups_that_there_are() {
        let expression = Expression::parse("(a)?b").unwrap();
        assert!(Template::parse("${2}", Some(&expression)).is_err());
        assert!(Template::parse("${site}", Some(&expression)).is_err());
        assert!(Template::parse("${1}", None).is_err());
        assert!(Template::parse("$1", Some(&expression)).is_err());
        assert!(Template::parse("", Some(&expression)).is_err());
        let template = Template::parse("x${1}", Some(&expression)).unwrap();
        assert_eq!(template.fill("b", expression.groups("b").as_ref()), None);
    }
}
