//! Overrides from the environment: `POSTERN_LISTENERS__SSL__DEFAULT__BIND=8884`.

use crate::problem::Problem;
use crate::source::{Place, Sources};
use crate::tree::{Definition, Fields, Raw, RawKind, value_of_text};

/// Every override begins so.
pub(crate) const PREFIX: &str = "POSTERN_";

/// The variable with another word for one part of its path.
pub(crate) fn with_part(variable: &str, index: usize, word: &str) -> String {
    let path = variable.strip_prefix(PREFIX).unwrap_or(variable);
    let word = word.to_ascii_uppercase();
    let parts: Vec<&str> =
        path.split("__").enumerate().map(|(i, part)| if i == index { word.as_str() } else { part }).collect();
    format!("{PREFIX}{}", parts.join("__"))
}

/// Puts the overrides over all that is defined already. Names without `__` are variables for `${…}` and no overrides.
pub(crate) fn apply(env: &[(String, String)], sources: &mut Sources, into: &mut Fields) -> Vec<Problem> {
    let mut warnings = Vec::new();
    let mut overrides: Vec<_> = env
        .iter()
        .filter_map(|(name, value)| name.strip_prefix(PREFIX).map(|rest| (name, rest, value)))
        .filter(|(_, rest, _)| rest.contains("__"))
        .collect();
    // The order of the environment is an accident; an object comes before what is within it.
    overrides.sort();
    for (name, rest, value) in overrides {
        let source = sources.add_variable(name);
        let at = Place { source, line: 1, column: 1 };
        let path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
        if path.iter().any(String::is_empty) || path.len() > crate::source::MAX_KEY_PARTS {
            let text = "the name has an empty part, and is ignored";
            warnings.push(sources.problem(at, "", text, Some("parts of a path are joined by `__`")));
            continue;
        }
        let value = value_of_text(sources, source, value);
        insert(into, at, &path, value);
    }
    warnings
}

fn insert(into: &mut Fields, at: Place, path: &[String], value: Raw) {
    let Some((key, rest)) = path.split_first() else { return };
    let definitions = into.entry(key.clone()).or_default();
    // Later than anything in a file; among themselves they follow one another already.
    let order = u32::MAX;
    if rest.is_empty() {
        definitions.push(Definition { order, key_at: at, value });
        return;
    }
    let mut inner = Fields::new();
    insert(&mut inner, at, rest, value);
    definitions.push(Definition { order, key_at: at, value: Raw { at, kind: RawKind::Object(inner) } });
}
