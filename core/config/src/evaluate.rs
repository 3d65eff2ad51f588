//! Definitions to values: later ones over earlier ones, substitutions replaced.
//!
//! A substitution is looked up in the whole tree, so that what is defined later holds; one that leads back to the
//! definition it stands in sees the definitions before it (HOCON, "Self-referential substitutions"). Work and depth
//! are bounded: a few lines can ask for more than any memory holds.

use std::collections::HashMap;

use crate::problem::Problem;
use crate::source::{Place, Sources};
use crate::tree::{Definition, Fields, Part, Raw, RawKind, Reference};
use crate::value::{Entry, Node, Object, Value, merge};

/// Steps of work, a text counted by its length: a full text of 1 MiB without substitutions needs less than half.
pub(crate) const BUDGET: usize = 2_000_000;
/// Values within values and substitutions within substitutions, together.
pub(crate) const MAX_DEPTH: usize = 200;
const TOO_DEEP: &str = "values or substitutions stand in one another too deep";

/// Where references stop for want of budget, the rest is left out: one problem says so.
pub(crate) struct Evaluator<'a> {
    root: &'a Fields,
    sources: &'a Sources,
    env: &'a HashMap<&'a str, &'a str>,
    pub(crate) problems: Vec<Problem>,
    /// The definitions being evaluated: path and order.
    active: Vec<(Vec<String>, u32)>,
    left: usize,
    depth: usize,
    exhausted: bool,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(root: &'a Fields, sources: &'a Sources, env: &'a HashMap<&'a str, &'a str>) -> Self {
        let (problems, active) = (Vec::new(), Vec::new());
        Self { root, sources, env, problems, active, left: BUDGET, depth: 0, exhausted: false }
    }

    pub(crate) fn run(&mut self) -> Object {
        self.object(self.root, &mut Vec::new())
    }

    /// Whether work ended early, and what `run` gave is not the whole.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    fn object(&mut self, fields: &Fields, path: &mut Vec<String>) -> Object {
        let mut out = Object::new();
        for (key, definitions) in fields {
            path.push(key.clone());
            if let Some(entry) = self.field(definitions, path) {
                out.insert(key.clone(), entry);
            }
            path.pop();
        }
        out
    }

    /// The value of `path`, by those of its definitions that come before one being evaluated.
    fn field(&mut self, definitions: &[Definition], path: &mut Vec<String>) -> Option<Entry> {
        let before = self.active.iter().filter(|(active, _)| active == path).map(|(_, order)| *order).min();
        let mut found: Option<Entry> = None;
        for definition in definitions.iter().rev().filter(|d| before.is_none_or(|order| d.order < order)) {
            self.active.push((path.clone(), definition.order));
            let value = self.value(&definition.value, path);
            self.active.pop();
            let Some(value) = value else { continue };
            let is_object = matches!(value.value, Value::Object(_));
            found = match found {
                None => Some(Entry { key_at: definition.key_at, node: value }),
                Some(over) if is_object => Some(Entry { key_at: over.key_at, node: merge(value, over.node) }),
                found => found,
            };
            if !is_object {
                break;
            }
        }
        found
    }

    fn value(&mut self, raw: &Raw, path: &mut Vec<String>) -> Option<Node> {
        if !self.spend(raw.at, 1) {
            return None;
        }
        if self.depth == MAX_DEPTH {
            self.exhaust(raw.at, TOO_DEEP);
            return None;
        }
        self.depth += 1;
        let value = self.value_within(raw, path);
        self.depth -= 1;
        value
    }

    fn value_within(&mut self, raw: &Raw, path: &mut Vec<String>) -> Option<Node> {
        let value = match &raw.kind {
            RawKind::Null => Value::Null,
            RawKind::Bool(value) => Value::Bool(*value),
            RawKind::Number(text) => {
                self.spend(raw.at, text.len() / 16);
                Value::Number(text.clone())
            }
            RawKind::Text(text) => {
                self.spend(raw.at, text.len() / 16);
                Value::Text(text.clone())
            }
            RawKind::List(items) => Value::List(items.iter().filter_map(|item| self.value(item, path)).collect()),
            RawKind::Object(fields) => Value::Object(self.object(fields, path)),
            RawKind::Joined(parts) => return self.joined(raw.at, parts, path),
            RawKind::Reference(reference) => return self.reference(raw.at, reference, path),
        };
        Some(Node { at: raw.at, value })
    }

    fn reference(&mut self, at: Place, reference: &Reference, path: &[String]) -> Option<Node> {
        let candidates = reference.under_include.iter().chain(std::iter::once(&reference.path));
        for candidate in candidates {
            if let Some(node) = self.look_up(at, candidate) {
                return Some(node);
            }
        }
        let name = reference.path.join(".");
        if let Some(text) = self.env.get(name.as_str()) {
            self.spend(at, text.len() / 16);
            return Some(Node { at, value: Value::Text((*text).to_owned()) });
        }
        if !reference.optional && !self.exhausted {
            let text = if self.active.iter().any(|(active, _)| *active == reference.path) {
                format!("`${{{name}}}` leads back to itself")
            } else {
                format!("`${{{name}}}` is defined neither in the configuration nor in the environment")
            };
            let hint = format!(
                "write `${{?{name}}}` if it may be absent, or \"${{{name}}}\" in quotes if it is a placeholder"
            );
            self.problems.push(self.sources.problem(at, &path.join("."), text, Some(&hint)));
            return Some(Node { at, value: Value::Broken });
        }
        None
    }

    fn look_up(&mut self, at: Place, path: &[String]) -> Option<Node> {
        if !self.spend(at, path.len()) {
            return None;
        }
        self.find(self.root, &mut Vec::new(), path)
    }

    /// `rest` within `fields`, which are those of `done`. Objects are walked through, not evaluated, so that a field
    /// may refer to its neighbour.
    fn find(&mut self, fields: &Fields, done: &mut Vec<String>, rest: &[String]) -> Option<Node> {
        let (key, rest) = rest.split_first()?;
        let definitions = fields.get(key)?;
        if self.depth == MAX_DEPTH {
            self.exhaust(definitions.first()?.key_at, TOO_DEEP);
            return None;
        }
        self.depth += 1;
        done.push(key.clone());
        let found = if rest.is_empty() {
            self.field(definitions, done).map(|entry| entry.node)
        } else {
            self.find_through(definitions, done, rest)
        };
        done.pop();
        self.depth -= 1;
        found
    }

    fn find_through(&mut self, definitions: &[Definition], done: &mut Vec<String>, rest: &[String]) -> Option<Node> {
        let mut found: Option<Node> = None;
        for definition in definitions.iter().rev() {
            let value = match &definition.value.kind {
                RawKind::Object(fields) => self.find(fields, done, rest),
                RawKind::Joined(_) | RawKind::Reference(_) => {
                    if self.active.iter().any(|(path, order)| path == done && *order == definition.order) {
                        continue;
                    }
                    self.active.push((done.clone(), definition.order));
                    let value = self.value(&definition.value, done);
                    self.active.pop();
                    match value {
                        None => continue,
                        Some(Node { value: Value::Object(fields), .. }) => within(fields, rest),
                        Some(_) => break,
                    }
                }
                _ => break,
            };
            let Some(value) = value else { continue };
            let is_object = matches!(value.value, Value::Object(_));
            found = match found {
                None => Some(value),
                Some(over) if is_object => Some(merge(value, over)),
                found => found,
            };
            if !is_object {
                break;
            }
        }
        found
    }

    /// Values side by side: objects are merged, lists follow one another, all else is text.
    fn joined(&mut self, at: Place, parts: &[Part], path: &mut Vec<String>) -> Option<Node> {
        let mut values = Vec::new();
        let mut text = String::new();
        for part in parts {
            match part {
                Part::Space(space) => text.push_str(space),
                Part::Value(raw) => {
                    let Some(node) = self.value(raw, path) else { continue };
                    append_text(&mut text, &node.value);
                    values.push(node);
                }
            }
        }
        if values.iter().any(|node| matches!(node.value, Value::Broken)) {
            return Some(Node { at, value: Value::Broken });
        }
        let structured = |node: &Node| matches!(node.value, Value::List(_) | Value::Object(_));
        if !values.iter().any(structured) {
            if values.is_empty() || !self.spend(at, text.len() / 16) {
                return None;
            }
            let only = if parts.len() == 1 { values.pop() } else { None };
            return Some(only.unwrap_or(Node { at, value: Value::Text(text) }));
        }
        let mut values = values.into_iter();
        let first = values.next()?;
        values.try_fold(first, |left, right| match (left.value, right.value) {
            (Value::List(mut items), Value::List(more)) => {
                items.extend(more);
                Some(Node { at: left.at, value: Value::List(items) })
            }
            (left_value @ Value::Object(_), right_value @ Value::Object(_)) => {
                let left = Node { at: left.at, value: left_value };
                Some(merge(left, Node { at: right.at, value: right_value }))
            }
            (left, value) => {
                let text = format!("{} and {} cannot be joined", left.kind(), value.kind());
                self.problems.push(self.sources.problem(right.at, &path.join("."), text, None));
                Some(Node { at, value: Value::Broken })
            }
        })
    }

    fn spend(&mut self, at: Place, steps: usize) -> bool {
        if self.left < steps {
            self.exhaust(at, "the substitutions grow beyond all bounds");
        }
        self.left = self.left.saturating_sub(steps);
        !self.exhausted
    }

    fn exhaust(&mut self, at: Place, text: &str) {
        if !self.exhausted {
            self.exhausted = true;
            self.left = 0;
            self.problems.push(self.sources.problem(at, "", text, Some("write the values out")));
        }
    }
}

fn append_text(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(raw) | Value::Text(raw) => text.push_str(raw),
        Value::List(_) | Value::Object(_) | Value::Broken => {}
    }
}

fn within(mut fields: Object, path: &[String]) -> Option<Node> {
    let (key, rest) = path.split_first()?;
    let entry = fields.remove(key)?;
    if rest.is_empty() {
        return Some(entry.node);
    }
    match entry.node.value {
        Value::Object(inner) => within(inner, rest),
        _ => None,
    }
}
