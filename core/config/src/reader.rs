//! From values to types: takes keys out of objects, and says what is wrong with each.

use std::collections::HashMap;
use std::time::Duration;

use crate::emqx::{Foreign, Same};
use crate::environment;
use crate::problem::{Origin, Problem};
use crate::reference::Chapter;
use crate::source::{Place, Sources};
use crate::units;
use crate::value::{Node, Object, Value};

/// Collects what is found.
pub(crate) struct Reader<'a> {
    sources: &'a Sources,
    pub(crate) env: &'a HashMap<&'a str, &'a str>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

/// One key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Item<'n> {
    pub(crate) path: String,
    pub(crate) key_at: Place,
    pub(crate) node: &'n Node,
}

/// An object being read. Keys that nobody took are unknown.
pub(crate) struct Section<'n> {
    pub(crate) path: String,
    pub(crate) at: Place,
    fields: &'n Object,
    known: Vec<&'static str>,
    described: Option<&'static Chapter>,
}

impl<'n> Section<'n> {
    pub(crate) fn root(at: Place, fields: &'n Object) -> Self {
        Self { path: String::new(), at, fields, known: Vec::new(), described: None }
    }

    /// The keys that may be taken from here are those of the chapter: that one without an entry is read, no test passes.
    pub(crate) fn described(mut self, chapter: &'static Chapter) -> Self {
        self.described = Some(chapter);
        self
    }

    /// The value of a key; none where it is absent or null.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Item<'n>> {
        debug_assert!(
            self.described.is_none_or(|chapter| chapter.keys.iter().any(|entry| entry.name == key)),
            "`{key}` has no entry in reference.rs"
        );
        self.known.push(key);
        self.get(key)
    }

    fn get(&self, key: &str) -> Option<Item<'n>> {
        let entry = self.fields.get(key)?;
        let present = !matches!(entry.node.value, Value::Null);
        present.then(|| Item { path: self.inner(key), key_at: entry.key_at, node: &entry.node })
    }

    /// Whether a key here that nobody took looks like one of these: that it is unknown says enough, and that the right
    /// one is missing need not be said as well.
    pub(crate) fn misspelt(&self, words: &[&'static str]) -> bool {
        let unknown = |key: &&String| !self.known.contains(&key.as_str());
        self.fields.keys().filter(unknown).any(|key| nearest(key, words.iter().copied()).is_some())
    }

    /// All keys, for objects whose keys are names.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'n str, Item<'n>)> + use<'n, '_> {
        self.fields.keys().filter_map(|key| self.get(key).map(|item| (key.as_str(), item)))
    }

    /// The path of a key in here.
    pub(crate) fn inner(&self, key: &str) -> String {
        let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
        let key = if plain { key.to_owned() } else { format!("\"{}\"", key.escape_debug()) };
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(sources: &'a Sources, env: &'a HashMap<&'a str, &'a str>) -> Self {
        Self { sources, env, problems: Vec::new(), warnings: Vec::new() }
    }

    pub(crate) fn origin(&self, place: Place) -> Origin {
        self.sources.origin(place)
    }

    pub(crate) fn problem(&mut self, at: Place, path: &str, text: impl Into<String>, hint: Option<&str>) {
        self.problems.push(self.sources.problem(at, path, text, hint));
    }

    pub(crate) fn warn(&mut self, at: Place, path: &str, text: impl Into<String>, hint: Option<&str>) {
        self.warnings.push(self.sources.problem(at, path, text, hint));
    }

    /// The value of an item is wrong.
    pub(crate) fn wrong(&mut self, item: &Item<'_>, text: impl Into<String>, hint: Option<&str>) {
        self.problem(item.node.at, &item.path, text, hint);
    }

    fn not_a(&mut self, item: &Item<'_>, wanted: &str) {
        if !matches!(item.node.value, Value::Broken) {
            self.wrong(item, format!("must be {wanted}, not {}", item.node.value.kind()), None);
        }
    }

    pub(crate) fn section<'n>(&mut self, item: &Item<'n>) -> Option<Section<'n>> {
        if let Value::Object(fields) = &item.node.value {
            return Some(Section {
                path: item.path.clone(),
                at: item.key_at,
                fields,
                known: Vec::new(),
                described: None,
            });
        }
        self.not_a(item, "an object, `{ … }`");
        None
    }

    pub(crate) fn list<'n>(&mut self, item: &Item<'n>) -> Option<Vec<Item<'n>>> {
        if let Value::List(items) = &item.node.value {
            let of = |(i, node): (usize, &'n Node)| Item { path: format!("{}[{i}]", item.path), key_at: node.at, node };
            return Some(items.iter().enumerate().map(of).collect());
        }
        self.not_a(item, "a list, `[ … ]`");
        None
    }

    pub(crate) fn boolean(&mut self, item: &Item<'_>) -> Option<bool> {
        match &item.node.value {
            Value::Bool(value) => return Some(*value),
            Value::Text(text) if text == "true" => return Some(true),
            Value::Text(text) if text == "false" => return Some(false),
            _ => self.not_a(item, "true or false"),
        }
        None
    }

    /// Text as written; a number or a truth value is the text it was written as.
    pub(crate) fn text(&mut self, item: &Item<'_>) -> Option<String> {
        match &item.node.value {
            Value::Text(text) | Value::Number(text) => return Some(text.clone()),
            Value::Bool(value) => return Some(value.to_string()),
            _ => self.not_a(item, "a text"),
        }
        None
    }

    /// A whole number in a range. One that is too large is an error, never another number.
    pub(crate) fn integer(&mut self, item: &Item<'_>, min: u64, max: u64) -> Option<u64> {
        let (Value::Number(raw) | Value::Text(raw)) = &item.node.value else {
            self.not_a(item, &format!("a whole number from {min} to {max}"));
            return None;
        };
        let number = raw.trim().parse().ok().filter(|number| (min..=max).contains(number));
        if number.is_none() {
            let text = format!("{} is not a whole number from {min} to {max}", shown(raw));
            self.wrong(item, text, None);
        }
        number
    }

    pub(crate) fn duration(&mut self, item: &Item<'_>, min: Duration, max: Duration) -> Option<Duration> {
        const HINT: &str = "write it as `15s`, `500ms` or `1h30m`";
        let (Value::Number(raw) | Value::Text(raw)) = &item.node.value else {
            self.not_a(item, "a duration");
            return None;
        };
        let Some(duration) = units::duration(raw) else {
            self.wrong(item, format!("{} is not a duration", shown(raw)), Some(HINT));
            return None;
        };
        if !(min..=max).contains(&duration) {
            let text = format!("{} is not from {} to {}", shown(raw), ms(min), ms(max));
            self.wrong(item, text, None);
            return None;
        }
        Some(duration)
    }

    /// A number of bytes.
    pub(crate) fn size(&mut self, item: &Item<'_>, min: u64, max: u64) -> Option<u64> {
        let (Value::Number(raw) | Value::Text(raw)) = &item.node.value else {
            self.not_a(item, "a size");
            return None;
        };
        let Some(size) = units::size(raw) else {
            self.wrong(item, format!("{} is not a size", shown(raw)), Some("write it as `512KB`, `16MB` or bytes"));
            return None;
        };
        if !(min..=max).contains(&size) {
            self.wrong(item, format!("{} is not from {min} to {max} bytes", shown(raw)), None);
            return None;
        }
        Some(size)
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&mut self, item: &Item<'_>, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(item)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let all: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let hint = nearest(&text, words.iter().map(|(word, _)| *word)).map(|word| format!("did you mean `{word}`?"));
        self.wrong(item, format!("{} is not one of {}", shown(&text), all.join(", ")), hint.as_deref());
        None
    }

    /// Says what nobody took. `foreign` are the keys of EMQX that mean nothing here, or nothing yet.
    pub(crate) fn finish(&mut self, section: &Section<'_>, foreign: &[Foreign]) {
        for (key, entry) in section.fields {
            if section.known.contains(&key.as_str()) {
                continue;
            }
            let path = section.inner(key);
            let item = Item { path, key_at: entry.key_at, node: &entry.node };
            match foreign.iter().find(|foreign| foreign.key == key) {
                Some(foreign) => self.foreign(&item, foreign),
                None => self.unknown(section, key, &item, foreign),
            }
        }
    }

    fn unknown(&mut self, section: &Section<'_>, key: &str, item: &Item<'_>, foreign: &[Foreign]) {
        let all = section.known.iter().copied().chain(foreign.iter().map(|foreign| foreign.key));
        // A key of ours is the better guess; EMQX's others come second.
        let near = nearest(key, section.known.iter().copied()).or_else(|| nearest(key, all));
        let depth = section.path.split('.').filter(|part| !part.is_empty()).count();
        self.unknown_word(item, depth, near, "unknown key", None);
    }

    /// A key that does not exist: a problem where it stands in a file, a warning where a variable's name has it, as
    /// the environment is not the configuration's alone. `depth` is the key's place in its path.
    pub(crate) fn unknown_word(
        &mut self,
        item: &Item<'_>,
        depth: usize,
        near: Option<&str>,
        text: &str,
        hint: Option<&str>,
    ) {
        let Some(variable) = self.sources.variable(item.key_at) else {
            let near = near.map(|near| format!("did you mean `{near}`?"));
            self.problem(item.key_at, &item.path, text, near.as_deref().or(hint));
            return;
        };
        let hint = near.map(|near| format!("did you mean `{}`?", environment::with_part(variable, depth, near)));
        self.warn(item.key_at, &item.path, "there is no such key; the variable is ignored", hint.as_deref());
    }

    fn foreign(&mut self, item: &Item<'_>, foreign: &Foreign) {
        const NOT_YET: &str = "known in EMQX, not supported yet by this version of Postern";
        match foreign.same {
            Same::When(values) if values.contains(&compact(&item.node.value).as_str()) => {}
            Same::Never | Same::When(_) if foreign.instead.is_some() => {
                let (why, hint) = foreign.instead.unzip();
                self.problem(item.key_at, &item.path, why.unwrap_or(NOT_YET), hint);
            }
            Same::Never => self.problem(item.key_at, &item.path, NOT_YET, Some("remove it")),
            Same::Any(why) => self.warn(item.key_at, &item.path, format!("accepted, but without effect: {why}"), None),
            Same::When(values) => {
                let hint = format!("remove it; only `{}` is what Postern does anyway", values[0]);
                self.problem(item.key_at, &item.path, NOT_YET, Some(&hint));
            }
        }
    }
}

/// A short piece of a value that is no secret, for messages.
pub(crate) fn shown(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    let mut out: String = text.chars().take(MAX_CHARS).collect::<String>().escape_debug().to_string();
    if text.chars().count() > MAX_CHARS {
        out.push('…');
    }
    format!("`{out}`")
}

fn ms(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_millis()) {
        (0, ms) => format!("{ms}ms"),
        (s, _) => format!("{s}s"),
    }
}

/// A value as one would write it, for comparison with what EMQX's keys may say.
fn compact(value: &Value) -> String {
    match value {
        Value::Null | Value::Broken => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(raw) => raw.clone(),
        Value::Text(text) => text.to_ascii_lowercase(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| compact(&item.value)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(_) => "{…}".to_owned(),
    }
}

/// The word that was meant, if one is near enough.
pub(crate) fn nearest<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    // Below this likeness a guess confuses more than it helps.
    const LIKENESS: f64 = 0.6;
    const MAX_BYTES: usize = 64;
    if text.len() > MAX_BYTES {
        return None;
    }
    let text = text.to_ascii_lowercase();
    words
        .map(|word| (strsim::normalized_damerau_levenshtein(&text, &word.to_ascii_lowercase()), word))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word)
}
