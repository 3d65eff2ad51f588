//! `authorization`: who may do what.

use std::str::FromStr;

use postern_identity::acl::{AccessRules, Action, DenyAction, Permission, Rule, TopicSet, Who};
use postern_identity::names::NamespaceName;
use postern_identity::pattern::{PatternError, TopicTemplate};

use crate::emqx;
use crate::reader::{Item, Reader, Section, shown};
use crate::value::Value;

/// Most rules: a message may be held against all of them, for each of its subscribers.
const MAX_RULES: usize = 1000;
/// Most topics, names or addresses of one rule, for the same reason.
const MAX_ENTRIES: usize = 1000;

const PERMISSIONS: [(&str, Permission); 2] = [("allow", Permission::Allow), ("deny", Permission::Deny)];
const DENY_ACTIONS: [(&str, DenyAction); 2] = [("ignore", DenyAction::Ignore), ("disconnect", DenyAction::Disconnect)];
const ACTIONS: [(&str, Action); 3] =
    [("publish", Action::Publish), ("subscribe", Action::Subscribe), ("all", Action::All)];

/// Where no rule fits: EMQX allows, which holds here only where no rules are written. Who writes some lists what may
/// be done, and what was forgotten is better missed by its user than found by somebody else.
pub(super) fn rules(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<AccessRules> {
    let mut section = reader.section(item)?;
    let no_match = section.take("no_match").and_then(|item| reader.word(&item, &PERMISSIONS));
    let deny_action = section.take("deny_action").and_then(|item| reader.word(&item, &DENY_ACTIONS));
    let list = section.take("rules");
    reader.finish(&section, emqx::AUTHORIZATION);
    let default = if list.is_some() { Permission::Deny } else { Permission::Allow };
    let rules = list.map_or(Some(Vec::new()), |item| list_of_rules(reader, &item))?;
    Some(AccessRules { rules, no_match: no_match.unwrap_or(default), deny_action: deny_action.unwrap_or_default() })
}

fn list_of_rules(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Vec<Rule>> {
    let items = reader.list(item)?;
    if items.len() > MAX_RULES {
        reader.wrong(item, format!("{} rules, at most {MAX_RULES} are asked", items.len()), None);
        return None;
    }
    Some(items.iter().filter_map(|item| rule(reader, item)).collect())
}

fn rule(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Rule> {
    let mut section = reader.section(item)?;
    let permission = section.take("permission");
    if permission.is_none() && !section.misspelt(&["permission"]) {
        let hint = "write `permission = allow` or `permission = deny`";
        reader.problem(item.node.at, &item.path, "`permission` is missing", Some(hint));
    }
    let permission = permission.and_then(|item| reader.word(&item, &PERMISSIONS));
    let action = section.take("action").and_then(|item| reader.word(&item, &ACTIONS)).unwrap_or_default();
    let topics = section.take("topics").map_or(Some(TopicSet::Everything), |item| topics(reader, &item));
    let qos = section.take("qos").and_then(|item| entries(reader, &item, |reader, item| reader.integer(item, 0, 2)));
    let qos = qos.map(|list| list.into_iter().map(|qos| u8::try_from(qos).expect("the range ends at 2")).collect());
    let retain = section.take("retain").and_then(|item| retain(reader, &item, action));
    let who = who(reader, &mut section);
    reader.finish(&section, &[]);
    Some(Rule { permission: permission?, action, who, qos, retain, topics: topics? })
}

fn who(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Who {
    let mut texts = |key| {
        let item: Option<Item<'_>> = section.take(key);
        item.and_then(|item| entries(reader, &item, Reader::text))
    };
    let (usernames, client_ids) = (texts("username"), texts("clientid"));
    let networks = section.take("ipaddr");
    let networks = networks.and_then(|item| {
        entries(reader, &item, |reader, item| {
            parsed(reader, item, "an address or network", "write `10.0.0.7` or `10.0.0.0/8`")
        })
    });
    let namespaces = section.take("namespace");
    let namespaces = namespaces.and_then(|item| {
        entries(reader, &item, |reader, item| {
            super::tls::name(reader, item, "namespace", NamespaceName::new).map(|name| name.as_str().to_owned())
        })
    });
    Who { usernames, client_ids, networks, namespaces }
}

fn topics(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<TopicSet> {
    if matches!(&item.node.value, Value::Text(text) if text == "all") {
        return Some(TopicSet::Everything);
    }
    entries(reader, item, topic).map(TopicSet::Some)
}

fn topic(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<TopicTemplate> {
    const PLACEHOLDERS: &str = "use `${clientid}`, `${username}`, `${cert_common_name}` or `${namespace}`";
    let text = reader.text(item)?;
    match TopicTemplate::from_str(&text) {
        Ok(template) => Some(template),
        Err(error) => {
            let hint = match error {
                PatternError::UnknownPlaceholder(_) | PatternError::OpenPlaceholder => Some(PLACEHOLDERS),
                _ => None,
            };
            reader.wrong(item, format!("{}: {error}", shown(&text)), hint);
            None
        }
    }
}

/// With or without RETAIN. Only what is published has it.
fn retain(reader: &mut Reader<'_>, item: &Item<'_>, action: Action) -> Option<bool> {
    if action == Action::Subscribe {
        reader.problem(item.key_at, &item.path, "only publishing has a `retain`", Some("remove it"));
    }
    if matches!(&item.node.value, Value::Text(text) if text == "all") {
        return None;
    }
    reader.boolean(item)
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(
    reader: &mut Reader<'_>,
    item: &Item<'_>,
    wanted: &str,
    hint: &str,
) -> Option<T> {
    let text = reader.text(item)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            reader.wrong(item, format!("{} is not {wanted}: {error}", shown(&text)), Some(hint));
            None
        }
    }
}

/// A list, or its only entry. An empty list would concern nobody and nothing, and so is a mistake.
fn entries<'a, T>(
    reader: &mut Reader<'a>,
    item: &Item<'_>,
    mut one: impl FnMut(&mut Reader<'a>, &Item<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    if !matches!(item.node.value, Value::List(_)) {
        return one(reader, item).map(|value| vec![value]);
    }
    let items = reader.list(item)?;
    if items.is_empty() {
        reader.wrong(
            item,
            "an empty list fits nothing, and the rule would never apply",
            Some("remove the key or the rule"),
        );
    } else if items.len() > MAX_ENTRIES {
        reader.wrong(item, format!("{} entries, at most {MAX_ENTRIES} fit one rule", items.len()), None);
        return None;
    }
    Some(items.iter().filter_map(|item| one(reader, item)).collect())
}
