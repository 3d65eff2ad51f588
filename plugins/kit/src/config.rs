//! Reading the `config` section: every fault is collected, each with its path and what to write instead.

use std::cell::RefCell;

use serde_json::{Map, Value};

/// A fault in the section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Where: `rules[2].match`; empty for the section itself.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// The faults found so far.
#[derive(Debug, Default)]
pub struct Issues(RefCell<Vec<Issue>>);

impl Issues {
    fn add(&self, path: String, message: impl Into<String>) {
        self.0.borrow_mut().push(Issue { path, message: message.into() });
    }
}

/// Parses the section and reads it with `reader`; any fault found on the way makes the whole an error.
pub fn read<T>(json: &str, known: &[&str], reader: impl FnOnce(&Section<'_>) -> Option<T>) -> Result<T, Vec<Issue>> {
    let value: Value = serde_json::from_str(json)
        .map_err(|error| vec![Issue { path: String::new(), message: format!("not JSON: {error}") }])?;
    let issues = Issues::default();
    let read = Section::open(String::new(), &value, &issues, known).and_then(|section| reader(&section));
    let found = issues.0.into_inner();
    match read {
        Some(read) if found.is_empty() => Ok(read),
        _ if found.is_empty() => {
            Err(vec![Issue { path: String::new(), message: "the section cannot be read".to_owned() }])
        }
        _ => Err(found),
    }
}

/// An object of the section.
#[derive(Debug)]
pub struct Section<'a> {
    path: String,
    fields: &'a Map<String, Value>,
    issues: &'a Issues,
}

impl<'a> Section<'a> {
    fn open(path: String, value: &'a Value, issues: &'a Issues, known: &[&str]) -> Option<Self> {
        let Value::Object(fields) = value else {
            issues.add(path, "must be a section: { key = value }");
            return None;
        };
        let section = Self { path, fields, issues };
        for key in fields.keys().filter(|key| !known.contains(&key.as_str())) {
            section.issue(key, format!("is not a key here; {}", suggestion(key, known)));
        }
        Some(section)
    }

    /// Notes a fault of one key; of the section itself where the key is empty.
    pub fn issue(&self, key: &str, message: impl Into<String>) {
        self.issues.add(self.path_of(key), message);
    }

    /// Whether the key is there; `null` counts as absent.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Whether the key holds a section.
    pub fn is_section(&self, key: &str) -> bool {
        self.value(key).is_some_and(Value::is_object)
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    /// The text of a key, if it is there.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        let value = self.value(key)?;
        let text = value.as_str();
        if text.is_none() {
            self.issue(key, "must be a text");
        }
        text
    }

    /// The text of a key that must be there.
    pub fn required_text(&self, key: &str) -> Option<&'a str> {
        if !self.has(key) {
            self.issue(key, "is missing");
        }
        self.text(key)
    }

    /// The text of a key, parsed; the parser's error becomes the fault.
    pub fn parsed<T, E: Into<String>>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        parse(self.text(key)?).map_err(|message| self.issue(key, message)).ok()
    }

    /// As [`Section::parsed`], for a key that must be there.
    pub fn required<T, E: Into<String>>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        parse(self.required_text(key)?).map_err(|message| self.issue(key, message)).ok()
    }

    /// A switch; `false` where it is absent.
    pub fn flag(&self, key: &str) -> bool {
        match self.value(key) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) if text == "true" => true,
            Some(Value::String(text)) if text == "false" => false,
            Some(_) => {
                self.issue(key, "must be true or false");
                false
            }
        }
    }

    /// One of a few words; `absent` where the key is absent.
    pub fn choice<T: Copy>(&self, key: &str, words: &[(&str, T)], absent: T) -> T {
        self.parsed(key, |text| one_of(text, words)).unwrap_or(absent)
    }

    /// A list of texts; a single text is a list of one.
    pub fn texts(&self, key: &str) -> Vec<&'a str> {
        match self.value(key) {
            None => Vec::new(),
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
                items.iter().filter_map(Value::as_str).collect()
            }
            Some(_) => {
                self.issue(key, "must be a text or a list of texts");
                Vec::new()
            }
        }
    }

    /// A section inside this one, if it is there.
    pub fn section(&self, key: &str, known: &[&str]) -> Option<Section<'a>> {
        let value = self.value(key)?;
        Section::open(self.path_of(key), value, self.issues, known)
    }

    /// The sections of a list of at most `max`; an absent key is an empty list.
    pub fn sections(&self, key: &str, max: usize, known: &[&str]) -> Vec<Section<'a>> {
        match self.value(key) {
            None => Vec::new(),
            Some(Value::Array(items)) if items.len() > max => {
                self.issue(key, format!("has {} entries, at most {max} are allowed", items.len()));
                Vec::new()
            }
            Some(Value::Array(items)) => {
                let path = self.path_of(key);
                let open = |(index, item)| Section::open(format!("{path}[{index}]"), item, self.issues, known);
                items.iter().enumerate().filter_map(open).collect()
            }
            Some(_) => {
                self.issue(key, "must be a list: [ { … }, { … } ]");
                Vec::new()
            }
        }
    }

    fn path_of(&self, key: &str) -> String {
        match (self.path.as_str(), key) {
            ("", key) => key.to_owned(),
            (path, "") => path.to_owned(),
            (path, key) => format!("{path}.{key}"),
        }
    }
}

/// The meaning of one of a few words, or an error that names them.
pub fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("\"{text}\" is not one of {}; {}", known.join(", "), suggestion(text, &known))
    })
}

/// What was probably meant: the nearest word, else all of them.
pub fn suggestion(wrong: &str, known: &[&str]) -> String {
    // Two slips of the finger, or one in three letters for long words; beyond that a guess misleads.
    let near = wrong.chars().count().div_ceil(3).max(2);
    known
        .iter()
        .map(|word| (strsim::osa_distance(wrong, word), word))
        .filter(|(distance, _)| *distance <= near)
        .min_by_key(|(distance, _)| *distance)
        .map_or_else(|| format!("known are {}", known.join(", ")), |(_, word)| format!("did you mean \"{word}\"?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issues(json: &str) -> Vec<(String, String)> {
        let outcome = read(json, &["rules", "unknown"], |section| {
            section.choice("unknown", &[("default", 1), ("refuse", 2)], 1);
            for rule in section.sections("rules", 2, &["match", "source"]) {
                rule.required_text("source");
                rule.text("match");
            }
            Some(())
        });
        outcome.map_or_else(|found| found.into_iter().map(|i| (i.path, i.message)).collect(), |()| Vec::new())
    }

    #[test]
    fn a_right_section_has_no_issue() {
        assert_eq!(issues("{}"), []);
        assert_eq!(issues(r#"{"unknown": "refuse", "rules": [{"source": "x"}], "extra": null}"#).len(), 1);
        assert_eq!(issues(r#"{"unknown": null, "rules": [{"source": "x", "match": "y"}]}"#), []);
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_path_and_the_nearest_key() {
        let found = issues(r#"{"rules": [{"source": "x"}, {"source": "x", "mathc": "y"}]}"#);
        assert_eq!(found, [("rules[1].mathc".to_owned(), "is not a key here; did you mean \"match\"?".to_owned())]);
        let found = issues(r#"{"something": 1}"#);
        assert_eq!(found, [("something".to_owned(), "is not a key here; known are rules, unknown".to_owned())]);
    }

    #[test]
    fn all_faults_are_collected() {
        let found = issues(r#"{"unknown": "refsue", "rules": [{}, {"source": 7}]}"#);
        let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["unknown", "rules[0].source", "rules[1].source"]);
        assert!(found[0].1.ends_with("did you mean \"refuse\"?"), "{}", found[0].1);
    }

    #[test]
    fn lists_are_bounded_and_shapes_are_checked() {
        assert_eq!(issues(r#"{"rules": [{"source":"a"},{"source":"a"},{"source":"a"}]}"#)[0].0, "rules");
        assert_eq!(issues(r#"{"rules": {"source":"a"}}"#)[0].0, "rules");
        assert_eq!(issues(r#"{"rules": ["a"]}"#)[0].0, "rules[0]");
        assert_eq!(issues("[]")[0].0, "");
        assert!(issues("{")[0].1.starts_with("not JSON"));
    }
}
