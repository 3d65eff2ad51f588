//! Values with every substitution replaced, each with its place.

use std::collections::BTreeMap;

use crate::source::Place;

/// The keys of an object.
pub(crate) type Object = BTreeMap<String, Entry>;

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key_at: Place,
    pub(crate) node: Node,
}

/// A value and where it is written.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) at: Place,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Object(Object),
    /// Its substitution failed, and that has been said: nothing more is to be said about it.
    Broken,
}

impl Value {
    /// For messages: what kind of value was found. Never the value, which may be a secret.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Broken => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// The value as JSON. A number that JSON has no form for (`007`) is a text; nothing is rounded to an integer.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Self::Null | Self::Broken => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Number(raw) => json_number(raw).map_or_else(|| Json::String(raw.clone()), Json::Number),
            Self::Text(text) => Json::String(text.clone()),
            Self::List(items) => Json::Array(items.iter().map(|item| item.value.to_json()).collect()),
            Self::Object(fields) => {
                Json::Object(fields.iter().map(|(key, entry)| (key.clone(), entry.node.value.to_json())).collect())
            }
        }
    }
}

fn json_number(raw: &str) -> Option<serde_json::Number> {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    if digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.") {
        return None;
    }
    let whole = digits.bytes().all(|b| b.is_ascii_digit());
    if whole {
        return raw.parse::<u64>().map(Into::into).or_else(|_| raw.parse::<i64>().map(Into::into)).ok();
    }
    raw.parse::<f64>().ok().and_then(serde_json::Number::from_f64)
}

/// `over` on `base`: objects are merged key by key, anything else is replaced.
pub(crate) fn merge(base: Node, over: Node) -> Node {
    match (base.value, over.value) {
        (Value::Object(mut fields), Value::Object(newer)) => {
            for (key, entry) in newer {
                let merged = match fields.remove(&key) {
                    Some(older) => Entry { key_at: entry.key_at, node: merge(older.node, entry.node) },
                    None => entry,
                };
                fields.insert(key, merged);
            }
            Node { at: base.at, value: Value::Object(fields) }
        }
        (_, value) => Node { at: over.at, value },
    }
}
